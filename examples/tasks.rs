//! Blocking work in parallel, from a plain `main`: a stream with limited concurrency, a task that takes too
//! long, and a task whose crash does not affect its owner. Run it with `cargo run --example tasks`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::Duration;

use rethread::prelude::*;
use rethread::supervisor::Shutdown;
use rethread::task::{JoinError, TaskSupervisor, TaskSupervisorRef};

/// Stands for a slow request.
fn fetch(page: u32) -> String {
    process::sleep(Duration::from_millis(u64::from(page)));
    assert_ne!(page, 3, "page 3 is torn out");
    format!("page {page}")
}

const TASKS: TaskSupervisorRef = TaskSupervisorRef::named("tasks");

fn main() -> Result<(), Box<dyn Error>> {
    // Four tasks at a time; the results come in the order of the items.
    for result in task::stream(1..=5, fetch).max_concurrency(4) {
        match result {
            Ok(page) => println!("got {page}"),
            Err(JoinError::Exited { .. }) => println!("one is missing"),
            Err(other) => return Err(other.into()),
        }
    }

    // A stream is lazy: after the first failure, or two results, no further item is started.
    let first: Result<Vec<String>, JoinError> = task::stream(1.., fetch).max_concurrency(2).take(2).collect();
    println!("the first two: {}", first?.join(" and "));

    // Wait for a single task with a timeout, then stop it.
    let mut slow = task::spawn(|| process::sleep(Duration::from_secs(60)))?;
    let early = slow.yield_timeout(Duration::from_millis(10));
    println!("done early: {}", early.is_some());
    println!("stopped: {}", slow.shutdown(Shutdown::BrutalKill).is_none());

    // Under a supervisor a task can run without a link to its owner.
    let system = Supervisor::start_link([TaskSupervisor::child_spec().name(TASKS)], Strategy::OneForOne)?;
    let (risky, safe) = (TASKS.spawn_nolink(|| fetch(3))?, TASKS.spawn_nolink(|| fetch(4))?);
    println!("risky failed: {}, safe returned: {}", risky.join().is_err(), safe.join()?);
    system.stop()?;
    Ok(())
}
