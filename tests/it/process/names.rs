//! Names, and their takeover from a holder that is still exiting. Scenarios NM-02 to NM-16.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::support::scripted_process::ScriptedProcess;
use crate::support::{
    self, Gate, Journal, attached, down, eventually, exit_event, message, sleeper, unique, watchdog,
};
use rethread::ExitReason;
use rethread::process::{
    self, Address, Builder, Inbox, Name, NameError, ProcessState, SendError, SpawnError,
};

/// Returns a process that has exited.
fn exited() -> Address<()> {
    let address = sleeper();
    let watch = process::watch(&address);
    process::exit(&address, "long ago");
    watch.wait();
    address
}

/// Starts a process with a name that waits until it is ended.
fn named(name: &str) -> Result<Address<()>, SpawnError> {
    Builder::new().name(name).spawn_receiver(|inbox| {
        loop {
            inbox.recv();
        }
    })
}

// scenario: NM-02
#[test]
fn exited_process_cannot_be_registered() {
    let _watchdog = watchdog();
    let (name, exited) = (unique("nm_02"), exited());
    assert_eq!(process::register(name, &exited), Err(NameError::NoProc));
    assert_eq!(process::whereis(name), None);
    let next = sleeper();
    assert_eq!(process::register(name, &next), Ok(()));
    assert_eq!(process::whereis(name), Some(next.pid()));
}

#[test]
fn exiting_process_cannot_be_registered() {
    let _watchdog = watchdog();
    let (name, gate) = (unique("exiting"), Gate::new());
    let exiting = held_up(Builder::new(), &gate, &Journal::new());
    process::exit(&exiting, "going");
    assert_eq!(process::register(name, &exiting), Err(NameError::NoProc));
    gate.open();
    assert_eq!(process::whereis(name), None);
}

// scenario: NM-03
#[test]
fn a_held_name_cannot_be_registered() {
    let _watchdog = watchdog();
    let name = unique("nm_03");
    let (a, b) = (sleeper(), sleeper());
    process::register(name, &a).unwrap();
    assert_eq!(process::register(name, &b), Err(NameError::Taken(a.pid())));
    assert_eq!(process::register(name, &a), Err(NameError::Taken(a.pid())));
    assert_eq!(process::whereis(name), Some(a.pid()));
    assert_eq!(process::info(&b).unwrap().name, None);
    let other = unique("nm_03.other");
    assert_eq!(process::register(other, &a), Err(NameError::AlreadyNamed(name.into())));
    assert_eq!(process::whereis(other), None);
    assert!(matches!(named(name), Err(SpawnError::Name(NameError::Taken(pid))) if pid == a.pid()));
    assert_eq!(process::register("", &b), Err(NameError::Empty));
    assert!(matches!(named(""), Err(SpawnError::Name(NameError::Empty))));
}

// scenario: NM-05
#[test]
fn any_thread_may_unregister() {
    let _watchdog = watchdog();
    let (name, unrelated) = (unique("nm_05"), ScriptedProcess::new());
    let v = named(name).unwrap();
    assert_eq!(unrelated.run(move || process::unregister(name)), Ok(()));
    assert_eq!(process::whereis(name), None);
    assert!(process::is_alive(&v));
    assert_eq!(process::info(&v).unwrap().name, None);
    assert_eq!(process::register(unique("nm_05.second life"), &v), Ok(()));
}

// scenario: NM-06
#[test]
fn an_unknown_name_cannot_be_unregistered() {
    let _watchdog = watchdog();
    assert_eq!(process::unregister(unique("nm_06")), Err(NameError::Unknown));
    assert_eq!(process::unregister(""), Err(NameError::Unknown));
    let name = unique("nm_06.exiting");
    let holder = named(name).unwrap();
    process::exit(&holder, "going");
    assert_eq!(process::unregister(name), Err(NameError::Unknown));
}

// scenario: NM-08
#[test]
fn message_to_exited_process_is_dropped() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let exited = exited();
        for _ in 0..10 {
            exited.send(());
        }
        assert!(!process::is_alive(&exited));
        assert_eq!(inbox.try_recv(), None);
    });
}

