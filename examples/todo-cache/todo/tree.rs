//! The processes of a system, and the tree of who started whom. The commands print it.

use std::fmt;

use rethread::Pid;
use rethread::observer::{self, Branch, Node};

/// One process of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its pid.
    pub(crate) pid: Pid,
    /// What it is called.
    pub(crate) name: String,
}

/// Whether a process of that name or label is one of the system's.
pub(crate) fn ours(name: &str) -> bool {
    ["system", "cache", "database"].contains(&name)
        || ["db.worker.", "list:"].iter().any(|prefix| name.starts_with(prefix))
}

/// All processes of the system, each before those that it has started.
pub(crate) fn members() -> Vec<Member> {
    let snapshot = observer::snapshot();
    let member = |branch: &Branch<'_>| match branch.node {
        Node::Process { process, .. } if ours(process.title()) => {
            Some(Member { pid: process.pid(), name: process.title().to_owned() })
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
    let all = tree.iter().filter(|branch| match branch.node {
        Node::Process { process, .. } => ours(process.title()),
        Node::Down(row) => ours(row.child.id.as_str()),
        _ => false,
    });
    // What stands above the system in the tree is not drawn.
    let all: Vec<&Branch<'_>> = all.collect();
    let above = all.iter().map(|branch| branch.depth).min().unwrap_or(0);
    all.iter().map(|branch| Line { branch, above }.to_string()).collect()
}

struct Line<'a> {
    branch: &'a Branch<'a>,
    above: usize,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Each level of the tree is drawn by so many characters.
        const LEVEL: usize = 3;
        let text = self.branch.to_string();
        f.write_str(text.get(self.above * LEVEL..).unwrap_or(&text))
    }
}
