//! Settings from environment variables. They are read once, so each check runs in a child program.

use std::process::Command;

use crate::support::child_program::child_command;
use crate::support::{self, logs};
use rethread::process;

/// Returns what the child program prints with these variables set: its settings, as text.
fn with(mut child_program: Command, waiting: &str, max_idle_threads: &str) -> String {
    let output = child_program
        .env("RETHREAD_WAIT_STRATEGY", waiting)
        .env("RETHREAD_MAX_IDLE_THREADS", max_idle_threads)
        .output()
        .expect("the test program can be run again");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_environment_sets_what_the_program_does_not() {
    if child_command().is_none() {
        support::capture();
        let settings = process::settings();
        let warnings = logs();
        println!(
            "{:?}, {} idle threads, {} warnings",
            settings.wait_strategy,
            settings.max_idle_threads,
            warnings.len()
        );
        println!("{}", warnings.join("\n"));
        return;
    }
    for (waiting, max_idle_threads, text) in [
        ("adaptive", "7", "Adaptive, 7 idle threads, 0 warnings"),
        ("park", "0", "Park, 0 idle threads, 0 warnings"),
        ("spin", "1", "Spin, 1 idle threads, 0 warnings"),
        ("patiently", "many", "Adaptive, 1024 idle threads, 2 warnings"),
        ("patiently", "many", "WARN rethread: RETHREAD_WAIT_STRATEGY=\"patiently\" is not understood"),
        ("patiently", "many", "WARN rethread: RETHREAD_MAX_IDLE_THREADS=\"many\" is not understood"),
    ] {
        let child_program = child_command().expect("this is the parent program");
        let said = with(child_program, waiting, max_idle_threads);
        assert!(said.contains(text), "{text:?} is not in: {said}");
    }
}

#[test]
fn by_default_there_are_fewer_processes_than_the_kernel_has_room_for() {
    let text = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap_or_default();
    if let Ok(maps) = text.trim().parse::<usize>() {
        // A thread needs up to four mappings: its stack, its guard page, and the same for signals. Half of
        // the limit is left for other uses.
        let most = process::Settings::default().max_processes;
        assert!(most <= (maps / 8).max(16), "{most} processes, {maps} maps");
    }
}
