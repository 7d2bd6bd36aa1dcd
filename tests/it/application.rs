//! Applications: their start, the order of their shutdown, the processes left over, and the exit status.

use std::process::{ExitCode, Termination};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::child::{self, Begin, Child, kill};
use crate::support::child_program;
use crate::support::{Gate, Journal, attached, capture, eventually, logs, sleeper, unique, watchdog};
use parking_lot::Mutex;
use rethread::StartError;
use rethread::application::ApplicationError;
use rethread::application::{Application, ApplicationExit, ApplicationRef, TopSupervisor};
use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::process::Inbox;
use rethread::supervisor::{FailedToStartChild, SpecError};
use rethread::supervisor::{Supervise, SupervisorSpec};

/// A generous deadline for exits.
const MINUTE: Duration = Duration::from_secs(60);

fn plan() -> SupervisorSpec {
    Supervisor::one_for_one().max_restarts(0, MINUTE)
}

/// Returns a child that traps exits and notes its exit reason.
fn worker(id: &'static str, journal: &Journal) -> Child {
    let note = journal.clone();
    Child::new(id, journal).traps().ends_by(move |reason| note.note(format!("{id} ends: {reason}")))
}

/// Returns an application that notes its callbacks.
fn noting(name: &'static str, plan: SupervisorSpec, journal: &Journal) -> Application {
    let (first, last) = (journal.clone(), journal.clone());
    Application::new(name, plan)
        .prep_stop(move || first.note("prep_stop"))
        .on_stop(move || last.note("on_stop"))
}

#[track_caller]
fn started(application: Application) -> ApplicationRef {
    application.start().unwrap_or_else(|error| panic!("it did not start: {error}"))
}

fn listed(name: &str) -> bool {
    Application::running().iter().any(|running| **running == *name)
}

/// Returns the master: the process that started the top supervisor.
#[track_caller]
fn master(application: &ApplicationRef) -> Pid {
    let top = application.supervisor().whereis().expect("it started");
    process::info(top).expect("it is running").ancestors[0]
}

// scenario: AP-01
#[test]
fn it_starts_and_not_twice() {
    let _watchdog = watchdog();
    let (name, journal) = (unique("ap 01"), Journal::new());
    let worker = worker("worker", &journal);
    let app = started(Application::new(name, plan().child(worker.spec())));
    assert_eq!((app.name(), app.is_running(), listed(name)), (name, true, true));
    assert_eq!(journal.all(), ["start worker"]);
    let again = Application::new(name, plan()).start();
    assert_eq!(again.unwrap_err(), ApplicationError::AlreadyStarted(name.into()));
    assert!(app.is_running() && process::is_alive(worker.pid()), "the first is not affected");
    assert_eq!(
        Application::find(name).map(|found| found.supervisor().whereis()),
        Some(app.supervisor().whereis())
    );
    app.stop().unwrap();
}

// scenario: AP-02
#[test]
fn the_order_of_a_stop() {
    let _watchdog = watchdog();
    let (name, journal) = (unique("ap 02"), Journal::new());
    let workers = ["a", "b"].map(|id| worker(id, &journal));
    let app = started(noting(name, plan().children(workers.iter().map(Child::spec)), &journal));
    journal.clear();
    assert_eq!(app.stop(), Ok(()));
    let expected = ["prep_stop", "b ends: shutdown", "stop b", "a ends: shutdown", "stop a", "on_stop"];
    assert_eq!(journal.all(), expected);
    assert_eq!((app.is_running(), listed(name)), (false, false));
    assert_eq!(app.wait(), ApplicationExit::Stopped(ExitReason::Shutdown));
    assert!(Application::find(name).is_none());
}

// scenario: AP-03
#[test]
fn application_that_does_not_run_cannot_be_stopped() {
    let _watchdog = watchdog();
    let name = unique("ap 03");
    let not_started = Err(ApplicationError::NotStarted(name.into()));
    assert_eq!(Application::stop(name), not_started);
    let first = started(Application::new(name, plan()));
    assert_eq!(Application::stop(name), Ok(()));
    assert_eq!(first.stop(), not_started);
    let second = started(Application::new(name, plan()));
    assert_eq!(first.stop(), not_started, "it is not the current incarnation");
    first.request_stop();
    assert!(second.is_running() && !first.is_running());
    second.stop().unwrap();
}

