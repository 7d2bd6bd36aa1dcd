//! `PartitionSupervisor`: several instances of the same server, addressed by number or key.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::marker::PhantomData;
use std::num::NonZero;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::agent::agent::{Agent, AgentRef, AgentSpec};
use crate::agent::server as agent_server;
use crate::child_spec::restart_backoff::RestartBackoff;
use crate::child_spec::{ChildSpec, SpecError, StartError};
use crate::gen_server::callbacks::GenServer;
use crate::gen_server::callbacks::InitError;
use crate::gen_server::options::impl_server_option_setters;
use crate::gen_server::server_ref::ServerRef;
use crate::gen_server::spec::ServerSpec;
use crate::pid::Pid;
use crate::process::error::NameError;
use crate::process::names::via::Via;
use crate::process::park::timer_thread;
use crate::registry::unique::Registry;
use crate::supervisor::dynamic::{DynamicSupervisor, DynamicSupervisorRef};
use crate::supervisor::dynamic_server;
use crate::supervisor::server;
use crate::supervisor::server::SupervisorArgs;
use crate::supervisor::spec::{DynamicSupervisorSpec, SupervisorSpec};
use crate::supervisor::supervisor::{Supervisor, SupervisorRef};
use crate::sync;

/// The number of partitions by supervisor name. A supervisor registers itself here before it starts its
/// partitions.
static PARTITION_COUNTS: Registry<&'static str, usize> = Registry::new();
/// The partitions by name and index. A partition registers itself here when it starts.
static PARTITIONS: Registry<PartitionKey> = Registry::new();

/// A partition under a name; a restarted partition has the same key as the one before.
#[derive(Clone, PartialEq, Eq, Hash)]
struct PartitionKey {
    name: &'static str,
    index: usize,
}

impl fmt::Debug for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.name, self.index)
    }
}

/// A supervisor of several instances of the same server, the partitions. Work is distributed by number or by
/// key, so that a single process is not a bottleneck.
///
/// ```
/// use rethread::prelude::*;
/// use rethread::supervisor::{PartitionRef, PartitionSupervisor};
///
/// # pub struct Counter { n: i64 }
/// # pub enum Ask { Add(i64, Caller<i64>) }
/// # impl GenServer for Counter {
/// #     type Args = (); type Call = Ask; type Cast = Infallible;
/// #     fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Counter { n: 0 }) }
/// #     fn handle_call(&mut self, Ask::Add(k, from): Ask, _: &mut Context<Self>) -> Next { self.n += k; from.reply(self.n) }
/// # }
/// const COUNTERS: PartitionRef<Counter> = PartitionRef::named("doc.counters");
///
/// let counters = PartitionSupervisor::child_spec(COUNTERS, |_index| Counter::child_spec(())).partitions(3);
/// let system = Supervisor::start_link([counters], Strategy::OneForOne)?;
///
/// assert_eq!(COUNTERS.partitions(), Some(3));
/// assert_eq!(COUNTERS.for_key("peter").call(|from| Ask::Add(1, from))?, 1);
/// assert_eq!(COUNTERS.for_key("peter").call(|from| Ask::Add(1, from))?, 2); // always the same one
/// assert_eq!(COUNTERS.partition(0).whereis(), COUNTERS.partition(3).whereis()); // modulo the number of partitions
/// # system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A partition that exits is restarted alone, with the same number. Each is a child of the supervisor, with
/// its number as the id; [`PartitionRef::supervisor`] returns the handle that lists them. The type itself has
/// no values: it carries the function that makes a spec.
///
/// # Many dynamic children
/// One [`DynamicSupervisor`](crate::supervisor::DynamicSupervisor) starts one child at a time. Several of them start
/// children in parallel:
///
/// ```
/// use rethread::prelude::*;
/// use rethread::supervisor::{DynamicSupervisor, PartitionRef, PartitionSupervisor};
///
/// const POOLS: PartitionRef<DynamicSupervisor> = PartitionRef::named("doc.pools");
///
/// let system = PartitionSupervisor::child_spec(POOLS, |_| DynamicSupervisor::child_spec()).start_link()?;
/// let job = ChildSpec::worker("job", || ()).restart(Restart::Temporary);
/// POOLS.for_key(&process::current()).start_child(job)?; // distributed by caller
/// # system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Differences from Erlang
/// Elixir's options `child_spec` and `with_arguments` are one function here, from the number of a partition
/// to its spec. Routing is typed: a partition's handle is that of its server.
#[derive(Debug)]
#[non_exhaustive]
pub enum PartitionSupervisor {}

