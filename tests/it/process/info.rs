//! Introspection of a process: its listing, its label, its mailbox, its crash report. And the order in
//! which selective receives take messages.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::support::scripted_process::ScriptedProcess;
use crate::support::{self, Gate, attached, down, eventually, logs, message, sleeper, unique, watchdog};
use parking_lot::Mutex;
use rethread::agent::Agent;
use rethread::application::Application;
use rethread::prelude::*;
use rethread::process::{Activity, Builder, Event, Inbox, MonitorTarget, ProcessState};
use rethread::supervisor::{DynamicSupervisor, PartitionRef, PartitionSupervisor};
use rethread::task::TaskSupervisor;

#[test]
fn all_fields_of_info() {
    attached(|inbox: &mut Inbox<()>| {
        let (name, gate, ready) = (unique("info"), Gate::new(), Gate::new());
        let (held, begun, other) = (gate.clone(), ready.clone(), sleeper());
        let (linked, monitored) = (other.pid(), sleeper().pid());
        // On a busy machine it must not become a zombie.
        let builder = Builder::new().name(name).label("under test").kill_grace(Duration::from_secs(60));
        let line = line!() + 1;
        let child = builder.spawn_receiver::<u16>(move |inbox| {
            process::trap_exit(true);
            process::link(linked).unwrap();
            let _ = process::monitor(monitored);
            let _ = process::monitor(monitored);
            begun.open();
            held.pass();
            inbox.recv_where(|_| false);
        });
        let child = child.unwrap();
        let monitor = process::monitor(&child);
        ready.pass();
        (0..3).for_each(|n| child.send(n));
        let info = process::info(&child).unwrap();
        assert_eq!(info.pid, child.pid());
        assert_eq!((info.name.as_deref(), info.label.as_deref()), (Some(name), Some("under test")));
        assert_eq!(info.state, ProcessState::Running);
        assert_eq!((info.links, info.monitors), (vec![linked], vec![monitored; 2]));
        assert_eq!(info.monitored_by, [inbox.pid()]);
        assert_eq!((info.message_queue_len, info.message_type), (3, "u16"));
        assert!(info.traps_exits);
        assert_eq!(info.thread_name.as_deref(), Some("under test"), "the label goes before the name");
        assert_eq!(info.waiting_on, None);
        assert_eq!(*info.ancestors, [inbox.pid()]);
        assert_eq!((info.spawned_at.file(), info.spawned_at.line()), (file!(), line));
        assert!(info.uptime < Duration::from_secs(60));
        gate.open();
        eventually("it waits", || process::info(&child).unwrap().state == ProcessState::Waiting);
        let info = process::info(&child).unwrap();
        assert_eq!(info.message_queue_len, 3, "skipped messages stay in the mailbox");
        let text = info.to_string();
        for part in [&child.pid().to_string(), name, "waiting", "message_queue_len 3", file!()] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
        process::exit(&child, ExitReason::Kill);
        assert_eq!(down(inbox), (monitor, ExitReason::Killed));
        assert!(process::info(&child).is_none());
    });
}

#[test]
fn info_of_exiting_process_shows_the_reason() {
    attached(|inbox: &mut Inbox<()>| {
        let (ready, gate) = (Gate::new(), Gate::new());
        let (begun, held) = (ready.clone(), gate.clone());
        let (child, monitor) = process::spawn_monitor(move || {
            begun.open();
            held.pass();
            process::checkpoint();
        })
        .unwrap();
        ready.pass();
        process::exit(child, "on the way");
        let info = process::info(child).unwrap();
        assert_eq!(info.state, ProcessState::Exiting("on the way".into()));
        assert!(info.to_string().contains("exiting (on the way)"), "{info}");
        gate.open();
        assert_eq!(down(inbox), (monitor, "on the way".into()));
    });
}

#[test]
fn processes_are_listed_in_order_of_start() {
    attached(|inbox: &mut Inbox<()>| {
        let children = [(); 5].map(|()| sleeper());
        let listed = process::processes();
        assert!(listed.is_sorted_by_key(|info| info.pid));
        let mine: Vec<_> = listed.iter().filter(|info| *info.ancestors == [inbox.pid()]).collect();
        assert!(mine.iter().map(|info| info.pid).eq(children.iter().map(process::Address::pid)));
        assert!(listed.iter().any(|info| info.pid == inbox.pid() && info.ancestors.is_empty()));
        for child in &children {
            let watch = process::watch(child);
            process::exit(child, ExitReason::Kill);
            watch.wait();
        }
        let listed = process::processes();
        assert!(!listed.iter().any(|info| info.ancestors.contains(&inbox.pid())));
    });
}

