//! The public API of agents: constructors, the spec, the methods of the handle. The process itself is in
//! `server`.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::agent::server;
use crate::agent::server::{CallFunction, CreateValue};
use crate::call_error::CallError;
use crate::child_spec::{ChildSpec, StartError};
use crate::gen_server::call::DEFAULT_CALL_TIMEOUT;
use crate::gen_server::handle::define_handle;
use crate::gen_server::options::{ServerOptions, impl_server_option_setters};
use crate::gen_server::reply::Caller;
use crate::gen_server::spec::ServerSpec;
use crate::process::control::type_name::short_type_name;
use crate::sync::Mutex;

/// A value in a process of its own. Other threads read and change it by sending functions to the process,
/// which runs them one at a time.
///
/// ```
/// use rethread::prelude::*;
/// use rethread::agent::{Agent, AgentRef};
///
/// const STOCK: AgentRef<Vec<&str>> = AgentRef::named("doc.stock");
///
/// let system = Supervisor::start_link([Agent::child_spec(Vec::new).name(STOCK)], Strategy::OneForOne)?;
/// STOCK.update(|stock| stock.push("pear"))?;
/// STOCK.cast(|stock| stock.push("plum"));
/// assert_eq!(STOCK.get(|stock| stock.len())?, 2);
/// assert_eq!(STOCK.get_and_update(|stock| stock.pop())?, Some("plum"));
/// system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The type itself has no values: it carries the functions that start an agent. The requests are the methods
/// of its handle, [`AgentRef`].
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
/// [`Agent::child_spec`] returns a spec that every supervisor accepts. It has the setters of every spec: a name, the
/// options of a child, a label, the options of the process, a start timeout. Without a supervisor use
/// [`Agent::start_link`] or [`Agent::start`].
///
/// # When not to use it
/// Use a [`GenServer`](crate::gen_server::GenServer) if the operations on the value should be listed in one place
/// instead of being written where they are used, or if it needs timeouts or traps exits. An `Arc<Mutex<T>>` is faster
/// if the threads that share the value never fail; but a thread that panics leaves the value half changed to all
/// others.
///
/// # Differences from Erlang
/// Differences from Elixir's `Agent`: `update` changes the value in place. A function with the wrong return
/// type does not compile. There are no remote agents and no module-function-arguments form. The value need
/// not be `Send`: it is created in the agent and never leaves it.
pub struct Agent<T> {
    // No value of this type is ever created.
    value: PhantomData<fn() -> T>,
}

impl<T: 'static> Agent<T> {
    /// Starts an agent linked to the calling process. `init` creates its value, in the new process.
    ///
    /// # Errors
    /// [`StartError::Failed`] if `init` panics or exits; like for
    /// [`GenServerExt::start_link`](crate::gen_server::GenServerExt::start_link), a calling process that does not
    /// trap exits also exits then. [`StartError::SystemLimit`], [`StartError::Thread`], [`StartError::Exiting`].
    ///
    /// ```
    /// use rethread::agent::Agent;
    ///
    /// let counter = Agent::start_link(|| 0)?;
    /// counter.update(|n| *n += 1)?;
    /// assert_eq!(counter.get(|n| *n)?, 1);
    /// counter.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn start_link(init: impl FnOnce() -> T + Send + 'static) -> Result<AgentRef<T>, StartError> {
        AgentSpec::new(create_once(init)).start_link()
    }

    /// Starts an agent without a link. `init` creates its value, in the new process.
    ///
    /// # Errors
    /// [`StartError::Failed`] if `init` panics or exits; [`StartError::SystemLimit`], [`StartError::Thread`],
    /// [`StartError::Exiting`].
    ///
    /// ```
    /// use rethread::agent::Agent;
    /// use rethread::{ExitReason, StartError};
    ///
    /// let broken = Agent::<u8>::start(|| panic!("nothing to begin with"));
    /// assert!(matches!(broken, Err(StartError::Failed(ExitReason::Panic(_)))));
    /// ```
    #[track_caller]
    pub fn start(init: impl FnOnce() -> T + Send + 'static) -> Result<AgentRef<T>, StartError> {
        AgentSpec::new(create_once(init)).start()
    }

    /// Returns the options of an agent, to set a name or to give it to a supervisor. `init` creates the
    /// value, at the first start and at each restart. Two agents of one type under the same supervisor need
    /// ids: `.id("stock")`.
    ///
    /// ```
    /// use rethread::prelude::*;
    /// use rethread::agent::Agent;
    ///
    /// let agents = Supervisor::one_for_one()
    ///     .child(Agent::child_spec(|| 1).id("one"))
    ///     .child(Agent::child_spec(|| 2).id("two").restart(Restart::Transient));
    /// # agents.start()?.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn child_spec(init: impl Fn() -> T + Send + Sync + 'static) -> AgentSpec<T> {
        AgentSpec::new(Arc::new(init))
    }
}

