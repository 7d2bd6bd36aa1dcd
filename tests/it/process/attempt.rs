//! `attempt`: which classes it catches, which continue to unwind, and that its clean-up always runs. And
//! the conversion of an error into an exit reason: `or_exit`.

use std::panic::panic_any;

use crate::support::{Gate, Journal, attached, down, exit_reason_of, sleeper, unique, watchdog};
use rethread::prelude::*;
use rethread::process::{self, Caught, Event, Inbox, attempt};
use rethread::{CallFailure, ExitReason};

/// The outcomes of a piece of code.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Class {
    Value,
    Error,
    Exit,
    Throw,
    ExitSignal,
}

impl Class {
    fn raise(self) -> i32 {
        match self {
            Self::Value => 1,
            Self::Error => panic!("raised"),
            Self::Exit => process::exit_with("raised"),
            Self::Throw => process::throw(7_u8),
            Self::ExitSignal => {
                let me = process::current().expect("it runs in a process");
                process::exit(me, "raised");
                unreachable!("a signal to oneself takes effect at once")
            }
        }
    }

    /// Returns `true` for the exit reason of a process that did not catch this.
    fn ends_with(self, reason: &ExitReason) -> bool {
        match self {
            Self::Value => *reason == ExitReason::Normal,
            Self::Error => matches!(reason, ExitReason::Panic(report) if report.message() == "raised"),
            Self::Exit | Self::ExitSignal => *reason == "raised".into(),
            Self::Throw => matches!(reason, ExitReason::NoCatch(_)),
        }
    }
}

/// The handlers of an attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Handler {
    Result,
    Rescue,
    CatchExit,
    CatchThrow,
    CatchOtherThrow,
}

impl Handler {
    fn catches(self, class: Class) -> bool {
        match self {
            Self::Result => matches!(class, Class::Error | Class::Exit | Class::Throw),
            Self::Rescue => class == Class::Error,
            Self::CatchExit => class == Class::Exit,
            Self::CatchThrow => class == Class::Throw,
            Self::CatchOtherThrow => false,
        }
    }

    /// Runs an attempt; 1 is the value, 2 comes from the handler.
    fn run(self, class: Class, notes: &Journal, after: bool) -> i32 {
        let caught = |text: String| {
            notes.note(format!("caught {text}"));
            2
        };
        let body = || {
            notes.note("body");
            class.raise()
        };
        let tidy = || {
            if after {
                notes.note("after");
            }
        };
        let attempt = attempt(body).after(tidy);
        match self {
            Self::Result => match attempt.result() {
                Ok(value) => value,
                Err(Caught::Error(report)) => caught(report.message().to_owned()),
                Err(Caught::Exit(reason)) => caught(reason.to_string()),
                Err(Caught::Throw(ball)) => {
                    assert_eq!(ball.downcast_ref(), Some(&7_u8));
                    caught("raised".to_owned())
                }
                Err(_) => unreachable!("there are three classes"),
            },
            Self::Rescue => attempt.rescue(|report| caught(report.message().to_owned())),
            Self::CatchExit => attempt.catch_exit(|reason| caught(reason.to_string())),
            Self::CatchThrow => attempt.catch_throw(|ball: u8| {
                assert_eq!(ball, 7);
                caught("raised".to_owned())
            }),
            Self::CatchOtherThrow => attempt.catch_throw(|ball: u16| caught(format!("by mistake {ball}"))),
        }
    }
}

#[test]
fn every_class_with_every_handler_and_clean_up() {
    use Class::{Error, Exit, ExitSignal, Throw, Value};
    use Handler::{CatchExit, CatchOtherThrow, CatchThrow, Rescue, Result};
    attached(|inbox: &mut Inbox<()>| {
        for class in [Value, Error, Exit, Throw, ExitSignal] {
            for handler in [Result, Rescue, CatchExit, CatchThrow, CatchOtherThrow] {
                for after in [false, true] {
                    let case = format!("{class:?} {handler:?} after {after}");
                    let journal = Journal::new();
                    let notes = journal.clone();
                    let (_, monitor) = process::spawn_monitor(move || {
                        let value = handler.run(class, &notes, after);
                        notes.note(format!("returned {value}"));
                    })
                    .unwrap();
                    let (fired, reason) = down(inbox);
                    assert_eq!(fired, monitor);
                    let mut expected = vec!["body".to_owned()];
                    let caught = handler.catches(class);
                    if caught && handler != Result {
                        expected.push("caught raised".to_owned());
                    }
                    if after {
                        expected.push("after".to_owned());
                    }
                    if caught && handler == Result {
                        expected.push("caught raised".to_owned()); // by the caller of result, after the attempt
                    }
                    if caught || class == Value {
                        expected.push(format!("returned {}", 1 + i32::from(caught)));
                        assert_eq!(reason, ExitReason::Normal, "{case}");
                    } else {
                        assert!(class.ends_with(&reason), "{case}: {reason}");
                    }
                    assert_eq!(journal.all(), expected, "{case}");
                }
            }
        }
    });
}

