//! A logger that writes to standard error, for programs that have no logger of their own.
//!
//! The library writes crash reports and the messages of supervisors to the crate [`log`](https://docs.rs/log);
//! without a logger they are not shown. A program that uses another logger needs neither [`init`] nor the
//! feature `env_logger`, which is on by default.
//!
//! ```
//! rethread::logger::init(); // once, at the start of `main`
//! ```
//!
//! | level | records |
//! | --- | --- |
//! | error | crashes, unexpected exits of children, failed starts and restarts, supervisors and applications that give up, new zombies, panics in destructors |
//! | warn | unexpected messages, the begin and end of the [outage](crate::outages) of a child, zombies that ended, processes that an application had to kill, invalid settings in the environment |
//! | info | children that a supervisor starts from its spec or restarts, the start and the normal end of applications |
//! | debug | children that are started by a request, further failures during an outage, every other exit |
//!
//! The environment variable `RUST_LOG` selects the level, by default `warn`. `RUST_LOG=rethread=info` shows
//! only records of this library. `RUST_BACKTRACE=1` adds a backtrace to the report of a panic.

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
