//! Calls to servers: the result in every case, and that nothing of a call is left behind. Casts, infos and
//! timeouts of a handler are here too.

use std::collections::HashMap;
use std::sync::mpsc::channel;

use std::time::{Duration, Instant};

use crate::support::scripted_server::{
    Ask, Plan, ScriptedCalls, ScriptedServer, SpawnedBody, Tell, block_server, spawn_body, start_server,
    wait_for_queue, wait_until_calling,
};
use crate::support::{
    self, Gate, Journal, attached, capture, eventually, exit_reason_of, logs, unique, watchdog,
};
use once_cell::sync::Lazy;
use parking_lot::Mutex;
use rethread::StartError;
use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::process::{self, Event, Inbox, NameError, Via};

/// Returns a unique name.
fn name(stem: &str) -> ServerRef<ScriptedServer> {
    ServerRef::from_name(unique(stem))
}

/// Returns the error of a call whose server exited.
fn exited(server: &ServerRef<ScriptedServer>, reason: impl Into<ExitReason>) -> CallError {
    CallError::Exited { server: server.to_string().into(), reason: reason.into() }
}

fn no_proc(server: &ServerRef<ScriptedServer>) -> CallError {
    CallError::NoProc { server: server.to_string().into() }
}

fn no_reply(server: &ServerRef<ScriptedServer>) -> CallError {
    CallError::NoReply { server: server.to_string().into() }
}

/// Returns the exit reason of a process that unwraps a failing call, and the panic message.
#[track_caller]
fn crash_of(call: impl FnOnce() -> Result<i64, CallError>) -> (ExitReason, String) {
    let reason = exit_reason_of(|_: &mut Inbox<()>| call().or_exit());
    let ExitReason::Call(failure) = reason else { panic!("a failed call was due, not {reason}") };
    (failure.reason.clone(), failure.server.to_string())
}

const SHORT: Duration = Duration::from_millis(20);

// scenario: GC-02
#[test]
fn a_call_that_takes_too_long() {
    attached(|_: &mut Inbox<()>| {
        let server = start_server();
        let limit = Duration::from_millis(1);
        let gate = Gate::new();
        let pass = gate.clone();
        let late = move |_: &mut ScriptedServer, from: Caller<i64>, _: &mut Context<ScriptedServer>| {
            pass.pass();
            from.reply(1)
        };
        let error = CallError::Timeout { server: server.to_string().into(), after: limit };
        assert_eq!(server.call_with_timeout(limit, late), Err(error));
        gate.open();
        assert_eq!(server.get(), Ok(0), "the server keeps running");
    });
    let server = start_server();
    let gate = Gate::new();
    let pass = gate.clone();
    let crash = crash_of(|| {
        server.call_with_timeout(SHORT, move |_, from, _| {
            pass.pass();
            from.reply(1)
        })
    });
    gate.open();
    assert_eq!(crash, (ExitReason::Timeout, server.to_string()));
}

// scenario: GC-03
#[test]
fn a_late_reply_is_dropped() {
    attached(|inbox: &mut Inbox<()>| {
        let server = start_server();
        for round in 1..=10 {
            let gate = Gate::new();
            let pass = gate.clone();
            let late = server.call_with_timeout(SHORT, move |state, from, _| {
                pass.pass();
                state.value = round;
                if round % 2 == 0 {
                    from.reply_now(-1);
                    return Next::wait();
                }
                from.reply(-1)
            });
            assert!(matches!(late, Err(CallError::Timeout { .. })));
            gate.open();
            assert_eq!(server.get(), Ok(round), "it was executed, and the next call gets its own answer");
            assert!(inbox.is_empty());
        }
    });
}

// scenario: GC-04
#[test]
fn a_server_that_calls_itself() {
    attached(|_: &mut Inbox<()>| {
        let (by_name, by_key) = (name("self"), ServerRef::via(Key(unique("self"))));
        let pinned = start_server();
        let named = Plan::new(&Journal::new()).start_as(&by_name);
        let keyed = Plan::new(&Journal::new()).start_as(&by_key);
        for (server, itself) in [(&pinned, &pinned), (&named, &by_name), (&keyed, &by_key)] {
            let (tx, rx) = channel();
            let call = itself.clone();
            assert_eq!(
                server.call_with(move |_, from, _| {
                    tx.send(call.get()).unwrap();
                    from.reply(1)
                }),
                Ok(1)
            );
            let error = CallError::CallingSelf { server: itself.to_string().into() };
            assert_eq!(rx.recv().unwrap(), Err(error));
        }
        let (tx, rx) = channel();
        pinned.cast_with(move |_, cx| {
            tx.send(cx.server_ref().get()).unwrap();
            Next::wait()
        });
        assert!(matches!(rx.recv().unwrap(), Err(CallError::CallingSelf { .. })));
    });
}

// scenario: GC-06
#[test]
fn a_stop_without_a_reply() {
    attached(|_: &mut Inbox<()>| {
        for keep in [false, true] {
            let server = start_server();
            let result = server.call_with(move |state, from, _| {
                if keep {
                    state.kept.push(from);
                }
                Next::stop("why")
            });
            assert_eq!(result, Err(exited(&server, "why")));
        }
    });
    let server = start_server();
    assert_eq!(
        crash_of(|| server.call_with(|_, _, _| Next::stop("why"))),
        ("why".into(), server.to_string())
    );
}

// scenario: GC-07
#[test]
fn a_normal_stop_without_a_reply() {
    attached(|_: &mut Inbox<()>| {
        let server = start_server();
        let result = server.call_with(|_, _, _| Next::stop(ExitReason::Normal));
        assert_eq!(result, Err(exited(&server, ExitReason::Normal)));
    });
    let server = start_server();
    let crash = crash_of(|| server.call_with(|_, _, _| Next::stop(ExitReason::Normal)));
    assert_eq!(crash, (ExitReason::Normal, server.to_string()));
}

// scenario: GC-08
#[test]
fn a_handler_that_panics() {
    attached(|_: &mut Inbox<()>| {
        for keep in [false, true] {
            let server = start_server();
            let line = line!() + 5;
            let result = server.call_with(move |state, from, _| {
                if keep {
                    state.kept.push(from);
                }
                panic!("boom {}", 7)
            });
            let Err(CallError::Exited { reason: ExitReason::Panic(report), .. }) = result else {
                panic!("the panic was due, not {result:?}")
            };
            assert_eq!(report.message(), "boom 7");
            let location = report.location().unwrap();
            assert_eq!((&*location.file, location.line), (file!(), line));
        }
    });
}

// scenario: GC-08
#[test]
fn a_handler_that_exits_or_throws() {
    attached(|_: &mut Inbox<()>| {
        let server = start_server();
        assert_eq!(server.call_with(|_, _, _| process::exit_with("out")), Err(exited(&server, "out")));
        let server = start_server();
        let thrown = server.call_with(|_, _, _| process::throw("ball"));
        let Err(CallError::Exited { reason: ExitReason::NoCatch(_), .. }) = thrown else {
            panic!("an uncaught throw was due, not {thrown:?}")
        };
    });
}

