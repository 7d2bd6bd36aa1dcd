//! When a child that exited is restarted, alone: restart types, restarts that fail, requests meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::child::{self, Begin, Child, child_pid, kill, pid_of, states, up};
use crate::support::{Gate, Journal, attached, eventually, exit_event, unique, watchdog};
use rethread::StartError;
use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::process::Inbox;
use rethread::supervisor::{ChildError, ChildState};

const SECOND: Duration = Duration::from_secs(1);
const OFTEN: u32 = u32::MAX;

/// Starts a supervisor with `a` and a bystander, and enough budget.
fn with_bystander(a: impl Into<ChildSpec>) -> (SupervisorRef, Child) {
    let bystander = Child::new("bystander", &Journal::new());
    (up(Supervisor::one_for_one().child(a).child(bystander.spec())), bystander)
}

/// Returns a child that cannot start again until the returned flag is cleared.
fn breaks(journal: &Journal) -> (Child, Arc<AtomicBool>) {
    let broken = Arc::new(AtomicBool::new(true));
    let look = Arc::clone(&broken);
    let a = Child::new("a", journal).starts_as(move |k| {
        if k > 1 && look.load(Ordering::SeqCst) { Begin::Fail("broken") } else { Begin::Up }
    });
    (a, broken)
}

// scenario: OO-02
#[test]
fn a_permanent_child_is_restarted_after_a_shutdown_and_after_a_normal_end() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let (supervisor, bystander) = with_bystander(a.permanent());
    let untouched = bystander.pid();
    for reason in [ExitReason::Shutdown, ExitReason::shutdown_with(1), ExitReason::Normal] {
        let before = a.pid();
        assert_eq!(a.end(reason.clone()), reason);
        assert_ne!(child_pid(&supervisor, "a"), before, "{reason}");
    }
    assert_eq!(child_pid(&supervisor, "bystander"), untouched);
    supervisor.stop().unwrap();
}

// scenario: OO-03
#[test]
fn a_permanent_child_is_restarted_after_a_crash() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let (supervisor, bystander) = with_bystander(a.permanent());
    let (before, untouched) = (a.pid(), bystander.pid());
    assert!(matches!(a.crash(), ExitReason::Panic(_)));
    assert_ne!(child_pid(&supervisor, "a"), before);
    assert_eq!(child_pid(&supervisor, "bystander"), untouched);
    supervisor.stop().unwrap();
}

// scenario: OO-05
#[test]
fn a_transient_child_is_not_restarted_after_a_shutdown() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let supervisor = up(Supervisor::one_for_one().child(a.transient()));
    for (round, reason) in
        [ExitReason::Shutdown, ExitReason::shutdown_with("i"), ExitReason::Normal].into_iter().enumerate()
    {
        a.end(reason);
        assert_eq!(states(&supervisor), [("a".into(), "stopped")]);
        assert_eq!(supervisor.restart_child("a"), Ok(a.await_start(round + 2)));
    }
    supervisor.stop().unwrap();
}

// scenario: OO-06
#[test]
fn a_transient_child_is_restarted_after_a_crash() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let supervisor = up(Supervisor::one_for_one().child(a.transient()));
    a.crash();
    assert_eq!(child_pid(&supervisor, "a"), a.await_start(2));
    supervisor.stop().unwrap();
}

// scenario: OO-07
#[test]
fn a_transient_child_is_restarted_after_a_kill() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let supervisor = up(Supervisor::one_for_one().child(a.transient()));
    assert_eq!(a.kill(), ExitReason::Killed);
    assert_eq!(child_pid(&supervisor, "a"), a.await_start(2));
    supervisor.stop().unwrap();
}

// scenario: OO-08
#[test]
fn a_temporary_child_is_never_restarted_and_its_spec_is_gone() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let supervisor = up(Supervisor::one_for_one().max_restarts(0, SECOND).child(a.temporary()));
    for reason in [ExitReason::Normal, ExitReason::Shutdown, "crash".into()] {
        a.end(reason);
        assert_eq!(supervisor.which_children().unwrap(), []);
        assert_eq!(supervisor.restart_child("a"), Err(ChildError::NotFound));
        assert_eq!(supervisor.start_child(a.temporary()), Ok(a.pid()));
    }
    supervisor.stop().unwrap();
}

