//! The statements of the chapter that introduces fault tolerance, one test for each, in its order: errors,
//! links, traps, monitors, supervisors, linked structures, restart frequency.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::support::child::{self, Child, child_pid, ids, kill, states, up};
use crate::support::{
    self, Gate, Idle, Journal, attached, down, exit_event, exit_reason_of, sleeper, unique, watchdog,
};
use parking_lot::Mutex;
use rethread::StartError;
use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::process::{Caught, Event, Inbox, attempt};
use rethread::supervisor::{Shutdown, Supervise, SupervisorSpec};

/// Starts a plain process that panics on request.
fn fragile() -> process::Address<()> {
    process::spawn_receiver(|inbox| {
        inbox.recv();
        panic!("something went wrong")
    })
    .expect("a free thread")
}

/// Makes the process panic and waits for its exit.
fn break_down(process: &process::Address<()>) -> ExitReason {
    let watch = process::watch(process);
    process.send(());
    watch.wait()
}

#[test]
fn the_crash_of_a_process_leaves_unrelated_processes_and_their_memory_alone() {
    let _watchdog = watchdog();
    let other = Child::new("other", &Journal::new());
    let memory = Arc::new(Mutex::new(vec![1, 2, 3]));
    let server = other.spec().start().unwrap();
    let breaking = fragile();
    assert!(
        matches!(break_down(&breaking), ExitReason::Panic(report) if report.message() == "something went wrong")
    );
    let seen = Arc::clone(&memory);
    other.run_and_wait(move || seen.lock().push(4));
    assert_eq!(*memory.lock(), [1, 2, 3, 4]);
    assert_eq!(server.whereis(), Some(other.pid()));
    server.stop().unwrap();
}

#[test]
fn exit_of_parent_does_not_end_unlinked_child() {
    let _watchdog = watchdog();
    let (own_child, go) = (Arc::new(Mutex::new(None)), Gate::new());
    let (slot, wait) = (Arc::clone(&own_child), go.clone());
    let parent = process::spawn(move || {
        *slot.lock() = Some(sleeper());
        wait.pass();
        panic!("the parent crashes");
    });
    let watch = process::watch(parent.unwrap());
    go.open();
    assert!(matches!(watch.wait(), ExitReason::Panic(_)));
    let child = own_child.lock().take().unwrap();
    assert!(process::is_alive(&child));
    kill(child.pid(), ExitReason::Kill);
}

#[test]
fn errors_are_caught_by_class_and_value() {
    attached(|_: &mut Inbox<()>| {
        let class = |raise: fn() -> &'static str| match attempt(raise).result() {
            Ok(value) => format!("value {value}"),
            Err(Caught::Error(report)) => format!("error {}", report.message()),
            Err(Caught::Exit(reason)) => format!("exit {reason}"),
            Err(Caught::Throw(ball)) => format!("throw {}", ball.downcast_ref::<&str>().unwrap()),
            Err(other) => other.resume(),
        };
        assert_eq!(class(|| "fine"), "value fine");
        assert_eq!(class(|| panic!("oops")), "error oops");
        assert_eq!(class(|| process::exit_with("I'm done")), "exit I'm done");
        assert_eq!(class(|| process::throw("a value")), "throw a value");
    });
}

#[test]
fn uncaught_class_continues_to_the_next_attempt() {
    attached(|_: &mut Inbox<()>| {
        let outer = attempt(|| {
            attempt(|| -> i32 { process::throw(1_u8) }).catch_throw(|text: &str| text.len() as i32) // another type of value
        });
        assert_eq!(outer.catch_throw(|number: u8| i32::from(number)), 1);
        let outer = attempt(|| attempt(|| -> i32 { process::exit_with("out") }).rescue(|_| 0));
        assert_eq!(outer.catch_exit(|_| 7), 7);
    });
}

