//! Log sinks that panic, query the runtime, or block. A program has one logger, so each test runs in a
//! child program.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::child::{self, Begin, Child, kill, states, up};
use crate::support::child_program::{child_command, in_child_program};
use crate::support::{Gate, Journal, attached, down, eventually, unique, watchdog};
use log::{LevelFilter, Log, Metadata, Record};
use rethread::agent::{Agent, AgentRef};
use rethread::application::Application;
use rethread::gen_server::StopError;
use rethread::prelude::*;
use rethread::process::{self, Builder, Inbox, ProcessState};
use rethread::supervisor::DynamicSupervisor;

const MINUTE: Duration = Duration::from_secs(60);

/// A sink that runs a function on each line, and counts the lines.
struct Sink(fn(&str));

static LINES: AtomicUsize = AtomicUsize::new(0);

impl Log for Sink {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &Record<'_>) {
        LINES.fetch_add(1, Ordering::SeqCst);
        (self.0)(&record.args().to_string());
    }
    fn flush(&self) {}
}

fn log_to(sink: &'static Sink) {
    log::set_logger(sink).expect("the first one");
    log::set_max_level(LevelFilter::Trace);
}

/// Triggers every log message of the library: exits, crashes, restarts, refusals, zombies, stray messages.
fn trigger_all_logs() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let a = Child::new("a", &journal);
    let b = Child::new("b", &journal).starts_as(|k| if k == 2 { Begin::Fail("once") } else { Begin::Up });
    let slow = Child::new("slow", &journal).traps().ends_by(|_| panic!("in terminate"));
    let plan = Supervisor::one_for_one().max_restarts(100, MINUTE);
    let plan = plan.child(a.spec()).child(b.spec()).child(slow.spec());
    let app = Application::new("eventful", plan).start().expect("it starts");
    let supervisor = app.supervisor();
    a.crash();
    b.end("oops");
    a.await_start(2);
    b.await_start(2);
    slow.crash();
    slow.await_start(2);
    a.run_and_wait({
        let pid = supervisor.whereis().expect("it is running");
        move || process::exit(pid, "not the end of it")
    });
    assert!(
        supervisor.start_child(Child::new("c", &journal).starts_as(|_| Begin::Panic("c")).spec()).is_err()
    );
    assert_eq!(states(&supervisor).len(), 3);
    assert!(
        Supervisor::one_for_one()
            .child(b.spec().id("d"))
            .child(ChildSpec::worker("", || ()))
            .start()
            .is_err()
    );

    let rooms = DynamicSupervisor::child_spec().max_restarts(0, MINUTE).start().expect("it starts");
    let d = Child::new("d", &journal);
    rooms.start_child(d.spec()).expect("it starts");
    let gone = rooms.watch();
    d.crash();
    assert_eq!(gone.wait(), ExitReason::Shutdown);

    // A cast to a server of another type.
    let name = unique("of another kind");
    let other =
        Builder::new().name(name).spawn_receiver::<()>(|inbox| drop(inbox.recv())).expect("a free thread");
    let wrong: SupervisorRef = SupervisorRef::named(name);
    assert!(matches!(wrong.stop(), Err(StopError::WrongType { .. })));
    let mistaken: ServerRef<child::Actor> = ServerRef::named(name);
    mistaken.cast(child::Tell(Box::new(|| ())));
    kill(other.pid(), ExitReason::Kill);

    // A zombie, created and reaped.
    let (begun, gate) = (Gate::new(), Gate::new());
    let (begins, held) = (begun.clone(), gate.clone());
    let stuck = Builder::new().kill_grace(Duration::ZERO).spawn(move || {
        begins.open();
        held.pass();
    });
    let stuck = stuck.expect("a free thread");
    begun.pass();
    kill(stuck, ExitReason::Kill);
    gate.open();
    eventually("it is reaped", || process::info(stuck).is_none());

    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let ends: [fn(); 4] =
            [|| (), || panic!("own"), || process::exit_with("own"), || process::throw("own")];
        for end in ends {
            let (_, monitor) = process::spawn_monitor(end).expect("a free thread");
            assert_eq!(down(inbox).0, monitor);
        }
    });
    app.stop().expect("it stops");
    assert!(LINES.load(Ordering::SeqCst) > 20, "{LINES:?}");
}

#[test]
fn sink_that_panics_at_every_line_is_contained() {
    in_child_program(|| {
        log_to(&Sink(|_| panic!("the log is full")));
        trigger_all_logs();
    });
}

#[test]
fn sink_that_queries_the_runtime_is_harmless() {
    in_child_program(|| {
        fn asks(_: &str) {
            thread_local!(static INSIDE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) });
            if INSIDE.replace(true) {
                return; // its own actions are logged, too
            }
            let _ = (
                process::settings(),
                process::processes(),
                process::zombies(),
                process::whereis("unregistered"),
            );
            let _ = process::spawn(|| ()).map(|child| process::exit(child, ExitReason::Kill));
            let _ = Agent::start(|| 1).map(|agent| (agent.get(|n| *n), agent.stop()));
            let _ = Application::running();
            let _ = rethread::observer::snapshot().to_string();
            INSIDE.set(false);
        }
        log_to(&Sink(asks));
        trigger_all_logs();
    });
}

