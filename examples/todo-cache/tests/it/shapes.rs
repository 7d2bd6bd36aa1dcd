//! What the end of one process takes down with it, in each shape in which the book wires its to-do system: the table that
//! was measured on the BEAM with the book's own program, cell by cell.
//!
//! The book's row "registry" has no cells here: names are a table of the library, not a process that could exit.

use std::time::Duration;

use rethread::process::{self, Event};
use rethread::{CallError, Never, Pid, Task};

use crate::ALONE;
use crate::support::attached;
use crate::todo::client;
use crate::todo::error::TodoError;
use crate::todo::inject::{Fault, inject};
use crate::todo::list::Entry;
use crate::todo::name::ListName;
use crate::todo::shape::Shape;
use crate::todo::system::{Config, System};
use crate::todo::tree::{self, Member};
use Fate::{Gone, New, Same};

/// Who is looked at before and after.
const ROLES: [&str; 7] =
    ["cache", "database", "db.worker.0", "db.worker.1", "db.worker.2", "list:alice", "list:bob"];

/// What became of a process when another was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is still running.
    Same,
    /// Another has taken its place.
    New,
    /// It has exited, and no process has its name.
    Gone,
}

/// Starts a system of that shape, with two lists in memory.
#[track_caller]
fn with_system(shape: Shape, body: impl FnOnce()) {
    let _alone = ALONE.lock();
    let dir = tempfile::tempdir().expect("a folder");
    attached::<Never, _>(|_| {
        process::trap_exit(true);
        let period = Duration::from_secs(600);
        let config = Config { shape, max_restarts: 3, period, ..Config::new(dir.path()) };
        let system = System::start_link(config).unwrap_or_else(|error| panic!("it did not start: {error}"));
        add("alice", "Shopping");
        add("bob", "Dentist");
        body();
        system.stop().expect("it stops");
        assert_eq!(tree::members(), [], "nobody is left");
    });
}

fn list(text: &str) -> ListName {
    text.parse().expect("a good name")
}

fn try_add(to: &str, what: &str) -> Result<Entry, TodoError> {
    client::add(&list(to), "2026-11-22".parse().expect("a date"), &what.parse().expect("a title"))
}

#[track_caller]
fn add(to: &str, what: &str) {
    try_add(to, what).unwrap_or_else(|error| panic!("{to}, {what}: {error}"));
}

#[track_caller]
fn titles(of: &str) -> Vec<String> {
    let entries = client::entries(&list(of), None).unwrap_or_else(|error| panic!("{of}: {error}"));
    entries.iter().map(|entry| entry.title.to_string()).collect()
}

fn pids() -> [Option<Pid>; 7] {
    ROLES.map(|role| tree::find(role).map(|member| member.pid))
}

/// Kills one and compares.
#[track_caller]
fn fates(victim: &str) -> [Fate; 7] {
    let before = pids();
    inject(victim, Fault::Kill).unwrap_or_else(|missed| panic!("{victim}: {missed}"));
    let after = pids();
    std::array::from_fn(|n| match (before[n], after[n]) {
        (Some(before), Some(after)) if before == after => Same,
        (Some(before), None) => {
            assert!(!process::is_alive(before), "{} lives without its name", ROLES[n]);
            Gone
        }
        (Some(_), Some(_)) => New,
        (None, _) => panic!("{} did not run", ROLES[n]),
    })
}

/// One test for each cell of a row; the fates are in the order of `ROLES`.
macro_rules! row {
    ($row:ident, $victim:literal, $($cell:ident: $shape:ident $fates:expr;)*) => {
        mod $row {
            use super::*;

            $(#[test]
            fn $cell() {
                with_system(Shape::$shape, || assert_eq!(fates($victim), $fates));
            })*
        }
    };
}

row! { a_worker, "db.worker.1",
    dies_and_is_not_replaced_in_7:  Seven  [Same, Same, Same, Gone, Same, Same, Same];
    dies_and_is_not_replaced_in_8a: EightA [Same, Same, Same, Gone, Same, Same, Same];
    takes_everything_down_in_8b:    EightB [New, New, New, New, New, Gone, Gone];
    takes_the_database_down_in_9a:  NineA  [Same, New, New, New, New, Same, Same];
    is_replaced_alone_in_9b:        NineB  [Same, Same, Same, New, Same, Same, Same];
    is_replaced_alone_in_11:        Eleven [Same, Same, Same, New, Same, Same, Same];
}

