//! Identifiers: `Pid`, `MonitorRef` and `TimerRef`.

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

/// Returns the next number of a counter, starting from 1. No number is returned twice.
fn next_id(counter: &AtomicU64) -> NonZeroU64 {
    // `Relaxed`: the numbers must be distinct, nothing else is ordered by them. 2^64 of them are never used up.
    NonZeroU64::MIN.saturating_add(counter.fetch_add(1, Ordering::Relaxed))
}

/// Hashes identifiers. They are sequential numbers that no user chooses, so one multiplication is enough; user keys
/// need a hash that cannot be predicted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct IdHasher(u64);

impl BuildHasher for IdHasher {
    type Hasher = Self;
    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Hasher for IdHasher {
    fn write_u64(&mut self, number: u64) {
        // One identifier is one call.
        self.0 = (self.0 ^ number).wrapping_mul(GOLDEN_RATIO);
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

/// 2^64 divided by the golden ratio. Multiples of it are spread evenly (Knuth, The Art of Computer Programming, 6.4).
const GOLDEN_RATIO: u64 = 0x9E37_79B9_7F4A_7C15;

macro_rules! define_id {
    ($(#[$doc:meta])* $name:ident, $shape:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(NonZeroU64);

        impl $name {
            pub(crate) fn next() -> Self {
                static COUNTER: AtomicU64 = AtomicU64::new(0);
                Self(next_id(&COUNTER))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // A width applies to the whole text, not to the number in it, so that listings align.
                if f.width().is_some() { f.pad(&format!($shape, self.0)) } else { write!(f, $shape, self.0) }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

define_id!(
    /// Identifies a process. A pid is never used twice, so the pid of a process that has exited remains a valid argument
    /// everywhere: it refers to no process.
    ///
    /// Pids are ordered by the time of their creation. Their contents are not part of the API: later versions may add the
    /// node on which a process runs.
    ///
    /// ```
    /// use rethread::process;
    ///
    /// let child = process::spawn(|| println!("running"))?;
    /// println!("started {child}"); // started <7>
    /// # Ok::<(), rethread::process::SpawnError>(())
    /// ```
    Pid,
    "<{}>"
);

define_id!(
    /// Identifies a monitor, from [`process::monitor`](crate::process::monitor) until its one `Down`.
    #[must_use = "without the reference a monitor can be neither identified nor removed"]
    MonitorRef,
    "#Monitor<{}>"
);

define_id!(
    /// Identifies a timer, from [`process::send_after`](crate::process::send_after) until it fires or is cancelled.
    TimerRef,
    "#Timer<{}>"
);

impl Pid {
    /// Returns the pid as a number for an atomic. It is never 0, which stands for "no process".
    pub(crate) fn to_u64(self) -> u64 {
        self.0.get()
    }

    /// Converts the number of an atomic to a pid; `None` for 0.
    pub(crate) fn from_u64(value: u64) -> Option<Self> {
        NonZeroU64::new(value).map(Self)
    }
}

/// Functions that take `impl Into<Pid>` accept a `&Pid` like a `&Address`.
impl From<&Pid> for Pid {
    fn from(pid: &Pid) -> Self {
        *pid
    }
}
