//! `GenServerExt`, which every `GenServer` implements, with `start_link`, `start` and `child_spec`; and
//! `ServerSpec`, the options to start and to supervise a server.

use std::fmt;
use std::sync::Arc;

use crate::child_spec::{ChildId, ChildSpec, ChildType, StartError};
use crate::gen_server::callbacks::GenServer;
use crate::gen_server::options::{ServerOptions, impl_server_option_setters};
use crate::gen_server::server_ref::ServerRef;
use crate::gen_server::start::start_server;
use crate::pid::MonitorRef;
use crate::process::control::local;
use crate::process::control::type_name::short_type_name;
use crate::process::lifecycle::init_ack::InitAck;
use crate::process::lifecycle::spawn::Builder;
use crate::process::lifecycle::worker_result::WorkerResult;
use crate::process::mailbox::inbox::{Inbox, NoMessages};
use crate::reason::ExitReason;

/// The functions that start a server, alone or under a supervisor. Every [`GenServer`] implements this trait.
///
/// ```
/// # use rethread::prelude::*;
/// # pub struct Cache;
/// # impl GenServer for Cache {
/// #     type Args = u32; type Call = Infallible; type Cast = Infallible;
/// #     fn init(_: u32, _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Cache) }
/// #     fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next { match call {} }
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
    /// [`InitError::Ignore`](crate::gen_server::InitError::Ignore) or
    /// [`InitError::Error`](crate::gen_server::InitError::Error)). The exit signal takes effect at the next runtime
    /// call of the caller; until then it can handle the error. A process that traps exits, and a thread that is not a
    /// process, get the error and nothing else. On a thread that is not a process there is nothing to link to: there
    /// it works like [`start`](Self::start).
    ///
    /// # Errors
    /// [`StartError::Ignored`] and [`StartError::Failed`] if `init` returned that, panicked or was killed: the
    /// process has exited. [`StartError::SystemLimit`] and [`StartError::Thread`] if there is no thread for it;
    /// [`StartError::Exiting`] if the calling process is exiting.
    #[track_caller]
    fn start_link(args: Self::Args) -> Result<ServerRef<Self>, StartError> {
        Self::child_spec(args).start_link()
    }

    /// Starts a server without a link and waits until its `init` has returned.
    ///
    /// # Errors
    /// [`StartError::Ignored`] and [`StartError::Failed`] if `init` returned that, panicked or was killed: the
    /// process has exited. [`StartError::SystemLimit`] and [`StartError::Thread`] if there is no thread for it;
    /// [`StartError::Exiting`] if the calling process is exiting.
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
/// | restart | [`Restart::Permanent`](crate::supervisor::Restart::Permanent) |
/// | shutdown | 5 s |
/// | name | none |
/// | start timeout | none |
/// | process | the defaults of [`process::settings`](crate::process::settings) |
///
/// ```
/// use std::time::Duration;
/// use rethread::prelude::*;
///
/// # pub struct Cache;
/// # impl GenServer for Cache {
/// #     type Args = u32; type Call = Infallible; type Cast = Infallible;
/// #     fn init(_: u32, _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Cache) }
/// #     fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next { match call {} }
/// # }
/// let process = process::Builder::new().stack_size(512 * 1024).kill_grace(Duration::from_secs(10));
/// let cache = Cache::child_spec(64).id("cache").restart(Restart::Transient).process(process);
/// let system = Supervisor::start_link([cache], Strategy::OneForOne)?;
/// system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// With a start timeout:
///
/// ```
/// use std::time::Duration;
/// use rethread::prelude::*;
/// use rethread::StartError;
///
/// struct Slow;
/// impl GenServer for Slow {
///     type Args = (); type Call = Infallible; type Cast = Infallible;
///     fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
///         process::sleep(Duration::from_secs(60)); // say, a server that does not answer
///         Ok(Slow)
///     }
///     fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next { match call {} }
/// }
///
/// let after = Duration::from_millis(20);
/// assert_eq!(Slow::child_spec(()).start_timeout(after).start().unwrap_err(), StartError::Timeout { after });
/// ```
#[must_use = "a spec does nothing by itself: start it, or give it to a supervisor"]
pub struct ServerSpec<S: GenServer> {
    pub(crate) args: S::Args,
    pub(crate) options: ServerOptions,
}

