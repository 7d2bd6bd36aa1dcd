//! Monitors that are set and removed while their target exits.

use rethread::process::{self, AliasMode, Event, Inbox};
use rethread::{ExitReason, MonitorRef};

use crate::harness::{because, drained, end_of, one_of, race};

/// Returns the reason in a `Down` of that monitor.
fn down(event: &Event<u64>, wanted: MonitorRef) -> &ExitReason {
    match event {
        Event::Down { monitor, reason, .. } if *monitor == wanted => reason,
        other => panic!("no down of {wanted:?}: {other:?}"),
    }
}

#[test]
fn monitor_of_exiting_process_fires_once() {
    race("monitor, exit").run(|inbox| {
        let exiting = process::spawn(|| process::exit_with("x")).expect("a thread");
        let monitor = process::monitor(exiting);
        let event = inbox.recv();
        let reason = down(&event, monitor);
        assert!(one_of(reason, [because("x"), ExitReason::NoProc]), "{reason}");
        end_of(exiting);
        assert_eq!(drained(inbox), []);
    });
}

#[test]
fn monitor_removed_in_time_never_fires() {
    race("demonitor, exit").run(|inbox| {
        let exiting = process::spawn(|| process::exit_with("x")).expect("a thread");
        let monitor = process::monitor(exiting);
        if process::demonitor(monitor) {
            assert_eq!(drained(inbox), []);
        } else {
            let events = drained(inbox);
            assert_eq!(events.len(), 1, "{events:?}");
            down(&events[0], monitor);
        }
        end_of(exiting);
        assert_eq!(drained(inbox), []);
    });
}

#[test]
fn no_down_exists_or_arrives_after_a_flush() {
    race("demonitor with flush, exit").run(|inbox| {
        let exiting = process::spawn(|| process::exit_with("x")).expect("a thread");
        let monitor = process::monitor(exiting);
        process::demonitor_flush(monitor);
        assert_eq!(inbox.len(), 0);
        end_of(exiting);
        assert_eq!(inbox.len(), 0);
        assert_eq!(drained(inbox), []);
    });
}

#[test]
fn watch_set_while_watchers_are_notified_is_notified() {
    race("watch, exit").run(|inbox| {
        let exiting = process::spawn(|| process::exit_with("x")).expect("a thread");
        let monitor = process::monitor(exiting);
        let other = process::spawn(move || {
            let reason = process::watch(exiting).wait();
            assert!(one_of(&reason, [because("x"), ExitReason::NoProc]), "{reason}");
        });
        let other = process::watch(other.expect("a thread"));
        down(&inbox.recv(), monitor);
        assert!(one_of(&other.wait(), [ExitReason::Normal, ExitReason::NoProc]));
    });
}

#[test]
fn down_is_queued_before_a_thread_that_waits_for_the_exit_continues() {
    race("monitor, watch, exit").run(|inbox| {
        let exiting = process::spawn(|| process::exit_with("x")).expect("a thread");
        let monitor = process::monitor(exiting);
        let address = inbox.address();
        let other = process::spawn(move || {
            // Before, while or after the monitor is notified.
            process::watch(exiting).wait();
            address.send(1);
        });
        let first = inbox.recv();
        down(&first, monitor);
        assert_eq!(inbox.recv(), Event::Message(1));
        end_of(other.expect("a thread"));
        assert_eq!(drained(inbox), []);
    });
}

#[test]
fn alias_takes_one_reply_and_none_after_unalias() {
    race("alias: answer, answer, demonitor").run(|inbox: &mut Inbox<u64>| {
        let (monitor, alias) = {
            let idle = process::spawn_receiver::<u64>(|inbox| drop(inbox.recv())).expect("a thread");
            let (monitor, alias) = inbox.monitor_alias(&idle, AliasMode::ReplyDemonitor);
            let answering = [1, 2].map(|answer| {
                let alias = alias.clone();
                process::spawn(move || alias.send(answer)).expect("a thread")
            });
            let removed = process::demonitor_flush(monitor);
            let there = drained(inbox);
            assert_eq!(there.is_empty(), removed, "{there:?}");
            answering.iter().for_each(|process| drop(end_of(process)));
            idle.send(0);
            end_of(&idle);
            (monitor, alias)
        };
        assert_eq!(drained(inbox), [], "{monitor:?} {alias:?}");
    });
}
