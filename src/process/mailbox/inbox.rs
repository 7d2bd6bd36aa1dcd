//! `Inbox`, the receiving end of a mailbox: receive, receive with a timeout, selective receive.
//!
//! A selective receive moves the events that it passes over from the queue to `Inbox::saved`, where the next receive
//! looks first. Predicates and destructors are user code: neither runs under a lock.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::exception;
use crate::pid::{MonitorRef, Pid};
use crate::process::control::block::DynMailbox;
use crate::process::control::block::MonitorTarget;
use crate::process::control::block::Monitoring;
use crate::process::control::block::ProcessBlock;
use crate::process::control::block::SystemMessage;
use crate::process::control::local;
use crate::process::control::local::CurrentProcess;
use crate::process::control::type_name::public_type_name;
use crate::process::mailbox::queue::Queue;
use crate::process::mailbox::queue::Reader;
use crate::process::mailbox::throttle;
use crate::process::park::timer_thread;
use crate::reason::ExitReason;
use crate::sync::atomic::{AtomicIsize, Ordering};
use crate::unwind::drop_and_log;

/// What a process receives.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event<M> {
    /// A message that was sent to this process.
    Message(M),
    /// An exit signal that this process traps: a linked process exited, or another process called
    /// [`exit`](crate::process::exit) with the pid of this one.
    ///
    /// In a destructor that receives while its own process is exiting, `from` is the process itself.
    Exit {
        /// The process that exited, or that sent the signal.
        from: Pid,
        /// The reason.
        reason: ExitReason,
    },
    /// A monitored process exited.
    Down {
        /// Which monitor fired.
        monitor: MonitorRef,
        /// The pid or name that the monitor was created with.
        target: MonitorTarget,
        /// The reason.
        reason: ExitReason,
    },
}

impl<M> Event<M> {
    /// Returns the message, or `None` if the event is an `Exit` or a `Down`.
    pub fn into_message(self) -> Option<M> {
        match self {
            Self::Message(message) => Some(message),
            _ => None,
        }
    }
}

impl<M> From<SystemMessage> for Event<M> {
    fn from(message: SystemMessage) -> Self {
        match message {
            SystemMessage::Exit { from, reason } => Self::Exit { from, reason },
            SystemMessage::Down { monitor, target, reason } => Self::Down { monitor, target, reason },
        }
    }
}

/// The message type of processes without an inbox. It has no values, so nothing can be sent to them; and it is not
/// public, so no [`Address`](crate::process::Address) of such a process can be made.
pub(crate) enum NoMessages {}

/// An element of the queue. System messages are boxed so that it is as small as `M`: then more messages fit into a
/// cache line.
pub(crate) enum QueueItem<M> {
    Message(M),
    System(Box<SystemMessage>),
}

impl<M> From<QueueItem<M>> for Event<M> {
    fn from(item: QueueItem<M>) -> Self {
        match item {
            QueueItem::Message(message) => Self::Message(message),
            QueueItem::System(message) => (*message).into(),
        }
    }
}

/// The sending end of a mailbox, stored in the process' block.
pub(crate) type MailboxQueue<M> = Queue<QueueItem<M>>;

impl<M: Send + 'static> MailboxQueue<M> {
    /// Returns the mailbox of a process.
    ///
    /// # Errors
    /// The name of its message type, if that is not `M`.
    #[inline]
    pub(crate) fn downcast(block: &ProcessBlock) -> Result<&Self, &'static str> {
        // A downcast to the concrete type costs one comparison of type ids.
        block.any_mailbox.downcast_ref().ok_or_else(|| block.mailbox.message_type())
    }

    /// Adds a message to the mailbox, which must be that of `block`, without waking the process. Hands the message
    /// back if the process is exiting.
    #[inline]
    pub(crate) fn push_message(&self, block: &ProcessBlock, message: M) -> Result<(), M> {
        if block.is_exiting() {
            return Err(message);
        }
        self.push(QueueItem::Message(message)).map_err(|refused| match refused {
            QueueItem::Message(message) => message,
            QueueItem::System(_) => unreachable!("a message was sent"),
        })
    }
}

impl<M: Send + 'static> DynMailbox for MailboxQueue<M> {
    fn push_system(&self, message: SystemMessage) {
        // The queue is closed only after the process has exited, when it needs no notification.
        let _ = self.push(QueueItem::System(Box::new(message)));
    }
    fn len(&self) -> usize {
        Queue::len(self)
    }
    fn received(&self) -> usize {
        Queue::received(self)
    }
    fn message_type(&self) -> &'static str {
        public_type_name::<M>()
    }
}

