//! Operations that are cancelled leave nothing behind with the process, the name or the timer thread
//! concerned. The measure is the memory of the whole program, so each test runs in a child program; a
//! smaller and quicker version of benches/leaks.rs, for rare paths.

use std::fs;
use std::time::Duration;

use crate::support::child_program::in_child_program;
use crate::support::{sleeper, watchdog};
use rethread::prelude::*;

/// The tolerated growth of resident memory.
const MOODS_KB: usize = 1000;

fn resident_kb() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    field.and_then(|line| line.split_whitespace().next()).and_then(|kb| kb.parse().ok()).unwrap_or(0)
}

/// Runs an operation so often that a leak would be visible.
fn leaves_nothing(turns: usize, mut turn: impl FnMut(usize)) {
    in_child_program(|| {
        let _watchdog = watchdog();
        (0..turns / 10).for_each(&mut turn);
        let before = resident_kb();
        (0..turns).for_each(&mut turn);
        let more = resident_kb().saturating_sub(before);
        assert!(more < MOODS_KB, "{more} KB more");
    });
}

#[test]
fn a_watch_that_is_dropped() {
    let watched = sleeper();
    leaves_nothing(30_000, |_| drop(process::watch(&watched).wait_timeout(Duration::ZERO)));
}

#[test]
fn a_timer_that_was_cancelled() {
    let target = sleeper();
    // A leak would be small here: its number.
    leaves_nothing(200_000, |_| {
        let timer = process::send_after(Duration::from_secs(1000), &target, ());
        assert!(process::cancel_timer(timer).is_some());
    });
}

#[test]
fn wait_for_a_free_name_leaves_nothing() {
    leaves_nothing(30_000, |turn| {
        let name = format!("nothing is left {turn} {}", "x".repeat(100));
        assert_eq!(process::whereis_timeout(&name, Duration::ZERO), None);
    });
}

#[test]
fn a_listener_that_went_away() {
    leaves_nothing(30_000, |_| drop(rethread::observer::events()));
}

#[test]
fn a_call_that_timed_out() {
    /// Keeps its last caller.
    struct Silent(Option<Caller<()>>);
    impl GenServer for Silent {
        type Args = ();
        type Call = Caller<()>;
        type Cast = Infallible;

        fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
            Ok(Self(None))
        }
        fn handle_call(&mut self, from: Caller<()>, _: &mut Context<Self>) -> Next {
            self.0 = Some(from);
            Next::wait()
        }
    }
    let server = Silent::start(()).expect("it starts");
    leaves_nothing(30_000, |_| drop(server.call_timeout(Duration::ZERO, |from| from)));
}
