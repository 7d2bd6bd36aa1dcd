//! Log messages about exits, starts and restarts, with their levels, and the events that are not logged.

use std::time::Duration;

use crate::support::child::{Begin, Child, child_pid, kill, pid_of, stubborn, up};
use crate::support::{Gate, Journal, capture, eventually, logs, sleeper, unique, watchdog};
use rethread::StartError;
use rethread::application::Application;
use rethread::prelude::*;
use rethread::supervisor::{DynamicSupervisor, DynamicSupervisorRef, Shutdown, SupervisorSpec};

const MINUTE: Duration = Duration::from_secs(60);

/// Returns the log messages about a process, by name or pid; a pid that is a prefix of another one does not
/// match.
fn about(subject: impl ToString) -> Vec<String> {
    let subject = subject.to_string();
    logs().into_iter().filter(|line| line.contains(&subject)).collect()
}

/// Returns only errors and warnings.
fn trouble(subject: impl ToString) -> Vec<String> {
    let mut lines = about(subject);
    lines.retain(|line| line.starts_with("ERROR") || line.starts_with("WARN"));
    lines
}

#[track_caller]
fn parts(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{part:?} is not in: {line}");
    }
}

/// Returns a plan whose log messages are distinguishable by name.
fn named(stem: &str, plan: SupervisorSpec) -> (&'static str, SupervisorSpec) {
    capture();
    let name = unique(stem);
    (name, plan.name(SupervisorRef::named(name)))
}

// scenario: AP-08
#[test]
fn regular_stop_is_not_reported() {
    let _watchdog = watchdog();
    capture();
    let name = unique("ap 08");
    let journal = Journal::new();
    let children = [Child::new("a", &journal).traps(), Child::new("b", &journal)];
    let top = SupervisorRef::named(unique("ap 08 top"));
    let plan = Supervisor::one_for_one().name(top).children(children.iter().map(Child::spec));
    let app = Application::new(name, plan).start().unwrap();
    let supervisor = app.supervisor();
    let pids = [pid_of(&supervisor), children[0].pid(), children[1].pid()];
    app.stop().unwrap();
    for pid in pids {
        assert_eq!(trouble(pid), [""; 0]);
    }
    assert_eq!(trouble(name), [""; 0]);
    let logged = format!("INFO application {name}");
    assert_eq!(
        about(name),
        [format!("{logged} started"), format!("{logged} ended: shutdown")],
        "but no secret"
    );
}

#[test]
fn no_end_that_was_to_be_expected_is_reported() {
    let _watchdog = watchdog();
    let (name, plan) = named("expected", Supervisor::one_for_one());
    let journal = Journal::new();
    let (a, b, c) = (Child::new("a", &journal), Child::new("b", &journal), Child::new("c", &journal));
    let killed = c.spec().shutdown(Shutdown::BrutalKill);
    let supervisor = up(plan.child(a.transient()).child(b.temporary()).child(killed));
    a.end(ExitReason::Normal);
    b.end(ExitReason::shutdown_with("enough"));
    supervisor.terminate_child("c").unwrap();
    supervisor.stop().unwrap();
    assert_eq!(trouble(name), [""; 0]);
}

// scenario: AP-10
#[test]
fn exit_of_plain_process_is_not_reported_and_a_panic_is() {
    let _watchdog = watchdog();
    capture();
    let end = |body: fn()| {
        let gate = Gate::new();
        let held = gate.clone();
        let process = process::spawn(move || {
            held.pass();
            body();
        });
        let watch = process::watch(process.unwrap());
        gate.open();
        watch.wait();
        trouble(format!("process {} ", watch.pid().unwrap()))
    };
    assert_eq!(end(|| process::exit_with("x")), [""; 0]);
    assert_eq!(end(|| ()), [""; 0]);
    let panicked = end(|| panic!("a plain panic"));
    assert_eq!(panicked.len(), 1, "{panicked:#?}");
    parts(
        &panicked[0],
        &["ERROR process", "crashed", "a plain panic", concat!(file!(), ":"), "spawned at", "uptime"],
    );
    let thrown = end(|| process::throw("a ball"));
    assert_eq!(thrown.len(), 1, "{thrown:#?}");
    parts(&thrown[0], &["nocatch(a ball)"]);
    let victim = sleeper();
    kill(victim.pid(), "oops");
    assert_eq!(trouble(format!("process {} ", victim.pid())), [""; 0], "it was asked to exit");
}

