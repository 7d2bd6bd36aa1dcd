//! The process control block: everything that other threads may read or change of a process. It holds the
//! phase, flags, links, monitors, name, mailbox and parker. State that only the process itself uses is in
//! `local.rs`.
//!
//! Never lock two blocks at once, and never run user code (destructors of messages and reasons included)
//! under the lock.

use std::any::Any;
use std::collections::{BTreeMap, HashMap, HashSet};
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

/// A message that the runtime puts into a mailbox.
#[derive(Debug, Clone)]
pub(crate) enum SystemMessage {
    /// A trapped exit signal.
    Exit { from: Pid, reason: ExitReason },
    /// A monitored process has exited.
    Down { monitor: MonitorRef, target: MonitorTarget, reason: ExitReason },
}

/// The target of a monitor, as the caller named it. The `Down` message contains it.
///
/// ```
/// use rethread::process::{self, Event, Inbox, MonitorTarget};
///
/// process::attach_receiver(|inbox: &mut Inbox<()>| {
///     let _ = process::monitor_name("doc.unused");
///     let Event::Down { target, .. } = inbox.recv() else { panic!("expected a Down") };
///     assert_eq!(target, MonitorTarget::Name("doc.unused".into()));
///     assert_eq!(target.to_string(), "doc.unused");
/// })?;
/// # Ok::<(), process::AttachError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MonitorTarget {
    /// A process by its pid.
    Pid(Pid),
    /// The process that held this name when the monitor was created.
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

/// A mailbox whose message type is not known.
pub(crate) trait DynMailbox: Send + Sync {
    /// Appends a system message. Does not wake the process.
    fn push_system(&self, message: SystemMessage);
    /// Returns the number of messages in the queue.
    fn len(&self) -> usize;
    /// Returns the number of messages ever taken out of the queue.
    fn received(&self) -> usize;
    /// Returns the name of the message type, for error messages.
    fn message_type(&self) -> &'static str;
}

/// A watcher that needs no mailbox: the reply slot of a call, a `Watch`, the result slot of a task. Also used to wait for
/// the reaping of a zombie.
pub(crate) trait ExitListener: Send + Sync {
    /// Records the exit reason. The threads that poll must not see it before [`ProcessBlock::is_notified`], so that all
    /// listeners of a process learn of its exit at the same moment. Must not run user code.
    fn record_exit(&self, reason: &ExitReason);
    /// Wakes the threads that wait. They see the reason from now on.
    fn wake(&self);
}

/// State of a supervisor that observers can read without a call.
pub(crate) trait SupervisorStatus: Send + Sync {
    /// Formats the number of restarts used, and the maximum.
    fn summary(&self) -> String;
    /// Returns `true` while the supervisor starts a child that keeps failing, and logs the failures itself.
    fn reports_start(&self) -> bool;
    /// Returns the whole status, for a caller that knows its type.
    fn as_any(&self) -> &dyn Any;
}

/// What a process holds outside its block: the key of a `Via` table, or its entries and locks in a registry. (Its
/// registered name is released separately.) It is released before links and monitors are notified, so that a
/// replacement process can take it at once.
pub(crate) trait HeldResource: Send + Sync {
    /// Releases what other processes wait for. Exit cleanup calls it for all resources before it calls
    /// `release` for any: `release` may run user code, which may wait for a lock that this process holds.
    /// Runs no user code other than `Hash`, `Eq` and destructors of keys.
    fn release_locks(&self) {}
    /// Releases the resource. May run user code.
    fn release(&self, holder: Pid);
}

/// The phase of a process. It only moves forward.
#[derive(Debug, Clone)]
pub(crate) enum Phase {
    Running,
    /// A fatal signal was accepted, or the process is exiting by itself. The reason is final, except for
    /// `own_exit_first`.
    Exiting(ExitReason),
    /// Names and other resources are released; links and monitors have been notified or are being notified.
    Dead(ExitReason),
}

/// The other end of a link or monitor. So far always a process of this program.
#[derive(Clone)]
pub(crate) struct Peer(pub(crate) Arc<ProcessBlock>);

/// A monitor on this process, notified when it exits: a process receives a `Down` message, a listener is
/// called.
pub(crate) enum Watcher {
    Process(ProcessWatcher),
    Listener(Arc<dyn ExitListener>),
}

/// A process that gets a `Down` message.
pub(crate) struct ProcessWatcher {
    pub(crate) peer: Peer,
    pub(crate) target: MonitorTarget,
}

/// A monitor that this process holds on another one.
pub(crate) enum Monitoring {
    /// The target has not exited. The alias, if any, is deactivated when the monitor fires.
    Active { peer: Peer, alias: Option<Arc<dyn Deactivate>> },
    /// The `Down` is in the mailbox and has not been received.
    Fired,
}

/// An alias that is tied to a monitor.
pub(crate) trait Deactivate: Send + Sync {
    /// Makes the alias drop all further messages.
    fn deactivate(&self);
}

/// A link or monitor that was requested while this process was exiting. It is answered with `NoProc` after
/// the links and monitors that existed before have been notified.
pub(crate) enum PendingRequest {
    Link(Peer),
    Watcher(MonitorRef, Watcher),
}

