//! Restarts that are delayed by a backoff: what supervisors and requests do while a child waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::child::{Actor, Begin, Child, child_pid, kill, pid_of, states, up};
use crate::support::{Journal, capture, eventually, logs, unique, watchdog};
use rethread::StartError;
use rethread::gen_server::ServerSpec;
use rethread::observer;
use rethread::prelude::*;
use rethread::supervisor::{
    AutoShutdown, ChildError, ChildState, DynamicSupervisor, DynamicSupervisorRef, PartitionRef,
    PartitionSupervisor, RestartBackoff, SpecError,
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A wait that lasts longer than any test.
const LONG: RestartBackoff = RestartBackoff::new(HOUR, HOUR);

/// Short waits.
const SHORT: RestartBackoff = RestartBackoff::new(MS, Duration::from_millis(4));

/// Returns a child that cannot start again until the returned flag is cleared.
fn breaks(id: &'static str, journal: &Journal) -> (Child, Arc<AtomicBool>) {
    let broken = Arc::new(AtomicBool::new(true));
    let look = Arc::clone(&broken);
    let child = Child::new(id, journal).starts_as(move |k| {
        if k > 1 && look.load(Ordering::SeqCst) { Begin::Quiet("away") } else { Begin::Up }
    });
    (child, broken)
}

fn with(child: &Child, backoff: RestartBackoff) -> ServerSpec<Actor> {
    child.spec().restart_backoff(backoff)
}

/// Waits until the children are in these states.
#[track_caller]
fn await_states(supervisor: &SupervisorRef, expected: &[(&str, &'static str)]) {
    let expected: Vec<(String, &'static str)> =
        expected.iter().map(|(id, state)| ((*id).into(), *state)).collect();
    eventually("the children are in these states", || states(supervisor) == expected);
}

#[test]
fn restart_is_delayed_and_does_not_count_for_the_intensity() {
    let _watchdog = watchdog();
    let (a, broken) = breaks("a", &Journal::new());
    let backoff = RestartBackoff::new(2 * MS, 8 * MS).jitter(0.0);
    let plan = Supervisor::one_for_one().max_restarts(0, SECOND).child(with(&a, backoff));
    let supervisor = up(plan);
    let began = Instant::now();
    a.crash();
    // Attempt 2 after 2 ms, 3 after 4 ms more, then 8 ms each.
    eventually("some restarts failed", || a.attempts() >= 7);
    assert!(began.elapsed() >= (2 + 4 + 4 * 8) * MS);
    broken.store(false, Ordering::SeqCst);
    assert_eq!(a.await_start(2), child_pid(&supervisor, "a"));
    let snapshot = observer::snapshot();
    let own = snapshot.get(pid_of(&supervisor)).and_then(|process| process.supervision.as_ref()).unwrap();
    assert_eq!(own.restarts.used, 0);
    supervisor.stop().unwrap();
}

#[test]
fn child_without_backoff_still_exhausts_the_intensity() {
    let _watchdog = watchdog();
    let (a, b) = (Child::new("a", &Journal::new()), Child::new("b", &Journal::new()));
    let plan = Supervisor::one_for_one().max_restarts(0, SECOND).child(with(&a, LONG)).child(b.spec());
    let supervisor = up(plan);
    let watch = supervisor.watch();
    a.crash();
    await_states(&supervisor, &[("a", "waiting"), ("b", "running")]);
    b.crash();
    assert_eq!(watch.wait(), ExitReason::Shutdown);
}

#[test]
fn default_of_the_supervisor_holds_for_children_without_a_backoff_of_their_own() {
    let _watchdog = watchdog();
    let (a, b) = (Child::new("a", &Journal::new()), Child::new("b", &Journal::new()));
    let plan = Supervisor::one_for_one().child_restart_backoff(LONG).child(a.spec());
    let supervisor = up(plan.child(with(&b, RestartBackoff::none())));
    supervisor.start_child(Child::new("c", &Journal::new()).spec()).unwrap();
    a.crash();
    b.crash();
    b.await_start(2);
    kill(child_pid(&supervisor, "c"), "c");
    await_states(&supervisor, &[("a", "waiting"), ("b", "running"), ("c", "waiting")]);
    supervisor.stop().unwrap();
}

#[test]
fn listings_show_the_time_until_the_restart() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let supervisor = up(Supervisor::one_for_one().child(with(&a, LONG.jitter(0.0))));
    let info = |supervisor: &SupervisorRef| supervisor.which_children().unwrap().remove(0);
    assert_eq!(info(&supervisor).restart_in(), None);
    a.crash();
    await_states(&supervisor, &[("a", "waiting")]);
    let waiting = info(&supervisor);
    assert!(
        matches!(waiting.state, ChildState::RestartingAt(at) if at > Instant::now()),
        "{:?}",
        waiting.state
    );
    assert_eq!(waiting.pid(), None);
    assert!(waiting.restart_in().is_some_and(|left| left <= HOUR && left > HOUR - 60 * SECOND));
    let text = waiting.state.to_string();
    assert!(
        text.starts_with("restarting in 3")
            && text.len() == "restarting in 3599.9 s".len()
            && text.ends_with(" s"),
        "{text}"
    );
    let count = supervisor.count_children().unwrap();
    assert_eq!((count.specs, count.active), (1, 0));
    // Observers see the same, without a call.
    let rows: Vec<String> =
        observer::snapshot().tree_of(pid_of(&supervisor)).iter().map(ToString::to_string).collect();
    assert!(rows[1].starts_with("x- a  restarting in 3"), "{rows:?}");
    supervisor.stop().unwrap();
}

#[test]
fn terminate_child_cancels_the_wait() {
    let _watchdog = watchdog();
    let (a, clock) = (Child::new("a", &Journal::new()), Child::new("clock", &Journal::new()));
    let soon = RestartBackoff::new(5 * MS, 5 * MS);
    let later = RestartBackoff::new(50 * MS, 50 * MS);
    let supervisor = up(Supervisor::one_for_one().child(with(&a, soon)).child(with(&clock, later)));
    for round in 1..4 {
        a.crash();
        assert_eq!(supervisor.terminate_child("a"), Ok(()));
        let starts = a.starts();
        clock.crash();
        clock.await_start(round + 1); // by then the wait of `a` would be over
        assert_eq!(states(&supervisor), [("a".into(), "stopped"), ("clock".into(), "running")]);
        assert_eq!(a.starts(), starts);
        supervisor.restart_child("a").unwrap();
    }
    supervisor.stop().unwrap();
}

#[test]
fn wait_that_was_cancelled_does_not_restart_the_next_incarnation() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let supervisor = up(Supervisor::one_for_one().child(with(&a, SHORT)));
    for _ in 0..50 {
        a.crash();
        // The wait may end at any of these moments.
        supervisor.terminate_child("a").unwrap();
        let pid = supervisor.restart_child("a").unwrap();
        assert_eq!((child_pid(&supervisor, "a"), a.pid()), (pid, pid));
    }
    let starts = a.starts();
    a.crash();
    a.await_start(starts + 1); // a later wait than all that were cancelled
    assert_eq!(child_pid(&supervisor, "a"), a.pid());
    assert_eq!(a.starts(), starts + 1);
    supervisor.stop().unwrap();
}

#[test]
fn restart_child_ends_the_wait_at_once() {
    let _watchdog = watchdog();
    let (a, broken) = breaks("a", &Journal::new());
    let supervisor = up(Supervisor::one_for_one().max_restarts(0, SECOND).child(with(&a, LONG)));
    a.crash();
    await_states(&supervisor, &[("a", "waiting")]);
    // A restart that fails is a failure like others: the child waits again.
    let failed = Err(ChildError::Start(StartError::Failed("away".into())));
    assert_eq!(supervisor.restart_child("a"), failed);
    assert_eq!(states(&supervisor), [("a".into(), "waiting")]);
    broken.store(false, Ordering::SeqCst);
    assert_eq!(supervisor.restart_child("a"), Ok(a.await_start(2)));
    assert_eq!(supervisor.restart_child("a"), Err(ChildError::Running));
    assert_eq!(a.attempts(), 3);
    supervisor.stop().unwrap();
}

#[test]
fn waiting_child_is_present_and_can_be_deleted() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let supervisor = up(Supervisor::one_for_one().child(with(&a, SHORT.jitter(0.0))));
    let stays = Child::new("stays", &Journal::new());
    supervisor.start_child(with(&stays, LONG)).unwrap();
    stays.crash();
    await_states(&supervisor, &[("a", "running"), ("stays", "waiting")]);
    assert_eq!(supervisor.start_child(stays.spec()), Err(StartError::AlreadyPresent));
    assert_eq!(supervisor.child_spec("stays").unwrap().options().restart_backoff, Some(LONG));
    assert_eq!(supervisor.delete_child("stays"), Ok(()));
    assert_eq!(supervisor.restart_child("stays"), Err(ChildError::NotFound));
    assert_eq!(supervisor.start_child(stays.spec()), Ok(stays.pid()));
    supervisor.stop().unwrap();
}

#[test]
fn shutdown_cancels_the_wait() {
    let _watchdog = watchdog();
    let (a, b) = (Child::new("a", &Journal::new()), Child::new("b", &Journal::new()));
    let supervisor = up(Supervisor::one_for_one().child(with(&a, LONG)).child(b.spec()));
    a.crash();
    await_states(&supervisor, &[("a", "waiting"), ("b", "running")]);
    supervisor.stop().unwrap();
    assert_eq!((a.attempts(), process::is_alive(b.pid())), (1, false));
}

#[test]
fn one_for_all_stops_the_group_at_once_and_restarts_it_after_the_delay() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let a = Child::new("a", &journal);
    let (b, broken) = breaks("b", &journal);
    let c = Child::new("c", &journal);
    let plan = Supervisor::one_for_all().max_restarts(0, SECOND);
    let plan = plan.child(a.spec()).child(with(&b, LONG)).child(c.spec());
    let supervisor = up(plan.child(Child::new("d", &Journal::new()).temporary()));
    b.crash();
    await_states(&supervisor, &[("a", "waiting"), ("b", "waiting"), ("c", "waiting")]);
    assert_eq!(journal.all()[3..], ["stop b", "stop c", "stop a"]);
    // Another failure: those that were started before it are stopped again.
    assert_eq!(supervisor.restart_child("b"), Err(ChildError::Start(StartError::Failed("away".into()))));
    assert_eq!(journal.all()[6..], ["start a", "fail b", "stop a"]);
    assert_eq!(states(&supervisor).iter().filter(|(_, state)| *state == "waiting").count(), 3);
    broken.store(false, Ordering::SeqCst);
    // The whole group is restarted, whichever child is named.
    assert_eq!(supervisor.restart_child("c"), Ok(c.await_start(2)));
    assert_eq!(journal.all()[9..], ["start a", "start b", "start c"]);
    supervisor.stop().unwrap();
}

