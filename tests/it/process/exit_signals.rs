//! Exit signals and exit reasons: which signals end a process, which events a trapping process receives,
//! and with which reason. Scenarios EX-01 to EX-32.

use std::panic::panic_any;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::support::scripted_process::{ScriptedProcess, exit};
use crate::support::{
    self, Gate, Journal, attached, down, exit_event, exit_reason_of, message, sleeper, unique, watchdog,
};
use rethread::observer;
use rethread::process::{self, Address, Event, Inbox};
use rethread::{ExitReason, Pid};

/// 128 KiB of bytes among other fields.
#[derive(Debug, Clone, PartialEq)]
struct Big {
    bytes: Vec<u8>,
    words: Vec<String>,
    nested: Option<Box<Big>>,
}

fn big() -> Big {
    let inner = Big { bytes: vec![7; 1024], words: vec!["inner".to_owned()], nested: None };
    let bytes = (0..=255_u8).cycle().take(128 * 1024).collect();
    Big { bytes, words: vec!["outer".to_owned(); 16], nested: Some(Box::new(inner)) }
}

// scenario: EX-01
#[test]
fn a_large_reason_arrives_whole() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        for _ in 0..10 {
            let child = process::spawn_link(|| process::exit_with(ExitReason::new(big()))).unwrap();
            let (from, reason) = exit_event(inbox);
            assert_eq!(from, child);
            assert_eq!(reason.downcast_ref::<Big>(), Some(&big()));
        }
        assert_eq!(inbox.try_recv(), None);
    });
}

// scenario: EX-03
#[test]
fn normal_from_another_process_is_ignored() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let child = ScriptedProcess::new();
        process::link(&child).unwrap();
        process::exit(&child, ExitReason::Normal);
        assert_eq!(child.run(|| "here"), "here");
        assert!(process::is_alive(&child));
        assert_eq!(inbox.try_recv(), None);
        process::exit(&child, ExitReason::Kill);
        assert_eq!(exit_event(inbox), (child.pid(), ExitReason::Killed));
    });
}

// scenario: EX-04
#[test]
fn trapping_process_receives_its_own_signals_and_continues() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let (me, reason) = (inbox.pid(), ExitReason::new(big()));
        for _ in 0..200 {
            process::exit(me, reason.clone());
        }
        assert_eq!(inbox.len(), 200);
        for _ in 0..200 {
            assert_eq!(exit_event(inbox), (me, reason.clone()));
        }
        assert_eq!(inbox.try_recv(), None);
    });
}

// scenario: EX-06
#[test]
fn process_that_signals_itself_exits_at_once() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let journal = Journal::new();
        let notes = journal.clone();
        let child = process::spawn_receiver_link::<()>(move |inbox| {
            notes.note("before");
            process::exit(inbox.pid(), "enough");
            notes.note("after");
        });
        assert_eq!(exit_event(inbox), (child.unwrap().pid(), "enough".into()));
        assert_eq!(journal.all(), ["before"]);
        assert_eq!(inbox.try_recv(), None);
    });
}

// scenario: EX-08
#[test]
fn the_value_of_a_panic_arrives_whole() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let child = process::spawn_link(|| panic_any(big())).unwrap();
        let (from, reason) = exit_event(inbox);
        assert_eq!(from, child);
        let ExitReason::Panic(report) = reason else { panic!("a panic was due, not {reason}") };
        assert!(report.location().is_some_and(|place| place.file == file!()));
        let value = report.take_payload().expect("the value is kept");
        assert_eq!(*value.downcast::<Big>().expect("it is what was thrown"), big());
        assert!(report.take_payload().is_none());
    });
}

// scenario: EX-09
#[test]
fn bad_arguments_end_only_the_process_that_passed_them() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let calls: [fn(); 4] = [
            || drop(Vec::<String>::new().remove(3)),
            || drop("text".to_owned().split_off(99)),
            || drop(Vec::<u8>::with_capacity(usize::MAX)),
            || drop("x".parse::<i32>().unwrap().to_string()),
        ];
        for call in calls {
            let child = process::spawn_link(call).unwrap();
            let (from, reason) = exit_event(inbox);
            assert_eq!(from, child);
            assert!(matches!(reason, ExitReason::Panic(_)), "{reason}");
        }
        assert_eq!(inbox.try_recv(), None);
    });
}

