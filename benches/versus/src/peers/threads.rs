//! Handwritten synchronous code: std threads, a crossbeam channel for a mailbox, a new one for each reply.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded, unbounded};

use crate::measure::{Crowd, Lap, Outcome, Pace, Random, Stopwatch, block, percentiles};
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
            let crowd = Crowd::before();
            let mailboxes: Vec<_> = (0..count)
                .map(|_| {
                    let (mailbox, messages) = unbounded::<()>();
                    start(move || messages.recv());
                    mailbox
                })
                .collect();
            let figures = crowd.there(workload, count);
            drop(mailboxes);
            figures
        }
        Workload::Restart => percentiles(workload, restart(count)),
        Workload::LinkFanout => link_fanout(count).micros(workload, count),
        Workload::BlockSleep | Workload::BlockSpin => blocked(workload, scale).percentiles(workload),
        Workload::NameCall => return Err("no names"),
        Workload::Timers => return Err("no timers"),
    })
}

fn start<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    thread::Builder::new().stack_size(256 * 1024).spawn(body).expect("a thread")
}

enum Message {
    Next(Sender<u64>),
    Bump,
    Crash,
}

fn counter() -> (Sender<Message>, JoinHandle<()>) {
    let (mailbox, messages) = unbounded();
    let handle = start(move || {
        let mut count = 0;
        for message in messages {
            match message {
                Message::Next(answer) => {
                    count += 1;
                    let _ = answer.send(count);
                }
                Message::Bump => count += 1,
                Message::Crash => panic!("on request"),
            }
        }
    });
    (mailbox, handle)
}

fn call(counter: &Sender<Message>) -> Option<u64> {
    let (answer, answered) = bounded(1);
    counter.send(Message::Next(answer)).ok()?;
    answered.recv().ok()
}

fn call_roundtrip(count: usize) -> Lap {
    let (counter, _) = counter();
    let client = start(move || {
        for _ in 0..1000 {
            call(&counter);
        }
        let watch = Stopwatch::start();
        for _ in 0..count {
            call(&counter).expect("an answer");
        }
        let lap = watch.lap();
        assert_eq!(call(&counter), Some(count as u64 + 1001));
        lap
    });
    client.join().expect("the task succeeds")
}

fn call_contended(count: usize) -> Lap {
    let (counter, _) = counter();
    let watch = Stopwatch::start();
    let client = || {
        let counter = counter.clone();
        start(move || {
            for _ in 0..count {
                call(&counter).expect("an answer");
            }
        })
    };
    let clients: Vec<_> = (0..CLIENTS).map(|_| client()).collect();
    clients.into_iter().for_each(|client| client.join().expect("the task succeeds"));
    let lap = watch.lap();
    assert_eq!(call(&counter), Some((count * CLIENTS) as u64 + 1));
    lap
}

fn cast(producers: usize, count: usize) -> Lap {
    let (counter, _) = counter();
    let watch = Stopwatch::start();
    let producer = || {
        let counter = counter.clone();
        start(move || (0..count).for_each(|_| counter.send(Message::Bump).expect("it is running")))
    };
    let all: Vec<_> = (0..producers).map(|_| producer()).collect();
    all.into_iter().for_each(|producer| producer.join().expect("the task succeeds"));
    assert_eq!(call(&counter), Some((count * producers) as u64 + 1));
    watch.lap()
}

fn pingpong(count: usize) -> Lap {
    let (echo, pings) = unbounded::<Sender<()>>();
    start(move || {
        for back in pings {
            let _ = back.send(());
        }
    });
    let client = start(move || {
        let (me, pongs) = unbounded();
        let round = || {
            echo.send(me.clone()).expect("it is running");
            pongs.recv().expect("a pong");
        };
        (0..1000).for_each(|_| round());
        let watch = Stopwatch::start();
        (0..count).for_each(|_| round());
        watch.lap()
    });
    client.join().expect("the task succeeds")
}

fn ring(size: usize, hops: usize) -> Lap {
    let (done, arrived) = unbounded();
    let (mailboxes, receivers): (Vec<_>, Vec<_>) = (0..size).map(|_| unbounded::<usize>()).unzip();
    for (at, messages) in receivers.into_iter().enumerate() {
        let (next, done) = (mailboxes[(at + 1) % size].clone(), done.clone());
        start(move || {
            for left in messages {
                match left {
                    0 => drop(done.send(())),
                    _ => drop(next.send(left - 1)),
                }
            }
        });
    }
    mailboxes[0].send(size * 2).expect("it is running");
    arrived.recv().expect("the token arrives");
    let watch = Stopwatch::start();
    mailboxes[0].send(hops).expect("it is running");
    arrived.recv().expect("the token arrives");
    watch.lap()
}

