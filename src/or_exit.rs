//! Let it crash, with the true reason: how an error becomes an exit reason, and `or_exit`, Elixir's `!`
//! habit. User code and `?` in `init` use it.

use std::error::Error;

use crate::child_spec::StartError;
use crate::gen_server::call::{CallError, StopError};
use crate::process::lifecycle::attach::AttachError;
use crate::process::signals::exit::exit_with;
use crate::process::signals::link::LinkError;
use crate::reason::{CallFailure, ExitReason};
use crate::task::handle::JoinError;

/// Ends the calling process if there is no value.
pub trait OrExit<T> {
    /// The value; or the calling process ends, with the reason the error stands for.
    ///
    /// A failed call becomes [`ExitReason::Call`] with the reason the server ended with, so does the failed join
    /// of a task; a failed start becomes the reason it failed with; any other error is carried as it is.
    ///
    /// A `Box<dyn Error + Send + Sync>` is itself no [`Error`]: end with
    /// `.unwrap_or_else(|error| process::exit_with(error))`, and an `init` with `.map_err(InitError::stop)?`. Errors of
    /// `anyhow` become such boxes by `into`.
    ///
    /// # Panics
    /// On a thread that is not a process there is nothing to end: it panics.
    ///
    /// ```
    /// use rethread::prelude::*;
    /// use rethread::process::{self, Inbox};
    ///
    /// let ended = process::attach(|_: &mut Inbox<()>| {
    ///     let number: i32 = "forty-two".parse().or_exit();
    ///     number
    /// });
    /// assert_eq!(ended.unwrap_err().to_string(), "invalid digit found in string");
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
    /// The reason an error stands for: of a failed call or join [`ExitReason::Call`], of a failed start or stop, and
    /// of what ended an attached process, the reason in it; any other error is carried as it is and can be had
    /// back by [`downcast_ref`](Self::downcast_ref).
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

/// The reason an error of unknown type stands for, as [`ExitReason::error`]; errors of `anyhow` and its like become
/// such a box by `into`. What is carried as it is, [`downcast_ref`](ExitReason::downcast_ref) gives back as the box.
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

/// The exit reason that an error of this crate about the end of a process stands for.
fn exit_reason_of(error: &(dyn Error + 'static)) -> Option<ExitReason> {
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

/// `{Why, {gen_server, call, ..}}`.
fn call_failure(error: &CallError) -> ExitReason {
    let (reason, server) = match error {
        CallError::NoProc { server } => (ExitReason::NoProc, server),
        CallError::Exited { server, reason } => (reason.clone(), server),
        CallError::Timeout { server, .. } => (ExitReason::Timeout, server),
        CallError::CallingSelf { server } => (ExitReason::new("calling_self"), server),
        CallError::NoReply { server } => (ExitReason::new("noreply"), server),
        CallError::WrongType { server, .. } => (ExitReason::from_error_value(error.clone()), server),
        CallError::Deadlock { cycle } => {
            let server = cycle.get(1).map(ToString::to_string).unwrap_or_default();
            return ExitReason::Call(
                CallFailure::new(ExitReason::from_error_value(error.clone()), &server.into()).into(),
            );
        }
        CallError::Exiting => return ExitReason::from_error_value(error.clone()),
    };
    ExitReason::Call(CallFailure::new(reason, server).into())
}

/// `{Why, {Task, await, ..}}`.
fn join_failure(error: &JoinError) -> ExitReason {
    let (reason, task) = match error {
        JoinError::Exited { task, reason } => (reason.clone(), Some(task)),
        JoinError::Timeout { task, .. } => (ExitReason::Timeout, Some(task)),
        JoinError::Deadlock { cycle } => (ExitReason::from_error_value(error.clone()), cycle.get(1)),
        JoinError::NotStarted(error) => return ExitReason::error(error.clone()),
        JoinError::Exiting => return ExitReason::from_error_value(error.clone()),
    };
    let task = task.map_or_else(String::new, |task| format!("task {task}"));
    ExitReason::Call(CallFailure::new(reason, &task.into()).into())
}
