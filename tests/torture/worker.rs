//! A server that performs the requests of clients, and often fails at it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::time::Duration;

use rethread::gen_server::ServerSpec;
use rethread::prelude::*;
use rethread::process::Builder;
use rethread::supervisor::Shutdown;

use crate::books::Books;
use crate::dice::Dice;
use crate::hostile::{self, Bomb};
use crate::places::Slot;

/// The failure rates of the servers of one place: one in N; zero means never.
#[derive(Debug, Clone)]
pub(crate) struct Temper {
    dice: Dice,
    fails_to_start: usize,
    hangs_in_init: usize,
    crashes_in_terminate: usize,
    crashes_in_drop: usize,
    traps: bool,
}

impl Temper {
    pub(crate) fn draw(dice: &mut Dice, size: usize) -> Self {
        // In a big tree one early failure would end the whole tree.
        let rare = 1 + size / 100;
        Self {
            dice: dice.fork(),
            fails_to_start: *dice.pick(&[0, 0, 0, 50, 500]) * rare,
            hangs_in_init: *dice.pick(&[0, 0, 0, 0, 0, 0, 0, 200]) * rare,
            crashes_in_terminate: *dice.pick(&[0, 0, 4]),
            crashes_in_drop: *dice.pick(&[0, 0, 0, 4]),
            traps: dice.one_in(3),
        }
    }

    /// Returns rates of zero.
    pub(crate) fn calm(dice: &mut Dice) -> Self {
        Self {
            dice: dice.fork(),
            fails_to_start: 0,
            hangs_in_init: 0,
            crashes_in_terminate: 0,
            crashes_in_drop: 0,
            traps: false,
        }
    }

    /// Returns the random numbers of this incarnation.
    pub(crate) fn fate(&self, books: &Books) -> Dice {
        let mut dice = self.dice.clone();
        for _ in 0..books.starts.load(Ordering::Relaxed) % 64 {
            dice = dice.fork();
        }
        dice
    }

    /// Returns `true` if a start is to fail.
    pub(crate) fn fails(&self, dice: &mut Dice) -> bool {
        self.fails_to_start > 0 && dice.one_in(self.fails_to_start)
    }
}

pub(crate) struct Worker {
    slot: Arc<Slot>,
    books: Arc<Books>,
    pid: Pid,
    dice: Dice,
    deferred: HashMap<u64, Caller<u64>>,
    /// The last number received from each client.
    received: HashMap<u64, u64>,
}

/// The calls of the server.
pub(crate) enum Ask {
    Echo(u64, Caller<u64>),
    /// Replies after an interruptible pause.
    Slowly(Duration, u64, Caller<u64>),
    /// Replies after an uninterruptible pause.
    Unresponsive(Duration, u64, Caller<u64>),
    /// Replies from a later message.
    Later(Duration, u64, Caller<u64>),
    /// Calls another server first.
    Through(Arc<Slot>, u64, Caller<u64>),
    Never(Caller<u64>),
    Crash(Caller<u64>),
    Leave(ExitReason, Caller<u64>),
    Stop(ExitReason, u64, Caller<u64>),
}

pub(crate) enum Tell {
    Crash,
    Deferred(u64),
    /// Sent by the process that has killed this very process before.
    AfterKill(Pid),
    Link(Pid),
    /// Numbered by each client across all targets.
    Numbered(u64, u64),
    Bomb(#[expect(dead_code, reason = "its destructor is what it is for")] Bomb),
}

impl Worker {
    /// Returns the spec for the server of a place.
    pub(crate) fn of(slot: &Arc<Slot>, books: &Arc<Books>) -> ServerSpec<Self> {
        let spec = Self::child_spec((Arc::clone(slot), Arc::clone(books)))
            .id(slot.name.as_str())
            .label(slot.name.as_str())
            .name(slot.server())
            .shutdown(Shutdown::Timeout(Duration::from_millis(200)))
            .process(Builder::new().kill_grace(Duration::from_millis(10)));
        match slot.temper.hangs_in_init {
            0 => spec,
            _ => spec.start_timeout(Duration::from_millis(100)),
        }
    }
}

impl GenServer for Worker {
    type Args = (Arc<Slot>, Arc<Books>);
    type Call = Ask;
    type Cast = Tell;

