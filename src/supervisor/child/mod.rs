//! One child of a supervisor: starting it, stopping it, its status, and the requests about it. This module
//! makes no decisions: whether a child is restarted is up to the supervisor.

pub(crate) mod backoff;
pub(crate) mod logging;

use std::fmt;
use std::time::{Duration, Instant};

use crate::call_error::CallError;
use crate::child_spec::restart_backoff::{AfterFailure, RestartBackoff};
use crate::child_spec::{ChildId, ChildSpec, ChildType, Restart, Shutdown, StartError};
use crate::exception;
use crate::gen_server::reply::Caller;
use crate::gen_server::wait_graph::WaitEdge;
use crate::pid::{Pid, TimerRef};
use crate::process::control::local;
use crate::process::control::settings::settings;
use crate::process::control::table;
use crate::process::observe::events;
use crate::process::observe::events::ProcessEventKind;
use crate::process::observe::zombie;
use crate::process::observe::zombie::zombies;
use crate::process::park::timer_thread::elapsed;
use crate::process::signals::exit::exit;
use crate::process::signals::exit::is_alive;
use crate::process::signals::exit::shut_down;
use crate::process::signals::link::unlink;
use crate::process::signals::monitor::Watch;
use crate::process::signals::monitor::wait_until_reaped;
use crate::process::signals::monitor::watch;
use crate::reason::ExitReason;
use crate::supervisor::child::backoff::Backoff;
use crate::supervisor::child::logging::{Failure, Seconds, write_log};
use crate::supervisor::policy::is_expected;
use crate::sync;
use crate::unwind::ContainedDrop;

/// One child in [`which_children`](crate::supervisor::SupervisorRef::which_children).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChildInfo {
    /// Its identity.
    pub id: ChildId,
    /// Whether it is running.
    pub state: ChildState,
    /// Whether it is a worker or a supervisor.
    pub child_type: ChildType,
}

/// Whether a child is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChildState {
    /// The child is running, as this process.
    Running(Pid),
    /// A restart failed and is about to be retried at once.
    Restarting,
    /// The child failed, or another child of its group, and is restarted at this time; see
    /// [`RestartBackoff`](crate::supervisor::RestartBackoff).
    RestartingAt(Instant),
    /// The child is not running: it was stopped, it exited and is not restarted, or its start function
    /// returned ignore.
    Stopped,
}

/// Formats the state for listings: `running as <0.7>`, `restarting in 1.3 s`. The time is that until the restart,
/// counted from now.
impl fmt::Display for ChildState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running(pid) => write!(f, "running as {pid}"),
            Self::Restarting => f.write_str("restarting"),
            Self::RestartingAt(at) => {
                write!(f, "restarting in {}", Seconds(at.saturating_duration_since(sync::now())))
            }
            Self::Stopped => f.write_str("not running"),
        }
    }
}

impl ChildInfo {
    /// Returns the pid of the child if it is running.
    pub fn pid(&self) -> Option<Pid> {
        match self.state {
            ChildState::Running(pid) => Some(pid),
            ChildState::Restarting | ChildState::RestartingAt(_) | ChildState::Stopped => None,
        }
    }

    /// Returns the time from now until the child is restarted, if it waits for that; see
    /// [`RestartBackoff`](crate::supervisor::RestartBackoff).
    pub fn restart_in(&self) -> Option<Duration> {
        match self.state {
            ChildState::RestartingAt(at) => Some(at.saturating_duration_since(sync::now())),
            _ => None,
        }
    }
}

/// The number of children, as returned by [`count_children`](crate::supervisor::SupervisorRef::count_children).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ChildCount {
    /// All child specs, running or not.
    pub specs: usize,
    /// Children that are running.
    pub active: usize,
    /// Children of type supervisor, running or not.
    pub supervisors: usize,
    /// Children of type worker, running or not.
    pub workers: usize,
}