// scenario: GC-10
#[test]
fn a_server_killed_while_it_holds_the_request() {
    attached(|_: &mut Inbox<()>| {
        for _ in 0..20 {
            let server = start_server();
            let (tx, held) = channel();
            let pid = server.pid();
            let killer = spawn_body(move |_| {
                held.recv().expect("the request is held");
                process::exit(pid, ExitReason::Kill);
            });
            let result = server.call_with(move |state, from, _| {
                state.kept.push(from);
                tx.send(()).unwrap();
                Next::wait()
            });
            assert_eq!(result, Err(exited(&server, ExitReason::Killed)));
            killer.join().unwrap();
        }
    });
}

// scenario: GC-10
#[test]
fn the_holder_of_many_requests_is_killed() {
    attached(|_: &mut Inbox<()>| {
        let server = start_server();
        let callers: Vec<SpawnedBody<_>> = (0..8)
            .map(|_| {
                let server = server.clone();
                spawn_body(move |_| {
                    server.call_with_timeout(Duration::MAX, |state, from, _| {
                        state.kept.push(from);
                        Next::wait()
                    })
                })
            })
            .collect();
        eventually("all are held", || {
            server.call_with(|state, from, _| {
                let held = state.kept.len();
                from.reply(held as i64)
            }) == Ok(8)
        });
        process::exit(server.pid(), ExitReason::Kill);
        for caller in callers {
            assert_eq!(caller.join().unwrap(), Err(exited(&server, ExitReason::Killed)));
        }
    });
}

// scenario: GC-12
#[test]
fn a_reply_with_a_stop_is_sent_after_terminate() {
    attached(|_: &mut Inbox<()>| {
        let journal = Journal::new();
        let log = journal.clone();
        let server = Plan::new(&journal)
            .terminate(move |_| {
                process::sleep(Duration::from_millis(100));
                log.note("terminated");
            })
            .start();
        let watch = server.watch();
        let began = Instant::now();
        assert_eq!(server.call_with(|_, from, _| from.reply(5).and_stop("done")), Ok(5));
        assert!(began.elapsed() >= Duration::from_millis(100));
        assert_eq!(journal.all()[..2], ["terminate done", "terminated"]);
        assert_eq!(watch.wait(), "done".into());
    });
}

// scenario: GC-12
#[test]
fn the_reply_is_sent_even_if_terminate_fails() {
    attached(|_: &mut Inbox<()>| {
        let server = Plan::new(&Journal::new()).terminate(|_| panic!("in terminate")).start();
        let watch = server.watch();
        assert_eq!(server.call_with(|_, from, _| from.reply(5).and_stop(ExitReason::Normal)), Ok(5));
        assert!(matches!(watch.wait(), ExitReason::Panic(_)));
    });
}

// scenario: GC-15
#[test]
fn a_cast_never_fails() {
    attached(|inbox: &mut Inbox<()>| {
        let (journal, gone, unregistered) = (Journal::new(), start_server(), name("unregistered"));
        let server = Plan::new(&journal).start();
        gone.stop().unwrap();
        for target in [&server, &gone, &unregistered] {
            target.note("cast");
        }
        assert_eq!(server.get(), Ok(0));
        assert_eq!(journal.all(), ["cast"]);
        assert!(inbox.is_empty());
    });
}

// scenario: GC-15
#[test]
fn casts_arrive_in_the_order_sent_and_before_a_later_call() {
    attached(|_: &mut Inbox<()>| {
        let journal = Journal::new();
        let server = Plan::new(&journal).start();
        let senders: Vec<SpawnedBody<()>> = ["a", "b"]
            .into_iter()
            .map(|label| {
                let server = server.clone();
                spawn_body(move |_| (0..500).for_each(|n| server.note(format!("{label} {n:03}"))))
            })
            .collect();
        for n in 0..500 {
            server.note(format!("c {n:03}"));
        }
        server.get().unwrap();
        let mine = |label: &str| -> Vec<String> {
            journal.all().into_iter().filter(|note| note.starts_with(label)).collect()
        };
        assert_eq!(mine("c").len(), 500, "a call comes after the casts of the same sender");
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        server.get().unwrap();
        for label in ["a", "b", "c"] {
            assert_eq!(mine(label).len(), 500);
            assert!(mine(label).is_sorted());
        }
    });
}

// scenario: GC-16
#[test]
fn what_the_runtime_sends_reaches_handle_info() {
    attached(|_: &mut Inbox<()>| {
        let journal = Journal::new();
        let server = Plan::new(&journal).trapping().start();
        let (watched, linked) = (support::sleeper(), support::sleeper());
        let (watch, link) = (watched.pid(), linked.pid());
        assert_eq!(
            server.call_with(move |_, from, _| {
                let _ = process::monitor(watch);
                process::link(link).unwrap();
                from.reply(1)
            }),
            Ok(1)
        );
        process::exit(&watched, "one");
        journal.wait_for(1);
        process::exit(&linked, "two");
        journal.wait_for(2);
        process::exit(server.pid(), "three");
        journal.wait_for(3);
        assert_eq!(server.get(), Ok(0));
        assert_eq!(journal.all(), ["down one", "exit two", "exit three"]);
    });
}

// scenario: GC-16
#[test]
fn info_contains_all_details() {
    attached(|inbox: &mut Inbox<()>| {
        let (tx, rx) = channel();
        let plan = Plan::new(&Journal::new()).trapping().info(move |info, _| {
            tx.send(info.clone()).unwrap();
            Next::wait()
        });
        let (server, target) = (plan.start(), support::sleeper());
        let (made, monitor) = channel();
        let pid = target.pid();
        server.cast_with(move |_, _| {
            made.send(process::monitor(pid)).unwrap();
            Next::wait()
        });
        let monitor = monitor.recv().unwrap();
        process::exit(&target, "gone");
        let due = Info::Down { monitor, target: process::MonitorTarget::Pid(pid), reason: "gone".into() };
        assert_eq!(rx.recv().unwrap(), due);
        process::exit(server.pid(), "hello");
        assert_eq!(rx.recv().unwrap(), Info::Exit { from: inbox.pid(), reason: "hello".into() });
    });
}

/// A server that leaves `handle_info` to the library.
struct DefaultInfo;

impl GenServer for DefaultInfo {
    type Args = ();
    type Call = Caller<Pid>;
    type Cast = Pid;

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(DefaultInfo)
    }
    fn handle_call(&mut self, from: Caller<Pid>, cx: &mut Context<Self>) -> Next {
        from.reply(cx.pid())
    }
    fn handle_cast(&mut self, watched: Pid, _: &mut Context<Self>) -> Next {
        let _ = process::monitor(watched);
        Next::wait()
    }
}

// scenario: GC-17
#[test]
fn default_handle_info_logs_a_warning_and_continues() {
    capture();
    attached(|_: &mut Inbox<()>| {
        let (server, watched) = (DefaultInfo::start(()).unwrap(), support::sleeper());
        let pid = server.call(|from| from).unwrap();
        server.cast(watched.pid());
        server.call(|from| from).unwrap();
        process::exit(&watched, "gone");
        let prefix = format!("WARN server {pid} ");
        eventually("the warning", || {
            logs().iter().any(|line| line.starts_with(&prefix) && line.contains("gone"))
        });
        assert_eq!(server.call(|from| from), Ok(pid));
        server.stop().unwrap();
    });
}

