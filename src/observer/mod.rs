//! A look into the running program: the whole tree, one process, the busiest ones, and news as they happen. Plain data
//! for whoever draws, serves or logs it; nothing is collected before somebody looks.
//!
//! ```
//! use rethread::observer::{self, By};
//! use rethread::prelude::*;
//!
//! let idle = || loop { process::sleep(std::time::Duration::from_secs(60)) };
//! let plan = Supervisor::one_for_one().name(ServerRef::named("doc.observed"));
//! let system = plan.child(ChildSpec::worker("idler", idle)).start_link()?;
//!
//! let snapshot = observer::snapshot();
//! println!("{snapshot}"); // the tree
//! let idler = snapshot.find("idler").expect("it runs");
//! assert_eq!(idler.parent(), system.whereis());
//! for busy in observer::top(By::Mailbox, 3) {
//!     println!("{busy}");
//! }
//! # system.stop()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It asks nobody: a server that hangs is shown as it hangs. What one look shows is not of one single moment, as little as
//! in Erlang: while it goes from process to process they go on.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, SystemTime};

use crate::pid::Pid;
use crate::process::control::activity::Activity;
use crate::process::control::block::ProcessBlock;
use crate::process::control::block::ProcessKind;
use crate::process::control::local;
use crate::process::control::table;
use crate::process::observe::events;
use crate::process::observe::info::ProcessInfo;
use crate::process::observe::info::ProcessState;
use crate::process::observe::info::collect_info;
use crate::process::observe::zombie::Zombie;
use crate::process::observe::zombie::zombies;
use crate::supervisor::child::ChildState;
use crate::supervisor::spec::Strategy;
use crate::supervisor::status::StatusBoard;

pub use crate::process::observe::events::EventReceiver;
pub use crate::process::observe::events::ProcessEvent;
pub use crate::process::observe::events::ProcessEventKind;
pub use crate::supervisor::intensity::RestartCount;
pub use crate::supervisor::status::ChildStatus;

/// What is known of one process. Its `Display` is one line.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProcessSnapshot {
    /// What is known of every process.
    pub info: ProcessInfo,
    /// What is known of a supervisor.
    pub supervision: Option<Supervision>,
}

/// What is known of a supervisor.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Supervision {
    /// Whom the end of one child concerns; `None` for a dynamic supervisor, where it concerns only that child.
    pub strategy: Option<Strategy>,
    /// The restarts made within its period, and how many may be.
    pub restarts: RestartCount,
    /// Its children in start order, as after the last message it handled, those included that do not run. Empty for a
    /// dynamic supervisor: its children are the processes that it is the parent of.
    pub children: Vec<ChildStatus>,
}

impl ProcessSnapshot {
    fn from_block(block: &ProcessBlock) -> Self {
        let board =
            block.supervisor_status.get().and_then(|account| account.as_any().downcast_ref::<StatusBoard>());
        let supervision = board.map(|board| Supervision {
            strategy: board.strategy,
            restarts: board.restarts(),
            children: board.children.lock().clone(),
        });
        let mut info = collect_info(block);
        if supervision.is_some() {
            info.kind = ProcessKind::Supervisor;
        }
        Self { info, supervision }
    }

    /// Its pid.
    pub fn pid(&self) -> Pid {
        self.info.pid
    }

    /// Its name, or else its label, or else what kind of server or process it is.
    pub fn display_name(&self) -> &str {
        let given = self.info.name.as_ref().or(self.info.label.as_ref());
        given.map_or_else(|| self.type_name(), AsRef::as_ref)
    }

    /// The type of the server, without its path; for others what they are.
    pub fn type_name(&self) -> &str {
        match self.info.kind {
            ProcessKind::Server | ProcessKind::Supervisor => server_type(self.info.message_type),
            ProcessKind::Task => "task",
            ProcessKind::Process => "process",
        }
    }

    /// The process that started it: for a supervised child its supervisor. It may be dead.
    pub fn parent(&self) -> Option<Pid> {
        self.info.ancestors.first().copied()
    }

