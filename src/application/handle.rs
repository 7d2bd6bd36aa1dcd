//! `ApplicationRef`: a handle to stop an application and to wait for its end.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::application::exit::{ApplicationError, ApplicationExit};
use crate::application::master::{Master, StopRequest};
use crate::application::state::ApplicationState;
use crate::call_error::StopError;
use crate::gen_server::server_ref::ServerRef;
use crate::pid::Pid;
use crate::process::control::local;
use crate::process::signals::monitor::Watch;
use crate::process::signals::monitor::watch;
use crate::supervisor::supervisor::SupervisorRef;

/// A handle to one start of an application, for use on any thread, also after the application has ended. Dropping it
/// does not stop the application.
#[derive(Clone)]
pub struct ApplicationRef {
    pub(crate) master: Pid,
    pub(crate) state: Arc<ApplicationState>,
}

impl ApplicationRef {
    /// Returns the name of the application.
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// Returns a handle to the top supervisor of this start. To reach the supervisor of a later start too, give it a
    /// name in its spec.
    ///
    /// If [`find`](crate::application::Application::find) has found the application while it was still starting,
    /// there is no supervisor yet: calls through the handle fail, like those to a process that has exited.
    pub fn supervisor(&self) -> SupervisorRef {
        // `Pid::next` returns a pid that no process has.
        self.state.top().cloned().unwrap_or_else(|| SupervisorRef::from_pid(Pid::next()))
    }

    /// Returns `true` from the moment [`start`](crate::application::Application::start) returns until the application
    /// begins to stop.
    pub fn is_running(&self) -> bool {
        self.state.is_running()
    }

    /// Stops the application, and returns when all its processes have exited: see
    /// [`Application`](crate::application::Application#stopping) for the order. There is no time limit. If a stop is
    /// in progress already, this waits for that one.
    ///
    /// # Errors
    /// - [`ApplicationError::NotStarted`] if the application has ended before.
    /// - [`ApplicationError::Inside`] if the caller belongs to the application.
    /// - [`ApplicationError::Deadlock`] if the application waits for the caller.
    /// - [`ApplicationError::Exiting`] if the calling process is exiting.
    ///
    /// ```
    /// use rethread::prelude::*;
    /// use rethread::application::Application;
    /// use rethread::application::ApplicationError;
    ///
    /// let app = Application::new("doc.stop", Supervisor::one_for_one()).start()?;
    /// app.stop()?;
    /// assert!(!app.is_running());
    /// assert_eq!(app.stop(), Err(ApplicationError::NotStarted("doc.stop".into())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stop(&self) -> Result<(), ApplicationError> {
        // A process of the application would wait for its own exit.
        let inside = local::get().is_some_and(|me| me.block.spawn_info.application == Some(self.master));
        if inside {
            return Err(ApplicationError::Inside);
        }
        match ServerRef::<Master>::from_pid(self.master).stop() {
            // `Exited`: the master was killed, so the application has ended, too.
            Ok(()) | Err(StopError::Exited { .. }) => Ok(()),
            Err(StopError::Deadlock { cycle }) => Err(ApplicationError::Deadlock { cycle }),
            Err(StopError::Exiting) => Err(ApplicationError::Exiting),
            Err(StopError::CallingSelf { .. }) => Err(ApplicationError::Inside),
            // Only `NoProc` can happen here: there is no time limit, and the pid is that of a master.
            Err(StopError::NoProc { .. } | StopError::Timeout { .. } | StopError::WrongType { .. }) => {
                Err(ApplicationError::NotStarted(Arc::clone(&self.state.name)))
            }
        }
    }

    /// Requests the application to stop and returns at once. This is the way for a process of the application itself,
    /// which is then shut down like the others. If the application has ended, nothing happens.
    ///
    /// ```
    /// use rethread::prelude::*;
    /// use rethread::application::Application;
    ///
    /// let last = ChildSpec::worker("last", || {
    ///     // ... the work is done
    ///     Application::find("doc.request_stop").expect("it runs").request_stop();
    ///     process::sleep(std::time::Duration::MAX);
    /// });
    /// let exit = Application::new("doc.request_stop", Supervisor::one_for_one().child(last)).run();
    /// assert!(exit.is_success());
    /// ```
    pub fn request_stop(&self) {
        ServerRef::<Master>::from_pid(self.master).cast(StopRequest);
    }

    /// Waits until all processes of the application have exited, and returns how it ended.
    ///
    /// # Panics
    /// In a callback of the same application: the end would wait for the callback, and the callback for the end.
    ///
    /// ```
    /// use rethread::prelude::*;
    /// use rethread::application::Application;
    ///
    /// let app = Application::new("doc.wait", Supervisor::one_for_one()).start()?;
    /// app.request_stop();
    /// assert!(app.wait().is_success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn wait(&self) -> ApplicationExit {
        // The master exits after all other processes. If it was killed, they have been sent a kill by then.
        self.watch().wait();
        self.state.application_exit()
    }

    /// Waits like [`wait`](Self::wait), but for at most `timeout`; returns `None` if the application has not ended by
    /// then.
    ///
    /// # Panics
    /// In a callback of the same application: the end would wait for the callback, and the callback for the end.
    ///
    /// ```
    /// use rethread::prelude::*;
    /// use rethread::application::Application;
    /// use std::time::Duration;
    ///
    /// let app = Application::new("doc.wait_timeout", Supervisor::one_for_one()).start()?;
    /// assert_eq!(app.wait_timeout(Duration::from_millis(1)), None);
    /// app.request_stop();
    /// assert!(app.wait_timeout(Duration::MAX).is_some_and(|exit| exit.is_success()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> Option<ApplicationExit> {
        self.watch().wait_timeout(timeout).map(|_| self.state.application_exit())
    }

    #[track_caller]
    fn watch(&self) -> Watch {
        assert!(
            local::pid() != Some(self.master),
            "deadlock: a callback of an application cannot wait for the end of that application"
        );
        watch(self.master)
    }
}

/// Formats the name.
impl fmt::Display for ApplicationRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.state.name)
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