// scenario: AP-05
#[test]
fn a_killed_top_supervisor() {
    let _watchdog = watchdog();
    capture();
    let (name, journal) = (unique("ap 05"), Journal::new());
    let worker = worker("worker", &journal);
    let app = started(noting(name, plan().child(worker.spec()), &journal));
    journal.clear();
    process::exit(app.supervisor().whereis().unwrap(), ExitReason::Kill);
    assert_eq!(app.wait(), ApplicationExit::Stopped(ExitReason::Killed));
    let mut happened = journal.all();
    let prepared = happened.iter().position(|what| what == "prep_stop");
    happened.remove(prepared.expect("it was called"));
    assert_eq!(happened, ["worker ends: killed", "stop worker", "on_stop"]);
    assert!(!app.is_running() && !listed(name));
    let line = format!("ERROR application {name} ended: killed");
    assert_eq!(logs().iter().filter(|logged| **logged == line).count(), 1);
}

// scenario: AP-06
#[test]
fn unsupervised_processes_are_killed() {
    attached(|_: &mut Inbox<()>| {
        capture();
        let (name, strays) = (unique("ap 06"), Arc::new(Mutex::new(Vec::new())));
        let own = Arc::clone(&strays);
        // The worker starts an unsupervised process, which starts another one.
        let parent = ChildSpec::worker("parent", move || {
            let grand = Arc::clone(&own);
            let stray = process::Builder::new().label("the stray").spawn_receiver::<()>(move |inbox| {
                process::trap_exit(true);
                grand.lock().push(sleeper().pid());
                loop {
                    inbox.recv();
                }
            });
            own.lock().push(stray.unwrap().pid());
            process::sleep(Duration::MAX);
        });
        let app = started(Application::new(name, plan().child(parent)));
        eventually("both were started", || strays.lock().len() == 2);
        let strays = strays.lock().clone();
        let watches = strays.clone().into_iter().map(process::watch).collect::<Vec<_>>();
        // A process outside the application is not affected.
        let bystander = sleeper();
        app.stop().unwrap();
        assert!(strays.iter().all(|stray| process::info(*stray).is_none()), "gone when stop returns");
        for watch in watches {
            assert_eq!(watch.wait(), ExitReason::Killed);
        }
        assert!(process::is_alive(&bystander));
        // Each of the two is logged.
        let logged =
            |line: &&String| line.starts_with(&format!("WARN application {name}: left over and killed"));
        assert_eq!(logs().iter().filter(logged).count(), 2);
        assert!(logs().iter().any(|line| line.contains(name) && line.contains("the stray")));
        process::exit(&bystander, ExitReason::Kill);
    });
}

#[test]
fn the_name_is_free_when_stop_returns() {
    let _watchdog = watchdog();
    let (name, journal) = (unique("again"), Journal::new());
    for _ in 0..50 {
        started(noting(name, plan().child(worker("w", &journal).spec()), &journal)).stop().unwrap();
    }
    assert_eq!(journal.all().len(), 50 * 5);
}

#[test]
fn the_name_is_taken_until_all_is_over() {
    let _watchdog = watchdog();
    let (name, begun, gate) = (unique("until"), Gate::new(), Gate::new());
    let (reached, held) = (begun.clone(), gate.clone());
    let app = started(Application::new(name, plan()).on_stop(move || {
        reached.open();
        held.pass();
    }));
    app.request_stop();
    begun.pass();
    assert!(!app.is_running() && !listed(name), "it is no longer running");
    assert_eq!(
        Application::new(name, plan()).start().unwrap_err(),
        ApplicationError::AlreadyStarted(name.into())
    );
    let needs = Application::new(unique("needs"), plan()).depends_on(name).start();
    assert_eq!(needs.unwrap_err(), ApplicationError::NotStarted(name.into()));
    assert_eq!(app.wait_timeout(Duration::from_millis(1)), None);
    gate.open();
    assert_eq!(app.wait(), ApplicationExit::Stopped(ExitReason::Shutdown));
    started(Application::new(name, plan())).stop().unwrap();
}

#[test]
fn a_start_that_fails_leaves_nothing_behind() {
    let _watchdog = watchdog();
    let (name, journal, stray) = (unique("fails"), Journal::new(), Arc::new(Mutex::new(None)));
    let left = Arc::clone(&stray);
    let spawns = ChildSpec::new("spawns", move || {
        *left.lock() = Some(sleeper().pid());
        Ok(process::spawn_link(|| process::sleep(Duration::MAX))?)
    });
    let first = worker("first", &journal);
    let last = Child::new("last", &journal).starts_as(|_| Begin::Quiet("no disk"));
    let plan = plan().child(first.spec()).child(spawns).child(last.spec());
    let failed = noting(name, plan, &journal).start();
    let Err(ApplicationError::Failed(StartError::Failed(reason))) = failed else { panic!("not {failed:?}") };
    let child = reason.downcast_ref::<FailedToStartChild>().expect("it carries the child");
    assert_eq!((child.id.as_str(), &child.error), ("last", &StartError::Failed("no disk".into())));
    let stray = stray.lock().take().expect("it was started");
    assert!(process::info(stray).is_none() && !process::is_alive(first.pid()));
    assert_eq!(journal.all(), ["start first", "fail last", "first ends: shutdown", "stop first"]);
    assert!(!listed(name) && Application::find(name).is_none());
    started(Application::new(name, Supervisor::one_for_one())).stop().unwrap();
}

