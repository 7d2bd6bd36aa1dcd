//! What a registry tells its listeners, and who they are: each gets the events as messages of its own type.
//! `store` tells them.

use std::any::type_name;
use std::fmt;
use std::sync::Arc;

use crate::gen_server::behaviour::{Envelope, GenServer};
use crate::gen_server::handle::{ServerRef, To};
use crate::pid::Pid;
use crate::process::address::Address;
use crate::process::{names, table};
use crate::registry::told::{Id, Told};
use crate::sync::RwLock;
use crate::unwind::contain;

/// What happened in a registry. Its listeners get this, made into a message of theirs by [`From`]; see
/// [`Registry::listen`](crate::Registry::listen).
///
/// The events of one process come in order, and the last of them before its `Exit` and `Down`. Between different
/// processes nothing is promised: the end of one whose key was taken over is told after the beginning of its
/// successor. Whoever keeps track of a key compares the pids.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistryEvent<K, V = ()> {
    /// A process registered.
    Register {
        /// Under what.
        key: K,
        /// Who.
        pid: Pid,
        /// With what beside it.
        value: V,
    },
    /// An entry is gone: it was taken away, or its process ended.
    Unregister {
        /// What it was registered under.
        key: K,
        /// Whose it was.
        pid: Pid,
    },
}

impl<K, V> RegistryEvent<K, V> {
    /// The key it is about.
    pub fn key(&self) -> &K {
        match self {
            Self::Register { key, .. } | Self::Unregister { key, .. } => key,
        }
    }

    /// The process it is about.
    pub fn pid(&self) -> Pid {
        match self {
            Self::Register { pid, .. } | Self::Unregister { pid, .. } => *pid,
        }
    }
}

impl<K: fmt::Debug, V> fmt::Debug for RegistryEvent<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register { key, pid, .. } => write!(f, "Register {{ key: {key:?}, pid: {pid}, .. }}"),
            Self::Unregister { key, pid } => write!(f, "Unregister {{ key: {key:?}, pid: {pid} }}"),
        }
    }
}

/// One that listens: who it is, and how it is told.
struct Listener<K, V> {
    id: Id,
    to: To,
    tell: Tell<K, V>,
}

