//! A death spreads: exit signals are delivered, a process is doomed, unwinds, and is buried. Links,
//! `exit` calls, the thread edge and overdue deadlines all end here; the rules are in `signal`.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use crate::pid::{MonitorRef, Pid, TimerRef};
use crate::process::block::{Block, Late, Monitoring, Notice, Peer, Phase, State, Watcher};
use crate::process::feed::{self, Change};
use crate::process::signal::{Origin, Verdict, verdict};
use crate::process::{clock, me, names, table, zombie};
use crate::reason::{ExitReason, PanicReport};
use crate::sync::{MutexGuard, thread};
use crate::unwind::{AbortIfPanic, contain};
use crate::unwound::{self, Unwound};

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
/// `kill_grace` or `exit_deadline` ([`Settings`](crate::process::Settings)) it is declared dead and
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
    me::checkpoint();
    let Some(target) = reachable(pid) else {
        return;
    };
    let from = me::identity();
    let origin = if from == pid { Origin::SentToSelf } else { Origin::Sent };
    signal(&target, from, &reason.into(), origin);
    if origin == Origin::SentToSelf {
        me::checkpoint();
    }
}

/// The target of something that leaves this thread; nobody if this thread is a zombie.
fn reachable(pid: Pid) -> Option<Arc<Block>> {
    match me::get() {
        Some(me) if me.zombie() => None,
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
    leaving(&me.block, &reason);
    unwound::exit(reason)
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
    leaving(&me.block, &ExitReason::new(UNCAUGHT));
    unwound::throw(Box::new(value))
}

/// This thread's process.
#[track_caller]
pub(crate) fn expect_process(what: &str) -> std::rc::Rc<me::Me> {
    match me::get() {
        Some(me) => me,
        None => panic!("process::{what} was called on a thread that is not a process; see process::attach"),
    }
}

/// The panic hook of processes: a panic that hangs in a destructor must not hang for ever.
pub(crate) fn on_panic(report: &PanicReport) {
    if let Some(me) = me::get() {
        leaving(&me.block, &ExitReason::Panic(report.clone()));
    }
}

/// An unwinding of the process' own begins: unless it is caught it must be over by the exit deadline.
fn leaving(block: &Arc<Block>, reason: &ExitReason) {
    let state = block.lock();
    if matches!(state.phase, Phase::Running) && state.deadline.is_none() {
        block.mark_unwinding(true);
        set_deadline(block, state, block.birth.exit_deadline, Some(reason.clone()));
    }
}

/// Lets something that was caught go on, as if it had not been.
pub(crate) fn go_on(unwound: Unwound) -> ! {
    if let Some(me) = me::get() {
        match &unwound {
            Unwound::Panic(report) => leaving(&me.block, &ExitReason::Panic(report.clone())),
            Unwound::Exit(reason) => leaving(&me.block, reason),
            Unwound::Throw(_) => leaving(&me.block, &ExitReason::new(UNCAUGHT)),
            Unwound::Told => {}
        }
    }
    unwound.resume()
}

/// The reason of a process that is declared dead while a throw of its own unwinds it.
const UNCAUGHT: &str = "a throw was not caught in time";

/// Has the process declared dead after `limit`. `unnoticed` is the reason if by then it still runs: an
/// unwinding of its own that neither ended nor was caught.
fn set_deadline(
    block: &Arc<Block>,
    mut state: MutexGuard<'_, State>,
    limit: Duration,
    unnoticed: Option<ExitReason>,
) {
    let id = TimerRef::fresh();
    let earlier = state.deadline.replace(id);
    drop(state);
    earlier.map(clock::cancel);
    if limit != Duration::MAX {
        let block = Arc::clone(block);
        clock::schedule(id, clock::after(limit), move || overdue(&block, id, unnoticed));
    }
}

/// On the clock's thread: the time is up.
fn overdue(block: &Arc<Block>, deadline: TimerRef, mut unnoticed: Option<ExitReason>) {
    let mut state = block.lock();
    if state.deadline != Some(deadline) {
        return;
    }
    if matches!(state.phase, Phase::Running) {
        if let Some(reason) = unnoticed.take() {
            state.phase = Phase::Exiting(reason);
            block.mark_doomed();
        }
    }
    let stuck = matches!(state.phase, Phase::Exiting(_));
    drop(state);
    if stuck {
        let dead = Arc::clone(block);
        // Not on the clock's thread: a peer's hook that blocks must not stop all timers.
        let started = thread::Builder::new()
            .name("rethread-undertaker".into())
            .spawn(move || bury(&dead, Thread::GoesOn));
        if started.is_err() {
            bury(block, Thread::GoesOn);
        }
    }
}

/// Delivers an exit signal, following the rule table.
pub(crate) fn signal(to: &Arc<Block>, from: Pid, reason: &ExitReason, origin: Origin) {
    let mut state = to.lock();
    if origin == Origin::Link && state.links.remove(&from).is_none() {
        return; // unlinked meanwhile: that signal must not arrive any more
    }
    match state.phase {
        Phase::Running => {}
        Phase::Exiting(_) if origin != Origin::Link && *reason == ExitReason::Kill => {
            return hasten(to, state);
        }
        Phase::Exiting(_) | Phase::Dead(_) => return,
    }
    match verdict(reason, origin, state.trapping) {
        Verdict::Ignore => {}
        Verdict::Deliver => {
            // Under the lock, so that nothing gets in after an unlink has returned.
            to.mailbox.notify(Notice::Exit { from, reason: reason.clone() });
            drop(state);
            to.waiter.wake();
        }
        Verdict::Die(fatal) => {
            // `Killed` that somebody sends, or that comes through a link, is a reason like any other.
            let kill = origin != Origin::Link && *reason == ExitReason::Kill;
            let limit = if kill { to.birth.kill_grace } else { to.birth.exit_deadline };
            doom(to, state, fatal, limit);
        }
    }
}

/// Decides a process' end. From here on it takes no messages and is found under no name.
fn doom(block: &Arc<Block>, mut state: MutexGuard<'_, State>, reason: ExitReason, limit: Duration) {
    state.phase = Phase::Exiting(reason);
    state.overtaken = block.unwinding();
    block.mark_told(true);
    block.mark_doomed();
    let hooks = std::mem::take(&mut state.hooks);
    set_deadline(block, state, limit, None);
    block.waiter.wake();
    for (_, hook) in hooks {
        contain("an exit-request hook", hook);
    }
}

/// A kill reaches a process that is exiting already: the reason stands, the time gets shorter.
fn hasten(block: &Arc<Block>, state: MutexGuard<'_, State>) {
    let left = state.deadline.and_then(clock::read).unwrap_or(Duration::MAX);
    if left > block.birth.kill_grace {
        set_deadline(block, state, block.birth.kill_grace, None);
    }
}

/// The process ends by itself, with `reason` unless a signal was first.
pub(crate) fn begin(block: &Arc<Block>, reason: ExitReason) {
    let mut state = block.lock();
    if matches!(state.phase, Phase::Running) {
        state.phase = Phase::Exiting(reason);
        block.mark_doomed();
    }
}

/// Destructors of the user's are still to run in a process whose end has begun, so the deadline counts.
pub(crate) fn linger(block: &Arc<Block>) {
    let state = block.lock();
    if matches!(state.phase, Phase::Exiting(_)) && state.deadline.is_none() {
        set_deadline(block, state, block.birth.exit_deadline, None);
    }
}

/// An unwinding of the process' own has come to the edge. A signal that arrived while it was under way does
/// not change the reason.
pub(crate) fn overtake(block: &Arc<Block>, reason: &ExitReason) {
    let mut state = block.lock();
    if state.overtaken && matches!(state.phase, Phase::Exiting(_)) {
        let overruled = std::mem::replace(&mut state.phase, Phase::Exiting(reason.clone()));
        block.mark_told(false);
        drop(state);
        drop(overruled); // to drop a reason may be user code: not under the lock
    }
}

/// Whether the thread of a process that is buried is ending too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thread {
    Ends,
    GoesOn,
}

