//! What a supervisor can be asked about its children, and what it answers. `client` sends it, `server`
//! handles it.

use std::fmt;

use crate::child_spec::{ChildId, ChildSpec, ChildType, StartError};
use crate::gen_server::call::CallError;
use crate::gen_server::reply::Caller;
use crate::pid::Pid;

/// One child in [`which_children`](crate::ServerRef::which_children).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChildInfo {
    /// Its identity.
    pub id: ChildId,
    /// Whether it runs.
    pub state: ChildState,
    /// What it is.
    pub child_type: ChildType,
}

/// Whether a child runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildState {
    /// It runs, as this process.
    Running(Pid),
    /// Its restart failed and is about to be tried again.
    Restarting,
    /// It does not: it was stopped, ended for good, or asked not to be started.
    Stopped,
}

impl ChildInfo {
    /// Its process, if it runs.
    pub fn pid(&self) -> Option<Pid> {
        match self.state {
            ChildState::Running(pid) => Some(pid),
            ChildState::Restarting | ChildState::Stopped => None,
        }
    }
}

/// How many children there are, by [`count_children`](crate::ServerRef::count_children).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ChildCount {
    /// All specs, running or not.
    pub specs: usize,
    /// Children that live now.
    pub active: usize,
    /// Those of type supervisor, living or not.
    pub supervisors: usize,
    /// Those of type worker, living or not.
    pub workers: usize,
}

/// Why a supervisor did not do something with a child.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ChildError {
    /// It has no such child.
    NotFound,
    /// The child runs.
    Running,
    /// The child is about to be started again.
    Restarting,
    /// The child did not start.
    Start(StartError),
    /// The supervisor did not answer.
    NoSupervisor(CallError),
}

impl fmt::Display for ChildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("the supervisor has no such child"),
            Self::Running => f.write_str("the child is running"),
            Self::Restarting => f.write_str("the child is being restarted"),
            Self::Start(error) => error.fmt(f),
            Self::NoSupervisor(error) => error.fmt(f),
        }
    }
}

// No `source`: the text tells all of the inner error already, and chains of causes would tell it twice.
impl std::error::Error for ChildError {}

/// What a supervisor is asked: through the methods of [`ServerRef<Supervisor>`](crate::ServerRef).
#[derive(Debug)]
pub struct SupervisorCall(pub(crate) ChildRequest);

#[derive(Debug)]
pub(crate) enum ChildRequest {
    Start(ChildSpec, Caller<Result<Option<Pid>, StartError>>),
    Terminate(ChildId, Caller<Result<(), ChildError>>),
    Restart(ChildId, Caller<Result<Option<Pid>, ChildError>>),
    Delete(ChildId, Caller<Result<(), ChildError>>),
    Which(Caller<Vec<ChildInfo>>),
    Count(Caller<ChildCount>),
    Spec(ChildId, Caller<Result<ChildSpec, ChildError>>),
}

/// What a supervisor tells itself.
#[derive(Debug)]
pub struct SupervisorCast(pub(crate) RetryRestart);

/// A restart that failed is to be tried again.
#[derive(Debug)]
pub(crate) struct RetryRestart {
    pub(crate) id: ChildId,
    pub(crate) retry: u64,
}