/// The lock of a registry key that a process waits for.
pub(crate) trait LockWait: Send + Sync {
    /// Formats the key. Runs user code, its `Debug`.
    fn key(&self) -> String;
    /// Returns the thread that holds the lock; that of a process has its pid. Runs `Hash` and `Eq` of the key.
    fn holder(&self) -> Option<Pid>;
}

/// Runs once when a fatal exit signal arrives: see `process::on_exit_request`.
pub(crate) type Hook = Box<dyn FnOnce() + Send>;

/// The part of a block that is protected by its lock.
pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) traps_exits: bool,
    pub(crate) links: HashMap<Pid, Peer, IdHasher>,
    /// Monitors that this process holds on others.
    pub(crate) monitoring: HashMap<MonitorRef, Monitoring, IdHasher>,
    /// Monitors that others hold on this process.
    pub(crate) watchers: HashMap<MonitorRef, Watcher, IdHasher>,
    pub(crate) pending_requests: Vec<PendingRequest>,
    pub(crate) name: Option<Arc<str>>,
    /// Released during exit cleanup, in the order of their numbers: see `hold`.
    pub(crate) held_resources: BTreeMap<u64, Arc<dyn HeldResource>>,
    /// Set while the process waits for the lock of a key, for observers.
    pub(crate) lock_wait: Option<Arc<dyn LockWait>>,
    /// Shown by observers for a process without a name. It need not be unique.
    pub(crate) label: Option<Arc<str>>,
    /// Run in the order in which they were registered.
    pub(crate) hooks: BTreeMap<TimerRef, Hook>,
    /// Pending timers whose message goes to this process. They are cancelled during exit cleanup.
    pub(crate) timers: HashSet<TimerRef, IdHasher>,
    /// A signal arrived while the process was unwinding already. If that unwind is not caught, its reason
    /// replaces that of the signal.
    pub(crate) own_exit_first: bool,
    /// Fires at the exit deadline: if the thread is still running then, the process becomes a zombie.
    pub(crate) exit_timer: Option<TimerRef>,
    /// The linked process that learns of the exit from the result of the start, or of the task, and gets no
    /// `Exit` message. It still exits with this process, unless it traps exits.
    pub(crate) no_exit_message_to: Option<Pid>,
    /// Each link has its signal and each monitor its message: a link or monitor set from now on is answered at
    /// once. One set earlier waits in `pending_requests`, so that no thread learns of the exit before them.
    pub(crate) links_notified: bool,
    /// Earlier holders of the names of this process whose threads are still unwinding. The process waits for
    /// them before it runs its body, because they may still hold files or ports.
    pub(crate) predecessors: Vec<Arc<ProcessBlock>>,
}

impl State {
    /// Adds a resource that exit cleanup releases, and returns its number.
    pub(crate) fn hold(&mut self, resource: Arc<dyn HeldResource>) -> u64 {
        let number = self.held_resources.last_key_value().map_or(0, |(last, _)| last + 1);
        self.held_resources.insert(number, resource);
        number
    }
}

/// Data of a process that is fixed when it is spawned.
#[derive(Debug, Clone)]
pub(crate) struct SpawnInfo {
    /// The parent first.
    pub(crate) ancestors: Arc<[Pid]>,
    /// The process that leads the application this process belongs to.
    pub(crate) application: Option<Pid>,
    pub(crate) spawned_at: &'static Location<'static>,
    pub(crate) started_at: Instant,
    /// Time the process has to unwind after it was killed.
    pub(crate) kill_grace: Duration,
    /// Time the process has to unwind after any other exit reason.
    pub(crate) exit_timeout: Duration,
    pub(crate) kind: ProcessKind,
}

/// The kind of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ProcessKind {
    /// A function, started with `spawn` or a variant of it.
    #[default]
    Process,
    /// A task.
    Task,
    /// A server, or an agent.
    Server,
    /// A server that starts other processes and restarts them.
    Supervisor,
}

/// Returns what a process is called in listings and logs: its name, or its label if it has no name.
pub(crate) fn display_name<'a>(
    name: &'a Option<Arc<str>>,
    label: &'a Option<Arc<str>>,
) -> Option<&'a Arc<str>> {
    name.as_ref().or(label.as_ref())
}

// Bits of `ProcessBlock::flags`, read without the lock. `EXITING` and `DEAD` repeat `State::phase`, `NOTIFIED` repeats
// `State::links_notified`; the others are only here.

/// The phase is not `Running`.
const EXITING: u8 = 1;
/// The process is unwinding because of a panic, exit or throw of its own that may still be caught.
const UNWINDING: u8 = 2;
/// Exit cleanup has begun, on one thread.
const CLEANING_UP: u8 = 4;
/// The phase is `Dead`.
const DEAD: u8 = 8;
/// An exit signal decided the exit reason.
const SIGNALLED: u8 = 16;
/// The thread has finished with the process.
const THREAD_DONE: u8 = 32;
/// All links and monitors have their message, and all listeners have recorded the exit.
const NOTIFIED: u8 = 64;

