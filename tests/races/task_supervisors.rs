//! Supervised tasks, and streams of them, that are abandoned while they start and end.

use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};

use rethread::StartError;
use rethread::prelude::*;
use rethread::task::TaskSupervisor;

use crate::harness::{drained, end_of, race};

/// A running task.
struct Busy(Arc<AtomicIsize>);

impl Busy {
    fn begin(busy: &Arc<AtomicIsize>) -> Self {
        busy.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(busy))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn dropped_stream_leaves_no_running_task() {
    race("task supervisor: stream is dropped, tasks end").run(|inbox| {
        let tasks = TaskSupervisor::start_link().expect("it starts");
        let busy = Arc::new(AtomicIsize::new(0));
        let at_work = Arc::clone(&busy);
        let work = move |number: u64| {
            let _busy = Busy::begin(&at_work);
            process::checkpoint();
            number
        };
        let mut stream = tasks.stream([1, 2, 3], work).max_concurrency(2).ordered(false);
        let first = stream.next().expect("there are three").expect("it is not killed");
        assert!([1, 2].contains(&first), "{first}");
        drop(stream);
        assert_eq!(busy.load(Ordering::SeqCst), 0, "a task is running");
        assert_eq!(drained(inbox), []); // no exit of a task
        tasks.stop().expect("it stops");
        drained(inbox);
    });
}

#[test]
fn task_requested_by_killed_process_does_not_run() {
    race("task supervisor: stream, kill of its owner").run(|inbox| {
        let tasks = TaskSupervisor::start_link().expect("it starts");
        let ordering = tasks.clone();
        let owner = process::spawn(move || {
            let forever = |()| drop(process::current().map(|me| process::watch(me).wait()));
            ordering.stream_nolink([()], forever).for_each(drop);
        });
        let owner = owner.expect("a thread");
        process::exit(owner, ExitReason::Kill);
        end_of(owner);
        for task in tasks.children().expect("it is running") {
            end_of(task);
        }
        tasks.stop().expect("it stops");
        drained(inbox);
    });
}

#[test]
fn task_during_the_stop_of_its_supervisor() {
    race("task supervisor: task, stop").run(|inbox| {
        let tasks = TaskSupervisor::start_link().expect("it starts");
        let other = tasks.clone();
        let client = process::spawn(move || match other.spawn_nolink(|| 5) {
            Ok(task) => match task.join() {
                Ok(value) => assert_eq!(value, 5),
                Err(error) => assert!(matches!(error, rethread::task::JoinError::Exited { .. }), "{error}"),
            },
            Err(error) => assert!(matches!(error, StartError::NoSupervisor(_)), "{error}"),
        });
        let client = process::watch(client.expect("a thread"));
        tasks.stop().expect("it stops");
        assert!(!matches!(client.wait(), ExitReason::Panic(_)));
        drained(inbox);
    });
}
