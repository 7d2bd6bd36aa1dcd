//! The spec of an application (its top supervisor, its dependencies, its callbacks), and starting it.

use std::fmt;
use std::sync::Arc;

use crate::application::exit::{ApplicationError, ApplicationExit};
use crate::application::handle::ApplicationRef;
use crate::application::master::{Callback, Master, MasterArgs};
use crate::application::state;
use crate::application::state::ApplicationState;
use crate::application::state::ListEntry;
use crate::child_spec::StartError;
use crate::gen_server::server_ref::ServerRef;
use crate::gen_server::spec::{GenServerExt, ServerSpec};
use crate::process::control::local;
use crate::supervisor::partition::{Partition, PartitionSupervisorSpec};
use crate::supervisor::server;
use crate::supervisor::spec::SupervisorSpec;
use crate::supervisor::supervise::{Supervise, SuperviseSpec};

/// The spec of an application: a top supervisor and all processes that are started under it, supervised or not, which
/// are started and stopped as one.
///
/// ```no_run
/// use rethread::prelude::*;
/// use rethread::agent::Agent;
/// use rethread::application::{Application, ApplicationExit};
///
/// fn main() -> ApplicationExit {
///     Application::new("todo", Supervisor::one_for_one().child(Agent::child_spec(Vec::<String>::new)))
///         .on_stop(|| println!("all data is written"))
///         .run()
/// }
/// ```
///
/// [`run`](Self::run) blocks until the application ends, and its result is the exit status of the program. To do more
/// in the meantime, or to stop the application on a signal, use [`start`](Self::start), which returns a handle:
///
/// ```text
/// fn main() -> Result<ApplicationExit, Box<dyn std::error::Error>> {
///     let app = spec().start()?;
///     let stop = app.clone();
///     ctrlc::set_handler(move || stop.request_stop())?; // crate ctrlc, feature "termination" for SIGTERM
///     Ok(app.wait())
/// }
/// ```
///
/// The [guide](crate::guide#ending-on-sigterm) shows the same with the crate signal-hook.
///
/// # Stopping
/// An application always ends in this order, whatever the cause (its master process runs the steps):
///
/// 1. The `prep_stop` callback runs, while all processes are still running.
/// 2. The top supervisor is shut down and waited for, without a limit: each child has its own.
/// 3. The `on_stop` callback runs.
/// 4. All processes that still belong to the application are killed and waited for. A thread that does not exit within
///    its `kill_grace` remains as a zombie, which is logged.
/// 5. The name becomes free, and callers that wait for the end return.
///
/// If the top supervisor exits by itself, that takes the place of step 2. If it was killed, the children it left have
/// five seconds to clean up. A panic in a callback is logged, and the next step follows.
///
/// A process belongs to the application of the process that started it, whichever processes it is linked to. An
/// application that is started by a process of another one belongs to that one. Threads that were not started with
/// this library belong to no application.
///
/// # Differences from Erlang
/// An application is a value, not a package with a version, modules and configuration, and there is no application
/// controller. Work to be done at the start, before the children start, belongs in
/// [`Supervise::init`] of the top supervisor or in `main`. There are no restart types
/// `permanent`, `transient` and `temporary`, which decide in Erlang whether the end of an application stops the node:
/// [`run`](Self::run) returns, and `main` can return its result, start the application again, or continue without it. A
/// second `stop` while the first is in progress waits for the same end. The children of a killed top supervisor can
/// clean up before they are killed; in Erlang that depends on timing.
#[must_use = "a spec does nothing by itself: call `run` or `start`"]
pub struct Application {
    name: Arc<str>,
    top: TopSupervisor,
    depends_on: Vec<Arc<str>>,
    prep_stop: Option<Callback>,
    on_stop: Option<Callback>,
}

impl Application {
    /// Creates the spec of an application. `top` is the spec of its top supervisor: a [`SupervisorSpec`], a
    /// [`PartitionSupervisorSpec`], or the `child_spec` of a type that implements [`Supervise`].
    pub fn new(name: impl Into<Arc<str>>, top: impl Into<TopSupervisor>) -> Self {
        Self { name: name.into(), top: top.into(), depends_on: Vec::new(), prep_stop: None, on_stop: None }
    }

