//! Crash reports: what the log hears when a process ends badly. The thread edge calls it, with nothing
//! locked, because the sink of the log is user code.

use std::fmt::Write;

use crate::process::block::{Block, Kind};
use crate::process::{clock, table};
use crate::reason::ExitReason;
use crate::unwind::contain;

/// Reports the end of a process, unless it is one nobody needs to hear of: a normal end, or one that an
/// exit signal asked for. `unread`: how much mail there was; by now it is dropped.
pub(crate) fn ended(block: &Block, reason: &ExitReason, by_signal: bool, unread: usize) {
    let error = matches!(reason, ExitReason::Panic(_) | ExitReason::NoCatch(_));
    let worth_it = !by_signal && reason.is_abnormal() && (error || block.birth.kind != Kind::Process);
    contain("the log", || {
        if worth_it {
            log::error!("{}", text(block, reason, unread));
        } else {
            log::debug!("process {} ended: {reason}", block.pid);
        }
    });
}

fn text(block: &Block, reason: &ExitReason, unread: usize) -> String {
    let state = block.lock();
    let name = state.name.clone();
    let label = state.label.clone();
    let mut links: Vec<_> = state.links.keys().copied().collect();
    let trapping = state.trapping;
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
    add("spawned at", &block.birth.spawned_at);
    if !block.birth.ancestors.is_empty() {
        add("ancestors", &list(&block.birth.ancestors));
    }
    let parent = block.birth.ancestors.first().and_then(|parent| table::get(*parent));
    if let Some(account) = parent.as_ref().and_then(|parent| parent.account.get()) {
        add("its supervisor has used", &account.told());
    }
    if !links.is_empty() {
        add("links", &list(&links));
    }
    add("takes messages of type", &block.mailbox.message_type());
    add("unread messages", &unread);
    add("traps exits", &trapping);
    add("lived for", &format_args!("{:.1?}", clock::elapsed(block.birth.at)));
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
