//! Who holds which name. A name has at most one living holder; a holder whose end is decided no longer
//! counts, and whoever takes the name over waits for its burial before it begins. Births, sends by name,
//! the `Via` keys of other tables, and registries come here.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use once_cell::sync::Lazy;

use crate::pid::Pid;
use crate::process::control::block::HeldResource;
use crate::process::control::block::Phase;
use crate::process::control::block::ProcessBlock;
use crate::process::control::local;
use crate::process::control::local::{Exiting, enter_release_call, enter_runtime_call};
use crate::process::control::table;
use crate::process::park::parker::Parker;
use crate::process::park::timer_thread;
use crate::sharded_map::ShardedMap;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering, fence};

/// Why a name could not be registered or unregistered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// Somebody living holds it, perhaps the very process.
    Taken(Pid),
    /// The process has another name already; it can have one.
    AlreadyNamed(Arc<str>),
    /// There is no such process, or its end is decided.
    NoProc,
    /// Nobody holds it.
    Unknown,
    /// A name is at least one character.
    Empty,
    /// The calling process is exiting and can change nothing any more.
    Exiting,
    /// The calling thread is not a process, so there is nobody to register.
    NotAProcess,
    /// The keyed table refused: it cannot be used for names.
    Unsupported(&'static str),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(holder) => write!(f, "the name is taken by {holder}"),
            Self::AlreadyNamed(name) => write!(f, "the process already has the name {name:?}"),
            Self::NoProc => f.write_str("there is no such process"),
            Self::Unknown => f.write_str("nobody holds the name"),
            Self::Empty => f.write_str("a name must have at least one character"),
            Self::Exiting => f.write_str("the calling process is exiting"),
            Self::NotAProcess => f.write_str("the calling thread is not a process"),
            Self::Unsupported(reason) => write!(f, "the table cannot name processes: {reason}"),
        }
    }
}

impl std::error::Error for NameError {}

/// Another place to keep names: a process is reached, and registered, by a key in it. A library's
/// registry implements this; so can you.
///
/// A holder must be forgotten on `unregister`, which the runtime calls when the process ends, before any
/// link or monitor hears of it.
pub trait Via: fmt::Debug + Send + Sync {
    /// Who holds the key now.
    fn whereis(&self) -> Option<Pid>;

    /// Makes `pid` the holder. A holder that is no longer alive ([`process::is_alive`]) must be replaced. It
    /// is called by whoever starts the process: its runtime calls are checkpoints of the starter.
    ///
    /// # Errors
    /// [`NameError::Taken`] if somebody living holds it.
    ///
    /// [`process::is_alive`]: crate::process::is_alive
    fn register(&self, pid: Pid) -> Result<(), NameError>;

    /// Makes `pid`, which has not begun yet, the holder, and tells who held the key before and is still dying:
    /// the new process waits for those before its first step. Unless the table knows better, that is who
    /// `whereis` finds, if its end is decided, just before `register` is called.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    fn take_over(&self, pid: Pid) -> Result<Vec<Pid>, NameError> {
        let predecessor = self.whereis().and_then(table::get).filter(|holder| holder.is_exiting());
        self.register(pid)?;
        Ok(predecessor.map(|holder| holder.pid).into_iter().collect())
    }

    /// Forgets `pid`, if it still is the holder. It is called while that process ends, usually on its own
    /// thread: a call to a server fails there, a cast works.
    fn unregister(&self, pid: Pid);

    /// Who holds the key, as soon as somebody does; `None` if nobody does within `limit`. A table that cannot
    /// wait looks just once.
    fn whereis_timeout(&self, timeout: Duration) -> Option<Pid> {
        let _ = timeout;
        self.whereis()
    }
}

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
                entry.predecessors.push(std::mem::replace(&mut entry.block, Arc::clone(block)));
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
            let removed = std::mem::replace(&mut entry.block, predecessor);
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
        Some(std::mem::replace(current, value))
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

static NAMES: Lazy<NameTable<Arc<str>>> = Lazy::new(NameTable::new);

/// The living holder of a name.
pub(crate) fn lookup(name: &str) -> Option<Arc<ProcessBlock>> {
    NAMES.get(name).map(|(block, ())| block)
}

/// Gives `block` the name; returns the earlier holders that are not buried yet.
pub(crate) fn claim(name: &Arc<str>, block: &Arc<ProcessBlock>) -> Result<Vec<Arc<ProcessBlock>>, NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    let mut state = block.lock();
    if let Some(own) = &state.name {
        return Err(if own == name {
            NameError::Taken(block.pid)
        } else {
            NameError::AlreadyNamed(Arc::clone(own))
        });
    }
    if !matches!(state.phase, Phase::Running) {
        return Err(NameError::NoProc);
    }
    state.name = Some(Arc::clone(name));
    drop(state);
    let claimed = NAMES.claim(name, block, ());
    if claimed.is_err() {
        block.lock().name = None;
    }
    let predecessors = claimed?;
    if block.is_cleaning_up() {
        // Its burial has released its name already and will not come back for it.
        NAMES.release(name, block.pid);
        return Err(NameError::NoProc);
    }
    Ok(predecessors)
}

