//! Who torments the system: one random thing after the other, each with what must come of it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rethread::prelude::*;
use rethread::process::{Address, Event, Inbox, SpawnError};

use crate::books::Books;
use crate::dice::Dice;
use crate::plan::Slot;
use crate::worker::{Ask, Tell, Worker};

/// How long a call may take.
const LIMIT: Duration = Duration::from_millis(300);
/// What nobody may be late by, on a machine that is busy with other things.
const SLACK: Duration = Duration::from_secs(20);

struct Client<'a> {
    inbox: &'a mut Inbox<u64>,
    dice: Dice,
    books: Arc<Books>,
    slots: Arc<Vec<Arc<Slot>>>,
    free: Arc<Vec<Arc<Slot>>>,
    /// Monitors that have fired, or were removed: nothing may come of them any more.
    over: HashSet<MonitorRef>,
    counter: u64,
}

/// A client that does a few hundred things.
pub(crate) fn start(
    mut dice: Dice,
    books: &Arc<Books>,
    slots: Arc<Vec<Arc<Slot>>>,
    free: Arc<Vec<Arc<Slot>>>,
) -> Result<Address<u64>, SpawnError> {
    let books = Arc::clone(books);
    let times = 50 + dice.below(300);
    process::Builder::new().label(format!("{}client", books.prefix())).spawn(move |inbox| {
        process::trap_exit(true);
        let mut client = Client { inbox, dice, books, slots, free, over: HashSet::new(), counter: 0 };
        for _ in 0..times {
            client.torment();
        }
    })
}

