//! Starts that wait until the process reports that it has started: of servers, where `init` returns, and of plain
//! processes with an `InitAck`.

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
use crate::gen_server::reply_slot::{Outcome, Publish, ReplySlot};
use crate::gen_server::server_ref::ServerRef;
use crate::gen_server::wait_graph::WaitEdge;
use crate::pid::{MonitorRef, Pid};
use crate::process::control::block::ProcessBlock;
use crate::process::control::block::ProcessKind;
use crate::process::control::local;
use crate::process::control::local::CurrentProcess;
use crate::process::control::type_name::short_type_name;
use crate::process::lifecycle::init_ack::InitAck;
use crate::process::lifecycle::spawn::Builder;
use crate::process::lifecycle::spawn::start_process;
use crate::process::mailbox::address::Address;
use crate::process::mailbox::inbox::{Inbox, NoMessages};
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
    let mut process = Builder { kind: ProcessKind::Server, ..options.process.clone() };
    if let Some(name) = &options.name {
        name.apply_name_to(&mut process).map_err(StartError::Name)?;
    }
    // Without a name or label, listings show the type.
    if process.label.is_none() && process.name.is_none() {
        process.label = Some(short_type_name::<S>().into());
    }
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
    let timeout = options.start_timeout.or(process.start_timeout);
    let server = start_and_wait(process, timeout, link_to, monitor_by, &slot, body, |reason| {
        // What `init` returned says more than the exit reason, which is `Normal` for `Ignore` and `Error`.
        let failure = failure.lock().take();
        match reason.downcast_ref::<SpecError>() {
            Some(error) => StartError::BadSpec(error.clone()), // The spec of a supervisor.
            None => failure.unwrap_or(StartError::Failed(reason)),
        }
    })?;
    Ok(ServerRef::from_block(Arc::clone(server.block())))
}

