//! Monitors: one-way notifications of an exit. A process gets a `Down` message; with a [`Watch`] any thread can
//! wait, without a mailbox.
//!
//! A monitor has an entry in the block of its owner (`monitoring`) and one in the block of the monitored
//! process (`watchers`). A function here locks one block after the other, never both at once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::pid::{MonitorRef, Pid};
use crate::process::control::block::Deactivate;
use crate::process::control::block::ExitListener;
use crate::process::control::block::MonitorTarget;
use crate::process::control::block::Monitoring;
use crate::process::control::block::Peer;
use crate::process::control::block::PendingRequest;
use crate::process::control::block::Phase;
use crate::process::control::block::ProcessBlock;
use crate::process::control::block::ProcessWatcher;
use crate::process::control::block::Watcher;
use crate::process::control::local;
use crate::process::control::table;
use crate::process::names;
use crate::process::observe::zombie;
use crate::process::park::parker::Parker;
use crate::process::park::timer_thread;
use crate::process::signals::deliver::notify_and_wake;
use crate::process::signals::exit::expect_process;
use crate::reason::ExitReason;
use crate::sync::Mutex;
use crate::sync::atomic::Ordering;

/// Monitors another process: when it exits, the caller gets one `Down` message with the reason. Every
/// call makes a monitor of its own. If the process has exited already, `Down` with `NoProc` is sent at once.
/// Monitoring oneself is allowed and never fires.
///
/// In a destructor of an exiting process nothing is monitored and the reference never fires.
///
/// # Panics
/// On a thread that is not a process, which has no mailbox for the `Down`: use [`watch`](crate::process::watch) there.
///
/// ```
/// use rethread::process::{self, Event, Inbox};
///
/// process::attach_receiver(|inbox: &mut Inbox<()>| {
///     let child = process::spawn(|| panic!("boom")).expect("a free thread");
///     let monitor = process::monitor(child);
///     match inbox.recv() {
///         Event::Down { monitor: fired, reason, .. } => {
///             assert_eq!(fired, monitor);
///             println!("{reason}"); // panic at src/main.rs:5: boom, or noproc if it was faster
///         }
///         other => panic!("expected a Down, received {other:?}"),
///     }
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn monitor(pid: impl Into<Pid>) -> MonitorRef {
    let pid = pid.into();
    monitor_as(table::get_until_notified(pid), MonitorTarget::Pid(pid))
}

/// Monitors the process that holds a name now, also if the name moves to another process later. The `Down`
/// contains the name; if no process holds it, the `Down` is sent at once with `NoProc`.
///
/// # Panics
/// On a thread that is not a process.
///
/// ```
/// use rethread::process::{self, Event, Inbox};
/// use rethread::ExitReason;
///
/// process::attach_receiver(|inbox: &mut Inbox<()>| {
///     let _ = process::monitor_name("doc.unregistered");
///     let Event::Down { reason, .. } = inbox.recv() else { panic!("expected a Down") };
///     assert_eq!(reason, ExitReason::NoProc);
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn monitor_name(name: &str) -> MonitorRef {
    monitor_as(names::lookup(name), MonitorTarget::Name(name.into()))
}

#[track_caller]
fn monitor_as(other: Option<Arc<ProcessBlock>>, target: MonitorTarget) -> MonitorRef {
    let me = expect_process("monitor");
    let id = MonitorRef::next();
    // Refused while exiting: the cleanup of this process may be over already, and would not remove a monitor added now.
    if me.enter_runtime_call().is_err() {
        return id;
    }
    add_monitor(&me.block, id, other.as_ref(), target, None);
    id
}

/// Adds a monitor on both sides; if there is no process to monitor, the `Down` is sent at once. `alias` is
/// deactivated together with the monitor.
pub(crate) fn add_monitor(
    watcher_block: &Arc<ProcessBlock>,
    id: MonitorRef,
    watched: Option<&Arc<ProcessBlock>>,
    target: MonitorTarget,
    alias: Option<Arc<dyn Deactivate>>,
) {
    let watcher = Watcher::Process(ProcessWatcher { peer: Peer(Arc::clone(watcher_block)), target });
    let peer = Peer(Arc::clone(watched.unwrap_or(watcher_block)));
    // The own side first: as soon as the other side has the monitor it may fire, and a `Down` without an entry
    // on this side is not delivered.
    watcher_block.lock().monitoring.insert(id, Monitoring::Active { peer, alias });
    match watched {
        Some(watched) => add_watcher(watched, id, watcher),
        None => notify_and_wake(id, watcher, &ExitReason::NoProc),
    }
}

/// Adds a monitor of a process that has not started yet. Its `Down` has the real reason even if another thread
/// has found the process by its name and ended it already.
pub(crate) fn add_monitor_before_start(
    watcher_block: &Arc<ProcessBlock>,
    id: MonitorRef,
    child: &Arc<ProcessBlock>,
) {
    let target = MonitorTarget::Pid(child.pid);
    let watcher = Watcher::Process(ProcessWatcher { peer: Peer(Arc::clone(watcher_block)), target });
    let active = Monitoring::Active { peer: Peer(Arc::clone(child)), alias: None };
    watcher_block.lock().monitoring.insert(id, active);
    watch_exit(child, id, watcher);
}

