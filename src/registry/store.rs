//! What both kinds of registry have in common: what each process has in it, and that all of it is gone before
//! anybody hears of the process' death; the locks; the listeners. `unique` and `duplicate` put a table to it.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::mem::needs_drop;
use std::ptr;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::thread;

use crate::pid::Pid;
use crate::process::block::{Block, Held};
use crate::process::me::{self, Me};
use crate::process::names::NameError;
use crate::process::shards::Shards;
use crate::process::table;
use crate::registry::event::{Listeners, RegistryEvent};
use crate::registry::locks::{Locks, Ticket};
use crate::registry::told::Told;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::unwind::contain;

/// Who registered under what; registrations of one registry are numbered in order.
pub(crate) struct Label<K> {
    pub(crate) key: K,
    pub(crate) block: Arc<Block>,
    pub(crate) number: u64,
    told: Told,
}

impl<K> Label<K> {
    pub(crate) fn pid(&self) -> Pid {
        self.block.pid
    }
}

/// A value that users gave us. Its destructor may run wherever the last of those who look at it is done, so a
/// panic in it goes no further.
pub(crate) struct Kept<V>(Option<V>);

impl<V> Kept<V> {
    pub(crate) fn new(value: V) -> Self {
        Self(Some(value))
    }

    pub(crate) fn get(&self) -> &V {
        let Some(value) = &self.0 else { unreachable!("taken out only to be dropped") };
        value
    }
}

impl<V> Drop for Kept<V> {
    fn drop(&mut self) {
        if needs_drop::<V>() {
            let value = self.0.take();
            contain("the destructor of a value in a registry", move || drop(value));
        }
    }
}

/// One entry of a table. Shared pointers: it is copied and dropped under locks, what is in it never is.
pub(crate) struct Slot<K, V> {
    pub(crate) label: Arc<Label<K>>,
    pub(crate) value: Arc<Kept<V>>,
}

impl<K, V> Clone for Slot<K, V> {
    fn clone(&self) -> Self {
        Self { label: Arc::clone(&self.label), value: Arc::clone(&self.value) }
    }
}

/// Where the entries are, by key.
pub(crate) trait Table<K, V>: Send + Sync + 'static {
    /// Returns the dying processes whose burial whoever is started under the key has to wait for.
    fn enter(&self, slot: Slot<K, V>) -> Result<Vec<Arc<Block>>, NameError>;
    /// Takes out what is still there, of one process under one key.
    fn remove(&self, labels: &[Arc<Label<K>>]);
    /// The entries of living processes.
    fn all(&self) -> Vec<Slot<K, V>>;
}

/// A registry without its face.
pub(crate) struct Store<K, V, T> {
    pub(crate) table: T,
    holders: Shards<Pid, Arc<Holder<K, V, T>>>,
    locks: Locks<K>,
    pub(crate) listeners: Listeners<K, V>,
    numbers: AtomicU64,
}

/// What one process has in one registry. There is never more than one of it, whatever the process does.
struct Holder<K, V, T> {
    store: Weak<Store<K, V, T>>,
    labels: Mutex<HashMap<K, Vec<Arc<Label<K>>>>>,
    tickets: Mutex<Vec<Arc<Ticket<K>>>>,
}

impl<K, V, T> Held for Holder<K, V, T>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    T: Table<K, V>,
{
    fn free(&self) {
        if let Some(store) = self.store.upgrade() {
            store.free(self);
        }
    }

    fn release(&self, holder: Pid) {
        if let Some(store) = self.store.upgrade() {
            store.bury(holder, self);
        }
    }
}

impl<K, V, T> Holder<K, V, T>
where
    K: Hash + Eq + Clone,
{
    /// Notes a registration that is about to be entered.
    fn note(&self, label: &Arc<Label<K>>) {
        let key = label.key.clone(); // not under the lock
        let mut labels = self.labels.lock();
        match labels.get_mut(&label.key) {
            Some(others) => others.push(Arc::clone(label)),
            None => drop(labels.insert(key, vec![Arc::clone(label)])),
        }
    }

    fn forget(&self, label: &Arc<Label<K>>) {
        let mut labels = self.labels.lock();
        let Some(others) = labels.get_mut(&label.key) else { return };
        others.retain(|other| !Arc::ptr_eq(other, label));
        let gone = if others.is_empty() { labels.remove_entry(&label.key) } else { None };
        drop(labels);
        drop(gone);
    }
}

/// The calling process, if it is one that can still register.
pub(crate) fn registrant() -> Result<Rc<Me>, NameError> {
    let me = me::get().ok_or(NameError::NotAProcess)?;
    me.checkpoint();
    if me.neutral() || me.zombie() { Err(NameError::Exiting) } else { Ok(me) }
}

