//! rethread against the BEAM: scripts whose traces were recorded on a real Erlang are run here, and the
//! traces must be the same. `RETHREAD_CONFORMANCE=DIR` runs another folder of the same layout.

#[path = "conformance/scripted.rs"]
mod scripted;
#[path = "conformance/supervised.rs"]
mod supervised;
mod support;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rethread::process::{self, Settings};

/// Runs every script of a folder and compares its trace with the recorded one.
fn compare(folder: &Path, run: fn(&str) -> String) {
    // A busy machine must not make zombies of processes that do unwind: where their ends stand is compared.
    let patient = Duration::from_secs(50);
    process::set_settings(Settings { kill_grace: patient, exit_deadline: patient, ..process::settings() });
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(folder.join("scripts"))
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    scripts.sort();
    let next = AtomicUsize::new(0);
    let differ = Mutex::new(Vec::new());
    let work = || {
        while let Some(script) = scripts.get(next.fetch_add(1, Ordering::Relaxed)) {
            let stem = script.file_stem().and_then(|stem| stem.to_str()).expect("a plain file name");
            let golden = folder.join("golden").join(format!("{stem}.out"));
            let expected = std::fs::read_to_string(&golden).expect("a recorded trace");
            let found = run(&std::fs::read_to_string(script).expect("a readable script"));
            if found != expected {
                differ.lock().push(format!("{stem}:\n{}", difference(&expected, &found)));
            }
        }
    };
    // A script mostly waits for quiet, so several run side by side.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(work);
        }
    });
    let differ = differ.into_inner();
    let agree = scripts.len() - differ.len();
    assert!(!scripts.is_empty(), "no scripts in {}", folder.display());
    assert!(differ.is_empty(), "{}\n{agree} of {} scripts agree", differ.join("\n"), scripts.len());
}

/// The lines that differ, as a diff marks them, with the line before the first.
fn difference(expected: &str, found: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let same_head = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let (old_tail, new_tail) = (&old[same_head..], &new[same_head..]);
    let same_tail =
        old_tail.iter().rev().zip(new_tail.iter().rev()).take_while(|(old, new)| old == new).count();
    let mut lines: Vec<String> =
        old[..same_head].last().map(|line| format!("  {line}")).into_iter().collect();
    lines.extend(old_tail[..old_tail.len() - same_tail].iter().map(|line| format!("- {line}")));
    lines.extend(new_tail[..new_tail.len() - same_tail].iter().map(|line| format!("+ {line}")));
    lines.join("\n")
}

fn folder(kind: &str) -> PathBuf {
    let recorded = || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    std::env::var_os("RETHREAD_CONFORMANCE").map_or_else(recorded, PathBuf::from).join(kind)
}

#[test]
fn processes_behave_as_on_the_beam() {
    let _watchdog = support::watchdog();
    compare(&folder("process"), scripted::trace);
}

#[test]
fn supervisors_behave_as_on_the_beam() {
    let _watchdog = support::watchdog();
    compare(&folder("supervisor"), supervised::trace);
}
