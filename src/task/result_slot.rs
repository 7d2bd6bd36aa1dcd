//! The result slot of a task: holds the value and the exit reason until the owner takes them, which is possible
//! when the task has exited and its links and monitors have been notified. It is separate
//! from the owner's mailbox, so that any thread can own tasks and a value that arrives after a timeout is not
//! left in a mailbox. A value must never be dropped while the lock of a slot is held: its destructor is user
//! code.

use std::sync::Arc;

use crate::process::control::block::ExitListener;
use crate::process::control::local;
use crate::process::park::parker::Parker;
use crate::reason::ExitReason;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::unwind::drop_and_log;

/// The value and the exit reason of one task. No value is accepted after the exit, or after the owner has
/// closed the slot.
pub(crate) struct ResultSlot<T> {
    state: Mutex<ResultState<T>>,
    /// `true` once a value was stored, even if it was taken since.
    value_set: AtomicBool,
    /// The global sequence number of this task's exit, from 1; 0 while the task is running.
    exit_sequence: AtomicU64,
}

struct ResultState<T> {
    value: Option<T>,
    exit_reason: Option<ExitReason>,
    is_open: bool,
    owner_parker: Option<Arc<Parker>>,
}

/// Counts the exits of all tasks. Used to find the first of several exits.
static EXIT_SEQUENCE: AtomicU64 = AtomicU64::new(0);

impl<T> ResultSlot<T> {
    pub(crate) fn new() -> Arc<Self> {
        let state = ResultState { value: None, exit_reason: None, is_open: true, owner_parker: None };
        Arc::new(Self {
            state: Mutex::new(state),
            value_set: AtomicBool::new(false),
            exit_sequence: AtomicU64::new(0),
        })
    }

    /// Stores the value; returns it if the owner has closed the slot, or if the exit was recorded. The task itself
    /// calls it. The owner can take the value, and is woken, when the task has exited.
    pub(crate) fn set_value(&self, value: T) -> Result<(), T> {
        let mut state = self.state.lock();
        // The exit may have been recorded already: a task that became a zombie can still return from its
        // function.
        if !state.is_open || state.exit_reason.is_some() {
            return Err(value);
        }
        state.value = Some(value);
        self.value_set.store(true, Ordering::Release);
        Ok(())
    }

    /// Registers the calling thread to be woken by the exit from now on. It must poll once after
    /// this call: what was recorded before does not wake it.
    pub(crate) fn register_parker(&self) {
        self.state.lock().owner_parker = Some(local::parker());
    }

    /// Returns `true` if a value was stored, even if it was taken since.
    pub(crate) fn is_value_set(&self) -> bool {
        self.value_set.load(Ordering::Acquire)
    }

    /// Returns the sequence number of the task's exit, or `None` while the task is running. An earlier exit
    /// has a lower number.
    pub(crate) fn exit_sequence(&self) -> Option<u64> {
        Some(self.exit_sequence.load(Ordering::Acquire)).filter(|sequence| *sequence != 0)
    }

    /// Takes the value if there is one, otherwise the exit reason, and closes the slot. Returns `None` if
    /// there is neither.
    pub(crate) fn take(&self) -> Option<Result<T, ExitReason>> {
        let mut state = self.state.lock();
        let result = match (state.value.take(), &state.exit_reason) {
            (Some(value), _) => Ok(value),
            (None, Some(reason)) => Err(reason.clone()),
            (None, None) => return None,
        };
        state.is_open = false;
        Some(result)
    }

    /// Closes the slot: drops a value that was not taken, and every later one.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.is_open = false;
        let unclaimed = state.value.take();
        drop(state); // the destructor of the value runs without the lock
        if let Some(value) = unclaimed {
            drop_unclaimed_value(value);
        }
    }
}

impl<T: Send> ExitListener for ResultSlot<T> {
    fn record_exit(&self, reason: &ExitReason) {
        let mut state = self.state.lock();
        state.exit_reason = Some(reason.clone());
        // Release pairs with the acquire of `exit_sequence`: a poll that sees the number also sees the
        // reason, and the value that was stored before. The counter itself orders nothing, it only has to be unique.
        self.exit_sequence.store(1 + EXIT_SEQUENCE.fetch_add(1, Ordering::Relaxed), Ordering::Release);
    }

    fn wake(&self) {
        let owner = self.state.lock().owner_parker.clone();
        // Unlocked: the owner would block on the lock at once.
        if let Some(owner) = owner {
            owner.unpark();
        }
    }
}

/// Drops a value that was not taken. Whether its destructor runs in the task or in the owner, perhaps during
/// unwinding, depends on timing; so a panic in it is logged, and affects neither.
pub(crate) fn drop_unclaimed_value<T>(value: T) {
    drop_and_log("unclaimed task result", value);
}
