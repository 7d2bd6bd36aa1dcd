//! What a handler works with to reply: the reply handle [`Caller`], and [`Next`], the return value of every
//! callback.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::gen_server::reply_slot::Publish;
use crate::gen_server::reply_slot::ReplySlot;
use crate::process::control::local;
use crate::reason::ExitReason;

/// A reply handle: replies to one call with an `R`, exactly once. Erlang's `From`.
///
/// The handler receives it inside the message of the call. [`reply`](Self::reply) sets the reply and makes
/// the return value of the handler; [`reply_now`](Self::reply_now) sends the reply from any thread,
/// immediately or later. If the handle is dropped unanswered, the caller gets
/// [`CallError::NoReply`](crate::gen_server::CallError::NoReply) at once.
///
/// A forgotten reply does not compile (`E0308`, mismatched types):
///
/// ```compile_fail,E0308
/// # use rethread::prelude::*;
/// # pub struct Counter { n: i64 }
/// pub enum Ask { Get(Caller<i64>), Add(i64, Caller<i64>) }
/// # impl GenServer for Counter {
/// # type Args = (); type Call = Ask; type Cast = Infallible;
/// # fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Counter { n: 0 }) }
/// fn handle_call(&mut self, ask: Ask, _: &mut Context<Self>) -> Next {
///     match ask {
///         Ask::Get(from) => from.reply(self.n),
///         Ask::Add(k, from) => { self.n += k; } // expected `Next`, found `()`
///     }
/// }
/// # }
/// ```
///
/// A reply of the wrong type does not compile (`E0308`):
///
/// ```compile_fail,E0308
/// # use rethread::prelude::*;
/// # pub struct Counter { n: i64 }
/// pub enum Ask { Get(Caller<i64>) }
/// # impl GenServer for Counter {
/// # type Args = (); type Call = Ask; type Cast = Infallible;
/// # fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Counter { n: 0 }) }
/// fn handle_call(&mut self, ask: Ask, _: &mut Context<Self>) -> Next {
///     match ask { Ask::Get(from) => from.reply("many") } // expected `i64`, found `&str`
/// }
/// # }
/// ```
///
/// A second reply does not compile (`E0382`, use of moved value):
///
/// ```compile_fail,E0382
/// # use rethread::prelude::*;
/// # pub struct Counter { n: i64 }
/// pub enum Ask { Get(Caller<i64>) }
/// # impl GenServer for Counter {
/// # type Args = (); type Call = Ask; type Cast = Infallible;
/// # fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Counter { n: 0 }) }
/// fn handle_call(&mut self, ask: Ask, _: &mut Context<Self>) -> Next {
///     match ask { Ask::Get(from) => { from.reply_now(1); from.reply(2) } } // use of moved value
/// }
/// # }
/// ```
///
/// A missing arm does not compile (`E0004`, non-exhaustive patterns):
///
/// ```compile_fail,E0004
/// # use rethread::prelude::*;
/// # pub struct Counter { n: i64 }
/// pub enum Ask { Get(Caller<i64>), Add(i64, Caller<i64>) }
/// # impl GenServer for Counter {
/// # type Args = (); type Call = Ask; type Cast = Infallible;
/// # fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Counter { n: 0 }) }
/// fn handle_call(&mut self, ask: Ask, _: &mut Context<Self>) -> Next {
///     match ask { Ask::Get(from) => from.reply(self.n) } // `Ask::Add(_, _)` not covered
/// }
/// # }
/// ```
#[must_use = "if it is dropped unanswered, the caller gets an error"]
pub struct Caller<R: Send + 'static> {
    slot: Option<Arc<ReplySlot<R>>>,
}

impl<R: Send + 'static> Caller<R> {
    pub(crate) fn new(slot: Arc<ReplySlot<R>>) -> Self {
        Self { slot: Some(slot) }
    }

    /// Sets the reply and returns `Next`: wait for the next message. The handler returns this value.
    ///
    /// The reply is sent when the handler has returned, or, with [`and_stop`](Next::and_stop), when
    /// `terminate` has returned.
    pub fn reply(mut self, value: R) -> Next {
        // A process that is killed while it handles the call does not reply: it unwinds here, and the caller
        // gets its exit reason.
        local::checkpoint();
        // The reply of a zombie is discarded: the handle is dropped unanswered, which notifies the caller.
        let slot = if local::is_zombie() { None } else { self.slot.take() };
        if let Some(slot) = &slot {
            slot.set_value(value);
        }
        // Not sent yet: `and_stop` may follow, and then `terminate` runs before the caller wakes up.
        Next {
            reply: PublishOnDrop(slot.map(|slot| slot as Arc<dyn Publish>)),
            action: NextAction::Wait(None),
        }
    }

    /// Sends the reply immediately, from any thread: for a postponed reply, or one that another process
    /// sends.
    ///
    /// If the caller has stopped waiting, the reply is dropped.
    pub fn reply_now(self, value: R) {
        local::checkpoint();
        self.reply_uninterruptible(value);
    }

    /// Sends the reply like [`reply_now`](Self::reply_now), but without a checkpoint: pending exit signals
    /// wait.
    pub(crate) fn reply_uninterruptible(mut self, value: R) {
        if local::is_zombie() {
            return; // Drops the handle unanswered.
        }
        if let Some(slot) = self.slot.take() {
            slot.set_value(value);
            slot.publish();
        }
    }
}

impl<R: Send + 'static> Drop for Caller<R> {
    fn drop(&mut self) {
        // In a callback the notification is postponed: the server may exit in it, and then the caller gets
        // the reason.
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

/// A reply that was set. Sends it when dropped.
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

/// The return value of a callback: what the server does next.
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
    /// Waits for the next message.
    pub fn wait() -> Self {
        Self { reply: PublishOnDrop(None), action: NextAction::Wait(None) }
    }

    /// Stops the server: `terminate` runs, then the process exits with this reason.
    pub fn stop(reason: impl Into<ExitReason>) -> Self {
        Self { reply: PublishOnDrop(None), action: NextAction::Stop(reason.into()) }
    }

    /// Sets a timeout for the next message: if none arrives within this time, `handle_info` gets
    /// [`Info::Timeout`](crate::gen_server::Info::Timeout), once. Any message cancels it. With a timeout of zero, a
    /// message that is already in the mailbox is handled first.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.action = NextAction::Wait(Some(timeout));
        self
    }

    /// Runs `handle_continue` before any other message. A reply is sent before that.
    pub fn and_continue(mut self) -> Self {
        self.action = NextAction::Continue;
        self
    }

    /// Stops the server with this reason. A reply is sent when `terminate` has run.
    pub fn and_stop(mut self, reason: impl Into<ExitReason>) -> Self {
        self.action = NextAction::Stop(reason.into());
        self
    }

    /// Splits it into the reply, which is sent when it is dropped, and the action.
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