/// The receiving end of a process' mailbox. Its body gets a reference; no other thread can use it.
///
/// Messages of one sender arrive in the order sent. A fatal exit signal takes effect before everything in the mailbox:
/// the next receive unwinds, and unread messages are dropped.
///
/// ```
/// use rethread::process::{self, Event, Inbox};
///
/// let adder = process::spawn_receiver(|inbox: &mut Inbox<u32>| {
///     let mut sum = 0;
///     while let Event::Message(n) = inbox.recv() {
///         sum += n;
///     }
///     println!("{sum}");
/// })?;
/// adder.send(1);
/// adder.send(2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Inbox<M> {
    block: Arc<ProcessBlock>,
    reader: Reader<QueueItem<M>>,
    /// Set while the body runs; spares the fast path a look-up in a thread-local.
    me: Option<Rc<CurrentProcess>>,
    /// Events that selective receives have passed over, in order of arrival.
    saved: VecDeque<Event<M>>,
    /// Keeps the inbox on the thread of its process.
    _not_send: PhantomData<*const ()>,
}

impl<M: Send + 'static> Inbox<M> {
    pub(crate) fn new(block: Arc<ProcessBlock>, reader: Reader<QueueItem<M>>) -> Self {
        Self { block, reader, me: None, saved: VecDeque::new(), _not_send: PhantomData }
    }

    /// Sets the current process before its body starts, and clears it (`None`) afterwards.
    pub(crate) fn bind(&mut self, me: Option<Rc<CurrentProcess>>) {
        self.me = me;
    }

    /// Returns the pid of the process that owns this inbox.
    pub fn pid(&self) -> Pid {
        self.block.pid
    }

    pub(crate) fn block(&self) -> &Arc<ProcessBlock> {
        &self.block
    }

    /// Waits for the next event.
    pub fn recv(&mut self) -> Event<M> {
        match self.recv_next(None) {
            Some(event) => event,
            None => unreachable!("a wait without a deadline ends only with an event"),
        }
    }

    /// Waits for the next event for at most `timeout`; `None` if none came. With a timeout of zero it returns an event
    /// only if one is in the mailbox.
    ///
    /// ```
    /// use std::time::Duration;
    /// use rethread::process::{self, Event, Inbox};
    ///
    /// process::attach_receiver(|inbox: &mut Inbox<&str>| {
    ///     inbox.address().send("hello");
    ///     assert_eq!(inbox.recv_timeout(Duration::from_secs(5)), Some(Event::Message("hello")));
    ///     assert_eq!(inbox.recv_timeout(Duration::from_millis(1)), None);
    /// })?;
    /// # Ok::<(), process::AttachError>(())
    /// ```
    pub fn recv_timeout(&mut self, timeout: Duration) -> Option<Event<M>> {
        self.recv_next(Some(timer_thread::deadline_after(timeout)))
    }

    /// Returns the next event if one is in the mailbox. Does not wait.
    pub fn try_recv(&mut self) -> Option<Event<M>> {
        self.recv_timeout(Duration::ZERO)
    }

    /// Waits for the first event for which `predicate` returns `true`. The others stay in the mailbox, in order.
    pub fn recv_where(&mut self, predicate: impl FnMut(&Event<M>) -> bool) -> Event<M> {
        match self.recv_matching(None, predicate) {
            Some(event) => event,
            None => unreachable!("a wait without a deadline ends only with an event"),
        }
    }

    /// Waits for the first event for which `predicate` returns `true`, like [`recv_where`](Self::recv_where), but for at
    /// most `timeout` in all: other events do not prolong the wait. Returns `None` if none came.
    ///
    /// ```
    /// use std::time::Duration;
    /// use rethread::process::{self, Event, Inbox};
    ///
    /// process::attach_receiver(|inbox: &mut Inbox<u32>| {
    ///     (1..=3).for_each(|n| inbox.address().send(n));
    ///     let is_even = |event: &Event<u32>| matches!(event, Event::Message(n) if n % 2 == 0);
    ///     assert_eq!(inbox.recv_where_timeout(Duration::from_secs(5), is_even), Some(Event::Message(2)));
    ///     assert_eq!(inbox.recv_where_timeout(Duration::from_millis(1), is_even), None);
    ///     assert_eq!((inbox.recv(), inbox.recv()), (Event::Message(1), Event::Message(3)));
    /// })?;
    /// # Ok::<(), process::AttachError>(())
    /// ```
    pub fn recv_where_timeout(
        &mut self,
        timeout: Duration,
        predicate: impl FnMut(&Event<M>) -> bool,
    ) -> Option<Event<M>> {
        self.recv_matching(Some(timer_thread::deadline_after(timeout)), predicate)
    }

    /// Returns the number of events in the mailbox.
    pub fn len(&self) -> usize {
        self.block.message_queue_len()
    }

    /// Returns `true` if no event is in the mailbox.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Receives the next event without selective matching; `None` if the deadline passes first. This is the fast path of
    /// servers; `recv_matching` is the general case.
    pub(crate) fn recv_next(&mut self, deadline: Option<Instant>) -> Option<Event<M>> {
        // Pending exit signals, masked signals and saved events need the general case.
        let fast_path = self.me.as_ref().filter(|me| !me.block.needs_attention() && !me.signals_masked());
        if let (Some(me), true) = (fast_path, self.saved.is_empty()) {
            let item = match self.reader.pop() {
                Some(item) => item,
                None => {
                    // No sender waits for an answer of a process that only receives: let messages accumulate.
                    if me.is_sink() {
                        throttle::delay_for_batching(deadline);
                    }
                    wait_for_item(&self.block, &mut self.reader, deadline)?
                }
            };
            me.note_receive();
            let event = Event::from(item);
            // A kill may arrive between the first check and the pop. The sender of this message may have sent it after
            // the kill, so it must not be handled.
            if matches!(event, Event::Message(_)) && !self.block.is_exiting() {
                return Some(event);
            }
            // A `Down` may be flushed, and a process that is exiting must unwind: the general case does both.
            self.block.saved_count.fetch_add(1, Ordering::Relaxed);
            self.saved.push_back(event);
        }
        self.recv_matching(deadline, |_| true)
    }

    /// Receives the first event that `predicate` accepts; `None` if the deadline passes first.
    fn recv_matching(
        &mut self,
        deadline: Option<Instant>,
        mut predicate: impl FnMut(&Event<M>) -> bool,
    ) -> Option<Event<M>> {
        if let Some(me) = local::get() {
            me.checkpoint();
            // A destructor of an exiting process receives: it gets the exit reason at once, since it must neither
            // unwind nor wait.
            if me.signals_masked() {
                return Some(Event::Exit { from: self.block.pid, reason: me.exit_reason() });
            }
        }
        // Events saved by earlier receives are older than everything in the queue.
        let mut index = 0;
        while index < self.saved.len() {
            if self.is_flushed(&self.saved[index]) {
                self.saved.remove(index); // `demonitor_flush` has already subtracted it from `saved_count`
            } else if predicate(&self.saved[index]) {
                self.block.saved_count.fetch_sub(1, Ordering::Relaxed);
                return self.saved.remove(index).map(|event| self.on_delivered(event));
            } else {
                index += 1;
            }
        }
        loop {
            let item = self.reader.pop();
            let event = item.or_else(|| wait_for_item(&self.block, &mut self.reader, deadline))?.into();
            if self.is_flushed(&event) {
                // `demonitor_flush` has subtracted it, and the pop has shortened the queue: count it only once.
                self.block.saved_count.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            // The guard saves the event unless it is taken: if the predicate returns `false` or panics, or the thread
            // unwinds below.
            let mut in_flight =
                InFlight { event: Some(event), saved: &mut self.saved, saved_count: &self.block.saved_count };
            // An exit signal may have arrived since the checkpoint: the event may have been sent after it.
            if self.block.is_exiting() {
                exception::unwind_on_exit_signal();
            }
            if in_flight.event.as_ref().is_some_and(&mut predicate) {
                let event = in_flight.event.take();
                drop(in_flight);
                return event.map(|event| self.on_delivered(event));
            }
        }
    }

    /// Returns `true` for the `Down` of a monitor that was removed after it fired: the receiver must not see it.
    fn is_flushed(&self, event: &Event<M>) -> bool {
        match event {
            Event::Down { monitor, .. } => !self.block.lock().monitoring.contains_key(monitor),
            _ => false,
        }
    }

    /// Removes the fired monitor of a `Down` that is about to be returned.
    fn on_delivered(&self, event: Event<M>) -> Event<M> {
        // A fired monitor stays in the map until now, so that `demonitor_flush` can still discard its `Down`.
        if let Event::Down { monitor, .. } = &event {
            let fired = self.block.lock().monitoring.remove(monitor);
            debug_assert!(matches!(fired, Some(Monitoring::Fired)));
        }
        event
    }

    fn pop(&mut self) -> Option<Event<M>> {
        self.saved.pop_front().or_else(|| self.reader.pop().map(Event::from))
    }

    /// Drops unread events one by one: each may have a destructor that panics.
    pub(crate) fn clear(&mut self) {
        while let Some(event) = self.pop() {
            drop_and_log("unread message", event);
        }
    }
}

/// Waits until the queue has an item or the deadline has passed: spins first, then parks.
fn wait_for_item<T>(block: &ProcessBlock, reader: &mut Reader<T>, deadline: Option<Instant>) -> Option<T> {
    // A spinning reader sees an empty queue without a lock. Before it parks it must take the lock: see `pop_before_park`.
    local::spin(deadline, || reader.pop()).or_else(|| {
        let item = local::park(deadline, || reader.pop_before_park());
        block.activity.touch();
        item
    })
}

/// A guard for an event that was popped from the queue. Its drop moves the event to `saved`, unless it was taken: so a
/// predicate that panics loses no message, and no message is dropped while the thread unwinds.
struct InFlight<'a, M> {
    event: Option<Event<M>>,
    saved: &'a mut VecDeque<Event<M>>,
    saved_count: &'a AtomicIsize,
}

impl<M> Drop for InFlight<'_, M> {
    fn drop(&mut self) {
        if let Some(event) = self.event.take() {
            self.saved_count.fetch_add(1, Ordering::Relaxed);
            self.saved.push_back(event);
        }
    }
}

impl<M> fmt::Debug for Inbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("pid", &self.block.pid).finish_non_exhaustive()
    }
}
