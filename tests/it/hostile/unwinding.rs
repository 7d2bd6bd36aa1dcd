//! Misuse of unwinding: payloads that are swallowed, kept or resumed elsewhere, threads inside of a
//! process, destructors that use the runtime at every moment, and what ends the whole program.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use crate::support::child::{Child, kill, states, up};
use crate::support::child_program::in_failing_child_program;
use crate::support::scripted_server::{self, Plan, ScriptedCalls, start_server};
use crate::support::{Gate, Journal, attached, down, eventually, exit_reason_of, unique, watchdog};
use parking_lot::Mutex;
use rethread::StartError;
use rethread::agent::Agent;
use rethread::prelude::*;
use rethread::process::{self, Address, Builder, Event, Inbox, attempt};

const MINUTE: Duration = Duration::from_secs(60);

type Payload = Box<dyn Any + Send>;

/// Stands for user code that catches every panic.
#[expect(clippy::disallowed_methods, reason = "plays user code that catches what it should not")]
fn swallow<T>(body: impl FnOnce() -> T) -> Result<T, Payload> {
    std::panic::catch_unwind(AssertUnwindSafe(body))
}

/// Stands for user code that resumes a payload caught elsewhere, like thread pools.
#[expect(clippy::disallowed_methods, reason = "plays user code that resumes what it should not")]
fn resume(payload: Payload) -> ! {
    std::panic::resume_unwind(payload)
}

fn is_zombie(pid: Pid) -> bool {
    process::zombies().iter().any(|zombie| zombie.pid == pid)
}

#[test]
fn process_that_swallows_all_exit_signals_becomes_zombie() {
    attached(|inbox: &mut Inbox<()>| {
        type Unresponsive = fn(&mut Inbox<()>);
        let ways: [Unresponsive; 3] = [
            |_| drop(swallow(process::checkpoint)),
            |inbox| drop(swallow(|| inbox.recv())),
            |_| drop(swallow(|| process::exit_with("own"))),
        ];
        for unresponsive in ways {
            for reason in [ExitReason::Kill, "requested".into()] {
                let (begun, enough) = (Gate::new(), Arc::new(AtomicBool::new(false)));
                let (begins, stop) = (begun.clone(), Arc::clone(&enough));
                let times = Builder::new().kill_grace(Duration::ZERO).exit_timeout(Duration::from_millis(20));
                let (child, monitor) = times
                    .spawn_receiver_monitor::<()>(move |inbox| {
                        begins.open();
                        while !stop.load(Ordering::Relaxed) {
                            unresponsive(inbox);
                        }
                    })
                    .unwrap();
                begun.pass();
                process::exit(&child, reason.clone());
                let reason = if reason == ExitReason::Kill { ExitReason::Killed } else { reason };
                let (fired, received) = down(inbox);
                // A process that exits repeatedly by itself may be faster than the signal.
                assert!(fired == monitor && (received == reason || received == "own".into()), "{received}");
                assert!(is_zombie(child.pid()));
                enough.store(true, Ordering::Relaxed);
                eventually("it is reaped", || !is_zombie(child.pid()));
            }
        }
    });
}

/// Returns the payload that unwinds a process on an exit signal, caught by the process itself.
fn stolen_payload() -> Payload {
    let (tx, payload) = channel();
    let begun = Gate::new();
    let opens = begun.clone();
    let victim = process::spawn_receiver::<()>(move |inbox| {
        opens.open();
        let Err(payload) = swallow(|| inbox.recv()) else { return };
        tx.send(payload).expect("the test receives");
        inbox.recv(); // unwinds once more
        unreachable!("a second signal is not needed");
    });
    let victim = victim.expect("a free thread").pid();
    begun.pass();
    assert_eq!(kill(victim, "requested"), "requested".into());
    payload.recv().expect("it was caught")
}

/// Returns `true` if the message reports a payload resumed in the wrong place.
fn misplaced(reason: &ExitReason) -> bool {
    matches!(reason, ExitReason::Panic(report) if report.message().contains("resumed"))
}

