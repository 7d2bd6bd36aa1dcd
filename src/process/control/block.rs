//! One process as others see it: whether it lives, its trap flag, links, monitors, name and mailbox.
//! Everything in `process` works on blocks; only the process' own thread has more (`me`).

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use once_cell::sync::OnceCell;

use crate::pid::{IdHasher, MonitorRef, Pid, TimerRef};
use crate::process::control::activity::ActivityCell;
use crate::process::park::parker::CacheLinePadding;
use crate::process::park::parker::Parker;
use crate::reason::ExitReason;
use crate::sync::atomic::{AtomicIsize, AtomicU8, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// What the runtime itself puts into a mailbox.
#[derive(Debug, Clone)]
pub(crate) enum SystemMessage {
    /// A trapped exit signal.
    Exit { from: Pid, reason: ExitReason },
    /// A monitored process ended.
    Down { monitor: MonitorRef, target: MonitorTarget, reason: ExitReason },
}

/// What a monitor was set on, as its `Down` repeats it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MonitorTarget {
    /// A process by its pid.
    Pid(Pid),
    /// Whoever held this name when the monitor was made.
    Name(Arc<str>),
}

impl fmt::Display for MonitorTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pid(pid) => pid.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// The face of a mailbox that does not know its type.
pub(crate) trait DynMailbox: Send + Sync {
    /// Puts a notice behind what is there.
    fn notify(&self, message: SystemMessage);
    /// How many messages wait.
    fn len(&self) -> usize;
    /// How many messages were ever taken out of it.
    fn received(&self) -> usize;
    /// The name of the message type, for error messages.
    fn message_type(&self) -> &'static str;
}

/// Something outside the mailboxes that waits for a death: a caller, a `Watch`.
pub(crate) trait ExitListener: Send + Sync {
    fn on_exit(&self, reason: &ExitReason);
}

/// What a supervisor tells of itself to whoever looks.
pub(crate) trait SupervisorStatus: Send + Sync {
    /// How many restarts it has made, and may make.
    fn summary(&self) -> String;
    /// All of it, for who knows its type.
    fn as_any(&self) -> &dyn Any;
}

/// A name or key that a process holds and that must be free before anybody hears of its death.
pub(crate) trait HeldResource: Send + Sync {
    /// Frees what others wait for. It runs no code of users, and for all that is held before any of it is released,
    /// because that may, and may wait for what is freed here.
    fn release_locks(&self) {}
    fn release(&self, holder: Pid);
}

/// How far a process is on its way from birth to the grave.
#[derive(Debug, Clone)]
pub(crate) enum Phase {
    Running,
    /// A fatal signal was accepted, or the process is ending by itself: the reason stands.
    Exiting(ExitReason),
    /// Links and monitors have been told, or are being told.
    Dead(ExitReason),
}

/// The other end of a link or monitor. One kind today: a process of this program.
#[derive(Clone)]
pub(crate) struct Peer(pub(crate) Arc<ProcessBlock>);

/// Who is told when this process ends.
pub(crate) enum Watcher {
    Process { peer: Peer, target: MonitorTarget },
    Listener(Arc<dyn ExitListener>),
}

/// A monitor this process holds: on whom, or fired with its `Down` still in the mailbox.
pub(crate) enum Monitoring {
    Active { peer: Peer, alias: Option<Arc<dyn Deactivate>> },
    Fired,
}

/// An address that ends with a monitor.
pub(crate) trait Deactivate: Send + Sync {
    fn deactivate(&self);
}

/// A link or monitor that reached this process while it was exiting: answered `noproc` when it is dead.
pub(crate) enum PendingRequest {
    Link(Peer),
    Watcher(MonitorRef, Watcher),
}

pub(crate) type Hook = Box<dyn FnOnce() + Send>;

