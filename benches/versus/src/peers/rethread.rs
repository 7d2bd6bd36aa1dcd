//! rethread, used as in its documentation: GenServers for calls and casts, processes for messages, a
//! supervisor and a name for restarts.

use std::time::{Duration, Instant};

use ::rethread::prelude::*;
use ::rethread::process::Address;
use crossbeam_channel::{Sender, unbounded};

use crate::measure::{Crowd, Lap, Outcome, Pace, Random, Stopwatch, block, nanos, percentiles};
use crate::workload::{BATCH, BIG, BUSY, CLIENTS, Scale, WATCHERS, Workload, ring_size};

pub fn run(workload: Workload, scale: Scale) -> Outcome {
    std::panic::set_hook(Box::new(|_| {}));
    let count = workload.count(scale);
    Ok(match workload {
        Workload::CallRoundtrip => call_roundtrip(count).per_op(workload, count),
        Workload::CallContended => call_contended(count).rate(workload, count * CLIENTS),
        Workload::Cast1 => cast(1, count).rate(workload, count),
        Workload::Cast4 => cast(4, count).rate(workload, count * 4),
        Workload::Pingpong => pingpong(count).per_op(workload, count * 2),
        Workload::Ring100 | Workload::Ring1000 => ring(ring_size(workload), count).per_op(workload, count),
        Workload::Big => big(count).rate(workload, count * BIG),
        Workload::SpawnExit => spawn_exit(count).micros(workload, count),
        Workload::SpawnBatch => spawn_batch(count).micros(workload, count * BATCH),
        Workload::SpawnMany1k | Workload::SpawnMany10k => {
            process::configure(|settings| settings.max_processes = 12_000);
            let crowd = Crowd::before();
            for _ in 0..count {
                process::spawn_receiver::<()>(|inbox| drop(inbox.recv())).expect("a thread");
            }
            crowd.there(workload, count)
        }
        Workload::Restart => percentiles(workload, restart(count)),
        Workload::LinkFanout => link_fanout(count).micros(workload, count),
        Workload::BlockSleep | Workload::BlockSpin => blocked(workload, scale).percentiles(workload),
        Workload::NameCall => name_call(count),
        Workload::Timers => timers(count),
    })
}

struct Counter(u64);

enum Ask {
    Next(Caller<u64>),
    Crash(#[expect(dead_code, reason = "the crash answers")] Caller<()>),
}

enum Tell {
    Bump,
}

impl GenServer for Counter {
    type Args = ();
    type Call = Ask;
    type Cast = Tell;

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self(0))
    }
    fn handle_call(&mut self, ask: Ask, _: &mut Context<Self>) -> Next {
        match ask {
            Ask::Next(from) => {
                self.0 += 1;
                from.reply(self.0)
            }
            Ask::Crash(_) => panic!("on request"),
        }
    }
    fn handle_cast(&mut self, Tell::Bump: Tell, _: &mut Context<Self>) -> Next {
        self.0 += 1;
        Next::wait()
    }
}

/// Runs `body` in a process and returns its value.
fn in_process<T: Send + 'static>(body: impl FnOnce(&mut Inbox<()>) -> T + Send + 'static) -> T {
    let (done, result) = unbounded();
    process::spawn_receiver::<()>(move |inbox| done.send(body(inbox)).expect("main receives"))
        .expect("a thread");
    result.recv().expect("the task succeeds")
}

fn call_roundtrip(count: usize) -> Lap {
    let counter = Counter::start(()).expect("a thread");
    in_process(move |_| {
        for _ in 0..1000 {
            counter.call(Ask::Next).expect("an answer");
        }
        let watch = Stopwatch::start();
        for _ in 0..count {
            counter.call(Ask::Next).expect("an answer");
        }
        let lap = watch.lap();
        assert_eq!(counter.call(Ask::Next), Ok(count as u64 + 1001));
        lap
    })
}

fn call_contended(count: usize) -> Lap {
    let counter = Counter::start(()).expect("a thread");
    let (done, all) = unbounded();
    let watch = Stopwatch::start();
    for _ in 0..CLIENTS {
        let (counter, done) = (counter.clone(), done.clone());
        let client = move || {
            for _ in 0..count {
                counter.call(Ask::Next).expect("an answer");
            }
            done.send(()).expect("main receives");
        };
        process::spawn(client).expect("a thread");
    }
    all.iter().take(CLIENTS).for_each(drop);
    let lap = watch.lap();
    assert_eq!(counter.call(Ask::Next), Ok((count * CLIENTS) as u64 + 1));
    lap
}