impl<S: GenServer> ServerSpec<S> {
    #[track_caller]
    pub(crate) fn new(args: S::Args) -> Self {
        Self { args, options: ServerOptions::new(short_type_name::<S>()) }
    }

    /// Creates a spec of a supervisor.
    pub(crate) fn supervisor(args: S::Args, mut options: ServerOptions) -> Self {
        options.child.child_type = ChildType::Supervisor;
        Self { args, options }
    }

    /// Registers the server under a name or key, before `init` runs. If an earlier holder is still unwinding,
    /// `init` waits until it has exited.
    pub fn name(mut self, name: ServerRef<S>) -> Self {
        self.options.name = Some(name.target);
        self
    }

    impl_server_option_setters!(options);

    /// Starts the server linked to the calling process. Its process shows the place that made the spec as its
    /// origin.
    pub(crate) fn start_link_at_definition(mut self) -> Result<ServerRef<S>, StartError> {
        self.options.process.spawned_at = Some(self.options.defined_at);
        self.start_link()
    }

    /// Starts the server linked to the calling process, like [`GenServerExt::start_link`].
    ///
    /// # Errors
    /// [`StartError::AlreadyStarted`] if the name is taken, and [`StartError::Name`] if it is not valid: no process was
    /// started. [`StartError::Ignored`] and [`StartError::Failed`] if `init` returned that, panicked or was killed;
    /// [`StartError::Timeout`] if the start timeout is over: the process has exited.
    /// [`StartError::SystemLimit`] and [`StartError::Thread`] if there is no thread for it;
    /// [`StartError::Exiting`] if the calling process is exiting.
    #[track_caller]
    pub fn start_link(self) -> Result<ServerRef<S>, StartError> {
        let me = local::get();
        start_server(self.args, &self.options, me.as_ref(), None)
    }

    /// Starts the server without a link, like [`GenServerExt::start`].
    ///
    /// # Errors
    /// [`StartError::AlreadyStarted`] if the name is taken, and [`StartError::Name`] if it is not valid: no process was
    /// started. [`StartError::Ignored`] and [`StartError::Failed`] if `init` returned that, panicked or was killed;
    /// [`StartError::Timeout`] if the start timeout is over: the process has exited.
    /// [`StartError::SystemLimit`] and [`StartError::Thread`] if there is no thread for it;
    /// [`StartError::Exiting`] if the calling process is exiting.
    #[track_caller]
    pub fn start(self) -> Result<ServerRef<S>, StartError> {
        start_server(self.args, &self.options, None, None)
    }

    /// Starts the server without a link and monitors it, in one step. A failed start sends no `Down`.
    ///
    /// # Errors
    /// [`StartError::NotAProcess`] on a thread that is not a process, and the errors of [`start`](Self::start).
    #[track_caller]
    pub fn start_monitor(self) -> Result<(ServerRef<S>, MonitorRef), StartError> {
        let me = local::get().ok_or(StartError::NotAProcess)?;
        let monitor = MonitorRef::next();
        let server = start_server(self.args, &self.options, None, Some((&me, monitor)))?;
        Ok((server, monitor))
    }
}

impl<S: GenServer> fmt::Debug for ServerSpec<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.fmt_spec(f, "ServerSpec")
    }
}

// Not derived: that would require `S: Clone`.
impl<S: GenServer<Args: Clone>> Clone for ServerSpec<S> {
    fn clone(&self) -> Self {
        Self { args: self.args.clone(), options: self.options.clone() }
    }
}

