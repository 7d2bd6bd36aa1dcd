//! `Via`: registering processes in a table outside this module.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::pid::Pid;
use crate::process::control::block::HeldResource;
use crate::process::control::block::ProcessBlock;
use crate::process::control::table;
use crate::process::names::NameError;

/// Another place to keep names: a process is reached, and registered, by a key in it. A library's
/// registry implements this; so can you.
///
/// A holder must be forgotten on `unregister`, which the runtime calls when the process ends, before any
/// link or monitor hears of it.
pub trait Via: fmt::Debug + Send + Sync {
    /// Who holds the key now.
    fn whereis(&self) -> Option<Pid>;

    /// Makes `pid` the holder. A holder that is no longer alive ([`process::is_alive`]) must be replaced. It
    /// is called by whoever starts the process: its runtime calls are checkpoints of the starter.
    ///
    /// # Errors
    /// [`NameError::Taken`] if somebody living holds it.
    ///
    /// [`process::is_alive`]: crate::process::is_alive
    fn register(&self, pid: Pid) -> Result<(), NameError>;

    /// Makes `pid`, which has not begun yet, the holder, and tells who held the key before and is still dying:
    /// the new process waits for those before its first step. Unless the table knows better, that is who
    /// `whereis` finds, if its end is decided, just before `register` is called.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    fn take_over(&self, pid: Pid) -> Result<Vec<Pid>, NameError> {
        let predecessor = self.whereis().and_then(table::get).filter(|holder| holder.is_exiting());
        self.register(pid)?;
        Ok(predecessor.map(|holder| holder.pid).into_iter().collect())
    }

    /// Forgets `pid`, if it still is the holder. It is called while that process ends, usually on its own
    /// thread: a call to a server fails there, a cast works.
    fn unregister(&self, pid: Pid);

    /// Who holds the key, as soon as somebody does; `None` if nobody does within `limit`. A table that cannot
    /// wait looks just once.
    fn whereis_timeout(&self, timeout: Duration) -> Option<Pid> {
        let _ = timeout;
        self.whereis()
    }
}

/// A key of a `Via` table that a process holds.
struct HeldVia(Arc<dyn Via>);

impl HeldResource for HeldVia {
    fn release(&self, holder: Pid) {
        self.0.unregister(holder);
    }
}

/// Gives `block` a key in another table; returns the earlier holders that are not buried yet.
pub(crate) fn claim(
    via: &Arc<dyn Via>,
    block: &Arc<ProcessBlock>,
) -> Result<Vec<Arc<ProcessBlock>>, NameError> {
    let predecessors = via.take_over(block.pid)?;
    let mut state = block.lock();
    if block.is_cleaning_up() {
        drop(state);
        via.unregister(block.pid);
        return Err(NameError::NoProc);
    }
    state.held_resources.push(Arc::new(HeldVia(Arc::clone(via))));
    drop(state);
    Ok(predecessors.into_iter().filter_map(table::get).collect())
}
