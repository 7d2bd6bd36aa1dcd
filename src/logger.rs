//! A logger on stderr for programs that have no logger. The library never calls it: it only writes to `log`.

use env_logger::{Builder, Env};

/// Prints the log of the library on stderr: crash reports and supervisor reports, or the levels that the environment
/// variable `RUST_LOG` enables (`RUST_LOG=debug` also shows every start and every normal exit). Does nothing if the
/// program has a logger already. Needs the feature `env_logger`, which is on by default; a program with its own logger
/// needs neither.
///
/// ```
/// rethread::logger::init();
/// ```
pub fn init() {
    // An error means that a logger is installed already, which is fine.
    let _ = Builder::from_env(Env::default().default_filter_or("warn")).try_init();
}
