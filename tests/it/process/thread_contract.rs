//! Processes as threads: safe points, destructors, deadlines, zombies, hooks. Scenarios TH-01 to TH-17,
//! except for those that need a supervisor.

use std::cell::RefCell;
use std::io::Read;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::support::scripted_process::{ScriptedProcess, exit};
use crate::support::{
    Gate, Journal, attached, down, eventually, exit_event, exit_reason_of, message, sleeper, unique, watchdog,
};
use rethread::MonitorRef;
use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::process::{
    self, Address, Builder, Event, Inbox, LinkError, Name, NameError, ProcessState, SpawnError, Zombie,
};

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Returns the zombie entry of a process, if there is one.
fn zombie(pid: impl Into<Pid>) -> Option<Zombie> {
    let pid = pid.into();
    let mut found: Vec<Zombie> = process::zombies().into_iter().filter(|zombie| zombie.pid == pid).collect();
    assert!(found.len() <= 1, "listed twice: {found:?}");
    found.pop()
}

/// Runs a closure when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Runs user code that catches every panic; returns `None` if it caught one.
#[expect(clippy::disallowed_methods, reason = "plays user code that catches what it should not")]
fn swallow<T>(body: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).ok()
}

/// Starts a process that computes without a safe point, until the returned flag is set.
fn busy(builder: Builder) -> (Pid, Arc<AtomicBool>) {
    let (enough, begun) = (Arc::new(AtomicBool::new(false)), Gate::new());
    let (stop, ready) = (Arc::clone(&enough), begun.clone());
    let body = move || {
        ready.open();
        while !stop.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    };
    let child = builder.spawn(body).expect("a free thread");
    begun.pass();
    (child, enough)
}

// scenario: TH-01
#[test]
fn busy_process_becomes_zombie_after_the_grace() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let name = unique("th_01");
        let (child, stop) = busy(Builder::new().name(name).label("busy"));
        let monitor = process::monitor(child);
        process::link(child).unwrap();
        let killed = Instant::now();
        process::exit(child, ExitReason::Kill);
        assert!(!process::is_alive(child));
        assert_eq!(zombie(child).map(|zombie| zombie.pid), None);
        let mut received = [inbox.recv(), inbox.recv()];
        let took = killed.elapsed();
        received.sort_by_key(|event| matches!(event, Event::Down { .. }));
        assert_eq!(received[0], Event::Exit { from: child, reason: ExitReason::Killed });
        let Event::Down { monitor: fired, reason, .. } = &received[1] else { panic!("not {received:?}") };
        assert_eq!((*fired, reason), (monitor, &ExitReason::Killed));
        assert!(took >= ms(100) && took < ms(3000), "{took:?}");
        assert_eq!(process::whereis(name), None);
        let zombie_of_it = zombie(child).expect("its thread still runs");
        assert_eq!(zombie_of_it.reason, ExitReason::Killed);
        assert_eq!((zombie_of_it.name.as_deref(), zombie_of_it.label.as_deref()), (Some(name), Some("busy")));
        assert_eq!(zombie_of_it.parent, Some(inbox.pid()));
        assert_eq!(zombie_of_it.spawned_at.file(), file!());
        assert!(zombie_of_it.to_string().contains(name), "{zombie_of_it}");
        assert_eq!(process::info(child).unwrap().state, ProcessState::Zombie(ExitReason::Killed));
        stop.store(true, Ordering::Relaxed);
        eventually("it is reaped", || zombie(child).is_none());
        assert!(process::info(child).is_none());
        assert_eq!(inbox.try_recv(), None);
    });
}

// scenario: TH-03
#[test]
fn a_killed_parked_thread_has_tidied_up_before_the_down() {
    attached(|inbox: &mut Inbox<()>| {
        for _ in 0..100 {
            let (ready, tidied) = (Gate::new(), Arc::new(AtomicBool::new(false)));
            let (begun, done) = (ready.clone(), Arc::clone(&tidied));
            // No other thread cleans it up, however long it takes.
            let (child, monitor) = Builder::new()
                .kill_grace(Duration::MAX)
                .spawn_receiver_monitor::<()>(move |inbox| {
                    let _tidy = OnDrop(|| done.store(true, Ordering::SeqCst));
                    begun.open();
                    inbox.recv();
                })
                .unwrap();
            ready.pass();
            process::exit(&child, ExitReason::Kill);
            assert_eq!(down(inbox), (monitor, ExitReason::Killed));
            assert!(tidied.load(Ordering::SeqCst));
            assert!(zombie(&child).is_none());
        }
    });
}

// scenario: TH-05
#[test]
fn swallowed_unwind_is_raised_again() {
    attached(|inbox: &mut Inbox<()>| {
        let (swallowed, ready) = (Arc::new(AtomicUsize::new(0)), Gate::new());
        let (count, begun) = (Arc::clone(&swallowed), ready.clone());
        let (child, monitor) = process::spawn_receiver_monitor::<()>(move |inbox| {
            begun.open();
            while swallow(|| inbox.recv()).is_some() || count.fetch_add(1, Ordering::SeqCst) < 5 {}
            inbox.recv();
            count.fetch_add(1000, Ordering::SeqCst);
        })
        .unwrap();
        ready.pass();
        process::exit(&child, ExitReason::Shutdown);
        assert_eq!(down(inbox), (monitor, ExitReason::Shutdown));
        assert_eq!(swallowed.load(Ordering::SeqCst), 6);
    });
}

