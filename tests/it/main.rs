//! The tests that can share one program. A test here looks only at processes, names and log lines of its own: the
//! others run at the same time. What needs a program of its own is in `tests/isolated/`.

mod agent;
mod api;
mod application;
mod fault_tolerance;
mod gen_server;
mod hostile;
mod observer;
mod process;
#[rustfmt::skip] // as terse as in README.md
mod readme;
mod registry;
mod reports;
mod supervisor;
#[path = "../support/mod.rs"]
mod support;
mod task;
