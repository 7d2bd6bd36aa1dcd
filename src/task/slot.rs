//! Where a task's value and its end are noted for its owner: not in the owner's mailbox, so that any thread
//! can own tasks, and a late value is junk nowhere. The task's thread fills it, `Task` waits on it.

use std::sync::Arc;

use crate::process::block::DeathWatch;
use crate::process::me;
use crate::process::wait::Waiter;
use crate::reason::ExitReason;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::unwind::contain;

/// Value and end of one task. There is no value after the end, and none for an owner that has left.
pub(crate) struct Slot<T> {
    notes: Mutex<Notes<T>>,
    /// Whether a value was given: spares a waiting thread the lock.
    answered: AtomicBool,
    /// The how-manieth of all deaths of tasks its own was, from one; zero while it lives.
    ended: AtomicU64,
}

struct Notes<T> {
    value: Option<T>,
    end: Option<ExitReason>,
    open: bool,
    owner: Option<Arc<Waiter>>,
}

/// All deaths of tasks, counted: who waits for several wants to know which came first.
static DEATHS: AtomicU64 = AtomicU64::new(0);

impl<T> Slot<T> {
    pub(crate) fn new() -> Arc<Self> {
        let notes = Notes { value: None, end: None, open: true, owner: None };
        Arc::new(Self {
            notes: Mutex::new(notes),
            answered: AtomicBool::new(false),
            ended: AtomicU64::new(0),
        })
    }

    /// The value, from the task itself.
    pub(crate) fn give(&self, value: T) {
        let mut notes = self.notes.lock();
        let wanted = notes.open && notes.end.is_none();
        if !wanted {
            drop(notes);
            return discard(value);
        }
        notes.value = Some(value);
        self.answered.store(true, Ordering::Release);
        let owner = notes.owner.clone();
        drop(notes);
        wake(owner);
    }

    /// Has the calling thread woken by what is noted from now on.
    pub(crate) fn listen(&self) {
        self.notes.lock().owner = Some(me::waiter());
    }

    /// Whether there is a value, or was.
    pub(crate) fn answered(&self) -> bool {
        self.answered.load(Ordering::Acquire)
    }

    /// Whether it has ended; the number is lower the earlier that was.
    pub(crate) fn ended(&self) -> Option<u64> {
        Some(self.ended.load(Ordering::Acquire)).filter(|turn| *turn != 0)
    }

    /// What there is, and then no more: the value, else the reason of the end.
    pub(crate) fn take(&self) -> Option<Result<T, ExitReason>> {
        let mut notes = self.notes.lock();
        let found = match (notes.value.take(), &notes.end) {
            (Some(value), _) => Ok(value),
            (None, Some(reason)) => Err(reason.clone()),
            (None, None) => return None,
        };
        notes.open = false;
        Some(found)
    }

    /// The owner waits no more: whatever comes is dropped.
    pub(crate) fn close(&self) {
        let mut notes = self.notes.lock();
        notes.open = false;
        let late = notes.value.take();
        drop(notes);
        if let Some(value) = late {
            discard(value);
        }
    }
}

impl<T: Send> DeathWatch for Slot<T> {
    fn died(&self, reason: &ExitReason) {
        let mut notes = self.notes.lock();
        notes.end = Some(reason.clone());
        self.ended.store(1 + DEATHS.fetch_add(1, Ordering::Relaxed), Ordering::Release);
        let owner = notes.owner.clone();
        drop(notes);
        wake(owner);
    }
}

fn wake(owner: Option<Arc<Waiter>>) {
    if let Some(owner) = owner {
        owner.wake();
    }
}

/// Nobody gets this value. Whether its destructor runs in the task or in the owner, perhaps in the middle of an
/// unwinding, is chance, so a panic in it is the end of neither.
pub(crate) fn discard<T>(value: T) {
    contain("the destructor of a task's value that nobody wanted", move || drop(value));
}
