//! How supervisors start, valid and invalid plans, and the queries about children.

use std::sync::Arc;
use std::time::Duration;

use crate::support::child::{self, Begin, Child, child_pid, ids, kill, pid_of, states, up};
use crate::support::{self, Journal, attached, logs, sleeper, unique, watchdog};
use parking_lot::Mutex;
use rethread::StartError;
use rethread::prelude::*;
use rethread::process::{Address, Builder, Inbox};
use rethread::registry::Registry;
use rethread::supervisor::{AutoShutdown, ChildError, ChildType, FailedToStartChild, Shutdown, SpecError};

const SECOND: Duration = Duration::from_secs(1);

// scenario: SV-01
#[test]
fn a_supervisor_without_children_starts_and_ends_with_its_parents_shutdown() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let supervisor = Supervisor::one_for_one().start_link().unwrap();
        assert_eq!(supervisor.which_children().unwrap(), []);
        let monitor = supervisor.monitor();
        process::exit(pid_of(&supervisor), ExitReason::Shutdown);
        assert_eq!(support::exit_event(inbox), (pid_of(&supervisor), ExitReason::Shutdown));
        assert_eq!(support::down(inbox), (monitor, ExitReason::Shutdown));
    });
}

// scenario: SV-04
#[test]
fn a_permanent_child_that_ignores_is_kept() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let idle = Child::new("idle", &journal).starts_as(|_| Begin::Ignore);
    let busy = Child::new("busy", &journal);
    let supervisor = up(Supervisor::one_for_one());
    assert_eq!(supervisor.start_child(idle.spec()), Err(StartError::Ignored));
    assert_eq!(supervisor.start_child(busy.spec()), Ok(busy.pid()));
    assert_eq!(states(&supervisor), [("idle".into(), "stopped"), ("busy".into(), "running")]);
    let count = supervisor.count_children().unwrap();
    assert_eq!((count.specs, count.active, count.workers, count.supervisors), (2, 1, 2, 0));
    assert_eq!(supervisor.restart_child("idle"), Err(ChildError::Start(StartError::Ignored)));
    supervisor.stop().unwrap();
    assert_eq!(journal.all(), ["ignore idle", "start busy", "ignore idle", "stop busy"]);
}

// scenario: SV-04
#[test]
fn one_that_ignores_in_the_plan_is_kept_too() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let idle = Child::new("idle", &journal).starts_as(|k| if k == 1 { Begin::Ignore } else { Begin::Up });
    let supervisor = up(Supervisor::one_for_one().child(idle.spec()));
    assert_eq!(states(&supervisor), [("idle".into(), "stopped")]);
    assert_eq!(supervisor.restart_child("idle"), Ok(idle.pid()));
    supervisor.stop().unwrap();
}

// scenario: SV-05
#[test]
fn a_temporary_child_that_ignores_is_not_kept() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let ignored = |id| Child::new(id, &journal).starts_as(|_| Begin::Ignore).temporary();
    let plan = Supervisor::one_for_one()
        .child(ignored("first"))
        .child(Child::new("kept", &journal).spec())
        .child(ignored("last"));
    let supervisor = up(plan);
    assert_eq!(states(&supervisor), [("kept".into(), "running")]);
    supervisor.stop().unwrap();
    assert_eq!(journal.all(), ["ignore first", "start kept", "ignore last", "stop kept"]);
}

// scenario: SV-06
#[test]
fn a_temporary_child_that_ignores_start_child_is_not_kept() {
    let _watchdog = watchdog();
    let ignored = Child::new("a", &Journal::new()).starts_as(|_| Begin::Ignore);
    let supervisor = up(Supervisor::one_for_one());
    assert_eq!(supervisor.start_child(ignored.temporary()), Err(StartError::Ignored));
    assert_eq!(supervisor.which_children().unwrap(), []);
    assert_eq!(supervisor.terminate_child("a"), Err(ChildError::NotFound));
    supervisor.stop().unwrap();
}

// scenario: SV-07
#[test]
fn start_child_hands_on_why_the_start_failed_and_forgets_the_spec() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let supervisor = up(Supervisor::one_for_one());
    let failing = |begin: fn() -> Begin| {
        let error = supervisor.start_child(Child::new("a", &journal).starts_as(move |_| begin()).spec());
        assert_eq!(supervisor.which_children().unwrap(), []);
        error
    };
    assert_eq!(failing(|| Begin::Fail("reason")), Err(StartError::Failed("reason".into())));
    assert_eq!(failing(|| Begin::Quiet("junk")), Err(StartError::Failed("junk".into())));
    let by_function = ChildSpec::new("b", || Err(StartError::Failed(ExitReason::new(7_u8))));
    assert_eq!(supervisor.start_child(by_function), Err(StartError::Failed(ExitReason::new(7_u8))));
    assert_eq!(supervisor.count_children().unwrap().specs, 0);
    supervisor.stop().unwrap();
}

