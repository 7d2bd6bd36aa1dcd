//! A supervisor of either kind, static or dynamic: the operations that both support.

use std::time::Duration;

use rethread::{
    CallError, ChildCount, ChildSpec, DynamicSupervisor, ExitReason, Pid, ServerRef, StartError, StopError,
    Supervisor,
};

#[derive(Clone)]
pub(super) enum Boss {
    Static(ServerRef<Supervisor>),
    Dynamic(ServerRef<DynamicSupervisor>),
}

impl Boss {
    pub(super) fn whereis(&self) -> Option<Pid> {
        match self {
            Self::Static(supervisor) => supervisor.whereis(),
            Self::Dynamic(supervisor) => supervisor.whereis(),
        }
    }

    pub(super) fn start_child(&self, child: ChildSpec) -> Result<Option<Pid>, StartError> {
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

    pub(super) fn stop_with(&self, reason: ExitReason, time: Duration) -> Result<(), StopError> {
        match self {
            Self::Static(supervisor) => supervisor.stop_with(reason, time),
            Self::Dynamic(supervisor) => supervisor.stop_with(reason, time),
        }
    }
}
