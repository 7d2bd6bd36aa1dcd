//! The children of one supervisor, in start order: start one, stop one, find one. `server` decides, this
//! does.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::child_spec::{ChildId, ChildSpec, ChildType, Restart, Shutdown, StartError};
use crate::gen_server::cycle::Waiting;
use crate::pid::Pid;
use crate::process::clock::elapsed;
use crate::process::exit::{exit, is_alive};
use crate::process::feed::{self, Change};
use crate::process::link::unlink;
use crate::process::settings::settings;
use crate::process::watch::{Watch, await_reaping, watch};
use crate::process::zombie::{self, zombies};
use crate::process::{me, table};
use crate::reason::ExitReason;
use crate::supervisor::decide::expected;
use crate::supervisor::request::{ChildCount, ChildInfo, ChildState};
use crate::sync;
use crate::unwind::contain;
use crate::unwound;

/// Whether a child runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Running(Pid),
    /// Its restart failed and is to be tried again; the number tells this wait from later ones.
    Restarting(u64),
    Stopped,
}

pub(crate) struct Child {
    pub(crate) spec: ChildSpec,
    pub(crate) status: Status,
    /// Who it was last, for as long as that one may be a zombie.
    pub(crate) last: Option<Pid>,
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

/// The start function and what it captured are the user's: their destructor must not end the supervisor.
impl Drop for Child {
    fn drop(&mut self) {
        let start = std::mem::replace(&mut self.spec.start, Arc::new(|| Err(StartError::Exiting)));
        contain("the destructor of a child's start function", move || drop(start));
    }
}

/// Tells the log. To print a reason, and the sink of the log, are user code: they must not end the supervisor.
pub(crate) fn report(level: log::Level, text: fmt::Arguments<'_>) {
    contain("the log", || log::log!(level, "{text}"));
}

impl Child {
    pub(crate) fn new(spec: ChildSpec) -> Self {
        Self { spec, status: Status::Stopped, last: None, starts: 0 }
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
    pub(crate) fn start(
        &mut self,
        supervisor: &str,
        progress: log::Level,
    ) -> Result<Option<Pid>, StartError> {
        let started = match unwound::catch(|| (self.spec.start)()) {
            Ok(started) => started,
            Err(unwound) => match unwound.into_reason() {
                Some(reason) => Err(StartError::Failed(reason)),
                None => unwound::told(),
            },
        };
        match started {
            Ok(pid) => {
                report(
                    progress,
                    format_args!("supervisor {supervisor}: child {} started as {pid}", self.spec.id),
                );
                self.status = Status::Running(pid);
                self.last = Some(pid);
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
        let (Some(me), true) = (me::pid(), feed::is_heard()) else { return };
        if let Some(block) = self.pid().and_then(table::get) {
            let child = self.spec.id.as_str().into();
            feed::tell(&block, || Change::Restarted { by: me, child, times: self.restarts() });
        }
    }

    /// Tells the log that it ended by itself, unless a child with its restart type may end so.
    pub(crate) fn report_end(&self, supervisor: &str, pid: Pid, reason: &ExitReason) {
        let spec = &self.spec;
        if reason.is_abnormal() || spec.restart == Restart::Permanent {
            report(
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
        let me = me::get();
        let block = table::get(pid);
        // A child that calls us in its clean-up is told at once that it would wait for ever.
        let _waiting = block.as_ref().map(|block| Waiting::mark(me.as_ref(), block));
        if let Some(ending) = self.begin_stop() {
            ending.kill_when_late();
            self.stopped(ending, supervisor);
        }
    }

    /// Tells it to end, if it runs.
    pub(crate) fn begin_stop(&mut self) -> Option<Ending> {
        match std::mem::replace(&mut self.status, Status::Stopped) {
            Status::Running(pid) => Some(Ending::of(pid, self.spec.get_shutdown())),
            Status::Restarting(_) | Status::Stopped => None,
        }
    }

    /// Waits until it is gone.
    pub(crate) fn stopped(&self, ending: Ending, supervisor: &str) {
        let reason = ending.watched.wait();
        unlink(ending.pid);
        if !expected(&reason, ending.shutdown == Shutdown::BrutalKill, self.spec.restart) {
            report(
                log::Level::Error,
                format_args!(
                    "supervisor {supervisor}: child {} ({}) did not shut down as asked: {reason}",
                    self.spec.id, ending.pid
                ),
            );
        }
    }

    /// Gives the thread of a former incarnation that became a zombie the time the spec allows.
    pub(crate) fn await_reaping(&self) {
        if let (Some(last), Some(limit)) = (self.last, self.spec.reap_timeout) {
            await_reaping(last, limit);
        }
    }

    /// Whether the thread of its former incarnation still runs.
    pub(crate) fn left_zombie(&self) -> bool {
        self.last.is_some_and(|last| zombie::find(last).is_some())
    }

    pub(crate) fn temporary(&self) -> bool {
        self.spec.restart == Restart::Temporary
    }
}

/// A child that has been told to end. It is watched rather than trusted to its link: it may have unlinked
/// itself.
pub(crate) struct Ending {
    pid: Pid,
    shutdown: Shutdown,
    told: Instant,
    watched: Watch,
}

impl Ending {
    fn of(pid: Pid, shutdown: Shutdown) -> Self {
        let watched = watch(pid);
        let signal = if shutdown == Shutdown::BrutalKill { ExitReason::Kill } else { ExitReason::Shutdown };
        exit(pid, signal);
        Self { pid, shutdown, told: sync::now(), watched }
    }

    /// How long it has before it is killed.
    pub(crate) fn limit(&self) -> Duration {
        match self.shutdown {
            Shutdown::BrutalKill => Duration::ZERO,
            Shutdown::Timeout(limit) => limit,
            Shutdown::Infinity => Duration::MAX,
        }
    }

    /// Waits until it is gone or its time is up; then it is killed.
    pub(crate) fn kill_when_late(&self) {
        if let Shutdown::Timeout(limit) = self.shutdown {
            if self.watched.wait_timeout(limit.saturating_sub(elapsed(self.told))).is_none() {
                exit(self.pid, ExitReason::Kill);
            }
        }
    }
}

/// Whether the `Exit` of a child tells its death. Anybody can send a signal that looks alike: of one that lives it must
/// not start a second one.
pub(crate) fn has_ended(child: &Child, pid: Pid, supervisor: &str) -> bool {
    let ended = table::get(pid).is_none_or(|block| block.dead());
    if !ended {
        report(
            log::Level::Warn,
            format_args!(
                "supervisor {supervisor}: child {} ({pid}) sent an exit signal and lives: no effect",
                child.spec.id
            ),
        );
    }
    ended
}

/// Whether there are too many zombies to start these again: of the whole program, or of this supervisor if
/// it has a limit of its own. Only a child that left one behind counts as a reason to give up.
#[expect(single_use_lifetimes, reason = "older compilers want it named")]
pub(crate) fn too_many_zombies<'a>(
    restarted: impl Iterator<Item = &'a Child> + Clone,
    limit: Option<usize>,
) -> bool {
    restarted.clone().for_each(Child::await_reaping);
    if !restarted.clone().any(Child::left_zombie) {
        return false;
    }
    let me = me::pid();
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
