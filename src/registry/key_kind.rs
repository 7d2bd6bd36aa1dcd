//! The two kinds of keys of a registry, as marker types.

use std::hash::Hash;

use crate::process::names::table::NameTable;
use crate::registry::store::EntryTable;
use crate::sharded_map::ShardedMap;

/// Marks a [`Registry`](crate::registry::Registry): a key has at most one process.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "a marker without values")]
pub enum Unique {}

/// Marks a [`DuplicateRegistry`](crate::registry::DuplicateRegistry): a key can have any number of entries.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "a marker without values")]
pub enum Duplicate {}

/// The kind of the keys of a [`KeyedRegistry`](crate::registry::KeyedRegistry): [`Unique`] or [`Duplicate`]. Other types
/// cannot implement it.
#[expect(private_bounds, reason = "sealed: only the types of this file implement it")]
pub trait KeyKind: NewTable {}

impl KeyKind for Unique {}
impl KeyKind for Duplicate {}

pub(super) trait NewTable {
    /// The name of the type, as `Debug` shows it.
    const TYPE_NAME: &'static str;

    fn new_table<K: Hash + Eq + Clone, V>() -> EntryTable<K, V>;
}

impl NewTable for Unique {
    const TYPE_NAME: &'static str = "Registry";

    fn new_table<K: Hash + Eq + Clone, V>() -> EntryTable<K, V> {
        EntryTable::Unique(NameTable::new())
    }
}

impl NewTable for Duplicate {
    const TYPE_NAME: &'static str = "DuplicateRegistry";

    fn new_table<K: Hash + Eq + Clone, V>() -> EntryTable<K, V> {
        EntryTable::Duplicate(ShardedMap::new())
    }
}