// scenario: SV-10
#[test]
fn faulty_specs_are_refused_before_anything_is_started() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let journal = Journal::new();
        let refused = |faulty: ChildSpec, why: SpecError| {
            let plan = Supervisor::one_for_one().child(Child::new("good", &journal).spec()).child(faulty);
            assert_eq!(plan.clone().start_link().map(drop), Err(StartError::BadSpec(why.clone())));
            assert_eq!(plan.start().map(drop), Err(StartError::BadSpec(why)));
        };
        let child = |id| Child::new(id, &journal);
        refused(child("").permanent(), SpecError::EmptyId);
        refused(child("good").permanent(), SpecError::DuplicateId("good".into()));
        let significant = child("s").permanent().significant(true);
        refused(significant, SpecError::SignificantPermanent("s".into()));
        let significant = child("s").transient().significant(true);
        refused(significant, SpecError::SignificantWithoutAutoShutdown("s".into()));
        assert_eq!(journal.all(), [""; 0]);
        assert_eq!(inbox.try_recv(), None);
    });
}

// scenario: SV-11
#[test]
fn faulty_fields_of_a_child_are_named_whether_it_comes_in_the_plan_or_by_start_child() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let quiet = up(Supervisor::one_for_one());
    let ending = up(Supervisor::one_for_one().auto_shutdown(AutoShutdown::AnySignificant));
    let child = |id| Child::new(id, &journal);
    let bad = |why| Err(StartError::BadSpec(why));
    assert_eq!(quiet.start_child(child("").spec()), bad(SpecError::EmptyId));
    let permanent = child("s").permanent().significant(true);
    assert_eq!(quiet.start_child(permanent.clone()), bad(SpecError::SignificantPermanent("s".into())));
    assert_eq!(ending.start_child(permanent), bad(SpecError::SignificantPermanent("s".into())));
    let transient = child("s").transient().significant(true);
    assert_eq!(
        quiet.start_child(transient.clone()),
        bad(SpecError::SignificantWithoutAutoShutdown("s".into()))
    );
    assert_eq!(journal.all(), [""; 0]);
    ending.start_child(transient).unwrap();
    quiet.stop().unwrap();
    ending.stop().unwrap();
}

// scenario: SV-13
#[test]
fn a_period_of_zero_is_refused_and_extreme_limits_are_not() {
    let _watchdog = watchdog();
    let faulty = Supervisor::one_for_one().max_restarts(3, Duration::ZERO);
    assert_eq!(faulty.clone().start().map(drop), Err(StartError::BadSpec(SpecError::ZeroPeriod)));
    assert_eq!(faulty.clone().start_link().map(drop), Err(StartError::BadSpec(SpecError::ZeroPeriod)));
    // As a child it is checked when it starts: the parent returns the child and the fault.
    let nested = Supervisor::one_for_one().child(faulty.id("sub"));
    let Err(StartError::Failed(ExitReason::ShutdownWith(detail))) = nested.start() else {
        panic!("it must not start")
    };
    let failed = detail.downcast_ref::<FailedToStartChild>().unwrap();
    assert_eq!(failed.id, "sub");
    assert_eq!(failed.error, StartError::BadSpec(SpecError::ZeroPeriod));

    let journal = Journal::new();
    let limits = [(0, Duration::MAX), (u32::MAX, Duration::MAX), (u32::MAX, Duration::from_nanos(1))];
    for (round, (restarts, period)) in limits.into_iter().enumerate() {
        let a = Child::new("a", &journal);
        let supervisor = up(Supervisor::one_for_one().max_restarts(restarts, period).child(a.spec()));
        let watch = supervisor.watch();
        a.crash();
        if restarts == 0 {
            assert_eq!(watch.wait(), ExitReason::Shutdown);
        } else {
            assert_eq!(child_pid(&supervisor, "a"), a.await_start(2), "round {round}");
            supervisor.stop().unwrap();
        }
    }
}

