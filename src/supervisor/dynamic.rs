//! Dynamic supervisors, whose children are added while the program runs: spec, handle, children, server.
//! `task::supervisor` uses the same children and the same server for tasks.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::child_spec::{ChildSpec, SpecError, StartError};
use crate::gen_server::call::CallError;
use crate::gen_server::callbacks::{Context, GenServer, Info, InitError};
use crate::gen_server::reply::{Caller, Next};
use crate::gen_server::server_ref::ServerRef;
use crate::gen_server::start::{GenServerExt, ServerSpec, short_type_name};
use crate::gen_server::wait_graph::WaitEdge;
use crate::pid::Pid;
use crate::process::control::local;
use crate::reason::ExitReason;
use crate::supervisor::child::{
    Child, ChildCount, ChildError, ChildInfo, Status, StoppingChild, child_info, count, is_dead,
    too_many_zombies, write_log,
};
use crate::supervisor::intensity::RestartIntensity;
use crate::supervisor::policy::{Decision, decide};
use crate::supervisor::spec::{AutoShutdown, check_child};
use crate::supervisor::status::{StatusBoard, publish_give_up};
use crate::supervisor::supervisor::into_start_error;

/// A supervisor that starts without children; they are added while it runs, such as one for each user,
/// connection or file. Its strategy is always [`Strategy::OneForOne`](crate::Strategy::OneForOne), its
/// children are identified by their pids, and it stops them all at once.
///
/// ```
/// use rethread::prelude::*;
///
/// pub struct Room { people: u32 }
/// pub enum Ask { Enter(Caller<u32>) }
///
/// impl GenServer for Room {
///     type Args = u32; type Call = Ask; type Cast = Never;
///     fn init(people: u32, _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Room { people }) }
///     fn handle_call(&mut self, Ask::Enter(from): Ask, _: &mut Context<Self>) -> Next {
///         self.people += 1;
///         from.reply(self.people)
///     }
///     fn handle_cast(&mut self, cast: Never, _: &mut Context<Self>) -> Next { match cast {} }
/// }
///
/// const ROOMS: ServerRef<DynamicSupervisor> = ServerRef::named("doc.rooms");
/// let system = Supervisor::start_link([DynamicSupervisor::new().name(ROOMS)], Strategy::OneForOne)?;
///
/// let room = ROOMS.start_server(Room::child_spec(10))?;
/// assert_eq!(room.call(Ask::Enter)?, 11);
/// let pid = ROOMS.start_child(Room::child_spec(0).restart(Restart::Temporary))?;
/// assert_eq!(ROOMS.count_children()?.active, 2);
/// ROOMS.terminate_child(pid.expect("init does not return ignore"))?;
/// # system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Children that consume what they are given, such as a socket, cannot be restarted: start them as tasks of a
/// [`TaskSupervisor`](crate::TaskSupervisor#one-for-each-connection).
///
/// # Methods of the handle
/// The handle adds, stops and lists children:
/// [`ServerRef<DynamicSupervisor>`](crate::ServerRef#impl-ServerRef%3CDynamicSupervisor%3E).
///
/// A child that is restarted gets a new pid. To find it again, give it a name, or register it under a key in
/// a registry.
///
/// # Differences from Erlang
/// This is Elixir's `DynamicSupervisor`. Erlang's `simple_one_for_one`, one spec with arguments that are
/// added at each start, is a function from those arguments to a [`ChildSpec`](crate::ChildSpec); so are
/// Elixir's `extra_arguments`.
pub struct DynamicSupervisor(DynamicChildren);

impl DynamicSupervisor {
    /// Creates a spec with the defaults.
    #[track_caller]
    pub fn new() -> DynamicSupervisorSpec {
        DynamicSupervisorSpec::with_defaults()
    }

    /// Starts a dynamic supervisor with the defaults, linked to the calling process. On a thread that is not
    /// a process there is no link.
    ///
    /// # Errors
    /// [`StartError`]: the errors of [`GenServerExt::start_link`].
    #[track_caller]
    pub fn start_link() -> Result<ServerRef<Self>, StartError> {
        Self::new().start_link()
    }
}

impl fmt::Debug for DynamicSupervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicSupervisor").finish_non_exhaustive()
    }
}

