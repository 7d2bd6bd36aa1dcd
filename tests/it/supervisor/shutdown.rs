//! How supervisors stop their children: in which order, how fast, and what happens to uninterruptible
//! threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::child::{Child, child_pid, kill, pid_of, states, stubborn, up};
use crate::support::{self, Gate, Journal, eventually, logs, unique, watchdog};
use rethread::prelude::*;
use rethread::process::{Builder, Event, ProcessState};
use rethread::supervisor::{DynamicSupervisor, Shutdown};
use rethread::task::TaskSupervisor;

const MINUTE: Duration = Duration::from_secs(60);
/// The tolerated delay on a loaded machine.
const SLACK: Duration = Duration::from_secs(10);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Returns a child whose thread blocks uninterruptibly until the gate opens. `stuck` is incremented when it
/// does.
fn stuck(id: &'static str, builder: Builder, gate: &Gate, stuck: &Arc<AtomicUsize>) -> ChildSpec {
    let (gate, stuck) = (gate.clone(), Arc::clone(stuck));
    ChildSpec::receiver_with::<()>(builder.label(id), id, move |_| {
        stuck.fetch_add(1, Ordering::SeqCst);
        gate.pass();
    })
}

fn await_count(what: &str, counter: &AtomicUsize, count: usize) {
    eventually(what, || counter.load(Ordering::SeqCst) >= count);
}

fn zombies_of(pids: &[Pid]) -> usize {
    process::zombies().iter().filter(|zombie| pids.contains(&zombie.pid)).count()
}

// scenario: SH-01
#[test]
fn children_with_unlimited_time_end_with_shutdown() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let (a, b) = (Child::new("a", &journal).traps(), Child::new("b", &journal));
    let spec = |child: &Child| child.spec().shutdown(Shutdown::Infinity);
    let supervisor = up(Supervisor::one_for_one().child(spec(&a)).child(spec(&b)));
    let watches = [a.server().watch(), b.server().watch()];
    supervisor.stop().unwrap();
    assert_eq!(watches.each_ref().map(|watch| watch.wait()), [ExitReason::Shutdown, ExitReason::Shutdown]);
}

// scenario: SH-02
#[test]
fn a_child_that_does_not_listen_is_killed_after_its_time() {
    let _watchdog = watchdog();
    let limit = ms(300);
    let a = Child::new("a", &Journal::new());
    let b = stubborn("b").shutdown(Shutdown::Timeout(limit));
    let supervisor =
        up(Supervisor::one_for_one().child(a.spec().shutdown(Shutdown::Timeout(limit))).child(b));
    let watches = [process::watch(a.pid()), process::watch(child_pid(&supervisor, "b"))];
    let began = Instant::now();
    supervisor.stop().unwrap();
    assert!(began.elapsed() >= limit);
    assert_eq!(watches.each_ref().map(|watch| watch.wait()), [ExitReason::Shutdown, ExitReason::Killed]);
}

// scenario: SH-04
#[test]
fn a_brutal_kill_is_not_seen_by_the_child() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let (note, ready) = (journal.clone(), Gate::new());
    let trapped = ready.clone();
    let child = ChildSpec::receiver::<()>("a", move |inbox| {
        process::trap_exit(true);
        trapped.open();
        loop {
            note.note(format!("{:?}", inbox.recv()));
        }
    });
    let supervisor = up(Supervisor::one_for_one().child(child.shutdown(Shutdown::BrutalKill)));
    ready.pass();
    let watch = process::watch(child_pid(&supervisor, "a"));
    supervisor.terminate_child("a").unwrap();
    assert_eq!(watch.wait(), ExitReason::Killed);
    assert_eq!(journal.all(), [""; 0]);
    supervisor.stop().unwrap();
}

