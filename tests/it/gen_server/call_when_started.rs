//! Calls that wait until the server is started, or restarted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Gate, Journal, attached, down, eventually, unique, watchdog};
use rethread::agent::{Agent, AgentRef};
use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::process::{NameError, ProcessState, Via};
use rethread::registry::Registry;
use rethread::supervisor::{PartitionRef, PartitionSupervisor};

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(20);

/// Notes what it handles, and waits at its gate when it exits.
struct Noting {
    journal: Journal,
    exit_gate: Option<Gate>,
}

enum Ask {
    Me(Caller<Pid>),
    Crash(Caller<()>),
    Never(Caller<()>),
}

impl GenServer for Noting {
    type Args = (Journal, Option<Gate>);
    type Call = Ask;
    type Cast = Infallible;

    fn init((journal, exit_gate): Self::Args, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self { journal, exit_gate })
    }

    fn handle_call(&mut self, ask: Ask, cx: &mut Context<Self>) -> Next {
        match ask {
            Ask::Me(from) => {
                self.journal.note("me");
                from.reply(cx.pid())
            }
            Ask::Crash(from) => {
                self.journal.note("crash");
                drop(from);
                panic!("asked to")
            }
            Ask::Never(from) => {
                std::mem::forget(from);
                Next::wait()
            }
        }
    }
}

impl Drop for Noting {
    fn drop(&mut self) {
        if let Some(gate) = self.exit_gate.take() {
            self.journal.note("exiting");
            gate.pass();
        }
    }
}

fn spec(journal: &Journal) -> rethread::gen_server::ServerSpec<Noting> {
    Noting::child_spec((journal.clone(), None))
}

/// Kills the server behind a handle, and calls it in the same breath: the reply comes from the next process.
#[track_caller]
fn assert_next_one_replies(server: &ServerRef<Noting>) {
    for _ in 0..20 {
        let former = server.call_when_started(Ask::Me).expect("it replies");
        process::exit(former, ExitReason::Kill);
        let next = server.call_when_started(Ask::Me).expect("the next one replies");
        assert_ne!(next, former);
    }
}

#[test]
fn call_when_started_reaches_the_next_process_by_name_key_and_partition() {
    static ROOMS: Registry<&'static str> = Registry::new();
    let _watchdog = watchdog();
    let journal = Journal::new();
    let named = ServerRef::named(unique("started.name"));
    let keyed = ROOMS.server::<Noting>("lobby");
    let parts = PartitionRef::<Noting>::named(unique("started.parts"));
    let partitions = PartitionSupervisor::child_spec(parts, {
        let journal = journal.clone();
        move |_| spec(&journal)
    });
    let system = Supervisor::one_for_one()
        .max_restarts(1000, Duration::from_secs(1))
        .child(spec(&journal).name(named.clone()))
        .child(spec(&journal).id("keyed").name(keyed.clone()))
        .child(partitions.partitions(3).max_restarts(1000, Duration::from_secs(1)))
        .start()
        .unwrap();
    assert_next_one_replies(&named);
    assert_next_one_replies(&keyed);
    assert_next_one_replies(&parts.partition(1));
    assert_next_one_replies(&parts.for_key("peter"));
    // The supervisor of the partitions is waited for, too.
    process::exit(parts.supervisor().whereis().unwrap(), ExitReason::Kill);
    parts.partition(2).call_when_started(Ask::Me).unwrap();
    system.stop().unwrap();
}

#[test]
fn agent_is_waited_for_too() {
    let _watchdog = watchdog();
    let visitors = AgentRef::<u64>::named(unique("started.agent"));
    let system =
        Supervisor::one_for_one().child(Agent::child_spec(|| 7).name(visitors.clone())).start().unwrap();
    process::exit(visitors.whereis().unwrap(), ExitReason::Kill);
    assert_eq!(visitors.get_and_update_when_started(LONG, |n| *n), Ok(7));
    system.stop().unwrap();
    let result = visitors.get_and_update_when_started(SHORT, |n| *n);
    assert!(matches!(result, Err(CallError::NoProc { .. })), "{result:?}");
}

#[test]
fn first_start_is_waited_for() {
    attached(|_: &mut Inbox<()>| {
        let (journal, name) = (Journal::new(), ServerRef::named(unique("started.first")));
        let caller = {
            let name = name.clone();
            task::spawn(move || name.call_when_started(Ask::Me)).unwrap()
        };
        let pid = caller.pid();
        eventually("the caller waits for the name", || {
            process::info(pid).is_some_and(|info| info.state == ProcessState::Waiting)
        });
        let server = spec(&journal).name(name).start().unwrap();
        assert_eq!(caller.join().unwrap(), Ok(server.whereis().unwrap()));
        server.stop().unwrap();
    });
}