    /// Adds an application that must be running when this one is started. Can be called several times.
    pub fn depends_on(mut self, name: impl Into<Arc<str>>) -> Self {
        self.depends_on.push(name.into());
        self
    }

    /// Sets the callback that runs first when the application ends, while all its processes are still running. Default:
    /// none.
    pub fn prep_stop(mut self, callback: impl FnOnce() + Send + 'static) -> Self {
        self.prep_stop = Some(Callback::new("prep_stop", callback));
        self
    }

    /// Sets the callback that runs when the supervised processes have exited. Default: none.
    ///
    /// ```
    /// use rethread::prelude::*;
    /// use rethread::application::Application;
    /// use std::sync::mpsc;
    ///
    /// let (steps, done) = mpsc::channel();
    /// let (first, worker, last) = (steps.clone(), steps.clone(), steps);
    /// let work = ChildSpec::worker("work", move || {
    ///     let worker = worker.clone();
    ///     let _hook = process::on_exit_request(move || drop(worker.send("work is stopped")));
    ///     process::sleep(std::time::Duration::MAX);
    /// });
    /// let app = Application::new("doc.callbacks", Supervisor::one_for_one().child(work))
    ///     .prep_stop(move || drop(first.send("prep_stop"))) // the worker is still running
    ///     .on_stop(move || drop(last.send("on_stop")))
    ///     .start()?;
    /// app.stop()?;
    /// assert!(matches!(&done.try_iter().collect::<Vec<_>>()[..], ["prep_stop", .., "on_stop"]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_stop(mut self, callback: impl FnOnce() + Send + 'static) -> Self {
        self.on_stop = Some(Callback::new("on_stop", callback));
        self
    }

    /// Starts the application, from any thread, and returns when all children of its top supervisor have started. The
    /// application is not linked to the caller.
    ///
    /// # Errors
    /// - [`ApplicationError::AlreadyStarted`] if an application of this name is running, or still starting or stopping.
    /// - [`ApplicationError::NotStarted`] with the name of a dependency that is not running.
    /// - [`ApplicationError::Failed`] if the top supervisor did not start.
    /// - [`ApplicationError::Exiting`] if the calling process is exiting.
    ///
    /// ```
    /// use rethread::prelude::*;
    /// use rethread::application::Application;
    /// use rethread::application::ApplicationError;
    ///
    /// let spec = || Application::new("doc.web", Supervisor::one_for_one()).depends_on("doc.db");
    /// assert_eq!(spec().start().unwrap_err(), ApplicationError::NotStarted("doc.db".into()));
    ///
    /// let db = Application::new("doc.db", Supervisor::one_for_one()).start()?;
    /// let web = spec().start()?;
    /// assert_eq!(spec().start().unwrap_err(), ApplicationError::AlreadyStarted("doc.web".into()));
    /// web.stop()?;
    /// db.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn start(self) -> Result<ApplicationRef, ApplicationError> {
        let Self { name, top: TopSupervisor(mut top), depends_on, prep_stop, on_stop } = self;
        local::checkpoint();
        // Only a check: a dependency that stops later does not affect this application.
        let running = state::running();
        if let Some(missing) = depends_on.into_iter().find(|needed| !running.contains(needed)) {
            return Err(ApplicationError::NotStarted(missing));
        }
        let state = Arc::new(ApplicationState::new(Arc::clone(&name)));
        // The top supervisor sets this cell when it gives up, because its exit reason is `Shutdown` in that case, too.
        top.args = top.args.with_give_up_cell(&state.gave_up);
        // The master registers in the list of applications before its first step, so a second start fails early.
        let mut master =
            Master::child_spec(MasterArgs { state: Arc::clone(&state), top, prep_stop, on_stop })
                .label(format!("application {name}"))
                .name(ServerRef::via(ListEntry(Arc::clone(&state))));
        master.options.process.leads_application = true;
        // If the start fails, the master exits with `Shutdown` and leaves the error of the supervisor in the state.
        match master.start() {
            Ok(master) => {
                let Some(master) = master.whereis() else {
                    unreachable!("a started server is found by its pid")
                };
                Ok(ApplicationRef { master, state })
            }
            Err(StartError::AlreadyStarted(_)) => Err(ApplicationError::AlreadyStarted(name)),
            Err(StartError::Exiting) => Err(ApplicationError::Exiting),
            Err(error) => Err(ApplicationError::Failed(state.start_error().unwrap_or(error))),
        }
    }

    /// Starts the application and waits until it ends. A `main` function can return the result.
    ///
    /// ```
    /// use rethread::prelude::*;
    /// use rethread::application::Application;
    /// use rethread::StartError;
    ///
    /// let broken = ChildSpec::new("broken", || Err(StartError::failed("no disk")));
    /// let exit = Application::new("doc.run", Supervisor::one_for_one().child(broken)).run();
    /// assert!(!exit.is_success()); // status 1, and standard error says why
    /// ```
    #[track_caller]
    pub fn run(self) -> ApplicationExit {
        match self.start() {
            Ok(application) => application.wait(),
            Err(error) => error.into(),
        }
    }

    /// Stops the application of this name, and returns when all its processes have exited. Like
    /// [`ApplicationRef::stop`], but by name, and also for an application that is still starting.
    ///
    /// # Errors
    /// - [`ApplicationError::NotStarted`] if there is no application of this name.
    /// - [`ApplicationError::Inside`] if the caller belongs to the application.
    /// - [`ApplicationError::Deadlock`] if the application waits for the caller.
    /// - [`ApplicationError::Exiting`] if the calling process is exiting.
    ///
    /// ```
    /// use rethread::prelude::*;
    /// use rethread::application::Application;
    /// use rethread::application::ApplicationError;
    ///
    /// Application::new("doc.stop_by_name", Supervisor::one_for_one()).start()?;
    /// assert_eq!(Application::stop("doc.stop_by_name"), Ok(()));
    /// let none = ApplicationError::NotStarted("doc.stop_by_name".into());
    /// assert_eq!(Application::stop("doc.stop_by_name"), Err(none));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stop(name: &str) -> Result<(), ApplicationError> {
        Self::find(name).ok_or_else(|| ApplicationError::NotStarted(name.into()))?.stop()
    }

    /// Returns a handle to the application of this name, from the beginning of its start to the end of its stop.
    ///
    /// ```
    /// use rethread::prelude::*;
    /// use rethread::application::Application;
    ///
    /// let app = Application::new("doc.find", Supervisor::one_for_one()).start()?;
    /// assert!(Application::find("doc.find").is_some_and(|found| found.is_running()));
    /// app.stop()?;
    /// assert!(Application::find("doc.find").is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn find(name: &str) -> Option<ApplicationRef> {
        local::checkpoint();
        state::find(name).map(|(master, state)| ApplicationRef { master, state })
    }

    /// Returns the names of the running applications, in the order in which they were started.
    ///
    /// ```
    /// use rethread::prelude::*;
    /// use rethread::application::Application;
    ///
    /// let app = Application::new("doc.running", Supervisor::one_for_one()).start()?;
    /// assert!(Application::running().contains(&"doc.running".into()));
    /// app.stop()?;
    /// assert!(!Application::running().contains(&"doc.running".into()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn running() -> Vec<Arc<str>> {
        local::checkpoint();
        state::running()
    }
}

/// The spec of the top supervisor of an application, as [`Application::new`] takes it: every spec of a static
/// supervisor converts to it.
#[derive(Debug)]
#[must_use = "a spec does nothing by itself: give it to an application"]
pub struct TopSupervisor(ServerSpec<server::Supervisor>);

impl From<SupervisorSpec> for TopSupervisor {
    fn from(spec: SupervisorSpec) -> Self {
        Self(spec.into_server_spec())
    }
}

impl<T: Supervise<Spec = SupervisorSpec>> From<SuperviseSpec<T>> for TopSupervisor {
    fn from(spec: SuperviseSpec<T>) -> Self {
        Self(spec.into_server_spec())
    }
}

impl<S: Partition> From<PartitionSupervisorSpec<S>> for TopSupervisor {
    fn from(spec: PartitionSupervisorSpec<S>) -> Self {
        Self(spec.into_server_spec())
    }
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application")
            .field("name", &self.name)
            .field("depends_on", &self.depends_on)
            .finish_non_exhaustive()
    }
}
