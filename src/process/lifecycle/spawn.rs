//! Starting a process: the functions `spawn..`, the [`Builder`], and the steps that prepare everything before the
//! thread of the process runs.

use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::pid::{MonitorRef, Pid};
use crate::process::control::block::Peer;
use crate::process::control::block::ProcessBlock;
use crate::process::control::block::ProcessKind;
use crate::process::control::block::SpawnInfo;
use crate::process::control::local;
use crate::process::control::local::{CurrentProcess, Exiting, enter_runtime_call};
use crate::process::control::settings::ProcessPermit;
use crate::process::control::settings::Settings;
use crate::process::control::settings::settings;
use crate::process::control::table;
use crate::process::error::{NameError, SpawnError};
use crate::process::lifecycle::run::drop_inbox;
use crate::process::lifecycle::run::run_process;
use crate::process::mailbox::address::Address;
use crate::process::mailbox::inbox::Inbox;
use crate::process::mailbox::inbox::NoMessages;
use crate::process::mailbox::inbox::QueueItem;
use crate::process::mailbox::queue::Reader;
use crate::process::mailbox::queue::queue;
use crate::process::names;
use crate::process::names::via::{self, Via};
use crate::process::observe::zombie;
use crate::process::park::thread_cache;
use crate::process::park::thread_cache::Job;
use crate::process::park::timer_thread;
use crate::process::signals::deliver;
use crate::process::signals::deliver::ThreadState;
use crate::process::signals::effect::Origin;
use crate::process::signals::link::add_link_before_start;
use crate::process::signals::link::remove_link;
use crate::process::signals::monitor::add_monitor_before_start;
use crate::process::signals::monitor::remove_watcher;
use crate::reason::ExitReason;
use crate::sync;
use crate::sync::atomic::Ordering;

/// Starts a process: `body` runs on a thread of its own. When it returns, the process exits with
/// [`ExitReason::Normal`]. The process has no [`Inbox`], so it receives no messages: use [`spawn_receiver`] for one
/// that does. Links, monitors, exit signals and names are the same for both.
///
/// # Errors
/// [`SpawnError::SystemLimit`] if there are too many processes, [`SpawnError::Thread`] if the operating system
/// refuses a thread, [`SpawnError::Exiting`] if the calling process is exiting.
///
/// ```
/// use rethread::process;
///
/// let worker = process::spawn(|| println!("runs on a thread of its own"))?;
/// process::watch(worker).wait();
/// # Ok::<(), process::SpawnError>(())
/// ```
#[track_caller]
pub fn spawn(body: impl FnOnce() + Send + 'static) -> Result<Pid, SpawnError> {
    Builder::new().spawn(body)
}

/// Starts a process, like [`spawn`], linked to the calling one, in one step: no matter how soon it exits, the
/// caller gets the real reason.
///
/// # Errors
/// [`SpawnError::SystemLimit`] if there are too many processes, [`SpawnError::Thread`] if the operating system
/// refuses a thread, [`SpawnError::Exiting`] if the calling process is exiting, [`SpawnError::NotAProcess`] on a
/// thread that is not a process.
///
/// ```
/// use rethread::process::{self, Inbox};
///
/// let ended = process::attach_receiver(|inbox: &mut Inbox<()>| {
///     process::spawn_link(|| process::exit_with("oops")).expect("a free thread");
///     inbox.recv();
/// });
/// assert_eq!(ended.unwrap_err().to_string(), "oops");
/// ```
#[track_caller]
pub fn spawn_link(body: impl FnOnce() + Send + 'static) -> Result<Pid, SpawnError> {
    Builder::new().spawn_link(body)
}

/// Starts a process, like [`spawn`], and monitors it, in one step: no matter how soon it exits, the `Down` has the
/// real reason.
///
/// # Errors
/// [`SpawnError::SystemLimit`] if there are too many processes, [`SpawnError::Thread`] if the operating system
/// refuses a thread, [`SpawnError::Exiting`] if the calling process is exiting, [`SpawnError::NotAProcess`] on a
/// thread that is not a process.
///
/// ```
/// use rethread::process::{self, Event, Inbox};
///
/// process::attach_receiver(|inbox: &mut Inbox<()>| {
///     let (_child, monitor) = process::spawn_monitor(|| process::exit_with("oops")).expect("a free thread");
///     let Event::Down { monitor: fired, reason, .. } = inbox.recv() else { panic!("expected a Down") };
///     assert_eq!((fired, reason), (monitor, "oops".into()));
/// })?;
/// # Ok::<(), process::AttachError>(())
/// ```
#[track_caller]
pub fn spawn_monitor(body: impl FnOnce() + Send + 'static) -> Result<(Pid, MonitorRef), SpawnError> {
    Builder::new().spawn_monitor(body)
}

