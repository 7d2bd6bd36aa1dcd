//! Supervisors under misuse: panics, wrong ids, calls at the wrong time; and children that are not servers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::child::{Begin, Child, child_pid, ids, kill, pid_of, states, up};
use crate::support::{self, Gate, Journal, attached, eventually, unique, watchdog};
use parking_lot::Mutex;
use rethread::StartError;
use rethread::gen_server::{CallError, StopError};
use rethread::prelude::*;
use rethread::process::{Builder, Event, Inbox};
use rethread::supervisor::{ChildError, FailedToStartChild, SpecError};
use rethread::supervisor::{Shutdown, Supervise, SupervisorSpec};

const MINUTE: Duration = Duration::from_secs(60);

/// Returns the failed child of a supervisor that did not start.
#[track_caller]
fn failed_child(error: StartError) -> FailedToStartChild {
    let StartError::Failed(ExitReason::ShutdownWith(detail)) = error else { panic!("not {error:?}") };
    detail.downcast_ref::<FailedToStartChild>().expect("which child it was").clone()
}

#[test]
fn a_start_function_that_raises_is_a_failed_start() {
    let _watchdog = watchdog();
    type Raise = fn() -> Pid;
    let raising: [(Raise, &str); 3] = [
        (|| panic!("boom in a start function"), "boom in a start function"),
        (|| process::exit_with("exit in a start function"), "exit in a start function"),
        (|| process::throw("ball"), "nocatch(ball)"),
    ];
    let bystander = Child::new("bystander", &Journal::new());
    let supervisor = up(Supervisor::one_for_one().max_restarts(0, MINUTE).child(bystander.spec()));
    for (raise, text) in raising {
        let child = || ChildSpec::new("a", move || Ok(raise()));
        let Err(StartError::Failed(reason)) = supervisor.start_child(child()) else { panic!("no error") };
        assert!(reason.to_string().ends_with(text), "{reason}");
        let failed = failed_child(Supervisor::one_for_one().child(child()).start().unwrap_err());
        assert_eq!((failed.id, failed.error), ("a".into(), StartError::Failed(reason)));
    }
    assert_eq!(states(&supervisor), [("bystander".into(), "running")]);
    assert_eq!(bystander.starts(), 1);
    supervisor.stop().unwrap();
}

#[test]
fn a_start_function_that_panics_at_a_restart_is_tried_again() {
    let _watchdog = watchdog();
    let attempts = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&attempts);
    let child = ChildSpec::new("a", move || {
        let attempt = count.fetch_add(1, Ordering::SeqCst) + 1;
        assert!(attempt != 2, "the second attempt fails");
        Ok(process::spawn_receiver_link::<()>(|inbox| drop(inbox.recv()))?.pid())
    });
    let supervisor = up(Supervisor::one_for_one().child(child));
    let first = child_pid(&supervisor, "a");
    kill(first, "crash");
    eventually("it runs again", || supervisor.count_children().unwrap().active == 1);
    assert_ne!(child_pid(&supervisor, "a"), first);
    assert_eq!(attempts.load(Ordering::SeqCst), 3);
    supervisor.stop().unwrap();
}

/// A supervisor module whose plan is made by a function.
struct Module;

impl Supervise for Module {
    type Args = fn() -> Result<SupervisorSpec, InitError>;
    type Spec = SupervisorSpec;

    fn init(make: Self::Args) -> Result<SupervisorSpec, InitError> {
        make()
    }
}

#[test]
fn failed_init_returns_one_error_and_sends_no_message() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let outcome = |make: fn() -> Result<SupervisorSpec, InitError>| Module::start_link(make).map(drop);
        let Err(StartError::Failed(ExitReason::Panic(report))) = outcome(|| panic!("boom in init")) else {
            panic!("a panic was due")
        };
        assert_eq!(report.message(), "boom in init");
        assert_eq!(outcome(|| process::exit_with("out")), Err(StartError::Failed("out".into())));
        assert_eq!(outcome(|| Err(InitError::Ignore)), Err(StartError::Ignored));
        assert_eq!(outcome(|| Err(InitError::Stop("no".into()))), Err(StartError::Failed("no".into())));
        assert_eq!(outcome(|| Err(InitError::Error("shh".into()))), Err(StartError::Failed("shh".into())));
        let zero = outcome(|| Ok(Supervisor::one_for_one().max_restarts(1, Duration::ZERO)));
        assert_eq!(zero, Err(StartError::BadSpec(SpecError::ZeroPeriod)));
        let failing =
            || Ok(Supervisor::one_for_one().child(ChildSpec::new("a", || Err(StartError::AlreadyPresent))));
        assert_eq!(failed_child(outcome(failing).unwrap_err()).error, StartError::AlreadyPresent);
        assert_eq!(inbox.try_recv(), None);
    });
}

