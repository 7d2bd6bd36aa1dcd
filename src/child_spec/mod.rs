//! The child spec: how a supervisor starts a child, when it restarts it, and how it stops it; with the errors
//! of a start.

pub(crate) mod restart_backoff;

use std::fmt;
use std::io;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::call_error::CallError;
use crate::child_spec::restart_backoff::RestartBackoff;
use crate::pid::Pid;
use crate::process::error::NameError;
use crate::process::error::SpawnError;
use crate::process::lifecycle::spawn::Builder;
use crate::process::lifecycle::worker_result::WorkerResult;
use crate::process::mailbox::inbox::{Inbox, NoMessages};
use crate::reason::ExitReason;

/// How long a worker may take to shut down, if its spec sets no shutdown; as in OTP.
pub(crate) const DEFAULT_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// The id of a child within its supervisor: any text.
///
/// The default is the name of the type: of a server, of an agent (`Agent<i32>`), of a type that implements
/// [`Supervise`](crate::supervisor::Supervise), `Supervisor`, `DynamicSupervisor` or `TaskSupervisor`. For the spec of a
/// supervisor that has a name, it is that name. Functions such as [`ChildSpec::worker`] take the id as an argument.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChildId(Arc<str>);

impl ChildId {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An id from a listing can be given to a request: `supervisor.terminate_child(&info.id)`.
impl AsRef<str> for ChildId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for ChildId {
    fn eq(&self, text: &str) -> bool {
        *self.0 == *text
    }
}

impl PartialEq<&str> for ChildId {
    fn eq(&self, text: &&str) -> bool {
        *self.0 == **text
    }
}

impl fmt::Display for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl<T: AsRef<str> + ?Sized> From<&T> for ChildId {
    fn from(text: &T) -> Self {
        Self(text.as_ref().into())
    }
}

impl From<String> for ChildId {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Arc<str>> for ChildId {
    fn from(text: Arc<str>) -> Self {
        Self(text)
    }
}

// For children with a number: literals are `i32`, indexes `usize`.
macro_rules! impl_from_integer {
    ($($number:ty),*) => {$(
        impl From<$number> for ChildId {
            fn from(number: $number) -> Self {
                Self(number.to_string().into())
            }
        }
    )*};
}
impl_from_integer!(i32, u32, u64, usize);

/// When a supervisor restarts a child that has exited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[allow(clippy::exhaustive_enums, reason = "closed by OTP")]
pub enum Restart {
    /// After every exit.
    #[default]
    Permanent,
    /// Only after an abnormal exit: any reason except `Normal`, `Shutdown` and `ShutdownWith`.
    Transient,
    /// Never. The supervisor discards its spec when it exits.
    Temporary,
}

/// How a supervisor stops a child.
///
/// A child that traps exits gets the signal as a message; a server then runs `terminate`. A child that does not
/// trap exits unwinds at its next runtime call. Both may use the whole time of a `Timeout`, even if the
/// [`exit_timeout`](crate::process::Builder::exit_timeout) of the process is shorter, with one exception: the
/// destructors of a child that traps exits, which run after `terminate`, have no longer than that `exit_timeout`.
/// A child that is killed has its [`kill_grace`](crate::process::Builder::kill_grace), and becomes a
/// [zombie](crate::process::Zombie) after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "closed by OTP")]
pub enum Shutdown {
    /// Kills it at once.
    BrutalKill,
    /// Sends the exit signal `Shutdown`, and kills the child if it has not exited within this time.
    Timeout(Duration),
    /// Sends the exit signal `Shutdown` and waits without a limit: for supervisors, which have to wait for
    /// their children. A child that does not trap exits and makes no runtime call becomes a zombie after its
    /// `exit_timeout` (5 s by default), so that it cannot block its supervisor.
    Infinity,
}

/// Whether a child is a worker or a supervisor. It is shown in listings, and decides the default of
/// [`Shutdown`]: 5 s for a worker, `Infinity` for a supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ChildType {
    /// Anything that is not a supervisor.
    #[default]
    Worker,
    /// A supervisor.
    Supervisor,
}

/// Why a server, a supervisor or a child could not be started.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum StartError {
    /// `init` returned [`InitError::Ignore`](crate::gen_server::InitError::Ignore): the process is not needed.
    Ignored,
    /// A process with that name, or a child with that id, is already running.
    AlreadyStarted(Pid),
    /// The supervisor has a child with that id that is not running: restart or delete it.
    AlreadyPresent,
    /// `init` failed, panicked or was killed, with this reason.
    Failed(ExitReason),
    /// `init` took longer than the start timeout, and the process was killed.
    Timeout {
        /// The start timeout.
        after: Duration,
    },
    /// The program has as many processes as
    /// [`Settings::max_processes`](crate::process::Settings::max_processes) allows.
    SystemLimit {
        /// The maximum number of processes.
        limit: usize,
    },
    /// The supervisor has as many children as its `max_children` allows.
    MaxChildren {
        /// The maximum number of children.
        limit: usize,
    },
    /// The operating system could not create a thread.
    Thread(Arc<io::Error>),
    /// The process cannot be registered under its name.
    Name(NameError),
    /// A child spec, or the spec of a supervisor, is invalid. No child was started.
    BadSpec(SpecError),
    /// The call to the supervisor that should start the child failed.
    NoSupervisor(CallError),
    /// The calling process is exiting.
    Exiting,
    /// The calling thread is not a process, so nothing can be linked to it and it cannot receive a `Down`.
    NotAProcess,
}

