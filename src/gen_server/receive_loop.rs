//! The body of a server's process: `init`, the receive loop, `terminate`.

use std::sync::Arc;

use crate::child_spec::StartError;
use crate::exception;
use crate::exception::Exception;
use crate::gen_server::callbacks::Context;
use crate::gen_server::callbacks::Envelope;
use crate::gen_server::callbacks::GenServer;
use crate::gen_server::callbacks::Info;
use crate::gen_server::callbacks::InitError;
use crate::gen_server::reply::{Caller, Next, NextAction};
use crate::gen_server::wait_graph::remove_edge;
use crate::pid::Pid;
use crate::process::control::activity::Activity;
use crate::process::control::block::ProcessBlock;
use crate::process::control::local::CurrentProcess;
use crate::process::control::type_name::public_type_name;
use crate::process::lifecycle::init_ack::confirm_start;
use crate::process::mailbox::inbox::{Event, Inbox};
use crate::process::observe::crash_report;
use crate::process::park::timer_thread;
use crate::process::signals::deliver;
use crate::process::signals::exit;
use crate::reason::ExitReason;
use crate::sync::Mutex;
use crate::unwind::{catch_and_log, drop_and_log};

/// The error of `init`, if it says more than the exit reason of the process.
pub(crate) type StartFailure = Arc<Mutex<Option<StartError>>>;

/// The arguments of [`run_server`].
pub(crate) struct ServerArgs<S: GenServer> {
    pub(crate) args: S::Args,
    pub(crate) parent: Option<Pid>,
    /// Answered when `init` has returned a state.
    pub(crate) started: Caller<()>,
    pub(crate) failure: StartFailure,
}

/// Runs a server from `init` to `terminate`, on the thread of its process.
pub(crate) fn run_server<S: GenServer>(
    server_args: ServerArgs<S>,
    inbox: &mut Inbox<Envelope<S>>,
    make_context: impl FnOnce(Option<Pid>) -> Context<S>,
) {
    let ServerArgs { args, parent, started, failure } = server_args;
    let me = exit::expect_process("serve");
    // What a reply handle dropped in a callback means is decided after the callback: the server may exit in
    // it.
    me.defer_dropped_callers();
    let mut cx = make_context(parent);
    me.set_activity(Activity::Starting);
    let init_result = S::init(args, &mut cx);
    let mut server = match init_result {
        Ok(server) => server,
        Err(init_error) => return fail_start(init_error, &failure),
    };
    // The start is decided here: it has failed if the process was killed while `init` ran.
    let is_running = confirm_start(&me.block);
    let mut last_message = LastMessage::default();
    let result = exception::catch(|| {
        if is_running {
            started.reply_uninterruptible(());
        }
        me.checkpoint(); // Unwinds here if the process was killed while `init` ran.
        receive_loop(&mut server, inbox, &mut cx, &me, &mut last_message)
    });
    if matches!(result, Err(Exception::ExitSignal)) {
        // An exit signal that it does not trap: `terminate` does not run. The reason is set already, this one
        // is not used.
        return begin_shutdown(&me, server, ExitReason::Normal);
    }
    // `terminate` runs as ordinary code, without the deadline of the unwinding that was caught.
    me.on_unwind_caught();
    let last_activity = me.block.activity.get();
    me.set_activity(Activity::Terminating);
    let (reply, reason) = match result {
        Ok((reply, reason)) => (Some(reply), reason),
        Err(unwound) => (None, unwound.into_exit_reason().unwrap_or(ExitReason::Normal)),
    };
    if reason.is_abnormal() {
        report_crash(&me.block, &server, &reason, last_activity, &last_message);
    }
    // A failure in `terminate` replaces the reason.
    let reason = match exception::catch(|| server.terminate(&reason, &mut cx)) {
        Ok(()) => reason,
        Err(unwound) => unwound.into_exit_reason().unwrap_or(reason),
    };
    // Sends the reply of `and_stop`.
    drop(reply);
    begin_shutdown(&me, server, reason);
}

/// The message that a server handles or has handled last, for the report of a crash.
#[derive(Default)]
struct LastMessage {
    /// The caller, if it is a process and waits for a reply.
    from: Option<Pid>,
    /// The text that the server has made of it.
    text: Option<String>,
}

