//! Starts the definitions of a script, alone or under a supervisor, and logs the outcome.

use std::fmt;
use std::sync::Arc;

use rethread::gen_server::{GenServerExt, InitError, ServerRef};
use rethread::process::{self, NameError, Via};
use rethread::supervisor::{
    ChildSpec, DynamicSupervisor, DynamicSupervisorRef, DynamicSupervisorSpec, Supervise, SupervisorRef,
    SupervisorSpec,
};
use rethread::{ExitReason, Pid, StartError};

use super::board::{Board, Role};
use super::boss::Boss;
use super::script::{ChildDef, Flags, Kind, SupDef};
use super::server::{Part, Scripted};

/// Starts a supervisor, linked to the caller.
pub(super) fn start_supervisor(
    board: &Arc<Board>,
    label: &str,
    kind: Option<Kind>,
) -> Result<Pid, StartError> {
    let name = Registered { board: Arc::clone(board), name: board.name(label) };
    let args = (Arc::clone(board), label.to_owned());
    let started = match kind {
        Some(Kind::Simple | Kind::Dynamic) => {
            let spec = DynamicScheme::child_spec(args).name(DynamicSupervisorRef::via(name));
            spec.start_link().map(Boss::Dynamic)
        }
        Some(Kind::Static(_)) | None => {
            Scheme::child_spec(args).name(SupervisorRef::via(name)).start_link().map(Boss::Static)
        }
    };
    noted(board, label, started.map(|supervisor| Role::Supervisor(Some(supervisor))))
}

pub(super) fn start_server(
    board: &Arc<Board>,
    label: &str,
    flags: &Flags,
    crew: Option<String>,
    linked: bool,
) -> Result<Pid, StartError> {
    let part = Part { board: Arc::clone(board), label: label.to_owned(), flags: flags.clone(), crew };
    let name = board.name(flags.get("name").unwrap_or(label));
    let mut spec = Scripted::child_spec(part).name(ServerRef::from_name(name));
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
        Role::Supervisor(supervisor) => supervisor.as_ref().and_then(Boss::whereis),
    };
    let pid = pid.ok_or(StartError::Failed(ExitReason::NoProc))?;
    board.is_up(pid, role);
    Ok(pid)
}

/// Returns the child spec of a definition; `crew` is the supervisor of the child, if that is dynamic.
pub(super) fn child(board: &Arc<Board>, definition: &ChildDef, crew: Option<&str>) -> ChildSpec {
    let ChildDef { label, flags, .. } = definition.clone();
    let board = Arc::clone(board);
    let id = label.clone();
    let crew = crew.map(str::to_owned);
    let start = move || match board.supervisor(&label) {
        Some(definition) => start_supervisor(&board, &label, definition.kind),
        None => start_server(&board, &label, &flags, crew.clone(), true),
    };
    ChildSpec::new(id, start)
        .restart(definition.restart)
        .shutdown(definition.shutdown)
        .child_type(definition.child_type)
        .significant(definition.significant)
}

/// A scripted supervisor: reads its definition each time it starts.
struct Scheme;

/// Like [`Scheme`], for dynamic supervisors.
struct DynamicScheme;

fn read(board: &Board, label: &str) -> Result<SupDef, InitError> {
    let me = process::current().expect("init runs in a process");
    board.starting(me, label, Role::Supervisor(None), None);
    Ok(board.supervisor(label).ok_or(ExitReason::new("no definition"))?)
}

impl Supervise for DynamicScheme {
    type Args = (Arc<Board>, String);
    type Spec = DynamicSupervisorSpec;

    fn init((board, label): Self::Args) -> Result<DynamicSupervisorSpec, InitError> {
        let definition = read(&board, &label)?;
        let plan = DynamicSupervisor::child_spec().max_restarts(definition.intensity, definition.period);
        Ok(match definition.max_children {
            Some(limit) => plan.max_children(limit),
            None => plan,
        })
    }
}

impl Supervise for Scheme {
    type Args = (Arc<Board>, String);
    type Spec = SupervisorSpec;

    fn init((board, label): Self::Args) -> Result<SupervisorSpec, InitError> {
        let definition = read(&board, &label)?;
        let Some(Kind::Static(strategy)) = definition.kind else {
            return Err(ExitReason::new("no such strategy").into());
        };
        Ok(SupervisorSpec::new(strategy)
            .max_restarts(definition.intensity, definition.period)
            .auto_shutdown(definition.auto_shutdown)
            .children(definition.children.iter().map(|definition| child(&board, definition, None))))
    }
}

/// A name that logs the exit of its holder: it is released before any other process is notified.
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
        self.board.note_exit(pid);
    }
}
