//! Where messages go: a process by its pid, or whoever holds a name. Handles of servers are built on
//! these.

use std::any::type_name;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;

use crate::pid::Pid;
use crate::process::control::block::ProcessBlock;
use crate::process::control::local;
use crate::process::control::table;
use crate::process::mailbox::flow_control;
use crate::process::mailbox::inbox::Inbox;
use crate::process::mailbox::inbox::MailboxQueue;
use crate::process::names;

/// Sends typed messages to one process. Sending never blocks and never fails: what is sent to a dead
/// process is dropped, as in Erlang.
///
/// Made by [`spawn`](crate::process::spawn); clones send to the same process. It goes stale when that
/// process ends: to reach whoever took its place use a [`Name`].
///
/// Addresses of one process are equal, so a set of subscribers keeps each once:
///
/// ```
/// use std::collections::HashSet;
/// use rethread::process::{self, Address};
///
/// let mut subscribers: HashSet<Address<u32>> = HashSet::new();
/// let one = process::spawn(|inbox| { inbox.recv(); })?;
/// subscribers.insert(one.clone());
/// assert!(!subscribers.insert(one));
/// subscribers.iter().for_each(|to| to.send(42));
/// # Ok::<(), process::SpawnError>(())
/// ```
pub struct Address<M> {
    block: Arc<ProcessBlock>,
    message: PhantomData<fn(M)>,
}

impl<M: Send + 'static> Address<M> {
    pub(crate) fn new(block: Arc<ProcessBlock>) -> Self {
        Self { block, message: PhantomData }
    }

    /// The address of a process whose pid comes from elsewhere: a listing, a registry. `None` if there is no
    /// such process any more, or it takes messages of another type.
    ///
    /// ```
    /// use rethread::process::{self, Address};
    ///
    /// let printer = process::spawn::<&str>(|inbox| { inbox.recv(); })?;
    /// assert!(Address::<u8>::from_pid(printer.pid()).is_none());
    /// Address::<&str>::from_pid(printer.pid()).expect("it waits").send("hello");
    /// # Ok::<(), process::SpawnError>(())
    /// ```
    pub fn from_pid(pid: Pid) -> Option<Self> {
        local::checkpoint();
        table::get(pid).and_then(|block| Self::from_block(block).ok())
    }

    /// The typed address of a process, if it takes messages of this type; else what it takes.
    pub(crate) fn from_block(block: Arc<ProcessBlock>) -> Result<Self, &'static str> {
        let type_check = MailboxQueue::<M>::downcast(&block).map(drop);
        type_check.map(|()| Self::new(block))
    }

    /// Sends a message.
    ///
    /// ```
    /// let printer = rethread::process::spawn::<&str>(|inbox| println!("{:?}", inbox.recv()))?;
    /// printer.send("hello");
    /// # Ok::<(), rethread::process::SpawnError>(())
    /// ```
    pub fn send(&self, message: M) {
        if let Some(me) = local::get() {
            me.checkpoint();
            if me.is_zombie() {
                return;
            }
            me.note_send();
        }
        // What comes back is dropped here, in the sender: nobody will read it.
        if self.send_as_runtime(message).is_ok() {
            flow_control::throttle_sender(|| self.block.message_queue_len());
        }
    }

    /// Sends a message, or hands it back because the process takes no more.
    pub(crate) fn try_send(&self, message: M) -> Result<(), M> {
        self.push(message)?;
        self.block.parker.unpark_after_push();
        Ok(())
    }

    /// As `try_send`, without waking the receiver.
    pub(crate) fn push(&self, message: M) -> Result<(), M> {
        if local::get().is_some_and(|me| me.is_zombie()) {
            return Err(message);
        }
        self.push_unchecked(message)
    }

    /// As `try_send`, for what the runtime itself has to say: also on the thread of a zombie.
    pub(crate) fn send_as_runtime(&self, message: M) -> Result<(), M> {
        self.push_unchecked(message)?;
        self.block.parker.unpark_after_push();
        Ok(())
    }

    fn push_unchecked(&self, message: M) -> Result<(), M> {
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
    /// The process' pid.
    pub fn pid(&self) -> Pid {
        self.block.pid
    }
}

impl<M: Send + 'static> Inbox<M> {
    /// The address of this very process, to be given to others.
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

/// Why a message could not be sent to a name. It holds the message.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError<M> {
    /// Nobody living holds the name.
    NoProc(M),
    /// The holder takes messages of another type.
    WrongType {
        /// The message.
        message: M,
        /// The type of the message.
        expected: &'static str,
        /// The type the holder takes.
        found: &'static str,
    },
}

impl<M> SendError<M> {
    /// The message back.
    pub fn into_inner(self) -> M {
        match self {
            Self::NoProc(message) | Self::WrongType { message, .. } => message,
        }
    }
}

impl<M> fmt::Display for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProc(_) => f.write_str("nobody holds the name"),
            Self::WrongType { expected, found, .. } => {
                write!(f, "the holder of the name takes {found}, not {expected}")
            }
        }
    }
}

impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoProc(_) => "NoProc(..)",
            Self::WrongType { .. } => "WrongType { .. }",
        })
    }
}

impl<M> std::error::Error for SendError<M> {}

/// A typed name: whoever holds it is looked up at each send, so it never goes stale.
///
/// ```
/// use rethread::process::{self, Name};
///
/// const PRINTER: Name<&str> = Name::new("doc.printer.2");
///
/// assert!(PRINTER.send("lost").is_err()); // nobody yet
/// let printer = process::Builder::new().name("doc.printer.2").spawn::<&str>(|inbox| { inbox.recv(); })?;
/// PRINTER.send("hello")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Name<M> {
    text: &'static str,
    message: PhantomData<fn(M)>,
}

impl<M: Send + 'static> Name<M> {
    /// A name for processes that take messages of type `M`.
    pub const fn new(text: &'static str) -> Self {
        Self { text, message: PhantomData }
    }

    /// Sends a message to whoever holds the name now.
    ///
    /// # Errors
    /// [`SendError::NoProc`] if nobody does (Erlang raises an error there), [`SendError::WrongType`] if the
    /// holder takes other messages. Both hand the message back.
    pub fn send(&self, message: M) -> Result<(), SendError<M>> {
        local::checkpoint();
        let Some(block) = names::lookup(self.text) else {
            return Err(SendError::NoProc(message));
        };
        match Address::from_block(block) {
            Ok(address) => address.try_send(message).map_err(SendError::NoProc),
            Err(found) => Err(SendError::WrongType { message, expected: type_name::<M>(), found }),
        }
    }

    /// Who holds the name now.
    pub fn whereis(&self) -> Option<Pid> {
        names::whereis(self.text)
    }
}

impl<M> Name<M> {
    /// The name itself.
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

impl<M> fmt::Debug for Name<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({:?})", self.text)
    }
}
