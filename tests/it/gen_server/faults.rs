//! Faults in every callback of a server: the reason is true, the error typed, and other processes are not
//! affected. And handlers that never return.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::support::scripted_server::{
    Plan, ScriptedCalls, ScriptedServer, block_server, spawn_body, start_server, wait_for_queue,
};
use crate::support::{Gate, Journal, attached, capture, eventually, exit_event, logs, unique};
use rethread::StartError;
use rethread::gen_server::CallError;
use rethread::gen_server::StopError;
use rethread::prelude::*;
use rethread::process::{self, Inbox, ProcessState};

const SHORT: Duration = Duration::from_millis(20);

/// Returns a unique name.
fn name(stem: &str) -> ServerRef<ScriptedServer> {
    ServerRef::from_name(unique(stem))
}

/// Returns the message of a reason that must be a panic of this file.
#[track_caller]
fn panic_message(reason: &ExitReason) -> String {
    let ExitReason::Panic(report) = reason else { panic!("a panic was due, not {reason}") };
    let location = report.location().expect("a location");
    assert_eq!(location.file, file!(), "{location:?}");
    report.message().to_owned()
}

/// Panics when it is dropped.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("{}", self.0)
    }
}

#[test]
fn a_panic_in_any_callback_ends_only_that_server_with_the_true_reason() {
    type Case = (&'static str, fn(Plan) -> Plan, fn(&ServerRef<ScriptedServer>));
    let poke = |server: &ServerRef<ScriptedServer>| process::exit(server.pid(), "poke");
    let cases: [Case; 5] = [
        ("in a call", |plan| plan, |server| drop(server.call_with(|_, _, _| panic!("in a call")))),
        ("in a cast", |plan| plan, |server| server.cast_with(|_, _| panic!("in a cast"))),
        (
            "in an info",
            |plan| plan.trapping().info(|_, _| panic!("in an info")),
            |server| {
                let pid = server.pid();
                drop(spawn_body(move |_| process::exit(pid, "poke")).join());
            },
        ),
        (
            "in a continue",
            |plan| plan.on_continue(|_| panic!("in a continue")),
            |server| {
                server.cast_with(|_, _| Next::wait().and_continue());
            },
        ),
        ("in terminate", |plan| plan.trapping().terminate(|_| panic!("in terminate")), poke),
    ];
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let bystander = start_server();
        for (message, prepare, strike) in cases {
            let (journal, name) = (Journal::new(), name("fault"));
            let spec = prepare(Plan::new(&journal)).spec().name(name.clone());
            let server = spec.start_link().unwrap();
            strike(&server);
            let (from, reason) = exit_event(inbox);
            assert_eq!(from, server.pid());
            assert_eq!(panic_message(&reason), message);
            assert_eq!(name.whereis(), None);
            let notes = journal.all();
            assert_eq!(notes.last().unwrap(), "dropped", "{notes:?}");
            let terminated = notes.iter().filter(|note| note.starts_with("terminate ")).count();
            assert_eq!(terminated, 1, "{notes:?}");
            // Its name can be taken at once, and other processes were not affected.
            Plan::new(&Journal::new()).start_as(&name).stop().unwrap();
            assert_eq!(bystander.get(), Ok(0));
            assert!(inbox.is_empty());
        }
    });
}

#[test]
fn a_panic_in_init_is_the_error_of_the_start() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let (journal, name) = (Journal::new(), name("init"));
        let plan = Plan::new(&journal).init(|_| panic!("in init"));
        let error = plan.spec().name(name.clone()).start_link().unwrap_err();
        let StartError::Failed(reason) = &error else { panic!("not {error}") };
        assert_eq!(panic_message(reason), "in init");
        assert_eq!(journal.all(), [""; 0], "there is no state to terminate");
        assert_eq!(name.whereis(), None);
        assert!(inbox.is_empty());
    });
}

