//! A to-do system to copy from: a crash of any process loses no entry that was acknowledged.
//!
//! ```text
//! todo             application: its supervisor, with all below, is started and stopped as one
//! +- workers       partition supervisor of three workers, which read and write the files
//! +- lists         dynamic supervisor of one server for each list in use
//! ```
//!
//! A client finds the server of a list in a registry, and starts it if it is not running. The server has the
//! list in memory. A change is first written to the file by a worker, then applied in memory, then
//! acknowledged.
//!
//! Without arguments it runs a session in which processes are killed; with `shell [FOLDER]` it executes the lines
//! of the standard input until `quit`, SIGTERM or SIGINT. `examples/todo-cache` is larger: it has an embedded
//! database, a web server and fault injection.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs, thread};

use rethread::StartError;
use rethread::application::{Application, ApplicationExit, ApplicationRef};
use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::registry::Registry;
use rethread::supervisor::{DynamicSupervisor, DynamicSupervisorRef, PartitionRef, PartitionSupervisor};

use store::Entry;

/// Any error, for callers that only report it.
type Failure = Box<dyn Error + Send + Sync>;

/// The lists on disk, one text file each. This module uses no processes.
mod store {
    use std::fs::{self, File};
    use std::io::{self, Write};
    use std::path::Path;

    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Entry {
        pub(crate) title: String,
        pub(crate) done: bool,
    }

    /// Returns `true` if the name can be part of a path, in which some systems ignore case.
    pub(crate) fn is_list_name(name: &str) -> bool {
        (1..=32).contains(&name.len()) && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'))
    }

    /// Returns the line of an entry, in the file and for users.
    pub(crate) fn line(Entry { title, done }: &Entry) -> String {
        format!("[{}] {title}", if *done { 'x' } else { ' ' })
    }

    fn parse(line: &str) -> io::Result<Entry> {
        let (done, title) = match line.split_at_checked(4) {
            Some(("[ ] ", title)) => (false, title),
            Some(("[x] ", title)) => (true, title),
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, format!("not an entry: {line:?}"))),
        };
        Ok(Entry { title: title.to_owned(), done })
    }

    /// Reads a list; returns an empty one if it was never written.
    pub(crate) fn read(dir: &Path, list: &str) -> io::Result<Vec<Entry>> {
        match fs::read_to_string(dir.join(list).with_extension("txt")) {
            Ok(text) => text.lines().map(parse).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Replaces a list. `Ok` means that it is on disk; otherwise the file has the old content or the new.
    pub(crate) fn write(dir: &Path, list: &str, entries: &[Entry]) -> io::Result<()> {
        let path = dir.join(list);
        let draft = path.with_extension("draft");
        let text: String = entries.iter().map(|entry| line(entry) + "\n").collect();
        let mut file = File::create(&draft)?;
        file.write_all(text.as_bytes())?;
        // The content must be on disk before the rename: it replaces the old file.
        file.sync_all()?;
        fs::rename(&draft, path.with_extension("txt"))?;
        // The rename is durable once the folder is synced. Windows cannot sync folders.
        if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
    }
}

/// The workers. All requests for a list go to the same one, so its writes never overlap, and a read sees all
/// earlier writes, even if the server that sent them has been killed.
const WORKERS: PartitionRef<Worker> = PartitionRef::named("workers");

/// How many files are read or written at the same time.
const WORKER_COUNT: usize = 3;

/// How long a request waits for a worker that is being restarted.
const RESTART_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the successor of a killed worker waits for its thread: two threads must not write the same file.
const REAP_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads and writes files, so that no list server does.
struct Worker {
    dir: Arc<Path>,
}

enum WorkerCall {
    Read(String, Caller<io::Result<Vec<Entry>>>),
    Write(String, Vec<Entry>, Caller<io::Result<()>>),
}

impl GenServer for Worker {
    type Args = Arc<Path>;
    type Call = WorkerCall;
    type Cast = Infallible;

    fn init(dir: Arc<Path>, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Worker { dir })
    }

    fn handle_call(&mut self, call: WorkerCall, _: &mut Context<Self>) -> Next {
        // An I/O error is the caller's to handle: a restart of the worker would not repair a full disk.
        match call {
            WorkerCall::Read(list, from) => from.reply(store::read(&self.dir, &list)),
            WorkerCall::Write(list, entries, from) => from.reply(store::write(&self.dir, &list, &entries)),
        }
    }
}

/// Sends a request to the worker of a list.
fn call_worker<T: Send + 'static>(
    list: &str,
    request: impl FnOnce(Caller<io::Result<T>>) -> WorkerCall,
) -> Result<T, Failure> {
    let worker = WORKERS.for_key(list);
    // A worker that has crashed has a successor within milliseconds.
    worker.whereis_timeout(RESTART_TIMEOUT);
    Ok(worker.call(request)??)
}

