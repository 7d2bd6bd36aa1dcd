//! Destructors and `Debug` of user code that panic, block or query the runtime where it drops or prints
//! user values: one regression test for each former abort, kill or hang.

use std::fmt;
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use crate::support::child::{states, up};
use crate::support::child_program::in_child_program;
use crate::support::scripted_server::Plan;
use crate::support::{Gate, Journal, capture, eventually, unique, watchdog};
use rethread::StartError;
use rethread::prelude::*;
use rethread::process::{self, Builder, Inbox, NameError, Via, attempt};

const SOON: Duration = Duration::from_secs(30);

/// Panics in its destructor.
#[derive(Debug)]
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the destructor of a bomb")
    }
}

/// Reports that its destructor runs, then waits.
struct Stalls {
    begun: Gate,
    gate: Gate,
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.begun.open();
        self.gate.pass();
    }
}

/// Checks that the timer thread still works.
#[track_caller]
fn assert_timers_fire() {
    let waits = process::spawn_receiver::<()>(|inbox| {
        inbox.recv();
    });
    let waits = waits.expect("a free thread");
    let end = process::watch(&waits);
    process::send_after(Duration::from_millis(1), &waits, ());
    assert_eq!(end.wait_timeout(SOON), Some(ExitReason::Normal), "the timer thread is stuck");
}

/// Keeps its answer until its `terminate` returns, which waits.
struct Holder {
    terminating: Gate,
    gate: Gate,
}

struct Get(Caller<Bomb>);

impl GenServer for Holder {
    type Args = (Gate, Gate);
    type Call = Get;
    type Cast = Infallible;

    fn init((terminating, gate): (Gate, Gate), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self { terminating, gate })
    }
    fn handle_call(&mut self, Get(from): Get, _: &mut Context<Self>) -> Next {
        from.reply(Bomb).and_stop("answered")
    }
    fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
        self.terminating.open();
        self.gate.pass();
    }
}

#[test]
fn held_reply_whose_destructor_panics_does_not_abort_the_cleanup() {
    in_child_program(|| {
        let _watchdog = watchdog();
        let (terminating, gate) = (Gate::new(), Gate::new());
        let args = (terminating.clone(), gate.clone());
        let server = Holder::child_spec(args)
            .process(process::Builder::new().kill_grace(Duration::from_millis(10)))
            .start()
            .unwrap();
        let pid = server.whereis().unwrap();
        let caller = thread::Builder::new().spawn(move || server.call(Get).map(std::mem::forget));
        terminating.pass();
        process::exit(pid, ExitReason::Kill);
        let outcome = caller.unwrap().join().unwrap();
        assert!(outcome.is_err(), "{outcome:?}");
        assert_timers_fire();
        gate.open();
        eventually("its thread ends", || process::info(pid).is_none());
    });
}

/// A reason that cannot be printed.
struct Unprintable;

impl fmt::Debug for Unprintable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("not to be printed")
    }
}

impl PartialEq for Unprintable {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

#[test]
fn a_child_that_ends_for_a_reason_that_cannot_be_printed_is_restarted() {
    let _watchdog = watchdog();
    capture();
    let (first, again) = (Gate::new(), Gate::new());
    let restarted = again.clone();
    let worker = ChildSpec::worker("worker", move || {
        if first.is_open() {
            restarted.open();
            process::sleep(Duration::MAX);
        }
        first.open();
        process::exit_with(ExitReason::new(Unprintable))
    });
    let supervisor = up(Supervisor::one_for_one().child(worker));
    eventually("it is restarted", || again.is_open());
    assert_eq!(states(&supervisor), [("worker".into(), "running")]);
    supervisor.stop().unwrap();
}

/// An error that is its own cause.
#[derive(Debug)]
struct Circular;

impl fmt::Display for Circular {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("round and round")
    }
}

impl std::error::Error for Circular {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self)
    }
}

#[test]
fn a_child_that_ends_for_an_error_that_is_its_own_cause_is_restarted() {
    let _watchdog = watchdog();
    capture();
    assert_eq!(ExitReason::error(Circular).to_string(), "round and round");
    let (first, again) = (Gate::new(), Gate::new());
    let restarted = again.clone();
    let worker = ChildSpec::worker("worker", move || {
        if first.is_open() {
            restarted.open();
            process::sleep(Duration::MAX);
        }
        first.open();
        Err::<(), _>(Circular).or_exit();
    });
    let supervisor = up(Supervisor::one_for_one().child(worker));
    eventually("it is restarted", || again.is_open());
    supervisor.stop().unwrap();
}

#[test]
fn a_refused_child_whose_captures_panic_when_dropped_does_not_end_the_supervisor() {
    let _watchdog = watchdog();
    let supervisor = up(Supervisor::one_for_one());
    let bomb = Bomb;
    let refused = supervisor.start_child(ChildSpec::new("refused", move || {
        let _captured = &bomb;
        Err(StartError::Timeout)
    }));
    assert!(matches!(refused, Err(StartError::Timeout)), "{refused:?}");
    assert_eq!(states(&supervisor), []);
    supervisor.stop().unwrap();
}