/// The control block of one process.
#[repr(C)]
pub(crate) struct ProcessBlock {
    pub(crate) pid: Pid,
    pub(crate) spawn_info: SpawnInfo,
    pub(crate) parker: Arc<Parker>,
    pub(crate) mailbox: Arc<dyn DynMailbox>,
    /// The same mailbox, to be downcast by a caller that knows the message type.
    pub(crate) any_mailbox: Arc<dyn Any + Send + Sync>,
    flags: AtomicU8,
    /// Separates the fields above, which every sender reads and which rarely change, from those below, which
    /// change with every message.
    _pad0: CacheLinePadding,
    pub(crate) activity: ActivityCell,
    /// Set by supervisors only.
    pub(crate) supervisor_status: OnceCell<Arc<dyn SupervisorStatus>>,
    /// The pid of the process that this one waits for (in a call, a start, a join or a stop), or 0; its own pid if
    /// it waits for all its descendants. While it waits for the lock of a key, the thread before it in the queue. The
    /// edges of the wait-for graph: `gen_server/wait_graph.rs`.
    pub(crate) waiting_on: AtomicU64,
    /// Number of events that a selective receive has taken out of the queue and saved, minus the number of
    /// `Down`s (saved or in the queue) that a `demonitor_flush` has invalidated. May be negative.
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
            // An unlinked, running process: `start_process` adds links, monitors and names.
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
                held_resources: BTreeMap::new(),
                lock_wait: None,
                label: None,
                hooks: BTreeMap::new(),
                timers: HashSet::default(),
                own_exit_first: false,
                exit_timer: None,
                no_exit_message_to: None,
                links_notified: false,
                predecessors: Vec::new(),
            }),
        }
    }

    /// Locks the state. The caller must not hold the lock of another block, and must not run user code under
    /// it.
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

    /// Returns the number of messages in the mailbox that have not been received.
    pub(crate) fn message_queue_len(&self) -> usize {
        // The two are not read atomically, so the result may be off by one while a message is received.
        let saved = self.saved_count.load(Ordering::Relaxed);
        self.mailbox.len().saturating_add_signed(saved)
    }

    /// Returns `true` if the process is exiting or has exited: it accepts no more messages.
    #[inline]
    pub(crate) fn is_exiting(&self) -> bool {
        self.flags.load(Ordering::SeqCst) & EXITING != 0
    }

    /// Returns `true` if the process has exited: its links and monitors have been notified, or are being
    /// notified. Its thread may still be running, as that of a zombie.
    #[inline]
    pub(crate) fn is_dead(&self) -> bool {
        self.flags.load(Ordering::SeqCst) & DEAD != 0
    }

    /// Returns `true` if exit cleanup has begun: names are being released, or have been.
    pub(crate) fn is_cleaning_up(&self) -> bool {
        self.flags.load(Ordering::SeqCst) & CLEANING_UP != 0
    }

    /// Returns `true` if a checkpoint of this process has something to check. One load, for the fast path of
    /// every runtime call.
    #[inline]
    pub(crate) fn needs_attention(&self) -> bool {
        // Acquire suffices here and below: the process reads its own flags, and what another thread did
        // before it set one becomes visible. The order relative to other variables matters only where
        // `SeqCst` is used.
        self.flags.load(Ordering::Acquire) != 0
    }

    /// Returns `true` if the process is unwinding because of a panic, exit or throw of its own, which may
    /// still be caught.
    #[inline]
    pub(crate) fn is_unwinding(&self) -> bool {
        self.flags.load(Ordering::Acquire) & UNWINDING != 0
    }

    /// Sets the flag that repeats `Phase::Exiting`. The caller holds the lock of the state.
    pub(crate) fn mark_exiting(&self) {
        self.flags.fetch_or(EXITING, Ordering::SeqCst);
    }

    /// Returns `true` if an exit signal decided the exit reason, rather than the process itself.
    pub(crate) fn exited_by_signal(&self) -> bool {
        self.flags.load(Ordering::Acquire) & SIGNALLED != 0
    }

    /// Returns `true` if the thread has finished with the process.
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

    /// Sets the flag that repeats `Phase::Dead`. The caller holds the lock of the state.
    pub(crate) fn mark_dead(&self) {
        self.flags.fetch_or(DEAD, Ordering::SeqCst);
    }

    /// Returns `true` if all links and monitors have been notified of the exit: from now on a thread that waits for the
    /// exit may learn of it.
    #[inline]
    pub(crate) fn is_notified(&self) -> bool {
        // Acquire: what the listeners have recorded before becomes visible.
        self.flags.load(Ordering::Acquire) & NOTIFIED != 0
    }

    /// Sets the flag that repeats `State::links_notified`. The caller holds the lock of the state.
    pub(crate) fn mark_notified(&self) {
        self.flags.fetch_or(NOTIFIED, Ordering::SeqCst);
    }

    /// Claims the exit cleanup. Returns `true` for the first caller only.
    pub(crate) fn begin_cleanup(&self) -> bool {
        // The thread of the process and the reaper may arrive at the same time, if the exit deadline passes
        // while the thread finishes. Exactly one finds the bit unset.
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
