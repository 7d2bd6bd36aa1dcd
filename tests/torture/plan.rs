//! A random tree: supervisors of all kinds, at most five levels deep, over servers and other children that
//! misbehave in all ways.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rethread::StartError;
use rethread::prelude::*;
use rethread::supervisor::{
    DynamicSupervisor, DynamicSupervisorRef, PartitionRef, RestartBackoff, SupervisorSpec,
};
use rethread::task::{TaskSupervisor, TaskSupervisorRef};

use crate::agents::Tally;
use crate::applications::{self, Wild};
use crate::books::Books;
use crate::dice::Dice;
use crate::keys::ROOMS;
use crate::partitions::{self, Parts};
use crate::places::{Family, Slot};
use crate::starts::Starter;
use crate::worker::{Temper, Worker};

/// A supervisor whose children are started by clients: servers for these places, or tasks.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) name: String,
    pub(crate) most: usize,
    max: u32,
    backoff: RestartBackoff,
    /// Empty for a task supervisor.
    pub(crate) slots: Vec<Arc<Slot>>,
}

enum Node {
    Supervisor { strategy: Strategy, max: u32, backoff: RestartBackoff, name: String, children: Vec<Node> },
    Server(Arc<Slot>, Restart),
    Pool(Arc<Pool>),
    Odd(Arc<Starter>, Restart),
    Agent(Arc<Slot>, Restart),
    Parts(Arc<Parts>),
}

const RESTARTS: [Restart; 4] =
    [Restart::Permanent, Restart::Permanent, Restart::Transient, Restart::Temporary];

/// The longest delay of a restart, without jitter.
pub(crate) const MAX_DELAY: Duration = Duration::from_millis(32);

/// Draws the backoff of the children of a supervisor; most have none.
fn draw_backoff(dice: &mut Dice) -> RestartBackoff {
    if !dice.one_in(3) {
        return RestartBackoff::none();
    }
    let min = *dice.pick(&[Duration::from_micros(1), Duration::from_micros(300), Duration::from_millis(5)]);
    let backoff = RestartBackoff::new(min, *dice.pick(&[min, MAX_DELAY]));
    let backoff = backoff.reset_after(*dice.pick(&[Duration::ZERO, Duration::from_millis(3), MAX_DELAY]));
    backoff.retry_first_start(dice.one_in(2))
}

/// The targets of the clients.
#[derive(Debug, Default)]
pub(crate) struct Field {
    pub(crate) slots: Vec<Arc<Slot>>,
    /// Places outside of the tree, for which clients compete.
    pub(crate) free: Vec<Arc<Slot>>,
    pub(crate) pools: Vec<Arc<Pool>>,
    pub(crate) agents: Vec<Arc<Slot>>,
    pub(crate) partitions: Vec<Arc<Parts>>,
    /// Applications for which clients compete.
    pub(crate) apps: Vec<Arc<Wild>>,
    /// Names of supervisors, the top one first; pools and partition supervisors are among them.
    pub(crate) supervisors: Vec<String>,
    odd: usize,
    /// The next free place.
    number: usize,
}

impl Field {
    pub(crate) fn size(&self) -> usize {
        let parts: usize = self.partitions.iter().map(|parts| parts.slots.len()).sum();
        self.slots.len() + self.supervisors.len() + self.odd + self.agents.len() + parts
    }

    fn place(&mut self) -> usize {
        self.number += 1;
        self.number - 1
    }
}

pub(crate) struct Plan {
    root: Node,
    pub(crate) field: Arc<Field>,
    books: Arc<Books>,
}

struct Draft<'a> {
    dice: &'a mut Dice,
    books: &'a Arc<Books>,
    size: usize,
    field: Field,
}

impl Plan {
    pub(crate) fn draw(dice: &mut Dice, books: &Arc<Books>) -> Self {
        let size = match dice.below(100) {
            0..3 => 2000,
            3..7 => 400,
            7..20 => 100,
            _ => 30,
        };
        let mut draft = Draft { dice, books, size, field: Field::default() };
        let root = draft.supervisor(0, "root".into());
        let mut field = draft.field;
        for n in 0..4 {
            let (number, temper) = (field.place(), Temper::draw(dice, size));
            let name = format!("{}free {n}", books.prefix());
            let key = (n % 2 == 1).then(|| ROOMS.key_with(1000 + n, 0));
            field.free.push(Slot::with_key(number, name, key, temper));
        }
        for which in 0..applications::NAMES.len() {
            let first = field.number;
            let wild = Wild::draw(dice, which, first, books);
            field.number += wild.slots.len();
            field.apps.push(Arc::new(wild));
        }
        Self { root, field: Arc::new(field), books: Arc::clone(books) }
    }

    pub(crate) fn start(&self) -> Result<SupervisorRef, StartError> {
        match &self.root {
            Node::Supervisor { strategy, max, backoff, name, children } => {
                spec(&self.books, *strategy, (*max, *backoff), name, children).start_link()
            }
            _ => unreachable!("the root is a supervisor"),
        }
    }
}

