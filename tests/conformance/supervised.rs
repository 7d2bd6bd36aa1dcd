//! The language of the supervisor scripts on rethread's public API: scripted servers in scripted
//! supervisors, a driver that settles after each step, and the canonical trace of events, in their real
//! order.

#[path = "supervised/board.rs"]
mod board;
#[path = "supervised/boss.rs"]
mod boss;
#[path = "supervised/clients.rs"]
mod clients;
#[path = "supervised/ops.rs"]
mod ops;
#[path = "supervised/script.rs"]
mod script;
#[path = "supervised/server.rs"]
mod server;
#[path = "supervised/tree.rs"]
mod tree;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rethread::ExitReason;
use rethread::gen_server::CallError;
use rethread::process::{self, Inbox};

use board::{Attempt, Board, Line, Role};
use server::Ask;

/// Runs a script and returns its trace.
pub(crate) fn trace(script: &str) -> String {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let prefix = format!("supervised.{}.", RUNS.fetch_add(1, Ordering::Relaxed));
    let run = process::attach_receiver(|inbox: &mut Inbox<()>| {
        // The driver is the parent of what `start` starts, and must survive its exit.
        process::trap_exit(true);
        let mut driver = Driver { inbox, board: Arc::new(Board::new(prefix)) };
        let steps = script::steps(script);
        let text: String = steps.enumerate().map(|(at, line)| driver.step(at + 1, line)).collect();
        driver.clean_up();
        text
    });
    run.expect("nothing ends the driver")
}

struct Driver<'a> {
    inbox: &'a mut Inbox<()>,
    board: Arc<Board>,
}

impl Driver<'_> {
    fn step(&mut self, number: usize, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let result = ops::operate(&self.board, &words);
        self.settle();
        let mut text = format!("{number} {line} -> {result}\n");
        for line in self.canonical(self.board.take_log()) {
            text.push_str(&format!("{number}   {line}\n"));
        }
        for (client, result) in self.board.clients.take_finished() {
            text.push_str(&format!("{number}   {client} <- {result}\n"));
        }
        text
    }

    /// Removes the exits of processes whose start failed, and sorts lines whose order is not guaranteed. A
    /// killed supervisor stops its children in no order: its exit comes first, the rest of the step is
    /// sorted. (Its children may have exited before it: it unwinds meanwhile.) The children of a dynamic
    /// supervisor exit all at once: each run of their exits is sorted.
    fn canonical(&self, mut log: Vec<Line>) -> Vec<Line> {
        let whose = |line: &Line| line.pid.and_then(|pid| self.board.entry(pid));
        log.retain(|line| line.verb != "dies" || whose(line).is_some_and(|entry| entry.up));
        let killed = |line: &Line| {
            let supervises = || whose(line).is_some_and(|entry| entry.role.supervises());
            line.verb == "dies" && line.text == "killed" && supervises()
        };
        if let Some(at) = log.iter().position(killed) {
            let first = log.remove(at);
            log.sort_by(|a, b| a.place().cmp(&b.place()));
            log.insert(0, first);
            return log;
        }
        let crew = |line: &Line| {
            let ends = matches!(line.verb, "terminates" | "dies");
            whose(line).and_then(|entry| entry.crew).filter(|_| ends)
        };
        let crews: Vec<Option<String>> = log.iter().map(crew).collect();
        let mut from = 0;
        for run in crews.chunk_by(|a, b| a == b) {
            let to = from + run.len();
            if run[0].is_some() {
                log[from..to].sort_by(|a, b| a.place().cmp(&b.place()));
            }
            from = to;
        }
        log
    }

    /// Pings all processes, and waits for the clients, until two whole rounds bring nothing new.
    fn settle(&mut self) {
        let mut known = None;
        let mut quiet = 0;
        while quiet < 2 {
            for entry in self.board.attempts() {
                if !entry.gone && !self.board.clients.holds(entry.pid) && !answers(&entry) {
                    self.board.mark_gone(entry.pid);
                }
            }
            self.board.clients.wait_until_idle();
            // The pings and the wait for the clients are the synchronisation. The pause only yields to threads that
            // these answers have made runnable, so that fewer rounds are needed.
            process::sleep(Duration::from_millis(1));
            while self.inbox.try_recv().is_some() {}
            let now = (self.board.extent(), self.board.clients.finished());
            quiet = if known == Some(now) { quiet + 1 } else { 0 };
            known = Some(now);
        }
    }

    fn clean_up(&self) {
        self.board.clients.end();
        loop {
            let attempts = self.board.attempts();
            let alive: Vec<&Attempt> = attempts.iter().filter(|entry| process::is_alive(entry.pid)).collect();
            if alive.is_empty() {
                return;
            }
            let watches: Vec<process::Watch> = alive.iter().map(|entry| process::watch(entry.pid)).collect();
            alive.iter().for_each(|entry| process::exit(entry.pid, ExitReason::Kill));
            watches.iter().for_each(|watch| drop(watch.wait()));
        }
    }
}

/// Waits until a process has handled everything sent to it so far; returns `false` if it has exited by
/// then, and all links and monitors have been notified.
fn answers(entry: &Attempt) -> bool {
    let answer = match &entry.role {
        Role::Server(server) => server.call_infinity(Ask::Ping),
        Role::Supervisor(Some(supervisor)) => supervisor.count_children().map(drop),
        // Its start failed, or is in progress: then its starter has not answered either.
        Role::Supervisor(None) if process::is_alive(entry.pid) => Ok(()),
        Role::Supervisor(None) => {
            drop(process::watch(entry.pid).wait());
            return false;
        }
    };
    match answer {
        Ok(()) => true,
        Err(CallError::NoProc { .. } | CallError::Exited { .. }) => false,
        Err(stuck) => panic!("{}#{} does not answer: {stuck}", entry.label, entry.attempt),
    }
}
