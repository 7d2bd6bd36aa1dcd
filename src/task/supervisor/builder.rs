//! Having a supervised task started: with or without a link to who asks, with more than the defaults. `client` and
//! user code use it.

use std::panic::Location;
use std::sync::Arc;

use crate::child_spec::{ChildSpec, Restart, Shutdown, StartError};
use crate::gen_server::server_ref::ServerRef;
use crate::pid::Pid;
use crate::process::control::block::ProcessKind;
use crate::process::control::local;
use crate::process::lifecycle::spawn::Builder;
use crate::process::lifecycle::spawn::start_process;
use crate::supervisor::dynamic::client::start_child;
use crate::task::body::StartedTask;
use crate::task::body::TaskBody;
use crate::task::body::task_body;
use crate::task::body::with_callers;
use crate::task::handle::Task;
use crate::task::supervisor::order::CancelOnDrop;
use crate::task::supervisor::order::TaskRequest;
use crate::task::supervisor::server::TaskSupervisor;

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
        let (slot, body) = task_body(move |_| work());
        Ok(Task::new(self.linked().start(Box::new(body))?, slot))
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
        let (slot, body) = task_body(move |_| work());
        Ok(Task::new(self.start(Box::new(body))?, slot))
    }

    /// As [`ServerRef::start_child`].
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn start_child(self, work: impl FnOnce() + Send + 'static) -> Result<Pid, StartError> {
        // Wanted for what it does: it begins also if the caller ends meanwhile.
        let request = TaskRequest::new(None, Box::new(with_callers(move |_| work())));
        self.submit(&request)?;
        Ok(request.started()?.block.pid)
    }

    pub(crate) fn with_process(mut self, process: Builder) -> Self {
        self.process = process;
        self
    }

    /// The task is to be linked with the calling process, if this is one.
    pub(crate) fn linked(mut self) -> Self {
        self.process.owner = local::get().map(|me| Arc::clone(&me.block));
        self
    }

    /// Has the supervisor start a task for whoever calls. It is taken back if the caller ends before it has the
    /// answer, or there is none: nobody would ever hold it.
    #[track_caller]
    pub(crate) fn start(self, body: TaskBody) -> Result<StartedTask, StartError> {
        let linked = self.process.owner.clone();
        let request = TaskRequest::new(linked, body);
        let cancel_guard = CancelOnDrop(&request);
        self.submit(&request)?;
        let started = request.started()?;
        std::mem::forget(cancel_guard);
        Ok(started)
    }

    /// Has the supervisor give birth to the process that was ordered.
    #[track_caller]
    fn submit(self, request: &Arc<TaskRequest>) -> Result<(), StartError> {
        let Self { supervisor, process, shutdown } = self;
        let builder = Builder {
            kind: ProcessKind::Task,
            spawned_at: process.spawned_at.or(Some(Location::caller())),
            no_exit_message: process.no_exit_message && process.owner.is_some(), // the supervisor has to hear of its end
            ..process
        };
        // A label may be empty, an id may not.
        let id = builder.label.clone().filter(|label| !label.is_empty()).unwrap_or_else(|| "Task".into());
        let request = Arc::clone(request);
        let spec = ChildSpec::new(&id, move || {
            let body = request.take_body().ok_or(StartError::Ignored)?; // it is done once
            let task = start_process(builder.clone(), local::get().as_ref(), None, body)?;
            request.set_started(task.block());
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
