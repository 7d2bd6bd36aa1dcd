//! A database worker: the one process that has a certain shard open. The database starts three of them;
//! its client functions talk to them by name.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rethread::{ServerSpec, prelude::*};

use super::fault::HandlerFault;
use super::list::{Event, TodoList};
use super::name::ListName;
use super::store::{Store, StoreError};

/// How many shards, and workers, there are.
pub(crate) const SHARDS: usize = 3;

/// The workers by name, each the one of its shard.
pub(crate) static WORKERS: [ServerRef<DbWorker>; SHARDS] =
    [ServerRef::named("db.worker.0"), ServerRef::named("db.worker.1"), ServerRef::named("db.worker.2")];

/// So many changes are written together at most. More could only pile up if that many lists changed at once.
const MAX_BATCH_LEN: usize = 256;

/// How long a worker that is told to end may take to finish what it is writing, or checking, if nobody says otherwise. Its
/// file is locked until then, and its successor waits for it.
pub(crate) const DEFAULT_FINISH_TIMEOUT: Duration = Duration::from_secs(30);

/// How the worker of a shard is started: under its name, with time to finish.
pub(crate) fn spec(dir: &Arc<Path>, shard: usize, finish_timeout: Duration) -> ServerSpec<DbWorker> {
    DbWorker::child_spec((Arc::clone(dir), shard))
        .name(WORKERS[shard].clone())
        .kill_grace(finish_timeout)
        .exit_timeout(finish_timeout)
}

/// Owns one shard and commits in groups: it collects changes as long as its mailbox has some, then writes
/// all of them in one transaction and answers everybody. One sync of the disk serves many clients, and
/// `Ok` still means "on disk".
pub(crate) struct DbWorker {
    store: Store,
    batch: Vec<(ListName, Event)>,
    pending: Vec<Caller<Result<(), StoreError>>>,
}

/// What a worker can be asked.
pub(crate) enum WorkerCall {
    /// To write this change; answered when it is on disk.
    Append(ListName, Event, Caller<Result<(), StoreError>>),
    /// For a list as it is kept.
    Load(ListName, Caller<Result<TodoList, StoreError>>),
    /// For the names of all lists of the shard.
    Lists(Caller<Result<Vec<ListName>, StoreError>>),
}

/// What a worker can be told.
pub(crate) enum WorkerCast {
    /// To do something wrong, for a show or a test.
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
            // A read sees every change that was sent before it.
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
            Info::Timeout => self.commit(), // no message waits: it is time to write
            _ => Next::wait(),
        }
    }
}

impl DbWorker {
    /// Writes what was collected and answers everybody. Ends the worker if the store is of no more use.
    fn commit(&mut self) -> Next {
        let batch = std::mem::take(&mut self.batch);
        let pending = std::mem::take(&mut self.pending);
        match self.store.append(&batch) {
            // One change that does not fit is not to fail its neighbours.
            Err(error) if batch.len() > 1 && is_recoverable(&error) => {
                for (change, from) in batch.into_iter().zip(pending) {
                    let result = self.store.append(&[change]);
                    let fatal = result.as_ref().err().filter(|error| !is_recoverable(error)).cloned();
                    from.reply_now(result);
                    if let Some(error) = fatal {
                        return Next::stop(ExitReason::error(error)); // the others' callers are told so
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

/// Whether the store goes on after this error.
fn is_recoverable(error: &StoreError) -> bool {
    matches!(error, StoreError::Stale { .. } | StoreError::WrongShard { .. })
}