/// The calling process, if it is one and what it does still counts.
pub(crate) fn myself() -> Option<Rc<Me>> {
    let me = me::get()?;
    me.checkpoint();
    if me.zombie() { None } else { Some(me) }
}

/// A life in the registry: registering, changing one's mind, death.
impl<K, V, T> Store<K, V, T>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    T: Table<K, V>,
{
    pub(crate) fn new(table: T) -> Arc<Self> {
        Arc::new(Self {
            table,
            holders: Shards::new(),
            locks: Locks::new(),
            listeners: Listeners::new(),
            numbers: AtomicU64::new(0),
        })
    }

    fn holder_of(&self, pid: Pid) -> Option<Arc<Holder<K, V, T>>> {
        self.holders.of(&pid).read().get(&pid).cloned()
    }

    /// What the process has here, from now on released at its burial; `None` if that is past.
    fn holder(self: &Arc<Self>, block: &Arc<Block>) -> Option<Arc<Holder<K, V, T>>> {
        if let Some(known) = self.holder_of(block.pid) {
            return Some(known);
        }
        let new = Arc::new(Holder {
            store: Arc::downgrade(self),
            labels: Mutex::new(HashMap::new()),
            tickets: Mutex::new(Vec::new()),
        });
        let holder =
            Arc::clone(self.holders.of(&block.pid).write().entry(block.pid).or_insert(Arc::clone(&new)));
        if !Arc::ptr_eq(&holder, &new) {
            return Some(holder);
        }
        let mut state = block.lock();
        if !block.burying() {
            state.held.push(Arc::clone(&new) as Arc<dyn Held>);
            return Some(holder);
        }
        drop(state);
        // Somebody else may have noted something in it already.
        self.bury(block.pid, &holder);
        None
    }

    /// Registers a process. Returns the dying processes whose burial it has to wait for if it has not begun.
    pub(crate) fn enter(
        self: &Arc<Self>,
        block: &Arc<Block>,
        key: K,
        value: V,
    ) -> Result<Vec<Arc<Block>>, NameError> {
        let holder = self.holder(block).ok_or(NameError::NoProc)?;
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let label = Arc::new(Label { key, block: Arc::clone(block), number, told: Told::nothing() });
        let slot = Slot { label: Arc::clone(&label), value: Arc::new(Kept::new(value)) };
        // First, so that a burial does not miss it.
        holder.note(&label);
        if block.burying() {
            holder.forget(&label); // the burial may have come by before it was noted
            return Err(NameError::NoProc);
        }
        let earlier = match self.table.enter(slot.clone()) {
            Ok(earlier) => earlier,
            Err(error) => {
                holder.forget(&label);
                return Err(error);
            }
        };
        if !label.told.begins() {
            // Buried by another thread, perhaps before it was in the table.
            self.table.remove(std::slice::from_ref(&label));
            return Err(NameError::NoProc);
        }
        self.listeners.tell_beginning(&label.told, || RegistryEvent::Register {
            key: label.key.clone(),
            pid: label.pid(),
            value: slot.value.get().clone(),
        });
        if block.burying() {
            return Err(NameError::NoProc);
        }
        Ok(earlier)
    }

    /// Takes away what a process has under a key.
    pub(crate) fn give_up<Q>(&self, pid: Pid, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some(holder) = self.holder_of(pid) {
            let labels = holder.labels.lock().get(key).cloned().unwrap_or_default();
            self.give_up_all(&holder, &labels);
        }
    }

    /// Takes away one entry of a process.
    pub(crate) fn give_up_one(&self, label: &Arc<Label<K>>) {
        if let Some(holder) = self.holder_of(label.pid()) {
            self.give_up_all(&holder, std::slice::from_ref(label));
        }
    }

    /// Forgotten last: if the process is buried meanwhile, the burial sees to it that all have heard.
    fn give_up_all(&self, holder: &Holder<K, V, T>, labels: &[Arc<Label<K>>]) {
        self.remove(labels);
        for label in labels {
            holder.forget(label);
        }
    }

    /// Takes entries out of the table, and tells: of one whose key was taken over this is the end too.
    fn remove(&self, labels: &[Arc<Label<K>>]) {
        self.table.remove(labels);
        for label in labels {
            let end = || RegistryEvent::Unregister { key: label.key.clone(), pid: label.pid() };
            self.listeners.tell_end(&label.told, end);
        }
    }

    fn free(&self, holder: &Holder<K, V, T>) {
        let tickets = std::mem::take(&mut *holder.tickets.lock());
        for ticket in tickets {
            contain("the release of a lock", move || self.locks.leave(&ticket));
        }
    }

