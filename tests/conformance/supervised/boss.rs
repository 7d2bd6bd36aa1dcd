//! A supervisor of either kind, static or dynamic: the operations that both support.

use std::time::Duration;

use rethread::gen_server::{CallError, StopError};
use rethread::supervisor::{ChildCount, ChildSpec, DynamicSupervisorRef, SupervisorRef};
use rethread::{ExitReason, Pid, StartError};

#[derive(Clone)]
pub(super) enum Boss {
    Static(SupervisorRef),
    Dynamic(DynamicSupervisorRef),
}

impl Boss {
    pub(super) fn whereis(&self) -> Option<Pid> {
        match self {
            Self::Static(supervisor) => supervisor.whereis(),
            Self::Dynamic(supervisor) => supervisor.whereis(),
        }
    }

    pub(super) fn start_child(&self, child: ChildSpec) -> Result<Pid, StartError> {
        match self {
            Self::Static(supervisor) => supervisor.start_child(child),
            Self::Dynamic(supervisor) => supervisor.start_child(child),
        }
    }

    pub(super) fn count_children(&self) -> Result<ChildCount, CallError> {
        match self {
            Self::Static(supervisor) => supervisor.count_children(),
            Self::Dynamic(supervisor) => supervisor.count_children(),
        }
    }

    pub(super) fn stop_timeout(&self, reason: ExitReason, time: Duration) -> Result<(), StopError> {
        match self {
            Self::Static(supervisor) => supervisor.stop_timeout(reason, time),
            Self::Dynamic(supervisor) => supervisor.stop_timeout(reason, time),
        }
    }
}
