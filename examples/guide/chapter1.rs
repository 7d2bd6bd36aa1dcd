//! Chapter 1, "Crash": an unexpected error ends one process, and no other.

use rethread::prelude::*;
use rethread::process::{Caught, attempt};
use std::num::ParseIntError;

/// Returns a result: for user input.
pub fn parse(line: &str) -> Result<(u32, &str), ParseIntError> {
    let (day, title) = line.split_once(' ').unwrap_or((line, ""));
    Ok((day.parse()?, title))
}

/// A list, as the body of a process.
pub fn list(inbox: &mut Inbox<&'static str>) {
    let mut entries: Vec<(u32, &str)> = Vec::new();
    while let Event::Message(line) = inbox.recv() {
        entries.push(parse(line).or_exit()); // crashes on an error: for input that was validated before
    }
}

pub fn run() -> Result<(), Box<dyn std::error::Error>> {
    let (alice, bob) = (process::spawn_receiver(list)?, process::spawn_receiver(list)?);
    let watch = process::watch(&alice);
    alice.send("20261122 Dentist");
    alice.send("tomorrow Buy milk"); // the validation was forgotten

    let reason = watch.wait();
    assert_eq!(reason.to_string(), "invalid digit found in string");
    assert!(reason.downcast_ref::<ParseIntError>().is_some()); // the error itself, not only its text
    assert!(process::is_alive(&bob));

    process::exit(&bob, ExitReason::Shutdown);
    classes()
}

/// Catches each class of exception.
fn classes() -> Result<(), Box<dyn std::error::Error>> {
    let noon = process::attach(|| {
        let class = |raise: fn()| match attempt(raise).result() {
            Ok(()) => "none",
            Err(Caught::Error(_)) => "error",
            Err(Caught::Exit(_)) => "exit",
            Err(Caught::Throw(_)) => "throw",
            Err(other) => other.resume(), // not handled here: continues as if it had not been caught
        };
        assert_eq!(class(|| panic!("a bug")), "error");
        assert_eq!(class(|| process::exit_with("cannot continue")), "exit");
        assert_eq!(class(|| process::throw(42)), "throw"); // leaves nested calls in one step
        attempt(|| parse("noon Lunch").or_exit())
            .after(|| println!("tidied up"))
            .catch_exit(|_| (0, "no day"))
    })?;
    assert_eq!(noon, (0, "no day"));
    Ok(())
}