/// Starts a process with a mailbox for messages of type `M`: `body` runs on a thread of its own and receives them
/// from its [`Inbox`]. When it returns, the process exits with [`ExitReason::Normal`]. The returned [`Address`]
/// sends to the process.
///
/// # Errors
/// [`SpawnError::SystemLimit`] if there are too many processes, [`SpawnError::Thread`] if the operating system
/// refuses a thread, [`SpawnError::Exiting`] if the calling process is exiting.
///
/// ```
/// use rethread::process::{self, Event, Inbox};
///
/// let echo = process::spawn_receiver(|inbox: &mut Inbox<String>| {
///     while let Event::Message(text) = inbox.recv() {
///         println!("{text}");
///     }
/// })?;
/// echo.send("hello".to_owned());
/// # Ok::<(), process::SpawnError>(())
/// ```
#[track_caller]
pub fn spawn_receiver<M: Send + 'static>(
    body: impl FnOnce(&mut Inbox<M>) + Send + 'static,
) -> Result<Address<M>, SpawnError> {
    Builder::new().spawn_receiver(body)
}

/// Starts a process with a mailbox, like [`spawn_receiver`], linked to the calling one, in one step: no matter how
/// soon it exits, the caller gets the real reason.
///
/// # Errors
/// [`SpawnError::SystemLimit`] if there are too many processes, [`SpawnError::Thread`] if the operating system
/// refuses a thread, [`SpawnError::Exiting`] if the calling process is exiting, [`SpawnError::NotAProcess`] on a
/// thread that is not a process.
///
/// ```
/// use rethread::process::{self, Inbox};
///
/// let ended = process::attach_receiver(|inbox: &mut Inbox<()>| {
///     let child = process::spawn_receiver_link(|inbox: &mut Inbox<&str>| {
///         let reason = inbox.recv().into_message().unwrap_or("no message");
///         process::exit_with(reason)
///     });
///     child.expect("a free thread").send("oops");
///     inbox.recv();
/// });
/// assert_eq!(ended.unwrap_err().to_string(), "oops");
/// ```
#[track_caller]
pub fn spawn_receiver_link<M: Send + 'static>(
    body: impl FnOnce(&mut Inbox<M>) + Send + 'static,
) -> Result<Address<M>, SpawnError> {
    Builder::new().spawn_receiver_link(body)
}

/// Starts a process with a mailbox, like [`spawn_receiver`], and monitors it, in one step: no matter how soon it
/// exits, the `Down` has the real reason.
///
/// # Errors
/// [`SpawnError::SystemLimit`] if there are too many processes, [`SpawnError::Thread`] if the operating system
/// refuses a thread, [`SpawnError::Exiting`] if the calling process is exiting, [`SpawnError::NotAProcess`] on a
/// thread that is not a process.
///
/// ```
/// use rethread::ExitReason;
/// use rethread::process::{self, Event, Inbox};
///
/// process::attach_receiver(|inbox: &mut Inbox<()>| {
///     let started = process::spawn_receiver_monitor(|inbox: &mut Inbox<u32>| {
///         assert_eq!(inbox.recv(), Event::Message(42));
///     });
///     let (child, monitor) = started.expect("a free thread");
///     child.send(42);
///     let Event::Down { monitor: fired, reason, .. } = inbox.recv() else { panic!("expected a Down") };
///     assert_eq!((fired, reason), (monitor, ExitReason::Normal));
/// })?;
/// # Ok::<(), process::AttachError>(())
/// ```
#[track_caller]
pub fn spawn_receiver_monitor<M: Send + 'static>(
    body: impl FnOnce(&mut Inbox<M>) + Send + 'static,
) -> Result<(Address<M>, MonitorRef), SpawnError> {
    Builder::new().spawn_receiver_monitor(body)
}

