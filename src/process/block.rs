//! One process as others see it: whether it lives, its trap flag, links, monitors, name and mailbox.
//! Everything in `process` works on blocks; only the process' own thread has more (`me`).

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use once_cell::sync::OnceCell;

use crate::pid::{MonitorRef, Pid, Serial, TimerRef};
use crate::process::activity::Doing;
use crate::process::wait::{Apart, Waiter};
use crate::reason::ExitReason;
use crate::sync::atomic::{AtomicIsize, AtomicU8, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// What the runtime itself puts into a mailbox.
#[derive(Debug, Clone)]
pub(crate) enum Notice {
    /// A trapped exit signal.
    Exit { from: Pid, reason: ExitReason },
    /// A monitored process ended.
    Down { monitor: MonitorRef, target: Target, reason: ExitReason },
}

/// What a monitor was set on, as its `Down` repeats it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Target {
    /// A process by its pid.
    Pid(Pid),
    /// Whoever held this name when the monitor was made.
    Name(Arc<str>),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pid(pid) => pid.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// The face of a mailbox that does not know its type.
pub(crate) trait Mailbox: Send + Sync {
    /// Puts a notice behind what is there.
    fn notify(&self, notice: Notice);
    /// How many messages wait.
    fn len(&self) -> usize;
    /// How many messages were ever taken out of it.
    fn taken(&self) -> usize;
    /// The name of the message type, for error messages.
    fn message_type(&self) -> &'static str;
}

/// Something outside the mailboxes that waits for a death: a caller, a `Watch`.
pub(crate) trait DeathWatch: Send + Sync {
    fn died(&self, reason: &ExitReason);
}

/// What a supervisor tells of itself to whoever looks.
pub(crate) trait Account: Send + Sync {
    /// How many restarts it has made, and may make.
    fn told(&self) -> String;
    /// All of it, for who knows its type.
    fn as_any(&self) -> &dyn Any;
}

/// A name or key that a process holds and that must be free before anybody hears of its death.
pub(crate) trait Held: Send + Sync {
    /// Frees what others wait for. It runs no code of users, and for all that is held before any of it is released,
    /// because that may, and may wait for what is freed here.
    fn free(&self) {}
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
pub(crate) struct Peer(pub(crate) Arc<Block>);

/// Who is told when this process ends.
pub(crate) enum Watcher {
    Process { peer: Peer, target: Target },
    Slot(Arc<dyn DeathWatch>),
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
pub(crate) enum Late {
    Link(Peer),
    Watcher(MonitorRef, Watcher),
}

pub(crate) type Hook = Box<dyn FnOnce() + Send>;

/// The part of a block behind its lock.
pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) trapping: bool,
    pub(crate) links: HashMap<Pid, Peer, Serial>,
    pub(crate) monitoring: HashMap<MonitorRef, Monitoring, Serial>,
    pub(crate) watchers: HashMap<MonitorRef, Watcher, Serial>,
    pub(crate) late: Vec<Late>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) held: Vec<Arc<dyn Held>>,
    pub(crate) label: Option<Arc<str>>,
    pub(crate) hooks: Vec<(TimerRef, Hook)>,
    /// Timers whose message goes to this process.
    pub(crate) timers: HashSet<TimerRef, Serial>,
    /// A signal decided the end while an unwinding of the process' own was under way: if nobody catches
    /// that one, its reason counts.
    pub(crate) overtaken: bool,
    /// When the runtime declares this process dead although its thread goes on.
    pub(crate) deadline: Option<TimerRef>,
    /// The process that waits for this one's start and learns of a failure from that, not by a message.
    pub(crate) starter: Option<Pid>,
    /// All whom its death concerns have been told: who comes now is answered at once. Who comes while they are
    /// being told waits, so that nobody hears of a death before those who were linked.
    pub(crate) told_all: bool,
    /// The earlier holders of this process' name: still unwinding, so this one must wait before it begins.
    pub(crate) predecessors: Vec<Arc<Block>>,
}

