//! The processes of a snapshot as a tree, row by row and as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::observer::snapshot::{ProcessSnapshot, Snapshot, StatusText};
use crate::pid::Pid;
use crate::supervisor::child::ChildState;
use crate::supervisor::status::ChildStatus;

/// One row of the tree.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TreeRow<'a> {
    /// The depth in the tree: 0 for a process that was not started by a running process.
    pub depth: usize,
    /// The text that draws the branches, to be printed before the row.
    pub indent: String,
    /// The process or child in this row.
    pub node: Node<'a>,
}

/// A node of the tree.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Node<'a> {
    /// A process.
    Process {
        /// The process.
        process: &'a ProcessSnapshot,
        /// How often its supervisor has restarted this child.
        restarts: u64,
    },
    /// A child that its supervisor keeps and that is not running at the moment.
    NotRunning(&'a ChildStatus),
}

impl Snapshot {
    /// Returns the tree row by row: each process before those that it has started. These are in the order in which they
    /// were started; the children of a supervisor are in start order.
    ///
    /// ```
    /// let snapshot = rethread::observer::snapshot();
    /// for row in snapshot.tree() {
    ///     println!("{row}");
    /// }
    /// ```
    pub fn tree(&self) -> Vec<TreeRow<'_>> {
        self.tree_below(None)
    }

    /// Returns the part of the [`tree`](Self::tree) that starts at one process: the process itself and all below it.
    ///
    /// ```
    /// use rethread::observer;
    /// use rethread::prelude::*;
    ///
    /// let clock = ChildSpec::worker("clock", || process::sleep(std::time::Duration::MAX));
    /// let system = Supervisor::start_link([clock], Strategy::OneForOne)?;
    /// let snapshot = observer::snapshot();
    /// let rows = snapshot.tree_of(system.whereis().expect("it is running"));
    /// assert_eq!(rows.iter().map(|row| row.depth).collect::<Vec<_>>(), [0, 1]);
    /// for row in rows {
    ///     println!("{row}");
    /// }
    /// # system.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tree_of(&self, root: impl Into<Pid>) -> Vec<TreeRow<'_>> {
        self.tree_below(Some(root.into()))
    }

    fn tree_below(&self, root: Option<Pid>) -> Vec<TreeRow<'_>> {
        // Each process is a child of its closest ancestor that is in the snapshot.
        let all: BTreeMap<Pid, &ProcessSnapshot> =
            self.processes.iter().map(|one| (one.pid(), one)).collect();
        // Processes without one are stored under `None`.
        let mut children: BTreeMap<Option<Pid>, Vec<Pid>> = BTreeMap::new();
        for (pid, process) in &all {
            let parent = process.info.ancestors.iter().copied().find(|parent| all.contains_key(parent));
            children.entry(parent).or_default().push(*pid);
        }
        let mut builder = TreeBuilder { all, children, visited: BTreeSet::new(), rows: Vec::new() };
        // Without a given root, the roots are the processes that have no ancestor in the snapshot.
        let roots =
            root.map_or_else(|| builder.children.remove(&None).unwrap_or_default(), |root| vec![root]);
        let restarts = restarts_of_children(&builder.all);
        for root in roots {
            builder.add_subtree(root, &restarts);
        }
        builder.rows
    }
}

/// Rows that are deeper than this have the indentation of this depth: the text of a chain of thousands of processes must
/// not grow with the square of its length.
const MAX_INDENT_DEPTH: usize = 64;

struct TreeBuilder<'a> {
    all: BTreeMap<Pid, &'a ProcessSnapshot>,
    /// The processes below each process, by their closest ancestor in the snapshot. Taken out when they are visited.
    children: BTreeMap<Option<Pid>, Vec<Pid>>,
    visited: BTreeSet<Pid>,
    rows: Vec<TreeRow<'a>>,
}

/// A row that is still to be added.
struct PendingRow<'a> {
    entry: Entry<'a>,
    depth: usize,
    /// The indentation of the row's own line.
    indent: String,
    /// The indentation of the lines below it, without their last part.
    prefix: String,
}

/// What a pending row shows.
#[derive(Clone, Copy)]
enum Entry<'a> {
    Process(Pid),
    NotRunning(&'a ChildStatus),
}

