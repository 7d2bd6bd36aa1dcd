//! Supervised tasks whose owner, or whose supervisor, exits between the request and the answer: no process
//! would ever hold them, so nothing of them may be left.

use std::time::Duration;

use crate::support::child_program::in_child_program;
use crate::support::{Gate, attached, eventually, watchdog};
use parking_lot::Mutex;
use rethread::StartError;
use rethread::prelude::*;
use rethread::process::{Inbox, ProcessState};
use rethread::supervisor::Shutdown;
use rethread::task::{TaskSupervisor, TaskSupervisorRef};

const MINUTE: Duration = Duration::from_secs(60);

#[track_caller]
fn up() -> TaskSupervisorRef {
    TaskSupervisor::child_spec().start().expect("it starts")
}

/// Blocks a supervisor with a child that does not exit before the gate opens.
#[track_caller]
fn keep_busy(tasks: &TaskSupervisorRef) -> Gate {
    let (ready, gate) = (Gate::new(), Gate::new());
    let (started_gate, held) = (ready.clone(), gate.clone());
    let stubborn = move || {
        process::trap_exit(true);
        started_gate.open();
        held.pass();
    };
    let stubborn = tasks.builder().shutdown(Shutdown::Infinity).start_child(stubborn).expect("a free thread");
    ready.pass();
    let asked = tasks.clone();
    process::spawn(move || drop(asked.terminate_child(stubborn))).expect("a free thread");
    let info = |pid| process::info(pid).expect("it is running");
    eventually("the child has the request", || info(stubborn).message_queue_len == 1);
    eventually("the supervisor waits", || {
        info(tasks.whereis().expect("it is running")).state == ProcessState::Waiting
    });
    gate
}

/// Starts an owner that requests a task, and is killed before the supervisor handles the request.
#[track_caller]
fn request_and_exit(tasks: &TaskSupervisorRef, ask: impl FnOnce(TaskSupervisorRef) + Send + 'static) {
    let gate = keep_busy(tasks);
    let asked = tasks.clone();
    let owner = process::spawn(move || ask(asked)).expect("a free thread");
    let supervisor = tasks.whereis().expect("it is running");
    eventually("it asks", || process::info(supervisor).expect("it is running").message_queue_len == 1);
    let end = process::watch(owner);
    process::exit(owner, ExitReason::Kill);
    end.wait();
    gate.open();
}

fn long() {
    process::sleep(MINUTE);
}

#[test]
fn an_owner_that_ends_while_a_task_is_started_leaves_none_behind() {
    let _watchdog = watchdog();
    let tasks = up();
    request_and_exit(&tasks, |tasks| tasks.stream_nolink([()], |()| long()).for_each(drop));
    assert_eq!(tasks.children().unwrap(), []);
    request_and_exit(&tasks, |tasks| drop(tasks.spawn_nolink(long)));
    assert_eq!(tasks.children().unwrap(), []);
    // This one is started for its effect.
    request_and_exit(&tasks, |tasks| drop(tasks.start_child(long)));
    assert_eq!(tasks.children().unwrap().len(), 1);
    tasks.stop().unwrap();
}

/// Kills a supervisor that confirms the start of a task, once the gate is open.
struct Kills;

static VICTIM: Mutex<Option<(Pid, Gate)>> = Mutex::new(None);

impl log::Log for Kills {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        if record.args().to_string().contains("child unanswered started") {
            let victim = VICTIM.lock().take();
            if let Some((pid, gate)) = victim {
                gate.pass();
                process::exit(pid, ExitReason::Kill);
            }
        }
    }
    fn flush(&self) {}
}

#[test]
fn a_start_that_is_not_answered_leaves_neither_a_task_nor_an_exit() {
    in_child_program(|| {
        log::set_logger(&Kills).unwrap();
        log::set_max_level(log::LevelFilter::Debug);
        attached(|inbox: &mut Inbox<()>| {
            process::trap_exit(true);
            let (tasks, traps) = (up(), Gate::new());
            *VICTIM.lock() = Some((tasks.whereis().unwrap(), traps.clone()));
            let (tx, rx) = std::sync::mpsc::channel();
            let refused = tasks.builder().label("unanswered").spawn(move || {
                process::trap_exit(true);
                tx.send(process::current().unwrap()).unwrap();
                traps.open();
                process::sleep(MINUTE);
            });
            assert!(matches!(refused, Err(StartError::NoSupervisor(_))), "{refused:?}");
            let ended = process::watch(rx.recv().unwrap()).wait();
            assert!([ExitReason::Killed, ExitReason::NoProc].contains(&ended), "{ended}");
            assert!(inbox.is_empty(), "{:?}", inbox.try_recv());
        });
    });
}
