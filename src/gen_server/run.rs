//! The life of a server: init, the loop over its mailbox, terminate. `start` has it run on a new thread.

use std::any::type_name;
use std::sync::Arc;

use crate::child_spec::StartError;
use crate::gen_server::behaviour::{Context, Envelope, GenServer, Info, Stop};
use crate::gen_server::cycle::postpone;
use crate::gen_server::reply::{Caller, Next, Step};
use crate::pid::Pid;
use crate::process::activity::Activity;
use crate::process::block::{Notice, Phase};
use crate::process::inbox::{Inbox, Item};
use crate::process::me::Me;
use crate::process::{clock, exit};
use crate::reason::ExitReason;
use crate::sync::Mutex;
use crate::unwind::contain;
use crate::unwound::{self, Unwound};

/// Why a server did not start, if there is more to say than the reason it ended with.
pub(crate) type Refusal = Arc<Mutex<Option<StartError>>>;

/// What the body of a server's process needs.
pub(crate) struct Job<S: GenServer> {
    pub(crate) args: S::Args,
    pub(crate) parent: Option<Pid>,
    /// Answered when `init` has made a state.
    pub(crate) started: Caller<()>,
    pub(crate) refusal: Refusal,
}

/// The body of a server's process.
pub(crate) fn serve<S: GenServer>(
    job: Job<S>,
    inbox: &mut Inbox<Envelope<S>>,
    make_context: impl FnOnce(Option<Pid>) -> Context<S>,
) {
    let Job { args, parent, started, refusal } = job;
    let me = exit::expect_process("serve");
    me.hold_dropped();
    let mut cx = make_context(parent);
    me.begins(Activity::Starting);
    let made = S::init(args, &mut cx);
    let mut server = match made {
        Ok(server) => server,
        Err(stop) => return refuse(stop, &refusal),
    };
    let mut state = me.block.lock();
    let begun = matches!(state.phase, Phase::Running);
    if begun {
        state.starter = None; // from here on it hears of our end as everybody linked does
    }
    drop(state);
    let ended = unwound::catch(|| {
        if begun {
            started.answer(());
        }
        me.checkpoint(); // killed while `init` ran: the start has failed, and that is all the starter hears
        attend(&mut server, inbox, &mut cx, &me)
    });
    if matches!(ended, Err(Unwound::Told)) {
        // Ended by a signal it does not trap: no terminate.
        return wind_up(&me, server, ExitReason::Normal);
    }
    me.settle();
    let was_at = me.block.doing.what();
    me.begins(Activity::Terminating);
    let (reply, reason) = match ended {
        Ok((reply, reason)) => (Some(reply), reason),
        Err(unwound) => (None, unwound.into_reason().unwrap_or(ExitReason::Normal)),
    };
    if reason.is_abnormal() {
        contain("the log", || {
            log::error!("server {} ({}) stops while {was_at}: {reason}", cx.me(), type_name::<S>());
        });
    }
    let reason = match unwound::catch(|| server.terminate(&reason, &mut cx)) {
        Ok(()) => reason,
        Err(unwound) => unwound.into_reason().unwrap_or(reason),
    };
    drop(reply);
    wind_up(&me, server, reason);
}

/// `init` did not make a state.
fn refuse(stop: Stop, refusal: &Refusal) {
    let (error, reason) = match stop {
        Stop::Ignore => (StartError::Ignored, None),
        Stop::Quiet(reason) => (StartError::Failed(reason), None),
        Stop::Reason(reason) => (StartError::Failed(reason.clone()), Some(reason)),
    };
    *refusal.lock() = Some(error);
    if let Some(reason) = reason {
        unwound::exit(reason);
    }
}

/// The end is decided; the state goes before anybody hears of it.
fn wind_up<S>(me: &Me, server: S, reason: ExitReason) {
    exit::begin(&me.block, reason);
    exit::linger(&me.block);
    me.begin_last_words();
    contain("the destructor of a server's state", move || drop(server));
}

/// Handles messages until the server stops; returns why, and the reply that is to be sent after
/// `terminate`.
fn attend<S: GenServer>(
    server: &mut S,
    inbox: &mut Inbox<Envelope<S>>,
    cx: &mut Context<S>,
    me: &Me,
) -> (impl Drop + use<S>, ExitReason) {
    let mut next = cx.after_init.take().unwrap_or_else(Next::wait);
    loop {
        let (reply, step) = next.split();
        if let Step::Stop(reason) = step {
            return (reply, reason);
        }
        drop(reply);
        me.release_dropped();
        me.begins(Activity::Waiting);
        next = match step {
            Step::Continue => {
                me.begins(Activity::Continuing);
                server.handle_continue(cx)
            }
            Step::Wait(limit) => {
                let item = inbox.receive(limit.map(clock::after));
                handle(server, item, cx, me)
            }
            Step::Stop(reason) => Next::stop(reason),
        };
    }
}

fn handle<S: GenServer>(
    server: &mut S,
    item: Option<Item<Envelope<S>>>,
    cx: &mut Context<S>,
    me: &Me,
) -> Next {
    match item {
        Some(Item::Message(Envelope::Call { from, message })) => {
            me.begins(Activity::Call);
            me.answers(from);
            let next = server.handle_call(message, cx);
            if let Some(from) = me.owes() {
                postpone(from, me.block.pid);
            }
            next
        }
        Some(Item::Message(Envelope::Cast(message))) => {
            me.begins(Activity::Cast);
            server.handle_cast(message, cx)
        }
        Some(Item::Message(Envelope::Stop(reason))) => Next::stop(*reason),
        Some(Item::Notice(notice)) => match *notice {
            Notice::Exit { from, reason } if Some(from) == cx.parent => Next::stop(reason),
            Notice::Exit { from, reason } => inform(server, Info::Exit { from, reason }, cx, me),
            Notice::Down { monitor, target, reason } => {
                inform(server, Info::Down { monitor, target, reason }, cx, me)
            }
        },
        None => inform(server, Info::Timeout, cx, me),
    }
}

fn inform<S: GenServer>(server: &mut S, info: Info, cx: &mut Context<S>, me: &Me) -> Next {
    me.begins(Activity::Info);
    server.handle_info(info, cx)
}
