//! Crash reports: the log record of a process that exits abnormally.
//!
//! Invariant: nothing is logged under a lock, because the log sink is user code.

use std::fmt::Write;
use std::sync::Arc;

use crate::pid::Pid;
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
    catch_and_log("the logger", || {
        if is_crash && !is_reported {
            if has_logger() {
                log::error!(
                    pid:% = block.pid,
                    name = block.display_name().as_deref(),
                    kind:? = block.spawn_info.kind,
                    reason:%,
                    spawned_at:% = block.spawn_info.spawned_at;
                    "{}",
                    format_report(block, reason, message_queue_len)
                );
            } else {
                print_line(&format!("process {} crashed: {reason}", name_of(block)));
            }
        } else {
            log::debug!(pid:% = block.pid, reason:%; "process {} ended: {reason}", block.pid);
        }
    });
}

/// Logs that a server stops with an abnormal reason, with those of the details that are known.
pub(crate) fn report_stop(
    block: &ProcessBlock,
    server_type: &str,
    activity: Activity,
    reason: &ExitReason,
    details: &[(&str, Option<String>)],
) {
    catch_and_log("the logger", || {
        // A server without a name has its type as the label.
        let name = block.display_name().filter(|name| !server_type.ends_with(&**name));
        let name_and_type =
            name.as_ref().map_or(server_type.to_owned(), |name| format!("{name}, {server_type}"));
        let mut text = format!("server {} ({name_and_type}) stopped while {activity}: {reason}", block.pid);
        for (what, value) in details {
            if let Some(value) = value {
                let _ = write!(text, "\n    {what}: {value}");
            }
        }
        log::error!(
            pid:% = block.pid,
            name = block.display_name().as_deref(),
            server_type,
            activity:%,
            reason:%;
            "{text}"
        );
    });
}

/// Formats a process by its pid and name, for a report.
fn name_of(block: &ProcessBlock) -> String {
    match block.display_name() {
        Some(name) => format!("{} ({name})", block.pid),
        None => block.pid.to_string(),
    }
}

/// Formats the process that waits for the reply to a request.
pub(crate) fn caller_name(pid: Pid) -> String {
    table::get(pid).map_or_else(|| pid.to_string(), |block| name_of(&block))
}

/// Maximum length, in bytes, of a text of the server in a report.
const MAX_DETAIL_LEN: usize = 1024;

/// Cuts a text of the server to the length that a report may have.
pub(crate) fn shorten(text: &str) -> String {
    if text.len() <= MAX_DETAIL_LEN {
        return text.to_owned();
    }
    let end = (0..=MAX_DETAIL_LEN).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}.. ({} bytes in all)", text.get(..end).unwrap_or_default(), text.len())
}

/// Returns the frames of a printed backtrace from the first one that belongs to neither the panic machinery nor the
/// standard library; all frames, if there is none. With `RUST_BACKTRACE=full` nothing is left out.
fn user_frames(backtrace: &str) -> &str {
    /// How the names of the functions begin that stand above those of the user.
    const SKIPPED: [&str; 10] = [
        "std::",
        "core::",
        "alloc::",
        "<std::",
        "<core::",
        "<alloc::",
        "rust_begin_unwind",
        "__rust",
        "rethread::panic_hook::",
        "<rethread::panic_hook::",
    ];
    let is_full = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value == "full");
    // A frame is a line with its number and name, and perhaps lines with its place: `  12: my::function`.
    let mut start = 0;
    for line in backtrace.split_inclusive('\n') {
        let name = line.trim_start().split_once(": ").filter(|(number, _)| number.parse::<u32>().is_ok());
        if let Some((_, name)) = name.filter(|_| !is_full) {
            if !SKIPPED.iter().any(|skipped| name.starts_with(skipped)) {
                return backtrace.get(start..).unwrap_or(backtrace);
            }
        }
        start += line.len();
    }
    backtrace
}

/// Returns `true` if the program has installed a logger, even one that shows nothing.
pub(crate) fn has_logger() -> bool {
    // `log` does not say it. Before a logger is installed the maximum level is `Off`, and the logger has no size and is
    // enabled for nothing. A program that has switched its logger off is left alone.
    let error = log::Metadata::builder().level(log::Level::Error).target("rethread").build();
    log::max_level() != log::LevelFilter::Off
        || size_of_val(log::logger()) != 0
        || log::logger().enabled(&error)
}

/// Prints one line on standard error, for a program without a logger: std prints the panics of its threads, too.
#[expect(clippy::print_stderr, reason = "unlike `writeln!`, it respects the output capture of tests")]
pub(crate) fn print_line(text: &str) {
    // A message of several lines, such as that of `assert_eq!`, becomes one.
    let line = text.lines().map(str::trim).collect::<Vec<_>>().join("; ");
    eprintln!("rethread: {line}");
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
            add("backtrace", &format_args!("\n{}", user_frames(&backtrace.to_string())));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backtrace_starts_at_the_frames_of_the_user() {
        let printed = "   0: std::backtrace_rs::backtrace::trace\n             at /rustc/std.rs:1:2\n   1: \
                       rethread::panic_hook::record\n   2: __rustc::rust_begin_unwind\n   3: \
                       core::option::unwrap_failed\n             at /rustc/core.rs:3:4\n   4: my::parse\n             \
                       at ./src/my.rs:5:6\n   5: core::ops::FnOnce::call_once\n   6: my::main\n";
        let expected = &printed[printed.find("   4: my::parse").unwrap()..];
        assert_eq!(user_frames(printed), expected);
        let only_std = "   0: std::panicking::begin_panic\n   1: core::panicking::panic_fmt\n";
        assert_eq!(user_frames(only_std), only_std);
        assert_eq!(user_frames("disabled backtrace"), "disabled backtrace");
    }

    #[test]
    fn long_text_is_cut_between_two_characters() {
        assert_eq!(shorten("short"), "short");
        let long = "\u{fc}".repeat(1_000); // two bytes each
        let cut = shorten(&format!("x{long}"));
        assert_eq!(cut, format!("x{}.. (2001 bytes in all)", "\u{fc}".repeat(511)));
    }
}