#[test]
fn rest_for_one_waits_with_the_children_after_the_failed_one() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let (a, b, c) = (Child::new("a", &journal), Child::new("b", &journal), Child::new("c", &journal));
    let plan = Supervisor::rest_for_one().max_restarts(0, SECOND);
    let backoff = RestartBackoff::new(20 * MS, 20 * MS);
    let supervisor = up(plan.child(a.spec()).child(with(&b, backoff)).child(c.spec()));
    let untouched = a.pid();
    b.crash();
    c.await_start(2);
    assert_eq!(journal.all()[3..], ["stop b", "stop c", "start b", "start c"]);
    assert_eq!(child_pid(&supervisor, "a"), untouched);
    supervisor.stop().unwrap();
}

#[test]
fn failure_of_another_child_restarts_a_waiting_group_with_its_own() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let (a, b, c) = (Child::new("a", &journal), Child::new("b", &journal), Child::new("c", &journal));
    let plan = Supervisor::rest_for_one().child(a.spec()).child(with(&b, LONG)).child(c.spec());
    let supervisor = up(plan);
    b.crash();
    await_states(&supervisor, &[("a", "running"), ("b", "waiting"), ("c", "waiting")]);
    a.crash(); // no backoff: restarted at once, with those after it
    c.await_start(2);
    assert_eq!(states(&supervisor).iter().filter(|(_, state)| *state == "running").count(), 3);
    assert_eq!(journal.all()[3..], ["stop b", "stop c", "stop a", "start a", "start b", "start c"]);
    supervisor.stop().unwrap();
}

