//! The database: what starts the three workers, and the functions by which list servers store and load. Up to
//! chapter 9 a process, then a supervisor; no request passes through either.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rethread::prelude::*;

use super::error::TodoError;
use super::fault::HandlerFault;
use super::list::{Event, TodoList};
use super::name::ListName;
use super::store::shard_of;
use super::worker::{self, DbWorker, SHARDS, WORKERS};

/// The database as a process, whichever it is at the moment.
pub(crate) const DATABASE: ServerRef<Database> = ServerRef::named("database");

/// The database as a supervisor, under the same name.
pub(crate) const POOL: ServerRef<Supervisor> = ServerRef::named("database");

/// How long a request waits for a worker that is being started again.
const WORKER_RESTART_TIMEOUT: Duration = Duration::from_secs(1);

/// Starts the workers, and does no more. Which worker keeps a list follows from the list's name.
pub(crate) struct Database;

/// What a database process is started with.
#[derive(Debug, Clone)]
pub(crate) struct DatabaseArgs {
    /// The folder of the data.
    pub(crate) dir: Arc<Path>,
    /// Whether it is linked with its workers.
    pub(crate) links: bool,
}

/// What the database can be told.
pub(crate) enum DatabaseCast {
    /// To do something wrong, for a show or a test.
    Inject(HandlerFault),
}

impl GenServer for Database {
    type Args = DatabaseArgs;
    type Call = Never;
    type Cast = DatabaseCast;

    fn init(DatabaseArgs { dir, links }: Self::Args, _: &mut Context<Self>) -> Result<Self, InitError> {
        for shard in 0..SHARDS {
            let worker = worker::spec(&dir, shard, worker::DEFAULT_FINISH_TIMEOUT);
            if links {
                worker.start_link()?
            } else {
                worker.start()?
            };
        }
        Ok(Database)
    }

    fn handle_call(&mut self, never: Never, _: &mut Context<Self>) -> Next {
        match never {}
    }

    fn handle_cast(&mut self, DatabaseCast::Inject(fault): DatabaseCast, _: &mut Context<Self>) -> Next {
        fault.execute("the database")
    }
}

/// The database as a supervisor of its workers: any of them is started again alone.
pub(crate) fn pool(dir: &Arc<Path>, finish_timeout: Duration) -> SupervisorSpec {
    let pool = Supervisor::one_for_one().name(POOL);
    (0..SHARDS).fold(pool, |pool, shard| {
        let worker = worker::spec(dir, shard, finish_timeout);
        pool.child(worker.id(WORKERS[shard].to_string()))
    })
}

/// The worker that keeps the list, always the same one: a list's reads come after its writes, and no two
/// writes of one list ever race.
pub(crate) fn choose_worker(list: &ListName) -> &'static ServerRef<DbWorker> {
    &WORKERS[shard_of(list, SHARDS)]
}

/// Stores a change. `Ok` means that it is on disk.
///
/// If the worker dies meanwhile, the very same event goes to its successor, once. That cannot store an entry
/// twice, whether or not the first attempt came through: the event carries its entry's id, and a store
/// writes an event that it has already as little as it writes it anew.
///
/// # Errors
///
/// [`TodoError::Store`], [`TodoError::Unavailable`], [`TodoError::Unanswered`].
pub(crate) fn append(list: &ListName, event: &Event) -> Result<(), TodoError> {
    let worker = choose_worker(list);
    let attempt = || worker.call(|from| worker::WorkerCall::Append(list.clone(), event.clone(), from));
    let answer = match attempt() {
        Err(first @ (CallError::NoProc { .. } | CallError::Exited { .. })) => {
            worker.whereis_timeout(WORKER_RESTART_TIMEOUT);
            attempt().map_err(|second| match (first, second) {
                // The successor never got it, but the first one may have.
                (first @ CallError::Exited { .. }, CallError::NoProc { .. }) => first,
                (_, second) => second,
            })
        }
        answer => answer,
    };
    Ok(answer.map_err(TodoError::of_change)??)
}

/// The list as it is kept.
///
/// # Errors
///
/// [`TodoError::Store`], [`TodoError::Unavailable`].
pub(crate) fn load(list: &ListName) -> Result<TodoList, TodoError> {
    let worker = choose_worker(list);
    let attempt = || worker.call(|from| worker::WorkerCall::Load(list.clone(), from));
    let answer = match attempt() {
        Err(CallError::NoProc { .. } | CallError::Exited { .. }) => {
            worker.whereis_timeout(WORKER_RESTART_TIMEOUT);
            attempt()
        }
        answer => answer,
    };
    Ok(answer.map_err(TodoError::Unavailable)??)
}

/// The names of all lists that ever had an entry, sorted.
///
/// # Errors
///
/// [`TodoError::Store`], [`TodoError::Unavailable`].
pub(crate) fn lists() -> Result<Vec<ListName>, TodoError> {
    let mut names = Vec::new();
    for worker in &WORKERS {
        names.extend(worker.call(worker::WorkerCall::Lists).map_err(TodoError::Unavailable)??);
    }
    names.sort();
    Ok(names)
}
