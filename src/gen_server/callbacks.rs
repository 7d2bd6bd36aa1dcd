//! The `GenServer` trait with its callbacks, and their types: the context, the system messages, the errors of
//! `init`.

use std::fmt;
use std::time::Duration;

use crate::gen_server::reply::Next;
use crate::gen_server::server_ref::ServerRef;
use crate::pid::{MonitorRef, Pid, TimerRef};
use crate::process::control::block::MonitorTarget;
use crate::process::control::type_name::public_type_name;
use crate::process::mailbox::address::Address;
use crate::process::mailbox::timer::send_after;
use crate::process::signals::current;
use crate::reason::ExitReason;
use crate::unwind::catch_and_log;

/// A process that holds a state and handles requests and messages, one at a time.
///
/// `self` is the state. `Call` lists the requests, each with a [`Caller`](crate::gen_server::Caller) for the reply;
/// `Cast` lists the messages without a reply. [`GenServerExt`](crate::gen_server::GenServerExt) has the functions that
/// start a server, and [`ServerRef`] those that send to it.
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
/// Use a server for state that several threads share and that one thread should own, or that must survive the
/// failure of other threads. To organize code, a module is enough.
///
/// # Differences from Erlang
/// The state need not be `Send`: `init` runs on the new thread. There are no messages besides calls and
/// casts: a server sends itself a cast. After a panic in a callback, `terminate` gets the state as the panic
/// left it, not as it was before the message.
pub trait GenServer: Sized + 'static {
    /// The argument of `init`.
    type Args: Send + 'static;
    /// The requests, each with a [`Caller`](crate::gen_server::Caller) for the reply.
    type Call: Send + 'static;
    /// The messages without a reply; [`Infallible`](std::convert::Infallible) if there are none.
    type Cast: Send + 'static;

    /// Creates the state, on the new thread. The process that starts the server waits until this returns. The
    /// name is registered already.
    ///
    /// # Errors
    /// [`InitError`]: the server does not start. Every error type converts to it with `?`.
    fn init(args: Self::Args, cx: &mut Context<Self>) -> Result<Self, InitError>;

    /// Handles a request. The reply is sent through the [`Caller`](crate::gen_server::Caller) in it.
    ///
    /// A server without requests has `type Call = Infallible;`, and its `handle_call` is
    /// `fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next { match call {} }`.
    fn handle_call(&mut self, call: Self::Call, cx: &mut Context<Self>) -> Next;

    /// Handles a message without a reply. The default logs it as unexpected and drops it; a server without
    /// casts, with `type Cast = Infallible`, needs no other.
    fn handle_cast(&mut self, cast: Self::Cast, cx: &mut Context<Self>) -> Next {
        // The logger is user code: a panic in it must not stop the server.
        catch_and_log("the logger", || {
            log::warn!(
                "server {} ({}) received an unexpected cast and dropped it",
                cx.pid(),
                public_type_name::<Self>()
            );
        });
        drop(cast);
        Next::wait()
    }

    /// Handles a message of the runtime: a trapped exit, a `Down`, a timeout. The default logs it as
    /// unexpected.
    fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Next {
        // The logger is user code: a panic in it must not stop the server.
        catch_and_log("the logger", || {
            log::warn!(
                "server {} ({}) received an unexpected message: {info:?}",
                cx.pid(),
                public_type_name::<Self>()
            );
        });
        Next::wait()
    }

    /// Runs after a callback that returned [`and_continue`](Next::and_continue), before any other message.
    /// The default does nothing.
    ///
    /// # Differences from Erlang
    /// Erlang's `{continue, Term}` passes a term. Here there is no argument: store in the state what is to be
    /// continued.
    fn handle_continue(&mut self, cx: &mut Context<Self>) -> Next {
        let _ = cx;
        Next::wait()
    }

    /// Cleans up before the process exits: after a stop, after a panic or an exit in a callback, and, if the
    /// server traps exits, after an exit signal of its parent.
    ///
    /// It is not called when the server is killed, nor for an exit signal that it does not trap. Destructors
    /// run in every case.
    fn terminate(&mut self, reason: &ExitReason, cx: &mut Context<Self>) {
        let _ = (reason, cx);
    }

    /// Returns the text by which the report of a crash shows a request. The default is `None`: it is not shown.
    ///
    /// It is called for every request before `handle_call`, because the handler consumes the request: keep it short,
    /// and leave out passwords and other secrets. A report shows at most the first 1,024 bytes. With `#[derive(Debug)]`
    /// it is `Some(format!("{call:?}"))`; [`Caller`](crate::gen_server::Caller) implements `Debug`. A panic in it is
    /// one of the server.
    ///
    /// Together with [`format_cast`](Self::format_cast) and [`format_state`](Self::format_state) it is Erlang's
    /// `format_status`.
    ///
    /// ```
    /// use rethread::prelude::*;
    ///
    /// struct Divider { calls: u64 }
    /// #[derive(Debug)]
    /// enum Ask { Divide(i32, i32, Caller<i32>) }
    ///
    /// impl GenServer for Divider {
    ///     type Args = (); type Call = Ask; type Cast = Infallible;
    ///     fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Divider { calls: 0 }) }
    ///     fn handle_call(&mut self, Ask::Divide(n, by, from): Ask, _: &mut Context<Self>) -> Next {
    ///         self.calls += 1;
    ///         from.reply(n / by)
    ///     }
    ///     fn format_call(ask: &Ask) -> Option<String> {
    ///         Some(format!("{ask:?}"))
    ///     }
    ///     fn format_state(&self) -> Option<String> {
    ///         Some(format!("after {} calls", self.calls))
    ///     }
    /// }
    ///
    /// let divider = Divider::start(())?;
    /// // The report contains "last message: Divide(1, 0, Caller)" and "state: after 1 calls".
    /// assert!(divider.call(|from| Ask::Divide(1, 0, from)).is_err());
    /// # Ok::<(), rethread::StartError>(())
    /// ```
    fn format_call(call: &Self::Call) -> Option<String> {
        let _ = call;
        None
    }

    /// Returns the text by which the report of a crash shows a message without a reply, like
    /// [`format_call`](Self::format_call). The default is `None`: it is not shown.
    fn format_cast(cast: &Self::Cast) -> Option<String> {
        let _ = cast;
        None
    }

    /// Returns the text by which the report of a crash shows the state. The default is `None`: it is not shown.
    ///
    /// It is called once, after the crash, with the state as the panic left it. A report shows at most the first 1,024
    /// bytes. A panic in it is logged, and the report continues without the state.
    fn format_state(&self) -> Option<String> {
        None
    }
}

