//! The command `serve`: the system, and a web server in front of it. `main` runs it.

use std::error::Error;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;

use rethread::process::{self, Address, Event, Inbox};

use crate::todo::routes::Options;
use crate::todo::system::{Config, System};
use crate::{not_started, one_line};

/// Somebody has sent SIGTERM or SIGINT.
struct Quit;

/// Serves until the system gives up, or SIGTERM or SIGINT ends it in order. Another end from outside does no harm either:
/// nothing has to be saved.
pub(crate) fn run(config: Config, port: u16, allow_kill: bool) -> Result<ExitCode, Box<dyn Error>> {
    // Only for this machine: there are no users and no passwords.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .map_err(|error| format!("cannot listen on port {port} of 127.0.0.1: {error}"))?;
    process::attach(|inbox| serve_until_exit(inbox, config, listener, allow_kill))?
}

fn serve_until_exit(
    inbox: &mut Inbox<Quit>,
    config: Config,
    listener: TcpListener,
    allow_kill: bool,
) -> Result<ExitCode, Box<dyn Error>> {
    process::trap_exit(true);
    let address = listener.local_addr()?;
    let options = Options { shape: config.shape, allow_kill };
    let (shape, dir) = (config.shape, config.dir.clone());
    let web = Some((Arc::new(listener), Arc::new(options)));
    let system = System::start_link(Config { web, ..config }).map_err(|error| not_started(&error))?;
    on_signal(inbox.address())?;
    let mut out = io::stdout();
    writeln!(out, "todo-cache serves http://{address}, shape {shape}, data in {}", dir.display())?;
    out.flush()?;
    loop {
        match inbox.recv() {
            Event::Exit { from, reason } if from == system.root => {
                let reason = one_line(&reason.to_string());
                return Err(
                    format!("the system has ended: {reason}; all that was acknowledged is on disk").into()
                );
            }
            Event::Message(Quit) => {
                system.stop()?;
                return Ok(ExitCode::SUCCESS);
            }
            Event::Exit { .. } | Event::Down { .. } => {}
        }
    }
}

/// Passes SIGTERM and SIGINT on. A thread waits for them, since in a signal handler itself hardly anything is allowed.
#[cfg(unix)]
fn on_signal(to: Address<Quit>) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])?;
    let forward = move || signals.forever().for_each(|_| to.send(Quit));
    std::thread::Builder::new().name("signals".into()).spawn(forward).map(drop)
}

/// Elsewhere the program just ends.
#[cfg(not(unix))]
fn on_signal(_: Address<Quit>) -> io::Result<()> {
    Ok(())
}