impl Draft<'_> {
    fn supervisor(&mut self, depth: usize, path: String) -> Node {
        let strategy = *self.dice.pick(&[Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne]);
        // High enough for most rounds to last, and low enough for some to end early.
        let max = *self.dice.pick(&[2, 20, 1000, 100_000]);
        let backoff = draw_backoff(self.dice);
        let name = format!("{}{path}", self.books.prefix());
        self.field.supervisors.push(name.clone());
        let family = Family::new(strategy);
        let most = match self.size {
            2000 => 40,
            400 => 12,
            _ => 6,
        };
        let width = 1 + self.dice.below(most);
        let mut children = Vec::new();
        for at in 0..width {
            let nested = depth < 4 && self.field.size() + width < self.size && self.dice.one_in(2);
            if self.field.size() >= self.size {
                break;
            }
            children.push(match self.dice.below(16) {
                _ if self.field.slots.is_empty() => self.server(&family), // so that there is a server to call
                _ if nested => self.supervisor(depth + 1, format!("{path}.{at}")),
                0 => self.pool(format!("{path} pool {at}")),
                1 => self.odd(format!("{path} odd {at}")),
                2 | 3 => self.agent(&family),
                4 if self.field.partitions.len() < partitions::NAMES.len() => self.partitions(),
                _ => self.server(&family),
            });
        }
        let _ = family.end.set(self.field.number);
        Node::Supervisor { strategy, max, backoff, name, children }
    }

    fn slot(&mut self, family: &Arc<Family>) -> Arc<Slot> {
        let number = self.field.place();
        let name = format!("{}{number}", self.books.prefix());
        let temper = Temper::draw(self.dice, self.size);
        Slot::below(family, number, name, temper)
    }

    fn server(&mut self, family: &Arc<Family>) -> Node {
        let slot = self.slot(family);
        self.field.slots.push(Arc::clone(&slot));
        Node::Server(slot, *self.dice.pick(&RESTARTS))
    }

    fn agent(&mut self, family: &Arc<Family>) -> Node {
        let slot = self.slot(family);
        self.field.agents.push(Arc::clone(&slot));
        Node::Agent(slot, *self.dice.pick(&RESTARTS))
    }

    fn partitions(&mut self) -> Node {
        let name = partitions::NAMES[self.field.partitions.len()];
        let (count, max) = (1 + self.dice.below(5), *self.dice.pick(&[2, 20, 1000]));
        let first = self.field.number;
        self.field.number += count;
        let draw = |number| {
            let called = format!("{}part {number}", self.books.prefix());
            (called, Temper::draw(self.dice, self.size))
        };
        let slots = Slot::row(Strategy::OneForOne, first, count, draw);
        let parts = Arc::new(Parts { name: PartitionRef::named(name), max, slots, homes: Mutex::default() });
        self.field.supervisors.push(name.into());
        self.field.partitions.push(Arc::clone(&parts));
        Node::Parts(parts)
    }

    fn pool(&mut self, called: String) -> Node {
        let name = format!("{}{called}", self.books.prefix());
        let (most, max) = (1 + self.dice.below(6), *self.dice.pick(&[2, 20, 1000]));
        let places = if self.dice.one_in(3) { 0 } else { most + 2 };
        let mut slots = Vec::new();
        for n in 0..places {
            let temper = Temper::draw(self.dice, self.size);
            slots.push(Slot::alone(self.field.place(), format!("{name} {n}"), temper));
        }
        let backoff = draw_backoff(self.dice);
        let pool = Arc::new(Pool { name, most, max, backoff, slots });
        self.field.supervisors.push(pool.name.clone());
        self.field.pools.push(Arc::clone(&pool));
        Node::Pool(pool)
    }

    fn odd(&mut self, called: String) -> Node {
        self.field.odd += 1;
        let starter = Starter::draw(self.dice, format!("{}{called}", self.books.prefix()));
        Node::Odd(starter, *self.dice.pick(&[Restart::Permanent, Restart::Transient, Restart::Temporary]))
    }
}

fn spec(
    books: &Arc<Books>,
    how: Strategy,
    (max, backoff): (u32, RestartBackoff),
    name: &str,
    children: &[Node],
) -> SupervisorSpec {
    let period = Duration::from_secs(5);
    let plan = SupervisorSpec::new(how).max_restarts(max, period).child_restart_backoff(backoff);
    let plan = plan.name(SupervisorRef::from_name(name));
    children.iter().fold(plan, |plan, child| match child {
        Node::Supervisor { strategy, max, backoff, name, children } => {
            plan.child(spec(books, *strategy, (*max, *backoff), name, children))
        }
        Node::Server(slot, restart) => plan.child(Worker::of(slot, books).restart(*restart)),
        Node::Odd(starter, restart) => plan.child(starter.spec().restart(*restart)),
        Node::Pool(pool) => plan.child(pool.spec(period)),
        Node::Agent(slot, restart) => plan.child(Tally::of(slot, books).restart(*restart)),
        Node::Parts(parts) => plan.child(parts.spec(books)),
    })
}

impl Pool {
    pub(crate) fn servers(&self) -> DynamicSupervisorRef {
        DynamicSupervisorRef::from_name(self.name.clone())
    }

    pub(crate) fn tasks(&self) -> TaskSupervisorRef {
        TaskSupervisorRef::from_name(self.name.clone())
    }

    fn spec(&self, period: Duration) -> ChildSpec {
        if self.slots.is_empty() {
            TaskSupervisor::child_spec().max_children(self.most).name(self.tasks()).into()
        } else {
            let plan = DynamicSupervisor::child_spec().max_children(self.most).max_restarts(self.max, period);
            plan.child_restart_backoff(self.backoff).name(self.servers()).into()
        }
    }
}
