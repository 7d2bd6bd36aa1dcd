//! The reply slot of one call: a oneshot channel that the server fills and the caller waits on. The exit of
//! the server and a dropped reply handle are delivered through it too.
//!
//! No user code runs while the lock of a slot is held: values that are not delivered are dropped after it is
//! released.

use std::sync::Arc;

use crate::pid::Pid;
use crate::process::control::block::ExitListener;
use crate::process::control::block::ProcessBlock;
use crate::process::control::local;
use crate::process::control::local::DroppedCaller;
use crate::process::park::parker::Parker;
use crate::reason::ExitReason;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::unwind::drop_and_log;

/// The state of a call.
enum ReplyState<R> {
    Pending,
    /// Set by the server, but not yet sent: the server may still stop in the same callback.
    Unsent(R),
    Sent(R),
    /// The reply handle was dropped unanswered.
    NoReply,
    /// The server exited before it replied. Contains the value that was set but not sent, until it is dropped.
    Exited(ExitReason, Option<R>),
    /// The caller has taken the result, or has stopped waiting.
    Closed,
}

/// The result of a call, as the caller takes it from its slot.
pub(crate) enum Outcome<R> {
    Answered(R),
    NoReply,
    Exited(ExitReason),
}

/// Where the reply to one call goes. Only the first value counts, and none after the caller has closed the
/// slot.
pub(crate) struct ReplySlot<R> {
    state: Mutex<ReplyState<R>>,
    /// Set with the first result, so that a polling caller need not take the lock before.
    is_ready: AtomicBool,
    caller: CallerThread,
}

/// The thread that waits for the reply.
enum CallerThread {
    Process(Arc<ProcessBlock>),
    Foreign(Arc<Parker>),
}

impl<R> ReplySlot<R> {
    /// Creates a slot on which the calling thread will wait.
    pub(crate) fn new() -> Arc<Self> {
        let caller = match local::get() {
            Some(me) => CallerThread::Process(Arc::clone(&me.block)),
            None => CallerThread::Foreign(local::parker()),
        };
        Arc::new(Self { state: Mutex::new(ReplyState::Pending), is_ready: AtomicBool::new(false), caller })
    }

    /// Returns the pid of the process that waits; `None` if it is another thread.
    pub(crate) fn caller_pid(&self) -> Option<Pid> {
        match &self.caller {
            CallerThread::Process(caller) => Some(caller.pid),
            CallerThread::Foreign(_) => None,
        }
    }

    /// Takes the result, if there is one. The exit of the server is seen only when all its links and monitors have been
    /// notified.
    pub(crate) fn take(&self, server: &ProcessBlock) -> Option<Outcome<R>> {
        // Pairs with the release store in `wake_caller`. A result that is missed here is found after the wake-up.
        if !self.is_ready.load(Ordering::Acquire) && !server.is_notified() {
            return None;
        }
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, ReplyState::Closed) {
            ReplyState::Sent(value) => Some(Outcome::Answered(value)),
            ReplyState::Exited(reason, unsent) if server.is_notified() => {
                drop(state);
                // The destructor of the value is user code, and must not unwind out of a poll.
                drop_and_log("unsent reply", unsent);
                Some(Outcome::Exited(reason))
            }
            // Stays in the slot: if the handle was dropped because the server is exiting, `record_exit` replaces
            // it with the exit reason, and the caller polls again.
            ReplyState::NoReply => {
                *state = ReplyState::NoReply;
                Some(Outcome::NoReply)
            }
            // `Pending`, `Unsent`, and an exit that is not to be seen yet: there is no result yet.
            other => {
                *state = other;
                None
            }
        }
    }

    /// Closes the slot: a value set later is dropped.
    pub(crate) fn close(&self) {
        let late = std::mem::replace(&mut *self.state.lock(), ReplyState::Closed);
        // The caller may be unwinding, and a panic in a destructor would then abort the program.
        drop_and_log("late reply", late);
    }

    /// Removes the edge of the caller from the wait-for graph: it has its result, even if its thread has not
    /// run yet.
    ///
    /// The lock of the slot must be held. Without it the caller could take this reply and begin its next call
    /// in between, and this store would remove the edge of that call.
    fn remove_wait_edge(&self) {
        if let CallerThread::Process(caller) = &self.caller {
            caller.waiting_on.store(0, Ordering::Relaxed);
        }
    }

    /// Marks the slot as ready and wakes the caller.
    fn wake_caller(&self) {
        self.is_ready.store(true, Ordering::Release);
        match &self.caller {
            CallerThread::Process(caller) => caller.parker.unpark(),
            CallerThread::Foreign(parker) => parker.unpark(),
        }
    }

    /// Sets the value of the reply; [`Publish::publish`] sends it.
    pub(crate) fn set_value(&self, value: R) {
        let mut state = self.state.lock();
        let refused = match *state {
            ReplyState::Pending => {
                *state = ReplyState::Unsent(value);
                if let Some(me) = local::get() {
                    me.note_send();
                    // The request is answered, so the receive loop must not remove the caller's wait edge as
                    // for a postponed reply: by then the edge may belong to the caller's next call.
                    if let CallerThread::Process(caller) = &self.caller {
                        me.clear_current_caller(caller.pid);
                    }
                }
                None
            }
            // The caller stopped waiting.
            _ => Some(value),
        };
        // The destructor of the value is user code: it runs without the lock.
        drop(state);
        drop(refused);
    }
}

