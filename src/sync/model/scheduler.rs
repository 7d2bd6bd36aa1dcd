//! The scheduler: knows all threads of an execution and what each is blocked on, and lets exactly one run at
//! a time.
//!
//! `RUNNING_THREAD` is the id of the thread that may run; every other one sleeps in
//! `wait_until_scheduled`. The running thread passes the right to run on in `step` and `wait`. Never hold
//! `EXECUTION` while sleeping there.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher};
use std::panic::Location;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::sync::model::schedule::Schedule;

/// What a thread is blocked on. Locks and condition variables are identified by their address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockedOn {
    Lock(usize),
    Condvar(usize),
    /// A call of `unpark` for this thread.
    Unpark,
    /// Nothing but its deadline.
    Time,
}

#[derive(Debug)]
enum ThreadStatus {
    /// Runs, or could run.
    Ready,
    /// Cannot run until it is woken or until the deadline, in simulated time.
    Blocked { on: BlockedOn, deadline: Option<Duration> },
    /// Has exited. Its id may be reused.
    Finished,
}

/// A thread that the scheduler controls.
#[derive(Debug)]
struct ModelThread {
    name: String,
    status: ThreadStatus,
    /// `unpark` was called while the thread was not parked: its next `park` returns at once.
    token: bool,
    /// `None` until the thread has started.
    handle: Option<Thread>,
    /// The source line of its last step.
    at: &'static Location<'static>,
}

/// A step, for the report of a failure.
#[derive(Debug)]
struct TraceEntry {
    thread_id: usize,
    operation: &'static str,
    at: &'static Location<'static>,
}

/// The state of the current execution. Threads are kept from one execution to the next, as cached idle
/// threads are.
#[derive(Debug)]
struct Execution {
    /// The index is the id of the thread.
    threads: Vec<ModelThread>,
    schedule: Schedule,
    /// Simulated time since `epoch`.
    now: Duration,
    steps: u64,
    /// The last steps, at most `TRACE_CAPACITY`.
    trace: VecDeque<TraceEntry>,
    /// Hash of all switches between threads: equal for executions with the same order of steps.
    interleaving: DefaultHasher,
    /// The name of the scenario and the seed.
    title: String,
    /// The thread that runs the scenario. `None` between explorations; then it is no deadlock if all threads
    /// are blocked.
    explorer: Option<usize>,
}

static EXECUTION: Mutex<Option<Execution>> = Mutex::new(None);
/// The id of the thread that may run.
static RUNNING_THREAD: AtomicUsize = AtomicUsize::new(NO_THREAD);
const NO_THREAD: usize = usize::MAX;
/// More steps than any scenario needs: an execution that exceeds it is in an endless loop.
const MAX_STEPS: u64 = 300_000;
/// Number of steps in a report.
const TRACE_CAPACITY: usize = 120;

thread_local! {
    static CURRENT_ID: Cell<Option<usize>> = const { Cell::new(None) };
    static THREAD_EXIT_HOOK: ThreadExitHook = const { ThreadExitHook };
}

/// Removes the thread from the model when it exits. It is the first thread-local that a thread of the model
/// uses, so its destructor runs last: those of the other thread-locals still take part in the model.
struct ThreadExitHook;

impl Drop for ThreadExitHook {
    fn drop(&mut self) {
        detach_current_thread();
    }
}

/// Returns the id of the calling thread, or `None` if it is outside the model.
pub(crate) fn current_id() -> Option<usize> {
    CURRENT_ID.get()
}

/// Returns the time at which simulated time is zero.
fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

/// Returns the simulated time.
pub(crate) fn now() -> Instant {
    let elapsed = EXECUTION.lock().as_ref().map_or(Duration::ZERO, |execution| execution.now);
    epoch() + elapsed
}

/// Converts an `Instant` to simulated time.
pub(crate) fn since_epoch(at: Instant) -> Duration {
    at.saturating_duration_since(epoch())
}

