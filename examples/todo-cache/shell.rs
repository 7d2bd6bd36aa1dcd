//! The command `shell`: one command per line, from a terminal or a pipe.
//!
//! The main thread is a process that is linked to the system and traps exits. It receives the lines as
//! messages from a process that reads the standard input, so it also receives the exit of the system while it
//! waits for a line.

use std::error::Error;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::process::ExitCode;

use rethread::observer::{self, EventReceiver};
use rethread::process::{self, Address, Event, Inbox, SpawnError};
use rethread::{ExitReason, Pid};

use crate::command::{Command, HELP};
use crate::not_started;
use crate::text::{one_line, printable, quoted_rest, quoted_word};
use crate::todo::client::Client;
use crate::todo::error::TodoError;
use crate::todo::inject::{Fault, InjectError, hang, inject};
use crate::todo::list::Entry;
use crate::todo::name::ListName;
use crate::todo::system::{Config, System};
use crate::todo::tree;

/// The maximum length of a line, in bytes.
const MAX_LINE_LEN: u64 = 4096;

/// A mark that some editors put at the beginning of a file.
pub(crate) const BYTE_ORDER_MARK: char = '\u{feff}';

/// The number of lines that `top` shows.
const MAX_SHOWN: usize = 10;

/// A message from the reader.
enum Input {
    Line(String),
    TooLong,
    NotText,
    End,
    /// The standard input cannot be read.
    Failed(io::Error),
}

/// What the shell does after a command.
enum AfterCommand {
    Continue,
    Quit,
    /// The system has exited, with this reason.
    SystemExited(ExitReason),
}

/// Starts the system and executes the commands. The status is a failure if the system has exited before
/// `quit`.
pub(crate) fn run(config: Config) -> Result<ExitCode, Box<dyn Error>> {
    process::attach_receiver(|inbox| command_loop(inbox, config))?
}

