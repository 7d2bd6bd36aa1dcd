//! The panic hook: panics of processes do not reach it, those of all other threads do. Without a logger a crash is one
//! line on standard error. There is one hook for all threads, so each test runs in a child program.

use std::io::Write;
use std::panic;
use std::thread;
use std::time::Duration;

use crate::support::child_program::{in_child_program, in_failing_child_program};
use crate::support::{Gate, exit_reason_of, watchdog};
use rethread::prelude::*;
use rethread::process::attempt;
use rethread::supervisor::DynamicSupervisor;

/// Panics in a process, and waits for its exit.
fn panicking_process(text: &'static str) {
    let watch = process::watch(process::spawn(move || panic!("{text}")).expect("a free thread"));
    watch.wait();
}

/// Panics on a foreign thread.
fn panicking_thread(text: &'static str) {
    let thread = thread::Builder::new().spawn(move || panic!("{text}")).expect("a free thread");
    thread.join().expect_err("it panics");
}

/// The start of the lines that std prints.
const STD: &str = "panicked at";
/// The start of the lines that the library prints.
const RETHREAD: &str = "rethread: ";

#[test]
fn panics_of_processes_do_not_reach_the_hook_and_are_one_line_without_a_logger() {
    let printed = in_child_program(|| {
        let _watchdog = watchdog();
        panicking_thread("before any process");
        panicking_process("in a process");
        panicking_thread("on a foreign thread");
        assert!(attempt(|| panic!("rescued on a foreign thread")).result().is_err());
        exit_reason_of(|_: &mut Inbox<()>| panic!("in an attached process"));
        panicking_process("first line\n  second line");
        panicking_thread("at the end");
    });
    for text in ["before any process", "on a foreign thread", "rescued on a foreign thread", "at the end"] {
        assert!(printed.contains(text), "{text:?} was not printed:\n{printed}");
    }
    assert_eq!(printed.matches(STD).count(), 4, "{printed}");
    let lines: Vec<&str> = printed.lines().filter(|line| line.starts_with(RETHREAD)).collect();
    let texts = ["in a process", "in an attached process", "first line; second line"];
    assert_eq!(lines.len(), texts.len(), "{printed}");
    for (line, text) in lines.iter().zip(texts) {
        assert!(line.contains("crashed: panic at ") && line.ends_with(text), "{line}");
    }
}

#[test]
fn a_supervisor_that_gives_up_is_one_line_without_a_logger() {
    let printed = in_child_program(|| {
        let _watchdog = watchdog();
        // It fails only when the supervisor is watched.
        let gate = Gate::new();
        let passing = gate.clone();
        let broken = ChildSpec::worker("disk", move || -> Result<(), &str> {
            passing.pass();
            Err("no space")
        });
        let rooms = DynamicSupervisor::child_spec().max_restarts(0, Duration::from_secs(5));
        let rooms = rooms.start().expect("a free thread");
        let gone = rooms.watch();
        rooms.start_child(broken.clone()).expect("it starts before it fails");
        let system = Supervisor::one_for_one().child(broken).max_restarts(0, Duration::from_secs(5));
        let system_gone = system.start().expect("a free thread").watch();
        gate.open();
        assert_eq!(gone.wait(), ExitReason::Shutdown);
        assert_eq!(system_gone.wait(), ExitReason::Shutdown);
    });
    let lines: Vec<&str> = printed.lines().filter(|line| line.starts_with(RETHREAD)).collect();
    assert_eq!(lines.len(), 2, "{printed}");
    for line in lines {
        assert!(line.contains("supervisor") && line.ends_with(", shutting down"), "{line}");
    }
}

#[test]
fn nothing_is_printed_if_the_program_has_a_logger_even_one_that_is_switched_off() {
    struct Discard(u8);
    impl log::Log for Discard {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            self.0 > 0
        }
        fn log(&self, _: &log::Record<'_>) {}
        fn flush(&self) {}
    }
    static LOGGER: Discard = Discard(0);
    let printed = in_child_program(|| {
        let _watchdog = watchdog();
        log::set_logger(&LOGGER).expect("the first one");
        panicking_process("maximum level off");
        log::set_max_level(log::LevelFilter::Info);
        panicking_process("maximum level info");
    });
    assert!(!printed.contains("maximum level"), "{printed}");
}

