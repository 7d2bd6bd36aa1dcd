//! One thread that does things at their time: fires timers, ends overdue deaths. `timer` and `exit`
//! schedule here. With nothing to wait for the thread sleeps without an alarm.

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
    by_time: BTreeMap<(Instant, TimerRef), Action>,
    by_id: HashMap<TimerRef, Instant, IdHasher>,
    /// When the clock thread will look again by itself; `None`: not before it is told.
    next_wakeup: Option<Instant>,
    running: bool,
}

struct TimerThread {
    queue: Mutex<TimerQueue>,
    changed: Condvar,
}

static TIMER_THREAD: Lazy<TimerThread> =
    Lazy::new(|| TimerThread { queue: Mutex::new(TimerQueue::default()), changed: Condvar::new() });

/// `Duration::MAX` and the like: later than any program lives, and still an `Instant`.
const MAX_DELAY: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// The moment `delay` from now; a delay beyond thirty years counts as thirty years.
pub(crate) fn deadline_after(delay: Duration) -> Instant {
    let now = sync::now();
    now.checked_add(delay.min(MAX_DELAY)).unwrap_or(now)
}

/// Has the clock's thread begin, if it has not yet: with the first process, so that no timer or deadline depends on a
/// thread to be had later, when there may be none.
///
/// # Errors
/// The operating system refuses it.
pub(crate) fn ensure_started() -> io::Result<()> {
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

/// Has `action` done at its time, on the clock's thread: it must be quick. The identity is made by the
/// caller, so that the action can know it.
pub(crate) fn schedule(id: TimerRef, deadline: Instant, action: impl FnOnce() + Send + 'static) {
    let mut queue = TIMER_THREAD.queue.lock();
    queue.by_time.insert((deadline, id), Box::new(action));
    queue.by_id.insert(id, deadline);
    let mut spawn_error = None;
    if !queue.running {
        spawn_error = start_thread().err();
        queue.running = spawn_error.is_none();
    }
    if queue.next_wakeup.is_none_or(|next_wakeup| deadline < next_wakeup) {
        queue.next_wakeup = Some(deadline);
        TIMER_THREAD.changed.notify_one();
    }
    drop(queue);
    if let Some(error) = spawn_error {
        catch_and_log("the log", || {
            log::error!("rethread: no thread for the clock, timers wait until there is one: {error}");
        });
    }
}

/// Takes an action off the agenda and says how long it would have waited; `None` if it is not there.
pub(crate) fn cancel(id: TimerRef) -> Option<Duration> {
    let mut queue = TIMER_THREAD.queue.lock();
    let deadline = queue.by_id.remove(&id)?;
    let action = queue.by_time.remove(&(deadline, id));
    drop(queue);
    drop_and_log("message of a cancelled timer", action);
    Some(deadline.saturating_duration_since(sync::now()))
}

/// How long an action still has to wait; `None` if it is not on the agenda.
pub(crate) fn remaining(id: TimerRef) -> Option<Duration> {
    let deadline = *TIMER_THREAD.queue.lock().by_id.get(&id)?;
    Some(deadline.saturating_duration_since(sync::now()))
}

fn start_thread() -> io::Result<()> {
    thread::Builder::new().name("rethread-timer".into()).spawn(run).map(drop)
}

fn run() {
    let mut queue = TIMER_THREAD.queue.lock();
    loop {
        let now = sync::now();
        match queue.by_time.first_key_value().map(|(&(at, id), _)| (at, id)) {
            Some((at, id)) if at <= now => {
                let action = queue.by_time.remove(&(at, id));
                queue.by_id.remove(&id);
                drop(queue);
                if let Some(action) = action {
                    catch_and_log("a timer's message", action);
                }
                queue = TIMER_THREAD.queue.lock();
            }
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

/// The time since a moment.
pub(crate) fn elapsed(since: Instant) -> Duration {
    sync::now().saturating_duration_since(since)
}
