//! Helpers for all tests: a watchdog that dumps the processes and aborts, unique names, a journal of events
//! in order, and the log as data.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod child;
pub(crate) mod child_program;
pub(crate) mod scripted_process;
pub(crate) mod scripted_server;

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Once};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rethread::gen_server::{Context, GenServer, InitError, Next};
use rethread::process::{self, Event, Inbox};
use rethread::{ExitReason, Pid};
use std::convert::Infallible;

/// How long a test may run before it counts as hung.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Aborts the test program, with a list of all processes, unless it is dropped in time.
pub(crate) struct Watchdog(#[expect(dead_code, reason = "its drop is the signal")] Sender<()>);

impl Watchdog {
    /// Restarts the time limit.
    pub(crate) fn restart(&mut self) {
        *self = watchdog();
    }
}

/// Starts a watchdog over the calling test.
pub(crate) fn watchdog() -> Watchdog {
    let (alive, gone) = channel::<()>();
    let test = thread::current().name().unwrap_or("?").to_owned();
    let guard = move || {
        if gone.recv_timeout(LIMIT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let processes: Vec<String> = process::processes().iter().map(ToString::to_string).collect();
            let zombies: Vec<String> = process::zombies().iter().map(ToString::to_string).collect();
            let dump =
                [vec![format!("test {test} hangs; processes:")], processes, zombies].concat().join("\n    ");
            // Bypass the output capture of the harness: this must be visible.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{dump}\n").as_bytes());
            std::process::abort();
        }
    };
    thread::Builder::new().name("watchdog".into()).spawn(guard).expect("a thread for the watchdog");
    Watchdog(alive)
}

/// Runs a test as a process with a mailbox, under the watchdog.
#[track_caller]
pub(crate) fn attached<M: Send + 'static, T>(body: impl FnOnce(&mut Inbox<M>) -> T) -> T {
    let _watchdog = watchdog();
    match process::attach_receiver(body) {
        Ok(value) => value,
        Err(error) => panic!("the test's process ended: {error}"),
    }
}

/// Like `attached`, but for a body that ends with an exit; returns the exit reason.
#[track_caller]
pub(crate) fn exit_reason_of<M: Send + 'static, T>(body: impl FnOnce(&mut Inbox<M>) -> T) -> ExitReason {
    let _watchdog = watchdog();
    match process::attach_receiver(body) {
        Err(process::AttachError::Exited(reason)) => reason,
        Err(other) => panic!("the test's process did not start: {other}"),
        Ok(_) => panic!("the process of the test was to exit, and did not"),
    }
}

/// Returns a name that no other test, and no other call, uses; none is the beginning of another.
pub(crate) fn unique(stem: &str) -> &'static str {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    format!("{stem}.{:06}", COUNTER.fetch_add(1, Ordering::Relaxed)).leak()
}

/// Returns the next event, which must be a message.
#[track_caller]
pub(crate) fn message<M: Send + fmt::Debug + 'static>(inbox: &mut Inbox<M>) -> M {
    match inbox.recv() {
        Event::Message(message) => message,
        other => panic!("a message was due, not {other:?}"),
    }
}

/// Returns the next event, which must be a trapped exit.
#[track_caller]
pub(crate) fn exit_event<M: Send + fmt::Debug + 'static>(inbox: &mut Inbox<M>) -> (Pid, ExitReason) {
    match inbox.recv() {
        Event::Exit { from, reason } => (from, reason),
        other => panic!("an exit was due, not {other:?}"),
    }
}

/// Returns the next event, which must be a `Down`.
#[track_caller]
pub(crate) fn down<M: Send + fmt::Debug + 'static>(
    inbox: &mut Inbox<M>,
) -> (rethread::MonitorRef, ExitReason) {
    match inbox.recv() {
        Event::Down { monitor, reason, .. } => (monitor, reason),
        other => panic!("a down was due, not {other:?}"),
    }
}

/// A server that does nothing.
pub(crate) struct Idle;

impl GenServer for Idle {
    type Args = ();
    type Call = Infallible;
    type Cast = Infallible;

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self)
    }
    fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next {
        match call {}
    }
}

/// Starts a process that waits until it is ended.
#[track_caller]
pub(crate) fn sleeper() -> process::Address<()> {
    process::spawn_receiver(|inbox| {
        loop {
            inbox.recv();
        }
    })
    .expect("a free thread")
}

/// Polls for a condition that sends no notification.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the one place where a test polls")]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(30), "never came true: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Polls until nothing is left of something that sends no notification; the panic message lists what is
/// left.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "as above")]
pub(crate) fn eventually_none(what: &str, mut left: impl FnMut() -> Vec<String>) {
    let began = Instant::now();
    loop {
        let left = left();
        if left.is_empty() {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(50), "{what}: left are\n{}", left.join("\n"));
        thread::sleep(Duration::from_millis(1));
    }
}

/// A log of events in order, written by many threads.
#[derive(Clone, Default)]
pub(crate) struct Journal {
    inner: Arc<(Mutex<Vec<String>>, Condvar)>,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn note(&self, what: impl Into<String>) {
        self.inner.0.lock().push(what.into());
        self.inner.1.notify_all();
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.inner.0.lock().clone()
    }

    /// Waits until at least `count` events are noted, and returns all.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) -> Vec<String> {
        let mut notes = self.inner.0.lock();
        while notes.len() < count {
            let timed_out = self.inner.1.wait_for(&mut notes, Duration::from_secs(30)).timed_out();
            assert!(!timed_out, "only this happened: {notes:?}");
        }
        notes.clone()
    }

    pub(crate) fn clear(&self) {
        self.inner.0.lock().clear();
    }
}

/// A gate at which threads wait until it is opened, to control a test without sleeping.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    inner: Arc<(Mutex<bool>, Condvar)>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn open(&self) {
        *self.inner.0.lock() = true;
        self.inner.1.notify_all();
    }

    /// Blocks the thread in a way the runtime cannot interrupt.
    pub(crate) fn pass(&self) {
        let mut open = self.inner.0.lock();
        while !*open {
            self.inner.1.wait(&mut open);
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        *self.inner.0.lock()
    }
}

/// Returns everything logged since the calling thread first called `capture`, as `LEVEL text`; without such a call,
/// everything. Other tests of the program log, too.
pub(crate) fn logs() -> Vec<String> {
    install_recorder();
    RECORDS.lock()[FIRST_RECORD.get().unwrap_or(0)..].to_vec()
}

/// Starts to record the log; to be called first in a test that reads it.
pub(crate) fn capture() {
    install_recorder();
    if FIRST_RECORD.get().is_none() {
        FIRST_RECORD.set(Some(RECORDS.lock().len()));
    }
}

fn install_recorder() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Recorder).expect("no other logger in a test");
        log::set_max_level(log::LevelFilter::Debug);
    });
}

static RECORDS: Mutex<Vec<String>> = Mutex::new(Vec::new());

// Of the thread, which is that of the test: a long program logs so much that no test can copy it all in time.
thread_local!(static FIRST_RECORD: Cell<Option<usize>> = const { Cell::new(None) });

struct Recorder;

impl log::Log for Recorder {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        RECORDS.lock().push(format!("{} {}", record.level(), record.args()));
    }
    fn flush(&self) {}
}
