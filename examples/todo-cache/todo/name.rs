//! The two texts a person gives: a list's name and an entry's title. Whoever takes one from outside (a
//! command line, a request, a row on disk) makes it here, so that everything behind deals with valid ones
//! only.

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What a list is called: 1 to 64 characters without control characters, not beginning or ending with a
/// blank.
///
/// Everything else is data: `../x`, `CON` and `🛒` are names like any other, because a name is a key in a
/// table and is never made into a path. Names are compared byte by byte: two spellings of one picture (`é`
/// in one character or in two) are two lists.
///
/// Cloning is cheap: the text is shared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ListName(Arc<str>);

/// What an entry says: 1 to 200 characters without control characters, not all of them blanks.
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
    /// How many characters a name may have. They are Unicode scalar values, at most 4 bytes each.
    pub(crate) const MAX_CHARS: usize = 64;

    /// The name as it was given.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Title {
    /// How many characters a title may have. They are Unicode scalar values, at most 4 bytes each.
    pub(crate) const MAX_CHARS: usize = 200;

    /// The title as it was given.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether the text has more than `most` characters, without counting the rest of a long one.
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
                write!(f, "a list's name has no control characters, and this one has {c:?}")
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
            TitleError::Control(c) => write!(f, "a title has no control characters, and this one has {c:?}"),
        }
    }
}

impl Error for NameError {}
impl Error for TitleError {}
