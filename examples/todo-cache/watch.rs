//! The command `watch`: shows the live process tree of a running server in the terminal, or as plain text in
//! a pipe.

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rethread::process;
use serde_json::Value;

use crate::net::{Connection, authority};
use crate::screen::{Colour, Line, Screen};
use crate::text::printable;

/// The pause between two attempts to reconnect.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);

/// Draws until the program is stopped or its output is closed, or until `frames` frames were drawn.
pub(crate) fn run(url: &str, frames: Option<u32>) -> Result<ExitCode, Box<dyn Error>> {
    let server = authority(url)?;
    let mut terminal = Terminal::new();
    let mut screen = Screen::default();
    let mut frames_left = frames;
    let mut reached = false;
    loop {
        let result = follow(&server, &mut screen, &mut terminal, &mut frames_left);
        match result {
            Ok(()) => return Ok(ExitCode::SUCCESS),
            Err(FollowError::OutputClosed) => return Ok(ExitCode::SUCCESS),
            Err(FollowError::Server(error)) if !reached && terminal.frames_drawn == 0 => {
                return Err(match error.kind() {
                    io::ErrorKind::InvalidData | io::ErrorKind::Other => {
                        format!("cannot watch {url}: {error}")
                    }
                    _ => format!("there is no server at {url}: {error}"),
                }
                .into());
            }
            Err(FollowError::Server(error)) => {
                reached = true;
                let text = format!("connection lost, reconnecting: {error}");
                let line = Line { text, colour: Colour::Dead };
                if terminal.show(&[line]).is_err() {
                    return Ok(ExitCode::SUCCESS);
                }
            }
        }
        process::sleep(RECONNECT_DELAY);
    }
}

enum FollowError {
    Server(io::Error),
    OutputClosed,
}

/// Draws the frames of one connection.
fn follow(
    server: &str,
    screen: &mut Screen,
    terminal: &mut Terminal,
    frames_left: &mut Option<u32>,
) -> Result<(), FollowError> {
    let mut connection = Connection::open(server).map_err(FollowError::Server)?;
    connection.subscribe().map_err(FollowError::Server)?;
    loop {
        let (kind, data) = connection.next_event().map_err(FollowError::Server)?;
        let data: Value = serde_json::from_str(&data).map_err(|error| {
            let text = format!("not a todo-cache server: an event is not JSON: {error}");
            FollowError::Server(io::Error::new(io::ErrorKind::InvalidData, text))
        })?;
        if kind == "process" {
            screen.on_event(&data);
            continue;
        }
        let lines = screen.draw(&data, Instant::now(), terminal.size());
        terminal.show(&lines).map_err(|_| FollowError::OutputClosed)?;
        if let Some(remaining) = frames_left {
            *remaining = remaining.saturating_sub(1);
            if *remaining == 0 {
                return Ok(());
            }
        }
    }
}

/// The output. The mode of the terminal is not changed, so nothing has to be restored.
struct Terminal {
    out: io::Stdout,
    redraws: bool,
    coloured: bool,
    frames_drawn: u64,
}

impl Terminal {
    fn new() -> Self {
        let out = io::stdout();
        let redraws = out.is_terminal();
        // https://no-color.org
        let coloured = redraws && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { out, redraws, coloured, frames_drawn: 0 }
    }

    /// Returns the columns and rows, read at each frame, because the window may have been resized.
    fn size(&self) -> Option<(usize, usize)> {
        let size = if self.redraws { terminal_size::terminal_size() } else { None };
        size.map(|(width, height)| (usize::from(width.0), usize::from(height.0)))
    }

    /// Draws a frame over the last one; in a pipe, below it.
    fn show(&mut self, lines: &[Line]) -> io::Result<()> {
        let mut text = String::new();
        if self.redraws {
            text.push_str(if self.frames_drawn == 0 { "\x1b[2J\x1b[H" } else { "\x1b[H" });
        }
        for line in lines {
            let code = match line.colour {
                Colour::Plain => "",
                Colour::New => "\x1b[32m",
                Colour::Backlog => "\x1b[33m",
                Colour::Dead => "\x1b[31m",
                Colour::Exited => "\x1b[90m",
            };
            let (code, end) = if self.coloured && !code.is_empty() { (code, "\x1b[0m") } else { ("", "") };
            // Clear the rest of a line that was longer in the last frame.
            let clear_line = if self.redraws { "\x1b[K" } else { "" };
            // What the server has sent must not control the terminal.
            let text_of_line = printable(line.text.trim_end());
            text.push_str(&format!("{code}{text_of_line}{end}{clear_line}\n"));
        }
        text.push_str(if self.redraws { "\x1b[J" } else { "\n" });
        self.frames_drawn += 1;
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}
