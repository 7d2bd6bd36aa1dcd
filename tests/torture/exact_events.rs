//! Listeners with a fully known history: they must receive exactly the expected events of one key.

use std::sync::Arc;

use parking_lot::Mutex;
use rethread::prelude::*;
use rethread::process::{Address, Event, NameError};
use rethread::registry::RegistryEvent;

use crate::client::Client;
use crate::hand::SLACK;
use crate::keys::{ROOMS, TOPICS};
use crate::listeners::{self, Announcement, RegistryMessage, Unresponsive};

enum Message {
    RegistryMessage(RegistryMessage),
    /// Request to report the events received so far.
    Report(Arc<Mutex<Vec<Announcement>>>, Address<u64>, u64),
}

impl<K> From<RegistryEvent<K, u64>> for Message
where
    RegistryMessage: From<RegistryEvent<K, u64>>,
{
    fn from(event: RegistryEvent<K, u64>) -> Self {
        Self::RegistryMessage(event.into())
    }
}

/// A duplicate key, for several holders at the same time.
const TOPIC: u8 = 200;

impl Client<'_> {
    /// Subscribes several listeners, registers and unregisters keys, and lets another process exit with
    /// one. Each listener must receive exactly these events, each before the operation returns, and the end
    /// before any watcher is notified of the exit.
    pub(crate) fn check_exact_events(&mut self) {
        let mut listeners = Vec::new();
        for _ in 0..1 + self.hand.dice.below(3) {
            let Some(listener) = self.helper::<Message>(|inbox| {
                let mut received = Vec::new();
                while let Event::Message(message) = inbox.recv() {
                    match message {
                        Message::RegistryMessage(event) => received.push(Announcement::from(event)),
                        Message::Report(to, asker, number) => {
                            to.lock().clone_from(&received);
                            asker.send(number);
                        }
                    }
                }
            }) else {
                break;
            };
            for _ in 0..1 + self.hand.dice.below(2) {
                // Subscribing twice has no effect.
                ROOMS.listen(&listener);
                TOPICS.listen(&listener);
            }
            listeners.push(listener);
        }
        let unresponsive =
            self.helper::<Unresponsive>(|inbox| while let Event::Message(Unresponsive) = inbox.recv() {});
        unresponsive.iter().for_each(|unresponsive| ROOMS.listen(unresponsive));
        let all: Vec<Pid> =
            listeners.iter().map(Address::pid).chain(unresponsive.iter().map(Address::pid)).collect();
        if self.hand.dice.one_in(4) {
            listeners.pop().into_iter().for_each(|exiting| process::exit(&exiting, ExitReason::Kill));
        }
        let key = 10_000 + self.hand.id() as u32;
        let me = self.inbox.pid();
        let before = listeners::events_about(me);
        let due = self.take_and_give_up(key);
        let after = listeners::events_about(me);
        for ((listening_server, before), (same, after)) in
            before.into_iter().zip(after).filter_map(|(a, b)| a.zip(b))
        {
            if listening_server == same && after != before + due.len() {
                self.breach(format!(
                    "{me} did {due:?}; {listening_server} had received {before} before, and {after} then"
                ));
            }
        }
        let exited = self.exit_registered(key + 1_000);
        for listener in &listeners {
            let Some(received) = self.report(listener) else { continue };
            let of = |pid: Pid, keys: [u32; 2]| {
                let wanted =
                    |announced: &&Announcement| announced.pid == pid && keys.contains(&announced.key);
                received.iter().filter(wanted).cloned().collect::<Vec<_>>()
            };
            let mine = of(me, [key, TOPIC.into()]);
            if mine != due {
                self.breach(format!("{me} did {due:?}; {listener:?} received {mine:?}"));
            }
            let Some((exited, value, registered)) = exited else { continue };
            let its = of(exited, [key + 1_000; 2]);
            let announced = |began| Announcement { pid: exited, key: key + 1_000, many: false, began };
            if its != [announced(Some(value)), announced(None)] && (registered || !its.is_empty()) {
                self.hand
                    .books
                    .suspect(exited, format!("of {exited}, which has exited, was received {its:?}"));
            }
        }
        for listener in all {
            process::exit(listener, ExitReason::Kill);
            self.gone(listener);
        }
    }

    /// Registers and unregisters the key, and returns the expected events.
    fn take_and_give_up(&mut self, key: u32) -> Vec<Announcement> {
        let (pid, mut due, mut joined) = (self.inbox.pid(), Vec::new(), Vec::new());
        for _ in 0..1 + self.hand.dice.below(5) {
            let (n, topic) =
                (self.hand.number(), Announcement { pid, key: TOPIC.into(), many: true, began: None });
            let room = Announcement { key, many: false, ..topic.clone() };
            match self.hand.dice.below(4) {
                0 => {
                    if let Err(error) = TOPICS.register(TOPIC, n) {
                        self.breach(format!("{pid} could not subscribe: {error}"));
                    }
                    joined.push(n);
                    due.push(Announcement { began: Some(n), ..topic });
                }
                1 => {
                    TOPICS.unregister_match(&TOPIC, |joined| joined % 2 == 0);
                    let before = joined.len();
                    joined.retain(|joined| joined % 2 == 1);
                    due.extend((joined.len()..before).map(|_| topic.clone()));
                }
                _ => {
                    if let Err(error) = ROOMS.register(key, n) {
                        self.breach(format!("{pid} did not get the key {key}: {error}"));
                    }
                    // None of these causes an event.
                    let again = ROOMS.register(key, 0);
                    ROOMS.update_value(&key, |n| n + 1);
                    ROOMS.unregister(&(key + 1));
                    ROOMS.unregister(&key);
                    if again != Err(NameError::Taken(pid)) {
                        self.breach(format!("{pid} took the key {key} twice: {again:?}"));
                    }
                    due.extend([Announcement { began: Some(n), ..room.clone() }, room]);
                }
            }
        }
        TOPICS.unregister(&TOPIC);
        due.extend(joined.iter().map(|_| Announcement { pid, key: TOPIC.into(), many: true, began: None }));
        due
    }

    /// Starts a process that is killed during or after its registration; returns its pid, its value, and
    /// whether it surely registered.
    fn exit_registered(&mut self, key: u32) -> Option<(Pid, u64, bool)> {
        let n = self.hand.number();
        let helper = self.helper::<u64>(move |inbox| {
            let _ = ROOMS.register(key, n);
            while let Event::Message(_) = inbox.recv() {}
        })?;
        let wait = if self.hand.dice.one_in(2) { SLACK } else { self.hand.dice.up_to_ms(1) };
        let registered = ROOMS.whereis_timeout(key, wait).is_some();
        process::exit(&helper, ExitReason::Kill);
        self.gone(helper.pid());
        Some((helper.pid(), n, registered))
    }

    /// Returns the events that a listener has received so far.
    fn report(&mut self, listener: &Address<Message>) -> Option<Vec<Announcement>> {
        let (received, number) = (Arc::default(), self.hand.number());
        listener.send(Message::Report(Arc::clone(&received), self.inbox.address(), number));
        let answer = |event: &Event<u64>| matches!(event, Event::Message(n) if *n == number);
        if self.inbox.recv_where_timeout(SLACK, answer).is_none() {
            self.breach(format!("{listener:?} does not report its events"));
            return None;
        }
        let received = received.lock().clone();
        Some(received)
    }
}
