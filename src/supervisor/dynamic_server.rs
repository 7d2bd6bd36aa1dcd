//! The process of a dynamic supervisor, and of a supervisor of tasks, which differs only in its type: requests,
//! limits, children, restarts. Like `server`, it must never be ended by a panic in user code.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::child_spec::restart_backoff::{AfterFailure, RestartBackoff};
use crate::child_spec::{ChildSpec, StartError};
use crate::gen_server::callbacks::{Context, GenServer, Info, InitError};
use crate::gen_server::reply::{Caller, Next};
use crate::gen_server::wait_graph::WaitEdge;
use crate::pid::{Pid, TimerRef};
use crate::process::control::local;
use crate::process::control::settings::settings;
use crate::process::park::thread_cache;
use crate::process::park::timer_thread;
use crate::reason::ExitReason;
use crate::supervisor::child::logging::{Failure, log_give_up, write_log};
use crate::supervisor::child::{
    Child, ChildCount, ChildError, ChildInfo, Status, StoppingChild, Wait, child_info, count, is_dead,
    too_many_zombies,
};
use crate::supervisor::policy::{Decision, decide};
use crate::supervisor::server::SupervisorArgs;
use crate::supervisor::spec::DynamicSupervisorSpec;
use crate::supervisor::status::{StatusBoard, publish_give_up};

/// A request to a dynamic supervisor.
pub(crate) enum DynamicChildRequest {
    Start(ChildSpec, Caller<Result<Pid, StartError>>),
    Terminate(Pid, Caller<Result<(), ChildError>>),
    Which(Caller<Vec<ChildInfo>>),
    Count(Caller<ChildCount>),
}

/// A message that a dynamic supervisor sends to itself, at once or by a timer.
///
/// No number is needed to match a timer, like that of a static supervisor: no request restarts a dynamic child, so there
/// is at most one restart at a time for each pid.
#[derive(Debug)]
pub(crate) enum DynamicRestartTimer {
    /// The restart of the child that had this pid last is due: one that failed, or one that was delayed.
    Due(Pid),
    /// The child may have been running long enough to end its outage.
    Stable(Pid),
}

/// Defines a server of [`DynamicChildren`]. The kinds of server differ in their type only: the type decides
/// which handles refer to them. They have the names of the public types, because logs, listings and errors show
/// the name of a server's type.
macro_rules! define_dynamic_server {
    ($server:ident) => {
        pub(crate) struct $server(DynamicChildren);

        impl GenServer for $server {
            type Args = SupervisorArgs<DynamicSupervisorSpec>;
            type Call = DynamicChildRequest;
            type Cast = DynamicRestartTimer;

            fn init(args: Self::Args, cx: &mut Context<Self>) -> Result<Self, InitError> {
                cx.trap_exit(true);
                DynamicChildren::new(&args, cx.pid()).map(Self)
            }

            fn handle_call(&mut self, request: Self::Call, _: &mut Context<Self>) -> Next {
                self.0.handle_call(request)
            }

            fn handle_cast(&mut self, timer: Self::Cast, cx: &mut Context<Self>) -> Next {
                self.0.handle_cast(&timer, cx)
            }

            fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Next {
                self.0.handle_info(info, cx)
            }

            fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
                self.0.stop_all();
            }
        }
    };
}

define_dynamic_server!(DynamicSupervisor);
define_dynamic_server!(TaskSupervisor);

/// The children of one dynamic supervisor, and the reactions to its messages.
struct DynamicChildren {
    /// Name and pid of the supervisor, for the log.
    name: String,
    status_board: Arc<StatusBoard>,
    max_children: Option<usize>,
    max_zombies: Option<usize>,
    /// The backoff of children that have none of their own.
    backoff: Option<RestartBackoff>,
    /// By pid; by the last pid while a restart is pending.
    children: BTreeMap<Pid, Child>,
}

/// What the supervisor does after the exit of a child.
enum AfterExit {
    Continue,
    /// Retries the restart of the child that had this pid last.
    Retry(Pid),
    /// Restarts the child that had this pid last after a delay.
    Delay(Pid, Duration),
    /// Ends the outage of a child if it runs for this time.
    AwaitStability(Pid, Duration),
    GiveUp,
}

impl DynamicChildren {
    /// Creates the state of a new supervisor, which is the calling process, without children.
    fn new(args: &SupervisorArgs<DynamicSupervisorSpec>, pid: Pid) -> Result<Self, InitError> {
        // Not checked before if the spec is a child spec, or comes from `Supervise`.
        let spec = (args.make)()?;
        spec.check()?;
        Ok(Self {
            name: format!("{} {pid}", args.name),
            status_board: StatusBoard::register(None, spec.intensity),
            max_children: spec.max_children,
            max_zombies: spec.max_zombies,
            backoff: spec.backoff,
            children: BTreeMap::new(),
        })
    }

