//! `Registry`: the type, and the methods that require unique keys.

use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use crate::gen_server::server_ref::ServerRef;
use crate::pid::Pid;
use crate::process::control::local;
use crate::registry::key::RegistryKey;
use crate::registry::key_kind::Unique;
use crate::registry::keyed_registry::KeyedRegistry;
use crate::registry::store::{RegistryEntry, enter_change_call};
use crate::unwind::ContainedDrop;

/// A table from keys of any type to processes, with a value for each entry. It lives as long as there is a handle to
/// it; most registries are a `static`:
///
/// ```
/// use rethread::prelude::*;
/// use rethread::process::{Inbox, NameError};
/// use rethread::registry::Registry;
///
/// static ROOMS: Registry<String, u32> = Registry::new();
///
/// process::attach_receiver(|inbox: &mut Inbox<()>| {
///     let me = inbox.pid();
///     assert_eq!(ROOMS.register("lobby".to_owned(), 1), Ok(()));
///     assert_eq!(ROOMS.register("lobby".to_owned(), 2), Err(NameError::Taken(me)));
///     assert_eq!(ROOMS.lookup("lobby"), Some((me, 1)));
///     assert_eq!(ROOMS.update_value("lobby", |n| n + 10), Some((11, 1)));
/// })?;
/// assert_eq!(ROOMS.lookup("lobby"), None); // the process has exited, so its entries are gone
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A process can register only itself, under any number of keys. When it exits, its entries are removed before its
/// links and monitors are notified. As soon as it is exiting it is no longer found, and its keys can be taken over.
/// A registry is a table, not a process: it cannot crash.
///
/// # Unique and duplicate keys
/// With [`Unique`] keys a key has at most one process, as here. With [`Duplicate`](crate::registry::Duplicate) keys
/// it can have any number of entries: see [`DuplicateRegistry`](crate::registry::DuplicateRegistry), which is also
/// the way to publish to subscribers.
///
/// # Naming servers
/// A unique key can serve as a name that is computed at run time. [`server`](KeyedRegistry::server) returns a handle that
/// looks the key up at each call and so never becomes stale. The server is registered before its `init` runs. As with
/// any name, `init` waits until an earlier holder that is still exiting has completed its cleanup.
///
/// ```
/// # use rethread::prelude::*;
/// # use rethread::registry::Registry;
/// # pub struct Room { users: usize }
/// # pub enum Ask { Users(Caller<usize>) }
/// # impl GenServer for Room {
/// #     type Args = usize; type Call = Ask; type Cast = Infallible;
/// #     fn init(users: usize, _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Room { users }) }
/// #     fn handle_call(&mut self, Ask::Users(from): Ask, _: &mut Context<Self>) -> Next { from.reply(self.users) }
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
/// let error = room("attic").call(Ask::Users).unwrap_err();
/// assert_eq!(error.to_string(), r#"call to Registry["attic"]: there is no such process"#);
/// # lobby.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # User code in values and keys
/// A value is cloned when it is returned, on the thread of the caller. Clones and destructors of values, update
/// functions and listeners never run under a lock of the registry, so they may use it. A panic in a destructor is
/// logged and does not propagate. `Hash` and `Eq` of a key do run under a lock.
///
/// # Differences from Erlang
/// The kind of the keys is part of the type, and only unique keys can name servers. A registry cannot crash, so
/// nothing is linked to it, and there is no error for an unknown registry. The entries of a process are gone when its
/// `Exit` and `Down` arrive, not some time later. There is no number of partitions to choose: the table is sharded.
pub type Registry<K, V = ()> = KeyedRegistry<K, V, Unique>;

