//! Supervisors that shut down when their significant children have exited.

use std::time::Duration;

use crate::support::child::{Child, child_pid, ids, states, up};
use crate::support::{Journal, watchdog};
use rethread::prelude::*;
use rethread::supervisor::AutoShutdown::{AllSignificant, AnySignificant, Never};

const MINUTE: Duration = Duration::from_secs(60);

fn significant(child: &Child, restart: Restart) -> ChildSpec {
    child.spec().restart(restart).significant(true).into()
}

// scenario: AU-01
#[test]
fn children_without_significance_never_end_the_supervisor() {
    let _watchdog = watchdog();
    for rule in [Never, AnySignificant, AllSignificant] {
        for restart in [Restart::Permanent, Restart::Transient, Restart::Temporary] {
            for reason in [ExitReason::Normal, ExitReason::Shutdown, "crash".into(), ExitReason::Kill] {
                let journal = Journal::new();
                let (a, other) = (Child::new("a", &journal), Child::new("other", &journal));
                let plan = Supervisor::one_for_one().auto_shutdown(rule).child(other.spec());
                let supervisor = up(plan.child(a.spec().restart(restart)));
                match &reason {
                    ExitReason::Kill => drop(a.kill()),
                    reason => drop(a.end(reason.clone())),
                }
                assert_eq!(child_pid(&supervisor, "other"), other.pid(), "{rule:?} {restart:?} {reason}");
                assert_eq!(other.starts(), 1);
                supervisor.stop().unwrap();
            }
        }
    }
}

// scenario: AU-04
#[test]
fn with_any_significant_the_end_of_a_temporary_one_ends_the_supervisor() {
    let _watchdog = watchdog();
    for reason in [ExitReason::Normal, "crash".into(), ExitReason::Kill] {
        let journal = Journal::new();
        let [a, s, b] = ["a", "s", "b"].map(|id| Child::new(id, &journal));
        let plan = Supervisor::one_for_one()
            .auto_shutdown(AnySignificant)
            .child(a.spec())
            .child(significant(&s, Restart::Temporary))
            .child(b.spec());
        let supervisor = up(plan);
        let watch = supervisor.watch();
        journal.clear();
        match &reason {
            ExitReason::Kill => drop(s.kill()),
            reason => drop(s.end(reason.clone())),
        }
        assert_eq!(watch.wait(), ExitReason::Shutdown, "{reason}");
        assert_eq!(journal.all(), ["stop s", "stop b", "stop a"], "{reason}");
    }
}

// scenario: AU-04
#[test]
fn a_significant_transient_child_ends_it_by_ending_normally_but_is_restarted_after_a_crash() {
    let _watchdog = watchdog();
    for reason in [ExitReason::Normal, ExitReason::Shutdown, ExitReason::shutdown_with(1)] {
        let s = Child::new("s", &Journal::new());
        let plan = Supervisor::one_for_one().auto_shutdown(AnySignificant);
        let supervisor = up(plan.child(significant(&s, Restart::Transient)));
        let watch = supervisor.watch();
        s.crash();
        assert_eq!(child_pid(&supervisor, "s"), s.await_start(2));
        s.end(reason);
        assert_eq!(watch.wait(), ExitReason::Shutdown);
    }
}

// scenario: AU-05
#[test]
fn terminate_child_of_a_significant_child_does_not_end_the_supervisor() {
    let _watchdog = watchdog();
    for rule in [AnySignificant, AllSignificant] {
        for restart in [Restart::Transient, Restart::Temporary] {
            let s = Child::new("s", &Journal::new());
            let supervisor =
                up(Supervisor::one_for_one().auto_shutdown(rule).child(significant(&s, restart)));
            supervisor.terminate_child("s").unwrap();
            let kept: &[_] = if restart == Restart::Temporary { &[] } else { &[("s".into(), "stopped")] };
            assert_eq!(states(&supervisor), kept);
            supervisor.stop().unwrap();
        }
    }
}

// scenario: AU-06
#[test]
fn with_all_significant_the_last_one_ends_the_supervisor() {
    let _watchdog = watchdog();
    for restart in [Restart::Transient, Restart::Temporary] {
        let journal = Journal::new();
        let [first, second, other] = ["first", "second", "other"].map(|id| Child::new(id, &journal));
        let plan = Supervisor::one_for_one()
            .auto_shutdown(AllSignificant)
            .child(significant(&first, restart))
            .child(significant(&second, restart))
            .child(other.spec());
        let supervisor = up(plan);
        let watch = supervisor.watch();
        second.end(ExitReason::Normal);
        assert_eq!(child_pid(&supervisor, "other"), other.pid());
        first.end(ExitReason::Normal);
        assert_eq!(watch.wait(), ExitReason::Shutdown);
        assert_eq!(journal.all().last().map(String::as_str), Some("stop other"));
    }
}

// scenario: AU-06
#[test]
fn one_that_was_terminated_by_hand_is_not_waited_for() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let [first, second] = ["first", "second"].map(|id| Child::new(id, &journal));
    let plan = Supervisor::one_for_one()
        .auto_shutdown(AllSignificant)
        .child(significant(&first, Restart::Transient))
        .child(significant(&second, Restart::Transient));
    let supervisor = up(plan);
    let watch = supervisor.watch();
    supervisor.terminate_child("first").unwrap();
    assert_eq!(ids(&supervisor), ["first", "second"]);
    second.end(ExitReason::Normal);
    assert_eq!(watch.wait(), ExitReason::Shutdown);
}

// scenario: AU-07
#[test]
fn a_restart_of_significant_siblings_does_not_count() {
    let _watchdog = watchdog();
    for plan in [Supervisor::one_for_all, Supervisor::rest_for_one] {
        for rule in [AnySignificant, AllSignificant] {
            let journal = Journal::new();
            let [plain, s1, s2] = ["plain", "s1", "s2"].map(|id| Child::new(id, &journal));
            let plan = plan()
                .auto_shutdown(rule)
                .child(plain.spec())
                .child(significant(&s1, Restart::Transient))
                .child(significant(&s2, Restart::Transient));
            let supervisor = up(plan);
            plain.kill();
            let all = ["plain", "s1", "s2"].map(|id| (id.to_owned(), "running"));
            assert_eq!(states(&supervisor), all);
            assert_eq!((plain.starts(), s1.starts(), s2.starts()), (2, 2, 2));
            supervisor.stop().unwrap();
        }
    }
}

#[test]
fn a_significant_temporary_sibling_stopped_by_a_restart_is_dropped_and_does_not_count() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let [plain, s] = ["plain", "s"].map(|id| Child::new(id, &journal));
    let plan = Supervisor::one_for_all().auto_shutdown(AllSignificant);
    let supervisor = up(plan.child(plain.spec()).child(significant(&s, Restart::Temporary)));
    plain.kill();
    assert_eq!(states(&supervisor), [("plain".into(), "running")]);
    supervisor.stop().unwrap();
}

#[test]
fn a_sub_supervisor_can_be_the_significant_child() {
    let _watchdog = watchdog();
    let job = Child::new("job", &Journal::new());
    let batch = Supervisor::one_for_one()
        .auto_shutdown(AnySignificant)
        .child(significant(&job, Restart::Transient))
        .id("batch")
        .restart(Restart::Transient)
        .significant(true);
    let top =
        up(Supervisor::one_for_one().max_restarts(3, MINUTE).auto_shutdown(AnySignificant).child(batch));
    let watch = top.watch();
    job.end(ExitReason::Normal);
    assert_eq!(watch.wait(), ExitReason::Shutdown);
}