fn cast(producers: usize, count: usize) -> Lap {
    let counter = Counter::start(()).expect("a thread");
    let (done, all) = unbounded();
    let watch = Stopwatch::start();
    for _ in 0..producers {
        let (counter, done) = (counter.clone(), done.clone());
        let producer = move || {
            for _ in 0..count {
                counter.cast(Tell::Bump);
            }
            done.send(()).expect("main receives");
        };
        process::spawn(producer).expect("a thread");
    }
    all.iter().take(producers).for_each(drop);
    assert_eq!(counter.call_infinity(Ask::Next), Ok((count * producers) as u64 + 1));
    watch.lap()
}

fn pingpong(count: usize) -> Lap {
    let echo = process::spawn_receiver::<Address<()>>(|inbox| {
        while let Event::Message(back) = inbox.recv() {
            back.send(());
        }
    });
    let echo = echo.expect("a thread");
    in_process(move |inbox| {
        let me = inbox.address();
        let mut round = || {
            echo.send(me.clone());
            inbox.recv();
        };
        (0..1000).for_each(|_| round());
        let watch = Stopwatch::start();
        (0..count).for_each(|_| round());
        watch.lap()
    })
}

enum Link {
    Next(Address<Link>),
    Token(usize),
}

fn ring(size: usize, hops: usize) -> Lap {
    let (done, arrived) = unbounded();
    let members: Vec<_> =
        (0..size).map(|_| process::spawn_receiver(member(done.clone())).expect("a thread")).collect();
    for (at, member) in members.iter().enumerate() {
        member.send(Link::Next(members[(at + 1) % size].clone()));
    }
    members[0].send(Link::Token(size * 2));
    arrived.recv().expect("the token arrives");
    let watch = Stopwatch::start();
    members[0].send(Link::Token(hops));
    arrived.recv().expect("the token arrives");
    watch.lap()
}

fn member(done: Sender<()>) -> impl FnOnce(&mut Inbox<Link>) + Send {
    move |inbox| {
        let Event::Message(Link::Next(next)) = inbox.recv() else { panic!("first the neighbour") };
        while let Event::Message(Link::Token(left)) = inbox.recv() {
            match left {
                0 => done.send(()).expect("main receives"),
                _ => next.send(Link::Token(left - 1)),
            }
        }
    }
}

#[derive(Clone)]
enum Play {
    Begin(Vec<Address<Play>>),
    Ping(Address<Play>),
    Pong,
}

fn big(rounds: usize) -> Lap {
    let (done, all) = unbounded();
    let players: Vec<_> = (0..BIG)
        .map(|seed| {
            let done = done.clone();
            let player = move |inbox: &mut Inbox<Play>| {
                let begin = inbox.recv_where(|event| matches!(event, Event::Message(Play::Begin(_))));
                let Event::Message(Play::Begin(others)) = begin else { unreachable!("it was looked for") };
                let mut random = Random::new(seed);
                for _ in 0..rounds {
                    others[random.below(BIG)].send(Play::Ping(inbox.address()));
                    while let Event::Message(Play::Ping(from)) = inbox.recv() {
                        from.send(Play::Pong);
                    }
                }
                done.send(()).expect("main receives");
                while let Event::Message(Play::Ping(from)) = inbox.recv() {
                    from.send(Play::Pong);
                }
            };
            process::spawn_receiver(player).expect("a thread")
        })
        .collect();
    let watch = Stopwatch::start();
    players.iter().for_each(|player| player.send(Play::Begin(players.clone())));
    all.iter().take(BIG).for_each(drop);
    watch.lap()
}

fn spawn_exit(count: usize) -> Lap {
    in_process(move |_| {
        let watch = Stopwatch::start();
        for _ in 0..count {
            let child = process::spawn(|| ()).expect("a thread");
            process::watch(child).wait();
        }
        watch.lap()
    })
}

fn spawn_batch(count: usize) -> Lap {
    in_process(move |_| {
        let watch = Stopwatch::start();
        for _ in 0..count {
            let child = || process::watch(process::spawn(|| ()).expect("a thread"));
            let children: Vec<_> = (0..BATCH).map(|_| child()).collect();
            children.iter().for_each(|child| drop(child.wait()));
        }
        watch.lap()
    })
}

