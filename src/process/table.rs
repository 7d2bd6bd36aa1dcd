//! Who is alive: from a pid to its block. Everything that is given only a pid looks it up here.

use std::sync::Arc;

use once_cell::sync::Lazy;

use crate::pid::{Pid, Serial};
use crate::process::block::Block;
use crate::process::shards::Shards;

static TABLE: Lazy<Shards<Pid, Arc<Block>, Serial>> = Lazy::new(Shards::new);

/// The process, unless it is dead.
pub(crate) fn get(pid: Pid) -> Option<Arc<Block>> {
    until_links_are_told(pid).filter(|block| !block.dead())
}

/// The process, also if it is dead, as long as some of those linked to it have not been told: who asks for its end
/// now hears of it after them.
pub(crate) fn until_links_are_told(pid: Pid) -> Option<Arc<Block>> {
    TABLE.of(&pid).read().get(&pid).cloned()
}

pub(crate) fn insert(block: &Arc<Block>) {
    TABLE.of(&block.pid).write().insert(block.pid, Arc::clone(block));
}

pub(crate) fn remove(pid: Pid) {
    let gone = TABLE.of(&pid).write().remove(&pid);
    drop(gone);
}

/// Everybody, in order of birth.
pub(crate) fn all() -> Vec<Arc<Block>> {
    let mut blocks = all_until_links_are_told();
    blocks.retain(|block| !block.dead());
    blocks
}

/// Everybody, in order of birth; also the dead, as long as some of those linked to them have not been told.
pub(crate) fn all_until_links_are_told() -> Vec<Arc<Block>> {
    let mut blocks = TABLE.values();
    blocks.sort_by_key(|block| block.pid);
    blocks
}
