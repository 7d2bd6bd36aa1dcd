//! `ServerRef`: the typed handle of a server, by process, pid, name or key, and how it finds the process.

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
use crate::process::signals::monitor::watch_holder;

/// A handle of a server of type `S`: of one particular process, or of the process that is registered under a
/// name or key at the moment of each call. A handle by name stays valid when the server is restarted, and can
/// be a constant:
///
/// ```
/// # use rethread::prelude::*;
/// # pub struct Counter;
/// # impl GenServer for Counter {
/// #     type Args = (); type Call = Infallible; type Cast = Infallible;
/// #     fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Counter) }
/// #     fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next { match call {} }
/// # }
/// pub const COUNTER: ServerRef<Counter> = ServerRef::named("doc.counter");
///
/// assert_eq!(COUNTER.whereis(), None); // it is not started yet
/// ```
pub struct ServerRef<S> {
    pub(crate) target: Target,
    // `fn() -> S` makes the handle `Send` and `Sync` even if the state `S` is not.
    server: PhantomData<fn() -> S>,
}

/// What a handle refers to.
#[derive(Clone)]
pub(crate) enum Target {
    /// Keeps the block alive, so that requests need no lookup.
    Process(Arc<ProcessBlock>),
    Pid(Pid),
    StaticName(&'static str),
    Name(Arc<str>),
    Via(Arc<dyn Via>),
}

impl<S> ServerRef<S> {
    /// Creates a handle of the process that is registered under this name. The handle registers nothing: give it to
    /// [`ServerSpec::name`](crate::gen_server::ServerSpec::name) to start the server under the name.
    pub const fn named(name: &'static str) -> Self {
        Self { target: Target::StaticName(name), server: PhantomData }
    }

    /// Creates a handle of the process that is registered under this name, for names made at run time.
    pub fn from_name(name: impl Into<Arc<str>>) -> Self {
        Self { target: Target::Name(name.into()), server: PhantomData }
    }

    /// Creates a handle of this process, for pids from a listing or a registry. The type is checked by each
    /// request: a call to another type of server fails with
    /// [`CallError::WrongType`](crate::gen_server::CallError::WrongType).
    pub const fn from_pid(pid: Pid) -> Self {
        Self { target: Target::Pid(pid), server: PhantomData }
    }

    /// Creates a handle of the process that is registered under this key, in a registry or another table of
    /// names.
    pub fn via(key: impl Via + 'static) -> Self {
        Self { target: Target::Via(Arc::new(key)), server: PhantomData }
    }

    pub(crate) fn from_block(block: Arc<ProcessBlock>) -> Self {
        Self { target: Target::Process(block), server: PhantomData }
    }

    /// Returns the pid of the process. A handle by process or pid always returns that pid, even if the
    /// process has exited; a handle by name or key returns its current holder, or `None` if there is none.
    pub fn whereis(&self) -> Option<Pid> {
        local::checkpoint();
        match &self.target {
            Target::Process(block) => Some(block.pid),
            Target::Pid(pid) => Some(*pid),
            _ => self.find_block().map(|block| block.pid),
        }
    }

    /// Waits until a process is registered under the name or key, and returns its pid; `None` if that does
    /// not happen within `timeout`. Use it to wait for a restarted server.
    ///
    /// A handle by process or pid does not wait. Whether a table that is not a [`Registry`](crate::registry::Registry)
    /// waits depends on its implementation of [`Via`].
    pub fn whereis_timeout(&self, timeout: Duration) -> Option<Pid> {
        match &self.target {
            // The name table wakes this thread when the name is registered.
            Target::StaticName(name) => names::whereis_timeout(name, timeout),
            Target::Name(name) => names::whereis_timeout(name, timeout),
            Target::Via(key) => {
                // `Via` is implemented by user code, which may not have a checkpoint.
                local::checkpoint();
                key.whereis_timeout(timeout)
            }
            Target::Process(_) | Target::Pid(_) => self.whereis(),
        }
    }

    /// Monitors the process. The calling process receives the `Down`; if the name or key has no holder, at once,
    /// with `NoProc`.
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
            // A fresh pid belongs to no process, so the `Down` with `NoProc` arrives at once.
            Target::Via(key) => monitor(key.whereis().unwrap_or_else(Pid::next)),
        }
    }

    /// Watches the process, from any thread. If the name or key has no holder, [`wait`](Watch::wait) returns
    /// `NoProc` at once.
    pub fn watch(&self) -> Watch {
        watch_holder(self.whereis())
    }

    /// Finds the block like `find_block`, but borrows it if the handle holds it: spares the fast path of a
    /// call two atomic operations on the reference count.
    pub(crate) fn resolve(&self) -> Option<Resolved<'_>> {
        match &self.target {
            Target::Process(block) => Some(Resolved::Borrowed(block)),
            _ => self.find_block().map(Resolved::Owned),
        }
    }

    /// Finds the block of the process. A handle by process or pid also finds one that is exiting; one that is
    /// found by name or key is running.
    pub(crate) fn find_block(&self) -> Option<Arc<ProcessBlock>> {
        match &self.target {
            Target::Process(block) => Some(Arc::clone(block)),
            Target::Pid(pid) => table::get(*pid),
            Target::StaticName(name) => names::lookup(name),
            Target::Name(name) => names::lookup(name),
            // Another table may still list a process that is exiting; treat it like a free name.
            Target::Via(key) => key.whereis().and_then(table::get).filter(|block| !block.is_exiting()),
        }
    }
}

impl Target {
    /// Makes the process that `builder` starts register under this name or key.
    pub(crate) fn apply_name_to(&self, builder: &mut Builder) -> Result<(), NameError> {
        match self {
            Self::Process(_) | Self::Pid(_) => return Err(NameError::Unsupported("a pid is not a name")),
            Self::StaticName(name) => builder.name = Some((*name).into()),
            Self::Name(name) => builder.name = Some(Arc::clone(name)),
            Self::Via(key) => builder.via = Some(Arc::clone(key)),
        }
        Ok(())
    }
}

/// The block that a handle has found.
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
