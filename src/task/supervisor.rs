//! Supervisors of tasks: the public API, and the requests by which the supervisor starts a task. The server
//! and its children are those of `supervisor::dynamic_server`.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use crate::call_error::CallError;
use crate::child_spec::{ChildId, ChildOptions, ChildSpec, Restart, Shutdown, StartError};
use crate::gen_server::handle::define_handle;
use crate::gen_server::options::impl_server_option_setters;
use crate::gen_server::spec::ServerSpec;
use crate::pid::Pid;
use crate::process::control::block::ProcessBlock;
use crate::process::control::block::ProcessKind;
use crate::process::control::local;
use crate::process::lifecycle::spawn::start_process;
use crate::process::lifecycle::spawn::{Builder, without_inbox};
use crate::reason::ExitReason;
use crate::supervisor::child::{ChildError, ChildInfo};
use crate::supervisor::dynamic::start_child;
use crate::supervisor::dynamic::terminate_child;
use crate::supervisor::dynamic_server;
use crate::supervisor::dynamic_server::DynamicChildRequest;
use crate::supervisor::partition::impl_partition;
use crate::supervisor::spec::DynamicSupervisorSpec;
use crate::sync::Mutex;
use crate::task::body::StartedTask;
use crate::task::body::TaskBody;
use crate::task::body::task_body;
use crate::task::body::with_callers;
use crate::task::handle::Task;
use crate::task::stream::TaskStream;
use crate::unwind::drop_and_log;

/// A supervisor of tasks: Elixir's `Task.Supervisor`. Its tasks are stopped with it, can be listed, and can
/// be limited in number. Only under a supervisor can a task have an owner without a link to it.
///
/// ```
/// use rethread::prelude::*;
/// use rethread::task::{TaskSupervisor, TaskSupervisorRef};
///
/// const TASKS: TaskSupervisorRef = TaskSupervisorRef::named("doc.tasks");
/// let system = Supervisor::start_link([TaskSupervisor::child_spec().name(TASKS)], Strategy::OneForOne)?;
///
/// let risky = TASKS.spawn_nolink(|| -> u32 { panic!("no paper") })?;
/// assert!(risky.join().unwrap_err().to_string().contains("no paper")); // the caller and the supervisor keep running
/// TASKS.start_child(|| println!("the result is not awaited"))?;
/// system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # In a server
/// A server that starts a task stores the handle with a monitor, and joins when the monitor fires: then
/// [`join`](crate::task::Task::join) returns at once. Take the result from `join`, not from the `Down` message: its
/// reason is `NoProc` if the task had exited before the monitor was set.
///
/// ```
/// use std::collections::HashMap;
/// use rethread::prelude::*;
/// use rethread::MonitorRef;
/// use rethread::task::{Task, TaskSupervisor, TaskSupervisorRef};
///
/// const TASKS: TaskSupervisorRef = TaskSupervisorRef::named("doc.tasks of a server");
///
/// struct Printer { running: HashMap<MonitorRef, Task<usize>>, pages: usize, failed: usize }
/// enum Ask  { Done(Caller<(usize, usize)>) }
/// enum Tell { Print(&'static str) }
///
/// impl GenServer for Printer {
///     type Args = ();
///     type Call = Ask;
///     type Cast = Tell;
///
///     fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
///         Ok(Printer { running: HashMap::new(), pages: 0, failed: 0 })
///     }
///     fn handle_call(&mut self, Ask::Done(from): Ask, _: &mut Context<Self>) -> Next {
///         from.reply((self.pages, self.failed))
///     }
///     fn handle_cast(&mut self, Tell::Print(text): Tell, _: &mut Context<Self>) -> Next {
///         let print = move || { assert!(!text.is_empty(), "no text"); 1 };
///         match TASKS.spawn_nolink(print) {
///             Ok(task) => drop(self.running.insert(process::monitor(&task), task)),
///             Err(_) => self.failed += 1, // no supervisor, or no thread available
///         }
///         Next::wait()
///     }
///     fn handle_info(&mut self, info: Info, _: &mut Context<Self>) -> Next {
///         if let Info::Down { monitor, .. } = info {
///             match self.running.remove(&monitor).map(Task::join) {
///                 Some(Ok(pages)) => self.pages += pages,
///                 Some(Err(_)) => self.failed += 1, // or retry later with `cx.send_after`
///                 None => {} // a monitor of something else
///             }
///         }
///         Next::wait()
///     }
/// }
///
/// const PRINTER: ServerRef<Printer> = ServerRef::named("doc.printer with tasks");
/// // The task supervisor comes first: children after it are stopped before it, and restarted with it.
/// let system = Supervisor::rest_for_one()
///     .child(TaskSupervisor::child_spec().name(TASKS))
///     .child(Printer::child_spec(()).name(PRINTER))
///     .start()?;
/// PRINTER.cast(Tell::Print("one page"));
/// PRINTER.cast(Tell::Print(""));
/// # while PRINTER.call(Ask::Done)? != (1, 1) { process::sleep(std::time::Duration::from_millis(1)) }
/// assert_eq!(PRINTER.call(Ask::Done)?, (1, 1));
/// system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A task supervisor is a [`DynamicSupervisor`](crate::supervisor::DynamicSupervisor) whose children are tasks: each runs
/// once and is never restarted. For a task that is restarted, put a
/// [`task::child_spec`](crate::task::child_spec) under a [`Supervisor`](crate::supervisor::Supervisor) or
/// `DynamicSupervisor`.
///
/// The type itself has no values: it carries the functions that make a spec or start a supervisor. The handle,
/// [`TaskSupervisorRef`], starts, stops and lists tasks.
///
/// # One for each connection
/// The function of a task is an `FnOnce`, so it may consume what it is given, such as a socket.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::{Shutdown, TcpListener, TcpStream};
/// use rethread::prelude::*;
/// use rethread::StartError;
/// use rethread::task::{TaskSupervisor, TaskSupervisorRef};
///
/// fn serve(mut socket: TcpStream) -> std::io::Result<()> {
///     let end = socket.try_clone()?;
///     let _hook = process::on_exit_request(move || drop(end.shutdown(Shutdown::Both))); // ends a `read`
///     let mut line = [0; 5];
///     socket.read_exact(&mut line)?;
///     socket.write_all(&line)
/// }
///
/// const CONNECTIONS: TaskSupervisorRef = TaskSupervisorRef::named("doc.connections");
/// let tasks = TaskSupervisor::child_spec().max_children(100).name(CONNECTIONS);
/// let system = Supervisor::start_link([tasks], Strategy::OneForOne)?;
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut client = TcpStream::connect(listener.local_addr()?)?;
/// let (socket, _) = listener.accept()?;
/// match CONNECTIONS.start_child(|| serve(socket).or_exit()) {
///     Err(StartError::MaxChildren { .. }) => println!("too many: the socket is closed"),
///     started => drop(started?),
/// }
/// client.write_all(b"hello")?;
/// let mut answer = String::new();
/// client.read_to_string(&mut answer)?;
/// assert_eq!(answer, "hello");
/// system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum TaskSupervisor {}