// scenario: SV-14
#[test]
fn start_child_with_the_id_of_a_running_child_returns_its_pid() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let a = Child::new("a", &journal);
    let supervisor = up(Supervisor::one_for_one().child(a.spec()));
    let another = Child::new("a", &journal);
    assert_eq!(supervisor.start_child(another.spec()), Err(StartError::AlreadyStarted(a.pid())));
    assert_eq!(another.attempts(), 0);
    supervisor.stop().unwrap();
}

// scenario: SV-16
#[test]
fn a_terminated_child_can_be_restarted_but_not_added_again() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let supervisor = up(Supervisor::one_for_one().child(a.spec()));
    assert_eq!(supervisor.terminate_child("a"), Ok(()));
    assert_eq!(supervisor.terminate_child("a"), Ok(()));
    assert_eq!(supervisor.start_child(a.spec()), Err(StartError::AlreadyPresent));
    assert_eq!(supervisor.restart_child("a"), Ok(a.await_start(2)));
    assert_eq!(supervisor.restart_child("a"), Err(ChildError::Running));
    assert_eq!(supervisor.restart_child("b"), Err(ChildError::NotFound));
    supervisor.stop().unwrap();
}

// scenario: SV-16
#[test]
fn a_restart_child_that_fails_leaves_the_child_stopped() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let a = Child::new("a", &journal).starts_as(|k| if k == 2 { Begin::Fail("no") } else { Begin::Up });
    let supervisor = up(Supervisor::one_for_one().max_restarts(0, SECOND).child(a.spec()));
    supervisor.terminate_child("a").unwrap();
    let error = supervisor.restart_child("a");
    assert_eq!(error, Err(ChildError::Start(StartError::Failed("no".into()))));
    assert_eq!(states(&supervisor), [("a".into(), "stopped")]);
    assert_eq!(supervisor.restart_child("a"), Ok(a.pid()));
    supervisor.stop().unwrap();
    assert_eq!(journal.all(), ["start a", "stop a", "fail a", "start a", "stop a"]);
}

// scenario: SV-17
#[test]
fn only_a_child_that_does_not_run_can_be_deleted() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let supervisor = up(Supervisor::one_for_one().child(a.spec()));
    assert_eq!(supervisor.delete_child("a"), Err(ChildError::Running));
    assert_eq!(supervisor.delete_child("b"), Err(ChildError::NotFound));
    supervisor.terminate_child("a").unwrap();
    assert_eq!(supervisor.delete_child("a"), Ok(()));
    assert_eq!(supervisor.which_children().unwrap(), []);
    assert_eq!(supervisor.delete_child("a"), Err(ChildError::NotFound));
    assert_eq!(supervisor.child_spec("a").map(drop), Err(ChildError::NotFound));
    supervisor.stop().unwrap();
}

// scenario: SV-18
#[test]
fn a_pid_is_no_id() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let supervisor = up(Supervisor::one_for_one().child(a.spec()));
    assert_eq!(supervisor.terminate_child(a.pid().to_string()), Err(ChildError::NotFound));
    assert!(process::is_alive(a.pid()));
    supervisor.stop().unwrap();
}

/// Erlang's `{ok, Pid, Info}`: a start function here is a closure and can store information anywhere.
// scenario: SV-20
#[test]
fn a_start_function_can_leave_information_at_every_start() {
    let _watchdog = watchdog();
    let left: Arc<Mutex<Vec<Pid>>> = Arc::default();
    let leave = Arc::clone(&left);
    let child = ChildSpec::new("a", move || {
        let pid = process::spawn_receiver_link::<()>(|inbox| drop(inbox.recv()))?.pid();
        leave.lock().push(pid);
        Ok(pid)
    });
    let supervisor = up(Supervisor::one_for_one());
    let first = supervisor.start_child(child).unwrap();
    supervisor.terminate_child("a").unwrap();
    let second = supervisor.restart_child("a").unwrap();
    kill(second, "crash");
    let third = child_pid(&supervisor, "a");
    assert_eq!(*left.lock(), [first, second, third]);
    supervisor.stop().unwrap();
}

