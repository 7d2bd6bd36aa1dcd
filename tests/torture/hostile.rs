//! Destructors that use the runtime: of a server's state while it exits, and of messages, which also panic.

use std::sync::Arc;
use std::time::Duration;

use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::process::{LinkError, NameError, SpawnError};

use crate::books::Books;
use crate::dice::Dice;
use crate::keys::{ROOMS, TOPICS};
use crate::places::Slot;
use crate::worker::{Ask, Tell};

/// Runs in an exiting process: performs what is allowed there, and checks that the rest is refused.
pub(crate) fn act_while_exiting(dice: &mut Dice, books: &Books, slot: &Arc<Slot>) {
    let refused = match dice.below(9) {
        0 => matches!(process::spawn(|| ()), Err(SpawnError::Exiting)),
        1 => ROOMS.register(2000, 0) == Err(NameError::Exiting),
        2 => TOPICS.register(0, 0) == Err(NameError::Exiting),
        3 => match slot.server().call(|from| Ask::Echo(1, from)) {
            Err(error) => error == CallError::Exiting,
            Ok(_) => false,
        },
        4 => process::current().is_none_or(|me| process::register("torture last words", me).is_err()),
        5 => matches!(task::spawn(|| ()), Err(SpawnError::Exiting)),
        6 => {
            slot.server().cast(Tell::Crash); // to the successor
            true
        }
        7 => {
            let _ = process::watch(slot.server().whereis().unwrap_or(books.exited_pid))
                .wait_timeout(Duration::ZERO);
            process::sleep(Duration::from_secs(60)); // returns at once
            true
        }
        _ => matches!(process::link(books.exited_pid), Err(LinkError::Exiting)),
    };
    if !refused {
        books.breach(format!("{} could do in a destructor what is refused there", slot.name));
    }
}

/// A message whose destructor uses the runtime and then panics, unless it runs in the process that created
/// it.
pub(crate) struct Bomb {
    maker: Option<Pid>,
    next: Arc<Slot>,
}

impl Bomb {
    pub(crate) fn new(next: &Arc<Slot>) -> Self {
        Self { maker: process::current(), next: Arc::clone(next) }
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        if process::current() == self.maker || process::current().is_none() {
            return;
        }
        let server = self.next.server();
        self.maker.into_iter().for_each(|maker| server.cast(Tell::AfterKill(maker)));
        let _ = server.whereis();
        if !std::thread::panicking() {
            panic!("a bomb");
        }
    }
}
