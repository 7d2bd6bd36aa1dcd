//! The application master: the process that starts an application's top supervisor, and sees to it that nothing
//! is left when that ends. One for each application, started by `plan` and stopped through `client`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::application::record::{self, Record};
use crate::gen_server::behaviour::{Context, GenServer, Info, Stop};
use crate::gen_server::cycle::Waiting;
use crate::gen_server::reply::{Never, Next};
use crate::gen_server::start::Spec;
use crate::pid::Pid;
use crate::process::block::{Block, Phase};
use crate::process::clock::elapsed;
use crate::process::exit::exit;
use crate::process::info::info;
use crate::process::own::trap_exit;
use crate::process::watch::watch_block;
use crate::process::{me, zombie};
use crate::reason::ExitReason;
use crate::supervisor::children::report;
use crate::supervisor::server::Supervisor;
use crate::sync;
use crate::unwind::contain;
use crate::unwound;

/// What the user wants done at the end. A failure in it, or in its destructor, must not leave the application
/// half-stopped.
pub(crate) struct Callback {
    what: &'static str,
    function: Option<Box<dyn FnOnce() + Send>>,
}

impl Callback {
    pub(crate) fn new(what: &'static str, function: impl FnOnce() + Send + 'static) -> Self {
        Self { what, function: Some(Box::new(function)) }
    }

    fn run(mut self, application: &str) {
        if let Some(Err(unwound)) = self.function.take().map(unwound::catch) {
            let what = self.what;
            match unwound.into_reason() {
                Some(reason) => {
                    report(
                        log::Level::Error,
                        format_args!("application {application}: {what} failed: {reason}"),
                    );
                }
                None => unwound::told(), // a kill
            }
        }
        trap_exit(true); // whatever it did to the process it ran in
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        let unused = self.function.take();
        contain("the destructor of a callback", move || drop(unused));
    }
}

/// What a master is started from.
pub(crate) struct Job {
    pub(crate) record: Arc<Record>,
    pub(crate) top: Spec<Supervisor>,
    pub(crate) prep_stop: Option<Callback>,
    pub(crate) on_stop: Option<Callback>,
}

pub(crate) struct Master {
    record: Arc<Record>,
    top: Arc<Block>,
    prep_stop: Option<Callback>,
    on_stop: Option<Callback>,
    belongings: Belongings,
}

/// To stop without waiting for it.
pub(crate) struct BeginStop;

impl GenServer for Master {
    type Args = Job;
    type Call = Never;
    type Cast = BeginStop;

    fn init(job: Job, cx: &mut Context<Self>) -> Result<Self, Stop> {
        cx.trap_exit(true);
        let Job { record, top, prep_stop, on_stop } = job;
        let belongings = Belongings { master: cx.me(), name: Arc::clone(&record.name) };
        let started = match top.start_for_maker() {
            Ok(started) => started,
            Err(error) => {
                belongings.clear();
                record.refused(error);
                return Err(Stop::Quiet(ExitReason::Shutdown)); // the starter finds the error in the record
            }
        };
        let Some(top) = started.find() else { unreachable!("what was started is reached by its block") };
        record.started(started);
        report(log::Level::Info, format_args!("application {} started", record.name));
        Ok(Self { record, top, prep_stop, on_stop, belongings })
    }

    fn handle_call(&mut self, call: Never, _: &mut Context<Self>) -> Next {
        match call {}
    }

    fn handle_cast(&mut self, BeginStop: BeginStop, _: &mut Context<Self>) -> Next {
        Next::stop(ExitReason::Normal)
    }

    fn handle_info(&mut self, info: Info, _: &mut Context<Self>) -> Next {
        match info {
            Info::Exit { from, .. } if from == self.top.pid => Next::stop(ExitReason::Normal),
            _ => Next::wait(), // signals from others are no reason to stop
        }
    }

    /// The end of the application, in order; whether it was asked for or the top supervisor ended by itself.
    fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
        self.record.stopping();
        if let Some(callback) = self.prep_stop.take() {
            callback.run(&self.record.name);
        }
        end(&self.top, ExitReason::Shutdown); // if it has not ended by itself
        let reason = match &self.top.lock().phase {
            Phase::Exiting(reason) | Phase::Dead(reason) => reason.clone(),
            Phase::Running => unreachable!("it was waited for"),
        };
        if reason.is_abnormal() {
            self.await_orphans();
        }
        if let Some(callback) = self.on_stop.take() {
            callback.run(&self.record.name);
        }
        self.belongings.clear();
        self.conclude(reason);
    }
}

impl Master {
    /// A top supervisor that was killed has not stopped its children; but they have heard of its end. Those that
    /// clean up get the time they have by default before they count as left over.
    fn await_orphans(&self) {
        const LIMIT: Duration = Duration::from_secs(5);
        let began = sync::now();
        for child in self.belongings.find() {
            if child.birth.ancestors.first() == Some(&self.top.pid) {
                let watch = watch_block(child.pid, Some(Arc::clone(&child)));
                watch.wait_timeout(LIMIT.saturating_sub(elapsed(began)));
            }
        }
    }

    /// Nothing is left but zombies.
    fn conclude(&self, reason: ExitReason) {
        let name = &self.record.name;
        for zombie in zombie::of_application(self.belongings.master) {
            report(log::Level::Error, format_args!("application {name} leaves a thread behind: {zombie}"));
        }
        match self.record.gave_up.get() {
            Some(why) => report(log::Level::Error, format_args!("application {name} gave up: {why}")),
            None if reason.is_abnormal() => {
                report(log::Level::Error, format_args!("application {name} ended: {reason}"));
            }
            None => report(log::Level::Info, format_args!("application {name} ended: {reason}")),
        }
        self.record.ended(reason);
    }
}

/// Tells a process to end and waits until it has. Marked as waiting before anybody hears of it: whoever then
/// calls one that waits for the stop is told that this is a cycle.
fn end(process: &Arc<Block>, reason: ExitReason) {
    let me = me::get();
    let _waiting = Waiting::mark(me.as_ref(), process);
    exit(process.pid, reason);
    watch_block(process.pid, Some(Arc::clone(process))).wait();
}

/// Every process that began under the master, or under one that did.
struct Belongings {
    master: Pid,
    name: Arc<str>,
}

impl Belongings {
    fn find(&self) -> Vec<Arc<Block>> {
        record::belongings(self.master)
    }

    /// Kills what is left, and waits. What they started before they noticed comes in the next round.
    fn clear(&self) {
        loop {
            let left = self.find();
            if left.is_empty() {
                return;
            }
            for process in &left {
                if let Some(info) = info(process.pid).filter(|_| !process.doomed()) {
                    report(
                        log::Level::Warn,
                        format_args!("application {}: left over and killed: {info}", self.name),
                    );
                }
                exit(process.pid, ExitReason::Kill);
            }
            for process in &left {
                end(process, ExitReason::Kill); // within its `kill_grace`
            }
        }
    }
}

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Master({})", self.record.name)
    }
}
