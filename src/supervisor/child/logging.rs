//! What supervisors write to the log.

use std::fmt;
use std::time::Duration;

use crate::child_spec::StartError;
use crate::pid::Pid;
use crate::process::observe::crash_report;
use crate::reason::ExitReason;
use crate::unwind::catch_and_log;

/// Writes to the log. Formatting a reason and the logger are user code: a panic there must not end the
/// supervisor.
pub(crate) fn write_log(level: log::Level, text: fmt::Arguments<'_>) {
    catch_and_log("the logger", || log::log!(level, "{text}"));
}

/// Logs that a supervisor gives up. Without a logger, prints it on standard error.
pub(crate) fn log_give_up(supervisor: &str, why: &str) {
    catch_and_log("the logger", || {
        if crash_report::has_logger() {
            log::error!("supervisor {supervisor}: {why}, shutting down");
        } else {
            crash_report::print_line(&format!("supervisor {supervisor}: {why}, shutting down"));
        }
    });
}

/// A failure of a child.
pub(crate) enum Failure<'a> {
    Exit(Pid, &'a ExitReason),
    Start(&'a StartError),
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(pid, reason) => write!(f, "({pid}) exited: {reason}"),
            Self::Start(error) => write!(f, "did not start: {error}"),
        }
    }
}

/// Formats a duration in seconds: `1.3 s`.
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // To the millisecond below a tenth of a second, which would otherwise become 0.0.
        let digits = if self.0 < Duration::from_millis(100) { 3 } else { 1 };
        write!(f, "{:.digits$} s", self.0.as_secs_f64())
    }
}
