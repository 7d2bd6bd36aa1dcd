//! Starting a server: the process with its body, and the wait until `init` has returned.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::child_spec::{SpecError, StartError};
use crate::gen_server::call::wait_for_reply;
use crate::gen_server::callbacks::Context;
use crate::gen_server::callbacks::Envelope;
use crate::gen_server::callbacks::GenServer;
use crate::gen_server::options::ServerOptions;
use crate::gen_server::receive_loop::ServerArgs;
use crate::gen_server::receive_loop::StartFailure;
use crate::gen_server::receive_loop::run_server;
use crate::gen_server::reply::Caller;
use crate::gen_server::reply_slot::{Outcome, ReplySlot};
use crate::gen_server::server_ref::ServerRef;
use crate::gen_server::wait_graph::WaitEdge;
use crate::pid::{MonitorRef, Pid};
use crate::process::control::block::ProcessBlock;
use crate::process::control::block::ProcessKind;
use crate::process::control::local;
use crate::process::control::local::CurrentProcess;
use crate::process::control::type_name::short_type_name;
use crate::process::lifecycle::spawn::Builder;
use crate::process::lifecycle::spawn::start_process;
use crate::process::mailbox::address::Address;
use crate::process::mailbox::inbox::Inbox;
use crate::process::park::timer_thread;
use crate::process::signals::deliver;
use crate::process::signals::effect::Origin;
use crate::process::signals::exit;
use crate::process::signals::link::remove_link;
use crate::process::signals::monitor::demonitor_flush;
use crate::process::signals::monitor::watch_block;
use crate::reason::ExitReason;
use crate::sync::Mutex;

/// Starts the process and waits until `init` has returned, or the process has exited.
#[track_caller]
pub(crate) fn start_server<S: GenServer>(
    args: S::Args,
    options: &ServerOptions,
    link_to: Option<&Rc<CurrentProcess>>,
    monitor_by: Option<(&Rc<CurrentProcess>, MonitorRef)>,
) -> Result<ServerRef<S>, StartError> {
    let mut process = Builder { reports_start: true, kind: ProcessKind::Server, ..options.process.clone() };
    if let Some(name) = &options.name {
        name.apply_name_to(&mut process).map_err(StartError::Name)?;
    }
    // Without a name or label, listings show the type.
    if process.label.is_none() && process.name.is_none() {
        process.label = Some(short_type_name::<S>().into());
    }
    // The timeout includes the start of the thread.
    let deadline = options.start_timeout.map(timer_thread::deadline_after);
    let slot = ReplySlot::<()>::new();
    let failure: StartFailure = Arc::new(Mutex::new(None));
    let parent: Option<Pid> = link_to.map(|me| me.block.pid);
    let server_args = ServerArgs::<S> {
        args,
        parent,
        started: Caller::new(Arc::clone(&slot)),
        failure: Arc::clone(&failure),
    };
    // This body runs on the new thread.
    let body = move |inbox: &mut Inbox<Envelope<S>>| {
        let block = exit::expect_process("serve").block.clone();
        run_server(server_args, inbox, |parent| Context {
            address: Address::new(block),
            parent,
            after_init: None,
        });
    };
    let server = start_process(process, link_to, monitor_by, body).map_err(StartError::from)?;
    let block = server.block();
    // `start_process` has set the wait edge already, before the first step of the new process.
    let me = local::get();
    let _wait_edge = WaitEdge::adopt(me.as_ref());
    let error = match wait_for_reply(&slot, block, deadline) {
        Some(Outcome::Answered(())) => return Ok(ServerRef::from_block(Arc::clone(block))),
        Some(Outcome::Exited(reason)) => {
            // What `init` returned says more than the exit reason, which is `Normal` for `Ignore` and
            // `Error`.
            let failure = failure.lock().take();
            match reason.downcast_ref::<SpecError>() {
                Some(error) => StartError::BadSpec(error.clone()), // The spec of a supervisor.
                None => failure.unwrap_or(StartError::Failed(reason)),
            }
        }
        // The deadline has passed.
        Some(Outcome::NoReply) | None => {
            abort_start(block, link_to);
            StartError::Timeout { after: options.start_timeout.unwrap_or(Duration::MAX) }
        }
    };
    // The caller gets the error, so it gets no `Down` in addition.
    if let Some((_, monitor)) = monitor_by {
        demonitor_flush(monitor);
    }
    Err(error)
}

/// Kills a process whose `init` took too long, and waits until it has exited.
fn abort_start(block: &Arc<ProcessBlock>, link_to: Option<&Rc<CurrentProcess>>) {
    // Unlink first: the kill must not reach the caller.
    if let Some(me) = link_to {
        remove_link(&me.block, block.pid);
    }
    deliver::deliver_exit_signal(block, local::sender_pid(), &ExitReason::Kill, Origin::Sent);
    // The name must be free when the error is returned.
    watch_block(Arc::clone(block)).wait();
}
