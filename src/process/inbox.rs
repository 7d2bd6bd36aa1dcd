//! The typed mailbox of a process: receive, with a time limit, selectively. The body of every process
//! gets one; servers loop over theirs.

use std::any::type_name;
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::pid::{MonitorRef, Pid};
use crate::process::block::{Block, Mailbox, Monitoring, Notice, Target};
use crate::process::me::Me;
use crate::process::queue::{Queue, Reader};
use crate::process::{clock, linger, me};
use crate::reason::ExitReason;
use crate::sync::atomic::{AtomicIsize, Ordering};
use crate::unwind::contain;
use crate::unwound;

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
        target: Target,
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

impl<M> From<Notice> for Event<M> {
    fn from(notice: Notice) -> Self {
        match notice {
            Notice::Exit { from, reason } => Self::Exit { from, reason },
            Notice::Down { monitor, target, reason } => Self::Down { monitor, target, reason },
        }
    }
}

/// What is in the queue: as small as the message, which decides how many fit into a cache line.
pub(crate) enum Item<M> {
    Message(M),
    Notice(Box<Notice>),
}

impl<M> From<Item<M>> for Event<M> {
    fn from(item: Item<M>) -> Self {
        match item {
            Item::Message(message) => Self::Message(message),
            Item::Notice(notice) => (*notice).into(),
        }
    }
}

impl<M> From<Event<M>> for Item<M> {
    fn from(event: Event<M>) -> Self {
        match event {
            Event::Message(message) => Self::Message(message),
            Event::Exit { from, reason } => Self::Notice(Box::new(Notice::Exit { from, reason })),
            Event::Down { monitor, target, reason } => {
                Self::Notice(Box::new(Notice::Down { monitor, target, reason }))
            }
        }
    }
}

/// The sending end of a mailbox, as the process' block keeps it.
pub(crate) type Post<M> = Queue<Item<M>>;

impl<M: Send + 'static> Post<M> {
    /// The mailbox of a process, if it takes messages of this type; else what it takes.
    #[inline]
    pub(crate) fn of(block: &Block) -> Result<&Self, &'static str> {
        block.post.downcast_ref().ok_or_else(|| block.mailbox.message_type())
    }

    /// Puts a message into the mailbox, which must be that of `block`; hands it back if that takes no more. Waking
    /// it is the caller's.
    #[inline]
    pub(crate) fn put(&self, block: &Block, message: M) -> Result<(), M> {
        if block.doomed() {
            return Err(message);
        }
        self.push(Item::Message(message)).map_err(|refused| match refused {
            Item::Message(message) => message,
            Item::Notice(_) => unreachable!("a message was sent"),
        })
    }
}

impl<M: Send + 'static> Mailbox for Post<M> {
    fn notify(&self, notice: Notice) {
        // Refused only by a process that has ended, which needs no notice.
        let _ = self.push(Item::Notice(Box::new(notice)));
    }
    fn len(&self) -> usize {
        Queue::len(self)
    }
    fn taken(&self) -> usize {
        Queue::taken(self)
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
    block: Arc<Block>,
    reader: Reader<Item<M>>,
    /// The process as its own thread sees it, while its body runs.
    me: Option<Rc<Me>>,
    /// What selective receives have passed over, in order of arrival.
    saved: VecDeque<Event<M>>,
    /// An inbox stays with its thread.
    stays: PhantomData<*const ()>,
}

