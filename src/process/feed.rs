//! News of processes, for whoever listens: births, deaths, restarts, zombies. Each listener has a ring of its own, which
//! overwrites what was not read in time, so that a slow one holds up nobody. While nobody listens, nothing is collected.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use crate::pid::Pid;
use crate::process::block::Block;
use crate::process::wait::Waiter;
use crate::process::{clock, me};
use crate::reason::ExitReason;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::unwind::contain;

/// One thing that happened to a process.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LifeEvent {
    /// When.
    pub at: SystemTime,
    /// To whom.
    pub pid: Pid,
    /// The name, or else the label, that it had then.
    pub name: Option<Arc<str>>,
    /// What.
    pub change: Change,
}

/// What happened to a process.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// It began.
    Started {
        /// The process that started it; `None` for one that a foreign thread started.
        parent: Option<Pid>,
    },
    /// It is dead.
    Exited {
        /// Why.
        reason: ExitReason,
    },
    /// A supervisor started it in the place of one that had ended.
    Restarted {
        /// The supervisor.
        by: Pid,
        /// Which child of the supervisor it is.
        child: Arc<str>,
        /// How often that child has been started again.
        times: u64,
    },
    /// It is a supervisor, and ends because it may not, or cannot, restart its children any more.
    GaveUp {
        /// Why.
        why: Arc<str>,
    },
    /// It was declared dead although its thread goes on.
    BecameZombie,
    /// It was a zombie, and its thread has ended.
    Reaped,
}

impl fmt::Display for LifeEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name} ")?;
        }
        write!(f, "{} ", self.pid)?;
        match &self.change {
            Change::Started { .. } => f.write_str("started"),
            Change::Exited { reason } => write!(f, "exited: {reason}"),
            Change::Restarted { child, times, .. } => {
                write!(f, "takes the place of child {child}, again x{times}")
            }
            Change::GaveUp { why } => write!(f, "gave up: {why}"),
            Change::BecameZombie => f.write_str("did not end in time: a zombie"),
            Change::Reaped => f.write_str("ended after all, was a zombie"),
        }
    }
}

/// How many listeners there are.
static LISTENERS: AtomicUsize = AtomicUsize::new(0);
static FEEDS: Mutex<Vec<Weak<Feed>>> = Mutex::new(Vec::new());

/// What one listener has not read yet.
struct Feed {
    ring: Mutex<Ring>,
    /// Where the listener waits, if it does.
    reader: Mutex<Option<Arc<Waiter>>>,
}

struct Ring {
    events: VecDeque<LifeEvent>,
    room: usize,
    lost: u64,
}

/// Whether anybody listens.
#[inline]
pub(crate) fn is_heard() -> bool {
    LISTENERS.load(Ordering::Relaxed) > 0
}

/// Tells all listeners what happens to a process. Not to be called with anything locked.
#[inline]
pub(crate) fn tell(block: &Block, change: impl FnOnce() -> Change) {
    if is_heard() {
        publish(block.pid, called(block), change());
    }
}

/// The name, or else the label, of a process.
pub(crate) fn called(block: &Block) -> Option<Arc<str>> {
    let state = block.lock();
    state.name.clone().or_else(|| state.label.clone())
}

pub(crate) fn publish(pid: Pid, name: Option<Arc<str>>, change: Change) {
    let event = LifeEvent { at: SystemTime::now(), pid, name, change };
    let feeds: Vec<Arc<Feed>> = FEEDS.lock().iter().filter_map(Weak::upgrade).collect();
    for feed in feeds {
        feed.push(event.clone());
    }
    // A reason may carry a value of the user's, and its destructor.
    contain("the destructor of an exit reason", move || drop(event));
}

impl Feed {
    fn push(&self, event: LifeEvent) {
        let mut ring = self.ring.lock();
        let oldest = if ring.events.len() >= ring.room { ring.events.pop_front() } else { None };
        ring.lost += u64::from(oldest.is_some());
        ring.events.push_back(event);
        drop(ring);
        contain("the destructor of an exit reason", move || drop(oldest));
        let reader = self.reader.lock().clone();
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

/// News of all processes, from [`observer::events`](crate::observer::events) on: any thread may wait for them.
///
/// What is not read in time is overwritten, the oldest first: [`lost`](Self::lost) says how much. Nobody ever waits for
/// a listener.
pub struct Events {
    feed: Arc<Feed>,
}

/// A new listener with room for so many unread events.
pub(crate) fn listen(room: usize) -> Events {
    let ring = Ring { events: VecDeque::new(), room: room.max(1), lost: 0 };
    let feed = Arc::new(Feed { ring: Mutex::new(ring), reader: Mutex::new(None) });
    FEEDS.lock().push(Arc::downgrade(&feed));
    LISTENERS.fetch_add(1, Ordering::Relaxed);
    Events { feed }
}

impl Events {
    /// Waits for the next event.
    pub fn recv(&mut self) -> LifeEvent {
        match self.wait(None) {
            Some(event) => event,
            None => unreachable!("a wait without a limit ends only with an event"),
        }
    }

    /// Waits for the next event for at most `limit`.
    pub fn recv_timeout(&mut self, limit: Duration) -> Option<LifeEvent> {
        self.wait(Some(clock::after(limit)))
    }

    /// The next event, if there is one.
    pub fn try_recv(&mut self) -> Option<LifeEvent> {
        self.feed.ring.lock().events.pop_front()
    }

    /// How many events were overwritten before they could be read, since this was last asked.
    pub fn lost(&mut self) -> u64 {
        std::mem::take(&mut self.feed.ring.lock().lost)
    }

    fn wait(&mut self, deadline: Option<Instant>) -> Option<LifeEvent> {
        *self.feed.reader.lock() = Some(me::waiter());
        me::park(deadline, || self.feed.ring.lock().events.pop_front())
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        LISTENERS.fetch_sub(1, Ordering::Relaxed);
        FEEDS.lock().retain(|feed| !std::ptr::eq(feed.as_ptr(), Arc::as_ptr(&self.feed)));
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("unread", &self.feed.ring.lock().events.len()).finish_non_exhaustive()
    }
}
