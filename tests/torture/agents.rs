//! Shared agents under the supervisors of the tree: every change that a client sends to one incarnation of
//! an agent is applied once, in order, inside the agent, and the next incarnation starts without it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rethread::agent::{Agent, AgentRef, AgentSpec};
use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::process::Builder;
use rethread::supervisor::Shutdown;

use crate::books::Books;
use crate::hand::Hand;
use crate::places::Slot;
use crate::reasons;

/// The value of an agent.
pub(crate) struct Tally {
    slot: Arc<Slot>,
    books: Arc<Books>,
    pid: Pid,
    life: u64,
    /// The number of changes applied to it.
    changes: u64,
    /// For each client, its last number and the count of its changes.
    of: HashMap<u64, (u64, u64)>,
}

/// The state of an agent as a client observes it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    life: u64,
    changes: u64,
    /// How many of the changes are the client's own.
    own: u64,
}

/// What a client knows of an agent.
#[derive(Debug, Default)]
pub(crate) struct Known {
    last: Seen,
    /// How many changes it has sent since then.
    sent: u64,
}

impl Tally {
    /// Returns the spec for the agent of a place.
    pub(crate) fn of(slot: &Arc<Slot>, books: &Arc<Books>) -> AgentSpec<Self> {
        let (own, kept) = (Arc::clone(slot), Arc::clone(books));
        Agent::child_spec(move || Self::first(&own, &kept))
            .id(slot.name.as_str())
            .label(slot.name.as_str())
            .name(agent(slot))
            .shutdown(Shutdown::Timeout(Duration::from_millis(200)))
            .process(Builder::new().kill_grace(Duration::from_millis(10)))
    }

    fn first(slot: &Arc<Slot>, books: &Arc<Books>) -> Self {
        static LIVES: AtomicU64 = AtomicU64::new(1);
        let pid = process::current().unwrap_or(books.exited_pid);
        let above = books.begins(slot, pid);
        let mut dice = slot.temper.fate(books);
        if slot.temper.fails(&mut dice) {
            match dice.below(2) {
                0 => panic!("no start"),
                _ => process::exit_with("no start"),
            }
        }
        books.enters(slot, pid, above);
        let life = LIVES.fetch_add(1, Ordering::Relaxed);
        let (slot, books) = (Arc::clone(slot), Arc::clone(books));
        Self { slot, books, pid, life, changes: 0, of: HashMap::new() }
    }

    /// Applies one change; runs inside the agent.
    fn change(&mut self, client: u64, n: u64) -> Seen {
        let here = process::current();
        let (last, own) = self.of.entry(client).or_default();
        if *last >= n || here != Some(self.pid) {
            self.books.breach(format!("{n} of {client} changes {} after {last}, in {here:?}", self.pid));
        }
        (*last, *own) = (n, *own + 1);
        self.changes += 1;
        let seen = Seen { life: self.life, changes: self.changes, own: *own };
        if self.of.values().map(|(_, own)| own).sum::<u64>() != self.changes {
            self.books
                .breach(format!("{} was changed {} times, not by {:?}", self.pid, self.changes, self.of));
        }
        seen
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.books.leaves(&self.slot, self.pid);
    }
}

fn agent(slot: &Slot) -> AgentRef<Tally> {
    AgentRef::from_name(slot.name.clone())
}

/// The panic message of functions that are sent to an agent.
pub(crate) const PANIC: &str = "in an agent";

/// Returns `true` if an agent can have exited with this reason.
pub(crate) fn can_be(reason: &ExitReason) -> bool {
    reasons::can_be(reason)
        || matches!(reason, ExitReason::Panic(report) if report.message() == PANIC)
        || matches!(reason, ExitReason::NoCatch(_))
}

impl Known {
    /// Checks an answer against what was known; `sent` changes were sent with it and before it.
    fn learn(&mut self, seen: Seen) -> bool {
        let (before, sent) = (std::mem::replace(&mut self.last, seen), std::mem::take(&mut self.sent));
        if before.life == seen.life {
            // Same incarnation as before, so it has received all changes in between.
            seen.own == before.own + sent && seen.changes >= before.changes + sent
        } else {
            before.life < seen.life && (1..=sent).contains(&seen.own) && seen.changes >= seen.own
        }
    }
}

