//! Snapshots of processes, for listings, observers and tests.
//!
//! Invariant: changes nothing about a process, except that activities are recorded more exactly for a while.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::pid::Pid;
use crate::process::control::activity;
use crate::process::control::activity::Activity;
use crate::process::control::block::Monitoring;
use crate::process::control::block::Peer;
use crate::process::control::block::Phase;
use crate::process::control::block::ProcessBlock;
use crate::process::control::block::ProcessKind;
use crate::process::control::block::ProcessWatcher;
use crate::process::control::block::Watcher;
use crate::process::control::block::display_name;
use crate::process::control::local;
use crate::process::control::table;
use crate::process::observe::os_thread;
use crate::process::observe::zombie;
use crate::process::park::timer_thread;
use crate::reason::ExitReason;
use crate::sync::atomic::Ordering;
use crate::unwind::catch_and_log;

/// What a process is doing.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ProcessState {
    /// Its thread runs user code, or waits for something that the runtime does not know of.
    Running,
    /// It waits in a runtime call: receive, call, sleep.
    Waiting,
    /// It is exiting with this reason: its thread unwinds.
    Exiting(ExitReason),
    /// It has exited for all other processes, but its thread is still running.
    Zombie(ExitReason),
}

/// A snapshot of a process. Its `Display` is one line.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProcessInfo {
    /// Its pid.
    pub pid: Pid,
    /// Its registered name.
    pub name: Option<Arc<str>>,
    /// Its label.
    pub label: Option<Arc<str>>,
    /// What it is doing.
    pub state: ProcessState,
    /// What kind of process it is.
    pub kind: ProcessKind,
    /// What its thread is doing, as far as the runtime knows.
    pub activity: Activity,
    /// For how long it has been doing that, at most. Exact for a message that it waited for, and for all messages if
    /// a snapshot was taken in the ten seconds before; otherwise the time since it last found its mailbox empty.
    pub active_for: Duration,
    /// The processes it is linked to.
    pub links: Vec<Pid>,
    /// The processes it monitors; a process monitored twice is listed twice.
    pub monitors: Vec<Pid>,
    /// The processes that monitor it.
    pub monitored_by: Vec<Pid>,
    /// The number of messages in its mailbox: Erlang's `message_queue_len`.
    pub message_queue_len: usize,
    /// The number of messages it has taken out of its mailbox.
    pub received: u64,
    /// The type of messages it receives; for a server the type of the server, and `no messages` for a process without
    /// an inbox.
    pub message_type: &'static str,
    /// `true` if it traps exits.
    pub traps_exits: bool,
    /// The process it waits for: in a call, a start, a join or a stop; or the process that holds the lock of a registry
    /// key. A thread that is not a process has a pid, too, which belongs to no process.
    pub waiting_on: Option<Pid>,
    /// The registry key, as `Debug` shows it, for whose lock it waits.
    pub waiting_for_lock: Option<String>,
    /// The process that started it, the process that started that one, and so on, at most 32.
    pub ancestors: Arc<[Pid]>,
    /// The name of its thread in `top -H`, `perf` and debuggers, if label and name have not changed since the start:
    /// the label, or else the name, cut to 15 bytes (on Linux), or `rethread`. An attached thread keeps its own name.
    /// `None` before the first step.
    pub thread_name: Option<String>,
    /// The place in the source that spawned it.
    pub spawned_at: &'static Location<'static>,
    /// The time since it started.
    pub uptime: Duration,
}

impl fmt::Display for ProcessInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.pid)?;
        if let Some(name) = display_name(&self.name, &self.label) {
            write!(f, " {name}")?;
        }
        match &self.state {
            ProcessState::Running => f.write_str(" running")?,
            ProcessState::Waiting => f.write_str(" waiting")?,
            ProcessState::Exiting(reason) => write!(f, " exiting ({reason})")?,
            ProcessState::Zombie(reason) => write!(f, " zombie ({reason})")?,
        }
        write_wait(f, self)?;
        write!(
            f,
            ", message_queue_len {}, links {:?}, spawned at {}",
            self.message_queue_len, self.links, self.spawned_at
        )
    }
}

