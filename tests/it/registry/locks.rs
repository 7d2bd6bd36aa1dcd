//! The locks of a registry: one holder at a time, in order, and released however the holder ends. Scenario
//! RG-20.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::scripted_process::ScriptedProcess;
use crate::support::{Gate, Journal, attached, eventually, watchdog};
use rethread::prelude::*;
use rethread::process::{self, Address, Builder, Inbox, ProcessState};
use rethread::registry::{DuplicateRegistry, Registry};

type Keys = Registry<&'static str>;

/// Waits until the process is blocked.
fn waits(pid: impl Into<Pid>) {
    let pid = pid.into();
    eventually("it waits", || process::info(pid).is_some_and(|info| info.state == ProcessState::Waiting));
}

/// Starts a process that holds the lock of `k` until `end` returns; it has the lock when this returns.
fn holder(keys: &Keys, end: impl FnOnce(&mut Inbox<()>) + Send + 'static) -> Address<()> {
    let (keys, gate) = (keys.clone(), Gate::new());
    let began = gate.clone();
    let holder = process::spawn_receiver::<()>(move |inbox| {
        keys.lock("k", || {
            began.open();
            end(inbox);
        });
    });
    gate.pass();
    holder.expect("a free thread")
}

/// Starts a process that waits for the lock of `k`, and notes when it has it.
fn waiter(keys: &Keys, journal: &Journal, note: &'static str) -> Pid {
    let (keys, journal) = (keys.clone(), journal.clone());
    let waiter = process::spawn(move || keys.lock("k", || journal.note(note))).expect("a free thread");
    waits(waiter);
    waiter
}

fn receives(inbox: &mut Inbox<()>) {
    inbox.recv();
}

// scenario: RG-20
#[test]
fn the_lock_of_one_that_is_killed_or_panics_is_free() {
    let _watchdog = watchdog();
    let keys = Keys::new();
    let ends: [fn(&Address<()>); 4] = [
        |holder| process::exit(holder, ExitReason::Kill),
        |holder| process::exit(holder, "crash"),
        |holder| holder.send(()), // it panics
        |holder| holder.send(()), // it returns
    ];
    for (n, end) in ends.into_iter().enumerate() {
        let journal = Journal::new();
        let holder = holder(&keys, move |inbox| {
            inbox.recv();
            assert!(n == 3, "the holder panics");
        });
        waiter(&keys, &journal, "it has the lock");
        assert_eq!(journal.all(), [""; 0]);
        end(&holder);
        assert_eq!(journal.wait_for(1), ["it has the lock"]);
    }
    assert_eq!(keys.lock("k", || 7), 7);
}

#[test]
fn the_lock_of_a_zombie_is_free() {
    let _watchdog = watchdog();
    let (keys, journal, gate) = (Keys::new(), Journal::new(), Gate::new());
    let (own, ready, stuck) = (keys.clone(), Gate::new(), gate.clone());
    let began = ready.clone();
    let zombie = Builder::new()
        .kill_grace(Duration::from_millis(20))
        .spawn(move || {
            own.lock("k", || {
                began.open();
                stuck.pass(); // uninterruptible
            });
        })
        .unwrap();
    ready.pass();
    let first = waiter(&keys, &journal, "first");
    let watch = process::watch(first);
    process::exit(zombie, ExitReason::Kill);
    assert_eq!(journal.wait_for(1), ["first"]);
    watch.wait();
    // The late return of the zombie does not affect the present holder.
    let second = holder(&keys, receives);
    gate.open();
    eventually("it is reaped", || process::zombies().iter().all(|other| other.pid != zombie));
    waiter(&keys, &journal, "third");
    assert_eq!(journal.all(), ["first"]);
    second.send(());
    assert_eq!(journal.wait_for(2), ["first", "third"]);
}

