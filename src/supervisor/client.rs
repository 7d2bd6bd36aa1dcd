//! Talking to a supervisor: adding, stopping, restarting and listing its children. User code calls it.

use std::time::Duration;

use crate::child_spec::{ChildId, ChildSpec, StartError};
use crate::gen_server::call::CallError;
use crate::gen_server::callbacks::GenServer;
use crate::gen_server::reply::Caller;
use crate::gen_server::server_ref::ServerRef;
use crate::gen_server::start::ServerSpec;
use crate::pid::Pid;
use crate::reason::ExitReason;
use crate::supervisor::request::{ChildCount, ChildError, ChildInfo, ChildRequest, SupervisorCall};
use crate::supervisor::server::Supervisor;

/// What a start comes to if the supervisor did not answer.
pub(crate) fn into_start_error(error: CallError) -> StartError {
    match error {
        CallError::Exiting => StartError::Exiting,
        error => StartError::NoSupervisor(ExitReason::error(error)),
    }
}

/// The calls to a supervisor wait as long as it takes: it may be busy starting or stopping a child.
impl ServerRef<Supervisor> {
    fn call_supervisor<R: Send + 'static>(
        &self,
        request: impl FnOnce(Caller<R>) -> ChildRequest,
    ) -> Result<R, CallError> {
        self.call_timeout(Duration::MAX, |from| SupervisorCall(request(from)))
    }

    /// Adds a child and starts it; `None` if it asked not to be started. The spec is kept, for restarts,
    /// unless the start fails, or a temporary child is ignored.
    ///
    /// # Errors
    /// [`StartError::AlreadyStarted`] if a child with that id runs, [`StartError::AlreadyPresent`] if it
    /// does not run; [`StartError::BadSpec`]; why the start failed; [`StartError::NoSupervisor`].
    pub fn start_child(&self, child: impl Into<ChildSpec>) -> Result<Option<Pid>, StartError> {
        let child = child.into();
        self.call_supervisor(|from| ChildRequest::Start(child, from))
            .unwrap_or_else(|error| Err(into_start_error(error)))
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

    /// Stops a child. Its spec stays, unless it is temporary. Not an error if it is not running; a restart
    /// that is to be tried again is called off.
    ///
    /// # Errors
    /// [`ChildError::NotFound`], [`ChildError::NoSupervisor`].
    pub fn terminate_child(&self, id: impl Into<ChildId>) -> Result<(), ChildError> {
        let id = id.into();
        self.call_supervisor(|from| ChildRequest::Terminate(id, from))
            .unwrap_or_else(|error| Err(ChildError::NoSupervisor(error)))
    }

    /// Starts a child that is not running; `None` if it asked not to be started.
    ///
    /// # Errors
    /// [`ChildError::Running`], [`ChildError::Restarting`], [`ChildError::NotFound`],
    /// [`ChildError::Start`], [`ChildError::NoSupervisor`].
    pub fn restart_child(&self, id: impl Into<ChildId>) -> Result<Option<Pid>, ChildError> {
        let id = id.into();
        self.call_supervisor(|from| ChildRequest::Restart(id, from))
            .unwrap_or_else(|error| Err(ChildError::NoSupervisor(error)))
    }

    /// Forgets a child that is not running.
    ///
    /// # Errors
    /// [`ChildError::Running`], [`ChildError::Restarting`], [`ChildError::NotFound`],
    /// [`ChildError::NoSupervisor`].
    pub fn delete_child(&self, id: impl Into<ChildId>) -> Result<(), ChildError> {
        let id = id.into();
        self.call_supervisor(|from| ChildRequest::Delete(id, from))
            .unwrap_or_else(|error| Err(ChildError::NoSupervisor(error)))
    }

    /// All children, in start order (Erlang lists the last one first).
    ///
    /// # Errors
    /// [`CallError`] if the supervisor is not there.
    pub fn which_children(&self) -> Result<Vec<ChildInfo>, CallError> {
        self.call_supervisor(ChildRequest::Which)
    }

    /// How many children there are.
    ///
    /// # Errors
    /// [`CallError`] if the supervisor is not there.
    pub fn count_children(&self) -> Result<ChildCount, CallError> {
        self.call_supervisor(ChildRequest::Count)
    }

    /// The spec of a child, with all defaults filled in.
    ///
    /// # Errors
    /// [`ChildError::NotFound`], [`ChildError::NoSupervisor`].
    pub fn get_childspec(&self, id: impl Into<ChildId>) -> Result<ChildSpec, ChildError> {
        let id = id.into();
        self.call_supervisor(|from| ChildRequest::Spec(id, from))
            .unwrap_or_else(|error| Err(ChildError::NoSupervisor(error)))
    }
}
