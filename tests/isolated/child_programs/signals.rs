//! Signals to the whole program: SIGTERM with and without a handler, SIGSTOP and SIGCONT.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::child_program::{ChildProgram, child_command, in_child_program, send_line};
use crate::support::{attached, eventually, message, watchdog};
use rethread::application::Application;
use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::process::{self, Inbox};
use rethread::supervisor::Shutdown;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The variable with the output file of the child program.
const FILE: &str = "RETHREAD_TEST_FILE";

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Writes a line at its exit, so that it is in the file when the program has exited.
struct Clerk {
    id: &'static str,
    out: BufWriter<File>,
}

impl GenServer for Clerk {
    type Args = (&'static str, PathBuf);
    type Call = Infallible;
    type Cast = Infallible;

    fn init((id, path): (&'static str, PathBuf), cx: &mut Context<Self>) -> Result<Self, InitError> {
        cx.trap_exit(true);
        Ok(Self { id, out: BufWriter::new(File::options().append(true).create(true).open(path)?) })
    }
    fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next {
        match call {}
    }
    fn terminate(&mut self, reason: &ExitReason, _: &mut Context<Self>) {
        let _ = writeln!(self.out, "{} {reason}", self.id);
        if self.id == "b" {
            send_line("stopping");
            // The stop continues when the parent has sent all signals and closes the standard input.
            let _ = io::stdin().read_line(&mut String::new());
        }
    }
}

/// Runs a program as the guide shows it: its clerks stop on SIGTERM and SIGINT.
fn office() {
    let path = PathBuf::from(std::env::var_os(FILE).expect("the test names a file"));
    let clerk = |id| Clerk::child_spec((id, path.clone())).id(id).shutdown(Shutdown::Infinity);
    let clerks = ["a", "b", "c"].map(clerk);
    let app = Application::new("office", Supervisor::one_for_one().children(clerks)).start();
    let app = app.expect("it starts");
    let mut signals = Signals::new([SIGTERM, SIGINT]).expect("signals can be caught");
    let stop = app.clone();
    let listens = move || signals.forever().for_each(|_| stop.request_stop());
    thread::Builder::new().spawn(listens).expect("a thread");
    send_line("ready");
    let ending = app.wait();
    send_line(&ending.to_string());
    std::process::exit(i32::from(!ending.is_success()));
}

#[test]
fn sigterm_and_sigint_stop_all_in_reverse_order_and_nothing_that_was_written_is_lost() {
    let Some(_) = child_command() else { return office() };
    let _watchdog = watchdog();
    for signals in [&["TERM"][..], &["INT"], &["TERM", "TERM", "INT", "TERM"]] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("office");
        let mut command = child_command().unwrap();
        command.env(FILE, &path);
        let mut office = ChildProgram::start(command);
        assert_eq!(office.next_line().as_deref(), Some("ready"));
        office.signal(signals[0]);
        assert_eq!(office.next_line().as_deref(), Some("stopping"));
        signals[1..].iter().for_each(|name| office.signal(name)); // and no more than that happens
        office.close_input();
        let (said, status) = office.wait();
        assert_eq!(said, ["the application ended: shutdown"], "{signals:?}");
        assert_eq!(status.code(), Some(0), "{signals:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "c shutdown\nb shutdown\na shutdown\n", "{signals:?}");
    }
}

#[test]
fn sigterm_ends_a_program_at_once_that_does_not_listen_to_it() {
    let Some(command) = child_command() else {
        let busy = process::spawn(|| {
            loop {
                std::hint::spin_loop();
            }
        });
        let _system =
            Supervisor::start_link([ChildSpec::worker("waits", wait)], Strategy::OneForOne).unwrap();
        send_line("ready");
        process::watch(busy.unwrap()).wait();
        return;
    };
    let _watchdog = watchdog();
    let mut program = ChildProgram::start(command);
    assert_eq!(program.next_line().as_deref(), Some("ready"));
    program.signal("TERM");
    let (said, status) = program.wait();
    assert_eq!((said, status.signal()), (vec![], Some(SIGTERM)));
}

fn wait() {
    process::sleep(Duration::MAX);
}

/// Returns how the calling thread treats signals: caught, ignored, blocked. (All are blocked for a moment
/// in a thread that starts another, as the main thread of a test program may do.)
#[cfg(target_os = "linux")]
fn dispositions() -> Vec<String> {
    let status = fs::read_to_string("/proc/thread-self/status").expect("Linux has it");
    let lines =
        status.lines().filter(|line| ["SigBlk", "SigIgn", "SigCgt"].iter().any(|of| line.starts_with(of)));
    lines.map(str::to_owned).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn rethread_catches_ignores_and_blocks_no_signal() {
    in_child_program(|| {
        let before = dispositions();
        assert_eq!(before.len(), 3, "{before:?}");
        let inside = attached(|inbox: &mut Inbox<()>| {
            let _ = process::send_after(ms(1), inbox.address(), ());
            message(inbox);
            let system =
                Supervisor::start_link([ChildSpec::worker("waits", wait)], Strategy::OneForOne).unwrap();
            let inside = task::spawn(dispositions).unwrap().join().unwrap();
            system.stop().unwrap();
            inside
        });
        assert_eq!([inside, dispositions()], [before.clone(), before]);
    });
}

/// Keeps its callers waiting, except those that only check whether it runs.
struct Keeps(Vec<Caller<()>>);

enum Ask {
    Hold(Caller<()>),
    Ping(Caller<()>),
}

impl GenServer for Keeps {
    type Args = ();
    type Call = Ask;
    type Cast = Infallible;

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self(Vec::new()))
    }
    fn handle_call(&mut self, ask: Ask, _: &mut Context<Self>) -> Next {
        match ask {
            Ask::Hold(from) => {
                self.0.push(from);
                Next::wait()
            }
            Ask::Ping(from) => from.reply(()),
        }
    }
}

const TICK: Duration = ms(20);

/// Reports the effects of a pause on everything that was due meanwhile.
fn stopped_program() {
    attached(|inbox: &mut Inbox<u32>| {
        let keeps: ServerRef<Keeps> = ServerRef::named("keeps");
        let spec = Keeps::child_spec(()).name(keeps.clone());
        let system = Supervisor::one_for_one().child(spec).start_link().expect("it starts");
        let ticks = Arc::new(AtomicU64::new(0));
        let (count, began) = (Arc::clone(&ticks), Instant::now());
        let ticker = process::spawn_receiver::<()>(move |inbox| {
            loop {
                let _ = process::send_after(TICK, inbox.address(), ());
                inbox.recv();
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        let call = task::spawn({
            let keeps = keeps.clone();
            move || keeps.call_timeout(ms(300), Ask::Hold)
        });
        let later = Instant::now() + ms(300);
        for n in (0..5).rev() {
            let _ = process::send_at(later + TICK * n, inbox.address(), n);
        }
        send_line("ready");
        (0..5).for_each(|_| send_line(&format!("timer {}", message(inbox))));
        let counted = ticks.load(Ordering::SeqCst);
        send_line(&format!("{counted} ticks in {} ms", began.elapsed().as_millis()));
        assert_eq!(inbox.recv_timeout(ms(50)), None, "each fires once");
        let outcome = call.expect("a free thread").join().expect("its outcome");
        assert!(matches!(outcome, Err(CallError::Timeout { .. })), "{outcome:?}");
        // It works as before: calls, restarts, new timers.
        let first = keeps.whereis();
        keeps.call(Ask::Ping).expect("it answers");
        let end = keeps.watch();
        process::exit(end.pid().expect("it is running"), ExitReason::Kill);
        end.wait();
        eventually("it is restarted", || keeps.whereis().is_some_and(|now| Some(now) != first));
        keeps.call(Ask::Ping).expect("it answers");
        let _ = process::send_after(ms(1), inbox.address(), 7);
        assert_eq!(message(inbox), 7);
        process::exit(ticker.expect("a free thread"), ExitReason::Kill);
        system.stop().expect("it stops");
        send_line("well");
    });
}

/// Returns `true` if Linux shows the program as stopped (state `T` in /proc).
fn is_stopped(program: u32) -> bool {
    let listed = Command::new("ps").args(["-o", "stat=", "-p", &program.to_string()]).output();
    match fs::read_to_string(format!("/proc/{program}/stat")) {
        Ok(stat) => stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')),
        Err(_) => listed.is_ok_and(|listed| listed.stdout.starts_with(b"T")),
    }
}

/// Stops the program when it is ready, for longer than its timers run, and continues it; returns the least
/// duration of the stop.
#[track_caller]
fn stop_for_a_while(program: &mut ChildProgram) -> Duration {
    assert_eq!(program.next_line().as_deref(), Some("ready"));
    program.signal("STOP");
    eventually("it is stopped", || is_stopped(program.id()));
    let stopped = Instant::now();
    process::sleep(ms(600)); // the passing of time is the point here
    let stopped = stopped.elapsed();
    program.signal("CONT");
    stopped
}

#[test]
fn timers_due_while_the_program_was_stopped_fire_once_in_order() {
    let Some(_) = child_command() else { return stopped_program() };
    // On a busy machine the stop may come after the timers have fired; then try again.
    for _ in 0..20 {
        let _watchdog = watchdog();
        let mut program = ChildProgram::start(child_command().unwrap());
        let stopped = stop_for_a_while(&mut program).as_millis();
        let (said, status) = program.wait();
        assert!(status.success(), "{status} {said:?}");
        assert_eq!(said[..5], ["timer 0", "timer 1", "timer 2", "timer 3", "timer 4"]);
        assert_eq!(said[6..], ["well"]);
        let numbers: Vec<u128> = said[5].split(' ').filter_map(|word| word.parse().ok()).collect();
        let &[ticks, lasted] = &numbers[..] else { panic!("{said:?}") };
        if lasted >= stopped {
            // Missed ticks are not made up for: at most one was due when it continued.
            assert!(ticks <= (lasted - stopped) / TICK.as_millis() + 2, "{said:?}, stopped for {stopped} ms");
            return;
        }
    }
    panic!("it was never stopped in time");
}
