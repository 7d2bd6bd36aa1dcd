//! spawned's `threads`, used as in its documentation: protocols, and a thread for each actor.

use std::time::{Duration, Instant};

use spawned_concurrency::threads::{Actor, ActorRef, ActorStart as _, Context, Handler, send_message_on};
use spawned_concurrency::{Response, actor, protocol, registry};
use spawned_rt::threads::{self as rt, mpsc};

use crate::measure::{Crowd, Figure, Lap, Outcome, Pace, Random, Stopwatch, block, nanos};
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
            let all: Vec<_> = (0..count).map(|_| Counter::new().start()).collect();
            let figures = crowd.there(workload, count);
            assert_eq!(all[count - 1].next().unwrap(), 1);
            figures
        }
        Workload::Restart => return Err("no supervision"),
        Workload::LinkFanout => link_fanout(count).micros(workload, count),
        Workload::BlockSleep | Workload::BlockSpin => blocked(workload, scale).percentiles(workload),
        Workload::NameCall => name_call(count),
        Workload::Timers => return Err("each timer is a thread, and these are 100000"),
    })
}

/// For calls that may have to wait longer than the default five seconds.
const LONG: Duration = Duration::from_secs(1000);

#[protocol]
trait CounterProtocol: Send + Sync {
    fn next(&self) -> Response<u64>;
    fn bump(&self);
}

struct Counter(u64);

#[actor(protocol = CounterProtocol)]
impl Counter {
    fn new() -> Self {
        Self(0)
    }

    #[request_handler]
    fn handle_next(&mut self, _: counter_protocol::Next, _: &Context<Self>) -> u64 {
        self.0 += 1;
        self.0
    }

    #[send_handler]
    fn handle_bump(&mut self, _: counter_protocol::Bump, _: &Context<Self>) {
        self.0 += 1;
    }
}

fn call_roundtrip(count: usize) -> Lap {
    let counter = Counter::new().start();
    for _ in 0..1000 {
        counter.next().expect("an answer");
    }
    let watch = Stopwatch::start();
    for _ in 0..count {
        counter.next().expect("an answer");
    }
    let lap = watch.lap();
    assert_eq!(counter.next().unwrap(), count as u64 + 1001);
    lap
}

fn call_contended(count: usize) -> Lap {
    let counter = Counter::new().start();
    let watch = Stopwatch::start();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let counter = counter.clone();
            rt::spawn(move || {
                for _ in 0..count {
                    counter.next().expect("an answer");
                }
            })
        })
        .collect();
    for client in clients {
        client.join().expect("the task succeeds");
    }
    let lap = watch.lap();
    assert_eq!(counter.next().unwrap(), (count * CLIENTS) as u64 + 1);
    lap
}

fn cast(producers: usize, count: usize) -> Lap {
    let counter = Counter::new().start();
    let watch = Stopwatch::start();
    let all: Vec<_> = (0..producers)
        .map(|_| {
            let counter = counter.clone();
            rt::spawn(move || {
                for _ in 0..count {
                    counter.bump();
                }
            })
        })
        .collect();
    for producer in all {
        producer.join().expect("the task succeeds");
    }
    let bumped = counter.request_with_timeout(counter_protocol::Next, LONG);
    assert_eq!(bumped.ok(), Some((count * producers) as u64 + 1));
    watch.lap()
}

#[protocol]
trait EchoProtocol: Send + Sync {
    fn ping(&self, back: PingerRef);
}

struct Echo;

#[actor(protocol = EchoProtocol)]
impl Echo {
    #[send_handler]
    fn handle_ping(&mut self, ping: echo_protocol::Ping, _: &Context<Self>) {
        ping.back.pong();
    }
}

#[protocol]
trait PingerProtocol: Send + Sync {
    fn play(&self, me: PingerRef, rounds: usize, done: mpsc::Sender<()>);
    fn pong(&self);
}

struct Pinger {
    echo: EchoRef,
    game: Option<pinger_protocol::Play>,
}

#[actor(protocol = PingerProtocol)]
impl Pinger {
    #[send_handler]
    fn handle_play(&mut self, play: pinger_protocol::Play, _: &Context<Self>) {
        self.echo.ping(play.me.clone());
        self.game = Some(play);
    }

