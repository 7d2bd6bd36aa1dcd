//! What a thread does between finding no news and parking: it lingers for some microseconds, if that is
//! likely to pay. A parked thread costs its waker a system call and comes back 4 to 30 µs later; the
//! answer of a server on another core is often there in half of one.
//!
//! While no more threads of ours are awake than there are cores, whoever waits spins. While there are more,
//! a spin would keep the very thread from running that the news is to come from, so it yields instead: among many that
//! wait for each other this saves most of the parking. But a yield gives the core away for a whole time slice if
//! somebody there computes, so after one that helped nobody of ours there are none for a while.
//!
//! Receivers at the heels of a sender, and senders far ahead of a receiver, linger here too.

use std::hint;
use std::sync::atomic::{AtomicIsize, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::utils::CachePadded;
use once_cell::sync::Lazy;

use crate::sync::{nanos, nanos_since_epoch};

/// For how long a wait spins at most: longer than a parked server takes to wake up and answer, so that two
/// that talk get out of parking each other.
const MAX_SPIN: Duration = Duration::from_micros(50);

/// Looks between two looks at the clock.
const POLLS_PER_CLOCK_READ: u32 = 16;

/// The yields of one wait at most.
const MAX_YIELDS: u32 = 8;

/// The yields of one wait that does not spin, because that was in vain: they keep the core from going to sleep just when
/// the next thread of ours is woken on it.
const YIELDS_BEFORE_PARK: u32 = 4;

/// How many waits in a row park at once after one that spun in vain: first the least, four times as many after
/// each further one, up to the most.
const MIN_SKIP: u32 = 2;
const MAX_SKIP: u32 = 256;

/// A yield that takes longer than this is looked into.
const SLOW_YIELD: Duration = Duration::from_millis(1);

/// While somebody of ours finds news this often, the others may have the core for long.
const USEFUL_YIELD_INTERVAL: Duration = Duration::from_micros(3);

/// A thread counts so many yields that brought news, then adds them to what all threads count.
const COUNTER_BATCH: u32 = 8;

/// For how long nobody yields after a yield that only helped strangers: first the shortest, four times as
/// long after each further one, up to the longest.
const MIN_SUSPENSION: Duration = Duration::from_millis(10);
const MAX_SUSPENSION: Duration = Duration::from_secs(1);

/// How threads wait for messages and answers: [`Settings::wait_strategy`](crate::process::Settings::wait_strategy).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitStrategy {
    /// They spin or yield for up to 50 µs while that is likely to pay, then park. A thread that waits for long uses no
    /// CPU.
    Adaptive,
    /// They park at once: the least CPU time, and the highest latency, 4 to 30 µs for each message to a thread that
    /// waits.
    Park,
    /// They spin and yield at each wait, whether it pays or not. For tests of the runtime.
    Spin,
}

impl WaitStrategy {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "adaptive" => Some(Self::Adaptive),
            "park" => Some(Self::Park),
            "spin" => Some(Self::Spin),
            _ => None,
        }
    }
}

/// Our threads that are not parked.
static ACTIVE_THREADS: CachePadded<AtomicIsize> = CachePadded::new(AtomicIsize::new(0));
/// How often a yield brought news, to anybody.
static USEFUL_YIELDS: CachePadded<AtomicU64> = CachePadded::new(AtomicU64::new(0));
/// Until when nobody yields, and how long that lasts the next time; in nanoseconds since `EPOCH`.
static NO_YIELD_UNTIL: AtomicU64 = AtomicU64::new(0);
static NEXT_SUSPENSION: AtomicU64 = AtomicU64::new(0);
static WAIT_STRATEGY: AtomicU8 = AtomicU8::new(WaitStrategy::Adaptive as u8);

static CORES: Lazy<isize> = Lazy::new(|| {
    thread::available_parallelism().map_or(1, |cores| isize::try_from(cores.get()).unwrap_or(1))
});

/// Another thread of ours is awake.
#[inline]
pub(crate) fn inc_active() {
    ACTIVE_THREADS.fetch_add(1, Ordering::Relaxed);
}

/// A thread of ours parks, or ends.
#[inline]
pub(crate) fn dec_active() {
    ACTIVE_THREADS.fetch_sub(1, Ordering::Relaxed);
}

/// A thread of ours, counted as awake while this lives.
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

/// Has all threads wait in another manner.
pub(crate) fn set_wait_strategy(strategy: WaitStrategy) {
    WAIT_STRATEGY.store(strategy as u8, Ordering::Relaxed);
}

/// What one thread has learned about its waits, or all threads about waits of one kind.
#[derive(Debug, Default)]
pub(crate) struct AdaptiveSpin {
    /// How many waits from now on park at once.
    remaining_skips: AtomicU32,
    /// How many did after the last spin in vain.
    last_skips: AtomicU32,
    /// How many yields brought news that are not counted in `BROUGHT` yet.
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

