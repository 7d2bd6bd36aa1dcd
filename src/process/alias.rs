//! Aliases: addresses of the calling process that can be switched off, by hand or together with a monitor.
//! For request and answer between plain processes; servers have reply slots instead.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::pid::{MonitorRef, Pid};
use crate::process::address::Address;
use crate::process::block::{Deactivate, Target};
use crate::process::inbox::Inbox;
use crate::process::link::{hold, release};
use crate::process::{me, table};

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
pub struct Alias<M>(Arc<Switch<M>>);

struct Switch<M> {
    address: Address<M>,
    monitor: Option<MonitorRef>,
    once: bool,
    /// Held while a message is put into the mailbox, so that nothing gets in after it is off.
    active: Mutex<bool>,
}

impl<M: Send + 'static> Deactivate for Switch<M> {
    fn deactivate(&self) {
        *self.active.lock() = false;
    }
}

impl<M: Send + 'static> Alias<M> {
    fn new(inbox: &Inbox<M>, monitor: Option<MonitorRef>, once: bool) -> Self {
        let address = inbox.address();
        Self(Arc::new(Switch { address, monitor, once, active: Mutex::new(true) }))
    }

    /// Sends a message, which is dropped if the alias is no longer active, or its process dead.
    pub fn send(&self, message: M) {
        me::checkpoint();
        let mut active = self.0.active.lock();
        let unsent = if *active { self.0.address.put(message).err() } else { Some(message) };
        let spent = *active && self.0.once;
        *active &= !spent;
        drop(active);
        drop(unsent);
        let target = self.0.address.block();
        target.waiter.wake();
        if let (true, Some(monitor)) = (spent, self.0.monitor) {
            release(target, monitor, false);
        }
    }

    /// Switches it off; whether it was on. Messages that are in the mailbox already stay.
    pub fn unalias(&self) -> bool {
        std::mem::replace(&mut *self.0.active.lock(), false)
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
        Alias::new(self, None, false)
    }

    /// Monitors a process and makes an alias that ends with the monitor, or as `mode` says.
    pub fn monitor_alias(&self, pid: impl Into<Pid>, mode: AliasMode) -> (MonitorRef, Alias<M>) {
        let pid = pid.into();
        me::checkpoint();
        let monitor = MonitorRef::fresh();
        let alias = match mode {
            AliasMode::Explicit => Alias::new(self, None, false),
            AliasMode::Demonitor => Alias::new(self, Some(monitor), false),
            AliasMode::ReplyDemonitor => Alias::new(self, Some(monitor), true),
        };
        let switch: Option<Arc<dyn Deactivate>> = match mode {
            AliasMode::Explicit => None,
            AliasMode::Demonitor | AliasMode::ReplyDemonitor => Some(Arc::clone(&alias.0) as _),
        };
        hold(alias.0.address.block(), monitor, table::get(pid).as_ref(), Target::Pid(pid), switch);
        (monitor, alias)
    }
}
