//! User code that did not return: whether it panicked, exited, threw, or was told to go. The thread edge,
//! `attempt` and the callback guard of servers ask here.

use std::thread::{self, ThreadId};

use crate::panic_hook;
use crate::reason::{ExitReason, PanicReport, ReasonValue};
use crate::unwind::{self, Payload, drop_and_log};

/// How a piece of user code ended, if it did not return.
pub(crate) enum Exception {
    /// Class `error`: it panicked.
    Error(PanicReport),
    /// Class `exit`: it called `exit_with`.
    Exit(ExitReason),
    /// Class `throw`: it called `throw`.
    Throw(Payload),
    /// An exit signal took effect. Whoever catches this must let it go on.
    ExitSignal,
}

impl Exception {
    /// The reason of a process that ends this way; `None` if that was decided by an exit signal.
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

    /// Goes on unwinding as if it had not been caught.
    pub(crate) fn resume(self) -> ! {
        match self {
            Self::Error(report) => unwind::resume(Box::new(ResumedPanic(report))),
            Self::Exit(reason) => exit(reason),
            Self::Throw(value) => throw(value),
            Self::ExitSignal => unwind_on_exit_signal(),
        }
    }
}

struct ExitPayload(ExitReason);
struct ThrowPayload(Payload);
/// On which thread.
struct SignalPayload(ThreadId);
struct ResumedPanic(PanicReport);

/// Unwinds the calling thread because it ends itself with `reason`.
pub(crate) fn exit(reason: ExitReason) -> ! {
    unwind::resume(Box::new(ExitPayload(reason)))
}

/// Unwinds the calling thread with a thrown value.
pub(crate) fn throw(value: Payload) -> ! {
    unwind::resume(Box::new(ThrowPayload(value)))
}

/// Unwinds the calling thread because an exit signal says so.
pub(crate) fn unwind_on_exit_signal() -> ! {
    unwind::resume(Box::new(SignalPayload(thread::current().id())))
}

/// Runs user code and says how it ended.
pub(crate) fn catch<T>(body: impl FnOnce() -> T) -> Result<T, Exception> {
    unwind::catch(body).map_err(classify)
}

fn classify(payload: Payload) -> Exception {
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
    match payload.downcast::<ResumedPanic>() {
        Ok(resumed) => Exception::Error(resumed.0),
        Err(payload) => Exception::Error(panic_hook::report_for(payload)),
    }
}

/// Somebody caught what ends another process, and let it go on here.
const FOREIGN_SIGNAL: &str = "the exit signal of another process was resumed here";
