//! Checks for leaks over a million processes. Each load is run a little to warm up, then twice: growth in
//! the second run is a leak. Prints the figures and fails on growth. Resident memory also depends on how
//! much was in use at once, and that on the machine: a run that ends with more is repeated, since a leak
//! grows every time, while a peak is reached some time.
//!
//! ```text
//! cargo bench --bench leaks               a hundredth of everything, some seconds
//! cargo bench --bench leaks -- full       1,000,000 processes, 100,000 restarts, ..: some minutes
//! ```
//!
//! The figures are available on Linux; elsewhere only the library's own tables are checked.

use std::fmt;
use std::fs;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rethread::prelude::*;
use rethread::supervisor::RestartBackoff;

/// The tolerated growth of resident memory after the second run: the variation of the allocator.
const MOODS_KB: i64 = 1024;

/// The most repetitions of a load that ends with more memory every time.
const MOST_RUNS: usize = 5;

/// The number of idle threads that may be there or not.
const SPARE: i64 = 2;

/// How long to wait for the program to become idle.
const REST: Duration = Duration::from_secs(20);

/// The resources of the program at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    processes: usize,
    zombies: usize,
    threads: i64,
    files: i64,
    resident_kb: i64,
}

impl Held {
    fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()).and_then(|n| n.parse().ok()).unwrap_or(0)
        };
        Self {
            processes: process::processes().len(),
            zombies: process::zombies().len(),
            threads: field("Threads:"),
            files: fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as i64),
            resident_kb: field("VmRSS:"),
        }
    }

    /// Waits until there are no more threads and files than before, up to `REST`. (An idle thread that
    /// writes its name has a file open for a moment.)
    fn at_rest(threads: i64, files: i64) -> Self {
        let began = Instant::now();
        loop {
            let held = Self::now();
            if held.threads <= threads && held.files <= files && held.zombies == 0 || began.elapsed() > REST {
                return held;
            }
            process::sleep(Duration::from_millis(20));
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processes, zombies, threads, files, resident_kb } = self;
        write!(f, "{processes:>9} | {zombies:>7} | {threads:>7} | {files:>5} | {resident_kb:>11}")
    }
}

struct Server {
    held: Vec<Caller<u64>>,
}

enum Ask {
    Echo(u64, Caller<u64>),
    Never(Caller<u64>),
    Crash(#[expect(dead_code, reason = "the crash answers")] Caller<u64>),
}

impl GenServer for Server {
    type Args = ();
    type Call = Ask;
    type Cast = Infallible;

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self { held: Vec::new() })
    }

    fn handle_call(&mut self, ask: Ask, _: &mut Context<Self>) -> Next {
        match ask {
            Ask::Echo(n, from) => from.reply(n),
            Ask::Never(from) => {
                // Answered, much too late, by one of the next calls.
                self.held.push(from);
                if self.held.len() > 16 {
                    self.held.drain(..).for_each(|from| from.reply_now(0));
                }
                Next::wait()
            }
            Ask::Crash(_) => panic!("on request"),
        }
    }
}

/// Starts and ends processes, some with a name, a link, a monitor, unread messages.
fn lives(times: u64, inbox: &mut Inbox<u64>) {
    for n in 0..times {
        if n % 64 == 0 {
            drain(inbox);
        }
        let mut builder = process::Builder::new();
        if n % 8 == 0 {
            builder = builder.name(format!("leaks {n}"));
        }
        let child = builder.spawn_receiver::<Vec<u8>>(|inbox| drop(inbox.recv_timeout(Duration::ZERO)));
        let child = child.expect("a thread");
        child.send(vec![0; 64]);
        match n % 4 {
            0 => drop(process::link(&child)),
            1 => drop(process::monitor(&child)),
            _ => {}
        }
        process::watch(&child).wait();
    }
    assert_eq!(process::whereis("leaks 0"), None);
}

/// Removes the `Exit` and `Down` events.
fn drain(inbox: &mut Inbox<u64>) {
    while inbox.recv_timeout(Duration::ZERO).is_some() {}
}

/// Runs a server that crashes and is restarted.
fn restarts(times: u64) {
    const CRASHER: ServerRef<Server> = ServerRef::named("leaks.crasher");
    let plan = Supervisor::one_for_one().max_restarts(u32::MAX, Duration::from_millis(1));
    let system = plan.child(Server::child_spec(()).name(CRASHER)).start_link().expect("it starts");
    for _ in 0..times {
        assert!(CRASHER.call(Ask::Crash).is_err());
        while CRASHER.call(|from| Ask::Echo(1, from)).is_err() {
            CRASHER.whereis_timeout(Duration::from_secs(10)).expect("it is started again");
        }
    }
    system.stop().expect("it stops");
}

/// Like [`restarts`], but each restart is delayed by a backoff, and every other delay is cancelled.
fn delayed_restarts(times: u64) {
    const CRASHER: ServerRef<Server> = ServerRef::named("leaks.delayed crasher");
    let delay = Duration::from_micros(20);
    let backoff = RestartBackoff::new(delay, delay).reset_after(Duration::ZERO);
    let plan =
        Supervisor::one_for_one().max_restarts(0, Duration::from_secs(1)).child_restart_backoff(backoff);
    let system =
        plan.child(Server::child_spec(()).name(CRASHER).id("crasher")).start_link().expect("it starts");
    for n in 0..times {
        assert!(CRASHER.call(Ask::Crash).is_err());
        if n % 2 == 0 {
            // Running again or not: from now on it is stopped.
            system.terminate_child("crasher").expect("it is terminated");
            system.restart_child("crasher").expect("it starts");
        } else {
            while CRASHER.call(|from| Ask::Echo(1, from)).is_err() {
                CRASHER.whereis_timeout(Duration::from_secs(10)).expect("it is started again");
            }
        }
    }
    system.stop().expect("it stops");
}

