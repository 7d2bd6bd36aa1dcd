//! Lists on disk: one redb file per shard, one durable transaction per batch of events. Each database worker
//! owns the [`Store`] of its shard. This module uses no processes.
//!
//! A folder holds
//!
//! | file | what it is |
//! | --- | --- |
//! | `shards` | how many shards the folder has, written once |
//! | `shard-<i>.redb` | the lists whose name has hash `i`: see [`shard_of`] |
//! | `shard-<i>.mark` | a lower bound of the number of acknowledged batches of that shard |
//!
//! An acknowledged batch is never lost without an error. redb makes each transaction atomic, and this module
//! covers the rest: a shard that is empty or missing although it existed before is an error, and is not
//! created again; a shard in an earlier state (an old copy, a flipped bit in the header) is recognized by its
//! mark; and a shard is checked without writing to it, so that a damaged file stays as it was found.
//!
//! An error that lasts, such as a full or read-only disk, ends neither the store nor its reads: see [`Store`].

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::backends::FileBackend;
use redb::{Database, Durability, ReadableTable, StorageBackend, Table, TableDefinition, WriteTransaction};

use super::list::{Entry, EntryId, Event, EventConflict, Outcome, TodoList};
use super::name::ListName;
use super::store_error::{RawError, io_error};
use super::store_file::{DryRunFile, LockedFile};

pub(crate) use super::store_error::StoreError;

/// (list, entry id) -> (date, title, done).
const ENTRIES: TableDefinition<'_, (&str, EntryId), (&str, &str, bool)> = TableDefinition::new("entries");
/// list -> the id its next entry gets.
const LISTS: TableDefinition<'_, &str, EntryId> = TableDefinition::new("lists");
/// Facts about the shard, under the four keys below.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// In [`META`]: the version of this layout.
const FORMAT: &str = "format";
/// In [`META`]: the number of this shard.
const SHARD: &str = "shard";
/// In [`META`]: how many shards its folder has.
const SHARDS: &str = "shards";
/// In [`META`]: how many batches were written, each counted in its own transaction.
const BATCHES: &str = "batches";

/// The version of the layout that this module writes and reads.
const THIS_FORMAT: u64 = 1;
/// The page cache of one shard, in bytes. The default of redb is 1 GiB per file.
const CACHE_BYTES: usize = 16 << 20;
/// The pause after a failed attempt to open a shard, or to open it for changes again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// An attempt checks the whole shard. The pause after it is at least this many times as long, so that a large shard is not
/// checked all the time.
const RETRY_FACTOR: u32 = 10;

/// Returns the shard of a list, of `shards`: always the same one, on every machine and in every version.
///
/// # Panics
///
/// If `shards` is zero.
#[track_caller]
pub(crate) fn shard_of(list: &ListName, shards: usize) -> usize {
    assert!(shards > 0, "a store has at least one shard");
    (fnv1a(list.as_str().as_bytes()) % shards as u64) as usize // less than `shards`
}

/// Computes the 64-bit FNV-1a hash. The hasher of std may change between releases and between runs.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// One shard. Its file is locked as long as the store exists; dropping the store closes it.
///
/// A store is in one of three states:
///
/// | state | `database` | `fault` |
/// | --- | --- | --- |
/// | open for changes | the file | none |
/// | read only, because the file cannot be written | a view of the file, in which redb's repairs stay in memory | why |
/// | closed, because the file cannot be read either | none | why |
///
/// A failed write or read leads to the second or third state. A later change, or in the third state a read, tries to open
/// the shard for changes again; until [`RETRY_INTERVAL`] has passed, it gets the reason at once.
#[derive(Debug)]
pub(crate) struct Store {
    dir: PathBuf,
    path: PathBuf,
    shard: usize,
    shards: usize,
    file: Option<OpenFile>,
    database: Option<Database>,
    /// The mark, while the shard is open for changes.
    mark: Option<Mark>,
    fault: Option<Fault>,
}

/// The locked file of a shard.
#[derive(Debug, Clone)]
struct OpenFile {
    backend: Arc<FileBackend>,
    /// Why it was opened for reads only.
    write_error: Option<StoreError>,
}

/// Why a store is not open for changes.
#[derive(Debug)]
struct Fault {
    why: StoreError,
    retry_at: Instant,
}

