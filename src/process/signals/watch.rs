//! Watches: waiting for a death from any thread, without a mailbox. User code, takeovers and supervisors
//! wait with these.

use std::sync::Arc;
use std::time::Duration;

use crate::pid::{MonitorRef, Pid};
use crate::process::control::block::ExitListener;
use crate::process::control::block::ProcessBlock;
use crate::process::control::block::Watcher;
use crate::process::control::local;
use crate::process::control::table;
use crate::process::observe::zombie;
use crate::process::park::parker::Parker;
use crate::process::park::timer_thread;
use crate::process::signals::link::add_watcher;
use crate::process::signals::link::remove_watcher;
use crate::reason::ExitReason;
use crate::sync::Mutex;

/// Waits for the end of a process from any thread, without a mailbox. Made by [`watch`].
#[derive(Debug)]
#[must_use = "it waits for nothing before one of its wait methods is called"]
pub struct Watch {
    pid: Pid,
    block: Option<Arc<ProcessBlock>>,
    id: MonitorRef,
    exit_slot: Arc<ExitSlot>,
}

/// Where a death is noted for whoever waits for it: one thread, or several that share a [`Watch`].
#[derive(Debug)]
pub(crate) struct ExitSlot {
    waiters: Mutex<Vec<Arc<Parker>>>,
    reason: Mutex<Option<ExitReason>>,
}

impl ExitListener for ExitSlot {
    fn on_exit(&self, reason: &ExitReason) {
        *self.reason.lock() = Some(reason.clone());
        let waiters = std::mem::take(&mut *self.waiters.lock());
        for waiter in waiters {
            waiter.unpark();
        }
    }
}

impl ExitSlot {
    fn new() -> Self {
        Self { waiters: Mutex::new(Vec::new()), reason: Mutex::new(None) }
    }

    fn wait(&self, timeout: Option<Duration>) -> Option<ExitReason> {
        let parker = local::parker();
        let mut waiters = self.waiters.lock();
        if !waiters.iter().any(|waiter| Arc::ptr_eq(waiter, &parker)) {
            waiters.push(parker);
        }
        drop(waiters);
        local::wait(timeout.map(timer_thread::deadline_after), || self.reason.lock().clone())
    }
}

/// Watches a process from any thread: processes and foreign threads alike. The wait is ended by the
/// process' death, with its reason; `NoProc` if it was dead before.
///
/// ```
/// use rethread::{ExitReason, process};
///
/// let child = process::spawn::<()>(|_| ())?;
/// let reason = process::watch(&child).wait();
/// assert!(reason == ExitReason::Normal || reason == ExitReason::NoProc);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn watch(pid: impl Into<Pid>) -> Watch {
    let pid = pid.into();
    local::checkpoint();
    watch_block(pid, table::get_until_notified(pid))
}

pub(crate) fn watch_block(pid: Pid, block: Option<Arc<ProcessBlock>>) -> Watch {
    let exit_slot = Arc::new(ExitSlot::new());
    let id = MonitorRef::next();
    match &block {
        Some(block) => {
            add_watcher(block, id, Watcher::Listener(Arc::clone(&exit_slot) as Arc<dyn ExitListener>))
        }
        None => exit_slot.on_exit(&ExitReason::NoProc),
    }
    Watch { pid, block, id, exit_slot }
}

impl Watch {
    /// The process that is watched.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Blocks until the process has ended, and says why. In a destructor of a process that is exiting it
    /// blocks too, until the deadline of that exit: do not wait there.
    pub fn wait(&self) -> ExitReason {
        self.exit_slot.wait(None).unwrap_or(ExitReason::NoProc)
    }

    /// Blocks until the process has ended, at most for `limit`; `None` if it has not.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<ExitReason> {
        self.exit_slot.wait(Some(timeout))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(block) = &self.block {
            remove_watcher(block, self.id);
        }
    }
}

/// Waits until the thread of a zombie has ended, at most for `limit`. True if it has, or never was one.
pub(crate) fn wait_until_reaped(pid: Pid, timeout: Duration) -> bool {
    let exit_slot = Arc::new(ExitSlot::new());
    !zombie::add_reap_listener(pid, Arc::clone(&exit_slot) as Arc<dyn ExitListener>)
        || exit_slot.wait(Some(timeout)).is_some()
}
