//! A process is born: a thread of its own, a block, a mailbox, perhaps a name, a link, a monitor, all
//! before its first step. Its edge, where every death of its own ends, is here too. User code and the
//! starts of servers call it.

use std::fmt;
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::exception;
use crate::exception::Exception;
use crate::pid::{MonitorRef, Pid};
use crate::process::control::block::Peer;
use crate::process::control::block::Phase;
use crate::process::control::block::ProcessBlock;
use crate::process::control::block::ProcessKind;
use crate::process::control::block::SpawnInfo;
use crate::process::control::local;
use crate::process::control::local::{CurrentProcess, Exiting, enter_runtime_call};
use crate::process::control::settings::ProcessPermit;
use crate::process::control::settings::Settings;
use crate::process::control::settings::settings;
use crate::process::control::table;
use crate::process::mailbox::address::Address;
use crate::process::mailbox::inbox::Inbox;
use crate::process::mailbox::inbox::QueueItem;
use crate::process::mailbox::queue::Reader;
use crate::process::mailbox::queue::queue;
use crate::process::names;
use crate::process::names::NameError;
use crate::process::names::Via;
use crate::process::observe::crash_report;
use crate::process::observe::events;
use crate::process::observe::events::ProcessEventKind;
use crate::process::observe::zombie;
use crate::process::park::thread_cache;
use crate::process::park::thread_cache::Job;
use crate::process::park::timer_thread;
use crate::process::signals::effect::Origin;
use crate::process::signals::exit;
use crate::process::signals::exit::ThreadState;
use crate::process::signals::link::add_link_before_start;
use crate::process::signals::link::add_monitor_before_start;
use crate::process::signals::link::remove_link;
use crate::process::signals::link::remove_watcher;
use crate::process::signals::watch::watch_block;
use crate::reason::ExitReason;
use crate::sync;
use crate::sync::atomic::Ordering;
use crate::unwind::catch_and_log;

/// Why a process could not be started.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SpawnError {
    /// There are as many processes as [`Settings::max_processes`](crate::process::Settings::max_processes)
    /// allows.
    SystemLimit {
        /// How many that is.
        limit: usize,
    },
    /// The operating system refused the thread.
    Thread(Arc<io::Error>),
    /// It could not have its name.
    Name(NameError),
    /// The calling process is exiting.
    Exiting,
    /// The calling thread is not a process, so nothing can be linked to it or send it a `Down`.
    NotAProcess,
    /// The calling thread is a process already.
    AlreadyAProcess(Pid),
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SystemLimit { limit } => write!(f, "the limit of {limit} processes is reached"),
            Self::Thread(error) => write!(f, "the operating system refused a thread: {error}"),
            Self::Name(error) => error.fmt(f),
            Self::Exiting => f.write_str("the calling process is exiting"),
            Self::NotAProcess => f.write_str("the calling thread is not a process"),
            Self::AlreadyAProcess(pid) => write!(f, "the calling thread is already the process {pid}"),
        }
    }
}

// No `source`: the text tells all of the inner error already, and chains of causes would tell it twice.
impl std::error::Error for SpawnError {}

/// Starts a process: `body` runs on a thread of its own, with a mailbox for messages of type `M`. When it
/// returns, the process ends with [`ExitReason::Normal`].
///
/// # Errors
/// [`SpawnError`]: too many processes, or no thread to be had.
///
/// ```
/// use rethread::process::{self, Event};
///
/// let echo = process::spawn::<String>(|inbox| {
///     while let Event::Message(text) = inbox.recv() {
///         println!("{text}");
///     }
/// })?;
/// echo.send("hello".to_owned());
/// # Ok::<(), process::SpawnError>(())
/// ```
#[track_caller]
pub fn spawn<M: Send + 'static>(
    body: impl FnOnce(&mut Inbox<M>) + Send + 'static,
) -> Result<Address<M>, SpawnError> {
    Builder::new().spawn(body)
}

/// Starts a process linked to the calling one, in one step: however fast it ends, the caller learns the
/// true reason.
///
/// # Errors
/// As [`spawn`]; [`SpawnError::NotAProcess`] on a thread that is not a process.
///
/// ```
/// use rethread::process::{self, Inbox};
///
/// let ended = process::attach(|inbox: &mut Inbox<()>| {
///     process::spawn_link::<()>(|_| process::exit_with("oops")).expect("a free thread");
///     inbox.recv();
/// });
/// assert_eq!(ended.unwrap_err().to_string(), "oops");
/// ```
#[track_caller]
pub fn spawn_link<M: Send + 'static>(
    body: impl FnOnce(&mut Inbox<M>) + Send + 'static,
) -> Result<Address<M>, SpawnError> {
    Builder::new().spawn_link(body)
}

