//! Ending one process of the system on purpose, and waiting for what comes of it. The shell, the demo and
//! the tests do.

use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use rethread::observer::{self, Snapshot};
use rethread::process::{Activity, Kind, ProcessState, Watch};
use rethread::{ChildState, prelude::*};

use super::cache::{self, Cache};
use super::database::{self, Database};
use super::misdeed::Misdeed;
use super::server::{self, TodoServer};
use super::system::SYSTEM;
use super::tree::{self, Member};
use super::worker::{self, DbWorker};

/// How long a death, and a new start, may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a process is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blow {
    /// By an exit signal that nobody can trap.
    Kill,
    /// By a panic in one of its handlers.
    Crash,
    /// Not at all: it goes into a handler and does not come out.
    Hang,
}

/// What a blow did.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hit {
    /// Who was struck.
    pub(crate) pid: Pid,
    /// Why it ended.
    pub(crate) reason: ExitReason,
    /// Why the system ended, if it did; if not, everything that a supervisor keeps runs again by now.
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

/// Ends the process that the tree shows under that name, or pid, and waits until the system stands again, or has given
/// up.
///
/// # Errors
///
/// [`Missed`].
pub(crate) fn strike(name: &str, blow: Blow) -> Result<Hit, Missed> {
    let member = known(name)?;
    let victim = process::watch(member.pid);
    let system = SYSTEM.whereis().map(process::watch);
    aim(&member, blow)?;
    let reason = victim.wait_timeout(PATIENCE).ok_or(Missed::Timeout)?;
    Ok(Hit { pid: member.pid, reason, gave_up: aftermath(system.as_ref())? })
}

/// As [`strike`], without waiting for anything.
///
/// # Errors
///
/// [`Missed::Unknown`], [`Missed::NoHandler`].
pub(crate) fn hit(name: &str, blow: Blow) -> Result<(), Missed> {
    aim(&known(name)?, blow)
}

/// Has a process hang, and waits until it does.
///
/// # Errors
///
/// [`Missed`].
pub(crate) fn hang(name: &str) -> Result<(), Missed> {
    let member = known(name)?;
    aim(&member, Blow::Hang)?;
    let began = Instant::now();
    let hangs = || observer::info(member.pid).is_none_or(|one| one.info.activity == Activity::Cast);
    while !hangs() {
        if began.elapsed() > PATIENCE {
            return Err(Missed::Timeout);
        }
        process::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn known(name: &str) -> Result<Member, Missed> {
    tree::find(name).ok_or_else(|| Missed::Unknown(name.to_owned()))
}

fn aim(member: &Member, blow: Blow) -> Result<(), Missed> {
    match blow {
        Blow::Kill => process::exit(member.pid, ExitReason::Kill),
        Blow::Crash => misbehave(member, Misdeed::Crash)?,
        Blow::Hang => misbehave(member, Misdeed::Hang)?,
    }
    Ok(())
}

/// Has a process do something wrong in a handler.
fn misbehave(member: &Member, misdeed: Misdeed) -> Result<(), Missed> {
    let Member { pid, name } = member;
    match name.as_str() {
        _ if observer::info(*pid).is_some_and(|one| one.info.kind == Kind::Supervisor) => {
            return Err(Missed::NoHandler(name.clone()));
        }
        "cache" => ServerRef::<Cache>::from_pid(*pid).cast(cache::Tell::Misbehave(misdeed)),
        "database" => ServerRef::<Database>::from_pid(*pid).cast(database::Tell::Misbehave(misdeed)),
        name if name.starts_with("db.worker.") => {
            ServerRef::<DbWorker>::from_pid(*pid).cast(worker::Tell::Misbehave(misdeed));
        }
        name if name.starts_with("list:") => {
            ServerRef::<TodoServer>::from_pid(*pid).cast(server::Tell::Misbehave(misdeed))
        }
        _ => return Err(Missed::NoHandler(name.clone())),
    }
    Ok(())
}

/// What became of the system: nothing if it stands again, else why it ended.
fn aftermath(system: Option<&Watch>) -> Result<Option<ExitReason>, Missed> {
    let began = Instant::now();
    loop {
        if let Some(reason) = system.and_then(|system| system.wait_timeout(Duration::ZERO)) {
            return Ok(Some(reason));
        }
        if settled(&observer::snapshot()) {
            return Ok(None);
        }
        if began.elapsed() > PATIENCE {
            return Err(Missed::Timeout);
        }
        process::sleep(Duration::from_millis(1));
    }
}

/// Whether nobody is about to end, and all that supervisors keep runs. (Whoever is to die of another's death is exiting
/// before that death is heard of: there is no moment between.)
fn settled(snapshot: &Snapshot) -> bool {
    let ours = || snapshot.processes.iter().filter(|one| tree::ours(one.title()));
    let steady = |state: &ProcessState| matches!(state, ProcessState::Running | ProcessState::Waiting);
    ours().all(|one| steady(&one.info.state))
        && ours()
            .filter_map(|one| one.supervision.as_ref())
            .flat_map(|own| &own.children)
            .all(|row| matches!(row.child.state, ChildState::Running(pid) if snapshot.get(pid).is_some()))
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
