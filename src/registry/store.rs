//! The state behind a registry: its table of entries, what each process has registered, the key locks and the
//! listeners.
//!
//! User code (conversions, destructors, clones of keys and values) must never run while a lock of this file is
//! held; only `Hash` and `Eq` of keys may.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::ptr;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::thread;

use crate::pid::Pid;
use crate::process::control::block::HeldResource;
use crate::process::control::block::ProcessBlock;
use crate::process::control::local;
use crate::process::control::local::{CurrentProcess, Exiting, enter_release_call, enter_runtime_call};
use crate::process::control::table;
use crate::process::error::NameError;
use crate::process::names::table::NameTable;
use crate::registry::key_locks::KeyLocks;
use crate::registry::key_locks::LockWaiter;
use crate::registry::listeners::Announcement;
use crate::registry::listeners::Listeners;
use crate::registry::listeners::RegistryEvent;
use crate::sharded_map::ShardedMap;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::unwind::{ContainedDrop, catch_and_log};

/// One registration of a process under a key. Registrations of one registry are numbered in order.
pub(crate) struct KeyRegistration<K> {
    pub(crate) key: K,
    pub(crate) block: Arc<ProcessBlock>,
    pub(crate) number: u64,
    announcement: Announcement,
}

impl<K> KeyRegistration<K> {
    pub(crate) fn pid(&self) -> Pid {
        self.block.pid
    }
}

/// One entry of a table. It is cloned under locks, so the key and the value are behind shared pointers: their own
/// `Clone` is user code.
pub(crate) struct RegistryEntry<K, V> {
    pub(crate) registration: Arc<KeyRegistration<K>>,
    pub(crate) value: Arc<ContainedDrop<V>>,
}

impl<K, V> Clone for RegistryEntry<K, V> {
    fn clone(&self) -> Self {
        Self { registration: Arc::clone(&self.registration), value: Arc::clone(&self.value) }
    }
}

/// The entries of one registry, by key.
pub(crate) enum EntryTable<K, V> {
    /// At most one running process for each key, like names.
    Unique(NameTable<K, RegistryEntry<K, V>>),
    /// Any number of entries for each key, ordered by their number.
    Duplicate(ShardedMap<K, EntriesByNumber<K, V>>),
}

/// The entries of one key, in the order in which they were made.
type EntriesByNumber<K, V> = BTreeMap<u64, RegistryEntry<K, V>>;

impl<K: Hash + Eq + Clone, V> EntryTable<K, V> {
    /// Adds an entry. Returns the exiting processes whose cleanup has to complete before a process that is started
    /// under the key may run.
    fn insert(&self, entry: RegistryEntry<K, V>) -> Result<Vec<Arc<ProcessBlock>>, NameError> {
        let registration = Arc::clone(&entry.registration);
        match self {
            // Refuses a key with a running holder, and takes it over from an exiting one.
            Self::Unique(names) => names.claim(&registration.key, &registration.block, entry),
            Self::Duplicate(entries_by_key) => {
                // The clone of a key is user code: make it before the lock is taken.
                let key = registration.key.clone();
                let mut shard = entries_by_key.shard(&registration.key).write();
                match shard.get_mut(&registration.key) {
                    Some(entries) => drop(entries.insert(registration.number, entry)),
                    None => drop(shard.insert(key, BTreeMap::from([(registration.number, entry)]))),
                }
                Ok(Vec::new())
            }
        }
    }

    /// Removes those of the entries that are still in the table. All belong to one process and have the same key.
    fn remove(&self, registrations: &[Arc<KeyRegistration<K>>]) {
        match self {
            // If another process has taken the key over, `release` only removes this one from its predecessors.
            Self::Unique(names) => {
                for registration in registrations {
                    names.release(&registration.key, registration.pid());
                }
            }
            Self::Duplicate(entries_by_key) => {
                let Some(first) = registrations.first() else { return };
                let mut shard = entries_by_key.shard(&first.key).write();
                let Some(entries) = shard.get_mut(&first.key) else { return };
                let removed: Vec<_> = registrations
                    .iter()
                    .filter_map(|registration| entries.remove(&registration.number))
                    .collect();
                let emptied = if entries.is_empty() { shard.remove_entry(&first.key) } else { None };
                // Destructors of keys and values are user code: unlock first.
                drop(shard);
                drop((removed, emptied));
            }
        }
    }

