//! Places: positions in the plan that servers occupy one after the other, and their order below one
//! supervisor. The books record which process occupies which place.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use rethread::prelude::*;
use rethread::registry::RegistryKey;

use crate::worker::{Temper, Worker};

/// A place, occupied by one server after the other.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) number: usize,
    pub(crate) name: String,
    /// The registry key of its server, if it has no name.
    pub(crate) key: Option<RegistryKey<u32, u64>>,
    /// The supervisor of the place, if that keeps an order.
    family: Option<Arc<Family>>,
    pub(crate) temper: Temper,
}

/// The places below one supervisor: numbered in order, those of nested supervisors included.
#[derive(Debug)]
pub(crate) struct Family {
    grouped: bool,
    /// The first number that is not below it.
    pub(crate) end: OnceLock<usize>,
}

impl Family {
    pub(crate) fn new(strategy: Strategy) -> Arc<Self> {
        Arc::new(Self { grouped: strategy != Strategy::OneForOne, end: OnceLock::new() })
    }
}

impl Slot {
    /// Creates a place below a supervisor.
    pub(crate) fn below(family: &Arc<Family>, number: usize, name: String, temper: Temper) -> Arc<Self> {
        Arc::new(Self { number, name, key: None, family: Some(Arc::clone(family)), temper })
    }

    pub(crate) fn server(&self) -> ServerRef<Worker> {
        match &self.key {
            Some(key) => ServerRef::via(key.clone()),
            None => ServerRef::from_name(self.name.clone()),
        }
    }

    /// Returns the places of its later siblings, and those below them.
    pub(crate) fn later(&self) -> Range<usize> {
        let end = self.family.as_ref().and_then(|family| family.end.get());
        self.number + 1..end.copied().unwrap_or(0).max(self.number + 1)
    }

    /// Returns `true` if its later siblings are stopped before it is restarted.
    pub(crate) fn grouped(&self) -> bool {
        self.family.as_ref().is_some_and(|family| family.grouped)
    }

    /// Creates a place without a supervisor.
    pub(crate) fn alone(number: usize, name: String, temper: Temper) -> Arc<Self> {
        Self::with_key(number, name, None, temper)
    }

    /// Creates a place without a supervisor, possibly found by a key.
    pub(crate) fn with_key(
        number: usize,
        name: String,
        key: Option<RegistryKey<u32, u64>>,
        temper: Temper,
    ) -> Arc<Self> {
        Arc::new(Self { number, name, key, family: None, temper })
    }

    /// Creates consecutive places below one supervisor that is not in the tree.
    pub(crate) fn row(
        strategy: Strategy,
        first: usize,
        count: usize,
        mut draw: impl FnMut(usize) -> (String, Temper),
    ) -> Vec<Arc<Self>> {
        let family = Family::new(strategy);
        let _ = family.end.set(first + count);
        let place = |number| {
            let (name, temper) = draw(number);
            Self::below(&family, number, name, temper)
        };
        (first..first + count).map(place).collect()
    }
}