    #[send_handler]
    fn handle_pong(&mut self, _: pinger_protocol::Pong, _: &Context<Self>) {
        let mut game = self.game.take().expect("it plays");
        game.rounds -= 1;
        if game.rounds > 0 {
            self.echo.ping(game.me.clone());
            self.game = Some(game);
        } else {
            game.done.send(()).expect("the receiver exists");
        }
    }
}

fn pingpong(count: usize) -> Lap {
    let pinger = Pinger { echo: Echo.start().to_echo_ref(), game: None }.start().to_pinger_ref();
    let (done, played) = mpsc::channel();
    pinger.play(pinger.clone(), 1000, done);
    played.recv().expect("it finishes");
    let (done, played) = mpsc::channel();
    let watch = Stopwatch::start();
    pinger.play(pinger.clone(), count, done);
    played.recv().expect("it finishes");
    watch.lap()
}

#[protocol]
trait MemberProtocol: Send + Sync {
    fn link(&self, next: MemberRef);
    fn token(&self, left: usize);
}

struct Member {
    next: Option<MemberRef>,
    done: mpsc::Sender<()>,
}

#[actor(protocol = MemberProtocol)]
impl Member {
    #[send_handler]
    fn handle_link(&mut self, link: member_protocol::Link, _: &Context<Self>) {
        self.next = Some(link.next);
    }

    #[send_handler]
    fn handle_token(&mut self, token: member_protocol::Token, _: &Context<Self>) {
        match token.left {
            0 => self.done.send(()).expect("the receiver exists"),
            left => self.next.as_ref().expect("it is linked first").token(left - 1),
        }
    }
}

fn ring(size: usize, hops: usize) -> Lap {
    let (done, arrived) = mpsc::channel();
    let member = |_| Member { next: None, done: done.clone() }.start().to_member_ref();
    let members: Vec<_> = (0..size).map(member).collect();
    for (at, member) in members.iter().enumerate() {
        member.link(members[(at + 1) % size].clone());
    }
    members[0].token(size * 2);
    arrived.recv().expect("the token arrives");
    let watch = Stopwatch::start();
    members[0].token(hops);
    arrived.recv().expect("the token arrives");
    watch.lap()
}

#[protocol]
trait PlayerProtocol: Send + Sync {
    fn meet(&self, others: Vec<PlayerRef>);
    fn begin(&self);
    fn ping(&self, from: usize);
    fn pong(&self);
}

struct Player {
    me: usize,
    others: Vec<PlayerRef>,
    left: usize,
    random: Random,
    done: mpsc::Sender<()>,
}

#[actor(protocol = PlayerProtocol)]
impl Player {
    #[send_handler]
    fn handle_meet(&mut self, meet: player_protocol::Meet, _: &Context<Self>) {
        self.others = meet.others;
    }

    #[send_handler]
    fn handle_begin(&mut self, _: player_protocol::Begin, _: &Context<Self>) {
        self.others[self.random.below(BIG)].ping(self.me);
    }

    #[send_handler]
    fn handle_ping(&mut self, ping: player_protocol::Ping, _: &Context<Self>) {
        self.others[ping.from].pong();
    }

    #[send_handler]
    fn handle_pong(&mut self, _: player_protocol::Pong, _: &Context<Self>) {
        self.left -= 1;
        if self.left > 0 {
            self.others[self.random.below(BIG)].ping(self.me);
        } else {
            self.done.send(()).expect("the receiver exists");
        }
    }
}

fn big(rounds: usize) -> Lap {
    let (done, all) = mpsc::channel();
    let player = |me| {
        let (random, done) = (Random::new(me), done.clone());
        Player { me, others: Vec::new(), left: rounds, random, done }.start().to_player_ref()
    };
    let players: Vec<_> = (0..BIG).map(player).collect();
    let watch = Stopwatch::start();
    players.iter().for_each(|one| one.meet(players.clone()));
    players.iter().for_each(|one| one.begin()); // no ping before all have their partners
    for _ in 0..BIG {
        all.recv().expect("each finishes");
    }
    watch.lap()
}

/// Stops as soon as it has started.
struct Brief;

#[actor]
impl Brief {
    #[started]
    fn started(&mut self, context: &Context<Self>) {
        context.stop();
    }
}

