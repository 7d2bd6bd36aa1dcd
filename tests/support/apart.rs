//! A test in a program of its own, for what would disturb the other tests of its file: limits, panic hooks,
//! standard error, signals.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;

const MARK: &str = "RETHREAD_TEST_APART";

/// Before each line of `say`: the test harness prints to the same place.
const SAYS: &str = "::";

/// Runs `body` in a program of its own: this test program once more, with nothing but the calling test.
/// Returns in the first program only, with what the second one printed; it must have succeeded.
#[track_caller]
pub(crate) fn apart(body: impl FnOnce()) -> String {
    let Some(command) = again() else {
        body();
        std::process::exit(0);
    };
    let (output, text) = run(command);
    assert!(output.status.success(), "the program apart ended with {}:\n{text}", output.status);
    text
}

/// As `apart`, for a program that does not end well: its status too.
#[track_caller]
pub(crate) fn doomed_apart(body: impl FnOnce()) -> (ExitStatus, String) {
    let Some(command) = again() else {
        body();
        std::process::exit(0);
    };
    let (output, text) = run(command);
    (output.status, text)
}

/// This test program once more, with nothing but the calling test: to be started. `None` in that second program.
#[track_caller]
pub(crate) fn again() -> Option<Command> {
    let test = thread::current().name().expect("a test's thread has its name").to_owned();
    if std::env::var(MARK).is_ok_and(|mark| mark == test) {
        return None;
    }
    let program = std::env::current_exe().expect("the test program has a path");
    let mut command = Command::new(program);
    command.args([&test, "--exact", "--nocapture"]).env(MARK, &test).env("RUST_BACKTRACE", "0");
    Some(command)
}

fn run(mut command: Command) -> (Output, String) {
    let output = command.output().expect("the test program can be run again");
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    (output, text)
}

/// Tells the first program something, in the second one.
pub(crate) fn say(what: &str) {
    let mut out = io::stdout().lock();
    // The harness may not have ended its line.
    writeln!(out, "\n{SAYS}{what}").and_then(|()| out.flush()).expect("the first program listens");
}

/// The second program, while the first one talks with it; killed if the test fails.
pub(crate) struct Program {
    child: Child,
    out: BufReader<Box<dyn Read + Send>>,
}

impl Program {
    #[track_caller]
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let out: Box<dyn Read + Send> = Box::new(child.stdout.take().expect("its output"));
        Self { child, out: BufReader::new(out) }
    }

    /// What it says next; `None` when it has ended.
    #[track_caller]
    pub(crate) fn hears(&mut self) -> Option<String> {
        let mut line = String::new();
        while self.out.read_line(&mut line).expect("text") > 0 {
            if let Some(said) = line.strip_prefix(SAYS) {
                return Some(said.trim_end().to_owned());
            }
            line.clear();
        }
        None
    }

    /// All it says from here to its end, and how it ended.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> (Vec<String>, ExitStatus) {
        let said = std::iter::from_fn(|| self.hears()).collect();
        (said, self.child.wait().expect("it ends"))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, by its name: `TERM`.
    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a program a signal, by its name: `TERM`.
#[track_caller]
pub(crate) fn signal(program: u32, name: &str) {
    let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {program}")).status();
    assert!(sent.expect("a shell").success(), "SIG{name} was not sent");
}
