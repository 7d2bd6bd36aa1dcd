//! A list server: the one process that knows a certain list. The cache starts one for each list that is
//! asked for; the client functions talk to it.

use std::time::Duration;

use rethread::prelude::*;

use super::database;
use super::date::Date;
use super::error::TodoError;
use super::fault::HandlerFault;
use super::list::{Entry, EntryId, Event, NoSuchEntry, TodoList};
use super::name::{ListName, Title};

/// Keeps one list in memory, as it is on disk: a change is stored first, then made here, then answered.
pub(crate) struct TodoServer {
    name: ListName,
    list: TodoList,
    expiry: Option<Duration>,
}

/// What a list's server is started with.
#[derive(Debug, Clone)]
pub(crate) struct TodoServerArgs {
    pub(crate) list: ListName,
    /// After how long without a request it ends, in good order; `None` for never.
    pub(crate) expiry: Option<Duration>,
}

impl TodoServerArgs {
    /// A server that stays.
    pub(crate) fn of(list: &ListName) -> Self {
        Self { list: list.clone(), expiry: None }
    }
}

/// The answer to a change: the entry as it is now, or as it was if it is gone.
pub(crate) type Changed = Result<Entry, TodoError>;

/// What a list can be asked.
pub(crate) enum ListCall {
    /// To take in a new entry.
    Add(Date, Title, Caller<Changed>),
    /// To tick an entry off.
    Done(EntryId, Caller<Changed>),
    /// To give an entry another title.
    Edit(EntryId, Title, Caller<Changed>),
    /// To take an entry out.
    Remove(EntryId, Caller<Changed>),
    /// For its entries, of one day or all.
    Entries(Option<Date>, Caller<Vec<Entry>>),
}

/// What a list can be told.
pub(crate) enum ListCast {
    /// To do something wrong, for a show or a test.
    Inject(HandlerFault),
}

impl TodoServer {
    /// The server of a list, whichever process it is at the moment. The name of the list is data: it is part
    /// of this name, and never of a path.
    pub(crate) fn of(list: &ListName) -> ServerRef<Self> {
        ServerRef::from_name(format!("list:{list}"))
    }
}

impl GenServer for TodoServer {
    type Args = TodoServerArgs;
    type Call = ListCall;
    type Cast = ListCast;

    /// Returns at once: the cache waits for it. The list is loaded afterwards, before any request.
    fn init(
        TodoServerArgs { list, expiry }: TodoServerArgs,
        cx: &mut Context<Self>,
    ) -> Result<Self, InitError> {
        cx.after_init(Next::wait().and_continue());
        Ok(TodoServer { name: list, list: TodoList::new(), expiry })
    }

    fn handle_continue(&mut self, _: &mut Context<Self>) -> Next {
        match database::load(&self.name) {
            Ok(list) => {
                self.list = list;
                self.with_expiry(Next::wait())
            }
            Err(error) => Next::stop(ExitReason::error(error)),
        }
    }

    fn handle_call(&mut self, call: ListCall, _: &mut Context<Self>) -> Next {
        match call {
            ListCall::Add(date, title, from) => self.change(Ok(self.list.plan_add(date, title)), from),
            ListCall::Done(id, from) => self.change(self.list.plan_done(id), from),
            ListCall::Edit(id, title, from) => self.change(self.list.plan_edit(id, title), from),
            ListCall::Remove(id, from) => self.change(self.list.plan_remove(id), from),
            ListCall::Entries(Some(date), from) => {
                self.with_expiry(from.reply(self.list.on(date).cloned().collect()))
            }
            ListCall::Entries(None, from) => {
                self.with_expiry(from.reply(self.list.entries().cloned().collect()))
            }
        }
    }

    fn handle_info(&mut self, info: Info, _: &mut Context<Self>) -> Next {
        match info {
            // Nobody has asked for a while, and nobody is asking: the next one finds it started anew.
            Info::Timeout => Next::stop(ExitReason::Normal),
            _ => self.with_expiry(Next::wait()),
        }
    }

    fn handle_cast(&mut self, ListCast::Inject(fault): ListCast, _: &mut Context<Self>) -> Next {
        fault.execute(&format!("the server of list {:?}", self.name.as_str()))
    }
}

impl TodoServer {
    /// Waits on, though not for ever if it expires.
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
            // What is on disk now is not known here: load it anew.
            return from.reply(Err(error)).and_continue();
        }
        let id = event.id();
        let before = self.list.get(id).cloned();
        self.list.apply(event);
        let after = self.list.get(id).cloned().or(before);
        self.with_expiry(from.reply(after.ok_or(NoSuchEntry(id).into())))
    }
}
