//! The processes of the example `todo-cache`: what each promises, and what happens to the rest when one of
//! them ends.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rethread::gen_server::CallError;
use rethread::process::{self, Event, Inbox, ProcessKind};
use rethread::supervisor::{Supervisor, SupervisorRef};
use rethread::{ExitReason, Pid};

use crate::ALONE;
use crate::support::{Gate, attached, eventually};
use crate::todo::cache::CACHE;
use crate::todo::client::Client;
use crate::todo::database::{self, DATABASE, POOL, choose_worker};
use crate::todo::date::Date;
use crate::todo::error::TodoError;
use crate::todo::inject::{Fault, InjectError, inject};
use crate::todo::list::{Entry, EntryId, Event as Change};
use crate::todo::list_supervisor::LISTS;
use crate::todo::name::{ListName, Title};
use crate::todo::server::TodoServer;
use crate::todo::shape::Shape;
use crate::todo::store::{Store, StoreError, shard_of};
use crate::todo::system::{Config, SYSTEM, System, store_error};
use crate::todo::tree;
use crate::todo::worker::{self, SHARDS, WORKERS};

/// The client of [`with_system`].
const CLIENT: Client = Client::new(Shape::Linked, None);

/// The body of a test: a process that traps exits, with a folder for data.
type Body<'a> = &'a dyn Fn(&mut Inbox<Infallible>, &Path);

/// Runs a test as a process that traps exits, with a folder of its own and no other system around.
#[track_caller]
fn alone(body: Body<'_>) {
    let _alone = ALONE.lock();
    let dir = tempfile::tempdir().expect("a folder");
    attached(|inbox| {
        process::trap_exit(true);
        body(inbox, dir.path());
    });
}

/// Runs a test with a system that allows so many restarts.
#[track_caller]
fn with_system(crashes: u32, body: Body<'_>) {
    alone(&|inbox, dir| {
        let system = start(dir, crashes);
        body(inbox, dir);
        system.stop().expect("it stops");
        assert_no_process_left();
    });
}

#[track_caller]
fn start(dir: &Path, crashes: u32) -> System {
    // Not five seconds: on a busy machine the first crash would be forgotten before the last one comes.
    let period = Duration::from_secs(600);
    let config = Config { shape: Shape::Linked, max_restarts: crashes, period, ..Config::new(dir) };
    System::start_link(config).unwrap_or_else(|error| panic!("the system did not start: {error}"))
}

/// Returns the processes of the system that are running.
fn left() -> Vec<String> {
    let ours = |name: &str| {
        name.starts_with("db.worker.")
            || name.starts_with("list:")
            || ["system", "cache", "lists", "database", "db.workers"].contains(&name)
    };
    let processes = process::processes().into_iter();
    processes.filter(|info| info.name.as_deref().is_some_and(ours)).map(|info| info.to_string()).collect()
}

#[track_caller]
fn assert_no_process_left() {
    assert_eq!(left(), [""; 0]);
}

fn list(text: &str) -> ListName {
    text.parse().expect("a good name")
}

fn title(text: &str) -> Title {
    text.parse().expect("a good title")
}

fn day() -> Date {
    "2026-11-22".parse().expect("a good date")
}

#[track_caller]
fn add(to: &str, text: &str) -> Entry {
    CLIENT.add(&list(to), day(), &title(text)).unwrap_or_else(|error| panic!("{to}, {text}: {error}"))
}

/// Returns the titles of a list, in order.
#[track_caller]
fn titles(of: &str) -> Vec<String> {
    let entries = CLIENT.entries(&list(of), None).unwrap_or_else(|error| panic!("{of}: {error}"));
    entries.iter().map(|entry| entry.title.to_string()).collect()
}

#[track_caller]
fn holder(name: &str) -> Pid {
    process::whereis(name).unwrap_or_else(|| panic!("no process is called {name}"))
}

/// Returns a list of that shard.
fn list_in_shard(shard: usize) -> ListName {
    (0..)
        .map(|n| list(&format!("list {n}")))
        .find(|name| shard_of(name, SHARDS) == shard)
        .expect("there is one")
}

/// A process with an end that can be waited for.
struct Job {
    process: Pid,
    done: Arc<AtomicBool>,
}