// scenario: GC-20
#[test]
fn the_caller_has_the_reply_before_the_continuation_is_done() {
    attached(|_: &mut Inbox<()>| {
        let (journal, gate) = (Journal::new(), Gate::new());
        let (pass, log) = (gate.clone(), journal.clone());
        let server = Plan::new(&journal)
            .on_continue(move |_| {
                pass.pass();
                log.note("worked");
                Next::wait()
            })
            .start();
        server.note("before");
        assert_eq!(server.call_with(|_, from, _| from.reply(1).and_continue()), Ok(1));
        server.note("after");
        assert!(!journal.all().contains(&"worked".to_owned()));
        gate.open();
        assert_eq!(server.get(), Ok(0));
        assert_eq!(journal.all(), ["before", "continue", "worked", "after"]);
    });
}

// scenario: GC-20
#[test]
fn a_continuation_can_go_on_continuing() {
    attached(|_: &mut Inbox<()>| {
        let journal = Journal::new();
        let mut left = 3;
        let server = Plan::new(&journal)
            .on_continue(move |_| {
                left -= 1;
                if left > 0 { Next::wait().and_continue() } else { Next::stop("done") }
            })
            .start();
        let watch = server.watch();
        server.cast_with(|_, _| Next::wait().and_continue());
        assert_eq!(watch.wait(), "done".into());
        assert_eq!(journal.all(), ["continue", "continue", "continue", "terminate done", "dropped"]);
    });
}

// scenario: GC-21
#[test]
fn a_timeout_fires_once_and_any_message_cancels_it() {
    attached(|inbox: &mut Inbox<()>| {
        let limit = Duration::from_millis(400);
        let journal = Journal::new();
        let server = Plan::new(&journal).start();
        assert_eq!(server.call_with(move |_, from, _| from.reply(1).timeout(limit)), Ok(1));
        assert_eq!(server.get(), Ok(0));
        assert_eq!(inbox.recv_timeout(limit + limit / 2), None);
        assert_eq!(journal.all(), [""; 0], "the call in between cancelled it");

        let began = Instant::now();
        assert_eq!(server.call_with(move |_, from, _| from.reply(1).timeout(limit)), Ok(1));
        journal.wait_for(1);
        assert!(began.elapsed() >= limit);
        assert_eq!(inbox.recv_timeout(limit + limit / 2), None);
        assert_eq!(journal.all(), ["timeout"], "and only once");
    });
}

// scenario: GC-21
#[test]
fn a_timeout_can_be_renewed_each_time() {
    attached(|_: &mut Inbox<()>| {
        let journal = Journal::new();
        let tick = Duration::from_millis(1);
        let server = Plan::new(&journal).info(move |_, _| Next::wait().timeout(tick)).start();
        server.cast_with(move |_, _| Next::wait().timeout(tick));
        assert!(journal.wait_for(5).iter().all(|note| note == "timeout"));
        server.stop().unwrap();
    });
}

// scenario: GC-21
#[test]
fn a_cast_cancels_a_timeout_too_and_so_does_an_info() {
    attached(|inbox: &mut Inbox<()>| {
        let limit = Duration::from_millis(400);
        let journal = Journal::new();
        let server = Plan::new(&journal).trapping().start();
        server.cast_with(move |_, _| Next::wait().timeout(limit));
        server.note("cast");
        assert_eq!(inbox.recv_timeout(limit + limit / 2), None);
        server.cast_with(move |_, _| Next::wait().timeout(limit));
        process::exit(server.pid(), "hello");
        assert_eq!(inbox.recv_timeout(limit + limit / 2), None);
        assert_eq!(journal.all(), ["cast", "exit hello"]);
    });
}

// scenario: GC-21
#[test]
fn infinite_timeout_never_fires() {
    attached(|_: &mut Inbox<()>| {
        let journal = Journal::new();
        let server = Plan::new(&journal).start();
        assert_eq!(server.call_with(|_, from, _| from.reply(1).timeout(Duration::MAX)), Ok(1));
        assert_eq!(server.get(), Ok(0));
        assert_eq!(journal.all(), [""; 0]);
    });
}

// scenario: GC-22
#[test]
fn a_full_mailbox_of_the_caller_does_not_slow_its_calls() {
    const CALLS: u32 = 100;
    fn time(server: &ServerRef<ScriptedServer>) -> Duration {
        let began = Instant::now();
        for _ in 0..CALLS {
            server.get().expect("an answer");
        }
        began.elapsed()
    }
    attached(|inbox: &mut Inbox<u64>| {
        let junk = fill(inbox, 500_000);
        let server = start_server();
        let (mut empty, mut full) = (Duration::MAX, Duration::MAX);
        for _ in 0..20 {
            let calls = server.clone();
            empty = empty.min(spawn_body(move |_| time(&calls)).join().unwrap());
            full = full.min(time(&server));
        }
        // A call that scanned every message would take milliseconds; one that parks and is woken may take a
        // hundred times as long as one that does not, whatever is in the mailbox.
        let limit = 10 * empty + CALLS * Duration::from_micros(500);
        assert!(full < limit, "{full:?} with a full mailbox, {empty:?} with an empty one");
        assert_eq!((inbox.len(), junk), (500_000, 500_000));
    });
}

/// Fills the mailbox of the calling process.
fn fill(inbox: &mut Inbox<u64>, count: usize) -> usize {
    let name: &'static str = unique("junk");
    process::register(name, inbox.pid()).expect("a free name");
    let address = process::Name::<u64>::new(name);
    for n in 0..count {
        address.send(n as u64).expect("the test process is running");
    }
    count
}

// scenario: GC-24
#[test]
fn three_requests_with_one_deadline_two_of_them_slow() {
    attached(|_: &mut Inbox<()>| {
        let gate = Gate::new();
        let (enter, entered) = channel();
        let servers: Vec<_> = (0..3).map(|_| start_server()).collect();
        let callers: Vec<SpawnedBody<_>> = servers
            .iter()
            .enumerate()
            .map(|(n, server)| {
                let (server, pass, enter) = (server.clone(), gate.clone(), enter.clone());
                spawn_body(move |inbox| {
                    let first = server.call_with_timeout(Duration::from_millis(100), move |_, from, _| {
                        if n > 0 {
                            enter.send(()).unwrap();
                            pass.pass();
                        }
                        from.reply(n as i64)
                    });
                    (first, server.get(), inbox.len())
                })
            })
            .collect();
        let mut callers = callers.into_iter();
        assert_eq!(callers.next().unwrap().join().unwrap(), (Ok(0), Ok(0), 0));
        for _ in &servers[1..] {
            entered.recv().unwrap();
        }
        // The first call has timed out once the second is sent.
        for server in &servers[1..] {
            wait_for_queue(server, 1);
        }
        gate.open();
        for caller in callers {
            let (first, second, mail) = caller.join().unwrap();
            assert!(matches!(first, Err(CallError::Timeout { .. })), "{first:?}");
            assert_eq!((second, mail), (Ok(0), 0), "the late reply was dropped");
        }
    });
}

