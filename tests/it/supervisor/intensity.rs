//! The restart intensity of a supervisor, the effect of exceeding it, and its meaning in a tree.

use std::time::Duration;

use crate::support::child::{self, Begin, Child, child_pid, ids, kill, pid_of, states, up};
use crate::support::{self, Gate, Journal, attached, logs, unique, watchdog};
use rethread::prelude::*;
use rethread::process::{Event, Inbox};
use rethread::supervisor::SupervisorSpec;

const MINUTE: Duration = Duration::from_secs(60);

fn none_allowed() -> SupervisorSpec {
    Supervisor::one_for_one().max_restarts(0, MINUTE)
}

// scenario: IN-02
#[test]
fn even_a_normal_end_of_a_permanent_child_counts() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let supervisor = up(none_allowed().child(a.spec()));
    let watch = supervisor.watch();
    assert_eq!(a.end(ExitReason::Normal), ExitReason::Normal);
    assert_eq!(watch.wait(), ExitReason::Shutdown);
    assert_eq!(a.starts(), 1);
}

// scenario: IN-03
#[test]
fn exits_without_restart_do_not_count() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let (t, n) = (Child::new("t", &journal), Child::new("n", &journal));
    let supervisor = up(none_allowed().child(t.temporary()).child(n.transient()));
    t.crash();
    n.end(ExitReason::Normal);
    assert_eq!(states(&supervisor), [("n".into(), "stopped")]);
    supervisor.restart_child("n").unwrap();
    supervisor.terminate_child("n").unwrap();
    assert_eq!(states(&supervisor), [("n".into(), "stopped")]);
    supervisor.stop().unwrap();
}

// scenario: IN-04
#[test]
fn the_second_crash_within_the_period_is_too_much() {
    let _watchdog = watchdog();
    support::capture();
    let name = unique("in 04");
    let a = Child::new("a", &Journal::new());
    let plan = Supervisor::one_for_one().max_restarts(1, MINUTE).name(SupervisorRef::named(name));
    let supervisor = up(plan.child(a.spec()));
    let watch = supervisor.watch();
    a.crash();
    assert_eq!(child_pid(&supervisor, "a"), a.await_start(2));
    a.crash();
    assert_eq!(watch.wait(), ExitReason::Shutdown);
    assert_eq!(a.starts(), 2);
    assert_eq!(process::whereis(name), None);
    let is_logged = |line: &String| line.contains(name) && line.contains("reached_max_restart_intensity");
    assert_eq!(logs().iter().filter(|line| is_logged(line)).count(), 1);
}

// scenario: IN-05
#[test]
fn crashes_further_apart_than_the_period_never_exceed_the_limit() {
    let _watchdog = watchdog();
    let period = Duration::from_millis(100);
    let a = Child::new("a", &Journal::new());
    let supervisor = up(Supervisor::one_for_one().max_restarts(1, period).child(a.spec()));
    for round in 1..=4 {
        a.crash();
        assert_eq!(child_pid(&supervisor, "a"), a.await_start(round + 1));
        process::sleep(period + Duration::from_millis(20)); // the scenario is about this pause
    }
    supervisor.stop().unwrap();
}

// scenario: IN-08
#[test]
fn at_the_limit_the_others_stop_in_reverse_and_the_crashed_one_is_left_alone() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let children = ["a", "b", "c"].map(|id| {
        let note = journal.clone();
        Child::new(id, &journal).traps().ends_by(move |reason| note.note(format!("{id} ends: {reason}")))
    });
    let supervisor = up(none_allowed().children(children.iter().map(Child::spec)));
    let watch = supervisor.watch();
    journal.clear();
    children[1].end("crash");
    assert_eq!(watch.wait(), ExitReason::Shutdown);
    let expected = ["b ends: crash", "stop b", "c ends: shutdown", "stop c", "a ends: shutdown", "stop a"];
    assert_eq!(journal.all(), expected);
}

// scenario: IN-09
#[test]
fn failed_restarts_count() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let a = Child::new("a", &journal).starts_as(|k| if k > 1 { Begin::Fail("no") } else { Begin::Up });
    let supervisor = up(Supervisor::one_for_one().max_restarts(2, MINUTE).child(a.spec()));
    let watch = supervisor.watch();
    a.crash();
    assert_eq!(watch.wait(), ExitReason::Shutdown);
    assert_eq!(journal.all(), ["start a", "stop a", "fail a", "fail a"]);
}

/// Starts a supervisor that allows no restart, under another; the name resolves to the current incarnation.
fn nested(restart: Restart, sub: SupervisorSpec) -> (SupervisorRef, SupervisorRef) {
    let name = SupervisorRef::named(unique("sub"));
    let sub = sub.name(name.clone()).id("sub").restart(restart);
    (up(Supervisor::one_for_one().child(sub)), name)
}

