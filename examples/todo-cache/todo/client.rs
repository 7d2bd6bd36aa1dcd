//! The client functions of the to-do system: add, done, edit, remove, entries, lists. They work on any
//! thread.
//!
//! After a crash the system recovers within milliseconds, and these functions wait for that. They never send
//! a *change* twice: they retry only while it is certain that no process received the request. The error
//! [`TodoError::Unanswered`] means that this is not certain. A caller that then adds again without checking
//! the list may create a duplicate, which is why no function here does that. (A list server may send a change
//! to the store again, because there it has an id by which the store recognizes it: see
//! [`database::append`].)

use std::time::{Duration, Instant};

use rethread::process;
use rethread::{CallError, Caller};

use super::cache;
use super::database;
use super::date::Date;
use super::error::TodoError;
use super::list::{Entry, EntryId};
use super::name::{ListName, Title};
use super::server::{Changed, ListCall};
use super::system::SYSTEM;

/// How long a request waits for a system that is being restarted.
const RETRY_TIMEOUT: Duration = Duration::from_secs(2);

/// Adds an entry; `Ok` means that it is on disk, with the returned id.
///
/// # Errors
///
/// Any [`TodoError`] but `NoSuchEntry`.
pub(crate) fn add(list: &ListName, date: Date, title: &Title) -> Changed {
    change(list, |from| ListCall::Add(date, title.clone(), from))
}

/// Marks an entry as done; succeeds also if it is done already.
///
/// # Errors
///
/// Any [`TodoError`].
pub(crate) fn done(list: &ListName, id: EntryId) -> Changed {
    change(list, |from| ListCall::Done(id, from))
}

/// Changes the title of an entry.
///
/// # Errors
///
/// Any [`TodoError`].
pub(crate) fn edit(list: &ListName, id: EntryId, title: &Title) -> Changed {
    change(list, |from| ListCall::Edit(id, title.clone(), from))
}

/// Removes an entry and returns it.
///
/// # Errors
///
/// Any [`TodoError`].
pub(crate) fn remove(list: &ListName, id: EntryId) -> Changed {
    change(list, |from| ListCall::Remove(id, from))
}

/// Returns the entries of a list, of one day or all, in the order of their ids.
///
/// # Errors
///
/// [`TodoError::Start`], [`TodoError::Unavailable`].
pub(crate) fn entries(list: &ListName, date: Option<Date>) -> Result<Vec<Entry>, TodoError> {
    retry(|| {
        let server = cache::server_process(list)?;
        server.call(|from| ListCall::Entries(date, from)).map_err(TodoError::Unavailable)
    })
}

/// Returns the names of all lists that ever had an entry, sorted.
///
/// # Errors
///
/// [`TodoError::Store`], [`TodoError::Unavailable`].
pub(crate) fn lists() -> Result<Vec<ListName>, TodoError> {
    retry(database::lists)
}

fn change(list: &ListName, request: impl Fn(Caller<Changed>) -> ListCall) -> Changed {
    retry(|| cache::server_process(list)?.call(&request).map_err(TodoError::of_change)?)
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
