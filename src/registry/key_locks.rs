//! Mutual exclusion by key: who holds a lock, and who waits for it, first come, first served. `store` frees
//! the locks of the dead.

use std::hash::Hash;
use std::sync::Arc;
use std::thread::{self, ThreadId};

use crate::process::control::local;
use crate::process::park::parker::Parker;
use crate::sharded_map::ShardedMap;
use crate::sync::atomic::{AtomicBool, Ordering};

/// One that holds a lock or waits for it.
pub(crate) struct LockWaiter<K> {
    key: K,
    /// One thread is at most one process, and is the same one before and after that.
    thread_id: ThreadId,
    parker: Arc<Parker>,
    /// Whether the lock is held with it.
    granted: AtomicBool,
}

impl<K> LockWaiter<K> {
    /// For the calling thread, process or not.
    pub(crate) fn new(key: K) -> Self {
        Self {
            key,
            thread_id: thread::current().id(),
            parker: local::parker(),
            granted: AtomicBool::new(false),
        }
    }

    /// Waits for the lock; an exit signal ends the wait, and the process.
    pub(crate) fn wait(&self) {
        local::wait(None, || self.granted.load(Ordering::Acquire).then_some(()));
    }
}

/// The queues of all keys; the first in each holds the lock.
pub(crate) struct KeyLocks<K>(ShardedMap<K, Vec<Arc<LockWaiter<K>>>>);

impl<K: Hash + Eq + Clone> KeyLocks<K> {
    pub(crate) fn new() -> Self {
        Self(ShardedMap::new())
    }

    /// Gets into the queue; false if the caller is in it already and would wait for itself.
    pub(crate) fn enqueue(&self, waiter: &Arc<LockWaiter<K>>) -> bool {
        let key = waiter.key.clone();
        let mut shard = self.0.shard(&key).write();
        match shard.get_mut(&waiter.key) {
            Some(queue) if queue.iter().any(|other| other.thread_id == waiter.thread_id) => return false,
            Some(queue) => queue.push(Arc::clone(waiter)),
            None => {
                waiter.granted.store(true, Ordering::Release);
                shard.insert(key, vec![Arc::clone(waiter)]);
            }
        }
        true
    }

    /// Leaves the queue, if it is still in it: from the head, and the next one has the lock.
    pub(crate) fn leave(&self, waiter: &Arc<LockWaiter<K>>) {
        let mut shard = self.0.shard(&waiter.key).write();
        waiter.granted.store(false, Ordering::Relaxed); // who was declared dead meanwhile must not find it true
        let Some(queue) = shard.get_mut(&waiter.key) else { return };
        let Some(at) = queue.iter().position(|other| Arc::ptr_eq(other, waiter)) else { return };
        queue.remove(at);
        let next = queue.first().filter(|_| at == 0).cloned();
        let removed = if queue.is_empty() { shard.remove_entry(&waiter.key) } else { None };
        if let Some(next) = &next {
            // Under the lock, or it might leave in between and have its turn all the same.
            next.granted.store(true, Ordering::Release);
        }
        drop(shard);
        drop(removed);
        if let Some(next) = next {
            next.parker.unpark();
        }
    }
}
