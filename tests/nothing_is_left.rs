//! What was given up before its end leaves nothing with the process, the name or the clock it concerned. What is
//! measured is the memory of the whole program, so each of these has a program of its own; a smaller and quicker
//! relative of benches/leaks.rs, for what goes through that too seldom.

#[path = "support/apart.rs"]
mod apart;
mod support;

use std::fs;
use std::time::{Duration, Instant};

use apart::apart;
use rethread::prelude::*;
use rethread::process::Inbox;
use support::{attached, sleeper, watchdog};

/// How much more may be resident in the end: a quarter of what it would be if each turn left 100 bytes.
const MOODS_KB: usize = 5000;
const TURNS: usize = 200_000;

fn resident_kb() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    field.and_then(|line| line.split_whitespace().next()).and_then(|kb| kb.parse().ok()).unwrap_or(0)
}

/// Does it so often that what each turn leaves behind would be seen.
fn leaves_nothing(mut turn: impl FnMut(usize)) {
    apart(|| {
        let _watchdog = watchdog();
        (0..TURNS / 10).for_each(&mut turn);
        let before = resident_kb();
        (0..TURNS).for_each(&mut turn);
        let more = resident_kb().saturating_sub(before);
        assert!(more < MOODS_KB, "{more} KB more");
    });
}

#[test]
fn a_watch_that_is_dropped() {
    let watched = sleeper();
    leaves_nothing(|_| drop(process::watch(&watched).wait_timeout(Duration::ZERO)));
}

#[test]
fn a_timer_that_fired_or_was_cancelled() {
    attached(|inbox: &mut Inbox<usize>| {
        let (past, here) = (Instant::now(), inbox.address());
        leaves_nothing(|turn| {
            process::send_at(past, &here, turn);
            let timer = process::send_after(Duration::from_secs(1000), &here, turn);
            assert!(process::cancel_timer(timer).is_some());
            if turn % 100 == 99 {
                // On a busy machine the clock may be far behind, and what waits for it is no leak.
                (0..100).for_each(|_| drop(inbox.recv()));
            }
        });
    });
}

#[test]
fn a_wait_for_a_name_that_nobody_took() {
    leaves_nothing(|turn| {
        let name = format!("nothing is left {turn} {}", "x".repeat(100));
        assert_eq!(process::whereis_within(&name, Duration::ZERO), None);
    });
}

#[test]
fn a_listener_that_went_away() {
    leaves_nothing(|_| drop(rethread::observer::events()));
}

#[test]
fn a_call_that_timed_out() {
    /// It keeps who called it last.
    struct Silent(Option<Caller<()>>);
    impl GenServer for Silent {
        type Args = ();
        type Call = Caller<()>;
        type Cast = Never;

        fn init((): (), _: &mut Context<Self>) -> Result<Self, Stop> {
            Ok(Self(None))
        }
        fn handle_call(&mut self, from: Caller<()>, _: &mut Context<Self>) -> Next {
            self.0 = Some(from);
            Next::wait()
        }
        fn handle_cast(&mut self, cast: Never, _: &mut Context<Self>) -> Next {
            match cast {}
        }
    }
    let server = Silent::start(()).expect("it starts");
    leaves_nothing(|_| drop(server.call_timeout(Duration::ZERO, |from| from)));
}
