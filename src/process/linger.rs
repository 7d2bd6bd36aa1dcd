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

use std::cell::Cell;
use std::hint;
use std::sync::atomic::{AtomicIsize, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::utils::CachePadded;
use once_cell::sync::Lazy;

/// For how long a wait spins at most: longer than a parked server takes to wake up and answer, so that two
/// that talk get out of parking each other.
const LONGEST_SPIN: Duration = Duration::from_micros(50);

/// Looks between two looks at the clock.
const LOOKS: u32 = 16;

/// Pauses for messages to gather: about a microsecond.
const GATHERING: u32 = 32;

/// A sender looks at the backlog of its receiver once in so many messages ..
const SENT_AT_A_TIME: u32 = 64;
/// .. and if that is longer than this
const LONG_BACKLOG: usize = 4096;
/// gives it so many pauses, two or three microseconds, to catch up.
const CATCHING_UP: u32 = 100;

/// The yields of one wait at most.
const MOST_YIELDS: u32 = 8;

/// The yields of one wait that does not spin, because that was in vain: they keep the core from going to sleep just when
/// the next thread of ours is woken on it.
const PARTING_YIELDS: u32 = 4;

/// How many waits in a row park at once after one that spun in vain: first the least, four times as many after
/// each further one, up to the most.
const LEAST_SKIPPED: u32 = 2;
const MOST_SKIPPED: u32 = 256;

/// A yield that takes longer than this is looked into.
const LONG_YIELD: Duration = Duration::from_millis(1);

/// While somebody of ours finds news this often, the others may have the core for long.
const PROGRESS: Duration = Duration::from_micros(3);

/// A thread counts so many yields that brought news, then adds them to what all threads count.
const TOLD_AT_ONCE: u32 = 8;

/// For how long nobody yields after a yield that only helped strangers: first the shortest, four times as
/// long after each further one, up to the longest.
const SHORTEST_BAN: Duration = Duration::from_millis(10);
const LONGEST_BAN: Duration = Duration::from_secs(1);

/// How threads wait for messages and answers: [`Settings::waiting`](crate::process::Settings::waiting).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waiting {
    /// They spin or yield for up to 50 µs while that is likely to pay, then park. A thread that waits for long uses no
    /// CPU.
    Adaptive,
    /// They park at once: the least CPU time, and the highest latency, 4 to 30 µs for each message to a thread that
    /// waits.
    Park,
    /// They spin and yield at each wait, whether it pays or not. For tests of the runtime.
    Linger,
}

impl Waiting {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "adaptive" => Some(Self::Adaptive),
            "park" => Some(Self::Park),
            "linger" => Some(Self::Linger),
            _ => None,
        }
    }
}

/// Our threads that are not parked.
static AWAKE: CachePadded<AtomicIsize> = CachePadded::new(AtomicIsize::new(0));
/// How often a yield brought news, to anybody.
static BROUGHT: CachePadded<AtomicU64> = CachePadded::new(AtomicU64::new(0));
/// Until when nobody yields, and how long that lasts the next time; in nanoseconds since `EPOCH`.
static BANNED_UNTIL: AtomicU64 = AtomicU64::new(0);
static NEXT_BAN: AtomicU64 = AtomicU64::new(0);
static WAITING: AtomicU8 = AtomicU8::new(Waiting::Adaptive as u8);

static EPOCH: Lazy<Instant> = Lazy::new(Instant::now);
static CORES: Lazy<isize> = Lazy::new(|| {
    thread::available_parallelism().map_or(1, |cores| isize::try_from(cores.get()).unwrap_or(1))
});

/// Another thread of ours is awake.
#[inline]
pub(crate) fn rises() {
    AWAKE.fetch_add(1, Ordering::Relaxed);
}

/// A thread of ours parks, or ends.
#[inline]
pub(crate) fn rests() {
    AWAKE.fetch_sub(1, Ordering::Relaxed);
}

/// A thread of ours, counted as awake while this lives.
#[derive(Debug)]
pub(crate) struct Risen(());

impl Risen {
    pub(crate) fn new() -> Self {
        rises();
        Self(())
    }
}

impl Drop for Risen {
    fn drop(&mut self) {
        rests();
    }
}

/// Has all threads wait in another manner.
pub(crate) fn set_waiting(manner: Waiting) {
    WAITING.store(manner as u8, Ordering::Relaxed);
}

/// What one thread has learned about its waits, or all threads about waits of one kind.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// How many waits from now on park at once.
    skip: AtomicU32,
    /// How many did after the last spin in vain.
    skipped: AtomicU32,
    /// How many yields brought news that are not counted in `BROUGHT` yet.
    brought: AtomicU32,
}

impl Patience {
    pub(crate) const fn new() -> Self {
        Self { skip: AtomicU32::new(0), skipped: AtomicU32::new(0), brought: AtomicU32::new(0) }
    }

    /// Looks for news again and again, for as long as that is likely to pay.
    pub(crate) fn linger<T>(
        &self,
        deadline: Option<Instant>,
        mut news: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let waiting = WAITING.load(Ordering::Relaxed);
        let forced = waiting == Waiting::Linger as u8;
        if waiting == Waiting::Park as u8 || !forced && *CORES == 1 && !crowded() {
            return None;
        }
        let mut now = Instant::now();
        if deadline.is_some_and(|at| at <= now) {
            return None;
        }
        if !forced && !crowded() && self.has_run_out() {
            return self.part(now, news);
        }
        let longest = now + LONGEST_SPIN;
        let end = deadline.map_or(longest, |at| at.min(longest));
        let mut yields = 0;
        let mut pauses = 1;
        while now < end {
            let found = if !crowded() {
                pauses = (pauses + 1).min(4);
                let found = spin(pauses, &mut news);
                now = Instant::now();
                found
            } else if forced || yields < MOST_YIELDS && may_yield(now) {
                yields += 1;
                self.give_way(&mut now, &mut news)
            } else {
                return None;
            };
            if found.is_some() {
                self.was_right();
                return found;
            }
        }
        self.was_in_vain();
        None
    }

