//! Extreme settings and times: zero and the maximum. Settings hold for the whole program, so each test that
//! changes them runs in a child program.

use std::time::{Duration, Instant};

use crate::support::child::{Begin, Child, up};
use crate::support::child_program::in_child_program;
use crate::support::scripted_server::{Plan, ScriptedCalls, start_server};
use crate::support::{Gate, Journal, attached, down, eventually, message, unique, watchdog};
use rethread::StartError;
use rethread::agent::Agent;
use rethread::application::Application;
use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::process::{self, AttachError, Builder, Event, Inbox, SpawnError};
use rethread::supervisor::DynamicSupervisor;
use rethread::supervisor::Shutdown;

const ALWAYS: Duration = Duration::MAX;
const NEVER: Duration = Duration::ZERO;
const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn with_room_for_no_process_everything_is_refused_and_with_room_for_one_there_is_one() {
    in_child_program(|| {
        let _watchdog = watchdog();
        let with_room = |max_processes| process::configure(|settings| settings.max_processes = max_processes);
        with_room(0);
        let refused = |error| matches!(error, SpawnError::SystemLimit { limit: 0 });
        assert!(process::spawn(|| ()).is_err_and(refused));
        assert!(matches!(process::attach(|| ()), Err(AttachError::Spawn(error)) if refused(error.clone())));
        assert_eq!(Agent::start(|| 1).map(drop), Err(StartError::SystemLimit { limit: 0 }));
        assert!(task::spawn(|| 1).is_err());
        assert!(Application::new("no room", Supervisor::one_for_one()).start().is_err());
        assert!(process::processes().is_empty());
        with_room(1);
        for _ in 0..100 {
            let only = process::spawn_receiver::<()>(|inbox| drop(inbox.recv())).unwrap();
            assert!(process::spawn(|| ()).is_err());
            let end = process::watch(&only);
            only.send(());
            assert_eq!(end.wait(), ExitReason::Normal);
        }
        // There is no room for a supervisor's child, nor for a process that a server's `init` starts.
        let alone = Supervisor::one_for_one().child(Child::new("a", &Journal::new()).spec()).start();
        assert!(matches!(alone.map(drop), Err(StartError::Failed(_))));
        with_room(usize::MAX);
        assert_eq!(task::spawn(|| 1).unwrap().join(), Ok(1));
    });
}

/// Runs exits of all kinds, and checks what must hold for any times.
fn exits_of_all_kinds() {
    attached(|inbox: &mut Inbox<()>| {
        let ends: [fn(&mut Inbox<()>); 4] =
            [|_| (), |_| panic!("own"), |_| process::exit_with("own"), |inbox| drop(inbox.recv())];
        for (at, end) in ends.into_iter().cycle().take(100).enumerate() {
            let name = unique("times");
            let (child, monitor) =
                Builder::new().name(name).spawn_receiver_monitor(end).expect("a free thread");
            if at % 4 == 3 {
                process::exit(&child, if at % 8 == 3 { ExitReason::Kill } else { "requested".into() });
            }
            assert_eq!(down(inbox).0, monitor);
            assert_eq!((process::whereis(name), inbox.try_recv()), (None, None));
        }
    });
    let a = Child::new("a", &Journal::new());
    // With no time at all a thread may count as a zombie for the moment that it takes to exit.
    let supervisor = up(Supervisor::one_for_one().max_restarts(u32::MAX, MINUTE).child(a.spec()));
    for count in 2..20 {
        a.crash();
        a.await_start(count);
    }
    supervisor.stop().expect("it stops");
    eventually("all threads have ended", || process::zombies().is_empty());
}

#[test]
fn with_grace_zero_and_max_exits_are_delivered_once() {
    in_child_program(|| {
        let before = process::settings();
        for time in [NEVER, ALWAYS, Duration::from_nanos(1)] {
            process::configure(|settings| {
                *settings = before;
                settings.kill_grace = time;
                settings.exit_timeout = time;
                settings.max_zombies = usize::MAX;
            });
            exits_of_all_kinds();
        }
        // No zombie is tolerated, and there is none.
        process::configure(|settings| {
            *settings = before;
            settings.max_zombies = 0;
        });
        exits_of_all_kinds();
        for max_idle_threads in [0, 1, usize::MAX] {
            process::configure(|settings| {
                *settings = before;
                settings.max_idle_threads = max_idle_threads;
            });
            exits_of_all_kinds();
        }
    });
}

