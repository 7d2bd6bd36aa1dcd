//! The commands `export` and `import`: all lists as JSON lines, one list per line. They open the stores
//! directly, so the folder must not be in use.
//!
//! ```text
//! {"list":"bob","next_id":3,"entries":[{"id":1,"date":"2026-11-22","title":"Dentist","done":false}]}
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

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
    let stores = open(dir)?;
    let mut out: Box<dyn Write> = match &to {
        Some(path) => {
            Box::new(File::create_new(path).map_err(|error| format!("{}: {error}", path.display()))?)
        }
        None => Box::new(io::stdout().lock()),
    };
    let mut names = Vec::new();
    for store in &stores {
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
    writeln!(io::stderr(), "{} lists exported", names.len())?;
    Ok(())
}

/// Adds all lists of a file, or of the standard input, to a folder that has none of them. All input is read
/// before anything is written.
pub(crate) fn import(dir: &Path, from: Option<PathBuf>) -> Result<(), Failure> {
    let input: Box<dyn BufRead> = match &from {
        Some(path) => Box::new(BufReader::new(
            File::open(path).map_err(|error| format!("{}: {error}", path.display()))?,
        )),
        None => Box::new(io::stdin().lock()),
    };
    let mut lists: Vec<ArchivedList> = Vec::new();
    for (number, line) in input.lines().enumerate() {
        let line = line?;
        if !line.trim().is_empty() {
            lists.push(ArchivedList::read(&line).map_err(|error| format!("line {}: {error}", number + 1))?);
        }
    }
    // Reject the whole input if any list exists already, or is in the file twice.
    let mut stores = open(dir)?;
    let mut existing = BTreeSet::new();
    for store in &stores {
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
    for (store, batch) in stores.iter_mut().zip(&batches).filter(|(_, batch)| !batch.is_empty()) {
        store.append(batch)?;
    }
    writeln!(io::stderr(), "{} lists imported", lists.len())?;
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
