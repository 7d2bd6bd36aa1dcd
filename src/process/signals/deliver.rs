//! Delivery of exit signals, the deadlines of an exit, and the exit itself up to the last notification.
//! `README.md` describes the steps and their order.
//!
//! Invariant: never holds the locks of two processes at once, and runs no user code under a lock.

use std::sync::Arc;
use std::time::Duration;

use crate::pid::{MonitorRef, Pid, TimerRef};
use crate::process::control::block::Monitoring;
use crate::process::control::block::Peer;
use crate::process::control::block::PendingRequest;
use crate::process::control::block::Phase;
use crate::process::control::block::ProcessBlock;
use crate::process::control::block::State;
use crate::process::control::block::SystemMessage;
use crate::process::control::block::Watcher;
use crate::process::control::local;
use crate::process::control::table;
use crate::process::observe::events;
use crate::process::observe::events::ProcessEventKind;
use crate::process::observe::zombie;
use crate::process::park::timer_thread;
use crate::process::signals::cleanup::ExitNotifications;
use crate::process::signals::cleanup::release_resources;
use crate::process::signals::cleanup::set_dead;
use crate::process::signals::effect::Origin;
use crate::process::signals::effect::SignalEffect;
use crate::process::signals::effect::effect;
use crate::reason::ExitReason;
use crate::sync::{MutexGuard, thread};
use crate::unwind::{AbortIfPanic, catch_and_log};

/// Delivers an exit signal: ignores it, puts it into the mailbox, or begins the exit of the receiver.
pub(crate) fn deliver_exit_signal(to: &Arc<ProcessBlock>, from: Pid, reason: &ExitReason, origin: Origin) {
    deliver_with_timeout(to, from, reason, origin, Duration::ZERO);
}

/// Delivers the exit signal `Shutdown` to a process that is stopped, which has at least `timeout` to exit.
pub(crate) fn deliver_shutdown(to: &Arc<ProcessBlock>, from: Pid, timeout: Duration) {
    // The sender kills the process when the shutdown time is over, and the kill has its own grace. The
    // deadline is needed in case the sender itself is killed before.
    let min_timeout = timeout.saturating_add(to.spawn_info.kill_grace);
    deliver_with_timeout(to, from, &ExitReason::Shutdown, Origin::Sent, min_timeout);
}

/// Delivers an exit signal. Unless it is a kill, the receiver has `min_timeout` to exit, or its exit timeout
/// if that is longer.
fn deliver_with_timeout(
    to: &Arc<ProcessBlock>,
    from: Pid,
    reason: &ExitReason,
    origin: Origin,
    min_timeout: Duration,
) {
    // Only a `Kill` that was sent is special. `Killed`, and a `Kill` that comes through a link, are reasons like any
    // other.
    let is_kill = origin != Origin::Link && *reason == ExitReason::Kill;
    let mut state = to.lock();
    // The receiver may have unlinked between the exit of `from` and here. After `unlink` has returned, no
    // signal through that link may arrive.
    if origin == Origin::Link && state.links.remove(&from).is_none() {
        return;
    }
    match state.phase {
        Phase::Running => {}
        // A kill cannot change the reason of an exit that has begun, but it shortens the time for it.
        Phase::Exiting(_) if is_kill => return shorten_deadline(to, state),
        Phase::Exiting(_) | Phase::Dead(_) => return,
    }
    match effect(reason, origin, state.traps_exits) {
        SignalEffect::Ignore => {}
        SignalEffect::Deliver => {
            // Under the lock: after `unlink` has returned, nothing may be added to the mailbox.
            to.mailbox.push_system(SystemMessage::Exit { from, reason: reason.clone() });
            drop(state);
            to.parker.unpark();
        }
        SignalEffect::Exit(exit_reason) => {
            let info = &to.spawn_info;
            let timeout = if is_kill { info.kill_grace } else { info.exit_timeout.max(min_timeout) };
            begin_exit(to, state, exit_reason, timeout);
        }
    }
}