/// Begins an execution on the calling thread, which becomes a thread of the model and may run. Threads of
/// earlier executions are still there.
#[track_caller]
pub(crate) fn begin_execution(schedule: Schedule, title: String) {
    // Only the first execution of the program creates the state. Threads and the time are kept; the rest
    // starts anew.
    let mut guard = EXECUTION.lock();
    let execution = guard.get_or_insert_with(|| Execution {
        threads: Vec::new(),
        schedule: Schedule::from_seed(0, false),
        now: Duration::ZERO,
        steps: 0,
        trace: VecDeque::new(),
        interleaving: DefaultHasher::new(),
        title: String::new(),
        explorer: None,
    });
    execution.schedule = schedule;
    execution.title = title;
    execution.steps = 0;
    execution.trace.clear();
    execution.interleaving = DefaultHasher::new();
    // The explorer keeps its id from one execution to the next.
    let id = match CURRENT_ID.get() {
        Some(id) => id,
        None => execution.add_thread("explorer".into(), Location::caller()),
    };
    execution.explorer = Some(id);
    execution.threads[id].status = ThreadStatus::Ready;
    execution.threads[id].handle = Some(std::thread::current());
    CURRENT_ID.set(Some(id));
    RUNNING_THREAD.store(id, Ordering::Release);
}

/// Removes the calling thread from the model and lets another one run. Does nothing on a thread outside the
/// model.
pub(crate) fn detach_current_thread() {
    let Some(id) = CURRENT_ID.take() else { return };
    let mut guard = EXECUTION.lock();
    let Some(execution) = guard.as_mut() else { return };
    execution.threads[id].status = ThreadStatus::Finished;
    execution.threads[id].handle = None;
    execution.explorer = execution.explorer.filter(|explorer| *explorer != id);
    // The calling thread is finished, so another one is chosen, or `NO_THREAD`.
    let next = execution.next_thread(id);
    switch_to(execution, next);
}

/// Disables early timeouts: from now on deadlines pass only when no thread can run.
pub(crate) fn disable_early_timeouts() {
    if let Some(execution) = EXECUTION.lock().as_mut() {
        execution.schedule.disable_early_timeouts();
    }
}

/// Returns a hash of the order of steps in the execution, and the number of its steps.
pub(crate) fn summary() -> (u64, u64) {
    EXECUTION.lock().as_ref().map_or((0, 0), |execution| (execution.interleaving.finish(), execution.steps))
}

/// Adds a thread that is about to be started, and returns its id.
#[track_caller]
pub(crate) fn register(name: String) -> usize {
    let mut guard = EXECUTION.lock();
    let Some(execution) = guard.as_mut() else { return 0 };
    execution.add_thread(name, Location::caller())
}

/// Removes a thread that was registered but could not be started.
pub(crate) fn unregister(id: usize) {
    if let Some(execution) = EXECUTION.lock().as_mut() {
        execution.threads[id].status = ThreadStatus::Finished;
    }
}

/// Makes the calling new thread the registered one with this id, and waits until it may run.
pub(crate) fn attach_current_thread(id: usize) {
    // First of all thread-locals, so that its destructor runs last.
    THREAD_EXIT_HOOK.with(|_| ());
    CURRENT_ID.set(Some(id));
    if let Some(execution) = EXECUTION.lock().as_mut() {
        execution.threads[id].handle = Some(std::thread::current());
    }
    // It may have been chosen before its handle was stored: then nothing unparks it, but it finds its id.
    wait_until_scheduled(id);
}

/// Records that the calling thread is about to do something other threads can notice, and lets the scheduler
/// run another thread first. Does nothing on a thread outside the model.
pub(crate) fn step(operation: &'static str, at: &'static Location<'static>) {
    let Some(id) = current_id() else { return };
    let mut guard = EXECUTION.lock();
    let Some(execution) = guard.as_mut() else { return };
    execution.record_step(id, operation, at);
    let next = execution.next_thread(id);
    if next != id {
        switch_to(execution, next);
        // The next thread needs the lock for its own steps.
        drop(guard);
        wait_until_scheduled(id);
    }
}

