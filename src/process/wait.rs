//! How a thread waits, and how it is woken: the one place where anything of rethread parks. Mailboxes,
//! reply slots and sleeps wait here.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering, fence};
use std::thread::{self, Thread};
use std::time::Instant;

const AWAKE: u8 = 0;
const PARKED: u8 = 1;
const NOTIFIED: u8 = 2;

/// Where one thread waits for whatever concerns it: a message, a reply, an exit signal.
///
/// A waker first makes its news visible, then calls `wake`; a sleeper first announces that it will park,
/// then looks for news once more. The two fences order these four steps, so no wake-up is lost, and
/// waking a thread that is awake costs a fence and a load.
#[derive(Debug, Default)]
pub(crate) struct Waiter {
    state: AtomicU8,
    thread: OnceLock<Thread>,
}

impl Waiter {
    /// Tells the waiter that it belongs to the calling thread.
    pub(crate) fn belongs_here(&self) {
        self.thread.get_or_init(thread::current);
    }

    /// Whether the thread is parked just now.
    pub(crate) fn parked(&self) -> bool {
        self.state.load(Ordering::Relaxed) == PARKED
    }

    /// Wakes the thread if it is parked.
    pub(crate) fn wake(&self) {
        fence(Ordering::SeqCst);
        let parked = self.state.load(Ordering::Relaxed) == PARKED
            && self.state.swap(NOTIFIED, Ordering::AcqRel) == PARKED;
        if let (true, Some(thread)) = (parked, self.thread.get()) {
            thread.unpark();
        }
    }

    /// Blocks the calling thread, which must be the one this belongs to, until `news` has something or
    /// the deadline is past. `news` is asked at least once, also when the deadline is past already.
    pub(crate) fn wait_until<T>(
        &self,
        deadline: Option<Instant>,
        mut news: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        loop {
            if let Some(found) = news() {
                return Some(found);
            }
            self.state.store(PARKED, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            let found = news();
            if found.is_none() {
                match deadline.map(|at| at.checked_duration_since(Instant::now())) {
                    None => thread::park(),
                    Some(Some(left)) if !left.is_zero() => thread::park_timeout(left),
                    Some(_) => {
                        self.state.store(AWAKE, Ordering::Relaxed);
                        return None;
                    }
                }
            }
            self.state.store(AWAKE, Ordering::Relaxed);
            if found.is_some() {
                return found;
            }
        }
    }
}
