//! A task that is not born yet: its body, and the slot the body answers to. Births are given elsewhere, by the
//! owner itself or by a supervisor.

use std::sync::Arc;

use crate::child_spec::StartError;
use crate::process::block::Block;
use crate::process::inbox::Inbox;
use crate::process::link::disconnect;
use crate::process::signal::Origin;
use crate::process::spawn::Builder;
use crate::process::{exit, me};
use crate::reason::ExitReason;
use crate::task::callers::{self, Inherited};
use crate::task::slot::Slot;
use crate::unwind::contain;

/// The body of a process that does the work and gives its value to the slot. To be called by the owner, whose
/// callers the task inherits.
pub(crate) fn prepare<M: Send + 'static, T: Send + 'static>(
    work: impl FnOnce(&mut Inbox<M>) -> T + Send + 'static,
) -> (Arc<Slot<T>>, impl FnOnce(&mut Inbox<M>) + Send + 'static) {
    let slot = Slot::new();
    let answer = Arc::clone(&slot);
    let body = on_behalf(work);
    (slot, move |inbox: &mut Inbox<M>| {
        let value = body(inbox);
        match me::get().filter(|me| me.block.doomed()) {
            // It was told to go while it worked and did not hear: a value from beyond the grave is none.
            Some(me) => {
                me.quietly(|| contain("the destructor of a task's value", move || drop(value)));
                me.checkpoint();
            }
            None => answer.give(value),
        }
    })
}

/// The work, done with the calling thread and its callers as callers.
pub(crate) fn on_behalf<M: Send + 'static, T>(
    work: impl FnOnce(&mut Inbox<M>) -> T + Send + 'static,
) -> impl FnOnce(&mut Inbox<M>) -> T + Send + 'static {
    let callers = callers::with_this_one();
    move |inbox| {
        let _inherited = Inherited::from(callers);
        work(inbox)
    }
}

/// A body whoever starts it need not know the type of.
pub(crate) type Body = Box<dyn FnOnce(&mut Inbox<()>) + Send>;

/// A task that was born.
pub(crate) struct Born {
    pub(crate) block: Arc<Block>,
    /// Its owner, if they are linked.
    pub(crate) linked: Option<Arc<Block>>,
}

impl Born {
    /// Unlinks it from its owner and sends it an exit signal, with nothing in between that could end the owner
    /// and leave the task alone.
    pub(crate) fn cut_off(&self, reason: &ExitReason) {
        self.unlink();
        exit::signal(&self.block, me::identity(), reason, Origin::Sent);
    }

    /// Unlinks it from its owner.
    pub(crate) fn unlink(&self) {
        if let Some(owner) = &self.linked {
            disconnect(owner, self.block.pid);
        }
    }
}

/// How the tasks of a stream are started: gives birth, by this plan, to a process with this body.
pub(crate) type Start = Box<dyn FnMut(Builder, Body) -> Result<Born, StartError>>;
