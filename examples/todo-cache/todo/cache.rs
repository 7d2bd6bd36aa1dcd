//! The cache: finds the server of a list and starts it on first use. Up to chapter 9 it is a server; from
//! then on, a dynamic supervisor under the same name.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rethread::{ServerSpec, prelude::*};

use super::database::{self, DATABASE, Database};
use super::error::TodoError;
use super::fault::HandlerFault;
use super::name::ListName;
use super::server::{self, TodoServer};

/// The cache up to chapter 9, by name.
pub(crate) const CACHE: ServerRef<Cache> = ServerRef::named("cache");

/// The cache from then on, under the same name: a supervisor of list servers.
pub(crate) const LISTS: ServerRef<DynamicSupervisor> = ServerRef::named("cache");

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
    pub(crate) database: Option<Arc<Path>>,
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
        if let Some(dir) = database {
            let database = Database::child_spec(database::DatabaseArgs { dir, links }).name(DATABASE);
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

/// Returns the cache as a dynamic supervisor with at most `max_children` lists.
pub(crate) fn supervisor(max_children: usize) -> DynamicSupervisorSpec {
    DynamicSupervisor::new().max_children(max_children).name(LISTS)
}

/// After how long an idle list server stops, in milliseconds; 0 for never. A global setting, like the
/// application environment in the book.
static EXPIRY_MS: AtomicU64 = AtomicU64::new(0);

/// Sets the idle timeout of the list servers that are started from now on.
pub(crate) fn set_expiry(expiry: Option<Duration>) {
    let ms = expiry.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    EXPIRY_MS.store(ms, Ordering::Relaxed);
}

fn expiry() -> Option<Duration> {
    match EXPIRY_MS.load(Ordering::Relaxed) {
        0 => None,
        ms => Some(Duration::from_millis(ms)),
    }
}

/// Returns the child specification of a list server. It is not restarted when it exits, but started by the
/// next request.
fn spec(list: &ListName) -> ServerSpec<TodoServer> {
    TodoServer::child_spec(server::TodoServerArgs { list: list.clone(), expiry: expiry() })
        .name(TodoServer::of(list))
        .restart(Restart::Temporary)
}

/// Returns the server of a list; starts it if it is not running. The reference is by name, so it stays valid
/// when the process is replaced; except in the shapes without links, where no process is replaced.
///
/// # Errors
///
/// [`TodoError::Start`], [`TodoError::Unavailable`].
pub(crate) fn server_process(list: &ListName) -> Result<ServerRef<TodoServer>, TodoError> {
    let server = TodoServer::of(list);
    if server.whereis().is_some() {
        return Ok(server);
    }
    match CACHE.call(|from| CacheCall::ServerProcess(list.clone(), from)) {
        Ok(answer) => Ok(answer?),
        // The cache is the dynamic supervisor of chapter 9.
        Err(CallError::WrongType { .. }) => match LISTS.start_server(spec(list)) {
            Ok(_) | Err(StartError::AlreadyStarted(_)) => Ok(server),
            Err(StartError::NoSupervisor(_)) => {
                Err(TodoError::Unavailable(CallError::NoProc { server: LISTS.to_string().into() }))
            }
            Err(error) => Err(error.into()),
        },
        Err(error) => Err(TodoError::Unavailable(error)),
    }
}
