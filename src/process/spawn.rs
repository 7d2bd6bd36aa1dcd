//! A process is born: a thread of its own, a block, a mailbox, perhaps a name, a link, a monitor, all
//! before its first step. Its edge, where every death of its own ends, is here too. User code and the
//! starts of servers call it.

use std::fmt;
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::pid::{MonitorRef, Pid};
use crate::process::address::Address;
use crate::process::block::{Birth, Block, Kind, Peer, Phase};
use crate::process::exit::{self, Thread};
use crate::process::feed::{self, Change};
use crate::process::inbox::{Inbox, Item};
use crate::process::link::{connect_unborn, disconnect, hold_unborn, leave};
use crate::process::me::{self, Me};
use crate::process::names::{self, NameError, Via};
use crate::process::queue::{Reader, queue};
use crate::process::settings::{Seat, Settings, settings};
use crate::process::signal::Origin;
use crate::process::threads::{self, Life};
use crate::process::watch::watch_block;
use crate::process::{clock, report, table, zombie};
use crate::reason::ExitReason;
use crate::sync;
use crate::sync::atomic::Ordering;
use crate::unwind::contain;
use crate::unwound::{self, Unwound};

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
    Refused(Arc<io::Error>),
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
            Self::Refused(error) => write!(f, "the operating system refused a thread: {error}"),
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
    pub(crate) exit_deadline: Option<Duration>,
    /// The starter waits until the process says it is ready, and hears of a failure from that alone.
    pub(crate) awaited: bool,
    pub(crate) kind: Kind,
    /// Linked with it from its birth, beside whoever starts it: the owner of a supervised task.
    pub(crate) owner: Option<Arc<Block>>,
    /// Its owner hears of its end in another way than by a message; but dies of it unless it traps exits.
    pub(crate) quiet: bool,
    /// Where the program asked for it, if that is not the caller of the birth.
    pub(crate) spawned_at: Option<&'static Location<'static>>,
    /// It begins an application: all that it starts, and they start, belongs to it.
    pub(crate) begins_application: bool,
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
    pub fn kill_grace(mut self, time: Duration) -> Self {
        self.kill_grace = Some(time);
        self
    }

    /// How long it has to unwind when it ends for another reason. Default:
    /// [`Settings::exit_deadline`](crate::process::Settings::exit_deadline).
    pub fn exit_deadline(mut self, time: Duration) -> Self {
        self.exit_deadline = Some(time);
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
        birth(self, None, None, body)
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
        let me = me::get().ok_or(SpawnError::NotAProcess)?;
        birth(self, Some(&me), None, body)
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
        let me = me::get().ok_or(SpawnError::NotAProcess)?;
        let monitor = MonitorRef::fresh();
        birth(self, None, Some((&me, monitor)), body).map(|address| (address, monitor))
    }
}

