//! Supervisor state that observers can read without a call, even while the supervisor is busy: strategy,
//! restarts, children.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::process::control::block::SupervisorStatus;
use crate::process::control::local;
use crate::process::observe::events;
use crate::process::observe::events::ProcessEventKind;
use crate::supervisor::child::{Child, ChildInfo, Status, child_info};
use crate::supervisor::intensity::RestartCount;
use crate::supervisor::intensity::RestartIntensity;
use crate::supervisor::spec::Strategy;
use crate::sync::{self, Mutex};

/// The status of one child, as published by its supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChildStatus {
    /// Its id, state and type.
    pub child: ChildInfo,
    /// How often it was restarted.
    pub restarts: u64,
}

impl ChildStatus {
    fn of(child: &Child) -> Self {
        Self { child: child_info(child), restarts: child.restarts() }
    }
}

/// The published state of one supervisor.
pub(crate) struct StatusBoard {
    /// `None` for a dynamic supervisor.
    pub(crate) strategy: Option<Strategy>,
    pub(crate) intensity: Mutex<RestartIntensity>,
    /// Whether the supervisor starts a child whose failures it logs itself.
    reports_start: AtomicBool,
    /// The children after the last handled message. Dynamic supervisors publish only those that wait for a restart: they
    /// may have thousands of others, which observers find by their parent.
    pub(crate) children: Mutex<Vec<ChildStatus>>,
}

impl StatusBoard {
    /// Creates a board and publishes it in the control block of the calling process, which is the supervisor.
    pub(crate) fn register(strategy: Option<Strategy>, intensity: RestartIntensity) -> Arc<Self> {
        let board = Arc::new(Self {
            strategy,
            intensity: Mutex::new(intensity),
            reports_start: AtomicBool::new(false),
            children: Mutex::new(Vec::new()),
        });
        if let Some(me) = local::get() {
            // Cannot be set already: a process runs at most one supervisor.
            let _ = me.block.supervisor_status.set(Arc::clone(&board) as Arc<dyn SupervisorStatus>);
        }
        board
    }

    /// Runs `start`, which starts a child that keeps failing: the supervisor, not the child, logs a failure.
    pub(crate) fn reporting_start<T>(&self, start: impl FnOnce() -> T) -> T {
        self.reports_start.store(true, Ordering::Relaxed);
        let started = start();
        self.reports_start.store(false, Ordering::Relaxed);
        started
    }

    pub(crate) fn record_restart(&self) -> bool {
        self.intensity.lock().record_restart(sync::now())
    }

    pub(crate) fn restarts(&self) -> RestartCount {
        self.intensity.lock().count(sync::now())
    }

    #[expect(single_use_lifetimes, reason = "older compilers want it named")]
    pub(crate) fn set_children<'a>(&self, children: impl Iterator<Item = &'a Child>) {
        // Copies all children: observers read them while the supervisor is busy with the next message.
        *self.children.lock() = children.map(ChildStatus::of).collect();
    }

    /// Publishes a child of a dynamic supervisor that waits for its restart.
    pub(crate) fn add_waiting(&self, child: &Child) {
        self.children.lock().push(ChildStatus::of(child));
    }

    /// Removes what [`add_waiting`](Self::add_waiting) has published.
    pub(crate) fn remove_waiting(&self, child: &Child) {
        if matches!(child.status, Status::Waiting(_)) {
            let status = ChildStatus::of(child);
            let mut children = self.children.lock();
            // Any equal one will do, since only its value can be seen.
            if let Some(at) = children.iter().position(|other| *other == status) {
                children.remove(at);
            }
        }
    }
}

/// Emits the event that the calling process, a supervisor, gives up.
pub(crate) fn publish_give_up(why: &str) {
    if let Some(me) = local::get() {
        events::emit(&me.block, || ProcessEventKind::GaveUp { why: why.into() });
    }
}

impl SupervisorStatus for StatusBoard {
    fn summary(&self) -> String {
        self.restarts().to_string()
    }

    fn reports_start(&self) -> bool {
        self.reports_start.load(Ordering::Relaxed)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