/// Delivers the exit signal of a link if it ends the peer; otherwise changes nothing.
fn exit_by_link(peer: &Arc<ProcessBlock>, exited: Pid, reason: &ExitReason) {
    let mut state = peer.lock();
    if !matches!(state.phase, Phase::Running) || !state.links.contains_key(&exited) {
        return;
    }
    if let SignalEffect::Exit(reason) = effect(reason, Origin::Link, state.traps_exits) {
        state.links.remove(&exited);
        let timeout = peer.spawn_info.exit_timeout;
        begin_exit(peer, state, reason, timeout);
    }
}

/// Begins the exit of a running process because of a signal. From here on the process receives no messages,
/// and lookups of its name do not find it.
fn begin_exit(
    block: &Arc<ProcessBlock>,
    mut state: MutexGuard<'_, State>,
    reason: ExitReason,
    timeout: Duration,
) {
    state.phase = Phase::Exiting(reason);
    // If the process is unwinding by itself, its own reason counts unless it catches that unwind.
    state.own_exit_first = block.is_unwinding();
    // `SIGNALLED` before `EXITING`: a thread that sees the exit must also see that a signal caused it.
    block.set_exited_by_signal(true);
    block.mark_exiting();
    let hooks = std::mem::take(&mut state.hooks);
    // Unlocks `state`: the hooks below are user code.
    set_deadline(block, state, timeout, None);
    // Wake before the hooks run: a slow hook must not delay the target.
    block.parker.unpark();
    for (_, hook) in hooks {
        catch_and_log("an exit hook", hook);
    }
}

/// Shortens the deadline of a process that is already exiting to its kill grace. The reason does not change.
fn shorten_deadline(block: &Arc<ProcessBlock>, state: MutexGuard<'_, State>) {
    let remaining = state.exit_timer.and_then(timer_thread::remaining).unwrap_or(Duration::MAX);
    if remaining > block.spawn_info.kill_grace {
        set_deadline(block, state, block.spawn_info.kill_grace, None);
    }
}

/// Begins the exit of a process that exits by itself. Does nothing if a signal has already begun it.
pub(crate) fn set_exiting(block: &Arc<ProcessBlock>, reason: ExitReason) {
    let mut state = block.lock();
    if matches!(state.phase, Phase::Running) {
        state.phase = Phase::Exiting(reason);
        block.mark_exiting();
    }
}

/// Replaces the reason of a signal by the reason of the process's own unwind, if that unwind began before the
/// signal arrived and was not caught.
pub(crate) fn keep_own_reason(block: &Arc<ProcessBlock>, reason: &ExitReason) {
    let mut state = block.lock();
    if state.own_exit_first && matches!(state.phase, Phase::Exiting(_)) {
        let previous = std::mem::replace(&mut state.phase, Phase::Exiting(reason.clone()));
        block.set_exited_by_signal(false);
        drop(state);
        // After unlocking: dropping a reason may run user code.
        drop(previous);
    }
}

/// Starts the deadline for an unwind of the process's own: unless the unwind is caught, it must be complete by
/// then, because a destructor may hang.
pub(crate) fn arm_unwind_deadline(block: &Arc<ProcessBlock>, reason: &ExitReason) {
    let state = block.lock();
    if matches!(state.phase, Phase::Running) && state.exit_timer.is_none() {
        // Set under the lock, so that a signal that arrives next finds it (see `begin_exit`).
        block.set_unwinding(true);
        set_deadline(block, state, block.spawn_info.exit_timeout, Some(reason.clone()));
    }
}

/// Starts the exit deadline of an exiting process that still has user code to run, unless it has one already.
pub(crate) fn arm_exit_deadline(block: &Arc<ProcessBlock>) {
    let state = block.lock();
    if matches!(state.phase, Phase::Exiting(_)) && state.exit_timer.is_none() {
        set_deadline(block, state, block.spawn_info.exit_timeout, None);
    }
}