// scenario: GC-25
#[test]
fn every_call_error_names_the_server() {
    let unregistered = name("unregistered");
    assert_eq!(crash_of(|| unregistered.get()), (ExitReason::NoProc, unregistered.to_string()));
    let gone = start_server();
    gone.stop().unwrap();
    assert_eq!(crash_of(|| gone.get()), (ExitReason::NoProc, gone.to_string()));

    let server = name("busy");
    Plan::new(&Journal::new()).start_as(&server);
    let gate = block_server(&server, Next::wait);
    let timed_out = crash_of(|| server.call_timeout(SHORT, Ask::Get));
    assert_eq!(timed_out, (ExitReason::Timeout, server.to_string()));
    gate.open();

    let _watchdog = watchdog();
    let (watch, itself) = (server.watch(), server.clone());
    server.cast_with(move |_, _| {
        itself.get().or_exit();
        unreachable!("it called itself")
    });
    let reason = watch.wait();
    let ExitReason::Call(failure) = &reason else { panic!("a failed call was due, not {reason}") };
    assert_eq!((&failure.reason, &*failure.server), (&"calling_self".into(), &*server.to_string()));
    assert_eq!(reason.to_string(), format!("call to {server} failed: calling_self"));

    let server = start_server();
    let crash = crash_of(|| {
        server.call_with(|_, from, _| from.reply(0)).and(server.call_with(|_, _, _| Next::wait()))
    });
    assert_eq!(crash, ("noreply".into(), server.to_string()));
}

// scenario: GC-25
#[test]
fn chains_of_failed_calls_carry_the_first_reason() {
    let (back, middle) = (start_server(), start_server());
    let calls = back.clone();
    let crash = crash_of(|| {
        middle.call_with(move |_, from, _| {
            let value = calls.call_with(|_, _, _| Next::stop("root cause")).or_exit();
            from.reply(value)
        })
    });
    let (ExitReason::Call(inner), server) = crash else { panic!("a failed call was due, not {crash:?}") };
    assert_eq!(server, middle.to_string());
    assert_eq!((&inner.reason, &*inner.server), (&"root cause".into(), &*back.to_string()));
}

// scenario: TH-18
#[test]
fn the_late_reply_of_a_zombie_is_dropped() {
    attached(|inbox: &mut Inbox<()>| {
        for with_send in [false, true] {
            let (name, gate, answer) = (name("th18"), Gate::new(), Gate::new());
            let spec = Plan::new(&Journal::new())
                .spec()
                .name(name.clone())
                .process(process::Builder::new().kill_grace(SHORT));
            let server = spec.start().unwrap();
            let (pass, answers, calls) = (gate.clone(), answer.clone(), name.clone());
            let (tx, rx) = channel();
            // The first call blocks its server; the second goes to the successor.
            let caller = spawn_body(move |inbox| {
                let first = calls.call_with(move |_, from, _| {
                    tx.send(()).unwrap();
                    pass.pass();
                    if with_send {
                        from.reply_now(-1);
                        return Next::wait();
                    }
                    from.reply(-1)
                });
                let ready: Event<()> = inbox.recv();
                let second = calls.call_with(move |_, from, _| {
                    answers.pass();
                    from.reply(2)
                });
                (first, ready, second, inbox.len())
            });
            rx.recv().unwrap();
            // Turn the server into a zombie, and start a successor under its name.
            process::exit(server.pid(), ExitReason::Kill);
            eventually("it is a zombie", || process::zombies().iter().any(|z| z.pid == server.pid()));
            assert_eq!(name.whereis(), None, "its name is free");
            let second = Plan::new(&Journal::new()).start_as(&name);
            // The zombie replies late, while the second call is waiting.
            poke(caller.pid);
            wait_until_calling(caller.pid, second.pid());
            gate.open();
            eventually("it has ended", || process::zombies().iter().all(|z| z.pid != server.pid()));
            answer.open();
            let (first, _, answer, mail) = caller.join().unwrap();
            assert_eq!(first, Err(exited(&name, ExitReason::Killed)));
            assert_eq!((answer, mail), (Ok(2), 0));
            assert!(inbox.is_empty());
            second.stop().unwrap();
        }
    });
}

/// Sends a `()` to a process of which only the pid is known.
fn poke(pid: Pid) {
    let name: &'static str = unique("poked");
    process::register(name, pid).expect("it is running");
    process::Name::<()>::new(name).send(()).expect("it is running");
}

// scenario: TH-18
#[test]
fn a_zombie_cannot_answer_for_another_server() {
    attached(|_: &mut Inbox<()>| {
        let (gate, front) = (Gate::new(), start_server());
        let zombie = Plan::new(&Journal::new())
            .spec()
            .process(process::Builder::new().kill_grace(SHORT))
            .start()
            .unwrap();
        let (pass, delegate) = (gate.clone(), zombie.clone());
        let (tx, rx) = channel();
        let (calls, mine) = (front.clone(), front.clone());
        let caller = spawn_body(move |_| {
            let first = calls.call_with(move |_, from, _| {
                delegate.cast_with(move |_, _| {
                    tx.send(()).unwrap();
                    pass.pass();
                    from.reply_now(-1);
                    Next::wait()
                });
                Next::wait()
            });
            (first, calls.get())
        });
        rx.recv().unwrap();
        process::exit(zombie.pid(), ExitReason::Kill);
        eventually("it is a zombie", || process::zombies().iter().any(|z| z.pid == zombie.pid()));
        gate.open();
        let (first, second) = caller.join().unwrap();
        assert_eq!(first, Err(no_reply(&mine)), "the reply is lost with the process that held it");
        assert_eq!(second, Ok(0));
    });
}

/// Checks that the call returns much earlier than the default timeout of five seconds.
#[track_caller]
fn promptly<T>(act: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let value = act();
    assert!(began.elapsed() < Duration::from_secs(4), "it took {:?}", began.elapsed());
    value
}

#[test]
fn dropped_caller_fails_the_call_at_once() {
    attached(|inbox: &mut Inbox<()>| {
        let server = start_server();
        let result = promptly(|| server.call_with_timeout(Duration::MAX, |_, _, _| Next::wait()));
        assert_eq!(result, Err(no_reply(&server)));
        // Also when the handler asks for another timeout.
        let result = promptly(|| server.call_with(|_, _, _| Next::wait().timeout(Duration::from_secs(60))));
        assert_eq!(result, Err(no_reply(&server)));
        let result = promptly(|| server.call_with(|_, _, _| Next::wait().and_continue()));
        assert_eq!(result, Err(no_reply(&server)));
        assert_eq!(server.get(), Ok(0), "the server keeps running");
        assert!(inbox.is_empty());
    });
}

