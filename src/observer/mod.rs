//! Inspecting a running program: all processes as a tree, one process, the processes with the highest values of some
//! measure, and a stream of events. The results are plain data, to be displayed, served or logged; nothing is
//! collected unless it is requested.
//!
//! ```
//! use rethread::observer::{self, SortBy};
//! use rethread::prelude::*;
//!
//! let idle = || loop { process::sleep(std::time::Duration::from_secs(60)) };
//! let spec = Supervisor::one_for_one().name(ServerRef::named("doc.observed"));
//! let system = spec.child(ChildSpec::worker("idler", idle)).start_link()?;
//!
//! let snapshot = observer::snapshot();
//! println!("{snapshot}"); // the tree
//! let idler = snapshot.find("idler").expect("it is running");
//! assert_eq!(idler.parent(), system.whereis());
//! for busy in observer::top(SortBy::Mailbox, 3) {
//!     println!("{busy}");
//! }
//! # system.stop()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! No process is called or interrupted: a server that hangs is shown as hanging. As in Erlang, a snapshot is not taken
//! at one single moment: processes keep running while it is collected.

pub(crate) mod snapshot;
pub(crate) mod tree;

use std::cmp::Reverse;
use std::time::SystemTime;

use crate::pid::Pid;
use crate::process::control::activity::Activity;
use crate::process::control::local;
use crate::process::control::table;
use crate::process::observe::events;
use crate::process::observe::info::ProcessState;
use crate::process::observe::zombie;

pub use self::snapshot::{ProcessSnapshot, Snapshot, Supervision};
pub use self::tree::{Node, TreeRow};
pub use crate::process::observe::events::EventReceiver;
pub use crate::process::observe::events::ProcessEvent;
pub use crate::process::observe::events::ProcessEventKind;
pub use crate::supervisor::intensity::RestartCount;
pub use crate::supervisor::status::ChildStatus;

/// Returns all processes as they are at the moment.
///
/// ```
/// use std::time::Duration;
/// use rethread::{observer, process};
///
/// let child = process::spawn(|| process::sleep(Duration::MAX))?;
/// assert!(observer::snapshot().get(child).is_some());
/// # Ok::<(), process::SpawnError>(())
/// ```
pub fn snapshot() -> Snapshot {
    local::checkpoint();
    let processes = table::all().iter().map(|block| ProcessSnapshot::from_block(block)).collect();
    Snapshot { at: SystemTime::now(), processes, zombies: zombie::zombies() }
}

/// Returns what is known about one process, which may be a zombie; `None` if it has exited.
///
/// ```
/// use std::time::Duration;
/// use rethread::{observer, process};
///
/// let builder = process::Builder::new().name("doc.inspected");
/// let child = builder.spawn(|| process::sleep(Duration::MAX))?;
/// let process = observer::info(child).expect("it is running");
/// assert_eq!(process.display_name(), "doc.inspected");
/// # Ok::<(), process::SpawnError>(())
/// ```
pub fn info(pid: impl Into<Pid>) -> Option<ProcessSnapshot> {
    let pid = pid.into();
    local::checkpoint();
    table::get(pid).or_else(|| zombie::get(pid)).map(|block| ProcessSnapshot::from_block(&block))
}

/// The measure by which [`top`] sorts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SortBy {
    /// The number of unread messages.
    Mailbox,
    /// How long a server has been in its current handler.
    Busy,
    /// How many of its allowed restarts a supervisor has used.
    Restarts,
    /// The number of received messages.
    Received,
    /// The time since the process started.
    Uptime,
}

/// Returns the `n` processes with the highest values of a measure, the highest first. Processes with the value zero are
/// left out.
///
/// ```
/// use rethread::observer::{self, SortBy};
///
/// for process in observer::top(SortBy::Uptime, 10) {
///     println!("{process}");
/// }
/// ```
pub fn top(by: SortBy, n: usize) -> Vec<ProcessSnapshot> {
    let score = |process: &ProcessSnapshot| -> u128 {
        let info = &process.info;
        match by {
            SortBy::Mailbox => info.mailbox_len as u128,
            // A process body may run without limit: only handlers count as busy.
            SortBy::Busy if info.state == ProcessState::Running && info.activity != Activity::Body => {
                info.active_for.as_nanos()
            }
            SortBy::Busy => 0,
            SortBy::Restarts => {
                process.supervision.as_ref().map_or(0, |supervision| supervision.restarts.used as u128)
            }
            SortBy::Received => info.received as u128,
            SortBy::Uptime => info.uptime.as_nanos(),
        }
    };
    let mut all = snapshot().processes;
    all.retain(|process| score(process) > 0);
    all.sort_by_key(|process| Reverse(score(process)));
    all.truncate(n);
    all
}

/// The capacity of a receiver that [`events`] returns.
const DEFAULT_CAPACITY: usize = 1024;

/// Subscribes to the events of all processes from now on: starts, exits with their reasons, restarts, zombies.
///
/// A slow reader never blocks other processes: if more than 1024 events are unread, the oldest ones are dropped.
///
/// ```
/// use rethread::observer::{self, ProcessEventKind};
/// use rethread::process;
///
/// let mut events = observer::events();
/// let child = process::spawn(|| ())?;
/// let exit = loop {
///     let event = events.recv();
///     if event.pid == child && matches!(event.kind, ProcessEventKind::Exited { .. }) {
///         break event;
///     }
/// };
/// println!("{exit}");
/// # Ok::<(), process::SpawnError>(())
/// ```
pub fn events() -> EventReceiver {
    events_with_capacity(DEFAULT_CAPACITY)
}

/// Subscribes to the events of all processes like [`events`], but with a capacity for unread events; at least one.
///
/// ```
/// let mut events = rethread::observer::events_with_capacity(16);
/// let child = rethread::process::spawn(|| ())?;
/// println!("{}", events.recv());
/// # Ok::<(), rethread::process::SpawnError>(())
/// ```
pub fn events_with_capacity(capacity: usize) -> EventReceiver {
    local::checkpoint();
    events::subscribe(capacity)
}
