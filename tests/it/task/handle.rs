//! Tasks: the owner's result in every case, the link between owner and task, and that nothing of a task is
//! left behind. Streams are in `task_stream`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::support::scripted_server::{
    self, Plan, ScriptedCalls, spawn_body, start_server, wait_until_calling,
};
use crate::support::{
    Gate, Journal, attached, capture, down, eventually, exit_event, exit_reason_of, logs, message, sleeper,
    unique, watchdog,
};
use rethread::CallFailure;
use rethread::StartError;
use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::process::{self, Address, AttachError, Builder, Event, Inbox, SpawnError};
use rethread::supervisor::Shutdown;
use rethread::supervisor::SpecError;
use rethread::task::{self, TaskStream};
use rethread::task::{JoinError, Task};

const NOW: Duration = Duration::ZERO;
const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(30);

/// Starts a task that waits until it is ended, and is interruptible.
#[track_caller]
fn waiting<T: Send + 'static>() -> Task<T> {
    task::spawn(|| forever()).expect("a free thread")
}

fn forever() -> ! {
    loop {
        process::sleep(LONG);
    }
}

/// Starts a task that returns this value once the gate is open, and is uninterruptible until then. It has
/// begun when this returns.
#[track_caller]
fn gated<T: Send + 'static>(value: T) -> (Task<T>, Gate) {
    gated_with(Builder::new(), value)
}

#[track_caller]
fn gated_with<T: Send + 'static>(plan: Builder, value: T) -> (Task<T>, Gate) {
    let (begun, gate) = (Gate::new(), Gate::new());
    let (begin, pass) = (begun.clone(), gate.clone());
    let task = plan.spawn_task(move || {
        begin.open();
        pass.pass();
        value
    });
    begun.pass();
    (task.expect("a free thread"), gate)
}

/// Returns a task that has finished with this value.
#[track_caller]
fn finished<T: Send + 'static>(value: T) -> Task<T> {
    let task = task::spawn(move || value).expect("a free thread");
    process::watch(&task).wait();
    task
}

/// Returns a task that exited with this reason and without a value. Its owner must survive that.
#[track_caller]
fn ended<T: Send + 'static>(reason: impl Into<ExitReason>) -> Task<T> {
    let reason = reason.into();
    let task = task::spawn(move || process::exit_with(reason)).expect("a free thread");
    eventually("the task has ended", || task.is_finished());
    task
}

/// Returns the error of a task that exited with this reason.
fn exited(task: Pid, reason: impl Into<ExitReason>) -> JoinError {
    JoinError::Exited { task, reason: reason.into() }
}

fn links_of(pid: Pid) -> Vec<Pid> {
    process::info(pid).map_or_else(Vec::new, |info| info.links)
}

/// Waits until neither a message nor a link of any task is left: the exit may come a moment after the
/// value.
#[track_caller]
fn clean(inbox: &Inbox<()>) {
    eventually("no link is left", || links_of(inbox.pid()).is_empty());
    assert_eq!(inbox.len(), 0, "messages are left");
}

/// Checks that the owner has no link, though the task may be running.
#[track_caller]
fn unlinked(inbox: &Inbox<()>) {
    assert_eq!(links_of(inbox.pid()), []);
}

/// Checks that the call returns much earlier than any timeout.
#[track_caller]
fn promptly<T>(act: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let value = act();
    assert!(began.elapsed() < Duration::from_secs(4), "it took {:?}", began.elapsed());
    value
}

/// Panics in its destructor.
#[derive(Debug, PartialEq)]
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the destructor of a bomb")
    }
}

/// Calls the closure when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

// scenario: TK-01
#[test]
fn a_task_gives_its_value_and_is_linked_meanwhile() {
    attached(|inbox: &mut Inbox<()>| {
        let (task, gate) = gated(42);
        let end = process::watch(&task);
        assert_eq!(links_of(inbox.pid()), [task.pid()]);
        assert_eq!(links_of(task.pid()), [inbox.pid()]);
        gate.open();
        assert_eq!(task.join(), Ok(42));
        assert_eq!(end.wait(), ExitReason::Normal);
        clean(inbox);
    });
}

// scenario: TK-02
#[test]
fn callers_from_the_nearest_on() {
    attached(|inbox: &mut Inbox<()>| {
        let outer = task::spawn(|| {
            let inner = task::spawn(task::callers).expect("a free thread");
            (process::current(), inner.join())
        });
        let (outer, callers) = outer.unwrap().join().unwrap();
        assert_eq!(callers.unwrap(), [outer.unwrap(), inbox.pid()]);
        assert_eq!(task::callers(), [], "the owner has no callers");
    });
}

// scenario: TK-04
#[test]
fn a_crash_under_an_owner_that_traps_exits() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let task = task::spawn::<()>(|| process::exit_with("boom")).unwrap();
        let pid = task.pid();
        assert_eq!(task.join(), Err(exited(pid, "boom")));
        assert_eq!(exit_event(inbox), (pid, "boom".into()));
        clean(inbox);
    });
    let reason = exit_reason_of(|_: &mut Inbox<()>| {
        process::trap_exit(true);
        task::spawn::<()>(|| process::exit_with("boom")).unwrap().join().or_exit();
    });
    let ExitReason::Call(failure) = &reason else { panic!("a failed join was due, not {reason}") };
    let CallFailure { reason, server, .. } = &**failure;
    assert_eq!(*reason, "boom".into());
    assert!(server.starts_with("task <"), "{server}");
}

#[test]
fn an_owner_that_traps_exits_receives_the_normal_exit_of_a_task_that_succeeds() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let task = task::spawn(|| 42).unwrap();
        let pid = task.pid();
        assert_eq!(task.join(), Ok(42));
        assert_eq!(exit_event(inbox), (pid, ExitReason::Normal));
        clean(inbox);
    });
}

// scenario: TK-05
#[test]
fn after_a_timeout_neither_value_nor_down_arrives() {
    attached(|inbox: &mut Inbox<()>| {
        let (task, gate) = gated("late");
        let (pid, end) = (task.pid(), process::watch(&task));
        let late = task.join_timeout(NOW);
        assert_eq!(late, Err(JoinError::Timeout { task: pid, after: NOW }));
        gate.open();
        assert_eq!(end.wait(), ExitReason::Normal);
        clean(inbox);
    });
    let reason = exit_reason_of(|_: &mut Inbox<()>| waiting::<()>().join_timeout(NOW).or_exit());
    let ExitReason::Call(failure) = &reason else { panic!("a failed join was due, not {reason}") };
    assert_eq!(failure.reason, ExitReason::Timeout);
}

