//! Monitors: one-way, one `Down` each. Scenarios MN-01 to MN-25; those about aliases are in `alias.rs`.

use std::sync::Arc;
use std::time::Duration;

use crate::support::scripted_process::{ScriptedProcess, down_of};
use crate::support::{Gate, attached, down, eventually, sleeper, unique, watchdog};
use rethread::process::{self, Event, Inbox, MonitorTarget, ProcessState};
use rethread::{ExitReason, MonitorRef};

/// Returns all fields of the next event, which must be a `Down`.
#[track_caller]
fn whole_down(inbox: &mut Inbox<()>) -> (MonitorRef, MonitorTarget, ExitReason) {
    match inbox.recv() {
        Event::Down { monitor, target, reason } => (monitor, target, reason),
        other => panic!("a down was due, not {other:?}"),
    }
}

/// Returns the processes that a process monitors, and those that monitor it.
fn monitors(pid: impl Into<rethread::Pid>) -> (Vec<rethread::Pid>, Vec<rethread::Pid>) {
    let info = process::info(pid).expect("it is running");
    (info.monitors, info.monitored_by)
}

// scenario: MN-01
#[test]
fn a_down_carries_monitor_pid_and_reason() {
    attached(|inbox: &mut Inbox<()>| {
        let child = ScriptedProcess::new();
        let monitor = process::monitor(&child);
        child.start(|| process::exit_with("frop"));
        assert_eq!(whole_down(inbox), (monitor, MonitorTarget::Pid(child.pid()), "frop".into()));
        assert_eq!(inbox.try_recv(), None);
        assert_eq!(monitors(inbox.pid()), (vec![], vec![]));
    });
}

// scenario: MN-03
#[test]
fn a_monitor_by_name_names_the_name() {
    attached(|inbox: &mut Inbox<()>| {
        let name = unique("jeeves");
        let child = ScriptedProcess::with(process::Builder::new().name(name));
        let monitor = process::monitor_name(name);
        assert_eq!(monitors(inbox.pid()).0, [child.pid()]);
        child.start(|| process::exit_with(ExitReason::Normal));
        assert_eq!(whole_down(inbox), (monitor, MonitorTarget::Name(name.into()), ExitReason::Normal));
    });
}

// scenario: MN-04
#[test]
fn an_unknown_name_is_down_at_once() {
    attached(|inbox: &mut Inbox<()>| {
        let name = unique("unregistered");
        let monitor = process::monitor_name(name);
        let Some(Event::Down { monitor: fired, target, reason }) = inbox.try_recv() else {
            panic!("it is there when monitor returns")
        };
        assert_eq!((fired, target, reason), (monitor, MonitorTarget::Name(name.into()), ExitReason::NoProc));
        assert!(!process::demonitor(monitor));
    });
}

#[test]
fn monitor_of_exited_process_is_down_at_once() {
    attached(|inbox: &mut Inbox<()>| {
        let exited = sleeper();
        let watch = process::watch(&exited);
        process::exit(&exited, "long ago");
        watch.wait();
        let monitor = process::monitor(&exited);
        let event = inbox.try_recv().expect("it is there when monitor returns");
        assert_eq!(
            event,
            Event::Down { monitor, target: MonitorTarget::Pid(exited.pid()), reason: ExitReason::NoProc }
        );
    });
}

// scenario: MN-06
#[test]
fn monitoring_oneself_never_fires() {
    attached(|inbox: &mut Inbox<()>| {
        let monitor = process::monitor(inbox.pid());
        assert!(process::demonitor(monitor));
        assert!(!process::demonitor(monitor));
        assert_eq!(inbox.try_recv(), None);
        assert_eq!(monitors(inbox.pid()), (vec![], vec![]));
        let _ = process::monitor(inbox.pid()); // and it may still be set at the exit
    });
}

