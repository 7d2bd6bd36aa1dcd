//! Where a task's value and its end are noted for its owner: not in the owner's mailbox, so that any thread
//! can own tasks, and a late value is junk nowhere. The task's thread fills it, `Task` waits on it.

use std::sync::Arc;

use crate::process::control::block::ExitListener;
use crate::process::control::local;
use crate::process::park::parker::Parker;
use crate::reason::ExitReason;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::unwind::drop_and_log;

/// Value and end of one task. There is no value after the end, and none for an owner that has left.
pub(crate) struct ResultSlot<T> {
    state: Mutex<ResultState<T>>,
    /// Whether a value was given: spares a waiting thread the lock.
    value_set: AtomicBool,
    /// The how-manieth of all deaths of tasks its own was, from one; zero while it lives.
    exit_sequence: AtomicU64,
}

struct ResultState<T> {
    value: Option<T>,
    exit_reason: Option<ExitReason>,
    is_open: bool,
    owner_parker: Option<Arc<Parker>>,
}

/// All deaths of tasks, counted: who waits for several wants to know which came first.
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

    /// The value, from the task itself.
    pub(crate) fn set_value(&self, value: T) {
        let mut state = self.state.lock();
        let wanted = state.is_open && state.exit_reason.is_none();
        if !wanted {
            drop(state);
            return drop_unclaimed_value(value);
        }
        state.value = Some(value);
        self.value_set.store(true, Ordering::Release);
        let owner = state.owner_parker.clone();
        drop(state);
        unpark_owner(owner);
    }

    /// Has the calling thread woken by what is noted from now on.
    pub(crate) fn register_parker(&self) {
        self.state.lock().owner_parker = Some(local::parker());
    }

    /// Whether there is a value, or was.
    pub(crate) fn is_value_set(&self) -> bool {
        self.value_set.load(Ordering::Acquire)
    }

    /// Whether it has ended; the number is lower the earlier that was.
    pub(crate) fn exit_sequence(&self) -> Option<u64> {
        Some(self.exit_sequence.load(Ordering::Acquire)).filter(|sequence| *sequence != 0)
    }

    /// What there is, and then no more: the value, else the reason of the end.
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

    /// The owner waits no more: whatever comes is dropped.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.is_open = false;
        let unclaimed = state.value.take();
        drop(state);
        if let Some(value) = unclaimed {
            drop_unclaimed_value(value);
        }
    }
}

impl<T: Send> ExitListener for ResultSlot<T> {
    fn on_exit(&self, reason: &ExitReason) {
        let mut state = self.state.lock();
        state.exit_reason = Some(reason.clone());
        self.exit_sequence.store(1 + EXIT_SEQUENCE.fetch_add(1, Ordering::Relaxed), Ordering::Release);
        let owner = state.owner_parker.clone();
        drop(state);
        unpark_owner(owner);
    }
}

fn unpark_owner(owner: Option<Arc<Parker>>) {
    if let Some(owner) = owner {
        owner.unpark();
    }
}

/// Nobody gets this value. Whether its destructor runs in the task or in the owner, perhaps in the middle of an
/// unwinding, is chance, so a panic in it is the end of neither.
pub(crate) fn drop_unclaimed_value<T>(value: T) {
    drop_and_log("unclaimed task result", value);
}
