//! Adaptive spinning: before a thread parks, it spins (or yields, if there are more runnable threads than
//! cores) for up to 50 µs. A parked thread costs its waker a system call and resumes 4 to 30 µs later; the
//! reply of a server on another core often arrives within half a microsecond.
//!
//! While the number of active runtime threads does not exceed the number of cores, a waiting thread spins.
//! While it does, a spinning thread could occupy the core that the awaited sender needs, so the waiting
//! thread yields instead: among many threads that wait for each other this avoids most of the parking.
//!
//! Both are wrong while another program, or a CPU-bound thread, uses the cores: a yield then lasts a whole time
//! slice, and a thread that spins uses up its share of CPU time and wakes up later the next time. A thread that
//! loses its core while it spins or yields, with no profit for other runtime threads, suspends spinning and
//! yielding of all threads for a while: they park at once, as with [`WaitStrategy::Park`].
//!
//! Nothing here affects correctness. Every counter in this file is a heuristic: a stale or lost update costs
//! some microseconds, never a wake-up. `README.md` lists all counters and constants.

use std::hint;
use std::sync::atomic::{AtomicIsize, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::utils::CachePadded;
use once_cell::sync::Lazy;

use crate::sync::{nanos, nanos_since_epoch};

/// Longest time one wait spins or yields. It is longer than a parked server takes to wake up and reply, so
/// that two threads that exchange messages stop parking each other.
const MAX_SPIN: Duration = Duration::from_micros(50);

/// Number of polls between two reads of the clock while spinning.
const POLLS_PER_CLOCK_READ: u32 = 16;

/// Maximum number of yields in one wait.
const MAX_YIELDS: u32 = 8;

/// Maximum number of yields in a wait that skips its spin. They keep the core from entering a sleep state
/// when the next runtime thread is about to be woken on it.
const YIELDS_BEFORE_PARK: u32 = 4;

/// Number of waits that skip the spin after the first miss (a spin that found nothing). Each further miss
/// quadruples it, up to `MAX_SKIP`.
const MIN_SKIP: u32 = 2;
/// Upper bound of the number of skipped spins.
const MAX_SKIP: u32 = 256;

/// A yield, or some polls of a spin, that take longer than this gave the core to another thread for a whole time
/// slice. Then it is checked whether runtime threads profited from it.
const LOST_CORE: Duration = Duration::from_millis(1);

/// The loss of a core is acceptable if, while it lasted, runtime threads had a useful yield at least this often.
const USEFUL_YIELD_INTERVAL: Duration = Duration::from_micros(3);

/// Number of useful yields a thread counts locally before it adds them to the global counter.
const COUNTER_BATCH: u32 = 8;

/// Length of the first suspension of spinning and yielding. Each further one is four times as long, up to
/// `MAX_SUSPENSION`.
const MIN_SUSPENSION: Duration = Duration::from_millis(10);
/// Upper bound of the length of a suspension; also the time without suspension after which it starts small
/// again.
const MAX_SUSPENSION: Duration = Duration::from_secs(1);

/// How threads wait for messages and replies:
/// [`Settings::wait_strategy`](crate::process::Settings::wait_strategy).
///
/// ```
/// use rethread::process::{self, WaitStrategy};
///
/// // A program that mostly waits, on a machine that others share: park at once.
/// process::configure(|settings| settings.wait_strategy = WaitStrategy::Park);
/// assert_eq!(process::settings().wait_strategy, WaitStrategy::Park);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum WaitStrategy {
    /// Threads spin or yield for up to 50 µs while that is likely to pay, then park. A thread that waits for
    /// long uses no CPU.
    #[default]
    Adaptive,
    /// Threads park at once: the least CPU time, and the highest latency, 4 to 30 µs for each message to a
    /// waiting thread.
    Park,
    /// Threads spin and yield at each wait, whether it pays or not. For tests of the runtime.
    Spin,
}