impl TaskSupervisor {
    /// Creates a spec with the defaults.
    #[track_caller]
    pub fn child_spec() -> TaskSupervisorSpec {
        TaskSupervisorSpec { spec: DynamicSupervisorSpec::new("TaskSupervisor") }
    }

    /// Starts a task supervisor with the defaults, linked to the calling process. On a thread that is not a
    /// process there is no link.
    ///
    /// # Errors
    /// [`StartError::SystemLimit`], [`StartError::Thread`], [`StartError::Exiting`].
    #[track_caller]
    pub fn start_link() -> Result<TaskSupervisorRef, StartError> {
        Self::child_spec().start_link()
    }

    /// Starts a task supervisor with the defaults, without a link.
    ///
    /// # Errors
    /// [`StartError::SystemLimit`], [`StartError::Thread`], [`StartError::Exiting`].
    #[track_caller]
    pub fn start() -> Result<TaskSupervisorRef, StartError> {
        Self::child_spec().start()
    }
}

/// The spec of a task supervisor, made by [`TaskSupervisor::child_spec`].
///
/// | default | |
/// | --- | --- |
/// | max_children | limited only by the number of processes |
/// | name | none |
/// | id under another supervisor | the name, or else `TaskSupervisor` |
/// | restart, shutdown under another supervisor | [`Restart::Permanent`], [`Shutdown::Infinity`] |
#[derive(Clone)]
#[must_use = "a spec does nothing by itself: start it, or give it to a supervisor"]
pub struct TaskSupervisorSpec {
    spec: DynamicSupervisorSpec,
}

