//! A task that is not born yet: its body, and the slot the body answers to. Births are given elsewhere, by the
//! owner itself or by a supervisor.

use std::sync::Arc;

use crate::child_spec::StartError;
use crate::process::control::block::ProcessBlock;
use crate::process::control::local;
use crate::process::lifecycle::spawn::Builder;
use crate::process::mailbox::inbox::Inbox;
use crate::process::signals::deliver;
use crate::process::signals::effect::Origin;
use crate::process::signals::link::remove_link;
use crate::reason::ExitReason;
use crate::task::callers::{self, CallersGuard};
use crate::task::result_slot::ResultSlot;
use crate::unwind::drop_and_log;

/// The body of a process that does the work and gives its value to the slot. To be called by the owner, whose
/// callers the task inherits.
pub(crate) fn task_body<M: Send + 'static, T: Send + 'static>(
    work: impl FnOnce(&mut Inbox<M>) -> T + Send + 'static,
) -> (Arc<ResultSlot<T>>, impl FnOnce(&mut Inbox<M>) + Send + 'static) {
    let slot = ResultSlot::new();
    let result_slot = Arc::clone(&slot);
    let body = with_callers(work);
    (slot, move |inbox: &mut Inbox<M>| {
        let value = body(inbox);
        match local::get().filter(|me| me.block.is_exiting()) {
            // It was told to go while it worked and did not hear: a value from beyond the grave is none.
            Some(me) => {
                me.with_signals_masked(|| drop_and_log("task result", value));
                me.checkpoint();
            }
            None => result_slot.set_value(value),
        }
    })
}

/// The work, done with the calling thread and its callers as callers.
pub(crate) fn with_callers<M: Send + 'static, T>(
    work: impl FnOnce(&mut Inbox<M>) -> T + Send + 'static,
) -> impl FnOnce(&mut Inbox<M>) -> T + Send + 'static {
    let callers = callers::callers_for_child();
    move |inbox| {
        let _guard = CallersGuard::install(callers);
        work(inbox)
    }
}

/// A body whoever starts it need not know the type of.
pub(crate) type TaskBody = Box<dyn FnOnce(&mut Inbox<()>) + Send>;

/// A task that was born.
pub(crate) struct StartedTask {
    pub(crate) block: Arc<ProcessBlock>,
    /// Its owner, if they are linked.
    pub(crate) linked_owner: Option<Arc<ProcessBlock>>,
}

impl StartedTask {
    /// Unlinks it from its owner and sends it an exit signal, with nothing in between that could end the owner
    /// and leave the task alone.
    pub(crate) fn unlink_and_exit(&self, reason: &ExitReason) {
        self.unlink();
        deliver::deliver_exit_signal(&self.block, local::sender_pid(), reason, Origin::Sent);
    }

    /// Unlinks it from its owner.
    pub(crate) fn unlink(&self) {
        if let Some(owner) = &self.linked_owner {
            remove_link(owner, self.block.pid);
        }
    }
}

/// How the tasks of a stream are started: gives birth, by this plan, to a process with this body.
pub(crate) type StartTask = Box<dyn FnMut(Builder, TaskBody) -> Result<StartedTask, StartError>>;
