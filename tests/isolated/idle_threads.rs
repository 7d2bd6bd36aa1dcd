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
use rethread::supervisor::{ChildSpec, Supervisor};
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

#[test]
fn threads_are_reused_only_by_processes_of_the_same_foreign_thread() {
    let _watchdog = support::watchdog();
    let threads = || -> HashSet<ThreadId> { (0..50).map(|_| thread_of(308, || {})).collect() };
    let (one, other) = thread::scope(|scope| {
        let (one, other) = (scope.spawn(threads), scope.spawn(threads));
        (one.join().expect("no panic"), other.join().expect("no panic"))
    });
    assert!(one.is_disjoint(&other));
    // A process that a process starts belongs to the same foreign thread.
    let mut seen = HashSet::new();
    eventually("a thread of a child is used by its parent's starter", || {
        let (tx, rx) = channel();
        thread_of(308, move || tx.send(thread_of(308, || {})).expect("the test receives"));
        seen.insert(rx.recv().expect("it sent a value"));
        seen.contains(&thread_of(308, || {}))
    });
}

#[test]
fn dedicated_thread_runs_one_process_and_so_do_those_of_its_children() {
    let _watchdog = support::watchdog();
    keep();
    let mut seen = HashSet::new();
    for _ in 0..50 {
        thread_of(309, || {}); // leaves an idle thread
        let (tx, rx) = channel();
        let run = move || {
            let child_tx = tx.clone();
            tx.send(thread::current().id()).expect("the test receives");
            let report = move || child_tx.send(thread::current().id()).expect("the test receives");
            process::watch(builder(309).spawn(report).expect("a thread")).wait();
        };
        process::watch(builder(309).dedicated_thread().spawn(run).expect("a thread")).wait();
        for thread in rx {
            assert!(seen.insert(thread), "{thread:?} was used again");
        }
        assert!(!seen.contains(&thread_of(309, || {})));
    }
}

/// Sets the priority of the calling thread, as a process may do with its thread. Returns `false` where that is not
/// possible.
fn lower_priority() -> bool {
    let Ok(path) = std::fs::read_link("/proc/thread-self") else { return false };
    let tid = path.file_name().expect("a thread id").to_owned();
    let mut renice = std::process::Command::new("renice");
    renice.args(["-n", "7", "-p"]).arg(tid).output().is_ok_and(|output| output.status.success())
}

/// Returns the nice value of the calling thread: field 19 in proc_pid_stat(5).
fn nice_value() -> String {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("a thread's state");
    let after_name = stat.rsplit_once(')').expect("the name is in parentheses").1;
    after_name.split_whitespace().nth(16).expect("field 19").to_owned()
}

#[test]
fn what_a_process_did_to_its_thread_ends_with_its_crash() {
    in_child_program(|| {
        let _watchdog = support::watchdog();
        keep();
        let (tx, rx) = channel();
        let worker = ChildSpec::worker("worker", move || {
            tx.send(nice_value()).expect("the test receives");
            if !lower_priority() {
                process::sleep(Duration::MAX); // not on this system
            }
            panic!("on request");
        });
        let supervisor = Supervisor::one_for_one().max_restarts(20, Duration::from_secs(60)).child(worker);
        let supervisor = supervisor.start().expect("it starts");
        let first = rx.recv().expect("it sent a value");
        if std::process::Command::new("renice").arg("--version").output().is_ok() {
            for _ in 0..20 {
                assert_eq!(rx.recv().expect("it sent a value"), first);
            }
        }
        drop(supervisor);
    });
}

/// Set in the program that runs the two tests below with the output captured.
const CAPTURED: &str = "RETHREAD_TEST_CAPTURED";

#[test]
fn captured_fixture_1_passes() {
    if std::env::var(CAPTURED).is_ok() {
        task::spawn(|| println!("a process of the first fixture")).unwrap().join().unwrap();
    }
}

#[test]
fn captured_fixture_2_fails_if_captured() {
    if std::env::var(CAPTURED).is_ok() {
        task::spawn(|| println!("a process of the second fixture")).unwrap().join().unwrap();
        panic!("so that its output is shown");
    }
}

#[test]
fn output_of_a_process_is_captured_for_the_test_that_started_it() {
    let program = std::env::current_exe().expect("the test program has a path");
    let mut command = std::process::Command::new(program);
    command.args(["captured_fixture", "--test-threads=1"]).env(CAPTURED, "1").env("RUST_BACKTRACE", "0");
    let output = command.output().expect("the test program can be run again");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("running 2 tests"), "{text}");
    assert!(text.contains("a process of the second fixture"), "{text}");
    assert!(!text.contains("a process of the first fixture"), "{text}");
}