#[test]
fn caller_dropped_later_fails_the_call_then() {
    attached(|_: &mut Inbox<()>| {
        let server = start_server();
        for how in 0..3 {
            let calls = server.clone();
            let caller = spawn_body(move |_| {
                calls.call_with_timeout(Duration::MAX, |state, from, _| {
                    state.kept.push(from);
                    Next::wait()
                })
            });
            // Wait until the server keeps the handle of the call.
            eventually("it is kept", || {
                server.call_with(|state, from, _| {
                    let kept = state.kept.len();
                    from.reply(kept as i64)
                }) == Ok(1)
            });
            // Drop the handle in a cast, in a call, or in another process.
            match how {
                0 => server.cast_with(|state, _| {
                    state.kept.clear();
                    Next::wait()
                }),
                1 => drop(server.call_with(|state, from, _| {
                    state.kept.clear();
                    from.reply(1)
                })),
                _ => server.cast_with(|state, _| {
                    let kept = std::mem::take(&mut state.kept);
                    drop(spawn_body(move |_| drop(kept)).join());
                    Next::wait()
                }),
            }
            assert_eq!(caller.join().unwrap(), Err(no_reply(&server)));
        }
    });
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a foreign thread drops the handle")]
fn caller_dropped_by_another_thread_fails_the_call() {
    attached(|_: &mut Inbox<()>| {
        let server = start_server();
        let by_foreign_thread = server.call_with_timeout(Duration::MAX, |_, from, _| {
            std::thread::spawn(move || drop(from));
            Next::wait()
        });
        assert_eq!(by_foreign_thread, Err(no_reply(&server)));
        let by_process = server.call_with_timeout(Duration::MAX, |_, from, _| {
            process::spawn(move || drop(from)).unwrap();
            Next::wait()
        });
        assert_eq!(by_process, Err(no_reply(&server)));
        let by_crash = server.call_with_timeout(Duration::MAX, |_, from, _| {
            process::spawn(move || {
                let _held = from;
                panic!("with the handle in hand");
            })
            .unwrap();
            Next::wait()
        });
        assert_eq!(by_crash, Err(no_reply(&server)));
        let by_kill = server.call_with_timeout(Duration::MAX, |_, from, _| {
            let process = process::spawn_receiver::<()>(move |inbox| {
                let _held = from;
                inbox.recv();
            });
            process::exit(process.unwrap(), ExitReason::Kill);
            Next::wait()
        });
        assert_eq!(by_kill, Err(no_reply(&server)));
        let in_a_foreign_panic = server.call_with_timeout(Duration::MAX, |_, from, _| {
            std::thread::spawn(move || {
                let _held = from;
                std::panic::resume_unwind(Box::new("foreign"));
            });
            Next::wait()
        });
        assert_eq!(in_a_foreign_panic, Err(no_reply(&server)));
        assert_eq!(server.get(), Ok(0));
    });
}

#[test]
fn caller_dropped_in_a_caught_panic_fails_the_call() {
    attached(|_: &mut Inbox<()>| {
        let server = start_server();
        let result = promptly(|| {
            server.call_with_timeout(Duration::MAX, |_, from, _| {
                process::attempt(move || {
                    let _held = from;
                    panic!("caught below")
                })
                .rescue(|_| ());
                Next::wait()
            })
        });
        assert_eq!(result, Err(no_reply(&server)));
        let in_a_process = promptly(|| {
            server.call_with_timeout(Duration::MAX, |_, from, _| {
                process::spawn_receiver::<()>(move |inbox| {
                    process::attempt(move || {
                        let _held = from;
                        panic!("caught below")
                    })
                    .rescue(|_| ());
                    inbox.recv();
                })
                .unwrap();
                Next::wait()
            })
        });
        assert_eq!(
            in_a_process,
            Err(no_reply(&server)),
            "although the process that dropped it keeps running"
        );
    });
}

#[test]
fn reply_set_before_a_panic_of_the_handler_is_not_sent() {
    attached(|_: &mut Inbox<()>| {
        for _ in 0..20 {
            let server = start_server();
            let result = server.call_with(|_, from, _| {
                let _next = from.reply(7);
                panic!("after the reply was set")
            });
            let Err(CallError::Exited { reason: ExitReason::Panic(report), .. }) = result else {
                panic!("the panic was due, not {result:?}")
            };
            assert_eq!(report.message(), "after the reply was set");
            let server = start_server();
            let result = server.call_with(|_, from, _| {
                let _next = from.reply(7);
                process::exit_with("why")
            });
            assert_eq!(result, Err(exited(&server, "why")));
        }
    });
}

#[test]
fn reply_set_in_a_caught_panic_fails_the_call() {
    attached(|_: &mut Inbox<()>| {
        let server = start_server();
        let result = promptly(|| {
            server.call_with_timeout(Duration::MAX, |_, from, _| {
                process::attempt(move || {
                    let _next = from.reply(7);
                    panic!("caught below")
                })
                .rescue(|_| ());
                Next::wait()
            })
        });
        assert_eq!(result, Err(no_reply(&server)));
        assert_eq!(server.get(), Ok(0), "it keeps running");
    });
}

#[test]
fn caller_dropped_with_the_server_fails_with_its_exit_reason() {
    attached(|_: &mut Inbox<()>| {
        for _ in 0..20 {
            let server = start_server();
            let result = server.call_with(|_, from, _| {
                drop(from);
                Next::stop("why")
            });
            assert_eq!(result, Err(exited(&server, "why")));
            let server = start_server();
            let result = server.call_with(|_, from, _| {
                drop(from);
                panic!("after the drop")
            });
            assert!(
                matches!(result, Err(CallError::Exited { reason: ExitReason::Panic(_), .. })),
                "{result:?}"
            );
            let server = start_server();
            let result = server.call_with(|_, from, _| {
                drop(from);
                process::exit_with("out")
            });
            assert_eq!(result, Err(exited(&server, "out")));
            let server = start_server();
            let result = server.call_with(|_, from, cx| {
                drop(from);
                process::exit(cx.pid(), ExitReason::Kill);
                unreachable!("a kill of oneself takes effect at once")
            });
            assert_eq!(result, Err(exited(&server, ExitReason::Killed)));
            // Dropped together with the state.
            let server = start_server();
            let result = server.call_with(|state, from, _| {
                state.kept.push(from);
                Next::stop("with the state")
            });
            assert_eq!(result, Err(exited(&server, "with the state")));
        }
    });
}

#[test]
fn unread_request_fails_with_the_exit_reason_of_the_server() {
    attached(|_: &mut Inbox<()>| {
        let server = start_server();
        let gate = block_server(&server, || Next::stop("closing time"));
        let callers: Vec<_> = (0..4)
            .map(|_| {
                let server = server.clone();
                spawn_body(move |_| server.get())
            })
            .collect();
        wait_for_queue(&server, 4);
        gate.open();
        for caller in callers {
            assert_eq!(caller.join().unwrap(), Err(exited(&server, "closing time")));
        }
    });
}

#[test]
fn a_request_that_never_carries_its_caller_is_unanswered() {
    attached(|_: &mut Inbox<()>| {
        let journal = Journal::new();
        let server = Plan::new(&journal).start();
        // The field holds one call's handle; this one belongs to another call.
        let (tx, take) = channel();
        let calls = server.clone();
        let other = spawn_body(move |_| {
            calls.call_with(move |_, from, _| {
                tx.send(from).unwrap();
                Next::wait()
            })
        });
        let theirs = take.recv().unwrap();
        let result = promptly(|| {
            server.call(|from: Caller<i64>| {
                drop(from);
                Ask::Get(theirs)
            })
        });
        assert_eq!(result, Err(no_reply(&server)));
        assert_eq!(other.join().unwrap(), Ok(0), "that caller got the answer");
    });
}

#[test]
fn a_request_that_panics_while_it_is_made_is_not_sent() {
    attached(|_: &mut Inbox<()>| {
        let server = start_server();
        let caught =
            process::attempt(|| server.call(|_: Caller<i64>| -> Ask { panic!("no request") }).is_ok())
                .rescue(|report| report.message() == "no request");
        assert!(caught);
        let me = process::info(process::current().unwrap()).unwrap();
        assert_eq!(me.waiting_on, None);
        assert_eq!(server.get(), Ok(0));
    });
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a foreign thread answers")]
fn replies_can_come_from_anywhere() {
    attached(|_: &mut Inbox<()>| {
        let server = start_server();
        let from_foreign_thread = server.call_with(|_, from, _| {
            std::thread::spawn(move || from.reply_now(1));
            Next::wait()
        });
        assert_eq!(from_foreign_thread, Ok(1));
        let from_process = server.call_with(|_, from, _| {
            process::spawn(move || from.reply_now(2)).unwrap();
            Next::wait()
        });
        assert_eq!(from_process, Ok(2));
        let other = start_server();
        let from_server = server.call_with(move |_, from, _| {
            other.cast_with(move |_, _| from.reply(3));
            Next::wait()
        });
        assert_eq!(from_server, Ok(3));
    });
}

#[test]
fn replies_can_be_postponed_and_given_in_any_order() {
    attached(|_: &mut Inbox<()>| {
        let server = start_server();
        let callers: Vec<_> = (0..5)
            .map(|n| {
                let calls = server.clone();
                let caller = spawn_body(move |_| {
                    calls.call_with(|state, from, _| {
                        state.kept.push(from);
                        Next::wait()
                    })
                });
                eventually("it is kept", || {
                    server.call_with(|state, from, _| {
                        let kept = state.kept.len() as i64;
                        from.reply(kept)
                    }) == Ok(n + 1)
                });
                caller
            })
            .collect();
        server.cast_with(|state, _| {
            for (n, from) in state.kept.drain(..).enumerate().rev().collect::<Vec<_>>() {
                from.reply_now(10 * n as i64);
            }
            Next::wait()
        });
        for (n, caller) in callers.into_iter().enumerate() {
            assert_eq!(caller.join().unwrap(), Ok(10 * n as i64));
        }
    });
}

#[test]
fn a_reply_sent_in_the_handler_arrives_before_the_handler_returns() {
    attached(|_: &mut Inbox<()>| {
        let (server, gate) = (start_server(), Gate::new());
        let pass = gate.clone();
        let result = server.call_with(move |_, from, _| {
            from.reply_now(1);
            pass.pass();
            Next::wait()
        });
        gate.open();
        assert_eq!(result, Ok(1));
    });
}

#[test]
fn a_reply_given_before_a_crash_counts() {
    attached(|_: &mut Inbox<()>| {
        for _ in 0..20 {
            let server = start_server();
            let watch = server.watch();
            let result = server.call_with(|_, from, _| {
                from.reply_now(1);
                panic!("after the answer")
            });
            assert_eq!(result, Ok(1));
            assert!(matches!(watch.wait(), ExitReason::Panic(_)));
        }
    });
}

#[test]
fn a_name_is_looked_up_at_each_call() {
    attached(|_: &mut Inbox<()>| {
        let name = name("restarts");
        assert_eq!(name.get(), Err(no_proc(&name)));
        let mut pids = Vec::new();
        for round in 0..50 {
            let server = Plan::new(&Journal::new()).start_as(&name);
            pids.push(server.pid());
            let value = name.call_with(move |state, from, _| {
                state.value = round;
                from.reply(round)
            });
            assert_eq!(value, Ok(round));
            assert_eq!(name.get(), Ok(round));
            // Without waiting for its exit: the next start takes the name over.
            process::exit(server.pid(), ExitReason::Kill);
            let stale = server.get().unwrap_err();
            assert!(stale == no_proc(&server) || stale == exited(&server, ExitReason::Killed));
        }
        pids.dedup();
        assert_eq!(pids.len(), 50);
    });
}

#[test]
fn calls_by_name_across_restarts_get_an_answer_or_a_true_reason() {
    attached(|_: &mut Inbox<()>| {
        let (name, gate) = (name("hammered"), Gate::new());
        Plan::new(&Journal::new()).start_as(&name);
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let (name, over) = (name.clone(), gate.clone());
                spawn_body(move |_| {
                    let mut answered = 0;
                    while !over.is_open() {
                        match name.get() {
                            Ok(_) => answered += 1,
                            Err(CallError::NoProc { .. }) => {}
                            Err(CallError::Exited { reason: ExitReason::Killed, .. }) => {}
                            Err(other) => panic!("{other}"),
                        }
                    }
                    answered
                })
            })
            .collect();
        for _ in 0..100 {
            process::exit(name.pid(), ExitReason::Kill);
            Plan::new(&Journal::new()).start_as(&name);
            assert_eq!(name.get(), Ok(0), "its starter finds it");
        }
        gate.open();
        for caller in callers {
            assert!(caller.join().unwrap() > 0);
        }
        name.stop().unwrap();
    });
}

