//! `ServerRef`: how a server is reached, by pid, name or key. Everything that talks to a server has one.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::pid::{MonitorRef, Pid};
use crate::process::block::Block;
use crate::process::link::{monitor, monitor_name};
use crate::process::names::{self, NameError, Via};
use crate::process::spawn::Builder;
use crate::process::watch::{Watch, watch};
use crate::process::{me, table};

/// Reaches a server of type `S`: one certain process, or whoever holds a name or a key at the moment of
/// each call. One by name is never stale, and can be a constant:
///
/// ```
/// # use rethread::prelude::*;
/// # pub struct Counter;
/// # impl GenServer for Counter {
/// #     type Args = (); type Call = Never; type Cast = Never;
/// #     fn init(_: (), _: &mut Context<Self>) -> Result<Self, Stop> { Ok(Counter) }
/// #     fn handle_call(&mut self, call: Never, _: &mut Context<Self>) -> Next { match call {} }
/// #     fn handle_cast(&mut self, cast: Never, _: &mut Context<Self>) -> Next { match cast {} }
/// # }
/// pub const COUNTER: ServerRef<Counter> = ServerRef::named("doc.counter");
///
/// assert_eq!(COUNTER.whereis(), None); // nobody started it yet
/// ```
pub struct ServerRef<S> {
    pub(crate) to: To,
    server: PhantomData<fn() -> S>,
}

#[derive(Clone)]
pub(crate) enum To {
    Pinned(Arc<Block>),
    Pid(Pid),
    Const(&'static str),
    Named(Arc<str>),
    Via(Arc<dyn Via>),
}

impl<S> ServerRef<S> {
    /// Whoever holds this name.
    pub const fn named(name: &'static str) -> Self {
        Self { to: To::Const(name), server: PhantomData }
    }

    /// Whoever holds this name, for names made at run time.
    pub fn with_name(name: impl Into<Arc<str>>) -> Self {
        Self { to: To::Named(name.into()), server: PhantomData }
    }

    /// This very process, for pids that come from elsewhere: a listing, a registry. What it is shows at the
    /// first call: [`CallError::WrongType`](crate::CallError::WrongType) if it is another kind of server.
    pub const fn from_pid(pid: Pid) -> Self {
        Self { to: To::Pid(pid), server: PhantomData }
    }

    /// Whoever holds this key in another table of names.
    pub fn via(key: impl Via + 'static) -> Self {
        Self { to: To::Via(Arc::new(key)), server: PhantomData }
    }

    pub(crate) const fn new(to: To) -> Self {
        Self { to, server: PhantomData }
    }

    pub(crate) fn pinned(block: Arc<Block>) -> Self {
        Self { to: To::Pinned(block), server: PhantomData }
    }

    /// The process behind it now: for one by pid always that pid, for one by name or key its living
    /// holder.
    pub fn whereis(&self) -> Option<Pid> {
        me::checkpoint();
        match &self.to {
            To::Pinned(block) => Some(block.pid),
            To::Pid(pid) => Some(*pid),
            _ => self.find().map(|block| block.pid),
        }
    }

    /// The process behind it, as soon as there is one; `None` if there is none within `limit`. The way to
    /// wait for a restarted server. One by pid is looked up just once; whether a table that is not a
    /// [`Registry`](crate::Registry) can wait is its own affair.
    pub fn whereis_within(&self, limit: Duration) -> Option<Pid> {
        match &self.to {
            To::Const(name) => names::whereis_within(name, limit),
            To::Named(name) => names::whereis_within(name, limit),
            To::Via(key) => {
                me::checkpoint();
                key.whereis_within(limit)
            }
            To::Pinned(_) | To::Pid(_) => self.whereis(),
        }
    }

    /// Monitors the process behind it; the `Down` comes to the calling process.
    ///
    /// # Panics
    /// On a thread that is not a process.
    #[track_caller]
    pub fn monitor(&self) -> MonitorRef {
        match &self.to {
            To::Pinned(block) => monitor(block.pid),
            To::Pid(pid) => monitor(*pid),
            To::Const(name) => monitor_name(name),
            To::Named(name) => monitor_name(name),
            To::Via(key) => monitor(key.whereis().unwrap_or_else(Pid::fresh)),
        }
    }

    /// Watches the process behind it, from any thread.
    pub fn watch(&self) -> Watch {
        watch(self.whereis().unwrap_or_else(Pid::fresh))
    }

    /// As `find`, without taking a share of the block if the handle itself has one.
    pub(crate) fn found(&self) -> Option<Found<'_>> {
        match &self.to {
            To::Pinned(block) => Some(Found::Held(block)),
            _ => self.find().map(Found::LookedUp),
        }
    }

    /// The block of the process behind it, dead or alive for one by pid.
    pub(crate) fn find(&self) -> Option<Arc<Block>> {
        match &self.to {
            To::Pinned(block) => Some(Arc::clone(block)),
            To::Pid(pid) => table::get(*pid),
            To::Const(name) => names::find(name),
            To::Named(name) => names::find(name),
            To::Via(key) => key.whereis().and_then(table::get).filter(|block| !block.doomed()),
        }
    }

    /// Has the process that `builder` starts hold this name or key.
    pub(crate) fn name_to(&self, builder: &mut Builder) -> Result<(), NameError> {
        match &self.to {
            To::Pinned(_) | To::Pid(_) => return Err(NameError::Unsupported("a pid is not a name")),
            To::Const(name) => builder.name = Some((*name).into()),
            To::Named(name) => builder.name = Some(Arc::clone(name)),
            To::Via(key) => builder.via = Some(Arc::clone(key)),
        }
        Ok(())
    }
}

/// The block behind a handle.
pub(crate) enum Found<'a> {
    Held(&'a Arc<Block>),
    LookedUp(Arc<Block>),
}

impl Found<'_> {
    pub(crate) fn block(&self) -> &Arc<Block> {
        match self {
            Self::Held(block) => block,
            Self::LookedUp(block) => block,
        }
    }
}

impl<S> Clone for ServerRef<S> {
    fn clone(&self) -> Self {
        Self { to: self.to.clone(), server: PhantomData }
    }
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned(block) => block.pid.fmt(f),
            Self::Pid(pid) => pid.fmt(f),
            Self::Const(name) => f.write_str(name),
            Self::Named(name) => f.write_str(name),
            Self::Via(key) => write!(f, "{key:?}"),
        }
    }
}

impl fmt::Debug for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<S> fmt::Display for ServerRef<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to, f)
    }
}

impl<S> fmt::Debug for ServerRef<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerRef({self})")
    }
}
