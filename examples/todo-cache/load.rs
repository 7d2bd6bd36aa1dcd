//! The command `load`: runs many clients, optionally while processes are killed, and then checks that every
//! acknowledged entry is stored exactly once. The result is the exit status.

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use rethread::process;
use rethread::task::{self, Task};
use serde_json::Value;

use crate::net::{Connection, Reply, authority};
use crate::text::clip;

/// The number of lists.
const LISTS: u64 = 1000;
/// One request of this number adds an entry; the others read.
const WRITES: u64 = 5;
/// The pause of a client after a request without an answer, such as one to a server that has exited.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// The options of the command.
#[derive(Debug, Clone)]
pub(crate) struct LoadConfig {
    pub(crate) url: String,
    pub(crate) clients: u32,
    pub(crate) duration: Duration,
    /// The interval between two kills, if processes are killed.
    pub(crate) kill_every: Option<Duration>,
    pub(crate) seed: u64,
}

/// Puts load on a running server. The status is a success if every acknowledged entry is stored once, every request was
/// answered, and some of each kind were not refused. A server may refuse the others: it is there to be overloaded.
pub(crate) fn run(config: LoadConfig) -> Result<ExitCode, Box<dyn Error>> {
    let server = authority(&config.url)?;
    let reply = Connection::open(&server).and_then(|mut one| one.request("GET", "/api/tree", &[]));
    let reply = reply.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => format!("cannot use {}: {error}", config.url),
        _ => format!("there is no server at {}: {error}", config.url),
    })?;
    let tree: Value = serde_json::from_str(&reply.body).unwrap_or_default();
    match reply.status {
        200 if tree["tree"].is_array() => {}
        200 => return Err(format!("{} is not a todo-cache server", config.url).into()),
        status => {
            return Err(
                format!("the server at {} answers {status}: {}", config.url, clip(&reply.body, 200)).into()
            );
        }
    }
    if config.kill_every.is_some() && tree["allow_kill"] != true {
        return Err("the server does not allow to kill: start it with --allow-kill".into());
    }
    // Start the clients and the killer, show the progress, then stop them all.
    let stats = Arc::new(LoadStats::new());
    let clients: Result<Vec<_>, _> = (0..config.clients)
        .map(|number| {
            let (stats, server, seed) = (Arc::clone(&stats), server.clone(), config.seed);
            task::spawn(move || Client::new(number, seed, &server, &stats).work())
        })
        .collect();
    let clients = clients?;
    let killer = config.kill_every.map(|every| {
        let (stats, server) = (Arc::clone(&stats), server.clone());
        let duration = config.duration;
        task::spawn(move || kill(&server, every, duration, &stats))
    });
    show_progress(&config, &stats);
    stats.stopped.store(true, Ordering::Relaxed);
    let mut times = Histogram::<u64>::new(3)?;
    for client in clients {
        times.add(client.join()?)?;
    }
    let kills = killer.transpose()?.map(Task::join).transpose()?.unwrap_or(0);
    let audit = audit_acknowledged(&stats.acknowledged.lock(), &server)?;
    report(&config, &stats, &times, kills, &audit)
}

/// The counts of all clients.
struct LoadStats {
    began: Instant,
    stopped: AtomicBool,
    answered: AtomicU64,
    refused: AtomicU64,
    unanswered: AtomicU64,
    /// The entries that were sent, acknowledged or not.
    writes: AtomicU64,
    /// The acknowledged entries: list and title.
    acknowledged: Mutex<Vec<(String, String)>>,
    run: u128,
}

impl LoadStats {
    fn new() -> Self {
        let run = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        Self {
            began: Instant::now(),
            stopped: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            acknowledged: Mutex::default(),
            run,
        }
    }

    fn counts(&self) -> [u64; 3] {
        [&self.answered, &self.refused, &self.unanswered].map(|count| count.load(Ordering::Relaxed))
    }
}

/// A deterministic pseudorandom number generator.
struct Rng(u64);

impl Rng {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// A client, which sends one request after the other.
struct Client<'a> {
    number: u32,
    server: &'a str,
    stats: &'a LoadStats,
    rng: Rng,
    connection: Option<Connection>,
}

impl<'a> Client<'a> {
    fn new(number: u32, seed: u64, server: &'a str, stats: &'a LoadStats) -> Self {
        let rng = Rng(seed.wrapping_mul(1_000_003).wrapping_add(u64::from(number)));
        Self { number, server, stats, rng, connection: None }
    }

