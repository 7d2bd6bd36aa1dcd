//! `Supervise`: a supervisor as a type of its own, whose spec is made from its arguments at each start.

use std::fmt;

use crate::child_spec::{ChildSpec, StartError};
use crate::gen_server::callbacks::{GenServer, InitError};
use crate::gen_server::options::{ServerOptions, impl_server_option_setters};
use crate::gen_server::server_ref::{ServerRef, Target};
use crate::gen_server::spec::ServerSpec;
use crate::process::control::type_name::short_type_name;
use crate::supervisor::dynamic::DynamicSupervisorRef;
use crate::supervisor::dynamic_server;
use crate::supervisor::server;
use crate::supervisor::server::SupervisorArgs;
use crate::supervisor::spec::{DynamicSupervisorSpec, SupervisorSpec};
use crate::supervisor::supervisor::SupervisorRef;

/// A supervisor as a type of its own. Its spec is made from its arguments when the supervisor starts, and
/// again at each restart.
///
/// Implement `init` only: the other functions are the same for every supervisor, and a supervisor that is started
/// through its [`child_spec`](Self::child_spec) does not call an overridden `start_link` or `start`.
///
/// ```
/// use rethread::prelude::*;
/// use rethread::supervisor::{Supervise, SupervisorSpec};
///
/// pub struct Pool;
///
/// impl Supervise for Pool {
///     type Args = usize;
///     type Spec = SupervisorSpec;
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
///
/// A dynamic supervisor as a type of its own, with functions for its requests, like Elixir's
/// `use DynamicSupervisor`:
///
/// ```
/// use rethread::prelude::*;
/// use rethread::supervisor::{DynamicSupervisor, DynamicSupervisorRef, DynamicSupervisorSpec, Supervise};
/// use rethread::StartError;
///
/// pub struct Downloads;
/// const DOWNLOADS: DynamicSupervisorRef = DynamicSupervisorRef::named("doc.downloads");
///
/// impl Supervise for Downloads {
///     type Args = usize;
///     type Spec = DynamicSupervisorSpec;
///
///     fn init(limit: usize) -> Result<DynamicSupervisorSpec, InitError> {
///         Ok(DynamicSupervisor::child_spec().max_children(limit))
///     }
/// }
///
/// impl Downloads {
///     fn fetch(url: &'static str) -> Result<Pid, StartError> {
///         DOWNLOADS.start_child(ChildSpec::worker(url, move || println!("fetching {url}")).restart(Restart::Transient))
///     }
/// }
///
/// let system = Supervisor::start_link([Downloads::child_spec(2).name(DOWNLOADS)], Strategy::OneForOne)?;
/// Downloads::fetch("https://example.org/")?;
/// # system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Supervise: Sized + 'static {
    /// The arguments of `init`, at the first start and at every restart.
    type Args: Clone + Send + Sync + 'static;
    /// The kind of supervisor: [`SupervisorSpec`] or [`DynamicSupervisorSpec`].
    type Spec: SupervisorKind;

    /// Makes the spec, in the new supervisor's process. What its own supervisor uses, and the options of the
    /// process, are those of [`child_spec`](Self::child_spec): a name, an id or a label in the returned spec
    /// is not used.
    ///
    /// # Errors
    /// [`InitError`]: the supervisor does not start; [`InitError::Ignore`] does not count as a failure.
    fn init(args: Self::Args) -> Result<Self::Spec, InitError>;

    /// Starts the supervisor, linked to the calling process.
    ///
    /// # Errors
    /// [`StartError::BadSpec`] if the spec is invalid; [`StartError::Failed`] if `init` fails, or a child
    /// fails to start, as for [`SupervisorSpec::start_link`]; [`StartError::Ignored`] if `init` returns ignore;
    /// [`StartError::SystemLimit`] and [`StartError::Thread`] if there is no thread for it;
    /// [`StartError::Exiting`] if the calling process is exiting.
    #[track_caller]
    fn start_link(args: Self::Args) -> Result<<Self::Spec as SupervisorKind>::Ref, StartError> {
        Self::child_spec(args).start_link()
    }

    /// Starts the supervisor without a link.
    ///
    /// # Errors
    /// [`StartError::BadSpec`] if the spec is invalid; [`StartError::Failed`] if `init` fails, or a child
    /// fails to start, as for [`SupervisorSpec::start_link`]; [`StartError::Ignored`] if `init` returns ignore;
    /// [`StartError::SystemLimit`] and [`StartError::Thread`] if there is no thread for it;
    /// [`StartError::Exiting`] if the calling process is exiting.
    #[track_caller]
    fn start(args: Self::Args) -> Result<<Self::Spec as SupervisorKind>::Ref, StartError> {
        Self::child_spec(args).start()
    }

    /// Returns the options to start the supervisor and to give it to another one. Its id is the name of this
    /// type.
    #[track_caller]
    fn child_spec(args: Self::Args) -> SuperviseSpec<Self> {
        let type_name = short_type_name::<Self>();
        let mut options = ServerOptions::new(type_name);
        options.set_default_label(type_name);
        SuperviseSpec { args, options }
    }
}

