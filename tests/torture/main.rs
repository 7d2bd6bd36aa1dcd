//! Torture: random clients operate on random trees of supervisors and servers, while invariants are
//! checked. Runs for some seconds by default; for longer, or with a certain seed:
//!
//! ```text
//! TORTURE_SECONDS=3600 cargo test --release --test torture -- --nocapture
//! TORTURE_SEED=1234 TORTURE_SECONDS=1 cargo test --test torture
//! ```
//!
//! A seed determines the tree and the operations of each client, in order. The interleaving of the threads
//! differs from run to run, so a rare failure may need several runs with its seed.
//!
//! | invariant | checked by |
//! | --- | --- |
//! | a name or key has one running holder, and a successor starts after the exit cleanup of its predecessor | `books`, at each start |
//! | children start in order; under one_for_all and rest_for_one none starts while a later sibling runs | `books`, at each start |
//! | children are stopped in reverse order: none while a later sibling, or a descendant of one, runs | `books`, at each end |
//! | a call is answered correctly, or fails in time with a possible reason; no timeout before its time | `hand` |
//! | each outcome of a call to a private server is the one right one; late replies never arrive | `private` |
//! | a killed process handles no later message of the process that killed it, and a later call fails with `NoProc` | `hand`, `worker` |
//! | messages of one sender arrive in order | `worker` |
//! | one `Down` for each monitor, none after `demonitor_flush` | `links` |
//! | one `Exit` for each link, none after `unlink` | `links` |
//! | a reason travels along links unchanged, up to the first process that traps exits | `links` |
//! | a timer fires once, never early, or was cancelled; none outlives its target; by a name it finds the holder | `clocks` |
//! | names and keys registered by hand have one holder, which lookups find; exited processes are never found | `naming`, `keys` |
//! | one process at a time is inside a lock of a registry, and an exit releases it | `keys` |
//! | listeners receive each registration once, then its end, before the operation returns or the exit is reported | `listeners`, `overhear` |
//! | a listener that ignores its events, is killed or does not exist affects no other process | `listeners` |
//! | nothing arrives through a deactivated alias | `aliases` |
//! | a dynamic supervisor never exceeds its maximum of children; a terminated child has exited | `pools` |
//! | a task yields its value or its true exit reason, once | `pools` |
//! | requests of one client to an agent are executed once, in order, inside it, also if the caller has given up | `agents`, `own_agent` |
//! | a function that fails ends its agent, with that reason; the next incarnation starts with the first value | `own_agent` |
//! | a key or number always maps to the same partition, which knows its number; a partition that exits is restarted in its place | `partitions`, `own_partitions` |
//! | an application exits in order and for the true reason, also from inside; a restart finds nothing left of it | `applications`, `own_app` |
//! | in destructors the runtime refuses what its documentation says, and ends no process | `hostile` |
//! | foreign threads get the same answers, and are refused what only processes can do | `foreign` |
//! | no supervisor exceeds its restart limit, or delays a restart for longer than its backoff says | `auditor` |
//! | no supervisor is ended by its children or their start functions | `auditor`, `starts` |
//! | a start is refused only at the process limit; exited processes do not count | `books`, `auditor` |
//! | after the round nothing is left: processes, names, zombies, states, entries of registries, applications | `round` |

mod agents;
mod aliases;
mod applications;
mod auditor;
mod books;
mod client;
mod clocks;
mod dice;
mod exact_events;
mod foreign;
mod hand;
mod hostile;
mod keys;
mod links;
mod listeners;
mod naming;
mod own_agent;
mod own_app;
mod own_partitions;
mod partitions;
mod places;
mod plan;
mod pools;
mod private;
mod reasons;
mod starts;
#[path = "../support/mod.rs"]
mod support;
mod worker;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rethread::observer;
use rethread::prelude::*;
use rethread::process::{Event, Inbox};

use books::Books;
use dice::Dice;
use hand::Hand;
use listeners::{Announcement, Ledger, RegistryMessage};
use plan::Plan;
use support::{eventually, eventually_none};

/// The default duration.
const SECONDS: u64 = 4;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}: not a number: {text}")))
}

#[test]
fn invariants_hold_in_random_systems() {
    let lasts = Duration::from_secs(number("TORTURE_SECONDS").unwrap_or(SECONDS));
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    let first = number("TORTURE_SEED").unwrap_or(since_epoch.as_millis() as u64 % 1_000_000_000);
    let began = Instant::now();
    let (mut rounds, mut calls, mut lives, mut biggest) = (0, 0, 0, 0);
    let mut longest = Duration::ZERO;
    for seed in first.. {
        let at = began.elapsed();
        let (books, size) = round(seed);
        longest = longest.max(began.elapsed() - at);
        rounds += 1;
        calls += books.calls.load(Ordering::Relaxed);
        lives += books.starts.load(Ordering::Relaxed);
        biggest = biggest.max(size);
        if began.elapsed() >= lasts || number("TORTURE_SEED").is_some() && lasts <= Duration::from_secs(1) {
            break;
        }
        if rounds % 100 == 0 {
            println!("{:?}: {rounds} rounds, {calls} calls, {lives} lives", began.elapsed());
        }
    }
    println!(
        "seeds {first}..{}: {rounds} rounds, {calls} calls, {lives} lives of servers, up to {biggest} in a tree, \
         {} zombies, the longest round took {longest:.1?}, nothing broken",
        first + rounds,
        process::zombies_total(),
    );
    assert!(calls > 0 && lives > 0, "nothing happened");
}