impl Hand {
    pub(crate) fn ask_an_agent(&mut self) {
        let field = Arc::clone(&self.field);
        let (Some(slot), Some(other)) = (self.dice.choose(&field.agents), self.dice.choose(&field.agents))
        else {
            return;
        };
        self.books.calls.fetch_add(1, Ordering::Relaxed);
        let (id, server, other) = (self.id(), agent(slot), agent(other));
        if self.dice.one_in(8) {
            self.kill_an_agent(&server);
        }
        // Changes sent before the call must be applied before it.
        let casts = self.dice.below(5) as u64;
        for _ in 0..casts {
            let n = self.number();
            server.cast(move |tally| {
                tally.change(id, n);
            });
        }
        let (n, kind, time) = (self.number(), self.dice.below(24), self.dice.up_to_ms(10));
        let limit = if self.dice.one_in(4) { self.dice.up_to_ms(3) } else { Duration::from_millis(300) };
        let (books, began) = (Arc::clone(&self.books), Instant::now());
        // The function fails, blocks, or calls another agent, by `kind`.
        let answer = server.get_and_update_timeout(limit, move |tally| {
            let seen = tally.change(id, n);
            match kind {
                0 => panic!("{PANIC}"),
                1 => process::exit_with("odd"),
                2 => process::throw(n),
                3 => process::sleep(time),
                4 => {
                    let (_sender, nothing) = channel::<Infallible>();
                    let _ = nothing.recv_timeout(time);
                }
                5 | 6 => match other.get_and_update_timeout(Duration::from_millis(50), |tally| tally.life) {
                    Ok(life) if life == seen.life => books.breach(format!("the agent {life} asked itself")),
                    Ok(_)
                    | Err(
                        CallError::NoProc { .. }
                        | CallError::Timeout { .. }
                        | CallError::CallingSelf { .. }
                        | CallError::Deadlock { .. },
                    ) => {}
                    Err(CallError::Exited { reason, .. }) if can_be(&reason) => {}
                    Err(error) => books.breach(format!("an agent asked another: {error}")),
                },
                _ => {}
            }
            seen
        });
        let took = began.elapsed();
        // Compare with what this client knew of the agent.
        let known = self.agents.entry(slot.number).or_default();
        known.sent += casts + 1;
        let before = format!("{known:?}");
        match &answer {
            Ok(_) if kind < 3 => self.breach(format!("an agent lives after {kind}: {answer:?}")),
            Ok(seen) if known.learn(*seen) => {}
            Ok(seen) => self.breach(format!("of {server} was known {before}, and now {seen:?}")),
            Err(CallError::NoProc { .. }) => {}
            Err(CallError::Exited { reason, .. }) if can_be(reason) => {}
            Err(CallError::Timeout { after, .. }) if took >= limit && *after == limit => {}
            Err(error) => self.breach(format!("{server}, asked {kind}, failed after {took:?}: {error}")),
        }
    }

    /// Checks that a request sent to an agent after a kill by the same sender is never run.
    fn kill_an_agent(&mut self, server: &AgentRef<Tally>) {
        let Some(pid) = server.whereis() else { return };
        process::exit(pid, ExitReason::Kill);
        let exited = AgentRef::<Tally>::from_pid(pid);
        exited.cast(|tally| tally.books.breach(format!("{} does a thing after it was killed", tally.pid)));
        match process::watch(pid).wait_timeout(crate::hand::SLACK) {
            Some(reason) if can_be(&reason) => {}
            end => self.breach(format!("the agent {pid} was killed: {end:?}")),
        }
        let outcome = exited.get(|tally| tally.life);
        if !matches!(outcome, Err(CallError::NoProc { .. })) {
            self.breach(format!("{pid} has exited and was called: {outcome:?}"));
        }
    }
}
