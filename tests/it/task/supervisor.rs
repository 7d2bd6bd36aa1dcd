//! Supervised tasks: linked with their owner or not, stopped with their supervisor, limited in number.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Gate, attached, eventually, exit_event, exit_reason_of, unique, watchdog};
use rethread::StartError;
use rethread::prelude::*;
use rethread::process::{Event, Inbox};
use rethread::supervisor::ChildError;
use rethread::supervisor::Shutdown;
use rethread::task;
use rethread::task::{JoinError, Task, TaskSupervisor, TaskSupervisorRef};

const MINUTE: Duration = Duration::from_secs(60);

fn sleeper() {
    process::sleep(MINUTE);
}

#[track_caller]
fn up() -> TaskSupervisorRef {
    TaskSupervisor::child_spec().start().expect("it starts")
}

/// Ends a process and waits for its exit.
fn kill(pid: impl Into<Pid>, reason: impl Into<ExitReason>) -> ExitReason {
    let pid = pid.into();
    let watch = process::watch(pid);
    process::exit(pid, reason);
    watch.wait()
}

// scenario: TK-22
#[test]
fn no_more_tasks_than_max_children() {
    attached(|_: &mut Inbox<()>| {
        let tasks = TaskSupervisor::child_spec().max_children(1).start().unwrap();
        let first = tasks.spawn_nolink(sleeper).unwrap();
        let full = StartError::MaxChildren { limit: 1 };
        assert_eq!(tasks.spawn(sleeper).unwrap_err(), full);
        assert_eq!(tasks.spawn_nolink(sleeper).unwrap_err(), full);
        assert_eq!(tasks.start_child(sleeper).unwrap_err(), full);
        assert_eq!(tasks.children().unwrap(), [first.pid()]);
        tasks.terminate_child(&first).unwrap();
        assert_eq!(tasks.spawn_nolink(|| 1).unwrap().join(), Ok(1));
        tasks.stop().unwrap();
    });
}

// scenario: TK-23
#[test]
fn a_task_can_have_a_shutdown_of_its_own() {
    attached(|_: &mut Inbox<()>| {
        process::trap_exit(true);
        let tasks = up();
        let brutal = tasks.builder().shutdown(Shutdown::BrutalKill);
        let all = [
            (brutal.clone().spawn(sleeper).unwrap(), ExitReason::Killed),
            (brutal.spawn_nolink(sleeper).unwrap(), ExitReason::Killed),
            (tasks.spawn(sleeper).unwrap(), ExitReason::Shutdown),
        ];
        tasks.stop().unwrap();
        for (task, expected) in all {
            let pid = task.pid();
            assert_eq!(task.join(), Err(JoinError::Exited { task: pid, reason: expected }));
        }
    });
}

#[test]
fn a_supervised_task_is_linked_with_owner_and_supervisor() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let tasks = up();
        let (task, alone) = (tasks.spawn(sleeper).unwrap(), tasks.spawn_nolink(sleeper).unwrap());
        let supervisor = tasks.whereis().unwrap();
        let links = |pid| {
            let mut links = process::info(pid).expect("it is running").links;
            links.sort_unstable();
            links
        };
        let mut both = [inbox.pid(), supervisor];
        both.sort_unstable();
        assert_eq!(links(task.pid()), both);
        assert_eq!(links(alone.pid()), [supervisor]);
        assert_eq!(process::info(&task).unwrap().ancestors[0], supervisor);
        kill(&task, "oops");
        assert_eq!(exit_event(inbox), (task.pid(), "oops".into()));
        assert_eq!(tasks.children().unwrap(), [alone.pid()]);
        tasks.stop().unwrap();
        assert_eq!(inbox.try_recv(), None);
    });
}

#[test]
fn crash_ends_the_owner_if_linked() {
    let tasks = up();
    let linked = tasks.clone();
    let reason =
        exit_reason_of(move |_: &mut Inbox<()>| drop(linked.spawn(|| panic!("boom")).unwrap().join()));
    assert!(matches!(&reason, ExitReason::Panic(report) if report.message() == "boom"), "{reason}");
    attached(|inbox: &mut Inbox<()>| {
        let task = tasks.spawn_nolink(|| panic!("boom")).unwrap();
        assert!(matches!(task.join(), Err(JoinError::Exited { reason: ExitReason::Panic(_), .. })));
        process::checkpoint();
        assert_eq!(inbox.try_recv(), None);
    });
    // The owner exits before the supervisor is notified.
    eventually("both are gone", || tasks.children().unwrap().is_empty());
    tasks.stop().unwrap();
}

