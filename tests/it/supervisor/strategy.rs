//! Which children are restarted after the exit of one: one_for_all and rest_for_one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::child::{self, Begin, Child, child_pid, ids, states, up};
use crate::support::{self, Journal, eventually, unique, watchdog};
use rethread::StartError;
use rethread::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

/// Returns children with these ids, in one journal.
fn family<const N: usize>(ids: [&'static str; N], journal: &Journal) -> [Child; N] {
    ids.map(|id| Child::new(id, journal))
}

fn pids(children: &[Child]) -> Vec<Pid> {
    children.iter().map(Child::pid).collect()
}

// scenario: OA-01
#[test]
fn one_crash_and_all_have_new_pids() {
    let _watchdog = watchdog();
    let both = family(["a", "b"], &Journal::new());
    let supervisor = up(Supervisor::one_for_all().children(both.iter().map(Child::spec)));
    let before = pids(&both);
    both[0].crash();
    let after = ["a", "b"].map(|id| child_pid(&supervisor, id));
    assert!(after.iter().all(|pid| !before.contains(pid) && process::is_alive(*pid)));
    assert!(before.iter().all(|pid| !process::is_alive(*pid)));
    supervisor.stop().unwrap();
}

// scenario: OA-02
#[test]
fn the_others_stop_in_reverse_and_all_start_in_order() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let children = family(["a", "b", "c"], &journal).map(|child| {
        let (note, id) = (journal.clone(), child.id);
        child.traps().ends_by(move |reason| note.note(format!("{id} ends: {reason}")))
    });
    let supervisor = up(Supervisor::one_for_all().children(children.iter().map(Child::spec)));
    journal.clear();
    children[1].end("crash");
    states(&supervisor);
    let expected = [
        "b ends: crash",
        "stop b",
        "c ends: shutdown",
        "stop c",
        "a ends: shutdown",
        "stop a",
        "start a",
        "start b",
        "start c",
    ];
    assert_eq!(journal.all(), expected);
    supervisor.stop().unwrap();
}

// scenario: OA-04
#[test]
fn crash_of_temporary_child_affects_no_other_process() {
    let _watchdog = watchdog();
    for plan in [Supervisor::one_for_all, Supervisor::rest_for_one] {
        let [a, t, b] = family(["a", "t", "b"], &Journal::new());
        let supervisor = up(plan().child(a.spec()).child(t.temporary()).child(b.spec()));
        let before = (a.pid(), b.pid());
        t.crash();
        assert_eq!(ids(&supervisor), ["a", "b"]);
        assert_eq!((child_pid(&supervisor, "a"), child_pid(&supervisor, "b")), before);
        supervisor.stop().unwrap();
    }
}

// scenario: OA-04
#[test]
fn a_temporary_sibling_is_stopped_and_dropped_by_the_others_restart() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let [a, t, b] = family(["a", "t", "b"], &journal);
    let supervisor = up(Supervisor::one_for_all().child(a.spec()).child(t.temporary()).child(b.spec()));
    journal.clear();
    b.crash();
    assert_eq!(ids(&supervisor), ["a", "b"]);
    assert_eq!(journal.all(), ["stop b", "stop t", "stop a", "start a", "start b"]);
    supervisor.stop().unwrap();
}

// scenario: OA-05
#[test]
fn a_transient_child_that_had_ended_normally_is_started_again_too() {
    let _watchdog = watchdog();
    let [a, t] = family(["a", "t"], &Journal::new());
    let supervisor = up(Supervisor::one_for_all().child(a.spec()).child(t.transient()));
    t.end(ExitReason::Normal);
    assert_eq!(states(&supervisor), [("a".into(), "running"), ("t".into(), "stopped")]);
    a.crash();
    assert_eq!(states(&supervisor), [("a".into(), "running"), ("t".into(), "running")]);
    assert_eq!(t.starts(), 2);
    supervisor.stop().unwrap();
}

