//! Who waits for whom: each process that waits for another says so, and a wait that would close a cycle is found, and
//! refused, before it begins. Calls, starts, stops and joins of tasks use it.

use std::collections::HashSet;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use crate::pid::Pid;
use crate::process::block::Block;
use crate::process::me::Me;
use crate::process::table;
use crate::sync::atomic::{Ordering, fence};

/// The mark "I wait for that process", by which wait cycles are found, while this lives. Then the mark that was
/// there before is back: a supervisor that waits for its children may run hooks of theirs that make calls.
pub(crate) struct Waiting<'a>(Option<(&'a Rc<Me>, u64)>);

impl<'a> Waiting<'a> {
    /// Sets the mark, unless it closes a cycle: then the processes in it.
    ///
    /// Each process sets its own mark before it looks at the others', so of those that close a cycle at
    /// the same moment at least one sees it.
    pub(crate) fn enter(me: Option<&'a Rc<Me>>, server: &Arc<Block>) -> Result<Self, Vec<Pid>> {
        let Some(me) = me else {
            return Ok(Self(None));
        };
        let mark = Self::mark(Some(me), server);
        if server.waiting_on.load(Ordering::Relaxed) != 0 {
            if let Some(cycle) = cycle(&me.block, server.pid) {
                return Err(cycle);
            }
        }
        Ok(mark)
    }

    /// Sets the mark.
    pub(crate) fn mark(me: Option<&'a Rc<Me>>, server: &Arc<Block>) -> Self {
        Self::set(me, server.pid)
    }

    /// Sets the mark "I wait for those I started, all of them, and serve nobody before they are gone".
    pub(crate) fn for_descendants(me: Option<&'a Rc<Me>>) -> Self {
        me.map_or(Self(None), |myself| Self::set(me, myself.block.pid))
    }

    fn set(me: Option<&'a Rc<Me>>, on: Pid) -> Self {
        let Some(me) = me else {
            return Self(None);
        };
        let before = me.block.waiting_on.load(Ordering::Relaxed);
        me.block.waiting_on.store(on.to_word(), Ordering::Relaxed);
        fence(Ordering::SeqCst);
        Self(Some((me, before)))
    }

    /// For a mark that a birth has set already, before the child's first step: set again now, it could come
    /// after the child's answer took it away.
    pub(crate) fn marked(me: Option<&'a Rc<Me>>) -> Self {
        Self(me.map(|me| (me, 0)))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some((me, before)) = self.0 {
            me.block.waiting_on.store(before, Ordering::Relaxed);
        }
    }
}

/// The call that `caller` made of `server` has been handled without an answer, which comes later, perhaps from somebody
/// else: the caller no longer waits for this very process to get on, so a call back to it is no wait cycle.
pub(crate) fn postpone(caller: Pid, server: Pid) {
    if let Some(caller) = table::get(caller) {
        let mark = &caller.waiting_on;
        let _ = mark.compare_exchange(server.to_word(), 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Follows who waits for whom, from `first` until it comes back to `me`.
fn cycle(me: &Block, first: Pid) -> Option<Vec<Pid>> {
    let mut chain = vec![me.pid];
    chain.extend(way_back(me, first, &mut HashSet::new())?);
    Some(chain)
}

/// The way from `at` to `me`, which may lead over one that waits for all its descendants: to me if I am one, or to
/// any that waits for me.
fn way_back(me: &Block, mut at: Pid, seen: &mut HashSet<Pid>) -> Option<Vec<Pid>> {
    let mut way = Vec::new();
    while at != me.pid {
        if !seen.insert(at) {
            return None;
        }
        way.push(at);
        let next = Pid::from_word(table::get(at)?.waiting_on.load(Ordering::Relaxed))?;
        if next == at {
            if !me.birth.ancestors.contains(&at) {
                let all = table::all();
                let mut descendants = all.iter().filter(|block| block.birth.ancestors.contains(&at));
                way.extend(descendants.find_map(|block| way_back(me, block.pid, seen))?);
            }
            return Some(way);
        }
        at = next;
    }
    Some(way)
}

/// The text of a refusal that names the cycle.
pub(crate) fn write_cycle(f: &mut fmt::Formatter<'_>, cycle: &[Pid]) -> fmt::Result {
    f.write_str("refused, it would wait for ever: ")?;
    for pid in cycle {
        write!(f, "{pid} waits for ")?;
    }
    cycle.first().map_or(Ok(()), |pid| fmt::Display::fmt(pid, f))
}
