//! Registries: tables from keys of any type to processes, with a value for each entry. Elixir's `Registry`.
//!
//! A process has at most one registered name, a text that is usually a constant. A registry is for names that
//! are computed at run time, such as one server for each user, and for groups of processes, such as the
//! subscribers of a topic.
//!
//! ```
//! use rethread::prelude::*;
//! use rethread::registry::Registry;
//!
//! struct Room;
//! struct Name(Caller<&'static str>);
//!
//! impl GenServer for Room {
//!     type Args = ();
//!     type Call = Name;
//!     type Cast = Infallible;
//!
//!     fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
//!         Ok(Room)
//!     }
//!     fn handle_call(&mut self, Name(from): Name, _: &mut Context<Self>) -> Next {
//!         from.reply("lobby")
//!     }
//! }
//!
//! static ROOMS: Registry<String> = Registry::new();
//!
//! let room = Room::child_spec(()).name(ROOMS.server("lobby".to_owned())).start()?;
//! assert_eq!(ROOMS.whereis("lobby"), room.whereis());
//! let lobby: ServerRef<Room> = ROOMS.server("lobby".to_owned()); // looked up at each call
//! assert_eq!(lobby.call(Name)?, "lobby");
//! room.stop()?;
//! assert_eq!(ROOMS.whereis("lobby"), None); // the process has exited, so its entry is gone
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Which registry
//! | registry | a key has | for |
//! | --- | --- | --- |
//! | [`Registry`] | at most one process | names of servers and processes |
//! | [`DuplicateRegistry`] | any number of entries, also several of one process | groups, publish and subscribe |
//!
//! Both are a [`KeyedRegistry`], whose page describes the methods that they have in common. A function that
//! does not fit the kind of the keys does not compile.
//!
//! | to | use |
//! | --- | --- |
//! | create a registry | [`Registry::new`](KeyedRegistry::new), a `const fn`: most registries are a `static` |
//! | register the calling process, or unregister it | [`register`](KeyedRegistry::register), [`unregister`](KeyedRegistry::unregister) |
//! | start a server under a key, and call it | [`server`](KeyedRegistry::server), [`key`](KeyedRegistry::key), [`key_with`](KeyedRegistry::key_with) |
//! | find the process or its value | `lookup`, [`whereis`](KeyedRegistry::whereis), [`values`](KeyedRegistry::values) |
//! | wait until a process is registered | [`whereis_timeout`](KeyedRegistry::whereis_timeout) |
//! | change the value of an entry of the caller | [`update_value`](KeyedRegistry::update_value) |
//! | call a function with all entries of a key | [`dispatch`](KeyedRegistry::dispatch) |
//! | list or count all entries | [`entries`](KeyedRegistry::entries), [`count`](KeyedRegistry::count) |
//! | run a function under the lock of a key | [`lock`](KeyedRegistry::lock) |
//! | receive an event for each change | [`listen`](KeyedRegistry::listen), [`listen_server`](KeyedRegistry::listen_server) |
//!
//! # When entries disappear
//! A process can register only itself, or be started under a key. From the moment its exit is decided it is
//! found under no key, and its unique keys can be taken. Its entries are removed before its links and monitors
//! are notified. A process that is started under a key of a holder that is still exiting waits until the
//! cleanup of that holder is complete.
//!
//! # User code
//! Values are cloned and dropped, and functions are called, while no lock of the registry is held, so they may
//! use the registry. Only `Hash` and `Eq` of a key run under a lock. A panic in the destructor of a value or
//! in the conversion function of a listener is logged and does not propagate.
//!
//! # Differences from Erlang
//! A registry is a table, not a process: it cannot crash, nothing is linked to it, and it lives as long as a
//! handle to it. The kind of its keys is part of its type. The entries of a process are removed when its
//! `Exit` and `Down` arrive, not some time later. There is no `match`, `select` or `meta`. The [list of
//! differences](crate::differences_from_erlang#registries) names the reason for each.

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
