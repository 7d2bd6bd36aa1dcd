//! Links (two-way) and monitors (one-way): who is told of whose death. Called by user code and by births;
//! the telling itself is in `exit`.

use std::fmt;
use std::sync::Arc;

use crate::pid::{MonitorRef, Pid};
use crate::process::control::block::Deactivate;
use crate::process::control::block::MonitorTarget;
use crate::process::control::block::Monitoring;
use crate::process::control::block::Peer;
use crate::process::control::block::PendingRequest;
use crate::process::control::block::Phase;
use crate::process::control::block::ProcessBlock;
use crate::process::control::block::State;
use crate::process::control::block::Watcher;
use crate::process::control::local;
use crate::process::control::local::{Exiting, enter_release_call, enter_runtime_call};
use crate::process::control::table;
use crate::process::names;
use crate::process::signals::effect::Origin;
use crate::process::signals::exit::deliver_exit_signal;
use crate::process::signals::exit::expect_process;
use crate::process::signals::exit::notify_and_wake;
use crate::reason::ExitReason;
use crate::sync::atomic::Ordering;

/// Why a link could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkError {
    /// The other process is dead.
    NoProc,
    /// The calling process is exiting.
    Exiting,
    /// The calling thread is not a process.
    NotAProcess,
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoProc => "there is no such process",
            Self::Exiting => "the calling process is exiting",
            Self::NotAProcess => "the calling thread is not a process",
        })
    }
}

impl std::error::Error for LinkError {}

/// Links the calling process with another: when either ends, the other gets an exit signal with the
/// reason. There is at most one link between two processes; linking again, or with oneself, does nothing.
///
/// If the other is dead, a caller that traps exits gets an `Exit` message with `NoProc`.
///
/// # Errors
/// [`LinkError::NoProc`] if the other is dead and the caller does not trap exits (Erlang raises a
/// catchable error there), [`LinkError::Exiting`], [`LinkError::NotAProcess`]. If the other is dying at
/// this moment the link is accepted and answered by an exit signal `NoProc` when it is dead.
///
/// ```
/// use rethread::process::{self, Inbox};
///
/// let other = process::spawn::<()>(|inbox| { inbox.recv(); })?;
/// let ended = process::attach(move |_: &mut Inbox<()>| {
///     process::link(&other).expect("it lives");
///     process::exit(&other, "oops");
///     process::sleep(std::time::Duration::from_secs(5));
/// });
/// assert_eq!(ended.unwrap_err().to_string(), "oops"); // it went down with the other
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn link(pid: impl Into<Pid>) -> Result<(), LinkError> {
    let pid = pid.into();
    let me = enter_runtime_call().map_err(|Exiting| LinkError::Exiting)?.ok_or(LinkError::NotAProcess)?;
    if pid == me.block.pid {
        return Ok(());
    }
    // A link that there is already tells the true reason, also if the other is dead by now and this is yet to hear of it.
    if me.block.lock().links.contains_key(&pid) {
        return Ok(());
    }
    if table::get_until_notified(pid).is_some_and(|other| add_link(&me.block, &other)) {
        return Ok(());
    }
    let mut state = me.block.lock();
    if !state.traps_exits {
        return Err(LinkError::NoProc);
    }
    state.links.insert(pid, Peer(Arc::clone(&me.block))); // only so that the answer is not taken for stale
    drop(state);
    deliver_exit_signal(&me.block, pid, &ExitReason::NoProc, Origin::Link);
    Ok(())
}

/// Enters a link on both sides; false if the other is dead, and all have been told.
pub(crate) fn add_link(block: &Arc<ProcessBlock>, other: &Arc<ProcessBlock>) -> bool {
    insert_link(block, other, |state| {
        if matches!(state.phase, Phase::Dead(_)) && state.links_notified {
            return false;
        }
        // An old link still stands, and tells the true reason before this one is answered noproc.
        state.pending_requests.push(PendingRequest::Link(Peer(Arc::clone(block))));
        true
    })
}

