//! actix, used as in its documentation: one `System`, which has one thread. Every client is a task on that
//! thread.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::actix::prelude::*;
use ::actix::{clock, spawn};
use ::tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use ::tokio::sync::oneshot;
use ::tokio::task::{spawn_blocking, yield_now};

use crate::measure::{Crowd, Figure, Lap, Outcome, Pace, Random, Stopwatch, block, nanos};
use crate::workload::{BATCH, BIG, BUSY, CLIENTS, Scale, Workload, ring_size};

pub fn run(workload: Workload, scale: Scale) -> Outcome {
    System::new().block_on(async move { spawn(work(workload, scale)).await }).expect("the task succeeds")
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
        Workload::SpawnExit => spawn_exit(count).await.micros(workload, count),
        Workload::SpawnBatch => spawn_batch(count).await.micros(workload, count * BATCH),
        Workload::SpawnMany1k | Workload::SpawnMany10k => crowd(workload, count).await,
        Workload::Restart => return Err("its supervisor restarts what stops, not what panics"),
        Workload::LinkFanout => return Err("no links or monitors"),
        Workload::BlockSleep | Workload::BlockSpin => blocked(workload, scale).await.percentiles(workload),
        Workload::NameCall => name_call(count).await,
        Workload::Timers => timers(count).await,
    })
}

#[derive(Default)]
struct Counter(u64);

#[derive(Message)]
#[rtype(result = "u64")]
struct Next;

#[derive(Message)]
#[rtype(result = "()")]
struct Bump;

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Handler<Next> for Counter {
    type Result = u64;

    fn handle(&mut self, _: Next, _: &mut Context<Self>) -> u64 {
        self.0 += 1;
        self.0
    }
}

impl Handler<Bump> for Counter {
    type Result = ();

    fn handle(&mut self, _: Bump, _: &mut Context<Self>) {
        self.0 += 1;
    }
}

async fn call(counter: &Addr<Counter>) -> u64 {
    counter.send(Next).await.expect("an answer")
}

async fn call_roundtrip(count: usize) -> Lap {
    let counter = Counter::default().start();
    for _ in 0..1000 {
        call(&counter).await;
    }
    let watch = Stopwatch::start();
    for _ in 0..count {
        call(&counter).await;
    }
    let lap = watch.lap();
    assert_eq!(call(&counter).await, count as u64 + 1001);
    lap
}

