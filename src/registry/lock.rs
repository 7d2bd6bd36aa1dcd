//! Running a function under the lock of a key: the wait, its refusal, and what observers see of it. The queues are in
//! `key_locks`.

use std::fmt;
use std::hash::Hash;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use crate::call_error::fmt_cycle;
use crate::pid::Pid;
use crate::process::control::block::LockWait;
use crate::process::control::block::ProcessBlock;
use crate::process::control::local;
use crate::process::control::local::CurrentProcess;
use crate::process::park::timer_thread;
use crate::registry::key_locks::{LockWaiter, Place};
use crate::registry::store::{ProcessEntries, Store};

/// Why [`lock_timeout`](crate::registry::KeyedRegistry::lock_timeout) did not get the lock of a key.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum LockError {
    /// The lock is held by the caller, or by a process that waits for the caller, directly or through other processes, in
    /// a call or for another lock: neither wait would end.
    Deadlock {
        /// The processes of the cycle, beginning with the caller. Each waits for the next, the last for the caller. A
        /// thread that is not a process is listed with a pid, too, which belongs to no process.
        cycle: Vec<Pid>,
    },
    /// The lock was not released within the timeout.
    Timeout {
        /// The timeout.
        after: Duration,
    },
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadlock { cycle } => fmt_cycle(f, cycle),
            Self::Timeout { after } => write!(f, "the lock was not released within {after:?}"),
        }
    }
}

impl std::error::Error for LockError {}

impl<K, V> Store<K, V>
where
    K: Hash + Eq + Clone + fmt::Debug + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Runs `body` under the lock of a key; waits for the lock without a limit.
    #[track_caller]
    pub(crate) fn lock<R>(self: &Arc<Self>, key: K, body: impl FnOnce() -> R) -> R {
        let lock_waiter = Arc::new(LockWaiter::new(key));
        let error = match self.lock_until(&lock_waiter, None, body) {
            Ok(value) => return value,
            Err(error) => error,
        };
        let key = &lock_waiter.key;
        match &error {
            LockError::Deadlock { cycle } if cycle.len() > 1 => {
                panic!(
                    "the lock of {key:?} cannot be granted: {error}; take locks in one order everywhere, and make no \
                        call under a lock to a process that takes it"
                )
            }
            _ => panic!("deadlock: the caller already holds the lock of this key"),
        }
    }

    /// Runs `body` under the lock of a key; waits for the lock for at most `timeout`.
    pub(crate) fn lock_timeout<R>(
        self: &Arc<Self>,
        key: K,
        timeout: Duration,
        body: impl FnOnce() -> R,
    ) -> Result<R, LockError> {
        self.lock_until(&Arc::new(LockWaiter::new(key)), Some(timeout), body)
    }

    fn lock_until<R>(
        self: &Arc<Self>,
        lock_waiter: &Arc<LockWaiter<K>>,
        timeout: Option<Duration>,
        body: impl FnOnce() -> R,
    ) -> Result<R, LockError> {
        let me = local::get();
        if let Some(me) = &me {
            me.checkpoint();
        }
        // During its own cleanup a process counts as a foreign thread: a record made now would never be released.
        let process = me.as_ref().filter(|me| !me.in_cleanup());
        let process_entries = process.and_then(|me| self.process_entries(&me.block));
        // The guard exists before the waiter is in any queue, so that each way out of this function removes it.
        let queue_guard = LockQueueGuard { store: self, process_entries, lock_waiter };
        if let Some(process_entries) = &queue_guard.process_entries {
            process_entries.lock_waiters.lock().push(Arc::clone(lock_waiter));
        }
        // A zombie has no record (`process_entries` is `None`) and never gets the lock. The `wait` below unwinds it,
        // except in a destructor: there it blocks, as does a destructor whose wait would close a cycle.
        let may_enqueue = process.is_none() || queue_guard.process_entries.is_some();
        let place = if may_enqueue { self.locks.enqueue(lock_waiter) } else { Place::Waiting };
        // Cleanup by another thread may have released the locks of this process before the waiter was in the queue.
        if process.is_some_and(|me| me.block.is_cleaning_up()) {
            self.locks.leave(lock_waiter);
        }
        if place != Place::Holder {
            self.wait_for_lock(lock_waiter, place, timeout, process)?;
        }
        // An exit signal may have arrived together with the lock: do not run `body` then.
        if let Some(me) = &me {
            me.checkpoint();
        }
        Ok(body())
    }

    /// Waits until another thread has released the lock.
    fn wait_for_lock(
        self: &Arc<Self>,
        lock_waiter: &Arc<LockWaiter<K>>,
        place: Place,
        timeout: Option<Duration>,
        process: Option<&Rc<CurrentProcess>>,
    ) -> Result<(), LockError> {
        let cycle = match place {
            Place::WaitsForItself => Some(vec![lock_waiter.node.pid()]),
            Place::Waiting | Place::Holder => lock_waiter.node.find_lock_cycle(),
        };
        // `lock` reports a cycle by a panic, which would abort the program during an unwind.
        if let Some(cycle) = cycle.filter(|_| timeout.is_some() || !thread::panicking()) {
            return Err(LockError::Deadlock { cycle });
        }
        let _shown = process.map(|me| {
            let wait = StoreLockWait { store: Arc::downgrade(self), waiter: Arc::clone(lock_waiter) };
            ShownWait::new(&me.block, Arc::new(wait))
        });
        if lock_waiter.wait(timeout.map(timer_thread::deadline_after)) {
            Ok(())
        } else {
            Err(LockError::Timeout { after: timeout.unwrap_or(Duration::MAX) })
        }
    }
}

/// A position in the queue for a lock. Dropping it leaves the queue, which releases the lock if it is held.
struct LockQueueGuard<'a, K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    store: &'a Store<K, V>,
    process_entries: Option<Arc<ProcessEntries<K, V>>>,
    lock_waiter: &'a Arc<LockWaiter<K>>,
}

impl<K, V> Drop for LockQueueGuard<'_, K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn drop(&mut self) {
        // A cleanup on another thread may call `leave` for the same waiter: the second call finds nothing to do.
        if let Some(process_entries) = &self.process_entries {
            process_entries
                .lock_waiters
                .lock()
                .retain(|lock_waiter| !Arc::ptr_eq(lock_waiter, self.lock_waiter));
        }
        self.store.locks.leave(self.lock_waiter);
    }
}

/// What observers see of a process that waits for a lock.
struct StoreLockWait<K, V> {
    store: Weak<Store<K, V>>,
    waiter: Arc<LockWaiter<K>>,
}

impl<K, V> LockWait for StoreLockWait<K, V>
where
    K: Hash + Eq + Clone + fmt::Debug + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn key(&self) -> String {
        format!("{:?}", self.waiter.key)
    }

    fn holder(&self) -> Option<Pid> {
        self.store.upgrade()?.locks.holder(&self.waiter.key)
    }
}

/// Shows the wait of a process to observers until it is dropped.
struct ShownWait<'a>(&'a ProcessBlock);

impl<'a> ShownWait<'a> {
    fn new(block: &'a ProcessBlock, wait: Arc<dyn LockWait>) -> Self {
        block.lock().lock_wait = Some(wait);
        Self(block)
    }
}

impl Drop for ShownWait<'_> {
    fn drop(&mut self) {
        let shown = self.0.lock().lock_wait.take();
        drop(shown); // not under the lock: it may be the last reference to a key
    }
}
