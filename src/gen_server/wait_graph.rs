//! Who waits for whom: each process that waits for another says so, and a wait that would close a cycle is found, and
//! refused, before it begins. Calls, starts, stops and joins of tasks use it.

use std::collections::HashSet;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use crate::pid::Pid;
use crate::process::control::block::ProcessBlock;
use crate::process::control::local::CurrentProcess;
use crate::process::control::table;
use crate::sync::atomic::{Ordering, fence};

/// The mark "I wait for that process", by which wait cycles are found, while this lives. Then the mark that was
/// there before is back: a supervisor that waits for its children may run hooks of theirs that make calls.
pub(crate) struct WaitEdge<'a>(Option<(&'a Rc<CurrentProcess>, u64)>);

impl<'a> WaitEdge<'a> {
    /// Sets the mark, unless it closes a cycle: then the processes in it.
    ///
    /// Each process sets its own mark before it looks at the others', so of those that close a cycle at
    /// the same moment at least one sees it.
    pub(crate) fn try_add(
        me: Option<&'a Rc<CurrentProcess>>,
        target: &Arc<ProcessBlock>,
    ) -> Result<Self, Vec<Pid>> {
        let Some(me) = me else {
            return Ok(Self(None));
        };
        let edge = Self::add(Some(me), target);
        if target.waiting_on.load(Ordering::Relaxed) != 0 {
            if let Some(cycle) = find_cycle(&me.block, target.pid) {
                return Err(cycle);
            }
        }
        Ok(edge)
    }

    /// Sets the mark.
    pub(crate) fn add(me: Option<&'a Rc<CurrentProcess>>, target: &Arc<ProcessBlock>) -> Self {
        Self::set(me, target.pid)
    }

    /// Sets the mark "I wait for those I started, all of them, and serve nobody before they are gone".
    pub(crate) fn on_all_descendants(me: Option<&'a Rc<CurrentProcess>>) -> Self {
        me.map_or(Self(None), |current| Self::set(me, current.block.pid))
    }

    fn set(me: Option<&'a Rc<CurrentProcess>>, target: Pid) -> Self {
        let Some(me) = me else {
            return Self(None);
        };
        let previous = me.block.waiting_on.load(Ordering::Relaxed);
        me.block.waiting_on.store(target.to_u64(), Ordering::Relaxed);
        fence(Ordering::SeqCst);
        Self(Some((me, previous)))
    }

    /// For a mark that a birth has set already, before the child's first step: set again now, it could come
    /// after the child's answer took it away.
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

/// The call that `caller` made of `server` has been handled without an answer, which comes later, perhaps from somebody
/// else: the caller no longer waits for this very process to get on, so a call back to it is no wait cycle.
pub(crate) fn remove_edge(caller: Pid, target: Pid) {
    if let Some(caller) = table::get(caller) {
        let waiting_on = &caller.waiting_on;
        let _ = waiting_on.compare_exchange(target.to_u64(), 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Follows who waits for whom, from `first` until it comes back to `me`.
fn find_cycle(me: &ProcessBlock, first: Pid) -> Option<Vec<Pid>> {
    let mut chain = vec![me.pid];
    chain.extend(find_path(me, first, &mut HashSet::new())?);
    Some(chain)
}

/// The way from `at` to `me`, which may lead over one that waits for all its descendants: to me if I am one, or to
/// any that waits for me.
fn find_path(me: &ProcessBlock, mut current: Pid, visited: &mut HashSet<Pid>) -> Option<Vec<Pid>> {
    let mut path = Vec::new();
    while current != me.pid {
        if !visited.insert(current) {
            return None;
        }
        path.push(current);
        let next = Pid::from_u64(table::get(current)?.waiting_on.load(Ordering::Relaxed))?;
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

/// The text of a refusal that names the cycle.
pub(crate) fn fmt_cycle(f: &mut fmt::Formatter<'_>, cycle: &[Pid]) -> fmt::Result {
    f.write_str("deadlock: ")?;
    for pid in cycle {
        write!(f, "{pid} waits for ")?;
    }
    cycle.first().map_or(Ok(()), |pid| fmt::Display::fmt(pid, f))
}