/// Starts a process and monitors it, in one step.
///
/// # Errors
/// As [`spawn_link`].
///
/// ```
/// use rethread::process::{self, Event, Inbox};
///
/// process::attach(|inbox: &mut Inbox<()>| {
///     let (_child, monitor) = process::spawn_monitor::<()>(|_| process::exit_with("oops")).expect("a free thread");
///     let Event::Down { monitor: fired, reason, .. } = inbox.recv() else { panic!("a down was due") };
///     assert_eq!((fired, reason), (monitor, "oops".into()));
/// })?;
/// # Ok::<(), process::AttachError>(())
/// ```
#[track_caller]
pub fn spawn_monitor<M: Send + 'static>(
    body: impl FnOnce(&mut Inbox<M>) + Send + 'static,
) -> Result<(Address<M>, MonitorRef), SpawnError> {
    Builder::new().spawn_monitor(body)
}

/// Starts a process with more than the defaults: a name, a label, limits of its own.
///
/// ```
/// use std::time::Duration;
/// use rethread::process;
///
/// let worker = process::Builder::new()
///     .name("doc.worker")
///     .label("worker of the docs")
///     .kill_grace(Duration::from_millis(10))
///     .spawn::<()>(|inbox| { inbox.recv(); })?;
/// assert_eq!(process::whereis("doc.worker"), Some(worker.pid()));
/// # Ok::<(), process::SpawnError>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "it starts nothing before one of its spawn methods is called"]
pub struct Builder {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) via: Option<Arc<dyn Via>>,
    pub(crate) label: Option<Arc<str>>,
    pub(crate) stack_size: Option<usize>,
    pub(crate) kill_grace: Option<Duration>,
    pub(crate) exit_timeout: Option<Duration>,
    /// The starter waits until the process says it is ready, and hears of a failure from that alone.
    pub(crate) reports_start: bool,
    pub(crate) kind: ProcessKind,
    /// Linked with it from its birth, beside whoever starts it: the owner of a supervised task.
    pub(crate) owner: Option<Arc<ProcessBlock>>,
    /// Its owner hears of its end in another way than by a message; but dies of it unless it traps exits.
    pub(crate) no_exit_message: bool,
    /// Where the program asked for it, if that is not the caller of the birth.
    pub(crate) spawned_at: Option<&'static Location<'static>>,
    /// It begins an application: all that it starts, and they start, belongs to it.
    pub(crate) leads_application: bool,
}

impl Builder {
    /// A plain process.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers the process under a name before its body runs. If an earlier holder of the name is still
    /// unwinding, the body waits until that one is gone.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// A free text for reports and listings, and for the name of the thread. Default: the name, if any.
    pub fn label(mut self, label: impl Into<Arc<str>>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// The stack in bytes. Default: [`Settings::stack_size`](crate::process::Settings::stack_size).
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// How long it has to unwind when it is killed. Default:
    /// [`Settings::kill_grace`](crate::process::Settings::kill_grace).
    pub fn kill_grace(mut self, timeout: Duration) -> Self {
        self.kill_grace = Some(timeout);
        self
    }

    /// How long it has to unwind when it ends for another reason. Default:
    /// [`Settings::exit_timeout`](crate::process::Settings::exit_timeout).
    pub fn exit_timeout(mut self, timeout: Duration) -> Self {
        self.exit_timeout = Some(timeout);
        self
    }

    /// As [`spawn`].
    ///
    /// # Errors
    /// As there; and [`SpawnError::Name`] if the name is taken.
    #[track_caller]
    pub fn spawn<M: Send + 'static>(
        self,
        body: impl FnOnce(&mut Inbox<M>) + Send + 'static,
    ) -> Result<Address<M>, SpawnError> {
        start_process(self, None, None, body)
    }

    /// As [`spawn_link`].
    ///
    /// # Errors
    /// As there; and [`SpawnError::Name`] if the name is taken.
    #[track_caller]
    pub fn spawn_link<M: Send + 'static>(
        self,
        body: impl FnOnce(&mut Inbox<M>) + Send + 'static,
    ) -> Result<Address<M>, SpawnError> {
        let me = local::get().ok_or(SpawnError::NotAProcess)?;
        start_process(self, Some(&me), None, body)
    }

    /// As [`spawn_monitor`].
    ///
    /// # Errors
    /// As there; and [`SpawnError::Name`] if the name is taken.
    #[track_caller]
    pub fn spawn_monitor<M: Send + 'static>(
        self,
        body: impl FnOnce(&mut Inbox<M>) + Send + 'static,
    ) -> Result<(Address<M>, MonitorRef), SpawnError> {
        let me = local::get().ok_or(SpawnError::NotAProcess)?;
        let monitor = MonitorRef::next();
        start_process(self, None, Some((&me, monitor)), body).map(|address| (address, monitor))
    }
}

