//! Listeners of registries: each receives each registration once, and then its end once.

use std::time::Duration;

use rethread::prelude::*;
use rethread::process::{Address, Event, Inbox};
use rethread::registry::{Registry, RegistryEvent};

use crate::harness::{drained, end_of, race};
use crate::support::Idle;

/// A message to a listener.
#[derive(Debug, Clone, PartialEq)]
enum Message {
    Event(RegistryEvent<&'static str>),
    /// An event of another registration.
    Other,
}

impl From<RegistryEvent<&'static str>> for Message {
    fn from(event: RegistryEvent<&'static str>) -> Self {
        Self::Event(event)
    }
}

/// Returns the events about one process until its `Down`, which must come after all of them: `true` for a
/// registration.
fn events_about(pid: Pid, inbox: &mut Inbox<Message>) -> Vec<bool> {
    let mut received = Vec::new();
    loop {
        match inbox.recv() {
            Event::Message(Message::Event(event)) if event.pid() == pid => {
                received.push(matches!(event, RegistryEvent::Register { .. }));
            }
            Event::Message(_) => {}
            Event::Down { target, .. } if target == process::MonitorTarget::Pid(pid) => return received,
            other => panic!("{other:?}"),
        }
    }
}

fn exits(pid: Pid) -> process::Address<Message> {
    process::spawn_receiver(move |_| process::exit(pid, ExitReason::Kill)).expect("a thread")
}

#[test]
fn entry_and_its_end_are_announced_once_before_the_exit_of_its_process() {
    race("registry: listen, register, unregister, kill")
        .run_as(|inbox| all_events_arrive(process::Builder::new(), inbox));
}

#[test]
fn entry_and_its_end_are_announced_once_if_its_process_becomes_a_zombie() {
    race("registry: listen, register, unregister, kill, deadline").impatient().run_as(|inbox| {
        all_events_arrive(process::Builder::new().kill_grace(Duration::from_micros(1)), inbox);
    });
}

fn all_events_arrive(plan: process::Builder, inbox: &mut Inbox<Message>) {
    let registry = Registry::<&str>::new();
    registry.listen(&inbox.address());
    let held = registry.clone();
    let holder = plan.spawn(move || {
        let _ = held.register("a", ());
        held.unregister("a");
        let _ = held.register("a", ());
    });
    let pid = holder.expect("a thread");
    let _monitor = process::monitor(pid);
    let killer = exits(pid);
    let received = events_about(pid, inbox);
    assert!([&[][..], &[true, false], &[true, false, true, false]].contains(&&received[..]), "{received:?}");
    end_of(&killer);
    assert_eq!(drained(inbox), []);
}

#[test]
fn process_killed_by_key_before_it_starts_is_announced_once() {
    race("registry: listen, spawn with key, kill by key, deadline").impatient().run_as(|inbox| {
        let registry = Registry::<&str>::new();
        registry.listen(&inbox.address());
        let sought = registry.clone();
        let test = inbox.address();
        // The killer finds the process by its key, possibly before its thread begins, and sends `Other`
        // after the exit.
        let killer = process::spawn(move || {
            if let Some(found) = sought.whereis_timeout("a", Duration::from_millis(1)) {
                process::exit(found, ExitReason::Kill);
                end_of(found);
                test.send(Message::Other);
            }
        });
        let impatient = process::Builder::new().kill_grace(Duration::from_micros(1));
        let spec = Idle::child_spec(()).process(impatient).name(registry.server("a"));
        if let Ok(server) = spec.start() {
            let watch = server.watch();
            server.whereis().into_iter().for_each(|pid| process::exit(pid, ExitReason::Kill));
            watch.wait();
        }
        end_of(killer.expect("a thread"));
        // All events must precede the exit, which `Other` marks.
        let mut received: Vec<_> = drained(inbox).into_iter().filter_map(Event::into_message).collect();
        if let Some(at) = received.iter().position(|received| *received == Message::Other) {
            assert!(
                at == 0 || at == 2 && received.len() == 3,
                "an event arrived after the exit: {received:?}"
            );
            received.remove(at);
        }
        let register =
            |received: &Message| matches!(received, Message::Event(RegistryEvent::Register { .. }));
        let registrations: Vec<bool> = received.iter().map(register).collect();
        assert!(registrations.is_empty() || registrations == [true, false], "{received:?}");
    });
}

#[test]
fn listener_added_several_times_receives_each_event_once() {
    race("registry: listen, listen").run_as(|inbox| {
        let registry = Registry::<&str>::new();
        let entering = [(); 2].map(|()| {
            let (registry, listener): (_, Address<Message>) = (registry.clone(), inbox.address());
            process::spawn(move || registry.listen(&listener)).expect("a thread")
        });
        let (late, test) = (registry.clone(), inbox.address());
        let other = process::spawn_receiver::<Message>(move |inbox| {
            late.listen(&inbox.address());
            test.send(Message::Other);
            inbox.recv(); // unless the subscription was removed
        });
        registry.listen(&inbox.address());
        assert_eq!(inbox.recv(), Event::Message(Message::Other));
        entering.iter().for_each(|process| drop(end_of(process)));
        registry.register("a", ()).expect("it is free");
        assert_eq!(inbox.len(), 1);
        registry.unregister("a");
        assert_eq!(drained(inbox).len(), 2);
        end_of(other.expect("a thread"));
    });
}

#[test]
fn exit_of_a_listener_loses_no_event_of_others() {
    race("registry: register, listener ends, listen").run_as(|inbox| {
        let registry = Registry::<&str>::new();
        let ending = process::spawn_receiver::<Message>(|inbox| drop(inbox.recv())).expect("a thread");
        registry.listen(&ending);
        let (late, registering) = (registry.clone(), registry.clone());
        let address: Address<Message> = inbox.address();
        let entering = process::spawn_receiver::<Message>(move |inbox| {
            late.listen(&address); // while the subscription of the exiting one is removed
            late.listen(&inbox.address());
        });
        let holder = process::spawn(move || registering.register("a", ()).expect("it is free"));
        let holder = holder.expect("a thread");
        process::exit(&ending, ExitReason::Kill);
        end_of(holder);
        end_of(entering.expect("a thread"));
        let before = drained(inbox).len();
        assert!(before <= 2, "{before} events of one entry");
        registry.register("b", ()).expect("it is free");
        registry.unregister("b");
        let received = drained(inbox);
        assert_eq!(received.len(), 2, "{received:?}");
        end_of(&ending);
    });
}
