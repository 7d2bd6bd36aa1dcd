//! The functions that start a task: with a handle, with a mailbox, without a handle, as a child of a
//! supervisor. Streams and task supervisors have their own.

use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

use crate::child_spec::{ChildId, ChildSpec, Restart};
use crate::pid::{MonitorRef, Pid};
use crate::process::control::block::ProcessKind;
use crate::process::control::local::{self, CurrentProcess};
use crate::process::error::SpawnError;
use crate::process::lifecycle::spawn::Builder;
use crate::process::lifecycle::spawn::start_process;
use crate::process::lifecycle::spawn::without_inbox;
use crate::process::mailbox::inbox::Inbox;
use crate::task::body::StartedTask;
use crate::task::body::task_body;
use crate::task::body::with_callers;
use crate::task::handle::Task;

/// Starts a task that is linked to the calling process, its owner: Elixir's `async`. On a thread that is not a
/// process there is no link; everything else is the same.
///
/// # Errors
/// [`SpawnError::SystemLimit`] if there are too many processes, [`SpawnError::Thread`] if the operating system
/// refuses a thread, [`SpawnError::Exiting`] if the calling process is exiting.
///
/// ```
/// use rethread::task;
///
/// let (a, b) = (task::spawn(|| 6 * 7)?, task::spawn(|| "text".len())?);
/// assert_eq!((a.join()?, b.join()?), (42, 4));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<Task<T>, SpawnError> {
    Builder::new().spawn_task(work)
}

/// Starts a task like [`spawn`], with a mailbox for messages of type `M`.
///
/// # Errors
/// [`SpawnError::SystemLimit`] if there are too many processes, [`SpawnError::Thread`] if the operating system
/// refuses a thread, [`SpawnError::Exiting`] if the calling process is exiting.
///
/// ```
/// use rethread::process::{Address, Event, Inbox};
/// use rethread::task;
///
/// let adder = task::spawn_receiver(|inbox: &mut Inbox<u32>| match inbox.recv() {
///     Event::Message(n) => n + 1,
///     _ => 0,
/// })?;
/// let address = Address::from_pid(adder.pid()).expect("it receives u32");
/// address.send(41_u32);
/// assert_eq!(adder.join()?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn spawn_receiver<M: Send + 'static, T: Send + 'static>(
    work: impl FnOnce(&mut Inbox<M>) -> T + Send + 'static,
) -> Result<Task<T>, SpawnError> {
    Builder::new().spawn_task_receiver(work)
}

/// Tasks with the options of a builder.
impl Builder {
    /// Starts a task with these options, like [`task::spawn`](crate::task::spawn).
    ///
    /// # Errors
    /// [`SpawnError::SystemLimit`] if there are too many processes, [`SpawnError::Thread`] if the operating system
    /// refuses a thread, [`SpawnError::Name`] if the name is taken, [`SpawnError::Exiting`] if the calling process
    /// is exiting.
    ///
    /// ```
    /// use rethread::process;
    ///
    /// let deep = process::Builder::new().label("parser").stack_size(16 * 1024 * 1024);
    /// let task = deep.spawn_task(|| "parsed")?;
    /// assert_eq!(task.join()?, "parsed");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn spawn_task<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Task<T>, SpawnError> {
        self.spawn_task_receiver(without_inbox(work))
    }

    /// Starts a task with a mailbox and with these options, like
    /// [`task::spawn_receiver`](crate::task::spawn_receiver).
    ///
    /// # Errors
    /// [`SpawnError::SystemLimit`] if there are too many processes, [`SpawnError::Thread`] if the operating system
    /// refuses a thread, [`SpawnError::Name`] if the name is taken, [`SpawnError::Exiting`] if the calling process
    /// is exiting.
    ///
    /// ```
    /// use rethread::process::{self, Inbox, Name};
    ///
    /// let named = process::Builder::new().name("doc.adder");
    /// let adder = named.spawn_task_receiver(|inbox: &mut Inbox<u32>| inbox.recv().into_message())?;
    /// Name::new("doc.adder").send(42_u32)?;
    /// assert_eq!(adder.join()?, Some(42));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn spawn_task_receiver<M: Send + 'static, T: Send + 'static>(
        self,
        work: impl FnOnce(&mut Inbox<M>) -> T + Send + 'static,
    ) -> Result<Task<T>, SpawnError> {
        // The body must be made on the owner's thread, from which it inherits the callers.
        let me = local::get();
        let (slot, body) = task_body(work);
        let address = start_process(Self { kind: ProcessKind::Task, ..self }, me.as_ref(), None, body)?;
        let linked_owner = me.map(|me| Arc::clone(&me.block));
        Ok(Task::new(StartedTask { block: Arc::clone(address.block()), linked_owner }, slot))
    }
}