impl Store {
    /// Opens a shard of the folder. Creates folder and shard if they never existed. If the shard can be read and not
    /// written, the store is read only.
    ///
    /// The whole shard is checked before anything is written to it. That takes time in proportion to its
    /// size.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`] but `Stale`, `WrongShard` and `NotWritable`.
    ///
    /// # Panics
    ///
    /// If `shard` is not less than `shards`.
    #[track_caller]
    pub(crate) fn open(dir: &Path, shard: usize, shards: usize) -> Result<Self, StoreError> {
        let mut store = Self::unopened(dir, shard, shards);
        store.reopen()?;
        Ok(store)
    }

    /// Opens a shard that was open before in this program. Unlike [`open`](Self::open), it returns a closed store if the
    /// shard cannot be read at the moment.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`].
    ///
    /// # Panics
    ///
    /// If `shard` is not less than `shards`.
    #[track_caller]
    pub(crate) fn open_again(dir: &Path, shard: usize, shards: usize) -> Result<Self, StoreError> {
        let mut store = Self::unopened(dir, shard, shards);
        match store.reopen() {
            Err(error @ StoreError::Locked { .. }) => Err(error),
            _ => Ok(store),
        }
    }

    #[track_caller]
    fn unopened(dir: &Path, shard: usize, shards: usize) -> Self {
        assert!(shard < shards, "there is no shard {shard} of {shards}");
        let path = dir.join(format!("shard-{shard}.redb"));
        Self { dir: dir.to_owned(), path, shard, shards, file: None, database: None, mark: None, fault: None }
    }

    /// Opens the shard for changes, or else for reads. Fails if it cannot be read.
    fn reopen(&mut self) -> Result<(), StoreError> {
        let began = Instant::now();
        // The file must be closed by redb before it is opened again. It stays locked, except if it was opened for reads
        // only: then another handle is needed.
        (self.database, self.mark) = (None, None);
        self.file = self.file.take().filter(|file| file.write_error.is_none());
        let opened = self.open_for_changes();
        let result = match opened {
            Ok(()) => {
                if self.fault.take().is_some() {
                    log::warn!("{} can be written again", self.path.display());
                }
                return Ok(());
            }
            Err(why) => self.open_for_reads(why),
        };
        let (Ok(why) | Err(why)) = &result;
        let why = why.clone();
        let pause = RETRY_INTERVAL.max(began.elapsed() * RETRY_FACTOR);
        self.fault = Some(Fault { why, retry_at: Instant::now() + pause });
        result.map(drop)
    }

    /// Opens the shard for changes.
    fn open_for_changes(&mut self) -> Result<(), StoreError> {
        let mark_path = self.path.with_extension("mark");
        let file = match &self.file {
            Some(file) => file.clone(),
            None => {
                fs::create_dir_all(&self.dir).map_err(io_error(&self.dir))?;
                agree_on_shards(&self.dir, self.shards)?;
                // A shard with a mark existed before. One without is new, or its creation was interrupted by a crash.
                if !mark_path.try_exists().map_err(io_error(&mark_path))? {
                    publish(&self.path, |file| found_shard(&self.path, file, self.shard, self.shards))?;
                }
                self.file.insert(lock(&self.path)?).clone()
            }
        };
        // Check the file without writing to it, compare it with the mark; only then let redb write to it.
        let (_, batches) = self.examine(&file.backend)?;
        if let Some(error) = file.write_error {
            return Err(error);
        }
        let mut mark = Mark::open(mark_path)?;
        mark.set(batches)?;
        let backend = LockedFile(file.backend);
        let database = catch_redb_panic(&self.path, || Ok(settings().create_with_backend(backend)?))?;
        (self.database, self.mark) = (Some(database), Some(mark));
        Ok(())
    }

    /// Opens a view of the shard, after an attempt to open it for changes failed. Returns the error of that attempt.
    ///
    /// # Errors
    ///
    /// Why the shard cannot be read either.
    fn open_for_reads(&mut self, why: StoreError) -> Result<StoreError, StoreError> {
        // The shard is not read if its content is the reason, or if there is no lock.
        let (StoreError::Io { .. }, Some(file)) = (&why, &self.file) else { return Err(why) };
        // Another view than that of the check: redb may have written to the file before it failed.
        let (view, _) = self.examine(&file.backend)?;
        self.database = Some(view);
        if self.fault.is_none() {
            log::error!("{} can only be read: {why}", self.path.display());
        }
        Ok(why)
    }