impl Client<'_> {
    fn torment(&mut self) {
        match self.dice.below(27) {
            0..8 => self.call(),
            8..11 => self.flood(),
            11 => self.someone().cast(Tell::Crash),
            12 | 13 => self.kill_and_send(),
            14 | 15 => self.monitor(),
            16 => self.demonitor(),
            17 | 18 => self.unlink(),
            19 | 20 => self.timer(),
            21 => self.tie(),
            22 => self.look(),
            23..26 => self.take_over(),
            _ => process::sleep(self.dice.up_to_ms(3)),
        }
    }

    fn someone(&mut self) -> ServerRef<Worker> {
        self.dice.pick(&self.slots).server()
    }

    fn breach(&self, what: String) {
        self.books.breach(what);
    }

    fn call(&mut self) {
        self.books.calls.fetch_add(1, Ordering::Relaxed);
        self.counter += 1;
        let n = self.counter;
        let server = self.someone();
        let while_ = self.dice.up_to_ms(30);
        let other = Arc::clone(self.dice.pick(&self.slots));
        let reason =
            self.dice.pick(&[ExitReason::Normal, ExitReason::Shutdown, ExitReason::new("odd")]).clone();
        let kind = self.dice.below(16);
        let began = Instant::now();
        let answer = server.call_timeout(LIMIT, |from| match kind {
            0 => Ask::Crash(from),
            1 => Ask::Leave(reason, from),
            2 => Ask::Stop(reason, n, from),
            3 => Ask::Never(from),
            4 => Ask::Slowly(while_, n, from),
            5 => Ask::Deaf(while_, n, from),
            6 | 7 => Ask::Later(while_ / 4, n, from),
            8 | 9 => Ask::Through(other, n, from),
            _ => Ask::Echo(n, from),
        });
        let took = began.elapsed();
        match &answer {
            Ok(m) if *m != n => self.breach(format!("asked for {n}, got {m}")),
            Ok(_) if matches!(kind, 0 | 1 | 3) => self.breach(format!("an answer to a call of kind {kind}")),
            Ok(_) | Err(CallError::NoProc { .. } | CallError::Exited { .. }) => {}
            Err(CallError::NoReply { .. }) if kind == 3 => {}
            // Dropped with what was deferred, or with the state.
            Err(CallError::NoReply { .. }) => {}
            Err(CallError::Timeout { .. }) if took >= LIMIT => {}
            Err(other) => self.breach(format!("a call of kind {kind} failed after {took:?}: {other}")),
        }
        if took > LIMIT + SLACK {
            self.breach(format!("a call took {took:?}"));
        }
    }

    /// Messages arrive in the order sent, or not at all.
    fn flood(&mut self) {
        let (server, me) = (self.someone(), self.inbox.pid());
        for _ in 0..self.dice.below(40) {
            self.counter += 1;
            server.cast(Tell::Numbered(me, self.counter));
        }
    }

    /// Ends whoever has a name outside of the tree, and starts another under it at once: it must not begin before the
    /// first is buried.
    fn take_over(&mut self) {
        let slot = Arc::clone(self.dice.pick(&self.free));
        if let Some(pid) = slot.server().whereis() {
            process::exit(pid, ExitReason::Kill);
        }
        match Worker::of(&slot, &self.books).start() {
            Ok(_) => {}
            Err(StartError::AlreadyStarted(other)) if Some(other) != process::current() => {}
            // It failed by itself, was killed by another client, or there is no room.
            Err(StartError::Failed(_) | StartError::SystemLimit { .. }) => {}
            Err(other) => self.breach(format!("a start under a name that was freed: {other}")),
        }
    }

    /// What is sent after a kill, by the one who killed, is never handled.
    fn kill_and_send(&mut self) {
        if let Some(pid) = self.someone().whereis() {
            process::exit(pid, ExitReason::Kill);
            ServerRef::<Worker>::from_pid(pid).cast(Tell::AfterYourDeath(pid));
            if self.dice.one_in(2) {
                let watch = process::watch(pid);
                if watch.wait_timeout(SLACK).is_none() {
                    self.breach(format!("{pid} does not die"));
                }
            }
        }
    }

    fn monitor(&mut self) {
        let Some(pid) = self.someone().whereis() else { return };
        let monitor = process::monitor(pid);
        let reason =
            self.dice.pick(&[ExitReason::Kill, ExitReason::new("monitored"), ExitReason::Shutdown]).clone();
        process::exit(pid, reason.clone());
        let mine =
            |event: &Event<u64>| matches!(event, Event::Down { monitor: fired, .. } if *fired == monitor);
        // Who traps exits may go on.
        let limit = if reason == ExitReason::Kill { SLACK } else { Duration::from_millis(5) };
        match self.inbox.recv_where_timeout(limit, mine) {
            Some(_) => {
                if self.inbox.recv_where_timeout(Duration::ZERO, mine).is_some() {
                    self.breach(format!("two Downs for one monitor of {pid}"));
                }
            }
            None if reason == ExitReason::Kill => self.breach(format!("no Down for {pid}, which was killed")),
            None => drop(process::demonitor_flush(monitor)),
        }
        self.over.insert(monitor);
    }

    fn demonitor(&mut self) {
        let Some(pid) = self.someone().whereis() else { return };
        let monitor = process::monitor(pid);
        if self.dice.one_in(2) {
            process::exit(pid, ExitReason::Kill);
        }
        process::demonitor_flush(monitor);
        self.over.insert(monitor);
    }

    /// After an unlink nothing comes of that link.
    fn unlink(&mut self) {
        let Some(pid) = self.someone().whereis() else { return };
        if process::link(pid).is_err() {
            return;
        }
        let doomed = self.dice.one_in(2);
        if doomed {
            process::exit(pid, ExitReason::Kill);
        }
        process::unlink(pid);
        let from_it = |event: &Event<u64>| matches!(event, Event::Exit { from, .. } if *from == pid);
        // What was in the mailbox before stays there.
        while self.inbox.recv_where_timeout(Duration::ZERO, from_it).is_some() {}
        process::exit(pid, ExitReason::Kill);
        if process::watch(pid).wait_timeout(SLACK).is_none() {
            self.breach(format!("{pid} does not die"));
        }
        if self.inbox.recv_where_timeout(Duration::ZERO, from_it).is_some() {
            self.breach(format!("an Exit of {pid} after the unlink"));
        }
    }

    fn timer(&mut self) {
        self.counter += 1;
        let n = self.counter;
        let timer = process::send_after(self.dice.up_to_ms(4), &self.inbox.address(), n);
        process::sleep(self.dice.up_to_ms(4));
        let cancelled = process::cancel_timer(timer).is_some();
        let mine = |event: &Event<u64>| matches!(event, Event::Message(m) if *m == n);
        let limit = if cancelled { Duration::ZERO } else { SLACK };
        let fired = self.inbox.recv_where_timeout(limit, mine).is_some();
        if fired == cancelled {
            self.breach(format!("a timer was cancelled: {cancelled}, and fired: {fired}"));
        }
        if self.inbox.recv_where_timeout(Duration::ZERO, mine).is_some() {
            self.breach("a timer fired twice".into());
        }
    }

    /// Links two servers: one may take the other along.
    fn tie(&mut self) {
        if let Some(other) = self.someone().whereis() {
            self.someone().cast(Tell::Link(other));
        }
    }

    /// Reads what has come and is nothing that was waited for.
    fn look(&mut self) {
        while let Some(event) = self.inbox.recv_timeout(Duration::ZERO) {
            match event {
                Event::Down { monitor, target, .. } if self.over.contains(&monitor) => {
                    self.breach(format!("a Down of {target} of a monitor that is over"));
                }
                Event::Message(n) => self.breach(format!("the timer {n} fired late, or twice")),
                Event::Down { .. } | Event::Exit { .. } => {}
            }
        }
    }
}
