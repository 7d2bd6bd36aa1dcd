//! A logger on stderr for programs that have no logger. The library never calls it: it only writes to `log`.

use env_logger::{Builder, Env};

/// Prints the log of the library on stderr: warnings and errors, or the levels that the environment variable
/// `RUST_LOG` enables. `RUST_LOG=info` also shows restarts and the start of children that a `SupervisorSpec` lists,
/// `RUST_LOG=debug` the start of every other child and every exit that is not a crash. Does nothing if the program
/// has a logger already. Needs the feature `env_logger`, which is on by default; a program with its own logger needs
/// neither.
///
/// ```
/// rethread::logger::init();
/// ```
pub fn init() {
    // An error means that a logger is installed already, which is fine.
    let _ = Builder::from_env(Env::default().default_filter_or("warn")).try_init();
}
