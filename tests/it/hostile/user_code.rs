//! Faulty user code that the runtime must survive: destructors, hooks, predicates and log sinks that panic
//! or hang, values that cannot be printed.

use std::fmt;
use std::panic::panic_any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::child_program::in_child_program;
use crate::support::scripted_process::ScriptedProcess;
use crate::support::{
    self, Gate, Idle, Journal, attached, down, eventually, message, sleeper, unique, watchdog,
};
use rethread::prelude::*;
use rethread::process::{self, Builder, Event, Inbox, NameError, Via, attempt};

/// A value whose destructor counts, and panics.
struct Bomb(Arc<AtomicUsize>);

impl Bomb {
    fn new() -> (Self, Arc<AtomicUsize>) {
        let exploded = Arc::new(AtomicUsize::new(0));
        (Self(Arc::clone(&exploded)), exploded)
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("a destructor explodes");
    }
}

impl PartialEq for Bomb {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Bomb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bomb")
    }
}

#[test]
fn a_panic_value_that_panics_when_it_is_dropped() {
    attached(|inbox: &mut Inbox<()>| {
        let (bomb, exploded) = Bomb::new();
        let (_, monitor) = process::spawn_monitor(move || panic_any(bomb)).unwrap();
        let (fired, reason) = down(inbox);
        assert_eq!(fired, monitor);
        let ExitReason::Panic(report) = reason else { panic!("a panic was due, not {reason}") };
        assert_eq!(report.message(), "<non-string payload>");
        assert_eq!(exploded.load(Ordering::SeqCst), 0);
        drop(report);
        eventually("the last clone is dropped", || exploded.load(Ordering::SeqCst) == 1);
    });
}

