//! `Agent`: a value in a process of its own, changed by functions that run there. User code that needs a state
//! and no protocol starts one.

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

/// A value that lives in a process of its own. Others read and change it by sending functions there; it runs
/// them one at a time.
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
/// # What can be asked of it
/// [`ServerRef<Agent<T>>`](crate::ServerRef#impl-ServerRef%3CAgent%3CT%3E%3E) has it all.
///
/// # Here or there
/// The function runs inside the agent, and everybody else waits meanwhile. Let it do what must be done in one
/// step, and no more: `agent.get(|stock| expensive(stock))` makes all wait, `expensive(&agent.get(Clone::clone)?)`
/// only the caller.
///
/// A function that panics ends the agent: its value can no longer be trusted. The caller gets
/// [`CallError::Exited`], and a supervisor starts a new agent from the first value. One that takes longer than
/// the caller waits is not stopped: the change takes effect.
///
/// # How to supervise
/// [`Agent::child_spec`] gives what every supervisor takes, with the options of any server: a name, a restart
/// type. Without a supervisor there are [`Agent::start_link`] and [`Agent::start`]. The handle is a [`ServerRef`]
/// like that of any server: by name, by key or of one certain process; `stop`, `monitor`, `whereis` are there.
///
/// # When not to use it
/// When not all that happens to the value is worth writing down as functions at the place of use: a
/// [`GenServer`] lists its requests, can wait for time-outs and trap exits. When nothing ever goes wrong between
/// the threads that share the value, an `Arc<Mutex<T>>` is quicker; but whoever panics leaves it half-changed to all.
///
/// # Differences from Erlang
/// Those from Elixir's `Agent`: `update` changes the value in place. What is not a pair of answer and new state
/// does not compile. `cast` is [`cast_update`](ServerRef::cast_update). There are no remote agents and no
/// module-function-arguments form. The value need not be `Send`: it is made in the agent and never leaves it.
pub struct Agent<T> {
    value: T,
}

impl<T: 'static> Agent<T> {
    /// Starts an agent linked to the calling process; `first` makes its value, in the new process.
    ///
    /// # Errors
    /// [`StartError::Failed`] if `first` panics or exits; else as [`GenServerExt::start_link`].
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

    /// Starts an agent without a link.
    ///
    /// # Errors
    /// As [`start_link`](Self::start_link).
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

    /// An agent for a supervisor, or to be given a name; `first` makes its value, again at each restart. Two
    /// agents of one type beside each other need ids: `.id("stock")`.
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

/// What can be asked of an agent: the functions run inside it, one after the other.
///
/// A call waits for at most five seconds, and its errors are those of [`call`](Self::call): among them
/// [`CallError::Exited`] with the panic if the function panics, and [`CallError::Timeout`], after which the
/// function still runs. For another time there is [`get_and_update_timeout`](Self::get_and_update_timeout), which can
/// do what all of them do.
impl<T: 'static> ServerRef<Agent<T>> {
    /// What the function makes of the value.
    ///
    /// # Errors
    /// As [`call`](Self::call).
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

    /// Changes the value, and returns when that is done.
    ///
    /// # Errors
    /// As [`call`](Self::call).
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

    /// Changes the value and brings something back, in one step.
    ///
    /// # Errors
    /// As [`call`](Self::call).
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

    /// As [`get_and_update`](Self::get_and_update), for at most `limit`; `Duration::MAX` is for ever.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// # use std::time::Duration;
    /// let agent = Agent::start_link(|| 0)?;
    /// let slow = |n: &mut i32| { process::sleep(Duration::from_millis(50)); *n += 1 };
    /// let answer = agent.get_and_update_timeout(Duration::ZERO, slow);
    /// assert!(matches!(answer, Err(CallError::Timeout { .. })));
    /// assert_eq!(agent.get(|n| *n)?, 1); // it took effect all the same
    /// # agent.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_and_update_timeout<R: Send + 'static>(
        &self,
        timeout: Duration,
        function: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Result<R, CallError> {
        self.call_timeout(timeout, |from| AgentCall(Box::new(move |value| from.reply(function(value)))))
    }

    /// Has the value changed, and does not wait: Elixir's `Agent.cast`. Whether there is an agent, and whether
    /// the function panics in it, is not known.
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// let agent = Agent::start_link(|| 1)?;
    /// agent.cast_update(|n| *n += 1);
    /// assert_eq!(agent.get(|n| *n)?, 2); // what one process sends arrives in order
    /// agent.stop()?;
    /// agent.cast_update(|n| *n += 1); // nobody is there: not an error
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cast_update(&self, function: impl FnOnce(&mut T) + Send + 'static) {
        self.cast(AgentCast(Box::new(function)));
    }
}

/// What makes an agent's first value. Made by [`Agent`]'s own functions.
pub struct AgentInit<T>(Arc<dyn Fn() -> T + Send + Sync>);

impl<T: 'static> AgentInit<T> {
    /// For an agent that is started by hand and never again.
    fn once(init: impl FnOnce() -> T + Send + 'static) -> Self {
        let init = Mutex::new(Some(init));
        Self(Arc::new(move || {
            let init = init.lock().take();
            init.expect("it is started once")() // with nothing locked
        }))
    }
}

/// A function and the way back for what it brings. Made by [`get`](ServerRef::get) and its like.
pub struct AgentCall<T>(Box<dyn FnOnce(&mut T) -> Next + Send>);

/// A function that brings nothing back. Made by [`cast_update`](ServerRef::cast_update).
pub struct AgentCast<T>(Box<dyn FnOnce(&mut T) + Send>);

impl<T: 'static> GenServer for Agent<T> {
    type Args = AgentInit<T>;
    type Call = AgentCall<T>;
    type Cast = AgentCast<T>;

    fn init(AgentInit(init): AgentInit<T>, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self { value: init() })
    }

    fn handle_call(&mut self, AgentCall(function): AgentCall<T>, _: &mut Context<Self>) -> Next {
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

/// None of these shows the value or asks that it can be shown.
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
