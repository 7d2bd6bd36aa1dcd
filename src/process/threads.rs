//! The threads that processes run on. One whose process ended normally is kept for a while for the next one: a new
//! thread costs 30 to 50 µs, to wake a kept one a few. Births ask here.

use std::cell::Cell;
use std::fs;
use std::hint;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::process::linger::{Patience, Risen, crowded};
use crate::process::wait::Waiter;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{self, Mutex, thread};

/// What a process needs of a thread.
pub(crate) struct Life {
    pub(crate) label: Option<Arc<str>>,
    /// From its first step to its burial.
    pub(crate) live: Box<dyn FnOnce() + Send>,
}

impl Life {
    /// Lives it, and says whether the thread is fit for another one.
    fn live(self) -> bool {
        if let Some(label) = &self.label {
            call_thread(label);
        }
        (self.live)();
        let fit = COUNTED.get() == Some(true);
        if self.label.is_some() && fit {
            call_thread(UNLABELLED);
        }
        fit
    }
}

/// For how long a thread is kept that nobody needs.
const KEPT: Duration = Duration::from_secs(2);

/// So many are kept for longer: for restarts, which should not wait for the kernel.
const RESERVE: usize = 2;

const RESTOCKED_AFTER: Duration = Duration::from_millis(1);

/// How `top -H`, `perf` and debuggers call a thread whose process has no label.
pub(crate) const UNLABELLED: &str = "rethread";

/// The kernel keeps so many bytes of a name: see `PR_SET_NAME` in prctl(2).
pub(crate) const LONGEST_NAME: usize = 15;

/// A thread without a process.
struct Spare {
    stack_size: usize,
    waiter: Waiter,
    /// Whether there is a life to be lived.
    called: AtomicBool,
    life: Mutex<Option<Life>>,
}

/// Those that wait, the latest last: it is taken first, while its stack is warm and it may not have parked yet.
static SPARES: Mutex<Vec<Arc<Spare>>> = Mutex::new(Vec::new());

/// Whether it pays for a thread to look for its next process for a while, before it parks, is learned from all of them:
/// most serve one only.
static PATIENCE: Patience = Patience::new();

/// How many there may be.
static MOST: AtomicUsize = AtomicUsize::new(0);

/// Has so many threads be kept, from now on.
pub(crate) fn keep(most: usize) {
    MOST.store(most, Ordering::Relaxed);
}

/// How many threads are telling the death of their process, and will be spare in a moment.
static ALMOST_SPARE: AtomicUsize = AtomicUsize::new(0);

/// For how long a birth waits for one of these, rather than for a parked thread to wake up.
const A_MOMENT: Duration = Duration::from_micros(3);

/// So many of the latest spares may still be awake.
const MOST_LOOKED_AT: usize = 4;

/// Pauses between two looks: each takes the lock that the thread needs to become spare.
const LOOK_AWAY: u32 = 8;

thread_local! {
    /// Whether this thread counts as almost spare; `None` on threads that are none of ours.
    static COUNTED: Cell<Option<bool>> = const { Cell::new(None) };
}

/// The process of this thread has returned and is over but for its burial: whoever hears of its death may want the
/// thread. Not to be said of one that panicked, or was told to go: nobody knows in what state that left the
/// thread-locals of foreign code.
pub(crate) fn will_be_spare() {
    if COUNTED.get() == Some(false) {
        COUNTED.set(Some(true));
        ALMOST_SPARE.fetch_add(1, Ordering::Relaxed);
    }
}

