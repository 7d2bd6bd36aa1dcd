//! Links, monitors, signals and calls with unusual targets: the caller itself, its supervisor, exited
//! processes, zombies, foreign threads; and very many of them.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use crate::support::child::{self, Child, child_pid, kill, pid_of, states, up};
use crate::support::scripted_process::{ScriptedProcess, exit};
use crate::support::scripted_server::{self, ScriptedCalls};
use crate::support::{Gate, Journal, attached, down, message, sleeper, unique, watchdog};
use parking_lot::Mutex;
use rethread::gen_server::CallError;
use rethread::gen_server::StopError;
use rethread::prelude::*;
use rethread::process::{self, Address, Builder, Event, Inbox, LinkError, Name};
use rethread::supervisor::{ChildId, ChildInfo, DynamicSupervisor};
use rethread::supervisor::{Shutdown, SupervisorSpec};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_process_does_everything_to_itself() {
    attached(|inbox: &mut Inbox<u32>| {
        let (me, address) = (inbox.pid(), inbox.address());
        process::trap_exit(true);
        assert_eq!(process::link(me), Ok(()));
        process::unlink(me);
        let monitor = process::monitor(me);
        address.send(1);
        let _ = process::send_after(Duration::ZERO, &address, 2);
        assert_eq!((message(inbox), message(inbox)), (1, 2));
        // Signals from the process itself arrive like those of others, except for a kill.
        for reason in [ExitReason::Normal, ExitReason::Killed, "own".into()] {
            process::exit(me, reason.clone());
            assert_eq!(inbox.recv(), Event::Exit { from: me, reason });
        }
        assert_eq!(process::watch(me).wait_timeout(Duration::from_millis(1)), None);
        assert!(process::demonitor(monitor));
        assert_eq!(inbox.try_recv(), None);
    });
}

#[test]
fn process_that_kills_itself_exits_at_once_with_one_reason() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let further = Gate::new();
        let reached = further.clone();
        let child = process::spawn_receiver_link::<()>(move |inbox| {
            process::trap_exit(true);
            inbox.recv();
            let me = inbox.pid();
            process::link(me).unwrap();
            let _ = process::monitor(me);
            process::exit(me, ExitReason::Kill);
            reached.open();
        });
        let child = child.unwrap();
        let monitor = process::monitor(&child);
        child.send(());
        let first = inbox.recv();
        assert_eq!(first, Event::Exit { from: child.pid(), reason: ExitReason::Killed });
        assert_eq!(down(inbox), (monitor, ExitReason::Killed));
        assert!(!further.is_open());
    });
}

#[test]
fn server_that_calls_itself_by_pid_or_name_gets_an_error_and_continues() {
    use crate::support::scripted_server::Plan;
    let _watchdog = watchdog();
    let name: ServerRef<scripted_server::ScriptedServer> = ServerRef::named(unique("calls itself"));
    let server = Plan::new(&Journal::new()).start_as(&name);
    for through in [server.clone(), name] {
        let outcome = server.call_with(move |_, from, _| {
            let own = through.call_with(|_, from, _| from.reply(1));
            assert!(matches!(own, Err(CallError::CallingSelf { .. })), "{own:?}");
            assert_eq!(through.stop(), Err(StopError::CallingSelf { server: through.to_string().into() }));
            from.reply(2)
        });
        assert_eq!(outcome, Ok(2));
    }
    server.stop().unwrap();
}

/// Returns the pid that a foreign thread has as a sender of signals.
fn foreign_pid() -> Pid {
    let target = ScriptedProcess::trapping();
    process::exit(&target, "from nowhere");
    match target.wait_for_events(1)[..] {
        [Event::Exit { from, .. }] => from,
        ref other => panic!("an exit was due, not {other:?}"),
    }
}

/// Returns a process that is a zombie, and the gate that lets its thread finish.
fn zombie() -> (Pid, Gate) {
    let (begun, gate) = (Gate::new(), Gate::new());
    let (begins, held) = (begun.clone(), gate.clone());
    let stuck = Builder::new().kill_grace(Duration::ZERO).spawn(move || {
        begins.open();
        held.pass();
    });
    let stuck = stuck.expect("a free thread");
    begun.pass();
    assert_eq!(kill(stuck, ExitReason::Kill), ExitReason::Killed);
    assert!(process::zombies().iter().any(|zombie| zombie.pid == stuck));
    (stuck, gate)
}

