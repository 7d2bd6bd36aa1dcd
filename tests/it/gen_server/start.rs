//! Starting servers: the result of each way of starting for each outcome of `init`, and the resources left
//! behind.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::support::scripted_server::{
    self, Plan, ScriptedCalls, ScriptedServer, SpawnedBody, Tell, spawn_body, start_server,
};
use crate::support::{Gate, Journal, attached, down, eventually, exit_reason_of, unique, watchdog};
use parking_lot::Mutex;
use rethread::StartError;
use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::process::{self, Inbox, NameError, ProcessState, Via};

/// Returns a unique name.
fn name(stem: &str) -> ServerRef<ScriptedServer> {
    ServerRef::from_name(unique(stem))
}

/// Checks that a failed start leaves nothing behind in its starter.
#[track_caller]
fn assert_no_trace(inbox: &mut Inbox<()>) {
    let me = process::info(inbox.pid()).expect("the test process is running");
    assert_eq!((me.links, me.monitors), (vec![], vec![]));
    assert_eq!(inbox.try_recv(), None);
}

// scenario: GS-01
#[test]
fn start_call_stop_then_noproc() {
    attached(|_: &mut Inbox<()>| {
        let name = name("gs01");
        let server = start_server();
        let named = Plan::new(&Journal::new()).start_as(&name);
        for server in [&server, &named] {
            assert_eq!(server.get(), Ok(0));
            assert_eq!(server.stop(), Ok(()));
            assert_eq!(server.get(), Err(CallError::NoProc { server: server.to_string().into() }));
        }
        assert_eq!(name.get(), Err(CallError::NoProc { server: name.to_string().into() }));
        assert_eq!(name.whereis(), None);
    });
}

// scenario: GS-04
#[test]
fn init_may_return_ignore() {
    attached(|inbox: &mut Inbox<()>| {
        let ignoring = || Plan::new(&Journal::new()).init(|_| Err(InitError::Ignore)).spec();
        for trapping in [false, true] {
            process::trap_exit(trapping);
            assert_eq!(ignoring().start().unwrap_err(), StartError::Ignored);
            assert_eq!(ignoring().start_link().unwrap_err(), StartError::Ignored);
            assert_eq!(ignoring().start_monitor().unwrap_err(), StartError::Ignored);
            assert_no_trace(inbox);
        }
    });
}

// scenario: GS-05
#[test]
fn init_may_stop_with_a_reason() {
    attached(|inbox: &mut Inbox<()>| {
        let (tx, rx) = channel();
        let stopping = Plan::new(&Journal::new()).init(move |cx| {
            tx.send(process::watch(cx.pid())).unwrap();
            Err(InitError::Stop("stopped".into()))
        });
        assert_eq!(stopping.spec().start().unwrap_err(), StartError::Failed("stopped".into()));
        assert_eq!(rx.recv().unwrap().wait(), "stopped".into(), "the process ends with the reason");
        assert_no_trace(inbox);
    });
}

// scenario: GS-05
#[test]
fn a_quiet_refusal_ends_the_process_normally() {
    attached(|inbox: &mut Inbox<()>| {
        for trapping in [false, true] {
            process::trap_exit(trapping);
            let (tx, rx) = channel();
            let quiet = Plan::new(&Journal::new()).init(move |cx| {
                tx.send(process::watch(cx.pid())).unwrap();
                Err(InitError::Error("no paper".into()))
            });
            assert_eq!(quiet.spec().start_link().unwrap_err(), StartError::Failed("no paper".into()));
            assert_eq!(rx.recv().unwrap().wait(), ExitReason::Normal);
            assert_no_trace(inbox);
        }
    });
}

// scenario: GS-06
#[test]
fn failed_init_ends_parent_that_does_not_trap() {
    for _ in 0..20 {
        let reason = exit_reason_of(|_: &mut Inbox<()>| {
            let _ =
                Plan::new(&Journal::new()).init(|_| Err(InitError::Stop("why".into()))).spec().start_link();
            process::checkpoint();
            unreachable!("it has been asked to exit");
        });
        assert_eq!(reason, "why".into());
    }
}

