//! Deadlock detection: the wait-for graph of processes. A process that waits for another sets an edge in its
//! block, and a wait that would close a cycle is refused before it begins.
//!
//! Each process sets only its own edge. Other threads read it without a lock, and only clear it: when the
//! reply is sent, or when a handler returns without one.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use crate::pid::Pid;
use crate::process::control::block::ProcessBlock;
use crate::process::control::local::CurrentProcess;
use crate::process::control::table;
use crate::sync::atomic::{Ordering, fence};

/// An edge of the wait-for graph: this process waits for the target. Dropping it restores the previous edge.
///
/// Edges nest: a supervisor that waits for its children may run hooks of those children, and the hooks may
/// make calls.
pub(crate) struct WaitEdge<'a>(Option<(&'a Rc<CurrentProcess>, u64)>);

impl<'a> WaitEdge<'a> {
    /// Adds an edge. If it closes a cycle, removes it again and returns the processes of the cycle.
    pub(crate) fn try_add(
        me: Option<&'a Rc<CurrentProcess>>,
        target: &Arc<ProcessBlock>,
    ) -> Result<Self, Vec<Pid>> {
        let Some(me) = me else {
            return Ok(Self(None));
        };
        // Set the own edge before reading the others. If A and B call each other at the same moment, each
        // first stores its edge and then, after a fence, loads the other's: at least one of them sees both
        // edges.
        let edge = Self::add(Some(me), target);
        if target.waiting_on.load(Ordering::Relaxed) != 0 {
            if let Some(cycle) = find_cycle(&me.block, target.pid) {
                return Err(cycle);
            }
        }
        Ok(edge)
    }

    /// Adds an edge without a check, for a wait that must not be refused.
    pub(crate) fn add(me: Option<&'a Rc<CurrentProcess>>, target: &Arc<ProcessBlock>) -> Self {
        Self::set(me, target.pid)
    }

    /// Adds an edge to all descendants, for a process that handles no requests until all of them have exited.
    /// It is stored as an edge to the process itself.
    pub(crate) fn on_all_descendants(me: Option<&'a Rc<CurrentProcess>>) -> Self {
        me.map_or(Self(None), |current| Self::set(me, current.block.pid))
    }

    fn set(me: Option<&'a Rc<CurrentProcess>>, target: Pid) -> Self {
        let Some(me) = me else {
            return Self(None);
        };
        let previous = me.block.waiting_on.load(Ordering::Relaxed);
        me.block.waiting_on.store(target.to_u64(), Ordering::Relaxed);
        // Orders this store before the loads of other edges that follow; see `try_add`.
        fence(Ordering::SeqCst);
        Self(Some((me, previous)))
    }

    /// Takes over the edge that `start_process` has set, and removes it when dropped.
    ///
    /// The edge must not be set again: the child may have replied already, which removes the edge, and a
    /// second store would then leave an edge to a process that this one no longer waits for.
    pub(crate) fn adopt(me: Option<&'a Rc<CurrentProcess>>) -> Self {
        Self(me.map(|me| (me, 0)))
    }
}

impl Drop for WaitEdge<'_> {
    fn drop(&mut self) {
        if let Some((me, previous)) = self.0 {
            me.block.waiting_on.store(previous, Ordering::Relaxed);
        }
    }
}

/// Removes the edge from `caller` to `target`, whose handler has returned without a reply. The reply may come
/// from another process, so the caller no longer waits for `target`, and a call in the other direction is not
/// a deadlock.
pub(crate) fn remove_edge(caller: Pid, target: Pid) {
    if let Some(caller) = table::get(caller) {
        // Only this edge: the reply may have arrived, and the caller may wait for another process by now.
        let waiting_on = &caller.waiting_on;
        let _ = waiting_on.compare_exchange(target.to_u64(), 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Follows the edges from `first`. Returns the processes of the cycle if they lead back to `me`.
fn find_cycle(me: &ProcessBlock, first: Pid) -> Option<Vec<Pid>> {
    let mut chain = vec![me.pid];
    chain.extend(find_path(me, first, &mut HashSet::new())?);
    Some(chain)
}

/// Returns the path along the edges from `current` to `me`, without `me`; `None` if there is none.
///
/// A process that waits for all its descendants has an edge to each of them, so the search branches there.
fn find_path(me: &ProcessBlock, mut current: Pid, visited: &mut HashSet<Pid>) -> Option<Vec<Pid>> {
    let mut path = Vec::new();
    while current != me.pid {
        // A cycle without `me`, or a branch that was searched before.
        if !visited.insert(current) {
            return None;
        }
        path.push(current);
        // No process, or no edge: it does not wait, so this path ends.
        let next = Pid::from_u64(table::get(current)?.waiting_on.load(Ordering::Relaxed))?;
        // An edge to itself stands for edges to all descendants. The path is complete if `me` is one;
        // otherwise try each descendant.
        if next == current {
            if !me.spawn_info.ancestors.contains(&current) {
                let all = table::all();
                let mut descendants =
                    all.iter().filter(|block| block.spawn_info.ancestors.contains(&current));
                path.extend(descendants.find_map(|block| find_path(me, block.pid, visited))?);
            }
            return Some(path);
        }
        current = next;
    }
    Some(path)
}
