//! Mutual exclusion by key: who holds a lock, and who waits for it, first come, first served. `store` frees
//! the locks of the dead.

use std::hash::Hash;
use std::sync::Arc;
use std::thread::{self, ThreadId};

use crate::process::me;
use crate::process::shards::Shards;
use crate::process::wait::Waiter;
use crate::sync::atomic::{AtomicBool, Ordering};

/// One that holds a lock or waits for it.
pub(crate) struct Ticket<K> {
    key: K,
    /// One thread is at most one process, and is the same one before and after that.
    who: ThreadId,
    waiter: Arc<Waiter>,
    /// Whether the lock is held with it.
    turn: AtomicBool,
}

impl<K> Ticket<K> {
    /// For the calling thread, process or not.
    pub(crate) fn new(key: K) -> Self {
        Self { key, who: thread::current().id(), waiter: me::waiter(), turn: AtomicBool::new(false) }
    }

    /// Waits for the lock; an exit signal ends the wait, and the process.
    pub(crate) fn wait(&self) {
        me::wait(None, || self.turn.load(Ordering::Acquire).then_some(()));
    }
}

/// The queues of all keys; the first in each holds the lock.
pub(crate) struct Locks<K>(Shards<K, Vec<Arc<Ticket<K>>>>);

impl<K: Hash + Eq + Clone> Locks<K> {
    pub(crate) fn new() -> Self {
        Self(Shards::new())
    }

    /// Gets into the queue; false if the caller is in it already and would wait for itself.
    pub(crate) fn enqueue(&self, ticket: &Arc<Ticket<K>>) -> bool {
        let key = ticket.key.clone();
        let mut shard = self.0.of(&key).write();
        match shard.get_mut(&ticket.key) {
            Some(queue) if queue.iter().any(|other| other.who == ticket.who) => return false,
            Some(queue) => queue.push(Arc::clone(ticket)),
            None => {
                ticket.turn.store(true, Ordering::Release);
                shard.insert(key, vec![Arc::clone(ticket)]);
            }
        }
        true
    }

    /// Leaves the queue, if it is still in it: from the head, and the next one has the lock.
    pub(crate) fn leave(&self, ticket: &Arc<Ticket<K>>) {
        let mut shard = self.0.of(&ticket.key).write();
        ticket.turn.store(false, Ordering::Relaxed); // who was declared dead meanwhile must not find it true
        let Some(queue) = shard.get_mut(&ticket.key) else { return };
        let Some(at) = queue.iter().position(|other| Arc::ptr_eq(other, ticket)) else { return };
        queue.remove(at);
        let next = queue.first().filter(|_| at == 0).cloned();
        let gone = if queue.is_empty() { shard.remove_entry(&ticket.key) } else { None };
        if let Some(next) = &next {
            // Under the lock, or it might leave in between and have its turn all the same.
            next.turn.store(true, Ordering::Release);
        }
        drop(shard);
        drop(gone);
        if let Some(next) = next {
            next.waiter.wake();
        }
    }
}
