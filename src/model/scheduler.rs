//! The scheduler: which threads there are, what each waits for, who has the turn. The primitives ask here at each step.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher};
use std::panic::Location;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::model::schedule::Schedule;

/// What somebody waits for: an address, or its own `unpark`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Lock(usize),
    Signal(usize),
    Unpark,
    Time,
}

#[derive(Debug)]
enum Standing {
    Ready,
    Waiting { on: On, until: Option<Duration> },
    Over,
}

#[derive(Debug)]
struct Member {
    name: String,
    standing: Standing,
    /// Somebody called `unpark` meanwhile.
    token: bool,
    /// Its last wait ended because its time was up.
    late: bool,
    /// `None` until it has begun.
    thread: Option<Thread>,
    at: &'static Location<'static>,
}

/// A step, for the story that a failure tells.
#[derive(Debug)]
struct Step {
    who: usize,
    what: &'static str,
    at: &'static Location<'static>,
}

#[derive(Debug)]
struct World {
    members: Vec<Member>,
    schedule: Schedule,
    /// Since `BEGINNING`.
    now: Duration,
    steps: u64,
    story: VecDeque<Step>,
    order: DefaultHasher,
    /// What is being explored, and how to get here again.
    title: String,
    /// Who explores; between explorations nobody does, and whoever waits may wait for ever.
    explorer: Option<usize>,
}

static WORLD: Mutex<Option<World>> = Mutex::new(None);
static TURN: AtomicUsize = AtomicUsize::new(NOBODY);
const NOBODY: usize = usize::MAX;
/// More steps than an execution can need: somebody runs in circles.
const MOST_STEPS: u64 = 300_000;
const STORY: usize = 120;

thread_local! {
    static ME: Cell<Option<usize>> = const { Cell::new(None) };
    static END: End = const { End };
}

/// The last destructor of a thread that runs, because it is the first that is registered: the thread is over.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        leave();
    }
}

/// The number of the calling thread, if it is one of the model's.
pub(crate) fn me() -> Option<usize> {
    ME.get()
}

fn beginning() -> Instant {
    static BEGINNING: OnceLock<Instant> = OnceLock::new();
    *BEGINNING.get_or_init(Instant::now)
}

/// The model's time.
pub(crate) fn now() -> Instant {
    let passed = WORLD.lock().as_ref().map_or(Duration::ZERO, |world| world.now);
    beginning() + passed
}

pub(crate) fn since_beginning(at: Instant) -> Duration {
    at.saturating_duration_since(beginning())
}

/// The calling thread becomes one of the model's and has the turn; those of earlier executions are still there.
#[track_caller]
pub(crate) fn enter(schedule: Schedule, title: String) {
    let mut guard = WORLD.lock();
    let world = guard.get_or_insert_with(|| World {
        members: Vec::new(),
        schedule: Schedule::draw(0, false),
        now: Duration::ZERO,
        steps: 0,
        story: VecDeque::new(),
        order: DefaultHasher::new(),
        title: String::new(),
        explorer: None,
    });
    world.schedule = schedule;
    world.title = title;
    world.steps = 0;
    world.story.clear();
    world.order = DefaultHasher::new();
    let number = match ME.get() {
        Some(number) => number,
        None => world.join("explorer".into(), Location::caller()),
    };
    world.explorer = Some(number);
    world.members[number].standing = Standing::Ready;
    world.members[number].thread = Some(std::thread::current());
    ME.set(Some(number));
    TURN.store(number, Ordering::Release);
}

/// The calling thread is none of the model's any more. Who it was may not be needed again.
pub(crate) fn leave() {
    let Some(number) = ME.take() else { return };
    let mut guard = WORLD.lock();
    let Some(world) = guard.as_mut() else { return };
    world.members[number].standing = Standing::Over;
    world.members[number].thread = None;
    world.explorer = world.explorer.filter(|explorer| *explorer != number);
    let next = world.next(number);
    give_turn(world, next);
}

