//! `DuplicateRegistry`: any number of entries under each key. User code calls it.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use once_cell::sync::OnceCell;

use crate::gen_server::callbacks::GenServer;
use crate::gen_server::server_ref::ServerRef;
use crate::pid::Pid;
use crate::process::control::block::ProcessBlock;
use crate::process::control::local;
use crate::process::error::NameError;
use crate::process::mailbox::address::Address;
use crate::registry::listeners::RegistryEvent;
use crate::registry::store::{
    EntryTable, KeyRegistration, RegistryEntry, Store, enter_register_call, enter_registry_call,
};
use crate::sharded_map::ShardedMap;

/// A table from keys to processes in which any number of entries may stand under one key, also several of one
/// process: for groups, and for publishing to subscribers. Everything that [`Registry`](crate::Registry) says
/// of registering, listeners, locks and the end of a process holds here too.
///
/// # Publishing and subscribing
/// A value beside the key can be the subscriber's typed [`Address`]: then only those can subscribe who take
/// the message, and to publish is to send it to each.
///
/// ```
/// use rethread::prelude::*;
/// use rethread::process::{Address, Inbox};
///
/// #[derive(Clone, Debug, PartialEq)]
/// pub enum News { Goal(u32) }
///
/// static TOPICS: DuplicateRegistry<&str, Address<News>> = DuplicateRegistry::new();
///
/// fn publish(topic: &str, news: News) {
///     TOPICS.dispatch(topic, |subscribers| {
///         for (_, to) in subscribers {
///             to.send(news.clone());
///         }
///     });
/// }
///
/// process::attach(|inbox: &mut Inbox<News>| {
///     TOPICS.register("football", inbox.address()).expect("a process may subscribe");
///     publish("football", News::Goal(1));
///     publish("chess", News::Goal(2)); // nobody listens: nothing happens
///     assert_eq!(inbox.recv().into_message(), Some(News::Goal(1)));
/// })?;
/// assert_eq!(TOPICS.count(), 0); // the subscriber has ended, so the entry is gone
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A server has no `Address`: it subscribes with a handle of itself, `cx.server_ref()`, and gets a cast. Where servers of
/// several types subscribe to one topic the value is a function that tells each in its own words.
///
/// ```
/// use std::sync::Arc;
/// use rethread::prelude::*;
///
/// type Subscriber = Arc<dyn Fn(u32) + Send + Sync>;
/// static GOALS: DuplicateRegistry<&str, Subscriber> = DuplicateRegistry::new();
///
/// struct Board { goals: u32 }
/// enum Ask  { Goals(Caller<u32>) }
/// enum Tell { Goal(u32) }
///
/// impl GenServer for Board {
///     type Args = ();
///     type Call = Ask;
///     type Cast = Tell;
///
///     fn init((): (), cx: &mut Context<Self>) -> Result<Self, InitError> {
///         let this = cx.server_ref();
///         GOALS.register("football", Arc::new(move |goals| this.cast(Tell::Goal(goals))))?;
///         Ok(Board { goals: 0 })
///     }
///     fn handle_call(&mut self, Ask::Goals(from): Ask, _: &mut Context<Self>) -> Next {
///         from.reply(self.goals)
///     }
///     fn handle_cast(&mut self, Tell::Goal(goals): Tell, _: &mut Context<Self>) -> Next {
///         self.goals += goals;
///         Next::wait()
///     }
/// }
///
/// let board = Board::start(())?;
/// GOALS.dispatch("football", |subscribers| subscribers.iter().for_each(|(_, tell)| tell(2)));
/// assert_eq!(board.call(Ask::Goals)?, 2);
/// board.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Not for naming
/// A key that many may have names nobody: there is no `key` here, no `whereis` and no `update_value` (E0599).
///
/// ```compile_fail,E0599
/// # use rethread::prelude::*;
/// static GROUPS: DuplicateRegistry<&str> = DuplicateRegistry::new();
/// let server: ServerRef<Supervisor> = ServerRef::via(GROUPS.key("readers"));
/// ```
///
/// ```compile_fail,E0599
/// # use rethread::prelude::*;
/// static GROUPS: DuplicateRegistry<&str, u32> = DuplicateRegistry::new();
/// GROUPS.update_value("readers", |count| count + 1);
/// ```
///
/// # Differences from Erlang
/// In Elixir both kinds are one module, and what one of them cannot do fails at run time.
pub struct DuplicateRegistry<K, V = ()> {
    store: OnceCell<Arc<DuplicateStore<K, V>>>,
}

