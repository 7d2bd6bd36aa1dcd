//! Restart policy: whether a child that exited is restarted, which other children are restarted with it, and
//! whether the supervisor shuts down. Pure functions: this module must never start, stop or log anything.

use std::ops::Range;

use crate::child_spec::Restart;
use crate::reason::ExitReason;
use crate::supervisor::spec::{AutoShutdown, Strategy};

/// What the supervisor does with a child that has exited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Restart the child.
    Restart,
    /// Do not restart the child, but keep its spec.
    Keep,
    /// Do not restart the child, and remove its spec.
    Remove,
}

/// Decides by the restart type of the child and its exit reason.
pub(crate) fn decide(restart: Restart, reason: &ExitReason) -> Decision {
    match restart {
        Restart::Permanent => Decision::Restart,
        // `Normal`, `Shutdown` and `ShutdownWith` are the normal reasons.
        Restart::Transient if reason.is_abnormal() => Decision::Restart,
        Restart::Transient => Decision::Keep,
        Restart::Temporary => Decision::Remove,
    }
}

/// Returns the positions of the children that are restarted with the one at `failed`: they are stopped in
/// reverse order, then started in order.
pub(crate) fn affected_range(strategy: Strategy, failed: usize, count: usize) -> Range<usize> {
    match strategy {
        Strategy::OneForOne => failed..failed + 1,
        Strategy::OneForAll => 0..count,
        Strategy::RestForOne => failed..count,
    }
}

/// Returns `true` if the supervisor shuts down after a significant child has exited by itself and is not
/// restarted. `significant_left`: whether other significant children are still running or waiting for a
/// retry.
pub(crate) fn should_auto_shutdown(rule: AutoShutdown, significant_left: bool) -> bool {
    match rule {
        AutoShutdown::Never => false,
        // This one has exited: it is the first.
        AutoShutdown::AnySignificant => true,
        AutoShutdown::AllSignificant => !significant_left,
    }
}