impl PartitionSupervisor {
    /// Creates a spec with this name. `child` returns the spec of each partition; it is called with the
    /// numbers from 0, in the supervisor's process, each time the supervisor starts. Partitions are addressed
    /// by number and key: a name or an id in the returned spec is not used.
    ///
    /// The type of `name` must be known: it is not inferred from the spec that `child` returns. Write
    /// `PartitionRef::<Agent<u32>>::named("counters")` if `name` is not a constant with a type.
    #[track_caller]
    pub fn child_spec<S: Partition>(
        name: PartitionRef<S>,
        child: impl Fn(usize) -> S::Spec + Send + Sync + 'static,
    ) -> PartitionSupervisorSpec<S> {
        PartitionSupervisorSpec {
            name,
            child: Arc::new(child),
            partitions: thread::available_parallelism().map_or(1, NonZero::get),
            spec: Supervisor::one_for_one().name(name.supervisor()),
        }
    }
}

/// What can be a partition of a [`PartitionSupervisor`]: every [`GenServer`] whose arguments are `Clone + Sync`,
/// [`Agent`](crate::agent::Agent), [`Supervisor`](crate::supervisor::Supervisor),
/// [`DynamicSupervisor`](crate::supervisor::DynamicSupervisor) and [`TaskSupervisor`](crate::task::TaskSupervisor).
/// Other types cannot implement it.
#[expect(private_bounds, reason = "sealed: user code implements it only by implementing `GenServer`")]
pub trait Partition: PartitionParts<<Self as Partition>::Spec, <Self as Partition>::Ref> {
    /// The spec of a partition.
    type Spec: 'static;
    /// The handle of a partition.
    type Ref;
}

/// The server behind a [`Partition`] with specs of type `Spec` and handles of type `Ref`.
pub(crate) trait PartitionParts<Spec, Ref>: Sized + 'static {
    type Server: GenServer<Args: Clone + Sync>;

    fn server_spec(spec: Spec) -> ServerSpec<Self::Server>;

    fn handle_of(server: ServerRef<Self::Server>) -> Ref;
}

impl<S: GenServer<Args: Clone + Sync>> Partition for S {
    type Spec = ServerSpec<S>;
    type Ref = ServerRef<S>;
}

impl<S: GenServer<Args: Clone + Sync>> PartitionParts<ServerSpec<S>, ServerRef<S>> for S {
    type Server = S;

    fn server_spec(spec: ServerSpec<S>) -> ServerSpec<S> {
        spec
    }

    fn handle_of(server: ServerRef<S>) -> ServerRef<S> {
        server
    }
}

/// Implements [`Partition`] for a type that carries only constructors, with its spec, its handle and the server
/// behind them.
macro_rules! impl_partition {
    ($({$param:ident})? $partition:ty, $spec:ty, $handle:ty, $server:ty) => {
        impl $(<$param: 'static>)? $crate::supervisor::partition::Partition for $partition {
            type Spec = $spec;
            type Ref = $handle;
        }

        impl $(<$param: 'static>)? $crate::supervisor::partition::PartitionParts<$spec, $handle> for $partition {
            type Server = $server;

            fn server_spec(spec: $spec) -> $crate::gen_server::spec::ServerSpec<$server> {
                spec.into_server_spec()
            }

            fn handle_of(server: $crate::gen_server::server_ref::ServerRef<$server>) -> $handle {
                <$handle>::new(server)
            }
        }
    };
}
pub(crate) use impl_partition;

