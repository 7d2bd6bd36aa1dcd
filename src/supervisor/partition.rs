//! `PartitionSupervisor`: the same server several times over, and a way to each by number or key. User code that
//! has one server too busy starts it instead.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::marker::PhantomData;
use std::num::NonZero;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::child_spec::{ChildSpec, SpecError, StartError};
use crate::gen_server::callbacks::GenServer;
use crate::gen_server::callbacks::InitError;
use crate::gen_server::server_ref::ServerRef;
use crate::gen_server::start::{GenServerExt, ServerSpec};
use crate::pid::Pid;
use crate::process::names::NameError;
use crate::process::names::Via;
use crate::process::park::timer_thread;
use crate::registry::registry::Registry;
use crate::supervisor::server::{Supervisor, SupervisorInit};
use crate::supervisor::spec::SupervisorSpec;
use crate::sync;

/// How many partitions the supervisor of a name has: each registers itself here before it starts them.
static PARTITION_COUNTS: Registry<&'static str, usize> = Registry::new();
/// Who is which partition.
static PARTITIONS: Registry<PartitionKey> = Registry::new();

/// One place under a name; whoever is started in it takes it over from the one before.
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

/// The same server several times over, under a supervisor: its work is spread by number or by key, so that one
/// process is not what all wait for.
///
/// ```
/// use rethread::prelude::*;
///
/// # pub struct Counter { n: i64 }
/// # pub enum Ask { Add(i64, Caller<i64>) }
/// # impl GenServer for Counter {
/// #     type Args = (); type Call = Ask; type Cast = Never;
/// #     fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Counter { n: 0 }) }
/// #     fn handle_call(&mut self, Ask::Add(k, from): Ask, _: &mut Context<Self>) -> Next { self.n += k; from.reply(self.n) }
/// #     fn handle_cast(&mut self, cast: Never, _: &mut Context<Self>) -> Next { match cast {} }
/// # }
/// const COUNTERS: PartitionRef<Counter> = PartitionRef::named("doc.counters");
///
/// let counters = PartitionSupervisor::new(COUNTERS, |_index| Counter::child_spec(())).partitions(3);
/// let system = Supervisor::start_link([counters], Strategy::OneForOne)?;
///
/// assert_eq!(COUNTERS.partitions(), Some(3));
/// assert_eq!(COUNTERS.by("peter").call(|from| Ask::Add(1, from))?, 1);
/// assert_eq!(COUNTERS.by("peter").call(|from| Ask::Add(1, from))?, 2); // always the same one
/// assert_eq!(COUNTERS.at(0).whereis(), COUNTERS.at(3).whereis()); // modulo the number of partitions
/// # system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A partition that ends is restarted in its place, alone. Each is a child of the supervisor with its number for an
/// id; [`PartitionRef::supervisor`] is the way to list them.
///
/// | default | |
/// | --- | --- |
/// | partitions | as many as the machine runs threads at once |
/// | max_restarts | 3 in 5 s, of all partitions together |
///
/// # Many children that come and go
/// One [`DynamicSupervisor`](crate::DynamicSupervisor) starts one child at a time. Several do not wait for each other:
///
/// ```
/// use rethread::prelude::*;
///
/// const POOLS: PartitionRef<DynamicSupervisor> = PartitionRef::named("doc.pools");
///
/// let system = PartitionSupervisor::new(POOLS, |_| DynamicSupervisor::new().spec()).start_link()?;
/// let job = ChildSpec::worker("job", || ()).restart(Restart::Temporary);
/// POOLS.by(&process::current()).start_child(job)?; // spread by who asks
/// # system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Differences from Erlang
/// Elixir's options `child_spec` and `with_arguments` are one function from the number of a partition to its spec.
/// Routing is typed: a partition's handle is that of its server.
#[must_use = "it starts nothing by itself: start it, or give it to a supervisor"]
pub struct PartitionSupervisor<S: GenServer> {
    name: PartitionRef<S>,
    child: Arc<dyn Fn(usize) -> ServerSpec<S> + Send + Sync>,
    partitions: usize,
    spec: SupervisorSpec,
}

