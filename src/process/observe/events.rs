//! Process events for observers: starts, exits, restarts, zombies. Each subscriber has a ring buffer of its own, in
//! which new events overwrite the oldest unread ones, so a slow subscriber delays no process. Without subscribers an
//! event costs one load.
//!
//! Invariant: no event is published under a lock, because dropping an exit reason may run user code.

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

/// An event in the life of a process.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProcessEvent {
    /// The time of the event.
    pub at: SystemTime,
    /// The process.
    pub pid: Pid,
    /// The name of the process at that time, or its label if it had no name.
    pub display_name: Option<Arc<str>>,
    /// What happened.
    pub kind: ProcessEventKind,
}

/// What happened to a process.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ProcessEventKind {
    /// The process started.
    Started {
        /// The process that started it; `None` if a thread that is not a process started it.
        parent: Option<Pid>,
    },
    /// The process exited.
    Exited {
        /// The exit reason.
        reason: ExitReason,
    },
    /// A supervisor started the process as the replacement of a child that had exited.
    Restarted {
        /// The supervisor.
        supervisor: Pid,
        /// The id of the child in the supervisor.
        child: Arc<str>,
        /// How often that child has been restarted.
        restarts: u64,
    },
    /// The process is a supervisor and shuts down, because it may not or cannot restart its children any more.
    GaveUp {
        /// Why it gave up.
        why: Arc<str>,
    },
    /// The process did not exit in time and became a zombie: its thread is still running.
    BecameZombie,
    /// The process was a zombie, and its thread has ended.
    Reaped,
}

impl fmt::Display for ProcessEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.display_name {
            write!(f, "{name} ")?;
        }
        write!(f, "{} ", self.pid)?;
        match &self.kind {
            ProcessEventKind::Started { .. } => f.write_str("started"),
            ProcessEventKind::Exited { reason } => write!(f, "exited: {reason}"),
            ProcessEventKind::Restarted { child, restarts, .. } => {
                write!(f, "restarted (child {child}, restart {restarts})")
            }
            ProcessEventKind::GaveUp { why } => write!(f, "gave up: {why}"),
            ProcessEventKind::BecameZombie => f.write_str("became a zombie"),
            ProcessEventKind::Reaped => f.write_str("zombie reaped"),
        }
    }
}

/// The length of `SUBSCRIBERS`, so that processes without subscribers need not lock it.
static SUBSCRIBER_COUNT: AtomicUsize = AtomicUsize::new(0);
static SUBSCRIBERS: Mutex<Vec<Weak<Subscriber>>> = Mutex::new(Vec::new());

/// A subscriber, shared by its `EventReceiver` and the processes that publish events.
struct Subscriber {
    ring: Mutex<Ring>,
    /// The parker of the thread that last waited for an event.
    reader: Mutex<Option<Arc<Parker>>>,
}

struct Ring {
    events: VecDeque<ProcessEvent>,
    capacity: usize,
    /// The number of overwritten events since it was last read.
    dropped: u64,
}

/// Returns `true` if there are subscribers.
#[inline]
pub(crate) fn has_subscribers() -> bool {
    SUBSCRIBER_COUNT.load(Ordering::Relaxed) > 0
}

/// Publishes an event of a process, if there are subscribers. Must not be called under a lock.
#[inline]
pub(crate) fn emit(block: &ProcessBlock, kind: impl FnOnce() -> ProcessEventKind) {
    if has_subscribers() {
        publish(block.pid, block.display_name(), kind());
    }
}

/// Publishes an event to all subscribers.
pub(crate) fn publish(pid: Pid, display_name: Option<Arc<str>>, kind: ProcessEventKind) {
    let event = ProcessEvent { at: SystemTime::now(), pid, display_name, kind };
    // A copy of the list, so that no lock is held while events are cloned and dropped.
    let subscribers: Vec<Arc<Subscriber>> = SUBSCRIBERS.lock().iter().filter_map(Weak::upgrade).collect();
    for subscriber in subscribers {
        subscriber.push(event.clone());
    }
    // An exit reason may contain a value of the user's, with a destructor.
    drop_and_log("exit reason", event);
}

impl Subscriber {
    /// Adds an event to the ring, overwriting the oldest one if it is full, and wakes the reader.
    fn push(&self, event: ProcessEvent) {
        let mut ring = self.ring.lock();
        let oldest = if ring.events.len() >= ring.capacity { ring.events.pop_front() } else { None };
        ring.dropped += u64::from(oldest.is_some());
        ring.events.push_back(event);
        // Unlock first: dropping the oldest event may run user code.
        drop(ring);
        drop_and_log("exit reason", oldest);
        // After the event is in the ring: the reader registers its parker before it looks into the ring, so either it
        // finds the event or it is woken here.
        let reader = self.reader.lock().clone();
        if let Some(reader) = reader {
            reader.unpark();
        }
    }
}

/// Receives the events of all processes, beginning with the call of [`observer::events`](crate::observer::events). Any
/// thread may wait for them.
///
/// Events that are not read in time are overwritten, the oldest first: [`take_dropped`](Self::take_dropped) returns
/// their number. No process ever waits for a receiver.
pub struct EventReceiver {
    subscriber: Arc<Subscriber>,
}

/// Subscribes to events; the ring buffer holds `capacity` unread ones, at least one.
pub(crate) fn subscribe(capacity: usize) -> EventReceiver {
    let ring = Ring { events: VecDeque::new(), capacity: capacity.max(1), dropped: 0 };
    let subscriber = Arc::new(Subscriber { ring: Mutex::new(ring), reader: Mutex::new(None) });
    // The list before the count: a process that sees the count finds the subscriber.
    SUBSCRIBERS.lock().push(Arc::downgrade(&subscriber));
    SUBSCRIBER_COUNT.fetch_add(1, Ordering::Relaxed);
    EventReceiver { subscriber }
}

impl EventReceiver {
    /// Waits for the next event and returns it.
    pub fn recv(&mut self) -> ProcessEvent {
        match self.wait(None) {
            Some(event) => event,
            None => unreachable!("a wait without a deadline returns an event"),
        }
    }

    /// Waits for the next event for at most `timeout`; returns `None` if there was none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use rethread::{observer, process};
    ///
    /// let mut events = observer::events();
    /// let child = process::spawn(|| process::set_label("reader"))?;
    /// while let Some(event) = events.recv_timeout(Duration::from_secs(5)) {
    ///     println!("{event}");
    ///     if event.pid == child {
    ///         break;
    ///     }
    /// }
    /// assert_eq!(events.take_dropped(), 0); // this reader kept up
    /// # Ok::<(), process::SpawnError>(())
    /// ```
    pub fn recv_timeout(&mut self, timeout: Duration) -> Option<ProcessEvent> {
        self.wait(Some(timer_thread::deadline_after(timeout)))
    }

    /// Returns the next event, if there is one.
    pub fn try_recv(&mut self) -> Option<ProcessEvent> {
        self.subscriber.ring.lock().events.pop_front()
    }

    /// Returns how many events were overwritten before they were read, since the last call, and resets that number.
    pub fn take_dropped(&mut self) -> u64 {
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
        f.debug_struct("EventReceiver")
            .field("unread", &self.subscriber.ring.lock().events.len())
            .finish_non_exhaustive()
    }
}
