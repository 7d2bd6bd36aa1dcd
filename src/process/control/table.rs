//! Who is alive: from a pid to its block. Everything that is given only a pid looks it up here.

use std::sync::Arc;

use once_cell::sync::Lazy;

use crate::pid::{IdHasher, Pid};
use crate::process::control::block::ProcessBlock;
use crate::sharded_map::ShardedMap;

static TABLE: Lazy<ShardedMap<Pid, Arc<ProcessBlock>, IdHasher>> = Lazy::new(ShardedMap::new);

/// The process, unless it is dead.
pub(crate) fn get(pid: Pid) -> Option<Arc<ProcessBlock>> {
    get_until_notified(pid).filter(|block| !block.is_dead())
}

/// The process, also if it is dead, as long as some of those linked to it have not been told: who asks for its end
/// now hears of it after them.
pub(crate) fn get_until_notified(pid: Pid) -> Option<Arc<ProcessBlock>> {
    TABLE.shard(&pid).read().get(&pid).cloned()
}

pub(crate) fn insert(block: &Arc<ProcessBlock>) {
    TABLE.shard(&block.pid).write().insert(block.pid, Arc::clone(block));
}

pub(crate) fn remove(pid: Pid) {
    let removed = TABLE.shard(&pid).write().remove(&pid);
    drop(removed);
}

/// Everybody, in order of birth.
pub(crate) fn all() -> Vec<Arc<ProcessBlock>> {
    let mut blocks = all_until_notified();
    blocks.retain(|block| !block.is_dead());
    blocks
}

/// Everybody, in order of birth; also the dead, as long as some of those linked to them have not been told.
pub(crate) fn all_until_notified() -> Vec<Arc<ProcessBlock>> {
    let mut blocks = TABLE.values();
    blocks.sort_by_key(|block| block.pid);
    blocks
}
