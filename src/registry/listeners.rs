//! The events of a registry and their delivery: each listener gets them as messages of its own type, and for each
//! entry at most one `Register`, and then at most one `Unregister`.
//!
//! Conversions and destructors of messages are user code. They must never run while the lock of an [`Announcement`]
//! or of the list of listeners is held.

use std::fmt;
use std::sync::Arc;

use crate::gen_server::callbacks::Envelope;
use crate::gen_server::callbacks::GenServer;
use crate::gen_server::server_ref::ServerRef;
use crate::gen_server::server_ref::Target;
use crate::pid::Pid;
use crate::process::control::table;
use crate::process::control::type_name::public_type_name;
use crate::process::mailbox::address::Address;
use crate::process::names;
use crate::sync::Mutex;
use crate::sync::RwLock;
use crate::unwind::catch_and_log;

/// A change in a registry. Listeners receive it converted into a message of their own type by [`From`]; see
/// [`Registry::listen`](crate::registry::Registry::listen).
///
/// The events of one process arrive in order, and the last of them before its `Exit` and `Down`. Between different
/// processes there is no order: when a key is taken over, the `Unregister` of the old holder arrives after the
/// `Register` of the new one. A listener that keeps track of a key must compare the pids.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistryEvent<K, V = ()> {
    /// A process registered.
    Register {
        /// The key it registered under.
        key: K,
        /// The process.
        pid: Pid,
        /// The value stored with the key.
        value: V,
    },
    /// An entry was removed: its process unregistered it, or exited.
    Unregister {
        /// The key it was registered under.
        key: K,
        /// The process that was registered.
        pid: Pid,
    },
}

impl<K, V> RegistryEvent<K, V> {
    /// Returns the key of the entry.
    pub fn key(&self) -> &K {
        match self {
            Self::Register { key, .. } | Self::Unregister { key, .. } => key,
        }
    }

    /// Returns the process of the entry.
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

/// Identity of a listener, compared by address.
type ListenerId = Arc<()>;

/// Records which listeners have received the events of one entry.
///
/// Two threads may announce the same entry: while the process registers or unregisters, another thread may run its
/// cleanup. The cleanup cannot wait for the first thread, which may be stuck, so it sends `Unregister` itself. The
/// state under this lock ensures that no listener gets `Unregister` before `Register`, or twice, or after the `Exit`
/// and `Down` of the process.
pub(crate) struct Announcement(Mutex<AnnouncementState>);

enum AnnouncementState {
    /// No event has been sent. The entry may not be in the table yet.
    Pending,
    /// `Register` is being sent; these listeners have received it.
    Announcing(Vec<ListenerId>),
    /// All listeners have received `Register`.
    Registered,
    /// The entry was removed. `Unregister` is being sent to `recipients` (`None`: to all); those in `notified` have
    /// received it.
    Removing { recipients: Option<Vec<ListenerId>>, notified: Vec<ListenerId> },
}

impl Announcement {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(AnnouncementState::Pending))
    }

    /// Returns `true` if the entry is in the table and not removed.
    pub(crate) fn is_registered(&self) -> bool {
        matches!(*self.0.lock(), AnnouncementState::Announcing(_) | AnnouncementState::Registered)
    }

    /// Marks the entry as added to the table. Returns `false` if it was removed already.
    pub(crate) fn start_announcing(&self) -> bool {
        let mut state = self.0.lock();
        let is_pending = matches!(*state, AnnouncementState::Pending);
        if is_pending {
            *state = AnnouncementState::Announcing(Vec::new());
        }
        is_pending
    }

    /// Marks the entry as announced to all listeners, unless it was removed in the meantime.
    fn finish_announcing(&self) {
        let mut state = self.0.lock();
        if matches!(*state, AnnouncementState::Announcing(_)) {
            *state = AnnouncementState::Registered;
        }
    }

    /// Marks the entry as removed. A second call changes nothing: the first one has determined the recipients.
    fn start_removing(&self) {
        let mut state = self.0.lock();
        // A listener that has not received `Register` yet will not receive it any more: skip it.
        let recipients = match &mut *state {
            AnnouncementState::Pending => Some(Vec::new()),
            AnnouncementState::Announcing(notified) => Some(std::mem::take(notified)),
            // Also to listeners that were added since: they may have found the entry by a lookup.
            AnnouncementState::Registered => None,
            AnnouncementState::Removing { .. } => return,
        };
        *state = AnnouncementState::Removing { recipients, notified: Vec::new() };
    }

    /// Calls `send` unless the entry was removed. `send` runs under the lock, so it must not be user code.
    fn send_register_once(&self, id: &ListenerId, send: &mut dyn FnMut()) {
        if let AnnouncementState::Announcing(notified) = &mut *self.0.lock() {
            notified.push(Arc::clone(id));
            send();
        }
    }

    /// Calls `send` if this listener is one of the recipients of `Unregister` and has not received it yet. `send`
    /// runs under the lock, so it must not be user code.
    fn send_unregister_once(&self, id: &ListenerId, send: &mut dyn FnMut()) {
        let is_same = |other: &ListenerId| Arc::ptr_eq(other, id);
        if let AnnouncementState::Removing { recipients, notified } = &mut *self.0.lock() {
            if recipients.as_ref().is_none_or(|recipients| recipients.iter().any(is_same))
                && !notified.iter().any(is_same)
            {
                notified.push(Arc::clone(id));
                send();
            }
        }
    }
}

