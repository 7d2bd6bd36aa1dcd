//! A process that does what it is told and remembers what the runtime tells it. Tests use it where the
//! interesting calls must come from a process other than the test's own.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rethread::process::{self, Address, Event, MonitorTarget};
use rethread::{ExitReason, Pid};

/// Something for a puppet to do.
pub(crate) struct Act(Box<dyn FnOnce() + Send>);

impl fmt::Debug for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Act(..)")
    }
}

/// What a puppet has been told: its `Exit` and `Down` events, in order.
#[derive(Clone, Default)]
struct Heard(Arc<(Mutex<Vec<Event<()>>>, Condvar)>);

/// A process on strings.
pub(crate) struct Puppet {
    address: Address<Act>,
    heard: Heard,
}

impl Puppet {
    /// One that does not trap exits.
    pub(crate) fn new() -> Self {
        Self::with(process::Builder::new())
    }

    /// One that traps exits.
    pub(crate) fn trapping() -> Self {
        let puppet = Self::new();
        puppet.does(|| process::trap_exit(true));
        puppet
    }

    /// One with options of its own.
    pub(crate) fn with(builder: process::Builder) -> Self {
        let heard = Heard::default();
        let own = heard.clone();
        let body = move |inbox: &mut process::Inbox<Act>| {
            loop {
                let event = match inbox.recv() {
                    Event::Message(Act(act)) => {
                        act();
                        continue;
                    }
                    Event::Exit { from, reason } => Event::Exit { from, reason },
                    Event::Down { monitor, target, reason } => Event::Down { monitor, target, reason },
                };
                own.0.0.lock().push(event);
                own.0.1.notify_all();
            }
        };
        Self { address: builder.spawn(body).expect("a free thread"), heard }
    }

    pub(crate) fn pid(&self) -> Pid {
        self.address.pid()
    }

    /// Has the puppet do something, and waits until it has.
    #[track_caller]
    pub(crate) fn does<R: Send + 'static>(&self, act: impl FnOnce() -> R + Send + 'static) -> R {
        let (done, result) = channel();
        self.begins(move || {
            let _ = done.send(act());
        });
        result.recv().expect("the puppet lives and does it")
    }

    /// Has the puppet do something, without waiting: it may be the end of it.
    pub(crate) fn begins(&self, act: impl FnOnce() + Send + 'static) {
        self.address.send(Act(Box::new(act)));
    }

    /// What it has heard of everything that was sent to it before.
    #[track_caller]
    pub(crate) fn heard(&self) -> Vec<Event<()>> {
        self.does(|| ());
        self.heard.0.0.lock().clone()
    }

    /// Waits until it has heard so many things, and returns all.
    #[track_caller]
    pub(crate) fn hears(&self, count: usize) -> Vec<Event<()>> {
        let mut heard = self.heard.0.0.lock();
        while heard.len() < count {
            let timed_out = self.heard.0.1.wait_for(&mut heard, Duration::from_secs(30)).timed_out();
            assert!(!timed_out, "only this was heard: {heard:?}");
        }
        heard.clone()
    }

    /// Whom it is linked to.
    #[track_caller]
    pub(crate) fn links(&self) -> Vec<Pid> {
        process::info(self).expect("the puppet lives").links
    }
}

impl From<&Puppet> for Pid {
    fn from(puppet: &Puppet) -> Self {
        puppet.pid()
    }
}

/// A trapped exit, to compare with.
pub(crate) fn exit(from: impl Into<Pid>, reason: impl Into<ExitReason>) -> Event<()> {
    Event::Exit { from: from.into(), reason: reason.into() }
}

/// The target and the reason of a `Down`.
#[track_caller]
pub(crate) fn down_of(event: &Event<()>) -> (MonitorTarget, ExitReason) {
    match event {
        Event::Down { target, reason, .. } => (target.clone(), reason.clone()),
        other => panic!("a down was due, not {other:?}"),
    }
}