#[test]
fn sink_that_tries_to_end_the_logging_process_has_no_effect() {
    in_child_program(|| {
        fn ends(line: &str) {
            if line.contains("the victim") && process::current().is_some() {
                process::exit_with("ended by the log");
            }
        }
        log_to(&Sink(ends));
        let _watchdog = watchdog();
        let a = Child::new("a", &Journal::new());
        let supervisor = up(Supervisor::one_for_one().child(a.spec()));
        a.end("the victim"); // logged by the supervisor
        a.await_start(2);
        supervisor.stop().unwrap();
        let gate = Gate::new();
        let held = gate.clone();
        let victim = process::spawn(move || {
            held.pass();
            panic!("the victim");
        });
        let end = process::watch(victim.unwrap());
        gate.open();
        assert!(matches!(end.wait(), ExitReason::Panic(_)), "its own reason is kept");
    });
}

static BLOCKED: once_cell::sync::Lazy<Gate> = once_cell::sync::Lazy::new(Gate::new);
static FREED: once_cell::sync::Lazy<Gate> = once_cell::sync::Lazy::new(Gate::new);

#[test]
fn sink_that_blocks_delays_the_logging_process_up_to_a_limit() {
    in_child_program(|| {
        fn blocks(line: &str) {
            let ends = line.contains("process") || line.contains("in time");
            if ends && !FREED.is_open() {
                BLOCKED.open();
                FREED.pass();
            }
        }
        log_to(&Sink(blocks));
        let _watchdog = watchdog();
        let soon =
            || Builder::new().exit_timeout(Duration::from_millis(20)).kill_grace(Duration::from_millis(20));
        let ends: [fn(&mut Inbox<()>); 4] =
            [|_| (), |_| panic!("own"), |_| process::exit_with("own"), |inbox| drop(inbox.recv())];
        for (at, end) in ends.into_iter().enumerate() {
            let exiting = soon().spawn_receiver::<()>(end).unwrap();
            let watch = process::watch(&exiting);
            if at == 3 {
                process::exit(&exiting, "requested");
            }
            watch.wait(); // although its report cannot be written
            BLOCKED.pass();
            assert!(matches!(process::info(&exiting).map(|info| info.state), Some(ProcessState::Zombie(_))));
        }
        // Processes that log nothing continue, and so does the timer thread.
        let server = Agent::start(|| 1).unwrap();
        assert_eq!(server.get(|n| *n), Ok(1));
        FREED.open();
        eventually("they are reaped", || process::zombies().is_empty());
        server.stop().unwrap();
    });
}

#[test]
fn invalid_setting_is_logged_to_any_sink() {
    let Some(mut command) = child_command() else {
        fn asks_and_panics(_: &str) {
            let _ = process::settings();
            let _ = process::spawn(|| ());
            panic!("the log is full");
        }
        log_to(&Sink(asks_and_panics));
        let _watchdog = watchdog();
        let end = process::watch(process::spawn(|| ()).unwrap());
        end.wait();
        assert_eq!(process::settings().max_zombies, 64);
        assert!(LINES.load(Ordering::SeqCst) >= 2, "{LINES:?}");
        return;
    };
    command.env("RETHREAD_WAIT_STRATEGY", "for godot").env("RETHREAD_MAX_IDLE_THREADS", "-1");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn records_carry_structured_fields() {
    struct Fields;
    impl log::kv::VisitSource<'_> for Fields {
        fn visit_pair(
            &mut self,
            key: log::kv::Key<'_>,
            value: log::kv::Value<'_>,
        ) -> Result<(), log::kv::Error> {
            println!("field {key}={value}");
            Ok(())
        }
    }
    struct Logger;
    impl Log for Logger {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &Record<'_>) {
            println!("record {}", record.args().to_string().lines().next().unwrap_or_default());
            record.key_values().visit(&mut Fields).expect("it returns no error");
        }
        fn flush(&self) {}
    }
    let printed = in_child_program(|| {
        log::set_logger(&Logger).expect("the first one");
        log::set_max_level(LevelFilter::Error);
        let _watchdog = watchdog();
        let crashed = Builder::new().name("kv.crashed").spawn(|| panic!("boom")).expect("a free thread");
        process::watch(crashed).wait();
        let agent = Agent::child_spec(|| 1).name(AgentRef::named("kv.agent")).start().expect("it starts");
        assert!(agent.get(|_| -> () { panic!("in the agent") }).is_err());
    });
    for text in [
        "field name=kv.crashed\n",
        "field kind=Process\n",
        ": boom\n",
        "field name=kv.agent\n",
        "field activity=handling a call\n",
        "field kind=Server\n",
        "log_sinks.rs:",
    ] {
        assert!(printed.contains(text), "{text:?} was not printed:\n{printed}");
    }
}