/// A message from the runtime to a server.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Info {
    /// No message came within the time given by [`Next::timeout`].
    Timeout,
    /// A linked process exited, or another process sent an exit signal, and the server traps exits. An exit
    /// signal of its parent is not delivered here: it stops the server.
    Exit {
        /// The process that exited, or that sent the signal.
        from: Pid,
        /// The exit reason.
        reason: ExitReason,
    },
    /// A monitored process exited.
    Down {
        /// The monitor that fired.
        monitor: MonitorRef,
        /// The process or name that it was set on.
        target: MonitorTarget,
        /// The exit reason.
        reason: ExitReason,
    },
}

/// Why `init` did not return a state.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum InitError {
    /// The server is not needed, which is not a failure: the start returns
    /// [`StartError::Ignored`](crate::StartError::Ignored), and the process exits with `Normal`.
    Ignore,
    /// The start failed: the process exits with this reason, and the failure is logged.
    Stop(ExitReason),
    /// The start failed, but without a log entry: the process exits with `Normal`, and only the process that
    /// starts the server gets the reason.
    Error(ExitReason),
}

impl InitError {
    /// Creates an [`InitError::Stop`] from any reason: `return Err(InitError::stop("no configuration"))`.
    pub fn stop(reason: impl Into<ExitReason>) -> Self {
        Self::Stop(reason.into())
    }
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ignore => f.write_str("ignore"),
            Self::Stop(reason) | Self::Error(reason) => reason.fmt(f),
        }
    }
}

impl From<ExitReason> for InitError {
    fn from(reason: ExitReason) -> Self {
        Self::Stop(reason)
    }
}

