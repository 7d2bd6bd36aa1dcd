//! Catching and resuming panics: the only file that calls `catch_unwind` and `resume_unwind`. `exception` classifies
//! what is caught here.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::io::Write;
use std::mem::{forget, needs_drop};
use std::ops::Deref;
use std::panic::{self, AssertUnwindSafe};

/// The payload of a panic.
pub(crate) type Payload = Box<dyn Any + Send>;

/// Runs user code and catches every panic in it.
///
/// `AssertUnwindSafe`: a value that a panic leaves half-changed is visible only to code that shares it through an
/// `Arc`, which is the author's own choice.
#[expect(clippy::disallowed_methods, reason = "this file is the one home of unwinding")]
pub(crate) fn catch<T>(body: impl FnOnce() -> T) -> Result<T, Payload> {
    panic::catch_unwind(AssertUnwindSafe(body))
}

/// Unwinds the calling thread without calling the panic hook.
#[expect(clippy::disallowed_methods, reason = "this file is the one home of unwinding")]
pub(crate) fn resume(payload: Payload) -> ! {
    panic::resume_unwind(payload)
}

/// Runs user code whose panic must not reach the caller: a destructor, a hook, a log sink. Logs the panic as
/// "panic in {what}: {message}".
pub(crate) fn catch_and_log(what: impl fmt::Display, body: impl FnOnce()) {
    struct Depth;
    impl Drop for Depth {
        fn drop(&mut self) {
            let _ = CATCH_DEPTH.try_with(|depth| depth.set(depth.get() - 1));
        }
    }
    // Fails when the thread's locals are already destroyed; then the panic hook has no record to keep either.
    let depth = CATCH_DEPTH.try_with(|depth| depth.set(depth.get() + 1)).map(|()| Depth);
    let outcome = catch(body);
    drop(depth);
    if let Err(payload) = outcome {
        // The log sink is user code and may panic too. That second panic cannot be reported anywhere.
        let log_result = catch(|| log::error!("panic in {what}: {}", payload_text(&*payload)));
        drop_payload(payload);
        if let Err(payload) = log_result {
            drop_payload(payload);
        }
    }
}

thread_local! {
    /// How many calls of `catch_and_log` are on the stack of this thread.
    static CATCH_DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Returns `true` inside `catch_and_log`, where a panic does not end the process.
pub(crate) fn in_catch_and_log() -> bool {
    CATCH_DEPTH.try_with(Cell::get).unwrap_or(0) > 0
}

/// Drops a user value. A panic in its destructor is logged as "panic in drop of {what}: {message}" and goes no
/// further.
pub(crate) fn drop_and_log<T>(what: &str, value: T) {
    // Most values have no destructor: skip the bookkeeping.
    if needs_drop::<T>() {
        catch_and_log(format_args!("drop of {what}"), move || drop(value));
    }
}

/// A user value that is dropped with [`drop_and_log`], wherever its owner is dropped.
pub(crate) struct ContainedDrop<T> {
    what: &'static str,
    /// `None` only while `into_inner` or the destructor runs.
    value: Option<T>,
}

impl<T> ContainedDrop<T> {
    /// Wraps a value; `what` names it in the log.
    pub(crate) fn new(what: &'static str, value: T) -> Self {
        Self { what, value: Some(value) }
    }

    pub(crate) fn get(&self) -> &T {
        // `into_inner` and the destructor have exclusive access, so no caller of `get` can see `None`.
        let Some(value) = &self.value else {
            unreachable!("the value is taken only when the wrapper is consumed")
        };
        value
    }

    /// Unwraps the value: from now on its drop is not contained.
    pub(crate) fn into_inner(mut self) -> T {
        let Some(value) = self.value.take() else {
            unreachable!("the value is taken only when the wrapper is consumed")
        };
        value
    }
}

impl<T> Deref for ContainedDrop<T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.get()
    }
}

impl<T> Drop for ContainedDrop<T> {
    fn drop(&mut self) {
        // Taken, because fields are dropped after this function, where a panic is not contained.
        drop_and_log(self.what, self.value.take());
    }
}

/// Drops a panic payload. If its destructor panics, the payload of that second panic is leaked: its destructor may
/// panic again.
pub(crate) fn drop_payload(payload: Payload) {
    if let Err(second) = catch(move || drop(payload)) {
        forget(second);
    }
}

/// Returns the text of a panic payload, or a placeholder if it is not a string.
pub(crate) fn payload_text(payload: &(dyn Any + Send)) -> &str {
    as_text(payload).unwrap_or("<non-string payload>")
}

/// Returns the text of a panic payload, a thrown value or an exit reason if it is a `&'static str` or a `String`.
pub(crate) fn as_text(value: &dyn Any) -> Option<&str> {
    value
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| value.downcast_ref::<String>().map(String::as_str))
}

/// Aborts the program when dropped: a panic in the runtime itself would leave an exit half-done, with links and
/// monitors that are never notified.
///
/// The owner calls [`disarm`](Self::disarm) when the work is complete. `thread::panicking()` cannot decide this: the
/// work may run in a destructor on a thread that is panicking already.
pub(crate) struct AbortIfPanic;

impl AbortIfPanic {
    pub(crate) fn disarm(self) {
        forget(self);
    }
}

impl Drop for AbortIfPanic {
    fn drop(&mut self) {
        log::error!("rethread: panic in the runtime itself, aborting");
        // Also for programs without a logger.
        let _ = std::io::stderr().write_all(b"rethread: panic in the runtime itself, aborting\n");
        std::process::abort();
    }
}