// scenario: SV-21
#[test]
fn when_a_child_does_not_start_the_earlier_ones_end_in_reverse_and_the_later_ones_never_begin() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let journal = Journal::new();
        let plan = Supervisor::one_for_one()
            .child(Child::new("a", &journal).traps().spec())
            .child(Child::new("b", &journal).traps().spec())
            .child(Child::new("c", &journal).starts_as(|_| Begin::Fail("broken")).spec())
            .child(Child::new("d", &journal).spec());
        let error = plan.start_link().map(drop).unwrap_err();
        assert_eq!(journal.all(), ["start a", "start b", "fail c", "stop b", "stop a"]);
        let StartError::Failed(reason @ ExitReason::ShutdownWith(_)) = error else { panic!("{error:?}") };
        let failed: &FailedToStartChild = reason.downcast_ref().unwrap();
        assert_eq!(failed.id, "c");
        assert_eq!(failed.error, StartError::Failed("broken".into()));
        assert_eq!(inbox.try_recv(), None, "a failed start leaves nothing in the mailbox");
    });
}

#[test]
fn a_child_that_does_not_start_is_named_in_plain_words() {
    let _watchdog = watchdog();
    let broken = ChildSpec::new("broken", || Err(StartError::Failed("no disk".into())));
    let inner = Supervisor::one_for_one().child(broken).id("inner");
    let error = Supervisor::one_for_one().child(inner).start().unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to start: shutdown(child inner did not start: failed to start: \
         shutdown(child broken did not start: failed to start: no disk))"
    );
}

// scenario: SV-23
#[test]
fn children_start_in_order_and_stop_in_reverse() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let order = ["m", "z", "a", "k", "b"];
    let children: Vec<Child> = order.iter().map(|id| Child::new(id, &journal)).collect();
    let supervisor = up(Supervisor::one_for_one().children(children.iter().map(Child::spec)));
    let pids: Vec<Pid> = children.iter().map(Child::pid).collect();
    assert!(pids.is_sorted(), "{pids:?}");
    assert_eq!(ids(&supervisor), order);
    supervisor.stop().unwrap();
    let expected = [
        "start m", "start z", "start a", "start k", "start b", "stop b", "stop k", "stop a", "stop z",
        "stop m",
    ];
    assert_eq!(journal.all(), expected);
}

// scenario: SV-24
#[test]
fn children_are_listed_in_start_order() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let child = |id| Child::new(id, &journal).spec();
    let supervisor = up(Supervisor::one_for_one().child(child("a")).child(child("b")));
    supervisor.start_child(child("d")).unwrap();
    assert_eq!(ids(&supervisor), ["a", "b", "d"]);
    supervisor.stop().unwrap();
}

// scenario: SV-25
#[test]
fn a_child_that_is_deleted_and_added_again_is_the_last() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let child = |id| Child::new(id, &journal).spec();
    let supervisor = up(Supervisor::one_for_one().child(child("a")).child(child("b")));
    supervisor.terminate_child("a").unwrap();
    supervisor.delete_child("a").unwrap();
    supervisor.start_child(child("a")).unwrap();
    assert_eq!(ids(&supervisor), ["b", "a"]);
    journal.clear();
    supervisor.stop().unwrap();
    assert_eq!(journal.all(), ["stop a", "stop b"]);
}

// scenario: SV-27
#[test]
fn start_child_of_server_whose_name_is_taken_returns_the_holder() {
    let _watchdog = watchdog();
    let name = unique("sv 27");
    let outsider = sleeper();
    process::register(name, &outsider).unwrap();
    let a = Child::new("a", &Journal::new());
    let supervisor = up(Supervisor::one_for_one());
    let error = supervisor.start_child(a.spec().name(ServerRef::named(name)));
    assert_eq!(error, Err(StartError::AlreadyStarted(outsider.pid())));
    assert_eq!((a.attempts(), supervisor.which_children().unwrap().len()), (0, 0));
    assert!(process::is_alive(&outsider));
    supervisor.stop().unwrap();
}

#[test]
fn a_worker_receives_no_messages() {
    let _watchdog = watchdog();
    let idle = || process::sleep(Duration::MAX);
    let named = Builder::new().name(unique("worker"));
    let children = [ChildSpec::worker("plain", idle), ChildSpec::worker_with(named, "named", idle)];
    let supervisor = up(Supervisor::one_for_one().children(children));
    for id in ["plain", "named"] {
        let worker = child_pid(&supervisor, id);
        assert_eq!(process::info(worker).unwrap().message_type, "no messages");
        assert_eq!(Address::<()>::from_pid(worker), None);
    }
    supervisor.stop().unwrap();
}

