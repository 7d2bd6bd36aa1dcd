//! ractor: actors on tokio in the style of Erlang, with supervision by links and a registry of names.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent, call, registry};
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
                start(Idle, true).await.1.await.expect("the task succeeds");
            }
            watch.lap().micros(workload, count)
        }
        Workload::SpawnBatch => {
            let watch = Stopwatch::start();
            for _ in 0..count {
                let mut all = Vec::new();
                for _ in 0..BATCH {
                    all.push(start(Idle, true).await.1);
                }
                for one in all {
                    one.await.expect("the task succeeds");
                }
            }
            watch.lap().micros(workload, count * BATCH)
        }
        Workload::SpawnMany1k | Workload::SpawnMany10k => {
            let crowd = Crowd::before();
            let mut idle = Vec::new();
            for _ in 0..count {
                idle.push(start(Idle, false).await.0);
            }
            let figures = crowd.there(workload, count);
            drop(idle);
            figures
        }
        Workload::Restart => percentiles(workload, restart(count).await),
        Workload::LinkFanout => link_fanout(count).await.micros(workload, count),
        Workload::BlockSleep | Workload::BlockSpin => blocked(workload, scale).await.percentiles(workload),
        Workload::NameCall => name_call(count).await,
        Workload::Timers => timers(count).await,
    })
}

async fn start<A: Actor>(
    actor: A,
    arguments: A::Arguments,
) -> (ActorRef<A::Msg>, ::tokio::task::JoinHandle<()>) {
    A::spawn(None, actor, arguments).await.expect("it starts")
}

struct Counter;

enum Message {
    Next(RpcReplyPort<u64>),
    Bump,
    Crash,
}

impl Actor for Counter {
    type Msg = Message;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }
    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        count: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Next(answer) => {
                *count += 1;
                let _ = answer.send(*count);
            }
            Message::Bump => *count += 1,
            Message::Crash => panic!("on request"),
        }
        Ok(())
    }
}

async fn next(counter: &ActorRef<Message>) -> u64 {
    call!(counter, Message::Next).expect("an answer")
}

async fn call_roundtrip(count: usize) -> Lap {
    let (counter, _) = start(Counter, ()).await;
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
    let (counter, _) = start(Counter, ()).await;
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
    let (counter, _) = start(Counter, ()).await;
    let watch = Stopwatch::start();
    let producer = |_| {
        let counter = counter.clone();
        spawn(async move {
            for _ in 0..count {
                assert!(counter.cast(Message::Bump).is_ok());
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

enum Ball {
    To(ActorRef<Ball>, usize),
}

impl Actor for Player {
    type Msg = Ball;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Ball>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
    async fn handle(
        &self,
        me: ActorRef<Ball>,
        Ball::To(other, left): Ball,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match left {
            0 => self.0.send(())?,
            _ => other.send_message(Ball::To(me, left - 1))?,
        }
        Ok(())
    }
}

async fn pingpong(count: usize) -> Lap {
    let (done, mut over) = unbounded_channel();
    let (one, _) = start(Player(done.clone()), ()).await;
    let (other, _) = start(Player(done), ()).await;
    let mut watch = Stopwatch::start();
    for hops in [2000, count * 2] {
        watch = Stopwatch::start();
        assert!(one.send_message(Ball::To(other.clone(), hops)).is_ok());
        over.recv().await.expect("the ball comes to rest");
    }
    watch.lap()
}

struct Member(UnboundedSender<()>);

enum Link {
    Next(ActorRef<Link>),
    Token(usize),
}

impl Actor for Member {
    type Msg = Link;
    type State = Option<ActorRef<Link>>;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Link>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        Ok(None)
    }
    async fn handle(
        &self,
        _: ActorRef<Link>,
        message: Link,
        next: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match (message, &next) {
            (Link::Next(neighbour), _) => *next = Some(neighbour),
            (Link::Token(0), _) => self.0.send(())?,
            (Link::Token(left), Some(next)) => next.send_message(Link::Token(left - 1))?,
            (Link::Token(_), None) => unreachable!("first the neighbour"),
        }
        Ok(())
    }
}

async fn ring(size: usize, hops: usize) -> Lap {
    let (done, mut arrived) = unbounded_channel();
    let mut members = Vec::new();
    for _ in 0..size {
        members.push(start(Member(done.clone()), ()).await.0);
    }
    for (at, member) in members.iter().enumerate() {
        assert!(member.send_message(Link::Next(members[(at + 1) % size].clone())).is_ok());
    }
    let mut watch = Stopwatch::start();
    for hops in [size * 2, hops] {
        watch = Stopwatch::start();
        assert!(members[0].send_message(Link::Token(hops)).is_ok());
        arrived.recv().await.expect("the token arrives");
    }
    watch.lap()
}

struct Pinger {
    seed: usize,
    rounds: usize,
    done: UnboundedSender<()>,
}

enum Play {
    Begin(Arc<Vec<ActorRef<Play>>>),
    Ping(ActorRef<Play>),
    Pong,
}

struct Game {
    others: Arc<Vec<ActorRef<Play>>>,
    random: Random,
    left: usize,
}

impl Actor for Pinger {
    type Msg = Play;
    type State = Game;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Play>, (): ()) -> Result<Game, ActorProcessingErr> {
        Ok(Game { others: Arc::default(), random: Random::new(self.seed), left: self.rounds })
    }
    async fn handle(
        &self,
        me: ActorRef<Play>,
        play: Play,
        game: &mut Game,
    ) -> Result<(), ActorProcessingErr> {
        match play {
            Play::Ping(from) => return Ok(from.send_message(Play::Pong)?),
            Play::Begin(others) => game.others = others,
            Play::Pong => game.left -= 1,
        }
        if game.left == 0 {
            return Ok(self.done.send(())?);
        }
        Ok(game.others[game.random.below(BIG)].send_message(Play::Ping(me))?)
    }
}

async fn big(rounds: usize) -> Lap {
    let (done, mut all) = unbounded_channel();
    let mut players = Vec::new();
    for seed in 0..BIG {
        players.push(start(Pinger { seed, rounds, done: done.clone() }, ()).await.0);
    }
    let players = Arc::new(players);
    let watch = Stopwatch::start();
    for player in &*players {
        assert!(player.send_message(Play::Begin(Arc::clone(&players))).is_ok());
    }
    for _ in 0..BIG {
        all.recv().await.expect("each finishes");
    }
    watch.lap()
}

/// Does nothing, or stops at once.
struct Idle;

impl Actor for Idle {
    type Msg = ();
    type State = ();
    type Arguments = bool;

    async fn pre_start(&self, me: ActorRef<()>, ends: bool) -> Result<(), ActorProcessingErr> {
        if ends {
            me.stop(None);
        }
        Ok(())
    }
}

const NAME: &str = "counter";

/// Restarts the counter, under its name, when it has crashed.
struct Keeper;

impl Actor for Keeper {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, me: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Counter::spawn_linked(Some(NAME.into()), Counter, (), me.get_cell()).await?;
        Ok(())
    }
    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<()>,
        event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(..) = event {
            Counter::spawn_linked(Some(NAME.into()), Counter, (), me.get_cell()).await?;
        }
        Ok(())
    }
}

async fn restart(count: usize) -> Vec<Duration> {
    let _keeper = start(Keeper, ()).await;
    let find = || registry::where_is(NAME).map(ActorRef::<Message>::from);
    let mut times = Vec::new();
    for _ in 0..count {
        let begun = Instant::now();
        let _ = find().expect("it is there").cast(Message::Crash);
        loop {
            let answer = match find() {
                Some(counter) => call!(counter, Message::Next).ok(),
                None => None,
            };
            if answer.is_some() {
                break;
            }
            ::tokio::task::yield_now().await;
        }
        times.push(begun.elapsed());
    }
    times
}

/// Reports the crash of a monitored actor.
struct Watcher(UnboundedSender<()>);

impl Actor for Watcher {
    type Msg = ();
    type State = ();
    type Arguments = ActorRef<Message>;

    async fn pre_start(&self, me: ActorRef<()>, victim: ActorRef<Message>) -> Result<(), ActorProcessingErr> {
        me.get_cell().monitor(victim.get_cell());
        Ok(())
    }
    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<()>,
        event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(..) = event {
            self.0.send(())?;
            me.stop(None);
        }
        Ok(())
    }
}