// scenario: EX-10
#[test]
fn a_signal_shortly_before_a_receive_timeout() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        // Around the timeout: sometimes the signal is first, sometimes the timeout.
        for early in [20_u64, 5, 2, 1, 0] {
            let low = process::spawn_receiver_link::<()>(|inbox| {
                inbox.recv_timeout(Duration::from_millis(250));
                inbox.recv();
            });
            let low = low.unwrap();
            let killer = process::spawn_receiver::<Pid>(move |inbox| {
                process::sleep(Duration::from_millis(250 - early));
                process::exit(message(inbox), "just in time");
            });
            killer.unwrap().send(low.pid());
            assert_eq!(exit_event(inbox), (low.pid(), "just in time".into()));
            assert!(!process::is_alive(&low));
            assert_eq!(inbox.try_recv(), None);
        }
    });
}

// scenario: EX-13
#[test]
fn a_stranger_can_end_a_process() {
    attached(|inbox: &mut Inbox<()>| {
        let (child, unrelated) = (sleeper(), ScriptedProcess::new());
        let monitor = process::monitor(&child);
        unrelated.run(move || process::exit(&child, "oops"));
        assert_eq!(down(inbox), (monitor, "oops".into()));
    });
}

/// Starts a trapping process that notes when it is ready and each event it receives.
fn trapper(journal: &Journal) -> Address<()> {
    let notes = journal.clone();
    let body = move |inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        notes.note("ready");
        loop {
            let event = inbox.recv();
            notes.note(format!("{event:?}"));
        }
    };
    process::spawn_receiver(body).expect("a free thread")
}

// scenario: EX-14
#[test]
fn kill_cannot_be_trapped() {
    attached(|inbox: &mut Inbox<()>| {
        let journal = Journal::new();
        let (child, unrelated) = (trapper(&journal), ScriptedProcess::new());
        journal.wait_for(1);
        let monitor = process::monitor(&child);
        unrelated.run(move || process::exit(&child, ExitReason::Kill));
        assert_eq!(down(inbox), (monitor, ExitReason::Killed));
        assert_eq!(journal.all(), ["ready"]);
    });
}

// scenario: EX-15
#[test]
fn kill_to_oneself_cannot_be_trapped_either() {
    let journal = Journal::new();
    let notes = journal.clone();
    let reason = exit_reason_of(move |inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        process::exit(inbox.pid(), ExitReason::Kill);
        notes.note("went on");
    });
    assert_eq!(reason, ExitReason::Killed);
    assert_eq!(journal.all(), [""; 0]);
}

/// Starts processes that are linked in a row, none of them trapping. The calling process is linked to the
/// first; the last is returned, and exits with `Kill` when it receives a message.
fn chain(length: usize) -> Address<()> {
    let (tx, rx) = channel();
    extend(length, tx);
    rx.recv().expect("the chain is complete")
}

fn extend(length: usize, tx: std::sync::mpsc::Sender<Address<()>>) {
    let body = move |inbox: &mut Inbox<()>| {
        if length == 1 {
            tx.send(inbox.address()).expect("the test receives");
            inbox.recv();
            process::exit_with(ExitReason::Kill)
        } else {
            extend(length - 1, tx);
            inbox.recv();
        }
    };
    process::spawn_receiver_link::<()>(body).expect("a free thread");
}

// scenario: EX-16
#[test]
fn a_raised_kill_stays_kill_along_a_chain() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        for length in [1, 2, 9, 10] {
            chain(length).send(());
            assert_eq!(exit_event(inbox).1, ExitReason::Kill, "chain of {length}");
            assert_eq!(inbox.try_recv(), None);
        }
    });
}

// scenario: EX-18
#[test]
fn a_sent_kill_arrives_as_killed_along_a_chain() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        for length in [1, 2, 9, 10] {
            process::exit(chain(length), ExitReason::Kill);
            assert_eq!(exit_event(inbox).1, ExitReason::Killed, "chain of {length}");
            assert_eq!(inbox.try_recv(), None);
        }
    });
}

// scenario: EX-19
#[test]
fn linked_process_exits_with_reason_kill() {
    attached(|inbox: &mut Inbox<()>| {
        let (a, b) = (ScriptedProcess::new(), ScriptedProcess::new());
        let (a_pid, monitor) = (a.pid(), process::monitor(&b));
        b.run(move || process::link(a_pid)).unwrap();
        a.start(|| process::exit_with(ExitReason::Kill));
        assert_eq!(down(inbox), (monitor, ExitReason::Kill));
    });
}

