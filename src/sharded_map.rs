//! A concurrent hash map, split into shards with a lock each so that threads rarely contend.
//!
//! `Hash` and `Eq` of keys run under the lock of a shard. If keys are of a type of the user's, these are user code; when
//! that code comes back to such a map it panics, instead of waiting for a lock that its own thread holds.

use std::borrow::Borrow;
use std::cell::Cell;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::ops::{Deref, DerefMut};
use std::thread;

use crate::pid::IdHasher;
use crate::sync::RwLock;

const SHARD_COUNT: usize = 32;

/// A hasher that says whether keys are of a type of the user's.
pub(crate) trait KeyHasher: BuildHasher + Default {
    const IS_USER_CODE: bool;
}

/// For keys of any type.
impl KeyHasher for RandomState {
    const IS_USER_CODE: bool = true;
}

/// For identifiers.
impl KeyHasher for IdHasher {
    const IS_USER_CODE: bool = false;
}

/// Hashes texts, whose `Hash` and `Eq` are those of std. Like `RandomState`, it cannot be predicted.
#[derive(Default)]
pub(crate) struct TextHasher(RandomState);

impl BuildHasher for TextHasher {
    type Hasher = <RandomState as BuildHasher>::Hasher;
    fn build_hasher(&self) -> Self::Hasher {
        self.0.build_hasher()
    }
}

impl KeyHasher for TextHasher {
    const IS_USER_CODE: bool = false;
}

pub(crate) struct ShardedMap<K, V, H = RandomState> {
    hasher: H,
    shards: Vec<RwLock<HashMap<K, V, H>>>,
}

impl<K: Hash + Eq, V, H: KeyHasher> ShardedMap<K, V, H> {
    pub(crate) fn new() -> Self {
        let shards = (0..SHARD_COUNT).map(|_| RwLock::default()).collect();
        Self { hasher: H::default(), shards }
    }

    /// Returns the shard of a key. The caller locks it, for as long as its operation must be atomic.
    pub(crate) fn shard<Q>(&self, key: &Q) -> Shard<'_, K, V, H>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        // Middle bits: the map in the shard uses the lowest and the highest ones, which must vary within a shard.
        let index = (hash >> 40) as usize % SHARD_COUNT;
        Shard(&self.shards[index])
    }

    /// Calls `f` for each entry, under the lock of its shard.
    pub(crate) fn for_each(&self, mut f: impl FnMut(&K, &V)) {
        // One lock at a time: this is no snapshot of the whole map.
        for shard in &self.shards {
            Shard(shard).read().iter().for_each(|(key, value)| f(key, value));
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

/// One shard of a map.
pub(crate) struct Shard<'a, K, V, H>(&'a RwLock<HashMap<K, V, H>>);

impl<'a, K, V, H: KeyHasher> Shard<'a, K, V, H> {
    pub(crate) fn read(&self) -> impl Deref<Target = HashMap<K, V, H>> + use<'a, K, V, H> {
        let scope = H::IS_USER_CODE.then(KeyCodeScope::enter);
        Guarded { guard: self.0.read(), _scope: scope }
    }

    pub(crate) fn write(&self) -> impl DerefMut<Target = HashMap<K, V, H>> + use<'a, K, V, H> {
        let scope = H::IS_USER_CODE.then(KeyCodeScope::enter);
        Guarded { guard: self.0.write(), _scope: scope }
    }
}

/// A locked shard. Unlocks before it leaves the scope.
struct Guarded<G> {
    guard: G,
    _scope: Option<KeyCodeScope>,
}

impl<G: Deref> Deref for Guarded<G> {
    type Target = G::Target;
    fn deref(&self) -> &G::Target {
        &self.guard
    }
}

impl<G: DerefMut> DerefMut for Guarded<G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.guard
    }
}

thread_local! {
    /// `Hash` and `Eq` of a key of the user's may be running on this thread, under a lock.
    static IN_KEY_CODE: Cell<bool> = const { Cell::new(false) };
}

/// A section under a lock in which `Hash` and `Eq` of keys run.
pub(crate) struct KeyCodeScope(bool);

impl KeyCodeScope {
    /// Enters the section.
    ///
    /// # Panics
    /// If the thread is in such a section already: `Hash` or `Eq` of a key has come back to a registry.
    pub(crate) fn enter() -> Self {
        // Fails while the thread-locals of the thread are destroyed: then there is no check.
        let was_inside = IN_KEY_CODE.try_with(|inside| inside.replace(true)).unwrap_or(false);
        let scope = Self(was_inside);
        if was_inside && !thread::panicking() {
            panic!(
                "Hash or Eq of a registry key has used a registry: they run under a lock of the registry and must only \
                 look at the key"
            );
        }
        scope
    }
}

impl Drop for KeyCodeScope {
    fn drop(&mut self) {
        let _ = IN_KEY_CODE.try_with(|inside| inside.set(self.0));
    }
}