#[test]
fn a_name_held_by_another_kind_of_server() {
    capture();
    attached(|_: &mut Inbox<()>| {
        let text = unique("kinds");
        let (default_info, wrong) =
            (ServerRef::<DefaultInfo>::from_name(text), ServerRef::<ScriptedServer>::from_name(text));
        DefaultInfo::child_spec(()).name(default_info.clone()).start().unwrap();
        let error = wrong.get().unwrap_err();
        let CallError::WrongType { expected, found, .. } = &error else { panic!("not {error}") };
        assert!(expected.contains("ScriptedServer") && found.contains("DefaultInfo"), "{error}");
        let calls = wrong.clone();
        let reason = spawn_body(move |_| calls.get().or_exit()).join().unwrap_err();
        assert_eq!(reason.downcast_ref(), Some(&error));
        wrong.note("lost");
        assert!(logs().iter().any(|line| line.starts_with("WARN") && line.contains(text)), "{:?}", logs());
        assert!(matches!(wrong.stop(), Err(rethread::gen_server::StopError::WrongType { .. })));
        assert!(default_info.call(|from| from).is_ok(), "it was not affected");
        default_info.stop().unwrap();
    });
}

#[test]
fn a_name_held_by_a_process_that_is_no_server() {
    attached(|_: &mut Inbox<()>| {
        let sleeper = support::sleeper();
        let text = unique("plain");
        process::register(text, &sleeper).unwrap();
        let wrong = ServerRef::<ScriptedServer>::from_name(text);
        assert!(matches!(wrong.get(), Err(CallError::WrongType { .. })));
        wrong.note("lost");
        assert!(process::is_alive(&sleeper));
    });
}

