//! Dynamic supervisors: children started and terminated at run time, known by their pids, stopped all at
//! once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::child::{self, Actor, Begin, Child, kill, state_name, stubborn};
use crate::support::child_program::in_child_program;
use crate::support::{
    Gate, Journal, attached, capture, eventually, exit_reason_of, logs, sleeper, unique, watchdog,
};
use parking_lot::Mutex;
use rethread::StartError;
use rethread::agent::Agent;
use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::process::{Builder, Event, Inbox};
use rethread::supervisor::{ChildError, ChildInfo, SpecError};
use rethread::supervisor::{
    DynamicSupervisor, DynamicSupervisorRef, DynamicSupervisorSpec, Shutdown, Supervise,
};
use rethread::task::{TaskSupervisor, TaskSupervisorRef};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const OFTEN: u32 = u32::MAX;

type Dynamic = DynamicSupervisorRef;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[track_caller]
fn up(plan: DynamicSupervisorSpec) -> Dynamic {
    plan.start().unwrap_or_else(|error| panic!("the supervisor did not start: {error}"))
}

#[track_caller]
fn add(supervisor: &Dynamic, spec: impl Into<ChildSpec>) -> Pid {
    supervisor.start_child(spec).expect("it starts")
}

#[track_caller]
fn listed(supervisor: &Dynamic) -> Vec<(String, &'static str)> {
    let children = supervisor.which_children().expect("the supervisor is running");
    children.iter().map(|child| (child.id.to_string(), state_name(child.state))).collect()
}

/// Counts specs, active children, supervisors and workers.
#[track_caller]
fn counted(supervisor: &Dynamic) -> [usize; 4] {
    let count = supervisor.count_children().expect("the supervisor is running");
    [count.specs, count.active, count.supervisors, count.workers]
}

/// Returns a child that cannot start again while the flag is set.
fn breaks(id: &'static str, broken: &Arc<AtomicBool>) -> Child {
    let look = Arc::clone(broken);
    Child::new(id, &Journal::new()).starts_as(move |k| {
        if k > 1 && look.load(Ordering::SeqCst) { Begin::Fail("broken") } else { Begin::Up }
    })
}

fn broken() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(true))
}

#[track_caller]
fn await_restarting(supervisor: &Dynamic, count: usize) {
    eventually("the restarts fail", || {
        listed(supervisor).iter().filter(|(_, state)| *state == "restarting").count() == count
    });
}

// scenario: DY-02
#[test]
fn a_child_is_terminated_by_its_pid() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec());
    let a = Child::new("a", &Journal::new());
    let (pid, unrelated) = (add(&supervisor, a.permanent()), sleeper());
    assert_eq!(supervisor.terminate_child(&unrelated), Err(ChildError::NotFound));
    assert!(process::is_alive(&unrelated));
    assert_eq!(supervisor.terminate_child(pid), Ok(()));
    assert!(!process::is_alive(pid));
    assert_eq!(supervisor.terminate_child(pid), Err(ChildError::NotFound));
    assert_eq!((a.starts(), counted(&supervisor)), (1, [0, 0, 0, 0]));
    supervisor.stop().unwrap();
}

// scenario: DY-04
#[test]
fn a_child_is_restarted_with_its_own_arguments() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec());
    let started = Journal::new();
    // Erlang's simple_one_for_one: one function from arguments to a spec.
    let template = |argument: i32| {
        let started = started.clone();
        ChildSpec::receiver("worker", move |inbox: &mut Inbox<()>| {
            started.note(argument.to_string());
            inbox.recv();
        })
    };
    let pids = [7, 8, 9].map(|argument| {
        let pid = add(&supervisor, template(argument));
        started.wait_for(usize::try_from(argument - 6).unwrap());
        pid
    });
    kill(pids[1], "oops");
    assert_eq!(started.wait_for(4), ["7", "8", "9", "8"]);
    let now: Vec<Pid> = supervisor.which_children().unwrap().iter().filter_map(ChildInfo::pid).collect();
    assert_eq!(now[..2], [pids[0], pids[2]], "the oldest first");
    assert!(now.len() == 3 && now[2] > pids[2]);
    supervisor.stop().unwrap();
}

// scenario: DY-05
#[test]
fn ignored_child_is_not_kept() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec());
    let a = Child::new("a", &Journal::new()).starts_as(|_| Begin::Ignore);
    assert_eq!(supervisor.start_child(a.permanent()), Err(StartError::Ignored));
    assert_eq!(supervisor.start_server(a.spec()).unwrap_err(), StartError::Ignored);
    assert_eq!(counted(&supervisor), [0, 0, 0, 0]);
    supervisor.stop().unwrap();
}