/// Starts a process: everything is in place before its thread begins.
#[track_caller]
pub(crate) fn start_process<M: Send + 'static>(
    builder: Builder,
    link_to: Option<&Rc<CurrentProcess>>,
    monitor_by: Option<(&Rc<CurrentProcess>, MonitorRef)>,
    body: impl FnOnce(&mut Inbox<M>) + Send + 'static,
) -> Result<Address<M>, SpawnError> {
    let parent = enter_runtime_call().map_err(|Exiting| SpawnError::Exiting)?;
    timer_thread::ensure_started().map_err(|error| SpawnError::Thread(Arc::new(error)))?;
    let defaults = settings();
    let permit = ProcessPermit::try_acquire(defaults.max_processes)
        .map_err(|limit| SpawnError::SystemLimit { limit })?;
    let (block, reader) = create_block::<M>(&builder, parent.as_deref(), &defaults);
    let start_guard = StartGuard(&block);
    if application_has_ended(&block) {
        return Err(SpawnError::Exiting); // its parent is killed in this moment, or was
    }
    register_names(&builder, &block).map_err(SpawnError::Name)?;
    let linked = [link_to.map(|me| &me.block), builder.owner.as_ref()];
    let starter = linked.iter().flatten().last().filter(|_| builder.reports_start || builder.no_exit_message);
    block.lock().starter = starter.map(|starter| starter.pid);
    for other in linked.iter().flatten() {
        if !add_link_before_start(other, &block) && starter.is_none_or(|starter| starter.pid != other.pid) {
            // Somebody found it by its name, and ended it, and its deadline is past.
            other.lock().links.insert(block.pid, Peer(Arc::clone(&block)));
            exit::deliver_exit_signal(other, block.pid, &ExitReason::Killed, Origin::Link);
        }
    }
    if let Some((me, id)) = monitor_by {
        add_monitor_before_start(&me.block, id, &block);
    }
    if let (true, Some(me)) = (builder.reports_start, &parent) {
        // Before its first step, so that a call of the child's to us is seen for the wait cycle it is.
        me.block.waiting_on.store(block.pid.to_u64(), Ordering::SeqCst);
    }
    let child_block = Arc::clone(&block);
    let run = Box::new(move || {
        let mut inbox = Inbox::new(Arc::clone(&child_block), reader);
        run_process(&child_block, permit, &mut inbox, body);
        drop_inbox(inbox);
    });
    let label = builder.label.as_ref().or(builder.name.as_ref()).cloned();
    match thread_cache::execute(builder.stack_size.unwrap_or(defaults.stack_size), Job { label, body: run }) {
        Ok(()) => {
            std::mem::forget(start_guard);
            Ok(Address::new(block))
        }
        Err(error) => {
            if let Some(me) = &parent {
                me.block.waiting_on.store(0, Ordering::SeqCst);
            }
            for other in linked.into_iter().flatten() {
                remove_link(other, block.pid);
            }
            if let Some((me, id)) = monitor_by {
                me.block.lock().monitoring.remove(&id);
                remove_watcher(&block, id);
            }
            Err(SpawnError::Thread(Arc::new(error)))
        }
    }
}

/// A process that starts its successor and ends, again and again, must not hand on an ever longer list.
const MAX_ANCESTORS: usize = 32;

/// The new process as a block in the table, and the receiving end of its mailbox.
#[track_caller]
pub(crate) fn create_block<M: Send + 'static>(
    builder: &Builder,
    parent: Option<&CurrentProcess>,
    defaults: &Settings,
) -> (Arc<ProcessBlock>, Reader<QueueItem<M>>) {
    let ancestors = parent.map_or_else(
        || Arc::from([]),
        |parent| {
            let birth = &parent.block.spawn_info;
            std::iter::once(parent.block.pid)
                .chain(birth.ancestors.iter().copied())
                .take(MAX_ANCESTORS)
                .collect()
        },
    );
    let pid = Pid::next();
    let birth = SpawnInfo {
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
    let block = Arc::new(ProcessBlock::new(pid, birth, queue));
    block.lock().label.clone_from(&builder.label);
    table::insert(&block);
    (block, reader)
}

/// Whether the application it would belong to is over. Asked when it is in the table: either it is told so here, or
/// whoever kills what is left of the application finds it.
fn application_has_ended(block: &ProcessBlock) -> bool {
    let master = block.spawn_info.application.filter(|master| *master != block.pid);
    master.is_some_and(|master| table::get(master).is_none_or(|master| master.is_cleaning_up()))
}

/// Gives the process the name and the key it is to have.
fn register_names(builder: &Builder, block: &Arc<ProcessBlock>) -> Result<(), NameError> {
    let mut predecessors = Vec::new();
    if let Some(name) = &builder.name {
        predecessors.extend(names::claim(name, block)?);
    }
    if let Some(via) = &builder.via {
        predecessors.extend(names::claim_via(via, block)?);
    }
    block.lock().predecessors = predecessors;
    Ok(())
}

/// A process whose thread has not begun. Dropped, it is taken back: also when the table of names, which may
/// be the user's code, panics.
struct StartGuard<'a>(&'a Arc<ProcessBlock>);

