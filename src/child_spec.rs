//! What a supervisor needs to know of a child, whatever it is: how to start it, when to restart it, how
//! to stop it. Servers and supervisors make these; supervisors take them.

use std::fmt;
use std::io;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::pid::Pid;
use crate::process::lifecycle::spawn::Builder;
use crate::process::lifecycle::spawn::SpawnError;
use crate::process::mailbox::address::Address;
use crate::process::mailbox::inbox::Inbox;
use crate::process::names::NameError;
use crate::reason::ExitReason;

/// The identity of a child within its supervisor: any text. By default the name of the server's type; of a
/// supervisor that is a plan, the name it was given.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChildId(Arc<str>);

impl ChildId {
    /// The text of it.
    pub fn as_str(&self) -> &str {
        &self.0
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

/// When a child that has ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Restart {
    /// Always.
    #[default]
    Permanent,
    /// Only after an abnormal end: any reason but `Normal`, `Shutdown`, `ShutdownWith`.
    Transient,
    /// Never; its spec is forgotten.
    Temporary,
}

/// How a supervisor ends a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shutdown {
    /// Kill it at once.
    BrutalKill,
    /// Tell it to shut down, kill it if it has not ended within this time.
    Timeout(Duration),
    /// Tell it to shut down and wait: for supervisors, which need as long as their children do.
    Infinity,
}

/// What a child is. It matters to listings, and to the default of [`Shutdown`]: 5 s for a worker,
/// `Infinity` for a supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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
    /// Its `init` asked not to be started, and that is all right.
    Ignored,
    /// A process with that name, or a child with that id, is running.
    AlreadyStarted(Pid),
    /// The supervisor has a child with that id, which is not running: restart or delete it.
    AlreadyPresent,
    /// Its `init` failed, panicked or was killed, with this reason.
    Failed(ExitReason),
    /// Its `init` took longer than allowed, and was killed.
    Timeout,
    /// There are as many processes as
    /// [`Settings::max_processes`](crate::process::Settings::max_processes) allows.
    SystemLimit {
        /// How many that is.
        limit: usize,
    },
    /// The supervisor has as many children as it may have.
    MaxChildren {
        /// How many that is.
        limit: usize,
    },
    /// The operating system refused a thread.
    Thread(Arc<io::Error>),
    /// It cannot have that name.
    Name(NameError),
    /// A child spec, or the plan of a supervisor, makes no sense. No child was started.
    BadSpec(SpecError),
    /// The supervisor that was to start it is not there.
    NoSupervisor(ExitReason),
    /// The calling process is exiting.
    Exiting,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ignored => f.write_str("it asked not to be started"),
            Self::AlreadyStarted(pid) => write!(f, "it is already running as {pid}"),
            Self::AlreadyPresent => f.write_str("a child with that id is present but not running"),
            Self::Failed(reason) => write!(f, "it failed to start: {reason}"),
            Self::Timeout => f.write_str("it did not start in time"),
            Self::SystemLimit { limit } => write!(f, "the limit of {limit} processes is reached"),
            Self::MaxChildren { limit } => write!(f, "the supervisor has its limit of {limit} children"),
            Self::Thread(error) => write!(f, "the operating system refused a thread: {error}"),
            Self::Name(error) => error.fmt(f),
            Self::BadSpec(error) => error.fmt(f),
            Self::NoSupervisor(reason) => write!(f, "the supervisor did not answer: {reason}"),
            Self::Exiting => f.write_str("the calling process is exiting"),
        }
    }
}

// No `source`: the text tells all of the inner error already, and chains of causes would tell it twice.
impl std::error::Error for StartError {}

impl PartialEq for StartError {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ignored, Self::Ignored)
            | (Self::AlreadyPresent, Self::AlreadyPresent)
            | (Self::Timeout, Self::Timeout)
            | (Self::Exiting, Self::Exiting) => true,
            (Self::AlreadyStarted(a), Self::AlreadyStarted(b)) => a == b,
            (Self::Failed(a), Self::Failed(b)) | (Self::NoSupervisor(a), Self::NoSupervisor(b)) => a == b,
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
            SpawnError::Name(NameError::Taken(holder)) => Self::AlreadyStarted(holder),
            SpawnError::Name(error) => Self::Name(error),
            SpawnError::Exiting | SpawnError::NotAProcess | SpawnError::AlreadyAProcess(_) => Self::Exiting,
        }
    }
}

