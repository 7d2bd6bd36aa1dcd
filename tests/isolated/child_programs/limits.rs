//! The limits: the number of processes, and a system without available threads. Settings hold for the whole
//! program, so each test runs in a child program.

use std::time::{Duration, Instant};

use crate::support::child::{Child, child_pid, kill, pid_of, states, up};
use crate::support::child_program::in_child_program;
use crate::support::{Gate, Journal, attached, down, eventually, sleeper, unique, watchdog};
use rethread::application::Application;
use rethread::prelude::*;
use rethread::process::{self, Address, Builder, Inbox, SpawnError};
use rethread::supervisor::DynamicSupervisor;
use rethread::supervisor::SupervisorSpec;

/// Like `sleeper`, but may fail.
fn another() -> Result<Address<()>, SpawnError> {
    process::spawn_receiver(|inbox| {
        inbox.recv();
    })
}

#[test]
fn the_process_limit_refuses_and_nothing_is_left_over() {
    in_child_program(|| {
        process::configure(|settings| settings.max_processes = 20);
        attached(|inbox: &mut Inbox<()>| {
            process::trap_exit(true);
            let mut alive: Vec<Address<()>> = (0..19).map(|_| another().unwrap()).collect();
            for round in 0..3 {
                let name = unique("refused");
                let refused = another();
                assert!(matches!(refused, Err(SpawnError::SystemLimit { limit: 20 })), "{refused:?}");
                assert!(refused.unwrap_err().to_string().contains("20"));
                let refused = Builder::new().name(name).spawn_link(|| ());
                assert!(matches!(refused, Err(SpawnError::SystemLimit { limit: 20 })), "{refused:?}");
                let refused = process::spawn_monitor(|| ());
                assert!(matches!(refused, Err(SpawnError::SystemLimit { limit: 20 })), "{refused:?}");
                let me = process::info(inbox.pid()).unwrap();
                assert_eq!((me.links, me.monitors), (vec![], vec![]));
                assert_eq!(process::whereis(name), None);
                assert_eq!(process::processes().len(), 20);
                assert_eq!(inbox.try_recv(), None);
                // For each exit, one start.
                for _ in 0..=round {
                    let gone = alive.pop().unwrap();
                    let monitor = process::monitor(&gone);
                    process::exit(&gone, ExitReason::Kill);
                    assert_eq!(down(inbox), (monitor, ExitReason::Killed));
                }
                for _ in 0..=round {
                    alive.push(another().expect("room, as soon as the end is known"));
                }
                assert_eq!(alive.len(), 19);
            }
        });
    });
}

#[test]
fn attached_processes_and_zombies_count() {
    in_child_program(|| {
        let _watchdog = watchdog();
        process::configure(|settings| settings.max_processes = 2);
        let gate = Gate::new();
        let (ready, held) = (Gate::new(), gate.clone());
        let begun = ready.clone();
        let stuck = Builder::new().kill_grace(Duration::ZERO).spawn(move || {
            begun.open();
            held.pass();
        });
        let stuck = stuck.unwrap();
        ready.pass();
        let watch = process::watch(stuck);
        process::exit(stuck, ExitReason::Kill);
        assert_eq!(watch.wait(), ExitReason::Killed);
        assert_eq!(process::zombies().len(), 1);
        process::attach(|| {
            let refused = another();
            assert!(matches!(refused, Err(SpawnError::SystemLimit { limit: 2 })), "{refused:?}");
        })
        .unwrap();
        let one = another().unwrap();
        let refused = process::attach(|| ());
        let limit = SpawnError::SystemLimit { limit: 2 }.to_string();
        assert_eq!(refused.unwrap_err().to_string(), limit);
        gate.open();
        eventually("the zombie is gone", || process::zombies().is_empty());
        another().expect("room, as soon as the end is known");
        process::exit(&one, ExitReason::Kill);
    });
}

