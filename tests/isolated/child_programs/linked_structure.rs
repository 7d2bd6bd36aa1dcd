//! A linked structure is restarted a thousand times while its middle is busy: every name resolves to the
//! new incarnation, and nothing is left in the end. It counts the threads of the program, so the test runs
//! in a child program.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::child_program::in_child_program;
use crate::support::{self, Idle, eventually, watchdog};
use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::process::configure;

const ROUNDS: usize = 1000;
const CLIENTS: u64 = 2;

const CACHE: ServerRef<Cache> = ServerRef::named("takeover.cache");
const DATABASE: ServerRef<Database> = ServerRef::named("takeover.database");
const WORKERS: [ServerRef<Idle>; 3] = [
    ServerRef::named("takeover.worker.0"),
    ServerRef::named("takeover.worker.1"),
    ServerRef::named("takeover.worker.2"),
];

/// Starts the database, linked; returns the pids of the processes below.
struct Cache {
    database: ServerRef<Database>,
}

/// Starts the workers, linked; is busy for a while with each request.
struct Database {
    workers: Vec<ServerRef<Idle>>,
}

enum Ask {
    /// The pids of the cache, the database and the workers, each returned by its parent.
    Family(Caller<Vec<Pid>>),
}

enum Store {
    /// Works this many microseconds, without a checkpoint.
    Put(u64, Caller<()>),
    Family(Caller<Vec<Pid>>),
}

impl GenServer for Cache {
    type Args = ();
    type Call = Ask;
    type Cast = Infallible;

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self { database: Database::child_spec(()).name(DATABASE).start_link()? })
    }
    fn handle_call(&mut self, Ask::Family(from): Ask, cx: &mut Context<Self>) -> Next {
        let mut family = vec![cx.pid()];
        family.extend(self.database.call(Store::Family).or_exit());
        from.reply(family)
    }
}

impl GenServer for Database {
    type Args = ();
    type Call = Store;
    type Cast = Infallible;

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        let start = |name| Idle::child_spec(()).name(name).start_link();
        Ok(Self { workers: WORKERS.into_iter().map(start).collect::<Result<_, _>>()? })
    }
    fn handle_call(&mut self, ask: Store, cx: &mut Context<Self>) -> Next {
        match ask {
            Store::Put(time, from) => {
                let until = Instant::now() + Duration::from_micros(time);
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
                from.reply(())
            }
            Store::Family(from) => {
                let workers = self.workers.iter().filter_map(ServerRef::whereis);
                from.reply(std::iter::once(cx.pid()).chain(workers).collect())
            }
        }
    }
}

/// Returns the threads of this program, by name.
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux lists the threads");
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok() // exited meanwhile: not a thread
    };
    let mut names: Vec<String> = tasks.filter_map(name).map(|name| name.trim().to_owned()).collect();
    names.sort();
    names
}

/// Returns the holders of the names, once all five are held.
fn family() -> Vec<Pid> {
    let mut family = Vec::new();
    eventually("the cache answers", || {
        family = CACHE.call(Ask::Family).unwrap_or_default();
        !family.is_empty()
    });
    family
}

#[test]
fn a_busy_linked_structure_heals_a_thousand_times_and_leaves_nothing_behind() {
    in_child_program(body);
}

fn body() {
    let mut watched = watchdog();
    support::capture();
    // On a loaded machine a thread may be delayed at will, but must exit by itself: no zombies here.
    let patient = Duration::from_secs(600);
    // Idle threads would look like leaked threads.
    configure(|settings| {
        settings.kill_grace = patient;
        settings.exit_timeout = patient;
        settings.max_idle_threads = 0;
    });
    // The runtime's own timer thread is permanent: start it before the count.
    process::cancel_timer(process::send_after(Duration::from_secs(60), support::sleeper(), ()));
    process::exit(process::processes()[0].pid, ExitReason::Kill);
    eventually("the sleeper is gone", || process::processes().is_empty());
    let mut before = Vec::new();
    eventually("its thread too", || {
        before = threads();
        let there = |name: &str| before.iter().any(|thread| thread == name);
        // `rethread` is the name of a thread whose process has no label.
        there("watchdog") && there("rethread-timer") && !there("rethread")
    });

    let plan = Supervisor::one_for_one().max_restarts(2 * ROUNDS as u32, Duration::from_secs(600));
    let supervisor = plan.child(Cache::child_spec(()).name(CACHE)).start().expect("it starts");
    let (stop, puts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (stop, puts) = (Arc::clone(&stop), Arc::clone(&puts));
            let load = move || {
                let mut time = 1000 + 700 * client;
                while !stop.load(Ordering::SeqCst) {
                    time = 1000 + (time + 1300) % 1500;
                    match DATABASE.call(|from| Store::Put(time, from)) {
                        Ok(()) => drop(puts.fetch_add(1, Ordering::SeqCst)),
                        Err(CallError::NoProc { .. } | CallError::Exited { .. }) => {}
                        Err(other) => panic!("a client got {other}"),
                    }
                }
            };
            process::watch(process::spawn(load).expect("a free thread"))
        })
        .collect();

    let mut seen = HashSet::new();
    for round in 0..ROUNDS {
        if round % 100 == 0 {
            watched = watchdog(); // a hundred rounds must not take longer than a test
        }
        let family = family();
        assert_eq!(family.len(), 5, "round {round}: {family:?}");
        assert!(family.iter().all(|pid| seen.insert(*pid)), "round {round}: a process survived: {family:?}");
        // Whichever process of the family exits, all do.
        let watch = process::watch(family[0]);
        process::exit(family[round % 5], if round % 2 == 0 { ExitReason::Kill } else { "crash".into() });
        watch.wait();
    }
    let last = family();
    let names = [CACHE.whereis(), DATABASE.whereis()].into_iter().chain(WORKERS.map(|name| name.whereis()));
    assert_eq!(names.flatten().collect::<Vec<_>>(), last);
    assert_eq!(seen.len(), 5 * ROUNDS);

    stop.store(true, Ordering::SeqCst);
    for client in clients {
        let reason = client.wait();
        assert!(matches!(reason, ExitReason::Normal | ExitReason::NoProc), "{reason}");
    }
    supervisor.stop().expect("it never gave up");
    let stumbles: Vec<String> =
        support::logs().into_iter().filter(|line| line.contains("did not start")).collect();
    assert!(stumbles.is_empty(), "{} restarts failed at first: {}", stumbles.len(), stumbles[0]);
    assert!(puts.load(Ordering::SeqCst) > 0);

    assert_eq!(process::zombies_total(), 0);
    eventually("all processes are gone", || process::processes().is_empty());
    let held = [CACHE.whereis(), DATABASE.whereis()].into_iter().chain(WORKERS.map(|name| name.whereis()));
    assert_eq!(held.flatten().collect::<Vec<_>>(), []);
    eventually("all threads are gone", || threads() == before);
    drop(watched);
}
