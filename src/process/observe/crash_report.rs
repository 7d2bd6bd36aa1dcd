//! Crash reports: what the log hears when a process ends badly. The thread edge calls it, with nothing
//! locked, because the sink of the log is user code.

use std::fmt::Write;

use crate::process::control::block::ProcessBlock;
use crate::process::control::block::ProcessKind;
use crate::process::control::table;
use crate::process::park::timer_thread;
use crate::reason::ExitReason;
use crate::unwind::catch_and_log;

/// Reports the end of a process, unless it is one nobody needs to hear of: a normal end, or one that an
/// exit signal asked for. `unread`: how much mail there was; by now it is dropped.
pub(crate) fn report_exit(
    block: &ProcessBlock,
    reason: &ExitReason,
    by_signal: bool,
    message_queue_len: usize,
) {
    let is_exception = matches!(reason, ExitReason::Panic(_) | ExitReason::NoCatch(_));
    let is_crash =
        !by_signal && reason.is_abnormal() && (is_exception || block.spawn_info.kind != ProcessKind::Process);
    catch_and_log("the log", || {
        if is_crash {
            log::error!("{}", format_report(block, reason, message_queue_len));
        } else {
            log::debug!("process {} ended: {reason}", block.pid);
        }
    });
}

fn format_report(block: &ProcessBlock, reason: &ExitReason, message_queue_len: usize) -> String {
    let state = block.lock();
    let name = state.name.clone();
    let label = state.label.clone();
    let mut links: Vec<_> = state.links.keys().copied().collect();
    let trapping = state.traps_exits;
    drop(state);
    links.sort();
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
    let parent = block.spawn_info.ancestors.first().and_then(|parent| table::get(*parent));
    if let Some(account) = parent.as_ref().and_then(|parent| parent.supervisor_status.get()) {
        add("its supervisor has used", &account.summary());
    }
    if !links.is_empty() {
        add("links", &list(&links));
    }
    add("takes messages of type", &block.mailbox.message_type());
    add("unread messages", &message_queue_len);
    add("traps exits", &trapping);
    add("lived for", &format_args!("{:.1?}", timer_thread::elapsed(block.spawn_info.started_at)));
    if let ExitReason::Panic(report) = reason {
        if let Some(backtrace) = report.backtrace() {
            add("backtrace", &format_args!("\n{backtrace}"));
        }
    }
    text
}

fn list<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
