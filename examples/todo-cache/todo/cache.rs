//! The cache: a server that finds the server of a list and starts it on first use. In the shape
//! `supervised-lists` a dynamic supervisor takes its place: see [`list_supervisor`](super::list_supervisor).

use std::collections::HashMap;
use std::sync::Arc;

use rethread::StartError;
use rethread::prelude::*;

use super::database::{self, DATABASE, Database};
use super::error::TodoError;
use super::fault::HandlerFault;
use super::name::ListName;
use super::server::{self, TodoServer};
use super::worker::DataFolder;

/// The cache, by name.
pub(crate) const CACHE: ServerRef<Cache> = ServerRef::named("cache");

/// A process that knows the servers of all lists. The shape of the system determines what else it starts, and
/// what it is linked to.
pub(crate) struct Cache {
    links: bool,
    servers: HashMap<ListName, ServerRef<TodoServer>>,
}

/// How a cache is wired.
#[derive(Debug, Clone)]
pub(crate) struct Wiring {
    /// The folder of the data, if the cache starts the database too.
    pub(crate) database: Option<Arc<DataFolder>>,
    /// Whether it is linked to the processes that it starts: then all of them exit together.
    pub(crate) links: bool,
}

/// The calls of the cache.
pub(crate) enum CacheCall {
    /// Returns the server of a list; starts it if it is not running.
    ServerProcess(ListName, Caller<Result<ServerRef<TodoServer>, StartError>>),
}

/// The casts of the cache.
pub(crate) enum CacheCast {
    /// Executes a fault, for a demonstration or a test.
    Inject(HandlerFault),
}

impl GenServer for Cache {
    type Args = Wiring;
    type Call = CacheCall;
    type Cast = CacheCast;

    fn init(wiring: Self::Args, _: &mut Context<Self>) -> Result<Self, InitError> {
        let Wiring { database, links } = wiring;
        if let Some(folder) = database {
            let database = Database::child_spec(database::DatabaseArgs { folder, links }).name(DATABASE);
            match if links { database.start_link() } else { database.start() } {
                // Without a link, the database has survived an earlier cache.
                Err(StartError::AlreadyStarted(_)) if !links => {}
                started => drop(started?),
            }
        }
        Ok(Cache { links, servers: HashMap::new() })
    }

    fn handle_call(
        &mut self,
        CacheCall::ServerProcess(list, from): CacheCall,
        _: &mut Context<Self>,
    ) -> Next {
        from.reply(self.server_of(list))
    }

    fn handle_cast(&mut self, CacheCast::Inject(fault): CacheCast, _: &mut Context<Self>) -> Next {
        fault.execute("the cache")
    }
}

impl Cache {
    /// Returns the server of a list; starts it if needed. The cache handles one request at a time, so no list
    /// gets two servers.
    fn server_of(&mut self, list: ListName) -> Result<ServerRef<TodoServer>, StartError> {
        if let Some(server) = self.servers.get(&list) {
            // Without links the cache is not notified when a server exits, and returns a stale reference:
            // this is the problem that links solve. With links, a server that is not running has stopped
            // normally.
            if !self.links || server.whereis().is_some() {
                return Ok(server.clone());
            }
        }
        let server = if self.links {
            let server = TodoServer::of(&list);
            TodoServer::child_spec(server::TodoServerArgs::of(&list)).name(server.clone()).start_link()?;
            server
        } else {
            // Without a name, because a server that an earlier cache started may still have that name.
            TodoServer::child_spec(server::TodoServerArgs::of(&list))
                .label(TodoServer::of(&list).to_string())
                .start()?
        };
        self.servers.insert(list, server.clone());
        Ok(server)
    }
}

/// Returns the server of a list from the cache, which starts it if it is not running.
///
/// # Errors
///
/// [`TodoError::Start`], [`TodoError::Unavailable`].
pub(crate) fn server_process(list: &ListName) -> Result<ServerRef<TodoServer>, TodoError> {
    let started = CACHE.call(|from| CacheCall::ServerProcess(list.clone(), from));
    Ok(started.map_err(TodoError::Unavailable)??)
}
