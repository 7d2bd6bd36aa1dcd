//! `RegistryKey`: a key of a registry as the name of a process. Handles of servers are made from it, and births
//! register under it.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use crate::pid::Pid;
use crate::process::control::block::ProcessBlock;
use crate::process::control::table;
use crate::process::error::NameError;
use crate::process::names::table::NameTable;
use crate::process::names::via::Via;
use crate::registry::store::{EntryTable, KeyRegistration, RegistryEntry, Store};

/// The table of a registry with unique keys: names with values.
pub(crate) type UniqueStore<K, V> = Store<K, V, NameTable<K, RegistryEntry<K, V>>>;

impl<K, V> EntryTable<K, V> for NameTable<K, RegistryEntry<K, V>>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn insert(&self, entry: RegistryEntry<K, V>) -> Result<Vec<Arc<ProcessBlock>>, NameError> {
        let registration = Arc::clone(&entry.registration);
        self.claim(&registration.key, &registration.block, entry)
    }

    fn remove(&self, registrations: &[Arc<KeyRegistration<K>>]) {
        for registration in registrations {
            self.release(&registration.key, registration.pid());
        }
    }

    fn live_entries(&self) -> Vec<RegistryEntry<K, V>> {
        self.live_values()
    }
}

/// A key of a [`Registry`](crate::Registry) as the name of a process, for
/// [`ServerRef::via`](crate::ServerRef::via). Made by [`Registry::key`](crate::Registry::key).
#[derive(Clone)]
pub struct RegistryKey<K, V = ()> {
    store: Arc<UniqueStore<K, V>>,
    key: K,
    value: V,
}

impl<K, V> RegistryKey<K, V> {
    pub(crate) fn new(store: Arc<UniqueStore<K, V>>, key: K, value: V) -> Self {
        Self { store, key, value }
    }

    /// The key itself.
    pub fn get(&self) -> &K {
        &self.key
    }
}

impl<K, V> Via for RegistryKey<K, V>
where
    K: Hash + Eq + Clone + fmt::Debug + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn whereis(&self) -> Option<Pid> {
        self.store.table.get(&self.key).map(|(block, _)| block.pid)
    }

    fn register(&self, pid: Pid) -> Result<(), NameError> {
        self.take_over(pid).map(drop)
    }

    fn take_over(&self, pid: Pid) -> Result<Vec<Pid>, NameError> {
        let block = table::get(pid).filter(|block| !block.is_exiting()).ok_or(NameError::NoProc)?;
        let predecessors = self.store.register(&block, self.key.clone(), self.value.clone())?;
        Ok(predecessors.iter().map(|block| block.pid).collect())
    }

    fn unregister(&self, pid: Pid) {
        self.store.unregister(pid, &self.key);
    }

    fn whereis_timeout(&self, timeout: Duration) -> Option<Pid> {
        self.store.table.get_timeout(self.key.clone(), timeout).map(|(block, _)| block.pid)
    }
}

/// As it stands in reports and errors: `Registry["lobby"]`.
impl<K: fmt::Debug, V> fmt::Display for RegistryKey<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registry[{:?}]", self.key)
    }
}

impl<K: fmt::Debug, V> fmt::Debug for RegistryKey<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
