//! The database: starts the three workers, and has the functions with which list servers store and load. It
//! is a server, or a supervisor in the shapes in which each worker is supervised. Requests go to the workers
//! directly.

use std::sync::Arc;
use std::time::Duration;

use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::supervisor::SupervisorSpec;

use super::error::TodoError;
use super::fault::HandlerFault;
use super::list::{Event, TodoList};
use super::name::ListName;
use super::store::{StoreError, shard_of};
use super::worker::{self, DataFolder, DbWorker, SHARDS, WORKERS};

/// The database, by name.
pub(crate) const DATABASE: ServerRef<Database> = ServerRef::named("database");

/// The supervisor of the workers, in the shapes in which it takes the place of the database.
pub(crate) const POOL: SupervisorRef = SupervisorRef::named("db.workers");

/// How long a request waits for a worker that is being restarted.
const WORKER_RESTART_TIMEOUT: Duration = Duration::from_secs(1);

/// A server that only starts the workers. The name of a list determines its worker.
pub(crate) struct Database;

/// The start arguments of the database server.
#[derive(Debug, Clone)]
pub(crate) struct DatabaseArgs {
    /// The folder of the data.
    pub(crate) folder: Arc<DataFolder>,
    /// Whether it is linked to its workers.
    pub(crate) links: bool,
}

/// The casts of the database.
pub(crate) enum DatabaseCast {
    /// Executes a fault, for a demonstration or a test.
    Inject(HandlerFault),
}

impl GenServer for Database {
    type Args = DatabaseArgs;
    type Call = Infallible;
    type Cast = DatabaseCast;

    fn init(DatabaseArgs { folder, links }: Self::Args, _: &mut Context<Self>) -> Result<Self, InitError> {
        for shard in 0..SHARDS {
            let worker = worker::spec(&folder, shard, worker::DEFAULT_FINISH_TIMEOUT);
            if links {
                worker.start_link()?
            } else {
                worker.start()?
            };
        }
        Ok(Database)
    }

    fn handle_call(&mut self, never: Infallible, _: &mut Context<Self>) -> Next {
        match never {}
    }

    fn handle_cast(&mut self, DatabaseCast::Inject(fault): DatabaseCast, _: &mut Context<Self>) -> Next {
        fault.execute("the database")
    }
}

/// Returns the supervisor of the workers, which restarts each of them alone.
pub(crate) fn pool(folder: &Arc<DataFolder>, finish_timeout: Duration) -> SupervisorSpec {
    let pool = Supervisor::one_for_one().name(POOL);
    (0..SHARDS).fold(pool, |pool, shard| {
        let worker = worker::spec(folder, shard, finish_timeout);
        pool.child(worker.id(WORKERS[shard].to_string()))
    })
}

/// Returns the worker of a list. It is always the same one, so reads of a list are ordered after its writes,
/// and two writes of one list never overlap.
pub(crate) fn choose_worker(list: &ListName) -> &'static ServerRef<DbWorker> {
    &WORKERS[shard_of(list, SHARDS)]
}

/// Stores a change. `Ok` means that it is on disk.
///
/// If the worker exits before it replies, the same event is sent to its successor, once. This cannot create a
/// duplicate, whether or not the first attempt was written: the event has the id of its entry, and the store
/// ignores an event that it has already.
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
            match (first, attempt()) {
                // The successor did not receive the event or could not write it, but the first worker may have done so.
                (
                    first @ CallError::Exited { .. },
                    Err(CallError::NoProc { .. }) | Ok(Err(StoreError::NotWritable { .. })),
                ) => Err(first),
                (_, second) => second,
            }
        }
        answer => answer,
    };
    Ok(answer.map_err(TodoError::of_change)??)
}

/// Loads a list.
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

/// Returns the names of all lists that ever had an entry, sorted.
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
