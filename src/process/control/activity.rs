//! What a process is doing, and since when, for observers. To read the clock for every message is too slow,
//! so that happens only while an observer is active; otherwise the time is recorded when the process wakes up
//! from parking, which costs far more anyway.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::sync::nanos_since_epoch;

/// What the thread of a process is doing, as far as the runtime knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activity {
    /// The body of a plain process or a task is running.
    Body,
    /// A server is in `init`.
    Starting,
    /// A server waits for a message.
    Waiting,
    /// A server is in `handle_call`.
    Call,
    /// A server is in `handle_cast`.
    Cast,
    /// A server is in `handle_info`.
    Info,
    /// A server is in `handle_continue`.
    Continuing,
    /// A server is in `terminate`.
    Terminating,
}

impl Activity {
    /// All variants in the order of their discriminants, for `from_u8`.
    const ALL: [Self; 8] = [
        Self::Body,
        Self::Starting,
        Self::Waiting,
        Self::Call,
        Self::Cast,
        Self::Info,
        Self::Continuing,
        Self::Terminating,
    ];

    /// Converts a discriminant back, which `ActivityCell::set` has stored.
    fn from_u8(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Body)
    }
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Body => "running",
            Self::Starting => "starting",
            Self::Waiting => "waiting",
            Self::Call => "handling a call",
            Self::Cast => "handling a cast",
            Self::Info => "handling an info",
            Self::Continuing => "continuing",
            Self::Terminating => "terminating",
        })
    }
}

/// Time after an observation during which every change of activity records the time.
const OBSERVATION_WINDOW: Duration = Duration::from_secs(10);

/// An observation window is open.
static OBSERVED: AtomicBool = AtomicBool::new(false);
/// Time of the last observation, in nanoseconds since the epoch of `crate::sync`.
static OBSERVED_AT: AtomicU64 = AtomicU64::new(0);

/// Opens an observation window: for the next ten seconds processes record the time of every change of
/// activity.
pub(crate) fn observe() {
    // In this order: a process that sees the flag should not find the time of an earlier observation and
    // clear the flag. If it does nevertheless (the stores are relaxed), the next observation sets it again.
    OBSERVED_AT.store(now_nanos(), Ordering::Relaxed);
    OBSERVED.store(true, Ordering::Relaxed);
}

/// The current activity of one process. Only the process writes it; any thread may read it. Activity and time
/// are separate atomics, so a reader may see a new one with an old one of the other.
#[derive(Debug, Default)]
pub(crate) struct ActivityCell {
    activity: AtomicU8,
    /// Nanoseconds since the epoch of `crate::sync`.
    since: AtomicU64,
}

impl ActivityCell {
    /// Sets the activity, and records the time if an observation window is open.
    #[inline]
    pub(crate) fn set(&self, activity: Activity) {
        self.activity.store(activity as u8, Ordering::Relaxed);
        if OBSERVED.load(Ordering::Relaxed) {
            self.record_time();
        }
    }

    /// Records the current time: the process starts, or has woken up.
    pub(crate) fn touch(&self) {
        self.since.store(now_nanos(), Ordering::Relaxed);
    }

    /// Records the current time, and closes the observation window if it is over.
    #[cold]
    fn record_time(&self) {
        self.touch();
        // No thread waits for the end of the window; the first process to notice closes it for all.
        let observed_at = Duration::from_nanos(OBSERVED_AT.load(Ordering::Relaxed));
        if Duration::from_nanos(now_nanos()).saturating_sub(observed_at) > OBSERVATION_WINDOW {
            OBSERVED.store(false, Ordering::Relaxed);
        }
    }

    /// Returns the current activity.
    pub(crate) fn get(&self) -> Activity {
        Activity::from_u8(self.activity.load(Ordering::Relaxed))
    }

    /// Returns the time since the last recorded time: an upper bound for how long the current activity has
    /// lasted.
    pub(crate) fn age(&self) -> Duration {
        Duration::from_nanos(now_nanos().saturating_sub(self.since.load(Ordering::Relaxed)))
    }
}

/// Returns the current time in nanoseconds since the epoch of `crate::sync`.
fn now_nanos() -> u64 {
    nanos_since_epoch(Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_discriminant_converts_back_to_its_activity() {
        for (number, activity) in Activity::ALL.into_iter().enumerate() {
            assert_eq!((activity as usize, Activity::from_u8(activity as u8)), (number, activity));
        }
    }
}