#[test]
fn clean_up_runs_after_a_handler_that_raises_itself() {
    attached(|inbox: &mut Inbox<()>| {
        for class in [Class::Error, Class::Exit, Class::Throw] {
            let journal = Journal::new();
            let notes = journal.clone();
            let (_, monitor) = process::spawn_monitor(move || {
                attempt(|| panic!("first")).after(|| notes.note("after")).rescue(|_| {
                    class.raise();
                });
            })
            .unwrap();
            let (fired, reason) = down(inbox);
            assert_eq!(fired, monitor);
            assert!(class.ends_with(&reason), "{reason}");
            assert_eq!(journal.all(), ["after"]);
        }
    });
}

#[test]
fn several_clean_ups_run_in_order() {
    let _watchdog = watchdog();
    let notes = Journal::new();
    let value = attempt(|| 3).after(|| notes.note("first")).after(|| notes.note("second")).rescue(|_| 0);
    assert_eq!(value, 3);
    assert_eq!(notes.all(), ["first", "second"]);
}

#[test]
fn clean_up_runs_on_an_exit_signal_and_is_not_cut_short_by_it() {
    attached(|inbox: &mut Inbox<&'static str>| {
        let (ready, to) = (Gate::new(), inbox.address());
        let begun = ready.clone();
        let (child, monitor) = process::spawn_receiver_monitor::<()>(move |inbox| {
            let event = attempt(|| {
                begun.open();
                inbox.recv()
            })
            .after(|| {
                to.send("tidying");
                process::checkpoint();
                process::sleep(std::time::Duration::from_secs(3600));
                to.send("tidied");
            })
            .result();
            to.send(if event.is_ok() { "received" } else { "caught" });
        })
        .unwrap();
        ready.pass();
        process::exit(&child, ExitReason::Shutdown);
        assert_eq!([inbox.recv(), inbox.recv()], [Event::Message("tidying"), Event::Message("tidied")]);
        assert_eq!(down(inbox), (monitor, ExitReason::Shutdown));
    });
}

#[test]
fn clean_up_that_panics_on_an_exit_signal_does_not_make_the_process_deaf() {
    #[expect(clippy::disallowed_methods, reason = "plays user code that catches what it should not")]
    fn swallow<T>(body: impl FnOnce() -> T) -> Option<T> {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).ok()
    }
    attached(|inbox: &mut Inbox<&'static str>| {
        let (ready, to) = (Gate::new(), inbox.address());
        let begun = ready.clone();
        let (child, monitor) = process::spawn_receiver_monitor::<()>(move |inbox| {
            let body = || {
                begun.open();
                inbox.recv()
            };
            let swallowed = swallow(|| attempt(body).after(|| panic!("in the clean-up")).result());
            to.send(if swallowed.is_none() { "continues" } else { "returned" });
            to.send("was not unwound");
        })
        .unwrap();
        ready.pass();
        process::exit(&child, ExitReason::Shutdown);
        assert_eq!(down(inbox), (monitor, ExitReason::Shutdown));
    });
}

#[test]
fn resumed_payload_equals_the_caught_one() {
    attached(|inbox: &mut Inbox<()>| {
        for class in [Class::Error, Class::Exit, Class::Throw] {
            let (_, monitor) = process::spawn_monitor(move || {
                let caught = attempt(|| class.raise()).result().unwrap_err();
                caught.resume();
            })
            .unwrap();
            let (fired, reason) = down(inbox);
            assert_eq!(fired, monitor);
            assert!(class.ends_with(&reason), "{reason}");
        }
    });
}

#[test]
fn a_resumed_panic_keeps_its_place_and_its_value() {
    attached(|inbox: &mut Inbox<()>| {
        let (_, monitor) = process::spawn_monitor(|| {
            let rescued = attempt(|| {
                attempt(|| -> i32 { panic_any(vec![1, 2, 3]) }).catch_exit(|_| 0) // passes through
            });
            rescued.after(|| ()).result().unwrap_err().resume();
        })
        .unwrap();
        let line = line!() - 5;
        let (fired, reason) = down(inbox);
        assert_eq!(fired, monitor);
        let ExitReason::Panic(report) = reason else { panic!("a panic was due, not {reason}") };
        let place = report.location().expect("it is known");
        assert_eq!((&*place.file, place.line), (file!(), line));
        assert_eq!(report.take_payload().unwrap().downcast_ref(), Some(&vec![1, 2, 3]));
    });
}

#[test]
fn a_panic_keeps_its_place_though_a_destructor_panics_and_catches() {
    struct Noisy;
    impl Drop for Noisy {
        fn drop(&mut self) {
            attempt(|| panic!("a panic inside"))
                .rescue(|inner| assert_eq!(inner.message(), "a panic inside"));
        }
    }
    attached(|inbox: &mut Inbox<()>| {
        let (_, monitor) = process::spawn_monitor(|| {
            let _noisy = Noisy;
            panic!("the panic itself");
        })
        .unwrap();
        let line = line!() - 3;
        let (fired, reason) = down(inbox);
        assert_eq!(fired, monitor);
        let ExitReason::Panic(report) = reason else { panic!("a panic was due, not {reason}") };
        assert_eq!(report.message(), "the panic itself");
        assert_eq!(report.location().map(|place| place.line), Some(line));
    });
}

