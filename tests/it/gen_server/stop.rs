//! Stopping servers: when `terminate` runs and with which reason, the result of `stop`, and the log
//! messages.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::support::scripted_server::{
    Plan, ScriptedCalls, ScriptedServer, block_server, spawn_body, start_server, wait_for_queue,
};
use crate::support::{
    Gate, Journal, attached, capture, down, exit_event, exit_reason_of, logs, unique, watchdog,
};
use rethread::MonitorRef;
use rethread::gen_server::CallError;
use rethread::gen_server::StopError;
use rethread::prelude::*;
use rethread::process::{self, Inbox};

const SHORT: Duration = Duration::from_millis(30);

/// Starts a server and monitors it.
#[track_caller]
fn monitored(plan: Plan) -> (ServerRef<ScriptedServer>, MonitorRef) {
    plan.spec().start_monitor().expect("it starts")
}

/// Starts a process that starts the plan with a link, sends the server to the test, and exits as requested.
#[track_caller]
fn child_of_another(
    plan: Plan,
    end: impl FnOnce(&ServerRef<ScriptedServer>) + Send + 'static,
) -> (ServerRef<ScriptedServer>, process::Watch, Gate) {
    let (tx, rx) = channel();
    let gate = Gate::new();
    let pass = gate.clone();
    drop(elsewhere_detached(move |_| {
        let server = plan.start_link();
        tx.send(server.clone()).expect("the test receives");
        pass.pass();
        end(&server);
    }));
    let server = rx.recv().expect("it started");
    let watch = server.watch();
    (server, watch, gate)
}

/// Like `spawn_body`, but for a process that may exit in any way.
fn elsewhere_detached(body: impl FnOnce(&mut Inbox<()>) + Send + 'static) -> process::Address<()> {
    process::spawn_receiver(body).expect("a free thread")
}

// scenario: GT-01
#[test]
fn a_stop_runs_terminate() {
    attached(|inbox: &mut Inbox<()>| {
        let journal = Journal::new();
        let (server, monitor) = monitored(Plan::new(&journal));
        server.cast_with(|_, _| Next::stop(ExitReason::Normal));
        assert_eq!(down(inbox), (monitor, ExitReason::Normal));
        assert_eq!(journal.all(), ["terminate normal", "dropped"]);
    });
}

// scenario: GT-01
#[test]
fn each_callback_can_stop() {
    attached(|inbox: &mut Inbox<()>| {
        let stop = || Next::stop("enough");
        let watched = |plan: Plan| monitored(plan).0;
        let by_call = || {
            let server = watched(Plan::new(&Journal::new()));
            drop(server.call_with(move |_, _, _| stop()));
        };
        let by_cast = || watched(Plan::new(&Journal::new())).cast_with(move |_, _| stop());
        let by_info = || {
            let plan = Plan::new(&Journal::new()).trapping().info(move |_, _| stop());
            process::exit(watched(plan).pid(), "hello");
        };
        let by_continue = || {
            let plan = Plan::new(&Journal::new()).on_continue(move |_| stop());
            watched(plan).cast_with(|_, _| Next::wait().and_continue());
        };
        let by_init = || {
            drop(watched(Plan::new(&Journal::new()).init(move |cx| {
                cx.after_init(stop());
                Ok(())
            })));
        };
        for by in [&by_call as &dyn Fn(), &by_cast, &by_info, &by_continue, &by_init] {
            by();
            assert_eq!(down(inbox).1, "enough".into());
        }
    });
}

// scenario: GT-02
#[test]
fn a_panic_runs_terminate_with_the_panic() {
    attached(|inbox: &mut Inbox<()>| {
        let journal = Journal::new();
        let (tx, rx) = channel();
        let plan = Plan::new(&journal).terminate(move |reason| tx.send(reason.clone()).unwrap());
        let (server, monitor) = monitored(plan);
        server.cast_with(|_, _| panic!("boom"));
        let reason = rx.recv().unwrap();
        let ExitReason::Panic(report) = &reason else { panic!("a panic was due, not {reason}") };
        assert_eq!(report.message(), "boom");
        assert_eq!(report.location().unwrap().file, file!());
        assert_eq!(down(inbox), (monitor, reason));
        assert_eq!(journal.all().len(), 2);
    });
}

