//! kameo: actors on tokio, each message a type of its own, with supervision and links.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::kameo::actor::{Actor, ActorId, ActorRef, Spawn, WeakActorRef};
use ::kameo::error::{ActorStopReason, Infallible};
use ::kameo::mailbox;
use ::kameo::message::{Context, Message};
use ::kameo::supervision::RestartPolicy;
use ::tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use ::tokio::{spawn, time};

use crate::measure::{Crowd, Lap, Outcome, Pace, Random, Stopwatch, block, nanos, percentiles};
use crate::workload::{BATCH, BIG, BUSY, CLIENTS, Scale, WATCHERS, Workload, ring_size};

pub fn run(workload: Workload, scale: Scale) -> Outcome {
    std::panic::set_hook(Box::new(|_| {}));
    let runtime = super::tokio::runtime();
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
                let child = start(Counter(0));
                child.kill();
                child.wait_for_shutdown().await;
            }
            watch.lap().micros(workload, count)
        }
        Workload::SpawnBatch => {
            let watch = Stopwatch::start();
            for _ in 0..count {
                let all: Vec<_> = (0..BATCH).map(|_| start(Counter(0))).collect();
                all.iter().for_each(ActorRef::kill);
                for one in all {
                    one.wait_for_shutdown().await;
                }
            }
            watch.lap().micros(workload, count * BATCH)
        }
        Workload::SpawnMany1k | Workload::SpawnMany10k => {
            let crowd = Crowd::before();
            let idle: Vec<_> = (0..count).map(|_| start(Counter(0))).collect();
            let figures = crowd.there(workload, count);
            drop(idle);
            figures
        }
        Workload::Restart => percentiles(workload, restart(count).await),
        Workload::LinkFanout => link_fanout(count).await.micros(workload, count),
        Workload::BlockSleep | Workload::BlockSpin => blocked(workload, scale).await.percentiles(workload),
        Workload::NameCall => name_call(count).await,
        Workload::Timers => return Err("no timers"),
    })
}

/// Starts an actor with an unbounded mailbox, like the other peers.
fn start<A: Actor<Args = A>>(actor: A) -> ActorRef<A> {
    A::spawn_with_mailbox(actor, mailbox::unbounded())
}

/// An actor that is its own argument and needs nothing else.
macro_rules! plain_actor {
    ($name:ty) => {
        impl Actor for $name {
            type Args = Self;
            type Error = Infallible;

            async fn on_start(state: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
                Ok(state)
            }
        }
    };
}

#[derive(Clone)]
struct Counter(u64);
struct Next;
struct Bump;
struct Crash;

plain_actor!(Counter);

impl Message<Next> for Counter {
    type Reply = u64;
    async fn handle(&mut self, _: Next, _: &mut Context<Self, u64>) -> u64 {
        self.0 += 1;
        self.0
    }
}

impl Message<Bump> for Counter {
    type Reply = ();
    async fn handle(&mut self, _: Bump, _: &mut Context<Self, ()>) {
        self.0 += 1;
    }
}

impl Message<Crash> for Counter {
    type Reply = ();
    async fn handle(&mut self, _: Crash, _: &mut Context<Self, ()>) {
        panic!("on request");
    }
}

async fn next(counter: &ActorRef<Counter>) -> u64 {
    counter.ask(Next).await.expect("an answer")
}

async fn call_roundtrip(count: usize) -> Lap {
    let counter = start(Counter(0));
    for _ in 0..1000 {
        next(&counter).await;
    }
    let watch = Stopwatch::start();
    for _ in 0..count {
        next(&counter).await;
    }
    let lap = watch.lap();
    assert_eq!(next(&counter).await, count as u64 + 1001);
    lap
}

async fn call_contended(count: usize) -> Lap {
    let counter = start(Counter(0));
    let watch = Stopwatch::start();
    let client = |_| {
        let counter = counter.clone();
        spawn(async move {
            for _ in 0..count {
                next(&counter).await;
            }
        })
    };
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();
    for client in clients {
        client.await.expect("the task succeeds");
    }
    let lap = watch.lap();
    assert_eq!(next(&counter).await, (count * CLIENTS) as u64 + 1);
    lap
}

