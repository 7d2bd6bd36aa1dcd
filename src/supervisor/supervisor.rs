//! The public API of supervisors: constructors, starting a [`SupervisorSpec`], the methods of the handle. The
//! process itself is in `server`.

use crate::call_error::CallError;
use crate::child_spec::{ChildId, ChildSpec, StartError};
use crate::gen_server::callbacks::GenServer;
use crate::gen_server::handle::define_handle;
use crate::gen_server::server_ref::ServerRef;
use crate::gen_server::spec::ServerSpec;
use crate::pid::Pid;
use crate::supervisor::child::{ChildCount, ChildError, ChildInfo, ChildRequest, flatten_reply};
use crate::supervisor::server;
use crate::supervisor::server::SupervisorArgs;
use crate::supervisor::spec::{Strategy, SupervisorSpec};

/// A process that starts other processes, its children, and restarts them when they exit.
///
/// ```
/// use rethread::prelude::*;
///
/// # pub struct Cache;
/// # impl GenServer for Cache {
/// #     type Args = (); type Call = Infallible; type Cast = Infallible;
/// #     fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Cache) }
/// #     fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next { match call {} }
/// # }
/// const CACHE: ServerRef<Cache> = ServerRef::named("doc.supervised cache");
///
/// let system = Supervisor::start_link([Cache::child_spec(()).name(CACHE)], Strategy::OneForOne)?;
/// let first = CACHE.whereis();
/// let watch = CACHE.watch();
/// process::exit(first.unwrap(), ExitReason::Kill);
/// watch.wait();
/// // A new process under the same name: the handle is still valid.
/// let second = CACHE.whereis_timeout(std::time::Duration::from_secs(1));
/// assert!(second.is_some() && second != first);
/// system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Children are started in order, each when the one before is ready, and stopped in reverse order. What
/// happens when a child exits depends on its [`Restart`](crate::supervisor::Restart) type and the supervisor's
/// [`Strategy`]. If there are more restarts than `max_restarts` allows, the supervisor stops its children and
/// exits with `Shutdown`, so that its own supervisor can restart it.
///
/// The type itself has no values: it carries the functions that make a spec or start a supervisor. The handle,
/// [`SupervisorRef`], lists, adds, stops and restarts children.
///
/// # Differences from Erlang
/// The restart window is measured in milliseconds, not whole seconds. Children are listed in start order.
/// A child whose thread does not stop counts as exited and becomes a zombie
/// ([`process::zombies`](crate::process::zombies)); when there are too many zombies, the supervisor gives
/// up instead of restarting the child.
#[derive(Debug)]
#[non_exhaustive]
pub enum Supervisor {}

impl Supervisor {
    /// Creates a spec with [`Strategy::OneForOne`].
    #[track_caller]
    pub fn one_for_one() -> SupervisorSpec {
        SupervisorSpec::new(Strategy::OneForOne)
    }

    /// Creates a spec with [`Strategy::OneForAll`].
    ///
    /// ```
    /// use rethread::prelude::*;
    /// use std::time::Duration;
    ///
    /// let idle = || process::sleep(Duration::MAX);
    /// let worker = |name| ChildSpec::worker_with(process::Builder::new().name(name), name, idle);
    /// let children = ["doc.reader", "doc.writer"].map(worker);
    /// let system = Supervisor::one_for_all().children(children).start_link()?;
    ///
    /// let reader = process::whereis("doc.reader").ok_or("not running")?;
    /// let writer = process::whereis("doc.writer").ok_or("not running")?;
    /// let watch = process::watch(writer);
    /// process::exit(reader, ExitReason::Kill);
    /// assert_eq!(watch.wait(), ExitReason::Shutdown); // the supervisor stops it, and restarts both
    /// # system.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn one_for_all() -> SupervisorSpec {
        SupervisorSpec::new(Strategy::OneForAll)
    }

    /// Creates a spec with [`Strategy::RestForOne`].
    #[track_caller]
    pub fn rest_for_one() -> SupervisorSpec {
        SupervisorSpec::new(Strategy::RestForOne)
    }

    /// Starts a supervisor with these children and otherwise the defaults, linked to the calling process. On
    /// a thread that is not a process there is no link.
    ///
    /// Children of several types must be converted to [`ChildSpec`]: `[Cache::child_spec(()).into(),
    /// Web::child_spec(port).into()] as [ChildSpec; 2]`; or they are added one by one:
    /// `Supervisor::one_for_one().child(..).child(..).start_link()`.
    ///
    /// # Errors
    /// [`StartError::BadSpec`] if the spec is invalid: nothing was started. If a child fails to start, those
    /// before it are stopped and the error is [`StartError::Failed`], its reason a `ShutdownWith` that holds
    /// a [`FailedToStartChild`](crate::supervisor::FailedToStartChild). [`StartError::SystemLimit`],
    /// [`StartError::Thread`], [`StartError::Exiting`].
    #[track_caller]
    pub fn start_link<C: Into<ChildSpec>>(
        children: impl IntoIterator<Item = C>,
        strategy: Strategy,
    ) -> Result<SupervisorRef, StartError> {
        SupervisorSpec::new(strategy).children(children).start_link()
    }

    /// Like [`start_link`](Self::start_link), but without a link.
    ///
    /// # Errors
    /// [`StartError::BadSpec`] if the spec is invalid: nothing was started. If a child fails to start, those
    /// before it are stopped and the error is [`StartError::Failed`], its reason a `ShutdownWith` that holds
    /// a [`FailedToStartChild`](crate::supervisor::FailedToStartChild). [`StartError::SystemLimit`],
    /// [`StartError::Thread`], [`StartError::Exiting`].
    #[track_caller]
    pub fn start<C: Into<ChildSpec>>(
        children: impl IntoIterator<Item = C>,
        strategy: Strategy,
    ) -> Result<SupervisorRef, StartError> {
        SupervisorSpec::new(strategy).children(children).start()
    }
}