// scenario: GT-02
#[test]
fn exit_and_throw_run_terminate_with_their_reason() {
    attached(|inbox: &mut Inbox<()>| {
        let journal = Journal::new();
        let (server, _) = monitored(Plan::new(&journal));
        server.cast_with(|_, _| process::exit_with("out"));
        assert_eq!(down(inbox).1, "out".into());
        assert_eq!(journal.all(), ["terminate out", "dropped"]);
        journal.clear();
        let (server, _) = monitored(Plan::new(&journal));
        server.cast_with(|_, _| process::throw("ball"));
        assert_eq!(down(inbox).1.to_string(), "nocatch(ball)");
        assert_eq!(journal.all(), ["terminate nocatch(ball)", "dropped"]);
    });
}

// scenario: GT-04
#[test]
fn a_trapping_server_ends_with_its_parent_even_if_that_ends_normally() {
    let _watchdog = watchdog();
    for _ in 0..20 {
        let journal = Journal::new();
        let (_, watch, gate) = child_of_another(Plan::new(&journal).trapping(), |_| ());
        gate.open();
        assert_eq!(watch.wait(), ExitReason::Normal);
        assert_eq!(journal.all(), ["terminate normal", "dropped"]);
    }
}

// scenario: GT-06
#[test]
fn a_trapping_server_ends_with_its_parents_reason() {
    let _watchdog = watchdog();
    for _ in 0..20 {
        let journal = Journal::new();
        let (_, watch, gate) =
            child_of_another(Plan::new(&journal).trapping(), |_| process::exit_with("oops"));
        gate.open();
        assert_eq!(watch.wait(), "oops".into());
        assert_eq!(journal.all(), ["terminate oops", "dropped"]);
    }
}

// scenario: GT-07
#[test]
fn server_that_does_not_trap_exits_without_terminate() {
    let _watchdog = watchdog();
    for reason in [ExitReason::Shutdown, "oops".into()] {
        let (journal, exits) = (Journal::new(), reason.clone());
        let (_, watch, gate) = child_of_another(Plan::new(&journal), |_| process::exit_with(exits));
        gate.open();
        assert_eq!(watch.wait(), reason);
        assert_eq!(journal.all(), ["dropped"], "destructors run in any case");
    }
}

// scenario: GT-07
#[test]
fn server_that_does_not_trap_survives_a_normal_exit_of_its_parent() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let (server, _, gate) = child_of_another(Plan::new(&journal), |_| ());
    let parent = process::info(server.pid()).unwrap().links[0];
    let parent = process::watch(parent);
    gate.open();
    parent.wait();
    assert_eq!(server.get(), Ok(0));
    assert_eq!(process::info(server.pid()).unwrap().links, []);
    server.stop().unwrap();
}

// scenario: GT-08
#[test]
fn a_starter_without_a_link_is_no_parent() {
    let _watchdog = watchdog();
    for reason in [ExitReason::Normal, "oops".into()] {
        let (journal, exits) = (Journal::new(), reason.clone());
        let plan = Plan::new(&journal).trapping();
        let (tx, rx) = channel();
        let starter = spawn_body(move |_| {
            tx.send(plan.start()).unwrap();
            process::exit_with(exits)
        });
        let server = rx.recv().unwrap();
        let _: Result<(), _> = starter.join();
        assert_eq!(server.get(), Ok(0));
        assert_eq!(journal.all(), [""; 0]);
        server.stop().unwrap();
    }
}

