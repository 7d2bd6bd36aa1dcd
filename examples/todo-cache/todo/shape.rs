//! The shapes in which the book wires the same modules, chapter by chapter: who starts whom, and who is linked with
//! whom. That alone decides what the end of one process takes down with it.

use std::fmt;
use std::str::FromStr;

/// One way to wire the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Chapter 7: the cache starts everything, and nothing is linked or supervised.
    Seven,
    /// Chapter 8, at first: the cache is supervised, all else as before.
    EightA,
    /// Chapter 8, in the end: everything is linked with what it starts.
    EightB,
    /// Chapter 9, first step: the database is a child of the supervisor, beside the cache.
    NineA,
    /// Second step: each database worker is supervised.
    NineB,
    /// Third step, and from then on: the cache is a dynamic supervisor, and each list ends alone.
    Eleven,
}

impl Shape {
    /// All of them, in the order of the book.
    pub(crate) const ALL: [Self; 6] =
        [Self::Seven, Self::EightA, Self::EightB, Self::NineA, Self::NineB, Self::Eleven];

    /// As it is written on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Seven => "7",
            Self::EightA => "8a",
            Self::EightB => "8b",
            Self::NineA => "9a",
            Self::NineB => "9b",
            Self::Eleven => "11",
        }
    }
}

/// There is no such shape.
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
