//! A map that many threads use at once, in shards so that they seldom meet. The process table, the names and
//! the registries live in such maps.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};

use crate::sync::RwLock;

const SHARD_COUNT: usize = 32;

pub(crate) struct ShardedMap<K, V, H = RandomState> {
    hasher: H,
    shards: Vec<RwLock<HashMap<K, V, H>>>,
}

impl<K: Hash + Eq, V, H: BuildHasher + Default> ShardedMap<K, V, H> {
    pub(crate) fn new() -> Self {
        let shards = (0..SHARD_COUNT).map(|_| RwLock::default()).collect();
        Self { hasher: H::default(), shards }
    }

    /// The shard a key lives in, to be locked for whatever must be atomic.
    pub(crate) fn shard<Q>(&self, key: &Q) -> &RwLock<HashMap<K, V, H>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let index = (hash >> 40) as usize % SHARD_COUNT; // the maps go by the lowest and the highest bits
        &self.shards[index]
    }

    /// Looks at everything, shard by shard, under its lock.
    pub(crate) fn for_each(&self, mut f: impl FnMut(&K, &V)) {
        for shard in &self.shards {
            shard.read().iter().for_each(|(key, value)| f(key, value));
        }
    }

    /// A copy of all values.
    pub(crate) fn values(&self) -> Vec<V>
    where
        V: Clone,
    {
        let mut all = Vec::new();
        self.for_each(|_, value| all.push(value.clone()));
        all
    }
}
