//! Task bodies: the closure that a task's process runs, and the result slot it fills. Also the callers of a
//! task (Elixir's `$callers`), which a body inherits from its owner. Nothing here starts a process.

use std::cell::RefCell;
use std::sync::Arc;

use crate::child_spec::{Shutdown, StartError};
use crate::pid::Pid;
use crate::process::control::block::ProcessBlock;
use crate::process::control::local;
use crate::process::lifecycle::spawn::Builder;
use crate::process::lifecycle::spawn::MAX_ANCESTORS;
use crate::process::mailbox::inbox::{Inbox, NoMessages};
use crate::process::signals::deliver;
use crate::process::signals::effect::Origin;
use crate::process::signals::link::remove_link;
use crate::reason::ExitReason;
use crate::task::result_slot::ResultSlot;
use crate::unwind::drop_and_log;

/// Returns the result slot of a new task, and a process body that runs `work` and stores its value there.
/// Must be called by the owner, whose callers the task inherits.
pub(crate) fn task_body<M: Send + 'static, T: Send + 'static>(
    work: impl FnOnce(&mut Inbox<M>) -> T + Send + 'static,
) -> (Arc<ResultSlot<T>>, impl FnOnce(&mut Inbox<M>) + Send + 'static) {
    let slot = ResultSlot::new();
    let result_slot = Arc::clone(&slot);
    let body = with_callers(work);
    (slot, move |inbox: &mut Inbox<M>| {
        let value = body(inbox);
        match local::get().filter(|me| me.block.is_exiting()) {
            // The task was killed while it computed and made no runtime call since: discard the value, and
            // exit with the reason of the signal. The signal is masked until the value is dropped: a runtime
            // call in the destructor must not unwind out of it.
            Some(me) => {
                me.with_signals_masked(|| drop_and_log("task result", value));
                me.checkpoint();
            }
            None => result_slot.set_value(value),
        }
    })
}

/// Wraps `work` so that it runs with the calling process, followed by its callers, as its callers.
pub(crate) fn with_callers<M: Send + 'static, T>(
    work: impl FnOnce(&mut Inbox<M>) -> T + Send + 'static,
) -> impl FnOnce(&mut Inbox<M>) -> T + Send + 'static {
    let callers = callers_for_child();
    move |inbox| {
        let _guard = CallersGuard::install(callers);
        work(inbox)
    }
}

/// The type-erased body of a task without an inbox.
pub(crate) type TaskBody = Box<dyn FnOnce(&mut Inbox<NoMessages>) + Send>;

/// A task whose process was started.
pub(crate) struct StartedTask {
    pub(crate) block: Arc<ProcessBlock>,
    /// The owner, if the task is linked to it.
    pub(crate) linked_owner: Option<Arc<ProcessBlock>>,
}

impl StartedTask {
    /// Unlinks the task from its owner and sends it an exit signal.
    pub(crate) fn unlink_and_exit(&self, reason: &ExitReason) {
        // Between these two calls there is no checkpoint. If the owner could exit here, the task would be
        // neither linked nor signaled, and would keep running.
        self.unlink();
        deliver::deliver_exit_signal(&self.block, local::sender_pid(), reason, Origin::Sent);
    }

    /// Unlinks the task from its owner and sends it the exit signal of a shutdown.
    pub(crate) fn unlink_and_shut_down(&self, how: Shutdown) {
        match how {
            Shutdown::BrutalKill => self.unlink_and_exit(&ExitReason::Kill),
            // The task has this time, whatever its own exit timeout is.
            Shutdown::Timeout(timeout) => {
                // No checkpoint in between, as above.
                self.unlink();
                deliver::deliver_shutdown(&self.block, local::sender_pid(), timeout);
            }
            // No longer than its exit timeout: a task that neither traps exits nor makes a runtime call must not
            // block its owner.
            Shutdown::Infinity => self.unlink_and_exit(&ExitReason::Shutdown),
        }
    }

    /// Unlinks the task from its owner.
    pub(crate) fn unlink(&self) {
        if let Some(owner) = &self.linked_owner {
            remove_link(owner, self.block.pid);
        }
    }
}

/// How the tasks of a stream are started: starts a process with these options and this body.
pub(crate) type StartTask = Box<dyn FnMut(Builder, TaskBody) -> Result<StartedTask, StartError>>;

thread_local! {
    static CALLERS: RefCell<Option<Arc<[Pid]>>> = const { RefCell::new(None) };
}

/// Returns the processes on whose behalf this task works, nearest first: its owner, the owner's owner, and so
/// on. Empty outside of tasks. At most the nearest 32.
///
/// The *ancestors* of a process ([`ProcessInfo`](crate::process::ProcessInfo)) are the processes that started
/// it, for a supervised task its supervisor; its callers are the processes that requested the work.
///
/// ```
/// use rethread::process;
/// use rethread::task;
///
/// process::attach(|| {
///     let inner = || task::spawn(task::callers).and_then(|task| Ok(task.join()));
///     let outer = task::spawn(move || (process::current(), inner())).expect("a free thread");
///     let (outer, callers) = outer.join().expect("it returns");
///     let callers = callers.expect("a free thread").expect("it returns");
///     let expected: Option<Vec<_>> = [outer, process::current()].into_iter().collect();
///     assert_eq!(Some(callers), expected);
/// })?;
/// # Ok::<(), process::AttachError>(())
/// ```
pub fn callers() -> Vec<Pid> {
    current_callers().map_or_else(Vec::new, |callers| callers.to_vec())
}

fn current_callers() -> Option<Arc<[Pid]>> {
    // `try_with` fails while the thread-locals of the exiting thread are destroyed; a destructor there has no
    // callers.
    CALLERS.try_with(|cell| cell.borrow().clone()).ok().flatten()
}

/// Returns the callers of a task that the calling thread starts: its own process, then its own callers.
pub(crate) fn callers_for_child() -> Arc<[Pid]> {
    let inherited = current_callers();
    let inherited = inherited.iter().flat_map(|callers| callers.iter().copied());
    // Without a maximum the list would grow without bound in a chain of tasks, each of which starts the next one.
    local::pid().into_iter().chain(inherited).take(MAX_ANCESTORS).collect()
}

/// Makes `callers` return a list while a task body runs. Dropping it clears the list, because the thread may
/// be reused.
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
