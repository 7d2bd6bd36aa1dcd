//! What both kinds of registry have in common: what each process has in it, and that all of it is gone before
//! anybody hears of the process' death; the locks; the listeners. `unique` and `duplicate` put a table to it.

use std::borrow::Borrow;
use std::collections::HashMap;
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
use crate::registry::announcement::Announcement;
use crate::registry::key_locks::KeyLocks;
use crate::registry::key_locks::LockWaiter;
use crate::registry::listeners::Listeners;
use crate::registry::listeners::RegistryEvent;
use crate::sharded_map::ShardedMap;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::unwind::{ContainedDrop, catch_and_log};

/// Who registered under what; registrations of one registry are numbered in order.
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

/// One entry of a table. Shared pointers: it is copied and dropped under locks, what is in it never is.
pub(crate) struct RegistryEntry<K, V> {
    pub(crate) registration: Arc<KeyRegistration<K>>,
    pub(crate) value: Arc<ContainedDrop<V>>,
}

impl<K, V> Clone for RegistryEntry<K, V> {
    fn clone(&self) -> Self {
        Self { registration: Arc::clone(&self.registration), value: Arc::clone(&self.value) }
    }
}

/// Where the entries are, by key.
pub(crate) trait EntryTable<K, V>: Send + Sync + 'static {
    /// Returns the dying processes whose burial whoever is started under the key has to wait for.
    fn insert(&self, entry: RegistryEntry<K, V>) -> Result<Vec<Arc<ProcessBlock>>, NameError>;
    /// Takes out what is still there, of one process under one key.
    fn remove(&self, registrations: &[Arc<KeyRegistration<K>>]);
    /// The entries of living processes.
    fn live_entries(&self) -> Vec<RegistryEntry<K, V>>;
}

/// A registry without its face.
pub(crate) struct Store<K, V, T> {
    pub(crate) table: T,
    by_process: ShardedMap<Pid, Arc<ProcessEntries<K, V, T>>>,
    locks: KeyLocks<K>,
    pub(crate) listeners: Listeners<K, V>,
    next_number: AtomicU64,
}

/// What one process has in one registry. There is never more than one of it, whatever the process does.
struct ProcessEntries<K, V, T> {
    store: Weak<Store<K, V, T>>,
    registrations: Mutex<HashMap<K, Vec<Arc<KeyRegistration<K>>>>>,
    lock_waiters: Mutex<Vec<Arc<LockWaiter<K>>>>,
}

impl<K, V, T> HeldResource for ProcessEntries<K, V, T>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    T: EntryTable<K, V>,
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

impl<K, V, T> ProcessEntries<K, V, T>
where
    K: Hash + Eq + Clone,
{
    /// Notes a registration that is about to be entered.
    fn add(&self, registration: &Arc<KeyRegistration<K>>) {
        let key = registration.key.clone(); // not under the lock
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
        drop(emptied);
    }
}

/// The calling process, if it is one that can still register.
pub(crate) fn enter_register_call() -> Result<Rc<CurrentProcess>, NameError> {
    enter_runtime_call().map_err(|Exiting| NameError::Exiting)?.ok_or(NameError::NotAProcess)
}

/// The calling process, if it is one and what it does still counts.
pub(crate) fn enter_registry_call() -> Option<Rc<CurrentProcess>> {
    enter_release_call().ok().flatten()
}

/// A life in the registry: registering, changing one's mind, death.
impl<K, V, T> Store<K, V, T>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    T: EntryTable<K, V>,
{
    pub(crate) fn new(table: T) -> Arc<Self> {
        Arc::new(Self {
            table,
            by_process: ShardedMap::new(),
            locks: KeyLocks::new(),
            listeners: Listeners::new(),
            next_number: AtomicU64::new(0),
        })
    }

    fn find_process_entries(&self, pid: Pid) -> Option<Arc<ProcessEntries<K, V, T>>> {
        self.by_process.shard(&pid).read().get(&pid).cloned()
    }