impl SupervisorSpec {
    /// Sets the name of the supervisor.
    pub fn name(mut self, name: SupervisorRef) -> Self {
        self.options.set_supervisor_name(name.server.target);
        self
    }

    /// Starts the supervisor and its children, linked to the calling process. On a thread that is not a
    /// process there is no link: it does the same as [`start`](Self::start).
    ///
    /// # Errors
    /// [`StartError::BadSpec`] if the spec is invalid: nothing was started. If a child fails to start, those
    /// before it are stopped and the error is [`StartError::Failed`], its reason a `ShutdownWith` that holds
    /// a [`FailedToStartChild`](crate::supervisor::FailedToStartChild). [`StartError::AlreadyStarted`] if the
    /// name is taken; [`StartError::Timeout`] if the start timeout is over; [`StartError::Name`],
    /// [`StartError::SystemLimit`], [`StartError::Thread`], [`StartError::Exiting`].
    #[track_caller]
    pub fn start_link(self) -> Result<SupervisorRef, StartError> {
        // The new supervisor checks again, but only in its own process: here nothing is started yet.
        self.check().map_err(StartError::BadSpec)?;
        self.into_server_spec().start_link().map(SupervisorRef::new)
    }

    /// Starts the supervisor and its children without a link.
    ///
    /// # Errors
    /// [`StartError::BadSpec`] if the spec is invalid: nothing was started. If a child fails to start, those
    /// before it are stopped and the error is [`StartError::Failed`], its reason a `ShutdownWith` that holds
    /// a [`FailedToStartChild`](crate::supervisor::FailedToStartChild). [`StartError::AlreadyStarted`] if the
    /// name is taken; [`StartError::Timeout`] if the start timeout is over; [`StartError::Name`],
    /// [`StartError::SystemLimit`], [`StartError::Thread`], [`StartError::Exiting`].
    #[track_caller]
    pub fn start(self) -> Result<SupervisorRef, StartError> {
        self.check().map_err(StartError::BadSpec)?;
        self.into_server_spec().start().map(SupervisorRef::new)
    }

    pub(crate) fn into_server_spec(self) -> ServerSpec<server::Supervisor> {
        let options = self.options.clone();
        // The default id is the name, if it has one: the supervisor calls itself so in the log.
        let name = options.child.id.to_string();
        // Cloned at each start: a supervisor that is restarted by its parent starts from the same spec again.
        ServerSpec::supervisor(SupervisorArgs::new(name, move || Ok(self.clone())), options)
    }
}

impl From<SupervisorSpec> for ChildSpec {
    fn from(spec: SupervisorSpec) -> Self {
        spec.into_server_spec().into()
    }
}

define_handle! {
    /// A handle of a [`Supervisor`]: of one particular process, or of the process that is registered under a
    /// name or key at the moment of each request. A handle by name stays valid when the supervisor is
    /// restarted, and can be a constant.
    ///
    /// Requests have no timeout: the supervisor may be busy starting or stopping a child.
    ///
    /// ```
    /// use rethread::prelude::*;
    ///
    /// const SYSTEM: SupervisorRef = SupervisorRef::named("doc.system");
    ///
    /// let idle = || process::sleep(std::time::Duration::MAX);
    /// let system = Supervisor::one_for_one().child(ChildSpec::worker("first", idle)).name(SYSTEM).start()?;
    /// SYSTEM.start_child(ChildSpec::worker("second", idle))?;
    /// assert_eq!(SYSTEM.count_children()?.active, 2);
    /// SYSTEM.terminate_child("first")?;
    /// SYSTEM.delete_child("first")?;
    /// assert_eq!(SYSTEM.which_children()?[0].id.as_str(), "second");
    /// system.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub struct SupervisorRef of server::Supervisor; "supervisor"
}