    /// Returns the entries of running processes, in no particular order.
    fn live_entries(&self) -> Vec<RegistryEntry<K, V>> {
        match self {
            Self::Unique(names) => names.live_values(),
            Self::Duplicate(entries_by_key) => {
                let mut all = Vec::new();
                entries_by_key.for_each(|_, entries| all.extend(live_entries(entries)));
                all
            }
        }
    }

    /// Returns the entries of running processes under a key, in the order in which they were made.
    fn live_entries_at<Q>(&self, key: &Q) -> Vec<RegistryEntry<K, V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        match self {
            Self::Unique(names) => names.get(key).into_iter().map(|(_, entry)| entry).collect(),
            Self::Duplicate(entries_by_key) => {
                let shard = entries_by_key.shard(key).read();
                shard.get(key).into_iter().flat_map(live_entries).collect()
            }
        }
    }
}

fn live_entries<'a, K, V>(
    entries: &'a EntriesByNumber<K, V>,
) -> impl Iterator<Item = RegistryEntry<K, V>> + use<'a, K, V> {
    entries.values().filter(|entry| !entry.registration.block.is_exiting()).cloned()
}

/// What all handles of one registry share.
pub(crate) struct Store<K, V> {
    table: EntryTable<K, V>,
    by_process: ShardedMap<Pid, Arc<ProcessEntries<K, V>>>,
    locks: KeyLocks<K>,
    pub(crate) listeners: Listeners<K, V>,
    next_number: AtomicU64,
}

/// What one process has in one registry: its registrations and the locks it holds or waits for. Each process has at
/// most one of these in a registry.
struct ProcessEntries<K, V> {
    store: Weak<Store<K, V>>,
    registrations: Mutex<HashMap<K, Vec<Arc<KeyRegistration<K>>>>>,
    lock_waiters: Mutex<Vec<Arc<LockWaiter<K>>>>,
}

impl<K, V> HeldResource for ProcessEntries<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn release_locks(&self) {
        if let Some(store) = self.store.upgrade() {
            store.release_locks(self);
        }
    }

    fn release(&self, pid: Pid) {
        if let Some(store) = self.store.upgrade() {
            store.remove_process(pid, self);
        }
    }
}

impl<K, V> ProcessEntries<K, V>
where
    K: Hash + Eq + Clone,
{
    /// Records a registration that is about to be added to the table.
    fn add(&self, registration: &Arc<KeyRegistration<K>>) {
        let key = registration.key.clone(); // user code: not under the lock
        let mut registrations = self.registrations.lock();
        match registrations.get_mut(&registration.key) {
            Some(others) => others.push(Arc::clone(registration)),
            None => drop(registrations.insert(key, vec![Arc::clone(registration)])),
        }
    }

    fn remove(&self, registration: &Arc<KeyRegistration<K>>) {
        let mut registrations = self.registrations.lock();
        let Some(others) = registrations.get_mut(&registration.key) else { return };
        others.retain(|other| !Arc::ptr_eq(other, registration));
        let emptied = if others.is_empty() { registrations.remove_entry(&registration.key) } else { None };
        drop(registrations);
        drop(emptied); // the destructor of the key is user code: not under the lock
    }
}

/// Begins a call that registers the calling process.
///
/// # Errors
/// - [`NameError::NotAProcess`] on a thread that is not a process.
/// - [`NameError::Exiting`] if the process may not start anything new.
pub(crate) fn enter_register_call() -> Result<Rc<CurrentProcess>, NameError> {
    enter_runtime_call().map_err(|Exiting| NameError::Exiting)?.ok_or(NameError::NotAProcess)
}