#[test]
fn end_of_a_wait_by_request_leaves_the_group_stopped() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let (a, b) = (Child::new("a", &journal), Child::new("b", &journal));
    let supervisor = up(Supervisor::one_for_all().child(a.spec()).child(with(&b, LONG)));
    b.crash();
    await_states(&supervisor, &[("a", "waiting"), ("b", "waiting")]);
    // The failed child is the reason for the wait, another member is not.
    assert_eq!(supervisor.terminate_child("a"), Ok(()));
    assert_eq!(states(&supervisor), [("a".into(), "stopped"), ("b".into(), "waiting")]);
    assert_eq!(supervisor.terminate_child("b"), Ok(()));
    assert_eq!(states(&supervisor), [("a".into(), "stopped"), ("b".into(), "stopped")]);
    assert_eq!(supervisor.restart_child("a"), Ok(a.await_start(2)));
    assert_eq!(supervisor.restart_child("b"), Ok(b.await_start(2)));
    b.crash();
    await_states(&supervisor, &[("a", "waiting"), ("b", "waiting")]);
    assert_eq!(supervisor.delete_child("b"), Ok(()));
    assert_eq!(states(&supervisor), [("a".into(), "stopped")]);
    supervisor.stop().unwrap();
}

#[test]
fn waiting_significant_child_has_not_ended() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let significant = |child: &Child| child.spec().restart(Restart::Transient).significant(true);
    let (a, b, c) = (Child::new("a", &journal), Child::new("b", &journal), Child::new("c", &journal));
    let plan = Supervisor::rest_for_one().auto_shutdown(AutoShutdown::AllSignificant).child(significant(&a));
    let supervisor = up(plan.child(significant(&b).restart_backoff(LONG)).child(significant(&c)));
    let watch = supervisor.watch();
    b.crash();
    await_states(&supervisor, &[("a", "running"), ("b", "waiting"), ("c", "waiting")]);
    a.end(ExitReason::Normal); // `b` and `c` are left
    assert_eq!(states(&supervisor)[0], ("a".into(), "stopped"));
    supervisor.restart_child("b").unwrap();
    b.end(ExitReason::Normal);
    assert_eq!(states(&supervisor)[1], ("b".into(), "stopped"));
    c.end(ExitReason::Normal);
    assert_eq!(watch.wait(), ExitReason::Shutdown);
}

