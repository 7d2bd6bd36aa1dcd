//! The order in which messages and signals arrive. Scenarios OR-01 to OR-08, and consequences of them.

use crate::support::scripted_process::ScriptedProcess;
use crate::support::{self, Journal, attached, down, exit_event, message, sleeper, unique};
use rethread::ExitReason;
use rethread::process::{self, Address, Event, Inbox};

// scenario: OR-01
#[test]
fn nothing_sent_after_a_fatal_signal_is_handled() {
    attached(|inbox: &mut Inbox<()>| {
        let journal = Journal::new();
        for _ in 0..1000 {
            let notes = journal.clone();
            let (child, monitor) = process::spawn_receiver_monitor::<&'static str>(move |inbox| {
                loop {
                    notes.note(message(inbox));
                }
            })
            .unwrap();
            for _ in 0..3 {
                child.send("may reach");
            }
            process::exit(&child, "good");
            for _ in 0..3 {
                child.send("may not reach");
            }
            assert_eq!(down(inbox), (monitor, "good".into()));
        }
        assert!(journal.all().iter().all(|note| note == "may reach"));
    });
}

// scenario: OR-03
#[test]
fn a_message_comes_before_the_end_of_its_sender() {
    attached(|inbox: &mut Inbox<u32>| {
        process::trap_exit(true);
        for round in 0..500 {
            let parent = inbox.address();
            let child = process::spawn_receiver_link::<()>(move |inbox| {
                inbox.recv();
                parent.send(round);
                process::exit_with("said it");
            });
            let child = child.unwrap();
            let monitor = process::monitor(&child);
            child.send(());
            assert_eq!(message(inbox), round);
            let mut received = [false, false];
            for _ in 0..2 {
                match inbox.recv() {
                    Event::Exit { from, reason } => {
                        assert_eq!((from, reason), (child.pid(), "said it".into()));
                        received[0] = true;
                    }
                    Event::Down { monitor: fired, reason, .. } => {
                        assert_eq!((fired, reason), (monitor, "said it".into()));
                        received[1] = true;
                    }
                    Event::Message(other) => panic!("{other} came after the end of its sender"),
                    event => panic!("unexpected event: {event:?}"),
                }
            }
            assert_eq!(received, [true, true]);
        }
    });
}

// scenario: OR-04
#[test]
fn messages_of_one_sender_keep_their_order() {
    attached(|inbox: &mut Inbox<u32>| {
        let (sender, to) = (ScriptedProcess::new(), inbox.address());
        sender.start(move || (1..=5).for_each(|n| to.send(n)));
        assert_eq!([(); 5].map(|()| message(inbox)), [1, 2, 3, 4, 5]);
    });
}

// scenario: OR-05
#[test]
fn an_answer_comes_before_the_down_or_never() {
    attached(|inbox: &mut Inbox<&'static str>| {
        let mut answered = 0;
        for _ in 0..300 {
            let to = inbox.address();
            let (child, monitor) = process::spawn_receiver_monitor::<()>(move |inbox| {
                inbox.recv();
                to.send("got");
                inbox.recv();
            })
            .unwrap();
            child.send(());
            process::exit(&child, ExitReason::Kill);
            let mut event = inbox.recv();
            if event == Event::Message("got") {
                answered += 1;
                event = inbox.recv();
            }
            let Event::Down { monitor: fired, reason, .. } = event else { panic!("not {event:?}") };
            assert_eq!((fired, reason), (monitor, ExitReason::Killed));
            assert_eq!(inbox.try_recv(), None);
        }
        // Both outcomes are possible; which one depends on the threads.
        assert!(answered <= 300);
    });
}

// scenario: OR-07
#[test]
fn a_monitor_before_the_kill_reports_killed() {
    attached(|inbox: &mut Inbox<()>| {
        for _ in 0..1000 {
            let child = sleeper();
            let monitor = process::monitor(&child);
            process::exit(&child, ExitReason::Kill);
            assert_eq!(down(inbox), (monitor, ExitReason::Killed));
        }
    });
}

