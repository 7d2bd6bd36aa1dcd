//! The processes of a system, and the tree of who started whom. The commands print it.

use std::fmt;

use rethread::Pid;
use rethread::observer::{self, Node, Supervision, TreeRow};

/// One process of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its pid.
    pub(crate) pid: Pid,
    /// What it is called.
    pub(crate) name: String,
}

/// Whether a process of that name or label is one of the system's.
pub(crate) fn is_system_process(name: &str) -> bool {
    ["system", "cache", "database", "metrics", "storm"].contains(&name)
        || ["db.worker.", "list:", "web", "storm."].iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a storm may kill it: part of what keeps the lists, and not the top of all.
pub(crate) fn is_chaos_target(name: &str) -> bool {
    ["cache", "database", "metrics"].contains(&name)
        || ["db.worker.", "list:"].iter().any(|prefix| name.starts_with(prefix))
}

/// Returns the strategy of a supervisor, by OTP's names.
pub(crate) fn strategy(supervision: &Supervision) -> String {
    supervision.strategy.map_or_else(|| "dynamic".to_owned(), |strategy| strategy.to_string())
}

/// The branches that belong to the system.
pub(crate) fn system_rows<'a, 'b>(
    rows: &'a [TreeRow<'b>],
) -> impl Iterator<Item = &'a TreeRow<'b>> + use<'a, 'b> {
    rows.iter().filter(|row| match row.node {
        Node::Process { process, .. } => is_system_process(process.display_name()),
        Node::NotRunning(status) => is_system_process(status.child.id.as_str()),
        _ => false,
    })
}

/// All processes of the system, each before those that it has started.
pub(crate) fn members() -> Vec<Member> {
    let snapshot = observer::snapshot();
    let member = |row: &TreeRow<'_>| match row.node {
        Node::Process { process, .. } if is_system_process(process.display_name()) => {
            Some(Member { pid: process.pid(), name: process.display_name().to_owned() })
        }
        _ => None,
    };
    snapshot.tree().iter().filter_map(member).collect()
}

/// The process of the system that is called so. Those that share a name, as lists do that an earlier cache has left
/// behind, are found by their pids.
pub(crate) fn find(name: &str) -> Option<Member> {
    members().into_iter().rfind(|member| member.name == name || member.pid.to_string() == name)
}

/// The tree of the system, line by line.
pub(crate) fn lines() -> Vec<String> {
    let snapshot = observer::snapshot();
    let tree = snapshot.tree();
    // What stands above the system in the tree is not drawn.
    let rows: Vec<&TreeRow<'_>> = system_rows(&tree).collect();
    let above = rows.iter().map(|row| row.depth).min().unwrap_or(0);
    rows.iter().map(|row| Line { row, above }.to_string()).collect()
}

struct Line<'a> {
    row: &'a TreeRow<'a>,
    above: usize,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Each level of the tree is drawn by so many characters.
        const LEVEL: usize = 3;
        let text = self.row.to_string();
        f.write_str(text.get(self.above * LEVEL..).unwrap_or(&text))
    }
}