/// Starts a process: everything is in place before its thread begins.
#[track_caller]
pub(crate) fn birth<M: Send + 'static>(
    plan: Builder,
    link_to: Option<&Rc<Me>>,
    monitor_by: Option<(&Rc<Me>, MonitorRef)>,
    body: impl FnOnce(&mut Inbox<M>) + Send + 'static,
) -> Result<Address<M>, SpawnError> {
    let parent = me::get();
    if let Some(me) = &parent {
        me.checkpoint();
        if me.neutral() || me.zombie() {
            return Err(SpawnError::Exiting);
        }
    }
    clock::wind_up().map_err(|error| SpawnError::Refused(Arc::new(error)))?;
    let defaults = settings();
    let seat = Seat::take(defaults.max_processes).map_err(|limit| SpawnError::SystemLimit { limit })?;
    let (block, reader) = conceive::<M>(&plan, parent.as_deref(), &defaults);
    let unborn = Unborn(&block);
    if orphaned(&block) {
        return Err(SpawnError::Exiting); // its parent is killed in this moment, or was
    }
    name(&plan, &block).map_err(SpawnError::Name)?;
    let linked = [link_to.map(|me| &me.block), plan.owner.as_ref()];
    let hears_otherwise = linked.iter().flatten().last().filter(|_| plan.awaited || plan.quiet);
    block.lock().starter = hears_otherwise.map(|starter| starter.pid);
    for other in linked.iter().flatten() {
        if !connect_unborn(other, &block) && hears_otherwise.is_none_or(|starter| starter.pid != other.pid) {
            // Somebody found it by its name, and ended it, and its deadline is past.
            other.lock().links.insert(block.pid, Peer(Arc::clone(&block)));
            exit::signal(other, block.pid, &ExitReason::Killed, Origin::Link);
        }
    }
    if let Some((me, id)) = monitor_by {
        hold_unborn(&me.block, id, &block);
    }
    if let (true, Some(me)) = (plan.awaited, &parent) {
        // Before its first step, so that a call of the child's to us is seen for the wait cycle it is.
        me.block.waiting_on.store(block.pid.to_word(), Ordering::SeqCst);
    }
    let own = Arc::clone(&block);
    let live = Box::new(move || {
        let mut inbox = Inbox::new(Arc::clone(&own), reader);
        live(&own, seat, &mut inbox, body);
        discard(inbox);
    });
    let label = plan.label.as_ref().or(plan.name.as_ref()).cloned();
    match threads::run(plan.stack_size.unwrap_or(defaults.stack_size), Life { label, live }) {
        Ok(()) => {
            std::mem::forget(unborn);
            Ok(Address::new(block))
        }
        Err(error) => {
            if let Some(me) = &parent {
                me.block.waiting_on.store(0, Ordering::SeqCst);
            }
            for other in linked.into_iter().flatten() {
                disconnect(other, block.pid);
            }
            if let Some((me, id)) = monitor_by {
                me.block.lock().monitoring.remove(&id);
                leave(&block, id);
            }
            Err(SpawnError::Refused(Arc::new(error)))
        }
    }
}

/// A process that starts its successor and ends, again and again, must not hand on an ever longer list.
const MOST_ANCESTORS: usize = 32;

/// The new process as a block in the table, and the receiving end of its mailbox.
#[track_caller]
pub(crate) fn conceive<M: Send + 'static>(
    plan: &Builder,
    parent: Option<&Me>,
    defaults: &Settings,
) -> (Arc<Block>, Reader<Item<M>>) {
    let ancestors = parent.map_or_else(
        || Arc::from([]),
        |parent| {
            let birth = &parent.block.birth;
            std::iter::once(parent.block.pid)
                .chain(birth.ancestors.iter().copied())
                .take(MOST_ANCESTORS)
                .collect()
        },
    );
    let pid = Pid::fresh();
    let birth = Birth {
        ancestors,
        application: if plan.begins_application {
            Some(pid)
        } else {
            parent.and_then(|parent| parent.block.birth.application)
        },
        spawned_at: plan.spawned_at.unwrap_or(Location::caller()),
        at: sync::now(),
        kill_grace: plan.kill_grace.unwrap_or(defaults.kill_grace),
        exit_deadline: plan.exit_deadline.unwrap_or(defaults.exit_deadline),
        kind: plan.kind,
    };
    let (queue, reader) = queue();
    let block = Arc::new(Block::new(pid, birth, queue));
    block.lock().label.clone_from(&plan.label);
    table::insert(&block);
    (block, reader)
}

/// Whether the application it would belong to is over. Asked when it is in the table: either it is told so here, or
/// whoever kills what is left of the application finds it.
fn orphaned(block: &Block) -> bool {
    let master = block.birth.application.filter(|master| *master != block.pid);
    master.is_some_and(|master| table::get(master).is_none_or(|master| master.burying()))
}

/// Gives the process the name and the key it is to have.
fn name(plan: &Builder, block: &Arc<Block>) -> Result<(), NameError> {
    let mut earlier = Vec::new();
    if let Some(name) = &plan.name {
        earlier.extend(names::claim(name, block)?);
    }
    if let Some(via) = &plan.via {
        earlier.extend(names::claim_via(via, block)?);
    }
    block.lock().predecessors = earlier;
    Ok(())
}

