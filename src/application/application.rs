//! The plan of an application: its top supervisor, what it depends on, what is to be done at its end. `main`
//! functions write and start it.

use std::fmt;
use std::sync::Arc;

use crate::application::error::ApplicationError;
use crate::application::exit::ApplicationExit;
use crate::application::handle::ApplicationRef;
use crate::application::master::{Callback, Master, MasterArgs};
use crate::application::state;
use crate::application::state::ApplicationState;
use crate::application::state::ListEntry;
use crate::child_spec::StartError;
use crate::gen_server::server_ref::ServerRef;
use crate::gen_server::start::{GenServerExt, ServerSpec};
use crate::process::control::local;
use crate::supervisor::server::Supervisor;

/// A whole system that is started and stopped as one: a top supervisor, and every process that was started under
/// it, supervised or not.
///
/// ```no_run
/// use rethread::prelude::*;
///
/// fn main() -> Ending {
///     Application::new("todo", Supervisor::one_for_one().child(Agent::child_spec(Vec::<String>::new)))
///         .on_stop(|| println!("all is written"))
///         .run()
/// }
/// ```
///
/// `run` blocks until the application ends, and its result is the exit status of the program. Those that have more
/// to do meanwhile, or that stop it on a signal, use [`start`](Self::start), which gives a handle:
///
/// ```text
/// fn main() -> Result<ApplicationExit, Box<dyn std::error::Error>> {
///     let app = plan().start()?;
///     let stop = app.clone();
///     ctrlc::set_handler(move || stop.request_stop())?; // crate ctrlc, feature "termination" for SIGTERM
///     Ok(app.wait())
/// }
/// ```
///
/// The [guide](crate::guide#ending-on-sigterm) shows the same with the crate signal-hook.
///
/// # Its end
/// However the end comes about, it goes in this order:
///
/// 1. the `prep_stop` callback, while everything still runs;
/// 2. the top supervisor is told to shut down and waited for, without limit: each child has its own;
/// 3. the `on_stop` callback;
/// 4. every process that still belongs to the application is killed and waited for. A thread that does not end
///    within its `kill_grace` is left behind as a zombie, and the log tells;
/// 5. the name is free, and whoever waits goes on.
///
/// If the top supervisor ends by itself, that takes the place of step 2; children that it left, because it was
/// killed, have five seconds to clean up. A callback that panics is reported, and the next step follows.
///
/// A process belongs to the application of the process that started it, whomever it is linked with; an application
/// that one of them starts is one of its own. Threads that were not started with this library belong to none.
///
/// # Differences from Erlang
/// An application is no package with a version, modules and configuration, and there is no controller: the plan is
/// a value. What is done at the start, before the children, stands in [`Supervise::init`](crate::Supervise::init)
/// of the top supervisor or simply in `main`. The restart types `permanent`, `transient` and `temporary`, by which
/// the end of an application may end the node, are the caller's choice: [`run`](Self::run) returns, and `main` may
/// return that, try again or do without. A second `stop` while the first is under way waits for the same end. The
/// children of a killed top supervisor get to clean up before they are killed; there they may or may not.
#[must_use = "a plan does nothing by itself: run or start it"]
pub struct Application {
    name: Arc<str>,
    top: ServerSpec<Supervisor>,
    depends_on: Vec<Arc<str>>,
    prep_stop: Option<Callback>,
    on_stop: Option<Callback>,
}

impl Application {
    /// An application of this name. `top` is the plan of its top supervisor: a
    /// [`SupervisorSpec`](crate::SupervisorSpec), or the `child_spec` of a type that is one
    /// ([`Supervise`](crate::Supervise)).
    pub fn new(name: impl Into<Arc<str>>, top: impl Into<ServerSpec<Supervisor>>) -> Self {
        Self { name: name.into(), top: top.into(), depends_on: Vec::new(), prep_stop: None, on_stop: None }
    }

    /// It can only start while that application runs. May be given several times.
    pub fn depends_on(mut self, name: impl Into<Arc<str>>) -> Self {
        self.depends_on.push(name.into());
        self
    }