// scenario: TK-07
#[test]
fn abandoned_task_continues() {
    attached(|_: &mut Inbox<()>| {
        let (tx, rx) = channel();
        let gate = Gate::new();
        let pass = gate.clone();
        let task = task::spawn(move || {
            pass.pass();
            process::checkpoint();
            tx.send("still here").unwrap();
        });
        assert!(task.unwrap().join_timeout(NOW).is_err());
        gate.open();
        assert_eq!(rx.recv(), Ok("still here"));
    });
}

// scenario: TK-07
#[test]
fn abandoned_task_exits_with_owner_that_fails_on_timeout() {
    let (tx, rx) = channel();
    let reason = exit_reason_of(move |_: &mut Inbox<()>| {
        let task = waiting::<()>();
        tx.send(process::watch(&task)).unwrap();
        task.join_timeout(NOW).or_exit();
    });
    assert_eq!(rx.recv().unwrap().wait(), reason);
}

// scenario: TK-08
#[test]
fn a_task_that_ends_normally_without_a_value() {
    attached(|inbox: &mut Inbox<()>| {
        let task = task::spawn::<u8>(|| process::exit_with(ExitReason::Normal)).unwrap();
        let pid = task.pid();
        assert_eq!(task.join(), Err(exited(pid, ExitReason::Normal)));
        clean(inbox);
    });
    let reason = exit_reason_of(|_: &mut Inbox<()>| ended::<()>(ExitReason::Normal).join().or_exit());
    let ExitReason::Call(failure) = &reason else { panic!("a failed join was due, not {reason}") };
    assert_eq!(failure.reason, ExitReason::Normal);
}

// scenario: TK-12
#[test]
fn poll_returns_the_value_once_it_is_there() {
    attached(|inbox: &mut Inbox<()>| {
        let mut task = finished("there");
        assert_eq!(task.yield_timeout(NOW), Some(Ok("there")));
        clean(inbox);
    });
}

// scenario: TK-13
#[test]
fn a_look_at_many() {
    attached(|_: &mut Inbox<()>| {
        process::trap_exit(true);
        let mut tasks = [finished(1), waiting(), ended("boom")];
        let gone = tasks[2].pid();
        assert_eq!(
            task::yield_many_timeout(&mut tasks, NOW),
            [Some(Ok(1)), None, Some(Err(exited(gone, "boom")))]
        );
    });
}

// scenario: TK-15
#[test]
fn a_task_that_is_shut_down() {
    attached(|inbox: &mut Inbox<()>| {
        for how in [Shutdown::Timeout(LONG), Shutdown::Infinity, Shutdown::BrutalKill] {
            let mut task = waiting::<()>();
            let end = process::watch(&task);
            assert_eq!(promptly(|| task.shutdown(how)), None);
            let killed = how == Shutdown::BrutalKill;
            unlinked(inbox);
            assert_eq!(end.wait(), if killed { ExitReason::Killed } else { ExitReason::Shutdown });
            clean(inbox);
        }
    });
}

/// Starts a task that traps exits and calls `then` on an exit request; it is ready when this returns.
#[track_caller]
fn trapping<T: Send + 'static>(then: impl FnOnce(ExitReason) -> T + Send + 'static) -> Task<T> {
    let ready = Gate::new();
    let set = ready.clone();
    let task = task::spawn_receiver::<(), _>(move |inbox| {
        process::trap_exit(true);
        set.open();
        match inbox.recv() {
            Event::Exit { reason, .. } => then(reason),
            other => panic!("an exit was due, not {other:?}"),
        }
    });
    ready.pass();
    task.expect("a free thread")
}

// scenario: TK-16
#[test]
fn a_value_given_while_shutting_down() {
    attached(|inbox: &mut Inbox<()>| {
        for how in [Shutdown::Timeout(LONG), Shutdown::Infinity] {
            let mut task = trapping(|reason| reason);
            assert_eq!(task.shutdown(how), Some(Ok(ExitReason::Shutdown)));
            clean(inbox);
        }
    });
}

// scenario: TK-17
#[test]
fn a_task_that_will_not_shut_down_is_killed() {
    attached(|inbox: &mut Inbox<()>| {
        let mut task = trapping::<()>(|_| forever());
        let killed = exited(task.pid(), ExitReason::Killed);
        assert_eq!(task.shutdown(Shutdown::Timeout(Duration::from_millis(10))), Some(Err(killed)));
        clean(inbox);
    });
}

// scenario: TK-19
#[test]
fn a_task_that_is_shut_down_twice() {
    attached(|_: &mut Inbox<()>| {
        let mut task = waiting::<()>();
        let gone = exited(task.pid(), ExitReason::NoProc);
        assert_eq!(task.shutdown(Shutdown::Infinity), None);
        assert_eq!(task.shutdown(Shutdown::Infinity), Some(Err(gone.clone())));
        assert_eq!(task.shutdown(Shutdown::BrutalKill), Some(Err(gone)));
    });
}

// scenario: TK-20
#[test]
fn a_task_that_is_ignored() {
    attached(|inbox: &mut Inbox<()>| {
        assert_eq!(finished(1).ignore(), Some(Ok(1)));
        let (task, gate) = gated(2);
        let end = process::watch(&task);
        assert_eq!(task.ignore(), None);
        unlinked(inbox);
        gate.open();
        assert_eq!(end.wait(), ExitReason::Normal);
        clean(inbox);
        process::trap_exit(true);
        let task = ended::<()>("boom");
        let pid = task.pid();
        assert_eq!(task.ignore(), Some(Err(exited(pid, "boom"))));
        assert_eq!(exit_event(inbox), (pid, "boom".into()), "the link has delivered this before");
    });
}

