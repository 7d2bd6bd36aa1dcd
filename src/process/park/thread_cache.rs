//! The threads that processes run on. One whose process ended normally is kept for a while for the next one: a new
//! thread costs 30 to 50 µs, to wake a kept one a few. Births ask here.

use std::cell::Cell;
use std::fs;
use std::hint;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::process::park::backoff::ActiveThreadGuard;
use crate::process::park::backoff::AdaptiveSpin;
use crate::process::park::backoff::is_oversubscribed;
use crate::process::park::parker::Parker;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{self, Mutex, thread};

/// What a process needs of a thread.
pub(crate) struct Job {
    pub(crate) label: Option<Arc<str>>,
    /// From its first step to its burial.
    pub(crate) body: Box<dyn FnOnce() + Send>,
}

impl Job {
    /// Lives it, and says whether the thread is fit for another one.
    fn run(self) -> bool {
        if let Some(label) = &self.label {
            set_os_thread_name(label);
        }
        (self.body)();
        let reusable = SOON_IDLE_STATE.get() == Some(true);
        if self.label.is_some() && reusable {
            set_os_thread_name(DEFAULT_THREAD_NAME);
        }
        reusable
    }
}

/// For how long a thread is kept that nobody needs.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// So many are kept for longer: for restarts, which should not wait for the kernel.
const MIN_IDLE: usize = 2;

const REFILL_DELAY: Duration = Duration::from_millis(1);

/// How `top -H`, `perf` and debuggers call a thread whose process has no label.
pub(crate) const DEFAULT_THREAD_NAME: &str = "rethread";

/// The kernel keeps so many bytes of a name: see `PR_SET_NAME` in prctl(2).
pub(crate) const MAX_THREAD_NAME_LEN: usize = 15;

/// A thread without a process.
struct IdleThread {
    stack_size: usize,
    parker: Parker,
    /// Whether there is a life to be lived.
    has_job: AtomicBool,
    job: Mutex<Option<Job>>,
}

/// Those that wait, the latest last: it is taken first, while its stack is warm and it may not have parked yet.
static IDLE: Mutex<Vec<Arc<IdleThread>>> = Mutex::new(Vec::new());

/// Whether it pays for a thread to look for its next process for a while, before it parks, is learned from all of them:
/// most serve one only.
static IDLE_SPIN: AdaptiveSpin = AdaptiveSpin::new();

/// How many there may be.
static CAPACITY: AtomicUsize = AtomicUsize::new(0);

/// Has so many threads be kept, from now on.
pub(crate) fn set_capacity(capacity: usize) {
    CAPACITY.store(capacity, Ordering::Relaxed);
}

/// How many threads are telling the death of their process, and will be spare in a moment.
static SOON_IDLE: AtomicUsize = AtomicUsize::new(0);

/// For how long a birth waits for one of these, rather than for a parked thread to wake up.
const SOON_IDLE_WAIT: Duration = Duration::from_micros(3);

/// So many of the latest spares may still be awake.
const MAX_SCAN: usize = 4;

/// Pauses between two looks: each takes the lock that the thread needs to become spare.
const SPINS_PER_SCAN: u32 = 8;

thread_local! {
    /// Whether this thread counts as almost spare; `None` on threads that are none of ours.
    static SOON_IDLE_STATE: Cell<Option<bool>> = const { Cell::new(None) };
}

/// The process of this thread has returned and is over but for its burial: whoever hears of its death may want the
/// thread. Not to be said of one that panicked, or was told to go: nobody knows in what state that left the
/// thread-locals of foreign code.
pub(crate) fn mark_soon_idle() {
    if SOON_IDLE_STATE.get() == Some(false) {
        SOON_IDLE_STATE.set(Some(true));
        SOON_IDLE.fetch_add(1, Ordering::Relaxed);
    }
}