#[test]
fn the_after_part_always_runs_and_does_not_change_the_result() {
    attached(|_: &mut Inbox<()>| {
        let journal = Journal::new();
        let note = |what: &'static str| {
            let journal = journal.clone();
            move || journal.note(what)
        };
        assert_eq!(attempt(|| 1).after(note("after success")).rescue(|_| 0), 1);
        assert_eq!(attempt(|| panic!("x")).after(note("after panic")).rescue(|_| 2), 2);
        let uncaught = attempt(|| {
            attempt(|| -> i32 { process::throw(3_i32) }).after(note("after uncaught")).rescue(|_| 0)
        });
        assert_eq!(uncaught.catch_throw(|ball: i32| ball), 3);
        assert_eq!(journal.all(), ["after success", "after panic", "after uncaught"]);
    });
}

#[test]
fn linked_process_exits_with_the_same_reason() {
    let reason = exit_reason_of(|inbox: &mut Inbox<()>| {
        let other = fragile();
        process::link(&other).unwrap();
        other.send(());
        inbox.recv();
    });
    assert!(matches!(&reason, ExitReason::Panic(report) if report.message() == "something went wrong"));
}

#[test]
fn a_link_works_both_ways() {
    let _watchdog = watchdog();
    for first_dies in [true, false] {
        let (first, second) = (linker(), sleeper());
        first.send(second.pid());
        support::eventually("they are linked", || {
            process::info(&second).is_some_and(|info| info.links == [first.pid()])
        });
        assert_eq!(process::info(&first).unwrap().links, [second.pid()]);
        let (exiting, other) =
            if first_dies { (first.pid(), second.pid()) } else { (second.pid(), first.pid()) };
        let watch = process::watch(other);
        process::exit(exiting, "crash");
        assert_eq!(watch.wait(), "crash".into());
    }
}

/// Starts a process that links itself to each pid it receives.
fn linker() -> process::Address<Pid> {
    process::spawn_receiver(|inbox| {
        while let Event::Message(pid) = inbox.recv() {
            let _ = process::link(pid);
        }
    })
    .expect("a free thread")
}

#[test]
fn there_is_at_most_one_link_between_two_processes() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let other = fragile();
        for _ in 0..3 {
            process::link(&other).unwrap();
        }
        assert_eq!(process::info(&other).unwrap().links, [inbox.pid()]);
        let reason = break_down(&other);
        assert_eq!(exit_event(inbox), (other.pid(), reason));
        assert_eq!(inbox.try_recv(), None, "one link, one message");
        // And one unlink removes it.
        let another = fragile();
        process::link(&another).unwrap();
        process::link(&another).unwrap();
        process::unlink(&another);
        break_down(&another);
        assert_eq!(inbox.try_recv(), None);
    });
}

#[test]
fn a_process_can_be_linked_to_many_and_all_of_a_connected_structure_end() {
    let _watchdog = watchdog();
    let linkers: Vec<_> = (0..5).map(|_| linker()).collect();
    let end = sleeper();
    // A chain: each linked to the next.
    let next = linkers.iter().skip(1).map(process::Address::pid).chain([end.pid()]);
    let watches: Vec<_> = linkers.iter().map(process::watch).collect();
    for (linker, next) in linkers.iter().zip(next) {
        linker.send(next);
        support::eventually("it is linked", || {
            process::info(linker).is_some_and(|info| info.links.contains(&next))
        });
    }
    kill(end.pid(), "crash");
    assert!(watches.iter().all(|watch| watch.wait() == "crash".into()));
}

#[test]
fn a_normal_end_does_not_take_linked_processes_down() {
    attached(|inbox: &mut Inbox<()>| {
        let child = process::spawn_link(|| ()).unwrap();
        process::watch(child).wait();
        process::checkpoint();
        assert_eq!(inbox.try_recv(), None);
    });
}