/// The spec of a dynamic supervisor, made by [`DynamicSupervisor::new`]; or of a
/// [`TaskSupervisor`](crate::TaskSupervisor), which is one. It has no children: they are added later.
///
/// | default | |
/// | --- | --- |
/// | max_restarts | 3 in 5 s |
/// | max_children | limited only by the number of processes |
/// | name | none |
///
/// ```
/// use std::time::Duration;
/// use rethread::DynamicSupervisor;
///
/// let rooms = DynamicSupervisor::new().max_children(100).max_restarts(10, Duration::from_secs(1)).start_link()?;
/// assert_eq!(rooms.count_children()?.active, 0);
/// rooms.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a spec does nothing by itself: start it, or give it to a supervisor"]
pub struct DynamicSupervisorSpec<S = DynamicSupervisor> {
    limits: Limits,
    name: Option<ServerRef<S>>,
    /// The source location where the spec was made.
    defined_at: &'static Location<'static>,
}

#[derive(Debug, Clone, Default)]
struct Limits {
    intensity: RestartIntensity,
    max_children: Option<usize>,
    max_zombies: Option<usize>,
}

impl<S: GenServer<Args = DynamicSupervisorInit>> DynamicSupervisorSpec<S> {
    #[track_caller]
    pub(crate) fn with_defaults() -> Self {
        Self { limits: Limits::default(), name: None, defined_at: Location::caller() }
    }

    /// Sets the name of the supervisor.
    pub fn name(mut self, name: ServerRef<S>) -> Self {
        self.name = Some(name);
        self
    }

    /// Sets the maximum number of restarts within a period, for all children together. With one restart more
    /// the supervisor stops its children and exits with `Shutdown`. The period is measured to the millisecond
    /// and includes its end.
    pub fn max_restarts(mut self, restarts: u32, period: Duration) -> Self {
        self.limits.intensity = RestartIntensity::new(restarts, period);
        self
    }

    /// Sets the maximum number of children, including those that are about to be restarted. Starting one
    /// more fails with [`StartError::MaxChildren`].
    pub fn max_children(mut self, limit: usize) -> Self {
        self.limits.max_children = Some(limit);
        self
    }

    /// Sets how many former children of this supervisor may be zombies. With more it gives up instead of
    /// restarting a child that left a zombie. Default: only the limit of the whole program counts,
    /// [`Settings::max_zombies`](crate::process::Settings::max_zombies).
    pub fn max_zombies(mut self, limit: usize) -> Self {
        self.limits.max_zombies = Some(limit);
        self
    }

    /// Starts the supervisor, linked to the calling process. On a thread that is not a process there is no
    /// link: it does the same as [`start`](Self::start).
    ///
    /// # Errors
    /// [`StartError::BadSpec`] if the spec is invalid, and the errors of [`GenServerExt::start_link`].
    #[track_caller]
    pub fn start_link(self) -> Result<ServerRef<S>, StartError> {
        self.check().map_err(StartError::BadSpec)?;
        self.spec().start_link()
    }

    /// Starts the supervisor without a link.
    ///
    /// # Errors
    /// [`StartError::BadSpec`] if the spec is invalid, and the errors of [`GenServerExt::start`].
    #[track_caller]
    pub fn start(self) -> Result<ServerRef<S>, StartError> {
        self.check().map_err(StartError::BadSpec)?;
        self.spec().start()
    }

    /// Converts the spec into a child spec for another supervisor, to set more than the name. The id is the
    /// name of the supervisor; two supervisors without a name under the same parent need ids,
    /// `.spec().id("readers")`.
    pub fn spec(self) -> ServerSpec<S> {
        let Self { limits, name, defined_at } = self;
        // For the log: the name, or else the name of the type, which differs for task supervisors.
        let display_name =
            name.as_ref().map_or_else(|| short_type_name::<S>().to_owned(), ToString::to_string);
        let init = DynamicSupervisorInit { name: display_name, make: Arc::new(move || Ok(limits.clone())) };
        let spec = S::child_spec(init).supervisor().defined_at(defined_at);
        match name {
            Some(name) => spec.id(name.to_string()).name(name),
            None => spec,
        }
    }

    /// Checks the spec, before anything is started.
    fn check(&self) -> Result<(), SpecError> {
        self.limits.intensity.check()
    }
}

impl<S: GenServer<Args = DynamicSupervisorInit>> From<DynamicSupervisorSpec<S>> for ChildSpec {
    fn from(spec: DynamicSupervisorSpec<S>) -> Self {
        spec.spec().into()
    }
}

