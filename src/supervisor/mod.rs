//! Supervisors: processes that start other processes, their children, and restart them when they exit.
//!
//! A supervisor has no other work, so there is little in it that can fail. Supervisors are children of
//! supervisors: the tree says which parts of a program are started, restarted and stopped together.
//!
//! ```
//! use rethread::prelude::*;
//! use std::time::Duration;
//!
//! const CLOCK: &str = "doc.supervised clock";
//!
//! let builder = process::Builder::new().name(CLOCK);
//! let clock = ChildSpec::worker_with(builder, "clock", || loop { process::sleep(Duration::from_secs(1)) });
//! let system = Supervisor::one_for_one().child(clock).start_link()?;
//!
//! let first = process::whereis(CLOCK).ok_or("not running")?;
//! let watch = process::watch(first);
//! process::exit(first, ExitReason::Kill);
//! watch.wait();
//! let second = process::whereis_timeout(CLOCK, Duration::from_secs(5)); // waits for the restart
//! assert!(second.is_some_and(|second| second != first));
//! system.stop()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Which supervisor
//! | supervisor | for children that | handle |
//! | --- | --- | --- |
//! | [`Supervisor`] | are known when it starts, and may depend on each other; identified by ids | [`SupervisorRef`] |
//! | [`DynamicSupervisor`] | are started one by one while the program runs; identified by pids | [`DynamicSupervisorRef`] |
//! | [`PartitionSupervisor`] | are several instances of the same child; addressed by number or key | [`PartitionRef`] |
//! | [`TaskSupervisor`](crate::task::TaskSupervisor) | run one function once and are never restarted | [`TaskSupervisorRef`](crate::task::TaskSupervisorRef) |
//!
//! A type that implements [`Supervise`] is a supervisor as a type of its own: its spec is made from its
//! arguments at each start and restart.
//!
//! # Child specs
//! A [`ChildSpec`] contains all that a supervisor needs to know of a child: how to start it, and its
//! [`ChildOptions`]. Everything that can be started has a function that returns a spec:
//!
//! | child | spec |
//! | --- | --- |
//! | a server | [`child_spec`](crate::gen_server::GenServerExt::child_spec) of its type |
//! | an agent, a task | [`Agent::child_spec`](crate::agent::Agent::child_spec), [`task::child_spec`](crate::task::child_spec) |
//! | a supervisor | [`SupervisorSpec`], [`DynamicSupervisor::child_spec`], [`PartitionSupervisor::child_spec`], [`TaskSupervisor::child_spec`](crate::task::TaskSupervisor::child_spec), [`Supervise::child_spec`] |
//! | a blocking function | [`ChildSpec::worker`], [`ChildSpec::worker_with`] |
//! | a process with a mailbox | [`ChildSpec::receiver`], [`ChildSpec::receiver_with`] |
//! | one of these that reports when it has started | [`ChildSpec::acked_worker`], [`ChildSpec::acked_receiver`], and with a builder [`ChildSpec::acked_worker_with`], [`ChildSpec::acked_receiver_with`] |
//! | anything else that starts a process linked to its caller | [`ChildSpec::new`] |
//!
//! Every spec has the same setters:
//!
//! | option | default | meaning |
//! | --- | --- | --- |
//! | `id` | see below | the id of the child in its supervisor |
//! | `restart` | [`Restart::Permanent`] | when it is restarted |
//! | `shutdown` | 5 s; for supervisors [`Shutdown::Infinity`] | how it is stopped |
//! | `significant` | `false` | whether its exit can end the supervisor, see [`AutoShutdown`] |
//! | `restart_backoff` | none: it is restarted at once | how long a restart is delayed while it keeps failing, see [`RestartBackoff`] |
//! | `reap_timeout` | it does not wait | how long a replacement waits for the thread of a [zombie](crate::process::Zombie) |
//!
//! The default id is the name of the type: of a server, of an agent, of a type that implements [`Supervise`]. The spec
//! of a supervisor with a name has the name as its id, otherwise `Supervisor`, `DynamicSupervisor` or
//! `TaskSupervisor`. [`ChildSpec::worker`], [`ChildSpec::receiver`], [`ChildSpec::new`] and
//! [`task::child_spec`](crate::task::child_spec) take the id as an argument.
//!
//! All specs except [`ChildSpec`] also have `name`, `label`, `process` and `start_timeout`.
//!
//! # Restarts
//! | [`Restart`] | after `Normal`, `Shutdown`, `ShutdownWith` | after any other reason |
//! | --- | --- | --- |
//! | `Permanent` | restart | restart |
//! | `Transient` | no restart; the spec is kept, but removed by a [`DynamicSupervisor`] | restart |
//! | `Temporary` | the spec is removed | the spec is removed |
//!
//! The [`Strategy`] says which other children are restarted with it:
//!
//! | [`Strategy`] | restarted | use it if |
//! | --- | --- | --- |
//! | `OneForOne` | the child that exited | the children are independent |
//! | `RestForOne` | this child and those started after it | a child depends on those before it |
//! | `OneForAll` | all children | each child depends on all others |
//!
//! A group is stopped in reverse order and started in order. [`DynamicSupervisor`], [`PartitionSupervisor`]
//! and `TaskSupervisor` are always `OneForOne`.
//!
//! # Restart intensity
//! A restart repairs a transient fault. If it does not help, endless restarts would only hide the fault: with
//! more than `max_restarts` restarts within a period (by default 3 in 5 s, counted for all children together)
//! the supervisor stops its children and exits with `Shutdown`. Its own supervisor then restarts a larger part
//! of the program; without one, the program ends in an orderly way. A restart that fails is retried, and each
//! attempt counts.
//!
//! For a child whose failure is not a bug, such as the reader of a device that is unplugged, restarts can be delayed
//! instead, a little longer each time: see [`RestartBackoff`] and [`outages`](crate::outages). Such restarts do not count.
//!
//! A supervisor also gives up when the program has too many zombies
//! ([`Settings::max_zombies`](crate::process::Settings::max_zombies)), instead of replacing a child that
//! became one.
//!
//! # Start and shutdown
//! Children are started in order: each start waits until the child is ready (until `init` of a server has
//! returned). If one fails, those before it are stopped, and the start returns
//! [`StartError::Failed`](crate::StartError::Failed) with a [`FailedToStartChild`].
//!
//! Children are stopped in reverse order, one after the other. [`Shutdown`] says how: `Timeout` sends the exit
//! signal `Shutdown` and kills the child if it has not exited in time, `Infinity` waits without a limit,
//! `BrutalKill` kills at once. A dynamic supervisor stops all its children at the same time.
//!
//! # Requests
//! | to | use |
//! | --- | --- |
//! | add and start a child | [`SupervisorRef::start_child`], [`DynamicSupervisorRef::start_child`] |
//! | add a server and get its handle | [`SupervisorRef::start_server`], [`DynamicSupervisorRef::start_server`] |
//! | stop a child | [`SupervisorRef::terminate_child`], [`DynamicSupervisorRef::terminate_child`] |
//! | start a stopped child again, remove its spec, read its spec | [`SupervisorRef::restart_child`], [`SupervisorRef::delete_child`], [`SupervisorRef::child_spec`] |
//! | list or count the children | [`SupervisorRef::which_children`], [`SupervisorRef::count_children`] |
//! | stop the supervisor and all below it | [`SupervisorRef::stop`], [`SupervisorRef::stop_timeout`] |
//!
//! Requests have no timeout, because a supervisor may be busy with starting or stopping a child. A child must
//! not call the supervisor that is stopping it: such a call returns
//! [`CallError::Deadlock`](crate::gen_server::CallError::Deadlock).
//!
//! ```
//! use rethread::prelude::*;
//! use rethread::supervisor::{DynamicSupervisor, DynamicSupervisorRef};
//!
//! const JOBS: DynamicSupervisorRef = DynamicSupervisorRef::named("doc.jobs");
//!
//! let jobs = DynamicSupervisor::child_spec().max_children(2).name(JOBS);
//! let system = Supervisor::start_link([jobs], Strategy::OneForOne)?;
//!
//! let job = || ChildSpec::worker("job", || process::sleep(std::time::Duration::MAX)).restart(Restart::Temporary);
//! let first = JOBS.start_child(job())?;
//! JOBS.start_child(job())?;
//! assert!(JOBS.start_child(job()).is_err()); // StartError::MaxChildren
//! JOBS.terminate_child(first)?;
//! assert_eq!(JOBS.count_children()?.active, 1);
//! system.stop()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Differences from Erlang
//! The defaults are those of Elixir: 3 restarts in 5 s. The period is measured in milliseconds. Children are
//! listed in start order. An ignored start is an error, [`StartError::Ignored`](crate::StartError::Ignored);
//! the spec is kept as in OTP. A thread that does not react cannot be killed: it becomes a zombie. Erlang's
//! `simple_one_for_one` and Elixir's `extra_arguments` are functions from arguments to a [`ChildSpec`]. The
//! [list of differences](crate::differences_from_erlang#supervisors) names the reason for each.

pub(crate) mod child;
pub(crate) mod dynamic;
pub(crate) mod dynamic_server;
pub(crate) mod intensity;
pub(crate) mod partition;
pub(crate) mod policy;
pub(crate) mod server;
pub(crate) mod spec;
pub(crate) mod status;
pub(crate) mod supervise;
#[expect(clippy::module_inception, reason = "the API of the type Supervisor")]
pub(crate) mod supervisor;

pub use self::child::FailedToStartChild;
pub use self::child::{ChildCount, ChildError, ChildInfo, ChildState};
pub use self::dynamic::{DynamicSupervisor, DynamicSupervisorRef};
pub use self::partition::{Partition, PartitionRef, PartitionSupervisor, PartitionSupervisorSpec};
pub use self::spec::{AutoShutdown, DynamicSupervisorSpec, Strategy, SupervisorSpec};
pub use self::supervise::{Supervise, SuperviseSpec, SupervisorKind};
pub use self::supervisor::{Supervisor, SupervisorRef};
pub use crate::child_spec::restart_backoff::RestartBackoff;
pub use crate::child_spec::{ChildId, ChildOptions, ChildSpec, ChildType, Restart, Shutdown, SpecError};
pub use crate::process::lifecycle::worker_result::WorkerResult;