#[test]
fn other_ways_to_fail() {
    struct Picky;
    impl Supervise for Picky {
        type Args = Option<&'static str>;
        type Spec = SupervisorSpec;
        fn init(panics: Option<&'static str>) -> Result<SupervisorSpec, InitError> {
            match panics {
                Some(text) => panic!("{text}"),
                None => Err(InitError::Ignore),
            }
        }
    }
    let _watchdog = watchdog();
    let name = unique("other ways");
    let failed = |top: TopSupervisor| match Application::new(name, top).start() {
        Err(ApplicationError::Failed(error)) => error,
        other => panic!("not {other:?}"),
    };
    assert_eq!(failed(Picky::child_spec(None).into()), StartError::Ignored);
    let panicked = failed(Picky::child_spec(Some("at the start")).into());
    assert!(
        matches!(&panicked, StartError::Failed(ExitReason::Panic(report)) if report.message() == "at the start")
    );
    let twice = [Child::new("a", &Journal::new()).spec(), Child::new("a", &Journal::new()).spec()];
    assert_eq!(
        failed(plan().children(twice).into()),
        StartError::BadSpec(SpecError::DuplicateId("a".into()))
    );
    let taken = unique("taken");
    process::register(taken, sleeper().pid()).unwrap();
    let error = failed(plan().name(SupervisorRef::named(taken)).into());
    assert!(matches!(error, StartError::AlreadyStarted(_)), "{error:?}: of its top supervisor, not of it");
    process::exit(process::whereis(taken).unwrap(), ExitReason::Kill);
    assert!(!listed(name));
}

#[test]
fn a_top_supervisor_of_a_type_of_its_own() {
    struct Pool;
    impl Supervise for Pool {
        type Args = usize;
        type Spec = SupervisorSpec;
        fn init(size: usize) -> Result<SupervisorSpec, InitError> {
            let worker = |i| ChildSpec::worker(i, || process::sleep(Duration::MAX));
            Ok(plan().children((0..size).map(worker)))
        }
    }
    let _watchdog = watchdog();
    let app = started(Application::new(unique("pool"), Pool::child_spec(3)));
    assert_eq!(app.supervisor().count_children().unwrap().active, 3);
    let victim = app.supervisor().which_children().unwrap()[0].pid().unwrap();
    kill(victim, ExitReason::Kill);
    assert!(matches!(app.wait(), ApplicationExit::GaveUp(_)), "its plan is supervised as well");
}

#[test]
fn it_starts_only_after_what_it_depends_on() {
    let _watchdog = watchdog();
    let (db, cache, web) = (unique("db"), unique("cache"), unique("web"));
    let plan_of_web = || Application::new(web, plan()).depends_on(db).depends_on(cache);
    assert_eq!(plan_of_web().start().unwrap_err(), ApplicationError::NotStarted(db.into()));
    let db = started(Application::new(db, plan()));
    assert_eq!(plan_of_web().start().unwrap_err(), ApplicationError::NotStarted(cache.into()));
    let cache = started(Application::new(cache, plan()));
    let web = started(plan_of_web());
    let running = Application::running();
    let place = |app: &ApplicationRef| running.iter().position(|name| **name == *app.name()).unwrap();
    assert!(place(&db) < place(&cache) && place(&cache) < place(&web));
    db.stop().unwrap();
    assert!(web.is_running(), "dependent applications keep running");
    web.stop().unwrap();
    cache.stop().unwrap();
}