impl_partition!({T} Agent<T>, AgentSpec<T>, AgentRef<T>, agent_server::Agent<T>);
impl_partition!(Supervisor, SupervisorSpec, SupervisorRef, server::Supervisor);
impl_partition!(
    DynamicSupervisor,
    DynamicSupervisorSpec,
    DynamicSupervisorRef,
    dynamic_server::DynamicSupervisor
);

/// The spec of a partition supervisor, made by [`PartitionSupervisor::child_spec`].
///
/// | default | |
/// | --- | --- |
/// | partitions | [`available_parallelism`](std::thread::available_parallelism) |
/// | max_restarts | 3 in 5 s, of all partitions together |
/// | child_restart_backoff | none: partitions are restarted at once |
/// | id under another supervisor | the name |
/// | restart, shutdown under another supervisor | [`Restart::Permanent`](crate::supervisor::Restart::Permanent), [`Shutdown::Infinity`](crate::supervisor::Shutdown::Infinity) |
#[must_use = "a spec does nothing by itself: start it, or give it to a supervisor"]
pub struct PartitionSupervisorSpec<S: Partition> {
    name: PartitionRef<S>,
    child: Arc<dyn Fn(usize) -> S::Spec + Send + Sync>,
    partitions: usize,
    spec: SupervisorSpec,
}

impl<S: Partition> PartitionSupervisorSpec<S> {
    impl_server_option_setters!(spec.options);

    /// Sets the number of partitions.
    pub fn partitions(mut self, count: usize) -> Self {
        self.partitions = count;
        self
    }

    /// Sets the maximum number of restarts within a period, for all partitions together; see
    /// [`SupervisorSpec::max_restarts`].
    pub fn max_restarts(mut self, restarts: u32, period: Duration) -> Self {
        self.spec = self.spec.max_restarts(restarts, period);
        self
    }

    /// Sets the restart backoff of the partitions; see [`SupervisorSpec::child_restart_backoff`].
    pub fn child_restart_backoff(mut self, backoff: RestartBackoff) -> Self {
        self.spec = self.spec.child_restart_backoff(backoff);
        self
    }

    /// Sets how many former partitions may be zombies; see [`SupervisorSpec::max_zombies`].
    pub fn max_zombies(mut self, limit: usize) -> Self {
        self.spec = self.spec.max_zombies(limit);
        self
    }

    /// Starts the supervisor and its partitions, linked to the calling process. On a thread that is not a
    /// process there is no link: it does the same as [`start`](Self::start).
    ///
    /// # Errors
    /// [`StartError::BadSpec`] if the spec is invalid, with [`SpecError::NoPartitions`] if the number of
    /// partitions is zero; [`StartError::AlreadyStarted`] if the name is taken; [`StartError::Failed`] if a
    /// partition fails to start, as for [`SupervisorSpec::start_link`]; [`StartError::Timeout`] if the start
    /// timeout is over; [`StartError::Name`], [`StartError::SystemLimit`], [`StartError::Thread`],
    /// [`StartError::Exiting`].
    ///
    /// ```
    /// # use rethread::supervisor::{DynamicSupervisor, PartitionRef, PartitionSupervisor, SpecError};
    /// # use rethread::StartError;
    /// # const POOLS: PartitionRef<DynamicSupervisor> = PartitionRef::named("doc.no pools");
    /// let none = PartitionSupervisor::child_spec(POOLS, |_| DynamicSupervisor::child_spec()).partitions(0);
    /// assert_eq!(none.start_link().unwrap_err(), StartError::BadSpec(SpecError::NoPartitions));
    /// ```
    #[track_caller]
    pub fn start_link(self) -> Result<SupervisorRef, StartError> {
        self.check().map_err(StartError::BadSpec)?;
        self.into_server_spec().start_link().map(SupervisorRef::new)
    }

