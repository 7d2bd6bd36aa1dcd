//! The public API of dynamic supervisors, whose children are added while the program runs: constructors, spec,
//! methods of the handle. The process itself is in `dynamic_server`.

use crate::call_error::CallError;
use crate::child_spec::{ChildSpec, StartError};
use crate::gen_server::callbacks::GenServer;
use crate::gen_server::handle::define_handle;
use crate::gen_server::server_ref::ServerRef;
use crate::gen_server::spec::ServerSpec;
use crate::pid::Pid;
use crate::supervisor::child::{ChildCount, ChildError, ChildInfo, flatten_reply};
use crate::supervisor::dynamic_server;
use crate::supervisor::dynamic_server::DynamicChildRequest;
use crate::supervisor::server::SupervisorArgs;
use crate::supervisor::spec::{AutoShutdown, DynamicSupervisorSpec, check_child};

/// A supervisor that starts without children; they are added while it runs, such as one for each user,
/// connection or file. Its strategy is always [`Strategy::OneForOne`](crate::supervisor::Strategy::OneForOne), its
/// children are identified by their pids, and it stops them all at once.
///
/// ```
/// use rethread::prelude::*;
/// use rethread::supervisor::{DynamicSupervisor, DynamicSupervisorRef};
///
/// pub struct Room { people: u32 }
/// pub enum Ask { Enter(Caller<u32>) }
///
/// impl GenServer for Room {
///     type Args = u32; type Call = Ask; type Cast = Infallible;
///     fn init(people: u32, _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Room { people }) }
///     fn handle_call(&mut self, Ask::Enter(from): Ask, _: &mut Context<Self>) -> Next {
///         self.people += 1;
///         from.reply(self.people)
///     }
/// }
///
/// const ROOMS: DynamicSupervisorRef = DynamicSupervisorRef::named("doc.rooms");
/// let system = Supervisor::start_link([DynamicSupervisor::child_spec().name(ROOMS)], Strategy::OneForOne)?;
///
/// let room = ROOMS.start_server(Room::child_spec(10))?;
/// assert_eq!(room.call(Ask::Enter)?, 11);
/// let pid = ROOMS.start_child(Room::child_spec(0).restart(Restart::Temporary))?;
/// assert_eq!(ROOMS.count_children()?.active, 2);
/// ROOMS.terminate_child(pid)?;
/// # system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Children that consume what they are given, such as a socket, cannot be restarted: start them as tasks of a
/// [`TaskSupervisor`](crate::task::TaskSupervisor#one-for-each-connection).
///
/// The type itself has no values: it carries the functions that make a spec or start a supervisor. The handle,
/// [`DynamicSupervisorRef`], adds, stops and lists children.
///
/// A child that is restarted gets a new pid. To find it again, give it a name, or register it under a key in
/// a registry.
///
/// # Differences from Erlang
/// This is Elixir's `DynamicSupervisor`. Erlang's `simple_one_for_one`, one spec with arguments that are
/// added at each start, is a function from those arguments to a [`ChildSpec`](crate::supervisor::ChildSpec); so are
/// Elixir's `extra_arguments`.
#[derive(Debug)]
#[non_exhaustive]
pub enum DynamicSupervisor {}

impl DynamicSupervisor {
    /// Creates a spec with the defaults.
    #[track_caller]
    pub fn child_spec() -> DynamicSupervisorSpec {
        DynamicSupervisorSpec::new("DynamicSupervisor")
    }

    /// Starts a dynamic supervisor with the defaults, linked to the calling process. On a thread that is not
    /// a process there is no link.
    ///
    /// # Errors
    /// [`StartError::SystemLimit`], [`StartError::Thread`], [`StartError::Exiting`].
    #[track_caller]
    pub fn start_link() -> Result<DynamicSupervisorRef, StartError> {
        Self::child_spec().start_link()
    }

    /// Starts a dynamic supervisor with the defaults, without a link.
    ///
    /// # Errors
    /// [`StartError::SystemLimit`], [`StartError::Thread`], [`StartError::Exiting`].
    #[track_caller]
    pub fn start() -> Result<DynamicSupervisorRef, StartError> {
        Self::child_spec().start()
    }
}

impl DynamicSupervisorSpec {
    /// Sets the name of the supervisor.
    pub fn name(mut self, name: DynamicSupervisorRef) -> Self {
        self.options.set_supervisor_name(name.server.target);
        self
    }

    /// Starts the supervisor, linked to the calling process. On a thread that is not a process there is no
    /// link: it does the same as [`start`](Self::start).
    ///
    /// # Errors
    /// [`StartError::BadSpec`] if the spec is invalid; [`StartError::AlreadyStarted`] if the name is taken;
    /// [`StartError::Timeout`] if the start timeout is over; [`StartError::Name`], [`StartError::SystemLimit`],
    /// [`StartError::Thread`], [`StartError::Exiting`].
    #[track_caller]
    pub fn start_link(self) -> Result<DynamicSupervisorRef, StartError> {
        self.check().map_err(StartError::BadSpec)?;
        self.into_server_spec().start_link().map(DynamicSupervisorRef::new)
    }

