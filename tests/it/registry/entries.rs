//! Registries: lookups by key, and the entries left when a process exits. Scenarios RG-01 to RG-16.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::child_program::in_child_program;
use crate::support::scripted_process::ScriptedProcess;
use crate::support::{Journal, attached, down, eventually, message, unique, watchdog};
use rethread::StartError;
use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::process::{self, Inbox, NameError};
use rethread::registry::{DuplicateRegistry, Registry, RegistryEvent};

/// A server that does nothing.
struct Idle;

impl GenServer for Idle {
    type Args = ();
    type Call = Caller<()>;
    type Cast = ();

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self)
    }
    fn handle_call(&mut self, from: Caller<()>, _: &mut Context<Self>) -> Next {
        from.reply(())
    }
    fn handle_cast(&mut self, (): (), _: &mut Context<Self>) -> Next {
        Next::wait()
    }
}

/// Ends a process and waits until all other processes have been notified.
fn end(pid: impl Into<Pid>, reason: ExitReason) {
    let pid = pid.into();
    let watch = process::watch(pid);
    process::exit(pid, reason);
    watch.wait();
}

/// Returns the message of the panic that this ends in.
fn raised(body: impl FnOnce()) -> String {
    let body = || {
        body();
        "nothing".to_owned()
    };
    process::attempt(body).rescue(|report| report.message().to_owned())
}

// scenario: RG-01
#[test]
fn a_key_is_held_by_one_process() {
    let _watchdog = watchdog();
    let keys: Registry<&str, u32> = Registry::new();
    let (a, b) = (ScriptedProcess::new(), ScriptedProcess::new());
    let registers = |process: &ScriptedProcess, key, value| {
        let keys = keys.clone();
        process.run(move || keys.register(key, value))
    };
    assert_eq!(registers(&a, "k", 1), Ok(()));
    assert_eq!(registers(&a, "k", 2), Err(NameError::Taken(a.pid())));
    assert_eq!(registers(&b, "k", 3), Err(NameError::Taken(a.pid())));
    assert_eq!(keys.lookup("k"), Some((a.pid(), 1)));
    assert_eq!(keys.whereis("k"), Some(a.pid()));
    assert_eq!(keys.values("k", &a), [1]);
    assert_eq!(keys.values("k", &b), [0; 0]);
    assert_eq!(registers(&a, "l", 4), Ok(()));
    assert_eq!(registers(&b, "m", 5), Ok(()));
    assert_eq!((keys.keys(&a), keys.keys(&b)), (vec!["k", "l"], vec!["m"]));
    assert_eq!(keys.entries(), [("k", a.pid(), 1), ("l", a.pid(), 4), ("m", b.pid(), 5)]);
    assert_eq!(keys.count(), 3);
    assert_eq!(keys.lookup("other"), None);
    assert_eq!(format!("{keys:?}"), "Registry { count: 3, processes: 2 }");
}