    fn init((slot, books): Self::Args, cx: &mut Context<Self>) -> Result<Self, InitError> {
        let above = books.begins(&slot, cx.pid());
        let mut dice = slot.temper.fate(&books);
        cx.trap_exit(slot.temper.traps);
        if slot.temper.fails(&mut dice) {
            match dice.below(4) {
                0 => panic!("no start"),
                1 => process::exit_with("no start"),
                2 => return Err(InitError::Ignore),
                _ => return Err(InitError::stop("no start")),
            }
        }
        let n = slot.temper.hangs_in_init;
        if n > 0 && dice.one_in(n) {
            process::sleep(Duration::from_secs(1)); // its start timeout ends it, if its starter runs that long
        }
        books.enters(&slot, cx.pid(), above);
        Ok(Self { slot, books, pid: cx.pid(), dice, deferred: HashMap::new(), received: HashMap::new() })
    }

    fn handle_call(&mut self, ask: Ask, cx: &mut Context<Self>) -> Next {
        match ask {
            Ask::Echo(n, from) => from.reply(n),
            Ask::Slowly(time, n, from) => {
                process::sleep(time);
                from.reply(n)
            }
            Ask::Unresponsive(time, n, from) => {
                let (_sender, nothing) = channel::<Infallible>();
                let _ = nothing.recv_timeout(time);
                from.reply(n)
            }
            Ask::Later(time, n, from) => {
                cx.send_after(time, Tell::Deferred(n));
                self.deferred.insert(n, from);
                Next::wait()
            }
            Ask::Through(other, n, from) => {
                // Failures in there do not concern the caller.
                let answer =
                    other.server().call_timeout(Duration::from_millis(50), |from| Ask::Echo(n, from));
                from.reply(answer.unwrap_or(n))
            }
            Ask::Never(from) => {
                drop(from);
                Next::wait()
            }
            Ask::Crash(_from) => panic!("asked to crash"),
            Ask::Leave(reason, _from) => process::exit_with(reason),
            Ask::Stop(reason, n, from) => from.reply(n).and_stop(reason),
        }
    }

    fn handle_cast(&mut self, tx: Tell, _: &mut Context<Self>) -> Next {
        match tx {
            Tell::Crash => panic!("crash on request"),
            Tell::Deferred(n) => {
                if let Some(from) = self.deferred.remove(&n) {
                    from.reply_now(n);
                }
            }
            Tell::AfterKill(pid) if pid == self.pid => {
                self.books.breach(format!("{pid} handles a message that was sent to it after it was killed"));
            }
            Tell::AfterKill(_) => {}
            Tell::Link(other) => {
                self.books.tie(self.pid, other);
                let _ = process::link(other);
            }
            Tell::Numbered(client, n) => {
                let last = self.received.insert(client, n).unwrap_or(0);
                if last >= n {
                    self.books.breach(format!("{} got {n} of {client} after {last}", self.pid));
                }
            }
            Tell::Bomb(_) => {}
        }
        Next::wait()
    }

    fn handle_info(&mut self, _: Info, _: &mut Context<Self>) -> Next {
        Next::wait()
    }

    fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
        let n = self.slot.temper.crashes_in_terminate;
        if n > 0 && self.dice.one_in(n) {
            panic!("in terminate");
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.dice.one_in(3) {
            hostile::act_while_exiting(&mut self.dice, &self.books, &self.slot);
        }
        self.books.leaves(&self.slot, self.pid);
        let n = self.slot.temper.crashes_in_drop;
        if n > 0 && self.dice.one_in(n) && !std::thread::panicking() {
            panic!("in a destructor");
        }
    }
}