#[test]
fn exit_of_owner_ends_linked_tasks_and_no_others() {
    let _watchdog = watchdog();
    let tasks = up();
    let begin = |how: fn() -> ExitReason| {
        let tasks = tasks.clone();
        let (tx, rx) = std::sync::mpsc::channel();
        let owner = process::spawn(move || {
            let (linked, alone) = (tasks.spawn(sleeper).unwrap(), tasks.spawn_nolink(sleeper).unwrap());
            tx.send([linked.pid(), alone.pid()]).unwrap();
            process::exit_with(how());
        });
        process::watch(owner.unwrap()).wait();
        rx.recv().unwrap()
    };
    let [linked, alone] = begin(|| "oops".into());
    assert!(!process::is_alive(linked) && process::is_alive(alone));
    let [linked, alone] = begin(|| ExitReason::Normal);
    assert!(process::is_alive(linked) && process::is_alive(alone), "a normal exit has no effect");
    tasks.stop().unwrap();
    assert!(!process::is_alive(linked) && !process::is_alive(alone));
}

#[test]
fn a_task_that_is_over_at_once_still_gives_its_value_or_its_reason() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let tasks = up();
        for round in 0..200 {
            assert_eq!(tasks.spawn_nolink(move || round).unwrap().join(), Ok(round));
            let task = tasks.spawn(move || -> i32 { process::exit_with("gone") }).unwrap();
            let pid = task.pid();
            assert_eq!(task.join(), Err(JoinError::Exited { task: pid, reason: "gone".into() }));
            assert_eq!(exit_event(inbox), (pid, "gone".into()));
            assert!(!tasks.children().unwrap().contains(&pid), "its supervisor is notified before its owner");
        }
        // A value may be there before the cleanup of its task completes.
        eventually("all are gone", || tasks.children().unwrap().is_empty());
        tasks.stop().unwrap();
    });
}

#[test]
fn the_callers_of_a_supervised_task_are_its_owners() {
    attached(|inbox: &mut Inbox<()>| {
        let tasks = up();
        let inner = tasks.clone();
        let outer = tasks.spawn_nolink(move || {
            let callers = inner.spawn_nolink(task::callers).unwrap().join().unwrap();
            (process::current().unwrap(), callers)
        });
        let (outer, callers) = outer.unwrap().join().unwrap();
        assert_eq!(callers, [outer, inbox.pid()]);
        tasks.stop().unwrap();
    });
}

#[test]
fn child_without_owner_is_listed_and_stopped() {
    let _watchdog = watchdog();
    let name: TaskSupervisorRef = TaskSupervisorRef::named(unique("tasks"));
    let system =
        Supervisor::start_link([TaskSupervisor::child_spec().name(name.clone())], Strategy::OneForOne)
            .unwrap();
    let (done, count) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
    let pid = name.start_child(sleeper).unwrap();
    let (open, counted) = (done.clone(), Arc::clone(&count));
    name.start_child(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        open.open();
    })
    .unwrap();
    done.pass();
    eventually("the quick one is gone", || name.children().unwrap() == [pid]);
    assert_eq!(name.terminate_child(pid), Ok(()));
    assert_eq!(name.terminate_child(pid), Err(ChildError::NotFound));
    name.start_child(|| panic!("once")).unwrap();
    eventually("it is gone, and not started again", || name.children().unwrap().is_empty());
    assert_eq!(count.load(Ordering::SeqCst), 1);
    system.stop().unwrap();
}

#[test]
fn a_thread_that_is_no_process_owns_tasks_without_a_link() {
    let _watchdog = watchdog();
    let tasks = up();
    assert_eq!(tasks.spawn(|| 6 * 7).unwrap().join(), Ok(42));
    let task = tasks.spawn(|| -> u8 { panic!("boom") }).unwrap();
    assert!(matches!(task.join(), Err(JoinError::Exited { .. })));
    let mut slow = tasks.spawn(sleeper).unwrap();
    assert_eq!(slow.yield_timeout(Duration::from_millis(1)), None);
    assert_eq!(slow.shutdown(Shutdown::BrutalKill), None);
    tasks.stop().unwrap();
    assert!(matches!(tasks.spawn(|| 1), Err(StartError::NoSupervisor(_))));
    assert!(tasks.children().is_err());
}

#[test]
fn killed_supervisor_ends_its_tasks() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let tasks = up();
        let (linked, alone) = (tasks.spawn(sleeper).unwrap(), tasks.spawn_nolink(sleeper).unwrap());
        kill(tasks.whereis().unwrap(), ExitReason::Kill);
        for task in [linked, alone] {
            let pid = task.pid();
            assert_eq!(task.join(), Err(JoinError::Exited { task: pid, reason: ExitReason::Killed }));
        }
        assert!(matches!(inbox.recv(), Event::Exit { reason: ExitReason::Killed, .. }));
        assert_eq!(inbox.try_recv(), None);
    });
}

#[test]
fn refused_work_is_dropped_and_its_destructor_is_contained() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("boom in the destructor of work");
        }
    }
    let _watchdog = watchdog();
    let tasks = TaskSupervisor::child_spec().max_children(0).start().unwrap();
    let bomb = Bomb;
    assert!(matches!(tasks.spawn_nolink(move || drop(bomb)), Err(StartError::MaxChildren { limit: 0 })));
    assert_eq!(tasks.children().unwrap(), []);
    tasks.stop().unwrap();
}