/// Makes calls whose reply comes too late, or never.
fn late_answers(times: u64) {
    let server = Server::start(()).expect("it starts");
    // One may come just in time: the one that has all of them answered.
    let late =
        (0..times).filter(|_| server.call_timeout(Duration::from_nanos(1), Ask::Never).is_err()).count();
    assert!(late as u64 > times / 2, "{late} of {times}");
    server.stop().expect("it stops");
}

/// Sets timers, and cancels every other one.
fn timers(times: u64, inbox: &mut Inbox<u64>) {
    let me = inbox.address();
    let mut due = 0;
    for n in 0..times {
        let timer = process::send_after(Duration::from_micros(n % 500), &me, n);
        if n % 2 == 0 && process::cancel_timer(timer).is_some() {
            continue;
        }
        due += 1;
    }
    while due > 0 {
        if let Event::Message(_) = inbox.recv() {
            due -= 1;
        }
    }
}

/// Creates uninterruptible threads: declared zombies, and released later.
fn zombies(times: u64) {
    const AT_ONCE: u64 = 32;
    for _ in 0..times.div_ceil(AT_ONCE) {
        let (ready, begun): (Sender<()>, Receiver<()>) = channel();
        let (release, gate): (Sender<()>, Receiver<()>) = channel();
        let gate = Arc::new(Mutex::new(gate));
        let stuck: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let (ready, gate) = (ready.clone(), Arc::clone(&gate));
                let builder = process::Builder::new().kill_grace(Duration::from_millis(1));
                let body = move || {
                    let _ = ready.send(());
                    let _ = gate.lock().recv();
                };
                builder.spawn(body).expect("a thread")
            })
            .collect();
        begun.iter().take(AT_ONCE as usize).for_each(drop);
        let watches: Vec<_> = stuck.iter().map(process::watch).collect();
        stuck.iter().for_each(|one| process::exit(one, ExitReason::Kill));
        watches.iter().for_each(|watch| drop(watch.wait()));
        drop(release);
        while !process::zombies().is_empty() {
            process::sleep(Duration::from_micros(200));
        }
    }
}

#[expect(clippy::print_stdout, reason = "it is a program that prints figures")]
fn main() -> ExitCode {
    let full = std::env::args().any(|arg| arg == "full");
    let share = if full { 1 } else { 100 };
    // Crash reports are of no interest here.
    std::panic::set_hook(Box::new(|_| {}));
    let (max_zombies, spare_threads) = (1_000, SPARE as usize);
    process::configure(|settings| {
        settings.max_zombies = max_zombies;
        settings.max_idle_threads = spare_threads;
    });
    let done = process::attach_receiver(move |inbox: &mut Inbox<u64>| {
        process::trap_exit(true);
        let mut grown = Vec::new();
        lives(1, inbox); // it starts the threads that the library keeps
        let least = Held::now();
        println!("{:<40} | processes | zombies | threads | files | resident KB | time", "after");
        let mut load = |name: &str, times: u64, run: &dyn Fn(u64, &mut Inbox<u64>)| {
            let times = times / share;
            run(times / 10, inbox);
            let threads = Held::at_rest(least.threads + SPARE, least.files).threads;
            let mut measured = || {
                let began = Instant::now();
                run(times, inbox);
                let took = began.elapsed();
                drain(inbox);
                (Held::at_rest(threads + SPARE, least.files), took)
            };
            let (first, _) = measured();
            println!("{:<40} | {first} |", format!("{times} {name}"));
            let (mut last, mut most) = (first, first.resident_kb);
            for _ in 1..MOST_RUNS {
                let (next, took) = measured();
                println!("{:<40} | {next} | {took:.1?}", "    and once more");
                (last, most) = (next, most.max(last.resident_kb));
                if last.resident_kb - most <= MOODS_KB {
                    break;
                }
            }
            let things = last.processes > least.processes || last.zombies > 0 || last.files > least.files;
            let more = last.resident_kb - most > MOODS_KB || last.threads > first.threads + SPARE;
            if things || more {
                grown.push(name.to_owned());
            }
        };
        load("processes that began and ended", 1_000_000, &|n, inbox| lives(n, inbox));
        load("crashes and restarts", 100_000, &|n, _| restarts(n));
        load("crashes and delayed restarts", 100_000, &|n, _| delayed_restarts(n));
        load("calls that timed out", 1_000_000, &|n, _| late_answers(n));
        load("timers, half of them cancelled", 100_000, &|n, inbox| timers(n, inbox));
        load("zombies made and reaped", 10_000, &|n, _| zombies(n));
        grown
    });
    match done {
        Ok(grown) if grown.is_empty() => {
            println!("nothing has leaked");
            ExitCode::SUCCESS
        }
        Ok(grown) => {
            println!("GROWN by: {}", grown.join(", "));
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("the program ended early: {error}");
            ExitCode::FAILURE
        }
    }
}