/// Why a supervisor could not do what was requested for a child.
///
/// ```
/// use rethread::prelude::*;
/// use rethread::supervisor::ChildError;
///
/// let idle = ChildSpec::worker("idle", || process::sleep(std::time::Duration::MAX));
/// let system = Supervisor::start_link([idle], Strategy::OneForOne)?;
/// assert_eq!(system.delete_child("none"), Err(ChildError::NotFound));
/// assert_eq!(system.delete_child("idle"), Err(ChildError::Running)); // stop it first
/// system.terminate_child("idle")?;
/// system.delete_child("idle")?;
/// system.stop()?;
/// assert!(matches!(system.delete_child("idle"), Err(ChildError::NoSupervisor(_))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ChildError {
    /// The supervisor has no such child.
    NotFound,
    /// The child is running.
    Running,
    /// A restart of the child failed, and is about to be retried.
    Restarting,
    /// The child failed to start.
    Start(StartError),
    /// The call to the supervisor failed.
    NoSupervisor(CallError),
    /// The calling process is exiting.
    Exiting,
}

impl fmt::Display for ChildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("the supervisor has no such child"),
            Self::Running => f.write_str("the child is running"),
            Self::Restarting => f.write_str("the child is being restarted"),
            Self::Start(error) => error.fmt(f),
            Self::NoSupervisor(error) => error.fmt(f),
            Self::Exiting => f.write_str("the calling process is exiting"),
        }
    }
}

// No `source`: the text already contains the inner error, and error chains would print it twice.
impl std::error::Error for ChildError {}

/// The error of a request to a supervisor: what the supervisor replied, or why the call failed.
pub(crate) trait RequestError {
    fn exiting() -> Self;
    fn no_supervisor(error: CallError) -> Self;
}

impl RequestError for StartError {
    fn exiting() -> Self {
        Self::Exiting
    }

    fn no_supervisor(error: CallError) -> Self {
        Self::NoSupervisor(error)
    }
}

impl RequestError for ChildError {
    fn exiting() -> Self {
        Self::Exiting
    }

    fn no_supervisor(error: CallError) -> Self {
        Self::NoSupervisor(error)
    }
}

/// Returns the reply to a request, or the error of the call as an error of the request.
pub(crate) fn flatten_reply<T, E: RequestError>(reply: Result<Result<T, E>, CallError>) -> Result<T, E> {
    reply.unwrap_or_else(|error| {
        Err(match error {
            // The calling process is exiting; the supervisor may be fine.
            CallError::Exiting => E::exiting(),
            error => E::no_supervisor(error),
        })
    })
}

/// Why the start of a supervisor failed: the payload of the `ShutdownWith` that it exits with.
///
/// ```
/// use rethread::prelude::*;
/// use rethread::StartError;
/// use rethread::supervisor::FailedToStartChild;
///
/// let broken = ChildSpec::new("broken", || Err(StartError::failed("no disk")));
/// let Err(StartError::Failed(reason)) = Supervisor::one_for_one().child(broken).start() else { panic!("started") };
/// let failed: &FailedToStartChild = reason.downcast_ref().ok_or("another reason")?;
/// assert_eq!(failed.id, "broken");
/// assert_eq!(failed.error, StartError::failed("no disk"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FailedToStartChild {
    /// The child that failed to start.
    pub id: ChildId,
    /// The error of its start function.
    pub error: StartError,
}

impl fmt::Display for FailedToStartChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "child {} did not start: {}", self.id, self.error)
    }
}

// No `source`: the text already contains the inner error, and error chains would print it twice.
impl std::error::Error for FailedToStartChild {}

/// A request to a supervisor.
pub(crate) enum ChildRequest {
    Start(ChildSpec, Caller<Result<Pid, StartError>>),
    Terminate(ChildId, Caller<Result<(), ChildError>>),
    Restart(ChildId, Caller<Result<Pid, ChildError>>),
    Delete(ChildId, Caller<Result<(), ChildError>>),
    Which(Caller<Vec<ChildInfo>>),
    Count(Caller<ChildCount>),
    Spec(ChildId, Caller<Result<ChildSpec, ChildError>>),
}

