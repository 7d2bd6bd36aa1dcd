#![doc = include_str!("../README.md")]
// The layers of the modules and the order of the locks: CONTRIBUTING.md.
#![forbid(unsafe_code)]

#[cfg(panic = "abort")]
compile_error!(
    "rethread contains panics by unwinding, so it cannot be built with panic = \"abort\": \
     remove that line from the profile in Cargo.toml"
);

pub mod agent;
pub mod application;
mod child_spec;
mod exception;
pub mod gen_server;
#[cfg(feature = "env_logger")]
pub mod logger;
pub mod observer;
mod or_exit;
mod panic_hook;
mod pid;
pub mod process;
mod reason;
pub mod registry;
mod sharded_map;
pub mod supervisor;
mod sync;
pub mod task;
mod unwind;

#[cfg(rethread_model)]
#[doc(hidden)]
pub use sync::model;

#[doc = include_str!("../docs/semantics.md")]
pub mod semantics {}

#[doc = include_str!("../docs/differences.md")]
pub mod differences_from_erlang {}

#[doc = include_str!("../docs/guide.md")]
pub mod guide {}

#[doc(inline)]
pub use agent::{Agent, AgentRef, AgentSpec};
#[doc(inline)]
pub use application::{Application, ApplicationError, ApplicationExit, ApplicationRef, TopSupervisor};
pub use child_spec::{ChildId, ChildOptions, ChildSpec, ChildType, Restart, Shutdown, SpecError, StartError};
#[doc(inline)]
pub use gen_server::{
    CallError, Caller, Context, DEFAULT_CALL_TIMEOUT, GenServer, GenServerExt, Info, InitError, Next,
    ServerRef, ServerSpec, StopError,
};
pub use or_exit::OrExit;
pub use pid::{MonitorRef, Pid, TimerRef};
pub use reason::{CallFailure, ExitReason, PanicLocation, PanicReport, ReasonValue};
#[doc(inline)]
pub use registry::{DuplicateRegistry, Registry, RegistryEvent, RegistryKey};
#[doc(inline)]
pub use supervisor::{
    AutoShutdown, ChildCount, ChildError, ChildInfo, ChildState, DynamicSupervisor, DynamicSupervisorRef,
    DynamicSupervisorSpec, FailedToStartChild, Partition, PartitionRef, PartitionSupervisor,
    PartitionSupervisorSpec, SpecKind, Strategy, Supervise, SuperviseSpec, Supervisor, SupervisorRef,
    SupervisorSpec,
};
#[doc(inline)]
pub use task::{
    JoinError, OnTimeout, Task, TaskBuilder, TaskStream, TaskSupervisor, TaskSupervisorRef,
    TaskSupervisorSpec,
};

/// The items that most programs use: `use rethread::prelude::*;`.
pub mod prelude {
    pub use std::convert::Infallible;

    pub use crate::child_spec::{ChildSpec, Restart};
    pub use crate::gen_server::{Caller, Context, GenServer, GenServerExt, Info, InitError, Next, ServerRef};
    pub use crate::or_exit::OrExit;
    pub use crate::pid::Pid;
    pub use crate::process;
    pub use crate::process::{Event, Inbox};
    pub use crate::reason::ExitReason;
    pub use crate::supervisor::{Strategy, Supervisor, SupervisorRef};
    pub use crate::task;
}
