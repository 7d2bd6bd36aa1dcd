//! Locks, atomics, queues, threads and the time. The rest of the crate imports them from here, so that they can be
//! replaced: with `--cfg rethread_model` they are those of `model`, a scheduler that decides before each step
//! which thread runs next.
//!
//! Normally these are plain re-exports of `parking_lot`, `crossbeam` and std. Atomics on whose order no other variable depends
//! (statistics, hints, id counters, the number of processes, once-flags) use std's types directly: they would
//! multiply the number of orders the model has to explore.

use std::time::{Duration, Instant};

use once_cell::sync::Lazy;

#[cfg(rethread_model)]
pub mod model;

#[cfg(rethread_model)]
pub(crate) use self::model::primitives::{
    Condvar, Mutex, MutexGuard, RwLock, SegQueue, atomic, now, random_seed, thread,
};

#[cfg(not(rethread_model))]
pub(crate) use self::real::{Condvar, Mutex, MutexGuard, RwLock, SegQueue, atomic, now, random_seed, thread};

#[cfg(not(rethread_model))]
mod real {
    pub(crate) use crossbeam::queue::SegQueue;
    pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};

    pub(crate) mod atomic {
        pub(crate) use std::sync::atomic::{
            AtomicBool, AtomicIsize, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence,
        };
    }

    pub(crate) mod thread {
        pub(crate) use std::thread::{Builder, Thread, current, park, park_timeout};
    }

    /// Returns the current time, for deadlines of waits and timers.
    #[inline]
    pub(crate) fn now() -> std::time::Instant {
        std::time::Instant::now()
    }

    /// Returns a number that differs from call to call and from run to run of the program.
    pub(crate) fn random_seed() -> u64 {
        use std::hash::{BuildHasher, RandomState};
        RandomState::new().hash_one(())
    }
}

/// Converts a duration to nanoseconds; one that does not fit into 64 bits (584 years) becomes `u64::MAX`.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Converts a time to nanoseconds since a fixed time near the start of the program, so that it fits into an
/// atomic. Earlier times become 0.
pub(crate) fn nanos_since_epoch(at: Instant) -> u64 {
    // Real time under the model as well: only statistics use it.
    static EPOCH: Lazy<Instant> = Lazy::new(Instant::now);
    nanos(at.saturating_duration_since(*EPOCH))
}