// scenario: AP-11
#[test]
fn a_crash_is_reported_with_the_child_and_then_its_restart() {
    let _watchdog = watchdog();
    let (name, plan) = named("ap 11", Supervisor::one_for_one());
    let a = Child::new("a", &Journal::new());
    let supervisor = up(plan.child(a.spec().shutdown(Shutdown::Timeout(Duration::from_millis(1234)))));
    let me = format!("supervisor {name} {}", pid_of(&supervisor));
    let first = a.pid();
    a.end("oops");
    let second = a.await_start(2);
    assert_eq!(child_pid(&supervisor, "a"), second);
    let logged = about(name);
    assert_eq!(logged.len(), 3, "{logged:#?}");
    assert_eq!(logged[0], format!("INFO {me}: child a started as {first}"));
    assert!(logged[1].starts_with(&format!("ERROR {me}: child a ({first}) exited: oops")), "{}", logged[1]);
    parts(
        &logged[1],
        &["restart: Permanent", "shutdown: Timeout(1.234s)", "type: Worker", "significant: false"],
    );
    assert_eq!(logged[2], format!("INFO {me}: child a started as {second}"));
    supervisor.stop().unwrap();
}

#[test]
fn a_child_whose_end_leads_to_no_restart_is_reported_too() {
    let _watchdog = watchdog();
    let (name, plan) = named("no restart", Supervisor::one_for_one());
    let (t, p) = (Child::new("t", &Journal::new()), Child::new("p", &Journal::new()));
    let supervisor = up(plan.child(t.temporary()).child(p.permanent()));
    t.end("oops");
    p.end(ExitReason::Normal); // it is permanent
    p.await_start(2);
    supervisor.which_children().unwrap();
    let logged = trouble(name);
    assert_eq!(logged.len(), 2, "{logged:#?}");
    parts(&logged[0], &["child t (", "exited: oops", "restart: Temporary"]);
    parts(&logged[1], &["child p (", "exited: normal"]);
    supervisor.stop().unwrap();
}

// scenario: AP-12
#[test]
fn too_many_restarts_are_reported_after_the_last_crash() {
    let _watchdog = watchdog();
    let (name, plan) = named("ap 12", Supervisor::one_for_one().max_restarts(0, MINUTE));
    let a = Child::new("a", &Journal::new());
    let supervisor = up(plan.child(a.spec()));
    let watch = supervisor.watch();
    a.end("oops");
    assert_eq!(watch.wait(), ExitReason::Shutdown);
    let logged = trouble(name);
    assert_eq!(logged.len(), 2, "{logged:#?}");
    parts(&logged[0], &["ERROR", "child a (", "exited: oops"]);
    parts(&logged[1], &["ERROR", "reached_max_restart_intensity by child", "shutting down"]);
}

// scenario: AP-14
#[test]
fn failed_start_is_reported_for_planned_child_and_not_for_start_child() {
    let _watchdog = watchdog();
    let (name, plan) = named("ap 14", Supervisor::one_for_one());
    let fails = || Child::new("fails", &Journal::new()).starts_as(|_| Begin::Quiet("no disk"));
    let supervisor = up(plan);
    assert_eq!(supervisor.start_child(fails().spec()), Err(StartError::Failed("no disk".into())));
    assert_eq!(about(name), [""; 0], "the caller has the error");
    supervisor.stop().unwrap();

    let (name, plan) = named("ap 14 initial", Supervisor::one_for_one());
    plan.child(fails().spec()).start().unwrap_err();
    let logged = about(name);
    let from_supervisor = logged.iter().filter(|line| line.starts_with("ERROR supervisor"));
    let lines: Vec<&String> = from_supervisor.collect();
    assert_eq!(lines.len(), 1, "{logged:#?}");
    parts(lines[0], &[name, "child fails did not start", "no disk"]);
}

#[test]
fn a_restart_that_fails_is_reported_each_time() {
    let _watchdog = watchdog();
    let (name, plan) = named("again", Supervisor::one_for_one().max_restarts(2, MINUTE));
    let fails = |k| if k == 1 { Begin::Up } else { Begin::Quiet("no disk") };
    let a = Child::new("a", &Journal::new()).starts_as(fails);
    let supervisor = up(plan.child(a.spec()));
    let watch = supervisor.watch();
    a.end("oops");
    watch.wait();
    let logged = trouble(name);
    assert_eq!(logged.len(), 4, "{logged:#?}");
    parts(&logged[1], &["child a did not start again", "no disk"]);
    parts(&logged[2], &["child a did not start again", "no disk"]);
    parts(&logged[3], &["reached_max_restart_intensity"]);
}

