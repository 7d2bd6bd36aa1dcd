//! Explores what can become of something: does it again and again, each time in another order.

use std::collections::HashSet;
use std::time::Duration;

use parking_lot::Mutex;

use crate::sync::model::primitives::thread;
use crate::sync::model::schedule::Schedule;
use crate::sync::model::scheduler;
use crate::unwind::{Payload, catch};

/// What is to be explored.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// What a failure calls it.
    pub title: &'static str,
    /// How many times.
    pub executions: u64,
    /// The first seed; those of the others follow.
    pub seed: u64,
    /// Whether deadlines may pass although somebody could go on.
    pub early_timeouts: bool,
}

/// What was explored.
#[derive(Debug, Clone, Copy)]
pub struct Coverage {
    /// How many orders of turns were different.
    pub interleavings: usize,
    /// The steps of the longest execution.
    pub max_steps: u64,
}

/// An execution that ended in a panic.
#[derive(Debug)]
pub struct Failure {
    /// The execution.
    pub seed: u64,
    /// What it panicked with.
    pub payload: Payload,
    /// Its last steps.
    pub trace: String,
}

/// One at a time.
static EXPLORE_LOCK: Mutex<()> = Mutex::new(());

/// Does `scenario` many times, each in another order. Where nobody can go on any more the program ends with status 101,
/// after it has said who waits for what.
///
/// # Errors
/// The scenario panicked. What it has left running is not stopped: nothing can be explored afterwards.
pub fn explore(config: Config, scenario: impl Fn()) -> Result<Coverage, Failure> {
    let _guard = EXPLORE_LOCK.lock();
    let Config { title, executions, seed, early_timeouts } = config;
    let mut interleavings = HashSet::new();
    let mut max_steps = 0;
    for seed in seed..seed + executions {
        scheduler::begin_execution(
            Schedule::from_seed(seed, early_timeouts),
            format!("{title}, seed {seed}"),
        );
        if let Err(payload) = catch(&scenario) {
            return Err(Failure { seed, payload, trace: scheduler::format_trace() });
        }
        let (interleaving, steps) = scheduler::summary();
        interleavings.insert(interleaving);
        max_steps = max_steps.max(steps);
    }
    scheduler::detach_current_thread();
    Ok(Coverage { interleavings: interleavings.len(), max_steps })
}

/// Waits until everybody else is over or waits for ever.
pub fn run_until_stalled() {
    scheduler::disable_early_timeouts();
    thread::sleep(Duration::from_secs(24 * 60 * 60));
}