#[test]
fn lowered_limit_holds_for_new_processes() {
    in_child_program(|| {
        let _watchdog = watchdog();
        let alive: Vec<_> = (0..10).map(|_| another().unwrap()).collect();
        process::configure(|settings| settings.max_processes = 5);
        assert!(matches!(another(), Err(SpawnError::SystemLimit { limit: 5 })));
        assert!(alive.iter().all(process::is_alive));
        process::configure(|settings| settings.max_processes = 11);
        another().unwrap();
        assert!(matches!(another(), Err(SpawnError::SystemLimit { limit: 11 })));
    });
}

#[test]
fn settings_hold_for_processes_that_begin_afterwards() {
    in_child_program(|| {
        attached(|inbox: &mut Inbox<()>| {
            let stuck = |gate: &Gate| {
                let (ready, held) = (Gate::new(), gate.clone());
                let begun = ready.clone();
                let pair = process::spawn_monitor(move || {
                    begun.open();
                    held.pass();
                });
                ready.pass();
                pair.expect("a free thread")
            };
            let gate = Gate::new();
            // Started under the default settings.
            let (old, of_old) = stuck(&gate);
            let mut short = process::settings();
            short.kill_grace = Duration::ZERO;
            short.exit_timeout = Duration::from_millis(10);
            process::configure(|settings| *settings = short);
            assert_eq!(process::settings(), short);
            // Started under the short ones: they become zombies soon, the old one does not.
            let (killed, of_killed) = stuck(&gate);
            let (signalled, of_signalled) = stuck(&gate);
            process::exit(old, ExitReason::Shutdown);
            process::exit(killed, ExitReason::Kill);
            assert_eq!(down(inbox), (of_killed, ExitReason::Killed));
            process::exit(signalled, ExitReason::Shutdown);
            assert_eq!(down(inbox), (of_signalled, ExitReason::Shutdown));
            assert_eq!(process::zombies().len(), 2);
            gate.open();
            assert_eq!(down(inbox), (of_old, ExitReason::Shutdown));
        });
    });
}

/// Notes when it is dropped.
struct Baggage(Journal);

impl Drop for Baggage {
    fn drop(&mut self) {
        self.0.note("dropped");
    }
}

#[test]
fn a_thread_that_the_system_refuses_leaves_nothing_over() {
    in_child_program(|| {
        // Room for two besides the test: a refused start must give its place back.
        process::configure(|settings| settings.max_processes = 3);
        attached(|inbox: &mut Inbox<()>| {
            process::trap_exit(true);
            let huge = || Builder::new().stack_size(1 << 46);
            let journal = Journal::new();
            for round in 1..=5 {
                let name = unique("huge");
                let baggage = Baggage(journal.clone());
                let refused = huge().name(name).spawn_link(move || drop(baggage));
                assert!(matches!(refused, Err(SpawnError::Thread(_))), "{refused:?}");
                let refused = refused.unwrap_err();
                let SpawnError::Thread(cause) = &refused else { panic!("{refused:?}") };
                assert!(cause.raw_os_error().is_some(), "{cause:?}");
                let (text, cause) = (refused.to_string(), cause.to_string());
                assert!(text.contains("refused") && text.contains(&cause), "{text} does not say {cause}");
                assert_eq!(process::whereis(name), None);
                let refused = huge().name(name).spawn_monitor(|| ());
                assert!(matches!(refused, Err(SpawnError::Thread(_))), "{refused:?}");
                let refused = huge().name(name).spawn(|| ());
                assert!(matches!(refused, Err(SpawnError::Thread(_))), "{refused:?}");
                let me = process::info(inbox.pid()).unwrap();
                assert_eq!((me.links, me.monitors), (vec![], vec![]));
                assert_eq!(process::processes().len(), 1);
                assert_eq!(journal.all().len(), round);
                assert_eq!(inbox.try_recv(), None, "neither an exit nor a down");
            }
            let ready = [another(), another()];
            assert!(ready.iter().all(Result::is_ok), "{ready:?}");
        });
    });
}

