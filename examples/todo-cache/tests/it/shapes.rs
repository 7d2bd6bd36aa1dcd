//! Which other processes exit when one does, in each shape of the system: the table that was measured on the BEAM with the
//! Elixir original, cell by cell.
//!
//! The row "registry" of the original has no cells here: names are a table of the library, not a process that could exit.

use std::convert::Infallible;
use std::time::Duration;

use rethread::Pid;
use rethread::gen_server::CallError;
use rethread::process::{self, Event};
use rethread::task;

use crate::ALONE;
use crate::support::attached;
use crate::todo::client::Client;
use crate::todo::error::TodoError;
use crate::todo::inject::{Fault, inject};
use crate::todo::list::Entry;
use crate::todo::name::ListName;
use crate::todo::shape::Shape;
use crate::todo::system::{Config, System};
use crate::todo::tree::{self, Member};
use Fate::{Gone, New, Same};

/// The processes that are compared before and after. In some shapes a supervisor takes the place of a server.
const ROLES: [&[&str]; 7] = [
    &["cache", "lists"],
    &["database", "db.workers"],
    &["db.worker.0"],
    &["db.worker.1"],
    &["db.worker.2"],
    &["list:alice"],
    &["list:bob"],
];

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

/// Runs a test with a system of that shape, with two lists in memory.
#[track_caller]
fn with_system(shape: Shape, body: impl FnOnce(Client)) {
    let _alone = ALONE.lock();
    let dir = tempfile::tempdir().expect("a folder");
    attached::<Infallible, _>(|_| {
        process::trap_exit(true);
        let period = Duration::from_secs(600);
        let config = Config { shape, max_restarts: 3, period, ..Config::new(dir.path()) };
        let client = config.client();
        let system = System::start_link(config).unwrap_or_else(|error| panic!("it did not start: {error}"));
        add(client, "alice", "Shopping");
        add(client, "bob", "Dentist");
        body(client);
        system.stop().expect("it stops");
        assert_eq!(tree::members(), [], "no process is left");
    });
}

fn list(text: &str) -> ListName {
    text.parse().expect("a good name")
}

fn try_add(client: Client, to: &str, what: &str) -> Result<Entry, TodoError> {
    client.add(&list(to), "2026-11-22".parse().expect("a date"), &what.parse().expect("a title"))
}

#[track_caller]
fn add(client: Client, to: &str, what: &str) {
    try_add(client, to, what).unwrap_or_else(|error| panic!("{to}, {what}: {error}"));
}

#[track_caller]
fn titles(client: Client, of: &str) -> Vec<String> {
    let entries = client.entries(&list(of), None).unwrap_or_else(|error| panic!("{of}: {error}"));
    entries.iter().map(|entry| entry.title.to_string()).collect()
}

fn pids() -> [Option<Pid>; 7] {
    ROLES.map(|names| names.iter().find_map(|name| tree::find(name)).map(|member| member.pid))
}

/// Kills a process and compares.
#[track_caller]
fn fates(victim: &str) -> [Fate; 7] {
    let before = pids();
    inject(victim, Fault::Kill).unwrap_or_else(|error| panic!("{victim}: {error}"));
    let after = pids();
    std::array::from_fn(|n| match (before[n], after[n]) {
        (Some(before), Some(after)) if before == after => Same,
        (Some(before), None) => {
            assert!(!process::is_alive(before), "{:?} runs without its name", ROLES[n]);
            Gone
        }
        (Some(_), Some(_)) => New,
        (None, _) => panic!("{:?} did not run", ROLES[n]),
    })
}

/// One test for each cell of a row; the fates are in the order of `ROLES`.
macro_rules! row {
    ($row:ident, $($cell:ident: $victim:literal, $shape:ident $fates:expr;)*) => {
        mod $row {
            use super::*;

            $(#[test]
            fn $cell() {
                with_system(Shape::$shape, |_| assert_eq!(fates($victim), $fates));
            })*
        }
    };
}

