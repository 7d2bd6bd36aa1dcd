//! The methods of a `Registry` with unique keys.

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
use crate::registry::registry::Registry;
use crate::registry::store::{RegistryEntry, enter_registry_call};
use crate::unwind::ContainedDrop;

/// Unique keys: a key has at most one process.
impl<K, V> Registry<K, V, Unique>
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
    /// static ROOMS: Registry<&str, u32> = Registry::new();
    ///
    /// process::attach(|inbox: &mut Inbox<()>| {
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
    /// static ROOMS: Registry<&str> = Registry::new();
    ///
    /// process::attach(|inbox: &mut Inbox<()>| {
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
    /// for a restart.
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
        self.store().names().get_timeout(key, timeout).map(|(block, _)| block.pid)
    }

    /// Makes a key usable as the name of a process. A process that is started under it gets the default value.
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
    /// # use rethread::process::Inbox;
    /// static ROOMS: Registry<&str, u32> = Registry::new();
    ///
    /// process::attach(|_: &mut Inbox<()>| {
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
        let me = enter_registry_call()?;
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