#[test]
fn any_significant_shuts_down_only_when_the_child_is_not_restarted() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let plan = Supervisor::one_for_one().auto_shutdown(AutoShutdown::AnySignificant);
    let child = with(&a, SHORT).restart(Restart::Transient).significant(true);
    let supervisor = up(plan.child(child));
    let watch = supervisor.watch();
    a.crash();
    a.await_start(2);
    a.end(ExitReason::Normal);
    assert_eq!(watch.wait(), ExitReason::Shutdown);
}

#[test]
fn outage_that_lasts_too_long_makes_the_supervisor_give_up() {
    let _watchdog = watchdog();
    capture();
    let (a, _broken) = breaks("a", &Journal::new());
    let name = unique("backoff.gives up");
    let plan = Supervisor::one_for_one().name(SupervisorRef::named(name));
    let supervisor = up(plan.child(with(&a, SHORT.give_up_after(20 * MS))));
    let watch = supervisor.watch();
    a.crash();
    assert_eq!(watch.wait(), ExitReason::Shutdown);
    assert!(a.attempts() > 2, "{}", a.attempts());
    let own: Vec<String> = logs().into_iter().filter(|line| line.contains(name)).collect();
    let gave_up = |line: &String| line.contains("the outage of child a lasts too long, shutting down");
    assert!(own.iter().any(gave_up), "{own:?}");
}

