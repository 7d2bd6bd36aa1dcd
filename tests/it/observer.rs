//! The observer: the process tree, one process, the busiest processes, and the events.

use std::time::Duration;

use crate::support::child_program::in_child_program;
use crate::support::{Gate, attached, eventually, unique, watchdog};
use rethread::observer::{self, EventReceiver, Node, ProcessEvent, ProcessEventKind, Snapshot, SortBy};
use rethread::prelude::*;
use rethread::process::{Activity, Builder, ProcessKind, ProcessState};

const MINUTE: Duration = Duration::from_secs(60);

/// A server that acts on request, with a gate to block it in a handler.
struct Worker;

enum Ask {
    Hello(Caller<()>),
    Hold(Gate, Gate, Caller<()>),
}

enum Tell {
    Crash,
    Nothing,
}

impl GenServer for Worker {
    type Args = ();
    type Call = Ask;
    type Cast = Tell;

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Worker)
    }

    fn handle_call(&mut self, ask: Ask, _: &mut Context<Self>) -> Next {
        match ask {
            Ask::Hello(from) => from.reply(()),
            Ask::Hold(begun, gate, from) => {
                begun.open();
                gate.pass();
                from.reply(())
            }
        }
    }

    fn handle_cast(&mut self, tell: Tell, _: &mut Context<Self>) -> Next {
        match tell {
            Tell::Crash => panic!("on request"),
            Tell::Nothing => Next::wait(),
        }
    }
}

/// Starts a supervisor of that name over workers of those names.
fn system(name: &'static str, workers: &[&'static str]) -> SupervisorRef {
    let children =
        workers.iter().map(|worker| Worker::child_spec(()).id(*worker).name(ServerRef::named(worker)));
    let plan =
        Supervisor::one_for_one().max_restarts(3, MINUTE).name(SupervisorRef::named(name)).children(children);
    plan.start().expect("it starts")
}

/// Returns the lines of the tree below a process: depth, name, and number of restarts; children that are
/// not running by id.
fn lines(snapshot: &Snapshot, root: Pid) -> Vec<(usize, String, u64)> {
    let line = |branch: &observer::TreeRow<'_>| match branch.node {
        Node::Process { process, restarts } => (branch.depth, process.display_name().to_owned(), restarts),
        Node::NotRunning(row) => (branch.depth, format!("down: {}", row.child.id), row.restarts),
        _ => panic!("unknown node: {:?}", branch.node),
    };
    snapshot.tree_of(root).iter().map(line).collect()
}

/// Returns the next event that concerns a process and is accepted.
fn next(events: &mut EventReceiver, mut wanted: impl FnMut(&ProcessEvent) -> bool) -> ProcessEvent {
    loop {
        let event = events.recv_timeout(Duration::from_secs(30)).expect("an event is due");
        if wanted(&event) {
            return event;
        }
    }
}

#[test]
fn tree_shows_parents_and_stopped_children() {
    let _watchdog = watchdog();
    let [top, a, b] = [unique("top"), unique("a"), unique("b")];
    let system = system(top, &[a, b]);
    let root = system.whereis().expect("it runs");
    let tree = |snapshot: &Snapshot| lines(snapshot, root);
    assert_eq!(tree(&observer::snapshot()), [(0, top.into(), 0), (1, a.into(), 0), (1, b.into(), 0)]);

    let first = process::whereis(a).expect("it runs");
    process::exit(first, ExitReason::Kill);
    // The supervisor updates its account after the restart; the call returns after that.
    eventually("a new one", || process::whereis(a).is_some_and(|pid| pid != first));
    system.which_children().expect("it answers");
    system.terminate_child(b).expect("it is stopped");
    let snapshot = observer::snapshot();
    assert_eq!(tree(&snapshot), [(0, top.into(), 0), (1, a.into(), 1), (1, format!("down: {b}"), 0)]);

    let observed = snapshot.find(top).expect("it is there");
    let supervision = observed.supervision.as_ref().expect("it is a supervisor");
    assert_eq!(
        (observed.info.kind, supervision.strategy),
        (ProcessKind::Supervisor, Some(Strategy::OneForOne))
    );
    assert_eq!((supervision.restarts.used, supervision.restarts.left()), (1, 2));
    assert_eq!(supervision.children.len(), 2);
    let text = snapshot.to_string();
    for part in [format!("x- {b}"), "not running".into(), "1 of 3 restarts in 60s".into()] {
        assert!(text.contains(&part), "{part:?} is not in\n{text}");
    }
    let row = text.lines().find(|line| line.contains(&format!("+- {a} <")));
    assert!(row.is_some_and(|row| row.ends_with(", restarts: 1")), "no restart of {a} in\n{text}");
    system.stop().expect("it stops");
    assert!(observer::snapshot().find(top).is_none());
}

