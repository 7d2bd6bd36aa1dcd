//! Links: two processes that end each other. Scenarios LK-01 to LK-21.

use crate::support::scripted_process::{ScriptedProcess, exit};
use crate::support::{
    Gate, Journal, attached, down, eventually, exit_event, exit_reason_of, message, sleeper, watchdog,
};
use rethread::prelude::*;
use rethread::process::{self, Event, Inbox, LinkError, ProcessState};
use rethread::{ExitReason, Pid};

/// Links the process of one script with another process.
fn link(a: &ScriptedProcess, b: impl Into<Pid>) {
    let b = b.into();
    a.run(move || process::link(b)).expect("both live");
}

// scenario: LK-01
#[test]
fn linked_unlinked_and_linked_again() {
    attached(|inbox: &mut Inbox<()>| {
        let (a, b) = (ScriptedProcess::new(), ScriptedProcess::new());
        let a_pid = a.pid();
        link(&a, &b);
        assert_eq!((a.links(), b.links()), (vec![b.pid()], vec![a.pid()]));
        b.run(move || process::unlink(a_pid));
        assert_eq!((a.links(), b.links()), (vec![], vec![]));
        link(&b, &a);
        assert_eq!((a.links(), b.links()), (vec![b.pid()], vec![a.pid()]));
        b.run(|| process::trap_exit(true));
        let monitor = process::monitor(&a);
        a.start(|| process::exit_with("died"));
        assert_eq!(b.wait_for_events(1), [exit(a_pid, "died")]);
        assert_eq!(b.links(), []);
        assert_eq!(down(inbox), (monitor, "died".into()));
        assert_eq!(b.received().len(), 1);
    });
}

// scenario: LK-02
#[test]
fn a_link_to_oneself_is_none() {
    attached(|inbox: &mut Inbox<()>| {
        let me = inbox.pid();
        assert_eq!(process::link(me), Ok(()));
        assert_eq!(process::info(me).unwrap().links, []);
        process::unlink(me);
        process::trap_exit(true);
        assert_eq!(process::link(me), Ok(()));
        assert_eq!(process::info(me).unwrap().links, []);
        assert_eq!(inbox.try_recv(), None);
    });
}

// scenario: LK-04
#[test]
fn two_processes_have_one_link_from_either_side() {
    attached(|inbox: &mut Inbox<()>| {
        let (a, b) = (ScriptedProcess::trapping(), ScriptedProcess::new());
        link(&a, &b);
        link(&b, &a);
        link(&a, &b);
        assert_eq!((a.links(), b.links()), (vec![b.pid()], vec![a.pid()]));
        let a_pid = a.pid();
        b.run(move || process::unlink(a_pid));
        assert_eq!((a.links(), b.links()), (vec![], vec![]));
        let monitor = process::monitor(&b);
        process::exit(&b, ExitReason::Kill);
        assert_eq!(down(inbox), (monitor, ExitReason::Killed));
        assert_eq!(a.received(), []);
    });
}

#[test]
fn two_links_give_one_exit() {
    attached(|inbox: &mut Inbox<()>| {
        let (a, b) = (ScriptedProcess::trapping(), ScriptedProcess::new());
        link(&a, &b);
        link(&b, &a);
        let monitor = process::monitor(&b);
        process::exit(&b, "once");
        assert_eq!(down(inbox), (monitor, "once".into()));
        assert_eq!(a.wait_for_events(1), [exit(&b, "once")]);
        assert_eq!(a.received().len(), 1);
    });
}

// scenario: LK-05
#[test]
fn unlink_of_unlinked_or_exited_process_is_allowed() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let (unrelated, exited) = (sleeper(), sleeper());
        let monitor = process::monitor(&exited);
        process::exit(&exited, ExitReason::Kill);
        assert_eq!(down(inbox), (monitor, ExitReason::Killed));
        process::unlink(&unrelated);
        process::unlink(&exited);
        assert!(process::is_alive(&unrelated));
        assert_eq!(inbox.try_recv(), None);
    });
}

