//! Names that pass from an exiting process to a new one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rethread::prelude::*;
use rethread::process::{Builder, NameError};
use rethread::registry::Registry;

use crate::harness::{LONG, because, drained, end_of, one_of, race};
use crate::support::Idle;

/// Marks the name as held: by one process at a time.
struct Holding(Arc<AtomicBool>);

impl Holding {
    fn begin(held: &Arc<AtomicBool>) -> Self {
        assert!(!held.swap(true, Ordering::SeqCst), "two hold the name");
        let holding = Self(Arc::clone(held));
        process::checkpoint();
        holding
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let _ = process::whereis("races"); // a step that takes time
        self.0.store(false, Ordering::SeqCst);
    }
}

#[test]
fn successor_starts_after_the_cleanup() {
    race("takeover, takeover, exit").run(|_| {
        let held = Arc::new(AtomicBool::new(false));
        let hold = |held: &Arc<AtomicBool>| {
            let held = Arc::clone(held);
            let patient = Builder::new().kill_grace(LONG).exit_timeout(LONG);
            patient.name("races.takeover").spawn_receiver::<u64>(move |inbox| {
                let _holding = Holding::begin(&held);
                inbox.recv();
            })
        };
        let first = hold(&held).expect("the name is free");
        let claims = [(); 2].map(|()| {
            let (held, first) = (Arc::clone(&held), first.clone());
            process::spawn(move || {
                process::exit(&first, ExitReason::Kill);
                if let Ok(successor) = hold(&held) {
                    let watch = process::watch(&successor);
                    successor.send(1);
                    assert!(one_of(&watch.wait(), [ExitReason::Normal, ExitReason::NoProc]));
                }
            })
        });
        for claim in claims {
            let reason = process::watch(claim.expect("a thread")).wait();
            assert!(!matches!(reason, ExitReason::Panic(_)), "{reason}");
        }
        end_of(&first);
        assert!(!held.load(Ordering::SeqCst));
        assert_eq!(process::whereis("races.takeover"), None);
    });
}

#[test]
fn name_given_to_exiting_process_is_free_when_it_has_exited() {
    race("register, exit").run(|inbox| {
        let exiting = process::spawn(|| process::exit_with("x")).expect("a thread");
        let given = process::register("races.exiting", exiting);
        assert!(matches!(given, Ok(()) | Err(NameError::NoProc)), "{given:?}");
        end_of(exiting);
        assert_eq!(process::whereis("races.exiting"), None);
        process::register("races.exiting", inbox.pid()).expect("it is free");
        process::unregister("races.exiting").expect("it is mine");
    });
}

#[test]
fn of_several_registrations_of_a_name_one_succeeds() {
    race("register, register").run(|inbox| {
        let both = [(); 2].map(|()| {
            let test = inbox.address();
            process::spawn_receiver::<u64>(move |inbox| {
                test.send(process::register("races.one", inbox.pid()).is_ok().into());
                inbox.recv();
            })
        });
        let both = both.map(|process| process.expect("a thread"));
        let holder = process::whereis_timeout("races.one", LONG);
        assert!(both.iter().any(|process| Some(process.pid()) == holder), "{holder:?}");
        let won: Vec<_> = (0..2).filter_map(|_| inbox.recv().into_message()).collect();
        assert_eq!(won.iter().sum::<u64>(), 1, "{won:?}");
        for process in &both {
            process.send(1);
            end_of(process);
        }
    });
}

#[test]
fn wait_for_a_name_ends_when_the_name_is_registered() {
    race("whereis_within, register").run(|inbox| {
        let waiting = process::spawn(|| {
            assert!(process::whereis_timeout("races.awaited", LONG).is_some());
        });
        let waiting = process::watch(waiting.expect("a thread"));
        let much_later = process::send_after(Duration::from_secs(60), inbox.address(), 0);
        process::register("races.awaited", inbox.pid()).expect("the name is free");
        assert!(!matches!(waiting.wait(), ExitReason::Panic(_)));
        assert!(process::cancel_timer(much_later).is_some(), "it resolved the name when it fired");
        process::unregister("races.awaited").expect("it is mine");
    });
}

#[test]
fn message_to_a_name_reaches_its_holder_or_is_returned() {
    race("send by name, exit").run(|inbox| {
        let holder = Builder::new().name("races.sent").spawn_receiver_link::<u64>(|inbox| {
            process::trap_exit(true);
            let event = inbox.recv();
            assert!(matches!(event, process::Event::Message(1)), "{event:?}");
        });
        let holder = holder.expect("the name is free");
        let to = process::Name::<u64>::new("races.sent");
        let sent = to.send(1);
        assert!(sent.is_ok());
        let again = to.send(2);
        drop(again); // it may have exited by now
        end_of(&holder);
        assert!(to.send(3).is_err());
        drained(inbox);
    });
}

#[test]
fn key_of_a_registry_is_free_when_its_holder_has_exited() {
    race("registry: register, exit").run(|_| {
        static REGISTRY: Registry<&str> = Registry::new();
        let holder = process::spawn(|| {
            let _ = REGISTRY.register("key", ());
            process::exit_with(because("x"))
        });
        let holder = holder.expect("a thread");
        let other = process::spawn_receiver::<u64>(|inbox| {
            if let Err(error) = REGISTRY.register("key", ()) {
                assert!(matches!(error, NameError::Taken(_)), "{error}");
            } else {
                assert_eq!(REGISTRY.whereis("key"), Some(inbox.pid()));
            }
        });
        let other = process::watch(other.expect("a thread"));
        end_of(holder);
        assert!(!matches!(other.wait(), ExitReason::Panic(_)));
        assert_eq!(REGISTRY.whereis("key"), None);
        assert_eq!(REGISTRY.count(), 0);
    });
}

#[test]
fn process_killed_by_key_before_it_starts_leaves_nothing_behind() {
    race("spawn with key, kill by key, deadline").impatient().run(|_| {
        static REGISTRY: Registry<&str> = Registry::new();
        let killer = process::spawn(|| {
            if let Some(found) = REGISTRY.whereis_timeout("key", Duration::from_millis(1)) {
                process::exit(found, ExitReason::Kill);
            }
        });
        let impatient = process::Builder::new().kill_grace(Duration::from_micros(1));
        let spec = Idle::child_spec(()).process(impatient);
        if let Ok(started) = spec.name(REGISTRY.server("key")).start() {
            let watch = started.watch();
            if let Some(pid) = started.whereis() {
                process::exit(pid, ExitReason::Kill);
            }
            watch.wait();
        }
        end_of(killer.expect("a thread"));
        assert_eq!(REGISTRY.whereis("key"), None);
    });
}
