//! A database worker: the one process that has a certain shard open. The database starts three of them;
//! its client functions talk to them by name.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rethread::{Spec, prelude::*};

use super::list::{Event, TodoList};
use super::misdeed::Misdeed;
use super::name::ListName;
use super::store::{Store, StoreError};

/// How many shards, and workers, there are.
pub(crate) const SHARDS: usize = 3;

/// The workers by name, each the one of its shard.
pub(crate) static WORKERS: [ServerRef<DbWorker>; SHARDS] =
    [ServerRef::named("db.worker.0"), ServerRef::named("db.worker.1"), ServerRef::named("db.worker.2")];

/// So many changes are written together at most. More could only pile up if that many lists changed at once.
const BATCH: usize = 256;

/// How long a worker that is told to end may take to finish what it is writing, or checking, if nobody says otherwise. Its
/// file is locked until then, and its successor waits for it.
pub(crate) const FINISHING: Duration = Duration::from_secs(30);

/// How the worker of a shard is started: under its name, with time to finish.
pub(crate) fn spec(dir: &Arc<Path>, shard: usize, finishing: Duration) -> Spec<DbWorker> {
    DbWorker::child_spec((Arc::clone(dir), shard))
        .name(WORKERS[shard].clone())
        .kill_grace(finishing)
        .exit_deadline(finishing)
}

/// Owns one shard and commits in groups: it collects changes as long as its mailbox has some, then writes
/// all of them in one transaction and answers everybody. One sync of the disk serves many clients, and
/// `Ok` still means "on disk".
pub(crate) struct DbWorker {
    store: Store,
    batch: Vec<(ListName, Event)>,
    waiting: Vec<Caller<Result<(), StoreError>>>,
}

/// What a worker can be asked.
pub(crate) enum Ask {
    /// To write this change; answered when it is on disk.
    Append(ListName, Event, Caller<Result<(), StoreError>>),
    /// For a list as it is kept.
    Load(ListName, Caller<Result<TodoList, StoreError>>),
    /// For the names of all lists of the shard.
    Lists(Caller<Result<Vec<ListName>, StoreError>>),
}

/// What a worker can be told.
pub(crate) enum Tell {
    /// To do something wrong, for a show or a test.
    Misbehave(Misdeed),
}

impl GenServer for DbWorker {
    type Args = (Arc<Path>, usize);
    type Call = Ask;
    type Cast = Tell;

    fn init((dir, shard): Self::Args, _: &mut Context<Self>) -> Result<Self, Stop> {
        Ok(DbWorker { store: Store::open(&dir, shard, SHARDS)?, batch: Vec::new(), waiting: Vec::new() })
    }

    fn handle_call(&mut self, ask: Ask, _: &mut Context<Self>) -> Next {
        match ask {
            Ask::Append(list, event, from) => {
                self.batch.push((list, event));
                self.waiting.push(from);
                if self.batch.len() < BATCH { Next::wait().timeout(Duration::ZERO) } else { self.commit() }
            }
            // A read sees every change that was sent before it.
            Ask::Load(list, from) => {
                let next = self.commit();
                from.send(self.store.load(&list));
                next
            }
            Ask::Lists(from) => {
                let next = self.commit();
                from.send(self.store.lists());
                next
            }
        }
    }

    fn handle_cast(&mut self, Tell::Misbehave(misdeed): Tell, cx: &mut Context<Self>) -> Next {
        misdeed.commit(&format!("database worker {}", cx.me()))
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
        let waiting = std::mem::take(&mut self.waiting);
        match self.store.append(&batch) {
            // One change that does not fit is not to fail its neighbours.
            Err(error) if batch.len() > 1 && harmless(&error) => {
                for (change, from) in batch.into_iter().zip(waiting) {
                    let result = self.store.append(&[change]);
                    let fatal = result.as_ref().err().filter(|error| !harmless(error)).cloned();
                    from.send(result);
                    if let Some(error) = fatal {
                        return Next::stop(ExitReason::error(error)); // the others' callers are told so
                    }
                }
                Next::wait()
            }
            result => {
                for from in waiting {
                    from.send(result.clone());
                }
                match result {
                    Err(error) if !harmless(&error) => Next::stop(ExitReason::error(error)),
                    _ => Next::wait(),
                }
            }
        }
    }
}

/// Whether the store goes on after this error.
fn harmless(error: &StoreError) -> bool {
    matches!(error, StoreError::Stale { .. } | StoreError::WrongShard { .. })
}
