//! Exit reasons, as links, monitors and supervisors receive them, and the panic report that a reason may contain.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::error::Error;
use std::fmt;
use std::ops::DerefMut;
use std::panic::Location;
use std::sync::Arc;

use crate::sync::Mutex;
use crate::unwind::{ContainedDrop, Payload, as_text};

/// Why a process exited.
///
/// A clone is cheap (reference counts): each link and monitor of the process receives one.
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
/// `Display` is the text that logs and reports show; `Debug` shows the variant, too.
///
/// ```
/// use rethread::ExitReason;
///
/// let reason = ExitReason::new("out of paper");
/// assert_eq!(reason, ExitReason::from("out of paper"));
/// assert_eq!(reason.to_string(), "out of paper");
/// assert_eq!(format!("{reason:?}"), r#"Other("out of paper")"#);
/// assert!(reason.is_abnormal());
/// assert!(!ExitReason::shutdown_with(42).is_abnormal());
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ExitReason {
    /// The function of the process returned, or the process stopped because its work was done.
    Normal,
    /// The process was asked to shut down, usually by its supervisor.
    Shutdown,
    /// A shutdown with a detail; as normal as [`Shutdown`](Self::Shutdown).
    ShutdownWith(ReasonValue),
    /// As an exit *signal* this cannot be trapped, and its target exits with [`Killed`](Self::Killed). For a process
    /// that calls [`exit_with`](crate::process::exit_with) with it, it is a reason like any other.
    Kill,
    /// The process was killed by an exit signal [`Kill`](Self::Kill).
    Killed,
    /// There was no such process.
    NoProc,
    /// The connection to the process' node was lost. Reserved; this version never produces it.
    NoConnection,
    /// A timeout passed.
    Timeout,
    /// The process panicked, and the panic was not caught.
    Panic(PanicReport),
    /// The process threw a value, and the value was not caught.
    NoCatch(ReasonValue),
    /// A call that the process made failed, and it exited because of that.
    Call(Arc<CallFailure>),
    /// Any other reason.
    Other(ReasonValue),
}

/// The contents of [`ExitReason::Call`]: why a call failed, and to which server it was made.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CallFailure {
    /// Why the call failed: the exit reason of the server, `NoProc`, `Timeout` and so on.
    pub reason: ExitReason,
    /// The server, by the name or pid that the caller used.
    pub server: Arc<str>,
}

/// A reason contains at most this many failed calls. Processes that call each other, or each other's successors, may pass
/// reasons on without an end, and to print, compare or drop them is recursive.
const MAX_NESTED_CALLS: usize = 64;

impl CallFailure {
    /// Returns the failure of a call to `server`. If `reason` contains too many failed calls already, only the reason of
    /// the first of them is kept.
    pub(crate) fn new(reason: ExitReason, server: &Arc<str>) -> Self {
        let mut first = &reason;
        let mut calls = 0;
        while let ExitReason::Call(failure) = first {
            first = &failure.reason;
            calls += 1;
        }
        let reason = if calls < MAX_NESTED_CALLS { reason } else { first.clone() };
        Self { reason, server: Arc::clone(server) }
    }
}

impl fmt::Display for CallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call to {} failed: {}", self.server, self.reason)
    }
}

impl ExitReason {
    /// Creates a reason of your own from any value that can be compared and printed. Text is displayed as it is, other
    /// values with their `Debug`.
    pub fn new<T>(value: T) -> Self
    where
        T: Any + fmt::Debug + PartialEq + Send + Sync,
    {
        Self::Other(ReasonValue::new(value))
    }

