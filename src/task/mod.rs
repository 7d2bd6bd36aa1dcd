//! Tasks: processes that do one thing and give its value to whoever started them.
//!
//! A task is for work that is done once, mostly alone: a request to a slow service while the caller does
//! something else, a computation on another core, twenty downloads of which four may run at a time. What is
//! asked again and again, and keeps a state in between, is a [`GenServer`](crate::GenServer).
//!
//! # Spawn and join
//! ```
//! use rethread::Task;
//!
//! let answer = Task::spawn(|| 6 * 7)?;
//! // .. something else meanwhile ..
//! assert_eq!(answer.join()?, 42);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Task::spawn`] and [`join`](Task::join) are Elixir's `async` and `await`. They work on any thread, `main`
//! as well. The value goes to a place of its own, not to a mailbox: after a
//! [`join_timeout`](Task::join_timeout) nothing of the task arrives any more, and nothing has to be flushed.
//!
//! | to wait for | function |
//! | --- | --- |
//! | the value, or the death | [`join`](Task::join), [`join_timeout`](Task::join_timeout) |
//! | the value, and perhaps again | [`yield_for`](Task::yield_for), [`is_finished`](Task::is_finished) |
//! | several values | [`join_many`](Task::join_many), [`yield_many`](Task::yield_many) |
//! | the results for many items, some at a time | [`Task::stream`] |
//! | the end, that is asked for now | [`shutdown`](Task::shutdown) |
//! | nothing more | [`ignore`](Task::ignore), or drop it |
//!
//! # A task and its owner are linked
//! If the task crashes, its owner ends with the task's reason; if the owner crashes, so does the task: nobody
//! goes on for somebody who is not there, or on a value that is not. It is as if the owner had done the work
//! itself. An owner that wants to survive has three ways, from the usual to the rare:
//!
//! - a task whose failure is no surprise returns a `Result`, as any function;
//! - a [`TaskSupervisor`] starts tasks that are not linked with their owner
//!   (`spawn_nolink`): their crash is the [`JoinError`] of `join`, and no more;
//! - an owner that traps exits gets that, and an `Exit` message. A thread that is no process has no links, so
//!   it gets the error only.
//!
//! If the owner ends with `Normal`, the task goes on. The handle cannot leave its thread: only the owner can
//! join.
//!
//! # Tasks that nobody waits for
//! [`Task::start`], [`Task::start_link`] and [`Task::start_monitor`] begin work whose value nobody wants. Under a
//! supervisor they can be stopped, listed, limited: [`TaskSupervisor`] for those started while the program
//! runs, [`Task::child_spec`] for one that is there from the beginning.
//!
//! # In a server
//! A server that waits in a callback answers nobody meanwhile. So it does not join; it has the task send the
//! result as a message, and monitors it for the case that none comes:
//!
//! ```
//! use rethread::prelude::*;
//!
//! # fn count_words(text: &str) -> usize { text.split_whitespace().count() }
//! struct Words { total: usize, crashed: usize }
//! enum Ask  { Total(Caller<(usize, usize)>) }
//! enum Tell { Count(String), Counted(usize) }
//!
//! impl GenServer for Words {
//!     type Args = ();
//!     type Call = Ask;
//!     type Cast = Tell;
//!
//!     fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
//!         Ok(Words { total: 0, crashed: 0 })
//!     }
//!     fn handle_call(&mut self, Ask::Total(from): Ask, _: &mut Context<Self>) -> Next {
//!         from.reply((self.total, self.crashed))
//!     }
//!     fn handle_cast(&mut self, tell: Tell, cx: &mut Context<Self>) -> Next {
//!         match tell {
//!             Tell::Count(text) => {
//!                 let this = cx.server_ref();
//!                 let work = move || this.cast(Tell::Counted(count_words(&text)));
//!                 if Task::start_monitor(work).is_err() {
//!                     self.crashed += 1; // no thread was to be had
//!                 }
//!             }
//!             Tell::Counted(words) => self.total += words,
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
//! words.cast(Tell::Count("to be or not to be".to_owned()));
//! # while words.call(Ask::Total)?.0 == 0 {}
//! assert_eq!(words.call(Ask::Total)?, (6, 0));
//! # words.stop()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! With a [`TaskSupervisor`](crate::TaskSupervisor#in-a-server) the server can keep the handles instead, and join
//! each task when its monitor fires.
//!
//! To call the server from a task it joins would be a wait for ever: whoever closes such a circle is refused,
//! with [`JoinError::Deadlock`] or [`CallError::Deadlock`](crate::CallError::Deadlock).
//!
//! # Ancestors and callers
//! Who *started* a task stands among its ancestors ([`ProcessInfo`](crate::process::ProcessInfo)): for a
//! supervised one that is the supervisor. On whose *behalf* it works tells [`callers`]: the owner, the owner's
//! owner, and so on.
//!
//! # What threads change
//! A task is an OS thread: some 40 µs to start, so it is for work that takes longer than that. One that is told
//! to end does so at its next runtime call ([`process::checkpoint`](crate::process::checkpoint) in long
//! computations); if it comes to none, it is declared dead after its `kill_grace` and may go on as a
//! [`Zombie`](crate::process::Zombie). That is why nothing here has a time limit that was not asked for.

pub(crate) mod body;
pub(crate) mod handle;
pub(crate) mod result_slot;
pub(crate) mod running;
pub(crate) mod start;
pub(crate) mod stream;
pub(crate) mod supervisor;

pub use self::body::callers;
pub use self::handle::{JoinError, Task};
pub use self::stream::{OnTimeout, TaskStream};
pub use self::supervisor::{TaskBuilder, TaskSupervisor};