    /// How often it, as the child of its supervisor that it is, was started again.
    fn restarts(&self, all: &BTreeMap<Pid, &Self>) -> u64 {
        let parent = self.parent().and_then(|parent| all.get(&parent));
        let children = parent.and_then(|parent| parent.supervision.as_ref()).map(|own| &own.children);
        let own = children.and_then(|all| all.iter().find(|status| status.child.pid() == Some(self.pid())));
        own.map_or(0, |status| status.restarts)
    }
}

/// What follows the title: what it is, what it is at, its mail.
impl fmt::Display for ProcessSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.display_name(), self.pid(), StatusText(self))
    }
}

struct StatusText<'a>(&'a ProcessSnapshot);

impl fmt::Display for StatusText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(ProcessSnapshot { info, supervision }) = self;
        if let Some(supervision) = supervision {
            write!(f, "{}, {}, ", StrategyName(supervision.strategy), supervision.restarts)?;
        }
        match &info.state {
            ProcessState::Waiting => f.write_str("waiting")?,
            ProcessState::Running => {
                write!(f, "{}", info.activity)?;
                // What runs besides, a loop of its own perhaps, may run for ever.
                let in_handler = !matches!(info.activity, Activity::Body | Activity::Waiting);
                if in_handler && info.active_for >= MIN_SHOWN_TIME {
                    write!(f, " for {:.1?}", info.active_for)?;
                }
            }
            ProcessState::Exiting(reason) => write!(f, "exiting: {reason}")?,
            ProcessState::Zombie(reason) => write!(f, "zombie: {reason}")?,
        }
        if let Some(pid) = info.waiting_on {
            write!(f, " for {pid}")?;
        }
        if info.mailbox_len > 0 {
            write!(f, ", mail {}", info.mailbox_len)?;
        }
        Ok(())
    }
}

/// A handler that runs for less is as good as done.
const MIN_SHOWN_TIME: Duration = Duration::from_millis(1);

struct StrategyName(Option<Strategy>);

impl fmt::Display for StrategyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(strategy) => strategy.fmt(f),
            None => f.write_str("dynamic"),
        }
    }
}

/// The server's type from that of its messages, without paths: `a::Envelope<b::Cache<c::Key>>` is `Cache<Key>`.
fn server_type(message_type: &'static str) -> &'static str {
    let inner =
        message_type.split_once('<').and_then(|(_, rest)| rest.strip_suffix('>')).unwrap_or(message_type);
    let path = inner.split('<').next().unwrap_or(inner);
    inner.get(path.rfind("::").map_or(0, |at| at + 2)..).unwrap_or(inner)
}

/// All processes there are, at about the same moment. Its `Display` is the tree of who started whom.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Snapshot {
    /// When it was taken.
    pub at: SystemTime,
    /// All processes, in order of birth.
    pub processes: Vec<ProcessSnapshot>,
    /// Those that are dead for everybody else while their threads go on, oldest first.
    pub zombies: Vec<Zombie>,
}

/// One line of the tree.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TreeRow<'a> {
    /// How deep it is: 0 for the processes that no living process has started.
    pub depth: usize,
    /// What stands before it in the picture.
    pub indent: String,
    /// Who it is.
    pub node: Node<'a>,
}

/// What stands in the tree.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Node<'a> {
    /// A process.
    Process {
        /// The process.
        process: &'a ProcessSnapshot,
        /// How often its supervisor has started this child again.
        restarts: u64,
    },
    /// A child that its supervisor keeps and that does not run now.
    NotRunning(&'a ChildStatus),
}

/// All processes, as they are now.
pub fn snapshot() -> Snapshot {
    local::checkpoint();
    let processes = table::all().iter().map(|block| ProcessSnapshot::from_block(block)).collect();
    Snapshot { at: SystemTime::now(), processes, zombies: zombies() }
}