#[test]
fn failing_callbacks_are_reported_and_the_shutdown_continues() {
    let _watchdog = watchdog();
    capture();
    type Failure = fn();
    let failures: [(&str, Failure); 4] = [
        ("broken", || panic!("broken")),
        ("enough", || process::exit_with("enough")),
        ("ball", || process::throw("ball")),
        ("", || _ = process::trap_exit(false)),
    ];
    for (text, failure) in failures {
        let (name, journal) = (unique("failing"), Journal::new());
        let worker = worker("worker", &journal);
        let own = Arc::clone(&Arc::new(AtomicBool::new(false)));
        let stray = Arc::clone(&own);
        // A child that is ignored leaves an unsupervised process behind.
        let spawns = ChildSpec::new("spawns", move || {
            sleeper();
            stray.store(true, Ordering::SeqCst);
            Err(StartError::Ignored)
        });
        let note = journal.clone();
        let app = started(
            Application::new(name, plan().child(worker.spec()).child(spawns)).prep_stop(failure).on_stop(
                move || {
                    note.note("on_stop");
                    failure();
                },
            ),
        );
        let master = master(&app);
        // The callbacks fail, and the stop completes despite that.
        app.stop().unwrap();
        assert!(own.load(Ordering::SeqCst));
        assert_eq!(journal.all(), ["start worker", "worker ends: shutdown", "stop worker", "on_stop"]);
        assert_eq!(app.wait(), ApplicationExit::Stopped(ExitReason::Shutdown));
        assert!(
            process::processes().iter().all(|other| !other.ancestors.contains(&master)),
            "nothing is left"
        );
        // Each failure is logged once. The last callback, without a text, does not fail.
        for what in ["prep_stop", "on_stop"] {
            let line = format!("ERROR application {name}: {what} failed");
            let logged =
                logs().iter().filter(|logged| logged.starts_with(&line) && logged.contains(text)).count();
            assert_eq!(logged, usize::from(!text.is_empty()), "{what} {text}");
        }
    }
}

#[test]
fn callbacks_whose_captures_panic_when_they_are_dropped() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a bomb");
        }
    }
    let _watchdog = watchdog();
    let with_bombs = |plan: SupervisorSpec| {
        let (first, last) = (Bomb, Bomb);
        let hold = |bomb: &Bomb| _ = bomb;
        Application::new(unique("bombs"), plan).prep_stop(move || hold(&first)).on_stop(move || hold(&last))
    };
    let broken = ChildSpec::new("broken", || Err(StartError::Failed("no disk".into())));
    let failed = with_bombs(plan().child(broken)).start();
    assert!(matches!(failed, Err(ApplicationError::Failed(StartError::Failed(_)))), "{failed:?}");
    started(with_bombs(plan())).stop().unwrap();
    drop(with_bombs(plan()));
}

#[test]
fn a_stop_from_inside_is_refused_and_begin_stop_is_the_way() {
    let _watchdog = watchdog();
    let (name, journal) = (unique("inside"), Journal::new());
    let worker = Child::new("worker", &Journal::new());
    let (note, noted) = (journal.clone(), journal.clone());
    let app = started(
        Application::new(name, plan().child(worker.spec()))
            .prep_stop(move || note.note(format!("{:?}", Application::stop(name))))
            .on_stop(move || {
                let itself = Application::find(name).expect("it is not over");
                let waits =
                    process::attempt(|| itself.wait()).rescue(|_| ApplicationExit::Stopped("refused".into()));
                noted.note(waits.to_string());
            }),
    );
    let (inside, note) = (app.clone(), journal.clone());
    worker.run(move || {
        note.note(format!("{:?}", inside.stop()));
        process::spawn(move || {
            note.note(format!("{:?}", inside.stop()));
            inside.request_stop();
        })
        .unwrap();
    });
    assert_eq!(app.wait(), ApplicationExit::Stopped(ExitReason::Shutdown));
    let refused = "Err(Inside)";
    assert_eq!(journal.all(), [refused, refused, refused, "the application ended: refused"]);
}

#[test]
fn concurrent_stops_wait_for_the_same_exit() {
    let _watchdog = watchdog();
    let (begun, gate) = (Gate::new(), Gate::new());
    let (reached, held) = (begun.clone(), gate.clone());
    let app = started(Application::new(unique("together"), plan()).on_stop(move || {
        reached.open();
        held.pass();
    }));
    let journal = Journal::new();
    let stoppers = [(); 3].map(|()| {
        let (app, note, begun) = (app.clone(), journal.clone(), begun.clone());
        let stopper = process::spawn(move || {
            let stopped = app.stop();
            assert!(begun.is_open());
            note.note(format!("{stopped:?}"));
        });
        stopper.unwrap()
    });
    let waits = |pid: &Pid| process::info(*pid).is_some_and(|info| info.waiting_on.is_some());
    eventually("all wait for the end", || stoppers.iter().all(waits));
    begun.pass();
    gate.open();
    assert_eq!(journal.wait_for(3), ["Ok(())"; 3]);
}

#[test]
fn one_that_is_still_starting_can_be_stopped() {
    attached(|_: &mut Inbox<()>| {
        let (name, begun, gate) = (unique("starting"), Gate::new(), Gate::new());
        let (reached, held) = (begun.clone(), gate.clone());
        let slow = Child::new("slow", &Journal::new()).starts_as(move |_| {
            reached.open();
            held.pass();
            Begin::Up
        });
        let journal = Journal::new();
        let application = noting(name, plan().child(slow.spec()), &journal);
        let note = journal.clone();
        process::spawn(move || {
            let app = started(application);
            assert_eq!(app.wait(), ApplicationExit::Stopped(ExitReason::Shutdown));
            note.note("waited");
        })
        .unwrap();
        begun.pass();
        let found = Application::find(name).expect("it is there");
        assert!(!found.is_running() && !listed(name));
        assert!(found.supervisor().which_children().is_err(), "no child yet");
        let twice = Application::new(name, plan()).start();
        assert_eq!(twice.unwrap_err(), ApplicationError::AlreadyStarted(name.into()));
        found.request_stop();
        gate.open();
        assert_eq!(found.wait(), ApplicationExit::Stopped(ExitReason::Shutdown));
        assert_eq!(journal.wait_for(3), ["prep_stop", "on_stop", "waited"]);
    });
}

