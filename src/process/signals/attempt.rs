//! `attempt`: Erlang's `try .. catch .. after`. Catches an exception by its class, and always runs the cleanup.
//!
//! Invariant: an exit signal is never caught; its unwind is always resumed.

use std::any::Any;
use std::fmt;

use crate::exception;
use crate::exception::Exception;
use crate::process::control::local;
use crate::process::signals::exit;
use crate::reason::{ExitReason, PanicReport};
use crate::unwind::payload_text;

/// An exception that [`Attempt::result`] caught, by class.
#[non_exhaustive]
pub enum Caught {
    /// Class *error*: a panic.
    Error(PanicReport),
    /// Class *exit*: [`exit_with`](crate::process::exit_with).
    Exit(ExitReason),
    /// Class *throw*: [`throw`](crate::process::throw).
    Throw(Box<dyn Any + Send>),
}

impl Caught {
    /// Resumes the unwind, as if the exception had not been caught.
    pub fn resume(self) -> ! {
        exit::resume_unwind(match self {
            Self::Error(report) => Exception::Error(report),
            Self::Exit(reason) => Exception::Exit(reason),
            Self::Throw(value) => Exception::Throw(value),
        })
    }
}

impl fmt::Debug for Caught {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(report) => f.debug_tuple("Error").field(report).finish(),
            Self::Exit(reason) => f.debug_tuple("Exit").field(reason).finish(),
            Self::Throw(value) => f.debug_tuple("Throw").field(&payload_text(&**value)).finish(),
        }
    }
}

/// Code to run, and its cleanup. Made by [`attempt`].
#[must_use = "nothing runs before result, rescue, catch_exit or catch_throw is called"]
pub struct Attempt<F, A> {
    body: F,
    after: A,
}

impl<F, A> fmt::Debug for Attempt<F, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").finish_non_exhaustive()
    }
}

/// Prepares to run `body` and catch its exceptions. Exceptions of other classes than those asked for unwind
/// further; an exit *signal* cannot be caught.
///
/// | Elixir | here |
/// | --- | --- |
/// | `raise "oops"` | `panic!("oops")` |
/// | `exit(reason)` | [`exit_with(reason)`](crate::process::exit_with) |
/// | `throw(value)` | [`throw(value)`](crate::process::throw) |
/// | `rescue e -> ..` | [`rescue`](Attempt::rescue) |
/// | `catch :exit, reason -> ..` | [`catch_exit`](Attempt::catch_exit) |
/// | `catch value -> ..` | [`catch_throw`](Attempt::catch_throw) |
/// | `catch class, value -> ..` | [`result`](Attempt::result) |
/// | `after ..` | [`after`](Attempt::after) |
///
/// # Differences from Erlang
/// The `after` part, and every destructor, runs also when an exit signal ends the process.
///
/// ```
/// use rethread::process::{self, Caught, attempt};
///
/// process::attach(|| {
///     let answer = attempt(|| -> i32 { panic!("no answer") })
///         .after(|| println!("cleaned up"))
///         .rescue(|error| error.message().len() as i32);
///     assert_eq!(answer, 9);
///
///     match attempt(|| -> i32 { process::exit_with("enough") }).result() {
///         Err(Caught::Exit(reason)) => assert_eq!(reason.to_string(), "enough"),
///         Err(other) => other.resume(),
///         Ok(_) => unreachable!("it never returns"),
///     }
/// })?;
/// # Ok::<(), process::AttachError>(())
/// ```
pub fn attempt<T, F: FnOnce() -> T>(body: F) -> Attempt<F, impl FnOnce()> {
    Attempt { body, after: || () }
}

impl<T, F: FnOnce() -> T, A: FnOnce()> Attempt<F, A> {
    /// Adds a cleanup that always runs last: after success, after a handler, and before an uncaught exception
    /// unwinds further.
    pub fn after(self, clean_up: impl FnOnce()) -> Attempt<F, impl FnOnce()> {
        let Self { body, after } = self;
        let both = || {
            after();
            clean_up();
        };
        Attempt { body, after: both }
    }

    /// Runs the body and returns its value, or the exception, of any class.
    ///
    /// # Errors
    /// The exception.
    pub fn result(self) -> Result<T, Caught> {
        let Self { body, after } = self;
        run(
            || Ok(body()),
            |exception| match exception {
                Exception::Error(report) => Err(Caught::Error(report)),
                Exception::Exit(reason) => Err(Caught::Exit(reason)),
                Exception::Throw(value) => Err(Caught::Throw(value)),
                Exception::ExitSignal => exit::resume_unwind(Exception::ExitSignal),
            },
            after,
        )
    }

    /// Runs the body and turns a panic into a value.
    pub fn rescue(self, handler: impl FnOnce(PanicReport) -> T) -> T {
        run(
            self.body,
            |exception| match exception {
                Exception::Error(report) => handler(report),
                other => exit::resume_unwind(other),
            },
            self.after,
        )
    }

    /// Runs the body and turns its own exit into a value.
    pub fn catch_exit(self, handler: impl FnOnce(ExitReason) -> T) -> T {
        run(
            self.body,
            |exception| match exception {
                Exception::Exit(reason) => handler(reason),
                other => exit::resume_unwind(other),
            },
            self.after,
        )
    }

    /// Runs the body and turns a thrown value of type `B` into a value; throws of other types unwind further.
    pub fn catch_throw<B: Any>(self, handler: impl FnOnce(B) -> T) -> T {
        run(
            self.body,
            |exception| match exception {
                Exception::Throw(value) => match value.downcast::<B>() {
                    Ok(thrown) => handler(*thrown),
                    Err(value) => exit::resume_unwind(Exception::Throw(value)),
                },
                other => exit::resume_unwind(other),
            },
            self.after,
        )
    }
}

/// Runs the body, then the handler if the body unwound, then the cleanup, no matter how these two ended.
fn run<T>(body: impl FnOnce() -> T, handler: impl FnOnce(Exception) -> T, after: impl FnOnce()) -> T {
    // The handler may unwind as well; the cleanup runs in any case. An exit signal goes past the handler.
    let outcome = catch(body).or_else(|exception| match exception {
        Exception::ExitSignal => Err(Exception::ExitSignal),
        other => catch(|| handler(other)),
    });
    match local::get().filter(|me| me.block.is_exiting()) {
        // The process is exiting: without the mask, the first runtime call of the cleanup would unwind, because of
        // the same signal.
        Some(me) => me.with_signals_masked(after),
        None => after(),
    }
    // After the cleanup: this starts a new deadline for the rest of the unwind.
    outcome.unwrap_or_else(|exception| exit::resume_unwind(exception))
}

/// Catches an exception and cancels the deadline of its unwind.
fn catch<T>(body: impl FnOnce() -> T) -> Result<T, Exception> {
    let outcome = exception::catch(body);
    if let (Err(_), Some(me)) = (&outcome, local::get()) {
        me.on_unwind_caught();
    }
    outcome
}