// scenario: OO-11
#[test]
fn a_restart_that_fails_is_tried_again_until_it_works() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let a = Child::new("a", &journal).starts_as(|k| match k {
        2 => Begin::Fail("not yet"),
        3 => Begin::Panic("not yet either"),
        _ => Begin::Up,
    });
    let b = Child::new("b", &journal);
    let supervisor =
        up(Supervisor::one_for_one().max_restarts(3, 9 * SECOND).child(a.spec()).child(b.spec()));
    let untouched = b.pid();
    a.crash();
    let second = a.await_start(2);
    assert_eq!((child_pid(&supervisor, "a"), child_pid(&supervisor, "b")), (second, untouched));
    assert_eq!(journal.all(), ["start a", "start b", "stop a", "fail a", "fail a", "start a"]);
    supervisor.stop().unwrap();
}

// scenario: OO-12
#[test]
fn a_restart_that_asks_to_be_ignored_is_not_tried_again() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let a = Child::new("a", &journal).starts_as(|k| if k == 2 { Begin::Ignore } else { Begin::Up });
    let supervisor = up(Supervisor::one_for_one().max_restarts(1, 9 * SECOND).child(a.spec()));
    a.crash();
    assert_eq!(states(&supervisor), [("a".into(), "stopped")]);
    assert_eq!(supervisor.restart_child("a"), Ok(a.await_start(2)));
    assert_eq!(journal.all(), ["start a", "stop a", "ignore a", "start a"]);
    supervisor.stop().unwrap();
}

// scenario: OO-14
#[test]
fn a_supervisor_answers_while_a_restart_keeps_failing() {
    let _watchdog = watchdog();
    let (a, broken) = breaks(&Journal::new());
    let supervisor = up(Supervisor::one_for_one().max_restarts(OFTEN, SECOND).child(a.spec()));
    a.crash();
    eventually("a restart failed", || a.attempts() > 2);
    assert_eq!(supervisor.start_child(a.spec()), Err(StartError::AlreadyPresent));
    assert_eq!(supervisor.restart_child("a"), Err(ChildError::Restarting));
    assert_eq!(supervisor.delete_child("a"), Err(ChildError::Restarting));
    let listed = supervisor.which_children().unwrap();
    assert_eq!((listed[0].state, listed[0].pid()), (ChildState::Restarting, None));
    let count = supervisor.count_children().unwrap();
    assert_eq!((count.specs, count.active, count.workers), (1, 0, 1));
    assert_eq!(supervisor.child_spec("a").unwrap().options().id, "a");
    broken.store(false, Ordering::SeqCst);
    let second = a.await_start(2);
    assert_eq!(child_pid(&supervisor, "a"), second);
    supervisor.stop().unwrap();
}

// scenario: OO-14
#[test]
fn a_supervisor_can_be_stopped_while_a_restart_keeps_failing() {
    let _watchdog = watchdog();
    let (a, _broken) = breaks(&Journal::new());
    let bystander = Child::new("bystander", &Journal::new());
    let plan = Supervisor::one_for_one().max_restarts(OFTEN, SECOND).child(a.spec()).child(bystander.spec());
    let supervisor = up(plan);
    a.crash();
    eventually("a restart failed", || a.attempts() > 2);
    supervisor.stop().unwrap();
    assert!(!process::is_alive(bystander.pid()));
    let attempts = a.attempts();
    assert_eq!(
        supervisor.which_children().map(drop),
        Err(rethread::gen_server::CallError::NoProc { server: supervisor.to_string().into() })
    );
    assert_eq!(a.attempts(), attempts);
}

// scenario: OO-15
#[test]
fn terminate_child_ends_the_loop_of_a_failing_restart() {
    let _watchdog = watchdog();
    let (a, broken) = breaks(&Journal::new());
    let supervisor = up(Supervisor::one_for_one().max_restarts(OFTEN, SECOND).child(a.spec()));
    a.crash();
    eventually("a restart failed", || a.attempts() > 2);
    assert_eq!(supervisor.terminate_child("a"), Ok(()));
    assert_eq!(states(&supervisor), [("a".into(), "stopped")]);
    // No attempt is in progress and none follows: the next one is ours.
    let attempts = a.attempts();
    let still_broken = supervisor.restart_child("a");
    assert_eq!(still_broken, Err(ChildError::Start(StartError::Failed("broken".into()))));
    broken.store(false, Ordering::SeqCst);
    assert_eq!(supervisor.restart_child("a"), Ok(a.await_start(2)));
    assert_eq!(a.attempts(), attempts + 2);
    supervisor.stop().unwrap();
}

