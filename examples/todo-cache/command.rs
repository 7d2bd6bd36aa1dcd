//! Parses a line of the shell into a command, and has the help text.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::num::ParseIntError;

use rethread::observer::SortBy;

use crate::text::unquote;
use crate::todo::date::{Date, DateError};
use crate::todo::inject::Fault;
use crate::todo::list::EntryId;
use crate::todo::name::{ListName, NameError, Title, TitleError};

/// What `help` prints: of each command how it is written and, after at least two blanks, what it does.
pub(crate) const HELP: &str = "\
add LIST DATE TITLE...        add an entry; prints `added LIST ID DATE TITLE` once it is on disk
list LIST [DATE]              show the entries of a list, of one day or all
done LIST ID                  mark an entry as done
edit LIST ID TITLE...         change the title of an entry
rm LIST ID                    remove an entry
lists                         show the names of all lists
tree                          show the supervision tree: each process, its activity and its message queue length
top [messages|busy|restarts]  show the processes with the most queued messages, the longest work, the most restarts
info NAME                     show the details of a process
events                        show the process events since the last `events`
kill NAME                     kill a process: lists, db.workers, db.worker.1, list:bob, system
crash NAME                    make a process panic in a handler
hang NAME                     make a process block in a handler: calls to it time out until it is killed
help                          show this text
quit                          stop the system and exit, like the end of the input

A LIST or NAME with blanks is written in double quotes: list \"my list\". So is a TITLE that begins or ends with a blank, or
begins with a double quote. Within the quotes, \\\" \\\\ \\u{1f6d2} stand for a quote, a backslash, and a character by its number.";

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Add(ListName, Date, Title),
    List(ListName, Option<Date>),
    Done(ListName, EntryId),
    Edit(ListName, EntryId, Title),
    Remove(ListName, EntryId),
    Lists,
    Tree,
    Top(SortBy),
    Info(String),
    Events,
    Inject(Fault, String),
    Help,
    Quit,
}

/// Why a line is not a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CommandParseError {
    Unknown(String),
    Usage(&'static str),
    /// A word begins with a double quote, and is not a quoted text.
    Quote(String),
    List(NameError),
    Date(DateError),
    Id(String, ParseIntError),
    Title(TitleError),
}

impl Command {
    /// Parses a line; returns `None` if it is blank.
    ///
    /// # Errors
    ///
    /// [`CommandParseError`].
    pub(crate) fn parse(line: &str) -> Result<Option<Self>, CommandParseError> {
        let (verb, rest) = first_word(line);
        let mut words = Words { rest, usage: usage_of(verb) };
        let command = match verb {
            "" => return Ok(None),
            "add" => Command::Add(words.list()?, words.date()?, words.title()?),
            "list" => {
                let list = words.list()?;
                Command::List(list, if words.rest.is_empty() { None } else { Some(words.date()?) })
            }
            "done" => Command::Done(words.list()?, words.id()?),
            "edit" => Command::Edit(words.list()?, words.id()?, words.title()?),
            "rm" => Command::Remove(words.list()?, words.id()?),
            "lists" => Command::Lists,
            "tree" => Command::Tree,
            "top" => Command::Top(words.sort_key()?),
            "info" => Command::Info(words.rest_of_line()?.into_owned()),
            "events" => Command::Events,
            "kill" => Command::Inject(Fault::Kill, words.rest_of_line()?.into_owned()),
            "crash" => Command::Inject(Fault::Crash, words.rest_of_line()?.into_owned()),
            "hang" => Command::Inject(Fault::Hang, words.rest_of_line()?.into_owned()),
            "help" => Command::Help,
            "quit" => Command::Quit,
            _ => return Err(CommandParseError::Unknown(verb.to_owned())),
        };
        if words.rest.is_empty() { Ok(Some(command)) } else { Err(CommandParseError::Usage(words.usage)) }
    }
}

/// The words behind the verb.
struct Words<'a> {
    rest: &'a str,
    usage: &'static str,
}

