//! The exit reasons that are possible in a torture round; all others are violations.

use rethread::prelude::*;

/// The messages of panics in this test.
const PANICS: [&str; 7] = [
    "no start",
    "asked to crash",
    "crash on request",
    "in terminate",
    "in a destructor",
    "a bomb",
    "a start function panics",
];
/// The reasons that processes exit with by themselves.
const LEFT_WITH: [&str; 5] = ["no start", "odd", "monitored", "a start function leaves", "short life"];

/// Returns a variant of the `Shutdown` reason that only clients use; supervisors use the plain one.
pub(crate) fn odd_shutdown() -> ExitReason {
    ExitReason::shutdown_with("odd")
}

/// Returns `true` if a server of the tree can have exited with this reason. Raw `Kill` is only ever sent,
/// and `Timeout` and the like do not occur.
pub(crate) fn can_be(reason: &ExitReason) -> bool {
    match reason {
        // `NoProc` comes from a link that was set too late.
        ExitReason::Normal | ExitReason::Shutdown | ExitReason::Killed | ExitReason::NoProc => true,
        ExitReason::ShutdownWith(_) => *reason == odd_shutdown(),
        ExitReason::Panic(report) => PANICS.contains(&report.message()),
        ExitReason::Other(_) => LEFT_WITH.iter().any(|text| *reason == ExitReason::new(*text)),
        _ => false,
    }
}

/// Returns `true` if a supervisor can have exited with this reason: never one caused by its children or
/// their start functions.
pub(crate) fn of_supervisor(reason: &ExitReason) -> bool {
    match reason {
        ExitReason::Shutdown | ExitReason::Killed => true,
        ExitReason::ShutdownWith(_) => {
            reason.downcast_ref::<rethread::supervisor::FailedToStartChild>().is_some()
        }
        _ => false,
    }
}
