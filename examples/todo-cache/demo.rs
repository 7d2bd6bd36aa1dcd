//! The command `demo`: a scripted demonstration. It kills and crashes every kind of process while writers add
//! entries, and then compares the acknowledged entries with the stored ones.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use rethread::process::{self, Event, Inbox};
use rethread::{ExitReason, Pid};

use crate::text::one_line;
use crate::todo::client::Client;
use crate::todo::date::Date;
use crate::todo::error::TodoError;
use crate::todo::inject::{Fault, inject};
use crate::todo::list::{Entry, EntryId};
use crate::todo::name::{ListName, Title};
use crate::todo::shape::Shape;
use crate::todo::system::{Config, SYSTEM, System};
use crate::todo::tree;
use crate::{not_started, signal};

/// How many processes add entries while others are killed.
const WRITERS: usize = 4;

/// How many entries must be acknowledged before a process is killed.
const ENTRIES: usize = 100;

/// How long that may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the processes may take to exit, if the program is stopped by a signal.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum number of crashes until the system gives up. On a slow machine it takes more than four,
/// because the first is no longer counted when the fourth occurs.
const MAX_CRASHES: usize = 20;

/// The processes of the shape `linked`, which are shown before and after a fault.
const LINKED_PROCESSES: [&str; 6] =
    ["cache", "database", "db.worker.0", "db.worker.1", "db.worker.2", "list:bob"];

/// The processes of the shape `supervised-lists`, of which a fault affects one.
const SUPERVISED_PROCESSES: [&str; 6] =
    ["lists", "db.workers", "db.worker.0", "db.worker.1", "db.worker.2", "list:bob"];

type Failure = Box<dyn Error>;