row! { killed_worker,
    is_not_replaced_in_unsupervised:          "db.worker.1", Unsupervised [Same, Same, Same, Gone, Same, Same, Same];
    is_not_replaced_in_supervised_cache:      "db.worker.1", SupervisedCache [Same, Same, Same, Gone, Same, Same, Same];
    ends_all_in_linked:                       "db.worker.1", Linked [New, New, New, New, New, Gone, Gone];
    ends_the_database_in_supervised_database: "db.worker.1", SupervisedDatabase [Same, New, New, New, New, Same, Same];
    is_replaced_alone_in_supervised_workers:  "db.worker.1", SupervisedWorkers [Same, Same, Same, New, Same, Same, Same];
    is_replaced_alone_in_supervised_lists:    "db.worker.1", SupervisedLists [Same, Same, Same, New, Same, Same, Same];
}

row! { killed_database,
    is_not_replaced_in_unsupervised:         "database", Unsupervised [Same, Gone, Same, Same, Same, Same, Same];
    is_not_replaced_in_supervised_cache:     "database", SupervisedCache [Same, Gone, Same, Same, Same, Same, Same];
    ends_all_in_linked:                      "database", Linked [New, New, New, New, New, Gone, Gone];
    ends_its_workers_in_supervised_database: "database", SupervisedDatabase [Same, New, New, New, New, Same, Same];
    ends_its_workers_in_supervised_workers:  "db.workers", SupervisedWorkers [Same, New, New, New, New, Same, Same];
    ends_its_workers_in_supervised_lists:    "db.workers", SupervisedLists [Same, New, New, New, New, Same, Same];
}

row! { killed_cache,
    is_not_replaced_in_unsupervised:              "cache", Unsupervised [Gone, Same, Same, Same, Same, Same, Same];
    leaves_its_lists_running_in_supervised_cache: "cache", SupervisedCache [New, Same, Same, Same, Same, Same, Same];
    ends_all_in_linked:                           "cache", Linked [New, New, New, New, New, Gone, Gone];
    ends_the_lists_in_supervised_database:        "cache", SupervisedDatabase [New, Same, Same, Same, Same, Gone, Gone];
    ends_the_lists_in_supervised_workers:         "cache", SupervisedWorkers [New, Same, Same, Same, Same, Gone, Gone];
    ends_the_lists_in_supervised_lists:           "lists", SupervisedLists [New, Same, Same, Same, Same, Gone, Gone];
}

row! { killed_list,
    ends_alone_in_unsupervised:            "list:bob", Unsupervised [Same, Same, Same, Same, Same, Same, Gone];
    ends_alone_in_supervised_cache:        "list:bob", SupervisedCache [Same, Same, Same, Same, Same, Same, Gone];
    ends_all_in_linked:                    "list:bob", Linked [New, New, New, New, New, Gone, Gone];
    ends_the_cache_in_supervised_database: "list:bob", SupervisedDatabase [New, Same, Same, Same, Same, Gone, Gone];
    ends_the_cache_in_supervised_workers:  "list:bob", SupervisedWorkers [New, Same, Same, Same, Same, Gone, Gone];
    ends_alone_in_supervised_lists:        "list:bob", SupervisedLists [Same, Same, Same, Same, Same, Same, Gone];
}

/// What the cells mean for the clients of the system.
mod clients {
    use super::*;

    #[test]
    fn cache_without_links_returns_list_that_has_exited() {
        for shape in [Shape::Unsupervised, Shape::SupervisedCache] {
            with_system(shape, |client| {
                fates("list:bob");
                let refused = client.entries(&list("bob"), None);
                assert!(
                    matches!(refused, Err(TodoError::Unavailable(CallError::NoProc { .. }))),
                    "{shape}: {refused:?}"
                );
                assert_eq!(titles(client, "alice"), ["Shopping"], "{shape}");
            });
        }
    }

    #[test]
    fn change_for_exited_worker_fails_without_links() {
        with_system(Shape::Unsupervised, |client| {
            fates("db.worker.1");
            let affected = (0..)
                .map(|n| format!("list {n}"))
                .find(|name| crate::todo::database::choose_worker(&list(name)).to_string() == "db.worker.1");
            let refused = try_add(client, &affected.expect("there is one"), "x");
            assert!(refused.is_err(), "{refused:?}");
        });
    }

