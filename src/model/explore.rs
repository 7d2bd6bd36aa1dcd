//! Explores what can become of something: does it again and again, each time in another order.

use std::collections::HashSet;
use std::time::Duration;

use parking_lot::Mutex;

use crate::model::primitives::thread;
use crate::model::schedule::Schedule;
use crate::model::scheduler;
use crate::unwind::{Payload, catch};

/// What is to be explored.
#[derive(Debug, Clone, Copy)]
pub struct Exploration {
    /// What a failure calls it.
    pub title: &'static str,
    /// How many times.
    pub executions: u64,
    /// The first seed; those of the others follow.
    pub seed: u64,
    /// Whether deadlines may pass although somebody could go on.
    pub impatient: bool,
}

/// What was explored.
#[derive(Debug, Clone, Copy)]
pub struct Explored {
    /// How many orders of turns were different.
    pub orders: usize,
    /// The steps of the longest execution.
    pub most_steps: u64,
}

/// An execution that ended in a panic.
#[derive(Debug)]
pub struct Broken {
    /// The execution.
    pub seed: u64,
    /// What it panicked with.
    pub payload: Payload,
    /// Its last steps.
    pub story: String,
}

/// One at a time.
static BUSY: Mutex<()> = Mutex::new(());

/// Does `scenario` many times, each in another order. Where nobody can go on any more the program ends with status 101,
/// after it has said who waits for what.
///
/// # Errors
/// The scenario panicked. What it has left running is not stopped: nothing can be explored afterwards.
pub fn explore(exploration: Exploration, scenario: impl Fn()) -> Result<Explored, Broken> {
    let _busy = BUSY.lock();
    let Exploration { title, executions, seed, impatient } = exploration;
    let mut orders = HashSet::new();
    let mut most_steps = 0;
    for seed in seed..seed + executions {
        scheduler::enter(Schedule::draw(seed, impatient), format!("{title}, seed {seed}"));
        if let Err(payload) = catch(&scenario) {
            return Err(Broken { seed, payload, story: scheduler::story() });
        }
        let (order, steps) = scheduler::summary();
        orders.insert(order);
        most_steps = most_steps.max(steps);
    }
    scheduler::leave();
    Ok(Explored { orders: orders.len(), most_steps })
}

/// Waits until everybody else is over or waits for ever.
pub fn settle() {
    scheduler::calm_down();
    thread::sleep(Duration::from_secs(24 * 60 * 60));
}
