//! One application as everybody sees it, from its start to its end, and the list of all there are. The master
//! writes it, `client` and `plan` read it.

use std::fmt;
use std::sync::Arc;

use once_cell::sync::OnceCell;

use crate::application::error::ApplicationError;
use crate::application::exit::ApplicationExit;
use crate::child_spec::StartError;
use crate::gen_server::server_ref::ServerRef;
use crate::pid::Pid;
use crate::process::control::block::ProcessBlock;
use crate::process::control::table;
use crate::process::error::NameError;
use crate::process::names::via::Via;
use crate::process::signals::exit::exit;
use crate::reason::ExitReason;
use crate::supervisor::server::Supervisor;
use crate::sync::Mutex;

/// What is known of one application.
pub(crate) struct ApplicationState {
    pub(crate) name: Arc<str>,
    /// Where its top supervisor notes that it gave up.
    pub(crate) gave_up: Arc<OnceCell<String>>,
    top: OnceCell<ServerRef<Supervisor>>,
    /// Why it did not start.
    start_error: OnceCell<StartError>,
    stopping: OnceCell<()>,
    exit_reason: OnceCell<ExitReason>,
}

impl ApplicationState {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            gave_up: Arc::default(),
            top: OnceCell::new(),
            start_error: OnceCell::new(),
            stopping: OnceCell::new(),
            exit_reason: OnceCell::new(),
        }
    }

    pub(crate) fn set_top(&self, top: ServerRef<Supervisor>) {
        let _ = self.top.set(top); // once in its life, as all of these
    }

    pub(crate) fn set_start_error(&self, error: StartError) {
        let _ = self.start_error.set(error);
    }

    /// From here on nobody may count on it.
    pub(crate) fn set_stopping(&self) {
        let _ = self.stopping.set(());
    }

    pub(crate) fn set_exit_reason(&self, reason: ExitReason) {
        let _ = self.exit_reason.set(reason);
    }

    /// The top supervisor; `None` as long as it starts, or if it did not.
    pub(crate) fn top(&self) -> Option<&ServerRef<Supervisor>> {
        self.top.get()
    }

    pub(crate) fn start_error(&self) -> Option<StartError> {
        self.start_error.get().cloned()
    }

    /// Whether it has started and its end has not begun.
    pub(crate) fn is_running(&self) -> bool {
        self.top.get().is_some() && self.stopping.get().is_none() && self.exit_reason.get().is_none()
    }

    /// How it ended, once it has.
    pub(crate) fn application_exit(&self) -> ApplicationExit {
        if let Some(error) = self.start_error() {
            return ApplicationExit::NotStarted(ApplicationError::Failed(error));
        }
        match self.gave_up.get() {
            Some(why) => ApplicationExit::GaveUp(why.as_str().into()),
            None => ApplicationExit::Stopped(self.exit_reason.get().cloned().unwrap_or(ExitReason::Killed)),
        }
    }
}

/// Those that are being started, run, or are being stopped, with their masters, in the order of their start.
static APPLICATIONS: Mutex<Vec<(Pid, Arc<ApplicationState>)>> = Mutex::new(Vec::new());

/// The application of this name and its master.
pub(crate) fn find(name: &str) -> Option<(Pid, Arc<ApplicationState>)> {
    APPLICATIONS.lock().iter().find(|(_, state)| *state.name == *name).cloned()
}

/// The names of those that run.
pub(crate) fn running() -> Vec<Arc<str>> {
    let list = APPLICATIONS.lock();
    list.iter().filter(|(_, state)| state.is_running()).map(|(_, state)| Arc::clone(&state.name)).collect()
}

/// What began under a master, or under one that did; also the dead, as long as some of those linked to them have not
/// been told: when an application has ended, whoever asks for the end of a process of it is answered at once.
pub(crate) fn processes_of(master: Pid) -> Vec<Arc<ProcessBlock>> {
    let mut all = table::all_until_notified();
    all.retain(|block| block.spawn_info.application == Some(master) && block.pid != master);
    all
}

/// An application's place in the list, as a key that its master holds: entered before the master's first step,
/// and struck off before anybody hears of its end, whatever that end is.
pub(crate) struct ListEntry(pub(crate) Arc<ApplicationState>);

impl Via for ListEntry {
    fn whereis(&self) -> Option<Pid> {
        find(&self.0.name).map(|(master, _)| master)
    }

    fn register(&self, master: Pid) -> Result<(), NameError> {
        let mut list = APPLICATIONS.lock();
        // Also if its end is decided: it is through when it is struck off.
        if let Some((holder, _)) = list.iter().find(|(_, state)| state.name == self.0.name) {
            return Err(NameError::Taken(*holder));
        }
        list.push((master, Arc::clone(&self.0)));
        Ok(())
    }

    fn unregister(&self, master: Pid) {
        self.0.set_exit_reason(ExitReason::Killed); // if the master did not come to say more
        // Nor perhaps to kill what is left: it was killed, and may be stuck in a callback. From the beginning of its
        // burial on nothing is born into its application any more, so none escapes.
        for process in processes_of(master) {
            exit(process.pid, ExitReason::Kill);
        }
        let mut list = APPLICATIONS.lock();
        let removed = list.iter().position(|(holder, _)| *holder == master).map(|at| list.remove(at));
        drop(list);
        drop(removed); // with the reasons in it, whose destructors are the user's
    }
}

impl fmt::Debug for ListEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "application {}", self.0.name)
    }
}