/// Starts a process that does this and ends.
#[track_caller]
fn go(body: impl FnOnce() + Send + 'static) -> Job {
    let done = Arc::new(AtomicBool::new(false));
    let finished = Arc::clone(&done);
    let run = move || {
        body();
        finished.store(true, Ordering::Release);
    };
    Job { process: process::spawn(run).expect("a free thread"), done }
}

/// Waits until all of them have ended; each must have come to its end.
#[track_caller]
fn join(jobs: Vec<Job>) {
    for job in jobs {
        let reason = process::watch(job.process).wait();
        assert!(job.done.load(Ordering::Acquire), "a client failed: {reason}");
    }
}

/// A sequence of numbers that looks random and is the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

/// The servers and their clients.
mod cache {
    use super::*;

    #[test]
    fn each_name_has_exactly_one_server() {
        with_system(3, &|_, _| {
            let bob = CLIENT.server_process(&list("bob")).expect("a server").whereis();
            let alice = CLIENT.server_process(&list("alice")).expect("a server").whereis();
            assert!(bob.is_some() && alice.is_some() && bob != alice);
            assert_eq!(CLIENT.server_process(&list("bob")).expect("a server").whereis(), bob);
            assert_eq!(process::whereis("list:bob"), bob);
        });
    }

    #[test]
    fn concurrent_requests_for_a_new_name_start_one_server() {
        with_system(3, &|_, _| {
            let gate = Gate::new();
            let pids: Arc<Mutex<Vec<Option<Pid>>>> = Arc::default();
            let clients = (0..100).map(|_| {
                let (gate, pids) = (gate.clone(), Arc::clone(&pids));
                go(move || {
                    gate.pass();
                    let server = CLIENT.server_process(&list("new")).expect("a server");
                    pids.lock().push(server.whereis());
                })
            });
            let clients: Vec<_> = clients.collect();
            gate.open();
            join(clients);
            let pids = pids.lock();
            assert_eq!(pids.len(), 100);
            assert!(pids.iter().all(|pid| *pid == process::whereis("list:new")), "{pids:?}");
            let servers =
                process::processes().iter().filter(|p| p.name.as_deref() == Some("list:new")).count();
            assert_eq!(servers, 1);
        });
    }

    #[test]
    fn server_that_stopped_normally_is_restarted_on_demand() {
        with_system(0, &|_, _| {
            add("bob", "Dentist");
            let server = TodoServer::of(&list("bob"));
            let first = server.whereis();
            server.stop().expect("it stops");
            assert_eq!(titles("bob"), ["Dentist"]);
            assert_ne!(server.whereis(), first);
        });
    }

    /// Unregisters the name of a worker: its clients wait for up to a second.
    #[test]
    fn loading_list_delays_neither_the_cache_nor_other_lists() {
        with_system(0, &|_, _| {
            let [slow, other] = [0, 1].map(list_in_shard);
            CLIENT.add(&slow, day(), &title("slow")).expect("added");
            TodoServer::of(&slow).stop().expect("it stops");
            let worker = holder("db.worker.0");
            process::unregister("db.worker.0").expect("it had the name");

            let server = CLIENT.server_process(&slow).expect("at once, although it cannot load");
            CLIENT.add(&other, day(), &title("quick")).expect("added meanwhile");
            assert_eq!(CLIENT.entries(&other, None).expect("read meanwhile").len(), 1);
            let loading = process::info(server.whereis().expect("it waits")).expect("it lives");
            assert_eq!(loading.message_queue_len, 0);

            process::register("db.worker.0", worker).expect("it has none");
            assert_eq!(CLIENT.entries(&slow, None).expect("loaded").len(), 1);
            assert_eq!(server.whereis(), Some(loading.pid), "it was the same server all the time");
        });
    }
}

/// Changing and reading lists.
mod lists {
    use super::*;