/// Begins a call that changes or removes entries of the calling process. Returns `None` on a thread that is not a
/// process, and on that of a zombie.
pub(crate) fn enter_change_call() -> Option<Rc<CurrentProcess>> {
    enter_release_call().ok().flatten()
}

/// Registering and unregistering, and the cleanup of a process.
impl<K, V> Store<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(crate) fn new(table: EntryTable<K, V>) -> Arc<Self> {
        Arc::new(Self {
            table,
            by_process: ShardedMap::new(),
            locks: KeyLocks::new(),
            listeners: Listeners::new(),
            next_number: AtomicU64::new(0),
        })
    }

    fn find_process_entries(&self, pid: Pid) -> Option<Arc<ProcessEntries<K, V>>> {
        self.by_process.shard(&pid).read().get(&pid).cloned()
    }

    /// Returns the record of what a process has here, and creates it if there is none; `None` if the cleanup of the
    /// process, which releases the record, has already started. An existing record is returned also during cleanup, so
    /// callers check `is_cleaning_up` afterwards.
    fn process_entries(self: &Arc<Self>, block: &Arc<ProcessBlock>) -> Option<Arc<ProcessEntries<K, V>>> {
        if let Some(existing) = self.find_process_entries(block.pid) {
            return Some(existing);
        }
        let new = Arc::new(ProcessEntries {
            store: Arc::downgrade(self),
            registrations: Mutex::new(HashMap::new()),
            lock_waiters: Mutex::new(Vec::new()),
        });
        // Another thread that registers the same process (its starter) may have been faster: use its record then.
        let process_entries = Arc::clone(
            self.by_process.shard(&block.pid).write().entry(block.pid).or_insert(Arc::clone(&new)),
        );
        if !Arc::ptr_eq(&process_entries, &new) {
            return Some(process_entries);
        }
        // Under the block's lock, cleanup either finds the resource or has started already.
        let mut state = block.lock();
        if !block.is_cleaning_up() {
            state.held_resources.push(Arc::clone(&new) as Arc<dyn HeldResource>);
            return Some(process_entries);
        }
        drop(state);
        // Cleanup will not come to this record, and another thread may have added a registration to it already.
        self.remove_process(block.pid, &process_entries);
        None
    }

    /// Registers a process. Returns the exiting processes whose cleanup has to complete before this one may run, if it
    /// has not started to run yet.
    pub(crate) fn register(
        self: &Arc<Self>,
        block: &Arc<ProcessBlock>,
        key: K,
        value: V,
    ) -> Result<Vec<Arc<ProcessBlock>>, NameError> {
        let process_entries = self.process_entries(block).ok_or(NameError::NoProc)?;
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let registration = Arc::new(KeyRegistration {
            key,
            block: Arc::clone(block),
            number,
            announcement: Announcement::new(),
        });
        let entry = RegistryEntry {
            registration: Arc::clone(&registration),
            value: Arc::new(ContainedDrop::new("registry value", value)),
        };
        // Record the registration before the table gets the entry: a cleanup that runs on another thread in between
        // then finds it.
        process_entries.add(&registration);
        if block.is_cleaning_up() {
            process_entries.remove(&registration); // the cleanup may have read the list before the line above
            return Err(NameError::NoProc);
        }
        let predecessors = match self.table.insert(entry.clone()) {
            Ok(predecessors) => predecessors,
            // The key is taken: undo the record.
            Err(error) => {
                process_entries.remove(&registration);
                return Err(error);
            }
        };
        if !registration.announcement.start_announcing() {
            // A cleanup on another thread has removed the registration, perhaps before the entry was in the table.
            self.table.remove(std::slice::from_ref(&registration));
            return Err(NameError::NoProc);
        }
        self.listeners.announce_register(&registration.announcement, || RegistryEvent::Register {
            key: registration.key.clone(),
            pid: registration.pid(),
            value: entry.value.get().clone(),
        });
        // The process may have exited during the announcement; its cleanup then removed the entry.
        if block.is_cleaning_up() {
            return Err(NameError::NoProc);
        }
        Ok(predecessors)
    }

    /// Removes the entries of a process under a key.
    pub(crate) fn unregister<Q>(&self, pid: Pid, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some(process_entries) = self.find_process_entries(pid) {
            let registrations = process_entries.registrations.lock().get(key).cloned().unwrap_or_default();
            self.unregister_all(&process_entries, &registrations);
        }
    }

    /// Removes those entries of a process under a key whose value matches. User code runs for each.
    pub(crate) fn unregister_match<Q>(&self, pid: Pid, key: &Q, mut matches: impl FnMut(&V) -> bool)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let EntryTable::Duplicate(entries_by_key) = &self.table else {
            unreachable!("only a `DuplicateRegistry` has several entries under a key")
        };
        let Some(process_entries) = self.find_process_entries(pid) else { return };
        // Copy the entries: `matches` is user code and must not run under the lock of the shard.
        let mut own_entries = {
            let shard = entries_by_key.shard(key).read();
            let entries = shard.get(key).into_iter().flat_map(BTreeMap::values);
            entries.filter(|entry| entry.registration.pid() == pid).cloned().collect::<Vec<_>>()
        };
        // Call `matches` for all entries first: if it panics, none is removed.
        own_entries.retain(|entry| matches(entry.value.get()));
        for entry in own_entries {
            self.unregister_all(&process_entries, std::slice::from_ref(&entry.registration));
        }
    }

    /// Removes entries of a process. Its own record is updated last: if another thread cleans the process up in the
    /// meantime, that cleanup still finds the registrations, and returns only when all listeners have been notified.
    fn unregister_all(
        &self,
        process_entries: &ProcessEntries<K, V>,
        registrations: &[Arc<KeyRegistration<K>>],
    ) {
        self.remove_and_announce(registrations);
        for registration in registrations {
            process_entries.remove(registration);
        }
    }

    /// Removes entries from the table and notifies the listeners, also of entries whose key was already taken over.
    fn remove_and_announce(&self, registrations: &[Arc<KeyRegistration<K>>]) {
        self.table.remove(registrations);
        for registration in registrations {
            let event =
                || RegistryEvent::Unregister { key: registration.key.clone(), pid: registration.pid() };
            self.listeners.announce_unregister(&registration.announcement, event);
        }
    }

    fn release_locks(&self, process_entries: &ProcessEntries<K, V>) {
        let lock_waiters = std::mem::take(&mut *process_entries.lock_waiters.lock());
        for lock_waiter in lock_waiters {
            catch_and_log("the release of a lock", move || self.locks.leave(&lock_waiter));
        }
    }

    /// Removes everything that a process has here, during its cleanup.
    fn remove_process(&self, pid: Pid, process_entries: &ProcessEntries<K, V>) {
        // This is the record in the map: `process_entries` inserts one only if there is none, and each record is
        // removed once.
        let removed = self.by_process.shard(&pid).write().remove(&pid);
        drop(removed); // not under the lock
        self.release_locks(process_entries);
        // `Hash`, `Eq` and the destructor of a key are user code: a panic for one key must not keep the others.
        let registrations = std::mem::take(&mut *process_entries.registrations.lock());
        for (key, registrations) in registrations {
            catch_and_log("the release of a key", || {
                self.remove_and_announce(&registrations);
                drop((key, registrations));
            });
        }
    }
}