/// Unique keys: a key has at most one process.
impl<K, V> KeyedRegistry<K, V, Unique>
where
    K: Hash + Eq + Clone + fmt::Debug + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Returns the entry of the running holder.
    fn get<Q>(&self, key: &Q) -> Option<RegistryEntry<K, V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        local::checkpoint();
        self.store().names().get(key).map(|(_, entry)| entry)
    }

    /// Returns the process that holds a key, and the value of its entry.
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// # use rethread::process::Inbox;
    /// # use rethread::registry::Registry;
    /// static ROOMS: Registry<&str, u32> = Registry::new();
    ///
    /// process::attach_receiver(|inbox: &mut Inbox<()>| {
    ///     ROOMS.register("lobby", 3).expect("it is free");
    ///     assert_eq!(ROOMS.lookup("lobby"), Some((inbox.pid(), 3)));
    ///     assert_eq!(ROOMS.lookup("attic"), None);
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lookup<Q>(&self, key: &Q) -> Option<(Pid, V)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.get(key).map(|entry| (entry.registration.pid(), entry.value.get().clone()))
    }

    /// Returns the process that holds a key.
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// # use rethread::process::Inbox;
    /// # use rethread::registry::Registry;
    /// static ROOMS: Registry<&str> = Registry::new();
    ///
    /// process::attach_receiver(|inbox: &mut Inbox<()>| {
    ///     ROOMS.register("lobby", ()).expect("it is free");
    ///     assert_eq!(ROOMS.whereis("lobby"), Some(inbox.pid()));
    ///     assert_eq!(ROOMS.whereis("attic"), None);
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn whereis<Q>(&self, key: &Q) -> Option<Pid>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.get(key).map(|entry| entry.registration.pid())
    }

    /// Waits until a process holds a key and returns it; `None` if none does within `timeout`. This is the way to wait
    /// for a restart. The key is passed by value, because the registry keeps it until the wait ends, so that a
    /// registration under it wakes this thread.
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// # use rethread::registry::Registry;
    /// # use std::time::Duration;
    /// static ROOMS: Registry<u32> = Registry::new();
    ///
    /// assert_eq!(ROOMS.whereis_timeout(7, Duration::from_millis(1)), None);
    /// let room = process::spawn(|| {
    ///     ROOMS.register(7, ()).expect("it is free");
    ///     process::sleep(Duration::MAX);
    /// })?;
    /// assert_eq!(ROOMS.whereis_timeout(7, Duration::from_secs(5)), Some(room));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn whereis_timeout(&self, key: K, timeout: Duration) -> Option<Pid> {
        local::checkpoint();
        self.store().names().get_timeout(key, timeout).map(|(block, _)| block.pid)
    }

    /// Makes a key usable as the name of a process. A process that is started under it gets the default value.
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// # use rethread::registry::Registry;
    /// # pub struct Room;
    /// # impl GenServer for Room {
    /// #     type Args = (); type Call = Infallible; type Cast = Infallible;
    /// #     fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Room) }
    /// #     fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next { match call {} }
    /// # }
    /// static ROOMS: Registry<u32, usize> = Registry::new();
    ///
    /// let room = Room::child_spec(()).name(ServerRef::via(ROOMS.key(7))).start()?;
    /// assert_eq!(ROOMS.lookup(&7), Some((room.whereis().unwrap(), 0)));
    /// # room.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn key(&self, key: K) -> RegistryKey<K, V>
    where
        V: Default,
    {
        self.key_with(key, V::default())
    }

    /// Makes a key usable as the name of a process. A process that is started under it gets `value`.
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// # use rethread::registry::Registry;
    /// # pub struct Room;
    /// # impl GenServer for Room {
    /// #     type Args = (); type Call = Infallible; type Cast = Infallible;
    /// #     fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Room) }
    /// #     fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next { match call {} }
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

    /// Returns a handle to the server that holds a key, looked up at each call: short for
    /// `ServerRef::via(registry.key(key))`. See [Naming servers](Registry#naming-servers) for an example.
    pub fn server<S>(&self, key: K) -> ServerRef<S>
    where
        V: Default,
    {
        ServerRef::via(self.key(key))
    }

    /// Replaces the value of a key that the calling process holds, and returns the new and the old value. If the
    /// caller does not hold the key it returns `None` and does not call `update`. If `update` panics, nothing changes.
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// # use rethread::registry::Registry;
    /// static ROOMS: Registry<&str, u32> = Registry::new();
    ///
    /// process::attach(|| {
    ///     ROOMS.register("lobby", 3).expect("it is free");
    ///     assert_eq!(ROOMS.update_value("lobby", |users| users + 1), Some((4, 3)));
    ///     assert_eq!(ROOMS.update_value("attic", |_| unreachable!("not held")), None);
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn update_value<Q>(&self, key: &Q, update: impl FnOnce(V) -> V) -> Option<(V, V)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let me = enter_change_call()?;
        let entry = self.get(key).filter(|entry| entry.registration.pid() == me.block.pid)?;
        // Compute the new value without a lock: `clone` and `update` are user code.
        let old = entry.value.get().clone();
        let new = update(old.clone());
        let value = Arc::new(ContainedDrop::new("registry value", new.clone()));
        // The caller may have lost the key in the meantime, by its exit or because `update` unregistered it.
        self.store().names().replace(
            key,
            me.block.pid,
            RegistryEntry { registration: entry.registration, value },
        )?;
        Some((new, old))
    }
}