// scenario: IN-11
#[test]
fn a_transient_sub_supervisor_that_gives_up_stays_down() {
    let _watchdog = watchdog();
    let worker = Child::new("worker", &Journal::new());
    let (top, sub) = nested(Restart::Transient, none_allowed().child(worker.spec()));
    let watch = sub.watch();
    worker.crash();
    assert_eq!(watch.wait(), ExitReason::Shutdown);
    assert_eq!(states(&top), [("sub".into(), "stopped")]);
    assert_eq!(worker.starts(), 1);
    top.stop().unwrap();
}

// scenario: IN-12
#[test]
fn a_permanent_sub_supervisor_is_restarted_with_fresh_static_children() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let (worker, other, added) =
        (Child::new("worker", &journal), Child::new("other", &journal), Child::new("added", &journal));
    let (top, sub) = nested(Restart::Permanent, none_allowed().child(worker.spec()).child(other.spec()));
    sub.start_child(added.spec()).unwrap();
    let (first, watch) = (sub.whereis(), sub.watch());
    worker.crash();
    assert_eq!(watch.wait(), ExitReason::Shutdown);
    assert_eq!(states(&top), [("sub".into(), "running")]);
    assert_ne!(sub.whereis(), first);
    assert_eq!(ids(&sub), ["worker", "other"], "children added at run time are not restored");
    assert_eq!((worker.starts(), other.starts(), added.starts()), (2, 2, 1));
    assert_eq!(top.count_children().unwrap().supervisors, 1);
    top.stop().unwrap();
    assert!(!process::is_alive(worker.pid()));
}

#[test]
fn three_levels_without_a_budget_fall_together() {
    let _watchdog = watchdog();
    let worker = Child::new("worker", &Journal::new());
    let bottom = none_allowed().child(worker.spec());
    let middle = none_allowed().child(bottom);
    let top = up(none_allowed().child(middle));
    let watch = top.watch();
    worker.crash();
    assert_eq!(watch.wait(), ExitReason::Shutdown);
    assert_eq!(worker.starts(), 1);
}

/// The tree of `supervisor_SUITE tree`: under a one_for_all, sub1 with static children, sub2 with children
/// added at run time only, sub3 terminated by hand.
struct Tree {
    top: SupervisorRef,
    sub1: SupervisorRef,
    sub2: SupervisorRef,
    sub3: SupervisorRef,
    a: Child,
    b: Child,
    dynamic: Child,
}

impl Tree {
    fn grow() -> Self {
        let journal = Journal::new();
        let [a, b, dynamic] = ["a", "b", "dynamic"].map(|id| Child::new(id, &journal));
        let [sub1, sub2, sub3] = ["sub1", "sub2", "sub3"].map(|name| SupervisorRef::named(unique(name)));
        let plan = |to: &SupervisorRef| Supervisor::one_for_one().max_restarts(1, MINUTE).name(to.clone());
        let top = Supervisor::one_for_all()
            .max_restarts(3, MINUTE)
            .child(plan(&sub1).child(a.spec()).child(b.spec()).id("sub1"))
            .child(plan(&sub2).id("sub2"))
            .child(plan(&sub3).id("sub3").restart(Restart::Transient));
        let tree = Self { top: up(top), sub1, sub2, sub3, a, b, dynamic };
        tree.top.terminate_child("sub3").expect("it is there");
        tree.sub2.start_child(tree.dynamic.spec()).expect("it starts");
        tree
    }
}

/// Children added to a static supervisor stand for dynamic ones.
// scenario: IN-14
#[test]
fn a_sub_supervisors_limit_restarts_all_under_one_for_all() {
    let _watchdog = watchdog();
    let tree = Tree::grow();
    let before = [&tree.sub1, &tree.sub2].map(|sub| sub.whereis().unwrap());
    let watch = tree.sub2.watch();
    tree.dynamic.crash();
    tree.dynamic.await_start(2);
    assert!(process::is_alive(before[1]));
    assert_eq!(tree.a.starts(), 1);
    tree.dynamic.crash();
    assert_eq!(watch.wait(), ExitReason::Shutdown);
    let listed = ["sub1", "sub2", "sub3"].map(|id| (id.to_owned(), "running"));
    assert_eq!(states(&tree.top), listed, "sub3 was restarted too");
    assert_eq!(ids(&tree.sub1), ["a", "b"]);
    assert_eq!((tree.a.starts(), tree.b.starts()), (2, 2));
    assert_eq!(ids(&tree.sub2), [""; 0], "children added at run time are removed");
    assert_eq!(ids(&tree.sub3), [""; 0]);
    assert!([&tree.sub1, &tree.sub2].iter().all(|sub| !before.contains(&sub.whereis().unwrap())));
    tree.top.stop().unwrap();
    assert!(!process::is_alive(tree.a.pid()));
}