    /// What is done first when it ends, while all its processes still run. Default: nothing.
    pub fn prep_stop(mut self, callback: impl FnOnce() + Send + 'static) -> Self {
        self.prep_stop = Some(Callback::new("prep_stop", callback));
        self
    }

    /// What is done when its supervised processes are gone. Default: nothing.
    pub fn on_stop(mut self, callback: impl FnOnce() + Send + 'static) -> Self {
        self.on_stop = Some(Callback::new("on_stop", callback));
        self
    }

    /// Starts it, from any thread, and returns when all children of its top supervisor have started. It is linked
    /// to nobody.
    ///
    /// # Errors
    /// [`ApplicationError::AlreadyStarted`]; [`ApplicationError::NotStarted`] with the name of what it depends on;
    /// [`ApplicationError::Failed`] if its top supervisor did not start; [`ApplicationError::Exiting`].
    ///
    /// ```
    /// use rethread::prelude::*;
    /// use rethread::application::ApplicationError;
    ///
    /// let plan = || Application::new("doc.web", Supervisor::one_for_one()).depends_on("doc.db");
    /// assert_eq!(plan().start().unwrap_err(), ApplicationError::NotStarted("doc.db".into()));
    ///
    /// let db = Application::new("doc.db", Supervisor::one_for_one()).start()?;
    /// let web = plan().start()?;
    /// assert_eq!(plan().start().unwrap_err(), ApplicationError::AlreadyStarted("doc.web".into()));
    /// web.stop()?;
    /// db.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn start(self) -> Result<ApplicationRef, ApplicationError> {
        let Self { name, mut top, depends_on, prep_stop, on_stop } = self;
        local::checkpoint();
        let running = state::running();
        if let Some(missing) = depends_on.into_iter().find(|needed| !running.contains(needed)) {
            return Err(ApplicationError::NotStarted(missing));
        }
        let state = Arc::new(ApplicationState::new(Arc::clone(&name)));
        top.args = top.args.with_give_up_cell(&state.gave_up);
        let mut master =
            Master::child_spec(MasterArgs { state: Arc::clone(&state), top, prep_stop, on_stop })
                .label(format!("application {name}"))
                .name(ServerRef::via(ListEntry(Arc::clone(&state))));
        master.process.leads_application = true;
        match master.start() {
            Ok(master) => {
                let Some(master) = master.whereis() else { unreachable!("what was started has a pid") };
                Ok(ApplicationRef { master, state })
            }
            Err(StartError::AlreadyStarted(_)) => Err(ApplicationError::AlreadyStarted(name)),
            Err(StartError::Exiting) => Err(ApplicationError::Exiting),
            Err(error) => Err(ApplicationError::Failed(state.start_error().unwrap_or(error))),
        }
    }

    /// Starts it and waits until it ends: what a `main` function returns.
    ///
    /// ```
    /// use rethread::prelude::*;
    ///
    /// let broken = ChildSpec::new("broken", || Err(StartError::Failed("no disk".into())));
    /// let ending = Application::new("doc.run", Supervisor::one_for_one().child(broken)).run();
    /// assert!(!ending.is_success()); // status 1, and standard error says why
    /// ```
    #[track_caller]
    pub fn run(self) -> ApplicationExit {
        match self.start() {
            Ok(application) => application.wait(),
            Err(error) => error.into(),
        }
    }

    /// Stops the application of this name, also one that is still starting. As [`ApplicationRef::stop`].
    ///
    /// # Errors
    /// As there; [`ApplicationError::NotStarted`] if there is none.
    pub fn stop(name: impl AsRef<str>) -> Result<(), ApplicationError> {
        let name = name.as_ref();
        Self::find(name).ok_or_else(|| ApplicationError::NotStarted(name.into()))?.stop()
    }

    /// The application of this name, from the beginning of its start to the end of its stop.
    pub fn find(name: impl AsRef<str>) -> Option<ApplicationRef> {
        local::checkpoint();
        state::find(name.as_ref()).map(|(master, state)| ApplicationRef { master, state })
    }

    /// The names of the applications that run, in the order they were started.
    ///
    /// ```
    /// use rethread::prelude::*;
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

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application")
            .field("name", &self.name)
            .field("depends_on", &self.depends_on)
            .finish_non_exhaustive()
    }
}
