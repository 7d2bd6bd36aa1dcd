//! Parks and wakes threads. Every blocking wait of the runtime ends in `Parker::park_until`; only the timer
//! thread sleeps on a condition variable. `README.md` describes the protocol and why no wake-up is lost.

use std::sync::OnceLock;
use std::time::Instant;

use crate::process::park::backoff::AdaptiveSpin;
use crate::process::park::backoff::dec_active;
use crate::process::park::backoff::inc_active;
use crate::sync;
use crate::sync::atomic::{AtomicU8, Ordering, fence};
use crate::sync::thread::{self, Thread};

/// The thread is active, or about to be: a waker has nothing to do.
const EMPTY: u8 = 0;
/// The thread is parked, or will poll once more and then park.
const PARKED: u8 = 1;
/// A waker has seen `PARKED` and unparks the thread. Further wakers have nothing to do.
const NOTIFIED: u8 = 2;

/// Blocks one thread until a value is ready: a message, a reply, an exit signal, a job.
///
/// A waker first makes its value visible, then calls [`unpark`](Self::unpark). A waiter first stores
/// `PARKED`, then polls once more. The two fences order these four steps, so at least one of the two threads
/// sees what the other wrote, and no wake-up is lost. To wake a thread that is not parked costs a fence and a
/// load.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Parker {
    /// Written by the owner during each wait.
    adaptive_spin: AdaptiveSpin,
    /// Separates the fields that the owner writes at each wait from those that wakers read; the latter change
    /// only when the thread parks.
    _pad0: CacheLinePadding,
    state: AtomicU8,
    thread: OnceLock<Thread>,
    _pad1: CacheLinePadding,
}

/// Distance between fields that threads on different cores use. An alignment of 64 bytes would do as well,
/// but over-aligned memory is slow to allocate.
pub(crate) type CacheLinePadding = [u64; 8];

impl Parker {
    /// Makes the calling thread the owner, the one thread that may wait here. Later calls have no effect.
    pub(crate) fn bind_to_current_thread(&self) {
        self.thread.get_or_init(thread::current);
    }

    /// Returns the name that std has for the owner.
    pub(crate) fn thread_name(&self) -> Option<&str> {
        self.thread.get().and_then(Thread::name)
    }

    /// Returns `true` if the owner is parked. The answer may be stale when the caller uses it.
    pub(crate) fn is_parked(&self) -> bool {
        self.state.load(Ordering::Relaxed) == PARKED
    }

    /// Wakes the owner if it is parked. The caller must have made the awaited value visible before.
    #[inline]
    pub(crate) fn unpark(&self) {
        // Pairs with the fence in `park_until`: without it the load of `state` could be reordered before the
        // store of the value, and both threads would see the old state of the other.
        fence(Ordering::SeqCst);
        self.unpark_after_push();
    }

    /// Wakes the owner if it is parked. Like [`unpark`](Self::unpark), but for a caller that has just pushed the
    /// value into a `SegQueue`: the push contains a `SeqCst` read-modify-write, which is ordered before the load
    /// below, so the fence is not needed.
    #[inline]
    pub(crate) fn unpark_after_push(&self) {
        // Of several wakers exactly one finds `PARKED` in the swap. The load before it keeps the cache line
        // shared in the usual case, a thread that is not parked.
        let was_parked = self.state.load(Ordering::SeqCst) == PARKED
            && self.state.swap(NOTIFIED, Ordering::AcqRel) == PARKED;
        if let (true, Some(thread)) = (was_parked, self.thread.get()) {
            // The thread counts as active from here on, although the kernel may need a while to schedule it.
            inc_active();
            thread.unpark();
        }
    }

    /// Spins on the calling thread, which must be the owner, as long as that is likely to pay. Calls `poll`
    /// at least once.
    #[inline]
    pub(crate) fn spin<T>(
        &self,
        deadline: Option<Instant>,
        mut poll: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        poll().or_else(|| self.adaptive_spin.spin(deadline, poll))
    }

    /// Blocks the calling thread, which must be the owner, until `poll` returns a value or the deadline has
    /// passed. Calls `poll` at least once, also if the deadline has passed before the call.
    pub(crate) fn park_until<T>(
        &self,
        deadline: Option<Instant>,
        mut poll: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        loop {
            dec_active();
            // Relaxed: the fence orders this store before the poll, and pairs with the fence in `unpark`. A
            // waker whose value the poll does not find will read `PARKED`.
            self.state.store(PARKED, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            // A waker may act between this poll and the park; then its token makes the park return at once.
            let found = poll();
            let done = found.is_some() || park(deadline).is_err();
            // `NOTIFIED` here means that a waker has incremented the number of active threads already.
            if self.state.swap(EMPTY, Ordering::AcqRel) == PARKED {
                inc_active();
            }
            if done {
                return found;
            }
            // Spurious wake-up, a token from an earlier wait, or a waker whose value another poll took: park
            // again.
            if let Some(found) = poll() {
                return Some(found);
            }
        }
    }
}

/// The deadline has passed.
struct TimedOut;

/// Parks the calling thread once. It may return early, as std's `park` may.
fn park(deadline: Option<Instant>) -> Result<(), TimedOut> {
    match deadline.map(|at| at.saturating_duration_since(sync::now())) {
        None => thread::park(),
        // Reported only before parking: after a park that used up the time, the caller polls once more.
        Some(remaining) if remaining.is_zero() => return Err(TimedOut),
        Some(remaining) => thread::park_timeout(remaining),
    }
    Ok(())
}