// scenario: SH-06
#[test]
fn terminate_child_kills_when_the_time_is_up() {
    let _watchdog = watchdog();
    for limit in [ms(100), Duration::ZERO] {
        let child = stubborn("a").shutdown(Shutdown::Timeout(limit));
        let supervisor = up(Supervisor::one_for_one().child(child));
        let watch = process::watch(child_pid(&supervisor, "a"));
        let began = Instant::now();
        assert_eq!(supervisor.terminate_child("a"), Ok(()));
        let took = began.elapsed();
        assert!(took >= limit && took < limit + SLACK, "{took:?}");
        assert_eq!(watch.wait(), ExitReason::Killed);
        supervisor.stop().unwrap();
    }
}

// scenario: SH-07
#[test]
fn children_stop_one_after_the_other_each_with_a_limit_of_its_own() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let slow = |id| {
        let child = Child::new(id, &journal).traps().ends_by(|_| process::sleep(ms(150)));
        child.spec().shutdown(Shutdown::Timeout(SLACK))
    };
    let supervisor = up(Supervisor::one_for_one().child(slow("a")).child(slow("b")));
    let watches = ["a", "b"].map(|id| process::watch(child_pid(&supervisor, id)));
    let began = Instant::now();
    supervisor.stop().unwrap();
    assert!(began.elapsed() >= ms(300));
    assert_eq!(watches.each_ref().map(|watch| watch.wait()), [ExitReason::Shutdown, ExitReason::Shutdown]);
    assert_eq!(journal.all(), ["start a", "start b", "stop b", "stop a"]);
}

/// Returns a child that answers the shutdown request with an exit reason of its own.
fn answering(id: &'static str, ready: &Arc<AtomicUsize>, reason: ExitReason) -> ChildSpec {
    let ready = Arc::clone(ready);
    ChildSpec::receiver::<()>(id, move |inbox| {
        process::trap_exit(true);
        ready.fetch_add(1, Ordering::SeqCst);
        loop {
            if let Event::Exit { .. } = inbox.recv() {
                process::exit_with(reason.clone());
            }
        }
    })
}

// scenario: SH-09
#[test]
fn supervisor_stops_whatever_children_reply_and_reports_unexpected_replies() {
    let _watchdog = watchdog();
    support::capture();
    let name = unique("sh 09");
    let ready = Arc::new(AtomicUsize::new(0));
    let child = |id, reason| answering(id, &ready, reason);
    let plan = Supervisor::one_for_one()
        .name(SupervisorRef::named(name))
        .child(child("permanent_normal", ExitReason::Normal))
        .child(child("transient_normal", ExitReason::Normal).restart(Restart::Transient))
        .child(child("shutdown", ExitReason::Shutdown))
        .child(child("permanent_detail", ExitReason::shutdown_with("x")))
        .child(child("temporary_detail", ExitReason::shutdown_with("x")).restart(Restart::Temporary))
        .child(child("other", "other".into()));
    let supervisor = up(plan);
    await_count("they trap", &ready, 6);
    supervisor.stop_timeout(ExitReason::Shutdown, MINUTE).unwrap();
    let reports: Vec<String> =
        logs().into_iter().filter(|line| line.starts_with("ERROR") && line.contains(name)).collect();
    let reported = |id: &str| reports.iter().any(|line| line.contains(&format!("child {id} ")));
    let unexpected = ["permanent_normal", "permanent_detail", "other"];
    assert!(unexpected.iter().all(|id| reported(id)), "{reports:#?}");
    assert_eq!(reports.len(), unexpected.len(), "{reports:#?}");
}

// scenario: SH-10
#[test]
fn deaths_are_strictly_in_reverse() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let five = ["a", "b", "c", "d", "e"].map(|id| Child::new(id, &journal));
    let supervisor = up(Supervisor::rest_for_one().children(five.iter().map(Child::spec)));
    journal.clear();
    five[2].crash();
    states(&supervisor);
    assert_eq!(journal.all(), ["stop c", "stop e", "stop d", "start c", "start d", "start e"]);
    journal.clear();
    supervisor.stop().unwrap();
    assert_eq!(journal.all(), ["stop e", "stop d", "stop c", "stop b", "stop a"]);
}

