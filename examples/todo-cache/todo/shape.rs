//! The shapes of the system: which process starts which, and which are linked or supervised. The shape alone
//! determines which other processes exit when one does.

use std::fmt;
use std::str::FromStr;

/// A shape of the system. Each changes one thing in the previous one; the chapters are in the table of
/// [`todo`](super).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The cache starts everything, and nothing is linked or supervised.
    Unsupervised,
    /// The cache is supervised, everything else is as before.
    SupervisedCache,
    /// Every process is linked to the processes that it starts, so all of them exit together.
    Linked,
    /// The database is a child of the supervisor, like the cache.
    SupervisedDatabase,
    /// Each database worker is supervised.
    SupervisedWorkers,
    /// Each list server is supervised: a dynamic supervisor replaces the cache.
    SupervisedLists,
}

impl Shape {
    /// All shapes, from the most fragile to the most robust.
    pub(crate) const ALL: [Self; 6] = [
        Self::Unsupervised,
        Self::SupervisedCache,
        Self::Linked,
        Self::SupervisedDatabase,
        Self::SupervisedWorkers,
        Self::SupervisedLists,
    ];

    /// Returns the name of the shape on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unsupervised => "unsupervised",
            Self::SupervisedCache => "supervised-cache",
            Self::Linked => "linked",
            Self::SupervisedDatabase => "supervised-database",
            Self::SupervisedWorkers => "supervised-workers",
            Self::SupervisedLists => "supervised-lists",
        }
    }
}

/// The error of an unknown shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoShape(String);

impl FromStr for Shape {
    type Err = NoShape;

    fn from_str(text: &str) -> Result<Self, NoShape> {
        Self::ALL.into_iter().find(|shape| shape.name() == text).ok_or_else(|| NoShape(text.to_owned()))
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for NoShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = Shape::ALL.map(Shape::name).to_vec();
        write!(f, "there is no shape {:?}, only {}", self.0, names.join(", "))
    }
}

impl std::error::Error for NoShape {}
