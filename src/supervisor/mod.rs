//! Supervisors: processes that start others, and start them again when they end.

pub(crate) mod children;
pub(crate) mod client;
pub(crate) mod dynamic;
pub(crate) mod intensity;
pub(crate) mod partition;
pub(crate) mod policy;
pub(crate) mod request;
pub(crate) mod server;
pub(crate) mod spec;
pub(crate) mod status;
pub(crate) mod supervise;

pub use self::children::FailedToStartChild;
pub use self::dynamic::request::{DynamicSupervisorCall, DynamicSupervisorCast};
pub use self::dynamic::server::{DynamicSupervisor, DynamicSupervisorInit};
pub use self::dynamic::spec::DynamicSupervisorSpec;
pub use self::dynamic::supervise::SuperviseDynamic;
pub use self::partition::{PartitionRef, PartitionSupervisor};
pub use self::request::{ChildCount, ChildError, ChildInfo, ChildState, SupervisorCall, SupervisorCast};
pub use self::server::{Supervisor, SupervisorInit};
pub use self::spec::{AutoShutdown, Strategy, SupervisorSpec};
pub use self::supervise::Supervise;
