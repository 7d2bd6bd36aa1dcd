//! Watches: waiting for a death from any thread, without a mailbox. User code, takeovers and supervisors
//! wait with these.

use std::sync::Arc;
use std::time::Duration;

use crate::pid::{MonitorRef, Pid};
use crate::process::block::{Block, DeathWatch, Watcher};
use crate::process::link::{enter, leave};
use crate::process::wait::Waiter;
use crate::process::{clock, me, table, zombie};
use crate::reason::ExitReason;
use crate::sync::Mutex;

/// Waits for the end of a process from any thread, without a mailbox. Made by [`watch`].
#[derive(Debug)]
#[must_use = "it waits for nothing before one of its wait methods is called"]
pub struct Watch {
    pid: Pid,
    block: Option<Arc<Block>>,
    id: MonitorRef,
    obituary: Arc<Obituary>,
}

/// Where a death is noted for whoever waits for it: one thread, or several that share a [`Watch`].
#[derive(Debug)]
pub(crate) struct Obituary {
    waiters: Mutex<Vec<Arc<Waiter>>>,
    reason: Mutex<Option<ExitReason>>,
}

impl DeathWatch for Obituary {
    fn died(&self, reason: &ExitReason) {
        *self.reason.lock() = Some(reason.clone());
        let waiters = std::mem::take(&mut *self.waiters.lock());
        for waiter in waiters {
            waiter.wake();
        }
    }
}

impl Obituary {
    fn new() -> Self {
        Self { waiters: Mutex::new(Vec::new()), reason: Mutex::new(None) }
    }

    fn wait(&self, limit: Option<Duration>) -> Option<ExitReason> {
        let mine = me::waiter();
        let mut waiters = self.waiters.lock();
        if !waiters.iter().any(|waiter| Arc::ptr_eq(waiter, &mine)) {
            waiters.push(mine);
        }
        drop(waiters);
        me::wait(limit.map(clock::after), || self.reason.lock().clone())
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
    me::checkpoint();
    watch_block(pid, table::until_links_are_told(pid))
}

pub(crate) fn watch_block(pid: Pid, block: Option<Arc<Block>>) -> Watch {
    let obituary = Arc::new(Obituary::new());
    let id = MonitorRef::fresh();
    match &block {
        Some(block) => enter(block, id, Watcher::Slot(Arc::clone(&obituary) as Arc<dyn DeathWatch>)),
        None => obituary.died(&ExitReason::NoProc),
    }
    Watch { pid, block, id, obituary }
}

impl Watch {
    /// The process that is watched.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Blocks until the process has ended, and says why. In a destructor of a process that is exiting it
    /// blocks too, until the deadline of that exit: do not wait there.
    pub fn wait(&self) -> ExitReason {
        self.obituary.wait(None).unwrap_or(ExitReason::NoProc)
    }

    /// Blocks until the process has ended, at most for `limit`; `None` if it has not.
    pub fn wait_timeout(&self, limit: Duration) -> Option<ExitReason> {
        self.obituary.wait(Some(limit))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(block) = &self.block {
            leave(block, self.id);
        }
    }
}

/// Waits until the thread of a zombie has ended, at most for `limit`. True if it has, or never was one.
pub(crate) fn await_reaping(pid: Pid, limit: Duration) -> bool {
    let obituary = Arc::new(Obituary::new());
    !zombie::await_reaping(pid, Arc::clone(&obituary) as Arc<dyn DeathWatch>)
        || obituary.wait(Some(limit)).is_some()
}
