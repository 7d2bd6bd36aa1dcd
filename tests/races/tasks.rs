//! Tasks that finish, are abandoned or killed; and locks by key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rethread::prelude::*;
use rethread::registry::{LockError, Registry};
use rethread::supervisor::Shutdown;
use rethread::task::{JoinError, TaskSupervisor};

use crate::harness::{LONG, drained, end_of, exits, race};

const SOON: Duration = Duration::from_micros(20);

#[test]
fn a_task_has_a_value_or_a_reason() {
    race("task: value, kill").run(|inbox| {
        let task = task::spawn(|| 5).expect("a thread");
        let pid = task.pid();
        let killer = process::spawn(move || process::exit(pid, ExitReason::Kill));
        match task.join() {
            Ok(value) => assert_eq!(value, 5),
            Err(JoinError::Exited { reason, .. }) => assert_eq!(reason, ExitReason::Killed),
            Err(other) => panic!("{other}"),
        }
        end_of(killer.expect("a thread"));
        end_of(pid);
        drained(inbox);
    });
}

#[test]
fn task_has_exited_when_its_value_is_returned() {
    race("task: value, exit").run(|inbox| {
        let task = task::spawn(|| 5).expect("a thread");
        let pid = task.pid();
        assert_eq!(task.join(), Ok(5));
        assert_eq!(exits(&drained(inbox)), [(pid, ExitReason::Normal)]);
    });
}

#[test]
fn task_whose_exit_is_known_by_a_watch_is_finished_and_the_other_way_round() {
    race("task: watch, join").run(|inbox| {
        let task = task::spawn(|| 5).expect("a thread");
        let watch = process::watch(&task);
        watch.wait();
        assert_eq!(task.join_timeout(Duration::ZERO), Ok(5));
        let task = task::spawn(|| 5).expect("a thread");
        let watch = process::watch(&task);
        assert_eq!(task.join(), Ok(5));
        assert!(watch.wait_timeout(Duration::ZERO).is_some(), "it has exited");
        drained(inbox);
    });
}

#[test]
fn joined_task_has_exited_normally_when_its_supervisor_is_stopped() {
    race("task: value, stop of the supervisor").run(|inbox| {
        let tasks = TaskSupervisor::start_link().expect("it starts");
        let supervisor = tasks.whereis().expect("it is running");
        let task = tasks.spawn(|| 5).expect("a thread");
        let pid = task.pid();
        assert_eq!(task.join(), Ok(5));
        tasks.stop().expect("it stops");
        let expected = [(pid, ExitReason::Normal), (supervisor, ExitReason::Normal)];
        assert_eq!(exits(&drained(inbox)), expected);
    });
}

#[test]
fn a_task_is_done_in_time_or_given_up() {
    race("task: value, time limit").impatient().run(|inbox| {
        let mut task = task::spawn(|| 5).expect("a thread");
        let pid = task.pid();
        if let Some(result) = task.yield_timeout(SOON) {
            assert!(matches!(result, Ok(5)), "{result:?}");
        } else {
            let ended = task.shutdown(Shutdown::Timeout(SOON));
            assert!(matches!(ended, None | Some(Ok(5))), "{ended:?}");
        }
        end_of(pid);
        drained(inbox);
    });
}

#[test]
fn lock_has_one_holder_and_is_granted_again_when_it_exits() {
    static LOCKS: Registry<&str> = Registry::new();

    /// Marks the lock as held.
    struct Held(Arc<AtomicBool>);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.store(false, Ordering::SeqCst);
        }
    }

    race("lock, lock, kill").run(|inbox| {
        let held = Arc::new(AtomicBool::new(false));
        let both = [(); 2].map(|()| {
            let held = Arc::clone(&held);
            let patient = process::Builder::new().kill_grace(LONG).exit_timeout(LONG);
            let locking = patient.spawn(move || {
                LOCKS.lock("key", || {
                    assert!(!held.swap(true, Ordering::SeqCst), "two have the lock");
                    let _held = Held(held);
                    process::checkpoint();
                    let _ = process::whereis("takes a while");
                });
            });
            locking.expect("a thread")
        });
        // One of them is killed: before, inside or after the lock.
        let watches = both.each_ref().map(process::watch);
        process::exit(both[0], ExitReason::Kill);
        for watch in watches {
            assert!(!matches!(watch.wait(), ExitReason::Panic(_)));
        }
        // In any case the lock is free afterwards.
        LOCKS.lock("key", || assert!(!held.load(Ordering::SeqCst)));
        drained(inbox);
    });
}

#[test]
fn two_locks_in_two_orders_are_granted_or_refused() {
    static LOCKS: Registry<&str> = Registry::new();

    race("lock, lock in two orders").run(|inbox| {
        let both = [("a", "b"), ("b", "a")].map(|(first, second)| {
            let body = move || LOCKS.lock(first, || LOCKS.lock_timeout(second, LONG, || ()));
            task::spawn(body).expect("a thread")
        });
        let results = both.map(|task| task.join().expect("no panic"));
        // Both may be refused, if they look for the cycle at the same moment.
        assert!(
            !results.iter().any(|result| matches!(result, Err(LockError::Timeout { .. }))),
            "{results:?}"
        );
        drained(inbox);
    });
}

#[test]
fn cycle_is_found_while_a_waiter_leaves_the_queue() {
    static LOCKS: Registry<&str> = Registry::new();

    race("lock, lock, lock, kill").run(|inbox| {
        let (between, last, own) = LOCKS.lock("k", || {
            let between = process::spawn(|| LOCKS.lock("k", || ())).expect("a thread");
            let last = task::spawn(|| LOCKS.lock("j", || LOCKS.lock_timeout("k", LONG, || ())));
            let killer = process::spawn(move || process::exit(between, ExitReason::Kill)).expect("a thread");
            let own = LOCKS.lock_timeout("j", LONG, || ());
            end_of(killer);
            (between, last.expect("a thread"), own)
        });
        let results = [own, last.join().expect("no panic")];
        assert!(
            !results.iter().any(|result| matches!(result, Err(LockError::Timeout { .. }))),
            "{results:?}"
        );
        end_of(between);
        drained(inbox);
    });
}
