//! The top frame of a process: runs the body on the thread of the process, and turns a return, panic, throw or
//! exit into an exit reason. No unwind leaves this file, except panics of the runtime itself.

use std::sync::Arc;

use crate::exception;
use crate::exception::Exception;
use crate::panic_hook;
use crate::process::control::block::Phase;
use crate::process::control::block::ProcessBlock;
use crate::process::control::local;
use crate::process::control::settings::ProcessPermit;
use crate::process::mailbox::inbox::Inbox;
use crate::process::observe::crash_report;
use crate::process::observe::events;
use crate::process::observe::events::ProcessEventKind;
use crate::process::observe::zombie;
use crate::process::park::thread_cache;
use crate::process::signals::deliver;
use crate::process::signals::deliver::ThreadState;
use crate::process::signals::exit::on_panic;
use crate::process::signals::monitor::watch_block;
use crate::reason::ExitReason;
use crate::unwind::drop_and_log;

/// Runs a process on the calling thread, from its first step to the end of its cleanup. Returns the value of the
/// body, unless the body unwound or a signal decided the exit.
pub(crate) fn run_process<M: Send + 'static, T>(
    block: &Arc<ProcessBlock>,
    permit: ProcessPermit,
    inbox: &mut Inbox<M>,
    body: impl FnOnce(&mut Inbox<M>) -> T,
) -> Option<T> {
    // Make this thread the process.
    local::set(Some(Arc::clone(block)));
    block.activity.touch();
    events::emit(block, || ProcessEventKind::Started { parent: block.spawn_info.ancestors.first().copied() });
    inbox.bind(local::get());
    panic_hook::set_panic_observer(Some(on_panic));
    // Run the body. An exit signal may arrive before its first step; then `body` stays in `unused`.
    let mut unused = Some(body);
    let outcome = exception::catch(|| {
        wait_for_predecessors(block);
        local::checkpoint();
        unused.take().map(|body| body(inbox))
    });
    // From here on only destructors and cleanup run: runtime calls in them must not unwind.
    if let Some(me) = local::get() {
        me.mask_signals();
    }
    // Not dropped by the unwind above: a panic of its destructor during an unwind would abort the program.
    if let Some(body) = unused {
        drop_and_log("body of a process that never started", body);
    }
    let value = finish(block, permit, inbox, outcome).flatten();
    // The thread is no process any more; it may run another one, or foreign code after `attach`.
    panic_hook::set_panic_observer(None);
    inbox.bind(None);
    local::set(None);
    // Last, because dropping a value that is not returned runs user code.
    value.filter(|_| !block.exited_by_signal())
}

/// Drops the inbox of a process that has exited. A message that was on its way may have been added after the
/// inbox was cleared.
pub(crate) fn drop_inbox<M>(inbox: Inbox<M>) {
    drop_and_log("unread message", inbox);
}

/// Turns the outcome of the body into the exit reason, unless a signal has decided it already, and completes the
/// exit. Returns the value of the body, if it returned.
fn finish<M: Send + 'static, T>(
    block: &Arc<ProcessBlock>,
    permit: ProcessPermit,
    inbox: &mut Inbox<M>,
    outcome: Result<T, Exception>,
) -> Option<T> {
    let (value, reason) = match outcome {
        Ok(value) => (Some(value), ExitReason::Normal),
        Err(exception) => {
            // `None` for the unwind of an exit signal: the phase has its reason already.
            let own_reason = exception.into_exit_reason();
            if let Some(reason) = &own_reason {
                deliver::keep_own_reason(block, reason);
            }
            (None, own_reason.unwrap_or(ExitReason::Normal))
        }
    };
    // Counted for the crash report, before the messages are dropped.
    let unread = inbox.len();
    deliver::set_exiting(block, reason);
    // After `set_exiting`, from which on senders are refused: if the mailbox is empty now, no deadline is needed for
    // destructors of messages (`drop_inbox` drops a late one). A log sink that gets a record of every exit is user
    // code, too.
    if !inbox.is_empty() || log::max_level() >= log::LevelFilter::Debug {
        deliver::arm_exit_deadline(block);
    }
    inbox.clear();
    // Callers whose reply handle was dropped: their calls fail with the reason, which is known now.
    if let Some(me) = local::get() {
        me.flush_dropped_callers();
    }
    // `Dead` if the deadline has passed: then the reaper has completed the exit, and logs the zombie instead.
    let phase = block.lock().phase.clone();
    if let Phase::Exiting(reason) = phase {
        crash_report::report_exit(block, &reason, block.exited_by_signal(), unread);
        if value.is_some() && !reason.is_abnormal() && !block.exited_by_signal() {
            thread_cache::mark_soon_idle();
        }
    }
    // Before the notifications, so that a replacement for this process gets a permit at the limit. This thread
    // exists for a moment longer than its permit: it only completes the exit.
    drop(permit);
    // `false`: the reaper was first and has listed a zombie, whose thread ends here.
    if !deliver::complete_exit(block, ThreadState::Exiting) {
        zombie::reap(block);
    }
    value
}

/// Waits for the cleanup of earlier holders of the name of this process: they may still be unwinding, with files
/// and ports open.
fn wait_for_predecessors(block: &ProcessBlock) {
    let predecessors = std::mem::take(&mut block.lock().predecessors);
    for holder in predecessors {
        watch_block(holder).wait();
    }
}
