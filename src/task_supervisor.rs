//! A supervisor of tasks: they are stopped with it, can be listed, and need not take their owner along. User
//! code starts it and has it start tasks.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::child_spec::{ChildSpec, Restart, Shutdown, StartError};
use crate::dynamic_supervisor::children::DynamicChildren;
use crate::dynamic_supervisor::client::{ask, start_child, terminate_child};
use crate::dynamic_supervisor::request::{DynamicAsk, DynamicReminder, DynamicRequest};
use crate::dynamic_supervisor::server::{DynamicPlan, next, unexpected};
use crate::dynamic_supervisor::spec::DynamicSupervisorSpec;
use crate::gen_server::behaviour::{Context, GenServer, Info, Stop};
use crate::gen_server::call::CallError;
use crate::gen_server::handle::ServerRef;
use crate::gen_server::reply::Next;
use crate::pid::Pid;
use crate::process::block::Block;
use crate::process::me;
use crate::process::spawn::{Builder, birth};
use crate::reason::ExitReason;
use crate::supervisor::request::{ChildError, ChildInfo};
use crate::task::handle::Task;
use crate::task::stream::TaskStream;
use crate::task::work::{Body, Born, on_behalf, prepare};
use crate::unwind::contain;

/// A supervisor of tasks: Elixir's `Task.Supervisor`. Its tasks end when it does, can be listed, and are limited
/// in number; and only under a supervisor a task can be without a link to its owner.
///
/// ```
/// use rethread::prelude::*;
///
/// const TASKS: ServerRef<TaskSupervisor> = ServerRef::named("doc.tasks");
/// let system = Supervisor::start_link([TaskSupervisor::new().name(TASKS)], Strategy::OneForOne)?;
///
/// let risky = TASKS.spawn_nolink(|| -> u32 { panic!("no paper") })?;
/// assert!(risky.join().unwrap_err().to_string().contains("no paper")); // and nobody else dies of it
/// TASKS.start_child(|| println!("printed, or not: nobody waits for it"))?;
/// system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # In a server
/// A server that starts a task keeps the handle beside a monitor, and joins when the monitor fires: then
/// [`join`](Task::join) returns at once. What became of the task is for `join` to say: the reason of the `Down` is
/// `NoProc` if the task had ended before the monitor was set.
///
/// ```
/// use std::collections::HashMap;
/// use rethread::prelude::*;
///
/// const TASKS: ServerRef<TaskSupervisor> = ServerRef::named("doc.tasks of a server");
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
///     fn init((): (), _: &mut Context<Self>) -> Result<Self, Stop> {
///         Ok(Printer { running: HashMap::new(), pages: 0, failed: 0 })
///     }
///     fn handle_call(&mut self, Ask::Done(from): Ask, _: &mut Context<Self>) -> Next {
///         from.reply((self.pages, self.failed))
///     }
///     fn handle_cast(&mut self, Tell::Print(text): Tell, _: &mut Context<Self>) -> Next {
///         let print = move || { assert!(!text.is_empty(), "no text"); 1 };
///         match TASKS.spawn_nolink(print) {
///             Ok(task) => drop(self.running.insert(process::monitor(&task), task)),
///             Err(_) => self.failed += 1, // there is no supervisor, or no thread to be had
///         }
///         Next::wait()
///     }
///     fn handle_info(&mut self, info: Info, _: &mut Context<Self>) -> Next {
///         if let Info::Down { monitor, .. } = info {
///             match self.running.remove(&monitor).map(Task::join) {
///                 Some(Ok(pages)) => self.pages += pages,
///                 Some(Err(_)) => self.failed += 1, // or again later: `cx.send_after`
///                 None => {} // a monitor of something else
///             }
///         }
///         Next::wait()
///     }
/// }
///
/// const PRINTER: ServerRef<Printer> = ServerRef::named("doc.printer with tasks");
/// // The supervisor of the tasks first: what comes later is stopped before it, and starts again with it.
/// let system = Supervisor::rest_for_one()
///     .child(TaskSupervisor::new().name(TASKS))
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
/// It is a [`DynamicSupervisor`](crate::DynamicSupervisor) whose children are tasks: each is done once and never
/// restarted. One that is to be restarted is a [`Task::child_spec`] under a supervisor of the other kinds.
///
/// # What can be asked of it
/// Its handle starts tasks, lists and ends them:
/// [`ServerRef<TaskSupervisor>`](crate::ServerRef#impl-ServerRef%3CTaskSupervisor%3E).
///
/// # One for each connection
/// Work that is done once may use up what it was given, such as a socket: it is an `FnOnce`.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::{Shutdown, TcpListener, TcpStream};
/// use rethread::prelude::*;
///
/// fn serve(mut socket: TcpStream) -> std::io::Result<()> {
///     let end = socket.try_clone()?;
///     let _hook = process::on_exit_request(move || drop(end.shutdown(Shutdown::Both))); // ends a `read`
///     let mut line = [0; 5];
///     socket.read_exact(&mut line)?;
///     socket.write_all(&line)
/// }
///
/// const CONNECTIONS: ServerRef<TaskSupervisor> = ServerRef::named("doc.connections");
/// let system = Supervisor::start_link([TaskSupervisor::new().max_children(100).name(CONNECTIONS)], Strategy::OneForOne)?;
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
pub struct TaskSupervisor(DynamicChildren);

