//! The supervisor process: a server that traps exits, receives the exits of its children, and restarts them
//! by the rules in `policy` and `intensity`. It handles one message at a time, in its own process, and must
//! never be ended by a panic in user code (start functions, destructors, the logger).

use std::ops::Range;
use std::sync::Arc;

use once_cell::sync::OnceCell;

use crate::child_spec::restart_backoff::{AfterFailure, RestartBackoff};
use crate::child_spec::{ChildId, ChildSpec, StartError};
use crate::gen_server::callbacks::Context;
use crate::gen_server::callbacks::GenServer;
use crate::gen_server::callbacks::Info;
use crate::gen_server::callbacks::InitError;
use crate::gen_server::reply::Next;
use crate::pid::Pid;
use crate::process::control::settings::settings;
use crate::process::park::thread_cache;
use crate::process::park::timer_thread;
use crate::reason::ExitReason;
use crate::supervisor::child::logging::{Failure, log_give_up, write_log};
use crate::supervisor::child::{
    Child, ChildError, ChildRequest, Children, FailedToStartChild, RestartTimer, Status, Wait, child_info,
    count, is_dead, too_many_zombies,
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
    /// The backoff of children that have none of their own.
    backoff: Option<RestartBackoff>,
    /// Set when the supervisor gives up, for the owner of the cell.
    gave_up: Option<Arc<OnceCell<String>>>,
    children: Children,
    /// The number in the last [`RestartTimer`].
    last_timer: u64,
}

/// Whether the supervisor keeps running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Continue,
    /// It stops its children and exits with `Shutdown`.
    ShutDown,
}

