//! User code in a registry: it may use the registry while it runs, and its faults affect only the process
//! that owns it.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Gate, attached, eventually, watchdog};
use rethread::prelude::*;
use rethread::process::{self, Builder, Event, Inbox};
use rethread::registry::{DuplicateRegistry, Registry, RegistryEvent};

static UNIQUE: Registry<u32, Nosy> = Registry::new();
static MANY: DuplicateRegistry<u32, Nosy> = DuplicateRegistry::new();
static CLONED: AtomicUsize = AtomicUsize::new(0);
static DROPPED: AtomicUsize = AtomicUsize::new(0);

/// A value that queries its registries whenever it is cloned or dropped.
#[derive(Debug, PartialEq)]
struct Nosy(u32);

fn ask() {
    // Two levels of recursion are enough, and end.
    thread_local!(static ASKING: AtomicBool = const { AtomicBool::new(false) });
    if !ASKING.with(|asking| asking.swap(true, Ordering::SeqCst)) {
        for key in 0..40 {
            UNIQUE.lookup(&key);
            MANY.lookup(&key);
        }
        UNIQUE.unregister(&100);
        MANY.unregister(&100);
        let _ = (UNIQUE.register(101, Nosy(0)), MANY.register(101, Nosy(0)));
        let _ = (UNIQUE.entries(), MANY.entries(), UNIQUE.count(), MANY.count());
        UNIQUE.unregister(&101);
        MANY.unregister_match(&101, |_| true);
        UNIQUE.update_value(&1, |old| old);
        UNIQUE.lock(1000, || MANY.lock(1000, || ()));
        ASKING.with(|asking| asking.store(false, Ordering::SeqCst));
    }
}

impl Clone for Nosy {
    fn clone(&self) -> Self {
        CLONED.fetch_add(1, Ordering::SeqCst);
        ask();
        Self(self.0)
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::SeqCst);
        ask();
    }
}

/// A message that queries everything while it is converted from an event.
#[derive(Debug)]
struct EventMessage;

impl From<RegistryEvent<u32, Nosy>> for EventMessage {
    fn from(event: RegistryEvent<u32, Nosy>) -> Self {
        ask();
        drop(event);
        Self
    }
}

#[test]
fn the_code_of_users_runs_under_no_lock() {
    attached(|inbox: &mut Inbox<EventMessage>| {
        UNIQUE.listen(&inbox.address());
        MANY.listen(&inbox.address());
        for _ in 0..3 {
            UNIQUE.register(1, Nosy(1)).unwrap();
            UNIQUE.register(1, Nosy(1)).unwrap_err();
            MANY.register(1, Nosy(2)).unwrap();
            MANY.register(1, Nosy(3)).unwrap();
            let updated = UNIQUE.update_value(&1, |old| {
                ask();
                Nosy(old.0 + 1)
            });
            assert_eq!(updated, Some((Nosy(2), Nosy(1))));
            UNIQUE.dispatch(&1, |_| ask());
            MANY.dispatch(&1, |entries| {
                MANY.unregister(&1); // the dispatch works on a copy
                assert_eq!(entries.len(), 2);
            });
            MANY.register(1, Nosy(4)).unwrap();
            MANY.unregister_match(&1, |_| {
                ask();
                true
            });
            UNIQUE.update_value(&1, |old| {
                UNIQUE.unregister(&1); // then there is nothing to update
                old
            });
            assert_eq!(UNIQUE.lookup(&1), None);
        }
        // The same in an exit cleanup, and in a takeover.
        for _ in 0..20 {
            let holder = process::spawn_receiver::<()>(|inbox| {
                for key in 1..5 {
                    UNIQUE.register(key, Nosy(1)).and(MANY.register(key, Nosy(2))).unwrap();
                }
                inbox.recv();
            })
            .unwrap();
            eventually("it holds all", || MANY.values(&4, &holder).len() == 1);
            let watch = process::watch(&holder);
            process::exit(&holder, ExitReason::Kill);
            UNIQUE.register(2, Nosy(5)).unwrap();
            watch.wait();
            assert_eq!(UNIQUE.values(&2, inbox.pid()), [Nosy(5)]);
            UNIQUE.unregister(&2);
        }
        assert!(CLONED.load(Ordering::SeqCst) > 100 && DROPPED.load(Ordering::SeqCst) > 100);
    });
}

/// A value whose destructor panics.
#[derive(Clone)]
struct Bomb(Arc<AtomicUsize>);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("the destructor of a value");
    }
}

/// A message that cannot be created.
struct Unconvertible;

impl<V> From<RegistryEvent<u8, V>> for Unconvertible {
    fn from(event: RegistryEvent<u8, V>) -> Self {
        std::mem::forget(event);
        panic!("a listener")
    }
}