#[test]
fn a_restart_that_is_ignored_forgets_the_child() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec());
    let a = Child::new("a", &Journal::new()).starts_as(|k| if k > 1 { Begin::Ignore } else { Begin::Up });
    kill(add(&supervisor, a.permanent()), "oops");
    assert_eq!(counted(&supervisor), [0, 0, 0, 0]);
    assert_eq!(a.attempts(), 2);
    supervisor.stop().unwrap();
}

/// Starts a supervisor whose only child fails in each restart. Returns the last pid of the child, too.
fn restarting_child() -> (DynamicSupervisorRef, Child, Pid) {
    let supervisor = up(DynamicSupervisor::child_spec().max_restarts(OFTEN, SECOND));
    let child = breaks("a", &broken());
    let pid = add(&supervisor, child.permanent());
    kill(pid, "oops");
    await_restarting(&supervisor, 1);
    (supervisor, child, pid)
}

// scenario: DY-07
#[test]
fn a_child_in_restarting_is_listed_and_terminated_by_its_last_pid() {
    let _watchdog = watchdog();
    let (supervisor, _a, pid) = restarting_child();
    assert_eq!(listed(&supervisor), [("a".into(), "restarting")]);
    assert_eq!(counted(&supervisor), [1, 0, 0, 1]);
    assert_eq!(supervisor.terminate_child(pid), Ok(()));
    assert_eq!(counted(&supervisor), [0, 0, 0, 0]);
    supervisor.stop().unwrap();
}

// scenario: DY-08
#[test]
fn children_in_restarting_count_but_are_not_active() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec().max_restarts(OFTEN, SECOND));
    let flag = broken();
    let children = ["a", "b", "c"].map(|id| breaks(id, &flag));
    let pids = children.each_ref().map(|child| add(&supervisor, child.permanent()));
    kill(pids[0], "oops");
    kill(pids[1], "oops");
    await_restarting(&supervisor, 2);
    assert_eq!(counted(&supervisor), [3, 1, 0, 3]);
    flag.store(false, Ordering::SeqCst);
    children[0].await_start(2);
    children[1].await_start(2);
    assert_eq!(counted(&supervisor), [3, 3, 0, 3]);
    supervisor.stop().unwrap();
}

// scenario: DY-10
#[test]
fn by_default_three_restarts_in_five_seconds_and_any_number_of_children() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec());
    let ended = supervisor.watch();
    let a = Child::new("a", &Journal::new());
    for k in 0..40 {
        add(&supervisor, Child::new("crowd", &Journal::new()).spec().id(k));
    }
    add(&supervisor, a.permanent());
    for k in 1..=3 {
        a.end("oops");
        a.await_start(k + 1);
    }
    assert_eq!(counted(&supervisor), [41, 41, 0, 41]);
    a.end("oops");
    assert_eq!(ended.wait(), ExitReason::Shutdown);
    assert_eq!(a.starts(), 4);
}

// scenario: DY-11
#[test]
fn invalid_plan_starts_no_child() {
    struct Module;
    impl Supervise for Module {
        type Args = Result<DynamicSupervisorSpec, InitError>;
        type Spec = DynamicSupervisorSpec;
        fn init(plan: Self::Args) -> Result<DynamicSupervisorSpec, InitError> {
            plan
        }
    }
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let bad = || DynamicSupervisor::child_spec().max_restarts(1, Duration::ZERO);
        let zero_period = StartError::BadSpec(SpecError::ZeroPeriod);
        assert_eq!(bad().start_link().unwrap_err(), zero_period);
        assert_eq!(bad().start().unwrap_err(), zero_period);
        assert_eq!(Module::start_link(Ok(bad())).unwrap_err(), zero_period);
        assert_eq!(Module::start_link(Err(InitError::Ignore)).unwrap_err(), StartError::Ignored);
        let refused = Module::start_link(Err(InitError::stop("no"))).unwrap_err();
        assert_eq!(refused, StartError::Failed("no".into()));
        let system = Supervisor::start_link([bad()], Strategy::OneForOne).unwrap_err();
        assert!(matches!(system, StartError::Failed(_)), "{system}");
        assert_eq!(inbox.try_recv(), None);
        let good = Module::start_link(Ok(DynamicSupervisor::child_spec())).unwrap();
        good.stop().unwrap();
    });
}

// scenario: DY-14
#[test]
fn no_more_children_than_max_children() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec().max_children(0));
    let a = Child::new("a", &Journal::new());
    assert_eq!(supervisor.start_child(a.permanent()), Err(StartError::MaxChildren { limit: 0 }));
    assert_eq!((a.attempts(), counted(&supervisor)), (0, [0, 0, 0, 0]));
    supervisor.stop().unwrap();
}

