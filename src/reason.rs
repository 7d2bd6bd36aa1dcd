//! Why a process ended, as links, monitors and supervisors see it. Everybody who tells or hears of a
//! death uses it.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use crate::sync::Mutex;
use crate::unwind::{ContainedDrop, Payload, as_text};

/// Why a process ended.
///
/// Cloning is cheap (reference counts), because one death is told to every link and monitor.
///
/// | Erlang | here |
/// | --- | --- |
/// | `normal` | [`Normal`](Self::Normal) |
/// | `shutdown`, `{shutdown, T}` | [`Shutdown`](Self::Shutdown), [`ShutdownWith`](Self::ShutdownWith) |
/// | `killed`, `kill` | [`Killed`](Self::Killed), [`Kill`](Self::Kill) |
/// | `noproc` | [`NoProc`](Self::NoProc) |
/// | `{Error, Stack}` | [`Panic`](Self::Panic) |
/// | `{{nocatch, T}, Stack}` | [`NoCatch`](Self::NoCatch) |
/// | `{Why, {gen_server, call, ..}}` | [`Call`](Self::Call) |
/// | any other term | [`Other`](Self::Other), made by [`ExitReason::new`] |
///
/// ```
/// use rethread::ExitReason;
///
/// let reason = ExitReason::new("out of paper");
/// assert_eq!(reason, ExitReason::from("out of paper"));
/// assert_eq!(reason.to_string(), "out of paper");
/// assert!(reason.is_abnormal());
/// assert!(!ExitReason::shutdown_with(42).is_abnormal());
/// ```
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum ExitReason {
    /// The function of the process returned, or it stopped because its work was done.
    Normal,
    /// It was told to shut down, usually by its supervisor.
    Shutdown,
    /// A shutdown that carries a detail; as normal as [`Shutdown`](Self::Shutdown).
    ShutdownWith(ReasonValue),
    /// As an exit *signal* this cannot be trapped and ends its target as [`Killed`](Self::Killed). As the
    /// reason of a process that ended itself with it, it is a reason like any other.
    Kill,
    /// It was killed: by an exit signal [`Kill`](Self::Kill).
    Killed,
    /// There was no such process.
    NoProc,
    /// The connection to the process' node was lost.
    NoConnection,
    /// Something it waited for did not come in time.
    Timeout,
    /// It panicked and nobody caught it.
    Panic(PanicReport),
    /// It threw a value and nobody caught it.
    NoCatch(ReasonValue),
    /// A call it made failed, and it let that be its end.
    Call(Arc<CallFailure>),
    /// Any other reason.
    Other(ReasonValue),
}

/// What [`ExitReason::Call`] carries: why a call failed, and whom it was made to.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CallFailure {
    /// Why the call failed: the reason the server ended with, `NoProc`, `Timeout` and so on.
    pub reason: ExitReason,
    /// The server as the caller named it.
    pub server: Arc<str>,
}

impl CallFailure {
    pub(crate) fn new(reason: ExitReason, server: &Arc<str>) -> Self {
        Self { reason, server: Arc::clone(server) }
    }
}

impl ExitReason {
    /// A reason of your own: any value that can be compared and printed. Text prints as it is, other
    /// values by their `Debug`.
    pub fn new<T>(value: T) -> Self
    where
        T: Any + fmt::Debug + PartialEq + Send + Sync,
    {
        Self::Other(ReasonValue::new(value))
    }