/// Returns `true` if a child that was stopped by the supervisor exited with an expected reason, which is not
/// logged. `brutal`: whether it was stopped with `BrutalKill`.
pub(crate) fn is_expected(reason: &ExitReason, brutal: bool, restart: Restart) -> bool {
    match reason {
        ExitReason::Shutdown => true,
        // Without `BrutalKill` the child was killed because it missed its shutdown timeout.
        ExitReason::Killed => brutal,
        // A permanent child should run until it is stopped; one that exits by itself at that moment is
        // logged.
        ExitReason::ShutdownWith(_) | ExitReason::Normal => restart != Restart::Permanent,
        // The child had exited before it was stopped; that exit was reported when it happened.
        ExitReason::NoProc => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decision_follows_restart_type_and_reason() {
        use Decision::{Keep, Remove, Restart as Again};
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
                [Permanent, Transient, Temporary].map(|r| decide(r, reason)),
                [Again, Keep, Remove],
                "{reason}"
            );
        }
        for reason in &abnormal {
            assert_eq!(
                [Permanent, Transient, Temporary].map(|r| decide(r, reason)),
                [Again, Again, Remove],
                "{reason}"
            );
        }
    }

    #[test]
    fn affected_range_follows_strategy() {
        assert_eq!(affected_range(Strategy::OneForOne, 1, 4), 1..2);
        assert_eq!(affected_range(Strategy::OneForAll, 1, 4), 0..4);
        assert_eq!(affected_range(Strategy::RestForOne, 1, 4), 1..4);
        assert_eq!(affected_range(Strategy::RestForOne, 3, 4), 3..4);
    }

    #[test]
    fn auto_shutdown() {
        assert!(!should_auto_shutdown(AutoShutdown::Never, false));
        assert!(should_auto_shutdown(AutoShutdown::AnySignificant, true));
        assert!(!should_auto_shutdown(AutoShutdown::AllSignificant, true));
        assert!(should_auto_shutdown(AutoShutdown::AllSignificant, false));
    }

    #[test]
    fn requested_normal_exit_is_unexpected_only_for_permanent_child() {
        assert!(!is_expected(&ExitReason::Normal, false, Restart::Permanent));
        assert!(is_expected(&ExitReason::Normal, false, Restart::Transient));
        assert!(!is_expected(&ExitReason::Killed, false, Restart::Transient));
        assert!(is_expected(&ExitReason::Killed, true, Restart::Permanent));
    }

    /// Compares with a second formulation of the rules in the manual of Erlang's `supervisor`.
    mod model {
        use proptest::prelude::{Just, ProptestConfig, Strategy as Generator, any};
        use proptest::sample::select;
        use proptest::{prop_assert_eq, prop_oneof, proptest};

        use super::*;

        /// Generates a reason with its name in Erlang's rules. The text of a user-defined reason must not
        /// matter, even if it is `normal` or `shutdown`.
        fn reasons() -> impl Generator<Value = (ExitReason, &'static str)> {
            let word = prop_oneof![Just("normal".to_owned()), Just("shutdown".to_owned()), ".{0,8}"];
            prop_oneof![
                Just((ExitReason::Normal, "normal")),
                Just((ExitReason::Shutdown, "shutdown")),
                word.clone().prop_map(|word| (ExitReason::shutdown_with(word), "{shutdown,_}")),
                Just((ExitReason::Killed, "killed")),
                Just((ExitReason::NoProc, "noproc")),
                Just((ExitReason::Kill, "other")),
                Just((ExitReason::Timeout, "other")),
                Just((ExitReason::NoConnection, "other")),
                word.prop_map(|word| (ExitReason::new(word), "other")),
            ]
        }

        fn restarts() -> impl Generator<Value = (Restart, &'static str)> {
            select(&[
                (Restart::Permanent, "permanent"),
                (Restart::Transient, "transient"),
                (Restart::Temporary, "temporary"),
            ])
        }

        /// Returns `true` if the child at `at` is restarted when the one at `failed` fails.
        fn is_affected(strategy: Strategy, at: usize, failed: usize) -> bool {
            let itself = at == failed;
            let started_after_it = at > failed;
            let every_child = true;
            let rules = [
                (Strategy::OneForOne, itself),
                (Strategy::RestForOne, itself || started_after_it),
                (Strategy::OneForAll, every_child),
            ];
            rules.iter().any(|(rule, holds)| *rule == strategy && *holds)
        }

        proptest! {
            #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

            #[test]
            fn a_child_is_restarted_as_the_manual_says(
                (reason, known_as) in reasons(),
                (restart, kind) in restarts(),
            ) {
                // permanent: always; transient: only after an abnormal exit; temporary: never.
                let abnormal = !["normal", "shutdown", "{shutdown,_}"].contains(&known_as);
                let restarted = kind == "permanent" || kind == "transient" && abnormal;
                let decision = decide(restart, &reason);
                prop_assert_eq!(decision == Decision::Restart, restarted);
                prop_assert_eq!(decision == Decision::Remove, kind == "temporary");
            }

            #[test]
            fn restart_affects_the_children_the_strategy_names(
                strategy in select(&[Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne]),
                (count, failed) in (1..30_usize).prop_flat_map(|count| (Just(count), 0..count)),
            ) {
                let found: Vec<usize> = affected_range(strategy, failed, count).collect();
                let all: Vec<usize> = (0..count).filter(|at| is_affected(strategy, *at, failed)).collect();
                prop_assert_eq!(found, all);
            }

            // `running`: which of the other significant children are still running when one has exited.
            #[test]
            fn a_supervisor_shuts_down_with_the_first_or_the_last_significant_child(
                (rule, name) in select(&[
                    (AutoShutdown::Never, "never"),
                    (AutoShutdown::AnySignificant, "any_significant"),
                    (AutoShutdown::AllSignificant, "all_significant"),
                ]),
                running in proptest::collection::vec(any::<bool>(), 0..6),
            ) {
                let left = running.iter().filter(|runs| **runs).count();
                // How many significant children must have exited, and how many have.
                let enough = [("never", usize::MAX), ("any_significant", 1), ("all_significant", running.len() + 1)];
                let ended = running.len() + 1 - left;
                let needed = enough.iter().find(|(rule, _)| *rule == name).map_or(0, |(_, ended)| *ended);
                prop_assert_eq!(should_auto_shutdown(rule, left > 0), ended >= needed);
            }

            // The reasons that are not logged when a child exits on request.
            #[test]
            fn an_end_on_request_is_reported_unless_it_is_one_of_these(
                (reason, known_as) in reasons(),
                (restart, kind) in restarts(),
                brutal in any::<bool>(),
            ) {
                // Expected in any case, with `brutal_kill`, and of children that are not permanent.
                let mut fine = vec!["shutdown", "noproc"];
                if brutal {
                    fine.push("killed");
                }
                if kind != "permanent" {
                    fine.extend(["normal", "{shutdown,_}"]);
                }
                prop_assert_eq!(is_expected(&reason, brutal, restart), fine.contains(&known_as));
            }
        }
    }
}
