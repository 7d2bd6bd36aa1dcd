//! Chapter 2, "Link": processes that need each other exit together.

use crate::chapter1::list;
use rethread::prelude::*;
use rethread::process::Address;

/// Starts a list and passes lines on to it.
fn cache(inbox: &mut Inbox<&'static str>) {
    let alice = process::spawn_receiver_link(list).or_exit();
    while let Event::Message(line) = inbox.recv() {
        alice.send(line);
    }
}

pub fn run() -> Result<(), Box<dyn std::error::Error>> {
    let cache = process::spawn_receiver(cache)?;
    let watch = process::watch(&cache);
    cache.send("tomorrow Buy milk");
    // It exited with its list, for the same reason.
    assert_eq!(watch.wait().to_string(), "invalid digit found in string");
    trap()
}

/// Survives the exit of its list, starts a new one, and sends the reason to its parent.
fn trapping_cache(inbox: &mut Inbox<&'static str>, parent: &Address<ExitReason>) {
    process::trap_exit(true);
    let mut alice = process::spawn_receiver_link(list).or_exit();
    loop {
        match inbox.recv() {
            Event::Message(line) => alice.send(line),
            Event::Exit { from, reason } if from == alice.pid() => {
                alice = process::spawn_receiver_link(list).or_exit();
                parent.send(reason);
            }
            Event::Exit { reason, .. } => process::exit_with(reason), // from any other process: exit
            _ => {}
        }
    }
}

fn trap() -> Result<(), Box<dyn std::error::Error>> {
    // `main` becomes a process and can receive.
    process::attach_receiver(|inbox: &mut Inbox<ExitReason>| {
        let me = inbox.address();
        let cache = process::spawn_receiver(move |inbox| trapping_cache(inbox, &me)).or_exit();
        cache.send("tomorrow Buy milk");
        let Event::Message(reason) = inbox.recv() else { panic!("expected a message") };
        assert_eq!(reason.to_string(), "invalid digit found in string");
        assert!(process::is_alive(&cache));
        process::exit(&cache, ExitReason::Kill);
    })?;
    Ok(())
}