/// Releases what the process holds, declares it dead, and tells its links and monitors, in this order.
/// Does nothing, and returns false, if somebody else does or did it. The phase must be `Exiting`.
pub(crate) fn bury(block: &Arc<Block>, thread: Thread) -> bool {
    if !block.claim_burial() {
        return false;
    }
    let guard = AbortIfPanic;
    if let Some(me) = me::get().filter(|me| me.block.pid == block.pid) {
        me.begin_burial();
    }
    let reason = match &block.lock().phase {
        Phase::Exiting(reason) | Phase::Dead(reason) => reason.clone(),
        Phase::Running => ExitReason::Normal,
    };
    let zombie = if thread == Thread::GoesOn { zombie::made(block, &reason) } else { None };
    let name = feed::is_heard().then(|| feed::called(block)); // it is released in a moment
    doom_linked(block, &reason);
    release_what_it_held(block);
    let estate = declare_dead(block, &reason);
    if let Some(name) = name {
        feed::publish(block.pid, name, Change::Exited { reason: reason.clone() });
    }
    inform(block.pid, estate, &reason);
    inform_latecomers(block, &reason);
    guard.disarm();
    zombie.as_ref().map(zombie::report);
    true
}

/// Everybody directly linked who dies of this death is doomed before anything else happens: whoever takes our
/// name over, or hears of our death and starts a replacement, must find none of them in good health. (Those
/// further away follow with the burials in between, which a successor under the same name waits for.)
fn doom_linked(block: &Block, reason: &ExitReason) {
    let linked: Vec<Peer> = block.lock().links.values().cloned().collect();
    for Peer(peer) in linked {
        doom_by_link(&peer, block.pid, reason);
    }
}

