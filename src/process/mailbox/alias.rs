//! Aliases: addresses of the calling process that can be switched off, by hand or together with a monitor.
//! For request and answer between plain processes; servers have reply slots instead.

use std::fmt;
use std::sync::Arc;

use crate::pid::{MonitorRef, Pid};
use crate::process::control::block::Deactivate;
use crate::process::control::block::MonitorTarget;
use crate::process::control::block::Monitoring;
use crate::process::control::block::Peer;
use crate::process::control::local;
use crate::process::control::table;
use crate::process::mailbox::address::Address;
use crate::process::mailbox::inbox::Inbox;
use crate::process::signals::monitor::add_monitor;
use crate::process::signals::monitor::remove_watcher;
use crate::sync::atomic::{AtomicBool, Ordering};

/// Until when an [`Alias`] made with a monitor is active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AliasMode {
    /// Until [`Alias::unalias`]. It survives the monitor.
    Explicit,
    /// Until the monitor fires or is removed.
    Demonitor,
    /// As `Demonitor`, and until the first message through it, which removes the monitor too.
    ReplyDemonitor,
}

/// An address of one process that can be switched off. What is sent through it afterwards is dropped
/// before it reaches the mailbox: late answers simply vanish.
///
/// ```
/// use rethread::process::{self, AliasMode, Event, Inbox};
///
/// process::attach(|inbox: &mut Inbox<&str>| {
///     let server = process::spawn::<process::Alias<&str>>(|inbox| {
///         if let Event::Message(answer_to) = inbox.recv() {
///             answer_to.send("first");
///             answer_to.send("second");
///         }
///     }).expect("a free thread");
///     let (monitor, alias) = inbox.monitor_alias(&server, AliasMode::ReplyDemonitor);
///     server.send(alias);
///     assert_eq!(inbox.recv(), Event::Message("first"));
///     assert!(!process::demonitor(monitor)); // gone with the first answer
///     # process::watch(&server).wait();
///     assert_eq!(inbox.try_recv(), None); // so is whatever came later
/// })?;
/// # Ok::<(), process::AttachError>(())
/// ```
pub struct Alias<M>(Arc<AliasState<M>>);

struct AliasState<M> {
    address: Address<M>,
    /// The monitor the first message removes.
    reply_monitor: Option<MonitorRef>,
    /// Read and written under the lock of the target process, so that nothing gets in after it is off.
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

    /// Sends a message, which is dropped if the alias is no longer active, or its process dead.
    pub fn send(&self, message: M) {
        local::checkpoint();
        let target = self.0.address.block();
        let mut state = target.lock();
        let active = self.0.active.load(Ordering::Relaxed);
        let unsent = if active { self.0.address.push(message).err() } else { Some(message) };
        let removed = match self.0.reply_monitor {
            Some(monitor) if active && unsent.is_none() => {
                self.0.deactivate();
                state.monitoring.remove(&monitor).map(|monitoring| (monitor, monitoring))
            }
            _ => None,
        };
        drop(state);
        drop(unsent);
        target.parker.unpark_after_push();
        if let Some((monitor, Monitoring::Active { peer: Peer(other), .. })) = removed {
            remove_watcher(&other, monitor);
        }
    }

    /// Switches it off; whether it was on. Messages that are in the mailbox already stay.
    pub fn unalias(&self) -> bool {
        let _guard = self.0.address.block().lock();
        self.0.active.swap(false, Ordering::Relaxed)
    }
}

impl<M> Alias<M> {
    /// The process it sends to.
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
    /// An address of this process that lasts until [`Alias::unalias`].
    pub fn alias(&self) -> Alias<M> {
        Alias::new(self, None)
    }

    /// Monitors a process and makes an alias that ends with the monitor, or as `mode` says.
    pub fn monitor_alias(&self, pid: impl Into<Pid>, mode: AliasMode) -> (MonitorRef, Alias<M>) {
        let pid = pid.into();
        local::checkpoint();
        let monitor = MonitorRef::next();
        let alias = Alias::new(self, (mode == AliasMode::ReplyDemonitor).then_some(monitor));
        let deactivate: Option<Arc<dyn Deactivate>> = match mode {
            AliasMode::Explicit => None,
            AliasMode::Demonitor | AliasMode::ReplyDemonitor => Some(Arc::clone(&alias.0) as _),
        };
        if local::get().is_some_and(|me| me.is_zombie()) {
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
