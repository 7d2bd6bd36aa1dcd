//! What an exit signal does to a process: the whole rule table, pure. `exit` asks here under the
//! receiver's lock. The rules are those of Erlang's `exit/2` and of links.

use crate::reason::ExitReason;

/// How an exit signal came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Somebody else called `exit`.
    Sent,
    /// The process itself called `exit` with its own pid.
    SentToSelf,
    /// A linked process ended.
    Link,
}

/// What to do with it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// Nothing happens.
    Ignore,
    /// It becomes a message in the mailbox.
    Deliver,
    /// The receiver ends, with this reason.
    Die(ExitReason),
}

/// The rule table.
pub(crate) fn verdict(reason: &ExitReason, origin: Origin, trapping: bool) -> Verdict {
    match (origin, reason) {
        // Only a kill that was *sent* is untrappable and renamed; through a link it is a reason like any other.
        (Origin::Sent | Origin::SentToSelf, ExitReason::Kill) => Verdict::Die(ExitReason::Killed),
        _ if trapping => Verdict::Deliver,
        (Origin::Sent | Origin::Link, ExitReason::Normal) => Verdict::Ignore,
        _ => Verdict::Die(reason.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::Origin::{Link, Sent, SentToSelf};
    use super::Verdict::{Deliver, Die, Ignore};
    use super::*;
    use crate::reason::ExitReason::{Kill, Killed, Normal, Shutdown};

    #[test]
    fn the_table_of_exit_signals() {
        let oops = ExitReason::new("oops");
        let (plain, trapping) = (false, true);
        let table = [
            (Normal, Sent, plain, Ignore),
            (Normal, Sent, trapping, Deliver),
            (Normal, SentToSelf, plain, Die(Normal)),
            (Normal, SentToSelf, trapping, Deliver),
            (Normal, Link, plain, Ignore),
            (Normal, Link, trapping, Deliver),
            (Kill, Sent, plain, Die(Killed)),
            (Kill, Sent, trapping, Die(Killed)),
            (Kill, SentToSelf, plain, Die(Killed)),
            (Kill, SentToSelf, trapping, Die(Killed)),
            (Kill, Link, plain, Die(Kill)),
            (Kill, Link, trapping, Deliver),
            (Killed, Sent, plain, Die(Killed)),
            (Killed, Sent, trapping, Deliver),
            (Killed, Link, plain, Die(Killed)),
            (Killed, Link, trapping, Deliver),
            (Shutdown, Sent, plain, Die(Shutdown)),
            (Shutdown, Sent, trapping, Deliver),
            (oops.clone(), SentToSelf, plain, Die(oops.clone())),
            (oops.clone(), SentToSelf, trapping, Deliver),
            (oops.clone(), Link, plain, Die(oops.clone())),
            (oops.clone(), Link, trapping, Deliver),
        ];
        for (reason, origin, trapping, expected) in table {
            assert_eq!(
                verdict(&reason, origin, trapping),
                expected,
                "{reason} {origin:?} trapping {trapping}"
            );
        }
    }

    /// Against the table of the Erlang manual ("Receiving exit signals"), kept as words.
    mod model {
        use proptest::prelude::*;

        use super::*;

        /// Traps exits, who sent it; what a `normal`, a `kill` and any other reason do. `same`: the receiver
        /// ends with the reason of the signal.
        const MANUAL: [(bool, Origin, [&str; 3]); 6] = [
            (false, Sent, ["nothing", "killed", "same"]),
            (false, SentToSelf, ["same", "killed", "same"]),
            (false, Link, ["nothing", "same", "same"]),
            (true, Sent, ["message", "killed", "message"]),
            (true, SentToSelf, ["message", "killed", "message"]),
            (true, Link, ["message", "message", "message"]),
        ];

        /// A reason, with its column in the table. Nothing depends on what a reason of the user's is called.
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

        fn said(reason: &ExitReason, verdict: &Verdict) -> Vec<&'static str> {
            match verdict {
                Ignore => vec!["nothing"],
                Deliver => vec!["message"],
                Die(end) => {
                    let killed = (*end == Killed).then_some("killed");
                    killed.into_iter().chain((end == reason).then_some("same")).collect()
                }
            }
        }

        proptest! {
            #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

            #[test]
            fn a_signal_does_what_the_manual_says(
                (reason, column) in reasons(),
                (trapping, origin, effects) in proptest::sample::select(&MANUAL),
            ) {
                let verdict = verdict(&reason, origin, trapping);
                prop_assert!(said(&reason, &verdict).contains(&effects[column]), "{verdict:?}");
            }

            /// What is sent to the first of a chain of links, up to the first that traps exits.
            #[test]
            fn links_pass_on_the_reason_of_the_first_death((reason, _) in reasons(), length in 1..10_usize) {
                let mut now = verdict(&reason, Sent, false);
                for _ in 1..length {
                    if let Die(end) = &now {
                        now = verdict(end, Link, false);
                    }
                }
                let last = match &reason {
                    Normal => Ignore,
                    Kill => Die(Killed),
                    other => Die(other.clone()),
                };
                prop_assert_eq!(now, last);
            }
        }
    }
}
