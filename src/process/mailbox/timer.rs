//! Timed messages: `send_after`, `send_at`, `cancel_timer`, `read_timer`. The timer thread sends them, so no user code
//! that may block (a destructor, for example) runs in a timer's action.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::pid::TimerRef;
use crate::process::control::block::ProcessBlock;
use crate::process::control::local;
use crate::process::mailbox::address::{Address, Name};
use crate::process::park::timer_thread;
use crate::sync::thread;
use crate::unwind::drop_and_log;

/// The receiver of a timed message: an [`Address`] or a [`Name`], by value or by reference.
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

impl<M> From<Address<M>> for TimerTarget<M> {
    fn from(address: Address<M>) -> Self {
        Self(TimerTargetKind::Address(address))
    }
}

impl<M> From<&Name<M>> for TimerTarget<M> {
    fn from(name: &Name<M>) -> Self {
        Self(TimerTargetKind::Name(*name))
    }
}

impl<M> From<Name<M>> for TimerTarget<M> {
    fn from(name: Name<M>) -> Self {
        Self(TimerTargetKind::Name(name))
    }
}

/// Sends a message after `delay`, never earlier. A timer for an [`Address`] is cancelled when that process exits; a timer
/// for a [`Name`] looks up the process that holds the name when it fires. A timer outlives the process that started it.
///
/// A delay of more than thirty years counts as thirty years.
///
/// ```
/// use std::time::Duration;
/// use rethread::process::{self, Event, Inbox};
///
/// let waiting = process::spawn_receiver(|inbox: &mut Inbox<&str>| {
///     assert_eq!(inbox.recv(), Event::Message("time's up"));
/// })?;
/// let timer = process::send_after(Duration::from_millis(10), &waiting, "time's up");
/// # let _ = timer;
/// # Ok::<(), rethread::process::SpawnError>(())
/// ```
pub fn send_after<M: Send + 'static>(delay: Duration, to: impl Into<TimerTarget<M>>, message: M) -> TimerRef {
    send_at(timer_thread::deadline_after(delay), to, message)
}

/// Sends a message at `deadline`, like [`send_after`], or at once if that has passed.
///
/// ```
/// use std::time::Instant;
/// use rethread::process::{self, Inbox};
///
/// let waiting = process::spawn_receiver(|inbox: &mut Inbox<()>| { inbox.recv(); })?;
/// let timer = process::send_at(Instant::now(), &waiting, ());
/// # let _ = timer;
/// # Ok::<(), rethread::process::SpawnError>(())
/// ```
pub fn send_at<M: Send + 'static>(deadline: Instant, to: impl Into<TimerTarget<M>>, message: M) -> TimerRef {
    local::checkpoint();
    let id = TimerRef::next();
    // A zombie counts as exited and reaches no process.
    if local::is_zombie() {
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
                return id; // the process has exited: the message is dropped
            };
            timer_thread::schedule(id, deadline, move || {
                drop(registration);
                if let Err(unsent) = address.send_as_runtime(message) {
                    drop_on_new_thread(unsent);
                }
            });
            if block.is_cleaning_up() {
                // The target may exit between the registration and `schedule`: then its cleanup has cancelled a timer
                // that was not scheduled yet.
                timer_thread::cancel(id);
            }
        }
    }
    id
}

/// Drops an undelivered message on a new thread. Its destructor is user code: on the timer thread, a destructor that
/// blocks would stop all timers and deadlines.
fn drop_on_new_thread<T: Send + 'static>(unsent: T) {
    if std::mem::needs_drop::<T>() {
        // If no thread can be started, `spawn` drops the closure, and the message with it, on the timer thread.
        let _ = thread::Builder::new()
            .name("rethread-discard".into())
            .spawn(move || drop_and_log("undelivered timer message", unsent));
    }
}

/// The entry of a timer in the list of timers that its target's exit cancels. Removed when the timer fires or is
/// cancelled.
struct TimerRegistration {
    target: Arc<ProcessBlock>,
    id: TimerRef,
}

impl TimerRegistration {
    /// Adds the entry; `None` if the target's cleanup has already taken the list.
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

/// Cancels a timer and returns the time that was left; `None` if it has fired, was cancelled before, or its target has
/// exited. After `None` the message may still be unread in the mailbox. Any thread may cancel it, not only the one that
/// started it.
///
/// ```
/// use std::time::Duration;
/// use rethread::process::{self, Inbox};
///
/// let waiting = process::spawn_receiver(|inbox: &mut Inbox<()>| { inbox.recv(); })?;
/// let timer = process::send_after(Duration::from_secs(60), &waiting, ());
/// assert!(process::cancel_timer(timer).is_some_and(|left| left > Duration::from_secs(50)));
/// assert_eq!(process::cancel_timer(timer), None);
/// # Ok::<(), rethread::process::SpawnError>(())
/// ```
pub fn cancel_timer(timer: TimerRef) -> Option<Duration> {
    local::checkpoint();
    if local::is_zombie() {
        return None;
    }
    timer_thread::cancel(timer)
}

/// Returns the time until a timer fires; `None` if it has fired, was cancelled, or its target has exited.
///
/// ```
/// use std::time::Duration;
/// use rethread::process::{self, Inbox};
///
/// let waiting = process::spawn_receiver(|inbox: &mut Inbox<()>| { inbox.recv(); })?;
/// let timer = process::send_after(Duration::from_secs(60), &waiting, ());
/// assert!(process::read_timer(timer).is_some());
/// # Ok::<(), rethread::process::SpawnError>(())
/// ```
pub fn read_timer(timer: TimerRef) -> Option<Duration> {
    local::checkpoint();
    timer_thread::remaining(timer)
}