// scenario: OO-15
#[test]
fn a_stopped_loop_does_not_come_back_after_a_second_crash() {
    let _watchdog = watchdog();
    let (a, broken) = breaks(&Journal::new());
    let supervisor = up(Supervisor::one_for_one().max_restarts(OFTEN, SECOND).child(a.spec()));
    for round in 1..20 {
        broken.store(true, Ordering::SeqCst);
        let attempts = a.attempts();
        a.crash();
        eventually("a restart failed", || a.attempts() > attempts);
        supervisor.terminate_child("a").unwrap();
        broken.store(false, Ordering::SeqCst);
        // The stale retry message of the old loop must not start it a second time.
        assert_eq!(supervisor.restart_child("a"), Ok(a.await_start(round + 1)));
        assert_eq!(child_pid(&supervisor, "a"), a.pid());
        assert_eq!(a.starts(), round + 1);
    }
    supervisor.stop().unwrap();
}

// scenario: OO-17
#[test]
fn child_that_exited_before_terminate_child_is_restarted_then_terminated() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let a = Child::new("a", &journal);
    let supervisor = up(Supervisor::one_for_one().child(a.spec()));
    let (entered, gate) = (Gate::new(), Gate::new());
    let slow = {
        let (entered, gate, journal) = (entered.clone(), gate.clone(), journal.clone());
        ChildSpec::new("slow", move || {
            entered.open();
            gate.pass();
            journal.note("slow done");
            Err(StartError::Ignored)
        })
    };
    let waiting = |body: fn(&SupervisorRef, ChildSpec), spec: ChildSpec| {
        let supervisor = supervisor.clone();
        process::spawn(move || body(&supervisor, spec)).unwrap()
    };
    let starting = waiting(|to, spec| drop(to.start_child(spec)), slow);
    entered.pass();
    a.kill(); // its exit is queued now
    let terminating = waiting(|to, spec| drop(to.terminate_child(spec.options().id.as_str())), a.permanent());
    let watches = [process::watch(starting), process::watch(terminating)];
    let queued = || process::info(pid_of(&supervisor)).is_some_and(|info| info.message_queue_len == 2);
    eventually("the request is behind the EXIT", queued);
    gate.open();
    watches.iter().for_each(|watch| drop(watch.wait()));
    assert_eq!(states(&supervisor), [("a".into(), "stopped"), ("slow".into(), "stopped")]);
    assert_eq!(journal.all(), ["start a", "stop a", "slow done", "start a", "stop a"]);
    supervisor.stop().unwrap();
}

// scenario: OO-18
#[test]
fn a_child_that_unlinked_itself_is_still_terminated() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let (supervisor, bystander) = with_bystander(a.spec());
    let parent = pid_of(&supervisor);
    a.run_and_wait(move || process::unlink(parent));
    assert_eq!(supervisor.terminate_child("a"), Ok(()));
    assert!(!process::is_alive(a.pid()));
    assert_eq!(states(&supervisor), [("a".into(), "stopped"), ("bystander".into(), "running")]);
    assert_eq!(bystander.starts(), 1);
    supervisor.stop().unwrap();
}

// scenario: OO-18
#[test]
fn the_end_of_a_child_that_unlinked_itself_is_not_noticed() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let supervisor = up(Supervisor::one_for_one().child(a.spec()));
    let parent = pid_of(&supervisor);
    let first = a.pid();
    a.run_and_wait(move || process::unlink(parent));
    a.kill();
    assert_eq!(child_pid(&supervisor, "a"), first);
    assert_eq!(supervisor.count_children().unwrap().active, 0);
    assert_eq!(supervisor.restart_child("a"), Err(ChildError::Running));
    assert_eq!(supervisor.terminate_child("a"), Ok(()));
    assert_eq!(supervisor.restart_child("a"), Ok(a.await_start(2)));
    supervisor.stop().unwrap();
}

// scenario: OO-20
#[test]
fn the_name_points_to_the_restarted_child() {
    let _watchdog = watchdog();
    let name: ServerRef<child::Actor> = ServerRef::named(unique("oo 20"));
    let a = Child::new("a", &Journal::new());
    let supervisor = up(Supervisor::one_for_one().child(a.spec().name(name.clone())));
    let before = name.whereis();
    assert_eq!(before, Some(a.pid()));
    a.kill();
    assert_eq!(Some(child_pid(&supervisor, "a")), name.whereis());
    assert_ne!(name.whereis(), before);
    name.call(child::Ask).unwrap();
    supervisor.stop().unwrap();
    assert_eq!(name.whereis(), None);
}

