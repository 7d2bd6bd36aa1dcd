//! A concurrent table from keys to processes.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use crate::pid::Pid;
use crate::process::control::block::ProcessBlock;
use crate::process::control::local;
use crate::process::names::NameError;
use crate::process::park::parker::Parker;
use crate::process::park::timer_thread;
use crate::sharded_map::ShardedMap;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering, fence};

/// A table from keys to processes, and what each keeps beside its key, with the takeover rule. Nothing that
/// belongs to users is cloned or dropped under its locks, if their values are shared pointers; of their keys
/// only `Hash` and `Eq` run there.
pub(crate) struct NameTable<K, V = ()> {
    entries: ShardedMap<K, NameEntry<V>>,
    /// Who waits for a key to be held, by key.
    waiters: Mutex<HashMap<K, Vec<Arc<Parker>>>>,
    /// How many there are: nobody takes the lock for nothing.
    waiter_count: AtomicUsize,
}

/// Who holds a key.
struct NameEntry<V> {
    block: Arc<ProcessBlock>,
    /// What it keeps there. Nothing if its key was taken over and came back to it: it is remembered so that
    /// the next holder waits for its burial too.
    value: Option<V>,
    /// From whom the key was taken over, oldest first, for as long as they are not buried.
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

    /// The living holder, and what it keeps.
    pub(crate) fn get<Q>(&self, key: &Q) -> Option<(Arc<ProcessBlock>, V)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.entries.shard(key).read().get(key).and_then(NameEntry::live_holder)
    }

    /// What all living holders keep.
    pub(crate) fn live_values(&self) -> Vec<V> {
        let mut all = Vec::new();
        self.entries.for_each(|_, entry| all.extend(entry.live_holder().map(|(_, value)| value)));
        all
    }

    /// Makes `block` the holder, unless somebody living is. Returns the earlier holders that are doomed but not
    /// buried: they may still hold what goes with the key.
    ///
    /// A burial of `block` that has begun meanwhile does not see it: the caller has to look for that afterwards, and
    /// to release the key.
    pub(crate) fn claim(
        &self,
        key: &K,
        block: &Arc<ProcessBlock>,
        value: V,
    ) -> Result<Vec<Arc<ProcessBlock>>, NameError> {
        let owned_key = key.clone(); // not under the lock
        let mut shard = self.entries.shard(key).write();
        let (displaced, predecessors) = match shard.get_mut(key) {
            Some(entry) if !entry.block.is_exiting() => return Err(NameError::Taken(entry.block.pid)),
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

    /// Forgets `holder`, and returns what it kept. If it ends while one that it took the key from is not buried
    /// yet, that one gets it back: the next holder has to wait for it too.
    pub(crate) fn release<Q>(&self, key: &Q, holder: Pid) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let mut shard = self.entries.shard(key).write();
        let entry = shard.get_mut(key)?;
        if entry.block.pid != holder {
            // Taken over: from now on nobody has to wait for it.
            let index = entry.predecessors.iter().position(|block| block.pid == holder);
            let removed = index.map(|index| entry.predecessors.remove(index));
            drop(shard);
            drop(removed);
            return None;
        }
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

    /// Has `holder` keep something else beside the key, and returns what it kept; nothing if it does not hold it.
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

    /// The living holder, as soon as there is one.
    pub(crate) fn get_timeout(&self, key: K, timeout: Duration) -> Option<(Arc<ProcessBlock>, V)> {
        let name_waiter = NameWaiter::new(self, key);
        local::wait(Some(timer_thread::deadline_after(timeout)), || self.get(&name_waiter.key))
    }

    fn notify_waiters(&self, key: &K) {
        // The holder is in the table; who begins to wait after this look finds it there.
        fence(Ordering::SeqCst);
        if self.waiter_count.load(Ordering::Relaxed) > 0 {
            for parker in self.waiters.lock().get(key).into_iter().flatten() {
                parker.unpark();
            }
        }
    }
}

impl<V: Clone> NameEntry<V> {
    fn live_holder(&self) -> Option<(Arc<ProcessBlock>, V)> {
        if self.block.is_exiting() {
            return None;
        }
        self.value.clone().map(|value| (Arc::clone(&self.block), value))
    }
}

/// One thread that waits for a key to be held, while this lives.
struct NameWaiter<'a, K: Hash + Eq, V> {
    names: &'a NameTable<K, V>,
    key: K,
    parker: Arc<Parker>,
}

impl<'a, K: Hash + Eq + Clone, V> NameWaiter<'a, K, V> {
    fn new(names: &'a NameTable<K, V>, key: K) -> Self {
        let (owned_key, parker) = (key.clone(), local::parker());
        let mut waiters = names.waiters.lock();
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
