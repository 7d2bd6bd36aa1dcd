//! Links: two processes of which each gets an exit signal when the other exits.
//!
//! Both blocks have an entry for a link. A function here locks one block after the other, never both at once,
//! so the other process may exit in between; comments say which step handles that.

use std::sync::Arc;

use crate::pid::Pid;
use crate::process::control::block::Peer;
use crate::process::control::block::PendingRequest;
use crate::process::control::block::Phase;
use crate::process::control::block::ProcessBlock;
use crate::process::control::block::State;
use crate::process::control::local::{Exiting, enter_release_call, enter_runtime_call};
use crate::process::control::table;
use crate::process::error::LinkError;
use crate::process::signals::deliver::deliver_exit_signal;
use crate::process::signals::effect::Origin;
use crate::reason::ExitReason;

/// Links the calling process with another: when either exits, the other gets an exit signal with the
/// reason. There is at most one link between two processes; linking again, or with oneself, does nothing.
///
/// If the other process has exited, a caller that traps exits gets an `Exit` message with `NoProc`.
///
/// # Errors
/// [`LinkError::NoProc`] if the other process has exited and the caller does not trap exits (Erlang raises a
/// catchable error there), [`LinkError::Exiting`], [`LinkError::NotAProcess`]. If the other process is exiting
/// at this moment, the link is accepted and answered by an exit signal `NoProc` after that exit.
///
/// ```
/// use std::time::Duration;
/// use rethread::process;
///
/// let other = process::spawn(|| process::sleep(Duration::MAX))?;
/// let ended = process::attach(|| {
///     process::link(other).expect("it is running");
///     process::exit(other, "oops");
///     process::sleep(Duration::from_secs(5));
/// });
/// assert_eq!(ended.unwrap_err().to_string(), "oops"); // it exited with the other process
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn link(pid: impl Into<Pid>) -> Result<(), LinkError> {
    let pid = pid.into();
    // Refused while exiting: the cleanup of this process may be over already, and would not notify a link added now.
    let me = enter_runtime_call().map_err(|Exiting| LinkError::Exiting)?.ok_or(LinkError::NotAProcess)?;
    if pid == me.block.pid {
        return Ok(());
    }
    // Already linked: the existing link delivers the real exit reason, even if the other process has exited and
    // its signal is still on its way.
    if me.block.lock().links.contains_key(&pid) {
        return Ok(());
    }
    if table::get_until_notified(pid).is_some_and(|other| add_link(&me.block, &other)) {
        return Ok(());
    }
    // No such process.
    let mut state = me.block.lock();
    if !state.traps_exits {
        return Err(LinkError::NoProc);
    }
    // `deliver_exit_signal` ignores signals from processes that are not linked, so add a link for it to remove.
    state.links.insert(pid, Peer(Arc::clone(&me.block)));
    drop(state);
    deliver_exit_signal(&me.block, pid, &ExitReason::NoProc, Origin::Link);
    Ok(())
}

/// Adds a link on both sides; returns `false` if the other process has exited and its links and monitors have
/// been notified.
pub(crate) fn add_link(block: &Arc<ProcessBlock>, other: &Arc<ProcessBlock>) -> bool {
    insert_link(block, other, |state| {
        if matches!(state.phase, Phase::Dead(_)) && state.links_notified {
            return false;
        }
        // As a pending request, not as a link: `links` may already have an entry for this process, which must
        // still deliver the real reason before this request is answered with `NoProc`.
        state.pending_requests.push(PendingRequest::Link(Peer(Arc::clone(block))));
        true
    })
}

/// Adds a link to a process that has not started yet; returns `false` if its cleanup has taken the links out.
///
/// Another thread may have found the process by its name and ended it already. While it is exiting the link
/// still delivers the real reason, as if it had been added before the name was registered.
pub(crate) fn add_link_before_start(block: &Arc<ProcessBlock>, child: &Arc<ProcessBlock>) -> bool {
    insert_link(block, child, |state| {
        let exiting = matches!(state.phase, Phase::Exiting(_));
        if exiting {
            state.links.insert(block.pid, Peer(Arc::clone(block)));
        }
        exiting
    })
}

/// Adds a link on both sides. If the other process is exiting or has exited, `if_exiting` decides about its
/// side, and returns `false` to refuse the link.
fn insert_link(
    block: &Arc<ProcessBlock>,
    other: &Arc<ProcessBlock>,
    if_exiting: impl FnOnce(&mut State) -> bool,
) -> bool {
    // The own side first: as soon as the other side has the link, its exit signal may arrive, and a signal
    // without a link on this side is ignored.
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
        // `block` has exited in the meantime (as a zombie, or as the owner of a task that another process starts):
        // its cleanup took its links out before `other` had its side, so nothing else will notify `other`.
        let reason = block.exit_reason().unwrap_or(ExitReason::NoProc);
        deliver_exit_signal(other, block.pid, &reason, Origin::Link);
    }
    linked
}

/// Removes the link between the calling process and another, no matter which of them made it. Afterwards no
/// new `Exit` because of that link can arrive; one that is in the mailbox already stays. Does nothing if there
/// is no link.
///
/// ```
/// use std::time::Duration;
/// use rethread::process;
///
/// process::attach(|| {
///     let child = process::spawn_link(|| process::sleep(Duration::MAX)).expect("a free thread");
///     process::unlink(child);
///     process::exit(child, "oops"); // does not concern this process any more
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
    // The own side first: from here on `deliver_exit_signal` ignores a signal that is on its way.
    let peer = block.lock().links.remove(&other);
    if let Some(Peer(other)) = peer {
        let mut state = other.lock();
        // A link to an exiting process waits there as a request.
        state
            .pending_requests
            .retain(|request| !matches!(request, PendingRequest::Link(Peer(peer)) if peer.pid == block.pid));
        let back_link = state.links.remove(&block.pid);
        drop(state);
        // After unlocking: this may be the last reference to a block.
        drop(back_link);
    }
}
