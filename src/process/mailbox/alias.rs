//! Aliases: addresses that their process can deactivate, explicitly or together with a monitor. They serve requests
//! between plain processes; servers use reply slots instead.

use std::fmt;
use std::sync::Arc;

use crate::pid::{MonitorRef, Pid};
use crate::process::control::block::{Deactivate, MonitorTarget, Monitoring, Peer};
use crate::process::control::local;
use crate::process::control::table;
use crate::process::mailbox::address::Address;
use crate::process::mailbox::inbox::Inbox;
use crate::process::signals::monitor::{add_monitor, remove_watcher};
use crate::sync::atomic::{AtomicBool, Ordering};

/// When an [`Alias`] that was made with a monitor becomes inactive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AliasMode {
    /// By [`Alias::unalias`] only. The end of the monitor does not affect it.
    Explicit,
    /// When the monitor fires or is removed, or by [`Alias::unalias`].
    Demonitor,
    /// Like `Demonitor`, but also with the first message sent through it, which removes the monitor too.
    ReplyDemonitor,
}

/// An address of one process that can be deactivated. A message sent through an inactive alias is dropped before it
/// reaches the mailbox, so late replies need no handling.
///
/// ```
/// use rethread::process::{self, Alias, AliasMode, Event, Inbox};
///
/// process::attach_receiver(|inbox: &mut Inbox<&str>| {
///     let server = process::spawn_receiver(|inbox: &mut Inbox<Alias<&str>>| {
///         if let Event::Message(reply_to) = inbox.recv() {
///             reply_to.send("first");
///             reply_to.send("second");
///         }
///     }).expect("a process");
///     let (monitor, alias) = inbox.monitor_alias(&server, AliasMode::ReplyDemonitor);
///     server.send(alias);
///     assert_eq!(inbox.recv(), Event::Message("first"));
///     assert!(!process::demonitor(monitor)); // removed by the first reply
///     # process::watch(&server).wait();
///     assert_eq!(inbox.try_recv(), None); // the second was dropped
/// })?;
/// # Ok::<(), process::AttachError>(())
/// ```
pub struct Alias<M>(Arc<AliasState<M>>);

struct AliasState<M> {
    address: Address<M>,
    /// The monitor that the first message removes.
    reply_monitor: Option<MonitorRef>,
    /// Read and written under the lock of the target process: no message is pushed after a deactivation.
    active: AtomicBool,
}

impl<M: Send + 'static> Deactivate for AliasState<M> {
    fn deactivate(&self) {
        self.active.store(false, Ordering::Relaxed);
    }
}

impl<M: Send + 'static> Alias<M> {
    fn new(inbox: &Inbox<M>, reply_monitor: Option<MonitorRef>) -> Self {
        Self(Arc::new(AliasState { address: inbox.address(), reply_monitor, active: AtomicBool::new(true) }))
    }

    /// Sends a message. It is dropped if the alias is inactive, or its process is exiting or has exited.
    pub fn send(&self, message: M) {
        local::checkpoint();
        // A zombie counts as exited and reaches no process.
        if local::is_zombie() {
            return;
        }
        let target = self.0.address.block();
        // One lock from the check to the push. Otherwise two senders could both find a `ReplyDemonitor` alias active.
        let mut state = target.lock();
        let active = self.0.active.load(Ordering::Relaxed);
        let unsent = if active { self.0.address.push(message).err() } else { Some(message) };
        // A delivered reply deactivates the alias and removes the monitor before the lock is released: its `Down` cannot
        // arrive after the reply.
        let removed = match self.0.reply_monitor {
            Some(monitor) if active && unsent.is_none() => {
                self.0.deactivate();
                state.monitoring.remove(&monitor).map(|monitoring| (monitor, monitoring))
            }
            _ => None,
        };
        // The message may have a destructor, and the other process has a lock of its own: both without this lock.
        drop(state);
        drop(unsent);
        target.parker.unpark_after_push();
        if let Some((monitor, Monitoring::Active { peer: Peer(other), .. })) = removed {
            remove_watcher(&other, monitor);
        }
    }

    /// Deactivates the alias and returns `true` if it was active. Messages that are already in the mailbox stay there.
    pub fn unalias(&self) -> bool {
        let _guard = self.0.address.block().lock();
        self.0.active.swap(false, Ordering::Relaxed)
    }
}

impl<M> Alias<M> {
    /// Returns the pid of the process that it sends to.
    pub fn pid(&self) -> Pid {
        self.0.address.pid()
    }
}

impl<M> Clone for Alias<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> fmt::Debug for Alias<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Alias({})", self.pid())
    }
}

impl<M: Send + 'static> Inbox<M> {
    /// Creates an alias of this process that stays active until [`Alias::unalias`].
    ///
    /// ```
    /// use rethread::process::{self, Event, Inbox};
    ///
    /// process::attach_receiver(|inbox: &mut Inbox<u32>| {
    ///     let alias = inbox.alias();
    ///     alias.send(1);
    ///     assert!(alias.unalias());
    ///     alias.send(2); // dropped
    ///     assert_eq!((inbox.try_recv(), inbox.try_recv()), (Some(Event::Message(1)), None));
    /// })?;
    /// # Ok::<(), process::AttachError>(())
    /// ```
    pub fn alias(&self) -> Alias<M> {
        Alias::new(self, None)
    }

    /// Monitors a process and creates an alias of this process. `mode` sets when the alias becomes inactive.
    pub fn monitor_alias(&self, pid: impl Into<Pid>, mode: AliasMode) -> (MonitorRef, Alias<M>) {
        let pid = pid.into();
        local::checkpoint();
        let monitor = MonitorRef::next();
        let alias = Alias::new(self, (mode == AliasMode::ReplyDemonitor).then_some(monitor));
        let deactivate: Option<Arc<dyn Deactivate>> = match mode {
            AliasMode::Explicit => None,
            AliasMode::Demonitor | AliasMode::ReplyDemonitor => Some(Arc::clone(&alias.0) as _),
        };
        // The monitor of a zombie would never be removed.
        if local::is_zombie() {
            return (monitor, alias);
        }
        add_monitor(
            alias.0.address.block(),
            monitor,
            table::get_until_notified(pid).as_ref(),
            MonitorTarget::Pid(pid),
            deactivate,
        );
        (monitor, alias)
    }
}