#[test]
fn a_starter_that_does_not_trap_ends_with_the_reason_of_the_failed_start() {
    let ended = |make: fn() -> Result<SupervisorSpec, InitError>| {
        support::exit_reason_of(move |inbox: &mut Inbox<()>| {
            drop(Module::start_link(make));
            inbox.recv();
        })
    };
    assert_eq!(ended(|| Err(InitError::Stop("no".into()))), "no".into());
    assert!(matches!(ended(|| panic!("boom")), ExitReason::Panic(_)));
    let failing =
        || Ok(Supervisor::one_for_one().child(ChildSpec::new("a", || Err(StartError::AlreadyPresent))));
    assert!(matches!(ended(failing), ExitReason::ShutdownWith(_)));
    // But one that was refused before any start, or quietly, keeps running.
    attached(|inbox: &mut Inbox<()>| {
        let zero = Supervisor::one_for_one().max_restarts(1, Duration::ZERO);
        assert_eq!(zero.start_link().map(drop), Err(StartError::BadSpec(SpecError::ZeroPeriod)));
        assert_eq!(Module::start_link(|| Err(InitError::Ignore)).map(drop), Err(StartError::Ignored));
        let quiet = Module::start_link(|| Err(InitError::Error("shh".into()))).map(drop);
        assert_eq!(quiet, Err(StartError::Failed("shh".into())));
        assert_eq!(inbox.try_recv(), None);
    });
}

#[test]
fn unknown_ids_are_not_found() {
    let _watchdog = watchdog();
    let supervisor = up(Supervisor::one_for_one());
    for id in ["unregistered", "", "ünknöwn\0"] {
        assert_eq!(supervisor.terminate_child(id), Err(ChildError::NotFound));
        assert_eq!(supervisor.restart_child(id), Err(ChildError::NotFound));
        assert_eq!(supervisor.delete_child(id), Err(ChildError::NotFound));
        assert_eq!(supervisor.child_spec(id).map(drop), Err(ChildError::NotFound));
    }
    supervisor.stop().unwrap();
}

#[test]
fn every_call_to_an_exited_supervisor_is_an_error() {
    let _watchdog = watchdog();
    let exited = up(Supervisor::one_for_one());
    exited.stop().unwrap();
    let never = SupervisorRef::named(unique("never"));
    for gone in [exited, never] {
        let error = CallError::NoProc { server: gone.to_string().into() };
        let no_supervisor = ChildError::NoSupervisor(error.clone());
        let a = Child::new("a", &Journal::new());
        assert_eq!(gone.start_child(a.spec()), Err(StartError::NoSupervisor(error.clone())));
        assert_eq!(gone.terminate_child("a"), Err(no_supervisor.clone()));
        assert_eq!(gone.restart_child("a"), Err(no_supervisor.clone()));
        assert_eq!(gone.delete_child("a"), Err(no_supervisor.clone()));
        assert_eq!(gone.child_spec("a").map(drop), Err(no_supervisor));
        assert_eq!(gone.which_children().map(drop), Err(error.clone()));
        assert_eq!(gone.count_children().map(drop), Err(error));
        assert_eq!(gone.stop(), Err(StopError::NoProc { server: gone.to_string().into() }));
        assert_eq!(a.attempts(), 0);
    }
}

#[test]
fn pending_call_fails_with_the_exit_reason_of_the_supervisor() {
    let _watchdog = watchdog();
    let supervisor = up(Supervisor::one_for_one());
    let gate = Gate::new();
    let (hold, entered) = (gate.clone(), Gate::new());
    let enter = entered.clone();
    let asking = supervisor.clone();
    let result = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&result);
    let caller = process::spawn(move || {
        let slow = ChildSpec::new("slow", move || {
            enter.open();
            hold.pass();
            Err(StartError::Ignored)
        });
        *slot.lock() = Some(asking.start_child(slow));
    });
    let caller = process::watch(caller.unwrap());
    entered.pass();
    process::exit(pid_of(&supervisor), ExitReason::Kill);
    gate.open();
    caller.wait();
    let result = result.lock().take();
    let Some(Err(StartError::NoSupervisor(CallError::Exited { reason, .. }))) = result else {
        panic!("not {result:?}")
    };
    assert_eq!(reason, ExitReason::Killed);
}