    /// Sends requests until the clients are stopped. Returns the response times in microseconds.
    fn work(mut self) -> Histogram<u64> {
        let mut times = Histogram::<u64>::new(3).unwrap_or_else(|_| unreachable!("three digits are allowed"));
        for number in 0_u64.. {
            if self.stats.stopped.load(Ordering::Relaxed) {
                break;
            }
            let list = format!("list {}", self.rng.below(LISTS));
            let date = format!("2026-12-{:02}", 1 + self.rng.below(31));
            let began = Instant::now();
            let answer = if self.rng.below(WRITES) == 0 {
                let title = format!("{} of client {} in run {}", number, self.number, self.stats.run);
                self.stats.writes.fetch_add(1, Ordering::Relaxed);
                let query = [("list", list.as_str()), ("date", &date), ("title", &title)];
                let answer = self.request("POST", "/add_entry", &query);
                if answer.as_ref().is_ok_and(|reply| reply.status == 200) {
                    self.stats.acknowledged.lock().push((list, title));
                }
                answer
            } else {
                self.request("GET", "/entries", &[("list", &list), ("date", &date)])
            };
            let count = match &answer {
                Ok(Reply { status: 200, .. }) => &self.stats.answered,
                Ok(_) => &self.stats.refused,
                Err(_) => &self.stats.unanswered,
            };
            count.fetch_add(1, Ordering::Relaxed);
            if answer.is_err() {
                process::sleep(ERROR_PAUSE);
            }
            // The histogram resizes itself, so no value is out of range.
            let _ = times.record(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
        times
    }

    fn request(&mut self, method: &str, path: &str, query: &[(&str, &str)]) -> io::Result<Reply> {
        let kept = self.connection.take();
        let is_kept = kept.is_some();
        let mut connection = kept.map_or_else(|| Connection::open(self.server), Ok)?;
        let mut result = connection.request(method, path, query);
        // A server may close a connection between two requests. A read is repeated then; a change must not be.
        if result.is_err() && is_kept && method == "GET" {
            connection = Connection::open(self.server)?;
            result = connection.request(method, path, query);
        }
        let reply = result?;
        self.connection = (!reply.closes).then_some(connection);
        Ok(reply)
    }
}

/// Kills a random process of the system at each interval, except the top supervisor, the web server and the
/// chaos test.
fn kill(server: &str, every: Duration, duration: Duration, stats: &LoadStats) -> u64 {
    let mut rng = Rng(stats.run as u64);
    let mut kills = 0;
    while !stats.stopped.load(Ordering::Relaxed) {
        let remaining = duration.saturating_sub(stats.began.elapsed());
        process::sleep(every.min(remaining));
        if remaining <= every {
            break;
        }
        let Ok(mut connection) = Connection::open(server) else { continue };
        let Ok(reply) = connection.request("GET", "/api/tree", &[]) else { continue };
        let tree: Value = serde_json::from_str(&reply.body).unwrap_or_default();
        let names = tree["tree"].as_array().into_iter().flatten().filter_map(|row| row["name"].as_str());
        let is_target =
            |name: &&str| *name != "system" && !name.starts_with("web") && !name.starts_with("chaos");
        let names: Vec<&str> = names.filter(is_target).collect();
        if names.is_empty() {
            continue;
        }
        // Half of the kills hit one of the few processes that all lists depend on: there are far more list
        // servers.
        let few: Vec<&str> = names.iter().copied().filter(|name| !name.starts_with("list:")).collect();
        let among = if rng.below(2) == 0 && !few.is_empty() { &few } else { &names };
        let victim = among[rng.below(among.len() as u64) as usize];
        kills += u64::from(
            connection.request("POST", "/kill", &[("name", victim)]).is_ok_and(|r| r.status == 200),
        );
    }
    kills
}

/// Prints the progress each second, until the duration is over. The load goes on if it cannot be printed.
fn show_progress(config: &LoadConfig, stats: &LoadStats) {
    let mut out = io::stderr();
    let end = if out.is_terminal() { '\r' } else { '\n' };
    let mut before = 0;
    while stats.began.elapsed() < config.duration {
        process::sleep(Duration::from_secs(1).min(config.duration.saturating_sub(stats.began.elapsed())));
        let [answered, refused, unanswered] = stats.counts();
        let _ = write!(
            out,
            "{:>4} s of {}   {:>7} requests/s   refused {refused}   unanswered {unanswered}   acknowledged {}{end}",
            stats.began.elapsed().as_secs(),
            config.duration.as_secs(),
            answered - before,
            stats.acknowledged.lock().len()
        );
        let _ = out.flush();
        before = answered;
    }
    if end == '\r' {
        let _ = writeln!(out);
    }
}

/// The outcome for the acknowledged entries.
#[derive(Debug, Default)]
struct Audit {
    acknowledged: usize,
    found: usize,
    lost: usize,
    duplicated: usize,
}

/// Looks for each acknowledged entry in its list.
fn audit_acknowledged(acknowledged: &[(String, String)], server: &str) -> Result<Audit, Box<dyn Error>> {
    let mut lists: HashMap<&str, Vec<&str>> = HashMap::new();
    for (list, title) in acknowledged {
        lists.entry(list).or_default().push(title);
    }
    let mut audit = Audit { acknowledged: acknowledged.len(), ..Audit::default() };
    for (list, titles) in lists {
        let stored = entries(server, list)?;
        let mut times: HashMap<&str, u32> = HashMap::new();
        for title in stored.as_array().into_iter().flatten().filter_map(|entry| entry["title"].as_str()) {
            *times.entry(title).or_default() += 1;
        }
        for title in titles {
            match times.get(title) {
                None => audit.lost += 1,
                Some(1) => audit.found += 1,
                Some(_) => audit.duplicated += 1,
            }
        }
    }
    Ok(audit)
}

/// Reads a list, with retries: the server may be recovering from a kill.
fn entries(server: &str, list: &str) -> Result<Value, Box<dyn Error>> {
    let mut last = String::new();
    for _ in 0..20 {
        match Connection::open(server)
            .and_then(|mut one| one.request("GET", "/entries.json", &[("list", list)]))
        {
            Ok(Reply { status: 200, body, .. }) => return Ok(serde_json::from_str(&body)?),
            Ok(Reply { status, body, .. }) => last = format!("{status} {}", clip(&body, 200)),
            Err(error) => last = error.to_string(),
        }
        process::sleep(Duration::from_millis(100));
    }
    Err(format!("the list {list:?} cannot be read: {last}").into())
}

/// Prints the counts. Returns the verdict.
fn report(
    config: &LoadConfig,
    stats: &LoadStats,
    times: &Histogram<u64>,
    kills: u64,
    audit: &Audit,
) -> Result<ExitCode, Box<dyn Error>> {
    let [answered, refused, unanswered] = stats.counts();
    let requests = answered + refused + unanswered;
    let at = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
    let Audit { acknowledged, found, lost, duplicated } = audit;
    let text = format!(
        "{} clients, {} s: {requests} requests, {:.0} a second; {kills} kills\n\
         an answer took {:.2} ms (50 %), {:.2} ms (90 %), {:.2} ms (99 %), {:.2} ms (99.9 %), {:.2} ms at most\n\
         answered {answered}, refused {refused}, unanswered {unanswered}\n\
         acknowledged {acknowledged}, found {found}, lost {lost}, duplicated {duplicated}\n",
        config.clients,
        config.duration.as_secs(),
        requests as f64 / config.duration.as_secs_f64(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        times.max() as f64 / 1000.0
    );
    // The verdict does not depend on whether anything reads the report.
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    let faults = faults(stats.counts(), stats.writes.load(Ordering::Relaxed), audit);
    if faults.is_empty() {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(format!("the run failed: {}", faults.join("; ")).into())
    }
}

/// Returns what is wrong with a run: nothing, if it is a success.
fn faults([answered, refused, unanswered]: [u64; 3], writes: u64, audit: &Audit) -> Vec<String> {
    let all = [
        (audit.lost > 0, format!("{} acknowledged entries are lost", audit.lost)),
        (
            audit.duplicated > 0,
            format!("{} acknowledged entries are stored more than once", audit.duplicated),
        ),
        (unanswered > 0, format!("{unanswered} requests were not answered")),
        (answered == 0, format!("no request succeeded, {refused} were refused")),
        // Without an acknowledged entry nothing was checked.
        (
            answered > 0 && writes > 0 && audit.acknowledged == 0,
            format!("none of {writes} new entries was acknowledged"),
        ),
    ];
    all.into_iter().filter(|(is_fault, _)| *is_fault).map(|(_, text)| text).collect()
}