/// A message that a supervisor sends to itself, at once or by a timer.
#[derive(Debug)]
pub(crate) enum RestartTimer {
    /// The restart of the child is due: one that failed, or one that was delayed. The number is that of its
    /// [`Status`].
    Due { id: ChildId, number: u64 },
    /// The child may have been running long enough to end its outage. The number is that of its [`Backoff`].
    Stable { id: ChildId, number: u64 },
}

/// Whether a child is running, as its supervisor keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Running(Pid),
    /// A restart failed and is to be retried; the number distinguishes this retry from later ones.
    Restarting(u64),
    Waiting(Wait),
    Stopped,
}

/// A delayed restart of a child, or of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait {
    /// Distinguishes this wait from later ones. All members of the group have the same.
    pub(crate) number: u64,
    pub(crate) until: Instant,
    /// Whether this child has failed. The other members of its group wait for it.
    pub(crate) has_failed: bool,
}

pub(crate) struct Child {
    /// The start function and its captures are user values: a panic in their destructor must not end the supervisor.
    pub(crate) spec: ContainedDrop<ChildSpec>,
    pub(crate) status: Status,
    /// The pid of its last process, which may be a zombie.
    pub(crate) last_pid: Option<Pid>,
    /// How often it was started.
    starts: u64,
    /// In a box, because most children have none.
    backoff: Option<Box<Backoff>>,
}

impl Child {
    /// Creates a child that is not running. `default` is the backoff of children that have none of their own.
    pub(crate) fn new(spec: ChildSpec, default: Option<RestartBackoff>) -> Self {
        let rule = spec.options.restart_backoff.or(default).filter(|rule| !rule.is_none());
        let backoff = rule.map(|rule| Box::new(Backoff::new(rule)));
        let spec = ContainedDrop::new("child spec", spec);
        Self { spec, status: Status::Stopped, last_pid: None, starts: 0, backoff }
    }

    pub(crate) fn pid(&self) -> Option<Pid> {
        match self.status {
            Status::Running(pid) => Some(pid),
            Status::Restarting(_) | Status::Waiting(_) | Status::Stopped => None,
        }
    }

    /// Runs the start function; returns `None` if it returned ignore. `level` is the log level of a
    /// successful start: higher for starts and restarts by the supervisor than for those requested by a
    /// caller.
    pub(crate) fn start(&mut self, supervisor: &str, level: log::Level) -> Result<Option<Pid>, StartError> {
        // A panic or exit in the start function is a failed start. An exit signal for the supervisor itself
        // has no exit reason here: it keeps unwinding.
        let started = match exception::catch(|| (self.spec.start)()) {
            Ok(started) => started,
            Err(exception) => match exception.into_exit_reason() {
                Some(reason) => Err(StartError::Failed(reason)),
                None => exception::unwind_on_exit_signal(),
            },
        };
        match started {
            Ok(pid) => {
                // During an outage the child may start many times; its end is logged.
                let level = if self.is_failing() { log::Level::Debug } else { level };
                write_log(
                    level,
                    format_args!("supervisor {supervisor}: child {} started as {pid}", self.spec.options.id),
                );
                self.status = Status::Running(pid);
                self.last_pid = Some(pid);
                self.starts += 1;
                if let Some(backoff) = &mut self.backoff {
                    backoff.record_start();
                }
                Ok(Some(pid))
            }
            // Ignored is not an error: the child is kept (or removed, if temporary) without a process.
            Err(StartError::Ignored) => {
                self.status = Status::Stopped;
                self.end_outage();
                Ok(None)
            }
            Err(error) => {
                self.status = Status::Stopped;
                Err(error)
            }
        }
    }

    pub(crate) fn has_started(&self) -> bool {
        self.starts > 0
    }