// scenario: TK-32
#[test]
fn a_task_as_a_child() {
    let _watchdog = watchdog();
    let (tx, rx) = channel();
    let gate = Gate::new();
    let pass = gate.clone();
    let spec = task::child_spec("job", move || {
        tx.send((process::current(), task::callers())).unwrap();
        pass.pass();
    });
    assert_eq!(spec.options().restart, Restart::Temporary);
    let system = Supervisor::start_link([spec.clone()], Strategy::OneForOne).unwrap();
    let supervisor = system.whereis().unwrap();
    let (first, callers) = rx.recv().unwrap();
    assert_eq!(callers, [supervisor]);
    let info = process::info(first.unwrap()).unwrap();
    assert_eq!((info.label.as_deref(), info.links), (Some("job"), vec![supervisor]));
    assert_eq!(info.spawned_at.file(), file!());
    gate.open();
    eventually("the task is done and forgotten", || system.which_children().unwrap().is_empty());
    system.stop().unwrap();

    let forever = spec.restart(Restart::Permanent);
    let system = Supervisor::start_link([forever], Strategy::OneForOne).unwrap();
    assert_ne!(rx.recv().unwrap().0, rx.recv().unwrap().0, "started again");
    let _ = system.stop();
}

#[test]
fn a_duplicate_id_of_a_task_is_refused_as_of_any_child() {
    let specs = [task::child_spec("twin", || ()), task::child_spec("twin", || ())];
    let refused = Supervisor::start_link(specs, Strategy::OneForOne);
    let Err(StartError::BadSpec(SpecError::DuplicateId(id))) = refused else { panic!("not {refused:?}") };
    assert_eq!(id.as_str(), "twin");
}

mod the_tie_to_the_owner {
    use super::*;

    #[test]
    fn a_task_stays_with_its_owner() {
        trait SendIsAmbiguous<A> {
            const IS_NOT_SEND: bool = true;
        }
        struct Yes;
        impl<T> SendIsAmbiguous<()> for T {}
        impl<T: Send> SendIsAmbiguous<Yes> for T {}
        // Compiles only because exactly one implementation applies.
        const { assert!(<Task<u8> as SendIsAmbiguous<_>>::IS_NOT_SEND) };
        const { assert!(<TaskStream<std::ops::Range<u8>, u8> as SendIsAmbiguous<_>>::IS_NOT_SEND) };
    }

    #[test]
    fn crash_ends_owner_that_does_not_trap() {
        for wait in [
            |task: Task<()>| drop(task.join()),
            |task: Task<()>| drop(task.join_timeout(LONG)),
            |mut task: Task<()>| drop(task.yield_timeout(LONG)),
            |task: Task<()>| drop(task::join_many([task])),
            |task: Task<()>| drop(task::yield_many_timeout(&mut [task], LONG)),
            |mut task: Task<()>| {
                process::watch(&task).wait();
                task.shutdown(Shutdown::Infinity);
            },
        ] {
            let survived = Arc::new(AtomicBool::new(false));
            let note = Arc::clone(&survived);
            let reason = exit_reason_of(move |_: &mut Inbox<()>| {
                wait(task::spawn(|| process::exit_with("boom")).unwrap());
                note.store(true, Ordering::Relaxed);
            });
            assert_eq!(reason, "boom".into(), "the task's own reason, not that of a failed join");
            assert!(!survived.load(Ordering::Relaxed), "the owner exits in the failing join");
        }
    }

    #[test]
    fn a_panic_keeps_its_place_on_the_way_to_the_owner() {
        let line = line!() + 2;
        let reason = exit_reason_of(|_: &mut Inbox<()>| {
            task::spawn::<()>(|| panic!("boom {}", 7)).unwrap().join().or_exit();
        });
        let ExitReason::Panic(report) = reason else { panic!("the panic was due, not {reason}") };
        assert_eq!((report.message(), report.location().unwrap().line), ("boom 7", line));
    }

    #[test]
    fn an_owner_that_crashes_takes_its_tasks_with_it() {
        let (tx, rx) = channel();
        let reason = exit_reason_of(move |_: &mut Inbox<()>| {
            let task = waiting::<()>();
            tx.send(process::watch(&task)).unwrap();
            process::exit_with("my fault")
        });
        assert_eq!(reason, "my fault".into());
        assert_eq!(rx.recv().unwrap().wait(), "my fault".into());
    }

    #[test]
    fn an_owner_that_ends_normally_does_not() {
        let (task, gate) = attached(|_: &mut Inbox<()>| gated(42));
        assert!(process::is_alive(&task));
        gate.open();
        assert_eq!(task.join(), Ok(42), "and the thread that was the owner may still have the value");
    }

    #[test]
    fn a_task_that_is_let_go_is_still_linked() {
        let reason = exit_reason_of(|inbox: &mut Inbox<()>| {
            let gate = Gate::new();
            let pass = gate.clone();
            drop(task::spawn::<()>(move || {
                pass.pass();
                process::exit_with("boom")
            }));
            gate.open();
            inbox.recv();
        });
        assert_eq!(reason, "boom".into());
    }

    #[test]
    fn one_that_is_ignored_is_not() {
        attached(|inbox: &mut Inbox<()>| {
            let task = task::spawn_receiver::<(), ()>(|inbox| {
                inbox.recv();
                process::exit_with("boom")
            });
            let task = task.unwrap();
            let (end, address) = (process::watch(&task), Address::from_pid(task.pid()).unwrap());
            assert_eq!(task.ignore(), None);
            address.send(());
            assert_eq!(end.wait(), "boom".into());
            process::checkpoint();
            clean(inbox);
        });
    }

    #[test]
    fn a_task_that_is_shut_down_does_no_harm() {
        attached(|inbox: &mut Inbox<()>| {
            let mut task = trapping::<()>(|_| process::exit_with("in protest"));
            let protest = exited(task.pid(), "in protest");
            assert_eq!(task.shutdown(Shutdown::Infinity), Some(Err(protest)));
            process::trap_exit(true);
            let mut task = waiting::<()>();
            assert_eq!(task.shutdown(Shutdown::Infinity), None);
            clean(inbox);
        });
    }

    #[test]
    fn of_many_tasks_nothing_is_left() {
        attached(|inbox: &mut Inbox<()>| {
            for round in 0..5 {
                let tasks = (0..200).map(|n| task::spawn(move || n).unwrap());
                assert_eq!(task::join_many(tasks).unwrap(), (0..200).collect::<Vec<_>>(), "round {round}");
            }
            clean(inbox);
        });
    }

    #[test]
    fn a_monitored_task_ends_with_one_down_and_the_true_reason() {
        attached(|inbox: &mut Inbox<()>| {
            for _ in 0..200 {
                let (task, monitor) = task::start_monitor(|| process::exit_with("boom")).unwrap();
                assert_eq!(down(inbox), (monitor, "boom".into()));
                assert_ne!(task, inbox.pid());
            }
            clean(inbox);
        });
    }

