//! `Address` sends messages to one process, `Name` to the process that holds a registered name.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::pid::{MonitorRef, Pid};
use crate::process::control::block::ProcessBlock;
use crate::process::control::local;
use crate::process::control::table;
use crate::process::control::type_name::public_type_name;
use crate::process::error::SendError;
use crate::process::mailbox::inbox::{Inbox, MailboxQueue};
use crate::process::mailbox::throttle;
use crate::process::names;
use crate::process::signals::monitor::{Watch, monitor_name, watch_holder};

/// Sends typed messages to one process. Sending never blocks and never fails: a message to a process that has exited is
/// dropped, as in Erlang.
///
/// [`spawn_receiver`](crate::process::spawn_receiver) returns one; clones send to the same process. It becomes
/// useless when that process exits: to reach the process that replaces it use a [`Name`].
///
/// Addresses of the same process are equal, so a set of subscribers contains each process once:
///
/// ```
/// use std::collections::HashSet;
/// use rethread::process::{self, Address};
///
/// let mut subscribers: HashSet<Address<u32>> = HashSet::new();
/// let one = process::spawn_receiver(|inbox| { inbox.recv(); })?;
/// subscribers.insert(one.clone());
/// assert!(!subscribers.insert(one));
/// subscribers.iter().for_each(|to| to.send(42));
/// # Ok::<(), process::SpawnError>(())
/// ```
pub struct Address<M> {
    block: Arc<ProcessBlock>,
    // `fn(M)`: an address is `Send` and `Sync` even if `M` is not `Sync`.
    message: PhantomData<fn(M)>,
}

impl<M: Send + 'static> Address<M> {
    pub(crate) fn new(block: Arc<ProcessBlock>) -> Self {
        Self { block, message: PhantomData }
    }

    /// Returns the address of a process of which only the pid is known, for example from a listing or a registry. `None`
    /// if the process has exited, or if its message type is not `M`.
    ///
    /// ```
    /// use rethread::process::{self, Address, Inbox};
    ///
    /// let printer = process::spawn_receiver(|inbox: &mut Inbox<&str>| { inbox.recv(); })?;
    /// assert!(Address::<u8>::from_pid(printer.pid()).is_none());
    /// Address::<&str>::from_pid(printer.pid()).expect("it is waiting").send("hello");
    /// # Ok::<(), process::SpawnError>(())
    /// ```
    pub fn from_pid(pid: Pid) -> Option<Self> {
        local::checkpoint();
        table::get(pid).and_then(|block| Self::from_block(block).ok())
    }

    /// Returns the typed address of a process.
    ///
    /// # Errors
    /// The name of its message type, if that is not `M`.
    pub(crate) fn from_block(block: Arc<ProcessBlock>) -> Result<Self, &'static str> {
        // The check is needed only once: the message type of a process never changes.
        let type_check = MailboxQueue::<M>::downcast(&block).map(drop);
        type_check.map(|()| Self::new(block))
    }

    /// Sends a message. It is dropped if the process is exiting or has exited.
    ///
    /// ```
    /// use rethread::process::{self, Inbox};
    ///
    /// let printer = process::spawn_receiver(|inbox: &mut Inbox<&str>| println!("{:?}", inbox.recv()))?;
    /// printer.send("hello");
    /// # Ok::<(), rethread::process::SpawnError>(())
    /// ```
    pub fn send(&self, message: M) {
        if let Some(me) = local::get() {
            me.checkpoint();
            // Other processes have been notified that this process exited: nothing it still does may reach them.
            if me.is_zombie() {
                return;
            }
            me.note_send();
        }
        // A refused message is dropped here, by the sender.
        if self.send_as_runtime(message).is_ok() {
            // A sender that is faster than the receiver pauses now and then, so that the queue does not grow.
            throttle::throttle_sender(|| self.block.message_queue_len());
        }
    }

    /// Sends a message on behalf of the runtime: not a checkpoint, and works on the thread of a zombie. Hands the message
    /// back if the process is exiting or has exited.
    pub(crate) fn send_as_runtime(&self, message: M) -> Result<(), M> {
        self.push(message)?;
        // The push was under the lock of the queue, which orders it with the receiver's decision to park.
        self.block.parker.unpark_after_push();
        Ok(())
    }

    /// Adds a message to the mailbox without waking the process. Hands the message back if the process is exiting or
    /// has exited.
    pub(crate) fn push(&self, message: M) -> Result<(), M> {
        match MailboxQueue::downcast(&self.block) {
            Ok(mailbox) => mailbox.push_message(&self.block, message),
            Err(_) => unreachable!("the type was checked when the address was made"),
        }
    }

    pub(crate) fn block(&self) -> &Arc<ProcessBlock> {
        &self.block
    }
}

impl<M> Address<M> {
    /// Returns the pid of the process.
    pub fn pid(&self) -> Pid {
        self.block.pid
    }
}

impl<M: Send + 'static> Inbox<M> {
    /// Returns the address of this process, for other processes to send to.
    pub fn address(&self) -> Address<M> {
        Address::new(Arc::clone(self.block()))
    }
}

