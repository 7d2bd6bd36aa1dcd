//! The rules of exit signals, as a pure function: what a signal does to a process. They are those of Erlang's
//! `exit/2` and of links.

use crate::reason::ExitReason;

/// Where an exit signal comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Another process or thread called `exit`.
    Sent,
    /// The process itself called `exit` with its own pid.
    ToSelf,
    /// A linked process exited.
    Link,
}

/// What an exit signal does to its receiver.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SignalEffect {
    /// Nothing happens.
    Ignore,
    /// An `Exit` message is put into the mailbox.
    Deliver,
    /// The receiver exits with this reason.
    Exit(ExitReason),
}

/// Returns the effect of an exit signal; `trapping` is `true` if the receiver traps exits.
pub(crate) fn effect(reason: &ExitReason, origin: Origin, trapping: bool) -> SignalEffect {
    match (origin, reason) {
        // Only a kill that was *sent* is untrappable and renamed; through a link it is a reason like any other.
        (Origin::Sent | Origin::ToSelf, ExitReason::Kill) => SignalEffect::Exit(ExitReason::Killed),
        _ if trapping => SignalEffect::Deliver,
        // A normal exit ends only the process itself.
        (Origin::Sent | Origin::Link, ExitReason::Normal) => SignalEffect::Ignore,
        _ => SignalEffect::Exit(reason.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::Origin::{Link, Sent, ToSelf};
    use super::SignalEffect::{Deliver, Exit, Ignore};
    use super::*;
    use crate::reason::ExitReason::{Kill, Killed, Normal, Shutdown};

    #[test]
    fn exit_signal_effects_match_table() {
        let oops = ExitReason::new("oops");
        let (plain, trapping) = (false, true);
        let table = [
            (Normal, Sent, plain, Ignore),
            (Normal, Sent, trapping, Deliver),
            (Normal, ToSelf, plain, Exit(Normal)),
            (Normal, ToSelf, trapping, Deliver),
            (Normal, Link, plain, Ignore),
            (Normal, Link, trapping, Deliver),
            (Kill, Sent, plain, Exit(Killed)),
            (Kill, Sent, trapping, Exit(Killed)),
            (Kill, ToSelf, plain, Exit(Killed)),
            (Kill, ToSelf, trapping, Exit(Killed)),
            (Kill, Link, plain, Exit(Kill)),
            (Kill, Link, trapping, Deliver),
            (Killed, Sent, plain, Exit(Killed)),
            (Killed, Sent, trapping, Deliver),
            (Killed, Link, plain, Exit(Killed)),
            (Killed, Link, trapping, Deliver),
            (Shutdown, Sent, plain, Exit(Shutdown)),
            (Shutdown, Sent, trapping, Deliver),
            (oops.clone(), ToSelf, plain, Exit(oops.clone())),
            (oops.clone(), ToSelf, trapping, Deliver),
            (oops.clone(), Link, plain, Exit(oops.clone())),
            (oops.clone(), Link, trapping, Deliver),
        ];
        for (reason, origin, trapping, expected) in table {
            assert_eq!(
                effect(&reason, origin, trapping),
                expected,
                "{reason} {origin:?} trapping {trapping}"
            );
        }
    }

    /// Checks the rules against the table of the Erlang manual ("Receiving exit signals"), kept as words.
    mod model {
        use proptest::prelude::*;

        use super::*;

        /// Traps exits, origin; the effects of `normal`, of `kill` and of any other reason. `same`: the receiver
        /// exits with the reason of the signal.
        const MANUAL: [(bool, Origin, [&str; 3]); 6] = [
            (false, Sent, ["nothing", "killed", "same"]),
            (false, ToSelf, ["same", "killed", "same"]),
            (false, Link, ["nothing", "same", "same"]),
            (true, Sent, ["message", "killed", "message"]),
            (true, ToSelf, ["message", "killed", "message"]),
            (true, Link, ["message", "message", "message"]),
        ];

        /// Generates a reason with its column in the table. The text of a reason of the user's must not matter.
        fn reasons() -> impl Strategy<Value = (ExitReason, usize)> {
            let word = prop_oneof![Just("normal".to_owned()), Just("kill".to_owned()), ".{0,8}"];
            prop_oneof![
                Just((Normal, 0)),
                Just((Kill, 1)),
                Just((Killed, 2)),
                Just((Shutdown, 2)),
                Just((ExitReason::NoProc, 2)),
                Just((ExitReason::NoConnection, 2)),
                Just((ExitReason::Timeout, 2)),
                word.prop_flat_map(|word| prop_oneof![
                    Just((ExitReason::new(word.clone()), 2)),
                    Just((ExitReason::shutdown_with(word), 2)),
                ]),
            ]
        }

        /// Returns the words of the manual that describe the effect.
        fn manual_words(reason: &ExitReason, effect: &SignalEffect) -> Vec<&'static str> {
            match effect {
                Ignore => vec!["nothing"],
                Deliver => vec!["message"],
                Exit(exit_reason) => {
                    let killed = (*exit_reason == Killed).then_some("killed");
                    killed.into_iter().chain((exit_reason == reason).then_some("same")).collect()
                }
            }
        }

        proptest! {
            #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

            #[test]
            fn signal_effect_matches_erlang_manual(
                (reason, column) in reasons(),
                (trapping, origin, effects) in proptest::sample::select(&MANUAL),
            ) {
                let actual = effect(&reason, origin, trapping);
                prop_assert!(manual_words(&reason, &actual).contains(&effects[column]), "{actual:?}");
            }

            /// Sends a signal to the first process of a chain of links.
            #[test]
            fn link_chain_propagates_first_exit_reason((reason, _) in reasons(), length in 1..10_usize) {
                let mut current = effect(&reason, Sent, false);
                for _ in 1..length {
                    if let Exit(exit_reason) = &current {
                        current = effect(exit_reason, Link, false);
                    }
                }
                let expected = match &reason {
                    Normal => Ignore,
                    Kill => Exit(Killed),
                    other => Exit(other.clone()),
                };
                prop_assert_eq!(current, expected);
            }
        }
    }
}