    /// Checks the whole shard, without writing to it. Returns a view of it, and the number of its batches.
    fn examine(&self, file: &Arc<FileBackend>) -> Result<(Database, u64), StoreError> {
        let (view, batches) = examine(&self.path, file, self.shard, self.shards)?;
        let acknowledged = Mark::read(&self.path.with_extension("mark"))?;
        if batches < acknowledged {
            return Err(StoreError::Behind { path: self.path.clone(), found: batches, acknowledged });
        }
        Ok((view, batches))
    }

    /// Closes the shard for changes after an error, and opens a view of it, if it can be read.
    fn on_failure(&mut self, why: StoreError) {
        let began = Instant::now();
        (self.database, self.mark) = (None, None);
        let why = self.open_for_reads(why).unwrap_or_else(|error| error);
        let pause = RETRY_INTERVAL.max(began.elapsed() * RETRY_FACTOR);
        self.fault = Some(Fault { why, retry_at: Instant::now() + pause });
    }

    /// Writes a batch of events, all or none. `Ok` means that they are on disk.
    ///
    /// An event that was written before is ignored. After [`StoreError::Io`] and [`StoreError::Damaged`] the batch may or
    /// may not be on disk, after every other error it is not.
    ///
    /// # Errors
    ///
    /// - [`StoreError::Stale`] if an event does not fit the stored list: another entry has its id, or the id
    ///   was never used in the list.
    /// - [`StoreError::WrongShard`] if a list belongs to another shard.
    /// - [`StoreError::NotWritable`] if the shard is read only or closed, and cannot be opened for changes again.
    /// - [`StoreError::Io`] if this batch could not be written: the shard is read only now, or closed.
    /// - [`StoreError::Damaged`] if the content of the shard is wrong: the shard is closed now. Also a later change gets
    ///   this error.
    pub(crate) fn append(&mut self, batch: &[(ListName, Event)]) -> Result<(), StoreError> {
        for (list, _) in batch {
            self.check_home(list)?;
        }
        if batch.is_empty() {
            return Ok(());
        }
        if self.fault.as_ref().is_some_and(|fault| Instant::now() >= fault.retry_at) {
            let _ = self.reopen(); // records the reason
        }
        let (Some(database), Some(mark), None) = (&self.database, &mut self.mark, &self.fault) else {
            return Err(self.refusal());
        };
        let written = write(database, batch).map_err(|error| error.with_path(&self.path));
        let result = written.and_then(|batches| mark.set(batches));
        if let Err(error) = &result {
            if !error.is_refusal() {
                self.on_failure(error.clone());
            }
        }
        result
    }

    /// Loads a list; returns an empty one if it never had an entry.
    ///
    /// # Errors
    ///
    /// [`StoreError::WrongShard`], [`StoreError::Io`], [`StoreError::Damaged`]; and any error of [`open`](Self::open), if
    /// the shard is closed.
    pub(crate) fn load(&mut self, list: &ListName) -> Result<TodoList, StoreError> {
        self.check_home(list)?;
        self.read(|database| read_list(database, list.as_str()))
    }

    /// Returns the names of all lists of this shard that ever had an entry, in byte order.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load), except `WrongShard`.
    pub(crate) fn lists(&mut self) -> Result<Vec<ListName>, StoreError> {
        self.read(read_names)
    }

    /// Reads. After an error of the operating system it reads once more from a new view: redb refuses to use a file after
    /// such an error.
    fn read<T>(&mut self, read: impl Fn(&Database) -> Result<T, RawError>) -> Result<T, StoreError> {
        let is_due = self.fault.as_ref().is_some_and(|fault| Instant::now() >= fault.retry_at);
        if self.database.is_none() && is_due {
            let _ = self.reopen(); // records the reason
        }
        for attempt in 1.. {
            let Some(database) = &self.database else { break };
            match read(database).map_err(|error| error.with_path(&self.path)) {
                Err(error @ StoreError::Io { .. }) if attempt == 1 => self.on_failure(error),
                result => return result,
            }
        }
        Err(self.fault.as_ref().map_or_else(|| self.refusal(), |fault| fault.why.clone()))
    }