impl<M> Clone for Address<M> {
    fn clone(&self) -> Self {
        Self { block: Arc::clone(&self.block), message: PhantomData }
    }
}

impl<M> PartialEq for Address<M> {
    fn eq(&self, other: &Self) -> bool {
        // No pid is used twice.
        self.pid() == other.pid()
    }
}

impl<M> Eq for Address<M> {}

impl<M> Hash for Address<M> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pid().hash(state);
    }
}

impl<M> fmt::Debug for Address<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.pid())
    }
}

impl<M> From<&Address<M>> for Pid {
    fn from(address: &Address<M>) -> Self {
        address.pid()
    }
}

impl<M> From<Address<M>> for Pid {
    fn from(address: Address<M>) -> Self {
        address.pid()
    }
}

/// A registered name with a message type. Each send looks up the process that holds the name, so it stays valid when a
/// process is replaced.
///
/// ```
/// use rethread::process::{self, Inbox, Name};
///
/// const PRINTER: Name<&str> = Name::new("doc.printer.2");
///
/// assert!(PRINTER.send("lost").is_err()); // no process has the name yet
/// let builder = process::Builder::new().name(PRINTER);
/// let printer = builder.spawn_receiver(|inbox: &mut Inbox<&str>| { inbox.recv(); })?;
/// PRINTER.send("hello")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Name<M> {
    text: &'static str,
    message: PhantomData<fn(M)>,
}

impl<M: Send + 'static> Name<M> {
    /// Creates a name for processes whose message type is `M`.
    pub const fn new(text: &'static str) -> Self {
        Self { text, message: PhantomData }
    }

    /// Sends a message to the process that holds the name now.
    ///
    /// # Errors
    /// [`SendError::NoProc`] if no process holds it (Erlang raises an error then), [`SendError::WrongType`] if the
    /// message type of the holder is not `M`. Both contain the message.
    pub fn send(&self, message: M) -> Result<(), SendError<M>> {
        local::checkpoint();
        // Each send looks the name up: no address is kept that could belong to an earlier holder.
        let Some(block) = names::lookup(self.text) else {
            return Err(SendError::NoProc(message));
        };
        match Address::from_block(block) {
            // A zombie counts as exited and reaches no process.
            Ok(_) if local::is_zombie() => Err(SendError::NoProc(message)),
            // The holder may begin to exit after the look-up; then it hands the message back.
            Ok(address) => address.send_as_runtime(message).map_err(SendError::NoProc),
            Err(found) => Err(SendError::WrongType { message, expected: public_type_name::<M>(), found }),
        }
    }

    /// Returns the pid of the process that holds the name now, or `None`.
    pub fn whereis(&self) -> Option<Pid> {
        names::whereis(self.text)
    }

    /// Waits until a process holds the name and returns its pid; `None` if none does within `timeout`. Use it to wait for
    /// a restart.
    pub fn whereis_timeout(&self, timeout: Duration) -> Option<Pid> {
        names::whereis_timeout(self.text, timeout)
    }

    /// Monitors the process that holds the name now, like [`process::monitor_name`](crate::process::monitor_name). If
    /// no process holds it, the calling process receives the `Down` at once, with `NoProc`.
    ///
    /// # Panics
    /// On a thread that is not a process.
    #[track_caller]
    pub fn monitor(&self) -> MonitorRef {
        monitor_name(self.text)
    }

    /// Watches the process that holds the name now, from any thread. If no process holds it, [`wait`](Watch::wait)
    /// returns `NoProc` at once.
    ///
    /// ```
    /// use std::time::Duration;
    /// use rethread::ExitReason;
    /// use rethread::process::{self, Event, Inbox, Name};
    ///
    /// const PRINTER: Name<&str> = Name::new("doc.printer.3");
    ///
    /// let builder = process::Builder::new().name(PRINTER);
    /// builder.spawn_receiver(|inbox: &mut Inbox<&str>| {
    ///     while let Event::Message(_) = inbox.recv() {}
    /// })?;
    /// let printer = PRINTER.whereis_timeout(Duration::from_secs(5)).expect("it is running");
    /// let watch = PRINTER.watch();
    /// process::exit(printer, ExitReason::Shutdown);
    /// assert_eq!(watch.wait(), ExitReason::Shutdown);
    /// # Ok::<(), process::SpawnError>(())
    /// ```
    pub fn watch(&self) -> Watch {
        watch_holder(self.whereis())
    }
}

impl<M> Name<M> {
    /// Returns the name.
    pub const fn as_str(&self) -> &'static str {
        self.text
    }
}

impl<M> Clone for Name<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Name<M> {}

impl<M> PartialEq for Name<M> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl<M> Eq for Name<M> {}

impl<M> Hash for Name<M> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// Formats the name.
impl<M> fmt::Display for Name<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text)
    }
}

/// For [`Builder::name`](crate::process::Builder::name) and [`register`](crate::process::register).
impl<M> From<Name<M>> for Arc<str> {
    fn from(name: Name<M>) -> Self {
        name.text.into()
    }
}

impl<M> fmt::Debug for Name<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({:?})", self.text)
    }
}
