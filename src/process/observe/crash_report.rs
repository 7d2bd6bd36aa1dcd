//! Crash reports: the log record of a process that exits abnormally.
//!
//! Invariant: nothing is logged under a lock, because the log sink is user code.

use std::fmt::Write;
use std::sync::Arc;

use crate::process::control::activity::Activity;
use crate::process::control::block::ProcessBlock;
use crate::process::control::block::ProcessKind;
use crate::process::control::table;
use crate::process::park::timer_thread;
use crate::reason::ExitReason;
use crate::unwind::catch_and_log;

/// Logs the exit of a process: a crash as an error with all details, any other exit at level debug.
///
/// `message_queue_len` is the number of unread messages; by now they are dropped.
pub(crate) fn report_exit(
    block: &ProcessBlock,
    reason: &ExitReason,
    by_signal: bool,
    message_queue_len: usize,
) {
    // An exit that a signal asked for is no crash. Neither is `exit_with` in a plain process: Erlang reports that
    // only for the processes of OTP, such as servers.
    let is_exception = matches!(reason, ExitReason::Panic(_) | ExitReason::NoCatch(_));
    let is_crash =
        !by_signal && reason.is_abnormal() && (is_exception || block.spawn_info.kind != ProcessKind::Process);
    // A supervisor with a restart backoff logs failed starts itself, but not each one: a child may be retried for days.
    // A panic is a bug, and is reported each time.
    let is_reported = is_crash && !is_exception && block.activity.get() == Activity::Starting && {
        let parent = parent_of(block);
        let status = parent.as_ref().and_then(|parent| parent.supervisor_status.get());
        status.is_some_and(|supervisor| supervisor.reports_start())
    };
    catch_and_log("the log", || {
        if is_crash && !is_reported {
            log::error!("{}", format_report(block, reason, message_queue_len));
        } else {
            log::debug!("process {} ended: {reason}", block.pid);
        }
    });
}

/// Formats the report: one line with the reason, then one indented line for each detail.
fn format_report(block: &ProcessBlock, reason: &ExitReason, message_queue_len: usize) -> String {
    // Copy under the lock and format afterwards: to format the reason is user code.
    let state = block.lock();
    let name = state.name.clone();
    let label = state.label.clone();
    let mut links: Vec<_> = state.links.keys().copied().collect();
    let trapping = state.traps_exits;
    drop(state);
    links.sort();
    // The caller is the thread of the process, so nothing of the following changes meanwhile.
    let mut text = format!("process {} crashed: {reason}", block.pid);
    let mut add = |what: &str, value: &dyn std::fmt::Display| {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n    {what}: {value}");
    };
    if let Some(name) = name {
        add("name", &name);
    }
    if let Some(label) = label {
        add("label", &label);
    }
    add("spawned at", &block.spawn_info.spawned_at);
    if !block.spawn_info.ancestors.is_empty() {
        add("ancestors", &list(&block.spawn_info.ancestors));
    }
    // The number of restarts shows how close the supervisor is to its own limit.
    let parent = parent_of(block);
    if let Some(status) = parent.as_ref().and_then(|parent| parent.supervisor_status.get()) {
        add("supervisor restarts", &status.summary());
    }
    if !links.is_empty() {
        add("links", &list(&links));
    }
    add("message type", &block.mailbox.message_type());
    add("unread messages", &message_queue_len);
    add("traps exits", &trapping);
    add("uptime", &format_args!("{:.1?}", timer_thread::elapsed(block.spawn_info.started_at)));
    // Last, because it is long.
    if let ExitReason::Panic(report) = reason {
        if let Some(backtrace) = report.backtrace() {
            add("backtrace", &format_args!("\n{backtrace}"));
        }
    }
    text
}

/// Returns the process that started this one, if it is still running.
fn parent_of(block: &ProcessBlock) -> Option<Arc<ProcessBlock>> {
    block.spawn_info.ancestors.first().and_then(|parent| table::get(*parent))
}

/// Formats items as a list with commas.
fn list<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