// Not derived: that would require `S: Clone`.
impl<S> Clone for DynamicSupervisorSpec<S> {
    fn clone(&self) -> Self {
        Self { limits: self.limits.clone(), name: self.name.clone(), defined_at: self.defined_at }
    }
}

impl<S> fmt::Debug for DynamicSupervisorSpec<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicSupervisorSpec")
            .field("limits", &self.limits)
            .field("name", &self.name)
            .finish()
    }
}

/// A dynamic supervisor as a type of its own, with functions for its requests, like Elixir's
/// `use DynamicSupervisor`. Its spec is made from its arguments at each start and restart.
///
/// ```
/// use rethread::prelude::*;
///
/// pub struct Downloads;
/// const DOWNLOADS: ServerRef<DynamicSupervisor> = ServerRef::named("doc.downloads");
///
/// impl SuperviseDynamic for Downloads {
///     type Args = usize;
///
///     fn init(limit: usize) -> Result<DynamicSupervisorSpec, InitError> {
///         Ok(DynamicSupervisor::new().max_children(limit))
///     }
/// }
///
/// impl Downloads {
///     fn fetch(url: &'static str) -> Result<Option<Pid>, StartError> {
///         DOWNLOADS.start_child(ChildSpec::worker(url, move || println!("fetching {url}")).restart(Restart::Transient))
///     }
/// }
///
/// let system = Supervisor::start_link([Downloads::child_spec(2).name(DOWNLOADS)], Strategy::OneForOne)?;
/// Downloads::fetch("https://example.org/")?;
/// # system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait SuperviseDynamic: Sized + 'static {
    /// The arguments of `init`, at the first start and at every restart.
    type Args: Clone + Send + Sync + 'static;

    /// Makes the spec, in the new supervisor's process.
    ///
    /// # Errors
    /// [`InitError`]: the supervisor does not start; [`InitError::Ignore`] does not count as a failure.
    fn init(args: Self::Args) -> Result<DynamicSupervisorSpec, InitError>;

    /// Starts the supervisor, linked to the calling process.
    ///
    /// # Errors
    /// Like [`DynamicSupervisorSpec::start_link`]: [`StartError::BadSpec`] if the spec is invalid, and the
    /// errors of [`GenServerExt::start_link`].
    #[track_caller]
    fn start_link(args: Self::Args) -> Result<ServerRef<DynamicSupervisor>, StartError> {
        Self::child_spec(args).start_link()
    }

    /// Returns the child spec of the supervisor, for another supervisor. Its id is the name of this type.
    #[track_caller]
    fn child_spec(args: Self::Args) -> ServerSpec<DynamicSupervisor> {
        let type_name = short_type_name::<Self>();
        let init = DynamicSupervisorInit {
            name: type_name.to_owned(),
            make: Arc::new(move || Ok(Self::init(args.clone())?.limits)),
        };
        DynamicSupervisor::child_spec(init).supervisor().id(type_name).label(type_name)
    }
}

/// Calls a server of dynamic children, without a timeout: it may be busy starting or stopping a child.
pub(crate) fn call_supervisor<S: GenServer<Call = DynamicSupervisorCall>, R: Send + 'static>(
    server: &ServerRef<S>,
    request: impl FnOnce(Caller<R>) -> DynamicChildRequest,
) -> Result<R, CallError> {
    server.call_timeout(Duration::MAX, |from| DynamicSupervisorCall(request(from)))
}

/// Starts a child under a server of dynamic children.
pub(crate) fn start_child<S: GenServer<Call = DynamicSupervisorCall>>(
    server: &ServerRef<S>,
    child: ChildSpec,
) -> Result<Option<Pid>, StartError> {
    // Checked in the caller: a dynamic supervisor has no other specs or settings to compare with.
    check_child(&child, AutoShutdown::Never).map_err(StartError::BadSpec)?;
    call_supervisor(server, |from| DynamicChildRequest::Start(child, from))
        .unwrap_or_else(|error| Err(into_start_error(error)))
}

/// Stops a child of a server of dynamic children.
pub(crate) fn terminate_child<S: GenServer<Call = DynamicSupervisorCall>>(
    server: &ServerRef<S>,
    pid: Pid,
) -> Result<(), ChildError> {
    call_supervisor(server, |from| DynamicChildRequest::Terminate(pid, from))
        .unwrap_or_else(|error| Err(ChildError::NoSupervisor(error)))
}

