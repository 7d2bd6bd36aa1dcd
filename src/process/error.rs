//! The error types of `process`: of starting and attaching, of names, of links and of sending to a name.

// Some of these errors contain another one. None implements `source`: the text of the outer error includes
// the text of the inner one, and a printed chain of causes would repeat it.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::pid::Pid;
use crate::reason::ExitReason;

/// Why a process could not be started.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SpawnError {
    /// There are as many processes as [`Settings::max_processes`](crate::process::Settings::max_processes)
    /// allows.
    SystemLimit {
        /// The limit.
        limit: usize,
    },
    /// The operating system refused to create a thread.
    Thread(Arc<io::Error>),
    /// The process could not be registered under its name.
    Name(NameError),
    /// The calling process is exiting.
    Exiting,
    /// The calling thread is not a process, so nothing can be linked to it and it cannot receive a `Down`.
    NotAProcess,
    /// The calling thread is a process already.
    AlreadyAProcess(Pid),
}

impl PartialEq for SpawnError {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exiting, Self::Exiting) | (Self::NotAProcess, Self::NotAProcess) => true,
            (Self::SystemLimit { limit: a }, Self::SystemLimit { limit: b }) => a == b,
            // `io::Error` cannot be compared.
            (Self::Thread(a), Self::Thread(b)) => a.kind() == b.kind(),
            (Self::Name(a), Self::Name(b)) => a == b,
            (Self::AlreadyAProcess(a), Self::AlreadyAProcess(b)) => a == b,
            _ => false,
        }
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SystemLimit { limit } => write!(f, "the limit of {limit} processes is reached"),
            Self::Thread(error) => write!(f, "the operating system refused a thread: {error}"),
            Self::Name(error) => error.fmt(f),
            Self::Exiting => f.write_str("the calling process is exiting"),
            Self::NotAProcess => f.write_str("the calling thread is not a process"),
            Self::AlreadyAProcess(pid) => write!(f, "the calling thread is already the process {pid}"),
        }
    }
}

impl std::error::Error for SpawnError {}

/// Why [`attach`](crate::process::attach) has no value to return.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum AttachError {
    /// The thread could not become a process.
    Spawn(SpawnError),
    /// The thread became a process, which exited with this reason before its body returned.
    Exited(ExitReason),
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spawn(error) => error.fmt(f),
            Self::Exited(reason) => reason.fmt(f),
        }
    }
}

impl std::error::Error for AttachError {}

/// Why a name could not be registered or unregistered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// A running process holds the name; it may be the very process that was to get it.
    Taken(Pid),
    /// The process already has another name; a process can have only one.
    AlreadyNamed(Arc<str>),
    /// There is no such process, or it is exiting.
    NoProc,
    /// No process holds the name.
    Unknown,
    /// The name is empty.
    Empty,
    /// The calling process is exiting and can no longer change names.
    Exiting,
    /// The calling thread is not a process, so there is nothing to register.
    NotAProcess,
    /// What was given as a name cannot be one, for this reason: the handle of a pid, or a key that its
    /// [`Via`](crate::process::Via) table refused.
    Unsupported(&'static str),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(holder) => write!(f, "the name is taken by {holder}"),
            Self::AlreadyNamed(name) => write!(f, "the process already has the name {name:?}"),
            Self::NoProc => f.write_str("there is no such process"),
            Self::Unknown => f.write_str("no process holds the name"),
            Self::Empty => f.write_str("a name must have at least one character"),
            Self::Exiting => f.write_str("the calling process is exiting"),
            Self::NotAProcess => f.write_str("the calling thread is not a process"),
            Self::Unsupported(reason) => write!(f, "this cannot be used as a name: {reason}"),
        }
    }
}

impl std::error::Error for NameError {}

/// Why a link could not be made.
///
/// ```
/// use rethread::process::{self, LinkError};
///
/// let exited = process::spawn(|| ())?;
/// process::watch(exited).wait();
/// assert_eq!(process::link(exited), Err(LinkError::NotAProcess)); // this thread cannot receive an exit signal
/// assert_eq!(process::attach(|| process::link(exited))?, Err(LinkError::NoProc));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkError {
    /// The other process has exited.
    NoProc,
    /// The calling process is exiting.
    Exiting,
    /// The calling thread is not a process.
    NotAProcess,
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoProc => "there is no such process",
            Self::Exiting => "the calling process is exiting",
            Self::NotAProcess => "the calling thread is not a process",
        })
    }
}

impl std::error::Error for LinkError {}

/// Why a message could not be sent to a name. The error contains the message.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError<M> {
    /// No running process holds the name.
    NoProc(M),
    /// The holder receives messages of another type.
    WrongType {
        /// The message.
        message: M,
        /// The type of the message.
        expected: &'static str,
        /// The type of messages that the holder receives.
        found: &'static str,
    },
}

impl<M> SendError<M> {
    /// Returns the message that could not be sent.
    ///
    /// ```
    /// use rethread::process::Name;
    ///
    /// const PRINTER: Name<String> = Name::new("doc.no printer");
    ///
    /// let error = PRINTER.send("hello".to_owned()).unwrap_err();
    /// assert_eq!(error.to_string(), "no process holds the name");
    /// assert_eq!(error.into_inner(), "hello");
    /// ```
    pub fn into_inner(self) -> M {
        match self {
            Self::NoProc(message) | Self::WrongType { message, .. } => message,
        }
    }
}

impl<M> fmt::Display for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProc(_) => f.write_str("no process holds the name"),
            Self::WrongType { expected, found, .. } => {
                write!(f, "the holder of the name takes {found}, not {expected}")
            }
        }
    }
}

impl<M> fmt::Debug for SendError<M> {
    // By hand: `M` need not implement `Debug`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoProc(_) => "NoProc(..)",
            Self::WrongType { .. } => "WrongType { .. }",
        })
    }
}

impl<M> std::error::Error for SendError<M> {}
