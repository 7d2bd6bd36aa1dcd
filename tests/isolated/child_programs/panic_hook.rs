//! The panic hook: panics of processes are kept off standard error, those of all other threads are reported
//! as before. There is one hook for all threads, so each test runs in a child program.

use std::io::Write;
use std::panic;
use std::thread;

use crate::support::child_program::{in_child_program, in_failing_child_program};
use crate::support::{exit_reason_of, watchdog};
use rethread::process::{self, Inbox, attempt};

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

#[test]
fn panics_of_processes_are_silent_and_others_are_not() {
    let printed = in_child_program(|| {
        let _watchdog = watchdog();
        panicking_thread("before any process");
        panicking_process("in a process");
        panicking_thread("on a foreign thread");
        assert!(attempt(|| panic!("rescued on a foreign thread")).result().is_err());
        exit_reason_of(|_: &mut Inbox<()>| panic!("in an attached process"));
        panicking_thread("at the end");
    });
    for text in ["before any process", "on a foreign thread", "rescued on a foreign thread", "at the end"] {
        assert!(printed.contains(text), "{text:?} was not printed:\n{printed}");
    }
    for text in ["in a process", "in an attached process"] {
        assert!(!printed.contains(text), "{text:?} was printed:\n{printed}");
    }
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
    assert!(!printed.contains("in a process"), "{printed}");
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
