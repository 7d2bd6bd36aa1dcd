//! Zombies: processes that have exited for all others while their thread is still running. They are listed and
//! counted, and reaped when the thread ends.
//!
//! How long a process may take to exit is set in `control/settings.rs` (`kill_grace`, `exit_timeout`) and enforced in
//! `signals/deliver.rs`; what a supervisor does when there are too many zombies is in `supervisor/child/mod.rs`.

use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use once_cell::sync::Lazy;

use crate::pid::Pid;
use crate::process::control::activity::Activity;
use crate::process::control::block::ExitListener;
use crate::process::control::block::ProcessBlock;
use crate::process::control::block::display_name;
use crate::process::observe::events;
use crate::process::observe::events::ProcessEventKind;
use crate::process::observe::os_thread;
use crate::reason::ExitReason;
use crate::sync::{self, Mutex};
use crate::unwind::catch_and_log;

/// A process that did not exit in time, and whose thread is still running.
///
/// For all others it has exited: its name is free, its links and monitors have been notified, and its runtime
/// calls have no effect. But plain Rust code continues: what it holds (a lock, a file, a socket) it may hold
/// as long as the program runs.
///
/// ```
/// use std::sync::mpsc;
/// use std::time::Duration;
/// use rethread::ExitReason;
/// use rethread::process;
///
/// let (started, is_started) = mpsc::channel();
/// let (unblock, blocked) = mpsc::channel::<()>();
/// let stuck = process::Builder::new().kill_grace(Duration::from_millis(1)).spawn(move || {
///     started.send(()).expect("the receiver exists");
///     blocked.recv().ok(); // not a runtime call: an exit signal does not interrupt it
/// })?;
/// is_started.recv()?;
/// let watch = process::watch(stuck);
/// process::exit(stuck, ExitReason::Kill);
/// assert_eq!(watch.wait(), ExitReason::Killed); // for all others it has exited
///
/// let zombies = process::zombies();
/// let zombie = zombies.iter().find(|zombie| zombie.pid == stuck).expect("its thread is still running");
/// println!("{zombie}");
/// unblock.send(())?; // now the thread can end
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Zombie {
    /// The pid of the process.
    pub pid: Pid,
    /// The name it had.
    pub name: Option<Arc<str>>,
    /// The label it had.
    pub label: Option<Arc<str>>,
    /// The place in the source that spawned it.
    pub spawned_at: &'static Location<'static>,
    /// The exit reason that its links and monitors got.
    pub reason: ExitReason,
    /// When it became a zombie.
    pub since: Instant,
    /// The process that started it: for a supervised child its supervisor.
    pub parent: Option<Pid>,
    /// What its thread was doing, as far as the runtime knows.
    pub activity: Activity,
    /// The function of the kernel in which its thread was blocked, such as `inet_csk_accept` or `pipe_read`. `None` if
    /// it was not blocked, where the system does not say it (it does on Linux), or if several threads have the name of
    /// this one.
    pub blocked_in: Option<Box<str>>,
}

impl Zombie {
    /// Returns for how long it has been a zombie.
    pub fn age(&self) -> Duration {
        sync::now().saturating_duration_since(self.since)
    }
}

impl fmt::Display for Zombie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "zombie {}", self.pid)?;
        if let Some(name) = display_name(&self.name, &self.label) {
            write!(f, " ({name})")?;
        }
        write!(f, " since {:.1?}, {}, spawned at {}", self.age(), self.reason, self.spawned_at)?;
        write!(f, ", {}", self.activity)?;
        self.blocked_in.as_ref().map_or(Ok(()), |function| write!(f, ", blocked in {function}"))
    }
}

struct ZombieEntry {
    zombie: Zombie,
    block: Arc<ProcessBlock>,
    reap_listeners: Vec<Arc<dyn ExitListener>>,
}

static ZOMBIES: Lazy<Mutex<HashMap<Pid, ZombieEntry>>> = Lazy::new(|| Mutex::new(HashMap::new()));
static TOTAL: AtomicU64 = AtomicU64::new(0);

/// Returns all zombies, oldest first. [`Zombie`] has an example of how a process becomes one.
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

/// Returns how many zombies there have been since the program started, including those that were reaped.
///
/// ```
/// assert!(rethread::process::zombies_total() >= rethread::process::zombies().len() as u64);
/// ```
pub fn zombies_total() -> u64 {
    TOTAL.load(Ordering::Relaxed)
}

