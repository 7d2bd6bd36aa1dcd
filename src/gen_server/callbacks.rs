//! What the author of a server writes: the trait `GenServer`, the context its callbacks get, what `init`
//! can refuse with. `run` calls it.

use std::fmt;
use std::time::Duration;

use crate::gen_server::reply::Next;
use crate::gen_server::server_ref::ServerRef;
use crate::pid::{MonitorRef, Pid, TimerRef};
use crate::process::control::block::MonitorTarget;
use crate::process::mailbox::address::Address;
use crate::process::mailbox::timer::send_after;
use crate::process::signals::current;
use crate::reason::ExitReason;
use crate::unwind::catch_and_log;

/// A process that keeps a state and answers messages about it, one at a time.
///
/// `self` is the state. `Call` lists the requests, each with a [`Caller`](crate::Caller) for its answer;
/// `Cast` lists the messages that need none. What you get for it is in [`GenServerExt`](crate::GenServerExt) (starting)
/// and [`ServerRef`] (talking).
///
/// ```
/// use rethread::prelude::*;
///
/// pub struct Counter { n: i64 }
/// pub enum Ask  { Get(Caller<i64>), Add(i64, Caller<i64>) }
/// pub enum Tell { Reset }
///
/// impl GenServer for Counter {
///     type Args = i64;
///     type Call = Ask;
///     type Cast = Tell;
///
///     fn init(n: i64, _: &mut Context<Self>) -> Result<Self, InitError> {
///         Ok(Counter { n })
///     }
///     fn handle_call(&mut self, ask: Ask, _: &mut Context<Self>) -> Next {
///         match ask {
///             Ask::Get(from) => from.reply(self.n),
///             Ask::Add(k, from) => { self.n += k; from.reply(self.n) }
///         }
///     }
///     fn handle_cast(&mut self, Tell::Reset: Tell, _: &mut Context<Self>) -> Next {
///         self.n = 0;
///         Next::wait()
///     }
/// }
///
/// let counter = Counter::start_link(5)?;
/// assert_eq!(counter.call(Ask::Get)?, 5);
/// assert_eq!(counter.call(|from| Ask::Add(2, from))?, 7);
/// counter.cast(Tell::Reset);
/// assert_eq!(counter.call(Ask::Get)?, 0);
/// counter.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # When not to use it
/// A server is for state that several threads need at its own pace, or that must survive the failure of
/// others. For code that merely belongs together a module is enough.
///
/// # Differences from Erlang
/// The state need not be `Send`: `init` runs on the new thread. There is no third kind of message: a
/// message to oneself is a cast. After a panic in a callback, `terminate` gets the state as the panic left
/// it, not as it was before the message.
pub trait GenServer: Sized + 'static {
    /// What `init` gets.
    type Args: Send + 'static;
    /// The requests, each with a [`Caller`](crate::Caller) to answer.
    type Call: Send + 'static;
    /// The messages without an answer; [`Never`](crate::Never) if there are none.
    type Cast: Send + 'static;

    /// Makes the state, on the new thread. The starter waits for it. The name is registered before.
    ///
    /// # Errors
    /// [`InitError`]: the server does not start. Any error converts to one by `?`.
    fn init(args: Self::Args, cx: &mut Context<Self>) -> Result<Self, InitError>;

    /// Answers a request.
    fn handle_call(&mut self, call: Self::Call, cx: &mut Context<Self>) -> Next;

    /// Handles a message without an answer.
    fn handle_cast(&mut self, cast: Self::Cast, cx: &mut Context<Self>) -> Next;

    /// Handles what the runtime sends: a trapped exit, a `Down`, a timeout. By default it is logged and
    /// otherwise ignored.
    fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Next {
        catch_and_log("the log", || {
            log::warn!("server {} ({}) got an unexpected {info:?}", cx.pid(), std::any::type_name::<Self>());
        });
        Next::wait()
    }

    /// Goes on after [`and_continue`](Next::and_continue), before any other message.
    fn handle_continue(&mut self, cx: &mut Context<Self>) -> Next {
        let _ = cx;
        Next::wait()
    }

    /// Cleans up before the end: after a stop, a panic or an exit in a callback, and, if the server traps
    /// exits, when its parent tells it to go. Not when it is killed, nor when an exit signal ends it that
    /// it does not trap; destructors run in every case.
    fn terminate(&mut self, reason: &ExitReason, cx: &mut Context<Self>) {
        let _ = (reason, cx);
    }
}

