//! Deadlock detection: the wait-for graph. A process that waits for another one, in a call, a start, a join, a stop or
//! for the lock of a registry key, has an edge to it in its block; a wait that would close a cycle is refused before it
//! begins. A thread that is not a process takes part while it waits for the lock of a key.
//!
//! The edge of a call is set by its own thread. Other threads read it without a lock, and only clear it: when the
//! reply is sent, or when a handler returns without one. The edge of a thread that waits for a lock leads to the thread
//! before it in the queue; a thread that leaves the queue changes the edge of its successor.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use once_cell::sync::Lazy;

use crate::pid::{IdHasher, Pid};
use crate::process::control::block::ProcessBlock;
use crate::process::control::local;
use crate::process::control::local::CurrentProcess;
use crate::process::control::table;
use crate::sharded_map::ShardedMap;
use crate::sync::atomic::{AtomicU64, Ordering, fence};

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
            if let Some(cycle) = find_cycle(me.block.pid, &me.block.waiting_on) {
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

/// A thread that holds the lock of a key or waits for it: a process, or a thread that is not one.
#[derive(Clone)]
pub(crate) enum WaitNode {
    Process(Arc<ProcessBlock>),
    Foreign(Arc<ForeignThread>),
}

/// A thread that is not a process, and its edge in the wait-for graph.
pub(crate) struct ForeignThread {
    /// Identifies the thread; no process has this pid.
    pid: Pid,
    waiting_on: AtomicU64,
}

/// The threads that are no processes and have used the lock of a key.
static FOREIGN_THREADS: Lazy<ShardedMap<Pid, Arc<ForeignThread>, IdHasher>> = Lazy::new(ShardedMap::new);

impl WaitNode {
    /// Returns the node of the calling thread.
    pub(crate) fn current() -> Self {
        /// The entry of a thread in the table, until the thread ends.
        struct Entry(Arc<ForeignThread>);
        impl Drop for Entry {
            fn drop(&mut self) {
                FOREIGN_THREADS.shard(&self.0.pid).write().remove(&self.0.pid);
            }
        }
        thread_local! {
            static ENTRY: Entry = {
                let thread = Arc::new(ForeignThread { pid: local::sender_pid(), waiting_on: AtomicU64::new(0) });
                FOREIGN_THREADS.shard(&thread.pid).write().insert(thread.pid, Arc::clone(&thread));
                Entry(thread)
            };
        }
        match local::get() {
            Some(me) => Self::Process(Arc::clone(&me.block)),
            // While thread-locals are being destroyed the thread is in no table: its waits are not followed.
            None => Self::Foreign(ENTRY.try_with(|entry| Arc::clone(&entry.0)).unwrap_or_else(|_| {
                Arc::new(ForeignThread { pid: local::sender_pid(), waiting_on: AtomicU64::new(0) })
            })),
        }
    }

    /// Returns the pid that identifies the thread.
    pub(crate) fn pid(&self) -> Pid {
        match self {
            Self::Process(block) => block.pid,
            Self::Foreign(thread) => thread.pid,
        }
    }

    fn waiting_on(&self) -> &AtomicU64 {
        match self {
            Self::Process(block) => &block.waiting_on,
            Self::Foreign(thread) => &thread.waiting_on,
        }
    }

    /// Returns the current edge as a number.
    pub(crate) fn edge(&self) -> u64 {
        self.waiting_on().load(Ordering::Relaxed)
    }

    /// Sets an edge to the thread before this one in the queue for a lock.
    pub(crate) fn set_lock_edge(&self, before: Pid) {
        self.waiting_on().store(before.to_u64() | LOCK, Ordering::Release);
    }

    /// Sets the edge that the thread had before it waited for the lock.
    pub(crate) fn restore_edge(&self, previous: u64) {
        // Release: a search that sees this value also sees that the edge of the successor was changed before.
        self.waiting_on().store(previous, Ordering::Release);
    }

    /// Returns the threads of the cycle if this one waits for itself through others, beginning with it.
    pub(crate) fn find_lock_cycle(&self) -> Option<Vec<Pid>> {
        // Orders the store of the own edge before the loads of others; see `WaitEdge::try_add`.
        fence(Ordering::SeqCst);
        // Without the mark, the lock was granted already: the edge is that of an outer wait.
        if self.edge() & LOCK == 0 { None } else { find_cycle(self.pid(), self.waiting_on()) }
    }
}

/// Set in the edge of a thread that waits for a lock. Another thread may change such an edge. No pid is that large.
const LOCK: u64 = 1 << 63;

/// Returns the target of an edge; `None` if it is 0.
pub(crate) fn target_of(edge: u64) -> Option<Pid> {
    Pid::from_u64(edge & !LOCK)
}

/// Returns the edge of a thread; 0 if it does not wait, or has exited.
fn edge_of(pid: Pid) -> u64 {
    match table::get(pid) {
        Some(block) => block.waiting_on.load(Ordering::Acquire),
        None => {
            let foreign = FOREIGN_THREADS.shard(&pid).read().get(&pid).cloned();
            foreign.map_or(0, |thread| thread.waiting_on.load(Ordering::Acquire))
        }
    }
}

/// Follows the edges from `me`. Returns the threads of the cycle if they lead back to `me`, beginning with it.
fn find_cycle(me: Pid, own_edge: &AtomicU64) -> Option<Vec<Pid>> {
    let kind = own_edge.load(Ordering::Acquire) & LOCK;
    loop {
        let own = own_edge.load(Ordering::Acquire);
        // Granted during the search.
        if own & LOCK != kind {
            return None;
        }
        let mut search = Search { me, followed: Vec::new(), reached_from: HashMap::default() };
        let path = target_of(own).and_then(|first| search.find_path(first));
        let has_changed = |(pid, edge): &(Pid, u64)| edge_of(*pid) != *edge;
        // The edges were read one after the other: a wait may have ended meanwhile. A cycle is real if none of its edges
        // has changed since the search. And if there was no cycle: a thread that left the queue of a lock has redirected
        // the edge of its successor before it removed its own, so the search may have followed the old edge to a thread
        // that no longer waited.
        let is_relevant = |(pid, edge): &&(Pid, u64)| match &path {
            Some(path) => path.contains(pid),
            None => edge & LOCK != 0,
        };
        let retry = search.followed.iter().filter(is_relevant).any(has_changed)
            || own_edge.load(Ordering::Acquire) != own;
        if !retry {
            return path.map(|path| std::iter::once(me).chain(path).collect());
        }
    }
}

/// One search along the edges.
struct Search {
    me: Pid,
    /// The edges that were followed.
    followed: Vec<(Pid, u64)>,
    /// The threads that were reached, and from which one each.
    reached_from: HashMap<Pid, Option<Pid>, IdHasher>,
}

impl Search {
    /// Returns the path along the edges from `first` to `me`, without `me`; `None` if there is none.
    ///
    /// A process that waits for all its descendants has an edge to each of them, so the search branches there. It is not
    /// recursive: a chain of such processes may be long.
    fn find_path(&mut self, first: Pid) -> Option<Vec<Pid>> {
        let mut pending = vec![(first, None)];
        while let Some((current, previous)) = pending.pop() {
            if current == self.me {
                return Some(self.path_to(previous));
            }
            // A cycle without `me`, or a branch that was searched before.
            if self.reached_from.contains_key(&current) {
                continue;
            }
            self.reached_from.insert(current, previous);
            let edge = edge_of(current);
            // No process, or no edge: it does not wait, so this branch ends.
            let Some(next) = target_of(edge) else { continue };
            self.followed.push((current, edge));
            if next != current {
                pending.push((next, Some(current)));
                continue;
            }
            // An edge to itself stands for edges to all descendants. The path is complete if `me` is one;
            // otherwise try each descendant.
            let is_descendant = |block: &ProcessBlock| block.spawn_info.ancestors.contains(&current);
            if table::get(self.me).is_some_and(|me| is_descendant(&me)) {
                return Some(self.path_to(Some(current)));
            }
            let descendants = table::all().into_iter().filter(|block| is_descendant(block));
            pending.extend(descendants.map(|block| (block.pid, Some(current))));
        }
        None
    }

    /// Returns the path from the first thread of the search to `last`.
    fn path_to(&self, last: Option<Pid>) -> Vec<Pid> {
        let mut path: Vec<Pid> =
            std::iter::successors(last, |pid| self.reached_from.get(pid).copied().flatten()).collect();
        path.reverse();
        path
    }
}