// scenario: MN-07
#[test]
fn no_down_after_demonitor() {
    attached(|inbox: &mut Inbox<()>| {
        let child = sleeper();
        let (removed, kept) = (process::monitor(&child), process::monitor(&child));
        assert!(process::demonitor(removed));
        process::exit(&child, ExitReason::Kill);
        assert_eq!(down(inbox), (kept, ExitReason::Killed));
        assert_eq!(inbox.try_recv(), None);
    });
}

// scenario: MN-10
#[test]
fn demonitor_returns_whether_the_monitor_was_active() {
    attached(|inbox: &mut Inbox<()>| {
        let (mut was_active, mut had_fired) = (0, 0);
        for _ in 0..50 {
            let mut pairs = Vec::new();
            for _ in 0..50 {
                pairs.push(process::spawn_monitor(|| ()).unwrap());
            }
            for (child, monitor) in pairs {
                let active = process::demonitor(monitor);
                let is_its = |event: &Event<()>| matches!(event, Event::Down { monitor: fired, .. } if *fired == monitor);
                let found = inbox.recv_where_timeout(Duration::ZERO, is_its);
                assert_eq!(found.is_none(), active, "{child:?}");
                *(if active { &mut was_active } else { &mut had_fired }) += 1;
            }
            assert_eq!(inbox.try_recv(), None);
        }
        assert_eq!(was_active + had_fired, 2500);
        // Nothing arrives later either.
        eventually("all are gone", || monitors(inbox.pid()).0.is_empty());
        assert_eq!(inbox.try_recv(), None);
    });
}

// scenario: MN-11
#[test]
fn demonitor_with_flush_leaves_nothing_behind() {
    attached(|inbox: &mut Inbox<()>| {
        for _ in 0..3000 {
            let (child, monitor) = process::spawn_monitor(|| ()).unwrap();
            let watch = process::watch(child);
            process::demonitor_flush(monitor);
            watch.wait();
            assert_eq!(inbox.try_recv(), None);
        }
    });
}

#[test]
fn a_flushed_down_is_not_counted_as_mail() {
    attached(|inbox: &mut Inbox<()>| {
        let (_, monitor) = process::spawn_monitor(|| ()).unwrap();
        eventually("the down is queued", || inbox.len() == 1);
        assert!(!process::demonitor_flush(monitor));
        assert!(inbox.is_empty(), "a receive with a non-empty mailbox would block without end");
        assert_eq!(process::info(inbox.pid()).unwrap().message_queue_len, 0);
        assert_eq!(inbox.try_recv(), None);
        assert!(inbox.is_empty());
        inbox.address().send(());
        assert_eq!((inbox.len(), process::info(inbox.pid()).unwrap().message_queue_len), (1, 1));
    });
}

#[test]
fn demonitor_leaves_a_down_that_is_queued() {
    attached(|inbox: &mut Inbox<()>| {
        let (_, monitor) = process::spawn_monitor(|| process::exit_with("queued")).unwrap();
        eventually("the down is queued", || inbox.len() == 1);
        assert!(!process::demonitor(monitor));
        assert!(!process::demonitor(monitor));
        assert_eq!(down(inbox), (monitor, "queued".into()));
        assert!(!process::demonitor_flush(monitor));
    });
}

#[test]
fn a_flush_finds_a_down_that_a_selective_receive_passed_over() {
    attached(|inbox: &mut Inbox<()>| {
        let (_, flushed) = process::spawn_monitor(|| ()).unwrap();
        let (_, kept) = process::spawn_monitor(|| ()).unwrap();
        eventually("both are queued", || inbox.len() == 2);
        assert_eq!(inbox.recv_where_timeout(Duration::ZERO, |_| false), None);
        assert!(!process::demonitor_flush(flushed));
        assert_eq!(down(inbox).0, kept);
        assert_eq!(inbox.try_recv(), None);
    });
}

// scenario: MN-12
#[test]
fn every_monitor_has_its_own_down() {
    attached(|inbox: &mut Inbox<()>| {
        let child = sleeper();
        let monitors = [(); 3].map(|()| process::monitor(&child));
        process::exit(&child, "thrice");
        let mut fired = [(); 3].map(|()| down(inbox));
        fired.sort_by_key(|(monitor, _)| *monitor);
        assert_eq!(fired, monitors.map(|monitor| (monitor, "thrice".into())));
        assert_eq!(inbox.try_recv(), None);
    });
}

