//! Tests of what holds for a whole program: settings, limits, signals, the logger, the panic hook, memory. Each
//! runs in a child program, so one program can contain them all.

mod environment;
mod extreme_settings;
mod limits;
mod linked_structure;
mod log_sinks;
mod nothing_is_left;
mod panic_hook;
mod registry_race;
mod settings;
#[cfg(unix)]
mod signals;
mod supervisor_limit;
#[path = "../../support/mod.rs"]
mod support;
#[cfg(unix)]
mod system;
mod zombie_limit;
