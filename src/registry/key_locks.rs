//! Locks by key: for each key a first-in, first-out queue of threads, of which the first holds the lock.
//!
//! Each waiting thread has an edge in the wait-for graph to the thread before it in the queue. The edges are changed
//! under the lock of the shard, together with the queue.
//!
//! `Clone` and the destructor of a key are user code and must not run under the lock of a shard.

use std::collections::VecDeque;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::Instant;

use crate::gen_server::wait_graph::WaitNode;
use crate::pid::Pid;
use crate::process::control::local;
use crate::process::park::parker::Parker;
use crate::sharded_map::ShardedMap;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A thread that holds a lock or waits for it.
pub(crate) struct LockWaiter<K> {
    pub(crate) key: K,
    /// The node of the thread in the wait-for graph.
    pub(crate) node: WaitNode,
    /// Identifies the thread, also if it has become a process while it holds the lock.
    thread_id: ThreadId,
    /// Its number in the queue, by which `leave` finds it there.
    number: AtomicU64,
    /// The edge that the thread had before, restored when it no longer waits.
    previous_edge: u64,
    parker: Arc<Parker>,
    /// `true` while this waiter holds the lock.
    granted: AtomicBool,
}

/// The place of a new waiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It holds the lock.
    Holder,
    /// Another thread holds the lock.
    Waiting,
    /// Its thread holds the lock already, and would wait for itself.
    WaitsForItself,
}

impl<K> LockWaiter<K> {
    /// Creates a waiter for the calling thread, which need not be a process.
    pub(crate) fn new(key: K) -> Self {
        let node = WaitNode::current();
        let previous_edge = node.edge();
        Self {
            key,
            node,
            thread_id: thread::current().id(),
            number: AtomicU64::new(0),
            previous_edge,
            parker: local::parker(),
            granted: AtomicBool::new(false),
        }
    }

    /// Blocks until the lock is granted; returns `false` at the deadline. An exit signal unwinds the calling process.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> bool {
        local::wait(deadline, || self.granted.load(Ordering::Acquire).then_some(())).is_some()
    }
}

impl<K> fmt::Debug for LockWaiter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockWaiter").field("thread", &self.node.pid()).finish_non_exhaustive()
    }
}

/// The queues of all keys. The first waiter in a queue holds the lock.
pub(crate) struct KeyLocks<K>(ShardedMap<K, VecDeque<Arc<LockWaiter<K>>>>);

impl<K: Hash + Eq + Clone> KeyLocks<K> {
    pub(crate) fn new() -> Self {
        Self(ShardedMap::new())
    }

    /// Adds a waiter to the queue of its key, unless its thread holds the lock already.
    pub(crate) fn enqueue(&self, waiter: &Arc<LockWaiter<K>>) -> Place {
        let key = waiter.key.clone(); // user code: not under the lock
        let mut shard = self.0.shard(&key).write();
        let Some(queue) = shard.get_mut(&waiter.key) else {
            // The lock is free: the waiter holds it at once.
            waiter.granted.store(true, Ordering::Release);
            shard.insert(key, VecDeque::from([Arc::clone(waiter)]));
            return Place::Holder;
        };
        // Only the holder runs code that can come here: the other threads of the queue are blocked.
        if queue.front().is_some_and(|holder| holder.thread_id == waiter.thread_id) {
            return Place::WaitsForItself;
        }
        if let Some(last) = queue.back() {
            waiter.number.store(1 + last.number.load(Ordering::Relaxed), Ordering::Relaxed);
            waiter.node.set_lock_edge(last.node.pid());
        }
        queue.push_back(Arc::clone(waiter));
        Place::Waiting
    }

    /// Removes a waiter from its queue, if it is there. If it held the lock, the next waiter gets it.
    pub(crate) fn leave(&self, waiter: &Arc<LockWaiter<K>>) {
        let mut shard = self.0.shard(&waiter.key).write();
        // A thread that became a zombie while it waited must not find the lock granted when it resumes.
        waiter.granted.store(false, Ordering::Relaxed);
        let Some(queue) = shard.get_mut(&waiter.key) else { return };
        let number = waiter.number.load(Ordering::Relaxed);
        let found = queue.binary_search_by_key(&number, |other| other.number.load(Ordering::Relaxed)).ok();
        let Some(at) = found.filter(|at| Arc::ptr_eq(&queue[*at], waiter)) else { return };
        queue.remove(at);
        let next = queue.get(at).cloned();
        match (&next, at.checked_sub(1).and_then(|before| queue.get(before))) {
            // Set `granted` under the lock. Otherwise `next` could leave the queue first (its own `leave` clears
            // `granted`), and this store would then grant it a lock that another waiter holds. Its edge is removed
            // first: from here on it waits for no thread, even if it has not run yet.
            (Some(next), None) => {
                next.node.restore_edge(next.previous_edge);
                next.granted.store(true, Ordering::Release);
            }
            // The edge of the next waiter is redirected before that of this one is removed: a search that follows the
            // edges in between and finds no path looks at the first one again.
            (Some(next), Some(before)) => next.node.set_lock_edge(before.node.pid()),
            (None, _) => {}
        }
        if at > 0 {
            waiter.node.restore_edge(waiter.previous_edge);
        }
        let removed = if queue.is_empty() { shard.remove_entry(&waiter.key) } else { None };
        drop(shard);
        drop(removed); // the destructor of the key is user code
        if let Some(next) = next.filter(|_| at == 0) {
            next.parker.unpark();
        }
    }

    /// Returns the thread that holds the lock of a key.
    pub(crate) fn holder(&self, key: &K) -> Option<Pid> {
        let shard = self.0.shard(key).read();
        shard.get(key).and_then(VecDeque::front).map(|holder| holder.node.pid())
    }
}