/// Children that call their supervisor while it waits for them: refused, not a hang, however fast they are.
#[test]
fn a_child_that_calls_its_supervisor_in_its_init_is_refused() {
    let _watchdog = watchdog();
    let name: SupervisorRef = SupervisorRef::named(unique("deadlock"));
    let supervisor = up(Supervisor::one_for_one().name(name.clone()));
    let journal = Journal::new();
    for round in 0..500 {
        let (to, slot) = (name.clone(), Arc::new(Mutex::new(None)));
        let (result, another) = (Arc::clone(&slot), Child::new("another", &journal));
        let spec = another.spec();
        let spec = Mutex::new(Some(spec));
        let a = Child::new("a", &journal).starts_as(move |_| {
            let spec = spec.lock().take().expect("it starts once");
            *result.lock() = Some((to.start_child(spec), to.which_children()));
            Begin::Up
        });
        assert_eq!(supervisor.start_child(a.temporary()), Ok(a.pid()), "round {round}");
        let Some((Err(StartError::NoSupervisor(refused)), Err(CallError::Deadlock { cycle }))) =
            slot.lock().take()
        else {
            panic!("both must be refused")
        };
        assert_eq!(cycle, [a.pid(), pid_of(&supervisor)]);
        assert!(matches!(refused, CallError::Deadlock { .. }), "{refused}");
        assert_eq!(another.attempts(), 0);
        supervisor.terminate_child("a").unwrap();
    }
    supervisor.stop().unwrap();
}

#[test]
fn a_child_can_terminate_itself_through_its_supervisor() {
    let _watchdog = watchdog();
    let a = Child::new("a", &Journal::new());
    let supervisor = up(Supervisor::one_for_one().max_restarts(0, MINUTE).child(a.spec()));
    let (watch, me) = (a.server().watch(), supervisor.clone());
    a.run(move || drop(me.terminate_child("a")));
    assert_eq!(watch.wait(), ExitReason::Shutdown);
    assert_eq!(states(&supervisor), [("a".into(), "stopped")]);
    // One that traps exits waits for the answer and cannot receive the request: killed when its time is up.
    let b = Child::new("b", &Journal::new()).traps();
    let limited = b.spec().shutdown(Shutdown::Timeout(Duration::from_millis(50)));
    supervisor.start_child(limited).unwrap();
    let (watch, me) = (b.server().watch(), supervisor.clone());
    b.run(move || drop(me.terminate_child("b")));
    assert_eq!(watch.wait(), ExitReason::Killed);
    assert_eq!(states(&supervisor), [("a".into(), "stopped"), ("b".into(), "stopped")]);
    supervisor.stop().unwrap();
}

#[test]
fn a_supervisor_cannot_call_itself() {
    let _watchdog = watchdog();
    let name: SupervisorRef = SupervisorRef::named(unique("self"));
    let supervisor = up(Supervisor::one_for_one().name(name.clone()));
    let seen = Arc::new(Mutex::new(None));
    let (slot, me) = (Arc::clone(&seen), name.clone());
    let child = ChildSpec::new("a", move || {
        *slot.lock() = Some((me.which_children().map(drop), me.stop()));
        Err(StartError::Ignored)
    });
    assert_eq!(supervisor.start_child(child), Err(StartError::Ignored));
    let calling_self = CallError::CallingSelf { server: name.to_string().into() };
    assert_eq!(
        seen.lock().take(),
        Some((Err(calling_self), Err(StopError::CallingSelf { server: name.to_string().into() })))
    );
    supervisor.stop().unwrap();
}

/// A server whose state panics when it is dropped.
struct Bomb;

impl GenServer for Bomb {
    type Args = ();
    type Call = Infallible;
    type Cast = Infallible;

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self)
    }
    fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next {
        match call {}
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("boom in a destructor")
    }
}