// scenario: SH-11
#[test]
fn stop_with_a_reason_ends_the_supervisor_with_it_and_the_children_with_shutdown() {
    let _watchdog = watchdog();
    for reason in [ExitReason::Normal, "a reason".into(), ExitReason::shutdown_with(7)] {
        let a = Child::new("a", &Journal::new());
        let supervisor = up(Supervisor::one_for_one().child(a.spec()));
        let (watch, of_a) = (supervisor.watch(), a.server().watch());
        assert_eq!(supervisor.stop_timeout(reason.clone(), MINUTE), Ok(()));
        assert_eq!((watch.wait(), of_a.wait()), (reason, ExitReason::Shutdown));
    }
}

// scenario: SH-18
#[test]
fn a_child_that_ended_before_is_left_alone() {
    let _watchdog = watchdog();
    support::capture();
    let name = unique("sh 18");
    let a = Child::new("a", &Journal::new());
    let plan = Supervisor::one_for_one().name(SupervisorRef::named(name)).child(a.transient());
    let supervisor = up(plan.child(stubborn("b").shutdown(Shutdown::BrutalKill)));
    a.end(ExitReason::Normal);
    supervisor.terminate_child("b").unwrap();
    supervisor.terminate_child("b").unwrap();
    assert_eq!(states(&supervisor), [("a".into(), "stopped"), ("b".into(), "stopped")]);
    supervisor.stop().unwrap();
    let is_logged =
        |line: &String| line.starts_with("ERROR") && line.contains(name) && line.contains("child a ");
    assert_eq!(logs().iter().filter(|line| is_logged(line)).count(), 0);
}

// scenario: TH-07
#[test]
fn a_brutal_kill_of_a_stuck_child_does_not_hang() {
    let _watchdog = watchdog();
    let (gate, count) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
    let other = Child::new("other", &Journal::new());
    let child = stuck("stuck", Builder::new(), &gate, &count).shutdown(Shutdown::BrutalKill);
    let supervisor = up(Supervisor::one_for_all().child(other.spec()).child(child));
    await_count("it is stuck", &count, 1);
    let first = child_pid(&supervisor, "stuck");
    let began = Instant::now();
    assert_eq!(supervisor.terminate_child("stuck"), Ok(()));
    let took = began.elapsed();
    assert!(took >= process::settings().kill_grace && took < SLACK, "{took:?}");
    assert_eq!((zombies_of(&[first]), other.starts()), (1, 1));
    // Nor does a restart of the group that finds it stuck.
    supervisor.restart_child("stuck").unwrap();
    await_count("it is stuck again", &count, 2);
    let second = child_pid(&supervisor, "stuck");
    other.crash();
    assert_ne!(child_pid(&supervisor, "stuck"), second);
    assert_eq!(zombies_of(&[first, second]), 2);
    supervisor.stop().unwrap();
    gate.open();
    eventually("the threads end", || zombies_of(&[first, second]) == 0);
}

// scenario: TH-09
#[test]
fn the_zombie_limit_ends_a_supervisors_restarts() {
    let _watchdog = watchdog();
    support::capture();
    let name = unique("th 09");
    let (gate, count) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
    let other = Child::new("other", &Journal::new());
    let child = stuck("stuck", Builder::new().kill_grace(ms(10)), &gate, &count);
    let plan = Supervisor::one_for_one()
        .max_restarts(100, MINUTE)
        .max_zombies(2)
        .name(SupervisorRef::named(name))
        .child(other.spec())
        .child(child.shutdown(Shutdown::BrutalKill));
    let supervisor = up(plan);
    let watch = supervisor.watch();
    let mut pids = Vec::new();
    for round in 1..=3 {
        await_count("it is stuck", &count, round);
        pids.push(child_pid(&supervisor, "stuck"));
        assert_eq!(kill(pids[round - 1], ExitReason::Kill), ExitReason::Killed);
    }
    assert_eq!(watch.wait(), ExitReason::Shutdown);
    assert_eq!(count.load(Ordering::SeqCst), 3, "the third was not replaced");
    assert_eq!(zombies_of(&pids), 3);
    assert!(!process::is_alive(other.pid()));
    assert!(logs().iter().any(|line| line.contains(name) && line.contains("zombie_limit")));
    gate.open();
    eventually("the threads end", || zombies_of(&pids) == 0);
}

