//! How processes are notified of exits: links, trapped exits, monitors, and the kill signal, which cannot be
//! trapped. Run it with `cargo run --example links`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use rethread::ExitReason;
use rethread::process::{self, Event, Inbox, SpawnError};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The main thread becomes a process: it can link, monitor and receive.
    process::attach_receiver(|inbox| {
        link_propagates_exit(inbox)?;
        trap_exit_delivers_message(inbox)?;
        monitor_receives_down(inbox)?;
        kill_cannot_be_trapped(inbox)
    })??;
    println!("main is still running");
    Ok(())
}

/// Formats the next event.
fn next(inbox: &mut Inbox<&'static str>) -> String {
    let format_reason = |reason: ExitReason| match reason {
        ExitReason::Panic(panic) => format!("panic: {}", panic.message()),
        other => other.to_string(),
    };
    match inbox.recv() {
        Event::Message(text) => format!("a message: {text}"),
        Event::Exit { reason, .. } => format!("an exit signal: {}", format_reason(reason)),
        Event::Down { reason, .. } => format!("a down: {}", format_reason(reason)),
        other => format!("{other:?}"),
    }
}

fn link_propagates_exit(inbox: &mut Inbox<&'static str>) -> Result<(), SpawnError> {
    let (_parent, _monitor) = process::spawn_monitor(|| {
        let _child = process::spawn_link(|| panic!("the child slipped"));
        process::sleep(Duration::MAX);
    })?;
    println!("link: the parent exits with its child; main monitors it and gets {}", next(inbox));
    Ok(())
}

fn trap_exit_delivers_message(inbox: &mut Inbox<&'static str>) -> Result<(), SpawnError> {
    process::trap_exit(true);
    process::spawn_link(|| process::exit_with("out of paper"))?;
    println!("trap: main is linked to a child that fails, and gets {}", next(inbox));
    process::spawn_link(|| ())?;
    println!("trap: another child just returns, and main gets {}", next(inbox));
    Ok(())
}

fn monitor_receives_down(inbox: &mut Inbox<&'static str>) -> Result<(), SpawnError> {
    let other = process::spawn_receiver::<()>(|inbox| drop(inbox.recv()))?;
    let _monitor = process::monitor(&other);
    other.send(());
    println!("monitor: it is one-way and needs no link; main gets {}", next(inbox));
    Ok(())
}

fn kill_cannot_be_trapped(inbox: &mut Inbox<&'static str>) -> Result<(), SpawnError> {
    let main = inbox.address();
    let (stubborn, _monitor) = process::spawn_receiver_monitor::<()>(move |inbox| {
        process::trap_exit(true);
        main.send("I trap exits now");
        while let Event::Exit { .. } = inbox.recv() {
            main.send("I got an exit signal and continue");
        }
    })?;
    println!("kill: a stubborn process sends {}", next(inbox));
    process::exit(&stubborn, ExitReason::Shutdown);
    println!("kill: asked to shut down it sends {}", next(inbox));
    process::exit(&stubborn, ExitReason::Kill);
    println!("kill: it cannot trap a kill; main gets {}", next(inbox));
    Ok(())
}
