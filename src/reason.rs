//! Why a process ended, as links, monitors and supervisors see it. Everybody who tells or hears of a
//! death uses it.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use crate::sync::Mutex;
use crate::unwind::{contain, text_of};

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
    ShutdownWith(Detail),
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
    NoCatch(Detail),
    /// A call it made failed, and it let that be its end.
    Call(Arc<CallFailure>),
    /// Any other reason.
    Other(Detail),
}

/// What [`ExitReason::Call`] carries: why a call failed, and whom it was made to.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CallFailure {
    /// Why the call failed: the reason the server ended with, `NoProc`, `Timeout` and so on.
    pub why: ExitReason,
    /// The server as the caller named it.
    pub server: Arc<str>,
}

impl CallFailure {
    pub(crate) fn new(why: ExitReason, server: &Arc<str>) -> Self {
        Self { why, server: Arc::clone(server) }
    }
}

impl ExitReason {
    /// A reason of your own: any value that can be compared and printed. Text prints as it is, other
    /// values by their `Debug`.
    pub fn new<T>(value: T) -> Self
    where
        T: Any + fmt::Debug + PartialEq + Send + Sync,
    {
        Self::Other(Detail::new(value))
    }

    /// A reason that carries an error value and no more is made of it than that.
    pub(crate) fn carrying<E: Error + Send + Sync + 'static>(error: E) -> Self {
        Self::Other(Detail::error(error))
    }

    /// A shutdown that carries an error value.
    pub(crate) fn shutdown_carrying<E: Error + Send + Sync + 'static>(error: E) -> Self {
        Self::ShutdownWith(Detail::error(error))
    }

    /// A shutdown with a detail: normal for supervisors and for the log.
    pub fn shutdown_with<T>(value: T) -> Self
    where
        T: Any + fmt::Debug + PartialEq + Send + Sync,
    {
        Self::ShutdownWith(Detail::new(value))
    }

    /// Whether a supervisor restarts a transient child for it, and the log reports it: true for all but
    /// `Normal`, `Shutdown` and `ShutdownWith`.
    pub fn is_abnormal(&self) -> bool {
        !matches!(self, Self::Normal | Self::Shutdown | Self::ShutdownWith(_))
    }

    /// As [`carrying`](Self::carrying), of an error whose type is not known.
    pub(crate) fn carrying_box(error: Box<dyn Error + Send + Sync>) -> Self {
        Self::Other(Detail(Arc::new(Guarded(Some(Box::new(Boxed(error)))))))
    }

    /// The value inside, if there is one and it is a `T`: what [`ExitReason::new`],
    /// [`shutdown_with`](Self::shutdown_with), [`error`](Self::error) or a throw was given. Of a failed call it
    /// is the value in the reason the call failed with.
    pub fn downcast_ref<T: Any>(&self) -> Option<&T> {
        match self {
            Self::ShutdownWith(detail) | Self::NoCatch(detail) | Self::Other(detail) => detail.downcast_ref(),
            Self::Call(failure) => failure.why.downcast_ref(),
            _ => None,
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::ShutdownWith(detail) => write!(f, "shutdown({detail})"),
            Self::Kill => f.write_str("kill"),
            Self::Killed => f.write_str("killed"),
            Self::NoProc => f.write_str("noproc"),
            Self::NoConnection => f.write_str("noconnection"),
            Self::Timeout => f.write_str("timeout"),
            Self::Panic(report) => report.fmt(f),
            Self::NoCatch(detail) => write!(f, "nocatch({detail})"),
            Self::Call(failure) => write!(f, "call to {} failed: {}", failure.server, failure.why),
            Self::Other(detail) => detail.fmt(f),
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
pub struct Detail(Arc<Guarded<dyn Value>>);

trait Value: Send + Sync {
    fn as_any(&self) -> &dyn Any;
    fn equals(&self, other: &dyn Any) -> bool;
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

struct Plain<T>(T);

impl<T: Any + fmt::Debug + PartialEq + Send + Sync> Value for Plain<T> {
    fn as_any(&self) -> &dyn Any {
        &self.0
    }
    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<T>().is_some_and(|other| *other == self.0)
    }
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match text_of(&self.0) {
            Some(text) => f.write_str(text),
            None => write!(f, "{:?}", self.0),
        }
    }
}

struct Failed<E>(E);

impl<E: Error + Send + Sync + 'static> Value for Failed<E> {
    fn as_any(&self) -> &dyn Any {
        &self.0
    }
    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<E>().is_some_and(|other| other.to_string() == self.0.to_string())
    }
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_with_causes(&self.0, f)
    }
}

