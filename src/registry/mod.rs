//! Registries: processes found by keys of any type, one for each key or many.

pub(crate) mod announcement;
pub(crate) mod duplicate;
pub(crate) mod key;
pub(crate) mod key_locks;
pub(crate) mod listeners;
pub(crate) mod store;
pub(crate) mod unique;

pub use self::duplicate::DuplicateRegistry;
pub use self::key::RegistryKey;
pub use self::listeners::RegistryEvent;
pub use self::unique::Registry;