#[test]
fn every_call_unwinds_again_after_an_unwind_was_swallowed() {
    attached(|inbox: &mut Inbox<Vec<&'static str>>| {
        let (ready, open, to) = (Gate::new(), Gate::new(), inbox.address());
        let (begun, notified, other) = (ready.clone(), open.clone(), sleeper());
        let (child, monitor) = process::spawn_receiver_monitor::<()>(move |inbox| {
            begun.open();
            notified.pass();
            let me = inbox.pid();
            let mut returned = Vec::new();
            let mut call = |name, body: &mut dyn FnMut()| {
                if swallow(body).is_some() {
                    returned.push(name);
                }
            };
            call("checkpoint", &mut process::checkpoint);
            call("recv", &mut || drop(inbox.recv()));
            call("recv_timeout", &mut || drop(inbox.recv_timeout(Duration::ZERO)));
            call("send", &mut || other.send(()));
            call("sleep", &mut || process::sleep(Duration::ZERO));
            call("spawn", &mut || drop(process::spawn(|| ())));
            call("link", &mut || _ = process::link(&other));
            call("unlink", &mut || process::unlink(&other));
            call("monitor", &mut || _ = process::monitor(&other));
            call("register", &mut || drop(process::register("never", me)));
            call("whereis", &mut || _ = process::whereis("never"));
            call("exit", &mut || process::exit(&other, "never"));
            call("is_alive", &mut || _ = process::is_alive(&other));
            call("trap_exit", &mut || _ = process::trap_exit(true));
            call("send_after", &mut || _ = process::send_after(Duration::ZERO, &other, ()));
            call("exit_with", &mut || process::exit_with("never"));
            call("throw", &mut || process::throw("never"));
            call("info", &mut || drop(process::info(me)));
            assert!(process::exit_requested());
            // Only its destructor may still send.
            let _last_words = OnDrop(move || to.send(std::mem::take(&mut returned)));
            inbox.recv();
        })
        .unwrap();
        ready.pass();
        process::exit(&child, "requested");
        open.open();
        assert_eq!(message(inbox), Vec::<&str>::new());
        assert_eq!(down(inbox), (monitor, "requested".into()));
    });
}

#[test]
fn a_normal_return_does_not_change_a_reason_that_was_decided() {
    attached(|inbox: &mut Inbox<()>| {
        let own_ends: [fn(); 3] = [|| (), || panic!("own"), || _ = swallow(process::checkpoint)];
        for own_end in own_ends {
            let (ready, open) = (Gate::new(), Gate::new());
            let (begun, notified) = (ready.clone(), open.clone());
            let (child, monitor) = process::spawn_monitor(move || {
                begun.open();
                notified.pass();
                own_end();
            })
            .unwrap();
            ready.pass();
            process::exit(child, ExitReason::Shutdown);
            open.open();
            assert_eq!(down(inbox), (monitor, ExitReason::Shutdown));
        }
    });
}

// scenario: TH-06
#[test]
fn destructors_can_send_but_neither_receive_nor_spawn() {
    attached(|inbox: &mut Inbox<String>| {
        process::trap_exit(true);
        for sent in [ExitReason::Shutdown, ExitReason::Kill] {
            let (ready, to, other) = (Gate::new(), inbox.address(), sleeper());
            let (begun, unrelated, name) = (ready.clone(), other.pid(), unique("th_06"));
            let (child, monitor) = process::spawn_receiver_monitor::<u32>(move |inbox| {
                process::link(unrelated).unwrap();
                let me = inbox.pid();
                // A destructor that has the mailbox of its own process.
                struct LastWords<'a, F: FnMut(&mut Inbox<u32>)>(&'a mut Inbox<u32>, F);
                impl<F: FnMut(&mut Inbox<u32>)> Drop for LastWords<'_, F> {
                    fn drop(&mut self) {
                        (self.1)(self.0);
                    }
                }
                let words = LastWords(inbox, |inbox| {
                    let say = |what: String| to.send(what);
                    say(format!("recv {}", matches!(inbox.recv(), Event::Exit { from, .. } if from == me)));
                    let (spawn, link) = (process::spawn(|| ()), process::link(unrelated));
                    say(format!("spawn {}", matches!(spawn, Err(SpawnError::Exiting))));
                    say(format!("link {}", link == Err(LinkError::Exiting)));
                    say(format!(
                        "register {}",
                        process::register(name, unrelated) == Err(NameError::Exiting)
                    ));
                    say(format!("current {}", process::current() == Some(me)));
                    say(format!("requested {}", process::exit_requested()));
                    process::sleep(Duration::from_secs(3600));
                    process::checkpoint();
                    let _ = process::monitor(unrelated);
                    process::unlink(unrelated);
                    say("done".to_owned());
                });
                begun.open();
                words.0.recv();
            })
            .unwrap();
            ready.pass();
            process::exit(&child, sent.clone());
            for call in ["recv", "spawn", "link", "register", "current", "requested"] {
                assert_eq!(message(inbox), format!("{call} true"));
            }
            assert_eq!(message(inbox), "done");
            let reason = if sent == ExitReason::Kill { ExitReason::Killed } else { sent };
            assert_eq!(down(inbox), (monitor, reason));
            assert!(process::is_alive(&other), "it was unlinked");
            assert_eq!(process::info(&other).unwrap().monitored_by, []);
        }
    });
}