row! { the_database, "database",
    dies_and_is_not_replaced_in_7:  Seven  [Same, Gone, Same, Same, Same, Same, Same];
    dies_and_is_not_replaced_in_8a: EightA [Same, Gone, Same, Same, Same, Same, Same];
    takes_everything_down_in_8b:    EightB [New, New, New, New, New, Gone, Gone];
    takes_its_workers_down_in_9a:   NineA  [Same, New, New, New, New, Same, Same];
    takes_its_workers_down_in_9b:   NineB  [Same, New, New, New, New, Same, Same];
    takes_its_workers_down_in_11:   Eleven [Same, New, New, New, New, Same, Same];
}

row! { the_cache, "cache",
    dies_and_is_not_replaced_in_7:  Seven  [Gone, Same, Same, Same, Same, Same, Same];
    leaves_its_lists_behind_in_8a:  EightA [New, Same, Same, Same, Same, Same, Same];
    takes_everything_down_in_8b:    EightB [New, New, New, New, New, Gone, Gone];
    takes_the_lists_down_in_9a:     NineA  [New, Same, Same, Same, Same, Gone, Gone];
    takes_the_lists_down_in_9b:     NineB  [New, Same, Same, Same, Same, Gone, Gone];
    takes_the_lists_down_in_11:     Eleven [New, Same, Same, Same, Same, Gone, Gone];
}

row! { a_list, "list:bob",
    dies_alone_in_7:                Seven  [Same, Same, Same, Same, Same, Same, Gone];
    dies_alone_in_8a:               EightA [Same, Same, Same, Same, Same, Same, Gone];
    takes_everything_down_in_8b:    EightB [New, New, New, New, New, Gone, Gone];
    takes_the_cache_down_in_9a:     NineA  [New, Same, Same, Same, Same, Gone, Gone];
    takes_the_cache_down_in_9b:     NineB  [New, Same, Same, Same, Same, Gone, Gone];
    dies_alone_in_11:               Eleven [Same, Same, Same, Same, Same, Same, Gone];
}

/// What the cells mean for the clients of the system.
mod afterwards {
    use super::*;

    #[test]
    fn without_links_the_cache_hands_out_a_dead_list() {
        for shape in [Shape::Seven, Shape::EightA] {
            with_system(shape, || {
                fates("list:bob");
                let refused = client::entries(&list("bob"), None);
                assert!(
                    matches!(refused, Err(TodoError::Unavailable(CallError::NoProc { .. }))),
                    "{shape}: {refused:?}"
                );
                assert_eq!(titles("alice"), ["Shopping"], "{shape}");
            });
        }
    }

    #[test]
    fn without_links_what_a_dead_worker_should_keep_is_refused() {
        with_system(Shape::Seven, || {
            fates("db.worker.1");
            let homeless = (0..)
                .map(|n| format!("list {n}"))
                .find(|name| crate::todo::database::choose_worker(&list(name)).to_string() == "db.worker.1");
            let refused = try_add(&homeless.expect("there is one"), "x");
            assert!(refused.is_err(), "{refused:?}");
        });
    }

    /// Shows a flaw of shape 8a, which has a supervisor and no links: it leaks one process for each list and crash.
    #[test]
    fn in_8a_each_crash_of_the_cache_leaks_its_lists() {
        with_system(Shape::EightA, || {
            let bobs =
                || tree::members().into_iter().filter(|Member { name, .. }| name == "list:bob").count();
            assert_eq!(bobs(), 1);
            for leaked in 1..=3 {
                inject("cache", Fault::Kill).expect("it is struck");
                assert_eq!(titles("bob"), ["Dentist"]);
                assert_eq!(bobs(), 1 + leaked);
            }
        });
    }

    #[test]
    fn with_links_or_supervisors_everything_is_back_at_the_next_use() {
        for shape in [Shape::EightB, Shape::NineA, Shape::NineB, Shape::Eleven] {
            for victim in ["db.worker.1", "list:bob", "cache"] {
                with_system(shape, || {
                    fates(victim);
                    assert_eq!(
                        (titles("alice"), titles("bob")),
                        (vec!["Shopping".into()], vec!["Dentist".into()])
                    );
                    add("bob", "Dinner");
                    assert!(pids().iter().all(Option::is_some), "{shape}, {victim}");
                });
            }
        }
    }