    /// Shows a flaw of a supervisor without links: one process leaks for each list and crash.
    #[test]
    fn each_crash_of_supervised_cache_without_links_leaks_its_lists() {
        with_system(Shape::SupervisedCache, |client| {
            let bobs =
                || tree::members().into_iter().filter(|Member { name, .. }| name == "list:bob").count();
            assert_eq!(bobs(), 1);
            for leaked in 1..=3 {
                inject("cache", Fault::Kill).expect("it exits");
                assert_eq!(titles(client, "bob"), ["Dentist"]);
                assert_eq!(bobs(), 1 + leaked);
            }
        });
    }

    #[test]
    fn every_process_is_back_at_next_use_with_links_or_supervisors() {
        for shape in
            [Shape::Linked, Shape::SupervisedDatabase, Shape::SupervisedWorkers, Shape::SupervisedLists]
        {
            let cache = if shape == Shape::SupervisedLists { "lists" } else { "cache" };
            for victim in ["db.worker.1", "list:bob", cache] {
                with_system(shape, |client| {
                    fates(victim);
                    assert_eq!(
                        (titles(client, "alice"), titles(client, "bob")),
                        (vec!["Shopping".into()], vec!["Dentist".into()])
                    );
                    add(client, "bob", "Dinner");
                    assert!(pids().iter().all(Option::is_some), "{shape}, {victim}");
                });
            }
        }
    }

    /// Kills all workers at once: with the limit of the system, which is the number of workers, the pool would give up.
    #[test]
    fn exit_of_all_workers_at_once_stays_below_restart_limit() {
        with_system(Shape::SupervisedLists, |client| {
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
                assert_eq!(
                    pids()[..2],
                    before[..2],
                    "the supervisors of the workers and of the lists keep running"
                );
            }
            add(client, "bob", "Dinner");
        });
    }

    /// Hangs a worker: its file stays locked, so no successor can start, and the whole system must give up with a reason.
    #[test]
    fn hanging_worker_escalates_to_exit_of_system() {
        let _alone = ALONE.lock();
        let dir = tempfile::tempdir().expect("a folder");
        attached::<Infallible, _>(|inbox| {
            process::trap_exit(true);
            let finishing = Duration::from_millis(50);
            let config = Config { finish_timeout: finishing, ..Config::new(dir.path()) };
            let client = config.client();
            let system = System::start_link(config).expect("it starts");
            add(client, "bob", "Dentist");
            let worker = crate::todo::database::choose_worker(&list("bob"));
            crate::todo::inject::hang(&worker.to_string()).expect("it hangs");
            let refused =
                process::spawn(move || assert!(try_add(client, "bob", "Dinner").is_err())).expect("a thread");
            let refused = process::watch(refused); // it waits for the worker, which hangs
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
            crate::support::eventually("all processes have exited", || tree::members().is_empty());
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
    fn successor_waits_for_worker_that_exits_slowly() {
        with_system(Shape::SupervisedLists, |client| {
            let worker = crate::todo::database::choose_worker(&list("bob"));
            let before = worker.whereis();
            // It is busy with all of these when it receives the exit signal.
            let writers: Vec<_> = (0..8)
                .map(|n| task::spawn(move || add(client, "bob", &format!("entry {n}"))).expect("a thread"))
                .collect();
            process::exit(before.expect("it runs"), rethread::ExitReason::Shutdown);
            for writer in writers {
                writer.join().expect("it is written");
            }
            assert_ne!(worker.whereis(), before);
            assert_eq!(titles(client, "bob").len(), 9);
            assert!(
                process::zombies().iter().all(|zombie| Some(zombie.pid) != before),
                "it did not become a zombie"
            );
        });
    }

    #[test]
    fn list_beyond_max_lists_is_refused() {
        let _alone = ALONE.lock();
        let dir = tempfile::tempdir().expect("a folder");
        attached::<Infallible, _>(|_| {
            process::trap_exit(true);
            let config = Config { max_lists: 2, ..Config::new(dir.path()) };
            let client = config.client();
            let system = System::start_link(config).expect("it starts");
            add(client, "alice", "Shopping");
            add(client, "bob", "Dentist");
            let refused = try_add(client, "carol", "x");
            assert!(
                matches!(refused, Err(TodoError::Start(rethread::StartError::MaxChildren { limit: 2 }))),
                "{refused:?}"
            );
            add(client, "bob", "Dinner");
            system.stop().expect("it stops");
        });
    }
}
