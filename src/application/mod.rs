//! Applications: whole systems that are started and stopped as one, and end with a status. Elixir's
//! `Application`.

#[expect(clippy::module_inception, reason = "the type Application")]
pub(crate) mod application;
pub(crate) mod error;
pub(crate) mod exit;
pub(crate) mod handle;
pub(crate) mod master;
pub(crate) mod state;

pub use self::application::Application;
pub use self::error::ApplicationError;
pub use self::exit::ApplicationExit;
pub use self::handle::ApplicationRef;
