//! A model of the machine: threads run one at a time, and before each step that another thread could notice the
//! scheduler decides who goes next. `tests/races.rs` explores with it what can become of a race, thousands of orders in
//! a second; one in which nobody can go on any more is a deadlock, a lost wake-up, and is told with its steps.
//!
//! The threads are real, because ours end by unwinding, with destructors that go on calling: the model checkers whose
//! threads are coroutines (loom, shuttle) cannot switch while a stack is unwound. The time is the model's: it
//! passes when everybody waits, or by chance when somebody has a deadline. Memory is sequentially consistent here; the
//! orderings of atomics are looked at by Miri.

pub(crate) mod explore;
pub(crate) mod primitives;
pub(crate) mod schedule;
pub(crate) mod scheduler;

pub use self::explore::{Config, Coverage, Failure, explore, run_until_stalled};