impl fmt::Debug for TaskSupervisorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spec.options.fmt_spec(f, "TaskSupervisorSpec")
    }
}

impl TaskSupervisorSpec {
    /// Sets the name of the supervisor.
    pub fn name(mut self, name: TaskSupervisorRef) -> Self {
        self.spec.options.set_supervisor_name(name.server.target);
        self
    }

    impl_server_option_setters!(spec.options);

    /// Sets the maximum number of tasks. Starting one more fails with [`StartError::MaxChildren`].
    pub fn max_children(mut self, limit: usize) -> Self {
        self.spec = self.spec.max_children(limit);
        self
    }

    /// Starts the supervisor, linked to the calling process. On a thread that is not a process there is no
    /// link: it does the same as [`start`](Self::start).
    ///
    /// # Errors
    /// [`StartError::AlreadyStarted`] if the name is taken; [`StartError::Timeout`] if the start timeout is over;
    /// [`StartError::Name`], [`StartError::SystemLimit`], [`StartError::Thread`], [`StartError::Exiting`].
    #[track_caller]
    pub fn start_link(self) -> Result<TaskSupervisorRef, StartError> {
        self.into_server_spec().start_link().map(TaskSupervisorRef::new)
    }

    /// Starts the supervisor without a link.
    ///
    /// # Errors
    /// [`StartError::AlreadyStarted`] if the name is taken; [`StartError::Timeout`] if the start timeout is over;
    /// [`StartError::Name`], [`StartError::SystemLimit`], [`StartError::Thread`], [`StartError::Exiting`].
    #[track_caller]
    pub fn start(self) -> Result<TaskSupervisorRef, StartError> {
        self.into_server_spec().start().map(TaskSupervisorRef::new)
    }

    fn into_server_spec(self) -> ServerSpec<dynamic_server::TaskSupervisor> {
        self.spec.into_server_spec()
    }
}

impl From<TaskSupervisorSpec> for ChildSpec {
    fn from(spec: TaskSupervisorSpec) -> Self {
        spec.into_server_spec().into()
    }
}

impl_partition!(TaskSupervisor, TaskSupervisorSpec, TaskSupervisorRef, dynamic_server::TaskSupervisor);

define_handle! {
    /// A handle of a [`TaskSupervisor`]: of one particular process, or of the process that is registered under
    /// a name or key at the moment of each request. A handle by name stays valid when the supervisor is
    /// restarted, and can be a constant.
    pub struct TaskSupervisorRef of dynamic_server::TaskSupervisor; "task supervisor"
}

impl TaskSupervisorRef {
    /// Starts a task that is linked to the calling process, its owner, and to the supervisor: Elixir's
    /// `Task.Supervisor.async`. On a thread that is not a process it does the same as
    /// [`spawn_nolink`](Self::spawn_nolink).
    ///
    /// # Errors
    /// [`StartError::MaxChildren`] if the supervisor has as many tasks as it may have; [`StartError::NoSupervisor`] if
    /// the call to it fails; [`StartError::SystemLimit`], [`StartError::Thread`], [`StartError::Exiting`].
    #[track_caller]
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Task<T>, StartError> {
        self.builder().spawn(work)
    }

    /// Starts a task like [`spawn`](Self::spawn), but without a link to the owner: only [`join`](Task::join)
    /// reports a crash of the task, and the task keeps running when the owner exits.
    ///
    /// # Errors
    /// [`StartError::MaxChildren`] if the supervisor has as many tasks as it may have; [`StartError::NoSupervisor`] if
    /// the call to it fails; [`StartError::SystemLimit`], [`StartError::Thread`], [`StartError::Exiting`].
    #[track_caller]
    pub fn spawn_nolink<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Task<T>, StartError> {
        self.builder().spawn_nolink(work)
    }

    /// Starts a task whose result is not awaited. It keeps running when the caller exits.
    ///
    /// # Errors
    /// [`StartError::MaxChildren`] if the supervisor has as many tasks as it may have; [`StartError::NoSupervisor`] if
    /// the call to it fails; [`StartError::SystemLimit`], [`StartError::Thread`], [`StartError::Exiting`].
    #[track_caller]
    pub fn start_child(&self, work: impl FnOnce() + Send + 'static) -> Result<Pid, StartError> {
        self.builder().start_child(work)
    }