/// Queries.
impl<K, V> Store<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Returns the names of a registry with unique keys.
    pub(crate) fn names(&self) -> &NameTable<K, RegistryEntry<K, V>> {
        match &self.table {
            EntryTable::Unique(names) => names,
            EntryTable::Duplicate(_) => unreachable!("only a `Registry` has names"),
        }
    }

    /// Returns the entries of running processes under a key, in the order in which they were made.
    pub(crate) fn entries_at<Q>(&self, key: &Q) -> Vec<RegistryEntry<K, V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.table.live_entries_at(key)
    }

    /// Returns the keys of a running process, in the order in which it registered.
    pub(crate) fn keys(&self, pid: Pid) -> Vec<K> {
        let Some(process_entries) = self.find_process_entries(pid) else { return Vec::new() };
        let mut registrations: Vec<_> =
            process_entries.registrations.lock().values().flatten().cloned().collect();
        // A registration is recorded before its entry is in the table, and for some time after the entry was removed.
        registrations.retain(|registration| {
            registration.announcement.is_registered() && !registration.block.is_exiting()
        });
        registrations.sort_by_key(|registration| registration.number);
        registrations.iter().map(|registration| registration.key.clone()).collect()
    }

    /// Returns the number of entries of running processes.
    pub(crate) fn count(&self) -> usize {
        self.table.live_entries().len()
    }

    /// Returns the number of processes that have used the registry and whose cleanup is not complete.
    pub(crate) fn process_count(&self) -> usize {
        let mut processes = 0;
        self.by_process.for_each(|_, _| processes += 1);
        processes
    }

    /// Returns all entries of running processes, in the order in which they were made.
    pub(crate) fn entries(&self) -> Vec<(K, Pid, V)> {
        // A table with many shards has no order of its own. Keys and values are cloned without a lock: user code.
        let mut entries = self.table.live_entries();
        entries.sort_by_key(|entry| entry.registration.number);
        entries
            .iter()
            .map(|entry| {
                (entry.registration.key.clone(), entry.registration.pid(), entry.value.get().clone())
            })
            .collect()
    }
}