    fn handle_call(&mut self, request: DynamicChildRequest) -> Next {
        match request {
            DynamicChildRequest::Start(spec, from) => from.reply(self.start(spec)),
            DynamicChildRequest::Terminate(pid, from) => from.reply(self.terminate(pid)),
            DynamicChildRequest::Which(from) => from.reply(self.children.values().map(child_info).collect()),
            DynamicChildRequest::Count(from) => from.reply(count(self.children.values())),
        }
    }

    fn handle_cast<S>(&mut self, timer: &DynamicRestartTimer, cx: &Context<S>) -> Next
    where
        S: GenServer<Cast = DynamicRestartTimer>,
    {
        match *timer {
            DynamicRestartTimer::Due(pid) => {
                let after_restart = self.restart(pid);
                self.next(&after_restart, cx)
            }
            DynamicRestartTimer::Stable(pid) => {
                // Not found, or not running: it has failed again, or was terminated.
                if let Some(child) = self.children.get_mut(&pid) {
                    child.recover(&self.name);
                }
                Next::wait()
            }
        }
    }

    fn handle_info<S>(&mut self, info: Info, cx: &Context<S>) -> Next
    where
        S: GenServer<Cast = DynamicRestartTimer>,
    {
        match info {
            Info::Exit { from, reason } => {
                let after_exit = self.on_exit(from, &reason);
                self.next(&after_exit, cx)
            }
            // Timers, `Down` messages: not sent to a supervisor on purpose.
            other => {
                write_log(
                    log::Level::Warn,
                    format_args!("supervisor {} received an unexpected message: {other:?}", cx.pid()),
                );
                Next::wait()
            }
        }
    }

    fn next<S>(&mut self, after_exit: &AfterExit, cx: &Context<S>) -> Next
    where
        S: GenServer<Cast = DynamicRestartTimer>,
    {
        match after_exit {
            AfterExit::Continue => Next::wait(),
            AfterExit::GiveUp => Next::stop(ExitReason::Shutdown),
            AfterExit::Retry(pid) => {
                // Through the mailbox: requests and a shutdown of this supervisor are handled in between.
                cx.cast(DynamicRestartTimer::Due(*pid));
                Next::wait()
            }
            AfterExit::Delay(pid, delay) => {
                self.set_timer(*pid, || cx.send_after(*delay, DynamicRestartTimer::Due(*pid)));
                Next::wait()
            }
            AfterExit::AwaitStability(pid, time) => {
                self.set_timer(*pid, || cx.send_after(*time, DynamicRestartTimer::Stable(*pid)));
                Next::wait()
            }
        }
    }

    /// Sets the timer of the child that has this pid, or had it last.
    fn set_timer(&mut self, pid: Pid, timer: impl FnOnce() -> TimerRef) {
        if let Some(child) = self.children.get_mut(&pid) {
            child.set_timer(timer(), 0);
        }
    }

    fn start(&mut self, spec: ChildSpec) -> Result<Pid, StartError> {
        // A `Child` contains a panic in the destructor of its start function; a spec does not.
        let mut child = Child::new(spec, self.backoff);
        if let Some(limit) = self.max_children.filter(|limit| self.children.len() >= *limit) {
            return Err(StartError::MaxChildren { limit });
        }
        // An ignored child is not kept: without a pid there is nothing to identify it by.
        let pid = child.start(&self.name, log::Level::Debug)?.ok_or(StartError::Ignored)?;
        self.children.insert(pid, child);
        Ok(pid)
    }

    fn terminate(&mut self, pid: Pid) -> Result<(), ChildError> {
        // Also cancels a pending restart, which finds no child under this pid.
        let mut child = self.children.remove(&pid).ok_or(ChildError::NotFound)?;
        self.status_board.remove_waiting(&child);
        child.stop(&self.name);
        Ok(())
    }

