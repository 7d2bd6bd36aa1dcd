//! Dynamic supervisors whose children are started, terminated and exit concurrently.

use rethread::ExitReason;
use rethread::StartError;
use rethread::prelude::*;
use rethread::supervisor::ChildError;
use rethread::supervisor::DynamicSupervisor;

use crate::harness::{LONG, drained, end_of, race};

/// Exits on request.
struct Child;

impl GenServer for Child {
    type Args = ();
    type Call = Infallible;
    type Cast = &'static str;

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self)
    }

    fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next {
        match call {}
    }

    fn handle_cast(&mut self, reason: &'static str, _: &mut Context<Self>) -> Next {
        Next::stop(reason)
    }
}

#[test]
fn a_child_that_ends_while_it_is_terminated_is_gone_or_was_started_again() {
    const CHILD: ServerRef<Child> = ServerRef::named("races.dynamic.1");
    race("dynamic supervisor: terminate, terminate, child ends").run(|inbox| {
        let supervisor = DynamicSupervisor::start_link().expect("it starts");
        let child = supervisor.start_server(Child::child_spec(()).name(CHILD)).expect("it starts");
        let pid = child.whereis().expect("it is running");
        let (other, test) = (supervisor.clone(), inbox.address());
        let terminating = process::spawn(move || test.send(other.terminate_child(pid).is_ok().into()));
        child.cast("crash");
        let terminated = supervisor.terminate_child(pid);
        assert!(matches!(terminated, Ok(()) | Err(ChildError::NotFound)), "{terminated:?}");
        let by_others = inbox.recv_where(|event| matches!(event, process::Event::Message(_))).into_message();
        let terminations = u64::from(terminated.is_ok()) + by_others.expect("a message");
        let left = supervisor.which_children().expect("it is running");
        assert_eq!(left.len() as u64 + terminations, 1, "{left:?} are left of one agent");
        assert_eq!(CHILD.whereis(), left.first().and_then(rethread::supervisor::ChildInfo::pid));
        assert!(CHILD.whereis() != Some(pid));
        end_of(terminating.expect("a thread"));
        supervisor.stop().expect("it stops");
        assert_eq!(CHILD.whereis(), None);
        drained(inbox);
    });
}

#[test]
fn room_for_a_child_is_free_when_its_exit_is_known() {
    race("dynamic supervisor: child ends, start").run(|inbox| {
        let supervisor = DynamicSupervisor::child_spec().max_children(1).start_link().expect("it starts");
        let spec = || Child::child_spec(()).restart(Restart::Temporary);
        let child = supervisor.start_server(spec()).expect("there is room");
        let pid = child.whereis().expect("it is running");
        process::link(pid).expect("it is running");
        child.cast("crash");
        let event = inbox.recv();
        assert_eq!(event, process::Event::Exit { from: pid, reason: "crash".into() });
        let next = supervisor.start_server(spec());
        assert!(next.is_ok(), "{next:?}");
        supervisor.stop().expect("it stops");
        drained(inbox);
    });
}

#[test]
fn of_two_starts_at_the_limit_one_succeeds() {
    race("dynamic supervisor: start, start, child ends").run(|inbox| {
        let supervisor = DynamicSupervisor::child_spec().max_children(1).start_link().expect("it starts");
        let spec = || Child::child_spec(()).restart(Restart::Temporary);
        let (other, test) = (supervisor.clone(), inbox.address());
        let starting = process::spawn(move || test.send(other.start_server(spec()).is_ok().into()));
        let mine = supervisor.start_server(spec());
        let theirs = inbox.recv().into_message().expect("a message");
        assert_eq!(u64::from(mine.is_ok()) + theirs, 1);
        assert_eq!(supervisor.count_children().expect("it is running").active, 1);
        end_of(starting.expect("a thread"));
        supervisor.stop().expect("it stops");
        drained(inbox);
    });
}

#[test]
fn killed_child_is_restarted_while_others_start_and_exit() {
    const CHILD: ServerRef<Child> = ServerRef::named("races.dynamic.2");
    race("dynamic supervisor: start, child is killed").run(|inbox| {
        let supervisor = DynamicSupervisor::start_link().expect("it starts");
        let child = supervisor.start_server(Child::child_spec(()).name(CHILD)).expect("it starts");
        let pid = child.whereis().expect("it is running");
        let watch = process::watch(pid);
        let killer = process::spawn(move || process::exit(pid, ExitReason::Kill)).expect("a thread");
        let other = supervisor.start_server(Child::child_spec(())).expect("it starts");
        supervisor.terminate_child(other.whereis().expect("it is running")).expect("it is there");
        watch.wait();
        assert!(CHILD.whereis_timeout(LONG).is_some_and(|back| back != pid));
        end_of(killer);
        supervisor.stop().expect("it stops");
        drained(inbox);
    });
}

#[test]
fn stop_leaves_no_started_child_behind() {
    const CHILD: ServerRef<Child> = ServerRef::named("races.dynamic.3");
    race("dynamic supervisor: stop, start").run(|inbox| {
        let supervisor = DynamicSupervisor::start_link().expect("it starts");
        let other = supervisor.clone();
        let client = process::spawn(move || {
            match other.start_server(Child::child_spec(()).name(CHILD)) {
                Ok(child) => drop(child.watch().wait()), // must return
                Err(error) => assert!(matches!(error, StartError::NoSupervisor(_)), "{error}"),
            }
        });
        let client = process::watch(client.expect("a thread"));
        supervisor.stop().expect("it stops");
        assert_eq!(CHILD.whereis(), None);
        assert!(!matches!(client.wait(), ExitReason::Panic(_)));
        drained(inbox);
    });
}
