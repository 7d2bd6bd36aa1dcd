//! The settings of the runtime, and the count of processes that the limit applies to. Programs usually change
//! settings once, at the start.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use once_cell::sync::Lazy;

use crate::process::park::backoff;
use crate::process::park::backoff::WaitStrategy;
use crate::process::park::thread_cache;
use crate::sync::RwLock;
use crate::unwind::catch_and_log;

/// The settings of the runtime: limits, timeouts and defaults for the whole program.
///
/// ```
/// use std::time::Duration;
/// use rethread::process;
///
/// process::configure(|settings| settings.exit_timeout = Duration::from_secs(2));
/// assert_eq!(process::settings().exit_timeout, Duration::from_secs(2));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Maximum number of processes that have a thread at the same time, zombies included. At the limit a
    /// spawn fails with [`SpawnError::SystemLimit`](crate::process::SpawnError::SystemLimit).
    ///
    /// The default is half of what this machine can hold, because std aborts the whole program when a thread
    /// finds no memory map left for its signal stack. On Linux the machine can hold the minimum of
    /// `vm.max_map_count / 4` (each thread needs four maps), `kernel.pid_max`, `kernel.threads-max` and the
    /// `pids.max` of the control group; elsewhere the default is 4,096.
    pub max_processes: usize,
    /// Maximum number of zombies (processes that missed their exit deadline: they have exited, but their
    /// thread is still running) before supervisors stop replacing children that became one. Default 64.
    pub max_zombies: usize,
    /// Time a killed process has to unwind before it becomes a zombie. Default 100 ms.
    pub kill_grace: Duration,
    /// Time a process that exits for any other reason has to unwind before it becomes a zombie. Default 5 s.
    /// `Duration::MAX` means without limit.
    ///
    /// It starts with the panic. For a panic that is caught by plain `catch_unwind` it ends only with the
    /// next runtime call: code that catches panics and then computes for longer than this should use
    /// [`attempt`](crate::process::attempt) or call [`checkpoint`](crate::process::checkpoint).
    pub exit_timeout: Duration,
    /// Stack size of a process in bytes. Only the part that is used costs memory. Default 2 MiB, as in std;
    /// the minimum is that of the operating system. A stack overflow cannot be contained: it aborts the
    /// program.
    pub stack_size: usize,
    /// Maximum number of idle threads. A thread whose process exited normally is kept for two seconds for the
    /// next process, which then starts in 1 to 2 µs instead of 30 to 50. There are never more idle threads
    /// than processes were running at the same time. Default 1,024. With 0 each process gets a new thread.
    ///
    /// On a reused thread the thread-locals of foreign code have the values an earlier process left there,
    /// and their destructors run when the thread exits, not when the process does. A thread whose process
    /// panicked or was ended by an exit signal is never reused. The environment variable
    /// `RETHREAD_MAX_IDLE_THREADS` sets another default.
    pub max_idle_threads: usize,
    /// How threads wait for messages and replies. The environment variable `RETHREAD_WAIT_STRATEGY`
    /// (`adaptive`, `park` or `spin`) sets another default.
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
            // The environment overrides the defaults, not what the program sets.
            max_idle_threads: env_override(MAX_IDLE_THREADS_VAR, |text| text.parse().ok()).unwrap_or(1024),
            wait_strategy: env_override(WAIT_STRATEGY_VAR, WaitStrategy::from_name).unwrap_or_default(),
        }
    }
}

const MAX_IDLE_THREADS_VAR: &str = "RETHREAD_MAX_IDLE_THREADS";
const WAIT_STRATEGY_VAR: &str = "RETHREAD_WAIT_STRATEGY";

/// Returns the parsed value of an environment variable; `None` if it is not set or not valid.
fn env_override<T>(variable: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    parse(&std::env::var(variable).ok()?)
}

/// Logs a warning for each environment variable with an invalid value, once per program. Must not be called
/// while `SETTINGS` is being initialized or locked: a log sink may call [`settings`].
fn warn_invalid_env() {
    // The load keeps the cache line shared after the first call.
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.load(Ordering::Relaxed) || DONE.swap(true, Ordering::Relaxed) {
        return;
    }
    // Parse once more: `Default` ignores invalid values silently.
    let checks = [
        (
            MAX_IDLE_THREADS_VAR,
            env_override(MAX_IDLE_THREADS_VAR, |text| text.parse::<usize>().ok()).is_some(),
        ),
        (WAIT_STRATEGY_VAR, env_override(WAIT_STRATEGY_VAR, WaitStrategy::from_name).is_some()),
    ];
    for (variable, is_valid) in checks {
        if let (Ok(text), false) = (std::env::var(variable), is_valid) {
            catch_and_log("the logger", || {
                log::warn!("rethread: {variable}={text:?} is not understood and has no effect");
            });
        }
    }
}

static SETTINGS: Lazy<RwLock<Settings>> = Lazy::new(|| {
    let settings = Settings::default();
    publish_to_caches(&settings);
    RwLock::new(settings)
});

/// Copies settings to the modules that read them too often to take the lock.
fn publish_to_caches(settings: &Settings) {
    backoff::set_wait_strategy(settings.wait_strategy);
    thread_cache::set_capacity(settings.max_idle_threads);
}