impl StartError {
    /// Creates a [`StartError::Failed`] from any reason, for the start function of [`ChildSpec::new`].
    ///
    /// ```
    /// use rethread::prelude::*;
    /// use rethread::StartError;
    ///
    /// let broken = ChildSpec::new("broken", || Err(StartError::failed("no disk")));
    /// let error = Supervisor::one_for_one().child(broken).start().unwrap_err();
    /// assert!(error.to_string().contains("child broken did not start: failed to start: no disk"));
    /// ```
    pub fn failed(reason: impl Into<ExitReason>) -> Self {
        Self::Failed(reason.into())
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ignored => f.write_str("init returned ignore"),
            Self::AlreadyStarted(pid) => write!(f, "already running as {pid}"),
            Self::AlreadyPresent => f.write_str("a child with that id is present but not running"),
            Self::Failed(reason) => write!(f, "failed to start: {reason}"),
            Self::Timeout { after } => write!(f, "init timed out after {after:?}"),
            Self::SystemLimit { limit } => write!(f, "the limit of {limit} processes is reached"),
            Self::MaxChildren { limit } => write!(f, "the supervisor has its limit of {limit} children"),
            Self::Thread(error) => write!(f, "the operating system refused a thread: {error}"),
            Self::Name(error) => error.fmt(f),
            Self::BadSpec(error) => error.fmt(f),
            Self::NoSupervisor(error) => error.fmt(f),
            Self::Exiting => f.write_str("the calling process is exiting"),
            Self::NotAProcess => f.write_str("the calling thread is not a process"),
        }
    }
}

// No `source`: the text contains that of the inner error already, and error reports would print it twice.
impl std::error::Error for StartError {}

// Not derived, because `io::Error` has no equality: two of them count as equal if their kinds are.
impl PartialEq for StartError {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ignored, Self::Ignored)
            | (Self::AlreadyPresent, Self::AlreadyPresent)
            | (Self::Exiting, Self::Exiting)
            | (Self::NotAProcess, Self::NotAProcess) => true,
            (Self::AlreadyStarted(a), Self::AlreadyStarted(b)) => a == b,
            (Self::Timeout { after: a }, Self::Timeout { after: b }) => a == b,
            (Self::Failed(a), Self::Failed(b)) => a == b,
            (Self::NoSupervisor(a), Self::NoSupervisor(b)) => a == b,
            (Self::SystemLimit { limit: a }, Self::SystemLimit { limit: b })
            | (Self::MaxChildren { limit: a }, Self::MaxChildren { limit: b }) => a == b,
            (Self::Thread(a), Self::Thread(b)) => a.kind() == b.kind(),
            (Self::Name(a), Self::Name(b)) => a == b,
            (Self::BadSpec(a), Self::BadSpec(b)) => a == b,
            _ => false,
        }
    }
}