/// Starts a process and waits until it answers `slot`, or has exited: then the start fails with the error that
/// `failure` makes of the exit reason.
#[track_caller]
fn start_and_wait<M: Send + 'static>(
    process: Builder,
    timeout: Option<Duration>,
    link_to: Option<&Rc<CurrentProcess>>,
    monitor_by: Option<(&Rc<CurrentProcess>, MonitorRef)>,
    slot: &Arc<ReplySlot<()>>,
    body: impl FnOnce(&mut Inbox<M>) + Send + 'static,
    failure: impl FnOnce(ExitReason) -> StartError,
) -> Result<Address<M>, StartError> {
    let process = Builder { reports_start: true, ..process };
    // The timeout includes the start of the thread.
    let deadline = timeout.map(timer_thread::deadline_after);
    let started = start_process(process, link_to, monitor_by, body).map_err(StartError::from)?;
    let block = started.block();
    // `start_process` has set the wait edge already, before the first step of the new process.
    let me = local::get();
    let _wait_edge = WaitEdge::adopt(me.as_ref());
    let error = match wait_for_reply(slot, block, deadline) {
        Some(Outcome::Answered(())) => return Ok(started),
        Some(Outcome::Exited(reason)) => failure(reason),
        // The deadline has passed.
        Some(Outcome::NoReply) | None => {
            abort_start(block, link_to);
            StartError::Timeout { after: timeout.unwrap_or(Duration::MAX) }
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

/// Starts a plain process whose body gets an [`InitAck`], and waits until it has reported its start.
#[track_caller]
fn start_acked<M: Send + 'static>(
    process: Builder,
    link_to: Option<&Rc<CurrentProcess>>,
    body: impl FnOnce(&mut Inbox<M>, InitAck) + Send + 'static,
) -> Result<Address<M>, StartError> {
    let slot = ReplySlot::<()>::new();
    let report_slot = Arc::clone(&slot);
    let timeout = process.start_timeout;
    // This body runs on the new thread.
    let body = move |inbox: &mut Inbox<M>| {
        let block = exit::expect_process("start").block.clone();
        // Not a `Caller`: one that is dropped would end the wait before the exit reason is known.
        let report = move || {
            report_slot.set_value(());
            report_slot.publish();
        };
        body(inbox, InitAck::new(block, report));
    };
    start_and_wait(process, timeout, link_to, None, &slot, body, StartError::Failed)
}

/// Starts that wait until the process reports that it has started, as those of servers do: Erlang's `proc_lib:start`
/// and `proc_lib:start_link`.
impl Builder {
    /// Starts a process and waits until its body has called [`InitAck::started`], for at most the
    /// [`start_timeout`](Self::start_timeout).
    ///
    /// # Errors
    /// [`StartError::Failed`] with its reason if the process exits before it has started; [`StartError::Timeout`] after
    /// the `start_timeout`: the process has been killed. [`StartError::AlreadyStarted`], [`StartError::Name`],
    /// [`StartError::SystemLimit`], [`StartError::Thread`], [`StartError::Exiting`] if it could not be started.
    ///
    /// ```
    /// use rethread::StartError;
    /// use rethread::process::{self, InitAck};
    ///
    /// let listener = process::Builder::new().label("listener").start(|ack: InitAck| {
    ///     let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| {
    ///         process::exit_with(rethread::ExitReason::error(error)) // the start fails with this reason
    ///     });
    ///     ack.started();
    ///     drop(listener); // would be used here
    /// })?;
    /// process::watch(listener).wait();
    ///
    /// let failed = process::Builder::new().start(|ack| ack.failed("no disk"));
    /// assert_eq!(failed, Err(StartError::failed("no disk")));
    /// # Ok::<(), StartError>(())
    /// ```
    #[track_caller]
    pub fn start(self, body: impl FnOnce(InitAck) + Send + 'static) -> Result<Pid, StartError> {
        start_acked(self, None, |_: &mut Inbox<NoMessages>, ack| body(ack)).map(|address| address.pid())
    }

    /// Starts a process linked to the calling one and waits until its body has called [`InitAck::started`], like
    /// [`start`](Self::start).
    ///
    /// If the start fails, a calling process that does not trap exits also exits with the reason, through the link,
    /// unless the reason is `Normal`. One that traps exits gets the error and no `Exit` message.
    ///
    /// # Errors
    /// [`StartError::NotAProcess`] on a thread that is not a process, and the errors of [`start`](Self::start).
    #[track_caller]
    pub fn start_link(self, body: impl FnOnce(InitAck) + Send + 'static) -> Result<Pid, StartError> {
        self.start_receiver_link(|_: &mut Inbox<NoMessages>, ack| body(ack)).map(|address| address.pid())
    }

    /// Starts a process with a mailbox and waits until its body has called [`InitAck::started`], like
    /// [`start`](Self::start).
    ///
    /// # Errors
    /// Those of [`start`](Self::start).
    ///
    /// ```
    /// use rethread::process::{self, Event, InitAck, Inbox};
    ///
    /// let printer = process::Builder::new().start_receiver(|inbox: &mut Inbox<String>, ack: InitAck| {
    ///     ack.started();
    ///     while let Event::Message(text) = inbox.recv() {
    ///         println!("{text}");
    ///     }
    /// })?;
    /// printer.send("hello".to_owned());
    /// # Ok::<(), rethread::StartError>(())
    /// ```
    #[track_caller]
    pub fn start_receiver<M: Send + 'static>(
        self,
        body: impl FnOnce(&mut Inbox<M>, InitAck) + Send + 'static,
    ) -> Result<Address<M>, StartError> {
        start_acked(self, None, body)
    }

    /// Starts a process with a mailbox, linked to the calling one, and waits until its body has called
    /// [`InitAck::started`], like [`start_link`](Self::start_link).
    ///
    /// # Errors
    /// Those of [`start_link`](Self::start_link).
    #[track_caller]
    pub fn start_receiver_link<M: Send + 'static>(
        self,
        body: impl FnOnce(&mut Inbox<M>, InitAck) + Send + 'static,
    ) -> Result<Address<M>, StartError> {
        let me = local::get().ok_or(StartError::NotAProcess)?;
        start_acked(self, Some(&me), body)
    }
}