// scenario: EX-21
#[test]
fn killed_is_a_reason_like_any_other() {
    attached(|_: &mut Inbox<()>| {
        let (child, unrelated) = (ScriptedProcess::trapping(), ScriptedProcess::new());
        let pid = child.pid();
        unrelated.run(move || process::exit(pid, ExitReason::Killed));
        assert_eq!(child.received(), [exit(&unrelated, ExitReason::Killed)]);
        assert!(process::is_alive(&child));
    });
}

// scenario: EX-23
#[test]
fn a_name_is_not_a_pid() {
    /// Two implementations for types that convert into a pid, one for all others: the call below is
    /// ambiguous, and does not compile, as soon as text can be passed for a pid.
    trait NoPid<Case> {
        fn checked() {}
    }
    struct Converts;
    impl<T: ?Sized> NoPid<()> for T {}
    impl<T: Into<Pid>> NoPid<Converts> for T {}
    <&'static str as NoPid<_>>::checked();
    <String as NoPid<_>>::checked();

    // Erlang's argument error has no counterpart: looking up the name is a separate step here.
    attached(|inbox: &mut Inbox<()>| {
        let name = unique("ex_23");
        let child = ScriptedProcess::with(process::Builder::new().name(name));
        let monitor = process::monitor(&child);
        assert_eq!(child.run(|| "unharmed"), "unharmed");
        process::exit(process::whereis(name).unwrap(), "x");
        assert_eq!(down(inbox), (monitor, "x".into()));
    });
}

// scenario: EX-24
#[test]
fn an_uncaught_throw_is_nocatch() {
    attached(|inbox: &mut Inbox<()>| {
        let (_, monitor) = process::spawn_monitor(|| process::throw("ball")).unwrap();
        let (fired, reason) = down(inbox);
        assert_eq!(fired, monitor);
        assert!(matches!(reason, ExitReason::NoCatch(_)), "{reason}");
        assert_eq!(reason.to_string(), "nocatch(ball)");
        assert!(reason.is_abnormal());
    });
}

// scenario: EX-26
#[test]
fn trapping_too_late_does_not_help() {
    attached(|inbox: &mut Inbox<()>| {
        let (gate, journal) = (Gate::new(), Journal::new());
        let (computing, notes) = (gate.clone(), journal.clone());
        let (child, monitor) = process::spawn_receiver_monitor::<()>(move |inbox| {
            notes.note("computing");
            computing.pass();
            process::trap_exit(true);
            notes.note("trapped in vain");
            inbox.recv();
            notes.note("survived");
        })
        .unwrap();
        journal.wait_for(1);
        process::exit(&child, "boom");
        gate.open();
        assert_eq!(down(inbox), (monitor, "boom".into()));
        assert_eq!(journal.all(), ["computing"]);
    });
}

// scenario: EX-28
#[test]
fn exit_with_while_a_signal_is_under_way_gives_one_reason() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let own_ends: [(&str, fn()); 3] = [
            ("exit", || process::exit_with("own")),
            ("throw", || process::throw("own")),
            ("panic", || panic!("own")),
        ];
        for (class, own_end) in own_ends {
            let (gate, signalled) = (Gate::new(), Gate::new());
            let (begun, wait) = (gate.clone(), signalled.clone());
            // The child ends itself while an exit signal is pending.
            let child = process::spawn_link(move || {
                begun.open();
                wait.pass();
                own_end();
            });
            let child = child.unwrap();
            let monitor = process::monitor(child);
            gate.pass();
            process::exit(child, "signal");
            signalled.open();
            // The link and the monitor must report the same one of the two reasons.
            let (mut exits, mut downs) = (Vec::new(), Vec::new());
            for _ in 0..2 {
                match inbox.recv() {
                    Event::Exit { from, reason } => exits.push((from, reason)),
                    Event::Down { monitor, reason, .. } => downs.push((monitor, reason)),
                    Event::Message(()) => unreachable!("no process sends"),
                    event => panic!("unexpected event: {event:?}"),
                }
            }
            assert_eq!(inbox.try_recv(), None, "{class}");
            assert_eq!((exits.len(), downs.len()), (1, 1), "{class}");
            assert_eq!(exits[0].0, child);
            assert_eq!(downs[0].0, monitor);
            assert_eq!(exits[0].1, downs[0].1, "{class}: one exit, one reason");
            let reason = exits[0].1.to_string();
            assert!(reason == "signal" || reason.contains("own"), "{class}: {reason}");
        }
    });
}