// scenario: GS-06
#[test]
fn parent_exits_with_the_panic_of_init() {
    let reason = exit_reason_of(|_: &mut Inbox<()>| {
        let _ = Plan::new(&Journal::new()).init(|_| panic!("boom in init")).spec().start_link();
        process::checkpoint();
        unreachable!("it has been asked to exit");
    });
    let ExitReason::Panic(report) = reason else { panic!("a panic was due, not {reason}") };
    assert_eq!(report.message(), "boom in init");
    assert_eq!(report.location().unwrap().file, file!());
}

// scenario: GS-07
#[test]
fn a_parent_survives_an_init_that_stops_normally() {
    attached(|inbox: &mut Inbox<()>| {
        let stopping = Plan::new(&Journal::new()).init(|_| Err(InitError::Stop(ExitReason::Normal)));
        assert_eq!(stopping.spec().start_link().unwrap_err(), StartError::Failed(ExitReason::Normal));
        process::checkpoint();
        assert_no_trace(inbox);
    });
}

// scenario: GS-11
#[test]
fn killed_in_init() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        for _ in 0..10 {
            let (tx, rx) = channel();
            let killer = spawn_body(move |_| process::exit(rx.recv().expect("a pid"), ExitReason::Kill));
            let slow = Plan::new(&Journal::new()).init(move |cx| {
                tx.send(cx.pid()).unwrap();
                process::sleep(Duration::MAX);
                Ok(())
            });
            assert_eq!(slow.spec().start_link().unwrap_err(), StartError::Failed(ExitReason::Killed));
            assert_no_trace(inbox);
            killer.join().unwrap();
        }
    });
}

// scenario: GS-11
#[test]
fn killed_in_an_init_that_does_not_listen() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let (gate, name) = (Gate::new(), name("gs11"));
        let (tx, rx) = channel();
        let pass = gate.clone();
        let stuck = Plan::new(&Journal::new()).init(move |cx| {
            tx.send(cx.pid()).unwrap();
            pass.pass();
            Ok(())
        });
        let killer = spawn_body(move |_| {
            let pid = rx.recv().expect("a pid");
            process::exit(pid, ExitReason::Kill);
            pid
        });
        let spec = stuck
            .spec()
            .name(name.clone())
            .process(process::Builder::new().kill_grace(Duration::from_millis(20)));
        assert_eq!(spec.start_link().unwrap_err(), StartError::Failed(ExitReason::Killed));
        assert_eq!(name.whereis(), None);
        assert_no_trace(inbox);
        let pid = killer.join().unwrap();
        assert!(process::zombies().iter().any(|zombie| zombie.pid == pid));
        gate.open();
        eventually("the thread ends", || process::zombies().iter().all(|zombie| zombie.pid != pid));
        assert_no_trace(inbox);
    });
}

// scenario: GS-12
#[test]
fn a_taken_name() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let (name, journal) = (name("gs12"), Journal::new());
        let holder = Plan::new(&Journal::new()).start_as(&name);
        let second = || {
            let journal = journal.clone();
            let plan = Plan::new(&Journal::new()).init(move |_| {
                journal.note("init ran");
                Ok(())
            });
            plan.spec().name(name.clone())
        };
        let taken = StartError::AlreadyStarted(holder.pid());
        assert_eq!(second().start().unwrap_err(), taken);
        assert_eq!(second().start_link().unwrap_err(), taken);
        assert_eq!(second().start_monitor().unwrap_err(), taken);
        assert_no_trace(inbox);
        assert_eq!(name.whereis(), Some(holder.pid()));
        assert_eq!(name.get(), Ok(0));
        holder.stop().unwrap();
        assert_eq!(journal.all(), [""; 0], "no second process ran");
    });
}

// scenario: GS-12
#[test]
fn of_starts_that_race_one_wins() {
    attached(|_: &mut Inbox<()>| {
        for _ in 0..30 {
            let name = name("race");
            let starters: Vec<SpawnedBody<_>> = (0..4)
                .map(|_| {
                    let name = name.clone();
                    spawn_body(move |_| Plan::new(&Journal::new()).spec().name(name).start())
                })
                .collect();
            let results: Vec<_> = starters.into_iter().map(|starter| starter.join().unwrap()).collect();
            let winner = name.pid();
            assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
            for loser in results.into_iter().filter_map(Result::err) {
                assert_eq!(loser, StartError::AlreadyStarted(winner));
            }
            name.stop().unwrap();
        }
    });
}