#[test]
fn a_handler_that_hangs_is_shown_with_its_mail() {
    let _watchdog = watchdog();
    let name = unique("hanging");
    let server = Worker::child_spec(()).name(ServerRef::named(name)).start().expect("it starts");
    server.call(Ask::Hello).expect("an answer");
    eventually("it waits", || {
        observer::info(server.whereis().unwrap()).unwrap().info.state == ProcessState::Waiting
    });
    // Block the handler of a call, and queue five messages behind it.
    let (begun, gate) = (Gate::new(), Gate::new());
    let (held, holds) = (gate.clone(), begun.clone());
    let (caller, asked) = (server.clone(), move |from| Ask::Hold(holds, held, from));
    let call = process::spawn(move || caller.call_timeout(MINUTE, asked).expect("an answer")).unwrap();
    begun.pass();
    (0..5).for_each(|_| server.cast(Tell::Nothing));
    let pid = server.whereis().expect("it runs");
    // The observer shows the handler, the queue, and a growing time.
    let hung = observer::info(pid).expect("it is there");
    assert_eq!((hung.info.state.clone(), hung.info.activity), (ProcessState::Running, Activity::Call));
    assert_eq!((hung.info.message_queue_len, hung.info.received), (5, 2));
    assert_eq!((hung.type_name(), hung.info.kind), ("Worker", ProcessKind::Server));
    let before = hung.info.active_for;
    let later = || observer::info(pid).expect("it is there").info.active_for;
    eventually("time passes", || later() > before + Duration::from_millis(5));
    assert!(observer::top(SortBy::MessageQueueLen, usize::MAX).iter().any(|one| one.pid() == pid));
    assert!(observer::top(SortBy::Busy, usize::MAX).iter().any(|one| one.pid() == pid));
    let line = observer::info(pid).unwrap().to_string();
    assert!(
        line.starts_with(name)
            && line.contains("handling a call for")
            && line.ends_with("message_queue_len 5"),
        "{line}"
    );
    // The caller is shown as waiting for the server.
    let asking = observer::info(call).expect("it waits").info;
    assert_eq!(asking.waiting_on, Some(pid));
    gate.open();
    eventually("all is handled", || observer::info(pid).unwrap().info.received == 7);
    server.stop().expect("it stops");
    assert!(observer::info(pid).is_none());
}

#[test]
fn threads_carry_the_names_of_their_processes() {
    attached::<(), _>(|inbox| {
        let label = "a label of more than fifteen bytes 🛒";
        let (begun, gate) = (Gate::new(), Gate::new());
        let (begins, held) = (begun.clone(), gate.clone());
        let child = Builder::new().label(label).spawn(move || {
            begins.open();
            held.pass();
        });
        let child = child.expect("a thread");
        begun.pass();
        let name = observer::info(child).expect("it is running").info.thread_name.expect("it has one");
        assert_eq!(name, "a label of more");
        // Compare with the kernel's figures, where available.
        if let Ok(tasks) = std::fs::read_dir("/proc/self/task") {
            let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
            assert!(names.map(|comm| comm.trim_end().to_owned()).any(|comm| comm == name));
        }
        gate.open();
        let own = observer::info(inbox.pid()).expect("it is running").info.thread_name;
        assert_eq!(own.as_deref(), std::thread::current().name());
    });
}

#[test]
fn top_sorts_and_cuts() {
    in_child_program(|| {
        let _watchdog = watchdog();
        let flooded: Vec<_> = (1..=3)
            .map(|n| {
                let address =
                    process::spawn_receiver::<u8>(|inbox| drop(inbox.recv_where(|_| false))).unwrap();
                (0..n * 1_000).for_each(|_| address.send(0));
                address
            })
            .collect();
        eventually("they wait", || {
            flooded.iter().all(|one| process::info(one).unwrap().state == ProcessState::Waiting)
        });
        let mails: Vec<usize> =
            observer::top(SortBy::MessageQueueLen, 2).iter().map(|one| one.info.message_queue_len).collect();
        assert_eq!(mails, [3_000, 2_000]);
        let oldest = observer::top(SortBy::Uptime, 1_000);
        assert!(oldest.windows(2).all(|pair| pair[0].info.uptime >= pair[1].info.uptime));
        flooded.iter().for_each(|one| process::exit(one, ExitReason::Kill));
        assert!(observer::top(SortBy::MessageQueueLen, 0).is_empty());
    });
}

#[test]
fn events_report_start_and_exit() {
    attached::<(), _>(|inbox| {
        let mut events = observer::events_with_capacity(100_000);
        let name = unique("short life");
        let child = Builder::new().name(name).spawn(|| ()).expect("a thread");
        let mine = |event: &ProcessEvent| event.pid == child;
        let started = next(&mut events, mine);
        assert_eq!(started.kind, ProcessEventKind::Started { parent: Some(inbox.pid()) });
        assert_eq!(started.display_name.as_deref(), Some(name));
        let exited = next(&mut events, mine);
        assert_eq!(exited.kind, ProcessEventKind::Exited { reason: ExitReason::Normal });
        assert_eq!(exited.display_name.as_deref(), Some(name), "although the name is free again");
        assert!(exited.to_string().ends_with("exited: normal"), "{exited}");
    });
}

