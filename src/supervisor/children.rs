//! The children of one supervisor, in start order: start one, stop one, find one. `server` decides, this
//! does.

use std::fmt;
use std::time::{Duration, Instant};

use crate::child_spec::{ChildId, ChildSpec, ChildType, Restart, Shutdown, StartError};
use crate::exception;
use crate::gen_server::wait_graph::WaitEdge;
use crate::pid::Pid;
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
use crate::process::signals::link::unlink;
use crate::process::signals::monitor::Watch;
use crate::process::signals::monitor::wait_until_reaped;
use crate::process::signals::monitor::watch;
use crate::reason::ExitReason;
use crate::supervisor::policy::is_expected;
use crate::supervisor::request::{ChildCount, ChildInfo, ChildState};
use crate::sync;
use crate::unwind::{ContainedDrop, catch_and_log};

/// Whether a child runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Running(Pid),
    /// Its restart failed and is to be tried again; the number tells this wait from later ones.
    Restarting(u64),
    Stopped,
}

pub(crate) struct Child {
    /// The start function and what it captured are user values.
    pub(crate) spec: ContainedDrop<ChildSpec>,
    pub(crate) status: Status,
    /// Who it was last, for as long as that one may be a zombie.
    pub(crate) last_pid: Option<Pid>,
    /// How often it was started.
    starts: u64,
}

/// Why a supervisor's start failed: inside the `ShutdownWith` it ends with.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FailedToStartChild {
    /// Which child.
    pub id: ChildId,
    /// Why.
    pub error: StartError,
}

impl fmt::Display for FailedToStartChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "child {} did not start: {}", self.id, self.error)
    }
}

// No `source`: the text tells all of the inner error already, and chains of causes would tell it twice.
impl std::error::Error for FailedToStartChild {}

/// Tells the log. To print a reason, and the sink of the log, are user code: they must not end the supervisor.
pub(crate) fn write_log(level: log::Level, text: fmt::Arguments<'_>) {
    catch_and_log("the log", || log::log!(level, "{text}"));
}

impl Child {
    pub(crate) fn new(spec: ChildSpec) -> Self {
        let spec = ContainedDrop::new("child spec", spec);
        Self { spec, status: Status::Stopped, last_pid: None, starts: 0 }
    }

    pub(crate) fn pid(&self) -> Option<Pid> {
        match self.status {
            Status::Running(pid) => Some(pid),
            Status::Restarting(_) | Status::Stopped => None,
        }
    }

    /// Runs the start function. What it raises is a failed start; a child that asks to be ignored is not
    /// running, and that is all right. `progress`: how loudly the log hears of a start; one that somebody asked
    /// for is less news than one by plan.
    pub(crate) fn start(&mut self, supervisor: &str, level: log::Level) -> Result<Option<Pid>, StartError> {
        let started = match exception::catch(|| (self.spec.start)()) {
            Ok(started) => started,
            Err(exception) => match exception.into_exit_reason() {
                Some(reason) => Err(StartError::Failed(reason)),
                None => exception::unwind_on_exit_signal(),
            },
        };
        match started {
            Ok(pid) => {
                write_log(
                    level,
                    format_args!("supervisor {supervisor}: child {} started as {pid}", self.spec.id),
                );
                self.status = Status::Running(pid);
                self.last_pid = Some(pid);
                self.starts += 1;
                Ok(Some(pid))
            }
            Err(StartError::Ignored) => {
                self.status = Status::Stopped;
                Ok(None)
            }
            Err(error) => {
                self.status = Status::Stopped;
                Err(error)
            }
        }
    }

    /// How often it was started again.
    pub(crate) fn restarts(&self) -> u64 {
        self.starts.saturating_sub(1)
    }

    /// Tells observers that a supervisor has started it again.
    pub(crate) fn publish_restart(&self) {
        let (Some(me), true) = (local::pid(), events::has_subscribers()) else { return };
        if let Some(block) = self.pid().and_then(table::get) {
            let child = self.spec.id.as_str().into();
            events::emit(&block, || ProcessEventKind::Restarted {
                supervisor: me,
                child,
                restart_count: self.restarts(),
            });
        }
    }

    /// Tells the log that it ended by itself, unless a child with its restart type may end so.
    pub(crate) fn log_exit(&self, supervisor: &str, pid: Pid, reason: &ExitReason) {
        let spec = &self.spec;
        if reason.is_abnormal() || spec.restart == Restart::Permanent {
            write_log(
                log::Level::Error,
                format_args!(
                    "supervisor {supervisor}: child {} ({pid}) ended: {reason}\n    \
                     restart: {:?}, shutdown: {:?}, type: {:?}, significant: {}",
                    spec.id,
                    spec.restart,
                    spec.get_shutdown(),
                    spec.child_type,
                    spec.significant
                ),
            );
        }
    }

    /// Ends it if it runs, and waits until it is gone.
    pub(crate) fn stop(&mut self, supervisor: &str) {
        let Status::Running(pid) = self.status else {
            self.status = Status::Stopped;
            return;
        };
        let me = local::get();
        let block = table::get(pid);
        // A child that calls us in its clean-up is told at once that it would wait for ever.
        let _wait_edge = block.as_ref().map(|block| WaitEdge::add(me.as_ref(), block));
        if let Some(stopping) = self.request_stop() {
            stopping.kill_after_timeout();
            self.await_stopped(stopping, supervisor);
        }
    }

