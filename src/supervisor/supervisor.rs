//! The public API of supervisors: constructors, starting a [`SupervisorSpec`], the methods of the handle, and
//! the trait [`Supervise`]. The process itself is in `server`.

use std::sync::Arc;
use std::time::Duration;

use crate::child_spec::{ChildId, ChildSpec, StartError};
use crate::gen_server::call::CallError;
use crate::gen_server::callbacks::GenServer;
use crate::gen_server::callbacks::InitError;
use crate::gen_server::reply::Caller;
use crate::gen_server::server_ref::ServerRef;
use crate::gen_server::start::{GenServerExt, ServerSpec, short_type_name};
use crate::pid::Pid;
use crate::reason::ExitReason;
use crate::supervisor::child::{ChildCount, ChildError, ChildInfo, ChildRequest, SupervisorCall};
use crate::supervisor::server::{Supervisor, SupervisorInit};
use crate::supervisor::spec::{Strategy, SupervisorSpec};

impl Supervisor {
    /// Creates a spec with [`Strategy::OneForOne`].
    #[track_caller]
    pub fn one_for_one() -> SupervisorSpec {
        SupervisorSpec::new(Strategy::OneForOne)
    }

    /// Creates a spec with [`Strategy::OneForAll`].
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
    /// a [`FailedToStartChild`](crate::FailedToStartChild).
    #[track_caller]
    pub fn start_link<C: Into<ChildSpec>>(
        children: impl IntoIterator<Item = C>,
        strategy: Strategy,
    ) -> Result<ServerRef<Self>, StartError> {
        SupervisorSpec::new(strategy).children(children).start_link()
    }
}

impl SupervisorSpec {
    /// Sets the name of the supervisor.
    pub fn name(mut self, name: ServerRef<Supervisor>) -> Self {
        self.name = Some(name.target);
        self
    }

    /// Starts the supervisor and its children, linked to the calling process. On a thread that is not a
    /// process there is no link: it does the same as [`start`](Self::start).
    ///
    /// # Errors
    /// [`StartError::BadSpec`] if the spec is invalid: nothing was started. If a child fails to start, those
    /// before it are stopped and the error is [`StartError::Failed`], its reason a `ShutdownWith` that holds
    /// a [`FailedToStartChild`](crate::FailedToStartChild).
    #[track_caller]
    pub fn start_link(self) -> Result<ServerRef<Supervisor>, StartError> {
        // The new supervisor checks again, but only in its own process: here nothing is started yet.
        self.check().map_err(StartError::BadSpec)?;
        self.spec().start_link()
    }

    /// Starts the supervisor and its children without a link.
    ///
    /// # Errors
    /// [`StartError::BadSpec`] if the spec is invalid: nothing was started. If a child fails to start, those
    /// before it are stopped and the error is [`StartError::Failed`], its reason a `ShutdownWith` that holds
    /// a [`FailedToStartChild`](crate::FailedToStartChild).
    #[track_caller]
    pub fn start(self) -> Result<ServerRef<Supervisor>, StartError> {
        self.check().map_err(StartError::BadSpec)?;
        self.spec().start()
    }

    /// Converts the spec into a child spec for another supervisor, to set more than the name. The id is the
    /// name of the supervisor; two supervisors without a name under the same parent need ids,
    /// `.spec().id("readers")`.
    pub fn spec(mut self) -> ServerSpec<Supervisor> {
        let name = self.name.take().map(ServerRef::<Supervisor>::new);
        let display_name = name.as_ref().map_or_else(|| "Supervisor".to_owned(), ToString::to_string);
        let defined_at = self.defined_at;
        // Cloned at each start: a supervisor that is restarted by its parent starts from the same spec again.
        let init = SupervisorInit { name: display_name, make: Arc::new(move || Ok(self.clone())) };
        let spec = Supervisor::child_spec(init).supervisor().defined_at(defined_at);
        // Without a name the id is the name of the type, `Supervisor`.
        match name {
            Some(name) => spec.id(name.to_string()).name(name),
            None => spec,
        }
    }
}

impl From<SupervisorSpec> for ServerSpec<Supervisor> {
    fn from(spec: SupervisorSpec) -> Self {
        spec.spec()
    }
}

impl From<SupervisorSpec> for ChildSpec {
    fn from(spec: SupervisorSpec) -> Self {
        spec.spec().into()
    }
}

/// Converts the error of a call that requested the start of a child.
pub(crate) fn into_start_error(error: CallError) -> StartError {
    match error {
        // The calling process is exiting; the supervisor may be fine.
        CallError::Exiting => StartError::Exiting,
        error => StartError::NoSupervisor(ExitReason::error(error)),
    }
}

