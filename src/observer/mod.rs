//! Inspection of a running program: all processes as a tree, one process, the processes with the highest
//! values of some measure, and a stream of events. Erlang's `observer`, as data: the results can be displayed,
//! served or logged.
//!
//! ```
//! use rethread::observer::{self, SortBy};
//! use rethread::prelude::*;
//! use std::time::Duration;
//!
//! let idle = || loop { process::sleep(Duration::from_secs(60)) };
//! let spec = Supervisor::one_for_one().name(SupervisorRef::named("doc.observed"));
//! let system = spec.child(ChildSpec::worker("idler", idle)).start_link()?;
//!
//! let snapshot = observer::snapshot();
//! println!("{snapshot}"); // the tree
//! let idler = snapshot.find("idler").expect("it is running");
//! assert_eq!(idler.parent(), system.whereis());
//! for busy in observer::top(SortBy::MessageQueueLen, 3) {
//!     println!("{busy}");
//! }
//! # system.stop()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | to see | use |
//! | --- | --- |
//! | all processes as a tree, with restarts, current handlers and mailbox lengths | [`snapshot`], [`Snapshot::tree`] |
//! | the part of the tree below one process | [`Snapshot::tree_of`] |
//! | one process, which may be a zombie | [`info`], [`Snapshot::get`], [`Snapshot::find`] |
//! | the longest mailboxes, the slowest handlers, the supervisors with the most restarts | [`top`] with [`SortBy`] |
//! | each start, exit, restart and zombie as it happens | [`events`], [`events_with_capacity`] |
//! | the properties of a process without its supervision | [`process::info`](crate::process::info), [`process::processes`](crate::process::processes) |
//! | the zombies | [`Snapshot::zombies`], [`process::zombies`](crate::process::zombies) |
//!
//! The `Display` of a [`Snapshot`] is the tree, of all other results one line of text:
//!
//! ```text
//! System <1>         one_for_one, 0 of 3 restarts in 5s, waiting
//! +- lists <2>       dynamic, 0 of 3 restarts in 5s, waiting
//! |  +- bob <6>      waiting
//! |  +- alice <7>    handling a call for 2.1s, message_queue_len 12
//! +- statistics <3>  one_for_one, 2 of 3 restarts in 5s, waiting
//!    +- count <10>   waiting, restarts: 2
//! 6 processes, 0 zombies
//! ```
//!
//! # Names in the tree
//! A process is shown by its registered name, or else by its label, or else by the type of its server. A
//! server with neither name nor label is one of many `List`;
//! [`ServerSpec::label`](crate::gen_server::ServerSpec::label) and
//! [`process::set_label`](crate::process::set_label) identify it.
//!
//! # Cost
//! No process is called or interrupted: a server that hangs is shown as hanging. A snapshot is not taken at
//! one single moment; processes keep running while it is collected, as in Erlang. Nothing is collected unless
//! it is requested, and events are created only while there are subscribers. A subscriber that reads slowly
//! never delays other processes: its oldest unread events are dropped and counted
//! ([`EventReceiver::take_dropped`]).
//!
//! # Differences from Erlang
//! There is no graphical program. Children are listed in start order. A supervisor's restarts and children are
//! read without a call, so a supervisor that is busy does not delay a snapshot.

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
/// use rethread::observer;
/// use rethread::process;
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
/// use rethread::observer;
/// use rethread::process;
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
    MessageQueueLen,
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
            SortBy::MessageQueueLen => info.message_queue_len as u128,
            // A process body may run without limit: only handlers count as busy.
            SortBy::Busy if info.state == ProcessState::Running && info.activity != Activity::Body => {
                info.active_for.as_nanos()
            }
            SortBy::Busy => 0,
            SortBy::Restarts => {
                process.supervision.as_ref().map_or(0, |supervision| u128::from(supervision.restarts.used))
            }
            SortBy::Received => u128::from(info.received),
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
