//! A death spreads: exit signals are delivered, a process is doomed, unwinds, and is buried. Links,
//! `exit` calls, the thread edge and overdue deadlines all end here; the rules are in `signal`.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use crate::exception;
use crate::exception::Exception;
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
use crate::process::names;
use crate::process::observe::events;
use crate::process::observe::events::ProcessEventKind;
use crate::process::observe::zombie;
use crate::process::park::timer_thread;
use crate::process::signals::effect::Origin;
use crate::process::signals::effect::SignalEffect;
use crate::process::signals::effect::effect;
use crate::reason::{ExitReason, PanicReport};
use crate::sync::{MutexGuard, thread};
use crate::unwind::{AbortIfPanic, catch_and_log, drop_and_log};

/// Sends an exit signal. A dead target is ignored; nothing is returned because nothing is known: the
/// signal takes effect at the target's next runtime call.
///
/// | reason | target | does not trap exits | traps exits |
/// | --- | --- | --- | --- |
/// | `Normal` | other | nothing happens | `Exit` message |
/// | `Normal` | self | ends, `Normal` | `Exit` message |
/// | `Kill` | any | ends, `Killed` | ends, `Killed` |
/// | other | any | ends with it | `Exit` message |
///
/// # Differences from Erlang
/// A thread cannot be stopped from outside. The target reacts at once if it waits in a runtime call
/// (receive, call, sleep), else at its next one; its destructors run. If it does not get there within
/// `kill_grace` or `exit_timeout` ([`Settings`](crate::process::Settings)) it is declared dead and
/// becomes a [`Zombie`](crate::process::Zombie).
///
/// ```
/// use rethread::{ExitReason, process};
///
/// let child = process::spawn::<()>(|inbox| { inbox.recv(); })?;
/// let watch = process::watch(&child);
/// process::exit(&child, ExitReason::Kill);
/// assert_eq!(watch.wait(), ExitReason::Killed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn exit(pid: impl Into<Pid>, reason: impl Into<ExitReason>) {
    let pid = pid.into();
    local::checkpoint();
    let Some(target) = find_target(pid) else {
        return;
    };
    let from = local::sender_pid();
    let origin = if from == pid { Origin::ToSelf } else { Origin::Sent };
    deliver_exit_signal(&target, from, &reason.into(), origin);
    if origin == Origin::ToSelf {
        local::checkpoint();
    }
}

/// The target of something that leaves this thread; nobody if this thread is a zombie.
fn find_target(pid: Pid) -> Option<Arc<ProcessBlock>> {
    match local::get() {
        Some(me) if me.is_zombie() => None,
        _ => table::get(pid),
    }
}

/// Ends the calling process with `reason`, as Erlang's `exit/1`: class *exit*, which
/// [`attempt`](crate::process::attempt) can catch. Destructors run.
///
/// # Panics
/// On a thread that is not a process there is nothing to end: it panics.
///
/// ```
/// use rethread::{ExitReason, process};
///
/// let child = process::spawn::<()>(|_| process::exit_with("done early"))?;
/// # let _ = child;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn exit_with(reason: impl Into<ExitReason>) -> ! {
    let reason = reason.into();
    let me = expect_process("exit_with");
    me.checkpoint();
    arm_unwind_deadline(&me.block, &reason);
    exception::exit(reason)
}

/// Throws a value: class *throw*, for leaving deep code in one step. Uncaught it ends the process with
/// [`ExitReason::NoCatch`].
///
/// # Panics
/// On a thread that is not a process.
///
/// ```
/// use rethread::process::{self, attempt};
///
/// let result = process::attach(|_: &mut process::Inbox<()>| {
///     attempt(|| -> i32 { process::throw(42) }).catch_throw(|ball: i32| ball)
/// })?;
/// assert_eq!(result, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn throw(value: impl Any + Send) -> ! {
    let me = expect_process("throw");
    me.checkpoint();
    arm_unwind_deadline(&me.block, &ExitReason::new(UNCAUGHT_THROW));
    exception::throw(Box::new(value))
}