    /// Returns how often the child was restarted.
    pub(crate) fn restarts(&self) -> u64 {
        self.starts.saturating_sub(1)
    }

    /// Returns `true` from the first failure until the outage is over, if the child has a backoff.
    pub(crate) fn is_failing(&self) -> bool {
        self.backoff.as_ref().is_some_and(|backoff| backoff.is_failing())
    }

    /// Returns `true` if a first start that fails is retried. A temporary child is never started again.
    pub(crate) fn retries_first_start(&self) -> bool {
        !self.is_temporary() && self.backoff.as_ref().is_some_and(|backoff| backoff.retries_first_start())
    }

    /// Returns `true` if the supervisor logs a failure of the next start, which it retries, instead of the child.
    pub(crate) fn logs_failed_start(&self) -> bool {
        self.is_failing() || !self.has_started() && self.retries_first_start()
    }

    /// Records a failure and logs it; `None` if the child has no backoff, and nothing was logged.
    pub(crate) fn record_failure(&mut self, supervisor: &str, failure: &Failure<'_>) -> Option<AfterFailure> {
        let id = &self.spec.options.id;
        self.backoff.as_mut().map(|backoff| backoff.record_failure(supervisor, id, failure))
    }

    /// Ends the outage because the child has been running long enough, and logs that.
    pub(crate) fn recover(&mut self, supervisor: &str) {
        let pid = self.pid();
        if let (Some(backoff), Some(pid)) = (&mut self.backoff, pid) {
            backoff.recover(supervisor, &self.spec.options.id, pid);
        }
    }

    /// Ends the outage, if there is one, because the child is not to be restarted.
    pub(crate) fn end_outage(&mut self) {
        if let Some(backoff) = &mut self.backoff {
            backoff.end_outage();
        }
    }

    /// Returns how long the child must run until its outage is over, if it has one and is running.
    pub(crate) fn stable_after(&self) -> Option<Duration> {
        self.pid().and_then(|_| self.backoff.as_ref()?.stable_after())
    }

    /// Sets the timer that restarts the child, or ends its outage.
    pub(crate) fn set_timer(&mut self, timer: TimerRef, number: u64) {
        if let Some(backoff) = &mut self.backoff {
            backoff.set_timer(timer, number);
        }
    }

    /// Returns `true` if the timer with this number was the last one, and has not been cancelled.
    pub(crate) fn is_current_timer(&self, number: u64) -> bool {
        self.backoff.as_ref().is_some_and(|backoff| backoff.is_current_timer(number))
    }

    fn cancel_timer(&mut self) {
        if let Some(backoff) = &mut self.backoff {
            backoff.cancel_timer();
        }
    }

    /// Emits the event that the supervisor, which is the calling process, has restarted the child.
    pub(crate) fn publish_restart(&self) {
        // Without subscribers, even the lookup of the process would be wasted.
        let (Some(me), true) = (local::pid(), events::has_subscribers()) else { return };
        if let Some(block) = self.pid().and_then(table::get) {
            let child = self.spec.options.id.as_str().into();
            events::emit(&block, || ProcessEventKind::Restarted {
                supervisor: me,
                child,
                restarts: self.restarts(),
            });
        }
    }

    /// Logs that the child exited by itself, unless that is normal for its restart type.
    pub(crate) fn log_exit(&self, supervisor: &str, pid: Pid, reason: &ExitReason) {
        let options = &self.spec.options;
        // A permanent child is never expected to exit, not even normally.
        if reason.is_abnormal() || options.restart == Restart::Permanent {
            write_log(
                log::Level::Error,
                format_args!(
                    "supervisor {supervisor}: child {} ({pid}) exited: {reason}\n    \
                     restart: {:?}, shutdown: {:?}, type: {:?}, significant: {}",
                    options.id,
                    options.restart,
                    options.shutdown_or_default(),
                    options.child_type,
                    options.significant
                ),
            );
        }
    }

