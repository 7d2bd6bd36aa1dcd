//! Runs a test in a child program, for tests that would disturb the others of their file: limits, panic
//! hooks, standard error, signals.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

const MARK: &str = "RETHREAD_TEST_APART";

/// Marks the lines printed by `send_line`: the test harness prints to the same stream.
const LINE_PREFIX: &str = "::";

/// Runs `body` in a child program: this test program, started again with the calling test only. Returns
/// only in the parent program, with the output of the child, which must succeed.
#[track_caller]
pub(crate) fn in_child_program(body: impl FnOnce()) -> String {
    let Some(command) = child_command() else {
        body();
        std::process::exit(0);
    };
    let (status, text) = run(command);
    assert!(status.success(), "the child program exited with {status}:\n{text}");
    text
}

/// Like `in_child_program`, but the child may fail; returns its exit status, too.
#[track_caller]
pub(crate) fn in_failing_child_program(body: impl FnOnce()) -> (ExitStatus, String) {
    let Some(command) = child_command() else {
        body();
        std::process::exit(0);
    };
    run(command)
}

/// Returns the command that starts this test program again with the calling test only; `None` in the child
/// program.
#[track_caller]
pub(crate) fn child_command() -> Option<Command> {
    let test = thread::current().name().expect("a test's thread has its name").to_owned();
    if std::env::var(MARK).is_ok_and(|mark| mark == test) {
        return None;
    }
    let program = std::env::current_exe().expect("the test program has a path");
    let mut command = Command::new(program);
    command.args([&test, "--exact", "--nocapture"]).env(MARK, &test).env("RUST_BACKTRACE", "0");
    Some(command)
}

#[track_caller]
fn run(mut command: Command) -> (ExitStatus, String) {
    let output = command.output().expect("the test program can be run again");
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    // A filter that matches no test makes the harness succeed.
    assert!(text.contains("running 1 test"), "the child program ran no test:\n{text}");
    (output.status, text)
}

/// Sends a line from the child program to its parent.
pub(crate) fn send_line(what: &str) {
    let mut out = io::stdout().lock();
    // The harness may have left an unfinished line.
    writeln!(out, "\n{LINE_PREFIX}{what}").and_then(|()| out.flush()).expect("the parent program reads");
}

/// A running child program that exchanges lines with its parent; killed if the test fails.
pub(crate) struct ChildProgram {
    child: Child,
    out: BufReader<Box<dyn Read + Send>>,
}

impl ChildProgram {
    #[track_caller]
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let out: Box<dyn Read + Send> = Box::new(child.stdout.take().expect("its output"));
        Self { child, out: BufReader::new(out) }
    }

    /// Returns the next line that the child program sent; `None` once it has exited.
    #[track_caller]
    pub(crate) fn next_line(&mut self) -> Option<String> {
        let mut line = String::new();
        while self.out.read_line(&mut line).expect("text") > 0 {
            if let Some(said) = line.strip_prefix(LINE_PREFIX) {
                return Some(said.trim_end().to_owned());
            }
            line.clear();
        }
        None
    }

    /// Returns all remaining lines and the exit status.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> (Vec<String>, ExitStatus) {
        let said = std::iter::from_fn(|| self.next_line()).collect();
        (said, self.child.wait().expect("it ends"))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Closes its standard input: a read there returns.
    pub(crate) fn close_input(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Sends it a signal, given by name: `TERM`.
    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }
}

impl Drop for ChildProgram {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a program a signal, given by name: `TERM`.
#[track_caller]
pub(crate) fn signal(program: u32, name: &str) {
    let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {program}")).status();
    assert!(sent.expect("a shell").success(), "SIG{name} was not sent");
}