// scenario: GS-14
#[test]
fn the_name_is_free_when_a_failed_start_returns() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let name = name("gs14");
        let refusing = |stop: InitError| Plan::new(&Journal::new()).init(move |_| Err(stop)).spec();
        for round in 0..100 {
            let stop = if round % 2 == 0 { InitError::Ignore } else { InitError::Stop("no".into()) };
            let spec = refusing(stop).name(name.clone());
            let failed = match round % 3 {
                0 => spec.start(),
                1 => spec.start_link(),
                _ => spec.start_monitor().map(|(server, _)| server),
            };
            failed.unwrap_err();
            assert_eq!(name.whereis(), None);
            Plan::new(&Journal::new()).start_as(&name).stop().unwrap();
            assert_eq!(name.whereis(), None);
        }
        assert_no_trace(inbox);
    });
}

// scenario: GS-15
#[test]
fn no_failed_start_leaves_anything() {
    type Fate = (&'static str, fn() -> Result<(), InitError>, fn(StartError) -> bool);
    let fates: [Fate; 7] = [
        ("stop", || Err(InitError::Stop("why".into())), |error| error == StartError::Failed("why".into())),
        ("quiet", || Err(InitError::Error("why".into())), |error| error == StartError::Failed("why".into())),
        ("ignore", || Err(InitError::Ignore), |error| error == StartError::Ignored),
        (
            "error",
            || Err("x".parse::<i32>().unwrap_err())?,
            |error| {
                matches!(error, StartError::Failed(reason)
                if reason.downcast_ref::<std::num::ParseIntError>().is_some())
            },
        ),
        (
            "panic",
            || panic!("boom"),
            |error| matches!(error, StartError::Failed(ExitReason::Panic(report)) if report.message() == "boom"),
        ),
        ("exit", || process::exit_with("gone"), |error| error == StartError::Failed("gone".into())),
        (
            "throw",
            || process::throw("ball"),
            |error| matches!(error, StartError::Failed(ExitReason::NoCatch(_))),
        ),
    ];
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        for _ in 0..5 {
            for (what, fate, expected) in fates {
                let spec = || Plan::new(&Journal::new()).init(move |_| fate()).spec();
                for (how, error) in [
                    ("start", spec().start().unwrap_err()),
                    ("start_link", spec().start_link().unwrap_err()),
                    ("start_monitor", spec().start_monitor().unwrap_err()),
                ] {
                    let text = error.to_string();
                    assert!(expected(error), "{how} with {what}: {text}");
                    assert_no_trace(inbox);
                }
            }
        }
    });
}

// scenario: GS-15
#[test]
fn an_init_that_takes_too_long_is_killed() {
    attached(|inbox: &mut Inbox<()>| {
        let name = name("slow");
        for trapping in [false, true] {
            process::trap_exit(trapping);
            for how in 0..3 {
                let (tx, rx) = channel();
                let spec = Plan::new(&Journal::new())
                    .init(move |cx| {
                        tx.send(process::watch(cx.pid())).unwrap();
                        process::sleep(Duration::MAX);
                        Ok(())
                    })
                    .spec()
                    .name(name.clone())
                    .start_timeout(Duration::from_millis(20));
                let failed = match how {
                    0 => spec.start(),
                    1 => spec.start_link(),
                    _ => spec.start_monitor().map(|(server, _)| server),
                };
                assert_eq!(failed.unwrap_err(), StartError::Timeout { after: Duration::from_millis(20) });
                assert_eq!(name.whereis(), None, "the start waits for the exit of the old one");
                if let Ok(begun) = rx.recv() {
                    assert_eq!(begun.wait(), ExitReason::Killed);
                } // otherwise it was killed before it came to its init
                process::checkpoint();
                assert_no_trace(inbox);
            }
        }
    });
}

// scenario: GS-15
#[test]
fn a_start_with_time_to_spare_is_not_disturbed() {
    attached(|_: &mut Inbox<()>| {
        let server =
            Plan::new(&Journal::new()).spec().start_timeout(Duration::from_secs(20)).start_link().unwrap();
        assert_eq!(server.get(), Ok(0));
        server.stop().unwrap();
        let patient = Plan::new(&Journal::new()).spec().start_timeout(Duration::MAX).start().unwrap();
        patient.stop().unwrap();
    });
}