async fn link_fanout(count: usize) -> Lap {
    let mut all = Lap { wall: Duration::ZERO, cpu: Duration::ZERO };
    for _ in 0..count {
        let (tx, mut rx) = unbounded_channel();
        let (victim, _) = start(Counter, ()).await;
        for _ in 0..WATCHERS {
            start(Watcher(tx.clone()), victim.clone()).await;
        }
        time::sleep(Duration::from_millis(50)).await; // until all wait
        let watch = Stopwatch::start();
        assert!(victim.cast(Message::Crash).is_ok());
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

impl Actor for Busy {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, me: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(me.send_message(())?)
    }
    async fn handle(&self, me: ActorRef<()>, (): (), (): &mut ()) -> Result<(), ActorProcessingErr> {
        block(self.0);
        Ok(me.send_message(())?)
    }
}

async fn blocked(workload: Workload, scale: Scale) -> Pace {
    let (light, _) = start(Counter, ()).await;
    for _ in 0..BUSY {
        start(Busy(workload), ()).await;
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
    let (by_pid, _) = Counter::spawn(Some(NAME.into()), Counter, ()).await.expect("it starts");
    let (mut pid, mut name) = (Duration::ZERO, Duration::ZERO);
    for round in 0..11 {
        let watch = Stopwatch::start();
        for _ in 0..count / 10 {
            next(&by_pid).await;
        }
        let by_pid = watch.lap().wall;
        let watch = Stopwatch::start();
        for _ in 0..count / 10 {
            next(&registry::where_is(NAME).expect("it is there").into()).await;
        }
        if round > 0 {
            pid += by_pid;
            name += watch.lap().wall;
        }
    }
    vec![("name_call_pid".into(), nanos(pid, count)), ("name_call_name".into(), nanos(name, count))]
}

async fn timers(count: usize) -> Vec<(String, f64)> {
    let (counter, _) = start(Counter, ()).await;
    let watch = Stopwatch::start();
    let timers: Vec<_> =
        (0..count).map(|_| counter.send_after(Duration::from_secs(3600), || Message::Bump)).collect();
    let armed = watch.lap().wall;
    let watch = Stopwatch::start();
    for timer in timers {
        timer.abort();
    }
    let cancelled = watch.lap().wall;
    vec![("timers_arm".into(), nanos(armed, count)), ("timers_cancel".into(), nanos(cancelled, count))]
}
