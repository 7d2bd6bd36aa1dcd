//! Registries: unique keys, duplicate keys, locks; taken by clients, and released by the exit of their
//! holder.

use std::sync::mpsc::channel;

use parking_lot::Mutex;
use rethread::prelude::*;
use rethread::process::{Event, NameError};
use rethread::registry::{DuplicateRegistry, Registry};

use crate::client::Client;
use crate::hand::SLACK;

pub(crate) static ROOMS: Registry<u32, u64> = Registry::new();
pub(crate) static TOPICS: DuplicateRegistry<u8, u64> = DuplicateRegistry::new();

const KEYS: usize = 6;
/// The holders of the keys, as noted by the holders themselves.
static HOLDERS: Mutex<[Option<Pid>; KEYS]> = Mutex::new([None; KEYS]);
/// The process inside the lock.
static WITHIN: Mutex<Option<Pid>> = Mutex::new(None);

/// Returns `true` if the registries hold nothing at the end of the round, no per-process record either.
pub(crate) fn empty() -> bool {
    let nothing = "count: 0, processes: 0";
    format!("{ROOMS:?}").contains(nothing) && format!("{TOPICS:?}").contains(nothing)
}

impl Client<'_> {
    pub(crate) fn hold_a_key(&mut self) {
        let (me, at, n) = (self.inbox.pid(), self.hand.dice.below(KEYS), self.hand.number());
        let key = at as u32;
        match ROOMS.register(key, n) {
            Ok(()) => {}
            Err(NameError::Taken(other)) if other != me => return,
            Err(error) => return self.breach(format!("{me} did not get the key {key}: {error}")),
        }
        let before = HOLDERS.lock()[at].replace(me);
        if let Some(other) = before.filter(|other| process::is_alive(*other)) {
            self.breach(format!("{me} got the key {key}, which {other} has"));
        }
        let updated = ROOMS.update_value(&key, |n| n + 1);
        let (found, again) = (ROOMS.lookup(&key), ROOMS.register(key, 0));
        if found != Some((me, n + 1)) || updated != Some((n + 1, n)) || again != Err(NameError::Taken(me)) {
            self.breach(format!("{me} has the key {key}; found {found:?}, updated {updated:?}, {again:?}"));
        }
        HOLDERS.lock()[at] = None;
        ROOMS.unregister(&key);
        if ROOMS.whereis(&key) == Some(me) {
            self.breach(format!("{me} gave the key {key} up and is found by it"));
        }
    }

    /// Registers several values under a shared key, and checks that exactly its own entries are there, in
    /// order.
    pub(crate) fn subscribe(&mut self) {
        let (me, topic) = (self.inbox.pid(), self.hand.dice.below(3) as u8);
        let mut mine = Vec::new();
        for _ in 0..1 + self.hand.dice.below(6) {
            let n = self.hand.number();
            match TOPICS.register(topic, n) {
                Ok(()) => mine.push(n),
                Err(error) => self.breach(format!("{me} could not subscribe: {error}")),
            }
        }
        let odd = |n: &u64| n % 2 == 1;
        TOPICS.unregister_match(&topic, odd);
        mine.retain(|n| !odd(n));
        let mut received = Vec::new();
        TOPICS.dispatch(&topic, |all| {
            received.extend(all.iter().filter(|(pid, _)| *pid == me).map(|(_, n)| *n));
        });
        let values = TOPICS.values(&topic, me);
        TOPICS.unregister(&topic);
        if values != mine || received != mine || !TOPICS.values(&topic, me).is_empty() {
            self.breach(format!("{me} subscribed with {mine:?}; received {received:?}, found {values:?}"));
        }
    }

    /// Checks that the entries of a process are removed before any watcher is notified of its exit.
    pub(crate) fn exit_with_keys(&mut self) {
        let (key, topic) = (100 + self.hand.dice.below(2) as u32, self.hand.dice.below(3) as u8);
        let Some(helper) = self.helper::<u64>(move |inbox| {
            let _ = ROOMS.register(key, 0);
            let _ = TOPICS.register(topic, 0);
            while let Event::Message(_) = inbox.recv() {}
        }) else {
            return;
        };
        let helper = helper.pid();
        if self.hand.dice.one_in(2) {
            let _ = ROOMS.whereis_timeout(key, self.hand.dice.up_to_ms(1));
        }
        process::exit(helper, ExitReason::Kill);
        self.gone(helper);
        let subscribed = TOPICS.lookup(&topic).iter().any(|(pid, _)| *pid == helper);
        let keys = (ROOMS.keys(helper), TOPICS.keys(helper));
        if ROOMS.whereis(&key) == Some(helper) || subscribed || keys != (Vec::new(), Vec::new()) {
            self.breach(format!(
                "the exited {helper} is found in a registry; subscribed: {subscribed}, {keys:?}"
            ));
        }
    }

    /// Checks that at most one process is inside a lock, and that it is released by an exit.
    pub(crate) fn lock(&mut self) {
        let (books, time) = (self.books(), self.hand.dice.up_to_ms(2));
        let within = move || {
            let me = process::current();
            let mut inside = WITHIN.lock();
            // A zombie has lost the lock, though its thread is still inside.
            let zombie = |pid: Pid| process::zombies().iter().any(|zombie| zombie.pid == pid);
            if let Some(other) = inside.filter(|other| !zombie(*other)) {
                books.breach(format!("{me:?} is within the lock of {other}"));
            }
            *inside = me;
            drop(inside);
            let _out = Out(me);
            process::sleep(time);
        };
        if self.hand.dice.one_in(4) {
            self.become_zombie_within();
        } else if self.hand.dice.one_in(3) {
            let exiting = self.helper::<u64>(move |_| ROOMS.lock(0, within));
            if let Some(exiting) = exiting {
                process::sleep(time / 2);
                process::exit(&exiting, ExitReason::Kill);
                if process::watch(&exiting).wait_timeout(SLACK).is_none() {
                    self.breach(format!("{exiting:?} does not exit within a lock"));
                }
            }
        } else {
            ROOMS.lock(0, within);
        }
    }
}

impl Client<'_> {
    /// Becomes a zombie inside the lock: the lock is lost, and others get it before that thread continues.
    fn become_zombie_within(&mut self) {
        let (go_on, waits) = channel::<Infallible>();
        let body = move || assert!(waits.recv().is_err());
        let Some(unresponsive) = self.helper::<u64>(move |_| ROOMS.lock(1, body)) else { return };
        process::sleep(self.hand.dice.up_to_ms(2));
        process::exit(&unresponsive, ExitReason::Kill);
        self.gone(unresponsive.pid());
        ROOMS.lock(1, || ());
        drop(go_on);
    }
}

struct Out(Option<Pid>);

impl Drop for Out {
    fn drop(&mut self) {
        let mut inside = WITHIN.lock();
        if *inside == self.0 {
            *inside = None;
        }
    }
}
