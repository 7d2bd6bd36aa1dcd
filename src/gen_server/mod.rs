//! Servers: processes that hold a state and handle calls and casts. Elixir's `GenServer`, with typed
//! messages.

pub(crate) mod call;
pub(crate) mod callbacks;
pub(crate) mod handle;
pub(crate) mod options;
pub(crate) mod receive_loop;
pub(crate) mod reply;
pub(crate) mod reply_slot;
pub(crate) mod server_ref;
pub(crate) mod spec;
pub(crate) mod start;
pub(crate) mod wait_graph;

pub use self::call::{CallError, DEFAULT_CALL_TIMEOUT, StopError};
pub use self::callbacks::{Context, GenServer, Info, InitError};
pub use self::reply::{Caller, Next};
pub use self::server_ref::ServerRef;
pub use self::spec::{GenServerExt, ServerSpec};