/// A reply slot whose value type is erased.
pub(crate) trait Publish: Send + Sync {
    /// Sends the value that was set, if there is one.
    fn publish(&self);

    /// Discards the value that was set. The caller gets what it gets for a dropped reply handle.
    fn discard(self: Arc<Self>);
}

impl<R: Send + 'static> Publish for ReplySlot<R> {
    fn discard(self: Arc<Self>) {
        local::on_caller_dropped(self);
    }

    fn publish(&self) {
        let mut state = self.state.lock();
        let sent = match std::mem::replace(&mut *state, ReplyState::Closed) {
            ReplyState::Unsent(value) => {
                *state = ReplyState::Sent(value);
                self.remove_wait_edge();
                true
            }
            other => {
                *state = other;
                false
            }
        };
        // Unlock first: a caller that wakes up takes this lock at once.
        drop(state);
        if sent {
            self.wake_caller();
        }
    }
}

impl<R: Send> DroppedCaller for ReplySlot<R> {
    fn notify_dropped(&self) {
        let mut state = self.state.lock();
        // `Unsent`: the handler unwound after it had set the value.
        let waiting = matches!(*state, ReplyState::Pending | ReplyState::Unsent(_));
        let discarded = if waiting {
            self.remove_wait_edge();
            Some(std::mem::replace(&mut *state, ReplyState::NoReply))
        } else {
            None
        };
        drop(state);
        // The destructor of the value is user code, and the thread may be unwinding.
        drop_and_log("unsent reply", discarded);
        if waiting {
            self.wake_caller();
        }
    }
}

impl<R: Send> ExitListener for ReplySlot<R> {
    fn record_exit(&self, reason: &ExitReason) {
        let mut state = self.state.lock();
        // A value that was set but not sent is lost with the server, and a dropped handle has the exit as its
        // cause. A reply that was sent stays valid.
        let unsent = match std::mem::replace(&mut *state, ReplyState::Closed) {
            ReplyState::Pending | ReplyState::NoReply => None,
            ReplyState::Unsent(value) => Some(value),
            other => {
                *state = other;
                return;
            }
        };
        *state = ReplyState::Exited(reason.clone(), unsent);
    }

    fn wake(&self) {
        let mut state = self.state.lock();
        let unsent = match &mut *state {
            ReplyState::Exited(_, unsent) => unsent.take(),
            _ => return,
        };
        drop(state);
        self.wake_caller();
        // This runs in the exit cleanup of the server, perhaps on another thread: a panic of the value's
        // destructor must not interrupt the cleanup.
        drop_and_log("unsent reply", unsent);
    }
}
