//! A hundred processes call, register, unregister, dispatch and exit concurrently: no registration is lost,
//! no unique key ever has two running holders, and nothing is left in the end.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::child_program::in_child_program;
use crate::support::{eventually, watchdog};
use parking_lot::Mutex;
use rethread::StartError;
use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::process::{self, Builder, Inbox, NameError, Watch};
use rethread::registry::{DuplicateRegistry, Registry, RegistryEvent};

const WORKERS: usize = 100;
/// Keys that workers hold, and after them keys of servers.
const KEYS: Range<usize> = 0..8;
const SERVERS: Range<usize> = 8..12;

/// A key whose token shows when the last copy of it is dropped.
#[derive(Clone, Debug)]
struct Key(usize, #[expect(dead_code, reason = "it is counted")] Arc<()>);

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// Counters of each kind of event: the test runs until all of them happened often.
#[derive(Default, Debug)]
struct Tally {
    registered: AtomicUsize,
    taken: AtomicUsize,
    taken_over: AtomicUsize,
    given_up: AtomicUsize,
    seen: AtomicUsize,
    joined: AtomicUsize,
    left: AtomicUsize,
    dispatched: AtomicUsize,
    answered: AtomicUsize,
    unanswered: AtomicUsize,
    panicked: AtomicUsize,
    exited: AtomicUsize,
    returned: AtomicUsize,
    killed: AtomicUsize,
}

impl Tally {
    fn least(&self) -> usize {
        let Self { registered, taken, taken_over, given_up, seen, joined, left, dispatched, .. } = self;
        let Self { answered, unanswered, panicked, exited, returned, killed, .. } = self;
        let often = [registered, taken, given_up, seen, joined, left, dispatched, answered];
        let seldom = [taken_over, unanswered, panicked, exited, returned, killed];
        let often = often.map(|count| count.load(Ordering::SeqCst) / 20);
        let seldom = seldom.map(|count| count.load(Ordering::SeqCst));
        often.into_iter().chain(seldom).min().unwrap_or_default()
    }
}

fn count(it: &AtomicUsize) {
    it.fetch_add(1, Ordering::SeqCst);
}

/// The state shared by all of them.
struct Arena {
    token: Arc<()>,
    unique: Registry<Key, u64>,
    many: DuplicateRegistry<Key, u64>,
    /// The noted holder of each key: set when it has it, cleared before it gives it up, not cleared on an
    /// exit.
    occupant: [Mutex<Option<Pid>>; KEYS.end],
    numbers: AtomicU64,
    tally: Tally,
    /// The violations found by workers.
    wrong: Mutex<Vec<String>>,
}

impl Arena {
    fn key(&self, n: usize) -> Key {
        Key(n, Arc::clone(&self.token))
    }

    /// Notes a violation, unless the process is exiting: then others may already have replaced it.
    fn check(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && !process::exit_requested() {
            self.wrong.lock().push(what());
        }
    }
}

/// Answers with its own key.
struct Echo(usize);

impl GenServer for Echo {
    type Args = usize;
    type Call = Caller<(usize, Pid)>;
    type Cast = Infallible;

    fn init(key: usize, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self(key))
    }
    fn handle_call(&mut self, from: Self::Call, cx: &mut Context<Self>) -> Next {
        from.reply((self.0, cx.pid()))
    }
}

/// Counts, for each process and key, registrations minus their ends.
#[derive(Default)]
struct Book {
    open: HashMap<(usize, Pid), i64>,
    events: usize,
}

struct Received(RegistryEvent<Key, u64>);

impl From<RegistryEvent<Key, u64>> for Received {
    fn from(event: RegistryEvent<Key, u64>) -> Self {
        Self(event)
    }
}

impl GenServer for Book {
    type Args = ();
    type Call = Caller<(usize, Vec<(usize, Pid, i64)>)>;
    type Cast = Received;

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self::default())
    }
    fn handle_call(&mut self, from: Self::Call, _: &mut Context<Self>) -> Next {
        let open = self.open.iter().map(|(&(key, pid), &count)| (key, pid, count)).collect();
        from.reply((self.events, open))
    }
    fn handle_cast(&mut self, Received(event): Received, _: &mut Context<Self>) -> Next {
        self.events += 1;
        let (key, pid) = (event.key().0, event.pid());
        let count = self.open.entry((key, pid)).or_default();
        *count += if matches!(event, RegistryEvent::Register { .. }) { 1 } else { -1 };
        match *count {
            0 => drop(self.open.remove(&(key, pid))),
            1.. => {}
            _ => return Next::stop("an end came before its beginning"),
        }
        Next::wait()
    }
}

/// One incarnation of a worker.
struct Life {
    arena: Arc<Arena>,
    me: Pid,
    random: u64,
    held: Vec<usize>,
    joined: Vec<(usize, u64)>,
}