// scenario: EX-28
#[test]
fn racing_ends_give_one_of_the_two_reasons() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        for _ in 0..1000 {
            let child = process::spawn_link(|| process::exit_with("own")).unwrap();
            process::exit(child, "signal");
            let (from, reason) = exit_event(inbox);
            assert_eq!(from, child);
            assert!(reason == "own".into() || reason == "signal".into(), "{reason}");
        }
        assert_eq!(inbox.try_recv(), None);
    });
}

// scenario: EX-29
#[test]
fn never_alive_after_a_fatal_signal_of_mine() {
    let _watchdog = watchdog();
    for _ in 0..5000 {
        let child = sleeper();
        process::exit(&child, "x");
        assert!(!process::is_alive(&child));
    }
}

/// Notes the end of a scope.
struct CleanUp(Journal);

impl Drop for CleanUp {
    fn drop(&mut self) {
        self.0.note("cleaned up");
    }
}

// scenario: EX-31
#[test]
fn clean_up_code_runs_on_an_exit_signal() {
    attached(|inbox: &mut Inbox<()>| {
        for (sent, seen) in
            [(ExitReason::Shutdown, ExitReason::Shutdown), (ExitReason::Kill, ExitReason::Killed)]
        {
            let journal = Journal::new();
            let notes = journal.clone();
            let (child, monitor) = process::spawn_receiver_monitor::<()>(move |inbox| {
                let notes = CleanUp(notes);
                notes.0.note("ready");
                inbox.recv();
                notes.0.note("received");
            })
            .unwrap();
            journal.wait_for(1);
            process::exit(&child, sent);
            assert_eq!(down(inbox), (monitor, seen));
            assert_eq!(journal.all(), ["ready", "cleaned up"]);
        }
    });
}

// scenario: EX-32
#[test]
fn normal_is_ignored_and_abnormal_is_not() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let child = process::spawn_receiver_link::<()>(|inbox| {
            inbox.recv();
        });
        let child = child.unwrap();
        process::exit(&child, ExitReason::Normal);
        assert!(process::is_alive(&child));
        process::exit(&child, "abnormal");
        assert_eq!(exit_event(inbox), (child.pid(), "abnormal".into()));
        assert!(!process::is_alive(&child));
        assert_eq!(inbox.try_recv(), None);
    });
}

/// The effect of a signal on its target.
#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    Nothing,
    Message(ExitReason),
    Death(ExitReason),
}

#[derive(Debug)]
enum Answer {
    Ready,
    Received(Pid, ExitReason),
    Alive,
}

#[derive(Debug)]
enum Order {
    ExitYourself(ExitReason),
    Ping,
}