/// Logs that a server stops with an abnormal reason: what it did, for which caller, with which message and state. The
/// crash report follows when the process has exited.
fn report_crash<S: GenServer>(
    block: &ProcessBlock,
    server: &S,
    reason: &ExitReason,
    activity: Activity,
    last_message: &LastMessage,
) {
    // Without a logger the one line of the crash report must do.
    if !crash_report::has_logger() {
        return;
    }
    // User code, which may panic: the report continues without the state.
    let mut state = None;
    catch_and_log("format_state", || state = server.format_state());
    let from = last_message.from.filter(|_| activity == Activity::Call);
    let details = [
        ("caller", from.map(crash_report::caller_name)),
        ("last message", last_message.text.as_deref().map(crash_report::shorten)),
        ("state", state.as_deref().map(crash_report::shorten)),
    ];
    crash_report::report_stop(block, public_type_name::<S>(), activity, reason, &details);
}

/// Records why `init` failed, and exits with the reason of [`InitError::Stop`].
fn fail_start(init_error: InitError, failure: &StartFailure) {
    let (error, reason) = match init_error {
        InitError::Ignore => (StartError::Ignored, None),
        InitError::Error(reason) => (StartError::Failed(reason), None),
        InitError::Stop(reason) => (StartError::Failed(reason.clone()), Some(reason)),
    };
    *failure.lock() = Some(error);
    if let Some(reason) = reason {
        exception::exit(reason);
    }
}

/// Sets the exit reason, then drops the state: links and monitors are notified after its destructor has run.
fn begin_shutdown<S>(me: &CurrentProcess, server: S, reason: ExitReason) {
    // The destructor of the state is user code: it counts against the exit timeout, and its runtime calls
    // must not unwind.
    deliver::set_exiting(&me.block, reason);
    deliver::arm_exit_deadline(&me.block);
    me.mask_signals();
    drop_and_log("server state", server);
}

/// Handles messages until the server stops. Returns the reason, and the reply that is sent after `terminate`.
fn receive_loop<S: GenServer>(
    server: &mut S,
    inbox: &mut Inbox<Envelope<S>>,
    cx: &mut Context<S>,
    me: &CurrentProcess,
    last_message: &mut LastMessage,
) -> (impl Drop + use<S>, ExitReason) {
    let mut next = cx.after_init.take().unwrap_or_else(Next::wait);
    loop {
        let (reply, action) = next.into_parts();
        if let NextAction::Stop(reason) = action {
            return (reply, reason);
        }
        // The callback did not stop the server: send its reply, and notify the callers whose handles it
        // dropped.
        drop(reply);
        me.flush_dropped_callers();
        me.set_activity(Activity::Waiting);
        next = match action {
            NextAction::Continue => {
                me.set_activity(Activity::Continuing);
                server.handle_continue(cx)
            }
            NextAction::Wait(timeout) => {
                let event = inbox.recv_next(timeout.map(timer_thread::deadline_after));
                dispatch(server, event, cx, me, last_message)
            }
            NextAction::Stop(reason) => Next::stop(reason),
        };
    }
}

/// Calls the callback for a message; `None` means that the timeout for the next message expired.
fn dispatch<S: GenServer>(
    server: &mut S,
    event: Option<Event<Envelope<S>>>,
    cx: &mut Context<S>,
    me: &CurrentProcess,
    last_message: &mut LastMessage,
) -> Next {
    match event {
        Some(Event::Message(Envelope::Call { from, message })) => {
            me.set_activity(Activity::Call);
            me.set_current_caller(from);
            *last_message = LastMessage { from, text: S::format_call(&message) };
            let next = server.handle_call(message, cx);
            // Not answered: the reply may come from any thread now, so the caller no longer waits for this
            // server.
            if let Some(from) = me.take_unanswered_caller() {
                remove_edge(from, me.block.pid);
            }
            next
        }
        Some(Event::Message(Envelope::Cast(message))) => {
            me.set_activity(Activity::Cast);
            last_message.text = S::format_cast(&message);
            server.handle_cast(message, cx)
        }
        Some(Event::Message(Envelope::Stop(reason))) => Next::stop(*reason),
        // A server that traps exits still stops with its parent.
        Some(Event::Exit { from, reason }) if Some(from) == cx.parent => Next::stop(reason),
        Some(Event::Exit { from, reason }) => handle_info(server, Info::Exit { from, reason }, cx, me),
        Some(Event::Down { monitor, target, reason }) => {
            handle_info(server, Info::Down { monitor, target, reason }, cx, me)
        }
        None => handle_info(server, Info::Timeout, cx, me),
    }
}

fn handle_info<S: GenServer>(server: &mut S, info: Info, cx: &mut Context<S>, me: &CurrentProcess) -> Next {
    me.set_activity(Activity::Info);
    server.handle_info(info, cx)
}