/// Runs the demonstration. The status is a success only if every acknowledged entry was found. SIGTERM and SIGINT end the
/// program after it has removed its temporary folder.
pub(crate) fn run(dir: Option<PathBuf>) -> Result<ExitCode, Failure> {
    let received = Arc::new(AtomicI32::new(0));
    let mut temporary = None;
    let result = process::attach_receiver(|inbox| {
        exit_on_signal(&received)?;
        let dir = match dir {
            Some(dir) => dir,
            None => {
                let folder =
                    tempfile::tempdir().map_err(|error| format!("cannot create a folder: {error}"))?;
                temporary.insert(folder).path().join("persist")
            }
        };
        Demo::new(inbox, &dir).run_script()
    });
    // All processes are linked to that of the demonstration. After their exits no file is created any more.
    let watches: Vec<_> = tree::members().iter().map(|member| process::watch(member.pid)).collect();
    watches.iter().for_each(|watch| drop(watch.wait_timeout(EXIT_TIMEOUT)));
    drop(temporary);
    match received.load(Ordering::Relaxed) {
        0 => {
            let lost = result??;
            Ok(if lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        number => signal::exit_by(number),
    }
}

/// Kills the calling process at SIGTERM and SIGINT, and records the number of the signal.
fn exit_on_signal(received: &Arc<AtomicI32>) -> Result<(), Failure> {
    let (main, received) =
        (process::current().ok_or("the demonstration is not a process")?, Arc::clone(received));
    let exit = move |signal| {
        received.store(signal, Ordering::Relaxed);
        process::exit(main, ExitReason::Kill);
    };
    Ok(signal::on_termination(exit).map_err(|error| format!("cannot receive signals: {error}"))?)
}

/// The demonstration. The main thread runs it as a process that is linked to the system and traps exits.
struct Demo<'a> {
    inbox: &'a mut Inbox<Infallible>,
    dir: &'a Path,
    out: io::Stdout,
    client: Client,
    ledger: Arc<Ledger>,
    began: Instant,
}

impl<'a> Demo<'a> {
    fn new(inbox: &'a mut Inbox<Infallible>, dir: &'a Path) -> Self {
        process::trap_exit(true);
        let client = Client::new(Shape::Linked, None);
        Demo { inbox, dir, out: io::stdout(), client, ledger: Arc::default(), began: Instant::now() }
    }

    /// Runs the script. Returns the number of lost entries.
    fn run_script(mut self) -> Result<usize, Failure> {
        self.say("1. Start a to-do system: one supervisor, the cache, the database, three workers")?;
        let system = self.start(Shape::Linked)?;
        self.add("alice", "2026-11-22", "Shopping")?;
        self.add("bob", "2026-11-22", "Dentist")?;
        self.add("bob", "2026-11-23", "Dinner")?;
        self.show_tree()?;
        self.show_list("bob")?;

        self.say("2. Four writers add entries continuously. Kill a worker")?;
        let writers = self.start_writers()?;
        self.inject_fault("db.worker.1", Fault::Kill)?;
        self.say("3. Crash the database: a panic in one of its handlers")?;
        self.inject_fault("database", Fault::Crash)?;
        self.say("4. Kill the server of one list")?;
        self.inject_fault("list:bob", Fault::Kill)?;
        stop_writers(writers);

        self.say("5. Stop and restart the system: the data is on disk")?;
        self.stop(system)?;
        self.start(Shape::Linked)?;
        self.show_list("bob")?;

        self.say("6. Crash the cache")?;
        let writers = self.start_writers()?;
        self.inject_fault("cache", Fault::Crash)?;
        self.say(
            "7. Crash it again: three restarts in five seconds are allowed, the fourth is one too many",
        )?;
        self.crash_until_give_up()?;
        stop_writers(writers);

        self.say("8. Restart it, and compare the acknowledged entries with the stored ones")?;
        let system = self.start(Shape::Linked)?;
        let (acknowledged, found) = self.compare()?;
        self.stop(system)?;

        self.say("9. The same program, with every part supervised separately. Kill two of them")?;
        let system = self.start(Shape::SupervisedLists)?;
        self.show_list("bob")?;
        for name in ["db.worker.1", "list:bob"] {
            self.kill_one(name)?;
        }
        self.show_list("bob")?;
        self.stop(system)?;
        let seconds = self.began.elapsed().as_secs_f64();
        let lost = acknowledged - found;
        writeln!(self.out, "\nThe demo took {seconds:.1} s.")?;
        writeln!(self.out, "acknowledged {acknowledged}, found {found}, lost {lost}")?;
        Ok(lost)
    }

    fn say(&mut self, what: &str) -> io::Result<()> {
        writeln!(self.out, "\n{what}.")
    }

    fn start(&mut self, shape: Shape) -> Result<System, Failure> {
        let began = Instant::now();
        let config = Config { shape, ..Config::new(self.dir) };
        self.client = config.client();
        let system = System::start_link(config).map_err(|error| not_started(&error))?;
        writeln!(
            self.out,
            "   started in {} ms, data in {}",
            began.elapsed().as_millis(),
            self.dir.display()
        )?;
        Ok(system)
    }

    fn stop(&mut self, system: System) -> Result<(), Failure> {
        system.stop()?;
        let reason = self.exit_of(system.root);
        writeln!(self.out, "   stopped: {reason}")?;
        Ok(())
    }

    /// Waits for the exit signal of a process linked to this one.
    fn exit_of(&mut self, pid: Pid) -> ExitReason {
        loop {
            match self.inbox.recv() {
                Event::Exit { from, reason } if from == pid => return reason,
                _ => {}
            }
        }
    }

    fn add(&mut self, list: &str, date: &str, title: &str) -> Result<(), Failure> {
        let list = list.parse()?;
        let entry = self.client.add(&list, date.parse()?, &title.parse()?)?;
        writeln!(self.out, "   added {list} {} {} {}", entry.id, entry.date, entry.title)?;
        self.ledger.acknowledge(list, entry);
        Ok(())
    }

    fn show_tree(&mut self) -> io::Result<()> {
        tree::lines().iter().try_for_each(|line| writeln!(self.out, "   {line}"))
    }

    fn show_list(&mut self, list: &str) -> Result<(), Failure> {
        let list: ListName = list.parse()?;
        for entry in self.client.entries(&list, None)? {
            writeln!(self.out, "   {list} has {} {} {}", entry.id, entry.date, entry.title)?;
        }
        Ok(())
    }

    /// Kills a process, and shows that no other was restarted.
    fn kill_one(&mut self, name: &str) -> Result<(), Failure> {
        let before = SUPERVISED_PROCESSES.map(process::whereis);
        let outcome = inject(name, Fault::Kill)?;
        self.client.entries(&"bob".parse()?, None)?; // a list server is started on demand
        let after = SUPERVISED_PROCESSES.map(process::whereis);
        let new: Vec<&str> = (0..SUPERVISED_PROCESSES.len())
            .filter(|n| before[*n] != after[*n])
            .map(|n| SUPERVISED_PROCESSES[n])
            .collect();
        writeln!(self.out, "   {name} {} exited: {}; new: {}", outcome.pid, outcome.reason, new.join(", "))?;
        if new == [name] { Ok(()) } else { Err(format!("{name} should be the only new process").into()) }
    }

    /// Injects a fault, and shows the new processes and that the entries are unchanged.
    fn inject_fault(&mut self, name: &str, fault: Fault) -> Result<(), Failure> {
        self.client.entries(&"bob".parse()?, None)?; // so that its server runs
        let before = LINKED_PROCESSES.map(process::whereis);
        let counts_before = self.ledger.counts();
        self.wait_for_writes()?;
        let began = Instant::now();
        let outcome = inject(name, fault)?;
        let recovery_time = began.elapsed();
        if let Some(reason) = outcome.gave_up {
            return Err(format!("the system gave up too early: {reason}").into());
        }
        writeln!(
            self.out,
            "   {name} {} exited: {}; recovered after {} ms",
            outcome.pid,
            one_line(&outcome.reason.to_string()),
            recovery_time.as_millis()
        )?;
        self.show_list("bob")?;
        for (name, before) in LINKED_PROCESSES.into_iter().zip(before) {
            let now = process::whereis(name);
            let show = |pid: Option<Pid>| pid.map_or("none".to_owned(), |pid| pid.to_string());
            writeln!(self.out, "   {name:<11} was {:<5} and is {}", show(before), show(now))?;
            if now.is_none() || now == before {
                return Err(format!("{name} was not restarted").into());
            }
        }
        let [acknowledged, unanswered, refused] = self.ledger.since(counts_before);
        writeln!(
            self.out,
            "   {acknowledged} entries were acknowledged, {unanswered} requests got no reply, \
             {refused} were refused"
        )?;
        Ok(())
    }

    /// Waits until some more entries were acknowledged.
    fn wait_for_writes(&self) -> Result<(), Failure> {
        let before = self.ledger.counts();
        let began = Instant::now();
        while self.ledger.since(before)[0] < ENTRIES {
            if began.elapsed() > WRITE_TIMEOUT {
                return Err("the writers get no replies".into());
            }
            process::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn crash_until_give_up(&mut self) -> Result<(), Failure> {
        let system = SYSTEM.whereis().ok_or("the system is not running")?;
        let mut gave_up = false;
        for _ in 0..MAX_CRASHES {
            let outcome = inject("cache", Fault::Crash)?;
            let successor = process::whereis("cache").map(|pid| format!("; restarted as {pid}"));
            writeln!(self.out, "   cache {} crashed{}", outcome.pid, successor.unwrap_or_default())?;
            gave_up = outcome.gave_up.is_some();
            if gave_up {
                break;
            }
        }
        if !gave_up {
            return Err(format!("the system did not give up after {MAX_CRASHES} crashes").into());
        }
        let reason = self.exit_of(system);
        writeln!(
            self.out,
            "   the supervisor {system} gave up; main is linked to it and gets its exit signal: {reason}"
        )?;
        if reason != ExitReason::Shutdown {
            return Err(format!("the system exited with {reason}, not with shutdown").into());
        }
        Ok(())
    }

    /// Starts the writers, which add entries until they are stopped, each to a list of its own.
    fn start_writers(&self) -> Result<Vec<Pid>, Failure> {
        // Titles are unique even if the folder has the entries of an earlier demonstration.
        let run = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos();
        let date: Date = "2026-11-22".parse()?;
        (1..=WRITERS)
            .map(|writer| {
                let list: ListName = format!("writer {writer}").parse()?;
                let ledger = Arc::clone(&self.ledger);
                let client = self.client;
                let write = move || {
                    for number in 1_u64.. {
                        let Ok(title) = Title::from_str(&format!("entry {number} of run {run}")) else {
                            return;
                        };
                        ledger.record(&list, client.add(&list, date, &title));
                    }
                };
                Ok(process::Builder::new().label("writer").spawn(write)?)
            })
            .collect()
    }

    /// Counts the acknowledged entries, and those of them that are stored unchanged.
    fn compare(&mut self) -> Result<(usize, usize), Failure> {
        let mut stored = BTreeMap::new();
        for list in self.client.lists()? {
            for entry in self.client.entries(&list, None)? {
                stored.insert((list.clone(), entry.id), entry);
            }
        }
        let mut titles: Vec<(&ListName, &Title)> = stored
            .iter()
            .filter(|((list, _), _)| list.as_str().starts_with("writer "))
            .map(|((list, _), entry)| (list, &entry.title))
            .collect();
        let all = titles.len();
        titles.sort();
        titles.dedup();
        if titles.len() < all {
            return Err(format!("{} entries are stored twice", all - titles.len()).into());
        }
        let acknowledged = self.ledger.acknowledged.lock();
        let found = acknowledged.iter().filter(|(key, entry)| stored.get(key) == Some(entry)).count();
        Ok((acknowledged.len(), found))
    }
}

/// Stops the writers, wherever they are, and waits for their exits.
fn stop_writers(writers: Vec<Pid>) {
    let watches: Vec<_> = writers.iter().map(process::watch).collect();
    writers.iter().for_each(|writer| process::exit(writer, ExitReason::Shutdown));
    watches.iter().for_each(|watch| drop(watch.wait()));
}

/// The outcomes of all requests to add an entry.
#[derive(Default)]
struct Ledger {
    acknowledged: Mutex<BTreeMap<(ListName, EntryId), Entry>>,
    /// How many requests were acknowledged, not answered, and refused.
    counts: [AtomicUsize; 3],
}

impl Ledger {
    fn acknowledge(&self, list: ListName, entry: Entry) {
        self.acknowledged.lock().insert((list, entry.id), entry);
        self.counts[0].fetch_add(1, Ordering::Relaxed);
    }

    fn record(&self, list: &ListName, result: Result<Entry, TodoError>) {
        match result {
            Ok(entry) => self.acknowledge(list.clone(), entry),
            Err(TodoError::Unanswered(_)) => drop(self.counts[1].fetch_add(1, Ordering::Relaxed)),
            Err(_) => drop(self.counts[2].fetch_add(1, Ordering::Relaxed)),
        }
    }

    fn counts(&self) -> [usize; 3] {
        self.counts.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// Returns the growth of the counts since `before`.
    fn since(&self, before: [usize; 3]) -> [usize; 3] {
        let now = self.counts();
        std::array::from_fn(|n| now[n] - before[n])
    }
}
