//! A map that many threads use at once, in shards so that they seldom meet. The process table and the
//! names live in one each.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};

use parking_lot::RwLock;

const SHARDS: usize = 32;

pub(crate) struct Shards<K, V> {
    hasher: RandomState,
    shards: Vec<RwLock<HashMap<K, V>>>,
}

impl<K: Hash + Eq, V> Shards<K, V> {
    pub(crate) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::new(HashMap::new())).collect();
        Self { hasher: RandomState::new(), shards }
    }

    /// The shard a key lives in, to be locked for whatever must be atomic.
    pub(crate) fn of<Q>(&self, key: &Q) -> &RwLock<HashMap<K, V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let index = hash as usize % SHARDS;
        &self.shards[index]
    }

    /// A copy of all values, shard by shard.
    pub(crate) fn values(&self) -> Vec<V>
    where
        V: Clone,
    {
        self.shards.iter().flat_map(|shard| shard.read().values().cloned().collect::<Vec<_>>()).collect()
    }
}