/// This thread's process.
#[track_caller]
pub(crate) fn expect_process(what: &str) -> std::rc::Rc<local::CurrentProcess> {
    match local::get() {
        Some(me) => me,
        None => panic!("process::{what} was called on a thread that is not a process; see process::attach"),
    }
}

/// The panic hook of processes: a panic that hangs in a destructor must not hang for ever.
pub(crate) fn on_panic(report: &PanicReport) {
    if let Some(me) = local::get() {
        arm_unwind_deadline(&me.block, &ExitReason::Panic(report.clone()));
    }
}

/// An unwinding of the process' own begins: unless it is caught it must be over by the exit deadline.
fn arm_unwind_deadline(block: &Arc<ProcessBlock>, reason: &ExitReason) {
    let state = block.lock();
    if matches!(state.phase, Phase::Running) && state.exit_timer.is_none() {
        block.set_unwinding(true);
        set_deadline(block, state, block.spawn_info.exit_timeout, Some(reason.clone()));
    }
}

/// Lets something that was caught go on, as if it had not been.
pub(crate) fn resume_unwind(exception: Exception) -> ! {
    if let Some(me) = local::get() {
        match &exception {
            Exception::Error(report) => arm_unwind_deadline(&me.block, &ExitReason::Panic(report.clone())),
            Exception::Exit(reason) => arm_unwind_deadline(&me.block, reason),
            Exception::Throw(_) => arm_unwind_deadline(&me.block, &ExitReason::new(UNCAUGHT_THROW)),
            Exception::ExitSignal => {}
        }
    }
    exception.resume()
}

/// The reason of a process that is declared dead while a throw of its own unwinds it.
const UNCAUGHT_THROW: &str = "a throw was not caught in time";

/// Has the process declared dead after `limit`. `unnoticed` is the reason if by then it still runs: an
/// unwinding of its own that neither ended nor was caught.
fn set_deadline(
    block: &Arc<ProcessBlock>,
    mut state: MutexGuard<'_, State>,
    timeout: Duration,
    reason_if_running: Option<ExitReason>,
) {
    let id = TimerRef::next();
    let previous = state.exit_timer.replace(id);
    drop(state);
    previous.map(timer_thread::cancel);
    if timeout != Duration::MAX {
        let block = Arc::clone(block);
        timer_thread::schedule(id, timer_thread::deadline_after(timeout), move || {
            on_exit_deadline(&block, id, reason_if_running)
        });
    }
}

/// On the clock's thread: the time is up.
fn on_exit_deadline(block: &Arc<ProcessBlock>, timer: TimerRef, mut reason_if_running: Option<ExitReason>) {
    let mut state = block.lock();
    if state.exit_timer != Some(timer) {
        return;
    }
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
        // Not on the clock's thread: a peer's hook that blocks must not stop all timers.
        let started = thread::Builder::new()
            .name("rethread-reaper".into())
            .spawn(move || complete_exit(&stuck_block, ThreadState::Stuck));
        if started.is_err() {
            complete_exit(block, ThreadState::Stuck);
        }
    }
}