#[test]
fn ancestors_are_listed_from_the_parent_up() {
    attached(|inbox: &mut Inbox<Vec<rethread::Pid>>| {
        let to = inbox.address();
        let parent = process::spawn_receiver::<()>(move |inbox| {
            process::spawn_receiver::<()>(move |inbox| {
                let info = process::info(inbox.pid()).expect("it is running");
                to.send(info.ancestors.to_vec());
            })
            .unwrap();
            inbox.recv();
        });
        assert_eq!(message(inbox), [parent.unwrap().pid(), inbox.pid()]);
    });
}

#[test]
fn a_label_can_be_changed_and_need_not_be_unique() {
    let _watchdog = watchdog();
    let (a, b) = (ScriptedProcess::new(), ScriptedProcess::with(Builder::new().label("first")));
    assert_eq!(process::info(&a).unwrap().label, None);
    assert_eq!(process::info(&b).unwrap().label.as_deref(), Some("first"));
    for process in [&a, &b] {
        process.run(|| process::set_label("second"));
        let info = process::info(process).unwrap();
        assert_eq!(info.label.as_deref(), Some("second"));
        assert!(info.to_string().contains("second"));
    }
}

#[test]
fn targets_and_pids_print_short() {
    let _watchdog = watchdog();
    let child = sleeper();
    let pid = child.pid();
    assert_eq!(format!("{pid} {pid:?}"), format!("{0} {0}", MonitorTarget::Pid(pid)));
    assert_eq!(MonitorTarget::Name("bob".into()).to_string(), "bob");
    assert_eq!(format!("{child:?}"), format!("Address({pid})"));
    assert_eq!(child, child.clone());
    process::exit(pid, ExitReason::Kill);
}

#[test]
fn a_selective_receive_leaves_the_others_in_order() {
    attached(|inbox: &mut Inbox<u32>| {
        let even = |event: &Event<u32>| matches!(event, Event::Message(n) if n % 2 == 0);
        (1..=6).for_each(|n| inbox.address().send(n));
        assert_eq!(inbox.recv_where(even), Event::Message(2));
        assert_eq!(inbox.len(), 5);
        assert_eq!(inbox.recv_where(|event| *event == Event::Message(5)), Event::Message(5));
        inbox.address().send(7);
        assert_eq!(inbox.recv_where(even), Event::Message(4));
        assert_eq!(inbox.recv_where_timeout(Duration::ZERO, |event| *event == Event::Message(9)), None);
        assert_eq!(inbox.len(), 4);
        assert_eq!([(); 4].map(|()| message(inbox)), [1, 3, 6, 7]);
        assert!(inbox.is_empty());
    });
}

#[test]
fn a_selective_receive_takes_exits_and_downs_too() {
    attached(|inbox: &mut Inbox<u32>| {
        process::trap_exit(true);
        inbox.address().send(1);
        let child = process::spawn_link(|| process::exit_with("requested")).unwrap();
        inbox.address().send(2);
        let exit = inbox.recv_where(|event| matches!(event, Event::Exit { .. }));
        assert_eq!(exit, Event::Exit { from: child, reason: "requested".into() });
        let monitor = process::monitor(child);
        let gone = inbox
            .recv_where(|event| matches!(event, Event::Down { monitor: fired, .. } if *fired == monitor));
        assert!(matches!(gone, Event::Down { reason: ExitReason::NoProc, .. }));
        assert_eq!([message(inbox), message(inbox)], [1, 2]);
        assert_eq!(Event::Message(3).into_message(), Some(3));
        assert_eq!(gone.into_message(), None);
    });
}