/// The supervisor of the list servers.
const LISTS: DynamicSupervisorRef = DynamicSupervisorRef::named("lists");

/// The list servers by the names of their lists: a list may have the name of any other process.
static LIST_SERVERS: Registry<String> = Registry::new();

/// How long a list stays in memory without a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a client sends a request that no server has received.
const MAX_ATTEMPTS: u32 = 3;

/// A server with one list in memory, which is the same as on disk.
struct TodoList {
    name: String,
    entries: Vec<Entry>,
}

/// The reply to a change: the number of the entry.
type Changed = Result<usize, Failure>;

enum ListCall {
    Add(String, Caller<Changed>),
    Done(usize, Caller<Changed>),
    Entries(Caller<Vec<Entry>>),
}

impl GenServer for TodoList {
    type Args = String;
    type Call = ListCall;
    type Cast = Infallible;

    /// Returns at once, because the supervisor waits for it. `handle_continue` runs before any request.
    fn init(name: String, cx: &mut Context<Self>) -> Result<Self, InitError> {
        cx.after_init(Next::wait().and_continue());
        Ok(TodoList { name, entries: Vec::new() })
    }

    fn handle_continue(&mut self, _: &mut Context<Self>) -> Next {
        let list = self.name.clone();
        match call_worker(&self.name, |from| WorkerCall::Read(list, from)) {
            Ok(entries) => {
                self.entries = entries;
                Next::wait().timeout(IDLE_TIMEOUT)
            }
            // The waiting callers get this reason. The next request starts a new server, which tries again.
            Err(error) => Next::stop(ExitReason::from(error)),
        }
    }

    fn handle_call(&mut self, call: ListCall, _: &mut Context<Self>) -> Next {
        // The change is made in a copy, which replaces the list when it is on disk.
        let mut entries = self.entries.clone();
        match call {
            ListCall::Add(title, from) => {
                entries.push(Entry { title, done: false });
                let number = entries.len();
                self.commit(entries, number, from)
            }
            ListCall::Done(number, from) => {
                let Some(entry) = number.checked_sub(1).and_then(|n| entries.get_mut(n)) else {
                    let error = format!("{} has no entry {number}", self.name);
                    return from.reply(Err(error.into())).timeout(IDLE_TIMEOUT);
                };
                entry.done = true;
                self.commit(entries, number, from)
            }
            ListCall::Entries(from) => from.reply(entries).timeout(IDLE_TIMEOUT),
        }
    }

    fn handle_info(&mut self, info: Info, _: &mut Context<Self>) -> Next {
        match info {
            // No request for a while: free the memory. A supervisor does not restart a temporary child.
            Info::Timeout => Next::stop(ExitReason::Normal),
            _ => Next::wait().timeout(IDLE_TIMEOUT),
        }
    }
}

impl TodoList {
    /// Writes the changed list, then replaces the one in memory, then replies.
    fn commit(&mut self, entries: Vec<Entry>, number: usize, from: Caller<Changed>) -> Next {
        let (list, copy) = (self.name.clone(), entries.clone());
        match call_worker(&self.name, |from| WorkerCall::Write(list, copy, from)) {
            Ok(()) => {
                self.entries = entries;
                from.reply(Ok(number)).timeout(IDLE_TIMEOUT)
            }
            // It is unknown whether the file has been replaced: read it before the next request.
            Err(error) => from.reply(Err(error)).and_continue(),
        }
    }
}

