//! What is known of one round: who lives in which place, who was killed by whom, and what was broken.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use rethread::observer::{EventReceiver, ProcessEventKind};
use rethread::prelude::*;
use rethread::process::ProcessState;

use crate::places::Slot;

/// One server's state, from its first moment to its last.
struct Life {
    pid: Pid,
    /// Who started it, who started that one, and so on.
    above: Arc<[Pid]>,
}

#[derive(Default)]
struct State {
    /// Whose state exists, by place.
    living: BTreeMap<usize, Vec<Life>>,
    /// The places below each supervisor in which ever a server began.
    begun: HashMap<Pid, BTreeSet<usize>>,
    /// Supervisors that were killed: who was below them ends later, and in no order.
    beheaded: HashSet<Pid>,
    /// Who is linked with more than its supervisor, and may end whenever that other one does.
    tied: HashSet<Pid>,
}

pub(crate) struct Books {
    pub(crate) seed: u64,
    pub(crate) calls: AtomicU64,
    pub(crate) starts: AtomicU64,
    /// How many processes there may be in this round; zero: as many as anybody wants.
    pub(crate) limit: AtomicUsize,
    pub(crate) over: AtomicBool,
    /// A process that is dead.
    pub(crate) nobody: Pid,
    /// Places that belong to one client each.
    private: AtomicUsize,
    state: Mutex<State>,
    broken: Mutex<Vec<String>>,
    /// What was broken if that process was not declared dead in the middle of it.
    suspected: Mutex<Vec<(Pid, String)>>,
}

impl Books {
    pub(crate) fn new(seed: u64, nobody: Pid) -> Self {
        Self {
            seed,
            calls: AtomicU64::new(0),
            starts: AtomicU64::new(0),
            limit: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            nobody,
            private: AtomicUsize::new(1_000_000),
            state: Mutex::default(),
            broken: Mutex::default(),
            suspected: Mutex::default(),
        }
    }

    /// What the names of this round begin with.
    pub(crate) fn prefix(&self) -> String {
        format!("torture {}.", self.seed)
    }

    pub(crate) fn breach(&self, what: String) {
        // At once too: who waits for what does not come may wait until the watchdog ends it all.
        let text = format!("TORTURE_SEED={}: {what}\n", self.seed);
        let _ = std::io::stderr().write_all(text.as_bytes());
        self.broken.lock().push(what);
    }

    /// As `breach`, of what a process does whose burial does not wait for it.
    pub(crate) fn suspect(&self, pid: Pid, what: String) {
        self.suspected.lock().push((pid, what));
    }

    /// In the end the news say who was declared dead.
    pub(crate) fn judge(&self, mut news: EventReceiver) {
        let mut excused = HashSet::new();
        while let Some(event) = news.try_recv() {
            if matches!(event.kind, ProcessEventKind::BecameZombie) {
                excused.insert(event.pid);
            }
        }
        let suspected = std::mem::take(&mut *self.suspected.lock());
        if news.dropped() == 0 {
            let guilty = suspected.into_iter().filter(|(pid, _)| !excused.contains(pid));
            self.broken.lock().extend(guilty.map(|(_, what)| what));
        }
    }

    pub(crate) fn broken(&self) -> Vec<String> {
        self.broken.lock().clone()
    }

    pub(crate) fn nobody_lives(&self) -> bool {
        self.state.lock().living.values().all(Vec::is_empty)
    }

    pub(crate) fn private_place(&self) -> usize {
        self.private_places(1)
    }

    /// The first of so many in a row.
    pub(crate) fn private_places(&self, count: usize) -> usize {
        self.private.fetch_add(count, Ordering::Relaxed)
    }

    /// A start was refused because there are so many processes.
    pub(crate) fn refused(&self, limit: usize) {
        let allowed = self.limit.load(Ordering::Relaxed);
        if limit != allowed {
            self.breach(format!("refused at the limit of {limit} processes, which is {allowed}"));
        }
    }