/// What is known of a process from its birth.
#[derive(Debug, Clone)]
pub(crate) struct Birth {
    pub(crate) ancestors: Arc<[Pid]>,
    /// The process that began the application it belongs to.
    pub(crate) application: Option<Pid>,
    pub(crate) spawned_at: &'static Location<'static>,
    pub(crate) at: Instant,
    pub(crate) kill_grace: Duration,
    pub(crate) exit_deadline: Duration,
    pub(crate) kind: Kind,
}

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Kind {
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

const DOOMED: u8 = 1;
const UNWINDING: u8 = 2;
const BURYING: u8 = 4;
const DEAD: u8 = 8;
const TOLD: u8 = 16;
const ENDED: u8 = 32;

/// One process as others see it.
#[repr(C)]
pub(crate) struct Block {
    pub(crate) pid: Pid,
    pub(crate) birth: Birth,
    pub(crate) waiter: Arc<Waiter>,
    pub(crate) mailbox: Arc<dyn Mailbox>,
    /// The mailbox once more, for who knows its type.
    pub(crate) post: Arc<dyn Any + Send + Sync>,
    flags: AtomicU8,
    /// Every sender reads what is above, and it hardly ever changes.
    _apart: Apart,
    /// What it is at.
    pub(crate) doing: Doing,
    /// For supervisors.
    pub(crate) account: OnceCell<Arc<dyn Account>>,
    /// The pid this process waits for in a call, or zero: what wait cycles are found by.
    pub(crate) waiting_on: AtomicU64,
    /// What a selective receive has taken out of the queue and put aside, less the `Down`s in either that
    /// a `demonitor_flush` has made void.
    pub(crate) aside: AtomicIsize,
    state: Mutex<State>,
}

impl Block {
    pub(crate) fn new(pid: Pid, birth: Birth, mailbox: Arc<impl Mailbox + 'static>) -> Self {
        Self {
            pid,
            birth,
            waiter: Arc::new(Waiter::default()),
            post: Arc::clone(&mailbox) as Arc<dyn Any + Send + Sync>,
            mailbox,
            flags: AtomicU8::new(0),
            _apart: Apart::default(),
            doing: Doing::default(),
            account: OnceCell::new(),
            waiting_on: AtomicU64::new(0),
            aside: AtomicIsize::new(0),
            state: Mutex::new(State {
                phase: Phase::Running,
                trapping: false,
                links: HashMap::default(),
                monitoring: HashMap::default(),
                watchers: HashMap::default(),
                late: Vec::new(),
                name: None,
                held: Vec::new(),
                label: None,
                hooks: Vec::new(),
                timers: HashSet::default(),
                overtaken: false,
                deadline: None,
                starter: None,
                told_all: false,
                predecessors: Vec::new(),
            }),
        }
    }

    /// Locks the state. Never lock two processes at once, and run no user code under it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// How many messages wait in its mailbox.
    pub(crate) fn unread(&self) -> usize {
        let aside = self.aside.load(Ordering::Relaxed);
        self.mailbox.len().saturating_add_signed(aside)
    }

    /// Whether its end is decided: it is exiting or dead, and takes no more messages.
    #[inline]
    pub(crate) fn doomed(&self) -> bool {
        self.flags.load(Ordering::SeqCst) & DOOMED != 0
    }

    /// Whether its links and monitors have been told.
    #[inline]
    pub(crate) fn dead(&self) -> bool {
        self.flags.load(Ordering::SeqCst) & DEAD != 0
    }

    /// Whether its names are being released or have been.
    pub(crate) fn burying(&self) -> bool {
        self.flags.load(Ordering::SeqCst) & BURYING != 0
    }

    /// Whether a runtime call of this process has anything to look at: one load on the fast path.
    #[inline]
    pub(crate) fn disturbed(&self) -> bool {
        self.flags.load(Ordering::Acquire) != 0
    }

    /// Whether a panic, exit or throw of its own is under way that somebody may still catch.
    #[inline]
    pub(crate) fn unwinding(&self) -> bool {
        self.flags.load(Ordering::Acquire) & UNWINDING != 0
    }

    pub(crate) fn mark_doomed(&self) {
        self.flags.fetch_or(DOOMED, Ordering::SeqCst);
    }

    /// Whether an exit signal decided its end, rather than the process itself.
    pub(crate) fn told(&self) -> bool {
        self.flags.load(Ordering::Acquire) & TOLD != 0
    }

    /// Whether its thread is through with it.
    pub(crate) fn ended(&self) -> bool {
        self.flags.load(Ordering::SeqCst) & ENDED != 0
    }

    pub(crate) fn mark_ended(&self) {
        self.flags.fetch_or(ENDED, Ordering::SeqCst);
    }

    pub(crate) fn mark_told(&self, yes: bool) {
        if yes {
            self.flags.fetch_or(TOLD, Ordering::SeqCst);
        } else {
            self.flags.fetch_and(!TOLD, Ordering::SeqCst);
        }
    }

    pub(crate) fn mark_dead(&self) {
        self.flags.fetch_or(DEAD, Ordering::SeqCst);
    }

    /// Claims the burial; true for the first to ask.
    pub(crate) fn claim_burial(&self) -> bool {
        self.flags.fetch_or(BURYING, Ordering::SeqCst) & BURYING == 0
    }

    pub(crate) fn mark_unwinding(&self, yes: bool) {
        if yes {
            self.flags.fetch_or(UNWINDING, Ordering::AcqRel);
        } else {
            self.flags.fetch_and(!UNWINDING, Ordering::AcqRel);
        }
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("pid", &self.pid).finish_non_exhaustive()
    }
}
