//! A task that a supervisor was asked for: its body until it begins, itself until somebody holds it. `builder`
//! places it; whoever stops asking takes it back.

use std::sync::Arc;

use crate::child_spec::StartError;
use crate::process::control::block::ProcessBlock;
use crate::reason::ExitReason;
use crate::sync::Mutex;
use crate::task::body::StartedTask;
use crate::task::body::TaskBody;
use crate::unwind::drop_and_log;

/// A task that a supervisor was asked for.
pub(crate) struct TaskRequest {
    /// Its owner, if they are to be linked.
    linked: Option<Arc<ProcessBlock>>,
    state: Mutex<RequestState>,
}

enum RequestState {
    Pending(TaskBody),
    Starting,
    /// It may be over before the supervisor's answer is here; its block still knows the true reason.
    Started(Arc<ProcessBlock>),
    Cancelled,
}

impl TaskRequest {
    pub(crate) fn new(linked: Option<Arc<ProcessBlock>>, body: TaskBody) -> Arc<Self> {
        Arc::new(Self { linked, state: Mutex::new(RequestState::Pending(body)) })
    }

    /// The body, once.
    pub(crate) fn take_body(&self) -> Option<TaskBody> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, RequestState::Starting) {
            RequestState::Pending(body) => Some(body),
            other => {
                *state = other;
                None
            }
        }
    }

    pub(crate) fn set_started(&self, block: &Arc<ProcessBlock>) {
        let mut state = self.state.lock();
        if matches!(*state, RequestState::Cancelled) {
            drop(state);
            self.kill(block);
        } else {
            *state = RequestState::Started(Arc::clone(block));
        }
    }

    pub(crate) fn started(&self) -> Result<StartedTask, StartError> {
        match &*self.state.lock() {
            RequestState::Started(block) => {
                Ok(StartedTask { block: Arc::clone(block), linked_owner: self.linked.clone() })
            }
            _ => Err(StartError::Failed(ExitReason::NoProc)),
        }
    }

    fn cancel(&self) {
        let previous = std::mem::replace(&mut *self.state.lock(), RequestState::Cancelled);
        match previous {
            RequestState::Pending(body) => drop_and_log("function of a task that never started", body),
            RequestState::Started(block) => self.kill(&block),
            RequestState::Starting | RequestState::Cancelled => {}
        }
    }

    fn kill(&self, block: &Arc<ProcessBlock>) {
        let started = StartedTask { block: Arc::clone(block), linked_owner: self.linked.clone() };
        started.unlink_and_exit(&ExitReason::Kill);
    }
}

/// Nobody holds the task that was ordered, as long as this lives.
pub(crate) struct CancelOnDrop<'a>(pub(crate) &'a TaskRequest);

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
