//! The typed mailbox of a process: receive, with a time limit, selectively. The body of every process
//! gets one; servers loop over theirs.

use std::any::type_name;
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
use crate::process::mailbox::flow_control;
use crate::process::mailbox::queue::Queue;
use crate::process::mailbox::queue::Reader;
use crate::process::park::timer_thread;
use crate::reason::ExitReason;
use crate::sync::atomic::{AtomicIsize, Ordering};
use crate::unwind::catch_and_log;

/// What a process receives.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<M> {
    /// Somebody sent this.
    Message(M),
    /// A linked process ended, or somebody called [`exit`](crate::process::exit) on this one, and this one
    /// traps exits.
    ///
    /// In a destructor that receives while its own process is exiting, `from` is the process itself.
    Exit {
        /// The process that ended, or that sent the signal.
        from: Pid,
        /// The reason.
        reason: ExitReason,
    },
    /// A monitored process ended.
    Down {
        /// Which monitor fired.
        monitor: MonitorRef,
        /// What it was set on.
        target: MonitorTarget,
        /// The reason.
        reason: ExitReason,
    },
}

impl<M> Event<M> {
    /// The message, if it is one.
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

/// What is in the queue: as small as the message, which decides how many fit into a cache line.
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

impl<M> From<Event<M>> for QueueItem<M> {
    fn from(event: Event<M>) -> Self {
        match event {
            Event::Message(message) => Self::Message(message),
            Event::Exit { from, reason } => Self::System(Box::new(SystemMessage::Exit { from, reason })),
            Event::Down { monitor, target, reason } => {
                Self::System(Box::new(SystemMessage::Down { monitor, target, reason }))
            }
        }
    }
}

/// The sending end of a mailbox, as the process' block keeps it.
pub(crate) type MailboxQueue<M> = Queue<QueueItem<M>>;

impl<M: Send + 'static> MailboxQueue<M> {
    /// The mailbox of a process, if it takes messages of this type; else what it takes.
    #[inline]
    pub(crate) fn downcast(block: &ProcessBlock) -> Result<&Self, &'static str> {
        block.any_mailbox.downcast_ref().ok_or_else(|| block.mailbox.message_type())
    }

    /// Puts a message into the mailbox, which must be that of `block`; hands it back if that takes no more. Waking
    /// it is the caller's.
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
    fn notify(&self, message: SystemMessage) {
        // Refused only by a process that has ended, which needs no notice.
        let _ = self.push(QueueItem::System(Box::new(message)));
    }
    fn len(&self) -> usize {
        Queue::len(self)
    }
    fn received(&self) -> usize {
        Queue::received(self)
    }
    fn message_type(&self) -> &'static str {
        type_name::<M>()
    }
}

/// The mailbox of a process: only the process itself has it, and only while its body runs.
///
/// Messages of one sender arrive in the order sent. A fatal exit signal overtakes everything: the next
/// call unwinds, and what is unread is dropped.
///
/// ```
/// use rethread::process::{self, Event};
///
/// let adder = process::spawn::<u32>(|inbox| {
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
    /// The process as its own thread sees it, while its body runs.
    me: Option<Rc<CurrentProcess>>,
    /// What selective receives have passed over, in order of arrival.
    saved: VecDeque<Event<M>>,
    /// An inbox stays with its thread.
    _not_send: PhantomData<*const ()>,
}