/// Starts a process with options: a name, a label, limits of its own.
///
/// ```
/// use std::time::Duration;
/// use rethread::process;
///
/// let worker = process::Builder::new()
///     .name("doc.worker")
///     .label("worker of the docs")
///     .kill_grace(Duration::from_millis(10))
///     .spawn(|| process::sleep(Duration::MAX))?;
/// assert_eq!(process::whereis("doc.worker"), Some(worker));
/// # Ok::<(), process::SpawnError>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a builder starts nothing before one of its spawn methods is called"]
pub struct Builder {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) via: Option<Arc<dyn Via>>,
    pub(crate) label: Option<Arc<str>>,
    pub(crate) stack_size: Option<usize>,
    pub(crate) dedicated_thread: bool,
    pub(crate) kill_grace: Option<Duration>,
    pub(crate) exit_timeout: Option<Duration>,
    pub(crate) start_timeout: Option<Duration>,
    /// The starter waits until the process reports that it has started. If the start fails, it learns that from
    /// the result alone, without an `Exit` message.
    pub(crate) reports_start: bool,
    pub(crate) kind: ProcessKind,
    /// A process to link with beside the starter: the owner of a supervised task.
    pub(crate) owner: Option<Arc<ProcessBlock>>,
    /// The owner learns of the exit by other means than an `Exit` message. It still exits with this process unless
    /// it traps exits.
    pub(crate) no_exit_message: bool,
    /// The place in the user's source that asked for the process, if it is not the caller of `start_process`.
    pub(crate) spawned_at: Option<&'static Location<'static>>,
    /// The process leads an application: all its descendants belong to it.
    pub(crate) leads_application: bool,
}

impl Builder {
    /// Creates a builder for a process without name, with default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers the process under a name, a text or a [`Name`](crate::process::Name), before its body runs. If an
    /// earlier holder of the name is still exiting, the body waits until its cleanup is complete.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Registers the process under a key of a registry or of another table of names before its body runs; also beside a
    /// name. If an earlier holder of the key is still exiting, the body waits until its cleanup is complete. If the key
    /// is taken, the start fails with [`SpawnError::Name`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use rethread::process;
    /// use rethread::registry::Registry;
    ///
    /// static SENSORS: Registry<u32> = Registry::new();
    ///
    /// let builder = process::Builder::new().via(SENSORS.key(7));
    /// let sensor = builder.spawn(|| process::sleep(Duration::MAX))?;
    /// assert_eq!(SENSORS.whereis(&7), Some(sensor));
    /// # Ok::<(), process::SpawnError>(())
    /// ```
    pub fn via(mut self, key: impl Via + 'static) -> Self {
        self.via = Some(Arc::new(key));
        self
    }

    /// Sets a free text for reports and listings, and for the name of the thread. Default: the name, if any.
    pub fn label(mut self, label: impl Into<Arc<str>>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Sets the stack size in bytes. Default: [`Settings::stack_size`](crate::process::Settings::stack_size).
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Gives the process a thread of its own: one that no process has used before, and that none will use afterwards.
    ///
    /// Otherwise the process may run on a thread whose earlier process returned normally, and leaves its own thread to
    /// a later one. So set this for a process that changes its thread: its cores, priority, signal mask, directory,
    /// or a sandbox (see [hazards](crate::hazards)). A new thread inherits all this from the thread that starts it;
    /// therefore processes started by this one have threads of their own, too.
    ///
    /// ```
    /// use rethread::process;
    ///
    /// let parser = process::Builder::new().dedicated_thread().spawn(|| {
    ///     // Restrict this thread here, then handle untrusted input.
    /// })?;
    /// # Ok::<(), process::SpawnError>(())
    /// ```
    pub fn dedicated_thread(mut self) -> Self {
        self.dedicated_thread = true;
        self
    }

    /// Sets how long the process may unwind after a kill. Default:
    /// [`Settings::kill_grace`](crate::process::Settings::kill_grace).
    pub fn kill_grace(mut self, timeout: Duration) -> Self {
        self.kill_grace = Some(timeout);
        self
    }

    /// Sets how long the process may unwind when it exits for another reason. Default:
    /// [`Settings::exit_timeout`](crate::process::Settings::exit_timeout).
    pub fn exit_timeout(mut self, timeout: Duration) -> Self {
        self.exit_timeout = Some(timeout);
        self
    }

    /// Sets how long a start may take that waits for a report of the process: [`start`](Self::start),
    /// [`start_link`](Self::start_link), `acked_worker` of a child spec, and the `init` of a server. After that the
    /// process is killed, and the start fails with [`StartError::Timeout`](crate::StartError::Timeout). Default: no
    /// limit. The functions `spawn..` do not wait.
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = Some(timeout);
        self
    }

