//! Talking to an application: stop it, wait for its end. Whoever started one has the handle; signal handlers and
//! tests find it by its name.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::application::error::ApplicationError;
use crate::application::exit::ApplicationExit;
use crate::application::master::{Master, StopRequest};
use crate::application::state::ApplicationState;
use crate::gen_server::call::StopError;
use crate::gen_server::server_ref::ServerRef;
use crate::pid::Pid;
use crate::process::control::local;
use crate::process::signals::monitor::Watch;
use crate::process::signals::monitor::watch;
use crate::supervisor::server::Supervisor;

/// Reaches one start of an application: from any thread, and also when it has ended. To drop it does nothing to
/// the application.
#[derive(Clone)]
pub struct ApplicationRef {
    pub(crate) master: Pid,
    pub(crate) state: Arc<ApplicationState>,
}

impl ApplicationRef {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// Its top supervisor. A reference to this one process: the name, if the plan gives one, reaches the
    /// supervisor of the next start too.
    ///
    /// Of an application that [`find`](crate::Application::find) has found while it was still starting it reaches
    /// nobody.
    pub fn supervisor(&self) -> ServerRef<Supervisor> {
        self.state.top().cloned().unwrap_or_else(|| ServerRef::from_pid(Pid::next()))
    }

    /// Whether it runs: from the moment [`start`](crate::Application::start) returns until its end begins.
    pub fn is_running(&self) -> bool {
        self.state.is_running()
    }

    /// Stops it, and returns when nothing is left of it: see [`Application`](crate::Application) for the order.
    /// It waits as long as that takes. If a stop is under way already, it waits for that one.
    ///
    /// # Errors
    /// [`ApplicationError::NotStarted`] if it has ended before, [`ApplicationError::Inside`] on a process of the
    /// application itself, [`ApplicationError::Deadlock`], [`ApplicationError::Exiting`].
    ///
    /// ```
    /// use rethread::prelude::*;
    /// use rethread::application::ApplicationError;
    ///
    /// let app = Application::new("doc.stop", Supervisor::one_for_one()).start()?;
    /// app.stop()?;
    /// assert!(!app.is_running());
    /// assert_eq!(app.stop(), Err(ApplicationError::NotStarted("doc.stop".into())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stop(&self) -> Result<(), ApplicationError> {
        let inside = local::get().is_some_and(|me| me.block.spawn_info.application == Some(self.master));
        if inside {
            return Err(ApplicationError::Inside);
        }
        match ServerRef::<Master>::from_pid(self.master).stop() {
            // Another reason: it was killed. It has ended all the same.
            Ok(()) | Err(StopError::Exited(_)) => Ok(()),
            Err(StopError::Deadlock { cycle }) => Err(ApplicationError::Deadlock { cycle }),
            Err(StopError::Exiting) => Err(ApplicationError::Exiting),
            Err(StopError::CallingSelf) => Err(ApplicationError::Inside),
            // Of these only the first happens: there is no time limit, and the pid is a master's.
            Err(StopError::NoProc | StopError::Timeout | StopError::WrongType { .. }) => {
                Err(ApplicationError::NotStarted(Arc::clone(&self.state.name)))
            }
        }
    }

    /// Has it stopped, and does not wait. The way for a process of the application itself; it will be told to end
    /// like any other. Not an error if it has ended.
    ///
    /// ```
    /// use rethread::prelude::*;
    ///
    /// let last = ChildSpec::worker("last", || {
    ///     // ... what there was to do is done
    ///     Application::find("doc.begin").expect("it runs").request_stop();
    ///     process::sleep(std::time::Duration::MAX);
    /// });
    /// let ending = Application::new("doc.begin", Supervisor::one_for_one().child(last)).run();
    /// assert!(ending.is_success());
    /// ```
    pub fn request_stop(&self) {
        ServerRef::<Master>::from_pid(self.master).cast(StopRequest);
    }

    /// Waits until nothing is left of it, and says how it ended.
    ///
    /// # Panics
    /// In one of its own callbacks, which are part of its end.
    #[track_caller]
    pub fn wait(&self) -> ApplicationExit {
        self.watch().wait();
        self.state.application_exit()
    }

    /// As [`wait`](Self::wait), for at most `limit`; `None` if it has not ended by then.
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> Option<ApplicationExit> {
        self.watch().wait_timeout(timeout).map(|_| self.state.application_exit())
    }

    #[track_caller]
    fn watch(&self) -> Watch {
        assert!(
            local::pid() != Some(self.master),
            "a callback of an application waits for the end of that one"
        );
        watch(self.master)
    }
}

impl fmt::Debug for ApplicationRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApplicationRef")
            .field("name", &self.state.name)
            .field("running", &self.is_running())
            .finish_non_exhaustive()
    }
}