    #[test]
    fn start_and_start_link() {
        attached(|inbox: &mut Inbox<Vec<Pid>>| {
            process::trap_exit(true);
            let here = inbox.address();
            for linked in [false, true] {
                let gate = Gate::new();
                let (answer, pass) = (here.clone(), gate.clone());
                let work = move || {
                    answer.send(task::callers());
                    pass.pass();
                    process::exit_with("boom")
                };
                let pid = if linked { task::start_link(work) } else { task::start(work) }.unwrap();
                assert_eq!(message(inbox), [inbox.pid()], "its callers");
                assert_eq!(links_of(pid), if linked { vec![inbox.pid()] } else { vec![] });
                let end = process::watch(pid);
                gate.open();
                assert_eq!(end.wait(), "boom".into());
                if linked {
                    assert_eq!(exit_event(inbox), (pid, "boom".into()));
                }
                assert!(inbox.is_empty());
            }
        });
    }
}

mod on_a_foreign_thread {
    use super::*;

    #[test]
    fn foreign_thread_receives_no_down() {
        let _watchdog = watchdog();
        let refused = task::start_monitor(|| panic!("it must not run"));
        assert!(matches!(refused, Err(SpawnError::NotAProcess)), "{refused:?}");
    }

    #[test]
    fn everything_works_but_the_link() {
        let _watchdog = watchdog();
        assert_eq!(process::current(), None);
        let (task, gate) = gated(42);
        assert_eq!(links_of(task.pid()), []);
        gate.open();
        assert_eq!(task.join(), Ok(42));

        let task = task::spawn::<()>(|| process::exit_with("boom")).unwrap();
        let pid = task.pid();
        assert_eq!(task.join(), Err(exited(pid, "boom")));

        let mut task = waiting::<()>();
        assert_eq!(task.yield_timeout(NOW), None);
        assert_eq!(task.yield_timeout(SHORT), None);
        assert_eq!(task.shutdown(Shutdown::Infinity), None);
        assert_eq!(waiting::<()>().ignore(), None);

        let tasks = [finished(1), finished(2)];
        assert_eq!(task::join_many(tasks), Ok(vec![1, 2]));
        let (tx, rx) = channel();
        task::start_link(move || tx.send(task::callers()).unwrap()).unwrap();
        assert_eq!(rx.recv().unwrap(), []);
    }

    #[test]
    fn a_task_goes_with_its_thread_into_a_process_and_out_of_it() {
        let (before, gate) = gated("before");
        let within = attached(move |_: &mut Inbox<()>| {
            gate.open();
            assert_eq!(before.join(), Ok("before"));
            let (within, gate) = gated("within");
            let mut within = within;
            assert_eq!(within.yield_timeout(NOW), None, "it is still running");
            gate.open();
            within
        });
        assert_eq!(within.join(), Ok("within"));
    }

    #[test]
    fn exit_signal_wakes_only_processes() {
        let _watchdog = watchdog();
        let task = waiting::<()>();
        let pid = task.pid();
        task::start(move || process::exit(pid, "stop")).unwrap();
        assert_eq!(task.join(), Err(exited(pid, "stop")));
    }
}

mod waiting_for_one {
    use super::*;

    #[test]
    fn a_look_can_be_taken_again() {
        attached(|inbox: &mut Inbox<()>| {
            let (mut task, gate) = gated("there");
            let gone = exited(task.pid(), ExitReason::NoProc);
            assert_eq!(task.yield_timeout(NOW), None);
            assert_eq!(task.yield_timeout(SHORT), None);
            gate.open();
            assert_eq!(task.yield_timeout(LONG), Some(Ok("there")));
            assert_eq!(promptly(|| task.yield_timeout(LONG)), Some(Err(gone.clone())), "handed out already");
            assert_eq!(task.shutdown(Shutdown::Infinity), Some(Err(gone.clone())));
            assert_eq!(task::yield_many_timeout(&mut [task], LONG), [Some(Err(gone.clone()))]);
            let mut task = finished("again");
            let gone = exited(task.pid(), ExitReason::NoProc);
            assert!(task.yield_timeout(NOW).is_some());
            assert_eq!(task.join(), Err(gone));
            let mut task = finished("again");
            let gone = exited(task.pid(), ExitReason::NoProc);
            assert!(task.yield_timeout(NOW).is_some());
            assert_eq!(task.ignore(), Some(Err(gone)));
            clean(inbox);
        });
    }

    #[test]
    fn value_that_is_there_is_returned_with_timeout_zero() {
        attached(|_: &mut Inbox<()>| {
            process::trap_exit(true);
            assert_eq!(finished(1).join_timeout(NOW), Ok(1));
            let task = ended::<()>("boom");
            let pid = task.pid();
            assert_eq!(task.join_timeout(NOW), Err(exited(pid, "boom")));
            assert_eq!(task::join_many_timeout([finished(1)], NOW), Ok(vec![1]));
        });
    }

    #[test]
    fn a_join_is_over_when_the_value_is_there_not_when_the_task_has_ended() {
        struct SlowEnd(Gate);
        impl Drop for SlowEnd {
            fn drop(&mut self) {
                self.0.pass();
            }
        }
        attached(|_: &mut Inbox<()>| {
            let gate = Gate::new();
            let slow = SlowEnd(gate.clone());
            // Unread messages are dropped between the value and the exit.
            let filled = Gate::new();
            let pass = filled.clone();
            let task = task::spawn_receiver::<SlowEnd, _>(move |_| {
                pass.pass();
                "value"
            });
            let task = task.unwrap();
            let end = process::watch(&task);
            Address::from_pid(task.pid()).unwrap().send(slow);
            filled.open();
            assert_eq!(task.join(), Ok("value"));
            assert_eq!(end.wait_timeout(NOW), None);
            gate.open();
            assert_eq!(end.wait(), ExitReason::Normal);
        });
    }

    #[test]
    fn a_task_receives_messages() {
        attached(|_: &mut Inbox<()>| {
            let task = task::spawn_receiver(|inbox: &mut Inbox<u32>| message(inbox) + 1).unwrap();
            assert!(Address::<u8>::from_pid(task.pid()).is_none());
            Address::from_pid(task.pid()).unwrap().send(41_u32);
            assert_eq!(task.join(), Ok(42));
        });
    }

