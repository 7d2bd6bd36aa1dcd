//! The language of the process scripts on rethread's public API: one scripted process per label, a driver
//! that settles after each step, and the canonical trace of the observed events.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rethread::process::{self, Address, Event, Inbox, MonitorTarget, Name};
use rethread::{ExitReason, MonitorRef, Pid};

/// A request to a scripted process.
#[derive(Debug)]
enum Request {
    Ping,
    Do(Vec<String>),
    Message { from: String, text: String },
}

/// A message to the driver.
#[derive(Debug)]
enum ToDriver {
    Pong,
    Result(String),
    New(String, Address<Request>),
    Event(String, String),
    /// From a timer of the driver itself.
    Tick,
}

/// The state shared by all processes of one script.
#[derive(Default)]
struct Board {
    labels: Mutex<HashMap<Pid, String>>,
    processes: Mutex<BTreeMap<String, (Address<Request>, bool)>>,
    monitors: Mutex<HashMap<String, MonitorRef>>,
    prefix: String,
}

impl Board {
    fn label(&self, pid: Pid) -> String {
        self.labels.lock().get(&pid).cloned().unwrap_or_else(|| "?".into())
    }

    fn address(&self, label: &str) -> Result<Address<Request>, String> {
        let found = self.processes.lock().get(label).map(|(address, _)| address.clone());
        found.ok_or_else(|| format!("skipped(no such process {label})"))
    }

    /// Returns a unique name. Names are global and scripts run side by side, so each script has its own
    /// prefix.
    fn name(&self, name: &str) -> &'static str {
        format!("{}{name}", self.prefix).leak()
    }

    fn alive(&self) -> Vec<String> {
        let all = self.processes.lock();
        all.iter().filter(|(_, (_, alive))| *alive).map(|(label, _)| label.clone()).collect()
    }
}

/// Runs a script and returns its trace.
pub(crate) fn trace(script: &str) -> String {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let prefix = format!("conformance.{}.", RUNS.fetch_add(1, Ordering::Relaxed));
    let board = Arc::new(Board { prefix, ..Board::default() });
    let lines = script
        .lines()
        .map(|line| line.split('#').next().unwrap_or("").trim())
        .filter(|line| !line.is_empty());
    let run = process::attach_receiver(|inbox: &mut Inbox<ToDriver>| {
        let mut driver = Driver { inbox, board, received: Vec::new() };
        let text: String = lines.enumerate().map(|(at, line)| driver.step(at + 1, line)).collect();
        driver.clean_up();
        text
    });
    run.expect("nothing ends the driver")
}

struct Driver<'a> {
    inbox: &'a mut Inbox<ToDriver>,
    board: Arc<Board>,
    received: Vec<(String, String)>,
}