// scenario: GT-08
#[test]
fn exit_of_another_process_is_an_info() {
    attached(|_: &mut Inbox<()>| {
        let journal = Journal::new();
        let server = Plan::new(&journal).trapping().start_link();
        let pid = server.pid();
        let unrelated = spawn_body(move |_| {
            process::link(pid).unwrap();
            process::exit_with("stranger")
        });
        let _: Result<(), _> = unrelated.join();
        assert_eq!(server.get(), Ok(0));
        assert_eq!(journal.all(), ["exit stranger"]);
        server.stop().unwrap();
    });
}

// scenario: GT-10
#[test]
fn exit_signal_of_parent_stops_a_trapping_server() {
    attached(|inbox: &mut Inbox<()>| {
        let journal = Journal::new();
        let server = Plan::new(&journal).trapping().start_link();
        let monitor = server.monitor();
        process::unlink(server.pid()); // by its pid it still is the parent
        process::exit(server.pid(), ExitReason::Shutdown);
        assert_eq!(down(inbox), (monitor, ExitReason::Shutdown));
        assert_eq!(journal.all(), ["terminate shutdown", "dropped"]);
    });
}

// scenario: GT-10
#[test]
fn messages_in_the_mailbox_are_handled_before_the_exit_of_the_parent() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let journal = Journal::new();
        let server = Plan::new(&journal).trapping().start_link();
        let gate = block_server(&server, Next::wait);
        server.note("before");
        process::exit(server.pid(), ExitReason::Shutdown);
        server.note("after");
        gate.open();
        assert_eq!(exit_event(inbox), (server.pid(), ExitReason::Shutdown));
        assert_eq!(journal.all(), ["before", "terminate shutdown", "dropped"]);
    });
}

// scenario: GT-12
#[test]
fn if_terminate_fails_that_is_the_reason() {
    attached(|inbox: &mut Inbox<()>| {
        let (server, monitor) = monitored(Plan::new(&Journal::new()).terminate(|_| process::exit_with("tc")));
        server.cast_with(|_, _| Next::stop(ExitReason::Normal));
        assert_eq!(down(inbox), (monitor, "tc".into()));

        let (server, _) = monitored(Plan::new(&Journal::new()).terminate(|_| panic!("tp")));
        server.cast_with(|_, _| panic!("first"));
        let (_, reason) = down(inbox);
        assert!(matches!(&reason, ExitReason::Panic(report) if report.message() == "tp"), "{reason}");

        let (server, _) = monitored(Plan::new(&Journal::new()).terminate(|_| process::throw("tt")));
        server.cast_with(|_, _| Next::stop(ExitReason::Shutdown));
        assert_eq!(down(inbox).1.to_string(), "nocatch(tt)");

        let (server, _) = monitored(Plan::new(&Journal::new()).terminate(|_| process::exit_with("tc")));
        assert_eq!(
            server.stop(),
            Err(StopError::Exited { server: server.to_string().into(), reason: "tc".into() })
        );
        assert_eq!(down(inbox).1, "tc".into());
    });
}

// scenario: GT-13
#[test]
fn stop_twice() {
    attached(|inbox: &mut Inbox<()>| {
        let name = ServerRef::<ScriptedServer>::from_name(unique("gt13"));
        let server = Plan::new(&Journal::new()).start_as(&name);
        let pid = server.pid();
        assert_eq!(name.stop(), Ok(()));
        assert!(!process::is_alive(pid));
        assert_eq!((name.whereis(), process::whereis(&name.to_string())), (None, None));
        assert_eq!(server.stop(), Err(StopError::NoProc { server: server.to_string().into() }));
        assert_eq!(name.stop(), Err(StopError::NoProc { server: name.to_string().into() }));
        assert!(inbox.is_empty());
    });
}

// scenario: GT-14
#[test]
fn stop_with_another_reason() {
    attached(|inbox: &mut Inbox<()>| {
        let journal = Journal::new();
        let (server, monitor) = monitored(Plan::new(&journal));
        assert_eq!(server.stop_timeout("other_reason", Duration::from_secs(20)), Ok(()));
        assert_eq!(down(inbox), (monitor, "other_reason".into()));
        assert_eq!(journal.all(), ["terminate other_reason", "dropped"]);
    });
}