/// Returns the server of a list; starts it if it is not running.
fn open(list: &str) -> Result<ServerRef<TodoList>, Failure> {
    if !store::is_list_name(list) {
        return Err(
            format!("the name of a list has 1 to 32 small letters and digits, unlike {list:?}").into()
        );
    }
    let server = LIST_SERVERS.server(list.to_owned());
    if server.whereis().is_none() {
        let spec = TodoList::child_spec(list.to_owned()).name(server.clone()).restart(Restart::Temporary);
        match LISTS.start_child(spec) {
            // Another client may have started it in the meantime.
            Ok(_) | Err(StartError::AlreadyStarted(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(server)
}

/// Sends a request to the server of a list. It is sent again only if no server has received it: after other
/// errors a change may be on disk, and the caller reads the list to find out.
fn request<T: Send + 'static>(list: &str, call: impl Fn(Caller<T>) -> ListCall) -> Result<T, Failure> {
    for _ in 1..MAX_ATTEMPTS {
        match open(list)?.call(&call) {
            // The server has exited after it was found, or it has stopped before it received the request.
            Err(CallError::NoProc { .. } | CallError::Exited { reason: ExitReason::Normal, .. }) => {}
            result => return Ok(result?),
        }
    }
    Ok(open(list)?.call(&call)?)
}

/// Adds an entry. `Ok` means that it is on disk, and has the number of the entry.
fn add(list: &str, title: &str) -> Changed {
    if title.is_empty() || title.contains(char::is_control) {
        return Err("a title is not empty and has no control characters".into());
    }
    request(list, |from| ListCall::Add(title.to_owned(), from))?
}

/// Marks an entry as done.
fn done(list: &str, number: usize) -> Changed {
    request(list, |from| ListCall::Done(number, from))?
}

/// Returns the lines of a list.
fn lines(list: &str) -> Result<Vec<String>, Failure> {
    let entries = request(list, ListCall::Entries)?;
    Ok(entries.iter().zip(1..).map(|(entry, number)| format!("{number} {}", store::line(entry))).collect())
}

/// Starts the system, with its data in a folder that no other program uses.
fn start(dir: PathBuf) -> Result<ApplicationRef, Failure> {
    fs::create_dir_all(&dir)?;
    let dir: Arc<Path> = dir.into();
    let workers = move |_| Worker::child_spec(Arc::clone(&dir)).reap_timeout(REAP_TIMEOUT);
    // A list server depends on the workers, not the other way round: they are started first and stopped last.
    let top = Supervisor::rest_for_one()
        .child(PartitionSupervisor::child_spec(WORKERS, workers).partitions(WORKER_COUNT))
        .child(DynamicSupervisor::child_spec().name(LISTS));
    Ok(Application::new("todo", top).start()?)
}

/// Stops the application on SIGTERM and SIGINT. A thread waits for them, because very little is allowed in a
/// signal handler.
#[cfg(unix)]
fn stop_on_signal(app: &ApplicationRef) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])?;
    let app = app.clone();
    let forward = move || signals.forever().for_each(|_| app.request_stop());
    thread::Builder::new().name("signals".into()).spawn(forward).map(drop)
}

/// Executes a line of the shell.
fn execute(line: &str) -> Result<String, Failure> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["add", list, _, ..] => Ok(format!("added {}", add(list, &words[2..].join(" "))?)),
        ["done", list, number] => Ok(format!("done {}", done(list, number.parse()?)?)),
        ["list", list] => {
            let lines = lines(list)?;
            Ok(if lines.is_empty() { format!("{list} has no entries") } else { lines.join("\n") })
        }
        _ => Err("the commands are: add LIST TITLE, done LIST NUMBER, list LIST, quit".into()),
    }
}

/// Executes the lines of the standard input. The result is the exit status of the program.
fn shell(dir: PathBuf) -> Result<ApplicationExit, Failure> {
    // Crash reports on stderr, filtered by RUST_LOG.
    #[cfg(feature = "env_logger")]
    rethread::logger::init();
    let app = start(dir)?;
    #[cfg(unix)]
    stop_on_signal(&app)?;
    // A blocked read cannot be interrupted, so another thread reads.
    let stop = app.clone();
    let read = move || {
        for line in io::stdin().lines().map_while(Result::ok).take_while(|line| line != "quit") {
            let answer = execute(&line).unwrap_or_else(|error| format!("error: {error}"));
            if writeln!(io::stdout(), "{answer}").is_err() {
                break; // the reader of the output has gone
            }
        }
        stop.request_stop();
    };
    thread::Builder::new().name("shell".into()).spawn(read)?;
    Ok(app.wait())
}

fn print(list: &str) -> Result<(), Failure> {
    lines(list)?.iter().for_each(|line| println!("{list} {line}"));
    Ok(())
}

/// Kills a process and waits until it has exited.
fn kill(what: &str, pid: Option<Pid>) -> Result<(), Failure> {
    let pid = pid.ok_or_else(|| format!("{what} is not running"))?;
    let watch = process::watch(pid);
    process::exit(pid, ExitReason::Kill);
    println!("{what} exited: {}", watch.wait());
    Ok(())
}

/// Shows that entries survive: kills a list server and a worker, then stops and restarts the system.
fn session(dir: &Path) -> Result<ApplicationExit, Failure> {
    let app = start(dir.to_owned())?;
    add("home", "buy milk")?;
    add("home", "call the dentist")?;
    add("work", "write the report")?;
    print("home")?;

    kill("the server of home", open("home")?.whereis())?;
    done("home", 1)?;
    print("home")?;

    kill("the worker of home", WORKERS.for_key("home").whereis())?;
    add("home", "feed the cat")?;
    print("home")?;
    app.stop()?;
    println!("the system has stopped");

    let app = start(dir.to_owned())?;
    print("home")?;
    print("work")?;
    app.stop()?;
    Ok(app.wait())
}

fn main() -> Result<ApplicationExit, Failure> {
    match env::args().nth(1).as_deref() {
        None => {
            let dir = env::temp_dir().join(format!("rethread-todo-{}", std::process::id()));
            let result = session(&dir);
            fs::remove_dir_all(&dir)?;
            result
        }
        Some("shell") => shell(env::args().nth(2).unwrap_or("lists".into()).into()),
        Some(_) => Err("usage: todo [shell [FOLDER]]".into()),
    }
}