/// What is wrong with a child spec or with the plan of a supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpecError {
    /// Two children of one supervisor have this id. Give one of them another with `.id(..)`.
    DuplicateId(ChildId),
    /// An id is at least one character.
    EmptyId,
    /// A permanent child cannot be significant: it never ends for good.
    SignificantPermanent(ChildId),
    /// A child is significant, but the supervisor's `auto_shutdown` is `Never`.
    SignificantWithoutAutoShutdown(ChildId),
    /// The restart window must be longer than zero.
    ZeroPeriod,
    /// A partition supervisor needs at least one partition.
    NoPartitions,
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
        }
    }
}

impl std::error::Error for SpecError {}

type StartFn = dyn Fn() -> Result<Pid, StartError> + Send + Sync;

/// Everything a supervisor needs to know of one child.
///
/// Most are made from a server: [`child_spec`](crate::GenServerExt::child_spec) and its options. Any blocking
/// closure will do as well ([`ChildSpec::worker`]), and anything else that starts a process linked to its
/// caller ([`ChildSpec::new`]).
///
/// ```
/// use rethread::{ChildSpec, Restart, Supervisor};
///
/// let clock = ChildSpec::worker("clock", || loop {
///     rethread::process::sleep(std::time::Duration::from_secs(1));
/// });
/// let system = Supervisor::start_link([clock.restart(Restart::Transient)], rethread::Strategy::OneForOne)?;
/// # system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "a spec does nothing by itself: give it to a supervisor"]
pub struct ChildSpec {
    pub(crate) id: ChildId,
    pub(crate) start: Arc<StartFn>,
    pub(crate) restart: Restart,
    pub(crate) shutdown: Option<Shutdown>,
    pub(crate) child_type: ChildType,
    pub(crate) significant: bool,
    pub(crate) reap_timeout: Option<Duration>,
}

impl ChildSpec {
    /// A child started by a function of yours, which must start a process, linked to the caller, and
    /// return its pid. It runs in the supervisor, which does nothing else meanwhile; a panic in it is a
    /// failed start.
    pub fn new(
        id: impl Into<ChildId>,
        start: impl Fn() -> Result<Pid, StartError> + Send + Sync + 'static,
    ) -> Self {
        Self::without_start(id).with_start(start)
    }

    /// Creates the options of a child that cannot be started before [`with_start`](Self::with_start).
    pub(crate) fn without_start(id: impl Into<ChildId>) -> Self {
        Self {
            id: id.into(),
            start: Arc::new(|| Err(StartError::Ignored)),
            restart: Restart::default(),
            shutdown: None,
            child_type: ChildType::default(),
            significant: false,
            reap_timeout: None,
        }
    }

    /// Sets the function that starts the child.
    pub(crate) fn with_start(
        self,
        start: impl Fn() -> Result<Pid, StartError> + Send + Sync + 'static,
    ) -> Self {
        Self { start: Arc::new(start), ..self }
    }