// scenario: LK-06
#[test]
fn link_of_trapping_process_to_exited_process_delivers_noproc() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let exited = sleeper();
        let watch = process::watch(&exited);
        process::exit(&exited, "long ago");
        assert_eq!(watch.wait(), "long ago".into());
        assert_eq!(process::link(&exited), Ok(()));
        assert_eq!(exit_event(inbox), (exited.pid(), ExitReason::NoProc));
        assert_eq!(process::info(inbox.pid()).unwrap().links, []);
        assert_eq!(inbox.try_recv(), None);
    });
}

#[test]
fn link_of_nontrapping_process_to_exited_process_is_an_error() {
    attached(|inbox: &mut Inbox<()>| {
        let exited = sleeper();
        let watch = process::watch(&exited);
        process::exit(&exited, "long ago");
        watch.wait();
        assert_eq!(process::link(&exited), Err(LinkError::NoProc));
        assert_eq!(process::info(inbox.pid()).unwrap().links, []);
        assert_eq!(inbox.try_recv(), None);
    });
}

// scenario: LK-08
#[test]
fn link_to_killed_process_ends_the_caller_with_noproc() {
    for _ in 0..50 {
        let reason = exit_reason_of(|inbox: &mut Inbox<()>| {
            let victim = sleeper();
            process::exit(&victim, ExitReason::Kill);
            process::link(&victim).or_exit();
            inbox.recv();
        });
        assert_eq!(reason, ExitReason::NoProc);
    }
}

/// Starts a process that makes its first runtime call when the gate opens; a signal before takes effect there.
fn exits_late() -> (Pid, Gate) {
    let (ready, gate) = (Gate::new(), Gate::new());
    let (began, open) = (ready.clone(), gate.clone());
    let pid = process::spawn(move || {
        began.open();
        open.pass();
        process::checkpoint();
    });
    ready.pass();
    (pid.expect("a free thread"), gate)
}

#[test]
fn link_to_exiting_process_is_answered_after_its_exit() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let (exiting, gate) = exits_late();
        let old = process::monitor(exiting);
        process::exit(exiting, "oops");
        assert_eq!(process::link(exiting), Ok(()));
        let new = process::monitor(exiting);
        assert_eq!(inbox.try_recv(), None, "it has not exited yet");
        gate.open();
        let mut events = [inbox.recv(), inbox.recv(), inbox.recv()].to_vec();
        for due in [(old, ExitReason::new("oops")), (new, ExitReason::NoProc)] {
            let is_due = |event: &Event<()>| matches!(event, Event::Down { monitor, reason, .. } if (*monitor, reason) == (due.0, &due.1));
            let at = events.iter().position(is_due).unwrap_or_else(|| panic!("{due:?} is not in {events:?}"));
            events.remove(at);
        }
        assert_eq!(events, [Event::Exit { from: exiting, reason: ExitReason::NoProc }]);
        assert_eq!(inbox.try_recv(), None);
    });
}

#[test]
fn existing_link_to_exiting_process_delivers_the_true_reason() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let (exiting, gate) = exits_late();
        process::link(exiting).unwrap();
        process::exit(exiting, "oops");
        assert_eq!(process::link(exiting), Ok(()));
        gate.open();
        assert_eq!(exit_event(inbox), (exiting, "oops".into()));
        assert_eq!(inbox.try_recv(), None);
    });
}

#[test]
fn exiting_process_can_be_unlinked() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        for late in [false, true] {
            let (exiting, gate) = exits_late();
            let monitor = process::monitor(exiting);
            if late {
                process::exit(exiting, "oops");
                process::link(exiting).unwrap();
            } else {
                process::link(exiting).unwrap();
                process::exit(exiting, "oops");
            }
            process::unlink(exiting);
            gate.open();
            assert_eq!(down(inbox), (monitor, "oops".into()));
            assert_eq!(inbox.try_recv(), None);
        }
    });
}

// scenario: LK-10
#[test]
fn normal_exit_is_delivered_to_trapping_process() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let child = process::spawn_link(|| ()).unwrap();
        assert_eq!(exit_event(inbox), (child, ExitReason::Normal));
        assert_eq!(process::info(inbox.pid()).unwrap().links, []);
    });
}