#[test]
fn the_id_is_the_label_of_a_process_without_name_and_label() {
    static KEYS: Registry<u8> = Registry::new();
    let _watchdog = watchdog();
    let child = |id: &'static str, process| {
        let spec = ChildSpec::receiver_with(process, id, |inbox: &mut Inbox<()>| drop(inbox.recv()));
        (id, spec)
    };
    let children = [
        child("plain", Builder::new()),
        child("with a key only", Builder::new().via(KEYS.key(1))),
        child("with a name", Builder::new().name(unique("no label"))),
        child("with a label", Builder::new().label("another text")),
    ];
    let supervisor = up(Supervisor::one_for_one().children(children.clone().map(|(_, spec)| spec)));
    let labels = children.map(|(id, _)| process::info(child_pid(&supervisor, id)).unwrap().label);
    let labels = labels.each_ref().map(Option::as_deref);
    assert_eq!(labels, [Some("plain"), Some("with a key only"), None, Some("another text")]);
    supervisor.stop().unwrap();
}

// scenario: SV-28
#[test]
fn an_unexpected_message_is_reported_and_does_no_harm() {
    let _watchdog = watchdog();
    support::capture();
    let name = unique("sv 28");
    let unrelated = sleeper();
    let watched = unrelated.pid();
    // A start function runs in the supervisor: this one sets a monitor there.
    let child = ChildSpec::new("a", move || {
        let _ = process::monitor(watched);
        Ok(process::spawn_receiver_link::<()>(|inbox| drop(inbox.recv()))?.pid())
    });
    let supervisor = up(Supervisor::one_for_one().name(SupervisorRef::named(name)).child(child));
    let before = supervisor.which_children().unwrap();
    kill(unrelated.pid(), ExitReason::Kill);
    process::exit(pid_of(&supervisor), "a signal from an unknown process");
    let reported = || logs().iter().any(|line| line.contains(name) && line.contains("unexpected"));
    support::eventually("the Down is reported", reported);
    assert_eq!(supervisor.which_children().unwrap(), before);
    supervisor.stop().unwrap();
}

// scenario: SV-30
#[test]
fn which_specs_survive_which_ends() {
    let _watchdog = watchdog();
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum End {
        Kill,
        Normal,
        Abnormal,
        Api,
    }
    let plans = [Supervisor::one_for_one, Supervisor::one_for_all, Supervisor::rest_for_one];
    for plan in plans {
        for restart in [Restart::Permanent, Restart::Transient, Restart::Temporary] {
            for end in [End::Kill, End::Normal, End::Abnormal, End::Api] {
                let a = Child::new("a", &Journal::new());
                let spec = || a.spec().restart(restart);
                let supervisor = up(plan().child(spec()));
                match end {
                    End::Kill => drop(a.kill()),
                    End::Normal => drop(a.end(ExitReason::Normal)),
                    End::Abnormal => drop(a.crash()),
                    End::Api => supervisor.terminate_child("a").unwrap(),
                }
                let again = supervisor.start_child(spec());
                let kept = supervisor.which_children().unwrap();
                let context = format!("{restart:?} {end:?}: {again:?}, {kept:?}");
                match (restart, end) {
                    (Restart::Temporary, _) => assert_eq!(again, Ok(a.pid()), "{context}"),
                    (_, End::Api) | (Restart::Transient, End::Normal) => {
                        assert_eq!(again, Err(StartError::AlreadyPresent), "{context}");
                    }
                    _ => assert_eq!(again, Err(StartError::AlreadyStarted(a.pid())), "{context}"),
                }
                supervisor.stop().unwrap();
            }
        }
    }
}

// scenario: SV-32
#[test]
fn a_taken_name_refuses_the_supervisor_and_leaves_no_message() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let name = unique("sv 32");
        let journal = Journal::new();
        let plan = || Supervisor::one_for_one().name(SupervisorRef::named(name));
        let first = plan().start_link().unwrap();
        let second = plan().child(Child::new("a", &journal).spec()).start_link();
        assert_eq!(second.map(drop), Err(StartError::AlreadyStarted(pid_of(&first))));
        assert_eq!(journal.all(), [""; 0]);
        first.stop().unwrap();
        assert_eq!(support::exit_event(inbox), (pid_of(&first), ExitReason::Normal));
        assert_eq!(inbox.try_recv(), None);
    });
}

