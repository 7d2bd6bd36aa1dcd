//! What a dynamic supervisor can be asked. `client` sends it, `server` handles it.

use crate::child_spec::{ChildSpec, StartError};
use crate::gen_server::reply::Caller;
use crate::pid::Pid;
use crate::supervisor::request::{ChildCount, ChildError, ChildInfo};

/// What a dynamic supervisor is asked: through the methods of
/// [`ServerRef<DynamicSupervisor>`](crate::ServerRef).
#[derive(Debug)]
pub struct DynamicSupervisorCall(pub(crate) DynamicChildRequest);

#[derive(Debug)]
pub(crate) enum DynamicChildRequest {
    Start(ChildSpec, Caller<Result<Option<Pid>, StartError>>),
    Terminate(Pid, Caller<Result<(), ChildError>>),
    Which(Caller<Vec<ChildInfo>>),
    Count(Caller<ChildCount>),
}

/// What a dynamic supervisor tells itself: a restart that failed is to be tried again. It names the process
/// that the child was last.
#[derive(Debug)]
pub struct DynamicSupervisorCast(pub(crate) Pid);
