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

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use redb::backends::FileBackend;
use redb::{Database, Durability, ReadableTable, StorageBackend, Table, TableDefinition, WriteTransaction};

use super::list::{Entry, EntryId, Event, EventConflict, Outcome, TodoList};
use super::name::ListName;

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

/// One open shard. It is locked as long as it is open; dropping it closes it.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    shard: usize,
    shards: usize,
    database: Database,
    mark: Mark,
}

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
    /// The operating system cannot read or write the file.
    Io {
        /// The file, or the folder.
        path: PathBuf,
        /// The error of the operating system.
        source: Arc<io::Error>,
    },
}

impl Store {
    /// Opens a shard of the folder. Creates folder and shard if they never existed.
    ///
    /// The whole shard is checked before anything is written to it. That takes time in proportion to its
    /// size.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`] but `Stale` and `WrongShard`.
    ///
    /// # Panics
    ///
    /// If `shard` is not less than `shards`.
    #[track_caller]
    pub(crate) fn open(dir: &Path, shard: usize, shards: usize) -> Result<Self, StoreError> {
        assert!(shard < shards, "there is no shard {shard} of {shards}");
        fs::create_dir_all(dir).map_err(io_error(dir))?;
        agree_on_shards(dir, shards)?;

        let path = dir.join(format!("shard-{shard}.redb"));
        let mark_path = dir.join(format!("shard-{shard}.mark"));
        // A shard with a mark existed before. One without is new, or its creation was interrupted by a crash.
        if !mark_path.try_exists().map_err(io_error(&mark_path))? {
            publish(&path, |file| found_shard(&path, file, shard, shards))?;
        }

        // Lock the file, check it without writing, compare it with the mark; only then let redb write to it.
        let file = Arc::new(lock(&path)?);
        let batches = examine(&path, &file, shard, shards)?;
        let mut mark = Mark::open(mark_path)?;
        if batches < mark.batches {
            return Err(StoreError::Behind { path, found: batches, acknowledged: mark.batches });
        }
        mark.set(batches)?;
        let database = catch_redb_panic(&path, || Ok(settings().create_with_backend(LockedFile(file))?))?;
        Ok(Self { path, shard, shards, database, mark })
    }

    /// Writes a batch of events, all or none. `Ok` means that they are on disk.
    ///
    /// An event that was written before is ignored. After an error the batch may or may not be on disk; after
    /// [`StoreError::Io`] the store must be opened again before it can be used.
    ///
    /// # Errors
    ///
    /// - [`StoreError::Stale`] if an event does not fit the stored list: another entry has its id, or the id
    ///   was never used in the list. Nothing of the batch is written.
    /// - [`StoreError::WrongShard`] if a list belongs to another shard. Nothing of the batch is written.
    /// - [`StoreError::Io`], [`StoreError::Damaged`].
    pub(crate) fn append(&mut self, batch: &[(ListName, Event)]) -> Result<(), StoreError> {
        for (list, _) in batch {
            self.check_home(list)?;
        }
        if batch.is_empty() {
            return Ok(());
        }
        let batches = self.write(batch).map_err(|error| error.with_path(&self.path))?;
        self.mark.set(batches)
    }

    /// Loads a list; returns an empty one if it never had an entry.
    ///
    /// # Errors
    ///
    /// [`StoreError::WrongShard`], [`StoreError::Io`], [`StoreError::Damaged`].
    pub(crate) fn load(&self, list: &ListName) -> Result<TodoList, StoreError> {
        self.check_home(list)?;
        self.read(list.as_str()).map_err(|error| error.with_path(&self.path))
    }

    /// Returns the names of all lists of this shard that ever had an entry, in byte order.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`], [`StoreError::Damaged`].
    pub(crate) fn lists(&self) -> Result<Vec<ListName>, StoreError> {
        self.names().map_err(|error| error.with_path(&self.path))
    }

    fn check_home(&self, list: &ListName) -> Result<(), StoreError> {
        let home = shard_of(list, self.shards);
        if home == self.shard {
            return Ok(());
        }
        Err(StoreError::WrongShard { path: self.path.clone(), list: list.clone(), home })
    }

