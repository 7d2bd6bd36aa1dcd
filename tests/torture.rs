//! Torture: random trees of supervisors and servers, tormented by random clients, while invariants are checked all the
//! time. Some seconds by default; for longer, or for a certain seed:
//!
//! ```text
//! TORTURE_SECONDS=3600 cargo test --release --test torture -- --nocapture
//! TORTURE_SEED=1234 TORTURE_SECONDS=1 cargo test --test torture
//! ```
//!
//! A seed decides the tree and what each client tries in which order. What the threads make of it differs from run to run,
//! so a rare failure needs its seed more than once.
//!
//! | what must hold | who checks it |
//! | --- | --- |
//! | a name has one living holder, and a successor begins after the burial | `books`, at each start |
//! | under one_for_all and rest_for_one nobody starts while a later sibling lives | `books`, at each start |
//! | a call is answered rightly, or fails in time with a reason that can be | `client` |
//! | one `Down` for each monitor, none after `demonitor_flush` | `client` |
//! | no `Exit` after `unlink` | `client` |
//! | no message is handled after a kill by its sender | `worker` |
//! | messages of one sender arrive in order | `worker` |
//! | a timer fires once, or was cancelled | `client` |
//! | no supervisor makes more restarts than it may | `auditor` |
//! | in the end nothing is left: processes, names, zombies | `round` |

#[path = "torture/books.rs"]
mod books;
#[path = "torture/client.rs"]
mod client;
#[path = "torture/dice.rs"]
mod dice;
#[path = "torture/plan.rs"]
mod plan;
mod support;
#[path = "torture/worker.rs"]
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rethread::observer;
use rethread::prelude::*;
use rethread::process::{Event, Inbox, Settings};

use books::Books;
use dice::Dice;
use plan::Plan;
use support::eventually;

/// How long it goes on if nobody says.
const SECONDS: u64 = 4;
/// How often the auditor looks.
const EVERY: Duration = Duration::from_millis(3);

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}: not a number: {text}")))
}

#[test]
fn nothing_that_is_promised_breaks() {
    let lasts = Duration::from_secs(number("TORTURE_SECONDS").unwrap_or(SECONDS));
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    let first = number("TORTURE_SEED").unwrap_or(since_epoch.as_millis() as u64 % 1_000_000_000);
    let began = Instant::now();
    let (mut rounds, mut calls, mut deaths) = (0, 0, 0);
    for seed in first.. {
        let books = round(seed);
        rounds += 1;
        calls += books.calls.load(Ordering::Relaxed);
        deaths += books.starts.load(Ordering::Relaxed);
        if began.elapsed() >= lasts || number("TORTURE_SEED").is_some() && lasts <= Duration::from_secs(1) {
            break;
        }
        if rounds % 100 == 0 {
            println!("{:?}: {rounds} rounds, {calls} calls, {deaths} lives", began.elapsed());
        }
    }
    println!(
        "seeds {first}..{}: {rounds} rounds, {calls} calls, {deaths} lives of servers, nothing broken",
        first + rounds
    );
    assert!(calls > 0 && deaths > 0, "nothing happened");
}

/// One system, from its start to its end.
fn round(seed: u64) -> Arc<Books> {
    let _watchdog = support::watchdog();
    let books = Arc::new(Books::new(seed));
    let kept = Arc::clone(&books);
    let done = process::attach(move |inbox: &mut Inbox<Never>| {
        process::trap_exit(true);
        torment(inbox, &kept);
    });
    done.unwrap_or_else(|error| panic!("seed {seed}: the round itself ended: {error}"));
    let broken = books.broken();
    assert!(broken.is_empty(), "TORTURE_SEED={seed}: {} broken:\n{}", broken.len(), broken.join("\n"));
    books
}

fn torment(inbox: &mut Inbox<Never>, books: &Arc<Books>) {
    let mut dice = Dice::new(books.seed);
    let plan = Plan::draw(&mut dice, books);
    // Now and then there is hardly room for what the plan wants, and none for restarts.
    let ample = process::settings();
    if dice.one_in(6) {
        let room = process::processes().len() + plan.size() / 2 + 8 + dice.below(32);
        process::set_settings(Settings { max_processes: room, ..ample });
    }
    let system = plan.start();
    let over = Arc::new(AtomicBool::new(false));
    let auditor = {
        let (over, books) = (Arc::clone(&over), Arc::clone(books));
        process::spawn::<Never>(move |_| audit(&over, &books))
    };
    let clients: Vec<_> = (0..2 + dice.below(10))
        .filter_map(|_| client::start(dice.fork(), books, plan.slots(), plan.free()).ok())
        .map(process::watch)
        .collect();
    for client in &clients {
        let reason = client.wait();
        if !matches!(reason, ExitReason::Normal) {
            books.breach(format!("a client ended: {reason}"));
        }
    }
    over.store(true, Ordering::Relaxed);
    process::set_settings(ample);
    if let Ok(auditor) = auditor {
        process::watch(&auditor).wait();
    }
    if let Ok(system) = system {
        // It may have given up.
        let _ = system.stop_with(ExitReason::Shutdown, Duration::from_secs(30));
    }
    for slot in plan.free().iter() {
        slot.server().whereis().into_iter().for_each(|pid| process::exit(pid, ExitReason::Kill));
    }
    while let Some(event) = inbox.recv_timeout(Duration::ZERO) {
        if let Event::Message(never) = event {
            match never {}
        }
    }
    let prefix = books.prefix();
    let left = || {
        let named = process::processes().into_iter().filter(|info| {
            info.name.as_ref().or(info.label.as_ref()).is_some_and(|name| name.starts_with(&prefix))
        });
        named.map(|info| info.to_string()).collect::<Vec<_>>()
    };
    eventually(&format!("seed {}: nobody is left: {:?}", books.seed, left()), || left().is_empty());
    eventually(&format!("seed {}: no zombie is left", books.seed), || process::zombies().is_empty());
    eventually(&format!("seed {}: no state is left", books.seed), || books.nobody_lives());
}

/// Looks at all supervisors again and again.
fn audit(over: &AtomicBool, books: &Books) {
    while !over.load(Ordering::Relaxed) {
        for process in observer::snapshot().processes {
            let Some(own) = &process.supervision else { continue };
            // The one restart that is too many is noted too, and ends the supervisor.
            if own.restarts.used > own.restarts.max as usize + 1 {
                books.breach(format!("{process} has made more restarts than it may"));
            }
        }
        process::sleep(EVERY);
    }
}