// scenario: DY-15
#[test]
fn a_child_in_restarting_counts_for_max_children() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec().max_children(1).max_restarts(OFTEN, SECOND));
    let (a, b) = (breaks("a", &broken()), Child::new("b", &Journal::new()));
    kill(add(&supervisor, a.permanent()), "oops");
    await_restarting(&supervisor, 1);
    assert_eq!(supervisor.start_child(b.permanent()), Err(StartError::MaxChildren { limit: 1 }));
    supervisor.stop().unwrap();
}

// scenario: DY-16
#[test]
fn a_place_becomes_free_with_the_end_of_a_child() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec().max_children(1));
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|id| Child::new(id, &Journal::new()));
    let pid = add(&supervisor, a.permanent());
    supervisor.terminate_child(pid).unwrap();
    add(&supervisor, b.temporary());
    b.crash();
    add(&supervisor, c.transient());
    c.end(ExitReason::Normal);
    let failing = Child::new("x", &Journal::new()).starts_as(|_| Begin::Fail("no"));
    assert_eq!(supervisor.start_child(failing.permanent()), Err(StartError::Failed("no".into())));
    add(&supervisor, d.permanent());
    assert_eq!(listed(&supervisor), [("d".into(), "running")]);
    supervisor.stop().unwrap();
}

// scenario: DY-17
#[test]
fn a_restart_gets_the_supervisors_own_argument_again() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec());
    let got = Journal::new();
    let (extra, note) = (Arc::new("extra"), got.clone());
    let with_extra = move |own: &'static str| {
        let (extra, note) = (Arc::clone(&extra), note.clone());
        ChildSpec::receiver("a", move |inbox: &mut Inbox<()>| {
            note.note(format!("{extra} {own}"));
            inbox.recv();
        })
        .restart(Restart::Transient)
    };
    let pid = add(&supervisor, with_extra("own"));
    got.wait_for(1); // otherwise it might exit before its first step
    kill(pid, "oops");
    assert_eq!(got.wait_for(2), ["extra own", "extra own"]);
    supervisor.stop().unwrap();
}

// scenario: DY-19
#[test]
fn each_try_to_restart_counts() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec().max_restarts(10, MINUTE));
    let ended = supervisor.watch();
    let a = breaks("a", &broken());
    let bystander = Child::new("b", &Journal::new());
    add(&supervisor, bystander.permanent());
    kill(add(&supervisor, a.permanent()), "oops");
    assert_eq!(ended.wait(), ExitReason::Shutdown);
    assert_eq!(a.attempts(), 11);
    assert!(!process::is_alive(bystander.pid()));
}

// scenario: DY-21
#[test]
fn termination_is_by_the_childs_own_shutdown() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec());
    let cases = [
        (Shutdown::BrutalKill, ExitReason::Killed),
        (Shutdown::Timeout(SECOND), ExitReason::Shutdown),
        (Shutdown::Infinity, ExitReason::Shutdown),
    ];
    for (shutdown, reason) in cases {
        let pid = add(&supervisor, Child::new("a", &Journal::new()).spec().shutdown(shutdown));
        let watch = process::watch(pid);
        assert_eq!(supervisor.terminate_child(pid), Ok(()));
        assert!(!process::is_alive(pid), "{shutdown:?}: it has exited when the call returns");
        assert_eq!(watch.wait(), reason, "{shutdown:?}");
        assert_eq!(supervisor.terminate_child(pid), Err(ChildError::NotFound));
    }
    let pid = add(&supervisor, stubborn("b").shutdown(Shutdown::Timeout(ms(50))));
    let watch = process::watch(pid);
    supervisor.terminate_child(pid).unwrap();
    assert_eq!(watch.wait(), ExitReason::Killed);
    supervisor.stop().unwrap();
}

// scenario: DY-22
#[test]
fn a_child_in_restarting_is_terminated_once() {
    let _watchdog = watchdog();
    let (supervisor, a, pid) = restarting_child();
    assert_eq!(supervisor.terminate_child(pid), Ok(()));
    assert_eq!(supervisor.terminate_child(pid), Err(ChildError::NotFound));
    assert_eq!(counted(&supervisor), [0, 0, 0, 0]);
    let tries = a.attempts();
    // It has handled its own earlier messages by now.
    assert_eq!(counted(&supervisor), [0, 0, 0, 0]);
    assert_eq!(a.attempts(), tries);
    supervisor.stop().unwrap();
}

