//! Having a supervised task started: with or without a link to who asks, with more than the defaults. `client` and
//! user code use it.

use std::panic::Location;
use std::sync::Arc;

use crate::child_spec::{ChildSpec, Restart, Shutdown, StartError};
use crate::dynamic_supervisor::client::start_child;
use crate::gen_server::handle::ServerRef;
use crate::pid::Pid;
use crate::process::block::Kind;
use crate::process::me;
use crate::process::spawn::{Builder, birth};
use crate::task::handle::Task;
use crate::task::work::{Body, Born, on_behalf, prepare};
use crate::task_supervisor::order::{Order, Unheld};
use crate::task_supervisor::server::TaskSupervisor;

/// A supervised task with more than the defaults: made by
/// [`ServerRef<TaskSupervisor>::builder`](crate::ServerRef::builder).
#[derive(Debug, Clone)]
#[must_use = "it starts nothing before one of its last three methods is called"]
pub struct TaskBuilder {
    supervisor: ServerRef<TaskSupervisor>,
    process: Builder,
    shutdown: Option<Shutdown>,
}

impl TaskBuilder {
    pub(crate) fn new(supervisor: &ServerRef<TaskSupervisor>) -> Self {
        Self { supervisor: supervisor.clone(), process: Builder::new(), shutdown: None }
    }

    /// How the supervisor ends it. Default: 5 s.
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = Some(shutdown);
        self
    }

    /// A free text for reports and listings, and for the name of the thread.
    pub fn label(mut self, label: impl Into<Arc<str>>) -> Self {
        self.process = self.process.label(label);
        self
    }

    /// See [`Builder::stack_size`].
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.process = self.process.stack_size(bytes);
        self
    }

    /// As [`ServerRef::spawn`].
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn spawn<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Task<T>, StartError> {
        let (slot, body) = prepare(move |_| work());
        Ok(Task::new(self.linked().beget(Box::new(body))?, slot))
    }

    /// As [`ServerRef::spawn_nolink`].
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn spawn_nolink<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Task<T>, StartError> {
        let (slot, body) = prepare(move |_| work());
        Ok(Task::new(self.beget(Box::new(body))?, slot))
    }

    /// As [`ServerRef::start_child`].
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn start_child(self, work: impl FnOnce() + Send + 'static) -> Result<Pid, StartError> {
        // Wanted for what it does: it begins also if the caller ends meanwhile.
        let order = Order::new(None, Box::new(on_behalf(move |_| work())));
        self.place(&order)?;
        Ok(order.born()?.block.pid)
    }

    pub(crate) fn with(mut self, process: Builder) -> Self {
        self.process = process;
        self
    }

    /// The task is to be linked with the calling process, if this is one.
    pub(crate) fn linked(mut self) -> Self {
        self.process.owner = me::get().map(|me| Arc::clone(&me.block));
        self
    }

    /// Has the supervisor start a task for whoever calls. It is taken back if the caller ends before it has the
    /// answer, or there is none: nobody would ever hold it.
    #[track_caller]
    pub(crate) fn beget(self, body: Body) -> Result<Born, StartError> {
        let linked = self.process.owner.clone();
        let order = Order::new(linked, body);
        let unheld = Unheld(&order);
        self.place(&order)?;
        let born = order.born()?;
        std::mem::forget(unheld);
        Ok(born)
    }

    /// Has the supervisor give birth to the process that was ordered.
    #[track_caller]
    fn place(self, order: &Arc<Order>) -> Result<(), StartError> {
        let Self { supervisor, process, shutdown } = self;
        let plan = Builder {
            kind: Kind::Task,
            spawned_at: process.spawned_at.or(Some(Location::caller())),
            quiet: process.quiet && process.owner.is_some(), // the supervisor has to hear of its end
            ..process
        };
        // A label may be empty, an id may not.
        let id = plan.label.clone().filter(|label| !label.is_empty()).unwrap_or_else(|| "Task".into());
        let order = Arc::clone(order);
        let spec = ChildSpec::new(&id, move || {
            let body = order.begin().ok_or(StartError::Ignored)?; // it is done once
            let task = birth(plan.clone(), me::get().as_ref(), None, body)?;
            order.deliver(task.block());
            Ok(task.pid())
        })
        .restart(Restart::Temporary);
        let spec = match shutdown {
            Some(shutdown) => spec.shutdown(shutdown),
            None => spec,
        };
        start_child(&supervisor, spec).map(drop)
    }
}