    /// Creates a reason that contains an error value. [`ExitReason::error`] is the public form, which also unwraps the
    /// errors of this crate.
    pub(crate) fn from_error_value<E: Error + Send + Sync + 'static>(error: E) -> Self {
        Self::Other(ReasonValue::from_error(error))
    }

    /// Creates a shutdown that contains an error value.
    pub(crate) fn shutdown_with_error<E: Error + Send + Sync + 'static>(error: E) -> Self {
        Self::ShutdownWith(ReasonValue::from_error(error))
    }

    /// Creates a shutdown with a detail. Supervisors and the log treat it as normal.
    pub fn shutdown_with<T>(value: T) -> Self
    where
        T: Any + fmt::Debug + PartialEq + Send + Sync,
    {
        Self::ShutdownWith(ReasonValue::new(value))
    }

    /// Returns `true` for all reasons but `Normal`, `Shutdown` and `ShutdownWith`. For these a supervisor restarts a
    /// transient child, and the log reports the exit.
    pub fn is_abnormal(&self) -> bool {
        !matches!(self, Self::Normal | Self::Shutdown | Self::ShutdownWith(_))
    }

    /// Creates a reason that contains an error report: a box around an error whose type is not known.
    pub(crate) fn from_report<E: ErrorReport>(report: E) -> Self {
        Self::Other(ReasonValue::wrap(ReportValue(report)))
    }

    /// Creates a reason that contains a value which can be printed, but need not be an error.
    pub(crate) fn from_printable<E: Any + fmt::Display + fmt::Debug + Send + Sync>(value: E) -> Self {
        Self::Other(ReasonValue::wrap(PrintableValue(value)))
    }

    /// Returns the value in the reason, if there is one and its type is `T`: the argument of [`ExitReason::new`],
    /// [`shutdown_with`](Self::shutdown_with) or [`error`](Self::error), or the text of a thrown value, as a
    /// `String`. For a failed call it is the value in the reason of the failure.
    pub fn downcast_ref<T: Any>(&self) -> Option<&T> {
        match self {
            Self::ShutdownWith(value) | Self::NoCatch(value) | Self::Other(value) => value.downcast_ref(),
            Self::Call(failure) => failure.reason.downcast_ref(),
            // The payload of a panic can be taken from the report.
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
            Self::Call(failure) => failure.fmt(f),
            Self::Other(value) => value.fmt(f),
        }
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

/// A value in an [`ExitReason`]: shared, comparable and printable. `Display` shows text as it is and an error with its
/// sources; `Debug` is the `Debug` of the value.
#[derive(Clone)]
pub struct ReasonValue(Arc<ContainedDrop<Box<dyn DynValue>>>);

/// A value of any type, in the form that [`ReasonValue`] uses.
trait DynValue: Send + Sync {
    fn as_any(&self) -> &dyn Any;
    fn equals(&self, other: &dyn Any) -> bool;
    fn fmt_display(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
    fn fmt_debug(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

/// A value from [`ExitReason::new`] or [`ExitReason::shutdown_with`].
struct UserValue<T>(T);

impl<T: Any + fmt::Debug + PartialEq + Send + Sync> DynValue for UserValue<T> {
    fn as_any(&self) -> &dyn Any {
        &self.0
    }
    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<T>().is_some_and(|other| *other == self.0)
    }
    fn fmt_display(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Text without the quotation marks of its `Debug`.
        match as_text(&self.0) {
            Some(text) => f.write_str(text),
            None => write!(f, "{:?}", self.0),
        }
    }
    fn fmt_debug(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// An error whose type is known.
struct ErrorValue<E>(E);

impl<E: Error + Send + Sync + 'static> DynValue for ErrorValue<E> {
    fn as_any(&self) -> &dyn Any {
        &self.0
    }
    fn equals(&self, other: &dyn Any) -> bool {
        // Few error types implement `PartialEq`, so errors of one type are equal if their texts are.
        other.downcast_ref::<E>().is_some_and(|other| other.to_string() == self.0.to_string())
    }
    fn fmt_display(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_with_sources(&self.0, f)
    }
    fn fmt_debug(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A box around an error whose type is not known: `Box<dyn Error + Send + Sync>`, or the error type of `anyhow`, `eyre`
/// or `miette`. None of them implements [`Error`]. `DerefMut` leaves out `Arc<dyn Error + Send + Sync>`, which does.
pub(crate) trait ErrorReport:
    AsRef<dyn Error + Send + Sync> + DerefMut + fmt::Debug + Send + Sync + 'static
{
}

impl<E> ErrorReport for E where
    E: AsRef<dyn Error + Send + Sync> + DerefMut + fmt::Debug + Send + Sync + 'static
{
}

/// An error report.
struct ReportValue<E>(E);

impl<E: ErrorReport> DynValue for ReportValue<E> {
    fn as_any(&self) -> &dyn Any {
        // The report, not the error in it, whose type is known only as `dyn Error`.
        &self.0
    }
    fn equals(&self, other: &dyn Any) -> bool {
        other
            .downcast_ref::<E>()
            .is_some_and(|other| other.as_ref().to_string() == self.0.as_ref().to_string())
    }
    fn fmt_display(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_with_sources(self.0.as_ref(), f)
    }
    fn fmt_debug(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A value that can be printed, and of which nothing else is known: perhaps an error, perhaps an error report.
struct PrintableValue<E>(E);

impl<E: Any + fmt::Display + fmt::Debug + Send + Sync> DynValue for PrintableValue<E> {
    fn as_any(&self) -> &dyn Any {
        &self.0
    }
    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<E>().is_some_and(|other| other.to_string() == self.0.to_string())
    }
    fn fmt_display(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The alternate form of an error report is its text followed by that of its sources.
        let (text, with_sources) = (self.0.to_string(), format!("{:#}", self.0));
        let has_sources = with_sources.strip_prefix(&text).is_some_and(|sources| sources.starts_with(": "));
        f.write_str(if has_sources { &with_sources } else { &text })
    }
    fn fmt_debug(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What [`OrExit`](crate::OrExit) and the body of a worker accept as an error.
///
/// `Kind` tells the implementations apart, and is inferred: no type has two of them. Without it the one for every
/// [`Error`] and the one for text could not exist together, because std may implement `Error` for `String` one day.
pub(crate) trait IntoExitReason<Kind> {
    /// Converts the error.
    fn into_exit_reason(self) -> ExitReason;
}

/// Maximum number of sources that are displayed: an error may by mistake be its own source.
const MAX_CAUSES: usize = 32;

/// An error whose `Display` shows its sources, too.
pub(crate) struct ErrorText<'a>(pub(crate) &'a dyn Error);

impl fmt::Display for ErrorText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_with_sources(self.0, f)
    }
}

/// Displays an error and its sources, separated by colons.
fn fmt_with_sources(error: &dyn Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = error.to_string();
    let mut source = error.source();
    // The sources from the outermost to the innermost, as `anyhow` displays them.
    for _ in 0..MAX_CAUSES {
        let Some(error) = source else { break };
        let cause = error.to_string();
        // Some errors include their source in their own text: do not repeat it.
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    f.write_str(&text)
}

/// The text of a thrown value that was not caught. The value itself cannot be kept: it need not be `Sync`.
struct ThrownText(String);

impl DynValue for ThrownText {
    fn as_any(&self) -> &dyn Any {
        &self.0
    }
    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<String>() == Some(&self.0)
    }
    fn fmt_display(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
    fn fmt_debug(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl ReasonValue {
    /// Wraps a value so that a panic in its destructor is contained: the last clone may be dropped on any thread.
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
        // A thrown value need not implement `Debug`, so only text can be displayed.
        let text = as_text(value).map_or_else(|| "a thrown value".to_owned(), str::to_owned);
        Self::wrap(ThrownText(text))
    }

    /// Returns the value if its type is `T`.
    ///
    /// ```
    /// use rethread::ExitReason;
    ///
    /// let reason = ExitReason::shutdown_with(42);
    /// let ExitReason::ShutdownWith(value) = &reason else { panic!("expected a shutdown") };
    /// assert_eq!((value.downcast_ref::<i32>(), value.downcast_ref::<u8>()), (Some(&42), None));
    /// assert_eq!(reason.downcast_ref::<i32>(), Some(&42)); // the same, from the reason
    /// ```
    pub fn downcast_ref<T: Any>(&self) -> Option<&T> {
        self.0.get().as_any().downcast_ref()
    }
}

impl PartialEq for ReasonValue {
    fn eq(&self, other: &Self) -> bool {
        // Text first: `&'static str` and `String` are different types.
        let (mine, theirs) = (self.0.get(), other.0.get().as_any());
        is_same_text(mine.as_any(), theirs) || mine.equals(theirs)
    }
}

impl fmt::Display for ReasonValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.get().fmt_display(f)
    }
}

impl fmt::Debug for ReasonValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.get().fmt_debug(f)
    }
}

/// Returns `true` if both are text and equal: `"oops"` and `String::from("oops")` are the same reason.
fn is_same_text(mine: &dyn Any, theirs: &dyn Any) -> bool {
    matches!((as_text(mine), as_text(theirs)), (Some(mine), Some(theirs)) if mine == theirs)
}

/// A panic: its message, its location and, if backtraces are enabled, its backtrace.
///
/// ```
/// use rethread::ExitReason;
/// use rethread::process::{self, AttachError};
///
/// let result = process::attach(|| -> i32 { panic!("boom") });
/// let Err(AttachError::Exited(ExitReason::Panic(report))) = result else { panic!("expected a panic") };
/// assert_eq!(report.message(), "boom");
/// if let Some(location) = report.location() {
///     println!("at {location}"); // at src/main.rs:4:41
/// }
/// if let Some(backtrace) = report.backtrace() {
///     println!("{backtrace}");
/// }
/// ```
#[derive(Clone)]
pub struct PanicReport(Arc<PanicInner>);

struct PanicInner {
    message: String,
    location: Option<PanicLocation>,
    backtrace: Option<Backtrace>,
    // Only the payload is not `Sync`; the mutex makes the report so.
    payload: Mutex<Option<ContainedDrop<Payload>>>,
}

/// The place where a panic occurred. Its `Display` is `file:line:column`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PanicLocation {
    /// The source file, by the path that the compiler was given.
    pub file: String,
    /// The line, counted from 1.
    pub line: u32,
    /// The column, counted from 1.
    pub column: u32,
}

/// Formats the location like the one of std: file, line and column.
impl fmt::Display for PanicLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
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
        // The report may be dropped on any thread, and the payload may have a destructor that panics.
        let payload = Mutex::new(payload.map(|payload| ContainedDrop::new("panic payload", payload)));
        Self(Arc::new(PanicInner { message, location, backtrace, payload }))
    }

    /// Returns the message of the panic, or `<non-string payload>` if its payload is not text.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the place where the panic occurred; its `Display` is `file:line:column`. `None` if the program
    /// replaced the panic hook after the first process started, or if the panic occurred on another thread and was
    /// resumed on this one, for example by rayon or after a `join` of std.
    pub fn location(&self) -> Option<&PanicLocation> {
        self.0.location.as_ref()
    }

    /// Returns the backtrace, if the environment variable `RUST_BACKTRACE` or `RUST_LIB_BACKTRACE` enables it.
    pub fn backtrace(&self) -> Option<&Backtrace> {
        // The hook always captures: without one of the variables the backtrace is disabled, which costs almost nothing.
        self.0.backtrace.as_ref().filter(|trace| trace.status() == BacktraceStatus::Captured)
    }

    /// Takes the payload of a `panic_any`, if it is not text. Returns it only once: all clones of a report share it.
    ///
    /// ```
    /// use rethread::ExitReason;
    /// use rethread::process::{self, AttachError};
    ///
    /// let result = process::attach(|| -> () { std::panic::panic_any(42) });
    /// let Err(AttachError::Exited(ExitReason::Panic(report))) = result else { panic!("expected a panic") };
    /// let payload = report.take_payload().expect("it is not text");
    /// assert_eq!(payload.downcast_ref::<i32>(), Some(&42));
    /// assert!(report.take_payload().is_none());
    /// ```
    pub fn take_payload(&self) -> Option<Box<dyn Any + Send>> {
        self.0.payload.lock().take().map(ContainedDrop::into_inner)
    }
}

impl PartialEq for PanicReport {
    fn eq(&self, other: &Self) -> bool {
        // Backtraces and payloads cannot be compared.
        self.0.message == other.0.message && self.0.location == other.0.location
    }
}

impl fmt::Display for PanicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the column: this form is short enough for a line of the log.
        match &self.0.location {
            Some(PanicLocation { file, line, .. }) => write!(f, "panic at {file}:{line}: {}", self.0.message),
            None => write!(f, "panic: {}", self.0.message),
        }
    }
}