/// Sends a signal to a process of the given kind and returns the effect.
fn outcome(reason: &ExitReason, to_itself: bool, trapping: bool, linked: bool) -> Outcome {
    attached(|inbox: &mut Inbox<Answer>| {
        process::trap_exit(true);
        let tester = inbox.address();
        let body = move |inbox: &mut Inbox<Order>| {
            process::trap_exit(trapping);
            tester.send(Answer::Ready);
            loop {
                match inbox.recv() {
                    Event::Message(Order::ExitYourself(reason)) => {
                        process::exit(inbox.pid(), reason);
                        inbox.address().send(Order::Ping); // behind the signal
                    }
                    Event::Message(Order::Ping) => tester.send(Answer::Alive),
                    Event::Exit { from, reason } => tester.send(Answer::Received(from, reason)),
                    Event::Down { .. } => unreachable!("it has no monitor"),
                    event => panic!("unexpected event: {event:?}"),
                }
            }
        };
        let target = if linked { process::spawn_receiver_link(body) } else { process::spawn_receiver(body) };
        let target = target.expect("a free thread");
        let monitor = process::monitor(&target);
        assert!(matches!(message(inbox), Answer::Ready));
        let sender = if to_itself {
            target.send(Order::ExitYourself(reason.clone()));
            target.pid()
        } else {
            process::exit(&target, reason.clone());
            target.send(Order::Ping);
            inbox.pid()
        };
        let (mut outcome, mut through_link) = (Outcome::Nothing, None);
        let outcome = loop {
            match inbox.recv() {
                Event::Message(Answer::Received(from, reason)) => {
                    assert_eq!(from, sender, "the sender of the signal is named");
                    assert_eq!(outcome, Outcome::Nothing, "only one message");
                    outcome = Outcome::Message(reason);
                }
                Event::Message(Answer::Alive) => break outcome,
                Event::Message(Answer::Ready) => unreachable!("it was ready before"),
                Event::Exit { reason, .. } => through_link = Some(reason),
                Event::Down { monitor: fired, reason, .. } => {
                    assert_eq!(fired, monitor);
                    assert_eq!(outcome, Outcome::Nothing, "no message before the exit");
                    break Outcome::Death(reason);
                }
                event => panic!("unexpected event: {event:?}"),
            }
        };
        if let (Outcome::Death(reason), true) = (&outcome, linked) {
            let received = through_link.unwrap_or_else(|| exit_event(inbox).1);
            assert_eq!(received, *reason, "links and monitors receive the same reason");
        } else {
            assert_eq!(through_link, None);
        }
        outcome
    })
}

#[test]
fn the_whole_table_of_exit() {
    use ExitReason::{Kill, Killed, NoProc, Normal, Shutdown, Timeout};
    use Outcome::{Death, Message, Nothing};
    let own = ExitReason::new(("compound", 1));
    let mut table = Vec::new();
    for linked in [false, true] {
        // reason, to itself, trapping, linked, outcome
        table.extend([
            (Normal, false, false, linked, Nothing),
            (Normal, false, true, linked, Message(Normal)),
            (Normal, true, false, linked, Death(Normal)),
            (Normal, true, true, linked, Message(Normal)),
        ]);
        for (to_itself, trapping) in [(false, false), (false, true), (true, false), (true, true)] {
            table.push((Kill, to_itself, trapping, linked, Death(Killed)));
            let others =
                [Killed, Shutdown, NoProc, Timeout, ExitReason::shutdown_with("detail"), own.clone()];
            for reason in others {
                let expected = if trapping { Message(reason.clone()) } else { Death(reason.clone()) };
                table.push((reason, to_itself, trapping, linked, expected));
            }
        }
    }
    assert_eq!(table.len(), 64);
    for (reason, to_itself, trapping, linked, expected) in table {
        let found = outcome(&reason, to_itself, trapping, linked);
        assert_eq!(found, expected, "{reason}, itself {to_itself}, trapping {trapping}, linked {linked}");
    }
}

#[test]
fn the_whole_table_of_links() {
    use ExitReason::{Kill, Killed, Normal, Shutdown};
    attached(|inbox: &mut Inbox<()>| {
        for reason in [Normal, Shutdown, Kill, Killed, ExitReason::new("oops")] {
            let (a, plain, trapping) =
                (ScriptedProcess::new(), ScriptedProcess::new(), ScriptedProcess::trapping());
            let pid = a.pid();
            plain.run(move || process::link(pid)).unwrap();
            trapping.run(move || process::link(pid)).unwrap();
            let (of_a, of_plain) = (process::monitor(&a), process::monitor(&plain));
            let own = reason.clone();
            a.start(move || process::exit_with(own));
            assert_eq!(trapping.wait_for_events(1), [exit(&a, reason.clone())]);
            if reason == Normal {
                assert_eq!(down(inbox), (of_a, Normal));
                assert_eq!(plain.received(), []);
                assert!(process::demonitor(of_plain));
            } else {
                let mut downs = [down(inbox), down(inbox)];
                downs.sort_by_key(|(monitor, _)| *monitor);
                assert_eq!(downs, [(of_a, reason.clone()), (of_plain, reason)]);
            }
            assert_eq!(inbox.try_recv(), None);
        }
    });
}

#[test]
fn the_first_fatal_signal_decides_the_reason() {
    attached(|inbox: &mut Inbox<()>| {
        for _ in 0..1000 {
            let (child, monitor) = process::spawn_receiver_monitor::<()>(|inbox| {
                inbox.recv();
            })
            .unwrap();
            process::exit(&child, "first");
            process::exit(&child, "second");
            process::exit(&child, ExitReason::Kill);
            assert_eq!(down(inbox), (monitor, "first".into()));
        }
    });
}