/// Adds a watcher to a process. If the process is exiting, the watcher is notified with `NoProc` after the
/// others; if it has exited, at once.
pub(crate) fn add_watcher(watched: &Arc<ProcessBlock>, id: MonitorRef, watcher: Watcher) {
    let mut state = watched.lock();
    match state.phase {
        Phase::Running => {
            state.watchers.insert(id, watcher);
        }
        Phase::Dead(_) if state.links_notified => {
            drop(state);
            notify_and_wake(id, watcher, &ExitReason::NoProc);
        }
        // Not at once: no thread may know of an exit before the links and monitors that were set before it.
        Phase::Exiting(_) | Phase::Dead(_) => {
            state.pending_requests.push(PendingRequest::Watcher(id, watcher))
        }
    }
}

/// Adds a watcher that has to learn the real exit reason, because the process was running when the operation
/// began: `NoProc` would be a wrong answer.
pub(crate) fn watch_exit(watched: &Arc<ProcessBlock>, id: MonitorRef, watcher: Watcher) {
    let mut state = watched.lock();
    match &state.phase {
        Phase::Dead(reason) if state.links_notified => {
            let reason = reason.clone();
            drop(state);
            notify_and_wake(id, watcher, &reason);
        }
        // `answer_late_requests` takes watchers out that are added in phase `Dead`.
        Phase::Running | Phase::Exiting(_) | Phase::Dead(_) => {
            state.watchers.insert(id, watcher);
        }
    }
}

/// Removes a monitor of the calling process. A `Down` that is in the mailbox already stays. Returns `true` if
/// the monitor was still active: then no `Down` will ever arrive. Unknown references, and those of other
/// processes, are ignored.
///
/// ```
/// use std::time::Duration;
/// use rethread::process;
///
/// process::attach(|| {
///     let child = process::spawn(|| process::sleep(Duration::MAX)).expect("a free thread");
///     let monitor = process::monitor(child);
///     assert!(process::demonitor(monitor));
///     assert!(!process::demonitor(monitor));
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn demonitor(monitor: MonitorRef) -> bool {
    remove_monitor(monitor, false)
}

/// Removes a monitor of the calling process like [`demonitor`], and removes its `Down` from the mailbox if it
/// is there: afterwards none can be received. Returns `true` if the monitor was still active. Unknown
/// references, and those of other processes, are ignored.
///
/// ```
/// use rethread::process::{self, Inbox};
///
/// process::attach_receiver(|inbox: &mut Inbox<()>| {
///     let child = process::spawn(|| ()).expect("a free thread");
///     let monitor = process::monitor(child);
///     process::demonitor_flush(monitor);
///     assert!(inbox.try_recv().is_none());
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn demonitor_flush(monitor: MonitorRef) -> bool {
    remove_monitor(monitor, true)
}

/// Removes a monitor of the calling process, and with `flush` its `Down`. Returns `true` if it was still active.
fn remove_monitor(monitor: MonitorRef, flush: bool) -> bool {
    let Some(me) = local::get() else {
        return false;
    };
    me.checkpoint();
    let mut state = me.block.lock();
    let removed = match state.monitoring.remove(&monitor) {
        Some(Monitoring::Active { peer, alias }) => {
            if let Some(alias) = alias {
                alias.deactivate();
            }
            Some(peer)
        }
        // The `Down` stays in the queue, but the inbox drops a `Down` that has no entry. Until then it must not
        // count as a message.
        Some(Monitoring::Fired) if flush => {
            me.block.saved_count.fetch_sub(1, Ordering::Relaxed);
            None
        }
        // Put the entry back: without it the inbox would drop the `Down`.
        Some(Monitoring::Fired) => {
            state.monitoring.insert(monitor, Monitoring::Fired);
            None
        }
        None => None,
    };
    drop(state);
    // Without the lock of this process: the other block is locked next.
    if let Some(Peer(watched)) = &removed {
        remove_watcher(watched, monitor);
    }
    removed.is_some()
}

/// Removes a watcher from the watched process.
pub(crate) fn remove_watcher(watched: &Arc<ProcessBlock>, id: MonitorRef) {
    let mut state = watched.lock();
    let watcher = state.watchers.remove(&id);
    // A watcher of an exiting process waits there as a request.
    state
        .pending_requests
        .retain(|request| !matches!(request, PendingRequest::Watcher(entered, _) if *entered == id));
    drop(state);
    // After unlocking: a listener may be the last reference to a value of the user's.
    drop(watcher);
}

/// Waits for the exit of a process from any thread, without a mailbox. Made by [`watch`].
#[must_use = "it waits for nothing before one of its wait methods is called"]
pub struct Watch {
    pid: Option<Pid>,
    block: Option<Arc<ProcessBlock>>,
    id: MonitorRef,
    exit_slot: Arc<ExitSlot>,
}

