//! Tasks: processes that run one function and return its value to the caller that started them.
//!
//! A task is for work that is done once, mostly independently: a request to a slow service while the caller
//! does something else, a computation on another core, twenty downloads of which four may run at a time. For
//! work that is requested repeatedly and keeps state between requests, use a [`GenServer`](crate::gen_server::GenServer).
//!
//! # Spawn and join
//! ```
//! use rethread::task;
//!
//! let answer = task::spawn(|| 6 * 7)?;
//! // .. do something else ..
//! assert_eq!(answer.join()?, 42);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`spawn`] and [`join`](Task::join) are Elixir's `async` and `await`. They work on any thread,
//! including `main`. The value is stored in a slot of the task, not in the owner's mailbox: after a
//! [`join_timeout`](Task::join_timeout) no message of the task arrives, and nothing has to be flushed.
//!
//! | to wait for | function |
//! | --- | --- |
//! | the value, or the exit | [`join`](Task::join), [`join_timeout`](Task::join_timeout) |
//! | the value, with the option to retry | [`yield_timeout`](Task::yield_timeout), [`is_finished`](Task::is_finished) |
//! | several values | [`join_many`], [`join_many_timeout`], [`yield_many_timeout`] |
//! | the results for many items, with limited concurrency | [`stream`] |
//! | the exit, requested by the caller | [`shutdown`](Task::shutdown) |
//! | nothing | [`ignore`](Task::ignore), or drop the handle |
//!
//! # A task and its owner are linked
//! If the task crashes, its owner exits with the task's reason; if the owner crashes, so does the task: a
//! task does not keep running for an owner that has exited, and an owner does not continue without the value
//! it needs. The effect is the same as if the owner had done the work itself. An owner that wants to survive
//! has three ways, from the common to the rare:
//!
//! - a task that is expected to fail returns a `Result`, like any function;
//! - a [`TaskSupervisor`] starts tasks that are not linked to their owner (`spawn_nolink`): a crash is the
//!   [`JoinError`] of `join`, nothing else;
//! - an owner that traps exits gets the `JoinError` and an `Exit` message. A thread that is not a process has
//!   no links, so it gets only the error.
//!
//! An owner that traps exits gets an `Exit` message from each of its linked tasks, also from one that succeeds: then with
//! the reason `Normal`, some time after the value. Only the tasks of a [`stream`] and those of `spawn_nolink` send none.
//!
//! If the owner exits with `Normal`, the task keeps running. The handle cannot be sent to another thread:
//! only the owner can join.
//!
//! # Tasks without a result
//! [`start`], [`start_link`] and [`start_monitor`] start work whose value is not needed.
//! Under a supervisor such tasks can be stopped, listed and limited: use [`TaskSupervisor`] for tasks that
//! are started while the program runs, [`child_spec`] for a task that is part of the supervision tree
//! from the start.
//!
//! # In a server
//! A server that waits in a callback handles no other message. It should not join a task there; instead the
//! task sends its result as a message, and the server monitors the task in case it crashes:
//!
//! ```
//! use rethread::prelude::*;
//!
//! # fn count_words(text: &str) -> usize { text.split_whitespace().count() }
//! struct Words { total: usize, crashed: usize }
//! enum WordsCall { Total(Caller<(usize, usize)>) }
//! enum WordsCast { Count(String), Counted(usize) }
//!
//! impl GenServer for Words {
//!     type Args = ();
//!     type Call = WordsCall;
//!     type Cast = WordsCast;
//!
//!     fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
//!         Ok(Words { total: 0, crashed: 0 })
//!     }
//!     fn handle_call(&mut self, WordsCall::Total(from): WordsCall, _: &mut Context<Self>) -> Next {
//!         from.reply((self.total, self.crashed))
//!     }
//!     fn handle_cast(&mut self, cast: WordsCast, cx: &mut Context<Self>) -> Next {
//!         match cast {
//!             WordsCast::Count(text) => {
//!                 let this = cx.server_ref();
//!                 let work = move || this.cast(WordsCast::Counted(count_words(&text)));
//!                 if task::start_monitor(work).is_err() {
//!                     self.crashed += 1; // the thread could not be started
//!                 }
//!             }
//!             WordsCast::Counted(words) => self.total += words,
//!         }
//!         Next::wait()
//!     }
//!     fn handle_info(&mut self, info: Info, _: &mut Context<Self>) -> Next {
//!         if let Info::Down { reason, .. } = info {
//!             self.crashed += usize::from(reason.is_abnormal());
//!         }
//!         Next::wait()
//!     }
//! }
//!
//! let words = Words::start(())?;
//! words.cast(WordsCast::Count("to be or not to be".to_owned()));
//! # while words.call(WordsCall::Total)?.0 == 0 {}
//! assert_eq!(words.call(WordsCall::Total)?, (6, 0));
//! # words.stop()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! With a [`TaskSupervisor`](crate::task::TaskSupervisor#in-a-server) the server can keep the handles instead, and
//! join each task when its monitor fires.
//!
//! A task that calls the server that is joining it would wait forever. The call or join that would close such
//! a wait cycle returns [`JoinError::Deadlock`] or [`CallError::Deadlock`](crate::gen_server::CallError::Deadlock).
//!
//! # Ancestors and callers
//! The *ancestors* of a task ([`ProcessInfo`](crate::process::ProcessInfo)) are the processes that started
//! it: for a supervised task, its supervisor. Its *callers* ([`callers`]) are the processes on whose behalf
//! it works: the owner, the owner's owner, and so on.
//!
//! # Differences caused by threads
//! A task is an OS thread, which takes some 40 µs to start, so it is for work that takes longer than that. A
//! task that receives an exit signal exits at its next runtime call
//! ([`process::checkpoint`](crate::process::checkpoint) in long computations); if it makes none, it counts as
//! exited after its `kill_grace`, and its thread may continue as a [`Zombie`](crate::process::Zombie). That
//! is why no function here has a default timeout.

pub(crate) mod body;
pub(crate) mod handle;
pub(crate) mod result_slot;
pub(crate) mod running;
pub(crate) mod start;
pub(crate) mod stream;
pub(crate) mod supervisor;

pub use self::body::callers;
pub use self::handle::{JoinError, Task, join_many, join_many_timeout, yield_many_timeout};
pub use self::start::{child_spec, spawn, spawn_receiver, start, start_link, start_monitor};
pub use self::stream::{OnTimeout, TaskStream, stream};
pub use self::supervisor::{TaskBuilder, TaskSupervisor, TaskSupervisorRef, TaskSupervisorSpec};
