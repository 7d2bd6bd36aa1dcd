//! The errors of requests to a server: of a call and of a stop. They are below child specs, because the errors of a
//! start contain them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::pid::Pid;
use crate::reason::ExitReason;

/// Why a call got no reply.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum CallError {
    /// There is no such process, or the name is not registered: the server has exited, it is being restarted, or its
    /// spec has no `.name(..)`. The request was not delivered.
    /// [`call_when_started`](crate::gen_server::ServerRef::call_when_started) waits for a restart.
    NoProc {
        /// The server as the caller named it.
        server: Arc<str>,
    },
    /// The server exited before it replied.
    Exited {
        /// The server as the caller named it.
        server: Arc<str>,
        /// The exit reason of the server.
        reason: ExitReason,
    },
    /// No reply arrived in time. The server may still handle the request; its reply is dropped.
    Timeout {
        /// The server as the caller named it.
        server: Arc<str>,
        /// How long the caller waited.
        after: Duration,
    },
    /// The server dropped the [`Caller`](crate::gen_server::Caller) of the request unanswered, and is still running.
    NoReply {
        /// The server as the caller named it.
        server: Arc<str>,
    },
    /// A server called itself. It could never reply while it waits.
    CallingSelf {
        /// The server as the caller named it.
        server: Arc<str>,
    },
    /// The server waits for the caller, directly or through other processes: both would wait indefinitely.
    /// The request was not sent.
    ///
    /// A caller counts as waiting for the server while its request is in the mailbox or is being handled.
    /// When the handler has returned without a reply it no longer counts, since the reply may then come from
    /// any thread. So a handler that gives its [`Caller`](crate::gen_server::Caller) to another process must return
    /// before that process calls the caller back.
    Deadlock {
        /// The processes of the cycle, beginning with the caller. Each waits for the next, the last for the
        /// caller.
        cycle: Vec<Pid>,
    },
    /// The process is another type of server, or not a server.
    WrongType {
        /// The server as the caller named it.
        server: Arc<str>,
        /// The type of server that the handle is for.
        expected: &'static str,
        /// The type of the server; the message type, if it is a plain process.
        found: &'static str,
    },
    /// The calling process is exiting.
    Exiting,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProc { server } => write!(f, "call to {server}: there is no such process"),
            Self::Exited { server, reason } => {
                write!(f, "call to {server}: the server exited before it replied: {reason}")
            }
            Self::Timeout { server, after } => write!(f, "call to {server}: timed out after {after:?}"),
            Self::NoReply { server } => {
                write!(f, "call to {server}: the server dropped the request without a reply")
            }
            Self::CallingSelf { server } => write!(f, "call to {server}: a server cannot call itself"),
            Self::Deadlock { cycle } => fmt_cycle(f, cycle),
            Self::WrongType { server, expected, found } => {
                write!(f, "call to {server}: wrong type of process: expected {expected}, found {found}")
            }
            Self::Exiting => f.write_str("the calling process is exiting"),
        }
    }
}

impl std::error::Error for CallError {}

/// Why a server was not stopped, or exited with another reason.
///
/// ```
/// use rethread::agent::Agent;
/// use rethread::gen_server::StopError;
/// use std::time::Duration;
///
/// let agent = Agent::start(|| 0)?;
/// let handle = agent.clone();
/// // A server cannot wait for its own exit.
/// let inside = agent.get(move |_| handle.stop())?;
/// assert!(matches!(inside, Err(StopError::CallingSelf { .. })));
///
/// agent.stop_timeout("maintenance", Duration::from_secs(5))?;
/// assert!(matches!(agent.stop(), Err(StopError::NoProc { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum StopError {
    /// There is no such process, or the name is not registered.
    NoProc {
        /// The server as the caller named it.
        server: Arc<str>,
    },
    /// The server exited with a different reason.
    Exited {
        /// The server as the caller named it.
        server: Arc<str>,
        /// The exit reason of the server.
        reason: ExitReason,
    },
    /// The server has not exited in time. It is not killed: it stops when it handles the request.
    Timeout {
        /// The server as the caller named it.
        server: Arc<str>,
        /// How long the caller waited.
        after: Duration,
    },
    /// A server cannot wait for its own exit; it returns [`Next::stop`](crate::gen_server::Next::stop) instead.
    CallingSelf {
        /// The server as the caller named it.
        server: Arc<str>,
    },
    /// The server waits for the caller, directly or through other processes: both would wait indefinitely.
    /// The request to stop was not sent.
    Deadlock {
        /// The processes of the cycle, beginning with the caller. Each waits for the next, the last for the
        /// caller.
        cycle: Vec<Pid>,
    },
    /// The process is another type of server, or not a server.
    WrongType {
        /// The server as the caller named it.
        server: Arc<str>,
        /// The type of server that the handle is for.
        expected: &'static str,
        /// The type of the server; the message type, if it is a plain process.
        found: &'static str,
    },
    /// The calling process is exiting.
    Exiting,
}

impl fmt::Display for StopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProc { server } => write!(f, "stop of {server}: there is no such process"),
            Self::Exited { server, reason } => {
                write!(f, "stop of {server}: the server exited with a different reason: {reason}")
            }
            Self::Timeout { server, after } => write!(f, "stop of {server}: timed out after {after:?}"),
            Self::CallingSelf { server } => {
                write!(f, "stop of {server}: a server cannot wait for its own exit")
            }
            Self::Deadlock { cycle } => fmt_cycle(f, cycle),
            Self::WrongType { server, expected, found } => {
                write!(f, "stop of {server}: wrong type of process: expected {expected}, found {found}")
            }
            Self::Exiting => f.write_str("the calling process is exiting"),
        }
    }
}

impl std::error::Error for StopError {}

/// Formats the error text of a deadlock: `deadlock: <1> waits for <2> waits for <1>`.
pub(crate) fn fmt_cycle(f: &mut fmt::Formatter<'_>, cycle: &[Pid]) -> fmt::Result {
    f.write_str("deadlock: ")?;
    for pid in cycle {
        write!(f, "{pid} waits for ")?;
    }
    cycle.first().map_or(Ok(()), |pid| fmt::Display::fmt(pid, f))
}