/// Returns the current settings.
pub fn settings() -> Settings {
    // The lock is released before the log sink runs.
    let settings = *SETTINGS.read();
    warn_invalid_env();
    settings
}

/// Changes the settings. They apply to processes started afterwards: a running process keeps the timeouts and
/// the stack it was started with. The wait strategy applies to all threads at once.
///
/// `change` gets the current settings. Of these, only the ones it changes are stored, so concurrent calls that
/// change different settings do not undo each other. If `change` panics, the settings stay as they are.
///
/// ```
/// use std::time::Duration;
/// use rethread::process;
///
/// process::configure(|settings| {
///     settings.kill_grace = Duration::from_millis(200);
///     settings.max_idle_threads = 16;
/// });
/// assert_eq!(process::settings().max_idle_threads, 16);
/// ```
pub fn configure(change: impl FnOnce(&mut Settings)) {
    // On a copy, because `change` is user code and must not run under the lock: it may call `settings`.
    let before = settings();
    let mut after = before;
    change(&mut after);
    // The copies are written under the lock, so that of two concurrent calls the same one wins everywhere.
    let mut current = SETTINGS.write();
    current.apply_changes(&before, after);
    publish_to_caches(&current);
}

impl Settings {
    /// Replaces the settings that differ between `before` and `after` by those of `after`.
    fn apply_changes(&mut self, before: &Self, after: Self) {
        fn replace_if_changed<T: PartialEq>(current: &mut T, before: &T, after: T) {
            if after != *before {
                *current = after;
            }
        }
        // Without `..`, so that a new setting is not forgotten here.
        let Self {
            max_processes,
            max_zombies,
            kill_grace,
            exit_timeout,
            stack_size,
            max_idle_threads,
            wait_strategy,
        } = after;
        replace_if_changed(&mut self.max_processes, &before.max_processes, max_processes);
        replace_if_changed(&mut self.max_zombies, &before.max_zombies, max_zombies);
        replace_if_changed(&mut self.kill_grace, &before.kill_grace, kill_grace);
        replace_if_changed(&mut self.exit_timeout, &before.exit_timeout, exit_timeout);
        replace_if_changed(&mut self.stack_size, &before.stack_size, stack_size);
        replace_if_changed(&mut self.max_idle_threads, &before.max_idle_threads, max_idle_threads);
        replace_if_changed(&mut self.wait_strategy, &before.wait_strategy, wait_strategy);
    }
}

/// Returns half the number of threads the operating system allows, at least 16; 4,096 if it cannot be read.
fn default_max_processes() -> usize {
    let read_number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<usize>().ok();
    // On other systems none of these files exists.
    let kernel_limits = [
        read_number("/proc/sys/vm/max_map_count").map(|maps| maps / 4),
        read_number("/proc/sys/kernel/pid_max"),
        read_number("/proc/sys/kernel/threads-max"),
        read_number("/sys/fs/cgroup/pids.max"),
    ];
    kernel_limits.into_iter().flatten().min().map_or(4096, |limit| (limit / 2).max(16))
}

/// Number of permits that are held.
static PROCESS_COUNT: AtomicUsize = AtomicUsize::new(0);

/// Permits one process to have a thread, and counts towards `max_processes`. Released on drop.
#[derive(Debug)]
pub(crate) struct ProcessPermit(());

impl ProcessPermit {
    /// Acquires a permit; returns the limit as an error if it is reached.
    pub(crate) fn try_acquire(limit: usize) -> Result<Self, usize> {
        PROCESS_COUNT
            // An update that checks the limit, not an increment: a refused spawn must not be counted even
            // briefly.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concurrent_changes_of_different_settings_are_all_stored() {
        let before = Settings::default();
        let mut current = before;
        // Two calls of `configure` that read the settings at the same time.
        let mine = Settings { max_processes: before.max_processes + 1, stack_size: 1, ..before };
        let other =
            Settings { kill_grace: before.kill_grace * 2, wait_strategy: WaitStrategy::Spin, ..before };
        current.apply_changes(&before, mine);
        current.apply_changes(&before, other);
        let both = Settings { kill_grace: other.kill_grace, wait_strategy: WaitStrategy::Spin, ..mine };
        assert_eq!(current, both);
    }

    #[test]
    fn apply_changes_copies_each_setting() {
        let before = Settings::default();
        let after = Settings {
            max_processes: before.max_processes + 1,
            max_zombies: before.max_zombies + 1,
            kill_grace: before.kill_grace * 2,
            exit_timeout: before.exit_timeout * 2,
            stack_size: before.stack_size * 2,
            max_idle_threads: before.max_idle_threads + 1,
            wait_strategy: WaitStrategy::Spin,
        };
        let mut current = before;
        current.apply_changes(&before, after);
        assert_eq!(current, after);
    }

    #[test]
    fn configure_may_call_settings_and_configure_and_may_panic() {
        configure(|settings| {
            assert_eq!(*settings, super::settings());
            configure(|_| ());
        });
        let before = settings();
        let panicked = crate::unwind::catch(|| {
            configure(|settings| {
                settings.max_zombies += 1;
                panic!("boom in a change of the settings");
            });
        });
        assert!(panicked.is_err());
        assert_eq!(settings(), before);
    }
}
