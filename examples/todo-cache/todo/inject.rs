//! Fault injection: makes one process of the system exit or hang on purpose, and waits until the system has
//! recovered.

use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use rethread::observer::{self, Snapshot};
use rethread::prelude::*;
use rethread::process::{Activity, ProcessKind, ProcessState, Watch};
use rethread::supervisor::ChildState;

use super::cache::{self, Cache};
use super::database::{self, Database};
use super::fault::HandlerFault;
use super::server::{self, TodoServer};
use super::system::SYSTEM;
use super::tree::{self, Member};
use super::worker::{self, DbWorker};

/// How long an exit and the recovery may take.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// The kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A kill signal, which cannot be trapped.
    Kill,
    /// A panic in one of its handlers.
    Crash,
    /// A handler that never returns. The process does not exit.
    Hang,
}

/// The outcome of a fault.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InjectOutcome {
    /// The process with the fault.
    pub(crate) pid: Pid,
    /// Its exit reason.
    pub(crate) reason: ExitReason,
    /// The exit reason of the system, if it gave up. `None` if all supervised processes are running again.
    pub(crate) gave_up: Option<ExitReason>,
}

/// Why a fault was not injected, or its outcome is unknown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum InjectError {
    /// No process of the system has this name.
    Unknown(String),
    /// The process has no handler to crash in: it is a supervisor, or a process or task without messages to handle.
    NoHandler(String, ProcessKind),
    /// The process is still running, or the system has not recovered in time.
    Timeout,
}

/// Injects a fault into the process with this name or pid, and waits until the system has recovered or given
/// up.
///
/// # Errors
///
/// [`InjectError`].
pub(crate) fn inject(name: &str, fault: Fault) -> Result<InjectOutcome, InjectError> {
    // Watch both before sending the fault, so that no exit is missed.
    let member = find_member(name)?;
    let victim = process::watch(member.pid);
    let system = SYSTEM.whereis().map(process::watch);
    send_fault(&member, fault)?;
    let reason = victim.wait_timeout(RECOVERY_TIMEOUT).ok_or(InjectError::Timeout)?;
    Ok(InjectOutcome { pid: member.pid, reason, gave_up: await_recovery(system.as_ref())? })
}

/// Injects a fault, like [`inject`], without waiting for its outcome.
///
/// # Errors
///
/// [`InjectError::Unknown`], [`InjectError::NoHandler`].
pub(crate) fn inject_nowait(name: &str, fault: Fault) -> Result<(), InjectError> {
    send_fault(&find_member(name)?, fault)
}

/// Makes a process hang in a handler, and waits until it does.
///
/// # Errors
///
/// [`InjectError`].
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

/// Sends a fault to a process, which executes it in a handler.
fn inject_in_handler(member: &Member, fault: HandlerFault) -> Result<(), InjectError> {
    let Member { pid, name } = member;
    let kind = observer::info(*pid).map_or(ProcessKind::Process, |one| one.info.kind);
    match name.as_str() {
        _ if kind == ProcessKind::Supervisor => return Err(InjectError::NoHandler(name.clone(), kind)),
        "cache" => ServerRef::<Cache>::from_pid(*pid).cast(cache::CacheCast::Inject(fault)),
        "database" => ServerRef::<Database>::from_pid(*pid).cast(database::DatabaseCast::Inject(fault)),
        name if name.starts_with("db.worker.") => {
            ServerRef::<DbWorker>::from_pid(*pid).cast(worker::WorkerCast::Inject(fault));
        }
        name if name.starts_with("list:") => {
            ServerRef::<TodoServer>::from_pid(*pid).cast(server::ListCast::Inject(fault))
        }
        _ => return Err(InjectError::NoHandler(name.clone(), kind)),
    }
    Ok(())
}

/// Waits until the system has recovered. Returns its exit reason if it gave up.
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

/// Returns `true` if no process is exiting and all supervised children are running. There is no gap in which
/// an exit could be missed: linked processes are marked as exiting before the exit is reported to monitors.
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
            InjectError::NoHandler(name, kind) => {
                let kind = match kind {
                    ProcessKind::Supervisor => "supervisor",
                    ProcessKind::Task => "task",
                    _ => "process",
                };
                write!(f, "{name} is a {kind}, without a handler to crash in")
            }
            InjectError::Timeout => write!(f, "the system has not recovered within {RECOVERY_TIMEOUT:?}"),
        }
    }
}

impl Error for InjectError {}