async fn cast(producers: usize, count: usize) -> Lap {
    let counter = start(Counter(0));
    let watch = Stopwatch::start();
    let producer = |_| {
        let counter = counter.clone();
        spawn(async move {
            for _ in 0..count {
                counter.tell(Bump).await.expect("it is running");
            }
        })
    };
    let all: Vec<_> = (0..producers).map(producer).collect();
    for producer in all {
        producer.await.expect("the task succeeds");
    }
    assert_eq!(next(&counter).await, (count * producers) as u64 + 1);
    watch.lap()
}

/// Plays both ends of a ping-pong.
struct Player(UnboundedSender<()>);
struct Ball(ActorRef<Player>, usize);

plain_actor!(Player);

impl Message<Ball> for Player {
    type Reply = ();
    async fn handle(&mut self, Ball(other, left): Ball, cx: &mut Context<Self, ()>) {
        match left {
            0 => self.0.send(()).expect("the receiver exists"),
            _ => other.tell(Ball(cx.actor_ref().clone(), left - 1)).await.expect("it is running"),
        }
    }
}

async fn pingpong(count: usize) -> Lap {
    let (done, mut over) = unbounded_channel();
    let (one, other) = (start(Player(done.clone())), start(Player(done)));
    let mut watch = Stopwatch::start();
    for hops in [2000, count * 2] {
        watch = Stopwatch::start();
        one.tell(Ball(other.clone(), hops)).await.expect("it is running");
        over.recv().await.expect("the ball comes to rest");
    }
    watch.lap()
}

struct Member {
    done: UnboundedSender<()>,
    next: Option<ActorRef<Member>>,
}
struct Neighbour(ActorRef<Member>);
struct Token(usize);

plain_actor!(Member);

impl Message<Neighbour> for Member {
    type Reply = ();
    async fn handle(&mut self, Neighbour(next): Neighbour, _: &mut Context<Self, ()>) {
        self.next = Some(next);
    }
}

impl Message<Token> for Member {
    type Reply = ();
    async fn handle(&mut self, Token(left): Token, _: &mut Context<Self, ()>) {
        match (left, &self.next) {
            (0, _) => self.done.send(()).expect("the receiver exists"),
            (_, Some(next)) => next.tell(Token(left - 1)).await.expect("it is running"),
            (_, None) => unreachable!("first the neighbour"),
        }
    }
}

async fn ring(size: usize, hops: usize) -> Lap {
    let (done, mut arrived) = unbounded_channel();
    let members: Vec<_> = (0..size).map(|_| start(Member { done: done.clone(), next: None })).collect();
    for (at, member) in members.iter().enumerate() {
        member.tell(Neighbour(members[(at + 1) % size].clone())).await.expect("it is running");
    }
    let mut watch = Stopwatch::start();
    for hops in [size * 2, hops] {
        watch = Stopwatch::start();
        members[0].tell(Token(hops)).await.expect("it is running");
        arrived.recv().await.expect("the token arrives");
    }
    watch.lap()
}

struct Pinger {
    others: Arc<Vec<ActorRef<Pinger>>>,
    random: Random,
    left: usize,
    done: UnboundedSender<()>,
}
struct Begin(Arc<Vec<ActorRef<Pinger>>>);
struct Ping(ActorRef<Pinger>);
struct Pong;

plain_actor!(Pinger);

impl Pinger {
    async fn ping(&mut self, me: &ActorRef<Self>) {
        if self.left == 0 {
            return self.done.send(()).expect("the receiver exists");
        }
        let other = &self.others[self.random.below(BIG)];
        other.tell(Ping(me.clone())).await.expect("it is running");
    }
}

impl Message<Begin> for Pinger {
    type Reply = ();
    async fn handle(&mut self, Begin(others): Begin, cx: &mut Context<Self, ()>) {
        self.others = others;
        self.ping(cx.actor_ref()).await;
    }
}

impl Message<Ping> for Pinger {
    type Reply = ();
    async fn handle(&mut self, Ping(from): Ping, _: &mut Context<Self, ()>) {
        from.tell(Pong).await.expect("it is running");
    }
}

impl Message<Pong> for Pinger {
    type Reply = ();
    async fn handle(&mut self, _: Pong, cx: &mut Context<Self, ()>) {
        self.left -= 1;
        self.ping(cx.actor_ref()).await;
    }
}