#[test]
fn every_call_treats_exited_and_unknown_pids_as_no_process() {
    attached(|inbox: &mut Inbox<()>| {
        let exited = sleeper().pid();
        kill(exited, ExitReason::Kill);
        let foreign = thread::scope(|scope| scope.spawn(foreign_pid).join()).unwrap();
        let (zombie, gate) = zombie();
        for unregistered in [exited, foreign, zombie] {
            assert!(!process::is_alive(unregistered));
            process::exit(unregistered, ExitReason::Kill);
            process::unlink(unregistered);
            process::trap_exit(false);
            assert_eq!(process::link(unregistered), Err(LinkError::NoProc));
            process::trap_exit(true);
            assert_eq!(process::link(unregistered), Ok(()));
            assert_eq!(inbox.recv(), Event::Exit { from: unregistered, reason: ExitReason::NoProc });
            let monitor = process::monitor(unregistered);
            assert_eq!(down(inbox), (monitor, ExitReason::NoProc));
            assert_eq!(process::watch(unregistered).wait(), ExitReason::NoProc);
            assert!(process::register(unique("unregistered"), unregistered).is_err());
            let server = ServerRef::<scripted_server::ScriptedServer>::from_pid(unregistered);
            let outcome = server.call_with(|_, from, _| from.reply(1));
            assert!(matches!(outcome, Err(CallError::NoProc { .. })), "{outcome:?}");
            assert_eq!(server.stop(), Err(StopError::NoProc { server: server.to_string().into() }));
            assert_eq!(inbox.try_recv(), None);
        }
        assert_eq!(process::info(inbox.pid()).unwrap().links, []);
        gate.open();
    });
}

#[test]
fn an_attached_thread_is_a_process_as_long_as_it_is_attached() {
    let _watchdog = watchdog();
    let (tx, rx) = channel();
    let (gate, again) = (Gate::new(), Gate::new());
    let (held, go_on) = (gate.clone(), again.clone());
    let foreign = thread::Builder::new().spawn(move || {
        for _ in 0..2 {
            let ended = process::attach_receiver(|inbox: &mut Inbox<()>| {
                tx.send(inbox.address()).unwrap();
                inbox.recv();
            });
            assert!(ended.is_ok(), "{ended:?}");
            held.pass();
            go_on.pass();
        }
    });
    let linked = ScriptedProcess::trapping();
    let first: Address<()> = rx.recv().unwrap();
    let pid = first.pid();
    assert_eq!(linked.run(move || process::link(pid)), Ok(()));
    first.send(());
    assert_eq!(linked.wait_for_events(1), [exit(pid, ExitReason::Normal)]);
    assert_eq!(linked.run(move || process::link(pid)), Ok(()), "it traps exits");
    assert_eq!(linked.wait_for_events(2)[1], exit(pid, ExitReason::NoProc));
    gate.open();
    again.open();
    let second: Address<()> = rx.recv().unwrap();
    assert_ne!(second.pid(), pid, "the same thread, another process");
    process::exit(pid, ExitReason::Kill); // no such process
    second.send(());
    foreign.unwrap().join().unwrap();
}

/// Starts a supervisor that allows no restart, with one child.
fn strict(child: &Child) -> SupervisorRef {
    up(Supervisor::one_for_one().max_restarts(0, MINUTE).child(child.spec()))
}

#[test]
fn exit_of_unrelated_linked_process_does_not_affect_the_supervisor() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let supervisor = strict(&a);
    let (pid, first) = (pid_of(&supervisor), a.pid());
    for reason in [ExitReason::Normal, ExitReason::Shutdown, ExitReason::Kill, "stranger".into()] {
        let unrelated = ScriptedProcess::new();
        assert_eq!(unrelated.run(move || process::link(pid)), Ok(()));
        let end = process::watch(&unrelated);
        unrelated.start(move || process::exit_with(reason));
        end.wait();
    }
    // Nor is it if only the pid distinguishes the foreign process from a child.
    let grandchild = Gate::new();
    let linked = grandchild.clone();
    a.run_and_wait(move || {
        process::spawn(move || {
            process::link(pid).expect("it is running");
            linked.open();
            process::exit_with("grandchild");
        })
        .expect("a free thread");
    });
    grandchild.pass();
    assert_eq!(states(&supervisor), [("a".into(), "running")]);
    assert_eq!(a.pid(), first);
    supervisor.stop().unwrap();
}

