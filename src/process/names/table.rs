//! `NameTable`, a concurrent table from keys to processes, used for names and for unique registries.
//!
//! It never clones or drops a user value under a lock: values are shared pointers, and of user keys only `Hash` and `Eq`
//! run under a lock.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use crate::pid::Pid;
use crate::process::control::block::ProcessBlock;
use crate::process::control::local;
use crate::process::error::NameError;
use crate::process::park::parker::Parker;
use crate::process::park::timer_thread;
use crate::sharded_map::ShardedMap;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering, fence};

/// A table from keys to the processes that hold them, with a value per entry. A key whose holder is exiting can be taken
/// over.
pub(crate) struct NameTable<K, V = ()> {
    entries: ShardedMap<K, NameEntry<V>>,
    /// Threads that wait until a key has a holder, by key.
    waiters: Mutex<HashMap<K, Vec<Arc<Parker>>>>,
    /// Number of waiters, so that `claim` need not take the lock if there are none.
    waiter_count: AtomicUsize,
}

/// The holder of a key.
struct NameEntry<V> {
    block: Arc<ProcessBlock>,
    /// `None` for an earlier holder that `release` has put back: it remains only so that the next holder waits for its
    /// cleanup too.
    value: Option<V>,
    /// Earlier holders whose cleanup is not complete, oldest first.
    predecessors: Vec<Arc<ProcessBlock>>,
}

impl<K: Hash + Eq + Clone, V: Clone> NameTable<K, V> {
    pub(crate) fn new() -> Self {
        Self {
            entries: ShardedMap::new(),
            waiters: Mutex::new(HashMap::new()),
            waiter_count: AtomicUsize::new(0),
        }
    }

    /// Returns the running holder of a key and its value.
    pub(crate) fn get<Q>(&self, key: &Q) -> Option<(Arc<ProcessBlock>, V)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.entries.shard(key).read().get(key).and_then(NameEntry::live_holder)
    }

    /// Returns the values of all running holders.
    pub(crate) fn live_values(&self) -> Vec<V> {
        let mut all = Vec::new();
        self.entries.for_each(|_, entry| all.extend(entry.live_holder().map(|(_, value)| value)));
        all
    }

    /// Makes `block` the holder of a key. Returns the earlier holders that are exiting: until their cleanup completes
    /// they may still hold resources that go with the key.
    ///
    /// The cleanup of `block` may have begun meanwhile and then misses the new entry. The caller must check that
    /// afterwards, and release the key.
    ///
    /// # Errors
    /// `NameError::Taken` if a running process holds the key.
    pub(crate) fn claim(
        &self,
        key: &K,
        block: &Arc<ProcessBlock>,
        value: V,
    ) -> Result<Vec<Arc<ProcessBlock>>, NameError> {
        let owned_key = key.clone(); // user code: not under the lock
        let mut shard = self.entries.shard(key).write();
        let (displaced, predecessors) = match shard.get_mut(key) {
            Some(entry) if !entry.block.is_exiting() => return Err(NameError::Taken(entry.block.pid)),
            // Take over from a holder that is exiting.
            Some(entry) => {
                entry.predecessors.push(mem::replace(&mut entry.block, Arc::clone(block)));
                (entry.value.replace(value), entry.predecessors.clone())
            }
            None => {
                let entry =
                    NameEntry { block: Arc::clone(block), value: Some(value), predecessors: Vec::new() };
                shard.insert(owned_key, entry);
                (None, Vec::new())
            }
        };
        drop(shard);
        drop(displaced);
        self.notify_waiters(key);
        Ok(predecessors)
    }

    /// Removes `holder` from the entry of a key and returns its value. If the cleanup of an earlier holder is not
    /// complete, that one becomes the holder again: the next holder must wait for it too.
    pub(crate) fn release<Q>(&self, key: &Q, holder: Pid) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let mut shard = self.entries.shard(key).write();
        let entry = shard.get_mut(key)?;
        if entry.block.pid != holder {
            // The key was taken over: later holders need not wait for this one any more.
            let index = entry.predecessors.iter().position(|block| block.pid == holder);
            let removed = index.map(|index| entry.predecessors.remove(index));
            drop(shard);
            drop(removed);
            return None;
        }
        // The latest predecessor is exiting, so `get` does not find it, and any process can take the key over.
        if let Some(predecessor) = entry.predecessors.pop() {
            let removed = mem::replace(&mut entry.block, predecessor);
            let value = entry.value.take();
            drop(shard);
            drop(removed);
            return value;
        }
        let removed = shard.remove_entry(key);
        drop(shard);
        removed.and_then(|(_, entry)| entry.value)
    }

    /// Replaces the value of `holder` and returns the old one; `None` if it does not hold the key.
    pub(crate) fn replace<Q>(&self, key: &Q, holder: Pid, value: V) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let mut shard = self.entries.shard(key).write();
        let entry = shard.get_mut(key).filter(|entry| entry.block.pid == holder)?;
        let current = entry.value.as_mut()?; // not in a closure, which would drop `value` under the lock
        Some(mem::replace(current, value))
    }

    /// Waits until a running process holds a key; `None` if the timeout passes first.
    pub(crate) fn get_timeout(&self, key: K, timeout: Duration) -> Option<(Arc<ProcessBlock>, V)> {
        let name_waiter = NameWaiter::new(self, key);
        local::wait(Some(timer_thread::deadline_after(timeout)), || self.get(&name_waiter.key))
    }

    /// Wakes the threads that wait for a holder of `key`, which is in the table already.
    fn notify_waiters(&self, key: &K) {
        // Order the insertion before the load. A waiter increments the counter and then looks for the key: either this
        // load sees the increment, or the waiter sees the new holder.
        fence(Ordering::SeqCst);
        if self.waiter_count.load(Ordering::Relaxed) > 0 {
            for parker in self.waiters.lock().get(key).into_iter().flatten() {
                parker.unpark();
            }
        }
    }
}