impl Driver<'_> {
    fn step(&mut self, number: usize, line: &str) -> String {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let before = self.board.alive();
        let result = self.operate(&words);
        self.settle();
        let now = self.board.alive();
        let exited = |label: &String| before.contains(label) && !now.contains(label);
        let result = if words.get(1).is_some_and(exited) { "-".to_owned() } else { result };
        let mut text = format!("{number} {line} -> {result}\n");
        let mut labels = [before.clone(), now.clone()].concat();
        labels.sort();
        labels.dedup();
        let received = std::mem::take(&mut self.received);
        for label in labels {
            let events =
                received.iter().filter(|(source, _)| *source == label).map(|(_, event)| event.clone());
            // Events that a process received in the same step in which it exited are a race: keep only the
            // exit.
            let events = events.filter(|event| !exited(&label) || event.starts_with("dies ")).collect();
            for event in canonical(events) {
                text.push_str(&format!("{number}   {label} {event}\n"));
            }
        }
        text
    }

    fn operate(&mut self, words: &[String]) -> String {
        let [op, rest @ ..] = words else { return "bad line".into() };
        match (op.as_str(), rest) {
            ("spawn", [label]) => {
                let address = spawn_scripted(&self.board, &self.inbox.address());
                self.enlist(label.clone(), address);
                "ok".into()
            }
            ("sleep", [ms]) => {
                process::sleep(Duration::from_millis(ms.parse().expect("a number")));
                "ok".into()
            }
            (_, [actor, args @ ..]) => {
                let found = self.board.processes.lock().get(actor).cloned();
                match found {
                    Some((address, true)) => {
                        let words = std::iter::once(op).chain(args).cloned().collect();
                        address.send(Request::Do(words));
                        self.await_result(&address)
                    }
                    Some((_, false)) => "skipped(actor dead)".into(),
                    None => "skipped(no such actor)".into(),
                }
            }
            _ => "bad line".into(),
        }
    }

    fn await_result(&mut self, actor: &Address<Request>) -> String {
        loop {
            let actor = actor.pid();
            let event = self.inbox.recv_where(|event| match event {
                Event::Message(ToDriver::Result(_) | ToDriver::New(..)) => true,
                Event::Down { target, .. } => *target == MonitorTarget::Pid(actor),
                _ => false,
            });
            match event {
                Event::Message(ToDriver::Result(result)) => return result,
                Event::Message(ToDriver::New(label, address)) => self.enlist(label, address),
                Event::Down { reason, .. } => {
                    self.note_exit(actor, &reason);
                    return "-".into();
                }
                _ => {}
            }
        }
    }

    fn enlist(&mut self, label: String, address: Address<Request>) {
        let _ = process::monitor(&address);
        self.board.labels.lock().insert(address.pid(), label.clone());
        self.board.processes.lock().insert(label, (address, true));
    }

    fn note_exit(&mut self, pid: Pid, reason: &ExitReason) {
        let label = self.board.label(pid);
        if let Some(entry) = self.board.processes.lock().get_mut(&label) {
            if entry.0.pid() == pid && std::mem::replace(&mut entry.1, false) {
                self.received.push((label, format!("dies {}", text(reason))));
            }
        }
    }

    /// Pings all processes until three rounds in a row bring nothing new.
    fn settle(&mut self) {
        let mut quiet = 0;
        while quiet < 3 {
            let known = self.received.len();
            for label in self.board.alive() {
                // Its exit may have been received while another process was awaited.
                let found = self.board.processes.lock().get(&label).filter(|(_, alive)| *alive).cloned();
                if let Some((address, _)) = found {
                    address.send(Request::Ping);
                    self.await_pong(address.pid());
                }
            }
            self.await_tick();
            quiet = if self.received.len() == known { quiet + 1 } else { 0 };
        }
    }

    /// Waits for a timer of the driver itself. Timers fire one after the other in the order of their deadlines, so
    /// the messages of all timers of the script that were due have been sent by then.
    fn await_tick(&mut self) {
        let _ = process::send_after(Duration::from_millis(1), self.inbox.address(), ToDriver::Tick);
        loop {
            match self.inbox.recv() {
                Event::Message(ToDriver::Tick) => return,
                other => self.note(other),
            }
        }
    }

    fn await_pong(&mut self, from: Pid) {
        loop {
            match self.inbox.recv() {
                Event::Message(ToDriver::Pong) => return,
                Event::Down { target: MonitorTarget::Pid(pid), reason, .. } if pid == from => {
                    return self.note_exit(pid, &reason);
                }
                other => self.note(other),
            }
        }
    }

    fn note(&mut self, event: Event<ToDriver>) {
        match event {
            Event::Message(ToDriver::Event(label, event)) => self.received.push((label, event)),
            Event::Down { target: MonitorTarget::Pid(pid), reason, .. } => self.note_exit(pid, &reason),
            _ => {}
        }
    }

    fn clean_up(&mut self) {
        for label in self.board.alive() {
            if let Ok(address) = self.board.address(&label) {
                let watch = process::watch(&address);
                process::exit(&address, ExitReason::Kill);
                watch.wait();
            }
        }
    }
}

/// Sorts each run of exits and downs, which have no guaranteed order among themselves.
fn canonical(events: Vec<String>) -> Vec<String> {
    let is_signal = |event: &String| event.starts_with("EXIT ") || event.starts_with("DOWN ");
    let mut ordered: Vec<String> = Vec::new();
    let mut run: Vec<String> = Vec::new();
    for event in events {
        if is_signal(&event) {
            run.push(event);
        } else {
            run.sort();
            ordered.append(&mut run);
            ordered.push(event);
        }
    }
    run.sort();
    ordered.append(&mut run);
    ordered
}

