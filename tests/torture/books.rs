//! What is known of one round: who lives under which name, and what was broken.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rethread::{Pid, process};

use crate::plan::Slot;

pub(crate) struct Books {
    pub(crate) seed: u64,
    pub(crate) calls: AtomicU64,
    pub(crate) starts: AtomicU64,
    /// Whose state exists, by slot.
    living: Mutex<HashMap<usize, Vec<Pid>>>,
    broken: Mutex<Vec<String>>,
}

impl Books {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            calls: AtomicU64::new(0),
            starts: AtomicU64::new(0),
            living: Mutex::default(),
            broken: Mutex::default(),
        }
    }

    /// What the names of this round begin with.
    pub(crate) fn prefix(&self) -> String {
        format!("torture {}.", self.seed)
    }

    pub(crate) fn breach(&self, what: String) {
        self.broken.lock().push(what);
    }

    pub(crate) fn broken(&self) -> Vec<String> {
        self.broken.lock().clone()
    }

    pub(crate) fn nobody_lives(&self) -> bool {
        self.living.lock().values().all(Vec::is_empty)
    }

    /// A server has made its state.
    pub(crate) fn enters(&self, slot: &Slot, pid: Pid) {
        self.starts.fetch_add(1, Ordering::Relaxed);
        let mut living = self.living.lock();
        // A zombie is dead for everybody else, though its state is still there.
        let counts = |other: &Pid| !process::zombies().iter().any(|zombie| zombie.pid == *other);
        let holders = living.entry(slot.number).or_default();
        if !counts(&pid) {
            holders.push(pid); // given up while it was still in `init`, which goes on all the same
            return;
        }
        if let Some(other) = holders.iter().find(|other| counts(other)) {
            self.breach(format!("{pid} begins as {} while {other} lives", slot.name));
        }
        holders.push(pid);
        for later in &slot.later_siblings {
            if let Some(other) = living.get(later).into_iter().flatten().find(|other| counts(other)) {
                self.breach(format!("{pid} begins as {} while the later sibling {other} lives", slot.name));
            }
        }
    }

    /// Its state is dropped.
    pub(crate) fn leaves(&self, slot: &Slot, pid: Pid) {
        if let Some(holders) = self.living.lock().get_mut(&slot.number) {
            holders.retain(|other| *other != pid);
        }
    }
}
