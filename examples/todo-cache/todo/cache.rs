//! The cache: finds the server of a list, and starts it when it is first asked for. The system's supervisor
//! starts it; the client functions ask it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rethread::prelude::*;

use super::database::{DATABASE, Database};
use super::error::TodoError;
use super::name::ListName;
use super::server::TodoServer;

/// The cache, whichever process it is at the moment.
pub(crate) const CACHE: ServerRef<Cache> = ServerRef::named("cache");

/// Starts the database and every list server, all linked to itself: whichever of them dies, all die, and
/// the supervisor starts afresh. That is the shape of chapter 8: nothing leaks, and the blast is wide.
pub(crate) struct Cache {
    servers: HashMap<ListName, ServerRef<TodoServer>>,
}

/// What the cache can be asked.
pub(crate) enum Ask {
    /// For the server of a list, which is started if it does not run.
    ServerProcess(ListName, Caller<Result<ServerRef<TodoServer>, StartError>>),
}

/// What the cache can be told.
pub(crate) enum Tell {
    /// To panic, for a show or a test.
    Crash,
}

impl GenServer for Cache {
    type Args = Arc<Path>;
    type Call = Ask;
    type Cast = Tell;

    fn init(dir: Self::Args, _: &mut Context<Self>) -> Result<Self, Stop> {
        Database::child_spec(dir).name(DATABASE).start_link()?;
        Ok(Cache { servers: HashMap::new() })
    }

    fn handle_call(&mut self, Ask::ServerProcess(list, from): Ask, _: &mut Context<Self>) -> Next {
        from.reply(self.server_of(list))
    }

    fn handle_cast(&mut self, Tell::Crash: Tell, _: &mut Context<Self>) -> Next {
        panic!("the cache was told to crash")
    }
}

impl Cache {
    /// One request after the other: that is why there is one server per list, and never two.
    fn server_of(&mut self, list: ListName) -> Result<ServerRef<TodoServer>, StartError> {
        if let Some(server) = self.servers.get(&list).filter(|server| server.whereis().is_some()) {
            return Ok(server.clone());
        }
        let server = TodoServer::of(&list);
        TodoServer::child_spec(list.clone()).name(server.clone()).start_link()?;
        self.servers.insert(list, server.clone());
        Ok(server)
    }
}

/// The server of a list, started if it does not run. It is reached by name, so that the handle stays good
/// when the process behind it is replaced.
///
/// # Errors
///
/// [`TodoError::Start`], [`TodoError::Unavailable`].
pub(crate) fn server_process(list: &ListName) -> Result<ServerRef<TodoServer>, TodoError> {
    Ok(CACHE.call(|from| Ask::ServerProcess(list.clone(), from)).map_err(TodoError::Unavailable)??)
}
