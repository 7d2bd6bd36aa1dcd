//! Talking to a server: `call`, `cast`, `stop`, and what can go wrong with each. Client functions use it.

use std::any::type_name;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::gen_server::callbacks::Envelope;
use crate::gen_server::callbacks::GenServer;
use crate::gen_server::reply::Caller;
use crate::gen_server::reply_slot::{Outcome, ReplySlot};
use crate::gen_server::server_ref::Resolved;
use crate::gen_server::server_ref::ServerRef;
use crate::gen_server::wait_graph::WaitEdge;
use crate::gen_server::wait_graph::fmt_cycle;
use crate::pid::{MonitorRef, Pid};
use crate::process::control::block::ExitListener;
use crate::process::control::block::ProcessBlock;
use crate::process::control::block::Watcher;
use crate::process::control::local;
use crate::process::control::local::CurrentProcess;
use crate::process::mailbox::inbox::MailboxQueue;
use crate::process::park::backoff;
use crate::process::park::timer_thread;
use crate::process::signals::link::remove_watcher;
use crate::process::signals::link::watch_exit;
use crate::process::signals::watch::watch_block;
use crate::reason::ExitReason;
use crate::unwind::catch_and_log;

/// How long [`ServerRef::call`] waits: five seconds, as in Erlang and Elixir.
pub const DEFAULT_CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a call got no answer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum CallError {
    /// There is no such process, or nobody holds the name.
    NoProc {
        /// The server as the caller named it.
        server: Arc<str>,
    },
    /// The server ended before it answered, with this reason.
    Exited {
        /// The server as the caller named it.
        server: Arc<str>,
        /// Why it ended.
        reason: ExitReason,
    },
    /// No answer came in time. The server may still handle the request; its answer is dropped.
    Timeout {
        /// The server as the caller named it.
        server: Arc<str>,
        /// How long the caller waited.
        after: Duration,
    },
    /// The server dropped the request's [`Caller`] and goes on.
    NoReply {
        /// The server as the caller named it.
        server: Arc<str>,
    },
    /// A server called itself, which could never be answered.
    CallingSelf {
        /// The server as the caller named it.
        server: Arc<str>,
    },
    /// The server waits, perhaps through others, for the caller: neither would ever go on. Nothing was
    /// sent.
    ///
    /// A server counts as waited for while it handles a call or has it in its mailbox; once it has returned
    /// without an answer it does not, since the answer may come from anywhere. So a handler that gives its
    /// [`Caller`] to another process should return before it calls the caller back.
    Deadlock {
        /// The processes of the cycle; each waits for the next, the last for the first, the caller.
        cycle: Vec<Pid>,
    },
    /// The name is held by another kind of server.
    WrongType {
        /// The server as the caller named it.
        server: Arc<str>,
        /// The type of server this handle is for.
        expected: &'static str,
        /// The type of server it is, or of messages for a plain process.
        found: &'static str,
    },
    /// The calling process is exiting.
    Exiting,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProc { server } => write!(f, "call to {server}: there is no such process"),
            Self::Exited { server, reason } => {
                write!(f, "call to {server}: it ended before it answered: {reason}")
            }
            Self::Timeout { server, after } => write!(f, "call to {server}: no answer within {after:?}"),
            Self::NoReply { server } => write!(f, "call to {server}: it dropped the request unanswered"),
            Self::CallingSelf { server } => write!(f, "call to {server}: a server cannot call itself"),
            Self::Deadlock { cycle } => fmt_cycle(f, cycle),
            Self::WrongType { server, expected, found } => {
                write!(f, "call to {server}: the process of that name is {found}, not {expected}")
            }
            Self::Exiting => f.write_str("the calling process is exiting"),
        }
    }
}

impl std::error::Error for CallError {}

/// Why a server was not stopped, or did not end as asked.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum StopError {
    /// There is no such process, or nobody holds the name.
    NoProc,
    /// It ended with another reason.
    Exited(ExitReason),
    /// It has not ended in time. It is not killed: it stops when it gets to it.
    Timeout,
    /// A server cannot wait for its own end; it returns [`Next::stop`](crate::Next::stop) instead.
    CallingSelf,
    /// The server waits, perhaps through others, for the caller: neither would ever go on. Nothing was
    /// sent.
    Deadlock {
        /// The processes of the cycle; each waits for the next, the last for the first, the caller.
        cycle: Vec<Pid>,
    },
    /// The name is held by another kind of server.
    WrongType {
        /// The type of server this handle is for.
        expected: &'static str,
        /// The type of server it is, or of messages for a plain process.
        found: &'static str,
    },
    /// The calling process is exiting.
    Exiting,
}