/// A reason that queries a process when it is dropped.
#[derive(Debug)]
struct Nosy(Arc<OnceLock<Pid>>);

impl PartialEq for Nosy {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        if let Some(pid) = self.0.get() {
            let _ = process::info(*pid);
        }
    }
}

#[test]
fn an_overruled_reason_that_asks_for_its_process_when_dropped_does_not_hang_the_end() {
    in_child_program(|| {
        let _watchdog = watchdog();
        let (begun, gate) = (Gate::new(), Gate::new());
        let stalls = Stalls { begun: begun.clone(), gate: gate.clone() };
        let exiting = Builder::new().exit_timeout(Duration::from_secs(1)).spawn(move || {
            let _stalls = stalls;
            panic!("own")
        });
        let exiting = exiting.unwrap();
        let end = process::watch(exiting);
        begun.pass();
        process::exit(exiting, ExitReason::new(Nosy(Arc::new(OnceLock::from(exiting)))));
        gate.open();
        let (tx, rx) = channel();
        thread::Builder::new().spawn(move || tx.send(end.wait())).unwrap();
        // A query about a process that hangs under its own lock hangs too, also in the watchdog: abort
        // directly.
        let reason = rx.recv_timeout(SOON).unwrap_or_else(|_| std::process::abort());
        assert!(matches!(reason, ExitReason::Panic(_)), "{reason:?}");
        assert_timers_fire();
    });
}

#[test]
fn an_attached_body_whose_unwanted_value_panics_when_dropped_leaves_its_thread_in_order() {
    let _watchdog = watchdog();
    let attaches = || {
        attempt(|| {
            let outcome = process::attach_receiver(|inbox: &mut Inbox<()>| {
                let me = inbox.pid();
                let kills = thread::Builder::new().spawn(move || process::exit(me, ExitReason::Kill));
                kills.expect("a thread").join().expect("it receives the event");
                Bomb
            });
            drop(outcome.map(std::mem::forget));
        })
        .rescue(|_| ());
        assert!(!process::exit_requested());
        process::attach_receiver(|_: &mut Inbox<()>| 7).expect("it is no process")
    };
    let foreign = thread::Builder::new().spawn(attaches).unwrap();
    assert_eq!(foreign.join().unwrap(), 7);
}

/// A name table whose destructor panics.
#[derive(Debug)]
struct Table(Bomb);

impl Via for Table {
    fn whereis(&self) -> Option<Pid> {
        None
    }
    fn register(&self, _: Pid) -> Result<(), NameError> {
        Ok(())
    }
    fn unregister(&self, _: Pid) {}
}

#[test]
fn table_of_names_whose_destructor_panics_does_not_abort_the_cleanup() {
    in_child_program(|| {
        let _watchdog = watchdog();
        let name = ServerRef::via(Table(Bomb));
        let server = Plan::new(&Journal::new()).spec().name(name).start().unwrap();
        let end = server.watch();
        server.stop().unwrap();
        assert_eq!(end.wait(), ExitReason::Normal);
    });
}

#[test]
fn unreceived_timed_message_whose_destructor_blocks_does_not_stop_the_timers() {
    in_child_program(|| {
        let _watchdog = watchdog();
        let (begun, gate) = (Gate::new(), Gate::new());
        let unregistered: process::Name<Stalls> = process::Name::new(unique("drops.unregistered"));
        let message = Stalls { begun: begun.clone(), gate: gate.clone() };
        process::send_after(Duration::from_millis(1), unregistered, message);
        begun.pass();
        assert_timers_fire();
        gate.open();
    });
}

/// Joins a task, and reports the result.
struct Joins(std::sync::mpsc::Sender<Option<u32>>);

impl Drop for Joins {
    fn drop(&mut self) {
        let work = || {
            process::sleep(Duration::from_millis(100)); // so that there is something to wait for
            7
        };
        let _ = self.0.send(task::spawn(work).ok().and_then(|task| task.join().ok()));
    }
}

thread_local! {
    static JOINS: std::cell::RefCell<Option<Joins>> = const { std::cell::RefCell::new(None) };
}

#[test]
fn a_wait_in_the_destructor_of_a_thread_local_is_woken() {
    let _watchdog = watchdog();
    let (tx, rx) = channel();
    let foreign = thread::Builder::new().spawn(move || {
        // Initialised before the runtime's thread-locals on this thread, so that it is dropped after those.
        JOINS.with(|joins| *joins.borrow_mut() = Some(Joins(tx)));
        assert_eq!(task::spawn(|| 1).unwrap().join(), Ok(1));
    });
    foreign.unwrap().join().unwrap();
    assert_eq!(rx.recv_timeout(SOON), Ok(Some(7)));
}