impl SupervisorRef {
    /// Adds a child and starts it. The spec is kept, for restarts, unless the start fails, or the child is
    /// temporary and ignored.
    ///
    /// # Errors
    /// [`StartError::Ignored`] if its start function returned ignore: the spec of a permanent or transient
    /// child is kept nevertheless, and [`restart_child`](Self::restart_child) starts it later;
    /// [`StartError::AlreadyStarted`] if a child with that id is running, [`StartError::AlreadyPresent`] if
    /// there is one that is not running; [`StartError::BadSpec`] if the spec is invalid; the error of its start
    /// function; [`StartError::NoSupervisor`] if the call fails; [`StartError::Exiting`] if the calling process
    /// is exiting.
    pub fn start_child(&self, child: impl Into<ChildSpec>) -> Result<Pid, StartError> {
        let child = child.into();
        flatten_reply(self.server.call_infinity(|from| ChildRequest::Start(child, from)))
    }

    /// Like [`start_child`](Self::start_child), but returns a handle of the started server. The handle is for
    /// the process that was started, not for one that replaces it after a crash: for that, give the server a
    /// name.
    ///
    /// # Errors
    /// The errors of `start_child`: [`StartError::Ignored`], [`StartError::AlreadyStarted`],
    /// [`StartError::AlreadyPresent`], [`StartError::BadSpec`], the error of the start,
    /// [`StartError::NoSupervisor`], [`StartError::Exiting`].
    pub fn start_server<S: GenServer>(&self, server: ServerSpec<S>) -> Result<ServerRef<S>, StartError>
    where
        S::Args: Clone + Sync,
    {
        self.start_child(server).map(ServerRef::from_pid)
    }

    /// Stops a child. Its spec is kept, unless it is temporary. It is no error if the child is not running; a
    /// pending restart is cancelled. If the child is the one for which its group waits, the whole group counts as stopped,
    /// see [`RestartBackoff`](crate::supervisor::RestartBackoff).
    ///
    /// # Errors
    /// [`ChildError::NotFound`], [`ChildError::NoSupervisor`], [`ChildError::Exiting`].
    pub fn terminate_child(&self, id: impl Into<ChildId>) -> Result<(), ChildError> {
        let id = id.into();
        flatten_reply(self.server.call_infinity(|from| ChildRequest::Terminate(id, from)))
    }

    /// Starts a child that is not running. A child that waits for a delayed restart is restarted at once, with its group; if
    /// that fails, it waits for the next delay.
    ///
    /// # Errors
    /// [`ChildError::Running`], [`ChildError::Restarting`], [`ChildError::NotFound`],
    /// [`ChildError::NoSupervisor`], [`ChildError::Exiting`]; [`ChildError::Start`] with the error of its start
    /// function, such as [`StartError::Ignored`].
    ///
    /// ```
    /// use rethread::prelude::*;
    ///
    /// let idle = ChildSpec::worker("idle", || process::sleep(std::time::Duration::MAX));
    /// let system = Supervisor::start_link([idle], Strategy::OneForOne)?;
    /// let first = system.which_children()?[0].pid();
    /// system.terminate_child("idle")?; // its spec is kept
    /// let second = system.restart_child("idle")?;
    /// assert!(first.is_some_and(|first| first != second));
    /// # system.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn restart_child(&self, id: impl Into<ChildId>) -> Result<Pid, ChildError> {
        let id = id.into();
        flatten_reply(self.server.call_infinity(|from| ChildRequest::Restart(id, from)))
    }

    /// Removes the spec of a child that is not running. A delayed restart of the child is cancelled.
    ///
    /// # Errors
    /// [`ChildError::Running`], [`ChildError::Restarting`], [`ChildError::NotFound`],
    /// [`ChildError::NoSupervisor`], [`ChildError::Exiting`].
    pub fn delete_child(&self, id: impl Into<ChildId>) -> Result<(), ChildError> {
        let id = id.into();
        flatten_reply(self.server.call_infinity(|from| ChildRequest::Delete(id, from)))
    }

    /// Returns all children, in start order (Erlang lists the last one first).
    ///
    /// # Errors
    /// [`CallError`] if the supervisor is not running or exits meanwhile.
    pub fn which_children(&self) -> Result<Vec<ChildInfo>, CallError> {
        self.server.call_infinity(ChildRequest::Which)
    }

    /// Returns the number of children, by state and type.
    ///
    /// # Errors
    /// [`CallError`] if the supervisor is not running or exits meanwhile.
    pub fn count_children(&self) -> Result<ChildCount, CallError> {
        self.server.call_infinity(ChildRequest::Count)
    }

    /// Returns the spec of a child.
    ///
    /// # Errors
    /// [`ChildError::NotFound`], [`ChildError::NoSupervisor`], [`ChildError::Exiting`].
    pub fn child_spec(&self, id: impl Into<ChildId>) -> Result<ChildSpec, ChildError> {
        let id = id.into();
        flatten_reply(self.server.call_infinity(|from| ChildRequest::Spec(id, from)))
    }
}