/// Wraps a function that can be called only once, for an agent that no supervisor restarts.
fn create_once<T: 'static>(init: impl FnOnce() -> T + Send + 'static) -> CreateValue<T> {
    // The argument of a server must be an `Fn`, because a supervisor would call it again.
    let init = Mutex::new(Some(init));
    Arc::new(move || {
        // Unlock before the call: `init` is user code.
        let init = init.lock().take();
        init.expect("an agent without a supervisor is started once")()
    })
}

/// The options to start and to supervise an agent; made by [`Agent::child_spec`].
///
/// | default | |
/// | --- | --- |
/// | id | the name of the type, such as `Agent<i32>` |
/// | restart | [`Restart::Permanent`](crate::supervisor::Restart::Permanent) |
/// | shutdown | 5 s |
/// | name | none |
#[must_use = "a spec does nothing by itself: start it, or give it to a supervisor"]
pub struct AgentSpec<T> {
    create: CreateValue<T>,
    options: ServerOptions,
}

impl<T: 'static> AgentSpec<T> {
    #[track_caller]
    fn new(create: CreateValue<T>) -> Self {
        Self { create, options: ServerOptions::new(short_type_name::<server::Agent<T>>()) }
    }

    /// Registers the agent under a name or key, before its value is created.
    pub fn name(mut self, name: AgentRef<T>) -> Self {
        self.options.name = Some(name.server.target);
        self
    }

    impl_server_option_setters!(options);

    /// Starts the agent linked to the calling process, like [`Agent::start_link`].
    ///
    /// # Errors
    /// [`StartError::AlreadyStarted`] if the name is taken, and [`StartError::Name`] if it is not valid: no process was
    /// started. [`StartError::Failed`] if the function that creates the value panicked, exited or was killed;
    /// [`StartError::Timeout`] if the start timeout is over: the process has exited.
    /// [`StartError::SystemLimit`] and [`StartError::Thread`] if there is no thread for it;
    /// [`StartError::Exiting`] if the calling process is exiting.
    #[track_caller]
    pub fn start_link(self) -> Result<AgentRef<T>, StartError> {
        self.into_server_spec().start_link().map(AgentRef::new)
    }

    /// Starts the agent without a link, like [`Agent::start`].
    ///
    /// # Errors
    /// [`StartError::AlreadyStarted`] if the name is taken, and [`StartError::Name`] if it is not valid: no process was
    /// started. [`StartError::Failed`] if the function that creates the value panicked, exited or was killed;
    /// [`StartError::Timeout`] if the start timeout is over: the process has exited.
    /// [`StartError::SystemLimit`] and [`StartError::Thread`] if there is no thread for it;
    /// [`StartError::Exiting`] if the calling process is exiting.
    #[track_caller]
    pub fn start(self) -> Result<AgentRef<T>, StartError> {
        self.into_server_spec().start().map(AgentRef::new)
    }

    pub(crate) fn into_server_spec(self) -> ServerSpec<server::Agent<T>> {
        ServerSpec { args: self.create, options: self.options }
    }
}

impl<T: 'static> From<AgentSpec<T>> for ChildSpec {
    fn from(spec: AgentSpec<T>) -> Self {
        spec.into_server_spec().into()
    }
}

impl<T> fmt::Debug for AgentSpec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.fmt_spec(f, "AgentSpec")
    }
}

// `T` need not be `Clone`: each process creates a value of its own.
impl<T> Clone for AgentSpec<T> {
    fn clone(&self) -> Self {
        Self { create: Arc::clone(&self.create), options: self.options.clone() }
    }
}

// `T` need not be `Debug`.
impl<T> fmt::Debug for Agent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Agent<{}>", type_name::<T>())
    }
}