#[test]
fn the_exit_signal_of_another_process_resumed_here_is_a_panic() {
    let _watchdog = watchdog();
    let payload = stolen_payload();
    let reason = exit_reason_of(|_: &mut Inbox<()>| resume(payload));
    assert!(misplaced(&reason), "{reason}");
    // Unlike the process's own, it can be caught.
    let payload = stolen_payload();
    let caught = process::attach_receiver(|_: &mut Inbox<()>| {
        attempt(|| resume(payload)).rescue(|report| report.message().len())
    });
    assert!(caught.is_ok_and(|length| length > 0));
    // On a foreign thread it unwinds like any panic.
    let payload = stolen_payload();
    let foreign = thread::Builder::new().spawn(move || resume(payload)).unwrap();
    assert!(foreign.join().is_err());
}

#[test]
fn a_server_that_resumes_the_exit_signal_of_another_terminates_and_is_no_normal_end() {
    let _watchdog = watchdog();
    let payload = stolen_payload();
    let journal = Journal::new();
    let notes = journal.clone();
    let server = Plan::new(&Journal::new()).terminate(move |_| notes.note("terminate")).start();
    let end = server.watch();
    server.cast_with(move |_, _| resume(payload));
    let reason = end.wait();
    assert!(misplaced(&reason), "{reason}");
    assert_eq!(journal.all(), ["terminate"]);
}

#[test]
fn start_that_resumes_the_exit_of_another_fails_and_the_supervisor_continues() {
    let _watchdog = watchdog();
    let supervisor = up(Supervisor::one_for_one().child(Child::new("a", &Journal::new()).spec()));
    let payload = Mutex::new(Some(stolen_payload()));
    let refused = supervisor.start_child(ChildSpec::new("b", move || match payload.lock().take() {
        Some(payload) => resume(payload),
        None => Err(StartError::Ignored),
    }));
    assert!(matches!(&refused, Err(StartError::Failed(reason)) if misplaced(reason)), "{refused:?}");
    assert_eq!(states(&supervisor), [("a".into(), "running")]);
    supervisor.stop().unwrap();
}

#[test]
fn an_exit_or_a_throw_resumed_elsewhere_means_there_what_it_meant_here() {
    let _watchdog = watchdog();
    let stolen = |raise: fn()| {
        let (tx, payload) = channel();
        process::spawn(move || tx.send(swallow(raise).expect_err("it raises")).expect("the test receives"))
            .unwrap();
        payload.recv().unwrap()
    };
    let payload = stolen(|| process::exit_with("mine"));
    assert_eq!(exit_reason_of(|_: &mut Inbox<()>| resume(payload)), "mine".into());
    let payload = stolen(|| process::throw(7_u8));
    let caught =
        process::attach_receiver(|_: &mut Inbox<()>| attempt(|| resume(payload)).catch_throw(|n: u8| n));
    assert_eq!(caught.ok(), Some(7));
    let payload = stolen(|| panic!("theirs"));
    let reason = exit_reason_of(|_: &mut Inbox<()>| resume(payload));
    assert!(matches!(&reason, ExitReason::Panic(report) if report.message() == "theirs"), "{reason}");
}

/// Starts a process with scoped threads that run until a flag is set; `hook` selects whether its exit hook
/// sets it.
fn with_a_scope(
    ready: Sender<()>,
    enough: Arc<AtomicBool>,
    hooked: bool,
) -> impl FnOnce(&mut Inbox<()>) + Send {
    move |inbox| {
        let stop = Arc::clone(&enough);
        let hook = move || stop.store(true, Ordering::SeqCst);
        let _hook = hooked.then(|| process::on_exit_request(hook));
        let inside = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    assert_eq!(process::current(), None, "they are foreign threads");
                    if inside.fetch_add(1, Ordering::SeqCst) == 2 {
                        ready.send(()).expect("the test receives");
                    }
                    while !enough.load(Ordering::SeqCst) {
                        std::hint::spin_loop();
                    }
                });
            }
        });
        inbox.recv();
    }
}

