//! Handwritten asynchronous code: a task with an mpsc channel for a mailbox, a oneshot for each reply, on
//! tokio's runtime with two workers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ::tokio::runtime::{Builder, Runtime};
use ::tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use ::tokio::sync::oneshot;
use ::tokio::task::JoinHandle;
use ::tokio::{spawn, time};

use crate::measure::{Crowd, Lap, Outcome, Pace, Random, Stopwatch, block, percentiles};
use crate::workload::{BATCH, BIG, BUSY, CLIENTS, Scale, WATCHERS, Workload, ring_size};

/// Returns the runtime of all peers that use tokio.
pub fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("two threads")
}

pub fn run(workload: Workload, scale: Scale) -> Outcome {
    std::panic::set_hook(Box::new(|_| {}));
    let runtime = runtime();
    // In a task: the future of `block_on` does not run on a worker.
    let outcome = runtime.block_on(async { spawn(work(workload, scale)).await });
    runtime.shutdown_background();
    outcome.expect("the task succeeds")
}

async fn work(workload: Workload, scale: Scale) -> Outcome {
    let count = workload.count(scale);
    Ok(match workload {
        Workload::CallRoundtrip => call_roundtrip(count).await.per_op(workload, count),
        Workload::CallContended => call_contended(count).await.rate(workload, count * CLIENTS),
        Workload::Cast1 => cast(1, count).await.rate(workload, count),
        Workload::Cast4 => cast(4, count).await.rate(workload, count * 4),
        Workload::Pingpong => pingpong(count).await.per_op(workload, count * 2),
        Workload::Ring100 | Workload::Ring1000 => {
            ring(ring_size(workload), count).await.per_op(workload, count)
        }
        Workload::Big => big(count).await.rate(workload, count * BIG),
        Workload::SpawnExit => {
            let watch = Stopwatch::start();
            for _ in 0..count {
                spawn(async {}).await.expect("the task succeeds");
            }
            watch.lap().micros(workload, count)
        }
        Workload::SpawnBatch => {
            let watch = Stopwatch::start();
            for _ in 0..count {
                let all: Vec<_> = (0..BATCH).map(|_| spawn(async {})).collect();
                for one in all {
                    one.await.expect("the task succeeds");
                }
            }
            watch.lap().micros(workload, count * BATCH)
        }
        Workload::SpawnMany1k | Workload::SpawnMany10k => {
            let crowd = Crowd::before();
            let idle = |_| {
                let (mailbox, mut messages) = unbounded_channel::<()>();
                spawn(async move { messages.recv().await });
                mailbox
            };
            let mailboxes: Vec<_> = (0..count).map(idle).collect();
            let figures = crowd.there(workload, count);
            drop(mailboxes);
            figures
        }
        Workload::Restart => percentiles(workload, restart(count).await),
        Workload::LinkFanout => link_fanout(count).await.micros(workload, count),
        Workload::BlockSleep | Workload::BlockSpin => blocked(workload, scale).await.percentiles(workload),
        Workload::NameCall => return Err("no names"),
        Workload::Timers => timers(count).await,
    })
}

enum Message {
    Next(oneshot::Sender<u64>),
    Bump,
    Crash,
}