// scenario: TH-09
#[test]
fn children_that_left_no_zombie_are_replaced_despite_zombies_of_others() {
    let _watchdog = watchdog();
    let (gate, count) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
    let other = Child::new("other", &Journal::new());
    let child = stuck("stuck", Builder::new().kill_grace(ms(10)), &gate, &count);
    let plan = Supervisor::one_for_one().max_restarts(100, MINUTE).max_zombies(0).child(other.spec());
    let supervisor = up(plan.child(child.shutdown(Shutdown::BrutalKill).restart(Restart::Temporary)));
    await_count("it is stuck", &count, 1);
    let pid = child_pid(&supervisor, "stuck");
    kill(pid, ExitReason::Kill);
    other.crash();
    assert_eq!(child_pid(&supervisor, "other"), other.await_start(2));
    gate.open();
    eventually("the thread ends", || zombies_of(&[pid]) == 0);
    supervisor.stop().unwrap();
}

// scenario: TH-10
#[test]
fn a_busy_child_ends_with_shutdown_after_its_time_and_the_grace_and_is_one_zombie() {
    let _watchdog = watchdog();
    let (limit, grace) = (ms(200), ms(100));
    for exit_timeout in [MINUTE, limit, ms(20)] {
        let (gate, count) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
        let builder = Builder::new().kill_grace(grace).exit_timeout(exit_timeout);
        let child = stuck("busy", builder, &gate, &count);
        let supervisor = up(Supervisor::one_for_one().child(child.shutdown(Shutdown::Timeout(limit))));
        await_count("it is busy", &count, 1);
        let pid = child_pid(&supervisor, "busy");
        let watch = process::watch(pid);
        let began = Instant::now();
        assert_eq!(supervisor.terminate_child("busy"), Ok(()));
        let took = began.elapsed();
        assert!(took >= limit + grace && took < limit + grace + SLACK, "{took:?}");
        assert_eq!(watch.wait(), ExitReason::Shutdown, "the kill only shortens the deadline");
        let zombies: Vec<_> = process::zombies().into_iter().filter(|zombie| zombie.pid == pid).collect();
        assert_eq!(zombies.len(), 1);
        assert_eq!((&zombies[0].reason, zombies[0].parent), (&ExitReason::Shutdown, supervisor.whereis()));
        gate.open();
        eventually("the thread ends", || zombies_of(&[pid]) == 0);
        supervisor.stop().unwrap();
    }
}

/// Runs a stop of a child whose thread is stuck, and asserts that the child has more time than its exit timeout of
/// 20 ms, and ends cleanly when the gate opens.
fn assert_not_given_up(child: Pid, gate: &Gate, stop: impl FnOnce() + Send + 'static) {
    let watch = process::watch(child);
    let stopping = process::watch(process::spawn(stop).expect("a free thread"));
    eventually("it is exiting", || !process::is_alive(child));
    assert_eq!(watch.wait_timeout(ms(200)), None, "it still has time");
    gate.open();
    assert_eq!(watch.wait(), ExitReason::Shutdown);
    assert_eq!(stopping.wait(), ExitReason::Normal);
    assert_eq!(zombies_of(&[child]), 0);
}