/// Calls to a dynamic supervisor have no timeout: it may be busy starting or stopping a child.
impl ServerRef<DynamicSupervisor> {
    /// Adds a child and starts it; returns `None` if its start function returned ignore. Ids need not differ:
    /// children are identified by their pids.
    ///
    /// # Errors
    /// [`StartError::MaxChildren`]; [`StartError::BadSpec`], found before the supervisor is called; the error of its
    /// start function; [`StartError::NoSupervisor`] if the call fails. After an error the supervisor does not
    /// keep the child.
    pub fn start_child(&self, child: impl Into<ChildSpec>) -> Result<Option<Pid>, StartError> {
        start_child(self, child.into())
    }

    /// Like [`start_child`](Self::start_child), but returns a handle of the started server. After a crash the
    /// handle is not valid for the process that replaces it: for that, give the server a name.
    ///
    /// # Errors
    /// [`StartError::Ignored`] if `init` returned ignore. Otherwise the errors of `start_child`:
    /// [`StartError::MaxChildren`], [`StartError::BadSpec`], the error of the start, [`StartError::NoSupervisor`].
    pub fn start_server<S: GenServer>(&self, server: ServerSpec<S>) -> Result<ServerRef<S>, StartError>
    where
        S::Args: Clone + Sync,
    {
        self.start_child(server)?.map(ServerRef::from_pid).ok_or(StartError::Ignored)
    }

    /// Stops a child, which is not restarted. A child that is about to be restarted has its last pid.
    ///
    /// # Errors
    /// [`ChildError::NotFound`] if the supervisor has no such child, or no longer; [`ChildError::NoSupervisor`] if the
    /// call fails.
    pub fn terminate_child(&self, child: impl Into<Pid>) -> Result<(), ChildError> {
        terminate_child(self, child.into())
    }

    /// Returns all children, the oldest process first.
    ///
    /// # Errors
    /// [`CallError`] if the supervisor is not running or exits meanwhile.
    pub fn which_children(&self) -> Result<Vec<ChildInfo>, CallError> {
        call_supervisor(self, DynamicChildRequest::Which)
    }

    /// Returns the number of children, by state and type.
    ///
    /// # Errors
    /// [`CallError`] if the supervisor is not running or exits meanwhile.
    pub fn count_children(&self) -> Result<ChildCount, CallError> {
        call_supervisor(self, DynamicChildRequest::Count)
    }
}

/// A request to a dynamic supervisor, made by the methods of
/// [`ServerRef<DynamicSupervisor>`](crate::ServerRef).
#[derive(Debug)]
pub struct DynamicSupervisorCall(pub(crate) DynamicChildRequest);

#[derive(Debug)]
pub(crate) enum DynamicChildRequest {
    Start(ChildSpec, Caller<Result<Option<Pid>, StartError>>),
    Terminate(Pid, Caller<Result<(), ChildError>>),
    Which(Caller<Vec<ChildInfo>>),
    Count(Caller<ChildCount>),
}

/// A message that a dynamic supervisor sends to itself: a restart that failed is to be retried. It holds the
/// last pid of the child.
#[derive(Debug)]
pub struct DynamicSupervisorCast(pub(crate) Pid);

/// The start arguments of a dynamic supervisor, made by [`DynamicSupervisorSpec::spec`] and
/// [`SuperviseDynamic`].
#[derive(Clone)]
pub struct DynamicSupervisorInit {
    /// The name of the supervisor, for the log.
    name: String,
    /// Makes the limits, in the new process.
    make: Arc<dyn Fn() -> Result<Limits, InitError> + Send + Sync>,
}

impl fmt::Debug for DynamicSupervisorInit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DynamicSupervisorInit({})", self.name)
    }
}

