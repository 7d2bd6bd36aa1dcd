//! The running tasks of one stream: waits for the first that exits or times out, and kills tasks. What an
//! exit or a timeout means for the stream is decided in `stream`. Dropping the set kills its tasks and waits
//! for their exits.

use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use crate::gen_server::wait_graph::WaitEdge;
use crate::process::control::local;
use crate::process::control::local::CurrentProcess;
use crate::process::park::timer_thread;
use crate::reason::ExitReason;
use crate::task::handle::{JoinError, Task};

/// The running tasks, in the order of their positions.
pub(crate) struct RunningTasks<T: Send + 'static>(Vec<RunningTask<T>>);

struct RunningTask<T: Send + 'static> {
    /// The position of its item in the input of the stream, from 0.
    position: u64,
    task: Task<T>,
    /// Its deadline, and the timeout from which that was computed.
    time_limit: Option<(Instant, Duration)>,
    /// Why the stream killed it; becomes its result.
    failure: Option<JoinError>,
}

/// What [`RunningTasks::wait`] found.
pub(crate) enum TaskEvent<T> {
    /// The task at this position has exited.
    Finished(u64, Result<T, JoinError>),
    /// The task at this position has exceeded its timeout.
    TimedOut(u64, JoinError),
    /// The task at this position waits for the calling process, which waits for it.
    Deadlocked(u64, JoinError),
}

impl<T: Send + 'static> RunningTasks<T> {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn add(&mut self, position: u64, task: Task<T>, timeout: Option<Duration>) {
        let time_limit = timeout.map(|timeout| (timer_thread::deadline_after(timeout), timeout));
        self.0.push(RunningTask { position, task, time_limit, failure: None });
    }

    /// Waits until a task has exited or timed out. `required` is the position of the task that the calling
    /// process needs next (in an ordered stream); `None` if any task will do.
    pub(crate) fn wait(&mut self, me: Option<&Rc<CurrentProcess>>, required: Option<u64>) -> TaskEvent<T> {
        loop {
            // Register before polling: an exit after the registration wakes this thread, one before it is
            // found by the first poll. The other order would lose an exit in between.
            for member in &self.0 {
                member.task.register_parker();
            }
            // Check for wait cycles.
            let wait_edge = match self.add_wait_edge(me, required) {
                Ok(wait_edge) => wait_edge,
                Err(deadlocked) => return deadlocked,
            };
            // Wait for the first exit, at most until the earliest deadline. Of several exits the earliest is
            // returned.
            let next_due = self.0.iter().filter(|one| one.can_time_out()).min_by_key(|one| one.time_limit);
            let time_limit = next_due.and_then(|one| one.time_limit);
            let poll = || {
                let exited =
                    self.0.iter().enumerate().filter_map(|(at, one)| Some((one.task.exit_sequence()?, at)));
                exited.min().map(|(_, at)| at)
            };
            let finished = local::wait(time_limit.map(|(at, _)| at), poll);
            drop(wait_edge);
            if let Some(at) = finished {
                let RunningTask { position, mut task, failure, .. } = self.0.remove(at);
                // A value that the task stored before it was killed takes precedence over the reason of the
                // kill.
                let result = task.take_result().map_err(|error| failure.unwrap_or(error));
                return TaskEvent::Finished(position, result);
            }
            // The deadline has passed. A task that has stored its value since the poll was in time, however
            // long its exit takes: then wait for the next one.
            if let (Some(one), Some((_, timeout))) = (next_due.filter(|one| one.can_time_out()), time_limit) {
                return TaskEvent::TimedOut(one.position, one.task.timeout_error(timeout));
            }
        }
    }

    /// Adds an edge to the wait-for graph, from the calling process to one of the tasks that it needs. If all
    /// of these wait for the calling process, returns `Deadlocked` for the first of them.
    fn add_wait_edge<'a>(
        &self,
        me: Option<&'a Rc<CurrentProcess>>,
        required: Option<u64>,
    ) -> Result<Option<WaitEdge<'a>>, TaskEvent<T>> {
        let mut deadlocked = None;
        for member in self.0.iter().filter(|one| required.is_none_or(|required| one.position == required)) {
            // A task that has finished or was killed will exit: there is no deadlock, and no edge is needed.
            if member.failure.is_some() || member.task.is_done() {
                return Ok(None);
            }
            // One task that does not wait for the caller is enough: its exit ends the wait.
            match WaitEdge::try_add(me, member.task.block()) {
                Ok(wait_edge) => return Ok(Some(wait_edge)),
                Err(cycle) => {
                    deadlocked = deadlocked
                        .or(Some(TaskEvent::Deadlocked(member.position, JoinError::Deadlock { cycle })));
                }
            }
        }
        deadlocked.map_or(Ok(None), Err)
    }

    /// Kills the task at this position. `failure` becomes its result, unless it has stored a value already.
    pub(crate) fn kill(&mut self, position: u64, failure: JoinError) {
        if let Some(member) = self.0.iter_mut().find(|one| one.position == position) {
            member.failure = Some(failure);
            member.task.unlink_and_exit(&ExitReason::Kill);
        }
    }
}

impl<T: Send + 'static> RunningTask<T> {
    /// Returns `true` if the task has a timeout and is still computing.
    fn can_time_out(&self) -> bool {
        self.time_limit.is_some() && self.failure.is_none() && !self.task.is_value_set()
    }
}

/// Kills the running tasks and waits for their exits. It does not wait while the thread is unwinding, which
/// must not be delayed, and stops waiting when the calling process receives an exit signal: a destructor must
/// not unwind, so it returns and lets the next runtime call exit.
impl<T: Send + 'static> Drop for RunningTasks<T> {
    fn drop(&mut self) {
        for member in &self.0 {
            member.task.register_parker();
            // Directly on `started`, so that it is also done if the owner is a zombie: no other code would
            // kill the task.
            member.task.started().unlink_and_exit(&ExitReason::Kill);
        }
        // All signals are sent before the first wait, so that the tasks exit at the same time.
        let me = local::get();
        let is_exiting = || me.as_ref().is_some_and(|me| me.block.is_exiting());
        let all_exited = || self.0.iter().all(|one| one.task.exit_sequence().is_some());
        if !thread::panicking() {
            local::park_uninterruptible(|| (is_exiting() || all_exited()).then_some(()));
        }
    }
}
