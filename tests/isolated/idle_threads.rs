//! Idle threads kept for the next process: which threads are kept, which are not, and the state the next
//! process finds.

#[path = "../support/mod.rs"]
mod support;

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::mpsc::channel;
use std::thread::{self, ThreadId};
use std::time::Duration;

use rethread::ExitReason;
use rethread::process::{self, Inbox};
use rethread::task;
use support::child_program::in_child_program;
use support::{Gate, attached, eventually};

/// Enables idle threads, whatever the environment says: all tests of this program need them.
fn keep() {
    process::configure(|settings| settings.max_idle_threads = 64);
}

/// Returns a builder with a stack size for this test only: a process reuses only idle threads of its own
/// stack size.
fn builder(kilobytes: usize) -> process::Builder {
    process::Builder::new().stack_size(kilobytes * 1024)
}

/// Runs a process and returns the thread it ran on, after its exit.
fn thread_of(kilobytes: usize, body: impl FnOnce() + Send + 'static) -> ThreadId {
    keep();
    let (tx, rx) = channel();
    let run = move || {
        tx.send(thread::current().id()).expect("the test receives");
        body();
    };
    let child = builder(kilobytes).spawn(run).expect("a thread");
    process::watch(child).wait();
    rx.recv().expect("it sent a value")
}

#[test]
fn a_process_that_ended_normally_leaves_its_thread_to_the_next() {
    let _watchdog = support::watchdog();
    let mut seen = HashSet::new();
    eventually("a thread is seen twice", || !seen.insert(thread_of(301, || {})));
}

#[test]
fn the_next_process_finds_the_thread_locals_of_the_one_before() {
    let _watchdog = support::watchdog();
    thread_local!(static LEFT: Cell<u32> = const { Cell::new(0) });
    let (tx, rx) = channel();
    eventually("something was left", || {
        let tx = tx.clone();
        thread_of(302, move || tx.send(LEFT.replace(7)).expect("the test receives"));
        rx.recv() == Ok(7)
    });
}

#[test]
fn reused_thread_has_no_state_of_the_previous_process() {
    keep();
    attached(|inbox: &mut Inbox<()>| {
        let first = inbox.pid();
        let mut seen = HashSet::new();
        // Tasks, because those have callers too.
        let mut twice = 0;
        while twice < 100 {
            let about = || (thread::current().id(), task::callers(), process::trap_exit(true));
            let (thread, callers, trapped) = task::spawn(about).unwrap().join().unwrap();
            assert_eq!((callers, trapped), (vec![first], false));
            twice += usize::from(!seen.insert(thread));
        }
        thread_of(303, || assert_eq!(task::callers(), []));
    });
}

#[test]
fn a_thread_that_saw_a_panic_an_exit_or_a_signal_is_not_kept() {
    let _watchdog = support::watchdog();
    let ends: [fn(); 4] = [
        || panic!("on request"),
        || process::exit_with("on request"),
        || process::exit_with(ExitReason::Normal),
        || process::exit(process::current().expect("it is a process"), ExitReason::Kill),
    ];
    let mut spoilt = HashSet::new();
    for round in 0..100 {
        let thread = thread_of(304, ends[round % ends.len()]);
        assert!(spoilt.insert(thread), "{thread:?} was used again");
        let next = thread_of(304, || {});
        assert!(!spoilt.contains(&next), "{next:?} was used again");
    }
}

#[test]
fn a_kept_thread_is_called_by_the_label_of_its_process() {
    let _watchdog = support::watchdog();
    let name = || std::fs::read_to_string("/proc/thread-self/comm").unwrap_or_default();
    if name().is_empty() {
        return; // not on this system
    }
    keep();
    let (tx, rx) = channel();
    let named = |label: Option<&str>| {
        let tx = tx.clone();
        let builder = builder(305);
        let builder = match label {
            Some(label) => builder.label(label),
            None => builder,
        };
        let child = builder.spawn(move || tx.send(name()).expect("the test receives"));
        process::watch(child.expect("a thread")).wait();
        rx.recv().expect("it sent a value")
    };
    for _ in 0..20 {
        assert_eq!(named(Some("first")), "first\n");
        assert_eq!(named(Some("with a label that is longer")), "with a label th\n");
        assert_eq!(named(None), "rethread\n");
    }
}

#[test]
fn two_idle_threads_are_kept() {
    fn kept() -> usize {
        let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm"));
        tasks
            .filter(|task| task.path().is_dir())
            .filter_map(|task| name(task).ok())
            .filter(|name| name == "rethread\n")
            .count()
    }
    if !std::path::Path::new("/proc/self/task").exists() {
        return; // not on this system
    }
    in_child_program(|| {
        let _watchdog = support::watchdog();
        keep();
        let gate = Gate::new();
        let all: Vec<_> = (0..20)
            .map(|_| {
                let gate = gate.clone();
                process::spawn(move || gate.pass()).expect("a thread")
            })
            .collect();
        eventually("all have their names", || kept() == 20);
        gate.open();
        all.iter().for_each(|one| drop(process::watch(one).wait()));
        eventually("most of them have left", || kept() <= 2);
        // All have the same idle timeout, so the others exit now as well.
        let (_never, nothing) = channel::<()>();
        assert!(nothing.recv_timeout(Duration::from_millis(300)).is_err());
        assert_eq!(kept(), 2);
    });
}

#[test]
fn idle_thread_is_reused_only_with_equal_stack_size() {
    let _watchdog = support::watchdog();
    let (mut small, mut large) = (HashSet::new(), HashSet::new());
    for _ in 0..100 {
        small.insert(thread_of(306, || {}));
        large.insert(thread_of(307, || {}));
    }
    assert!(small.is_disjoint(&large));
}