#[test]
fn a_process_killed_in_a_scope_of_threads_ends_when_these_do() {
    attached(|inbox: &mut Inbox<()>| {
        for hooked in [true, false] {
            let (tx, ready) = channel();
            let enough = Arc::new(AtomicBool::new(false));
            let grace = if hooked { MINUTE } else { Duration::from_millis(20) };
            let builder = Builder::new().kill_grace(grace);
            let (child, monitor) =
                builder.spawn_receiver_monitor(with_a_scope(tx, Arc::clone(&enough), hooked)).unwrap();
            ready.recv().unwrap();
            process::exit(&child, ExitReason::Kill);
            assert_eq!(down(inbox), (monitor, ExitReason::Killed));
            assert_eq!(is_zombie(child.pid()), !hooked, "std waits for the threads, in any case");
            enough.store(true, Ordering::SeqCst);
            eventually("its thread ends", || !is_zombie(child.pid()));
        }
    });
}

#[test]
fn a_process_killed_while_it_joins_a_thread_ends_when_that_does() {
    attached(|inbox: &mut Inbox<()>| {
        for hooked in [true, false] {
            let (begun, gate) = (Gate::new(), Gate::new());
            let (begins, held) = (begun.clone(), gate.clone());
            let grace = if hooked { MINUTE } else { Duration::from_millis(20) };
            let builder = Builder::new().kill_grace(grace);
            let (child, monitor) = builder
                .spawn_receiver_monitor::<()>(move |inbox| {
                    let opens = held.clone();
                    let _hook = hooked.then(|| process::on_exit_request(move || opens.open()));
                    let foreign = thread::Builder::new().spawn(move || held.pass()).expect("a free thread");
                    begins.open();
                    foreign.join().expect("it does not panic");
                    inbox.recv();
                })
                .unwrap();
            begun.pass();
            process::exit(&child, ExitReason::Kill);
            assert_eq!(down(inbox), (monitor, ExitReason::Killed));
            assert_eq!(is_zombie(child.pid()), !hooked);
            gate.open();
            eventually("its thread ends", || !is_zombie(child.pid()));
        }
    });
}

/// Uses every operation of the runtime when it is dropped, and reports that it finished.
struct Asks {
    done: Sender<()>,
    to: Address<u32>,
    server: ServerRef<scripted_server::ScriptedServer>,
}

impl Drop for Asks {
    fn drop(&mut self) {
        self.to.send(1);
        let _ = process::send_after(Duration::ZERO, &self.to, 2);
        let _ = process::spawn(|| ()).map(|child| process::exit(child, ExitReason::Kill));
        let _ = process::link(self.server.whereis().expect("it is running"));
        let _ = self.server.call_with_timeout(Duration::from_millis(100), |_, from, _| from.reply(1));
        self.server.cast_with(|_, _| Next::wait());
        let _ = task::spawn(|| 1).map(|task| task.join());
        let _ = Agent::start(|| 1).map(|agent| agent.stop());
        let _ = Supervisor::one_for_one().start().map(|supervisor| supervisor.stop());
        let name = unique("asked by a destructor");
        let _ = process::current().map(|me| process::register(name, me));
        let _ = process::unregister(name);
        let _ = (process::whereis(name), process::processes(), process::zombies(), process::exit_requested());
        let _ = process::attach_receiver(|_: &mut Inbox<()>| ());
        let _ = attempt(|| 1).result();
        process::sleep(Duration::from_millis(1));
        process::checkpoint();
        self.done.send(()).expect("the test receives");
    }
}

