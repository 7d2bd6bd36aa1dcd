//! The command `serve`: runs the system with its web server.

use std::error::Error;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;

use rethread::process::{self, Event, Inbox};

use crate::text::one_line;
use crate::todo::system::{Config, System, WebConfig};
use crate::{not_started, signal};

/// Sent when the program receives SIGTERM or SIGINT.
struct Quit;

/// Runs the server until the system gives up, or until SIGTERM or SIGINT stops it. Killing it does no harm:
/// every acknowledged change is on disk.
pub(crate) fn run(config: Config, port: u16, allow_kill: bool) -> Result<ExitCode, Box<dyn Error>> {
    // Only reachable from this machine: there is no authentication.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .map_err(|error| format!("cannot listen on port {port} of 127.0.0.1: {error}"))?;
    process::attach_receiver(|inbox| serve_until_exit(inbox, config, listener, allow_kill))?
}

fn serve_until_exit(
    inbox: &mut Inbox<Quit>,
    config: Config,
    listener: TcpListener,
    allow_kill: bool,
) -> Result<ExitCode, Box<dyn Error>> {
    process::trap_exit(true);
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let (shape, dir) = (config.shape, config.dir.clone());
    let web = Some(WebConfig { listener: Arc::new(listener), allow_kill });
    let system = System::start_link(Config { web, ..config }).map_err(|error| not_started(&error))?;
    let main = inbox.address();
    signal::on_termination(move |_| main.send(Quit))
        .map_err(|error| format!("cannot receive signals: {error}"))?;
    let mut out = io::stdout();
    writeln!(out, "todo-cache serves http://{address}, shape {shape}, data in {}", dir.display())?;
    out.flush()?;
    loop {
        match inbox.recv() {
            Event::Exit { from, reason } if from == system.root => {
                let reason = one_line(&reason.to_string());
                return Err(
                    format!("the system has exited: {reason}; all acknowledged changes are on disk").into()
                );
            }
            Event::Message(Quit) => {
                system.stop()?;
                return Ok(ExitCode::SUCCESS);
            }
            _ => {}
        }
    }
}