#[test]
fn a_trapped_exit_arrives_as_a_message_with_pid_and_reason() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let child = process::spawn_link(|| panic!("something went wrong")).unwrap();
        let (from, reason) = exit_event(inbox);
        assert_eq!(from, child);
        let ExitReason::Panic(report) = reason else { panic!("not {reason}") };
        assert_eq!(report.message(), "something went wrong");
        assert_eq!(report.location().unwrap().file, file!(), "where it happened comes along");
        // Normal exits arrive too.
        let child = process::spawn_link(|| ()).unwrap();
        assert_eq!(exit_event(inbox), (child, ExitReason::Normal));
    });
}

#[test]
fn a_monitor_is_one_way_and_its_message_has_reference_pid_and_reason() {
    attached(|inbox: &mut Inbox<()>| {
        let target = fragile();
        let monitor = process::monitor(&target);
        let reason = break_down(&target);
        let pid = target.pid();
        let expected = Event::Down { monitor, target: process::MonitorTarget::Pid(pid), reason };
        assert_eq!(inbox.recv(), expected);
    });
    // In the opposite direction nothing happens.
    let _watchdog = watchdog();
    let target = sleeper();
    let watched = target.pid();
    let (set, leave) = (Gate::new(), Gate::new());
    let (ready, wait) = (set.clone(), leave.clone());
    let observer = process::spawn(move || {
        let _ = process::monitor(watched);
        ready.open();
        wait.pass();
        panic!("the observer crashes");
    });
    let observer = process::watch(observer.unwrap());
    set.pass();
    leave.open();
    assert!(matches!(observer.wait(), ExitReason::Panic(_)));
    assert!(process::is_alive(&target));
    kill(watched, ExitReason::Kill);
}

#[test]
fn a_process_can_stop_watching_by_demonitor() {
    attached(|inbox: &mut Inbox<()>| {
        let target = fragile();
        let (dropped, kept) = (process::monitor(&target), process::monitor(&target));
        assert!(process::demonitor(dropped));
        let reason = break_down(&target);
        assert_eq!(down(inbox), (kept, reason));
        assert_eq!(inbox.try_recv(), None);
    });
}

#[test]
fn a_call_notices_the_crash_of_the_server() {
    let _watchdog = watchdog();
    let server = Child::new("server", &Journal::new());
    server.spec().start().unwrap();
    let (entered, gate) = (Gate::new(), Gate::new());
    let (enter, wait) = (entered.clone(), gate.clone());
    server.run(move || {
        enter.open();
        wait.pass();
        panic!("crashed with a request waiting");
    });
    entered.pass();
    let asked = server.server();
    let result = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&result);
    let caller = process::spawn(move || *slot.lock() = Some(asked.call(child::Ask))).unwrap();
    let caller = process::watch(caller);
    gate.open();
    caller.wait();
    let error = result.lock().take().unwrap().unwrap_err();
    match error {
        CallError::Exited { reason: ExitReason::Panic(report), .. } => {
            assert_eq!(report.message(), "crashed with a request waiting");
        }
        CallError::NoProc { .. } => {} // the call came after the exit
        other => panic!("{other}"),
    }
    let afterwards = server.server().call(child::Ask);
    assert!(matches!(afterwards, Err(CallError::NoProc { .. })), "{afterwards:?}");
}

#[test]
fn one_for_one_restarts_only_the_child_that_exited() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let [a, b] = ["a", "b"].map(|id| Child::new(id, &journal));
    let supervisor = up(Supervisor::one_for_one().child(a.spec()).child(b.spec()));
    let before = (a.pid(), b.pid());
    a.crash();
    assert_ne!(child_pid(&supervisor, "a"), before.0);
    assert_eq!(child_pid(&supervisor, "b"), before.1);
    supervisor.stop().unwrap();
}

#[test]
fn a_restarted_child_has_a_new_pid_and_is_found_under_the_same_name() {
    let _watchdog = watchdog();
    let name: ServerRef<child::Actor> = ServerRef::named(unique("todo cache"));
    let cache = Child::new("cache", &Journal::new());
    let system = Supervisor::start_link([cache.spec().name(name.clone())], Strategy::OneForOne).unwrap();
    let first = name.whereis().unwrap();
    cache.kill();
    let second = cache.await_start(2);
    assert_ne!(first, second);
    assert_eq!(name.whereis(), Some(second));
    assert_eq!(name.call(child::Ask), Ok(()));
    system.stop().unwrap();
}