// scenario: SV-33
#[test]
fn start_child_refuses_invalid_specs_and_the_supervisor_continues() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let a = Child::new("a", &journal);
    let supervisor = up(Supervisor::one_for_one().max_restarts(0, SECOND).child(a.spec()));
    let faulty = [
        (ChildSpec::worker("", || ()), SpecError::EmptyId),
        (a.spec().id("b").significant(true).into(), SpecError::SignificantPermanent("b".into())),
        (
            a.spec().id("c").restart(Restart::Temporary).significant(true).into(),
            SpecError::SignificantWithoutAutoShutdown("c".into()),
        ),
    ];
    for (spec, why) in faulty {
        assert_eq!(supervisor.start_child(spec), Err(StartError::BadSpec(why)));
    }
    // A plan of a supervisor is checked when it starts.
    let zero = Supervisor::one_for_one().max_restarts(1, Duration::ZERO);
    let refused = supervisor.start_child(zero.id("d"));
    assert_eq!(refused, Err(StartError::BadSpec(SpecError::ZeroPeriod)));
    assert_eq!(states(&supervisor), [("a".into(), "running")]);
    assert_eq!(a.starts(), 1);
    supervisor.stop().unwrap();
}

/// In Gleam a child's id is its position; here it is the type's name unless it is given one.
// scenario: SV-34
#[test]
fn the_same_spec_twice_needs_two_ids() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let spec = || Child::new("same", &journal).spec();
    let twice = Supervisor::one_for_one().child(spec()).child(spec());
    let error = twice.start().map(drop);
    assert_eq!(error, Err(StartError::BadSpec(SpecError::DuplicateId("same".into()))));
    assert_eq!(journal.all(), [""; 0]);
    let (first, second) = (Child::new("same", &journal), Child::new("same", &journal));
    let plan = Supervisor::one_for_one().child(first.spec().id(1)).child(second.spec().id(2));
    let supervisor = up(plan);
    let before = second.pid();
    first.crash();
    assert_eq!(child_pid(&supervisor, "1"), first.await_start(2));
    assert_eq!(child_pid(&supervisor, "2"), before);
    supervisor.stop().unwrap();
}

#[test]
fn a_spec_is_listed_with_its_defaults() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let a = Child::new("a", &journal);
    let plan = Supervisor::one_for_one().child(a.spec()).child(Supervisor::one_for_all().id("sub"));
    let supervisor = up(plan);
    let worker = supervisor.child_spec("a").unwrap();
    assert_eq!((worker.options().id.as_str(), worker.options().restart), ("a", Restart::Permanent));
    assert_eq!(worker.options().shutdown_or_default(), Shutdown::Timeout(Duration::from_secs(5)));
    assert_eq!((worker.options().child_type, worker.options().significant), (ChildType::Worker, false));
    let sub = supervisor.child_spec("sub").unwrap();
    assert_eq!(
        (sub.options().shutdown_or_default(), sub.options().child_type),
        (Shutdown::Infinity, ChildType::Supervisor)
    );
    let count = supervisor.count_children().unwrap();
    assert_eq!((count.specs, count.active, count.workers, count.supervisors), (2, 2, 1, 1));
    supervisor.stop().unwrap();
}

#[test]
fn a_typed_handle_of_a_child_that_is_added() {
    let _watchdog = watchdog();
    let supervisor = up(Supervisor::one_for_one());
    let a = Child::new("a", &Journal::new());
    let server = supervisor.start_server(a.spec()).unwrap();
    server.call(child::Ask).unwrap();
    assert_eq!(server.whereis(), Some(a.pid()));
    assert_eq!(supervisor.start_server(a.spec()).unwrap_err(), StartError::AlreadyStarted(a.pid()));
    let shy = Child::new("b", &Journal::new()).starts_as(|_| child::Begin::Ignore);
    assert_eq!(supervisor.start_server(shy.spec()).unwrap_err(), StartError::Ignored);
    supervisor.stop().unwrap();
}

#[test]
fn a_failed_start_names_the_child_also_behind_temporary_ones_that_ignored() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let [ignores, another] =
        ["ignores", "another"].map(|id| Child::new(id, &journal).starts_as(|_| Begin::Ignore));
    let up_first = Child::new("up", &journal);
    let fails = Child::new("fails", &journal).starts_as(|_| Begin::Fail("no disk"));
    let children = [ignores.temporary(), up_first.permanent(), another.temporary(), fails.permanent()];
    let error = Supervisor::one_for_one().children(children).start().unwrap_err();
    let StartError::Failed(reason) = error else { panic!("not {error:?}") };
    let child: &FailedToStartChild = reason.downcast_ref().expect("it carries the child");
    assert_eq!(child.id, "fails");
    assert_eq!(journal.all(), ["ignore ignores", "start up", "ignore another", "fail fails", "stop up"]);
}