/// Blocks the calling thread until it is woken or until the deadline, unless `poll` returns `true`: then the
/// thread need not wait. Returns at once on a thread outside the model.
pub(crate) fn wait(
    on: BlockedOn,
    deadline: Option<Duration>,
    operation: &'static str,
    at: &'static Location<'static>,
    poll: impl FnOnce() -> bool,
) {
    let Some(id) = current_id() else { return };
    let mut guard = EXECUTION.lock();
    let Some(execution) = guard.as_mut() else { return };
    execution.record_step(id, operation, at);
    // `unpark` came first. The token is taken without a switch: `park` has called `step` already.
    if on == BlockedOn::Unpark && std::mem::take(&mut execution.threads[id].token) {
        return;
    }
    // Under the lock of the scheduler, so that no other thread can wake this one between the poll and the
    // block.
    if poll() {
        return;
    }
    // `next_thread` may choose this thread again: its deadline can be the next one to pass.
    execution.threads[id].status = ThreadStatus::Blocked { on, deadline };
    let next = execution.next_thread(id);
    if next != id {
        switch_to(execution, next);
        drop(guard);
        wait_until_scheduled(id);
        guard = EXECUTION.lock();
    }
    // Runs again: woken, timed out, or spuriously. A token given meanwhile is used up, as by std's `park`.
    let Some(execution) = guard.as_mut() else { return };
    if on == BlockedOn::Unpark {
        execution.threads[id].token = false;
    }
}

/// Makes all threads ready that are blocked on this.
pub(crate) fn wake_all(on: BlockedOn) {
    if let Some(execution) = EXECUTION.lock().as_mut() {
        for thread in &mut execution.threads {
            if matches!(thread.status, ThreadStatus::Blocked { on: blocked_on, .. } if blocked_on == on) {
                thread.status = ThreadStatus::Ready;
            }
        }
    }
}

/// Makes one random thread ready of those that are blocked on this.
pub(crate) fn wake_one(on: BlockedOn) {
    let mut guard = EXECUTION.lock();
    let Some(execution) = guard.as_mut() else { return };
    let blocked: Vec<usize> = (0..execution.threads.len())
        .filter(|id| {
            let status = &execution.threads[*id].status;
            matches!(status, ThreadStatus::Blocked { on: blocked_on, .. } if *blocked_on == on)
        })
        .collect();
    // Any of them, as with a real condition variable: its order is not specified.
    if !blocked.is_empty() {
        let chosen = blocked[execution.schedule.random_index(blocked.len())];
        execution.threads[chosen].status = ThreadStatus::Ready;
    }
}

/// Makes the thread ready if it is parked, else gives it a token.
pub(crate) fn unpark(id: usize) {
    if let Some(execution) = EXECUTION.lock().as_mut() {
        let thread = &mut execution.threads[id];
        match thread.status {
            ThreadStatus::Blocked { on: BlockedOn::Unpark, .. } => thread.status = ThreadStatus::Ready,
            _ => thread.token = true,
        }
    }
}

/// Switches to this thread. The caller must then wait or exit.
fn switch_to(execution: &Execution, next: usize) {
    // Before the unpark, so that the thread finds its id. One that has not started has no handle and
    // needs none.
    RUNNING_THREAD.store(next, Ordering::Release);
    if let Some(handle) = execution.threads.get(next).and_then(|thread| thread.handle.as_ref()) {
        handle.unpark();
    }
}

/// Sleeps until the thread may run.
fn wait_until_scheduled(id: usize) {
    // std's `park` may return spuriously, hence the loop.
    while RUNNING_THREAD.load(Ordering::Acquire) != id {
        std::thread::park();
    }
}

impl Execution {
    /// Adds a thread, with the id of a finished one if there is any.
    fn add_thread(&mut self, name: String, at: &'static Location<'static>) -> usize {
        let thread = ModelThread { name, status: ThreadStatus::Ready, token: false, handle: None, at };
        // Ids are reused: thousands of executions would otherwise make each search longer.
        let is_finished = |thread: &ModelThread| matches!(thread.status, ThreadStatus::Finished);
        match self.threads.iter().position(is_finished) {
            Some(id) => {
                self.threads[id] = thread;
                id
            }
            None => {
                self.threads.push(thread);
                self.threads.len() - 1
            }
        }
    }