async fn call_contended(count: usize) -> Lap {
    let counter = Counter::default().start();
    let watch = Stopwatch::start();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let counter = counter.clone();
            spawn(async move {
                for _ in 0..count {
                    call(&counter).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("the task succeeds");
    }
    let lap = watch.lap();
    assert_eq!(call(&counter).await, (count * CLIENTS) as u64 + 1);
    lap
}

async fn cast(producers: usize, count: usize) -> Lap {
    let counter = Counter::default().start();
    let watch = Stopwatch::start();
    let all: Vec<_> = (0..producers)
        .map(|_| {
            let counter = counter.clone();
            spawn(async move {
                for _ in 0..count {
                    counter.do_send(Bump);
                }
            })
        })
        .collect();
    for producer in all {
        producer.await.expect("the task succeeds");
    }
    assert_eq!(call(&counter).await, (count * producers) as u64 + 1);
    watch.lap()
}

struct Echo;

struct Pinger {
    echo: Addr<Echo>,
    left: usize,
    done: Option<oneshot::Sender<()>>,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Serve(usize, oneshot::Sender<()>);

#[derive(Message)]
#[rtype(result = "()")]
struct Ping(Addr<Pinger>);

#[derive(Message)]
#[rtype(result = "()")]
struct Pong;

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Handler<Ping> for Echo {
    type Result = ();

    fn handle(&mut self, Ping(back): Ping, _: &mut Context<Self>) {
        back.do_send(Pong);
    }
}

impl Actor for Pinger {
    type Context = Context<Self>;
}

impl Handler<Serve> for Pinger {
    type Result = ();

    fn handle(&mut self, Serve(rounds, done): Serve, context: &mut Context<Self>) {
        (self.left, self.done) = (rounds, Some(done));
        self.echo.do_send(Ping(context.address()));
    }
}

impl Handler<Pong> for Pinger {
    type Result = ();

    fn handle(&mut self, _: Pong, context: &mut Context<Self>) {
        self.left -= 1;
        if self.left > 0 {
            self.echo.do_send(Ping(context.address()));
        } else if let Some(done) = self.done.take() {
            done.send(()).expect("the receiver exists");
        }
    }
}

async fn pingpong(count: usize) -> Lap {
    let pinger = Pinger { echo: Echo.start(), left: 0, done: None }.start();
    let play = async |rounds| {
        let (done, played) = oneshot::channel();
        pinger.do_send(Serve(rounds, done));
        played.await.expect("it finishes");
    };
    play(1000).await;
    let watch = Stopwatch::start();
    play(count).await;
    watch.lap()
}

struct Member {
    next: Option<Addr<Member>>,
    done: UnboundedSender<()>,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Link(Addr<Member>);

#[derive(Message)]
#[rtype(result = "()")]
struct Token(usize);

impl Actor for Member {
    type Context = Context<Self>;
}

impl Handler<Link> for Member {
    type Result = ();

    fn handle(&mut self, Link(next): Link, _: &mut Context<Self>) {
        self.next = Some(next);
    }
}

impl Handler<Token> for Member {
    type Result = ();

    fn handle(&mut self, Token(left): Token, _: &mut Context<Self>) {
        match left {
            0 => self.done.send(()).expect("the receiver exists"),
            _ => self.next.as_ref().expect("it is linked first").do_send(Token(left - 1)),
        }
    }
}

async fn ring(size: usize, hops: usize) -> Lap {
    let (done, mut arrived) = unbounded_channel();
    let members: Vec<_> = (0..size).map(|_| Member { next: None, done: done.clone() }.start()).collect();
    for (at, member) in members.iter().enumerate() {
        member.do_send(Link(members[(at + 1) % size].clone()));
    }
    members[0].do_send(Token(size * 2));
    arrived.recv().await.expect("the token arrives");
    let watch = Stopwatch::start();
    members[0].do_send(Token(hops));
    arrived.recv().await.expect("the token arrives");
    watch.lap()
}

struct Player {
    me: usize,
    others: Vec<Addr<Player>>,
    left: usize,
    random: Random,
    done: UnboundedSender<()>,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Meet(Vec<Addr<Player>>);

#[derive(Message)]
#[rtype(result = "()")]
struct Begin;

#[derive(Message)]
#[rtype(result = "()")]
struct PingFrom(usize);

impl Player {
    fn ping(&mut self) {
        self.others[self.random.below(BIG)].do_send(PingFrom(self.me));
    }
}

impl Actor for Player {
    type Context = Context<Self>;
}

impl Handler<Meet> for Player {
    type Result = ();

    fn handle(&mut self, Meet(others): Meet, _: &mut Context<Self>) {
        self.others = others;
    }
}

impl Handler<Begin> for Player {
    type Result = ();

    fn handle(&mut self, _: Begin, _: &mut Context<Self>) {
        self.ping();
    }
}

impl Handler<PingFrom> for Player {
    type Result = ();

    fn handle(&mut self, PingFrom(from): PingFrom, _: &mut Context<Self>) {
        self.others[from].do_send(Pong);
    }
}

impl Handler<Pong> for Player {
    type Result = ();

    fn handle(&mut self, _: Pong, _: &mut Context<Self>) {
        self.left -= 1;
        if self.left > 0 {
            self.ping();
        } else {
            self.done.send(()).expect("the receiver exists");
        }
    }
}

async fn big(rounds: usize) -> Lap {
    let (done, mut all) = unbounded_channel();
    let player =
        |me| Player { me, others: Vec::new(), left: rounds, random: Random::new(me), done: done.clone() };
    let players: Vec<_> = (0..BIG).map(|me| player(me).start()).collect();
    let watch = Stopwatch::start();
    players.iter().for_each(|one| one.do_send(Meet(players.clone())));
    players.iter().for_each(|one| one.do_send(Begin)); // no ping before all have their partners
    for _ in 0..BIG {
        all.recv().await.expect("each finishes");
    }
    watch.lap()
}

/// Stops as soon as it has started, and reports that.
struct Brief(Option<oneshot::Sender<()>>);

impl Actor for Brief {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        context.stop();
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        self.0.take().expect("it ends once").send(()).expect("the receiver exists");
    }
}

fn brief() -> oneshot::Receiver<()> {
    let (ends, ended) = oneshot::channel();
    Brief(Some(ends)).start();
    ended
}

async fn spawn_exit(count: usize) -> Lap {
    let watch = Stopwatch::start();
    for _ in 0..count {
        brief().await.expect("the task succeeds");
    }
    watch.lap()
}

async fn spawn_batch(count: usize) -> Lap {
    let watch = Stopwatch::start();
    for _ in 0..count {
        let all: Vec<_> = (0..BATCH).map(|_| brief()).collect();
        for one in all {
            one.await.expect("the task succeeds");
        }
    }
    watch.lap()
}

struct Idle;

static IDLE: AtomicUsize = AtomicUsize::new(0);

impl Actor for Idle {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        IDLE.fetch_add(1, Ordering::Relaxed);
    }
}

async fn crowd(workload: Workload, count: usize) -> Vec<Figure> {
    let crowd = Crowd::before();
    let all: Vec<_> = (0..count).map(|_| Idle.start()).collect();
    while IDLE.load(Ordering::Relaxed) < count {
        yield_now().await;
    }
    // On another thread: idle actors must not be kept from running.
    let figures = spawn_blocking(move || crowd.there(workload, count)).await.expect("the task succeeds");
    assert!(all.iter().all(Addr::connected));
    figures
}

struct Busy(Workload);

#[derive(Message)]
#[rtype(result = "()")]
struct Toil;

impl Actor for Busy {
    type Context = Context<Self>;
}

impl Handler<Toil> for Busy {
    type Result = ();

    fn handle(&mut self, _: Toil, _: &mut Context<Self>) {
        block(self.0);
    }
}

/// Keeps the busy actors so with tasks: an actor that always sends itself the next message, or notifies
/// itself, never yields the thread.
async fn blocked(workload: Workload, scale: Scale) -> Pace {
    for _ in 0..BUSY {
        let busy = Busy(workload).start();
        spawn(async move { while busy.send(Toil).await.is_ok() {} });
    }
    let light = Counter::default().start();
    let mut pace = Pace::new(scale.pick(Duration::from_millis(1500), Duration::from_secs(5)));
    while let Some(due) = pace.due() {
        clock::sleep_until(due.into()).await;
        call(&light).await;
        pace.answered();
    }
    pace
}

impl Supervised for Counter {}
impl SystemService for Counter {}

/// Measures calls through its registry, which finds actors by their type instead of a name.
async fn name_call(count: usize) -> Vec<Figure> {
    let by_address = Counter::from_registry();
    let (mut address, mut name) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..count / 10 {
        call(&by_address).await;
    }
    for _ in 0..10 {
        let watch = Stopwatch::start();
        for _ in 0..count / 10 {
            call(&by_address).await;
        }
        address += watch.lap().wall;
        let watch = Stopwatch::start();
        for _ in 0..count / 10 {
            call(&Counter::from_registry()).await;
        }
        name += watch.lap().wall;
    }
    assert_eq!(call(&by_address).await, (count / 10 * 21) as u64 + 1);
    vec![("name_call_pid".into(), nanos(address, count)), ("name_call_name".into(), nanos(name, count))]
}

#[derive(Default)]
struct Clock {
    timers: Vec<SpawnHandle>,
    fired: usize,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Arm(usize);

#[derive(Message)]
#[rtype(result = "usize")]
struct Disarm;

#[derive(Message)]
#[rtype(result = "()")]
struct Fire;

impl Actor for Clock {
    type Context = Context<Self>;
}

impl Handler<Arm> for Clock {
    type Result = ();

    fn handle(&mut self, Arm(count): Arm, context: &mut Context<Self>) {
        self.timers = (0..count).map(|_| context.notify_later(Fire, Duration::from_secs(3600))).collect();
    }
}

impl Handler<Disarm> for Clock {
    type Result = usize;

    fn handle(&mut self, _: Disarm, context: &mut Context<Self>) -> usize {
        self.timers.drain(..).for_each(|timer| assert!(context.cancel_future(timer)));
        self.fired
    }
}

impl Handler<Fire> for Clock {
    type Result = ();

    fn handle(&mut self, _: Fire, _: &mut Context<Self>) {
        self.fired += 1;
    }
}

/// Measures timers, which an actor sets for itself. Its context does the work after the handler, on the one
/// thread, before the reply is seen: so that is in the times.
async fn timers(count: usize) -> Vec<Figure> {
    let clock = Clock::default().start();
    let watch = Stopwatch::start();
    clock.send(Arm(count)).await.expect("an answer");
    let armed = watch.lap().wall;
    let watch = Stopwatch::start();
    let fired = clock.send(Disarm).await.expect("an answer");
    let cancelled = watch.lap().wall;
    assert_eq!(fired, 0);
    vec![("timers_arm".into(), nanos(armed, count)), ("timers_cancel".into(), nanos(cancelled, count))]
}
