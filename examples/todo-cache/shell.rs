//! The command `shell`: one command a line, from a terminal or a pipe. `main` runs it.
//!
//! The main thread is a process that is linked to the system and traps exits; the lines come to it as
//! messages from a process that reads. So it notices the end of the system while it waits for a line.

use std::error::Error;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::process::ExitCode;

use rethread::observer::{self, Events};
use rethread::process::{self, Address, Event, Inbox, SpawnError};
use rethread::{ExitReason, Pid};

use crate::command::{Command, HELP};
use crate::todo::client;
use crate::todo::error::TodoError;
use crate::todo::list::Entry;
use crate::todo::name::ListName;
use crate::todo::strike::{Blow, Missed, hang, strike};
use crate::todo::system::{Config, System};
use crate::todo::tree;
use crate::{not_started, one_line};

/// A line that is longer, in bytes, is no command.
const LONGEST_LINE: u64 = 4096;

/// So many lines `top` shows.
const MOST_SHOWN: usize = 10;

/// What the reader found.
enum Input {
    Line(String),
    TooLong,
    NotText,
    End,
}

/// Whether the shell goes on after a command.
enum Then {
    Goes,
    Quits,
    /// The system has ended, with this reason.
    Lost(ExitReason),
}

/// Starts the system and carries out what is typed. The status says whether the system stood to the end.
pub(crate) fn run(config: Config) -> Result<ExitCode, Box<dyn Error>> {
    process::attach(|inbox| attend(inbox, config))?
}