    /// Runs the transaction of [`append`](Self::append). Returns the number of batches written so far.
    fn write(&self, batch: &[(ListName, Event)]) -> Result<u64, RawError> {
        let transaction = durable(&self.database)?;
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

    fn read(&self, list: &str) -> Result<TodoList, RawError> {
        let transaction = self.database.begin_read()?;
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

    fn names(&self) -> Result<Vec<ListName>, RawError> {
        let lists = self.database.begin_read()?.open_table(LISTS)?;
        lists
            .iter()?
            .map(|row| {
                let (key, _) = row?;
                ListName::try_from(key.value())
                    .map_err(|error| RawError::damage(format!("a list is called {:?}: {error}", key.value())))
            })
            .collect()
    }
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
    let draft = tempfile::Builder::new().prefix(".draft-").tempfile_in(dir).map_err(io_error(path))?;
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

/// Opens and locks the file of a shard, without writing to it.
fn lock(path: &Path) -> Result<FileBackend, StoreError> {
    let damaged = |why: &str| StoreError::Damaged { path: path.to_owned(), why: why.to_owned() };
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => damaged("it is missing, although it was there before"),
        _ => io_error(path)(error),
    })?;
    let file = FileBackend::new(file).map_err(|error| RawError::from(error).with_path(path))?;
    match file.len().map_err(io_error(path))? {
        0 => Err(damaged("it is empty, although a shard never is")), // redb would create a new database in it
        _ => Ok(file),
    }
}

/// Checks the whole shard, without writing to it, and returns the number of its batches.
///
/// redb writes to a file when it opens it, verifies little of a file that was closed cleanly, and panics at
/// some kinds of damage. So it first opens a copy in memory.
fn examine(path: &Path, file: &Arc<FileBackend>, shard: usize, shards: usize) -> Result<u64, StoreError> {
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
        value_of(&meta, BATCHES)
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
    batches: u64,
}

impl Mark {
    /// Opens the mark, or creates one with zero batches. An unreadable mark counts as zero.
    fn open(path: PathBuf) -> Result<Self, StoreError> {
        publish(&path, |mut file| file.write_all(Self::line(0).as_bytes()).map_err(io_error(&path)))?;
        let mut file = OpenOptions::new().read(true).write(true).open(&path).map_err(io_error(&path))?;
        let mut text = Vec::new();
        (&mut file).take(256).read_to_end(&mut text).map_err(io_error(&path))?;
        let batches = std::str::from_utf8(&text).ok().and_then(Self::parse).unwrap_or(0);
        Ok(Self { path, file, batches })
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
        written.map_err(io_error(&self.path))?;
        self.batches = batches;
        Ok(())
    }
}

/// The file of a shard for redb. Its lock outlives the database, so it is held without a gap from before the
/// check.
#[derive(Debug)]
struct LockedFile(Arc<FileBackend>);

impl StorageBackend for LockedFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.0.read(offset, len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)?;
        // redb syncs the new length together with a header that depends on it. A power failure could preserve
        // only the header, and redb rejects such a file.
        self.0.sync_data(false)
    }

    fn sync_data(&self, eventual: bool) -> io::Result<()> {
        self.0.sync_data(eventual)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

/// The file of a shard for a check: writes of redb stay in memory.
#[derive(Debug)]
struct DryRunFile {
    file: Arc<FileBackend>,
    changes: Mutex<Changes>,
}

/// The content that the file would have now.
#[derive(Debug)]
struct Changes {
    len: u64,
    /// How much of the real file is still visible; behind it are zeros.
    visible_len: u64,
    /// The blocks that were written, by number.
    blocks: BTreeMap<u64, Box<[u8]>>,
}

impl DryRunFile {
    /// The size of a block in bytes; unrelated to the pages of redb.
    const BLOCK: u64 = 4096;

    /// The offset of the flags in the header of redb (see "File format" in its docs/design.md), and two of
    /// these: the file was not closed cleanly; the last commit had two phases.
    const FLAGS: u64 = 9;
    const RECOVERY_REQUIRED: u8 = 2;
    const TWO_PHASE_COMMIT: u8 = 4;
    /// The offset of the number of pages per region in the header (four bytes), and the maximum that the
    /// format allows.
    const REGION_PAGES: u64 = 20;
    const MAX_REGION_PAGES: u32 = 1 << 20;

    fn new(file: Arc<FileBackend>) -> Result<Self, RawError> {
        let len = file.len()?;
        let dry_run =
            Self { file, changes: Mutex::new(Changes { len, visible_len: len, blocks: BTreeMap::new() }) };
        // Commits of this program always have two phases (see `durable`). Otherwise redb might choose another
        // commit now than when it opens the file.
        let flags = dry_run.read(Self::FLAGS, 1)?[0];
        if flags & Self::TWO_PHASE_COMMIT == 0 {
            return Err(RawError::damage("its header has no flag for two-phase commits"));
        }
        // redb verifies the checksum of the record of the last commit only on recovery: force a recovery.
        dry_run.write(Self::FLAGS, &[flags | Self::RECOVERY_REQUIRED])?;
        // redb allocates tables for this number of pages before any check: gigabytes, if the number is
        // damaged.
        let pages = dry_run.read(Self::REGION_PAGES, 4)?;
        if pages.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)) > Self::MAX_REGION_PAGES
        {
            return Err(RawError::damage("its header has a region size that is too large"));
        }
        Ok(dry_run)
    }

    /// Reads a range that lies within `changes.len`.
    fn read_range(&self, changes: &Changes, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let end = offset + len as u64;
        let visible = changes.visible_len.min(end).saturating_sub(offset) as usize; // at most `len`
        let mut bytes = if visible > 0 { self.file.read(offset, visible)? } else { Vec::new() };
        bytes.resize(len, 0);
        for (number, block) in changes.blocks.range(offset / Self::BLOCK..end.div_ceil(Self::BLOCK)) {
            let start = number * Self::BLOCK;
            let from = start.max(offset);
            let to = (start + Self::BLOCK).min(end);
            bytes[(from - offset) as usize..(to - offset) as usize]
                .copy_from_slice(&block[(from - start) as usize..(to - start) as usize]);
        }
        Ok(bytes)
    }

    /// Returns an error for a range beyond the end, before memory is allocated for it: a damaged length may
    /// have any value.
    fn check(changes: &Changes, offset: u64, len: usize) -> io::Result<()> {
        match offset.checked_add(len as u64) {
            Some(end) if end <= changes.len => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl StorageBackend for DryRunFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changes.lock().len)
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let changes = self.changes.lock();
        Self::check(&changes, offset, len)?;
        self.read_range(&changes, offset, len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut changes = self.changes.lock();
        changes.len = len;
        changes.visible_len = changes.visible_len.min(len);
        changes.blocks.retain(|number, _| number * Self::BLOCK < len);
        if let Some(last) = changes.blocks.get_mut(&(len / Self::BLOCK)) {
            last[(len % Self::BLOCK) as usize..].fill(0);
        }
        Ok(())
    }

    fn sync_data(&self, _eventual: bool) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut changes = self.changes.lock();
        Self::check(&changes, offset, data.len())?;
        let end = offset + data.len() as u64;
        for number in offset / Self::BLOCK..end.div_ceil(Self::BLOCK) {
            let start = number * Self::BLOCK;
            if !changes.blocks.contains_key(&number) {
                let whole = Self::BLOCK.min(changes.len - start) as usize;
                let mut block = self.read_range(&changes, start, whole)?;
                block.resize(Self::BLOCK as usize, 0);
                changes.blocks.insert(number, block.into());
            }
            let from = start.max(offset);
            let to = (start + Self::BLOCK).min(end);
            if let Some(block) = changes.blocks.get_mut(&number) {
                block[(from - start) as usize..(to - start) as usize]
                    .copy_from_slice(&data[(from - offset) as usize..(to - offset) as usize]);
            }
        }
        Ok(())
    }
}

/// An error without a file name, to be converted to a [`StoreError`]: the errors of redb do not name the
/// file.
enum RawError {
    Redb(Box<redb::Error>),
    Ours(StoreError),
    Damage(String),
}

impl RawError {
    fn damage(why: impl Into<String>) -> Self {
        RawError::Damage(why.into())
    }

    /// Converts the error to a [`StoreError`] for this file.
    fn with_path(self, path: &Path) -> StoreError {
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
fn io_error(path: &Path) -> impl Fn(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { path: path.clone(), source: Arc::new(source) }
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
            StoreError::Io { source, .. } => Some(source),
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