#[test]
fn application_exit_distinguishes_giving_up_from_stop() {
    let _watchdog = watchdog();
    capture();
    let (name, journal) = (unique("gives up"), Journal::new());
    let (a, b) = (worker("a", &journal), worker("b", &journal));
    let plan = Supervisor::one_for_one().max_restarts(1, MINUTE);
    let app = started(noting(name, plan.child(a.spec()).child(b.spec()), &journal));
    a.crash();
    a.await_start(2);
    journal.clear();
    let watch = app.supervisor().watch();
    a.crash();
    assert_eq!(watch.wait(), ExitReason::Shutdown, "as on the BEAM");
    let ending = app.wait();
    let ApplicationExit::GaveUp(why) = &ending else { panic!("not {ending:?}") };
    assert!(why.contains("reached_max_restart_intensity"), "{why}");
    assert_eq!((ending.reason(), ending.is_success()), (Some(&ExitReason::Shutdown), false));
    let happened = journal.all();
    assert_eq!(happened.iter().filter(|what| *what == "b ends: shutdown").count(), 1);
    assert_eq!(happened.last().map(String::as_str), Some("on_stop"));
    assert!(logs().iter().any(|line| line.starts_with(&format!("ERROR application {name} gave up"))));
}

#[test]
fn a_significant_child_ends_it_well_or_badly() {
    let _watchdog = watchdog();
    let ending = |restart: Restart, reason: ExitReason| {
        let job = Child::new("job", &Journal::new());
        let spec = job.spec().restart(restart).significant(true);
        let app = started(Application::new(
            unique("job"),
            plan().auto_shutdown(rethread::supervisor::AutoShutdown::AnySignificant).child(spec),
        ));
        job.end(reason);
        app.wait()
    };
    assert_eq!(
        ending(Restart::Transient, ExitReason::Normal),
        ApplicationExit::Stopped(ExitReason::Shutdown)
    );
    assert_eq!(
        ending(Restart::Temporary, ExitReason::shutdown_with(1)),
        ApplicationExit::Stopped(ExitReason::Shutdown)
    );
    let failed = ending(Restart::Temporary, "oops".into());
    assert!(
        matches!(&failed, ApplicationExit::GaveUp(why) if why.contains("a significant child failed")),
        "{failed:?}"
    );
}

#[test]
fn a_top_supervisor_that_is_stopped_by_itself_ends_it_well() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let app = started(noting(unique("direct"), plan().child(worker("w", &journal).spec()), &journal));
    journal.clear();
    app.supervisor().stop().unwrap();
    assert_eq!(app.wait(), ApplicationExit::Stopped(ExitReason::Normal));
    assert_eq!(journal.all(), ["w ends: shutdown", "stop w", "prep_stop", "on_stop"]);
}

#[test]
fn thread_that_does_not_end_is_left_behind_and_logged() {
    let _watchdog = watchdog();
    capture();
    let (name, label, gate) = (unique("stubborn"), unique("stubborn child"), Gate::new());
    let held = gate.clone();
    let spawns = ChildSpec::new("spawns", move || {
        unresponsive(label, &held);
        Err(StartError::Ignored)
    });
    started(Application::new(name, plan().child(spawns))).stop().unwrap();
    assert!(is_zombie(label));
    let logged = format!("ERROR application {name} leaves a thread behind: zombie");
    assert!(logs().iter().any(|line| line.starts_with(&logged) && line.contains(label)));
    gate.open();
}

/// Starts a process that ignores its kill until the gate opens; a watcher finds a zombie.
fn unresponsive(label: &'static str, gate: &Gate) -> Pid {
    let (begun, pass) = (Gate::new(), gate.clone());
    let begins = begun.clone();
    let unresponsive = process::Builder::new().label(label).kill_grace(Duration::from_millis(50));
    let unresponsive = unresponsive.spawn(move || {
        begins.open();
        pass.pass();
    });
    begun.pass();
    unresponsive.expect("a free thread")
}

fn is_zombie(label: &str) -> bool {
    process::zombies().iter().any(|zombie| zombie.label.as_deref() == Some(label))
}