/// What the runtime tells a server.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Info {
    /// No message came within the time given by [`Next::timeout`].
    Timeout,
    /// A linked process ended, or somebody sent an exit signal, and the server traps exits. One from its
    /// parent does not come here: it ends the server.
    Exit {
        /// Who ended, or sent it.
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

/// Why `init` did not make a state.
#[derive(Debug, Clone, PartialEq)]
pub enum InitError {
    /// Nothing is wrong, there is just nothing to do: the start returns
    /// [`StartError::Ignored`](crate::StartError::Ignored), the process ends normally.
    Ignore,
    /// The start failed: the process ends with this reason, and the log hears of it.
    Stop(ExitReason),
    /// The start failed, but quietly: the process ends normally, and whoever asked learns the reason.
    Error(ExitReason),
}

impl InitError {
    /// A failed start for a reason of your own: `return Err(InitError::stop("no configuration"))`.
    pub fn stop(reason: impl Into<ExitReason>) -> Self {
        Self::Stop(reason.into())
    }
}

impl From<ExitReason> for InitError {
    fn from(reason: ExitReason) -> Self {
        Self::Stop(reason)
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for InitError {
    fn from(error: E) -> Self {
        Self::Stop(ExitReason::error(error))
    }
}

/// What travels in a server's mailbox.
pub(crate) enum Envelope<S: GenServer> {
    /// From a process, or a foreign thread.
    Call {
        from: Option<Pid>,
        message: S::Call,
    },
    Cast(S::Cast),
    Stop(Box<ExitReason>),
}

/// A callback's view of the process it runs in.
pub struct Context<S: GenServer> {
    pub(crate) address: Address<Envelope<S>>,
    pub(crate) parent: Option<Pid>,
    pub(crate) after_init: Option<Next>,
}

impl<S: GenServer> Context<S> {
    /// The server's own pid.
    pub fn pid(&self) -> Pid {
        self.address.pid()
    }

    /// A handle of the server itself, to be given to others.
    pub fn server_ref(&self) -> ServerRef<S> {
        ServerRef::from_block(self.address.block().clone())
    }

    /// The process that started the server with a link, usually its supervisor.
    pub fn parent(&self) -> Option<Pid> {
        self.parent
    }

    /// As [`process::trap_exit`](crate::process::trap_exit).
    pub fn trap_exit(&self, on: bool) -> bool {
        current::trap_exit(on)
    }

    /// In `init`: what happens once the server has started, instead of just waiting for messages: a timeout
    /// or a continuation. A reply or a stop makes no sense here; a stop is obeyed all the same.
    pub fn after_init(&mut self, next: Next) {
        self.after_init = Some(next);
    }

    /// Sends the server itself a cast, behind what waits already.
    pub fn cast(&self, message: S::Cast) {
        self.address.send(Envelope::Cast(message));
    }

    /// Sends the server itself a cast after a while; [`cancel_timer`](crate::process::cancel_timer) calls it off, and
    /// so does the end of the server. For what is to be done again and again, each time asks for the next:
    ///
    /// ```
    /// use std::time::Duration;
    /// use rethread::prelude::*;
    ///
    /// struct Cleaner { rounds: u32 }
    /// enum Ask  { Rounds(Caller<u32>) }
    /// enum Tell { Clean }
    ///
    /// impl GenServer for Cleaner {
    ///     type Args = ();
    ///     type Call = Ask;
    ///     type Cast = Tell;
    ///
    ///     fn init((): (), cx: &mut Context<Self>) -> Result<Self, InitError> {
    ///         cx.cast(Tell::Clean); // the first time at once
    ///         Ok(Cleaner { rounds: 0 })
    ///     }
    ///     fn handle_call(&mut self, Ask::Rounds(from): Ask, _: &mut Context<Self>) -> Next {
    ///         from.reply(self.rounds)
    ///     }
    ///     fn handle_cast(&mut self, Tell::Clean: Tell, cx: &mut Context<Self>) -> Next {
    ///         self.rounds += 1;
    ///         cx.send_after(Duration::from_millis(5), Tell::Clean);
    ///         Next::wait()
    ///     }
    /// }
    ///
    /// let cleaner = Cleaner::start(())?;
    /// while cleaner.call(Ask::Rounds)? < 3 {
    ///     process::sleep(Duration::from_millis(5));
    /// }
    /// cleaner.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_after(&self, delay: Duration, message: S::Cast) -> TimerRef {
        send_after(delay, &self.address, Envelope::Cast(message))
    }
}

impl<S: GenServer> fmt::Debug for Context<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("me", &self.pid())
            .field("parent", &self.parent)
            .finish_non_exhaustive()
    }
}
