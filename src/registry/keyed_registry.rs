//! `KeyedRegistry`: the type of all registries, and the methods that do not depend on the kind of its keys.

use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use once_cell::sync::OnceCell;

use crate::gen_server::callbacks::GenServer;
use crate::gen_server::server_ref::ServerRef;
use crate::pid::Pid;
use crate::process::control::local;
use crate::process::error::NameError;
use crate::process::mailbox::address::Address;
use crate::registry::key_kind::KeyKind;
use crate::registry::listeners::RegistryEvent;
use crate::registry::store::{RegistryEntry, Store, enter_change_call, enter_register_call};

/// A table from keys to processes, behind two names that fix the kind of its keys:
/// [`Registry`](crate::registry::Registry) with [`Unique`](crate::registry::Unique) keys, and
/// [`DuplicateRegistry`](crate::registry::DuplicateRegistry) with [`Duplicate`](crate::registry::Duplicate) keys.
///
/// The methods for both kinds of keys are described here once. Code that does not depend on the kind is generic over
/// it:
///
/// ```
/// use rethread::prelude::*;
/// use rethread::registry::{DuplicateRegistry, Registry};
/// use rethread::registry::{KeyKind, KeyedRegistry};
///
/// fn is_empty<Kind: KeyKind>(registry: &KeyedRegistry<String, (), Kind>) -> bool {
///     registry.count() == 0
/// }
/// assert!(is_empty(&Registry::new()) && is_empty(&DuplicateRegistry::new()));
/// ```
pub struct KeyedRegistry<K, V, Kind> {
    store: OnceCell<Arc<Store<K, V>>>,
    kind: PhantomData<fn() -> Kind>,
}

impl<K, V, Kind> KeyedRegistry<K, V, Kind> {
    /// Creates an empty registry. It is a `const fn`, so the registry can be a `static`.
    ///
    /// ```
    /// use rethread::prelude::*;
    /// use rethread::registry::{DuplicateRegistry, Registry};
    ///
    /// static ROOMS: Registry<&str> = Registry::new();
    /// static GROUPS: DuplicateRegistry<&str, u32> = DuplicateRegistry::new();
    /// assert_eq!(ROOMS.count() + GROUPS.count(), 0);
    /// ```
    pub const fn new() -> Self {
        Self { store: OnceCell::new(), kind: PhantomData }
    }
}

