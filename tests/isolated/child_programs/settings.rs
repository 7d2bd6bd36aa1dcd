//! Settings that trade speed for other properties have their effect. They hold for the whole program, so
//! the test runs in a child program.

use std::collections::HashSet;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use crate::support;
use crate::support::child_program::in_child_program;
use rethread::ExitReason;
use rethread::process::{self, Event, WaitStrategy};

#[test]
fn no_thread_is_kept_if_none_is_to_be_and_messages_arrive_however_threads_wait() {
    in_child_program(body);
}

fn body() {
    let _watchdog = support::watchdog();
    process::configure(|settings| settings.max_idle_threads = 0);
    let mut seen = HashSet::new();
    for _ in 0..200 {
        let (tx, rx) = channel();
        let body = move || tx.send(thread::current().id()).expect("the test receives");
        process::watch(process::spawn(body).expect("a thread")).wait();
        assert!(seen.insert(rx.recv().expect("it sent a value")), "a thread was kept");
    }
    for waiting in [WaitStrategy::Park, WaitStrategy::Spin, WaitStrategy::Adaptive] {
        process::configure(|settings| settings.wait_strategy = waiting);
        assert_eq!(process::settings().wait_strategy, waiting);
        let echo = process::spawn_receiver::<Sender<u8>>(|inbox| {
            while let Event::Message(back) = inbox.recv() {
                back.send(1).expect("the test receives");
            }
        });
        let echo = echo.expect("a thread");
        let (back, answers) = channel();
        for _ in 0..1000 {
            echo.send(back.clone());
            assert_eq!(answers.recv(), Ok(1));
        }
        process::exit(&echo, ExitReason::Kill);
    }
}