#[test]
fn a_zombie_never_gets_a_lock() {
    let _watchdog = watchdog();
    let (keys, journal) = (Keys::new(), Journal::new());
    let holder = holder(&keys, receives);
    /// Takes the lock in a destructor.
    struct Asks(Keys, Journal);
    impl Drop for Asks {
        fn drop(&mut self) {
            self.0.lock("k", || self.1.note("a zombie has it"));
        }
    }
    let asks = Asks(keys.clone(), journal.clone());
    let zombie = Builder::new()
        .exit_timeout(Duration::from_millis(20))
        .spawn(move || {
            let _asks = asks;
            process::exit_with("enough");
        })
        .unwrap();
    eventually("it is declared a zombie", || process::zombies().iter().any(|other| other.pid == zombie));
    process::watch(zombie).wait();
    waiter(&keys, &journal, "the next one has it");
    holder.send(());
    assert_eq!(journal.wait_for(1), ["the next one has it"]);
    keys.lock("k", || assert_eq!(journal.all().len(), 1));
}

#[test]
fn zombie_waiting_for_lock_never_acquires_it() {
    let _watchdog = watchdog();
    let keys = Keys::new();
    /// Takes the lock in its destructor, too, and stays in it.
    struct Asks(Keys, Gate, Arc<AtomicUsize>);
    impl Asks {
        fn ask(&self) {
            self.0.lock("k", || {
                self.2.fetch_add(1, Ordering::SeqCst);
                self.1.pass();
            });
        }
    }
    impl Drop for Asks {
        fn drop(&mut self) {
            self.ask();
        }
    }
    let mut entered = Vec::new();
    for round in 0..200 {
        let (gate, inside, ready) =
            (Gate::new(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let asks = Asks(keys.clone(), gate.clone(), Arc::clone(&inside));
        let began = Arc::clone(&ready);
        // It becomes a zombie at once, whatever its thread does.
        let builder = Builder::new().kill_grace(Duration::ZERO).exit_timeout(Duration::ZERO);
        let process = builder.spawn(move || {
            let asks = asks;
            asks.0.lock("its first", || ());
            began.store(true, Ordering::SeqCst);
            if round % 2 == 0 {
                asks.ask();
            }
        });
        let (process, mut patience) = (process.unwrap(), round % 50 * 10);
        while !ready.load(Ordering::SeqCst) || patience > 0 {
            patience -= i32::from(ready.load(Ordering::SeqCst));
            std::hint::spin_loop();
        }
        let watch = process::watch(process);
        process::exit(process, ExitReason::Kill);
        watch.wait();
        // It no longer has the lock; and when it continues, to take it once more, it is refused.
        keys.lock("k", || gate.open());
        entered.push(inside);
    }
    let entered: Vec<usize> = entered.iter().map(|inside| inside.load(Ordering::SeqCst)).collect();
    assert!(entered.iter().all(|times| *times <= 1), "a zombie had the lock: {entered:?}");
    assert!(entered.contains(&1), "none ever held it");
}

#[test]
fn an_exit_signal_ends_the_wait() {
    let _watchdog = watchdog();
    let (keys, journal) = (Keys::new(), Journal::new());
    let holder = holder(&keys, receives);
    let (first, second) = (waiter(&keys, &journal, "first"), waiter(&keys, &journal, "second"));
    let third = waiter(&keys, &journal, "third");
    for reason in [ExitReason::Kill, ExitReason::Shutdown] {
        let ended = if reason == ExitReason::Kill { &first } else { &third };
        let watch = process::watch(ended);
        process::exit(ended, reason);
        watch.wait(); // while the lock is held
    }
    assert!(process::is_alive(second));
    holder.send(());
    assert_eq!(journal.wait_for(1), ["second"]);
    keys.lock("k", || assert_eq!(journal.all(), ["second"]));
}

#[test]
fn waiting_processes_get_the_lock_in_order() {
    let _watchdog = watchdog();
    let (keys, journal) = (Keys::new(), Journal::new());
    let holder = holder(&keys, receives);
    let notes = ["1", "2", "3", "4", "5"];
    for note in notes {
        waiter(&keys, &journal, note);
    }
    holder.send(());
    assert_eq!(journal.wait_for(5), notes);
}

#[test]
fn lock_is_for_one_key_and_independent_of_its_holder() {
    attached(|inbox: &mut Inbox<()>| {
        let keys = Keys::new();
        let other = holder(&keys, receives);
        keys.register("k", ()).expect("the key is free");
        assert_eq!(keys.lock("l", || keys.lock("m", || keys.whereis("k"))), Some(inbox.pid()));
        assert_eq!(Keys::new().lock("k", || 7), 7);
        other.send(());
        assert_eq!(keys.lock("k", || keys.count()), 1);
    });
}

#[test]
fn to_lock_twice_is_refused() {
    let _watchdog = watchdog();
    let (keys, groups) = (Keys::new(), DuplicateRegistry::<&str>::new());
    let (own, many) = (keys.clone(), groups.clone());
    let process = ScriptedProcess::new();
    let refused = process.run(move || {
        let twice = || own.lock("k", || own.lock("k", String::new));
        let again = || many.lock("k", || many.lock("k", String::new));
        [
            process::attempt(twice).rescue(|report| report.to_string()),
            process::attempt(again).rescue(|report| report.to_string()),
        ]
    });
    for refused in refused {
        assert!(refused.contains("the caller already holds the lock of this key"), "{refused}");
        assert!(refused.contains(file!()), "{refused}");
    }
    assert_eq!((keys.lock("k", || 1), groups.lock("k", || 2)), (1, 2));
}

/// Leaves also if the process is ended inside.
struct Inside<'a>(&'a AtomicBool);

impl<'a> Inside<'a> {
    fn enter(it: &'a AtomicBool) -> Self {
        assert!(!it.swap(true, Ordering::SeqCst), "two have the lock");
        Self(it)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        assert!(self.0.swap(false, Ordering::SeqCst), "another process left");
    }
}

/// The state shared by all that compete for two locks.
#[derive(Default)]
struct Arena {
    keys: Registry<usize>,
    inside: [AtomicBool; 2],
    done: AtomicUsize,
}

const ROUNDS: usize = 4000;

impl Arena {
    /// Takes the locks in turn until enough is done, with occasional crashes if it is a process.
    fn compete(&self, seed: usize, crashes: bool) {
        for n in seed.. {
            let key = n % 2;
            let done = self.keys.lock(key, || {
                let _inside = Inside::enter(&self.inside[key]);
                let done = self.done.fetch_add(1, Ordering::SeqCst);
                process::checkpoint();
                if crashes && n % 50 == 49 {
                    process::exit_with("crash");
                }
                done
            });
            if done > ROUNDS {
                break;
            }
        }
    }
}

#[test]
fn lock_has_one_holder_at_a_time_despite_exits() {
    let _watchdog = watchdog();
    let arena: Arc<Arena> = Arc::default();
    let worker = |seed| {
        let (arena, patient) = (Arc::clone(&arena), Duration::from_secs(600));
        let builder = Builder::new().kill_grace(patient).exit_timeout(patient);
        let worker = builder.spawn(move || arena.compete(seed, true)).expect("a free thread");
        (process::watch(worker), worker)
    };
    let mut workers: Vec<_> = (0..10).map(worker).collect();
    std::thread::scope(|threads| {
        // Foreign threads take part too.
        let outside = [0, 1].map(|seed| {
            threads.spawn({
                let arena = &arena;
                move || arena.compete(seed, false)
            })
        });
        let mut ended = 0;
        for n in 10.. {
            let (watch, worker) = std::mem::replace(&mut workers[n % 10], worker(n));
            let reason = if n % 2 == 0 { ExitReason::Kill } else { ExitReason::Shutdown };
            process::exit(worker, reason.clone());
            let reason = watch.wait();
            assert!(!matches!(reason, ExitReason::Panic(_)), "{reason}");
            ended += usize::from(matches!(reason, ExitReason::Killed | ExitReason::Shutdown));
            if arena.done.load(Ordering::SeqCst) > ROUNDS && ended > 50 {
                break;
            }
        }
        for outside in outside {
            outside.join().expect("nothing went wrong");
        }
    });
    for (watch, worker) in workers {
        process::exit(worker, ExitReason::Shutdown);
        let reason = watch.wait();
        assert!(!matches!(reason, ExitReason::Panic(_)), "{reason}");
    }
    for key in [0, 1] {
        arena.keys.lock(key, || drop(Inside::enter(&arena.inside[key])));
    }
}

#[test]
fn a_thread_that_becomes_a_process_has_the_lock_already() {
    let _watchdog = watchdog();
    let keys = Keys::new();
    let again = keys.lock("k", || process::attach_receiver(|_: &mut Inbox<()>| keys.lock("k", || ())));
    assert!(again.unwrap_err().to_string().contains("already holds the lock of this key"));
    keys.lock("k", || ());
}
