//! Private partition supervisors, used by one client only: one partition is ended at a time and must be
//! restarted in its place; after the stop nothing may be left.

use parking_lot::Mutex;
use rethread::StartError;
use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::supervisor::PartitionRef;
use rethread::supervisor::SpecError;

use crate::auditor;
use crate::client::Client;
use crate::hand::SLACK;
use crate::partitions::{Ask, Parts};
use crate::places::Slot;
use crate::worker::Temper;

impl Client<'_> {
    /// Starts a partition supervisor of its own and checks every outcome.
    pub(crate) fn private_partitions(&mut self) {
        let (count, books) = (1 + self.hand.dice.below(4), self.books());
        let first = books.private_places(count);
        let slots = Slot::row(Strategy::OneForOne, first, count, |n| {
            (format!("{}part {n}", books.prefix()), Temper::calm(&mut self.hand.dice))
        });
        let name = PartitionRef::named(own_name(self.hand.id()));
        let parts = Parts { name, max: 1000, slots, homes: Mutex::default() };
        // A supervisor without partitions is refused.
        let none = parts.spec(&books).partitions(0).start().err();
        if none != Some(StartError::BadSpec(SpecError::NoPartitions)) || name.partitions().is_some() {
            self.breach(format!("no partitions: {none:?}, {:?}", name.partitions()));
        }
        let system = match parts.spec(&books).start_link() {
            Ok(system) => system,
            Err(error) => return self.hand.no_system(&error),
        };
        // A second start under the same name is refused.
        let again = parts.spec(&books).start().map(|_| ());
        let twice = matches!(&again, Err(StartError::AlreadyStarted(pid)) if Some(*pid) == system.whereis());
        if !twice && !again.as_ref().is_err_and(|error| auditor::no_room(&books, error)) {
            self.breach(format!("{name} was started twice: {again:?}"));
        }
        let mut all: Vec<_> = (0..count).map(|n| name.partition(n).whereis()).collect();
        if all.iter().any(Option::is_none) || name.partitions() != Some(count) {
            self.breach(format!("{name} was started with {count}, and has {:?}, {all:?}", name.partitions()));
        }
        // End one partition at a time: only this one is replaced.
        for _ in 0..self.hand.dice.below(5) {
            let at = self.hand.dice.below(count);
            let Some(pid) = all[at] else { break };
            process::exit(pid, if self.hand.dice.one_in(2) { ExitReason::Kill } else { "odd".into() });
            self.gone(pid);
            let Some(next) = self.comes_back(&system, || name.partition(at).whereis(), Some(pid)) else {
                break;
            };
            all[at] = Some(next);
            let found: Vec<_> = (count..2 * count).map(|n| name.partition(n).whereis()).collect();
            if found != all {
                self.breach(format!("of {name} only {at} has ended; it was {all:?} and is {found:?}"));
            }
            let n = self.hand.number();
            let answer = name.partition(at).call_timeout(SLACK, |from| Ask::Which(n, from));
            if answer != Ok((n, at, next)) {
                self.breach(format!("{next} is {at} of {name}, and answers {answer:?}"));
            }
        }
        // After the stop nothing is left.
        parts.is_as_planned(&books);
        let _ = system.stop();
        let left = all.into_iter().flatten().filter(|pid| process::is_alive(*pid)).count();
        let after = name.partition(0).call(|from| Ask::Which(0, from));
        if left > 0 || name.partitions().is_some() || !matches!(after, Err(CallError::NoProc { .. })) {
            self.breach(format!("{name} was stopped; {left} are left, {:?}, {after:?}", name.partitions()));
        }
    }
}

/// Returns a name for each client; names are leaked, so they are the same in all rounds.
fn own_name(client: u64) -> &'static str {
    static OWN: Mutex<Vec<(u64, &str)>> = Mutex::new(Vec::new());
    let mut own = OWN.lock();
    if let Some((_, name)) = own.iter().find(|(known, _)| *known == client) {
        return name;
    }
    let name = format!("torture parts of {client}").leak();
    own.push((client, name));
    name
}
