//! News of processes, for whoever listens: births, deaths, restarts, zombies. Each listener has a ring of its own, which
//! overwrites what was not read in time, so that a slow one holds up nobody. While nobody listens, nothing is collected.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use crate::pid::Pid;
use crate::process::control::block::ProcessBlock;
use crate::process::control::local;
use crate::process::park::parker::Parker;
use crate::process::park::timer_thread;
use crate::reason::ExitReason;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::unwind::drop_and_log;

/// One thing that happened to a process.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProcessEvent {
    /// When.
    pub at: SystemTime,
    /// To whom.
    pub pid: Pid,
    /// The name, or else the label, that it had then.
    pub name: Option<Arc<str>>,
    /// What.
    pub kind: ProcessEventKind,
}

/// What happened to a process.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ProcessEventKind {
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
        supervisor: Pid,
        /// Which child of the supervisor it is.
        child: Arc<str>,
        /// How often that child has been started again.
        restart_count: u64,
    },
    /// It is a supervisor, and ends because it may not, or cannot, restart its children any more.
    GaveUp {
        /// Why.
        reason: Arc<str>,
    },
    /// It was declared dead although its thread goes on.
    BecameZombie,
    /// It was a zombie, and its thread has ended.
    Reaped,
}

impl fmt::Display for ProcessEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name} ")?;
        }
        write!(f, "{} ", self.pid)?;
        match &self.kind {
            ProcessEventKind::Started { .. } => f.write_str("started"),
            ProcessEventKind::Exited { reason } => write!(f, "exited: {reason}"),
            ProcessEventKind::Restarted { child, restart_count, .. } => {
                write!(f, "takes the place of child {child}, again x{restart_count}")
            }
            ProcessEventKind::GaveUp { reason } => write!(f, "gave up: {reason}"),
            ProcessEventKind::BecameZombie => f.write_str("did not end in time: a zombie"),
            ProcessEventKind::Reaped => f.write_str("ended after all, was a zombie"),
        }
    }
}

/// How many listeners there are.
static SUBSCRIBER_COUNT: AtomicUsize = AtomicUsize::new(0);
static SUBSCRIBERS: Mutex<Vec<Weak<Subscriber>>> = Mutex::new(Vec::new());

/// What one listener has not read yet.
struct Subscriber {
    ring: Mutex<Ring>,
    /// Where the listener waits, if it does.
    reader: Mutex<Option<Arc<Parker>>>,
}

struct Ring {
    events: VecDeque<ProcessEvent>,
    capacity: usize,
    dropped: u64,
}

/// Whether anybody listens.
#[inline]
pub(crate) fn has_subscribers() -> bool {
    SUBSCRIBER_COUNT.load(Ordering::Relaxed) > 0
}

/// Tells all listeners what happens to a process. Not to be called with anything locked.
#[inline]
pub(crate) fn emit(block: &ProcessBlock, kind: impl FnOnce() -> ProcessEventKind) {
    if has_subscribers() {
        publish(block.pid, block.display_name(), kind());
    }
}

pub(crate) fn publish(pid: Pid, name: Option<Arc<str>>, kind: ProcessEventKind) {
    let event = ProcessEvent { at: SystemTime::now(), pid, name, kind };
    let subscribers: Vec<Arc<Subscriber>> = SUBSCRIBERS.lock().iter().filter_map(Weak::upgrade).collect();
    for subscriber in subscribers {
        subscriber.push(event.clone());
    }
    // A reason may carry a value of the user's, and its destructor.
    drop_and_log("exit reason", event);
}

impl Subscriber {
    fn push(&self, event: ProcessEvent) {
        let mut ring = self.ring.lock();
        let oldest = if ring.events.len() >= ring.capacity { ring.events.pop_front() } else { None };
        ring.dropped += u64::from(oldest.is_some());
        ring.events.push_back(event);
        drop(ring);
        drop_and_log("exit reason", oldest);
        let reader = self.reader.lock().clone();
        if let Some(reader) = reader {
            reader.unpark();
        }
    }
}

/// News of all processes, from [`observer::events`](crate::observer::events) on: any thread may wait for them.
///
/// What is not read in time is overwritten, the oldest first: [`dropped`](Self::dropped) says how much. Nobody ever waits for
/// a listener.
pub struct EventReceiver {
    subscriber: Arc<Subscriber>,
}

/// A new listener with room for so many unread events.
pub(crate) fn subscribe(capacity: usize) -> EventReceiver {
    let ring = Ring { events: VecDeque::new(), capacity: capacity.max(1), dropped: 0 };
    let subscriber = Arc::new(Subscriber { ring: Mutex::new(ring), reader: Mutex::new(None) });
    SUBSCRIBERS.lock().push(Arc::downgrade(&subscriber));
    SUBSCRIBER_COUNT.fetch_add(1, Ordering::Relaxed);
    EventReceiver { subscriber }
}

impl EventReceiver {
    /// Waits for the next event.
    pub fn recv(&mut self) -> ProcessEvent {
        match self.wait(None) {
            Some(event) => event,
            None => unreachable!("a wait without a limit ends only with an event"),
        }
    }

    /// Waits for the next event for at most `limit`.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Option<ProcessEvent> {
        self.wait(Some(timer_thread::deadline_after(timeout)))
    }

    /// The next event, if there is one.
    pub fn try_recv(&mut self) -> Option<ProcessEvent> {
        self.subscriber.ring.lock().events.pop_front()
    }

    /// How many events were overwritten before they could be read, since this was last asked.
    pub fn dropped(&mut self) -> u64 {
        std::mem::take(&mut self.subscriber.ring.lock().dropped)
    }

    fn wait(&mut self, deadline: Option<Instant>) -> Option<ProcessEvent> {
        *self.subscriber.reader.lock() = Some(local::parker());
        local::park(deadline, || self.subscriber.ring.lock().events.pop_front())
    }
}

impl Drop for EventReceiver {
    fn drop(&mut self) {
        SUBSCRIBER_COUNT.fetch_sub(1, Ordering::Relaxed);
        SUBSCRIBERS
            .lock()
            .retain(|subscriber| !std::ptr::eq(subscriber.as_ptr(), Arc::as_ptr(&self.subscriber)));
    }
}

impl fmt::Debug for EventReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("unread", &self.subscriber.ring.lock().events.len())
            .finish_non_exhaustive()
    }
}