    /// Stops the child if it is running, and waits until it has exited.
    pub(crate) fn stop(&mut self, supervisor: &str) {
        self.cancel_timer();
        let Status::Running(pid) = self.status else {
            // Cancels a pending restart: its number no longer matches the status.
            self.status = Status::Stopped;
            return;
        };
        let me = local::get();
        let block = table::get(pid);
        // While this edge exists, a call from the child to this supervisor (say, in `terminate`) fails at
        // once with a deadlock error. Without it, the two would wait for each other until the shutdown
        // timeout.
        let _wait_edge = block.as_ref().map(|block| WaitEdge::add(me.as_ref(), block));
        if let Some(stopping) = self.request_stop() {
            stopping.kill_after_timeout();
            self.await_stopped(stopping, supervisor);
        }
    }

    /// Sends the child its exit signal, if it is running.
    pub(crate) fn request_stop(&mut self) -> Option<StoppingChild> {
        match std::mem::replace(&mut self.status, Status::Stopped) {
            Status::Running(pid) => {
                Some(StoppingChild::send_exit(pid, self.spec.options.shutdown_or_default()))
            }
            Status::Restarting(_) | Status::Waiting(_) | Status::Stopped => None,
        }
    }

    /// Waits until the child has exited, and logs an unexpected reason.
    pub(crate) fn await_stopped(&self, stopping: StoppingChild, supervisor: &str) {
        let reason = stopping.exit_watch.wait();
        // The exit is handled here. An `Exit` message that is in the mailbox already is ignored later: no
        // child has this pid any more.
        unlink(stopping.pid);
        if !is_expected(&reason, stopping.shutdown == Shutdown::BrutalKill, self.spec.options.restart) {
            write_log(
                log::Level::Error,
                format_args!(
                    "supervisor {supervisor}: child {} ({}) did not shut down as asked: {reason}",
                    self.spec.options.id, stopping.pid
                ),
            );
        }
    }

    /// Waits until the thread of the last process is reaped if it is a zombie, but no longer than the spec
    /// allows.
    pub(crate) fn wait_until_reaped(&self) {
        if let (Some(last), Some(timeout)) = (self.last_pid, self.spec.options.reap_timeout) {
            wait_until_reaped(last, timeout);
        }
    }

    /// Returns `true` if the last process of the child is a zombie.
    pub(crate) fn is_zombie(&self) -> bool {
        self.last_pid.is_some_and(|last| zombie::get(last).is_some())
    }

    pub(crate) fn is_temporary(&self) -> bool {
        self.spec.options.restart == Restart::Temporary
    }
}

/// A child that was sent its exit signal. It is watched, because a child may have removed its link to the
/// supervisor.
pub(crate) struct StoppingChild {
    pid: Pid,
    shutdown: Shutdown,
    requested_at: Instant,
    exit_watch: Watch,
}

impl StoppingChild {
    fn send_exit(pid: Pid, shutdown: Shutdown) -> Self {
        // The watch comes first: set after the signal, it could miss the real exit reason and report
        // `NoProc`.
        let exit_watch = watch(pid);
        match shutdown {
            Shutdown::BrutalKill => exit(pid, ExitReason::Kill), // cannot be trapped
            // The child has this time, whatever its own exit timeout is; then it is killed.
            Shutdown::Timeout(timeout) => shut_down(pid, timeout),
            // No longer than its exit timeout: a child that neither traps exits nor makes a runtime call must not
            // block its supervisor.
            Shutdown::Infinity => exit(pid, ExitReason::Shutdown),
        }
        Self { pid, shutdown, requested_at: sync::now(), exit_watch }
    }

    /// Returns the time that the child has before it is killed.
    pub(crate) fn timeout(&self) -> Duration {
        match self.shutdown {
            Shutdown::BrutalKill => Duration::ZERO,
            Shutdown::Timeout(timeout) => timeout,
            Shutdown::Infinity => Duration::MAX,
        }
    }