#[test]
fn a_foreign_thread_can_call() {
    let _watchdog = watchdog();
    assert_eq!(process::current(), None);
    let server = start_server();
    assert_eq!(server.get(), Ok(0));
    assert_eq!(server.call_with_timeout(Duration::MAX, |_, from, _| from.reply(3)), Ok(3));
    assert_eq!(server.call_with(|_, _, _| Next::wait()), Err(no_reply(&server)));
    let gate = Gate::new();
    let pass = gate.clone();
    let late = server.call_with_timeout(SHORT, move |_, from, _| {
        pass.pass();
        from.reply(-1)
    });
    assert!(matches!(late, Err(CallError::Timeout { .. })));
    gate.open();
    assert_eq!(server.get(), Ok(0));
    assert_eq!(server.call_with(|_, _, _| Next::stop("why")), Err(exited(&server, "why")));
    assert_eq!(server.get(), Err(no_proc(&server)));
    let panicked = std::panic::AssertUnwindSafe(|| server.get().or_exit());
    #[expect(clippy::disallowed_methods, reason = "the panic of a foreign thread is what is tested")]
    let panicked = std::panic::catch_unwind(panicked);
    assert!(panicked.is_err(), "a foreign thread cannot exit");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "foreign threads are what is tested")]
fn many_foreign_threads_call_one_server() {
    let _watchdog = watchdog();
    let server = start_server();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let server = server.clone();
            std::thread::spawn(move || {
                for _ in 0..250 {
                    let add =
                        |state: &mut ScriptedServer, from: Caller<i64>, _: &mut Context<ScriptedServer>| {
                            state.value += 1;
                            from.reply(state.value)
                        };
                    server.call_with(add).expect("an answer");
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(server.get(), Ok(1000));
    server.stop().unwrap();
}

/// A name table beside the runtime's own.
#[derive(Debug)]
struct Key(&'static str);

static TABLE: Lazy<Mutex<HashMap<&'static str, Pid>>> = Lazy::new(Mutex::default);

impl Via for Key {
    fn whereis(&self) -> Option<Pid> {
        TABLE.lock().get(self.0).copied()
    }
    fn register(&self, pid: Pid) -> Result<(), NameError> {
        let mut table = TABLE.lock();
        match table.get(self.0) {
            Some(holder) if process::is_alive(*holder) => Err(NameError::Taken(*holder)),
            _ => {
                table.insert(self.0, pid);
                Ok(())
            }
        }
    }
    fn unregister(&self, pid: Pid) {
        let mut table = TABLE.lock();
        if table.get(self.0) == Some(&pid) {
            table.remove(self.0);
        }
    }
}

#[test]
fn a_server_can_be_reached_by_a_key_in_another_table() {
    attached(|inbox: &mut Inbox<()>| {
        let text = unique("key");
        let key = ServerRef::<ScriptedServer>::via(Key(text));
        assert_eq!((key.whereis(), key.get()), (None, Err(no_proc(&key))));
        for round in 0..20 {
            let server = Plan::new(&Journal::new()).start_as(&key);
            assert_eq!(key.whereis(), Some(server.pid()));
            assert_eq!(key.get(), Ok(0));
            key.note("cast");
            let again = Plan::new(&Journal::new()).spec().name(key.clone()).start();
            assert_eq!(again.unwrap_err(), StartError::AlreadyStarted(server.pid()));
            let (monitor, watch) = (key.monitor(), key.watch());
            if round % 2 == 0 {
                key.stop_timeout("enough", Duration::MAX).unwrap();
            } else {
                process::exit(server.pid(), "enough");
            }
            assert_eq!(support::down(inbox), (monitor, "enough".into()));
            assert_eq!(watch.wait(), "enough".into());
            assert_eq!((key.whereis(), Key(text).whereis()), (None, None));
            assert_eq!(key.get(), Err(no_proc(&key)));
        }
    });
}

#[test]
fn start_under_key_of_exiting_holder_waits_for_it() {
    attached(|_: &mut Inbox<()>| {
        let (journal, key, gate) = (Journal::new(), ServerRef::via(Key(unique("exiting"))), Gate::new());
        let (pass, log) = (gate.clone(), journal.clone());
        let plan = Plan::new(&Journal::new()).on_drop(move || {
            pass.pass();
            log.note("old one gone");
        });
        let old = plan.start_as(&key);
        process::exit(old.pid(), "oops");
        let (new, log) = (key.clone(), journal.clone());
        let starter = spawn_body(move |_| {
            let plan = Plan::new(&Journal::new()).init(move |_| {
                log.note("new one begins");
                Ok(())
            });
            plan.start_as(&new).pid()
        });
        eventually("the new one has the key", || key.whereis().is_some());
        gate.open();
        let new = starter.join().unwrap();
        assert_eq!(journal.all(), ["old one gone", "new one begins"]);
        assert_eq!(key.whereis(), Some(new), "the exit of the old holder leaves the name");
        key.stop().unwrap();
    });
}

#[test]
fn call_can_wait_without_limit() {
    attached(|_: &mut Inbox<()>| {
        let (server, gate) = (start_server(), Gate::new());
        let (calls, pass) = (server.clone(), gate.clone());
        let caller = spawn_body(move |_| {
            calls.call_with_timeout(Duration::MAX, move |_, from, _| {
                pass.pass();
                from.reply(1)
            })
        });
        wait_until_calling(caller.pid, server.pid());
        gate.open();
        assert_eq!(caller.join().unwrap(), Ok(1));
        let almost = Duration::from_secs(u64::MAX);
        assert_eq!(server.call_with_timeout(almost, |_, from, _| from.reply(2)), Ok(2));
    });
}

#[test]
fn a_call_without_any_time_does_not_hang() {
    attached(|inbox: &mut Inbox<()>| {
        let server = start_server();
        for _ in 0..100 {
            let result = server.call_with_timeout(Duration::ZERO, |_, from, _| from.reply(1));
            assert!(matches!(result, Ok(1) | Err(CallError::Timeout { .. })), "{result:?}");
        }
        assert_eq!(server.get(), Ok(0));
        assert!(inbox.is_empty());
    });
}

#[test]
fn caller_killed_in_its_call_exits_at_once_and_leaves_nothing() {
    attached(|_: &mut Inbox<()>| {
        let server = start_server();
        let gate = block_server(&server, Next::wait);
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let calls = server.clone();
                spawn_body(move |_| {
                    calls.call_with_timeout(Duration::MAX, |state, from, _| {
                        state.value += 1;
                        from.reply(1)
                    })
                })
            })
            .collect();
        let reasons = [ExitReason::Kill, ExitReason::Shutdown, "oops".into()];
        for (caller, reason) in callers.into_iter().zip(reasons) {
            let pid = caller.pid;
            wait_until_calling(pid, server.pid());
            process::exit(pid, reason.clone());
            let due = if reason == ExitReason::Kill { ExitReason::Killed } else { reason };
            let ended = promptly(|| caller.join());
            assert_eq!(ended, Err(due));
            assert!(process::zombies().iter().all(|zombie| zombie.pid != pid));
        }
        let info = process::info(server.pid()).unwrap();
        assert_eq!((info.monitored_by, info.links, info.monitors), (vec![], vec![], vec![]));
        gate.open();
        assert_eq!(server.get(), Ok(3), "the requests were executed despite the timeout");
        let info = process::info(server.pid()).unwrap();
        assert_eq!((info.monitored_by, info.message_queue_len), (vec![], 0));
    });
}

#[test]
fn a_trapping_caller_gets_its_exits_after_the_call() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let (server, gate) = (start_server(), Gate::new());
        let (pass, me) = (gate.clone(), inbox.pid());
        let called = server.pid();
        let other = spawn_body(move |_| {
            wait_until_calling(me, called);
            process::exit(me, "hello");
            gate.open();
        });
        let result = server.call_with(move |_, from, _| {
            pass.pass();
            from.reply(1)
        });
        assert_eq!(result, Ok(1));
        assert_eq!(support::exit_event(inbox), (other.pid, "hello".into()));
        other.join().unwrap();
    });
}