fn spawn_exit(count: usize) -> Lap {
    let watch = Stopwatch::start();
    for _ in 0..count {
        Brief.start().join();
    }
    watch.lap()
}

fn spawn_batch(count: usize) -> Lap {
    let watch = Stopwatch::start();
    for _ in 0..count {
        let all: Vec<_> = (0..BATCH).map(|_| Brief.start()).collect();
        for one in all {
            one.join();
        }
    }
    watch.lap()
}

#[protocol]
trait VictimProtocol: Send + Sync {
    fn crash(&self);
}

struct Victim;

#[actor(protocol = VictimProtocol)]
impl Victim {
    #[send_handler]
    fn handle_crash(&mut self, _: victim_protocol::Crash, _: &Context<Self>) {
        panic!("on request");
    }
}

#[protocol]
trait WatcherProtocol: Send + Sync {
    fn down(&self);
}

struct Watcher {
    victim: ActorRef<Victim>,
    tx: mpsc::Sender<()>,
}

#[actor(protocol = WatcherProtocol)]
impl Watcher {
    #[started]
    fn started(&mut self, context: &Context<Self>) {
        let victim = self.victim.clone();
        send_message_on(context.clone(), move || victim.join(), watcher_protocol::Down);
        self.tx.send(()).expect("the receiver exists");
    }

    #[send_handler]
    fn handle_down(&mut self, _: watcher_protocol::Down, context: &Context<Self>) {
        self.tx.send(()).expect("the receiver exists");
        context.stop();
    }
}

/// Measures links. There are no monitors, but an actor can have a message sent to itself when it could join
/// another.
fn link_fanout(count: usize) -> Lap {
    let mut all = Lap { wall: Duration::ZERO, cpu: Duration::ZERO };
    for _ in 0..count {
        let (tx, rx) = mpsc::channel();
        let victim = Victim.start();
        for _ in 0..WATCHERS {
            Watcher { victim: victim.clone(), tx: tx.clone() }.start();
        }
        for _ in 0..WATCHERS {
            rx.recv().expect("each begins");
        }
        rt::sleep(Duration::from_millis(50)); // until all wait
        let watch = Stopwatch::start();
        victim.crash();
        for _ in 0..WATCHERS {
            rx.recv().expect("each reports");
        }
        let lap = watch.lap();
        all.wall += lap.wall;
        all.cpu += lap.cpu;
    }
    all
}

#[protocol]
trait BusyProtocol: Send + Sync {
    fn toil(&self);
}

struct Busy(Workload);

#[actor(protocol = BusyProtocol)]
impl Busy {
    #[send_handler]
    fn handle_toil(&mut self, toil: busy_protocol::Toil, context: &Context<Self>) {
        block(self.0);
        context.send(toil).expect("it is running");
    }
}

fn blocked(workload: Workload, scale: Scale) -> Pace {
    for _ in 0..BUSY {
        Busy(workload).start().toil();
    }
    let light = Counter::new().start();
    let mut pace = Pace::new(scale.pick(Duration::from_millis(1500), Duration::from_secs(5)));
    while let Some(due) = pace.due() {
        rt::sleep(due.saturating_duration_since(Instant::now()));
        light.request_with_timeout(counter_protocol::Next, LONG).expect("an answer");
        pace.answered();
    }
    pace
}

fn name_call(count: usize) -> Vec<Figure> {
    let by_ref = Counter::new().start().to_counter_ref();
    registry::register("counter", by_ref.clone()).expect("the name is free");
    for _ in 0..count / 10 {
        by_ref.next().expect("an answer");
    }
    let (mut pid, mut name) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..10 {
        let watch = Stopwatch::start();
        for _ in 0..count / 10 {
            by_ref.next().expect("an answer");
        }
        pid += watch.lap().wall;
        let watch = Stopwatch::start();
        for _ in 0..count / 10 {
            let found: CounterRef = registry::whereis("counter").expect("it is there");
            found.next().expect("an answer");
        }
        name += watch.lap().wall;
    }
    assert_eq!(by_ref.next().unwrap(), (count / 10 * 21) as u64 + 1);
    vec![("name_call_pid".into(), nanos(pid, count)), ("name_call_name".into(), nanos(name, count))]
}