// scenario: GS-16
#[test]
fn start_monitor_then_stop() {
    attached(|inbox: &mut Inbox<()>| {
        let (server, monitor) = Plan::new(&Journal::new()).spec().start_monitor().unwrap();
        assert_eq!(process::info(server.pid()).unwrap().monitored_by, [inbox.pid()]);
        assert_eq!(process::info(server.pid()).unwrap().links, []);
        server.stop_timeout("enough", Duration::MAX).unwrap();
        assert_eq!(down(inbox), (monitor, "enough".into()));
        assert_eq!(inbox.try_recv(), None);
    });
}

// scenario: GS-18
#[test]
fn the_continuation_runs_before_any_message_and_after_the_start() {
    attached(|_: &mut Inbox<()>| {
        for _ in 0..20 {
            let (journal, gate) = (Journal::new(), Gate::new());
            let pass = gate.clone();
            let server = Plan::new(&journal)
                .init(|cx| {
                    cx.cast(Tell::Note("early".into()));
                    cx.after_init(Next::wait().and_continue());
                    Ok(())
                })
                .on_continue(move |_| {
                    pass.pass();
                    Next::wait()
                })
                .start();
            gate.open(); // never reached if the start waited for the continuation
            assert_eq!(server.get(), Ok(0));
            assert_eq!(journal.all(), ["continue", "early"]);
            server.stop().unwrap();
        }
    });
}

// scenario: GS-20
#[test]
fn a_queued_message_beats_a_timeout_of_zero() {
    attached(|_: &mut Inbox<()>| {
        for _ in 0..20 {
            let journal = Journal::new();
            let server = Plan::new(&journal)
                .init(|cx| {
                    cx.cast(Tell::Note("queued".into()));
                    cx.after_init(Next::wait().timeout(Duration::ZERO));
                    Ok(())
                })
                .start();
            assert_eq!(server.get(), Ok(0));
            assert_eq!(journal.all(), ["queued"], "and the timeout is lost");
            server.stop().unwrap();
        }
    });
}

// scenario: GS-20
#[test]
fn a_timeout_after_init_fires_once() {
    attached(|_: &mut Inbox<()>| {
        let journal = Journal::new();
        let server = Plan::new(&journal)
            .init(|cx| {
                cx.after_init(Next::wait().timeout(Duration::ZERO));
                Ok(())
            })
            .start();
        journal.wait_for(1);
        assert_eq!(server.get(), Ok(0));
        assert_eq!(journal.all(), ["timeout"]);
    });
}

/// A name table that refuses every registration.
#[derive(Debug)]
struct Refuses;

impl Via for Refuses {
    fn whereis(&self) -> Option<Pid> {
        None
    }
    fn register(&self, _: Pid) -> Result<(), NameError> {
        Err(NameError::Unsupported("no names here"))
    }
    fn unregister(&self, _: Pid) {}
}

// scenario: GS-21
#[test]
fn invalid_names_are_refused_before_any_process_runs() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let other = start_server();
        let cases = [
            (ServerRef::named(""), NameError::Empty),
            (ServerRef::from_name(String::new()), NameError::Empty),
            (other.clone(), NameError::Unsupported("a pid is not a name")),
            (ServerRef::via(Refuses), NameError::Unsupported("no names here")),
        ];
        for (bad, error) in cases {
            let journal = Journal::new();
            let spec = || {
                let journal = journal.clone();
                let plan = Plan::new(&Journal::new()).init(move |_| {
                    journal.note("init ran");
                    Ok(())
                });
                plan.spec().name(bad.clone())
            };
            assert_eq!(spec().start().unwrap_err(), StartError::Name(error.clone()));
            assert_eq!(spec().start_link().unwrap_err(), StartError::Name(error.clone()));
            assert_eq!(spec().start_monitor().unwrap_err(), StartError::Name(error));
            assert_eq!(journal.all(), [""; 0]);
            assert_no_trace(inbox);
        }
        other.stop().unwrap();
    });
}

