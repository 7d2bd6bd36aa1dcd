//! The dynamic supervisor of the list servers, in the shape `supervised-lists`. It takes the place of the
//! cache.

use std::time::Duration;

use rethread::StartError;
use rethread::gen_server::CallError;
use rethread::gen_server::ServerSpec;
use rethread::prelude::*;
use rethread::supervisor::{DynamicSupervisor, DynamicSupervisorRef, DynamicSupervisorSpec};

use super::error::TodoError;
use super::name::ListName;
use super::server::{self, TodoServer};

/// The supervisor, by name.
pub(crate) const LISTS: DynamicSupervisorRef = DynamicSupervisorRef::named("lists");

/// Returns the specification of the supervisor, for at most `max_children` lists.
pub(crate) fn supervisor(max_children: usize) -> DynamicSupervisorSpec {
    DynamicSupervisor::child_spec().max_children(max_children).name(LISTS)
}

/// Starts the server of a list, if it is not running. The server stops after the time `expiry` without a
/// request.
///
/// # Errors
///
/// [`TodoError::Start`], [`TodoError::Unavailable`].
pub(crate) fn start(list: &ListName, expiry: Option<Duration>) -> Result<(), TodoError> {
    match LISTS.start_server(spec(list, expiry)) {
        // Another client may have started it in the meantime.
        Ok(_) | Err(StartError::AlreadyStarted(_)) => Ok(()),
        Err(StartError::NoSupervisor(_)) => {
            Err(TodoError::Unavailable(CallError::NoProc { server: LISTS.to_string().into() }))
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns the child specification of a list server. It is not restarted when it exits, but started by the
/// next request.
fn spec(list: &ListName, expiry: Option<Duration>) -> ServerSpec<TodoServer> {
    TodoServer::child_spec(server::TodoServerArgs { list: list.clone(), expiry })
        .name(TodoServer::of(list))
        .restart(Restart::Temporary)
}
