//! `Registry`: one process for each key. User code calls it.

use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use once_cell::sync::OnceCell;

use crate::gen_server::callbacks::GenServer;
use crate::gen_server::server_ref::ServerRef;
use crate::pid::Pid;
use crate::process::control::local;
use crate::process::error::NameError;
use crate::process::mailbox::address::Address;
use crate::process::names::table::NameTable;
use crate::registry::key::{RegistryKey, UniqueStore};
use crate::registry::listeners::RegistryEvent;
use crate::registry::store::{RegistryEntry, Store, enter_register_call, enter_registry_call};
use crate::unwind::ContainedDrop;

/// A table from keys of any type to processes, one for each key, with a value beside it. It lives as long as a
/// handle of it; most are a `static`:
///
/// ```
/// use rethread::prelude::*;
/// use rethread::process::{Inbox, NameError};
///
/// static ROOMS: Registry<String, u32> = Registry::new();
///
/// process::attach(|inbox: &mut Inbox<()>| {
///     let me = inbox.pid();
///     assert_eq!(ROOMS.register("lobby".to_owned(), 1), Ok(()));
///     assert_eq!(ROOMS.register("lobby".to_owned(), 2), Err(NameError::Taken(me)));
///     assert_eq!(ROOMS.lookup("lobby"), Some((me, 1)));
///     assert_eq!(ROOMS.update_value("lobby", |n| n + 10), Some((11, 1)));
/// })?;
/// assert_eq!(ROOMS.lookup("lobby"), None); // the process has ended, so its entries are gone
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A process registers only itself, under as many keys as it likes. When it ends its entries are gone before
/// anybody hears of its death, and from the moment its end is decided it is found no more: its keys can be taken
/// at once. A registry is a table, not a process: it cannot crash.
///
/// # Naming servers
/// A key is a name for a server that is found at run time, [`server`](Self::server) the handle: looked up at each
/// call, and so never stale. The server is registered before its `init`, which waits, as under any name, until an
/// earlier holder that is still dying is buried.
///
/// ```
/// # use rethread::prelude::*;
/// # pub struct Room { users: usize }
/// # pub enum Ask { Users(Caller<usize>) }
/// # impl GenServer for Room {
/// #     type Args = usize; type Call = Ask; type Cast = Never;
/// #     fn init(users: usize, _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Room { users }) }
/// #     fn handle_call(&mut self, Ask::Users(from): Ask, _: &mut Context<Self>) -> Next { from.reply(self.users) }
/// #     fn handle_cast(&mut self, cast: Never, _: &mut Context<Self>) -> Next { match cast {} }
/// # }
/// static ROOMS: Registry<String> = Registry::new();
///
/// fn room(name: &str) -> ServerRef<Room> {
///     ROOMS.server(name.to_owned())
/// }
///
/// let lobby = Room::child_spec(3).name(room("lobby")).start()?;
/// assert_eq!(room("lobby").call(Ask::Users)?, 3);
/// assert_eq!(ROOMS.whereis("lobby"), lobby.whereis());
/// let nobody = room("attic").call(Ask::Users).unwrap_err();
/// assert_eq!(nobody.to_string(), r#"call to Registry["attic"]: there is no such process"#);
/// # lobby.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Several under one key, and publishing
/// See [`DuplicateRegistry`](crate::DuplicateRegistry).
///
/// # What a value may do
/// It is cloned out of the registry, in whoever asks. Its clones and its destructor, update functions and
/// listeners never run under a lock of the registry, so they may use it. A panic in a destructor is noted in the
/// log and goes no further. Of a key `Hash` and `Eq` do run under a lock.
///
/// # Differences from Erlang
/// The kind of the keys is part of the type, and so is that only unique keys name servers. A registry cannot crash,
/// so there is nothing to link its users to, and none is unknown. Entries of the dead are gone at once, not after
/// a while. There are no partitions to choose: the table is sharded.
pub struct Registry<K, V = ()> {
    store: OnceCell<Arc<UniqueStore<K, V>>>,
}

impl<K, V> Registry<K, V> {
    /// An empty one, for a `static`.
    pub const fn new() -> Self {
        Self { store: OnceCell::new() }
    }
}

