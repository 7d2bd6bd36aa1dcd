//! The identities: which process, which monitor, which timer. Every other file names processes with these.

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

/// Gives out serial numbers from one, each once in the life of the program.
fn next_id(counter: &AtomicU64) -> NonZeroU64 {
    NonZeroU64::MIN.saturating_add(counter.fetch_add(1, Ordering::Relaxed))
}

/// Hashes identities. They are serial numbers that nobody chooses, so one multiplication will do where keys of users need
/// a hash that cannot be guessed.
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
        self.0 = (self.0 ^ number).wrapping_mul(GOLDEN_RATIO);
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

/// 2^64 divided by the golden ratio: multiples of it are far apart (Knuth, The Art of Computer Programming, 6.4).
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
                // Padded as text, so that listings line up.
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
    /// Names one process, alive or dead. A pid is never given out twice, so the pid of a dead process
    /// stays a valid argument everywhere: it just finds nobody.
    ///
    /// Pids are ordered by birth. What is inside is not part of the API: later versions may add the node
    /// a process lives on.
    ///
    /// ```
    /// use rethread::process;
    ///
    /// let child = process::spawn::<()>(|inbox| { inbox.recv(); })?;
    /// println!("started {}", child.pid()); // started <7>
    /// # Ok::<(), rethread::process::SpawnError>(())
    /// ```
    Pid,
    "<{}>"
);

define_id!(
    /// Names one monitor, from [`process::monitor`](crate::process::monitor) until its one `Down`.
    #[must_use = "without the reference a monitor can neither be told from others nor removed"]
    MonitorRef,
    "#Monitor<{}>"
);

define_id!(
    /// Names one timer, from [`process::send_after`](crate::process::send_after) until it fired or was
    /// cancelled.
    TimerRef,
    "#Timer<{}>"
);

impl Pid {
    /// The pid as a word that fits an atomic; zero is left free for "nobody".
    pub(crate) fn to_u64(self) -> u64 {
        self.0.get()
    }

    /// The pid behind a word, unless it is the zero that stands for "nobody".
    pub(crate) fn from_u64(value: u64) -> Option<Self> {
        NonZeroU64::new(value).map(Self)
    }
}