    /// Creates a stream like [`task::stream`](crate::task::stream), but of tasks that are also linked to the supervisor.
    ///
    /// ```
    /// use rethread::task::TaskSupervisor;
    ///
    /// let tasks = TaskSupervisor::start_link()?;
    /// let lengths = tasks.stream(["a", "bb", "ccc"], |word| word.len()).max_concurrency(2);
    /// assert_eq!(lengths.collect::<Result<Vec<_>, _>>()?, [1, 2, 3]);
    /// tasks.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn stream<I, T>(
        &self,
        items: I,
        work: impl Fn(I::Item) -> T + Send + Sync + 'static,
    ) -> TaskStream<I::IntoIter, T>
    where
        I: IntoIterator,
        I::Item: Send + 'static,
        T: Send + 'static,
    {
        let supervisor = self.clone();
        // Called by the stream for each item, in the process that iterates.
        let start = move |process, body| supervisor.builder().process(process).linked().start(body);
        TaskStream::new(items.into_iter(), work, Box::new(start))
    }

    /// Creates a stream like [`stream`](Self::stream), but without links between the tasks and the process
    /// that iterates: a crash is an element of the stream, whether that process traps exits or not.
    ///
    /// ```
    /// use rethread::task::TaskSupervisor;
    ///
    /// let tasks = TaskSupervisor::start_link()?;
    /// let halves = tasks.stream_nolink([4, 3], |n| { assert!(n % 2 == 0, "{n} is odd"); n / 2 });
    /// assert_eq!(halves.filter_map(Result::ok).collect::<Vec<_>>(), [2]);
    /// tasks.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn stream_nolink<I, T>(
        &self,
        items: I,
        work: impl Fn(I::Item) -> T + Send + Sync + 'static,
    ) -> TaskStream<I::IntoIter, T>
    where
        I: IntoIterator,
        I::Item: Send + 'static,
        T: Send + 'static,
    {
        let supervisor = self.clone();
        let start = move |process, body| supervisor.builder().process(process).start(body);
        TaskStream::new(items.into_iter(), work, Box::new(start))
    }

    /// Returns a builder, for tasks with other options than the defaults.
    ///
    /// ```
    /// use rethread::supervisor::Shutdown;
    /// use rethread::task::TaskSupervisor;
    ///
    /// let tasks = TaskSupervisor::start_link()?;
    /// let task = tasks.builder().label("parser").shutdown(Shutdown::BrutalKill).spawn(|| "parsed")?;
    /// assert_eq!(task.join()?, "parsed");
    /// tasks.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder(&self) -> TaskBuilder {
        TaskBuilder::new(self)
    }

    /// Returns the running tasks, the oldest first.
    ///
    /// # Errors
    /// [`CallError`] if the supervisor is not running or exits meanwhile.
    pub fn children(&self) -> Result<Vec<Pid>, CallError> {
        Ok(self.server.call_infinity(DynamicChildRequest::Which)?.iter().filter_map(ChildInfo::pid).collect())
    }

    /// Stops a task.
    ///
    /// # Errors
    /// [`ChildError::NotFound`] if the supervisor has no such task, or no longer; [`ChildError::NoSupervisor`] if the
    /// call fails; [`ChildError::Exiting`] if the calling process is exiting.
    pub fn terminate_child(&self, task: impl Into<Pid>) -> Result<(), ChildError> {
        terminate_child(&self.server, task.into())
    }
}

/// Options of a supervised task, made by [`TaskSupervisorRef::builder`].
#[derive(Clone)]
#[must_use = "a builder does nothing by itself: call `spawn`, `spawn_nolink` or `start_child`"]
pub struct TaskBuilder {
    supervisor: TaskSupervisorRef,
    process: Builder,
    child: ChildOptions,
}

impl fmt::Debug for TaskBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shutdown = self.child.shutdown_or_default();
        f.debug_struct("TaskBuilder")
            .field("supervisor", &self.supervisor)
            .field("shutdown", &shutdown)
            .finish_non_exhaustive()
    }
}

impl TaskBuilder {
    pub(crate) fn new(supervisor: &TaskSupervisorRef) -> Self {
        // The id becomes the label, if the task has one when it is started.
        let child = ChildOptions { restart: Restart::Temporary, ..ChildOptions::new("Task") };
        Self { supervisor: supervisor.clone(), process: Builder::new(), child }
    }