/// Makes `?` work in `init`, for every error that converts into `Box<dyn Error + Send + Sync>`: types that implement
/// [`Error`](std::error::Error), the boxes themselves, the errors of `anyhow` and `eyre`, `String` and `&'static str`.
/// The start fails with [`ExitReason::error`] of it, and [`downcast_ref`](ExitReason::downcast_ref) returns the value
/// that `?` was applied to.
///
/// The text of the reason shows the sources of an error report, but not those of other errors: only the conversion,
/// which would hide the type of the error from `downcast_ref`, gives access to them. `.map_err(ExitReason::error)?`
/// shows both.
// For this `InitError` must not convert into such a box: it would overlap with `From<T> for T`.
impl<E> From<E> for InitError
where
    E: Into<Box<dyn std::error::Error + Send + Sync>> + fmt::Display + fmt::Debug + Send + Sync + 'static,
{
    fn from(error: E) -> Self {
        Self::Stop(ExitReason::from_convertible(error))
    }
}

/// A message in the mailbox of a server.
pub(crate) enum Envelope<S: GenServer> {
    /// `from` is `None` if the caller is not a process.
    Call {
        from: Option<Pid>,
        message: S::Call,
    },
    Cast(S::Cast),
    // Boxed, so that it does not make the other messages larger.
    Stop(Box<ExitReason>),
}

/// The process of a server, as its callbacks see it.
pub struct Context<S: GenServer> {
    pub(crate) address: Address<Envelope<S>>,
    pub(crate) parent: Option<Pid>,
    /// Set by `init`, taken by the receive loop.
    pub(crate) after_init: Option<Next>,
}

impl<S: GenServer> Context<S> {
    /// Returns the pid of the server.
    pub fn pid(&self) -> Pid {
        self.address.pid()
    }

    /// Returns a handle of the server, to give to other processes.
    pub fn server_ref(&self) -> ServerRef<S> {
        ServerRef::from_block(self.address.block().clone())
    }

    /// Returns the process that started the server with a link, usually its supervisor.
    pub fn parent(&self) -> Option<Pid> {
        self.parent
    }

    /// Sets whether the server traps exits, like [`process::trap_exit`](crate::process::trap_exit). Returns
    /// the previous value.
    pub fn trap_exit(&self, on: bool) -> bool {
        current::trap_exit(on)
    }

    /// Sets what the server does after `init`, instead of waiting for the first message: a timeout or a
    /// continuation. Call it in `init`. A stop takes effect too; a reply has no meaning here.
    ///
    /// ```
    /// use rethread::prelude::*;
    ///
    /// struct Index { words: Vec<String> }
    /// enum Ask { Len(Caller<usize>) }
    ///
    /// impl GenServer for Index {
    ///     type Args = (); type Call = Ask; type Cast = Infallible;
    ///     fn init((): (), cx: &mut Context<Self>) -> Result<Self, InitError> {
    ///         cx.after_init(Next::wait().and_continue()); // the start does not wait for the work
    ///         Ok(Index { words: Vec::new() })
    ///     }
    ///     fn handle_continue(&mut self, _: &mut Context<Self>) -> Next {
    ///         self.words = vec!["first".to_owned()]; // runs before any message
    ///         Next::wait()
    ///     }
    ///     fn handle_call(&mut self, Ask::Len(from): Ask, _: &mut Context<Self>) -> Next {
    ///         from.reply(self.words.len())
    ///     }
    /// }
    ///
    /// let index = Index::start(())?;
    /// assert_eq!(index.call(Ask::Len)?, 1);
    /// # index.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn after_init(&mut self, next: Next) {
        self.after_init = Some(next);
    }

    /// Sends a cast to the server itself, behind the messages that are in its mailbox.
    pub fn cast(&self, message: S::Cast) {
        self.address.send(Envelope::Cast(message));
    }

    /// Sends a cast to the server itself after a delay. [`cancel_timer`](crate::process::cancel_timer)
    /// cancels it, and so does the exit of the server. For periodic work, each round schedules the next:
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
            .field("pid", &self.pid())
            .field("parent", &self.parent)
            .finish_non_exhaustive()
    }
}