    /// Starts the supervisor and its partitions without a link.
    ///
    /// # Errors
    /// [`StartError::BadSpec`] if the spec is invalid, with [`SpecError::NoPartitions`] if the number of
    /// partitions is zero; [`StartError::AlreadyStarted`] if the name is taken; [`StartError::Failed`] if a
    /// partition fails to start, as for [`SupervisorSpec::start_link`]; [`StartError::Timeout`] if the start
    /// timeout is over; [`StartError::Name`], [`StartError::SystemLimit`], [`StartError::Thread`],
    /// [`StartError::Exiting`].
    #[track_caller]
    pub fn start(self) -> Result<SupervisorRef, StartError> {
        self.check().map_err(StartError::BadSpec)?;
        self.into_server_spec().start().map(SupervisorRef::new)
    }

    pub(crate) fn into_server_spec(self) -> ServerSpec<server::Supervisor> {
        let options = self.spec.options.clone();
        ServerSpec::supervisor(SupervisorArgs::new(self.name.text, move || self.build_spec()), options)
    }

    /// Checks the spec, before anything is started.
    fn check(&self) -> Result<(), SpecError> {
        if self.partitions == 0 {
            return Err(SpecError::NoPartitions);
        }
        self.spec.check()
    }

    /// Makes the spec of the underlying supervisor, in its new process, which already holds the name.
    fn build_spec(&self) -> Result<SupervisorSpec, InitError> {
        self.check()?;
        let name = self.name.text;
        // Registered before the partitions start, so that a partition can look up the others in `init`.
        PARTITION_COUNTS.register(name, self.partitions)?;
        let child = |index| {
            let key = PartitionKey { name, index };
            let mut spec = S::server_spec((self.child)(index));
            // The label is a default, for reports; id and name are always replaced. The new name is a key, beside
            // which a name in the process options would be registered: only one partition could have that.
            spec.options.set_default_label(format!("{key:?}"));
            spec.options.process.name = None;
            spec.id(index).name(PARTITIONS.server(key))
        };
        Ok(self.spec.clone().children((0..self.partitions).map(child)))
    }
}

impl<S: Partition> From<PartitionSupervisorSpec<S>> for ChildSpec {
    fn from(spec: PartitionSupervisorSpec<S>) -> Self {
        spec.into_server_spec().into()
    }
}

impl<S: Partition> fmt::Debug for PartitionSupervisorSpec<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spec.options.fmt_spec(f, "PartitionSupervisorSpec")
    }
}

// Not derived: that would require `S: Clone`.
impl<S: Partition> Clone for PartitionSupervisorSpec<S> {
    fn clone(&self) -> Self {
        Self {
            name: self.name,
            child: Arc::clone(&self.child),
            partitions: self.partitions,
            spec: self.spec.clone(),
        }
    }
}

/// The handle of a [`PartitionSupervisor`] by name. Partitions are looked up at every call, so it stays valid
/// when they or the supervisor restart. It can be a constant.
pub struct PartitionRef<S> {
    text: &'static str,
    // A function pointer, so that the handle is `Send` and `Sync` for every `S`.
    server: PhantomData<fn() -> S>,
}

impl<S> PartitionRef<S> {
    /// Creates a handle for the partitions under this name.
    pub const fn named(name: &'static str) -> Self {
        Self { text: name, server: PhantomData }
    }

    /// Returns the number of partitions; `None` if no supervisor of this name is running.
    pub fn partitions(&self) -> Option<usize> {
        PARTITION_COUNTS.lookup(self.text).map(|(_, count)| count)
    }

    /// Returns the handle of the supervisor of the partitions.
    pub const fn supervisor(&self) -> SupervisorRef {
        SupervisorRef::named(self.text)
    }
}

/// Handles of partitions: a [`ServerRef`] for a [`GenServer`], and the handle of its kind for an
/// [`Agent`](crate::agent::Agent) or a supervisor.
impl<S: Partition> PartitionRef<S> {
    /// Returns the handle of the partition with this number, modulo the number of partitions.
    ///
    /// If there are no partitions under this name, a call fails with
    /// [`CallError::NoProc`](crate::gen_server::CallError::NoProc). A server cannot be started under the handle.
    pub fn partition(&self, index: usize) -> S::Ref {
        self.handle(Routing::Number(index as u64))
    }