    /// Sets how the supervisor stops the task. Default: a timeout of 5 s.
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.child.shutdown = Some(shutdown);
        self
    }

    /// Sets the label: a free text for reports and listings, and for the name of the thread.
    pub fn label(mut self, label: impl Into<Arc<str>>) -> Self {
        self.process = self.process.label(label);
        self
    }

    /// Sets the options of the process: stack size, time limits, a name, a label. Replaces all of them, except
    /// that a label that was set before stays if `process` has none. If the name is taken, the start of the task
    /// fails with [`StartError::AlreadyStarted`].
    ///
    /// ```
    /// use rethread::task::TaskSupervisor;
    /// use rethread::process;
    ///
    /// let tasks = TaskSupervisor::start_link()?;
    /// let deep = process::Builder::new().stack_size(16 * 1024 * 1024);
    /// assert_eq!(tasks.builder().process(deep).spawn(|| "parsed")?.join()?, "parsed");
    /// tasks.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn process(mut self, process: Builder) -> Self {
        self.process.replace_with(process);
        self
    }

    /// Starts the task, linked to the calling process, its owner, and to the supervisor; see
    /// [`TaskSupervisorRef::spawn`].
    ///
    /// # Errors
    /// [`StartError::MaxChildren`] if the supervisor has as many tasks as it may have; [`StartError::NoSupervisor`] if
    /// the call to it fails; [`StartError::AlreadyStarted`] or [`StartError::Name`] if the process options have a name
    /// that is taken or invalid; [`StartError::SystemLimit`], [`StartError::Thread`], [`StartError::Exiting`].
    #[track_caller]
    pub fn spawn<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Task<T>, StartError> {
        // Made in the owner: the task inherits its callers.
        let (slot, body) = task_body(without_inbox(work));
        Ok(Task::new(self.linked().start(Box::new(body))?, slot))
    }

    /// Starts the task without a link to the owner; see [`TaskSupervisorRef::spawn_nolink`].
    ///
    /// # Errors
    /// [`StartError::MaxChildren`] if the supervisor has as many tasks as it may have; [`StartError::NoSupervisor`] if
    /// the call to it fails; [`StartError::AlreadyStarted`] or [`StartError::Name`] if the process options have a name
    /// that is taken or invalid; [`StartError::SystemLimit`], [`StartError::Thread`], [`StartError::Exiting`].
    #[track_caller]
    pub fn spawn_nolink<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Task<T>, StartError> {
        let (slot, body) = task_body(without_inbox(work));
        Ok(Task::new(self.start(Box::new(body))?, slot))
    }

    /// Starts the task without an owner; see [`TaskSupervisorRef::start_child`].
    ///
    /// # Errors
    /// [`StartError::MaxChildren`] if the supervisor has as many tasks as it may have; [`StartError::NoSupervisor`] if
    /// the call to it fails; [`StartError::AlreadyStarted`] or [`StartError::Name`] if the process options have a name
    /// that is taken or invalid; [`StartError::SystemLimit`], [`StartError::Thread`], [`StartError::Exiting`].
    #[track_caller]
    pub fn start_child(self, work: impl FnOnce() + Send + 'static) -> Result<Pid, StartError> {
        // No `CancelOnDrop`: the task has no owner, so it runs even if the caller exits before the reply.
        let request = TaskRequest::new(None, Box::new(with_callers(without_inbox(work))));
        self.submit(&request)?;
        Ok(request.started()?.block.pid)
    }

    /// Links the task to the calling thread, if that is a process.
    pub(crate) fn linked(mut self) -> Self {
        self.process.owner = local::get().map(|me| Arc::clone(&me.block));
        self
    }

    /// Starts a task whose handle the caller will own.
    #[track_caller]
    pub(crate) fn start(self, body: TaskBody) -> Result<StartedTask, StartError> {
        // The request keeps the owner, to remove the link before it kills the task.
        let linked = self.process.owner.clone();
        let request = TaskRequest::new(linked, body);
        // The caller may be killed while it waits in `submit`, or the call may fail although the supervisor
        // starts the task later. No handle to the task would exist then: the guard cancels the request.
        let cancel_guard = CancelOnDrop(&request);
        self.submit(&request)?;
        let started = request.started()?;
        std::mem::forget(cancel_guard); // from here on the caller has the task
        Ok(started)
    }

    /// Calls the supervisor to start the requested task.
    #[track_caller]
    fn submit(self, request: &Arc<TaskRequest>) -> Result<(), StartError> {
        let Self { supervisor, process, child } = self;
        let builder = Builder {
            kind: ProcessKind::Task,
            spawned_at: process.spawned_at.or(Some(Location::caller())),
            // The flag is for the owner. Without one it would apply to the supervisor, which needs the `Exit`
            // message.
            no_exit_message: process.no_exit_message && process.owner.is_some(),
            ..process
        };
        // The id of the child is the label, but an id must not be empty.
        let id = builder.label.clone().filter(|label| !label.is_empty()).map_or(child.id, ChildId::from);
        let request = Arc::clone(request);
        let options = ChildOptions { id, ..child };
        let spec = ChildSpec::with_options(options, move || {
            // Runs in the supervisor. There is no body if the request was cancelled before.
            let body = request.take_body().ok_or(StartError::Ignored)?;
            let task = start_process(builder.clone(), local::get().as_ref(), None, body)?;
            request.set_started(task.block());
            Ok(task.pid())
        });
        start_child(&supervisor.server, spec).map(drop)
    }
}

