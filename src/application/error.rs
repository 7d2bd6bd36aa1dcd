//! What can go wrong with the start and the stop of an application. `plan` and `client` return it.

use std::fmt;
use std::sync::Arc;

use crate::child_spec::StartError;
use crate::pid::Pid;

/// Why an application was not started, or not stopped.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ApplicationError {
    /// An application of this name is running, or still being started or stopped.
    AlreadyStarted(Arc<str>),
    /// The application of this name is not running: the one to be stopped, or one that the one to be started
    /// depends on.
    NotStarted(Arc<str>),
    /// Its top supervisor did not start, and nothing is left of it. Or somebody killed the process that starts it: then
    /// what had begun is killed too, and not waited for.
    Failed(StartError),
    /// A process cannot wait for the end of the application it belongs to, which would wait for it: use
    /// [`request_stop`](crate::ApplicationRef::request_stop). Nothing was stopped.
    Inside,
    /// The stop that is under way waits, perhaps through others, for the caller: neither would ever go on.
    Deadlock {
        /// The processes of the cycle; each waits for the next, the last for the first, the caller.
        cycle: Vec<Pid>,
    },
    /// The calling process is exiting.
    Exiting,
}

impl fmt::Display for ApplicationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyStarted(name) => write!(f, "the application {name} is already started"),
            Self::NotStarted(name) => write!(f, "the application {name} is not started"),
            Self::Failed(error) => write!(f, "the application did not start: {error}"),
            Self::Inside => f.write_str("a process cannot wait for the end of its own application"),
            Self::Deadlock { cycle } => {
                write!(f, "refused, it would wait for ever: the stop waits for one of {cycle:?}")
            }
            Self::Exiting => f.write_str("the calling process is exiting"),
        }
    }
}

// No `source`: the text tells all of the inner error already, and chains of causes would tell it twice.
impl std::error::Error for ApplicationError {}