// scenario: GT-14
#[test]
fn linked_caller_of_stop_receives_the_exit_signal() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let server = Plan::new(&Journal::new()).start_link();
        server.stop_timeout("other_reason", Duration::MAX).unwrap();
        assert_eq!(exit_event(inbox), (server.pid(), "other_reason".into()));
        let server = Plan::new(&Journal::new()).start_link();
        server.stop().unwrap();
        assert_eq!(exit_event(inbox), (server.pid(), ExitReason::Normal));
    });
    let reason = exit_reason_of(|_: &mut Inbox<()>| {
        let server = Plan::new(&Journal::new()).start_link();
        let _ = server.stop_timeout("other_reason", Duration::MAX);
        process::checkpoint();
        unreachable!("the link took it along");
    });
    assert_eq!(reason, "other_reason".into());
}

// scenario: GT-15
#[test]
fn stop_that_times_out_kills_no_process() {
    attached(|inbox: &mut Inbox<()>| {
        let journal = Journal::new();
        let (server, monitor) = monitored(Plan::new(&journal));
        let gate = block_server(&server, Next::wait);
        assert_eq!(
            server.stop_timeout(ExitReason::Normal, SHORT),
            Err(StopError::Timeout { server: server.to_string().into(), after: SHORT })
        );
        assert!(process::is_alive(server.pid()));
        assert!(inbox.is_empty());
        assert_eq!(
            server.stop_timeout(ExitReason::Normal, Duration::ZERO),
            Err(StopError::Timeout { server: server.to_string().into(), after: Duration::ZERO })
        );
        gate.open();
        assert_eq!(down(inbox), (monitor, ExitReason::Normal));
        assert_eq!(journal.all(), ["terminate normal", "dropped"]);
    });
    let server = start_server();
    let gate = block_server(&server, Next::wait);
    let stops = server.clone();
    let reason = exit_reason_of(|_: &mut Inbox<()>| {
        stops.stop_timeout(ExitReason::Normal, SHORT).or_exit();
    });
    gate.open();
    assert_eq!(reason, ExitReason::Timeout);
}

// scenario: GT-17
#[test]
fn a_server_cannot_wait_for_its_own_end() {
    attached(|_: &mut Inbox<()>| {
        let name = ServerRef::from_name(unique("gt17"));
        let server = Plan::new(&Journal::new()).start_as(&name);
        for itself in [server.clone(), name] {
            let (tx, rx) = channel();
            let server_text = itself.to_string();
            server.cast_with(move |_, _| {
                tx.send(itself.stop()).unwrap();
                Next::wait()
            });
            assert_eq!(rx.recv().unwrap(), Err(StopError::CallingSelf { server: server_text.into() }));
        }
        let (tx, rx) = channel();
        server.cast_with(move |_, cx| {
            tx.send(cx.server_ref().stop()).unwrap();
            Next::wait()
        });
        assert_eq!(rx.recv().unwrap(), Err(StopError::CallingSelf { server: server.to_string().into() }));
        assert_eq!(server.get(), Ok(0), "it keeps running");
        server.stop().unwrap();
    });
}

// scenario: GT-18
#[test]
fn killed_while_it_is_being_stopped() {
    attached(|_: &mut Inbox<()>| {
        for _ in 0..20 {
            let (server, busy) = (start_server(), Gate::new());
            let begun = busy.clone();
            server.cast_with(move |_, _| {
                begun.open();
                process::sleep(Duration::MAX);
                Next::wait()
            });
            let stops = server.clone();
            let stopper = spawn_body(move |_| stops.stop());
            busy.pass();
            wait_for_queue(&server, 1);
            process::exit(server.pid(), ExitReason::Kill);
            assert_eq!(
                stopper.join().unwrap(),
                Err(StopError::Exited { server: server.to_string().into(), reason: ExitReason::Killed })
            );
        }
    });
}