impl<K, V> Registry<K, V>
where
    K: Hash + Eq + Clone + fmt::Debug + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn store(&self) -> &Arc<UniqueStore<K, V>> {
        self.store.get_or_init(|| Store::new(NameTable::new()))
    }

    /// The living holder's entry.
    fn get<Q>(&self, key: &Q) -> Option<RegistryEntry<K, V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        local::checkpoint();
        self.store().table.get(key).map(|(_, entry)| entry)
    }

    /// Registers the calling process under a key, until it ends or gives the key up. A holder whose end is decided
    /// does not count: its key is taken over.
    ///
    /// # Errors
    /// [`NameError::Taken`] if somebody living holds the key, perhaps the process itself: nothing changes, also
    /// not its value. [`NameError::NotAProcess`] on a thread that is not a process, [`NameError::Exiting`] in one
    /// that ends.
    pub fn register(&self, key: K, value: V) -> Result<(), NameError> {
        let me = enter_register_call()?;
        self.store().register(&me.block, key, value).map(drop).map_err(|error| match error {
            NameError::NoProc => NameError::Exiting, // in the middle of it: its time to end is up
            other => other,
        })
    }

    /// Gives a key of the calling process up. If it does not hold it, nothing happens.
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// # use rethread::process::Inbox;
    /// static ROOMS: Registry<u32> = Registry::new();
    ///
    /// process::attach(|_: &mut Inbox<()>| {
    ///     ROOMS.register(7, ()).expect("it is free");
    ///     ROOMS.unregister(&7);
    ///     ROOMS.unregister(&8); // not ours
    ///     assert_eq!(ROOMS.count(), 0);
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unregister<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some(me) = enter_registry_call() {
            self.store().unregister(me.block.pid, key);
        }
    }

    /// Who holds a key, and the value beside it.
    pub fn lookup<Q>(&self, key: &Q) -> Option<(Pid, V)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.get(key).map(|entry| (entry.registration.pid(), entry.value.get().clone()))
    }

    /// Who holds a key.
    pub fn whereis<Q>(&self, key: &Q) -> Option<Pid>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.get(key).map(|entry| entry.registration.pid())
    }

    /// Who holds a key, as soon as somebody does; `None` if nobody does within `limit`. The way to wait for a
    /// restart.
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// # use std::time::Duration;
    /// static ROOMS: Registry<u32> = Registry::new();
    ///
    /// assert_eq!(ROOMS.whereis_timeout(7, Duration::from_millis(1)), None);
    /// let room = process::spawn::<()>(|inbox| {
    ///     ROOMS.register(7, ()).expect("it is free");
    ///     inbox.recv();
    /// })?;
    /// assert_eq!(ROOMS.whereis_timeout(7, Duration::from_secs(5)), Some(room.pid()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn whereis_timeout(&self, key: K, timeout: Duration) -> Option<Pid> {
        local::checkpoint();
        self.store().table.get_timeout(key, timeout).map(|(block, _)| block.pid)
    }

    /// A key as the name of a process, with the default for a value.
    pub fn key(&self, key: K) -> RegistryKey<K, V>
    where
        V: Default,
    {
        self.key_with(key, V::default())
    }

    /// A key as the name of a process, and the value that whoever is started under it gets.
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// # pub struct Room;
    /// # impl GenServer for Room {
    /// #     type Args = (); type Call = Never; type Cast = Never;
    /// #     fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Room) }
    /// #     fn handle_call(&mut self, call: Never, _: &mut Context<Self>) -> Next { match call {} }
    /// #     fn handle_cast(&mut self, cast: Never, _: &mut Context<Self>) -> Next { match cast {} }
    /// # }
    /// static ROOMS: Registry<u32, &str> = Registry::new();
    ///
    /// let room = Room::child_spec(()).name(ServerRef::via(ROOMS.key_with(7, "first floor"))).start()?;
    /// assert_eq!(ROOMS.lookup(&7), Some((room.whereis().unwrap(), "first floor")));
    /// # room.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn key_with(&self, key: K, value: V) -> RegistryKey<K, V> {
        RegistryKey::new(Arc::clone(self.store()), key, value)
    }

    /// Whatever server holds a key, looked up at each call: short for `ServerRef::via(registry.key(key))`.
    pub fn server<S>(&self, key: K) -> ServerRef<S>
    where
        V: Default,
    {
        ServerRef::via(self.key(key))
    }

    /// Puts another value beside a key that the calling process holds, and returns the new and the old one;
    /// `None`, and nothing is called, if it does not hold it. If `update` panics nothing changes.
    pub fn update_value<Q>(&self, key: &Q, update: impl FnOnce(V) -> V) -> Option<(V, V)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let me = enter_registry_call()?;
        let entry = self.get(key).filter(|entry| entry.registration.pid() == me.block.pid)?;
        let old = entry.value.get().clone();
        let new = update(old.clone());
        let value = Arc::new(ContainedDrop::new("registry value", new.clone()));
        self.store().table.replace(
            key,
            me.block.pid,
            RegistryEntry { registration: entry.registration, value },
        )?;
        Some((new, old))
    }

    /// The value of one process under a key, if it holds it.
    pub fn values<Q>(&self, key: &Q, pid: impl Into<Pid>) -> Vec<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let pid = pid.into();
        let entry = self.get(key).filter(|entry| entry.registration.pid() == pid);
        entry.into_iter().map(|entry| entry.value.get().clone()).collect()
    }

    /// The keys of a process, in the order it registered.
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// # use rethread::process::Inbox;
    /// static ROOMS: Registry<&str> = Registry::new();
    ///
    /// process::attach(|inbox: &mut Inbox<()>| {
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

    /// How many entries there are.
    pub fn count(&self) -> usize {
        local::checkpoint();
        self.store().table.live_values().len()
    }

    /// All entries, in the order they were made.
    pub fn entries(&self) -> Vec<(K, Pid, V)> {
        local::checkpoint();
        self.store().entries()
    }

    /// Calls `tell`, in the calling thread, with the entry under a key; not at all if nobody holds it. If it
    /// panics, that is a panic of the caller's; the entry is unharmed.
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// # use rethread::process::{Address, Inbox};
    /// static DOORS: Registry<&str, Address<u32>> = Registry::new();
    ///
    /// process::attach(|inbox: &mut Inbox<u32>| {
    ///     DOORS.register("front", inbox.address()).expect("it is free");
    ///     DOORS.dispatch("front", |entries| entries.iter().for_each(|(_, door)| door.send(1)));
    ///     DOORS.dispatch("back", |_| unreachable!("nobody is there"));
    ///     assert_eq!(inbox.recv().into_message(), Some(1));
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn dispatch<Q>(&self, key: &Q, callback: impl FnOnce(&[(Pid, V)]))
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some(entry) = self.lookup(key) {
            callback(&[entry]);
        }
    }

    /// Runs `body` while nobody else, process or other thread, runs anything under the lock of this key. The locks
    /// are independent of who is registered; those who wait get them in the order they asked.
    ///
    /// The lock is free again when `body` returns, panics, or is ended by an exit signal; if the process does not
    /// stop in time, when it is declared dead. Waiting is ended by an exit signal, as any wait.
    ///
    /// What is done under it should be short, and wait for nobody who may want the same lock. In a destructor of a
    /// process that ends, the wait lasts until the lock is free or the process is declared dead.
    ///
    /// # Panics
    /// If the caller holds the lock of this key already: it would wait for itself.
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// # pub struct Room;
    /// # impl GenServer for Room {
    /// #     type Args = (); type Call = Never; type Cast = Never;
    /// #     fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Room) }
    /// #     fn handle_call(&mut self, call: Never, _: &mut Context<Self>) -> Next { match call {} }
    /// #     fn handle_cast(&mut self, cast: Never, _: &mut Context<Self>) -> Next { match cast {} }
    /// # }
    /// static ROOMS: Registry<String> = Registry::new();
    ///
    /// /// The room of that name, started if there is none: once, however many ask at the same time.
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

    /// Has a process told of every registration, and of every end of one, also by death, until it ends itself.
    ///
    /// ```
    /// use rethread::prelude::*;
    /// use rethread::process::Inbox;
    ///
    /// static ROOMS: Registry<&str, u32> = Registry::new();
    ///
    /// process::attach(|inbox: &mut Inbox<RegistryEvent<&str, u32>>| {
    ///     ROOMS.listen(&inbox.address());
    ///     let room = process::spawn::<()>(|_| ROOMS.register("lobby", 3).expect("it is free"));
    ///     let pid = room.expect("a free thread").pid();
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

    /// As [`listen`](Self::listen), for a server, which gets the events as casts. One by name is looked up at
    /// each event, and stays a listener when it is started again; to ask again changes nothing (but a handle by
    /// a key that nobody holds, or somebody who is just being ended, is entered each time).
    ///
    /// ```
    /// # use rethread::prelude::*;
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
    ///     type Call = Never;
    ///     type Cast = Tell;
    ///
    ///     fn init(_: (), cx: &mut Context<Self>) -> Result<Self, InitError> {
    ///         ROOMS.listen_server(cx.server_ref());
    ///         Ok(Audit)
    ///     }
    ///     # fn handle_call(&mut self, call: Never, _: &mut Context<Self>) -> Next { match call {} }
    ///     fn handle_cast(&mut self, Tell::Rooms(event): Tell, _: &mut Context<Self>) -> Next {
    ///         println!("{event:?}");
    ///         Next::wait()
    ///     }
    /// }
    /// # Audit::start(())?.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
impl<K, V> Clone for Registry<K, V>
where
    K: Hash + Eq + Clone + fmt::Debug + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn clone(&self) -> Self {
        Self { store: OnceCell::with_value(Arc::clone(self.store())) }
    }
}

impl<K, V> Default for Registry<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

/// How many entries there are, and how many living processes have ever had one.
impl<K, V> fmt::Debug for Registry<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, processes) = self.store.get().map_or((0, 0), |store| store.sizes());
        f.debug_struct("Registry").field("count", &count).field("processes", &processes).finish()
    }
}
