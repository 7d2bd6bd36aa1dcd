//! `todo-cache`: a persistent, self-healing to-do system. `demo` kills and crashes every kind of process and
//! checks that no entry is lost; `shell` is for interactive use; `serve` has a web page; `watch` shows a
//! running server, `load` puts load on it.
//!
//! ```text
//! cargo run --example todo-cache -- demo
//! cargo run --example todo-cache -- shell --shape linked
//! cargo run --release --example todo-cache -- serve --allow-kill
//! cargo run --release --example todo-cache -- watch
//! cargo run --release --example todo-cache -- load --seconds 30 --clients 28 --kill-every 50ms
//! ```
//!
//! Crashes are intended here, so nothing is logged unless `RUST_LOG` is set (`RUST_LOG=error`).

mod archive;
mod command;
mod demo;
mod load;
mod net;
mod screen;
mod serve;
mod shell;
mod signal;
mod text;
#[allow(dead_code, reason = "the tests use more of it than the commands do")]
mod todo;
mod watch;

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use rethread::StartError;

use crate::text::one_line;
use crate::todo::shape::Shape;
use crate::todo::system::{Config, store_error};

/// A persistent to-do system in which any process can be killed.
#[derive(Parser)]
#[command(name = "todo-cache")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// The shape of the supervision tree: unsupervised, supervised-cache, linked, supervised-database,
    /// supervised-workers or supervised-lists. (The demo uses linked and supervised-lists.)
    #[arg(long, global = true, default_value = "supervised-lists")]
    shape: Shape,
    /// The folder of the data [default: ./persist; for the demo a temporary folder].
    #[arg(long, global = true, value_name = "FOLDER", env = "TODO_DB_FOLDER")]
    dir: Option<PathBuf>,
    /// The maximum number of lists in memory.
    #[arg(long, global = true, value_name = "N", default_value_t = 2000)]
    max_lists: usize,
    /// After how long without a request a list is removed from memory.
    #[arg(long, global = true, value_name = "TIME", default_value = "60s", env = "TODO_SERVER_EXPIRY", value_parser = duration)]
    expiry: Duration,
}

#[derive(Subcommand)]
enum Command {
    /// Kills and crashes every kind of process in turn, and shows that nothing is lost.
    Demo,
    /// Reads commands, from a terminal or a pipe; `help` lists them.
    Shell,
    /// Serves the lists on this machine: HTTP, and a page that shows the processes live.
    Serve {
        #[arg(long, default_value_t = 5454, env = "TODO_HTTP_PORT")]
        port: u16,
        /// Allow clients to kill and crash processes. Raises the restart limit from 3 to 1000 in five
        /// seconds.
        #[arg(long)]
        allow_kill: bool,
    },
    /// Writes all lists as JSON lines to a file, or to the standard output.
    Export { file: Option<PathBuf> },
    /// Adds the lists of such a file, or of the standard input, to a folder that has none of them.
    Import { file: Option<PathBuf> },
    /// Shows the live process tree of a running server in the terminal.
    Watch {
        #[arg(default_value = "http://127.0.0.1:5454")]
        url: String,
        /// Stop after N frames.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        frames: Option<u32>,
    },
    /// Puts load on a running server, and checks that no acknowledged entry is lost. The exit status is 1 if
    /// one is, if a request was not answered, or if all were refused.
    Load {
        #[arg(default_value = "http://127.0.0.1:5454")]
        url: String,
        #[arg(long, default_value_t = 28, value_parser = clap::value_parser!(u32).range(1..))]
        clients: u32,
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
        seconds: u64,
        /// Kill a process of the server at this interval; requires a server with --allow-kill.
        #[arg(long, value_name = "TIME", value_parser = duration)]
        kill_every: Option<Duration>,
        /// The seed of the random requests.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

/// A logger that shows nothing: shell, demo and page report crashes themselves.
struct Quiet {
    level: log::LevelFilter,
}

static QUIET: Quiet = Quiet { level: log::LevelFilter::Off };

impl log::Log for Quiet {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= self.level
    }
    fn log(&self, _: &log::Record<'_>) {}
    fn flush(&self) {}
}

fn main() -> ExitCode {
    if std::env::var_os("RUST_LOG").is_some() {
        rethread::logger::init();
    } else {
        // Without any logger the library prints each crash on stderr.
        let _ = log::set_logger(&QUIET);
    }
    signal::report_file_size_limit();
    let cli = Cli::parse();
    let dir = cli.dir.clone().unwrap_or_else(|| "persist".into());
    let (shape, max_lists) = (cli.shape, cli.max_lists);
    let config = Config { shape, max_lists, expiry: Some(cli.expiry), ..Config::new(dir) };
    let result = match cli.command {
        Command::Demo => demo::run(cli.dir),
        Command::Shell => shell::run(config),
        Command::Serve { port, allow_kill } => {
            let max_restarts = if allow_kill { 1000 } else { config.max_restarts };
            serve::run(Config { max_restarts, ..config }, port, allow_kill)
        }
        Command::Export { file } => archive::export(&config.dir, file).map(|()| ExitCode::SUCCESS),
        Command::Import { file } => archive::import(&config.dir, file).map(|()| ExitCode::SUCCESS),
        Command::Watch { url, frames } => watch::run(&url, frames),
        Command::Load { url, clients, seconds, kill_every, seed } => load::run(load::LoadConfig {
            url,
            clients,
            duration: Duration::from_secs(seconds),
            kill_every,
            seed,
        }),
    };
    result.unwrap_or_else(|error| {
        let text = match error.downcast_ref::<io::Error>() {
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => signal::exit_by_broken_pipe(),
            Some(error) => format!("cannot write to the standard output: {error}"),
            None => one_line(&error.to_string()),
        };
        // If this fails too, there is no way to report it.
        let _ = writeln!(io::stderr(), "todo-cache: {text}");
        ExitCode::FAILURE
    })
}

/// Parses a duration such as `50ms`, `10s` or `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let wrong = || format!("expected a time such as 50ms, 10s or 2m, not {text:?}");
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let unit = match &text[digits.len()..] {
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        _ => return Err(wrong()),
    };
    let time = u32::try_from(number).ok().and_then(|number| unit.checked_mul(number));
    time.filter(|time| !time.is_zero()).ok_or_else(wrong)
}

/// Converts a start error for the user: the error of the store, if that is the cause.
fn not_started(error: &StartError) -> Box<dyn Error> {
    store_error(error).map_or_else(|| error.clone().into(), |error| error.clone().into())
}
