//! Locks by key: for each key a first-in, first-out queue of threads, of which the first holds the lock.
//!
//! `Clone` and the destructor of a key are user code and must not run under the lock of a shard.

use std::hash::Hash;
use std::sync::Arc;
use std::thread::{self, ThreadId};

use crate::process::control::local;
use crate::process::park::parker::Parker;
use crate::sharded_map::ShardedMap;
use crate::sync::atomic::{AtomicBool, Ordering};

/// A thread that holds a lock or waits for it.
pub(crate) struct LockWaiter<K> {
    key: K,
    /// Identifies the holder, process or not: a thread runs at most one process at a time.
    thread_id: ThreadId,
    parker: Arc<Parker>,
    /// `true` while this waiter holds the lock.
    granted: AtomicBool,
}

impl<K> LockWaiter<K> {
    /// Creates a waiter for the calling thread, which need not be a process.
    pub(crate) fn new(key: K) -> Self {
        Self {
            key,
            thread_id: thread::current().id(),
            parker: local::parker(),
            granted: AtomicBool::new(false),
        }
    }

    /// Blocks until the lock is granted. An exit signal unwinds the calling process.
    pub(crate) fn wait(&self) {
        local::wait(None, || self.granted.load(Ordering::Acquire).then_some(()));
    }
}

/// The queues of all keys. The first waiter in a queue holds the lock.
pub(crate) struct KeyLocks<K>(ShardedMap<K, Vec<Arc<LockWaiter<K>>>>);

impl<K: Hash + Eq + Clone> KeyLocks<K> {
    pub(crate) fn new() -> Self {
        Self(ShardedMap::new())
    }

    /// Adds a waiter to the queue of its key. Returns `false` if its thread is in that queue already and would wait for
    /// itself.
    pub(crate) fn enqueue(&self, waiter: &Arc<LockWaiter<K>>) -> bool {
        let key = waiter.key.clone(); // user code: not under the lock
        let mut shard = self.0.shard(&key).write();
        match shard.get_mut(&waiter.key) {
            Some(queue) if queue.iter().any(|other| other.thread_id == waiter.thread_id) => return false,
            Some(queue) => queue.push(Arc::clone(waiter)),
            // The lock is free: the waiter holds it at once.
            None => {
                waiter.granted.store(true, Ordering::Release);
                shard.insert(key, vec![Arc::clone(waiter)]);
            }
        }
        true
    }

    /// Removes a waiter from its queue, if it is there. If it held the lock, the next waiter gets it.
    pub(crate) fn leave(&self, waiter: &Arc<LockWaiter<K>>) {
        let mut shard = self.0.shard(&waiter.key).write();
        // A thread that became a zombie while it waited must not find the lock granted when it resumes.
        waiter.granted.store(false, Ordering::Relaxed);
        let Some(queue) = shard.get_mut(&waiter.key) else { return };
        let Some(at) = queue.iter().position(|other| Arc::ptr_eq(other, waiter)) else { return };
        queue.remove(at);
        let next = queue.first().filter(|_| at == 0).cloned();
        let removed = if queue.is_empty() { shard.remove_entry(&waiter.key) } else { None };
        if let Some(next) = &next {
            // Set `granted` under the lock. Otherwise `next` could leave the queue first (its own `leave` clears
            // `granted`), and this store would then grant it a lock that another waiter holds.
            next.granted.store(true, Ordering::Release);
        }
        drop(shard);
        drop(removed); // the destructor of the key is user code
        if let Some(next) = next {
            next.parker.unpark();
        }
    }
}
