//! A logger for programs that have none: crash reports on stderr. Called by `main` functions, examples
//! among them; the library itself only writes to `log`.

use env_logger::{Builder, Env};

/// Prints what the library logs on stderr: crash reports and supervisor reports, or what the environment
/// variable `RUST_LOG` says (`RUST_LOG=debug` shows every start and every normal end too). Does nothing if
/// the program has a logger already. Needs the feature `env_logger`, on by default; a program with a logger of its own
/// needs neither.
///
/// ```
/// rethread::logger::init();
/// ```
pub fn init() {
    // An error means that there is a logger already, which is all right.
    let _ = Builder::from_env(Env::default().default_filter_or("warn")).try_init();
}
