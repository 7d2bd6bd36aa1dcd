//! User code that did not return: whether it panicked, exited, threw, or was told to go. The thread edge,
//! `attempt` and the callback guard of servers ask here.

use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::io::Write;
use std::panic::{self, PanicHookInfo};
use std::sync::Once;
use std::thread::{self, ThreadId};

use crate::reason::{Detail, ExitReason, PanicLocation, PanicReport};
use crate::unwind::{self, Payload, contain, describe, text_of};

/// How a piece of user code ended, if it did not return.
pub(crate) enum Unwound {
    /// Class `error`: it panicked.
    Panic(PanicReport),
    /// Class `exit`: it called `exit_with`.
    Exit(ExitReason),
    /// Class `throw`: it called `throw`.
    Throw(Payload),
    /// An exit signal took effect. Whoever catches this must let it go on.
    Told,
}

impl Unwound {
    /// The reason of a process that ends this way; `None` if that was decided by an exit signal.
    pub(crate) fn into_reason(self) -> Option<ExitReason> {
        match self {
            Self::Panic(report) => Some(ExitReason::Panic(report)),
            Self::Exit(reason) => Some(reason),
            Self::Throw(value) => {
                let detail = Detail::thrown(&*value);
                contain("the destructor of a thrown value", move || drop(value));
                Some(ExitReason::NoCatch(detail))
            }
            Self::Told => None,
        }
    }

    /// Goes on unwinding as if it had not been caught.
    pub(crate) fn resume(self) -> ! {
        match self {
            Self::Panic(report) => unwind::resume(Box::new(Again(report))),
            Self::Exit(reason) => exit(reason),
            Self::Throw(value) => throw(value),
            Self::Told => told(),
        }
    }
}

struct Exit(ExitReason);
struct Thrown(Payload);
/// On which thread.
struct Told(ThreadId);
struct Again(PanicReport);

/// Unwinds the calling thread because it ends itself with `reason`.
pub(crate) fn exit(reason: ExitReason) -> ! {
    unwind::resume(Box::new(Exit(reason)))
}

/// Unwinds the calling thread with a thrown value.
pub(crate) fn throw(value: Payload) -> ! {
    unwind::resume(Box::new(Thrown(value)))
}

/// Unwinds the calling thread because an exit signal says so.
pub(crate) fn told() -> ! {
    unwind::resume(Box::new(Told(thread::current().id())))
}

/// Runs user code and says how it ended.
pub(crate) fn catch<T>(body: impl FnOnce() -> T) -> Result<T, Unwound> {
    unwind::catch(body).map_err(classify)
}

fn classify(payload: Payload) -> Unwound {
    let payload = match payload.downcast::<Told>() {
        Ok(told) if told.0 == thread::current().id() => return Unwound::Told,
        Ok(_) => return Unwound::Panic(PanicReport::new(MISPLACED.to_owned(), None, None, None)),
        Err(payload) => payload,
    };
    let payload = match payload.downcast::<Exit>() {
        Ok(exit) => return Unwound::Exit(exit.0),
        Err(payload) => payload,
    };
    let payload = match payload.downcast::<Thrown>() {
        Ok(thrown) => return Unwound::Throw(thrown.0),
        Err(payload) => payload,
    };
    match payload.downcast::<Again>() {
        Ok(again) => Unwound::Panic(again.0),
        Err(payload) => Unwound::Panic(report_of(payload)),
    }
}

/// Somebody caught what ends another process, and let it go on here.
const MISPLACED: &str = "the exit signal of another process was resumed here";

/// What the hook saw of a panic on this thread, until the catcher asks.
struct Seen {
    message: String,
    location: Option<PanicLocation>,
    backtrace: Backtrace,
}

thread_local! {
    /// The latest last: a destructor that panics, and catches that, does not make us forget the panic that
    /// runs the destructor.
    static SEEN: RefCell<Vec<Seen>> = const { RefCell::new(Vec::new()) };
    static ON_PANIC: Cell<Option<fn(&PanicReport)>> = const { Cell::new(None) };
}

/// Marks this thread as a process: its panics are kept off stderr, and `on_panic` hears of each before
/// anything is unwound. `None` gives the thread back.
pub(crate) fn observe_panics(on_panic: Option<fn(&PanicReport)>) {
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
        let earlier = panic::take_hook();
        panic::set_hook(Box::new(move |info| match ON_PANIC.try_with(Cell::get) {
            Ok(Some(_)) if aborts(info) => {
                tell_seen();
                earlier(info);
            }
            Ok(Some(on_panic)) => note(info, on_panic),
            _ => earlier(info),
        }));
    });
}

/// Whether std ends the program after this: nobody will catch it, and nobody report it. (`can_unwind` is not stable.)
fn aborts(info: &PanicHookInfo<'_>) -> bool {
    let text = describe(info.payload());
    text == "panic in a destructor during cleanup" || text == "panic in a function that cannot unwind"
}

/// Last words of a program: the panics that were kept off standard error and led to this.
fn tell_seen() {
    let _ = SEEN.try_with(|cell| {
        for seen in cell.try_borrow().iter().flat_map(|all| all.iter()) {
            let report = PanicReport::new(seen.message.clone(), seen.location.clone(), None, None);
            let _ = writeln!(std::io::stderr(), "rethread: in a process: {}", ExitReason::Panic(report));
        }
    });
}

/// Panics in destructors in destructors: more than this at once is nobody's honest code.
const MOST_SEEN: usize = 4;

fn note(info: &PanicHookInfo<'_>, on_panic: fn(&PanicReport)) {
    let message = describe(info.payload()).to_owned();
    let location = info.location().map(PanicLocation::of);
    if !unwind::contained() {
        on_panic(&PanicReport::new(message.clone(), location.clone(), None, None));
    }
    let seen = Seen { message, location, backtrace: Backtrace::capture() };
    // Destructors of thread-locals may panic after SEEN is gone; then only the payload speaks.
    let _ = SEEN.try_with(|cell| {
        let mut all = cell.borrow_mut();
        if all.len() == MOST_SEEN {
            all.remove(0); // of panics that user code caught by itself nobody ever asks
        }
        all.push(seen);
    });
}

/// What the hook noted, if it belongs to this payload: one resumed by hand was never seen by the hook.
fn report_of(payload: Payload) -> PanicReport {
    let message = describe(&*payload).to_owned();
    let payload = if text_of(&*payload).is_some() { None } else { Some(payload) };
    match SEEN.try_with(|cell| take_seen(&mut cell.borrow_mut(), &message)).ok().flatten() {
        Some(seen) => PanicReport::new(message, seen.location, Some(seen.backtrace), payload),
        None => PanicReport::new(message, None, None, payload),
    }
}

/// Takes the latest that says this, and forgets what came after it; or all, if no other panic is under way.
fn take_seen(all: &mut Vec<Seen>, message: &str) -> Option<Seen> {
    let at = all.iter().rposition(|seen| seen.message == message);
    let found = at.and_then(|at| all.drain(at..).next());
    if !thread::panicking() {
        all.clear();
    }
    found
}
