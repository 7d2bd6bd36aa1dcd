//! Applications: whole systems that are started and stopped as one, and end with a status. Elixir's
//! `Application`.

pub(crate) mod client;
pub(crate) mod ending;
pub(crate) mod error;
pub(crate) mod master;
pub(crate) mod plan;
pub(crate) mod record;

pub use self::client::ApplicationRef;
pub use self::ending::ApplicationExit;
pub use self::error::ApplicationError;
pub use self::plan::Application;