fn counter() -> (UnboundedSender<Message>, JoinHandle<()>) {
    let (mailbox, mut messages) = unbounded_channel();
    let handle = spawn(async move {
        let mut count = 0;
        while let Some(message) = messages.recv().await {
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

async fn call(counter: &UnboundedSender<Message>) -> Option<u64> {
    let (answer, answered) = oneshot::channel();
    counter.send(Message::Next(answer)).ok()?;
    answered.await.ok()
}

async fn call_roundtrip(count: usize) -> Lap {
    let (counter, _) = counter();
    for _ in 0..1000 {
        call(&counter).await;
    }
    let watch = Stopwatch::start();
    for _ in 0..count {
        call(&counter).await.expect("an answer");
    }
    let lap = watch.lap();
    assert_eq!(call(&counter).await, Some(count as u64 + 1001));
    lap
}

async fn call_contended(count: usize) -> Lap {
    let (counter, _) = counter();
    let watch = Stopwatch::start();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let counter = counter.clone();
            spawn(async move {
                for _ in 0..count {
                    call(&counter).await.expect("an answer");
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("the task succeeds");
    }
    let lap = watch.lap();
    assert_eq!(call(&counter).await, Some((count * CLIENTS) as u64 + 1));
    lap
}

async fn cast(producers: usize, count: usize) -> Lap {
    let (counter, _) = counter();
    let watch = Stopwatch::start();
    let all: Vec<_> = (0..producers)
        .map(|_| {
            let counter = counter.clone();
            spawn(async move {
                for _ in 0..count {
                    assert!(counter.send(Message::Bump).is_ok());
                }
            })
        })
        .collect();
    for producer in all {
        producer.await.expect("the task succeeds");
    }
    assert_eq!(call(&counter).await, Some((count * producers) as u64 + 1));
    watch.lap()
}

async fn pingpong(count: usize) -> Lap {
    let (echo, mut pings) = unbounded_channel::<UnboundedSender<()>>();
    spawn(async move {
        while let Some(back) = pings.recv().await {
            let _ = back.send(());
        }
    });
    let (me, mut pongs) = unbounded_channel();
    let mut watch = Stopwatch::start();
    for round in 0..count + 1000 {
        if round == 1000 {
            watch = Stopwatch::start();
        }
        echo.send(me.clone()).expect("it is running");
        pongs.recv().await.expect("a pong");
    }
    watch.lap()
}

async fn ring(size: usize, hops: usize) -> Lap {
    let (done, mut arrived) = unbounded_channel();
    let (mailboxes, receivers): (Vec<_>, Vec<_>) = (0..size).map(|_| unbounded_channel::<usize>()).unzip();
    for (at, mut messages) in receivers.into_iter().enumerate() {
        let (next, done) = (mailboxes[(at + 1) % size].clone(), done.clone());
        spawn(async move {
            while let Some(left) = messages.recv().await {
                match left {
                    0 => drop(done.send(())),
                    _ => drop(next.send(left - 1)),
                }
            }
        });
    }
    mailboxes[0].send(size * 2).expect("it is running");
    arrived.recv().await.expect("the token arrives");
    let watch = Stopwatch::start();
    mailboxes[0].send(hops).expect("it is running");
    arrived.recv().await.expect("the token arrives");
    watch.lap()
}

#[derive(Debug)]
enum Play {
    Begin(Vec<UnboundedSender<Play>>),
    Ping(usize),
    Pong,
}

async fn big(rounds: usize) -> Lap {
    let (done, mut all) = unbounded_channel();
    let (mailboxes, receivers): (Vec<_>, Vec<_>) = (0..BIG).map(|_| unbounded_channel::<Play>()).unzip();
    for (me, mut messages) in receivers.into_iter().enumerate() {
        let done = done.clone();
        spawn(async move {
            let mut early = Vec::new();
            let others = loop {
                match messages.recv().await.expect("the mailboxes are held") {
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
                while let Some(Play::Ping(from)) = messages.recv().await {
                    pong(from);
                }
            }
            done.send(()).expect("the receiver exists");
            while let Some(Play::Ping(from)) = messages.recv().await {
                pong(from);
            }
        });
    }
    let watch = Stopwatch::start();
    for mailbox in &mailboxes {
        mailbox.send(Play::Begin(mailboxes.clone())).expect("it is running");
    }
    for _ in 0..BIG {
        all.recv().await.expect("each finishes");
    }
    watch.lap()
}

/// Measures a task that restarts the counter when it has crashed, and keeps its mailbox in a table by name.
async fn restart(count: usize) -> Vec<Duration> {
    let table = Arc::new(Mutex::new(HashMap::new()));
    let names = Arc::clone(&table);
    let (ready, begun) = oneshot::channel();
    spawn(async move {
        let mut ready = Some(ready);
        loop {
            let (mailbox, handle) = counter();
            names.lock().expect("no panic under it").insert("counter", mailbox);
            if let Some(ready) = ready.take() {
                let _ = ready.send(());
            }
            if handle.await.is_ok() {
                return;
            }
        }
    });
    begun.await.expect("it starts");
    let find = || table.lock().expect("no panic under it").get("counter").cloned().expect("it is there");
    let mut times = Vec::new();
    for _ in 0..count {
        let begun = Instant::now();
        let _ = find().send(Message::Crash);
        while call(&find()).await.is_none() {
            ::tokio::task::yield_now().await;
        }
        times.push(begun.elapsed());
    }
    times
}

async fn link_fanout(count: usize) -> Lap {
    let mut all = Lap { wall: Duration::ZERO, cpu: Duration::ZERO };
    for _ in 0..count {
        let (tx, mut rx) = unbounded_channel();
        let (watchers, receivers): (Vec<_>, Vec<_>) =
            (0..WATCHERS).map(|_| unbounded_channel::<&str>()).unzip();
        for mut downs in receivers {
            let tx = tx.clone();
            spawn(async move {
                downs.recv().await.expect("a down is due");
                tx.send(()).expect("the receiver exists");
            });
        }
        let (go, gone) = oneshot::channel::<()>();
        let victim = spawn(async move {
            let _ = gone.await;
            panic!("on request");
        });
        spawn(async move {
            if victim.await.is_err() {
                watchers.iter().for_each(|watcher| watcher.send("it died").expect("they wait"));
            }
        });
        time::sleep(Duration::from_millis(50)).await; // until all wait
        let watch = Stopwatch::start();
        let _ = go.send(());
        for _ in 0..WATCHERS {
            rx.recv().await.expect("each reports");
        }
        let lap = watch.lap();
        all.wall += lap.wall;
        all.cpu += lap.cpu;
    }
    all
}

async fn blocked(workload: Workload, scale: Scale) -> Pace {
    for _ in 0..BUSY {
        let (me, mut messages) = unbounded_channel();
        me.send(()).expect("it is running");
        spawn(async move {
            while let Some(()) = messages.recv().await {
                block(workload);
                me.send(()).expect("it is running");
            }
        });
    }
    let (light, _) = counter();
    let mut pace = Pace::new(scale.pick(Duration::from_millis(1500), Duration::from_secs(5)));
    while let Some(due) = pace.due() {
        time::sleep_until(due.into()).await;
        call(&light).await.expect("an answer");
        pace.answered();
    }
    pace
}

/// Measures the usual form of timer: a task that sleeps, then sends; cancelled by aborting the task.
async fn timers(count: usize) -> Vec<(String, f64)> {
    use crate::measure::nanos;
    let (me, _messages) = unbounded_channel::<()>();
    let watch = Stopwatch::start();
    let timers: Vec<_> = (0..count)
        .map(|_| {
            let me = me.clone();
            spawn(async move {
                time::sleep(Duration::from_secs(3600)).await;
                let _ = me.send(());
            })
        })
        .collect();
    let armed = watch.lap().wall;
    let watch = Stopwatch::start();
    for timer in timers {
        timer.abort();
    }
    let cancelled = watch.lap().wall;
    vec![("timers_arm".into(), nanos(armed, count)), ("timers_cancel".into(), nanos(cancelled, count))]
}
