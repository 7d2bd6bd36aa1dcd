//! The panic hook: on threads that are processes it records panics instead of printing them.
//!
//! The record (message, location, backtrace) becomes a `PanicReport` when the panic is caught. Other threads keep the
//! hook that was installed before the first process.

use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::io::Write;
use std::panic::{self, PanicHookInfo};
use std::sync::Once;
use std::thread;

use crate::reason::{ExitReason, PanicLocation, PanicReport};
use crate::unwind::{self, Payload, as_text, payload_text};

/// What the hook recorded of a panic, until the panic is caught.
struct RecordedPanic {
    message: String,
    location: Option<PanicLocation>,
    backtrace: Backtrace,
}

thread_local! {
    /// The panics of this thread that may still be caught, latest last. More than one: a destructor that runs because
    /// of a panic may panic too, and catch that.
    static RECORDED: RefCell<Vec<RecordedPanic>> = const { RefCell::new(Vec::new()) };
    /// Set on threads that are processes.
    static ON_PANIC: Cell<Option<fn(&PanicReport)>> = const { Cell::new(None) };
}

/// Marks the calling thread as a process: its panics are not printed, and `on_panic` is called for each before the stack
/// unwinds. `None` removes the mark.
pub(crate) fn set_panic_observer(on_panic: Option<fn(&PanicReport)>) {
    install_hook();
    ON_PANIC.with(|cell| cell.set(on_panic));
}

/// Installs the hook, once per program.
fn install_hook() {
    static ONCE: Once = Once::new();
    if thread::panicking() {
        return; // `set_hook` panics then; the next process installs it
    }
    ONCE.call_once(|| {
        let previous_hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| match ON_PANIC.try_with(Cell::get) {
            // No caller will report the recorded panics, so print them.
            Ok(Some(_)) if will_abort(info) => {
                print_recorded();
                previous_hook(info);
            }
            Ok(Some(on_panic)) => record(info, on_panic),
            // A thread that is not a process, or whose locals are destroyed.
            _ => previous_hook(info),
        }));
    });
}

/// Returns `true` if std aborts the program after this panic. It is recognized by its text, because
/// `PanicHookInfo::can_unwind` is not stable.
fn will_abort(info: &PanicHookInfo<'_>) -> bool {
    let text = payload_text(info.payload());
    text == "panic in a destructor during cleanup" || text == "panic in a function that cannot unwind"
}

/// Prints the recorded panics of this thread, which led to the abort, on standard error.
fn print_recorded() {
    let _ = RECORDED.try_with(|cell| {
        // `try_borrow`: the panic may come from code that has borrowed the cell.
        for recorded in cell.try_borrow().iter().flat_map(|all| all.iter()) {
            let report = PanicReport::new(recorded.message.clone(), recorded.location.clone(), None, None);
            let _ = writeln!(std::io::stderr(), "rethread: in a process: {}", ExitReason::Panic(report));
        }
    });
}

/// Maximum number of recorded panics. Several panics are active at once only in destructors of destructors.
const MAX_RECORDED: usize = 4;

/// Records a panic and calls the observer.
fn record(info: &PanicHookInfo<'_>, on_panic: fn(&PanicReport)) {
    let message = payload_text(info.payload()).to_owned();
    let location = info.location().map(PanicLocation::from_std);
    // A panic that `catch_and_log` catches does not end the process, so it must not start the exit deadline.
    if !unwind::in_catch_and_log() {
        on_panic(&PanicReport::new(message.clone(), location.clone(), None, None));
    }
    let recorded = RecordedPanic { message, location, backtrace: Backtrace::capture() };
    // A destructor of a thread-local may panic after RECORDED is destroyed; then the report has only the payload.
    let _ = RECORDED.try_with(|cell| {
        let mut all = cell.borrow_mut();
        if all.len() == MAX_RECORDED {
            all.remove(0); // probably caught by user code: such a record is never taken
        }
        all.push(recorded);
    });
}

/// Returns the report for a caught payload, with location and backtrace if the hook has recorded its panic. The hook does
/// not run for a payload that user code passes to `resume_unwind`.
pub(crate) fn report_for(payload: Payload) -> PanicReport {
    let message = payload_text(&*payload).to_owned();
    // A text payload is in `message` already.
    let payload = if as_text(&*payload).is_some() { None } else { Some(payload) };
    match RECORDED.try_with(|cell| take_recorded(&mut cell.borrow_mut(), &message)).ok().flatten() {
        Some(recorded) => PanicReport::new(message, recorded.location, Some(recorded.backtrace), payload),
        None => PanicReport::new(message, None, None, payload),
    }
}

/// Takes the latest record with this message and removes all later ones.
fn take_recorded(all: &mut Vec<RecordedPanic>, message: &str) -> Option<RecordedPanic> {
    // Later records are of panics in destructors that ran meanwhile: they were caught earlier.
    let index = all.iter().rposition(|recorded| recorded.message == message);
    let found = index.and_then(|index| all.drain(index..).next());
    // No other panic is unwinding this thread, so no other record is needed.
    if !thread::panicking() {
        all.clear();
    }
    found
}
