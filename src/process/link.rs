//! Links (two-way) and monitors (one-way): who is told of whose death. Called by user code and by births;
//! the telling itself is in `exit`.

use std::fmt;
use std::sync::Arc;

use crate::pid::{MonitorRef, Pid};
use crate::process::block::{Block, Deactivate, Late, Monitoring, Peer, Phase, State, Target, Watcher};
use crate::process::exit::{expect_process, signal, tell};
use crate::process::signal::Origin;
use crate::process::{me, names, table};
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
    let Some(me) = me::get() else {
        return Err(LinkError::NotAProcess);
    };
    me.checkpoint();
    if me.neutral() || me.zombie() {
        return Err(LinkError::Exiting);
    }
    if pid == me.block.pid {
        return Ok(());
    }
    // A link that there is already tells the true reason, also if the other is dead by now and this is to hear of it.
    if me.block.lock().links.contains_key(&pid) {
        return Ok(());
    }
    if table::get(pid).is_some_and(|other| connect(&me.block, &other)) {
        return Ok(());
    }
    let mut state = me.block.lock();
    if !state.trapping {
        return Err(LinkError::NoProc);
    }
    state.links.insert(pid, Peer(Arc::clone(&me.block))); // only so that the answer is not taken for stale
    drop(state);
    signal(&me.block, pid, &ExitReason::NoProc, Origin::Link);
    Ok(())
}

/// Enters a link on both sides; false if the other is dead.
pub(crate) fn connect(mine: &Arc<Block>, other: &Arc<Block>) -> bool {
    enter_link(mine, other, |state| {
        // An old link still stands and will tell the true reason; a new one is answered noproc.
        if !state.links.contains_key(&mine.pid) {
            state.late.push(Late::Link(Peer(Arc::clone(mine))));
        }
    })
}

/// As `connect`, with a process that has not begun. Somebody may have found it by its name and ended it already: the
/// link hears of that as if it had been there before the name.
pub(crate) fn connect_unborn(mine: &Arc<Block>, unborn: &Arc<Block>) -> bool {
    enter_link(mine, unborn, |state| {
        state.links.insert(mine.pid, Peer(Arc::clone(mine)));
    })
}

fn enter_link(mine: &Arc<Block>, other: &Arc<Block>, when_it_exits: impl FnOnce(&mut State)) -> bool {
    mine.lock().links.insert(other.pid, Peer(Arc::clone(other)));
    let mut state = other.lock();
    let alive = match state.phase {
        Phase::Running => {
            state.links.insert(mine.pid, Peer(Arc::clone(mine)));
            true
        }
        Phase::Exiting(_) => {
            when_it_exits(&mut state);
            true
        }
        Phase::Dead(_) => false,
    };
    drop(state);
    if !alive {
        mine.lock().links.remove(&other.pid);
    } else if mine.dead() {
        // The calling thread has just become a zombie's, and its burial did not see this link.
        let reason = match &mine.lock().phase {
            Phase::Exiting(reason) | Phase::Dead(reason) => reason.clone(),
            Phase::Running => ExitReason::NoProc,
        };
        signal(other, mine.pid, &reason, Origin::Link);
    }
    alive
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
    if let Some(me) = me::get() {
        me.checkpoint();
        if !me.zombie() {
            disconnect(&me.block, pid);
        }
    }
}

