//! The order of knowledge: a thread that has learned of the exit of a process, and then asks a process that monitors
//! it, gets an answer that takes the exit into account; and a task has exited normally before its value is seen.
//!
//! `KNOWLEDGE_ROUNDS=20000` repeats each way more often.

use std::collections::HashMap;
use std::time::Duration;

use rethread::MonitorRef;
use rethread::application::Application;
use rethread::prelude::*;
use rethread::supervisor::{ChildSpec, DynamicSupervisor, Shutdown};
use rethread::task::{TaskSupervisor, TaskSupervisorRef};

use crate::support::{attached, unique, watchdog};

fn rounds() -> u32 {
    std::env::var("KNOWLEDGE_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

/// A server that can be made to crash.
struct Bucket;

enum Poke {
    Crash(#[expect(dead_code, reason = "the crash answers")] Caller<()>),
}

impl GenServer for Bucket {
    type Args = ();
    type Call = Poke;
    type Cast = Infallible;

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self)
    }
    fn handle_call(&mut self, Poke::Crash(_): Poke, _: &mut Context<Self>) -> Next {
        process::exit_with("on request")
    }
}

/// A server that monitors processes, and knows which of them have not exited.
#[derive(Default)]
struct Directory {
    monitors: HashMap<MonitorRef, Pid>,
}

enum Ask {
    Watch(Pid, Caller<()>),
    Sync(Caller<()>),
    Knows(Pid, Caller<bool>),
}

impl GenServer for Directory {
    type Args = ();
    type Call = Ask;
    type Cast = Infallible;

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self::default())
    }
    fn handle_call(&mut self, ask: Ask, _: &mut Context<Self>) -> Next {
        match ask {
            Ask::Watch(pid, from) => {
                self.monitors.insert(process::monitor(pid), pid);
                from.reply(())
            }
            // A message of its own: what was queued before it is handled before the next question.
            Ask::Sync(from) => from.reply(()),
            Ask::Knows(pid, from) => from.reply(self.monitors.values().any(|known| *known == pid)),
        }
    }
    fn handle_info(&mut self, info: Info, _: &mut Context<Self>) -> Next {
        if let Info::Down { monitor, .. } = info {
            self.monitors.remove(&monitor);
        }
        Next::wait()
    }
}

/// Lets a directory monitor a process, learns of its exit by `learn`, and asks the directory, again and again.
#[track_caller]
fn never_stale<T>(start: impl Fn() -> (Pid, T), learn: impl Fn(Pid, T)) {
    let mut watchdog = watchdog();
    let directory = Directory::start(()).expect("a thread");
    let mut stale = 0;
    for _ in 0..rounds() {
        let (pid, started) = start();
        directory.call(|from| Ask::Watch(pid, from)).expect("it is running");
        learn(pid, started);
        directory.call(Ask::Sync).expect("it is running");
        stale += u32::from(directory.call(|from| Ask::Knows(pid, from)).expect("it is running"));
        watchdog.restart();
    }
    directory.stop().expect("it is running");
    assert_eq!(stale, 0, "stale answers in {} rounds", rounds());
}

fn bucket() -> (Pid, ServerRef<Bucket>) {
    let bucket = Bucket::start(()).expect("a thread");
    (bucket.whereis().expect("it is running"), bucket)
}

#[test]
fn down_of_other_monitors_is_queued_before_a_stop_returns() {
    never_stale(bucket, |_, bucket| bucket.stop().expect("it stops"));
}

#[test]
fn down_of_other_monitors_is_queued_before_a_watch_returns() {
    never_stale(bucket, |pid, bucket| {
        let watch = bucket.watch();
        process::exit(pid, ExitReason::Kill);
        watch.wait();
    });
}

#[test]
fn down_of_other_monitors_is_queued_before_a_late_watch_returns() {
    never_stale(bucket, |pid, _| {
        process::exit(pid, ExitReason::Kill);
        process::watch(pid).wait();
    });
}

#[test]
fn down_of_other_monitors_is_queued_before_a_call_fails() {
    never_stale(bucket, |_, bucket| drop(bucket.call(Poke::Crash).expect_err("it crashes")));
}

#[test]
fn down_of_other_monitors_is_queued_before_a_late_call_fails() {
    never_stale(bucket, |pid, bucket| {
        process::exit(pid, ExitReason::Kill);
        drop(bucket.call(Poke::Crash).expect_err("it was killed"));
    });
}

#[test]
fn down_of_other_monitors_is_queued_before_a_late_stop_fails() {
    never_stale(bucket, |pid, bucket| {
        process::exit(pid, ExitReason::Kill);
        drop(bucket.stop().expect_err("it was killed"));
    });
}

#[test]
fn down_of_other_monitors_is_queued_before_a_join_returns_the_value() {
    let start = || {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let task = task::spawn(move || wait.recv().is_ok()).expect("a thread");
        (task.pid(), (task, go))
    };
    never_stale(start, |_, (task, go)| {
        go.send(()).expect("it waits");
        assert_eq!(task.join(), Ok(true));
    });
}