/// The kind of a supervisor that implements [`Supervise`]: [`SupervisorSpec`] or [`DynamicSupervisorSpec`].
/// Other types cannot implement it.
#[expect(private_bounds, reason = "sealed: only the types of this file implement it")]
pub trait SupervisorKind: SupervisorKindParts {
    /// The handle of a supervisor of this kind.
    type Ref;
}

impl SupervisorKind for SupervisorSpec {
    type Ref = SupervisorRef;
}

impl SupervisorKind for DynamicSupervisorSpec {
    type Ref = DynamicSupervisorRef;
}

pub(crate) trait SupervisorKindParts: Sized + 'static {
    /// The server that runs supervisors of this kind.
    type Server: GenServer<Args = SupervisorArgs<Self>>;

    fn handle_of(server: ServerRef<Self::Server>) -> <Self as SupervisorKind>::Ref
    where
        Self: SupervisorKind;

    fn target_of(handle: <Self as SupervisorKind>::Ref) -> Target
    where
        Self: SupervisorKind;
}

impl SupervisorKindParts for SupervisorSpec {
    type Server = server::Supervisor;

    fn handle_of(server: ServerRef<Self::Server>) -> SupervisorRef {
        SupervisorRef::new(server)
    }

    fn target_of(handle: SupervisorRef) -> Target {
        handle.server.target
    }
}

impl SupervisorKindParts for DynamicSupervisorSpec {
    type Server = dynamic_server::DynamicSupervisor;

    fn handle_of(server: ServerRef<Self::Server>) -> DynamicSupervisorRef {
        DynamicSupervisorRef::new(server)
    }

    fn target_of(handle: DynamicSupervisorRef) -> Target {
        handle.server.target
    }
}

/// The options to start a supervisor that implements [`Supervise`], and to give it to another one; made by
/// [`Supervise::child_spec`].
///
/// | default | |
/// | --- | --- |
/// | id | the name of the type |
/// | label | the name of the type |
/// | restart | [`Restart::Permanent`](crate::supervisor::Restart::Permanent) |
/// | shutdown | [`Shutdown::Infinity`](crate::supervisor::Shutdown::Infinity) |
/// | name | none |
#[must_use = "a spec does nothing by itself: start it, or give it to a supervisor"]
pub struct SuperviseSpec<T: Supervise> {
    args: T::Args,
    options: ServerOptions,
}

impl<T: Supervise> SuperviseSpec<T> {
    /// Sets the name of the supervisor.
    pub fn name(mut self, name: <T::Spec as SupervisorKind>::Ref) -> Self {
        self.options.name = Some(T::Spec::target_of(name));
        self
    }

    impl_server_option_setters!(options);

    /// Starts the supervisor, linked to the calling process. On a thread that is not a process there is no
    /// link: it does the same as [`start`](Self::start).
    ///
    /// # Errors
    /// [`StartError::AlreadyStarted`] if the name is taken, and [`StartError::Name`] if it is not valid: no
    /// process was started. [`StartError::BadSpec`] if the spec is invalid; [`StartError::Failed`] if `init`
    /// fails, or a child fails to start, as for [`SupervisorSpec::start_link`]; [`StartError::Ignored`] if
    /// `init` returns ignore; [`StartError::Timeout`] if the start timeout is over: the process has exited.
    /// [`StartError::SystemLimit`] and [`StartError::Thread`] if there is no thread for it;
    /// [`StartError::Exiting`] if the calling process is exiting.
    #[track_caller]
    pub fn start_link(self) -> Result<<T::Spec as SupervisorKind>::Ref, StartError> {
        self.into_server_spec().start_link().map(T::Spec::handle_of)
    }

    /// Starts the supervisor without a link.
    ///
    /// # Errors
    /// [`StartError::AlreadyStarted`] if the name is taken, and [`StartError::Name`] if it is not valid: no
    /// process was started. [`StartError::BadSpec`] if the spec is invalid; [`StartError::Failed`] if `init`
    /// fails, or a child fails to start, as for [`SupervisorSpec::start_link`]; [`StartError::Ignored`] if
    /// `init` returns ignore; [`StartError::Timeout`] if the start timeout is over: the process has exited.
    /// [`StartError::SystemLimit`] and [`StartError::Thread`] if there is no thread for it;
    /// [`StartError::Exiting`] if the calling process is exiting.
    #[track_caller]
    pub fn start(self) -> Result<<T::Spec as SupervisorKind>::Ref, StartError> {
        self.into_server_spec().start().map(T::Spec::handle_of)
    }

    pub(crate) fn into_server_spec(self) -> ServerSpec<<T::Spec as SupervisorKindParts>::Server> {
        let Self { args, options } = self;
        let args = SupervisorArgs::new(short_type_name::<T>(), move || T::init(args.clone()));
        ServerSpec::supervisor(args, options)
    }
}

impl<T: Supervise> From<SuperviseSpec<T>> for ChildSpec {
    fn from(spec: SuperviseSpec<T>) -> Self {
        spec.into_server_spec().into()
    }
}

// Not derived: that would require `T: Clone`.
impl<T: Supervise> Clone for SuperviseSpec<T> {
    fn clone(&self) -> Self {
        Self { args: self.args.clone(), options: self.options.clone() }
    }
}

impl<T: Supervise> fmt::Debug for SuperviseSpec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.fmt_spec(f, "SuperviseSpec")
    }
}