impl TaskSupervisor {
    /// A plan with the defaults.
    #[track_caller]
    pub fn new() -> DynamicSupervisorSpec<Self> {
        DynamicSupervisorSpec::with_defaults()
    }

    /// Starts one with the defaults, linked to the calling process. On a foreign thread there is nothing to
    /// link to.
    ///
    /// # Errors
    /// [`StartError`].
    #[track_caller]
    pub fn start_link() -> Result<ServerRef<Self>, StartError> {
        Self::new().start_link()
    }
}

impl fmt::Debug for TaskSupervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskSupervisor").finish_non_exhaustive()
    }
}

impl GenServer for TaskSupervisor {
    type Args = DynamicPlan;
    type Call = DynamicRequest;
    type Cast = DynamicReminder;

    fn init(plan: DynamicPlan, cx: &mut Context<Self>) -> Result<Self, Stop> {
        cx.trap_exit(true);
        plan.children(cx.me()).map(Self)
    }

    fn handle_call(&mut self, DynamicRequest(ask): DynamicRequest, _: &mut Context<Self>) -> Next {
        self.0.answer(ask)
    }

    fn handle_cast(&mut self, DynamicReminder(pid): DynamicReminder, cx: &mut Context<Self>) -> Next {
        next(self.0.try_again(pid), cx)
    }

    fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Next {
        match info {
            Info::Exit { from, reason } => next(self.0.ended(from, &reason), cx),
            other => unexpected(&other, cx),
        }
    }

    fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
        self.0.stop_all();
    }
}

impl ServerRef<TaskSupervisor> {
    /// Has a task started that is linked with the calling process, which owns it, and with the supervisor:
    /// Elixir's `Task.Supervisor.async`. On a thread that is not a process it is
    /// [`spawn_nolink`](Self::spawn_nolink).
    ///
    /// # Errors
    /// [`StartError::MaxChildren`], [`StartError::NoSupervisor`], [`StartError::SystemLimit`],
    /// [`StartError::Refused`].
    #[track_caller]
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Task<T>, StartError> {
        self.builder().spawn(work)
    }

    /// As [`spawn`](Self::spawn), without a link to the owner: when it crashes the owner learns that from
    /// [`join`](Task::join) and from nothing else, and it goes on when the owner ends.
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn spawn_nolink<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Task<T>, StartError> {
        self.builder().spawn_nolink(work)
    }

    /// Has a task started that nobody waits for.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    #[track_caller]
    pub fn start_child(&self, work: impl FnOnce() + Send + 'static) -> Result<Pid, StartError> {
        self.builder().start_child(work)
    }

    /// As [`Task::stream`], each task linked with the supervisor too.
    ///
    /// ```
    /// use rethread::prelude::*;
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
        let start = move |process, body| supervisor.builder().with(process).linked().beget(body);
        TaskStream::new(items.into_iter(), work, Box::new(start))
    }

    /// As [`stream`](Self::stream), without links to the process that iterates: a crash is an element, whether
    /// that process traps exits or not.
    ///
    /// ```
    /// use rethread::prelude::*;
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
        let start = move |process, body| supervisor.builder().with(process).beget(body);
        TaskStream::new(items.into_iter(), work, Box::new(start))
    }

    /// For tasks with more than the defaults.
    ///
    /// ```
    /// use rethread::prelude::*;
    ///
    /// let tasks = TaskSupervisor::start_link()?;
    /// let task = tasks.builder().label("parser").shutdown(Shutdown::BrutalKill).spawn(|| "parsed")?;
    /// assert_eq!(task.join()?, "parsed");
    /// tasks.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder(&self) -> TaskBuilder {
        TaskBuilder { supervisor: self.clone(), process: Builder::new(), shutdown: None }
    }

    /// The tasks that run, the oldest first.
    ///
    /// # Errors
    /// [`CallError`] if the supervisor is not there.
    pub fn children(&self) -> Result<Vec<Pid>, CallError> {
        Ok(ask(self, DynamicAsk::Which)?.iter().filter_map(ChildInfo::pid).collect())
    }

    /// Ends a task.
    ///
    /// # Errors
    /// [`ChildError::NotFound`] if it has no such task, or no longer; [`ChildError::NoSupervisor`].
    pub fn terminate_child(&self, task: impl Into<Pid>) -> Result<(), ChildError> {
        terminate_child(self, task.into())
    }
}

/// A supervised task with more than the defaults: made by
/// [`ServerRef<TaskSupervisor>::builder`](crate::ServerRef::builder).
#[derive(Debug, Clone)]
#[must_use = "it starts nothing before one of its last three methods is called"]
pub struct TaskBuilder {
    supervisor: ServerRef<TaskSupervisor>,
    process: Builder,
    shutdown: Option<Shutdown>,
}

