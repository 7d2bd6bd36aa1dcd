//! Starting a server: `GenServerExt`, which every `GenServer` implements, with `start_link`, `start` and
//! `child_spec`, and the start options in `ServerSpec`.

use std::any::type_name;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::child_spec::{ChildId, ChildSpec, ChildType, Restart, Shutdown, SpecError, StartError};
use crate::gen_server::call::wait_for_reply;
use crate::gen_server::callbacks::Context;
use crate::gen_server::callbacks::Envelope;
use crate::gen_server::callbacks::GenServer;
use crate::gen_server::receive_loop::ServerArgs;
use crate::gen_server::receive_loop::StartFailure;
use crate::gen_server::receive_loop::run_server;
use crate::gen_server::reply::Caller;
use crate::gen_server::reply_slot::{Outcome, ReplySlot};
use crate::gen_server::server_ref::ServerRef;
use crate::gen_server::wait_graph::WaitEdge;
use crate::pid::{MonitorRef, Pid};
use crate::process::control::block::ProcessBlock;
use crate::process::control::block::ProcessKind;
use crate::process::control::local;
use crate::process::control::local::CurrentProcess;
use crate::process::lifecycle::spawn::Builder;
use crate::process::lifecycle::spawn::start_process;
use crate::process::mailbox::address::Address;
use crate::process::mailbox::inbox::Inbox;
use crate::process::park::timer_thread;
use crate::process::signals::deliver;
use crate::process::signals::effect::Origin;
use crate::process::signals::exit;
use crate::process::signals::link::remove_link;
use crate::process::signals::monitor::demonitor_flush;
use crate::process::signals::monitor::watch_block;
use crate::reason::ExitReason;
use crate::sync::Mutex;

/// The functions that start a server, alone or under a supervisor. Every [`GenServer`] implements this trait.
///
/// ```
/// # use rethread::prelude::*;
/// # pub struct Cache;
/// # impl GenServer for Cache {
/// #     type Args = u32; type Call = Never; type Cast = Never;
/// #     fn init(_: u32, _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Cache) }
/// #     fn handle_call(&mut self, call: Never, _: &mut Context<Self>) -> Next { match call {} }
/// #     fn handle_cast(&mut self, cast: Never, _: &mut Context<Self>) -> Next { match cast {} }
/// # }
/// const CACHE: ServerRef<Cache> = ServerRef::named("doc.cache");
///
/// let alone = Cache::start(64)?;
/// let named = Cache::child_spec(64).name(CACHE).start_link()?;
/// assert_eq!(CACHE.whereis(), named.whereis());
/// alone.stop()?;
/// named.stop()?;
///
/// let system = Supervisor::start_link([Cache::child_spec(64).name(CACHE)], Strategy::OneForOne)?;
/// system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait GenServerExt: GenServer {
    /// Starts a server linked to the calling process and waits until its `init` has returned.
    ///
    /// If `init` fails, a calling process that does not trap exits also exits with the reason, through the
    /// link (unless the reason is `Normal`, or `init` returned
    /// [`InitError::Ignore`](crate::InitError::Ignore) or [`InitError::Error`](crate::InitError::Error)). The
    /// exit signal takes effect at the next runtime call of the caller; until then it can handle the error. A
    /// process that traps exits, and a thread that is not a process, get the error and nothing else. On a
    /// thread that is not a process there is nothing to link to: there it works like [`start`](Self::start).
    ///
    /// # Errors
    /// [`StartError`]. When it returns one, the process has exited and its name is free.
    #[track_caller]
    fn start_link(args: Self::Args) -> Result<ServerRef<Self>, StartError> {
        Self::child_spec(args).start_link()
    }

    /// Starts a server without a link.
    ///
    /// # Errors
    /// [`StartError`].
    #[track_caller]
    fn start(args: Self::Args) -> Result<ServerRef<Self>, StartError> {
        Self::child_spec(args).start()
    }

    /// Returns the start options with their defaults. They can be changed, started, or given to a supervisor.
    #[track_caller]
    fn child_spec(args: Self::Args) -> ServerSpec<Self> {
        ServerSpec::new(args)
    }
}

impl<S: GenServer> GenServerExt for S {}

/// The options to start and to supervise a server; made by [`GenServerExt::child_spec`].
///
/// | default | |
/// | --- | --- |
/// | id | the name of the type |
/// | restart | [`Restart::Permanent`] |
/// | shutdown | 5 s, for supervisors [`Shutdown::Infinity`] |
/// | name | none |
/// | start timeout | none |
#[must_use = "a spec does nothing by itself: start it, or give it to a supervisor"]
pub struct ServerSpec<S: GenServer> {
    pub(crate) args: S::Args,
    name: Option<ServerRef<S>>,
    start_timeout: Option<Duration>,
    /// The options that its supervisor uses. The start function is set by the conversion to a `ChildSpec`.
    child: ChildSpec,
    /// The options of its process.
    pub(crate) process: Builder,
    /// The place in the program that made the spec. A process that a supervisor starts shows it as its
    /// origin.
    defined_at: &'static Location<'static>,
}