#[test]
fn a_child_that_does_not_shut_down_as_asked_is_reported() {
    let _watchdog = watchdog();
    let (name, plan) = named("shutdown", Supervisor::one_for_one());
    let slow = stubborn("slow").shutdown(Shutdown::Timeout(Duration::from_millis(1)));
    let supervisor = up(plan.child(slow));
    supervisor.terminate_child("slow").unwrap();
    supervisor.stop().unwrap();
    let logged = trouble(name);
    assert_eq!(logged.len(), 1, "{logged:#?}");
    parts(&logged[0], &["ERROR supervisor", "child slow (", "did not shut down as asked: killed"]);
}

// scenario: AP-15
#[test]
fn start_by_start_child_is_logged_at_a_lower_level() {
    let _watchdog = watchdog();
    let (name, plan) = named("ap 15", Supervisor::one_for_one());
    let (a, b) = (Child::new("a", &Journal::new()), Child::new("b", &Journal::new()));
    let supervisor = up(plan.child(a.spec()));
    supervisor.start_child(b.spec()).unwrap();
    supervisor.terminate_child("a").unwrap();
    supervisor.restart_child("a").unwrap();
    let level = |line: &String| line.split(' ').next().unwrap().to_owned();
    let logged = about(name);
    assert_eq!(logged.iter().map(level).collect::<Vec<_>>(), ["INFO", "DEBUG", "DEBUG"], "{logged:#?}");
    parts(&logged[1], &["child b started as", &b.pid().to_string()]);
    supervisor.stop().unwrap();
}

#[test]
fn dynamic_children_are_reported_alike() {
    let _watchdog = watchdog();
    capture();
    let name = unique("dynamic");
    let supervisor = DynamicSupervisor::child_spec().name(DynamicSupervisorRef::named(name)).start().unwrap();
    let a = Child::new("a", &Journal::new());
    let first = supervisor.start_child(a.spec()).unwrap();
    a.end("oops");
    let second = a.await_start(2);
    supervisor.count_children().unwrap();
    let logged = about(name);
    assert_eq!(logged.len(), 3, "{logged:#?}");
    parts(&logged[0], &["DEBUG", &format!("child a started as {first}")]);
    parts(&logged[1], &["ERROR", &format!("child a ({first}) exited: oops"), "restart: Permanent"]);
    parts(&logged[2], &["INFO", &format!("child a started as {second}")]);
    supervisor.stop().unwrap();
}

#[test]
fn crash_report_contains_links_and_used_restarts() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let child = Child::new("child of a report", &journal);
    let (_, plan) = named("used", Supervisor::one_for_one().max_restarts(3, MINUTE).child(child.permanent()));
    let supervisor = up(plan);
    let first = child.pid();
    child.crash();
    let second = child.await_start(2);
    child.crash();
    child.await_start(3);
    for (pid, used) in [(first, "0 of 3 restarts in 60s"), (second, "1 of 3 restarts in 60s")] {
        let report = about(format!("process {pid} crashed: "));
        assert_eq!(report.len(), 1, "{report:#?}");
        let links = format!("links: {}\n", pid_of(&supervisor));
        parts(&report[0], &["ERROR", &format!("supervisor restarts: {used}\n"), &links]);
    }
    supervisor.stop().unwrap();

    let alone = process::spawn(|| panic!("without links")).unwrap();
    process::watch(alone).wait();
    let report = about(format!("process {} crashed: ", alone));
    assert!(report.len() == 1 && !report[0].contains("links:"), "{report:#?}");
}

#[test]
fn a_panic_that_a_signal_overtook_is_reported() {
    let _watchdog = watchdog();
    capture();
    struct Held(Gate, Gate);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.open();
            self.1.pass();
        }
    }
    let (unwinds, notified) = (Gate::new(), Gate::new());
    let held = Held(unwinds.clone(), notified.clone());
    let child = process::spawn(move || {
        let _held = held;
        panic!("it was first");
    });
    let child = child.unwrap();
    unwinds.pass();
    let watch = process::watch(child);
    process::exit(child, "a signal");
    notified.open();
    assert!(watch.wait().to_string().ends_with("it was first"));
    parts(&about(format!("process {} crashed: ", child)).join("\n"), &["ERROR", "it was first"]);
}

/// A server whose reports contain messages and state.
struct Divider {
    calls: u64,
    state: fn(u64) -> String,
}

#[derive(Debug)]
enum Divide {
    By(i32, Caller<i32>),
    Later(String, Caller<()>),
}

impl GenServer for Divider {
    type Args = fn(u64) -> String;
    type Call = Divide;
    type Cast = i32;

