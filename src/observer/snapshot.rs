//! What is known about processes at one moment, and one process as a line of text.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::pid::Pid;
use crate::process::control::activity::Activity;
use crate::process::control::block::ProcessBlock;
use crate::process::control::block::ProcessKind;
use crate::process::control::block::display_name;
use crate::process::control::type_name::without_path;
use crate::process::observe::info::ProcessInfo;
use crate::process::observe::info::ProcessState;
use crate::process::observe::info::collect_info;
use crate::process::observe::info::write_wait;
use crate::process::observe::zombie::Zombie;
use crate::supervisor::intensity::RestartCount;
use crate::supervisor::spec::Strategy;
use crate::supervisor::status::{ChildStatus, StatusBoard};

/// All processes at about the same moment. Its `Display` is the tree of processes, each below the one that started it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Snapshot {
    /// When the snapshot was taken.
    pub at: SystemTime,
    /// All processes, in the order in which they were started.
    pub processes: Vec<ProcessSnapshot>,
    /// Processes that count as exited while their threads are still running, oldest first.
    pub zombies: Vec<Zombie>,
}

impl Snapshot {
    /// Returns the process with this pid.
    pub fn get(&self, pid: impl Into<Pid>) -> Option<&ProcessSnapshot> {
        let pid = pid.into();
        self.processes.iter().find(|process| process.pid() == pid)
    }

    /// Returns the process of this name, or else the first one with this label.
    pub fn find(&self, name: &str) -> Option<&ProcessSnapshot> {
        // A name is unique among running processes, a label is not: names take precedence.
        let named = |process: &&ProcessSnapshot| process.info.name.as_deref() == Some(name);
        let labelled = |process: &&ProcessSnapshot| process.info.label.as_deref() == Some(name);
        self.processes.iter().find(named).or_else(|| self.processes.iter().find(labelled))
    }
}

/// What is known about one process. Its `Display` is one line.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProcessSnapshot {
    /// What is known about every process.
    pub info: ProcessInfo,
    /// What is known about a supervisor; `None` for other processes.
    pub supervision: Option<Supervision>,
}

/// What is known about a supervisor.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Supervision {
    /// Which children are restarted when one fails; `None` for a dynamic supervisor, which restarts only that child.
    pub strategy: Option<Strategy>,
    /// The restarts within the current period, and how many are allowed.
    pub restarts: RestartCount,
    /// The children in start order, including those that are not running, as of the last message that the supervisor
    /// handled. For a dynamic supervisor only those that wait for a restart: the others are the processes whose parent it
    /// is.
    pub children: Vec<ChildStatus>,
}

impl ProcessSnapshot {
    pub(super) fn from_block(block: &ProcessBlock) -> Self {
        // The status board is read without a call, so this works even if the supervisor hangs.
        let board =
            block.supervisor_status.get().and_then(|status| status.as_any().downcast_ref::<StatusBoard>());
        let supervision = board.map(|board| Supervision {
            strategy: board.strategy,
            restarts: board.restarts(),
            children: board.children.lock().clone(),
        });
        let mut info = collect_info(block);
        // A supervisor is a server to the layer that collects `info`.
        if supervision.is_some() {
            info.kind = ProcessKind::Supervisor;
        }
        Self { info, supervision }
    }

    /// Returns the pid of the process.
    pub fn pid(&self) -> Pid {
        self.info.pid
    }

    /// Returns the name of the process, or else its label, or else [`type_name`](Self::type_name).
    pub fn display_name(&self) -> &str {
        let given = display_name(&self.info.name, &self.info.label);
        given.map_or_else(|| self.type_name(), AsRef::as_ref)
    }

    /// Returns the type of a server, without its path; for other processes `task` or `process`.
    pub fn type_name(&self) -> &str {
        match self.info.kind {
            ProcessKind::Server | ProcessKind::Supervisor => without_path(self.info.message_type),
            ProcessKind::Task => "task",
            ProcessKind::Process => "process",
        }
    }

    /// Returns the process that started this one: for a supervised child its supervisor. It may have exited.
    pub fn parent(&self) -> Option<Pid> {
        self.info.ancestors.first().copied()
    }

    /// Returns the children that a static supervisor lists.
    pub(super) fn child_statuses(&self) -> &[ChildStatus] {
        self.supervision.as_ref().map(|supervision| supervision.children.as_slice()).unwrap_or_default()
    }
}

impl fmt::Display for ProcessSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.display_name(), self.pid(), StatusText(self))
    }
}

/// Formats what follows name and pid in a line: strategy and restarts of a supervisor, state, unread messages.
pub(super) struct StatusText<'a>(pub(super) &'a ProcessSnapshot);

impl fmt::Display for StatusText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(ProcessSnapshot { info, supervision }) = self;
        if let Some(supervision) = supervision {
            write!(f, "{}, {}, ", StrategyName(supervision.strategy), supervision.restarts)?;
        }
        match &info.state {
            ProcessState::Waiting => f.write_str("waiting")?,
            ProcessState::Running => {
                write!(f, "{}", info.activity)?;
                // The body of a process or task may run without limit, so its duration says nothing.
                let in_handler = !matches!(info.activity, Activity::Body | Activity::Waiting);
                if in_handler && info.active_for >= MIN_SHOWN_TIME {
                    write!(f, " for {:.1?}", info.active_for)?;
                }
            }
            ProcessState::Exiting(reason) => write!(f, "exiting: {reason}")?,
            ProcessState::Zombie(reason) => write!(f, "zombie: {reason}")?,
        }
        // In a call: the process that has to answer.
        write_wait(f, info)?;
        if info.message_queue_len > 0 {
            write!(f, ", message_queue_len {}", info.message_queue_len)?;
        }
        Ok(())
    }
}

/// A handler that has been running for less is shown without its duration.
const MIN_SHOWN_TIME: Duration = Duration::from_millis(1);

struct StrategyName(Option<Strategy>);

impl fmt::Display for StrategyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(strategy) => strategy.fmt(f),
            None => f.write_str("dynamic"),
        }
    }
}