#[test]
fn panic_in_destructor_or_listener_is_contained() {
    attached(|inbox: &mut Inbox<Unconvertible>| {
        let (unique, many) = (Registry::<u8, Bomb>::new(), DuplicateRegistry::<u8, Bomb>::new());
        unique.listen(&inbox.address());
        many.listen(&inbox.address());
        let went_off = Arc::new(AtomicUsize::new(0));
        // In the registering process itself.
        unique.register(1, Bomb(Arc::clone(&went_off))).unwrap();
        unique.register(1, Bomb(Arc::clone(&went_off))).unwrap_err();
        many.register(1, Bomb(Arc::clone(&went_off))).unwrap();
        unique.unregister(&1);
        many.unregister(&1);
        assert_eq!(went_off.load(Ordering::SeqCst), 3);
        // And in its exit cleanup: all keys are released, and watchers receive the true reason.
        for reason in [ExitReason::Killed, "enough".into()] {
            let before = went_off.load(Ordering::SeqCst);
            let (u, m, bomb) = (unique.clone(), many.clone(), Arc::clone(&went_off));
            let holder = process::spawn_receiver::<()>(move |inbox| {
                for key in 1..=10 {
                    u.register(key, Bomb(Arc::clone(&bomb))).unwrap();
                    m.register(key, Bomb(Arc::clone(&bomb))).unwrap();
                }
                inbox.recv();
            })
            .unwrap();
            eventually("it holds all", || many.count() == 10);
            let watch = process::watch(&holder);
            let sent = if reason == ExitReason::Killed { ExitReason::Kill } else { reason.clone() };
            process::exit(&holder, sent);
            assert_eq!(watch.wait(), reason);
            assert_eq!((unique.count(), many.count()), (0, 0));
            assert_eq!(went_off.load(Ordering::SeqCst), before + 20);
        }
    });
}

/// A key that can no longer be found once it is spoilt.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Spoilt(u8);

static SPOILT: AtomicBool = AtomicBool::new(false);

impl Hash for Spoilt {
    fn hash<H: Hasher>(&self, state: &mut H) {
        assert!(self.0 != 3 || !SPOILT.load(Ordering::SeqCst), "a spoilt key");
        self.0.hash(state);
    }
}

#[test]
fn a_spoilt_key_keeps_no_other_from_being_released() {
    let _watchdog = watchdog();
    let keys: Registry<Spoilt> = Registry::new();
    let own = keys.clone();
    let holder = process::spawn_receiver::<()>(move |inbox| {
        (0..10).for_each(|key| own.register(Spoilt(key), ()).expect("it is free"));
        inbox.recv();
    })
    .unwrap();
    eventually("it holds all", || keys.count() == 10);
    SPOILT.store(true, Ordering::SeqCst);
    let watch = process::watch(&holder);
    process::exit(&holder, "enough");
    assert_eq!(watch.wait(), "enough".into());
    assert_eq!((keys.count(), keys.entries(), keys.keys(&holder)), (0, vec![], vec![]));
    // The released keys can be registered without a takeover, the spoilt one by a takeover once it is
    // intact.
    SPOILT.store(false, Ordering::SeqCst);
    let own = keys.clone();
    let other = process::spawn_receiver::<()>(move |inbox| {
        (0..10).for_each(|key| own.register(Spoilt(key), ()).expect("it is free"));
        inbox.recv();
    });
    eventually("another has them all", || keys.count() == 10);
    process::exit(other.unwrap(), ExitReason::Kill);
}

/// A value that queries its registry when it is dropped, also in an exiting process.
#[derive(Clone)]
struct Looks;

static LOOKED_AT: Registry<u32, Looks> = Registry::new();

impl Drop for Looks {
    fn drop(&mut self) {
        let _ = format!("{LOOKED_AT:?}");
    }
}

#[test]
fn an_update_that_comes_too_late_drops_its_value_under_no_lock() {
    let _watchdog = watchdog();
    let (updates, goes_on, holds, ends) = (Gate::new(), Gate::new(), Gate::new(), Gate::new());
    let (began, may) = (updates.clone(), goes_on.clone());
    let late = Builder::new().kill_grace(Duration::from_secs(30)).spawn(move || {
        LOOKED_AT.register(1, Looks).unwrap();
        LOOKED_AT.update_value(&1, |old| {
            began.open();
            may.pass();
            old
        });
    });
    let late = late.unwrap();
    updates.pass();
    let ended = process::watch(late);
    process::exit(late, ExitReason::Kill);
    // The key is taken over, and comes back to the one that is exiting.
    let (has, may) = (holds.clone(), ends.clone());
    let next = process::spawn(move || {
        LOOKED_AT.register(1, Looks).unwrap();
        has.open();
        may.pass();
    });
    let next = process::watch(next.unwrap());
    holds.pass();
    ends.open();
    next.wait();
    goes_on.open();
    assert_eq!(ended.wait_timeout(Duration::from_secs(30)), Some(ExitReason::Killed));
}

/// A value that takes a lock of another registry when it is dropped.
#[derive(Clone)]
struct Locks;

static LOCKING: Registry<u32, Locks> = Registry::new();
static LOCKED: Registry<u32> = Registry::new();

impl Drop for Locks {
    fn drop(&mut self) {
        LOCKED.lock(1, || ());
    }
}