// scenario: OA-05
#[test]
fn terminated_child_is_started_by_a_group_restart() {
    let _watchdog = watchdog();
    let [a, b] = family(["a", "b"], &Journal::new());
    let supervisor = up(Supervisor::one_for_all().child(a.spec()).child(b.spec()));
    supervisor.terminate_child("b").unwrap();
    a.crash();
    assert_eq!(child_pid(&supervisor, "b"), b.await_start(2));
    supervisor.stop().unwrap();
}

// scenario: OA-07
#[test]
fn when_anothers_restart_fails_once_all_begin_again() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let a = Child::new("a", &journal);
    let b = Child::new("b", &journal).starts_as(|k| if k == 2 { Begin::Fail("once") } else { Begin::Up });
    let c = Child::new("c", &journal);
    let supervisor = up(Supervisor::one_for_all().child(a.spec()).child(b.spec()).child(c.spec()));
    journal.clear();
    a.crash();
    c.await_start(2);
    let expected =
        ["stop a", "stop c", "stop b", "start a", "fail b", "stop a", "start a", "start b", "start c"];
    assert_eq!(journal.all(), expected);
    assert_eq!(ids(&supervisor), ["a", "b", "c"]);
    supervisor.stop().unwrap();
}

// scenario: OA-08
#[test]
fn failing_restart_of_later_child_ends_one_for_all_supervisor() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let a = Child::new("a", &journal);
    let b = Child::new("b", &journal).starts_as(|k| if k > 1 { Begin::Fail("never") } else { Begin::Up });
    let plan = Supervisor::one_for_all().max_restarts(4, 60 * SECOND).child(a.spec()).child(b.spec());
    let supervisor = up(plan);
    let watch = supervisor.watch();
    a.crash();
    assert_eq!(watch.wait(), ExitReason::Shutdown);
    assert_eq!((a.starts(), b.attempts()), (5, 5), "four restarts were allowed");
    let (starts, stops): (Vec<_>, Vec<_>) = journal
        .all()
        .into_iter()
        .filter(|note| !note.contains("fail"))
        .partition(|note| note.contains("start"));
    assert_eq!(starts.len(), stops.len(), "none is left");
    assert!(!process::is_alive(a.pid()));
}

// scenario: OA-10
#[test]
fn terminate_child_leaves_the_others_alone() {
    let _watchdog = watchdog();
    let [a, b] = family(["a", "b"], &Journal::new());
    let supervisor = up(Supervisor::one_for_all().child(a.spec()).child(b.spec()));
    let untouched = b.pid();
    supervisor.terminate_child("a").unwrap();
    assert_eq!(child_pid(&supervisor, "b"), untouched);
    supervisor.restart_child("a").unwrap();
    assert_eq!(child_pid(&supervisor, "b"), untouched);
    supervisor.stop().unwrap();
}

/// A registry's partitions are OTP's example: parts of one table that only make sense together.
// scenario: OA-12
#[test]
fn the_partitions_of_a_table_restart_together_under_their_names() {
    let _watchdog = watchdog();
    let name = unique("oa 12");
    let part = |at: usize| ServerRef::<child::Actor>::from_name(format!("{name} part {at}"));
    let journal = Journal::new();
    let parts: Vec<Child> = (0..4).map(|_| Child::new("part", &journal)).collect();
    let children = parts.iter().enumerate().map(|(at, child)| child.spec().id(at).name(part(at)));
    let supervisor = up(Supervisor::one_for_all().children(children));
    let before: Vec<_> = (0..4).map(|at| part(at).whereis().unwrap()).collect();
    parts[2].crash();
    states(&supervisor);
    for (at, old) in before.into_iter().enumerate() {
        part(at).call(child::Ask).unwrap();
        assert_ne!(part(at).whereis(), Some(old));
        assert_eq!(parts[at].starts(), 2);
    }
    supervisor.stop().unwrap();
}