    /// What the process has here, from now on released at its burial; `None` if that is past.
    fn process_entries(self: &Arc<Self>, block: &Arc<ProcessBlock>) -> Option<Arc<ProcessEntries<K, V, T>>> {
        if let Some(existing) = self.find_process_entries(block.pid) {
            return Some(existing);
        }
        let new = Arc::new(ProcessEntries {
            store: Arc::downgrade(self),
            registrations: Mutex::new(HashMap::new()),
            lock_waiters: Mutex::new(Vec::new()),
        });
        let process_entries = Arc::clone(
            self.by_process.shard(&block.pid).write().entry(block.pid).or_insert(Arc::clone(&new)),
        );
        if !Arc::ptr_eq(&process_entries, &new) {
            return Some(process_entries);
        }
        let mut state = block.lock();
        if !block.is_cleaning_up() {
            state.held_resources.push(Arc::clone(&new) as Arc<dyn HeldResource>);
            return Some(process_entries);
        }
        drop(state);
        // Somebody else may have noted something in it already.
        self.remove_process(block.pid, &process_entries);
        None
    }

    /// Registers a process. Returns the dying processes whose burial it has to wait for if it has not begun.
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
        // First, so that a burial does not miss it.
        process_entries.add(&registration);
        if block.is_cleaning_up() {
            process_entries.remove(&registration); // the burial may have come by before it was noted
            return Err(NameError::NoProc);
        }
        let predecessors = match self.table.insert(entry.clone()) {
            Ok(predecessors) => predecessors,
            Err(error) => {
                process_entries.remove(&registration);
                return Err(error);
            }
        };
        if !registration.announcement.start_announcing() {
            // Buried by another thread, perhaps before it was in the table.
            self.table.remove(std::slice::from_ref(&registration));
            return Err(NameError::NoProc);
        }
        self.listeners.announce_register(&registration.announcement, || RegistryEvent::Register {
            key: registration.key.clone(),
            pid: registration.pid(),
            value: entry.value.get().clone(),
        });
        if block.is_cleaning_up() {
            return Err(NameError::NoProc);
        }
        Ok(predecessors)
    }

    /// Takes away what a process has under a key.
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

    /// Takes away one entry of a process.
    pub(crate) fn unregister_one(&self, registration: &Arc<KeyRegistration<K>>) {
        if let Some(process_entries) = self.find_process_entries(registration.pid()) {
            self.unregister_all(&process_entries, std::slice::from_ref(registration));
        }
    }

    /// Forgotten last: if the process is buried meanwhile, the burial sees to it that all have heard.
    fn unregister_all(
        &self,
        process_entries: &ProcessEntries<K, V, T>,
        registrations: &[Arc<KeyRegistration<K>>],
    ) {
        self.remove_and_announce(registrations);
        for registration in registrations {
            process_entries.remove(registration);
        }
    }

    /// Takes entries out of the table, and tells: of one whose key was taken over this is the end too.
    fn remove_and_announce(&self, registrations: &[Arc<KeyRegistration<K>>]) {
        self.table.remove(registrations);
        for registration in registrations {
            let event =
                || RegistryEvent::Unregister { key: registration.key.clone(), pid: registration.pid() };
            self.listeners.announce_unregister(&registration.announcement, event);
        }
    }

    fn release_locks(&self, process_entries: &ProcessEntries<K, V, T>) {
        let lock_waiters = std::mem::take(&mut *process_entries.lock_waiters.lock());
        for lock_waiter in lock_waiters {
            catch_and_log("the release of a lock", move || self.locks.leave(&lock_waiter));
        }
    }

    /// A process is being buried: nothing of it stays here. The hash and the destructor of a key are user code:
    /// what one of them does is nothing to the others.
    fn remove_process(&self, pid: Pid, process_entries: &ProcessEntries<K, V, T>) {
        let mut shard = self.by_process.shard(&pid).write();
        let listed = shard.get(&pid).is_some_and(|listed| ptr::eq(&**listed, process_entries));
        let unlisted = if listed { shard.remove(&pid) } else { None };
        drop(shard);
        drop(unlisted);
        self.release_locks(process_entries);
        let registrations = std::mem::take(&mut *process_entries.registrations.lock());
        for (key, registrations) in registrations {
            catch_and_log("the release of a key", || {
                self.remove_and_announce(&registrations);
                drop((key, registrations));
            });
        }
    }
}

