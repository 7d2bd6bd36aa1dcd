//! The errors of the store, each one line of text: the file, and what to do.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::list::EntryId;
use super::name::ListName;

/// Why a shard cannot be opened, read or written. The text of each is one line: the file, and what to do.
#[derive(Debug, Clone)]
pub(crate) enum StoreError {
    /// The shard is open in another store.
    Locked {
        /// The shard's file.
        path: PathBuf,
    },
    /// The content of the file is not what was written to it.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The shard is intact, but acknowledged batches are missing.
    Behind {
        /// The shard's file.
        path: PathBuf,
        /// How many batches it has.
        found: u64,
        /// How many were acknowledged.
        acknowledged: u64,
    },
    /// The folder was created with another number of shards, so lists would be looked up in the wrong ones.
    WrongShardCount {
        /// Where the number is recorded.
        path: PathBuf,
        /// The number recorded.
        found: u64,
        /// The requested number.
        asked: usize,
    },
    /// The list belongs to another shard.
    WrongShard {
        /// The file of the requested shard.
        path: PathBuf,
        /// The list.
        list: ListName,
        /// The shard of the list.
        home: usize,
    },
    /// The event does not fit the stored list: its sender has an outdated copy.
    Stale {
        /// The list.
        list: ListName,
        /// The entry of the event.
        id: EntryId,
    },
    /// An earlier change could not be written, or the shard could not be opened. This one was not tried.
    NotWritable {
        /// The file that could not be written.
        path: PathBuf,
        /// The error of the operating system.
        source: Arc<io::Error>,
    },
    /// The operating system cannot read or write the file.
    Io {
        /// The file, or the folder.
        path: PathBuf,
        /// The error of the operating system.
        source: Arc<io::Error>,
    },
}

/// An error without a file name, to be converted to a [`StoreError`]: the errors of redb do not name the
/// file.
pub(crate) enum RawError {
    Redb(Box<redb::Error>),
    Ours(StoreError),
    Damage(String),
}

impl RawError {
    pub(crate) fn damage(why: impl Into<String>) -> Self {
        RawError::Damage(why.into())
    }

    /// Converts the error to a [`StoreError`] for this file.
    pub(crate) fn with_path(self, path: &Path) -> StoreError {
        let damaged = |why: String| StoreError::Damaged { path: path.to_owned(), why };
        let error = match self {
            RawError::Ours(error) => return error,
            RawError::Damage(why) => return damaged(why),
            RawError::Redb(error) => *error,
        };
        match error {
            redb::Error::DatabaseAlreadyOpen => StoreError::Locked { path: path.to_owned() },
            redb::Error::Io(error) => match error.kind() {
                io::ErrorKind::InvalidData => damaged("it is not a redb file".to_owned()),
                io::ErrorKind::UnexpectedEof => damaged("it is cut short".to_owned()),
                _ => io_error(path)(error),
            },
            redb::Error::PreviousIo => io_error(path)(io::Error::other(
                "an earlier write failed, so that the shard must be opened anew",
            )),
            error => damaged(error.to_string()),
        }
    }
}

impl From<io::Error> for RawError {
    fn from(error: io::Error) -> Self {
        RawError::Redb(Box::new(redb::Error::Io(error)))
    }
}

impl From<StoreError> for RawError {
    fn from(error: StoreError) -> Self {
        RawError::Ours(error)
    }
}

/// redb has one error type per operation; each converts to its `Error`.
macro_rules! from_redb {
    ($($error:ident),*) => {
        $(impl From<redb::$error> for RawError {
            fn from(error: redb::$error) -> Self {
                RawError::Redb(Box::new(error.into()))
            }
        })*
    };
}

from_redb!(DatabaseError, TransactionError, TableError, StorageError, CommitError);

/// Returns a function that converts an I/O error to a [`StoreError`] for this file.
pub(crate) fn io_error(path: &Path) -> impl Fn(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { path: path.clone(), source: Arc::new(source) }
}

impl StoreError {
    /// Returns `true` if the change was refused for itself: the store was not touched, and is as good as before.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, StoreError::Stale { .. } | StoreError::WrongShard { .. })
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Locked { path } => write!(
                f,
                "{} is in use: stop the other program that has it open, or wait until its worker has ended",
                path.display()
            ),
            StoreError::Damaged { path, why } => write!(
                f,
                "{} is damaged and was left as it is ({}): put a good copy of it in its place",
                path.display(),
                OneLine(why)
            ),
            StoreError::Behind { path, found, acknowledged } => write!(
                f,
                "{} is an old copy: it ends with batch {found}, and batch {acknowledged} was acknowledged; put the \
                 newest copy in its place, or delete {} to go on without what is missing",
                path.display(),
                path.with_extension("mark").display()
            ),
            StoreError::WrongShardCount { path, found, asked } => write!(
                f,
                "{} says {found} shards, not {asked}: use the program it was made with, or another folder",
                path.display()
            ),
            StoreError::WrongShard { path, list, home } => {
                write!(f, "{} does not keep the list {:?}: ask shard {home}", path.display(), list.as_str())
            }
            StoreError::Stale { list, id } => write!(
                f,
                "the list {:?} is kept in another state than this change of entry {id} was made for: load it anew",
                list.as_str()
            ),
            StoreError::NotWritable { path, source } => write!(
                f,
                "nothing was changed: {} cannot be written at the moment ({}); see that it may be written and has room \
                 on its disk",
                path.display(),
                OneLine(&source.to_string())
            ),
            StoreError::Io { path, source } => write!(
                f,
                "cannot use {} ({}): see that it is there, may be read and written, and has room on its disk",
                path.display(),
                OneLine(&source.to_string())
            ),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            StoreError::Io { source, .. } | StoreError::NotWritable { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// A text from another source, in one line: panic messages may have several.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, word) in self.0.split_whitespace().enumerate() {
            write!(f, "{}{word}", if n > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}