/// A process whose thread has not begun. Dropped, it is taken back: also when the table of names, which may
/// be the user's code, panics.
struct Unborn<'a>(&'a Arc<Block>);

impl Drop for Unborn<'_> {
    fn drop(&mut self) {
        exit::begin(self.0, ExitReason::NoProc);
        if !exit::bury(self.0, Thread::Ends) {
            zombie::reaped(self.0); // killed meanwhile, and the undertaker was first: no thread will strike it off
        }
    }
}

/// A process' life on its thread, from its first step to its burial.
pub(crate) fn live<M: Send + 'static, T>(
    block: &Arc<Block>,
    seat: Seat,
    inbox: &mut Inbox<M>,
    body: impl FnOnce(&mut Inbox<M>) -> T,
) -> Option<T> {
    me::set(Some(Arc::clone(block)));
    block.doing.wakes();
    feed::tell(block, || Change::Started { parent: block.birth.ancestors.first().copied() });
    inbox.belongs_to(me::get());
    unwound::observe_panics(Some(exit::on_panic));
    let mut unused = Some(body);
    let outcome = unwound::catch(|| {
        await_predecessors(block);
        me::checkpoint();
        unused.take().map(|body| body(inbox))
    });
    if let Some(me) = me::get() {
        me.begin_last_words();
    }
    if let Some(body) = unused {
        // Told to go before its first step; what the body holds is dropped here, not while unwinding.
        contain("the destructor of a process that never began", move || drop(body));
    }
    let value = end(block, seat, inbox, outcome).flatten();
    unwound::observe_panics(None);
    inbox.belongs_to(None);
    me::set(None);
    // The destructor of what nobody gets is user code: after everything is in order again.
    value.filter(|_| !block.told())
}

/// Drops a mailbox that a late message may have reached after it was cleared.
pub(crate) fn discard<M>(inbox: Inbox<M>) {
    contain("the destructor of an unread message", move || drop(inbox));
}

/// The edge of the thread: whatever came out of the body becomes the reason, unless a signal was first.
fn end<M: Send + 'static, T>(
    block: &Arc<Block>,
    seat: Seat,
    inbox: &mut Inbox<M>,
    outcome: Result<T, Unwound>,
) -> Option<T> {
    let (value, reason) = match outcome {
        Ok(value) => (Some(value), ExitReason::Normal),
        Err(unwound) => {
            let own = unwound.into_reason();
            if let Some(reason) = &own {
                exit::overtake(block, reason);
            }
            (None, own.unwrap_or(ExitReason::Normal))
        }
    };
    let unread = inbox.len();
    exit::begin(block, reason);
    // Looked at now that the mailbox is closed; if it is empty none of the user's destructors is left to run. A log sink
    // that hears of every end is user code, too.
    if !inbox.is_empty() || log::max_level() >= log::LevelFilter::Debug {
        exit::linger(block);
    }
    inbox.clear();
    if let Some(me) = me::get() {
        me.release_dropped();
    }
    let phase = block.lock().phase.clone();
    if let Phase::Exiting(reason) = phase {
        report::ended(block, &reason, block.told(), unread);
        if value.is_some() && !reason.is_abnormal() && !block.told() {
            threads::will_be_spare();
        }
    }
    // Before anybody hears of it, so that a replacement finds room. The thread has no more than that to do.
    drop(seat);
    if !exit::bury(block, Thread::Ends) {
        zombie::reaped(block); // the undertaker was first
    }
    value
}

/// Earlier holders of our name may still be unwinding, with files and ports in hand.
fn await_predecessors(block: &Block) {
    let predecessors = std::mem::take(&mut block.lock().predecessors);
    for holder in predecessors {
        watch_block(holder.pid, Some(holder)).wait();
    }
}