    /// Replaces all options by those of `other`, except that a label stays if `other` has none.
    pub(crate) fn replace_with(&mut self, other: Self) {
        let label = other.label.or_else(|| self.label.take());
        *self = Self { label, ..other };
    }

    /// Starts the process, like [`spawn`].
    ///
    /// # Errors
    /// [`SpawnError::SystemLimit`] if there are too many processes, [`SpawnError::Thread`] if the operating system
    /// refuses a thread, [`SpawnError::Name`] if the name is taken, [`SpawnError::Exiting`] if the calling process
    /// is exiting.
    #[track_caller]
    pub fn spawn(self, body: impl FnOnce() + Send + 'static) -> Result<Pid, SpawnError> {
        self.spawn_receiver(without_inbox(body)).map(|address| address.pid())
    }

    /// Starts the process linked to the calling one, like [`spawn_link`].
    ///
    /// # Errors
    /// [`SpawnError::SystemLimit`] if there are too many processes, [`SpawnError::Thread`] if the operating system
    /// refuses a thread, [`SpawnError::Name`] if the name is taken, [`SpawnError::Exiting`] if the calling process
    /// is exiting, [`SpawnError::NotAProcess`] on a thread that is not a process.
    #[track_caller]
    pub fn spawn_link(self, body: impl FnOnce() + Send + 'static) -> Result<Pid, SpawnError> {
        self.spawn_receiver_link(without_inbox(body)).map(|address| address.pid())
    }

    /// Starts the process and monitors it, like [`spawn_monitor`].
    ///
    /// # Errors
    /// [`SpawnError::SystemLimit`] if there are too many processes, [`SpawnError::Thread`] if the operating system
    /// refuses a thread, [`SpawnError::Name`] if the name is taken, [`SpawnError::Exiting`] if the calling process
    /// is exiting, [`SpawnError::NotAProcess`] on a thread that is not a process.
    #[track_caller]
    pub fn spawn_monitor(
        self,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<(Pid, MonitorRef), SpawnError> {
        self.spawn_receiver_monitor(without_inbox(body)).map(|(address, monitor)| (address.pid(), monitor))
    }

    /// Starts the process with a mailbox, like [`spawn_receiver`].
    ///
    /// # Errors
    /// [`SpawnError::SystemLimit`] if there are too many processes, [`SpawnError::Thread`] if the operating system
    /// refuses a thread, [`SpawnError::Name`] if the name is taken, [`SpawnError::Exiting`] if the calling process
    /// is exiting.
    #[track_caller]
    pub fn spawn_receiver<M: Send + 'static>(
        self,
        body: impl FnOnce(&mut Inbox<M>) + Send + 'static,
    ) -> Result<Address<M>, SpawnError> {
        start_process(self, None, None, body)
    }

    /// Starts the process with a mailbox, linked to the calling one, like [`spawn_receiver_link`].
    ///
    /// # Errors
    /// [`SpawnError::SystemLimit`] if there are too many processes, [`SpawnError::Thread`] if the operating system
    /// refuses a thread, [`SpawnError::Name`] if the name is taken, [`SpawnError::Exiting`] if the calling process
    /// is exiting, [`SpawnError::NotAProcess`] on a thread that is not a process.
    #[track_caller]
    pub fn spawn_receiver_link<M: Send + 'static>(
        self,
        body: impl FnOnce(&mut Inbox<M>) + Send + 'static,
    ) -> Result<Address<M>, SpawnError> {
        let me = local::get().ok_or(SpawnError::NotAProcess)?;
        start_process(self, Some(&me), None, body)
    }

    /// Starts the process with a mailbox and monitors it, like [`spawn_receiver_monitor`].
    ///
    /// # Errors
    /// [`SpawnError::SystemLimit`] if there are too many processes, [`SpawnError::Thread`] if the operating system
    /// refuses a thread, [`SpawnError::Name`] if the name is taken, [`SpawnError::Exiting`] if the calling process
    /// is exiting, [`SpawnError::NotAProcess`] on a thread that is not a process.
    #[track_caller]
    pub fn spawn_receiver_monitor<M: Send + 'static>(
        self,
        body: impl FnOnce(&mut Inbox<M>) + Send + 'static,
    ) -> Result<(Address<M>, MonitorRef), SpawnError> {
        let me = local::get().ok_or(SpawnError::NotAProcess)?;
        let monitor = MonitorRef::next();
        start_process(self, None, Some((&me, monitor)), body).map(|address| (address, monitor))
    }
}

