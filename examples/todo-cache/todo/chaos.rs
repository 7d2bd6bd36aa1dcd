//! The chaos test: writers add entries continuously while a killer kills a process every 100 ms, and an
//! auditor checks that each acknowledged entry is found exactly once. The web page starts and stops it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rethread::StartError;
use rethread::prelude::*;
use rethread::task::TaskSupervisorRef;

use super::client::Client;
use super::error::TodoError;
use super::name::{ListName, Title};
use super::tree;

/// The supervisor of the writers, the killer and the auditor.
pub(crate) const CHAOS: TaskSupervisorRef = TaskSupervisorRef::named("chaos");

/// How many processes add entries.
const WRITERS: usize = 3;
/// The pause between two kills.
const KILL_INTERVAL: Duration = Duration::from_millis(100);
/// The chaos test stops by itself after this number of entries of each writer, in case it is not stopped.
const MAX_ENTRIES_PER_WRITER: u64 = 5_000;

static RUNNING: AtomicBool = AtomicBool::new(false);
static FOUND: AtomicU64 = AtomicU64::new(0);
static LOST: AtomicU64 = AtomicU64::new(0);
static ACKNOWLEDGED: Mutex<Vec<(ListName, Title)>> = Mutex::new(Vec::new());

/// The state and the counts of the chaos test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ChaosStatus {
    /// Whether it is running.
    pub(crate) running: bool,
    /// How many entries were acknowledged.
    pub(crate) acknowledged: u64,
    /// How many of them were found exactly once at the last count.
    pub(crate) found: u64,
    /// How many were not found exactly once, although they were acknowledged before that count.
    pub(crate) lost: u64,
}

/// Returns the status of the running chaos test, or of the last one.
pub(crate) fn status() -> ChaosStatus {
    ChaosStatus {
        running: RUNNING.load(Ordering::Relaxed),
        acknowledged: ACKNOWLEDGED.lock().len() as u64,
        found: FOUND.load(Ordering::Relaxed),
        lost: LOST.load(Ordering::Relaxed),
    }
}

/// Starts the chaos test; does nothing if it is running.
///
/// # Errors
///
/// [`StartError`].
pub(crate) fn start(client: Client) -> Result<(), StartError> {
    if RUNNING.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    ACKNOWLEDGED.lock().clear();
    FOUND.store(0, Ordering::Relaxed);
    LOST.store(0, Ordering::Relaxed);
    let run = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    start_tasks(client, run).inspect_err(|_| stop())
}

fn start_tasks(client: Client, run: u128) -> Result<(), StartError> {
    for writer in 1..=WRITERS {
        CHAOS
            .builder()
            .label(format!("chaos.writer.{writer}"))
            .start_child(move || write(client, writer, run))?;
    }
    CHAOS.builder().label("chaos.killer").start_child(kill)?;
    CHAOS.builder().label("chaos.auditor").start_child(move || audit(client))?;
    Ok(())
}

/// Stops the chaos test. The last count follows within about a second.
pub(crate) fn stop() {
    RUNNING.store(false, Ordering::Relaxed);
}

fn write(client: Client, writer: usize, run: u128) {
    let (Ok(list), Ok(date)) = (format!("chaos {writer}").parse::<ListName>(), "2026-11-22".parse()) else {
        return;
    };
    for number in 1..=MAX_ENTRIES_PER_WRITER {
        let Ok(title) = format!("entry {number} of writer {writer} in chaos run {run}").parse::<Title>()
        else {
            return;
        };
        if !RUNNING.load(Ordering::Relaxed) {
            return;
        }
        if client.add(&list, date, &title).is_ok() {
            ACKNOWLEDGED.lock().push((list.clone(), title));
        }
    }
    stop();
}

/// Stops the chaos test when the process that holds it exits, for any reason.
struct ChaosGuard;

impl Drop for ChaosGuard {
    fn drop(&mut self) {
        stop();
    }
}

/// Kills the processes of the tree in turn, except those without which the system cannot recover.
fn kill() {
    let _guard = ChaosGuard;
    for round in 0.. {
        let members = tree::members();
        let victims: Vec<_> = members.iter().filter(|one| tree::is_chaos_target(&one.name)).collect();
        if let Some(victim) = victims.get(round % victims.len().max(1)) {
            process::exit(victim.pid, ExitReason::Kill);
        }
        process::sleep(KILL_INTERVAL);
        if !RUNNING.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// Counts the stored entries every second, until the test has stopped and no write is pending.
fn audit(client: Client) {
    loop {
        process::sleep(Duration::from_secs(1));
        // Read this first: an entry that is acknowledged after it is counted in the next round.
        let is_ongoing = RUNNING.load(Ordering::Relaxed) || has_pending_writes();
        let acknowledged: Vec<_> = ACKNOWLEDGED.lock().clone();
        // A list that cannot be read at the moment is not a loss: count again later.
        let Ok(stored) = stored_entries(client) else { continue };
        let found = acknowledged.iter().filter(|entry| stored.get(entry) == Some(&1)).count();
        FOUND.store(found as u64, Ordering::Relaxed);
        LOST.store((acknowledged.len() - found) as u64, Ordering::Relaxed);
        if !is_ongoing {
            return;
        }
    }
}

/// Returns `true` if a writer is still waiting for the reply to its last entry.
fn has_pending_writes() -> bool {
    tree::members().iter().any(|member| member.name.starts_with("chaos.writer."))
}

/// Counts how often each entry is in the lists.
fn stored_entries(client: Client) -> Result<HashMap<(ListName, Title), u32>, TodoError> {
    let mut counts = HashMap::new();
    for list in (1..=WRITERS).filter_map(|writer| format!("chaos {writer}").parse::<ListName>().ok()) {
        for entry in client.entries(&list, None)? {
            *counts.entry((list.clone(), entry.title)).or_default() += 1;
        }
    }
    Ok(counts)
}