#[test]
fn after_a_panic_terminate_sees_the_state_as_the_panic_left_it() {
    attached(|_: &mut Inbox<()>| {
        let journal = Journal::new();
        let server = Plan::new(&journal).start();
        let watch = server.watch();
        server.cast_with(|state, _| {
            state.note("half done");
            panic!("midway")
        });
        watch.wait();
        let notes = journal.all();
        assert_eq!(notes.len(), 3);
        assert_eq!((&*notes[0], &*notes[2]), ("half done", "dropped"));
        assert!(notes[1].starts_with("terminate panic at "), "{notes:?}");
    });
}

#[test]
fn a_panic_whose_payload_is_no_text_keeps_it() {
    attached(|_: &mut Inbox<()>| {
        let server = start_server();
        let error = server.call_with(|_, _, _| std::panic::panic_any(42_u8)).unwrap_err();
        let CallError::Exited { reason: ExitReason::Panic(report), .. } = error else {
            panic!("not {error}")
        };
        assert_eq!(report.take_payload().unwrap().downcast_ref(), Some(&42_u8));
        assert!(report.take_payload().is_none(), "only the first call gets it");
    });
}

#[test]
fn a_panic_in_the_states_destructor_changes_nothing() {
    capture();
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let bombs = [0, 1, 2, 3].map(|_| unique("bomb in the state"));
        let bomb = |which: usize| {
            let text = bombs[which];
            Plan::new(&Journal::new()).on_drop(move || panic!("{text}")).start_link()
        };
        let server = bomb(0);
        assert_eq!(server.stop(), Ok(()));
        assert_eq!(exit_event(inbox), (server.pid(), ExitReason::Normal));
        let server = bomb(1);
        process::exit(server.pid(), ExitReason::Kill);
        assert_eq!(exit_event(inbox), (server.pid(), ExitReason::Killed));
        let server = bomb(2);
        server.cast_with(|_, _| panic!("the first one"));
        let (_, reason) = exit_event(inbox);
        assert_eq!(panic_message(&reason), "the first one");
        let server = bomb(3);
        assert_eq!(server.call_with(|_, from, _| from.reply(1).and_stop("done")), Ok(1));
        assert_eq!(exit_event(inbox), (server.pid(), "done".into()));
        assert!(inbox.is_empty());
        for text in bombs {
            let line = format!("ERROR panic in drop of server state: {text}");
            assert_eq!(logs().iter().filter(|other| **other == line).count(), 1, "{line}");
        }
    });
}

/// A server whose arguments panic when dropped, unless `init` forgets them.
struct Armed;

impl GenServer for Armed {
    type Args = Option<Bomb>;
    type Call = Caller<()>;
    type Cast = Option<Bomb>;

    fn init(bomb: Option<Bomb>, _: &mut Context<Self>) -> Result<Self, InitError> {
        drop(bomb);
        Ok(Armed)
    }
    fn handle_call(&mut self, from: Caller<()>, _: &mut Context<Self>) -> Next {
        from.reply(())
    }
    fn handle_cast(&mut self, bomb: Option<Bomb>, _: &mut Context<Self>) -> Next {
        drop(bomb);
        Next::wait()
    }
}

#[test]
fn a_panic_in_the_destructor_of_the_arguments_is_a_failed_init() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let error = Armed::start_link(Some(Bomb("in the arguments"))).unwrap_err();
        let StartError::Failed(reason) = &error else { panic!("not {error}") };
        assert_eq!(panic_message(reason), "in the arguments");
        assert!(inbox.is_empty());
        Armed::start(None).unwrap().stop().unwrap();
    });
}

#[test]
fn arguments_that_are_never_used_are_dropped_by_the_starter() {
    attached(|inbox: &mut Inbox<()>| {
        let name = ServerRef::<Armed>::from_name(unique("armed"));
        let holder = Armed::child_spec(None).name(name.clone()).start().unwrap();
        let spec = Armed::child_spec(Some(Bomb("unused"))).name(name.clone());
        let message = process::attempt(|| spec.start_link().unwrap_err().to_string())
            .rescue(|report| report.message().to_owned());
        assert_eq!(message, "unused", "the panic location is that of the drop");
        assert_eq!(name.whereis(), holder.whereis());
        assert_eq!(name.call(|from| from), Ok(()));
        let me = process::info(inbox.pid()).unwrap();
        assert_eq!((me.links, me.waiting_on), (vec![], None));
        holder.stop().unwrap();
    });
}