/// Removes a link on both sides.
pub(crate) fn disconnect(mine: &Arc<Block>, other: Pid) {
    let peer = mine.lock().links.remove(&other);
    if let Some(Peer(other)) = peer {
        let mut state = other.lock();
        state.late.retain(|late| !matches!(late, Late::Link(Peer(peer)) if peer.pid == mine.pid));
        let back = state.links.remove(&mine.pid);
        drop(state);
        drop(back);
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
    monitor_as(table::until_links_are_told(pid), Target::Pid(pid))
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
    monitor_as(names::find(name), Target::Name(name.into()))
}

#[track_caller]
fn monitor_as(other: Option<Arc<Block>>, target: Target) -> MonitorRef {
    let me = expect_process("monitor");
    me.checkpoint();
    let id = MonitorRef::fresh();
    if me.neutral() || me.zombie() {
        return id;
    }
    hold(&me.block, id, other.as_ref(), target, None);
    id
}

/// Enters a monitor on both sides; if there is nobody to monitor, its `Down` comes at once. An alias ends
/// with it.
pub(crate) fn hold(
    mine: &Arc<Block>,
    id: MonitorRef,
    other: Option<&Arc<Block>>,
    target: Target,
    alias: Option<Arc<dyn Deactivate>>,
) {
    let watcher = Watcher::Process { peer: Peer(Arc::clone(mine)), target };
    let peer = Peer(Arc::clone(other.unwrap_or(mine)));
    mine.lock().monitoring.insert(id, Monitoring::Active { peer, alias });
    match other {
        Some(other) => enter(other, id, watcher),
        None => tell(id, watcher, &ExitReason::NoProc),
    }
}

/// As `hold`, with a process that has not begun: see `connect_unborn`.
pub(crate) fn hold_unborn(mine: &Arc<Block>, id: MonitorRef, unborn: &Arc<Block>) {
    let watcher = Watcher::Process { peer: Peer(Arc::clone(mine)), target: Target::Pid(unborn.pid) };
    let active = Monitoring::Active { peer: Peer(Arc::clone(unborn)), alias: None };
    mine.lock().monitoring.insert(id, active);
    await_death(unborn, id, watcher);
}

/// Enters a watcher with the watched process, or tells it at once.
pub(crate) fn enter(other: &Arc<Block>, id: MonitorRef, watcher: Watcher) {
    let mut state = other.lock();
    match state.phase {
        Phase::Running => {
            state.watchers.insert(id, watcher);
        }
        Phase::Dead(_) if state.told_all => {
            drop(state);
            tell(id, watcher, &ExitReason::NoProc);
        }
        Phase::Exiting(_) | Phase::Dead(_) => state.late.push(Late::Watcher(id, watcher)),
    }
}

/// Enters a watcher for whom the process was alive a moment ago, so that "no such process" is no answer: it learns
/// the true reason.
pub(crate) fn await_death(other: &Arc<Block>, id: MonitorRef, watcher: Watcher) {
    let mut state = other.lock();
    match &state.phase {
        Phase::Dead(reason) if state.told_all => {
            let reason = reason.clone();
            drop(state);
            tell(id, watcher, &reason);
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
    remove(monitor, false)
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
    remove(monitor, true)
}

fn remove(monitor: MonitorRef, flush: bool) -> bool {
    let Some(me) = me::get() else {
        return false;
    };
    me.checkpoint();
    let mut state = me.block.lock();
    let found = match state.monitoring.remove(&monitor) {
        Some(Monitoring::Active { peer, alias }) => {
            if let Some(alias) = alias {
                alias.deactivate();
            }
            Some(peer)
        }
        // The mailbox drops a Down whose entry is gone.
        Some(Monitoring::Fired) if flush => {
            me.block.aside.fetch_sub(1, Ordering::Relaxed);
            None
        }
        Some(Monitoring::Fired) => {
            state.monitoring.insert(monitor, Monitoring::Fired);
            None
        }
        None => None,
    };
    drop(state);
    if let Some(Peer(other)) = &found {
        leave(other, monitor);
    }
    found.is_some()
}

/// Takes a watcher off the watched process.
pub(crate) fn leave(other: &Arc<Block>, id: MonitorRef) {
    let mut state = other.lock();
    let watcher = state.watchers.remove(&id);
    state.late.retain(|late| !matches!(late, Late::Watcher(entered, _) if *entered == id));
    drop(state);
    drop(watcher);
}