    /// Some yields, and then no more.
    fn part<T>(&self, mut now: Instant, mut news: impl FnMut() -> Option<T>) -> Option<T> {
        (0..PARTING_YIELDS).find_map(
            |_| {
                if may_yield(now) { self.give_way(&mut now, &mut news) } else { None }
            },
        )
    }

    /// Yields, and looks for news. `now` is when it begins, then when it is over.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that yields, and it looks at what came of it"
    )]
    fn give_way<T>(&self, now: &mut Instant, news: &mut impl FnMut() -> Option<T>) -> Option<T> {
        let yielded = *now;
        let before = BROUGHT.load(Ordering::Relaxed);
        thread::yield_now();
        let found = news();
        if found.is_some() {
            self.brought();
        }
        *now = Instant::now();
        let took = now.saturating_duration_since(yielded);
        if took > LONG_YIELD {
            let brought = BROUGHT.load(Ordering::Relaxed).wrapping_sub(before);
            if u128::from(brought) * PROGRESS.as_nanos() < took.as_nanos() {
                ban(yielded, *now);
            }
        }
        found
    }

    /// A yield brought news. Not each is told to the others: the count is theirs, too.
    fn brought(&self) {
        let brought = self.brought.load(Ordering::Relaxed) + 1;
        if brought < TOLD_AT_ONCE {
            self.brought.store(brought, Ordering::Relaxed);
        } else {
            self.brought.store(0, Ordering::Relaxed);
            BROUGHT.fetch_add(u64::from(brought), Ordering::Relaxed);
        }
    }

    fn has_run_out(&self) -> bool {
        let left = self.skip.load(Ordering::Relaxed);
        if left > 0 {
            self.skip.store(left - 1, Ordering::Relaxed);
        }
        left > 0
    }

    fn was_right(&self) {
        if self.skipped.load(Ordering::Relaxed) > 0 {
            self.skipped.store(0, Ordering::Relaxed);
        }
    }

    fn was_in_vain(&self) {
        let next = (self.skipped.load(Ordering::Relaxed) * 4).clamp(LEAST_SKIPPED, MOST_SKIPPED);
        self.skipped.store(next, Ordering::Relaxed);
        self.skip.store(next, Ordering::Relaxed);
    }
}

/// Gives messages the time to become several. A receiver that is always at the heels of the sender makes each wait for
/// the other's cache line; with some messages between them both are twice as fast.
#[inline]
pub(crate) fn let_gather(deadline: Option<Instant>) {
    let adaptive = WAITING.load(Ordering::Relaxed) != Waiting::Park as u8;
    if deadline.is_none() && adaptive && *CORES > 1 && !crowded() {
        (0..GATHERING).for_each(|_| hint::spin_loop());
    }
}

/// What a sender does after each message: one that overruns its receiver, which has a core of its own, waits for some
/// microseconds now and then. A backlog that grows costs both far more: new memory for each few messages, under the
/// allocator's lock, which the receiver needs to give memory back. (The BEAM used to slow down such senders too.)
#[inline]
pub(crate) fn after_sending(unread: impl FnOnce() -> usize) {
    thread_local! {
        static SENT: Cell<u32> = const { Cell::new(0) };
    }
    let Ok(sent) = SENT.try_with(|sent| sent.replace(sent.get().wrapping_add(1))) else { return };
    if sent % SENT_AT_A_TIME == 0
        && !crowded()
        && WAITING.load(Ordering::Relaxed) != Waiting::Park as u8
        && unread() > LONG_BACKLOG
    {
        (0..CATCHING_UP).for_each(|_| hint::spin_loop());
    }
}

fn spin<T>(pauses: u32, news: &mut impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..LOOKS {
        for _ in 0..pauses {
            hint::spin_loop();
        }
        let found = news();
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Whether somebody who spins would take a core from another thread of ours.
#[inline]
pub(crate) fn crowded() -> bool {
    AWAKE.load(Ordering::Relaxed) > *CORES
}

/// Whether no yield was found to help strangers lately.
fn may_yield(now: Instant) -> bool {
    since_epoch(now) >= BANNED_UNTIL.load(Ordering::Relaxed)
}

/// The core went to somebody who is none of ours, or computes: no more of that for a while.
fn ban(yielded: Instant, now: Instant) {
    let (yielded, now) = (since_epoch(yielded), since_epoch(now));
    let last = BANNED_UNTIL.load(Ordering::Relaxed);
    if yielded < last {
        return; // it had begun when somebody else found out
    }
    let (shortest, longest) = (nanos(SHORTEST_BAN), nanos(LONGEST_BAN));
    let long_ago = last.saturating_add(longest) < now;
    let next = if long_ago { shortest } else { NEXT_BAN.load(Ordering::Relaxed).clamp(shortest, longest) };
    BANNED_UNTIL.store(now + next, Ordering::Relaxed);
    NEXT_BAN.store(next * 4, Ordering::Relaxed);
}

fn since_epoch(now: Instant) -> u64 {
    nanos(now.saturating_duration_since(*EPOCH))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