impl<S: GenServer> From<ServerSpec<S>> for ChildSpec
where
    S::Args: Clone + Sync,
{
    fn from(spec: ServerSpec<S>) -> Self {
        let ServerSpec { args, mut options } = spec;
        options.process.spawned_at = Some(options.defined_at);
        // The supervisor calls this for the first start and for each restart, so the arguments are cloned.
        Self::with_options(options.child_options(), move || {
            // Runs on the thread of the supervisor, which the server is linked to.
            let me = local::get();
            let server = start_server::<S>(args.clone(), &options, me.as_ref(), None)?;
            server.whereis().ok_or(StartError::Failed(ExitReason::NoProc))
        })
    }
}

/// Children that are plain processes and report when they have started.
impl ChildSpec {
    /// Creates a child like [`worker`](Self::worker), whose start waits until the function has called
    /// [`InitAck::started`]: the supervisor starts the next child only then. If the function fails or exits before that, the
    /// child has not started, as if the `init` of a server had failed.
    ///
    /// ```
    /// use std::net::TcpListener;
    /// use rethread::prelude::*;
    /// use rethread::process::InitAck;
    ///
    /// let acceptor = ChildSpec::acked_worker("acceptor", |ack: InitAck| -> std::io::Result<()> {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?; // an error makes the start of the supervisor fail
    ///     ack.started();
    ///     let address = listener.local_addr()?;
    ///     let _hook = process::on_exit_request(move || drop(std::net::TcpStream::connect(address)));
    ///     loop {
    ///         drop(listener.accept()?);
    ///         process::checkpoint();
    ///     }
    /// });
    /// let client = ChildSpec::worker("client", || process::sleep(std::time::Duration::MAX)); // finds the port open
    /// let system = Supervisor::start_link([acceptor, client], Strategy::OneForOne)?;
    /// system.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn acked_worker<R: WorkerResult<Kind>, Kind>(
        id: impl Into<ChildId>,
        body: impl Fn(InitAck) -> R + Send + Sync + 'static,
    ) -> Self {
        Self::acked_worker_with(Builder::new(), id, body)
    }

    /// Creates a child like [`acked_worker`](Self::acked_worker), whose process has the options of `builder`; its
    /// [`start_timeout`](Builder::start_timeout) limits the start. Without a name and a label, the id is the label.
    #[track_caller]
    pub fn acked_worker_with<R: WorkerResult<Kind>, Kind>(
        builder: Builder,
        id: impl Into<ChildId>,
        body: impl Fn(InitAck) -> R + Send + Sync + 'static,
    ) -> Self {
        Self::acked_receiver_with(builder, id, move |_: &mut Inbox<NoMessages>, ack| {
            body(ack).exit_on_error()
        })
    }

    /// Creates a child like [`receiver`](Self::receiver), whose start waits until the function has called
    /// [`InitAck::started`].
    #[track_caller]
    pub fn acked_receiver<M: Send + 'static>(
        id: impl Into<ChildId>,
        body: impl Fn(&mut Inbox<M>, InitAck) + Send + Sync + 'static,
    ) -> Self {
        Self::acked_receiver_with(Builder::new(), id, body)
    }

    /// Creates a child like [`acked_receiver`](Self::acked_receiver), whose process has the options of `builder`; its
    /// [`start_timeout`](Builder::start_timeout) limits the start. Without a name and a label, the id is the label.
    #[track_caller]
    pub fn acked_receiver_with<M: Send + 'static>(
        builder: Builder,
        id: impl Into<ChildId>,
        body: impl Fn(&mut Inbox<M>, InitAck) + Send + Sync + 'static,
    ) -> Self {
        let body = Arc::new(body);
        Self::with_builder(builder, id.into(), move |builder| {
            // Each start needs its own copy of the body.
            let body = Arc::clone(&body);
            Ok(builder.start_receiver_link(move |inbox: &mut Inbox<M>, ack| body(inbox, ack))?.pid())
        })
    }
}
