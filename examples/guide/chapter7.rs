//! Chapter 7, "Observe": the running processes can be inspected from any thread.

use crate::chapter6::{LISTS, System, add, list};
use rethread::observer;
use rethread::prelude::*;
use rethread::process::ProcessState;
use rethread::supervisor::Supervise;

pub fn run() -> Result<(), Box<dyn std::error::Error>> {
    let system = System::start_link(())?;
    let alice = list("alice")?;
    add(&alice, "20261122 Dentist")?;

    for info in process::processes() {
        println!("{info}");
    }
    let info = process::info(alice.whereis().ok_or("not running")?).ok_or("not running")?;
    assert_eq!(info.label.as_deref(), Some("alice"));
    assert_eq!(Some(info.links[0]), LISTS.whereis()); // exits with it: its supervisor only
    assert_eq!((info.links.len(), info.message_queue_len, info.waiting_on), (1, 0, None));
    assert!(matches!(info.state, ProcessState::Running | ProcessState::Waiting));
    assert!(process::zombies().is_empty()); // threads that do not end: chapter 8

    let snapshot = observer::snapshot();
    println!("{snapshot}");
    let alice = snapshot.find("alice").ok_or("not running")?;
    assert_eq!(alice.parent(), LISTS.whereis());
    system.stop()?;
    Ok(())
}