impl Drop for StartGuard<'_> {
    fn drop(&mut self) {
        exit::set_exiting(self.0, ExitReason::NoProc);
        if !exit::complete_exit(self.0, ThreadState::Exiting) {
            zombie::reap(self.0); // killed meanwhile, and the undertaker was first: no thread will strike it off
        }
    }
}

/// A process' life on its thread, from its first step to its burial.
pub(crate) fn run_process<M: Send + 'static, T>(
    block: &Arc<ProcessBlock>,
    permit: ProcessPermit,
    inbox: &mut Inbox<M>,
    body: impl FnOnce(&mut Inbox<M>) -> T,
) -> Option<T> {
    local::set(Some(Arc::clone(block)));
    block.activity.touch();
    events::emit(block, || ProcessEventKind::Started { parent: block.spawn_info.ancestors.first().copied() });
    inbox.bind(local::get());
    exception::set_panic_observer(Some(exit::on_panic));
    let mut unused = Some(body);
    let outcome = exception::catch(|| {
        wait_for_predecessors(block);
        local::checkpoint();
        unused.take().map(|body| body(inbox))
    });
    if let Some(me) = local::get() {
        me.mask_signals();
    }
    if let Some(body) = unused {
        // Told to go before its first step; what the body holds is dropped here, not while unwinding.
        catch_and_log("the destructor of a process that never began", move || drop(body));
    }
    let value = finish(block, permit, inbox, outcome).flatten();
    exception::set_panic_observer(None);
    inbox.bind(None);
    local::set(None);
    // The destructor of what nobody gets is user code: after everything is in order again.
    value.filter(|_| !block.exited_by_signal())
}

/// Drops a mailbox that a late message may have reached after it was cleared.
pub(crate) fn drop_inbox<M>(inbox: Inbox<M>) {
    catch_and_log("the destructor of an unread message", move || drop(inbox));
}

/// The edge of the thread: whatever came out of the body becomes the reason, unless a signal was first.
fn finish<M: Send + 'static, T>(
    block: &Arc<ProcessBlock>,
    permit: ProcessPermit,
    inbox: &mut Inbox<M>,
    outcome: Result<T, Exception>,
) -> Option<T> {
    let (value, reason) = match outcome {
        Ok(value) => (Some(value), ExitReason::Normal),
        Err(exception) => {
            let own_reason = exception.into_exit_reason();
            if let Some(reason) = &own_reason {
                exit::keep_own_reason(block, reason);
            }
            (None, own_reason.unwrap_or(ExitReason::Normal))
        }
    };
    let unread = inbox.len();
    exit::set_exiting(block, reason);
    // Looked at now that the mailbox is closed; if it is empty none of the user's destructors is left to run. A log sink
    // that hears of every end is user code, too.
    if !inbox.is_empty() || log::max_level() >= log::LevelFilter::Debug {
        exit::arm_exit_deadline(block);
    }
    inbox.clear();
    if let Some(me) = local::get() {
        me.flush_dropped_callers();
    }
    let phase = block.lock().phase.clone();
    if let Phase::Exiting(reason) = phase {
        crash_report::report_exit(block, &reason, block.exited_by_signal(), unread);
        if value.is_some() && !reason.is_abnormal() && !block.exited_by_signal() {
            thread_cache::mark_soon_idle();
        }
    }
    // Before anybody hears of it, so that a replacement finds room. The thread has no more than that to do.
    drop(permit);
    if !exit::complete_exit(block, ThreadState::Exiting) {
        zombie::reap(block); // the undertaker was first
    }
    value
}

/// Earlier holders of our name may still be unwinding, with files and ports in hand.
fn wait_for_predecessors(block: &ProcessBlock) {
    let predecessors = std::mem::take(&mut block.lock().predecessors);
    for holder in predecessors {
        watch_block(holder.pid, Some(holder)).wait();
    }
}
