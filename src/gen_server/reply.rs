//! The answer to a call: the slot it goes to, the handle that fills it, and what a callback says happens
//! next. Servers answer with these; `call` waits on the slot.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::process::control::block::ExitListener;
use crate::process::control::block::ProcessBlock;
use crate::process::control::local;
use crate::process::control::local::DroppedCaller;
use crate::process::park::parker::Parker;
use crate::reason::ExitReason;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::unwind::drop_and_log;

/// A type without values, for servers that take no calls or no casts: `type Cast = Never`.
///
/// A handler for it is one line: `match cast {}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Never {}

/// What became of a call so far.
enum ReplyState<R> {
    Pending,
    /// Given by the server, and sent once it is clear whether the server goes on.
    Unsent(R),
    Sent(R),
    /// The reply handle was dropped.
    NoReply,
    /// The server ended.
    Exited(ExitReason),
    /// The caller waits no more.
    Closed,
}

/// What a caller finds in its slot.
pub(crate) enum Outcome<R> {
    Answered(R),
    NoReply,
    Exited(ExitReason),
}

/// Where one answer goes. Only the first counts; after the caller has left, none does.
pub(crate) struct ReplySlot<R> {
    state: Mutex<ReplyState<R>>,
    /// Whether there is anything to look at: spares a waiting thread the lock.
    is_ready: AtomicBool,
    caller: CallerThread,
}

/// Who waits for an answer.
enum CallerThread {
    Process(Arc<ProcessBlock>),
    Foreign(Arc<Parker>),
}

impl<R> ReplySlot<R> {
    /// A slot for the calling thread.
    pub(crate) fn new() -> Arc<Self> {
        let caller = match local::get() {
            Some(me) => CallerThread::Process(Arc::clone(&me.block)),
            None => CallerThread::Foreign(local::parker()),
        };
        Arc::new(Self { state: Mutex::new(ReplyState::Pending), is_ready: AtomicBool::new(false), caller })
    }

    /// What there is, once there is something.
    pub(crate) fn take(&self) -> Option<Outcome<R>> {
        if !self.is_ready.load(Ordering::Acquire) {
            return None;
        }
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, ReplyState::Closed) {
            ReplyState::Sent(value) => Some(Outcome::Answered(value)),
            ReplyState::Exited(reason) => Some(Outcome::Exited(reason)),
            ReplyState::NoReply => {
                *state = ReplyState::NoReply; // may yet become Died
                Some(Outcome::NoReply)
            }
            other => {
                *state = other;
                None
            }
        }
    }

    /// The caller waits no more: whatever comes is dropped.
    pub(crate) fn close(&self) {
        let late = std::mem::replace(&mut *self.state.lock(), ReplyState::Closed);
        // Perhaps in the middle of an unwinding, where a panic would abort the program.
        drop_and_log("late reply", late);
    }

    /// The caller has its answer: it waits for nobody any more, though its thread may not have noticed yet. To
    /// be called under the lock of the answer, so that it is this call the mark belongs to.
    fn remove_wait_edge(&self) {
        if let CallerThread::Process(caller) = &self.caller {
            caller.waiting_on.store(0, Ordering::Relaxed);
        }
    }

    fn wake(&self) {
        self.is_ready.store(true, Ordering::Release);
        match &self.caller {
            CallerThread::Process(caller) => caller.parker.unpark(),
            CallerThread::Foreign(waiter) => waiter.unpark(),
        }
    }

    fn set_value(&self, value: R) {
        let mut state = self.state.lock();
        let refused = match *state {
            ReplyState::Pending => {
                *state = ReplyState::Unsent(value);
                if let Some(me) = local::get() {
                    me.note_send();
                    if let CallerThread::Process(caller) = &self.caller {
                        me.clear_current_caller(caller.pid);
                    }
                }
                None
            }
            _ => Some(value),
        };
        drop(state);
        drop(refused);
    }
}

/// A slot as those see it who do not know its type.
pub(crate) trait Publish: Send + Sync {
    /// Sends what is held.
    fn publish(&self);
}

impl<R: Send> Publish for ReplySlot<R> {
    fn publish(&self) {
        let mut state = self.state.lock();
        let sent = match std::mem::replace(&mut *state, ReplyState::Closed) {
            ReplyState::Unsent(value) => {
                *state = ReplyState::Sent(value);
                self.remove_wait_edge();
                true
            }
            other => {
                *state = other;
                false
            }
        };
        drop(state);
        if sent {
            self.wake();
        }
    }
}

