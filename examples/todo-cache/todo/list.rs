//! A to-do list as a value: plans events and applies them. List servers have one in memory, and the store
//! uses the same rules for the rows on disk. No processes, no clock, no I/O.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

use super::date::Date;
use super::name::Title;

/// The number of an entry in its list: from 1, in the order of adding, and never used twice.
pub(crate) type EntryId = u64;

/// A to-do item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its number in the list.
    pub(crate) id: EntryId,
    /// Its date.
    pub(crate) date: Date,
    /// Its text.
    pub(crate) title: Title,
    /// Whether it is done.
    pub(crate) done: bool,
}

/// A change of a list. It describes the state afterwards and has the id of its entry, so it is idempotent: a
/// sender that does not know whether an event was applied sends the same event again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The entry was added.
    Added(Entry),
    /// The entry was marked as done.
    Done {
        /// The entry.
        id: EntryId,
    },
    /// The title of the entry was changed.
    Edited {
        /// The entry.
        id: EntryId,
        /// The new title.
        title: Title,
    },
    /// The entry was removed. Its id is not used again.
    Removed {
        /// The entry.
        id: EntryId,
    },
}

/// The outcome of an event for its entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The entry has this value now.
    Updated(Entry),
    /// The entry is removed.
    Removed,
    /// The entry is unchanged: the event was applied before.
    Unchanged,
}

/// The list has no entry with this id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoSuchEntry(
    /// The requested id.
    pub(crate) EntryId,
);

/// The event does not fit the list: it was planned on another state of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EventConflict;

/// A to-do list: its entries by id, and the id the next one gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TodoList {
    next_id: EntryId,
    entries: BTreeMap<EntryId, Entry>,
}

impl Event {
    /// Returns the id of its entry.
    pub(crate) fn id(&self) -> EntryId {
        match self {
            Event::Added(entry) => entry.id,
            Event::Done { id } | Event::Edited { id, .. } | Event::Removed { id } => *id,
        }
    }

    /// Returns the outcome for its entry, from the current value of the entry and the next id of the list.
    /// Used both by [`TodoList::apply`] and for the rows on disk.
    ///
    /// An id below `next_id` without an entry belongs to a removed entry, which is never restored.
    ///
    /// # Errors
    ///
    /// [`EventConflict`] if the event is neither new nor a repetition: another entry has this id already, or
    /// the id was never used in the list.
    pub(crate) fn outcome(
        &self,
        current: Option<&Entry>,
        next_id: EntryId,
    ) -> Result<Outcome, EventConflict> {
        // An id that was used before. Without an entry, that entry was removed since.
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
    /// Returns an empty list, whose first entry gets id 1.
    pub(crate) fn new() -> Self {
        Self { next_id: 1, entries: BTreeMap::new() }
    }

    /// Returns a list from its stored entries and the id of the next entry (raised, if an entry has that id
    /// already).
    pub(crate) fn restore(next_id: EntryId, entries: impl IntoIterator<Item = Entry>) -> Self {
        let entries: BTreeMap<_, _> = entries.into_iter().map(|entry| (entry.id, entry)).collect();
        let past_last = entries.last_key_value().map_or(1, |(id, _)| id.saturating_add(1));
        Self { next_id: next_id.max(past_last), entries }
    }

    /// Returns the event that adds an entry with the next id. The list changes only when it is applied.
    pub(crate) fn plan_add(&self, date: Date, title: Title) -> Event {
        Event::Added(Entry { id: self.next_id, date, title, done: false })
    }

    /// Returns the event that marks an entry as done; succeeds also if it is done already.
    ///
    /// # Errors
    ///
    /// [`NoSuchEntry`].
    pub(crate) fn plan_done(&self, id: EntryId) -> Result<Event, NoSuchEntry> {
        self.existing_id(id).map(|id| Event::Done { id })
    }

    /// Returns the event that changes the title of an entry.
    ///
    /// # Errors
    ///
    /// [`NoSuchEntry`].
    pub(crate) fn plan_edit(&self, id: EntryId, title: Title) -> Result<Event, NoSuchEntry> {
        self.existing_id(id).map(|id| Event::Edited { id, title })
    }

    /// Returns the event that removes an entry.
    ///
    /// # Errors
    ///
    /// [`NoSuchEntry`].
    pub(crate) fn plan_remove(&self, id: EntryId) -> Result<Event, NoSuchEntry> {
        self.existing_id(id).map(|id| Event::Removed { id })
    }

    /// Applies an event. One that was applied before, or that does not fit this list, changes nothing.
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

    /// Returns the entry with this id.
    pub(crate) fn get(&self, id: EntryId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// Returns all entries, in the order of their ids.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Returns the entries of one day, in the order of their ids.
    pub(crate) fn on(&self, date: Date) -> impl Iterator<Item = &Entry> {
        self.entries().filter(move |entry| entry.date == date)
    }

    /// Returns the number of entries.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns `true` if there is no entry.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the id of the next entry, which is higher than all ids used before.
    pub(crate) fn next_id(&self) -> EntryId {
        self.next_id
    }

    /// Returns the id if the list has such an entry.
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
