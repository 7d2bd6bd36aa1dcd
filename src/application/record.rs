//! One application as everybody sees it, from its start to its end, and the list of all there are. The master
//! writes it, `client` and `plan` read it.

use std::fmt;
use std::sync::Arc;

use once_cell::sync::OnceCell;

use crate::application::ending::Ending;
use crate::application::error::ApplicationError;
use crate::child_spec::StartError;
use crate::gen_server::handle::ServerRef;
use crate::pid::Pid;
use crate::process::block::Block;
use crate::process::exit::exit;
use crate::process::names::{NameError, Via};
use crate::process::table;
use crate::reason::ExitReason;
use crate::supervisor::server::Supervisor;
use crate::sync::Mutex;

/// What is known of one application.
pub(crate) struct Record {
    pub(crate) name: Arc<str>,
    /// Where its top supervisor notes that it gave up.
    pub(crate) gave_up: Arc<OnceCell<String>>,
    top: OnceCell<ServerRef<Supervisor>>,
    /// Why it did not start.
    refused: OnceCell<StartError>,
    stopping: OnceCell<()>,
    ended: OnceCell<ExitReason>,
}

impl Record {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            gave_up: Arc::default(),
            top: OnceCell::new(),
            refused: OnceCell::new(),
            stopping: OnceCell::new(),
            ended: OnceCell::new(),
        }
    }

    pub(crate) fn started(&self, top: ServerRef<Supervisor>) {
        let _ = self.top.set(top); // once in its life, as all of these
    }

    pub(crate) fn refused(&self, error: StartError) {
        let _ = self.refused.set(error);
    }

    /// From here on nobody may count on it.
    pub(crate) fn stopping(&self) {
        let _ = self.stopping.set(());
    }

    pub(crate) fn ended(&self, reason: ExitReason) {
        let _ = self.ended.set(reason);
    }

    /// The top supervisor; `None` as long as it starts, or if it did not.
    pub(crate) fn top(&self) -> Option<&ServerRef<Supervisor>> {
        self.top.get()
    }

    pub(crate) fn refusal(&self) -> Option<StartError> {
        self.refused.get().cloned()
    }

    /// Whether it has started and its end has not begun.
    pub(crate) fn is_running(&self) -> bool {
        self.top.get().is_some() && self.stopping.get().is_none() && self.ended.get().is_none()
    }

    /// How it ended, once it has.
    pub(crate) fn ending(&self) -> Ending {
        if let Some(error) = self.refusal() {
            return Ending::NotStarted(ApplicationError::Failed(error));
        }
        match self.gave_up.get() {
            Some(why) => Ending::GaveUp(why.as_str().into()),
            None => Ending::Ended(self.ended.get().cloned().unwrap_or(ExitReason::Killed)),
        }
    }
}

/// Those that are being started, run, or are being stopped, with their masters, in the order of their start.
static LIST: Mutex<Vec<(Pid, Arc<Record>)>> = Mutex::new(Vec::new());

/// The application of this name and its master.
pub(crate) fn find(name: &str) -> Option<(Pid, Arc<Record>)> {
    LIST.lock().iter().find(|(_, record)| *record.name == *name).cloned()
}

/// The names of those that run.
pub(crate) fn running() -> Vec<Arc<str>> {
    let list = LIST.lock();
    list.iter()
        .filter(|(_, record)| record.is_running())
        .map(|(_, record)| Arc::clone(&record.name))
        .collect()
}

/// What began under a master, or under one that did; also the dead, as long as some of those linked to them have not
/// been told: when an application has ended, whoever asks for the end of a process of it is answered at once.
pub(crate) fn belongings(master: Pid) -> Vec<Arc<Block>> {
    let mut all = table::all_until_links_are_told();
    all.retain(|block| block.birth.application == Some(master) && block.pid != master);
    all
}

/// An application's place in the list, as a key that its master holds: entered before the master's first step,
/// and struck off before anybody hears of its end, whatever that end is.
pub(crate) struct Place(pub(crate) Arc<Record>);

impl Via for Place {
    fn whereis(&self) -> Option<Pid> {
        find(&self.0.name).map(|(master, _)| master)
    }

    fn register(&self, master: Pid) -> Result<(), NameError> {
        let mut list = LIST.lock();
        // Also if its end is decided: it is through when it is struck off.
        if let Some((holder, _)) = list.iter().find(|(_, record)| record.name == self.0.name) {
            return Err(NameError::Taken(*holder));
        }
        list.push((master, Arc::clone(&self.0)));
        Ok(())
    }

    fn unregister(&self, master: Pid) {
        self.0.ended(ExitReason::Killed); // if the master did not come to say more
        // Nor perhaps to kill what is left: it was killed, and may be stuck in a callback. From the beginning of its
        // burial on nothing is born into its application any more, so none escapes.
        for process in belongings(master) {
            exit(process.pid, ExitReason::Kill);
        }
        let mut list = LIST.lock();
        let gone = list.iter().position(|(holder, _)| *holder == master).map(|at| list.remove(at));
        drop(list);
        drop(gone); // with the reasons in it, whose destructors are the user's
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "application {}", self.0.name)
    }
}
