//! The threads that run processes, and the cache of idle ones. A thread whose process returned normally is
//! kept for a while and runs the next process: to start a new thread costs 30 to 50 µs, to wake an idle one a
//! few.
//!
//! Never reuse a thread whose job panicked or was ended by a signal: thread-locals of foreign code may be in
//! any state.
//!
//! A new thread inherits from the thread that starts it, as with `std::thread::spawn`: in the operating system its
//! cores, priority, signal mask and sandbox, in std the handle by which `cargo test` captures output. A kept thread
//! has what it inherited once. So it is used again only for jobs of the same [`Origin`], and never for a job that is
//! started on a dedicated thread, whose process may have changed what it hands on.

use std::cell::{Cell, RefCell};
use std::fs;
use std::hint;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::process::park::backoff::ActiveThreadGuard;
use crate::process::park::backoff::AdaptiveSpin;
use crate::process::park::backoff::is_oversubscribed;
use crate::process::park::parker::Parker;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{self, Mutex, thread};

/// One process, to be run on some thread.
pub(crate) struct Job {
    /// Becomes the name of the thread in the operating system, while the job runs.
    pub(crate) label: Option<Arc<str>>,
    /// Runs the process from its start to the end of its exit cleanup. It must not unwind.
    pub(crate) body: Box<dyn FnOnce() + Send>,
    /// The job gets a new thread, which runs no other job.
    pub(crate) dedicated: bool,
}

impl Job {
    /// Runs the job, which was started on a thread of this origin; returns whether the thread can be reused.
    fn run(self, origin: Arc<Origin>) -> bool {
        ORIGIN.set(Some(origin));
        DEDICATED.set(self.dedicated);
        if let Some(label) = &self.label {
            set_os_thread_name(label);
        }
        (self.body)();
        // An idle thread must not keep its origin alive.
        drop(ORIGIN.take());
        // Only a body that returned normally has called `mark_soon_idle`.
        let reusable = SOON_IDLE_STATE.get() == Some(true) && !self.dedicated;
        if self.label.is_some() && reusable {
            set_os_thread_name(DEFAULT_THREAD_NAME);
        }
        reusable
    }
}

/// Time an idle thread waits for a job before it exits.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// Number of idle threads that are kept without a time limit, so that a restart need not wait for the kernel.
const MIN_IDLE: usize = 2;

/// Name of a thread whose process has no label, as `top -H`, `perf` and debuggers show it.
pub(crate) const DEFAULT_THREAD_NAME: &str = "rethread";

/// Number of bytes the kernel keeps of a thread name: see `PR_SET_NAME` in prctl(2).
pub(crate) const MAX_THREAD_NAME_LEN: usize = 15;

/// The foreign thread with which a chain of starts began: `main`, the thread of a test. All processes that it starts,
/// that those start, and so on, have the same origin. It lives as long as that thread or one of these processes.
pub(crate) struct Origin {
    /// Identifies the origin in idle threads.
    id: u64,
}

impl Origin {
    fn new() -> Arc<Self> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self { id: NEXT_ID.fetch_add(1, Ordering::Relaxed) })
    }

    /// Returns the origin of the calling thread. A foreign thread becomes one.
    fn current() -> Arc<Self> {
        ORIGIN
            .try_with(|origin| Arc::clone(origin.borrow_mut().get_or_insert_with(Self::new)))
            // The thread is exiting: what it starts now has an origin of its own.
            .unwrap_or_else(|_| Self::new())
    }
}

impl Drop for Origin {
    /// Retires the idle threads of this origin: no job for them can come any more.
    fn drop(&mut self) {
        let mut idle_threads = IDLE.lock();
        let (retired, others) =
            std::mem::take(&mut *idle_threads).into_iter().partition(|idle| idle.origin_id == self.id);
        *idle_threads = others;
        drop(idle_threads);
        let retired: Vec<Arc<IdleThread>> = retired;
        retired.iter().for_each(|idle| idle.wake());
    }
}

/// A thread that waits for its next job.
struct IdleThread {
    /// In bytes. Jobs run on a thread with exactly the stack size they ask for.
    stack_size: usize,
    /// The origin of the thread that started this one.
    origin: Weak<Origin>,
    origin_id: u64,
    parker: Parker,
    /// Set after `job` is stored; the idle thread polls it, since polling `job` would take the lock. Set without a job
    /// if the thread must exit.
    has_job: AtomicBool,
    job: Mutex<Option<(Job, Arc<Origin>)>>,
}

/// The idle threads, most recently added last. That one is reused first: its stack is in the caches, and it
/// may not have parked yet.
static IDLE: Mutex<Vec<Arc<IdleThread>>> = Mutex::new(Vec::new());

