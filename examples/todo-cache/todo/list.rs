//! A to-do list as a value: plan an event, apply it. List servers hold one in memory, and the store keeps the
//! same rules for the rows on disk; no processes, no clock, no I/O.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

use super::date::Date;
use super::name::Title;

/// The number of an entry in its list: from 1 up, in the order of adding, and never given out twice.
pub(crate) type EntryId = u64;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its number in its list.
    pub(crate) id: EntryId,
    /// The day it is for.
    pub(crate) date: Date,
    /// What is to be done.
    pub(crate) title: Title,
    /// Whether it is done.
    pub(crate) done: bool,
}

/// A change of a list. It says what is so afterwards and names its entry, so that applying it twice is the
/// same as applying it once: whoever does not know whether an event arrived sends the very same again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// This entry is new in the list.
    Added(Entry),
    /// The entry is done.
    Done {
        /// Which one.
        id: EntryId,
    },
    /// The entry says this now.
    Edited {
        /// Which one.
        id: EntryId,
        /// What it says.
        title: Title,
    },
    /// The entry is gone. Its id stays used.
    Removed {
        /// Which one.
        id: EntryId,
    },
}

/// What becomes of the one entry that an event names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is this from now on.
    Updated(Entry),
    /// It is gone.
    Removed,
    /// It stays as it was: the event was applied before.
    Unchanged,
}

/// There is no entry of that number in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoSuchEntry(
    /// The number asked for.
    pub(crate) EntryId,
);

/// The event does not follow from the list it met: it was planned on another state of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EventConflict;

/// A to-do list: its entries by id, and the id the next one gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TodoList {
    next_id: EntryId,
    entries: BTreeMap<EntryId, Entry>,
}

impl Event {
    /// The entry it names.
    pub(crate) fn id(&self) -> EntryId {
        match self {
            Event::Added(entry) => entry.id,
            Event::Done { id } | Event::Edited { id, .. } | Event::Removed { id } => *id,
        }
    }

    /// What becomes of the entry it names, given that entry as it is `now` and the next id of its list.
    /// This one rule serves [`TodoList::apply`] and the rows on disk.
    ///
    /// An id below `next_id` without an entry is one removed since: nothing brings it back.
    ///
    /// # Errors
    ///
    /// [`Misfit`] if the event can be no repetition and no successor: another entry has this id already, or
    /// the list never gave the id out.
    pub(crate) fn outcome(
        &self,
        current: Option<&Entry>,
        next_id: EntryId,
    ) -> Result<Outcome, EventConflict> {
        let is_known = self.id() < next_id;
        match (self, current) {
            (Event::Added(new), Some(now)) if new.date == now.date && new.title == now.title => {
                Ok(Outcome::Unchanged)
            }
            (Event::Added(_), Some(_)) => Err(EventConflict),
            (Event::Added(new), None) if !is_known => Ok(Outcome::Updated(new.clone())),
            (Event::Done { .. }, Some(now)) => Ok(Outcome::Updated(Entry { done: true, ..now.clone() })),
            (Event::Edited { title, .. }, Some(now)) => {
                Ok(Outcome::Updated(Entry { title: title.clone(), ..now.clone() }))
            }
            (Event::Removed { .. }, Some(_)) => Ok(Outcome::Removed),
            (_, None) if is_known => Ok(Outcome::Unchanged),
            (_, None) => Err(EventConflict),
        }
    }
}

impl TodoList {
    /// An empty list, whose first entry gets id 1.
    pub(crate) fn new() -> Self {
        Self { next_id: 1, entries: BTreeMap::new() }
    }

    /// A list as it was kept: its entries, and the id the next one gets (more, if an entry has that already).
    pub(crate) fn restore(next_id: EntryId, entries: impl IntoIterator<Item = Entry>) -> Self {
        let entries: BTreeMap<_, _> = entries.into_iter().map(|entry| (entry.id, entry)).collect();
        let past_last = entries.last_key_value().map_or(1, |(id, _)| id.saturating_add(1));
        Self { next_id: next_id.max(past_last), entries }
    }

    /// The event of adding an entry, with the next id. Nothing changes before it is applied.
    pub(crate) fn plan_add(&self, date: Date, title: Title) -> Event {
        Event::Added(Entry { id: self.next_id, date, title, done: false })
    }

    /// The event of ticking an entry off; fine also if it is done already.
    ///
    /// # Errors
    ///
    /// [`NoSuchEntry`].
    pub(crate) fn plan_done(&self, id: EntryId) -> Result<Event, NoSuchEntry> {
        self.existing_id(id).map(|id| Event::Done { id })
    }

    /// The event of giving an entry another title.
    ///
    /// # Errors
    ///
    /// [`NoSuchEntry`].
    pub(crate) fn plan_edit(&self, id: EntryId, title: Title) -> Result<Event, NoSuchEntry> {
        self.existing_id(id).map(|id| Event::Edited { id, title })
    }

    /// The event of taking an entry out.
    ///
    /// # Errors
    ///
    /// [`NoSuchEntry`].
    pub(crate) fn plan_remove(&self, id: EntryId) -> Result<Event, NoSuchEntry> {
        self.existing_id(id).map(|id| Event::Removed { id })
    }

    /// Makes the event so. One that was applied before, or that does not fit this list, changes nothing.
    pub(crate) fn apply(&mut self, event: Event) {
        let id = event.id();
        match event.outcome(self.entries.get(&id), self.next_id) {
            Ok(Outcome::Updated(entry)) => {
                self.entries.insert(id, entry);
                self.next_id = self.next_id.max(id.saturating_add(1));
            }
            Ok(Outcome::Removed) => {
                self.entries.remove(&id);
            }
            Ok(Outcome::Unchanged) | Err(EventConflict) => {}
        }
    }

    /// The entry of that id.
    pub(crate) fn get(&self, id: EntryId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// All entries, in the order of their ids.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The entries of one day, in the order of their ids.
    pub(crate) fn on(&self, date: Date) -> impl Iterator<Item = &Entry> {
        self.entries().filter(move |entry| entry.date == date)
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The id the next entry gets: more than every id given out before.
    pub(crate) fn next_id(&self) -> EntryId {
        self.next_id
    }

    /// That id, if there is such an entry.
    fn existing_id(&self, id: EntryId) -> Result<EntryId, NoSuchEntry> {
        if self.entries.contains_key(&id) { Ok(id) } else { Err(NoSuchEntry(id)) }
    }
}

impl Default for TodoList {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for NoSuchEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no entry {} in this list", self.0)
    }
}

impl fmt::Display for EventConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event was planned on another state of the list")
    }
}

impl Error for NoSuchEntry {}
impl Error for EventConflict {}
