//! A storm: some writers add entries as fast as they get answers while somebody kills a process every few
//! milliseconds; in the end all that was acknowledged is looked for. The web page has a switch for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rethread::prelude::*;

use super::client;
use super::error::TodoError;
use super::name::{ListName, Title};
use super::tree;

/// The supervisor of whoever takes part.
pub(crate) const CHAOS: ServerRef<TaskSupervisor> = ServerRef::named("chaos");

/// How many processes add entries.
const WRITERS: usize = 3;
/// How often somebody is killed.
const KILL_INTERVAL: Duration = Duration::from_millis(100);
/// A storm that was forgotten ends after so many entries of each writer.
const MAX_ENTRIES_PER_WRITER: u64 = 5_000;

static RUNNING: AtomicBool = AtomicBool::new(false);
static FOUND: AtomicU64 = AtomicU64::new(0);
static LOST: AtomicU64 = AtomicU64::new(0);
static ACKNOWLEDGED: Mutex<Vec<(ListName, Title)>> = Mutex::new(Vec::new());

/// What was promised so far, and what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ChaosStatus {
    /// Whether it goes on.
    pub(crate) running: bool,
    /// How many entries were acknowledged.
    pub(crate) acknowledged: u64,
    /// How many of them were found at the last count, exactly once.
    pub(crate) found: u64,
    /// How many were not, although they were acknowledged before it.
    pub(crate) lost: u64,
}

/// The books of the last storm, or this one.
pub(crate) fn status() -> ChaosStatus {
    ChaosStatus {
        running: RUNNING.load(Ordering::Relaxed),
        acknowledged: ACKNOWLEDGED.lock().len() as u64,
        found: FOUND.load(Ordering::Relaxed),
        lost: LOST.load(Ordering::Relaxed),
    }
}

/// Starts a storm; nothing happens if there is one.
///
/// # Errors
///
/// [`StartError`].
pub(crate) fn start() -> Result<(), StartError> {
    if RUNNING.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    ACKNOWLEDGED.lock().clear();
    FOUND.store(0, Ordering::Relaxed);
    LOST.store(0, Ordering::Relaxed);
    let run = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    start_tasks(run).inspect_err(|_| stop())
}

fn start_tasks(run: u128) -> Result<(), StartError> {
    for writer in 1..=WRITERS {
        CHAOS.builder().label(format!("chaos.writer.{writer}")).start_child(move || write(writer, run))?;
    }
    CHAOS.builder().label("chaos.killer").start_child(kill)?;
    CHAOS.builder().label("chaos.auditor").start_child(audit)?;
    Ok(())
}

/// Ends it. The last count is made a moment later.
pub(crate) fn stop() {
    RUNNING.store(false, Ordering::Relaxed);
}

fn write(writer: usize, run: u128) {
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
        if client::add(&list, date, &title).is_ok() {
            ACKNOWLEDGED.lock().push((list.clone(), title));
        }
    }
    stop();
}

/// Ends the storm with the process that holds it, however that ends.
struct ChaosGuard;

impl Drop for ChaosGuard {
    fn drop(&mut self) {
        stop();
    }
}

/// Kills whoever comes next in the tree, but for those whose end is the end of all.
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

/// Counts, again and again, until there is nothing new to count.
fn audit() {
    loop {
        process::sleep(Duration::from_secs(1));
        let is_ongoing = RUNNING.load(Ordering::Relaxed) || has_pending_writes();
        let acknowledged: Vec<_> = ACKNOWLEDGED.lock().clone();
        // A list that cannot be read just now is not a loss.
        let Ok(stored) = stored_entries() else { continue };
        let found = acknowledged.iter().filter(|entry| stored.get(entry) == Some(&1)).count();
        FOUND.store(found as u64, Ordering::Relaxed);
        LOST.store((acknowledged.len() - found) as u64, Ordering::Relaxed);
        if !is_ongoing {
            return;
        }
    }
}

/// Whether a writer still waits for the answer to its last entry.
fn has_pending_writes() -> bool {
    tree::members().iter().any(|member| member.name.starts_with("chaos.writer."))
}

/// How often each entry is in the lists.
fn stored_entries() -> Result<HashMap<(ListName, Title), u32>, TodoError> {
    let mut counts = HashMap::new();
    for list in (1..=WRITERS).filter_map(|writer| format!("chaos {writer}").parse::<ListName>().ok()) {
        for entry in client::entries(&list, None)? {
            *counts.entry((list.clone(), entry.title)).or_default() += 1;
        }
    }
    Ok(counts)
}