#[test]
fn a_huge_stack_for_all_is_refused_too() {
    in_child_program(|| {
        let _watchdog = watchdog();
        let before = process::settings();
        process::configure(|settings| settings.stack_size = 1 << 46);
        assert!(matches!(another(), Err(SpawnError::Thread(_))));
        process::configure(|settings| *settings = before);
        assert!(another().is_ok());
    });
}

#[test]
fn refused_thread_does_not_take_the_name_of_an_exiting_process() {
    in_child_program(|| {
        attached(|inbox: &mut Inbox<()>| {
            let (name, gate, journal) = (unique("exiting"), Gate::new(), Journal::new());
            let (ready, held, notes) = (Gate::new(), gate.clone(), journal.clone());
            let begun = ready.clone();
            let old = Builder::new().name(name).spawn_monitor(move || {
                begun.open();
                held.pass();
                notes.note("the old one is gone");
            });
            let (old, monitor) = old.unwrap();
            ready.pass();
            process::exit(old, ExitReason::Shutdown);
            let refused = Builder::new().name(name).stack_size(1 << 46).spawn(|| ());
            assert!(matches!(refused, Err(SpawnError::Thread(_))), "{refused:?}");
            let notes = journal.clone();
            let new = Builder::new().name(name).spawn(move || notes.note("the new one begins"));
            let new = new.unwrap();
            eventually("it waits", || {
                process::info(new).is_none_or(|info| info.state == process::ProcessState::Waiting)
            });
            gate.open();
            assert_eq!(down(inbox), (monitor, ExitReason::Shutdown));
            assert_eq!(journal.wait_for(2), ["the old one is gone", "the new one begins"]);
        });
    });
}

#[test]
fn as_many_processes_as_the_default_allows_do_work() {
    in_child_program(|| {
        let _watchdog = watchdog();
        let began = Instant::now();
        // A big machine allows more than a test should use: 10,000 is enough then.
        let limit = process::settings().max_processes.min(10_000);
        process::configure(|settings| settings.max_processes = limit);
        let alive: Vec<Address<()>> = (0..limit).map(|_| another().unwrap()).collect();
        let refused = another();
        assert!(
            matches!(refused, Err(SpawnError::SystemLimit { limit: signalled }) if signalled == limit),
            "{refused:?}"
        );
        println!("{limit} processes after {:?}", began.elapsed());
        // They all run, and they all can be ended.
        let watches: Vec<_> = alive.iter().map(process::watch).collect();
        alive.iter().for_each(|one| one.send(()));
        assert!(watches.iter().all(|watch| watch.wait() == ExitReason::Normal));
        println!("and gone after {:?}", began.elapsed());
        another().expect("room, as soon as the end is known");
        drop(sleeper());
    });
}

const MINUTE: Duration = Duration::from_secs(60);

/// Sets the process limit so that this many may run, exiting threads included.
fn room_for(max_processes: usize) {
    process::configure(|settings| settings.max_processes = max_processes);
}

/// Allows all the restarts that a test can need.
fn patient() -> SupervisorSpec {
    Supervisor::one_for_one().max_restarts(u32::MAX, MINUTE)
}

#[test]
fn restarts_without_room_escalate_and_the_system_comes_back_when_there_is_room() {
    in_child_program(|| {
        let _watchdog = watchdog();
        let journal = Journal::new();
        let (a, b) = (Child::new("a", &journal), Child::new("b", &journal));
        let inner = Supervisor::one_for_one().max_restarts(2, MINUTE).child(a.spec()).child(b.spec());
        let top = up(patient().child(inner.id("inner")));
        let first = child_pid(&top, "inner");
        room_for(3); // the two supervisors, and b
        a.crash();
        // Two attempts are allowed, a third is too many: the inner one stops b and itself, and cannot be
        // restarted either.
        process::watch(first).wait(); // and the top one has been notified before us
        for _ in 0..10 {
            assert_eq!(states(&top), [("inner".into(), "restarting")], "and the top one answers meanwhile");
        }
        assert!(a.starts() >= 2 && b.starts() == 1, "each time it gets as far as there is room");
        room_for(100);
        b.await_start(2);
        eventually("all is as it was", || states(&top) == [("inner".into(), "running")]);
        assert!(process::is_alive(a.pid()) && process::is_alive(b.pid()));
        assert_eq!(process::processes().len(), 4);
        top.stop().unwrap();
    });
}

