//! Listeners of registries: each registration is announced once, then its end, once. The round itself
//! listens from start to end, as do servers by name and by key, which are killed and restarted.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Once};
use std::time::Duration;

use rethread::StartError;
use rethread::prelude::*;
use rethread::registry::RegistryEvent;

use crate::books::Books;
use crate::hand::{Hand, SLACK};
use crate::keys::{ROOMS, TOPICS};
use crate::naming::WILD;

/// An event of one of the two registries.
#[derive(Debug, Clone)]
pub(crate) enum RegistryMessage {
    Room(RegistryEvent<u32, u64>),
    Topic(RegistryEvent<u8, u64>),
}

impl From<RegistryEvent<u32, u64>> for RegistryMessage {
    fn from(event: RegistryEvent<u32, u64>) -> Self {
        Self::Room(event)
    }
}

impl From<RegistryEvent<u8, u64>> for RegistryMessage {
    fn from(event: RegistryEvent<u8, u64>) -> Self {
        Self::Topic(event)
    }
}

/// The content of an event: pid, key, and the value if it is a registration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Announcement {
    pub(crate) pid: Pid,
    pub(crate) key: u32,
    /// `true` if the key belongs to the duplicate registry.
    pub(crate) many: bool,
    pub(crate) began: Option<u64>,
}

impl From<RegistryMessage> for Announcement {
    fn from(received: RegistryMessage) -> Self {
        fn of<K: Copy + Into<u32>>(event: &RegistryEvent<K, u64>, many: bool) -> Announcement {
            let began = match event {
                RegistryEvent::Register { value, .. } => Some(*value),
                _ => None,
            };
            Announcement { pid: event.pid(), key: (*event.key()).into(), many, began }
        }
        match received {
            RegistryMessage::Room(event) => of(&event, false),
            RegistryMessage::Topic(event) => of(&event, true),
        }
    }
}

/// The events one listener has received, by process and key.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// `true` if it may have subscribed late, and so receives the end of registrations it does not know.
    late: bool,
    lines: HashMap<(Pid, u32, bool), Line>,
}

#[derive(Debug, Default)]
struct Line {
    open: usize,
    values: HashSet<u64>,
    received: usize,
}

impl Ledger {
    /// Records an event; returns a description of what is wrong with it.
    pub(crate) fn note(&mut self, announced: &Announcement) -> Option<String> {
        let line = self.lines.entry((announced.pid, announced.key, announced.many)).or_default();
        line.received += 1;
        let first = line.received == 1;
        let right = match announced.began {
            Some(value) => {
                line.open += 1;
                line.values.insert(value) && (announced.many || line.open == 1) // values are never reused
            }
            None if line.open > 0 => {
                line.open -= 1;
                true
            }
            None => self.late && (announced.many || first),
        };
        (!right).then(|| format!("a listener received {announced:?} after {line:?}"))
    }

    /// Returns the registrations that have not ended.
    pub(crate) fn open(&self) -> Vec<(Pid, u32)> {
        let open = self.lines.iter().filter(|(_, line)| line.open > 0);
        open.map(|((pid, key, _), _)| (*pid, *key)).collect()
    }

    fn events_about(&self, other: Pid) -> usize {
        self.lines.iter().filter(|((pid, ..), _)| *pid == other).map(|(_, line)| line.received).sum()
    }

    /// Checks that every registration has ended, at the end of the round.
    pub(crate) fn close(&self, books: &Books) {
        for (pid, key) in self.open() {
            books.breach(format!("a listener never received the end of {key} of {pid}"));
        }
    }
}

/// The calls of a listening server.
pub(crate) enum Ask {
    /// Registrations whose end it has not received.
    Open(Caller<Vec<(Pid, u32)>>),
    /// The number of events about a process.
    Of(Pid, Caller<usize>),
}

/// A server that listens while it runs.
pub(crate) struct ListeningServer {
    ledger: Ledger,
    books: Arc<Books>,
}

impl GenServer for ListeningServer {
    type Args = (Arc<Books>, usize);
    type Call = Ask;
    type Cast = RegistryMessage;

    fn init((books, which): Self::Args, _: &mut Context<Self>) -> Result<Self, InitError> {
        if which == ASKS {
            listen(which);
        }
        Ok(Self { ledger: Ledger { late: true, ..Ledger::default() }, books })
    }

    fn handle_call(&mut self, ask: Ask, _: &mut Context<Self>) -> Next {
        match ask {
            Ask::Open(from) => from.reply(self.ledger.open()),
            Ask::Of(pid, from) => from.reply(self.ledger.events_about(pid)),
        }
    }

    fn handle_cast(&mut self, received: RegistryMessage, _: &mut Context<Self>) -> Next {
        let announced = Announcement::from(received);
        if let Some(wrong) = self.ledger.note(&announced) {
            self.books.breach(wrong);
        }
        Next::wait()
    }
}

