//! The client of the to-do system: add, done, edit, remove, entries, lists.
//!
//! After a crash the system recovers within milliseconds, and the methods of [`Client`] wait for that. They never send
//! a *change* twice: they retry only while it is certain that no process received the request. The error
//! [`TodoError::Unanswered`] means that this is not certain. A caller that then adds again without checking
//! the list may create a duplicate, which is why no method here does that. (A list server may send a change
//! to the store again, because there it has an id by which the store recognizes it: see
//! [`database::append`].)

use std::time::{Duration, Instant};

use rethread::gen_server::{CallError, Caller, ServerRef};
use rethread::process;

use super::cache;
use super::database;
use super::date::Date;
use super::error::TodoError;
use super::list::{Entry, EntryId};
use super::list_supervisor;
use super::name::{ListName, Title};
use super::server::{Changed, ListCall, TodoServer};
use super::shape::Shape;
use super::system::SYSTEM;

/// How long a request waits for a system that is being restarted.
const RETRY_TIMEOUT: Duration = Duration::from_secs(2);

/// Sends requests to the system of a certain shape, from any thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client {
    shape: Shape,
    expiry: Option<Duration>,
}

impl Client {
    /// Returns a client of a system of this shape. `expiry` is the idle timeout of the list servers that it
    /// starts, in [`Shape::SupervisedLists`]; `None` for never.
    pub(crate) const fn new(shape: Shape, expiry: Option<Duration>) -> Self {
        Self { shape, expiry }
    }

    /// Returns the shape of the system.
    pub(crate) fn shape(self) -> Shape {
        self.shape
    }

    /// Adds an entry; `Ok` means that it is on disk, with the returned id.
    ///
    /// # Errors
    ///
    /// Any [`TodoError`] but `NoSuchEntry`.
    pub(crate) fn add(self, list: &ListName, date: Date, title: &Title) -> Changed {
        self.change(list, |from| ListCall::Add(date, title.clone(), from))
    }

    /// Marks an entry as done; succeeds also if it is done already.
    ///
    /// # Errors
    ///
    /// Any [`TodoError`].
    pub(crate) fn done(self, list: &ListName, id: EntryId) -> Changed {
        self.change(list, |from| ListCall::Done(id, from))
    }

    /// Changes the title of an entry.
    ///
    /// # Errors
    ///
    /// Any [`TodoError`].
    pub(crate) fn edit(self, list: &ListName, id: EntryId, title: &Title) -> Changed {
        self.change(list, |from| ListCall::Edit(id, title.clone(), from))
    }

    /// Removes an entry and returns it.
    ///
    /// # Errors
    ///
    /// Any [`TodoError`].
    pub(crate) fn remove(self, list: &ListName, id: EntryId) -> Changed {
        self.change(list, |from| ListCall::Remove(id, from))
    }

    /// Returns the entries of a list, of one day or all, in the order of their ids.
    ///
    /// # Errors
    ///
    /// [`TodoError::Store`], [`TodoError::Start`], [`TodoError::Unavailable`].
    pub(crate) fn entries(self, list: &ListName, date: Option<Date>) -> Result<Vec<Entry>, TodoError> {
        retry(|| {
            let server = self.server_process(list)?;
            server.call(|from| ListCall::Entries(date, from)).map_err(TodoError::Unavailable)?
        })
    }

    /// Returns the names of all lists that ever had an entry, sorted.
    ///
    /// # Errors
    ///
    /// [`TodoError::Store`], [`TodoError::Unavailable`].
    pub(crate) fn lists(self) -> Result<Vec<ListName>, TodoError> {
        retry(database::lists)
    }

    fn change(self, list: &ListName, request: impl Fn(Caller<Changed>) -> ListCall) -> Changed {
        retry(|| self.server_process(list)?.call(&request).map_err(TodoError::of_change)?)
    }

    /// Returns the server of a list; starts it if it is not running. The reference is by name, so it stays
    /// valid when the process is replaced; except in the shapes without links, where no process is replaced.
    ///
    /// # Errors
    ///
    /// [`TodoError::Start`], [`TodoError::Unavailable`].
    pub(crate) fn server_process(self, list: &ListName) -> Result<ServerRef<TodoServer>, TodoError> {
        let server = TodoServer::of(list);
        if server.whereis().is_some() {
            return Ok(server);
        }
        match self.shape {
            Shape::SupervisedLists => list_supervisor::start(list, self.expiry).map(|()| server),
            _ => cache::server_process(list),
        }
    }
}

/// Retries until a required process is running, as long as there is a system that may start it.
fn retry<T>(mut attempt: impl FnMut() -> Result<T, TodoError>) -> Result<T, TodoError> {
    let began = Instant::now();
    let mut backoff = Duration::from_millis(1);
    loop {
        match attempt() {
            // Nothing was changed, and a supervisor is restarting the process: retry.
            Err(TodoError::Unavailable(CallError::NoProc { .. } | CallError::Exited { .. }))
                if began.elapsed() < RETRY_TIMEOUT && SYSTEM.whereis().is_some() => {}
            result => return result,
        }
        process::sleep(backoff);
        backoff = (2 * backoff).min(Duration::from_millis(20));
    }
}