/// Starts a task without a handle and without a link: it is independent of the calling process.
///
/// # Errors
/// [`SpawnError::SystemLimit`] if there are too many processes, [`SpawnError::Thread`] if the operating system
/// refuses a thread, [`SpawnError::Exiting`] if the calling process is exiting.
///
/// ```
/// use rethread::task;
///
/// task::start(|| println!("the result of this is not needed"))?;
/// # Ok::<(), rethread::process::SpawnError>(())
/// ```
#[track_caller]
pub fn start(work: impl FnOnce() + Send + 'static) -> Result<Pid, SpawnError> {
    start_detached(None, None, work)
}

/// Starts a task like [`start`], linked to the calling process if it is one.
///
/// # Errors
/// [`SpawnError::SystemLimit`] if there are too many processes, [`SpawnError::Thread`] if the operating system
/// refuses a thread, [`SpawnError::Exiting`] if the calling process is exiting.
///
/// ```
/// use rethread::process::{self, Inbox};
/// use rethread::task;
///
/// let ended = process::attach_receiver(|inbox: &mut Inbox<()>| {
///     task::start_link(|| process::exit_with("oops")).expect("a free thread");
///     inbox.recv();
/// });
/// assert_eq!(ended.unwrap_err().to_string(), "oops");
/// ```
#[track_caller]
pub fn start_link(work: impl FnOnce() + Send + 'static) -> Result<Pid, SpawnError> {
    start_detached(local::get().as_ref(), None, work)
}

/// Starts a task like [`start`], monitored by the calling process: it receives one `Down`
/// when the task exits, with the real exit reason even if the task exits at once. Intended for
/// [servers](crate::task#in-a-server).
///
/// # Errors
/// [`SpawnError::SystemLimit`] if there are too many processes, [`SpawnError::Thread`] if the operating system
/// refuses a thread, [`SpawnError::Exiting`] if the calling process is exiting, [`SpawnError::NotAProcess`] on a
/// thread that is not a process.
///
/// ```
/// use rethread::process::{self, Event, Inbox};
/// use rethread::task;
///
/// process::attach_receiver(|inbox: &mut Inbox<()>| {
///     let (_task, monitor) = task::start_monitor(|| process::exit_with("oops")).expect("a free thread");
///     let Event::Down { monitor: fired, reason, .. } = inbox.recv() else { panic!("expected a Down") };
///     assert_eq!((fired, reason), (monitor, "oops".into()));
/// })?;
/// # Ok::<(), process::AttachError>(())
/// ```
#[track_caller]
pub fn start_monitor(work: impl FnOnce() + Send + 'static) -> Result<(Pid, MonitorRef), SpawnError> {
    // The monitor is passed to the start, which sets it before the task can run: an early exit is not
    // missed.
    let me = local::get().ok_or(SpawnError::NotAProcess)?;
    let monitor = MonitorRef::next();
    let task = start_detached(None, Some((&me, monitor)), work)?;
    Ok((task, monitor))
}

/// Starts a task without a handle, whose parent and callers are those of the calling process.
#[track_caller]
fn start_detached(
    link_to: Option<&Rc<CurrentProcess>>,
    monitor_by: Option<(&Rc<CurrentProcess>, MonitorRef)>,
    work: impl FnOnce() + Send + 'static,
) -> Result<Pid, SpawnError> {
    let builder = Builder { kind: ProcessKind::Task, ..Builder::default() };
    let body = with_callers(without_inbox(work));
    start_process(builder, link_to, monitor_by, body).map(|address| address.pid())
}

/// Returns the specification of a task as the child of a supervisor. It is run once:
/// [`Restart::Temporary`], unless changed with [`restart`](ChildSpec::restart).
///
/// # Differences from Erlang
/// Elixir uses the module as the id; closures have none, so the id is a parameter.
///
/// ```
/// use rethread::supervisor::{Restart, Strategy, Supervisor};
/// use rethread::task;
///
/// let warm_up = task::child_spec("warm up", || println!("the cache is warm"));
/// let system = Supervisor::start_link([warm_up.restart(Restart::Transient)], Strategy::OneForOne)?;
/// system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn child_spec(id: impl Into<ChildId>, work: impl Fn() + Send + Sync + 'static) -> ChildSpec {
    let id = id.into();
    let spawned_at = Some(Location::caller());
    let builder = Builder { kind: ProcessKind::Task, spawned_at, ..Builder::default() }.label(id.as_str());
    // A restart runs the same closure again, so it is shared. The callers are read at each start, on the
    // supervisor's thread.
    let work = Arc::new(work);
    let start = move || {
        let work = Arc::clone(&work);
        let body = with_callers(without_inbox(move || work()));
        Ok(start_process(builder.clone(), local::get().as_ref(), None, body)?.pid())
    };
    ChildSpec::new(id, start).restart(Restart::Temporary)
}
