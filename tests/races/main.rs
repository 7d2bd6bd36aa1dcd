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

#[path = "../support/mod.rs"]
mod support;

mod agents;
mod applications;
mod dynamic_supervisors;
mod harness;
mod links;
mod listeners;
mod mailboxes;
mod monitors;
mod names;
mod partitions;
mod servers;
mod signals;
mod supervisors;
mod task_supervisors;
mod tasks;
mod threads;
mod timers;
