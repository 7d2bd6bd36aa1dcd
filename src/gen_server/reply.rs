//! What a handler works with to reply: the reply handle [`Caller`], and [`Next`], the return value of every
//! callback.

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::gen_server::reply_slot::Publish;
use crate::gen_server::reply_slot::ReplySlot;
use crate::pid::Pid;
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
    /// `terminate` has returned. If the handler panics or exits instead of returning it, the reply is not sent: the
    /// caller gets the exit reason, or [`CallError::NoReply`](crate::gen_server::CallError::NoReply) if the handler
    /// catches the panic.
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

    /// Returns the pid of the process that waits for the reply; `None` if it is a thread that is not a process.
    /// Erlang's `{Pid, _} = From`.
    ///
    /// ```
    /// use rethread::prelude::*;
    ///
    /// struct Echo;
    /// enum Ask { Me(Caller<Option<Pid>>) }
    ///
    /// impl GenServer for Echo {
    ///     type Args = (); type Call = Ask; type Cast = Infallible;
    ///     fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Echo) }
    ///     fn handle_call(&mut self, Ask::Me(from): Ask, _: &mut Context<Self>) -> Next {
    ///         let pid = from.pid();
    ///         from.reply(pid)
    ///     }
    /// }
    ///
    /// let echo = Echo::start(())?;
    /// assert_eq!(echo.call(Ask::Me)?, None);
    /// process::attach(|| assert_eq!(echo.call(Ask::Me).or_exit(), process::current()))?;
    /// # echo.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pid(&self) -> Option<Pid> {
        self.slot.as_ref()?.caller_pid()
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

/// A reply that was set. Sends it when dropped, unless the handler unwinds.
struct PublishOnDrop(Option<Arc<dyn Publish>>);

impl Drop for PublishOnDrop {
    #[inline]
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            publish_or_discard(slot);
        }
    }
}

/// Sends the reply that was set in the slot, unless the thread is unwinding.
fn publish_or_discard(slot: Arc<dyn Publish>) {
    if thread::panicking() {
        // The handler did not return the reply: the request was not completed. Treated like a dropped `Caller`.
        slot.discard();
    } else {
        slot.publish();
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
///
/// `timeout`, `and_continue` and `and_stop` set the action, and keep the reply of a value made by
/// [`Caller::reply`]. There is one action: each of them replaces what was set before, so that
/// `Next::stop(..).timeout(..)` does not stop, and `Next::wait().timeout(..).and_continue()` has no timeout. To wait
/// with a timeout after a continuation, return `Next::wait().timeout(..)` from `handle_continue`.
///
/// ```
/// use rethread::prelude::*;
///
/// struct Till { open: Vec<u32>, total: u32 }
/// enum Ask { Enter(u32, Caller<()>), Total(Caller<u32>), Close(Caller<u32>) }
///
/// impl GenServer for Till {
///     type Args = (); type Call = Ask; type Cast = Infallible;
///     fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
///         Ok(Till { open: Vec::new(), total: 0 })
///     }
///     fn handle_call(&mut self, ask: Ask, _: &mut Context<Self>) -> Next {
///         match ask {
///             Ask::Enter(amount, from) => {
///                 self.open.push(amount);
///                 from.reply(()).and_continue() // the caller does not wait for the rest
///             }
///             Ask::Total(from) => from.reply(self.total),
///             Ask::Close(from) => from.reply(self.total).and_stop(ExitReason::Normal),
///         }
///     }
///     fn handle_continue(&mut self, _: &mut Context<Self>) -> Next {
///         self.total += self.open.drain(..).sum::<u32>();
///         Next::wait()
///     }
/// }
///
/// let till = Till::start(())?;
/// till.call(|from| Ask::Enter(20, from))?;
/// assert_eq!(till.call(Ask::Total)?, 20); // `handle_continue` runs before any other message
/// let watch = till.watch();
/// assert_eq!(till.call(Ask::Close)?, 20);
/// assert_eq!(watch.wait(), ExitReason::Normal);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// message that is already in the mailbox is handled first. Replaces a continuation or stop that was set before.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.action = NextAction::Wait(Some(timeout));
        self
    }

    /// Runs `handle_continue` before any other message. A reply is sent before that. Replaces a timeout or stop that was
    /// set before.
    pub fn and_continue(mut self) -> Self {
        self.action = NextAction::Continue;
        self
    }

    /// Stops the server with this reason. A reply is sent when `terminate` has run. Replaces a timeout or continuation
    /// that was set before.
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
