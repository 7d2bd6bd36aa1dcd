//! A model checker: runs a scenario with several threads thousands of times, each time in another order of
//! steps, and reports an order in which the scenario fails.
//!
//! # Why
//!
//! A race is an error that appears only if two threads take their steps in an unusual order: thread A reads a
//! flag, then thread B sets it and looks for a waiting thread, finds none, then A goes to sleep and is never
//! woken. On a real machine the operating system chooses the order, and the fatal one may come up once in a
//! billion runs. Here a scheduler chooses it at random from a seed, so unusual orders come up all the time,
//! and one that fails can be repeated.
//!
//! # How
//!
//! The library is compiled with `--cfg rethread_model`. Then the locks, atomics and threads of `crate::sync`
//! are those of `primitives`. They do the same as the real ones, but first call the scheduler:
//!
//! 1. A *step* is an operation that other threads can notice: to lock, to read or write an atomic, to park, to unpark.
//!    Between two steps of a thread nothing can interfere with it.
//! 2. Only one thread runs at a time. Before each step it asks the `scheduler` which thread runs next; if that is
//!    another one, it wakes that thread and sleeps.
//! 3. A thread that cannot continue (the lock is held, it has parked) is *blocked*, and is not chosen until another
//!    thread unlocks or unparks.
//! 4. The `schedule` makes the choices from random numbers. An *execution* is one run of the scenario with one seed; the
//!    same seed makes the same choices, so it gives the same execution again.
//! 5. [`explore`] runs many executions with successive seeds, and counts how many different orders there were.
//!
//! An execution fails if the scenario panics (an assertion of the test), if it takes far too many steps (an
//! endless loop), or if no thread can run although the scenario has not ended: a deadlock, for example
//! because a wake-up was lost. The report contains the seed and the last steps with their source lines; for a
//! deadlock or too many steps also what each thread is blocked on.
//!
//! # Time
//!
//! The clock is simulated: it advances by 100 ns with each step, and jumps to the next deadline when all
//! threads are blocked. A wait of an hour takes no time. With *early timeouts* a deadline may also pass while
//! threads could still run, as on a machine that is overloaded. Parked threads sometimes wake up spuriously,
//! as std allows.
//!
//! # Limits
//!
//! - Random choices find races with high probability, and prove nothing.
//! - Memory is sequentially consistent: every thread sees every write at once. Errors in the orderings of atomics are not
//!   found here; Miri looks for them.
//! - Threads are real threads. Model checkers that use coroutines (loom, shuttle) are faster, but cannot switch to
//!   another thread while a stack is unwinding, and processes of this library exit by unwinding, with
//!   destructors that make further runtime calls.
//! - On a thread outside the model (the test harness, for example) the primitives are the real ones, except that the time
//!   is simulated, `sleep` returns at once, and a condition variable cannot be waited on.
//!
//! `tests/races/main.rs` contains the scenarios. This folder is not part of the published package.

pub(crate) mod explore;
pub(crate) mod primitives;
pub(crate) mod schedule;
pub(crate) mod scheduler;

pub use self::explore::{Config, Coverage, Failure, explore, run_until_stalled};
