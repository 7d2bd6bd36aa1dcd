//! How the cost of each operation grows with the number of entries, children, links, monitors, timers, names and
//! waiters. Prints a table: nanoseconds per entry for each number of entries, and the ratio of the last figure to the
//! first. Where the cost of n entries is proportional to n, the ratio is about 1; where it is quadratic, it is about 10 or
//! 100. Nothing is judged.
//!
//! ```text
//! cargo bench --bench growth                 1,000, 10,000 and 100,000; operations with a thread for each entry up to 8,000
//! cargo bench --bench growth -- registry     the operations with this word in their name
//! GROWTH_SIZES=100,1000 cargo bench --bench growth
//! ```

use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use rethread::agent::Agent;
use rethread::prelude::*;
use rethread::process::AliasMode;
use rethread::registry::{DuplicateRegistry, Registry};
use rethread::supervisor::DynamicSupervisor;
use rethread::task::TaskSupervisor;
use rethread::{observer, supervisor};

/// The most entries of an operation that needs a thread for each.
const MAX_THREADS: usize = 8000;

/// One row: the name of the operation, whether each entry needs a thread, and a function that prepares n entries and
/// returns the time of the operation alone.
type Row = (&'static str, bool, fn(usize) -> Duration);

#[expect(clippy::print_stdout, reason = "the table is the result")]
fn main() {
    process::configure(|settings| {
        settings.stack_size = 64 * 1024;
        settings.max_processes = 2 * MAX_THREADS + 100;
        settings.max_idle_threads = MAX_THREADS;
        settings.kill_grace = Duration::from_secs(60);
        settings.exit_timeout = Duration::from_secs(60);
    });
    let sizes = std::env::var("GROWTH_SIZES").unwrap_or_else(|_| "1000,10000,100000".to_owned());
    let sizes: Vec<usize> = sizes.split(',').filter_map(|size| size.trim().parse().ok()).collect();
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let heads: Vec<String> = sizes.iter().map(ToString::to_string).collect();
    println!("| operation, ns per entry | {} | ratio |", heads.join(" | "));
    println!("| --- |{} ---: |", " ---: |".repeat(sizes.len()));
    for (name, threads, measure) in ROWS {
        if !wanted.is_empty() && !wanted.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let mut cells: Vec<String> = Vec::new();
        let mut figures: Vec<f64> = Vec::new();
        let mut last = 0;
        for &size in &sizes {
            let size = if *threads { size.min(MAX_THREADS) } else { size };
            if size == last {
                cells.push("-".to_owned());
                continue;
            }
            last = size;
            let best = (0..3).map(|_| measure(size)).min().unwrap_or_default();
            let figure = best.as_nanos() as f64 / size as f64;
            figures.push(figure);
            cells.push(format!("{figure:.0}"));
        }
        let ratio = figures.last().zip(figures.first()).map_or(1.0, |(last, first)| last / first);
        let limit = if *threads { " (at most 8,000)" } else { "" };
        println!("| {name}{limit} | {} | {ratio:.1} |", cells.join(" | "));
    }
}

/// Returns the time that `body` takes.
fn time(body: impl FnOnce()) -> Duration {
    let began = Instant::now();
    body();
    began.elapsed()
}

/// Ignores a result.
fn ignore<T>(_: T) {}

/// Runs `body` as a process that traps exits.
fn attached<M: Send + 'static>(body: impl FnOnce(&mut Inbox<M>) -> Duration) -> Duration {
    let run = |inbox: &mut Inbox<M>| {
        process::trap_exit(true);
        body(inbox)
    };
    process::attach_receiver(run).expect("no signal arrives")
}

fn sleeper() -> Pid {
    process::spawn(|| process::sleep(Duration::MAX)).expect("a thread")
}

fn sleepers(n: usize) -> Vec<Pid> {
    (0..n).map(|_| sleeper()).collect()
}

fn kill_all(pids: &[Pid]) {
    let watches: Vec<_> = pids.iter().map(process::watch).collect();
    pids.iter().for_each(|pid| process::exit(pid, ExitReason::Kill));
    watches.iter().for_each(|watch| drop(watch.wait()));
}

/// Returns the time from a kill until all is done.
fn exit_time(pid: Pid) -> Duration {
    let watch = process::watch(pid);
    time(|| {
        process::exit(pid, ExitReason::Kill);
        watch.wait();
    })
}