    /// Waits until the child has exited or its timeout is over; then kills it.
    pub(crate) fn kill_after_timeout(&self) {
        if let Shutdown::Timeout(timeout) = self.shutdown {
            // The timeout began with the signal; other children may have been waited for since.
            if self.exit_watch.wait_timeout(timeout.saturating_sub(elapsed(self.requested_at))).is_none() {
                exit(self.pid, ExitReason::Kill);
            }
        }
    }
}

/// Returns `true` if the child has exited, for an `Exit` message from it. Any process can send an exit signal
/// in the name of a running child (`process::exit` with a reason): that must not start a second instance.
pub(crate) fn is_dead(child: &Child, pid: Pid, supervisor: &str) -> bool {
    // The flag is set before the `Exit` message is sent, so a real exit is never missed.
    let has_exited = table::get(pid).is_none_or(|block| block.is_dead());
    if !has_exited {
        write_log(
            log::Level::Warn,
            format_args!(
                "supervisor {supervisor}: child {} ({pid}) sent an exit signal but is still running: ignored",
                child.spec.options.id
            ),
        );
    }
    has_exited
}

/// Returns `true` if there are too many zombies to restart these children: in the whole program, or under
/// this supervisor if it has its own limit.
#[expect(single_use_lifetimes, reason = "older compilers want it named")]
pub(crate) fn too_many_zombies<'a>(
    restarted: impl Iterator<Item = &'a Child> + Clone,
    limit: Option<usize>,
) -> bool {
    restarted.clone().for_each(Child::wait_until_reaped);
    // Only a child that left a zombie behind is a reason to give up: zombies of other supervisors must not
    // end this one.
    if !restarted.clone().any(Child::is_zombie) {
        return false;
    }
    // The limit of the program counts all zombies, the limit of the supervisor only those that it started.
    let me = local::pid();
    let all = zombies();
    let own = all.iter().filter(|zombie| zombie.parent == me).count();
    all.len() > settings().max_zombies || limit.is_some_and(|limit| own > limit)
}

/// Returns the listing entry of a child.
pub(crate) fn child_info(child: &Child) -> ChildInfo {
    ChildInfo {
        id: child.spec.options.id.clone(),
        state: match child.status {
            Status::Running(pid) => ChildState::Running(pid),
            Status::Restarting(_) => ChildState::Restarting,
            Status::Waiting(wait) => ChildState::RestartingAt(wait.until),
            Status::Stopped => ChildState::Stopped,
        },
        child_type: child.spec.options.child_type,
    }
}

/// Counts children by state and type.
#[expect(single_use_lifetimes, reason = "older compilers want it named")]
pub(crate) fn count<'a>(children: impl Iterator<Item = &'a Child>) -> ChildCount {
    children.fold(ChildCount::default(), |count, child| {
        let supervisor = child.spec.options.child_type == ChildType::Supervisor;
        ChildCount {
            specs: count.specs + 1,
            // The `Exit` message of a child may still be in the mailbox: ask the process table.
            active: count.active + usize::from(child.pid().is_some_and(is_alive)),
            supervisors: count.supervisors + usize::from(supervisor),
            workers: count.workers + usize::from(!supervisor),
        }
    })
}

/// All children of a supervisor, in start order.
#[derive(Default)]
pub(crate) struct Children(pub(crate) Vec<Child>);

impl Children {
    pub(crate) fn position(&self, id: &ChildId) -> Option<usize> {
        self.0.iter().position(|child| child.spec.options.id == *id)
    }

    pub(crate) fn position_of(&self, pid: Pid) -> Option<usize> {
        self.0.iter().position(|child| child.pid() == Some(pid))
    }

    /// Stops the children in a range, in reverse order.
    pub(crate) fn stop(&mut self, range: std::ops::Range<usize>, supervisor: &str) {
        for child in self.0[range].iter_mut().rev() {
            child.stop(supervisor);
        }
    }
}