impl<V: Clone> NameEntry<V> {
    /// Returns the holder and its value, unless the holder is exiting.
    fn live_holder(&self) -> Option<(Arc<ProcessBlock>, V)> {
        if self.block.is_exiting() {
            return None;
        }
        self.value.clone().map(|value| (Arc::clone(&self.block), value))
    }
}

/// Registers the current thread as a waiter for a key until dropped.
struct NameWaiter<'a, K: Hash + Eq, V> {
    names: &'a NameTable<K, V>,
    key: K,
    parker: Arc<Parker>,
}

impl<'a, K: Hash + Eq + Clone, V> NameWaiter<'a, K, V> {
    fn new(names: &'a NameTable<K, V>, key: K) -> Self {
        let (owned_key, parker) = (key.clone(), local::parker());
        let mut waiters = names.waiters.lock();
        // The thread must be in the list before it is in the counter: `notify_waiters` reads the counter first.
        match waiters.get_mut(&key) {
            Some(parkers) => parkers.push(Arc::clone(&parker)),
            None => drop(waiters.insert(owned_key, vec![Arc::clone(&parker)])),
        }
        drop(waiters);
        names.waiter_count.fetch_add(1, Ordering::SeqCst);
        Self { names, key, parker }
    }
}

impl<K: Hash + Eq, V> Drop for NameWaiter<'_, K, V> {
    fn drop(&mut self) {
        self.names.waiter_count.fetch_sub(1, Ordering::SeqCst);
        let mut waiters = self.names.waiters.lock();
        // Dropped after the lock is released: the key is a user value.
        let mut removed = None;
        if let Some(parkers) = waiters.get_mut(&self.key) {
            if let Some(index) = parkers.iter().position(|parker| Arc::ptr_eq(parker, &self.parker)) {
                parkers.swap_remove(index);
            }
            if parkers.is_empty() {
                removed = waiters.remove_entry(&self.key);
            }
        }
        drop(waiters);
        drop(removed);
    }
}