/// Both kinds of keys.
impl<K, V, Kind> KeyedRegistry<K, V, Kind>
where
    K: Hash + Eq + Clone + fmt::Debug + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    Kind: KeyKind,
{
    pub(super) fn store(&self) -> &Arc<Store<K, V>> {
        // Created by the first use, because `new` is a `const fn`.
        self.store.get_or_init(|| Store::new(Kind::new_table()))
    }

    /// Returns the entries of running processes under a key.
    pub(super) fn entries_at<Q>(&self, key: &Q) -> Vec<RegistryEntry<K, V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        local::checkpoint();
        self.store().entries_at(key)
    }

    /// Registers the calling process under a key, until it exits or unregisters the key.
    ///
    /// With unique keys, a holder that is exiting does not count: its key is taken over. With duplicate keys, each call
    /// adds an entry, also if the process already has one under this key.
    ///
    /// # Errors
    /// - [`NameError::Taken`] if a running process holds the unique key, perhaps the caller itself: nothing changes, and
    ///   a value that is there stays. Never with duplicate keys.
    /// - [`NameError::NotAProcess`] if the calling thread is not a process.
    /// - [`NameError::Exiting`] if the calling process is exiting.
    ///
    /// ```
    /// use rethread::prelude::*;
    /// use rethread::process::{Inbox, NameError};
    /// use rethread::registry::{DuplicateRegistry, Registry};
    ///
    /// static ROOMS: Registry<&str, u32> = Registry::new();
    /// static GROUPS: DuplicateRegistry<&str, u32> = DuplicateRegistry::new();
    ///
    /// process::attach_receiver(|inbox: &mut Inbox<()>| {
    ///     let me = inbox.pid();
    ///     assert_eq!(ROOMS.register("lobby", 1), Ok(()));
    ///     assert_eq!(ROOMS.register("lobby", 2), Err(NameError::Taken(me)));
    ///     assert_eq!(GROUPS.register("readers", 1), Ok(()));
    ///     assert_eq!(GROUPS.register("readers", 2), Ok(()));
    ///     assert_eq!(GROUPS.lookup("readers"), [(me, 1), (me, 2)]);
    /// })?;
    /// assert_eq!(ROOMS.register("lobby", 3), Err(NameError::NotAProcess));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn register(&self, key: K, value: V) -> Result<(), NameError> {
        let me = enter_register_call()?;
        self.store().register(&me.block, key, value).map(drop).map_err(|error| match error {
            // The exit of the caller completed during this call: its exit deadline has passed.
            NameError::NoProc => NameError::Exiting,
            other => other,
        })
    }

    /// Removes all entries of the calling process under a key. If there are none, or the caller is not a process,
    /// nothing happens.
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// # use rethread::registry::Registry;
    /// static ROOMS: Registry<u32> = Registry::new();
    ///
    /// process::attach(|| {
    ///     ROOMS.register(7, ()).expect("it is free");
    ///     ROOMS.unregister(&7);
    ///     ROOMS.unregister(&8); // not held by this process
    ///     assert_eq!(ROOMS.count(), 0);
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unregister<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some(me) = enter_change_call() {
            self.store().unregister(me.block.pid, key);
        }
    }

    /// Returns the values of one process under a key, in the order in which it registered; at most one with unique
    /// keys.
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// # use rethread::process::Inbox;
    /// # use rethread::registry::DuplicateRegistry;
    /// static GROUPS: DuplicateRegistry<&str, u32> = DuplicateRegistry::new();
    ///
    /// process::attach_receiver(|inbox: &mut Inbox<()>| {
    ///     GROUPS.register("readers", 1).expect("a process may register");
    ///     GROUPS.register("readers", 2).expect("a process may register");
    ///     assert_eq!(GROUPS.values("readers", inbox.pid()), [1, 2]);
    ///     assert_eq!(GROUPS.values("writers", inbox.pid()), []);
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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

    /// Returns the keys of a process, in the order in which it registered; with duplicate keys one for each entry.
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// # use rethread::process::Inbox;
    /// # use rethread::registry::Registry;
    /// static ROOMS: Registry<&str> = Registry::new();
    ///
    /// process::attach_receiver(|inbox: &mut Inbox<()>| {
    ///     ROOMS.register("lobby", ()).expect("it is free");
    ///     ROOMS.register("attic", ()).expect("it is free");
    ///     assert_eq!(ROOMS.keys(inbox.pid()), ["lobby", "attic"]);
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keys(&self, pid: impl Into<Pid>) -> Vec<K> {
        local::checkpoint();
        self.store().keys(pid.into())
    }

    /// Returns the number of entries.
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// # use rethread::registry::Registry;
    /// static ROOMS: Registry<&str> = Registry::new();
    ///
    /// process::attach(|| {
    ///     ROOMS.register("lobby", ()).expect("it is free");
    ///     assert_eq!(ROOMS.count(), 1);
    /// })?;
    /// assert_eq!(ROOMS.count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn count(&self) -> usize {
        local::checkpoint();
        self.store().count()
    }

    /// Returns all entries, in the order in which they were made.
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// # use rethread::process::Inbox;
    /// # use rethread::registry::Registry;
    /// static ROOMS: Registry<&str, u32> = Registry::new();
    ///
    /// process::attach_receiver(|inbox: &mut Inbox<()>| {
    ///     ROOMS.register("lobby", 1).expect("it is free");
    ///     ROOMS.register("attic", 2).expect("it is free");
    ///     assert_eq!(ROOMS.entries(), [("lobby", inbox.pid(), 1), ("attic", inbox.pid(), 2)]);
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn entries(&self) -> Vec<(K, Pid, V)> {
        local::checkpoint();
        self.store().entries()
    }

    /// Calls `callback`, on the calling thread, with all entries under a key; if there are none it is not called. A
    /// panic in `callback` propagates to the caller and does not change the entries.
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// # use rethread::process::{Address, Inbox};
    /// # use rethread::registry::Registry;
    /// static DOORS: Registry<&str, Address<u32>> = Registry::new();
    ///
    /// process::attach_receiver(|inbox: &mut Inbox<u32>| {
    ///     DOORS.register("front", inbox.address()).expect("it is free");
    ///     DOORS.dispatch("front", |entries| entries.iter().for_each(|(_, door)| door.send(1)));
    ///     DOORS.dispatch("back", |_| unreachable!("there is no entry"));
    ///     assert_eq!(inbox.recv().into_message(), Some(1));
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn dispatch<Q>(&self, key: &Q, callback: impl FnOnce(&[(Pid, V)]))
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        // `callback` gets copies: it is user code and may register and unregister.
        let entries = pids_and_values(&self.entries_at(key));
        if !entries.is_empty() {
            callback(&entries);
        }
    }

    /// Runs `body` under the lock of a key: no other process or thread runs anything under the same lock meanwhile.
    /// The locks are independent of the entries, and are granted in the order in which they are requested.
    ///
    /// The lock is released when `body` returns, panics, or is unwound by an exit signal; if the process does not exit
    /// in time, when it becomes a zombie. Waiting for the lock is interrupted by an exit signal, like any wait.
    ///
    /// `body` should be short, and must not wait for a process that may need the same lock. In a destructor of a
    /// process that is exiting, the wait lasts until the lock is free or the process becomes a zombie.
    ///
    /// # Panics
    /// If the caller holds the lock of this key already: it would wait for itself.
    ///
    /// ```
    /// # use rethread::StartError;
    /// # use rethread::prelude::*;
    /// # use rethread::registry::Registry;
    /// # pub struct Room;
    /// # impl GenServer for Room {
    /// #     type Args = (); type Call = Infallible; type Cast = Infallible;
    /// #     fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Room) }
    /// #     fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next { match call {} }
    /// # }
    /// static ROOMS: Registry<String> = Registry::new();
    ///
    /// /// Returns the room of that name, and starts it if there is none: once, even if called concurrently.
    /// fn room(name: &str) -> Result<ServerRef<Room>, StartError> {
    ///     let room = ROOMS.server(name.to_owned());
    ///     ROOMS.lock(name.to_owned(), || {
    ///         if room.whereis().is_none() {
    ///             Room::child_spec(()).name(room.clone()).start()?;
    ///         }
    ///         Ok(room)
    ///     })
    /// }
    ///
    /// assert_eq!(room("lobby")?.whereis(), room("lobby")?.whereis());
    /// # room("lobby")?.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn lock<R>(&self, key: K, body: impl FnOnce() -> R) -> R {
        self.store().lock(key, body)
    }

    /// Subscribes a process to the events of the registry, until it exits: it receives a message for each entry that
    /// is added or removed, also when the reason is an exit.
    ///
    /// ```
    /// use rethread::prelude::*;
    /// use rethread::process::Inbox;
    /// use rethread::registry::{Registry, RegistryEvent};
    ///
    /// static ROOMS: Registry<&str, u32> = Registry::new();
    ///
    /// process::attach_receiver(|inbox: &mut Inbox<RegistryEvent<&str, u32>>| {
    ///     ROOMS.listen(&inbox.address());
    ///     let room = process::spawn(|| ROOMS.register("lobby", 3).expect("it is free"));
    ///     let pid = room.expect("a free thread");
    ///     let (key, value) = ("lobby", 3);
    ///     assert_eq!(inbox.recv().into_message(), Some(RegistryEvent::Register { key, pid, value }));
    ///     assert_eq!(inbox.recv().into_message(), Some(RegistryEvent::Unregister { key, pid }));
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn listen<M>(&self, listener: &Address<M>)
    where
        M: From<RegistryEvent<K, V>> + Send + 'static,
    {
        local::checkpoint();
        self.store().listeners.add(listener);
    }

    /// Subscribes a server to the events of the registry: like [`listen`](Self::listen), but the server receives the
    /// events as casts.
    ///
    /// A server given by a name is looked up for each event, and stays subscribed when it is restarted. Subscribing
    /// again changes nothing, except that a handle by a key is added again at each call while the key has no holder or
    /// its holder is exiting.
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// # use rethread::registry::{Registry, RegistryEvent};
    /// pub struct Audit;
    /// pub enum Tell { Rooms(RegistryEvent<String>) }
    ///
    /// impl From<RegistryEvent<String>> for Tell {
    ///     fn from(event: RegistryEvent<String>) -> Self {
    ///         Tell::Rooms(event)
    ///     }
    /// }
    /// static ROOMS: Registry<String> = Registry::new();
    ///
    /// impl GenServer for Audit {
    ///     type Args = ();
    ///     type Call = Infallible;
    ///     type Cast = Tell;
    ///
    ///     fn init(_: (), cx: &mut Context<Self>) -> Result<Self, InitError> {
    ///         ROOMS.listen_server(&cx.server_ref());
    ///         Ok(Audit)
    ///     }
    ///     # fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next { match call {} }
    ///     fn handle_cast(&mut self, Tell::Rooms(event): Tell, _: &mut Context<Self>) -> Next {
    ///         println!("{event:?}");
    ///         Next::wait()
    ///     }
    /// }
    /// # Audit::start(())?.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn listen_server<S>(&self, listener: &ServerRef<S>)
    where
        S: GenServer,
        S::Cast: From<RegistryEvent<K, V>>,
    {
        local::checkpoint();
        self.store().listeners.add_server(listener);
    }
}

pub(super) fn pids_and_values<K, V: Clone>(entries: &[RegistryEntry<K, V>]) -> Vec<(Pid, V)> {
    entries.iter().map(|entry| (entry.registration.pid(), entry.value.get().clone())).collect()
}

/// Creates another handle of the same registry.
impl<K, V, Kind> Clone for KeyedRegistry<K, V, Kind>
where
    K: Hash + Eq + Clone + fmt::Debug + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    Kind: KeyKind,
{
    fn clone(&self) -> Self {
        // A registry that was not used yet gets its store here: otherwise each handle would create its own.
        Self { store: OnceCell::with_value(Arc::clone(self.store())), kind: PhantomData }
    }
}

impl<K, V, Kind> Default for KeyedRegistry<K, V, Kind> {
    fn default() -> Self {
        Self::new()
    }
}

/// Shows the number of entries, and the number of processes with unfinished cleanup that have used the registry.
impl<K, V, Kind> fmt::Debug for KeyedRegistry<K, V, Kind>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    Kind: KeyKind,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, processes) =
            self.store.get().map_or((0, 0), |store| (store.count(), store.process_count()));
        f.debug_struct(Kind::TYPE_NAME).field("count", &count).field("processes", &processes).finish()
    }
}