#[test]
fn task_and_its_supervisor_show_their_location() {
    let _watchdog = watchdog();
    let tasks = up();
    let task = tasks.builder().label("parser of the test").spawn_nolink(sleeper).unwrap();
    let info = process::info(&task).unwrap();
    assert_eq!(info.label.as_deref(), Some("parser of the test"));
    assert_eq!(info.spawned_at.file(), file!());
    tasks.stop().unwrap();
}

#[test]
fn a_stream_of_supervised_tasks() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let tasks = TaskSupervisor::child_spec().max_children(2).start().unwrap();
        let of = |n: u32| {
            assert_ne!(n % 5, 3, "three");
            n * n
        };
        let squares = |results: Vec<Result<u32, JoinError>>| -> Vec<Option<u32>> {
            results.into_iter().map(Result::ok).collect()
        };
        let expected: Vec<Option<u32>> = (0..50).map(|n| (n % 5 != 3).then_some(n * n)).collect();
        // A place is free when the next task is requested, each time.
        assert_eq!(squares(tasks.stream(0..50, of).max_concurrency(2).collect()), expected);
        assert_eq!(squares(tasks.stream_nolink(0..50, of).max_concurrency(2).collect()), expected);
        assert_eq!(tasks.children().unwrap(), []);
        assert_eq!(inbox.try_recv(), None);
        let naps = tasks.stream(0..4, |_| process::sleep(MINUTE)).max_concurrency(4);
        let full = naps.ordered(false).next();
        assert_eq!(full, Some(Err(JoinError::NotStarted(StartError::MaxChildren { limit: 2 }))));
        tasks.stop().unwrap();
    });
}

#[test]
fn crash_in_stream_ends_the_owner_if_linked() {
    let tasks = up();
    let linked = tasks.clone();
    let reason = exit_reason_of(move |_: &mut Inbox<()>| {
        linked.stream(0..3, |_| process::exit_with("boom")).for_each(|_: Result<(), _>| ());
    });
    assert_eq!(reason, "boom".into());
    attached(|_: &mut Inbox<()>| {
        let results: Vec<_> = tasks.stream_nolink(0..3, |_| -> () { process::exit_with("boom") }).collect();
        assert!(results.iter().all(|result| matches!(result, Err(JoinError::Exited { .. }))), "{results:?}");
        assert_eq!(results.len(), 3);
    });
    tasks.stop().unwrap();
}

#[test]
fn a_stream_that_is_dropped_leaves_nothing_with_the_supervisor() {
    attached(|inbox: &mut Inbox<()>| {
        let tasks = up();
        for linked in [true, false] {
            let nap = |n: u64| process::sleep(Duration::from_secs(n * 60));
            let mut stream = if linked { tasks.stream(0..9, nap) } else { tasks.stream_nolink(0..9, nap) };
            stream = stream.max_concurrency(3);
            assert_eq!(stream.next(), Some(Ok(())));
            assert_eq!(tasks.children().unwrap().len(), 2);
            drop(stream);
            assert_eq!(tasks.children().unwrap(), []);
        }
        assert_eq!(process::info(inbox.pid()).unwrap().links, []);
        assert_eq!(inbox.try_recv(), None);
        tasks.stop().unwrap();
    });
}

#[test]
fn a_label_may_be_empty() {
    let _watchdog = watchdog();
    let tasks = up();
    assert_eq!(tasks.builder().label("").spawn(|| 1).unwrap().join(), Ok(1));
    assert_eq!(tasks.stream([1], |n| n).label("").next(), Some(Ok(1)));
    tasks.stop().unwrap();
}

#[test]
fn exit_timeout_and_kill_grace_bound_the_destructors_of_a_supervised_task() {
    struct Blocks(Gate);
    impl Drop for Blocks {
        fn drop(&mut self) {
            self.0.pass();
        }
    }
    let _watchdog = watchdog();
    let short = Duration::from_millis(50);
    let tasks = up();
    let gate = Gate::new();
    // Each task holds a value whose destructor blocks until the gate opens: only the two limits end the wait.
    let exits = {
        let blocked = gate.clone();
        tasks.builder().process(process::Builder::new().exit_timeout(short)).spawn_nolink(move || {
            let _blocked = Blocks(blocked);
            process::exit_with("oops")
        })
    };
    let killed = {
        let blocked = gate.clone();
        tasks.builder().process(process::Builder::new().kill_grace(short)).spawn_nolink(move || {
            let _blocked = Blocks(blocked);
            sleeper();
        })
    };
    let (exits, killed): (Task<()>, Task<()>) = (exits.unwrap(), killed.unwrap());
    assert_eq!(process::watch(&exits).wait(), ExitReason::new("oops"));
    assert_eq!(kill(&killed, ExitReason::Kill), ExitReason::Killed);
    gate.open();
    tasks.stop().unwrap();
}