    #[test]
    fn list_can_be_changed_and_read() {
        with_system(0, &|_, _| {
            let bob = list("bob");
            let first = add("bob", "Dentist");
            let second =
                CLIENT.add(&bob, "2026-11-23".parse().expect("a date"), &title("Dinner")).expect("added");
            assert_eq!((first.id, second.id), (1, 2));

            assert!(CLIENT.done(&bob, 1).expect("there").done);
            assert_eq!(CLIENT.edit(&bob, 2, &title("Lunch")).expect("there").title, title("Lunch"));
            assert_eq!(titles("bob"), ["Dentist", "Lunch"]);
            assert_eq!(CLIENT.entries(&bob, Some(day())).expect("read").len(), 1);
            assert_eq!(CLIENT.remove(&bob, 1).expect("there").id, 1);
            assert_eq!(titles("bob"), ["Lunch"]);

            for result in [CLIENT.done(&bob, 1), CLIENT.edit(&bob, 9, &title("x")), CLIENT.remove(&bob, 1)] {
                assert!(matches!(result, Err(TodoError::NoSuchEntry(_))), "{result:?}");
            }
            assert_eq!(add("bob", "Supper").id, 3, "an id is never given out again");
        });
    }

    #[test]
    fn writes_of_one_list_keep_their_order() {
        const WRITERS: usize = 8;
        const EACH: usize = 10;
        with_system(0, &|_, _| {
            let writers = (0..WRITERS).map(|writer| {
                go(move || {
                    let ids: Vec<EntryId> =
                        (0..EACH).map(|n| add("shared", &format!("{writer} {n}")).id).collect();
                    assert!(ids.is_sorted(), "{ids:?}");
                })
            });
            join(writers.collect());
            let entries = CLIENT.entries(&list("shared"), None).expect("read");
            let ids: Vec<EntryId> = entries.iter().map(|entry| entry.id).collect();
            assert_eq!(ids, (1..=(WRITERS * EACH) as EntryId).collect::<Vec<_>>());
            for writer in 0..WRITERS {
                let of = |entry: &&Entry| entry.title.as_str().starts_with(&format!("{writer} "));
                let own: Vec<&str> = entries.iter().filter(of).map(|entry| entry.title.as_str()).collect();
                assert_eq!(own, (0..EACH).map(|n| format!("{writer} {n}")).collect::<Vec<_>>());
            }
        });
    }

    #[test]
    fn lists_returns_every_list_that_ever_had_an_entry() {
        with_system(0, &|_, _| {
            for name in ["b", "a", "c", "d"] {
                add(name, "x");
            }
            CLIENT.remove(&list("d"), 1).expect("removed");
            assert_eq!(titles("never written"), [""; 0]);
            assert_eq!(CLIENT.lists().expect("named"), ["a", "b", "c", "d"].map(list));
        });
    }

    /// Checks that the name of a list is never part of a path.
    #[test]
    fn name_like_a_path_is_only_a_name() {
        const NAMES: [&str; 6] = ["../x", "/etc/passwd", "a/b", "..", "CON", "🛒 %00 ; rm -rf ~"];
        alone(&|_, dir| {
            let data = dir.join("data");
            let system = start(&data, 0);
            for name in NAMES {
                add(name, name);
            }
            system.stop().expect("it stops");
            let names = |dir: &Path| -> BTreeSet<String> {
                let entries = fs::read_dir(dir).expect("readable");
                entries
                    .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
                    .collect()
            };
            assert_eq!(names(dir), BTreeSet::from(["data".to_owned()]));
            let shards = (0..SHARDS).flat_map(|n| [format!("shard-{n}.redb"), format!("shard-{n}.mark")]);
            assert_eq!(names(&data), shards.chain(["shards".to_owned()]).collect());

            let system = start(&data, 0);
            for name in NAMES {
                assert_eq!(titles(name), [name]);
            }
            system.stop().expect("it stops");
        });
    }
}

/// The worker's part.
mod workers {
    use super::*;

    /// Returns the number of batches of a shard, from its mark.
    fn batches(dir: &Path, shard: usize) -> u64 {
        let mark = fs::read_to_string(dir.join(format!("shard-{shard}.mark"))).expect("a mark");
        mark.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
    }