/// Delivers an exit signal, following the rule table.
pub(crate) fn deliver_exit_signal(to: &Arc<ProcessBlock>, from: Pid, reason: &ExitReason, origin: Origin) {
    let mut state = to.lock();
    if origin == Origin::Link && state.links.remove(&from).is_none() {
        return; // unlinked meanwhile: that signal must not arrive any more
    }
    match state.phase {
        Phase::Running => {}
        Phase::Exiting(_) if origin != Origin::Link && *reason == ExitReason::Kill => {
            return shorten_deadline(to, state);
        }
        Phase::Exiting(_) | Phase::Dead(_) => return,
    }
    match effect(reason, origin, state.traps_exits) {
        SignalEffect::Ignore => {}
        SignalEffect::Deliver => {
            // Under the lock, so that nothing gets in after an unlink has returned.
            to.mailbox.notify(SystemMessage::Exit { from, reason: reason.clone() });
            drop(state);
            to.parker.unpark();
        }
        SignalEffect::Exit(exit_reason) => {
            // `Killed` that somebody sends, or that comes through a link, is a reason like any other.
            let kill = origin != Origin::Link && *reason == ExitReason::Kill;
            let timeout = if kill { to.spawn_info.kill_grace } else { to.spawn_info.exit_timeout };
            begin_exit(to, state, exit_reason, timeout);
        }
    }
}

/// Decides a process' end. From here on it takes no messages and is found under no name.
fn begin_exit(
    block: &Arc<ProcessBlock>,
    mut state: MutexGuard<'_, State>,
    reason: ExitReason,
    timeout: Duration,
) {
    state.phase = Phase::Exiting(reason);
    state.own_exit_first = block.is_unwinding();
    block.set_exited_by_signal(true);
    block.mark_exiting();
    let hooks = std::mem::take(&mut state.hooks);
    set_deadline(block, state, timeout, None);
    block.parker.unpark();
    for (_, hook) in hooks {
        catch_and_log("an exit-request hook", hook);
    }
}

/// A kill reaches a process that is exiting already: the reason stands, the time gets shorter.
fn shorten_deadline(block: &Arc<ProcessBlock>, state: MutexGuard<'_, State>) {
    let remaining = state.exit_timer.and_then(timer_thread::remaining).unwrap_or(Duration::MAX);
    if remaining > block.spawn_info.kill_grace {
        set_deadline(block, state, block.spawn_info.kill_grace, None);
    }
}

/// The process ends by itself, with `reason` unless a signal was first.
pub(crate) fn set_exiting(block: &Arc<ProcessBlock>, reason: ExitReason) {
    let mut state = block.lock();
    if matches!(state.phase, Phase::Running) {
        state.phase = Phase::Exiting(reason);
        block.mark_exiting();
    }
}

/// Destructors of the user's are still to run in a process whose end has begun, so the deadline counts.
pub(crate) fn arm_exit_deadline(block: &Arc<ProcessBlock>) {
    let state = block.lock();
    if matches!(state.phase, Phase::Exiting(_)) && state.exit_timer.is_none() {
        set_deadline(block, state, block.spawn_info.exit_timeout, None);
    }
}

/// An unwinding of the process' own has come to the edge. A signal that arrived while it was under way does
/// not change the reason.
pub(crate) fn keep_own_reason(block: &Arc<ProcessBlock>, reason: &ExitReason) {
    let mut state = block.lock();
    if state.own_exit_first && matches!(state.phase, Phase::Exiting(_)) {
        let previous = std::mem::replace(&mut state.phase, Phase::Exiting(reason.clone()));
        block.set_exited_by_signal(false);
        drop(state);
        drop(previous); // to drop a reason may be user code: not under the lock
    }
}

/// Whether the thread of a process that is buried is ending too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ThreadState {
    Exiting,
    Stuck,
}

/// Releases what the process holds, declares it dead, and tells its links and monitors, in this order.
/// Does nothing, and returns false, if somebody else does or did it. The phase must be `Exiting`.
pub(crate) fn complete_exit(block: &Arc<ProcessBlock>, thread: ThreadState) -> bool {
    if !block.begin_cleanup() {
        return false;
    }
    let guard = AbortIfPanic;
    if let Some(me) = local::get().filter(|me| me.block.pid == block.pid) {
        me.enter_cleanup();
    }
    let reason = match &block.lock().phase {
        Phase::Exiting(reason) | Phase::Dead(reason) => reason.clone(),
        Phase::Running => ExitReason::Normal,
    };
    let zombie = if thread == ThreadState::Stuck { zombie::add(block, &reason) } else { None };
    let name = events::has_subscribers().then(|| events::display_name(block)); // it is released in a moment
    begin_exit_of_linked(block, &reason);
    release_resources(block);
    let notifications = mark_dead(block, &reason);
    if let Some(name) = name {
        events::publish(block.pid, name, ProcessEventKind::Exited { reason: reason.clone() });
    }
    notify_links_and_monitors(block.pid, notifications, &reason);
    notify_pending(block, &reason);
    guard.disarm();
    zombie.as_ref().map(zombie::log_zombie);
    true
}

