//! The application master: a process that starts the top supervisor of an application, and stops all processes of the
//! application when the top supervisor exits or a stop is requested.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use crate::application::state;
use crate::application::state::ApplicationState;
use crate::child_spec::DEFAULT_SHUTDOWN_TIMEOUT;
use crate::exception;
use crate::gen_server::callbacks::Context;
use crate::gen_server::callbacks::GenServer;
use crate::gen_server::callbacks::Info;
use crate::gen_server::callbacks::InitError;
use crate::gen_server::reply::Next;
use crate::gen_server::spec::ServerSpec;
use crate::gen_server::wait_graph::WaitEdge;
use crate::pid::Pid;
use crate::process::control::block::ProcessBlock;
use crate::process::control::local;
use crate::process::observe::info::info;
use crate::process::observe::zombie;
use crate::process::park::timer_thread::elapsed;
use crate::process::signals::current::trap_exit;
use crate::process::signals::exit::exit;
use crate::process::signals::monitor::watch_block;
use crate::reason::ExitReason;
use crate::supervisor::child::logging::write_log;
use crate::supervisor::server;
use crate::supervisor::supervisor::SupervisorRef;
use crate::sync;
use crate::unwind::ContainedDrop;

/// A callback of the user for the end of an application. A panic in it or in its destructor must not leave the
/// application half-stopped.
pub(crate) struct Callback {
    name: &'static str,
    function: ContainedDrop<Box<dyn FnOnce() + Send>>,
}

impl Callback {
    pub(crate) fn new(name: &'static str, function: impl FnOnce() + Send + 'static) -> Self {
        Self { name, function: ContainedDrop::new("application callback", Box::new(function)) }
    }

    /// Runs the callback. A panic is logged; a kill of the master propagates.
    fn run(self, application: &str) {
        if let Err(exception) = exception::catch(self.function.into_inner()) {
            let name = self.name;
            match exception.into_exit_reason() {
                Some(reason) => {
                    write_log(
                        log::Level::Error,
                        format_args!("application {application}: {name} failed: {reason}"),
                    );
                }
                None => exception::unwind_on_exit_signal(), // the master was killed
            }
        }
        trap_exit(true); // the callback may have turned it off
    }
}

/// The start arguments of a master.
pub(crate) struct MasterArgs {
    pub(crate) state: Arc<ApplicationState>,
    pub(crate) top: ServerSpec<server::Supervisor>,
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

/// The cast that stops the application without waiting for its end.
pub(crate) struct StopRequest;

impl GenServer for Master {
    type Args = MasterArgs;
    type Call = Infallible;
    type Cast = StopRequest;

    fn init(args: MasterArgs, cx: &mut Context<Self>) -> Result<Self, InitError> {
        cx.trap_exit(true);
        let MasterArgs { state, top, prep_stop, on_stop } = args;
        let processes = ApplicationProcesses { master: cx.pid(), name: Arc::clone(&state.name) };
        let started = match top.start_link_at_definition() {
            Ok(started) => started,
            Err(error) => {
                // Unsupervised processes that `init` functions started may be left.
                processes.kill_remaining();
                state.set_start_error(error);
                return Err(InitError::Error(ExitReason::Shutdown)); // `Application::start` reads the error there
            }
        };
        let Some(top) = started.find_block() else { unreachable!("a started server is found by its block") };
        state.set_top(SupervisorRef::new(started));
        write_log(log::Level::Info, format_args!("application {} started", state.name));
        Ok(Self { state, top, prep_stop, on_stop, processes })
    }

    fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next {
        match call {}
    }

    fn handle_cast(&mut self, StopRequest: StopRequest, _: &mut Context<Self>) -> Next {
        Next::stop(ExitReason::Normal)
    }

    fn handle_info(&mut self, info: Info, _: &mut Context<Self>) -> Next {
        match info {
            Info::Exit { from, .. } if from == self.top.pid => Next::stop(ExitReason::Normal),
            _ => Next::wait(), // exit signals of other processes do not stop the application
        }
    }

    /// Ends the application, step by step, whether a stop was requested or the top supervisor exited by itself.
    fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
        self.state.set_stopping();
        if let Some(callback) = self.prep_stop.take() {
            callback.run(&self.state.name);
        }
        exit_and_wait(&self.top, ExitReason::Shutdown); // no effect if it has exited by itself
        let Some(reason) = self.top.exit_reason() else { unreachable!("its exit was waited for") };
        // A supervisor that exits with another reason has stopped its children itself.
        if reason.is_abnormal() {
            self.wait_for_orphans();
        }
        if let Some(callback) = self.on_stop.take() {
            callback.run(&self.state.name);
        }
        // Unsupervised processes are left, and those that `on_stop` started.
        self.processes.kill_remaining();
        self.finish(reason);
    }
}

impl Master {
    /// Waits for the default shutdown timeout at most for the children of a top supervisor that was killed. It has not
    /// stopped them, but they have received its exit signal and may be cleaning up.
    fn wait_for_orphans(&self) {
        let began = sync::now();
        for child in self.processes.list() {
            if child.spawn_info.ancestors.first() == Some(&self.top.pid) {
                let watch = watch_block(Arc::clone(&child));
                watch.wait_timeout(DEFAULT_SHUTDOWN_TIMEOUT.saturating_sub(elapsed(began)));
            }
        }
    }

    /// Logs the end of the application, and the zombies that remain, and records the exit reason.
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

/// Sends an exit signal to a process and waits until it has exited. The wait is visible in the wait-for graph before the
/// signal is sent: if the exiting process calls a process that waits for the stop, that call fails with a deadlock
/// error instead of blocking both.
fn exit_and_wait(process: &Arc<ProcessBlock>, reason: ExitReason) {
    let me = local::get();
    let _wait_edge = WaitEdge::add(me.as_ref(), process);
    exit(process.pid, reason);
    watch_block(Arc::clone(process)).wait();
}

/// The processes that were started by the master, or by one of these.
struct ApplicationProcesses {
    master: Pid,
    name: Arc<str>,
}

impl ApplicationProcesses {
    fn list(&self) -> Vec<Arc<ProcessBlock>> {
        state::processes_of(self.master)
    }

    /// Kills the remaining processes and waits until they have exited. Processes that they started before they received
    /// the kill are found in the next round.
    fn kill_remaining(&self) {
        loop {
            let remaining = self.list();
            if remaining.is_empty() {
                return;
            }
            // Kill all before waiting for the first, so that they exit at the same time.
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
                exit_and_wait(process, ExitReason::Kill); // bounded by its `kill_grace`
            }
        }
    }
}

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Master({})", self.state.name)
    }
}