#[test]
fn unread_messages_whose_destructors_panic_are_contained() {
    attached(|_: &mut Inbox<()>| {
        let server = start_server();
        let watch = server.watch();
        let gate = block_server(&server, || Next::stop("closing"));
        let bombs: Vec<Bomb> = (0..3).map(|_| Bomb("unread")).collect();
        for bomb in bombs {
            server.cast_with(move |_, _| {
                let _bomb = bomb;
                Next::wait()
            });
        }
        let calls = server.clone();
        let caller = spawn_body(move |_| calls.get());
        wait_for_queue(&server, 4);
        gate.open();
        assert_eq!(watch.wait(), "closing".into());
        let due = CallError::Exited { server: server.to_string().into(), reason: "closing".into() };
        assert_eq!(caller.join().unwrap(), Err(due));
    });
}

#[test]
fn a_message_whose_destructor_panics_in_the_handler_ends_the_server() {
    attached(|_: &mut Inbox<()>| {
        let server = Armed::start(None).unwrap();
        let watch = server.watch();
        server.cast(Some(Bomb("handled")));
        assert_eq!(panic_message(&watch.wait()), "handled");
    });
}

#[test]
fn a_handler_that_never_returns() {
    attached(|_: &mut Inbox<()>| {
        let (journal, other, gate, name) = (Journal::new(), Journal::new(), Gate::new(), name("stuck"));
        let ear = Plan::new(&other).start();
        let spec = Plan::new(&journal)
            .spec()
            .name(name.clone())
            .process(process::Builder::new().kill_grace(SHORT))
            .label("the stuck one");
        let server = spec.start().unwrap();
        let (pid, watch, pass, tells) = (server.pid(), server.watch(), gate.clone(), ear.clone());
        let limit = Duration::from_millis(50);
        let entered = Gate::new();
        let enter = entered.clone();
        let stuck = server.call_with_timeout(limit, move |_, from, _| {
            enter.open();
            pass.pass();
            tells.note("from beyond the grave");
            from.reply(1)
        });
        let timeout = CallError::Timeout { server: server.to_string().into(), after: limit };
        assert_eq!(stuck, Err(timeout));
        entered.pass();
        assert_eq!(
            server.stop_timeout(ExitReason::Normal, limit),
            Err(StopError::Timeout { server: server.to_string().into(), after: limit })
        );
        assert!(process::is_alive(pid));

        let began = Instant::now();
        process::exit(pid, ExitReason::Kill);
        assert!(!process::is_alive(pid));
        assert_eq!(watch.wait(), ExitReason::Killed);
        let took = began.elapsed();
        assert!(took >= SHORT && took < Duration::from_secs(4), "{took:?}");
        let zombie = process::zombies().into_iter().find(|zombie| zombie.pid == pid).unwrap();
        assert_eq!(zombie.name.as_deref(), Some(&*name.to_string()));
        assert_eq!(zombie.label.as_deref(), Some("the stuck one"));
        assert_eq!(zombie.reason, ExitReason::Killed);
        assert_eq!(zombie.parent, process::current());
        assert_eq!(zombie.spawned_at.file(), file!());
        assert_eq!(process::info(pid).unwrap().state, ProcessState::Zombie(ExitReason::Killed));
        assert!(process::processes().iter().all(|info| info.pid != pid));

        // Its name is free, and calls to it fail as to any exited process.
        assert_eq!(name.whereis(), None);
        assert!(matches!(server.get(), Err(CallError::NoProc { .. })));
        assert_eq!(server.stop(), Err(StopError::NoProc { server: server.to_string().into() }));
        let second = Plan::new(&Journal::new()).start_as(&name);
        assert_eq!(name.get(), Ok(0));

        gate.open();
        eventually("its thread ends", || process::zombies().iter().all(|zombie| zombie.pid != pid));
        assert_eq!(process::info(pid).map(|info| info.state), None);
        assert_eq!(journal.all(), ["dropped"], "without terminate");
        assert_eq!(
            (name.whereis(), name.get()),
            (Some(second.pid()), Ok(0)),
            "its exit had no effect on the successor"
        );
        assert_eq!(ear.get(), Ok(0));
        assert_eq!(other.all(), [""; 0], "messages of a zombie are dropped");
        second.stop().unwrap();
    });
}