fn spawn_scripted(board: &Arc<Board>, driver: &Address<ToDriver>) -> Address<Request> {
    process::spawn_receiver(scripted(board, driver)).expect("a free thread")
}

fn scripted(
    board: &Arc<Board>,
    driver: &Address<ToDriver>,
) -> impl FnOnce(&mut Inbox<Request>) + Send + 'static {
    let actor = Actor { board: Arc::clone(board), driver: driver.clone() };
    move |inbox| actor.live(inbox)
}

struct Actor {
    board: Arc<Board>,
    driver: Address<ToDriver>,
}

impl Actor {
    fn live(&self, inbox: &mut Inbox<Request>) {
        let me = inbox.pid();
        loop {
            match inbox.recv() {
                Event::Message(Request::Ping) => self.driver.send(ToDriver::Pong),
                Event::Message(Request::Do(words)) => {
                    let words: Vec<&str> = words.iter().map(String::as_str).collect();
                    let result = self.perform(me, &words).unwrap_or_else(|refused| refused);
                    self.driver.send(ToDriver::Result(result));
                }
                Event::Message(Request::Message { from, text }) => {
                    self.report(me, format!("gets {text} from {from}"))
                }
                Event::Exit { from, reason } => {
                    self.report(me, format!("EXIT {} {}", self.board.label(from), text(&reason)));
                }
                Event::Down { monitor, target, reason } => {
                    let monitors = self.board.monitors.lock();
                    let label =
                        monitors.iter().find(|(_, known)| **known == monitor).map(|(label, _)| label.clone());
                    drop(monitors);
                    let target = match target {
                        MonitorTarget::Pid(pid) => self.board.label(pid),
                        MonitorTarget::Name(name) => {
                            format!("name:{}", name.trim_start_matches(&self.board.prefix))
                        }
                        other => other.to_string(),
                    };
                    self.report(
                        me,
                        format!("DOWN {} {target} {}", label.unwrap_or("?".into()), text(&reason)),
                    );
                }
                event => panic!("unexpected event: {event:?}"),
            }
        }
    }

    fn report(&self, me: Pid, event: String) {
        self.driver.send(ToDriver::Event(self.board.label(me), event));
    }