/// Runs one system from its start to its end; returns the record and the size for which the tree was drawn.
fn round(seed: u64) -> (Arc<Books>, usize) {
    let exited_pid = process::spawn(|| ()).expect("a free thread");
    process::watch(exited_pid).wait();
    let books = Arc::new(Books::new(seed, exited_pid));
    let kept = Arc::clone(&books);
    let done = process::attach_receiver(move |inbox: &mut Inbox<RegistryMessage>| {
        process::trap_exit(true);
        run_operations(inbox, &kept)
    });
    let size = done.unwrap_or_else(|error| panic!("seed {seed}: the round itself ended: {error}"));
    let broken = books.broken();
    assert!(broken.is_empty(), "TORTURE_SEED={seed}: {} broken:\n{}", broken.len(), broken.join("\n"));
    (books, size)
}

fn run_operations(inbox: &mut Inbox<RegistryMessage>, books: &Arc<Books>) -> usize {
    let mut dice = Dice::new(books.seed);
    keys::ROOMS.listen(&inbox.address());
    keys::TOPICS.listen(&inbox.address());
    listeners::begin();
    let plan = Plan::draw(&mut dice, books);
    let field = Arc::clone(&plan.field);
    // Sometimes there is hardly room for the plan, and none for restarts.
    let ample = process::settings();
    if dice.one_in(6) {
        let room = process::processes().len() + field.size() / 2 + 8 + dice.below(32);
        books.limit.store(room, Ordering::Relaxed);
        process::configure(|settings| settings.max_processes = room);
    }
    let events = observer::events_with_capacity(100_000);
    let event_receiver = observer::events_with_capacity(1_000_000);
    let mut watchers = Vec::new();
    if dice.one_in(2) {
        let (books, dice) = (Arc::clone(books), dice.fork());
        watchers.extend(process::spawn(move || auditor::change_settings(&books, dice)));
    }
    let mut watchdog = support::watchdog(); // one time limit for each part of the round
    let system = plan.start();
    if let Err(error) = &system {
        auditor::no_room(books, error);
    }
    watchdog.restart();
    {
        let (books, field) = (Arc::clone(books), Arc::clone(&field));
        watchers.extend(process::spawn(move || auditor::audit(&books, &field, events)));
    }
    let mut hands = (1..).map(|id| Hand::new(id, dice.fork(), books, &field));
    let count = 2 + hands.next().map_or(0, |mut hand| hand.dice.below(10));
    let threads: Vec<_> = hands.by_ref().take(count / 3).filter_map(foreign::start).collect();
    let clients: Vec<_> = hands.take(count).filter_map(|hand| client::start(hand).ok()).collect();
    for client in clients {
        let reason = client.wait();
        if !matches!(reason, ExitReason::Normal | ExitReason::NoProc) {
            books.breach(format!("a client ended: {reason}"));
        }
    }
    for thread in threads {
        if thread.join().is_err() {
            books.breach("a foreign thread panicked".into());
        }
    }
    watchdog.restart();
    if let Ok(system) = system {
        // It may have given up, or a client has killed it.
        let _ = system.stop_timeout(ExitReason::Shutdown, Duration::from_secs(30));
    }
    applications::none_is_left(books);
    books.over.store(true, Ordering::Relaxed);
    watchers.iter().map(process::watch).for_each(|watcher| drop(watcher.wait()));
    watchdog.restart();
    process::configure(|settings| *settings = ample);
    for slot in &field.free {
        slot.server().whereis().into_iter().for_each(|pid| process::exit(pid, ExitReason::Kill));
    }
    nothing_runs(inbox.pid(), books.seed, listeners::is_listening_server);
    listeners::no_listening_server_is_left(books);
    nothing_runs(inbox.pid(), books.seed, |_| false);
    let mut ledger = Ledger::default();
    while let Some(event) = inbox.recv_timeout(Duration::ZERO) {
        if let Event::Message(received) = event {
            ledger.note(&Announcement::from(received)).into_iter().for_each(|wrong| books.breach(wrong));
        }
    }
    ledger.close(books);
    books.report_suspects(event_receiver);
    let seed = books.seed;
    eventually(&format!("seed {seed}: no state is left"), || books.all_have_exited());
    eventually(&format!("seed {seed}: no entry is left"), keys::empty);
    auditor::places_are_free(books);
    field.size()
}

/// Waits until all other processes have exited, except those for which `but` holds.
fn nothing_runs(me: Pid, seed: u64, but: impl Fn(Pid) -> bool) {
    eventually_none(&format!("seed {seed}, processes"), || {
        let others = process::processes().into_iter().filter(|info| info.pid != me && !but(info.pid));
        others.map(|info| format!("{info}, {:?}", info.activity)).collect()
    });
    eventually_none(&format!("seed {seed}, zombies"), || {
        process::zombies().iter().map(|zombie| format!("{zombie}, {:?}", process::info(zombie.pid))).collect()
    });
}