fn command_loop(inbox: &mut Inbox<Input>, config: Config) -> Result<ExitCode, Box<dyn Error>> {
    process::trap_exit(true);
    let client = config.client();
    let system = System::start_link(config).map_err(|error| not_started(&error))?;
    let reader = reader(inbox.address())?;
    let mut events = observer::events();
    let mut out = io::stdout();
    let prompt = if io::stdin().is_terminal() { "> " } else { "" };
    let mut is_first_line = true;
    loop {
        // Request one line, and wait for it or for the exit of the system.
        write!(out, "{prompt}")?;
        out.flush()?;
        reader.send(());
        let after = match next(inbox, system.root) {
            Ok(Input::End) => {
                write!(out, "{}", if prompt.is_empty() { "" } else { "\n" })?; // so that the prompt of the terminal is on a line of its own
                AfterCommand::Quit
            }
            Ok(Input::Line(line)) => {
                // Some editors begin a file with a byte order mark.
                let line =
                    if is_first_line { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&line) } else { &line };
                is_first_line = false;
                execute(&mut out, client, line, &mut events)?
            }
            Ok(Input::TooLong) => print_error(&mut out, &format!("a line has at most {MAX_LINE_LEN} bytes"))?,
            Ok(Input::NotText) => print_error(&mut out, &"the line is not UTF-8 text")?,
            Ok(Input::Failed(error)) => {
                system.stop()?;
                return Err(format!("cannot read the standard input: {error}").into());
            }
            Err(reason) => AfterCommand::SystemExited(reason),
        };
        match after {
            AfterCommand::Continue => {}
            AfterCommand::Quit => break,
            AfterCommand::SystemExited(reason) => {
                let why = match &reason {
                    ExitReason::Shutdown => "shutdown, after more than 3 crashes within 5 s".to_owned(),
                    other => one_line(&other.to_string()),
                };
                writeln!(out, "the system has exited: {why}; all acknowledged changes are on disk")?;
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    system.stop()?;
    Ok(ExitCode::SUCCESS)
}

/// Waits for the next input; fails with the exit reason of the system, if that exits first.
fn next(inbox: &mut Inbox<Input>, system: Pid) -> Result<Input, ExitReason> {
    loop {
        match inbox.recv() {
            Event::Message(input) => return Ok(input),
            Event::Exit { from, reason } if from == system => return Err(reason),
            _ => {}
        }
    }
}

/// Starts the process that reads the standard input: one line for each message it receives, so that no lines
/// accumulate.
fn reader(shell: Address<Input>) -> Result<Address<()>, SpawnError> {
    process::Builder::new().label("stdin reader").spawn_receiver(move |inbox| {
        loop {
            inbox.recv();
            shell.send(read_line(&mut io::stdin().lock()));
        }
    })
}

fn read_line(from: &mut impl BufRead) -> Input {
    let mut line = Vec::new();
    match from.by_ref().take(MAX_LINE_LEN + 1).read_until(b'\n', &mut line) {
        Ok(0) => return Input::End,
        Err(error) => return Input::Failed(error),
        Ok(_) => {}
    }
    if line.ends_with(b"\n") || line.len() as u64 <= MAX_LINE_LEN {
        return String::from_utf8(line).map_or(Input::NotText, Input::Line);
    }
    match from.skip_until(b'\n') {
        Ok(_) => Input::TooLong,
        Err(error) => Input::Failed(error),
    }
}

/// Executes a line.
fn execute(
    out: &mut impl Write,
    client: Client,
    line: &str,
    events: &mut EventReceiver,
) -> io::Result<AfterCommand> {
    let command = match Command::parse(line) {
        Ok(Some(command)) => command,
        Ok(None) => return Ok(AfterCommand::Continue),
        Err(error) => return print_error(out, &error),
    };
    match command {
        Command::Add(list, date, title) => print_change(out, "added", &list, client.add(&list, date, &title)),
        Command::Done(list, id) => print_change(out, "done", &list, client.done(&list, id)),
        Command::Edit(list, id, title) => print_change(out, "edited", &list, client.edit(&list, id, &title)),
        Command::Remove(list, id) => print_change(out, "removed", &list, client.remove(&list, id)),
        Command::List(list, date) => match client.entries(&list, date) {
            Ok(entries) => {
                for Entry { id, date, title, done } in &entries {
                    let title = quoted_rest(title.as_str());
                    writeln!(out, "[{}] {id} {date} {title}", if *done { 'x' } else { ' ' })?;
                }
                if entries.is_empty() {
                    let when = date.map(|date| format!(" on {date}")).unwrap_or_default();
                    writeln!(out, "{} has no entries{when}", quoted_word(list.as_str()))?;
                }
                Ok(AfterCommand::Continue)
            }
            Err(error) => print_error(out, &error),
        },
        Command::Lists => match client.lists() {
            Ok(lists) if lists.is_empty() => print_line(out, "there are no lists"),
            Ok(lists) => {
                lists.iter().try_for_each(|list| writeln!(out, "{}", quoted_word(list.as_str())))?;
                Ok(AfterCommand::Continue)
            }
            Err(error) => print_error(out, &error),
        },
        Command::Tree => {
            tree::lines().iter().try_for_each(|line| writeln!(out, "{}", printable(line)))?;
            Ok(AfterCommand::Continue)
        }
        Command::Top(by) => {
            let all = observer::top(by, MAX_SHOWN);
            all.iter().try_for_each(|one| writeln!(out, "{}", printable(&one.to_string())))?;
            if all.is_empty() { print_line(out, "no process stands out") } else { Ok(AfterCommand::Continue) }
        }
        Command::Info(name) => match tree::find(&name).and_then(|member| observer::info(member.pid)) {
            Some(one) => {
                let info = &one.info;
                writeln!(out, "{}", printable(&one.to_string()))?;
                writeln!(
                    out,
                    "    uptime {:.1?}, messages received {}, of type {}",
                    info.uptime,
                    info.received,
                    one.type_name()
                )?;
                writeln!(
                    out,
                    "    links {:?}, monitors {:?}, monitored by {:?}",
                    info.links, info.monitors, info.monitored_by
                )?;
                print_line(
                    out,
                    &format!("    ancestors {:?}, spawned at {}", info.ancestors, info.spawned_at),
                )
            }
            None => print_error(out, &InjectError::Unknown(name)),
        },
        Command::Events => {
            let dropped = events.take_dropped();
            if dropped > 0 {
                writeln!(out, ".. {dropped} earlier events were dropped")?;
            }
            while let Some(event) = events.try_recv() {
                writeln!(out, "{}", one_line(&event.to_string()))?;
            }
            Ok(AfterCommand::Continue)
        }
        Command::Inject(Fault::Hang, name) => match hang(&name) {
            Ok(()) => print_line(
                out,
                &format!(
                    "{0} is blocked in a handler: `tree` shows it, `kill {0}` kills it",
                    quoted_rest(&name)
                ),
            ),
            Err(error) => print_error(out, &error),
        },
        Command::Inject(fault, name) => inject_fault(out, &name, fault),
        Command::Help => print_line(out, HELP),
        Command::Quit => Ok(AfterCommand::Quit),
    }
}

/// Prints the outcome of a change.
fn print_change(
    out: &mut impl Write,
    what: &str,
    list: &ListName,
    result: Result<Entry, TodoError>,
) -> io::Result<AfterCommand> {
    match result {
        Ok(Entry { id, date, title, .. }) => {
            let (list, title) = (quoted_word(list.as_str()), quoted_rest(title.as_str()));
            print_line(out, &format!("{what} {list} {id} {date} {title}"))
        }
        Err(error) => print_error(out, &error),
    }
}

/// Injects a fault and prints its outcome.
fn inject_fault(out: &mut impl Write, name: &str, fault: Fault) -> io::Result<AfterCommand> {
    let outcome = match inject(name, fault) {
        Ok(outcome) => outcome,
        Err(error) => return print_error(out, &error),
    };
    let reason = one_line(&outcome.reason.to_string());
    let now = match (&outcome.gave_up, tree::find(name)) {
        (Some(_), _) => String::new(),
        (None, Some(member)) => format!("; restarted as {}", member.pid),
        (None, None) if name.starts_with("list:") => "; it is restarted on the next request".to_owned(),
        (None, None) => "; it is not restarted".to_owned(),
    };
    writeln!(out, "{} {} exited: {reason}{now}", quoted_rest(name), outcome.pid)?;
    Ok(outcome.gave_up.map_or(AfterCommand::Continue, AfterCommand::SystemExited))
}

fn print_line(out: &mut impl Write, text: &str) -> io::Result<AfterCommand> {
    writeln!(out, "{text}")?;
    Ok(AfterCommand::Continue)
}

/// Prints an error, in one line.
fn print_error(out: &mut impl Write, what: &impl std::fmt::Display) -> io::Result<AfterCommand> {
    print_line(out, &format!("error: {}", one_line(&what.to_string())))
}