impl<R: Send> DroppedCaller for ReplySlot<R> {
    fn notify_dropped(&self) {
        let mut state = self.state.lock();
        let pending = matches!(*state, ReplyState::Pending);
        if pending {
            *state = ReplyState::NoReply;
            self.remove_wait_edge();
        }
        drop(state);
        if pending {
            self.wake();
        }
    }
}

impl<R: Send> ExitListener for ReplySlot<R> {
    fn on_exit(&self, reason: &ExitReason) {
        let mut state = self.state.lock();
        let waiting = matches!(*state, ReplyState::Pending | ReplyState::Unsent(_) | ReplyState::NoReply);
        let unsent = if waiting {
            Some(std::mem::replace(&mut *state, ReplyState::Exited(reason.clone())))
        } else {
            None
        };
        drop(state);
        // On the thread that buries the server, perhaps not its own: a panic must not get into the burial.
        drop_and_log("unsent reply", unsent);
        if waiting {
            self.wake();
        }
    }
}

/// The right, and the duty, to answer one call with an `R`: Erlang's `From`.
///
/// It arrives inside the call's message. [`reply`](Self::reply) gives the answer and is what the handler
/// returns; [`reply_now`](Self::reply_now) gives it from anywhere, now or later. Dropped unanswered, the caller gets
/// [`CallError::NoReply`](crate::CallError::NoReply) at once.
///
/// A forgotten reply does not compile (`E0308`, mismatched types):
///
/// ```compile_fail,E0308
/// # use rethread::prelude::*;
/// # pub struct Counter { n: i64 }
/// pub enum Ask { Get(Caller<i64>), Add(i64, Caller<i64>) }
/// # impl GenServer for Counter {
/// # type Args = (); type Call = Ask; type Cast = Never;
/// # fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Counter { n: 0 }) }
/// # fn handle_cast(&mut self, cast: Never, _: &mut Context<Self>) -> Next { match cast {} }
/// fn handle_call(&mut self, ask: Ask, _: &mut Context<Self>) -> Next {
///     match ask {
///         Ask::Get(from) => from.reply(self.n),
///         Ask::Add(k, from) => { self.n += k; } // expected `Next`, found `()`
///     }
/// }
/// # }
/// ```
///
/// nor does a reply of the wrong type (`E0308`):
///
/// ```compile_fail,E0308
/// # use rethread::prelude::*;
/// # pub struct Counter { n: i64 }
/// pub enum Ask { Get(Caller<i64>) }
/// # impl GenServer for Counter {
/// # type Args = (); type Call = Ask; type Cast = Never;
/// # fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Counter { n: 0 }) }
/// # fn handle_cast(&mut self, cast: Never, _: &mut Context<Self>) -> Next { match cast {} }
/// fn handle_call(&mut self, ask: Ask, _: &mut Context<Self>) -> Next {
///     match ask { Ask::Get(from) => from.reply("many") } // expected `i64`, found `&str`
/// }
/// # }
/// ```
///
/// nor a double reply (`E0382`, use of moved value):
///
/// ```compile_fail,E0382
/// # use rethread::prelude::*;
/// # pub struct Counter { n: i64 }
/// pub enum Ask { Get(Caller<i64>) }
/// # impl GenServer for Counter {
/// # type Args = (); type Call = Ask; type Cast = Never;
/// # fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Counter { n: 0 }) }
/// # fn handle_cast(&mut self, cast: Never, _: &mut Context<Self>) -> Next { match cast {} }
/// fn handle_call(&mut self, ask: Ask, _: &mut Context<Self>) -> Next {
///     match ask { Ask::Get(from) => { from.reply_now(1); from.reply(2) } } // use of moved value
/// }
/// # }
/// ```
///
/// nor a missing arm (`E0004`, non-exhaustive patterns):
///
/// ```compile_fail,E0004
/// # use rethread::prelude::*;
/// # pub struct Counter { n: i64 }
/// pub enum Ask { Get(Caller<i64>), Add(i64, Caller<i64>) }
/// # impl GenServer for Counter {
/// # type Args = (); type Call = Ask; type Cast = Never;
/// # fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Counter { n: 0 }) }
/// # fn handle_cast(&mut self, cast: Never, _: &mut Context<Self>) -> Next { match cast {} }
/// fn handle_call(&mut self, ask: Ask, _: &mut Context<Self>) -> Next {
///     match ask { Ask::Get(from) => from.reply(self.n) } // `Ask::Add(_, _)` not covered
/// }
/// # }
/// ```
#[must_use = "dropped unanswered, the caller gets an error"]
pub struct Caller<R: Send + 'static> {
    slot: Option<Arc<ReplySlot<R>>>,
}

