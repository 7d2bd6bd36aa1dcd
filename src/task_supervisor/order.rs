//! A task that a supervisor was asked for: its body until it begins, itself until somebody holds it. `builder`
//! places it; whoever stops asking takes it back.

use std::sync::Arc;

use crate::child_spec::StartError;
use crate::process::block::Block;
use crate::reason::ExitReason;
use crate::sync::Mutex;
use crate::task::work::{Body, Born};
use crate::unwind::contain;

/// A task that a supervisor was asked for.
pub(crate) struct Order {
    /// Its owner, if they are to be linked.
    linked: Option<Arc<Block>>,
    stage: Mutex<Stage>,
}

enum Stage {
    Asked(Body),
    Begun,
    /// It may be over before the supervisor's answer is here; its block still knows the true reason.
    Born(Arc<Block>),
    Withdrawn,
}

impl Order {
    pub(crate) fn new(linked: Option<Arc<Block>>, body: Body) -> Arc<Self> {
        Arc::new(Self { linked, stage: Mutex::new(Stage::Asked(body)) })
    }

    /// The body, once.
    pub(crate) fn begin(&self) -> Option<Body> {
        let mut stage = self.stage.lock();
        match std::mem::replace(&mut *stage, Stage::Begun) {
            Stage::Asked(body) => Some(body),
            done => {
                *stage = done;
                None
            }
        }
    }

    pub(crate) fn deliver(&self, block: &Arc<Block>) {
        let mut stage = self.stage.lock();
        if matches!(*stage, Stage::Withdrawn) {
            drop(stage);
            self.dismiss(block);
        } else {
            *stage = Stage::Born(Arc::clone(block));
        }
    }

    pub(crate) fn born(&self) -> Result<Born, StartError> {
        match &*self.stage.lock() {
            Stage::Born(block) => Ok(Born { block: Arc::clone(block), linked: self.linked.clone() }),
            _ => Err(StartError::Failed(ExitReason::NoProc)),
        }
    }

    fn withdraw(&self) {
        let earlier = std::mem::replace(&mut *self.stage.lock(), Stage::Withdrawn);
        match earlier {
            Stage::Asked(body) => contain("the destructor of a task that never began", move || drop(body)),
            Stage::Born(block) => self.dismiss(&block),
            Stage::Begun | Stage::Withdrawn => {}
        }
    }

    fn dismiss(&self, block: &Arc<Block>) {
        let born = Born { block: Arc::clone(block), linked: self.linked.clone() };
        born.cut_off(&ExitReason::Kill);
    }
}

/// Nobody holds the task that was ordered, as long as this lives.
pub(crate) struct Unheld<'a>(pub(crate) &'a Order);

impl Drop for Unheld<'_> {
    fn drop(&mut self) {
        self.0.withdraw();
    }
}