// scenario: NM-09
#[test]
fn the_name_is_free_when_the_down_arrives() {
    attached(|inbox: &mut Inbox<()>| {
        let name = unique("nm_09");
        for round in 0..3000 {
            let (child, monitor) = Builder::new()
                .name(name)
                .spawn_receiver_monitor::<()>(|inbox| {
                    inbox.recv();
                })
                .unwrap();
            let reason = if round % 2 == 0 { ExitReason::Kill } else { ExitReason::Shutdown };
            process::exit(&child, reason);
            assert_eq!(down(inbox).0, monitor);
            assert_eq!(process::whereis(name), None);
            assert_eq!(process::unregister(name), Err(NameError::Unknown));
        }
    });
}

// scenario: NM-10
#[test]
fn the_name_is_free_when_the_exit_arrives() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let name = unique("nm_10");
        for _ in 0..3000 {
            let child = Builder::new().name(name).spawn_link(|| process::exit_with("at once"));
            assert_eq!(exit_event(inbox), (child.unwrap(), "at once".into()));
            assert_eq!(process::whereis(name), None);
        }
    });
}

// scenario: NM-12
#[test]
fn register_unregister_and_kill_in_turn() {
    let _watchdog = watchdog();
    let name = unique("nm_12");
    let mut left: Option<Address<()>> = None;
    for round in 0..4000 {
        let child = sleeper();
        if let Err(error) = process::register(name, &child) {
            let holder = left.take().expect("only a living holder is in the way");
            assert_eq!(error, NameError::Taken(holder.pid()));
            assert_eq!(process::unregister(name), Ok(()));
            process::exit(&holder, ExitReason::Kill);
            assert_eq!(process::register(name, &child), Ok(()));
        }
        assert_eq!(process::whereis(name), Some(child.pid()));
        if round % 3 == 0 {
            left = Some(child);
        } else {
            process::exit(&child, ExitReason::Kill);
            assert_eq!(process::whereis(name), None);
        }
    }
}

// scenario: NM-13
#[test]
fn a_process_shows_its_name() {
    let _watchdog = watchdog();
    let (name, later) = (unique("nm_13"), unique("nm_13.later"));
    let (child, plain) = (named(name).unwrap(), sleeper());
    assert_eq!(process::info(&child).unwrap().name.as_deref(), Some(name));
    assert_eq!(process::info(&plain).unwrap().name, None);
    process::register(later, &plain).unwrap();
    assert_eq!(process::info(&plain).unwrap().name.as_deref(), Some(later));
    assert!(process::info(&plain).unwrap().to_string().contains(later));
}

// scenario: NM-14
#[test]
fn name_is_free_for_the_sender_of_the_kill() {
    let _watchdog = watchdog();
    let name = unique("nm_14");
    for _ in 0..3000 {
        let child = named(name).unwrap(); // also: it could be reused at once
        process::exit(&child, ExitReason::Kill);
        assert!(!process::is_alive(&child));
        // BEAM promises this only after the Exit or Down; here an exiting holder no longer counts.
        assert_eq!(process::whereis(name), None);
    }
}

// scenario: NM-16
#[test]
fn registered_twice_unregistered_registered() {
    attached(|inbox: &mut Inbox<()>| {
        let (name, me) = (unique("nm_16"), inbox.pid());
        assert_eq!(process::register(name, me), Ok(()));
        assert_eq!(process::register(name, me), Err(NameError::Taken(me)));
        assert_eq!(process::unregister(name), Ok(()));
        assert_eq!(process::register(name, me), Ok(()));
    });
}

#[test]
fn a_failed_name_leaves_no_process_behind() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let name = unique("taken");
        let holder = named(name).unwrap();
        let journal = Journal::new();
        let last_words = Note(journal.clone(), "the body was dropped");
        let body = move || last_words.0.note("the body ran");
        let refused = Builder::new().name(name).spawn_link(body);
        assert!(matches!(refused, Err(SpawnError::Name(NameError::Taken(pid))) if pid == holder.pid()));
        assert_eq!(journal.all(), ["the body was dropped"]);
        let refused = Builder::new().name(name).spawn_monitor(|| ());
        assert!(matches!(refused, Err(SpawnError::Name(_))));
        let me = process::info(inbox.pid()).unwrap();
        assert_eq!((me.links, me.monitors), (vec![], vec![]));
        assert_eq!(inbox.try_recv(), None);
        let children = process::processes().into_iter().filter(|other| other.ancestors.contains(&me.pid));
        assert_eq!(children.map(|child| child.pid).collect::<Vec<_>>(), [holder.pid()]);
    });
}