    #[test]
    fn concurrent_changes_are_written_in_one_batch() {
        const LISTS: usize = 32;
        with_system(0, &|_, dir| {
            let writers = (0..LISTS).map(|n| {
                go(move || {
                    for k in 0..10 {
                        add(&format!("list {n}"), &format!("entry {k}"));
                    }
                })
            });
            join(writers.collect());
            let written: u64 = (0..SHARDS).map(|shard| batches(dir, shard)).sum();
            assert!(written < 10 * LISTS as u64, "each of {written} batches had one change");
        });
    }

    #[test]
    fn read_sees_every_earlier_change() {
        with_system(0, &|_, _| {
            let home = list_in_shard(0);
            for id in 1..=50 {
                let event = Change::Added(Entry { id, date: day(), title: title("x"), done: false });
                // Sent, and not waited for.
                let _ = WORKERS[0].call_timeout(Duration::ZERO, |from| {
                    worker::WorkerCall::Append(home.clone(), event, from)
                });
                assert_eq!(database::load(&home).expect("loaded").len() as EntryId, id);
            }
        });
    }

    #[test]
    fn conflicting_change_fails_alone() {
        with_system(0, &|_, _| {
            let home = list_in_shard(0);
            let added = |id| Change::Added(Entry { id, date: day(), title: title("x"), done: false });
            let send = |event| {
                let _ = WORKERS[0].call_timeout(Duration::ZERO, |from| {
                    worker::WorkerCall::Append(home.clone(), event, from)
                });
            };
            for round in 0..20 {
                let id = 2 * round + 1;
                send(added(id)); // while the worker writes this, the next two come together
                send(Change::Done { id: 999 });
                database::append(&home, &added(id + 1)).expect("it fits");
            }
            let stale = database::append(&home, &Change::Done { id: 999 });
            assert!(matches!(stale, Err(TodoError::Store(StoreError::Stale { id: 999, .. }))), "{stale:?}");
            assert_eq!(CLIENT.entries(&home, None).expect("read").len(), 40);
        });
    }

    /// Starts a worker under a supervisor of its own: its exit does not affect its clients.
    fn with_lone_worker(body: &dyn Fn(&SupervisorRef, &ListName)) {
        alone(&|_, dir| {
            let plan = Supervisor::one_for_one().max_restarts(1_000, Duration::from_secs(5));
            let plan =
                plan.child(worker::spec(&worker::DataFolder::new(dir), 0, worker::DEFAULT_FINISH_TIMEOUT));
            let supervisor = plan.start_link().expect("it starts");
            body(&supervisor, &list_in_shard(0));
            supervisor.stop().expect("it stops");
        });
    }

    #[test]
    fn write_waits_for_a_worker_that_is_restarting() {
        with_lone_worker(&|supervisor, home| {
            supervisor.terminate_child("DbWorker").expect("it ran");
            let name = home.clone();
            let writer = go(move || {
                let event = Change::Added(Entry { id: 1, date: day(), title: title("x"), done: false });
                database::append(&name, &event).expect("written by the new worker");
            });
            supervisor.restart_child("DbWorker").expect("it starts");
            join(vec![writer]);
            assert_eq!(database::load(home).expect("loaded").len(), 1);
        });
    }

    #[test]
    fn write_during_the_exit_of_its_worker_is_made_once() {
        const ENTRIES: EntryId = 60;
        const KILLS: usize = 6;
        with_lone_worker(&|_, home| {
            let name = home.clone();
            let killed = Arc::new(AtomicUsize::new(0));
            let enough = Arc::clone(&killed);
            let writer = go(move || {
                // As many as it takes: on a busy machine a new worker takes its time.
                for id in (1..).take_while(|id| *id <= ENTRIES || enough.load(Ordering::Relaxed) < KILLS) {
                    let entry = Entry { id, date: day(), title: title(&format!("entry {id}")), done: false };
                    database::append(&name, &Change::Added(entry)).expect("a death does not fail a write");
                }
            });
            let mut dice = Dice(7);
            while process::is_alive(writer.process) {
                // At most once for each new worker: a write is tried only twice.
                let known = database::load(home).expect("loaded").len() + dice.below(3) + 1;
                eventually("some more entries", || {
                    !process::is_alive(writer.process)
                        || database::load(home).is_ok_and(|list| list.len() >= known)
                });
                if let Some(worker) = WORKERS[0].whereis() {
                    let watch = process::watch(worker);
                    process::exit(worker, ExitReason::Kill);
                    watch.wait();
                    killed.fetch_add(1, Ordering::Relaxed);
                }
            }
            join(vec![writer]);
            let ids: Vec<EntryId> =
                database::load(home).expect("loaded").entries().map(|entry| entry.id).collect();
            assert!(ids.len() >= ENTRIES as usize, "only {}", ids.len());
            assert_eq!(ids, (1..=ids.len() as EntryId).collect::<Vec<_>>());
        });
    }
}