// scenario: GS-22
#[test]
fn without_a_name_a_server_is_unnamed() {
    attached(|_: &mut Inbox<()>| {
        let server = start_server();
        let info = process::info(server.pid()).unwrap();
        assert_eq!(info.name, None);
        assert_eq!(info.label.as_deref(), Some("ScriptedServer"), "the label defaults to the type name");
        server.stop().unwrap();
    });
}

#[test]
fn the_name_is_registered_before_init_runs() {
    attached(|_: &mut Inbox<()>| {
        let name = name("early");
        let seen = Arc::new(Mutex::new(None));
        let (look, note) = (name.clone(), Arc::clone(&seen));
        let plan = Plan::new(&Journal::new()).init(move |cx| {
            *note.lock() = Some((look.whereis(), cx.pid()));
            Ok(())
        });
        let server = plan.start_as(&name);
        assert_eq!(*seen.lock(), Some((Some(server.pid()), server.pid())));
        name.stop().unwrap();
    });
}

#[test]
fn init_knows_its_process_and_its_parent() {
    attached(|inbox: &mut Inbox<()>| {
        let known =
            |spec: fn(rethread::gen_server::ServerSpec<ScriptedServer>) -> ServerRef<ScriptedServer>| {
                let (tx, rx) = channel();
                let plan = Plan::new(&Journal::new()).init(move |cx| {
                    assert_eq!(process::current(), Some(cx.pid()));
                    assert_eq!(cx.server_ref().whereis(), Some(cx.pid()));
                    tx.send((cx.parent(), std::thread::current().id())).unwrap();
                    Ok(())
                });
                let server = spec(plan.spec());
                let (parent, thread) = rx.recv().unwrap();
                assert_ne!(thread, std::thread::current().id());
                let info = process::info(server.pid()).unwrap();
                assert_eq!(info.ancestors.first(), Some(&process::current().unwrap()));
                server.stop().unwrap();
                (parent, info.links)
            };
        let me = inbox.pid();
        assert_eq!(known(|spec| spec.start_link().unwrap()), (Some(me), vec![me]));
        assert_eq!(known(|spec| spec.start().unwrap()), (None, vec![]));
        assert_eq!(known(|spec| spec.start_monitor().unwrap().0), (None, vec![]));
    });
}

#[test]
fn a_foreign_thread_can_start_servers() {
    let _watchdog = watchdog();
    assert_eq!(process::current(), None);
    let server = ScriptedServer::start_link(Plan::new(&Journal::new())).unwrap();
    assert_eq!(server.get(), Ok(0));
    assert_eq!(process::info(server.pid()).unwrap().links, []);
    server.stop().unwrap();
    let failing = Plan::new(&Journal::new()).init(|_| Err(InitError::Stop("why".into())));
    assert_eq!(failing.spec().start_link().unwrap_err(), StartError::Failed("why".into()));
    let error = Plan::new(&Journal::new()).spec().start_monitor().unwrap_err();
    assert!(error.to_string().contains("not a process"), "{error}");
}

#[test]
fn messages_sent_during_init_are_handled_afterwards_in_order() {
    attached(|_: &mut Inbox<()>| {
        let (journal, gate, name) = (Journal::new(), Gate::new(), name("during"));
        let (pass, log) = (gate.clone(), journal.clone());
        let (tx, rx) = channel();
        let plan = Plan::new(&journal).init(move |_| {
            tx.send(()).unwrap();
            pass.pass();
            log.note("init");
            Ok(())
        });
        let spec = plan.spec().name(name.clone());
        let starter = spawn_body(move |_| spec.start());
        rx.recv().unwrap();
        name.note("first");
        name.note("second");
        gate.open();
        assert_eq!(name.get(), Ok(0));
        assert_eq!(journal.all(), ["init", "first", "second"]);
        starter.join().unwrap().unwrap().stop().unwrap();
    });
}

