//! What can go wrong with a task, as its owner sees it. `join` and its like return it, streams have it as
//! elements, and `or_exit` turns it into an exit reason.

use std::fmt;
use std::time::Duration;

use crate::child_spec::StartError;
use crate::gen_server::wait_graph::fmt_cycle;
use crate::pid::Pid;
use crate::reason::ExitReason;

/// Why a task has no value for its owner.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum JoinError {
    /// It ended without a value, with this reason. `Normal` if it ended itself so before its function
    /// returned; `NoProc` if its value, or its end, was handed out before.
    Exited {
        /// Which task.
        task: Pid,
        /// Why it ended.
        reason: ExitReason,
    },
    /// It had no value in time.
    Timeout {
        /// Which task.
        task: Pid,
        /// How long that was.
        after: Duration,
    },
    /// The task waits, perhaps through others, for the caller: neither would ever go on.
    Deadlock {
        /// The processes of the cycle; each waits for the next, the last for the first, the caller.
        cycle: Vec<Pid>,
    },
    /// There was no task: it could not be started. Only streams have this.
    NotStarted(StartError),
    /// The calling process is exiting.
    Exiting,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { task, reason } => write!(f, "task {task} ended without a value: {reason}"),
            Self::Timeout { task, after } => write!(f, "task {task}: no value within {after:?}"),
            Self::Deadlock { cycle } => fmt_cycle(f, cycle),
            Self::NotStarted(error) => write!(f, "a task was not started: {error}"),
            Self::Exiting => f.write_str("the calling process is exiting"),
        }
    }
}

// No `source`: the text tells all of the inner error already, and chains of causes would tell it twice.
impl std::error::Error for JoinError {}