// scenario: MN-14
#[test]
fn a_monitor_by_name_stays_with_the_process_it_found() {
    attached(|inbox: &mut Inbox<()>| {
        let name = unique("mn_14");
        let (v, w) = (ScriptedProcess::with(process::Builder::new().name(name)), ScriptedProcess::new());
        let monitor = process::monitor_name(name);
        process::unregister(name).unwrap();
        process::register(name, &w).unwrap();
        let of_w = process::monitor(&w);
        process::exit(&w, "the new holder");
        assert_eq!(down(inbox), (of_w, "the new holder".into()));
        assert_eq!(inbox.try_recv(), None);
        process::exit(&v, "the old holder");
        assert_eq!(whole_down(inbox), (monitor, MonitorTarget::Name(name.into()), "the old holder".into()));
    });
}

// scenario: MN-15
#[test]
fn a_large_reason_arrives_whole() {
    attached(|inbox: &mut Inbox<()>| {
        let big: Vec<u8> = (0..=255).cycle().take(128 * 1024).collect();
        for _ in 0..100 {
            let reason = ExitReason::new(("big", big.clone()));
            let (_, monitor) = process::spawn_monitor(move || process::exit_with(reason)).unwrap();
            let (fired, reason) = down(inbox);
            assert_eq!(fired, monitor);
            assert_eq!(reason.downcast_ref(), Some(&("big", big.clone())));
        }
    });
}

// scenario: MN-16
#[test]
fn monitored_by_is_emptied() {
    attached(|inbox: &mut Inbox<()>| {
        let (watcher, watched) = (ScriptedProcess::new(), ScriptedProcess::new());
        let pid = watched.pid();
        let monitor = watcher.run(move || process::monitor(pid));
        assert_eq!(monitors(&watched), (vec![], vec![watcher.pid()]));
        assert_eq!(monitors(&watcher), (vec![watched.pid()], vec![]));
        assert!(watcher.run(move || process::demonitor(monitor)));
        assert_eq!(monitors(&watched), (vec![], vec![]));
        assert_eq!(monitors(&watcher), (vec![], vec![]));
        let _ = watcher.run(move || process::monitor(pid));
        let _ = watcher.run(move || process::monitor(pid));
        assert_eq!(monitors(&watched).1, [watcher.pid(); 2]);
        let own = process::monitor(&watcher);
        process::exit(&watcher, ExitReason::Kill);
        assert_eq!(down(inbox), (own, ExitReason::Killed));
        assert_eq!(monitors(&watched), (vec![], vec![]));
    });
}

// scenario: MN-24
#[test]
fn a_monitored_body_that_ends_at_once_gives_its_reason() {
    attached(|inbox: &mut Inbox<()>| {
        let reasons =
            [ExitReason::new("simple"), ExitReason::new((1, "compound", [2, 3])), ExitReason::Normal];
        for round in 0..1500 {
            let reason = &reasons[round % reasons.len()];
            let own = reason.clone();
            let (_, monitor) = process::spawn_monitor(move || process::exit_with(own)).unwrap();
            assert_eq!(down(inbox), (monitor, reason.clone()));
        }
        assert_eq!(inbox.try_recv(), None);
    });
}

// scenario: MN-25
#[test]
fn exit_after_demonitor_sends_no_down() {
    attached(|inbox: &mut Inbox<()>| {
        let child = ScriptedProcess::new();
        let monitor = process::monitor(&child);
        let watch = process::watch(&child);
        assert!(process::demonitor(monitor));
        child.start(|| process::exit_with("quietly"));
        assert_eq!(watch.wait(), "quietly".into());
        assert_eq!(inbox.try_recv(), None);
    });
}

