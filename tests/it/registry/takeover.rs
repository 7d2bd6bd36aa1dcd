//! A key of a registry is taken over from a holder that is still exiting: by hand at once, and at a start
//! after its exit cleanup.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Gate, Journal, attached, eventually, watchdog};
use rethread::StartError;
use rethread::prelude::*;
use rethread::process::{self, Address, Builder, Inbox, NameError, ProcessState};
use rethread::registry::{DuplicateRegistry, Registry};

type Keys = Registry<&'static str>;

/// A server that notes when it begins.
struct Successor;

impl GenServer for Successor {
    type Args = (Journal, &'static str);
    type Call = Infallible;
    type Cast = Infallible;

    fn init((journal, begins): Self::Args, _: &mut Context<Self>) -> Result<Self, InitError> {
        journal.note(begins);
        Ok(Self)
    }
    fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next {
        match call {}
    }
}

/// Starts a successor under the key from a process of its own; returns the successor, which may have to
/// wait.
fn successor(keys: &Keys, key: &'static str, journal: &Journal, begins: &'static str) -> Pid {
    let spec = Successor::child_spec((journal.clone(), begins)).name(keys.server(key));
    process::spawn(move || drop(spec.start())).expect("a free thread");
    keys.whereis_timeout(key, Duration::from_secs(30))
        .expect("the key of an exiting process can be taken over")
}

/// Waits at a gate in its destructor, then notes that it is finished.
struct HeldUp(Gate, Journal);

impl Drop for HeldUp {
    fn drop(&mut self) {
        self.0.pass();
        self.1.note("the old one is gone");
    }
}

/// Starts a process that holds the keys, and whose destructors wait for the gate; it holds them when this
/// returns.
#[track_caller]
fn held_up(keys: &Keys, which: &[&'static str], gate: &Gate, journal: &Journal) -> Address<()> {
    let patient = Builder::new().exit_timeout(Duration::from_secs(600)).kill_grace(Duration::from_millis(80));
    let (ready, held) = (Gate::new(), HeldUp(gate.clone(), journal.clone()));
    let (began, keys, which) = (ready.clone(), keys.clone(), which.to_vec());
    let body = move |inbox: &mut Inbox<()>| {
        let _held = held;
        for key in which {
            keys.register(key, ()).expect("it is free, or its holder is exiting");
        }
        began.open();
        loop {
            inbox.recv();
        }
    };
    let address = patient.spawn_receiver(body).expect("a free thread");
    ready.pass();
    address
}

fn waits(pid: Pid) {
    eventually("it waits for its predecessor", || {
        process::info(pid).is_some_and(|info| info.state == ProcessState::Waiting)
    });
}

/// Waits until it has begun, or is blocked.
fn settles(pid: Pid, journal: &Journal) {
    eventually("it begins or waits", || {
        !journal.all().is_empty()
            || process::info(pid).is_some_and(|info| info.state == ProcessState::Waiting)
    });
}

#[test]
fn successor_starts_after_the_cleanup() {
    let _watchdog = watchdog();
    let (keys, gate, journal) = (Keys::new(), Gate::new(), Journal::new());
    let old = held_up(&keys, &["k"], &gate, &journal);
    process::exit(&old, ExitReason::Shutdown);
    assert_eq!(keys.whereis("k"), None);
    let new = successor(&keys, "k", &journal, "the new one begins");
    waits(new);
    assert_eq!(journal.all(), [""; 0]);
    assert_eq!(keys.entries(), [("k", new, ())]);
    gate.open();
    assert_eq!(journal.wait_for(2), ["the old one is gone", "the new one begins"]);
    assert_eq!((keys.whereis("k"), keys.keys(new), keys.keys(&old)), (Some(new), vec!["k"], vec![]));
}

#[test]
fn a_successor_that_registers_by_hand_does_not_wait() {
    attached(|inbox: &mut Inbox<()>| {
        let (keys, gate, journal) = (Keys::new(), Gate::new(), Journal::new());
        let old = held_up(&keys, &["k"], &gate, &journal);
        assert_eq!(keys.register("k", ()), Err(NameError::Taken(old.pid())));
        let watch = process::watch(&old);
        process::exit(&old, ExitReason::Shutdown);
        assert_eq!(keys.register("k", ()), Ok(()));
        assert_eq!(keys.whereis("k"), Some(inbox.pid()));
        gate.open();
        watch.wait();
        assert_eq!(keys.whereis("k"), Some(inbox.pid()));
    });
}

#[test]
fn a_successor_waits_no_longer_than_the_deadline() {
    let _watchdog = watchdog();
    let (keys, gate, journal) = (Keys::new(), Gate::new(), Journal::new());
    let old = held_up(&keys, &["k"], &gate, &journal);
    process::exit(&old, ExitReason::Kill);
    let new = successor(&keys, "k", &journal, "the new one begins");
    assert_eq!(journal.wait_for(1), ["the new one begins"]);
    assert!(process::zombies().iter().any(|zombie| zombie.pid == old.pid()));
    gate.open();
    journal.wait_for(2);
    assert_eq!(keys.entries(), [("k", new, ())]);
}

#[test]
fn chain_of_successors_starts_after_all_cleanups() {
    let _watchdog = watchdog();
    for wait_for_the_end_of_each in [false, true] {
        let (keys, gate, journal) = (Keys::new(), Gate::new(), Journal::new());
        let old = held_up(&keys, &["k"], &gate, &journal);
        process::exit(&old, ExitReason::Shutdown);
        for _ in 0..5 {
            // Each is killed while it waits: it never begins.
            let next = successor(&keys, "k", &journal, "a killed one begins");
            let watch = process::watch(next);
            waits(next);
            process::exit(next, ExitReason::Shutdown);
            assert_eq!(keys.whereis("k"), None);
            if wait_for_the_end_of_each {
                watch.wait();
            }
        }
        let last = successor(&keys, "k", &journal, "the last one begins");
        settles(last, &journal);
        gate.open();
        assert_eq!(journal.wait_for(2), ["the old one is gone", "the last one begins"]);
        assert_eq!(keys.entries(), [("k", last, ())]);
    }
}

#[test]
fn each_key_has_its_own_chain() {
    let _watchdog = watchdog();
    let keys = Keys::new();
    let (gates, journals) = ([Gate::new(), Gate::new()], [Journal::new(), Journal::new()]);
    let old = [0, 1].map(|n| held_up(&keys, &["a", "b"][n..=n], &gates[n], &journals[n]));
    for old in &old {
        process::exit(old, ExitReason::Shutdown);
    }
    // Takes both keys over by hand, unregisters one of them, and exits.
    let own = keys.clone();
    let between = process::spawn(move || {
        own.register("a", ()).and(own.register("b", ())).expect("their holders are exiting");
        own.unregister("a");
    });
    process::watch(between.unwrap()).wait();
    assert_eq!(keys.count(), 0);
    let new = [0, 1].map(|n| successor(&keys, ["a", "b"][n], &journals[n], "the new one begins"));
    for n in [1, 0] {
        settles(new[n], &journals[n]);
        gates[n].open();
        assert_eq!(journals[n].wait_for(2), ["the old one is gone", "the new one begins"]);
    }
}

#[test]
fn a_zombie_has_nothing_in_a_registry() {
    let _watchdog = watchdog();
    let (keys, groups) = (Keys::new(), DuplicateRegistry::<&str>::new());
    let (ready, gate, journal) = (Gate::new(), Gate::new(), Journal::new());
    /// Queries the registries in the destructor of a zombie.
    struct LastWords(Keys, DuplicateRegistry<&'static str>, Gate, Journal);
    impl Drop for LastWords {
        fn drop(&mut self) {
            self.2.pass();
            let refused = (self.0.register("l", ()), self.1.register("l", ()));
            assert_eq!(refused, (Err(NameError::Exiting), Err(NameError::Exiting)));
            self.0.unregister("k"); // it belongs to another by now
            self.1.unregister("k");
            self.3.note("through");
        }
    }
    let last_words = LastWords(keys.clone(), groups.clone(), gate.clone(), journal.clone());
    let began = ready.clone();
    let zombie = Builder::new()
        .kill_grace(Duration::from_millis(10))
        .spawn_receiver::<()>(move |inbox| {
            let words = last_words;
            words.0.register("k", ()).and(words.1.register("k", ())).expect("a process may register");
            began.open();
            inbox.recv();
        })
        .unwrap();
    ready.pass();
    process::exit(&zombie, ExitReason::Kill);
    eventually("it is declared a zombie", || {
        process::zombies().iter().any(|other| other.pid == zombie.pid())
    });
    process::watch(&zombie).wait();
    assert_eq!((keys.entries(), groups.entries()), (vec![], vec![]));
    let new = held_up(&keys, &["k"], &gate, &journal);
    gate.open();
    journal.wait_for(1);
    eventually("it is reaped", || process::zombies().iter().all(|other| other.pid != zombie.pid()));
    assert_eq!((keys.entries(), groups.entries()), (vec![("k", new.pid(), ())], vec![]));
    assert_eq!(keys.keys(&zombie), [""; 0]);
}

/// A resource for one process at a time: from its `init` until its state is dropped.
struct Exclusive(Arc<AtomicBool>);

impl Exclusive {
    fn take(it: &Arc<AtomicBool>) -> Self {
        assert!(!it.swap(true, Ordering::SeqCst), "two hold it");
        Self(Arc::clone(it))
    }
}

impl Drop for Exclusive {
    fn drop(&mut self) {
        assert!(self.0.swap(false, Ordering::SeqCst), "it was given back already");
    }
}

/// A server that owns an exclusive resource.
struct Owner(#[expect(dead_code, reason = "its drop is what matters")] Exclusive);

impl GenServer for Owner {
    type Args = Arc<AtomicBool>;
    type Call = Infallible;
    type Cast = Infallible;

    fn init(it: Self::Args, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self(Exclusive::take(&it)))
    }
    fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next {
        match call {}
    }
}

#[test]
fn many_start_and_kill_under_one_key_and_one_begins_at_a_time() {
    const STARTS: usize = 600;
    let mut watchdog = watchdog();
    let (keys, it) = (Keys::new(), Arc::new(AtomicBool::new(false)));
    let (begun, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let starters: Vec<_> = (0..4)
        .map(|_| {
            let (keys, it) = (keys.clone(), Arc::clone(&it));
            let (begun, refused) = (Arc::clone(&begun), Arc::clone(&refused));
            let body = move || {
                while begun.load(Ordering::SeqCst) < STARTS {
                    let spec = Owner::child_spec(Arc::clone(&it)).name(keys.server("k"));
                    match spec.start() {
                        Ok(_) => begun.fetch_add(1, Ordering::SeqCst),
                        Err(StartError::AlreadyStarted(_)) => refused.fetch_add(1, Ordering::SeqCst),
                        Err(StartError::Failed(ExitReason::Killed)) => 0, // by another thread of the test
                        Err(error) => panic!("{error}"),
                    };
                    if let Some(holder) = keys.whereis("k") {
                        process::exit(holder, ExitReason::Kill);
                    }
                }
            };
            let patient = Duration::from_secs(600);
            process::watch(Builder::new().kill_grace(patient).spawn(body).expect("a free thread"))
        })
        .collect();
    let mut seen = 0;
    for starter in starters {
        let reason = loop {
            if let Some(reason) = starter.wait_timeout(Duration::from_secs(1)) {
                break reason;
            }
            // On a busy machine all starts together may take longer than the watchdog allows, but not a hundred.
            if begun.load(Ordering::SeqCst) >= seen + 100 {
                seen = begun.load(Ordering::SeqCst);
                watchdog.restart();
            }
        };
        assert!(matches!(reason, ExitReason::Normal | ExitReason::NoProc), "{reason}");
    }
    assert!(refused.load(Ordering::SeqCst) > 0, "they never ran at the same time");
    eventually("all are gone", || !it.load(Ordering::SeqCst) && keys.count() == 0);
}