impl Life {
    fn random(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % below as u64) as usize
    }

    fn step(&mut self) {
        let arena = Arc::clone(&self.arena);
        let n = self.random(KEYS.end);
        match self.random(100) {
            0..20 => self.registers(&arena, n),
            20..32 => self.gives_up(&arena, n),
            32..48 => self.looks(&arena),
            48..62 => self.joins(&arena, n),
            62..74 => self.leaves(&arena, n),
            74..86 => dispatches(&arena, n),
            86..97 => self.calls(&arena),
            97 => {
                count(&arena.tally.panicked);
                panic!("a worker");
            }
            98 => {
                count(&arena.tally.exited);
                process::exit_with("enough");
            }
            _ => {}
        }
    }

    fn registers(&mut self, arena: &Arena, n: usize) {
        let number = arena.numbers.fetch_add(1, Ordering::SeqCst);
        match arena.unique.register(arena.key(n), number) {
            Ok(()) => {
                arena.check(!self.held.contains(&n), || format!("{n} was registered twice by {}", self.me));
                let mut occupant = arena.occupant[n].lock();
                if let Some(other) = *occupant {
                    // It never gave it up, so it must be exiting since before this one could have the key.
                    let alive = process::is_alive(other);
                    arena.check(!alive, || format!("{n} had two holders: {other} and {}", self.me));
                    count(&arena.tally.taken_over);
                }
                *occupant = Some(self.me);
                self.held.push(n);
                count(&arena.tally.registered);
            }
            Err(NameError::Taken(other)) => {
                let known = self.held.contains(&n);
                arena.check(known == (other == self.me), || format!("{n}: taken by {other}, {known}"));
                count(&arena.tally.taken);
            }
            Err(error) => arena.check(false, || format!("{n}: {error}")),
        }
    }

    fn gives_up(&mut self, arena: &Arena, n: usize) {
        let n = if self.held.is_empty() { n } else { self.held[n % self.held.len()] };
        let held = self.held.iter().position(|held| *held == n);
        if let Some(at) = held {
            let mut occupant = arena.occupant[n].lock();
            arena.check(*occupant == Some(self.me), || {
                format!("{n} of {} is said to be {occupant:?}'s", self.me)
            });
            occupant.take_if(|occupant| *occupant == self.me);
            self.held.remove(at);
            count(&arena.tally.given_up);
        }
        arena.unique.unregister(&arena.key(n));
    }

    /// Checks that exactly its own registrations are there.
    fn looks(&mut self, arena: &Arena) {
        for n in &self.held {
            let found = arena.unique.whereis(&arena.key(*n));
            arena.check(found == Some(self.me), || format!("{n} of {} is {found:?}'s", self.me));
        }
        let keys: Vec<usize> = arena.unique.keys(self.me).iter().map(|key| key.0).collect();
        arena.check(keys == self.held, || format!("{} holds {keys:?}, not {:?}", self.me, self.held));
        for n in KEYS {
            let values = arena.many.values(&arena.key(n), self.me);
            let joined: Vec<u64> = self.joined.iter().filter(|(key, _)| *key == n).map(|(_, v)| *v).collect();
            arena
                .check(values == joined, || format!("{} is in {n} with {values:?}, not {joined:?}", self.me));
        }
        count(&arena.tally.seen);
    }

    fn joins(&mut self, arena: &Arena, n: usize) {
        let number = arena.numbers.fetch_add(1, Ordering::SeqCst);
        let joined = arena.many.register(arena.key(n), number);
        arena.check(joined.is_ok(), || format!("{n}: {joined:?}"));
        self.joined.push((n, number));
        count(&arena.tally.joined);
    }

    fn leaves(&mut self, arena: &Arena, n: usize) {
        if self.random(2) == 0 {
            arena.many.unregister(&arena.key(n));
            self.joined.retain(|(key, _)| *key != n);
        } else {
            arena.many.unregister_match(&arena.key(n), |number| number % 2 == 0);
            self.joined.retain(|(key, number)| *key != n || number % 2 == 1);
        }
        count(&arena.tally.left);
    }

    fn calls(&mut self, arena: &Arena) {
        let n = SERVERS.start + self.random(SERVERS.len());
        let server: ServerRef<Echo> = arena.unique.server(arena.key(n));
        match server.call(|from| from) {
            Ok((key, pid)) => {
                arena.check(key == n, || format!("{pid} answered for {n} as {key}"));
                count(&arena.tally.answered);
            }
            Err(CallError::NoProc { .. } | CallError::Exited { .. }) => {
                count(&arena.tally.unanswered);
                match Echo::child_spec(n).name(server).start() {
                    Ok(_) | Err(StartError::AlreadyStarted(_) | StartError::Failed(ExitReason::Killed)) => {}
                    Err(error) => arena.check(false, || format!("server {n}: {error}")),
                }
            }
            Err(error) => arena.check(false, || format!("server {n}: {error}")),
        }
        if self.random(4) == 0 {
            if let Some(holder) = arena.unique.whereis(&arena.key(n)) {
                process::exit(holder, ExitReason::Kill);
            }
        }
    }
}