/// Implements [`GenServer`] for a tuple struct of [`DynamicChildren`]. The two kinds of server differ in
/// their type only: the type decides which methods their handles have.
macro_rules! impl_dynamic_server {
    ($server:ident) => {
        const _: () = {
            use $crate::gen_server::callbacks::{Context, GenServer, Info, InitError};
            use $crate::gen_server::reply::Next;
            use $crate::reason::ExitReason;
            use $crate::supervisor::dynamic::{
                DynamicChildren, DynamicSupervisorCall, DynamicSupervisorCast, DynamicSupervisorInit,
            };

            impl GenServer for $server {
                type Args = DynamicSupervisorInit;
                type Call = DynamicSupervisorCall;
                type Cast = DynamicSupervisorCast;

                fn init(args: Self::Args, cx: &mut Context<Self>) -> Result<Self, InitError> {
                    cx.trap_exit(true);
                    DynamicChildren::new(&args, cx.pid()).map(Self)
                }

                fn handle_call(&mut self, call: Self::Call, _: &mut Context<Self>) -> Next {
                    self.0.handle_call(call)
                }

                fn handle_cast(&mut self, cast: Self::Cast, cx: &mut Context<Self>) -> Next {
                    self.0.handle_cast(&cast, cx)
                }

                fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Next {
                    self.0.handle_info(info, cx)
                }

                fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
                    self.0.stop_all();
                }
            }
        };
    };
}
pub(crate) use impl_dynamic_server;

impl_dynamic_server!(DynamicSupervisor);

/// The children of one dynamic supervisor, and the reactions to its messages.
pub(crate) struct DynamicChildren {
    /// Name and pid of the supervisor, for the log.
    name: String,
    status_board: Arc<StatusBoard>,
    max_children: Option<usize>,
    max_zombies: Option<usize>,
    /// By pid; by the last pid while a restart is to be retried.
    children: BTreeMap<Pid, Child>,
}

/// What the supervisor does after the exit of a child.
enum AfterExit {
    Continue,
    /// Retries the restart of the child that had this pid last.
    Retry(Pid),
    GiveUp,
}

impl DynamicChildren {
    /// Creates the state of a new supervisor, which is the calling process, without children.
    pub(crate) fn new(init: &DynamicSupervisorInit, pid: Pid) -> Result<Self, InitError> {
        // Not checked before if the spec is a child spec, or comes from `SuperviseDynamic`.
        let Limits { intensity, max_children, max_zombies } = (init.make)()?;
        intensity.check()?;
        Ok(Self {
            name: format!("{} {pid}", init.name),
            status_board: StatusBoard::register(None, intensity),
            max_children,
            max_zombies,
            children: BTreeMap::new(),
        })
    }

    pub(crate) fn handle_call(&mut self, DynamicSupervisorCall(request): DynamicSupervisorCall) -> Next {
        match request {
            DynamicChildRequest::Start(spec, from) => from.reply(self.start(spec)),
            DynamicChildRequest::Terminate(pid, from) => from.reply(self.terminate(pid)),
            DynamicChildRequest::Which(from) => from.reply(self.children.values().map(child_info).collect()),
            DynamicChildRequest::Count(from) => from.reply(count(self.children.values())),
        }
    }

    /// Retries a failed restart.
    pub(crate) fn handle_cast<S>(&mut self, retry: &DynamicSupervisorCast, cx: &Context<S>) -> Next
    where
        S: GenServer<Cast = DynamicSupervisorCast>,
    {
        let DynamicSupervisorCast(pid) = *retry;
        Self::next(&self.restart(pid), cx)
    }

    pub(crate) fn handle_info<S>(&mut self, info: Info, cx: &Context<S>) -> Next
    where
        S: GenServer<Cast = DynamicSupervisorCast>,
    {
        match info {
            Info::Exit { from, reason } => Self::next(&self.on_exit(from, &reason), cx),
            // Timers, `Down` messages: not sent to a supervisor on purpose.
            other => {
                let text = format_args!("supervisor {} received an unexpected message: {other:?}", cx.pid());
                write_log(log::Level::Warn, text);
                Next::wait()
            }
        }
    }

    fn next<S>(after_exit: &AfterExit, cx: &Context<S>) -> Next
    where
        S: GenServer<Cast = DynamicSupervisorCast>,
    {
        match after_exit {
            AfterExit::Continue => Next::wait(),
            AfterExit::GiveUp => Next::stop(ExitReason::Shutdown),
            AfterExit::Retry(pid) => {
                // Through the mailbox: requests and a shutdown of this supervisor are handled in between.
                cx.cast(DynamicSupervisorCast(*pid));
                Next::wait()
            }
        }
    }

