//! The reasons for which servers of a torture can end, and no others. Who hears of a death asks here.

use rethread::prelude::*;

/// What panics say here.
const PANICS: [&str; 7] = [
    "no start",
    "asked to crash",
    "told to crash",
    "in terminate",
    "in a destructor",
    "a bomb",
    "a start function panics",
];
/// What processes leave with.
const LEFT_WITH: [&str; 5] = ["no start", "odd", "monitored", "a start function leaves", "short life"];

/// As normal as `Shutdown`, but only clients say it: supervisors say the other.
pub(crate) fn odd_shutdown() -> ExitReason {
    ExitReason::shutdown_with("odd")
}

/// Whether a server of the tree can have ended so. Raw `Kill` is only ever sent; `Timeout` and the like nobody has.
pub(crate) fn can_be(reason: &ExitReason) -> bool {
    match reason {
        // The last one by a link that came too late.
        ExitReason::Normal | ExitReason::Shutdown | ExitReason::Killed | ExitReason::NoProc => true,
        ExitReason::ShutdownWith(_) => *reason == odd_shutdown(),
        ExitReason::Panic(report) => PANICS.contains(&report.message()),
        ExitReason::Other(_) => LEFT_WITH.iter().any(|text| *reason == ExitReason::new(*text)),
        _ => false,
    }
}

/// Whether a supervisor can have ended so: not by anything its children or their start functions do.
pub(crate) fn of_supervisor(reason: &ExitReason) -> bool {
    match reason {
        ExitReason::Shutdown | ExitReason::Killed => true,
        ExitReason::ShutdownWith(_) => reason.downcast_ref::<rethread::FailedToStartChild>().is_some(),
        _ => false,
    }
}