    /// Returns the handle of the partition for a key: always the same partition, as long as their number does
    /// not change.
    pub fn for_key<K: Hash + ?Sized>(&self, key: &K) -> S::Ref {
        // Not `RandomState`: all threads must compute the same hash for a key.
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        self.handle(Routing::Hash(hasher.finish()))
    }

    fn handle(&self, routing: Routing) -> S::Ref {
        S::handle_of(ServerRef::via(PartitionVia { name: self.text, routing }))
    }
}

// Not derived: that would require the same of `S`.
impl<S> Clone for PartitionRef<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for PartitionRef<S> {}

impl<S> PartialEq for PartitionRef<S> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl<S> Eq for PartitionRef<S> {}

impl<S> Hash for PartitionRef<S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl<S> fmt::Display for PartitionRef<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl<S> fmt::Debug for PartitionRef<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartitionRef({:?})", self.text)
    }
}

/// Resolves to the process that currently is a partition.
struct PartitionVia {
    name: &'static str,
    routing: Routing,
}

enum Routing {
    Number(u64),
    Hash(u64),
}

impl PartitionVia {
    /// Computes the key of the partition; returns it with the supervisor whose number of partitions was used.
    fn resolve(&self) -> Option<(Pid, PartitionKey)> {
        // Number of partitions and supervisor come from one lookup, so that they belong together.
        let (supervisor, count) = PARTITION_COUNTS.lookup(self.name)?;
        let (Routing::Number(number) | Routing::Hash(number)) = self.routing;
        let index = usize::try_from(number.checked_rem(count as u64)?).ok()?;
        Some((supervisor, PartitionKey { name: self.name, index }))
    }

    /// Looks the partition up, and repeats that if the supervisor was replaced meanwhile.
    fn resolve_stable(&self, lookup: impl Fn(PartitionKey) -> Option<Pid>) -> Option<Pid> {
        loop {
            let (supervisor, key) = self.resolve()?;
            let found = lookup(key);
            // Race: after `resolve` the supervisor may exit and one with another number of partitions start.
            // Then `lookup` may find a partition of the new supervisor, where the number or key belongs
            // elsewhere.
            if PARTITION_COUNTS.whereis(self.name) == Some(supervisor) {
                return found;
            }
        }
    }
}

impl Via for PartitionVia {
    fn whereis(&self) -> Option<Pid> {
        self.resolve_stable(|key| PARTITIONS.whereis(&key))
    }

    fn register(&self, _: Pid) -> Result<(), NameError> {
        Err(NameError::Unsupported("a partition is registered by its supervisor"))
    }

    // Nothing to remove: `register` never succeeds.
    fn unregister(&self, _: Pid) {}

    /// Waits for the supervisor as well as for the partition: between two supervisors of the name there is
    /// neither.
    fn whereis_timeout(&self, timeout: Duration) -> Option<Pid> {
        // One deadline for all waits below, however often the supervisor is replaced.
        let deadline = timer_thread::deadline_after(timeout);
        let remaining = || deadline.saturating_duration_since(sync::now());
        while PARTITION_COUNTS.whereis_timeout(self.name, remaining()).is_some() {
            let found = self.resolve_stable(|key| PARTITIONS.whereis_timeout(key, remaining()));
            // Not found although there is time left: the supervisor exited meanwhile. Wait for the next one.
            if found.is_some() || remaining().is_zero() {
                return found;
            }
        }
        None
    }
}

/// Formats the handle for reports and errors: `counters[7]`.
impl fmt::Debug for PartitionVia {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.routing {
            Routing::Number(number) => write!(f, "{}[{number}]", self.name),
            Routing::Hash(_) => write!(f, "{}[by key]", self.name),
        }
    }
}
