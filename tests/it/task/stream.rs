//! Streams of tasks: their results, the order of results, how far ahead they take items, and that nothing
//! of them is left however they end.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, Location};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::child_program::in_child_program;
use crate::support::scripted_server::{ScriptedCalls, spawn_body, start_server, wait_until_calling};
use crate::support::{Gate, attached, capture, eventually, exit_reason_of, logs, watchdog};
use parking_lot::Mutex;
use rethread::StartError;
use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::process::{self, AttachError, Caught, Inbox, NameError, Via, Watch, attempt};
use rethread::task::{self, OnTimeout, TaskStream};
use rethread::task::{JoinError, TaskSupervisor, TaskSupervisorRef};

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(30);

fn forever() -> ! {
    loop {
        process::sleep(LONG);
    }
}

fn links_of(pid: Pid) -> Vec<Pid> {
    process::info(pid).map_or_else(Vec::new, |info| info.links)
}

/// Checks that neither a message nor a link of any task is left.
#[track_caller]
fn clean(inbox: &Inbox<()>) {
    assert_eq!((inbox.len(), links_of(inbox.pid())), (0, vec![]), "messages and links left");
}

/// Checks that the call returns much earlier than any timeout.
#[track_caller]
fn promptly<T>(act: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let value = act();
    assert!(began.elapsed() < Duration::from_secs(4), "it took {:?}", began.elapsed());
    value
}

/// Returns the pid of the calling task.
fn here() -> Pid {
    process::current().expect("a task is a process")
}

/// Returns the numbers from zero on, and the count of numbers taken.
fn counted() -> (impl Iterator<Item = usize>, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    (
        (0..).inspect(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
        }),
        taken,
    )
}

/// The tasks that ran, as registered by themselves.
#[derive(Clone, Default)]
struct Roll(Arc<Mutex<Vec<Watch>>>);

impl Roll {
    fn enter(&self) {
        self.0.lock().push(process::watch(here()));
    }

    /// Waits until `count` tasks have registered themselves.
    #[track_caller]
    fn wait_for(&self, count: usize) {
        eventually("they have begun", || self.0.lock().len() >= count);
    }

    /// Returns `true` if all have exited, and are not just exiting.
    fn gone(&self) -> bool {
        self.0.lock().iter().all(|watch| process::info(watch.pid().expect("it was running")).is_none())
    }

    /// Waits for all to exit and returns their reasons.
    fn wait(&self) -> Vec<ExitReason> {
        self.0.lock().iter().map(Watch::wait).collect()
    }
}

/// Returns the reason of a task that exited without a value.
#[track_caller]
fn reason_of<T: std::fmt::Debug>(element: Option<Result<T, JoinError>>) -> ExitReason {
    match element {
        Some(Err(JoinError::Exited { reason, .. })) => reason,
        other => panic!("the end of a task was due, not {other:?}"),
    }
}

// scenario: TK-24
#[test]
fn results_come_in_the_order_of_the_items() {
    attached(|inbox: &mut Inbox<()>| {
        // Each waits for the next one: the slowest is the first.
        let gates: Vec<Gate> = (0..=5).map(|_| Gate::new()).collect();
        gates[5].open();
        let (pass, taken) = (gates.clone(), counted());
        let stream = task::stream(taken.0.take(5), move |n| {
            pass[n + 1].pass();
            pass[n].open();
            n
        });
        let results: Result<Vec<_>, _> = stream.max_concurrency(5).collect();
        assert_eq!(results, Ok(vec![0, 1, 2, 3, 4]));
        clean(inbox);
    });
}

// scenario: TK-27
#[test]
fn no_more_is_taken_than_can_run() {
    attached(|inbox: &mut Inbox<()>| {
        for ordered in [true, false] {
            let (items, taken) = counted();
            let work = |n| if n > 0 { forever() } else { n };
            let mut stream = task::stream(items.take(100), work).max_concurrency(2).ordered(ordered);
            assert_eq!(taken.load(Ordering::SeqCst), 0, "nothing is produced before the request");
            assert_eq!(stream.next(), Some(Ok(0)));
            assert_eq!(taken.load(Ordering::SeqCst), 2);
            drop(stream);
            clean(inbox);
        }
    });
}

// scenario: TK-28
#[test]
fn tasks_whose_time_is_up_are_killed() {
    attached(|inbox: &mut Inbox<()>| {
        let roll = Roll::default();
        let enrol = roll.clone();
        let work = move |ms| {
            enrol.enter();
            process::sleep(Duration::from_millis(ms));
            ms
        };
        let limit = Duration::from_millis(500);
        let stream = task::stream([60_000, 1, 60_000, 1], work).timeout(limit).max_concurrency(4);
        let results: Vec<_> = stream.collect();
        let pids: HashSet<_> = roll.0.lock().iter().map(Watch::pid).collect();
        for (result, value) in results.into_iter().zip([None, Some(1), None, Some(1)]) {
            match (result, value) {
                (Ok(ms), Some(due)) => assert_eq!(ms, due),
                (Err(JoinError::Timeout { task, after }), None) => {
                    assert_eq!(after, limit);
                    assert!(pids.contains(&Some(task)));
                }
                (other, _) => panic!("not {other:?}"),
            }
        }
        assert_eq!(roll.wait().iter().filter(|reason| **reason == ExitReason::Killed).count(), 2);
        clean(inbox);
    });
}

// scenario: TK-30
#[test]
fn each_task_exits_and_the_owner_traps() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        for ordered in [true, false] {
            let stream = task::stream(0..20, |n: u32| -> () { process::exit_with(ExitReason::new(n)) });
            let reasons: HashSet<u32> = stream
                .ordered(ordered)
                .enumerate()
                .map(|(turn, element)| {
                    let n = *reason_of(Some(element)).downcast_ref::<u32>().expect("the number");
                    assert!(!ordered || n as usize == turn);
                    n
                })
                .collect();
            assert_eq!(reasons.len(), 20);
            clean(inbox);
        }
    });
}

