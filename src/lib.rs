//! Fault tolerance in the style of Erlang/OTP for plain threads: processes, links, monitors, servers, supervisors.
//! Everything blocks; nothing is async.
//!
//! A *process* is an OS thread with a mailbox. A panic ends its process and no other, and becomes an [`ExitReason`] that
//! linked processes, watchers and waiting callers receive. A [supervisor] restarts what has crashed, from a
//! known state, and gives up when that does not help. A name leads to the current process at each use, so a handle stays
//! valid over restarts.
//!
//! # A first program
//! ```
//! use rethread::gen_server::CallError;
//! use rethread::prelude::*;
//! use std::time::Duration;
//!
//! struct Counter {
//!     n: i64,
//! }
//!
//! /// The requests, each with a typed handle for its reply.
//! enum CounterCall {
//!     Get(Caller<i64>),
//!     Divide(i64, Caller<i64>),
//! }
//!
//! /// The messages without a reply.
//! enum CounterCast {
//!     Add(i64),
//! }
//!
//! impl GenServer for Counter {
//!     type Args = i64;
//!     type Call = CounterCall;
//!     type Cast = CounterCast;
//!
//!     fn init(n: i64, _: &mut Context<Self>) -> Result<Self, InitError> {
//!         Ok(Counter { n })
//!     }
//!
//!     fn handle_call(&mut self, call: CounterCall, _: &mut Context<Self>) -> Next {
//!         match call {
//!             CounterCall::Get(from) => from.reply(self.n),
//!             CounterCall::Divide(by, from) => {
//!                 self.n /= by; // a division by zero panics: only this process exits
//!                 from.reply(self.n)
//!             }
//!         }
//!     }
//!
//!     fn handle_cast(&mut self, CounterCast::Add(k): CounterCast, _: &mut Context<Self>) -> Next {
//!         self.n += k;
//!         Next::wait()
//!     }
//! }
//!
//! const COUNTER: ServerRef<Counter> = ServerRef::named("counter");
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let system = Supervisor::start_link([Counter::child_spec(10).name(COUNTER)], Strategy::OneForOne)?;
//!
//!     COUNTER.cast(CounterCast::Add(32));
//!     assert_eq!(COUNTER.call(|from| CounterCall::Divide(2, from))?, 21);
//!
//!     // The caller gets the exit reason of the server, at once.
//!     let error = COUNTER.call(|from| CounterCall::Divide(0, from)).unwrap_err();
//!     let CallError::Exited { reason: ExitReason::Panic(panic), .. } = error else { panic!("{error}") };
//!     assert_eq!(panic.message(), "attempt to divide by zero");
//!
//!     // The supervisor has started a new process with the same name and the same arguments.
//!     COUNTER.whereis_timeout(Duration::from_secs(5)).expect("a new counter");
//!     assert_eq!(COUNTER.call(CounterCall::Get)?, 10);
//!     system.stop()?;
//!     Ok(())
//! }
//! ```
//!
//! # Modules
//! | module | contents |
//! | --- | --- |
//! | [`process`] | processes: start, send, receive, exit signals, links, monitors, names, timers, settings |
//! | [`gen_server`] | servers: processes that hold a state and handle typed calls and casts |
//! | [`supervisor`] | supervisors, static, dynamic and partitioned; child specs |
//! | [`task`] | work that is done once and returns a value; parallel streams |
//! | [`agent`] | a value in a process, read and changed by closures |
//! | [`registry`] | processes by keys of any type; publish and subscribe; locks by key |
//! | [`application`] | a whole system that is started and stopped as one |
//! | [`observer`] | the running program as a tree of processes, and a stream of events |
//! | `logger` | a logger on standard error (feature `env_logger`) |
//! | [`prelude`] | the names that most programs use |
//!
//! An item has one path, that of its module. At the root are only the types that all modules share.
//!
//! Documents: the [guide] (a program grows in eight chapters), devices and services that are away for a while
//! ([outages]), the exact [semantics], the [differences from Erlang](differences_from_erlang), tables for those
//! [coming from](coming_from) std, Elixir, Erlang, tokio or an actor library, [performance], and the [hazards] of
//! mixing std, C and rethread.
//!
//! # Errors
//! Each operation has an error type of its own, an enum that can be matched: [`process::SpawnError`], [`StartError`],
//! [`gen_server::CallError`], [`task::JoinError`] and so on. The text of an error contains the text of the error
//! inside it, so [`source`](std::error::Error::source) returns `None` everywhere: a report that prints the whole
//! chain prints each cause once. The inner error is in the variant: `CallError::Exited { reason, .. }` has the exit
//! reason of the server, and [`ExitReason::downcast_ref`] the error value that it was made of.
//!
//! In a process, [`OrExit::or_exit`] turns any error into the exit of the process, with that error as the reason. Use
//! it for errors that the process cannot handle, and leave the repair to its supervisor.
//!
//! # What threads change
//! - A thread cannot be stopped from outside. A process reacts to an exit signal at once while it waits in a function of
//!   this library, else at its next call of one; [`process::checkpoint`] is for long computations, and
//!   [`process::on_exit_request`] wakes a foreign blocking call. A process that does not react in time (100 ms after
//!   a kill, 5 s otherwise; both can be set) counts as exited: its name is released, its supervisor continues, and
//!   its thread is listed as a [zombie](process::Zombie) until it ends.
//! - Destructors run, also when a process is killed, and before links and monitors are notified: a restarted process
//!   finds files, ports and locks free.
//! - Memory is shared if you share it: what you put into an `Arc` may be left half changed by a process that exits.
//! - A process costs about 11 KiB of memory, and 2 to 40 µs to start; thousands are practical, a million are not.
//! - The thread of a process that exited normally may run another process, which finds there what foreign code left in
//!   thread-locals; [`Settings::max_idle_threads`](process::Settings::max_idle_threads) switches that off.
//!
//! # Logging and the panic hook
//! The library writes to the crate [`log`](https://docs.rs/log): a report for each crash (process, reason, location,
//! ancestors, links, unread messages, restarts used), supervisors that give up, and zombies at `error`; unexpected
//! messages, and the begin and end of an [outage](outages) at `warn`; restarts, the start of children that a supervisor
//! spec lists, and the start and stop of applications at `info`; the start of other children and exits that are no
//! crashes, [`process::exit_with`] among them, at `debug`. `rethread::logger::init()` prints warnings and errors on
//! standard error, or what `RUST_LOG` selects. A program without a logger gets one line on standard error for each
//! crash, and for each supervisor that gives up. Records have structured fields for loggers that read them: `pid`,
//! `name`, `reason`, `spawned_at` and others.
//!
//! A panic in a process is reported through the log and does not reach a panic hook that was set before the first process
//! started; the panics of all other threads do. A hook that is set later replaces the library's: it is called for
//! panics in processes too, and their reports lack location and backtrace.
//!
//! # Features
//! | feature | default | effect |
//! | --- | --- | --- |
//! | `env_logger` | yes | the module `logger`, and the dependency `env_logger` |
//!
//! # Rust version and platforms
//! The minimum Rust version is 1.85. It may rise in a minor release.
//!
//! The library needs threads that can unwind, and nothing else of the platform; it is tested on Linux.
//! `panic = "abort"` is refused at compile time, because a panic could not be contained. The default of
//! [`Settings::max_processes`](process::Settings::max_processes) is read from the system on Linux (half of what it
//! can hold), and is 4,096 elsewhere.