#[test]
fn stuck_handler_becomes_zombie_after_shutdown_in_time() {
    attached(|_: &mut Inbox<()>| {
        let server = Plan::new(&Journal::new())
            .spec()
            .process(process::Builder::new().exit_timeout(SHORT))
            .start()
            .unwrap();
        let watch = server.watch();
        let gate = block_server(&server, Next::wait);
        process::exit(server.pid(), ExitReason::Shutdown);
        assert_eq!(watch.wait(), ExitReason::Shutdown);
        assert!(process::zombies().iter().any(|zombie| zombie.pid == server.pid()));
        gate.open();
        eventually("its thread ends", || process::zombies().iter().all(|zombie| zombie.pid != server.pid()));
    });
}

#[test]
fn a_terminate_that_never_returns_can_still_be_killed() {
    attached(|_: &mut Inbox<()>| {
        let (journal, gate) = (Journal::new(), Gate::new());
        let pass = gate.clone();
        let plan = Plan::new(&journal).terminate(move |_| pass.pass());
        let server = plan.spec().process(process::Builder::new().kill_grace(SHORT)).start().unwrap();
        let limit = Duration::from_millis(50);
        assert_eq!(
            server.stop_timeout(ExitReason::Normal, limit),
            Err(StopError::Timeout { server: server.to_string().into(), after: limit })
        );
        assert_eq!(journal.wait_for(1), ["terminate normal"]);
        let stops = server.clone();
        let stopper = spawn_body(move |_| stops.stop());
        wait_for_queue(&server, 1);
        process::exit(server.pid(), ExitReason::Kill);
        assert_eq!(
            stopper.join().unwrap(),
            Err(StopError::Exited { server: server.to_string().into(), reason: ExitReason::Killed })
        );
        gate.open();
        eventually("its thread ends", || process::zombies().iter().all(|zombie| zombie.pid != server.pid()));
        assert_eq!(journal.all(), ["terminate normal", "dropped"]);
    });
}

#[test]
fn a_destructor_of_the_state_that_never_returns_is_not_waited_for() {
    attached(|_: &mut Inbox<()>| {
        let (gate, name) = (Gate::new(), name("drops"));
        let pass = gate.clone();
        let plan = Plan::new(&Journal::new()).on_drop(move || pass.pass());
        let server = plan
            .spec()
            .name(name.clone())
            .process(process::Builder::new().exit_timeout(SHORT))
            .start()
            .unwrap();
        assert_eq!(server.stop(), Ok(()), "it stopped with the requested reason");
        assert_eq!(name.whereis(), None);
        let pid = server.pid();
        let zombie = process::zombies().into_iter().find(|zombie| zombie.pid == pid).unwrap();
        assert_eq!(zombie.reason, ExitReason::Normal);
        gate.open();
        eventually("its thread ends", || process::zombies().iter().all(|zombie| zombie.pid != pid));
    });
}

#[test]
fn a_server_killed_in_a_runtime_call_of_its_handler_unwinds_it() {
    attached(|_: &mut Inbox<()>| {
        for _ in 0..20 {
            let (journal, server) = (Journal::new(), start_server());
            let (log, watch) = (journal.clone(), server.watch());
            let (tx, rx) = channel();
            server.cast_with(move |_, _| {
                let _cleanup = NotesItsDrop(log);
                tx.send(()).unwrap();
                process::sleep(Duration::MAX);
                unreachable!("it was killed in its sleep")
            });
            rx.recv().unwrap();
            process::exit(server.pid(), ExitReason::Kill);
            assert_eq!(watch.wait(), ExitReason::Killed);
            assert_eq!(journal.all(), ["cleaned up"], "before any watcher was notified");
        }
    });
}

struct NotesItsDrop(Journal);

impl Drop for NotesItsDrop {
    fn drop(&mut self) {
        self.0.note("cleaned up");
    }
}
