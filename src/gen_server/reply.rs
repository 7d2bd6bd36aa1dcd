//! The answer to a call: the slot it goes to, the handle that fills it, and what a callback says happens
//! next. Servers answer with these; `call` waits on the slot.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::process::block::{Block, DeathWatch};
use crate::process::me::{self, Abandoned};
use crate::process::wait::Waiter;
use crate::reason::ExitReason;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::unwind::contain;

/// A type without values, for servers that take no calls or no casts: `type Cast = Never`.
///
/// A handler for it is one line: `match cast {}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Never {}

/// What became of a call so far.
enum Answer<R> {
    Pending,
    /// Given by the server, and sent once it is clear whether the server goes on.
    Held(R),
    Sent(R),
    /// The reply handle was dropped.
    Abandoned,
    /// The server ended.
    Died(ExitReason),
    /// The caller waits no more.
    Closed,
}

/// What a caller finds in its slot.
pub(crate) enum Outcome<R> {
    Answered(R),
    Abandoned,
    Died(ExitReason),
}

/// Where one answer goes. Only the first counts; after the caller has left, none does.
pub(crate) struct Slot<R> {
    answer: Mutex<Answer<R>>,
    /// Whether there is anything to look at: spares a waiting thread the lock.
    news: AtomicBool,
    asker: Asker,
}

/// Who waits for an answer.
enum Asker {
    Process(Arc<Block>),
    Foreign(Arc<Waiter>),
}

impl<R> Slot<R> {
    /// A slot for the calling thread.
    pub(crate) fn new() -> Arc<Self> {
        let asker = match me::get() {
            Some(me) => Asker::Process(Arc::clone(&me.block)),
            None => Asker::Foreign(me::waiter()),
        };
        Arc::new(Self { answer: Mutex::new(Answer::Pending), news: AtomicBool::new(false), asker })
    }

    /// What there is, once there is something.
    pub(crate) fn take(&self) -> Option<Outcome<R>> {
        if !self.news.load(Ordering::Acquire) {
            return None;
        }
        let mut answer = self.answer.lock();
        match std::mem::replace(&mut *answer, Answer::Closed) {
            Answer::Sent(value) => Some(Outcome::Answered(value)),
            Answer::Died(reason) => Some(Outcome::Died(reason)),
            Answer::Abandoned => {
                *answer = Answer::Abandoned; // may yet become Died
                Some(Outcome::Abandoned)
            }
            other => {
                *answer = other;
                None
            }
        }
    }

    /// The caller waits no more: whatever comes is dropped.
    pub(crate) fn close(&self) {
        let late = std::mem::replace(&mut *self.answer.lock(), Answer::Closed);
        // Perhaps in the middle of an unwinding, where a panic would abort the program.
        contain("the destructor of a late reply", move || drop(late));
    }

    /// The caller has its answer: it waits for nobody any more, though its thread may not have noticed yet. To
    /// be called under the lock of the answer, so that it is this call the mark belongs to.
    fn unmark(&self) {
        if let Asker::Process(caller) = &self.asker {
            caller.waiting_on.store(0, Ordering::Relaxed);
        }
    }

    fn tell(&self) {
        self.news.store(true, Ordering::Release);
        match &self.asker {
            Asker::Process(caller) => caller.waiter.wake(),
            Asker::Foreign(waiter) => waiter.wake(),
        }
    }

    fn hold(&self, value: R) {
        let mut answer = self.answer.lock();
        let refused = match *answer {
            Answer::Pending => {
                *answer = Answer::Held(value);
                if let Some(me) = me::get() {
                    me.sends();
                    if let Asker::Process(caller) = &self.asker {
                        me.has_answered(caller.pid);
                    }
                }
                None
            }
            _ => Some(value),
        };
        drop(answer);
        drop(refused);
    }
}

/// A slot as those see it who do not know its type.
pub(crate) trait Publish: Send + Sync {
    /// Sends what is held.
    fn publish(&self);
}

impl<R: Send> Publish for Slot<R> {
    fn publish(&self) {
        let mut answer = self.answer.lock();
        let sent = match std::mem::replace(&mut *answer, Answer::Closed) {
            Answer::Held(value) => {
                *answer = Answer::Sent(value);
                self.unmark();
                true
            }
            other => {
                *answer = other;
                false
            }
        };
        drop(answer);
        if sent {
            self.tell();
        }
    }
}

impl<R: Send> Abandoned for Slot<R> {
    fn abandon(&self) {
        let mut answer = self.answer.lock();
        let pending = matches!(*answer, Answer::Pending);
        if pending {
            *answer = Answer::Abandoned;
            self.unmark();
        }
        drop(answer);
        if pending {
            self.tell();
        }
    }
}

impl<R: Send> DeathWatch for Slot<R> {
    fn died(&self, reason: &ExitReason) {
        let mut answer = self.answer.lock();
        let waiting = matches!(*answer, Answer::Pending | Answer::Held(_) | Answer::Abandoned);
        let unsent =
            if waiting { Some(std::mem::replace(&mut *answer, Answer::Died(reason.clone()))) } else { None };
        drop(answer);
        // On the thread that buries the server, perhaps not its own: a panic must not get into the burial.
        contain("the destructor of an unsent reply", move || drop(unsent));
        if waiting {
            self.tell();
        }
    }
}

