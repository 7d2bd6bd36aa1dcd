//! `or_exit`, which exits the calling process with an error as the reason, and the conversion of errors into exit
//! reasons.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use crate::application::exit::ApplicationError;
use crate::call_error::{CallError, StopError};
use crate::child_spec::StartError;
use crate::process::error::{AttachError, LinkError, NameError, SpawnError};
use crate::process::signals::exit::exit_with;
use crate::reason::{CallFailure, ErrorReport, ErrorText, ExitReason, IntoExitReason};
use crate::supervisor::child::ChildError;
use crate::task::handle::JoinError;

/// Exits the calling process if a result is an error. Other types than [`Result`] cannot implement it; `Kind` is the
/// kind of error, and is inferred.
#[expect(private_bounds, reason = "sealed: only `Result` implements it")]
pub trait OrExit<T, Kind>: Sealed {
    /// Returns the value. On an error, exits the calling process with the reason of [`ExitReason::error`]: a failed call
    /// becomes [`ExitReason::Call`] with the exit reason of the server, a failed start the reason of the failure, and so
    /// on; any other error is contained in the reason as it is, and
    /// [`downcast_ref`](ExitReason::downcast_ref) returns it.
    ///
    /// | error | in the reason |
    /// | --- | --- |
    /// | a type that implements [`Error`], `Send` and `Sync` | the error; the text shows its sources, too |
    /// | `Box<dyn Error + Send + Sync>`, `anyhow::Error`, `eyre::Report`, `miette::Report` | the box, or what [`ExitReason::error`] makes of the error in it |
    /// | `Box<dyn Error>` | its text, or what [`ExitReason::error`] makes of the error in it: the box itself must stay on its thread |
    /// | `String`, `&str`, `Cow<str>` | the text, as a `String` |
    /// | [`ExitReason`] | nothing else: it is the reason |
    ///
    /// For any other type that converts into `Box<dyn Error + Send + Sync>` write `.map_err(Box::<dyn Error + Send +
    /// Sync>::from)` first.
    ///
    /// # Differences from Erlang
    /// This is Elixir's `exit(error)`, of class *exit*, not a function with `!`, which raises: a plain process that
    /// exits by it logs no crash, [`catch_exit`](crate::process::Attempt::catch_exit) catches it, and
    /// [`rescue`](crate::process::Attempt::rescue) does not. `expect` and `unwrap` raise.
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
    ///
    /// let result = process::attach(|| Err("no configuration".to_owned()).or_exit());
    /// assert_eq!(result, Err(process::AttachError::Exited("no configuration".into())) as Result<(), _>);
    /// ```
    fn or_exit(self) -> T;
}

/// Implemented by the types that may implement [`OrExit`].
trait Sealed {}

impl<T, E> Sealed for Result<T, E> {}

impl<T, E: IntoExitReason<Kind>, Kind> OrExit<T, Kind> for Result<T, E> {
    #[track_caller]
    fn or_exit(self) -> T {
        match self {
            Ok(value) => value,
            Err(error) => exit_with(error.into_exit_reason()),
        }
    }
}

impl<E: Error + Send + Sync + 'static> IntoExitReason<&'static dyn Error> for E {
    fn into_exit_reason(self) -> ExitReason {
        ExitReason::error(self)
    }
}

impl<E: ErrorReport> IntoExitReason<Box<dyn Error + Send + Sync>> for E {
    fn into_exit_reason(self) -> ExitReason {
        exit_reason_of(self.as_ref()).unwrap_or_else(|| ExitReason::from_report(self))
    }
}

impl IntoExitReason<Box<dyn Error>> for Box<dyn Error> {
    fn into_exit_reason(self) -> ExitReason {
        // A reason may be dropped on any thread, this box only on its own.
        exit_reason_of(&*self).unwrap_or_else(|| ExitReason::new(ErrorText(&*self).to_string()))
    }
}

impl IntoExitReason<String> for String {
    fn into_exit_reason(self) -> ExitReason {
        self.into()
    }
}

impl IntoExitReason<&'static str> for &str {
    fn into_exit_reason(self) -> ExitReason {
        self.to_owned().into()
    }
}

impl IntoExitReason<Cow<'static, str>> for Cow<'_, str> {
    fn into_exit_reason(self) -> ExitReason {
        self.into_owned().into()
    }
}

impl IntoExitReason<Self> for ExitReason {
    fn into_exit_reason(self) -> ExitReason {
        self
    }
}