impl WaitStrategy {
    /// Parses the value of the environment variable `RETHREAD_WAIT_STRATEGY`.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "adaptive" => Some(Self::Adaptive),
            "park" => Some(Self::Park),
            "spin" => Some(Self::Spin),
            _ => None,
        }
    }
}

/// Number of active threads: runtime threads that are not parked, and foreign threads inside a wait.
/// Padded, because every thread that parks or is woken writes it.
static ACTIVE_THREADS: CachePadded<AtomicIsize> = CachePadded::new(AtomicIsize::new(0));
/// Number of useful yields of all threads: after the yield the poll found a value. Wraps around.
static USEFUL_YIELDS: CachePadded<AtomicU64> = CachePadded::new(AtomicU64::new(0));
/// No thread spins or yields before this time, in nanoseconds since the epoch of `crate::sync`.
static SUSPENDED_UNTIL: AtomicU64 = AtomicU64::new(0);
/// Length of the next suspension in nanoseconds, not yet clamped.
static NEXT_SUSPENSION: AtomicU64 = AtomicU64::new(0);
/// The current [`WaitStrategy`], copied from the settings because each wait reads it.
static WAIT_STRATEGY: AtomicU8 = AtomicU8::new(WaitStrategy::Adaptive as u8);

/// Number of cores this program may use.
static CORES: Lazy<isize> = Lazy::new(|| {
    thread::available_parallelism().map_or(1, |cores| isize::try_from(cores.get()).unwrap_or(1))
});

/// Increments the number of active threads.
#[inline]
pub(crate) fn inc_active() {
    ACTIVE_THREADS.fetch_add(1, Ordering::Relaxed);
}

/// Decrements the number of active threads: the calling thread is about to park, or exits.
#[inline]
pub(crate) fn dec_active() {
    ACTIVE_THREADS.fetch_sub(1, Ordering::Relaxed);
}

/// Counts the calling thread as active until the guard is dropped.
#[derive(Debug)]
pub(crate) struct ActiveThreadGuard(());

impl ActiveThreadGuard {
    pub(crate) fn new() -> Self {
        inc_active();
        Self(())
    }
}

impl Drop for ActiveThreadGuard {
    fn drop(&mut self) {
        dec_active();
    }
}

/// Sets the wait strategy of all threads, from their next wait on.
pub(crate) fn set_wait_strategy(strategy: WaitStrategy) {
    WAIT_STRATEGY.store(strategy as u8, Ordering::Relaxed);
}

/// Records whether spinning paid off recently and skips spins that are unlikely to. Each parker has its own;
/// idle threads share one, because most of them serve one job only and would learn nothing.
///
/// Only the waiting thread writes the fields. Idle threads write the shared one without synchronization: a
/// lost update changes how often they spin, nothing else.
#[derive(Debug, Default)]
pub(crate) struct AdaptiveSpin {
    /// Number of following waits that skip the spin.
    remaining_skips: AtomicU32,
    /// Number of skips the last miss caused; 0 after a hit.
    last_skips: AtomicU32,
    /// Number of useful yields not yet added to `USEFUL_YIELDS`.
    unflushed_yields: AtomicU32,
}

impl AdaptiveSpin {
    pub(crate) const fn new() -> Self {
        Self {
            remaining_skips: AtomicU32::new(0),
            last_skips: AtomicU32::new(0),
            unflushed_yields: AtomicU32::new(0),
        }
    }