// scenario: GT-20
#[test]
fn a_crash_is_reported_by_the_server_and_by_the_process() {
    capture();
    attached(|_: &mut Inbox<()>| {
        let server = Plan::new(&Journal::new()).spec().label("the crashing one").start().unwrap();
        let (pid, watch) = (server.pid(), server.watch());
        let error = server.call_with(|_, _, _| panic!("boom in the log")).unwrap_err();
        assert!(matches!(error, CallError::Exited { .. }));
        watch.wait();
        let about: Vec<String> = errors_about(pid);
        assert_eq!(about.len(), 2, "{about:#?}");
        assert!(about[0].starts_with(&format!("ERROR server {pid} ")), "{}", about[0]);
        assert!(about[1].starts_with(&format!("ERROR process {pid} crashed")), "{}", about[1]);
        assert!(about[0].contains("handling a call"), "{}", about[0]);
        for report in &about {
            assert!(report.contains("boom in the log"), "{report}");
            assert!(report.contains(file!()), "{report}");
        }
        assert!(about[1].contains("the crashing one"), "{}", about[1]);
    });
}

/// Returns the log messages about a process, at level error.
fn errors_about(pid: Pid) -> Vec<String> {
    let name = pid.to_string();
    logs().into_iter().filter(|line| line.starts_with("ERROR") && line.contains(&name)).collect()
}

// scenario: GT-20
#[test]
fn expected_exits_are_not_reported() {
    capture();
    attached(|_: &mut Inbox<()>| {
        let quiet = [ExitReason::Normal, ExitReason::Shutdown, ExitReason::shutdown_with("upgrade")];
        for reason in quiet {
            let server = start_server();
            let pid = server.pid();
            server.stop_timeout(reason, Duration::MAX).unwrap();
            assert_eq!(errors_about(pid), [""; 0]);
        }
        for signal in [ExitReason::Kill, "oops".into()] {
            let server = start_server();
            let (pid, watch) = (server.pid(), server.watch());
            process::exit(pid, signal);
            watch.wait();
            assert_eq!(errors_about(pid), [""; 0]);
        }
        let (tx, rx) = channel();
        let plan = Plan::new(&Journal::new()).init(move |cx| {
            tx.send(cx.pid()).unwrap();
            Err(InitError::Error("no".into()))
        });
        plan.spec().start().unwrap_err();
        assert_eq!(errors_about(rx.recv().unwrap()), [""; 0]);
    });
}

// scenario: GT-20
#[test]
fn a_failed_init_and_an_abnormal_stop_are_reported() {
    capture();
    attached(|_: &mut Inbox<()>| {
        let (tx, rx) = channel();
        let plan = Plan::new(&Journal::new()).init(move |cx| {
            tx.send(cx.pid()).unwrap();
            Err(InitError::Stop("no paper".into()))
        });
        plan.spec().start().unwrap_err();
        let about = errors_about(rx.recv().unwrap());
        assert_eq!(about.len(), 1, "{about:#?}");
        assert!(about[0].contains("no paper"), "{}", about[0]);

        let server = start_server();
        let pid = server.pid();
        server.stop_timeout("on fire", Duration::MAX).unwrap();
        let about = errors_about(pid);
        assert_eq!(about.len(), 2, "{about:#?}");
        assert!(about.iter().all(|line| line.contains("on fire")), "{about:#?}");
    });
}

#[test]
fn a_stop_comes_after_what_was_sent_before() {
    attached(|_: &mut Inbox<()>| {
        let journal = Journal::new();
        let server = Plan::new(&journal).start();
        let gate = block_server(&server, Next::wait);
        (0..100).for_each(|n| server.note(format!("cast {n:02}")));
        let stops = server.clone();
        let stopper = spawn_body(move |_| stops.stop());
        wait_for_queue(&server, 101);
        server.note("too late");
        gate.open();
        assert_eq!(stopper.join().unwrap(), Ok(()));
        let notes = journal.all();
        assert_eq!(notes.len(), 102);
        assert_eq!(notes[99..], ["cast 99", "terminate normal", "dropped"]);
    });
}