/// Converts the body of a process without an inbox into one that ignores its inbox.
pub(crate) fn without_inbox<T>(body: impl FnOnce() -> T) -> impl FnOnce(&mut Inbox<NoMessages>) -> T {
    move |_| body()
}

/// Starts a process. Everything is in place before its thread begins: block, name, links and monitor.
///
/// Other threads can reach the process from step 2 on, and may end it before its body runs.
#[track_caller]
pub(crate) fn start_process<M: Send + 'static>(
    builder: Builder,
    link_to: Option<&Rc<CurrentProcess>>,
    monitor_by: Option<(&Rc<CurrentProcess>, MonitorRef)>,
    body: impl FnOnce(&mut Inbox<M>) + Send + 'static,
) -> Result<Address<M>, SpawnError> {
    let parent = enter_runtime_call().map_err(|Exiting| SpawnError::Exiting)?;
    // Without timers a process could not be given a deadline for its exit.
    timer_thread::ensure_started().map_err(|error| SpawnError::Thread(Arc::new(error)))?;

    // Step 1: the permit, which counts against the limit. Dropped with the job if there is no thread.
    let defaults = settings();
    let permit = ProcessPermit::try_acquire(defaults.max_processes)
        .map_err(|limit| SpawnError::SystemLimit { limit })?;

    // Step 2: the block, in the pid table. From here on `start_guard` completes the exit of the process on every
    // early return.
    let (block, reader) = create_block::<M>(&builder, parent.as_deref(), &defaults);
    let start_guard = StartGuard(&block);
    if application_has_ended(&block) {
        // The parent belongs to the application, too: it is being killed or has been killed.
        return Err(SpawnError::Exiting);
    }

    // Step 3: the name, before the links: if it is taken, no linked process gets a signal.
    register_names(&builder, &block).map_err(SpawnError::Name)?;

    // Step 4: the links, the monitor and the edge of the wait-for graph.
    let relations = Relations {
        linked: [link_to.map(|me| &me.block), builder.owner.as_ref()],
        monitor: monitor_by.map(|(me, id)| (&me.block, id)),
        parent: parent.as_ref().map(|me| &me.block),
    };
    relations.add(&builder, &block);

    // Step 5: the thread, which owns the process from here on.
    let child_block = Arc::clone(&block);
    let run = Box::new(move || {
        let mut inbox = Inbox::new(Arc::clone(&child_block), reader);
        run_process(&child_block, permit, &mut inbox, body);
        drop_inbox(inbox);
    });
    let label = builder.label.as_ref().or(builder.name.as_ref()).cloned();
    let stack_size = builder.stack_size.unwrap_or(defaults.stack_size);
    match thread_cache::execute(stack_size, Job { label, body: run, dedicated: builder.dedicated_thread }) {
        Ok(()) => {
            std::mem::forget(start_guard);
            Ok(Address::new(block))
        }
        Err(error) => {
            // Before `start_guard` is dropped: the error is the only notification that the caller gets.
            relations.remove(&block);
            Err(SpawnError::Thread(Arc::new(error)))
        }
    }
}

/// The maximum number of ancestors and callers that are recorded. A process that starts its successor and exits,
/// again and again, must not pass on an ever longer list.
pub(crate) const MAX_ANCESTORS: usize = 32;

/// Creates the block of a process, adds it to the pid table, and returns it with the receiving end of its mailbox.
#[track_caller]
pub(crate) fn create_block<M: Send + 'static>(
    builder: &Builder,
    parent: Option<&CurrentProcess>,
    defaults: &Settings,
) -> (Arc<ProcessBlock>, Reader<QueueItem<M>>) {
    let ancestors = parent.map_or_else(
        || Arc::from([]),
        |parent| {
            let parent_info = &parent.block.spawn_info;
            std::iter::once(parent.block.pid)
                .chain(parent_info.ancestors.iter().copied())
                .take(MAX_ANCESTORS)
                .collect()
        },
    );
    let pid = Pid::next();
    let spawn_info = SpawnInfo {
        ancestors,
        application: if builder.leads_application {
            Some(pid)
        } else {
            parent.and_then(|parent| parent.block.spawn_info.application)
        },
        spawned_at: builder.spawned_at.unwrap_or(Location::caller()),
        started_at: sync::now(),
        kill_grace: builder.kill_grace.unwrap_or(defaults.kill_grace),
        exit_timeout: builder.exit_timeout.unwrap_or(defaults.exit_timeout),
        kind: builder.kind,
    };
    let (queue, reader) = queue();
    let block = Arc::new(ProcessBlock::new(pid, spawn_info, queue));
    // Before the block is in the table: listings must not show a process without its label.
    block.lock().label.clone_from(&builder.label);
    table::insert(&block);
    (block, reader)
}

