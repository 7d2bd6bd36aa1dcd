//! Messages that are sent later: `send_after`, `send_at`, cancel, read. User code and server contexts
//! call it; the waiting is the clock's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::pid::TimerRef;
use crate::process::control::block::ProcessBlock;
use crate::process::control::local;
use crate::process::mailbox::address::Address;
use crate::process::mailbox::address::Name;
use crate::process::park::timer_thread;
use crate::sync::thread;
use crate::unwind::drop_and_log;

/// Where a timed message goes: made from an [`Address`] or a [`Name`].
#[derive(Debug)]
pub struct TimerTarget<M>(TimerTargetKind<M>);

#[derive(Debug)]
enum TimerTargetKind<M> {
    Address(Address<M>),
    Name(Name<M>),
}

impl<M> From<&Address<M>> for TimerTarget<M> {
    fn from(address: &Address<M>) -> Self {
        Self(TimerTargetKind::Address(address.clone()))
    }
}

impl<M> From<Name<M>> for TimerTarget<M> {
    fn from(name: Name<M>) -> Self {
        Self(TimerTargetKind::Name(name))
    }
}

/// Sends a message after a while, never early. A timer aimed at a process ends with that process; one
/// aimed at a name finds the holder when it fires. It outlives the process that started it.
///
/// A delay beyond thirty years counts as thirty years.
///
/// ```
/// use std::time::Duration;
/// use rethread::process::{self, Event};
///
/// let waiting = process::spawn::<&str>(|inbox| assert_eq!(inbox.recv(), Event::Message("time's up")))?;
/// let timer = process::send_after(Duration::from_millis(10), &waiting, "time's up");
/// # let _ = timer;
/// # Ok::<(), rethread::process::SpawnError>(())
/// ```
pub fn send_after<M: Send + 'static>(delay: Duration, to: impl Into<TimerTarget<M>>, message: M) -> TimerRef {
    send_at(timer_thread::deadline_after(delay), to, message)
}

/// Sends a message at a moment; at once if the moment is past.
///
/// ```
/// use std::time::Instant;
/// use rethread::process;
///
/// let waiting = process::spawn::<()>(|inbox| { inbox.recv(); })?;
/// let timer = process::send_at(Instant::now(), &waiting, ());
/// # let _ = timer;
/// # Ok::<(), rethread::process::SpawnError>(())
/// ```
pub fn send_at<M: Send + 'static>(deadline: Instant, to: impl Into<TimerTarget<M>>, message: M) -> TimerRef {
    local::checkpoint();
    let id = TimerRef::next();
    if local::get().is_some_and(|me| me.is_zombie()) {
        return id;
    }
    match to.into().0 {
        TimerTargetKind::Name(name) => timer_thread::schedule(id, deadline, move || {
            if let Err(error) = name.send(message) {
                drop_on_new_thread(error);
            }
        }),
        TimerTargetKind::Address(address) => {
            let block = Arc::clone(address.block());
            let Some(registration) = TimerRegistration::new(&block, id) else {
                return id; // to a dead process: the message is dropped
            };
            timer_thread::schedule(id, deadline, move || {
                drop(registration);
                if let Err(unsent) = address.try_send(message) {
                    drop_on_new_thread(unsent);
                }
            });
            if block.is_cleaning_up() {
                // Its burial may have come before the timer was on the agenda.
                timer_thread::cancel(id);
            }
        }
    }
    id
}

/// Drops a message that nobody takes. Its destructor is user code: one that blocks must not stop all timers
/// and deadlines.
fn drop_on_new_thread<T: Send + 'static>(unsent: T) {
    if std::mem::needs_drop::<T>() {
        // If there is no thread to be had, the clock's own drops it.
        let _ = thread::Builder::new()
            .name("rethread-discard".into())
            .spawn(move || drop_and_log("undelivered timer message", unsent));
    }
}

/// A timer's place in the list of what goes with its target; given up when it fires or is cancelled.
struct TimerRegistration {
    target: Arc<ProcessBlock>,
    id: TimerRef,
}

impl TimerRegistration {
    fn new(target: &Arc<ProcessBlock>, id: TimerRef) -> Option<Self> {
        let mut state = target.lock();
        if target.is_cleaning_up() {
            return None;
        }
        state.timers.insert(id);
        drop(state);
        Some(Self { target: Arc::clone(target), id })
    }
}

impl Drop for TimerRegistration {
    fn drop(&mut self) {
        self.target.lock().timers.remove(&self.id);
    }
}

/// Cancels a timer, whoever started it, and says how long it would still have waited; `None` if it has
/// fired, was cancelled before, or its target is dead. `None` does not mean that the message has been
/// read: it may be in the mailbox.
///
/// ```
/// use std::time::Duration;
/// use rethread::process;
///
/// let waiting = process::spawn::<()>(|inbox| { inbox.recv(); })?;
/// let timer = process::send_after(Duration::from_secs(60), &waiting, ());
/// assert!(process::cancel_timer(timer).is_some_and(|left| left > Duration::from_secs(50)));
/// assert_eq!(process::cancel_timer(timer), None);
/// # Ok::<(), rethread::process::SpawnError>(())
/// ```
pub fn cancel_timer(timer: TimerRef) -> Option<Duration> {
    local::checkpoint();
    if local::get().is_some_and(|me| me.is_zombie()) {
        return None;
    }
    timer_thread::cancel(timer)
}

/// How long a timer still has to wait; `None` if it has fired, was cancelled, or its target is dead.
///
/// ```
/// use std::time::Duration;
/// use rethread::process;
///
/// let waiting = process::spawn::<()>(|inbox| { inbox.recv(); })?;
/// let timer = process::send_after(Duration::from_secs(60), &waiting, ());
/// assert!(process::read_timer(timer).is_some());
/// # Ok::<(), rethread::process::SpawnError>(())
/// ```
pub fn read_timer(timer: TimerRef) -> Option<Duration> {
    local::checkpoint();
    timer_thread::remaining(timer)
}