#[test]
fn a_crash_is_reported_once_with_what_is_known_of_the_process() {
    support::capture();
    attached(|inbox: &mut Inbox<()>| {
        let (name, go) = (unique("crash"), Gate::new());
        let wait = go.clone();
        let child =
            Builder::new().name(name).label("one that crashes").spawn_receiver_monitor::<()>(move |_| {
                wait.pass();
                panic!("for the report");
            });
        let line = line!() - 2;
        let (child, monitor) = child.unwrap();
        (0..2).for_each(|_| child.send(()));
        go.open();
        assert_eq!(down(inbox).0, monitor);
        let reports: Vec<String> = logs().into_iter().filter(|text| text.contains(name)).collect();
        assert_eq!(reports.len(), 1, "{reports:#?}");
        let place = format!("{}:{line}", file!());
        let ancestors = format!("ancestors: {}", inbox.pid());
        let parts = [
            "ERROR",
            "for the report",
            &place,
            "one that crashes",
            "spawned at",
            &ancestors,
            "unread messages: 2",
            "traps exits: false",
        ];
        for part in parts {
            assert!(reports[0].contains(part), "{part:?} is not in: {}", reports[0]);
        }
    });
}

#[test]
fn requested_exit_is_not_reported() {
    support::capture();
    attached(|inbox: &mut Inbox<()>| {
        let ends: [fn(); 4] = [
            || (),
            || process::exit_with("own will"),
            || process::exit_with(ExitReason::Shutdown),
            || process::attempt(|| panic!("rescued")).rescue(|_| ()),
        ];
        let mut pids = Vec::new();
        for end in ends {
            let (child, monitor) = process::spawn_monitor(end).unwrap();
            assert_eq!(down(inbox).0, monitor);
            pids.push(child);
        }
        let (child, monitor) = process::spawn_receiver_monitor::<()>(|inbox| {
            inbox.recv();
        })
        .unwrap();
        process::exit(&child, "requested");
        assert_eq!(down(inbox).0, monitor);
        pids.push(child.pid());
        let errors: Vec<String> = logs().into_iter().filter(|text| text.starts_with("ERROR")).collect();
        for pid in pids {
            assert!(!errors.iter().any(|text| text.contains(&format!("{pid} "))), "{errors:#?}");
        }
    });
}

#[test]
fn supervised_child_shows_the_location_of_its_spec() {
    let _watchdog = watchdog();
    let supervisor = Supervisor::one_for_one().start().unwrap();
    let specs = [
        ChildSpec::worker("worker", || process::sleep(Duration::from_secs(60))),
        Agent::child_spec(|| ()).into(),
        Supervisor::one_for_one().id("inner").into(),
        DynamicSupervisor::child_spec().id("dynamic").into(),
        Supervisor::one_for_all().into(),
        DynamicSupervisor::child_spec().into(),
        TaskSupervisor::child_spec().into(),
        PartitionSupervisor::child_spec(PartitionRef::<Agent<()>>::named(unique("shown")), |_| {
            Agent::child_spec(|| ())
        })
        .into(),
    ];
    for spec in specs {
        let shown = format!("{spec:?}");
        let child = supervisor.start_child(spec).unwrap();
        let file = process::info(child).unwrap().spawned_at.file();
        assert_eq!(file, file!(), "{shown}");
    }
    supervisor.stop().unwrap();

    let top = Supervisor::one_for_one(); // started by the application
    let application = Application::new(unique("shown"), top).start().unwrap();
    let started = [
        application.supervisor().whereis(),
        Supervisor::start_link([Agent::child_spec(|| ())], Strategy::OneForOne).unwrap().whereis(),
        DynamicSupervisor::start_link().unwrap().whereis(),
        TaskSupervisor::start_link().unwrap().whereis(),
    ];
    for pid in started.into_iter().flatten() {
        let file = process::info(pid).expect("it is running").spawned_at.file();
        assert_eq!(file, file!());
        process::exit(pid, ExitReason::Kill);
    }
}

/// A server that notes the activity reported by the runtime in each of its callbacks.
struct Introspective(Vec<Activity>);

impl Introspective {
    fn note(&mut self, cx: &Context<Self>) -> Next {
        let info = process::info(cx.pid()).expect("it is running");
        self.0.push(info.activity);
        Next::wait()
    }
}

impl GenServer for Introspective {
    type Args = ();
    type Call = Caller<()>;
    type Cast = Pid;

