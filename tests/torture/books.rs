//! The record of one round: which server occupies which place, which process killed which, and which
//! invariants were violated.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use rethread::observer::{EventReceiver, ProcessEventKind};
use rethread::prelude::*;
use rethread::process::ProcessState;

use crate::places::Slot;

/// One server's state, from its creation to its drop.
struct Life {
    pid: Pid,
    /// Its ancestors, the nearest first.
    above: Arc<[Pid]>,
}

#[derive(Default)]
struct State {
    /// The existing states, by place.
    living: BTreeMap<usize, Vec<Life>>,
    /// The places below each supervisor in which a server ever started.
    begun: HashMap<Pid, BTreeSet<usize>>,
    /// Killed supervisors: the servers below them exit later, and in no order.
    killed_supervisors: HashSet<Pid>,
    /// Processes linked with more than their supervisor: they may exit with the other end.
    tied: HashSet<Pid>,
}

pub(crate) struct Books {
    pub(crate) seed: u64,
    pub(crate) calls: AtomicU64,
    pub(crate) starts: AtomicU64,
    /// The process limit of this round; zero: unlimited.
    pub(crate) limit: AtomicUsize,
    pub(crate) over: AtomicBool,
    /// The pid of an exited process.
    pub(crate) exited_pid: Pid,
    /// Places that belong to one client each.
    private: AtomicUsize,
    state: Mutex<State>,
    broken: Mutex<Vec<String>>,
    /// Violations that count unless the process was declared a zombie meanwhile.
    suspected: Mutex<Vec<(Pid, String)>>,
}

impl Books {
    pub(crate) fn new(seed: u64, exited_pid: Pid) -> Self {
        Self {
            seed,
            calls: AtomicU64::new(0),
            starts: AtomicU64::new(0),
            limit: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            exited_pid,
            private: AtomicUsize::new(1_000_000),
            state: Mutex::default(),
            broken: Mutex::default(),
            suspected: Mutex::default(),
        }
    }

    /// Returns the prefix of all names of this round.
    pub(crate) fn prefix(&self) -> String {
        format!("torture {}.", self.seed)
    }

    pub(crate) fn breach(&self, what: String) {
        // Print at once, too: a client that waits for something that never comes may wait until the
        // watchdog aborts.
        let text = format!("TORTURE_SEED={}: {what}\n", self.seed);
        let _ = std::io::stderr().write_all(text.as_bytes());
        self.broken.lock().push(what);
    }

    /// Like `breach`, but for a process whose exit cleanup may run before its thread has finished.
    pub(crate) fn suspect(&self, pid: Pid, what: String) {
        self.suspected.lock().push((pid, what));
    }

    /// Reports the suspected violations of processes that, by the events, never became zombies.
    pub(crate) fn report_suspects(&self, mut events: EventReceiver) {
        let mut zombies = HashSet::new();
        while let Some(event) = events.try_recv() {
            if matches!(event.kind, ProcessEventKind::BecameZombie) {
                zombies.insert(event.pid);
            }
        }
        let suspected = std::mem::take(&mut *self.suspected.lock());
        if events.take_dropped() == 0 {
            let guilty = suspected.into_iter().filter(|(pid, _)| !zombies.contains(pid));
            self.broken.lock().extend(guilty.map(|(_, what)| what));
        }
    }

    pub(crate) fn broken(&self) -> Vec<String> {
        self.broken.lock().clone()
    }

    pub(crate) fn all_have_exited(&self) -> bool {
        self.state.lock().living.values().all(Vec::is_empty)
    }

    pub(crate) fn private_place(&self) -> usize {
        self.private_places(1)
    }

    /// Reserves `count` places and returns the first.
    pub(crate) fn private_places(&self, count: usize) -> usize {
        self.private.fetch_add(count, Ordering::Relaxed)
    }

    /// Records that a start was refused because of the process limit.
    pub(crate) fn refused(&self, limit: usize) {
        let allowed = self.limit.load(Ordering::Relaxed);
        if limit != allowed {
            self.breach(format!("refused at the limit of {limit} processes, which is {allowed}"));
        }
    }

    /// Returns `true` if there is a limit, so that restarts may be refused.
    pub(crate) fn is_narrow(&self) -> bool {
        self.limit.load(Ordering::Relaxed) > 0
    }

    /// Records that a supervisor is about to be killed.
    pub(crate) fn kill_supervisor(&self, supervisor: Pid) {
        self.state.lock().killed_supervisors.insert(supervisor);
    }

    /// Records that two processes are about to be linked.
    pub(crate) fn tie(&self, one: Pid, other: Pid) {
        self.state.lock().tied.extend([one, other]);
    }

    /// Records that a server enters `init`; returns its ancestors.
    pub(crate) fn begins(&self, slot: &Slot, pid: Pid) -> Arc<[Pid]> {
        let above = process::info(pid).map_or_else(|| Arc::from([]), |info| info.ancestors);
        let mut state = self.state.lock();
        let orderly = above.first().filter(|parent| !state.killed_supervisors.contains(parent)).copied();
        for supervisor in above.iter() {
            let begun = state.begun.entry(*supervisor).or_default();
            let first = begun.insert(slot.number) && orderly == Some(*supervisor);
            if let (true, Some(later)) = (first, begun.range(slot.later()).next()) {
                self.breach(format!("{pid} is the first to begin as {}, after one as {later}", slot.name));
            }
        }
        above
    }

    /// Records that a server has created its state.
    pub(crate) fn enters(&self, slot: &Slot, pid: Pid, above: Arc<[Pid]>) {
        self.starts.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state.lock();
        // Was it given up while still in `init`, which keeps running?
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

    /// Records that its state is dropped.
    pub(crate) fn leaves(&self, slot: &Slot, pid: Pid) {
        let mut state = self.state.lock();
        // Read under the lock: if the process is declared a zombie while it waits for the lock, it may have
        // a successor by then, and that one later siblings.
        let process_state = process::info(pid).map(|info| info.state);
        let lives = state.living.entry(slot.number).or_default();
        let Some(at) = lives.iter().position(|life| life.pid == pid) else { return };
        let life = lives.remove(at);
        // Only supervisors use exactly this reason, and only for children they stop.
        if process_state == Some(ProcessState::Exiting(ExitReason::Shutdown)) && !state.tied.contains(&pid) {
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
    /// Returns a process that was started later below the same supervisor and is still running.
    fn later_sibling(&self, slot: &Slot, above: &[Pid]) -> Option<Pid> {
        let parent = above.first().filter(|parent| !self.killed_supervisors.contains(parent))?;
        let below_it = |life: &&Life| {
            let way = life.above.iter().position(|pid| pid == parent);
            way.is_some_and(|way| life.above[..way].iter().all(|pid| !self.killed_supervisors.contains(pid)))
        };
        let later = self.living.range(slot.later()).flat_map(|(_, lives)| lives);
        later.filter(below_it).map(|life| life.pid).find(|pid| counts(*pid))
    }
}

/// Returns `false` for a zombie: it has exited for all others, though its state still exists.
fn counts(pid: Pid) -> bool {
    !process::zombies().iter().any(|zombie| zombie.pid == pid)
}