#[test]
fn two_crashes_at_once_are_one_restart_of_a_group() {
    let _watchdog = watchdog();
    let [a, b, c] = family(["a", "b", "c"], &Journal::new());
    let plan = Supervisor::one_for_all().max_restarts(1, 60 * SECOND);
    let supervisor = up(plan.child(a.spec()).child(b.spec()).child(c.spec()));
    let (first, second) = (a.pid(), b.pid());
    // Both exits are decided before the supervisor is notified of either.
    let watches = [process::watch(first), process::watch(second)];
    let hold = support::Gate::new();
    let (entered, pass) = (support::Gate::new(), hold.clone());
    let enter = entered.clone();
    let busy = supervisor.clone();
    let asking = process::spawn(move || {
        let slow = ChildSpec::new("slow", move || {
            enter.open();
            pass.pass();
            Err(StartError::Ignored)
        });
        drop(busy.start_child(slow.restart(Restart::Temporary)));
    });
    let asked = process::watch(asking.unwrap());
    entered.pass();
    process::exit(first, "crash");
    process::exit(second, "crash");
    watches.iter().for_each(|watch| drop(watch.wait()));
    hold.open();
    asked.wait();
    assert_eq!(states(&supervisor).len(), 3);
    assert_eq!((a.starts(), b.starts(), c.starts()), (2, 2, 2));
    supervisor.stop().unwrap();
}

/// Crashes one of the three children of a `rest_for_one` supervisor. Returns their pids before and after, and the
/// events in between.
fn crash_in_rest_for_one(index: usize) -> (Vec<Pid>, [Pid; 3], Vec<String>) {
    let journal = Journal::new();
    let three = family(["a", "b", "c"], &journal);
    let supervisor = up(Supervisor::rest_for_one().children(three.iter().map(Child::spec)));
    let before = pids(&three);
    journal.clear();
    three[index].crash();
    let after = ["a", "b", "c"].map(|id| child_pid(&supervisor, id));
    let events = journal.all();
    supervisor.stop().expect("it stops");
    (before, after, events)
}

// scenario: RO-01
#[test]
fn rest_for_one_restarts_the_children_after_the_crashed_one() {
    let _watchdog = watchdog();
    let (before, after, events) = crash_in_rest_for_one(1);
    assert_eq!(after[0], before[0]);
    assert!(after[1] != before[1] && after[2] != before[2]);
    assert_eq!(events, ["stop b", "stop c", "start b", "start c"]);
}

// scenario: RO-04
#[test]
fn the_first_ones_crash_restarts_all() {
    let _watchdog = watchdog();
    let (before, after, events) = crash_in_rest_for_one(0);
    assert!(after.iter().all(|pid| !before.contains(pid)));
    assert_eq!(events, ["stop a", "stop c", "stop b", "start a", "start b", "start c"]);
}

// scenario: RO-05
#[test]
fn a_temporary_child_after_it_is_stopped_and_dropped() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let [a, t] = family(["a", "t"], &journal);
    let supervisor = up(Supervisor::rest_for_one().child(a.spec()).child(t.temporary()));
    let old = t.pid();
    a.crash();
    assert_eq!(states(&supervisor), [("a".into(), "running")]);
    assert!(!process::is_alive(old));
    assert_eq!(journal.all(), ["start a", "start t", "stop a", "stop t", "start a"]);
    supervisor.stop().unwrap();
}

// scenario: RO-06
#[test]
fn when_a_later_ones_restart_fails_once_it_is_tried_again_from_there() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let a = Child::new("a", &journal);
    let b = Child::new("b", &journal).starts_as(|k| if k == 2 { Begin::Fail("once") } else { Begin::Up });
    let c = Child::new("c", &journal);
    let supervisor = up(Supervisor::rest_for_one().child(a.spec()).child(b.spec()).child(c.spec()));
    journal.clear();
    a.crash();
    c.await_start(2);
    let expected = ["stop a", "stop c", "stop b", "start a", "fail b", "start b", "start c"];
    assert_eq!(journal.all(), expected);
    assert_eq!((a.starts(), b.starts(), c.starts()), (2, 2, 2));
    supervisor.stop().unwrap();
}

