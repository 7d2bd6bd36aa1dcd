//! On whose behalf a task works: Elixir's `$callers`. Every task is started with them; user code asks.

use std::cell::RefCell;
use std::sync::Arc;

use crate::pid::Pid;
use crate::process::control::local;
use crate::process::lifecycle::spawn::MAX_ANCESTORS;

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
    local::pid().into_iter().chain(inherited).take(MAX_ANCESTORS).collect()
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