/// The part of a block behind its lock.
pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) traps_exits: bool,
    pub(crate) links: HashMap<Pid, Peer, IdHasher>,
    pub(crate) monitoring: HashMap<MonitorRef, Monitoring, IdHasher>,
    pub(crate) watchers: HashMap<MonitorRef, Watcher, IdHasher>,
    pub(crate) pending_requests: Vec<PendingRequest>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) held_resources: Vec<Arc<dyn HeldResource>>,
    pub(crate) label: Option<Arc<str>>,
    pub(crate) hooks: Vec<(TimerRef, Hook)>,
    /// Timers whose message goes to this process.
    pub(crate) timers: HashSet<TimerRef, IdHasher>,
    /// A signal decided the end while an unwinding of the process' own was under way: if nobody catches
    /// that one, its reason counts.
    pub(crate) own_exit_first: bool,
    /// When the runtime declares this process dead although its thread goes on.
    pub(crate) exit_timer: Option<TimerRef>,
    /// The process that waits for this one's start and learns of a failure from that, not by a message.
    pub(crate) starter: Option<Pid>,
    /// All whom its death concerns have been told: who comes now is answered at once. Who comes while they are
    /// being told waits, so that nobody hears of a death before those who were linked.
    pub(crate) links_notified: bool,
    /// The earlier holders of this process' name: still unwinding, so this one must wait before it begins.
    pub(crate) predecessors: Vec<Arc<ProcessBlock>>,
}

/// What is known of a process from its birth.
#[derive(Debug, Clone)]
pub(crate) struct SpawnInfo {
    pub(crate) ancestors: Arc<[Pid]>,
    /// The process that began the application it belongs to.
    pub(crate) application: Option<Pid>,
    pub(crate) spawned_at: &'static Location<'static>,
    pub(crate) started_at: Instant,
    pub(crate) kill_grace: Duration,
    pub(crate) exit_timeout: Duration,
    pub(crate) kind: ProcessKind,
}

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ProcessKind {
    /// A function, started with `spawn` or its like.
    #[default]
    Process,
    /// A task.
    Task,
    /// A server, or an agent.
    Server,
    /// A server that keeps others running.
    Supervisor,
}

/// Returns what a process is called in listings and logs: its name, or its label if it has no name.
pub(crate) fn display_name<'a>(
    name: &'a Option<Arc<str>>,
    label: &'a Option<Arc<str>>,
) -> Option<&'a Arc<str>> {
    name.as_ref().or(label.as_ref())
}

const EXITING: u8 = 1;
const UNWINDING: u8 = 2;
const CLEANING_UP: u8 = 4;
const DEAD: u8 = 8;
const SIGNALLED: u8 = 16;
const THREAD_DONE: u8 = 32;

/// One process as others see it.
#[repr(C)]
pub(crate) struct ProcessBlock {
    pub(crate) pid: Pid,
    pub(crate) spawn_info: SpawnInfo,
    pub(crate) parker: Arc<Parker>,
    pub(crate) mailbox: Arc<dyn DynMailbox>,
    /// The mailbox once more, for who knows its type.
    pub(crate) any_mailbox: Arc<dyn Any + Send + Sync>,
    flags: AtomicU8,
    /// Every sender reads what is above, and it hardly ever changes.
    _pad0: CacheLinePadding,
    /// What it is at.
    pub(crate) activity: ActivityCell,
    /// For supervisors.
    pub(crate) supervisor_status: OnceCell<Arc<dyn SupervisorStatus>>,
    /// The pid this process waits for in a call, or zero: what wait cycles are found by.
    pub(crate) waiting_on: AtomicU64,
    /// What a selective receive has taken out of the queue and put aside, less the `Down`s in either that
    /// a `demonitor_flush` has made void.
    pub(crate) saved_count: AtomicIsize,
    state: Mutex<State>,
}

impl ProcessBlock {
    pub(crate) fn new(pid: Pid, spawn_info: SpawnInfo, mailbox: Arc<impl DynMailbox + 'static>) -> Self {
        Self {
            pid,
            spawn_info,
            parker: Arc::new(Parker::default()),
            any_mailbox: Arc::clone(&mailbox) as Arc<dyn Any + Send + Sync>,
            mailbox,
            flags: AtomicU8::new(0),
            _pad0: CacheLinePadding::default(),
            activity: ActivityCell::default(),
            supervisor_status: OnceCell::new(),
            waiting_on: AtomicU64::new(0),
            saved_count: AtomicIsize::new(0),
            state: Mutex::new(State {
                phase: Phase::Running,
                traps_exits: false,
                links: HashMap::default(),
                monitoring: HashMap::default(),
                watchers: HashMap::default(),
                pending_requests: Vec::new(),
                name: None,
                held_resources: Vec::new(),
                label: None,
                hooks: Vec::new(),
                timers: HashSet::default(),
                own_exit_first: false,
                exit_timer: None,
                starter: None,
                links_notified: false,
                predecessors: Vec::new(),
            }),
        }
    }

