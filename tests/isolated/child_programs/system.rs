//! An operating system that refuses: no threads, no memory, child processes of other programs, the end of
//! the program while processes run. Each test runs in a child program.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::support::child::{Child, child_pid, states, up};
use crate::support::child_program::{
    ChildProgram, child_command, in_child_program, in_failing_child_program, send_line,
};
use crate::support::{self, Gate, Journal, attached, down, eventually, message, sleeper, watchdog};
use parking_lot::Mutex;
use rethread::StartError;
use rethread::agent::Agent;
use rethread::application::Application;
use rethread::prelude::*;
use rethread::process::{self, Builder, Inbox, SpawnError};

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

const MINUTE: Duration = Duration::from_secs(60);

/// A shell beside this program that changes its limits: the program itself may be unable to start anything
/// then.
struct Limits {
    _shell: std::process::Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Limits {
    fn new() -> Self {
        let mut command = Command::new("sh");
        let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell");
        let (orders, answers) = (shell.stdin.take(), shell.stdout.take());
        let (orders, answers) = (orders.expect("its input"), answers.expect("its output"));
        Self { _shell: shell, orders, answers: BufReader::new(answers) }
    }

    /// Sets the limit `what` of this program to `value`; it can be changed back.
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

/// Returns `true` if this machine has what a test requires; if not, prints that.
fn works(what: &str, command: &mut Command) -> bool {
    let works =
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !works {
        let _ = writeln!(std::io::stdout(), "skipped: {what} does not work here");
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

/// Returns the command for a user other than root: the kernel lets root start any number of threads.
/// `None`, with a printed message, if that is impossible. `folder` is for the executable of that user.
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

/// Checks the behaviour without available threads: between `refuse` and `allow`.
fn without_threads(refuse: &mut dyn FnMut(), allow: &mut dyn FnMut()) {
    let _watchdog = watchdog();
    support::capture();
    let journal = Journal::new();
    let (a, b) = (Child::new("a", &journal), Child::new("b", &journal));
    let patient = up(Supervisor::one_for_one().max_restarts(u32::MAX, MINUTE).child(a.spec()));
    let app = Application::new("hasty", Supervisor::one_for_one().max_restarts(2, MINUTE).child(b.spec()));
    let app = app.start().expect("it starts");
    let hanging = Gate::new();
    let (begun, held) = (Gate::new(), hanging.clone());
    let begins = begun.clone();
    let stuck = Builder::new().kill_grace(Duration::ZERO).spawn(move || {
        begins.open();
        held.pass();
    });
    let stuck = stuck.expect("a free thread");
    begun.pass();
    let other = sleeper();
    attached(|inbox: &mut Inbox<u8>| {
        process::trap_exit(true);
        refuse();
        // Each start is refused, with an error that says why, and leaves nothing behind.
        for _ in 0..3 {
            let refused = process::spawn_link(|| ());
            let Err(SpawnError::Thread(cause)) = refused else { panic!("{refused:?}") };
            assert!(cause.raw_os_error().is_some(), "{cause}");
            let refused = patient.start_child(b.spec().id("c"));
            assert!(matches!(refused, Err(StartError::Thread(_))), "{refused:?}");
            assert!(task::spawn(|| 7).is_err());
            let refused = Agent::start(|| 7).map(drop);
            assert!(matches!(refused, Err(StartError::Thread(_))), "{refused:?}");
        }
        assert_eq!(process::info(inbox.pid()).expect("it is running").links, []);
        assert_eq!(states(&patient), [("a".into(), "running")]);
        // Time still passes: timers fire, and a process that ignores a kill becomes a zombie.
        let _ = process::send_after(ms(10), inbox.address(), 1);
        assert_eq!(message(inbox), 1);
        let monitor = process::monitor(stuck);
        process::exit(stuck, ExitReason::Kill);
        assert_eq!(down(inbox), (monitor, ExitReason::Killed));
        assert_eq!(process::zombies().len(), 1);
        // So do running processes.
        let monitor = process::monitor(&other);
        process::exit(&other, "requested");
        assert_eq!(down(inbox), (monitor, "requested".into()));
        // A restart is retried, and each attempt counts.
        a.crash();
        b.crash();
        let ending = app.wait();
        assert!(ending.to_string().contains("reached_max_restart_intensity"), "{ending}");
        assert_eq!(states(&patient), [("a".into(), "restarting")]);
        let reported =
            |line: &String| line.contains("child a did not start again: the operating system refused");
        assert!(support::logs().iter().any(reported));
        assert_eq!(inbox.try_recv(), None, "no exit and no down of a refused process");
        allow();
        let second = a.await_start(2);
        assert_eq!(child_pid(&patient, "a"), second);
        assert_eq!(task::spawn(|| 7).expect("a free thread").join(), Ok(7));
        hanging.open();
        eventually("the zombie is gone", || process::zombies().is_empty());
    });
    patient.stop().expect("it stops");
}

#[cfg(target_os = "linux")]
#[test]
fn threads_that_the_system_refuses_are_errors_and_restarts_wait_for_them() {
    let Some(command) = child_command() else {
        // Idle threads would be sufficient.
        process::configure(|settings| settings.max_idle_threads = 0);
        let (limits, before) = (Mutex::new(Limits::new()), limit("Max processes"));
        return without_threads(&mut || limits.lock().set("nproc", "1"), &mut || {
            limits.lock().set("nproc", &before)
        });
    };
    let folder = tempfile::tempdir().unwrap();
    if sets_limits() {
        if let Some(command) = unprivileged(command, folder.path()) {
            let (_, status) = ChildProgram::start(command).wait();
            assert!(status.success(), "{status}");
        }
    }
}

/// Returns a limit of this program in the form of `prlimit`.
#[cfg(target_os = "linux")]
fn limit(called: &str) -> String {
    let limits = fs::read_to_string("/proc/self/limits").expect("Linux has it");
    let line = limits.lines().find_map(|line| line.strip_prefix(called)).expect("it is listed");
    line.split_whitespace().next().expect("a soft limit").to_owned()
}

#[cfg(target_os = "linux")]
#[test]
fn a_kept_thread_serves_where_the_system_refuses_a_new_one() {
    let Some(command) = child_command() else {
        let _watchdog = watchdog();
        process::configure(|settings| settings.max_idle_threads = 8);
        let (mut limits, before) = (Limits::new(), limit("Max processes"));
        limits.set("nproc", "1");
        let first = process::spawn(|| ());
        assert!(matches!(first, Err(SpawnError::Thread(_))), "{first:?}");
        limits.set("nproc", &before);
        process::watch(process::spawn(|| ()).unwrap()).wait();
        limits.set("nproc", "1");
        eventually("its thread is free", || process::spawn(|| ()).is_ok());
        // The thread of a panicking process is not reused, and leaves no successor behind.
        eventually("it panics", || process::spawn(|| panic!("the last thread")).is_ok());
        eventually("there is none", || process::spawn(|| ()).is_err());
        limits.set("nproc", &before);
        process::watch(process::spawn(|| ()).unwrap()).wait();
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    if sets_limits() {
        if let Some(command) = unprivileged(command, folder.path()) {
            let (_, status) = ChildProgram::start(command).wait();
            assert!(status.success(), "{status}");
        }
    }
}

/// Too large for any stack, while everything else fits.
#[cfg(target_os = "linux")]
const STACK: usize = 512 << 20;

/// Leaves this program half of a stack of address space.
#[cfg(target_os = "linux")]
fn tighten(limits: &mut Limits) {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).expect("it is listed");
    let size: usize = size.trim().trim_end_matches(" kB").parse().expect("a number");
    limits.set("as", &(size * 1024 + STACK / 2).to_string());
}

#[cfg(target_os = "linux")]
#[test]
fn stacks_that_find_no_memory_are_errors_and_restarts_wait_for_it() {
    if child_command().is_some() && !sets_limits() {
        return;
    }
    in_child_program(|| {
        let (limits, before) = (Mutex::new(Limits::new()), limit("Max address space"));
        let mut refuse = || {
            // From now on: running processes have small stacks, and leave no room behind.
            process::configure(|settings| {
                settings.max_idle_threads = 0;
                settings.stack_size = STACK;
            });
            tighten(&mut limits.lock());
            // Fallible allocations are not affected.
            assert!(Vec::<u8>::new().try_reserve_exact(STACK).is_err());
        };
        without_threads(&mut refuse, &mut || limits.lock().set("as", &before));
    });
}

#[cfg(target_os = "linux")]
#[test]
fn an_allocation_that_fails_ends_the_program() {
    if child_command().is_some() && !sets_limits() {
        return;
    }
    let (status, printed) = in_failing_child_program(|| {
        let mut limits = Limits::new();
        let greedy = process::spawn_receiver::<()>(|inbox| {
            inbox.recv();
            drop(std::hint::black_box(vec![1_u8; STACK]));
        });
        let greedy = greedy.unwrap();
        tighten(&mut limits);
        greedy.send(());
        process::watch(&greedy).wait();
    });
    assert_eq!(status.signal(), Some(signal_hook::consts::SIGABRT), "{status}: {printed}");
    assert!(printed.contains("memory allocation of"), "{printed}");
}

/// Returns a process body that runs another program, and kills it when asked to exit.
fn runs_another(pid: std::sync::mpsc::Sender<u32>) -> impl FnOnce() + Send {
    /// The other program: killed and waited for in any case, so that nothing of it is left.
    struct Other(Arc<Mutex<std::process::Child>>);
    impl Drop for Other {
        fn drop(&mut self) {
            let mut child = self.0.lock();
            let _ = child.kill();
            let _ = child.wait();
        }
    }
    move || {
        let mut command = Command::new("sh");
        command.args(["-c", "echo begun; exec sleep 600"]).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut out = BufReader::new(child.stdout.take().expect("its output"));
        let other = Other(Arc::new(Mutex::new(child)));
        let handle = Arc::clone(&other.0);
        let _hook = process::on_exit_request(move || drop(handle.lock().kill()));
        out.read_line(&mut String::new()).expect("it says that it has begun");
        pid.send(other.0.lock().id()).expect("the test receives");
        // Blocks while the other program runs, without holding a lock.
        out.read_to_string(&mut String::new()).expect("text");
        let _ = other.0.lock().wait();
    }
}

#[test]
fn a_process_that_is_killed_while_it_waits_for_another_program_ends_that_by_a_hook() {
    attached(|inbox: &mut Inbox<()>| {
        for reason in [ExitReason::Kill, ExitReason::Shutdown] {
            let (tx, rx) = std::sync::mpsc::channel();
            // Long enough to show, by its not being a zombie, that the hook ended it.
            let spec = Builder::new().kill_grace(MINUTE).exit_timeout(MINUTE);
            let (waits, monitor) = spec.spawn_monitor(runs_another(tx)).unwrap();
            let other = rx.recv().unwrap();
            let lives =
                || Command::new("sh").args(["-c", &format!("kill -0 {other} 2>&-")]).status().unwrap();
            assert!(lives().success());
            process::exit(waits, reason);
            assert_eq!(down(inbox).0, monitor);
            assert!(!lives().success(), "it was ended and waited for");
        }
    });
}

/// Returns the file descriptors of a program started by this one.
#[cfg(target_os = "linux")]
fn inherited() -> BTreeSet<String> {
    let listed = Command::new("ls").arg("/proc/self/fd").output().expect("ls, as everywhere");
    String::from_utf8(listed.stdout).expect("numbers").lines().map(str::to_owned).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn rethread_opens_no_file_that_other_programs_inherit() {
    in_child_program(|| {
        let open = || fs::read_dir("/proc/self/fd").expect("Linux has it").count();
        let before = (inherited(), open());
        let after = attached(|inbox: &mut Inbox<()>| {
            let _ = process::send_after(ms(1), inbox.address(), ());
            message(inbox);
            let mut events = rethread::observer::events();
            let system = up(Supervisor::one_for_one().child(Child::new("a", &Journal::new()).spec()));
            let named = Builder::new().name("of the files").spawn_receiver::<()>(|inbox| drop(inbox.recv()));
            assert!(events.recv_timeout(MINUTE).is_some());
            let after = task::spawn(move || (inherited(), open())).unwrap().join().unwrap();
            named.unwrap().send(());
            system.stop().unwrap();
            after
        });
        assert_eq!(before, after);
    });
}

#[test]
fn return_of_main_ends_the_program_with_running_processes() {
    let Some(command) = child_command() else {
        let gate = Gate::new();
        let begun = Journal::new();
        let note = |what: &'static str| {
            let begun = begun.clone();
            move || begun.note(what)
        };
        let (busy, blocked, held) = (note("busy"), note("blocked"), gate.clone());
        process::spawn(move || {
            busy();
            loop {
                process::checkpoint();
            }
        })
        .unwrap();
        process::spawn(move || {
            blocked();
            held.pass();
        })
        .unwrap();
        let hangs = Child::new("hangs", &Journal::new()).traps().ends_by({
            let terminating = note("terminating");
            move |_| {
                terminating();
                gate.pass();
            }
        });
        let waits = Child::new("waits", &Journal::new()).traps().ends_by(|_| send_line("its terminate runs"));
        let system = up(Supervisor::one_for_one().child(waits.spec()).child(hangs.spec()));
        process::spawn(move || drop(system.stop())).unwrap();
        begun.wait_for(3);
        return; // from the test, and from the `main` of the test harness
    };
    let _watchdog = watchdog();
    let (said, status) = ChildProgram::start(command).wait();
    assert_eq!(said, [""; 0], "no process was notified");
    assert!(status.success(), "{status}");
}

#[test]
fn an_exit_of_the_program_in_a_handler_does_not_wait_for_a_terminate_that_runs() {
    let (status, printed) = in_failing_child_program(|| {
        let (terminating, gate) = (Gate::new(), Gate::new());
        let (begun, held) = (terminating.clone(), gate.clone());
        let ends_slowly = Child::new("ends slowly", &Journal::new()).traps().ends_by(move |_| {
            begun.open();
            held.pass();
            send_line("it ended");
        });
        let exits = Child::new("exits", &Journal::new());
        let slow = up(Supervisor::one_for_one().child(ends_slowly.spec()));
        let _other = up(Supervisor::one_for_one().child(exits.spec()));
        process::spawn(move || drop(slow.stop())).unwrap();
        terminating.pass();
        exits.run(|| std::process::exit(7));
        closed_gate();
    });
    assert_eq!(status.code(), Some(7), "{printed}");
    assert!(!printed.contains("it ended"), "{printed}");
}

fn closed_gate() {
    Gate::new().pass();
}
