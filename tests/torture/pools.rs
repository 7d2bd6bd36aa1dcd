//! Dynamic supervisors, task supervisors and tasks: limits are kept, a terminated child has exited, each
//! task yields its own value or its own exit reason.

use std::sync::Arc;
use std::time::Duration;

use rethread::StartError;
use rethread::prelude::*;
use rethread::process::Event;
use rethread::supervisor::ChildError;
use rethread::supervisor::Shutdown;
use rethread::task::JoinError;

use crate::client::Client;
use crate::hand::SLACK;
use crate::plan::Pool;
use crate::reasons;
use crate::worker::Worker;

/// Returns `true` if it has exited, and is not just exiting.
pub(crate) fn gone(pid: Pid) -> bool {
    process::watch(pid).wait_timeout(Duration::ZERO).is_some()
}

/// Returns `true` if a task of this kind can exit with this reason.
fn true_end(kind: usize, reason: &ExitReason) -> bool {
    match (kind, reason) {
        (0, ExitReason::Panic(report)) => report.message() == "asked to crash",
        (1, reason) => *reason == ExitReason::new("odd"),
        (2, ExitReason::Killed) => true,
        _ => false,
    }
}

impl Client<'_> {
    fn pool(&mut self, of_tasks: bool) -> Option<Arc<Pool>> {
        let field = Arc::clone(&self.hand.field);
        let pools: Vec<_> =
            field.pools.iter().filter(|pool| pool.slots.is_empty() == of_tasks).cloned().collect();
        (!pools.is_empty()).then(|| Arc::clone(self.hand.dice.pick(&pools)))
    }

    /// Starts a server under a dynamic supervisor, or terminates one.
    pub(crate) fn bring_a_child(&mut self) {
        let Some(pool) = self.pool(false) else { return };
        let supervisor = pool.servers();
        let slot = Arc::clone(self.hand.dice.pick(&pool.slots));
        let restart = *self.hand.dice.pick(&[
            Restart::Permanent,
            Restart::Permanent,
            Restart::Transient,
            Restart::Temporary,
        ]);
        match supervisor.start_child(Worker::of(&slot, &self.hand.books).restart(restart)) {
            Ok(pid) if self.hand.dice.one_in(3) => match supervisor.terminate_child(pid) {
                Ok(()) if !gone(pid) => self.breach(format!("{pid} was ended, and is not gone")),
                Ok(()) | Err(ChildError::NotFound | ChildError::NoSupervisor(_)) => {}
                Err(error) => self.breach(format!("a child was not ended: {error}")),
            },
            Ok(_)
            | Err(StartError::Ignored | StartError::AlreadyStarted(_) | StartError::NoSupervisor(_)) => {}
            Err(StartError::MaxChildren { limit }) if limit == pool.most => {}
            Err(error) => self.hand.no_start(&error),
        }
        if let Ok(count) = supervisor.count_children() {
            if count.specs > pool.most || count.active > count.specs {
                self.breach(format!("{} may have {} children and has {count:?}", pool.name, pool.most));
            }
        }
    }

    /// Runs a linked task: it yields its value or its true exit reason, once, and at most one `Exit`.
    pub(crate) fn task(&mut self) {
        let (n, kind, time) = (self.hand.number(), self.hand.dice.below(5), self.hand.dice.up_to_ms(3));
        let work = move || {
            process::sleep(time);
            match kind {
                0 => panic!("asked to crash"),
                1 => process::exit_with("odd"),
                _ => n,
            }
        };
        let mut task = match task::spawn(work) {
            Ok(task) => task,
            Err(error) => return self.hand.no_spawn(&error),
        };
        let pid = task.pid();
        // Kind 2 is killed, in addition to the ways to end above.
        if kind == 2 {
            process::exit(pid, ExitReason::Kill);
        }
        if self.hand.dice.one_in(3) {
            let result = task.shutdown(Shutdown::BrutalKill);
            let right = match &result {
                None => true,
                Some(Err(JoinError::Exited { reason, .. })) => true_end(kind, reason),
                Some(Ok(m)) => *m == n,
                Some(Err(_)) => false,
            };
            if !right || !gone(pid) {
                self.breach(format!("the task {n} was ended: {result:?}"));
            }
        } else {
            let result = task.join_timeout(SLACK);
            let right = match (&result, kind) {
                (Err(JoinError::Exited { reason, .. }), _) => true_end(kind, reason),
                (Ok(m), 2..) => *m == n,
                _ => false,
            };
            if !right {
                self.breach(format!("the task {n} of kind {kind} came to {result:?}"));
            }
            process::watch(pid).wait_timeout(SLACK);
        }
        // The link may add one `Exit`, and not two.
        let exits = self.take(|event| matches!(event, Event::Exit { from, .. } if *from == pid));
        if exits.len() > 1 {
            self.breach(format!("a task ended more than once: {exits:?}"));
        }
    }

    /// Runs a supervised task without a link: it yields its value or exit reason, and no message.
    pub(crate) fn pooled_task(&mut self) {
        let Some(pool) = self.pool(true) else { return };
        let (n, crash, time) = (self.hand.number(), self.hand.dice.one_in(4), self.hand.dice.up_to_ms(3));
        let (supervisor, limit) = (pool.tasks(), self.hand.dice.up_to_ms(6));
        let task = supervisor.spawn_nolink(move || {
            process::sleep(time);
            if crash {
                panic!("asked to crash");
            }
            n
        });
        let mut task = match task {
            Ok(task) => task,
            Err(StartError::NoSupervisor(_)) => return,
            Err(StartError::MaxChildren { limit }) if limit == pool.most => return,
            Err(error) => return self.hand.no_start(&error),
        };
        let pid = task.pid();
        if self.hand.dice.one_in(4) {
            match supervisor.terminate_child(pid) {
                Ok(()) if process::is_alive(pid) => {
                    self.breach(format!("the task {pid} was ended, and lives"))
                }
                _ => {}
            }
        }
        match task.yield_timeout(limit) {
            Some(Ok(m)) if m == n && !crash => {}
            // Its supervisor was killed, or stopped it.
            Some(Err(JoinError::Exited { reason, .. })) if reasons::can_be(&reason) => {}
            None => drop(task),
            other => self.breach(format!("the supervised task {n}, crashing: {crash}, came to {other:?}")),
        }
        if !self.take(|event| matches!(event, Event::Exit { from, .. } if *from == pid)).is_empty() {
            self.breach(format!("an Exit of the task {pid}, which was never linked"));
        }
    }

    /// Runs many tasks at a time: as many results as items, in order.
    pub(crate) fn stream(&mut self) {
        let count = self.hand.dice.below(12) as u64;
        let most = 1 + self.hand.dice.below(4);
        let results: Vec<_> = task::stream(0..count, |n| n * 2).max_concurrency(most).collect();
        let right = |(n, result): (usize, &Result<u64, JoinError>)| match result {
            Ok(double) => *double == n as u64 * 2,
            Err(JoinError::NotStarted(StartError::SystemLimit { limit })) => {
                self.hand.books.refused(*limit);
                true
            }
            Err(error) => matches!(error, JoinError::NotStarted(_)),
        };
        if results.len() as u64 != count || !results.iter().enumerate().all(right) {
            self.breach(format!("a stream of {count} came to {results:?}"));
        }
    }
}
