//! Applications: a supervision tree and all processes started under it, which are started and stopped as one and end
//! with an exit status. Like Elixir's `Application`.

#[expect(clippy::module_inception, reason = "the type Application")]
pub(crate) mod application;
pub(crate) mod exit;
pub(crate) mod handle;
pub(crate) mod master;
pub(crate) mod state;

pub use self::application::{Application, TopSupervisor};
pub use self::exit::{ApplicationError, ApplicationExit};
pub use self::handle::ApplicationRef;
