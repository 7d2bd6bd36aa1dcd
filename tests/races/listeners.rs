//! Listeners of registries: each receives each registration once, and then its end once.

use std::time::Duration;

use rethread::prelude::*;
use rethread::process::{Address, Event, Inbox};

use crate::harness::{drained, end_of, race};
use crate::support::Idle;

/// A message to a listener.
#[derive(Debug, Clone, PartialEq)]
enum Heard {
    Event(RegistryEvent<&'static str>),
    /// An event of another registration.
    Other,
}

impl From<RegistryEvent<&'static str>> for Heard {
    fn from(event: RegistryEvent<&'static str>) -> Self {
        Self::Event(event)
    }
}

/// Returns the events about one process until its `Down`, which must come after all of them: `true` for a
/// registration.
fn heard_of(pid: Pid, inbox: &mut Inbox<Heard>) -> Vec<bool> {
    let mut heard = Vec::new();
    loop {
        match inbox.recv() {
            Event::Message(Heard::Event(event)) if event.pid() == pid => {
                heard.push(matches!(event, RegistryEvent::Register { .. }));
            }
            Event::Message(_) => {}
            Event::Down { target, .. } if target == process::MonitorTarget::Pid(pid) => return heard,
            other => panic!("{other:?}"),
        }
    }
}

fn exits(pid: Pid) -> process::Address<Heard> {
    process::spawn(move |_| process::exit(pid, ExitReason::Kill)).expect("a thread")
}

#[test]
fn each_entry_is_told_once_and_its_end_once_before_the_death_of_its_process() {
    race("registry: listen, register, unregister, kill")
        .run_as(|inbox| all_is_told(process::Builder::new(), inbox));
}

#[test]
fn each_entry_is_told_once_and_its_end_once_though_its_process_is_declared_dead() {
    race("registry: listen, register, unregister, kill, deadline").impatient().run_as(|inbox| {
        all_is_told(process::Builder::new().kill_grace(Duration::from_micros(1)), inbox);
    });
}

fn all_is_told(plan: process::Builder, inbox: &mut Inbox<Heard>) {
    let registry = Registry::<&str>::new();
    registry.listen(&inbox.address());
    let held = registry.clone();
    let holder = plan.spawn::<Heard>(move |_| {
        let _ = held.register("a", ());
        held.unregister("a");
        let _ = held.register("a", ());
    });
    let pid = holder.expect("a thread").pid();
    let _monitor = process::monitor(pid);
    let killer = exits(pid);
    let heard = heard_of(pid, inbox);
    assert!([&[][..], &[true, false], &[true, false, true, false]].contains(&&heard[..]), "{heard:?}");
    end_of(&killer);
    assert_eq!(drained(inbox), []);
}

#[test]
fn a_process_that_is_killed_by_its_key_before_it_begins_is_told_once() {
    race("registry: listen, spawn with key, kill by key, deadline").impatient().run_as(|inbox| {
        let registry = Registry::<&str>::new();
        registry.listen(&inbox.address());
        let sought = registry.clone();
        let knowing = inbox.address();
        let killer = process::spawn::<Heard>(move |_| {
            if let Some(found) = sought.whereis_timeout("a", Duration::from_millis(1)) {
                process::exit(found, ExitReason::Kill);
                end_of(found);
                knowing.send(Heard::Other);
            }
        });
        let spec = Idle::child_spec(()).kill_grace(Duration::from_micros(1)).name(registry.server("a"));
        if let Ok(server) = spec.start() {
            let watch = server.watch();
            server.whereis().into_iter().for_each(|pid| process::exit(pid, ExitReason::Kill));
            watch.wait();
        }
        end_of(killer.expect("a thread"));
        let mut heard: Vec<_> = drained(inbox).into_iter().filter_map(Event::into_message).collect();
        if let Some(at) = heard.iter().position(|heard| *heard == Heard::Other) {
            assert!(at == 0 || at == 2 && heard.len() == 3, "something was told after the death: {heard:?}");
            heard.remove(at);
        }
        let register = |heard: &Heard| matches!(heard, Heard::Event(RegistryEvent::Register { .. }));
        let told: Vec<bool> = heard.iter().map(register).collect();
        assert!(told.is_empty() || told == [true, false], "{heard:?}");
    });
}

#[test]
fn who_is_entered_by_several_is_told_once() {
    race("registry: listen, listen").run_as(|inbox| {
        let registry = Registry::<&str>::new();
        let entering = [(); 2].map(|()| {
            let (registry, listener): (_, Address<Heard>) = (registry.clone(), inbox.address());
            process::spawn::<Heard>(move |_| registry.listen(&listener)).expect("a thread")
        });
        let (late, knowing) = (registry.clone(), inbox.address());
        let other = process::spawn::<Heard>(move |inbox| {
            late.listen(&inbox.address());
            knowing.send(Heard::Other);
            inbox.recv(); // unless the subscription was removed
        });
        registry.listen(&inbox.address());
        assert_eq!(inbox.recv(), Event::Message(Heard::Other));
        entering.iter().for_each(|process| drop(end_of(process)));
        registry.register("a", ()).expect("it is free");
        assert_eq!(inbox.len(), 1);
        registry.unregister("a");
        assert_eq!(drained(inbox).len(), 2);
        end_of(other.expect("a thread"));
    });
}

#[test]
fn others_hear_all_though_a_listener_ends() {
    race("registry: register, listener ends, listen").run_as(|inbox| {
        let registry = Registry::<&str>::new();
        let ending = process::spawn::<Heard>(|inbox| drop(inbox.recv())).expect("a thread");
        registry.listen(&ending);
        let (late, registering) = (registry.clone(), registry.clone());
        let address: Address<Heard> = inbox.address();
        let entering = process::spawn::<Heard>(move |inbox| {
            late.listen(&address); // while the subscription of the exiting one is removed
            late.listen(&inbox.address());
        });
        let holder = process::spawn::<Heard>(move |_| registering.register("a", ()).expect("it is free"));
        let holder = holder.expect("a thread");
        process::exit(&ending, ExitReason::Kill);
        end_of(&holder);
        end_of(entering.expect("a thread"));
        let before = drained(inbox).len();
        assert!(before <= 2, "{before} events of one entry");
        registry.register("b", ()).expect("it is free");
        registry.unregister("b");
        let heard = drained(inbox);
        assert_eq!(heard.len(), 2, "{heard:?}");
        end_of(&ending);
    });
}