/// As `connect`, with a process that has not begun. Somebody may have found it by its name and ended it already: the
/// link hears of that as if it had been there before the name.
pub(crate) fn add_link_before_start(block: &Arc<ProcessBlock>, child: &Arc<ProcessBlock>) -> bool {
    insert_link(block, child, |state| {
        let exiting = matches!(state.phase, Phase::Exiting(_));
        if exiting {
            state.links.insert(block.pid, Peer(Arc::clone(block)));
        }
        exiting
    })
}

/// `at_its_end` enters it with one whose end is decided, or says that it cannot.
fn insert_link(
    block: &Arc<ProcessBlock>,
    other: &Arc<ProcessBlock>,
    if_exiting: impl FnOnce(&mut State) -> bool,
) -> bool {
    block.lock().links.insert(other.pid, Peer(Arc::clone(other)));
    let mut state = other.lock();
    let linked = match state.phase {
        Phase::Running => {
            state.links.insert(block.pid, Peer(Arc::clone(block)));
            true
        }
        Phase::Exiting(_) | Phase::Dead(_) => if_exiting(&mut state),
    };
    drop(state);
    if !linked {
        block.lock().links.remove(&other.pid);
    } else if block.is_dead() {
        // The calling thread has just become a zombie's, and its burial did not see this link.
        let reason = match &block.lock().phase {
            Phase::Exiting(reason) | Phase::Dead(reason) => reason.clone(),
            Phase::Running => ExitReason::NoProc,
        };
        deliver_exit_signal(other, block.pid, &reason, Origin::Link);
    }
    linked
}

/// Removes the link between the calling process and another, whoever made it. Afterwards no new `Exit`
/// because of that link can arrive; one that is in the mailbox already stays. Does nothing if there is
/// no link.
///
/// ```
/// use rethread::process::{self, Inbox};
///
/// process::attach(|_: &mut Inbox<()>| {
///     let child = process::spawn_link::<()>(|inbox| { inbox.recv(); }).expect("a free thread");
///     process::unlink(&child);
///     process::exit(&child, "oops"); // no longer our concern
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn unlink(pid: impl Into<Pid>) {
    let pid = pid.into();
    if let Ok(Some(me)) = enter_release_call() {
        remove_link(&me.block, pid);
    }
}

/// Removes a link on both sides.
pub(crate) fn remove_link(block: &Arc<ProcessBlock>, other: Pid) {
    let peer = block.lock().links.remove(&other);
    if let Some(Peer(other)) = peer {
        let mut state = other.lock();
        state
            .pending_requests
            .retain(|late| !matches!(late, PendingRequest::Link(Peer(peer)) if peer.pid == block.pid));
        let back_link = state.links.remove(&block.pid);
        drop(state);
        drop(back_link);
    }
}

/// Watches another process one-way: when it ends, this one gets one `Down` message with the reason. Every
/// call makes a monitor of its own. If the process is dead already, `Down` with `NoProc` comes at once.
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
/// process::attach(|inbox: &mut Inbox<()>| {
///     let child = process::spawn::<()>(|_| panic!("boom")).expect("a free thread");
///     let monitor = process::monitor(&child);
///     match inbox.recv() {
///         Event::Down { monitor: fired, reason, .. } => {
///             assert_eq!(fired, monitor);
///             println!("{reason}"); // panic at src/main.rs:5: boom, or noproc if it was faster
///         }
///         _ => unreachable!("nothing else was due"),
///     }
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn monitor(pid: impl Into<Pid>) -> MonitorRef {
    let pid = pid.into();
    monitor_as(table::get_until_notified(pid), MonitorTarget::Pid(pid))
}

/// Watches whoever holds a name now, also if the name moves to another process later. The `Down` names
/// the name; if nobody holds it, it comes at once with `NoProc`.
///
/// # Panics
/// On a thread that is not a process.
///
/// ```
/// use rethread::process::{self, Event, Inbox};
/// use rethread::ExitReason;
///
/// process::attach(|inbox: &mut Inbox<()>| {
///     let _ = process::monitor_name("doc.nobody at all");
///     let Event::Down { reason, .. } = inbox.recv() else { panic!("a down was due") };
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
    if me.enter_runtime_call().is_err() {
        return id;
    }
    add_monitor(&me.block, id, other.as_ref(), target, None);
    id
}

