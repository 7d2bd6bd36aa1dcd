//! `ServerRef`: how a server is reached, by pid, name or key. Everything that talks to a server has one.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::pid::{MonitorRef, Pid};
use crate::process::control::block::ProcessBlock;
use crate::process::control::local;
use crate::process::control::table;
use crate::process::error::NameError;
use crate::process::lifecycle::spawn::Builder;
use crate::process::names;
use crate::process::names::via::Via;
use crate::process::signals::monitor::Watch;
use crate::process::signals::monitor::monitor;
use crate::process::signals::monitor::monitor_name;
use crate::process::signals::monitor::watch;

/// Reaches a server of type `S`: one certain process, or whoever holds a name or a key at the moment of
/// each call. One by name is never stale, and can be a constant:
///
/// ```
/// # use rethread::prelude::*;
/// # pub struct Counter;
/// # impl GenServer for Counter {
/// #     type Args = (); type Call = Never; type Cast = Never;
/// #     fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Counter) }
/// #     fn handle_call(&mut self, call: Never, _: &mut Context<Self>) -> Next { match call {} }
/// #     fn handle_cast(&mut self, cast: Never, _: &mut Context<Self>) -> Next { match cast {} }
/// # }
/// pub const COUNTER: ServerRef<Counter> = ServerRef::named("doc.counter");
///
/// assert_eq!(COUNTER.whereis(), None); // nobody started it yet
/// ```
pub struct ServerRef<S> {
    pub(crate) target: Target,
    server: PhantomData<fn() -> S>,
}

#[derive(Clone)]
pub(crate) enum Target {
    Process(Arc<ProcessBlock>),
    Pid(Pid),
    StaticName(&'static str),
    Name(Arc<str>),
    Via(Arc<dyn Via>),
}

impl<S> ServerRef<S> {
    /// Whoever holds this name.
    pub const fn named(name: &'static str) -> Self {
        Self { target: Target::StaticName(name), server: PhantomData }
    }

    /// Whoever holds this name, for names made at run time.
    pub fn from_name(name: impl Into<Arc<str>>) -> Self {
        Self { target: Target::Name(name.into()), server: PhantomData }
    }

    /// This very process, for pids that come from elsewhere: a listing, a registry. What it is shows at the
    /// first call: [`CallError::WrongType`](crate::CallError::WrongType) if it is another kind of server.
    pub const fn from_pid(pid: Pid) -> Self {
        Self { target: Target::Pid(pid), server: PhantomData }
    }

    /// Whoever holds this key in another table of names.
    pub fn via(key: impl Via + 'static) -> Self {
        Self { target: Target::Via(Arc::new(key)), server: PhantomData }
    }

    pub(crate) const fn new(target: Target) -> Self {
        Self { target, server: PhantomData }
    }

    pub(crate) fn from_block(block: Arc<ProcessBlock>) -> Self {
        Self { target: Target::Process(block), server: PhantomData }
    }

    /// The process behind it now: for one by pid always that pid, for one by name or key its living
    /// holder.
    pub fn whereis(&self) -> Option<Pid> {
        local::checkpoint();
        match &self.target {
            Target::Process(block) => Some(block.pid),
            Target::Pid(pid) => Some(*pid),
            _ => self.find_block().map(|block| block.pid),
        }
    }

    /// The process behind it, as soon as there is one; `None` if there is none within `limit`. The way to
    /// wait for a restarted server. One by pid is looked up just once; whether a table that is not a
    /// [`Registry`](crate::Registry) can wait is its own affair.
    pub fn whereis_timeout(&self, timeout: Duration) -> Option<Pid> {
        match &self.target {
            Target::StaticName(name) => names::whereis_timeout(name, timeout),
            Target::Name(name) => names::whereis_timeout(name, timeout),
            Target::Via(key) => {
                local::checkpoint();
                key.whereis_timeout(timeout)
            }
            Target::Process(_) | Target::Pid(_) => self.whereis(),
        }
    }

    /// Monitors the process behind it; the `Down` comes to the calling process.
    ///
    /// # Panics
    /// On a thread that is not a process.
    #[track_caller]
    pub fn monitor(&self) -> MonitorRef {
        match &self.target {
            Target::Process(block) => monitor(block.pid),
            Target::Pid(pid) => monitor(*pid),
            Target::StaticName(name) => monitor_name(name),
            Target::Name(name) => monitor_name(name),
            Target::Via(key) => monitor(key.whereis().unwrap_or_else(Pid::next)),
        }
    }

    /// Watches the process behind it, from any thread.
    pub fn watch(&self) -> Watch {
        watch(self.whereis().unwrap_or_else(Pid::next))
    }

    /// As `find`, without taking a share of the block if the handle itself has one.
    pub(crate) fn resolve(&self) -> Option<Resolved<'_>> {
        match &self.target {
            Target::Process(block) => Some(Resolved::Borrowed(block)),
            _ => self.find_block().map(Resolved::Owned),
        }
    }

    /// The block of the process behind it, dead or alive for one by pid.
    pub(crate) fn find_block(&self) -> Option<Arc<ProcessBlock>> {
        match &self.target {
            Target::Process(block) => Some(Arc::clone(block)),
            Target::Pid(pid) => table::get(*pid),
            Target::StaticName(name) => names::lookup(name),
            Target::Name(name) => names::lookup(name),
            Target::Via(key) => key.whereis().and_then(table::get).filter(|block| !block.is_exiting()),
        }
    }

    /// Has the process that `builder` starts hold this name or key.
    pub(crate) fn apply_name_to(&self, builder: &mut Builder) -> Result<(), NameError> {
        match &self.target {
            Target::Process(_) | Target::Pid(_) => return Err(NameError::Unsupported("a pid is not a name")),
            Target::StaticName(name) => builder.name = Some((*name).into()),
            Target::Name(name) => builder.name = Some(Arc::clone(name)),
            Target::Via(key) => builder.via = Some(Arc::clone(key)),
        }
        Ok(())
    }
}

/// The block behind a handle.
pub(crate) enum Resolved<'a> {
    Borrowed(&'a Arc<ProcessBlock>),
    Owned(Arc<ProcessBlock>),
}

impl Resolved<'_> {
    pub(crate) fn block(&self) -> &Arc<ProcessBlock> {
        match self {
            Self::Borrowed(block) => block,
            Self::Owned(block) => block,
        }
    }
}

impl<S> Clone for ServerRef<S> {
    fn clone(&self) -> Self {
        Self { target: self.target.clone(), server: PhantomData }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(block) => block.pid.fmt(f),
            Self::Pid(pid) => pid.fmt(f),
            Self::StaticName(name) => f.write_str(name),
            Self::Name(name) => f.write_str(name),
            Self::Via(key) => write!(f, "{key:?}"),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<S> fmt::Display for ServerRef<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.target, f)
    }
}

impl<S> fmt::Debug for ServerRef<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerRef({self})")
    }
}
