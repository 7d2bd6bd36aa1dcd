//! A server whose callbacks are closures of the test, so that a test shows in one place what a handler
//! does.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::time::Duration;

use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::process::{self, Inbox};

use crate::support::{Gate, Journal, eventually};

type OnInit = Box<dyn FnOnce(&mut Context<ScriptedServer>) -> Result<(), InitError> + Send>;
type OnInfo = Box<dyn FnMut(&Info, &mut Context<ScriptedServer>) -> Next + Send>;
type OnContinue = Box<dyn FnMut(&mut Context<ScriptedServer>) -> Next + Send>;
type OnTerminate = Box<dyn FnMut(&ExitReason) + Send>;
type OnDrop = Box<dyn FnMut() + Send>;
type OnCall = Box<dyn FnOnce(&mut ScriptedServer, Caller<i64>, &mut Context<ScriptedServer>) -> Next + Send>;
type OnCast = Box<dyn FnOnce(&mut ScriptedServer, &mut Context<ScriptedServer>) -> Next + Send>;

/// The closures for the callbacks of a scripted server. Everything it receives is noted in the journal.
pub(crate) struct Plan {
    journal: Journal,
    on_init: OnInit,
    on_info: OnInfo,
    on_continue: OnContinue,
    on_terminate: OnTerminate,
    on_drop: OnDrop,
}

impl Plan {
    pub(crate) fn new(journal: &Journal) -> Self {
        Self {
            journal: journal.clone(),
            on_init: Box::new(|_| Ok(())),
            on_info: Box::new(|_, _| Next::wait()),
            on_continue: Box::new(|_| Next::wait()),
            on_terminate: Box::new(|_| ()),
            on_drop: Box::new(|| ()),
        }
    }

    pub(crate) fn init(
        mut self,
        act: impl FnOnce(&mut Context<ScriptedServer>) -> Result<(), InitError> + Send + 'static,
    ) -> Self {
        self.on_init = Box::new(act);
        self
    }

    pub(crate) fn trapping(self) -> Self {
        self.init(|cx| {
            cx.trap_exit(true);
            Ok(())
        })
    }

    pub(crate) fn info(
        mut self,
        act: impl FnMut(&Info, &mut Context<ScriptedServer>) -> Next + Send + 'static,
    ) -> Self {
        self.on_info = Box::new(act);
        self
    }

    pub(crate) fn on_continue(
        mut self,
        act: impl FnMut(&mut Context<ScriptedServer>) -> Next + Send + 'static,
    ) -> Self {
        self.on_continue = Box::new(act);
        self
    }

    pub(crate) fn terminate(mut self, act: impl FnMut(&ExitReason) + Send + 'static) -> Self {
        self.on_terminate = Box::new(act);
        self
    }

    pub(crate) fn on_drop(mut self, act: impl FnMut() + Send + 'static) -> Self {
        self.on_drop = Box::new(act);
        self
    }

    pub(crate) fn spec(self) -> rethread::gen_server::ServerSpec<ScriptedServer> {
        ScriptedServer::child_spec(self)
    }

    /// Starts the server without a link.
    #[track_caller]
    pub(crate) fn start(self) -> ServerRef<ScriptedServer> {
        self.spec().start().expect("it starts")
    }

    /// Starts the server without a link, under a name.
    #[track_caller]
    pub(crate) fn start_as(self, name: &ServerRef<ScriptedServer>) -> ServerRef<ScriptedServer> {
        self.spec().name(name.clone()).start().expect("it starts")
    }

    #[track_caller]
    pub(crate) fn start_link(self) -> ServerRef<ScriptedServer> {
        self.spec().start_link().expect("it starts")
    }
}

/// Starts a server with a journal that no test reads.
#[track_caller]
pub(crate) fn start_server() -> ServerRef<ScriptedServer> {
    Plan::new(&Journal::new()).start()
}

pub(crate) struct ScriptedServer {
    /// Calls to be answered later.
    pub(crate) kept: Vec<Caller<i64>>,
    pub(crate) value: i64,
    plan: Plan,
    /// Not `Send`, like the state of many servers.
    stays: std::marker::PhantomData<*const ()>,
}

pub(crate) enum Ask {
    Get(Caller<i64>),
    Run(OnCall, Caller<i64>),
}

pub(crate) enum Tell {
    Note(String),
    Run(OnCast),
}

impl ScriptedServer {
    pub(crate) fn note(&self, what: impl Into<String>) {
        self.plan.journal.note(what);
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.note("dropped");
        (self.plan.on_drop)();
    }
}

impl GenServer for ScriptedServer {
    type Args = Plan;
    type Call = Ask;
    type Cast = Tell;

    fn init(mut plan: Plan, cx: &mut Context<Self>) -> Result<Self, InitError> {
        std::mem::replace(&mut plan.on_init, Box::new(|_| Ok(())))(cx)?;
        Ok(Self { kept: Vec::new(), value: 0, plan, stays: std::marker::PhantomData })
    }

    fn handle_call(&mut self, ask: Ask, cx: &mut Context<Self>) -> Next {
        match ask {
            Ask::Get(from) => from.reply(self.value),
            Ask::Run(act, from) => act(self, from, cx),
        }
    }