    /// Counts a step, advances the time by 100 ns, and adds the step to the trace.
    fn record_step(&mut self, thread_id: usize, operation: &'static str, at: &'static Location<'static>) {
        self.steps += 1;
        self.now += Duration::from_nanos(100);
        self.threads[thread_id].at = at;
        if self.trace.len() == TRACE_CAPACITY {
            self.trace.pop_front();
        }
        self.trace.push_back(TraceEntry { thread_id, operation, at });
        if self.steps > MAX_STEPS {
            self.fail("step limit exceeded, probably an endless loop");
        }
    }

    /// Chooses the thread that runs next. Reports a deadlock if there is none.
    fn next_thread(&mut self, current: usize) -> usize {
        // First early timeouts and spurious wake-ups: they may add to the threads that can run.
        if self.schedule.early_timeout() {
            self.fire_next_timeout();
        }
        if self.schedule.spurious_wakeup() {
            self.wake_spuriously();
        }
        // All threads are blocked: jump to the next deadline.
        let mut ready = self.ready_threads();
        if ready.is_empty() && self.fire_next_timeout() {
            ready = self.ready_threads();
        }
        if ready.is_empty() {
            // Idle threads of the library block for good after the last exploration.
            if self.explorer.is_none() {
                return NO_THREAD;
            }
            self.fail("deadlock, no thread can run");
        }
        let next = self.schedule.choose(&ready, current, self.steps);
        // The order of steps is determined by where it switches, and to which thread.
        if next != current {
            self.interleaving.write_usize(next);
            self.interleaving.write_u64(self.steps);
        }
        next
    }

    /// Returns the ids of all threads that can run.
    fn ready_threads(&self) -> Vec<usize> {
        let is_ready = |id: &usize| matches!(self.threads[*id].status, ThreadStatus::Ready);
        (0..self.threads.len()).filter(is_ready).collect()
    }

    /// Expires the earliest deadline. Returns `false` if no thread has one.
    fn fire_next_timeout(&mut self) -> bool {
        let due = |(id, thread): (usize, &ModelThread)| match thread.status {
            ThreadStatus::Blocked { deadline: Some(deadline), .. } => Some((deadline, id)),
            _ => None,
        };
        // Of equal deadlines that of the lower id, so that the choice can be repeated.
        let Some((deadline, id)) = self.threads.iter().enumerate().filter_map(due).min() else {
            return false;
        };
        // A deadline in the past does not turn the clock back.
        self.now = self.now.max(deadline);
        self.threads[id].status = ThreadStatus::Ready;
        true
    }

    /// Wakes a random parked thread without a reason, as std allows.
    fn wake_spuriously(&mut self) {
        let parked: Vec<usize> = (0..self.threads.len())
            .filter(|id| {
                matches!(self.threads[*id].status, ThreadStatus::Blocked { on: BlockedOn::Unpark, .. })
            })
            .collect();
        if !parked.is_empty() {
            let woken = parked[self.schedule.random_index(parked.len())];
            self.threads[woken].status = ThreadStatus::Ready;
        }
    }

    /// Writes the state of all threads and the last steps to stderr and exits the program.
    fn fail(&self, why: &str) -> ! {
        let mut text = format!("\nmodel: {why}: {}\n", self.title);
        for (id, thread) in self.threads.iter().enumerate() {
            if !matches!(thread.status, ThreadStatus::Finished) {
                let ModelThread { name, status, at, .. } = thread;
                let _ = writeln!(text, "  {id} {name}: {status:?}, at {at}");
            }
        }
        text.push_str(&self.format_trace());
        let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
        // `exit` runs destructors of this thread, which must not call the scheduler: its lock is held.
        CURRENT_ID.set(None);
        std::process::exit(101);
    }

    /// Formats the last steps, one per line.
    fn format_trace(&self) -> String {
        let mut text = String::from("the last steps:\n");
        for TraceEntry { thread_id, operation, at } in &self.trace {
            let _ = writeln!(text, "  {thread_id} {operation} {at}");
        }
        text
    }
}

/// Formats the last steps of the current execution.
pub(crate) fn format_trace() -> String {
    EXECUTION.lock().as_ref().map_or_else(String::new, Execution::format_trace)
}
