//! Who holds which name. A name has at most one living holder; a holder whose end is decided no longer
//! counts, and whoever takes the name over waits for its burial before it begins. Births, sends by name
//! and the `Via` keys of registries come here.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::time::Duration;

use once_cell::sync::Lazy;
use parking_lot::Mutex;

use crate::pid::Pid;
use crate::process::block::{Block, Held, Phase};
use crate::process::shards::Shards;
use crate::process::wait::Waiter;
use crate::process::{clock, me, table};

/// Why a name could not be registered or unregistered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// Somebody living holds it, perhaps the very process.
    Taken(Pid),
    /// The process has another name already; it can have one.
    AlreadyNamed(Arc<str>),
    /// There is no such process, or its end is decided.
    NoProc,
    /// Nobody holds it.
    Unknown,
    /// A name is at least one character.
    Empty,
    /// The calling process is exiting and can change nothing any more.
    Exiting,
    /// The keyed table refused: it cannot be used for names.
    Unsupported(&'static str),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(holder) => write!(f, "the name is taken by {holder}"),
            Self::AlreadyNamed(name) => write!(f, "the process already has the name {name:?}"),
            Self::NoProc => f.write_str("there is no such process"),
            Self::Unknown => f.write_str("nobody holds the name"),
            Self::Empty => f.write_str("a name must have at least one character"),
            Self::Exiting => f.write_str("the calling process is exiting"),
            Self::Unsupported(why) => write!(f, "the table cannot name processes: {why}"),
        }
    }
}

impl std::error::Error for NameError {}

/// Another place to keep names: a process is reached, and registered, by a key in it. A library's
/// registry implements this; so can you.
///
/// A holder must be forgotten on `unregister`, which the runtime calls when the process ends, before any
/// link or monitor hears of it.
pub trait Via: fmt::Debug + Send + Sync {
    /// Who holds the key now.
    fn whereis(&self) -> Option<Pid>;

    /// Makes `pid` the holder. A holder that is no longer alive ([`process::is_alive`]) must be replaced. It
    /// is called by whoever starts the process: its runtime calls are checkpoints of the starter.
    ///
    /// # Errors
    /// [`NameError::Taken`] if somebody living holds it.
    ///
    /// [`process::is_alive`]: crate::process::is_alive
    fn register(&self, pid: Pid) -> Result<(), NameError>;

    /// Forgets `pid`, if it still is the holder. It is called while that process ends, usually on its own
    /// thread: a call to a server fails there, a cast works.
    fn unregister(&self, pid: Pid);
}

/// A table from keys to processes with the takeover rule.
pub(crate) struct Names<K>(Shards<K, Arc<Block>>);

impl<K: Hash + Eq + Clone> Names<K> {
    pub(crate) fn new() -> Self {
        Self(Shards::new())
    }

    /// The living holder.
    pub(crate) fn get<Q>(&self, key: &Q) -> Option<Arc<Block>>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.of(key).read().get(key).filter(|block| !block.doomed()).cloned()
    }

    /// Makes `block` the holder. An earlier holder that is doomed but not dead is handed back: it may
    /// still hold what goes with the name.
    pub(crate) fn claim(&self, key: K, block: &Arc<Block>) -> Result<Option<Arc<Block>>, NameError> {
        let mut shard = self.0.of(&key).write();
        let earlier = match shard.get(&key) {
            Some(holder) if !holder.doomed() => return Err(NameError::Taken(holder.pid)),
            Some(holder) => Some(Arc::clone(holder)),
            None => None,
        };
        shard.insert(key.clone(), Arc::clone(block));
        drop(shard);
        if block.burying() {
            // Its burial has released its names already and will not come back for this one.
            self.release(&key, block.pid, earlier);
            return Err(NameError::NoProc);
        }
        Ok(standing(earlier, Block::dead))
    }

    /// Forgets the key if `holder` still has it. If the holder ends while an earlier one is not buried yet, that
    /// one gets the key back: the next holder has to wait for it too.
    pub(crate) fn release(&self, key: &K, holder: Pid, mut earlier: Option<Arc<Block>>) {
        loop {
            earlier = standing(earlier, Block::burying);
            let mut shard = self.0.of(key).write();
            if shard.get(key).is_none_or(|block| block.pid != holder) {
                return;
            }
            // Its burial releases its names under this same lock, after it is marked as burying.
            if earlier.as_ref().is_some_and(|earlier| earlier.burying()) {
                continue;
            }
            let block = match earlier {
                Some(earlier) => shard.insert(key.clone(), earlier),
                None => shard.remove(key),
            };
            drop(shard);
            drop(block);
            return;
        }
    }
}

