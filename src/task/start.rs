//! Starting a task: by itself, as a process with a mailbox, without a handle, as a child of a supervisor. User
//! code calls it.

use std::panic::Location;
use std::sync::Arc;

use crate::child_spec::{ChildId, ChildSpec, Restart};
use crate::pid::{MonitorRef, Pid};
use crate::process::control::block::ProcessKind;
use crate::process::control::local;
use crate::process::error::SpawnError;
use crate::process::lifecycle::spawn::Builder;
use crate::process::lifecycle::spawn::start_process;
use crate::process::mailbox::inbox::Inbox;
use crate::task::body::StartedTask;
use crate::task::body::task_body;
use crate::task::body::with_callers;
use crate::task::handle::Task;

impl<T: Send + 'static> Task<T> {
    /// Starts a task, linked with the calling process, which owns it: Elixir's `async`. On a thread that is not a
    /// process there is nothing to link with; all else is the same.
    ///
    /// # Errors
    /// [`SpawnError`]: too many processes, or no thread to be had.
    ///
    /// ```
    /// use rethread::Task;
    ///
    /// let (a, b) = (Task::spawn(|| 6 * 7)?, Task::spawn(|| "text".len())?);
    /// assert_eq!((a.join()?, b.join()?), (42, 4));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn spawn(work: impl FnOnce() -> T + Send + 'static) -> Result<Self, SpawnError> {
        Self::process_with::<()>(Builder::new(), move |_| work())
    }

    /// As [`spawn`](Self::spawn), for a task that receives messages.
    ///
    /// # Errors
    /// As there.
    ///
    /// ```
    /// use rethread::Task;
    /// use rethread::process::{Address, Event};
    ///
    /// let adder = Task::process::<u32>(|inbox| match inbox.recv() {
    ///     Event::Message(n) => n + 1,
    ///     _ => 0,
    /// })?;
    /// let address = Address::from_pid(adder.pid()).expect("it waits for a u32");
    /// address.send(41_u32);
    /// assert_eq!(adder.join()?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn process<M: Send + 'static>(
        work: impl FnOnce(&mut Inbox<M>) -> T + Send + 'static,
    ) -> Result<Self, SpawnError> {
        Self::process_with(Builder::new(), work)
    }

    /// As [`process`](Self::process), with a name, a label, a stack or limits of its own.
    ///
    /// # Errors
    /// As there; and [`SpawnError::Name`] if the name is taken.
    ///
    /// ```
    /// use rethread::{Task, process};
    ///
    /// let deep = process::Builder::new().label("parser").stack_size(16 * 1024 * 1024);
    /// let task = Task::process_with::<()>(deep, |_| "parsed")?;
    /// assert_eq!(task.join()?, "parsed");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn process_with<M: Send + 'static>(
        builder: Builder,
        work: impl FnOnce(&mut Inbox<M>) -> T + Send + 'static,
    ) -> Result<Self, SpawnError> {
        let me = local::get();
        let (slot, body) = task_body(work);
        let address = start_process(Builder { kind: ProcessKind::Task, ..builder }, me.as_ref(), None, body)?;
        let linked_owner = me.map(|me| Arc::clone(&me.block));
        Ok(Self::new(StartedTask { block: Arc::clone(address.block()), linked_owner }, slot))
    }
}

/// Tasks nobody waits for: what they do is what they are for.
impl Task<()> {
    /// Starts a task without a handle and without a link: it lives and dies alone.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    ///
    /// ```
    /// use rethread::Task;
    ///
    /// Task::start(|| println!("sent, or not: nobody will know"))?;
    /// # Ok::<(), rethread::process::SpawnError>(())
    /// ```
    #[track_caller]
    pub fn start(work: impl FnOnce() + Send + 'static) -> Result<Pid, SpawnError> {
        let builder = Builder { kind: ProcessKind::Task, ..Builder::default() };
        start_process::<()>(builder, None, None, with_callers(move |_| work())).map(|address| address.pid())
    }

    /// As [`start`](Self::start), linked with the calling process if it is one.
    ///
    /// # Errors
    /// As there.
    ///
    /// ```
    /// use rethread::Task;
    /// use rethread::process::{self, Inbox};
    ///
    /// let ended = process::attach(|inbox: &mut Inbox<()>| {
    ///     Task::start_link(|| process::exit_with("oops")).expect("a free thread");
    ///     inbox.recv();
    /// });
    /// assert_eq!(ended.unwrap_err().to_string(), "oops");
    /// ```
    #[track_caller]
    pub fn start_link(work: impl FnOnce() + Send + 'static) -> Result<Pid, SpawnError> {
        let builder = Builder { kind: ProcessKind::Task, ..Builder::default() };
        start_process::<()>(builder, local::get().as_ref(), None, with_callers(move |_| work()))
            .map(|address| address.pid())
    }

    /// As [`start`](Self::start), monitored by the calling process: one `Down` tells it of the end, with the true
    /// reason however fast that comes. [What servers do](crate::task#in-a-server).
    ///
    /// # Errors
    /// As there; [`SpawnError::NotAProcess`] on a thread that is not a process.
    ///
    /// ```
    /// use rethread::Task;
    /// use rethread::process::{self, Event, Inbox};
    ///
    /// process::attach(|inbox: &mut Inbox<()>| {
    ///     let (_task, monitor) = Task::start_monitor(|| process::exit_with("oops")).expect("a free thread");
    ///     let Event::Down { monitor: fired, reason, .. } = inbox.recv() else { panic!("a down was due") };
    ///     assert_eq!((fired, reason), (monitor, "oops".into()));
    /// })?;
    /// # Ok::<(), process::AttachError>(())
    /// ```
    #[track_caller]
    pub fn start_monitor(work: impl FnOnce() + Send + 'static) -> Result<(Pid, MonitorRef), SpawnError> {
        let me = local::get().ok_or(SpawnError::NotAProcess)?;
        let monitor = MonitorRef::next();
        let builder = Builder { kind: ProcessKind::Task, ..Builder::default() };
        let task = start_process::<()>(builder, None, Some((&me, monitor)), with_callers(move |_| work()))?;
        Ok((task.pid(), monitor))
    }

    /// A task as the child of a supervisor. It is done once: [`Restart::Temporary`], unless
    /// [`restart`](ChildSpec::restart) says otherwise.
    ///
    /// # Differences from Erlang
    /// Elixir takes the module for the id; closures have none, so it is to be given.
    ///
    /// ```
    /// use rethread::{Restart, Strategy, Supervisor, Task};
    ///
    /// let warm_up = Task::child_spec("warm up", || println!("the cache is warm"));
    /// let system = Supervisor::start_link([warm_up.restart(Restart::Transient)], Strategy::OneForOne)?;
    /// system.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn child_spec(id: impl Into<ChildId>, work: impl Fn() + Send + Sync + 'static) -> ChildSpec {
        let id = id.into();
        let spawned_at = Some(Location::caller());
        let builder =
            Builder { kind: ProcessKind::Task, spawned_at, ..Builder::default() }.label(id.as_str());
        let work = Arc::new(work);
        let start = move || {
            let work = Arc::clone(&work);
            let body = with_callers::<(), _>(move |_| work());
            Ok(start_process(builder.clone(), local::get().as_ref(), None, body)?.pid())
        };
        ChildSpec::new(id, start).restart(Restart::Temporary)
    }
}