/// From now on deadlines pass only when nobody can go on.
pub(crate) fn calm_down() {
    if let Some(world) = WORLD.lock().as_mut() {
        world.schedule.calm_down();
    }
}

/// What the execution was like: a number for its order of turns, and how many steps it had.
pub(crate) fn summary() -> (u64, u64) {
    WORLD.lock().as_ref().map_or((0, 0), |world| (world.order.finish(), world.steps))
}

/// A new thread of the model's is to begin; its number.
#[track_caller]
pub(crate) fn register(name: String) -> usize {
    let mut guard = WORLD.lock();
    let Some(world) = guard.as_mut() else { return 0 };
    world.join(name, Location::caller())
}

/// A thread that was registered could not be started.
pub(crate) fn unregister(number: usize) {
    if let Some(world) = WORLD.lock().as_mut() {
        world.members[number].standing = Standing::Over;
    }
}

/// The first thing a new thread does.
pub(crate) fn begin(number: usize) {
    END.with(|_| ());
    ME.set(Some(number));
    if let Some(world) = WORLD.lock().as_mut() {
        world.members[number].thread = Some(std::thread::current());
    }
    await_turn(number);
}

/// The calling thread is about to do something that others could notice.
pub(crate) fn step(what: &'static str, at: &'static Location<'static>) {
    let Some(number) = me() else { return };
    let mut guard = WORLD.lock();
    let Some(world) = guard.as_mut() else { return };
    world.note(number, what, at);
    let next = world.next(number);
    if next != number {
        give_turn(world, next);
        drop(guard);
        await_turn(number);
    }
}

/// The calling thread waits until it is woken, or until that time, unless `free` is true. Returns whether the time
/// was up; at once on a thread that is none of the model's.
pub(crate) fn wait(
    on: On,
    until: Option<Duration>,
    what: &'static str,
    at: &'static Location<'static>,
    free: impl FnOnce() -> bool,
) -> bool {
    let Some(number) = me() else { return false };
    let mut guard = WORLD.lock();
    let Some(world) = guard.as_mut() else { return false };
    world.note(number, what, at);
    if on == On::Unpark && std::mem::take(&mut world.members[number].token) {
        return false;
    }
    if free() {
        return false;
    }
    world.members[number].standing = Standing::Waiting { on, until };
    let next = world.next(number);
    if next != number {
        give_turn(world, next);
        drop(guard);
        await_turn(number);
        guard = WORLD.lock();
    }
    let Some(world) = guard.as_mut() else { return false };
    let member = &mut world.members[number];
    if on == On::Unpark {
        member.token = false;
    }
    std::mem::take(&mut member.late)
}

/// Whoever waits for this can go on.
pub(crate) fn wake_all(on: On) {
    if let Some(world) = WORLD.lock().as_mut() {
        for member in &mut world.members {
            if matches!(member.standing, Standing::Waiting { on: wanted, .. } if wanted == on) {
                member.standing = Standing::Ready;
            }
        }
    }
}

/// One of those who wait for this can go on.
pub(crate) fn wake_one(on: On) {
    let mut guard = WORLD.lock();
    let Some(world) = guard.as_mut() else { return };
    let waiting: Vec<usize> = (0..world.members.len())
        .filter(|number| {
            let standing = &world.members[*number].standing;
            matches!(standing, Standing::Waiting { on: wanted, .. } if *wanted == on)
        })
        .collect();
    if !waiting.is_empty() {
        let lucky = waiting[world.schedule.any(waiting.len())];
        world.members[lucky].standing = Standing::Ready;
    }
}

pub(crate) fn unpark(number: usize) {
    if let Some(world) = WORLD.lock().as_mut() {
        let member = &mut world.members[number];
        match member.standing {
            Standing::Waiting { on: On::Unpark, .. } => member.standing = Standing::Ready,
            _ => member.token = true,
        }
    }
}

