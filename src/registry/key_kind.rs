//! The two kinds of keys of a registry, as marker types.

use std::hash::Hash;

use crate::registry::store::EntryTable;

/// Marks a [`Registry`](crate::Registry) in which a key has at most one process.
#[derive(Debug)]
pub enum Unique {}

/// Marks a [`Registry`](crate::Registry) in which a key can have any number of entries.
#[derive(Debug)]
pub enum Duplicate {}

/// The kind of the keys of a [`Registry`](crate::Registry): [`Unique`] or [`Duplicate`]. Other types cannot implement it.
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
        EntryTable::unique()
    }
}

impl NewTable for Duplicate {
    const TYPE_NAME: &'static str = "DuplicateRegistry";

    fn new_table<K: Hash + Eq + Clone, V>() -> EntryTable<K, V> {
        EntryTable::duplicate()
    }
}