/// It is spare now, or will not be after all.
fn clear_soon_idle() {
    if SOON_IDLE_STATE.replace(Some(false)) == Some(true) {
        SOON_IDLE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Has `life` lived on a thread with a stack of this size.
///
/// # Errors
/// The operating system refuses a thread.
pub(crate) fn execute(stack_size: usize, job: Job) -> io::Result<()> {
    match pop_idle(stack_size) {
        Some(idle) => idle.assign(job),
        None => spawn_thread(stack_size, Some(job))?,
    }
    Ok(())
}

/// The spare that came last, best one that has not parked yet.
fn pop_idle(stack_size: usize) -> Option<Arc<IdleThread>> {
    let same_size = |idle: &Arc<IdleThread>| idle.stack_size == stack_size;
    let mut scan_deadline = None;
    loop {
        let mut idle_threads = IDLE.lock();
        let recent = idle_threads.iter().enumerate().rev().take(MAX_SCAN);
        if let Some((index, _)) =
            recent.filter(|(_, idle)| same_size(idle)).find(|(_, idle)| !idle.parker.is_parked())
        {
            return Some(idle_threads.remove(index));
        }
        let now = sync::now();
        let deadline = *scan_deadline.get_or_insert(now + SOON_IDLE_WAIT);
        if now >= deadline || SOON_IDLE.load(Ordering::Relaxed) == 0 {
            let index = idle_threads.iter().rposition(same_size)?;
            return Some(idle_threads.remove(index));
        }
        drop(idle_threads);
        (0..SPINS_PER_SCAN).for_each(|_| hint::spin_loop());
    }
}

fn spawn_thread(stack_size: usize, job: Option<Job>) -> io::Result<()> {
    let thread = thread::Builder::new().name(DEFAULT_THREAD_NAME.into()).stack_size(stack_size);
    thread.spawn(move || worker_loop(stack_size, job)).map(drop)
}

/// The life of a thread: one process after the other.
fn worker_loop(stack_size: usize, first_job: Option<Job>) {
    let active_guard = ActiveThreadGuard::new();
    SOON_IDLE_STATE.set(Some(false));
    let mut reusable = first_job.is_none_or(Job::run);
    let idle = Arc::new(IdleThread {
        stack_size,
        parker: Parker::default(),
        has_job: AtomicBool::new(false),
        job: Mutex::new(None),
    });
    idle.parker.bind_to_current_thread();
    while reusable {
        let Some(job) = idle.wait_for_job() else { return };
        reusable = job.run();
    }
    clear_soon_idle();
    drop(active_guard);
    refill(stack_size);
}

/// A thread that cannot go on leaves a fresh one behind, if there are few. Not at once: those who have just heard of the
/// death need the cores, perhaps to start a replacement.
fn refill(stack_size: usize) {
    let needs_refill = || IDLE.lock().len() < MIN_IDLE.min(CAPACITY.load(Ordering::Relaxed));
    if needs_refill() {
        thread::sleep(REFILL_DELAY);
    }
    if needs_refill() {
        // Refused, the next process asks for a thread itself and says so.
        let _ = spawn_thread(stack_size, None);
    }
}

impl IdleThread {
    fn assign(&self, job: Job) {
        *self.job.lock() = Some(job);
        self.has_job.store(true, Ordering::Release);
        self.parker.unpark();
    }

    /// Waits for the next process; `None` if there is enough without this thread.
    fn wait_for_job(self: &Arc<Self>) -> Option<Job> {
        let capacity = CAPACITY.load(Ordering::Relaxed);
        let mut idle_threads = IDLE.lock();
        let has_room = idle_threads.len() < capacity;
        if has_room {
            idle_threads.push(Arc::clone(self));
        }
        drop(idle_threads);
        clear_soon_idle();
        if !has_room {
            return None;
        }
        let poll = || self.has_job.load(Ordering::Acquire).then_some(());
        let deadline = Some(sync::now() + KEEP_ALIVE);
        // Not where a core is scarce: many that end at once would only keep each other from parking.
        let found_spinning = if is_oversubscribed() { None } else { IDLE_SPIN.spin(deadline, poll) };
        let found = found_spinning.or_else(|| self.parker.park_until(deadline, poll));
        if found.is_none() {
            if self.retire() {
                return None;
            }
            self.parker.park_until(None, poll);
        }
        self.has_job.store(false, Ordering::Relaxed);
        self.job.lock().take()
    }

    /// Leaves the spares, unless it has been taken or is one of the reserve.
    fn retire(&self) -> bool {
        let mut idle_threads = IDLE.lock();
        let index = idle_threads.iter().position(|idle| std::ptr::eq(&**idle, self));
        match index {
            Some(index) if idle_threads.len() > MIN_IDLE => {
                idle_threads.remove(index);
                true
            }
            _ => false,
        }
    }
}

/// Gives this thread a name for tools that look from outside. The one that std keeps cannot be changed any more; where
/// there is no such file nothing happens.
fn set_os_thread_name(name: &str) {
    let _ = fs::write("/proc/thread-self/comm", name.as_bytes());
}