#[test]
fn a_destructor_can_end_others() {
    attached(|inbox: &mut Inbox<()>| {
        let other = sleeper();
        let (victim, of_victim) = (other.pid(), process::monitor(&other));
        let (child, monitor) = process::spawn_receiver_monitor::<()>(move |inbox| {
            let _last_words = OnDrop(|| process::exit(victim, "last words"));
            inbox.recv();
        })
        .unwrap();
        child.send(());
        let mut downs = [down(inbox), down(inbox)];
        downs.sort_by_key(|(monitor, _)| *monitor);
        assert_eq!(downs, [(of_victim, "last words".into()), (monitor, ExitReason::Normal)]);
    });
}

#[test]
fn thread_locals_are_dropped_after_the_notices_and_may_call_the_runtime() {
    struct Local(Journal, Gate);
    impl Drop for Local {
        fn drop(&mut self) {
            self.1.pass();
            let alone = process::current().is_none();
            self.0.note(format!("thread-local, no process: {alone}"));
        }
    }
    thread_local!(static LOCAL: RefCell<Option<Local>> = const { RefCell::new(None) });
    attached(|inbox: &mut Inbox<()>| {
        let (journal, gate) = (Journal::new(), Gate::new());
        let local = Local(journal.clone(), gate.clone());
        let body = move || {
            LOCAL.set(Some(local));
            process::exit_with("a thread that is not kept");
        };
        let (_, monitor) = process::spawn_monitor(body).unwrap();
        assert_eq!(down(inbox), (monitor, "a thread that is not kept".into()));
        journal.note("down");
        gate.open();
        assert_eq!(journal.wait_for(2), ["down", "thread-local, no process: true"]);
    });
}

// scenario: TH-13
#[test]
fn busy_linked_process_is_reported_exited_within_its_deadline() {
    attached(|inbox: &mut Inbox<()>| {
        let a = ScriptedProcess::new();
        let (a_pid, linked) = (a.pid(), Gate::new());
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, enough) = (linked.clone(), Arc::clone(&stop));
        let b = Builder::new().exit_timeout(ms(300)).spawn(move || {
            process::link(a_pid).unwrap();
            ready.open();
            while !enough.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        let b = b.unwrap();
        linked.pass();
        let (of_a, of_b) = (process::monitor(&a), process::monitor(b));
        let crashed = Instant::now();
        a.start(|| process::exit_with("crash"));
        assert_eq!(down(inbox), (of_a, "crash".into()));
        assert!(!process::is_alive(b));
        assert_eq!(down(inbox), (of_b, "crash".into()));
        let took = crashed.elapsed();
        assert!(took >= ms(300) && took < ms(3000), "{took:?}");
        assert_eq!(zombie(b).map(|zombie| zombie.reason), Some("crash".into()));
        stop.store(true, Ordering::Relaxed);
        eventually("it is reaped", || zombie(b).is_none());
    });
}

// scenario: TH-14
#[test]
fn a_hook_closes_the_socket_its_process_is_blocked_on() {
    attached(|inbox: &mut Inbox<()>| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let reading = Gate::new();
        let begun = reading.clone();
        let (child, monitor) = process::spawn_receiver_monitor::<()>(move |inbox| {
            let mut socket = TcpStream::connect(at).unwrap();
            let handle = socket.try_clone().unwrap();
            let _hook = process::on_exit_request(move || {
                let _ = handle.shutdown(Shutdown::Both);
            });
            begun.open();
            let _ = socket.read(&mut [0; 16]);
            inbox.recv();
        })
        .unwrap();
        let (_peer, _) = listener.accept().unwrap();
        reading.pass();
        process::exit(&child, ExitReason::Shutdown);
        assert_eq!(down(inbox), (monitor, ExitReason::Shutdown));
        assert!(zombie(&child).is_none());
    });
}

/// A server that adds numbers.
struct Sum(i64);

enum Ask {
    Add(i64, Caller<i64>),
    Die,
}

impl GenServer for Sum {
    type Args = i64;
    type Call = Ask;
    type Cast = i64;

    fn init(start: i64, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self(start))
    }
    fn handle_call(&mut self, ask: Ask, _: &mut Context<Self>) -> Next {
        match ask {
            Ask::Add(n, from) => {
                self.0 += n;
                from.reply(self.0)
            }
            Ask::Die => panic!("as it was asked"),
        }
    }
    fn handle_cast(&mut self, n: i64, _: &mut Context<Self>) -> Next {
        self.0 += n;
        Next::wait()
    }
}

