//! The supervisor process: a server that traps exits, receives the exits of its children, and restarts them
//! by the rules in `policy` and `intensity`. It handles one message at a time, in its own process, and must
//! never be ended by a panic in user code (start functions, destructors, the logger).

use std::sync::Arc;

use once_cell::sync::OnceCell;

use crate::child_spec::{ChildId, ChildSpec, StartError};
use crate::gen_server::callbacks::Context;
use crate::gen_server::callbacks::GenServer;
use crate::gen_server::callbacks::Info;
use crate::gen_server::callbacks::InitError;
use crate::gen_server::reply::Next;
use crate::pid::Pid;
use crate::process::control::settings::settings;
use crate::process::park::thread_cache;
use crate::reason::ExitReason;
use crate::supervisor::child::{
    Child, ChildError, ChildRequest, Children, FailedToStartChild, RetryRestart, Status, child_info, count,
    is_dead, log_give_up, too_many_zombies, write_log,
};
use crate::supervisor::policy::Decision;
use crate::supervisor::policy::affected_range;
use crate::supervisor::policy::decide;
use crate::supervisor::policy::should_auto_shutdown;
use crate::supervisor::spec::{AutoShutdown, Strategy, SupervisorSpec, check_child};
use crate::supervisor::status::StatusBoard;
use crate::supervisor::status::publish_give_up;

/// The server behind `SupervisorRef`. It has the name of the public type, because logs, listings and errors show
/// the name of a server's type.
pub(crate) struct Supervisor {
    /// Name and pid, for the log.
    name: String,
    strategy: Strategy,
    auto_shutdown: AutoShutdown,
    status_board: Arc<StatusBoard>,
    max_zombies: Option<usize>,
    /// Set when the supervisor gives up, for the owner of the cell.
    gave_up: Option<Arc<OnceCell<String>>>,
    children: Children,
    /// The number of the last retry.
    retries: u64,
}

/// The start arguments of a supervisor whose spec is of type `Spec`.
pub(crate) struct SupervisorArgs<Spec> {
    /// The name of the supervisor, for the log.
    pub(crate) name: String,
    /// Makes the spec, in the new process.
    pub(crate) make: Arc<dyn Fn() -> Result<Spec, InitError> + Send + Sync>,
}

impl<Spec> SupervisorArgs<Spec> {
    pub(crate) fn new(
        name: impl Into<String>,
        make: impl Fn() -> Result<Spec, InitError> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), make: Arc::new(make) }
    }
}

impl SupervisorArgs<SupervisorSpec> {
    /// Sets the cell in which the supervisor records that it gave up, and why.
    pub(crate) fn with_give_up_cell(self, gave_up: &Arc<OnceCell<String>>) -> Self {
        let (make, gave_up) = (self.make, Arc::clone(gave_up));
        Self::new(self.name, move || {
            make().map(|spec| SupervisorSpec { gave_up: Some(Arc::clone(&gave_up)), ..spec })
        })
    }
}

// Not derived: that would require `Spec: Clone`.
impl<Spec> Clone for SupervisorArgs<Spec> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), make: Arc::clone(&self.make) }
    }
}

impl GenServer for Supervisor {
    type Args = SupervisorArgs<SupervisorSpec>;
    type Call = ChildRequest;
    type Cast = RetryRestart;

    fn init(args: SupervisorArgs<SupervisorSpec>, cx: &mut Context<Self>) -> Result<Self, InitError> {
        cx.trap_exit(true);
        // Checks again: as a child of another supervisor, or by `Supervise`, the spec was not checked before.
        let spec = (args.make)()?;
        spec.check()?;
        let mut supervisor = Self {
            name: format!("{} {}", args.name, cx.pid()),
            strategy: spec.strategy,
            auto_shutdown: spec.auto_shutdown,
            status_board: StatusBoard::register(Some(spec.strategy), spec.intensity),
            max_zombies: spec.max_zombies,
            gave_up: spec.gave_up,
            children: Children(spec.children.into_iter().map(Child::new).collect()),
            retries: 0,
        };
        // All children start, or none is left: at the first failure those before it are stopped.
        let all = 0..supervisor.children.0.len();
        if let Err((at, error)) = supervisor.start_range(all) {
            let id = supervisor.children.0[at].spec.options.id.clone();
            write_log(
                log::Level::Error,
                format_args!("supervisor {}: child {id} did not start: {error}", supervisor.name),
            );
            supervisor.children.stop(0..at, &supervisor.name);
            return Err(InitError::Stop(ExitReason::shutdown_with_error(FailedToStartChild { id, error })));
        }
        supervisor.publish_children();
        Ok(supervisor)
    }