#[test]
fn a_child_that_links_and_unlinks_its_supervisor_is_stopped_with_it() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let supervisor = strict(&a);
    let pid = pid_of(&supervisor);
    a.run_and_wait(move || {
        assert_eq!(process::link(pid), Ok(()), "the existing link is kept");
        process::unlink(pid);
        assert_eq!(process::link(pid), Ok(()));
        process::unlink(pid);
    });
    let end = a.server().watch();
    supervisor.stop().unwrap();
    assert_eq!(end.wait(), ExitReason::Shutdown);
}

#[test]
fn a_child_that_was_linked_anew_is_restarted_once() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let supervisor = up(Supervisor::one_for_one().max_restarts(1, MINUTE).child(a.spec()));
    let pid = pid_of(&supervisor);
    a.run_and_wait(move || {
        process::unlink(pid);
        process::link(pid).unwrap();
        process::link(pid).unwrap();
    });
    a.crash();
    assert_eq!(a.await_start(2), child_pid(&supervisor, "a"));
    supervisor.stop().unwrap();
    assert_eq!(a.starts(), 2);
}

#[test]
fn child_that_kills_its_supervisor_exits_too_and_is_started_by_the_next_one() {
    let _watchdog = watchdog();
    for traps in [false, true] {
        let journal = Journal::new();
        let mut a = Child::new("a", &journal);
        if traps {
            a = a.traps();
        }
        let name: SupervisorRef = SupervisorRef::named(unique("killed from below"));
        // With a name, each start waits until its predecessor has exited: the supervisor exits before its
        // children do.
        let child = a.spec().name(ServerRef::named(unique("a")));
        let inner = Supervisor::one_for_one().name(name.clone()).child(child);
        // One that traps exits may hold its name for a moment longer: then the next attempt finds it free.
        let top = up(Supervisor::one_for_one().max_restarts(u32::MAX, MINUTE).child(inner));
        let (first, end) = (a.pid(), name.watch());
        let supervisor = end.pid().unwrap();
        a.run(move || process::exit(supervisor, ExitReason::Kill));
        assert_eq!(end.wait(), ExitReason::Killed);
        let second = a.await_start(2);
        assert!(second != first && !process::is_alive(first));
        assert_eq!(journal.all()[..2], ["start a", "stop a"], "never two incarnations at a time");
        assert!(name.whereis().is_some_and(|now| now != supervisor));
        top.stop().unwrap();
    }
}

/// Returns every signal that can be sent, except for a kill.
fn signals() -> [ExitReason; 5] {
    [ExitReason::Normal, ExitReason::Shutdown, ExitReason::Killed, ExitReason::NoProc, "below".into()]
}

#[test]
fn exit_signal_from_running_child_is_not_its_exit() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let supervisor = strict(&a);
    let (pid, first) = (pid_of(&supervisor), a.pid());
    a.run_and_wait(move || signals().into_iter().for_each(|reason| process::exit(pid, reason)));
    assert_eq!(child_pid(&supervisor, "a"), first);
    supervisor.stop().unwrap();
    assert_eq!(a.starts(), 1, "it was started again");
    // The exit that comes last is noticed.
    let a = Child::new("a", &Journal::new());
    let supervisor = up(Supervisor::one_for_one().max_restarts(1, MINUTE).child(a.spec()));
    let pid = pid_of(&supervisor);
    a.run_and_wait(move || process::exit(pid, "below"));
    a.crash();
    assert_eq!(a.await_start(2), child_pid(&supervisor, "a"));
    supervisor.stop().unwrap();
}

#[test]
fn exit_signal_from_running_dynamic_child_is_not_its_exit() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let supervisor = DynamicSupervisor::child_spec().max_restarts(1, MINUTE).start().unwrap();
    let (pid, first) = (supervisor.whereis().unwrap(), supervisor.start_child(a.spec()).unwrap());
    a.run_and_wait(move || signals().into_iter().for_each(|reason| process::exit(pid, reason)));
    assert_eq!(supervisor.which_children().unwrap()[0].pid(), Some(first));
    a.crash();
    a.await_start(2);
    supervisor.stop().unwrap();
    assert_eq!(a.starts(), 2);
}