/// Spin statistics of all idle threads together: most run one job only, so each alone would learn nothing.
static IDLE_SPIN: AdaptiveSpin = AdaptiveSpin::new();

/// Maximum number of idle threads.
static CAPACITY: AtomicUsize = AtomicUsize::new(0);

/// Sets the maximum number of idle threads. Threads that are idle already stay until their time is up.
pub(crate) fn set_capacity(capacity: usize) {
    CAPACITY.store(capacity, Ordering::Relaxed);
}

/// Number of threads whose process has returned and that will be idle once its exit cleanup is complete.
static SOON_IDLE: AtomicUsize = AtomicUsize::new(0);

/// Time a new job waits for a soon idle thread, instead of for a parked one to wake up.
const SOON_IDLE_WAIT: Duration = Duration::from_micros(3);

/// Number of idle threads, most recent first, that a scan checks for one that has not parked yet.
const MAX_SCAN: usize = 4;

/// Spin-loop hints between two scans. A scan holds the lock that a soon idle thread needs to become idle.
const SPINS_PER_SCAN: u32 = 8;

thread_local! {
    /// `Some(true)` while the thread counts in `SOON_IDLE`; `None` on foreign threads.
    static SOON_IDLE_STATE: Cell<Option<bool>> = const { Cell::new(None) };
    /// The origin of the job on this thread; on a foreign thread, that of the jobs it starts.
    static ORIGIN: RefCell<Option<Arc<Origin>>> = const { RefCell::new(None) };
    /// The job on this thread has it for itself.
    static DEDICATED: Cell<bool> = const { Cell::new(false) };
}

/// Marks the calling thread as soon idle: its process has returned, only exit cleanup is left. A watcher that
/// is notified during the cleanup may start a process at once, and can then wait for this thread.
///
/// Must not be called if the process panicked or exited because of a signal: thread-locals of foreign code
/// may be left in any state, so the thread is not reused.
pub(crate) fn mark_soon_idle() {
    if SOON_IDLE_STATE.get() == Some(false) {
        SOON_IDLE_STATE.set(Some(true));
        SOON_IDLE.fetch_add(1, Ordering::Relaxed);
    }
}

