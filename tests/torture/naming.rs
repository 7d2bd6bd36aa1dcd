//! Names registered and unregistered by hand, also those of supervised servers.

use parking_lot::Mutex;
use rethread::prelude::*;
use rethread::process::{Event, Name, NameError};

use crate::client::Client;
use crate::hand::SLACK;

/// The names that all clients compete for; the same in all rounds.
pub(crate) const WILD: [Name<u64>; 4] = [
    Name::new("torture wild 0"),
    Name::new("torture wild 1"),
    Name::new("torture wild 2"),
    Name::new("torture wild 3"),
];

/// The holders of the names, as noted by the holders themselves.
static HOLDERS: Mutex<[Option<Pid>; WILD.len()]> = Mutex::new([None; WILD.len()]);

/// Notes that the calling process holds a name; fails if another process has noted itself.
fn note(at: usize, me: Pid) -> Result<(), Pid> {
    let before = HOLDERS.lock()[at].replace(me);
    match before.filter(|other| process::is_alive(*other)) {
        Some(other) => Err(other),
        None => Ok(()),
    }
}

impl Client<'_> {
    /// Registers a name, if it is free.
    pub(crate) fn claim(&mut self, at: usize) -> bool {
        let me = self.inbox.pid();
        match process::register(WILD[at].as_str(), me) {
            Ok(()) => {
                if let Err(other) = note(at, me) {
                    self.breach(format!("{me} got {:?}, which {other} has", WILD[at]));
                }
                if WILD[at].whereis() != Some(me) {
                    self.breach(format!("{me} has {:?} and is not found by it", WILD[at]));
                }
                true
            }
            Err(NameError::Taken(other)) if other != me => false,
            Err(error) => {
                self.breach(format!("{me} did not get {:?}: {error}", WILD[at]));
                false
            }
        }
    }

    pub(crate) fn give_up(&mut self, at: usize) {
        let me = self.inbox.pid();
        // A helper that is killed while it registers the name may have overwritten our note.
        HOLDERS.lock()[at].take_if(|noted| *noted == me);
        if let Err(error) = process::unregister(WILD[at].as_str()) {
            self.breach(format!("{me} had {:?} and could not give it up: {error}", WILD[at]));
        }
    }

    pub(crate) fn hold_a_name(&mut self) {
        let at = self.hand.dice.below(WILD.len());
        if self.hand.dice.one_in(3) {
            return self.exit_with_a_name(at);
        }
        if !self.claim(at) {
            return;
        }
        let other = (at + 1) % WILD.len();
        match process::register(WILD[other].as_str(), self.inbox.pid()) {
            Err(NameError::AlreadyNamed(_)) => {}
            result => self.breach(format!("a second name for one process: {result:?}")),
        }
        if self.hand.dice.one_in(2) {
            process::sleep(self.hand.dice.up_to_ms(2));
        }
        self.give_up(at);
    }

    /// Checks that a watcher that is notified of an exit finds the name free, or with another holder.
    fn exit_with_a_name(&mut self, at: usize) {
        let Some(helper) = self.helper::<u64>(move |inbox| {
            let me = inbox.pid();
            if process::register(WILD[at].as_str(), me).is_ok() && note(at, me).is_err() {
                // Unless it was killed before it could note itself: then another holder is legitimate.
                process::checkpoint();
                HOLDERS.lock()[at] = None;
                panic!("two hold one name");
            }
            loop {
                inbox.recv();
            }
        }) else {
            return;
        };
        WILD[at].send(0).ok();
        let watch = process::watch(&helper);
        if self.hand.dice.one_in(2) {
            process::sleep(self.hand.dice.up_to_ms(1));
        }
        process::exit(&helper, ExitReason::Kill);
        match watch.wait() {
            ExitReason::Killed => {}
            other => self.breach(format!("the process that took a name and was killed exited with {other}")),
        }
        if WILD[at].whereis() == Some(helper.pid()) {
            self.breach(format!("{:?} is held by {helper:?}, which has exited", WILD[at]));
        }
    }

    /// Holds the name of a supervised server for a moment, if it is free: its supervisor has to retry.
    pub(crate) fn steal_a_name(&mut self) {
        let slot = self.hand.slot();
        if let Some(pid) = slot.server().whereis() {
            process::exit(pid, ExitReason::Kill);
        }
        let (name, books) = (slot.name.clone(), self.books());
        let time = self.hand.dice.up_to_ms(1);
        let thief = self.helper::<u64>(move |inbox| {
            if process::register(name.as_str(), inbox.pid()).is_ok() {
                let found = process::whereis(&name);
                if found != Some(inbox.pid()) {
                    process::checkpoint(); // unless it was killed in between
                    books.breach(format!("a thief has {name} and finds {found:?} there"));
                }
                while let Some(Event::Message(_)) = inbox.recv_timeout(time) {}
            }
        });
        if let Some(thief) = thief {
            if process::watch(&thief).wait_timeout(SLACK).is_none() {
                self.breach(format!("the thief {thief:?} does not end"));
            }
        }
    }
}