#[test]
fn child_that_stops_its_own_supervisor_exits_with_it() {
    let _watchdog = watchdog();
    // It is asked to shut down while it waits for that very thing: it exits at once.
    let a = Child::new("a", &Journal::new());
    let supervisor = strict(&a);
    let (ends, above) = ((supervisor.watch(), a.server().watch()), supervisor.clone());
    a.run(move || drop(above.stop()));
    assert_eq!((ends.0.wait(), ends.1.wait()), (ExitReason::Normal, ExitReason::Shutdown));
    // One that traps exits does not receive the signal while it waits: it is killed when its time is up.
    let b = Child::new("b", &Journal::new()).traps();
    let limited = b.spec().shutdown(Shutdown::Timeout(Duration::from_millis(50)));
    let supervisor = up(Supervisor::one_for_one().child(limited));
    let (ends, above) = ((supervisor.watch(), b.server().watch()), supervisor.clone());
    b.run(move || drop(above.stop()));
    assert_eq!((ends.0.wait(), ends.1.wait()), (ExitReason::Normal, ExitReason::Killed));
}

type Answers = (Result<Vec<ChildInfo>, CallError>, Result<(), StopError>);

#[test]
fn an_init_that_asks_the_supervisor_which_is_starting_it_is_refused_also_at_a_restart() {
    let _watchdog = watchdog();
    let name: SupervisorRef = SupervisorRef::named(unique("asked in init"));
    let answers: Arc<Mutex<Vec<Answers>>> = Arc::default();
    let (noted, above) = (Arc::clone(&answers), name.clone());
    let a = Child::new("a", &Journal::new()).starts_as(move |_| {
        noted.lock().push((above.which_children(), above.stop()));
        child::Begin::Up
    });
    let supervisor = up(Supervisor::one_for_one().name(name).child(a.spec()));
    a.crash();
    a.await_start(2);
    for (listed, stopped) in answers.lock().drain(..) {
        assert!(matches!(listed, Err(CallError::Deadlock { .. })), "{listed:?}");
        assert!(matches!(stopped, Err(StopError::Deadlock { .. })), "{stopped:?}");
    }
    assert_eq!(states(&supervisor), [("a".into(), "running")]);
    supervisor.stop().unwrap();
}

#[test]
fn supervisors_nested_two_hundred_deep_start_heal_and_stop() {
    const DEPTH: usize = 200;
    fn nested(depth: usize, deepest: &Child) -> SupervisorSpec {
        match depth {
            0 => Supervisor::one_for_one().child(deepest.spec()),
            _ => Supervisor::one_for_one().child(nested(depth - 1, deepest)),
        }
    }
    let _watchdog = watchdog();
    let journal = Journal::new();
    let deepest = Child::new("deepest", &journal);
    let top = up(nested(DEPTH, &deepest));
    let bottom = process::info(deepest.pid()).unwrap().ancestors[0];
    deepest.crash();
    deepest.await_start(2);
    // The last supervisor exits, and the one above restarts it.
    kill(bottom, ExitReason::Kill);
    deepest.await_start(3);
    let end = deepest.server().watch();
    top.stop().unwrap();
    assert_eq!(end.wait_timeout(Duration::ZERO), Some(ExitReason::Shutdown));
    assert_eq!(journal.all().len(), 6, "{:?}", journal.all());
    // The top one is killed: each of those below stops its children.
    let top = up(nested(DEPTH, &deepest));
    let end = deepest.server().watch();
    kill(pid_of(&top), ExitReason::Kill);
    assert_eq!(end.wait(), ExitReason::Shutdown);
}

#[test]
fn hundred_thousand_messages_to_exited_process_are_dropped() {
    attached(|_: &mut Inbox<()>| {
        let exited: Address<Arc<()>> = process::spawn_receiver(|_| ()).unwrap();
        process::watch(&exited).wait();
        let name: Name<Arc<()>> = Name::new(unique("unregistered"));
        let counted = Arc::new(());
        for _ in 0..100_000 {
            exited.send(Arc::clone(&counted));
            assert!(name.send(Arc::clone(&counted)).is_err());
        }
        let _ = process::send_after(Duration::ZERO, &exited, Arc::clone(&counted));
        assert_eq!(Arc::strong_count(&counted), 1);
    });
}

