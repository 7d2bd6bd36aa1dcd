//! What can become of a request to the to-do system. The client functions return it, and list servers and
//! the database answer with it.

use std::error::Error;
use std::fmt;

use rethread::{CallError, ExitReason, StartError};

use super::list::NoSuchEntry;
use super::store::StoreError;

/// Why a request was not carried out, or why nobody knows whether it was.
#[derive(Debug, Clone)]
pub(crate) enum TodoError {
    /// The list has no such entry. Nothing was changed.
    NoSuchEntry(NoSuchEntry),
    /// The store says no. After [`StoreError::Io`] a change may be on disk all the same; after the others it
    /// is not.
    Store(StoreError),
    /// The list's server could not be started. Nothing was changed.
    Start(StartError),
    /// Some process that is needed was not there. Nothing was changed, so that to ask again is safe.
    Unavailable(CallError),
    /// The request was sent, and whoever was to answer it ended or took too long. A change may be on disk or
    /// not, but never half and never twice: read the list to know.
    Unanswered(CallError),
}

impl TodoError {
    /// The error of a change: it is certain that nobody got the request with [`CallError::NoProc`], and if a list left
    /// memory in good order before it came to the request.
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