// scenario: RO-08
#[test]
fn failing_restart_of_later_child_ends_rest_for_one_supervisor() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let a = Child::new("a", &journal);
    let b = Child::new("b", &journal).starts_as(|k| if k > 1 { Begin::Fail("never") } else { Begin::Up });
    let plan = Supervisor::rest_for_one().max_restarts(4, 60 * SECOND).child(a.spec()).child(b.spec());
    let supervisor = up(plan);
    let watch = supervisor.watch();
    a.crash();
    assert_eq!(watch.wait(), ExitReason::Shutdown);
    assert_eq!((a.starts(), b.attempts()), (2, 5), "a came up once, b was tried four times");
    assert_eq!(journal.all().last().map(String::as_str), Some("stop a"));
}

// scenario: RO-09
#[test]
fn children_are_listed_while_a_restart_keeps_failing() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let broken = Arc::new(AtomicBool::new(true));
    let look = Arc::clone(&broken);
    let [a, b, c] = family(["a", "b", "c"], &journal);
    let b = b.starts_as(
        move |k| if k > 1 && look.load(Ordering::SeqCst) { Begin::Fail("broken") } else { Begin::Up },
    );
    let plan = Supervisor::rest_for_one().max_restarts(u32::MAX, SECOND);
    let supervisor = up(plan.child(a.spec()).child(b.spec()).child(c.spec()));
    let untouched = a.pid();
    b.crash();
    eventually("a restart failed", || b.attempts() > 2);
    let expected = [("a".into(), "running"), ("b".into(), "restarting"), ("c".into(), "stopped")];
    assert_eq!(states(&supervisor), expected);
    let count = supervisor.count_children().unwrap();
    assert_eq!((count.specs, count.active), (3, 1));
    assert_eq!(child_pid(&supervisor, "a"), untouched);
    broken.store(false, Ordering::SeqCst);
    c.await_start(2);
    assert_eq!(child_pid(&supervisor, "a"), untouched);
    supervisor.stop().unwrap();
}

// scenario: RO-11
#[test]
fn the_order_survives_restarts() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let [a, b, d] = family(["a", "b", "d"], &journal);
    let supervisor = up(Supervisor::rest_for_one().child(a.spec()).child(b.spec()));
    supervisor.start_child(d.spec()).unwrap();
    for crashing in [&b, &a] {
        crashing.crash();
        assert_eq!(ids(&supervisor), ["a", "b", "d"]);
    }
    assert_eq!((a.starts(), b.starts(), d.starts()), (2, 3, 3));
    supervisor.stop().unwrap();
}

#[test]
fn the_end_of_one_sibling_while_another_is_being_started_again_is_noticed() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let [a, b, c] = family(["a", "b", "c"], &journal);
    // While c is restarted, b exits again: the new b, not the old one.
    let (victim, twice) = (b.clone(), Arc::new(AtomicBool::new(false)));
    let c = c.starts_as(move |k| {
        if k == 2 && !twice.swap(true, Ordering::SeqCst) {
            victim.kill();
        }
        Begin::Up
    });
    let supervisor = up(Supervisor::rest_for_one().child(a.spec()).child(b.spec()).child(c.spec()));
    b.crash();
    c.await_start(3);
    assert_eq!(child_pid(&supervisor, "b"), b.pid());
    assert_eq!((a.starts(), b.starts(), c.starts()), (1, 3, 3));
    supervisor.stop().unwrap();
}

// scenario: RO-05
#[test]
fn of_the_temporary_children_only_those_after_it_are_dropped() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let [first, a, b, last] = family(["first", "a", "b", "last"], &journal);
    let children = [first.temporary(), a.permanent(), b.permanent(), last.temporary()];
    let supervisor = up(Supervisor::rest_for_one().children(children));
    let stays = first.pid();
    journal.clear();
    a.crash();
    assert_eq!(ids(&supervisor), ["first", "a", "b"]);
    assert_eq!(child_pid(&supervisor, "first"), stays);
    assert_eq!(journal.all(), ["stop a", "stop last", "stop b", "start a", "start b"]);
    supervisor.stop().unwrap();
}