    fn handle_cast(&mut self, tell: Tell, cx: &mut Context<Self>) -> Next {
        match tell {
            Tell::Note(text) => {
                self.note(text);
                Next::wait()
            }
            Tell::Run(act) => act(self, cx),
        }
    }

    fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Next {
        self.note(match &info {
            Info::Timeout => "timeout".to_owned(),
            Info::Exit { reason, .. } => format!("exit {reason}"),
            Info::Down { reason, .. } => format!("down {reason}"),
            other => format!("{other:?}"),
        });
        (self.plan.on_info)(&info, cx)
    }

    fn handle_continue(&mut self, cx: &mut Context<Self>) -> Next {
        self.note("continue");
        (self.plan.on_continue)(cx)
    }

    fn terminate(&mut self, reason: &ExitReason, _: &mut Context<Self>) {
        self.note(format!("terminate {reason}"));
        (self.plan.on_terminate)(reason);
    }
}

/// Requests that run closures in the server.
pub(crate) trait ScriptedCalls {
    /// Runs the closure in the server as the handler of a call.
    fn call_with(
        &self,
        act: impl FnOnce(&mut ScriptedServer, Caller<i64>, &mut Context<ScriptedServer>) -> Next + Send + 'static,
    ) -> Result<i64, CallError> {
        self.call_with_timeout(rethread::gen_server::DEFAULT_CALL_TIMEOUT, act)
    }
    fn call_with_timeout(
        &self,
        limit: Duration,
        act: impl FnOnce(&mut ScriptedServer, Caller<i64>, &mut Context<ScriptedServer>) -> Next + Send + 'static,
    ) -> Result<i64, CallError>;
    fn get(&self) -> Result<i64, CallError>;
    /// Runs the closure in the server as the handler of a cast.
    fn cast_with(
        &self,
        act: impl FnOnce(&mut ScriptedServer, &mut Context<ScriptedServer>) -> Next + Send + 'static,
    );
    fn note(&self, text: impl Into<String>);
    /// Returns the pid that the reference resolves to.
    fn pid(&self) -> Pid;
}

impl ScriptedCalls for ServerRef<ScriptedServer> {
    fn call_with_timeout(
        &self,
        limit: Duration,
        act: impl FnOnce(&mut ScriptedServer, Caller<i64>, &mut Context<ScriptedServer>) -> Next + Send + 'static,
    ) -> Result<i64, CallError> {
        self.call_timeout(limit, |from| Ask::Run(Box::new(act), from))
    }

    fn get(&self) -> Result<i64, CallError> {
        self.call(Ask::Get)
    }

    fn cast_with(
        &self,
        act: impl FnOnce(&mut ScriptedServer, &mut Context<ScriptedServer>) -> Next + Send + 'static,
    ) {
        self.cast(Tell::Run(Box::new(act)));
    }

    fn note(&self, text: impl Into<String>) {
        self.cast(Tell::Note(text.into()));
    }

    #[track_caller]
    fn pid(&self) -> Pid {
        self.whereis().expect("the reference resolves")
    }
}

/// A body that runs in a process of its own. `join` returns its value, or the exit reason of the process.
pub(crate) struct SpawnedBody<T> {
    pub(crate) pid: Pid,
    watch: process::Watch,
    value: std::sync::mpsc::Receiver<T>,
}

/// Runs `body` in a process of its own.
#[track_caller]
pub(crate) fn spawn_body<T: Send + 'static>(
    body: impl FnOnce(&mut Inbox<()>) -> T + Send + 'static,
) -> SpawnedBody<T> {
    let (tx, value) = std::sync::mpsc::channel();
    let (go, start) = std::sync::mpsc::channel::<()>();
    let process = process::spawn_receiver::<()>(move |inbox| {
        let _ = start.recv();
        let _ = tx.send(body(inbox));
    })
    .expect("a free thread");
    let watch = process::watch(&process);
    drop(go);
    SpawnedBody { pid: process.pid(), watch, value }
}

impl<T> SpawnedBody<T> {
    /// Waits for the process to exit.
    pub(crate) fn join(self) -> Result<T, ExitReason> {
        let reason = self.watch.wait();
        self.value.try_recv().map_err(|_| reason)
    }
}

/// Waits until the process is blocked in a call to the server.
#[track_caller]
pub(crate) fn wait_until_calling(caller: impl Into<Pid>, server: Pid) {
    let caller = caller.into();
    eventually("the call is made", || {
        process::info(caller).is_some_and(|info| info.waiting_on == Some(server))
    });
}

/// Blocks the server in an uninterruptible handler until the gate is opened; the handler is running when
/// this returns. The handler then returns the value of `then`.
#[track_caller]
pub(crate) fn block_server(
    server: &ServerRef<ScriptedServer>,
    then: impl FnOnce() -> Next + Send + 'static,
) -> Gate {
    let (entered, gate) = (Gate::new(), Gate::new());
    let (enter, pass) = (entered.clone(), gate.clone());
    server.cast_with(move |_, _| {
        enter.open();
        pass.pass();
        then()
    });
    entered.pass();
    gate
}

/// Waits until the mailbox of the server holds `count` messages.
#[track_caller]
pub(crate) fn wait_for_queue(server: &ServerRef<ScriptedServer>, count: usize) {
    eventually("the messages are queued", || {
        process::info(server.pid()).is_some_and(|info| info.message_queue_len == count)
    });
}