/// It is spare now, or will not be after all.
fn is_settled() {
    if COUNTED.replace(Some(false)) == Some(true) {
        ALMOST_SPARE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Has `life` lived on a thread with a stack of this size.
///
/// # Errors
/// The operating system refuses a thread.
pub(crate) fn run(stack_size: usize, life: Life) -> io::Result<()> {
    match take(stack_size) {
        Some(spare) => spare.call(life),
        None => start(stack_size, Some(life))?,
    }
    Ok(())
}

/// The spare that came last, best one that has not parked yet.
fn take(stack_size: usize) -> Option<Arc<Spare>> {
    let fits = |spare: &Arc<Spare>| spare.stack_size == stack_size;
    let mut patience = None;
    loop {
        let mut spares = SPARES.lock();
        let awake = spares.iter().enumerate().rev().take(MOST_LOOKED_AT);
        if let Some((at, _)) =
            awake.filter(|(_, spare)| fits(spare)).find(|(_, spare)| !spare.waiter.parked())
        {
            return Some(spares.remove(at));
        }
        let now = sync::now();
        let until = *patience.get_or_insert(now + A_MOMENT);
        if now >= until || ALMOST_SPARE.load(Ordering::Relaxed) == 0 {
            let at = spares.iter().rposition(fits)?;
            return Some(spares.remove(at));
        }
        drop(spares);
        (0..LOOK_AWAY).for_each(|_| hint::spin_loop());
    }
}

fn start(stack_size: usize, life: Option<Life>) -> io::Result<()> {
    let thread = thread::Builder::new().name(UNLABELLED.into()).stack_size(stack_size);
    thread.spawn(move || serve(stack_size, life)).map(drop)
}

/// The life of a thread: one process after the other.
fn serve(stack_size: usize, first: Option<Life>) {
    let risen = Risen::new();
    COUNTED.set(Some(false));
    let mut fit = first.is_none_or(Life::live);
    let spare = Arc::new(Spare {
        stack_size,
        waiter: Waiter::default(),
        called: AtomicBool::new(false),
        life: Mutex::new(None),
    });
    spare.waiter.belongs_here();
    while fit {
        let Some(life) = spare.await_life() else { return };
        fit = life.live();
    }
    is_settled();
    drop(risen);
    restock(stack_size);
}

/// A thread that cannot go on leaves a fresh one behind, if there are few. Not at once: those who have just heard of the
/// death need the cores, perhaps to start a replacement.
fn restock(stack_size: usize) {
    let few = || SPARES.lock().len() < RESERVE.min(MOST.load(Ordering::Relaxed));
    if few() {
        thread::sleep(RESTOCKED_AFTER);
    }
    if few() {
        // Refused, the next process asks for a thread itself and says so.
        let _ = start(stack_size, None);
    }
}

impl Spare {
    fn call(&self, life: Life) {
        *self.life.lock() = Some(life);
        self.called.store(true, Ordering::Release);
        self.waiter.wake();
    }

    /// Waits for the next process; `None` if there is enough without this thread.
    fn await_life(self: &Arc<Self>) -> Option<Life> {
        let most = MOST.load(Ordering::Relaxed);
        let mut spares = SPARES.lock();
        let wanted = spares.len() < most;
        if wanted {
            spares.push(Arc::clone(self));
        }
        drop(spares);
        is_settled();
        if !wanted {
            return None;
        }
        let called = || self.called.load(Ordering::Acquire).then_some(());
        let until = Some(sync::now() + KEPT);
        // Not where a core is scarce: many that end at once would only keep each other from parking.
        let soon = if crowded() { None } else { PATIENCE.linger(until, called) };
        let found = soon.or_else(|| self.waiter.park_until(until, called));
        if found.is_none() {
            if self.leave() {
                return None;
            }
            self.waiter.park_until(None, called);
        }
        self.called.store(false, Ordering::Relaxed);
        self.life.lock().take()
    }

    /// Leaves the spares, unless it has been taken or is one of the reserve.
    fn leave(&self) -> bool {
        let mut spares = SPARES.lock();
        let at = spares.iter().position(|spare| std::ptr::eq(&**spare, self));
        match at {
            Some(at) if spares.len() > RESERVE => {
                spares.remove(at);
                true
            }
            _ => false,
        }
    }
}

/// Gives this thread a name for tools that look from outside. The one that std keeps cannot be changed any more; where
/// there is no such file nothing happens.
fn call_thread(name: &str) {
    let _ = fs::write("/proc/thread-self/comm", name.as_bytes());
}
