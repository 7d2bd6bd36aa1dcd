//! Shared partition supervisors in the tree: each partition exists once, knows its number and is found by
//! it; a key always maps to the same partition.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::process::Builder;
use rethread::supervisor::{PartitionRef, PartitionSupervisor, PartitionSupervisorSpec, Shutdown};

use crate::books::Books;
use crate::hand::Hand;
use crate::places::Slot;
use crate::reasons;

/// The names of the partition supervisors in the tree; the same in all rounds.
pub(crate) const NAMES: [&str; 3] = ["torture parts 0", "torture parts 1", "torture parts 2"];

/// The plan of one partition supervisor, and what the clients have observed of it.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) name: PartitionRef<Part>,
    pub(crate) max: u32,
    pub(crate) slots: Vec<Arc<Slot>>,
    /// The partition that each key has mapped to.
    pub(crate) homes: Mutex<HashMap<u32, usize>>,
}

/// A server that knows its partition number.
pub(crate) struct Part {
    index: usize,
    slot: Arc<Slot>,
    books: Arc<Books>,
    pid: Pid,
}

pub(crate) enum Ask {
    Which(u64, Caller<(u64, usize, Pid)>),
    Slowly(Duration, u64, Caller<(u64, usize, Pid)>),
    Crash(Caller<(u64, usize, Pid)>),
}

impl GenServer for Part {
    type Args = (usize, Arc<Slot>, Arc<Books>);
    type Call = Ask;
    type Cast = Infallible;

    fn init((index, slot, books): Self::Args, cx: &mut Context<Self>) -> Result<Self, InitError> {
        let above = books.begins(&slot, cx.pid());
        let mut dice = slot.temper.fate(&books);
        if slot.temper.fails(&mut dice) {
            return Err(InitError::stop("no start"));
        }
        books.enters(&slot, cx.pid(), above);
        Ok(Self { index, slot, books, pid: cx.pid() })
    }

    fn handle_call(&mut self, ask: Ask, cx: &mut Context<Self>) -> Next {
        match ask {
            Ask::Which(n, from) => from.reply((n, self.index, cx.pid())),
            Ask::Slowly(time, n, from) => {
                process::sleep(time);
                from.reply((n, self.index, cx.pid()))
            }
            Ask::Crash(_from) => panic!("asked to crash"),
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.books.leaves(&self.slot, self.pid);
    }
}

impl Parts {
    pub(crate) fn spec(&self, books: &Arc<Books>) -> PartitionSupervisorSpec<Part> {
        let (slots, books) = (self.slots.clone(), Arc::clone(books));
        let part = move |index: usize| {
            let args = (index, Arc::clone(&slots[index]), Arc::clone(&books));
            Part::child_spec(args)
                .shutdown(Shutdown::Timeout(Duration::from_millis(200)))
                .process(Builder::new().kill_grace(Duration::from_millis(10)))
        };
        let plan = PartitionSupervisor::child_spec(self.name, part).partitions(self.slots.len());
        plan.max_restarts(self.max, Duration::from_secs(5))
    }

    /// Returns the index of the partition for a number.
    fn index(&self, number: usize) -> usize {
        number % self.slots.len()
    }

    /// Checks everything that can be observed from outside at any time.
    pub(crate) fn is_as_planned(&self, books: &Books) {
        let count = self.slots.len();
        let reported = self.name.partitions();
        if reported.is_some_and(|reported| reported != count) {
            books.breach(format!("{} has {count} partitions, and reports {reported:?}", self.name));
        }
        // The same pid before and after means the same in between; but nothing is found while there is no
        // supervisor.
        let at = |number| self.name.partition(number).whereis();
        let (first, beyond, again) = (at(1), at(1 + count), at(1));
        if first.is_some() && first == again && beyond.is_some() && beyond != first {
            books.breach(format!("{} leads 1 to {first:?}, and once round to {beyond:?}", self.name));
        }
        if let Ok(children) = self.name.supervisor().which_children() {
            let ids: Vec<String> = children.iter().map(|child| child.id.to_string()).collect();
            if !ids.iter().cloned().eq((0..count).map(|n| n.to_string())) {
                books.breach(format!("{} has the partitions {ids:?}", self.name));
            }
        }
    }
}

impl Hand {
    pub(crate) fn ask_a_partition(&mut self) {
        let field = Arc::clone(&self.field);
        let Some(parts) = self.dice.choose(&field.partitions) else { return };
        self.books.calls.fetch_add(1, Ordering::Relaxed);
        let number =
            *self.dice.pick(&[0, 1, 2, 3, 5, usize::MAX / 2, usize::MAX / 2 + 1, usize::MAX - 3, usize::MAX]);
        let (n, key, by_key) = (self.number(), self.dice.below(40) as u32, self.dice.one_in(2));
        // Keys are compared by text, not by type.
        let server = match by_key {
            true if self.dice.one_in(2) => parts.name.for_key(&key.to_string()),
            true => parts.name.for_key(key.to_string().as_str()),
            false => parts.name.partition(number),
        };
        let (kind, time) = (self.dice.below(12), self.dice.up_to_ms(4));
        let limit = if self.dice.one_in(4) { self.dice.up_to_ms(3) } else { Duration::from_millis(300) };
        let began = Instant::now();
        let answer = server.call_timeout(limit, |from| match kind {
            0 => Ask::Crash(from),
            1 => Ask::Slowly(time, n, from),
            _ => Ask::Which(n, from),
        });
        let took = began.elapsed();
        match &answer {
            Ok((m, index, _)) => {
                let due = match by_key {
                    true => *parts.homes.lock().entry(key).or_insert(*index),
                    false => parts.index(number),
                };
                if (*m, *index) != (n, due) || kind == 0 {
                    self.breach(format!(
                        "{server}, {key} or {number}, is {due}; {n} was answered by {answer:?}"
                    ));
                }
            }
            Err(CallError::NoProc { .. }) => {}
            Err(CallError::Exited { reason, .. }) if reasons::can_be(reason) => {}
            Err(CallError::Timeout { after, .. }) if took >= limit && *after == limit => {}
            Err(error) => self.breach(format!("{server}, asked {kind}, failed after {took:?}: {error}")),
        }
        match kind {
            2 | 3 => server.whereis().into_iter().for_each(|pid| process::exit(pid, ExitReason::Kill)),
            4 => parts.is_as_planned(&self.books),
            _ => {}
        }
    }
}
