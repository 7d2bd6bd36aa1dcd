//! Requests to a server: `call`, `cast` and `stop`.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::call_error::{CallError, StopError};
use crate::gen_server::callbacks::Envelope;
use crate::gen_server::callbacks::GenServer;
use crate::gen_server::reply::Caller;
use crate::gen_server::reply_slot::{Outcome, ReplySlot};
use crate::gen_server::server_ref::Resolved;
use crate::gen_server::server_ref::ServerRef;
use crate::gen_server::wait_graph::WaitEdge;
use crate::pid::MonitorRef;
use crate::process::control::block::ExitListener;
use crate::process::control::block::ProcessBlock;
use crate::process::control::block::Watcher;
use crate::process::control::local;
use crate::process::control::local::{CurrentProcess, Exiting, enter_runtime_call};
use crate::process::control::type_name::public_type_name;
use crate::process::mailbox::inbox::MailboxQueue;
use crate::process::mailbox::throttle;
use crate::process::park::timer_thread;
use crate::process::signals::monitor::remove_watcher;
use crate::process::signals::monitor::watch_block;
use crate::process::signals::monitor::watch_exit;
use crate::reason::ExitReason;
use crate::unwind::catch_and_log;

/// The timeout of [`ServerRef::call`]: five seconds, as in Erlang and Elixir.
pub const DEFAULT_CALL_TIMEOUT: Duration = Duration::from_secs(5);

