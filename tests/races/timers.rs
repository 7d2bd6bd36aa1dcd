//! Timers that fire while they are cancelled.

use std::time::Duration;

use rethread::process::{self, Event};

use crate::harness::{drained, end_of, race};

const SOON: Duration = Duration::from_micros(5);

#[test]
fn a_timer_fires_once_or_was_cancelled() {
    race("timer, cancel").impatient().run(|inbox| {
        let timer = process::send_after(SOON, inbox.address(), 1);
        let cancelled = process::cancel_timer(timer).is_some();
        if cancelled {
            // Timers fire in the order of their deadlines: a message of the cancelled one would arrive first.
            process::send_after(SOON * 4, inbox.address(), 2);
            assert_eq!(inbox.recv(), Event::Message(2));
            assert_eq!(drained(inbox), []);
        } else {
            assert_eq!(inbox.recv(), Event::Message(1));
        }
        assert_eq!(process::cancel_timer(timer), None);
        assert_eq!(drained(inbox), []);
    });
}

#[test]
fn a_timer_that_is_cancelled_twice_is_cancelled_once() {
    race("timer, cancel, cancel").impatient().run(|inbox| {
        let timer = process::send_after(SOON, inbox.address(), 100);
        let address = inbox.address();
        let other = process::spawn(move || address.send(process::cancel_timer(timer).is_some().into()));
        let mine = u64::from(process::cancel_timer(timer).is_some());
        let message = |event: &Event<u64>| matches!(event, Event::Message(0 | 1));
        let theirs = inbox.recv_where(message).into_message().expect("a message");
        assert!(mine + theirs <= 1);
        if mine + theirs == 0 {
            assert_eq!(inbox.recv(), Event::Message(100));
        }
        end_of(other.expect("a thread"));
        assert_eq!(drained(inbox), []);
    });
}

#[test]
fn earlier_timer_wakes_the_timer_thread() {
    race("timer, earlier timer").run(|inbox| {
        let late = process::send_after(Duration::from_secs(60), inbox.address(), 2);
        process::send_after(Duration::from_millis(1), inbox.address(), 1);
        assert_eq!(inbox.recv(), Event::Message(1));
        assert!(process::cancel_timer(late).is_some(), "the timer thread slept until the next timer");
    });
}