const COUNTER: ServerRef<Counter> = ServerRef::named("counter");

fn restart(count: usize) -> Vec<Duration> {
    let system = Supervisor::one_for_one()
        .max_restarts(u32::MAX, Duration::from_millis(1))
        .child(Counter::child_spec(()).name(COUNTER))
        .start_link();
    let _system = system.expect("a thread");
    in_process(move |_| {
        let crash = |_| {
            let begun = Instant::now();
            assert!(COUNTER.call(Ask::Crash).is_err());
            while COUNTER.call(Ask::Next).is_err() {
                COUNTER.whereis_timeout(Duration::from_secs(1)).expect("it is restarted");
            }
            begun.elapsed()
        };
        (0..count).map(crash).collect()
    })
}

fn link_fanout(count: usize) -> Lap {
    let mut all = Lap { wall: Duration::ZERO, cpu: Duration::ZERO };
    for _ in 0..count {
        let victim = process::spawn_receiver::<()>(|inbox| {
            inbox.recv();
            panic!("on request");
        });
        let victim = victim.expect("a thread");
        let (tx, rx) = unbounded();
        for _ in 0..WATCHERS {
            let (pid, tx) = (victim.pid(), tx.clone());
            let watcher = move |inbox: &mut Inbox<()>| {
                let monitor = process::monitor(pid);
                tx.send(()).expect("main receives");
                let Event::Down { monitor: fired, .. } = inbox.recv() else { panic!("a down was due") };
                assert_eq!(fired, monitor);
                tx.send(()).expect("main receives");
            };
            process::spawn_receiver(watcher).expect("a thread");
        }
        rx.iter().take(WATCHERS).for_each(drop);
        std::thread::sleep(Duration::from_millis(50)); // until all wait
        let watch = Stopwatch::start();
        victim.send(());
        rx.iter().take(WATCHERS).for_each(drop);
        let lap = watch.lap();
        all.wall += lap.wall;
        all.cpu += lap.cpu;
    }
    all
}

struct Busy(Workload);

impl GenServer for Busy {
    type Args = Workload;
    type Call = Infallible;
    type Cast = ();

    fn init(workload: Workload, cx: &mut Context<Self>) -> Result<Self, InitError> {
        cx.cast(());
        Ok(Self(workload))
    }
    fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next {
        match call {}
    }
    fn handle_cast(&mut self, (): (), cx: &mut Context<Self>) -> Next {
        block(self.0);
        cx.cast(());
        Next::wait()
    }
}

fn blocked(workload: Workload, scale: Scale) -> Pace {
    for _ in 0..BUSY {
        Busy::start(workload).expect("a thread");
    }
    let light = Counter::start(()).expect("a thread");
    in_process(move |_| {
        let mut pace = Pace::new(scale.pick(Duration::from_millis(1500), Duration::from_secs(5)));
        while let Some(due) = pace.due() {
            process::sleep(due.saturating_duration_since(Instant::now()));
            light.call_infinity(Ask::Next).expect("an answer");
            pace.answered();
        }
        pace
    })
}

fn name_call(count: usize) -> Vec<(String, f64)> {
    let by_pid = Counter::child_spec(()).name(COUNTER).start().expect("a thread");
    in_process(move |_| {
        let time = |server: &ServerRef<Counter>| {
            let watch = Stopwatch::start();
            for _ in 0..count / 10 {
                server.call(Ask::Next).expect("an answer");
            }
            watch.lap().wall
        };
        time(&by_pid);
        let (mut pid, mut name) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..10 {
            pid += time(&by_pid);
            name += time(&COUNTER);
        }
        vec![("name_call_pid".into(), nanos(pid, count)), ("name_call_name".into(), nanos(name, count))]
    })
}

fn timers(count: usize) -> Vec<(String, f64)> {
    in_process(move |inbox| {
        let me = inbox.address();
        let watch = Stopwatch::start();
        let timers: Vec<_> =
            (0..count).map(|_| process::send_after(Duration::from_secs(3600), &me, ())).collect();
        let armed = watch.lap().wall;
        let watch = Stopwatch::start();
        for timer in timers {
            assert!(process::cancel_timer(timer).is_some());
        }
        let cancelled = watch.lap().wall;
        vec![("timers_arm".into(), nanos(armed, count)), ("timers_cancel".into(), nanos(cancelled, count))]
    })
}
