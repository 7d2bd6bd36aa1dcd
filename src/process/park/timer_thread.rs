//! The timer thread: one thread that runs scheduled actions when their time has come, such as sending the
//! message of a timer, or completing the exit of a process that has exceeded its exit deadline. With no
//! action scheduled it sleeps without a timeout.
//!
//! Actions run one after the other on this thread, so they must be quick and must not block.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use once_cell::sync::Lazy;

use crate::pid::{IdHasher, TimerRef};
use crate::sync::{self, Condvar, Mutex, thread};
use crate::unwind::{catch_and_log, drop_and_log};

type Action = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct TimerQueue {
    /// The scheduled actions; the first is the next one to run.
    by_time: BTreeMap<(Instant, TimerRef), Action>,
    /// The time of each scheduled action, to find it in `by_time`.
    by_id: HashMap<TimerRef, Instant, IdHasher>,
    /// When the timer thread will wake up without being notified; `None` if it will not.
    next_wakeup: Option<Instant>,
    /// The thread has been started.
    running: bool,
}

struct TimerThread {
    queue: Mutex<TimerQueue>,
    /// Notified when an action is scheduled before `next_wakeup`.
    changed: Condvar,
}

static TIMER_THREAD: Lazy<TimerThread> =
    Lazy::new(|| TimerThread { queue: Mutex::new(TimerQueue::default()), changed: Condvar::new() });

/// Longer than any program runs, and short enough to be added to an `Instant`: stands for `Duration::MAX`.
const MAX_DELAY: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// Returns the time `delay` from now. A delay of more than thirty years counts as thirty years.
pub(crate) fn deadline_after(delay: Duration) -> Instant {
    let now = sync::now();
    now.checked_add(delay.min(MAX_DELAY)).unwrap_or(now)
}

/// Starts the timer thread, if it has not been started. This is done with the first process: later the
/// operating system may have no thread left, and then no timer or deadline would work.
///
/// # Errors
/// The operating system cannot start a thread.
pub(crate) fn ensure_started() -> io::Result<()> {
    // A fast path for each process after the first; the lock decides.
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.load(Ordering::Relaxed) {
        return Ok(());
    }
    let mut queue = TIMER_THREAD.queue.lock();
    if !queue.running {
        start_thread()?;
        queue.running = true;
    }
    DONE.store(true, Ordering::Relaxed);
    Ok(())
}

/// Schedules `action` to run on the timer thread once `deadline` has passed. It must be quick. The caller
/// creates the `id`, so that the action can contain it.
pub(crate) fn schedule(id: TimerRef, deadline: Instant, action: impl FnOnce() + Send + 'static) {
    let mut queue = TIMER_THREAD.queue.lock();
    queue.by_time.insert((deadline, id), Box::new(action));
    queue.by_id.insert(id, deadline);
    // Started here if the first process of the program has not been started yet. If that fails, the action
    // waits until a later call can start the thread.
    let mut spawn_error = None;
    if !queue.running {
        spawn_error = start_thread().err();
        queue.running = spawn_error.is_none();
    }
    // Otherwise the timer thread wakes up early enough by itself, and then reads the queue.
    if queue.next_wakeup.is_none_or(|next_wakeup| deadline < next_wakeup) {
        queue.next_wakeup = Some(deadline);
        TIMER_THREAD.changed.notify_one();
    }
    // The log sink is user code: not under the lock.
    drop(queue);
    if let Some(error) = spawn_error {
        catch_and_log("the logger", || {
            log::error!(
                "rethread: cannot start the timer thread; timers are delayed until a thread is available: {error}"
            );
        });
    }
}

/// Removes an action from the queue and returns the time it still had to wait. Returns `None` if it is not in
/// the queue: it has run, is running, or was cancelled before.
pub(crate) fn cancel(id: TimerRef) -> Option<Duration> {
    let mut queue = TIMER_THREAD.queue.lock();
    let deadline = queue.by_id.remove(&id)?;
    // The destructor of the message is user code: it runs after the lock is released, and a panic in it must
    // not reach the caller.
    let action = queue.by_time.remove(&(deadline, id));
    drop(queue);
    drop_and_log("message of a cancelled timer", action);
    Some(deadline.saturating_duration_since(sync::now()))
}

/// Returns the time an action still has to wait, or `None` if it is not in the queue.
pub(crate) fn remaining(id: TimerRef) -> Option<Duration> {
    let deadline = *TIMER_THREAD.queue.lock().by_id.get(&id)?;
    Some(deadline.saturating_duration_since(sync::now()))
}

fn start_thread() -> io::Result<()> {
    thread::Builder::new().name("rethread-timer".into()).spawn(timer_loop).map(drop)
}

/// Runs actions when their time has come. The top frame of the timer thread; never returns.
fn timer_loop() {
    let mut queue = TIMER_THREAD.queue.lock();
    loop {
        let now = sync::now();
        match queue.by_time.first_key_value().map(|(&(at, id), _)| (at, id)) {
            Some((at, id)) if at <= now => {
                // Removed under the lock before it runs: a `cancel` that comes later returns `None`.
                let action = queue.by_time.remove(&(at, id));
                queue.by_id.remove(&id);
                // Unlocked while it runs: it may be user code, and may schedule or cancel.
                drop(queue);
                if let Some(action) = action {
                    catch_and_log("the action of a timer", action);
                }
                queue = TIMER_THREAD.queue.lock();
            }
            // The lock is held from the look at the queue until the thread sleeps, so no notification is
            // lost.
            Some((at, _)) => {
                queue.next_wakeup = Some(at);
                TIMER_THREAD.changed.wait_until(&mut queue, at);
            }
            None => {
                queue.next_wakeup = None;
                TIMER_THREAD.changed.wait(&mut queue);
            }
        }
    }
}

/// Returns the time since `since`, or zero if that is in the future.
pub(crate) fn elapsed(since: Instant) -> Duration {
    sync::now().saturating_duration_since(since)
}