impl<S: GenServer> ServerRef<S> {
    /// Sends a request and waits for the reply, for at most five seconds.
    ///
    /// `request` makes the message from the [`Caller`]. A variant with one field is such a function
    /// (`server.call(Ask::Get)`); for others use a closure (`server.call(|from| Ask::Add(2, from))`).
    ///
    /// # Errors
    /// [`CallError`]. The exit of the server is reported at once, with its reason, and so is a deadlock. With
    /// [`or_exit`](crate::OrExit::or_exit) the calling process exits with the reason instead, as in Elixir.
    ///
    /// A cast cannot be sent as a call (`E0308`, mismatched types):
    ///
    /// ```compile_fail,E0308
    /// # use rethread::prelude::*;
    /// # pub struct Counter;
    /// pub enum Ask { Get(Caller<i64>) }
    /// pub enum Tell { Reset }
    /// # impl GenServer for Counter {
    /// # type Args = (); type Call = Ask; type Cast = Tell;
    /// # fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Counter) }
    /// # fn handle_call(&mut self, Ask::Get(from): Ask, _: &mut Context<Self>) -> Next { from.reply(1) }
    /// # fn handle_cast(&mut self, _: Tell, _: &mut Context<Self>) -> Next { Next::wait() }
    /// # }
    /// # let counter = Counter::start(()).unwrap();
    /// counter.call(|_: Caller<i64>| Tell::Reset); // expected `Ask`, found `Tell`
    /// ```
    pub fn call<R: Send + 'static>(
        &self,
        request: impl FnOnce(Caller<R>) -> S::Call,
    ) -> Result<R, CallError> {
        self.call_timeout(DEFAULT_CALL_TIMEOUT, request)
    }

    /// Sends a request and waits for the reply, like [`call`](Self::call), but without a timeout.
    ///
    /// # Errors
    /// [`CallError`], like [`call`](Self::call), except [`CallError::Timeout`].
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// # pub struct Report;
    /// # pub enum Ask { Totals(Caller<u64>) }
    /// # impl GenServer for Report {
    /// # type Args = (); type Call = Ask; type Cast = Infallible;
    /// # fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Report) }
    /// # fn handle_call(&mut self, Ask::Totals(from): Ask, _: &mut Context<Self>) -> Next { from.reply(7) }
    /// # }
    /// # let report = Report::start(())?;
    /// assert_eq!(report.call_infinity(Ask::Totals)?, 7); // however long it takes
    /// # report.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn call_infinity<R: Send + 'static>(
        &self,
        request: impl FnOnce(Caller<R>) -> S::Call,
    ) -> Result<R, CallError> {
        self.call_timeout(Duration::MAX, request)
    }

    /// Sends a request and waits for the reply, like [`call`](Self::call), but for at most `timeout`.
    ///
    /// # Errors
    /// [`CallError`], like [`call`](Self::call).
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// use rethread::gen_server::CallError;
    /// use std::time::Duration;
    ///
    /// # pub struct Slow;
    /// # pub enum Ask { Totals(Caller<u64>) }
    /// # impl GenServer for Slow {
    /// # type Args = (); type Call = Ask; type Cast = Infallible;
    /// # fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Slow) }
    /// # fn handle_call(&mut self, Ask::Totals(from): Ask, _: &mut Context<Self>) -> Next {
    /// #     process::sleep(Duration::from_millis(50));
    /// #     from.reply(7)
    /// # }
    /// # }
    /// # let slow = Slow::start(())?;
    /// let late = slow.call_timeout(Duration::from_millis(1), Ask::Totals);
    /// assert!(matches!(late, Err(CallError::Timeout { .. }))); // the server still handles the request
    /// assert_eq!(slow.call_timeout(Duration::from_secs(60), Ask::Totals)?, 7);
    /// # slow.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn call_timeout<R: Send + 'static>(
        &self,
        timeout: Duration,
        request: impl FnOnce(Caller<R>) -> S::Call,
    ) -> Result<R, CallError> {
        let me = enter_call().map_err(|Exiting| CallError::Exiting)?;
        let no_proc = || CallError::NoProc { server: self.to_string().into() };
        let resolved = self.resolve().ok_or_else(no_proc)?;
        let server = resolved.block();
        // Refuse what can never be answered before anything is sent.
        let mailbox = Self::mailbox_of(server).map_err(|found| CallError::WrongType {
            server: self.to_string().into(),
            expected: public_type_name::<S>(),
            found,
        })?;
        let from = me.as_ref().map(|me| me.block.pid);
        if from == Some(server.pid) {
            return Err(CallError::CallingSelf { server: self.to_string().into() });
        }
        // `request` is user code, which may make calls itself: it runs before the wait edge of this call is
        // set.
        let slot = ReplySlot::new();
        let message = request(Caller::new(Arc::clone(&slot)));
        let _wait_edge =
            WaitEdge::try_add(me.as_ref(), server).map_err(|cycle| CallError::Deadlock { cycle })?;
        if let Err(unsent) = mailbox.push_message(server, Envelope::Call { from, message }) {
            drop(unsent);
            // The server is exiting. Wait until it has exited: a caller that gets `NoProc` may rely on the
            // name being free.
            return match watch_block(Arc::clone(server)).wait_timeout(timeout) {
                Some(_) => Err(no_proc()),
                None => Err(self.timed_out(timeout)),
            };
        }
        server.parker.unpark_after_push();
        // The deadline is computed only now, because reading the clock overlaps with the work of the server
        // here.
        match wait_for_reply(&slot, server, deadline(timeout)) {
            Some(Outcome::Answered(value)) => Ok(value),
            Some(Outcome::Exited(reason)) => {
                Err(CallError::Exited { server: self.to_string().into(), reason })
            }
            Some(Outcome::NoReply) => Err(CallError::NoReply { server: self.to_string().into() }),
            None => Err(self.timed_out(timeout)),
        }
    }

    fn timed_out(&self, timeout: Duration) -> CallError {
        CallError::Timeout { server: self.to_string().into(), after: timeout }
    }

    /// Sends a message and does not wait. There is no confirmation: if the process has exited, or the name is
    /// not registered, the message is dropped, and that is not an error. A cast to another type of server, or to a
    /// process that is not a server, is dropped too, with a warning in the log.
    ///
    /// A call cannot be sent as a cast (`E0308`, mismatched types):
    ///
    /// ```compile_fail,E0308
    /// # use rethread::prelude::*;
    /// # pub struct Counter;
    /// pub enum Ask { Get(Caller<i64>) }
    /// pub enum Tell { Reset }
    /// # impl GenServer for Counter {
    /// # type Args = (); type Call = Ask; type Cast = Tell;
    /// # fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Counter) }
    /// # fn handle_call(&mut self, Ask::Get(from): Ask, _: &mut Context<Self>) -> Next { from.reply(1) }
    /// # fn handle_cast(&mut self, _: Tell, _: &mut Context<Self>) -> Next { Next::wait() }
    /// # }
    /// # let counter = Counter::start(()).unwrap();
    /// counter.cast(Ask::Get); // expected `Tell`, found a function that makes an `Ask`
    /// ```
    pub fn cast(&self, message: S::Cast) {
        if !local::begin_send() {
            return;
        }
        let resolved = self.resolve();
        let Some(block) = resolved.as_ref().map(Resolved::block) else { return };
        match Self::mailbox_of(block) {
            Ok(mailbox) => {
                if mailbox.push_message(block, Envelope::Cast(message)).is_ok() {
                    block.parker.unpark_after_push();
                    // Throttling: slows down a sender that is faster than the server.
                    throttle::throttle_sender(|| block.message_queue_len());
                }
            }
            Err(found) => {
                catch_and_log("the logger", || {
                    log::warn!(
                        "cast to {self} dropped: wrong type of process: expected {}, found {found}",
                        public_type_name::<S>()
                    );
                });
            }
        }
    }

    /// Stops the server with the reason `Normal` and waits until it has exited, without a timeout.
    ///
    /// # Errors
    /// [`StopError::NoProc`] if it is not running; [`StopError::Exited`] if it exited with a different reason;
    /// [`StopError::CallingSelf`] and [`StopError::Deadlock`] if it would wait for the caller;
    /// [`StopError::WrongType`], [`StopError::Exiting`].
    pub fn stop(&self) -> Result<(), StopError> {
        self.stop_timeout(ExitReason::Normal, Duration::MAX)
    }

    /// Stops the server with this reason and waits until it has exited, for at most `timeout`; with
    /// `Duration::MAX` there is no limit.
    ///
    /// The server handles the messages that are in its mailbox first; then `terminate` runs.
    ///
    /// # Errors
    /// [`StopError::Exited`] if the server exited with a different reason; [`StopError::Timeout`] if it has
    /// not exited in time, though the request to stop stays in its mailbox; and the others that [`StopError`]
    /// lists.
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// use std::time::Duration;
    ///
    /// # pub struct Cache;
    /// # impl GenServer for Cache {
    /// # type Args = (); type Call = Infallible; type Cast = Infallible;
    /// # fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Cache) }
    /// # fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next { match call {} }
    /// # }
    /// let cache = Cache::start(())?;
    /// if cache.stop_timeout(ExitReason::Shutdown, Duration::from_secs(10)).is_err() {
    ///     cache.whereis().inspect(|&pid| process::exit(pid, ExitReason::Kill)); // it hangs
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stop_timeout(&self, reason: impl Into<ExitReason>, timeout: Duration) -> Result<(), StopError> {
        let reason = reason.into();
        let me = enter_call().map_err(|Exiting| StopError::Exiting)?;
        let no_proc = || StopError::NoProc { server: self.to_string().into() };
        let resolved = self.resolve().ok_or_else(no_proc)?;
        let server = resolved.block();
        let mailbox = Self::mailbox_of(server).map_err(|found| StopError::WrongType {
            server: self.to_string().into(),
            expected: public_type_name::<S>(),
            found,
        })?;
        if me.as_ref().is_some_and(|me| me.block.pid == server.pid) {
            return Err(StopError::CallingSelf { server: self.to_string().into() });
        }
        let _wait_edge =
            WaitEdge::try_add(me.as_ref(), server).map_err(|cycle| StopError::Deadlock { cycle })?;
        // Nothing replies in this slot: it only receives the exit reason.
        let slot = ReplySlot::<()>::new();
        let sent = mailbox.push_message(server, Envelope::Stop(Box::new(reason.clone()))).is_ok();
        server.parker.unpark_after_push();
        match wait_for_reply(&slot, server, deadline(timeout)) {
            // It was exiting already when it was asked to stop.
            Some(Outcome::Exited(_)) if !sent => Err(no_proc()),
            Some(Outcome::Exited(actual)) if actual == reason => Ok(()),
            Some(Outcome::Exited(reason)) => {
                Err(StopError::Exited { server: self.to_string().into(), reason })
            }
            Some(Outcome::Answered(()) | Outcome::NoReply) | None => {
                Err(StopError::Timeout { server: self.to_string().into(), after: timeout })
            }
        }
    }

    /// Returns the mailbox of a server of type `S`; otherwise the type of the server, or of the messages it
    /// receives.
    fn mailbox_of(block: &ProcessBlock) -> Result<&MailboxQueue<Envelope<S>>, &'static str> {
        MailboxQueue::downcast(block)
    }
}

