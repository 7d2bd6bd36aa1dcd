//! The tests of todo-cache as a program, which `cargo test` builds before it runs them.

#[path = "../../../../tests/support/mod.rs"]
mod support;

mod cli;
#[cfg(target_os = "linux")]
mod faults;
mod tools;
mod verdicts;

use std::process::Command;

/// Returns the program, which is beside the test that runs: `target/debug/examples/todo-cache`.
#[track_caller]
fn program() -> Command {
    let mut path = std::env::current_exe().expect("this very test");
    path.pop(); // deps
    path.pop();
    path.push("examples");
    path.push(format!("todo-cache{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is missing: run `cargo build --example todo-cache` first", path.display());
    let mut command = Command::new(path);
    command.env_remove("RUST_LOG").env_remove("RUST_BACKTRACE").env_remove("TODO_SERVER_EXPIRY");
    command
}