// scenario: DY-23
#[test]
fn ids_need_not_differ() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec());
    let (a, b) = (Child::new("same", &Journal::new()), Child::new("same", &Journal::new()));
    let pids = [add(&supervisor, a.permanent()), add(&supervisor, b.permanent())];
    assert!(pids[0] != pids[1] && pids.iter().all(|pid| process::is_alive(*pid)));
    assert_eq!(counted(&supervisor), [2, 2, 0, 2]);
    supervisor.stop().unwrap();
}

// scenario: DY-25
#[test]
fn child_that_exceeds_its_shutdown_timeout_is_killed() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec());
    // Time enough for the well-behaved ones, on a loaded machine too.
    let soon = |spec: ChildSpec| spec.shutdown(Shutdown::Timeout(ms(500)));
    let sleeper = || ChildSpec::worker("sleeper", || process::sleep(MINUTE));
    let pids =
        [soon(sleeper()), soon(stubborn("stubborn")), soon(sleeper())].map(|spec| add(&supervisor, spec));
    let watches = pids.map(process::watch);
    supervisor.stop().unwrap();
    let reasons = watches.each_ref().map(process::Watch::wait);
    assert_eq!(reasons, [ExitReason::Shutdown, ExitReason::Killed, ExitReason::Shutdown]);
}

// scenario: SH-13
#[test]
fn children_stop_at_the_same_time() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec());
    // Each exits only when all three have been asked to shut down.
    let notified = Arc::new((parking_lot::Mutex::new(0), parking_lot::Condvar::new()));
    for id in ["a", "b", "c"] {
        let notified = Arc::clone(&notified);
        let child = Child::new(id, &Journal::new()).traps().ends_by(move |reason| {
            assert_eq!(*reason, ExitReason::Shutdown);
            *notified.0.lock() += 1;
            notified.1.notify_all();
            let mut count = notified.0.lock();
            while *count < 3 {
                notified.1.wait(&mut count);
            }
        });
        add(&supervisor, child.spec().shutdown(Shutdown::Infinity));
    }
    supervisor.stop().unwrap();
    assert_eq!(*notified.0.lock(), 3);
}

// scenario: SH-14
#[test]
fn the_times_of_all_children_run_at_once() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec());
    let limit = ms(400);
    let pids: Vec<Pid> =
        (0..20).map(|_| add(&supervisor, stubborn("stubborn").shutdown(Shutdown::Timeout(limit)))).collect();
    let watches: Vec<process::Watch> = pids.iter().map(process_watch).collect();
    let began = Instant::now();
    supervisor.stop().unwrap();
    let took = began.elapsed();
    // One after the other would take 8 s.
    assert!(took >= limit && took < limit * 10, "{took:?}");
    assert!(watches.iter().all(|watch| watch.wait() == ExitReason::Killed));
}

fn process_watch(pid: &Pid) -> process::Watch {
    process::watch(*pid)
}

#[test]
fn each_child_has_its_own_shutdown_timeout() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec());
    let slow = Gate::new();
    let opened = slow.clone();
    let patient = Child::new("patient", &Journal::new()).traps().ends_by(move |_| opened.pass());
    let short = stubborn("short").shutdown(Shutdown::Timeout(ms(20)));
    let waits_for_short = {
        let pid = add(&supervisor, short);
        let slow = slow.clone();
        process::spawn(move || {
            assert_eq!(process::watch(pid).wait(), ExitReason::Killed);
            slow.open();
        })
        .unwrap()
    };
    // It exits only when the impatient one has been killed.
    add(&supervisor, patient.spec().shutdown(Shutdown::Timeout(MINUTE * 60)));
    supervisor.stop().unwrap();
    process::watch(waits_for_short).wait();
    assert!(slow.is_open());
}

// scenario: SH-15
#[test]
fn ten_children_are_killed() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec());
    let watches: Vec<process::Watch> = (0..10)
        .map(|_| process::watch(add(&supervisor, stubborn("stubborn").shutdown(Shutdown::BrutalKill))))
        .collect();
    supervisor.stop().unwrap();
    assert!(
        !watches.iter().any(|watch| watch.pid().is_none_or(process::is_alive)),
        "they have exited when the call returns"
    );
    assert!(watches.iter().all(|watch| watch.wait() == ExitReason::Killed));
}

