//! Ending one process of the system on purpose, and waiting for what comes of it. The shell, the demo and
//! the tests do.

use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use rethread::process::Watch;
use rethread::{ChildState, prelude::*};

use super::cache::{self, CACHE};
use super::database::{self, DATABASE};
use super::name::ListName;
use super::server::{self, TodoServer};
use super::system::SYSTEM;
use super::worker::{self, WORKERS};

/// How long a death, and a new start, may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a process is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blow {
    /// By an exit signal that nobody can trap.
    Kill,
    /// By a panic in one of its handlers.
    Crash,
}

/// What a blow did.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hit {
    /// Who was struck.
    pub(crate) pid: Pid,
    /// Why it ended.
    pub(crate) reason: ExitReason,
    /// Why the system ended, if it did; if not, it has a new cache by now.
    pub(crate) gave_up: Option<ExitReason>,
}

/// Why nobody was struck, or nobody knows what came of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Missed {
    /// No process of the system has this name.
    Unknown(String),
    /// The process has no handler to crash in: a supervisor.
    NoHandler(String),
    /// The process still runs, or the system is not up again.
    Timeout,
}

/// Ends the process of that name and waits until the system stands again, or has given up.
///
/// # Errors
///
/// [`Missed`].
pub(crate) fn strike(name: &str, blow: Blow) -> Result<Hit, Missed> {
    let unknown = || Missed::Unknown(name.to_owned());
    let pid = process::whereis(name).ok_or_else(unknown)?;
    let victim = process::watch(pid);
    // Everybody is linked with everybody: the cache goes too, whoever is struck.
    let cache = CACHE.watch();
    let system = SYSTEM.watch();
    match blow {
        Blow::Kill => process::exit(pid, ExitReason::Kill),
        Blow::Crash => crash(name)?,
    }
    let reason = victim.wait_timeout(PATIENCE).ok_or(Missed::Timeout)?;
    cache.wait_timeout(PATIENCE).ok_or(Missed::Timeout)?;
    Ok(Hit { pid, reason, gave_up: aftermath(&system)? })
}

/// Has the process of that name panic in a handler.
fn crash(name: &str) -> Result<(), Missed> {
    if let Some(worker) = WORKERS.iter().find(|worker| worker.to_string() == name) {
        worker.cast(worker::Tell::Crash);
    } else if name == DATABASE.to_string() {
        DATABASE.cast(database::Tell::Crash);
    } else if name == CACHE.to_string() {
        CACHE.cast(cache::Tell::Crash);
    } else if name == SYSTEM.to_string() {
        return Err(Missed::NoHandler(name.to_owned()));
    } else {
        let list = name.strip_prefix("list:").and_then(|list| ListName::try_from(list).ok());
        let list = list.ok_or_else(|| Missed::Unknown(name.to_owned()))?;
        TodoServer::of(&list).cast(server::Tell::Crash);
    }
    Ok(())
}

/// What became of the system after the end of its cache: nothing if it has a new one, else why it ended.
fn aftermath(system: &Watch) -> Result<Option<ExitReason>, Missed> {
    let began = Instant::now();
    loop {
        // The supervisor knows of the end by now, and deals with it before it answers.
        let Ok(children) = SYSTEM.which_children() else {
            return system.wait_timeout(PATIENCE).map(Some).ok_or(Missed::Timeout);
        };
        if children.iter().all(|child| matches!(child.state, ChildState::Running(_))) {
            return Ok(None);
        }
        if began.elapsed() > PATIENCE {
            return Err(Missed::Timeout);
        }
        process::sleep(Duration::from_millis(5)); // it did not start, and is tried again
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missed::Unknown(name) => write!(f, "no process is called {name:?}: `tree` shows them all"),
            Missed::NoHandler(name) => write!(f, "{name} is a supervisor, without a handler to crash in"),
            Missed::Timeout => write!(f, "the system is not back after {PATIENCE:?}"),
        }
    }
}

impl Error for Missed {}