impl<S: GenServer> ServerSpec<S> {
    #[track_caller]
    fn new(args: S::Args) -> Self {
        Self {
            args,
            name: None,
            start_timeout: None,
            child: ChildSpec::without_start(short_type_name::<S>()),
            process: Builder { reports_start: true, kind: ProcessKind::Server, ..Builder::default() },
            defined_at: Location::caller(),
        }
    }

    /// Registers the server under a name or key, before `init` runs. If an earlier holder is still unwinding,
    /// `init` waits until it has exited.
    pub fn name(mut self, name: ServerRef<S>) -> Self {
        self.name = Some(name);
        self
    }

    /// Sets the id of the child within its supervisor. Default: the name of the server type.
    pub fn id(mut self, id: impl Into<ChildId>) -> Self {
        self.child = self.child.id(id);
        self
    }

    /// Sets when the supervisor restarts the server. Default: [`Restart::Permanent`].
    pub fn restart(mut self, restart: Restart) -> Self {
        self.child.restart = restart;
        self
    }

    /// Sets how the supervisor stops the server. Default: 5 s, for supervisors [`Shutdown::Infinity`].
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.child.shutdown = Some(shutdown);
        self
    }

    /// Sets whether its exit can stop the supervisor; see [`AutoShutdown`](crate::AutoShutdown). Default:
    /// false.
    pub fn significant(mut self, significant: bool) -> Self {
        self.child.significant = significant;
        self
    }

    /// Sets how long `init` may take. After that the process is killed, and the start fails with
    /// [`StartError::Timeout`]. Default: no limit.
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = Some(timeout);
        self
    }

    /// Sets how long the supervisor waits for the thread of a zombie before it starts the replacement; see
    /// [`ChildSpec::reap_timeout`].
    pub fn reap_timeout(mut self, timeout: Duration) -> Self {
        self.child.reap_timeout = Some(timeout);
        self
    }

    /// Sets a descriptive text for logs and listings.
    pub fn label(mut self, label: impl Into<Arc<str>>) -> Self {
        self.process = self.process.label(label);
        self
    }

    /// Sets the size of the stack in bytes; see [`Builder::stack_size`].
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.process = self.process.stack_size(bytes);
        self
    }

    /// Sets how long the server may take to unwind when it is killed; see [`Builder::kill_grace`].
    ///
    /// For a server that holds an exclusive resource and may be slow to release it, choose a generous time: a
    /// zombie would keep the resource.
    pub fn kill_grace(mut self, grace: Duration) -> Self {
        self.process = self.process.kill_grace(grace);
        self
    }

    /// Sets how long the server may take to unwind when it exits for another reason; see
    /// [`Builder::exit_timeout`].
    pub fn exit_timeout(mut self, timeout: Duration) -> Self {
        self.process = self.process.exit_timeout(timeout);
        self
    }

    /// Sets the label, unless there is one.
    pub(crate) fn default_label(mut self, label: String) -> Self {
        self.process.label.get_or_insert_with(|| label.into());
        self
    }

    /// Marks the server as a supervisor.
    pub(crate) fn supervisor(mut self) -> Self {
        self.child.child_type = ChildType::Supervisor;
        self
    }

    /// Sets the place in the program that made the spec, if it is not the caller.
    pub(crate) fn defined_at(mut self, location: &'static Location<'static>) -> Self {
        self.defined_at = location;
        self
    }

    /// Starts the server linked to the calling process. Its process shows the place that made the spec as its
    /// origin.
    pub(crate) fn start_link_at_definition(self) -> Result<ServerRef<S>, StartError> {
        let process = Builder { spawned_at: Some(self.defined_at), ..self.process };
        Self { process, ..self }.start_link()
    }

    /// Starts the server linked to the calling process, like [`GenServerExt::start_link`].
    ///
    /// # Errors
    /// [`StartError`]; [`StartError::AlreadyStarted`] if the name is taken: then no process was started.
    #[track_caller]
    pub fn start_link(self) -> Result<ServerRef<S>, StartError> {
        let me = local::get();
        start_server(self.args, self.name.as_ref(), self.process, self.start_timeout, me.as_ref(), None)
    }

    /// Starts the server without a link, like [`GenServerExt::start`].
    ///
    /// # Errors
    /// [`StartError`]; [`StartError::AlreadyStarted`] if the name is taken: then no process was started.
    #[track_caller]
    pub fn start(self) -> Result<ServerRef<S>, StartError> {
        start_server(self.args, self.name.as_ref(), self.process, self.start_timeout, None, None)
    }

    /// Starts the server without a link and monitors it, in one step. A failed start sends no `Down`.
    ///
    /// # Errors
    /// [`StartError`], like [`start`](Self::start); [`StartError::Failed`] on a thread that is not a process.
    #[track_caller]
    pub fn start_monitor(self) -> Result<(ServerRef<S>, MonitorRef), StartError> {
        let me =
            local::get().ok_or(StartError::Failed(ExitReason::new("the calling thread is not a process")))?;
        let monitor = MonitorRef::next();
        start_server(
            self.args,
            self.name.as_ref(),
            self.process,
            self.start_timeout,
            None,
            Some((&me, monitor)),
        )
        .map(|server| (server, monitor))
    }
}