/// The right, and the duty, to answer one call with an `R`: Erlang's `From`.
///
/// It arrives inside the call's message. [`reply`](Self::reply) gives the answer and is what the handler
/// returns; [`send`](Self::send) gives it from anywhere, now or later. Dropped unanswered, the caller gets
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
/// # fn init(_: (), _: &mut Context<Self>) -> Result<Self, Stop> { Ok(Counter { n: 0 }) }
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
/// # fn init(_: (), _: &mut Context<Self>) -> Result<Self, Stop> { Ok(Counter { n: 0 }) }
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
/// # fn init(_: (), _: &mut Context<Self>) -> Result<Self, Stop> { Ok(Counter { n: 0 }) }
/// # fn handle_cast(&mut self, cast: Never, _: &mut Context<Self>) -> Next { match cast {} }
/// fn handle_call(&mut self, ask: Ask, _: &mut Context<Self>) -> Next {
///     match ask { Ask::Get(from) => { from.send(1); from.reply(2) } } // use of moved value
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
/// # fn init(_: (), _: &mut Context<Self>) -> Result<Self, Stop> { Ok(Counter { n: 0 }) }
/// # fn handle_cast(&mut self, cast: Never, _: &mut Context<Self>) -> Next { match cast {} }
/// fn handle_call(&mut self, ask: Ask, _: &mut Context<Self>) -> Next {
///     match ask { Ask::Get(from) => from.reply(self.n) } // `Ask::Add(_, _)` not covered
/// }
/// # }
/// ```
#[must_use = "dropped unanswered, the caller gets an error"]
pub struct Caller<R: Send + 'static> {
    slot: Option<Arc<Slot<R>>>,
}

impl<R: Send + 'static> Caller<R> {
    pub(crate) fn new(slot: Arc<Slot<R>>) -> Self {
        Self { slot: Some(slot) }
    }

    /// Answers, and goes on waiting for messages: what a handler returns. The caller gets the answer when
    /// the handler has returned; with [`and_stop`](Next::and_stop) when `terminate` has.
    pub fn reply(mut self, value: R) -> Next {
        me::checkpoint();
        // What a zombie says does not count: its handle is dropped unanswered, which lets the caller know.
        let slot = if zombie() { None } else { self.slot.take() };
        if let Some(slot) = &slot {
            slot.hold(value);
        }
        Next { reply: Pending(slot.map(|slot| slot as Arc<dyn Publish>)), step: Step::Wait(None) }
    }

    /// Answers at once, from any thread: for a reply that was postponed, or comes from elsewhere.
    ///
    /// An answer nobody waits for any more is dropped.
    pub fn send(self, value: R) {
        me::checkpoint();
        self.answer(value);
    }

    /// As `send`, but not a place where the process can be ended.
    pub(crate) fn answer(mut self, value: R) {
        if zombie() {
            return; // and dropped unanswered
        }
        if let Some(slot) = self.slot.take() {
            slot.hold(value);
            slot.publish();
        }
    }
}

/// Whether nothing this thread says counts any more.
fn zombie() -> bool {
    me::get().is_some_and(|me| me.zombie())
}

impl<R: Send + 'static> Drop for Caller<R> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            me::abandoned(slot);
        }
    }
}

impl<R: Send + 'static> fmt::Debug for Caller<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Caller")
    }
}

/// An answer that is sent when this is published or dropped.
struct Pending(Option<Arc<dyn Publish>>);

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            slot.publish();
        }
    }
}

/// What a server does after a callback.
pub(crate) enum Step {
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
    reply: Pending,
    step: Step,
}

impl Next {
    /// Wait for the next message.
    pub fn wait() -> Self {
        Self { reply: Pending(None), step: Step::Wait(None) }
    }

    /// Stop: `terminate` runs, then the process ends with the reason.
    pub fn stop(reason: impl Into<ExitReason>) -> Self {
        Self { reply: Pending(None), step: Step::Stop(reason.into()) }
    }

    /// If no message comes within this time, [`Info::Timeout`](crate::Info::Timeout) does, once. Any message
    /// cancels it. With a time of zero a message that waits already is taken first.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.step = Step::Wait(Some(limit));
        self
    }

    /// Runs `handle_continue` before any other message; a reply is sent before that.
    pub fn and_continue(mut self) -> Self {
        self.step = Step::Continue;
        self
    }

    /// Stops; a reply is sent when `terminate` has run.
    pub fn and_stop(mut self, reason: impl Into<ExitReason>) -> Self {
        self.step = Step::Stop(reason.into());
        self
    }

    /// The answer, sent when it is dropped, and the step.
    pub(crate) fn split(self) -> (impl Drop, Step) {
        (self.reply, self.step)
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.step {
            Step::Wait(None) => f.write_str("Next::wait()"),
            Step::Wait(Some(limit)) => write!(f, "Next::wait().timeout({limit:?})"),
            Step::Continue => f.write_str("Next::wait().and_continue()"),
            Step::Stop(reason) => write!(f, "Next::stop({reason})"),
        }
    }
}
