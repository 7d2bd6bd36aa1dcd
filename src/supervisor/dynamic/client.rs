//! Talking to a dynamic supervisor: adding, ending and listing its children. User code calls it.

use std::time::Duration;

use crate::child_spec::{ChildSpec, StartError};
use crate::gen_server::call::CallError;
use crate::gen_server::callbacks::GenServer;
use crate::gen_server::reply::Caller;
use crate::gen_server::server_ref::ServerRef;
use crate::gen_server::start::ServerSpec;
use crate::pid::Pid;
use crate::supervisor::client::into_start_error;
use crate::supervisor::dynamic::request::DynamicChildRequest;
use crate::supervisor::dynamic::request::DynamicSupervisorCall;
use crate::supervisor::dynamic::server::DynamicSupervisor;
use crate::supervisor::request::{ChildCount, ChildError, ChildInfo};
use crate::supervisor::spec::{AutoShutdown, check_child};

/// Asks a server that keeps dynamic children; waits as long as it takes, since it may be busy starting or
/// stopping one.
pub(crate) fn call_supervisor<S: GenServer<Call = DynamicSupervisorCall>, R: Send + 'static>(
    server: &ServerRef<S>,
    request: impl FnOnce(Caller<R>) -> DynamicChildRequest,
) -> Result<R, CallError> {
    server.call_timeout(Duration::MAX, |from| DynamicSupervisorCall(request(from)))
}

/// Has a child started by a server that keeps dynamic children. The spec is looked at here, in the caller.
pub(crate) fn start_child<S: GenServer<Call = DynamicSupervisorCall>>(
    server: &ServerRef<S>,
    child: ChildSpec,
) -> Result<Option<Pid>, StartError> {
    check_child(&child, AutoShutdown::Never).map_err(StartError::BadSpec)?;
    call_supervisor(server, |from| DynamicChildRequest::Start(child, from))
        .unwrap_or_else(|error| Err(into_start_error(error)))
}

/// Has a child ended by a server that keeps dynamic children.
pub(crate) fn terminate_child<S: GenServer<Call = DynamicSupervisorCall>>(
    server: &ServerRef<S>,
    pid: Pid,
) -> Result<(), ChildError> {
    call_supervisor(server, |from| DynamicChildRequest::Terminate(pid, from))
        .unwrap_or_else(|error| Err(ChildError::NoSupervisor(error)))
}

/// The calls to a dynamic supervisor wait as long as it takes: it may be busy starting or stopping a child.
impl ServerRef<DynamicSupervisor> {
    /// Adds a child and starts it; `None` if it asked not to be started. Ids need not differ: children are
    /// known by their pids.
    ///
    /// # Errors
    /// [`StartError::MaxChildren`]; [`StartError::BadSpec`], found before the supervisor is asked; why the start
    /// failed; [`StartError::NoSupervisor`]. Then nothing of the child is kept.
    pub fn start_child(&self, child: impl Into<ChildSpec>) -> Result<Option<Pid>, StartError> {
        start_child(self, child.into())
    }

    /// As [`start_child`](Self::start_child), for a server that one wants to talk to. The handle is for the
    /// process that was started, not for those that replace it after a crash: give it a name for that.
    ///
    /// # Errors
    /// As there; [`StartError::Ignored`] if it asked not to be started.
    pub fn start_server<S: GenServer>(&self, server: ServerSpec<S>) -> Result<ServerRef<S>, StartError>
    where
        S::Args: Clone + Sync,
    {
        self.start_child(server)?.map(ServerRef::from_pid).ok_or(StartError::Ignored)
    }

    /// Ends a child, which is not started again; one that is about to be restarted is known by its last pid.
    ///
    /// # Errors
    /// [`ChildError::NotFound`] if it has no such child, or no longer; [`ChildError::NoSupervisor`].
    pub fn terminate_child(&self, child: impl Into<Pid>) -> Result<(), ChildError> {
        terminate_child(self, child.into())
    }

    /// All children, the oldest process first.
    ///
    /// # Errors
    /// [`CallError`] if the supervisor is not there.
    pub fn which_children(&self) -> Result<Vec<ChildInfo>, CallError> {
        call_supervisor(self, DynamicChildRequest::Which)
    }

    /// How many children there are.
    ///
    /// # Errors
    /// [`CallError`] if the supervisor is not there.
    pub fn count_children(&self) -> Result<ChildCount, CallError> {
        call_supervisor(self, DynamicChildRequest::Count)
    }
}