// scenario: TH-17
#[test]
fn foreign_threads_call_send_and_watch() {
    let _watchdog = watchdog();
    let foreign = || {
        assert_eq!(process::current(), None);
        let server = Sum::start(1).unwrap();
        assert_eq!(server.call(|from| Ask::Add(2, from)).unwrap(), 3);
        server.cast(10);
        assert_eq!(server.call(|from| Ask::Add(0, from)).unwrap(), 13);
        let watch = server.watch();
        let error = server.call(|from: Caller<i64>| {
            drop(from);
            Ask::Die
        });
        assert!(error.is_err(), "{error:?}");
        assert!(matches!(watch.wait(), ExitReason::Panic(_)));
        assert!(matches!(server.call(|from| Ask::Add(1, from)), Err(CallError::NoProc { .. })));
        server.cast(1); // and nothing happens

        let journal = Journal::new();
        let notes = journal.clone();
        let plain = process::spawn_receiver::<&'static str>(move |inbox| {
            loop {
                notes.note(message(inbox));
            }
        });
        let plain = plain.unwrap();
        plain.send("from outside");
        assert_eq!(journal.wait_for(1), ["from outside"]);
        let watch = process::watch(&plain);
        process::exit(&plain, "outside");
        assert_eq!(watch.wait(), "outside".into());
        process::checkpoint();
        assert!(!process::exit_requested());
        process::sleep(ms(1));
    };
    std::thread::scope(|scope| scope.spawn(foreign).join()).unwrap();
}

#[test]
fn identity_of_foreign_thread_is_no_process() {
    let _watchdog = watchdog();
    let target = ScriptedProcess::trapping();
    process::exit(&target, "from nowhere");
    process::exit(&target, "again");
    let received = target.received();
    let [Event::Exit { from: first, .. }, Event::Exit { from: second, .. }] = received[..] else {
        panic!("two exits were due, not {received:?}")
    };
    assert_eq!(first, second);
    assert!(!process::is_alive(first));
    process::exit(first, ExitReason::Kill); // no such process
}

/// The operations that the destructor of a stuck process tries, one after the other.
struct Tries {
    to: Address<&'static str>,
    victim: Address<()>,
    timer: rethread::TimerRef,
    names: [&'static str; 2],
    results: Journal,
}

impl Tries {
    fn all(&self) {
        let note = |what: &str, refused: bool| {
            self.results.note(format!("{what} {}", if refused { "refused" } else { "done" }));
        };
        self.to.send("a message");
        let _ = process::send_after(Duration::ZERO, &self.to, "a timer");
        let named = Name::<&'static str>::new(self.names[0]).send("by name");
        note("send by name", named.is_err());
        process::exit(&self.victim, "from a zombie");
        note("cancel", process::cancel_timer(self.timer).is_none());
        note("spawn", matches!(process::spawn(|| ()), Err(SpawnError::Exiting)));
        note("link", process::link(&self.victim) == Err(LinkError::Exiting));
        let _ = process::monitor(&self.victim);
        note("register", process::register(self.names[1], &self.victim) == Err(NameError::Exiting));
        note("unregister", process::unregister(self.names[0]) == Err(NameError::Exiting));
    }
}

#[test]
fn a_zombie_is_inert() {
    attached(|inbox: &mut Inbox<&'static str>| {
        for in_destructor in [true, false] {
            let (ready, gate, results) = (Gate::new(), Gate::new(), Journal::new());
            let names = [unique("inert.mine"), unique("inert.free")];
            let victim = sleeper();
            process::register(names[0], inbox.pid()).unwrap();
            let timer = process::send_after(Duration::from_secs(3600), inbox.address(), "not for an hour");
            let tries =
                Tries { to: inbox.address(), victim: victim.clone(), timer, names, results: results.clone() };
            let (begun, held, end) = (ready.clone(), gate.clone(), results.clone());
            // The child blocks uninterruptibly; once released, it tries every operation either in a
            // destructor or not at all.
            let child = Builder::new().kill_grace(ms(30)).spawn_monitor(move || {
                let end = OnDrop(move || end.note("end"));
                let tries = OnDrop(move || {
                    if in_destructor {
                        tries.all();
                    }
                });
                begun.open();
                held.pass();
                if !in_destructor {
                    assert!(swallow(process::checkpoint).is_none(), "a zombie is unwound");
                }
                process::checkpoint();
                drop((tries, end));
            });
            let (child, monitor) = child.unwrap();
            ready.pass();
            // Turn it into a zombie, then let its thread continue.
            process::exit(child, ExitReason::Kill);
            assert_eq!(down(inbox), (monitor, ExitReason::Killed));
            assert!(zombie(child).is_some());
            gate.open();
            eventually("it is reaped", || zombie(child).is_none());
            // Each operation was refused; outside of a destructor the thread unwinds at its next
            // checkpoint.
            if in_destructor {
                let expected = [
                    "send by name refused",
                    "cancel refused",
                    "spawn refused",
                    "link refused",
                    "register refused",
                    "unregister refused",
                    "end",
                ];
                assert_eq!(results.all(), expected);
            } else {
                assert_eq!(results.all(), ["end"]);
            }
            // None of the operations has had an effect.
            assert!(process::is_alive(&victim));
            assert_eq!(process::info(&victim).unwrap().monitored_by, []);
            assert_eq!(process::whereis(names[0]), Some(inbox.pid()));
            assert_eq!(process::whereis(names[1]), None);
            assert!(process::cancel_timer(timer).is_some(), "it was not cancelled");
            assert_eq!(inbox.recv_timeout(ms(20)), None);
            process::unregister(names[0]).unwrap();
        }
    });
}

