//! Supervisors: processes that start others, and start them again when they end.

pub(crate) mod budget;
pub(crate) mod children;
pub(crate) mod decide;
pub(crate) mod server;
pub(crate) mod spec;
pub(crate) mod supervise;

pub use self::children::FailedToStartChild;
pub use self::server::{ChildCount, ChildError, ChildInfo, ChildState, Plan, Reminder, Request, Supervisor};
pub use self::spec::{AutoShutdown, Strategy, SupervisorSpec};
pub use self::supervise::Supervise;