#[test]
fn monitors_have_nothing_to_do_with_trap_exit() {
    attached(|inbox: &mut Inbox<()>| {
        let (plain, trapping, child) = (ScriptedProcess::new(), ScriptedProcess::trapping(), sleeper());
        for process in [&plain, &trapping] {
            let pid = child.pid();
            let _ = process.run(move || process::monitor(pid));
        }
        process::exit(&child, "oops");
        for process in [&plain, &trapping] {
            assert_eq!(
                down_of(&process.wait_for_events(1)[0]),
                (MonitorTarget::Pid(child.pid()), "oops".into())
            );
            assert!(process::is_alive(process));
        }
        assert_eq!(inbox.try_recv(), None);
    });
}

#[test]
fn the_monitor_of_another_process_cannot_be_removed() {
    attached(|inbox: &mut Inbox<()>| {
        let (child, unrelated) = (sleeper(), ScriptedProcess::new());
        let monitor = process::monitor(&child);
        assert!(!unrelated.run(move || process::demonitor(monitor)));
        assert!(!unrelated.run(move || process::demonitor_flush(monitor)));
        process::exit(&child, "still seen");
        assert_eq!(down(inbox), (monitor, "still seen".into()));
    });
}

#[test]
fn monitor_of_exiting_process_can_be_removed() {
    attached(|inbox: &mut Inbox<()>| {
        let (ready, gate) = (Gate::new(), Gate::new());
        let (began, open) = (ready.clone(), gate.clone());
        let (exiting, kept) = process::spawn_monitor(move || {
            began.open();
            open.pass();
            process::checkpoint();
        })
        .unwrap();
        ready.pass();
        let before = process::monitor(exiting);
        process::exit(exiting, "oops");
        let after = process::monitor(exiting);
        assert!(process::demonitor(before));
        assert!(process::demonitor(after));
        gate.open();
        assert_eq!(down(inbox), (kept, "oops".into()));
        assert_eq!(inbox.try_recv(), None);
    });
}

#[test]
#[should_panic(expected = "not a process")]
fn a_foreign_thread_cannot_monitor() {
    let _watchdog = watchdog();
    let _ = process::monitor(sleeper());
}

#[test]
fn a_foreign_thread_watches_instead() {
    let _watchdog = watchdog();
    let child = ScriptedProcess::new();
    let (first, second) = (process::watch(&child), process::watch(&child));
    assert_eq!(first.pid(), Some(child.pid()));
    assert_eq!(first.wait_timeout(Duration::ZERO), None);
    child.start(|| process::exit_with("seen from outside"));
    assert_eq!(first.wait(), "seen from outside".into());
    assert_eq!(first.wait(), "seen from outside".into(), "a second wait returns the same reason");
    assert_eq!(second.wait_timeout(Duration::from_secs(30)), Some("seen from outside".into()));
    assert_eq!(process::watch(&child).wait(), ExitReason::NoProc);
}

#[test]
fn a_watch_can_be_shared_by_threads() {
    attached(|inbox: &mut Inbox<()>| {
        let child = sleeper();
        let watch = Arc::new(process::watch(&child));
        for _ in 0..3 {
            let watch = Arc::clone(&watch);
            let body = move || process::exit_with(watch.wait());
            let (waiting, _) = process::spawn_monitor(body).unwrap();
            eventually("it waits", || {
                process::info(waiting).is_some_and(|info| info.state == ProcessState::Waiting)
            });
        }
        process::exit(&child, "for all");
        for _ in 0..3 {
            let event = inbox.recv_timeout(Duration::from_secs(30)).expect("a waiting thread was forgotten");
            assert_eq!(down_of(&event).1, "for all".into());
        }
    });
}

#[test]
fn a_dropped_watch_leaves_nothing_behind() {
    attached(|inbox: &mut Inbox<()>| {
        let child = ScriptedProcess::new();
        drop(process::watch(&child));
        let monitor = process::monitor(&child);
        child.start(|| process::exit_with("later"));
        assert_eq!(down(inbox), (monitor, "later".into()));
    });
}
