//! The limits of a supervisor that keeps dynamic children: pure data. `spec` sets them, `children` keeps to them.

use std::time::Duration;

use crate::child_spec::SpecError;

#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) max_restarts: u32,
    pub(crate) period: Duration,
    pub(crate) max_children: Option<usize>,
    pub(crate) max_zombies: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_restarts: 3, period: Duration::from_secs(5), max_children: None, max_zombies: None }
    }
}

impl Limits {
    /// Looked at before anything is started.
    pub(crate) fn check(&self) -> Result<(), SpecError> {
        if self.period.is_zero() { Err(SpecError::ZeroPeriod) } else { Ok(()) }
    }
}