    /// Looks for news again and again, for as long as that is likely to pay.
    pub(crate) fn spin<T>(
        &self,
        deadline: Option<Instant>,
        mut poll: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let strategy = WAIT_STRATEGY.load(Ordering::Relaxed);
        let forced = strategy == WaitStrategy::Spin as u8;
        if strategy == WaitStrategy::Park as u8 || !forced && *CORES == 1 && !is_oversubscribed() {
            return None;
        }
        let mut now = Instant::now();
        if deadline.is_some_and(|at| at <= now) {
            return None;
        }
        if !forced && !is_oversubscribed() && self.skips_spin() {
            return self.yield_briefly(now, poll);
        }
        let spin_limit = now + MAX_SPIN;
        let end = deadline.map_or(spin_limit, |at| at.min(spin_limit));
        let mut yields = 0;
        let mut pauses = 1;
        while now < end {
            let found = if !is_oversubscribed() {
                pauses = (pauses + 1).min(4);
                let found = spin_and_poll(pauses, &mut poll);
                now = Instant::now();
                found
            } else if forced || yields < MAX_YIELDS && may_yield(now) {
                yields += 1;
                self.yield_and_poll(&mut now, &mut poll)
            } else {
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

    /// Some yields, and then no more.
    fn yield_briefly<T>(&self, mut now: Instant, mut poll: impl FnMut() -> Option<T>) -> Option<T> {
        (0..YIELDS_BEFORE_PARK)
            .find_map(|_| if may_yield(now) { self.yield_and_poll(&mut now, &mut poll) } else { None })
    }

    /// Yields, and looks for news. `now` is when it begins, then when it is over.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that yields, and it looks at what came of it"
    )]
    fn yield_and_poll<T>(&self, now: &mut Instant, poll: &mut impl FnMut() -> Option<T>) -> Option<T> {
        let yield_start = *now;
        let useful_before = USEFUL_YIELDS.load(Ordering::Relaxed);
        thread::yield_now();
        let found = poll();
        if found.is_some() {
            self.record_useful_yield();
        }
        *now = Instant::now();
        let elapsed = now.saturating_duration_since(yield_start);
        if elapsed > SLOW_YIELD {
            let useful = USEFUL_YIELDS.load(Ordering::Relaxed).wrapping_sub(useful_before);
            if u128::from(useful) * USEFUL_YIELD_INTERVAL.as_nanos() < elapsed.as_nanos() {
                suspend_yielding(yield_start, *now);
            }
        }
        found
    }

    /// A yield brought news. Not each is told to the others: the count is theirs, too.
    fn record_useful_yield(&self) {
        let unflushed = self.unflushed_yields.load(Ordering::Relaxed) + 1;
        if unflushed < COUNTER_BATCH {
            self.unflushed_yields.store(unflushed, Ordering::Relaxed);
        } else {
            self.unflushed_yields.store(0, Ordering::Relaxed);
            USEFUL_YIELDS.fetch_add(u64::from(unflushed), Ordering::Relaxed);
        }
    }

    fn skips_spin(&self) -> bool {
        let remaining = self.remaining_skips.load(Ordering::Relaxed);
        if remaining > 0 {
            self.remaining_skips.store(remaining - 1, Ordering::Relaxed);
        }
        remaining > 0
    }

    fn on_hit(&self) {
        if self.last_skips.load(Ordering::Relaxed) > 0 {
            self.last_skips.store(0, Ordering::Relaxed);
        }
    }

    fn on_miss(&self) {
        let next = (self.last_skips.load(Ordering::Relaxed) * 4).clamp(MIN_SKIP, MAX_SKIP);
        self.last_skips.store(next, Ordering::Relaxed);
        self.remaining_skips.store(next, Ordering::Relaxed);
    }
}

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

/// Whether somebody who spins would take a core from another thread of ours.
#[inline]
pub(crate) fn is_oversubscribed() -> bool {
    ACTIVE_THREADS.load(Ordering::Relaxed) > *CORES
}

/// Whether no yield was found to help strangers lately.
fn may_yield(now: Instant) -> bool {
    nanos_since_epoch(now) >= NO_YIELD_UNTIL.load(Ordering::Relaxed)
}

/// The core went to somebody who is none of ours, or computes: no more of that for a while.
fn suspend_yielding(yield_start: Instant, now: Instant) {
    let (start, now) = (nanos_since_epoch(yield_start), nanos_since_epoch(now));
    let suspended_until = NO_YIELD_UNTIL.load(Ordering::Relaxed);
    if start < suspended_until {
        return; // it had begun when somebody else found out
    }
    let (min, max) = (nanos(MIN_SUSPENSION), nanos(MAX_SUSPENSION));
    let has_decayed = suspended_until.saturating_add(max) < now;
    let next = if has_decayed { min } else { NEXT_SUSPENSION.load(Ordering::Relaxed).clamp(min, max) };
    NO_YIELD_UNTIL.store(now + next, Ordering::Relaxed);
    NEXT_SUSPENSION.store(next * 4, Ordering::Relaxed);
}