    /// Whether there is a limit, so that restarts may be refused.
    pub(crate) fn is_narrow(&self) -> bool {
        self.limit.load(Ordering::Relaxed) > 0
    }

    /// Somebody is about to kill a supervisor.
    pub(crate) fn behead(&self, supervisor: Pid) {
        self.state.lock().beheaded.insert(supervisor);
    }

    /// Somebody is about to link these two.
    pub(crate) fn tie(&self, one: Pid, other: Pid) {
        self.state.lock().tied.extend([one, other]);
    }

    /// A server begins its `init`; returns who is above it.
    pub(crate) fn begins(&self, slot: &Slot, pid: Pid) -> Arc<[Pid]> {
        let above = process::info(pid).map_or_else(|| Arc::from([]), |info| info.ancestors);
        let mut state = self.state.lock();
        let orderly = above.first().filter(|parent| !state.beheaded.contains(parent)).copied();
        for supervisor in above.iter() {
            let begun = state.begun.entry(*supervisor).or_default();
            let first = begun.insert(slot.number) && orderly == Some(*supervisor);
            if let (true, Some(later)) = (first, begun.range(slot.later()).next()) {
                self.breach(format!("{pid} is the first to begin as {}, after one as {later}", slot.name));
            }
        }
        above
    }

    /// A server has made its state.
    pub(crate) fn enters(&self, slot: &Slot, pid: Pid, above: Arc<[Pid]>) {
        self.starts.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state.lock();
        // Given up while it was still in `init`, which goes on all the same?
        if counts(pid) {
            let holders = state.living.get(&slot.number).into_iter().flatten();
            if let Some(other) = holders.map(|life| life.pid).find(|other| counts(*other)) {
                self.breach(format!("{pid} begins as {} while {other} lives", slot.name));
            }
            if slot.grouped() {
                if let Some(other) = state.later_sibling(slot, &above) {
                    self.breach(format!(
                        "{pid} begins as {} while the later sibling {other} lives",
                        slot.name
                    ));
                }
            }
        }
        state.living.entry(slot.number).or_default().push(Life { pid, above });
    }

    /// Its state is dropped.
    pub(crate) fn leaves(&self, slot: &Slot, pid: Pid) {
        let mut state = self.state.lock();
        // Asked under the lock: who is declared dead while it waits for that may have a successor by then, and that
        // one later siblings.
        let told = process::info(pid).map(|info| info.state);
        let lives = state.living.entry(slot.number).or_default();
        let Some(at) = lives.iter().position(|life| life.pid == pid) else { return };
        let life = lives.remove(at);
        // Nobody but supervisors says just that, and those only to children they stop.
        if told == Some(ProcessState::Exiting(ExitReason::Shutdown)) && !state.tied.contains(&pid) {
            if let Some(other) = state.later_sibling(slot, &life.above) {
                self.breach(format!(
                    "{pid}, {}, is stopped while the later sibling {other} lives",
                    slot.name
                ));
            }
        }
    }
}

impl State {
    /// Somebody who was started later below the same supervisor, and still lives.
    fn later_sibling(&self, slot: &Slot, above: &[Pid]) -> Option<Pid> {
        let parent = above.first().filter(|parent| !self.beheaded.contains(parent))?;
        let below_it = |life: &&Life| {
            let way = life.above.iter().position(|pid| pid == parent);
            way.is_some_and(|way| life.above[..way].iter().all(|pid| !self.beheaded.contains(pid)))
        };
        let later = self.living.range(slot.later()).flat_map(|(_, lives)| lives);
        later.filter(below_it).map(|life| life.pid).find(|pid| counts(*pid))
    }
}

/// A zombie is dead for everybody else, though its state is still there.
fn counts(pid: Pid) -> bool {
    !process::zombies().iter().any(|zombie| zombie.pid == pid)
}