    /// Tells it to end, if it runs.
    pub(crate) fn request_stop(&mut self) -> Option<StoppingChild> {
        match std::mem::replace(&mut self.status, Status::Stopped) {
            Status::Running(pid) => Some(StoppingChild::send_exit(pid, self.spec.get_shutdown())),
            Status::Restarting(_) | Status::Stopped => None,
        }
    }

    /// Waits until it is gone.
    pub(crate) fn await_stopped(&self, stopping: StoppingChild, supervisor: &str) {
        let reason = stopping.exit_watch.wait();
        unlink(stopping.pid);
        if !is_expected(&reason, stopping.shutdown == Shutdown::BrutalKill, self.spec.restart) {
            write_log(
                log::Level::Error,
                format_args!(
                    "supervisor {supervisor}: child {} ({}) did not shut down as asked: {reason}",
                    self.spec.id, stopping.pid
                ),
            );
        }
    }

    /// Gives the thread of a former incarnation that became a zombie the time the spec allows.
    pub(crate) fn wait_until_reaped(&self) {
        if let (Some(last), Some(timeout)) = (self.last_pid, self.spec.reap_timeout) {
            wait_until_reaped(last, timeout);
        }
    }

    /// Whether the thread of its former incarnation still runs.
    pub(crate) fn is_zombie(&self) -> bool {
        self.last_pid.is_some_and(|last| zombie::get(last).is_some())
    }

    pub(crate) fn is_temporary(&self) -> bool {
        self.spec.restart == Restart::Temporary
    }
}

/// A child that has been told to end. It is watched rather than trusted to its link: it may have unlinked
/// itself.
pub(crate) struct StoppingChild {
    pid: Pid,
    shutdown: Shutdown,
    requested_at: Instant,
    exit_watch: Watch,
}

impl StoppingChild {
    fn send_exit(pid: Pid, shutdown: Shutdown) -> Self {
        let exit_watch = watch(pid);
        let signal = if shutdown == Shutdown::BrutalKill { ExitReason::Kill } else { ExitReason::Shutdown };
        exit(pid, signal);
        Self { pid, shutdown, requested_at: sync::now(), exit_watch }
    }

    /// How long it has before it is killed.
    pub(crate) fn timeout(&self) -> Duration {
        match self.shutdown {
            Shutdown::BrutalKill => Duration::ZERO,
            Shutdown::Timeout(timeout) => timeout,
            Shutdown::Infinity => Duration::MAX,
        }
    }

    /// Waits until it is gone or its time is up; then it is killed.
    pub(crate) fn kill_after_timeout(&self) {
        if let Shutdown::Timeout(timeout) = self.shutdown {
            if self.exit_watch.wait_timeout(timeout.saturating_sub(elapsed(self.requested_at))).is_none() {
                exit(self.pid, ExitReason::Kill);
            }
        }
    }
}

/// Whether the `Exit` of a child tells its death. Anybody can send a signal that looks alike: of one that lives it must
/// not start a second one.
pub(crate) fn is_dead(child: &Child, pid: Pid, supervisor: &str) -> bool {
    let dead = table::get(pid).is_none_or(|block| block.is_dead());
    if !dead {
        write_log(
            log::Level::Warn,
            format_args!(
                "supervisor {supervisor}: child {} ({pid}) sent an exit signal and lives: no effect",
                child.spec.id
            ),
        );
    }
    dead
}

/// Whether there are too many zombies to start these again: of the whole program, or of this supervisor if
/// it has a limit of its own. Only a child that left one behind counts as a reason to give up.
#[expect(single_use_lifetimes, reason = "older compilers want it named")]
pub(crate) fn too_many_zombies<'a>(
    restarted: impl Iterator<Item = &'a Child> + Clone,
    limit: Option<usize>,
) -> bool {
    restarted.clone().for_each(Child::wait_until_reaped);
    if !restarted.clone().any(Child::is_zombie) {
        return false;
    }
    let me = local::pid();
    let all = zombies();
    let own = all.iter().filter(|zombie| zombie.parent == me).count();
    all.len() > settings().max_zombies || limit.is_some_and(|limit| own > limit)
}

/// Whether it runs, for listings.
pub(crate) fn child_info(child: &Child) -> ChildInfo {
    ChildInfo {
        id: child.spec.id.clone(),
        state: match child.status {
            Status::Running(pid) => ChildState::Running(pid),
            Status::Restarting(_) => ChildState::Restarting,
            Status::Stopped => ChildState::Stopped,
        },
        child_type: child.spec.child_type,
    }
}

/// How many there are.
#[expect(single_use_lifetimes, reason = "older compilers want it named")]
pub(crate) fn count<'a>(children: impl Iterator<Item = &'a Child>) -> ChildCount {
    children.fold(ChildCount::default(), |count, child| {
        let supervisor = child.spec.child_type == ChildType::Supervisor;
        ChildCount {
            specs: count.specs + 1,
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
        self.0.iter().position(|child| child.spec.id == *id)
    }

    pub(crate) fn position_of(&self, pid: Pid) -> Option<usize> {
        self.0.iter().position(|child| child.pid() == Some(pid))
    }

    /// Stops those in a range, last first.
    pub(crate) fn stop(&mut self, range: std::ops::Range<usize>, supervisor: &str) {
        for child in self.0[range].iter_mut().rev() {
            child.stop(supervisor);
        }
    }
}