#[test]
fn a_start_that_fails_has_waited_for_what_it_kills() {
    let _watchdog = watchdog();
    let (label, gate) = (unique("stubborn child of a failed start"), Gate::new());
    let held = gate.clone();
    let spawns = ChildSpec::new("spawns", move || {
        unresponsive(label, &held);
        Err(StartError::Failed("no disk".into()))
    });
    assert!(Application::new(unique("waits"), plan().child(spawns)).start().is_err());
    assert!(is_zombie(label));
    gate.open();
}

#[test]
fn what_is_started_while_the_rest_is_killed_is_killed_too() {
    let _watchdog = watchdog();
    let (label, gate, journal) = (unique("the late"), Gate::new(), Journal::new());
    let (held, note) = (gate.clone(), journal.clone());
    let spawns = ChildSpec::worker("spawns", move || {
        let (held, note) = (held.clone(), note.clone());
        let stray = process::spawn_receiver::<()>(move |inbox| {
            // The hook runs on the thread that sends the kill: in the application, after the remaining
            // processes were listed.
            let _hook = process::on_exit_request(move || _ = unresponsive(label, &held));
            note.note("ready");
            inbox.recv();
        });
        stray.unwrap();
        process::sleep(Duration::MAX);
    });
    let app = started(Application::new(unique("hook"), plan().child(spawns)));
    journal.wait_for(1);
    app.stop().unwrap();
    assert!(is_zombie(label));
    gate.open();
}

/// Starts a successor and exits, repeatedly, while `runs` is `true`.
fn relay(runs: Arc<AtomicBool>) {
    if runs.load(Ordering::SeqCst) {
        let _ = process::spawn(move || relay(runs));
    }
}

#[test]
fn processes_that_start_others_while_they_are_killed_do_not_escape() {
    let _watchdog = watchdog();
    let (runs, began) = (Arc::new(AtomicBool::new(true)), Gate::new());
    let (own, reached) = (Arc::clone(&runs), began.clone());
    let spawns = ChildSpec::worker("spawns", move || {
        for _ in 0..4 {
            let runs = Arc::clone(&own);
            process::spawn(move || relay(runs)).unwrap();
        }
        reached.open();
        process::sleep(Duration::MAX);
    });
    let app = started(Application::new(unique("relay"), plan().child(spawns)));
    began.pass();
    let master = master(&app);
    app.stop().unwrap();
    // The list of ancestors is truncated to the nearest ones, so it cannot identify the process.
    eventually("the last copy is dropped", || Arc::strong_count(&runs) == 1);
    runs.store(false, Ordering::SeqCst);
    assert!(process::processes().iter().all(|other| !other.ancestors.contains(&master)));
}

#[test]
fn children_of_a_killed_top_supervisor_have_limited_time() {
    let _watchdog = watchdog();
    let (journal, cleaned) = (Journal::new(), Gate::new());
    let note = journal.clone();
    let held = cleaned.clone();
    let careful = Child::new("careful", &journal).traps().ends_by(move |_| {
        held.pass();
        note.note("cleaned up");
    });
    let app = started(noting(
        unique("orphans"),
        plan().child(careful.spec()).child(child::stubborn("stubborn")),
        &journal,
    ));
    let stubborn = child::child_pid(&app.supervisor(), "stubborn");
    let gone = process::watch(stubborn);
    journal.clear();
    kill(app.supervisor().whereis().unwrap(), ExitReason::Kill);
    assert_eq!(journal.wait_for(1), ["prep_stop"]);
    cleaned.open();
    assert_eq!(app.wait(), ApplicationExit::Stopped(ExitReason::Killed));
    assert_eq!(journal.all(), ["prep_stop", "cleaned up", "stop careful", "on_stop"]);
    assert_eq!(gone.wait(), ExitReason::Killed, "it did not end by itself");
}

#[test]
fn an_application_in_another_belongs_to_itself() {
    let _watchdog = watchdog();
    let (outer_name, inner_name) = (unique("outer"), unique("inner"));
    let worker = Child::new("worker", &Journal::new());
    let outer = started(Application::new(outer_name, plan().child(worker.spec())));
    let (journal, inner_worker) = (Journal::new(), Child::new("inner", &Journal::new()));
    let (note, spec) = (journal.clone(), inner_worker.spec());
    worker.run_and_wait(move || {
        let inner = Application::new(inner_name, plan().child(spec)).depends_on(outer_name);
        note.note(format!("{:?}", inner.start().map(|inner| inner.is_running())));
    });
    assert_eq!(journal.all(), ["Ok(true)"]);
    outer.stop().unwrap();
    assert!(listed(inner_name) && process::is_alive(inner_worker.pid()));
    assert_eq!(Application::stop(inner_name), Ok(()));
}