    #[test]
    fn a_task_with_a_name_a_label_and_a_place() {
        attached(|_: &mut Inbox<()>| {
            let name = unique("task");
            let plan = Builder::new().name(name).label("the reader");
            let line = line!() + 1;
            let task = plan.clone().spawn_task(|| forever()).unwrap();
            let task: Task<()> = task;
            let info = process::info(&task).unwrap();
            assert_eq!(
                (info.label.as_deref(), process::whereis(name)),
                (Some("the reader"), Some(task.pid()))
            );
            assert_eq!((info.spawned_at.file(), info.spawned_at.line()), (file!(), line));
            let taken = plan.spawn_task(|| ());
            assert!(matches!(taken, Err(SpawnError::Name(_))), "{taken:?}");
        });
    }

    #[test]
    fn exit_signal_ends_the_wait_of_the_owner() {
        let _watchdog = watchdog();
        let (tx, rx) = channel();
        let owner = spawn_body(move |_| {
            let task = waiting::<()>();
            tx.send(task.pid()).unwrap();
            task.join()
        });
        let task = rx.recv().unwrap();
        wait_until_calling(owner.pid, task);
        let end = process::watch(task);
        process::exit(owner.pid, "enough");
        assert_eq!(owner.join(), Err("enough".into()));
        assert_eq!(end.wait(), "enough".into());
    }

    #[test]
    fn task_that_ignores_exit_signals_has_no_value() {
        attached(|inbox: &mut Inbox<()>| {
            process::trap_exit(true);
            let (task, gate) = gated(42);
            let pid = task.pid();
            process::exit(&task, "stop");
            gate.open();
            assert_eq!(task.join(), Err(exited(pid, "stop")));
            assert_eq!(exit_event(inbox), (pid, "stop".into()));
        });
    }

    #[test]
    fn task_that_becomes_a_zombie_has_no_value() {
        attached(|inbox: &mut Inbox<()>| {
            let dropped = Gate::new();
            let note = dropped.clone();
            let plan = Builder::new().kill_grace(NOW);
            let (mut stuck, gate) = gated_with(plan, OnDrop(move || note.open()));
            assert!(stuck.shutdown(Shutdown::BrutalKill).is_none());
            assert!(process::zombies().iter().any(|zombie| zombie.pid == stuck.pid()));
            gate.open();
            dropped.pass();
            clean(inbox);
        });
    }

    #[test]
    fn task_that_ignores_shutdown_is_abandoned() {
        attached(|inbox: &mut Inbox<()>| {
            let (mut stuck, gate) = gated_with(Builder::new().kill_grace(NOW), ());
            assert_eq!(
                stuck.shutdown(Shutdown::Timeout(Duration::from_millis(1))),
                None,
                "its reason stands"
            );
            gate.open();
            clean(inbox);
        });
    }

    #[test]
    fn busy_task_has_its_shutdown_time_even_if_its_exit_timeout_is_shorter() {
        attached(|inbox: &mut Inbox<()>| {
            let (mut busy, gate) = gated_with(Builder::new().exit_timeout(SHORT), ());
            let pid = busy.pid();
            // Set before the shutdown: a process that is exiting is reported as `NoProc`.
            let watch = process::watch(pid);
            let observer = process::spawn(move || {
                eventually("it is exiting", || !process::is_alive(pid));
                assert_eq!(watch.wait_timeout(10 * SHORT), None, "it still has time");
                gate.open();
                assert_eq!(watch.wait(), ExitReason::Shutdown);
            });
            let observer = process::watch(observer.unwrap());
            assert_eq!(busy.shutdown(Shutdown::Timeout(2 * LONG)), None);
            assert_eq!(observer.wait(), ExitReason::Normal);
            assert!(!process::zombies().iter().any(|zombie| zombie.pid == pid));
            clean(inbox);
        });
    }

    #[test]
    fn shutdown_returns_the_reason_of_each_exit() {
        attached(|_: &mut Inbox<()>| {
            process::trap_exit(true);
            let long = Shutdown::Timeout(LONG);
            let cases: [(ExitReason, Shutdown, bool); 8] = [
                (ExitReason::Shutdown, long, false),
                (ExitReason::Shutdown, Shutdown::BrutalKill, true),
                (ExitReason::Killed, Shutdown::BrutalKill, false),
                (ExitReason::Killed, long, true),
                (ExitReason::shutdown_with(1), long, true),
                (ExitReason::Normal, long, true),
                (ExitReason::Normal, Shutdown::BrutalKill, true),
                ("boom".into(), long, true),
            ];
            for (reason, how, is_error) in cases {
                let mut task = ended::<()>(reason.clone());
                let error = Some(Err(exited(task.pid(), reason)));
                assert_eq!(task.shutdown(how), error.filter(|_| is_error));
            }
            for how in [long, Shutdown::BrutalKill, Shutdown::Infinity] {
                assert_eq!(finished(7).shutdown(how), Some(Ok(7)));
            }
        });
    }

    #[test]
    fn errors_print_and_become_reasons() {
        attached(|_: &mut Inbox<()>| {
            let task = inert();
            let cycle = JoinError::Deadlock { cycle: vec![task, task] };
            let limit = StartError::SystemLimit { limit: 3 };
            let failed = StartError::Failed("init".into());
            for (error, text, reason) in [
                (
                    exited(task, "boom"),
                    format!("task {task} exited without a value: boom"),
                    format!("call to task {task} failed: boom"),
                ),
                (
                    JoinError::Timeout { task, after: SHORT },
                    format!("task {task}: no value within 20ms"),
                    format!("call to task {task} failed: timeout"),
                ),
                (
                    cycle.clone(),
                    format!("deadlock: {task} waits for {task} waits for {task}"),
                    format!("call to task {task} failed: {cycle}"),
                ),
                (
                    JoinError::NotStarted(limit.clone()),
                    format!("task failed to start: {limit}"),
                    limit.to_string(),
                ),
                (
                    JoinError::NotStarted(failed.clone()),
                    format!("task failed to start: {failed}"),
                    "init".to_owned(),
                ),
                (
                    JoinError::Exiting,
                    "the calling process is exiting".to_owned(),
                    "the calling process is exiting".to_owned(),
                ),
            ] {
                assert_eq!(error.to_string(), text);
                assert_eq!(ExitReason::error(error).to_string(), reason);
            }
            let carried = ExitReason::error(cycle.clone());
            assert_eq!(carried.downcast_ref::<JoinError>(), Some(&cycle));
        });
    }