/// Forgets the name of a process that is being buried, or that gives it up.
pub(crate) fn release(name: &str, holder: Pid) {
    NAMES.release(name, holder);
}

/// A key of a `Via` table that a process holds.
struct HeldVia(Arc<dyn Via>);

impl HeldResource for HeldVia {
    fn release(&self, holder: Pid) {
        self.0.unregister(holder);
    }
}

/// Gives `block` a key in another table; returns the earlier holders that are not buried yet.
pub(crate) fn claim_via(
    via: &Arc<dyn Via>,
    block: &Arc<ProcessBlock>,
) -> Result<Vec<Arc<ProcessBlock>>, NameError> {
    let predecessors = via.take_over(block.pid)?;
    let mut state = block.lock();
    if block.is_cleaning_up() {
        drop(state);
        via.unregister(block.pid);
        return Err(NameError::NoProc);
    }
    state.held_resources.push(Arc::new(HeldVia(Arc::clone(via))));
    drop(state);
    Ok(predecessors.into_iter().filter_map(table::get).collect())
}

/// Gives a process a name by which everybody can reach it, until it ends or the name is taken away.
///
/// # Errors
/// [`NameError::Taken`] if somebody living holds the name (perhaps the process itself),
/// [`NameError::AlreadyNamed`] if the process has another one, [`NameError::NoProc`] if it is dead or
/// dying, [`NameError::Empty`], [`NameError::Exiting`].
///
/// # Differences from Erlang
/// A holder whose end is decided but not yet complete does not count: the name can be taken over. Taken by
/// hand it is there at once; a process that is *started* under a name waits until the earlier holder is
/// buried.
///
/// ```
/// use rethread::process::{self, NameError};
///
/// let printer = process::spawn::<()>(|inbox| { inbox.recv(); })?;
/// process::register("doc.printer", &printer)?;
/// assert_eq!(process::whereis("doc.printer"), Some(printer.pid()));
/// assert_eq!(process::register("doc.printer", &printer), Err(NameError::Taken(printer.pid())));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn register(name: impl Into<Arc<str>>, pid: impl Into<Pid>) -> Result<(), NameError> {
    enter_runtime_call().map_err(|Exiting| NameError::Exiting)?;
    let block = table::get(pid.into()).ok_or(NameError::NoProc)?;
    claim(&name.into(), &block).map(drop)
}

/// Takes a name away from its holder, which lives on.
///
/// # Errors
/// [`NameError::Unknown`] if nobody holds it, [`NameError::Exiting`].
///
/// ```
/// use rethread::process::{self, NameError};
/// assert_eq!(process::unregister("doc.nobody"), Err(NameError::Unknown));
/// ```
pub fn unregister(name: &str) -> Result<(), NameError> {
    enter_release_call().map_err(|Exiting| NameError::Exiting)?;
    let holder = lookup(name).ok_or(NameError::Unknown)?;
    let mut state = holder.lock();
    let name = state.name.take_if(|own| **own == *name).ok_or(NameError::Unknown)?;
    drop(state);
    release(&name, holder.pid);
    Ok(())
}

/// Who holds a name now.
///
/// # Differences from Erlang
/// A process whose end is decided is no longer found, even before it is dead.
///
/// ```
/// assert_eq!(rethread::process::whereis("doc.no one"), None);
/// ```
pub fn whereis(name: &str) -> Option<Pid> {
    local::checkpoint();
    lookup(name).map(|block| block.pid)
}

/// Who holds a name, as soon as somebody does; `None` if nobody does within `limit`. The way to wait for a
/// restart.
///
/// ```
/// use std::time::Duration;
/// use rethread::process;
///
/// assert_eq!(process::whereis_timeout("doc.late", Duration::from_millis(1)), None);
/// let late = process::Builder::new().name("doc.late").spawn::<()>(|inbox| { inbox.recv(); })?;
/// assert_eq!(process::whereis_timeout("doc.late", Duration::from_secs(1)), Some(late.pid()));
/// # Ok::<(), process::SpawnError>(())
/// ```
pub fn whereis_timeout(name: &str, timeout: Duration) -> Option<Pid> {
    local::checkpoint();
    NAMES.get_timeout(name.into(), timeout).map(|(block, ())| block.pid)
}
