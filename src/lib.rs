#![doc = include_str!("../README.md")]
//!
//! # The house
//! A file imports only from lower floors, and from earlier files of its own; `tests/house.rs` holds the
//! order and fails on a breach.
//!
//! | floor | files | what |
//! | --- | --- | --- |
//! | 0 | `pid` `unwind` `reason` `unwound` `logger` | identities, exit reasons, unwinding |
//! | 1 | `process/` | the kernel: what the BEAM does |
//! | 2 | `child_spec` `gen_server/` `task/` `or_exit` | servers, tasks, and what a supervisor needs to know of anybody |
//! | 3 | `supervisor/` `dynamic_supervisor/` `task_supervisor` `agent` | supervisors, and a value in a process |
//! | 3 | `registry/` `partition_supervisor` `application/` | processes by key, a server several times over, whole systems |
//!
//! Locks: each process has one (`process/block.rs`), and no two are ever held at once. The process table, the
//! names (both in shards), who waits for a name, the zombies, the clock, each reply slot and each watch have one
//! of their own, held for a few instructions; so have, in each registry, its entries, what each process has there,
//! its queues for locks (all in shards) and its listeners. While a process' lock is held the clock's may be taken, and while
//! a slot's is held nothing; never the other way round. No lock is held while user code runs: handlers, hooks,
//! destructors, log sinks; but for `Hash` and `Eq` of the keys of a registry.
#![forbid(unsafe_code)]

#[cfg(panic = "abort")]
compile_error!(
    "rethread contains panics by unwinding, so it cannot be built with panic = \"abort\": \
     remove that line from the profile in Cargo.toml"
);

pub mod agent;
pub mod application;
mod child_spec;
pub mod dynamic_supervisor;
pub mod gen_server;
#[cfg(feature = "env_logger")]
pub mod logger;
mod or_exit;
mod partition_supervisor;
mod pid;
pub mod process;
mod reason;
pub mod registry;
pub mod supervisor;
pub mod task;
mod task_supervisor;
mod unwind;
mod unwound;

#[doc = include_str!("../docs/semantics.md")]
pub mod semantics {}

#[doc = include_str!("../docs/differences.md")]
pub mod differences_from_erlang {}

pub use agent::Agent;
pub use application::{Application, ApplicationError, ApplicationRef, Ending};
pub use child_spec::{ChildId, ChildSpec, ChildType, Restart, Shutdown, SpecError, StartError};
pub use dynamic_supervisor::{DynamicSupervisor, DynamicSupervisorSpec, SuperviseDynamic};
pub use gen_server::{
    CallError, Caller, Context, DEFAULT_CALL_TIMEOUT, GenServer, Info, Never, Next, ServerRef, Spec, Start,
    Stop, StopError,
};
pub use or_exit::OrExit;
pub use partition_supervisor::{PartitionRef, PartitionSupervisor};
pub use pid::{MonitorRef, Pid, TimerRef};
pub use reason::{CallFailure, Detail, ExitReason, PanicLocation, PanicReport};
pub use registry::{DuplicateRegistry, Registry, RegistryEvent, RegistryKey};
pub use supervisor::{
    AutoShutdown, ChildCount, ChildError, ChildInfo, ChildState, FailedToStartChild, Strategy, Supervise,
    Supervisor, SupervisorSpec,
};
pub use task::{JoinError, OnTimeout, Task, TaskStream};
pub use task_supervisor::{TaskBuilder, TaskSupervisor};

/// What most programs need: `use rethread::prelude::*;`.
pub mod prelude {
    pub use crate::agent::Agent;
    pub use crate::application::{Application, ApplicationRef, Ending};
    pub use crate::child_spec::{ChildSpec, Restart, Shutdown, StartError};
    pub use crate::dynamic_supervisor::{DynamicSupervisor, DynamicSupervisorSpec, SuperviseDynamic};
    pub use crate::gen_server::{
        CallError, Caller, Context, GenServer, Info, Never, Next, ServerRef, Start, Stop,
    };
    pub use crate::or_exit::OrExit;
    pub use crate::partition_supervisor::{PartitionRef, PartitionSupervisor};
    pub use crate::pid::{MonitorRef, Pid};
    pub use crate::process;
    pub use crate::reason::ExitReason;
    pub use crate::registry::{DuplicateRegistry, Registry, RegistryEvent};
    pub use crate::supervisor::{AutoShutdown, Strategy, Supervise, Supervisor, SupervisorSpec};
    pub use crate::task::{JoinError, Task};
    pub use crate::task_supervisor::TaskSupervisor;
}