#[test]
fn down_of_other_monitors_is_queued_before_a_join_fails() {
    let start = || {
        let task = task::spawn(|| process::sleep(Duration::MAX)).expect("a thread");
        (task.pid(), task)
    };
    never_stale(start, |pid, task| {
        process::exit(pid, ExitReason::Kill);
        task.join().expect_err("it was killed");
    });
}

#[test]
fn down_of_other_monitors_is_queued_before_a_task_is_shut_down() {
    let start = || {
        let task = task::spawn(|| process::sleep(Duration::MAX)).expect("a thread");
        (task.pid(), task)
    };
    never_stale(start, |_, mut task| assert_eq!(task.shutdown(Shutdown::BrutalKill), None));
}

#[test]
fn down_of_other_monitors_is_queued_before_a_terminate_child_returns() {
    let supervisor = DynamicSupervisor::start().expect("a thread");
    never_stale(
        || (supervisor.start_child(Bucket::child_spec(())).expect("a thread"), ()),
        |pid, ()| supervisor.terminate_child(pid).expect("it is a child"),
    );
    let tasks = TaskSupervisor::start().expect("a thread");
    let sleep = || process::sleep(Duration::MAX);
    never_stale(
        || (tasks.start_child(sleep).expect("a thread"), ()),
        |pid, ()| tasks.terminate_child(pid).expect("it is a child"),
    );
    let children =
        Supervisor::start([ChildSpec::from(Bucket::child_spec(())).id("bucket")], Strategy::OneForOne);
    let children = children.expect("a thread");
    never_stale(
        || {
            let running = children.which_children().expect("it is running")[0].pid();
            (running.unwrap_or_else(|| children.restart_child("bucket").expect("a thread")), ())
        },
        |_, ()| children.terminate_child("bucket").expect("it is a child"),
    );
    supervisor.stop().expect("it stops");
    tasks.stop().expect("it stops");
    children.stop().expect("it stops");
}

#[test]
fn down_of_other_monitors_is_queued_before_a_supervisor_or_an_application_has_stopped() {
    let one = || [ChildSpec::from(Bucket::child_spec(())).id("bucket")];
    let start = || {
        let supervisor = Supervisor::start(one(), Strategy::OneForOne).expect("a thread");
        (supervisor.which_children().expect("it is running")[0].pid().expect("it is running"), supervisor)
    };
    never_stale(start, |_, supervisor| supervisor.stop().expect("it stops"));
    let name = unique("knowledge");
    let start = || {
        let top = Supervisor::one_for_one().children(one());
        let application = Application::new(name, top).start().expect("a thread");
        let children = application.supervisor().which_children().expect("it is running");
        (children[0].pid().expect("it is running"), application)
    };
    never_stale(start, |_, application| application.stop().expect("it stops"));
}

#[test]
fn down_of_the_processes_left_over_is_queued_before_an_application_has_stopped() {
    let name = unique("left over");
    let start = || {
        let (sender, left_over) = std::sync::mpsc::channel();
        // Not supervised: the stop of the application kills it.
        let starter = TaskSupervisor::child_spec();
        let top = Supervisor::one_for_one().child(ChildSpec::from(starter).id("tasks"));
        let application = Application::new(name, top).start().expect("a thread");
        let tasks = application.supervisor().which_children().expect("it is running")[0].pid();
        let tasks = TaskSupervisorRef::from_pid(tasks.expect("it is running"));
        let start_left_over = move || {
            let pid = process::spawn(|| process::sleep(Duration::MAX)).expect("a thread");
            sender.send(pid).expect("it is expected");
        };
        tasks.start_child(start_left_over).expect("a thread");
        (left_over.recv().expect("it was started"), application)
    };
    never_stale(start, |_, application| application.stop().expect("it stops"));
}

#[test]
fn joined_task_does_not_end_its_owner_when_its_supervisor_is_stopped() {
    let mut ended = 0;
    for _ in 0..rounds() {
        let owner = process::attach(|| {
            let tasks = TaskSupervisor::start_link().expect("a thread");
            assert_eq!(tasks.spawn(|| 1).expect("a thread").join(), Ok(1));
            tasks.stop().expect("it stops");
        });
        ended += u32::from(owner.is_err());
    }
    assert_eq!(ended, 0, "owners ended in {} rounds", rounds());
}

#[test]
fn exit_message_of_a_joined_task_is_in_the_mailbox_of_its_owner() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        for _ in 0..rounds() {
            let task = task::spawn(|| 1).expect("a thread");
            let pid = task.pid();
            assert_eq!(task.join(), Ok(1));
            let expected = Event::Exit { from: pid, reason: ExitReason::Normal };
            assert_eq!(inbox.try_recv(), Some(expected));
        }
    });
}
