//! The thread of a process as the operating system shows it: its name, and where it is blocked.

use std::fs;
use std::sync::Arc;

use crate::process::control::block::ProcessBlock;
use crate::process::park::thread_cache::DEFAULT_THREAD_NAME;
use crate::process::park::thread_cache::MAX_THREAD_NAME_LEN;

/// Returns the name that the thread cache gives a thread for this label and name, or the thread's own name.
pub(crate) fn name(
    block: &ProcessBlock,
    label: &Option<Arc<str>>,
    name: &Option<Arc<str>>,
) -> Option<String> {
    let own_name = block.parker.thread_name();
    // An attached thread has a name of its own; `None` if the process has no thread yet.
    if own_name != Some(DEFAULT_THREAD_NAME) {
        return own_name.map(str::to_owned);
    }
    // The thread cache renames its thread for the process; std does not know of that. The label comes first, as in
    // `start_process`.
    let given = label.as_ref().or(name.as_ref()).map_or(DEFAULT_THREAD_NAME, |name| name);
    let cut = (0..=MAX_THREAD_NAME_LEN).rev().find(|end| given.is_char_boundary(*end)).unwrap_or(0);
    Some(given.get(..cut).unwrap_or(given).to_owned())
}

/// Returns the function of the kernel in which the only thread with this name is blocked; `None` if it is not blocked,
/// if several threads have the name, or if the system does not say it.
pub(crate) fn blocked_in(thread_name: &str) -> Option<Box<str>> {
    let read = |path: std::path::PathBuf| fs::read_to_string(path).ok();
    let threads = fs::read_dir("/proc/self/task").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut named = threads.filter(|thread| {
        read(thread.join("comm")).is_some_and(|name| name.trim_end_matches('\n') == thread_name)
    });
    let thread = named.next()?;
    if named.next().is_some() {
        return None;
    }
    // `0` for a running thread.
    read(thread.join("wchan"))
        .filter(|function| !matches!(function.trim(), "" | "0"))
        .map(|function| function.trim().into())
}
