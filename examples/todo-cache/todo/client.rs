//! What a user of the to-do system calls: add, done, edit, remove, entries, lists. The commands and the
//! tests do, from any thread.
//!
//! After a crash the system is back within milliseconds, and these functions wait for it, but they never
//! send a *change* twice: they repeat a request only as long as it is certain that nobody got it. An error
//! [`TodoError::Unanswered`] says that it is not certain; whoever adds again then without looking may make
//! a second entry, which is why no function here does. (Behind a list server a change may be sent again,
//! because there it has an id by which the store knows it: see [`database::append`].)

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

/// How long a request waits for a system that is being started again.
const RETRY_TIMEOUT: Duration = Duration::from_secs(2);

/// Adds an entry; `Ok` means that it is on disk, under the id it has.
///
/// # Errors
///
/// Any [`TodoError`] but `NoSuchEntry`.
pub(crate) fn add(list: &ListName, date: Date, title: &Title) -> Changed {
    change(list, |from| ListCall::Add(date, title.clone(), from))
}

/// Ticks an entry off, also if it is done already.
///
/// # Errors
///
/// Any [`TodoError`].
pub(crate) fn done(list: &ListName, id: EntryId) -> Changed {
    change(list, |from| ListCall::Done(id, from))
}

/// Gives an entry another title.
///
/// # Errors
///
/// Any [`TodoError`].
pub(crate) fn edit(list: &ListName, id: EntryId, title: &Title) -> Changed {
    change(list, |from| ListCall::Edit(id, title.clone(), from))
}

/// Takes an entry out, and gives it back.
///
/// # Errors
///
/// Any [`TodoError`].
pub(crate) fn remove(list: &ListName, id: EntryId) -> Changed {
    change(list, |from| ListCall::Remove(id, from))
}

/// The entries of a list, of one day or all, by their ids.
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

/// The names of all lists that ever had an entry, sorted.
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

/// Tries until a process that is needed is there, as long as there is a system that may start it.
fn retry<T>(mut attempt: impl FnMut() -> Result<T, TodoError>) -> Result<T, TodoError> {
    let began = Instant::now();
    let mut backoff = Duration::from_millis(1);
    loop {
        match attempt() {
            Err(TodoError::Unavailable(CallError::NoProc { .. } | CallError::Exited { .. }))
                if began.elapsed() < RETRY_TIMEOUT && SYSTEM.whereis().is_some() => {}
            result => return result,
        }
        process::sleep(backoff);
        backoff = (2 * backoff).min(Duration::from_millis(20));
    }
}
