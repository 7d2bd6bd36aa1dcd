//! Partitions: several copies of one server, found by number and key. Scenarios AG-08 to AG-12.

use std::collections::HashSet;
use std::time::Duration;

use crate::support::{Journal, attached, eventually, unique, watchdog};
use rethread::StartError;
use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::process::{self, Inbox, NameError};
use rethread::supervisor::{ChildState, SpecError};
use rethread::supervisor::{DynamicSupervisor, PartitionRef, PartitionSupervisor, PartitionSupervisorSpec};

/// A server that knows its partition number.
struct Part(usize);

impl GenServer for Part {
    type Args = usize;
    type Call = Caller<(usize, Pid)>;
    type Cast = ();

    fn init(index: usize, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self(index))
    }
    fn handle_call(&mut self, from: Self::Call, cx: &mut Context<Self>) -> Next {
        from.reply((self.0, cx.pid()))
    }
    fn handle_cast(&mut self, (): (), _: &mut Context<Self>) -> Next {
        Next::wait()
    }
}

fn parts(stem: &str) -> PartitionRef<Part> {
    PartitionRef::named(unique(stem))
}

fn plan(name: PartitionRef<Part>) -> PartitionSupervisorSpec<Part> {
    PartitionSupervisor::child_spec(name, Part::child_spec)
}

/// Returns the index of the partition that answers.
fn index(part: &ServerRef<Part>) -> usize {
    part.call(|from| from).expect("the partition runs").0
}

// scenario: AG-08
#[test]
fn as_many_partitions_as_the_machine_runs_threads() {
    attached(|_: &mut Inbox<()>| {
        let name = parts("ag_08");
        let supervisor = plan(name).start_link().unwrap();
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        assert_eq!(name.partitions(), Some(count));
        let children = supervisor.which_children().unwrap();
        let ids: Vec<String> = children.iter().map(|child| child.id.to_string()).collect();
        assert_eq!(ids, (0..count).map(|index| index.to_string()).collect::<Vec<_>>());
        for (n, child) in children.iter().enumerate() {
            assert_eq!(child.pid(), name.partition(n).whereis());
            assert_eq!(index(&name.partition(n)), n);
        }
        assert_eq!(supervisor.count_children().unwrap().workers, count);
        supervisor.stop().unwrap();
    });
}

// scenario: AG-09
#[test]
fn numbers_go_round_and_keys_are_spread() {
    attached(|_: &mut Inbox<()>| {
        let name = parts("ag_09");
        let supervisor = plan(name).partitions(3).start_link().unwrap();
        assert_eq!([0, 1, 2, 3, 4].map(|number| index(&name.partition(number))), [0, 1, 2, 0, 1]);
        // The largest numbers: 2^n is 1 modulo 3 for the even n, the widths of `usize`, and 2 for the odd ones.
        assert_eq!(index(&name.partition(usize::MAX / 2)), 1); // 2^(n - 1) - 1
        assert_eq!(index(&name.partition(usize::MAX / 2 + 1)), 2); // 2^(n - 1)
        assert_eq!(index(&name.partition(usize::MAX)), 0); // 2^n - 1
        let by = |key: &str| index(&name.for_key(key));
        let keys: Vec<String> = (0..200).map(|n| format!("key {n}")).collect();
        let first: Vec<usize> = keys.iter().map(|key| by(key)).collect();
        assert_eq!(first, keys.iter().map(|key| by(key)).collect::<Vec<_>>());
        for part in 0..3 {
            assert!(first.iter().filter(|found| **found == part).count() > 30, "{first:?}");
        }
        // Keys are compared by value, not by type.
        assert!(keys.iter().all(|key| by(key) == index(&name.for_key(key))));
        supervisor.stop().unwrap();
    });
}

// scenario: AG-10
#[test]
fn stop_leaves_no_partition() {
    attached(|_: &mut Inbox<()>| {
        let name = parts("ag_10");
        for _ in 0..100 {
            let supervisor = plan(name).partitions(4).start_link().unwrap();
            let all: HashSet<Pid> = (0..4).map(|n| name.partition(n).whereis().unwrap()).collect();
            assert_eq!(all.len(), 4);
            supervisor.stop().unwrap();
            assert!(!all.into_iter().any(process::is_alive));
            assert_eq!((name.partitions(), name.partition(0).whereis()), (None, None));
            assert_eq!(name.supervisor().whereis(), None);
        }
    });
}