/// Returns the deadline of a timeout; `None` for `Duration::MAX`, which means no timeout.
fn deadline(timeout: Duration) -> Option<Instant> {
    (timeout != Duration::MAX).then(|| timer_thread::deadline_after(timeout))
}

/// Begins a call that sends a request and waits: like [`enter_runtime_call`], and records a send. Returns the calling
/// process; `None` on a thread that is not a process.
#[inline]
pub(crate) fn enter_call() -> Result<Option<Rc<CurrentProcess>>, Exiting> {
    let me = enter_runtime_call()?;
    if let Some(me) = &me {
        me.note_send();
    }
    Ok(me)
}

/// Waits for the reply or for the exit of the server; returns `None` at the deadline. Closes the slot.
pub(crate) fn wait_for_reply<R: Send + 'static>(
    slot: &Arc<ReplySlot<R>>,
    server: &Arc<ProcessBlock>,
    deadline: Option<Instant>,
) -> Option<Outcome<R>> {
    enum EarlyResult<R> {
        Answered(R),
        SlowPath,
    }
    // Also closes the slot if an exit signal unwinds the caller while it waits.
    let close_on_drop = CloseOnDrop(slot);
    // Spin first, without watching for the exit of the server: most replies arrive before a watcher pays off.
    let early = local::spin(deadline, || match slot.take(server) {
        Some(Outcome::Answered(value)) => Some(EarlyResult::Answered(value)),
        None if !server.is_exiting() => None,
        _ => Some(EarlyResult::SlowPath),
    });
    if let Some(EarlyResult::Answered(value)) = early {
        std::mem::forget(close_on_drop); // The slot is closed already.
        return Some(Outcome::Answered(value));
    }
    // If the server has exited meanwhile, `new` sets the reason in the slot at once.
    let _exit_watch = ExitWatch::new(slot, server);
    local::park(deadline, || match slot.take(server) {
        // The reply handle was dropped because the server is exiting: wait for the exit reason.
        Some(Outcome::NoReply) if server.is_exiting() => None,
        other => other,
    })
}

/// Closes the slot when dropped.
struct CloseOnDrop<'a, R: Send + 'static>(&'a Arc<ReplySlot<R>>);

impl<R: Send + 'static> Drop for CloseOnDrop<'_, R> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Reports the exit of the server to a slot, until it is dropped.
struct ExitWatch<'a> {
    server: &'a Arc<ProcessBlock>,
    id: MonitorRef,
}

impl<'a> ExitWatch<'a> {
    fn new<R: Send + 'static>(slot: &Arc<ReplySlot<R>>, server: &'a Arc<ProcessBlock>) -> Self {
        let id = MonitorRef::next();
        watch_exit(server, id, Watcher::Listener(Arc::clone(slot) as Arc<dyn ExitListener>));
        Self { server, id }
    }
}

impl Drop for ExitWatch<'_> {
    fn drop(&mut self) {
        remove_watcher(self.server, self.id);
    }
}