/// All are linked, and one supervisor restarts them.
mod faults {
    use super::*;

    const NAMES: [&str; 7] =
        ["cache", "database", "db.worker.0", "db.worker.1", "db.worker.2", "list:alice", "list:bob"];

    #[test]
    fn tree_shows_the_parent_of_each_process() {
        with_system(0, &|_, _| {
            add("bob", "Dentist");
            let lines = tree::lines();
            let names: Vec<&str> = lines.iter().map(|line| line.split_once(" <").expect("a pid").0).collect();
            assert_eq!(
                names,
                [
                    "system",
                    "+- cache",
                    "   +- database",
                    "   |  +- db.worker.0",
                    "   |  +- db.worker.1",
                    "   |  +- db.worker.2",
                    "   +- list:bob"
                ]
            );
        });
    }

    #[test]
    fn any_exit_restarts_all_under_their_names_and_no_entry_is_lost() {
        with_system(100, &|_, _| {
            add("bob", "Dentist");
            add("alice", "Shopping");
            for name in NAMES {
                for fault in [Fault::Kill, Fault::Crash] {
                    assert_eq!(titles("bob").len() + titles("alice").len(), 2);
                    let before = NAMES.map(holder);
                    let outcome = inject(name, fault).unwrap_or_else(|error| panic!("{name}: {error}"));
                    assert_eq!(outcome.gave_up, None);
                    match fault {
                        Fault::Kill => assert_eq!(outcome.reason, ExitReason::Killed),
                        _ => {
                            assert!(
                                matches!(outcome.reason, ExitReason::Panic(_)),
                                "{name}: {}",
                                outcome.reason
                            )
                        }
                    }
                    assert_eq!(
                        (titles("bob"), titles("alice")),
                        (vec!["Dentist".into()], vec!["Shopping".into()])
                    );
                    let after = NAMES.map(holder);
                    for (name, (before, after)) in NAMES.iter().zip(before.iter().zip(after)) {
                        assert!(*before < after, "{name} was {before} and is {after}");
                        assert!(!process::is_alive(*before), "{name}: {before} still lives");
                    }
                }
            }
            let members = tree::members();
            assert_eq!(members.len(), 1 + NAMES.len(), "{members:?}");
        });
    }

    #[test]
    fn fault_for_an_unknown_name_is_an_error() {
        with_system(0, &|_, _| {
            assert_eq!(inject("nobody", Fault::Kill), Err(InjectError::Unknown("nobody".into())));
            assert_eq!(inject("list:bob", Fault::Crash), Err(InjectError::Unknown("list:bob".into())));
            assert_eq!(
                inject("system", Fault::Crash),
                Err(InjectError::NoHandler("system".into(), ProcessKind::Supervisor))
            );
        });
    }

    #[test]
    fn the_fourth_crash_ends_the_system_with_shutdown() {
        alone(&|inbox, dir| {
            let Config { max_restarts, period, .. } = Config::new(dir);
            assert_eq!((max_restarts, period), (3, Duration::from_secs(5)));
            let system = start(dir, 3).root;
            add("bob", "Dentist");
            for _ in 0..3 {
                assert_eq!(inject("cache", Fault::Crash).expect("injected").gave_up, None);
            }
            assert_eq!(inject("cache", Fault::Crash).expect("injected").gave_up, Some(ExitReason::Shutdown));
            match inbox.recv() {
                Event::Exit { from, reason } => assert_eq!((from, reason), (system, ExitReason::Shutdown)),
                other => panic!("an exit was due, not {other:?}"),
            }
            eventually("all processes have exited", || left().is_empty());
            // A client that waits for a system that does not come takes two seconds each time.
            eventually("a refusal without a wait", || {
                let began = Instant::now();
                let refused = CLIENT.add(&list("bob"), day(), &title("Dinner"));
                let is_refused = matches!(refused, Err(TodoError::Unavailable(CallError::NoProc { .. })));
                assert!(is_refused, "{refused:?}");
                began.elapsed() < Duration::from_secs(1)
            });

            let again = start(dir, 3);
            assert_eq!(titles("bob"), ["Dentist"]);
            again.stop().expect("it stops");
            assert_no_process_left();
        });
    }

