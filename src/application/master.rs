//! The application master: the process that starts an application's top supervisor, and sees to it that nothing
//! is left when that ends. One for each application, started by `plan` and stopped through `client`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::application::state;
use crate::application::state::ApplicationState;
use crate::exception;
use crate::gen_server::callbacks::Context;
use crate::gen_server::callbacks::GenServer;
use crate::gen_server::callbacks::Info;
use crate::gen_server::callbacks::InitError;
use crate::gen_server::reply::{Never, Next};
use crate::gen_server::start::ServerSpec;
use crate::gen_server::wait_graph::WaitEdge;
use crate::pid::Pid;
use crate::process::control::block::Phase;
use crate::process::control::block::ProcessBlock;
use crate::process::control::local;
use crate::process::observe::info::info;
use crate::process::observe::zombie;
use crate::process::park::timer_thread::elapsed;
use crate::process::signals::current::trap_exit;
use crate::process::signals::exit::exit;
use crate::process::signals::watch::watch_block;
use crate::reason::ExitReason;
use crate::supervisor::child::write_log;
use crate::supervisor::server::Supervisor;
use crate::sync;
use crate::unwind::catch_and_log;

/// What the user wants done at the end. A failure in it, or in its destructor, must not leave the application
/// half-stopped.
pub(crate) struct Callback {
    name: &'static str,
    function: Option<Box<dyn FnOnce() + Send>>,
}

impl Callback {
    pub(crate) fn new(name: &'static str, function: impl FnOnce() + Send + 'static) -> Self {
        Self { name, function: Some(Box::new(function)) }
    }

    fn run(mut self, application: &str) {
        if let Some(Err(exception)) = self.function.take().map(exception::catch) {
            let name = self.name;
            match exception.into_exit_reason() {
                Some(reason) => {
                    write_log(
                        log::Level::Error,
                        format_args!("application {application}: {name} failed: {reason}"),
                    );
                }
                None => exception::unwind_on_exit_signal(), // a kill
            }
        }
        trap_exit(true); // whatever it did to the process it ran in
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        let unused = self.function.take();
        catch_and_log("the destructor of a callback", move || drop(unused));
    }
}

/// What a master is started from.
pub(crate) struct MasterArgs {
    pub(crate) state: Arc<ApplicationState>,
    pub(crate) top: ServerSpec<Supervisor>,
    pub(crate) prep_stop: Option<Callback>,
    pub(crate) on_stop: Option<Callback>,
}

pub(crate) struct Master {
    state: Arc<ApplicationState>,
    top: Arc<ProcessBlock>,
    prep_stop: Option<Callback>,
    on_stop: Option<Callback>,
    processes: ApplicationProcesses,
}

/// To stop without waiting for it.
pub(crate) struct StopRequest;

impl GenServer for Master {
    type Args = MasterArgs;
    type Call = Never;
    type Cast = StopRequest;

    fn init(args: MasterArgs, cx: &mut Context<Self>) -> Result<Self, InitError> {
        cx.trap_exit(true);
        let MasterArgs { state, top, prep_stop, on_stop } = args;
        let processes = ApplicationProcesses { master: cx.pid(), name: Arc::clone(&state.name) };
        let started = match top.start_link_at_definition() {
            Ok(started) => started,
            Err(error) => {
                processes.kill_remaining();
                state.set_start_error(error);
                return Err(InitError::Error(ExitReason::Shutdown)); // the starter finds the error in the record
            }
        };
        let Some(top) = started.find_block() else {
            unreachable!("what was started is reached by its block")
        };
        state.set_top(started);
        write_log(log::Level::Info, format_args!("application {} started", state.name));
        Ok(Self { state, top, prep_stop, on_stop, processes })
    }

    fn handle_call(&mut self, call: Never, _: &mut Context<Self>) -> Next {
        match call {}
    }

    fn handle_cast(&mut self, StopRequest: StopRequest, _: &mut Context<Self>) -> Next {
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
        self.state.set_stopping();
        if let Some(callback) = self.prep_stop.take() {
            callback.run(&self.state.name);
        }
        exit_and_wait(&self.top, ExitReason::Shutdown); // if it has not ended by itself
        let reason = match &self.top.lock().phase {
            Phase::Exiting(reason) | Phase::Dead(reason) => reason.clone(),
            Phase::Running => unreachable!("it was waited for"),
        };
        if reason.is_abnormal() {
            self.wait_for_orphans();
        }
        if let Some(callback) = self.on_stop.take() {
            callback.run(&self.state.name);
        }
        self.processes.kill_remaining();
        self.finish(reason);
    }
}

impl Master {
    /// A top supervisor that was killed has not stopped its children; but they have heard of its end. Those that
    /// clean up get the time they have by default before they count as left over.
    fn wait_for_orphans(&self) {
        const ORPHAN_TIMEOUT: Duration = Duration::from_secs(5);
        let began = sync::now();
        for child in self.processes.list() {
            if child.spawn_info.ancestors.first() == Some(&self.top.pid) {
                let watch = watch_block(child.pid, Some(Arc::clone(&child)));
                watch.wait_timeout(ORPHAN_TIMEOUT.saturating_sub(elapsed(began)));
            }
        }
    }

    /// Nothing is left but zombies.
    fn finish(&self, reason: ExitReason) {
        let name = &self.state.name;
        for zombie in zombie::of_application(self.processes.master) {
            write_log(log::Level::Error, format_args!("application {name} leaves a thread behind: {zombie}"));
        }
        match self.state.gave_up.get() {
            Some(why) => write_log(log::Level::Error, format_args!("application {name} gave up: {why}")),
            None if reason.is_abnormal() => {
                write_log(log::Level::Error, format_args!("application {name} ended: {reason}"));
            }
            None => write_log(log::Level::Info, format_args!("application {name} ended: {reason}")),
        }
        self.state.set_exit_reason(reason);
    }
}

/// Tells a process to end and waits until it has. Marked as waiting before anybody hears of it: whoever then
/// calls one that waits for the stop is told that this is a cycle.
fn exit_and_wait(process: &Arc<ProcessBlock>, reason: ExitReason) {
    let me = local::get();
    let _wait_edge = WaitEdge::add(me.as_ref(), process);
    exit(process.pid, reason);
    watch_block(process.pid, Some(Arc::clone(process))).wait();
}

/// Every process that began under the master, or under one that did.
struct ApplicationProcesses {
    master: Pid,
    name: Arc<str>,
}

impl ApplicationProcesses {
    fn list(&self) -> Vec<Arc<ProcessBlock>> {
        state::processes_of(self.master)
    }

    /// Kills what is left, and waits. What they started before they noticed comes in the next round.
    fn kill_remaining(&self) {
        loop {
            let remaining = self.list();
            if remaining.is_empty() {
                return;
            }
            for process in &remaining {
                if let Some(info) = info(process.pid).filter(|_| !process.is_exiting()) {
                    write_log(
                        log::Level::Warn,
                        format_args!("application {}: left over and killed: {info}", self.name),
                    );
                }
                exit(process.pid, ExitReason::Kill);
            }
            for process in &remaining {
                exit_and_wait(process, ExitReason::Kill); // within its `kill_grace`
            }
        }
    }
}

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Master({})", self.state.name)
    }
}