    fn perform(&self, me: Pid, words: &[&str]) -> Result<String, String> {
        let ok = || Ok("ok".to_owned());
        let flag = |value: bool| Ok(value.to_string());
        let badarg = |_: process::NameError| "error badarg".to_owned();
        let pid = |label: &str| self.board.address(label).map(|address| address.pid());
        let say = |to: &str, text: &str| -> Result<(), String> {
            let from = self.board.label(me);
            self.board.address(to)?.send(Request::Message { from, text: text.to_owned() });
            Ok(())
        };
        let remember = |label: &str, monitor: MonitorRef| {
            self.board.monitors.lock().insert(label.to_owned(), monitor);
        };
        match words {
            ["spawn", child] => self.enlist(child, spawn_scripted(&self.board, &self.driver)),
            ["spawn_link", child] => {
                let body = scripted(&self.board, &self.driver);
                self.enlist(child, process::spawn_receiver_link(body).map_err(|error| error.to_string())?)
            }
            ["spawn_monitor", child, label] => {
                let body = scripted(&self.board, &self.driver);
                let (address, monitor) =
                    process::spawn_receiver_monitor(body).map_err(|error| error.to_string())?;
                remember(label, monitor);
                self.enlist(child, address)
            }
            ["link", other] => match process::link(pid(other)?) {
                Ok(()) => flag(true),
                Err(error) => Err(if error == process::LinkError::NoProc {
                    "error noproc".to_owned()
                } else {
                    error.to_string()
                }),
            },
            ["unlink", other] => {
                process::unlink(pid(other)?);
                flag(true)
            }
            ["monitor", other, label] => {
                remember(label, process::monitor(pid(other)?));
                ok()
            }
            ["monitor_name", name, label] => {
                remember(label, process::monitor_name(self.board.name(name)));
                ok()
            }
            ["demonitor", label] | ["demonitor_flush", label] => {
                let found = self.board.monitors.lock().get(*label).copied();
                let monitor = found.ok_or_else(|| format!("skipped(no such monitor {label})"))?;
                if words[0] == "demonitor" {
                    process::demonitor(monitor);
                } else {
                    process::demonitor_flush(monitor);
                }
                flag(true)
            }
            ["trap", on] => flag(process::trap_exit(*on == "true")),
            ["exit", other, reason] => {
                process::exit(pid(other)?, parse(reason));
                flag(true)
            }
            ["crash", reason] => std::panic::panic_any((*reason).to_owned()),
            ["stop", reason] => process::exit_with(parse(reason)),
            ["lastwords", other, text, reason] => {
                say(other, text)?;
                process::exit_with(parse(reason))
            }
            ["register", name] => {
                process::register(self.board.name(name), me).map_err(badarg)?;
                flag(true)
            }
            ["register_other", other, name] => {
                process::register(self.board.name(name), pid(other)?).map_err(badarg)?;
                flag(true)
            }
            ["unregister", name] => {
                process::unregister(self.board.name(name)).map_err(badarg)?;
                flag(true)
            }
            ["whereis", name] => {
                let found = process::whereis(self.board.name(name));
                Ok(found.map_or("undefined".to_owned(), |pid| self.board.label(pid)))
            }
            ["send", other, text] => {
                say(other, text)?;
                ok()
            }
            ["send_name", name, text] => {
                let message = Request::Message { from: self.board.label(me), text: (*text).to_owned() };
                match Name::new(self.board.name(name)).send(message) {
                    Ok(()) => ok(),
                    Err(_) => Err("error badarg".to_owned()),
                }
            }
            ["burst", other, count] => {
                for number in 1..=count.parse::<u32>().map_err(|error| error.to_string())? {
                    say(other, &number.to_string())?;
                }
                ok()
            }
            ["send_exit_send", other, first, reason, second] => {
                say(other, first)?;
                process::exit(pid(other)?, parse(reason));
                say(other, second)?;
                ok()
            }
            ["exit_then_alive", other, reason] => {
                let other = pid(other)?;
                process::exit(other, parse(reason));
                flag(process::is_alive(other))
            }
            ["exit_then_monitor", other, reason, label] => {
                let other = pid(other)?;
                process::exit(other, parse(reason));
                remember(label, process::monitor(other));
                ok()
            }
            ["alive", other] => flag(process::is_alive(pid(other)?)),
            ["links"] => Ok(self.labels(process::info(me).map(|info| info.links))),
            ["monitored_by"] => Ok(self.labels(process::info(me).map(|info| info.monitored_by))),
            ["timer", other, ms, text] => {
                let message = Request::Message { from: self.board.label(me), text: (*text).to_owned() };
                let delay = Duration::from_millis(ms.parse().map_err(|_| "error badarg".to_owned())?);
                let _ = process::send_after(delay, &self.board.address(other)?, message);
                ok()
            }
            other => Err(format!("bad op {other:?}")),
        }
    }

    fn enlist(&self, child: &str, address: Address<Request>) -> Result<String, String> {
        self.driver.send(ToDriver::New(child.to_owned(), address));
        Ok("ok".to_owned())
    }

    /// Returns the sorted labels of the scripted processes among the pids.
    fn labels(&self, pids: Option<Vec<Pid>>) -> String {
        let known = self.board.labels.lock();
        let mut labels: Vec<&str> =
            pids.iter().flatten().filter_map(|pid| known.get(pid)).map(String::as_str).collect();
        labels.sort_unstable();
        format!("[{}]", labels.join(","))
    }
}

pub(crate) fn parse(reason: &str) -> ExitReason {
    let detail = reason.strip_prefix("shutdown(").and_then(|rest| rest.strip_suffix(')'));
    match (reason, detail) {
        (_, Some(detail)) => ExitReason::shutdown_with(detail.to_owned()),
        ("normal", _) => ExitReason::Normal,
        ("shutdown", _) => ExitReason::Shutdown,
        ("kill", _) => ExitReason::Kill,
        ("killed", _) => ExitReason::Killed,
        ("noproc", _) => ExitReason::NoProc,
        _ => ExitReason::new(reason.to_owned()),
    }
}

pub(crate) fn text(reason: &ExitReason) -> String {
    match reason {
        ExitReason::Panic(report) => format!("error({})", report.message()),
        other => other.to_string(),
    }
}