    /// Checks the one error after which the outcome is unknown: the client gets that error, and no change is made twice.
    #[test]
    fn change_in_flight_during_a_crash_is_unanswered() {
        // A worker without its name is not waited for by its successor, which then is tried again.
        with_system(100_000, &|_, _| {
            let home = list_in_shard(0);
            CLIENT.add(&home, day(), &title("first")).expect("added");
            process::unregister("db.worker.0").expect("it had the name"); // a write waits for the worker now
            let answer: Arc<Mutex<Option<Result<Entry, TodoError>>>> = Arc::default();
            let writer = {
                let (answer, home) = (Arc::clone(&answer), home.clone());
                go(move || *answer.lock() = Some(CLIENT.add(&home, day(), &title("second"))))
            };
            let server = TodoServer::of(&home).whereis().expect("it runs");
            let waits_for_it =
                || process::info(writer.process).is_some_and(|writer| writer.waiting_on == Some(server));
            eventually("the request is there", waits_for_it);
            eventually("it is being handled", || {
                process::info(server).is_some_and(|info| info.message_queue_len == 0)
            });
            inject("cache", Fault::Kill).expect("injected");
            join(vec![writer]);
            let answer = answer.lock().take().expect("it returned");
            assert!(matches!(answer, Err(TodoError::Unanswered(CallError::Exited { .. }))), "{answer:?}");
            assert_eq!(titles(home.as_str()), ["first"]);
        });
    }

    /// Lets many writers add entries while a process is killed every few milliseconds. The test ends after a number of kills
    /// and of acknowledged entries, however long these take: its verdict does not depend on the speed of the machine.
    #[test]
    fn no_acknowledged_entry_is_lost_or_doubled_under_random_kills() {
        const WRITERS: usize = 6;
        const KILLS: usize = 40;
        const ENTRIES: usize = 100;
        with_system(1_000_000, &|_, _| {
            let acknowledged: Arc<Mutex<BTreeMap<(ListName, EntryId), Title>>> = Arc::default();
            let stopped = Arc::new(AtomicBool::new(false));
            let writers = (0..WRITERS).map(|writer| {
                let (acknowledged, stopped) = (Arc::clone(&acknowledged), Arc::clone(&stopped));
                go(move || {
                    for n in 0.. {
                        if stopped.load(Ordering::Relaxed) {
                            return;
                        }
                        let (name, what) =
                            (list(&format!("list {}", writer / 2)), title(&format!("{writer}: {n}")));
                        if let Ok(entry) = CLIENT.add(&name, day(), &what) {
                            assert_eq!(entry.title, what);
                            let earlier = acknowledged.lock().insert((name, entry.id), what);
                            assert_eq!(earlier, None, "one id for two entries");
                        }
                    }
                })
            });
            let writers: Vec<_> = writers.collect();
            let mut dice = Dice(2026);
            let mut kills = 0;
            while kills < KILLS || acknowledged.lock().len() < ENTRIES {
                let known: Vec<Pid> = process::processes()
                    .iter()
                    .filter(|info| info.name.as_deref().is_some_and(|name| name != "system"))
                    .map(|info| info.pid)
                    .collect();
                if !known.is_empty() {
                    process::exit(known[dice.below(known.len())], ExitReason::Kill);
                    kills += 1;
                }
                // On a slow machine the pauses grow: a process that is killed before it can answer acknowledges nothing.
                let pause = 10 + dice.below(60) + 5 * kills.saturating_sub(KILLS);
                process::sleep(Duration::from_millis(pause as u64));
            }
            stopped.store(true, Ordering::Relaxed);
            join(writers);

            let mut kept = BTreeMap::new();
            for name in CLIENT.lists().expect("named") {
                for entry in CLIENT.entries(&name, None).expect("read") {
                    kept.insert((name.clone(), entry.id), entry.title);
                }
            }
            let acknowledged = acknowledged.lock();
            let lost: Vec<_> =
                acknowledged.iter().filter(|(key, what)| kept.get(key) != Some(what)).collect();
            assert!(lost.is_empty(), "lost: {lost:?}");
            let distinct: HashSet<&Title> = kept.values().collect();
            assert_eq!(distinct.len(), kept.len(), "an entry is there twice");
            println!("{kills} kills, {} entries acknowledged, {} kept", acknowledged.len(), kept.len());
        });
    }
}

