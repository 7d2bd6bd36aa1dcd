//! A random tree: supervisors of all kinds, at most five deep, over servers that misbehave in all ways.

use std::sync::Arc;
use std::time::Duration;

use rethread::prelude::*;

use crate::books::Books;
use crate::dice::Dice;
use crate::worker::{Temper, Worker};

/// A place in the tree where a server stands, one after the other.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) number: usize,
    pub(crate) name: String,
    /// Servers that must not live when one here starts.
    pub(crate) later_siblings: Vec<usize>,
    pub(crate) temper: Temper,
}

impl Slot {
    pub(crate) fn server(&self) -> ServerRef<Worker> {
        ServerRef::with_name(self.name.clone())
    }
}

enum Node {
    Supervisor { strategy: Strategy, max: u32, children: Vec<Node> },
    Server(Arc<Slot>, Restart),
}

pub(crate) struct Plan {
    root: Node,
    slots: Arc<Vec<Arc<Slot>>>,
    /// Places outside of the tree, for which clients compete.
    free: Arc<Vec<Arc<Slot>>>,
    books: Arc<Books>,
}

impl Plan {
    pub(crate) fn draw(dice: &mut Dice, books: &Arc<Books>) -> Self {
        let size = match dice.below(20) {
            0 => 400,
            1..4 => 100,
            _ => 30,
        };
        let mut number = 0;
        let mut slots = Vec::new();
        let root = supervisor(dice, books, 0, size, &mut number, &mut slots);
        let free = (0..3).map(|n| {
            let name = format!("{}free {n}", books.prefix());
            Arc::new(Slot {
                number: number + n,
                name,
                later_siblings: Vec::new(),
                temper: Temper::draw(dice),
            })
        });
        let free = Arc::new(free.collect());
        Self { root, slots: Arc::new(slots), free, books: Arc::clone(books) }
    }

    pub(crate) fn slots(&self) -> Arc<Vec<Arc<Slot>>> {
        Arc::clone(&self.slots)
    }

    pub(crate) fn free(&self) -> Arc<Vec<Arc<Slot>>> {
        Arc::clone(&self.free)
    }

    pub(crate) fn size(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn start(&self) -> Result<ServerRef<Supervisor>, StartError> {
        match &self.root {
            Node::Supervisor { strategy, max, children } => {
                spec(&self.books, *strategy, *max, children, "root").start_link()
            }
            Node::Server(..) => unreachable!("the root is a supervisor"),
        }
    }
}

fn supervisor(
    dice: &mut Dice,
    books: &Arc<Books>,
    depth: usize,
    size: usize,
    number: &mut usize,
    slots: &mut Vec<Arc<Slot>>,
) -> Node {
    let strategy = *dice.pick(&[Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne]);
    // High enough that most rounds last, and low enough that some do not.
    let max = *dice.pick(&[2, 20, 1000, 100_000]);
    let width = 1 + dice.below(6);
    let mut children = Vec::new();
    // The numbers of the servers of this supervisor are known before they are drawn: each child takes one.
    let kinds: Vec<bool> =
        (0..width).map(|_| depth < 4 && slots.len() + width < size && dice.one_in(2)).collect();
    let own: Vec<Option<usize>> = kinds
        .iter()
        .map(|nested| {
            *number += usize::from(!nested);
            (!nested).then(|| *number - 1)
        })
        .collect();
    for (at, nested) in kinds.iter().enumerate() {
        let child = match own[at] {
            None => supervisor(dice, books, depth + 1, size, number, slots),
            Some(number) => {
                let later = match strategy {
                    Strategy::OneForOne => Vec::new(),
                    _ => own[at + 1..].iter().flatten().copied().collect(),
                };
                let slot = Arc::new(Slot {
                    number,
                    name: format!("{}{number}", books.prefix()),
                    later_siblings: later,
                    temper: Temper::draw(dice),
                });
                slots.push(Arc::clone(&slot));
                Node::Server(slot, *dice.pick(&[Restart::Permanent, Restart::Permanent, Restart::Transient]))
            }
        };
        debug_assert_eq!(*nested, own[at].is_none());
        children.push(child);
    }
    Node::Supervisor { strategy, max, children }
}

fn spec(books: &Arc<Books>, strategy: Strategy, max: u32, children: &[Node], path: &str) -> SupervisorSpec {
    let plan = match strategy {
        Strategy::OneForOne => Supervisor::one_for_one(),
        Strategy::OneForAll => Supervisor::one_for_all(),
        Strategy::RestForOne => Supervisor::rest_for_one(),
    };
    let plan = plan
        .max_restarts(max, Duration::from_secs(5))
        .name(ServerRef::with_name(format!("{}{path}", books.prefix())));
    children.iter().enumerate().fold(plan, |plan, (at, child)| match child {
        Node::Supervisor { strategy, max, children } => {
            plan.child(spec(books, *strategy, *max, children, &format!("{path}.{at}")))
        }
        Node::Server(slot, restart) => plan.child(Worker::of(slot, books).restart(*restart)),
    })
}