// scenario: LK-11
#[test]
fn chain_exits_up_to_the_trapping_member() {
    attached(|inbox: &mut Inbox<()>| {
        let [a, b, c] = [(); 3].map(|()| ScriptedProcess::new());
        let (d, e) = (ScriptedProcess::trapping(), ScriptedProcess::new());
        link(&a, &b);
        link(&b, &c);
        link(&c, &d);
        link(&d, &e);
        let monitors = [&a, &b, &c].map(process::monitor);
        a.start(|| process::exit_with(ExitReason::Shutdown));
        let mut downs = [(); 3].map(|()| down(inbox));
        downs.sort_by_key(|(monitor, _)| *monitor);
        assert_eq!(downs, monitors.map(|monitor| (monitor, ExitReason::Shutdown)));
        assert_eq!(d.wait_for_events(1), [exit(&c, ExitReason::Shutdown)]);
        assert_eq!(d.received().len(), 1);
        assert_eq!((d.links(), e.links()), (vec![e.pid()], vec![d.pid()]));
        assert_eq!(e.run(|| "well"), "well");
    });
}

// scenario: LK-12
#[test]
fn ring_exits_as_a_whole_and_is_reported_once() {
    attached(|inbox: &mut Inbox<()>| {
        let [x, y, z] = [(); 3].map(|()| ScriptedProcess::new());
        link(&x, &y);
        link(&y, &z);
        link(&z, &x);
        let monitors = [&x, &y, &z].map(process::monitor);
        y.start(|| panic!("the ring breaks"));
        let mut downs = [(); 3].map(|()| down(inbox));
        downs.sort_by_key(|(monitor, _)| *monitor);
        let reason = downs[1].1.clone();
        assert!(reason.to_string().ends_with("the ring breaks"), "{reason}");
        assert_eq!(downs, monitors.map(|monitor| (monitor, reason.clone())));
        assert_eq!(inbox.try_recv(), None);
    });
}

#[test]
fn exit_of_hub_ends_all_linked_processes() {
    attached(|inbox: &mut Inbox<()>| {
        let hub = ScriptedProcess::new();
        let hub_pid = hub.pid();
        let mut monitors = Vec::new();
        for _ in 0..200 {
            let (rim, monitor) = process::spawn_receiver_monitor::<()>(move |inbox| {
                process::link(hub_pid).unwrap();
                inbox.recv();
            })
            .unwrap();
            monitors.push((rim, monitor));
        }
        eventually("all are linked", || hub.links().len() == 200);
        process::exit(&hub, "the hub");
        for _ in 0..200 {
            assert_eq!(down(inbox).1, "the hub".into());
        }
        assert!(monitors.iter().all(|(rim, _)| !process::is_alive(rim)));
    });
}

// scenario: LK-15
#[test]
fn unlink_and_flush_leave_nothing_behind() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        for _ in 0..3000 {
            let child = process::spawn_link(|| ()).unwrap();
            let watch = process::watch(child);
            process::unlink(child);
            inbox.recv_where_timeout(
                std::time::Duration::ZERO,
                |event| matches!(event, Event::Exit { from, .. } if *from == child),
            );
            watch.wait();
            assert_eq!(inbox.try_recv(), None);
        }
        assert_eq!(process::info(inbox.pid()).unwrap().links, []);
    });
}

// scenario: LK-16
#[test]
fn unlink_leaves_a_queued_exit() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let child = process::spawn_link(|| process::exit_with("queued")).unwrap();
        eventually("the exit is queued", || inbox.len() == 1);
        process::unlink(child);
        assert_eq!(exit_event(inbox), (child, "queued".into()));
    });
}

// scenario: LK-17
#[test]
fn a_queued_exit_outlives_the_trap_flag() {
    attached(|inbox: &mut Inbox<()>| {
        assert!(!process::trap_exit(true));
        let child = process::spawn_link(|| process::exit_with("queued")).unwrap();
        eventually("the exit is queued", || inbox.len() == 1);
        assert!(process::trap_exit(false));
        assert_eq!(exit_event(inbox), (child, "queued".into()));
        assert!(!process::trap_exit(false));
    });
}

