//! How a thread waits, and how it is woken: the one place where anything of rethread parks. Mailboxes,
//! reply slots and sleeps wait here.

use std::sync::OnceLock;
use std::time::Instant;

use crate::process::linger::{Patience, rests, rises};
use crate::sync;
use crate::sync::atomic::{AtomicU8, Ordering, fence};
use crate::sync::thread::{self, Thread};

const AWAKE: u8 = 0;
const PARKED: u8 = 1;
const NOTIFIED: u8 = 2;

/// Where one thread waits for whatever concerns it: a message, a reply, an exit signal.
///
/// A waker first makes its news visible, then calls `wake`; a sleeper first announces that it will park,
/// then looks for news once more. The two fences order these four steps, so no wake-up is lost, and
/// waking a thread that is awake costs a fence and a load.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Waiter {
    patience: Patience,
    /// Wakers read it, and it changes only when somebody parks: what changes more often is in other cache lines.
    _apart: Apart,
    state: AtomicU8,
    thread: OnceLock<Thread>,
    _apart_too: Apart,
}

/// Room between two things that threads on different cores use. Alignment would do as well, but aligned memory is slow
/// to get.
pub(crate) type Apart = [u64; 8];

impl Waiter {
    /// Tells the waiter that it belongs to the calling thread.
    pub(crate) fn belongs_here(&self) {
        self.thread.get_or_init(thread::current);
    }

    /// What std calls the thread.
    pub(crate) fn thread_name(&self) -> Option<&str> {
        self.thread.get().and_then(Thread::name)
    }

    /// Whether the thread is parked just now.
    pub(crate) fn parked(&self) -> bool {
        self.state.load(Ordering::Relaxed) == PARKED
    }

    /// Wakes the thread if it is parked.
    #[inline]
    pub(crate) fn wake(&self) {
        fence(Ordering::SeqCst);
        self.wake_reader();
    }

    /// As `wake`, for who has put something into a queue: its lock orders the four steps as well.
    #[inline]
    pub(crate) fn wake_reader(&self) {
        let parked = self.state.load(Ordering::Relaxed) == PARKED
            && self.state.swap(NOTIFIED, Ordering::AcqRel) == PARKED;
        if let (true, Some(thread)) = (parked, self.thread.get()) {
            rises(); // from now on, though it may take a while to get a core
            thread.unpark();
        }
    }

    /// Looks for news for a while, on the calling thread, which must be the one this belongs to. `news` is asked at
    /// least once.
    #[inline]
    pub(crate) fn linger<T>(
        &self,
        deadline: Option<Instant>,
        mut news: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        news().or_else(|| self.patience.linger(deadline, news))
    }

    /// Blocks the calling thread, which must be the one this belongs to, until `news` has something or
    /// the deadline is past. `news` is asked at least once, also when the deadline is past already.
    pub(crate) fn park_until<T>(
        &self,
        deadline: Option<Instant>,
        mut news: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        loop {
            rests();
            self.state.store(PARKED, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            let found = news();
            let over = found.is_some() || park(deadline).is_err();
            if self.state.swap(AWAKE, Ordering::AcqRel) == PARKED {
                rises(); // otherwise the waker has said so
            }
            if over {
                return found;
            }
            if let Some(found) = news() {
                return Some(found);
            }
        }
    }
}

/// The deadline is past.
struct Late;

fn park(deadline: Option<Instant>) -> Result<(), Late> {
    match deadline.map(|at| at.saturating_duration_since(sync::now())) {
        None => thread::park(),
        Some(left) if left.is_zero() => return Err(Late),
        Some(left) => thread::park_timeout(left),
    }
    Ok(())
}