#[test]
fn a_thrown_value_that_panics_when_it_is_dropped() {
    attached(|inbox: &mut Inbox<()>| {
        let (bomb, exploded) = Bomb::new();
        let (_, monitor) = process::spawn_monitor(move || process::throw(bomb)).unwrap();
        let (fired, reason) = down(inbox);
        assert_eq!(fired, monitor);
        assert!(matches!(reason, ExitReason::NoCatch(_)), "{reason}");
        assert_eq!(exploded.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_reason_that_panics_when_it_is_dropped() {
    attached(|inbox: &mut Inbox<()>| {
        let (bomb, exploded) = Bomb::new();
        let (_, monitor) = process::spawn_monitor(move || process::exit_with(ExitReason::new(bomb))).unwrap();
        let (fired, reason) = down(inbox);
        assert_eq!((fired, reason.to_string().as_str()), (monitor, "Bomb"));
        drop(reason);
        eventually("the last clone is dropped", || exploded.load(Ordering::SeqCst) == 1);
    });
}

#[test]
fn unread_messages_that_panic_when_they_are_dropped() {
    let ends: [fn(&mut Inbox<Bomb>); 4] = [
        |_| (),
        |_| process::exit_with("own"),
        |_| panic!("own"),
        |inbox| {
            assert_eq!(inbox.recv_where_timeout(Duration::ZERO, |_| false), None); // some messages are set aside
            process::sleep(Duration::from_secs(3600));
        },
    ];
    attached(|inbox: &mut Inbox<()>| {
        for (number, end) in ends.into_iter().enumerate() {
            let (ready, exploded) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
            let go = ready.clone();
            let (child, monitor) = process::spawn_receiver_monitor::<Bomb>(move |inbox| {
                go.pass();
                end(inbox);
            })
            .unwrap();
            for _ in 0..10 {
                child.send(Bomb(Arc::clone(&exploded)));
            }
            ready.open();
            if number == 3 {
                eventually("it sleeps", || {
                    process::info(&child).is_some_and(|info| info.state == process::ProcessState::Waiting)
                });
                process::exit(&child, "requested");
            }
            let (fired, reason) = down(inbox);
            assert_eq!(fired, monitor);
            match number {
                0 => assert_eq!(reason, ExitReason::Normal),
                1 => assert_eq!(reason, "own".into()),
                2 => assert!(reason.to_string().ends_with("own"), "{reason}"),
                _ => assert_eq!(reason, "requested".into()),
            }
            assert_eq!(exploded.load(Ordering::SeqCst), 10);
        }
    });
}

#[test]
fn an_unread_message_that_hangs_when_it_is_dropped() {
    struct Sticky(Gate);
    impl Drop for Sticky {
        fn drop(&mut self) {
            self.0.pass();
        }
    }
    attached(|inbox: &mut Inbox<()>| {
        let (go, gate) = (Gate::new(), Gate::new());
        let begin = go.clone();
        let times = Builder::new().exit_timeout(Duration::from_millis(60));
        let (child, monitor) = times.spawn_receiver_monitor::<Sticky>(move |_| begin.pass()).unwrap();
        child.send(Sticky(gate.clone()));
        go.open();
        assert_eq!(down(inbox), (monitor, ExitReason::Normal));
        assert!(process::zombies().iter().any(|zombie| zombie.pid == child.pid()));
        gate.open();
    });
}

#[test]
fn hooks_that_panic() {
    attached(|inbox: &mut Inbox<()>| {
        let (ready, journal) = (Gate::new(), Journal::new());
        let (begun, notes) = (ready.clone(), journal.clone());
        let (child, monitor) = process::spawn_receiver_monitor::<()>(move |inbox| {
            let again = notes.clone();
            let _first = process::on_exit_request(|| panic!("a hook explodes"));
            let _second = process::on_exit_request(move || notes.note("second"));
            let _third = process::on_exit_request(|| panic_any(5));
            let _fourth = process::on_exit_request(move || again.note("fourth"));
            begun.open();
            inbox.recv();
        })
        .unwrap();
        ready.pass();
        process::exit(&child, "requested"); // on this very thread
        assert_eq!(down(inbox), (monitor, "requested".into()));
        assert_eq!(journal.all(), ["second", "fourth"]);
        assert!(!process::exit_requested());
    });
}

#[test]
fn hooks_whose_captures_panic_when_they_are_dropped() {
    attached(|inbox: &mut Inbox<()>| {
        let (bomb, exploded) = Bomb::new();
        // Never called: dropped when its process exits.
        let (_, monitor) = process::spawn_monitor(move || {
            std::mem::forget(process::on_exit_request(move || drop(bomb)));
        })
        .unwrap();
        assert_eq!(down(inbox), (monitor, ExitReason::Normal));
        assert_eq!(exploded.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_predicate_that_panics_loses_no_message() {
    attached(|inbox: &mut Inbox<u32>| {
        (1..=4).for_each(|n| inbox.address().send(n));
        for _ in 0..3 {
            let explodes = |event: &Event<u32>| *event == Event::Message(2) && panic!("two");
            let found = attempt(|| Some(inbox.recv_where(explodes))).rescue(|_| None);
            assert_eq!(found, None);
        }
        assert_eq!(inbox.len(), 4);
        assert_eq!([(); 4].map(|()| message(inbox)), [1, 2, 3, 4]);
        assert_eq!(inbox.try_recv(), None);
    });
}

#[test]
fn names_and_labels_can_be_any_text() {
    let _watchdog = watchdog();
    for odd in ["nul \0 inside", "\u{1F600} \n\t", " ", &"long ".repeat(2000)] {
        let name = format!("{odd}{}", unique("odd"));
        let child = Builder::new().name(name.as_str()).label(odd).spawn_receiver::<()>(|inbox| {
            inbox.recv();
        });
        let child = child.unwrap();
        assert_eq!(process::whereis(&name), Some(child.pid()));
        let info = process::info(&child).unwrap();
        assert_eq!((info.name.as_deref(), info.label.as_deref()), (Some(name.as_str()), Some(odd)));
        process::exit(&child, ExitReason::Kill);
    }
}

#[test]
fn a_table_of_names_that_panics() {
    #[derive(Debug)]
    struct Careless;
    impl Via for Careless {
        fn whereis(&self) -> Option<Pid> {
            None
        }
        fn register(&self, _: Pid) -> Result<(), NameError> {
            Ok(())
        }
        fn unregister(&self, _: Pid) {
            panic!("it cannot be found");
        }
    }
    let _watchdog = watchdog();
    let server = Idle::child_spec(()).name(ServerRef::via(Careless)).start().unwrap();
    let watch = server.watch();
    // The process table no longer finds it, but its watch does.
    process::exit(watch.pid().unwrap(), "requested");
    assert_eq!(watch.wait(), "requested".into());
}

#[test]
fn a_log_sink_that_panics() {
    struct Touchy;
    impl log::Log for Touchy {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, _: &log::Record<'_>) {
            panic!("the log is full");
        }
        fn flush(&self) {}
    }
    in_child_program(|| {
        log::set_logger(&Touchy).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
        attached(|inbox: &mut Inbox<()>| {
            // Every way to exit is logged, and each exit still reaches its monitor.
            let ends: [fn(); 3] = [|| (), || panic!("own"), || process::exit_with("own")];
            for end in ends {
                let (_, monitor) = process::spawn_monitor(end).unwrap();
                assert_eq!(down(inbox).0, monitor);
            }
            // So does the exit of a zombie.
            let (ready, gate) = (Gate::new(), Gate::new());
            let (begun, held) = (ready.clone(), gate.clone());
            let stuck = Builder::new().kill_grace(Duration::ZERO).spawn_monitor(move || {
                begun.open();
                held.pass();
            });
            let (stuck, monitor) = stuck.unwrap();
            ready.pass();
            process::exit(stuck, ExitReason::Kill);
            assert_eq!(down(inbox), (monitor, ExitReason::Killed));
            gate.open();
            eventually("it is reaped", || process::zombies().is_empty());
        });
    });
}

#[test]
fn a_reason_that_panics_when_it_is_printed() {
    #[derive(Clone, PartialEq)]
    struct Unprintable;
    impl fmt::Debug for Unprintable {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("it cannot be formatted");
        }
    }
    support::capture(); // so that the panic is printed
    attached(|inbox: &mut Inbox<()>| {
        let body = || process::exit_with(ExitReason::new(Unprintable));
        let (_, monitor) = process::spawn_monitor(body).unwrap();
        let (fired, reason) = down(inbox);
        assert_eq!(fired, monitor);
        assert_eq!(reason.downcast_ref(), Some(&Unprintable));
        let (ready, gate) = (Gate::new(), Gate::new());
        let (begun, held) = (ready.clone(), gate.clone());
        let (stuck, monitor) = process::spawn_monitor(move || {
            begun.open();
            held.pass();
        })
        .unwrap();
        ready.pass();
        process::exit(stuck, ExitReason::new(Unprintable));
        process::exit(stuck, ExitReason::Kill); // now it becomes a zombie, and is logged with its reason
        assert_eq!(down(inbox).0, monitor);
        gate.open();
        eventually("it is reaped", || process::info(stuck).is_none());
        // And the timer thread still works.
        let _ = process::send_after(Duration::from_millis(1), inbox.address(), ());
        message(inbox);
    });
}

#[test]
fn a_destructor_on_a_panicking_foreign_thread_may_fail_to_start_a_process() {
    struct Starts(&'static str);
    impl Drop for Starts {
        fn drop(&mut self) {
            assert!(process::spawn(|| ()).is_ok());
            assert!(Builder::new().name(self.0).spawn(|| ()).is_err());
            assert!(Builder::new().stack_size(1 << 46).spawn(|| ()).is_err());
        }
    }
    in_child_program(|| {
        let _watchdog = watchdog();
        let name = unique("taken");
        let holder = Builder::new().name(name).spawn_receiver::<()>(|inbox| {
            inbox.recv();
        });
        let holder = holder.unwrap();
        let foreign = std::thread::Builder::new().spawn(move || {
            let _starts = Starts(name);
            panic!("on a foreign thread");
        });
        assert!(foreign.unwrap().join().is_err());
        assert_eq!(process::whereis(name), Some(holder.pid()));
    });
}

#[test]
fn send_to_process_that_exits_meanwhile_is_dropped() {
    attached(|inbox: &mut Inbox<()>| {
        let senders = [(); 3].map(|()| ScriptedProcess::new());
        for _ in 0..200 {
            let child = sleeper();
            let monitor = process::monitor(&child);
            for sender in &senders {
                let child = child.clone();
                sender.start(move || (0..20).for_each(|_| child.send(())));
            }
            process::exit(&child, "in the middle");
            assert_eq!(down(inbox), (monitor, "in the middle".into()));
        }
        for sender in &senders {
            assert_eq!(sender.run(|| "well"), "well");
        }
    });
}