// scenario: AG-12
#[test]
fn no_partitions_are_refused() {
    attached(|_: &mut Inbox<()>| {
        let name = parts("ag_12");
        let none = || plan(name).partitions(0);
        let error = StartError::BadSpec(SpecError::NoPartitions);
        assert_eq!(none().start_link().unwrap_err(), error);
        assert_eq!(none().start().unwrap_err(), error);
        assert_eq!(error.to_string(), "there must be at least one partition");
        let system = Supervisor::one_for_one().start_link().unwrap();
        assert_eq!(system.start_child(none()), Err(error));
        assert_eq!(name.supervisor().whereis(), None);
        let no_time = plan(name).max_restarts(3, Duration::ZERO).start();
        assert_eq!(no_time.unwrap_err(), StartError::BadSpec(SpecError::ZeroPeriod));
        system.stop().unwrap();
    });
}

#[test]
fn an_unknown_name_is_no_process() {
    let _watchdog = watchdog();
    let name = parts("unknown");
    let no_proc = |server: &ServerRef<Part>| CallError::NoProc { server: server.to_string().into() };
    for part in [name.partition(7), name.for_key("key")] {
        assert_eq!(part.call(|from| from), Err(no_proc(&part)));
        part.cast(());
        assert_eq!(part.whereis(), None);
        assert_eq!(part.whereis_timeout(Duration::from_millis(5)), None);
    }
    assert!(name.partition(7).to_string().ends_with("[7]"), "{}", name.partition(7));
    assert_eq!(name.partitions(), None);
}

#[test]
fn a_partition_that_is_restarted_keeps_its_place() {
    attached(|_: &mut Inbox<()>| {
        let name = parts("place");
        let plan = plan(name).partitions(3).max_restarts(1000, Duration::from_secs(60));
        let supervisor = plan.start_link().unwrap();
        let mut all = [0, 1, 2].map(|n| name.partition(n).whereis().unwrap());
        for round in 0..200 {
            let at = round % 3;
            let watch = process::watch(all[at]);
            let reason = if round % 2 == 0 { ExitReason::Kill } else { "crash".into() };
            process::exit(all[at], reason);
            watch.wait();
            let next = name.partition(at).whereis_timeout(Duration::from_secs(30)).expect("it is restarted");
            assert_ne!(next, all[at]);
            all[at] = next;
            assert_eq!(
                [0, 1, 2].map(|n| name.partition(n).whereis().unwrap()),
                all,
                "the others are untouched"
            );
            assert_eq!(index(&name.partition(at)), at);
        }
        let children = supervisor.which_children().unwrap();
        assert_eq!(
            children.iter().map(|child| child.state).collect::<Vec<_>>(),
            all.map(ChildState::Running)
        );
        supervisor.stop().unwrap();
    });
}

#[test]
fn partition_supervisor_is_a_child_and_is_restarted_itself() {
    attached(|_: &mut Inbox<()>| {
        let (first, second) = (parts("first"), parts("second"));
        // Their ids are their names, so two can run side by side.
        let system = Supervisor::one_for_one()
            .max_restarts(100, Duration::from_secs(60))
            .child(plan(first).partitions(2))
            .child(plan(second).partitions(5))
            .start_link()
            .unwrap();
        for _ in 0..20 {
            let (supervisor, part) =
                (first.supervisor().whereis().unwrap(), first.partition(1).whereis().unwrap());
            let watch = process::watch(part);
            process::exit(supervisor, ExitReason::Kill);
            watch.wait(); // it is linked to its supervisor
            let next =
                first.partition(1).whereis_timeout(Duration::from_secs(30)).expect("it is started again");
            assert_ne!(next, part);
            assert_eq!((first.partitions(), second.partitions()), (Some(2), Some(5)));
            eventually("the other partition, too", || first.partition(0).whereis().is_some());
            assert_eq!([0, 1].map(|n| index(&first.partition(n))), [0, 1]);
        }
        assert_eq!(index(&second.partition(4)), 4);
        system.stop().unwrap();
    });
}

