//! `attempt`: Erlang's `try .. catch .. after`. Catches what a piece of code raised, by class, and always
//! runs its clean-up. Called by user code only.

use std::any::Any;
use std::fmt;

use crate::exception;
use crate::exception::Exception;
use crate::process::control::local;
use crate::process::signals::exit;
use crate::reason::{ExitReason, PanicReport};
use crate::unwind::payload_text;

/// What [`Attempt::result`] caught, by class.
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
    /// Goes on unwinding, as if it had not been caught.
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

/// A piece of code to be run with something caught; made by [`attempt`].
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

/// Prepares to run `body` and catch what it raises. What is not asked for goes on unwinding; an exit
/// *signal* cannot be caught.
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
/// use rethread::process::{self, Caught, Inbox, attempt};
///
/// process::attach(|_: &mut Inbox<()>| {
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
    /// Adds clean-up that always runs last: after success, after a handler, and when something uncaught
    /// goes on unwinding.
    pub fn after(self, clean_up: impl FnOnce()) -> Attempt<F, impl FnOnce()> {
        let Self { body, after } = self;
        let both = || {
            after();
            clean_up();
        };
        Attempt { body, after: both }
    }

    /// Runs it and returns what it returned, or what was caught, of whichever class.
    ///
    /// # Errors
    /// What was raised.
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

    /// Runs it and turns a panic into a value.
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

    /// Runs it and turns an exit of its own into a value.
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

    /// Runs it and turns a thrown value of type `B` into a value; throws of other types go on.
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

/// Body, then the handler if something unwound, then the clean-up, whatever those two did.
fn run<T>(body: impl FnOnce() -> T, handler: impl FnOnce(Exception) -> T, after: impl FnOnce()) -> T {
    let outcome = catch(body).or_else(|exception| match exception {
        Exception::ExitSignal => Err(Exception::ExitSignal),
        other => catch(|| handler(other)),
    });
    match local::get().filter(|me| me.block.is_exiting()) {
        // The clean-up of a process that is told to go must not be cut short by the same signal, noticed or not.
        Some(me) => me.with_signals_masked(after),
        None => after(),
    }
    outcome.unwrap_or_else(|exception| exit::resume_unwind(exception))
}

fn catch<T>(body: impl FnOnce() -> T) -> Result<T, Exception> {
    let outcome = exception::catch(body);
    if let (Err(_), Some(me)) = (&outcome, local::get()) {
        me.on_unwind_caught();
    }
    outcome
}