#[test]
fn a_child_spec_can_be_written_by_hand() {
    let _watchdog = watchdog();
    let cache = Child::new("cache", &Journal::new());
    let start = cache.clone();
    let by_hand = ChildSpec::new("by hand", move || {
        let server = start.spec().start_link()?;
        server.whereis().ok_or(StartError::Failed(ExitReason::NoProc))
    });
    let system = Supervisor::start_link([by_hand], Strategy::OneForOne).unwrap();
    assert_eq!(ids(&system), ["by hand"]);
    cache.crash();
    assert_eq!(child_pid(&system, "by hand"), cache.await_start(2));
    system.stop().unwrap();
}

#[test]
fn the_default_child_spec_has_the_type_as_id_and_is_restarted_always() {
    let spec: ChildSpec = Idle::child_spec(()).into();
    assert_eq!((spec.options().id.as_str(), spec.options().restart), ("Idle", Restart::Permanent));
    assert_eq!(spec.options().shutdown_or_default(), Shutdown::Timeout(Duration::from_secs(5)));
}

/// A small version of the book's system: a cache that starts a database that starts three workers, and one
/// server per list. All are linked, and all but the lists are named.
#[derive(Clone)]
struct Names {
    cache: &'static str,
    database: &'static str,
    workers: [&'static str; 3],
}

impl Names {
    fn new() -> Self {
        Self {
            cache: unique("cache"),
            database: unique("database"),
            workers: [(); 3].map(|()| unique("worker")),
        }
    }

    fn all(&self) -> impl Iterator<Item = &'static str> {
        [self.cache, self.database].into_iter().chain(self.workers)
    }

    fn cache(&self) -> ServerRef<Cache> {
        ServerRef::named(self.cache)
    }