    /// Returns the error of a change that is not tried.
    fn refusal(&self) -> StoreError {
        match self.fault.as_ref().map(|fault| &fault.why) {
            Some(StoreError::Io { path, source }) => {
                StoreError::NotWritable { path: path.clone(), source: Arc::clone(source) }
            }
            Some(why) => why.clone(),
            None => io_error(&self.path)(io::Error::other("it is not open")),
        }
    }

    fn check_home(&self, list: &ListName) -> Result<(), StoreError> {
        let home = shard_of(list, self.shards);
        if home == self.shard {
            return Ok(());
        }
        Err(StoreError::WrongShard { path: self.path.clone(), list: list.clone(), home })
    }
}

/// Runs the transaction of [`Store::append`]. Returns the number of batches written so far.
fn write(database: &Database, batch: &[(ListName, Event)]) -> Result<u64, RawError> {
    let transaction = durable(database)?;
    let batches = {
        let mut entries = transaction.open_table(ENTRIES)?;
        let mut lists = transaction.open_table(LISTS)?;
        for (list, event) in batch {
            put(&mut entries, &mut lists, list, event)?;
        }
        let mut meta = transaction.open_table(META)?;
        let batches = value_of(&meta, BATCHES)? + 1;
        meta.insert(BATCHES, batches)?;
        batches
    };
    transaction.commit()?;
    Ok(batches)
}

fn read_list(database: &Database, list: &str) -> Result<TodoList, RawError> {
    let transaction = database.begin_read()?;
    let Some(next_id) = transaction.open_table(LISTS)?.get(list)?.map(|row| row.value()) else {
        return Ok(TodoList::new());
    };
    let entries = transaction.open_table(ENTRIES)?;
    let rows = entries.range((list, EntryId::MIN)..=(list, EntryId::MAX))?;
    let entries = rows.map(|row| {
        let (key, value) = row?;
        decode(key.value(), value.value())
    });
    Ok(TodoList::restore(next_id, entries.collect::<Result<Vec<_>, RawError>>()?))
}

fn read_names(database: &Database) -> Result<Vec<ListName>, RawError> {
    let lists = database.begin_read()?.open_table(LISTS)?;
    let name = |row: Result<(redb::AccessGuard<'_, &str>, _), redb::StorageError>| {
        let (key, _): (_, redb::AccessGuard<'_, EntryId>) = row?;
        ListName::try_from(key.value())
            .map_err(|error| RawError::damage(format!("a list is called {:?}: {error}", key.value())))
    };
    lists.iter()?.map(name).collect()
}

/// Writes one event.
fn put(
    entries: &mut Table<'_, (&'static str, EntryId), (&'static str, &'static str, bool)>,
    lists: &mut Table<'_, &'static str, EntryId>,
    list: &ListName,
    event: &Event,
) -> Result<(), RawError> {
    let key = (list.as_str(), event.id());
    let next_id = lists.get(list.as_str())?.map_or(1, |row| row.value());
    let now = entries.get(key)?.map(|row| decode(key, row.value())).transpose()?;
    let outcome = event
        .outcome(now.as_ref(), next_id)
        .map_err(|EventConflict| StoreError::Stale { list: list.clone(), id: event.id() })?;
    match outcome {
        Outcome::Updated(entry) => {
            entries.insert(key, (entry.date.to_string().as_str(), entry.title.as_str(), entry.done))?;
        }
        Outcome::Removed => {
            entries.remove(key)?;
        }
        Outcome::Unchanged => {}
    }
    if event.id() >= next_id {
        lists.insert(list.as_str(), event.id().saturating_add(1))?;
    }
    Ok(())
}

/// Converts a row of [`ENTRIES`] to an entry.
fn decode((list, id): (&str, EntryId), (date, title, done): (&str, &str, bool)) -> Result<Entry, RawError> {
    let broken = |error: &dyn Error| RawError::damage(format!("entry {id} of list {list:?}: {error}"));
    let date = date.parse().map_err(|error| broken(&error))?;
    let title = title.parse().map_err(|error| broken(&error))?;
    Ok(Entry { id, date, title, done })
}

/// Returns a fact about the shard from [`META`].
fn value_of(meta: &impl ReadableTable<&'static str, u64>, name: &str) -> Result<u64, RawError> {
    let row = meta.get(name)?.map(|row| row.value());
    row.ok_or_else(|| RawError::damage(format!("the value {name:?} is missing")))
}