#[test]
fn refused_registration_is_not_visible() {
    attached(|inbox: &mut Inbox<EventText>| {
        let keys: Registry<u8, u32> = Registry::new();
        keys.register(1, 0).unwrap();
        keys.listen(&inbox.address());
        let (stop, attempts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (own, stopped, count) = (keys.clone(), Arc::clone(&stop), Arc::clone(&attempts));
        let other = process::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                own.register(1, 1).expect_err("it is taken");
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        let (other, mut looks) = (other.unwrap(), 0);
        while attempts.load(Ordering::SeqCst) < 3000 || looks < 3000 {
            assert_eq!((keys.keys(other), keys.count()), (vec![], 1));
            looks += 1;
        }
        stop.store(true, Ordering::SeqCst);
        process::watch(other).wait();
        assert_eq!(inbox.try_recv(), None);
    });
}

// scenario: RG-04
#[test]
fn key_of_exited_process_is_free() {
    attached(|inbox: &mut Inbox<()>| {
        let keys: Registry<u32, u32> = Registry::new();
        for round in 0..200 {
            let own = keys.clone();
            let (holder, monitor) = process::spawn_receiver_monitor::<()>(move |inbox| {
                own.register(7, round).expect("the key is free");
                inbox.recv();
            })
            .unwrap();
            assert_eq!(keys.whereis_timeout(7, Duration::from_secs(30)), Some(holder.pid()));
            process::exit(&holder, ExitReason::Kill);
            if round % 2 == 0 {
                assert_eq!(down(inbox).0, monitor); // on BEAM the promise begins here
            }
            assert_eq!(keys.register(7, round), Ok(()));
            assert_eq!(keys.lookup(&7), Some((inbox.pid(), round)));
            if round % 2 == 1 {
                assert_eq!(down(inbox).0, monitor);
            }
            // The exit cleanup of the earlier holder leaves the key with us.
            assert_eq!(keys.lookup(&7), Some((inbox.pid(), round)));
            keys.unregister(&7);
        }
    });
}

// scenario: RG-05
#[test]
fn exited_processes_are_not_found() {
    let _watchdog = watchdog();
    for _ in 0..500 {
        let (unique, many) = (Registry::<&str>::new(), DuplicateRegistry::<&str>::new());
        let holder = ScriptedProcess::new();
        let own = (unique.clone(), many.clone());
        holder.run(move || (own.0.register("k", ()), own.1.register("k", ()))).0.unwrap();
        let watch = process::watch(&holder);
        process::exit(&holder, ExitReason::Kill);
        for _ in 0..2 {
            assert_eq!((unique.whereis("k"), unique.lookup("k")), (None, None));
            assert_eq!((unique.count(), unique.keys(&holder), unique.entries()), (0, vec![], vec![]));
            assert_eq!((many.lookup("k"), many.values("k", &holder)), (vec![], vec![]));
            assert_eq!((many.count(), many.keys(&holder), many.entries()), (0, vec![], vec![]));
            unique.dispatch("k", |_| unreachable!("there is no entry"));
            many.dispatch("k", |_| unreachable!("there is no entry"));
            watch.wait(); // and now its cleanup has completed
        }
    }
}

// scenario: RG-06
#[test]
fn many_under_one_key() {
    let _watchdog = watchdog();
    let groups: DuplicateRegistry<String, u32> = DuplicateRegistry::new();
    let (a, b) = (ScriptedProcess::new(), ScriptedProcess::new());
    for (process, key, value) in [(&a, "k", 1), (&b, "k", 2), (&a, "k", 3), (&a, "l", 4)] {
        let groups = groups.clone();
        process.run(move || groups.register(key.to_owned(), value)).unwrap();
    }
    assert_eq!(groups.lookup("k"), [(a.pid(), 1), (b.pid(), 2), (a.pid(), 3)]);
    assert_eq!(groups.keys(&a), ["k", "k", "l"]);
    assert_eq!(groups.keys(&b), ["k"]);
    assert_eq!(groups.values("k", &a), [1, 3]);
    assert_eq!(groups.count(), 4);
    let all = [("k", &a, 1), ("k", &b, 2), ("k", &a, 3), ("l", &a, 4)];
    assert_eq!(groups.entries(), all.map(|(key, process, value)| (key.to_owned(), process.pid(), value)));
    let mut dispatched = Vec::new();
    groups.dispatch("k", |entries| dispatched.extend_from_slice(entries));
    assert_eq!(dispatched, groups.lookup("k"));
    assert_eq!(format!("{groups:?}"), "DuplicateRegistry { count: 4, processes: 2 }");
    end(&a, ExitReason::Kill);
    assert_eq!(groups.entries(), [("k".to_owned(), b.pid(), 2)]);
}

// scenario: RG-08
#[test]
fn a_dispatch_that_panics_harms_nothing() {
    attached(|inbox: &mut Inbox<()>| {
        let (unique, many) = (Registry::<&str>::new(), DuplicateRegistry::<&str>::new());
        unique.register("k", ()).unwrap();
        many.register("k", ()).unwrap();
        for _ in 0..2 {
            assert_eq!(raised(|| unique.dispatch("k", |_| panic!("oops"))), "oops");
            assert_eq!(raised(|| many.dispatch("k", |_| panic!("oops"))), "oops");
            assert_eq!(unique.lookup("k"), Some((inbox.pid(), ())));
            assert_eq!(many.lookup("k"), [(inbox.pid(), ())]);
        }
    });
}

// scenario: RG-09
#[test]
fn only_the_owner_updates_its_value() {
    attached(|inbox: &mut Inbox<()>| {
        let keys: Registry<&str, u32> = Registry::new();
        let other = ScriptedProcess::new();
        let own = keys.clone();
        other.run(move || own.register("theirs", 1)).unwrap();
        keys.register("mine", 10).unwrap();
        assert_eq!(keys.update_value("mine", |n| n + 1), Some((11, 10)));
        assert_eq!(keys.lookup("mine"), Some((inbox.pid(), 11)));
        assert_eq!(keys.update_value("theirs", |_| unreachable!("it is not ours")), None);
        assert_eq!(keys.update_value("other", |_| unreachable!("there is none")), None);
        assert_eq!(keys.lookup("theirs"), Some((other.pid(), 1)));
        assert_eq!(raised(|| assert_eq!(keys.update_value("mine", |_| panic!("oops")), None)), "oops");
        assert_eq!(keys.lookup("mine"), Some((inbox.pid(), 11)));
        // The value is removed with the entry, wherever it came from.
        assert_eq!(keys.values("mine", inbox.pid()), [11]);
        keys.unregister("mine");
        assert_eq!(keys.update_value("mine", |n| n), None);
    });
}

// scenario: RG-10
#[test]
fn one_unregisters_only_oneself() {
    let _watchdog = watchdog();
    let (unique, many) = (Registry::<&str, u32>::new(), DuplicateRegistry::<&str, u32>::new());
    let (a, b) = (ScriptedProcess::new(), ScriptedProcess::new());
    let (u, m) = (unique.clone(), many.clone());
    a.run(move || {
        u.unregister("k"); // nothing is registered yet
        m.unregister("k");
        u.register("k", 1).and(u.register("l", 2)).and(m.register("k", 3))
    })
    .unwrap();
    let (u, m) = (unique.clone(), many.clone());
    b.run(move || {
        u.unregister("k"); // it belongs to another process
        m.register("k", 4).unwrap();
        m.register("k", 5).unwrap();
        m.unregister("k");
        m.unregister_match("k", |_| unreachable!("there is none of ours left"));
        m.register("k", 6).unwrap();
    });
    assert_eq!(unique.lookup("k"), Some((a.pid(), 1)));
    assert_eq!(many.lookup("k"), [(a.pid(), 3), (b.pid(), 6)]);
    let (u, m) = (unique.clone(), many.clone());
    a.run(move || {
        u.unregister("k");
        u.unregister("k");
        m.unregister("k");
    });
    assert_eq!(unique.entries(), [("l", a.pid(), 2)]);
    assert_eq!((unique.keys(&a), many.keys(&a)), (vec!["l"], vec![]));
    assert_eq!(many.entries(), [("k", b.pid(), 6)]);
    let u = unique.clone();
    assert_eq!(b.run(move || u.register("k", 7)), Ok(()));
}

#[test]
fn some_entries_are_unregistered_by_their_value() {
    attached(|inbox: &mut Inbox<()>| {
        let groups: DuplicateRegistry<u8, u32> = DuplicateRegistry::new();
        for value in 0..6 {
            groups.register(1, value).unwrap();
        }
        groups.register(2, 0).unwrap();
        let other = ScriptedProcess::new();
        let own = groups.clone();
        other.run(move || own.register(1, 0)).unwrap();
        groups.unregister_match(&1, |value| value % 2 == 0);
        assert_eq!(groups.values(&1, inbox.pid()), [1, 3, 5]);
        assert_eq!(groups.values(&1, &other), [0]);
        assert_eq!(groups.keys(inbox.pid()), [1, 1, 1, 2]);
        groups.unregister_match(&1, |_| true);
        assert_eq!(groups.keys(inbox.pid()), [2]);
        assert_eq!(groups.count(), 2);
    });
}

// scenario: RG-14
#[test]
fn key_without_holder_is_no_process() {
    let _watchdog = watchdog();
    let keys: Registry<&str> = Registry::new();
    let server: ServerRef<Idle> = keys.server("k");
    let no_proc = CallError::NoProc { server: r#"Registry["k"]"#.into() };
    assert_eq!(server.call(|from| from), Err(no_proc.clone()));
    assert_eq!((server.whereis(), server.watch().wait()), (None, ExitReason::NoProc));
    server.cast(());
    let running = Idle::child_spec(()).name(server.clone()).start().unwrap();
    assert_eq!(server.call(|from| from), Ok(()));
    assert_eq!(keys.whereis("k"), running.whereis());
    let again = Idle::child_spec(()).name(server.clone()).start();
    assert_eq!(again.unwrap_err(), StartError::AlreadyStarted(running.whereis().unwrap()));
    assert_eq!(server.stop(), Ok(()));
    assert_eq!(server.call(|from| from), Err(no_proc));
    assert_eq!(keys.count(), 0);
}

/// A registry event as text.
#[derive(Debug, PartialEq)]
struct EventText(String);

impl<K: fmt::Debug> From<RegistryEvent<K, u32>> for EventText {
    fn from(event: RegistryEvent<K, u32>) -> Self {
        Self(match event {
            RegistryEvent::Register { key, value, .. } => format!("+{key:?}={value}"),
            RegistryEvent::Unregister { key, .. } => format!("-{key:?}"),
            _ => unreachable!("nothing else happens"),
        })
    }
}

// scenario: RG-16
#[test]
fn listeners_are_notified_in_order() {
    attached(|inbox: &mut Inbox<EventText>| {
        let (unique, many) = (Registry::<u8, u32>::new(), DuplicateRegistry::<u8, u32>::new());
        unique.listen(&inbox.address());
        unique.listen(&inbox.address()); // a second time has no effect
        many.listen(&inbox.address());
        let holder = ScriptedProcess::new();
        let (u, m) = (unique.clone(), many.clone());
        holder.run(move || {
            u.register(1, 10).unwrap();
            assert!(u.register(1, 11).is_err()); // no event
            u.unregister(&2); // no event
            u.update_value(&1, |n| n + 1).unwrap();
            u.unregister(&1);
            m.register(3, 30).unwrap();
            m.register(3, 31).unwrap();
            m.unregister_match(&3, |n| *n == 30);
            u.register(4, 40).unwrap();
        });
        let received = [(); 6].map(|()| message(inbox).0);
        assert_eq!(received, ["+1=10", "-1", "+3=30", "+3=31", "-3", "+4=40"]);
        end(&holder, ExitReason::Kill);
        let mut received = [(); 2].map(|()| message(inbox).0);
        received.sort();
        assert_eq!(received, ["-3", "-4"]);
        assert_eq!(inbox.try_recv(), None);
    });
}

#[test]
fn takeover_is_reported_as_unregistration_and_registration() {
    attached(|inbox: &mut Inbox<RegistryEvent<u8>>| {
        let keys: Registry<u8> = Registry::new();
        keys.listen(&inbox.address());
        for _ in 0..200 {
            let old = ScriptedProcess::new();
            let own = keys.clone();
            old.run(move || own.register(1, ())).unwrap();
            let watch = process::watch(&old);
            process::exit(&old, ExitReason::Kill);
            keys.register(1, ()).unwrap();
            watch.wait();
            keys.unregister(&1);
            let received = [(); 4].map(|()| message(inbox));
            let (key, value, me) = (1, (), inbox.pid());
            assert_eq!(received[0], RegistryEvent::Register { key, pid: old.pid(), value });
            let mut then = received[1..].to_vec();
            // Its exit cleanup announces its end, possibly after our registration is announced.
            let end = then.iter().position(|event| event.pid() == old.pid()).expect("its end is announced");
            assert_eq!(then.remove(end), RegistryEvent::Unregister { key, pid: old.pid() });
            assert_eq!(
                then,
                [RegistryEvent::Register { key, pid: me, value }, RegistryEvent::Unregister { key, pid: me }]
            );
            assert_eq!(inbox.try_recv(), None);
        }
    });
}

/// A server that notes the events of a registry.
struct ListeningServer(Journal);

impl GenServer for ListeningServer {
    type Args = (Journal, Registry<u8, u32>, Option<ServerRef<Self>>);
    type Call = Caller<()>;
    type Cast = EventText;

    fn init((journal, keys, name): Self::Args, cx: &mut Context<Self>) -> Result<Self, InitError> {
        keys.listen_server(&name.unwrap_or_else(|| cx.server_ref()));
        Ok(Self(journal))
    }
    fn handle_call(&mut self, from: Caller<()>, _: &mut Context<Self>) -> Next {
        from.reply(())
    }
    fn handle_cast(&mut self, EventText(what): EventText, _: &mut Context<Self>) -> Next {
        self.0.note(what);
        Next::wait()
    }
}

#[test]
fn restarted_listener_receives_each_event_once() {
    attached(|_: &mut Inbox<()>| {
        let key: Registry<&str> = Registry::new();
        for name in [None, Some(ServerRef::from_name(unique("ear"))), Some(key.server("ear"))] {
            let (journal, keys) = (Journal::new(), Registry::<u8, u32>::new());
            let spec = || {
                let spec = ListeningServer::child_spec((journal.clone(), keys.clone(), name.clone()));
                match &name {
                    Some(name) => spec.name(name.clone()),
                    None => spec,
                }
            };
            for round in 0..3 {
                let ear = spec().start().unwrap();
                keys.register(1, round).unwrap();
                ear.call(|from| from).unwrap(); // it has handled everything before this call
                assert_eq!(journal.all(), [format!("+1={round}")]);
                end(ear.whereis().unwrap(), ExitReason::Kill);
                keys.unregister(&1); // no listener is left
                journal.clear();
            }
        }
    });
}

#[test]
fn exited_listeners_are_removed() {
    /// Counts the events that are sent.
    struct Counted;
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    impl From<RegistryEvent<u8>> for Counted {
        fn from(_: RegistryEvent<u8>) -> Self {
            COUNT.fetch_add(1, Ordering::SeqCst);
            Self
        }
    }
    attached(|_: &mut Inbox<()>| {
        let keys: Registry<u8> = Registry::new();
        let listener = process::spawn_receiver::<Counted>(|inbox| {
            loop {
                inbox.recv();
            }
        })
        .unwrap();
        keys.listen(&listener);
        keys.register(1, ()).unwrap();
        assert_eq!(COUNT.load(Ordering::SeqCst), 1);
        process::exit(&listener, ExitReason::Kill);
        keys.unregister(&1);
        keys.listen(&listener);
        keys.register(1, ()).unwrap();
        assert_eq!(COUNT.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_process_that_ends_cannot_register_but_give_up() {
    let _watchdog = watchdog();
    let (unique, many) = (Registry::<&str, u32>::new(), DuplicateRegistry::<&str, u32>::new());
    let (u, m) = (unique.clone(), many.clone());
    let journal = Journal::new();
    let notes = journal.clone();
    let process = process::spawn(move || {
        let _end = AtEnd(Some(move || {
            u.unregister("k");
            m.unregister_match("k", |_| true);
            notes.note(format!("{:?} {:?}", u.register("l", 1), m.register("l", 1)));
            notes.note(format!("{:?} {:?}", u.update_value("k", |n| n), u.lookup("k")));
        }));
        unique.register("k", 1).and(many.register("k", 2)).unwrap();
        process::exit_with("enough");
    })
    .unwrap();
    let reason = process::watch(process).wait();
    assert!(reason == "enough".into() || reason == ExitReason::NoProc, "{reason}");
    assert_eq!(journal.wait_for(2), ["Err(Exiting) Err(Exiting)", "None None"]);
}

/// Runs a closure when it is dropped.
struct AtEnd<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        if let Some(act) = self.0.take() {
            act();
        }
    }
}

#[test]
fn other_threads_look_but_do_not_register() {
    let _watchdog = watchdog();
    let (unique, many) = (Registry::<&str, u32>::new(), DuplicateRegistry::<&str, u32>::new());
    assert_eq!(unique.register("k", 1), Err(NameError::NotAProcess));
    assert_eq!(many.register("k", 1), Err(NameError::NotAProcess));
    assert_eq!(NameError::NotAProcess.to_string(), "the calling thread is not a process");
    unique.unregister("k");
    many.unregister("k");
    many.unregister_match("k", |_| true);
    assert_eq!(unique.update_value("k", |n| n), None);
    let holder = ScriptedProcess::new();
    let (u, m) = (unique.clone(), many.clone());
    holder.run(move || u.register("k", 1).and(m.register("k", 2))).unwrap();
    assert_eq!((unique.lookup("k"), many.lookup("k")), (Some((holder.pid(), 1)), vec![(holder.pid(), 2)]));
    assert_eq!(unique.update_value("k", |_| unreachable!("it is not ours")), None);
    assert_eq!((unique.count(), many.count()), (1, 1));
}

#[test]
fn lookup_may_wait_until_the_key_is_registered() {
    let _watchdog = watchdog();
    let keys: Registry<String> = Registry::new();
    assert_eq!(keys.whereis_timeout("k".to_owned(), Duration::from_millis(5)), None);
    let server: ServerRef<Idle> = keys.server("k".to_owned());
    let spec = Idle::child_spec(()).name(server.clone());
    let system =
        Supervisor::one_for_one().max_restarts(1000, Duration::from_secs(60)).child(spec).start().unwrap();
    let mut last = server.whereis().unwrap();
    for round in 0..200 {
        end(last, ExitReason::Kill);
        let limit = Duration::from_secs(30);
        let next = if round % 2 == 0 {
            server.whereis_timeout(limit)
        } else {
            keys.whereis_timeout("k".to_owned(), limit)
        };
        assert!(next.is_some_and(|next| next != last), "round {round}: {last} and then {next:?}");
        last = next.unwrap();
    }
    system.stop().unwrap();
}

/// A key that counts its copies.
#[derive(Clone, Debug)]
struct Counted(u32, #[expect(dead_code, reason = "it is counted")] Arc<()>);

impl PartialEq for Counted {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Counted {}

impl Hash for Counted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

#[test]
fn nothing_is_left_of_an_entry() {
    attached(|_: &mut Inbox<()>| {
        let token = Arc::new(());
        let key = |n| Counted(n, Arc::clone(&token));
        let (unique, many) = (Registry::new(), DuplicateRegistry::new());
        let mut most = [0; 2];
        for round in 0..2000 {
            // Registered and unregistered by its owner, repeatedly.
            unique.register(key(round % 10), key(0)).unwrap();
            unique.register(key(round % 10), key(0)).unwrap_err();
            many.register(key(1), key(0)).unwrap();
            unique.update_value(&key(round % 10), |old| old).unwrap();
            unique.lock(key(1), || ());
            most[usize::from(round >= 1000)] =
                Arc::strong_count(&token).max(most[usize::from(round >= 1000)]);
            unique.unregister(&key(round % 10));
            many.unregister(&key(1));
        }
        assert!(most[1] <= most[0], "it grows: {most:?}");
        assert_eq!(Arc::strong_count(&token), 1);
        for reason in [ExitReason::Kill, ExitReason::Shutdown, "crash".into()] {
            let holder = ScriptedProcess::new();
            let (u, m, t) = (unique.clone(), many.clone(), Arc::clone(&token));
            holder.run(move || {
                for n in 0..20 {
                    u.register(Counted(n, Arc::clone(&t)), Counted(0, Arc::clone(&t))).unwrap();
                    m.register(Counted(n % 3, Arc::clone(&t)), Counted(0, Arc::clone(&t))).unwrap();
                }
            });
            assert_eq!((unique.count(), many.count()), (20, 20));
            end(&holder, reason);
            assert_eq!((unique.count(), many.count()), (0, 0));
            assert_eq!((unique.keys(&holder), many.keys(&holder)), (vec![], vec![]));
            assert_eq!(format!("{unique:?}"), "Registry { count: 0, processes: 1 }"); // that of the test itself
            assert_eq!(format!("{many:?}"), "DuplicateRegistry { count: 0, processes: 1 }");
            eventually("the process is gone altogether", || Arc::strong_count(&token) == 1);
        }
        // And nothing of a dropped registry is left in a process that keeps running.
        let short: Registry<Counted, Counted> = Registry::new();
        short.register(key(1), key(2)).unwrap();
        let other = short.clone();
        drop(short);
        assert_eq!(other.count(), 1);
        drop(other);
        assert_eq!(Arc::strong_count(&token), 1);
    });
}

#[test]
fn cleanup_during_registration_leaves_no_entry() {
    in_child_program(|| {
        let _watchdog = watchdog();
        let token = Arc::new(());
        let (unique, many) = (Registry::<Counted>::new(), DuplicateRegistry::<Counted>::new());
        let rounds = Arc::new(AtomicUsize::new(0));
        for n in 0..600 {
            let (u, m, t, turns) = (unique.clone(), many.clone(), Arc::clone(&token), Arc::clone(&rounds));
            // It becomes a zombie at once, whatever its thread does.
            let holder = process::Builder::new().kill_grace(Duration::ZERO).spawn(move || {
                let key = |k| Counted(k, Arc::clone(&t));
                loop {
                    turns.fetch_add(1, Ordering::SeqCst);
                    let _ = u.register(key(n % 3), ());
                    m.register(key(n % 3), ()).unwrap();
                    u.lock(key(0), || ());
                    u.unregister(&key(n % 3));
                    m.unregister(&key(n % 3));
                }
            });
            let (holder, before) = (holder.unwrap(), rounds.load(Ordering::SeqCst));
            while rounds.load(Ordering::SeqCst) <= before {
                std::hint::spin_loop();
            }
            end(holder, ExitReason::Kill);
            assert_eq!((unique.keys(holder), many.keys(holder)), (vec![], vec![]));
        }
        eventually("nothing is left of a key", || Arc::strong_count(&token) == 1);
        assert_eq!(format!("{unique:?}"), "Registry { count: 0, processes: 0 }");
        assert_eq!(format!("{many:?}"), "DuplicateRegistry { count: 0, processes: 0 }");
        assert!(process::zombies_total() > 0, "none became a zombie");
    });
}