fn attend(inbox: &mut Inbox<Input>, config: Config) -> Result<ExitCode, Box<dyn Error>> {
    process::trap_exit(true);
    let system = System::start_link(config).map_err(|error| not_started(&error))?;
    let reader = reader(inbox.address())?;
    let mut events = observer::events();
    let mut out = io::stdout();
    let prompt = if io::stdin().is_terminal() { "> " } else { "" };
    loop {
        write!(out, "{prompt}")?;
        out.flush()?;
        reader.send(());
        let then = match next(inbox, system.root) {
            Ok(Input::End) => {
                write!(out, "{}", if prompt.is_empty() { "" } else { "\n" })?; // the terminal's own prompt is next
                Then::Quits
            }
            Ok(Input::Line(line)) => answer(&mut out, &line, &mut events)?,
            Ok(Input::TooLong) => complain(&mut out, &format!("a line has at most {LONGEST_LINE} bytes"))?,
            Ok(Input::NotText) => complain(&mut out, &"the line is not UTF-8 text")?,
            Err(reason) => Then::Lost(reason),
        };
        match then {
            Then::Goes => {}
            Then::Quits => break,
            Then::Lost(reason) => {
                let why = match &reason {
                    ExitReason::Shutdown => "shutdown, after more than 3 crashes within 5 s".to_owned(),
                    other => one_line(&other.to_string()),
                };
                writeln!(out, "the system has ended: {why}; all that was acknowledged is on disk")?;
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    system.stop()?;
    Ok(ExitCode::SUCCESS)
}

/// The next thing read; or why the system has ended, if that comes first.
fn next(inbox: &mut Inbox<Input>, system: Pid) -> Result<Input, ExitReason> {
    loop {
        match inbox.recv() {
            Event::Message(input) => return Ok(input),
            Event::Exit { from, reason } if from == system => return Err(reason),
            Event::Exit { .. } | Event::Down { .. } => {}
        }
    }
}

/// Starts the process that reads the standard input: one line each time it is sent a message, so that
/// nothing piles up.
fn reader(shell: Address<Input>) -> Result<Address<()>, SpawnError> {
    process::Builder::new().label("reader of lines").spawn(move |inbox| {
        loop {
            inbox.recv();
            shell.send(read_line(&mut io::stdin().lock()));
        }
    })
}

fn read_line(from: &mut impl BufRead) -> Input {
    let mut line = Vec::new();
    match from.by_ref().take(LONGEST_LINE + 1).read_until(b'\n', &mut line) {
        Ok(0) | Err(_) => return Input::End,
        Ok(_) => {}
    }
    if line.ends_with(b"\n") || line.len() as u64 <= LONGEST_LINE {
        return String::from_utf8(line).map_or(Input::NotText, Input::Line);
    }
    match from.skip_until(b'\n') {
        Ok(_) => Input::TooLong,
        Err(_) => Input::End,
    }
}

/// Carries out a line.
fn answer(out: &mut impl Write, line: &str, events: &mut Events) -> io::Result<Then> {
    let command = match Command::parse(line) {
        Ok(Some(command)) => command,
        Ok(None) => return Ok(Then::Goes),
        Err(error) => return complain(out, &error),
    };
    match command {
        Command::Add(list, date, title) => changed(out, "added", &list, client::add(&list, date, &title)),
        Command::Done(list, id) => changed(out, "done", &list, client::done(&list, id)),
        Command::Edit(list, id, title) => changed(out, "edited", &list, client::edit(&list, id, &title)),
        Command::Remove(list, id) => changed(out, "removed", &list, client::remove(&list, id)),
        Command::List(list, date) => match client::entries(&list, date) {
            Ok(entries) => {
                for Entry { id, date, title, done } in &entries {
                    writeln!(out, "[{}] {id} {date} {title}", if *done { 'x' } else { ' ' })?;
                }
                if entries.is_empty() {
                    let when = date.map(|date| format!(" on {date}")).unwrap_or_default();
                    writeln!(out, "{list} has no entries{when}")?;
                }
                Ok(Then::Goes)
            }
            Err(error) => complain(out, &error),
        },
        Command::Lists => match client::lists() {
            Ok(lists) if lists.is_empty() => say(out, "there are no lists"),
            Ok(lists) => {
                lists.iter().try_for_each(|list| writeln!(out, "{list}"))?;
                Ok(Then::Goes)
            }
            Err(error) => complain(out, &error),
        },
        Command::Tree => {
            tree::lines().iter().try_for_each(|line| writeln!(out, "{line}"))?;
            Ok(Then::Goes)
        }
        Command::Top(by) => {
            let all = observer::top(by, MOST_SHOWN);
            all.iter().try_for_each(|one| writeln!(out, "{one}"))?;
            if all.is_empty() { say(out, "nobody stands out") } else { Ok(Then::Goes) }
        }
        Command::Info(name) => match tree::find(&name).and_then(|member| observer::info(member.pid)) {
            Some(one) => {
                let info = &one.info;
                writeln!(out, "{one}")?;
                writeln!(
                    out,
                    "    uptime {:.1?}, messages received {}, of type {}",
                    info.uptime,
                    info.received,
                    one.module()
                )?;
                writeln!(
                    out,
                    "    links {:?}, monitors {:?}, monitored by {:?}",
                    info.links, info.monitors, info.monitored_by
                )?;
                say(out, &format!("    ancestors {:?}, spawned at {}", info.ancestors, info.spawned_at))
            }
            None => complain(out, &Missed::Unknown(name)),
        },
        Command::Events => {
            let lost = events.lost();
            if lost > 0 {
                writeln!(out, ".. {lost} earlier ones were not kept")?;
            }
            while let Some(event) = events.try_recv() {
                writeln!(out, "{}", one_line(&event.to_string()))?;
            }
            Ok(Then::Goes)
        }
        Command::Strike(Blow::Hang, name) => match hang(&name) {
            Ok(()) => say(
                out,
                &format!("{name} will not come out of its handler: `tree` shows it, `kill {name}` ends it"),
            ),
            Err(missed) => complain(out, &missed),
        },
        Command::Strike(blow, name) => strike_at(out, &name, blow),
        Command::Help => say(out, HELP),
        Command::Quit => Ok(Then::Quits),
    }
}

/// Says what became of a change.
fn changed(
    out: &mut impl Write,
    what: &str,
    list: &ListName,
    result: Result<Entry, TodoError>,
) -> io::Result<Then> {
    match result {
        Ok(Entry { id, date, title, .. }) => say(out, &format!("{what} {list} {id} {date} {title}")),
        Err(error) => complain(out, &error),
    }
}

/// Ends a process and says what came of it.
fn strike_at(out: &mut impl Write, name: &str, blow: Blow) -> io::Result<Then> {
    let hit = match strike(name, blow) {
        Ok(hit) => hit,
        Err(missed) => return complain(out, &missed),
    };
    let reason = one_line(&hit.reason.to_string());
    let now = match (&hit.gave_up, tree::find(name)) {
        (Some(_), _) => String::new(),
        (None, Some(member)) => format!("; now it is {}", member.pid),
        (None, None) if name.starts_with("list:") => "; it is started again when it is asked for".to_owned(),
        (None, None) => "; nobody takes its place".to_owned(),
    };
    writeln!(out, "{name} {} ended: {reason}{now}", hit.pid)?;
    Ok(hit.gave_up.map_or(Then::Goes, Then::Lost))
}

fn say(out: &mut impl Write, text: &str) -> io::Result<Then> {
    writeln!(out, "{text}")?;
    Ok(Then::Goes)
}

/// Says what is wrong, in one line.
fn complain(out: &mut impl Write, what: &impl std::fmt::Display) -> io::Result<Then> {
    say(out, &format!("error: {}", one_line(&what.to_string())))
}