/// Questions.
impl<K, V, T> Store<K, V, T>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    T: EntryTable<K, V>,
{
    /// The keys of a living process, in the order it registered.
    pub(crate) fn keys(&self, pid: Pid) -> Vec<K> {
        let Some(process_entries) = self.find_process_entries(pid) else { return Vec::new() };
        let mut registrations: Vec<_> =
            process_entries.registrations.lock().values().flatten().cloned().collect();
        registrations.retain(|registration| {
            registration.announcement.is_registered() && !registration.block.is_exiting()
        });
        registrations.sort_by_key(|registration| registration.number);
        registrations.iter().map(|registration| registration.key.clone()).collect()
    }

    /// How many entries of living processes there are, and how many processes that have been here are not buried.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        let mut processes = 0;
        self.by_process.for_each(|_, _| processes += 1);
        (self.table.live_entries().len(), processes)
    }

    /// All entries of living processes, in the order they were made.
    pub(crate) fn entries(&self) -> Vec<(K, Pid, V)> {
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

/// Locks.
impl<K, V, T> Store<K, V, T>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    T: EntryTable<K, V>,
{
    #[track_caller]
    pub(crate) fn lock<R>(self: &Arc<Self>, key: K, body: impl FnOnce() -> R) -> R {
        let me = local::get();
        if let Some(me) = &me {
            me.checkpoint();
        }
        let lock_waiter = Arc::new(LockWaiter::new(key));
        // In its own burial a process is as any other thread: there is nobody left to free what it holds.
        let process = me.as_ref().filter(|me| !me.in_cleanup());
        let process_entries = process.and_then(|me| self.process_entries(&me.block));
        let queue_guard = LockQueueGuard { store: self, process_entries, lock_waiter: &lock_waiter };
        if let Some(process_entries) = &queue_guard.process_entries {
            process_entries.lock_waiters.lock().push(Arc::clone(&lock_waiter));
        }
        // What the dead ask for has no effect: a zombie never gets the lock. In its destructors it cannot be
        // unwound either; there it waits for ever, as does who asks in a destructor for what it holds itself.
        let may_enqueue = process.is_none() || queue_guard.process_entries.is_some();
        if may_enqueue && !self.locks.enqueue(&lock_waiter) && !thread::panicking() {
            panic!(
                "the lock of this key is held by the very process that asks for it, and would never be free"
            );
        }
        if process.is_some_and(|me| me.block.is_cleaning_up()) {
            self.locks.leave(&lock_waiter);
        }
        lock_waiter.wait();
        if let Some(me) = &me {
            me.checkpoint();
        }
        body()
    }
}

/// A place in the queue for a lock, given up when this goes.
struct LockQueueGuard<'a, K, V, T>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    T: EntryTable<K, V>,
{
    store: &'a Store<K, V, T>,
    process_entries: Option<Arc<ProcessEntries<K, V, T>>>,
    lock_waiter: &'a Arc<LockWaiter<K>>,
}

impl<K, V, T> Drop for LockQueueGuard<'_, K, V, T>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    T: EntryTable<K, V>,
{
    fn drop(&mut self) {
        if let Some(process_entries) = &self.process_entries {
            process_entries
                .lock_waiters
                .lock()
                .retain(|lock_waiter| !Arc::ptr_eq(lock_waiter, self.lock_waiter));
        }
        self.store.locks.leave(self.lock_waiter);
    }
}

/// A registry that nobody has a handle of any more: the processes that outlive it forget it.
impl<K, V, T> Drop for Store<K, V, T> {
    fn drop(&mut self) {
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
            drop(state);
            drop(held);
        }
    }
}