    fn handle_call(&mut self, request: ChildRequest, _: &mut Context<Self>) -> Next {
        // The caller receives the reply when this returns: by then observers see what the request changed.
        let next = match request {
            ChildRequest::Start(child, from) => from.reply(self.start_child(child)),
            ChildRequest::Terminate(id, from) => from.reply(self.terminate_child(&id)),
            ChildRequest::Restart(id, from) => from.reply(self.restart_child(&id)),
            ChildRequest::Delete(id, from) => from.reply(self.delete_child(&id)),
            ChildRequest::Which(from) => from.reply(self.children.0.iter().map(child_info).collect()),
            ChildRequest::Count(from) => from.reply(count(self.children.0.iter())),
            ChildRequest::Spec(id, from) => {
                let at = self.children.position(&id);
                from.reply(at.map(|at| self.children.0[at].spec.clone()).ok_or(ChildError::NotFound))
            }
        };
        self.publish_children();
        next
    }

    fn handle_cast(&mut self, retry: RetryRestart, cx: &mut Context<Self>) -> Next {
        let RetryRestart { id, retry } = retry;
        let next = match self.children.position(&id) {
            Some(at) if self.children.0[at].status == Status::Restarting(retry) => self.restart(at, cx),
            // Stopped, deleted or restarted by a request since the retry was sent.
            _ => Next::wait(),
        };
        self.publish_children();
        next
    }

    fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Next {
        let next = match info {
            Info::Exit { from, reason } => match self.children.position_of(from) {
                Some(at) if is_dead(&self.children.0[at], from, &self.name) => {
                    self.on_child_exit(at, from, &reason, cx)
                }
                // Not a child: another linked process, or a child that was already stopped.
                _ => Next::wait(),
            },
            other => {
                write_log(
                    log::Level::Warn,
                    format_args!("supervisor {} received an unexpected message: {other:?}", self.name),
                );
                Next::wait()
            }
        };
        self.publish_children();
        next
    }

    fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
        let all = 0..self.children.0.len();
        self.children.stop(all, &self.name);
    }
}

/// Reactions to the exit of a child.
impl Supervisor {
    /// Publishes the current children for observers.
    fn publish_children(&self) {
        self.status_board.set_children(self.children.0.iter());
    }

    /// Handles the exit of the child at `at`, which was not requested.
    fn on_child_exit(&mut self, at: usize, pid: Pid, reason: &ExitReason, cx: &mut Context<Self>) -> Next {
        let child = &mut self.children.0[at];
        child.status = Status::Stopped;
        let decision = decide(child.spec.options.restart, reason);
        child.log_exit(&self.name, pid, reason);
        let significant = child.spec.options.significant; // the child may be removed below
        match decision {
            Decision::Restart => return self.restart(at, cx),
            Decision::Keep => {}
            Decision::Remove => drop(self.children.0.remove(at)),
        }
        // The child is not restarted. If it is significant, that may end the supervisor.
        let significant_left = self
            .children
            .0
            .iter()
            .any(|child| child.spec.options.significant && child.status != Status::Stopped);
        if significant && should_auto_shutdown(self.auto_shutdown, significant_left) {
            write_log(
                log::Level::Debug,
                format_args!("supervisor {}: a significant child exited, shutting down", self.name),
            );
            // A normal exit of a significant child is the planned end of the supervisor, a crash is a
            // failure.
            if reason.is_abnormal() {
                self.record_give_up("a significant child failed");
            }
            return Next::stop(ExitReason::Shutdown);
        }
        Next::wait()
    }

    /// Logs and publishes that the supervisor gives up, and stops it.
    fn give_up(&self, why: &str) -> Next {
        log_give_up(&self.name, why);
        self.record_give_up(why);
        publish_give_up(why);
        Next::stop(ExitReason::Shutdown)
    }

    /// Records the failure for the application of which this is the top supervisor: the exit reason,
    /// `Shutdown`, does not show it.
    fn record_give_up(&self, failure: &str) {
        if let Some(gave_up) = &self.gave_up {
            let _ = gave_up.set(format!("supervisor {}: {failure}", self.name));
        }
    }

