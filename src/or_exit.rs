//! `or_exit`, which exits the calling process on an error (like Elixir's functions with `!`), and the conversion of errors
//! into exit reasons.

use std::error::Error;

use crate::child_spec::StartError;
use crate::gen_server::call::{CallError, StopError};
use crate::process::error::AttachError;
use crate::process::error::LinkError;
use crate::process::signals::exit::exit_with;
use crate::reason::{CallFailure, ExitReason};
use crate::task::handle::JoinError;

/// Exits the calling process if a result is an error.
pub trait OrExit<T> {
    /// Returns the value. On an error, exits the calling process with the reason of [`ExitReason::error`].
    ///
    /// A failed call becomes [`ExitReason::Call`] with the exit reason of the server; so does the failed join of a task.
    /// A failed start becomes the reason of the failure. Any other error is contained in the reason as it is.
    ///
    /// `Box<dyn Error + Send + Sync>` does not implement [`Error`]: use
    /// `.unwrap_or_else(|error| process::exit_with(error))`, or `.map_err(InitError::stop)?` in `init`. Errors of `anyhow`
    /// convert into such boxes with `into`.
    ///
    /// # Panics
    /// On a thread that is not a process, if the result is an error.
    ///
    /// ```
    /// use rethread::prelude::*;
    ///
    /// let result = process::attach(|| {
    ///     let number: i32 = "forty-two".parse().or_exit();
    ///     number
    /// });
    /// assert_eq!(result.unwrap_err().to_string(), "invalid digit found in string");
    /// ```
    fn or_exit(self) -> T;
}

impl<T, E: Error + Send + Sync + 'static> OrExit<T> for Result<T, E> {
    #[track_caller]
    fn or_exit(self) -> T {
        match self {
            Ok(value) => value,
            Err(error) => exit_with(ExitReason::error(error)),
        }
    }
}

impl ExitReason {
    /// Converts an error into an exit reason: a failed call or join into [`ExitReason::Call`]; a failed start, a failed
    /// stop and the exit of an attached process into the reason in the error. Any other error is contained in the reason
    /// as it is, and [`downcast_ref`](Self::downcast_ref) returns it.
    ///
    /// ```
    /// use rethread::ExitReason;
    ///
    /// let reason = ExitReason::error("x".parse::<i32>().unwrap_err());
    /// assert_eq!(reason.to_string(), "invalid digit found in string");
    /// assert!(reason.downcast_ref::<std::num::ParseIntError>().is_some());
    /// ```
    pub fn error<E: Error + Send + Sync + 'static>(error: E) -> Self {
        exit_reason_of(&error).unwrap_or_else(|| Self::from_error_value(error))
    }
}

/// Converts a boxed error into an exit reason, like [`ExitReason::error`]. Errors of `anyhow` and similar crates convert
/// into such a box with `into`. If the reason contains the error as it is, [`downcast_ref`](ExitReason::downcast_ref)
/// returns it as the box.
///
/// ```
/// use std::error::Error;
/// use rethread::ExitReason;
///
/// let error: Box<dyn Error + Send + Sync> = "no configuration".into();
/// assert_eq!(ExitReason::from(error).to_string(), "no configuration");
/// ```
impl From<Box<dyn Error + Send + Sync>> for ExitReason {
    fn from(error: Box<dyn Error + Send + Sync>) -> Self {
        exit_reason_of(&*error).unwrap_or_else(|| Self::from_boxed_error(error))
    }
}

/// Returns the exit reason in an error of this crate; `None` for any other error.
fn exit_reason_of(error: &(dyn Error + 'static)) -> Option<ExitReason> {
    // `or_exit` accepts every error type, so the types of this crate are found by downcasting.
    if let Some(call) = error.downcast_ref() {
        Some(call_failure(call))
    } else if let Some(join) = error.downcast_ref() {
        Some(join_failure(join))
    } else if let Some(StartError::Failed(reason) | StartError::NoSupervisor(reason)) = error.downcast_ref() {
        Some(reason.clone())
    } else if let Some(StartError::Timeout) = error.downcast_ref() {
        Some(ExitReason::Timeout)
    } else if let Some(StopError::Exited(reason)) = error.downcast_ref() {
        Some(reason.clone())
    } else if let Some(AttachError::Exited(reason)) = error.downcast_ref() {
        Some(reason.clone())
    } else if let Some(LinkError::NoProc) = error.downcast_ref() {
        Some(ExitReason::NoProc)
    } else if let Some(StopError::NoProc) = error.downcast_ref() {
        Some(ExitReason::NoProc)
    } else {
        None
    }
}

/// Converts a failed call: Erlang's `{Why, {gen_server, call, ..}}`.
fn call_failure(error: &CallError) -> ExitReason {
    let (reason, server) = match error {
        CallError::NoProc { server } => (ExitReason::NoProc, server),
        CallError::Exited { server, reason } => (reason.clone(), server),
        CallError::Timeout { server, .. } => (ExitReason::Timeout, server),
        CallError::CallingSelf { server } => (ExitReason::new("calling_self"), server),
        CallError::NoReply { server } => (ExitReason::new("noreply"), server),
        CallError::WrongType { server, .. } => (ExitReason::from_error_value(error.clone()), server),
        // The cycle begins with the caller; the next process is the one that it called.
        CallError::Deadlock { cycle } => {
            let server = cycle.get(1).map(ToString::to_string).unwrap_or_default();
            return ExitReason::Call(
                CallFailure::new(ExitReason::from_error_value(error.clone()), &server.into()).into(),
            );
        }
        // The call was not sent to any server.
        CallError::Exiting => return ExitReason::from_error_value(error.clone()),
    };
    ExitReason::Call(CallFailure::new(reason, server).into())
}

/// Converts a failed join: Elixir's `{Why, {Task, await, ..}}`.
fn join_failure(error: &JoinError) -> ExitReason {
    let (reason, task) = match error {
        JoinError::Exited { task, reason } => (reason.clone(), Some(task)),
        JoinError::Timeout { task, .. } => (ExitReason::Timeout, Some(task)),
        JoinError::Deadlock { cycle } => (ExitReason::from_error_value(error.clone()), cycle.get(1)),
        // There was no task to join.
        JoinError::NotStarted(error) => return ExitReason::error(error.clone()),
        JoinError::Exiting => return ExitReason::from_error_value(error.clone()),
    };
    let task = task.map_or_else(String::new, |task| format!("task {task}"));
    ExitReason::Call(CallFailure::new(reason, &task.into()).into())
}
