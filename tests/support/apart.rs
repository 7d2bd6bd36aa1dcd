//! A test in a program of its own, for what would disturb the other tests of its file: limits, panic hooks,
//! standard error.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::process::{Command, Output};
use std::thread;

const MARK: &str = "RETHREAD_TEST_APART";

/// Runs `body` in a program of its own: this test program once more, with nothing but the calling test.
/// Returns in the first program only, with what the second one printed; it must have succeeded.
#[track_caller]
pub(crate) fn apart(body: impl FnOnce()) -> String {
    let test = thread::current().name().expect("a test's thread has its name").to_owned();
    if std::env::var(MARK).is_ok_and(|mark| mark == test) {
        body();
        std::process::exit(0);
    }
    let (output, text) = run(&test);
    assert!(output.status.success(), "{test} apart ended with {}:\n{text}", output.status);
    text
}

fn run(test: &str) -> (Output, String) {
    let program = std::env::current_exe().expect("the test program has a path");
    let output = Command::new(program)
        .args([test, "--exact", "--nocapture"])
        .env(MARK, test)
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("the test program can be run again");
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    (output, text)
}