// scenario: AU-10
#[test]
fn significant_child_is_refused_before_the_supervisor_is_called() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let significant = || a.spec().restart(Restart::Transient).significant(true);
    let refused = Err(StartError::BadSpec(SpecError::SignificantWithoutAutoShutdown("a".into())));
    let supervisor = up(DynamicSupervisor::child_spec());
    assert_eq!(supervisor.start_child(significant()), refused);
    assert_eq!(a.attempts(), 0);
    supervisor.stop().unwrap();
    assert_eq!(supervisor.start_child(significant()), refused, "although the supervisor has exited");
}

#[test]
fn restart_types_are_those_of_any_supervisor() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec().max_restarts(OFTEN, SECOND));
    let ends = [ExitReason::Normal, ExitReason::Shutdown, ExitReason::shutdown_with(1), "oops".into()];
    for reason in ends {
        let again = [true, reason.is_abnormal(), false];
        for (restart, again) in
            [Restart::Permanent, Restart::Transient, Restart::Temporary].into_iter().zip(again)
        {
            let a = Child::new("a", &Journal::new());
            let pid = add(&supervisor, a.spec().restart(restart));
            a.end(reason.clone());
            let children = supervisor.which_children().unwrap();
            assert_eq!(children.len(), usize::from(again), "{restart:?} {reason}");
            assert_eq!(a.starts(), 1 + usize::from(again), "{restart:?} {reason}");
            for child in children {
                assert_ne!(child.pid(), Some(pid));
                supervisor.terminate_child(child.pid().unwrap()).unwrap();
            }
        }
    }
    supervisor.stop().unwrap();
}

#[test]
fn a_failed_start_leaves_the_supervisor_unharmed() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec());
    let failing = [
        ChildSpec::new("raises", || panic!("no")),
        ChildSpec::new("exits", || process::exit_with("no")),
        ChildSpec::new("throws", || process::throw(1)),
        ChildSpec::new("fails", || Err(StartError::Timeout { after: MINUTE })),
        Child::new("panics", &Journal::new()).starts_as(|_| Begin::Panic("no")).permanent(),
    ];
    for spec in failing {
        let error = supervisor.start_child(spec).unwrap_err();
        assert!(matches!(error, StartError::Failed(_) | StartError::Timeout { .. }), "{error}");
    }
    let a = Child::new("a", &Journal::new());
    add(&supervisor, a.permanent());
    assert_eq!(listed(&supervisor), [("a".into(), "running")]);
    supervisor.stop().unwrap();
    let gone = supervisor.start_child(a.permanent()).unwrap_err();
    assert_eq!(gone, StartError::NoSupervisor(CallErrorOf(&supervisor).no_proc()));
    assert!(matches!(
        supervisor.terminate_child(a.pid()),
        Err(ChildError::NoSupervisor(CallError::NoProc { .. }))
    ));
    assert!(supervisor.which_children().is_err() && supervisor.count_children().is_err());
}

struct CallErrorOf<'a>(&'a Dynamic);

impl CallErrorOf<'_> {
    fn no_proc(&self) -> CallError {
        CallError::NoProc { server: self.0.to_string().into() }
    }
}

#[test]
fn already_started_is_handed_on() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec());
    let name: ServerRef<Actor> = ServerRef::named(unique("dynamic.taken"));
    let a = Child::new("a", &Journal::new());
    let pid = add(&supervisor, a.spec().name(name.clone()));
    assert_eq!(supervisor.start_child(a.spec().name(name)), Err(StartError::AlreadyStarted(pid)));
    assert_eq!(counted(&supervisor), [1, 1, 0, 1]);
    supervisor.stop().unwrap();
}

#[test]
fn a_typed_handle_of_a_new_child() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec());
    let a = Child::new("a", &Journal::new());
    let server = supervisor.start_server(a.spec()).unwrap();
    server.call(child::Ask).unwrap();
    assert_eq!(server.whereis(), Some(a.pid()));
    let other: SupervisorRef = SupervisorRef::from_pid(a.pid());
    assert!(matches!(other.count_children(), Err(CallError::WrongType { .. })));
    assert_eq!(ServerRef::<Actor>::from_pid(a.pid()).stop(), Ok(()));
    assert!(
        matches!(server.call(child::Ask), Err(CallError::NoProc { .. })),
        "the old process, not its successor"
    );
    supervisor.stop().unwrap();
}

#[test]
fn supervisor_exits_with_its_parent_and_stops_its_children() {
    let (notified, journal) = (Gate::new(), Journal::new());
    let child = Child::new("a", &journal);
    let (start, started_gate) = (child.clone(), notified.clone());
    let reason = exit_reason_of(move |_: &mut Inbox<()>| {
        let supervisor = DynamicSupervisor::start_link().unwrap();
        add(&supervisor, start.permanent());
        started_gate.open();
        process::exit_with("oops")
    });
    assert_eq!(reason, "oops".into());
    assert!(notified.is_open());
    assert_eq!(process::watch(child.pid()).wait_timeout(MINUTE).map(|_| ()), Some(()));
    assert_eq!(journal.all(), ["start a", "stop a"]);
}

