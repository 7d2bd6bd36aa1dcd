//! A database worker: the one process that has a certain shard open. There are three of them, reached by
//! name.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rethread::gen_server::ServerSpec;
use rethread::prelude::*;

use super::fault::HandlerFault;
use super::list::{Event, TodoList};
use super::name::ListName;
use super::store::{Store, StoreError};

/// The number of shards, and of workers.
pub(crate) const SHARDS: usize = 3;

/// The workers by name, in the order of their shards.
pub(crate) static WORKERS: [ServerRef<DbWorker>; SHARDS] =
    [ServerRef::named("db.worker.0"), ServerRef::named("db.worker.1"), ServerRef::named("db.worker.2")];

/// The maximum number of changes in one transaction.
const MAX_BATCH_LEN: usize = 256;

/// The default for how long a worker may take after an exit signal to finish what it is writing or checking.
/// Its file is locked until then, and its successor waits for it.
pub(crate) const DEFAULT_FINISH_TIMEOUT: Duration = Duration::from_secs(30);

/// The folder of the data, shared by all workers and their successors.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    /// The shards that were opened before.
    opened: [AtomicBool; SHARDS],
}

impl DataFolder {
    pub(crate) fn new(path: impl AsRef<Path>) -> Arc<Self> {
        Arc::new(Self { path: path.as_ref().to_owned(), opened: Default::default() })
    }

    /// Opens a shard. A folder that cannot be used is an error of the first start, which the user gets at once. A worker
    /// that is restarted while the folder cannot be used starts with a closed store: an error would end the whole system
    /// after a few restarts.
    fn open(&self, shard: usize) -> Result<Store, StoreError> {
        if self.opened[shard].load(Ordering::Relaxed) {
            return Store::open_again(&self.path, shard, SHARDS);
        }
        let store = Store::open(&self.path, shard, SHARDS)?;
        self.opened[shard].store(true, Ordering::Relaxed);
        Ok(store)
    }
}

/// Returns the child specification of the worker of a shard.
pub(crate) fn spec(folder: &Arc<DataFolder>, shard: usize, finish_timeout: Duration) -> ServerSpec<DbWorker> {
    let process = process::Builder::new().kill_grace(finish_timeout).exit_timeout(finish_timeout);
    DbWorker::child_spec((Arc::clone(folder), shard)).name(WORKERS[shard].clone()).process(process)
}

/// A server that owns one shard and commits in groups: it collects changes while its mailbox has some, then
/// writes all of them in one transaction and replies to all callers. One disk sync serves many clients, and
/// `Ok` still means "on disk".
///
/// An error of the store does not end the worker: a restart would not free a full disk, and the reads would be gone too.
/// The store gives every caller the reason, and recovers by itself.
pub(crate) struct DbWorker {
    store: Store,
    batch: Vec<(ListName, Event)>,
    pending: Vec<Caller<Result<(), StoreError>>>,
}

/// The calls of a worker.
pub(crate) enum WorkerCall {
    /// Writes a change; the reply is sent when it is on disk.
    Append(ListName, Event, Caller<Result<(), StoreError>>),
    /// Loads a list.
    Load(ListName, Caller<Result<TodoList, StoreError>>),
    /// Returns the names of all lists of the shard.
    Lists(Caller<Result<Vec<ListName>, StoreError>>),
}

/// The casts of a worker.
pub(crate) enum WorkerCast {
    /// Executes a fault, for a demonstration or a test.
    Inject(HandlerFault),
}

impl GenServer for DbWorker {
    type Args = (Arc<DataFolder>, usize);
    type Call = WorkerCall;
    type Cast = WorkerCast;

    fn init((folder, shard): Self::Args, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(DbWorker { store: folder.open(shard)?, batch: Vec::new(), pending: Vec::new() })
    }

    fn handle_call(&mut self, call: WorkerCall, _: &mut Context<Self>) -> Next {
        match call {
            WorkerCall::Append(list, event, from) => {
                self.batch.push((list, event));
                self.pending.push(from);
                if self.batch.len() < MAX_BATCH_LEN {
                    return Next::wait().timeout(Duration::ZERO);
                }
                self.commit();
            }
            // A read must see every change that was sent before it: commit first.
            WorkerCall::Load(list, from) => {
                self.commit();
                from.reply_now(self.store.load(&list));
            }
            WorkerCall::Lists(from) => {
                self.commit();
                from.reply_now(self.store.lists());
            }
        }
        Next::wait()
    }

    fn handle_cast(&mut self, WorkerCast::Inject(fault): WorkerCast, cx: &mut Context<Self>) -> Next {
        fault.execute(&format!("database worker {}", cx.pid()))
    }

    fn handle_info(&mut self, info: Info, _: &mut Context<Self>) -> Next {
        if matches!(info, Info::Timeout) {
            self.commit(); // the mailbox is empty
        }
        Next::wait()
    }
}

impl DbWorker {
    /// Writes the collected changes and replies to their callers.
    fn commit(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let pending = std::mem::take(&mut self.pending);
        match self.store.append(&batch) {
            // One change that does not fit must not fail the others: write each alone.
            Err(error) if batch.len() > 1 && error.is_refusal() => {
                for (change, from) in batch.into_iter().zip(pending) {
                    from.reply_now(self.store.append(&[change]));
                }
            }
            result => pending.into_iter().for_each(|from| from.reply_now(result.clone())),
        }
    }
}
