//! What a registry tells its listeners, and who they are: each gets the events as messages of its own type.
//! `store` tells them.

use std::any::type_name;
use std::fmt;
use std::sync::Arc;

use crate::gen_server::callbacks::Envelope;
use crate::gen_server::callbacks::GenServer;
use crate::gen_server::server_ref::ServerRef;
use crate::gen_server::server_ref::Target;
use crate::pid::Pid;
use crate::process::control::table;
use crate::process::mailbox::address::Address;
use crate::process::names;
use crate::registry::announcement::Announcement;
use crate::registry::announcement::ListenerId;
use crate::sync::RwLock;
use crate::unwind::catch_and_log;

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
    id: ListenerId,
    target: Target,
    send: SendEvent<K, V>,
}

/// Makes a message of the event, and sends it within its turn: the first is user code, the second is not.
type SendEvent<K, V> = Arc<dyn Fn(RegistryEvent<K, V>, &SendOnce<'_>) + Send + Sync>;

/// Does what it is given if that still is to be done, and no other thread can decide otherwise meanwhile.
type SendOnce<'a> = dyn Fn(&mut dyn FnMut()) + 'a;

/// Sends if it is its turn. What was not wanted is dropped afterwards: that is user code.
fn send_message_once<M>(send_once: &SendOnce<'_>, message: M, deliver: impl Fn(M) -> Result<(), M>) {
    let mut message = Some(message);
    send_once(&mut || message = message.take().and_then(|message| deliver(message).err()));
}

impl<K, V> Listener<K, V> {
    /// Whether it can never hear anything again. A name may be held again by somebody.
    fn is_closed(&self) -> bool {
        match &self.target {
            Target::Process(block) => block.is_exiting(),
            Target::Pid(pid) => table::get(*pid).is_none_or(|block| block.is_exiting()),
            Target::StaticName(_) | Target::Name(_) | Target::Via(_) => false,
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
        let target = Target::Process(Arc::clone(address.block()));
        let address = address.clone();
        let send = move |event, send_once: &SendOnce<'_>| {
            send_message_once(send_once, M::from(event), |it| address.send_as_runtime(it))
        };
        self.add_or_replace(target, Arc::new(send));
    }

    /// Adds a server, which is looked up at each event.
    pub(crate) fn add_server<S>(&self, server: ServerRef<S>)
    where
        S: GenServer,
        S::Cast: From<RegistryEvent<K, V>>,
    {
        let send = {
            let server = server.clone();
            move |event, send_once: &SendOnce<'_>| match server
                .find_block()
                .map(Address::<Envelope<S>>::from_block)
            {
                Some(Ok(address)) => {
                    send_message_once(send_once, Envelope::Cast(S::Cast::from(event)), |it| {
                        address.send_as_runtime(it)
                    });
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
        self.add_or_replace(server.target, Arc::new(send));
    }

    /// In place of the same one: a server that is started again asks again.
    fn add_or_replace(&self, target: Target, send: SendEvent<K, V>) {
        let (name, pid) = (name_of(&target).map(str::to_owned), pid_of(&target));
        let same = |other: &Target| {
            (name.is_some() && name.as_deref() == name_of(other)) || (pid.is_some() && pid == pid_of(other))
        };
        loop {
            let known = self.0.read().clone();
            // To ask who is behind a key may be user code, so it is not done under the lock.
            let (replaced, mut updated): (Vec<_>, Vec<_>) =
                known.iter().cloned().partition(|known| same(&known.target));
            // What the one in its place was told counts: it is to hear of the end.
            let id = replaced.first().map_or_else(ListenerId::default, |known| Arc::clone(&known.id));
            updated.push(Arc::new(Listener { id, target: target.clone(), send: Arc::clone(&send) }));
            let mut listeners = self.0.write();
            // Otherwise somebody came or went meanwhile, perhaps the same one, and would be told twice.
            if listeners.iter().map(Arc::as_ptr).eq(known.iter().map(Arc::as_ptr)) {
                *listeners = updated;
                break;
            }
        }
        self.prune();
    }

    /// Tells everybody of an entry that is there.
    pub(crate) fn announce_register(
        &self,
        announcement: &Announcement,
        event: impl Fn() -> RegistryEvent<K, V>,
    ) {
        self.announce(event, |listener, send| announcement.send_register_once(listener, send));
        announcement.finish_announcing();
    }

    /// Tells everybody of the end of an entry. When this is done all have heard, whoever else tells it too.
    pub(crate) fn announce_unregister(
        &self,
        announcement: &Announcement,
        event: impl Fn() -> RegistryEvent<K, V>,
    ) {
        announcement.start_removing();
        self.announce(event, |listener, send| announcement.send_unregister_once(listener, send));
    }

    /// What goes wrong there is nothing to the process whose doing it is told: a conversion that panics, a
    /// destructor.
    fn announce(
        &self,
        event: impl Fn() -> RegistryEvent<K, V>,
        send_once: impl Fn(&ListenerId, &mut dyn FnMut()),
    ) {
        let listeners = self.0.read().clone();
        for listener in listeners.iter().filter(|listener| !listener.is_closed()) {
            let send_once = |send: &mut dyn FnMut()| send_once(&listener.id, send);
            catch_and_log("a listener of a registry", || (listener.send)(event(), &send_once));
        }
        if listeners.iter().any(|listener| listener.is_closed()) {
            self.prune();
        }
    }

    fn prune(&self) {
        let mut closed = Vec::new(); // to drop a listener may be user code: not under the lock
        let mut listeners = self.0.write();
        listeners.retain(|listener| {
            let keep = !listener.is_closed();
            if !keep {
                closed.push(Arc::clone(listener));
            }
            keep
        });
        drop(listeners);
    }
}

fn name_of(target: &Target) -> Option<&str> {
    match target {
        Target::StaticName(name) => Some(name),
        Target::Name(name) => Some(name),
        Target::Process(_) | Target::Pid(_) | Target::Via(_) => None,
    }
}

/// Who is behind it now.
fn pid_of(target: &Target) -> Option<Pid> {
    match target {
        Target::Process(block) => Some(block.pid),
        Target::Pid(pid) => Some(*pid),
        Target::StaticName(name) => names::lookup(name).map(|block| block.pid),
        Target::Name(name) => names::lookup(name).map(|block| block.pid),
        Target::Via(key) => key.whereis(),
    }
}