impl<R: Send + 'static> Caller<R> {
    pub(crate) fn new(slot: Arc<ReplySlot<R>>) -> Self {
        Self { slot: Some(slot) }
    }

    /// Answers, and goes on waiting for messages: what a handler returns. The caller gets the answer when
    /// the handler has returned; with [`and_stop`](Next::and_stop) when `terminate` has.
    pub fn reply(mut self, value: R) -> Next {
        local::checkpoint();
        // What a zombie says does not count: its handle is dropped unanswered, which lets the caller know.
        let slot = if is_zombie() { None } else { self.slot.take() };
        if let Some(slot) = &slot {
            slot.set_value(value);
        }
        Next {
            reply: PublishOnDrop(slot.map(|slot| slot as Arc<dyn Publish>)),
            action: NextAction::Wait(None),
        }
    }

    /// Answers at once, from any thread: for a reply that was postponed, or comes from elsewhere.
    ///
    /// An answer nobody waits for any more is dropped.
    pub fn reply_now(self, value: R) {
        local::checkpoint();
        self.reply_uninterruptible(value);
    }

    /// As `send`, but not a place where the process can be ended.
    pub(crate) fn reply_uninterruptible(mut self, value: R) {
        if is_zombie() {
            return; // and dropped unanswered
        }
        if let Some(slot) = self.slot.take() {
            slot.set_value(value);
            slot.publish();
        }
    }
}

/// Whether nothing this thread says counts any more.
fn is_zombie() -> bool {
    local::get().is_some_and(|me| me.is_zombie())
}

impl<R: Send + 'static> Drop for Caller<R> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            local::on_caller_dropped(slot);
        }
    }
}

impl<R: Send + 'static> fmt::Debug for Caller<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Caller")
    }
}

/// An answer that is sent when this is published or dropped.
struct PublishOnDrop(Option<Arc<dyn Publish>>);

impl Drop for PublishOnDrop {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            slot.publish();
        }
    }
}

/// What a server does after a callback.
pub(crate) enum NextAction {
    Wait(Option<Duration>),
    Continue,
    Stop(ExitReason),
}

/// What a callback returns: what happens next.
///
/// | Elixir | here |
/// | --- | --- |
/// | `{:reply, value, state}` | `from.reply(value)` |
/// | `{:reply, value, state, timeout}` | `from.reply(value).timeout(..)` |
/// | `{:reply, value, state, {:continue, _}}` | `from.reply(value).and_continue()` |
/// | `{:stop, reason, value, state}` | `from.reply(value).and_stop(reason)` |
/// | `{:noreply, state}` | `Next::wait()` |
/// | `{:stop, reason, state}` | `Next::stop(reason)` |
#[must_use = "a callback must return what happens next"]
pub struct Next {
    reply: PublishOnDrop,
    action: NextAction,
}

impl Next {
    /// Wait for the next message.
    pub fn wait() -> Self {
        Self { reply: PublishOnDrop(None), action: NextAction::Wait(None) }
    }

    /// Stop: `terminate` runs, then the process ends with the reason.
    pub fn stop(reason: impl Into<ExitReason>) -> Self {
        Self { reply: PublishOnDrop(None), action: NextAction::Stop(reason.into()) }
    }

    /// If no message comes within this time, [`Info::Timeout`](crate::Info::Timeout) does, once. Any message
    /// cancels it. With a time of zero a message that waits already is taken first.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.action = NextAction::Wait(Some(timeout));
        self
    }

    /// Runs `handle_continue` before any other message; a reply is sent before that.
    pub fn and_continue(mut self) -> Self {
        self.action = NextAction::Continue;
        self
    }

    /// Stops; a reply is sent when `terminate` has run.
    pub fn and_stop(mut self, reason: impl Into<ExitReason>) -> Self {
        self.action = NextAction::Stop(reason.into());
        self
    }

    /// The answer, sent when it is dropped, and the step.
    pub(crate) fn into_parts(self) -> (impl Drop, NextAction) {
        (self.reply, self.action)
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.action {
            NextAction::Wait(None) => f.write_str("Next::wait()"),
            NextAction::Wait(Some(timeout)) => write!(f, "Next::wait().timeout({timeout:?})"),
            NextAction::Continue => f.write_str("Next::wait().and_continue()"),
            NextAction::Stop(reason) => write!(f, "Next::stop({reason})"),
        }
    }
}