    /// Polls repeatedly for as long as that is likely to pay, then returns `None`: the caller parks. If it is
    /// not likely to pay at all, `poll` is not called.
    pub(crate) fn spin<T>(
        &self,
        deadline: Option<Instant>,
        mut poll: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let strategy = WAIT_STRATEGY.load(Ordering::Relaxed);
        let forced = strategy == WaitStrategy::Spin as u8;
        // On a single core a spin only delays the sender. A yield helps only if another runtime thread is
        // runnable.
        if strategy == WaitStrategy::Park as u8 || !forced && *CORES == 1 && !is_oversubscribed() {
            return None;
        }
        let mut now = Instant::now();
        if deadline.is_some_and(|at| at <= now) || !forced && is_suspended(now) {
            return None;
        }
        // Recent spins found nothing: do not burn 50 µs again.
        if !forced && !is_oversubscribed() && self.skips_spin() {
            return self.yield_briefly(now, poll);
        }
        let spin_limit = now + MAX_SPIN;
        let end = deadline.map_or(spin_limit, |at| at.min(spin_limit));
        let mut yields = 0;
        let mut pauses = 1;
        while now < end {
            // Other threads park and wake up meanwhile, so each round decides anew between spinning and
            // yielding.
            let found = if !is_oversubscribed() {
                // Poll less often with time: each poll takes the cache line that the sender writes.
                pauses = (pauses + 1).min(4);
                let found = spin_and_poll(pauses, &mut poll);
                let spin_start = std::mem::replace(&mut now, Instant::now());
                if now.saturating_duration_since(spin_start) > LOST_CORE && !forced {
                    // The polls take about a microsecond: another thread had the core.
                    suspend(spin_start, now);
                    return found;
                }
                found
            } else if forced || yields < MAX_YIELDS && !is_suspended(now) {
                yields += 1;
                self.yield_and_poll(&mut now, &mut poll)
            } else {
                // Not a miss: the wait was cut short, so it says nothing about whether a spin would have paid
                // off.
                return None;
            };
            if found.is_some() {
                self.on_hit();
                return found;
            }
        }
        self.on_miss();
        None
    }

    /// Yields up to [`YIELDS_BEFORE_PARK`] times, polling after each yield.
    fn yield_briefly<T>(&self, mut now: Instant, mut poll: impl FnMut() -> Option<T>) -> Option<T> {
        (0..YIELDS_BEFORE_PARK)
            .find_map(|_| if is_suspended(now) { None } else { self.yield_and_poll(&mut now, &mut poll) })
    }

    /// Yields, then polls once. `now` must be the current time, and is updated.
    fn yield_and_poll<T>(&self, now: &mut Instant, poll: &mut impl FnMut() -> Option<T>) -> Option<T> {
        yield_core(now, || {
            let found = poll();
            if found.is_some() {
                self.record_useful_yield();
            }
            found
        })
    }

    /// Records that a yield was useful. The global counter is updated in batches of [`COUNTER_BATCH`] to
    /// avoid contention.
    fn record_useful_yield(&self) {
        let unflushed = self.unflushed_yields.load(Ordering::Relaxed) + 1;
        if unflushed < COUNTER_BATCH {
            self.unflushed_yields.store(unflushed, Ordering::Relaxed);
        } else {
            self.unflushed_yields.store(0, Ordering::Relaxed);
            USEFUL_YIELDS.fetch_add(u64::from(unflushed), Ordering::Relaxed);
        }
    }

    /// Returns `true` if this wait should skip its spin, and counts the skip.
    fn skips_spin(&self) -> bool {
        let remaining = self.remaining_skips.load(Ordering::Relaxed);
        if remaining > 0 {
            self.remaining_skips.store(remaining - 1, Ordering::Relaxed);
        }
        remaining > 0
    }

    /// Resets the backoff after a spin that found a value.
    fn on_hit(&self) {
        // Mostly 0 already: a load keeps the cache line shared where a store would not.
        if self.last_skips.load(Ordering::Relaxed) > 0 {
            self.last_skips.store(0, Ordering::Relaxed);
        }
    }

    /// Skips the next spins after one that found nothing: 2, 8, 32, 128, then 256 of them.
    fn on_miss(&self) {
        let next = (self.last_skips.load(Ordering::Relaxed) * 4).clamp(MIN_SKIP, MAX_SKIP);
        self.last_skips.store(next, Ordering::Relaxed);
        self.remaining_skips.store(next, Ordering::Relaxed);
    }
}

