//! `InitAck`, with which a plain process reports that it has started.

use std::fmt;
use std::sync::Arc;

use crate::process::control::activity::Activity;
use crate::process::control::block::{Phase, ProcessBlock};
use crate::process::control::local;
use crate::process::signals::exit::exit_with;
use crate::reason::ExitReason;

/// Reports that a process has started: Erlang's `proc_lib:init_ack`. The body of a process gets it if the starter waits
/// for the report: see [`Builder::start`](crate::process::Builder::start) and
/// [`ChildSpec::acked_worker`](crate::supervisor::ChildSpec::acked_worker).
///
/// | the process | the start |
/// | --- | --- |
/// | calls [`started`](Self::started) | has succeeded |
/// | calls [`failed`](Self::failed), returns an error, exits or panics before that | fails with the reason |
/// | returns before that | fails with the reason [`Normal`](ExitReason::Normal) |
/// | is killed before that | fails with [`Killed`](ExitReason::Killed) |
/// | takes longer than the [`start_timeout`](crate::process::Builder::start_timeout) | fails with [`StartError::Timeout`](crate::StartError::Timeout); the process is killed |
///
/// The start returns when the process has exited, so its name is free again. A process that drops the `InitAck` and
/// continues has not started: set a `start_timeout` if the body is not under your control.
#[must_use = "the start waits until `started` is called"]
pub struct InitAck {
    block: Arc<ProcessBlock>,
    /// Notifies the starter.
    report: Box<dyn FnOnce() + Send>,
}

impl InitAck {
    /// Creates the handle for the calling process.
    pub(crate) fn new(block: Arc<ProcessBlock>, report: impl FnOnce() + Send + 'static) -> Self {
        block.activity.set(Activity::Starting);
        Self { block, report: Box::new(report) }
    }

    /// Reports that the process has started: the start returns. Another thread may call it for the process.
    ///
    /// A process that was killed while it started exits here, and its start fails.
    pub fn started(self) {
        let Self { block, report } = self;
        if confirm_start(&block) {
            block.activity.set(Activity::Body);
            report();
        }
        local::checkpoint();
    }

    /// Exits the calling process with this reason; the start fails with it. Erlang's `proc_lib:init_fail`. To return an
    /// error from the body, or to exit in another way, has the same effect.
    ///
    /// # Panics
    /// On a thread that is not a process.
    #[track_caller]
    pub fn failed(self, reason: impl Into<ExitReason>) -> ! {
        exit_with(reason)
    }
}

impl fmt::Debug for InitAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InitAck({})", self.block.pid)
    }
}

/// Decides that the start of a process has succeeded: from now on the starter is notified of its exit like every linked
/// process. Returns `false` if the process is exiting: then the start has failed, and the starter gets only the error.
pub(crate) fn confirm_start(block: &ProcessBlock) -> bool {
    // Under the lock, which the sender of an exit signal takes, too: exactly one of the two outcomes is possible.
    let mut state = block.lock();
    let is_running = matches!(state.phase, Phase::Running);
    if is_running {
        state.no_exit_message_to = None;
    }
    is_running
}