fn release_what_it_held(block: &Block) {
    let mut state = block.lock();
    let deadline = state.deadline.take();
    let timers = std::mem::take(&mut state.timers);
    let hooks = std::mem::take(&mut state.hooks);
    let name = state.name.take();
    let held = std::mem::take(&mut state.held);
    let predecessors = std::mem::take(&mut state.predecessors);
    drop(state);
    drop(predecessors); // it never began
    deadline.map(clock::cancel);
    for timer in timers {
        clock::cancel(timer);
    }
    if let Some(name) = name {
        names::release(&name, block.pid);
    }
    for key in &held {
        contain("the release of a lock", || key.free());
    }
    for key in held {
        contain("the release of a key", move || key.release(block.pid)); // and its destructor
    }
    for hook in hooks {
        contain("the destructor of an exit-request hook", move || drop(hook));
    }
}

/// Whom a death concerns.
struct Estate {
    links: Vec<Peer>,
    starter: Option<Pid>,
    watchers: Vec<(MonitorRef, Watcher)>,
    late: Vec<Late>,
    own_monitors: Vec<(MonitorRef, Peer)>,
}

fn declare_dead(block: &Block, reason: &ExitReason) -> Estate {
    let mut state = block.lock();
    state.phase = Phase::Dead(reason.clone());
    block.mark_dead();
    let mut links: Vec<Peer> = std::mem::take(&mut state.links).into_values().collect();
    // First who started it: a supervisor must not be found counting a child whose end others have heard of.
    let parent = block.birth.ancestors.first();
    links.sort_by_key(|Peer(peer)| Some(&peer.pid) != parent);
    Estate {
        links,
        starter: state.starter.take(),
        watchers: std::mem::take(&mut state.watchers).into_iter().collect(),
        late: std::mem::take(&mut state.late),
        own_monitors: std::mem::take(&mut state.monitoring)
            .into_iter()
            .filter_map(|(id, monitoring)| match monitoring {
                Monitoring::Active { peer, .. } => Some((id, peer)),
                Monitoring::Fired => None,
            })
            .collect(),
    }
}

fn inform(dead: Pid, estate: Estate, reason: &ExitReason) {
    for (id, Peer(target)) in estate.own_monitors {
        let watcher = target.lock().watchers.remove(&id);
        drop(watcher);
    }
    for Peer(peer) in estate.links {
        if estate.starter == Some(peer.pid) {
            peer.lock().links.remove(&dead);
        } else {
            signal(&peer, dead, reason, Origin::Link);
        }
    }
    table::remove(dead); // before those are told who may ask for it again at once
    tell_all(dead, estate.watchers, estate.late, reason);
}

/// Tells those that came while others were being told.
fn inform_latecomers(block: &Block, reason: &ExitReason) {
    let mut state = block.lock();
    state.told_all = true;
    let watchers: Vec<_> = std::mem::take(&mut state.watchers).into_iter().collect();
    let late = std::mem::take(&mut state.late);
    drop(state);
    tell_all(block.pid, watchers, late, reason);
}

fn tell_all(dead: Pid, watchers: Vec<(MonitorRef, Watcher)>, late: Vec<Late>, reason: &ExitReason) {
    // First all have their notice, then they are woken: those that begin to run must not slow down the telling.
    let told: Vec<_> = watchers.into_iter().filter_map(|(id, watcher)| notify(id, watcher, reason)).collect();
    for Peer(watcher) in told {
        watcher.waiter.wake();
    }
    for late in late {
        match late {
            Late::Link(Peer(peer)) => signal(&peer, dead, &ExitReason::NoProc, Origin::Link),
            Late::Watcher(id, watcher) => tell(id, watcher, &ExitReason::NoProc),
        }
    }
}

/// Delivers a link's exit signal if it is fatal; otherwise leaves everything as it is.
fn doom_by_link(peer: &Arc<Block>, dead: Pid, reason: &ExitReason) {
    let mut state = peer.lock();
    if !matches!(state.phase, Phase::Running) || !state.links.contains_key(&dead) {
        return;
    }
    if let Verdict::Die(reason) = verdict(reason, Origin::Link, state.trapping) {
        state.links.remove(&dead);
        let limit = peer.birth.exit_deadline;
        doom(peer, state, reason, limit);
    }
}

/// Tells one watcher.
pub(crate) fn tell(id: MonitorRef, watcher: Watcher, reason: &ExitReason) {
    if let Some(Peer(watcher)) = notify(id, watcher, reason) {
        watcher.waiter.wake();
    }
}

/// Tells one watcher, and leaves it to the caller to wake it.
fn notify(id: MonitorRef, watcher: Watcher, reason: &ExitReason) -> Option<Peer> {
    let (Peer(watcher), target) = match watcher {
        Watcher::Process { peer, target } => (peer, target),
        Watcher::Slot(slot) => {
            slot.died(reason);
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
    watcher.mailbox.notify(Notice::Down { monitor: id, target, reason: reason.clone() });
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
    me::checkpoint();
    table::get(pid.into()).is_some_and(|block| !block.doomed())
}