    fn start(&mut self, spec: ChildSpec) -> Result<Option<Pid>, StartError> {
        // A `Child` contains a panic in the destructor of its start function; a spec does not.
        let mut child = Child::new(spec);
        if let Some(limit) = self.max_children.filter(|limit| self.children.len() >= *limit) {
            return Err(StartError::MaxChildren { limit });
        }
        let started = child.start(&self.name, log::Level::Debug)?;
        // An ignored child is not kept: without a pid there is nothing to identify it by.
        if let Some(pid) = started {
            self.children.insert(pid, child);
        }
        Ok(started)
    }

    fn terminate(&mut self, pid: Pid) -> Result<(), ChildError> {
        // Also cancels a pending retry, which finds no child under this pid.
        let mut child = self.children.remove(&pid).ok_or(ChildError::NotFound)?;
        child.stop(&self.name);
        Ok(())
    }

    /// Handles the `Exit` message of a linked process, which may be a child.
    fn on_exit(&mut self, pid: Pid, reason: &ExitReason) -> AfterExit {
        // Not a child: another linked process, a child that was terminated, or one that waits for a retry.
        let Some(child) = self.children.get_mut(&pid).filter(|child| child.pid() == Some(pid)) else {
            return AfterExit::Continue;
        };
        if !is_dead(child, pid, &self.name) {
            return AfterExit::Continue;
        }
        child.status = Status::Stopped;
        let decision = decide(child.spec.restart, reason);
        child.log_exit(&self.name, pid, reason);
        match decision {
            Decision::Restart => self.restart(pid),
            // A static supervisor keeps the spec of a transient child. Here the pid, by which callers know
            // the child, will never be valid again.
            Decision::Keep | Decision::Remove => {
                self.children.remove(&pid);
                AfterExit::Continue
            }
        }
    }

    /// Restarts the child that had this pid, or gives up.
    fn restart(&mut self, pid: Pid) -> AfterExit {
        // Out of the list until it has a new pid. Not in it: the child was terminated since its retry was sent.
        let Some(mut child) = self.children.remove(&pid) else {
            return AfterExit::Continue;
        };
        // Failed attempts count, too: each retry comes through here.
        if !self.status_board.record_restart() {
            return self.give_up(&format!("reached_max_restart_intensity by child {}", child.spec.id));
        }
        // Waits up to the child's `reap_timeout`, if it left a zombie behind.
        if too_many_zombies(std::iter::once(&child), self.max_zombies) {
            return self.give_up("zombie_limit");
        }
        match child.start(&self.name, log::Level::Info) {
            Ok(Some(pid)) => {
                child.publish_restart();
                self.children.insert(pid, child);
                AfterExit::Continue
            }
            Ok(None) => AfterExit::Continue, // ignored: not kept, like at the first start
            Err(error) => {
                write_log(
                    log::Level::Error,
                    format_args!(
                        "supervisor {}: child {} did not start again: {error}",
                        self.name, child.spec.id
                    ),
                );
                // No number is needed to match the retry: no request restarts a dynamic child, so that
                // there is at most one retry at a time for each pid.
                child.status = Status::Restarting(0);
                self.children.insert(pid, child);
                AfterExit::Retry(pid)
            }
        }
    }

    fn give_up(&self, why: &str) -> AfterExit {
        write_log(log::Level::Error, format_args!("supervisor {}: {why}, shutting down", self.name));
        publish_give_up(why);
        AfterExit::GiveUp
    }

    /// Stops all children at once. It takes as long as the slowest child, not the sum of all; each is killed
    /// when its own timeout is over.
    pub(crate) fn stop_all(&mut self) {
        let me = local::get();
        // While this edge exists, a call from any descendant to this supervisor fails at once with a deadlock
        // error. Without it, the two would wait for each other until the shutdown timeout.
        let _wait_edge = WaitEdge::on_all_descendants(me.as_ref());
        // Send all signals before the first wait.
        let children = std::mem::take(&mut self.children).into_values();
        let mut stopping: Vec<(Child, StoppingChild)> =
            children.filter_map(|mut child| child.request_stop().map(|stopping| (child, stopping))).collect();
        // Wait in the order of the timeouts, so that no wait delays the kill of another child.
        stopping.sort_by_key(|(_, stopping)| stopping.timeout());
        for (_, stopping) in &stopping {
            stopping.kill_after_timeout();
        }
        // Every child with a finite timeout has exited or was killed. Children with `Infinity` are waited for
        // here.
        for (child, stopping) in stopping {
            child.await_stopped(stopping, &self.name);
        }
    }
}
