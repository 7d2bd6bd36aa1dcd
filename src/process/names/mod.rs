//! Registered names: `register`, `unregister`, `whereis`, `whereis_timeout`.
//!
//! At most one running process holds a name. A process that is exiting no longer counts as the holder: another
//! process can take the name over, and a process that is started under it waits until the cleanup of the earlier
//! holders completes.

pub(crate) mod table;
pub(crate) mod via;

use std::sync::Arc;
use std::time::Duration;

use once_cell::sync::Lazy;

use crate::pid::Pid;
use crate::process::control::block::{Phase, ProcessBlock};
use crate::process::control::local::{self, Exiting, enter_release_call, enter_runtime_call};
use crate::process::control::table as process_table;
use crate::process::error::NameError;
use crate::process::names::table::NameTable;

static NAMES: Lazy<NameTable<Arc<str>>> = Lazy::new(NameTable::new);

/// Returns the running process that holds a name.
pub(crate) fn lookup(name: &str) -> Option<Arc<ProcessBlock>> {
    NAMES.get(name).map(|(block, ())| block)
}

/// Makes `block` the holder of a name. Returns the earlier holders whose cleanup is not complete.
pub(crate) fn claim(name: &Arc<str>, block: &Arc<ProcessBlock>) -> Result<Vec<Arc<ProcessBlock>>, NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    // First set the name in the block, then in the table: cleanup takes the name from the block and then releases it in
    // the table.
    let mut state = block.lock();
    if let Some(own) = &state.name {
        return Err(if own == name {
            NameError::Taken(block.pid)
        } else {
            NameError::AlreadyNamed(Arc::clone(own))
        });
    }
    if !matches!(state.phase, Phase::Running) {
        return Err(NameError::NoProc);
    }
    state.name = Some(Arc::clone(name));
    drop(state);
    // Without the block's lock: never hold it together with the lock of a table.
    let claimed = NAMES.claim(name, block, ());
    if claimed.is_err() {
        block.lock().name = None;
    }
    let predecessors = claimed?;
    if block.is_cleaning_up() {
        // The process may begin its cleanup between the check of `phase` and `NAMES.claim`. Then the cleanup has released
        // the name before it was in the table, and does not do so again.
        NAMES.release(name, block.pid);
        return Err(NameError::NoProc);
    }
    Ok(predecessors)
}

/// Removes `holder` from the table, if it holds the name.
pub(crate) fn release(name: &str, holder: Pid) {
    NAMES.release(name, holder);
}

/// Registers a process under a name, until it exits or [`unregister`] removes the name.
///
/// # Errors
/// [`NameError::Taken`] if a running process holds the name (perhaps the process itself),
/// [`NameError::AlreadyNamed`] if the process has another name, [`NameError::NoProc`] if it is exiting or has exited,
/// [`NameError::Empty`] if the name has no characters, [`NameError::Exiting`] if the calling process is exiting.
///
/// # Differences from Erlang
/// A holder that is exiting does not count: the name can be taken over. `register` takes it over at once; a process that
/// is *started* under a name waits until the cleanup of the earlier holder completes.
///
/// ```
/// use std::time::Duration;
/// use rethread::process::{self, NameError};
///
/// let printer = process::spawn(|| process::sleep(Duration::MAX))?;
/// process::register("doc.printer", printer)?;
/// assert_eq!(process::whereis("doc.printer"), Some(printer));
/// assert_eq!(process::register("doc.printer", printer), Err(NameError::Taken(printer)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn register(name: impl Into<Arc<str>>, pid: impl Into<Pid>) -> Result<(), NameError> {
    // In destructors of an exiting process a registration could come after the cleanup and never be released.
    enter_runtime_call().map_err(|Exiting| NameError::Exiting)?;
    let block = process_table::get(pid.into()).ok_or(NameError::NoProc)?;
    claim(&name.into(), &block).map(drop)
}

/// Removes a name from its holder, which keeps running.
///
/// # Errors
/// [`NameError::Unknown`] if no process holds it, [`NameError::Exiting`] if the caller is a zombie.
///
/// ```
/// use rethread::process::{self, NameError};
/// assert_eq!(process::unregister("doc.unused"), Err(NameError::Unknown));
/// ```
pub fn unregister(name: &str) -> Result<(), NameError> {
    enter_release_call().map_err(|Exiting| NameError::Exiting)?;
    let holder = lookup(name).ok_or(NameError::Unknown)?;
    // Between the look-up and the lock the holder may lose the name: only its block decides.
    let mut state = holder.lock();
    let name = state.name.take_if(|own| **own == *name).ok_or(NameError::Unknown)?;
    drop(state);
    release(&name, holder.pid);
    Ok(())
}

/// Returns the pid of the process that holds a name now, or `None`.
///
/// # Differences from Erlang
/// A process that is exiting is not found, even before it has exited.
///
/// ```
/// assert_eq!(rethread::process::whereis("doc.no one"), None);
/// ```
pub fn whereis(name: &str) -> Option<Pid> {
    local::checkpoint();
    lookup(name).map(|block| block.pid)
}

/// Waits until a process holds a name and returns its pid; `None` if none does within `timeout`. Use it to wait for a
/// restart.
///
/// ```
/// use std::time::Duration;
/// use rethread::process;
///
/// assert_eq!(process::whereis_timeout("doc.late", Duration::from_millis(1)), None);
/// let late = process::Builder::new().name("doc.late").spawn(|| process::sleep(Duration::MAX))?;
/// assert_eq!(process::whereis_timeout("doc.late", Duration::from_secs(1)), Some(late));
/// # Ok::<(), process::SpawnError>(())
/// ```
pub fn whereis_timeout(name: &str, timeout: Duration) -> Option<Pid> {
    local::checkpoint();
    NAMES.get_timeout(name.into(), timeout).map(|(block, ())| block.pid)
}