fn dispatches(arena: &Arena, n: usize) {
    arena.unique.dispatch(&arena.key(n), |entries| {
        arena.check(entries.len() == 1, || format!("{n} has {entries:?}"));
    });
    arena.many.dispatch(&arena.key(n), |entries| {
        let mut numbers: Vec<u64> = entries.iter().map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        arena.check(numbers.len() == entries.len(), || format!("{n} has some twice: {entries:?}"));
        count(&arena.tally.dispatched);
    });
}

/// Returns a builder with timeouts that never cut the unwinding short, on a loaded machine either.
fn patient() -> Builder {
    Builder::new().kill_grace(Duration::from_secs(600)).exit_timeout(Duration::from_secs(600))
}

fn worker(arena: &Arc<Arena>, stop: &Arc<AtomicBool>, seed: u64) -> Watch {
    let (arena, stop) = (Arc::clone(arena), Arc::clone(stop));
    let body = move |inbox: &mut Inbox<()>| {
        let (me, random) = (inbox.pid(), 0x9E37_79B9_7F4A_7C15 ^ (seed + 1));
        let mut life = Life { arena, me, random, held: Vec::new(), joined: Vec::new() };
        let steps = 20 + life.random(200);
        for _ in 0..steps {
            if stop.load(Ordering::SeqCst) {
                break;
            }
            life.step();
        }
        count(&life.arena.tally.returned);
    };
    process::watch(patient().spawn_receiver(body).expect("a free thread"))
}

#[test]
fn hundred_concurrent_processes_lose_and_leave_no_entry() {
    in_child_program(body);
}

fn body() {
    let _watchdog = watchdog();
    let arena = Arc::new(Arena {
        token: Arc::new(()),
        unique: Registry::new(),
        many: DuplicateRegistry::new(),
        occupant: Default::default(),
        numbers: AtomicU64::new(0),
        tally: Tally::default(),
        wrong: Mutex::new(Vec::new()),
    });
    let (books, stop) = ([(); 2].map(|()| Book::start(()).expect("a free thread")), Arc::default());
    arena.unique.listen_server(&books[0]);
    arena.many.listen_server(&books[1]);

    let mut seeds = 0..;
    let mut workers: Vec<Watch> =
        seeds.by_ref().take(WORKERS).map(|seed| worker(&arena, &stop, seed)).collect();
    let mut ended = Vec::new();
    for round in 0.. {
        if arena.tally.least() >= 100 && round >= 1000 {
            break;
        }
        let at = round * 37 % WORKERS;
        // Time for all to make progress.
        let exited = workers[at].wait_timeout(Duration::from_millis(2)).is_some();
        if !exited {
            process::exit(
                workers[at].pid().expect("it is running"),
                if round % 2 == 0 { ExitReason::Kill } else { "requested".into() },
            );
            count(&arena.tally.killed);
        }
        let seed = seeds.next().expect("there are enough");
        ended.push(std::mem::replace(&mut workers[at], worker(&arena, &stop, seed)));
        let wrong = arena.wrong.lock();
        assert!(wrong.is_empty(), "{} things are wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(10)]);
    }
    stop.store(true, Ordering::SeqCst);
    ended.extend(workers);
    let pids: Vec<Pid> = ended.iter().filter_map(Watch::pid).collect();
    for watch in ended {
        watch.wait();
    }
    // The processes that start servers have exited; now the servers.
    for (_, pid, _) in arena.unique.entries() {
        process::exit(pid, ExitReason::Kill);
    }
    eventually("all are gone", || process::processes().len() == books.len());

    let wrong = arena.wrong.lock();
    assert!(wrong.is_empty(), "{} things are wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(10)]);
    assert!(arena.tally.least() >= 100, "{:?}", arena.tally);
    assert_eq!((arena.unique.count(), arena.many.count()), (0, 0));
    assert_eq!((arena.unique.entries(), arena.many.entries()), (vec![], vec![]));
    for pid in pids {
        assert_eq!((arena.unique.keys(pid), arena.many.keys(pid)), (vec![], vec![]));
    }
    for book in books {
        let (events, open) = book.call(|from| from).expect("its account was right at every moment");
        assert_eq!(open, []);
        assert!(events >= 2 * 100 * 20, "{events}");
        book.stop().expect("it was running");
    }
    eventually("no trace is left of a key", || Arc::strong_count(&arena.token) == 1);
}