#[test]
fn a_killed_master_leaves_nothing_behind() {
    let _watchdog = watchdog();
    let (name, journal, stray) = (unique("master"), Journal::new(), Arc::new(Mutex::new(None)));
    let left = Arc::clone(&stray);
    let spawns = ChildSpec::new("spawns", move || {
        *left.lock() = Some(sleeper().pid());
        Err(StartError::Ignored)
    });
    let app = started(noting(name, plan().child(spawns), &journal));
    let (top, stray) = (app.supervisor().watch(), process::watch(stray.lock().unwrap()));
    let master = master(&app);
    assert_eq!(process::info(master).unwrap().label.as_deref(), Some(&*format!("application {name}")));
    process::exit(master, "go away"); // it traps exits, and this is no reason to stop
    assert!(app.supervisor().which_children().is_ok() && app.is_running());
    process::exit(master, ExitReason::Kill);
    assert_eq!(app.wait(), ApplicationExit::Stopped(ExitReason::Killed));
    assert_eq!((top.wait(), stray.wait()), (ExitReason::Killed, ExitReason::Killed));
    assert!(!app.is_running() && !listed(name) && journal.all().is_empty());
    started(Application::new(name, plan())).stop().unwrap();
}

#[test]
fn a_killed_master_leaves_no_relay_behind() {
    let _watchdog = watchdog();
    for _ in 0..20 {
        let (runs, began) = (Arc::new(AtomicBool::new(true)), Gate::new());
        let (own, reached) = (Arc::clone(&runs), began.clone());
        let spawns = ChildSpec::worker("spawns", move || {
            relay(Arc::clone(&own));
            reached.open();
            process::sleep(Duration::MAX);
        });
        let app = started(Application::new(unique("relay"), plan().child(spawns)));
        began.pass();
        process::exit(master(&app), ExitReason::Kill);
        assert_eq!(app.wait(), ApplicationExit::Stopped(ExitReason::Killed));
        // The list of ancestors is truncated to the nearest ones, so it cannot identify the process.
        eventually("the last copy is dropped", || Arc::strong_count(&runs) == 1);
    }
}

#[test]
fn a_master_that_is_killed_in_a_callback_that_never_returns_leaves_nothing_behind() {
    let _watchdog = watchdog();
    let stray = Arc::new(Mutex::new(None));
    let left = Arc::clone(&stray);
    let spawns = ChildSpec::new("spawns", move || {
        *left.lock() = Some(sleeper().pid());
        Err(StartError::Ignored)
    });
    let (inside, gate) = (Gate::new(), Gate::new());
    let (began, unresponsive) = (inside.clone(), gate.clone());
    let app = Application::new(unique("stuck"), plan().child(spawns)).prep_stop(move || {
        began.open();
        unresponsive.pass();
    });
    let app = started(app);
    let (master, stray) = (master(&app), process::watch(stray.lock().unwrap()));
    app.request_stop();
    inside.pass();
    process::exit(master, ExitReason::Kill);
    assert_eq!(app.wait(), ApplicationExit::Stopped(ExitReason::Killed));
    let ended = stray.wait_timeout(Duration::from_secs(10));
    gate.open();
    assert_eq!(ended, Some(ExitReason::Killed));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a start from a foreign thread")]
fn wait_for_start_that_fails_returns_the_failure() {
    let _watchdog = watchdog();
    let (name, inside, gate) = (unique("fails"), Gate::new(), Gate::new());
    let (began, go) = (inside.clone(), gate.clone());
    let fails = ChildSpec::new("fails", move || {
        began.open();
        go.pass();
        Err(StartError::Failed("no disk".into()))
    });
    let start = std::thread::spawn(move || Application::new(name, plan().child(fails)).start());
    inside.pass();
    let app = Application::find(name).expect("it is being started");
    gate.open();
    let error = start.join().unwrap().unwrap_err();
    assert_eq!(app.wait(), ApplicationExit::NotStarted(error));
}

/// A server outside the application that runs closures.
struct Outside;
struct Do<R: Send + 'static>(Box<dyn FnOnce() -> R + Send>, Caller<R>);

impl GenServer for Outside {
    type Args = ();
    type Call = Do<String>;
    type Cast = Infallible;

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self)
    }
    fn handle_call(&mut self, Do(what, from): Do<String>, _: &mut Context<Self>) -> Next {
        from.reply(what())
    }
}