    /// A reason that carries an error value and no more is made of it than that.
    pub(crate) fn from_error_value<E: Error + Send + Sync + 'static>(error: E) -> Self {
        Self::Other(ReasonValue::from_error(error))
    }

    /// A shutdown that carries an error value.
    pub(crate) fn shutdown_with_error<E: Error + Send + Sync + 'static>(error: E) -> Self {
        Self::ShutdownWith(ReasonValue::from_error(error))
    }

    /// A shutdown with a detail: normal for supervisors and for the log.
    pub fn shutdown_with<T>(value: T) -> Self
    where
        T: Any + fmt::Debug + PartialEq + Send + Sync,
    {
        Self::ShutdownWith(ReasonValue::new(value))
    }

    /// Whether a supervisor restarts a transient child for it, and the log reports it: true for all but
    /// `Normal`, `Shutdown` and `ShutdownWith`.
    pub fn is_abnormal(&self) -> bool {
        !matches!(self, Self::Normal | Self::Shutdown | Self::ShutdownWith(_))
    }

    /// As [`carrying`](Self::carrying), of an error whose type is not known.
    pub(crate) fn from_boxed_error(error: Box<dyn Error + Send + Sync>) -> Self {
        Self::Other(ReasonValue::wrap(BoxedError(error)))
    }

    /// The value inside, if there is one and it is a `T`: what [`ExitReason::new`],
    /// [`shutdown_with`](Self::shutdown_with), [`error`](Self::error) or a throw was given. Of a failed call it
    /// is the value in the reason the call failed with.
    pub fn downcast_ref<T: Any>(&self) -> Option<&T> {
        match self {
            Self::ShutdownWith(value) | Self::NoCatch(value) | Self::Other(value) => value.downcast_ref(),
            Self::Call(failure) => failure.reason.downcast_ref(),
            _ => None,
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::ShutdownWith(value) => write!(f, "shutdown({value})"),
            Self::Kill => f.write_str("kill"),
            Self::Killed => f.write_str("killed"),
            Self::NoProc => f.write_str("noproc"),
            Self::NoConnection => f.write_str("noconnection"),
            Self::Timeout => f.write_str("timeout"),
            Self::Panic(report) => report.fmt(f),
            Self::NoCatch(value) => write!(f, "nocatch({value})"),
            Self::Call(failure) => write!(f, "call to {} failed: {}", failure.server, failure.reason),
            Self::Other(value) => value.fmt(f),
        }
    }
}

impl fmt::Debug for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<&'static str> for ExitReason {
    fn from(text: &'static str) -> Self {
        Self::new(text)
    }
}

impl From<String> for ExitReason {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

/// A value inside an [`ExitReason`]: shared, comparable, printable.
#[derive(Clone)]
pub struct ReasonValue(Arc<ContainedDrop<Box<dyn DynValue>>>);

trait DynValue: Send + Sync {
    fn as_any(&self) -> &dyn Any;
    fn equals(&self, other: &dyn Any) -> bool;
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

struct UserValue<T>(T);

impl<T: Any + fmt::Debug + PartialEq + Send + Sync> DynValue for UserValue<T> {
    fn as_any(&self) -> &dyn Any {
        &self.0
    }
    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<T>().is_some_and(|other| *other == self.0)
    }
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match as_text(&self.0) {
            Some(text) => f.write_str(text),
            None => write!(f, "{:?}", self.0),
        }
    }
}

struct ErrorValue<E>(E);

impl<E: Error + Send + Sync + 'static> DynValue for ErrorValue<E> {
    fn as_any(&self) -> &dyn Any {
        &self.0
    }
    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<E>().is_some_and(|other| other.to_string() == self.0.to_string())
    }
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_with_sources(&self.0, f)
    }
}

/// An error of a type that is not known.
struct BoxedError(Box<dyn Error + Send + Sync>);

impl DynValue for BoxedError {
    fn as_any(&self) -> &dyn Any {
        &self.0
    }
    fn equals(&self, other: &dyn Any) -> bool {
        other
            .downcast_ref::<Box<dyn Error + Send + Sync>>()
            .is_some_and(|other| other.to_string() == self.0.to_string())
    }
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_with_sources(&*self.0, f)
    }
}

/// More causes than this are not told: an error may be its own cause, by mistake.
const MAX_CAUSES: usize = 32;

fn fmt_with_sources(error: &dyn Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = error.to_string();
    let mut source = error.source();
    for _ in 0..MAX_CAUSES {
        let Some(error) = source else { break };
        let cause = error.to_string();
        if !text.ends_with(&cause) {
            // some errors tell their source themselves
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    f.write_str(&text)
}

/// A thrown value that nobody caught: it can be looked at no further, since it need not be `Sync`.
struct ThrownText(String);

impl DynValue for ThrownText {
    fn as_any(&self) -> &dyn Any {
        &self.0
    }
    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<String>() == Some(&self.0)
    }
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ReasonValue {
    fn wrap(value: impl DynValue + 'static) -> Self {
        Self(Arc::new(ContainedDrop::new("exit reason", Box::new(value))))
    }

    fn new<T: Any + fmt::Debug + PartialEq + Send + Sync>(value: T) -> Self {
        Self::wrap(UserValue(value))
    }

    fn from_error<E: Error + Send + Sync + 'static>(error: E) -> Self {
        Self::wrap(ErrorValue(error))
    }

    pub(crate) fn from_thrown(value: &(dyn Any + Send)) -> Self {
        let text = as_text(value).map_or_else(|| "a thrown value".to_owned(), str::to_owned);
        Self::wrap(ThrownText(text))
    }

    /// The value, if it is a `T`.
    pub fn downcast_ref<T: Any>(&self) -> Option<&T> {
        self.0.get().as_any().downcast_ref()
    }
}

impl PartialEq for ReasonValue {
    fn eq(&self, other: &Self) -> bool {
        let (mine, theirs) = (self.0.get(), other.0.get().as_any());
        is_same_text(mine.as_any(), theirs) || mine.equals(theirs)
    }
}

impl fmt::Display for ReasonValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.get().fmt(f)
    }
}