#[test]
fn time_limit_is_one_for_both_waits() {
    let _watchdog = watchdog();
    let (journal, name) = (Journal::new(), ServerRef::<Noting>::named(unique("started.limit")));
    let began = Instant::now();
    let missing = name.call_when_started_timeout(SHORT, |from: Caller<()>| -> Ask {
        drop(from);
        unreachable!("no process takes the request")
    });
    assert!(matches!(missing, Err(CallError::NoProc { .. })), "{missing:?}");
    assert!(began.elapsed() >= SHORT);
    let server = spec(&journal).name(name.clone()).start().unwrap();
    let late = name.call_when_started_timeout(SHORT, Ask::Never);
    assert!(matches!(late, Err(CallError::Timeout { after: SHORT, .. })), "{late:?}");
    server.stop().unwrap();
}

#[test]
fn request_that_was_delivered_is_not_sent_again() {
    let _watchdog = watchdog();
    let (journal, name) = (Journal::new(), ServerRef::named(unique("started.once")));
    let system = Supervisor::one_for_one().child(spec(&journal).name(name.clone())).start().unwrap();
    let crashed = name.call_when_started(Ask::Crash);
    assert!(matches!(crashed, Err(CallError::Exited { reason: ExitReason::Panic(_), .. })), "{crashed:?}");
    name.call_when_started(Ask::Me).unwrap();
    assert_eq!(journal.all(), ["crash", "me"]);
    system.stop().unwrap();
}

#[test]
fn process_that_is_exiting_is_waited_for_and_the_request_is_made_once() {
    attached(|_: &mut Inbox<()>| {
        let (journal, gate) = (Journal::new(), Gate::new());
        let name = ServerRef::named(unique("started.exiting"));
        let first = Noting::child_spec((journal.clone(), Some(gate.clone()))).name(name.clone());
        let former = first.start().unwrap().whereis().unwrap();
        process::exit(former, ExitReason::Shutdown);
        journal.wait_for(1);
        let made = Arc::new(AtomicUsize::new(0));
        let caller = {
            let (name, made) = (name.clone(), Arc::clone(&made));
            task::spawn(move || {
                name.call_when_started_timeout(LONG, |from| {
                    made.fetch_add(1, Ordering::SeqCst);
                    Ask::Me(from)
                })
            })
        };
        let next = {
            let (journal, name) = (journal.clone(), name.clone());
            task::spawn(move || spec(&journal).name(name).start().unwrap())
        };
        gate.open();
        let server = next.unwrap().join().unwrap();
        let replied = caller.unwrap().join().unwrap();
        assert_eq!((replied, made.load(Ordering::SeqCst)), (Ok(server.whereis().unwrap()), 1));
        assert_eq!(journal.all(), ["exiting", "me"]);
        server.stop().unwrap();
    });
}

#[test]
fn exit_signal_interrupts_the_wait() {
    attached(|inbox: &mut Inbox<()>| {
        let name = ServerRef::<Noting>::named(unique("started.signal"));
        let (waiting, monitor) = process::spawn_monitor(move || {
            let _ = name.call_when_started_timeout(Duration::MAX, Ask::Me);
            unreachable!("the server is never started")
        })
        .unwrap();
        eventually("it waits for the name", || {
            process::info(waiting).is_some_and(|info| info.state == ProcessState::Waiting)
        });
        process::exit(waiting, ExitReason::Shutdown);
        assert_eq!(down(inbox), (monitor, ExitReason::Shutdown));
    });
}

#[test]
fn handle_by_process_does_not_wait() {
    let _watchdog = watchdog();
    let server = spec(&Journal::new()).start().unwrap();
    assert_eq!(server.call_when_started(Ask::Me), Ok(server.whereis().unwrap()));
    server.stop().unwrap();
    for handle in [server.clone(), ServerRef::from_pid(server.whereis().unwrap())] {
        let gone = handle.call_when_started_timeout(Duration::MAX, Ask::Me);
        assert!(matches!(gone, Err(CallError::NoProc { .. })), "{gone:?}");
    }
}

#[test]
fn table_that_lists_an_exited_process_is_not_asked_again_and_again() {
    #[derive(Debug)]
    struct Stale(Pid, Arc<AtomicUsize>);
    impl Via for Stale {
        fn whereis(&self) -> Option<Pid> {
            self.1.fetch_add(1, Ordering::SeqCst);
            Some(self.0)
        }
        fn register(&self, _: Pid) -> Result<(), NameError> {
            Ok(())
        }
        fn unregister(&self, _: Pid) {}
    }
    let _watchdog = watchdog();
    let exited = process::spawn(|| ()).unwrap();
    process::watch(exited).wait();
    let asked = Arc::new(AtomicUsize::new(0));
    let server = ServerRef::<Noting>::via(Stale(exited, Arc::clone(&asked)));
    let result = server.call_when_started_timeout(Duration::MAX, Ask::Me);
    assert!(matches!(result, Err(CallError::NoProc { .. })), "{result:?}");
    assert!(asked.load(Ordering::SeqCst) < 10, "{asked:?}");
}
