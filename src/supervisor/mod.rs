//! Supervisors: processes that start other processes and restart them when they exit.
//!
//! | supervisor | for children that |
//! | --- | --- |
//! | [`Supervisor`] | are known when it starts and depend on each other's order; known by their ids |
//! | [`DynamicSupervisor`] | are started one by one while the program runs; known by their pids |
//! | [`PartitionSupervisor`] | are the same server several times; addressed by number or key |
//! | [`TaskSupervisor`](crate::TaskSupervisor) | run one function once and are never restarted |
//!
//! Each of these types carries the constructors of a spec, which starts the supervisor or goes to another supervisor;
//! the requests are the methods of its handle: [`SupervisorRef`], [`DynamicSupervisorRef`], [`PartitionRef`],
//! [`TaskSupervisorRef`](crate::TaskSupervisorRef). [`Supervise`] makes a supervisor a type of its own, with a spec
//! that is made at each start.

pub(crate) mod child;
pub(crate) mod dynamic;
pub(crate) mod dynamic_server;
pub(crate) mod intensity;
pub(crate) mod partition;
pub(crate) mod policy;
pub(crate) mod server;
pub(crate) mod spec;
pub(crate) mod status;
pub(crate) mod supervise;
#[expect(clippy::module_inception, reason = "the API of the type Supervisor")]
pub(crate) mod supervisor;

pub use self::child::FailedToStartChild;
pub use self::child::{ChildCount, ChildError, ChildInfo, ChildState};
pub use self::dynamic::{DynamicSupervisor, DynamicSupervisorRef};
pub use self::partition::{Partition, PartitionRef, PartitionSupervisor, PartitionSupervisorSpec};
pub use self::spec::{AutoShutdown, DynamicSupervisorSpec, Strategy, SupervisorSpec};
pub use self::supervise::{SpecKind, Supervise, SuperviseSpec};
pub use self::supervisor::{Supervisor, SupervisorRef};
