//! A database worker: the one process that has a certain shard open. There are three of them, reached by
//! name.

use std::path::Path;
use std::sync::Arc;
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

/// Returns the child specification of the worker of a shard.
pub(crate) fn spec(dir: &Arc<Path>, shard: usize, finish_timeout: Duration) -> ServerSpec<DbWorker> {
    let process = process::Builder::new().kill_grace(finish_timeout).exit_timeout(finish_timeout);
    DbWorker::child_spec((Arc::clone(dir), shard)).name(WORKERS[shard].clone()).process(process)
}

/// A server that owns one shard and commits in groups: it collects changes while its mailbox has some, then
/// writes all of them in one transaction and replies to all callers. One disk sync serves many clients, and
/// `Ok` still means "on disk".
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
    type Args = (Arc<Path>, usize);
    type Call = WorkerCall;
    type Cast = WorkerCast;

    fn init((dir, shard): Self::Args, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(DbWorker { store: Store::open(&dir, shard, SHARDS)?, batch: Vec::new(), pending: Vec::new() })
    }

    fn handle_call(&mut self, call: WorkerCall, _: &mut Context<Self>) -> Next {
        match call {
            WorkerCall::Append(list, event, from) => {
                self.batch.push((list, event));
                self.pending.push(from);
                if self.batch.len() < MAX_BATCH_LEN {
                    Next::wait().timeout(Duration::ZERO)
                } else {
                    self.commit()
                }
            }
            // A read must see every change that was sent before it: commit first.
            WorkerCall::Load(list, from) => {
                let next = self.commit();
                from.reply_now(self.store.load(&list));
                next
            }
            WorkerCall::Lists(from) => {
                let next = self.commit();
                from.reply_now(self.store.lists());
                next
            }
        }
    }

    fn handle_cast(&mut self, WorkerCast::Inject(fault): WorkerCast, cx: &mut Context<Self>) -> Next {
        fault.execute(&format!("database worker {}", cx.pid()))
    }

    fn handle_info(&mut self, info: Info, _: &mut Context<Self>) -> Next {
        match info {
            Info::Timeout => self.commit(), // the mailbox is empty: commit
            _ => Next::wait(),
        }
    }
}

impl DbWorker {
    /// Writes the collected changes and replies to their callers. Stops the worker if the store cannot be
    /// used any more.
    fn commit(&mut self) -> Next {
        let batch = std::mem::take(&mut self.batch);
        let pending = std::mem::take(&mut self.pending);
        match self.store.append(&batch) {
            // One change that does not fit must not fail the others: write each alone.
            Err(error) if batch.len() > 1 && is_recoverable(&error) => {
                for (change, from) in batch.into_iter().zip(pending) {
                    let result = self.store.append(&[change]);
                    let fatal = result.as_ref().err().filter(|error| !is_recoverable(error)).cloned();
                    from.reply_now(result);
                    if let Some(error) = fatal {
                        return Next::stop(ExitReason::error(error)); // the other callers get this reason
                    }
                }
                Next::wait()
            }
            result => {
                for from in pending {
                    from.reply_now(result.clone());
                }
                match result {
                    Err(error) if !is_recoverable(&error) => Next::stop(ExitReason::error(error)),
                    _ => Next::wait(),
                }
            }
        }
    }
}

/// Returns `true` if the store can be used after this error.
fn is_recoverable(error: &StoreError) -> bool {
    matches!(error, StoreError::Stale { .. } | StoreError::WrongShard { .. })
}