#[test]
fn first_start_fails_the_supervisor_unless_it_is_retried() {
    let _watchdog = watchdog();
    let away = Arc::new(AtomicBool::new(true));
    let sensor = |id| {
        let away = Arc::clone(&away);
        Child::new(id, &Journal::new())
            .starts_as(move |_| if away.load(Ordering::SeqCst) { Begin::Quiet("away") } else { Begin::Up })
    };
    let (a, b, last) = (sensor("a"), sensor("b"), Child::new("last", &Journal::new()));
    assert!(matches!(Supervisor::one_for_one().child(with(&a, SHORT)).start(), Err(StartError::Failed(_))));
    let retried = SHORT.retry_first_start(true);
    let plan = Supervisor::one_for_one().child(with(&a, retried)).child(with(&b, retried)).child(last.spec());
    let supervisor = up(plan);
    assert_eq!(states(&supervisor)[2], ("last".into(), "running"));
    eventually("the starts are retried", || a.attempts() > 3 && b.attempts() > 3);
    // The start that a caller requests is not retried: the caller gets the error.
    let requested = supervisor.start_child(with(&sensor("c"), retried));
    assert_eq!(requested, Err(StartError::Failed("away".into())));
    assert_eq!(states(&supervisor).len(), 3);
    away.store(false, Ordering::SeqCst);
    assert_eq!(
        (a.await_start(1), b.await_start(1)),
        (child_pid(&supervisor, "a"), child_pid(&supervisor, "b"))
    );
    supervisor.stop().unwrap();
}

#[test]
fn first_start_of_a_group_is_retried_as_a_group() {
    let _watchdog = watchdog();
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let journal = Journal::new();
        let b =
            Child::new("b", &journal).starts_as(|k| if k == 1 { Begin::Quiet("away") } else { Begin::Up });
        let c = Child::new("c", &journal);
        let plan = rethread::supervisor::SupervisorSpec::new(strategy)
            .child(Child::new("a", &journal).spec())
            .child(with(&b, LONG.retry_first_start(true)))
            .child(Child::new("d", &journal).temporary()) // never started so far, so it is not removed
            .child(c.spec());
        let supervisor = up(plan);
        assert_eq!(states(&supervisor)[1..], ["b", "d", "c"].map(|id| (id.into(), "waiting")), "{strategy}");
        supervisor.restart_child("b").unwrap();
        c.await_start(1);
        let expected: &[&str] = match strategy {
            Strategy::OneForAll => {
                &["start a", "fail b", "stop a", "start a", "start b", "start d", "start c"]
            }
            _ => &["start a", "fail b", "start b", "start d", "start c"],
        };
        assert_eq!(journal.all(), expected, "{strategy}");
        supervisor.stop().unwrap();
    }
}

#[test]
fn first_start_of_a_temporary_child_is_not_retried() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new()).starts_as(|_| Begin::Quiet("away"));
    let plan = Supervisor::one_for_one().child_restart_backoff(SHORT.retry_first_start(true));
    assert!(matches!(plan.child(a.temporary()).start(), Err(StartError::Failed(_))));
    assert_eq!(a.attempts(), 1);
}

#[test]
fn long_enough_life_ends_the_outage() {
    let _watchdog = watchdog();
    capture();
    let a = Child::new("a", &Journal::new());
    let name = unique("backoff.resets");
    // The second failure in a row would wait for longer than the test.
    let backoff = RestartBackoff::new(MS, HOUR).reset_after(5 * MS).jitter(0.0);
    let plan = Supervisor::one_for_one().name(SupervisorRef::named(name)).child(with(&a, backoff));
    let supervisor = up(plan);
    let own =
        |text: &str| logs().into_iter().filter(|line| line.contains(name) && line.contains(text)).count();
    for round in 1..30 {
        a.crash();
        a.await_start(round + 1);
        eventually("the outage is over", || own("child a is running again as") == round);
    }
    assert_eq!(own("; restart in 0.001 s"), 29);
    supervisor.stop().unwrap();
}

