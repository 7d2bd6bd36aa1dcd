//! The process table: finds the control block of a process by its pid.
//!
//! A process is in the table from before its start until its links have been notified of its exit.

use std::sync::Arc;

use once_cell::sync::Lazy;

use crate::pid::{IdHasher, Pid};
use crate::process::control::block::ProcessBlock;
use crate::sharded_map::ShardedMap;

static TABLE: Lazy<ShardedMap<Pid, Arc<ProcessBlock>, IdHasher>> = Lazy::new(ShardedMap::new);

/// Returns the process, unless it has exited.
pub(crate) fn get(pid: Pid) -> Option<Arc<ProcessBlock>> {
    get_until_notified(pid).filter(|block| !block.is_dead())
}

/// Returns the process even if it has exited, while its links are still being notified. A monitor set now is
/// queued behind them.
pub(crate) fn get_until_notified(pid: Pid) -> Option<Arc<ProcessBlock>> {
    TABLE.shard(&pid).read().get(&pid).cloned()
}

pub(crate) fn insert(block: &Arc<ProcessBlock>) {
    TABLE.shard(&block.pid).write().insert(block.pid, Arc::clone(block));
}

pub(crate) fn remove(pid: Pid) {
    // Dropped after the shard is unlocked: the last reference to a block runs destructors of user values.
    let removed = TABLE.shard(&pid).write().remove(&pid);
    drop(removed);
}

/// Returns all processes that have not exited, in the order in which they were spawned.
pub(crate) fn all() -> Vec<Arc<ProcessBlock>> {
    let mut blocks = all_until_notified();
    blocks.retain(|block| !block.is_dead());
    blocks
}

/// Returns all processes in the order in which they were spawned, including exited ones whose links are still
/// being notified.
pub(crate) fn all_until_notified() -> Vec<Arc<ProcessBlock>> {
    let mut blocks = TABLE.values();
    // Pids are assigned in increasing order.
    blocks.sort_by_key(|block| block.pid);
    blocks
}
