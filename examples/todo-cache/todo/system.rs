//! The whole to-do system, under its supervisor: starting and stopping it. The commands and the tests do.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rethread::{FailedToStartChild, StopError, prelude::*};

use super::cache::{CACHE, Cache};
use super::store::StoreError;
use super::tree;

/// The supervisor of the system.
pub(crate) const SYSTEM: ServerRef<Supervisor> = ServerRef::named("system");

/// How long the processes of a system that was stopped may take to end.
const STOPPING: Duration = Duration::from_secs(10);

/// What a system is started with.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// The folder of its data; made if it is not there.
    pub(crate) dir: PathBuf,
    /// How many crashes are healed within [`period`](Self::period); one more ends the system.
    pub(crate) max_restarts: u32,
    /// The time in which crashes are counted.
    pub(crate) period: Duration,
}

impl Config {
    /// Data in this folder, and three restarts in five seconds.
    pub(crate) fn new(dir: impl AsRef<Path>) -> Self {
        Self { dir: dir.as_ref().to_owned(), max_restarts: 3, period: Duration::from_secs(5) }
    }
}

/// A supervisor over the cache, which starts everything else.
pub(crate) struct System;

impl System {
    /// Starts it, linked to the calling process.
    ///
    /// # Errors
    ///
    /// [`StartError`]; if it is the fault of the store, [`store_error`] finds what is wrong.
    pub(crate) fn start_link(config: Config) -> Result<ServerRef<Supervisor>, StartError> {
        let dir: Arc<Path> = config.dir.into();
        Supervisor::one_for_one()
            .max_restarts(config.max_restarts, config.period)
            .name(SYSTEM)
            .child(Cache::child_spec(dir).name(CACHE))
            .start_link()
    }

    /// Stops it and waits until every process of it is gone, and every file closed. (Those behind the cache
    /// end through their links, for which the supervisor does not wait.)
    ///
    /// # Errors
    ///
    /// [`StopError`].
    pub(crate) fn stop(system: &ServerRef<Supervisor>) -> Result<(), StopError> {
        let members = system.whereis().map(tree::members).unwrap_or_default();
        let watches: Vec<_> = members.iter().map(|member| process::watch(member.pid)).collect();
        system.stop_with(ExitReason::Normal, STOPPING)?;
        for watch in watches {
            watch.wait_timeout(STOPPING).ok_or(StopError::Timeout)?;
        }
        Ok(())
    }
}

/// What is wrong with the store, if that is why a system did not start. A worker refuses to start with it,
/// and through the links it becomes the reason of everybody who waits for that start.
pub(crate) fn store_error(error: &StartError) -> Option<&StoreError> {
    let StartError::Failed(reason) = error else {
        return None;
    };
    match reason.downcast_ref::<FailedToStartChild>() {
        Some(failed) => store_error(&failed.error),
        None => reason.downcast_ref(),
    }
}