/// Calls a server in its destructor.
struct CallsInDrop {
    server: ServerRef<ScriptedServer>,
    tx: std::sync::mpsc::Sender<Result<i64, CallError>>,
}

impl Drop for CallsInDrop {
    fn drop(&mut self) {
        self.server.note("last words");
        let _ = self.tx.send(self.server.get());
    }
}

#[test]
fn call_in_destructor_of_exiting_process_is_refused() {
    attached(|_: &mut Inbox<()>| {
        let journal = Journal::new();
        let server = Plan::new(&journal).start();
        for panics in [true, false] {
            let (tx, rx) = channel();
            let calls = CallsInDrop { server: server.clone(), tx };
            let exiting = process::spawn_receiver::<()>(move |inbox| {
                let _calls = calls;
                if panics {
                    panic!("boom");
                }
                inbox.recv();
            });
            process::exit(exiting.unwrap(), "oops");
            assert_eq!(rx.recv().unwrap(), Err(CallError::Exiting));
        }
        assert_eq!(server.get(), Ok(0));
        assert_eq!(journal.all(), ["last words", "last words"], "a cast is still possible");
    });
}

#[test]
fn or_exit_gives_the_value_if_there_is_one() {
    attached(|_: &mut Inbox<()>| {
        assert_eq!(start_server().call_with(|_, from, _| from.reply(4)).or_exit(), 4);
    });
}

#[test]
fn or_exit_after_a_failed_call_names_the_true_reason() {
    let (killed, panics) = (start_server(), start_server());
    let crash = crash_of(|| {
        killed.call_with(|_, from, cx| {
            let _held = from;
            process::exit(cx.pid(), ExitReason::Kill);
            unreachable!("killed")
        })
    });
    assert_eq!(crash, (ExitReason::Killed, killed.to_string()));
    let (why, _) = crash_of(|| panics.call_with(|_, _, _| panic!("boom")));
    assert!(matches!(why, ExitReason::Panic(report) if report.message() == "boom"));
}

#[test]
fn a_timer_sends_a_server_a_cast() {
    attached(|_: &mut Inbox<()>| {
        let journal = Journal::new();
        let server = Plan::new(&journal).start();
        server.cast_with(|_, cx| {
            cx.send_after(Duration::from_millis(30), Tell::Note("later".into()));
            let never = cx.send_after(Duration::from_secs(600), Tell::Note("never".into()));
            assert!(process::cancel_timer(never).is_some());
            cx.cast(Tell::Note("behind".into()));
            Next::wait()
        });
        server.note("sent after");
        assert_eq!(journal.wait_for(3).last().unwrap(), "later");
        assert_eq!(server.get(), Ok(0));
        assert_eq!(journal.all().len(), 3);
    });
}

#[test]
fn handle_by_pid_always_names_that_pid() {
    let _watchdog = watchdog();
    let server = start_server();
    let pid = server.whereis().unwrap();
    let by_pid = ServerRef::<ScriptedServer>::from_pid(pid);
    server.stop().unwrap();
    assert_eq!((server.whereis(), by_pid.whereis()), (Some(pid), Some(pid)));
    assert_eq!(by_pid.watch().wait(), ExitReason::NoProc);
}

#[test]
fn request_dropped_by_another_process_fails_at_once() {
    attached(|inbox: &mut Inbox<ExitReason>| {
        let end = Gate::new();
        let held = end.clone();
        let other = process::spawn_receiver::<Caller<i64>>(move |inbox| {
            drop(inbox.recv()); // and no call of the runtime after that
            held.pass();
        });
        let other = other.unwrap();
        let server = start_server();
        let asked = server.clone();
        let waits = move |from| {
            let pass_on =
                move |_: &mut ScriptedServer, from: Caller<i64>, _: &mut Context<ScriptedServer>| {
                    other.send(from);
                    Next::wait()
                };
            Ask::Run(Box::new(pass_on), from)
        };
        let answer = asked.call(waits);
        assert!(matches!(answer, Err(CallError::NoReply { .. })), "{answer:?}");
        assert_eq!(inbox.try_recv(), None);
        end.open();
        server.stop().unwrap();
    });
}

#[test]
fn caller_of_exiting_server_is_notified_after_its_links() {
    /// A name table that runs a closure when its holder is cleaned up.
    struct Table(Mutex<Option<Box<dyn FnOnce() + Send>>>);
    impl std::fmt::Debug for Table {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Table")
        }
    }
    impl Via for Table {
        fn whereis(&self) -> Option<Pid> {
            None
        }
        fn register(&self, _: Pid) -> Result<(), NameError> {
            Ok(())
        }
        fn unregister(&self, _: Pid) {
            if let Some(act) = self.0.lock().take() {
                act();
            }
        }
    }
    let _watchdog = watchdog();
    // Linked with the server, it traps exits until the exit cleanup has begun; so it is notified last, and
    // while its hook runs other notifications are still pending.
    type Act = Box<dyn FnOnce() + Send>;
    let linked = process::spawn_receiver::<Act>(|inbox| {
        while let Event::Message(act) = inbox.recv() {
            act();
        }
    });
    let linked = linked.unwrap();
    let does = {
        let linked = linked.clone();
        move |act: Act| {
            let (tx, done) = channel();
            linked.send(Box::new(move || {
                act();
                let _ = tx.send(());
            }));
            done.recv().expect("it does it");
        }
    };
    let untrap = does.clone();
    let untrapped = move || {
        untrap(Box::new(|| {
            process::trap_exit(false);
        }));
    };
    let table = Table(Mutex::new(Some(Box::new(untrapped))));
    let server = Plan::new(&Journal::new()).spec().name(ServerRef::via(table)).start().unwrap();
    let (pid, called, (tx, rx)) = (server.whereis().unwrap(), server.clone(), channel());
    does(Box::new(move || {
        process::trap_exit(true);
        process::link(pid).expect("it is running");
        let hook = process::on_exit_request(move || {
            let (answer, answered) = channel();
            let call = move || {
                let _ = answer.send(called.get());
            };
            #[expect(
                clippy::disallowed_methods,
                reason = "no process can be started on the thread of an exited one"
            )]
            let caller = std::thread::spawn(call);
            let early = answered.recv_timeout(Duration::from_millis(100)).ok();
            let _ = tx.send((early, answered, caller));
        });
        std::mem::forget(hook); // it is kept for the rest of the process
    }));
    process::exit(pid, "oops");
    let (early, answered, caller) = rx.recv().expect("the hook ran");
    assert_eq!(early, None, "no caller is notified before all links are");
    let answer = answered.recv().expect("an answer");
    assert!(matches!(answer, Err(CallError::NoProc { .. })), "{answer:?}");
    caller.join().expect("it has ended");
    assert_eq!(process::watch(&linked).wait(), ExitReason::NoProc);
}
