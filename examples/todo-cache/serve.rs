//! The command `serve`: the system, and a web server in front of it. `main` runs it.

use std::error::Error;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;

use rethread::Never;
use rethread::process::{self, Event, Inbox};

use crate::todo::routes::Options;
use crate::todo::system::{Config, System};
use crate::{not_started, one_line};

/// Serves until the system gives up, or the program is ended from outside: nothing has to be saved then.
pub(crate) fn run(config: Config, port: u16, allow_kill: bool) -> Result<ExitCode, Box<dyn Error>> {
    // Only for this machine: there are no users and no passwords.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .map_err(|error| format!("cannot listen on port {port} of 127.0.0.1: {error}"))?;
    process::attach(|inbox| attend(inbox, config, listener, allow_kill))?
}

fn attend(
    inbox: &mut Inbox<Never>,
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
            Event::Message(never) => match never {},
            Event::Exit { .. } | Event::Down { .. } => {}
        }
    }
}