enum Play {
    Begin(Vec<Sender<Play>>),
    Ping(usize),
    Pong,
}

fn big(rounds: usize) -> Lap {
    let (done, all) = unbounded();
    let (mailboxes, receivers): (Vec<_>, Vec<_>) = (0..BIG).map(|_| unbounded::<Play>()).unzip();
    for (me, messages) in receivers.into_iter().enumerate() {
        let done = done.clone();
        start(move || {
            let mut early = Vec::new();
            let others = loop {
                match messages.recv().expect("main holds the mailboxes") {
                    Play::Begin(others) => break others,
                    Play::Ping(from) => early.push(from),
                    Play::Pong => unreachable!("it has not pinged"),
                }
            };
            let pong = |to: usize| drop(others[to].send(Play::Pong));
            early.into_iter().for_each(pong);
            let mut random = Random::new(me);
            for _ in 0..rounds {
                others[random.below(BIG)].send(Play::Ping(me)).expect("it is running");
                while let Ok(Play::Ping(from)) = messages.recv() {
                    pong(from);
                }
            }
            done.send(()).expect("main receives");
            while let Ok(Play::Ping(from)) = messages.recv() {
                pong(from);
            }
        });
    }
    let watch = Stopwatch::start();
    for mailbox in &mailboxes {
        mailbox.send(Play::Begin(mailboxes.clone())).expect("it is running");
    }
    all.iter().take(BIG).for_each(drop);
    watch.lap()
}

fn spawn_exit(count: usize) -> Lap {
    let watch = Stopwatch::start();
    (0..count).for_each(|_| start(|| ()).join().expect("the task succeeds"));
    watch.lap()
}

fn spawn_batch(count: usize) -> Lap {
    let watch = Stopwatch::start();
    for _ in 0..count {
        let all: Vec<_> = (0..BATCH).map(|_| start(|| ())).collect();
        all.into_iter().for_each(|one| one.join().expect("the task succeeds"));
    }
    watch.lap()
}

/// Measures a thread that restarts the counter when it has crashed, and keeps its mailbox in a table by
/// name.
fn restart(count: usize) -> Vec<Duration> {
    let table = Arc::new(Mutex::new(HashMap::new()));
    let names = Arc::clone(&table);
    let (ready, begun) = bounded(1);
    start(move || {
        loop {
            let (mailbox, handle) = counter();
            names.lock().expect("no panic under it").insert("counter", mailbox);
            let _ = ready.try_send(());
            if handle.join().is_ok() {
                return;
            }
        }
    });
    begun.recv().expect("it starts");
    let find = || table.lock().expect("no panic under it").get("counter").cloned().expect("it is there");
    let crash = |_| {
        let begun = Instant::now();
        let _ = find().send(Message::Crash);
        while call(&find()).is_none() {
            std::hint::spin_loop();
        }
        begun.elapsed()
    };
    (0..count).map(crash).collect()
}

fn link_fanout(count: usize) -> Lap {
    let mut all = Lap { wall: Duration::ZERO, cpu: Duration::ZERO };
    for _ in 0..count {
        let (tx, rx) = unbounded();
        let (watchers, receivers): (Vec<_>, Vec<_>) = (0..WATCHERS).map(|_| unbounded::<&str>()).unzip();
        for downs in receivers {
            let tx = tx.clone();
            start(move || {
                downs.recv().expect("a down is due");
                tx.send(()).expect("main receives");
            });
        }
        let (victim, go) = unbounded::<()>();
        start(move || {
            let ended = catch_unwind(AssertUnwindSafe(|| {
                go.recv().expect("main sends");
                panic!("on request");
            }));
            if ended.is_err() {
                watchers.iter().for_each(|watcher| watcher.send("it died").expect("they wait"));
            }
        });
        thread::sleep(Duration::from_millis(50)); // until all wait
        let watch = Stopwatch::start();
        victim.send(()).expect("it is running");
        rx.iter().take(WATCHERS).for_each(drop);
        let lap = watch.lap();
        all.wall += lap.wall;
        all.cpu += lap.cpu;
    }
    all
}

fn blocked(workload: Workload, scale: Scale) -> Pace {
    for _ in 0..BUSY {
        let (me, messages) = unbounded();
        me.send(()).expect("it is running");
        start(move || {
            for () in &messages {
                block(workload);
                me.send(()).expect("it is running");
            }
        });
    }
    let (light, _) = counter();
    let client = start(move || {
        let mut pace = Pace::new(scale.pick(Duration::from_millis(1500), Duration::from_secs(5)));
        while let Some(due) = pace.due() {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            call(&light).expect("an answer");
            pace.answered();
        }
        pace
    });
    client.join().expect("the task succeeds")
}