/// Sets the time after which the cleanup no longer waits for the thread of the process. Replaces an earlier
/// deadline, and unlocks `state`.
///
/// `reason_if_running` is the exit reason if the process is still in phase `Running` then: an unwind of its own
/// that was neither completed nor caught.
fn set_deadline(
    block: &Arc<ProcessBlock>,
    mut state: MutexGuard<'_, State>,
    timeout: Duration,
    reason_if_running: Option<ExitReason>,
) {
    // The id is stored before the timer exists: `on_exit_deadline` compares it, so a timer that fires although
    // it was replaced has no effect.
    let id = TimerRef::next();
    let previous = state.exit_timer.replace(id);
    drop(state);
    previous.map(timer_thread::cancel);
    // `Duration::MAX` means no limit. The id stays, so that `arm_exit_deadline` does not set another one.
    if timeout != Duration::MAX {
        let block = Arc::clone(block);
        timer_thread::schedule(id, timer_thread::deadline_after(timeout), move || {
            on_exit_deadline(&block, id, reason_if_running)
        });
    }
}

/// Completes the exit of a process whose thread has not done so in time. Runs on the timer thread.
fn on_exit_deadline(block: &Arc<ProcessBlock>, timer: TimerRef, mut reason_if_running: Option<ExitReason>) {
    let mut state = block.lock();
    // The deadline may have been replaced or cancelled while this timer was firing.
    if state.exit_timer != Some(timer) {
        return;
    }
    // An unwind of its own: the exit has not begun yet, so it begins here.
    if matches!(state.phase, Phase::Running) {
        if let Some(reason) = reason_if_running.take() {
            state.phase = Phase::Exiting(reason);
            block.mark_exiting();
        }
    }
    let stuck = matches!(state.phase, Phase::Exiting(_));
    drop(state);
    if stuck {
        let stuck_block = Arc::clone(block);
        // Not on the timer thread: an exit hook of a linked process may block, and would stop all timers.
        let started = thread::Builder::new()
            .name("rethread-reaper".into())
            .spawn(move || complete_exit(&stuck_block, ThreadState::Stuck));
        // Without a thread, late timers are better than an exit that never completes.
        if started.is_err() {
            complete_exit(block, ThreadState::Stuck);
        }
    }
}

/// What the thread of a process does when its exit is completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ThreadState {
    /// The thread itself completes the exit, or the process never had one.
    Exiting,
    /// The thread has not reached the end in time: the process becomes a zombie.
    Stuck,
}

/// Releases what the process holds, marks it as exited, and notifies its links and monitors, in this order.
/// Returns `false` and does nothing if another thread does this or has done it. The phase must be `Exiting`.
pub(crate) fn complete_exit(block: &Arc<ProcessBlock>, thread: ThreadState) -> bool {
    // The thread of the process and the reaper may both come here; the first one wins.
    if !block.begin_cleanup() {
        return false;
    }
    // Half a cleanup would leave names and locks held with no thread to release them.
    let guard = AbortIfPanic;
    if let Some(me) = local::get().filter(|me| me.block.pid == block.pid) {
        me.enter_cleanup();
    }
    let reason = block.exit_reason().unwrap_or(ExitReason::Normal);
    // Before anything is released: `info` and `zombies` must find the process under its name, and a supervisor
    // that restarts it must find it counted.
    let zombie = if thread == ThreadState::Stuck { zombie::add(block, &reason) } else { None };
    // Read now, because `release_resources` clears the name.
    let name = events::has_subscribers().then(|| block.display_name());
    begin_exit_of_linked(block, &reason);
    release_resources(block);
    let notifications = set_dead(block, &reason);
    if let Some(name) = name {
        events::publish(block.pid, name, ProcessEventKind::Exited { reason: reason.clone() });
    }
    notify_links_and_monitors(block.pid, notifications, &reason);
    notify_pending(block, &reason);
    guard.disarm();
    // Last: the log sink is user code, and so is the text of the reason.
    zombie.as_ref().map(zombie::log_zombie);
    true
}

/// Begins the exit of all directly linked processes that end because of this exit.
fn begin_exit_of_linked(block: &ProcessBlock, reason: &ExitReason) {
    // Before the name is released: a successor under the same name, and a supervisor that restarts this process,
    // must not see these processes as running. Processes farther away follow when the cleanup of these linked
    // processes runs; a successor under the same name as one of these waits for that.
    let linked: Vec<Peer> = block.lock().links.values().cloned().collect();
    for Peer(peer) in linked {
        exit_by_link(&peer, block.pid, reason);
    }
}