impl<'a> Words<'a> {
    /// Returns the next word, which is required. It may be quoted.
    fn next(&mut self) -> Result<Cow<'a, str>, CommandParseError> {
        if self.rest.starts_with('"') {
            let quoted = unquote(self.rest)
                .filter(|(_, rest)| rest.is_empty() || rest.starts_with(char::is_whitespace));
            let (word, rest) = quoted.ok_or_else(|| CommandParseError::Quote(self.rest.to_owned()))?;
            self.rest = rest.trim_start();
            return Ok(word.into());
        }
        let (word, rest) = first_word(self.rest);
        self.rest = rest;
        if word.is_empty() { Err(CommandParseError::Usage(self.usage)) } else { Ok(word.into()) }
    }

    /// Returns the rest of the line, which must not be empty. It may be quoted as a whole; otherwise it is taken as it is,
    /// with the quotes in it.
    fn rest_of_line(&mut self) -> Result<Cow<'a, str>, CommandParseError> {
        if let Some((text, "")) = unquote(self.rest) {
            self.rest = "";
            return Ok(text.into());
        }
        match std::mem::take(&mut self.rest) {
            "" => Err(CommandParseError::Usage(self.usage)),
            rest => Ok(rest.into()),
        }
    }

    /// Returns the sort key of `top`: messages by default.
    fn sort_key(&mut self) -> Result<SortBy, CommandParseError> {
        let (word, rest) = first_word(self.rest);
        self.rest = rest;
        match word {
            "" | "messages" => Ok(SortBy::MessageQueueLen),
            "busy" => Ok(SortBy::Busy),
            "restarts" => Ok(SortBy::Restarts),
            _ => Err(CommandParseError::Usage(self.usage)),
        }
    }

    fn list(&mut self) -> Result<ListName, CommandParseError> {
        self.next()?.parse().map_err(CommandParseError::List)
    }

    fn date(&mut self) -> Result<Date, CommandParseError> {
        self.next()?.parse().map_err(CommandParseError::Date)
    }

    fn id(&mut self) -> Result<EntryId, CommandParseError> {
        let word = self.next()?;
        word.parse().map_err(|error| CommandParseError::Id(word.into_owned(), error))
    }

    fn title(&mut self) -> Result<Title, CommandParseError> {
        self.rest_of_line()?.parse().map_err(CommandParseError::Title)
    }
}

/// Returns the first word and the rest of the text, both trimmed.
fn first_word(text: &str) -> (&str, &str) {
    let text = text.trim();
    text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}

/// Returns the usage of a command, from its line in [`HELP`].
fn usage_of(verb: &str) -> &'static str {
    let line = HELP.lines().find(|line| first_word(line).0 == verb).unwrap_or_default();
    line.split_once("  ").map_or(line, |(usage, _)| usage)
}

impl fmt::Display for CommandParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandParseError::Unknown(verb) => write!(f, "there is no command {verb:?}: `help` lists them"),
            CommandParseError::Usage(usage) => write!(f, "usage: {usage}"),
            CommandParseError::Quote(text) => {
                write!(
                    f,
                    "expected a text in double quotes, with \\\" and \\\\ for those in it, not {text:?}"
                )
            }
            CommandParseError::List(error) => error.fmt(f),
            CommandParseError::Date(error) => error.fmt(f),
            CommandParseError::Id(word, error) => {
                write!(f, "expected the number of an entry, not {word:?}: {error}")
            }
            CommandParseError::Title(error) => error.fmt(f),
        }
    }
}

impl Error for CommandParseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            CommandParseError::Unknown(_) | CommandParseError::Usage(_) | CommandParseError::Quote(_) => None,
            CommandParseError::List(error) => Some(error),
            CommandParseError::Date(error) => Some(error),
            CommandParseError::Id(_, error) => Some(error),
            CommandParseError::Title(error) => Some(error),
        }
    }
}