// The layers of the modules and the order of the locks: ARCHITECTURE.md.
#![forbid(unsafe_code)]

#[cfg(panic = "abort")]
compile_error!(
    "rethread contains panics by unwinding, so it cannot be built with panic = \"abort\": \
     remove that line from the profile in Cargo.toml"
);

pub mod agent;
pub mod application;
mod call_error;
mod child_spec;
mod exception;
pub mod gen_server;
#[cfg(feature = "env_logger")]
pub mod logger;
pub mod observer;
mod or_exit;
mod panic_hook;
mod pid;
pub mod process;
mod reason;
pub mod registry;
mod sharded_map;
pub mod supervisor;
mod sync;
pub mod task;
mod unwind;

#[cfg(rethread_model)]
#[doc(hidden)]
pub use sync::model;

#[doc = include_str!("../docs/semantics.md")]
pub mod semantics {}

#[doc = include_str!("../docs/differences.md")]
pub mod differences_from_erlang {}

#[doc = include_str!("../docs/guide.md")]
pub mod guide {}

#[doc = include_str!("../docs/hazards.md")]
pub mod hazards {}

#[doc = include_str!("../docs/outages.md")]
pub mod outages {}

#[doc = include_str!("../docs/coming_from.md")]
pub mod coming_from {}

#[doc = include_str!("../docs/performance.md")]
pub mod performance {}

/// Runs the samples of the README as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDocTests;

pub use child_spec::StartError;
pub use or_exit::OrExit;
pub use pid::{MonitorRef, Pid, TimerRef};
pub use reason::{CallFailure, ExitReason, PanicLocation, PanicReport, ReasonValue};

/// The items that most programs use: `use rethread::prelude::*;`.
pub mod prelude {
    #[doc(no_inline)]
    pub use std::convert::Infallible;

    #[doc(no_inline)]
    pub use crate::gen_server::{Caller, Context, GenServer, GenServerExt, Info, InitError, Next, ServerRef};
    #[doc(no_inline)]
    pub use crate::process::{Event, Inbox};
    #[doc(no_inline)]
    pub use crate::supervisor::{ChildSpec, Restart, Strategy, Supervisor, SupervisorRef};
    #[doc(no_inline)]
    pub use crate::{ExitReason, OrExit, Pid, process, task};
}