    /// Handles the `Exit` message of a linked process, which may be a child.
    fn on_exit(&mut self, pid: Pid, reason: &ExitReason) -> AfterExit {
        // Not a child: another linked process, a child that was terminated, or one whose restart is pending.
        let Some(child) = self.children.get_mut(&pid).filter(|child| child.pid() == Some(pid)) else {
            return AfterExit::Continue;
        };
        if !is_dead(child, pid, &self.name) {
            return AfterExit::Continue;
        }
        child.status = Status::Stopped;
        let decision = decide(child.spec.options.restart, reason);
        if decision == Decision::Restart {
            if let Some(next) = child.record_failure(&self.name, &Failure::Exit(pid, reason)) {
                return self.delay_restart(pid, next);
            }
        }
        child.log_exit(&self.name, pid, reason);
        match decision {
            Decision::Restart => self.restart(pid),
            // A static supervisor keeps the spec of a transient child. Here the pid, by which callers know
            // the child, will never be valid again.
            Decision::Keep | Decision::Remove => {
                child.end_outage(); // and the timer for that
                self.children.remove(&pid);
                AfterExit::Continue
            }
        }
    }

    /// Restarts the child that had this pid, whose backoff decided `next`, after a delay, or gives up.
    fn delay_restart(&mut self, pid: Pid, next: AfterFailure) -> AfterExit {
        let Some(child) = self.children.get_mut(&pid) else { return AfterExit::Continue };
        match next {
            AfterFailure::Wait { delay, .. } => {
                let until = timer_thread::deadline_after(delay);
                child.status = Status::Waiting(Wait { number: 0, until, has_failed: true });
                self.status_board.add_waiting(child);
                AfterExit::Delay(pid, delay)
            }
            AfterFailure::GiveUp => {
                let id = child.spec.options.id.clone();
                self.give_up(&format!("the outage of child {id} lasts too long"))
            }
        }
    }

    /// Restarts the child that had this pid, or gives up.
    fn restart(&mut self, pid: Pid) -> AfterExit {
        // Out of the list until it has a new pid. Not in it: the child was terminated since its retry was sent.
        let Some(mut child) = self.children.remove(&pid) else {
            return AfterExit::Continue;
        };
        self.status_board.remove_waiting(&child);
        // Failed attempts count, too: each retry comes through here. A delayed restart does not count.
        let is_delayed = matches!(child.status, Status::Waiting(_));
        if !is_delayed && !self.status_board.record_restart() {
            return self
                .give_up(&format!("reached_max_restart_intensity by child {}", child.spec.options.id));
        }
        // Waits up to the child's `reap_timeout`, if it left a zombie behind.
        if too_many_zombies(std::iter::once(&child), self.max_zombies) {
            return self.give_up("zombie_limit");
        }
        let logs_failure = child.logs_failed_start();
        let mut start = || child.start(&self.name, log::Level::Info);
        let started = if logs_failure { self.status_board.reporting_start(start) } else { start() };
        match started {
            Ok(Some(pid)) => {
                child.publish_restart();
                // For the next restart. Children with another stack size start on a new thread.
                thread_cache::refill(settings().stack_size);
                let stable_after = child.stable_after();
                self.children.insert(pid, child);
                stable_after.map_or(AfterExit::Continue, |time| AfterExit::AwaitStability(pid, time))
            }
            Ok(None) => AfterExit::Continue, // ignored: not kept, like at the first start
            Err(error) => {
                if let Some(next) = child.record_failure(&self.name, &Failure::Start(&error)) {
                    self.children.insert(pid, child);
                    return self.delay_restart(pid, next);
                }
                write_log(
                    log::Level::Error,
                    format_args!(
                        "supervisor {}: child {} did not start again: {error}",
                        self.name, child.spec.options.id
                    ),
                );
                child.status = Status::Restarting(0);
                self.children.insert(pid, child);
                AfterExit::Retry(pid)
            }
        }
    }

    fn give_up(&self, why: &str) -> AfterExit {
        log_give_up(&self.name, why);
        publish_give_up(why);
        AfterExit::GiveUp
    }

    /// Stops all children at once. It takes as long as the slowest child, not the sum of all; each is killed
    /// when its own timeout is over.
    fn stop_all(&mut self) {
        let me = local::get();
        // While this edge exists, a call from any descendant to this supervisor fails at once with a deadlock
        // error. Without it, the two would wait for each other until the shutdown timeout.
        let _wait_edge = WaitEdge::on_all_descendants(me.as_ref());
        // Send all signals before the first wait.
        let children = std::mem::take(&mut self.children).into_values();
        let mut stopping: Vec<(Child, StoppingChild)> =
            children.filter_map(|mut child| child.request_stop().map(|stopping| (child, stopping))).collect();
        // Wait in the order of the timeouts, so that no wait delays the kill of another child.
        stopping.sort_by_key(|(_, stopping)| stopping.timeout());
        for (_, stopping) in &stopping {
            stopping.kill_after_timeout();
        }
        // Every child with a finite timeout has exited or was killed. Children with `Infinity` are waited for
        // here.
        for (child, stopping) in stopping {
            child.await_stopped(stopping, &self.name);
        }
    }
}
