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
}