/// The exit reason of one watched process, once there is one, and the threads that wait for it: several threads
/// may share a [`Watch`].
#[derive(Debug)]
pub(crate) struct ExitSlot {
    waiters: Mutex<Vec<Arc<Parker>>>,
    reason: Mutex<Option<ExitReason>>,
}

impl ExitListener for ExitSlot {
    fn record_exit(&self, reason: &ExitReason) {
        *self.reason.lock() = Some(reason.clone());
    }

    fn wake(&self) {
        // A thread that registers after the waiters are taken out finds the reason.
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

    /// Waits for the reason; returns `None` after the timeout. With a process, the reason of its exit is seen only when
    /// all its links and monitors have been notified.
    fn wait(&self, timeout: Option<Duration>, watched: Option<&ProcessBlock>) -> Option<ExitReason> {
        // Register before the first look at the reason, otherwise `wake` could come in between and wake no thread.
        // After a timeout the parker stays registered: waking it for nothing is harmless.
        let parker = local::parker();
        let mut waiters = self.waiters.lock();
        if !waiters.iter().any(|waiter| Arc::ptr_eq(waiter, &parker)) {
            waiters.push(parker);
        }
        drop(waiters);
        local::wait(timeout.map(timer_thread::deadline_after), || {
            if watched.is_none_or(ProcessBlock::is_notified) { self.reason.lock().clone() } else { None }
        })
    }
}

/// Watches a process from any thread: a process or a foreign thread. A wait returns when the process has exited,
/// with its reason, or with `NoProc` if it had exited before.
///
/// ```
/// use rethread::ExitReason;
/// use rethread::process;
///
/// let child = process::spawn(|| ())?;
/// let reason = process::watch(child).wait();
/// assert!(reason == ExitReason::Normal || reason == ExitReason::NoProc);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn watch(pid: impl Into<Pid>) -> Watch {
    let pid = pid.into();
    local::checkpoint();
    new_watch(Some(pid), table::get_until_notified(pid))
}

/// Watches the process that a name or key has led to; with `None`, there was none, and each wait returns `NoProc`.
pub(crate) fn watch_holder(pid: Option<Pid>) -> Watch {
    local::checkpoint();
    new_watch(pid, pid.and_then(table::get_until_notified))
}

/// Watches a process by its block.
pub(crate) fn watch_block(block: Arc<ProcessBlock>) -> Watch {
    new_watch(Some(block.pid), Some(block))
}

/// Creates a watch; without a block, the process has exited.
fn new_watch(pid: Option<Pid>, block: Option<Arc<ProcessBlock>>) -> Watch {
    let exit_slot = Arc::new(ExitSlot::new());
    let id = MonitorRef::next();
    match &block {
        Some(block) => {
            add_watcher(block, id, Watcher::Listener(Arc::clone(&exit_slot) as Arc<dyn ExitListener>))
        }
        None => exit_slot.record_exit(&ExitReason::NoProc),
    }
    Watch { pid, block, id, exit_slot }
}

impl Watch {
    /// Returns the pid of the watched process; `None` if the handle or name that was to be watched had no process.
    ///
    /// ```
    /// use rethread::ExitReason;
    /// use rethread::process::{self, Name};
    ///
    /// let child = process::spawn(|| ())?;
    /// assert_eq!(process::watch(child).pid(), Some(child));
    ///
    /// let watch = Name::<()>::new("doc.unregistered").watch();
    /// assert_eq!((watch.pid(), watch.wait()), (None, ExitReason::NoProc));
    /// # Ok::<(), process::SpawnError>(())
    /// ```
    pub fn pid(&self) -> Option<Pid> {
        self.pid
    }

    /// Blocks until the process has exited, and returns the reason. In a destructor of an exiting process no exit
    /// signal interrupts the wait; if it lasts beyond the exit deadline, the process becomes a zombie. Do not wait
    /// there.
    pub fn wait(&self) -> ExitReason {
        self.exit_slot.wait(None, self.block.as_deref()).unwrap_or(ExitReason::NoProc)
    }

    /// Blocks until the process has exited, at most for `timeout`; returns `None` if it has not exited by then.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<ExitReason> {
        self.exit_slot.wait(Some(timeout), self.block.as_deref())
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "Watch({pid})"),
            None => f.write_str("Watch(noproc)"),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(block) = &self.block {
            remove_watcher(block, self.id);
        }
    }
}

/// Waits until the thread of a zombie has ended, at most for `timeout`. Returns `true` if it has, or if the
/// process is no zombie.
pub(crate) fn wait_until_reaped(pid: Pid, timeout: Duration) -> bool {
    let exit_slot = Arc::new(ExitSlot::new());
    !zombie::add_reap_listener(pid, Arc::clone(&exit_slot) as Arc<dyn ExitListener>)
        || exit_slot.wait(Some(timeout), None).is_some()
}
