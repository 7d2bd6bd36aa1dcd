//! A private server, used by one client only: each call has exactly one right outcome.

use std::time::{Duration, Instant};

use rethread::StartError;
use rethread::gen_server::CallError;
use rethread::prelude::*;

use crate::client::Client;
use crate::hand::SLACK;
use crate::places::Slot;
use crate::reasons;
use crate::worker::{Ask, Temper, Worker};

impl Client<'_> {
    pub(crate) fn private_server(&mut self) {
        let books = self.books();
        let number = books.private_place();
        let name = format!("{}private {number}", books.prefix());
        let slot = Slot::alone(number, name, Temper::calm(&mut self.hand.dice));
        let server = match Worker::of(&slot, &books).start() {
            Ok(server) => server,
            Err(error @ (StartError::SystemLimit { .. } | StartError::Thread(_))) => {
                return self.hand.no_start(&error);
            }
            Err(error) => return self.breach(format!("a private server did not start: {error}")),
        };
        let pid = server.whereis().unwrap_or(books.exited_pid);
        while process::is_alive(pid) {
            self.ask_exactly(&server, pid, &slot);
        }
        self.gone(pid);
        let after = server.call(|from| Ask::Echo(1, from));
        if !matches!(after, Err(CallError::NoProc { .. })) || slot.server().whereis().is_some() {
            self.breach(format!(
                "{pid} has exited; a call of it: {after:?}, by name: {:?}",
                slot.server().whereis()
            ));
        }
    }

    fn ask_exactly(&mut self, server: &ServerRef<Worker>, pid: Pid, slot: &std::sync::Arc<Slot>) {
        let (n, time, limit) = (self.hand.number(), self.hand.dice.up_to_ms(4), self.hand.dice.up_to_ms(3));
        let (odd, kind) = (ExitReason::new("odd"), self.hand.dice.below(12));
        let last = [odd, reasons::odd_shutdown(), ExitReason::Normal][self.hand.dice.below(3)].clone();
        let leave = last.clone();
        let began = Instant::now();
        let (outcome, right) = match kind {
            0 => {
                let outcome = server.call_timeout(SLACK, Ask::Crash);
                let panicked = |reason: &ExitReason| matches!(reason, ExitReason::Panic(report) if report.message() == "asked to crash");
                let right = matches!(&outcome, Err(CallError::Exited { reason, .. }) if panicked(reason));
                (outcome, right)
            }
            1 => {
                let outcome = server.call_timeout(SLACK, |from| Ask::Leave(leave, from));
                let right = matches!(&outcome, Err(CallError::Exited { reason, .. }) if *reason == last);
                (outcome, right)
            }
            2 => {
                // The watch completes after `terminate`.
                let watch = process::watch(pid);
                let outcome = server.call_timeout(SLACK, |from| Ask::Stop(leave, n, from));
                let right = outcome == Ok(n) && watch.wait_timeout(SLACK) == Some(last);
                (outcome, right)
            }
            3 => {
                let outcome = server.call_timeout(SLACK, Ask::Never);
                let right = matches!(outcome, Err(CallError::NoReply { .. }));
                (outcome, right)
            }
            4..7 => {
                // The reply comes in time, or too late: then it is never delivered.
                let outcome = server.call_timeout(limit, |from| match kind {
                    4 => Ask::Slowly(time, n, from),
                    5 => Ask::Unresponsive(time, n, from),
                    _ => Ask::Later(time, n, from),
                });
                let late = |after: Duration| after == limit && began.elapsed() >= limit;
                let right = outcome == Ok(n)
                    || matches!(outcome, Err(CallError::Timeout { after, .. }) if late(after));
                (outcome, right)
            }
            7..9 => self.kill_meanwhile(server, pid, n, time),
            // It calls itself, is refused, and reports that.
            9 => {
                let itself = std::sync::Arc::clone(slot);
                let outcome = server.call_timeout(SLACK, |from| Ask::Through(itself, n, from));
                let right = outcome == Ok(n);
                (outcome, right)
            }
            _ => {
                let outcome = server.call_timeout(SLACK, |from| Ask::Echo(n, from));
                let right = outcome == Ok(n);
                (outcome, right)
            }
        };
        if !right {
            let took = began.elapsed();
            self.breach(format!("a private call of kind {kind} came to {outcome:?} after {took:?}"));
        }
        if !matches!(kind, 0..3 | 7 | 8) && !process::is_alive(pid) {
            self.breach(format!("{pid} died of a call of kind {kind}"));
        }
        if matches!(kind, 0..3 | 7 | 8) {
            self.gone(pid); // it may still be exiting
        }
    }

    /// Ends the server from another process during the call.
    fn kill_meanwhile(
        &mut self,
        server: &ServerRef<Worker>,
        pid: Pid,
        n: u64,
        time: Duration,
    ) -> (Result<u64, CallError>, bool) {
        let kill = self.hand.dice.one_in(2);
        let (signal, reason) = match kill {
            true => (ExitReason::Kill, ExitReason::Killed),
            false => (ExitReason::new("odd"), ExitReason::new("odd")),
        };
        let before = self.hand.dice.up_to_ms(4);
        let killer = self.helper::<Infallible>(move |_| {
            process::sleep(before);
            process::exit(pid, signal);
        });
        if killer.is_none() {
            process::exit(pid, ExitReason::Kill);
        }
        let outcome = server.call_timeout(SLACK, |from| Ask::Slowly(time, n, from));
        let right = match &outcome {
            Ok(m) => *m == n,
            Err(CallError::Exited { reason: found, .. }) => *found == reason,
            Err(CallError::NoProc { .. }) => true,
            Err(_) => false,
        };
        (outcome, right)
    }
}
