//! A list as an agent, the other form of chapter 10: no protocol, only functions sent to a value. It loads while it starts,
//! so whoever starts it waits for the disk. The tests hold it to the same rules as the list server.

use rethread::{ServerSpec, prelude::*};

use super::database;
use super::date::Date;
use super::error::TodoError;
use super::list::{Entry, EntryId, Event, NoSuchEntry, TodoList};
use super::name::{ListName, Title};
use super::server::Changed;

/// What the agent of a list keeps: the list as it is on disk.
pub(crate) struct AgentState {
    name: ListName,
    list: TodoList,
}

/// The agent of a list, whichever process it is at the moment.
pub(crate) fn of(list: &ListName) -> ServerRef<Agent<AgentState>> {
    ServerRef::from_name(format!("agent:{list}"))
}

/// How it is started: not again when it ends, but when it is asked for.
pub(crate) fn spec(list: &ListName) -> ServerSpec<Agent<AgentState>> {
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

/// Ticks an entry off.
pub(crate) fn done(list: &ListName, id: EntryId) -> Changed {
    change(list, move |todo| todo.plan_done(id))
}

/// Gives an entry another title.
pub(crate) fn edit(list: &ListName, id: EntryId, title: &Title) -> Changed {
    let title = title.clone();
    change(list, move |todo| todo.plan_edit(id, title))
}

/// Takes an entry out, and gives it back.
pub(crate) fn remove(list: &ListName, id: EntryId) -> Changed {
    change(list, move |todo| todo.plan_remove(id))
}

/// The entries of a list, of one day or all.
pub(crate) fn entries(list: &ListName, date: Option<Date>) -> Result<Vec<Entry>, TodoError> {
    let read = move |state: &AgentState| match date {
        Some(date) => state.list.on(date).cloned().collect(),
        None => state.list.entries().cloned().collect(),
    };
    of(list).get(read).map_err(TodoError::Unavailable)
}

/// Plans, stores, applies: in the agent, so one after the other.
fn change(
    list: &ListName,
    plan: impl FnOnce(&TodoList) -> Result<Event, NoSuchEntry> + Send + 'static,
) -> Changed {
    let work = move |state: &mut AgentState| -> Changed {
        let event = plan(&state.list)?;
        if let Err(error) = database::append(&state.name, &event) {
            // What is on disk now is not known here: load it anew.
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