impl From<SpawnError> for StartError {
    fn from(error: SpawnError) -> Self {
        match error {
            SpawnError::SystemLimit { limit } => Self::SystemLimit { limit },
            SpawnError::Thread(error) => Self::Thread(error),
            // Erlang's `{already_started, Pid}`.
            SpawnError::Name(NameError::Taken(holder)) => Self::AlreadyStarted(holder),
            SpawnError::Name(error) => Self::Name(error),
            SpawnError::Exiting => Self::Exiting,
            SpawnError::NotAProcess => Self::NotAProcess,
            // Only the error of an `attach`, which a custom start function may have called.
            error @ SpawnError::AlreadyAProcess(_) => Self::Failed(ExitReason::error(error)),
        }
    }
}

/// What is wrong with a child spec or with the spec of a supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpecError {
    /// Two children of one supervisor have this id. Set another id for one of them with `.id(..)`.
    DuplicateId(ChildId),
    /// A child has an empty id. An id must have at least one character.
    EmptyId,
    /// A permanent child cannot be significant, because it is always restarted.
    SignificantPermanent(ChildId),
    /// A child is significant, but the supervisor's `auto_shutdown` is `Never`.
    SignificantWithoutAutoShutdown(ChildId),
    /// The period of `max_restarts` is zero.
    ZeroPeriod,
    /// A partition supervisor has no partitions. It needs at least one.
    NoPartitions,
    /// The shortest delay of a [`RestartBackoff`](crate::supervisor::RestartBackoff) is zero, or longer than the longest.
    BackoffRange {
        /// The shortest delay.
        min: Duration,
        /// The longest delay.
        max: Duration,
    },
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateId(id) => write!(f, "two children have the id {id}"),
            Self::EmptyId => f.write_str("a child's id must have at least one character"),
            Self::SignificantPermanent(id) => {
                write!(
                    f,
                    "child {id} is significant, so its restart must be Transient or Temporary, not Permanent"
                )
            }
            Self::SignificantWithoutAutoShutdown(id) => {
                write!(f, "child {id} is significant, so the supervisor's auto_shutdown must not be Never")
            }
            Self::ZeroPeriod => f.write_str("the restart period must be longer than zero"),
            Self::NoPartitions => f.write_str("there must be at least one partition"),
            Self::BackoffRange { min, max } => write!(
                f,
                "the shortest restart delay must be longer than zero and not longer than the longest, but is {min:?} of {max:?}"
            ),
        }
    }
}

impl std::error::Error for SpecError {}

/// Starts the process of a child, linked to the calling supervisor.
type StartFn = dyn Fn() -> Result<Pid, StartError> + Send + Sync;

/// The specification of one child for its supervisor.
///
/// Most are made from a server: [`child_spec`](crate::gen_server::GenServerExt::child_spec) and its options. A blocking
/// closure can also be a child ([`ChildSpec::worker`]), and so can every function that starts a process
/// linked to its caller ([`ChildSpec::new`]).
///
/// ```
/// use rethread::supervisor::{ChildSpec, Restart, Supervisor};
///
/// let clock = ChildSpec::worker("clock", || loop {
///     rethread::process::sleep(std::time::Duration::from_secs(1));
/// });
/// let system = Supervisor::start_link([clock.restart(Restart::Transient)], rethread::supervisor::Strategy::OneForOne)?;
/// # system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "a spec does nothing by itself: give it to a supervisor"]
pub struct ChildSpec {
    pub(crate) start: Arc<StartFn>,
    pub(crate) options: ChildOptions,
}