// scenario: OR-08
#[test]
fn a_link_after_the_kill_reports_noproc_and_the_name_is_free() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let name = unique("or_08");
        for _ in 0..1000 {
            let child = process::Builder::new().name(name).spawn_receiver::<()>(|inbox| {
                inbox.recv();
            });
            let child = child.unwrap();
            process::exit(&child, ExitReason::Kill);
            assert_eq!(process::link(&child), Ok(()));
            assert_eq!(exit_event(inbox), (child.pid(), ExitReason::NoProc));
            assert_eq!(process::whereis(name), None);
        }
        assert_eq!(inbox.try_recv(), None);
    });
}

#[test]
fn a_monitor_after_the_kill_reports_noproc() {
    attached(|inbox: &mut Inbox<()>| {
        for _ in 0..1000 {
            let child = sleeper();
            process::exit(&child, ExitReason::Kill);
            let monitor = process::monitor(&child);
            assert_eq!(down(inbox), (monitor, ExitReason::NoProc));
        }
    });
}

#[test]
fn trapping_process_receives_messages_and_signals_in_one_order() {
    attached(|inbox: &mut Inbox<(u32, Event<u32>)>| {
        for round in 0..200 {
            let to = inbox.address();
            let child: Address<u32> = process::spawn_receiver(move |inbox| {
                process::trap_exit(true);
                to.send((round, Event::Message(0)));
                for _ in 0..5 {
                    to.send((round, inbox.recv()));
                }
            })
            .unwrap();
            assert_eq!(message(inbox), (round, Event::Message(0)));
            child.send(1);
            process::exit(&child, "in between");
            child.send(2);
            process::exit(&child, ExitReason::Normal);
            child.send(3);
            let from = inbox.pid();
            let received = [(); 5].map(|()| message(inbox));
            let expected = [
                Event::Message(1),
                Event::Exit { from, reason: "in between".into() },
                Event::Message(2),
                Event::Exit { from, reason: ExitReason::Normal },
                Event::Message(3),
            ];
            assert_eq!(received, expected.map(|event| (round, event)));
        }
    });
}

#[test]
fn an_exit_signal_overtakes_the_backlog() {
    attached(|inbox: &mut Inbox<()>| {
        let journal = Journal::new();
        let (gate, notes) = (support::Gate::new(), journal.clone());
        let open = gate.clone();
        let (child, monitor) = process::spawn_receiver_monitor::<u32>(move |inbox| {
            open.pass();
            loop {
                notes.note(message(inbox).to_string());
            }
        })
        .unwrap();
        (0..100).for_each(|n| child.send(n));
        process::exit(&child, "now");
        gate.open();
        assert_eq!(down(inbox), (monitor, "now".into()));
        assert_eq!(journal.all(), [""; 0]);
    });
}

#[test]
fn many_senders_each_keep_their_order() {
    attached(|inbox: &mut Inbox<(usize, u32)>| {
        let senders = [(); 4].map(|()| ScriptedProcess::new());
        for (which, sender) in senders.iter().enumerate() {
            let to = inbox.address();
            sender.start(move || (0..1000).for_each(|n| to.send((which, n))));
        }
        let mut next = [0; 4];
        for _ in 0..4000 {
            let (which, n) = message(inbox);
            assert_eq!(n, next[which]);
            next[which] += 1;
        }
        assert_eq!(inbox.try_recv(), None);
    });
}

#[test]
fn messages_arrive_in_order_also_if_the_receiver_is_overrun() {
    const MANY: u32 = 50_000;
    attached(|inbox: &mut Inbox<u32>| {
        let me = inbox.address();
        let sender = process::spawn(move || (0..MANY).for_each(|n| me.send(n))).unwrap();
        process::watch(sender).wait();
        assert_eq!(inbox.len(), MANY as usize);
        for n in 0..MANY {
            assert_eq!(inbox.recv(), Event::Message(n));
        }
    });
}