impl fmt::Debug for ReasonValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `"oops"` and `String::from("oops")` are one reason.
fn is_same_text(mine: &dyn Any, theirs: &dyn Any) -> bool {
    matches!((as_text(mine), as_text(theirs)), (Some(mine), Some(theirs)) if mine == theirs)
}

/// A panic: what was said, where, and if asked for the way there.
#[derive(Clone)]
pub struct PanicReport(Arc<PanicInner>);

struct PanicInner {
    message: String,
    location: Option<PanicLocation>,
    backtrace: Option<Backtrace>,
    payload: Mutex<Option<ContainedDrop<Payload>>>,
}

/// Where a panic was raised.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PanicLocation {
    /// The source file, as the compiler was given it.
    pub file: String,
    /// The line in it, from 1.
    pub line: u32,
    /// The column in it, from 1.
    pub column: u32,
}

impl PanicLocation {
    pub(crate) fn from_std(location: &Location<'_>) -> Self {
        Self { file: location.file().to_owned(), line: location.line(), column: location.column() }
    }
}

impl PanicReport {
    pub(crate) fn new(
        message: String,
        location: Option<PanicLocation>,
        backtrace: Option<Backtrace>,
        payload: Option<Payload>,
    ) -> Self {
        let payload = Mutex::new(payload.map(|payload| ContainedDrop::new("panic payload", payload)));
        Self(Arc::new(PanicInner { message, location, backtrace, payload }))
    }

    /// What the panic said; for a payload that is not text, that it is none.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where it was raised. Unknown if the program replaced the panic hook after the first process began, and of a
    /// panic that was raised on another thread and resumed here: by rayon, or after a `join` of std.
    pub fn location(&self) -> Option<&PanicLocation> {
        self.0.location.as_ref()
    }

    /// The stack, if `RUST_BACKTRACE` or `RUST_LIB_BACKTRACE` asks for it.
    pub fn backtrace(&self) -> Option<&Backtrace> {
        self.0.backtrace.as_ref().filter(|trace| trace.status() == BacktraceStatus::Captured)
    }

    /// The payload of a `panic_any` that was no text; the first to ask gets it.
    pub fn take_payload(&self) -> Option<Box<dyn Any + Send>> {
        self.0.payload.lock().take().map(ContainedDrop::into_inner)
    }
}

impl PartialEq for PanicReport {
    fn eq(&self, other: &Self) -> bool {
        self.0.message == other.0.message && self.0.location == other.0.location
    }
}

impl fmt::Display for PanicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.location {
            Some(PanicLocation { file, line, .. }) => write!(f, "panic at {file}:{line}: {}", self.0.message),
            None => write!(f, "panic: {}", self.0.message),
        }
    }
}

impl fmt::Debug for PanicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_reasons_are_equal_whatever_holds_the_text() {
        assert_eq!(ExitReason::new("oops"), ExitReason::from("oops".to_owned()));
        assert_ne!(ExitReason::new("oops"), ExitReason::shutdown_with("oops"));
        assert_ne!(ExitReason::new(1_u8), ExitReason::new(1_u16));
    }

    #[test]
    fn error_with_sources_displays_each_once() {
        #[derive(Debug)]
        struct TestError(&'static str, Option<Box<TestError>>);
        impl fmt::Display for TestError {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }
        }
        impl Error for TestError {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                self.1.as_deref().map(|source| source as _)
            }
        }
        let test_error = |text, source: Option<TestError>| TestError(text, source.map(Box::new));
        let text = |error| ExitReason::from_error_value(error).to_string();
        let disk = || test_error("disk: full", Some(test_error("full", None)));
        assert_eq!(text(disk()), "disk: full");
        assert_eq!(text(test_error("no cache", Some(disk()))), "no cache: disk: full");
        assert_eq!(text(test_error("no cache", Some(test_error("no disk", None)))), "no cache: no disk");
    }

    #[test]
    fn a_reason_whose_destructor_panics_can_be_dropped() {
        #[derive(Debug, PartialEq)]
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("boom in a reason")
            }
        }
        drop(ExitReason::new(Bomb));
    }
}