impl<S: GenServer> PartitionSupervisor<S>
where
    S::Args: Clone + Sync,
{
    /// A plan: under this name, each partition started from what `child` makes of its number, from 0. It is called
    /// in the supervisor, whenever that starts. The partitions are reached by number and key; a name or an id that
    /// the spec has is not used.
    #[track_caller]
    pub fn new(
        name: PartitionRef<S>,
        child: impl Fn(usize) -> ServerSpec<S> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            child: Arc::new(child),
            partitions: thread::available_parallelism().map_or(1, NonZero::get),
            spec: Supervisor::one_for_one(),
        }
    }

    /// How many partitions there are.
    pub fn partitions(mut self, count: usize) -> Self {
        self.partitions = count;
        self
    }

    /// As [`SupervisorSpec::max_restarts`]; the restarts of all partitions count together.
    pub fn max_restarts(mut self, restarts: u32, period: Duration) -> Self {
        self.spec = self.spec.max_restarts(restarts, period);
        self
    }

    /// As [`SupervisorSpec::max_zombies`].
    pub fn max_zombies(mut self, limit: usize) -> Self {
        self.spec = self.spec.max_zombies(limit);
        self
    }

    /// Starts the supervisor and its partitions, linked to the calling process. On a foreign thread there is nothing
    /// to link to: it is [`start`](Self::start).
    ///
    /// # Errors
    /// As [`SupervisorSpec::start_link`]; [`StartError::BadSpec`] with [`SpecError::NoPartitions`] if there are to be
    /// none; [`StartError::AlreadyStarted`] if the name is taken.
    ///
    /// ```
    /// # use rethread::prelude::*;
    /// # use rethread::SpecError;
    /// # const POOLS: PartitionRef<DynamicSupervisor> = PartitionRef::named("doc.no pools");
    /// let none = PartitionSupervisor::new(POOLS, |_| DynamicSupervisor::new().spec()).partitions(0);
    /// assert_eq!(none.start_link().unwrap_err(), StartError::BadSpec(SpecError::NoPartitions));
    /// ```
    #[track_caller]
    pub fn start_link(self) -> Result<ServerRef<Supervisor>, StartError> {
        self.check().map_err(StartError::BadSpec)?;
        self.spec().start_link()
    }

    /// Starts the supervisor without a link.
    ///
    /// # Errors
    /// As [`start_link`](Self::start_link).
    #[track_caller]
    pub fn start(self) -> Result<ServerRef<Supervisor>, StartError> {
        self.check().map_err(StartError::BadSpec)?;
        self.spec().start()
    }

    /// The supervisor as a child of another, for those who want to set more than its name. Its id is its name.
    pub fn spec(self) -> ServerSpec<Supervisor> {
        let (name, defined_at) = (self.name, self.spec.defined_at);
        let init = SupervisorInit { name: name.text.to_owned(), make: Arc::new(move || self.build_spec()) };
        Supervisor::child_spec(init).supervisor().defined_at(defined_at).id(name.text).name(name.supervisor())
    }

    /// Looks at what can be seen before anything is started.
    fn check(&self) -> Result<(), SpecError> {
        if self.partitions == 0 {
            return Err(SpecError::NoPartitions);
        }
        self.spec.check()
    }

    /// In the new supervisor, which has the name: from now on it is known how many partitions there are.
    fn build_spec(&self) -> Result<SupervisorSpec, InitError> {
        self.check()?;
        let name = self.name.text;
        PARTITION_COUNTS.register(name, self.partitions)?;
        let child = |index| {
            let key = PartitionKey { name, index };
            let spec = (self.child)(index).default_label(format!("{key:?}"));
            spec.id(index).name(PARTITIONS.server(key))
        };
        Ok(self.spec.clone().children((0..self.partitions).map(child)))
    }
}

