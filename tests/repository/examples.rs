//! The short examples: what they print, word for word as the README quotes it, and how long they are.
//! `cargo test` builds them and runs this.

use std::path::Path;
use std::process::Command;

use crate::support::watchdog;

/// Runs a short example, which must end well and print exactly this on standard output. It has no logger, so each of its
/// crashes is a line on standard error that ends with one of these texts.
#[track_caller]
fn prints(name: &str, expected: &str, crashes: &[&str]) {
    prints_within(79, name, expected, crashes);
}

/// Like [`prints`], for an example of at most `max_lines` lines.
#[track_caller]
fn prints_within(max_lines: usize, name: &str, expected: &str, crashes: &[&str]) {
    assert_eq!(output(name, &[], crashes), expected);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/{name}.rs"));
    let lines = std::fs::read_to_string(source).expect("readable").lines().count();
    assert!(lines <= max_lines, "examples/{name}.rs has {lines} lines, but may have {max_lines}");
}

/// Runs an example, which must end well; returns what it prints. On standard error it must print one line for each of
/// `crashes`, with this end.
#[track_caller]
fn output(name: &str, arguments: &[&str], crashes: &[&str]) -> String {
    let _watchdog = watchdog();
    let mut path = std::env::current_exe().expect("this very test");
    path.pop(); // deps
    path.pop();
    path.push("examples");
    path.push(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is missing: run `cargo build --examples` first", path.display());
    let output = Command::new(path).args(arguments).env_remove("RUST_LOG").output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let printed = text(output.stderr);
    let is_crash =
        |(line, crash): (&str, &&str)| line.starts_with("rethread: process <") && line.ends_with(crash);
    assert!(
        printed.lines().count() == crashes.len() && printed.lines().zip(crashes).all(is_crash),
        "expected {crashes:?}, printed:\n{printed}"
    );
    assert!(output.status.success(), "{}", output.status);
    text(output.stdout)
}

/// Its log contains pids and times, so only a part of each line is compared.
#[test]
fn sensor_hub() {
    let printed = output("sensor_hub", &["0.5"], &[]);
    let lines = |text: &str| printed.lines().filter(|line| line.contains(text)).count();
    for sensor in ["thermometer", "barometer", "hygrometer"] {
        assert_eq!(lines(&format!("child {sensor} is running again as <")), 1, "{printed}");
    }
    assert_eq!(lines(" exited: no such device; restart in 0.3 s"), 3, "{printed}");
    let end = "all sensors deliver\nthe hub is the same process: true\nits log had at most 10 lines: true\n";
    assert!(printed.ends_with(end), "{printed}");
}

#[test]
fn counter() {
    prints(
        "counter",
        "\
the counter starts with 10
10 + 32 is 42
42 / 2 is 21
21 / 0 crashes the counter: attempt to divide by zero
a new counter has the name: true
the counter starts with 10
after the stop there is none: true
",
        &["attempt to divide by zero"],
    );
}

#[test]
fn links() {
    prints(
        "links",
        "\
link: the parent exits with its child; main monitors it and gets a down: panic: the child slipped
trap: main is linked to a child that fails, and gets an exit signal: out of paper
trap: another child just returns, and main gets an exit signal: normal
monitor: it is one-way and needs no link; main gets a down: normal
kill: a stubborn process sends a message: I trap exits now
kill: asked to shut down it sends a message: I got an exit signal and continue
kill: it cannot trap a kill; main gets a down: killed
main is still running
",
        &["the child slipped"],
    );
}

#[test]
fn supervisor() {
    prints(
        "supervisor",
        "\
the left child exited: killed
  left is new
  right is unchanged
  drummer is unchanged
the drummer child exited: killed
  left is unchanged
  right is unchanged
  drummer is new
the new drummer is drumming
",
        &[],
    );
}

#[test]
fn rooms() {
    prints(
        "rooms",
        "\
the room attic is opened
the room cellar is opened
the room attic is open already
the attic crashed: true
received attic #1: hello
received attic #2: a bomb
received attic #1: hello again
2 rooms are open
",
        &["not in this room"],
    );
}

#[test]
fn tasks() {
    prints(
        "tasks",
        "\
got page 1
got page 2
one is missing
got page 4
got page 5
the first two: page 1 and page 2
done early: false
stopped: true
risky failed: true, safe returned: page 4
",
        &["page 3 is torn out; left: 3; right: 3", "page 3 is torn out; left: 3; right: 3"],
    );
}

#[test]
fn todo() {
    prints_within(
        400,
        "todo",
        "\
home 1 [ ] buy milk
home 2 [ ] call the dentist
the server of home exited: killed
home 1 [x] buy milk
home 2 [ ] call the dentist
the worker of home exited: killed
home 1 [x] buy milk
home 2 [ ] call the dentist
home 3 [ ] feed the cat
the system has stopped
home 1 [x] buy milk
home 2 [ ] call the dentist
home 3 [ ] feed the cat
work 1 [ ] write the report
",
        &[],
    );
}