    /// Returns the pid of a sleeping process.
    fn inert() -> Pid {
        sleeper().pid()
    }

    #[test]
    fn handles_print_and_give_their_pid() {
        let (task, gate) = gated(());
        assert_eq!(format!("{task:?}"), format!("Task({})", task.pid()));
        assert_eq!(Pid::from(&task), task.pid());
        gate.open();
    }
}

mod waiting_for_many {
    use super::*;

    #[test]
    fn values_come_in_the_order_of_the_tasks() {
        attached(|inbox: &mut Inbox<()>| {
            let (slow, gate) = gated(1);
            let quick = task::spawn(move || {
                gate.open();
                2
            });
            assert_eq!(task::join_many([slow, quick.unwrap(), finished(3)]), Ok(vec![1, 2, 3]));
            assert_eq!(task::join_many::<u8>([]), Ok(vec![]));
            assert_eq!(task::yield_many_timeout::<u8>(&mut [], LONG), []);
            clean(inbox);
        });
    }

    #[test]
    fn first_exit_is_returned_at_once() {
        let _watchdog = watchdog();
        for turn in 0..20 {
            let (second, gate) = gated(());
            let second_end = process::watch(&second);
            let tasks = [waiting(), second, ended::<()>("first"), waiting()];
            let pids: Vec<Pid> = tasks.iter().map(Task::pid).collect();
            process::exit(pids[1], "second");
            gate.open();
            assert_eq!(second_end.wait(), "second".into());
            assert_eq!(promptly(|| task::join_many(tasks)), Err(exited(pids[2], "first")), "turn {turn}");
            assert!(process::is_alive(pids[0]) && process::is_alive(pids[3]), "the others keep running");
            for pid in pids {
                process::exit(pid, ExitReason::Kill);
            }
        }
    }

    #[test]
    fn exit_during_wait_for_many_is_returned() {
        attached(|inbox: &mut Inbox<()>| {
            process::trap_exit(true);
            let tasks = [waiting::<()>(), waiting()];
            let (owner, first, victim) = (inbox.pid(), tasks[0].pid(), tasks[1].pid());
            let killer = task::start(move || {
                wait_until_calling(owner, first);
                process::exit(victim, "shot");
            });
            assert!(killer.is_ok());
            assert_eq!(promptly(|| task::join_many(tasks)), Err(exited(victim, "shot")));
        });
    }

    #[test]
    fn one_whose_value_was_handed_out_is_an_error_at_once() {
        attached(|_: &mut Inbox<()>| {
            let mut handled = finished(1);
            assert!(handled.yield_timeout(NOW).is_some());
            let gone = exited(handled.pid(), ExitReason::NoProc);
            assert_eq!(promptly(|| task::join_many([waiting(), handled])), Err(gone));
        });
    }

    #[test]
    fn one_time_for_all() {
        attached(|inbox: &mut Inbox<()>| {
            let tasks = [finished(1), waiting(), waiting(), waiting()];
            let slow = tasks[1].pid();
            let began = Instant::now();
            let late = task::join_many_timeout(tasks, SHORT);
            assert_eq!(late, Err(JoinError::Timeout { task: slow, after: SHORT }));
            let mut tasks = [waiting::<()>(), waiting(), waiting(), waiting()];
            assert_eq!(task::yield_many_timeout(&mut tasks, SHORT), [None, None, None, None]);
            assert!(began.elapsed() >= 2 * SHORT && began.elapsed() < LONG);
            assert!(inbox.is_empty());
        });
    }

    #[test]
    fn looks_at_many_until_all_are_done() {
        attached(|_: &mut Inbox<()>| {
            let (first, gate) = gated(1);
            let (second, late) = gated(2);
            let mut tasks = [first, second];
            assert_eq!(task::yield_many_timeout(&mut tasks, NOW), [None, None]);
            gate.open();
            assert_eq!(tasks[0].yield_timeout(LONG), Some(Ok(1)));
            late.open();
            let results = task::yield_many_timeout(&mut tasks, LONG);
            assert_eq!(results[1], Some(Ok(2)));
            assert!(matches!(results[0], Some(Err(JoinError::Exited { reason: ExitReason::NoProc, .. }))));
        });
    }
}

mod wait_cycles {
    use super::*;