/// Starts a process that runs `prepare` and sleeps; returns when it has prepared.
fn prepared(prepare: impl FnOnce() + Send + 'static) -> Pid {
    let (done, is_done) = channel();
    let body = move || {
        prepare();
        done.send(()).expect("it is expected");
        process::sleep(Duration::MAX);
    };
    let pid = process::spawn(body).expect("a thread");
    is_done.recv().expect("it prepares");
    pid
}

struct Idle;

impl GenServer for Idle {
    type Args = ();
    type Call = Infallible;
    type Cast = Infallible;

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self)
    }
    fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next {
        match call {}
    }
}

fn registered(n: usize) -> Registry<usize, usize> {
    let registry = Registry::new();
    (0..n).for_each(|key| registry.register(key, key).expect("it is free"));
    registry
}

fn grouped(n: usize) -> DuplicateRegistry<u8, usize> {
    let registry = DuplicateRegistry::new();
    (0..n).for_each(|value| registry.register(0, value).expect("it is a process"));
    registry
}

const ROWS: &[Row] = &[
    ("registry: register", false, |n| attached::<()>(|_| time(|| drop(registered(n))))),
    ("registry: lookup, values, update_value", false, |n| {
        attached::<()>(|inbox| {
            let registry = registered(n);
            let me = inbox.pid();
            time(|| {
                for key in 0..n {
                    registry.lookup(&key);
                    registry.values(&key, me);
                    registry.update_value(&key, |value| value);
                }
            })
        })
    }),
    ("registry: keys, entries, count", false, |n| {
        attached::<()>(|inbox| {
            let registry = registered(n);
            time(|| drop((registry.keys(inbox.pid()), registry.entries(), registry.count())))
        })
    }),
    ("registry: unregister", false, |n| {
        attached::<()>(|_| {
            let registry = registered(n);
            time(|| (0..n).for_each(|key| registry.unregister(&key)))
        })
    }),
    ("registry: exit of a process with n keys", false, |n| {
        exit_time(prepared(move || std::mem::forget(registered(n))))
    }),
    ("registry: lock of n keys, nested in none", false, |n| {
        let registry = Registry::<usize>::new();
        time(|| (0..n).for_each(|key| registry.lock(key, || ())))
    }),
    ("registry: n registries of a process", false, |n| {
        attached::<()>(|_| time(|| drop((0..n).map(|_| registered(1)).collect::<Vec<_>>())))
    }),
    ("duplicate registry: register under one key", false, |n| attached::<()>(|_| time(|| drop(grouped(n))))),
    ("duplicate registry: values, dispatch", false, |n| {
        attached::<()>(|inbox| {
            let registry = grouped(n);
            time(|| {
                registry.values(&0, inbox.pid());
                registry.dispatch(&0, |entries| assert_eq!(entries.len(), n));
            })
        })
    }),
    ("duplicate registry: unregister n entries of one key", false, |n| {
        attached::<()>(|_| {
            let registry = grouped(n);
            time(|| registry.unregister(&0))
        })
    }),
    ("duplicate registry: unregister_match, all in one", false, |n| {
        attached::<()>(|_| {
            let registry = grouped(n);
            time(|| registry.unregister_match(&0, |_| true))
        })
    }),
    ("duplicate registry: exit of a process with n entries", false, |n| {
        exit_time(prepared(move || std::mem::forget(grouped(n))))
    }),
    ("registry: n listeners are added, one event", true, |n| {
        let registry = Registry::<usize>::new();
        let receive = |inbox: &mut Inbox<rethread::registry::RegistryEvent<usize>>| loop {
            inbox.recv();
        };
        let listeners: Vec<_> = (0..n).map(|_| process::spawn_receiver(receive).expect("a thread")).collect();
        let took = attached::<()>(|_| {
            time(|| {
                listeners.iter().for_each(|listener| registry.listen(listener));
                registry.register(0, ()).expect("it is free");
            })
        });
        kill_all(&listeners.iter().map(|listener| listener.pid()).collect::<Vec<_>>());
        took
    }),
    ("locks: n waiters get the lock of one key in turn", true, |n| {
        let registry = Registry::<usize>::new();
        registry.lock(0, || {
            let waiters: Vec<_> = (0..n)
                .map(|_| {
                    let registry = registry.clone();
                    process::watch(process::spawn(move || registry.lock(0, || ())).expect("a thread"))
                })
                .collect();
            (waiters, Instant::now())
        });
        // All of them have it one after the other: this one is the last.
        time(|| registry.lock(0, || ()))
    }),
    ("locks: n waiters of one key are killed", true, |n| {
        let registry = Registry::<usize>::new();
        registry.lock(0, || {
            let wait = |_| {
                let registry = registry.clone();
                process::spawn(move || registry.lock(0, || ())).expect("a thread")
            };
            let waiters: Vec<_> = (0..n).map(wait).collect();
            let waits = |pid: &Pid| process::info(pid).is_some_and(|info| info.waiting_for_lock.is_some());
            while !waiters.iter().all(waits) {
                process::sleep(Duration::from_millis(1));
            }
            time(|| kill_all(&waiters))
        })
    }),
    ("names: register, whereis, exit", true, |n| {
        let names: Vec<String> = (0..n).map(|i| format!("growth {i}")).collect();
        let sleepers = sleepers(n);
        let took = time(|| {
            for (name, pid) in names.iter().zip(&sleepers) {
                process::register(name.as_str(), pid).expect("it is free");
                process::whereis(name);
            }
        });
        kill_all(&sleepers);
        took
    }),
    ("names: n processes wait for a name, which is registered", true, |n| {
        let waiting = |_| {
            let name = || assert!(process::whereis_timeout("growth", Duration::from_secs(600)).is_some());
            process::watch(process::spawn(name).expect("a thread"))
        };
        let waiting: Vec<_> = (0..n).map(waiting).collect();
        let holder = sleeper();
        let took = time(|| {
            process::register("growth", holder).expect("it is free");
            waiting.iter().for_each(|watch| drop(watch.wait()));
        });
        kill_all(&[holder]);
        took
    }),
    ("links: link", true, |n| {
        let sleepers = sleepers(n);
        let took = attached::<()>(|_| {
            let took = time(|| sleepers.iter().for_each(|pid| process::link(pid).expect("it is running")));
            sleepers.iter().for_each(process::unlink);
            took
        });
        kill_all(&sleepers);
        took
    }),
    ("links: unlink", true, |n| {
        let sleepers = sleepers(n);
        let took = attached::<()>(|_| {
            sleepers.iter().for_each(|pid| process::link(pid).expect("it is running"));
            time(|| sleepers.iter().for_each(process::unlink))
        });
        kill_all(&sleepers);
        took
    }),
    ("links: exit of a process with n links", true, |n| {
        let sleepers = Arc::new(sleepers(n));
        let (linked, all) = (Arc::clone(&sleepers), process::watch(sleepers[n - 1]));
        let hub = prepared(move || linked.iter().for_each(|pid| process::link(pid).expect("it is running")));
        let took = exit_time(hub);
        all.wait();
        kill_all(&sleepers);
        took
    }),
    ("monitors: monitor", false, |n| {
        let target = sleeper();
        let took = attached::<()>(|_| time(|| (0..n).for_each(|_| ignore(process::monitor(target)))));
        kill_all(&[target]);
        took
    }),
    ("monitors: demonitor", false, |n| {
        let target = sleeper();
        let took = attached::<()>(|_| {
            let monitors: Vec<_> = (0..n).map(|_| process::monitor(target)).collect();
            time(|| monitors.into_iter().for_each(|monitor| ignore(process::demonitor_flush(monitor))))
        });
        kill_all(&[target]);
        took
    }),
    ("monitors: exit of a process with n monitors", false, |n| {
        let target = sleeper();
        attached::<()>(|_| {
            (0..n).for_each(|_| ignore(process::monitor(target)));
            exit_time(target)
        })
    }),
    ("monitors: demonitor_flush of n that have fired", false, |n| {
        let target = sleeper();
        attached::<()>(|inbox| {
            let monitors: Vec<_> = (0..n).map(|_| process::monitor(target)).collect();
            exit_time(target);
            let took =
                time(|| monitors.into_iter().for_each(|monitor| ignore(process::demonitor_flush(monitor))));
            assert!(inbox.try_recv().is_none());
            took
        })
    }),
    ("monitors: exit of a process that monitors n", true, |n| {
        let sleepers = Arc::new(sleepers(n));
        let monitored = Arc::clone(&sleepers);
        let took =
            exit_time(prepared(move || monitored.iter().for_each(|pid| ignore(process::monitor(pid)))));
        kill_all(&sleepers);
        took
    }),
    ("monitors: n watches of one process", false, |n| {
        let target = sleeper();
        let took = time(|| drop((0..n).map(|_| process::watch(target)).collect::<Vec<_>>()));
        kill_all(&[target]);
        took
    }),
    ("monitors: n threads wait for one watch", true, |n| {
        let target = sleeper();
        let watch = Arc::new(process::watch(target));
        let wait = |_| {
            let watch = Arc::clone(&watch);
            process::watch(process::spawn(move || drop(watch.wait())).expect("a thread"))
        };
        let waiting: Vec<_> = (0..n).map(wait).collect();
        time(|| {
            process::exit(target, ExitReason::Kill);
            waiting.iter().for_each(|watch| drop(watch.wait()));
        })
    }),
    ("aliases: monitor_alias, unalias", false, |n| {
        let target = sleeper();
        let took = attached::<()>(|inbox| {
            time(|| {
                let all: Vec<_> =
                    (0..n).map(|_| inbox.monitor_alias(target, AliasMode::ReplyDemonitor)).collect();
                for (monitor, alias) in all {
                    alias.unalias();
                    process::demonitor(monitor);
                }
            })
        });
        kill_all(&[target]);
        took
    }),
    ("timers: send_after, cancel_timer", false, |n| {
        attached::<()>(|inbox| {
            let far = Duration::from_secs(3600);
            time(|| {
                let timers: Vec<_> = (0..n).map(|_| process::send_after(far, inbox.address(), ())).collect();
                timers.into_iter().for_each(|timer| ignore(process::cancel_timer(timer)));
            })
        })
    }),
    ("timers: exit of a process with n timers", false, |n| {
        let target = process::spawn_receiver(|inbox: &mut Inbox<()>| drop(inbox.recv())).expect("a thread");
        let far = Duration::from_secs(3600);
        (0..n).for_each(|_| ignore(process::send_after(far, &target, ())));
        exit_time(target.pid())
    }),
    ("timers: n fire at once", false, |n| {
        attached::<()>(|inbox| {
            let due = Instant::now() + Duration::from_millis(20) + Duration::from_micros(2) * n as u32;
            (0..n).for_each(|_| ignore(process::send_at(due, inbox.address(), ())));
            process::sleep(due.saturating_duration_since(Instant::now()));
            time(|| (0..n).for_each(|_| drop(inbox.recv())))
        })
    }),
    ("timers: n fire at once for a name without a holder", false, |n| {
        attached::<()>(|inbox| {
            let nobody = process::Name::<String>::new("growth: no holder");
            let due = Instant::now() + Duration::from_millis(20) + Duration::from_micros(2) * n as u32;
            (0..n).for_each(|_| ignore(process::send_at(due, nobody, String::from("message"))));
            process::send_at(due + Duration::from_nanos(1), inbox.address(), ());
            process::sleep(due.saturating_duration_since(Instant::now()));
            time(|| drop(inbox.recv()))
        })
    }),
    ("exit hooks: on_exit_request, drop", false, |n| {
        attached::<()>(|_| time(|| drop((0..n).map(|_| process::on_exit_request(|| ())).collect::<Vec<_>>())))
    }),
    ("messages: n are sent, then received", false, |n| {
        attached::<usize>(|inbox| {
            let me = inbox.address();
            time(|| {
                (0..n).for_each(|i| me.send(i));
                (0..n).for_each(|_| drop(inbox.recv()));
            })
        })
    }),
    ("processes: n are started and killed", true, |n| time(|| kill_all(&sleepers(n)))),
    ("processes: processes, snapshot, tree, text", true, |n| {
        let sleepers = sleepers(n);
        let took = time(|| {
            drop(process::processes());
            let snapshot = observer::snapshot();
            drop((snapshot.tree().len(), snapshot.to_string()));
        });
        kill_all(&sleepers);
        took
    }),
    ("dynamic supervisor: start_child", true, |n| {
        let supervisor = DynamicSupervisor::start().expect("a thread");
        let took = time(|| (0..n).for_each(|_| drop(supervisor.start_child(Idle::child_spec(())))));
        supervisor.stop().expect("it stops");
        took
    }),
    ("dynamic supervisor: which_children, count_children", true, |n| {
        let supervisor = DynamicSupervisor::start().expect("a thread");
        (0..n).for_each(|_| drop(supervisor.start_child(Idle::child_spec(()))));
        let took = time(|| drop((supervisor.which_children(), supervisor.count_children())));
        supervisor.stop().expect("it stops");
        took
    }),
    ("dynamic supervisor: terminate_child", true, |n| {
        let supervisor = DynamicSupervisor::start().expect("a thread");
        let start = |_| supervisor.start_child(Idle::child_spec(())).expect("a thread");
        let children: Vec<Pid> = (0..n).map(start).collect();
        let took = time(|| children.iter().for_each(|pid| drop(supervisor.terminate_child(pid))));
        supervisor.stop().expect("it stops");
        took
    }),
    ("dynamic supervisor: stop with n children", true, |n| {
        let supervisor = DynamicSupervisor::start().expect("a thread");
        (0..n).for_each(|_| drop(supervisor.start_child(Idle::child_spec(()))));
        time(|| supervisor.stop().expect("it stops"))
    }),
    ("supervisor: start with n children, stop", true, |n| {
        time(|| {
            let children =
                (0..n).map(|i| supervisor::ChildSpec::from(Idle::child_spec(())).id(format!("{i}")));
            let supervisor = Supervisor::start(children, Strategy::OneForOne).expect("a thread");
            supervisor.stop().expect("it stops");
        })
    }),
    ("supervisor: start_child one by one", true, |n| {
        let supervisor =
            Supervisor::start([] as [supervisor::ChildSpec; 0], Strategy::OneForOne).expect("a thread");
        let took = time(|| {
            for i in 0..n {
                let child = supervisor::ChildSpec::from(Idle::child_spec(())).id(format!("{i}"));
                supervisor.start_child(child).expect("a thread");
            }
        });
        supervisor.stop().expect("it stops");
        took
    }),
    ("supervisor: tree of a snapshot with n children", true, |n| {
        let children = (0..n).map(|i| supervisor::ChildSpec::from(Idle::child_spec(())).id(format!("{i}")));
        let supervisor = Supervisor::start(children, Strategy::OneForOne).expect("a thread");
        let snapshot = observer::snapshot();
        let took = time(|| assert!(snapshot.tree().len() > n));
        supervisor.stop().expect("it stops");
        took
    }),
    ("tasks: spawn, join_many", true, |n| {
        time(|| {
            let tasks: Vec<_> = (0..n).map(|_| task::spawn(|| ()).expect("a thread")).collect();
            assert_eq!(task::join_many(tasks).map(|values| values.len()), Ok(n));
        })
    }),
    ("tasks: join_many of n that end at once", true, |n| {
        let gate = Arc::new(parking_lot::RwLock::new(()));
        let closed = gate.write();
        let wait = |_| {
            let gate = Arc::clone(&gate);
            task::spawn(move || drop(gate.read())).expect("a thread")
        };
        let tasks: Vec<_> = (0..n).map(wait).collect();
        time(|| {
            drop(closed);
            assert_eq!(task::join_many(tasks).map(|values| values.len()), Ok(n));
        })
    }),
    ("tasks: stream with max_concurrency n", true, |n| {
        time(|| assert_eq!(task::stream(0..n, |_| ()).max_concurrency(n).count(), n))
    }),
    ("tasks: supervised, spawn and join", true, |n| {
        let tasks = TaskSupervisor::start().expect("a thread");
        let took = time(|| {
            let all: Vec<_> = (0..n).map(|_| tasks.spawn_nolink(|| ()).expect("a thread")).collect();
            all.into_iter().for_each(|task| task.join().expect("it returns"));
        });
        tasks.stop().expect("it stops");
        took
    }),
    ("calls: n callers of one server, which is killed", true, |n| {
        let agent = Agent::start(|| ()).expect("a thread");
        let pid = agent.whereis().expect("it is running");
        let (barrier, blocked) = (Arc::new(Barrier::new(2)), agent.clone());
        let hold = Arc::clone(&barrier);
        let blocker = process::spawn(move || {
            drop(blocked.update(move |()| {
                hold.wait();
                process::sleep(Duration::MAX);
            }));
        });
        barrier.wait();
        let call = |_| {
            let agent = agent.clone();
            process::watch(process::spawn(move || drop(agent.get(|()| ()))).expect("a thread"))
        };
        let callers: Vec<_> = (0..n).map(call).collect();
        drop(blocker);
        time(|| {
            process::exit(pid, ExitReason::Kill);
            callers.iter().for_each(|watch| drop(watch.wait()));
        })
    }),
];
