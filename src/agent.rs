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

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::child_spec::StartError;
use crate::gen_server::call::{CallError, DEFAULT_CALL_TIMEOUT};
use crate::gen_server::callbacks::Context;
use crate::gen_server::callbacks::GenServer;
use crate::gen_server::callbacks::InitError;
use crate::gen_server::reply::Next;
use crate::gen_server::server_ref::ServerRef;
use crate::gen_server::start::{GenServerExt, ServerSpec};
use crate::sync::Mutex;

/// A value in a process of its own. Other threads read and change it by sending functions to the process,
/// which runs them one at a time.
///
/// ```
/// use rethread::prelude::*;
///
/// const STOCK: ServerRef<Agent<Vec<&str>>> = ServerRef::named("doc.stock");
///
/// let system = Supervisor::start_link([Agent::child_spec(Vec::new).name(STOCK)], Strategy::OneForOne)?;
/// STOCK.update(|stock| stock.push("pear"))?;
/// STOCK.cast_update(|stock| stock.push("plum"));
/// assert_eq!(STOCK.get(|stock| stock.len())?, 2);
/// assert_eq!(STOCK.get_and_update(|stock| stock.pop())?, Some("plum"));
/// system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Requests
/// The methods are those of [`ServerRef<Agent<T>>`](crate::ServerRef#impl-ServerRef%3CAgent%3CT%3E%3E).
///
/// # Where a function runs
/// A function runs in the agent, and all other callers wait meanwhile. Do only what must be done in one step
/// there: `agent.get(|stock| expensive(stock))` makes all callers wait,
/// `expensive(&agent.get(Clone::clone)?)` only this one.
///
/// A function that panics makes the agent exit, because its value may be inconsistent. The caller gets
/// [`CallError::Exited`], and a supervisor starts a new agent with the initial value. A function that takes
/// longer than the timeout of the call is not stopped: its change takes effect.
///
/// # How to supervise
/// [`Agent::child_spec`] returns a spec that every supervisor accepts, with the options of any server: a
/// name, a restart type. Without a supervisor use [`Agent::start_link`] or [`Agent::start`]. The handle is a
/// [`ServerRef`] like that of any server: by name, by key or of one process, with `stop`, `monitor` and
/// `whereis`.
///
/// # When not to use it
/// Use a [`GenServer`] if the operations on the value should be listed in one place instead of being written
/// where they are used, or if it needs timeouts or traps exits. An `Arc<Mutex<T>>` is faster if the threads
/// that share the value never fail; but a thread that panics leaves the value half changed to all others.
///
/// # Differences from Erlang
/// Differences from Elixir's `Agent`: `update` changes the value in place. A function with the wrong return
/// type does not compile. `cast` is [`cast_update`](ServerRef::cast_update). There are no remote agents and
/// no module-function-arguments form. The value need not be `Send`: it is created in the agent and never
/// leaves it.
pub struct Agent<T> {
    value: T,
}

impl<T: 'static> Agent<T> {
    /// Starts an agent linked to the calling process. `init` creates its value, in the new process.
    ///
    /// # Errors
    /// [`StartError`], like [`GenServerExt::start_link`]; [`StartError::Failed`] if `init` panics or exits.
    ///
    /// ```
    /// use rethread::prelude::*;
    ///
    /// let counter = Agent::start_link(|| 0)?;
    /// counter.update(|n| *n += 1)?;
    /// assert_eq!(counter.get(|n| *n)?, 1);
    /// counter.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn start_link(init: impl FnOnce() -> T + Send + 'static) -> Result<ServerRef<Self>, StartError> {
        <Self as GenServerExt>::child_spec(AgentInit::once(init)).start_link()
    }

    /// Starts an agent without a link. `init` creates its value, in the new process.
    ///
    /// # Errors
    /// [`StartError`], like [`start_link`](Self::start_link); [`StartError::Failed`] if `init` panics or
    /// exits.
    ///
    /// ```
    /// use rethread::prelude::*;
    ///
    /// let broken = Agent::<u8>::start(|| panic!("nothing to begin with"));
    /// assert!(matches!(broken, Err(StartError::Failed(ExitReason::Panic(_)))));
    /// ```
    #[track_caller]
    pub fn start(init: impl FnOnce() -> T + Send + 'static) -> Result<ServerRef<Self>, StartError> {
        <Self as GenServerExt>::child_spec(AgentInit::once(init)).start()
    }

    /// Returns the options of an agent, to set a name or to give it to a supervisor. `init` creates the
    /// value, at the first start and at each restart. Two agents of one type under the same supervisor need
    /// ids: `.id("stock")`.
    ///
    /// ```
    /// use rethread::prelude::*;
    ///
    /// let agents = Supervisor::one_for_one()
    ///     .child(Agent::child_spec(|| 1).id("one"))
    ///     .child(Agent::child_spec(|| 2).id("two").restart(Restart::Transient));
    /// # agents.start()?.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn child_spec(init: impl Fn() -> T + Send + Sync + 'static) -> ServerSpec<Self> {
        <Self as GenServerExt>::child_spec(AgentInit(Arc::new(init)))
    }
}

