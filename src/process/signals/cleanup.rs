//! The cleanup of a process that exits: releases its resources, and takes the links and monitors to notify out of
//! its block. Sends no signal; `complete_exit` in `deliver.rs` decides the order of these steps.

use std::sync::Arc;

use crate::pid::{MonitorRef, Pid};
use crate::process::control::block::ExitListener;
use crate::process::control::block::Monitoring;
use crate::process::control::block::Peer;
use crate::process::control::block::PendingRequest;
use crate::process::control::block::Phase;
use crate::process::control::block::ProcessBlock;
use crate::process::control::block::ProcessWatcher;
use crate::process::control::block::State;
use crate::process::control::block::Watcher;
use crate::process::names;
use crate::process::park::timer_thread;
use crate::reason::ExitReason;
use crate::unwind::{catch_and_log, drop_and_log};

/// Releases what the process holds: deadline, timers, name, registry keys and locks, exit hooks.
pub(crate) fn release_resources(block: &ProcessBlock) {
    // Take everything out under the lock; release it afterwards, because releasing runs user code and takes
    // other locks.
    let mut state = block.lock();
    let deadline = state.exit_timer.take();
    let timers = std::mem::take(&mut state.timers);
    let hooks = std::mem::take(&mut state.hooks);
    let name = state.name.take();
    let held = std::mem::take(&mut state.held_resources);
    let predecessors = std::mem::take(&mut state.predecessors);
    drop(state);
    // Not empty only if the process exits before its body has started.
    drop(predecessors);
    deadline.map(timer_thread::cancel);
    for timer in timers {
        timer_thread::cancel(timer);
    }
    // The name before the keys: it is released without running user code.
    if let Some(name) = name {
        names::release(&name, block.pid);
    }
    // All locks before any key: the release of a key may run user code that waits for one of these locks.
    for resource in held.values() {
        catch_and_log("the release of a lock", || resource.release_locks());
    }
    for resource in held.into_values() {
        // Consumes the resource, so that a panic of its destructor is caught, too.
        catch_and_log("the release of a key", move || resource.release(block.pid));
    }
    // Hooks that did not run. A hook may own a value with a destructor of the user's.
    for hook in hooks {
        drop_and_log("exit hook", hook);
    }
}

/// The links and monitors to notify after an exit, taken out of the block.
pub(crate) struct ExitNotifications {
    pub(crate) links: Vec<Peer>,
    /// See `State::no_exit_message_to`.
    pub(crate) no_exit_message_to: Option<Pid>,
    pub(crate) watchers: Watchers,
    /// The monitors that the process itself held: to be removed from the monitored processes.
    pub(crate) own_monitors: Vec<(MonitorRef, Peer)>,
}

/// Sets the phase to `Dead` and takes out what is needed for the notifications.
pub(crate) fn set_dead(block: &ProcessBlock, reason: &ExitReason) -> ExitNotifications {
    let mut state = block.lock();
    // Phase and flag change in one critical section: a request that comes after it finds `Dead` and becomes a
    // pending request, one that came before it is taken out below. None is lost.
    state.phase = Phase::Dead(reason.clone());
    block.mark_dead();
    let mut links: Vec<Peer> = std::mem::take(&mut state.links).into_values().collect();
    // The parent first: a process that has received the `Exit` must not find that the supervisor still counts
    // this child as running.
    let parent = block.spawn_info.ancestors.first();
    links.sort_by_key(|Peer(peer)| Some(&peer.pid) != parent);
    let watchers = take_watchers(&mut state);
    ExitNotifications {
        links,
        no_exit_message_to: state.no_exit_message_to.take(),
        watchers,
        own_monitors: std::mem::take(&mut state.monitoring)
            .into_iter()
            .filter_map(|(id, monitoring)| match monitoring {
                Monitoring::Active { peer, .. } => Some((id, peer)),
                Monitoring::Fired => None,
            })
            .collect(),
    }
}

/// The watchers of a process that exits.
pub(crate) struct Watchers {
    /// Processes that get a `Down`.
    pub(crate) monitors: Vec<(MonitorRef, ProcessWatcher)>,
    /// Threads that wait for the exit. They continue last.
    pub(crate) listeners: Vec<Arc<dyn ExitListener>>,
    /// Links and watchers that were added after the exit had begun.
    pub(crate) pending_requests: Vec<PendingRequest>,
}

/// Takes the watchers and the pending requests out of a process.
pub(crate) fn take_watchers(state: &mut State) -> Watchers {
    let (mut monitors, mut listeners) = (Vec::new(), Vec::new());
    for (id, watcher) in std::mem::take(&mut state.watchers) {
        match watcher {
            Watcher::Process(watcher) => monitors.push((id, watcher)),
            Watcher::Listener(listener) => listeners.push(listener),
        }
    }
    Watchers { monitors, listeners, pending_requests: std::mem::take(&mut state.pending_requests) }
}