#[test]
fn destructors_may_ask_anything_whenever_they_run() {
    type End = fn(&mut Inbox<Asks>);
    let waits: End = |inbox| drop(inbox.recv_where(|_| false));
    let ends: [(End, Option<ExitReason>); 6] = [
        (|_| (), None),
        (|_| panic!("own"), None),
        (|_| process::exit_with("own"), None),
        (|_| process::throw("own"), None),
        (waits, Some("requested".into())),
        (waits, Some(ExitReason::Kill)),
    ];
    attached(|inbox: &mut Inbox<u32>| {
        process::trap_exit(true);
        let (to, server) = (inbox.address(), start_server());
        let (tx, done) = channel();
        let asks = || Asks { done: tx.clone(), to: to.clone(), server: server.clone() };
        let times = || Builder::new().kill_grace(MINUTE).exit_timeout(MINUTE);
        for (end, signal) in ends {
            // One that it holds, one captured by its body, and two in its mailbox.
            let (held, captured, ready) = (asks(), asks(), Gate::new());
            let begins = ready.clone();
            let body = move |inbox: &mut Inbox<Asks>| {
                let _held = held;
                let _captured = &captured;
                begins.pass();
                end(inbox);
            };
            let (child, monitor) = times().spawn_receiver_monitor(body).unwrap();
            child.send(asks());
            child.send(asks());
            ready.open();
            if let Some(signal) = signal {
                process::exit(&child, signal);
            }
            let down = inbox.recv_where(|event| matches!(event, Event::Down { .. }));
            assert!(matches!(down, Event::Down { monitor: fired, .. } if fired == monitor), "{down:?}");
            (0..4).for_each(|_| {
                done.try_recv().expect("its destructors have run before any watcher is notified")
            });
            assert!(!is_zombie(child.pid()));
        }
        // One in a server's state.
        for signal in [ExitReason::Kill, "requested".into()] {
            let held = Mutex::new(Some(asks()));
            let server = Plan::new(&Journal::new()).on_drop(move || drop(held.lock().take()));
            let server = server.spec().process(process::Builder::new().kill_grace(MINUTE)).start().unwrap();
            kill(server.whereis().unwrap(), signal);
            done.try_recv().expect("the same");
        }
        // And one that is never received: the mailbox is closed.
        let exited = process::spawn_receiver::<Asks>(|_| ()).unwrap();
        process::watch(&exited).wait();
        exited.send(asks());
        done.try_recv().expect("it is dropped by the sender");
    });
}

#[test]
fn a_destructor_that_panics_while_an_exit_signal_unwinds_ends_the_program() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("the destructor of a bomb");
        }
    }
    let (status, printed) = in_failing_child_program(|| {
        let begun = Gate::new();
        let begins = begun.clone();
        let armed = process::spawn_receiver::<()>(move |inbox| {
            let _bomb = Bomb;
            begins.open();
            inbox.recv();
        });
        begun.pass();
        kill(armed.unwrap().pid(), ExitReason::Kill);
    });
    assert!(!status.success() && status.code().is_none_or(|code| code != 101), "{status}: {printed}");
    for part in [concat!(file!(), ":"), "the destructor of a bomb", "panic in a destructor during cleanup"] {
        assert!(printed.contains(part), "{part:?} is missing: {printed}");
    }
    // Values dropped by the runtime itself are dropped after the unwinding, where a panic does no harm.
    let _watchdog = watchdog();
    let held =
        process::spawn_receiver::<Bomb>(|inbox| std::mem::forget(inbox.recv_where(|_| false))).unwrap();
    held.send(Bomb);
    assert_eq!(kill(held.pid(), ExitReason::Kill), ExitReason::Killed);
}

#[test]
fn a_stack_overflow_ends_the_program() {
    #[expect(unconditional_recursion, reason = "that is the point")]
    fn deeper(n: u64) -> u64 {
        std::hint::black_box(deeper(n + 1)) + n
    }
    let (status, printed) = in_failing_child_program(|| {
        process::watch(process::spawn(|| _ = deeper(0)).unwrap()).wait();
    });
    assert!(!status.success(), "{status}");
    assert!(printed.contains("has overflowed its stack"), "{printed}");
}