fn give_turn(world: &World, next: usize) {
    TURN.store(next, Ordering::Release);
    if let Some(thread) = world.members.get(next).and_then(|member| member.thread.as_ref()) {
        thread.unpark();
    }
}

fn await_turn(number: usize) {
    while TURN.load(Ordering::Acquire) != number {
        std::thread::park();
    }
}

impl World {
    fn join(&mut self, name: String, at: &'static Location<'static>) -> usize {
        let member = Member { name, standing: Standing::Ready, token: false, late: false, thread: None, at };
        let over = |member: &Member| matches!(member.standing, Standing::Over);
        match self.members.iter().position(over) {
            Some(number) => {
                self.members[number] = member;
                number
            }
            None => {
                self.members.push(member);
                self.members.len() - 1
            }
        }
    }

    fn note(&mut self, who: usize, what: &'static str, at: &'static Location<'static>) {
        self.steps += 1;
        self.now += Duration::from_nanos(100);
        self.members[who].at = at;
        if self.story.len() == STORY {
            self.story.pop_front();
        }
        self.story.push_back(Step { who, what, at });
        if self.steps > MOST_STEPS {
            self.fail("somebody runs in circles");
        }
    }

    /// Who has the next turn.
    fn next(&mut self, now: usize) -> usize {
        if self.schedule.hurries() {
            self.time_passes();
        }
        if self.schedule.startles() {
            self.startle();
        }
        let mut ready = self.ready();
        if ready.is_empty() && self.time_passes() {
            ready = self.ready();
        }
        if ready.is_empty() {
            if self.explorer.is_none() {
                return NOBODY;
            }
            self.fail("nobody can go on");
        }
        let next = self.schedule.choose(&ready, now, self.steps);
        if next != now {
            self.order.write_usize(next);
            self.order.write_u64(self.steps);
        }
        next
    }

    fn ready(&self) -> Vec<usize> {
        let ready = |number: &usize| matches!(self.members[*number].standing, Standing::Ready);
        (0..self.members.len()).filter(ready).collect()
    }

    /// The next deadline is past.
    fn time_passes(&mut self) -> bool {
        let due = |(number, member): (usize, &Member)| match member.standing {
            Standing::Waiting { until: Some(until), .. } => Some((until, number)),
            _ => None,
        };
        let Some((until, number)) = self.members.iter().enumerate().filter_map(due).min() else {
            return false;
        };
        self.now = self.now.max(until);
        self.members[number].standing = Standing::Ready;
        self.members[number].late = true;
        true
    }

    /// Some parked thread wakes up for no reason, as std allows.
    fn startle(&mut self) {
        let parked: Vec<usize> = (0..self.members.len())
            .filter(|number| {
                matches!(self.members[*number].standing, Standing::Waiting { on: On::Unpark, .. })
            })
            .collect();
        if !parked.is_empty() {
            let startled = parked[self.schedule.any(parked.len())];
            self.members[startled].standing = Standing::Ready;
        }
    }

    fn fail(&self, why: &str) -> ! {
        let mut text = format!("\nmodel: {why}: {}\n", self.title);
        for (number, member) in self.members.iter().enumerate() {
            if !matches!(member.standing, Standing::Over) {
                let Member { name, standing, at, .. } = member;
                let _ = writeln!(text, "  {number} {name}: {standing:?}, at {at}");
            }
        }
        text.push_str(&self.story());
        let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
        ME.set(None); // to exit runs the destructors of this thread
        std::process::exit(101);
    }

    fn story(&self) -> String {
        let mut text = String::from("the last steps:\n");
        for Step { who, what, at } in &self.story {
            let _ = writeln!(text, "  {who} {what} {at}");
        }
        text
    }
}

/// The last steps, for who has found something wrong.
pub(crate) fn story() -> String {
    WORLD.lock().as_ref().map_or_else(String::new, World::story)
}
