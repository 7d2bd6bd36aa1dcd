//! Supervisors: processes that start others, and start them again when they end.

pub(crate) mod account;
pub(crate) mod budget;
pub(crate) mod children;
pub(crate) mod client;
pub(crate) mod decide;
pub(crate) mod request;
pub(crate) mod server;
pub(crate) mod spec;
pub(crate) mod supervise;

pub use self::children::FailedToStartChild;
pub use self::request::{ChildCount, ChildError, ChildInfo, ChildState, SupervisorCall, SupervisorCast};
pub use self::server::{Supervisor, SupervisorInit};
pub use self::spec::{AutoShutdown, Strategy, SupervisorSpec};
pub use self::supervise::Supervise;