/// A system that cannot start says why, in one line, and leaves nothing behind.
mod refusals {
    use super::*;

    #[track_caller]
    fn refused(dir: &Path) -> StoreError {
        let error = System::start_link(Config::new(dir)).expect_err("it cannot start");
        let error = store_error(&error).unwrap_or_else(|| panic!("not the store's: {error}")).clone();
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
        eventually("all processes have exited", || left().is_empty());
        error
    }

    #[test]
    fn store_that_is_open_elsewhere_is_refused() {
        alone(&|_, dir| {
            let elsewhere = Store::open(dir, 1, SHARDS).expect("open");
            let error = refused(dir);
            assert!(
                matches!(&error, StoreError::Locked { path } if path.ends_with("shard-1.redb")),
                "{error:?}"
            );
            drop(elsewhere);
            start(dir, 0).stop().expect("it stops");
        });
    }

    #[test]
    fn damaged_shard_is_refused_and_left_unchanged() {
        alone(&|_, dir| {
            let system = start(dir, 0);
            for name in ["a", "b", "c", "d", "e"] {
                add(name, "x");
            }
            system.stop().expect("it stops");
            let path = dir.join("shard-2.redb");
            let whole = fs::read(&path).expect("readable");
            let cut = &whole[..whole.len() / 3];
            fs::write(&path, cut).expect("writable");
            let error = refused(dir);
            assert!(
                matches!(&error, StoreError::Damaged { path, .. } if path.ends_with("shard-2.redb")),
                "{error:?}"
            );
            assert_eq!(fs::read(&path).expect("readable"), cut);
        });
    }

    #[test]
    fn folder_with_another_number_of_shards_is_refused() {
        alone(&|_, dir| {
            fs::write(dir.join("shards"), "7\n").expect("writable");
            assert!(matches!(refused(dir), StoreError::WrongShardCount { found: 7, asked: SHARDS, .. }));
        });
    }

    #[test]
    fn path_that_is_no_folder_is_refused() {
        alone(&|_, dir| {
            let file = dir.join("file");
            fs::write(&file, "").expect("writable");
            for dir in [file.clone(), file.join("below"), "/proc/nothing/here".into()] {
                assert!(matches!(refused(&dir), StoreError::Io { .. }));
            }
        });
    }

    #[test]
    fn second_system_is_refused() {
        with_system(0, &|_, dir| {
            let first = SYSTEM.whereis();
            let error = System::start_link(Config::new(dir)).expect_err("there is one");
            assert!(
                matches!(error, rethread::StartError::AlreadyStarted(pid) if Some(pid) == first),
                "{error}"
            );
            assert_eq!(titles("bob"), [""; 0]);
        });
    }
}

/// Checks the names that are used only as text, so that a rename is noticed.
#[test]
fn process_names_are_as_documented() {
    assert_eq!((CACHE.to_string(), LISTS.to_string()), ("cache".into(), "lists".into()));
    assert_eq!((DATABASE.to_string(), POOL.to_string()), ("database".into(), "db.workers".into()));
    assert_eq!(SYSTEM.to_string(), "system");
    assert_eq!(TodoServer::of(&list("bob")).to_string(), "list:bob");
    for (shard, worker) in WORKERS.iter().enumerate() {
        assert_eq!(worker.to_string(), format!("db.worker.{shard}"));
        assert_eq!(choose_worker(&list_in_shard(shard)).to_string(), worker.to_string());
    }
    let _: fn(_) -> worker::WorkerCall = worker::WorkerCall::Lists;
}