impl<M: Send + 'static> Inbox<M> {
    pub(crate) fn new(block: Arc<ProcessBlock>, reader: Reader<QueueItem<M>>) -> Self {
        Self { block, reader, me: None, saved: VecDeque::new(), _not_send: PhantomData }
    }

    /// The body begins, or is over.
    pub(crate) fn bind(&mut self, me: Option<Rc<CurrentProcess>>) {
        self.me = me;
    }

    /// The process this is the mailbox of.
    pub fn pid(&self) -> Pid {
        self.block.pid
    }

    pub(crate) fn block(&self) -> &Arc<ProcessBlock> {
        &self.block
    }

    /// Waits for the next event.
    pub fn recv(&mut self) -> Event<M> {
        match self.recv_item(None) {
            Some(item) => item.into(),
            None => unreachable!("a wait without a limit ends only with an event"),
        }
    }

    /// Waits for the next event for at most `limit`. With a limit of zero it looks at what is there.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Option<Event<M>> {
        self.recv_item(Some(timer_thread::deadline_after(timeout))).map(Event::from)
    }

    /// The next event, if one is there.
    pub fn try_recv(&mut self) -> Option<Event<M>> {
        self.recv_timeout(Duration::ZERO)
    }

    /// Waits for the first event that `wanted` accepts; the others stay where they are, in order.
    pub fn recv_where(&mut self, predicate: impl FnMut(&Event<M>) -> bool) -> Event<M> {
        match self.recv_matching(None, predicate) {
            Some(event) => event,
            None => unreachable!("a wait without a limit ends only with an event"),
        }
    }

    /// As [`recv_where`](Self::recv_where), for at most `limit` in all: unwanted events do not prolong it.
    pub fn recv_where_timeout(
        &mut self,
        timeout: Duration,
        predicate: impl FnMut(&Event<M>) -> bool,
    ) -> Option<Event<M>> {
        self.recv_matching(Some(timer_thread::deadline_after(timeout)), predicate)
    }

    /// How many events wait to be received.
    pub fn len(&self) -> usize {
        self.block.message_queue_len()
    }

    /// Whether nothing waits to be received.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whatever comes next, as it is in the queue: spares servers, which do not look for anything in particular, most of
    /// what `next` does.
    pub(crate) fn recv_item(&mut self, deadline: Option<Instant>) -> Option<QueueItem<M>> {
        let fast_path = self.me.as_ref().filter(|me| !me.block.needs_attention() && !me.signals_masked());
        if let (Some(me), true) = (fast_path, self.saved.is_empty()) {
            let item = match self.reader.pop() {
                Some(item) => item,
                None => {
                    if me.is_sink() {
                        flow_control::delay_for_batching(deadline);
                    }
                    wait_for_item(&self.block, &mut self.reader, deadline)?
                }
            };
            me.note_receive();
            if matches!(item, QueueItem::Message(_)) && !self.block.is_exiting() {
                return Some(item);
            }
            self.block.saved_count.fetch_add(1, Ordering::Relaxed);
            self.saved.push_back(item.into());
        }
        self.recv_matching(deadline, |_| true).map(QueueItem::from)
    }

    fn recv_matching(
        &mut self,
        deadline: Option<Instant>,
        mut predicate: impl FnMut(&Event<M>) -> bool,
    ) -> Option<Event<M>> {
        if let Some(me) = local::get() {
            me.checkpoint();
            if me.signals_masked() {
                return Some(Event::Exit { from: self.block.pid, reason: me.exit_reason() });
            }
        }
        let mut index = 0;
        while index < self.saved.len() {
            if self.is_flushed(&self.saved[index]) {
                self.saved.remove(index); // it has not been counted since it was flushed
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
                self.block.saved_count.fetch_add(1, Ordering::Relaxed); // the queue is shorter now
                continue;
            }
            let mut in_flight =
                InFlight { event: Some(event), saved: &mut self.saved, saved_count: &self.block.saved_count };
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

    /// Whether this is the `Down` of a monitor that was removed with its `Down` on the way.
    fn is_flushed(&self, event: &Event<M>) -> bool {
        match event {
            Event::Down { monitor, .. } => !self.block.lock().monitoring.contains_key(monitor),
            _ => false,
        }
    }

    fn on_delivered(&self, event: Event<M>) -> Event<M> {
        if let Event::Down { monitor, .. } = &event {
            let fired = self.block.lock().monitoring.remove(monitor);
            debug_assert!(matches!(fired, Some(Monitoring::Fired)));
        }
        event
    }

    fn pop(&mut self) -> Option<Event<M>> {
        self.saved.pop_front().or_else(|| self.reader.pop().map(Event::from))
    }

    /// Drops what is unread, one by one: each destructor is the user's.
    pub(crate) fn clear(&mut self) {
        while let Some(event) = self.pop() {
            catch_and_log("the destructor of an unread message", move || drop(event));
        }
    }
}

/// Blocks until something is in the queue or the deadline is past.
fn wait_for_item<T>(block: &ProcessBlock, reader: &mut Reader<T>, deadline: Option<Instant>) -> Option<T> {
    local::spin(deadline, || reader.pop()).or_else(|| {
        let item = local::park(deadline, || reader.pop_before_park());
        block.activity.touch();
        item
    })
}

/// An event out of the queue. Unless it is taken it is put aside, also if what looks at it unwinds: no
/// message is lost, and none is dropped in the middle of an unwinding.
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
