//! Operations that processes and foreign threads can perform alike: calls, casts, kills; each with a check
//! of its outcome.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rethread::StartError;
use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::process::{NameError, SpawnError};

use crate::agents::Known;
use crate::auditor;
use crate::books::Books;
use crate::dice::Dice;
use crate::hostile::Bomb;
use crate::places::Slot;
use crate::plan::Field;
use crate::reasons;
use crate::worker::{Ask, Tell, Worker};

/// The timeout of a call.
const LIMIT: Duration = Duration::from_millis(300);
/// The longest delay that counts as correct on a busy machine.
pub(crate) const SLACK: Duration = Duration::from_secs(40);

pub(crate) struct Hand {
    /// Unique in the round.
    id: u64,
    pub(crate) dice: Dice,
    pub(crate) books: Arc<Books>,
    pub(crate) field: Arc<Field>,
    counter: u64,
    /// What it knows of each agent, by place.
    pub(crate) agents: HashMap<usize, Known>,
}

impl Hand {
    pub(crate) fn new(id: u64, dice: Dice, books: &Arc<Books>, field: &Arc<Field>) -> Self {
        Self {
            id,
            dice,
            books: Arc::clone(books),
            field: Arc::clone(field),
            counter: 0,
            agents: HashMap::new(),
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Returns a number that is unique in the round, and higher than the one before.
    pub(crate) fn number(&mut self) -> u64 {
        self.counter += 1;
        self.id << 32 | self.counter
    }

    /// Returns `true` if this client created the number.
    pub(crate) fn own(&self, number: u64) -> bool {
        number >> 32 == self.id
    }

    pub(crate) fn breach(&self, what: String) {
        self.books.breach(what);
    }

    pub(crate) fn slot(&mut self) -> Arc<Slot> {
        Arc::clone(self.dice.pick(&self.field.slots))
    }

    pub(crate) fn any_server(&mut self) -> ServerRef<Worker> {
        self.slot().server()
    }

    pub(crate) fn call(&mut self) {
        self.books.calls.fetch_add(1, Ordering::Relaxed);
        let (n, server, other) = (self.number(), self.any_server(), self.slot());
        let while_ = self.dice.up_to_ms(30);
        let reasons = [ExitReason::Normal, reasons::odd_shutdown(), ExitReason::new("odd")];
        let reason = self.dice.pick(&reasons).clone();
        let kind = self.dice.below(16);
        // Sometimes a tiny timeout, so that many replies come too late.
        let limit = if self.dice.one_in(4) { self.dice.up_to_ms(3) } else { LIMIT };
        let began = Instant::now();
        let answer = server.call_timeout(limit, |from| match kind {
            0 => Ask::Crash(from),
            1 => Ask::Leave(reason, from),
            2 => Ask::Stop(reason, n, from),
            3 => Ask::Never(from),
            4 => Ask::Slowly(while_, n, from),
            5 => Ask::Unresponsive(while_, n, from),
            6 | 7 => Ask::Later(while_ / 4, n, from),
            8 | 9 => Ask::Through(other, n, from),
            _ => Ask::Echo(n, from),
        });
        let took = began.elapsed();
        match &answer {
            Ok(m) if *m != n => self.breach(format!("asked for {n}, got {m}")),
            Ok(_) if matches!(kind, 0 | 1 | 3) => self.breach(format!("an answer to a call of kind {kind}")),
            Ok(_) | Err(CallError::NoProc { .. }) => {}
            Err(CallError::NoReply { .. }) if kind == 3 => {}
            Err(CallError::Exited { reason, .. }) if reasons::can_be(reason) => {}
            Err(CallError::Timeout { after, .. }) if took >= limit && *after == limit => {}
            // Another client has stolen its name.
            Err(CallError::WrongType { found, .. }) if !found.contains("Worker") => {}
            Err(other) => self.breach(format!("a call of kind {kind} failed after {took:?}: {other}")),
        }
        if took > limit + SLACK {
            self.breach(format!("a call took {took:?}"));
        }
    }

    /// Sends many numbered messages: they arrive in the order sent, or not at all.
    pub(crate) fn flood(&mut self) {
        let server = self.any_server();
        for _ in 0..self.dice.below(40) {
            server.cast(Tell::Numbered(self.id, self.number()));
        }
    }

    pub(crate) fn crash(&mut self) {
        self.any_server().cast(Tell::Crash);
    }

    /// Links two servers anywhere in the tree, so that the exit of one can end the other.
    pub(crate) fn tie(&mut self) {
        if let Some(other) = self.any_server().whereis() {
            self.any_server().cast(Tell::Link(other));
        }
    }

    pub(crate) fn bomb(&mut self) {
        let next = self.slot();
        self.any_server().cast(Tell::Bomb(Bomb::new(&next)));
    }

    /// Kills a server, then sends to it: what the same sender sends after the kill is never handled, and a
    /// call fails with the right error.
    pub(crate) fn kill_and_send(&mut self) {
        let Some(pid) = self.any_server().whereis() else { return };
        process::exit(pid, ExitReason::Kill);
        let server = ServerRef::<Worker>::from_pid(pid);
        server.cast(Tell::AfterKill(pid));
        match self.dice.below(4) {
            0 | 1 => self.exits(pid),
            2 => {
                let n = self.number();
                match server.call_timeout(SLACK, |from| Ask::Echo(n, from)) {
                    Err(CallError::NoProc { .. }) if !process::is_alive(pid) => {}
                    // Another client had stolen its name and was killed in its place.
                    Err(CallError::WrongType { found, .. }) if !found.contains("Worker") => {}
                    other => self.breach(format!("a call of {pid}, killed before by the caller: {other:?}")),
                }
            }
            _ => {}
        }
    }

    /// Checks that a killed process exits.
    pub(crate) fn exits(&self, pid: Pid) {
        match process::watch(pid).wait_timeout(SLACK) {
            Some(reason) if reasons::can_be(&reason) => {}
            Some(reason) => self.breach(format!("{pid} was killed and ended with {reason}")),
            None => self.breach(format!("{pid} does not exit")),
        }
    }

    /// Kills a supervisor, seldom the top one.
    pub(crate) fn kill_supervisor(&mut self) {
        let supervisors = &self.field.supervisors;
        let at = self.dice.below(supervisors.len());
        if at > 0 || self.dice.one_in(8) {
            if let Some(pid) = process::whereis(&supervisors[at]) {
                self.books.kill_supervisor(pid);
                process::exit(pid, ExitReason::Kill);
            }
        }
    }

    /// Ends the holder of a name or key outside the tree, and starts another under it at once: it must not
    /// start before the cleanup of the first completes.
    pub(crate) fn take_over(&mut self) {
        let slot = Arc::clone(self.dice.pick(&self.field.free));
        if let Some(pid) = slot.server().whereis() {
            process::exit(pid, ExitReason::Kill);
        }
        match Worker::of(&slot, &self.books).start() {
            Ok(_) => {}
            Err(StartError::AlreadyStarted(other)) if Some(other) != process::current() => {}
            Err(error) => self.no_start(&error),
        }
    }

    /// Checks the error of a server start whose name may be held by another process.
    pub(crate) fn no_start(&self, error: &StartError) {
        match error {
            StartError::SystemLimit { limit } => self.books.refused(*limit),
            // It was killed by another client before it started.
            StartError::Name(NameError::NoProc) => {}
            StartError::Ignored | StartError::Timeout { .. } | StartError::Thread(_) => {}
            StartError::Failed(reason) if reasons::can_be(reason) => {}
            other => self.breach(format!("a start failed: {other}")),
        }
    }

    /// Checks the error of a supervisor start that failed although its children need little.
    pub(crate) fn no_system(&self, error: &StartError) {
        if !auditor::no_room(&self.books, error) {
            self.breach(format!("a system did not start: {error}"));
        }
    }

    /// Checks the error of a spawn.
    pub(crate) fn no_spawn(&self, error: &SpawnError) {
        match error {
            SpawnError::SystemLimit { limit } => self.books.refused(*limit),
            SpawnError::Thread(_) => {}
            other => self.breach(format!("a spawn failed: {other}")),
        }
    }
}
