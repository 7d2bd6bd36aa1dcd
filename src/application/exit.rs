//! How an application ended, as the exit status of a program. What waits for one returns it.

use std::fmt;
use std::io::Write;
use std::process::{ExitCode, Termination};
use std::sync::Arc;

use crate::application::error::ApplicationError;
use crate::reason::ExitReason;
use crate::unwind::catch_and_log;

/// How an application ended: what a `main` function returns.
///
/// As the result of `main` it is the exit status 0 if the application was stopped, or ended by itself and all was
/// well. Anything else is status 1, with one line on standard error, so that the service manager that started the
/// program can start it again: the honest end of "let it crash".
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
/// assert!(ApplicationExit::Ended(ExitReason::Shutdown).is_success());
/// assert!(!ApplicationExit::Ended(ExitReason::Killed).is_success());
/// ```
///
/// # Differences from Erlang
/// There a supervisor that gives up ends with `shutdown`, like one that was told to, and what follows depends on
/// how the application was started: `permanent` ends the node, `temporary` does not. Here the reason is the same,
/// but the two are told apart, because a program that has given up must not end with the status of success.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "it says whether all is well; returned from `main` it is the exit status"]
#[non_exhaustive]
pub enum ApplicationExit {
    /// It was stopped, or its top supervisor ended, with this reason.
    Stopped(ExitReason),
    /// Its top supervisor could do no more: too many restarts, too many zombies, or a significant child that
    /// failed and is not restarted. What that was is in the text.
    GaveUp(Arc<str>),
    /// It did not start.
    NotStarted(ApplicationError),
}

impl ApplicationExit {
    /// Whether all is well: then the exit status is 0.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Stopped(reason) if !reason.is_abnormal())
    }

    /// The reason its top supervisor ended with, as links and monitors saw it; `None` if it did not start.
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
        // Like the error of a `main` that returns one; also where nobody listens to the log. To print a reason is
        // user code.
        catch_and_log("the text of an exit reason", || {
            let _ = writeln!(std::io::stderr(), "{self}");
        });
        ExitCode::FAILURE
    }
}
