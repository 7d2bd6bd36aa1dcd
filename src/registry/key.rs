//! `RegistryKey`: a key of a registry as the name of a process.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use crate::pid::Pid;
use crate::process::control::table;
use crate::process::error::NameError;
use crate::process::names::via::Via;
use crate::registry::store::Store;

/// A key of a [`Registry`](crate::registry::Registry) as the name of a process, for
/// [`ServerRef::via`](crate::gen_server::ServerRef::via). Returned by [`Registry::key`](crate::registry::Registry::key).
#[derive(Clone)]
pub struct RegistryKey<K, V = ()> {
    store: Arc<Store<K, V>>,
    key: K,
    value: V,
}

impl<K, V> RegistryKey<K, V> {
    pub(crate) fn new(store: Arc<Store<K, V>>, key: K, value: V) -> Self {
        Self { store, key, value }
    }

    /// Returns the key itself.
    pub fn key(&self) -> &K {
        &self.key
    }
}

impl<K, V> Via for RegistryKey<K, V>
where
    K: Hash + Eq + Clone + fmt::Debug + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn whereis(&self) -> Option<Pid> {
        self.store.names().get(&self.key).map(|(block, _)| block.pid)
    }

    fn register(&self, pid: Pid) -> Result<(), NameError> {
        self.take_over(pid).map(drop)
    }

    fn take_over(&self, pid: Pid) -> Result<Vec<Pid>, NameError> {
        // The process was created but does not run yet. It can be killed at any time, also before this call.
        let block = table::get(pid).filter(|block| !block.is_exiting()).ok_or(NameError::NoProc)?;
        let predecessors = self.store.register(&block, self.key.clone(), self.value.clone())?;
        Ok(predecessors.iter().map(|block| block.pid).collect())
    }

    fn unregister(&self, pid: Pid) {
        self.store.unregister(pid, &self.key);
    }

    fn whereis_timeout(&self, timeout: Duration) -> Option<Pid> {
        self.store.names().get_timeout(self.key.clone(), timeout).map(|(block, _)| block.pid)
    }
}

/// Formats the key as it appears in reports and errors: `Registry["lobby"]`.
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