// scenario: TK-31
#[test]
fn unused_tasks_are_killed() {
    attached(|inbox: &mut Inbox<()>| {
        for trap in [false, true] {
            process::trap_exit(trap);
            let roll = Roll::default();
            let enrol = roll.clone();
            let work = move |n| {
                enrol.enter();
                if n > 0 { forever() } else { enrol.wait_for(4) }
            };
            assert_eq!(task::stream(0..9, work).max_concurrency(4).take(1).count(), 1);
            assert!(links_of(inbox.pid()).is_empty());
            assert!(roll.gone());
            let ends = roll.wait();
            assert_eq!(ends.len(), 4);
            assert_eq!(ends.iter().filter(|reason| **reason == ExitReason::Killed).count(), 3);
            clean(inbox);
        }
    });
}

/// Opens the gate when the thread exits: by then all other processes have been notified of the exit of its
/// process.
fn open_at_the_end(gate: &Gate) {
    struct Over(Gate);
    impl Drop for Over {
        fn drop(&mut self) {
            self.0.open();
        }
    }
    thread_local! {
        static OVER: RefCell<Option<Over>> = const { RefCell::new(None) };
    }
    OVER.set(Some(Over(gate.clone())));
}

/// Delays the calling task between its value and its exit, then counts it.
fn end_late(time: Duration, gone: &Arc<AtomicUsize>) {
    struct Slow(Duration, Arc<AtomicUsize>);
    impl Drop for Slow {
        #[expect(clippy::disallowed_methods, reason = "it plays a destructor that is slow")]
        fn drop(&mut self) {
            thread::sleep(self.0);
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }
    let slow = Slow(time, Arc::clone(gone));
    // Hooks that were not called are dropped in the exit cleanup.
    std::mem::forget(process::on_exit_request(move || drop(slow)));
}

mod how_far_ahead {
    use super::*;

    #[test]
    fn never_more_at_a_time_than_allowed() {
        attached(|_: &mut Inbox<()>| {
            for (max, ordered) in [(1, true), (3, true), (3, false), (7, false)] {
                let running = Arc::new(AtomicUsize::new(0));
                let most = Arc::new(AtomicUsize::new(0));
                let (count, peak) = (Arc::clone(&running), Arc::clone(&most));
                let stream = task::stream(0..60, move |_| {
                    struct Leaves(Arc<AtomicUsize>);
                    impl Drop for Leaves {
                        fn drop(&mut self) {
                            self.0.fetch_sub(1, Ordering::SeqCst);
                        }
                    }
                    peak.fetch_max(count.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let _leaves = Leaves(Arc::clone(&count));
                    process::sleep(Duration::from_micros(200));
                });
                assert_eq!(stream.max_concurrency(max).ordered(ordered).filter(Result::is_ok).count(), 60);
                assert!(most.load(Ordering::SeqCst) <= max);
            }
        });
    }

    #[test]
    fn they_do_run_at_the_same_time() {
        let _watchdog = watchdog();
        let roll = Roll::default();
        let meet = roll.clone();
        let stream = task::stream(0..30, move |_| {
            meet.enter();
            meet.wait_for(30);
        });
        assert_eq!(stream.max_concurrency(30).filter(Result::is_ok).count(), 30);
    }

    #[test]
    fn by_default_as_many_as_there_are_cores() {
        let _watchdog = watchdog();
        let cores = thread::available_parallelism().unwrap().get();
        let (items, taken) = counted();
        let mut stream = task::stream(items, |n| if n > 0 { forever() } else { n });
        assert_eq!(stream.next(), Some(Ok(0)));
        assert_eq!(taken.load(Ordering::SeqCst), cores);
    }

    #[test]
    fn a_slow_consumer_does_not_make_it_run_ahead() {
        attached(|_: &mut Inbox<()>| {
            for (max, ordered) in [(3, false), (1, true)] {
                let (items, taken) = counted();
                let roll = Roll::default();
                let enrol = roll.clone();
                let mut stream =
                    task::stream(items, move |_| enrol.enter()).max_concurrency(max).ordered(ordered);
                for handed_out in 1..=50 {
                    stream.next().unwrap().unwrap();
                    let running = taken.load(Ordering::SeqCst);
                    assert!(running < handed_out + max, "{running} after {handed_out}");
                    // All that were started have exited by the time the next element is requested.
                    roll.wait_for(running);
                    roll.wait();
                }
            }
        });
    }

    #[test]
    fn while_one_result_is_used_the_others_are_worked_on() {
        let _watchdog = watchdog();
        let (items, taken) = counted();
        let (roll, gate) = (Roll::default(), Gate::new());
        let (enrol, pass) = (roll.clone(), gate.clone());
        let mut stream = task::stream(items, move |n| {
            enrol.enter();
            if n > 0 {
                pass.pass();
            }
            n
        });
        stream = stream.max_concurrency(2);
        assert_eq!(stream.next(), Some(Ok(0)));
        roll.wait_for(2);
        gate.open();
        roll.wait();
        assert_eq!(stream.next(), Some(Ok(1)));
        // The second was finished already when it was requested; the place of the first is still occupied.
        assert_eq!(taken.load(Ordering::SeqCst), 3);
        roll.wait_for(3);
    }

    #[test]
    fn ordered_stream_continues_behind_a_slow_item() {
        attached(|inbox: &mut Inbox<()>| {
            let gate = Gate::new();
            let pass = gate.clone();
            let stream = task::stream(0..21, move |n| {
                match n {
                    0 => pass.pass(),
                    20 => pass.open(),
                    _ => {}
                }
                n
            });
            let results: Result<Vec<_>, _> = stream.max_concurrency(2).collect();
            assert_eq!(results, Ok((0..21).collect()), "the last was reached while the first still ran");
            clean(inbox);
        });
    }

    #[test]
    fn unordered_stream_yields_finished_items() {
        attached(|inbox: &mut Inbox<()>| {
            let gate = Gate::new();
            let pass = gate.clone();
            let work = move |n| {
                if n == 0 {
                    pass.pass();
                }
                n
            };
            let mut stream = task::stream(0..6, work).max_concurrency(2).ordered(false);
            for n in 1..6 {
                assert_eq!(stream.next(), Some(Ok(n)));
            }
            gate.open();
            assert_eq!((stream.next(), stream.next()), (Some(Ok(0)), None));
            clean(inbox);
        });
    }

    #[test]
    fn unordered_stream_yields_in_order_of_completion() {
        in_child_program(|| {
            let _watchdog = watchdog();
            // The thread of a task exits with it.
            process::configure(|settings| settings.max_idle_threads = 0);
            let gates: Vec<[Gate; 3]> = (0..4).map(|_| [Gate::new(), Gate::new(), Gate::new()]).collect();
            let all = gates.clone();
            let mut stream = task::stream(0..4, move |n| {
                let [begun, gate, over] = &all[n];
                begun.open();
                gate.pass();
                open_at_the_end(over);
                n
            });
            stream = stream.max_concurrency(4).ordered(false);
            gates[0][1].open();
            assert_eq!(stream.next(), Some(Ok(0)));
            for n in [3, 1, 2] {
                gates[n][0].pass();
                gates[n][1].open();
                gates[n][2].pass();
            }
            assert_eq!(stream.map(Result::unwrap).collect::<Vec<_>>(), [3, 1, 2]);
        });
    }

    #[test]
    fn room_is_where_a_task_has_ended_not_where_it_has_answered() {
        attached(|_: &mut Inbox<()>| {
            for ordered in [true, false] {
                let gone = Arc::new(AtomicUsize::new(0));
                let count = Arc::clone(&gone);
                let stream = task::stream(0..4, move |_| {
                    end_late(SHORT, &count);
                    count.load(Ordering::SeqCst)
                });
                let mut stream = stream.max_concurrency(1).ordered(ordered);
                for n in 0..4 {
                    assert_eq!(stream.next(), Some(Ok(n)), "its predecessors had exited when it started");
                    assert_eq!(gone.load(Ordering::SeqCst), n + 1, "and so is it");
                }
            }
        });
    }
}

mod on_a_foreign_thread {
    use super::*;

    #[test]
    fn a_stream_needs_no_process() {
        let _watchdog = watchdog();
        assert_eq!(process::current(), None);
        let stream = task::stream(["a", "bb", "", "dddd"], |text| 12 / text.len());
        let results: Vec<_> = stream.collect();
        assert_eq!((&results[0], &results[1], &results[3]), (&Ok(12), &Ok(6), &Ok(3)));
        let ExitReason::Panic(report) = reason_of(Some(results[2].clone())) else {
            panic!("not {results:?}")
        };
        assert_eq!(report.message(), "attempt to divide by zero");
    }

    #[test]
    fn dropped_stream_kills_its_running_tasks() {
        let _watchdog = watchdog();
        let roll = Roll::default();
        let enrol = roll.clone();
        let mut stream = task::stream(0..9, move |n| {
            enrol.enter();
            if n > 0 { forever() } else { enrol.wait_for(3) }
        });
        stream = stream.max_concurrency(3);
        assert_eq!(stream.next(), Some(Ok(())));
        drop(stream);
        assert!(roll.gone());
    }

    #[test]
    fn it_may_become_a_process_meanwhile() {
        let _watchdog = watchdog();
        let gates = [Gate::new(), Gate::new(), Gate::new()];
        let pass = gates.clone();
        let links = move |n: usize| {
            pass[n].pass();
            links_of(here())
        };
        let mut stream = task::stream(0..3, links).max_concurrency(2);
        gates[0].open();
        assert_eq!(stream.next(), Some(Ok(vec![])));
        let (mut stream, owner) = process::attach_receiver(|inbox: &mut Inbox<()>| {
            gates[1].open();
            assert_eq!(stream.next(), Some(Ok(vec![])), "of the time before");
            (stream, inbox.pid())
        })
        .unwrap();
        assert_ne!(Some(owner), process::current());
        gates[2].open();
        assert_eq!(stream.next(), Some(Ok(vec![])), "the owner it was linked with ended normally");
        assert_eq!(stream.next(), None);
    }

    #[test]
    fn a_thread_that_panics_leaves_nothing_running() {
        let _watchdog = watchdog();
        let roll = Roll::default();
        let enrol = roll.clone();
        let iterates = thread::Builder::new().spawn(move || {
            let wait = enrol.clone();
            let mut stream = task::stream(0..9, move |n| {
                enrol.enter();
                if n > 0 { forever() } else { enrol.wait_for(3) }
            });
            stream = stream.max_concurrency(3);
            stream.next().unwrap().unwrap();
            drop(wait);
            panic!("in the middle");
        });
        assert!(iterates.unwrap().join().is_err());
        assert_eq!(roll.wait().iter().filter(|reason| **reason == ExitReason::Killed).count(), 2);
    }
}

mod crashes {
    use super::*;

    #[test]
    fn crash_ends_owner_that_does_not_trap() {
        for ordered in [true, false] {
            let roll = Roll::default();
            let enrol = roll.clone();
            let reason = exit_reason_of(move |_: &mut Inbox<()>| {
                let work = move |n: u32| {
                    enrol.enter();
                    enrol.wait_for(3);
                    if n == 1 { process::exit_with("boom") } else { forever() }
                };
                let mut stream = task::stream(0..9, work).max_concurrency(3).ordered(ordered);
                let element: Option<Result<u32, _>> = stream.next();
                panic!("the owner is still running: {element:?}");
            });
            assert_eq!(reason, "boom".into(), "the task's own reason");
            let ends = roll.wait();
            assert_eq!(
                (ends.len(), ends.contains(&"boom".into())),
                (3, true),
                "some threads are still running: {ends:?}"
            );
        }
    }

    #[test]
    fn crash_between_two_items_ends_owner_too() {
        let reason = exit_reason_of(|inbox: &mut Inbox<()>| {
            let gate = Gate::new();
            let pass = gate.clone();
            let mut stream = task::stream(0..2, move |n| {
                if n == 1 {
                    pass.pass();
                    process::exit_with("boom")
                }
            });
            stream = stream.max_concurrency(2);
            stream.next().unwrap().unwrap();
            gate.open();
            inbox.recv();
        });
        assert_eq!(reason, "boom".into());
    }

    #[test]
    fn under_an_owner_that_traps_a_crash_is_an_element_and_no_message() {
        attached(|inbox: &mut Inbox<()>| {
            process::trap_exit(true);
            let work = |n| match n {
                1 => panic!("one"),
                2 => process::throw("two"),
                3 => process::exit_with(ExitReason::Normal),
                n => n,
            };
            let results: Vec<_> = task::stream(0..5, work).collect();
            assert_eq!((&results[0], &results[4]), (&Ok(0), &Ok(4)));
            let reasons: Vec<_> =
                results[1..4].iter().map(|one| reason_of(Some(one.clone())).to_string()).collect();
            assert!(reasons[0].ends_with("one") && reasons[1].contains("two"), "{reasons:?}");
            assert_eq!(reasons[2], "normal");
            clean(inbox);
        });
    }

    #[test]
    fn a_task_that_is_killed_from_elsewhere() {
        attached(|inbox: &mut Inbox<()>| {
            process::trap_exit(true);
            let mut stream = task::stream(0..2, |n| {
                process::exit(here(), ExitReason::Kill);
                process::checkpoint();
                n
            });
            assert_eq!(reason_of(stream.next()), ExitReason::Killed);
            assert_eq!(reason_of(stream.next()), ExitReason::Killed);
            assert_eq!(stream.next(), None);
            clean(inbox);
        });
    }

    #[test]
    fn exit_of_owner_ends_its_stream() {
        for how in ["normal", "requested", "panic"] {
            let roll = Roll::default();
            let enrol = roll.clone();
            let waits = roll.clone();
            let ended = process::attach_receiver(move |inbox: &mut Inbox<()>| {
                let mut stream = task::stream(0.., move |n| {
                    enrol.enter();
                    if n > 0 {
                        forever()
                    }
                });
                stream = stream.max_concurrency(3);
                stream.next().unwrap().unwrap();
                waits.wait_for(3);
                match how {
                    "requested" => process::exit(inbox.pid(), "requested"),
                    "panic" => panic!("in the middle"),
                    _ => {}
                }
            });
            assert_eq!(ended.is_ok(), how == "normal", "{ended:?}");
            assert_eq!(roll.wait().len(), 3);
        }
    }

    #[test]
    fn exit_signal_ends_the_wait_of_the_owner() {
        let _watchdog = watchdog();
        let roll = Roll::default();
        let enrol = roll.clone();
        let owner = spawn_body(move |_| {
            let work = move |_: u32| -> () {
                enrol.enter();
                forever()
            };
            task::stream(0..9, work).max_concurrency(2).count()
        });
        roll.wait_for(2);
        process::exit(owner.pid, "enough");
        assert_eq!(owner.join(), Err("enough".into()));
        assert_eq!(roll.wait().len(), 2);
    }

    #[test]
    fn reports_name_the_place_of_the_stream() {
        attached(|_: &mut Inbox<()>| {
            process::trap_exit(true);
            capture();
            let stream =
                task::stream([1], |_| -> Location<'static> { *process::info(here()).unwrap().spawned_at });
            let line = line!() - 1;
            let seen = stream.map(Result::unwrap).next().unwrap();
            assert_eq!((seen.file(), seen.line()), (file!(), line));
            let mut crashes = task::stream([1], |_| -> Pid { process::exit_with(ExitReason::new(here())) });
            let reason = reason_of(crashes.next());
            let pid = reason.downcast_ref::<Pid>().unwrap();
            assert!(logs().iter().any(|line| line.starts_with(&format!("ERROR process {pid} crashed"))));
        });
    }
}

mod time_limits {
    use super::*;

    #[test]
    fn there_is_none_unless_it_is_set() {
        attached(|_: &mut Inbox<()>| {
            let mut stream = task::stream([7], |n| n);
            let shown = format!("{stream:?}");
            assert!(shown.contains("timeout: None"), "{shown}");
            assert_eq!(stream.next(), Some(Ok(7)));
        });
    }

    #[test]
    fn it_counts_from_the_start_of_each_task() {
        attached(|inbox: &mut Inbox<()>| {
            // Ten times longer in all than each may take.
            let work = |n| {
                process::sleep(SHORT);
                n
            };
            let stream = task::stream(0..20, work).max_concurrency(1).timeout(10 * SHORT);
            assert_eq!(stream.collect::<Result<Vec<_>, _>>(), Ok((0..20).collect()));
            clean(inbox);
        });
    }

    #[test]
    fn the_end_of_a_task_whose_time_was_up_is_no_crash() {
        // The owner does not trap exits; and an uninterruptible thread becomes a zombie.
        attached(|inbox: &mut Inbox<()>| {
            for ordered in [true, false] {
                let gate = Gate::new();
                let pass = gate.clone();
                let stream = task::stream(0..4, move |n| {
                    if n % 2 == 0 {
                        pass.pass();
                    }
                    n
                });
                let stream = stream.max_concurrency(2).timeout(SHORT).ordered(ordered);
                let (late, done): (Vec<_>, Vec<_>) = stream.partition(Result::is_err);
                assert!(late.iter().all(|one| matches!(one, Err(JoinError::Timeout { .. }))), "{late:?}");
                assert!(late.len() >= 2, "{late:?} {done:?}");
                assert_eq!(late.len() + done.len(), 4);
                gate.open();
                clean(inbox);
            }
        });
    }

    #[test]
    fn on_timeout_exit_ends_the_owner_and_the_others() {
        let roll = Roll::default();
        let enrol = roll.clone();
        let reason = exit_reason_of(move |_: &mut Inbox<()>| {
            let work = move |_: u32| -> () {
                enrol.enter();
                forever()
            };
            let stream = task::stream(0..9, work).max_concurrency(3);
            let element = stream.timeout(SHORT).on_timeout(OnTimeout::Exit).next();
            panic!("the owner is still running: {element:?}");
        });
        let ExitReason::Call(failure) = &reason else { panic!("a failed join was due, not {reason}") };
        assert_eq!(failure.reason, ExitReason::Timeout);
        let pids: Vec<_> =
            roll.0.lock().iter().map(|watch| format!("task {}", watch.pid().unwrap())).collect();
        assert!(pids.iter().any(|pid| **pid == *failure.server), "{failure:?}");
        assert!(roll.wait().iter().all(|reason| *reason == ExitReason::Killed));
    }

    #[test]
    fn exit_of_on_timeout_can_be_caught_and_the_stream_is_over() {
        attached(|inbox: &mut Inbox<()>| {
            let roll = Roll::default();
            let enrol = roll.clone();
            let mut stream = task::stream(0..9, move |n| {
                enrol.enter();
                if n > 0 {
                    forever()
                }
            });
            stream = stream.max_concurrency(2).timeout(10 * SHORT).on_timeout(OnTimeout::Exit);
            assert_eq!(stream.next(), Some(Ok(())));
            let caught = attempt(|| stream.next()).result();
            let Err(Caught::Exit(ExitReason::Call(failure))) = caught else { panic!("not {caught:?}") };
            assert_eq!(failure.reason, ExitReason::Timeout);
            assert!(roll.gone());
            assert_eq!((stream.next(), stream.size_hint()), (None, (0, Some(0))));
            clean(inbox);
        });
    }

    #[test]
    #[should_panic(expected = "no value within 20ms")]
    fn on_a_foreign_thread_it_is_a_panic() {
        let stream = task::stream([()], |()| -> () { forever() }).timeout(SHORT).on_timeout(OnTimeout::Exit);
        let _watchdog = watchdog();
        stream.for_each(drop);
    }

    #[test]
    fn a_task_that_has_answered_is_in_time_however_late_it_ends() {
        attached(|inbox: &mut Inbox<()>| {
            let (owner, gone) = (inbox.pid(), Arc::new(AtomicUsize::new(0)));
            let count = Arc::clone(&gone);
            let stream = task::stream(0..2, move |n| {
                // Also if it answers while the owner waits for its timeout.
                wait_until_calling(owner, here());
                end_late(20 * SHORT, &count);
                n
            });
            let stream = stream.max_concurrency(1).timeout(10 * SHORT).on_timeout(OnTimeout::Exit);
            assert_eq!(stream.collect::<Result<Vec<_>, _>>(), Ok(vec![0, 1]));
            assert_eq!(gone.load(Ordering::SeqCst), 2);
            clean(inbox);
        });
    }

    #[test]
    fn task_that_finished_before_the_next_poll_is_in_time() {
        attached(|_: &mut Inbox<()>| {
            let roll = Roll::default();
            let enrol = roll.clone();
            let gate = Gate::new();
            let pass = gate.clone();
            let mut stream = task::stream(0..2, move |n| {
                enrol.enter();
                if n == 1 {
                    pass.pass();
                }
                n
            });
            stream = stream.max_concurrency(2).timeout(10 * SHORT);
            assert_eq!(stream.next(), Some(Ok(0)));
            process::sleep(11 * SHORT);
            gate.open();
            roll.wait_for(2);
            roll.wait();
            assert_eq!(stream.next(), Some(Ok(1)));
        });
    }
}

mod the_item_iterator {
    use super::*;

    #[test]
    fn panic_of_item_iterator_ends_the_owner_and_all_tasks() {
        let roll = Roll::default();
        let enrol = roll.clone();
        let waits = roll.clone();
        let items = (0..).inspect(move |n| {
            if *n == 2 {
                waits.wait_for(2);
                panic!("a bad item");
            }
        });
        let work = move |_: u32| -> () {
            enrol.enter();
            forever()
        };
        attached(|inbox: &mut Inbox<()>| {
            let mut stream = task::stream(items, work).max_concurrency(4);
            let caught = attempt(|| stream.next()).result();
            let Err(Caught::Error(report)) = caught else { panic!("not {caught:?}") };
            assert_eq!(report.message(), "a bad item");
            assert!(roll.wait().iter().all(|reason| *reason == ExitReason::Killed));
            assert_eq!(roll.0.lock().len(), 2);
            assert_eq!((stream.next(), stream.size_hint()), (None, (0, Some(0))));
            clean(inbox);
        });
    }

    #[test]
    fn its_panic_keeps_its_payload_on_a_foreign_thread() {
        let _watchdog = watchdog();
        let items = std::iter::from_fn(|| -> Option<u8> { std::panic::panic_any(42_u8) });
        let mut stream = task::stream(items, |n| n);
        #[expect(clippy::disallowed_methods, reason = "a foreign thread has nothing else")]
        let caught = std::panic::catch_unwind(AssertUnwindSafe(|| stream.next()));
        assert_eq!(*caught.unwrap_err().downcast::<u8>().unwrap(), 42);
        assert_eq!(stream.next(), None);
    }

    #[test]
    fn it_may_end_its_process() {
        let reason = exit_reason_of(|_: &mut Inbox<()>| {
            let items = (0..3).inspect(|n| {
                if *n == 1 {
                    process::exit_with("no more")
                }
            });
            task::stream(items, |_| forever()).max_concurrency(2).for_each(|one: Result<(), _>| drop(one));
        });
        assert_eq!(reason, "no more".into());
    }

    #[test]
    fn it_runs_in_the_owner_and_may_borrow() {
        attached(|inbox: &mut Inbox<()>| {
            let texts = [String::from("a"), String::from("bcd")];
            let owner = inbox.pid();
            let items = texts.iter().map(|text| {
                assert_eq!(process::current(), Some(owner));
                text.clone()
            });
            let sizes: Vec<usize> = task::stream(items, |text| text.len()).map(Result::unwrap).collect();
            assert_eq!(sizes, [1, 3]);
            assert_eq!(texts.len(), 2);
        });
    }

    #[test]
    fn item_iterator_is_not_polled_after_its_end() {
        let _watchdog = watchdog();
        let mut turn = 0;
        let items = std::iter::from_fn(|| {
            turn += 1;
            assert!(turn < 4, "asked again after the end");
            (turn < 3).then_some(turn)
        });
        let mut stream = task::stream(items, |n| n);
        assert_eq!((stream.next(), stream.next()), (Some(Ok(1)), Some(Ok(2))));
        assert_eq!((stream.next(), stream.next(), stream.next()), (None, None, None));
    }

    #[test]
    fn the_hint_counts_what_is_still_to_come() {
        attached(|_: &mut Inbox<()>| {
            let mut stream = task::stream(0..10, |n| n).max_concurrency(3);
            for left in (1..=10).rev() {
                assert_eq!(stream.size_hint(), (left, Some(left)));
                assert!(stream.next().is_some());
            }
            assert_eq!((stream.size_hint(), stream.next()), ((0, Some(0)), None));
            assert_eq!(task::stream(0.., |n: u8| n).size_hint().1, (0_u8..).size_hint().1);
            let open = task::stream(std::iter::repeat(1), |n| n);
            assert_eq!(open.size_hint(), (usize::MAX, None));
        });
    }

    #[test]
    fn empty_stream_ends_at_once() {
        let _watchdog = watchdog();
        fn fused(_: &impl std::iter::FusedIterator) {}
        let mut stream: TaskStream<_, ()> = task::stream([(); 0], |()| ());
        fused(&stream);
        assert_eq!((stream.next(), stream.next()), (None, None));
    }
}

mod wait_cycles {
    use super::*;

    #[test]
    fn a_task_that_calls_the_server_that_waits_for_it_is_refused() {
        let _watchdog = watchdog();
        for ordered in [true, false] {
            let server = start_server();
            let (tx, rx) = channel();
            server.cast_with(move |_, cx| {
                let (this, me) = (cx.server_ref(), cx.pid());
                let work = move |_: u8| {
                    wait_until_calling(me, here());
                    this.get()
                };
                let results = task::stream([1], work).ordered(ordered).collect::<Vec<_>>();
                tx.send(results).expect("the test receives");
                Next::wait()
            });
            let results = promptly(|| rx.recv().unwrap());
            assert!(matches!(results[..], [Ok(Err(CallError::Deadlock { .. }))]), "{results:?}");
            assert_eq!(server.get(), Ok(0));
        }
    }

    #[test]
    fn tasks_that_wait_for_the_server_already_are_killed_when_no_other_is_left() {
        let _watchdog = watchdog();
        for (ordered, items) in
            [(true, ["first", "last", "calls", "calls"]), (false, ["first", "calls", "calls", "last"])]
        {
            let server = start_server();
            let (tx, rx) = channel();
            // The handler reads a stream whose tasks call this very server.
            server.cast_with(move |_, cx| {
                let (this, me) = (cx.server_ref(), cx.pid());
                let work = move |what: &str| match what {
                    "calls" => this.get(),
                    "first" => {
                        let called =
                            || process::processes().iter().filter(|one| one.waiting_on == Some(me)).count();
                        eventually("both have called", || called() == 2);
                        Ok(1)
                    }
                    _ => {
                        wait_until_calling(me, here());
                        Ok(2)
                    }
                };
                let mut stream = task::stream(items, work).max_concurrency(4).ordered(ordered);
                let values = (stream.next(), stream.next());
                tx.send((values, stream.collect::<Vec<_>>())).expect("the test receives");
                Next::wait()
            });
            // Two tasks yield values; the other two form a cycle with the server and are refused.
            let (values, others) = promptly(|| rx.recv().unwrap());
            assert_eq!(
                values,
                (Some(Ok(Ok(1))), Some(Ok(Ok(2)))),
                "it waits as long as one task can make progress"
            );
            assert_eq!(others.len(), 2);
            for other in others {
                let Err(JoinError::Deadlock { cycle }) = other else { panic!("not {other:?}") };
                assert_eq!((cycle.len(), cycle[0]), (2, server.pid()));
            }
            assert_eq!(server.get(), Ok(0), "it keeps running");
        }
    }
}

mod the_rest {
    use super::*;

    #[test]
    fn a_thousand_items() {
        attached(|inbox: &mut Inbox<()>| {
            for (max, ordered) in [(4, true), (4, false), (64, true), (1000, false)] {
                let stream = task::stream(0..1000_u32, |n| n * n).max_concurrency(max).ordered(ordered);
                let mut squares: Vec<u32> = stream.map(Result::unwrap).collect();
                if !ordered {
                    squares.sort_unstable();
                }
                assert!(squares.iter().copied().eq((0..1000).map(|n| n * n)), "{max} {ordered}");
                clean(inbox);
            }
        });
    }

    #[test]
    fn a_thousand_items_of_which_each_third_crashes() {
        attached(|inbox: &mut Inbox<()>| {
            process::trap_exit(true);
            let work = |n: u32| if n % 3 == 0 { process::exit_with(ExitReason::new(n)) } else { n };
            let stream = task::stream(0..1000, work).max_concurrency(16);
            for (n, element) in (0..1000).zip(stream) {
                match element {
                    Ok(value) => assert_eq!(value, n),
                    element => assert_eq!(reason_of(Some(element)).downcast_ref(), Some(&n)),
                }
            }
            clean(inbox);
        });
    }

    #[test]
    fn streams_within_streams() {
        attached(|inbox: &mut Inbox<()>| {
            let rows = task::stream(0..5_u32, |row| {
                let owner = here();
                let cells = task::stream(0..5_u32, move |column| {
                    assert_eq!(task::callers()[0], owner);
                    row * 10 + column
                });
                (task::callers(), cells.map(Result::unwrap).sum::<u32>())
            });
            let rows: Vec<_> = rows.map(Result::unwrap).collect();
            assert!(rows.iter().all(|(callers, _)| *callers == [inbox.pid()]));
            assert_eq!(rows.iter().map(|(_, sum)| sum).sum::<u32>(), 550);
        });
    }

    #[test]
    fn two_streams_side_by_side() {
        attached(|inbox: &mut Inbox<()>| {
            let left = task::stream(0..100, |n| n).max_concurrency(3);
            let right = task::stream(0..100, |n| n).max_concurrency(5);
            for (left, right) in left.zip(right) {
                assert_eq!(left, right);
            }
            clean(inbox);
        });
    }

    #[test]
    #[should_panic(expected = "the max_concurrency of a task stream must be at least 1")]
    fn none_at_a_time_is_refused() {
        let _ = task::stream([1], |n| n).max_concurrency(0);
    }

    #[test]
    #[should_panic(expected = "the order of a task stream cannot be changed after its first item")]
    fn an_order_that_changes_is_refused() {
        let mut stream = task::stream([1, 2], |n| n);
        stream.next();
        let _ = stream.ordered(false);
    }

    #[test]
    fn a_task_that_cannot_be_started_is_an_element() {
        attached(|inbox: &mut Inbox<()>| {
            for ordered in [true, false] {
                let stream = task::stream(0..3, |n| n)
                    .process(process::Builder::new().stack_size(usize::MAX / 4))
                    .ordered(ordered);
                let refused: Vec<_> = stream.collect();
                assert_eq!(refused.len(), 3);
                for element in refused {
                    assert!(
                        matches!(element, Err(JoinError::NotStarted(StartError::Thread(_)))),
                        "{element:?}"
                    );
                }
                clean(inbox);
            }
            let mut endless =
                task::stream(0.., |n: u32| n).process(process::Builder::new().stack_size(usize::MAX / 4));
            assert!(endless.next().unwrap().is_err(), "and does not stop an endless stream from coming back");
        });
    }

    #[test]
    fn exit_timeout_bounds_the_destructors_of_a_task() {
        struct Blocks(Gate);
        impl Drop for Blocks {
            fn drop(&mut self) {
                self.0.pass();
            }
        }
        let gate = Gate::new();
        let blocked = gate.clone();
        let mut stream = task::stream([()], move |()| {
            let _blocked = Blocks(blocked.clone());
            process::exit_with("oops")
        })
        .process(process::Builder::new().exit_timeout(SHORT));
        let element: Option<Result<(), JoinError>> = promptly(|| stream.next());
        assert!(matches!(element, Some(Err(JoinError::Exited { .. }))), "{element:?}");
        gate.open();
    }

    #[test]
    fn a_label_and_a_look_at_the_stream() {
        attached(|_: &mut Inbox<()>| {
            let shows_label = || task::stream([()], |()| process::info(here()).unwrap().label);
            let mut stream = shows_label().label("resizer").max_concurrency(3).timeout(LONG);
            let text = format!("{stream:?}");
            let due = "TaskStream { max_concurrency: 3, ordered: true, timeout: Some(30s), on_timeout: Kill, running: 0, .. }";
            assert_eq!(text, due);
            assert_eq!(stream.next().unwrap().unwrap().as_deref(), Some("resizer"));

            // Process options without a label keep it; those with one replace it.
            let mut stream = shows_label().label("resizer").process(process::Builder::new());
            assert_eq!(stream.next().unwrap().unwrap().as_deref(), Some("resizer"));
            let mut stream = shows_label().label("resizer").process(process::Builder::new().label("scaler"));
            assert_eq!(stream.next().unwrap().unwrap().as_deref(), Some("scaler"));
        });
    }

    #[test]
    fn in_a_destructor_a_stream_is_over() {
        struct Iterates(std::sync::mpsc::Sender<Vec<Result<u32, JoinError>>>);
        impl Drop for Iterates {
            fn drop(&mut self) {
                let _ = self.0.send(task::stream(0.., |n| n).collect());
            }
        }
        let _watchdog = watchdog();
        let (tx, rx) = channel();
        let ended = process::attach_receiver(move |_: &mut Inbox<()>| {
            let _iterates = Iterates(tx);
            process::exit_with("over")
        });
        assert!(matches!(ended, Err(AttachError::Exited(_))), "{ended:?}");
        assert_eq!(rx.recv().unwrap(), [Err(JoinError::Exiting)]);
    }

    #[test]
    fn drop_of_stream_in_exiting_owner_does_not_block() {
        // The task is uninterruptible and has an hour to unwind: waiting for it would take that long.
        let _watchdog = watchdog();
        let (roll, gate) = (Roll::default(), Gate::new());
        let (enrol, pass) = (roll.clone(), gate.clone());
        let owner = spawn_body(move |inbox| {
            let work = move |n| {
                enrol.enter();
                if n == 0 { enrol.wait_for(2) } else { pass.pass() }
            };
            let hour = Duration::from_secs(3600);
            let mut stream =
                task::stream(0..2, work).max_concurrency(2).process(process::Builder::new().kill_grace(hour));
            stream.next().unwrap().unwrap();
            let (me, notified) = (inbox.pid(), Gate::new());
            let tx = notified.clone();
            // The signal comes while it waits in the drop, or before: both must work.
            task::start(move || {
                tx.open();
                process::exit(me, "enough");
            })
            .unwrap();
            notified.pass();
            drop(stream);
            process::sleep(LONG);
        });
        roll.wait_for(2);
        assert_eq!(promptly(|| owner.join()), Err("enough".into()));
        gate.open();
    }

    #[test]
    fn a_stream_dropped_in_an_unwinding_does_not_hold_it_up() {
        for foreign in [false, true] {
            let (roll, gate) = (Roll::default(), Gate::new());
            let (enrol, pass) = (roll.clone(), gate.clone());
            let exit_now = move || {
                let work = move |n| {
                    enrol.enter();
                    if n == 0 { enrol.wait_for(2) } else { pass.pass() }
                };
                let hour = Duration::from_secs(3600);
                let mut stream = task::stream(0..2, work)
                    .max_concurrency(2)
                    .process(process::Builder::new().kill_grace(hour));
                stream.next().unwrap().unwrap();
                panic!("in the middle")
            };
            promptly(|| {
                if foreign {
                    let thread = thread::Builder::new().spawn(exit_now).expect("a thread");
                    assert!(thread.join().is_err());
                } else {
                    assert!(matches!(exit_reason_of(|_: &mut Inbox<()>| exit_now()), ExitReason::Panic(_)));
                }
            });
            gate.open();
            assert!(roll.wait().contains(&ExitReason::Killed), "it was asked to exit");
        }
    }

    #[test]
    fn values_and_items_that_blow_up_when_dropped() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("the destructor of a bomb")
            }
        }
        in_child_program(|| {
            // The thread of a task exits with it.
            process::configure(|settings| settings.max_idle_threads = 0);
            attached(|inbox: &mut Inbox<()>| {
                process::trap_exit(true);
                // Of a task that is dropped with its value in it, and of one whose result was kept for its
                // turn.
                for kept in [false, true] {
                    let (over, roll) = (Gate::new(), Roll::default());
                    let (end, enrol) = (over.clone(), roll.clone());
                    let mut stream = task::stream(0..2, move |n| {
                        enrol.enter();
                        if n == 1 {
                            open_at_the_end(&end);
                        } else if kept {
                            end.pass();
                        } else {
                            enrol.wait_for(2);
                        }
                        (n == 1).then(|| Bomb)
                    });
                    stream = stream.max_concurrency(2);
                    assert!(stream.next().unwrap().unwrap().is_none());
                    over.pass();
                    drop(stream);
                }
                // Of an item: the task's own panic.
                let mut stream = task::stream([Bomb], drop);
                let ExitReason::Panic(report) = reason_of(stream.next()) else { panic!("the panic was due") };
                assert_eq!(report.message(), "the destructor of a bomb");
                clean(inbox);
            });
        });
    }

    #[test]
    fn words_are_counted() {
        let _watchdog = watchdog();
        let texts = ["to be or not to be", "that is the question", "to die to sleep"];
        let count = |text: &str| {
            text.split_whitespace().fold(HashMap::<String, u32>::new(), |mut counts, word| {
                *counts.entry(word.to_owned()).or_default() += 1;
                counts
            })
        };
        let all = task::stream(texts, count).ordered(false).flat_map(Result::unwrap).fold(
            HashMap::<String, u32>::new(),
            |mut all, (word, n)| {
                *all.entry(word).or_default() += n;
                all
            },
        );
        assert_eq!((all["to"], all["be"], all["question"]), (4, 2, 1));
    }
}

