//! A process that runs closures of the test and records the `Exit` and `Down` events it receives. For tests
//! in which the calls under test must come from a process other than the test's own.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rethread::process::{self, Address, Event, MonitorTarget};
use rethread::{ExitReason, Pid};

/// A closure for the process to run.
pub(crate) struct Action(Box<dyn FnOnce() + Send>);

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Act(..)")
    }
}

/// The `Exit` and `Down` events that the process has received, in order.
#[derive(Clone, Default)]
struct Received(Arc<(Mutex<Vec<Event<()>>>, Condvar)>);

/// A process controlled by the test.
pub(crate) struct ScriptedProcess {
    address: Address<Action>,
    received: Received,
}

impl ScriptedProcess {
    /// Starts a process that does not trap exits.
    pub(crate) fn new() -> Self {
        Self::with(process::Builder::new())
    }

    /// Starts a process that traps exits.
    pub(crate) fn trapping() -> Self {
        let process = Self::new();
        process.run(|| process::trap_exit(true));
        process
    }

    /// Starts a process with the options of `builder`.
    pub(crate) fn with(builder: process::Builder) -> Self {
        let received = Received::default();
        let own = received.clone();
        let body = move |inbox: &mut process::Inbox<Action>| {
            loop {
                let event = match inbox.recv() {
                    Event::Message(Action(act)) => {
                        act();
                        continue;
                    }
                    Event::Exit { from, reason } => Event::Exit { from, reason },
                    Event::Down { monitor, target, reason } => Event::Down { monitor, target, reason },
                    event => panic!("an event that the tests do not know: {event:?}"),
                };
                own.0.0.lock().push(event);
                own.0.1.notify_all();
            }
        };
        Self { address: builder.spawn_receiver(body).expect("a free thread"), received }
    }

    pub(crate) fn pid(&self) -> Pid {
        self.address.pid()
    }

    /// Runs a closure in the process, and waits for its result.
    #[track_caller]
    pub(crate) fn run<R: Send + 'static>(&self, act: impl FnOnce() -> R + Send + 'static) -> R {
        let (done, result) = channel();
        self.start(move || {
            let _ = done.send(act());
        });
        result.recv().expect("the process runs the closure")
    }

    /// Runs a closure in the process without waiting: it may end the process.
    pub(crate) fn start(&self, act: impl FnOnce() + Send + 'static) {
        self.address.send(Action(Box::new(act)));
    }

    /// Returns the events received of everything that was sent before this call.
    #[track_caller]
    pub(crate) fn received(&self) -> Vec<Event<()>> {
        self.run(|| ());
        self.received.0.0.lock().clone()
    }

    /// Waits until `count` events have been received, and returns all.
    #[track_caller]
    pub(crate) fn wait_for_events(&self, count: usize) -> Vec<Event<()>> {
        let mut received = self.received.0.0.lock();
        while received.len() < count {
            let timed_out = self.received.0.1.wait_for(&mut received, Duration::from_secs(30)).timed_out();
            assert!(!timed_out, "only this was received: {received:?}");
        }
        received.clone()
    }

    /// Returns the processes it is linked to.
    #[track_caller]
    pub(crate) fn links(&self) -> Vec<Pid> {
        process::info(self).expect("the process is running").links
    }
}

impl From<&ScriptedProcess> for Pid {
    fn from(process: &ScriptedProcess) -> Self {
        process.pid()
    }
}

/// Returns a trapped exit, to compare with.
pub(crate) fn exit(from: impl Into<Pid>, reason: impl Into<ExitReason>) -> Event<()> {
    Event::Exit { from: from.into(), reason: reason.into() }
}

/// Returns the target and the reason of a `Down`.
#[track_caller]
pub(crate) fn down_of(event: &Event<()>) -> (MonitorTarget, ExitReason) {
    match event {
        Event::Down { target, reason, .. } => (target.clone(), reason.clone()),
        other => panic!("a down was due, not {other:?}"),
    }
}
