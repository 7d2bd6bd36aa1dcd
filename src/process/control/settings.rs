//! The limits of the runtime: how many processes, how long a death may take, how big a stack. Birth and
//! death ask here; programs set them once, at the start.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use once_cell::sync::Lazy;

use crate::process::park::backoff;
use crate::process::park::backoff::WaitStrategy;
use crate::process::park::thread_cache;
use crate::sync::RwLock;
use crate::unwind::catch_and_log;

/// The limits of the runtime, for the whole program.
///
/// ```
/// use std::time::Duration;
/// use rethread::process::{self, Settings};
///
/// let before = process::settings();
/// process::set_settings(Settings { exit_timeout: Duration::from_secs(2), ..before });
/// assert_eq!(process::settings().exit_timeout, Duration::from_secs(2));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How many processes may have a thread at once, zombies included; at the limit a spawn is refused
    /// with [`SpawnError::SystemLimit`](crate::process::SpawnError::SystemLimit).
    ///
    /// The default is half of what this machine can hold, because std aborts the whole program when a
    /// thread finds no memory map left for its signal stack. On Linux that is the least of
    /// `vm.max_map_count / 4` (each thread needs four maps), `kernel.pid_max` and `kernel.threads-max`;
    /// elsewhere 4,096.
    pub max_processes: usize,
    /// How many zombies (dead, but their thread goes on) there may be before supervisors stop replacing
    /// children that became one. Default 64.
    pub max_zombies: usize,
    /// How long a killed process has to unwind before it is declared dead. Default 100 ms.
    pub kill_grace: Duration,
    /// How long a process that ends for any other reason has to unwind. Default 5 s. `Duration::MAX`
    /// means for ever.
    ///
    /// It counts from the panic, for a panic that is caught by plain `catch_unwind` until the next runtime
    /// call: code that swallows panics and then computes for longer than this should use
    /// [`attempt`](crate::process::attempt) or call [`checkpoint`](crate::process::checkpoint).
    pub exit_timeout: Duration,
    /// The stack of a process in bytes, of which only what is touched costs memory. Default 2 MiB, as
    /// std's; the least is what the system asks for. A stack overflow cannot be contained: it ends the program.
    pub stack_size: usize,
    /// How many threads whose process ended normally are kept, for two seconds, for the next processes: those start in
    /// a microsecond or two instead of 30 to 50. Default 1,024: more than were busy at once there never are. With 0 each
    /// process gets a new thread.
    ///
    /// On a kept thread the thread-locals of foreign code have the values an earlier process left there, and their
    /// destructors run when the thread ends, not when the process does. A thread whose process panicked or was ended from
    /// outside is never kept. The environment variable `RETHREAD_MAX_IDLE_THREADS` sets another default.
    pub max_idle_threads: usize,
    /// How threads wait for messages and answers. The environment variable `RETHREAD_WAIT_STRATEGY` (`adaptive`, `park`,
    /// `linger`) sets another default.
    pub wait_strategy: WaitStrategy,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_processes: default_max_processes(),
            max_zombies: 64,
            kill_grace: Duration::from_millis(100),
            exit_timeout: Duration::from_secs(5),
            stack_size: 2 * 1024 * 1024,
            max_idle_threads: env_override(MAX_IDLE_THREADS_VAR, |text| text.parse().ok()).unwrap_or(1024),
            wait_strategy: env_override(WAIT_STRATEGY_VAR, WaitStrategy::from_name)
                .unwrap_or(WaitStrategy::Adaptive),
        }
    }
}

const MAX_IDLE_THREADS_VAR: &str = "RETHREAD_MAX_IDLE_THREADS";
const WAIT_STRATEGY_VAR: &str = "RETHREAD_WAIT_STRATEGY";

/// A value that is not understood counts as none.
fn env_override<T>(variable: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    parse(&std::env::var(variable).ok()?)
}

/// Tells the log, once, of variables that are not understood. Not while the settings are made: a log sink may ask for them.
fn warn_invalid_env() {
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.load(Ordering::Relaxed) || DONE.swap(true, Ordering::Relaxed) {
        return;
    }
    let checks = [
        (
            MAX_IDLE_THREADS_VAR,
            env_override(MAX_IDLE_THREADS_VAR, |text| text.parse::<usize>().ok()).is_some(),
        ),
        (WAIT_STRATEGY_VAR, env_override(WAIT_STRATEGY_VAR, WaitStrategy::from_name).is_some()),
    ];
    for (variable, is_valid) in checks {
        if let (Ok(text), false) = (std::env::var(variable), is_valid) {
            catch_and_log("the log", || {
                log::warn!("rethread: {variable}={text:?} is not understood and has no effect");
            });
        }
    }
}

static CURRENT: Lazy<RwLock<Settings>> = Lazy::new(|| {
    let settings = Settings::default();
    publish_to_caches(&settings);
    RwLock::new(settings)
});

/// Tells those that ask too often to read them here.
fn publish_to_caches(settings: &Settings) {
    backoff::set_wait_strategy(settings.wait_strategy);
    thread_cache::set_capacity(settings.max_idle_threads);
}

/// The limits in force.
pub fn settings() -> Settings {
    let settings = *CURRENT.read();
    warn_invalid_env();
    settings
}

/// Sets the limits. They hold for what begins afterwards: a process keeps the times and the stack it was
/// started with.
pub fn set_settings(settings: Settings) {
    let mut current = CURRENT.write();
    *current = settings;
    publish_to_caches(&settings);
    drop(current);
    warn_invalid_env();
}

fn default_max_processes() -> usize {
    let read_number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<usize>().ok();
    let kernel_limits = [
        read_number("/proc/sys/vm/max_map_count").map(|maps| maps / 4),
        read_number("/proc/sys/kernel/pid_max"),
        read_number("/proc/sys/kernel/threads-max"),
        read_number("/sys/fs/cgroup/pids.max"),
    ];
    kernel_limits.into_iter().flatten().min().map_or(4096, |limit| (limit / 2).max(16))
}

static PROCESS_COUNT: AtomicUsize = AtomicUsize::new(0);

/// The right to one thread, given back when the thread is gone.
#[derive(Debug)]
pub(crate) struct ProcessPermit(());

impl ProcessPermit {
    /// Takes one of so many seats, or says that there are no more.
    pub(crate) fn try_acquire(limit: usize) -> Result<Self, usize> {
        PROCESS_COUNT
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| (count < limit).then_some(count + 1))
            .map(|_| Self(()))
            .map_err(|_| limit)
    }
}

impl Drop for ProcessPermit {
    fn drop(&mut self) {
        PROCESS_COUNT.fetch_sub(1, Ordering::AcqRel);
    }
}