#[test]
fn timers_that_a_zombie_started_earlier_still_fire() {
    attached(|inbox: &mut Inbox<&'static str>| {
        let (ready, gate, to) = (Gate::new(), Gate::new(), inbox.address());
        let (begun, held) = (ready.clone(), gate.clone());
        let child = Builder::new().kill_grace(Duration::ZERO).spawn_monitor(move || {
            let _ = process::send_after(ms(200), &to, "still");
            begun.open();
            held.pass();
        });
        let (child, monitor) = child.unwrap();
        ready.pass();
        process::exit(child, ExitReason::Kill);
        assert_eq!(down(inbox), (monitor, ExitReason::Killed));
        assert_eq!(message(inbox), "still");
        gate.open();
    });
}

#[test]
fn a_grace_of_zero_is_none() {
    attached(|inbox: &mut Inbox<()>| {
        let (child, stop) = busy(Builder::new().kill_grace(Duration::ZERO));
        let monitor = process::monitor(child);
        let killed = Instant::now();
        process::exit(child, ExitReason::Kill);
        assert_eq!(down(inbox), (monitor, ExitReason::Killed));
        assert!(killed.elapsed() < ms(3000));
        assert!(zombie(child).is_some());
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_kill_shortens_the_time_but_does_not_change_the_reason() {
    attached(|inbox: &mut Inbox<()>| {
        let (child, stop) = busy(Builder::new().exit_timeout(Duration::from_secs(3600)));
        let monitor = process::monitor(child);
        process::exit(child, ExitReason::Shutdown);
        assert_eq!(inbox.recv_timeout(ms(150)), None);
        let killed = Instant::now();
        process::exit(child, ExitReason::Kill);
        assert_eq!(down(inbox), (monitor, ExitReason::Shutdown));
        // Without the kill, the exit timeout would be an hour.
        let took = killed.elapsed();
        assert!(took >= ms(100), "{took:?}");
        assert_eq!(zombie(child).map(|zombie| zombie.reason), Some(ExitReason::Shutdown));
        stop.store(true, Ordering::Relaxed);
        eventually("it is reaped", || zombie(child).is_none());
        assert_eq!(inbox.try_recv(), None);
    });
}

#[test]
fn a_kill_does_not_prolong_a_deadline_that_is_near() {
    attached(|inbox: &mut Inbox<()>| {
        let times = Builder::new().exit_timeout(ms(100)).kill_grace(Duration::from_secs(3600));
        let (child, stop) = busy(times);
        let monitor = process::monitor(child);
        process::exit(child, ExitReason::Shutdown);
        process::exit(child, ExitReason::Kill);
        assert_eq!(down(inbox), (monitor, ExitReason::Shutdown));
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_deadline_of_max_is_none() {
    attached(|inbox: &mut Inbox<()>| {
        let (child, stop) = busy(Builder::new().exit_timeout(Duration::MAX));
        let monitor = process::monitor(child);
        process::exit(child, ExitReason::Shutdown);
        assert_eq!(inbox.recv_timeout(ms(100)), None);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(down(inbox), (monitor, ExitReason::Shutdown));
        assert!(zombie(child).is_none());
    });
}

#[test]
fn a_destructor_that_hangs_in_an_own_end_makes_a_zombie() {
    attached(|inbox: &mut Inbox<()>| {
        let own_ends: [(fn(), &str); 3] = [
            (|| panic!("own panic"), "own panic"),
            (|| process::exit_with("own exit"), "own exit"),
            (|| process::throw("own throw"), "throw"),
        ];
        for (own_end, reason) in own_ends {
            let gate = Gate::new();
            let held = gate.clone();
            let child = Builder::new().exit_timeout(ms(60)).spawn_monitor(move || {
                let _hangs = OnDrop(|| held.pass());
                own_end();
            });
            let (child, monitor) = child.unwrap();
            let (fired, received) = down(inbox);
            assert_eq!(fired, monitor);
            assert!(received.to_string().contains(reason), "{received}");
            assert!(zombie(child).is_some_and(|zombie| zombie.reason == received));
            gate.open();
            eventually("it is reaped", || zombie(child).is_none());
            assert_eq!(inbox.try_recv(), None);
        }
    });
}

#[test]
fn an_own_end_that_is_caught_in_time_sets_no_deadline() {
    attached(|inbox: &mut Inbox<()>| {
        let ways: [fn(); 4] = [
            || process::attempt(|| panic!("caught")).rescue(|_| ()),
            || process::attempt(|| process::exit_with("caught")).catch_exit(|_| ()),
            || process::attempt(|| process::throw(1_u8)).catch_throw(|_: u8| ()),
            || {
                swallow(|| panic!("caught by hand"));
                process::checkpoint(); // the runtime cannot detect that catch before it is called
            },
        ];
        let gate = Gate::new();
        // Long enough to be caught before the deadline, on a busy machine too; so all of them run at once.
        let patient = || Builder::new().exit_timeout(ms(800));
        let children = ways.map(|way| {
            let (caught, held) = (Gate::new(), gate.clone());
            let notified = caught.clone();
            let child = patient().spawn_monitor(move || {
                way();
                notified.open();
                held.pass();
            });
            caught.pass(); // the time of a stale deadline runs from before this
            child.unwrap()
        });
        assert_eq!(inbox.recv_timeout(ms(1200)), None);
        assert!(children.iter().all(|(child, _)| process::is_alive(child)));
        gate.open();
        for _ in &children {
            let (fired, reason) = down(inbox);
            assert_eq!(reason, ExitReason::Normal);
            assert!(children.iter().any(|(_, monitor)| *monitor == fired));
        }
    });
}

#[test]
fn an_own_reason_wins_over_a_signal_that_comes_during_its_unwinding() {
    attached(|inbox: &mut Inbox<()>| {
        let own_ends: [(fn(), &str); 3] = [
            (|| panic!("own panic"), "own panic"),
            (|| process::exit_with("own exit"), "own exit"),
            (|| process::throw("own throw"), "own throw"),
        ];
        for (own_end, reason) in own_ends {
            let (unwinding, gate) = (Gate::new(), Gate::new());
            let (begun, held) = (unwinding.clone(), gate.clone());
            let (child, monitor) = process::spawn_monitor(move || {
                let _slow = OnDrop(|| {
                    begun.open();
                    held.pass();
                });
                own_end();
            })
            .unwrap();
            unwinding.pass();
            process::exit(child, ExitReason::Shutdown);
            gate.open();
            let (fired, received) = down(inbox);
            assert_eq!(fired, monitor);
            assert!(received.to_string().contains(reason), "{received} instead of {reason}");
        }
    });
}

#[test]
fn hooks_are_called_once_in_order_by_the_signalling_thread() {
    let signals: [fn(&Address<()>); 3] = [
        |child| process::exit(child, ExitReason::Shutdown),
        |child| process::exit(child, ExitReason::Kill),
        |child| {
            let pid = child.pid();
            process::spawn(move || {
                process::link(pid).unwrap();
                process::exit_with("through a link");
            })
            .unwrap();
        },
    ];
    attached(|inbox: &mut Inbox<()>| {
        for signal in signals {
            let (ready, gate, journal) = (Gate::new(), Gate::new(), Journal::new());
            let (begun, open, notes) = (ready.clone(), gate.clone(), journal.clone());
            let (child, monitor) = process::spawn_receiver_monitor::<()>(move |inbox| {
                let both = notes.clone();
                let dropped = process::on_exit_request(move || both.note("a hook that was taken away"));
                let first = process::on_exit_request({
                    let notes = notes.clone();
                    move || notes.note("first hook")
                });
                let second = process::on_exit_request(move || {
                    notes.note("second hook");
                    open.open();
                });
                drop(dropped);
                begun.open();
                gate.pass(); // opened by the hook only
                inbox.recv();
                drop((first, second));
            })
            .unwrap();
            ready.pass();
            signal(&child);
            assert_eq!(down(inbox).0, monitor);
            process::exit(&child, "again");
            assert_eq!(journal.all(), ["first hook", "second hook"]);
            assert!(zombie(&child).is_none());
        }
    });
}

#[test]
fn a_hook_is_not_called_without_a_fatal_signal() {
    attached(|inbox: &mut Inbox<()>| {
        let journal = Journal::new();
        let own_ends: [fn(); 3] = [|| (), || process::exit_with("own"), || panic!("own")];
        for own_end in own_ends {
            let notes = journal.clone();
            let (child, monitor) = process::spawn_receiver_monitor::<()>(move |inbox| {
                let _hook = process::on_exit_request(move || notes.note("called"));
                process::trap_exit(true);
                inbox.recv();
                process::trap_exit(false);
                own_end();
            })
            .unwrap();
            eventually("it traps", || process::info(&child).is_some_and(|info| info.traps_exits));
            process::exit(&child, "only a message");
            assert_eq!(down(inbox).0, monitor);
        }
        assert_eq!(journal.all(), [""; 0]);
    });
}

#[test]
fn attach_returns_the_value_or_the_reason() {
    let _watchdog = watchdog();
    assert_eq!(process::attach_receiver(|_: &mut Inbox<()>| 42).unwrap(), 42);
    let nested = process::attach_receiver(|inbox: &mut Inbox<()>| {
        let inner = process::attach_receiver(|_: &mut Inbox<()>| ());
        let Err(process::AttachError::Spawn(SpawnError::AlreadyAProcess(pid))) = inner else {
            panic!("one process per thread, not {inner:?}")
        };
        assert_eq!(pid, inbox.pid());
    });
    nested.unwrap();
    assert_eq!(process::current(), None);
    let exit_reason = exit_reason_of(|_: &mut Inbox<()>| process::exit_with("ended"));
    assert_eq!(exit_reason, "ended".into());
    let killed = exit_reason_of(|inbox: &mut Inbox<()>| {
        let (me, killer) = (inbox.pid(), ScriptedProcess::new());
        killer.start(move || process::exit(me, ExitReason::Kill));
        inbox.recv();
    });
    assert_eq!(killed, ExitReason::Killed);
    // The thread works as before.
    assert_eq!(process::attach_receiver(|_: &mut Inbox<()>| 43).unwrap(), 43);
}

#[test]
fn exit_of_attached_process_notifies_its_links() {
    let _watchdog = watchdog();
    let other = ScriptedProcess::trapping();
    let target = other.pid();
    let me = process::attach_receiver(move |inbox: &mut Inbox<()>| {
        process::link(target).unwrap();
        inbox.pid()
    })
    .unwrap();
    assert_eq!(other.wait_for_events(1), [exit(me, ExitReason::Normal)]);
}

#[test]
fn a_parked_process_uses_no_deadline_of_others() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        // Ended in the middle of a burst: each by its own signal, each with its own reason.
        let children: Vec<_> = (0..50)
            .map(|_| {
                process::spawn_receiver_link::<()>(|inbox| {
                    inbox.recv();
                })
                .unwrap()
            })
            .collect();
        for (number, child) in children.iter().enumerate() {
            process::exit(child, ExitReason::new(number));
        }
        let mut received: Vec<(Pid, ExitReason)> = children.iter().map(|_| exit_event(inbox)).collect();
        received.sort_by_key(|(pid, _)| *pid);
        for (number, (child, (pid, reason))) in children.iter().zip(received).enumerate() {
            assert_eq!((child.pid(), ExitReason::new(number)), (pid, reason));
            assert!(zombie(child).is_none());
        }
    });
}

#[test]
fn a_killed_that_is_sent_is_no_kill_and_leaves_the_time_of_any_other_reason() {
    let _watchdog = watchdog();
    let (began, gate) = (Gate::new(), Gate::new());
    let (begins, waits) = (began.clone(), gate.clone());
    let busy = Builder::new().kill_grace(Duration::ZERO).exit_timeout(Duration::MAX).spawn(move || {
        begins.open();
        waits.pass();
    });
    let busy = busy.unwrap();
    began.pass();
    let watch = process::watch(busy);
    process::exit(busy, ExitReason::Killed);
    assert_eq!(watch.wait_timeout(ms(100)), None, "it still has time");
    gate.open();
    assert_eq!(watch.wait(), ExitReason::Killed);
}

/// A server whose state is slow to drop.
struct Slow(Gate);

impl GenServer for Slow {
    type Args = Gate;
    type Call = Infallible;
    type Cast = Infallible;

    fn init(gate: Gate, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self(gate))
    }
    fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next {
        match call {}
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.0.pass();
    }
}

/// Starts a process that blocks uninterruptibly until the returned gate is open.
fn stuck(builder: Builder) -> (Pid, Gate) {
    let (begun, gate) = (Gate::new(), Gate::new());
    let (started_gate, wait) = (begun.clone(), gate.clone());
    let body = move || {
        started_gate.open();
        wait.pass();
    };
    let child = builder.spawn(body).expect("a free thread");
    begun.pass();
    (child, gate)
}

/// Returns when a deadline of `limit` milliseconds from now has passed, and all earlier ones.
fn deadline_passes(limit: u64) {
    let (late, gate) = stuck(Builder::new().kill_grace(ms(limit)));
    let watch = process::watch(late);
    process::exit(late, ExitReason::Kill);
    watch.wait();
    gate.open();
}

#[test]
fn destructors_do_not_prolong_the_time_of_a_kill() {
    attached(|inbox: &mut Inbox<()>| {
        let gate = Gate::new();
        let held = OnDrop(|| gate.open()); // also if this test fails
        let hour = Duration::from_secs(3600);
        let times = Builder::new().kill_grace(ms(30)).exit_timeout(hour);
        let spec = Slow::child_spec(gate.clone()).process(times);
        let (server, monitor) = spec.start_monitor().unwrap();
        process::exit(server.whereis().unwrap(), ExitReason::Kill);
        assert_eq!(
            inbox.recv_timeout(Duration::from_secs(10)).map(|event| reason_of(event, monitor)),
            Some(ExitReason::Killed)
        );

        // And neither do those of unread messages.
        let (begun, wait) = (Gate::new(), Gate::new());
        let (ready, passes) = (begun.clone(), wait.clone());
        let times = Builder::new().kill_grace(ms(30)).exit_timeout(hour);
        let (child, monitor) = times
            .spawn_receiver_monitor::<OnDrop<Box<dyn FnMut() + Send>>>(move |_| {
                ready.open();
                passes.pass();
            })
            .unwrap();
        begun.pass();
        let blocks = gate.clone();
        child.send(OnDrop(Box::new(move || blocks.pass())));
        process::exit(&child, ExitReason::Kill);
        wait.open();
        assert_eq!(
            inbox.recv_timeout(Duration::from_secs(10)).map(|event| reason_of(event, monitor)),
            Some(ExitReason::Killed)
        );
        drop(held);
    });
}

#[track_caller]
fn reason_of<M: std::fmt::Debug>(event: Event<M>, of: MonitorRef) -> ExitReason {
    match event {
        Event::Down { monitor, reason, .. } if monitor == of => reason,
        other => panic!("a down was due, not {other:?}"),
    }
}

#[test]
fn only_a_kill_that_is_sent_shortens_the_time() {
    attached(|_: &mut Inbox<()>| {
        let (child, gate) = stuck(Builder::new().exit_timeout(Duration::from_secs(3600)).kill_grace(ms(1)));
        let other = ScriptedProcess::new();
        other.run(move || process::link(child).unwrap());
        process::exit(child, ExitReason::Shutdown);
        process::exit(child, ExitReason::Shutdown);
        process::exit(child, "another");
        other.start(|| process::exit_with(ExitReason::Kill));
        process::watch(&other).wait();
        deadline_passes(50);
        assert!(zombie(child).is_none(), "its hour has not passed");
        gate.open();
        process::watch(child).wait();
    });
}

#[test]
fn a_receive_that_finds_a_message_settles_an_unwinding_that_was_swallowed() {
    attached(|_: &mut Inbox<()>| {
        let [begin, received, end] = [(); 3].map(|()| Gate::new());
        let (start, started_gate, wait) = (begin.clone(), received.clone(), end.clone());
        let child = Builder::new().exit_timeout(ms(20)).spawn_receiver::<u8>(move |inbox| {
            start.pass();
            assert!(swallow(|| panic!("swallowed")).is_none());
            assert_eq!(inbox.recv(), Event::Message(1));
            started_gate.open();
            wait.pass(); // a handler that computes for long
        });
        let child = child.unwrap();
        child.send(1);
        begin.open();
        received.pass();
        deadline_passes(60);
        assert!(process::is_alive(&child) && zombie(&child).is_none(), "it keeps running");
        end.open();
        process::watch(&child).wait();
    });
}

#[test]
fn a_kill_during_an_unwinding_that_is_caught_is_not_forgotten() {
    attached(|inbox: &mut Inbox<()>| {
        let (unwinds, killed) = (Gate::new(), Gate::new());
        let (started_gate, wait) = (unwinds.clone(), killed.clone());
        let (child, monitor) = Builder::new()
            .kill_grace(Duration::MAX)
            .spawn_receiver_monitor::<()>(move |inbox| {
                let body = || {
                    let _held = OnDrop(|| {
                        started_gate.open();
                        wait.pass();
                    });
                    panic!("caught");
                };
                process::attempt(body).rescue(|_| ());
                inbox.recv();
            })
            .unwrap();
        unwinds.pass();
        process::exit(&child, ExitReason::Kill);
        assert!(!process::is_alive(&child));
        killed.open();
        let ended = inbox.recv_timeout(Duration::from_secs(10));
        assert_eq!(ended.map(|event| reason_of(event, monitor)), Some(ExitReason::Killed));
    });
}

#[test]
fn a_zombie_does_not_answer_for_others() {
    /// Forwards its calls to another process.
    struct Front;
    struct Ask(Caller<u8>);
    impl GenServer for Front {
        type Args = Address<Caller<u8>>;
        type Call = Ask;
        type Cast = Infallible;

        fn init(back: Self::Args, _: &mut Context<Self>) -> Result<Self, InitError> {
            process::register("thread_contract.back", &back)?;
            Ok(Self)
        }
        fn handle_call(&mut self, Ask(from): Ask, _: &mut Context<Self>) -> Next {
            Name::new("thread_contract.back").send(from).expect("it takes them");
            Next::wait()
        }
    }
    attached(|_: &mut Inbox<()>| {
        for by_next in [true, false] {
            let (ready, gate) = (Gate::new(), Gate::new());
            let (started_gate, wait) = (ready.clone(), gate.clone());
            // The back end holds the request of another caller and replies only in a destructor, as a
            // zombie.
            let back = Builder::new().kill_grace(ms(10)).spawn_receiver::<Caller<u8>>(move |inbox| {
                let Event::Message(from) = inbox.recv() else { panic!("a request was due") };
                let mut from = Some(from);
                let _answers = OnDrop(move || {
                    let from = from.take().expect("it is dropped once");
                    if by_next { drop(from.reply(1)) } else { from.reply_now(1) }
                });
                started_gate.open();
                wait.pass();
                process::checkpoint();
            });
            let back = back.unwrap();
            let front = Front::start(back.clone()).unwrap();
            let asked = front.clone();
            let answer = task::spawn(move || asked.call(Ask)).unwrap();
            ready.pass();
            let watch = process::watch(&back);
            // It becomes a zombie while it is blocked.
            process::exit(&back, ExitReason::Kill);
            watch.wait();
            assert!(zombie(&back).is_some());
            // Its late reply is dropped: the caller gets an error instead.
            gate.open();
            let answer = answer.join().unwrap();
            assert!(matches!(answer, Err(CallError::NoReply { .. })), "{answer:?}");
            front.stop().unwrap();
        }
    });
}

#[test]
fn exiting_process_cannot_monitor() {
    attached(|inbox: &mut Inbox<()>| {
        let watched = sleeper();
        for zombie_first in [true, false] {
            let (ready, gate, (seen_tx, seen)) = (Gate::new(), Gate::new(), channel());
            let (tx, wait) = (ready.clone(), gate.clone());
            let pid = watched.pid();
            let (child, monitor) = Builder::new()
                .kill_grace(if zombie_first { ms(10) } else { Duration::MAX })
                .spawn_monitor(move || {
                    let _late = OnDrop(move || {
                        let _ = process::monitor(pid);
                        let _ = seen_tx.send(process::info(pid).map(|info| info.monitored_by));
                    });
                    tx.open();
                    wait.pass();
                    process::checkpoint();
                })
                .unwrap();
            ready.pass();
            process::exit(child, ExitReason::Kill);
            if zombie_first {
                assert_eq!(down(inbox), (monitor, ExitReason::Killed));
            }
            gate.open();
            if !zombie_first {
                assert_eq!(down(inbox), (monitor, ExitReason::Killed));
            }
            assert_eq!(seen.recv(), Ok(Some(vec![])));
        }
        process::exit(&watched, ExitReason::Kill);
    });
}
