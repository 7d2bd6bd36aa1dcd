//! Agents: values in processes of their own, which other threads read and change by sending functions.
//! Elixir's `Agent`.
//!
//! Use an agent for a value that several threads share and that needs no logic of its own: a counter, a
//! configuration, a cache of results. If the operations on the value should be listed in one place, or if it
//! needs timeouts, timers or monitors, use a [`GenServer`](crate::gen_server::GenServer).
//!
//! ```
//! use rethread::agent::{Agent, AgentRef};
//! use rethread::prelude::*;
//!
//! const HITS: AgentRef<u64> = AgentRef::named("doc.hits");
//!
//! let system = Supervisor::start_link([Agent::child_spec(|| 0).name(HITS)], Strategy::OneForOne)?;
//! HITS.update(|hits| *hits += 1)?;
//! HITS.cast(|hits| *hits += 1); // does not wait
//! assert_eq!(HITS.get(|hits| *hits)?, 2);
//! assert_eq!(HITS.get_and_update(|hits| std::mem::replace(hits, 0))?, 2);
//! system.stop()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | to | use |
//! | --- | --- |
//! | start an agent | [`Agent::start_link`], [`Agent::start`] |
//! | start it under a supervisor, or with a name | [`Agent::child_spec`], [`AgentSpec`] |
//! | read the value | [`AgentRef::get`] |
//! | change the value and wait | [`AgentRef::update`] |
//! | change the value and get a result | [`AgentRef::get_and_update`] |
//! | the same with another timeout than 5 s | [`AgentRef::get_and_update_timeout`] |
//! | change the value without waiting | [`AgentRef::cast`] |
//! | stop the agent | [`AgentRef::stop`], [`AgentRef::stop_timeout`] |
//!
//! # Where a function runs
//! A function runs in the process of the agent, one at a time, and all other callers wait meanwhile. Do only
//! what must be done in one step there: `agent.get(|stock| expensive(stock))` makes all callers wait,
//! `expensive(&agent.get(Clone::clone)?)` only this one.
//!
//! # Failures
//! A function that panics ends the agent, because its value may be inconsistent: the caller gets
//! [`CallError::Exited`](crate::gen_server::CallError::Exited), and a supervisor starts a new agent with the
//! initial value. A function that takes longer than the timeout of its call is not stopped, and its change
//! takes effect.
//!
//! # Agent or mutex
//! An `Arc<Mutex<T>>` is faster. But a thread that panics while it holds the lock leaves a half-changed value
//! to all other threads, and a thread that blocks while it holds the lock blocks them all without a timeout.
//!
//! # Differences from Erlang
//! `update` changes the value in place, and a function with the wrong return type does not compile. The value
//! need not be `Send`: it is created in the agent and never leaves it. There are no remote agents. The [list
//! of differences](crate::differences_from_erlang#agents-and-applications) names the reason for each.

#[expect(clippy::module_inception, reason = "the API of the type Agent")]
pub(crate) mod agent;
pub(crate) mod server;

pub use self::agent::{Agent, AgentRef, AgentSpec};