/// Polls [`POLLS_PER_CLOCK_READ`] times, with `pauses` spin-loop hints before each poll.
fn spin_and_poll<T>(pauses: u32, poll: &mut impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..POLLS_PER_CLOCK_READ {
        for _ in 0..pauses {
            hint::spin_loop();
        }
        let found = poll();
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Yields, calls `then`, and suspends yielding if the core was away for long. `now` must be the current time, and is
/// updated.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that yields, and it checks whether the yield was useful"
)]
fn yield_core<T>(now: &mut Instant, then: impl FnOnce() -> T) -> T {
    let useful_before = USEFUL_YIELDS.load(Ordering::Relaxed);
    thread::yield_now();
    let result = then();
    let yield_start = std::mem::replace(now, Instant::now());
    let elapsed = now.saturating_duration_since(yield_start);
    if elapsed > LOST_CORE {
        // The core was away for a time slice. If runtime threads used it, their useful yields show in the counter; if
        // not, another program or a CPU-bound thread did.
        let useful = USEFUL_YIELDS.load(Ordering::Relaxed).wrapping_sub(useful_before);
        if u128::from(useful) * USEFUL_YIELD_INTERVAL.as_nanos() < elapsed.as_nanos() {
            suspend(yield_start, *now);
        }
    }
    result
}

/// Delays the calling thread for a moment, so that another runtime thread can catch up with it: spins for `spins`
/// spin-loop hints if that thread can run on another core, otherwise yields. Does nothing while spinning and yielding
/// are suspended.
pub(crate) fn delay(spins: u32) {
    let mut now = Instant::now();
    if WAIT_STRATEGY.load(Ordering::Relaxed) == WaitStrategy::Park as u8 || is_suspended(now) {
        return;
    }
    if is_oversubscribed() || *CORES == 1 {
        yield_core(&mut now, || ());
    } else {
        (0..spins).for_each(|_| hint::spin_loop());
    }
}

/// Returns `true` if the machine has more than one core.
#[inline]
pub(crate) fn is_multi_core() -> bool {
    *CORES > 1
}

/// Returns `true` if the wait strategy allows a short spin and no other runtime thread needs the core.
#[inline]
pub(crate) fn may_spin() -> bool {
    !is_oversubscribed() && WAIT_STRATEGY.load(Ordering::Relaxed) != WaitStrategy::Park as u8
}

/// Returns `true` if there are more active threads than cores: a spin would take a core from another runtime
/// thread.
#[inline]
pub(crate) fn is_oversubscribed() -> bool {
    ACTIVE_THREADS.load(Ordering::Relaxed) > *CORES
}

/// Returns `true` while spinning and yielding are suspended.
fn is_suspended(now: Instant) -> bool {
    nanos_since_epoch(now) < SUSPENDED_UNTIL.load(Ordering::Relaxed)
}

/// Suspends spinning and yielding after the calling thread has lost its core to foreign or CPU-bound threads from
/// `lost_at` until `now`; the suspension grows from 10 ms to 1 s.
#[cold]
fn suspend(lost_at: Instant, now: Instant) {
    let (lost_at, now) = (nanos_since_epoch(lost_at), nanos_since_epoch(now));
    let suspended_until = SUSPENDED_UNTIL.load(Ordering::Relaxed);
    // Several threads lose their cores to the same foreign threads at once. The first one to return begins a
    // suspension; the losses of the others began before that, so they must not make it longer.
    if lost_at < suspended_until {
        return;
    }
    let (min, max) = (nanos(MIN_SUSPENSION), nanos(MAX_SUSPENSION));
    // A second without a suspension: the foreign load may be gone, so start with a short one.
    let has_decayed = suspended_until.saturating_add(max) < now;
    let next = if has_decayed { min } else { NEXT_SUSPENSION.load(Ordering::Relaxed).clamp(min, max) };
    SUSPENDED_UNTIL.store(now + next, Ordering::Relaxed);
    NEXT_SUSPENSION.store(next * 4, Ordering::Relaxed);
}
