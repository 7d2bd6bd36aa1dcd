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
pub(crate) const STORM: ServerRef<TaskSupervisor> = ServerRef::named("storm");

/// How many processes add entries.
const WRITERS: usize = 3;
/// How often somebody is killed.
const EVERY: Duration = Duration::from_millis(100);
/// A storm that was forgotten ends after so many entries of each writer.
const MOST: u64 = 5_000;

static RAGES: AtomicBool = AtomicBool::new(false);
static FOUND: AtomicU64 = AtomicU64::new(0);
static LOST: AtomicU64 = AtomicU64::new(0);
static ACKNOWLEDGED: Mutex<Vec<(ListName, Title)>> = Mutex::new(Vec::new());

/// What was promised so far, and what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ledger {
    /// Whether it goes on.
    pub(crate) on: bool,
    /// How many entries were acknowledged.
    pub(crate) acknowledged: u64,
    /// How many of them were found at the last count, exactly once.
    pub(crate) found: u64,
    /// How many were not, although they were acknowledged before it.
    pub(crate) lost: u64,
}

/// The books of the last storm, or this one.
pub(crate) fn ledger() -> Ledger {
    Ledger {
        on: RAGES.load(Ordering::Relaxed),
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
pub(crate) fn begin() -> Result<(), StartError> {
    if RAGES.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    ACKNOWLEDGED.lock().clear();
    FOUND.store(0, Ordering::Relaxed);
    LOST.store(0, Ordering::Relaxed);
    let run = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    start(run).inspect_err(|_| end())
}

fn start(run: u128) -> Result<(), StartError> {
    for writer in 1..=WRITERS {
        STORM.builder().label(format!("storm.writer.{writer}")).start_child(move || write(writer, run))?;
    }
    STORM.builder().label("storm.killer").start_child(kill)?;
    STORM.builder().label("storm.auditor").start_child(audit)?;
    Ok(())
}

/// Ends it. The last count is made a moment later.
pub(crate) fn end() {
    RAGES.store(false, Ordering::Relaxed);
}

fn write(writer: usize, run: u128) {
    let (Ok(list), Ok(date)) = (format!("storm {writer}").parse::<ListName>(), "2026-11-22".parse()) else {
        return;
    };
    for number in 1..=MOST {
        let Ok(title) = format!("entry {number} of writer {writer} in storm {run}").parse::<Title>() else {
            return;
        };
        if !RAGES.load(Ordering::Relaxed) {
            return;
        }
        if client::add(&list, date, &title).is_ok() {
            ACKNOWLEDGED.lock().push((list.clone(), title));
        }
    }
    end();
}

/// Ends the storm with the process that holds it, however that ends.
struct Rage;

impl Drop for Rage {
    fn drop(&mut self) {
        end();
    }
}

/// Kills whoever comes next in the tree, but for those whose end is the end of all.
fn kill() {
    let _rage = Rage;
    for round in 0.. {
        let members = tree::members();
        let victims: Vec<_> = members.iter().filter(|one| tree::is_fair_game(&one.name)).collect();
        if let Some(victim) = victims.get(round % victims.len().max(1)) {
            process::exit(victim.pid, ExitReason::Kill);
        }
        process::sleep(EVERY);
        if !RAGES.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// Counts, again and again, until there is nothing new to count.
fn audit() {
    loop {
        process::sleep(Duration::from_secs(1));
        let goes_on = RAGES.load(Ordering::Relaxed) || somebody_writes();
        let promised: Vec<_> = ACKNOWLEDGED.lock().clone();
        // A list that cannot be read just now is not a loss.
        let Ok(kept) = kept() else { continue };
        let found = promised.iter().filter(|entry| kept.get(entry) == Some(&1)).count();
        FOUND.store(found as u64, Ordering::Relaxed);
        LOST.store((promised.len() - found) as u64, Ordering::Relaxed);
        if !goes_on {
            return;
        }
    }
}

/// Whether a writer still waits for the answer to its last entry.
fn somebody_writes() -> bool {
    tree::members().iter().any(|member| member.name.starts_with("storm.writer."))
}

/// How often each entry is in the lists.
fn kept() -> Result<HashMap<(ListName, Title), u32>, TodoError> {
    let mut kept = HashMap::new();
    for list in (1..=WRITERS).filter_map(|writer| format!("storm {writer}").parse::<ListName>().ok()) {
        for entry in client::entries(&list, None)? {
            *kept.entry((list.clone(), entry.title)).or_default() += 1;
        }
    }
    Ok(kept)
}