impl fmt::Display for StopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProc => f.write_str("there is no such process"),
            Self::Exited(reason) => write!(f, "it ended with another reason: {reason}"),
            Self::Timeout => f.write_str("it has not ended in time"),
            Self::CallingSelf => f.write_str("a server cannot wait for its own end"),
            Self::Deadlock { cycle } => fmt_cycle(f, cycle),
            Self::WrongType { expected, found } => {
                write!(f, "the process of that name is {found}, not {expected}")
            }
            Self::Exiting => f.write_str("the calling process is exiting"),
        }
    }
}

impl std::error::Error for StopError {}

impl<S: GenServer> ServerRef<S> {
    /// Sends a request and waits for its answer, for at most five seconds.
    ///
    /// `request` makes the message from the [`Caller`]: a variant with one field is such a function
    /// (`server.call(Ask::Get)`), others take a closure (`server.call(|from| Ask::Add(2, from))`).
    ///
    /// # Errors
    /// [`CallError`]. A server that ends is noticed at once, with its reason; so is a wait cycle. With
    /// [`or_exit`](crate::OrExit::or_exit) the caller ends with the true reason instead, Elixir's habit.
    ///
    /// A cast is no call (`E0308`, mismatched types):
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

    /// As [`call`](Self::call), for at most `limit`; `Duration::MAX` is for ever.
    ///
    /// # Errors
    /// As there.
    pub fn call_timeout<R: Send + 'static>(
        &self,
        timeout: Duration,
        request: impl FnOnce(Caller<R>) -> S::Call,
    ) -> Result<R, CallError> {
        let me = enter_runtime_call().map_err(|Exiting| CallError::Exiting)?;
        let no_proc = || CallError::NoProc { server: self.to_string().into() };
        let resolved = self.resolve().ok_or_else(no_proc)?;
        let server = resolved.block();
        let mailbox = Self::mailbox_of(server).map_err(|found| CallError::WrongType {
            server: self.to_string().into(),
            expected: type_name::<S>(),
            found,
        })?;
        let from = me.as_ref().map(|me| me.block.pid);
        if from == Some(server.pid) {
            return Err(CallError::CallingSelf { server: self.to_string().into() });
        }
        let slot = ReplySlot::new();
        let message = request(Caller::new(Arc::clone(&slot)));
        let _wait_edge =
            WaitEdge::try_add(me.as_ref(), server).map_err(|cycle| CallError::Deadlock { cycle })?;
        if let Err(unsent) = mailbox.push_message(server, Envelope::Call { from, message }) {
            drop(unsent);
            // Its end is decided: whoever is told "no such process" may rely on its name being free.
            return match watch_block(server.pid, Some(Arc::clone(server))).wait_timeout(timeout) {
                Some(_) => Err(no_proc()),
                None => Err(self.timed_out(timeout)),
            };
        }
        server.parker.unpark_after_push();
        // To look at the clock now costs nothing: the server is at work.
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

    /// Sends a message and does not wait. Whether anybody gets it is not known: a dead process, or a name
    /// nobody holds, is not an error.
    ///
    /// A call is no cast (`E0308`, mismatched types):
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
        if let Some(me) = local::get() {
            me.checkpoint();
            if me.is_zombie() {
                return;
            }
            me.note_send();
        }
        let resolved = self.resolve();
        let Some(block) = resolved.as_ref().map(Resolved::block) else { return };
        match Self::mailbox_of(block) {
            Ok(mailbox) => {
                if mailbox.push_message(block, Envelope::Cast(message)).is_ok() {
                    block.parker.unpark_after_push();
                    backoff::throttle_sender(|| block.message_queue_len());
                }
            }
            Err(found) => {
                catch_and_log("the log", || {
                    log::warn!("cast to {self} dropped: the process of that name is {found}");
                });
            }
        }
    }

    /// Stops the server with `Normal` and waits until it is gone.
    ///
    /// # Errors
    /// [`StopError`].
    pub fn stop(&self) -> Result<(), StopError> {
        self.stop_with(ExitReason::Normal, Duration::MAX)
    }

    /// Stops the server, which handles what is in its mailbox first, and waits for at most `limit` until
    /// it is gone; `Duration::MAX` is for ever. `terminate` runs.
    ///
    /// # Errors
    /// [`StopError::Exited`] if it ended, but with another reason; [`StopError::Timeout`] if it has not
    /// ended in time, though it still will; and what [`StopError`] lists.
    pub fn stop_with(&self, reason: impl Into<ExitReason>, timeout: Duration) -> Result<(), StopError> {
        let reason = reason.into();
        let me = enter_runtime_call().map_err(|Exiting| StopError::Exiting)?;
        let resolved = self.resolve().ok_or(StopError::NoProc)?;
        let server = resolved.block();
        let mailbox = Self::mailbox_of(server)
            .map_err(|found| StopError::WrongType { expected: type_name::<S>(), found })?;
        if me.as_ref().is_some_and(|me| me.block.pid == server.pid) {
            return Err(StopError::CallingSelf);
        }
        let _wait_edge =
            WaitEdge::try_add(me.as_ref(), server).map_err(|cycle| StopError::Deadlock { cycle })?;
        let slot = ReplySlot::<()>::new();
        let sent = mailbox.push_message(server, Envelope::Stop(Box::new(reason.clone()))).is_ok();
        server.parker.unpark_after_push();
        match wait_for_reply(&slot, server, deadline(timeout)) {
            Some(Outcome::Exited(_)) if !sent => Err(StopError::NoProc),
            Some(Outcome::Exited(actual)) if actual == reason => Ok(()),
            Some(Outcome::Exited(actual)) => Err(StopError::Exited(actual)),
            Some(Outcome::Answered(()) | Outcome::NoReply) | None => Err(StopError::Timeout),
        }
    }

    /// The mailbox of a server of this kind, or what kind of process it is.
    fn mailbox_of(block: &ProcessBlock) -> Result<&MailboxQueue<Envelope<S>>, &'static str> {
        MailboxQueue::downcast(block).map_err(|found| {
            let server = found.split_once("Envelope<").and_then(|(_, rest)| rest.strip_suffix('>'));
            server.unwrap_or(found)
        })
    }
}