/// What is known of one process; `None` if it is dead, and no zombie.
pub fn info(pid: impl Into<Pid>) -> Option<ProcessSnapshot> {
    let pid = pid.into();
    local::checkpoint();
    table::get(pid)
        .or_else(|| crate::process::observe::zombie::get(pid))
        .map(|block| ProcessSnapshot::from_block(&block))
}

/// By what [`top`] sorts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SortBy {
    /// Who has most unread messages.
    Mailbox,
    /// Which server has been in one handler for longest.
    Busy,
    /// Which supervisor has used most of its restarts.
    Restarts,
    /// Who has received most messages.
    Received,
    /// Who has lived for longest.
    Uptime,
}

/// The first `n` processes by some measure, those at the top first. Who scores nothing is left out.
pub fn top(by: SortBy, n: usize) -> Vec<ProcessSnapshot> {
    let score = |process: &ProcessSnapshot| -> u128 {
        let info = &process.info;
        match by {
            SortBy::Mailbox => info.mailbox_len as u128,
            SortBy::Busy if info.state == ProcessState::Running && info.activity != Activity::Body => {
                info.active_for.as_nanos()
            }
            SortBy::Busy => 0,
            SortBy::Restarts => process.supervision.as_ref().map_or(0, |own| own.restarts.used as u128),
            SortBy::Received => info.received as u128,
            SortBy::Uptime => info.uptime.as_nanos(),
        }
    };
    let mut all = snapshot().processes;
    all.retain(|process| score(process) > 0);
    all.sort_by_key(|process| Reverse(score(process)));
    all.truncate(n);
    all
}

/// Room for so many unread events in [`events`].
const DEFAULT_CAPACITY: usize = 1024;

/// News of all processes from now on: births, deaths with their reasons, restarts, zombies. A reader that is slow loses
/// the oldest of them, here beyond 1024, and holds up nobody.
///
/// ```
/// use rethread::observer::{self, Change};
/// use rethread::process;
///
/// let mut events = observer::events();
/// let child = process::spawn::<()>(|_| ())?;
/// let death = loop {
///     let event = events.recv();
///     if event.pid == child.pid() && matches!(event.change, Change::Exited { .. }) {
///         break event;
///     }
/// };
/// println!("{death}");
/// # Ok::<(), process::SpawnError>(())
/// ```
pub fn events() -> EventReceiver {
    events_with_capacity(DEFAULT_CAPACITY)
}

/// As [`events`], with room for so many unread ones, at least one.
pub fn events_with_capacity(capacity: usize) -> EventReceiver {
    local::checkpoint();
    events::subscribe(capacity)
}

impl Snapshot {
    /// The process with this pid.
    pub fn get(&self, pid: impl Into<Pid>) -> Option<&ProcessSnapshot> {
        let pid = pid.into();
        self.processes.iter().find(|process| process.pid() == pid)
    }

    /// The process of this name, or else the first with this label.
    pub fn find(&self, name: &str) -> Option<&ProcessSnapshot> {
        let named = |process: &&ProcessSnapshot| process.info.name.as_deref() == Some(name);
        let labelled = |process: &&ProcessSnapshot| process.info.label.as_deref() == Some(name);
        self.processes.iter().find(named).or_else(|| self.processes.iter().find(labelled))
    }

    /// The tree line by line: each process before those that it has started, these in order of birth, those of a
    /// supervisor in start order.
    pub fn tree(&self) -> Vec<TreeRow<'_>> {
        self.tree_below(None)
    }

    /// As [`tree`](Self::tree), only this process and what is below it.
    pub fn tree_of(&self, root: impl Into<Pid>) -> Vec<TreeRow<'_>> {
        self.tree_below(Some(root.into()))
    }

    fn tree_below(&self, root: Option<Pid>) -> Vec<TreeRow<'_>> {
        let all: BTreeMap<Pid, &ProcessSnapshot> =
            self.processes.iter().map(|one| (one.pid(), one)).collect();
        let mut children: BTreeMap<Option<Pid>, Vec<Pid>> = BTreeMap::new();
        for (pid, process) in &all {
            let parent = process.info.ancestors.iter().copied().find(|parent| all.contains_key(parent));
            children.entry(parent).or_default().push(*pid);
        }
        let mut builder = TreeBuilder { all, children, visited: BTreeSet::new(), rows: Vec::new() };
        let roots =
            root.map_or_else(|| builder.children.remove(&None).unwrap_or_default(), |root| vec![root]);
        for root in roots {
            builder.add_subtree(root, 0, String::new(), "");
        }
        builder.rows
    }
}