impl<S: GenServer> From<PartitionSupervisor<S>> for ChildSpec
where
    S::Args: Clone + Sync,
{
    fn from(partitions: PartitionSupervisor<S>) -> Self {
        partitions.spec().into()
    }
}

impl<S: GenServer> fmt::Debug for PartitionSupervisor<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionSupervisor")
            .field("name", &self.name.text)
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

/// The name of a [`PartitionSupervisor`], and the way to its partitions: each is looked up at every call, and so
/// never stale. It can be a constant.
pub struct PartitionRef<S> {
    text: &'static str,
    server: PhantomData<fn() -> S>,
}

impl<S> PartitionRef<S> {
    /// The partitions under this name.
    pub const fn named(name: &'static str) -> Self {
        Self { text: name, server: PhantomData }
    }

    /// The partition with this number, modulo the number of partitions; the sign does not count.
    ///
    /// If there are no partitions under this name a call fails with [`CallError::NoProc`](crate::CallError::NoProc).
    /// A server cannot be started under the handle.
    pub fn partition(&self, index: i64) -> ServerRef<S> {
        ServerRef::via(PartitionVia { name: self.text, routing: Routing::Number(index.unsigned_abs()) })
    }

    /// The partition that a key belongs to: always the same one, as long as the number of partitions is the same.
    pub fn for_key<K: Hash + ?Sized>(&self, key: &K) -> ServerRef<S> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        ServerRef::via(PartitionVia { name: self.text, routing: Routing::Hash(hasher.finish()) })
    }

    /// How many partitions there are; `None` if there is no supervisor of this name.
    pub fn partitions(&self) -> Option<usize> {
        PARTITION_COUNTS.lookup(self.text).map(|(_, count)| count)
    }

    /// The supervisor of the partitions.
    pub const fn supervisor(&self) -> ServerRef<Supervisor> {
        ServerRef::named(self.text)
    }
}

impl<S> Clone for PartitionRef<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for PartitionRef<S> {}

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

/// The way to one partition, whichever that is at the moment.
struct PartitionVia {
    name: &'static str,
    routing: Routing,
}

enum Routing {
    Number(u64),
    Hash(u64),
}

impl PartitionVia {
    /// The place it leads to, and the supervisor that has so many.
    fn resolve(&self) -> Option<(Pid, PartitionKey)> {
        let (supervisor, count) = PARTITION_COUNTS.lookup(self.name)?;
        let (Routing::Number(number) | Routing::Hash(number)) = self.routing;
        let index = usize::try_from(number.checked_rem(count as u64)?).ok()?;
        Some((supervisor, PartitionKey { name: self.name, index }))
    }

    /// Who has that place, as `look` finds it. If another supervisor came meanwhile it may be one of its partitions,
    /// and there the number may lead elsewhere: then once more.
    fn resolve_stable(&self, lookup: impl Fn(PartitionKey) -> Option<Pid>) -> Option<Pid> {
        loop {
            let (supervisor, key) = self.resolve()?;
            let found = lookup(key);
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
        Err(NameError::Unsupported("its supervisor names the partitions"))
    }

    fn unregister(&self, _: Pid) {}

    /// Between two supervisors there is no way at all: it waits for the next one, as for the place.
    fn whereis_timeout(&self, timeout: Duration) -> Option<Pid> {
        let deadline = timer_thread::deadline_after(timeout);
        let remaining = || deadline.saturating_duration_since(sync::now());
        while PARTITION_COUNTS.whereis_timeout(self.name, remaining()).is_some() {
            let found = self.resolve_stable(|key| PARTITIONS.whereis_timeout(key, remaining()));
            if found.is_some() || remaining().is_zero() {
                return found;
            }
        }
        None
    }
}

/// As it stands in reports and errors: `counters[7]`.
impl fmt::Debug for PartitionVia {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.routing {
            Routing::Number(number) => write!(f, "{}[{number}]", self.name),
            Routing::Hash(_) => write!(f, "{}[by key]", self.name),
        }
    }
}
