//! What a supervisor lets observers see of itself, without being asked and whatever it is busy with: its strategy, its
//! restarts, its children.

use std::any::Any;
use std::sync::Arc;

use crate::process::control::block::SupervisorStatus;
use crate::process::control::local;
use crate::process::observe::events;
use crate::process::observe::events::ProcessEventKind;
use crate::supervisor::children::{Child, child_info};
use crate::supervisor::intensity::RestartCount;
use crate::supervisor::intensity::RestartIntensity;
use crate::supervisor::request::ChildInfo;
use crate::supervisor::spec::Strategy;
use crate::sync::{self, Mutex};

/// One child as its supervisor keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChildStatus {
    /// Its id, whether it runs, and what it is.
    pub child: ChildInfo,
    /// How often it was started again.
    pub restarts: u64,
}

/// The open books of one supervisor.
pub(crate) struct StatusBoard {
    /// `None` for those whose children are independent anyway: dynamic ones.
    pub(crate) strategy: Option<Strategy>,
    pub(crate) intensity: Mutex<RestartIntensity>,
    /// As after the last message it handled. Not written down by dynamic ones, which may have thousands.
    pub(crate) children: Mutex<Vec<ChildStatus>>,
}

impl StatusBoard {
    /// Books that everybody can see from now on; the calling process is the supervisor.
    pub(crate) fn register(strategy: Option<Strategy>, intensity: RestartIntensity) -> Arc<Self> {
        let board =
            Arc::new(Self { strategy, intensity: Mutex::new(intensity), children: Mutex::new(Vec::new()) });
        if let Some(me) = local::get() {
            // A process is one supervisor in its life.
            let _ = me.block.supervisor_status.set(Arc::clone(&board) as Arc<dyn SupervisorStatus>);
        }
        board
    }

    pub(crate) fn record_restart(&self) -> bool {
        self.intensity.lock().record_restart(sync::now())
    }

    pub(crate) fn restarts(&self) -> RestartCount {
        self.intensity.lock().count(sync::now())
    }

    #[expect(single_use_lifetimes, reason = "older compilers want it named")]
    pub(crate) fn set_children<'a>(&self, children: impl Iterator<Item = &'a Child>) {
        let status = |child: &Child| ChildStatus { child: child_info(child), restarts: child.restarts() };
        *self.children.lock() = children.map(status).collect();
    }
}

/// Tells observers that the calling process is a supervisor that gives up.
pub(crate) fn publish_give_up(why: &str) {
    if let Some(me) = local::get() {
        events::emit(&me.block, || ProcessEventKind::GaveUp { reason: why.into() });
    }
}

impl SupervisorStatus for StatusBoard {
    fn summary(&self) -> String {
        self.restarts().to_string()
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