#[test]
fn busy_child_has_its_shutdown_time_even_if_its_exit_timeout_is_shorter() {
    let _watchdog = watchdog();
    let shutdown = Shutdown::Timeout(MINUTE);
    let times = Builder::new().exit_timeout(ms(20));
    let started = Arc::new(AtomicUsize::new(0));

    let gate = Gate::new();
    let child = stuck("busy", times.clone(), &gate, &started).shutdown(shutdown);
    let supervisor = up(Supervisor::one_for_one().child(child));
    await_count("it is busy", &started, 1);
    let (busy, stopped) = (child_pid(&supervisor, "busy"), supervisor.clone());
    assert_not_given_up(busy, &gate, move || stopped.terminate_child("busy").or_exit());
    supervisor.stop().unwrap();

    let gate = Gate::new();
    let dynamic = DynamicSupervisor::start().unwrap();
    let child = stuck("busy", times.clone(), &gate, &started).shutdown(shutdown);
    let busy = dynamic.start_child(child).unwrap();
    await_count("it is busy", &started, 2);
    assert_not_given_up(busy, &gate, move || dynamic.stop().or_exit());

    let gate = Gate::new();
    let tasks = TaskSupervisor::start().unwrap();
    let (pass, count) = (gate.clone(), Arc::clone(&started));
    let builder = tasks.builder().process(times).shutdown(shutdown);
    let busy = builder
        .start_child(move || {
            count.fetch_add(1, Ordering::SeqCst);
            pass.pass();
        })
        .unwrap();
    await_count("it is busy", &started, 3);
    assert_not_given_up(busy, &gate, move || tasks.stop().or_exit());
}

#[test]
fn busy_child_with_unlimited_shutdown_time_becomes_a_zombie_after_its_exit_timeout() {
    let _watchdog = watchdog();
    let (gate, count) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
    let deadline = ms(150);
    let child = stuck("busy", Builder::new().exit_timeout(deadline), &gate, &count);
    let supervisor = up(Supervisor::one_for_one().child(child.shutdown(Shutdown::Infinity)));
    await_count("it is busy", &count, 1);
    let pid = child_pid(&supervisor, "busy");
    let began = Instant::now();
    assert_eq!(supervisor.terminate_child("busy"), Ok(()));
    let took = began.elapsed();
    assert!(took >= deadline && took < deadline + SLACK, "{took:?}");
    assert_eq!(zombies_of(&[pid]), 1);
    gate.open();
    eventually("the thread ends", || zombies_of(&[pid]) == 0);
    supervisor.stop().unwrap();
}

/// Starts a supervisor of one stuck child. Returns the number of started bodies and of requested starts; a
/// replacement waits up to `reap` for the old thread.
fn exclusive(reap: Option<Duration>, gate: &Gate) -> (SupervisorRef, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (stuck, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, asking, gate) = (Arc::clone(&stuck), Arc::clone(&asked), gate.clone());
    let child = ChildSpec::new("a", move || {
        asking.fetch_add(1, Ordering::SeqCst);
        let (count, gate) = (Arc::clone(&count), gate.clone());
        let body = move |inbox: &mut process::Inbox<()>| {
            count.fetch_add(1, Ordering::SeqCst);
            gate.pass();
            inbox.recv();
        };
        Ok(Builder::new().kill_grace(ms(10)).spawn_receiver_link(body)?.pid())
    });
    let child = child.shutdown(Shutdown::BrutalKill);
    let child = if let Some(limit) = reap { child.reap_timeout(limit) } else { child };
    (up(Supervisor::one_for_one().child(child)), stuck, asked)
}

/// Returns `true` if the process has an empty mailbox and waits.
fn is_idle(pid: Pid) -> bool {
    process::info(pid).is_some_and(|info| info.message_queue_len == 0 && info.state == ProcessState::Waiting)
}