/// Formats what a process waits for.
pub(crate) fn write_wait(f: &mut fmt::Formatter<'_>, info: &ProcessInfo) -> fmt::Result {
    match (&info.waiting_for_lock, info.waiting_on) {
        (Some(key), Some(holder)) => write!(f, " for the lock of {key}, held by {holder}"),
        (Some(key), None) => write!(f, " for the lock of {key}"),
        (None, Some(pid)) => write!(f, " for {pid}"),
        (None, None) => Ok(()),
    }
}

/// Returns a snapshot of a process; `None` if it has exited. A zombie is found until its thread ends.
///
/// ```
/// use rethread::process::{self, Inbox};
///
/// let named = process::Builder::new().name("doc.info");
/// let child = named.spawn_receiver(|inbox: &mut Inbox<u8>| { inbox.recv(); })?;
/// let info = process::info(&child).expect("it is running");
/// assert_eq!(info.name.as_deref(), Some("doc.info"));
/// assert_eq!(info.message_type, "u8");
/// println!("{info}");
/// # Ok::<(), process::SpawnError>(())
/// ```
pub fn info(pid: impl Into<Pid>) -> Option<ProcessInfo> {
    let pid = pid.into();
    local::checkpoint();
    table::get(pid).or_else(|| zombie::get(pid)).map(|block| collect_info(&block))
}

/// Returns snapshots of all processes except zombies, in the order in which they were started.
///
/// ```
/// for info in rethread::process::processes() {
///     println!("{info}");
/// }
/// ```
pub fn processes() -> Vec<ProcessInfo> {
    local::checkpoint();
    table::all().iter().map(|block| collect_info(block)).collect()
}

/// Takes a snapshot of a process.
pub(crate) fn collect_info(block: &ProcessBlock) -> ProcessInfo {
    activity::observe();
    // All in one critical section, so that links, monitors and phase fit together.
    let state = block.lock();
    let mut links: Vec<Pid> = state.links.keys().copied().collect();
    // A monitor of the process itself never fires and is not listed, as in Erlang.
    let is_other = |other: &Pid| *other != block.pid;
    let mut monitors: Vec<Pid> = state
        .monitoring
        .values()
        .filter_map(|monitoring| match monitoring {
            Monitoring::Active { peer: Peer(other), .. } => Some(other.pid),
            Monitoring::Fired => None,
        })
        .filter(is_other)
        .collect();
    let mut monitored_by: Vec<Pid> = state
        .watchers
        .values()
        .filter_map(|watcher| match watcher {
            Watcher::Process(ProcessWatcher { peer: Peer(other), .. }) => Some(other.pid),
            Watcher::Listener(_) => None,
        })
        .filter(is_other)
        .collect();
    let uptime = timer_thread::elapsed(block.spawn_info.started_at);
    links.sort();
    monitors.sort();
    monitored_by.sort();
    let mut info = ProcessInfo {
        pid: block.pid,
        name: state.name.clone(),
        label: state.label.clone(),
        state: match &state.phase {
            Phase::Running if block.parker.is_parked() => ProcessState::Waiting,
            Phase::Running => ProcessState::Running,
            Phase::Exiting(reason) => ProcessState::Exiting(reason.clone()),
            Phase::Dead(reason) => ProcessState::Zombie(reason.clone()),
        },
        kind: block.spawn_info.kind,
        activity: block.activity.get(),
        // Before its first step the process has not recorded a time yet.
        active_for: block.activity.age().min(uptime),
        links,
        monitors,
        monitored_by,
        message_queue_len: block.message_queue_len(),
        received: block.mailbox.received() as u64,
        message_type: block.mailbox.message_type(),
        traps_exits: state.traps_exits,
        // The own pid stands for all its descendants.
        waiting_on: Pid::from_u64(block.waiting_on.load(Ordering::Relaxed)).filter(is_other),
        waiting_for_lock: None,
        ancestors: Arc::clone(&block.spawn_info.ancestors),
        thread_name: os_thread::name(block, &state.label, &state.name),
        spawned_at: block.spawn_info.spawned_at,
        uptime,
    };
    let lock_wait = state.lock_wait.clone();
    // `Debug`, `Hash` and `Eq` of a key are user code: not under the lock.
    drop(state);
    if let Some(lock_wait) = lock_wait {
        (info.waiting_for_lock, info.waiting_on) = (Some("?".to_owned()), None);
        catch_and_log("the formatting of a key", || {
            info.waiting_on = lock_wait.holder();
            info.waiting_for_lock = Some(lock_wait.key());
        });
    }
    info
}
