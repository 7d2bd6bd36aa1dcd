//! The processes of the system, and its supervision tree as text.

use std::fmt;

use rethread::Pid;
use rethread::observer::{self, Node, Supervision, TreeRow};

/// One process of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its pid.
    pub(crate) pid: Pid,
    /// Its name, or else its label.
    pub(crate) name: String,
}

/// Returns `true` if a process with this name or label belongs to the system.
pub(crate) fn is_system_process(name: &str) -> bool {
    ["system", "cache", "lists", "database", "db.workers", "metrics", "chaos"].contains(&name)
        || ["db.worker.", "list:", "web", "chaos."].iter().any(|prefix| name.starts_with(prefix))
}

/// Returns `true` if the chaos test may kill the process: it is used for the lists, and is not the top
/// supervisor.
pub(crate) fn is_chaos_target(name: &str) -> bool {
    ["cache", "lists", "database", "db.workers", "metrics"].contains(&name)
        || ["db.worker.", "list:"].iter().any(|prefix| name.starts_with(prefix))
}

/// Returns the restart strategy of a supervisor, by its name in OTP.
pub(crate) fn strategy(supervision: &Supervision) -> String {
    supervision.strategy.map_or_else(|| "dynamic".to_owned(), |strategy| strategy.to_string())
}

/// Returns the rows that belong to the system.
pub(crate) fn system_rows<'a, 'b>(
    rows: &'a [TreeRow<'b>],
) -> impl Iterator<Item = &'a TreeRow<'b>> + use<'a, 'b> {
    rows.iter().filter(|row| match row.node {
        Node::Process { process, .. } => is_system_process(process.display_name()),
        Node::NotRunning(status) => is_system_process(status.child.id.as_str()),
        _ => false,
    })
}

/// Returns all processes of the system, each before the processes that it has started.
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

/// Finds a process of the system by name, label or pid. Use the pid if several processes have the same label,
/// like list servers that an earlier cache has started.
pub(crate) fn find(name: &str) -> Option<Member> {
    members().into_iter().rfind(|member| member.name == name || member.pid.to_string() == name)
}

/// Returns the lines of the supervision tree.
pub(crate) fn lines() -> Vec<String> {
    let snapshot = observer::snapshot();
    let tree = snapshot.tree();
    // The processes above the system, such as `main`, are not shown.
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
        // The width of the indent of one level.
        const LEVEL: usize = 3;
        let text = self.row.to_string();
        f.write_str(text.get(self.above * LEVEL..).unwrap_or(&text))
    }
}
