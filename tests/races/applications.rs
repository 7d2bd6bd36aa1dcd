//! Applications that are started, stopped and exit concurrently.

use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::time::Duration;

use rethread::agent::Agent;
use rethread::application::ApplicationError;
use rethread::application::{Application, ApplicationExit};
use rethread::prelude::*;

use crate::harness::{drained, end_of, race};

/// The number of running children of an application, and how often its end was reached.
#[derive(Default)]
struct Counts {
    alive: AtomicIsize,
    ends: AtomicUsize,
}

/// Counts a running child: there must be one at a time.
struct Alive(Arc<Counts>);

impl Alive {
    fn begin(counts: &Arc<Counts>) -> Self {
        assert_eq!(counts.alive.fetch_add(1, Ordering::SeqCst), 0, "a child of another start lives");
        Self(Arc::clone(counts))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        let _ = process::whereis("races"); // a step that takes time
        self.0.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

fn plan(name: &'static str, counts: &Arc<Counts>) -> Application {
    let (child, end) = (Arc::clone(counts), Arc::clone(counts));
    let spec = Agent::child_spec(move || Alive::begin(&child));
    Application::new(name, Supervisor::one_for_one().child(spec)).on_stop(move || {
        assert_eq!(end.alive.load(Ordering::SeqCst), 0, "it has exited and its child is running");
        end.ends.fetch_add(1, Ordering::SeqCst);
    })
}

impl Counts {
    /// Checks that nothing is left, after this number of starts.
    fn all_ended(&self, name: &str, begun: usize) {
        assert!(Application::find(name).is_none());
        assert_eq!(self.alive.load(Ordering::SeqCst), 0);
        assert_eq!(self.ends.load(Ordering::SeqCst), begun);
    }
}

#[test]
fn a_stop_meets_the_end_of_the_top_supervisor() {
    const APP: &str = "races.application.1";
    race("application: stop, top supervisor ends").run(|inbox| {
        let counts = Arc::new(Counts::default());
        let app = plan(APP, &counts).start().expect("it starts");
        let top = app.supervisor();
        let ending = process::spawn(move || drop(top.stop())).expect("a thread");
        let stopping = app.clone();
        let other = process::spawn(move || {
            let stopped = stopping.stop();
            assert!(matches!(stopped, Ok(()) | Err(ApplicationError::NotStarted(_))), "{stopped:?}");
            assert!(!stopping.is_running());
        });
        let other = process::watch(other.expect("a thread"));
        let stopped = app.stop();
        assert!(matches!(stopped, Ok(()) | Err(ApplicationError::NotStarted(_))), "{stopped:?}");
        counts.all_ended(APP, 1);
        assert!(app.wait().is_success());
        assert!(!matches!(other.wait(), ExitReason::Panic(_)));
        end_of(ending);
        drained(inbox);
    });
}

#[test]
fn of_two_starts_one_wins() {
    const APP: &str = "races.application.2";
    race("application: start, start").run(|inbox| {
        let counts = Arc::new(Counts::default());
        let (other, test) = (Arc::clone(&counts), inbox.address());
        let starting = process::spawn(move || {
            let started = plan(APP, &other).start();
            assert!(matches!(started, Ok(_) | Err(ApplicationError::AlreadyStarted(_))), "{started:?}");
            test.send(started.is_ok().into());
        });
        let starting = starting.expect("a thread");
        let started = plan(APP, &counts).start();
        assert!(matches!(started, Ok(_) | Err(ApplicationError::AlreadyStarted(_))), "{started:?}");
        let theirs = inbox.recv().into_message().expect("a message");
        assert_eq!(theirs + u64::from(started.is_ok()), 1, "it was started more than once");
        assert!(Application::running().contains(&APP.into()));
        Application::stop(APP).expect("it runs");
        counts.all_ended(APP, 1);
        end_of(starting);
    });
}

#[test]
fn start_during_a_stop_begins_when_nothing_is_left() {
    const APP: &str = "races.application.3";
    race("application: stop, start").run(|inbox| {
        let counts = Arc::new(Counts::default());
        let app = plan(APP, &counts).start().expect("it starts");
        let (other, test) = (Arc::clone(&counts), inbox.address());
        let starting = process::spawn(move || match plan(APP, &other).start() {
            Ok(_) => test.send(other.ends.load(Ordering::SeqCst) as u64),
            Err(error) => {
                assert_eq!(error, ApplicationError::AlreadyStarted(APP.into()));
                test.send(0);
            }
        });
        let starting = starting.expect("a thread");
        app.stop().expect("it runs");
        let begun = inbox.recv_where(|event| matches!(event, process::Event::Message(_))).into_message();
        let again = begun.expect("a message");
        assert!(again <= 1, "the end of the first was reached {again} times");
        if again == 1 {
            Application::stop(APP).expect("it runs");
        }
        counts.all_ended(APP, if again == 1 { 2 } else { 1 });
        end_of(starting);
        drained(inbox);
    });
}

#[test]
fn process_started_while_the_application_is_killed_exits_with_it() {
    const APP: &str = "races.application.4";
    race("application: kill, birth").run(|inbox| {
        let parent = ChildSpec::worker("parent", || {
            let _ = process::spawn_receiver::<u64>(|inbox| drop(inbox.recv())); // linked with no process
        });
        let top = Supervisor::one_for_one().child(parent.restart(Restart::Temporary));
        let app = Application::new(APP, top).start().expect("it starts");
        let label =
            |info: &process::ProcessInfo| info.label.as_deref() == Some("application races.application.4");
        let master = process::processes().into_iter().find(label).expect("it has a master").pid;
        process::exit(master, ExitReason::Kill);
        assert_eq!(app.wait(), ApplicationExit::Stopped(ExitReason::Killed));
        drained(inbox); // that nothing is left is checked at the end
    });
}

#[test]
fn process_that_exits_during_the_stop_has_exited_before_it_returns() {
    const APP: &str = "races.application.5";
    race("application: stop, a process of it ends").run_as::<process::Address<u64>>(|inbox| {
        let test = inbox.address();
        let parent = ChildSpec::worker("parent", move || {
            // No supervisor and no link.
            test.send(process::spawn_receiver::<u64>(|inbox| drop(inbox.recv())).expect("a thread"));
        });
        let top = Supervisor::one_for_one().child(parent.restart(Restart::Temporary));
        let app = Application::new(APP, top).start().expect("it starts");
        let stray = inbox.recv().into_message().expect("a message");
        stray.send(0);
        app.stop().expect("it runs");
        let end = process::watch(&stray).wait_timeout(Duration::ZERO);
        assert_eq!(end, Some(ExitReason::NoProc), "all have been notified");
    });
}
