//! The children of one dynamic supervisor: start one, restart one, stop one, stop all at once. The servers
//! that keep such children, the supervisor of tasks among them, hand everything on to here.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::child_spec::{ChildSpec, StartError};
use crate::dynamic_supervisor::limits::Limits;
use crate::dynamic_supervisor::request::DynamicAsk;
use crate::gen_server::cycle::Waiting;
use crate::gen_server::reply::Next;
use crate::pid::Pid;
use crate::process::me;
use crate::reason::ExitReason;
use crate::supervisor::account::{Books, publish_end};
use crate::supervisor::budget::Budget;
use crate::supervisor::children::{
    Child, Ending, Status, child_info, count, has_ended, report, too_many_zombies,
};
use crate::supervisor::decide::{Fate, fate};
use crate::supervisor::request::ChildError;

/// All children, by who they are or, while a restart is to be tried again, were last.
pub(crate) struct DynamicChildren {
    /// The supervisor, for the log.
    called: String,
    books: Arc<Books>,
    max_children: Option<usize>,
    max_zombies: Option<usize>,
    all: BTreeMap<Pid, Child>,
}

/// What the supervisor does after the end of a child.
pub(crate) enum Then {
    GoOn,
    /// To start the one again that was this process: through the mailbox, so that requests and our own shutdown
    /// get in between.
    TryAgain(Pid),
    GiveUp,
}

impl DynamicChildren {
    pub(crate) fn new(called: String, limits: &Limits) -> Self {
        Self {
            called,
            books: Books::open(None, Budget::new(limits.max_restarts, limits.period)),
            max_children: limits.max_children,
            max_zombies: limits.max_zombies,
            all: BTreeMap::new(),
        }
    }

    /// Does what somebody asks for.
    pub(crate) fn answer(&mut self, ask: DynamicAsk) -> Next {
        match ask {
            DynamicAsk::Start(spec, from) => from.reply(self.start(spec)),
            DynamicAsk::Terminate(pid, from) => from.reply(self.terminate(pid)),
            DynamicAsk::Which(from) => from.reply(self.all.values().map(child_info).collect()),
            DynamicAsk::Count(from) => from.reply(count(self.all.values())),
        }
    }

    fn start(&mut self, spec: ChildSpec) -> Result<Option<Pid>, StartError> {
        let mut child = Child::new(spec); // from here on its destructor is contained
        if let Some(limit) = self.max_children.filter(|limit| self.all.len() >= *limit) {
            return Err(StartError::MaxChildren { limit });
        }
        let started = child.start(&self.called, log::Level::Debug)?;
        if let Some(pid) = started {
            self.all.insert(pid, child);
        }
        Ok(started)
    }

    fn terminate(&mut self, pid: Pid) -> Result<(), ChildError> {
        let mut child = self.all.remove(&pid).ok_or(ChildError::NotFound)?;
        child.stop(&self.called);
        Ok(())
    }

    /// A linked process ended by itself.
    pub(crate) fn ended(&mut self, pid: Pid, reason: &ExitReason) -> Then {
        let Some(child) = self.all.get_mut(&pid).filter(|child| child.pid() == Some(pid)) else {
            return Then::GoOn; // no child of ours, or no longer
        };
        if !has_ended(child, pid, &self.called) {
            return Then::GoOn;
        }
        child.status = Status::Stopped;
        let fate = fate(child.spec.restart, reason);
        child.report_end(&self.called, pid, reason);
        match fate {
            Fate::Restart => self.restart(pid),
            Fate::Rest | Fate::Forget => {
                self.all.remove(&pid);
                Then::GoOn
            }
        }
    }

    /// A restart that failed is tried again, unless the child was terminated meanwhile.
    pub(crate) fn try_again(&mut self, pid: Pid) -> Then {
        if self.all.contains_key(&pid) { self.restart(pid) } else { Then::GoOn }
    }

    /// Starts a child again, if the budget allows.
    fn restart(&mut self, pid: Pid) -> Then {
        if !self.books.spend() {
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
            return Then::GoOn;
        };
        match child.start(&self.called, log::Level::Info) {
            Ok(Some(pid)) => {
                child.publish_restart();
                self.all.insert(pid, child);
                Then::GoOn
            }
            Ok(None) => Then::GoOn, // it asked to be ignored, and nobody can ask for it by an id
            Err(error) => {
                report(
                    log::Level::Error,
                    format_args!(
                        "supervisor {}: child {} did not start again: {error}",
                        self.called, child.spec.id
                    ),
                );
                child.status = Status::Restarting(0); // nobody restarts it by hand: there is one wait at most
                self.all.insert(pid, child);
                Then::TryAgain(pid)
            }
        }
    }

    fn give_up(&self, why: &str) -> Then {
        report(log::Level::Error, format_args!("supervisor {}: {why}, shutting down", self.called));
        publish_end(why);
        Then::GiveUp
    }

    /// Tells all of them at once, then waits: as long as the one that takes longest, not as long as all
    /// together. Each is killed when its own time is up.
    pub(crate) fn stop_all(&mut self) {
        let me = me::get();
        // A child that calls us in its clean-up is told at once that it would wait for ever.
        let _waiting = Waiting::for_descendants(me.as_ref());
        let all = std::mem::take(&mut self.all).into_values();
        let mut ending: Vec<(Child, Ending)> =
            all.filter_map(|mut child| child.begin_stop().map(|ending| (child, ending))).collect();
        // In the order of their times: no wait makes a later kill late.
        ending.sort_by_key(|(_, ending)| ending.limit());
        for (_, ending) in &ending {
            ending.kill_when_late();
        }
        for (child, ending) in ending {
            child.stopped(ending, &self.called);
        }
    }
}
