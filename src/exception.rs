//! Exceptions in Erlang's sense: a caught panic payload is classified as error, exit or throw, or as an exit signal.

use std::thread::{self, ThreadId};

use crate::panic_hook;
use crate::reason::{ExitReason, PanicReport, ReasonValue};
use crate::unwind::{self, Payload, drop_and_log};

/// Why user code unwound.
pub(crate) enum Exception {
    /// Class `error`: a panic.
    Error(PanicReport),
    /// Class `exit`: a call of `exit_with`.
    Exit(ExitReason),
    /// Class `throw`: a call of `throw`.
    Throw(Payload),
    /// An exit signal took effect. Code that catches it must resume it.
    ExitSignal,
}

impl Exception {
    /// Returns the exit reason of a process that does not catch this; `None` for an exit signal, whose reason is in the
    /// control block.
    pub(crate) fn into_exit_reason(self) -> Option<ExitReason> {
        match self {
            Self::Error(report) => Some(ExitReason::Panic(report)),
            Self::Exit(reason) => Some(reason),
            Self::Throw(value) => {
                let reason_value = ReasonValue::from_thrown(&*value);
                drop_and_log("thrown value", value);
                Some(ExitReason::NoCatch(reason_value))
            }
            Self::ExitSignal => None,
        }
    }

    /// Resumes the unwinding.
    pub(crate) fn resume(self) -> ! {
        match self {
            Self::Error(report) => unwind::resume(Box::new(ResumedPanic(report))),
            Self::Exit(reason) => exit(reason),
            Self::Throw(value) => throw(value),
            Self::ExitSignal => unwind_on_exit_signal(),
        }
    }
}

/// The payload of `exit`.
struct ExitPayload(ExitReason);
/// The payload of `throw`.
struct ThrowPayload(Payload);
/// The payload of an exit signal: the thread of the process that it ends.
struct SignalPayload(ThreadId);
/// The payload of an `Error` that was caught and resumed.
struct ResumedPanic(PanicReport);

/// Unwinds the calling thread with an exit reason.
pub(crate) fn exit(reason: ExitReason) -> ! {
    unwind::resume(Box::new(ExitPayload(reason)))
}

/// Unwinds the calling thread with a thrown value.
pub(crate) fn throw(value: Payload) -> ! {
    unwind::resume(Box::new(ThrowPayload(value)))
}

/// Unwinds the calling thread because of an exit signal.
pub(crate) fn unwind_on_exit_signal() -> ! {
    unwind::resume(Box::new(SignalPayload(thread::current().id())))
}

/// Runs user code and catches what unwinds it.
pub(crate) fn catch<T>(body: impl FnOnce() -> T) -> Result<T, Exception> {
    unwind::catch(body).map_err(classify)
}

/// Converts a caught payload into an exception.
fn classify(payload: Payload) -> Exception {
    // User code may catch the payload of another process' exit signal and resume it on this thread. That must not count
    // as an exit signal of this process.
    let payload = match payload.downcast::<SignalPayload>() {
        Ok(signal) if signal.0 == thread::current().id() => return Exception::ExitSignal,
        Ok(_) => return Exception::Error(PanicReport::new(FOREIGN_SIGNAL.to_owned(), None, None, None)),
        Err(payload) => payload,
    };
    let payload = match payload.downcast::<ExitPayload>() {
        Ok(exit) => return Exception::Exit(exit.0),
        Err(payload) => payload,
    };
    let payload = match payload.downcast::<ThrowPayload>() {
        Ok(thrown) => return Exception::Throw(thrown.0),
        Err(payload) => payload,
    };
    // What remains is a panic: one that `Exception::resume` resumed, or a new one.
    match payload.downcast::<ResumedPanic>() {
        Ok(resumed) => Exception::Error(resumed.0),
        Err(payload) => Exception::Error(panic_hook::report_for(payload)),
    }
}

/// Message of the panic report for an exit signal of another process.
const FOREIGN_SIGNAL: &str = "the exit signal of another process was resumed here";
