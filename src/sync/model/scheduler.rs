//! The scheduler: which threads there are, what each waits for, who has the turn. The primitives ask here at each step.

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

/// What somebody waits for: an address, or its own `unpark`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockedOn {
    Lock(usize),
    Condvar(usize),
    Unpark,
    Time,
}

#[derive(Debug)]
enum ThreadStatus {
    Ready,
    Blocked { on: BlockedOn, deadline: Option<Duration> },
    Finished,
}

#[derive(Debug)]
struct ModelThread {
    name: String,
    status: ThreadStatus,
    /// Somebody called `unpark` meanwhile.
    token: bool,
    /// Its last wait ended because its time was up.
    timed_out: bool,
    /// `None` until it has begun.
    handle: Option<Thread>,
    at: &'static Location<'static>,
}

/// A step, for the story that a failure tells.
#[derive(Debug)]
struct TraceEntry {
    thread_id: usize,
    operation: &'static str,
    at: &'static Location<'static>,
}

#[derive(Debug)]
struct Execution {
    threads: Vec<ModelThread>,
    schedule: Schedule,
    /// Since `BEGINNING`.
    now: Duration,
    steps: u64,
    trace: VecDeque<TraceEntry>,
    interleaving: DefaultHasher,
    /// What is being explored, and how to get here again.
    title: String,
    /// Who explores; between explorations nobody does, and whoever waits may wait for ever.
    explorer: Option<usize>,
}

static EXECUTION: Mutex<Option<Execution>> = Mutex::new(None);
static RUNNING_THREAD: AtomicUsize = AtomicUsize::new(NO_THREAD);
const NO_THREAD: usize = usize::MAX;
/// More steps than an execution can need: somebody runs in circles.
const MAX_STEPS: u64 = 300_000;
const TRACE_CAPACITY: usize = 120;

thread_local! {
    static CURRENT_ID: Cell<Option<usize>> = const { Cell::new(None) };
    static THREAD_EXIT_HOOK: ThreadExitHook = const { ThreadExitHook };
}

/// The last destructor of a thread that runs, because it is the first that is registered: the thread is over.
struct ThreadExitHook;

impl Drop for ThreadExitHook {
    fn drop(&mut self) {
        detach_current_thread();
    }
}

/// The number of the calling thread, if it is one of the model's.
pub(crate) fn current_id() -> Option<usize> {
    CURRENT_ID.get()
}

fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

/// The model's time.
pub(crate) fn now() -> Instant {
    let elapsed = EXECUTION.lock().as_ref().map_or(Duration::ZERO, |execution| execution.now);
    epoch() + elapsed
}

pub(crate) fn since_epoch(at: Instant) -> Duration {
    at.saturating_duration_since(epoch())
}