#[test]
fn short_lives_are_one_outage() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let backoff = RestartBackoff::new(MS, HOUR).reset_after(HOUR).jitter(0.0);
    let supervisor = up(Supervisor::one_for_one().child(with(&a, backoff)));
    for round in 1..5 {
        let began = Instant::now();
        a.crash();
        a.await_start(round + 1);
        assert!(began.elapsed() >= MS * (1 << (round - 1)), "round {round}");
    }
    supervisor.stop().unwrap();
}

#[test]
fn worker_that_fails_at_once_does_not_take_its_supervisor_down() {
    let _watchdog = watchdog();
    let file = Arc::new(AtomicBool::new(false));
    let starts = Arc::new(AtomicUsize::new(0));
    let (look, count) = (Arc::clone(&file), Arc::clone(&starts));
    let reader = ChildSpec::worker("reader", move || {
        count.fetch_add(1, Ordering::SeqCst);
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        if look.load(Ordering::SeqCst) { Ok(()) } else { Err(missing) }.or_exit();
        process::sleep(Duration::MAX);
    });
    let supervisor = up(Supervisor::one_for_one().child(reader.restart_backoff(SHORT.reset_after(HOUR))));
    eventually("it has failed more often than the intensity allows", || starts.load(Ordering::SeqCst) > 8);
    file.store(true, Ordering::SeqCst);
    eventually("it is running", || {
        let before = starts.load(Ordering::SeqCst);
        states(&supervisor)[0].1 == "running" && starts.load(Ordering::SeqCst) == before
    });
    supervisor.stop().unwrap();
}

/// Returns what the supervisor of this name and pid, and its children, have logged, without level debug.
fn log_of(name: &str, supervisor: Pid) -> Vec<String> {
    let own = [name.to_owned(), format!("ancestors: {supervisor}")];
    let is_own = |line: &String| own.iter().any(|text| line.contains(text)) && !line.starts_with("DEBUG");
    logs().into_iter().filter(is_own).collect()
}

#[test]
fn three_devices_are_away_and_the_hub_recovers_with_a_log_of_ten_lines() {
    const SENSORS: [&str; 3] = ["thermometer", "barometer", "hygrometer"];
    let _watchdog = watchdog();
    capture();
    let plugged_in = Arc::new(AtomicBool::new(true));
    let attempts = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
    let sensors = SENSORS.iter().zip(&attempts).map(|(id, count)| {
        let (look, count) = (Arc::clone(&plugged_in), Arc::clone(count));
        ChildSpec::worker(*id, move || {
            count.fetch_add(1, Ordering::SeqCst);
            loop {
                if !look.load(Ordering::SeqCst) {
                    process::exit_with("no such device");
                }
                process::sleep(MS);
            }
        })
    });
    let name = unique("backoff.hub");
    let plan = Supervisor::one_for_one().name(SupervisorRef::named(name));
    let backoff = RestartBackoff::new(MS, 8 * MS).reset_after(200 * MS);
    let hub = up(plan.child_restart_backoff(backoff).children(sensors));
    let (pid, before) = (pid_of(&hub), log_of(name, pid_of(&hub)).len());

    plugged_in.store(false, Ordering::SeqCst);
    eventually("all have failed often", || attempts.iter().all(|count| count.load(Ordering::SeqCst) > 12));
    plugged_in.store(true, Ordering::SeqCst);
    let lines =
        |text: &str| log_of(name, pid).split_off(before).iter().filter(|line| line.contains(text)).count();
    eventually("all outages are over", || lines("is running again as") == 3);

    assert!(states(&hub).iter().all(|(_, state)| *state == "running"));
    assert_eq!(pid_of(&hub), pid);
    let log = log_of(name, pid).split_off(before);
    assert_eq!(lines("exited: no such device; restart in"), 3, "{log:#?}");
    assert_eq!(lines("the longest delay"), 3, "{log:#?}");
    assert_eq!(log.iter().map(|record| record.lines().count()).sum::<usize>(), 9, "{log:#?}");
    hub.stop().unwrap();
}