    fn init(state: Self::Args, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self { calls: 0, state })
    }

    fn handle_call(&mut self, call: Divide, _: &mut Context<Self>) -> Next {
        self.calls += 1;
        match call {
            Divide::By(by, from) => from.reply(100 / by),
            Divide::Later(text, from) => {
                drop(from);
                panic!("cannot wait with {} bytes", text.len())
            }
        }
    }

    fn handle_cast(&mut self, by: i32, _: &mut Context<Self>) -> Next {
        assert!(100 / by > 0, "too large");
        Next::wait()
    }

    fn format_call(call: &Divide) -> Option<String> {
        Some(format!("{call:?}"))
    }

    fn format_cast(cast: &i32) -> Option<String> {
        Some(format!("cast {cast}"))
    }

    fn format_state(&self) -> Option<String> {
        Some((self.state)(self.calls))
    }
}

/// Returns the record of a server that stopped, found by its name.
#[track_caller]
fn stopped(name: &str) -> String {
    let lines = about(name);
    let line = lines.iter().find(|line| line.starts_with("ERROR server"));
    line.unwrap_or_else(|| panic!("no record of {name}: {lines:#?}")).clone()
}

#[test]
fn report_of_a_server_names_it_its_caller_the_last_message_and_the_state() {
    let _watchdog = watchdog();
    capture();
    let name = unique("reports.divider");
    let divider = Divider::child_spec(|calls| format!("after {calls} calls")).name(ServerRef::named(name));
    let divider = divider.start().unwrap();
    let (caller_name, server) = (unique("reports.caller"), divider.clone());
    let caller = process::Builder::new().name(caller_name).spawn(move || {
        assert_eq!(server.call(|from| Divide::By(5, from)), Ok(20));
        assert!(server.call(|from| Divide::By(0, from)).is_err());
    });
    let caller = process::watch(caller.unwrap());
    divider.watch().wait();
    caller.wait();
    let record = stopped(name);
    parts(
        &record,
        &[
            &format!("({name}, it::reports::Divider) stopped while handling a call: panic at"),
            &format!("\n    caller: {} ({caller_name})", caller.pid().unwrap()),
            "\n    last message: By(0, Caller)",
            "\n    state: after 2 calls",
        ],
    );
}

#[test]
fn report_of_a_server_has_no_caller_for_a_cast_or_a_foreign_thread_and_bounds_all_texts() {
    let _watchdog = watchdog();
    capture();
    let start = |state: fn(u64) -> String| {
        let name = unique("reports.bounded");
        (name, Divider::child_spec(state).name(ServerRef::named(name)).start().unwrap())
    };
    let (cast_to, divider) = start(|_| "s".repeat(5_000));
    assert_eq!(divider.call(|from| Divide::By(5, from)), Ok(20));
    divider.cast(0);
    divider.watch().wait();
    let record = stopped(cast_to);
    parts(&record, &["while handling a cast", "last message: cast 0", ".. (5000 bytes in all)"]);
    assert!(!record.contains("caller") && record.len() < 2_000, "{record}");

    let (called, divider) = start(|_| panic!("no state"));
    assert!(divider.call(|from| Divide::Later("m".repeat(5_000), from)).is_err());
    let record = stopped(called);
    parts(&record, &["cannot wait", "last message: Later(\"mmm", "bytes in all)"]);
    assert!(!record.contains("caller:") && !record.contains("state:") && record.len() < 2_000, "{record}");
}

#[test]
fn record_of_a_zombie_says_what_its_thread_did_and_what_interrupts_it() {
    let _watchdog = watchdog();
    capture();
    let gate = Gate::new();
    let held = gate.clone();
    let label = unique("stuck");
    let builder = process::Builder::new().label(label).kill_grace(Duration::from_millis(1));
    let journal = Journal::new();
    let notes = journal.clone();
    let stuck = builder.spawn(move || {
        notes.note("started");
        held.pass();
    });
    let stuck = stuck.unwrap();
    journal.wait_for(1);
    kill(stuck, ExitReason::Kill);
    eventually("it is reported", || about(label).iter().any(|line| line.contains("is now a zombie")));
    let zombie = process::zombies().into_iter().find(|zombie| zombie.pid == stuck).unwrap();
    assert_eq!(zombie.activity, process::Activity::Body);
    let record = about(label).into_iter().find(|line| line.contains("is now a zombie")).unwrap();
    parts(&record, &[", running", "process::on_exit_request", "process::checkpoint"]);
    // Linux says where a thread is blocked, unless it is configured not to.
    if let Some(function) = zombie.blocked_in {
        parts(&record, &[&format!(", blocked in {function}")]);
    }
    gate.open();
}
