//! Calls that race with timeouts, exits and each other.

use std::time::Duration;

use rethread::ExitReason;
use rethread::gen_server::{CallError, StopError};
use rethread::prelude::*;

use crate::harness::{because, drained, end_of, race};

const SOON: Duration = Duration::from_micros(20);

/// Replies, or calls another server first.
struct Echo;

enum Ask {
    Back(u64, Caller<u64>),
    Through(ServerRef<Echo>, Caller<Result<u64, CallError>>),
    /// The reply comes from another process.
    Later(u64, Caller<u64>),
}

impl GenServer for Echo {
    type Args = ();
    type Call = Ask;
    type Cast = Caller<u64>;

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self)
    }

    fn handle_call(&mut self, ask: Ask, _: &mut Context<Self>) -> Next {
        match ask {
            Ask::Back(number, from) => from.reply(number),
            Ask::Through(other, from) => {
                let answer = other.call(|from| Ask::Back(7, from));
                from.reply(answer)
            }
            Ask::Later(number, from) => {
                process::spawn(move || from.reply_now(number)).expect("a thread");
                Next::wait()
            }
        }
    }

    fn handle_cast(&mut self, from: Caller<u64>, _: &mut Context<Self>) -> Next {
        from.reply(0)
    }
}

fn echo() -> ServerRef<Echo> {
    Echo::start(()).expect("it starts")
}

fn kill(server: &ServerRef<Echo>) {
    if let Some(pid) = server.whereis() {
        process::exit(pid, ExitReason::Kill);
    }
}

/// Checks that the server has exited.
fn gone(server: &ServerRef<Echo>) {
    kill(server);
    server.watch().wait();
}

#[test]
fn call_is_answered_or_fails_with_the_exit_of_the_server() {
    race("call, exit").run(|inbox| {
        let server = echo();
        let other = server.clone();
        let killer = process::spawn(move || kill(&other)).expect("a thread");
        match server.call(|from| Ask::Back(1, from)) {
            Ok(answer) => assert_eq!(answer, 1),
            Err(CallError::Exited { reason, .. }) => assert_eq!(reason, ExitReason::Killed),
            Err(CallError::NoProc { .. }) => {}
            Err(other) => panic!("{other}"),
        }
        end_of(killer);
        gone(&server);
        assert_eq!(drained(inbox), []);
    });
}

#[test]
fn late_reply_never_arrives_and_the_next_call_has_its_own() {
    race("answer, time limit, exit").impatient().run(|inbox| {
        let server = echo();
        let other = server.clone();
        let killer = process::spawn_receiver::<u64>(move |inbox| {
            inbox.recv();
            kill(&other);
        });
        let killer = killer.expect("a thread");
        killer.send(1);
        for number in 1..3 {
            match server.call_timeout(SOON, |from| Ask::Back(number, from)) {
                Ok(answer) => assert_eq!(answer, number),
                Err(CallError::Exited { reason, .. }) => assert_eq!(reason, ExitReason::Killed),
                Err(CallError::NoProc { .. } | CallError::Timeout { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        end_of(&killer);
        gone(&server);
        assert_eq!(drained(inbox), []);
    });
}

#[test]
fn reply_by_another_process_during_the_exit_of_the_server() {
    race("answer by another, exit").run(|_| {
        let server = echo();
        let other = server.clone();
        let killer = process::spawn(move || kill(&other)).expect("a thread");
        match server.call(|from| Ask::Later(5, from)) {
            Ok(answer) => assert_eq!(answer, 5),
            Err(CallError::Exited { reason, .. }) => assert_eq!(reason, ExitReason::Killed),
            Err(CallError::NoProc { .. }) => {}
            Err(other) => panic!("{other}"),
        }
        end_of(killer);
        gone(&server);
    });
}

#[test]
fn call_fails_with_the_exit_after_links_are_notified() {
    race("call, exit of a process linked with the caller").run(|inbox| {
        let server = Echo::start_link(()).expect("it starts");
        let other = server.clone();
        let killer = process::spawn(move || kill(&other)).expect("a thread");
        if server.call(|from| Ask::Back(1, from)).is_err() {
            assert_eq!(inbox.len(), 1, "the call has returned the exit and the link has not");
        }
        end_of(killer);
        gone(&server);
        assert_eq!(drained(inbox).len(), 1);
    });
}

#[test]
fn servers_that_call_each_other_get_deadlock() {
    race("call, call back").run(|_| {
        let (one, two) = (echo(), echo());
        let (first, second) = (one.clone(), two.clone());
        let client = process::spawn(move || {
            let answer = first.call(|from| Ask::Through(second, from)).expect("it is answered");
            assert!(matches!(answer, Ok(7) | Err(CallError::Deadlock { .. })), "{answer:?}");
        });
        let client = process::watch(client.expect("a thread"));
        let there = one.clone();
        let answer = two.call(|from| Ask::Through(there, from)).expect("it is answered");
        assert!(matches!(answer, Ok(7) | Err(CallError::Deadlock { .. })), "{answer:?}");
        assert!(!matches!(client.wait(), ExitReason::Panic(_)));
        gone(&one);
        gone(&two);
    });
}

#[test]
fn stop_during_an_exit() {
    race("stop, exit").run(|_| {
        let server = echo();
        let other = server.clone();
        let killer = process::spawn(move || {
            if let Some(pid) = other.whereis() {
                process::exit(pid, because("x"));
            }
        });
        match server.stop() {
            Ok(()) | Err(StopError::NoProc { .. } | StopError::Exited { .. }) => {}
            Err(other) => panic!("{other}"),
        }
        assert_eq!(server.whereis().filter(|pid| process::is_alive(*pid)), None);
        end_of(killer.expect("a thread"));
    });
}

#[test]
fn start_during_a_kill() {
    const NAME: ServerRef<Echo> = ServerRef::named("races.start");
    race("start, kill").run(|inbox| {
        let killer = process::spawn(|| {
            if let Some(pid) = NAME.whereis_timeout(Duration::from_secs(1)) {
                process::exit(pid, ExitReason::Kill);
            }
        });
        let started = Echo::child_spec(()).name(NAME).start_link();
        let events = drained(inbox);
        match started {
            Ok(_) => assert!(events.len() <= 1, "{events:?}"),
            Err(error) => assert_eq!(events, [], "{error}"),
        }
        end_of(killer.expect("a thread"));
        NAME.watch().wait();
        assert_eq!(NAME.whereis(), None);
        drained(inbox);
    });
}

#[test]
fn call_when_started_reaches_one_process_at_most() {
    race("call when started, exit, start").run(|inbox| {
        const NAME: ServerRef<Echo> = ServerRef::named("races.started");
        let first = Echo::child_spec(()).name(NAME).start().expect("it starts");
        let next = process::spawn(move || {
            let pid = first.whereis().expect("a handle of a process");
            process::exit(pid, ExitReason::Kill);
            Echo::child_spec(()).name(NAME).start().expect("the name is free");
        })
        .expect("a thread");
        let mut made = 0;
        let answer = NAME.call_when_started_timeout(Duration::MAX, |from| {
            made += 1;
            Ask::Back(1, from)
        });
        match answer {
            Ok(answer) => assert_eq!(answer, 1),
            // Delivered to the first process, which was killed before it replied.
            Err(CallError::Exited { reason, .. }) => assert_eq!(reason, ExitReason::Killed),
            Err(other) => panic!("{other}"),
        }
        assert_eq!(made, 1);
        end_of(next);
        gone(&NAME);
        drained(inbox);
    });
}
