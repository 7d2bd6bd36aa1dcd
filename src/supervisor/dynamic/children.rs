//! The children of one dynamic supervisor: start one, restart one, stop one, stop all at once. The servers
//! that keep such children, the supervisor of tasks among them, hand everything on to here.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::child_spec::{ChildSpec, StartError};
use crate::gen_server::reply::Next;
use crate::gen_server::wait_graph::WaitEdge;
use crate::pid::Pid;
use crate::process::control::local;
use crate::reason::ExitReason;
use crate::supervisor::children::{
    Child, Status, StoppingChild, child_info, count, is_dead, too_many_zombies, write_log,
};
use crate::supervisor::dynamic::limits::Limits;
use crate::supervisor::dynamic::request::DynamicChildRequest;
use crate::supervisor::intensity::RestartIntensity;
use crate::supervisor::policy::Decision;
use crate::supervisor::policy::decide;
use crate::supervisor::request::ChildError;
use crate::supervisor::status::StatusBoard;
use crate::supervisor::status::publish_give_up;

/// All children, by who they are or, while a restart is to be tried again, were last.
pub(crate) struct DynamicChildren {
    /// The supervisor, for the log.
    name: String,
    status_board: Arc<StatusBoard>,
    max_children: Option<usize>,
    max_zombies: Option<usize>,
    all: BTreeMap<Pid, Child>,
}

/// What the supervisor does after the end of a child.
pub(crate) enum AfterExit {
    Continue,
    /// To start the one again that was this process: through the mailbox, so that requests and our own shutdown
    /// get in between.
    Retry(Pid),
    GiveUp,
}

impl DynamicChildren {
    pub(crate) fn new(name: String, limits: &Limits) -> Self {
        Self {
            name,
            status_board: StatusBoard::register(
                None,
                RestartIntensity::new(limits.max_restarts, limits.period),
            ),
            max_children: limits.max_children,
            max_zombies: limits.max_zombies,
            all: BTreeMap::new(),
        }
    }

    /// Does what somebody asks for.
    pub(crate) fn handle_request(&mut self, request: DynamicChildRequest) -> Next {
        match request {
            DynamicChildRequest::Start(spec, from) => from.reply(self.start(spec)),
            DynamicChildRequest::Terminate(pid, from) => from.reply(self.terminate(pid)),
            DynamicChildRequest::Which(from) => from.reply(self.all.values().map(child_info).collect()),
            DynamicChildRequest::Count(from) => from.reply(count(self.all.values())),
        }
    }

    fn start(&mut self, spec: ChildSpec) -> Result<Option<Pid>, StartError> {
        let mut child = Child::new(spec); // from here on its destructor is contained
        if let Some(limit) = self.max_children.filter(|limit| self.all.len() >= *limit) {
            return Err(StartError::MaxChildren { limit });
        }
        let started = child.start(&self.name, log::Level::Debug)?;
        if let Some(pid) = started {
            self.all.insert(pid, child);
        }
        Ok(started)
    }

    fn terminate(&mut self, pid: Pid) -> Result<(), ChildError> {
        let mut child = self.all.remove(&pid).ok_or(ChildError::NotFound)?;
        child.stop(&self.name);
        Ok(())
    }

    /// A linked process ended by itself.
    pub(crate) fn on_exit(&mut self, pid: Pid, reason: &ExitReason) -> AfterExit {
        let Some(child) = self.all.get_mut(&pid).filter(|child| child.pid() == Some(pid)) else {
            return AfterExit::Continue; // no child of ours, or no longer
        };
        if !is_dead(child, pid, &self.name) {
            return AfterExit::Continue;
        }
        child.status = Status::Stopped;
        let decision = decide(child.spec.restart, reason);
        child.log_exit(&self.name, pid, reason);
        match decision {
            Decision::Restart => self.restart(pid),
            Decision::Keep | Decision::Remove => {
                self.all.remove(&pid);
                AfterExit::Continue
            }
        }
    }

    /// A restart that failed is tried again, unless the child was terminated meanwhile.
    pub(crate) fn retry_restart(&mut self, pid: Pid) -> AfterExit {
        if self.all.contains_key(&pid) { self.restart(pid) } else { AfterExit::Continue }
    }

    /// Starts a child again, if the budget allows.
    fn restart(&mut self, pid: Pid) -> AfterExit {
        if !self.status_board.record_restart() {
            let child = self.all.remove(&pid);
            let id = child.map(|child| child.spec.id.clone());
            let id = id.as_ref().map_or("", |id| id.as_str());
            return self.give_up(&format!("reached_max_restart_intensity by child {id}"));
        }
        if too_many_zombies(self.all.get(&pid).into_iter(), self.max_zombies) {
            self.all.remove(&pid);
            return self.give_up("zombie_limit");
        }
        let Some(mut child) = self.all.remove(&pid) else {
            return AfterExit::Continue;
        };
        match child.start(&self.name, log::Level::Info) {
            Ok(Some(pid)) => {
                child.publish_restart();
                self.all.insert(pid, child);
                AfterExit::Continue
            }
            Ok(None) => AfterExit::Continue, // it asked to be ignored, and nobody can ask for it by an id
            Err(error) => {
                write_log(
                    log::Level::Error,
                    format_args!(
                        "supervisor {}: child {} did not start again: {error}",
                        self.name, child.spec.id
                    ),
                );
                child.status = Status::Restarting(0); // nobody restarts it by hand: there is one wait at most
                self.all.insert(pid, child);
                AfterExit::Retry(pid)
            }
        }
    }

    fn give_up(&self, why: &str) -> AfterExit {
        write_log(log::Level::Error, format_args!("supervisor {}: {why}, shutting down", self.name));
        publish_give_up(why);
        AfterExit::GiveUp
    }

    /// Tells all of them at once, then waits: as long as the one that takes longest, not as long as all
    /// together. Each is killed when its own time is up.
    pub(crate) fn stop_all(&mut self) {
        let me = local::get();
        // A child that calls us in its clean-up is told at once that it would wait for ever.
        let _wait_edge = WaitEdge::on_all_descendants(me.as_ref());
        let all = std::mem::take(&mut self.all).into_values();
        let mut stopping: Vec<(Child, StoppingChild)> =
            all.filter_map(|mut child| child.request_stop().map(|stopping| (child, stopping))).collect();
        // In the order of their times: no wait makes a later kill late.
        stopping.sort_by_key(|(_, stopping)| stopping.timeout());
        for (_, stopping) in &stopping {
            stopping.kill_after_timeout();
        }
        for (child, stopping) in stopping {
            child.await_stopped(stopping, &self.name);
        }
    }
}
