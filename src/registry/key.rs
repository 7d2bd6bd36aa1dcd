//! `RegistryKey`: a key of a registry as the name of a process. Handles of servers are made from it, and births
//! register under it.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use crate::pid::Pid;
use crate::process::block::Block;
use crate::process::names::{NameError, Names, Via};
use crate::process::table;
use crate::registry::store::{Label, Slot, Store, Table};

/// The table of a registry with unique keys: names with values.
pub(crate) type Unique<K, V> = Store<K, V, Names<K, Slot<K, V>>>;

impl<K, V> Table<K, V> for Names<K, Slot<K, V>>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn enter(&self, slot: Slot<K, V>) -> Result<Vec<Arc<Block>>, NameError> {
        let label = Arc::clone(&slot.label);
        self.claim(&label.key, &label.block, slot)
    }

    fn remove(&self, labels: &[Arc<Label<K>>]) {
        for label in labels {
            self.release(&label.key, label.pid());
        }
    }

    fn all(&self) -> Vec<Slot<K, V>> {
        self.living()
    }
}

/// A key of a [`Registry`](crate::Registry) as the name of a process, for
/// [`ServerRef::via`](crate::ServerRef::via). Made by [`Registry::key`](crate::Registry::key).
#[derive(Clone)]
pub struct RegistryKey<K, V = ()> {
    store: Arc<Unique<K, V>>,
    key: K,
    value: V,
}

impl<K, V> RegistryKey<K, V> {
    pub(crate) fn new(store: Arc<Unique<K, V>>, key: K, value: V) -> Self {
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
        let block = table::get(pid).filter(|block| !block.doomed()).ok_or(NameError::NoProc)?;
        let earlier = self.store.enter(&block, self.key.clone(), self.value.clone())?;
        Ok(earlier.iter().map(|block| block.pid).collect())
    }

    fn unregister(&self, pid: Pid) {
        self.store.give_up(pid, &self.key);
    }

    fn whereis_within(&self, limit: Duration) -> Option<Pid> {
        self.store.table.get_within(self.key.clone(), limit).map(|(block, _)| block.pid)
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