#[test]
fn a_replacement_waits_for_the_old_thread_if_it_is_to() {
    let _watchdog = watchdog();
    let gate = Gate::new();
    let (supervisor, stuck, asked) = exclusive(Some(MINUTE), &gate);
    await_count("it is stuck", &stuck, 1);
    let first = child_pid(&supervisor, "a");
    assert_eq!(kill(first, ExitReason::Kill), ExitReason::Killed);
    eventually("the supervisor waits", || is_idle(pid_of(&supervisor)));
    assert_eq!((asked.load(Ordering::SeqCst), zombies_of(&[first])), (1, 1));
    gate.open();
    await_count("the replacement runs", &stuck, 2);
    assert_ne!(child_pid(&supervisor, "a"), first);
    assert_eq!(zombies_of(&[first]), 0);
    supervisor.stop().unwrap();
}

#[test]
fn a_replacement_waits_no_longer_than_its_reap_timeout() {
    let _watchdog = watchdog();
    let (gate, limit) = (Gate::new(), ms(100));
    let (supervisor, stuck, asked) = exclusive(Some(limit), &gate);
    await_count("it is stuck", &stuck, 1);
    let first = child_pid(&supervisor, "a");
    let began = Instant::now();
    kill(first, ExitReason::Kill);
    await_count("the replacement runs", &stuck, 2);
    assert!(began.elapsed() >= limit, "{:?}", began.elapsed());
    assert_eq!((asked.load(Ordering::SeqCst), zombies_of(&[first])), (2, 1));
    gate.open();
    supervisor.stop().unwrap();
}

#[test]
fn without_a_reap_timeout_the_replacement_comes_at_once() {
    let _watchdog = watchdog();
    let gate = Gate::new();
    let (supervisor, stuck, _) = exclusive(None, &gate);
    await_count("it is stuck", &stuck, 1);
    let first = child_pid(&supervisor, "a");
    kill(first, ExitReason::Kill);
    assert_ne!(child_pid(&supervisor, "a"), first);
    assert_eq!(zombies_of(&[first]), 1);
    gate.open();
    supervisor.stop().unwrap();
}

#[test]
fn restart_child_waits_for_the_old_thread_too() {
    let _watchdog = watchdog();
    let gate = Gate::new();
    let (supervisor, stuck, asked) = exclusive(Some(MINUTE), &gate);
    await_count("it is stuck", &stuck, 1);
    let first = child_pid(&supervisor, "a");
    supervisor.terminate_child("a").unwrap();
    assert_eq!(zombies_of(&[first]), 1);
    let asking = supervisor.clone();
    let restarting = process::spawn(move || drop(asking.restart_child("a"))).unwrap();
    let done = process::watch(restarting);
    eventually("the request is out", || {
        done.wait_timeout(Duration::ZERO).is_some()
            || (process::info(restarting).is_some_and(|info| info.waiting_on.is_some())
                && is_idle(pid_of(&supervisor)))
    });
    assert_eq!(done.wait_timeout(ms(50)), None, "the request waits, too");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "the old thread still holds what is exclusive");
    gate.open();
    await_count("the replacement runs", &stuck, 2);
    supervisor.stop().unwrap();
}

/// The thread exits by itself at the very moment the runtime declares it a zombie: in either order, it is
/// on the list of zombies no longer than the thread runs.
#[test]
fn child_that_exits_as_it_becomes_a_zombie_is_reaped() {
    let _watchdog = watchdog();
    let supervisor = up(Supervisor::one_for_one());
    let builder = Builder::new().kill_grace(Duration::ZERO);
    for round in 0..1000_u32 {
        let id = format!("child {round}");
        let child = ChildSpec::receiver_with::<()>(builder.clone(), id.as_str(), |inbox| drop(inbox.recv()));
        let child = child.restart(Restart::Temporary).shutdown(Shutdown::BrutalKill);
        let pid = supervisor.start_child(child).unwrap();
        eventually("it waits", || process::info(pid).is_some_and(|info| info.state == ProcessState::Waiting));
        supervisor.terminate_child(id.as_str()).unwrap();
        eventually("it is no zombie any more", || zombies_of(&[pid]) == 0);
    }
    supervisor.stop().unwrap();
}
