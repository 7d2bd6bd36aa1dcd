//! Races, each run in many interleavings. Some thousands of each with the model checker, in seconds:
//!
//! ```text
//! RUSTFLAGS='--cfg rethread_model' cargo test --release --target-dir target/model --test races -- --nocapture
//! ```
//!
//! `RACES_EXECUTIONS=100000` for more, `RACES_SEED=..` for others. The model checker decides at each step
//! which thread continues, so a failing interleaving can be repeated with its seed, and a deadlock is
//! reported with its steps. Without the `cfg` the same races run on system threads, in random
//! interleavings; under Miri (`cargo +nightly miri test --test races`) memory is as weak as the orderings
//! of the atomics allow.
//!
//! `tests/races/mutate` checks that each race is detected: it breaks one line of the library at a time, and
//! expects the test to fail.

mod support;

#[path = "races/agents.rs"]
mod agents;
#[path = "races/applications.rs"]
mod applications;
#[path = "races/dynamic_supervisors.rs"]
mod dynamic_supervisors;
#[path = "races/harness.rs"]
mod harness;
#[path = "races/links.rs"]
mod links;
#[path = "races/listeners.rs"]
mod listeners;
#[path = "races/mailboxes.rs"]
mod mailboxes;
#[path = "races/monitors.rs"]
mod monitors;
#[path = "races/names.rs"]
mod names;
#[path = "races/partitions.rs"]
mod partitions;
#[path = "races/servers.rs"]
mod servers;
#[path = "races/signals.rs"]
mod signals;
#[path = "races/supervisors.rs"]
mod supervisors;
#[path = "races/task_supervisors.rs"]
mod task_supervisors;
#[path = "races/tasks.rs"]
mod tasks;
#[path = "races/threads.rs"]
mod threads;
#[path = "races/timers.rs"]
mod timers;