#[test]
fn kill_with_grace_max_waits_for_the_thread() {
    let _watchdog = watchdog();
    let (begun, gate) = (Gate::new(), Gate::new());
    let (begins, held) = (begun.clone(), gate.clone());
    let stuck = Builder::new().kill_grace(ALWAYS).spawn(move || {
        begins.open();
        held.pass();
    });
    let stuck = stuck.unwrap();
    begun.pass();
    let end = process::watch(stuck);
    process::exit(stuck, ExitReason::Kill);
    process::exit(stuck, ExitReason::Kill);
    assert_eq!(end.wait_timeout(Duration::from_millis(50)), None);
    gate.open();
    assert_eq!(end.wait(), ExitReason::Killed);
}

#[test]
fn the_longest_times_are_no_error_and_the_shortest_are_over_at_once() {
    attached(|inbox: &mut Inbox<u32>| {
        let server = start_server();
        assert_eq!(server.call_with_timeout(ALWAYS, |_, from, _| from.reply(1)), Ok(1));
        let held = server.call_with_timeout(NEVER, |state, from, _| {
            state.kept.push(from);
            Next::wait()
        });
        assert!(matches!(held, Err(CallError::Timeout { .. })), "{held:?}");
        let name = unique("at once");
        assert_eq!(process::whereis_timeout(name, NEVER), None);
        process::register(name, inbox.pid()).unwrap();
        assert_eq!(process::whereis_timeout(name, ALWAYS), Some(inbox.pid()));
        inbox.address().send(1);
        assert_eq!(inbox.recv_timeout(ALWAYS), Some(Event::Message(1)));
        assert_eq!(inbox.recv_timeout(NEVER), None);
        process::sleep(NEVER);
        assert_eq!(task::spawn(|| 7).unwrap().join_timeout(ALWAYS), Ok(7));
        let mut slow = task::spawn(|| process::sleep(ALWAYS)).unwrap();
        assert_eq!(slow.yield_timeout(NEVER), None);
        assert_eq!(slow.shutdown(Shutdown::Timeout(ALWAYS)), None);
        let sleeper = process::spawn(|| process::sleep(ALWAYS)).unwrap();
        assert_eq!(process::watch(sleeper).wait_timeout(NEVER), None);
        process::exit(sleeper, "woken");
        let end = process::watch(sleeper).wait_timeout(ALWAYS);
        assert!(end == Some("woken".into()) || end == Some(ExitReason::NoProc), "{end:?}");
        // A timeout of zero, in a server, still handles pending messages first.
        let journal = Journal::new();
        let notes = journal.clone();
        let idle = Plan::new(&Journal::new()).info(move |info, _| {
            notes.note(format!("{info:?}"));
            Next::wait().timeout(ALWAYS)
        });
        let idle = idle.start();
        idle.cast_with(|_, _| Next::wait().timeout(NEVER));
        assert_eq!(journal.wait_for(1), ["Timeout"]);
        assert_eq!(idle.stop_timeout(ExitReason::Normal, ALWAYS), Ok(()));
        let _ = process::send_at(Instant::now(), inbox.address(), 3);
        assert_eq!(message(inbox), 3);
    });
}

#[test]
fn supervisors_take_the_longest_and_the_shortest_times() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let [eternal, hasty] = ["eternal", "hasty"].map(|id| Child::new(id, &journal).traps());
    let spec = |child: &Child, time| child.spec().shutdown(Shutdown::Timeout(time)).reap_timeout(time);
    let plan = Supervisor::one_for_one().max_restarts(1000, ALWAYS);
    let plan = plan.child(spec(&eternal, ALWAYS).start_timeout(ALWAYS)).child(spec(&hasty, NEVER));
    let supervisor = up(plan);
    for child in [&eternal, &hasty] {
        child.crash();
        child.await_start(2);
        child.kill();
        child.await_start(3);
    }
    let ends = (eternal.server().watch(), hasty.server().watch());
    supervisor.stop().unwrap();
    assert_eq!(ends.0.wait(), ExitReason::Shutdown);
    assert!(matches!(ends.1.wait(), ExitReason::Shutdown | ExitReason::Killed), "it had no time");
    // No time to start: whether it succeeds or not, nothing is left over.
    let rooms = DynamicSupervisor::child_spec().start().unwrap();
    for _ in 0..20 {
        let a = Child::new("a", &journal).starts_as(|_| Begin::Up);
        match rooms.start_child(a.spec().start_timeout(NEVER)) {
            Ok(pid) => assert_eq!(pid, a.pid()),
            Err(error) => assert_eq!(error, StartError::Timeout { after: NEVER }),
        }
    }
    rooms.stop().unwrap();
}

#[test]
fn a_stack_of_no_bytes_is_the_least_there_is() {
    in_child_program(|| {
        let _watchdog = watchdog();
        let little = Builder::new().stack_size(0).spawn_receiver::<()>(|inbox| drop(inbox.recv())).unwrap();
        let end = process::watch(&little);
        little.send(());
        assert_eq!(end.wait(), ExitReason::Normal);
    });
}