    /// A process is being buried: nothing of it stays here. The hash and the destructor of a key are user code:
    /// what one of them does is nothing to the others.
    fn bury(&self, pid: Pid, holder: &Holder<K, V, T>) {
        let mut shard = self.holders.of(&pid).write();
        let listed = shard.get(&pid).is_some_and(|listed| ptr::eq(&**listed, holder));
        let unlisted = if listed { shard.remove(&pid) } else { None };
        drop(shard);
        drop(unlisted);
        self.free(holder);
        let labels = std::mem::take(&mut *holder.labels.lock());
        for (key, labels) in labels {
            contain("the release of a key", || {
                self.remove(&labels);
                drop((key, labels));
            });
        }
    }
}

/// Questions.
impl<K, V, T> Store<K, V, T>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    T: Table<K, V>,
{
    /// The keys of a living process, in the order it registered.
    pub(crate) fn keys(&self, pid: Pid) -> Vec<K> {
        let Some(holder) = self.holder_of(pid) else { return Vec::new() };
        let mut labels: Vec<_> = holder.labels.lock().values().flatten().cloned().collect();
        labels.retain(|label| label.told.stands() && !label.block.doomed());
        labels.sort_by_key(|label| label.number);
        labels.iter().map(|label| label.key.clone()).collect()
    }

    /// How many entries of living processes there are, and how many processes that have been here are not buried.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        let mut processes = 0;
        self.holders.visit(|_, _| processes += 1);
        (self.table.all().len(), processes)
    }

    /// All entries of living processes, in the order they were made.
    pub(crate) fn entries(&self) -> Vec<(K, Pid, V)> {
        let mut slots = self.table.all();
        slots.sort_by_key(|slot| slot.label.number);
        slots
            .iter()
            .map(|slot| (slot.label.key.clone(), slot.label.pid(), slot.value.get().clone()))
            .collect()
    }
}

/// Locks.
impl<K, V, T> Store<K, V, T>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    T: Table<K, V>,
{
    #[track_caller]
    pub(crate) fn lock<R>(self: &Arc<Self>, key: K, body: impl FnOnce() -> R) -> R {
        let me = me::get();
        if let Some(me) = &me {
            me.checkpoint();
        }
        let ticket = Arc::new(Ticket::new(key));
        // In its own burial a process is as any other thread: there is nobody left to free what it holds.
        let mortal = me.as_ref().filter(|me| !me.buries_itself());
        let holder = mortal.and_then(|me| self.holder(&me.block));
        let place = Place { store: self, holder, ticket: &ticket };
        if let Some(holder) = &place.holder {
            holder.tickets.lock().push(Arc::clone(&ticket));
        }
        // What the dead ask for has no effect: a zombie never gets the lock. In its destructors it cannot be
        // unwound either; there it waits for ever, as does who asks in a destructor for what it holds itself.
        let counts = mortal.is_none() || place.holder.is_some();
        if counts && !self.locks.enqueue(&ticket) && !thread::panicking() {
            panic!(
                "the lock of this key is held by the very process that asks for it, and would never be free"
            );
        }
        if mortal.is_some_and(|me| me.block.burying()) {
            self.locks.leave(&ticket);
        }
        ticket.wait();
        if let Some(me) = &me {
            me.checkpoint();
        }
        body()
    }
}

/// A place in the queue for a lock, given up when this goes.
struct Place<'a, K, V, T>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    T: Table<K, V>,
{
    store: &'a Store<K, V, T>,
    holder: Option<Arc<Holder<K, V, T>>>,
    ticket: &'a Arc<Ticket<K>>,
}

impl<K, V, T> Drop for Place<'_, K, V, T>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    T: Table<K, V>,
{
    fn drop(&mut self) {
        if let Some(holder) = &self.holder {
            holder.tickets.lock().retain(|ticket| !Arc::ptr_eq(ticket, self.ticket));
        }
        self.store.locks.leave(self.ticket);
    }
}

/// A registry that nobody has a handle of any more: the processes that outlive it forget it.
impl<K, V, T> Drop for Store<K, V, T> {
    fn drop(&mut self) {
        let mut holders = Vec::new();
        self.holders.visit(|pid, holder| holders.push((*pid, Arc::clone(holder))));
        for (pid, holder) in holders {
            let Some(block) = table::get(pid) else { continue };
            let mut state = block.lock();
            let at = state.held.iter().position(|held| ptr::addr_eq(Arc::as_ptr(held), Arc::as_ptr(&holder)));
            let held = at.map(|at| state.held.remove(at));
            drop(state);
            drop(held);
        }
    }
}