/// Everybody directly linked who dies of this death is doomed before anything else happens: whoever takes our
/// name over, or hears of our death and starts a replacement, must find none of them in good health. (Those
/// further away follow with the burials in between, which a successor under the same name waits for.)
fn begin_exit_of_linked(block: &ProcessBlock, reason: &ExitReason) {
    let linked: Vec<Peer> = block.lock().links.values().cloned().collect();
    for Peer(peer) in linked {
        exit_by_link(&peer, block.pid, reason);
    }
}

fn release_resources(block: &ProcessBlock) {
    let mut state = block.lock();
    let deadline = state.exit_timer.take();
    let timers = std::mem::take(&mut state.timers);
    let hooks = std::mem::take(&mut state.hooks);
    let name = state.name.take();
    let held = std::mem::take(&mut state.held_resources);
    let predecessors = std::mem::take(&mut state.predecessors);
    drop(state);
    drop(predecessors); // it never began
    deadline.map(timer_thread::cancel);
    for timer in timers {
        timer_thread::cancel(timer);
    }
    if let Some(name) = name {
        names::release(&name, block.pid);
    }
    for resource in &held {
        catch_and_log("the release of a lock", || resource.release_locks());
    }
    for resource in held {
        catch_and_log("the release of a key", move || resource.release(block.pid)); // and its destructor
    }
    for hook in hooks {
        drop_and_log("exit hook", hook);
    }
}

/// Whom a death concerns.
struct ExitNotifications {
    links: Vec<Peer>,
    starter: Option<Pid>,
    watchers: Vec<(MonitorRef, Watcher)>,
    pending_requests: Vec<PendingRequest>,
    own_monitors: Vec<(MonitorRef, Peer)>,
}

fn mark_dead(block: &ProcessBlock, reason: &ExitReason) -> ExitNotifications {
    let mut state = block.lock();
    state.phase = Phase::Dead(reason.clone());
    block.mark_dead();
    let mut links: Vec<Peer> = std::mem::take(&mut state.links).into_values().collect();
    // First who started it: a supervisor must not be found counting a child whose end others have heard of.
    let parent = block.spawn_info.ancestors.first();
    links.sort_by_key(|Peer(peer)| Some(&peer.pid) != parent);
    ExitNotifications {
        links,
        starter: state.starter.take(),
        watchers: std::mem::take(&mut state.watchers).into_iter().collect(),
        pending_requests: std::mem::take(&mut state.pending_requests),
        own_monitors: std::mem::take(&mut state.monitoring)
            .into_iter()
            .filter_map(|(id, monitoring)| match monitoring {
                Monitoring::Active { peer, .. } => Some((id, peer)),
                Monitoring::Fired => None,
            })
            .collect(),
    }
}

fn notify_links_and_monitors(dead: Pid, notifications: ExitNotifications, reason: &ExitReason) {
    for (id, Peer(target)) in notifications.own_monitors {
        let watcher = target.lock().watchers.remove(&id);
        drop(watcher);
    }
    for Peer(peer) in notifications.links {
        if notifications.starter == Some(peer.pid) {
            peer.lock().links.remove(&dead);
        } else {
            deliver_exit_signal(&peer, dead, reason, Origin::Link);
        }
    }
    table::remove(dead); // before those are told who may ask for it again at once
    notify_watchers(dead, notifications.watchers, notifications.pending_requests, reason);
}