#[test]
fn failed_starts_during_an_outage_are_not_reported_as_crashes() {
    let _watchdog = watchdog();
    capture();
    let away = Arc::new(AtomicBool::new(true));
    let look = Arc::clone(&away);
    // As `?` in `init` does; a panic in the third start is reported.
    let a = Child::new("a", &Journal::new()).starts_as(move |k| match k {
        3 => Begin::Panic("a bug"),
        _ if look.load(Ordering::SeqCst) => Begin::Fail("away"),
        _ => Begin::Up,
    });
    let name = unique("backoff.reports");
    let plan = Supervisor::one_for_one().name(SupervisorRef::named(name));
    let supervisor = up(plan.child(with(&a, SHORT.retry_first_start(true))));
    let reports = || -> Vec<String> {
        let log = log_of(name, pid_of(&supervisor)).into_iter().filter(|line| line.contains(" crashed: "));
        log.collect()
    };
    eventually("starts have failed", || a.attempts() > 8);
    assert!(matches!(&reports()[..], [panic] if panic.contains(": a bug")), "{:?}", reports());
    away.store(false, Ordering::SeqCst);
    a.await_start(1);
    // A server that fails while it is running is reported, and so is a start by a request.
    eventually("it is running", || states(&supervisor) == [("a".into(), "running")]);
    a.end("broken");
    eventually("the crash is reported", || reports().len() == 2);
    let b = Child::new("b", &Journal::new()).starts_as(|_| Begin::Fail("no"));
    supervisor.start_child(with(&b, SHORT)).unwrap_err();
    assert_eq!(reports().len(), 3);
    supervisor.stop().unwrap();
}

#[test]
fn supervisor_that_gave_up_is_restarted_with_a_backoff() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let inner = Supervisor::one_for_one().id("inner").max_restarts(0, SECOND).child(a.spec());
    let outer = up(Supervisor::one_for_one().max_restarts(0, SECOND).child(inner.restart_backoff(SHORT)));
    for round in 1..6 {
        a.crash();
        a.await_start(round + 1);
    }
    eventually("it is running", || states(&outer) == [("inner".into(), "running")]);
    outer.stop().unwrap();
}

#[test]
fn invalid_backoff_is_an_error_of_the_spec() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let (min, max) = (2 * SECOND, SECOND);
    let error = StartError::BadSpec(SpecError::BackoffRange { min, max });
    let wrong = RestartBackoff::new(min, max);
    assert_eq!(Supervisor::one_for_one().child(with(&a, wrong)).start().unwrap_err(), error);
    assert_eq!(Supervisor::one_for_one().child_restart_backoff(wrong).start().unwrap_err(), error);
    assert_eq!(DynamicSupervisor::child_spec().child_restart_backoff(wrong).start().unwrap_err(), error);
    let supervisor = up(Supervisor::one_for_one());
    assert_eq!(supervisor.start_child(with(&a, wrong)).unwrap_err(), error);
    supervisor.stop().unwrap();
    let pool = DynamicSupervisor::start().unwrap();
    assert_eq!(pool.start_child(with(&a, wrong)).unwrap_err(), error);
    pool.stop().unwrap();
    let zero = RestartBackoff::new(Duration::ZERO, SECOND);
    assert!(matches!(
        Supervisor::one_for_one().child_restart_backoff(zero).start(),
        Err(StartError::BadSpec(SpecError::BackoffRange { .. }))
    ));
    assert_eq!(a.attempts(), 0);
}

#[test]
fn child_that_ends_normally_forgets_its_failures() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let backoff = RestartBackoff::new(MS, HOUR).reset_after(HOUR).jitter(0.0);
    let supervisor = up(Supervisor::one_for_one().child(with(&a, backoff).restart(Restart::Transient)));
    // After the third failure in a row it would wait for 4 ms, after the twentieth for 9 min.
    for round in 0..20 {
        a.crash();
        a.await_start(2 * round + 2);
        a.end(ExitReason::Normal);
        assert_eq!(supervisor.restart_child("a"), Ok(a.await_start(2 * round + 3)));
    }
    supervisor.stop().unwrap();
}

