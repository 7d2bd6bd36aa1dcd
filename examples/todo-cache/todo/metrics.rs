//! The metrics of the system. A process counts restarts from the process events; everything else is counted
//! where it happens.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rethread::observer::{self, ProcessEventKind};
use rethread::process;
use rethread::supervisor::ChildSpec;

use super::tree;

/// The interval between two log messages, if there are no events.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// When the program started.
static STARTED_AT: LazyLock<Instant> = LazyLock::new(Instant::now);
static RESTARTS: AtomicU64 = AtomicU64::new(0);
static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// The metrics at one point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Metrics {
    /// The uptime of the program.
    pub(crate) uptime: Duration,
    /// The number of processes.
    pub(crate) processes: usize,
    /// The number of zombies: processes that have exited although their threads are still running.
    pub(crate) zombies: usize,
    /// The number of restarts by supervisors.
    pub(crate) restarts: u64,
    /// The number of answered HTTP requests.
    pub(crate) requests: u64,
}

/// Counts an answered request.
pub(crate) fn count_request() {
    REQUESTS.fetch_add(1, Ordering::Relaxed);
}

/// Returns the current metrics.
pub(crate) fn now() -> Metrics {
    Metrics {
        uptime: STARTED_AT.elapsed(),
        processes: tree::members().len(),
        zombies: process::zombies().len(),
        restarts: RESTARTS.load(Ordering::Relaxed),
        requests: REQUESTS.load(Ordering::Relaxed),
    }
}

/// Returns the specification of the process that counts restarts and logs the metrics.
pub(crate) fn spec() -> ChildSpec {
    LazyLock::force(&STARTED_AT); // the uptime starts here
    ChildSpec::worker("metrics", || {
        let mut events = observer::events();
        loop {
            match events.recv_timeout(LOG_INTERVAL) {
                Some(event) if matches!(event.kind, ProcessEventKind::Restarted { .. }) => {
                    RESTARTS.fetch_add(1, Ordering::Relaxed);
                }
                Some(_) => {}
                None => log::debug!("{:?}", now()),
            }
        }
    })
}