    /// Runs, in a server's handler, a task that calls the server; returns the result of the handler.
    #[track_caller]
    fn in_a_server<T: Send + 'static>(
        handle: impl FnOnce(Task<Result<i64, CallError>>, Pid) -> T + Send + 'static,
    ) -> (T, ServerRef<scripted_server::ScriptedServer>) {
        let server = start_server();
        let (tx, rx) = channel();
        server.cast_with(move |_, cx| {
            let this = cx.server_ref();
            let task = task::spawn(move || this.get()).expect("a free thread");
            let pid = task.pid();
            tx.send(handle(task, pid)).expect("the test receives");
            Next::wait()
        });
        (promptly(|| rx.recv().expect("an answer")), server)
    }

    /// Waits until the task is blocked in its call to the server.
    fn called(task: Pid) {
        wait_until_calling(task, process::current().expect("a server"));
    }

    #[test]
    fn a_join_of_a_task_that_waits_for_the_owner_is_refused() {
        let _watchdog = watchdog();
        type Wait = fn(Task<Result<i64, CallError>>) -> Option<JoinError>;
        let waits: [Wait; 4] = [
            |task| task.join().err(),
            |task| task.join_timeout(LONG).err(),
            |task| task::join_many([finished(Ok(1)), task]).err(),
            |task| task::join_many_timeout([task, waiting()], LONG).err(),
        ];
        for wait in waits {
            let (found, server) = in_a_server(move |task, pid| {
                called(pid);
                (wait(task), pid)
            });
            let cycle = vec![server.pid(), found.1];
            assert_eq!(found.0, Some(JoinError::Deadlock { cycle }));
            assert_eq!(server.get(), Ok(0), "it keeps running");
        }
    }

    #[test]
    fn a_call_of_a_task_to_an_owner_that_joins_it_is_refused() {
        let _watchdog = watchdog();
        let server = start_server();
        let (tx, rx) = channel();
        server.cast_with(move |_, cx| {
            let (this, me) = (cx.server_ref(), cx.pid());
            let task = task::spawn_receiver::<(), _>(move |inbox| {
                wait_until_calling(me, inbox.pid());
                (this.get(), inbox.pid())
            });
            tx.send(task.expect("a free thread").join()).expect("the test receives");
            Next::wait()
        });
        let (refused, task) = promptly(|| rx.recv().unwrap()).unwrap();
        assert_eq!(refused, Err(CallError::Deadlock { cycle: vec![task, server.pid()] }));
    }

    #[test]
    fn the_mark_goes_from_one_of_many_to_the_next() {
        let _watchdog = watchdog();
        let ((found, pid), server) = in_a_server(|task, pid| {
            called(pid);
            let (slow, gate) = gated(Ok(1));
            let me = process::current().unwrap();
            let first = slow.pid();
            task::start(move || {
                wait_until_calling(me, first);
                gate.open();
            })
            .unwrap();
            (task::join_many([slow, task]), pid)
        });
        assert_eq!(found, Err(JoinError::Deadlock { cycle: vec![server.pid(), pid] }));
    }

    #[test]
    fn poll_is_never_refused() {
        let _watchdog = watchdog();
        let server = start_server();
        let (tx, rx) = channel();
        server.cast_with(move |_, cx| {
            let this = cx.server_ref();
            let mut task = task::spawn(move || this.get()).expect("a free thread");
            called(task.pid());
            let seen =
                (task.yield_timeout(SHORT), task::yield_many_timeout(std::slice::from_mut(&mut task), SHORT));
            assert_eq!(seen, (None, vec![None]));
            let end = process::watch(&task);
            drop(task);
            tx.send(end).expect("the test receives");
            Next::wait()
        });
        assert_eq!(promptly(|| rx.recv().unwrap().wait()), ExitReason::Normal, "the call was answered");
    }

    #[test]
    fn a_task_that_calls_its_owner_when_it_is_shut_down_is_refused() {
        let _watchdog = watchdog();
        let server = start_server();
        let (tx, rx) = channel();
        server.cast_with(move |_, cx| {
            let this = cx.server_ref();
            let mut task = trapping(move |_| this.get());
            tx.send((task.pid(), task.shutdown(Shutdown::Infinity))).expect("the test receives");
            Next::wait()
        });
        let (task, result) = promptly(|| rx.recv().unwrap());
        let Some(Ok(Err(CallError::Deadlock { cycle }))) = result else { panic!("not {result:?}") };
        assert_eq!(cycle, [task, server.pid()]);
    }

    #[test]
    fn a_task_that_waits_for_its_owner_can_be_shut_down() {
        let _watchdog = watchdog();
        let (result, server) = in_a_server(|mut task, pid| {
            called(pid);
            task.shutdown(Shutdown::Timeout(LONG))
        });
        assert_eq!(result, None);
        assert_eq!(server.get(), Ok(0));
    }

    #[test]
    fn wait_mark_is_removed_after_a_wait() {
        attached(|inbox: &mut Inbox<()>| {
            let waiting_on = |pid| process::info(pid).unwrap().waiting_on;
            finished(1).join().unwrap();
            let _ = waiting::<()>().join_timeout(NOW);
            let _ = task::join_many_timeout([waiting::<()>()], NOW);
            waiting::<()>().shutdown(Shutdown::Infinity);
            assert_eq!(waiting_on(inbox.pid()), None);
        });
    }

    #[test]
    fn a_server_that_has_its_task_cast_the_result_is_never_stuck() {
        let _watchdog = watchdog();
        let journal = Journal::new();
        let server = Plan::new(&journal).start();
        server.cast_with(move |_, cx| {
            let this = cx.server_ref();
            let work = move || this.note(format!("done: {:?}", this.get()));
            let _ = task::start_monitor(work).expect("a free thread");
            Next::wait()
        });
        assert_eq!(journal.wait_for(2), ["done: Ok(0)", "down normal"]);
    }
}

mod in_destructors {
    use super::*;

    /// Runs `act` in a destructor of an exiting process and returns its result.
    #[track_caller]
    fn at_the_end<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
        let _watchdog = watchdog();
        let (tx, rx) = channel();
        let mut act = Some(act);
        let guard = OnDrop(move || {
            if let Some(act) = act.take() {
                tx.send(act()).expect("the test receives");
            }
        });
        let ended = process::attach_receiver(move |_: &mut Inbox<()>| {
            let _guard = guard;
            process::exit_with("over")
        });
        assert!(matches!(ended, Err(AttachError::Exited(_))), "{ended:?}");
        rx.recv().expect("the destructor ran")
    }

    #[test]
    fn destructor_cannot_start_a_task() {
        let refused = at_the_end(|| task::spawn(|| 1).map(drop));
        assert!(matches!(refused, Err(SpawnError::Exiting)), "{refused:?}");
        assert!(at_the_end(|| task::start(|| ()).is_err() && task::start_link(|| ()).is_err()));
    }

    #[test]
    fn destructor_cannot_wait_for_a_task() {
        let _watchdog = watchdog();
        type Wait = fn(Task<()>) -> Option<Result<(), JoinError>>;
        let waits: [Wait; 6] = [
            |task| Some(task.join()),
            |task| Some(task.join_timeout(LONG)),
            |mut task| task.yield_timeout(LONG),
            |task| Some(task::join_many([task]).map(drop)),
            |task| task::yield_many_timeout(&mut [task], LONG).remove(0),
            |mut task| task.shutdown(Shutdown::Infinity),
        ];
        for wait in waits {
            let (tx, rx) = channel();
            let ended = process::attach_receiver(move |_: &mut Inbox<()>| {
                let mut task = Some(waiting::<()>());
                let _guard = OnDrop(move || {
                    if let Some(task) = task.take() {
                        tx.send(promptly(|| wait(task))).expect("the test receives");
                    }
                });
                process::exit_with("over")
            });
            assert!(ended.is_err());
            assert_eq!(rx.recv().unwrap(), Some(Err(JoinError::Exiting)));
        }
    }

    #[test]
    fn destructor_can_shut_a_task_down() {
        let _watchdog = watchdog();
        let (tx, rx) = channel();
        let ended = process::attach_receiver(move |_: &mut Inbox<()>| {
            let mut task = Some(waiting::<()>());
            let _guard = OnDrop(move || {
                let mut task = task.take().unwrap();
                tx.send(process::watch(&task)).unwrap();
                assert_eq!(task.shutdown(Shutdown::Infinity), Some(Err(JoinError::Exiting)));
            });
            process::exit_with(ExitReason::Normal)
        });
        assert!(ended.is_err());
        assert_eq!(
            rx.recv().unwrap().wait(),
            ExitReason::Shutdown,
            "asked to exit, though the owner's exit is normal"
        );
    }

    #[test]
    fn panics_of_unused_values_are_contained() {
        let _watchdog = watchdog();
        // In the task, because the owner has exited.
        let (task, gate) = gated(Bomb);
        let end = process::watch(&task);
        drop(task);
        gate.open();
        assert_eq!(end.wait(), ExitReason::Normal);
        // In the owner, because the value was there.
        drop(finished(Bomb));
        attached(|inbox: &mut Inbox<()>| {
            drop(finished(Bomb));
            clean(inbox);
        });
        // In an owner that unwinds.
        let reason = exit_reason_of(|_: &mut Inbox<()>| {
            let _task = finished(Bomb);
            process::exit_with("out")
        });
        assert_eq!(reason, "out".into());
        // In a task that was asked to exit.
        let (task, gate) = gated(Bomb);
        let end = process::watch(&task);
        process::exit(&task, "stop");
        gate.open();
        assert_eq!(end.wait(), "stop".into());
        drop(task);
    }

    #[test]
    fn a_value_left_in_a_handle_that_leaked_does_not_matter() {
        let _watchdog = watchdog();
        let (task, gate) = gated(Bomb);
        let end = process::watch(&task);
        std::mem::forget(task);
        gate.open();
        assert_eq!(end.wait(), ExitReason::Normal);
    }

    #[test]
    fn captures_of_work_are_dropped_before_the_value_arrives() {
        attached(|_: &mut Inbox<()>| {
            let dropped = Arc::new(AtomicBool::new(false));
            let note = Arc::clone(&dropped);
            let held = OnDrop(move || note.store(true, Ordering::SeqCst));
            let task = task::spawn(move || {
                let _held = &held;
            });
            task.unwrap().join().unwrap();
            assert!(dropped.load(Ordering::SeqCst));
        });
    }

    #[test]
    fn work_whose_destructor_panics_is_a_crash_of_the_task() {
        attached(|_: &mut Inbox<()>| {
            process::trap_exit(true);
            let bomb = Bomb;
            let task = task::spawn(move || {
                let _held = &bomb;
            });
            let error = task.unwrap().join().unwrap_err();
            let JoinError::Exited { reason: ExitReason::Panic(report), .. } = error else {
                panic!("not {error}")
            };
            assert_eq!(report.message(), "the destructor of a bomb");
        });
    }
}