#[test]
fn exit_signals_of_strangers_are_no_concern_of_its() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec());
    let a = Child::new("a", &Journal::new());
    add(&supervisor, a.permanent());
    let pid = supervisor.whereis().unwrap();
    for reason in [ExitReason::Shutdown, ExitReason::Normal, "oops".into()] {
        process::exit(pid, reason);
    }
    assert_eq!(counted(&supervisor), [1, 1, 0, 1]);
    let ends = [supervisor.watch(), process::watch(a.pid())];
    process::exit(pid, ExitReason::Kill);
    assert_eq!(ends.each_ref().map(process::Watch::wait), [ExitReason::Killed, ExitReason::Killed]);
}

#[test]
fn a_child_that_was_stopped_by_hand_is_restarted_before_it_is_terminated() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec());
    let a = Child::new("a", &Journal::new());
    let pid = add(&supervisor, a.permanent());
    kill(pid, "oops"); // its exit is in the supervisor's mailbox when this returns
    assert_eq!(supervisor.terminate_child(pid), Err(ChildError::NotFound));
    assert_eq!(a.starts(), 2);
    supervisor.stop().unwrap();
}

#[test]
fn stop_with_another_reason_still_shuts_the_children_down() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec());
    let a = Child::new("a", &Journal::new());
    let watch = process::watch(add(&supervisor, a.permanent()));
    supervisor.stop_timeout("enough", Duration::MAX).unwrap();
    assert_eq!(watch.wait(), ExitReason::Shutdown);
}

#[test]
fn child_that_calls_the_supervisor_stopping_it_is_refused() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec());
    let answers = Journal::new();
    // Two children, so that the supervisor waits for another than the caller.
    for id in ["a", "b"] {
        let (asked, answers) = (supervisor.clone(), answers.clone());
        let child = Child::new(id, &Journal::new()).traps().ends_by(move |_| {
            answers.note(format!("{:?}", asked.count_children().map_err(|error| error.to_string())));
        });
        add(&supervisor, child.spec().shutdown(Shutdown::Infinity));
    }
    supervisor.stop().unwrap();
    let all = answers.wait_for(2);
    assert!(all.iter().all(|answer| answer.contains("deadlock")), "{all:?}");
}

#[test]
fn call_of_grandchild_is_refused_and_call_of_unrelated_process_fails_with_the_exit() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec());
    let answers = Journal::new();
    let (asked, note) = (supervisor.clone(), answers.clone());
    let grandchild = Child::new("grandchild", &Journal::new()).traps().ends_by(move |_| {
        note.note(format!("{:?}", asked.count_children().map_err(|error| error.to_string())));
    });
    let inner = Supervisor::one_for_one().child(grandchild.spec().shutdown(Shutdown::Infinity));
    add(&supervisor, inner);
    let hold = Gate::new();
    let held = hold.clone();
    let slow = Child::new("slow", &Journal::new()).traps().ends_by(move |_| held.pass());
    add(&supervisor, slow.spec().shutdown(Shutdown::Infinity));
    std::thread::scope(|scope| {
        let stopper = scope.spawn(|| supervisor.stop());
        assert!(answers.wait_for(1)[0].contains("deadlock"));
        let (asked, note) = (supervisor.clone(), answers.clone());
        process::spawn(move || {
            note.note("asks");
            note.note(format!("{:?}", asked.count_children().map_err(|error| error.to_string())));
        })
        .unwrap();
        answers.wait_for(2);
        hold.open();
        stopper.join().unwrap().unwrap();
    });
    let answer = answers.wait_for(3).remove(2);
    assert!(
        answer.contains("the server exited before it replied") || answer.contains("no such process"),
        "{answer}"
    );
}

#[test]
fn leftovers_of_stopped_child_are_reported() {
    let _watchdog = watchdog();
    capture();
    let supervisor = up(DynamicSupervisor::child_spec());
    let label = unique("odd");
    let child = Child::new(label, &Journal::new()).traps().ends_by(|_| process::exit_with("odd end"));
    add(&supervisor, child.spec());
    supervisor.stop().unwrap();
    let found = logs()
        .iter()
        .any(|line| line.contains(label) && line.contains("did not shut down as asked: odd end"));
    assert!(found, "{:#?}", logs());
}

