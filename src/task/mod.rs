//! Tasks: processes that do one thing and give its value to whoever started them.

pub(crate) mod callers;
pub(crate) mod crew;
pub(crate) mod error;
pub(crate) mod handle;
pub(crate) mod many;
pub(crate) mod slot;
pub(crate) mod start;
pub(crate) mod stream;
pub(crate) mod work;

pub use self::callers::callers;
pub use self::error::JoinError;
pub use self::handle::Task;
pub use self::stream::{OnTimeout, TaskStream};
