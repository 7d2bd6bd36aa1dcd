//! The whole to-do system: starts it in one of its shapes, and stops it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rethread::StartError;
use rethread::gen_server::StopError;
use rethread::prelude::*;
use rethread::supervisor::FailedToStartChild;
use rethread::task::TaskSupervisor;

use super::cache::{CACHE, Cache, Wiring};
use super::chaos::CHAOS;
use super::client::Client;
use super::database::{self, DATABASE, Database};
use super::metrics;
use super::routes::Options;
use super::shape::Shape;
use super::store::StoreError;
use super::worker::DataFolder;
use super::{list_supervisor, tree, web, worker};

/// The top supervisor of the system, in all shapes except [`Shape::Unsupervised`].
pub(crate) const SYSTEM: SupervisorRef = SupervisorRef::named("system");

/// How long the processes of a stopped system may take to exit.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The configuration of a system.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// The folder of its data; created if it does not exist.
    pub(crate) dir: PathBuf,
    /// Its shape.
    pub(crate) shape: Shape,
    /// How many restarts are allowed within [`period`](Self::period); with one more the system gives up.
    pub(crate) max_restarts: u32,
    /// The period in which restarts are counted.
    pub(crate) period: Duration,
    /// How many lists may be in memory at once, in [`Shape::SupervisedLists`].
    pub(crate) max_lists: usize,
    /// How long a database worker may take to finish after an exit signal, if it is supervised.
    pub(crate) finish_timeout: Duration,
    /// After how long without a request a list server stops, in [`Shape::SupervisedLists`]; `None` for never.
    pub(crate) expiry: Option<Duration>,
    /// The web server, if there is one. It is started last, so that a client finds everything else running.
    pub(crate) web: Option<WebConfig>,
}

/// The configuration of the web server.
#[derive(Debug, Clone)]
pub(crate) struct WebConfig {
    /// The bound socket.
    pub(crate) listener: Arc<TcpListener>,
    /// Whether clients may kill processes.
    pub(crate) allow_kill: bool,
}

impl Config {
    /// Returns the default configuration: data in this folder, each part supervised, three restarts in five
    /// seconds.
    pub(crate) fn new(dir: impl AsRef<Path>) -> Self {
        Self {
            dir: dir.as_ref().to_owned(),
            shape: Shape::SupervisedLists,
            max_restarts: 3,
            period: Duration::from_secs(5),
            max_lists: 2000,
            finish_timeout: worker::DEFAULT_FINISH_TIMEOUT,
            expiry: None,
            web: None,
        }
    }

    /// Returns a client of the system with this configuration.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.shape, self.expiry)
    }
}

/// A running system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct System {
    /// Its top process: the supervisor, or the cache if there is none.
    pub(crate) root: Pid,
}

impl System {
    /// Starts the system, linked to the calling process; except in [`Shape::Unsupervised`],
    /// which has no links.
    ///
    /// # Errors
    ///
    /// [`StartError`]; if the cause is the store, [`store_error`] extracts it.
    pub(crate) fn start_link(config: Config) -> Result<Self, StartError> {
        let client = config.client();
        let folder = DataFolder::new(&config.dir);
        let cache = |database, links| Cache::child_spec(Wiring { database, links }).name(CACHE);
        let plan = Supervisor::one_for_one().max_restarts(config.max_restarts, config.period).name(SYSTEM);
        let plan = match config.shape {
            Shape::Unsupervised => {
                let cache = cache(Some(folder), false).start()?;
                return cache.whereis().map(|root| Self { root }).ok_or(StartError::Exiting);
            }
            Shape::SupervisedCache => plan.child(cache(Some(folder), false)),
            Shape::Linked => plan.child(cache(Some(folder), true)),
            // The cache needs the database, so the database is started first.
            Shape::SupervisedDatabase => {
                let database =
                    Database::child_spec(database::DatabaseArgs { folder, links: true }).name(DATABASE);
                plan.child(database).child(cache(None, true))
            }
            Shape::SupervisedWorkers => {
                plan.child(database::pool(&folder, config.finish_timeout)).child(cache(None, true))
            }
            // Three restarts in five seconds equal the number of workers: if all three crash at once, none is
            // left. So the pool gets three times as many.
            Shape::SupervisedLists => {
                let workers = config.max_restarts.saturating_mul(3);
                let pool =
                    database::pool(&folder, config.finish_timeout).max_restarts(workers, config.period);
                plan.child(metrics::spec()).child(pool).child(list_supervisor::supervisor(config.max_lists))
            }
        };
        let plan = match &config.web {
            Some(WebConfig { listener, allow_kill }) => {
                let chaos = TaskSupervisor::child_spec().name(CHAOS);
                let options = Options { client, allow_kill: *allow_kill };
                plan.child(chaos).child(web::supervisor(listener, options))
            }
            None => plan,
        };
        let system = plan.start_link()?;
        system.whereis().map(|root| Self { root }).ok_or(StartError::Exiting)
    }

    /// Stops the system and waits until all its processes have exited and all files are closed. This includes
    /// processes that exit through their links, for which no supervisor waits, and processes without links.
    ///
    /// # Errors
    ///
    /// [`StopError`].
    pub(crate) fn stop(self) -> Result<(), StopError> {
        let watches: Vec<_> = tree::members().iter().map(|member| process::watch(member.pid)).collect();
        if SYSTEM.whereis() == Some(self.root) {
            SYSTEM.stop_timeout(ExitReason::Normal, STOP_TIMEOUT)?;
        } else {
            process::exit(self.root, ExitReason::Shutdown);
        }
        tree::members().iter().for_each(|remaining| process::exit(remaining.pid, ExitReason::Shutdown));
        for watch in watches {
            let timeout = || StopError::Timeout { server: SYSTEM.to_string().into(), after: STOP_TIMEOUT };
            watch.wait_timeout(STOP_TIMEOUT).ok_or_else(timeout)?;
        }
        Ok(())
    }
}

/// Returns the error of the store, if that is why a system did not start. It is the start error of a worker,
/// which links and supervisors pass on as the exit reason of the processes that wait for the start.
pub(crate) fn store_error(error: &StartError) -> Option<&StoreError> {
    let StartError::Failed(reason) = error else {
        return None;
    };
    match reason.downcast_ref::<FailedToStartChild>() {
        Some(failed) => store_error(&failed.error),
        None => reason.downcast_ref(),
    }
}