/// Enters a monitor on both sides; if there is nobody to monitor, its `Down` comes at once. An alias ends
/// with it.
pub(crate) fn add_monitor(
    watcher_block: &Arc<ProcessBlock>,
    id: MonitorRef,
    watched: Option<&Arc<ProcessBlock>>,
    target: MonitorTarget,
    alias: Option<Arc<dyn Deactivate>>,
) {
    let watcher = Watcher::Process { peer: Peer(Arc::clone(watcher_block)), target };
    let peer = Peer(Arc::clone(watched.unwrap_or(watcher_block)));
    watcher_block.lock().monitoring.insert(id, Monitoring::Active { peer, alias });
    match watched {
        Some(watched) => add_watcher(watched, id, watcher),
        None => notify_and_wake(id, watcher, &ExitReason::NoProc),
    }
}

/// As `hold`, with a process that has not begun: see `connect_unborn`.
pub(crate) fn add_monitor_before_start(
    watcher_block: &Arc<ProcessBlock>,
    id: MonitorRef,
    child: &Arc<ProcessBlock>,
) {
    let watcher =
        Watcher::Process { peer: Peer(Arc::clone(watcher_block)), target: MonitorTarget::Pid(child.pid) };
    let active = Monitoring::Active { peer: Peer(Arc::clone(child)), alias: None };
    watcher_block.lock().monitoring.insert(id, active);
    watch_exit(child, id, watcher);
}

/// Enters a watcher with the watched process, or tells it at once.
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
        Phase::Exiting(_) | Phase::Dead(_) => {
            state.pending_requests.push(PendingRequest::Watcher(id, watcher))
        }
    }
}

/// Enters a watcher for whom the process was alive a moment ago, so that "no such process" is no answer: it learns
/// the true reason.
pub(crate) fn watch_exit(watched: &Arc<ProcessBlock>, id: MonitorRef, watcher: Watcher) {
    let mut state = watched.lock();
    match &state.phase {
        Phase::Dead(reason) if state.links_notified => {
            let reason = reason.clone();
            drop(state);
            notify_and_wake(id, watcher, &reason);
        }
        Phase::Running | Phase::Exiting(_) | Phase::Dead(_) => {
            state.watchers.insert(id, watcher);
        }
    }
}

/// Removes a monitor of the calling process. A `Down` that is in the mailbox already stays. Returns
/// whether the monitor was still active: if so, no `Down` will ever come. Unknown references, and those
/// of other processes, are ignored.
///
/// ```
/// use rethread::process::{self, Inbox};
///
/// process::attach(|_: &mut Inbox<()>| {
///     let child = process::spawn::<()>(|inbox| { inbox.recv(); }).expect("a free thread");
///     let monitor = process::monitor(&child);
///     assert!(process::demonitor(monitor));
///     assert!(!process::demonitor(monitor));
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn demonitor(monitor: MonitorRef) -> bool {
    remove_monitor(monitor, false)
}

/// As [`demonitor`], and takes the `Down` out of the mailbox if it is there: afterwards none can come.
///
/// ```
/// use rethread::process::{self, Inbox};
///
/// process::attach(|inbox: &mut Inbox<()>| {
///     let child = process::spawn::<()>(|_| ()).expect("a free thread");
///     let monitor = process::monitor(&child);
///     process::demonitor_flush(monitor);
///     assert!(inbox.try_recv().is_none());
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn demonitor_flush(monitor: MonitorRef) -> bool {
    remove_monitor(monitor, true)
}

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
        // The mailbox drops a Down whose entry is gone.
        Some(Monitoring::Fired) if flush => {
            me.block.saved_count.fetch_sub(1, Ordering::Relaxed);
            None
        }
        Some(Monitoring::Fired) => {
            state.monitoring.insert(monitor, Monitoring::Fired);
            None
        }
        None => None,
    };
    drop(state);
    if let Some(Peer(watched)) = &removed {
        remove_watcher(watched, monitor);
    }
    removed.is_some()
}

/// Takes a watcher off the watched process.
pub(crate) fn remove_watcher(watched: &Arc<ProcessBlock>, id: MonitorRef) {
    let mut state = watched.lock();
    let watcher = state.watchers.remove(&id);
    state
        .pending_requests
        .retain(|late| !matches!(late, PendingRequest::Watcher(entered, _) if *entered == id));
    drop(state);
    drop(watcher);
}
