//! The children of one supervisor, in start order: start one, stop one, find one. `server` decides, this
//! does.

use std::fmt;
use std::sync::Arc;

use crate::child_spec::{ChildId, ChildSpec, Restart, Shutdown, StartError};
use crate::gen_server::call::Waiting;
use crate::pid::Pid;
use crate::process::exit::exit;
use crate::process::link::unlink;
use crate::process::watch::{await_reaping, watch};
use crate::process::{me, table, zombie};
use crate::reason::ExitReason;
use crate::supervisor::decide::expected;
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

impl std::error::Error for FailedToStartChild {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

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
        Self { spec, status: Status::Stopped, last: None }
    }

    pub(crate) fn pid(&self) -> Option<Pid> {
        match self.status {
            Status::Running(pid) => Some(pid),
            Status::Restarting(_) | Status::Stopped => None,
        }
    }

    /// Runs the start function. What it raises is a failed start; a child that asks to be ignored is not
    /// running, and that is all right.
    pub(crate) fn start(&mut self) -> Result<Option<Pid>, StartError> {
        let started = match unwound::catch(|| (self.spec.start)()) {
            Ok(started) => started,
            Err(unwound) => match unwound.into_reason() {
                Some(reason) => Err(StartError::Failed(reason)),
                None => unwound::told(),
            },
        };
        match started {
            Ok(pid) => {
                report(log::Level::Debug, format_args!("child {} started as {pid}", self.spec.id));
                self.status = Status::Running(pid);
                self.last = Some(pid);
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

    /// Ends it if it runs, and waits until it is gone. It is watched rather than trusted to its link: it
    /// may have unlinked itself.
    pub(crate) fn stop(&mut self, supervisor: &str) {
        let Status::Running(pid) = std::mem::replace(&mut self.status, Status::Stopped) else {
            return;
        };
        let shutdown = self.spec.get_shutdown();
        let watched = watch(pid);
        let me = me::get();
        let block = table::get(pid);
        // A child that calls us in its clean-up is told at once that it would wait for ever.
        let _waiting = block.as_ref().map(|block| Waiting::mark(me.as_ref(), block));
        let kill = || {
            exit(pid, ExitReason::Kill);
            watched.wait()
        };
        let reason = match shutdown {
            Shutdown::BrutalKill => kill(),
            Shutdown::Infinity => {
                exit(pid, ExitReason::Shutdown);
                watched.wait()
            }
            Shutdown::Timeout(limit) => {
                exit(pid, ExitReason::Shutdown);
                watched.wait_timeout(limit).unwrap_or_else(kill)
            }
        };
        unlink(pid);
        if !expected(&reason, shutdown == Shutdown::BrutalKill, self.spec.restart) {
            report(
                log::Level::Error,
                format_args!(
                    "supervisor {supervisor}: child {} ({pid}) did not shut down as asked: {reason}",
                    self.spec.id
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
