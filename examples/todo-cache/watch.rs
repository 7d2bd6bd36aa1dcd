//! The command `watch`: the live tree of a running server in the terminal, or as plain text in a pipe. `main` runs it.

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rethread::process;
use serde_json::Value;

use crate::net::{Connection, authority};
use crate::screen::{Colour, Line, Screen};

/// How long to wait before the next attempt to reach a server that is gone.
const AGAIN: Duration = Duration::from_secs(1);

/// Draws until the program is ended, or whoever reads the picture is gone. `frames`: or so many pictures were drawn.
pub(crate) fn run(url: &str, frames: Option<u32>) -> Result<ExitCode, Box<dyn Error>> {
    let server = authority(url)?;
    let mut terminal = Terminal::new();
    let mut screen = Screen::default();
    let mut left = frames;
    let mut reached = false;
    loop {
        let ended = follow(&server, &mut screen, &mut terminal, &mut left);
        match ended {
            Ok(()) => return Ok(ExitCode::SUCCESS),
            Err(Ended::NobodyReads) => return Ok(ExitCode::SUCCESS),
            Err(Ended::Server(error)) if !reached && terminal.pictures == 0 => {
                return Err(format!("there is no server at {url}: {error}").into());
            }
            Err(Ended::Server(error)) => {
                reached = true;
                let text = format!("the connection is lost, trying again: {error}");
                let line = Line { text, colour: Colour::Dead };
                if terminal.show(&[line]).is_err() {
                    return Ok(ExitCode::SUCCESS);
                }
            }
        }
        process::sleep(AGAIN);
    }
}

enum Ended {
    Server(io::Error),
    NobodyReads,
}

/// Draws what one connection brings.
fn follow(
    server: &str,
    screen: &mut Screen,
    terminal: &mut Terminal,
    left: &mut Option<u32>,
) -> Result<(), Ended> {
    let mut connection = Connection::open(server).map_err(Ended::Server)?;
    connection.listen().map_err(Ended::Server)?;
    loop {
        let (kind, data) = connection.next_event().map_err(Ended::Server)?;
        let data: Value = serde_json::from_str(&data).unwrap_or_default();
        if kind == "life" {
            screen.hear(&data);
            continue;
        }
        let picture = screen.draw(&data, Instant::now(), terminal.size());
        terminal.show(&picture).map_err(|_| Ended::NobodyReads)?;
        if let Some(left) = left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                return Ok(());
            }
        }
    }
}

/// Where the picture goes. Nothing about the terminal is changed, so nothing has to be put back.
struct Terminal {
    out: io::Stdout,
    redraws: bool,
    coloured: bool,
    pictures: u64,
}

impl Terminal {
    fn new() -> Self {
        let out = io::stdout();
        let redraws = out.is_terminal();
        // https://no-color.org
        let coloured = redraws && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { out, redraws, coloured, pictures: 0 }
    }

    /// Columns and rows, asked anew each time: the window may have another size now.
    fn size(&self) -> Option<(usize, usize)> {
        let size = if self.redraws { terminal_size::terminal_size() } else { None };
        size.map(|(width, height)| (usize::from(width.0), usize::from(height.0)))
    }

    /// Draws over the last picture; in a pipe, below it.
    fn show(&mut self, lines: &[Line]) -> io::Result<()> {
        let mut text = String::new();
        if self.redraws {
            text.push_str(if self.pictures == 0 { "\x1b[2J\x1b[H" } else { "\x1b[H" });
        }
        for line in lines {
            let code = match line.colour {
                Colour::Plain => "",
                Colour::Young => "\x1b[32m",
                Colour::Backlog => "\x1b[33m",
                Colour::Dead => "\x1b[31m",
                Colour::Grave => "\x1b[90m",
            };
            let (code, end) = if self.coloured && !code.is_empty() { (code, "\x1b[0m") } else { ("", "") };
            // What was longer in the last picture is wiped out.
            let wipe = if self.redraws { "\x1b[K" } else { "" };
            let text_of_line = line.text.trim_end();
            text.push_str(&format!("{code}{text_of_line}{end}{wipe}\n"));
        }
        text.push_str(if self.redraws { "\x1b[J" } else { "\n" });
        self.pictures += 1;
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}
