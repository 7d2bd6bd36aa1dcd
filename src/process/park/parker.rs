//! How a thread waits, and how it is woken: the one place where anything of rethread parks. Mailboxes,
//! reply slots and sleeps wait here.

use std::sync::OnceLock;
use std::time::Instant;

use crate::process::park::backoff::AdaptiveSpin;
use crate::process::park::backoff::dec_active;
use crate::process::park::backoff::inc_active;
use crate::sync;
use crate::sync::atomic::{AtomicU8, Ordering, fence};
use crate::sync::thread::{self, Thread};

const EMPTY: u8 = 0;
const PARKED: u8 = 1;
const NOTIFIED: u8 = 2;

/// Where one thread waits for whatever concerns it: a message, a reply, an exit signal.
///
/// A waker first makes its news visible, then calls `wake`; a sleeper first announces that it will park,
/// then looks for news once more. The two fences order these four steps, so no wake-up is lost, and
/// waking a thread that is awake costs a fence and a load.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Parker {
    adaptive_spin: AdaptiveSpin,
    /// Wakers read it, and it changes only when somebody parks: what changes more often is in other cache lines.
    _pad0: CacheLinePadding,
    state: AtomicU8,
    thread: OnceLock<Thread>,
    _pad1: CacheLinePadding,
}

/// Room between two things that threads on different cores use. Alignment would do as well, but aligned memory is slow
/// to get.
pub(crate) type CacheLinePadding = [u64; 8];

impl Parker {
    /// Tells the waiter that it belongs to the calling thread.
    pub(crate) fn bind_to_current_thread(&self) {
        self.thread.get_or_init(thread::current);
    }

    /// What std calls the thread.
    pub(crate) fn thread_name(&self) -> Option<&str> {
        self.thread.get().and_then(Thread::name)
    }

    /// Whether the thread is parked just now.
    pub(crate) fn is_parked(&self) -> bool {
        self.state.load(Ordering::Relaxed) == PARKED
    }

    /// Wakes the thread if it is parked.
    #[inline]
    pub(crate) fn unpark(&self) {
        fence(Ordering::SeqCst);
        self.unpark_after_push();
    }

    /// As `wake`, for who has put something into a queue: its lock orders the four steps as well.
    #[inline]
    pub(crate) fn unpark_after_push(&self) {
        let was_parked = self.state.load(Ordering::Relaxed) == PARKED
            && self.state.swap(NOTIFIED, Ordering::AcqRel) == PARKED;
        if let (true, Some(thread)) = (was_parked, self.thread.get()) {
            inc_active(); // from now on, though it may take a while to get a core
            thread.unpark();
        }
    }

    /// Looks for news for a while, on the calling thread, which must be the one this belongs to. `news` is asked at
    /// least once.
    #[inline]
    pub(crate) fn spin<T>(
        &self,
        deadline: Option<Instant>,
        mut poll: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        poll().or_else(|| self.adaptive_spin.spin(deadline, poll))
    }

    /// Blocks the calling thread, which must be the one this belongs to, until `news` has something or
    /// the deadline is past. `news` is asked at least once, also when the deadline is past already.
    pub(crate) fn park_until<T>(
        &self,
        deadline: Option<Instant>,
        mut poll: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        loop {
            dec_active();
            self.state.store(PARKED, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            let found = poll();
            let done = found.is_some() || park(deadline).is_err();
            if self.state.swap(EMPTY, Ordering::AcqRel) == PARKED {
                inc_active(); // otherwise the waker has said so
            }
            if done {
                return found;
            }
            if let Some(found) = poll() {
                return Some(found);
            }
        }
    }
}

/// The deadline is past.
struct TimedOut;

fn park(deadline: Option<Instant>) -> Result<(), TimedOut> {
    match deadline.map(|at| at.saturating_duration_since(sync::now())) {
        None => thread::park(),
        Some(remaining) if remaining.is_zero() => return Err(TimedOut),
        Some(remaining) => thread::park_timeout(remaining),
    }
    Ok(())
}