mod callers_and_reports {
    use super::*;

    #[test]
    fn chain_of_tasks_has_bounded_callers() {
        fn depth(left: u32) -> Vec<Pid> {
            match left {
                0 => task::callers(),
                _ => task::spawn(move || depth(left - 1)).expect("a free thread").join().expect("a value"),
            }
        }
        attached(|inbox: &mut Inbox<()>| {
            assert_eq!(depth(40).len(), 32);
            assert_eq!(depth(3).last(), Some(&inbox.pid()));
        });
    }

    #[test]
    fn other_processes_have_no_callers() {
        attached(|_: &mut Inbox<()>| {
            let task = task::spawn(|| spawn_body(|_| task::callers()).join());
            assert_eq!(task.unwrap().join(), Ok(Ok(vec![])));
        });
    }

    #[test]
    fn a_destructor_of_the_body_still_has_them_and_the_mailbox_has_not() {
        struct Tells(std::sync::mpsc::Sender<Vec<Pid>>);
        impl Drop for Tells {
            fn drop(&mut self) {
                let _ = self.0.send(task::callers());
            }
        }
        attached(|inbox: &mut Inbox<()>| {
            let (tx, rx) = channel();
            let gate = Gate::new();
            let (pass, held) = (gate.clone(), Tells(tx.clone()));
            let task = task::spawn_receiver::<Tells, _>(move |_| {
                pass.pass();
                drop(held);
            });
            let task = task.unwrap();
            Address::from_pid(task.pid()).unwrap().send(Tells(tx));
            gate.open();
            assert_eq!(rx.recv().unwrap(), [inbox.pid()]);
            assert_eq!(rx.recv().unwrap(), [], "unread messages are dropped after the body");
        });
    }

    #[test]
    fn only_crashes_are_logged() {
        let _watchdog = watchdog();
        capture();
        let crashed = ended::<()>("out of paper").pid();
        let quiet = [ended::<()>(ExitReason::Normal).pid(), ended::<()>(ExitReason::Shutdown).pid(), {
            let mut task = waiting::<()>();
            task.shutdown(Shutdown::BrutalKill);
            task.pid()
        }];
        let crash = format!("ERROR process {crashed} crashed: out of paper");
        let logs = logs();
        let report = logs.iter().find(|line| line.starts_with(&crash)).expect("a crash report");
        assert!(report.contains(file!()), "{report}");
        for pid in quiet {
            let crash = format!("ERROR process {pid} crashed");
            assert!(!logs.iter().any(|line| line.starts_with(&crash)), "{pid}");
        }
    }

    #[test]
    fn without_a_free_thread_there_is_an_error() {
        let _watchdog = watchdog();
        let huge = Builder::new().stack_size(usize::MAX / 4);
        let refused = huge.clone().spawn_task(|| ());
        assert!(matches!(refused, Err(SpawnError::Thread(_))), "{refused:?}");
        attached(|inbox: &mut Inbox<()>| {
            let refused = huge.spawn_task(|| ());
            assert!(matches!(refused, Err(SpawnError::Thread(_))), "{refused:?}");
            clean(inbox);
        });
    }
}

/// Sends two messages in its destructor: the first must not end it.
struct LastWords(Address<&'static str>);

impl Drop for LastWords {
    fn drop(&mut self) {
        self.0.send("bye");
        self.0.send("really");
    }
}

#[test]
fn the_destructor_of_a_value_that_comes_too_late_runs_to_its_end() {
    attached(|inbox: &mut Inbox<&'static str>| {
        process::trap_exit(true);
        let (begun, gate) = (Gate::new(), Gate::new());
        let (started_gate, held, to) = (begun.clone(), gate.clone(), inbox.address());
        let work = move || {
            started_gate.open();
            held.pass();
            LastWords(to)
        };
        let task = task::spawn(work).unwrap();
        begun.pass();
        process::exit(&task, "go");
        gate.open();
        assert_eq!((message(inbox), message(inbox)), ("bye", "really"));
        assert_eq!(exit_event(inbox), (task.pid(), "go".into()));
    });
}