// scenario: IN-15
#[test]
fn a_crash_within_the_limit_stays_below() {
    let _watchdog = watchdog();
    let tree = Tree::grow();
    let before = [&tree.sub1, &tree.sub2].map(SupervisorRef::whereis);
    tree.dynamic.crash();
    assert_eq!(child_pid(&tree.sub2, "dynamic"), tree.dynamic.await_start(2));
    assert_eq!([&tree.sub1, &tree.sub2].map(SupervisorRef::whereis), before);
    assert_eq!((tree.a.starts(), tree.b.starts()), (1, 1));
    assert_eq!(tree.sub3.whereis(), None);
    tree.top.stop().unwrap();
}

// scenario: IN-16
#[test]
fn a_supervisor_ends_with_its_parent_even_if_that_ends_normally() {
    let _watchdog = watchdog();
    for reason in [ExitReason::Normal, ExitReason::shutdown_with("x"), "crash".into()] {
        let journal = Journal::new();
        let a = Child::new("a", &journal);
        let (plan, leave, end) = (Supervisor::one_for_one().child(a.spec()), Gate::new(), reason.clone());
        let (passed, wait) = (Gate::new(), leave.clone());
        let started = passed.clone();
        let supervisor = std::sync::Arc::new(parking_lot::Mutex::new(None));
        let slot = supervisor.clone();
        let parent = process::spawn(move || {
            *slot.lock() = Some(plan.start_link().expect("it starts"));
            started.open();
            wait.pass();
            process::exit_with(end);
        });
        parent.unwrap();
        passed.pass();
        let watch = supervisor.lock().as_ref().unwrap().watch();
        leave.open();
        assert_eq!(watch.wait(), reason);
        assert_eq!(journal.all(), ["start a", "stop a"], "{reason}");
    }
}

// scenario: IN-17
#[test]
fn a_shutdown_from_a_stranger_is_ignored() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let supervisor = up(none_allowed().child(a.spec()));
    let target = pid_of(&supervisor);
    // From a foreign thread, and from a process that is not its parent.
    process::exit(target, ExitReason::Shutdown);
    process::exit(target, ExitReason::Normal);
    let unrelated = process::spawn(move || process::exit(target, ExitReason::Shutdown)).unwrap();
    process::watch(unrelated).wait();
    assert_eq!(child_pid(&supervisor, "a"), a.pid());
    assert_eq!(a.starts(), 1);
    supervisor.stop().unwrap();
}

#[test]
fn the_end_of_a_linked_stranger_is_ignored_too() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let supervisor = up(none_allowed().child(a.spec()));
    let target = pid_of(&supervisor);
    let unrelated = process::spawn_receiver::<()>(move |inbox| {
        process::link(target).expect("it is running");
        inbox.recv();
        process::exit_with("crash");
    });
    let unrelated = unrelated.unwrap();
    let watch = process::watch(&unrelated);
    unrelated.send(());
    watch.wait();
    assert_eq!(child_pid(&supervisor, "a"), a.pid());
    supervisor.stop().unwrap();
}

#[test]
fn killed_supervisor_ends_its_children_except_those_that_ignore_exits() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let plain = Child::new("plain", &journal);
    let note = journal.clone();
    let server = Child::new("server", &journal)
        .traps()
        .ends_by(move |reason| note.note(format!("server ends: {reason}")));
    let plan = none_allowed().child(plain.spec()).child(server.spec()).child(child::stubborn("orphan"));
    let supervisor = up(plan);
    let orphan = child_pid(&supervisor, "orphan");
    let watches = [plain.server().watch(), server.server().watch()];
    assert_eq!(kill(pid_of(&supervisor), ExitReason::Kill), ExitReason::Killed);
    assert_eq!(watches.each_ref().map(|watch| watch.wait()), [ExitReason::Killed, ExitReason::Killed]);
    assert!(journal.all().contains(&"server ends: killed".to_owned()));
    assert!(process::is_alive(orphan));
    kill(orphan, ExitReason::Kill);
}

#[test]
fn the_default_is_three_restarts_in_five_seconds() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let supervisor = up(Supervisor::one_for_one().child(a.spec()));
    let watch = supervisor.watch();
    for round in 1..=3 {
        a.crash();
        a.await_start(round + 1);
    }
    a.crash();
    assert_eq!(watch.wait(), ExitReason::Shutdown);
    assert_eq!(a.starts(), 4);
}

#[test]
fn supervisor_that_gives_up_ends_its_linked_starter_unless_that_traps() {
    let journal = Journal::new();
    let a = Child::new("a", &journal);
    let plan = none_allowed().child(a.spec());
    let reason = support::exit_reason_of(|inbox: &mut Inbox<()>| {
        plan.start_link().expect("it starts");
        a.crash();
        inbox.recv();
    });
    assert_eq!(reason, ExitReason::Shutdown);
    let b = Child::new("b", &journal);
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let supervisor = none_allowed().child(b.spec()).start_link().unwrap();
        b.crash();
        let from = pid_of(&supervisor);
        assert_eq!(inbox.recv(), Event::Exit { from, reason: ExitReason::Shutdown });
        assert_eq!(inbox.try_recv(), None);
    });
}