/// What a supervisor knows of a child besides the function that starts it; read with
/// [`ChildSpec::options`], set with the setters of [`ChildSpec`] and of every other spec of a child.
///
/// ```
/// use rethread::supervisor::{ChildSpec, Restart, Shutdown};
///
/// let child = ChildSpec::worker("clock", || ()).restart(Restart::Transient);
/// assert_eq!(child.options().restart, Restart::Transient);
/// assert_eq!(child.options().shutdown, None); // the default of its type, which is 5 s:
/// assert_eq!(child.options().shutdown_or_default(), Shutdown::Timeout(std::time::Duration::from_secs(5)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChildOptions {
    /// Its id within the supervisor.
    pub id: ChildId,
    /// When the supervisor restarts it. Default: [`Restart::Permanent`].
    pub restart: Restart,
    /// How the supervisor stops it; `None` for the default of its type, which
    /// [`shutdown_or_default`](Self::shutdown_or_default) returns.
    pub shutdown: Option<Shutdown>,
    /// Whether it is a worker or a supervisor.
    pub child_type: ChildType,
    /// Whether its exit can stop the supervisor; see [`AutoShutdown`](crate::supervisor::AutoShutdown). Default: false.
    pub significant: bool,
    /// How long the supervisor waits, if the child became a zombie, for its thread to end before it starts
    /// the replacement. `None`, the default: it does not wait.
    pub reap_timeout: Option<Duration>,
    /// How long the supervisor waits before it restarts the child. `None`, the default: the supervisor's
    /// [`child_restart_backoff`](crate::supervisor::SupervisorSpec::child_restart_backoff), if it has one, otherwise it
    /// does not wait.
    pub restart_backoff: Option<RestartBackoff>,
}

impl ChildOptions {
    /// Creates the defaults.
    pub(crate) fn new(id: impl Into<ChildId>) -> Self {
        Self {
            id: id.into(),
            restart: Restart::default(),
            shutdown: None,
            child_type: ChildType::default(),
            significant: false,
            reap_timeout: None,
            restart_backoff: None,
        }
    }

    /// Returns how the child is stopped: the value that was set, or the default of its type.
    pub fn shutdown_or_default(&self) -> Shutdown {
        self.shutdown.unwrap_or(match self.child_type {
            ChildType::Worker => Shutdown::Timeout(DEFAULT_SHUTDOWN_TIMEOUT),
            ChildType::Supervisor => Shutdown::Infinity,
        })
    }
}

/// Writes the setters of the child options, for a spec that has them in the field `$options`. The id has a
/// place of its own, because specs with a default id must know whether it was set.
macro_rules! impl_child_option_setters {
    ($($options:ident).+, id: $($id:ident).+) => {
        /// Sets the id of the child within its supervisor.
        pub fn id(mut self, id: impl Into<$crate::child_spec::ChildId>) -> Self {
            let id: $crate::child_spec::ChildId = id.into();
            // The field is a `ChildId` or an `Option` of one; `into` converts to both.
            self.$($id).+ = id.into();
            self
        }

        /// Sets when the supervisor restarts the child. Default:
        /// [`Restart::Permanent`](crate::supervisor::Restart::Permanent).
        pub fn restart(mut self, restart: $crate::child_spec::Restart) -> Self {
            self.$($options).+.restart = restart;
            self
        }

        /// Sets how the supervisor stops the child. Default: 5 s for a worker,
        /// [`Shutdown::Infinity`](crate::supervisor::Shutdown::Infinity) for a supervisor.
        pub fn shutdown(mut self, shutdown: $crate::child_spec::Shutdown) -> Self {
            self.$($options).+.shutdown = Some(shutdown);
            self
        }

        /// Sets whether its exit can stop the supervisor; see [`AutoShutdown`](crate::supervisor::AutoShutdown). Default:
        /// false.
        pub fn significant(mut self, significant: bool) -> Self {
            self.$($options).+.significant = significant;
            self
        }

        /// Sets how long the supervisor waits, if the child became a zombie, for its thread to end before it
        /// starts the replacement. For children that hold an exclusive resource. Default: it does not wait.
        ///
        /// ```
        /// use rethread::supervisor::ChildSpec;
        /// use std::time::Duration;
        ///
        /// // If its thread hangs in a read, the port is not opened a second time until the thread has ended.
        /// let reader = ChildSpec::worker("serial port", || ()).reap_timeout(Duration::from_secs(60));
        /// assert_eq!(reader.options().reap_timeout, Some(Duration::from_secs(60)));
        /// ```
        pub fn reap_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.$($options).+.reap_timeout = Some(timeout);
            self
        }

        /// Sets how long the supervisor waits before it restarts the child: for children that depend on a device or
        /// service that may be away for a while. Default: the supervisor's
        /// [`child_restart_backoff`](crate::supervisor::SupervisorSpec::child_restart_backoff), if it has one, otherwise
        /// it does not wait.
        ///
        /// ```
        /// use rethread::supervisor::{ChildSpec, RestartBackoff};
        /// use std::time::Duration;
        ///
        /// // Retried after 0.1 s, 0.2 s, 0.4 s, .. 30 s, while the file is missing.
        /// let backoff = RestartBackoff::new(Duration::from_millis(100), Duration::from_secs(30));
        /// let reader = ChildSpec::worker("reader", || ()).restart_backoff(backoff);
        /// assert_eq!(reader.options().restart_backoff, Some(backoff));
        /// ```
        pub fn restart_backoff(
            mut self,
            backoff: $crate::child_spec::restart_backoff::RestartBackoff,
        ) -> Self {
            self.$($options).+.restart_backoff = Some(backoff);
            self
        }
    };
}
pub(crate) use impl_child_option_setters;