/// A subscriber of a registry.
struct Listener<K, V> {
    id: ListenerId,
    target: Target,
    send: SendEvent<K, V>,
}

/// Converts the event (user code, no lock held), then sends it under the lock of the announcement.
type SendEvent<K, V> = Arc<dyn Fn(RegistryEvent<K, V>, &SendOnce<'_>) + Send + Sync>;

/// Calls the function it is given under the lock of the announcement, unless the listener must not receive the event.
type SendOnce<'a> = dyn Fn(&mut dyn FnMut()) + 'a;

/// Sends a message within `send_once`. A message that was not delivered is dropped after the lock is released,
/// because its destructor is user code.
fn send_message_once<M>(send_once: &SendOnce<'_>, message: M, deliver: impl Fn(M) -> Result<(), M>) {
    let mut message = Some(message);
    // `deliver` returns the message if the mailbox is closed.
    send_once(&mut || message = message.take().and_then(|message| deliver(message).err()));
}

impl<K, V> Listener<K, V> {
    /// Returns `true` if no event can reach this listener any more. A name can: another process may register it.
    fn is_closed(&self) -> bool {
        match &self.target {
            Target::Process(block) => block.is_exiting(),
            Target::Pid(pid) => table::get(*pid).is_none_or(|block| block.is_exiting()),
            Target::StaticName(_) | Target::Name(_) | Target::Via(_) => false,
        }
    }
}

/// The subscribers of one registry.
pub(crate) struct Listeners<K, V>(RwLock<Vec<Arc<Listener<K, V>>>>);

impl<K: 'static, V: 'static> Listeners<K, V> {
    pub(crate) fn new() -> Self {
        Self(RwLock::new(Vec::new()))
    }

    /// Adds a process as listener.
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

    /// Adds a server as listener. It is looked up for each event.
    pub(crate) fn add_server<S>(&self, server: &ServerRef<S>)
    where
        S: GenServer,
        S::Cast: From<RegistryEvent<K, V>>,
    {
        let send = {
            let server = server.clone();
            // Look the server up now: it may have been restarted since the last event.
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
                    let expected = public_type_name::<S>();
                    log::warn!("registry event not delivered to {server}: it is {found}, not {expected}");
                }
                None => {} // the server is not running at the moment
            }
        };
        self.add_or_replace(server.target.clone(), Arc::new(send));
    }

    /// Adds a listener, or replaces the one for the same process or name: a restarted server subscribes again.
    fn add_or_replace(&self, target: Target, send: SendEvent<K, V>) {
        // The same name denotes the same listener, whatever process holds it. Other targets, and a
        // name with another target, are the same if they denote the same process at the moment.
        let (name, pid) = (name_of(&target).map(str::to_owned), pid_of(&target));
        let same = |other: &Target| {
            (name.is_some() && name.as_deref() == name_of(other)) || (pid.is_some() && pid == pid_of(other))
        };
        loop {
            // Prepare the new list outside the lock: looking up a `Via` key or a server may run user code.
            let known = self.0.read().clone();
            let (replaced, mut updated): (Vec<_>, Vec<_>) =
                known.iter().cloned().partition(|known| same(&known.target));
            // Keep the identity of a replaced listener: it must still receive `Unregister` for entries announced to it.
            let id = replaced.first().map_or_else(ListenerId::default, |known| Arc::clone(&known.id));
            updated.push(Arc::new(Listener { id, target: target.clone(), send: Arc::clone(&send) }));
            let mut listeners = self.0.write();
            // Retry if another thread changed the list: it may have added the same listener, which would then be
            // listed twice, or one that `updated` lacks.
            if listeners.iter().map(Arc::as_ptr).eq(known.iter().map(Arc::as_ptr)) {
                *listeners = updated;
                break;
            }
        }
        self.prune();
    }

    /// Sends `Register` to all listeners.
    pub(crate) fn announce_register(
        &self,
        announcement: &Announcement,
        event: impl Fn() -> RegistryEvent<K, V>,
    ) {
        self.announce(event, |listener, send| announcement.send_register_once(listener, send));
        announcement.finish_announcing();
    }

    /// Sends `Unregister` to all listeners that have received `Register`. When this returns, each of them has it, even
    /// if other threads send it at the same time.
    pub(crate) fn announce_unregister(
        &self,
        announcement: &Announcement,
        event: impl Fn() -> RegistryEvent<K, V>,
    ) {
        announcement.start_removing();
        self.announce(event, |listener, send| announcement.send_unregister_once(listener, send));
    }

    /// Sends an event to each listener. A panic in a conversion or a destructor is logged and does not reach the
    /// calling process, which did not write that code.
    fn announce(
        &self,
        event: impl Fn() -> RegistryEvent<K, V>,
        send_once: impl Fn(&ListenerId, &mut dyn FnMut()),
    ) {
        // Send without the lock of the list: a conversion is user code and may subscribe a listener.
        let listeners = self.0.read().clone();
        for listener in listeners.iter().filter(|listener| !listener.is_closed()) {
            let send_once = |send: &mut dyn FnMut()| send_once(&listener.id, send);
            // Each listener gets its own event: `event` clones the key and the value, which is user code.
            catch_and_log("a listener of a registry", || (listener.send)(event(), &send_once));
        }
        if listeners.iter().any(|listener| listener.is_closed()) {
            self.prune();
        }
    }

    /// Removes the listeners that no event can reach any more.
    fn prune(&self) {
        // Find them without the lock of the list: `is_closed` takes the lock of the pid table, and may drop the last
        // reference to a process, which runs user code. A closed listener stays closed.
        let mut closed = self.0.read().clone();
        closed.retain(|listener| listener.is_closed());
        let mut listeners = self.0.write();
        listeners.retain(|listener| !closed.iter().any(|other| Arc::ptr_eq(other, listener)));
        drop(listeners);
        drop(closed); // dropping a listener may run user code: not under the lock
    }
}

fn name_of(target: &Target) -> Option<&str> {
    match target {
        Target::StaticName(name) => Some(name),
        Target::Name(name) => Some(name),
        Target::Process(_) | Target::Pid(_) | Target::Via(_) => None,
    }
}

/// Returns the process that a target denotes at the moment.
fn pid_of(target: &Target) -> Option<Pid> {
    match target {
        Target::Process(block) => Some(block.pid),
        Target::Pid(pid) => Some(*pid),
        Target::StaticName(name) => names::lookup(name).map(|block| block.pid),
        Target::Name(name) => names::lookup(name).map(|block| block.pid),
        Target::Via(key) => key.whereis(),
    }
}
