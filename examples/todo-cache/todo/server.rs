//! A list server: the one process that has a certain list in memory. The cache starts it on demand.

use std::time::Duration;

use rethread::prelude::*;

use super::database;
use super::date::Date;
use super::error::TodoError;
use super::fault::HandlerFault;
use super::list::{Entry, EntryId, Event, NoSuchEntry, TodoList};
use super::name::{ListName, Title};
use super::store::StoreError;

/// A server with one list in memory, as it is on disk: a change is first stored, then applied, then replied
/// to.
pub(crate) struct TodoServer {
    name: ListName,
    /// Why there is none, if the store could not load it: then each request tries again.
    list: Result<TodoList, StoreError>,
    expiry: Option<Duration>,
}

/// The start arguments of a list server.
#[derive(Debug, Clone)]
pub(crate) struct TodoServerArgs {
    pub(crate) list: ListName,
    /// After how long without a request it stops normally; `None` for never.
    pub(crate) expiry: Option<Duration>,
}

impl TodoServerArgs {
    /// Returns the arguments of a server without an idle timeout.
    pub(crate) fn of(list: &ListName) -> Self {
        Self { list: list.clone(), expiry: None }
    }
}

/// The reply to a change: the new value of the entry, or the old one if it was removed.
pub(crate) type Changed = Result<Entry, TodoError>;

/// The calls of a list server.
pub(crate) enum ListCall {
    /// Adds an entry.
    Add(Date, Title, Caller<Changed>),
    /// Marks an entry as done.
    Done(EntryId, Caller<Changed>),
    /// Changes the title of an entry.
    Edit(EntryId, Title, Caller<Changed>),
    /// Removes an entry.
    Remove(EntryId, Caller<Changed>),
    /// Returns the entries, of one day or all.
    Entries(Option<Date>, Caller<Result<Vec<Entry>, TodoError>>),
}

/// The casts of a list server.
pub(crate) enum ListCast {
    /// Executes a fault, for a demonstration or a test.
    Inject(HandlerFault),
}

impl TodoServer {
    /// Returns the server of a list, by name. The name of the list is part of this name, and never of a path.
    pub(crate) fn of(list: &ListName) -> ServerRef<Self> {
        ServerRef::from_name(format!("list:{list}"))
    }
}

impl GenServer for TodoServer {
    type Args = TodoServerArgs;
    type Call = ListCall;
    type Cast = ListCast;

    /// Returns at once, because the cache waits for it. The list is loaded afterwards, before any request is
    /// handled.
    fn init(
        TodoServerArgs { list, expiry }: TodoServerArgs,
        cx: &mut Context<Self>,
    ) -> Result<Self, InitError> {
        cx.after_init(Next::wait().and_continue());
        Ok(TodoServer { name: list, list: Ok(TodoList::new()), expiry })
    }

    fn handle_continue(&mut self, _: &mut Context<Self>) -> Next {
        match self.load() {
            Ok(()) => self.with_expiry(Next::wait()),
            Err(error) => Next::stop(ExitReason::error(error)),
        }
    }

    fn handle_call(&mut self, call: ListCall, _: &mut Context<Self>) -> Next {
        if self.list.is_err() {
            if let Err(error) = self.load() {
                return Next::stop(ExitReason::error(error));
            }
        }
        let list = match &self.list {
            Ok(list) => list,
            Err(error) => {
                let error = TodoError::from(error.clone());
                return self.with_expiry(call.refuse(error));
            }
        };
        match call {
            ListCall::Add(date, title, from) => self.change(Ok(list.plan_add(date, title)), from),
            ListCall::Done(id, from) => self.change(list.plan_done(id), from),
            ListCall::Edit(id, title, from) => self.change(list.plan_edit(id, title), from),
            ListCall::Remove(id, from) => self.change(list.plan_remove(id), from),
            ListCall::Entries(Some(date), from) => {
                self.with_expiry(from.reply(Ok(list.on(date).cloned().collect())))
            }
            ListCall::Entries(None, from) => {
                self.with_expiry(from.reply(Ok(list.entries().cloned().collect())))
            }
        }
    }

    fn handle_info(&mut self, info: Info, _: &mut Context<Self>) -> Next {
        match info {
            // No request has arrived within the timeout, and none is queued: the next one starts a new
            // server.
            Info::Timeout => Next::stop(ExitReason::Normal),
            _ => self.with_expiry(Next::wait()),
        }
    }

    fn handle_cast(&mut self, ListCast::Inject(fault): ListCast, _: &mut Context<Self>) -> Next {
        fault.execute(&format!("the server of list {:?}", self.name.as_str()))
    }
}

impl ListCall {
    /// Replies with an error.
    fn refuse(self, error: TodoError) -> Next {
        match self {
            ListCall::Add(.., from)
            | ListCall::Done(_, from)
            | ListCall::Edit(.., from)
            | ListCall::Remove(_, from) => from.reply(Err(error)),
            ListCall::Entries(_, from) => from.reply(Err(error)),
        }
    }
}

impl TodoServer {
    /// Loads the list. An error of the store is kept: it may last, and a server that is started again for each request
    /// would not change that. Any other error, such as that of a worker that exits, is returned.
    fn load(&mut self) -> Result<(), TodoError> {
        self.list = match database::load(&self.name) {
            Err(TodoError::Store(error)) => Err(error),
            loaded => Ok(loaded?),
        };
        Ok(())
    }

    /// Adds the idle timeout, if there is one.
    fn with_expiry(&self, next: Next) -> Next {
        match self.expiry {
            Some(expiry) => next.timeout(expiry),
            None => next,
        }
    }

    fn change(&mut self, plan: Result<Event, NoSuchEntry>, from: Caller<Changed>) -> Next {
        let event = match plan {
            Ok(event) => event,
            Err(absent) => return self.with_expiry(from.reply(Err(absent.into()))),
        };
        if let Err(error) = database::append(&self.name, &event) {
            // It is unknown whether the event is on disk: reload the list.
            return from.reply(Err(error)).and_continue();
        }
        // The event is on disk: apply it, and reply with the entry.
        let id = event.id();
        let after = self.list.as_mut().ok().and_then(|list| {
            let before = list.get(id).cloned();
            list.apply(event);
            list.get(id).cloned().or(before)
        });
        self.with_expiry(from.reply(after.ok_or(NoSuchEntry(id).into())))
    }
}
