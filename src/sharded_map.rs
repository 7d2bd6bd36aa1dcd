//! A concurrent hash map, split into shards with a lock each so that threads rarely contend.

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

    /// Returns the shard of a key. The caller locks it, for as long as its operation must be atomic.
    pub(crate) fn shard<Q>(&self, key: &Q) -> &RwLock<HashMap<K, V, H>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        // Middle bits: the map in the shard uses the lowest and the highest ones, which must vary within a shard.
        let index = (hash >> 40) as usize % SHARD_COUNT;
        &self.shards[index]
    }

    /// Calls `f` for each entry, under the lock of its shard.
    pub(crate) fn for_each(&self, mut f: impl FnMut(&K, &V)) {
        // One lock at a time: this is no snapshot of the whole map.
        for shard in &self.shards {
            shard.read().iter().for_each(|(key, value)| f(key, value));
        }
    }

    /// Returns clones of all values.
    pub(crate) fn values(&self) -> Vec<V>
    where
        V: Clone,
    {
        let mut all = Vec::new();
        self.for_each(|_, value| all.push(value.clone()));
        all
    }
}