/// Key locks.
impl<K, V> Store<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    #[track_caller]
    pub(crate) fn lock<R>(self: &Arc<Self>, key: K, body: impl FnOnce() -> R) -> R {
        let me = local::get();
        if let Some(me) = &me {
            me.checkpoint();
        }
        let lock_waiter = Arc::new(LockWaiter::new(key));
        // During its own cleanup a process counts as a foreign thread: a record made now would never be released.
        let process = me.as_ref().filter(|me| !me.in_cleanup());
        let process_entries = process.and_then(|me| self.process_entries(&me.block));
        // The guard exists before the waiter is in any queue, so that each way out of this function removes it.
        let queue_guard = LockQueueGuard { store: self, process_entries, lock_waiter: &lock_waiter };
        if let Some(process_entries) = &queue_guard.process_entries {
            process_entries.lock_waiters.lock().push(Arc::clone(&lock_waiter));
        }
        // A zombie has no record (`process_entries` is `None`) and never gets the lock. The `wait` below unwinds it,
        // except in a destructor: there it blocks, as does a destructor that asks for a lock its thread holds.
        let may_enqueue = process.is_none() || queue_guard.process_entries.is_some();
        if may_enqueue && !self.locks.enqueue(&lock_waiter) && !thread::panicking() {
            panic!("deadlock: the caller already holds the lock of this key");
        }
        // Cleanup by another thread may have released the locks of this process before the waiter was in the queue.
        if process.is_some_and(|me| me.block.is_cleaning_up()) {
            self.locks.leave(&lock_waiter);
        }
        lock_waiter.wait();
        // An exit signal may have arrived together with the lock: do not run `body` then.
        if let Some(me) = &me {
            me.checkpoint();
        }
        body()
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

impl<K, V> Drop for Store<K, V> {
    fn drop(&mut self) {
        // The last handle is gone. Running processes still list their records as held resources: remove them there,
        // or a process that uses many short-lived registries would accumulate them.
        let mut all_entries = Vec::new();
        self.by_process
            .for_each(|pid, process_entries| all_entries.push((*pid, Arc::clone(process_entries))));
        for (pid, process_entries) in all_entries {
            let Some(block) = table::get(pid) else { continue };
            let mut state = block.lock();
            let at = state
                .held_resources
                .iter()
                .position(|held| ptr::addr_eq(Arc::as_ptr(held), Arc::as_ptr(&process_entries)));
            let held = at.map(|at| state.held_resources.remove(at));
            // The record may hold the last reference to keys, whose destructors are user code.
            drop(state);
            drop(held);
        }
    }
}