/// An error of a type that is not known.
struct Boxed(Box<dyn Error + Send + Sync>);

impl Value for Boxed {
    fn as_any(&self) -> &dyn Any {
        &self.0
    }
    fn equals(&self, other: &dyn Any) -> bool {
        other
            .downcast_ref::<Box<dyn Error + Send + Sync>>()
            .is_some_and(|other| other.to_string() == self.0.to_string())
    }
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_with_causes(&*self.0, f)
    }
}

/// More causes than this are not told: an error may be its own cause, by mistake.
const MOST_CAUSES: usize = 32;

fn show_with_causes(error: &dyn Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = error.to_string();
    let mut source = error.source();
    for _ in 0..MOST_CAUSES {
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
struct Opaque(String);

impl Value for Opaque {
    fn as_any(&self) -> &dyn Any {
        &self.0
    }
    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<String>() == Some(&self.0)
    }
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Detail {
    fn new<T: Any + fmt::Debug + PartialEq + Send + Sync>(value: T) -> Self {
        Self(Arc::new(Guarded(Some(Box::new(Plain(value))))))
    }

    fn error<E: Error + Send + Sync + 'static>(error: E) -> Self {
        Self(Arc::new(Guarded(Some(Box::new(Failed(error))))))
    }

    pub(crate) fn thrown(value: &(dyn Any + Send)) -> Self {
        let text = text_of(value).map_or_else(|| "a thrown value".to_owned(), str::to_owned);
        Self(Arc::new(Guarded(Some(Box::new(Opaque(text))))))
    }

    /// The value, if it is a `T`.
    pub fn downcast_ref<T: Any>(&self) -> Option<&T> {
        self.0.get()?.as_any().downcast_ref()
    }
}

impl PartialEq for Detail {
    fn eq(&self, other: &Self) -> bool {
        match (self.0.get(), other.0.get()) {
            (Some(mine), Some(theirs)) => {
                same_text(mine.as_any(), theirs.as_any()) || mine.equals(theirs.as_any())
            }
            _ => false,
        }
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.get().map_or(Ok(()), |value| value.show(f))
    }
}

impl fmt::Debug for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `"oops"` and `String::from("oops")` are one reason.
fn same_text(mine: &dyn Any, theirs: &dyn Any) -> bool {
    matches!((text_of(mine), text_of(theirs)), (Some(mine), Some(theirs)) if mine == theirs)
}

/// User data whose destructor may panic wherever the last clone of a reason happens to be dropped.
struct Guarded<T: ?Sized>(Option<Box<T>>);

impl<T: ?Sized> Guarded<T> {
    fn get(&self) -> Option<&T> {
        self.0.as_deref()
    }
}

impl<T: ?Sized> Drop for Guarded<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            contain("the destructor of an exit reason", move || drop(value));
        }
    }
}

/// A panic: what was said, where, and if asked for the way there.
#[derive(Clone)]
pub struct PanicReport(Arc<Panic>);

struct Panic {
    message: String,
    location: Option<PanicLocation>,
    backtrace: Option<Backtrace>,
    payload: Mutex<Guarded<dyn Any + Send>>,
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
    pub(crate) fn of(place: &Location<'_>) -> Self {
        Self { file: place.file().to_owned(), line: place.line(), column: place.column() }
    }
}

impl PanicReport {
    pub(crate) fn new(
        message: String,
        location: Option<PanicLocation>,
        backtrace: Option<Backtrace>,
        payload: Option<Box<dyn Any + Send>>,
    ) -> Self {
        Self(Arc::new(Panic { message, location, backtrace, payload: Mutex::new(Guarded(payload)) }))
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
        self.0.payload.lock().0.take()
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
    fn an_error_is_told_with_its_sources_each_once() {
        #[derive(Debug)]
        struct Told(&'static str, Option<Box<Told>>);
        impl fmt::Display for Told {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }
        }
        impl Error for Told {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                self.1.as_deref().map(|source| source as _)
            }
        }
        let told = |text, source: Option<Told>| Told(text, source.map(Box::new));
        let text = |error| ExitReason::carrying(error).to_string();
        let disk = || told("disk: full", Some(told("full", None)));
        assert_eq!(text(disk()), "disk: full");
        assert_eq!(text(told("no cache", Some(disk()))), "no cache: disk: full");
        assert_eq!(text(told("no cache", Some(told("no disk", None)))), "no cache: no disk");
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
