//! The cache: finds the server of a list, and starts it when it is first asked for. The system's supervisor
//! starts it; the client functions ask it.

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

/// The cache up to chapter 9, whichever process it is at the moment.
pub(crate) const CACHE: ServerRef<Cache> = ServerRef::named("cache");

/// The cache from then on, under the same name: a supervisor of list servers.
pub(crate) const LISTS: ServerRef<DynamicSupervisor> = ServerRef::named("cache");

/// A process that knows the servers of all lists. What it starts besides, and what it is linked with, is the shape of
/// the system.
pub(crate) struct Cache {
    links: bool,
    servers: HashMap<ListName, ServerRef<TodoServer>>,
}

/// How a cache is wired.
#[derive(Debug, Clone)]
pub(crate) struct Wiring {
    /// The folder of the data, if the cache starts the database too.
    pub(crate) database: Option<Arc<Path>>,
    /// Whether it is linked with what it starts: then it, and everybody else, ends with any of them.
    pub(crate) links: bool,
}

/// What the cache can be asked.
pub(crate) enum CacheCall {
    /// For the server of a list, which is started if it does not run.
    ServerProcess(ListName, Caller<Result<ServerRef<TodoServer>, StartError>>),
}

/// What the cache can be told.
pub(crate) enum CacheCast {
    /// To do something wrong, for a show or a test.
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
                // Without a link it has survived an earlier cache.
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
    /// One request after the other: that is why there is one server per list, and never two.
    fn server_of(&mut self, list: ListName) -> Result<ServerRef<TodoServer>, StartError> {
        if let Some(server) = self.servers.get(&list) {
            // Without links the cache never hears of a server's death, and hands out the dead one: that is what links
            // are for. With them, a server that is gone has left in good order.
            if !self.links || server.whereis().is_some() {
                return Ok(server.clone());
            }
        }
        let server = if self.links {
            let server = TodoServer::of(&list);
            TodoServer::child_spec(server::TodoServerArgs::of(&list)).name(server.clone()).start_link()?;
            server
        } else {
            // Without a name of its own, because one that an earlier cache has started may still have it.
            TodoServer::child_spec(server::TodoServerArgs::of(&list))
                .label(TodoServer::of(&list).to_string())
                .start()?
        };
        self.servers.insert(list, server.clone());
        Ok(server)
    }
}

/// The cache as a dynamic supervisor of at most so many lists.
pub(crate) fn supervisor(max_children: usize) -> DynamicSupervisorSpec {
    DynamicSupervisor::new().max_children(max_children).name(LISTS)
}

/// After how long an idle list leaves memory; zero for never. One setting for the program, as the book's application
/// environment is.
static EXPIRY_MS: AtomicU64 = AtomicU64::new(0);

/// Has lists that are started from now on leave memory when nobody has asked for them for so long.
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

/// The server of a list as its supervisor starts it: not again when it ends, but at the next request.
fn spec(list: &ListName) -> ServerSpec<TodoServer> {
    TodoServer::child_spec(server::TodoServerArgs { list: list.clone(), expiry: expiry() })
        .name(TodoServer::of(list))
        .restart(Restart::Temporary)
}

/// The server of a list, started if it does not run. It is reached by name, so that the handle stays good
/// when the process behind it is replaced; but for the shapes without links, where nothing is replaced.
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
        // It is the supervisor of chapter 9.
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