impl fmt::Debug for PanicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What `PartialEq` compares: two reports that print alike are equal. A backtrace would fill pages.
        f.debug_struct("PanicReport")
            .field("message", &self.0.message)
            .field("location", &self.0.location)
            .finish()
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
    fn chain_of_failed_calls_does_not_grow_without_limit() {
        let fail = |reason, _| ExitReason::Call(CallFailure::new(reason, &"server".into()).into());
        let reason = (0..100_000).fold(ExitReason::new("disk full"), fail);
        let text = reason.to_string();
        assert!(text.starts_with("call to server failed: ") && text.ends_with("disk full"), "{text}");
        assert!(text.matches("call to").count() <= MAX_NESTED_CALLS, "{text}");
    }

    #[test]
    fn debug_shows_the_variant_and_display_the_text() {
        let location = PanicLocation { file: "src/main.rs".to_owned(), line: 3, column: 5 };
        let report = PanicReport::new("boom".to_owned(), Some(location), None, None);
        let failure = CallFailure::new(ExitReason::NoProc, &"server".into());
        let error = "x".parse::<i32>().unwrap_err();
        let boxed = || Box::<dyn Error + Send + Sync>::from("no disk");
        let thrown = ReasonValue::from_thrown(&"oops");
        let expected = [
            (ExitReason::Normal, "Normal", "normal"),
            (ExitReason::new("normal"), r#"Other("normal")"#, "normal"),
            (ExitReason::new(42), "Other(42)", "42"),
            (ExitReason::shutdown_with("x"), r#"ShutdownWith("x")"#, "shutdown(x)"),
            (ExitReason::NoCatch(thrown), r#"NoCatch("oops")"#, "nocatch(oops)"),
            (
                ExitReason::from_error_value(error),
                "Other(ParseIntError { kind: InvalidDigit })",
                "invalid digit found in string",
            ),
            (ExitReason::from_report(boxed()), r#"Other("no disk")"#, "no disk"),
            (
                ExitReason::Call(Arc::new(failure)),
                r#"Call(CallFailure { reason: NoProc, server: "server" })"#,
                "call to server failed: noproc",
            ),
            (
                ExitReason::Panic(report),
                r#"Panic(PanicReport { message: "boom", location: Some(PanicLocation { file: "src/main.rs", line: 3, column: 5 }) })"#,
                "panic at src/main.rs:3: boom",
            ),
        ];
        for (reason, debug, display) in expected {
            assert_eq!((format!("{reason:?}"), reason.to_string()), (debug.to_owned(), display.to_owned()));
        }
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
