//! The panic hook of processes.

use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::io::Write;
use std::panic::{self, PanicHookInfo};
use std::sync::Once;
use std::thread;

use crate::reason::{ExitReason, PanicLocation, PanicReport};
use crate::unwind::{self, Payload, as_text, payload_text};

/// What the hook saw of a panic on this thread, until the catcher asks.
struct RecordedPanic {
    message: String,
    location: Option<PanicLocation>,
    backtrace: Backtrace,
}

thread_local! {
    /// The latest last: a destructor that panics, and catches that, does not make us forget the panic that
    /// runs the destructor.
    static RECORDED: RefCell<Vec<RecordedPanic>> = const { RefCell::new(Vec::new()) };
    static ON_PANIC: Cell<Option<fn(&PanicReport)>> = const { Cell::new(None) };
}

/// Marks this thread as a process: its panics are kept off stderr, and `on_panic` hears of each before
/// anything is unwound. `None` gives the thread back.
pub(crate) fn set_panic_observer(on_panic: Option<fn(&PanicReport)>) {
    install_hook();
    ON_PANIC.with(|cell| cell.set(on_panic));
}

/// Other threads keep the hook that was there before the first process.
fn install_hook() {
    static ONCE: Once = Once::new();
    if thread::panicking() {
        return; // std forbids it then; the next process will do it
    }
    ONCE.call_once(|| {
        let previous_hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| match ON_PANIC.try_with(Cell::get) {
            Ok(Some(_)) if will_abort(info) => {
                print_recorded();
                previous_hook(info);
            }
            Ok(Some(on_panic)) => record(info, on_panic),
            _ => previous_hook(info),
        }));
    });
}

/// Whether std ends the program after this: nobody will catch it, and nobody report it. (`can_unwind` is not stable.)
fn will_abort(info: &PanicHookInfo<'_>) -> bool {
    let text = payload_text(info.payload());
    text == "panic in a destructor during cleanup" || text == "panic in a function that cannot unwind"
}

/// Last words of a program: the panics that were kept off standard error and led to this.
fn print_recorded() {
    let _ = RECORDED.try_with(|cell| {
        for recorded in cell.try_borrow().iter().flat_map(|all| all.iter()) {
            let report = PanicReport::new(recorded.message.clone(), recorded.location.clone(), None, None);
            let _ = writeln!(std::io::stderr(), "rethread: in a process: {}", ExitReason::Panic(report));
        }
    });
}

/// Panics in destructors in destructors: more than this at once is nobody's honest code.
const MAX_RECORDED: usize = 4;

fn record(info: &PanicHookInfo<'_>, on_panic: fn(&PanicReport)) {
    let message = payload_text(info.payload()).to_owned();
    let location = info.location().map(PanicLocation::from_std);
    if !unwind::in_catch_and_log() {
        on_panic(&PanicReport::new(message.clone(), location.clone(), None, None));
    }
    let recorded = RecordedPanic { message, location, backtrace: Backtrace::capture() };
    // Destructors of thread-locals may panic after SEEN is gone; then only the payload speaks.
    let _ = RECORDED.try_with(|cell| {
        let mut all = cell.borrow_mut();
        if all.len() == MAX_RECORDED {
            all.remove(0); // of panics that user code caught by itself nobody ever asks
        }
        all.push(recorded);
    });
}

/// What the hook noted, if it belongs to this payload: one resumed by hand was never seen by the hook.
pub(crate) fn report_for(payload: Payload) -> PanicReport {
    let message = payload_text(&*payload).to_owned();
    let payload = if as_text(&*payload).is_some() { None } else { Some(payload) };
    match RECORDED.try_with(|cell| take_recorded(&mut cell.borrow_mut(), &message)).ok().flatten() {
        Some(recorded) => PanicReport::new(message, recorded.location, Some(recorded.backtrace), payload),
        None => PanicReport::new(message, None, None, payload),
    }
}

/// Takes the latest that says this, and forgets what came after it; or all, if no other panic is under way.
fn take_recorded(all: &mut Vec<RecordedPanic>, message: &str) -> Option<RecordedPanic> {
    let index = all.iter().rposition(|recorded| recorded.message == message);
    let found = index.and_then(|index| all.drain(index..).next());
    if !thread::panicking() {
        all.clear();
    }
    found
}
