//! Registries: tables from keys of any type to processes, with one process per key ([`Registry`]) or many
//! ([`DuplicateRegistry`]).

pub(crate) mod duplicate;
pub(crate) mod key;
pub(crate) mod key_kind;
pub(crate) mod key_locks;
pub(crate) mod keyed_registry;
pub(crate) mod listeners;
pub(crate) mod store;
pub(crate) mod unique;

pub use self::duplicate::DuplicateRegistry;
pub use self::key::RegistryKey;
pub use self::key_kind::{Duplicate, KeyKind, Unique};
pub use self::keyed_registry::KeyedRegistry;
pub use self::listeners::RegistryEvent;
pub use self::unique::Registry;