impl From<Outcome> for Next {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Continue => Self::wait(),
            Outcome::ShutDown => Self::stop(ExitReason::Shutdown),
        }
    }
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
    type Cast = RestartTimer;

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
            backoff: spec.backoff,
            children: Children(
                spec.children.into_iter().map(|child| Child::new(child, spec.backoff)).collect(),
            ),
            last_timer: 0,
        };
        // All children start, or none is left: at the first failure those before it are stopped.
        if let Err((at, error)) = supervisor.start_all(cx) {
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

    fn handle_call(&mut self, request: ChildRequest, cx: &mut Context<Self>) -> Next {
        // The caller receives the reply when this returns: by then observers see what the request changed.
        let next = match request {
            ChildRequest::Start(child, from) => from.reply(self.start_child(child)),
            ChildRequest::Terminate(id, from) => from.reply(self.terminate_child(&id)),
            ChildRequest::Restart(id, from) => match self.restart_child(&id, cx) {
                (result, Outcome::Continue) => from.reply(result),
                (result, Outcome::ShutDown) => from.reply(result).and_stop(ExitReason::Shutdown),
            },
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

    fn handle_cast(&mut self, timer: RestartTimer, cx: &mut Context<Self>) -> Next {
        let (RestartTimer::Due { id, .. } | RestartTimer::Stable { id, .. }) = &timer;
        let at = self.children.position(id);
        let status = at.map(|at| self.children.0[at].status);
        // No effect if the number is another one: since the timer was set, a request or the failure of another child
        // has stopped, deleted or restarted this one.
        let outcome = match (timer, at, status) {
            (RestartTimer::Due { number, .. }, Some(at), Some(Status::Restarting(current)))
                if number == current =>
            {
                self.restart(at, cx)
            }
            (RestartTimer::Due { number, .. }, Some(at), Some(Status::Waiting(wait)))
                if number == wait.number =>
            {
                self.restart_group(at, cx).0
            }
            (RestartTimer::Stable { number, .. }, Some(at), Some(Status::Running(_)))
                if self.children.0[at].is_current_timer(number) =>
            {
                self.children.0[at].recover(&self.name);
                Outcome::Continue
            }
            _ => Outcome::Continue,
        };
        self.publish_children();
        outcome.into()
    }

    fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Next {
        let next = match info {
            Info::Exit { from, reason } => match self.children.position_of(from) {
                Some(at) if is_dead(&self.children.0[at], from, &self.name) => {
                    self.on_child_exit(at, from, &reason, cx).into()
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
    fn on_child_exit(&mut self, at: usize, pid: Pid, reason: &ExitReason, cx: &Context<Self>) -> Outcome {
        let child = &mut self.children.0[at];
        child.status = Status::Stopped;
        let decision = decide(child.spec.options.restart, reason);
        if decision == Decision::Restart {
            if let Some(next) = child.record_failure(&self.name, &Failure::Exit(pid, reason)) {
                return self.delay_restart(at, next, cx);
            }
        }
        child.log_exit(&self.name, pid, reason);
        let significant = child.spec.options.significant; // the child may be removed below
        match decision {
            Decision::Restart => return self.restart(at, cx),
            Decision::Keep => child.end_outage(),
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
            return Outcome::ShutDown;
        }
        Outcome::Continue
    }

    /// Logs and publishes that the supervisor gives up, and stops it.
    fn give_up(&self, why: &str) -> Outcome {
        log_give_up(&self.name, why);
        self.record_give_up(why);
        publish_give_up(why);
        Outcome::ShutDown
    }

    /// Records the failure for the application of which this is the top supervisor: the exit reason,
    /// `Shutdown`, does not show it.
    fn record_give_up(&self, failure: &str) {
        if let Some(gave_up) = &self.gave_up {
            let _ = gave_up.set(format!("supervisor {}: {failure}", self.name));
        }
    }

    /// Restarts the child at `at` and those that the strategy names at once, or gives up.
    fn restart(&mut self, at: usize, cx: &Context<Self>) -> Outcome {
        // From here on no retry is pending, even if the supervisor gives up.
        self.children.0[at].status = Status::Stopped;
        if !self.status_board.record_restart() {
            let id = &self.children.0[at].spec.options.id;
            return self.give_up(&format!("reached_max_restart_intensity by child {id}"));
        }
        self.restart_group(at, cx).0
    }

    /// Restarts the child at `at`, whose backoff decided `next`, and those that the strategy names after a delay, or
    /// gives up.
    fn delay_restart(&mut self, at: usize, next: AfterFailure, cx: &Context<Self>) -> Outcome {
        let id = self.children.0[at].spec.options.id.clone();
        let AfterFailure::Wait { delay, .. } = next else {
            return self.give_up(&format!("the outage of child {id} lasts too long"));
        };
        // The other children of the group depend on the one that failed: they are stopped now, not when the delay is
        // over.
        let group = self.stop_group(at);
        self.last_timer += 1;
        let (number, until) = (self.last_timer, timer_thread::deadline_after(delay));
        for child in &mut self.children.0[group] {
            let has_failed = child.spec.options.id == id;
            child.status = Status::Waiting(Wait { number, until, has_failed });
            if has_failed {
                let due = RestartTimer::Due { id: id.clone(), number };
                child.set_timer(cx.send_after(delay, due), number);
            }
        }
        Outcome::Continue
    }

    /// Restarts the child at `at` and those that the strategy names, without counting it. Gives up if there are too
    /// many zombies. If a start fails, it is retried, and the error returned, too.
    fn restart_group(&mut self, at: usize, cx: &Context<Self>) -> (Outcome, Option<StartError>) {
        let group = self.stop_group(at);
        // Checked after the stop, because a stopped child may have become a zombie, too.
        if too_many_zombies(self.children.0[group.clone()].iter(), self.max_zombies) {
            return (self.give_up("zombie_limit"), None);
        }
        let started = self.start_range(group.clone());
        // Temporary children that had never started may have been removed because they were ignored.
        let group = group.start..group.end.min(self.children.0.len());
        // Also published if a later child failed to start: `publish_restart` skips children without a
        // process.
        self.children.0[group.clone()].iter().for_each(Child::publish_restart);
        // For the next restart. Children with another stack size start on a new thread.
        thread_cache::refill(settings().stack_size);
        self.await_stability(group, cx);
        match started {
            Ok(()) => (Outcome::Continue, None),
            Err((failed, error)) => (self.on_failed_restart(failed, &error, cx), Some(error)),
        }
    }

    /// Retries the restart of the child at `failed`, which has just failed: after a delay if the child has a backoff,
    /// otherwise at once.
    fn on_failed_restart(&mut self, failed: usize, error: &StartError, cx: &Context<Self>) -> Outcome {
        let child = &mut self.children.0[failed];
        if let Some(next) = child.record_failure(&self.name, &Failure::Start(error)) {
            return self.delay_restart(failed, next, cx);
        }
        self.last_timer += 1;
        child.status = Status::Restarting(self.last_timer);
        write_log(
            log::Level::Error,
            format_args!(
                "supervisor {}: child {} did not start again: {error}",
                self.name, child.spec.options.id
            ),
        );
        // Retry through the mailbox, so that requests and a shutdown of this supervisor are handled in
        // between.
        cx.cast(RestartTimer::Due { id: child.spec.options.id.clone(), number: self.last_timer });
        Outcome::Continue
    }

    /// Stops the child at `at` and those that the strategy names, and removes those that are not started again;
    /// returns where the others are.
    fn stop_group(&mut self, at: usize) -> Range<usize> {
        let mut range = affected_range(self.strategy, at, self.children.0.len());
        self.children.stop(range.clone(), &self.name);
        // Temporary children that are stopped with the failed one are not started again. It is not temporary
        // itself: a temporary child is never restarted.
        range.end -= self.remove_temporary(range.clone());
        range
    }

    /// Sets a timer for each failing child in a range that is running again: when it expires, the outage is over.
    fn await_stability(&mut self, range: Range<usize>, cx: &Context<Self>) {
        for child in &mut self.children.0[range] {
            if let Some(time) = child.stable_after() {
                self.last_timer += 1;
                let id = child.spec.options.id.clone();
                let stable = RestartTimer::Stable { id, number: self.last_timer };
                child.set_timer(cx.send_after(time, stable), self.last_timer);
            }
        }
    }

    /// Removes the temporary children in a range, except those that have never started; returns how many were
    /// removed.
    fn remove_temporary(&mut self, range: Range<usize>) -> usize {
        let before = self.children.0.len();
        let mut at = 0;
        self.children.0.retain(|child| {
            let remove = range.contains(&at) && child.is_temporary() && child.has_started();
            at += 1;
            !remove
        });
        before - self.children.0.len()
    }

    /// Starts all children, in order, when the supervisor itself starts. A child whose backoff says so is retried later if
    /// it fails; otherwise its position and error are returned.
    fn start_all(&mut self, cx: &Context<Self>) -> Result<(), (usize, StartError)> {
        let mut first = 0;
        while let Err((at, error)) = self.start_range(first..self.children.0.len()) {
            let child = &mut self.children.0[at];
            let next = match child.retries_first_start() {
                true => child.record_failure(&self.name, &Failure::Start(&error)),
                false => None,
            };
            let Some(next @ AfterFailure::Wait { .. }) = next else { return Err((at, error)) };
            self.delay_restart(at, next, cx);
            // Otherwise the children after this one belong to its group, and are started with it.
            if self.strategy != Strategy::OneForOne {
                break;
            }
            first = at + 1;
        }
        Ok(())
    }

    /// Starts the children in a range, in order; at the first failure returns its position and error. Ignored
    /// temporary children are removed.
    fn start_range(&mut self, range: Range<usize>) -> Result<(), (usize, StartError)> {
        let mut ignored = Vec::new();
        let mut result = Ok(());
        for at in range {
            let child = &mut self.children.0[at];
            let logs_failure = child.logs_failed_start();
            let mut start = || child.start(&self.name, log::Level::Info);
            let started = if logs_failure { self.status_board.reporting_start(start) } else { start() };
            match started {
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
        let mut child = Child::new(spec, self.backoff);
        check_child(&child.spec.options, self.auto_shutdown).map_err(StartError::BadSpec)?;
        if let Some(at) = self.children.position(&child.spec.options.id) {
            return Err(match self.children.0[at].status {
                Status::Running(pid) => StartError::AlreadyStarted(pid),
                Status::Restarting(_) | Status::Waiting(_) | Status::Stopped => StartError::AlreadyPresent,
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
        self.cancel_wait_for(at);
        self.children.stop(at..at + 1, &self.name);
        self.children.0[at].end_outage();
        if self.children.0[at].is_temporary() {
            self.children.0.remove(at);
        }
        Ok(())
    }

    fn restart_child(&mut self, id: &ChildId, cx: &Context<Self>) -> (Result<Pid, ChildError>, Outcome) {
        let Some(at) = self.children.position(id) else {
            return (Err(ChildError::NotFound), Outcome::Continue);
        };
        let child = &mut self.children.0[at];
        let result = match child.status {
            Status::Running(_) => Err(ChildError::Running),
            Status::Restarting(_) => Err(ChildError::Restarting),
            Status::Waiting(wait) => return self.restart_waiting_child(id, wait.number, cx),
            Status::Stopped => {
                // The last process may be a zombie that still holds an exclusive resource.
                child.wait_until_reaped();
                child
                    .start(&self.name, log::Level::Debug)
                    .and_then(|started| started.ok_or(StartError::Ignored))
                    .map_err(ChildError::Start)
            }
        };
        (result, Outcome::Continue)
    }

    /// Ends a wait: restarts its group now. If that fails, the group waits again, for the next delay.
    fn restart_waiting_child(
        &mut self,
        id: &ChildId,
        number: u64,
        cx: &Context<Self>,
    ) -> (Result<Pid, ChildError>, Outcome) {
        let has_failed = |child: &Child| matches!(child.status, Status::Waiting(wait) if wait.number == number && wait.has_failed);
        // A wait ends with the child that failed: `cancel_wait_for`.
        let Some(failed) = self.children.0.iter().position(has_failed) else {
            return (Err(ChildError::Restarting), Outcome::Continue);
        };
        let (outcome, error) = self.restart_group(failed, cx);
        let running = self.children.position(id).and_then(|at| self.children.0[at].pid());
        // Not running without an error: its start was ignored.
        let error = error.unwrap_or(StartError::Ignored);
        (running.ok_or(ChildError::Start(error)), outcome)
    }

    fn delete_child(&mut self, id: &ChildId) -> Result<(), ChildError> {
        let at = self.children.position(id).ok_or(ChildError::NotFound)?;
        match self.children.0[at].status {
            Status::Running(_) => Err(ChildError::Running),
            Status::Restarting(_) => Err(ChildError::Restarting),
            Status::Waiting(_) | Status::Stopped => {
                self.cancel_wait_for(at);
                self.children.0.remove(at);
                Ok(())
            }
        }
    }

    /// Cancels the delayed restart for which the child at `at` is the reason, if there is one. The other children of its
    /// group count as stopped.
    fn cancel_wait_for(&mut self, at: usize) {
        let Status::Waiting(Wait { number, has_failed: true, .. }) = self.children.0[at].status else {
            return;
        };
        for child in &mut self.children.0 {
            if matches!(child.status, Status::Waiting(wait) if wait.number == number) {
                child.stop(&self.name); // not running: this cancels the timer
            }
        }
    }
}