impl<M: Send + 'static> Inbox<M> {
    pub(crate) fn new(block: Arc<Block>, reader: Reader<Item<M>>) -> Self {
        Self { block, reader, me: None, saved: VecDeque::new(), stays: PhantomData }
    }

    /// The body begins, or is over.
    pub(crate) fn belongs_to(&mut self, me: Option<Rc<Me>>) {
        self.me = me;
    }

    /// The process this is the mailbox of.
    pub fn pid(&self) -> Pid {
        self.block.pid
    }

    pub(crate) fn block(&self) -> &Arc<Block> {
        &self.block
    }

    /// Waits for the next event.
    pub fn recv(&mut self) -> Event<M> {
        match self.receive(None) {
            Some(item) => item.into(),
            None => unreachable!("a wait without a limit ends only with an event"),
        }
    }

    /// Waits for the next event for at most `limit`. With a limit of zero it looks at what is there.
    pub fn recv_timeout(&mut self, limit: Duration) -> Option<Event<M>> {
        self.receive(Some(clock::after(limit))).map(Event::from)
    }

    /// The next event, if one is there.
    pub fn try_recv(&mut self) -> Option<Event<M>> {
        self.recv_timeout(Duration::ZERO)
    }

    /// Waits for the first event that `wanted` accepts; the others stay where they are, in order.
    pub fn recv_where(&mut self, wanted: impl FnMut(&Event<M>) -> bool) -> Event<M> {
        match self.next(None, wanted) {
            Some(event) => event,
            None => unreachable!("a wait without a limit ends only with an event"),
        }
    }

    /// As [`recv_where`](Self::recv_where), for at most `limit` in all: unwanted events do not prolong it.
    pub fn recv_where_timeout(
        &mut self,
        limit: Duration,
        wanted: impl FnMut(&Event<M>) -> bool,
    ) -> Option<Event<M>> {
        self.next(Some(clock::after(limit)), wanted)
    }

    /// How many events wait to be received.
    pub fn len(&self) -> usize {
        self.block.unread()
    }

    /// Whether nothing waits to be received.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whatever comes next, as it is in the queue: spares servers, which do not look for anything in particular, most of
    /// what `next` does.
    pub(crate) fn receive(&mut self, deadline: Option<Instant>) -> Option<Item<M>> {
        let plain = self.me.as_ref().filter(|me| !me.block.disturbed() && !me.neutral());
        if let (Some(me), true) = (plain, self.saved.is_empty()) {
            let item = match self.reader.pop() {
                Some(item) => item,
                None => {
                    if me.is_sink() {
                        linger::let_gather(deadline);
                    }
                    wait(&self.block, &mut self.reader, deadline)?
                }
            };
            me.receives();
            if matches!(item, Item::Message(_)) && !self.block.doomed() {
                return Some(item);
            }
            self.block.aside.fetch_add(1, Ordering::Relaxed);
            self.saved.push_back(item.into());
        }
        self.next(deadline, |_| true).map(Item::from)
    }

    fn next(
        &mut self,
        deadline: Option<Instant>,
        mut wanted: impl FnMut(&Event<M>) -> bool,
    ) -> Option<Event<M>> {
        if let Some(me) = me::get() {
            me.checkpoint();
            if me.neutral() {
                return Some(Event::Exit { from: self.block.pid, reason: me.exiting_because() });
            }
        }
        let mut seen = 0;
        while seen < self.saved.len() {
            if self.flushed(&self.saved[seen]) {
                self.saved.remove(seen); // it has not been counted since it was flushed
            } else if wanted(&self.saved[seen]) {
                self.block.aside.fetch_sub(1, Ordering::Relaxed);
                return self.saved.remove(seen).map(|event| self.taken(event));
            } else {
                seen += 1;
            }
        }
        loop {
            let item = self.reader.pop();
            let event = item.or_else(|| wait(&self.block, &mut self.reader, deadline))?.into();
            if self.flushed(&event) {
                self.block.aside.fetch_add(1, Ordering::Relaxed); // the queue is shorter now
                continue;
            }
            let mut popped = Popped { event: Some(event), saved: &mut self.saved, aside: &self.block.aside };
            if self.block.doomed() {
                unwound::told();
            }
            if popped.event.as_ref().is_some_and(&mut wanted) {
                let event = popped.event.take();
                drop(popped);
                return event.map(|event| self.taken(event));
            }
        }
    }

    /// Whether this is the `Down` of a monitor that was removed with its `Down` on the way.
    fn flushed(&self, event: &Event<M>) -> bool {
        match event {
            Event::Down { monitor, .. } => !self.block.lock().monitoring.contains_key(monitor),
            _ => false,
        }
    }

    fn taken(&self, event: Event<M>) -> Event<M> {
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
            contain("the destructor of an unread message", move || drop(event));
        }
    }
}

/// Blocks until something is in the queue or the deadline is past.
fn wait<T>(block: &Block, reader: &mut Reader<T>, deadline: Option<Instant>) -> Option<T> {
    me::linger(deadline, || reader.pop()).or_else(|| {
        let item = me::park(deadline, || reader.pop_or_rest());
        block.doing.wakes();
        item
    })
}

/// An event out of the queue. Unless it is taken it is put aside, also if what looks at it unwinds: no
/// message is lost, and none is dropped in the middle of an unwinding.
struct Popped<'a, M> {
    event: Option<Event<M>>,
    saved: &'a mut VecDeque<Event<M>>,
    aside: &'a AtomicIsize,
}

impl<M> Drop for Popped<'_, M> {
    fn drop(&mut self) {
        if let Some(event) = self.event.take() {
            self.aside.fetch_add(1, Ordering::Relaxed);
            self.saved.push_back(event);
        }
    }
}

impl<M> fmt::Debug for Inbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("pid", &self.block.pid).finish_non_exhaustive()
    }
}
