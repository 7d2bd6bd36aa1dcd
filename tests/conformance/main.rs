//! rethread against the BEAM: runs scripts whose traces were recorded on a real Erlang, and compares the
//! traces. `RETHREAD_CONFORMANCE=DIR` runs another folder of the same layout.

mod corpus;
mod scripted;
mod supervised;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::time::Duration;

use corpus::Found;
use rethread::process;

/// The variable that selects another folder of scripts.
const OTHER: &str = "RETHREAD_CONFORMANCE";

/// Runs all scripts of a kind and returns the line to print; panics with the differences.
fn compare(kind: &str, run: fn(&str) -> String) -> String {
    // The order of exits is compared, so a busy machine must not turn slowly unwinding processes into
    // zombies.
    let patient = Duration::from_secs(50);
    process::configure(|settings| {
        settings.kill_grace = patient;
        settings.exit_timeout = patient;
    });
    let found = match std::env::var_os(OTHER) {
        Some(other) => corpus::find_other(Path::new(&other), kind),
        None => corpus::find(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance"), kind),
    };
    match found {
        Ok(Found::Scripts(folder)) => {
            corpus::compare(kind, &folder, run).unwrap_or_else(|text| panic!("{text}"))
        }
        Ok(Found::Nothing) => format!("{kind}: skipped, {OTHER} has none"),
        Err(text) => panic!("{text}"),
    }
}

#[test]
fn processes_behave_as_on_the_beam() {
    println!("{}", compare("process", scripted::trace));
}

#[test]
fn supervisors_behave_as_on_the_beam() {
    println!("{}", compare("supervisor", supervised::trace));
}