/// An earlier holder unless it is over; then the one that it was waiting for when it ended, and so on.
pub(crate) fn standing(mut earlier: Option<Arc<Block>>, over: fn(&Block) -> bool) -> Option<Arc<Block>> {
    while let Some(gone) = earlier.take_if(|holder| over(holder)) {
        earlier = gone.lock().predecessor.clone();
    }
    earlier
}

static NAMES: Lazy<Names<Arc<str>>> = Lazy::new(Names::new);

/// The living holder of a name.
pub(crate) fn find(name: &str) -> Option<Arc<Block>> {
    NAMES.get(name)
}

/// Gives `block` the name.
pub(crate) fn claim(name: &Arc<str>, block: &Arc<Block>) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    let mut state = block.lock();
    if let Some(own) = &state.name {
        return Err(if own == name {
            NameError::Taken(block.pid)
        } else {
            NameError::AlreadyNamed(Arc::clone(own))
        });
    }
    if !matches!(state.phase, Phase::Running) {
        return Err(NameError::NoProc);
    }
    state.name = Some(Arc::clone(name));
    drop(state);
    let claimed = NAMES.claim(Arc::clone(name), block);
    let mut state = block.lock();
    let replaced = match &claimed {
        Ok(earlier) => std::mem::replace(&mut state.predecessor, earlier.clone()),
        Err(_) => {
            state.name = None;
            None
        }
    };
    drop(state);
    drop(replaced); // perhaps the last trace of a process: not under the lock
    claimed?;
    tell_awaiting(name);
    Ok(())
}

type Waiters = HashMap<Arc<str>, Vec<Arc<Waiter>>>;

/// Who waits for a name to be held, by name.
static AWAITING: Lazy<Mutex<Waiters>> = Lazy::new(Mutex::default);
/// How many there are: nobody takes the lock for nothing.
static AWAITING_COUNT: AtomicUsize = AtomicUsize::new(0);

fn tell_awaiting(name: &str) {
    // The name is in the table; who begins to wait after this look finds it there.
    fence(Ordering::SeqCst);
    if AWAITING_COUNT.load(Ordering::Relaxed) > 0 {
        for waiter in AWAITING.lock().get(name).into_iter().flatten() {
            waiter.wake();
        }
    }
}

/// One thread that waits for a name, while this lives.
struct Awaiting {
    name: Arc<str>,
    waiter: Arc<Waiter>,
}

impl Awaiting {
    fn new(name: &str) -> Self {
        let (name, waiter) = (Arc::<str>::from(name), me::waiter());
        AWAITING.lock().entry(Arc::clone(&name)).or_default().push(Arc::clone(&waiter));
        AWAITING_COUNT.fetch_add(1, Ordering::SeqCst);
        Self { name, waiter }
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        AWAITING_COUNT.fetch_sub(1, Ordering::SeqCst);
        let mut awaiting = AWAITING.lock();
        if let Some(waiters) = awaiting.get_mut(&self.name) {
            if let Some(at) = waiters.iter().position(|waiter| Arc::ptr_eq(waiter, &self.waiter)) {
                waiters.swap_remove(at);
            }
            if waiters.is_empty() {
                awaiting.remove(&self.name);
            }
        }
    }
}

/// Forgets the name of a process that is being buried, or that gives it up.
pub(crate) fn release(name: &Arc<str>, holder: Pid, earlier: Option<Arc<Block>>) {
    NAMES.release(name, holder, earlier);
}

/// A key of a `Via` table that a process holds.
struct HeldVia(Arc<dyn Via>);