    /// Restarts the child at `at` and those that the strategy names, or gives up.
    fn restart(&mut self, at: usize, cx: &Context<Self>) -> Next {
        // From here on no retry is pending, even if the supervisor gives up.
        self.children.0[at].status = Status::Stopped;
        if !self.status_board.record_restart() {
            let id = &self.children.0[at].spec.options.id;
            return self.give_up(&format!("reached_max_restart_intensity by child {id}"));
        }
        // Temporary children that are stopped with the failed one are not started again. It is not temporary
        // itself: a temporary child is never restarted.
        let mut range = affected_range(self.strategy, at, self.children.0.len());
        self.children.stop(range.clone(), &self.name);
        range.end -= self.remove_temporary(range.clone());
        // Checked after the stop, because a stopped child may have become a zombie, too.
        if too_many_zombies(self.children.0[range.clone()].iter(), self.max_zombies) {
            return self.give_up("zombie_limit");
        }
        // Also published if a later child failed to start: `publish_restart` skips children without a
        // process.
        // No child in the range is temporary, so `start_range` removes none.
        let started = self.start_range(range.clone());
        self.children.0[range].iter().for_each(Child::publish_restart);
        // For the next restart. Children with another stack size start on a new thread.
        thread_cache::refill(settings().stack_size);
        if let Err((failed, error)) = started {
            self.retries += 1;
            let child = &mut self.children.0[failed];
            child.status = Status::Restarting(self.retries);
            write_log(
                log::Level::Error,
                format_args!(
                    "supervisor {}: child {} did not start again: {error}",
                    self.name, child.spec.options.id
                ),
            );
            // Retry through the mailbox, so that requests and a shutdown of this supervisor are handled in
            // between.
            cx.cast(RetryRestart { id: child.spec.options.id.clone(), retry: self.retries });
        }
        Next::wait()
    }

    /// Removes the temporary children in a range; returns how many were removed.
    fn remove_temporary(&mut self, range: std::ops::Range<usize>) -> usize {
        let before = self.children.0.len();
        let mut at = 0;
        self.children.0.retain(|child| {
            let remove = range.contains(&at) && child.is_temporary();
            at += 1;
            !remove
        });
        before - self.children.0.len()
    }

    /// Starts the children in a range, in order; at the first failure returns its position and error. Ignored
    /// temporary children are removed.
    fn start_range(&mut self, range: std::ops::Range<usize>) -> Result<(), (usize, StartError)> {
        let mut ignored = Vec::new();
        let mut result = Ok(());
        for at in range {
            match self.children.0[at].start(&self.name, log::Level::Info) {
                Ok(Some(_)) => {}
                Ok(None) => ignored.push(at),
                Err(error) => {
                    result = Err((at, error));
                    break;
                }
            }
        }
        // Removed only now, and from the end, so that the positions above stay valid.
        ignored.retain(|&at| self.children.0[at].is_temporary());
        for at in ignored.iter().rev() {
            self.children.0.remove(*at);
        }
        // All removed children were before the failed one.
        result.map_err(|(at, error)| (at - ignored.len(), error))
    }
}

/// Requests of callers.
impl Supervisor {
    fn start_child(&mut self, spec: ChildSpec) -> Result<Pid, StartError> {
        // A `Child` contains a panic in the destructor of its start function; a spec does not.
        let mut child = Child::new(spec);
        check_child(&child.spec.options, self.auto_shutdown).map_err(StartError::BadSpec)?;
        if let Some(at) = self.children.position(&child.spec.options.id) {
            return Err(match self.children.0[at].status {
                Status::Running(pid) => StartError::AlreadyStarted(pid),
                Status::Restarting(_) | Status::Stopped => StartError::AlreadyPresent,
            });
        }
        let started = child.start(&self.name, log::Level::Debug)?;
        // The spec of an ignored child is kept, too, so that it can be restarted later.
        if started.is_some() || !child.is_temporary() {
            self.children.0.push(child);
        }
        started.ok_or(StartError::Ignored)
    }

    fn terminate_child(&mut self, id: &ChildId) -> Result<(), ChildError> {
        let at = self.children.position(id).ok_or(ChildError::NotFound)?;
        self.children.stop(at..at + 1, &self.name);
        if self.children.0[at].is_temporary() {
            self.children.0.remove(at);
        }
        Ok(())
    }

    fn restart_child(&mut self, id: &ChildId) -> Result<Pid, ChildError> {
        let at = self.children.position(id).ok_or(ChildError::NotFound)?;
        let child = &mut self.children.0[at];
        match child.status {
            Status::Running(_) => Err(ChildError::Running),
            Status::Restarting(_) => Err(ChildError::Restarting),
            Status::Stopped => {
                // The last process may be a zombie that still holds an exclusive resource.
                child.wait_until_reaped();
                let started = child.start(&self.name, log::Level::Debug).map_err(ChildError::Start)?;
                started.ok_or(ChildError::Start(StartError::Ignored))
            }
        }
    }

    fn delete_child(&mut self, id: &ChildId) -> Result<(), ChildError> {
        let at = self.children.position(id).ok_or(ChildError::NotFound)?;
        match self.children.0[at].status {
            Status::Running(_) => Err(ChildError::Running),
            Status::Restarting(_) => Err(ChildError::Restarting),
            Status::Stopped => {
                self.children.0.remove(at);
                Ok(())
            }
        }
    }
}
