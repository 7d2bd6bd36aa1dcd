//! The two texts that a user enters: the name of a list and the title of an entry. Every text from outside (a
//! command line, a request, a row on disk) is validated here, so that all other code has only valid ones.

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name of a list: 1 to 64 characters without control characters, not beginning or ending with a blank.
///
/// All other characters are allowed: `../x`, `CON` and `🛒` are valid names, because a name is a key in a
/// table and never part of a path. Names are compared byte by byte: `é` as one character and `é` as two are
/// two lists.
///
/// Cloning is cheap: the text is shared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ListName(Arc<str>);

/// The title of an entry: 1 to 200 characters without control characters, not all of them blanks.
///
/// Cloning is cheap: the text is shared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Title(Arc<str>);

/// Why a text is not a [`ListName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameError {
    /// It is empty.
    Empty,
    /// It has more than [`ListName::MAX_CHARS`] characters.
    TooLong,
    /// It holds this control character (a line break, a tab, ..).
    Control(char),
    /// It begins or ends with a blank.
    Blank,
}

/// Why a text is not a [`Title`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TitleError {
    /// It is empty, or nothing but blanks.
    Empty,
    /// It has more than [`Title::MAX_CHARS`] characters.
    TooLong,
    /// It holds this control character (a line break, a tab, ..).
    Control(char),
}

impl ListName {
    /// The maximum number of characters of a name. They are Unicode scalar values, at most 4 bytes each.
    pub(crate) const MAX_CHARS: usize = 64;

    /// Returns the name as a string.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Title {
    /// The maximum number of characters of a title. They are Unicode scalar values, at most 4 bytes each.
    pub(crate) const MAX_CHARS: usize = 200;

    /// Returns the title as a string.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns `true` if the text has more than `max_chars` characters. Does not count the rest of a long text.
fn longer_than(max_chars: usize, text: &str) -> bool {
    text.chars().nth(max_chars).is_some()
}

impl TryFrom<&str> for ListName {
    type Error = NameError;

    fn try_from(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if longer_than(Self::MAX_CHARS, text) {
            return Err(NameError::TooLong);
        }
        if let Some(control) = text.chars().find(|c| c.is_control()) {
            return Err(NameError::Control(control));
        }
        if text.trim().len() != text.len() {
            return Err(NameError::Blank);
        }
        Ok(ListName(text.into()))
    }
}

impl TryFrom<&str> for Title {
    type Error = TitleError;

    fn try_from(text: &str) -> Result<Self, TitleError> {
        if longer_than(Self::MAX_CHARS, text) {
            return Err(TitleError::TooLong);
        }
        if let Some(control) = text.chars().find(|c| c.is_control()) {
            return Err(TitleError::Control(control));
        }
        if text.trim().is_empty() {
            return Err(TitleError::Empty);
        }
        Ok(Title(text.into()))
    }
}

impl FromStr for ListName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        text.try_into()
    }
}

impl FromStr for Title {
    type Err = TitleError;

    fn from_str(text: &str) -> Result<Self, TitleError> {
        text.try_into()
    }
}

impl fmt::Display for ListName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for Title {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => f.write_str("a list needs a name of at least one character"),
            NameError::TooLong => write!(f, "a list's name has at most {} characters", ListName::MAX_CHARS),
            NameError::Control(c) => {
                write!(f, "a list's name has no control characters, but this one has {c:?}")
            }
            NameError::Blank => f.write_str("a list's name does not begin or end with a blank"),
        }
    }
}

impl fmt::Display for TitleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TitleError::Empty => f.write_str("a title needs at least one character that is not a blank"),
            TitleError::TooLong => write!(f, "a title has at most {} characters", Title::MAX_CHARS),
            TitleError::Control(c) => write!(f, "a title has no control characters, but this one has {c:?}"),
        }
    }
}

impl Error for NameError {}
impl Error for TitleError {}