#[test]
fn a_zombie_too_many_and_it_gives_up() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec().max_zombies(0).max_restarts(OFTEN, SECOND));
    let ended = supervisor.watch();
    let (gate, stuck) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
    let (held, count) = (gate.clone(), Arc::clone(&stuck));
    let builder = Builder::new().label("stuck").kill_grace(ms(1));
    let pid = add(
        &supervisor,
        ChildSpec::receiver_with::<()>(builder, "stuck", move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            held.pass();
        }),
    );
    eventually("it is stuck", || stuck.load(Ordering::SeqCst) == 1);
    process::exit(pid, ExitReason::Kill);
    assert_eq!(ended.wait(), ExitReason::Shutdown);
    gate.open();
    assert_eq!(stuck.load(Ordering::SeqCst), 1);
}

#[test]
fn two_beside_each_other_and_one_under_a_name() {
    let _watchdog = watchdog();
    let name = Dynamic::named(unique("dynamic.named"));
    let system = Supervisor::one_for_one()
        .child(DynamicSupervisor::child_spec().name(name.clone()))
        .child(DynamicSupervisor::child_spec().id("second"))
        .start()
        .unwrap();
    let a = Child::new("a", &Journal::new());
    add(&name, a.permanent());
    let first = name.whereis().unwrap();
    kill(first, ExitReason::Kill);
    process::watch(a.pid()).wait();
    let second = name.whereis_timeout(MINUTE).unwrap();
    assert_ne!(first, second);
    assert_eq!(counted(&name), [0, 0, 0, 0], "dynamic children are not part of a restart");
    let types: Vec<_> = system.which_children().unwrap().iter().map(|child| child.child_type).collect();
    assert_eq!(types, [rethread::supervisor::ChildType::Supervisor; 2]);
    system.stop().unwrap();
}

#[test]
fn supervisors_with_names_need_no_ids() {
    let _watchdog = watchdog();
    let names = [(); 6].map(|()| unique("named"));
    let [a, b, c, d, e, f] = names;
    let system = Supervisor::one_for_one()
        .child(DynamicSupervisor::child_spec().name(DynamicSupervisorRef::named(a)))
        .child(DynamicSupervisor::child_spec().name(DynamicSupervisorRef::named(b)))
        .child(TaskSupervisor::child_spec().name(TaskSupervisorRef::named(c)))
        .child(TaskSupervisor::child_spec().name(TaskSupervisorRef::named(d)))
        .child(Supervisor::one_for_one().name(SupervisorRef::named(e)))
        .child(Supervisor::one_for_all().name(SupervisorRef::named(f)))
        .start()
        .unwrap();
    let children = system.which_children().unwrap();
    assert_eq!(children.iter().map(|child| child.id.as_str()).collect::<Vec<_>>(), names);
    system.stop().unwrap();
}

#[test]
fn a_supervisor_as_a_dynamic_child_counts_as_one() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec());
    add(&supervisor, Supervisor::one_for_one());
    add(&supervisor, DynamicSupervisor::child_spec());
    add(&supervisor, stubborn("worker").shutdown(Shutdown::BrutalKill));
    assert_eq!(counted(&supervisor), [3, 3, 2, 1]);
    supervisor.stop().unwrap();
}

#[test]
fn many_children_start_and_exit_concurrently() {
    in_child_program(|| {
        let _watchdog = watchdog();
        process::configure(|settings| {
            settings.kill_grace = MINUTE;
            settings.exit_timeout = MINUTE;
        });
        let supervisor = up(DynamicSupervisor::child_spec().max_restarts(OFTEN, SECOND));
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let supervisor = &supervisor;
                scope.spawn(move || {
                    for round in 0..25 {
                        let pid = add(supervisor, Child::new("a", &Journal::new()).temporary());
                        match (thread + round) % 3 {
                            0 => supervisor.terminate_child(pid).unwrap(),
                            1 => drop(kill(pid, "oops")),
                            _ => drop(kill(pid, ExitReason::Kill)),
                        }
                    }
                });
            }
        });
        assert_eq!(counted(&supervisor), [0, 0, 0, 0]);
        supervisor.stop().unwrap();
    });
}

#[test]
fn a_child_that_unlinked_itself_is_stopped_all_the_same() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec());
    let parent = supervisor.whereis().unwrap();
    let unlinked = Gate::new();
    let done = unlinked.clone();
    let pid = add(
        &supervisor,
        ChildSpec::receiver("a", move |inbox: &mut Inbox<()>| {
            process::unlink(parent);
            done.open();
            while !matches!(inbox.recv(), Event::Exit { .. }) {}
        }),
    );
    unlinked.pass();
    let watch = process::watch(pid);
    supervisor.stop().unwrap();
    assert!(!process::is_alive(pid));
    assert_eq!(watch.wait(), ExitReason::Shutdown);
}

