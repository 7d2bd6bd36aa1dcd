//! Drops messages that a timer could not deliver, on a thread of its own: their destructors are user code, which may
//! block, and must not delay other timers. Usually there is one such thread, which ends when it has had nothing to do for
//! a while.

use std::collections::VecDeque;
use std::mem;
use std::time::{Duration, Instant};

use once_cell::sync::Lazy;

use crate::pid::TimerRef;
use crate::process::park::timer_thread;
use crate::sync::{self, Condvar, Mutex, MutexGuard, thread};
use crate::unwind::drop_and_log;

/// Drops one message.
type Discard = Box<dyn FnOnce() + Send>;

/// Messages to drop, and the threads that do it.
#[derive(Default)]
struct DiscardQueue {
    pending: VecDeque<Discard>,
    threads: usize,
    /// Threads that wait for a message.
    idle: usize,
    /// When a thread has taken its last message.
    last_taken: Option<Instant>,
    /// A timer will look for a thread that is stuck in a destructor.
    check_is_scheduled: bool,
}

struct Discarder {
    queue: Mutex<DiscardQueue>,
    added: Condvar,
}

static DISCARDER: Lazy<Discarder> =
    Lazy::new(|| Discarder { queue: Mutex::new(DiscardQueue::default()), added: Condvar::new() });

/// How long a thread waits for the next message before it ends.
const MAX_IDLE_TIME: Duration = Duration::from_secs(2);

/// If no message was taken for this long although some are pending, a destructor blocks: another thread is started.
const STUCK_INTERVAL: Duration = Duration::from_secs(1);

/// Drops a value later, on another thread. Never blocks.
pub(crate) fn discard<T: Send + 'static>(value: T) {
    // Without a destructor there is no user code to run.
    if !mem::needs_drop::<T>() {
        return;
    }
    let mut queue = DISCARDER.queue.lock();
    queue.pending.push_back(Box::new(move || drop_and_log("undelivered timer message", value)));
    if queue.idle > 0 {
        drop(queue);
        DISCARDER.added.notify_one();
    } else if queue.threads == 0 {
        start_thread(queue);
    } else {
        // The thread takes it next, unless it is stuck.
        schedule_check(queue);
    }
}

/// Schedules a look at the queue, unless there is one already.
fn schedule_check(mut queue: MutexGuard<'_, DiscardQueue>) {
    if !mem::replace(&mut queue.check_is_scheduled, true) {
        drop(queue);
        timer_thread::schedule(TimerRef::next(), timer_thread::deadline_after(STUCK_INTERVAL), check);
    }
}

/// Starts another thread if messages are pending and the existing ones are stuck.
fn check() {
    let mut queue = DISCARDER.queue.lock();
    queue.check_is_scheduled = false;
    if queue.pending.is_empty() {
        return;
    }
    if queue.last_taken.is_none_or(|taken| timer_thread::elapsed(taken) >= STUCK_INTERVAL) {
        start_thread(queue);
        queue = DISCARDER.queue.lock();
    }
    schedule_check(queue);
}

/// Starts a thread that drops messages. Unlocks `queue`.
fn start_thread(mut queue: MutexGuard<'_, DiscardQueue>) {
    queue.last_taken = Some(sync::now());
    queue.threads += 1;
    drop(queue);
    let started = thread::Builder::new().name("rethread-discard".into()).spawn(discard_loop);
    if started.is_err() {
        // They are dropped by another thread, or here if there is none.
        let mut queue = DISCARDER.queue.lock();
        queue.threads -= 1;
        let pending = if queue.threads == 0 { mem::take(&mut queue.pending) } else { VecDeque::new() };
        drop(queue);
        pending.into_iter().for_each(|discard| discard());
    }
}

/// Drops messages until there has been none for a while.
fn discard_loop() {
    let mut queue = DISCARDER.queue.lock();
    let mut idle_until = None;
    loop {
        if let Some(discard) = queue.pending.pop_front() {
            queue.last_taken = Some(sync::now());
            idle_until = None;
            drop(queue);
            discard();
            queue = DISCARDER.queue.lock();
            continue;
        }
        let until = *idle_until.get_or_insert_with(|| timer_thread::deadline_after(MAX_IDLE_TIME));
        if sync::now() >= until {
            queue.threads -= 1;
            return;
        }
        queue.idle += 1;
        DISCARDER.added.wait_until(&mut queue, until);
        queue.idle -= 1;
    }
}