/// Makes a message of the event, and sends it within its turn: the first is user code, the second is not.
type Tell<K, V> = Arc<dyn Fn(RegistryEvent<K, V>, &Turn<'_>) + Send + Sync>;

/// Does what it is given if that still is to be done, and no other thread can decide otherwise meanwhile.
type Turn<'a> = dyn Fn(&mut dyn FnMut()) + 'a;

/// Sends if it is its turn. What was not wanted is dropped afterwards: that is user code.
fn send_in<M>(turn: &Turn<'_>, message: M, deliver: impl Fn(M) -> Result<(), M>) {
    let mut message = Some(message);
    turn(&mut || message = message.take().and_then(|message| deliver(message).err()));
}

impl<K, V> Listener<K, V> {
    /// Whether it can never hear anything again. A name may be held again by somebody.
    fn gone(&self) -> bool {
        match &self.to {
            To::Pinned(block) => block.doomed(),
            To::Pid(pid) => table::get(*pid).is_none_or(|block| block.doomed()),
            To::Const(_) | To::Named(_) | To::Via(_) => false,
        }
    }
}

/// Everybody who listens to one registry.
pub(crate) struct Listeners<K, V>(RwLock<Vec<Arc<Listener<K, V>>>>);

impl<K: 'static, V: 'static> Listeners<K, V> {
    pub(crate) fn new() -> Self {
        Self(RwLock::new(Vec::new()))
    }

    /// Adds a process.
    pub(crate) fn add<M>(&self, address: &Address<M>)
    where
        M: From<RegistryEvent<K, V>> + Send + 'static,
    {
        let to = To::Pinned(Arc::clone(address.block()));
        let address = address.clone();
        let tell = move |event, turn: &Turn<'_>| send_in(turn, M::from(event), |it| address.deliver(it));
        self.enter(to, Arc::new(tell));
    }

    /// Adds a server, which is looked up at each event.
    pub(crate) fn add_server<S>(&self, server: ServerRef<S>)
    where
        S: GenServer,
        S::Cast: From<RegistryEvent<K, V>>,
    {
        let tell = {
            let server = server.clone();
            move |event, turn: &Turn<'_>| match server.find().map(Address::<Envelope<S>>::of) {
                Some(Ok(address)) => {
                    send_in(turn, Envelope::Cast(S::Cast::from(event)), |it| address.deliver(it));
                }
                Some(Err(found)) => {
                    let expected = type_name::<S>();
                    log::warn!(
                        "an event of a registry did not reach {server}: it is {found}, not {expected}"
                    );
                }
                None => {}
            }
        };
        self.enter(server.to, Arc::new(tell));
    }

    /// In place of the same one: a server that is started again asks again.
    fn enter(&self, to: To, tell: Tell<K, V>) {
        let (name, pid) = (name_of(&to).map(str::to_owned), pid_of(&to));
        let same = |other: &To| {
            (name.is_some() && name.as_deref() == name_of(other)) || (pid.is_some() && pid == pid_of(other))
        };
        loop {
            let known = self.0.read().clone();
            // To ask who is behind a key may be user code, so it is not done under the lock.
            let (replaced, mut after): (Vec<_>, Vec<_>) =
                known.iter().cloned().partition(|known| same(&known.to));
            // What the one in its place was told counts: it is to hear of the end.
            let id = replaced.first().map_or_else(Id::default, |known| Arc::clone(&known.id));
            after.push(Arc::new(Listener { id, to: to.clone(), tell: Arc::clone(&tell) }));
            let mut listeners = self.0.write();
            // Otherwise somebody came or went meanwhile, perhaps the same one, and would be told twice.
            if listeners.iter().map(Arc::as_ptr).eq(known.iter().map(Arc::as_ptr)) {
                *listeners = after;
                break;
            }
        }
        self.forget_gone();
    }

    /// Tells everybody of an entry that is there.
    pub(crate) fn tell_beginning(&self, told: &Told, event: impl Fn() -> RegistryEvent<K, V>) {
        self.tell(event, |listener, send| told.turn_to_hear_of_the_beginning(listener, send));
        told.all_know();
    }

    /// Tells everybody of the end of an entry. When this is done all have heard, whoever else tells it too.
    pub(crate) fn tell_end(&self, told: &Told, event: impl Fn() -> RegistryEvent<K, V>) {
        told.ends();
        self.tell(event, |listener, send| told.turn_to_hear_of_the_end(listener, send));
    }

    /// What goes wrong there is nothing to the process whose doing it is told: a conversion that panics, a
    /// destructor.
    fn tell(&self, event: impl Fn() -> RegistryEvent<K, V>, turn: impl Fn(&Id, &mut dyn FnMut())) {
        let listeners = self.0.read().clone();
        for listener in listeners.iter().filter(|listener| !listener.gone()) {
            let turn = |send: &mut dyn FnMut()| turn(&listener.id, send);
            contain("a listener of a registry", || (listener.tell)(event(), &turn));
        }
        if listeners.iter().any(|listener| listener.gone()) {
            self.forget_gone();
        }
    }

    fn forget_gone(&self) {
        let mut gone = Vec::new(); // to drop a listener may be user code: not under the lock
        let mut listeners = self.0.write();
        listeners.retain(|listener| {
            let keep = !listener.gone();
            if !keep {
                gone.push(Arc::clone(listener));
            }
            keep
        });
        drop(listeners);
    }
}

fn name_of(to: &To) -> Option<&str> {
    match to {
        To::Const(name) => Some(name),
        To::Named(name) => Some(name),
        To::Pinned(_) | To::Pid(_) | To::Via(_) => None,
    }
}

/// Who is behind it now.
fn pid_of(to: &To) -> Option<Pid> {
    match to {
        To::Pinned(block) => Some(block.pid),
        To::Pid(pid) => Some(*pid),
        To::Const(name) => names::find(name).map(|block| block.pid),
        To::Named(name) => names::find(name).map(|block| block.pid),
        To::Via(key) => key.whereis(),
    }
}