#[test]
fn a_whole_application_that_finds_no_room_in_time_gives_up() {
    in_child_program(|| {
        let _watchdog = watchdog();
        let a = Child::new("a", &Journal::new());
        let inner = Supervisor::one_for_one().max_restarts(1, MINUTE).child(a.spec());
        let top = Supervisor::one_for_one().max_restarts(1, MINUTE).child(inner);
        let app = Application::new("no room", top).start().unwrap();
        room_for(3); // its master and the two supervisors
        a.crash();
        let ending = app.wait();
        assert!(!ending.is_success());
        assert!(ending.to_string().contains("reached_max_restart_intensity by child"), "{ending}");
        assert!(process::processes().is_empty());
    });
}

#[test]
fn a_group_restart_that_runs_out_of_room_begins_anew_when_there_is_some() {
    in_child_program(|| {
        let _watchdog = watchdog();
        let journal = Journal::new();
        let children = ["a", "b", "c"].map(|id| Child::new(id, &journal));
        let plan = Supervisor::one_for_all().max_restarts(u32::MAX, MINUTE);
        let supervisor = up(plan.children(children.iter().map(Child::spec)));
        room_for(3); // the supervisor and two of them
        children[0].crash();
        let c = &children[2];
        eventually("it has got as far as c", || children[1].starts() > 1);
        assert_eq!((c.starts(), c.attempts()), (1, 1));
        room_for(100);
        c.await_start(2);
        eventually("all run", || states(&supervisor).iter().all(|(_, state)| *state == "running"));
        assert_eq!(process::processes().len(), 4, "no child runs twice");
        supervisor.stop().unwrap();
        let (starts, stops): (Vec<_>, Vec<_>) =
            journal.all().into_iter().partition(|note| note.starts_with("start"));
        assert_eq!(starts.len(), stops.len(), "none is left");
    });
}

#[test]
fn a_dynamic_child_whose_restart_finds_no_room_is_tried_again() {
    in_child_program(|| {
        let _watchdog = watchdog();
        let a = Child::new("a", &Journal::new());
        let supervisor = DynamicSupervisor::child_spec().max_restarts(u32::MAX, MINUTE).start().unwrap();
        supervisor.start_child(a.spec()).unwrap();
        room_for(1);
        a.crash();
        for _ in 0..10 {
            assert_eq!(supervisor.which_children().unwrap()[0].pid(), None);
        }
        room_for(2);
        let second = a.await_start(2);
        eventually("the supervisor knows", || supervisor.which_children().unwrap()[0].pid() == Some(second));
        supervisor.stop().unwrap();
    });
}

#[test]
fn a_supervisor_is_stopped_and_killed_in_the_middle_of_restarts_without_room() {
    in_child_program(|| {
        let _watchdog = watchdog();
        for kills in [false, true] {
            room_for(100);
            let (a, b) = (Child::new("a", &Journal::new()), Child::new("b", &Journal::new()));
            let supervisor = up(patient().child(a.spec()).child(b.spec()));
            let of_b = b.server().watch();
            room_for(2);
            a.crash();
            assert_eq!(states(&supervisor)[0].1, "restarting");
            if kills {
                assert_eq!(kill(pid_of(&supervisor), ExitReason::Kill), ExitReason::Killed);
                assert_eq!(of_b.wait(), ExitReason::Killed);
            } else {
                supervisor.stop().unwrap();
                assert_eq!(of_b.wait(), ExitReason::Shutdown);
            }
            eventually("nothing is left", || process::processes().is_empty());
        }
    });
}
