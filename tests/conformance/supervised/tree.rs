//! Starting what a script defines, alone or under a supervisor, and noting how that went.

use std::fmt;
use std::sync::Arc;

use rethread::process::{self, NameError, Via};
use rethread::{ChildSpec, ExitReason, Pid, ServerRef, Start, StartError, Stop, Supervise, SupervisorSpec};

use super::board::{Board, Role};
use super::script::{ChildDef, Flags};
use super::server::{Part, Scripted};

/// Starts a supervisor, if the label is one's, or a server with these flags; linked to the caller.
pub(super) fn start(board: &Arc<Board>, label: &str, flags: &Flags) -> Result<Pid, StartError> {
    if board.supervisor(label).is_none() {
        return start_server(board, label, flags, true);
    }
    let name = Registered { board: Arc::clone(board), name: board.name(label) };
    let started = Scheme::child_spec((Arc::clone(board), label.to_owned()))
        .name(ServerRef::via(name))
        .start_link()
        .map(|supervisor| Role::Supervisor(Some(supervisor)));
    noted(board, label, started)
}

pub(super) fn start_server(
    board: &Arc<Board>,
    label: &str,
    flags: &Flags,
    linked: bool,
) -> Result<Pid, StartError> {
    let part = Part { board: Arc::clone(board), label: label.to_owned(), flags: flags.clone() };
    let name = board.name(flags.get("name").unwrap_or(label));
    let mut spec = Scripted::child_spec(part).name(ServerRef::with_name(name));
    if let Some(limit) = flags.millis("start_timeout") {
        spec = spec.start_timeout(limit);
    }
    let started = if linked { spec.start_link() } else { spec.start() };
    noted(board, label, started.map(Role::Server))
}

fn noted(board: &Board, label: &str, started: Result<Role, StartError>) -> Result<Pid, StartError> {
    let role = started.inspect_err(|error| board.fails(label, error))?;
    let pid = match &role {
        Role::Server(server) => server.whereis(),
        Role::Supervisor(supervisor) => supervisor.as_ref().and_then(ServerRef::whereis),
    };
    let pid = pid.ok_or(StartError::Failed(ExitReason::NoProc))?;
    board.is_up(pid, role);
    Ok(pid)
}

/// A child as a supervisor takes it.
pub(super) fn child(board: &Arc<Board>, definition: &ChildDef) -> ChildSpec {
    let ChildDef { label, flags, .. } = definition.clone();
    let board = Arc::clone(board);
    let id = label.clone();
    ChildSpec::new(id, move || start(&board, &label, &flags))
        .restart(definition.restart)
        .shutdown(definition.shutdown)
        .child_type(definition.child_type)
        .significant(definition.significant)
}

/// A scripted supervisor: its definition is read each time it starts.
struct Scheme;

impl Supervise for Scheme {
    type Args = (Arc<Board>, String);

    fn init((board, label): Self::Args) -> Result<SupervisorSpec, Stop> {
        let me = process::current().expect("init runs in a process");
        board.born(me, &label, Role::Supervisor(None));
        let definition = board.supervisor(&label).ok_or(ExitReason::new("no definition"))?;
        let strategy = definition.strategy.ok_or(ExitReason::new("no such strategy"))?;
        Ok(SupervisorSpec::new(strategy)
            .max_restarts(definition.intensity, definition.period)
            .auto_shutdown(definition.auto_shutdown)
            .children(definition.children.iter().map(|definition| child(&board, definition))))
    }
}

/// A name that notes when its holder dies: it is given back before anybody hears of that.
struct Registered {
    board: Arc<Board>,
    name: String,
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Via for Registered {
    fn whereis(&self) -> Option<Pid> {
        process::whereis(&self.name)
    }

    fn register(&self, pid: Pid) -> Result<(), NameError> {
        process::register(self.name.as_str(), pid)
    }

    fn unregister(&self, pid: Pid) {
        self.board.dies(pid);
    }
}