impl TaskBuilder {
    /// How the supervisor ends it. Default: 5 s.
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = Some(shutdown);
        self
    }

    /// A free text for reports and listings, and for the name of the thread.
    pub fn label(mut self, label: impl Into<Arc<str>>) -> Self {
        self.process = self.process.label(label);
        self
    }

    /// See [`Builder::stack_size`].
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.process = self.process.stack_size(bytes);
        self
    }

    /// As [`ServerRef::spawn`].
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn spawn<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Task<T>, StartError> {
        let (slot, body) = prepare(move |_| work());
        Ok(Task::new(self.linked().beget(Box::new(body))?, slot))
    }

    /// As [`ServerRef::spawn_nolink`].
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn spawn_nolink<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Task<T>, StartError> {
        let (slot, body) = prepare(move |_| work());
        Ok(Task::new(self.beget(Box::new(body))?, slot))
    }

    /// As [`ServerRef::start_child`].
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn start_child(self, work: impl FnOnce() + Send + 'static) -> Result<Pid, StartError> {
        // Wanted for what it does: it begins also if the caller ends meanwhile.
        let body = Stage::Asked(Box::new(on_behalf(move |_| work())));
        let order = Arc::new(Order { linked: None, stage: Mutex::new(body) });
        self.place(&order)?;
        Ok(order.born()?.block.pid)
    }

    fn with(mut self, process: Builder) -> Self {
        self.process = process;
        self
    }

    /// The task is to be linked with the calling process, if this is one.
    fn linked(mut self) -> Self {
        self.process.owner = me::get().map(|me| Arc::clone(&me.block));
        self
    }

    /// Has the supervisor start a task for whoever calls. It is taken back if the caller ends before it has the
    /// answer, or there is none: nobody would ever hold it.
    #[track_caller]
    fn beget(self, body: Body) -> Result<Born, StartError> {
        let linked = self.process.owner.clone();
        let order = Arc::new(Order { linked, stage: Mutex::new(Stage::Asked(body)) });
        let unheld = Unheld(&order);
        self.place(&order)?;
        let born = order.born()?;
        std::mem::forget(unheld);
        Ok(born)
    }

    /// Has the supervisor give birth to the process that was ordered.
    #[track_caller]
    fn place(self, order: &Arc<Order>) -> Result<(), StartError> {
        let Self { supervisor, process, shutdown } = self;
        let plan = Builder {
            reports_exits: true,
            spawned_at: process.spawned_at.or(Some(Location::caller())),
            quiet: process.quiet && process.owner.is_some(), // the supervisor has to hear of its end
            ..process
        };
        // A label may be empty, an id may not.
        let id = plan.label.clone().filter(|label| !label.is_empty()).unwrap_or_else(|| "Task".into());
        let order = Arc::clone(order);
        let spec = ChildSpec::new(&id, move || {
            let body = order.begin().ok_or(StartError::Ignored)?; // it is done once
            let task = birth(plan.clone(), me::get().as_ref(), None, body)?;
            order.deliver(task.block());
            Ok(task.pid())
        })
        .restart(Restart::Temporary);
        let spec = match shutdown {
            Some(shutdown) => spec.shutdown(shutdown),
            None => spec,
        };
        start_child(&supervisor, spec).map(drop)
    }
}

/// A task that a supervisor was asked for.
struct Order {
    /// Its owner, if they are to be linked.
    linked: Option<Arc<Block>>,
    stage: Mutex<Stage>,
}

enum Stage {
    Asked(Body),
    Begun,
    /// It may be over before the supervisor's answer is here; its block still knows the true reason.
    Born(Arc<Block>),
    Withdrawn,
}

impl Order {
    /// The body, once.
    fn begin(&self) -> Option<Body> {
        let mut stage = self.stage.lock();
        match std::mem::replace(&mut *stage, Stage::Begun) {
            Stage::Asked(body) => Some(body),
            done => {
                *stage = done;
                None
            }
        }
    }

    fn deliver(&self, block: &Arc<Block>) {
        let mut stage = self.stage.lock();
        if matches!(*stage, Stage::Withdrawn) {
            drop(stage);
            self.dismiss(block);
        } else {
            *stage = Stage::Born(Arc::clone(block));
        }
    }

    fn born(&self) -> Result<Born, StartError> {
        match &*self.stage.lock() {
            Stage::Born(block) => Ok(Born { block: Arc::clone(block), linked: self.linked.clone() }),
            _ => Err(StartError::Failed(ExitReason::NoProc)),
        }
    }

    fn withdraw(&self) {
        let earlier = std::mem::replace(&mut *self.stage.lock(), Stage::Withdrawn);
        match earlier {
            Stage::Asked(body) => contain("the destructor of a task that never began", move || drop(body)),
            Stage::Born(block) => self.dismiss(&block),
            Stage::Begun | Stage::Withdrawn => {}
        }
    }

    fn dismiss(&self, block: &Arc<Block>) {
        let born = Born { block: Arc::clone(block), linked: self.linked.clone() };
        born.cut_off(&ExitReason::Kill);
    }
}

/// Nobody holds the task that was ordered, as long as this lives.
struct Unheld<'a>(&'a Order);

impl Drop for Unheld<'_> {
    fn drop(&mut self) {
        self.0.withdraw();
    }
}
