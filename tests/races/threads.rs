//! Threads that park, are woken, and are reused.

use rethread::ExitReason::{Kill, NoProc, Normal};
use rethread::process::{self, Event};

use crate::harness::{drained, end_of, one_of, race};

#[test]
fn wakeup_is_never_lost() {
    race("park, wake").run(|inbox| {
        let myself = inbox.pid();
        let echo = process::spawn_receiver::<u64>(move |inbox| {
            let back = process::Address::<u64>::from_pid(myself).expect("it is running");
            while let Event::Message(number) = inbox.recv() {
                back.send(number);
                if number == 0 {
                    return;
                }
            }
        });
        let echo = echo.expect("a thread");
        for number in [2, 1, 0] {
            echo.send(number);
            assert_eq!(inbox.recv(), Event::Message(number));
        }
        end_of(&echo);
        assert_eq!(drained(inbox), []);
    });
}

#[test]
fn wakeup_of_several_senders_is_never_lost() {
    race("park, wake, wake").run(|inbox| {
        let myself = inbox.pid();
        let senders = [1, 2, 3].map(|number| {
            let sender = process::spawn(move || {
                let to = process::Address::<u64>::from_pid(myself).expect("it is running");
                to.send(number);
                to.send(number + 10);
            });
            sender.expect("a thread")
        });
        let mut received: Vec<u64> =
            (0..6).map(|_| inbox.recv().into_message().expect("a message")).collect();
        for number in [1, 2, 3] {
            let at = |wanted: u64| received.iter().position(|number| *number == wanted);
            assert!(at(number) < at(number + 10), "{received:?}");
        }
        received.sort_unstable();
        assert_eq!(received, [1, 2, 3, 11, 12, 13]);
        senders.iter().for_each(|sender| drop(end_of(sender)));
    });
}

#[test]
fn late_signal_does_not_reach_the_next_process_of_a_thread() {
    race("late signal, next life").run(|_| {
        let first = process::spawn_receiver::<u64>(|_| ()).expect("a thread");
        let late = first.clone();
        let hitter = process::spawn(move || {
            late.send(1);
            process::exit(&late, Kill);
            late.send(2);
        });
        end_of(&first);
        let second = process::spawn_receiver::<u64>(|inbox| assert_eq!(inbox.recv(), Event::Message(7)))
            .expect("a thread");
        let watch = process::watch(&second);
        first.send(3);
        process::exit(&first, Kill);
        second.send(7);
        let reason = watch.wait();
        assert!(one_of(&reason, [Normal, NoProc]), "{reason}");
        end_of(hitter.expect("a thread"));
    });
}

#[test]
fn retiring_thread_gets_no_job() {
    race("thread leaves, birth").impatient().run(|_| {
        // More at once than are kept idle, so that some exit while others start.
        for _ in 0..2 {
            let all = [(); 5]
                .map(|()| process::spawn_receiver::<u64>(|inbox| drop(inbox.recv())).expect("a thread"));
            for process in &all {
                let watch = process::watch(process);
                process.send(1);
                assert_eq!(watch.wait(), Normal);
            }
        }
    });
}