/// Calls to a supervisor have no timeout: it may be busy starting or stopping a child.
impl ServerRef<Supervisor> {
    fn call_supervisor<R: Send + 'static>(
        &self,
        request: impl FnOnce(Caller<R>) -> ChildRequest,
    ) -> Result<R, CallError> {
        self.call_timeout(Duration::MAX, |from| SupervisorCall(request(from)))
    }

    /// Adds a child and starts it; returns `None` if its start function returned ignore. The spec is kept,
    /// for restarts, unless the start fails, or the child is temporary and ignored.
    ///
    /// # Errors
    /// [`StartError::AlreadyStarted`] if a child with that id is running, [`StartError::AlreadyPresent`] if there is
    /// one that is not running; [`StartError::BadSpec`] if the spec is invalid; the error of its start
    /// function; [`StartError::NoSupervisor`] if the call fails.
    pub fn start_child(&self, child: impl Into<ChildSpec>) -> Result<Option<Pid>, StartError> {
        let child = child.into();
        self.call_supervisor(|from| ChildRequest::Start(child, from))
            .unwrap_or_else(|error| Err(into_start_error(error)))
    }

    /// Like [`start_child`](Self::start_child), but returns a handle of the started server. The handle is for
    /// the process that was started, not for one that replaces it after a crash: for that, give the server a
    /// name.
    ///
    /// # Errors
    /// [`StartError::Ignored`] if `init` returned ignore. Otherwise the errors of `start_child`:
    /// [`StartError::AlreadyStarted`], [`StartError::AlreadyPresent`], [`StartError::BadSpec`], the error of the
    /// start, [`StartError::NoSupervisor`].
    pub fn start_server<S: GenServer>(&self, server: ServerSpec<S>) -> Result<ServerRef<S>, StartError>
    where
        S::Args: Clone + Sync,
    {
        self.start_child(server)?.map(ServerRef::from_pid).ok_or(StartError::Ignored)
    }

    /// Stops a child. Its spec is kept, unless it is temporary. It is no error if the child is not running; a
    /// pending retry of a restart is cancelled.
    ///
    /// # Errors
    /// [`ChildError::NotFound`], [`ChildError::NoSupervisor`].
    pub fn terminate_child(&self, id: impl Into<ChildId>) -> Result<(), ChildError> {
        let id = id.into();
        self.call_supervisor(|from| ChildRequest::Terminate(id, from))
            .unwrap_or_else(|error| Err(ChildError::NoSupervisor(error)))
    }

    /// Starts a child that is not running; returns `None` if its start function returned ignore.
    ///
    /// # Errors
    /// [`ChildError::Running`], [`ChildError::Restarting`], [`ChildError::NotFound`],
    /// [`ChildError::Start`], [`ChildError::NoSupervisor`].
    pub fn restart_child(&self, id: impl Into<ChildId>) -> Result<Option<Pid>, ChildError> {
        let id = id.into();
        self.call_supervisor(|from| ChildRequest::Restart(id, from))
            .unwrap_or_else(|error| Err(ChildError::NoSupervisor(error)))
    }

    /// Removes the spec of a child that is not running.
    ///
    /// # Errors
    /// [`ChildError::Running`], [`ChildError::Restarting`], [`ChildError::NotFound`],
    /// [`ChildError::NoSupervisor`].
    pub fn delete_child(&self, id: impl Into<ChildId>) -> Result<(), ChildError> {
        let id = id.into();
        self.call_supervisor(|from| ChildRequest::Delete(id, from))
            .unwrap_or_else(|error| Err(ChildError::NoSupervisor(error)))
    }

    /// Returns all children, in start order (Erlang lists the last one first).
    ///
    /// # Errors
    /// [`CallError`] if the supervisor is not running or exits meanwhile.
    pub fn which_children(&self) -> Result<Vec<ChildInfo>, CallError> {
        self.call_supervisor(ChildRequest::Which)
    }

    /// Returns the number of children, by state and type.
    ///
    /// # Errors
    /// [`CallError`] if the supervisor is not running or exits meanwhile.
    pub fn count_children(&self) -> Result<ChildCount, CallError> {
        self.call_supervisor(ChildRequest::Count)
    }

    /// Returns the spec of a child, with all defaults filled in.
    ///
    /// # Errors
    /// [`ChildError::NotFound`], [`ChildError::NoSupervisor`].
    pub fn get_childspec(&self, id: impl Into<ChildId>) -> Result<ChildSpec, ChildError> {
        let id = id.into();
        self.call_supervisor(|from| ChildRequest::Spec(id, from))
            .unwrap_or_else(|error| Err(ChildError::NoSupervisor(error)))
    }
}

/// A supervisor as a type of its own. Its spec is made from its arguments when the supervisor starts, and
/// again at each restart.
///
/// ```
/// use rethread::prelude::*;
///
/// pub struct Pool;
///
/// impl Supervise for Pool {
///     type Args = usize;
///
///     fn init(size: usize) -> Result<SupervisorSpec, InitError> {
///         let worker = |i| ChildSpec::worker(i, || loop { process::sleep(std::time::Duration::from_secs(9)) });
///         Ok(Supervisor::one_for_one().children((0..size).map(worker)))
///     }
/// }
///
/// let pool = Pool::start_link(3)?;
/// assert_eq!(pool.count_children()?.active, 3);
/// pool.stop()?;
///
/// let system = Supervisor::start_link([Pool::child_spec(2)], Strategy::OneForAll)?;
/// # system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Supervise: Sized + 'static {
    /// The arguments of `init`, at the first start and at every restart.
    type Args: Clone + Send + Sync + 'static;

    /// Makes the spec, in the new supervisor's process.
    ///
    /// # Errors
    /// [`InitError`]: the supervisor does not start; [`InitError::Ignore`] does not count as a failure.
    fn init(args: Self::Args) -> Result<SupervisorSpec, InitError>;

    /// Starts the supervisor, linked to the calling process.
    ///
    /// # Errors
    /// Like [`SupervisorSpec::start_link`]: [`StartError::BadSpec`] if the spec is invalid;
    /// [`StartError::Failed`] if `init` fails, or a child fails to start; [`StartError::Ignored`] if `init`
    /// returns ignore.
    #[track_caller]
    fn start_link(args: Self::Args) -> Result<ServerRef<Supervisor>, StartError> {
        Self::child_spec(args).start_link()
    }

    /// Returns the child spec of the supervisor, for another supervisor. Its id is the name of this type.
    #[track_caller]
    fn child_spec(args: Self::Args) -> ServerSpec<Supervisor> {
        let type_name = short_type_name::<Self>();
        let init =
            SupervisorInit { name: type_name.to_owned(), make: Arc::new(move || Self::init(args.clone())) };
        Supervisor::child_spec(init).supervisor().id(type_name).label(type_name)
    }
}