struct TreeBuilder<'a> {
    all: BTreeMap<Pid, &'a ProcessSnapshot>,
    children: BTreeMap<Option<Pid>, Vec<Pid>>,
    visited: BTreeSet<Pid>,
    rows: Vec<TreeRow<'a>>,
}

impl TreeBuilder<'_> {
    fn add_subtree(&mut self, pid: Pid, depth: usize, indent: String, prefix: &str) {
        let Some(process) = self.all.get(&pid).copied().filter(|_| self.visited.insert(pid)) else { return };
        let restarts = process.restarts(&self.all);
        self.rows.push(TreeRow { depth, indent, node: Node::Process { process, restarts } });
        let child_statuses =
            process.supervision.as_ref().map(|own| own.children.as_slice()).unwrap_or_default();
        let mut nodes: Vec<Result<Pid, &ChildStatus>> = child_statuses
            .iter()
            .map(|status| match status.child.state {
                ChildState::Running(pid) if self.all.contains_key(&pid) => Ok(pid),
                _ => Err(status),
            })
            .collect();
        let others = self.children.remove(&Some(pid)).unwrap_or_default();
        nodes.extend(
            others
                .into_iter()
                .filter(|pid| !child_statuses.iter().any(|status| status.child.pid() == Some(*pid)))
                .map(Ok),
        );
        for (n, node) in nodes.iter().enumerate() {
            let bar = if n + 1 < nodes.len() { "|  " } else { "   " };
            match node {
                Ok(pid) => {
                    self.add_subtree(*pid, depth + 1, format!("{prefix}+- "), &format!("{prefix}{bar}"))
                }
                Err(status) => {
                    let indent = format!("{prefix}x- ");
                    self.rows.push(TreeRow { depth: depth + 1, indent, node: Node::NotRunning(status) });
                }
            }
        }
    }
}

impl TreeRow<'_> {
    /// The left side of its line: indent, title, how often it was started again, pid.
    fn left_column(&self) -> String {
        match self.node {
            Node::Process { process, restarts } => {
                let restarted = if restarts > 0 { format!(" again x{restarts}") } else { String::new() };
                format!("{}{}{restarted} {}", self.indent, process.display_name(), process.pid())
            }
            Node::NotRunning(status) => format!("{}{}", self.indent, status.child.id),
        }
    }

    fn right_column(&self) -> String {
        match self.node {
            Node::Process { process, .. } => StatusText(process).to_string(),
            Node::NotRunning(status) if status.child.state == ChildState::Restarting => {
                "to be started again".to_owned()
            }
            Node::NotRunning(_) => "not running".to_owned(),
        }
    }
}

/// One line of the picture, both sides of it.
impl fmt::Display for TreeRow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", self.left_column(), self.right_column())
    }
}

/// What is further to the right than this stands out.
const MAX_LEFT_WIDTH: usize = 40;

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<(String, String)> =
            self.tree().iter().map(|row| (row.left_column(), row.right_column())).collect();
        let width = lines
            .iter()
            .map(|(left, _)| left.chars().count())
            .filter(|n| *n <= MAX_LEFT_WIDTH)
            .max()
            .unwrap_or(0);
        for (left, right) in &lines {
            writeln!(f, "{left:width$}  {right}")?;
        }
        for zombie in &self.zombies {
            writeln!(f, "{zombie}")?;
        }
        write!(f, "{} processes, {} zombies", self.processes.len(), self.zombies.len())
    }
}