#[test]
fn a_quarter_of_a_million_unread_messages_go_with_their_process() {
    attached(|inbox: &mut Inbox<()>| {
        let counted = Arc::new(());
        let (unresponsive, monitor) =
            process::spawn_receiver_monitor::<Arc<()>>(|inbox| drop(inbox.recv_where(|_| false))).unwrap();
        for _ in 0..250_000 {
            unresponsive.send(Arc::clone(&counted));
        }
        process::exit(&unresponsive, ExitReason::Shutdown);
        assert_eq!(down(inbox), (monitor, ExitReason::Shutdown));
        assert_eq!(Arc::strong_count(&counted), 1);
    });
}

#[test]
fn a_hundred_thousand_links_and_monitors_of_one_process_end_with_it() {
    const MANY: usize = 100_000;
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let hub = sleeper();
        for _ in 0..MANY {
            process::link(&hub).unwrap(); // one link, however often
        }
        for _ in 0..MANY {
            process::unlink(&hub);
            process::link(&hub).unwrap();
        }
        let monitors: Vec<_> = (0..MANY).map(|_| process::monitor(&hub)).collect();
        for monitor in &monitors[..MANY / 2] {
            assert!(process::demonitor_flush(*monitor));
        }
        process::exit(&hub, ExitReason::Kill);
        assert_eq!(inbox.recv(), Event::Exit { from: hub.pid(), reason: ExitReason::Killed });
        let mut received: Vec<_> = (0..MANY / 2).map(|_| down(inbox)).collect();
        received.sort_by_key(|(monitor, _)| *monitor);
        assert!(received.iter().map(|(monitor, _)| monitor).eq(&monitors[MANY / 2..]));
        assert_eq!(inbox.try_recv(), None);
        let me = process::info(inbox.pid()).unwrap();
        assert_eq!((me.links, me.monitors), (vec![], vec![]));
    });
}

#[test]
fn thousand_linked_processes_exit_with_one() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let hub = sleeper();
        let of = hub.pid();
        let linked: Vec<_> = (0..1000)
            .map(|_| {
                let ready = inbox.address();
                process::spawn_receiver_monitor::<()>(move |inbox| {
                    process::link(of).unwrap();
                    ready.send(());
                    inbox.recv();
                })
                .unwrap()
            })
            .collect();
        linked.iter().for_each(|_| message(inbox));
        assert_eq!(process::info(&hub).unwrap().links.len(), linked.len());
        process::exit(&hub, "all together");
        let mut received: Vec<_> = linked.iter().map(|_| down(inbox)).collect();
        received.sort_by_key(|(monitor, _)| *monitor);
        let expected = linked.iter().map(|(_, monitor)| (*monitor, ExitReason::from("all together")));
        assert!(received.into_iter().eq(expected));
    });
}

#[test]
fn odd_names_ids_and_labels_are_names_ids_and_labels() {
    let _watchdog = watchdog();
    let megabyte: &'static str = "x".repeat(1 << 20).leak();
    let nul: &'static str = format!("{}\0after", unique("nul")).leak();
    let lines: &'static str = format!("{}\n\r\x1b[31m", unique("lines")).leak();
    for odd in [megabyte, nul, lines, " ", "\u{202e}\u{1f980}", "..//..", "%s%n"] {
        let named =
            Builder::new().name(odd).label(odd).spawn_receiver::<()>(|inbox| drop(inbox.recv())).unwrap();
        assert_eq!(process::whereis(odd), Some(named.pid()));
        let info = process::info(&named).unwrap();
        assert_eq!((info.name.as_deref(), info.label.as_deref()), (Some(odd), Some(odd)));
        // It has no thread before its first step.
        assert!(info.thread_name.is_none_or(|name| name.len() <= 15 && odd.starts_with(&name)));
        let taken = Builder::new().name(odd).spawn(|| ());
        assert!(matches!(taken, Err(process::SpawnError::Name(process::NameError::Taken(_)))));
        kill(named.pid(), ExitReason::Kill);
        assert_eq!(process::whereis(odd), None);
        let a = Child::new(odd, &Journal::new());
        let supervisor = up(Supervisor::one_for_one().child(a.spec().label(odd)));
        a.crash();
        assert_eq!(a.await_start(2), child_pid(&supervisor, odd));
        supervisor.terminate_child(ChildId::from(odd)).unwrap();
        supervisor.stop().unwrap();
    }
    let empty = Builder::new().name("").spawn(|| ()).map(drop);
    assert!(matches!(empty, Err(process::SpawnError::Name(process::NameError::Empty))), "{empty:?}");
}