fn pool(backoff: RestartBackoff) -> DynamicSupervisorRef {
    let plan = DynamicSupervisor::child_spec().max_restarts(0, SECOND).max_children(1);
    plan.child_restart_backoff(backoff).start().expect("it starts")
}

fn await_dynamic_wait(pool: &DynamicSupervisorRef) {
    let is_waiting =
        || pool.which_children().expect("it is running").iter().all(|child| child.restart_in().is_some());
    eventually("the child waits", is_waiting);
}

#[test]
fn dynamic_child_is_restarted_after_the_delay() {
    let _watchdog = watchdog();
    let (a, broken) = breaks("a", &Journal::new());
    let pool = pool(SHORT);
    pool.start_child(a.spec()).unwrap();
    a.crash();
    eventually("restarts failed", || a.attempts() > 6);
    broken.store(false, Ordering::SeqCst);
    let second = a.await_start(2);
    eventually("it is listed", || pool.which_children().unwrap()[0].pid() == Some(second));
    for round in 2..6 {
        a.crash();
        a.await_start(round + 1);
    }
    pool.stop().unwrap();
}

#[test]
fn waiting_dynamic_child_counts_is_shown_and_has_its_last_pid() {
    let _watchdog = watchdog();
    let (a, b) = (Child::new("a", &Journal::new()), Child::new("b", &Journal::new()));
    let pool = pool(LONG);
    let last = pool.start_child(a.spec()).unwrap();
    a.crash();
    await_dynamic_wait(&pool);
    assert_eq!(pool.start_child(b.spec()), Err(StartError::MaxChildren { limit: 1 }));
    let supervisor = pool.whereis().unwrap();
    let rows = || -> Vec<String> {
        observer::snapshot().tree_of(supervisor).iter().map(ToString::to_string).collect()
    };
    assert!(rows()[1].starts_with("x- a  restarting in"), "{:?}", rows());
    assert_eq!(pool.terminate_child(last), Ok(()));
    assert_eq!(rows().len(), 1);
    assert_eq!(pool.terminate_child(last), Err(ChildError::NotFound));
    assert_eq!(pool.start_child(b.spec()), Ok(b.pid()));
    pool.stop().unwrap();
    assert_eq!(a.attempts(), 1);
}

#[test]
fn dynamic_supervisor_gives_up_after_the_longest_outage_and_stops_while_a_child_waits() {
    let _watchdog = watchdog();
    let (a, _broken) = breaks("a", &Journal::new());
    let gives_up = pool(SHORT.give_up_after(10 * MS));
    gives_up.start_child(a.spec()).unwrap();
    let watch = gives_up.watch();
    a.crash();
    assert_eq!(watch.wait(), ExitReason::Shutdown);
    let b = Child::new("b", &Journal::new());
    let stops = pool(LONG);
    stops.start_child(b.spec()).unwrap();
    b.crash();
    await_dynamic_wait(&stops);
    stops.stop().unwrap();
    assert_eq!(b.attempts(), 1);
}

#[test]
fn partition_is_restarted_after_the_delay() {
    let _watchdog = watchdog();
    let parts: PartitionRef<Actor> = PartitionRef::named(unique("backoff.parts"));
    let (a, b) = (Child::new("a", &Journal::new()), Child::new("b", &Journal::new()));
    let children = [a.clone(), b.clone()];
    let plan = PartitionSupervisor::child_spec(parts, move |at| children[at].spec()).partitions(2);
    let supervisor = plan.max_restarts(0, SECOND).child_restart_backoff(SHORT).start().unwrap();
    for round in 1..5 {
        a.crash();
        let next = a.await_start(round + 1);
        assert_eq!(parts.partition(0).whereis_timeout(30 * SECOND), Some(next));
    }
    assert_eq!(b.starts(), 1);
    supervisor.stop().unwrap();
}