    /// A child that runs a blocking function: an accept loop, a device reader, a plain computation.
    ///
    /// The function is called again at each restart, so it is an `Fn`. One that uses up what it captured, such as a
    /// socket, can run only once: that is a task
    /// ([`start_child`](crate::TaskSupervisor#one-for-each-connection) of a `TaskSupervisor`).
    ///
    /// A function that can fail ends with [`or_exit`](crate::OrExit::or_exit): it has not done its work, and the
    /// supervisor should hear of it.
    ///
    /// ```
    /// use std::net::{TcpListener, TcpStream};
    /// use rethread::prelude::*;
    ///
    /// fn accept_loop(listener: &TcpListener) -> std::io::Result<()> {
    ///     let door = listener.local_addr()?;
    ///     // To be told to end interrupts no `accept`; a connection does.
    ///     let _hook = process::on_exit_request(move || drop(TcpStream::connect(door)));
    ///     loop {
    ///         let (_stream, peer) = listener.accept()?;
    ///         process::checkpoint(); // ends here if it was the hook that connected
    ///         println!("{peer}");
    ///     }
    /// }
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let acceptor = ChildSpec::worker("acceptor", move || accept_loop(&listener).or_exit());
    /// let system = Supervisor::start_link([acceptor], Strategy::OneForOne)?;
    /// system.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// It is ended by an exit signal, which takes effect at its next runtime call; see
    /// [`checkpoint`](crate::process::checkpoint) for loops and
    /// [`on_exit_request`](crate::process::on_exit_request) for calls that block elsewhere. Its locals are
    /// dropped while the thread unwinds: by Rust's rules a destructor that panics then ends the program.
    #[track_caller]
    pub fn worker(id: impl Into<ChildId>, body: impl Fn() + Send + Sync + 'static) -> Self {
        Self::process::<()>(id, move |_| body())
    }

    /// A child that is a plain process with a mailbox.
    #[track_caller]
    pub fn process<M: Send + 'static>(
        id: impl Into<ChildId>,
        body: impl Fn(&mut Inbox<M>) + Send + Sync + 'static,
    ) -> Self {
        let id = id.into();
        Self::process_with(Builder::new().label(&*id.0), id, body)
    }

    /// As [`process`](Self::process), with a name, a label or limits of its own.
    #[track_caller]
    pub fn process_with<M: Send + 'static>(
        builder: Builder,
        id: impl Into<ChildId>,
        body: impl Fn(&mut Inbox<M>) + Send + Sync + 'static,
    ) -> Self {
        let body = Arc::new(body);
        // Where the program says what is to run, not where a supervisor starts it.
        let builder = Builder { spawned_at: builder.spawned_at.or(Some(Location::caller())), ..builder };
        Self::new(id, move || {
            let body = Arc::clone(&body);
            let address: Address<M> = builder.clone().spawn_link(move |inbox| body(inbox))?;
            Ok(address.pid())
        })
    }

    /// Its identity within the supervisor.
    pub fn id(mut self, id: impl Into<ChildId>) -> Self {
        self.id = id.into();
        self
    }

    /// When it is restarted. Default: [`Restart::Permanent`].
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// How it is ended. Default: 5 s for a worker, [`Shutdown::Infinity`] for a supervisor.
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = Some(shutdown);
        self
    }

    /// What it is. Default: [`ChildType::Worker`].
    pub fn child_type(mut self, child_type: ChildType) -> Self {
        self.child_type = child_type;
        self
    }

    /// Whether its end can end the supervisor; see [`AutoShutdown`](crate::AutoShutdown). Default: false.
    pub fn significant(mut self, significant: bool) -> Self {
        self.significant = significant;
        self
    }

    /// If it became a zombie: how long to wait for its old thread to end before the replacement is
    /// started, for children that hold something exclusive. Default: not at all.
    pub fn reap_timeout(mut self, timeout: Duration) -> Self {
        self.reap_timeout = Some(timeout);
        self
    }

    /// Its identity.
    pub fn get_id(&self) -> &ChildId {
        &self.id
    }

    /// When it is restarted.
    pub fn get_restart(&self) -> Restart {
        self.restart
    }

    /// How it is ended, the default filled in.
    pub fn get_shutdown(&self) -> Shutdown {
        self.shutdown.unwrap_or(match self.child_type {
            ChildType::Worker => Shutdown::Timeout(Duration::from_secs(5)),
            ChildType::Supervisor => Shutdown::Infinity,
        })
    }

    /// What it is.
    pub fn get_child_type(&self) -> ChildType {
        self.child_type
    }

    /// Whether its end can end the supervisor.
    pub fn is_significant(&self) -> bool {
        self.significant
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("id", &self.id)
            .field("restart", &self.restart)
            .field("shutdown", &self.get_shutdown())
            .field("child_type", &self.child_type)
            .field("significant", &self.significant)
            .finish_non_exhaustive()
    }
}
