//! What a supervisor does about the end of a child: pure. Whether to restart, whom else that concerns,
//! and whether the supervisor itself is to end. `server` asks here.

use std::ops::Range;

use crate::child_spec::Restart;
use crate::reason::ExitReason;
use crate::supervisor::spec::{AutoShutdown, Strategy};

/// What becomes of a child that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is started again.
    Restart,
    /// It is not, but its spec stays.
    Rest,
    /// Its spec is forgotten.
    Forget,
}

/// The table: restart type and reason.
pub(crate) fn fate(restart: Restart, reason: &ExitReason) -> Fate {
    match restart {
        Restart::Permanent => Fate::Restart,
        Restart::Transient if reason.is_abnormal() => Fate::Restart,
        Restart::Transient => Fate::Rest,
        Restart::Temporary => Fate::Forget,
    }
}

/// Which of the children a restart of the one at `failed` covers: they are stopped in reverse order, then
/// started in order.
pub(crate) fn scope(strategy: Strategy, failed: usize, count: usize) -> Range<usize> {
    match strategy {
        Strategy::OneForOne => failed..failed + 1,
        Strategy::OneForAll => 0..count,
        Strategy::RestForOne => failed..count,
    }
}

/// Whether the supervisor ends because a significant child ended by itself and is not restarted.
pub(crate) fn shuts_down(rule: AutoShutdown, significant_left: bool) -> bool {
    match rule {
        AutoShutdown::Never => false,
        AutoShutdown::AnySignificant => true,
        AutoShutdown::AllSignificant => !significant_left,
    }
}

/// Whether an end is one the supervisor asked for, so that the log need not hear of it.
pub(crate) fn expected(reason: &ExitReason, brutal: bool, restart: Restart) -> bool {
    match reason {
        ExitReason::Shutdown => true,
        ExitReason::Killed => brutal,
        ExitReason::ShutdownWith(_) | ExitReason::Normal => restart != Restart::Permanent,
        // It was dead or dying before it was asked; that has been reported where it happened.
        ExitReason::NoProc => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_fates() {
        use Fate::{Forget, Rest, Restart as Again};
        use Restart::{Permanent, Temporary, Transient};
        let normal = [ExitReason::Normal, ExitReason::Shutdown, ExitReason::shutdown_with(1)];
        let abnormal = [
            ExitReason::Killed,
            ExitReason::Kill,
            ExitReason::NoProc,
            ExitReason::new("oops"),
            ExitReason::Timeout,
        ];
        for reason in &normal {
            assert_eq!(
                [Permanent, Transient, Temporary].map(|r| fate(r, reason)),
                [Again, Rest, Forget],
                "{reason}"
            );
        }
        for reason in &abnormal {
            assert_eq!(
                [Permanent, Transient, Temporary].map(|r| fate(r, reason)),
                [Again, Again, Forget],
                "{reason}"
            );
        }
    }

    #[test]
    fn scopes() {
        assert_eq!(scope(Strategy::OneForOne, 1, 4), 1..2);
        assert_eq!(scope(Strategy::OneForAll, 1, 4), 0..4);
        assert_eq!(scope(Strategy::RestForOne, 1, 4), 1..4);
        assert_eq!(scope(Strategy::RestForOne, 3, 4), 3..4);
    }

    #[test]
    fn auto_shutdown() {
        assert!(!shuts_down(AutoShutdown::Never, false));
        assert!(shuts_down(AutoShutdown::AnySignificant, true));
        assert!(!shuts_down(AutoShutdown::AllSignificant, true));
        assert!(shuts_down(AutoShutdown::AllSignificant, false));
    }

    #[test]
    fn a_normal_end_on_request_is_unexpected_only_of_a_permanent_child() {
        assert!(!expected(&ExitReason::Normal, false, Restart::Permanent));
        assert!(expected(&ExitReason::Normal, false, Restart::Transient));
        assert!(!expected(&ExitReason::Killed, false, Restart::Transient));
        assert!(expected(&ExitReason::Killed, true, Restart::Permanent));
    }
}
