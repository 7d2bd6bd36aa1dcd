//! The processes of a system as a tree, drawn by their links: who dies with whom. The shell and the demo
//! print it.

use std::collections::{HashMap, HashSet};
use std::fmt;

use rethread::Pid;
use rethread::process::{self, ProcessInfo};

/// One process in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its pid.
    pub(crate) pid: Pid,
    /// Its name, or what else it is called.
    pub(crate) name: String,
    /// What stands before it in the picture.
    indent: String,
}

/// Everybody who is linked to `root`, directly or through others, but for those who started it and what is
/// behind them; `root` first, each before its children.
pub(crate) fn members(root: Pid) -> Vec<Member> {
    let infos: HashMap<Pid, ProcessInfo> =
        process::processes().into_iter().map(|info| (info.pid, info)).collect();
    let mut seen: HashSet<Pid> =
        infos.get(&root).map(|root| root.ancestors.iter().copied().collect()).unwrap_or_default();
    let mut members = Vec::new();
    visit(&infos, root, [String::new(), String::new()], &mut seen, &mut members);
    members
}

/// Adds a process, indented by `own`, and those linked to it, by `below`.
fn visit(
    infos: &HashMap<Pid, ProcessInfo>,
    pid: Pid,
    [own, below]: [String; 2],
    seen: &mut HashSet<Pid>,
    members: &mut Vec<Member>,
) {
    let Some(info) = infos.get(&pid).filter(|_| seen.insert(pid)) else {
        return;
    };
    let name = info.name.as_ref().or(info.label.as_ref()).map_or("?", |name| name).to_owned();
    members.push(Member { pid, name, indent: own });
    let known = |pid: &&Pid| infos.contains_key(*pid) && !seen.contains(*pid);
    let children: Vec<Pid> = info.links.iter().filter(known).copied().collect();
    for (n, child) in children.iter().enumerate() {
        let bar = if n + 1 < children.len() { "|  " } else { "   " };
        visit(infos, *child, [format!("{below}+- "), format!("{below}{bar}")], seen, members);
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} {}", self.indent, self.name, self.pid)
    }
}