/// Records the number of shards in a new folder, and compares it with that of an old one.
fn agree_on_shards(dir: &Path, shards: usize) -> Result<(), StoreError> {
    let path = dir.join("shards");
    // Shards are created after the record. So if a shard exists and then the record does not, the record was
    // lost. The other order of these two checks would race with a program that is creating both.
    let has_shards = holds_a_shard(dir).map_err(io_error(dir))?;
    if has_shards && !path.try_exists().map_err(io_error(&path))? {
        let why = "it is missing: write the number of shards into it, as digits".to_owned();
        return Err(StoreError::Damaged { path, why });
    }
    publish(&path, |mut file| writeln!(file, "{shards}").map_err(io_error(&path)))?;
    // Read it even if it was just written: another program may have written it first, with another number.
    let text = fs::read(&path).map_err(io_error(&path))?;
    let found = std::str::from_utf8(&text).ok().and_then(|text| text.trim_ascii().parse::<u64>().ok());
    match found {
        Some(found) if found == shards as u64 => Ok(()),
        Some(found) => Err(StoreError::WrongShardCount { path, found, asked: shards }),
        None => {
            let why =
                "it does not say how many shards there are: write the number into it, as digits".to_owned();
            Err(StoreError::Damaged { path, why })
        }
    }
}

/// Returns `true` if the folder has any file of a shard.
fn holds_a_shard(dir: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(dir)? {
        if entry?.file_name().to_str().is_some_and(|name| name.starts_with("shard-")) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Creates a file atomically and durably, unless it exists already. A crash may leave a `.draft-..` file in
/// the folder, which is ignored.
fn publish(path: &Path, fill: impl FnOnce(&File) -> Result<(), StoreError>) -> Result<(), StoreError> {
    if path.try_exists().map_err(io_error(path))? {
        return Ok(());
    }
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    // With the mode of any new file, which the umask restricts. The default of `tempfile` is 0600.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let draft = builder.prefix(".draft-").tempfile_in(dir).map_err(io_error(path))?;
    fill(draft.as_file())?;
    draft.as_file().sync_all().map_err(io_error(path))?;
    match draft.persist_noclobber(path) {
        Err(refused) if refused.error.kind() != io::ErrorKind::AlreadyExists => {
            Err(io_error(path)(refused.error))
        }
        // The directory entry is durable once the folder is synced. Windows cannot sync folders, and need
        // not.
        _ if cfg!(unix) => File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_error(path)),
        _ => Ok(()),
    }
}

/// Writes a new shard without lists into the file.
fn found_shard(path: &Path, file: &File, shard: usize, shards: usize) -> Result<(), StoreError> {
    let file = file.try_clone().map_err(io_error(path))?;
    catch_redb_panic(path, || {
        let database = settings().create_file(file)?;
        let transaction = durable(&database)?;
        transaction.open_table(ENTRIES)?;
        transaction.open_table(LISTS)?;
        let facts = [(FORMAT, THIS_FORMAT), (SHARD, shard as u64), (SHARDS, shards as u64), (BATCHES, 0)];
        for (name, value) in facts {
            transaction.open_table(META)?.insert(name, value)?;
        }
        Ok(transaction.commit()?)
    })
}

/// Opens and locks the file of a shard, without writing to it. If it may not be written, it is opened for reads.
fn lock(path: &Path) -> Result<OpenFile, StoreError> {
    let damaged = |why: &str| StoreError::Damaged { path: path.to_owned(), why: why.to_owned() };
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => damaged("it is missing, although it was there before"),
        _ => io_error(path)(error),
    };
    let (file, write_error) = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => (file, None),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            (File::open(path).map_err(failed)?, Some(failed(error)))
        }
        Err(error) => return Err(failed(error)),
    };
    let file = FileBackend::new(file).map_err(|error| RawError::from(error).with_path(path))?;
    match file.len().map_err(io_error(path))? {
        0 => Err(damaged("it is empty, although a shard never is")), // redb would create a new database in it
        _ => Ok(OpenFile { backend: Arc::new(file), write_error }),
    }
}

