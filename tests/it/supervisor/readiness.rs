//! Children that are plain processes and report when they have started, and `Builder::start`.

use std::thread;
use std::time::Duration;

use crate::support::{
    Gate, Journal, attached, down, eventually, exit_event, exit_reason_of, unique, watchdog,
};
use rethread::StartError;
use rethread::prelude::*;
use rethread::process::{Activity, Builder, InitAck};
use rethread::supervisor::FailedToStartChild;

const LONG: Duration = Duration::from_secs(60);

/// Waits until an exit signal arrives.
fn idle() {
    process::sleep(Duration::MAX)
}

/// Returns the error with which the start of a supervisor's only child failed.
#[track_caller]
fn start_error(child: ChildSpec) -> StartError {
    let error = Supervisor::one_for_one().child(child).start().expect_err("its child does not start");
    let StartError::Failed(reason) = error else { panic!("{error:?}") };
    reason.downcast_ref::<FailedToStartChild>().expect("it carries the child").error.clone()
}

#[test]
fn next_child_is_started_when_the_child_before_has_reported() {
    let _watchdog = watchdog();
    let (journal, gate) = (Journal::new(), Gate::new());
    let first = {
        let (journal, gate) = (journal.clone(), gate.clone());
        ChildSpec::acked_worker("first", move |ack: InitAck| {
            journal.note("first");
            gate.pass();
            journal.note("first has started");
            ack.started();
            idle();
        })
    };
    let second = {
        let journal = journal.clone();
        ChildSpec::acked_receiver("second", move |_: &mut Inbox<()>, ack| {
            journal.note("second has started");
            ack.started();
            idle();
        })
    };
    let start = thread::Builder::new()
        .spawn(move || Supervisor::one_for_one().child(first).child(second).start())
        .unwrap();
    journal.wait_for(1);
    gate.open();
    let system = start.join().unwrap().unwrap();
    assert_eq!(journal.all(), ["first", "first has started", "second has started"]);
    system.stop().unwrap();
}

#[test]
fn exit_before_the_report_is_a_failed_start() {
    let _watchdog = watchdog();
    let failed = StartError::failed("no disk");
    let error =
        ChildSpec::acked_worker("error", |_: InitAck| -> Result<(), String> { Err("no disk".into()) });
    assert_eq!(start_error(error), failed);
    assert_eq!(start_error(ChildSpec::acked_worker("failed", |ack| ack.failed("no disk"))), failed);
    let exit = ChildSpec::acked_receiver("exit", |_: &mut Inbox<()>, _| process::exit_with("no disk"));
    assert_eq!(start_error(exit), failed);
    let forgotten = ChildSpec::acked_worker("forgotten", drop::<InitAck>);
    assert_eq!(start_error(forgotten), StartError::Failed(ExitReason::Normal));
    let panic = start_error(ChildSpec::acked_worker("panic", |_: InitAck| panic!("boom")));
    assert!(
        matches!(&panic, StartError::Failed(ExitReason::Panic(report)) if report.message() == "boom"),
        "{panic:?}"
    );
}

#[test]
fn start_that_takes_too_long_is_killed_and_its_name_is_free() {
    let _watchdog = watchdog();
    let (name, after) = (unique("readiness.slow"), Duration::from_millis(20));
    let builder = Builder::new().name(name).start_timeout(after);
    let slow = ChildSpec::acked_worker_with(builder.clone(), "slow", |ack: InitAck| {
        idle();
        ack.started();
    });
    assert_eq!(start_error(slow), StartError::Timeout { after });
    assert_eq!(process::whereis(name), None);
    // One that drops the handle has not started either.
    let dropped = builder.start(|ack| {
        drop(ack);
        idle();
    });
    assert_eq!(dropped, Err(StartError::Timeout { after }));
    assert_eq!(process::whereis(name), None);
}

#[test]
fn child_that_has_reported_is_restarted_and_waited_for_again() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let name = unique("readiness.restarted");
    let child = {
        let journal = journal.clone();
        ChildSpec::acked_worker_with(Builder::new().name(name).start_timeout(LONG), "a", move |ack| {
            journal.note("started");
            ack.started();
            idle();
        })
    };
    let system = Supervisor::one_for_one().child(child).start().unwrap();
    for restarts in 1..4 {
        process::exit(process::whereis_timeout(name, LONG).unwrap(), "a failure");
        journal.wait_for(restarts + 1);
    }
    system.stop().unwrap();
    assert_eq!(process::whereis(name), None);
}

#[test]
fn starter_gets_the_error_and_no_exit_message() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let failed = Builder::new().start_link(|ack| ack.failed("no disk"));
        assert_eq!(failed, Err(StartError::failed("no disk")));
        let started = Builder::new()
            .start_receiver_link(|inbox: &mut Inbox<&str>, ack| {
                ack.started();
                process::exit_with(inbox.recv().into_message().unwrap_or("no message"))
            })
            .unwrap();
        started.send("later");
        assert_eq!(exit_event(inbox), (started.pid(), "later".into()), "the only exit message");
    });
    let linked = exit_reason_of(|inbox: &mut Inbox<()>| {
        let _ = Builder::new().start_link(|ack| ack.failed("no disk"));
        inbox.recv();
    });
    assert_eq!(linked, "no disk".into(), "a starter that does not trap exits exits, too");
    assert_eq!(Builder::new().start_link(InitAck::started), Err(StartError::NotAProcess));
}

#[test]
fn another_thread_may_report_the_start() {
    attached(|inbox: &mut Inbox<()>| {
        let gate = Gate::new();
        let held = gate.clone();
        let pid = Builder::new()
            .start(move |ack| {
                thread::Builder::new().spawn(|| ack.started()).unwrap();
                held.pass();
            })
            .unwrap();
        let monitor = process::monitor(pid);
        gate.open();
        assert_eq!(down(inbox), (monitor, ExitReason::Normal));
    });
}

#[test]
fn process_is_starting_until_it_has_reported() {
    attached(|_: &mut Inbox<()>| {
        let (name, gate) = (unique("readiness.activity"), Gate::new());
        let held = gate.clone();
        let start = task::spawn(move || {
            Builder::new().name(name).start(move |ack| {
                held.pass();
                ack.started();
                idle();
            })
        });
        let pid = process::whereis_timeout(name, LONG).unwrap();
        let activity = || process::info(pid).expect("it is running").activity;
        eventually("it is starting", || activity() == Activity::Starting);
        gate.open();
        assert_eq!(start.unwrap().join().unwrap(), Ok(pid));
        assert_eq!(activity(), Activity::Body);
        let watch = process::watch(pid);
        process::exit(pid, ExitReason::Kill);
        assert_eq!(watch.wait(), ExitReason::Killed);
    });
}

#[test]
fn process_killed_before_its_report_has_not_started() {
    attached(|_: &mut Inbox<()>| {
        let (name, gate) = (unique("readiness.killed"), Gate::new());
        let held = gate.clone();
        let start = task::spawn(move || {
            Builder::new().name(name).kill_grace(LONG).start(move |ack| {
                held.pass(); // not interrupted by the signal
                ack.started();
                unreachable!("the report is a checkpoint");
            })
        });
        process::exit(process::whereis_timeout(name, LONG).unwrap(), ExitReason::Kill);
        gate.open();
        assert_eq!(start.unwrap().join().unwrap(), Err(StartError::Failed(ExitReason::Killed)));
    });
}
