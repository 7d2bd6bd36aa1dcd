//! How an application ended, as the exit status of a program, and why one was not started or not stopped.

use std::fmt;
use std::io::Write;
use std::process::{ExitCode, Termination};
use std::sync::Arc;

use crate::child_spec::StartError;
use crate::pid::Pid;
use crate::reason::ExitReason;
use crate::unwind::catch_and_log;

/// How an application ended. A `main` function can return it.
///
/// Returned from `main`, it is the exit status 0 if the application was stopped, or if its top supervisor exited by
/// itself with a reason that is not abnormal. Anything else is status 1, with one line on standard error, so that the
/// service manager that started the program can restart it.
///
/// | | status |
/// | --- | --- |
/// | [`Stopped`](Self::Stopped) with `Normal`, `Shutdown`, `ShutdownWith` | 0 |
/// | [`Stopped`](Self::Stopped) with any other reason | 1 |
/// | [`GaveUp`](Self::GaveUp) | 1 |
/// | [`NotStarted`](Self::NotStarted) | 1 |
///
/// ```
/// use rethread::application::ApplicationExit;
/// use rethread::ExitReason;
///
/// assert!(ApplicationExit::Stopped(ExitReason::Shutdown).is_success());
/// assert!(!ApplicationExit::Stopped(ExitReason::Killed).is_success());
/// ```
///
/// # Differences from Erlang
/// In Erlang a supervisor that gives up exits with `shutdown`, like one that was shut down, and what follows depends on
/// how the application was started: `permanent` stops the node, `temporary` does not. Here the exit reason is the same,
/// but `GaveUp` is a variant of its own, because a program that has given up must not report success.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "it says whether the application failed; returned from `main` it is the exit status"]
#[non_exhaustive]
pub enum ApplicationExit {
    /// The application was stopped, or its top supervisor exited by itself. This is the exit reason of the top
    /// supervisor.
    Stopped(ExitReason),
    /// The top supervisor gave up: too many restarts, too many zombies, or a significant child that failed and is not
    /// restarted. The text says which.
    GaveUp(Arc<str>),
    /// The application did not start.
    NotStarted(ApplicationError),
}

impl ApplicationExit {
    /// Returns `true` if the exit status is 0.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Stopped(reason) if !reason.is_abnormal())
    }

    /// Returns the exit reason of the top supervisor, as its links and monitors received it; `None` if the application
    /// did not start.
    pub fn reason(&self) -> Option<&ExitReason> {
        match self {
            Self::Stopped(reason) => Some(reason),
            Self::GaveUp(_) => Some(&ExitReason::Shutdown),
            Self::NotStarted(_) => None,
        }
    }
}

impl fmt::Display for ApplicationExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped(reason) => write!(f, "the application ended: {reason}"),
            Self::GaveUp(why) => write!(f, "the application gave up: {why}"),
            Self::NotStarted(error) => error.fmt(f),
        }
    }
}

impl From<ApplicationError> for ApplicationExit {
    fn from(error: ApplicationError) -> Self {
        Self::NotStarted(error)
    }
}

impl Termination for ApplicationExit {
    fn report(self) -> ExitCode {
        if self.is_success() {
            return ExitCode::SUCCESS;
        }
        // Print to standard error, like the error of a `main` that returns one: there may be no logger. Formatting a
        // reason is user code, which may panic.
        catch_and_log("the text of an exit reason", || {
            let _ = writeln!(std::io::stderr(), "{self}");
        });
        ExitCode::FAILURE
    }
}

/// Why an application was not started, or not stopped.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ApplicationError {
    /// An application of this name is running, or still being started or stopped.
    AlreadyStarted(Arc<str>),
    /// The application of this name is not running: the one to be stopped, or a dependency of the one to be started.
    NotStarted(Arc<str>),
    /// The top supervisor did not start, and none of its processes is left. Or another process killed the master
    /// during the start: then the processes that had been started are killed too, but not waited for.
    Failed(StartError),
    /// The caller belongs to the application, whose stop waits for all its processes: use
    /// [`request_stop`](crate::application::ApplicationRef::request_stop) instead. Nothing was stopped.
    Inside,
    /// A stop that is in progress waits for the caller, directly or through other processes, so waiting for it would
    /// block both.
    Deadlock {
        /// The processes of the cycle: each waits for the next, and the last for the first, which is the caller.
        cycle: Vec<Pid>,
    },
    /// The calling process is exiting.
    Exiting,
}

impl fmt::Display for ApplicationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyStarted(name) => write!(f, "the application {name} is already started"),
            Self::NotStarted(name) => write!(f, "the application {name} is not started"),
            Self::Failed(error) => write!(f, "the application did not start: {error}"),
            Self::Inside => f.write_str("a process cannot wait for the end of its own application"),
            Self::Deadlock { cycle } => {
                write!(f, "deadlock: the stop of the application waits for one of {cycle:?}")
            }
            Self::Exiting => f.write_str("the calling process is exiting"),
        }
    }
}

// No `source`: the text contains that of the inner error, and a chain of causes would repeat it.
impl std::error::Error for ApplicationError {}
