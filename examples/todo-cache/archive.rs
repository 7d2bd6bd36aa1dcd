//! The commands `export` and `import`: all lists as JSON lines, one list per line. They open the stores
//! directly, so the folder must not be in use.
//!
//! ```text
//! {"list":"bob","next_id":3,"entries":[{"id":1,"date":"2026-11-22","title":"Dentist","done":false}]}
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::shell::BYTE_ORDER_MARK;
use crate::todo::list::{Entry, EntryId, Event};
use crate::todo::name::{ListName, Title};
use crate::todo::store::{Store, shard_of};
use crate::todo::view;
use crate::todo::worker::SHARDS;

type Failure = Box<dyn Error>;

/// A list as read from a line.
struct ArchivedList {
    list: ListName,
    next_id: EntryId,
    entries: BTreeMap<EntryId, Entry>,
}

/// Writes all lists of a folder to a file, which must not exist yet, or to the standard output.
pub(crate) fn export(dir: &Path, to: Option<PathBuf>) -> Result<(), Failure> {
    if !dir.join("shards").exists() {
        return Err(format!("there are no lists in {}", dir.display()).into());
    }
    let mut stores = open(dir)?;
    let count = match &to {
        Some(path) => write_file(path, |out| write_lists(&mut stores, out))?,
        None => write_lists(&mut stores, &mut io::stdout().lock())?,
    };
    say(&format!("{count} lists exported"));
    Ok(())
}

/// Creates a file. It is complete and on disk, or does not exist.
fn write_file<T>(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<T, Failure>) -> Result<T, Failure> {
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    if path.symlink_metadata().is_ok() {
        let exists = File::create_new(path).err().unwrap_or_else(|| io::ErrorKind::AlreadyExists.into());
        return Err(failed(exists).into());
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    // With the mode of any new file, which the umask restricts.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file = builder.prefix(".export-").tempfile_in(dir).map_err(failed)?;
    let mut out = BufWriter::new(file);
    let result = fill(&mut out).map_err(|error| format!("{}: {error}", path.display()))?;
    let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist_noclobber(path).map_err(|error| failed(error.error))?;
    Ok(result)
}

/// Reports on the standard error. The work is done, so a failure is ignored.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes all lists. Returns how many there are.
fn write_lists(stores: &mut [Store], out: &mut dyn Write) -> Result<usize, Failure> {
    let mut names = Vec::new();
    for store in stores.iter_mut() {
        names.extend(store.lists()?);
    }
    names.sort();
    for list in &names {
        let stored = stores[shard_of(list, SHARDS)].load(list)?;
        let entries: Vec<Entry> = stored.entries().cloned().collect();
        let line = json!({
            "list": list.as_str(), "next_id": stored.next_id(), "entries": view::entries(&entries),
        });
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(names.len())
}

/// Adds all lists of a file, or of the standard input, to a folder that has none of them. All input is read
/// before anything is written. If a shard cannot be written, the error says how many lists the shards before it got.
pub(crate) fn import(dir: &Path, from: Option<PathBuf>) -> Result<(), Failure> {
    let input: Box<dyn BufRead> = match &from {
        Some(path) => Box::new(BufReader::new(
            File::open(path).map_err(|error| format!("{}: {error}", path.display()))?,
        )),
        None => Box::new(io::stdin().lock()),
    };
    let mut lists: Vec<ArchivedList> = Vec::new();
    for (number, line) in input.lines().enumerate() {
        let line = line.map_err(|error| format!("line {}: {error}", number + 1))?;
        // Some editors begin a file with a byte order mark.
        let line = if number == 0 { line.trim_start_matches(BYTE_ORDER_MARK) } else { &line };
        if !line.trim().is_empty() {
            lists.push(ArchivedList::read(line).map_err(|error| format!("line {}: {error}", number + 1))?);
        }
    }
    // Reject the whole input if any list exists already, or is in the file twice.
    let mut stores = open(dir)?;
    let mut existing = BTreeSet::new();
    for store in &mut stores {
        existing.extend(store.lists()?);
    }
    if let Some(duplicate) = lists.iter().find(|archived| !existing.insert(archived.list.clone())) {
        return Err(format!(
            "the list {:?} exists already, or is twice in the file; nothing was written",
            duplicate.list.as_str()
        )
        .into());
    }
    // One transaction per shard, so that each shard gets all of its lists or none.
    let mut batches: Vec<Vec<(ListName, Event)>> = vec![Vec::new(); SHARDS];
    for archived in &lists {
        batches[shard_of(&archived.list, SHARDS)].extend(archived.events());
    }
    let mut imported = 0;
    for (store, batch) in stores.iter_mut().zip(&batches).filter(|(_, batch)| !batch.is_empty()) {
        store.append(batch).map_err(|error| match imported {
            0 => Failure::from(error),
            _ => format!("{imported} of {} lists were imported; then: {error}", lists.len()).into(),
        })?;
        imported += batch.iter().map(|(list, _)| list).collect::<BTreeSet<_>>().len();
    }
    // A list without any entry so far is not stored.
    say(&format!("{} lists imported", lists.len()));
    Ok(())
}

fn open(dir: &Path) -> Result<Vec<Store>, Failure> {
    (0..SHARDS).map(|shard| Ok(Store::open(dir, shard, SHARDS)?)).collect()
}

impl ArchivedList {
    fn read(line: &str) -> Result<Self, Failure> {
        let line: Value = serde_json::from_str(line)?;
        let list = text(&line, "list")?.parse()?;
        let mut entries = BTreeMap::new();
        for entry in line["entries"].as_array().ok_or("expected a list of entries under \"entries\"")? {
            let entry = Entry {
                id: number(entry, "id")?,
                date: text(entry, "date")?.parse()?,
                title: text(entry, "title")?.parse()?,
                done: entry["done"].as_bool().ok_or("expected true or false under \"done\"")?,
            };
            if let Some(duplicate) = entries.insert(entry.id, entry) {
                return Err(format!("there are two entries {}", duplicate.id).into());
            }
        }
        let next_id = number(&line, "next_id")?;
        if entries.keys().any(|id| *id == 0 || *id >= next_id) {
            return Err(format!("the ids of its entries are not from 1 to below next_id, {next_id}").into());
        }
        Ok(Self { list, next_id, entries })
    }

    /// Returns the events that bring an empty list into this state, including the ids of removed entries,
    /// which are not used again.
    fn events(&self) -> Vec<(ListName, Event)> {
        let mut events: Vec<Event> = self.entries.values().cloned().map(Event::Added).collect();
        let last = self.next_id.saturating_sub(1);
        let used = |title: Title, date| {
            let entry = Entry { id: last, date, title, done: false };
            [Event::Added(entry), Event::Removed { id: last }]
        };
        // If the last entry was removed, add and remove an entry with its id: that sets the next id.
        if last > 0 && !self.entries.contains_key(&last) {
            if let (Ok(title), Ok(date)) = ("removed".parse(), "2000-01-01".parse()) {
                events.extend(used(title, date));
            }
        }
        events.into_iter().map(|event| (self.list.clone(), event)).collect()
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str, String> {
    value[key].as_str().ok_or_else(|| format!("expected a text under {key:?}"))
}

fn number(value: &Value, key: &str) -> Result<u64, String> {
    value[key].as_u64().ok_or_else(|| format!("expected a number under {key:?}"))
}
