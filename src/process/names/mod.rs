//! Who holds which name. A name has at most one living holder; a holder whose end is decided no longer
//! counts, and whoever takes the name over waits for its burial before it begins. Births, sends by name,
//! the `Via` keys of other tables, and registries come here.

pub(crate) mod table;
pub(crate) mod via;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use once_cell::sync::Lazy;

use crate::pid::Pid;
use crate::process::control::block::Phase;
use crate::process::control::block::ProcessBlock;
use crate::process::control::local;
use crate::process::control::table as process_table;
use crate::process::names::table::NameTable;

/// Why a name could not be registered or unregistered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// Somebody living holds it, perhaps the very process.
    Taken(Pid),
    /// The process has another name already; it can have one.
    AlreadyNamed(Arc<str>),
    /// There is no such process, or its end is decided.
    NoProc,
    /// Nobody holds it.
    Unknown,
    /// A name is at least one character.
    Empty,
    /// The calling process is exiting and can change nothing any more.
    Exiting,
    /// The calling thread is not a process, so there is nobody to register.
    NotAProcess,
    /// The keyed table refused: it cannot be used for names.
    Unsupported(&'static str),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(holder) => write!(f, "the name is taken by {holder}"),
            Self::AlreadyNamed(name) => write!(f, "the process already has the name {name:?}"),
            Self::NoProc => f.write_str("there is no such process"),
            Self::Unknown => f.write_str("nobody holds the name"),
            Self::Empty => f.write_str("a name must have at least one character"),
            Self::Exiting => f.write_str("the calling process is exiting"),
            Self::NotAProcess => f.write_str("the calling thread is not a process"),
            Self::Unsupported(reason) => write!(f, "the table cannot name processes: {reason}"),
        }
    }
}

impl std::error::Error for NameError {}

static NAMES: Lazy<NameTable<Arc<str>>> = Lazy::new(NameTable::new);

/// The living holder of a name.
pub(crate) fn lookup(name: &str) -> Option<Arc<ProcessBlock>> {
    NAMES.get(name).map(|(block, ())| block)
}

/// Gives `block` the name; returns the earlier holders that are not buried yet.
pub(crate) fn claim(name: &Arc<str>, block: &Arc<ProcessBlock>) -> Result<Vec<Arc<ProcessBlock>>, NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
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
    let claimed = NAMES.claim(name, block, ());
    if claimed.is_err() {
        block.lock().name = None;
    }
    let predecessors = claimed?;
    if block.is_cleaning_up() {
        // Its burial has released its name already and will not come back for it.
        NAMES.release(name, block.pid);
        return Err(NameError::NoProc);
    }
    Ok(predecessors)
}

/// Forgets the name of a process that is being buried, or that gives it up.
pub(crate) fn release(name: &str, holder: Pid) {
    NAMES.release(name, holder);
}

/// Gives a process a name by which everybody can reach it, until it ends or the name is taken away.
///
/// # Errors
/// [`NameError::Taken`] if somebody living holds the name (perhaps the process itself),
/// [`NameError::AlreadyNamed`] if the process has another one, [`NameError::NoProc`] if it is dead or
/// dying, [`NameError::Empty`], [`NameError::Exiting`].
///
/// # Differences from Erlang
/// A holder whose end is decided but not yet complete does not count: the name can be taken over. Taken by
/// hand it is there at once; a process that is *started* under a name waits until the earlier holder is
/// buried.
///
/// ```
/// use rethread::process::{self, NameError};
///
/// let printer = process::spawn::<()>(|inbox| { inbox.recv(); })?;
/// process::register("doc.printer", &printer)?;
/// assert_eq!(process::whereis("doc.printer"), Some(printer.pid()));
/// assert_eq!(process::register("doc.printer", &printer), Err(NameError::Taken(printer.pid())));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn register(name: impl Into<Arc<str>>, pid: impl Into<Pid>) -> Result<(), NameError> {
    if let Some(me) = local::get() {
        me.checkpoint();
        if me.signals_masked() || me.is_zombie() {
            return Err(NameError::Exiting);
        }
    }
    let block = process_table::get(pid.into()).ok_or(NameError::NoProc)?;
    claim(&name.into(), &block).map(drop)
}

/// Takes a name away from its holder, which lives on.
///
/// # Errors
/// [`NameError::Unknown`] if nobody holds it, [`NameError::Exiting`].
///
/// ```
/// use rethread::process::{self, NameError};
/// assert_eq!(process::unregister("doc.nobody"), Err(NameError::Unknown));
/// ```
pub fn unregister(name: &str) -> Result<(), NameError> {
    if let Some(me) = local::get() {
        me.checkpoint();
        if me.is_zombie() {
            return Err(NameError::Exiting);
        }
    }
    let holder = lookup(name).ok_or(NameError::Unknown)?;
    let mut state = holder.lock();
    let name = state.name.take_if(|own| **own == *name).ok_or(NameError::Unknown)?;
    drop(state);
    release(&name, holder.pid);
    Ok(())
}

/// Who holds a name now.
///
/// # Differences from Erlang
/// A process whose end is decided is no longer found, even before it is dead.
///
/// ```
/// assert_eq!(rethread::process::whereis("doc.no one"), None);
/// ```
pub fn whereis(name: &str) -> Option<Pid> {
    local::checkpoint();
    lookup(name).map(|block| block.pid)
}

/// Who holds a name, as soon as somebody does; `None` if nobody does within `limit`. The way to wait for a
/// restart.
///
/// ```
/// use std::time::Duration;
/// use rethread::process;
///
/// assert_eq!(process::whereis_timeout("doc.late", Duration::from_millis(1)), None);
/// let late = process::Builder::new().name("doc.late").spawn::<()>(|inbox| { inbox.recv(); })?;
/// assert_eq!(process::whereis_timeout("doc.late", Duration::from_secs(1)), Some(late.pid()));
/// # Ok::<(), process::SpawnError>(())
/// ```
pub fn whereis_timeout(name: &str, timeout: Duration) -> Option<Pid> {
    local::checkpoint();
    NAMES.get_timeout(name.into(), timeout).map(|(block, ())| block.pid)
}