    /// Returns all running processes: the named ones, and the servers of these lists.
    fn family(&self, lists: &[&'static str]) -> Vec<Pid> {
        let mut family: Vec<Pid> = self.all().filter_map(process::whereis).collect();
        let cache = self.cache();
        family.extend(lists.iter().map(|list| cache.call(|from| GetList(list, from)).expect("it answers")));
        family
    }
}

struct Cache {
    lists: HashMap<&'static str, Pid>,
}

struct GetList(&'static str, Caller<Pid>);

impl GenServer for Cache {
    type Args = Names;
    type Call = GetList;
    type Cast = Infallible;

    fn init(names: Names, _: &mut Context<Self>) -> Result<Self, InitError> {
        let database = ServerRef::named(names.database);
        Database::child_spec(names).name(database).start_link()?;
        Ok(Self { lists: HashMap::new() })
    }
    fn handle_call(&mut self, GetList(list, from): GetList, _: &mut Context<Self>) -> Next {
        let pid = *self.lists.entry(list).or_insert_with(|| {
            Idle::start_link(()).or_exit().whereis().expect("a pinned reference has a pid")
        });
        from.reply(pid)
    }
}

struct Database;

impl GenServer for Database {
    type Args = Names;
    type Call = Infallible;
    type Cast = Infallible;

    fn init(names: Names, _: &mut Context<Self>) -> Result<Self, InitError> {
        for worker in names.workers {
            Idle::child_spec(()).name(ServerRef::named(worker)).start_link()?;
        }
        Ok(Self)
    }
    fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next {
        match call {}
    }
}

/// The wrapped form: a module with a function that starts the supervisor.
mod system {
    use super::{Cache, Names};
    use rethread::StartError;
    use rethread::prelude::*;

    pub(crate) fn start_link(names: &Names) -> Result<SupervisorRef, StartError> {
        Supervisor::start_link([cache(names)], Strategy::OneForOne)
    }

    pub(crate) fn cache(names: &Names) -> ChildSpec {
        Cache::child_spec(names.clone()).name(names.cache()).into()
    }
}

/// The callback form.
struct System;

impl Supervise for System {
    type Args = Names;
    type Spec = SupervisorSpec;

    fn init(names: Names) -> Result<SupervisorSpec, InitError> {
        Ok(Supervisor::one_for_one().child(system::cache(&names)))
    }
}

#[test]
fn a_supervisor_can_be_wrapped_in_a_module_or_be_one() {
    let _watchdog = watchdog();
    type Start = fn(&Names) -> Result<SupervisorRef, StartError>;
    let starts: [Start; 2] = [system::start_link, |names| System::start_link(names.clone())];
    for start in starts {
        let names = Names::new();
        let system = start(&names).unwrap();
        let (first, watch) = (names.cache().whereis().unwrap(), names.cache().watch());
        process::exit(first, ExitReason::Kill);
        watch.wait();
        assert_ne!(child_pid(&system, "Cache"), first);
        names.cache().call(|from| GetList("bob", from)).unwrap();
        system.stop().unwrap();
        assert_eq!(names.cache().whereis(), None);
    }
}

#[test]
fn when_all_are_linked_one_error_restarts_the_whole_structure_and_leaks_no_process() {
    let _watchdog = watchdog();
    let lists = ["alice", "bob"];
    // Each process in turn: the cache, the database, a worker, a list.
    for victim in 0..7 {
        let names = Names::new();
        let system = system::start_link(&names).unwrap();
        let before = names.family(&lists);
        assert_eq!(before.len(), 7);
        let watches: Vec<_> = before.iter().map(|pid| process::watch(*pid)).collect();
        process::exit(before[victim], if victim % 2 == 0 { ExitReason::Kill } else { "crash".into() });
        watches.iter().for_each(|watch| drop(watch.wait()));
        assert_eq!(states(&system), [("Cache".into(), "running")]);
        let after = names.family(&lists);
        assert_eq!(after.len(), 7, "victim {victim}");
        assert!(before.iter().all(|pid| !after.contains(pid) && !process::is_alive(*pid)));
        let watches: Vec<_> = after.iter().map(|pid| process::watch(*pid)).collect();
        system.stop().unwrap();
        watches.iter().for_each(|watch| drop(watch.wait()));
        assert!(names.all().all(|name| process::whereis(name).is_none()));
        assert!(after.iter().all(|pid| process::info(*pid).is_none()), "nothing is left");
    }
}

#[test]
fn more_than_three_restarts_in_five_seconds_end_the_supervisor_and_its_linked_starter() {
    let cache = Child::new("cache", &Journal::new());
    let reason = exit_reason_of(|inbox: &mut Inbox<()>| {
        Supervisor::start_link([cache.spec()], Strategy::OneForOne).unwrap();
        for round in 1..=3 {
            cache.kill();
            cache.await_start(round + 1);
        }
        assert_eq!(inbox.try_recv(), None, "three restarts are within the budget");
        cache.kill();
        inbox.recv();
    });
    assert_eq!((reason, cache.starts()), (ExitReason::Shutdown, 4));
}

#[test]
fn max_restarts_and_its_period_change_that() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let minute = Duration::from_secs(60);
    let more = Child::new("more", &journal);
    let system = up(Supervisor::one_for_one().max_restarts(10, minute).child(more.spec()));
    for round in 1..=10 {
        more.kill();
        more.await_start(round + 1);
    }
    let watch = system.watch();
    more.kill();
    assert_eq!((watch.wait(), more.starts()), (ExitReason::Shutdown, 11));
    // A shorter period forgets sooner.
    let shorter = Child::new("shorter", &journal);
    let period = Duration::from_millis(50);
    let system = up(Supervisor::one_for_one().max_restarts(1, period).child(shorter.spec()));
    for round in 1..=4 {
        shorter.kill();
        assert_eq!(child_pid(&system, "shorter"), shorter.await_start(round + 1));
        process::sleep(period + Duration::from_millis(10)); // the statement is about this pause
    }
    system.stop().unwrap();
}