impl<S: GenServer> fmt::Debug for ServerSpec<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spec")
            .field("server", &type_name::<S>())
            .field("name", &self.name)
            .field("restart", &self.child.restart)
            .finish_non_exhaustive()
    }
}

impl<S: GenServer> From<ServerSpec<S>> for ChildSpec
where
    S::Args: Clone + Sync,
{
    fn from(spec: ServerSpec<S>) -> Self {
        let ServerSpec { args, name, start_timeout, child, process, defined_at } = spec;
        let process = Builder { spawned_at: Some(defined_at), ..process };
        // The supervisor calls this for the first start and for each restart, so everything is cloned.
        child.with_start(move || {
            // Runs on the thread of the supervisor, which the server is linked to.
            let me = local::get();
            let server = start_server::<S>(
                args.clone(),
                name.as_ref(),
                process.clone(),
                start_timeout,
                me.as_ref(),
                None,
            )?;
            server.whereis().ok_or(StartError::Failed(ExitReason::NoProc))
        })
    }
}

/// Returns the name of a type without its path: `Counter` for `my::module::Counter`.
pub(crate) fn short_type_name<S>() -> &'static str {
    let name = type_name::<S>();
    // The parameters of a generic type keep their paths.
    let path_end = name.find('<').unwrap_or(name.len());
    name[..path_end].rfind("::").map_or(name, |at| &name[at + 2..])
}

/// Starts the process and waits until `init` has returned, or the process has exited.
#[track_caller]
fn start_server<S: GenServer>(
    args: S::Args,
    name: Option<&ServerRef<S>>,
    mut process: Builder,
    timeout: Option<Duration>,
    link_to: Option<&Rc<CurrentProcess>>,
    monitor_by: Option<(&Rc<CurrentProcess>, MonitorRef)>,
) -> Result<ServerRef<S>, StartError> {
    if let Some(name) = name {
        name.apply_name_to(&mut process).map_err(StartError::Name)?;
    }
    // Without a name or label, listings show the type.
    if process.label.is_none() && process.name.is_none() {
        process.label = Some(short_type_name::<S>().into());
    }
    // The timeout includes the start of the thread.
    let deadline = timeout.map(timer_thread::deadline_after);
    let slot = ReplySlot::<()>::new();
    let failure: StartFailure = Arc::new(Mutex::new(None));
    let parent: Option<Pid> = link_to.map(|me| me.block.pid);
    let server_args = ServerArgs::<S> {
        args,
        parent,
        started: Caller::new(Arc::clone(&slot)),
        failure: Arc::clone(&failure),
    };
    // This body runs on the new thread.
    let body = move |inbox: &mut Inbox<Envelope<S>>| {
        let block = exit::expect_process("serve").block.clone();
        run_server(server_args, inbox, |parent| Context {
            address: Address::new(block),
            parent,
            after_init: None,
        });
    };
    let server = start_process(process, link_to, monitor_by, body).map_err(StartError::from)?;
    let block = server.block();
    // `start_process` has set the wait edge already, before the first step of the new process.
    let me = local::get();
    let _wait_edge = WaitEdge::adopt(me.as_ref());
    let error = match wait_for_reply(&slot, block, deadline) {
        Some(Outcome::Answered(())) => return Ok(ServerRef::from_block(Arc::clone(block))),
        Some(Outcome::Exited(reason)) => {
            // What `init` returned says more than the exit reason, which is `Normal` for `Ignore` and
            // `Error`.
            let failure = failure.lock().take();
            match reason.downcast_ref::<SpecError>() {
                Some(error) => StartError::BadSpec(error.clone()), // The spec of a supervisor.
                None => failure.unwrap_or(StartError::Failed(reason)),
            }
        }
        // The deadline has passed.
        Some(Outcome::NoReply) | None => {
            abort_start(block, link_to);
            StartError::Timeout
        }
    };
    // The caller gets the error, so it gets no `Down` in addition.
    if let Some((_, monitor)) = monitor_by {
        demonitor_flush(monitor);
    }
    Err(error)
}

/// Kills a process whose `init` took too long, and waits until it has exited.
fn abort_start(block: &Arc<ProcessBlock>, link_to: Option<&Rc<CurrentProcess>>) {
    // Unlink first: the kill must not reach the caller.
    if let Some(me) = link_to {
        remove_link(&me.block, block.pid);
    }
    deliver::deliver_exit_signal(block, local::sender_pid(), &ExitReason::Kill, Origin::Sent);
    // The name must be free when the error is returned.
    watch_block(block.pid, Some(Arc::clone(block))).wait();
}