#[test]
fn too_many_restarts_end_all() {
    attached(|_: &mut Inbox<()>| {
        process::trap_exit(true);
        let name = parts("too many");
        let supervisor = plan(name).partitions(3).max_restarts(1, Duration::from_secs(60)).start().unwrap();
        let (watch, first) = (supervisor.watch(), name.partition(2).whereis().unwrap());
        process::exit(name.partition(0).whereis().unwrap(), ExitReason::Kill);
        assert!(name.partition(0).whereis_timeout(Duration::from_secs(30)).is_some());
        process::exit(name.partition(1).whereis().unwrap(), ExitReason::Kill);
        assert_eq!(watch.wait(), ExitReason::Shutdown);
        assert!(!process::is_alive(first));
        assert_eq!(name.partitions(), None);
    });
}

#[test]
fn name_is_for_one_supervisor_and_a_route_is_refused() {
    attached(|_: &mut Inbox<()>| {
        let name = parts("taken");
        let supervisor = plan(name).partitions(2).start_link().unwrap();
        let pid = supervisor.whereis().unwrap();
        assert_eq!(plan(name).partitions(3).start().unwrap_err(), StartError::AlreadyStarted(pid));
        assert_eq!(name.partitions(), Some(2));
        let refused = Part::child_spec(7).name(name.partition(7)).start().unwrap_err();
        assert!(matches!(refused, StartError::Name(NameError::Unsupported(_))), "{refused}");
        // The same name for another type of server reaches these, and the error says so.
        let other: PartitionRef<Supervisor> = PartitionRef::named(name.to_string().leak());
        assert!(matches!(other.partition(0).count_children(), Err(CallError::WrongType { .. })));
        supervisor.stop().unwrap();
    });
}

#[test]
fn each_partition_gets_its_own_spec_at_each_start() {
    attached(|_: &mut Inbox<()>| {
        process::trap_exit(true);
        let (name, journal) = (parts("spec"), Journal::new());
        let notes = journal.clone();
        let plan = PartitionSupervisor::child_spec(name, move |index| {
            notes.note(format!("spec of {index}"));
            // Neither of these two counts.
            let spec = Part::child_spec(index).id("another").name(ServerRef::named("another"));
            if index == 1 { spec.label("the second") } else { spec }
        });
        let system = Supervisor::start_link([plan.partitions(2)], Strategy::OneForOne).unwrap();
        assert_eq!(journal.all(), ["spec of 0", "spec of 1"]);
        let label = |n| process::info(name.partition(n).whereis().unwrap()).unwrap().label.unwrap();
        assert_eq!(*label(0), format!("{name}[0]"));
        assert_eq!(&*label(1), "the second");
        process::exit(name.supervisor().whereis().unwrap(), ExitReason::Kill);
        assert_eq!(journal.wait_for(4)[2..], ["spec of 0", "spec of 1"]);
        system.stop().unwrap();
        // One that panics is a failed start.
        let broken = PartitionSupervisor::child_spec(name, |index| match index {
            1 => panic!("no spec"),
            _ => Part::child_spec(index),
        });
        let Err(StartError::Failed(ExitReason::Panic(report))) = broken.partitions(2).start() else {
            panic!("a panic was expected")
        };
        assert_eq!(report.message(), "no spec");
        assert_eq!((name.partitions(), name.partition(0).whereis()), (None, None));
    });
}

#[test]
fn a_name_in_the_process_options_of_a_partition_is_not_used() {
    attached(|_: &mut Inbox<()>| {
        let (name, unused) = (parts("options"), unique("unused"));
        let options = process::Builder::new().name(unused).stack_size(512 * 1024);
        let plan = PartitionSupervisor::child_spec(name, move |index| {
            Part::child_spec(index).process(options.clone())
        });
        let supervisor = plan.partitions(2).start_link().unwrap();
        assert_eq!([0, 1].map(|n| index(&name.partition(n))), [0, 1]);
        assert_eq!(process::whereis(unused), None);
        supervisor.stop().unwrap();
    });
}

#[test]
fn partitions_may_be_supervisors() {
    attached(|_: &mut Inbox<()>| {
        let pools: PartitionRef<DynamicSupervisor> = PartitionRef::named(unique("pools"));
        let spec = |_| DynamicSupervisor::child_spec();
        let supervisor = PartitionSupervisor::child_spec(pools, spec).partitions(3).start_link().unwrap();
        for n in 0..9 {
            let part = pools.partition(n).start_server(Part::child_spec(n)).unwrap();
            assert_eq!(index(&part), n);
        }
        assert_eq!([0, 1, 2].map(|n| pools.partition(n).count_children().unwrap().active), [3; 3]);
        assert_eq!(supervisor.count_children().unwrap().supervisors, 3);
        supervisor.stop().unwrap();
    });
}
