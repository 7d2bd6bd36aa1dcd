//! Runs a scenario many times, each time with another seed and so in another order of steps.

#![allow(clippy::exhaustive_structs, reason = "not in the published package: only the scenarios use it")]

use std::collections::HashSet;
use std::time::Duration;

use parking_lot::Mutex;

use crate::sync::model::primitives::thread;
use crate::sync::model::schedule::Schedule;
use crate::sync::model::scheduler;
use crate::unwind::{Payload, catch};

/// How to explore a scenario.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Name of the scenario in reports.
    pub title: &'static str,
    /// Number of executions.
    pub executions: u64,
    /// The seed of the first execution. The others use the following numbers.
    pub seed: u64,
    /// Deadlines may pass although some thread could still run.
    pub early_timeouts: bool,
}

/// Result of an exploration without a failure.
#[derive(Debug, Clone, Copy)]
pub struct Coverage {
    /// Number of different orders of steps.
    pub interleavings: usize,
    /// Number of steps of the longest execution.
    pub max_steps: u64,
}

/// An execution in which the scenario panicked.
#[derive(Debug)]
pub struct Failure {
    /// The seed that repeats the execution.
    pub seed: u64,
    /// The panic payload.
    pub payload: Payload,
    /// The last steps of the execution, one per line.
    pub trace: String,
}

/// Held during an exploration: the scheduler can run one at a time.
static EXPLORE_LOCK: Mutex<()> = Mutex::new(());

/// Runs `scenario` many times, each time in another order of steps.
///
/// In a deadlock, and if an execution takes too many steps, the program exits with status 101, after it has
/// written to stderr what each thread is blocked on.
///
/// # Errors
/// The scenario panicked. The threads it has started are not stopped, so nothing can be explored afterwards.
pub fn explore(config: Config, scenario: impl Fn()) -> Result<Coverage, Failure> {
    let _guard = EXPLORE_LOCK.lock();
    let Config { title, executions, seed, early_timeouts } = config;
    let mut interleavings = HashSet::new();
    let mut max_steps = 0;
    for seed in seed..seed + executions {
        // The calling thread runs the scenario itself, as one thread of the model.
        scheduler::begin_execution(
            Schedule::from_seed(seed, early_timeouts),
            format!("{title}, seed {seed}"),
        );
        if let Err(payload) = catch(&scenario) {
            return Err(Failure { seed, payload, trace: scheduler::format_trace() });
        }
        // Equal orders count once.
        let (interleaving, steps) = scheduler::summary();
        interleavings.insert(interleaving);
        max_steps = max_steps.max(steps);
    }
    // Threads that are still blocked stay so: the next exploration continues with them.
    scheduler::detach_current_thread();
    Ok(Coverage { interleavings: interleavings.len(), max_steps })
}

/// Runs all other threads until each has finished or is blocked without a deadline.
pub fn run_until_stalled() {
    // A day of simulated time: every deadline of the scenario passes before, in order.
    scheduler::disable_early_timeouts();
    thread::sleep(Duration::from_secs(24 * 60 * 60));
}
