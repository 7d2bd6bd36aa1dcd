//! A list as an agent, the alternative to a list server: no protocol, only functions that are sent to a value.
//! It loads its list in its start, so the caller that starts it waits for the disk. The tests check it by the
//! same rules as the list server.

use rethread::agent::{Agent, AgentRef, AgentSpec};
use rethread::prelude::*;

use super::database;
use super::date::Date;
use super::error::TodoError;
use super::list::{Entry, EntryId, Event, NoSuchEntry, TodoList};
use super::name::{ListName, Title};
use super::server::Changed;

/// The state of an agent: the list as it is on disk.
pub(crate) struct AgentState {
    name: ListName,
    list: TodoList,
}

/// Returns the agent of a list, by name.
pub(crate) fn of(list: &ListName) -> AgentRef<AgentState> {
    AgentRef::from_name(format!("agent:{list}"))
}

/// Returns the child specification. The agent is not restarted by its supervisor, but started on demand.
pub(crate) fn spec(list: &ListName) -> AgentSpec<AgentState> {
    let name = list.clone();
    let load = move || {
        let list = database::load(&name).or_exit();
        AgentState { name: name.clone(), list }
    };
    Agent::child_spec(load).name(of(list)).restart(Restart::Temporary)
}

/// Adds an entry; `Ok` means that it is on disk.
pub(crate) fn add(list: &ListName, date: Date, title: &Title) -> Changed {
    let title = title.clone();
    change(list, move |todo| Ok(todo.plan_add(date, title)))
}

/// Marks an entry as done.
pub(crate) fn done(list: &ListName, id: EntryId) -> Changed {
    change(list, move |todo| todo.plan_done(id))
}

/// Changes the title of an entry.
pub(crate) fn edit(list: &ListName, id: EntryId, title: &Title) -> Changed {
    let title = title.clone();
    change(list, move |todo| todo.plan_edit(id, title))
}

/// Removes an entry and returns it.
pub(crate) fn remove(list: &ListName, id: EntryId) -> Changed {
    change(list, move |todo| todo.plan_remove(id))
}

/// Returns the entries of a list, of one day or all.
pub(crate) fn entries(list: &ListName, date: Option<Date>) -> Result<Vec<Entry>, TodoError> {
    let read = move |state: &AgentState| match date {
        Some(date) => state.list.on(date).cloned().collect(),
        None => state.list.entries().cloned().collect(),
    };
    of(list).get(read).map_err(TodoError::Unavailable)
}

/// Plans, stores and applies an event. The agent runs this, so changes of one list do not overlap.
fn change(
    list: &ListName,
    plan: impl FnOnce(&TodoList) -> Result<Event, NoSuchEntry> + Send + 'static,
) -> Changed {
    let work = move |state: &mut AgentState| -> Changed {
        let event = plan(&state.list)?;
        if let Err(error) = database::append(&state.name, &event) {
            // It is unknown whether the event is on disk: reload the list.
            state.list = database::load(&state.name).or_exit();
            return Err(error);
        }
        let id = event.id();
        let before = state.list.get(id).cloned();
        state.list.apply(event);
        state.list.get(id).cloned().or(before).ok_or(NoSuchEntry(id).into())
    };
    of(list).get_and_update(work).map_err(TodoError::of_change)?
}
