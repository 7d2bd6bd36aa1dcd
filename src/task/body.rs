//! A task that is not born yet: its body, and the slot the body answers to. Births are given elsewhere, by the
//! owner itself or by a supervisor.

use std::cell::RefCell;
use std::sync::Arc;

use crate::child_spec::StartError;
use crate::pid::Pid;
use crate::process::control::block::ProcessBlock;
use crate::process::control::local;
use crate::process::lifecycle::spawn::Builder;
use crate::process::mailbox::inbox::Inbox;
use crate::process::signals::effect::Origin;
use crate::process::signals::exit;
use crate::process::signals::link::remove_link;
use crate::reason::ExitReason;
use crate::task::result_slot::ResultSlot;
use crate::unwind::catch_and_log;

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
                me.with_signals_masked(|| {
                    catch_and_log("the destructor of a task's value", move || drop(value))
                });
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
    let callers = callers_for_child();
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
        exit::deliver_exit_signal(&self.block, local::sender_pid(), reason, Origin::Sent);
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

/// A task that starts its successor and ends, again and again, must not hand on an ever longer list.
const MAX_CALLERS: usize = 32;

thread_local! {
    static CALLERS: RefCell<Option<Arc<[Pid]>>> = const { RefCell::new(None) };
}

/// The processes on whose behalf this task works, nearest first: its owner, the owner's owner, and so on. Empty
/// outside of tasks. At most the nearest 32.
///
/// The *ancestors* of a process ([`ProcessInfo`](crate::process::ProcessInfo)) are those that started it, for a
/// supervised task its supervisor; its callers are those that wanted it done.
///
/// ```
/// use rethread::process::{self, Inbox};
/// use rethread::{Task, task};
///
/// process::attach(|inbox: &mut Inbox<()>| {
///     let inner = || Task::spawn(task::callers).and_then(|task| Ok(task.join()));
///     let outer = Task::spawn(move || (process::current(), inner())).expect("a free thread");
///     let (outer, callers) = outer.join().expect("it does not crash");
///     let callers = callers.expect("a free thread").expect("it does not crash");
///     assert_eq!(callers, [outer.expect("a task is a process"), inbox.pid()]);
/// })?;
/// # Ok::<(), process::AttachError>(())
/// ```
pub fn callers() -> Vec<Pid> {
    current().map_or_else(Vec::new, |callers| callers.to_vec())
}

fn current() -> Option<Arc<[Pid]>> {
    // None any more while the thread's own locals are being destroyed.
    CALLERS.try_with(|cell| cell.borrow().clone()).ok().flatten()
}

/// The callers of a task that the calling thread starts now.
pub(crate) fn callers_for_child() -> Arc<[Pid]> {
    let inherited = current();
    let inherited = inherited.iter().flat_map(|callers| callers.iter().copied());
    local::pid().into_iter().chain(inherited).take(MAX_CALLERS).collect()
}

/// The callers of the body that runs while this lives.
pub(crate) struct CallersGuard(());

impl CallersGuard {
    pub(crate) fn install(callers: Arc<[Pid]>) -> Self {
        CALLERS.with(|cell| cell.replace(Some(callers)));
        Self(())
    }
}

impl Drop for CallersGuard {
    fn drop(&mut self) {
        let _ = CALLERS.try_with(|cell| cell.take());
    }
}
