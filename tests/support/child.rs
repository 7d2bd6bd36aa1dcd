//! A scripted child for the tests of supervisors: starts, fails, ignores or panics by script, and notes its
//! starts and stops in a journal.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rethread::gen_server::ServerSpec;
use rethread::prelude::*;
use rethread::supervisor::ChildState;
use rethread::supervisor::SupervisorSpec;

use crate::support::{Gate, Journal};

/// The outcome of one start of a child.
pub(crate) enum Begin {
    Up,
    /// `init` returns this reason, and it is reported.
    Fail(&'static str),
    /// `init` returns this reason quietly.
    Quiet(&'static str),
    Ignore,
    Panic(&'static str),
}

type StartScript = dyn Fn(usize) -> Begin + Send + Sync;
type EndScript = dyn Fn(&ExitReason) + Send + Sync;

/// The script and the remote control of one child, shared by all its incarnations.
#[derive(Clone)]
pub(crate) struct Child {
    pub(crate) id: &'static str,
    journal: Journal,
    traps: bool,
    begin: Arc<StartScript>,
    end: Arc<EndScript>,
    shared: Arc<(Mutex<Shared>, Condvar)>,
}

#[derive(Default)]
struct Shared {
    attempts: usize,
    starts: usize,
    server: Option<ServerRef<Actor>>,
}

impl Child {
    /// Creates a child that notes `start id` when it starts, `fail id` or `ignore id` when it does not, and
    /// `stop id` when its state is dropped, which is before any other process is notified of its exit.
    pub(crate) fn new(id: &'static str, journal: &Journal) -> Self {
        Self {
            id,
            journal: journal.clone(),
            traps: false,
            begin: Arc::new(|_| Begin::Up),
            end: Arc::new(|_| ()),
            shared: Arc::default(),
        }
    }

    pub(crate) fn traps(mut self) -> Self {
        self.traps = true;
        self
    }

    /// Sets the outcome of start number K; K counts from 1.
    pub(crate) fn starts_as(mut self, script: impl Fn(usize) -> Begin + Send + Sync + 'static) -> Self {
        self.begin = Arc::new(script);
        self
    }

    /// Sets what it does in `terminate`.
    pub(crate) fn ends_by(mut self, script: impl Fn(&ExitReason) + Send + Sync + 'static) -> Self {
        self.end = Arc::new(script);
        self
    }

    pub(crate) fn spec(&self) -> ServerSpec<Actor> {
        Actor::child_spec(self.clone()).id(self.id)
    }

    pub(crate) fn permanent(&self) -> ChildSpec {
        self.spec().into()
    }

    pub(crate) fn transient(&self) -> ChildSpec {
        self.spec().restart(Restart::Transient).into()
    }

    pub(crate) fn temporary(&self) -> ChildSpec {
        self.spec().restart(Restart::Temporary).into()
    }

    /// Returns the number of attempts to start it.
    pub(crate) fn attempts(&self) -> usize {
        self.shared.0.lock().attempts
    }

    /// Returns the number of successful starts.
    pub(crate) fn starts(&self) -> usize {
        self.shared.0.lock().starts
    }

    /// Waits until it has started `count` times, and returns its pid then.
    #[track_caller]
    pub(crate) fn await_start(&self, count: usize) -> Pid {
        let mut shared = self.shared.0.lock();
        while shared.starts < count {
            let late = self.shared.1.wait_for(&mut shared, Duration::from_secs(30)).timed_out();
            assert!(!late, "{} started only {} times: {:?}", self.id, shared.starts, self.journal.all());
        }
        shared.server.as_ref().and_then(ServerRef::whereis).expect("it started")
    }

    /// Returns the latest incarnation.
    #[track_caller]
    pub(crate) fn server(&self) -> ServerRef<Actor> {
        self.shared.0.lock().server.clone().unwrap_or_else(|| panic!("{} never started", self.id))
    }

    #[track_caller]
    pub(crate) fn pid(&self) -> Pid {
        self.server().whereis().expect("a pinned reference has a pid")
    }

    /// Sends the latest incarnation a closure to run between two messages.
    #[track_caller]
    pub(crate) fn run(&self, what: impl FnOnce() + Send + 'static) {
        self.server().cast(Tell(Box::new(what)));
    }

    /// Sends it a closure and waits until it has run.
    #[track_caller]
    pub(crate) fn run_and_wait(&self, what: impl FnOnce() + Send + 'static) {
        self.run(what);
        self.server().call(Ask).expect("it keeps running");
    }

    /// Makes the latest incarnation exit by itself and waits for the exit: its links have been notified
    /// then.
    #[track_caller]
    pub(crate) fn end(&self, reason: impl Into<ExitReason>) -> ExitReason {
        let reason = reason.into();
        let watch = self.server().watch();
        self.run(move || process::exit_with(reason));
        watch.wait()
    }

    /// Like `end`, but by a panic.
    #[track_caller]
    pub(crate) fn crash(&self) -> ExitReason {
        let watch = self.server().watch();
        self.run(|| panic!("crash on request"));
        watch.wait()
    }

    /// Like `end`, but by an exit signal from outside.
    #[track_caller]
    pub(crate) fn kill(&self) -> ExitReason {
        kill(self.pid(), ExitReason::Kill)
    }
}

/// Sends an exit signal and waits for the exit: the links of the process have been notified then.
pub(crate) fn kill(pid: Pid, reason: impl Into<ExitReason>) -> ExitReason {
    let watch = process::watch(pid);
    process::exit(pid, reason);
    watch.wait()
}

/// The server behind a `Child`.
pub(crate) struct Actor {
    child: Child,
}

pub(crate) struct Ask(pub(crate) Caller<()>);
pub(crate) struct Tell(pub(crate) Box<dyn FnOnce() + Send>);

impl GenServer for Actor {
    type Args = Child;
    type Call = Ask;
    type Cast = Tell;

    fn init(child: Child, cx: &mut Context<Self>) -> Result<Self, InitError> {
        let attempt = {
            let mut shared = child.shared.0.lock();
            shared.attempts += 1;
            shared.attempts
        };
        let note = |what: &str| child.journal.note(format!("{what} {}", child.id));
        match (child.begin)(attempt) {
            Begin::Up => {}
            Begin::Ignore => {
                note("ignore");
                return Err(InitError::Ignore);
            }
            Begin::Fail(reason) => {
                note("fail");
                return Err(InitError::Stop(reason.into()));
            }
            Begin::Quiet(reason) => {
                note("fail");
                return Err(InitError::Error(reason.into()));
            }
            Begin::Panic(text) => {
                note("fail");
                panic!("{text}");
            }
        }
        cx.trap_exit(child.traps);
        note("start");
        let mut shared = child.shared.0.lock();
        shared.starts += 1;
        shared.server = Some(cx.server_ref());
        drop(shared);
        child.shared.1.notify_all();
        Ok(Self { child })
    }

    fn handle_call(&mut self, Ask(from): Ask, _: &mut Context<Self>) -> Next {
        from.reply(())
    }

    fn handle_cast(&mut self, Tell(what): Tell, _: &mut Context<Self>) -> Next {
        what();
        Next::wait()
    }

    fn terminate(&mut self, reason: &ExitReason, _: &mut Context<Self>) {
        (self.child.end)(reason);
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.child.journal.note(format!("stop {}", self.child.id));
    }
}

/// Returns a child that traps exits and ignores them.
pub(crate) fn stubborn(id: &'static str) -> ChildSpec {
    ChildSpec::new(id, || {
        let traps = Gate::new();
        let trapped = traps.clone();
        let process = process::spawn_receiver_link::<()>(move |inbox| {
            process::trap_exit(true);
            trapped.open();
            loop {
                inbox.recv();
            }
        })?;
        traps.pass();
        Ok(process.pid())
    })
}

/// Starts a supervisor without a link to the test.
#[track_caller]
pub(crate) fn up(plan: SupervisorSpec) -> SupervisorRef {
    plan.start().unwrap_or_else(|error| panic!("the supervisor did not start: {error}"))
}

#[track_caller]
pub(crate) fn pid_of(supervisor: &SupervisorRef) -> Pid {
    supervisor.whereis().expect("it is running")
}

/// Returns the ids and states of the children, in start order.
#[track_caller]
pub(crate) fn states(supervisor: &SupervisorRef) -> Vec<(String, &'static str)> {
    let listed = supervisor.which_children().expect("the supervisor is running");
    listed.iter().map(|child| (child.id.to_string(), state_name(child.state))).collect()
}

pub(crate) fn state_name(state: ChildState) -> &'static str {
    match state {
        ChildState::Running(_) => "running",
        ChildState::Restarting => "restarting",
        ChildState::RestartingAt(_) => "waiting",
        ChildState::Stopped => "stopped",
        state => panic!("unexpected state: {state:?}"),
    }
}

/// Returns the pid of a running child.
#[track_caller]
pub(crate) fn child_pid(supervisor: &SupervisorRef, id: &str) -> Pid {
    let listed = supervisor.which_children().expect("the supervisor is running");
    let found = listed.iter().find(|child| child.id == id);
    let found = found.unwrap_or_else(|| panic!("no child {id}"));
    found.pid().unwrap_or_else(|| panic!("{id} does not run: {:?}", found.state))
}

/// Returns the ids of the children, in start order.
#[track_caller]
pub(crate) fn ids(supervisor: &SupervisorRef) -> Vec<String> {
    states(supervisor).into_iter().map(|(id, _)| id).collect()
}