/// Removes the monitors that the process held, sends the exit signals of its links, removes the pid from the table,
/// and notifies the watchers: steps 10 to 12 of `README.md`.
fn notify_links_and_monitors(exited: Pid, notifications: ExitNotifications, reason: &ExitReason) {
    for (id, Peer(target)) in notifications.own_monitors {
        let watcher = target.lock().watchers.remove(&id);
        // After unlocking: this may be the last reference to a block.
        drop(watcher);
    }
    for Peer(peer) in notifications.links {
        if notifications.no_exit_message_to == Some(peer.pid) {
            // This process gets the exit as the result of the start, or of the task; an `Exit` message would be a second
            // notification. If it exits with `exited`, `begin_exit_of_linked` has begun that.
            peer.lock().links.remove(&exited);
        } else {
            deliver_exit_signal(&peer, exited, reason, Origin::Link);
        }
    }
    // After the links and before the watchers. A watcher that is notified may look the pid up at once, and must not
    // find it; a thread that asks while links are being notified must find it, and waits as a pending request.
    table::remove(exited);
    notify_watchers(exited, notifications.watchers, notifications.pending_requests, reason);
}

/// Notifies the watchers and answers the requests that arrived while the others were being notified.
fn notify_pending(block: &ProcessBlock, reason: &ExitReason) {
    let mut state = block.lock();
    // In the same critical section as the removal: a request that arrives after it is answered by its own thread.
    state.links_notified = true;
    let watchers: Vec<_> = std::mem::take(&mut state.watchers).into_iter().collect();
    let pending_requests = std::mem::take(&mut state.pending_requests);
    drop(state);
    notify_watchers(block.pid, watchers, pending_requests, reason);
}

/// Notifies watchers with the exit reason, then answers pending requests with `NoProc`.
fn notify_watchers(
    exited: Pid,
    watchers: Vec<(MonitorRef, Watcher)>,
    pending_requests: Vec<PendingRequest>,
    reason: &ExitReason,
) {
    // First put a message into each mailbox, then wake the threads (a listener wakes its own threads at once): a
    // thread that starts to run competes for the core, and would delay the notifications of the others.
    let notified: Vec<_> =
        watchers.into_iter().filter_map(|(id, watcher)| notify(id, watcher, reason)).collect();
    for Peer(watcher) in notified {
        watcher.parker.unpark();
    }
    // These arrived after the exit had begun; for them there was no such process.
    for request in pending_requests {
        match request {
            PendingRequest::Link(Peer(peer)) => {
                deliver_exit_signal(&peer, exited, &ExitReason::NoProc, Origin::Link)
            }
            PendingRequest::Watcher(id, watcher) => notify_and_wake(id, watcher, &ExitReason::NoProc),
        }
    }
}

/// Notifies one watcher and wakes its thread.
pub(crate) fn notify_and_wake(id: MonitorRef, watcher: Watcher, reason: &ExitReason) {
    if let Some(Peer(watcher)) = notify(id, watcher, reason) {
        watcher.parker.unpark();
    }
}

/// Notifies one watcher. Returns the process to wake, if the watcher is one and the monitor is still set.
fn notify(id: MonitorRef, watcher: Watcher, reason: &ExitReason) -> Option<Peer> {
    let (Peer(watcher), target) = match watcher {
        Watcher::Process { peer, target } => (peer, target),
        // A listener wakes its own threads.
        Watcher::Listener(listener) => {
            listener.on_exit(reason);
            return None;
        }
    };
    let mut state = watcher.lock();
    // No entry: the watcher has called `demonitor`, or has exited.
    let monitoring = state.monitoring.get_mut(&id)?;
    let active = std::mem::replace(monitoring, Monitoring::Fired);
    // Under the same lock as the message: no reply through the alias may arrive after the `Down`.
    if let Monitoring::Active { alias: Some(alias), .. } = &active {
        alias.deactivate();
    }
    // Under the lock: after `demonitor` has returned, nothing may be added to the mailbox.
    watcher.mailbox.push_system(SystemMessage::Down { monitor: id, target, reason: reason.clone() });
    drop(state);
    // After unlocking: this may be the last reference to the alias or to a block.
    drop(active);
    Some(Peer(watcher))
}