type DuplicateStore<K, V> = Store<K, V, DuplicateTable<K, V>>;

/// The entries under each key, by number: in the order they were made.
struct DuplicateTable<K, V>(ShardedMap<K, BTreeMap<u64, RegistryEntry<K, V>>>);

impl<K, V> EntryTable<K, V> for DuplicateTable<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn insert(&self, entry: RegistryEntry<K, V>) -> Result<Vec<Arc<ProcessBlock>>, NameError> {
        let registration = Arc::clone(&entry.registration);
        let key = registration.key.clone(); // not under the lock
        let mut shard = self.0.shard(&registration.key).write();
        match shard.get_mut(&registration.key) {
            Some(entries) => drop(entries.insert(registration.number, entry)),
            None => drop(shard.insert(key, BTreeMap::from([(registration.number, entry)]))),
        }
        Ok(Vec::new())
    }

    fn remove(&self, registrations: &[Arc<KeyRegistration<K>>]) {
        let Some(first) = registrations.first() else { return };
        let mut shard = self.0.shard(&first.key).write();
        let Some(entries) = shard.get_mut(&first.key) else { return };
        let removed: Vec<_> =
            registrations.iter().filter_map(|registration| entries.remove(&registration.number)).collect();
        let emptied = if entries.is_empty() { shard.remove_entry(&first.key) } else { None };
        drop(shard);
        drop((removed, emptied));
    }

    fn live_entries(&self) -> Vec<RegistryEntry<K, V>> {
        let mut all = Vec::new();
        self.0.for_each(|_, entries| all.extend(live_entries(entries)));
        all
    }
}

fn live_entries<'a, K, V>(
    entries: &'a BTreeMap<u64, RegistryEntry<K, V>>,
) -> impl Iterator<Item = RegistryEntry<K, V>> + use<'a, K, V> {
    entries.values().filter(|entry| !entry.registration.block.is_exiting()).cloned()
}

impl<K, V> DuplicateRegistry<K, V> {
    /// An empty one, for a `static`.
    pub const fn new() -> Self {
        Self { store: OnceCell::new() }
    }
}