impl Held for HeldVia {
    fn release(&self, holder: Pid) {
        self.0.unregister(holder);
    }
}

/// Gives `block` a key in another table. A holder that is dying is waited for: the table has replaced it
/// or does so once it is gone.
pub(crate) fn claim_via(via: &Arc<dyn Via>, block: &Arc<Block>) -> Result<(), NameError> {
    let earlier = via.whereis().and_then(table::get).filter(|holder| holder.doomed());
    via.register(block.pid)?;
    let mut state = block.lock();
    state.held.push(Arc::new(HeldVia(Arc::clone(via))));
    if state.predecessor.is_none() {
        state.predecessor = earlier;
    }
    Ok(())
}

/// Gives a process a name by which everybody can reach it, until it ends or the name is taken away.
///
/// # Errors
/// [`NameError::Taken`] if somebody living holds the name (perhaps the process itself),
/// [`NameError::AlreadyNamed`] if the process has another one, [`NameError::NoProc`] if it is dead or
/// dying, [`NameError::Empty`], [`NameError::Exiting`].
///
/// # Differences from Erlang
/// A holder whose end is decided but not yet complete does not count: the name can be taken over. Taken by
/// hand it is there at once; a process that is *started* under a name waits until the earlier holder is
/// buried.
///
/// ```
/// use rethread::process::{self, NameError};
///
/// let printer = process::spawn::<()>(|inbox| { inbox.recv(); })?;
/// process::register("doc.printer", &printer)?;
/// assert_eq!(process::whereis("doc.printer"), Some(printer.pid()));
/// assert_eq!(process::register("doc.printer", &printer), Err(NameError::Taken(printer.pid())));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn register(name: impl Into<Arc<str>>, pid: impl Into<Pid>) -> Result<(), NameError> {
    if let Some(me) = me::get() {
        me.checkpoint();
        if me.neutral() || me.zombie() {
            return Err(NameError::Exiting);
        }
    }
    let block = table::get(pid.into()).ok_or(NameError::NoProc)?;
    claim(&name.into(), &block)
}

/// Takes a name away from its holder, which lives on.
///
/// # Errors
/// [`NameError::Unknown`] if nobody holds it, [`NameError::Exiting`].
///
/// ```
/// use rethread::process::{self, NameError};
/// assert_eq!(process::unregister("doc.nobody"), Err(NameError::Unknown));
/// ```
pub fn unregister(name: &str) -> Result<(), NameError> {
    if let Some(me) = me::get() {
        me.checkpoint();
        if me.zombie() {
            return Err(NameError::Exiting);
        }
    }
    let holder = find(name).ok_or(NameError::Unknown)?;
    let mut state = holder.lock();
    let name = state.name.take_if(|own| **own == *name).ok_or(NameError::Unknown)?;
    let earlier = state.predecessor.clone();
    drop(state);
    release(&name, holder.pid, earlier);
    Ok(())
}

/// Who holds a name now.
///
/// # Differences from Erlang
/// A process whose end is decided is no longer found, even before it is dead.
///
/// ```
/// assert_eq!(rethread::process::whereis("doc.no one"), None);
/// ```
pub fn whereis(name: &str) -> Option<Pid> {
    me::checkpoint();
    find(name).map(|block| block.pid)
}

/// Who holds a name, as soon as somebody does; `None` if nobody does within `limit`. The way to wait for a
/// restart.
///
/// ```
/// use std::time::Duration;
/// use rethread::process;
///
/// assert_eq!(process::whereis_within("doc.late", Duration::from_millis(1)), None);
/// let late = process::Builder::new().name("doc.late").spawn::<()>(|inbox| { inbox.recv(); })?;
/// assert_eq!(process::whereis_within("doc.late", Duration::from_secs(1)), Some(late.pid()));
/// # Ok::<(), process::SpawnError>(())
/// ```
pub fn whereis_within(name: &str, limit: Duration) -> Option<Pid> {
    me::checkpoint();
    let _awaiting = Awaiting::new(name);
    me::wait(Some(clock::after(limit)), || find(name)).map(|block| block.pid)
}