impl ChildSpec {
    /// Creates a child that is started by a custom function. The function must start a process that is linked
    /// to its caller, and return the pid.
    ///
    /// It runs in the supervisor, which handles nothing else meanwhile. A panic in it counts as a failed
    /// start.
    pub fn new(
        id: impl Into<ChildId>,
        start: impl Fn() -> Result<Pid, StartError> + Send + Sync + 'static,
    ) -> Self {
        Self::with_options(ChildOptions::new(id), start)
    }

    pub(crate) fn with_options(
        options: ChildOptions,
        start: impl Fn() -> Result<Pid, StartError> + Send + Sync + 'static,
    ) -> Self {
        Self { start: Arc::new(start), options }
    }

    /// Creates a child that runs a blocking function: an accept loop, a device reader, a plain computation.
    ///
    /// The function is called again at each restart, so it is an `Fn`. A function that consumes what it
    /// captured, such as a socket, can run only once: use a task for it
    /// ([`start_child`](crate::task::TaskSupervisor#one-for-each-connection) of a `TaskSupervisor`).
    ///
    /// The function returns `()`, a `Result<(), E>`, or nothing, because it is an endless loop. On an error the process
    /// exits with it, as [`or_exit`](crate::OrExit::or_exit) would do, and the supervisor treats that as a failure;
    /// [`WorkerResult`] lists the types of errors.
    ///
    /// ```
    /// use std::net::{TcpListener, TcpStream};
    /// use rethread::prelude::*;
    ///
    /// fn accept_loop(listener: &TcpListener) -> std::io::Result<()> {
    ///     let address = listener.local_addr()?;
    ///     // An exit signal does not interrupt `accept`; a connection does.
    ///     let _hook = process::on_exit_request(move || drop(TcpStream::connect(address)));
    ///     loop {
    ///         let (_stream, peer) = listener.accept()?;
    ///         process::checkpoint(); // exits here if the hook connected
    ///         println!("{peer}");
    ///     }
    /// }
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let acceptor = ChildSpec::worker("acceptor", move || accept_loop(&listener));
    /// let system = Supervisor::start_link([acceptor], Strategy::OneForOne)?;
    /// system.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// The supervisor stops it by an exit signal, which takes effect at its next runtime call; see
    /// [`checkpoint`](crate::process::checkpoint) for loops and
    /// [`on_exit_request`](crate::process::on_exit_request) for blocking calls outside the runtime. The local
    /// variables are dropped while the thread unwinds: if a destructor panics then, Rust aborts the program.
    #[track_caller]
    pub fn worker<R: WorkerResult<Kind>, Kind>(
        id: impl Into<ChildId>,
        body: impl Fn() -> R + Send + Sync + 'static,
    ) -> Self {
        Self::worker_with(Builder::new(), id, body)
    }

