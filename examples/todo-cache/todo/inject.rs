//! Ending one process of the system on purpose, and waiting for what comes of it. The shell, the demo and
//! the tests do.

use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use rethread::observer::{self, Snapshot};
use rethread::process::{Activity, ProcessKind, ProcessState, Watch};
use rethread::{ChildState, prelude::*};

use super::cache::{self, Cache};
use super::database::{self, Database};
use super::fault::HandlerFault;
use super::server::{self, TodoServer};
use super::system::SYSTEM;
use super::tree::{self, Member};
use super::worker::{self, DbWorker};

/// How long a death, and a new start, may take.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// How a process is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// By an exit signal that nobody can trap.
    Kill,
    /// By a panic in one of its handlers.
    Crash,
    /// Not at all: it goes into a handler and does not come out.
    Hang,
}

/// What a blow did.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InjectOutcome {
    /// Who was struck.
    pub(crate) pid: Pid,
    /// Why it ended.
    pub(crate) reason: ExitReason,
    /// Why the system ended, if it did; if not, everything that a supervisor keeps runs again by now.
    pub(crate) gave_up: Option<ExitReason>,
}

/// Why nobody was struck, or nobody knows what came of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum InjectError {
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
pub(crate) fn inject(name: &str, fault: Fault) -> Result<InjectOutcome, InjectError> {
    let member = find_member(name)?;
    let victim = process::watch(member.pid);
    let system = SYSTEM.whereis().map(process::watch);
    send_fault(&member, fault)?;
    let reason = victim.wait_timeout(RECOVERY_TIMEOUT).ok_or(InjectError::Timeout)?;
    Ok(InjectOutcome { pid: member.pid, reason, gave_up: await_recovery(system.as_ref())? })
}

/// As [`strike`], without waiting for anything.
///
/// # Errors
///
/// [`Missed::Unknown`], [`Missed::NoHandler`].
pub(crate) fn inject_nowait(name: &str, fault: Fault) -> Result<(), InjectError> {
    send_fault(&find_member(name)?, fault)
}

/// Has a process hang, and waits until it does.
///
/// # Errors
///
/// [`Missed`].
pub(crate) fn hang(name: &str) -> Result<(), InjectError> {
    let member = find_member(name)?;
    send_fault(&member, Fault::Hang)?;
    let began = Instant::now();
    let is_hanging = || observer::info(member.pid).is_none_or(|one| one.info.activity == Activity::Cast);
    while !is_hanging() {
        if began.elapsed() > RECOVERY_TIMEOUT {
            return Err(InjectError::Timeout);
        }
        process::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn find_member(name: &str) -> Result<Member, InjectError> {
    tree::find(name).ok_or_else(|| InjectError::Unknown(name.to_owned()))
}

fn send_fault(member: &Member, fault: Fault) -> Result<(), InjectError> {
    match fault {
        Fault::Kill => process::exit(member.pid, ExitReason::Kill),
        Fault::Crash => inject_in_handler(member, HandlerFault::Crash)?,
        Fault::Hang => inject_in_handler(member, HandlerFault::Hang)?,
    }
    Ok(())
}

/// Has a process do something wrong in a handler.
fn inject_in_handler(member: &Member, fault: HandlerFault) -> Result<(), InjectError> {
    let Member { pid, name } = member;
    match name.as_str() {
        _ if observer::info(*pid).is_some_and(|one| one.info.kind == ProcessKind::Supervisor) => {
            return Err(InjectError::NoHandler(name.clone()));
        }
        "cache" => ServerRef::<Cache>::from_pid(*pid).cast(cache::CacheCast::Inject(fault)),
        "database" => ServerRef::<Database>::from_pid(*pid).cast(database::DatabaseCast::Inject(fault)),
        name if name.starts_with("db.worker.") => {
            ServerRef::<DbWorker>::from_pid(*pid).cast(worker::WorkerCast::Inject(fault));
        }
        name if name.starts_with("list:") => {
            ServerRef::<TodoServer>::from_pid(*pid).cast(server::ListCast::Inject(fault))
        }
        _ => return Err(InjectError::NoHandler(name.clone())),
    }
    Ok(())
}

/// What became of the system: nothing if it stands again, else why it ended.
fn await_recovery(system: Option<&Watch>) -> Result<Option<ExitReason>, InjectError> {
    let began = Instant::now();
    loop {
        if let Some(reason) = system.and_then(|system| system.wait_timeout(Duration::ZERO)) {
            return Ok(Some(reason));
        }
        if is_stable(&observer::snapshot()) {
            return Ok(None);
        }
        if began.elapsed() > RECOVERY_TIMEOUT {
            return Err(InjectError::Timeout);
        }
        process::sleep(Duration::from_millis(1));
    }
}

/// Whether nobody is about to end, and all that supervisors keep runs. (Whoever is to die of another's death is exiting
/// before that death is heard of: there is no moment between.)
fn is_stable(snapshot: &Snapshot) -> bool {
    let own_processes =
        || snapshot.processes.iter().filter(|one| tree::is_system_process(one.display_name()));
    let is_steady = |state: &ProcessState| matches!(state, ProcessState::Running | ProcessState::Waiting);
    own_processes().all(|one| is_steady(&one.info.state))
        && own_processes()
            .filter_map(|one| one.supervision.as_ref())
            .flat_map(|own| &own.children)
            .all(|row| matches!(row.child.state, ChildState::Running(pid) if snapshot.get(pid).is_some()))
}

impl fmt::Display for InjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InjectError::Unknown(name) => write!(f, "no process is called {name:?}: `tree` shows them all"),
            InjectError::NoHandler(name) => {
                write!(f, "{name} is a supervisor, without a handler to crash in")
            }
            InjectError::Timeout => write!(f, "the system is not back after {RECOVERY_TIMEOUT:?}"),
        }
    }
}

impl Error for InjectError {}
