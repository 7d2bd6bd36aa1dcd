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
use crate::gen_server::server_ref::{ServerRef, Target};
use crate::gen_server::wait_graph::WaitEdge;
use crate::pid::MonitorRef;
use crate::process::control::block::ExitListener;
use crate::process::control::block::ProcessBlock;
use crate::process::control::block::Watcher;
use crate::process::control::local;
use crate::process::control::local::{CurrentProcess, Exiting, enter_runtime_call};
use crate::process::control::table;
use crate::process::control::type_name::public_type_name;
use crate::process::mailbox::inbox::MailboxQueue;
use crate::process::mailbox::throttle;
use crate::process::park::timer_thread;
use crate::process::signals::monitor::remove_watcher;
use crate::process::signals::monitor::watch_block;
use crate::process::signals::monitor::watch_exit;
use crate::reason::ExitReason;
use crate::sync;
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
        let mailbox = self.checked_mailbox(server)?;
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
        self.reply_of(wait_for_reply(&slot, server, deadline(timeout)), timeout)
    }

    /// Converts the outcome of the wait for a reply; `None` means that the deadline has passed.
    #[inline]
    fn reply_of<R>(&self, outcome: Option<Outcome<R>>, timeout: Duration) -> Result<R, CallError> {
        match outcome {
            Some(Outcome::Answered(value)) => Ok(value),
            Some(Outcome::Exited(reason)) => {
                Err(CallError::Exited { server: self.to_string().into(), reason })
            }
            Some(Outcome::NoReply) => Err(CallError::NoReply { server: self.to_string().into() }),
            None => Err(self.timed_out(timeout)),
        }
    }

    /// Waits until the server is started, if it is not running, then sends a request and waits for the reply; all that
    /// for at most five seconds. For callers of a server that a supervisor restarts: instead of [`CallError::NoProc`]
    /// they get the reply of the next process, or wait for the first one.
    ///
    /// The handle must be one by name or key: plain names, the keys of a [`Registry`](crate::registry::Registry), and
    /// the partitions of a [`PartitionSupervisor`](crate::supervisor::PartitionSupervisor), where the supervisor is
    /// waited for, too. Other tables wait if their [`Via::whereis_timeout`](crate::process::Via::whereis_timeout) does.
    /// A handle by process or pid does not wait: no other process will have that pid.
    ///
    /// # At most once
    /// `request` is called at most once, and at most one process receives the message. It is sent again only if it was
    /// certainly not delivered, because the process that had the name was exiting. If the server exits after the
    /// request is in its mailbox, the call fails with [`CallError::Exited`], even if the server had not begun to handle
    /// it; so it does if `init` fails, because a server has its name before `init` runs.
    ///
    /// Do not use it in the `init` of a child for a sibling that is started later, nor in a supervisor: the supervisor
    /// starts the next child only when this `init` has returned.
    ///
    /// # Errors
    /// [`CallError::NoProc`] if no process gets the name in time: the request was not sent. The others like
    /// [`call`](Self::call). An exit signal interrupts the wait.
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// # pub struct Counter { n: i64 }
    /// # pub enum Ask { Add(i64, Caller<i64>) }
    /// # impl GenServer for Counter {
    /// # type Args = (); type Call = Ask; type Cast = Infallible;
    /// # fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Counter { n: 0 }) }
    /// # fn handle_call(&mut self, Ask::Add(k, from): Ask, _: &mut Context<Self>) -> Next { self.n += k; from.reply(self.n) }
    /// # }
    /// const COUNTER: ServerRef<Counter> = ServerRef::named("doc.restarted counter");
    ///
    /// let system = Supervisor::start_link([Counter::child_spec(()).name(COUNTER)], Strategy::OneForOne)?;
    /// process::exit(COUNTER.whereis().expect("it is running"), ExitReason::Kill);
    /// // Its supervisor has not started the next one yet.
    /// assert_eq!(COUNTER.call_when_started(|from| Ask::Add(1, from))?, 1);
    /// # system.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn call_when_started<R: Send + 'static>(
        &self,
        request: impl FnOnce(Caller<R>) -> S::Call,
    ) -> Result<R, CallError> {
        self.call_when_started_timeout(DEFAULT_CALL_TIMEOUT, request)
    }

    /// Waits until the server is started, then calls it, like [`call_when_started`](Self::call_when_started), but for
    /// at most `timeout`, which includes both waits; with `Duration::MAX` there is no limit.
    ///
    /// # Errors
    /// [`CallError`], like [`call_when_started`](Self::call_when_started).
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// # pub struct Counter;
    /// # pub enum Ask { Get(Caller<i64>) }
    /// # impl GenServer for Counter {
    /// # type Args = (); type Call = Ask; type Cast = Infallible;
    /// # fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Counter) }
    /// # fn handle_call(&mut self, Ask::Get(from): Ask, _: &mut Context<Self>) -> Next { from.reply(7) }
    /// # }
    /// use rethread::gen_server::CallError;
    /// use std::time::Duration;
    ///
    /// const MISSING: ServerRef<Counter> = ServerRef::named("doc.never started");
    ///
    /// let result = MISSING.call_when_started_timeout(Duration::from_millis(10), Ask::Get);
    /// assert!(matches!(result, Err(CallError::NoProc { .. })));
    /// ```
    pub fn call_when_started_timeout<R: Send + 'static>(
        &self,
        timeout: Duration,
        request: impl FnOnce(Caller<R>) -> S::Call,
    ) -> Result<R, CallError> {
        if matches!(self.target, Target::Process(_) | Target::Pid(_)) {
            return self.call_timeout(timeout, request);
        }
        // One deadline for all waits, and one message, whichever process takes it.
        let deadline = deadline(timeout);
        let me = enter_call().map_err(|Exiting| CallError::Exiting)?;
        let from = me.as_ref().map(|me| me.block.pid);
        let slot = ReplySlot::new();
        let mut request = Some(request);
        let mut unsent = None;
        loop {
            let no_proc = || CallError::NoProc { server: self.to_string().into() };
            let server = self.find_block_until(deadline).ok_or_else(no_proc)?;
            let mailbox = self.checked_mailbox(&server)?;
            if from == Some(server.pid) {
                return Err(CallError::CallingSelf { server: self.to_string().into() });
            }
            if let Some(request) = request.take() {
                let message = request(Caller::new(Arc::clone(&slot)));
                unsent = Some(Envelope::Call { from, message });
            }
            let Some(message) = unsent.take() else { unreachable!("a message that was not sent is kept") };
            let wait_edge =
                WaitEdge::try_add(me.as_ref(), &server).map_err(|cycle| CallError::Deadlock { cycle })?;
            match mailbox.push_message(&server, message) {
                Ok(()) => {
                    server.parker.unpark_after_push();
                    return self.reply_of(wait_for_reply(&slot, &server, deadline), timeout);
                }
                Err(message) => unsent = Some(message),
            }
            // The process was found running, but has begun to exit: wait for the next holder of the name.
            drop(wait_edge);
            if !wait_for_exit(server, deadline) {
                return Err(self.timed_out(timeout));
            }
        }
    }

    /// Returns the mailbox of the server.
    #[inline]
    fn checked_mailbox<'a>(
        &self,
        server: &'a ProcessBlock,
    ) -> Result<&'a MailboxQueue<Envelope<S>>, CallError> {
        Self::mailbox_of(server).map_err(|found| CallError::WrongType {
            server: self.to_string().into(),
            expected: public_type_name::<S>(),
            found,
        })
    }

    /// Waits until a running process has the name or key; `None` at the deadline, and at once if the table does not
    /// wait.
    fn find_block_until(&self, deadline: Option<Instant>) -> Option<Arc<ProcessBlock>> {
        loop {
            if let Some(found) = self.find_block() {
                return Some(found);
            }
            let registered = self.whereis_timeout(remaining(deadline))?;
            if let Some(found) = self.find_block() {
                return Some(found);
            }
            // It has exited since, or its table still lists a process that is exiting: wait until its name is free. A
            // table that lists a process which has exited is not asked again and again.
            let may_change = match table::get(registered) {
                Some(exiting) => wait_for_exit(exiting, deadline),
                None => !matches!(&self.target, Target::Via(key) if key.whereis() == Some(registered)),
            };
            if !may_change {
                return None;
            }
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

/// Returns the time until a deadline; `Duration::MAX` without one.
fn remaining(deadline: Option<Instant>) -> Duration {
    deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(sync::now()))
}

/// Waits until a process that is exiting has exited. Returns `false` if the deadline passes first.
fn wait_for_exit(process: Arc<ProcessBlock>, deadline: Option<Instant>) -> bool {
    watch_block(process).wait_timeout(remaining(deadline)).is_some()
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