    /// Locks the state. Never lock two processes at once, and run no user code under it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Returns why the process is exiting or has exited; `None` while it is running.
    pub(crate) fn exit_reason(&self) -> Option<ExitReason> {
        match &self.lock().phase {
            Phase::Exiting(reason) | Phase::Dead(reason) => Some(reason.clone()),
            Phase::Running => None,
        }
    }

    /// Returns the name of the process, or its label if it has no name.
    pub(crate) fn display_name(&self) -> Option<Arc<str>> {
        let state = self.lock();
        display_name(&state.name, &state.label).cloned()
    }

    /// How many messages wait in its mailbox.
    pub(crate) fn message_queue_len(&self) -> usize {
        let saved = self.saved_count.load(Ordering::Relaxed);
        self.mailbox.len().saturating_add_signed(saved)
    }

    /// Whether its end is decided: it is exiting or dead, and takes no more messages.
    #[inline]
    pub(crate) fn is_exiting(&self) -> bool {
        self.flags.load(Ordering::SeqCst) & EXITING != 0
    }

    /// Whether its links and monitors have been told.
    #[inline]
    pub(crate) fn is_dead(&self) -> bool {
        self.flags.load(Ordering::SeqCst) & DEAD != 0
    }

    /// Whether its names are being released or have been.
    pub(crate) fn is_cleaning_up(&self) -> bool {
        self.flags.load(Ordering::SeqCst) & CLEANING_UP != 0
    }

    /// Whether a runtime call of this process has anything to look at: one load on the fast path.
    #[inline]
    pub(crate) fn needs_attention(&self) -> bool {
        self.flags.load(Ordering::Acquire) != 0
    }

    /// Whether a panic, exit or throw of its own is under way that somebody may still catch.
    #[inline]
    pub(crate) fn is_unwinding(&self) -> bool {
        self.flags.load(Ordering::Acquire) & UNWINDING != 0
    }

    pub(crate) fn mark_exiting(&self) {
        self.flags.fetch_or(EXITING, Ordering::SeqCst);
    }

    /// Whether an exit signal decided its end, rather than the process itself.
    pub(crate) fn exited_by_signal(&self) -> bool {
        self.flags.load(Ordering::Acquire) & SIGNALLED != 0
    }

    /// Whether its thread is through with it.
    pub(crate) fn is_thread_done(&self) -> bool {
        self.flags.load(Ordering::SeqCst) & THREAD_DONE != 0
    }

    pub(crate) fn mark_thread_done(&self) {
        self.flags.fetch_or(THREAD_DONE, Ordering::SeqCst);
    }

    pub(crate) fn set_exited_by_signal(&self, value: bool) {
        if value {
            self.flags.fetch_or(SIGNALLED, Ordering::SeqCst);
        } else {
            self.flags.fetch_and(!SIGNALLED, Ordering::SeqCst);
        }
    }

    pub(crate) fn mark_dead(&self) {
        self.flags.fetch_or(DEAD, Ordering::SeqCst);
    }

    /// Claims the burial; true for the first to ask.
    pub(crate) fn begin_cleanup(&self) -> bool {
        self.flags.fetch_or(CLEANING_UP, Ordering::SeqCst) & CLEANING_UP == 0
    }

    pub(crate) fn set_unwinding(&self, value: bool) {
        if value {
            self.flags.fetch_or(UNWINDING, Ordering::AcqRel);
        } else {
            self.flags.fetch_and(!UNWINDING, Ordering::AcqRel);
        }
    }
}

impl fmt::Debug for ProcessBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("pid", &self.pid).finish_non_exhaustive()
    }
}