#[test]
fn events_report_restarts_and_giving_up() {
    let _watchdog = watchdog();
    let mut events = observer::events_with_capacity(100_000);
    let [top, a] = [unique("giver-up"), unique("crasher")];
    let system = system(top, &[a]);
    let root = system.whereis().expect("it runs");
    let worker: ServerRef<Worker> = ServerRef::named(a);
    // Three restarts are within the budget.
    for times in 1..=3 {
        let before = worker.whereis().expect("it runs");
        worker.cast(Tell::Crash);
        let exited = next(&mut events, |event| {
            event.pid == before && matches!(event.kind, ProcessEventKind::Exited { .. })
        });
        let ProcessEventKind::Exited { reason: ExitReason::Panic(report) } = exited.kind else {
            panic!("{exited}")
        };
        assert!(report.to_string().contains("on request"));
        let again = next(&mut events, |event| {
            matches!(event.kind, ProcessEventKind::Restarted { .. })
                && event.display_name.as_deref() == Some(a)
        });
        assert_eq!(
            again.kind,
            ProcessEventKind::Restarted { supervisor: root, child: a.into(), restarts: times }
        );
        assert_eq!(Some(again.pid), worker.whereis());
    }
    // The fourth crash exceeds it.
    worker.cast(Tell::Crash);
    let gave_up = next(&mut events, |event| event.pid == root);
    let ProcessEventKind::GaveUp { why } = &gave_up.kind else { panic!("{gave_up}") };
    assert!(why.contains("reached_max_restart_intensity"), "{why}");
    assert_eq!(
        next(&mut events, |event| event.pid == root).kind,
        ProcessEventKind::Exited { reason: ExitReason::Shutdown }
    );
}

#[test]
fn a_zombie_is_made_and_reaped_in_public() {
    let _watchdog = watchdog();
    let mut events = observer::events_with_capacity(100_000);
    let gate = Gate::new();
    let (held, begun) = (gate.clone(), Gate::new());
    let begins = begun.clone();
    let label = unique("stuck");
    let stuck = Builder::new().label(label).kill_grace(Duration::from_millis(1)).spawn(move || {
        begins.open();
        held.pass();
    });
    let stuck = stuck.expect("a thread");
    begun.pass();
    process::exit(stuck, ExitReason::Kill);
    let mine = |event: &ProcessEvent| event.pid == stuck;
    let mut changes = Vec::new();
    while !matches!(changes.last(), Some(ProcessEventKind::Exited { .. })) {
        changes.push(next(&mut events, mine).kind);
    }
    assert!(changes.contains(&ProcessEventKind::BecameZombie), "{changes:?}");
    let snapshot = observer::snapshot();
    assert!(snapshot.zombies.iter().any(|zombie| zombie.pid == stuck));
    assert!(snapshot.to_string().contains(&format!("zombie {}", stuck)));
    assert_eq!(
        observer::info(stuck).expect("it is listed").info.state,
        ProcessState::Zombie(ExitReason::Killed)
    );
    gate.open();
    let reaped = next(&mut events, mine);
    assert_eq!((reaped.kind, reaped.display_name.as_deref()), (ProcessEventKind::Reaped, Some(label)));
}

#[test]
fn slow_reader_loses_the_oldest_events_and_blocks_no_process() {
    in_child_program(|| {
        attached::<(), _>(|_| {
            let mut events = observer::events_with_capacity(4);
            for _ in 0..20 {
                process::watch(process::spawn(|| ()).expect("a thread")).wait();
            }
            let read = std::iter::from_fn(|| events.try_recv()).count();
            assert_eq!(read, 4);
            assert_eq!(events.take_dropped(), 36, "of twenty starts and twenty exits");
            assert_eq!(events.take_dropped(), 0);
            assert!(events.recv_timeout(Duration::ZERO).is_none());
        });
    });
}

#[test]
fn receiver_keeps_1024_unread_events_by_default() {
    in_child_program(|| {
        attached::<(), _>(|_| {
            let mut events = observer::events();
            for _ in 0..600 {
                process::watch(process::spawn(|| ()).expect("a thread")).wait();
            }
            assert_eq!(events.take_dropped(), 1_200 - 1_024, "of 600 starts and 600 exits");
            assert_eq!(std::iter::from_fn(|| events.try_recv()).count(), 1_024);
        });
    });
}

#[test]
fn dropped_receiver_does_not_affect_others() {
    let _watchdog = watchdog();
    let receiver = || observer::events_with_capacity(100_000);
    let (first, mut second, third) = (receiver(), receiver(), receiver());
    drop(first);
    drop(third);
    let child = Builder::new().spawn(|| ()).expect("a thread");
    next(&mut second, |event| event.pid == child);
}
