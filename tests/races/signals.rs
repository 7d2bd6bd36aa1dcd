//! Several exit signals at once, and messages around an exit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rethread::ExitReason::{Killed, NoProc, Normal};
use rethread::process::{self, Event};
use rethread::{ExitReason, Pid, StartError};

use crate::harness::{LONG, because, drained, end_of, one_of, race};

/// Returns the one reason that all the events carry.
fn the_reason(events: Vec<Event<u64>>, of: Pid) -> ExitReason {
    let mut reasons = events.into_iter().map(|event| match event {
        Event::Exit { from, reason } if from == of => reason,
        Event::Down { reason, .. } => reason,
        other => panic!("{other:?}"),
    });
    let first = reasons.next().expect("one event arrived");
    assert!(reasons.all(|reason| reason == first), "not all received {first}");
    first
}

#[test]
fn kill_and_own_exit_make_one_exit() {
    race("kill, own exit, deadlines").impatient().run(|inbox| {
        let child = process::spawn_receiver_link::<u64>(|inbox| {
            inbox.recv();
            process::exit_with("own")
        });
        let child = child.expect("a thread");
        let _monitors = [process::monitor(&child), process::monitor(&child)];
        child.send(1);
        process::exit(&child, ExitReason::Kill);
        let events = (0..3).map(|_| inbox.recv()).collect();
        let reason = the_reason(events, child.pid());
        assert!(one_of(&reason, [because("own"), Killed]), "{reason}");
        end_of(&child);
        assert_eq!(drained(inbox), []);
    });
}

#[test]
fn signals_of_several_processes_make_one_exit() {
    race("exit, exit, kill").impatient().run(|inbox| {
        let target = process::spawn_receiver_link::<u64>(|inbox| drop(inbox.recv())).expect("a thread");
        let pid = target.pid();
        let _monitor = process::monitor(&target);
        let reasons = [because("a"), because("b"), ExitReason::Kill];
        let senders =
            reasons.map(|reason| process::spawn(move || process::exit(pid, reason)).expect("a thread"));
        let events = (0..2).map(|_| inbox.recv()).collect();
        let reason = the_reason(events, pid);
        assert!(one_of(&reason, [because("a"), because("b"), Killed]), "{reason}");
        senders.iter().for_each(|sender| drop(end_of(sender)));
        assert_eq!(drained(inbox), []);
    });
}

#[test]
fn panic_in_a_destructor_during_a_kill_makes_one_exit() {
    struct Slow;
    impl Drop for Slow {
        fn drop(&mut self) {
            process::sleep(Duration::from_millis(1));
        }
    }
    race("kill, unwinding, deadline").impatient().run(|inbox| {
        let child = process::spawn_receiver_link::<u64>(|inbox| {
            let _slow = Slow;
            inbox.recv();
            process::exit_with("own")
        });
        let child = child.expect("a thread");
        let _monitor = process::monitor(&child);
        child.send(1);
        process::exit(&child, because("a"));
        process::exit(&child, ExitReason::Kill);
        let events = (0..2).map(|_| inbox.recv()).collect();
        let reason = the_reason(events, child.pid());
        assert!(one_of(&reason, [because("own"), because("a"), Killed]), "{reason}");
        end_of(&child);
        assert_eq!(drained(inbox), []);
    });
}

#[test]
fn message_sent_after_a_kill_is_never_handled() {
    race("kill, message").run(|_| {
        let handled = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&handled);
        let target = process::spawn_receiver::<u64>(move |inbox| {
            while let Event::Message(number) = inbox.recv() {
                noted.fetch_or(number == 2, Ordering::SeqCst);
            }
        });
        let target = target.expect("a thread");
        target.send(1);
        process::exit(&target, ExitReason::Kill);
        target.send(2);
        end_of(&target);
        assert!(!handled.load(Ordering::SeqCst));
    });
}

#[test]
fn exit_signal_wakes_a_waiting_process() {
    race("signal, sleep").run(|_| {
        let sleeping = process::spawn(|| process::sleep(LONG)).expect("a thread");
        let watch = process::watch(sleeping);
        process::exit(sleeping, because("x"));
        assert_eq!(watch.wait(), because("x"));
    });
}

#[test]
fn signal_to_process_that_begins_to_trap_is_an_exit_or_a_message() {
    race("trap, signal").run(|_| {
        let target = process::spawn_receiver::<u64>(|inbox| {
            process::trap_exit(true);
            let Event::Exit { reason, .. } = inbox.recv() else { panic!("an exit was due") };
            assert_eq!(reason, because("x"));
        });
        let target = target.expect("a thread");
        let watch = process::watch(&target);
        process::exit(&target, because("x"));
        let reason = watch.wait();
        assert!(one_of(&reason, [because("x"), Normal]), "{reason}");
    });
}

#[test]
fn exit_hook_is_called_once_or_was_set_too_late() {
    race("hook, signal").run(|_| {
        let (called, set) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (calls, sets) = (Arc::clone(&called), Arc::clone(&set));
        let target = process::spawn_receiver::<u64>(move |inbox| {
            let _hook = process::on_exit_request(move || {
                calls.fetch_add(1, Ordering::SeqCst);
            });
            sets.store(true, Ordering::SeqCst);
            inbox.recv();
        });
        let target = target.expect("a thread");
        process::exit(&target, because("x"));
        let reason = end_of(&target);
        assert!(one_of(&reason, [because("x"), NoProc]), "{reason}");
        let calls = called.load(Ordering::SeqCst);
        assert!(calls <= 1, "{calls} calls");
    });
}

#[test]
fn report_of_a_start_and_a_kill_leave_the_starter_with_one_notification() {
    race("init ack, kill").run(|inbox| {
        process::trap_exit(true);
        let killer = process::spawn(|| {
            if let Some(pid) = process::whereis("races.acked") {
                process::exit(pid, ExitReason::Kill);
            }
        })
        .expect("a thread");
        let started = process::Builder::new().name("races.acked").start_link(|ack| {
            ack.started();
            process::sleep(Duration::MAX);
        });
        end_of(killer);
        match started {
            Ok(pid) => {
                process::exit(pid, ExitReason::Kill);
                let Event::Exit { from, reason } = inbox.recv() else { panic!("expected an exit message") };
                assert_eq!((from, reason), (pid, ExitReason::Killed));
            }
            Err(error) => assert_eq!(error, StartError::Failed(ExitReason::Killed)),
        }
        drained(inbox);
    });
}