#[test]
fn call_during_failing_init_fails_with_its_reason() {
    attached(|_: &mut Inbox<()>| {
        let (gate, name) = (Gate::new(), name("failing"));
        let pass = gate.clone();
        let (tx, rx) = channel();
        let plan = Plan::new(&Journal::new()).init(move |cx| {
            tx.send(cx.pid()).unwrap();
            pass.pass();
            Err(InitError::Stop("why".into()))
        });
        let spec = plan.spec().name(name.clone());
        let starter = spawn_body(move |_| spec.start());
        let pid = rx.recv().unwrap();
        let calling = name.clone();
        let caller = spawn_body(move |_| calling.get());
        scripted_server::wait_until_calling(caller.pid, pid);
        gate.open();
        assert_eq!(starter.join().unwrap().unwrap_err(), StartError::Failed("why".into()));
        let expected = CallError::Exited { server: name.to_string().into(), reason: "why".into() };
        assert_eq!(caller.join().unwrap(), Err(expected));
    });
}

#[test]
fn killed_starter_ends_the_linked_start() {
    attached(|_: &mut Inbox<()>| {
        let (tx, rx) = channel();
        let starter = spawn_body(move |_| {
            let plan = Plan::new(&Journal::new()).init(move |cx| {
                tx.send(process::watch(cx.pid())).unwrap();
                process::sleep(Duration::MAX);
                Ok(())
            });
            plan.spec().start_link()
        });
        let server = rx.recv().unwrap();
        process::exit(starter.pid, ExitReason::Kill);
        assert_eq!(starter.join().unwrap_err(), ExitReason::Killed);
        assert_eq!(server.wait(), ExitReason::Killed, "a link passes the reason on");
    });
}

#[test]
fn start_under_name_of_exiting_server_waits_for_its_destructors() {
    attached(|_: &mut Inbox<()>| {
        let (journal, gate, name) = (Journal::new(), Gate::new(), name("takeover"));
        let (pass, log) = (gate.clone(), journal.clone());
        let plan = Plan::new(&Journal::new()).on_drop(move || {
            pass.pass();
            log.note("old one gone");
        });
        let old = plan.start_as(&name);
        process::exit(old.pid(), "oops");
        let (new, log) = (name.clone(), journal.clone());
        let starter = spawn_body(move |_| {
            let plan = Plan::new(&Journal::new()).init(move |_| {
                log.note("new one begins");
                Ok(())
            });
            plan.start_as(&new).pid()
        });
        eventually("the new one waits under its name", || {
            let holder = name.whereis().and_then(process::info);
            holder.is_some_and(|info| info.state == ProcessState::Waiting)
        });
        gate.open();
        let new = starter.join().unwrap();
        assert_eq!(journal.all(), ["old one gone", "new one begins"]);
        assert_eq!(name.whereis(), Some(new));
        name.stop().unwrap();
    });
}

#[test]
fn start_timeout_includes_the_wait_for_an_exiting_holder() {
    attached(|_: &mut Inbox<()>| {
        let (gate, name) = (Gate::new(), name("waits"));
        let pass = gate.clone();
        let old = Plan::new(&Journal::new()).on_drop(move || pass.pass()).start_as(&name);
        let watch = old.watch();
        process::exit(old.pid(), "oops");
        let spec = Plan::new(&Journal::new()).spec().name(name.clone());
        let failed = spec.start_timeout(Duration::from_millis(20)).start();
        assert_eq!(failed.unwrap_err(), StartError::Timeout { after: Duration::from_millis(20) });
        gate.open();
        assert_eq!(watch.wait(), "oops".into());
        Plan::new(&Journal::new()).start_as(&name).stop().unwrap();
    });
}

#[test]
fn debug_of_spec_shows_its_type() {
    let spec = ScriptedServer::child_spec(Plan::new(&Journal::new())).name(ServerRef::named("the name"));
    let text = format!("{spec:?}");
    assert!(text.contains("ScriptedServer") && text.contains("the name"), "{text}");
}

/// A compile-time check: state that is not `Send`, no casts, no calls.
struct Bare(#[expect(dead_code, reason = "it only must not be Send")] std::rc::Rc<()>);

impl GenServer for Bare {
    type Args = ();
    type Call = Infallible;
    type Cast = Infallible;

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Bare(std::rc::Rc::new(())))
    }
    fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next {
        match call {}
    }
}

#[test]
fn a_server_without_messages_can_be_started_and_stopped() {
    let _watchdog = watchdog();
    let server = Bare::start(()).unwrap();
    assert!(process::is_alive(server.whereis().unwrap()));
    server.stop().unwrap();
}