#[test]
fn a_catch_in_a_destructor_does_not_lift_the_deadline() {
    struct Slow(Gate);
    impl Drop for Slow {
        fn drop(&mut self) {
            attempt(|| panic!("a panic inside")).rescue(|_| ());
            self.0.pass();
        }
    }
    attached(|inbox: &mut Inbox<()>| {
        let gate = Gate::new();
        let slow = Slow(gate.clone());
        // Long enough for the inner panic to come before the timeout, on a busy machine too.
        let times = process::Builder::new().exit_timeout(std::time::Duration::from_millis(500));
        let (child, monitor) = times
            .spawn_monitor(move || {
                let _slow = slow;
                panic!("the panic itself");
            })
            .unwrap();
        let event = inbox.recv_timeout(std::time::Duration::from_secs(30)).expect("the deadline stands");
        let Event::Down { monitor: fired, reason: ExitReason::Panic(report), .. } = event else {
            panic!("a down was due, not {event:?}")
        };
        assert_eq!((fired, report.message()), (monitor, "the panic itself"));
        assert!(process::zombies().iter().any(|zombie| zombie.pid == child));
        gate.open();
    });
}

#[test]
fn attempts_nest() {
    attached(|_: &mut Inbox<()>| {
        let inner = || attempt(|| -> i32 { process::throw("ball") }).catch_exit(|_| 1);
        assert_eq!(attempt(inner).catch_throw(|ball: &str| ball.len() as i32), 4);
        let inner = || attempt(|| -> i32 { panic!("a") }).rescue(|_| process::exit_with("b"));
        assert_eq!(attempt(inner).catch_exit(|reason| reason.to_string().len() as i32), 1);
    });
}

#[test]
fn a_foreign_thread_can_attempt_too() {
    let _watchdog = watchdog();
    let notes = Journal::new();
    let value = attempt(|| -> i32 { panic!("outside") })
        .after(|| notes.note("after"))
        .rescue(|report| report.message().len() as i32);
    assert_eq!(value, 7);
    assert_eq!(notes.all(), ["after"]);
    // Outside a process, exit_with and throw panic.
    for body in [|| process::exit_with("x"), || process::throw(1_u8)] {
        let caught = attempt(body).result().unwrap_err();
        assert!(matches!(&caught, Caught::Error(report) if report.message().contains("not a process")));
    }
}

#[test]
fn or_exit_gives_the_value_or_ends_with_the_error() {
    assert_eq!(attached(|_: &mut Inbox<()>| "42".parse::<i32>().or_exit()), 42);
    let reason = exit_reason_of(|_: &mut Inbox<()>| "forty-two".parse::<i32>().or_exit());
    assert_eq!(reason.to_string(), "invalid digit found in string");
    assert!(reason.downcast_ref::<std::num::ParseIntError>().is_some());
    assert!(reason.is_abnormal());
    let reason = exit_reason_of(|_: &mut Inbox<()>| {
        let exited = sleeper();
        process::exit(&exited, ExitReason::Kill);
        process::watch(&exited).wait();
        process::link(&exited).or_exit();
    });
    assert_eq!(reason, ExitReason::NoProc);
}

/// A server that exits by the class it is called with.
struct Exiting;

impl GenServer for Exiting {
    type Args = ();
    type Call = Caller<()>;
    type Cast = Infallible;

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self)
    }
    fn handle_call(&mut self, _: Caller<()>, _: &mut Context<Self>) -> Next {
        process::exit_with("asked too much")
    }
}

#[test]
fn reason_of_or_exit_contains_error_and_server_of_failed_call() {
    let name = unique("mortal");
    let failure = |reason: ExitReason| -> CallFailure {
        match reason {
            ExitReason::Call(failure) => (*failure).clone(),
            other => panic!("a failed call was due, not {other}"),
        }
    };
    let exit_reason = failure(exit_reason_of(|_: &mut Inbox<()>| {
        let mortal = ServerRef::<Exiting>::from_name(name);
        Exiting::child_spec(()).name(mortal.clone()).start().or_exit();
        mortal.call(|from| from).or_exit();
    }));
    assert_eq!(exit_reason.reason, "asked too much".into());
    assert!(exit_reason.server.contains(name), "{}", exit_reason.server);
    let unregistered = failure(exit_reason_of(|_: &mut Inbox<()>| {
        ServerRef::<Exiting>::from_name(name).call(|from| from).or_exit();
    }));
    assert_eq!(unregistered.reason, ExitReason::NoProc);
}

#[test]
#[should_panic(expected = "not a process")]
fn or_exit_on_a_foreign_thread_panics() {
    let _watchdog = watchdog();
    "forty-two".parse::<i32>().or_exit();
}