/// Returns `true` if the application that the process would belong to has ended.
fn application_has_ended(block: &ProcessBlock) -> bool {
    // Called with the process in the table. The master sets its cleanup flag and then kills all processes of the
    // application that are in the table; so either the flag is seen here, or the master finds the process there.
    let master = block.spawn_info.application.filter(|master| *master != block.pid);
    master.is_some_and(|master| table::get(master).is_none_or(|master| master.is_cleaning_up()))
}

/// Registers the process under its name and its key, and records the earlier holders that it has to wait for.
fn register_names(builder: &Builder, block: &Arc<ProcessBlock>) -> Result<(), NameError> {
    let mut predecessors = Vec::new();
    if let Some(name) = &builder.name {
        predecessors.extend(names::claim(name, block)?);
    }
    if let Some(via) = &builder.via {
        predecessors.extend(via::claim(via, block)?);
    }
    block.lock().predecessors = predecessors;
    Ok(())
}

/// The processes that are connected to a new process before its thread starts.
struct Relations<'a> {
    /// The starter, if it links, and the owner of a task.
    linked: [Option<&'a Arc<ProcessBlock>>; 2],
    monitor: Option<(&'a Arc<ProcessBlock>, MonitorRef)>,
    parent: Option<&'a Arc<ProcessBlock>>,
}

impl Relations<'_> {
    /// Adds the links, the monitor, and the edge of the wait-for graph.
    fn add(&self, builder: &Builder, block: &Arc<ProcessBlock>) {
        // The process that learns of the exit by other means than an `Exit` message: the owner, or else the starter.
        let linked = self.linked.iter().flatten();
        let no_exit_message_to = linked
            .clone()
            .last()
            .filter(|_| builder.reports_start || builder.no_exit_message)
            .map(|other| other.pid);
        block.lock().no_exit_message_to = no_exit_message_to;
        for other in linked {
            if !add_link_before_start(other, block) && no_exit_message_to != Some(other.pid) {
                // Another thread found the process by its name and killed it, and its kill grace has passed: its
                // cleanup did not see this link. `deliver_exit_signal` ignores signals without a link, so add one.
                other.lock().links.insert(block.pid, Peer(Arc::clone(block)));
                deliver::deliver_exit_signal(other, block.pid, &ExitReason::Killed, Origin::Link);
            }
        }
        if let Some((watcher, id)) = self.monitor {
            add_monitor_before_start(watcher, id, block);
        }
        // Before the first step of the process, so that a call from it to the waiting parent is found to be a cycle.
        if let (true, Some(parent)) = (builder.reports_start, self.parent) {
            parent.waiting_on.store(block.pid.to_u64(), Ordering::SeqCst);
        }
    }

    /// Removes everything again, because the thread of the process could not be started.
    fn remove(self, block: &Arc<ProcessBlock>) {
        if let Some(parent) = self.parent {
            parent.waiting_on.store(0, Ordering::SeqCst);
        }
        for other in self.linked.into_iter().flatten() {
            remove_link(other, block.pid);
        }
        if let Some((watcher, id)) = self.monitor {
            watcher.lock().monitoring.remove(&id);
            remove_watcher(block, id);
        }
    }
}

/// A process whose thread has not started. Dropping the guard completes its exit, also when the code of a user's
/// name table panics.
struct StartGuard<'a>(&'a Arc<ProcessBlock>);

impl Drop for StartGuard<'_> {
    fn drop(&mut self) {
        deliver::set_exiting(self.0, ExitReason::NoProc);
        // Killed before it started, and the reaper already cleaned it up: remove the zombie entry here, because no
        // thread will.
        if !deliver::complete_exit(self.0, ThreadState::Exiting) {
            zombie::reap(self.0);
        }
    }
}