#[test]
fn a_thread_is_given_back_to_its_hook_when_it_is_no_process_any_more() {
    let printed = in_child_program(|| {
        let _watchdog = watchdog();
        process::attach(|| ()).expect("it returns");
        assert!(attempt(|| panic!("after the process")).result().is_err());
    });
    assert!(printed.contains("after the process"), "{printed}");
}

#[test]
fn the_hook_of_the_program_stays_in_force_for_other_threads() {
    let printed = in_child_program(|| {
        let _watchdog = watchdog();
        panic::set_hook(Box::new(|info| {
            let text = info.payload().downcast_ref::<String>().map_or("?", String::as_str);
            let _ = writeln!(std::io::stderr(), "own hook: {text}");
        }));
        panicking_process("in a process");
        panicking_thread("on a foreign thread");
        panicking_process("in a process");
        panicking_thread("on a foreign thread");
    });
    assert_eq!(printed.matches("own hook: on a foreign thread").count(), 2, "{printed}");
    assert!(!printed.contains("own hook: in a process"), "{printed}");
    assert_eq!(printed.matches("crashed").count(), 2, "{printed}");
}

#[test]
fn a_hook_that_is_set_later_costs_the_place_but_not_the_containment() {
    let printed = in_child_program(|| {
        let _watchdog = watchdog();
        panicking_process("the first");
        panic::set_hook(Box::new(|_| {
            let _ = writeln!(std::io::stderr(), "later hook");
        }));
        let reason = exit_reason_of(|_: &mut Inbox<()>| panic!("the second"));
        assert_eq!(reason.to_string(), "panic: the second");
    });
    assert_eq!(printed.matches("later hook").count(), 1, "{printed}");
}

/// Sets a panic hook that panics itself.
fn set_a_hook_that_panics() {
    panic::set_hook(Box::new(|_| panic!("the hook of the program")));
}

#[test]
fn a_hook_that_panics_is_not_called_for_processes_if_it_was_set_before() {
    in_child_program(|| {
        let _watchdog = watchdog();
        set_a_hook_that_panics();
        let reason = exit_reason_of(|_: &mut Inbox<()>| panic!("in a process"));
        assert_eq!(reason.to_string().rsplit(": ").next(), Some("in a process"));
    });
}

#[test]
fn a_hook_that_panics_and_was_set_later_ends_the_program_with_a_panic_of_a_process() {
    let (status, printed) = in_failing_child_program(|| {
        process::attach(|| ()).expect("it returns");
        set_a_hook_that_panics();
        panicking_process("a hook that replaces the library's sees the panics of processes too");
    });
    assert!(!status.success() && status.code() != Some(101), "{status}: {printed}");
    assert!(printed.contains("thread panicked while processing panic"), "{printed}");
}

#[test]
fn a_hook_that_panics_ends_the_program_with_a_panic_of_a_foreign_thread() {
    let (status, printed) = in_failing_child_program(|| {
        set_a_hook_that_panics();
        panicking_process("in a process");
        panicking_thread("on a foreign thread");
    });
    assert!(!status.success() && status.code() != Some(101), "{status}: {printed}");
    assert!(printed.contains("thread panicked while processing panic"), "{printed}");
}

#[test]
fn panic_hook_can_query_the_runtime() {
    let printed = in_child_program(|| {
        let _watchdog = watchdog();
        process::attach(|| ()).expect("it returns");
        panic::set_hook(Box::new(|_| {
            let me = process::current();
            let listed = me.is_some_and(|me| process::processes().iter().any(|info| info.pid == me));
            let started = process::spawn(|| ()).is_ok();
            let _ = writeln!(std::io::stderr(), "a process: {}, listed: {listed}, {started}", me.is_some());
        }));
        panicking_process("a question");
        panicking_thread("a question");
    });
    assert!(
        printed.contains("a process: true, listed: true, false"),
        "an exiting process starts none: {printed}"
    );
    assert!(printed.contains("a process: false, listed: false, true"), "{printed}");
}