/// The number of listening servers.
const LISTENING_SERVERS: usize = 3;
/// The index of the one that subscribes itself at each start. The others are subscribed by name before they
/// are started.
const ASKS: usize = 1;
/// The key of the last one.
const KEY: u32 = 5000;

fn listening_server(which: usize) -> ServerRef<ListeningServer> {
    match which {
        0 => ServerRef::named("torture ear"),
        1 => ServerRef::from_name("torture another ear"),
        _ => ServerRef::via(ROOMS.key_with(KEY, FRESH.fetch_add(1, Ordering::Relaxed))),
    }
}

fn listen(which: usize) {
    ROOMS.listen_server(&listening_server(which));
    TOPICS.listen_server(&listening_server(which));
}

/// Subscribes the servers that do not subscribe themselves: by name, which is idempotent, and by key, which
/// is not.
pub(crate) fn begin() {
    static BY_KEY: Once = Once::new();
    listen(0);
    BY_KEY.call_once(|| listen(LISTENING_SERVERS - 1));
}

/// Source of unique values for that key.
static FRESH: AtomicU64 = AtomicU64::new(1);

/// Returns `true` if `pid` is one of the running listening servers.
pub(crate) fn is_listening_server(pid: Pid) -> bool {
    (0..LISTENING_SERVERS).any(|which| listening_server(which).whereis() == Some(pid))
}

/// Checks the listening servers once all other processes have exited, and stops them.
pub(crate) fn no_listening_server_is_left(books: &Books) {
    for listening_server in (0..LISTENING_SERVERS).map(listening_server) {
        let Some(pid) = listening_server.whereis() else { continue };
        match listening_server.call_timeout(SLACK, Ask::Open) {
            Ok(open) => {
                for (other, key) in open.into_iter().filter(|(other, _)| !is_listening_server(*other)) {
                    books.breach(format!("{pid} never received the end of {key} of {other}"));
                }
            }
            Err(error) => books.breach(format!("{pid}, which listens, did not answer: {error}")),
        }
    }
    (0..LISTENING_SERVERS)
        .filter_map(|which| listening_server(which).whereis())
        .for_each(|pid| process::exit(pid, ExitReason::Kill));
}

/// A listener that drops or delays its events.
pub(crate) struct Unresponsive;

impl From<RegistryEvent<u32, u64>> for Unresponsive {
    fn from(event: RegistryEvent<u32, u64>) -> Self {
        static TOLD: AtomicU64 = AtomicU64::new(0);
        if TOLD.fetch_add(1, Ordering::Relaxed) % 32 == 0 {
            // If it is killed meanwhile, it is declared a zombie before it has notified the others.
            let (_sender, nothing) = channel::<Infallible>();
            let _ = nothing.recv_timeout(Duration::from_millis(70));
        }
        // Foreign threads send events as well, and their panics would be printed.
        assert!(process::current().is_none() || event.pid().to_string().len() % 2 == 0, "crash on request");
        Self
    }
}

/// Returns, for each listening server, its pid and the number of events it received about `pid`.
pub(crate) fn events_about(pid: Pid) -> [Option<(Pid, usize)>; LISTENING_SERVERS] {
    std::array::from_fn(|which| {
        let listener = listening_server(which).whereis()?;
        let answer =
            ServerRef::<ListeningServer>::from_pid(listener).call_timeout(SLACK, |from| Ask::Of(pid, from));
        Some((listener, answer.ok()?)) // another client may have killed it
    })
}

impl Hand {
    /// Ends one listening server, and starts it again; other clients may do the same concurrently.
    pub(crate) fn restart_a_listening_server(&mut self) {
        let which = self.dice.below(LISTENING_SERVERS);
        if let Some(pid) = listening_server(which).whereis() {
            process::exit(pid, ExitReason::Kill);
        }
        let label = format!("{}ear {which}", self.books.prefix());
        let spec = ListeningServer::child_spec((Arc::clone(&self.books), which))
            .name(listening_server(which))
            .label(label);
        match spec.start() {
            Ok(_) | Err(StartError::AlreadyStarted(_)) => {}
            Err(error) => self.no_start(&error),
        }
        match self.dice.below(3) {
            // The name is not registered, which is no error.
            0 => ROOMS.listen_server(&ServerRef::<ListeningServer>::named("torture unregistered")),
            // The holder of the name takes other messages.
            1 => {
                TOPICS.listen_server(&ServerRef::<ListeningServer>::from_name(self.dice.pick(&WILD).as_str()))
            }
            // It listens already, but not by key: that would subscribe it a second time.
            _ => listen(which.min(ASKS)),
        }
    }
}
