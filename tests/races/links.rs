//! Links that are set and removed while an end exits.

use std::time::Duration;

use rethread::ExitReason::{Kill, Killed, NoProc};
use rethread::process::{self, Builder, Event, MonitorTarget};

use crate::harness::{because, drained, end_of, exits, one_of, race};

#[test]
fn link_to_exiting_process_is_answered_once() {
    race("link, exit").run(|inbox| {
        let exiting = process::spawn(|| process::exit_with("x")).expect("a thread");
        process::link(exiting).expect("it traps");
        let exits = exits(&[inbox.recv()]);
        assert!(exits[0].0 == exiting && one_of(&exits[0].1, [because("x"), NoProc]), "{exits:?}");
        end_of(exiting);
        assert_eq!(drained(inbox), []);
    });
}

#[test]
fn process_that_links_to_exiting_process_exits_or_gets_an_error() {
    race("link without trap, exit").run(|_| {
        let exiting = process::spawn(|| process::exit_with("x")).expect("a thread");
        let linking = process::spawn_receiver::<u64>(move |inbox| match process::link(exiting) {
            Ok(()) => panic!("it is still running: {:?}", inbox.recv()),
            Err(error) => assert_eq!(error, process::LinkError::NoProc),
        });
        let reason = end_of(linking.expect("a thread"));
        assert!(one_of(&reason, [because("x"), NoProc, rethread::ExitReason::Normal]), "{reason}");
    });
}

#[test]
fn processes_that_link_to_each_other_have_one_link() {
    race("link, link, exit").run(|inbox| {
        let myself = inbox.pid();
        let other = process::spawn(move || {
            process::link(myself).expect("it is running");
            process::exit_with("x");
        });
        let other = other.expect("a thread");
        process::link(other).expect("it traps");
        end_of(other);
        // A second one only if the first link had fired when the other was made.
        let exits: Vec<_> = exits(&drained(inbox)).into_iter().map(|(_, reason)| reason).collect();
        assert!(exits == [because("x")] || exits == [because("x"), NoProc], "{exits:?}");
    });
}

#[test]
fn linked_processes_that_exit_at_the_same_time_both_exit() {
    race("exit, exit").run(|inbox| {
        let one = process::spawn_receiver::<u64>(move |inbox| {
            inbox.recv();
            process::exit_with("a")
        });
        let one = one.expect("a thread");
        let first = one.clone();
        let two = process::spawn_receiver::<u64>(move |inbox| {
            if process::link(&first).is_ok() {
                inbox.recv();
            }
            process::exit_with("b")
        });
        let two = two.expect("a thread");
        let _ = process::monitor(&one);
        let _ = process::monitor(&two);
        one.send(1);
        two.send(1);
        for event in [inbox.recv(), inbox.recv()] {
            let Event::Down { reason, .. } = &event else { panic!("{event:?}") };
            assert!(one_of(reason, [because("a"), because("b"), NoProc]), "{reason}");
        }
        end_of(&one);
        end_of(&two);
        assert_eq!(drained(inbox), []);
    });
}

#[test]
fn nothing_comes_after_an_unlink() {
    race("unlink, exit").run(|inbox| {
        let child = process::spawn_link(|| process::exit_with("x")).expect("a thread");
        process::unlink(child);
        let before = exits(&drained(inbox));
        assert!(before.is_empty() || before == [(child, because("x"))], "{before:?}");
        end_of(child);
        assert_eq!(drained(inbox), []);
    });
}

#[test]
fn an_unlink_by_either_side_is_enough() {
    race("unlink, unlink, exit").run(|inbox| {
        let myself = inbox.pid();
        let child = process::spawn_receiver_link::<u64>(move |inbox| {
            process::unlink(myself);
            inbox.recv();
            process::exit_with("x")
        });
        let child = child.expect("a thread");
        process::unlink(&child);
        child.send(1);
        end_of(&child);
        assert_eq!(drained(inbox), []);
    });
}

#[test]
fn spawn_link_reports_the_exit_reason_of_process_killed_by_name() {
    race("spawn with name and monitor, kill by name").run(|inbox| {
        let killer = process::spawn(|| {
            let found = process::whereis_timeout("races.child", Duration::from_secs(1));
            process::exit(found.expect("it has started"), Kill);
        });
        let (child, monitor) = Builder::new()
            .name("races.child")
            .spawn_receiver_monitor::<u64>(|inbox| drop(inbox.recv()))
            .expect("the name is free");
        assert_eq!(
            inbox.recv(),
            Event::Down { monitor, target: MonitorTarget::Pid(child.pid()), reason: Killed }
        );
        end_of(killer.expect("a thread"));
    });
    race("spawn with name and link, kill by name").run(|inbox| {
        let killer = process::spawn(|| {
            let found = process::whereis_timeout("races.child", Duration::from_secs(1));
            process::exit(found.expect("it has started"), Kill);
        });
        let child = Builder::new().name("races.child").spawn_receiver_link::<u64>(|inbox| drop(inbox.recv()));
        let child = child.expect("the name is free");
        assert_eq!(inbox.recv(), Event::Exit { from: child.pid(), reason: Killed });
        end_of(killer.expect("a thread"));
        assert_eq!(drained(inbox), []);
    });
}