#[test]
fn children_that_panic_while_they_end_do_not_stop_the_others_from_ending() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let a = Child::new("a", &journal).traps();
    let b = Child::new("b", &journal).traps().ends_by(|_| panic!("boom in terminate"));
    let supervisor =
        up(Supervisor::one_for_one().child(a.spec()).child(b.spec()).child(Bomb::child_spec(())));
    let of_bomb = process::watch(child_pid(&supervisor, "Bomb"));
    supervisor.stop().unwrap();
    assert_eq!(journal.all(), ["start a", "start b", "stop b", "stop a"]);
    assert_eq!(of_bomb.wait(), ExitReason::Shutdown);
}

/// A server that starts a supervisor in `init`, to limit the time of its start.
struct Host;

impl GenServer for Host {
    type Args = SupervisorSpec;
    type Call = Infallible;
    type Cast = Infallible;

    fn init(plan: SupervisorSpec, _: &mut Context<Self>) -> Result<Self, InitError> {
        plan.start_link()?;
        Ok(Self)
    }
    fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next {
        match call {}
    }
}

#[test]
fn supervisor_that_exceeds_its_start_timeout_is_killed_with_its_children() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let journal = Journal::new();
        let quick = Child::new("quick", &journal);
        let gate = Gate::new();
        let hold = gate.clone();
        let slow = ChildSpec::new("slow", move || {
            hold.pass();
            Err(StartError::Ignored)
        });
        let plan = Supervisor::one_for_one().child(quick.spec()).child(slow);
        let started = Host::child_spec(plan).start_timeout(Duration::from_secs(1)).start_link();
        assert_eq!(started.map(drop), Err(StartError::Timeout { after: Duration::from_secs(1) }));
        gate.open();
        process::watch(quick.pid()).wait();
        assert_eq!(journal.all(), ["start quick", "stop quick"]);
        assert_eq!(inbox.try_recv(), None);
    });
}

#[test]
fn a_supervisor_that_is_killed_while_it_starts_takes_along_all_it_started() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let journal = Journal::new();
        let quick = Child::new("quick", &journal);
        let slow = ChildSpec::new("slow", || {
            // Start functions run in the supervisor.
            let supervisor = process::current().expect("it runs in a process");
            process::spawn(move || process::exit(supervisor, ExitReason::Kill))?;
            process::sleep(MINUTE);
            Err(StartError::Ignored)
        });
        let started = Supervisor::one_for_one().child(quick.spec()).child(slow).start_link();
        assert_eq!(started.map(drop), Err(StartError::Failed(ExitReason::Killed)));
        process::watch(quick.pid()).wait();
        assert_eq!(journal.all(), ["start quick", "stop quick"]);
        assert_eq!(inbox.try_recv(), None);
    });
}

#[test]
fn exit_of_parent_ends_the_supervisor_that_is_starting() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let quick = Child::new("quick", &journal);
    let (entered, gate) = (Gate::new(), Gate::new());
    let (enter, hold) = (entered.clone(), gate.clone());
    let slow = ChildSpec::new("slow", move || {
        enter.open();
        hold.pass();
        Err(StartError::Ignored)
    });
    let plan = Supervisor::one_for_one().child(quick.spec()).child(slow);
    let parent = process::spawn(move || drop(plan.start_link())).unwrap();
    entered.pass();
    let of_quick = quick.server().watch();
    assert_eq!(kill(parent, "crash"), "crash".into());
    gate.open();
    assert_eq!(of_quick.wait(), ExitReason::Shutdown);
}

#[test]
fn many_threads_that_add_the_same_child_get_one_child() {
    let _watchdog = watchdog();
    let supervisor = up(Supervisor::one_for_one());
    let a = Child::new("a", &Journal::new());
    let results = Arc::new(Mutex::new(Vec::new()));
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let (to, spec, results) = (supervisor.clone(), a.permanent(), Arc::clone(&results));
            let caller = process::spawn(move || {
                let result = to.start_child(spec);
                results.lock().push(result);
            });
            process::watch(caller.unwrap())
        })
        .collect();
    callers.iter().for_each(|caller| drop(caller.wait()));
    let results = results.lock();
    assert_eq!(results.len(), 16);
    assert_eq!(results.iter().filter(|result| **result == Ok(a.pid())).count(), 1);
    let refused = results.iter().filter(|result| **result == Err(StartError::AlreadyStarted(a.pid())));
    assert_eq!((refused.count(), a.attempts()), (15, 1));
    supervisor.stop().unwrap();
}