#[test]
fn cleanup_releases_all_locks_before_it_drops_a_value() {
    let _watchdog = watchdog();
    let (inside, gate) = (Gate::new(), Gate::new());
    let (began, unresponsive) = (inside.clone(), gate.clone());
    let stuck = process::spawn(move || {
        LOCKING.register(1, Locks).unwrap();
        LOCKED.lock(1, || {
            began.open();
            unresponsive.pass();
        });
    });
    let stuck = stuck.unwrap();
    inside.pass();
    let watch = process::watch(stuck);
    process::exit(stuck, ExitReason::Kill);
    let ended = watch.wait_timeout(Duration::from_secs(10));
    gate.open();
    assert_eq!(ended, Some(ExitReason::Killed));
}

/// Two gates for the conversion of an event into a message: it opens the first, and waits at the second.
type Hurdle = (Gate, Gate);

/// Converted from an event as slowly as its value requires.
struct Slow(Pid);

impl From<RegistryEvent<u8, Hurdle>> for Slow {
    fn from(event: RegistryEvent<u8, Hurdle>) -> Self {
        if let RegistryEvent::Register { value: (inside, gate), .. } = &event {
            inside.open();
            gate.pass();
        }
        Self(event.pid())
    }
}

#[test]
fn listeners_notified_of_registration_of_zombie_are_notified_of_its_removal() {
    let _watchdog = watchdog();
    attached(|inbox: &mut Inbox<RegistryEvent<u8, Hurdle>>| {
        let keys: Registry<u8, Hurdle> = Registry::new();
        keys.listen(&inbox.address());
        let (tx, first) = std::sync::mpsc::channel();
        let slow = process::spawn_receiver::<Slow>(move |inbox| {
            if let Some(Slow(pid)) = inbox.recv().into_message() {
                tx.send(pid).unwrap();
            }
        });
        keys.listen(&slow.unwrap());
        let (own, hurdle) = (keys.clone(), Hurdle::default());
        let (inside, gate) = hurdle.clone();
        let plan = Builder::new().kill_grace(Duration::from_millis(10));
        let holder = plan.spawn(move || drop(own.register(1, hurdle))).unwrap();
        let _ = process::monitor(holder);
        inside.pass();
        keys.listen(&inbox.address()); // a second time has no effect
        process::exit(holder, ExitReason::Kill);
        assert!(matches!(inbox.recv(), Event::Message(RegistryEvent::Register { .. })));
        assert!(matches!(inbox.recv(), Event::Message(RegistryEvent::Unregister { .. })));
        assert!(matches!(inbox.recv(), Event::Down { .. }));
        gate.open();
        eventually("the zombie is gone", || process::zombies().iter().all(|zombie| zombie.pid != holder));
        keys.register(2, (Gate::new(), gate)).unwrap();
        assert_eq!(first.recv(), Ok(inbox.pid())); // no event of the zombie
        assert_eq!(inbox.len(), 1);
    });
}

/// A key whose `Eq` uses a registry.
#[derive(Clone, Debug)]
struct Curious(u32);

static CURIOUS: Registry<Curious> = Registry::new();
static COMPARES: AtomicBool = AtomicBool::new(false);

impl Hash for Curious {
    fn hash<H: Hasher>(&self, state: &mut H) {
        0.hash(state); // all keys are compared
    }
}

impl PartialEq for Curious {
    fn eq(&self, other: &Self) -> bool {
        if COMPARES.swap(false, Ordering::SeqCst) {
            assert!(process::whereis("names are no registry").is_none());
            CURIOUS.count();
        }
        self.0 == other.0
    }
}

impl Eq for Curious {}

#[test]
fn key_whose_eq_uses_its_registry_panics_and_does_not_hang() {
    attached(|_: &mut Inbox<()>| {
        assert_eq!(CURIOUS.register(Curious(1), ()), Ok(()));
        let uses: [fn(); 6] = [
            || drop(CURIOUS.register(Curious(2), ())),
            || assert!(CURIOUS.whereis(&Curious(2)).is_none()),
            || CURIOUS.unregister(&Curious(1)),
            || assert!(CURIOUS.whereis_timeout(Curious(2), Duration::ZERO).is_none()),
            || CURIOUS.lock(Curious(1), || CURIOUS.lock(Curious(2), || ())),
            || assert!(CURIOUS.update_value(&Curious(1), |()| ()).is_none()),
        ];
        for (n, a_use) in uses.into_iter().enumerate() {
            COMPARES.store(true, Ordering::SeqCst);
            let text = process::attempt(|| {
                a_use();
                String::new()
            });
            let text = text.rescue(|report| report.message().to_owned());
            assert!(text.contains("Hash or Eq of a registry key has used a registry"), "{n}: {text}");
            COMPARES.store(false, Ordering::SeqCst);
            // The registry works as before.
            assert_eq!(CURIOUS.whereis(&Curious(1)), process::current());
            assert_eq!((CURIOUS.whereis(&Curious(2)), CURIOUS.count()), (None, 1));
        }
        CURIOUS.lock(Curious(1), || CURIOUS.lock(Curious(2), || ()));
    });
}
