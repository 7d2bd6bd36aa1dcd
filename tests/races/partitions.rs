//! Partition supervisors that start and stop while their partitions are called by number and key.

use rethread::StartError;
use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::supervisor::SpecError;
use rethread::supervisor::{PartitionRef, PartitionSupervisor};

use crate::harness::{LONG, drained, end_of, race};

/// Knows its index, and the number of partitions.
struct Partition {
    index: usize,
    of: usize,
}

impl GenServer for Partition {
    type Args = (usize, usize);
    type Call = Caller<(usize, usize)>;
    type Cast = Infallible;

    fn init((index, of): (usize, usize), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self { index, of })
    }

    fn handle_call(&mut self, from: Caller<(usize, usize)>, _: &mut Context<Self>) -> Next {
        from.reply((self.index, self.of))
    }
}

type Parts = PartitionRef<Partition>;

fn start(parts: Parts, of: usize) -> Result<SupervisorRef, StartError> {
    PartitionSupervisor::child_spec(parts, move |index| Partition::child_spec((index, of)))
        .partitions(of)
        .start()
}

/// Calls the partition of this number, and checks that its index is the number modulo the count.
fn call(parts: Parts, number: usize) {
    match parts.partition(number).call(|from| from) {
        Ok((index, of)) => assert_eq!(index, number % of, "a wrong one of {of}"),
        Err(CallError::NoProc { .. } | CallError::Exited { .. }) => {}
        Err(other) => panic!("{other}"),
    }
}

/// Checks that all have exited.
fn are_gone(parts: Parts) {
    assert_eq!(parts.partitions(), None);
    assert_eq!(parts.partition(0).whereis(), None);
}

fn calling(parts: Parts) -> process::Watch {
    let client = process::spawn(move || {
        call(parts, 5);
        call(parts, 5);
    });
    process::watch(client.expect("a thread"))
}

#[test]
fn call_during_start_and_stop_returns_a_reply_or_an_error() {
    const PARTS: Parts = Parts::named("races.parts.1");
    race("partitions: start, call, stop").run(|inbox| {
        let client = calling(PARTS);
        let supervisor = start(PARTS, 2).expect("the name is free");
        let same = [PARTS.for_key("key"), PARTS.for_key("key")]
            .map(|part| part.call(|from| from).expect("it is running"));
        assert_eq!(same[0], same[1]);
        supervisor.stop().expect("it stops");
        are_gone(PARTS);
        assert!(!matches!(client.wait(), ExitReason::Panic(_)));
        drained(inbox);
    });
}

#[test]
fn call_during_a_kill_and_other_starts_returns_a_reply_or_an_error() {
    const PARTS: Parts = Parts::named("races.parts.2");
    race("partitions: kill, start, call").run(|inbox| {
        let first = start(PARTS, 2).expect("the name is free");
        let client = calling(PARTS);
        let pid = first.whereis().expect("it is running");
        process::exit(pid, ExitReason::Kill);
        let second = start(PARTS, 3).expect("the previous holder is exiting");
        assert_eq!(PARTS.partitions(), Some(3));
        assert!(PARTS.partition(5).call(|from| from).is_ok_and(|found| found == (2, 3)));
        end_of(pid);
        assert!(!matches!(client.wait(), ExitReason::Panic(_)));
        second.stop().expect("it stops");
        are_gone(PARTS);
        drained(inbox);
    });
}

#[test]
fn wait_for_a_partition_spans_two_supervisors() {
    const PARTS: Parts = Parts::named("races.parts.4");
    race("partitions: whereis_within, kill, start").run(|inbox| {
        let first = start(PARTS, 2).expect("the name is free");
        let client = process::spawn(|| {
            let found = PARTS.partition(1).whereis_timeout(LONG);
            assert!(found.is_some(), "there always is one, or will be");
        });
        let client = process::watch(client.expect("a thread"));
        process::exit(first.whereis().expect("it is running"), ExitReason::Kill);
        let second = start(PARTS, 3).expect("the previous holder is exiting");
        assert!(!matches!(client.wait(), ExitReason::Panic(_)));
        second.stop().expect("it stops");
        are_gone(PARTS);
        drained(inbox);
    });
}

#[test]
fn of_two_starts_one_wins() {
    const PARTS: Parts = Parts::named("races.parts.3");
    race("partitions: start, start").run(|_| {
        let other = process::spawn_receiver::<u64>(|inbox| match start(PARTS, 1) {
            Ok(supervisor) => {
                inbox.recv();
                supervisor.stop().expect("it stops");
            }
            Err(error) => assert!(matches!(error, StartError::AlreadyStarted(_)), "{error}"),
        });
        let other = other.expect("a thread");
        let watch = process::watch(&other);
        match start(PARTS, 2) {
            Ok(supervisor) => {
                assert_eq!(PARTS.partitions(), Some(2));
                supervisor.stop().expect("it stops");
            }
            Err(error) => assert!(matches!(error, StartError::AlreadyStarted(_)), "{error}"),
        }
        other.send(1);
        let reason = watch.wait();
        assert!(!matches!(reason, ExitReason::Panic(_)), "{reason}");
        are_gone(PARTS);
        assert!(matches!(start(PARTS, 0), Err(StartError::BadSpec(SpecError::NoPartitions))));
    });
}