/// Tells those that came while others were being told.
fn notify_pending(block: &ProcessBlock, reason: &ExitReason) {
    let mut state = block.lock();
    state.links_notified = true;
    let watchers: Vec<_> = std::mem::take(&mut state.watchers).into_iter().collect();
    let pending_requests = std::mem::take(&mut state.pending_requests);
    drop(state);
    notify_watchers(block.pid, watchers, pending_requests, reason);
}

fn notify_watchers(
    dead: Pid,
    watchers: Vec<(MonitorRef, Watcher)>,
    pending_requests: Vec<PendingRequest>,
    reason: &ExitReason,
) {
    // First all have their notice, then they are woken: those that begin to run must not slow down the telling.
    let notified: Vec<_> =
        watchers.into_iter().filter_map(|(id, watcher)| notify(id, watcher, reason)).collect();
    for Peer(watcher) in notified {
        watcher.parker.unpark();
    }
    for request in pending_requests {
        match request {
            PendingRequest::Link(Peer(peer)) => {
                deliver_exit_signal(&peer, dead, &ExitReason::NoProc, Origin::Link)
            }
            PendingRequest::Watcher(id, watcher) => notify_and_wake(id, watcher, &ExitReason::NoProc),
        }
    }
}

/// Delivers a link's exit signal if it is fatal; otherwise leaves everything as it is.
fn exit_by_link(peer: &Arc<ProcessBlock>, dead: Pid, reason: &ExitReason) {
    let mut state = peer.lock();
    if !matches!(state.phase, Phase::Running) || !state.links.contains_key(&dead) {
        return;
    }
    if let SignalEffect::Exit(reason) = effect(reason, Origin::Link, state.traps_exits) {
        state.links.remove(&dead);
        let timeout = peer.spawn_info.exit_timeout;
        begin_exit(peer, state, reason, timeout);
    }
}

/// Tells one watcher.
pub(crate) fn notify_and_wake(id: MonitorRef, watcher: Watcher, reason: &ExitReason) {
    if let Some(Peer(watcher)) = notify(id, watcher, reason) {
        watcher.parker.unpark();
    }
}

/// Tells one watcher, and leaves it to the caller to wake it.
fn notify(id: MonitorRef, watcher: Watcher, reason: &ExitReason) -> Option<Peer> {
    let (Peer(watcher), target) = match watcher {
        Watcher::Process { peer, target } => (peer, target),
        Watcher::Listener(listener) => {
            listener.on_exit(reason);
            return None;
        }
    };
    let mut state = watcher.lock();
    let monitoring = state.monitoring.get_mut(&id)?;
    let active = std::mem::replace(monitoring, Monitoring::Fired);
    if let Monitoring::Active { alias: Some(alias), .. } = &active {
        alias.deactivate();
    }
    // Under the lock, so that nothing gets in after a demonitor has returned.
    watcher.mailbox.notify(SystemMessage::Down { monitor: id, target, reason: reason.clone() });
    drop(state);
    drop(active);
    Some(Peer(watcher))
}

/// Whether a process lives: false from the moment its end is decided, though its name and its links may
/// take a moment longer. Always false after an [`exit`] of your own with a fatal reason.
///
/// # Differences from Erlang
/// There, `false` also means that the name is free. Here only an `Exit` or `Down` says that.
///
/// ```
/// use rethread::{ExitReason, process};
///
/// let child = process::spawn::<()>(|inbox| { inbox.recv(); })?;
/// assert!(process::is_alive(&child));
/// process::exit(&child, ExitReason::Kill);
/// assert!(!process::is_alive(&child));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn is_alive(pid: impl Into<Pid>) -> bool {
    local::checkpoint();
    table::get(pid.into()).is_some_and(|block| !block.is_exiting())
}