/// Checks the whole shard, without writing to it. Returns a view of it, and the number of its batches.
///
/// redb writes to a file when it opens it, verifies little of a file that was closed cleanly, and panics at
/// some kinds of damage. So it first opens a view, of which what it writes stays in memory.
fn examine(
    path: &Path,
    file: &Arc<FileBackend>,
    shard: usize,
    shards: usize,
) -> Result<(Database, u64), StoreError> {
    catch_redb_panic(path, || {
        let dry_run = DryRunFile::new(file.clone())?;
        let mut database = settings().create_with_backend(dry_run)?;
        if !database.check_integrity()? {
            return Err(RawError::damage("its pages contradict each other"));
        }
        let meta = database.begin_read()?.open_table(META)?;
        let format = value_of(&meta, FORMAT)?;
        if format != THIS_FORMAT {
            return Err(RawError::damage(format!(
                "it has format {format}, and this program reads {THIS_FORMAT}"
            )));
        }
        let found = value_of(&meta, SHARDS)?;
        if found != shards as u64 {
            return Err(StoreError::WrongShardCount { path: path.to_owned(), found, asked: shards }.into());
        }
        let found = value_of(&meta, SHARD)?;
        if found != shard as u64 {
            return Err(RawError::damage(format!("it is shard {found} under the name of shard {shard}")));
        }
        let batches = value_of(&meta, BATCHES)?;
        drop(meta);
        Ok((database, batches))
    })
}

/// Returns the settings with which every shard is created and opened.
fn settings() -> redb::Builder {
    let mut settings = Database::builder();
    // Version 3 has checksums for the state of the allocator too, and later releases of redb read no other
    // version.
    settings.create_with_file_format_v3(true).set_cache_size(CACHE_BYTES);
    settings
}

/// Begins a transaction that is on disk when its commit returns.
fn durable(database: &Database) -> Result<WriteTransaction, RawError> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate);
    // With one-phase commits, redb treats a bad page of the last commit as an interrupted commit, and
    // silently returns to the commit before. With two phases (one more fsync), either the last commit is
    // valid or the file is damaged.
    transaction.set_two_phase_commit(true);
    Ok(transaction)
}

/// Runs redb on a file with arbitrary content: it panics at some kinds of damage instead of returning an
/// error.
#[expect(
    clippy::disallowed_methods,
    reason = "no process code runs in here: a panic is redb's verdict on a file"
)]
fn catch_redb_panic<T>(path: &Path, work: impl FnOnce() -> Result<T, RawError>) -> Result<T, StoreError> {
    // No inconsistent state survives the panic: the database is created and owned by `work`.
    let payload = match std::panic::catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => return result.map_err(|error| error.with_path(path)),
        Err(payload) => payload,
    };
    let text = payload.downcast_ref::<&str>().copied();
    match text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)) {
        Some(text) => Err(RawError::damage(format!("redb gives up on it: {text}")).with_path(path)),
        None => std::panic::resume_unwind(payload), // not a panic of redb's
    }
}

/// The mark: the number of acknowledged batches, in a separate file beside the shard.
///
/// It is written after each commit but not synced: after a power failure it may be too low, but it is never
/// too high.
#[derive(Debug)]
struct Mark {
    path: PathBuf,
    file: File,
}

impl Mark {
    /// Opens the mark, or creates one with zero batches.
    fn open(path: PathBuf) -> Result<Self, StoreError> {
        publish(&path, |mut file| file.write_all(Self::line(0).as_bytes()).map_err(io_error(&path)))?;
        let file = OpenOptions::new().write(true).open(&path).map_err(io_error(&path))?;
        Ok(Self { path, file })
    }

    /// Reads a mark. One that is missing or damaged counts as zero.
    fn read(path: &Path) -> Result<u64, StoreError> {
        let mut text = Vec::new();
        match File::open(path).and_then(|file| file.take(256).read_to_end(&mut text)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(path)(error)),
            _ => Ok(std::str::from_utf8(&text).ok().and_then(Self::parse).unwrap_or(0)),
        }
    }

    /// Formats the number twice and in fixed width: when it is overwritten in place, a partial write is
    /// recognized.
    fn line(batches: u64) -> String {
        format!("{batches:020} {batches:020}\n")
    }

    fn parse(text: &str) -> Option<u64> {
        let batches = text.get(..20)?.parse().ok()?;
        (text == Self::line(batches)).then_some(batches)
    }

    fn set(&mut self, batches: u64) -> Result<(), StoreError> {
        let written = self
            .file
            .seek(SeekFrom::Start(0))
            .and_then(|_| self.file.write_all(Self::line(batches).as_bytes()));
        written.map_err(io_error(&self.path))
    }
}