    fn init((): (), cx: &mut Context<Self>) -> Result<Self, InitError> {
        let mut server = Self(Vec::new());
        let _ = server.note(cx);
        cx.after_init(Next::wait().and_continue());
        Ok(server)
    }
    fn handle_continue(&mut self, cx: &mut Context<Self>) -> Next {
        self.note(cx)
    }
    fn handle_call(&mut self, from: Caller<()>, cx: &mut Context<Self>) -> Next {
        let _ = self.note(cx);
        from.reply(())
    }
    fn handle_cast(&mut self, to_monitor: Pid, cx: &mut Context<Self>) -> Next {
        let _ = process::monitor(to_monitor);
        self.note(cx)
    }
    fn handle_info(&mut self, _: Info, cx: &mut Context<Self>) -> Next {
        self.note(cx).and_stop(ExitReason::Normal)
    }
    fn terminate(&mut self, _: &ExitReason, cx: &mut Context<Self>) {
        let _ = self.note(cx);
        NOTED.lock().append(&mut self.0);
    }
}

static NOTED: Mutex<Vec<Activity>> = Mutex::new(Vec::new());

#[test]
fn a_server_shows_in_which_callback_it_is() {
    attached(|_: &mut Inbox<()>| {
        let exited = Pid::from(&sleeper());
        process::exit(exited, ExitReason::Kill);
        let server = Introspective::start(()).unwrap();
        server.call(|from| from).unwrap();
        let (pid, watch) = (server.whereis().unwrap(), server.watch());
        eventually("it waits", || process::info(pid).expect("it is running").activity == Activity::Waiting);
        server.cast(exited); // and the `Down` is the info
        watch.wait();
        use Activity::{Call, Cast, Continuing, Info, Starting, Terminating};
        assert_eq!(*NOTED.lock(), [Starting, Continuing, Call, Cast, Info, Terminating]);
        assert_eq!(process::info(sleeper()).map(|info| info.activity), Some(Activity::Body));
    });
}

#[test]
fn times_are_measured_from_their_own_start() {
    attached(|_: &mut Inbox<()>| {
        let _earlier = sleeper();
        let began = Instant::now();
        let child = sleeper();
        let info = process::info(&child).expect("it is running");
        assert!(info.uptime > Duration::ZERO);
        let longest = began.elapsed();
        assert!(info.uptime <= longest && info.active_for <= longest, "{info:?} in {longest:?}");
    });
}

#[test]
fn with_an_observer_each_message_has_its_own_start_time() {
    type Act = Box<dyn FnOnce() + Send>;
    struct Worker;
    impl GenServer for Worker {
        type Args = ();
        type Call = Infallible;
        type Cast = Act;

        fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
            Ok(Self)
        }
        fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next {
            match call {}
        }
        fn handle_cast(&mut self, act: Act, _: &mut Context<Self>) -> Next {
            act();
            Next::wait()
        }
    }
    attached(|_: &mut Inbox<()>| {
        let worker = Worker::start(()).unwrap();
        let pid = worker.whereis().unwrap();
        // This query makes the worker record the start time of each message.
        let _ = process::info(pid);
        let (all_sent, (tx, rx)) = (Gate::new(), channel());
        let (wait, first_over) = (all_sent.clone(), tx.clone());
        // The first message ends after both are queued, and reports when.
        worker.cast(Box::new(move || {
            wait.pass();
            let _ = first_over.send(Instant::now());
        }));
        let [second, end] = [(); 2].map(|()| Gate::new());
        let (begun, held) = (second.clone(), end.clone());
        worker.cast(Box::new(move || {
            begun.open();
            held.pass();
        }));
        // The second message must not count the time of the first.
        all_sent.open();
        second.pass();
        let info = process::info(pid).expect("it is running");
        let longest = rx.recv().expect("the first is over").elapsed();
        assert!(info.active_for <= longest, "{info:?} in {longest:?}");
        end.open();
        worker.stop().unwrap();
    });
}

/// A label whose conversion asks for the process that it labels.
struct SelfDescription;

impl From<SelfDescription> for std::sync::Arc<str> {
    fn from(_: SelfDescription) -> Self {
        let info = process::current().and_then(process::info);
        format!("has {} messages", info.expect("it is running").message_queue_len).into()
    }
}

#[test]
fn label_that_asks_for_its_process_is_set() {
    attached(|inbox: &mut Inbox<()>| {
        process::set_label(SelfDescription);
        let info = process::info(inbox.pid()).expect("it is running");
        assert_eq!(info.label.as_deref(), Some("has 0 messages"));
    });
}
