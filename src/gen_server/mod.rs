//! Servers: processes that keep a state and answer messages about it. Elixir's `GenServer`, with the
//! messages typed.

pub(crate) mod behaviour;
pub(crate) mod call;
pub(crate) mod cycle;
pub(crate) mod handle;
pub(crate) mod reply;
pub(crate) mod run;
pub(crate) mod start;

pub use self::behaviour::{Context, GenServer, Info, InitError};
pub use self::call::{CallError, DEFAULT_CALL_TIMEOUT, StopError};
pub use self::handle::ServerRef;
pub use self::reply::{Caller, Never, Next};
pub use self::start::{GenServerExt, ServerSpec};