#[test]
fn all_callers_of_stop_get_the_exit_reason() {
    attached(|_: &mut Inbox<()>| {
        let server = start_server();
        let gate = block_server(&server, Next::wait);
        let stoppers: Vec<_> = ["first", "second", "first"]
            .into_iter()
            .enumerate()
            .map(|(n, reason)| {
                let stops = server.clone();
                let stopper = spawn_body(move |_| stops.stop_timeout(reason, Duration::MAX));
                wait_for_queue(&server, n + 1);
                stopper
            })
            .collect();
        gate.open();
        let results: Vec<_> = stoppers.into_iter().map(|stopper| stopper.join().unwrap()).collect();
        let other = StopError::Exited { server: server.to_string().into(), reason: "first".into() };
        assert_eq!(results, [Ok(()), Err(other), Ok(())]);
    });
}

#[test]
fn a_foreign_thread_can_stop_servers() {
    let _watchdog = watchdog();
    assert_eq!(process::current(), None);
    let server = start_server();
    assert_eq!(server.stop(), Ok(()));
    assert_eq!(server.stop(), Err(StopError::NoProc { server: server.to_string().into() }));
    let server = start_server();
    let this = server.clone();
    server.cast_with(move |_, _| {
        wait_for_queue(&this, 1); // the stop
        process::exit_with("by itself")
    });
    assert_eq!(
        server.stop(),
        Err(StopError::Exited { server: server.to_string().into(), reason: "by itself".into() })
    );
}

#[test]
fn caller_killed_in_stop_exits_at_once() {
    attached(|_: &mut Inbox<()>| {
        let server = start_server();
        let gate = block_server(&server, Next::wait);
        let (stops, watch) = (server.clone(), server.watch());
        let stopper = spawn_body(move |_| stops.stop());
        wait_for_queue(&server, 1);
        let began = Instant::now();
        process::exit(stopper.pid, ExitReason::Kill);
        assert_eq!(stopper.join().unwrap_err(), ExitReason::Killed);
        assert!(began.elapsed() < Duration::from_secs(4));
        gate.open();
        assert_eq!(watch.wait(), ExitReason::Normal, "the request takes effect despite the timeout");
    });
}

/// Stops a server in its destructor.
struct StopsInDrop(ServerRef<ScriptedServer>, std::sync::mpsc::Sender<Result<(), StopError>>);

impl Drop for StopsInDrop {
    fn drop(&mut self) {
        let _ = self.1.send(self.0.stop());
    }
}

#[test]
fn stop_in_destructor_of_exiting_process_is_refused() {
    attached(|_: &mut Inbox<()>| {
        let server = start_server();
        let (tx, rx) = channel();
        let stops = StopsInDrop(server.clone(), tx);
        let exiting = elsewhere_detached(move |inbox| {
            let _stops = stops;
            inbox.recv();
        });
        process::exit(&exiting, "oops");
        assert_eq!(rx.recv().unwrap(), Err(StopError::Exiting));
        assert_eq!(server.get(), Ok(0));
    });
}

#[test]
fn destructors_run_before_the_exit_is_delivered() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let ends: [fn(&ServerRef<ScriptedServer>); 4] = [
            |server| server.cast_with(|_, _| Next::stop("one")),
            |server| server.cast_with(|_, _| panic!("two")),
            |server| process::exit(server.pid(), ExitReason::Kill),
            |server| process::exit(server.pid(), "four"),
        ];
        for end in ends {
            for _ in 0..10 {
                let journal = Journal::new();
                let log = journal.clone();
                let plan = Plan::new(&Journal::new()).on_drop(move || log.note("dropped"));
                let server = plan.start_link();
                end(&server);
                assert_eq!(exit_event(inbox).0, server.pid());
                assert_eq!(journal.all(), ["dropped"]);
            }
        }
    });
}