/// A request for a task, shared by the caller, which submits or cancels it, and the supervisor, which starts
/// the task.
///
/// The supervisor takes the state from `Pending` through `Starting` to `Started`. The caller may set
/// `Cancelled` at any of these steps; then the party that comes second, caller or supervisor, kills the task
/// if it was started.
struct TaskRequest {
    /// The owner, if the task is to be linked to it.
    linked: Option<Arc<ProcessBlock>>,
    state: Mutex<RequestState>,
}

enum RequestState {
    Pending(TaskBody),
    /// The supervisor has taken the body and starts the process.
    Starting,
    /// Holds the control block, not the pid: the task may exit before the caller receives the reply, and the
    /// block still has its exit reason.
    Started(Arc<ProcessBlock>),
    Cancelled,
}

impl TaskRequest {
    fn new(linked: Option<Arc<ProcessBlock>>, body: TaskBody) -> Arc<Self> {
        Arc::new(Self { linked, state: Mutex::new(RequestState::Pending(body)) })
    }

    /// Takes the body: `Some` for the first call, unless the request was cancelled.
    fn take_body(&self) -> Option<TaskBody> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, RequestState::Starting) {
            RequestState::Pending(body) => Some(body),
            // Taken or cancelled before: keep that state.
            other => {
                *state = other;
                None
            }
        }
    }

    /// Records the started process, or kills it if the caller cancelled the request since `take_body`.
    fn set_started(&self, block: &Arc<ProcessBlock>) {
        let mut state = self.state.lock();
        if matches!(*state, RequestState::Cancelled) {
            drop(state); // no other lock is taken while this one is held
            self.kill(block);
        } else {
            *state = RequestState::Started(Arc::clone(block));
        }
    }

    /// Returns the started task; `NoProc` if the supervisor replied without starting it.
    fn started(&self) -> Result<StartedTask, StartError> {
        match &*self.state.lock() {
            RequestState::Started(block) => {
                Ok(StartedTask { block: Arc::clone(block), linked_owner: self.linked.clone() })
            }
            _ => Err(StartError::Failed(ExitReason::NoProc)),
        }
    }

    /// Drops the body if it was not taken, or kills the task if it was started.
    fn cancel(&self) {
        let previous = std::mem::replace(&mut *self.state.lock(), RequestState::Cancelled);
        match previous {
            // The captures of the body are user values: a panic in their destructor must not escape from this
            // drop.
            RequestState::Pending(body) => drop_and_log("function of a task that never started", body),
            RequestState::Started(block) => self.kill(&block),
            // The supervisor is between `take_body` and `set_started`, which will see `Cancelled` and kill
            // the task.
            RequestState::Starting | RequestState::Cancelled => {}
        }
    }

    fn kill(&self, block: &Arc<ProcessBlock>) {
        // Unlinked first: the owner did not get the task and must not receive its exit.
        let started = StartedTask { block: Arc::clone(block), linked_owner: self.linked.clone() };
        started.unlink_and_exit(&ExitReason::Kill);
    }
}

/// Cancels a request when it is dropped, because its caller has no handle to the task.
struct CancelOnDrop<'a>(&'a TaskRequest);

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
