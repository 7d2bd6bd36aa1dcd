//! What the body of a worker may return: `WorkerResult`.

use std::convert::Infallible;

use crate::process::signals::exit::exit_with;
use crate::reason::IntoExitReason;

/// What the body of a worker may return: see [`ChildSpec::worker`](crate::supervisor::ChildSpec::worker). Other types
/// cannot implement it; `Kind` is inferred.
///
/// | returned | the process exits with |
/// | --- | --- |
/// | `()`, `Ok(())` | [`ExitReason::Normal`](crate::ExitReason::Normal) |
/// | `Err(error)` | the reason that [`or_exit`](crate::OrExit::or_exit) makes of the error, for all types of errors that it accepts |
///
/// `!` and [`Infallible`] stand for a function that does not return; instead of `()` the `Ok` may contain them.
///
/// ```
/// use rethread::prelude::*;
/// use std::time::Duration;
///
/// fn poll() -> Result<(), String> {
///     Err("no answer".to_owned())
/// }
///
/// let children = [
///     ChildSpec::worker("clock", || loop { process::sleep(Duration::from_secs(1)) }),
///     ChildSpec::worker("sensor", || -> Result<Infallible, Box<dyn std::error::Error + Send + Sync>> {
///         loop {
///             process::sleep(Duration::from_secs(1));
///             poll()?;
///         }
///     }),
/// ];
/// let system = Supervisor::start_link(children, Strategy::OneForOne)?;
/// # system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[expect(private_bounds, reason = "sealed: user code does not implement it")]
pub trait WorkerResult<Kind>: ExitOnError<Kind> {}

impl<R: ExitOnError<Kind>, Kind> WorkerResult<Kind> for R {}

/// Ends the body of a worker with what it returned.
pub(crate) trait ExitOnError<Kind> {
    /// Exits the calling process, if this is an error.
    fn exit_on_error(self);
}

/// The type `!`, which can be named only as the output of a function in this version of Rust.
pub(crate) type Never = <fn() -> ! as FnOutput>::Output;

/// A function without arguments.
pub(crate) trait FnOutput {
    type Output;
}

impl<R> FnOutput for fn() -> R {
    type Output = R;
}

impl ExitOnError<()> for () {
    fn exit_on_error(self) {}
}

impl ExitOnError<()> for Never {
    fn exit_on_error(self) {
        self
    }
}

impl ExitOnError<()> for Infallible {
    fn exit_on_error(self) {
        match self {}
    }
}

impl<R: ExitOnError<()>, E: IntoExitReason<Kind>, Kind> ExitOnError<Result<(), Kind>> for Result<R, E> {
    fn exit_on_error(self) {
        match self {
            Ok(value) => value.exit_on_error(),
            Err(error) => exit_with(error.into_exit_reason()),
        }
    }
}