#[test]
fn a_typed_name_finds_its_holder_or_hands_the_message_back() {
    attached(|inbox: &mut Inbox<String>| {
        let text = unique("typed");
        let name = Name::<String>::new(text);
        assert_eq!(name.as_str(), text);
        assert_eq!(name.whereis(), None);
        let refused = name.send("unregistered".to_owned()).unwrap_err();
        assert_eq!(refused, SendError::NoProc("unregistered".to_owned()));
        assert_eq!(refused.into_inner(), "unregistered");
        process::register(text, inbox.pid()).unwrap();
        assert_eq!(name.whereis(), Some(inbox.pid()));
        assert_eq!(name.send("registered".to_owned()), Ok(()));
        assert_eq!(message(inbox), "registered");
        let refused = Name::<u32>::new(text).send(7).unwrap_err();
        assert!(matches!(refused, SendError::WrongType { message: 7, expected: "u32", .. }));
        assert!(refused.to_string().contains("String, not u32"), "{refused}");
        assert_eq!(refused.into_inner(), 7);
        assert_eq!(inbox.try_recv(), None);
    });
}

/// Notes the end of a scope.
struct Note(Journal, &'static str);

impl Drop for Note {
    fn drop(&mut self) {
        self.0.note(self.1);
    }
}

/// Waits at a gate in its destructor, then notes that it is finished.
struct HeldUp(Gate, Journal);

impl Drop for HeldUp {
    fn drop(&mut self) {
        self.0.pass();
        self.1.note("the old one is gone");
    }
}

/// Starts a process whose destructors wait for the gate; it is running when this returns.
#[track_caller]
fn held_up(builder: Builder, gate: &Gate, journal: &Journal) -> Address<()> {
    let ready = Gate::new();
    let (began, held) = (ready.clone(), HeldUp(gate.clone(), journal.clone()));
    let body = move |inbox: &mut Inbox<()>| {
        let _held = held;
        began.open();
        loop {
            inbox.recv();
        }
    };
    let address = builder.spawn_receiver(body).expect("a free name and thread");
    ready.pass();
    address
}

/// Starts a process under the name that notes when its body begins, and runs until it is ended.
fn successor(name: &str, journal: &Journal, begins: &'static str) -> Address<()> {
    let notes = journal.clone();
    let body = move |inbox: &mut Inbox<()>| {
        notes.note(begins);
        loop {
            inbox.recv();
        }
    };
    Builder::new().name(name).spawn_receiver(body).expect("the name of an exiting process can be taken over")
}

fn waits(address: &Address<()>) {
    eventually("it waits for its predecessor", || {
        process::info(address).is_some_and(|info| info.state == ProcessState::Waiting)
    });
}

#[test]
fn successor_starts_after_the_cleanup() {
    let _watchdog = watchdog();
    let (name, gate, journal) = (unique("heir"), Gate::new(), Journal::new());
    let old = held_up(Builder::new().name(name), &gate, &journal);
    process::exit(&old, ExitReason::Shutdown);
    let new = successor(name, &journal, "the new one begins");
    assert_eq!(process::whereis(name), Some(new.pid()));
    waits(&new);
    assert_eq!(journal.all(), [""; 0]);
    gate.open();
    assert_eq!(journal.wait_for(2), ["the old one is gone", "the new one begins"]);
    assert_eq!(process::whereis(name), Some(new.pid()));
    assert_eq!(process::info(&new).unwrap().name.as_deref(), Some(name));
}

#[test]
fn a_successor_gets_the_mail_that_came_while_it_waited() {
    attached(|inbox: &mut Inbox<u32>| {
        let (name, gate, journal) = (unique("mail"), Gate::new(), Journal::new());
        let old = held_up(Builder::new().name(name), &gate, &journal);
        process::exit(&old, ExitReason::Shutdown);
        let to = inbox.address();
        let new = Builder::new().name(name).spawn_receiver::<u32>(move |inbox| to.send(message(inbox) + 1));
        let new = new.unwrap();
        Name::<u32>::new(name).send(41).unwrap();
        gate.open();
        assert_eq!(message(inbox), 42);
        drop(new);
    });
}

#[test]
fn a_successor_that_registers_by_hand_does_not_wait() {
    let _watchdog = watchdog();
    let (name, gate, journal) = (unique("by hand"), Gate::new(), Journal::new());
    let old = held_up(Builder::new().name(name), &gate, &journal);
    let watch = process::watch(&old);
    process::exit(&old, ExitReason::Shutdown);
    let new = ScriptedProcess::new();
    assert_eq!(process::register(name, &new), Ok(()));
    assert_eq!(process::whereis(name), Some(new.pid()));
    gate.open();
    assert_eq!(watch.wait(), ExitReason::Shutdown);
    // The exit cleanup of the old holder leaves the name with the new one.
    assert_eq!(process::whereis(name), Some(new.pid()));
    assert_eq!(new.run(|| "well"), "well");
}

#[test]
fn a_successor_waits_no_longer_than_the_deadline() {
    let _watchdog = watchdog();
    let (name, gate, journal) = (unique("stuck"), Gate::new(), Journal::new());
    let old = held_up(Builder::new().name(name).kill_grace(Duration::from_millis(80)), &gate, &journal);
    let killed = Instant::now();
    process::exit(&old, ExitReason::Kill);
    let new = successor(name, &journal, "the new one begins");
    assert_eq!(journal.wait_for(1), ["the new one begins"]);
    assert!(killed.elapsed() >= Duration::from_millis(80), "{:?}", killed.elapsed());
    assert!(process::zombies().iter().any(|zombie| zombie.pid == old.pid()));
    assert_eq!(process::whereis(name), Some(new.pid()));
    gate.open();
    journal.wait_for(2);
    assert_eq!(process::whereis(name), Some(new.pid()));
}

#[test]
fn chain_of_successors_starts_after_all_cleanups() {
    let _watchdog = watchdog();
    for wait_for_the_end_of_each in [false, true] {
        let (name, gate, journal) = (unique("chain"), Gate::new(), Journal::new());
        let old = held_up(Builder::new().name(name), &gate, &journal);
        process::exit(&old, ExitReason::Shutdown);
        for _ in 0..5 {
            // Each is killed while it waits: its body never runs.
            let next = successor(name, &journal, "a killed one begins");
            let watch = process::watch(&next);
            waits(&next);
            process::exit(&next, ExitReason::Shutdown);
            assert_eq!(process::whereis(name), None);
            if wait_for_the_end_of_each {
                assert_eq!(watch.wait(), ExitReason::Shutdown);
            }
        }
        let last = successor(name, &journal, "the last one begins");
        assert_eq!(process::whereis(name), Some(last.pid()));
        eventually("it begins or waits", || {
            !journal.all().is_empty()
                || process::info(&last).is_some_and(|info| info.state == ProcessState::Waiting)
        });
        gate.open();
        let expected = ["the old one is gone", "the last one begins"];
        assert_eq!(journal.wait_for(2), expected, "waited for each exit: {wait_for_the_end_of_each}");
    }
}

#[test]
fn chain_of_exiting_holders_is_cleaned_up_in_order() {
    let _watchdog = watchdog();
    let (name, journal) = (unique("generations"), Journal::new());
    let mut gates = Vec::new();
    let gate = Gate::new();
    let mut holder = held_up(Builder::new().name(name), &gate, &journal);
    gates.push(gate);
    for generation in 1..=3 {
        process::exit(&holder, ExitReason::Shutdown);
        let gate = Gate::new();
        let (held, notes) = (HeldUp(gate.clone(), journal.clone()), journal.clone());
        let body = move |inbox: &mut Inbox<()>| {
            let _held = held;
            notes.note(format!("generation {generation} begins"));
            loop {
                inbox.recv();
            }
        };
        let next = Builder::new().name(name).spawn_receiver(body).unwrap();
        waits(&next);
        gates[generation - 1].open();
        journal.wait_for(2 * generation);
        holder = next;
        gates.push(gate);
    }
    process::exit(&holder, ExitReason::Shutdown);
    gates[3].open();
    let gone = "the old one is gone";
    let expected =
        [gone, "generation 1 begins", gone, "generation 2 begins", gone, "generation 3 begins", gone];
    assert_eq!(journal.wait_for(7), expected);
}

/// Counts the processes inside, from the first line of a body to the end of its last destructor.
struct Inside(Arc<AtomicUsize>);

impl Drop for Inside {
    fn drop(&mut self) {
        let began = Instant::now();
        while began.elapsed() < Duration::from_micros(50) {
            std::hint::spin_loop();
        }
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn a_name_never_has_two_living_holders() {
    let _watchdog = watchdog();
    let name = unique("contended");
    let [inside, breaches, begun] = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
    let holders: Vec<process::Watch> = std::thread::scope(|scope| {
        let racer = |number: usize| {
            let (inside, breaches, begun) = (&inside, &breaches, &begun);
            let mut holders = Vec::new();
            // How many are ended before their first step depends on the scheduler: continue until enough
            // have begun.
            let enough = |round: usize| round >= 300 && begun.load(Ordering::SeqCst) >= 100;
            for round in (0..).take_while(|round| !enough(*round)) {
                let (inside, breaches, begun) = (Arc::clone(inside), Arc::clone(breaches), Arc::clone(begun));
                let (tx, rx) = channel::<()>();
                let body = move |inbox: &mut Inbox<()>| {
                    breaches.fetch_add(inside.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
                    begun.fetch_add(1, Ordering::SeqCst);
                    let _inside = Inside(inside);
                    drop(tx);
                    inbox.recv();
                };
                match Builder::new().name(name).spawn_receiver(body) {
                    Ok(child) => {
                        holders.push(process::watch(&child));
                        if (round + number) % 4 > 0 {
                            let _ = rx.recv(); // it has begun, or exited before it could
                            process::exit(&child, ExitReason::Kill);
                        } // otherwise the next process ends it, at any point
                    }
                    Err(SpawnError::Name(NameError::Taken(holder))) => {
                        process::watch(holder).wait_timeout(Duration::from_micros(200));
                        process::exit(holder, ExitReason::Shutdown);
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            holders
        };
        let racers = [0, 1, 2, 3].map(|number| scope.spawn(move || racer(number)));
        racers.into_iter().flat_map(|racer| racer.join().expect("no panic")).collect()
    });
    if let Some(last) = process::whereis(name) {
        process::exit(last, ExitReason::Kill);
    }
    for holder in &holders {
        holder.wait();
    }
    let counts = [&inside, &breaches].map(|count| count.load(Ordering::SeqCst));
    assert_eq!(counts, [0, 0], "none is left inside, no two were ever inside together");
    let begun = begun.load(Ordering::SeqCst);
    assert!((100..=holders.len()).contains(&begun), "{begun} of {} began", holders.len());
    assert_eq!(process::whereis(name), None);
}

#[test]
fn racing_registrations_have_one_winner() {
    let _watchdog = watchdog();
    for _ in 0..200 {
        let name = unique("race");
        let candidates = [(); 4].map(|()| sleeper());
        let won: Vec<bool> = std::thread::scope(|scope| {
            let threads: Vec<_> = candidates
                .iter()
                .map(|one| scope.spawn(move || process::register(name, one).is_ok()))
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(won.iter().filter(|won| **won).count(), 1);
        let winner = won.iter().position(|won| *won).map(|at| candidates[at].pid());
        assert_eq!(process::whereis(name), winner);
        for (one, won) in candidates.iter().zip(won) {
            assert_eq!(process::info(one).unwrap().name.is_some(), won);
            process::exit(one, ExitReason::Kill);
        }
    }
}

#[test]
fn a_name_can_be_waited_for_from_many_threads() {
    let _watchdog = support::watchdog();
    let name = unique("waited for");
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            process::spawn(move || assert!(process::whereis_timeout(name, support::LIMIT).is_some())).unwrap()
        })
        .map(process::watch)
        .collect();
    for watch in &waiting {
        let parked = || {
            process::info(watch.pid().unwrap())
                .is_some_and(|info| info.state == process::ProcessState::Waiting)
        };
        support::eventually("it waits", parked);
    }
    let holder = process::Builder::new().name(name).spawn_receiver::<()>(|inbox| drop(inbox.recv())).unwrap();
    for watch in &waiting {
        watch.wait();
    }
    assert_eq!(process::whereis_timeout(name, std::time::Duration::ZERO), Some(holder.pid()));
    assert_eq!(process::whereis_timeout(unique("unregistered"), std::time::Duration::ZERO), None);
}