#[test]
fn two_hundred_children_start_and_exit() {
    let _watchdog = watchdog();
    let idle = |id: usize| ChildSpec::receiver::<()>(id, |inbox| drop(inbox.recv()));
    let supervisor = up(Supervisor::one_for_all().children((0..200).map(idle)));
    let before: Vec<_> = supervisor.which_children().unwrap().iter().map(|child| child.pid()).collect();
    kill(before[100].unwrap(), "crash");
    let after: Vec<_> = supervisor.which_children().unwrap().iter().map(|child| child.pid()).collect();
    assert_eq!((after.len(), supervisor.count_children().unwrap().active), (200, 200));
    assert!(before.iter().all(|pid| !after.contains(pid)));
    supervisor.stop().unwrap();
    assert!(after.into_iter().flatten().all(|pid| !process::is_alive(pid)));
}

/// Returns an echo server: one blocking accept loop, woken by a connection of its own on an exit request.
fn echo(id: &'static str, address: &Arc<Mutex<SocketAddr>>, binds: &Journal) -> ChildSpec {
    let (address, binds) = (Arc::clone(address), binds.clone());
    ChildSpec::worker(id, move || {
        let wanted = *address.lock();
        let listener = TcpListener::bind(wanted).expect("the port is free");
        let own = listener.local_addr().expect("it has an address");
        *address.lock() = own;
        let _hook = process::on_exit_request(move || drop(TcpStream::connect(own)));
        binds.note("bound");
        loop {
            let (mut stream, _) = listener.accept().expect("a connection");
            process::checkpoint();
            let mut text = [0; 4];
            if stream.read_exact(&mut text).is_ok() {
                assert_ne!(&text, b"die!", "crash on request");
                let _ = stream.write_all(&text);
            }
        }
    })
}

#[test]
fn an_accept_loop_is_supervised_stopped_at_once_and_finds_its_port_free_when_it_is_back() {
    let _watchdog = watchdog();
    let address = Arc::new(Mutex::new(SocketAddr::from(([127, 0, 0, 1], 0))));
    let binds = Journal::new();
    let supervisor = up(Supervisor::one_for_one().child(echo("echo", &address, &binds)));
    let say = |text: &[u8; 4]| {
        let to = *address.lock();
        let mut stream = TcpStream::connect(to).expect("the port is open");
        stream.write_all(text).expect("it is sent");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    };
    binds.wait_for(1);
    let own = *address.lock();
    assert_eq!(say(b"ping"), b"ping");
    for round in 2..=5 {
        let before = child_pid(&supervisor, "echo");
        // Crash it in even rounds, terminate and restart it in odd ones.
        if round % 2 == 0 {
            let watch = process::watch(before);
            assert_eq!(say(b"die!"), b"");
            assert!(matches!(watch.wait(), ExitReason::Panic(_) | ExitReason::NoProc));
        } else {
            let watch = process::watch(before);
            supervisor.terminate_child("echo").unwrap();
            assert_eq!(watch.wait(), ExitReason::Shutdown);
            assert!(process::zombies().iter().all(|zombie| zombie.pid != before));
            supervisor.restart_child("echo").unwrap();
        }
        // The replacement listens on the same port.
        binds.wait_for(round);
        assert_eq!(*address.lock(), own, "the same port");
        assert_eq!(say(b"pong"), b"pong");
        assert_ne!(child_pid(&supervisor, "echo"), before);
    }
    supervisor.stop().unwrap();
    assert!(TcpStream::connect(own).is_err());
}

#[test]
fn a_worker_that_returns_has_ended_normally() {
    let _watchdog = watchdog();
    let runs = Journal::new();
    let note = runs.clone();
    let once = ChildSpec::worker("once", move || note.note("ran")).restart(Restart::Transient);
    let supervisor = up(Supervisor::one_for_one().child(once.clone()));
    eventually("it ended", || states(&supervisor) == [("once".into(), "stopped")]);
    assert_eq!(runs.all(), ["ran"]);
    // A permanent one is restarted until the budget is spent.
    let watch = up(Supervisor::one_for_one().child(once.restart(Restart::Permanent))).watch();
    assert!(matches!(watch.wait(), ExitReason::Shutdown | ExitReason::NoProc));
    assert_eq!(runs.all().len(), 1 + 4);
    supervisor.stop().unwrap();
}