/// The calling thread becomes one of the model's and has the turn; those of earlier executions are still there.
#[track_caller]
pub(crate) fn begin_execution(schedule: Schedule, title: String) {
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

/// The calling thread is none of the model's any more. Who it was may not be needed again.
pub(crate) fn detach_current_thread() {
    let Some(id) = CURRENT_ID.take() else { return };
    let mut guard = EXECUTION.lock();
    let Some(execution) = guard.as_mut() else { return };
    execution.threads[id].status = ThreadStatus::Finished;
    execution.threads[id].handle = None;
    execution.explorer = execution.explorer.filter(|explorer| *explorer != id);
    let next = execution.next_thread(id);
    switch_to(execution, next);
}

/// From now on deadlines pass only when nobody can go on.
pub(crate) fn disable_early_timeouts() {
    if let Some(execution) = EXECUTION.lock().as_mut() {
        execution.schedule.disable_early_timeouts();
    }
}

/// What the execution was like: a number for its order of turns, and how many steps it had.
pub(crate) fn summary() -> (u64, u64) {
    EXECUTION.lock().as_ref().map_or((0, 0), |execution| (execution.interleaving.finish(), execution.steps))
}

/// A new thread of the model's is to begin; its number.
#[track_caller]
pub(crate) fn register(name: String) -> usize {
    let mut guard = EXECUTION.lock();
    let Some(execution) = guard.as_mut() else { return 0 };
    execution.add_thread(name, Location::caller())
}

/// A thread that was registered could not be started.
pub(crate) fn unregister(id: usize) {
    if let Some(execution) = EXECUTION.lock().as_mut() {
        execution.threads[id].status = ThreadStatus::Finished;
    }
}

/// The first thing a new thread does.
pub(crate) fn attach_current_thread(id: usize) {
    THREAD_EXIT_HOOK.with(|_| ());
    CURRENT_ID.set(Some(id));
    if let Some(execution) = EXECUTION.lock().as_mut() {
        execution.threads[id].handle = Some(std::thread::current());
    }
    wait_until_scheduled(id);
}

/// The calling thread is about to do something that others could notice.
pub(crate) fn step(operation: &'static str, at: &'static Location<'static>) {
    let Some(id) = current_id() else { return };
    let mut guard = EXECUTION.lock();
    let Some(execution) = guard.as_mut() else { return };
    execution.record_step(id, operation, at);
    let next = execution.next_thread(id);
    if next != id {
        switch_to(execution, next);
        drop(guard);
        wait_until_scheduled(id);
    }
}

/// The calling thread waits until it is woken, or until that time, unless `free` is true. Returns whether the time
/// was up; at once on a thread that is none of the model's.
pub(crate) fn wait(
    on: BlockedOn,
    deadline: Option<Duration>,
    operation: &'static str,
    at: &'static Location<'static>,
    poll: impl FnOnce() -> bool,
) -> bool {
    let Some(id) = current_id() else { return false };
    let mut guard = EXECUTION.lock();
    let Some(execution) = guard.as_mut() else { return false };
    execution.record_step(id, operation, at);
    if on == BlockedOn::Unpark && std::mem::take(&mut execution.threads[id].token) {
        return false;
    }
    if poll() {
        return false;
    }
    execution.threads[id].status = ThreadStatus::Blocked { on, deadline };
    let next = execution.next_thread(id);
    if next != id {
        switch_to(execution, next);
        drop(guard);
        wait_until_scheduled(id);
        guard = EXECUTION.lock();
    }
    let Some(execution) = guard.as_mut() else { return false };
    let thread = &mut execution.threads[id];
    if on == BlockedOn::Unpark {
        thread.token = false;
    }
    std::mem::take(&mut thread.timed_out)
}

/// Whoever waits for this can go on.
pub(crate) fn wake_all(on: BlockedOn) {
    if let Some(execution) = EXECUTION.lock().as_mut() {
        for thread in &mut execution.threads {
            if matches!(thread.status, ThreadStatus::Blocked { on: wanted, .. } if wanted == on) {
                thread.status = ThreadStatus::Ready;
            }
        }
    }
}

/// One of those who wait for this can go on.
pub(crate) fn wake_one(on: BlockedOn) {
    let mut guard = EXECUTION.lock();
    let Some(execution) = guard.as_mut() else { return };
    let blocked: Vec<usize> = (0..execution.threads.len())
        .filter(|id| {
            let status = &execution.threads[*id].status;
            matches!(status, ThreadStatus::Blocked { on: wanted, .. } if *wanted == on)
        })
        .collect();
    if !blocked.is_empty() {
        let chosen = blocked[execution.schedule.random_index(blocked.len())];
        execution.threads[chosen].status = ThreadStatus::Ready;
    }
}

pub(crate) fn unpark(id: usize) {
    if let Some(execution) = EXECUTION.lock().as_mut() {
        let thread = &mut execution.threads[id];
        match thread.status {
            ThreadStatus::Blocked { on: BlockedOn::Unpark, .. } => thread.status = ThreadStatus::Ready,
            _ => thread.token = true,
        }
    }
}

fn switch_to(execution: &Execution, next: usize) {
    RUNNING_THREAD.store(next, Ordering::Release);
    if let Some(handle) = execution.threads.get(next).and_then(|thread| thread.handle.as_ref()) {
        handle.unpark();
    }
}

fn wait_until_scheduled(id: usize) {
    while RUNNING_THREAD.load(Ordering::Acquire) != id {
        std::thread::park();
    }
}

impl Execution {
    fn add_thread(&mut self, name: String, at: &'static Location<'static>) -> usize {
        let thread = ModelThread {
            name,
            status: ThreadStatus::Ready,
            token: false,
            timed_out: false,
            handle: None,
            at,
        };
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

    fn record_step(&mut self, thread_id: usize, operation: &'static str, at: &'static Location<'static>) {
        self.steps += 1;
        self.now += Duration::from_nanos(100);
        self.threads[thread_id].at = at;
        if self.trace.len() == TRACE_CAPACITY {
            self.trace.pop_front();
        }
        self.trace.push_back(TraceEntry { thread_id, operation, at });
        if self.steps > MAX_STEPS {
            self.fail("somebody runs in circles");
        }
    }

    /// Who has the next turn.
    fn next_thread(&mut self, current: usize) -> usize {
        if self.schedule.early_timeout() {
            self.fire_next_timeout();
        }
        if self.schedule.spurious_wakeup() {
            self.wake_spuriously();
        }
        let mut ready = self.ready_threads();
        if ready.is_empty() && self.fire_next_timeout() {
            ready = self.ready_threads();
        }
        if ready.is_empty() {
            if self.explorer.is_none() {
                return NO_THREAD;
            }
            self.fail("nobody can go on");
        }
        let next = self.schedule.choose(&ready, current, self.steps);
        if next != current {
            self.interleaving.write_usize(next);
            self.interleaving.write_u64(self.steps);
        }
        next
    }

    fn ready_threads(&self) -> Vec<usize> {
        let is_ready = |id: &usize| matches!(self.threads[*id].status, ThreadStatus::Ready);
        (0..self.threads.len()).filter(is_ready).collect()
    }

    /// The next deadline is past.
    fn fire_next_timeout(&mut self) -> bool {
        let due = |(id, thread): (usize, &ModelThread)| match thread.status {
            ThreadStatus::Blocked { deadline: Some(deadline), .. } => Some((deadline, id)),
            _ => None,
        };
        let Some((deadline, id)) = self.threads.iter().enumerate().filter_map(due).min() else {
            return false;
        };
        self.now = self.now.max(deadline);
        self.threads[id].status = ThreadStatus::Ready;
        self.threads[id].timed_out = true;
        true
    }

    /// Some parked thread wakes up for no reason, as std allows.
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
        CURRENT_ID.set(None); // to exit runs the destructors of this thread
        std::process::exit(101);
    }

    fn format_trace(&self) -> String {
        let mut text = String::from("the last steps:\n");
        for TraceEntry { thread_id, operation, at } in &self.trace {
            let _ = writeln!(text, "  {thread_id} {operation} {at}");
        }
        text
    }
}

/// The last steps, for who has found something wrong.
pub(crate) fn format_trace() -> String {
    EXECUTION.lock().as_ref().map_or_else(String::new, Execution::format_trace)
}
