//! An operating system that refuses: no thread to be had, no memory, children of other programs, the end of the program
//! while processes run. Each test is a program of its own.
#![cfg(unix)]

#[path = "support/apart.rs"]
mod apart;
#[path = "support/child.rs"]
mod child;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use apart::{Program, again, apart, doomed_apart, say};
use child::{Child, child_pid, states, up};
use parking_lot::Mutex;
use rethread::prelude::*;
use rethread::process::{self, Builder, Event, Inbox, Settings, SpawnError};
use support::{Gate, Journal, attached, down, eventually, message, sleeper, watchdog};

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

const MINUTE: Duration = Duration::from_secs(60);

/// A shell beside this program that changes its limits: the program itself may be unable to start anything then.
struct Limits {
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Limits {
    fn new() -> Self {
        let mut command = Command::new("sh");
        let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell");
        let (orders, answers) = (shell.stdin.take(), shell.stdout.take());
        Self { orders: orders.expect("its input"), answers: BufReader::new(answers.expect("its output")) }
    }

    /// Sets the limit `what` of this program to `value`, for as long as it likes.
    #[track_caller]
    fn set(&mut self, what: &str, value: &str) {
        let order =
            format!("prlimit --pid {} --{what}={value}: && echo set || echo refused", std::process::id());
        writeln!(self.orders, "{order}").expect("the shell reads");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the shell answers");
        assert_eq!(answer, "set\n", "{order}");
    }
}

/// Whether this machine has what a test cannot do without; if not, says so.
fn works(what: &str, command: &mut Command) -> bool {
    let works =
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !works {
        println!("skipped: {what} does not work here");
    }
    works
}

fn sets_limits() -> bool {
    let own = "prlimit --pid $$ --nofile=64: && [ $(ulimit -n) = 64 ]";
    works("prlimit", Command::new("sh").args(["-c", own]))
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id, as everywhere");
    id.stdout == b"0\n"
}

/// The program as a user who is not root: the kernel lets root start as many threads as it likes. `None`, with a word, if
/// that cannot be done. The folder has what that user may run.
fn unprivileged(command: Command, folder: &Path) -> Option<Command> {
    if !is_root() {
        return Some(command);
    }
    const NOBODY: [&str; 6] = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"];
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("our own folder");
    let program = folder.join("program");
    fs::copy(command.get_program(), &program).expect("room for the test program");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("our own file");
    let list = || {
        let mut other = Command::new("setpriv");
        other.args(NOBODY).arg(&program);
        other
    };
    if !works("another user, by setpriv,", list().arg("--list")) {
        return None;
    }
    let mut other = list();
    other.args(command.get_args()).current_dir("/");
    for (key, value) in command.get_envs() {
        other.env(key, value.expect("nothing is taken away"));
    }
    Some(other)
}

/// What must hold when no thread is to be had: between `refuse` and `allow`.
fn without_threads(refuse: &mut dyn FnMut(), allow: &mut dyn FnMut()) {
    let _watchdog = watchdog();
    support::capture();
    let journal = Journal::new();
    let (a, b) = (Child::new("a", &journal), Child::new("b", &journal));
    let patient = up(Supervisor::one_for_one().max_restarts(u32::MAX, MINUTE).child(a.spec()));
    let app = Application::new("hasty", Supervisor::one_for_one().max_restarts(2, MINUTE).child(b.spec()));
    let app = app.start().unwrap();
    let hanging = Gate::new();
    let (begun, held) = (Gate::new(), hanging.clone());
    let begins = begun.clone();
    let stuck = Builder::new().kill_grace(Duration::ZERO).spawn::<()>(move |_| {
        begins.open();
        held.pass();
    });
    let stuck = stuck.unwrap();
    begun.pass();
    let other = sleeper();
    attached(|inbox: &mut Inbox<u8>| {
        process::trap_exit(true);
        refuse();
        // Whatever is started is refused, with an error that says why, and nothing is left of it.
        for _ in 0..3 {
            let refused = process::spawn_link::<()>(|_| ());
            let Err(SpawnError::Refused(cause)) = refused else { panic!("{refused:?}") };
            assert!(cause.raw_os_error().is_some(), "{cause}");
            let refused = patient.start_child(b.spec().id("c"));
            assert!(matches!(refused, Err(StartError::Refused(_))), "{refused:?}");
            assert!(Task::spawn(|| 7).is_err());
            let refused = Agent::start(|| 7).map(drop);
            assert!(matches!(refused, Err(StartError::Refused(_))), "{refused:?}");
        }
        assert_eq!(process::info(inbox.pid()).unwrap().links, []);
        assert_eq!(states(&patient), [("a".into(), "running")]);
        // Time goes on: timers fire, and who does not listen to a kill is declared dead.
        let _ = process::send_after(ms(10), &inbox.address(), 1);
        assert_eq!(message(inbox), 1);
        let monitor = process::monitor(&stuck);
        process::exit(&stuck, ExitReason::Kill);
        assert_eq!(down(inbox), (monitor, ExitReason::Killed));
        assert_eq!(process::zombies().len(), 1);
        // So do those that live.
        let monitor = process::monitor(&other);
        process::exit(&other, "told");
        assert_eq!(down(inbox), (monitor, "told".into()));
        // A restart is tried again and again, and each try counts.
        a.crash();
        b.crash();
        let ending = app.wait();
        assert!(ending.to_string().contains("reached_max_restart_intensity"), "{ending}");
        assert_eq!(states(&patient), [("a".into(), "restarting")]);
        let reported =
            |line: &String| line.contains("child a did not start again: the operating system refused");
        assert!(support::logs().iter().any(reported));
        allow();
        let second = a.await_start(2);
        assert_eq!(child_pid(&patient, "a"), second);
        assert_eq!(Task::spawn(|| 7).unwrap().join(), Ok(7));
        hanging.open();
        eventually("the zombie is gone", || process::zombies().is_empty());
        assert_eq!(inbox.try_recv(), None);
    });
    patient.stop().unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn threads_that_the_system_refuses_are_errors_and_restarts_wait_for_them() {
    let Some(command) = again() else {
        // Of kept threads there would be enough.
        process::set_settings(Settings { spare_threads: 0, ..process::settings() });
        let (limits, before) = (Mutex::new(Limits::new()), limit("Max processes"));
        return without_threads(&mut || limits.lock().set("nproc", "1"), &mut || {
            limits.lock().set("nproc", &before)
        });
    };
    let folder = tempfile::tempdir().unwrap();
    if sets_limits() {
        if let Some(command) = unprivileged(command, folder.path()) {
            let (_, status) = Program::start(command).ends();
            assert!(status.success(), "{status}");
        }
    }
}

/// A limit of this program, as `prlimit` wants it.
#[cfg(target_os = "linux")]
fn limit(called: &str) -> String {
    let limits = fs::read_to_string("/proc/self/limits").expect("Linux has it");
    let line = limits.lines().find_map(|line| line.strip_prefix(called)).expect("it is listed");
    line.split_whitespace().next().expect("a soft limit").to_owned()
}
