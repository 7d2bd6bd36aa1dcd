//! The shared state of an application, from the beginning of its start to its end, and the list of all applications.

use std::fmt;
use std::sync::Arc;

use once_cell::sync::OnceCell;

use crate::application::exit::{ApplicationError, ApplicationExit};
use crate::child_spec::StartError;
use crate::pid::Pid;
use crate::process::control::block::ProcessBlock;
use crate::process::control::table;
use crate::process::error::NameError;
use crate::process::names::via::Via;
use crate::process::signals::exit::exit;
use crate::reason::ExitReason;
use crate::supervisor::supervisor::SupervisorRef;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};

/// The state of one start of an application. The master writes it, handles read it.
pub(crate) struct ApplicationState {
    pub(crate) name: Arc<str>,
    /// Set by the top supervisor when it gives up, with the cause.
    pub(crate) gave_up: Arc<OnceCell<String>>,
    top: OnceCell<SupervisorRef>,
    /// Set if the top supervisor did not start.
    start_error: OnceCell<StartError>,
    stopping: AtomicBool,
    exit_reason: OnceCell<ExitReason>,
}

impl ApplicationState {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            gave_up: Arc::default(),
            top: OnceCell::new(),
            start_error: OnceCell::new(),
            stopping: AtomicBool::new(false),
            exit_reason: OnceCell::new(),
        }
    }

    pub(crate) fn set_top(&self, top: SupervisorRef) {
        let _ = self.top.set(top); // a cell can be set only once, and the first value counts: also below
    }

    pub(crate) fn set_start_error(&self, error: StartError) {
        let _ = self.start_error.set(error);
    }

    /// Marks the application as stopping: from here on it no longer counts as running.
    pub(crate) fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub(crate) fn set_exit_reason(&self, reason: ExitReason) {
        let _ = self.exit_reason.set(reason);
    }

    /// Returns the top supervisor; `None` while it is starting, or if it did not start.
    pub(crate) fn top(&self) -> Option<&SupervisorRef> {
        self.top.get()
    }

    pub(crate) fn start_error(&self) -> Option<StartError> {
        self.start_error.get().cloned()
    }

    /// Returns `true` if the application has started and has not begun to stop.
    pub(crate) fn is_running(&self) -> bool {
        self.top.get().is_some() && !self.stopping.load(Ordering::Acquire) && self.exit_reason.get().is_none()
    }

    /// Returns how the application ended. To be called after its end.
    pub(crate) fn application_exit(&self) -> ApplicationExit {
        // A failed start and giving up take precedence: the exit reason is `Shutdown` in both cases.
        if let Some(error) = self.start_error() {
            return ApplicationExit::NotStarted(ApplicationError::Failed(error));
        }
        match self.gave_up.get() {
            Some(why) => ApplicationExit::GaveUp(why.as_str().into()),
            None => ApplicationExit::Stopped(self.exit_reason.get().cloned().unwrap_or(ExitReason::Killed)),
        }
    }
}

/// The applications that are starting, running or stopping, with the pids of their masters, in the order of their start.
static APPLICATIONS: Mutex<Vec<(Pid, Arc<ApplicationState>)>> = Mutex::new(Vec::new());

/// Returns the application of this name and the pid of its master.
pub(crate) fn find(name: &str) -> Option<(Pid, Arc<ApplicationState>)> {
    APPLICATIONS.lock().iter().find(|(_, state)| *state.name == *name).cloned()
}

/// Returns the names of the running applications.
pub(crate) fn running() -> Vec<Arc<str>> {
    // Without user code under the lock: only names are copied.
    let list = APPLICATIONS.lock();
    list.iter().filter(|(_, state)| state.is_running()).map(|(_, state)| Arc::clone(&state.name)).collect()
}

/// Returns the processes of an application without its master: those that were started by the master, or by one of
/// its processes. Includes processes that have exited but whose links are not all notified: a process counts until then,
/// so that after the end of the application a new monitor of one of its processes fires at once.
pub(crate) fn processes_of(master: Pid) -> Vec<Arc<ProcessBlock>> {
    let mut all = table::all_until_notified();
    all.retain(|block| block.spawn_info.application == Some(master) && block.pid != master);
    all
}

/// The entry of an application in the list, as a key that its master holds. It is added before the first step of the
/// master, and removed before links and monitors of the master are notified, whatever ended it.
pub(crate) struct ListEntry(pub(crate) Arc<ApplicationState>);

impl Via for ListEntry {
    fn whereis(&self) -> Option<Pid> {
        find(&self.0.name).map(|(master, _)| master)
    }

    fn register(&self, master: Pid) -> Result<(), NameError> {
        let mut list = APPLICATIONS.lock();
        // A holder that is exiting still counts, unlike that of a name: its application has ended only when the entry
        // is removed.
        if let Some((holder, _)) = list.iter().find(|(_, state)| state.name == self.0.name) {
            return Err(NameError::Taken(*holder));
        }
        list.push((master, Arc::clone(&self.0)));
        Ok(())
    }

    fn unregister(&self, master: Pid) {
        // No effect if the master has finished and set the reason.
        self.0.set_exit_reason(ExitReason::Killed);
        // A master that was killed, perhaps while stuck in a callback, has not killed the remaining processes. None
        // escapes: since its cleanup started, no process can be started in its application.
        for process in processes_of(master) {
            exit(process.pid, ExitReason::Kill);
        }
        let mut list = APPLICATIONS.lock();
        let removed = list.iter().position(|(holder, _)| *holder == master).map(|at| list.remove(at));
        drop(list);
        drop(removed); // it contains exit reasons, whose destructors are user code: not under the lock
    }
}

impl fmt::Debug for ListEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "application {}", self.0.name)
    }
}