/// Adds a process to the list of zombies. Does nothing, and returns `None`, if its thread has ended meanwhile.
pub(crate) fn add(block: &Arc<ProcessBlock>, reason: &ExitReason) -> Option<Zombie> {
    // Collect everything first: the lock of the process and that of the list are never held together.
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
        activity: block.activity.get(),
        blocked_in: None, // `log_zombie` looks for it, when the exit is complete
        parent: block.spawn_info.ancestors.first().copied(),
    };
    let entry = ZombieEntry { zombie: zombie.clone(), block: Arc::clone(block), reap_listeners: Vec::new() };
    let mut zombies = ZOMBIES.lock();
    // `reap` sets the flag under the same lock. The thread may have run `reap` just before this; then no later call
    // would remove the entry.
    if block.is_thread_done() {
        return None;
    }
    zombies.insert(block.pid, entry);
    drop(zombies);
    TOTAL.fetch_add(1, Ordering::Relaxed);
    events::emit(block, || ProcessEventKind::BecameZombie);
    Some(zombie)
}

/// Logs that a process became a zombie, and where its thread is blocked. Call it after the cleanup: the search takes
/// time in a program with many threads, the log sink is user code, and so is the text of the reason.
pub(crate) fn log_zombie(zombie: &Zombie) {
    let mut zombie = zombie.clone();
    if let Some(block) = get(zombie.pid) {
        let thread_name = os_thread::name(&block, &zombie.label, &zombie.name);
        zombie.blocked_in = thread_name.and_then(|name| os_thread::blocked_in(&name));
    }
    if let Some(entry) = ZOMBIES.lock().get_mut(&zombie.pid) {
        entry.zombie.blocked_in.clone_from(&zombie.blocked_in);
    }
    let name = display_name(&zombie.name, &zombie.label).map(|name| &**name);
    catch_and_log("the logger", || {
        log::error!(
            pid:% = zombie.pid,
            name,
            reason:% = zombie.reason,
            spawned_at:% = zombie.spawned_at,
            activity:% = zombie.activity,
            blocked_in = zombie.blocked_in.as_deref();
            "process {} did not exit in time and is now a zombie: {zombie}. Its thread made no runtime call since the exit \
             signal; process::on_exit_request can wake a blocking call, and process::checkpoint ends a long computation",
            zombie.pid
        );
    });
}

/// Removes a process from the list of zombies, because its thread is ending, and notifies the reap listeners.
pub(crate) fn reap(block: &ProcessBlock) {
    // The flag under the lock of the list: an `add` that comes later sees it and adds nothing.
    let mut zombies = ZOMBIES.lock();
    block.mark_thread_done();
    let entry = zombies.remove(&block.pid);
    drop(zombies);
    // All of this without the lock: log sinks, event subscribers and destructors are user code.
    if let Some(entry) = entry {
        catch_and_log("the logger", || log::warn!("reaped {}", entry.zombie));
        if events::has_subscribers() {
            let Zombie { name, label, .. } = &entry.zombie;
            events::publish(block.pid, display_name(name, label).cloned(), ProcessEventKind::Reaped);
        }
        for listener in &entry.reap_listeners {
            listener.record_exit(&entry.zombie.reason);
            listener.wake();
        }
    }
}

/// Adds a listener that is notified when the thread of a zombie ends. Returns `false` if the process is no zombie.
pub(crate) fn add_reap_listener(pid: Pid, listener: Arc<dyn ExitListener>) -> bool {
    match ZOMBIES.lock().get_mut(&pid) {
        Some(entry) => {
            entry.reap_listeners.push(listener);
            true
        }
        None => false,
    }
}

/// Returns the zombies that belonged to the application of this master.
pub(crate) fn of_application(master: Pid) -> Vec<Zombie> {
    let zombies = ZOMBIES.lock();
    let matching = zombies.values().filter(|entry| entry.block.spawn_info.application == Some(master));
    matching.map(|entry| entry.zombie.clone()).collect()
}

/// Returns the block of a zombie.
pub(crate) fn get(pid: Pid) -> Option<Arc<ProcessBlock>> {
    ZOMBIES.lock().get(&pid).map(|entry| Arc::clone(&entry.block))
}
