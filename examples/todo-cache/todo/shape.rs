//! The shapes of the system, chapter by chapter of the book: which process starts which, and which are
//! linked. The shape alone determines which other processes exit when one does.

use std::fmt;
use std::str::FromStr;

/// A shape of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Chapter 7: the cache starts everything, and nothing is linked or supervised.
    Seven,
    /// Chapter 8, first step: the cache is supervised, everything else as in chapter 7.
    EightA,
    /// Chapter 8, second step: every process is linked to the processes that it starts.
    EightB,
    /// Chapter 9, first step: the database is a child of the supervisor, like the cache.
    NineA,
    /// Chapter 9, second step: each database worker is supervised.
    NineB,
    /// Chapter 9, third step, and all later chapters: the cache is a dynamic supervisor, and each list server
    /// exits alone.
    Eleven,
}

impl Shape {
    /// All shapes, in the order of the book.
    pub(crate) const ALL: [Self; 6] =
        [Self::Seven, Self::EightA, Self::EightB, Self::NineA, Self::NineB, Self::Eleven];

    /// Returns the name of the shape on the command line.
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
