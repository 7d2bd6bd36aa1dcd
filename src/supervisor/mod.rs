//! Supervisors: processes that start other processes and restart them when they exit.
//!
//! | supervisor | for children that |
//! | --- | --- |
//! | [`Supervisor`] | are known when it starts and depend on each other's order; known by their ids |
//! | [`DynamicSupervisor`] | are started one by one while the program runs; known by their pids |
//! | [`PartitionSupervisor`] | are the same server several times; addressed by number or key |
//! | [`TaskSupervisor`](crate::TaskSupervisor) | run one function once and are never restarted |
//!
//! [`Supervise`] and [`SuperviseDynamic`] make a supervisor a type of its own, with a spec that is made at each start.

pub(crate) mod child;
pub(crate) mod dynamic;
pub(crate) mod intensity;
pub(crate) mod partition;
pub(crate) mod policy;
pub(crate) mod server;
pub(crate) mod spec;
pub(crate) mod status;
#[expect(clippy::module_inception, reason = "the API of the type Supervisor")]
pub(crate) mod supervisor;

pub use self::child::FailedToStartChild;
pub use self::child::{ChildCount, ChildError, ChildInfo, ChildState, SupervisorCall, SupervisorCast};
pub use self::dynamic::SuperviseDynamic;
pub use self::dynamic::{DynamicSupervisor, DynamicSupervisorInit, DynamicSupervisorSpec};
pub use self::dynamic::{DynamicSupervisorCall, DynamicSupervisorCast};
pub use self::partition::{PartitionRef, PartitionSupervisor};
pub use self::server::{Supervisor, SupervisorInit};
pub use self::spec::{AutoShutdown, Strategy, SupervisorSpec};
pub use self::supervisor::Supervise;
