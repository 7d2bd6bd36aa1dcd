//! The typed mailbox of a process: receive, with a time limit, selectively. The body of every process
//! gets one; servers loop over theirs.

use std::any::{Any, type_name};
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::pid::{MonitorRef, Pid};
use crate::process::block::{Block, Mailbox, Monitoring, Notice, Target};
use crate::process::{clock, me};
use crate::reason::ExitReason;
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

/// The sending end, as the process' block keeps it.
pub(crate) struct Post<M> {
    sender: Sender<Event<M>>,
}

impl<M> Post<M> {
    /// Puts a message into the queue; hands it back if the process is gone. Waking is the caller's.
    pub(crate) fn push(&self, message: M) -> Result<(), M> {
        self.sender.send(Event::Message(message)).map_err(|refused| match refused.into_inner() {
            Event::Message(message) => message,
            _ => unreachable!("a message was sent"),
        })
    }
}

impl<M: Send + 'static> Mailbox for Post<M> {
    fn push(&self, notice: Notice) {
        // Refused only by a process that has ended, which needs no notice.
        let _ = self.sender.send(notice.into());
    }
    fn len(&self) -> usize {
        self.sender.len()
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn message_type(&self) -> &'static str {
        type_name::<M>()
    }
}

/// Both ends of a new mailbox.
pub(crate) fn mailbox<M>() -> (Post<M>, Receiver<Event<M>>) {
    let (sender, receiver) = unbounded();
    (Post { sender }, receiver)
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
    receiver: Receiver<Event<M>>,
    /// What selective receives have passed over, in order of arrival.
    saved: VecDeque<Event<M>>,
    /// An inbox stays with its thread.
    stays: PhantomData<*const ()>,
}

impl<M: Send + 'static> Inbox<M> {
    pub(crate) fn new(block: Arc<Block>, receiver: Receiver<Event<M>>) -> Self {
        Self { block, receiver, saved: VecDeque::new(), stays: PhantomData }
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
        self.recv_where(|_| true)
    }

    /// Waits for the next event for at most `limit`. With a limit of zero it looks at what is there.
    pub fn recv_timeout(&mut self, limit: Duration) -> Option<Event<M>> {
        self.next(Some(clock::after(limit)), |_| true)
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
            let event = me::wait(deadline, || self.receiver.try_recv().ok())?;
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

    /// Drops what is unread, one by one: each destructor is the user's.
    pub(crate) fn clear(&mut self) {
        while let Some(event) = self.saved.pop_front().or_else(|| self.receiver.try_recv().ok()) {
            contain("the destructor of an unread message", move || drop(event));
        }
    }
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
