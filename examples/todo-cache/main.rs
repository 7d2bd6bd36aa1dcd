//! `todo-cache`: a persistent to-do system that heals itself, in the shape of chapter 8. `demo` kills and
//! crashes all of it and counts what is left; `shell` is for trying it by hand.
//!
//! ```text
//! cargo run --example todo-cache -- demo
//! cargo run --example todo-cache -- shell --dir ./persist
//! ```
//!
//! Crashes are part of the show, so nothing is logged unless `RUST_LOG` asks for it (`RUST_LOG=error`).

mod command;
mod demo;
mod shell;
#[allow(dead_code, reason = "the tests use more of it than the commands do")]
mod todo;

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rethread::StartError;

use crate::todo::shape::Shape;
use crate::todo::system::{Config, store_error};

/// A persistent to-do system in which any process can be killed.
#[derive(Parser)]
#[command(name = "todo-cache")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How the system is wired, by the chapters of the book: 7, 8a, 8b, 9a, 9b or 11. (The demo is of 8b.)
    #[arg(long, global = true, default_value = "11")]
    shape: Shape,
    /// The folder of the data [default: ./persist; for the demo one of its own, removed afterwards].
    #[arg(long, global = true, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Kills and crashes every kind of process in turn, and shows that nothing is lost.
    Demo,
    /// Reads commands, from a terminal or a pipe; `help` lists them.
    Shell,
}

fn main() -> ExitCode {
    #[cfg(feature = "env_logger")]
    if std::env::var_os("RUST_LOG").is_some() {
        rethread::logger::init();
    }
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Demo => demo::run(cli.dir),
        Command::Shell => {
            let dir = cli.dir.unwrap_or_else(|| "persist".into());
            shell::run(Config { shape: cli.shape, ..Config::new(dir) })
        }
    };
    done.unwrap_or_else(|error| {
        // Nobody is left to be told if this fails too.
        let _ = writeln!(std::io::stderr(), "todo-cache: {}", one_line(&error.to_string()));
        ExitCode::FAILURE
    })
}

/// A system that did not start, in words for the person who started the program.
fn not_started(error: &StartError) -> Box<dyn Error> {
    store_error(error).map_or_else(|| error.clone().into(), |error| error.clone().into())
}

/// A text without line breaks: a reason may carry what a panic said.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
