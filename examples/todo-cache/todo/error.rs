//! The error of a request to the to-do system. Its variants distinguish whether a change was certainly not
//! made, or whether that is unknown.

use std::error::Error;
use std::fmt;

use rethread::gen_server::CallError;
use rethread::{ExitReason, StartError};

use super::list::NoSuchEntry;
use super::store::StoreError;

/// Why a request failed, or why it is unknown whether it did.
#[derive(Debug, Clone)]
pub(crate) enum TodoError {
    /// The list has no such entry. Nothing was changed.
    NoSuchEntry(NoSuchEntry),
    /// The store returned an error. After [`StoreError::Io`] and [`StoreError::Damaged`] a change may be on disk
    /// nevertheless; after the others it is not.
    Store(StoreError),
    /// The list's server could not be started. Nothing was changed.
    Start(StartError),
    /// A required process was not running. Nothing was changed, so a retry is safe.
    Unavailable(CallError),
    /// The request was sent, but the receiver exited or took too long to reply. A change may be on disk or
    /// not, but never in part and never twice: read the list to find out.
    Unanswered(CallError),
}

impl TodoError {
    /// Converts the error of a change. The request was certainly not handled after [`CallError::NoProc`], and
    /// if an idle list server stopped normally before it received the request.
    pub(crate) fn of_change(error: CallError) -> Self {
        match error {
            CallError::NoProc { .. } | CallError::Exited { reason: ExitReason::Normal, .. } => {
                TodoError::Unavailable(error)
            }
            _ => TodoError::Unanswered(error),
        }
    }
}

impl From<NoSuchEntry> for TodoError {
    fn from(error: NoSuchEntry) -> Self {
        TodoError::NoSuchEntry(error)
    }
}

impl From<StoreError> for TodoError {
    fn from(error: StoreError) -> Self {
        TodoError::Store(error)
    }
}

impl From<StartError> for TodoError {
    fn from(error: StartError) -> Self {
        TodoError::Start(error)
    }
}

impl fmt::Display for TodoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TodoError::NoSuchEntry(error) => error.fmt(f),
            TodoError::Store(error) => error.fmt(f),
            TodoError::Start(error) => write!(f, "nothing was changed: the list's server: {error}"),
            TodoError::Unavailable(error) => write!(f, "nothing was changed: {error}"),
            TodoError::Unanswered(error) => {
                write!(f, "unknown whether the change was made, check the list before retrying: {error}")
            }
        }
    }
}

impl Error for TodoError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            TodoError::NoSuchEntry(error) => Some(error),
            TodoError::Store(error) => Some(error),
            TodoError::Start(error) => Some(error),
            TodoError::Unavailable(error) | TodoError::Unanswered(error) => Some(error),
        }
    }
}