/// A reference to a supervisor whose name table fails once.
#[derive(Debug)]
struct Moody(Pid, AtomicUsize);

impl Via for Moody {
    fn whereis(&self) -> Option<Pid> {
        let asked = self.1.fetch_add(1, Ordering::SeqCst);
        assert!(asked != 1, "the table is broken");
        Some(self.0)
    }
    fn register(&self, _: Pid) -> Result<(), NameError> {
        Ok(())
    }
    fn unregister(&self, _: Pid) {}
}

#[test]
fn a_start_that_panics_costs_its_item_and_not_the_stream() {
    attached(|_: &mut Inbox<()>| {
        let tasks = TaskSupervisor::start_link().unwrap();
        let moody = Moody(tasks.whereis().unwrap(), AtomicUsize::new(0));
        let tasks = TaskSupervisorRef::via(moody);
        let mut stream = tasks.stream([1, 2, 3, 4], |n| n).max_concurrency(1);
        let mut next = || attempt(|| stream.next()).rescue(|_| Some(Ok(0)));
        let all: Vec<_> = std::iter::from_fn(&mut next).map(Result::unwrap).collect();
        assert_eq!(all, [1, 0, 3, 4]);
        tasks.stop().unwrap();
    });
}

#[test]
fn value_sent_in_time_is_in_time_although_its_task_exits_late() {
    /// Dropped in the exit cleanup of a task, which it delays.
    struct Stalls(Gate);
    impl Drop for Stalls {
        fn drop(&mut self) {
            self.0.pass();
        }
    }
    attached(|inbox: &mut Inbox<()>| {
        let (owner, gate) = (inbox.pid(), Gate::new());
        let held = gate.clone();
        let mut stream = task::stream([()], move |()| {
            let stalls = Stalls(held.clone());
            std::mem::forget(process::on_exit_request(move || drop(stalls)));
            wait_until_calling(owner, process::current().unwrap());
            7
        });
        // The timer thread keeps the order: the task's time is over before this arrives.
        let opener = process::spawn_receiver::<()>(move |inbox| {
            inbox.recv();
            gate.open();
        });
        process::send_after(Duration::from_millis(300), opener.unwrap(), ());
        stream = stream.timeout(Duration::from_millis(100)).on_timeout(OnTimeout::Exit);
        assert_eq!(stream.next(), Some(Ok(7)));
    });
}

#[test]
fn tasks_without_a_link_do_not_outlive_the_stream_of_a_zombie() {
    let _watchdog = watchdog();
    let tasks = TaskSupervisor::child_spec().start().unwrap();
    let (stuck, gate) = (Gate::new(), Gate::new());
    let (started_gate, held, supervisor) = (stuck.clone(), gate.clone(), tasks.clone());
    let owner = process::Builder::new().kill_grace(Duration::ZERO).spawn(move || {
        let items = [false, true].into_iter().inspect(|last| {
            if *last {
                started_gate.open();
                held.pass();
            }
        });
        supervisor.stream_nolink(items, |_| forever()).max_concurrency(2).for_each(drop);
    });
    let end = process::watch(owner.unwrap());
    stuck.pass();
    process::exit(end.pid().unwrap(), ExitReason::Kill);
    end.wait();
    let all: Vec<Watch> = tasks.children().unwrap().into_iter().map(process::watch).collect();
    assert_eq!(all.len(), 1);
    gate.open();
    assert_eq!(all[0].wait_timeout(Duration::from_secs(30)), Some(ExitReason::Killed));
    tasks.stop().unwrap();
}
