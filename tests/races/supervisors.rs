//! Supervisors whose children exit while the supervisor is busy.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rethread::prelude::*;
use rethread::supervisor::{ChildError, ChildState, DynamicSupervisor, RestartBackoff, SupervisorSpec};

use crate::harness::{LONG, drained, end_of, race};

/// Exits on request.
struct Child;

impl GenServer for Child {
    type Args = ();
    type Call = Caller<Pid>;
    type Cast = &'static str;

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self)
    }

    fn handle_call(&mut self, from: Caller<Pid>, cx: &mut Context<Self>) -> Next {
        from.reply(cx.pid())
    }

    fn handle_cast(&mut self, reason: &'static str, _: &mut Context<Self>) -> Next {
        Next::stop(reason)
    }
}

/// A supervisor with two children.
struct Family {
    supervisor: SupervisorRef,
    children: [ServerRef<Child>; 2],
}

fn family(strategy: Strategy, names: [&'static str; 2]) -> Family {
    let children = names.map(ServerRef::named);
    let spec = |child: &ServerRef<Child>| Child::child_spec(()).name(child.clone()).id(child.to_string());
    let supervisor = SupervisorSpec::new(strategy)
        .children(children.iter().map(spec))
        .max_restarts(100, Duration::from_secs(5))
        .start_link();
    Family { supervisor: supervisor.expect("it starts"), children }
}

impl Family {
    fn crash(&self) {
        self.children.iter().for_each(|child| child.cast("crash"));
    }

    /// Checks that all its processes have exited.
    fn is_gone(&self) {
        self.supervisor.watch().wait();
        let names = self.children.each_ref().map(|child| Some(child.to_string()));
        let left = |info: &process::ProcessInfo| names.contains(&info.name.as_deref().map(str::to_owned));
        assert!(!process::processes().iter().any(left), "some are left: {:?}", process::processes());
    }
}

#[test]
fn a_stop_meets_the_end_of_a_child() {
    race("supervisor: stop, child ends").run(|inbox| {
        let family = family(Strategy::OneForOne, ["races.stop.a", "races.stop.b"]);
        family.children[1].cast("crash");
        family.supervisor.stop().expect("it stops");
        family.is_gone();
        drained(inbox);
    });
}

#[test]
fn a_stop_meets_the_ends_of_all_children() {
    race("supervisor: stop, all children end").impatient().run(|inbox| {
        let family = family(Strategy::OneForAll, ["races.end.a", "races.end.b"]);
        family.crash();
        let _ = family.supervisor.stop();
        family.is_gone();
        drained(inbox);
    });
}

#[test]
fn children_that_crash_at_once_are_both_restarted() {
    race("supervisor: child ends, child ends").run(|inbox| {
        let family = family(Strategy::OneForAll, ["races.crash.a", "races.crash.b"]);
        let pids = || family.children.each_ref().map(|child| child.call(|from| from).expect("it is running"));
        let before = pids();
        let watched = before.map(process::watch);
        family.crash();
        watched.iter().for_each(|watch| drop(watch.wait()));
        assert_eq!(family.supervisor.which_children().expect("it answers").len(), 2);
        let after = family.children.each_ref().map(|child| child.whereis_timeout(LONG).expect("it is back"));
        assert!(after.iter().all(|pid| !before.contains(pid)), "{before:?} {after:?}");
        family.supervisor.stop().expect("it stops");
        family.is_gone();
        drained(inbox);
    });
}

#[test]
fn killed_supervisor_ends_all_children() {
    race("supervisor: kill, restart").run(|inbox| {
        let family = family(Strategy::RestForOne, ["races.kill.a", "races.kill.b"]);
        let pid = family.supervisor.whereis().expect("it is running");
        let watched = family.children.each_ref().map(ServerRef::watch);
        family.children[0].cast("crash");
        process::exit(pid, rethread::ExitReason::Kill);
        end_of(pid);
        watched.iter().for_each(|watch| drop(watch.wait()));
        drained(inbox);
    });
}

/// The delay of a restart.
const DELAY: Duration = Duration::from_micros(5);

/// A supervisor whose child has failed and waits for its restart, or is running again.
struct Delayed {
    supervisor: SupervisorRef,
    starts: Arc<AtomicUsize>,
}

impl Delayed {
    fn new(name: &'static str) -> Self {
        let starts = Arc::new(AtomicUsize::new(0));
        let (count, child): (_, ServerRef<Child>) = (Arc::clone(&starts), ServerRef::named(name));
        let spec = ChildSpec::new("child", move || {
            count.fetch_add(1, Ordering::SeqCst);
            let started = Child::child_spec(()).name(ServerRef::named(name)).start_link()?;
            started.whereis().ok_or_else(|| rethread::StartError::failed("gone"))
        });
        let spec = spec.restart_backoff(RestartBackoff::new(DELAY, DELAY));
        let supervisor = Supervisor::one_for_one().child(spec).start_link().expect("it starts");
        let watch = child.watch();
        child.cast("crash");
        watch.wait(); // the exit is in the mailbox of the supervisor
        Self { supervisor, starts }
    }

    fn state(&self) -> ChildState {
        self.supervisor.which_children().expect("it answers")[0].state
    }

    fn starts(&self) -> usize {
        self.starts.load(Ordering::SeqCst)
    }

    fn stop(&self) {
        self.supervisor.stop().expect("it stops");
    }
}

#[test]
fn child_that_is_terminated_at_the_end_of_its_wait_stays_stopped() {
    race("supervisor: terminate, wait ends").impatient().run(|inbox| {
        let delayed = Delayed::new("races.wait.terminate");
        delayed.supervisor.terminate_child("child").expect("it is terminated");
        let starts = delayed.starts();
        process::sleep(DELAY * 4);
        assert_eq!((delayed.state(), delayed.starts()), (ChildState::Stopped, starts));
        delayed.stop();
        drained(inbox);
    });
}

#[test]
fn child_that_is_restarted_by_request_at_the_end_of_its_wait_is_started_once() {
    race("supervisor: restart, wait ends").impatient().run(|inbox| {
        let delayed = Delayed::new("races.wait.restart");
        let restarted = delayed.supervisor.restart_child("child");
        assert!(matches!(restarted, Ok(_) | Err(ChildError::Running)), "{restarted:?}");
        process::sleep(DELAY * 4);
        assert!(matches!(delayed.state(), ChildState::Running(_)));
        assert_eq!(delayed.starts(), 2);
        delayed.stop();
        drained(inbox);
    });
}

#[test]
fn a_stop_meets_the_end_of_a_wait() {
    race("supervisor: stop, wait ends").impatient().run(|inbox| {
        let delayed = Delayed::new("races.wait.stop");
        delayed.stop();
        let starts = delayed.starts();
        let left = |info: &process::ProcessInfo| info.name.as_deref() == Some("races.wait.stop");
        assert!(!process::processes().iter().any(left), "it is left: {:?}", process::processes());
        process::sleep(DELAY * 4);
        assert_eq!(delayed.starts(), starts);
        drained(inbox);
    });
}

#[test]
fn child_started_while_the_supervisor_exits_exits_too() {
    race("dynamic supervisor: start, stop").run(|inbox| {
        let supervisor = DynamicSupervisor::start_link().expect("it starts");
        let other = supervisor.clone();
        let client = process::spawn(move || {
            if let Ok(child) = other.start_server(Child::child_spec(())) {
                child.cast("crash");
            }
            let _ =
                other.start_server(Child::child_spec(()).restart(rethread::supervisor::Restart::Temporary));
        });
        let client = process::watch(client.expect("a thread"));
        supervisor.stop().expect("it stops");
        assert!(!matches!(client.wait(), rethread::ExitReason::Panic(_)));
        drained(inbox);
    });
}
