//! `Via`: names that are kept in another table, such as a registry.
//!
//! A `Via` is user code: it is never called under the lock of a process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::pid::Pid;
use crate::process::control::block::{HeldResource, ProcessBlock};
use crate::process::control::table;
use crate::process::error::NameError;

/// A key in a table of names other than the runtime's own: a process is registered, and found, by that key. The keys of a
/// [`Registry`](crate::registry::Registry) implement it; so can your own tables.
///
/// The table must remove a holder on `unregister`, which the runtime calls when the process exits, before any link or
/// monitor is notified. `Debug` is the text by which handles, errors and logs show the key: `Registry["lobby"]`.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::{Mutex, PoisonError};
/// use std::time::Duration;
/// use rethread::Pid;
/// use rethread::process::{self, NameError, Via};
///
/// static PORTS: Mutex<Option<HashMap<u16, Pid>>> = Mutex::new(None);
///
/// #[derive(Debug)]
/// struct Port(u16);
///
/// fn with_ports<R>(f: impl FnOnce(&mut HashMap<u16, Pid>) -> R) -> R {
///     f(PORTS.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
/// }
///
/// impl Via for Port {
///     fn whereis(&self) -> Option<Pid> {
///         with_ports(|ports| ports.get(&self.0).copied())
///     }
///     fn register(&self, pid: Pid) -> Result<(), NameError> {
///         with_ports(|ports| match ports.get(&self.0) {
///             Some(holder) if process::is_alive(holder) => Err(NameError::Taken(*holder)),
///             _ => {
///                 ports.insert(self.0, pid);
///                 Ok(())
///             }
///         })
///     }
///     fn unregister(&self, pid: Pid) {
///         with_ports(|ports| ports.retain(|port, holder| *port != self.0 || *holder != pid));
///     }
/// }
///
/// let listener = process::Builder::new().via(Port(80)).spawn(|| process::sleep(Duration::MAX))?;
/// assert_eq!(Port(80).whereis(), Some(listener));
/// # Ok::<(), process::SpawnError>(())
/// ```
pub trait Via: fmt::Debug + Send + Sync {
    /// Returns the pid of the process that holds the key now, or `None`.
    fn whereis(&self) -> Option<Pid>;

    /// Makes `pid` the holder of the key. A holder that is no longer alive ([`process::is_alive`]) must be replaced. The
    /// runtime calls this on the thread that starts the process: runtime calls in it are checkpoints of that thread.
    ///
    /// # Errors
    /// [`NameError::Taken`] if a running process holds the key.
    ///
    /// [`process::is_alive`]: crate::process::is_alive
    fn register(&self, pid: Pid) -> Result<(), NameError>;

    /// Makes `pid`, a process that has not started yet, the holder of the key, and returns the earlier holders that are
    /// still exiting: the new process waits for their cleanup before it starts. By default that is the process that
    /// `whereis` returns right before the call of [`register`](Self::register), if it is exiting.
    ///
    /// # Errors
    /// [`NameError::Taken`] if a running process holds the key.
    fn take_over(&self, pid: Pid) -> Result<Vec<Pid>, NameError> {
        let predecessor = self.whereis().and_then(table::get).filter(|holder| holder.is_exiting());
        self.register(pid)?;
        Ok(predecessor.map(|holder| holder.pid).into_iter().collect())
    }

    /// Removes `pid` from the table, if it still is the holder. The runtime calls this during the exit of that process,
    /// usually on its own thread: there a call to a server fails, a cast works.
    fn unregister(&self, pid: Pid);

    /// Waits until a process holds the key and returns its pid; `None` if none does within `timeout`. The default
    /// does not wait: it calls [`whereis`](Self::whereis) once.
    fn whereis_timeout(&self, timeout: Duration) -> Option<Pid> {
        let _ = timeout;
        self.whereis()
    }
}

/// A key of a `Via` table that a process holds: released by its cleanup.
struct HeldVia(Arc<dyn Via>);

impl HeldResource for HeldVia {
    fn release(&self, holder: Pid) {
        self.0.unregister(holder);
    }
}

/// Makes `block` the holder of a key in another table. Returns the earlier holders whose cleanup is not complete.
pub(crate) fn claim(
    via: &Arc<dyn Via>,
    block: &Arc<ProcessBlock>,
) -> Result<Vec<Arc<ProcessBlock>>, NameError> {
    let predecessors = via.take_over(block.pid)?;
    let mut state = block.lock();
    // The process may have been killed during `take_over`: then its cleanup has taken `held_resources` without this key.
    if block.is_cleaning_up() {
        drop(state);
        via.unregister(block.pid);
        return Err(NameError::NoProc);
    }
    state.held_resources.push(Arc::new(HeldVia(Arc::clone(via))));
    drop(state);
    Ok(predecessors.into_iter().filter_map(table::get).collect())
}