    /// Creates a child like [`worker`](Self::worker), whose process has the options of `builder`: a name, a
    /// label, a stack size, time limits. Without a name and a label, the id is the label.
    ///
    /// ```
    /// use rethread::prelude::*;
    ///
    /// let deep = process::Builder::new().name("doc.deep worker").stack_size(16 * 1024 * 1024);
    /// let worker = ChildSpec::worker_with(deep, "deep", || process::sleep(std::time::Duration::MAX));
    /// let system = Supervisor::start_link([worker], Strategy::OneForOne)?;
    /// assert!(process::whereis("doc.deep worker").is_some());
    /// system.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn worker_with<R: WorkerResult<Kind>, Kind>(
        builder: Builder,
        id: impl Into<ChildId>,
        body: impl Fn() -> R + Send + Sync + 'static,
    ) -> Self {
        Self::receiver_with(builder, id, move |_: &mut Inbox<NoMessages>| body().exit_on_error())
    }

    /// Creates a child that is a plain process with a mailbox for messages of type `M`.
    ///
    /// ```
    /// use rethread::prelude::*;
    /// use rethread::process::Name;
    ///
    /// const PRINTER: Name<String> = Name::new("doc.printer");
    ///
    /// let print = |inbox: &mut Inbox<String>| {
    ///     while let Event::Message(text) = inbox.recv() {
    ///         println!("{text}");
    ///     }
    /// };
    /// let builder = process::Builder::new().name(PRINTER); // the type of the messages is checked by `send`
    /// let children = [ChildSpec::receiver("unnamed", print), ChildSpec::receiver_with(builder, "named", print)];
    /// let system = Supervisor::start_link(children, Strategy::OneForOne)?;
    /// PRINTER.send("hello".to_owned())?;
    /// system.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn receiver<M: Send + 'static>(
        id: impl Into<ChildId>,
        body: impl Fn(&mut Inbox<M>) + Send + Sync + 'static,
    ) -> Self {
        Self::receiver_with(Builder::new(), id, body)
    }

    /// Creates a child like [`receiver`](Self::receiver), whose process has the options of `builder`: a name,
    /// a label, a stack size, time limits. Without a name and a label, the id is the label.
    #[track_caller]
    pub fn receiver_with<M: Send + 'static>(
        builder: Builder,
        id: impl Into<ChildId>,
        body: impl Fn(&mut Inbox<M>) + Send + Sync + 'static,
    ) -> Self {
        let body = Arc::new(body);
        Self::with_builder(builder, id.into(), move |builder| {
            // Each start needs its own copy of the body.
            let body = Arc::clone(&body);
            Ok(builder.spawn_receiver_link(move |inbox: &mut Inbox<M>| body(inbox))?.pid())
        })
    }

    /// Creates a child that is a plain process with the options of `builder`.
    #[track_caller]
    pub(crate) fn with_builder(
        builder: Builder,
        id: ChildId,
        start: impl Fn(Builder) -> Result<Pid, StartError> + Send + Sync + 'static,
    ) -> Self {
        // Without a name or label, listings and logs show the id, also beside a key in `via`.
        let unnamed = builder.name.is_none() && builder.label.is_none();
        let builder = if unnamed { builder.label(&*id.0) } else { builder };
        // Listings show the place that made the spec as the origin of the process, not the place in the
        // supervisor that starts it.
        let builder = Builder { spawned_at: builder.spawned_at.or(Some(Location::caller())), ..builder };
        Self::new(id, move || start(builder.clone()))
    }

    impl_child_option_setters!(options, id: options.id);

    /// Sets whether the child is a worker or a supervisor. Default: [`ChildType::Worker`].
    pub fn child_type(mut self, child_type: ChildType) -> Self {
        self.options.child_type = child_type;
        self
    }

    /// Returns the options.
    pub fn options(&self) -> &ChildOptions {
        &self.options
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("id", &self.options.id)
            .field("restart", &self.options.restart)
            .field("shutdown", &self.options.shutdown_or_default())
            .field("child_type", &self.options.child_type)
            .field("significant", &self.options.significant)
            .finish_non_exhaustive()
    }
}