#[test]
fn call_of_exiting_process_returns_exiting_and_not_no_supervisor() {
    struct Starts(Dynamic, SupervisorRef, Journal);
    impl Drop for Starts {
        fn drop(&mut self) {
            let idle = || ChildSpec::worker("idle", || ());
            self.2.note(format!("{:?}", self.0.start_child(idle())));
            self.2.note(format!("{:?}", self.1.start_child(idle())));
        }
    }
    let (dynamic, fixed) = (up(DynamicSupervisor::child_spec()), Supervisor::one_for_one().start().unwrap());
    let answers = Journal::new();
    let starts = Starts(dynamic.clone(), fixed.clone(), answers.clone());
    exit_reason_of(move |_: &mut Inbox<()>| {
        let _starts = starts;
        process::exit_with("enough");
    });
    assert_eq!(answers.all(), ["Err(Exiting)", "Err(Exiting)"]);
    dynamic.stop().unwrap();
    fixed.stop().unwrap();
}

#[test]
fn call_in_hook_of_child_does_not_change_the_child_the_supervisor_waits_for() {
    let _watchdog = watchdog();
    let (supervisor, other) = (up(DynamicSupervisor::child_spec()), up(DynamicSupervisor::child_spec()));
    let (hooked, called) = (Gate::new(), other.clone());
    let started_gate = hooked.clone();
    let hook = ChildSpec::worker("hooked", move || {
        let called = called.clone();
        // The hook runs on the thread that sends the signal: that of the supervisor.
        let _hook = process::on_exit_request(move || drop(called.count_children()));
        started_gate.open();
        process::sleep(MINUTE);
    });
    add(&supervisor, hook);
    hooked.pass();
    let (asked, answers) = (supervisor.clone(), Journal::new());
    let note = answers.clone();
    let asks = Child::new("asks", &Journal::new()).traps().ends_by(move |_| {
        note.note(format!("{:?}", asked.count_children().map_err(|error| error.to_string())));
    });
    add(&supervisor, asks.spec().shutdown(Shutdown::Infinity));
    supervisor.stop().unwrap();
    assert!(answers.wait_for(1)[0].contains("deadlock"), "{:?}", answers.all());
    other.stop().unwrap();
}

#[test]
fn call_of_unrelated_process_is_refused_while_a_child_waits_for_it() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec());
    let (asked, answers) = (supervisor.clone(), Journal::new());
    let note = answers.clone();
    let unrelated = Agent::start(|| ()).unwrap();
    let of = unrelated.clone();
    let child = Child::new("asks", &Journal::new()).traps().ends_by(move |_| {
        let (asked, note) = (asked.clone(), note.clone());
        let ask = move |(): &mut ()| {
            note.note(format!("{:?}", asked.count_children().map_err(|error| error.to_string())));
        };
        drop(of.get_and_update_timeout(Duration::MAX, ask));
    });
    add(&supervisor, child.spec().shutdown(Shutdown::Infinity));
    supervisor.stop().unwrap();
    assert!(answers.wait_for(1)[0].contains("deadlock"), "{:?}", answers.all());
    unrelated.stop().unwrap();
}

#[test]
fn child_with_the_shorter_timeout_is_killed_first() {
    let _watchdog = watchdog();
    let supervisor = up(DynamicSupervisor::child_spec());
    let journal = Journal::new();
    for _ in 0..8 {
        let (short, note, begun) = (Arc::new(Mutex::new(None)), journal.clone(), Gate::new());
        let (waits_for, started_gate) = (Arc::clone(&short), begun.clone());
        let patient = ChildSpec::new("patient", move || {
            let (waits_for, note, started_gate) =
                (Arc::clone(&waits_for), note.clone(), started_gate.clone());
            let child = process::spawn_receiver_link::<()>(move |inbox| {
                process::trap_exit(true);
                started_gate.open();
                inbox.recv();
                let other: Pid = waits_for.lock().expect("it was started");
                note.note(process::watch(other).wait().to_string());
            })?;
            Ok(child.pid())
        });
        add(&supervisor, patient.shutdown(Shutdown::Timeout(20 * SECOND)));
        begun.pass();
        let pid = add(&supervisor, stubborn("short").shutdown(Shutdown::Timeout(ms(20))));
        *short.lock() = Some(pid);
    }
    let began = Instant::now();
    supervisor.stop().unwrap();
    assert!(began.elapsed() < 10 * SECOND);
    assert_eq!(journal.all().len(), 8, "all had the time they needed");
}