/// `Duration::MAX` is for ever.
fn deadline(timeout: Duration) -> Option<Instant> {
    (timeout != Duration::MAX).then(|| timer_thread::deadline_after(timeout))
}

/// The calling process is exiting and makes no calls any more.
pub(crate) struct Exiting;

/// The calling process, if it is one and may still make calls.
#[inline]
pub(crate) fn enter_runtime_call() -> Result<Option<Rc<CurrentProcess>>, Exiting> {
    let me = local::get();
    if let Some(me) = &me {
        me.checkpoint();
        if me.signals_masked() || me.is_zombie() {
            return Err(Exiting);
        }
        me.note_send();
    }
    Ok(me)
}

/// Waits for the answer, or for the death of the server; `None` when the time is up.
pub(crate) fn wait_for_reply<R: Send + 'static>(
    slot: &Arc<ReplySlot<R>>,
    server: &Arc<ProcessBlock>,
    deadline: Option<Instant>,
) -> Option<Outcome<R>> {
    enum EarlyResult<R> {
        Answered(R),
        SlowPath,
    }
    let close_on_drop = CloseOnDrop(slot);
    // Most answers come before it pays to be told of the server's death.
    let early = local::spin(deadline, || match slot.take() {
        Some(Outcome::Answered(value)) => Some(EarlyResult::Answered(value)),
        None if !server.is_exiting() => None,
        _ => Some(EarlyResult::SlowPath),
    });
    if let Some(EarlyResult::Answered(value)) = early {
        std::mem::forget(close_on_drop); // nothing else can come
        return Some(Outcome::Answered(value));
    }
    let _exit_watch = ExitWatch::new(slot, server);
    local::park(deadline, || match slot.take() {
        // Dropped because the server is ending: its reason is still to come.
        Some(Outcome::NoReply) if server.is_exiting() => None,
        other => other,
    })
}

/// A slot that somebody waits on; then it is closed.
struct CloseOnDrop<'a, R: Send + 'static>(&'a Arc<ReplySlot<R>>);

impl<R: Send + 'static> Drop for CloseOnDrop<'_, R> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The server's death is reported to a slot, while this lives.
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
