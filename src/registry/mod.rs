//! Registries: processes found by keys of any type, one for each key or many.

pub(crate) mod duplicate;
pub(crate) mod event;
pub(crate) mod key;
pub(crate) mod locks;
pub(crate) mod store;
pub(crate) mod told;
pub(crate) mod unique;

pub use self::duplicate::DuplicateRegistry;
pub use self::event::RegistryEvent;
pub use self::key::RegistryKey;
pub use self::unique::Registry;
