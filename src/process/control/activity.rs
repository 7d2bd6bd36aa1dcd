//! What a process is at, and since when: for observers. The moment is noted for each message only while somebody looks;
//! otherwise when the process wakes up, which costs far more anyway.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::sync::nanos_since_epoch;

/// What the thread of a process is at, as far as the runtime knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Activity {
    /// The body of a plain process or a task runs.
    Body = 0,
    /// A server is in `init`.
    Starting = 1,
    /// A server waits for a message.
    Waiting = 2,
    /// A server is in `handle_call`.
    Call = 3,
    /// A server is in `handle_cast`.
    Cast = 4,
    /// A server is in `handle_info`.
    Info = 5,
    /// A server is in `handle_continue`.
    Continuing = 6,
    /// A server is in `terminate`.
    Terminating = 7,
}

impl Activity {
    fn from_u8(number: u8) -> Self {
        match number {
            1 => Self::Starting,
            2 => Self::Waiting,
            3 => Self::Call,
            4 => Self::Cast,
            5 => Self::Info,
            6 => Self::Continuing,
            7 => Self::Terminating,
            _ => Self::Body,
        }
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

/// For so long after a look the moments are noted.
const OBSERVATION_WINDOW: Duration = Duration::from_secs(10);

static OBSERVED: AtomicBool = AtomicBool::new(false);
/// When somebody last looked, in nanoseconds since `EPOCH`.
static OBSERVED_AT: AtomicU64 = AtomicU64::new(0);

/// Somebody looks at processes: from now on they note more.
pub(crate) fn observe() {
    OBSERVED_AT.store(now_nanos(), Ordering::Relaxed);
    OBSERVED.store(true, Ordering::Relaxed);
}

/// What one process is at. The process itself writes it, everybody may read.
#[derive(Debug, Default)]
pub(crate) struct ActivityCell {
    activity: AtomicU8,
    since: AtomicU64,
}

impl ActivityCell {
    /// The process turns to something else.
    #[inline]
    pub(crate) fn set(&self, activity: Activity) {
        self.activity.store(activity as u8, Ordering::Relaxed);
        if OBSERVED.load(Ordering::Relaxed) {
            self.record_time();
        }
    }

    /// The process is born, or has slept.
    pub(crate) fn touch(&self) {
        self.since.store(now_nanos(), Ordering::Relaxed);
    }

    #[cold]
    fn record_time(&self) {
        self.touch();
        let observed_at = Duration::from_nanos(OBSERVED_AT.load(Ordering::Relaxed));
        if Duration::from_nanos(now_nanos()).saturating_sub(observed_at) > OBSERVATION_WINDOW {
            OBSERVED.store(false, Ordering::Relaxed);
        }
    }

    /// What it is at.
    pub(crate) fn get(&self) -> Activity {
        Activity::from_u8(self.activity.load(Ordering::Relaxed))
    }

    /// For how long, at most.
    pub(crate) fn age(&self) -> Duration {
        Duration::from_nanos(now_nanos().saturating_sub(self.since.load(Ordering::Relaxed)))
    }
}

fn now_nanos() -> u64 {
    nanos_since_epoch(Instant::now())
}