#[test]
fn signal_to_exited_process_is_ignored() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let child = process::spawn_link(|| ()).unwrap();
        assert_eq!(exit_event(inbox), (child, ExitReason::Normal));
        for reason in [ExitReason::Kill, ExitReason::Normal, "late".into()] {
            process::exit(child, reason);
        }
        assert_eq!(inbox.try_recv(), None);
    });
}

#[test]
fn a_signal_to_oneself_cannot_be_caught() {
    for reason in [ExitReason::new("stop now"), ExitReason::Normal, ExitReason::Shutdown] {
        let sent = reason.clone();
        let journal = Journal::new();
        let notes = journal.clone();
        let exit_reason = exit_reason_of(move |inbox: &mut Inbox<()>| {
            let me = inbox.pid();
            let caught = process::attempt(|| process::exit(me, sent)).result();
            notes.note(format!("went on with {caught:?}"));
        });
        assert_eq!(exit_reason, reason);
        assert_eq!(journal.all(), [""; 0]);
    }
}

#[test]
fn every_way_to_end_has_its_reason() {
    let ways: [(fn(), &str); 6] = [
        (|| (), "normal"),
        (|| process::exit_with(ExitReason::Normal), "normal"),
        (|| process::exit_with(ExitReason::Kill), "kill"),
        (|| process::exit_with(ExitReason::shutdown_with(3)), "shutdown(3)"),
        (|| process::throw(7_u8), "nocatch(a thrown value)"),
        (|| process::exit_with(String::from("my own")), "my own"),
    ];
    attached(|inbox: &mut Inbox<()>| {
        for (way, expected) in ways {
            let (_, monitor) = process::spawn_monitor(way).unwrap();
            let (fired, reason) = down(inbox);
            assert_eq!((fired, reason.to_string().as_str()), (monitor, expected));
        }
        let (_, monitor) = process::spawn_monitor(|| panic!("with {}", "text")).unwrap();
        let line = line!() - 1;
        let (fired, reason) = down(inbox);
        assert_eq!(fired, monitor);
        let ExitReason::Panic(report) = &reason else { panic!("a panic was due, not {reason}") };
        assert_eq!(report.message(), "with text");
        assert_eq!(report.location().map(|place| place.line), Some(line));
        assert!(reason.to_string().ends_with(&format!("{}:{line}: with text", file!())), "{reason}");
    });
}

#[test]
fn every_parked_call_reacts_to_a_signal_at_once() {
    type Call = fn(&mut Inbox<()>);
    let parked: [(&str, Call); 10] = [
        ("recv", |inbox| drop(inbox.recv())),
        ("recv_timeout", |inbox| drop(inbox.recv_timeout(Duration::MAX))),
        ("recv_where", |inbox| drop(inbox.recv_where(|_| false))),
        ("recv_where_timeout", |inbox| drop(inbox.recv_where_timeout(Duration::from_secs(3600), |_| false))),
        ("sleep", |_| process::sleep(Duration::MAX)),
        ("watch", |_| drop(process::watch(sleeper()).wait())),
        ("watch with a limit", |_| drop(process::watch(sleeper()).wait_timeout(Duration::from_secs(3600)))),
        ("whereis_timeout", |_| {
            let _ = process::whereis_timeout(unique("never held"), Duration::MAX);
        }),
        ("events", |_| {
            let mut events = observer::events();
            loop {
                events.recv();
            }
        }),
        ("checkpoints", |_| {
            loop {
                process::checkpoint();
            }
        }),
    ];
    attached(|inbox: &mut Inbox<()>| {
        for (call, park) in parked {
            let (child, monitor) = process::spawn_receiver_monitor::<()>(park).unwrap();
            if call != "checkpoints" {
                support::eventually("it is parked", || {
                    process::info(&child).is_some_and(|info| info.state == process::ProcessState::Waiting)
                });
            }
            process::exit(&child, "up");
            assert_eq!(down(inbox), (monitor, "up".into()), "{call}");
            // A thread that had not been woken would be a zombie after its exit timeout.
            assert!(
                process::zombies().iter().all(|zombie| zombie.pid != child.pid()),
                "{call} was not woken"
            );
        }
    });
}
