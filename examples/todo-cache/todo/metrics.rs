//! What the system has done so far, in numbers. Restarts are counted by a process of its own, from the news of all
//! processes; everything else is counted where it happens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use once_cell::sync::Lazy;
use rethread::observer::{self, ProcessEventKind};
use rethread::{ChildSpec, process};

use super::tree;

/// How often it says in the log how things are, if nothing happens.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// When the program began.
static STARTED_AT: Lazy<std::time::Instant> = Lazy::new(std::time::Instant::now);
static RESTARTS: AtomicU64 = AtomicU64::new(0);
static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// The numbers of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Metrics {
    /// How long the program has run.
    pub(crate) uptime: Duration,
    /// How many processes there are.
    pub(crate) processes: usize,
    /// Processes that are dead while their threads go on.
    pub(crate) zombies: usize,
    /// How often a supervisor has started something again.
    pub(crate) restarts: u64,
    /// How many HTTP requests were answered.
    pub(crate) requests: u64,
}

/// A request was answered.
pub(crate) fn count_request() {
    REQUESTS.fetch_add(1, Ordering::Relaxed);
}

/// The numbers as they are now.
pub(crate) fn now() -> Metrics {
    Metrics {
        uptime: STARTED_AT.elapsed(),
        processes: tree::members().len(),
        zombies: process::zombies().len(),
        restarts: RESTARTS.load(Ordering::Relaxed),
        requests: REQUESTS.load(Ordering::Relaxed),
    }
}

/// The process that counts restarts, and reports.
pub(crate) fn spec() -> ChildSpec {
    Lazy::force(&STARTED_AT);
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