// scenario: LK-18
#[test]
fn parked_child_exits_with_its_parent() {
    attached(|inbox: &mut Inbox<Pid>| {
        let to = inbox.address();
        let parent = process::spawn_receiver::<()>(move |inbox| {
            let child = process::spawn_receiver_link::<()>(|inbox| {
                inbox.recv();
            });
            to.send(child.unwrap().pid());
            inbox.recv();
            process::exit_with("oops");
        });
        let parent = parent.unwrap();
        let child = message(inbox);
        eventually("the child is parked", || {
            process::info(child).is_some_and(|info| info.state == ProcessState::Waiting)
        });
        let monitor = process::monitor(child);
        parent.send(());
        assert_eq!(down(inbox), (monitor, "oops".into()));
    });
}

// scenario: LK-20
#[test]
fn a_linked_body_that_ends_at_once_gives_its_reason() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let reasons =
            [ExitReason::new("simple"), ExitReason::new((1, "compound", [2, 3])), ExitReason::Normal];
        for round in 0..1500 {
            let reason = &reasons[round % reasons.len()];
            let own = reason.clone();
            let child = process::spawn_link(move || process::exit_with(own)).unwrap();
            assert_eq!(exit_event(inbox), (child, reason.clone()));
        }
        assert_eq!(inbox.try_recv(), None);
    });
}

/// Notes the exit reason of its process, also if the body that owns it never ran.
struct LastWords(Journal);

impl Drop for LastWords {
    fn drop(&mut self) {
        let me = process::current().expect("it is dropped by its process");
        let state = process::info(me).map(|info| info.state);
        self.0.note(format!("{state:?}"));
    }
}

// scenario: LK-21
#[test]
fn exit_of_parent_ends_child_that_has_not_run_yet() {
    attached(|_: &mut Inbox<()>| {
        for _ in 0..300 {
            let journal = Journal::new();
            let last_words = LastWords(journal.clone());
            process::spawn(move || {
                process::spawn_receiver_link::<()>(move |inbox| {
                    let _last_words = last_words;
                    inbox.recv();
                })
                .unwrap();
                process::exit_with("gone");
            })
            .unwrap();
            assert_eq!(journal.wait_for(1), [r#"Some(Exiting(Other("gone")))"#]);
        }
    });
}

#[test]
fn a_link_needs_a_process() {
    let _watchdog = watchdog();
    let other = sleeper();
    assert_eq!(process::link(&other), Err(LinkError::NotAProcess));
    assert!(matches!(process::spawn_link(|| ()), Err(process::SpawnError::NotAProcess)));
    process::unlink(&other); // no link to remove
    assert_eq!(process::info(&other).unwrap().links, []);
}

#[test]
fn all_linked_processes_are_exiting_when_a_watcher_is_notified() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        for _ in 0..300 {
            // The test is linked to both, they are linked with each other: as a supervisor's children may
            // be.
            let (a, b) = (ScriptedProcess::new(), ScriptedProcess::new());
            link(&a, &b);
            process::link(&a).unwrap();
            process::link(&b).unwrap();
            a.start(|| process::exit_with("together"));
            let (_, reason) = exit_event(inbox);
            assert_eq!(reason, "together".into());
            assert!(!process::is_alive(&a) && !process::is_alive(&b));
            assert_eq!(exit_event(inbox).1, "together".into());
        }
    });
}

#[test]
fn linked_exit_does_not_change_the_reason_of_an_exiting_process() {
    attached(|_: &mut Inbox<()>| {
        let (begun, gate) = (Gate::new(), Gate::new());
        let (started_gate, wait) = (begun.clone(), gate.clone());
        let a = process::spawn(move || {
            started_gate.open();
            wait.pass();
        });
        let (a, b) = (a.expect("a free thread"), ScriptedProcess::new());
        begun.pass();
        link(&b, a);
        let watch = process::watch(a);
        process::exit(a, "first");
        b.start(|| process::exit_with("second"));
        process::watch(&b).wait();
        gate.open();
        assert_eq!(watch.wait(), "first".into());
    });
}