define_handle! {
    /// A handle of an [`Agent`] with a value of type `T`: of one particular process, or of the process that is
    /// registered under a name or key at the moment of each request. A handle by name stays valid when the
    /// agent is restarted, and can be a constant.
    ///
    /// The functions given to its methods run in the agent, one after the other. A request waits for at most
    /// five seconds. Its errors are those of [`ServerRef::call`](crate::gen_server::ServerRef::call), among them
    /// [`CallError::Exited`] with the panic as the reason if the function panics, and [`CallError::Timeout`],
    /// after which the function still runs. [`get_and_update_timeout`](Self::get_and_update_timeout) takes
    /// another timeout, and can replace each of the others.
    ///
    /// ```
    /// use rethread::agent::{Agent, AgentRef};
    ///
    /// const VISITORS: AgentRef<u64> = AgentRef::named("doc.visitors");
    ///
    /// let agent = Agent::child_spec(|| 0).name(VISITORS).start()?;
    /// VISITORS.update(|n| *n += 1)?;
    /// assert_eq!(VISITORS.get(|n| *n)?, 1);
    /// agent.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub struct AgentRef<T> of server::Agent<T>; "agent"
}

impl<T: 'static> AgentRef<T> {
    /// Calls the function with the value, and returns its result.
    ///
    /// # Errors
    /// [`CallError`], like [`ServerRef::call`](crate::gen_server::ServerRef::call).
    ///
    /// ```
    /// # use rethread::agent::Agent;
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
    /// [`CallError`], like [`ServerRef::call`](crate::gen_server::ServerRef::call).
    ///
    /// ```
    /// # use rethread::agent::Agent;
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
    /// [`CallError`], like [`ServerRef::call`](crate::gen_server::ServerRef::call).
    ///
    /// ```
    /// # use rethread::agent::Agent;
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
    /// [`get_and_update`](Self::get_and_update), but waits for at most `timeout`; with `Duration::MAX` there is
    /// no limit.
    ///
    /// # Errors
    /// [`CallError`], like [`ServerRef::call`](crate::gen_server::ServerRef::call).
    ///
    /// ```
    /// # use rethread::agent::Agent;
    /// # use rethread::gen_server::CallError;
    /// # use rethread::process;
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
        self.server.call_timeout(timeout, |from| Box::new(move |value: &mut T| from.reply(function(value))))
    }

    /// Waits until the agent is started, if it is not running, then changes the value and returns the result of the
    /// function; all that for at most `timeout`. For an agent that a supervisor restarts; see
    /// [`ServerRef::call_when_started`](crate::gen_server::ServerRef::call_when_started) for what is guaranteed. The
    /// function runs at most once.
    ///
    /// # Errors
    /// [`CallError::NoProc`] if no agent gets the name in time; the others like
    /// [`ServerRef::call`](crate::gen_server::ServerRef::call).
    ///
    /// ```
    /// # use rethread::agent::{Agent, AgentRef};
    /// # use rethread::prelude::*;
    /// # use std::time::Duration;
    /// const VISITORS: AgentRef<u64> = AgentRef::named("doc.restarted visitors");
    ///
    /// let system = Supervisor::start_link([Agent::child_spec(|| 0).name(VISITORS)], Strategy::OneForOne)?;
    /// process::exit(VISITORS.whereis().expect("it is running"), ExitReason::Kill);
    /// assert_eq!(VISITORS.get_and_update_when_started(Duration::from_secs(5), |n| *n)?, 0);
    /// # system.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_and_update_when_started<R: Send + 'static>(
        &self,
        timeout: Duration,
        function: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Result<R, CallError> {
        let request = |from: Caller<R>| -> CallFunction<T> {
            Box::new(move |value: &mut T| from.reply(function(value)))
        };
        self.server.call_when_started_timeout(timeout, request)
    }

    /// Changes the value, but does not wait for it: Elixir's `Agent.cast`. Neither a missing agent nor a
    /// panic of the function is reported to the caller.
    ///
    /// ```
    /// # use rethread::agent::Agent;
    /// let agent = Agent::start_link(|| 1)?;
    /// agent.cast(|n| *n += 1);
    /// assert_eq!(agent.get(|n| *n)?, 2); // messages of one process arrive in order
    /// agent.stop()?;
    /// agent.cast(|n| *n += 1); // the agent has exited: not an error
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cast(&self, function: impl FnOnce(&mut T) + Send + 'static) {
        self.server.cast(Box::new(function));
    }
}