impl<K, V> DuplicateRegistry<K, V>
where
    K: Hash + Eq + Clone + fmt::Debug + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn store(&self) -> &Arc<DuplicateStore<K, V>> {
        self.store.get_or_init(|| Store::new(DuplicateTable(ShardedMap::new())))
    }

    /// The entries of living processes under a key.
    fn entries_at<Q>(&self, key: &Q) -> Vec<RegistryEntry<K, V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        local::checkpoint();
        let shard = self.store().table.0.shard(key).read();
        shard.get(key).into_iter().flat_map(live_entries).collect()
    }

    /// Registers the calling process under a key, once more if it is there already, until it ends or takes it
    /// back.
    ///
    /// # Errors
    /// [`NameError::NotAProcess`] on a thread that is not a process, [`NameError::Exiting`] in one that ends.
    ///
    /// ```
    /// use rethread::prelude::*;
    /// use rethread::process::Inbox;
    ///
    /// static GROUPS: DuplicateRegistry<&str, u32> = DuplicateRegistry::new();
    ///
    /// process::attach(|inbox: &mut Inbox<()>| {
    ///     GROUPS.register("readers", 1).expect("a process may register");
    ///     GROUPS.register("readers", 2).expect("and again");
    ///     assert_eq!(GROUPS.lookup("readers"), [(inbox.pid(), 1), (inbox.pid(), 2)]);
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn register(&self, key: K, value: V) -> Result<(), NameError> {
        let me = enter_register_call()?;
        // Refused in the middle of it: its time to end is up.
        self.store().register(&me.block, key, value).map(drop).map_err(|_| NameError::Exiting)
    }

    /// Takes back all entries of the calling process under a key. If there are none, nothing happens.
    pub fn unregister<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some(me) = enter_registry_call() {
            self.store().unregister(me.block.pid, key);
        }
    }

    /// Takes back those entries of the calling process under a key whose value matches.
    ///
    /// ```
    /// use rethread::prelude::*;
    /// use rethread::process::Inbox;
    ///
    /// static GROUPS: DuplicateRegistry<&str, u32> = DuplicateRegistry::new();
    ///
    /// process::attach(|inbox: &mut Inbox<()>| {
    ///     for n in 1..=3 {
    ///         GROUPS.register("readers", n).expect("a process may register");
    ///     }
    ///     GROUPS.unregister_match("readers", |n| n % 2 == 1);
    ///     assert_eq!(GROUPS.values("readers", inbox.pid()), [2]);
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unregister_match<Q>(&self, key: &Q, mut matches: impl FnMut(&V) -> bool)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let Some(me) = enter_registry_call() else { return };
        let store = self.store();
        let mut own_entries = {
            let shard = store.table.0.shard(key).read();
            let entries = shard.get(key).into_iter().flat_map(BTreeMap::values);
            entries.filter(|entry| entry.registration.pid() == me.block.pid).cloned().collect::<Vec<_>>()
        };
        own_entries.retain(|entry| matches(entry.value.get()));
        for entry in own_entries {
            store.unregister_one(&entry.registration);
        }
    }

    /// Everybody who is registered under a key, with their values, in the order they registered.
    pub fn lookup<Q>(&self, key: &Q) -> Vec<(Pid, V)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.entries_at(key)
            .iter()
            .map(|entry| (entry.registration.pid(), entry.value.get().clone()))
            .collect()
    }

    /// The values of one process under a key, in the order it registered.
    pub fn values<Q>(&self, key: &Q, pid: impl Into<Pid>) -> Vec<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let (pid, entries) = (pid.into(), self.entries_at(key));
        entries
            .iter()
            .filter(|entry| entry.registration.pid() == pid)
            .map(|entry| entry.value.get().clone())
            .collect()
    }

    /// The keys of a process, in the order it registered; one for each entry.
    pub fn keys(&self, pid: impl Into<Pid>) -> Vec<K> {
        local::checkpoint();
        self.store().keys(pid.into())
    }

    /// How many entries there are.
    pub fn count(&self) -> usize {
        local::checkpoint();
        self.store().table.live_entries().len()
    }

    /// All entries, in the order they were made.
    pub fn entries(&self) -> Vec<(K, Pid, V)> {
        local::checkpoint();
        self.store().entries()
    }

    /// Calls `tell`, in the calling thread, with all entries under a key; not at all if there are none. If it
    /// panics, that is a panic of the caller's; the entries are unharmed.
    pub fn dispatch<Q>(&self, key: &Q, callback: impl FnOnce(&[(Pid, V)]))
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let entries = self.lookup(key);
        if !entries.is_empty() {
            callback(&entries);
        }
    }

    /// As [`Registry::lock`](crate::Registry::lock).
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn lock<R>(&self, key: K, body: impl FnOnce() -> R) -> R {
        self.store().lock(key, body)
    }

    /// As [`Registry::listen`](crate::Registry::listen).
    pub fn listen<M>(&self, listener: &Address<M>)
    where
        M: From<RegistryEvent<K, V>> + Send + 'static,
    {
        local::checkpoint();
        self.store().listeners.add(listener);
    }

    /// As [`Registry::listen_server`](crate::Registry::listen_server).
    pub fn listen_server<S>(&self, listener: ServerRef<S>)
    where
        S: GenServer,
        S::Cast: From<RegistryEvent<K, V>>,
    {
        local::checkpoint();
        self.store().listeners.add_server(listener);
    }
}

/// Another handle of the same registry.
impl<K, V> Clone for DuplicateRegistry<K, V>
where
    K: Hash + Eq + Clone + fmt::Debug + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn clone(&self) -> Self {
        Self { store: OnceCell::with_value(Arc::clone(self.store())) }
    }
}

impl<K, V> Default for DuplicateRegistry<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

/// How many entries there are, and how many living processes have ever had one.
impl<K, V> fmt::Debug for DuplicateRegistry<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, processes) = self.store.get().map_or((0, 0), |store| store.sizes());
        f.debug_struct("DuplicateRegistry").field("count", &count).field("processes", &processes).finish()
    }
}