#[test]
fn a_stop_that_would_wait_for_its_own_caller_is_refused() {
    let _watchdog = watchdog();
    let (name, journal) = (unique("cycle"), Journal::new());
    let outside = Outside::start(()).unwrap();
    let (server, note) = (outside.clone(), journal.clone());
    let worker = Child::new("worker", &Journal::new()).traps().ends_by(move |_| {
        // A cycle: the test waits for the outside server, that for the stop, and the stop for the test.
        let stop = move || format!("{:?}", Application::stop(name).map_err(|error| error.to_string()));
        let answer = server.call_infinity(|from| Do(Box::new(stop), from));
        note.note(format!("{answer:?}"));
    });
    let app = started(Application::new(name, plan().child(worker.spec())));
    app.stop().unwrap();
    let logged = journal.all();
    assert!(
        matches!(&logged[..], [only] if only.contains("deadlock: the stop of the application waits")),
        "{logged:?}"
    );
    outside.stop().unwrap();
}

#[test]
fn call_to_process_waiting_for_stop_is_refused() {
    let _watchdog = watchdog();
    let (name, journal) = (unique("back"), Journal::new());
    let outside = Outside::start(()).unwrap();
    let (server, note) = (outside.clone(), journal.clone());
    let worker = Child::new("worker", &Journal::new()).traps().ends_by(move |_| {
        let asked = server.call_infinity(|from| Do(Box::new(String::new), from));
        note.note(if matches!(asked, Err(CallError::Deadlock { .. })) { "deadlock" } else { "no deadlock" });
    });
    started(Application::new(name, plan().child(worker.spec())));
    let stop = move || format!("{:?}", Application::stop(name));
    assert_eq!(outside.call(|from| Do(Box::new(stop), from)).unwrap(), "Ok(())");
    assert_eq!(journal.all(), ["deadlock"]);
    outside.stop().unwrap();
}

#[test]
fn stop_in_destructor_of_exiting_process_is_refused() {
    struct Stops(ApplicationRef, Journal);
    impl Drop for Stops {
        fn drop(&mut self) {
            self.1.note(format!("{:?}", self.0.stop()));
        }
    }
    let _watchdog = watchdog();
    let (app, journal) = (started(Application::new(unique("exiting"), plan())), Journal::new());
    let stops = Stops(app.clone(), journal.clone());
    let process = process::spawn_receiver::<()>(move |inbox| {
        let _stops = stops;
        inbox.recv();
    });
    kill(process.unwrap().pid(), ExitReason::Kill);
    assert_eq!(journal.all(), ["Err(Exiting)"]);
    assert!(app.is_running());
    app.stop().unwrap();
}

#[test]
fn a_handle_that_is_dropped_leaves_it_running() {
    let _watchdog = watchdog();
    let name = unique("dropped");
    let starter = process::spawn(move || drop(started(Application::new(name, plan())))).unwrap();
    let gone = process::watch(starter).wait();
    assert!(matches!(gone, ExitReason::Normal | ExitReason::NoProc), "{gone}");
    assert!(listed(name), "it has no link");
    Application::stop(name).unwrap();
}

#[test]
fn run_returns_how_it_ended() {
    let _watchdog = watchdog();
    let name = unique("run");
    let last = ChildSpec::worker("last", move || {
        Application::find(name).expect("it runs").request_stop();
        process::sleep(Duration::MAX);
    });
    assert_eq!(
        Application::new(name, plan().child(last)).run(),
        ApplicationExit::Stopped(ExitReason::Shutdown)
    );
    let refused = Application::new(name, plan()).depends_on(unique("nothing")).run();
    assert!(matches!(refused, ApplicationExit::NotStarted(ApplicationError::NotStarted(_))), "{refused:?}");
    assert_eq!(refused.reason(), None);
}

#[test]
fn the_exit_status_and_the_line_on_standard_error() {
    let said = child_program::in_child_program(|| {
        let status = |ending: ApplicationExit| format!("{:?}", ending.report());
        let (good, bad) = (format!("{:?}", ExitCode::SUCCESS), format!("{:?}", ExitCode::FAILURE));
        assert_ne!(good, bad);
        let well = [ExitReason::Normal, ExitReason::Shutdown, ExitReason::shutdown_with("quiet, please")];
        for reason in well {
            assert_eq!(status(ApplicationExit::Stopped(reason)), good);
        }
        assert_eq!(status(ApplicationExit::Stopped("out of luck".into())), bad);
        assert_eq!(status(ApplicationExit::Stopped(ExitReason::Killed)), bad);
        assert_eq!(status(ApplicationExit::GaveUp("too often".into())), bad);
        assert_eq!(status(ApplicationError::NotStarted("db".into()).into()), bad);
    });
    let lines = [
        "the application ended: out of luck",
        "the application ended: killed",
        "the application gave up: too often",
        "the application db is not started",
    ];
    for line in lines {
        assert_eq!(said.lines().filter(|other| *other == line).count(), 1, "{line}:\n{said}");
    }
    assert!(!said.contains("quiet, please"));
}