    /// Starts the supervisor without a link.
    ///
    /// # Errors
    /// [`StartError::BadSpec`] if the spec is invalid; [`StartError::AlreadyStarted`] if the name is taken;
    /// [`StartError::Timeout`] if the start timeout is over; [`StartError::Name`], [`StartError::SystemLimit`],
    /// [`StartError::Thread`], [`StartError::Exiting`].
    #[track_caller]
    pub fn start(self) -> Result<DynamicSupervisorRef, StartError> {
        self.check().map_err(StartError::BadSpec)?;
        self.into_server_spec().start().map(DynamicSupervisorRef::new)
    }

    /// Converts the spec for a server with dynamic children: this kind of supervisor, or one of tasks.
    pub(crate) fn into_server_spec<S>(self) -> ServerSpec<S>
    where
        S: GenServer<Args = SupervisorArgs<Self>>,
    {
        let options = self.options.clone();
        // The default id is the name, if it has one: the supervisor calls itself so in the log.
        let name = options.child.id.to_string();
        ServerSpec::supervisor(SupervisorArgs::new(name, move || Ok(self.clone())), options)
    }
}

impl From<DynamicSupervisorSpec> for ChildSpec {
    fn from(spec: DynamicSupervisorSpec) -> Self {
        spec.into_server_spec::<dynamic_server::DynamicSupervisor>().into()
    }
}

/// Starts a child under a server of dynamic children.
pub(crate) fn start_child<S: GenServer<Call = DynamicChildRequest>>(
    server: &ServerRef<S>,
    child: ChildSpec,
) -> Result<Pid, StartError> {
    // Checked in the caller: a dynamic supervisor has no other specs or settings to compare with.
    check_child(&child.options, AutoShutdown::Never).map_err(StartError::BadSpec)?;
    flatten_reply(server.call_infinity(|from| DynamicChildRequest::Start(child, from)))
}

/// Stops a child of a server of dynamic children.
pub(crate) fn terminate_child<S: GenServer<Call = DynamicChildRequest>>(
    server: &ServerRef<S>,
    pid: Pid,
) -> Result<(), ChildError> {
    flatten_reply(server.call_infinity(|from| DynamicChildRequest::Terminate(pid, from)))
}

define_handle! {
    /// A handle of a [`DynamicSupervisor`]: of one particular process, or of the process that is registered
    /// under a name or key at the moment of each request. A handle by name stays valid when the supervisor is
    /// restarted, and can be a constant.
    ///
    /// Requests have no timeout: the supervisor may be busy starting or stopping a child.
    pub struct DynamicSupervisorRef of dynamic_server::DynamicSupervisor; "dynamic supervisor"
}

impl DynamicSupervisorRef {
    /// Adds a child and starts it. Ids need not differ: children are identified by their pids.
    ///
    /// # Errors
    /// [`StartError::Ignored`] if its start function returned ignore; [`StartError::MaxChildren`];
    /// [`StartError::BadSpec`], found before the supervisor is called; the error of its start function;
    /// [`StartError::NoSupervisor`] if the call fails; [`StartError::Exiting`] if the calling process is
    /// exiting. After an error the supervisor does not keep the child.
    pub fn start_child(&self, child: impl Into<ChildSpec>) -> Result<Pid, StartError> {
        start_child(&self.server, child.into())
    }

    /// Like [`start_child`](Self::start_child), but returns a handle of the started server. After a crash the
    /// handle is not valid for the process that replaces it: for that, give the server a name.
    ///
    /// # Errors
    /// The errors of `start_child`: [`StartError::Ignored`], [`StartError::MaxChildren`],
    /// [`StartError::BadSpec`], the error of the start, [`StartError::NoSupervisor`], [`StartError::Exiting`].
    pub fn start_server<S: GenServer>(&self, server: ServerSpec<S>) -> Result<ServerRef<S>, StartError>
    where
        S::Args: Clone + Sync,
    {
        self.start_child(server).map(ServerRef::from_pid)
    }

    /// Stops a child, which is not restarted. A child that is about to be restarted, or waits for that, has its last pid.
    ///
    /// # Errors
    /// [`ChildError::NotFound`] if the supervisor has no such child, or no longer; [`ChildError::NoSupervisor`] if the
    /// call fails; [`ChildError::Exiting`] if the calling process is exiting.
    pub fn terminate_child(&self, child: impl Into<Pid>) -> Result<(), ChildError> {
        terminate_child(&self.server, child.into())
    }

    /// Returns all children, the oldest process first.
    ///
    /// # Errors
    /// [`CallError`] if the supervisor is not running or exits meanwhile.
    pub fn which_children(&self) -> Result<Vec<ChildInfo>, CallError> {
        self.server.call_infinity(DynamicChildRequest::Which)
    }

    /// Returns the number of children, by state and type.
    ///
    /// # Errors
    /// [`CallError`] if the supervisor is not running or exits meanwhile.
    pub fn count_children(&self) -> Result<ChildCount, CallError> {
        self.server.call_infinity(DynamicChildRequest::Count)
    }
}
