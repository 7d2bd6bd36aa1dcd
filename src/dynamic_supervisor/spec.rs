//! The plan of a dynamic supervisor: its limits. Written by user code, read by `server`.

use std::time::Duration;

use crate::child_spec::SpecError;
use crate::gen_server::handle::To;

/// The plan of a dynamic supervisor, made by [`DynamicSupervisor::new`](crate::DynamicSupervisor::new). It has
/// no children: they come later.
///
/// | default | |
/// | --- | --- |
/// | max_restarts | 3 in 5 s |
/// | max_children | as many as there can be processes |
/// | name | none |
#[derive(Debug, Clone)]
#[must_use = "a plan does nothing by itself: start it, or give it to a supervisor"]
pub struct DynamicSupervisorSpec {
    pub(crate) max_restarts: u32,
    pub(crate) period: Duration,
    pub(crate) max_children: Option<usize>,
    pub(crate) max_zombies: Option<usize>,
    pub(crate) name: Option<To>,
}

impl DynamicSupervisorSpec {
    pub(crate) fn new() -> Self {
        Self {
            max_restarts: 3,
            period: Duration::from_secs(5),
            max_children: None,
            max_zombies: None,
            name: None,
        }
    }

    /// As [`SupervisorSpec::max_restarts`](crate::SupervisorSpec::max_restarts); the restarts of all children
    /// count together.
    pub fn max_restarts(mut self, restarts: u32, period: Duration) -> Self {
        self.max_restarts = restarts;
        self.period = period;
        self
    }

    /// How many children there may be at once, those that are about to be restarted among them. To start one
    /// more fails with [`StartError::MaxChildren`](crate::StartError::MaxChildren).
    pub fn max_children(mut self, limit: usize) -> Self {
        self.max_children = Some(limit);
        self
    }

    /// As [`SupervisorSpec::max_zombies`](crate::SupervisorSpec::max_zombies).
    pub fn max_zombies(mut self, limit: usize) -> Self {
        self.max_zombies = Some(limit);
        self
    }

    pub(crate) fn check(&self) -> Result<(), SpecError> {
        if self.period.is_zero() { Err(SpecError::ZeroPeriod) } else { Ok(()) }
    }
}