/// The requests to an agent. The functions run in the agent, one after the other.
///
/// A call waits for at most five seconds. Its errors are those of [`call`](Self::call), among them
/// [`CallError::Exited`] with the panic as the reason if the function panics, and [`CallError::Timeout`],
/// after which the function still runs. [`get_and_update_timeout`](Self::get_and_update_timeout) takes
/// another timeout, and can replace each of the others.
impl<T: 'static> ServerRef<Agent<T>> {
    /// Calls the function with the value, and returns its result.
    ///
    /// # Errors
    /// [`CallError`], like [`call`](Self::call).
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// let agent = Agent::start_link(|| vec![3, 1, 2])?;
    /// assert_eq!(agent.get(|list| list.iter().max().copied())?, Some(3));
    /// assert_eq!(agent.get(Clone::clone)?, [3, 1, 2]);
    /// # agent.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get<R: Send + 'static>(
        &self,
        function: impl FnOnce(&T) -> R + Send + 'static,
    ) -> Result<R, CallError> {
        self.get_and_update(move |value| function(value))
    }

    /// Changes the value, and waits until the function has returned.
    ///
    /// # Errors
    /// [`CallError`], like [`call`](Self::call).
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// let agent = Agent::start_link(String::new)?;
    /// agent.update(|text| text.push_str("done"))?;
    /// assert_eq!(agent.get(|text| text.len())?, 4);
    /// # agent.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn update(&self, function: impl FnOnce(&mut T) + Send + 'static) -> Result<(), CallError> {
        self.get_and_update(function)
    }

    /// Changes the value and returns the result of the function, in one step.
    ///
    /// # Errors
    /// [`CallError`], like [`call`](Self::call).
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// let agent = Agent::start_link(|| 41)?;
    /// let before = agent.get_and_update(|n| std::mem::replace(n, 42))?;
    /// assert_eq!((before, agent.get(|n| *n)?), (41, 42));
    /// # agent.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_and_update<R: Send + 'static>(
        &self,
        function: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Result<R, CallError> {
        self.get_and_update_timeout(DEFAULT_CALL_TIMEOUT, function)
    }

    /// Changes the value and returns the result of the function, like
    /// [`get_and_update`](Self::get_and_update), but waits for at most `timeout`. `Duration::MAX` means no
    /// timeout.
    ///
    /// # Errors
    /// [`CallError`], like [`call`](Self::call).
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// # use std::time::Duration;
    /// let agent = Agent::start_link(|| 0)?;
    /// let slow = |n: &mut i32| { process::sleep(Duration::from_millis(50)); *n += 1 };
    /// let answer = agent.get_and_update_timeout(Duration::ZERO, slow);
    /// assert!(matches!(answer, Err(CallError::Timeout { .. })));
    /// assert_eq!(agent.get(|n| *n)?, 1); // it took effect nevertheless
    /// # agent.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_and_update_timeout<R: Send + 'static>(
        &self,
        timeout: Duration,
        function: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Result<R, CallError> {
        // The function and its reply handle are boxed together, so the type `R` is erased in the message.
        self.call_timeout(timeout, |from| AgentCall(Box::new(move |value| from.reply(function(value)))))
    }

    /// Changes the value, but does not wait for it: Elixir's `Agent.cast`. Neither a missing agent nor a
    /// panic of the function is reported to the caller.
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// let agent = Agent::start_link(|| 1)?;
    /// agent.cast_update(|n| *n += 1);
    /// assert_eq!(agent.get(|n| *n)?, 2); // messages of one process arrive in order
    /// agent.stop()?;
    /// agent.cast_update(|n| *n += 1); // the agent has exited: not an error
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cast_update(&self, function: impl FnOnce(&mut T) + Send + 'static) {
        self.cast(AgentCast(Box::new(function)));
    }
}

/// The function that creates the value of an agent. Only [`Agent`] creates it.
pub struct AgentInit<T>(Arc<dyn Fn() -> T + Send + Sync>);

impl<T: 'static> AgentInit<T> {
    /// Wraps a function that can be called only once, for an agent that no supervisor restarts.
    fn once(init: impl FnOnce() -> T + Send + 'static) -> Self {
        // The argument of a server must be an `Fn`, because a supervisor would call it again.
        let init = Mutex::new(Some(init));
        Self(Arc::new(move || {
            // Unlock before the call: `init` is user code.
            let init = init.lock().take();
            init.expect("an agent without a supervisor is started once")()
        }))
    }
}

/// A request to an agent: a function, with the reply handle for its result. Only the methods of
/// [`ServerRef`](ServerRef::get) create it.
pub struct AgentCall<T>(Box<dyn FnOnce(&mut T) -> Next + Send>);

/// A request to an agent without a reply. Only [`cast_update`](ServerRef::cast_update) creates it.
pub struct AgentCast<T>(Box<dyn FnOnce(&mut T) + Send>);

impl<T: 'static> GenServer for Agent<T> {
    type Args = AgentInit<T>;
    type Call = AgentCall<T>;
    type Cast = AgentCast<T>;

    fn init(AgentInit(init): AgentInit<T>, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self { value: init() })
    }

    fn handle_call(&mut self, AgentCall(function): AgentCall<T>, _: &mut Context<Self>) -> Next {
        // The function contains the reply handle. If it panics, the process exits and the caller gets the
        // reason.
        function(&mut self.value)
    }

    fn handle_cast(&mut self, AgentCast(function): AgentCast<T>, _: &mut Context<Self>) -> Next {
        function(&mut self.value);
        Next::wait()
    }
}

impl<T> Clone for AgentInit<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

// `T` need not be `Debug`, so none of these prints the value.
macro_rules! impl_opaque_debug {
    ($($name:ident),*) => {$(
        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}<{}>", stringify!($name), std::any::type_name::<T>())
            }
        }
    )*};
}
impl_opaque_debug!(Agent, AgentInit, AgentCall, AgentCast);
