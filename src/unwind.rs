//! The one home of `catch_unwind` and `resume_unwind`. `unwound` puts meaning to what is caught; whoever
//! runs user code that must not disturb its surroundings calls `contain`.

use std::any::Any;
use std::cell::Cell;
use std::io::Write;
use std::panic::{self, AssertUnwindSafe};

/// What travels up an unwinding stack.
pub(crate) type Payload = Box<dyn Any + Send>;

/// Runs user code and catches whatever unwinds out of it. What it leaves half-done behind a panic is its
/// own: a process shares nothing but what its author put into an `Arc`.
#[expect(clippy::disallowed_methods, reason = "this file is the one home of unwinding")]
pub(crate) fn catch<T>(body: impl FnOnce() -> T) -> Result<T, Payload> {
    panic::catch_unwind(AssertUnwindSafe(body))
}

/// Unwinds the calling thread without the panic hook.
#[expect(clippy::disallowed_methods, reason = "this file is the one home of unwinding")]
pub(crate) fn resume(payload: Payload) -> ! {
    panic::resume_unwind(payload)
}

/// Runs a piece of user code that must not disturb its surroundings: a destructor, a hook, a log sink.
/// A panic in it is noted in the log and goes no further.
pub(crate) fn catch_and_log(what: &str, body: impl FnOnce()) {
    struct Depth;
    impl Drop for Depth {
        fn drop(&mut self) {
            let _ = CATCH_DEPTH.try_with(|depth| depth.set(depth.get() - 1));
        }
    }
    let depth = CATCH_DEPTH.try_with(|depth| depth.set(depth.get() + 1)).map(|()| Depth);
    let outcome = catch(body);
    drop(depth);
    if let Err(payload) = outcome {
        // The log sink is user code too; if it is what panics, there is nobody left to tell.
        let log_result = catch(|| log::error!("{what} panicked: {}", payload_text(&*payload)));
        drop_payload(payload);
        if let Err(payload) = log_result {
            drop_payload(payload);
        }
    }
}

thread_local! {
    static CATCH_DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Whether a panic here and now goes no further than a `contain`: it says nothing of the process it is in.
pub(crate) fn in_catch_and_log() -> bool {
    CATCH_DEPTH.try_with(Cell::get).unwrap_or(0) > 0
}

/// Drops a payload whose destructor may panic, and so on: the second one is leaked.
pub(crate) fn drop_payload(payload: Payload) {
    if let Err(second) = catch(move || drop(payload)) {
        std::mem::forget(second);
    }
}

/// The text of a payload, or that it has none.
pub(crate) fn payload_text(payload: &(dyn Any + Send)) -> &str {
    as_text(payload).unwrap_or("a payload that is not text")
}

/// The text in a panic payload, a thrown value or a reason, if it is one.
pub(crate) fn as_text(value: &dyn Any) -> Option<&str> {
    value
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| value.downcast_ref::<String>().map(String::as_str))
}

/// Turns a panic in the runtime's own bookkeeping into an abort: a half-done burial would leave links
/// and monitors waiting for ever, which is worse than an honest end.
/// To be disarmed when the work is done: whether the thread is panicking says nothing, since the work may be
/// done in a destructor of a panicking foreign thread.
pub(crate) struct AbortIfPanic;

impl AbortIfPanic {
    pub(crate) fn disarm(self) {
        std::mem::forget(self);
    }
}

impl Drop for AbortIfPanic {
    fn drop(&mut self) {
        log::error!("rethread: a panic in the runtime itself, aborting");
        // Also where nobody listens to the log.
        let _ = std::io::stderr().write_all(b"rethread: a panic in the runtime itself, aborting\n");
        std::process::abort();
    }
}