async fn big(rounds: usize) -> Lap {
    let (done, mut all) = unbounded_channel();
    let player =
        |seed| Pinger { others: Arc::default(), random: Random::new(seed), left: rounds, done: done.clone() };
    let players: Arc<Vec<_>> = Arc::new((0..BIG).map(|seed| start(player(seed))).collect());
    let watch = Stopwatch::start();
    for one in &*players {
        one.tell(Begin(Arc::clone(&players))).await.expect("it is running");
    }
    for _ in 0..BIG {
        all.recv().await.expect("each finishes");
    }
    watch.lap()
}

/// A supervisor that only restarts the counter.
struct Keeper;

plain_actor!(Keeper);

async fn restart(count: usize) -> Vec<Duration> {
    let keeper = start(Keeper);
    let counter = Counter::supervise(&keeper, Counter(0))
        .restart_policy(RestartPolicy::Permanent)
        .restart_limit(u32::MAX, Duration::from_millis(1))
        .spawn()
        .await;
    let mut times = Vec::new();
    for _ in 0..count {
        let begun = Instant::now();
        let _ = counter.tell(Crash).await;
        while counter.ask(Next).await.is_err() {
            ::tokio::task::yield_now().await;
        }
        times.push(begun.elapsed());
    }
    times
}

/// Reports the crash of a linked actor.
struct Watcher(UnboundedSender<()>);

impl Actor for Watcher {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(state: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(state)
    }
    async fn on_link_died(
        &mut self,
        _: WeakActorRef<Self>,
        _: ActorId,
        reason: ActorStopReason,
    ) -> Result<ControlFlow<ActorStopReason>, Infallible> {
        self.0.send(()).expect("the receiver exists");
        Ok(ControlFlow::Break(reason))
    }
}

async fn link_fanout(count: usize) -> Lap {
    let mut all = Lap { wall: Duration::ZERO, cpu: Duration::ZERO };
    for _ in 0..count {
        let (tx, mut rx) = unbounded_channel();
        let victim = start(Counter(0));
        let watchers: Vec<_> = (0..WATCHERS).map(|_| start(Watcher(tx.clone()))).collect();
        for watcher in &watchers {
            watcher.link(&victim).await;
        }
        time::sleep(Duration::from_millis(50)).await; // until all wait
        let watch = Stopwatch::start();
        let _ = victim.tell(Crash).await;
        for _ in 0..WATCHERS {
            rx.recv().await.expect("each reports");
        }
        let lap = watch.lap();
        all.wall += lap.wall;
        all.cpu += lap.cpu;
    }
    all
}

struct Busy(Workload);
struct Again;

plain_actor!(Busy);

impl Message<Again> for Busy {
    type Reply = ();
    async fn handle(&mut self, _: Again, cx: &mut Context<Self, ()>) {
        block(self.0);
        cx.actor_ref().tell(Again).await.expect("it is running");
    }
}

async fn blocked(workload: Workload, scale: Scale) -> Pace {
    let light = start(Counter(0));
    next(&light).await;
    let busy: Vec<_> = (0..BUSY).map(|_| start(Busy(workload))).collect();
    for one in &busy {
        one.tell(Again).await.expect("it is running");
    }
    let mut pace = Pace::new(scale.pick(Duration::from_millis(1500), Duration::from_secs(5)));
    while let Some(due) = pace.due() {
        time::sleep_until(due.into()).await;
        next(&light).await;
        pace.answered();
    }
    pace
}

async fn name_call(count: usize) -> Vec<(String, f64)> {
    let by_pid = start(Counter(0));
    by_pid.register("counter").expect("it is free");
    let (mut pid, mut name) = (Duration::ZERO, Duration::ZERO);
    for round in 0..11 {
        let watch = Stopwatch::start();
        for _ in 0..count / 10 {
            next(&by_pid).await;
        }
        let by_pid = watch.lap().wall;
        let watch = Stopwatch::start();
        for _ in 0..count / 10 {
            let found = ActorRef::<Counter>::lookup("counter").expect("it is a counter");
            next(&found.expect("it is there")).await;
        }
        if round > 0 {
            pid += by_pid;
            name += watch.lap().wall;
        }
    }
    vec![("name_call_pid".into(), nanos(pid, count)), ("name_call_name".into(), nanos(name, count))]
}