// scenario: OO-21
#[test]
fn a_start_child_that_fails_costs_no_restart() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let a = Child::new("a", &journal).starts_as(|_| Begin::Fail("no"));
    let supervisor = up(Supervisor::one_for_one().max_restarts(0, SECOND));
    for _ in 0..5 {
        assert_eq!(supervisor.start_child(a.spec()), Err(StartError::Failed("no".into())));
    }
    assert_eq!(supervisor.which_children().unwrap(), []);
    assert_eq!(a.attempts(), 5);
    supervisor.stop().unwrap();
}

#[test]
fn an_exit_of_an_earlier_incarnation_does_not_restart_the_present_one() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let supervisor = up(Supervisor::one_for_one().max_restarts(0, SECOND).child(a.spec()));
    // Ended by the supervisor itself: its exit is ignored.
    let first = a.pid();
    supervisor.terminate_child("a").unwrap();
    supervisor.restart_child("a").unwrap();
    kill(first, "late");
    assert_eq!(child_pid(&supervisor, "a"), a.await_start(2));
    assert_eq!(a.starts(), 2);
    supervisor.stop().unwrap();
}

#[test]
fn two_crashes_at_once_are_two_restarts() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let (a, b) = (Child::new("a", &journal), Child::new("b", &journal));
    let plan = Supervisor::one_for_one().max_restarts(1, 60 * SECOND).child(a.spec()).child(b.spec());
    let supervisor = up(plan);
    let watch = supervisor.watch();
    a.crash();
    b.crash();
    assert_eq!(watch.wait(), ExitReason::Shutdown);
    assert_eq!(a.starts(), 2);
}

#[test]
fn clients_that_use_the_name_get_an_answer_or_an_error_through_a_hundred_crashes() {
    let _watchdog = watchdog();
    let name: ServerRef<child::Actor> = ServerRef::named(unique("crashes"));
    let a = Child::new("a", &Journal::new());
    let supervisor =
        up(Supervisor::one_for_one().max_restarts(OFTEN, SECOND).child(a.spec().name(name.clone())));
    let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    // Clients call by name without a pause; only these two errors are correct.
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, answers, name) = (Arc::clone(&stop), Arc::clone(&answers), name.clone());
            let client = process::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    match name.call(child::Ask) {
                        Ok(()) => drop(answers.fetch_add(1, Ordering::SeqCst)),
                        Err(CallError::NoProc { .. } | CallError::Exited { .. }) => {}
                        Err(other) => panic!("a client got {other}"),
                    }
                }
            });
            process::watch(client.unwrap())
        })
        .collect();
    for round in 1..=100 {
        a.kill();
        a.await_start(round + 1);
    }
    // After the last restart the clients get answers again.
    let before = answers.load(Ordering::SeqCst);
    eventually("they keep running", || answers.load(Ordering::SeqCst) > before);
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        let reason = client.wait();
        assert!(matches!(reason, ExitReason::Normal | ExitReason::NoProc), "{reason}");
    }
    supervisor.stop().unwrap();
}

#[test]
fn supervisor_never_lists_child_whose_exit_was_already_delivered() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        // So many notifications take a while; the supervisor is notified before them.
        let others: Vec<_> = (0..100)
            .map(|_| {
                let here = inbox.address();
                let body = move |inbox: &mut Inbox<()>| {
                    process::trap_exit(true);
                    here.send(()); // linked before, it would exit with the child
                    loop {
                        inbox.recv();
                    }
                };
                process::spawn_receiver(body).expect("a free thread")
            })
            .collect();
        others.iter().for_each(|_| assert_eq!(inbox.recv(), process::Event::Message(())));
        for _ in 0..20 {
            let child = Child::new("notified", &Journal::new());
            let supervisor = up(Supervisor::one_for_one().max_restarts(OFTEN, SECOND).child(child.spec()));
            let pid = child.pid();
            let mut linked: Vec<Pid> = others.iter().map(Pid::from).collect();
            linked.push(inbox.pid());
            child.run_and_wait(move || {
                linked.into_iter().for_each(|other| process::link(other).expect("it is running"))
            });
            process::exit(pid, ExitReason::Kill);
            assert_eq!(exit_event(inbox).0, pid);
            assert_ne!(supervisor.which_children().unwrap()[0].pid(), Some(pid));
            supervisor.stop().unwrap();
        }
        others.iter().for_each(|other| process::exit(other, ExitReason::Kill));
    });
}