#[test]
fn a_plain_process_with_a_name_is_supervised() {
    let _watchdog = watchdog();
    let name = unique("plain");
    let received = Journal::new();
    let note = received.clone();
    let child =
        ChildSpec::receiver_with(Builder::new().name(name), "plain", move |inbox: &mut Inbox<String>| {
            while let Event::Message(text) = inbox.recv() {
                assert_ne!(text, "crash", "crash on request");
                note.note(text);
            }
        });
    let supervisor = up(Supervisor::one_for_one().child(child));
    let to = process::Name::<String>::new(name);
    to.send("one".into()).unwrap();
    let watch = process::watch(child_pid(&supervisor, "plain"));
    to.send("crash".into()).unwrap();
    assert!(matches!(watch.wait(), ExitReason::Panic(_)));
    let after = child_pid(&supervisor, "plain");
    assert_eq!(process::whereis(name), Some(after));
    to.send("two".into()).unwrap();
    assert_eq!(received.wait_for(2), ["one", "two"]);
    supervisor.stop().unwrap();
    assert!(to.send("three".into()).is_err());
}

/// The callback form: a pool whose plan is made from its arguments at every start.
struct Pool;

impl Supervise for Pool {
    type Args = (usize, Journal);
    type Spec = SupervisorSpec;

    fn init((size, journal): Self::Args) -> Result<SupervisorSpec, InitError> {
        journal.note(format!("pool of {size}"));
        let idle = |id| ChildSpec::receiver::<()>(id, |inbox| drop(inbox.recv()));
        Ok(Supervisor::one_for_one().max_restarts(0, MINUTE).children((1..=size).map(idle)))
    }
}

#[test]
fn a_supervisor_module_restarts_with_its_arguments() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let pool: SupervisorRef = SupervisorRef::named(unique("pool"));
    let spec = Pool::child_spec((3, journal.clone())).name(pool.clone());
    let top = Supervisor::start_link([spec], Strategy::OneForOne).unwrap();
    assert_eq!(ids(&top), ["Pool"]);
    assert_eq!(top.count_children().unwrap().supervisors, 1);
    assert_eq!(ids(&pool), ["1", "2", "3"]);
    let watch = pool.watch();
    kill(child_pid(&pool, "2"), "crash");
    assert_eq!(watch.wait(), ExitReason::Shutdown);
    assert_eq!(child_pid(&top, "Pool"), pool.whereis().unwrap());
    assert_eq!(ids(&pool), ["1", "2", "3"]);
    assert_eq!(journal.all(), ["pool of 3", "pool of 3"]);
    top.stop().unwrap();
    assert_eq!(pool.whereis(), None);
}

struct Plain;

impl GenServer for Plain {
    type Args = &'static str;
    type Call = Infallible;
    type Cast = Infallible;

    fn init(_: &'static str, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self)
    }
    fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next {
        match call {}
    }
}

#[test]
fn a_list_of_specs_is_enough() {
    let _watchdog = watchdog();
    let one = Supervisor::start_link([Plain::child_spec("x")], Strategy::OneForOne).unwrap();
    assert_eq!(ids(&one), ["Plain"]);
    one.stop().unwrap();
    let mixed: [ChildSpec; 3] = [
        Plain::child_spec("x").into(),
        Supervisor::one_for_one().child(Plain::child_spec("y")).into(),
        ChildSpec::worker("loop", || process::sleep(MINUTE)),
    ];
    let mixed = Supervisor::start_link(mixed, Strategy::RestForOne).unwrap();
    assert_eq!(ids(&mixed), ["Plain", "Supervisor", "loop"]);
    assert_eq!(mixed.count_children().unwrap().active, 3);
    mixed.stop().unwrap();
    let none = Supervisor::start_link([""; 0].map(|_| Plain::child_spec("x")), Strategy::OneForAll).unwrap();
    assert_eq!(none.which_children().unwrap(), []);
    none.stop().unwrap();
}

#[test]
fn deeply_nested_supervisors_stop_as_one() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let leaf = Child::new("leaf", &journal);
    let mut plan = Supervisor::one_for_one().child(leaf.spec());
    for _ in 0..30 {
        plan = Supervisor::one_for_one().child(plan);
    }
    let top = up(plan);
    let watch = leaf.server().watch();
    top.stop().unwrap();
    assert_eq!(watch.wait(), ExitReason::Shutdown);
    assert_eq!(journal.all(), ["start leaf", "stop leaf"]);
}