impl<'a> TreeBuilder<'a> {
    /// Adds the rows of a process and of all below it. Not recursive: a chain of processes may be longer than the stack
    /// of the caller is deep.
    fn add_subtree(&mut self, root: Pid, restarts: &BTreeMap<Pid, u64>) {
        let (indent, prefix) = (String::new(), String::new());
        let mut pending = vec![PendingRow { entry: Entry::Process(root), depth: 0, indent, prefix }];
        while let Some(PendingRow { entry, depth, indent, prefix }) = pending.pop() {
            let pid = match entry {
                Entry::Process(pid) => pid,
                Entry::NotRunning(status) => {
                    self.rows.push(TreeRow { depth, indent, node: Node::NotRunning(status) });
                    continue;
                }
            };
            // Ignore a process that was visited already: a supervisor may list a child that another process started.
            let Some(process) = self.all.get(&pid).copied().filter(|_| self.visited.insert(pid)) else {
                continue;
            };
            let restarts = restarts.get(&pid).copied().unwrap_or(0);
            self.rows.push(TreeRow { depth, indent, node: Node::Process { process, restarts } });
            let entries = self.entries_below(process);
            // The last one first: the stack returns them in reverse order.
            for (n, entry) in entries.iter().enumerate().rev() {
                // A vertical line connects to the next sibling, if there is one.
                let bar = if n + 1 < entries.len() { "|  " } else { "   " };
                let mark = if matches!(entry, Entry::Process(_)) { "+- " } else { "x- " };
                let below = if depth < MAX_INDENT_DEPTH { format!("{prefix}{bar}") } else { prefix.clone() };
                let indent = format!("{prefix}{mark}");
                pending.push(PendingRow { entry: *entry, depth: depth + 1, indent, prefix: below });
            }
        }
    }

    /// Returns what is directly below a process, in the order of its rows.
    fn entries_below(&mut self, process: &'a ProcessSnapshot) -> Vec<Entry<'a>> {
        // First the children that a supervisor lists, in start order. One that is running but not in the snapshot has
        // started or exited while the snapshot was taken: show it as not running.
        let statuses = process.child_statuses();
        let mut entries: Vec<Entry<'a>> = statuses
            .iter()
            .map(|status| match status.child.state {
                ChildState::Running(pid) if self.all.contains_key(&pid) => Entry::Process(pid),
                _ => Entry::NotRunning(status),
            })
            .collect();
        // Then the other processes that this one has started.
        let listed: BTreeSet<Pid> = statuses.iter().filter_map(|status| status.child.pid()).collect();
        let others = self.children.remove(&Some(process.pid())).unwrap_or_default();
        entries.extend(others.into_iter().filter(|pid| !listed.contains(pid)).map(Entry::Process));
        entries
    }
}

/// Returns how often each child of a supervisor was restarted. The supervisor keeps the count; a dynamic supervisor lists
/// no children and does not count.
fn restarts_of_children(all: &BTreeMap<Pid, &ProcessSnapshot>) -> BTreeMap<Pid, u64> {
    let mut restarts = BTreeMap::new();
    for (supervisor, process) in all {
        for status in process.child_statuses() {
            let child = status
                .child
                .pid()
                .filter(|child| all.get(child).is_some_and(|child| child.parent() == Some(*supervisor)));
            restarts.extend(child.map(|child| (child, status.restarts)));
        }
    }
    restarts
}

impl TreeRow<'_> {
    /// Returns the left part of the line: indent, name and pid, or the id of a child that is not running.
    fn left_column(&self) -> String {
        match self.node {
            Node::Process { process, .. } => {
                format!("{}{} {}", self.indent, process.display_name(), process.pid())
            }
            Node::NotRunning(status) => format!("{}{}", self.indent, status.child.id),
        }
    }

    /// Returns the right part of the line: the status.
    fn right_column(&self) -> String {
        match self.node {
            Node::Process { process, restarts: 0 } => StatusText(process).to_string(),
            Node::Process { process, restarts } => format!("{}, restarts: {restarts}", StatusText(process)),
            // Listed as running, but not in the snapshot.
            Node::NotRunning(status) if status.child.pid().is_some() => "not running".to_owned(),
            Node::NotRunning(status) => status.child.state.to_string(),
        }
    }
}

/// Formats one row, without aligning it with others.
impl fmt::Display for TreeRow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", self.left_column(), self.right_column())
    }
}

/// Wider rows do not widen the left column.
const MAX_LEFT_WIDTH: usize = 40;

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<(String, String)> =
            self.tree().iter().map(|row| (row.left_column(), row.right_column())).collect();
        // Align the right parts, but not for the sake of single long names.
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
