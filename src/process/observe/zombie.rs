//! Processes that are dead for everybody else while their thread goes on: listed, counted, and struck off
//! when the thread ends after all. `exit` makes them; supervisors ask how many there are.

use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use once_cell::sync::Lazy;

use crate::pid::Pid;
use crate::process::control::block::ExitListener;
use crate::process::control::block::ProcessBlock;
use crate::process::observe::events;
use crate::process::observe::events::ProcessEventKind;
use crate::reason::ExitReason;
use crate::sync::{self, Mutex};
use crate::unwind::catch_and_log;

/// A process that was declared dead because it did not end in time, and whose thread still runs.
///
/// Its name is free, its links and monitors have been told, and whatever it asks of the runtime has no
/// effect. But plain Rust goes on: what it holds (a lock, a file, a socket) it may hold for ever.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Zombie {
    /// Who it was.
    pub pid: Pid,
    /// The name it had.
    pub name: Option<Arc<str>>,
    /// The label it had.
    pub label: Option<Arc<str>>,
    /// Where in the source it was spawned.
    pub spawned_at: &'static Location<'static>,
    /// The reason it was declared dead with.
    pub reason: ExitReason,
    /// When that was.
    pub since: Instant,
    /// The process that started it: for a supervised child its supervisor.
    pub parent: Option<Pid>,
}

impl Zombie {
    /// For how long it has been a zombie.
    pub fn age(&self) -> Duration {
        sync::now().saturating_duration_since(self.since)
    }
}

impl fmt::Display for Zombie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "zombie {}", self.pid)?;
        if let Some(name) = self.name.as_ref().or(self.label.as_ref()) {
            write!(f, " ({name})")?;
        }
        write!(f, " since {:.1?}, {}, spawned at {}", self.age(), self.reason, self.spawned_at)
    }
}

struct ZombieEntry {
    zombie: Zombie,
    block: Arc<ProcessBlock>,
    reap_listeners: Vec<Arc<dyn ExitListener>>,
}

static ZOMBIES: Lazy<Mutex<HashMap<Pid, ZombieEntry>>> = Lazy::new(|| Mutex::new(HashMap::new()));
static TOTAL: AtomicU64 = AtomicU64::new(0);

/// All zombies there are, oldest first.
///
/// ```
/// for zombie in rethread::process::zombies() {
///     println!("{zombie}");
/// }
/// ```
pub fn zombies() -> Vec<Zombie> {
    let mut all: Vec<Zombie> = ZOMBIES.lock().values().map(|entry| entry.zombie.clone()).collect();
    all.sort_by_key(|zombie| zombie.since);
    all
}

/// How many zombies there have been since the program began, reaped ones included.
///
/// ```
/// assert!(rethread::process::zombies_total() >= rethread::process::zombies().len() as u64);
/// ```
pub fn zombies_total() -> u64 {
    TOTAL.load(Ordering::Relaxed)
}

/// Lists a process that is about to be buried although its thread goes on. Nothing is listed if the thread
/// has ended meanwhile: nobody would strike it off.
pub(crate) fn add(block: &Arc<ProcessBlock>, reason: &ExitReason) -> Option<Zombie> {
    let (name, label) = {
        let state = block.lock();
        (state.name.clone(), state.label.clone())
    };
    let zombie = Zombie {
        pid: block.pid,
        name,
        label,
        spawned_at: block.spawn_info.spawned_at,
        reason: reason.clone(),
        since: sync::now(),
        parent: block.spawn_info.ancestors.first().copied(),
    };
    let entry = ZombieEntry { zombie: zombie.clone(), block: Arc::clone(block), reap_listeners: Vec::new() };
    let mut zombies = ZOMBIES.lock();
    if block.is_thread_done() {
        return None; // it made it in the end
    }
    zombies.insert(block.pid, entry);
    drop(zombies);
    TOTAL.fetch_add(1, Ordering::Relaxed);
    events::emit(block, || ProcessEventKind::BecameZombie);
    Some(zombie)
}

/// Tells the log of it. When it is buried: the sink of the log is user code, and so is to print the reason.
pub(crate) fn log_zombie(zombie: &Zombie) {
    catch_and_log("the log", || log::error!("did not end in time: {zombie}"));
}

/// Strikes off a process that was given up, since its thread is ending after all.
pub(crate) fn reap(block: &ProcessBlock) {
    let mut zombies = ZOMBIES.lock();
    block.mark_thread_done();
    let entry = zombies.remove(&block.pid);
    drop(zombies);
    if let Some(entry) = entry {
        catch_and_log("the log", || log::warn!("ended after all: {}", entry.zombie));
        if events::has_subscribers() {
            let Zombie { name, label, .. } = &entry.zombie;
            events::publish(block.pid, name.clone().or_else(|| label.clone()), ProcessEventKind::Reaped);
        }
        for listener in &entry.reap_listeners {
            listener.on_exit(&entry.zombie.reason);
        }
    }
}

/// Whether a process is a zombie; if so `watch` is told when its thread ends.
pub(crate) fn add_reap_listener(pid: Pid, listener: Arc<dyn ExitListener>) -> bool {
    match ZOMBIES.lock().get_mut(&pid) {
        Some(entry) => {
            entry.reap_listeners.push(listener);
            true
        }
        None => false,
    }
}

/// Those that belonged to the application of this master.
pub(crate) fn of_application(master: Pid) -> Vec<Zombie> {
    let zombies = ZOMBIES.lock();
    let matching = zombies.values().filter(|entry| entry.block.spawn_info.application == Some(master));
    matching.map(|entry| entry.zombie.clone()).collect()
}

/// The block of a zombie.
pub(crate) fn get(pid: Pid) -> Option<Arc<ProcessBlock>> {
    ZOMBIES.lock().get(&pid).map(|entry| Arc::clone(&entry.block))
}