    /// Kills all workers at once: with the book's limit, which is the number of workers, the pool would give up.
    #[test]
    fn three_workers_that_die_at_once_do_not_spend_the_budget_in_11() {
        with_system(Shape::Eleven, || {
            for _ in 0..3 {
                let before = pids();
                before[2..5]
                    .iter()
                    .flatten()
                    .for_each(|worker| process::exit(*worker, rethread::ExitReason::Kill));
                crate::support::eventually("three new workers", || {
                    let after = pids();
                    (2..5).all(|n| after[n].is_some() && after[n] != before[n])
                });
                assert_eq!(pids()[..2], before[..2], "the database and the cache go on");
            }
            add("bob", "Dinner");
        });
    }

    /// Hangs a worker: its file stays locked, so no successor can start, and the whole system must give up with a reason.
    #[test]
    fn a_worker_that_hangs_escalates_to_the_end_of_the_system_in_11() {
        let _alone = ALONE.lock();
        let dir = tempfile::tempdir().expect("a folder");
        attached::<Never, _>(|inbox| {
            process::trap_exit(true);
            let finishing = Duration::from_millis(50);
            let system = System::start_link(Config { finish_timeout: finishing, ..Config::new(dir.path()) })
                .expect("it starts");
            add("bob", "Dentist");
            let worker = crate::todo::database::choose_worker(&list("bob"));
            crate::todo::inject::hang(&worker.to_string()).expect("it hangs");
            let refused =
                process::spawn::<Never>(|_| assert!(try_add("bob", "Dinner").is_err())).expect("a thread");
            let refused = process::watch(&refused); // it waits for the worker, which hangs
            process::exit(worker.whereis().expect("it hangs"), rethread::ExitReason::Kill);
            loop {
                match inbox.recv() {
                    Event::Exit { from, reason } if from == system.root => {
                        assert_eq!(reason, rethread::ExitReason::Shutdown);
                        break;
                    }
                    _ => {}
                }
            }
            assert_eq!(
                refused.wait(),
                rethread::ExitReason::Normal,
                "nothing was acknowledged that is not there"
            );
            crate::support::eventually("everybody is gone", || tree::members().is_empty());
            assert!(
                process::zombies().iter().any(|zombie| zombie.name.as_deref() == Some(&worker.to_string()))
            );
            // As long as its thread has the file, no system can start, and says so.
            let error = System::start_link(Config::new(dir.path())).expect_err("the file is locked");
            let error = crate::todo::system::store_error(&error).expect("it is the store's").to_string();
            assert!(error.contains("is in use"), "{error}");
        });
    }

    /// Kills a worker that is only slow: its successor waits for it, and finds what it has written.
    #[test]
    fn a_worker_that_is_slow_to_end_is_waited_for_in_11() {
        with_system(Shape::Eleven, || {
            let worker = crate::todo::database::choose_worker(&list("bob"));
            let before = worker.whereis();
            // It is busy with all of these when it receives the exit signal.
            let writers: Vec<_> = (0..8)
                .map(|n| Task::spawn(move || add("bob", &format!("entry {n}"))).expect("a thread"))
                .collect();
            process::exit(before.expect("it runs"), rethread::ExitReason::Shutdown);
            for writer in writers {
                writer.join().expect("it is written");
            }
            assert_ne!(worker.whereis(), before);
            assert_eq!(titles("bob").len(), 9);
            assert!(
                process::zombies().iter().all(|zombie| Some(zombie.pid) != before),
                "it was not given up"
            );
        });
    }

    #[test]
    fn in_11_there_are_no_more_lists_than_allowed() {
        let _alone = ALONE.lock();
        let dir = tempfile::tempdir().expect("a folder");
        attached::<Never, _>(|_| {
            process::trap_exit(true);
            let config = Config { max_lists: 2, ..Config::new(dir.path()) };
            let system = System::start_link(config).expect("it starts");
            add("alice", "Shopping");
            add("bob", "Dentist");
            let refused = try_add("carol", "x");
            assert!(
                matches!(refused, Err(TodoError::Start(rethread::StartError::MaxChildren { limit: 2 }))),
                "{refused:?}"
            );
            add("bob", "Dinner");
            system.stop().expect("it stops");
        });
    }
}