/// Ends the soon idle state: the thread is idle now, or will not become idle.
fn clear_soon_idle() {
    if SOON_IDLE_STATE.replace(Some(false)) == Some(true) {
        SOON_IDLE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs `job` on an idle thread with a stack of this size in bytes, or on a new one.
///
/// # Errors
/// The operating system cannot start a thread.
pub(crate) fn execute(stack_size: usize, mut job: Job) -> io::Result<()> {
    // What a process on a dedicated thread starts inherits what it has done to its thread: a sandbox must not end with
    // the first child. So these threads are as dedicated as that of the process.
    job.dedicated |= DEDICATED.get();
    let origin = Origin::current();
    let idle = if job.dedicated { None } else { pop_idle(stack_size, &origin) };
    match idle {
        Some(idle) => idle.assign(job, origin),
        None => spawn_thread(stack_size, origin, Some(job))?,
    }
    Ok(())
}

/// Starts idle threads with a stack of this size in bytes until there are `MIN_IDLE` of the calling thread's origin, so
/// that its next restart need not wait for the kernel. Called by a supervisor after a restart: then no other process
/// waits for it, and its thread is one whose properties the restarted processes have anyway.
pub(crate) fn refill(stack_size: usize) {
    if DEDICATED.get() {
        return;
    }
    let origin = Origin::current();
    let wanted = MIN_IDLE.min(CAPACITY.load(Ordering::Relaxed));
    let is_same = |idle: &&Arc<IdleThread>| idle.stack_size == stack_size && idle.origin_id == origin.id;
    let present = IDLE.lock().iter().filter(is_same).take(wanted).count();
    // One at a time: a restart has used up one at most.
    if present < wanted {
        // Not reported: the next job asks for a thread itself and returns the error.
        let _ = spawn_thread(stack_size, origin, None);
    }
}

/// Takes an idle thread out of the cache: the most recent one that has not parked yet, else the most recent
/// one. Only threads of this stack size and origin are considered.
fn pop_idle(stack_size: usize, origin: &Origin) -> Option<Arc<IdleThread>> {
    let fits = |idle: &Arc<IdleThread>| idle.stack_size == stack_size && idle.origin_id == origin.id;
    let mut scan_deadline = None;
    loop {
        // A thread that still spins takes the job within a microsecond; a parked one needs a system call.
        let mut idle_threads = IDLE.lock();
        let recent = idle_threads.iter().enumerate().rev().take(MAX_SCAN);
        if let Some((index, _)) =
            recent.filter(|(_, idle)| fits(idle)).find(|(_, idle)| !idle.parker.is_parked())
        {
            return Some(idle_threads.remove(index));
        }
        // No thread is awake. If one will be idle in a moment, wait for that. A thread that is preempted
        // before it gets there must not hold up the caller: hence the deadline.
        let now = sync::now();
        let deadline = *scan_deadline.get_or_insert(now + SOON_IDLE_WAIT);
        if now >= deadline || SOON_IDLE.load(Ordering::Relaxed) == 0 {
            let index = idle_threads.iter().rposition(fits)?;
            return Some(idle_threads.remove(index));
        }
        // The soon idle thread needs the lock.
        drop(idle_threads);
        (0..SPINS_PER_SCAN).for_each(|_| hint::spin_loop());
    }
}

/// Starts a new thread. Without a job it becomes idle at once.
fn spawn_thread(stack_size: usize, origin: Arc<Origin>, job: Option<Job>) -> io::Result<()> {
    let thread = thread::Builder::new().name(DEFAULT_THREAD_NAME.into()).stack_size(stack_size);
    thread.spawn(move || worker_loop(stack_size, origin, job)).map(drop)
}

/// Runs jobs on the calling thread, one after the other, until the thread cannot be reused or is not needed.
fn worker_loop(stack_size: usize, origin: Arc<Origin>, first_job: Option<Job>) {
    let active_guard = ActiveThreadGuard::new();
    SOON_IDLE_STATE.set(Some(false));
    let idle = Arc::new(IdleThread {
        stack_size,
        origin: Arc::downgrade(&origin),
        origin_id: origin.id,
        parker: Parker::default(),
        has_job: AtomicBool::new(false),
        job: Mutex::new(None),
    });
    idle.parker.bind_to_current_thread();
    let mut reusable = match first_job {
        Some(job) => job.run(origin),
        None => {
            drop(origin);
            true
        }
    };
    while reusable {
        let Some((job, origin)) = idle.wait_for_job() else { return };
        reusable = job.run(origin);
    }
    clear_soon_idle();
    drop(active_guard);
}

impl IdleThread {
    /// Passes a job to this thread, which must have been taken out of the cache, and wakes it.
    fn assign(&self, job: Job, origin: Arc<Origin>) {
        // The job must be there before the flag: the idle thread takes it without checking again.
        *self.job.lock() = Some((job, origin));
        self.wake();
    }

    /// Ends the wait of this thread, which must have been taken out of the cache. Without a job it exits.
    fn wake(&self) {
        self.has_job.store(true, Ordering::Release);
        self.parker.unpark();
    }

    /// Waits for the next job; returns `None` if the thread is not needed and must exit.
    fn wait_for_job(self: &Arc<Self>) -> Option<(Job, Arc<Origin>)> {
        let capacity = CAPACITY.load(Ordering::Relaxed);
        // Become idle, if the cache has room. Under the lock: an origin that ends later finds this thread in the cache.
        let mut idle_threads = IDLE.lock();
        let has_room = idle_threads.len() < capacity && self.origin.strong_count() > 0;
        if has_room {
            idle_threads.push(Arc::clone(self));
        }
        drop(idle_threads);
        // After the push: a caller in `pop_idle` that finds no soon idle thread must find this one in the
        // cache.
        clear_soon_idle();
        if !has_room {
            return None;
        }
        let poll = || self.has_job.load(Ordering::Acquire).then_some(());
        let deadline = Some(sync::now() + KEEP_ALIVE);
        // Spin only if cores are free: many threads that become idle at once would only keep each other from
        // parking.
        let found_spinning = if is_oversubscribed() { None } else { IDLE_SPIN.spin(deadline, poll) };
        let found = found_spinning.or_else(|| self.parker.park_until(deadline, poll));
        if found.is_none() {
            if self.retire() {
                return None;
            }
            // Either this thread is kept in reserve, or it was taken out of the cache between the timeout and `retire`:
            // then its job arrives in a moment and must not be lost. Wait without a deadline in both cases.
            self.parker.park_until(None, poll);
        }
        self.has_job.store(false, Ordering::Relaxed);
        self.job.lock().take()
    }

    /// Leaves the cache, unless the thread has been taken out of it or is one of the last `MIN_IDLE`. Returns
    /// `true` if it has left: no job will come.
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

/// Sets the name of the calling thread that other programs see. The name that std keeps cannot be changed
/// after the start. Where this file does not exist, nothing happens.
fn set_os_thread_name(name: &str) {
    let _ = fs::write("/proc/thread-self/comm", name.as_bytes());
}