impl ExitReason {
    /// Converts an error into an exit reason. An error of this crate that contains the exit reason of another process, or
    /// has a standard reason, becomes that reason. Any other error is contained in the reason as it is, and
    /// [`downcast_ref`](Self::downcast_ref) returns it.
    ///
    /// | error | exit reason |
    /// | --- | --- |
    /// | [`CallError`] `NoProc`, `Exited`, `Timeout` | [`Call`](Self::Call) with `NoProc`, the reason of the server, `Timeout` |
    /// | [`CallError`] `NoReply`, `CallingSelf` | [`Call`](Self::Call) with the text `noreply`, `calling_self` |
    /// | [`CallError`] `WrongType`, `Deadlock` | [`Call`](Self::Call) with the error |
    /// | [`JoinError`] `Exited`, `Timeout` | [`Call`](Self::Call) with the reason of the task, `Timeout` |
    /// | [`JoinError`] `Deadlock` | [`Call`](Self::Call) with the error |
    /// | [`JoinError`] `NotStarted` | that of the [`StartError`] in it |
    /// | [`StartError`] `Failed`, `Timeout` | the reason of the failure, [`Timeout`](Self::Timeout) |
    /// | [`StartError`] `NoSupervisor` | that of the failed call |
    /// | [`StopError`] `NoProc`, `Exited`, `Timeout` | [`NoProc`](Self::NoProc), the reason of the server, [`Timeout`](Self::Timeout) |
    /// | [`ChildError`] `Start`, `NoSupervisor` | that of the error in it |
    /// | [`ApplicationError`] `Failed` | that of the [`StartError`] in it |
    /// | [`AttachError`] `Exited`, `Spawn` | the reason of the process, that of the [`SpawnError`] in it |
    /// | [`LinkError`], [`NameError`] `NoProc` | [`NoProc`](Self::NoProc) |
    /// | [`SpawnError`], [`StartError`] `Name` | that of the [`NameError`] in it |
    /// | any other variant, any other error | [`Other`](Self::Other) with the error |
    ///
    /// [`SpawnError`]: crate::process::SpawnError
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

    /// Converts what `?` was applied to in an `init`: an error, an error report, or text. Like [`ExitReason::error`]
    /// for all of them, except that the sources of an error cannot be found.
    pub(crate) fn from_convertible<E: Any + fmt::Display + fmt::Debug + Send + Sync>(error: E) -> Self {
        /// Takes the value, if its type is `T`.
        fn take<T: Any>(slot: &mut dyn Any) -> Option<T> {
            slot.downcast_mut::<Option<T>>().and_then(Option::take)
        }
        if let Some(reason) = exit_reason_of_any(&error) {
            return reason;
        }
        let mut slot = Some(error);
        if let Some(report) = take::<Box<dyn Error + Send + Sync>>(&mut slot) {
            return report.into();
        }
        if let Some(text) = take::<String>(&mut slot) {
            return text.into();
        }
        if let Some(text) = take::<&'static str>(&mut slot) {
            return text.into();
        }
        let Some(error) = slot else { unreachable!("what was taken has been returned") };
        Self::from_printable(error)
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
        exit_reason_of(&*error).unwrap_or_else(|| Self::from_report(error))
    }
}

/// Writes a function that returns the exit reason in an error of this crate, and `None` for any other value. The types
/// are found by downcasting, because every error type is accepted.
macro_rules! define_exit_reason_of {
    ($name:ident, $value:ty) => {
        fn $name(error: &$value) -> Option<ExitReason> {
            if let Some(call) = error.downcast_ref() {
                Some(call_failure(call))
            } else if let Some(join) = error.downcast_ref() {
                Some(join_failure(join))
            } else if let Some(start) = error.downcast_ref() {
                start_failure(start)
            } else if let Some(stop) = error.downcast_ref() {
                stop_failure(stop)
            } else if let Some(child) = error.downcast_ref() {
                child_failure(child)
            } else if let Some(attach) = error.downcast_ref() {
                Some(attach_failure(attach))
            } else if let Some(SpawnError::Name(name)) = error.downcast_ref() {
                Some(ExitReason::error(name.clone()))
            } else if let Some(ApplicationError::Failed(start)) = error.downcast_ref() {
                Some(ExitReason::error(start.clone()))
            } else if matches!(error.downcast_ref(), Some(LinkError::NoProc))
                || matches!(error.downcast_ref(), Some(NameError::NoProc))
            {
                Some(ExitReason::NoProc)
            } else {
                None
            }
        }
    };
}

define_exit_reason_of!(exit_reason_of, dyn Error + 'static);
define_exit_reason_of!(exit_reason_of_any, dyn Any);

/// Returns the exit reason in a failed request to a supervisor; `None` if the error itself is the reason.
fn child_failure(error: &ChildError) -> Option<ExitReason> {
    match error {
        ChildError::Start(start) => Some(ExitReason::error(start.clone())),
        ChildError::NoSupervisor(call) => Some(call_failure(call)),
        _ => None,
    }
}

fn attach_failure(error: &AttachError) -> ExitReason {
    match error {
        AttachError::Exited(reason) => reason.clone(),
        AttachError::Spawn(spawn) => ExitReason::error(spawn.clone()),
    }
}

/// Returns the exit reason in a failed start; `None` if the error itself is the reason.
fn start_failure(error: &StartError) -> Option<ExitReason> {
    match error {
        StartError::Failed(reason) => Some(reason.clone()),
        StartError::NoSupervisor(call) => Some(call_failure(call)),
        StartError::Timeout { .. } => Some(ExitReason::Timeout),
        StartError::Name(name) => Some(ExitReason::error(name.clone())),
        _ => None,
    }
}

/// Returns the exit reason in a failed stop; `None` if the error itself is the reason.
fn stop_failure(error: &StopError) -> Option<ExitReason> {
    match error {
        StopError::Exited { reason, .. } => Some(reason.clone()),
        StopError::NoProc { .. } => Some(ExitReason::NoProc),
        StopError::Timeout { .. } => Some(ExitReason::Timeout),
        _ => None,
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
