//! Servers: processes that hold a state and handle requests, one at a time. Elixir's `GenServer`, with typed
//! messages.
//!
//! Use a server for state that several threads share and one thread should own, or that must survive the
//! failure of other threads: a cache, a connection, a queue. For a value without logic of its own use an
//! [`Agent`](crate::agent::Agent); for one computation, a [task](crate::task). To organize code, a module is
//! enough.
//!
//! # A server and its client functions
//! ```
//! use rethread::gen_server::CallError;
//! use rethread::prelude::*;
//!
//! /// The state.
//! pub struct Stack(Vec<String>);
//!
//! /// The requests, each with the handle for its reply.
//! pub enum StackCall {
//!     Pop(Caller<Option<String>>),
//!     Len(Caller<usize>),
//! }
//!
//! /// The messages without a reply.
//! pub enum StackCast {
//!     Push(String),
//! }
//!
//! impl GenServer for Stack {
//!     type Args = Vec<String>;
//!     type Call = StackCall;
//!     type Cast = StackCast;
//!
//!     fn init(initial: Vec<String>, _: &mut Context<Self>) -> Result<Self, InitError> {
//!         Ok(Stack(initial))
//!     }
//!     fn handle_call(&mut self, call: StackCall, _: &mut Context<Self>) -> Next {
//!         match call {
//!             StackCall::Pop(from) => from.reply(self.0.pop()),
//!             StackCall::Len(from) => from.reply(self.0.len()),
//!         }
//!     }
//!     fn handle_cast(&mut self, StackCast::Push(item): StackCast, _: &mut Context<Self>) -> Next {
//!         self.0.push(item);
//!         Next::wait()
//!     }
//! }
//!
//! const STACK: ServerRef<Stack> = ServerRef::named("doc.stack");
//!
//! // The functions that the rest of the program calls.
//! pub fn push(item: &str) {
//!     STACK.cast(StackCast::Push(item.to_owned()));
//! }
//! pub fn pop() -> Result<Option<String>, CallError> {
//!     STACK.call(StackCall::Pop)
//! }
//!
//! let system = Supervisor::start_link([Stack::child_spec(Vec::new()).name(STACK)], Strategy::OneForOne)?;
//! push("a");
//! push("b");
//! assert_eq!(pop()?.as_deref(), Some("b"));
//! assert_eq!(STACK.call(StackCall::Len)?, 1);
//! system.stop()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A request of the wrong type, a reply of the wrong type, a forgotten reply and a second reply do not
//! compile: see [`Caller`].
//!
//! # Start and stop
//! | to | use |
//! | --- | --- |
//! | start a server linked to the caller | [`start_link`](GenServerExt::start_link) |
//! | start a server without a link | [`start`](GenServerExt::start) |
//! | set a name, a label or options first | [`child_spec`](GenServerExt::child_spec), then [`ServerSpec`] |
//! | start and monitor in one step | [`ServerSpec::start_monitor`] |
//! | start it under a supervisor | give [`child_spec`](GenServerExt::child_spec) to a [`Supervisor`](crate::supervisor::Supervisor) |
//! | stop it and wait | [`ServerRef::stop`], [`ServerRef::stop_timeout`] |
//! | stop it from inside | [`Next::stop`], [`Next::and_stop`] |
//!
//! A start returns when `init` has returned. If `init` fails, the start returns a
//! [`StartError`](crate::StartError), the process has exited, and its name is free. [`InitError`] says how:
//! `Ignore` (not needed, no failure), `Stop` (reported), or `Error` (not reported). `?` converts every error
//! type to [`InitError::Stop`].
//!
//! # Calls and casts
//! | to | use |
//! | --- | --- |
//! | send a request and wait for the reply, for at most 5 s | [`ServerRef::call`] |
//! | the same with another timeout, or without one | [`ServerRef::call_timeout`], [`ServerRef::call_infinity`] |
//! | wait until the server is started or restarted, then call it | [`ServerRef::call_when_started`], [`ServerRef::call_when_started_timeout`] |
//! | send a message without a reply | [`ServerRef::cast`] |
//! | send a cast to the server itself, at once or later | [`Context::cast`], [`Context::send_after`] |
//! | find, monitor or watch the process | [`ServerRef::whereis`], [`ServerRef::whereis_timeout`], [`ServerRef::monitor`], [`ServerRef::watch`] |
//!
//! A call monitors the server while it waits: if the server exits, the call returns [`CallError::Exited`] with
//! the reason at once. A call that could never return, because the server waits for the caller directly or
//! through other processes, is refused with [`CallError::Deadlock`]. A cast to a server that is not running is
//! dropped.
//!
//! # Callbacks
//! | callback | handles | default |
//! | --- | --- | --- |
//! | [`init`](GenServer::init) | the start; creates the state on the thread of the server | required |
//! | [`handle_call`](GenServer::handle_call) | a request | required |
//! | [`handle_cast`](GenServer::handle_cast) | a message without a reply | logs a warning and drops the message |
//! | [`handle_info`](GenServer::handle_info) | a timeout, a `Down`, a trapped exit: [`Info`] | logs a warning and drops the message |
//! | [`handle_continue`](GenServer::handle_continue) | a continuation that a callback requested | waits for the next message |
//! | [`terminate`](GenServer::terminate) | cleanup before the exit | nothing |
//! | [`format_call`](GenServer::format_call), [`format_cast`](GenServer::format_cast), [`format_state`](GenServer::format_state) | the last message and the state, for the report of a crash | they are not shown |
//!
//! A server without casts has `type Cast = Infallible` and no `handle_cast`. Each callback returns a [`Next`]:
//! wait for the next message, with or without a timeout; continue; or stop.
//!
//! # Replies that come later
//! A handler may keep the [`Caller`] and return [`Next::wait`]. The reply is sent later, from any thread, by
//! [`Caller::reply_now`]. Meanwhile the server handles other messages.
//!
//! ```
//! use rethread::prelude::*;
//!
//! struct Slow;
//! struct Double(u32, Caller<u32>);
//!
//! impl GenServer for Slow {
//!     type Args = ();
//!     type Call = Double;
//!     type Cast = Infallible;
//!
//!     fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
//!         Ok(Slow)
//!     }
//!     fn handle_call(&mut self, Double(n, from): Double, _: &mut Context<Self>) -> Next {
//!         // If the task cannot be started, `from` is dropped: the caller gets `CallError::NoReply`.
//!         let _ = task::start(move || from.reply_now(2 * n));
//!         Next::wait()
//!     }
//! }
//!
//! let slow = Slow::start(())?;
//! assert_eq!(slow.call(|from| Double(21, from))?, 42);
//! slow.stop()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A dropped [`Caller`] is reported to the caller as [`CallError::NoReply`].
//!
//! # Failures
//! A panic in a callback ends the server: its state may be inconsistent. `terminate` runs, callers that wait
//! get [`CallError::Exited`], and a supervisor starts a new server from the arguments. `terminate` does not
//! run when the server is killed, or exits because of a signal that it does not trap; destructors always run.
//!
//! # Names
//! [`ServerRef::named`] is a `const fn`: a handle by name can be a constant, and stays valid when the server
//! is restarted. For names that are computed at run time use [`ServerRef::from_name`], or keys of a
//! [registry](crate::registry) with [`ServerRef::via`]. A handle that a start returns refers to that one
//! process.
//!
//! # Differences from Erlang
//! Messages are typed, and there are no messages besides calls and casts: a process that wants to send to a
//! server sends a cast. A failed call returns an error instead of exiting the caller;
//! [`or_exit`](crate::OrExit::or_exit) does that. A reply goes to a reply slot, not to the mailbox, so a late
//! reply is dropped. After a panic `terminate` gets the state as the panic left it. The state need not be
//! `Send`, because it never leaves its thread. The [list of
//! differences](crate::differences_from_erlang#servers) names the reason for each.

pub(crate) mod call;
pub(crate) mod callbacks;
pub(crate) mod handle;
pub(crate) mod options;
pub(crate) mod receive_loop;
pub(crate) mod reply;
pub(crate) mod reply_slot;
pub(crate) mod server_ref;
pub(crate) mod spec;
pub(crate) mod start;
pub(crate) mod wait_graph;

pub use self::call::DEFAULT_CALL_TIMEOUT;
pub use self::callbacks::{Context, GenServer, Info, InitError};
pub use self::reply::{Caller, Next};
pub use self::server_ref::ServerRef;
pub use self::spec::{GenServerExt, ServerSpec};
pub use crate::call_error::{CallError, StopError};
