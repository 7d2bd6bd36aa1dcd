//! The tasks of one stream that run just now: takes one in, tells which ended first, ends those that are not to
//! go on. The stream decides what that means; when it is dropped, so is the crew, and nothing runs any more.

use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use crate::gen_server::wait_graph::WaitEdge;
use crate::process::control::local;
use crate::process::control::local::CurrentProcess;
use crate::process::park::timer_thread;
use crate::reason::ExitReason;
use crate::task::handle::{JoinError, Task};

/// In the order of their positions.
pub(crate) struct RunningTasks<T: Send + 'static>(Vec<RunningTask<T>>);

struct RunningTask<T: Send + 'static> {
    /// The how-manieth item it works on.
    position: u64,
    task: Task<T>,
    /// When its time is up, and how long that was.
    time_limit: Option<(Instant, Duration)>,
    /// Why it was killed.
    failure: Option<JoinError>,
}

/// What a crew has to tell.
pub(crate) enum TaskEvent<T> {
    /// The task at this position has ended.
    Finished(u64, Result<T, JoinError>),
    /// The time of the task at this position is up.
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

    /// Waits for the first that ends, or whose time is up. `wanted`: the one without which the calling process
    /// gets no further; otherwise any will do.
    pub(crate) fn wait(&mut self, me: Option<&Rc<CurrentProcess>>, wanted: Option<u64>) -> TaskEvent<T> {
        loop {
            for member in &self.0 {
                member.task.register_parker();
            }
            let wait_edge = match self.add_wait_edge(me, wanted) {
                Ok(wait_edge) => wait_edge,
                Err(deadlocked) => return deadlocked,
            };
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
                // A value that made it before the verdict counts.
                let result = task.take_result().map_err(|error| failure.unwrap_or(error));
                return TaskEvent::Finished(position, result);
            }
            // One that has answered meanwhile was in time, however long it takes to end.
            if let (Some(one), Some((_, timeout))) = (next_due.filter(|one| one.can_time_out()), time_limit) {
                return TaskEvent::TimedOut(one.position, one.task.timeout_error(timeout));
            }
        }
    }

    /// Sets the mark by which wait cycles are found on one of those that get the calling process further; if
    /// they all wait for it, says so of the first.
    fn add_wait_edge<'a>(
        &self,
        me: Option<&'a Rc<CurrentProcess>>,
        wanted: Option<u64>,
    ) -> Result<Option<WaitEdge<'a>>, TaskEvent<T>> {
        let mut deadlocked = None;
        for member in self.0.iter().filter(|one| wanted.is_none_or(|wanted| one.position == wanted)) {
            if member.failure.is_some() || member.task.is_done() {
                return Ok(None);
            }
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

    /// Kills the one at this position; the verdict is what becomes of its item, unless it has a value already.
    pub(crate) fn kill(&mut self, position: u64, failure: JoinError) {
        if let Some(member) = self.0.iter_mut().find(|one| one.position == position) {
            member.failure = Some(failure);
            member.task.unlink_and_exit(&ExitReason::Kill);
        }
    }
}

impl<T: Send + 'static> RunningTask<T> {
    /// Whether its time counts: it has a limit and is still at work.
    fn can_time_out(&self) -> bool {
        self.time_limit.is_some() && self.failure.is_none() && !self.task.is_value_set()
    }
}

/// Kills those that run and waits until they are gone. Not in an unwinding, which must get on; nor if the calling
/// process is told to go meanwhile: a destructor does not unwind, so it ends and lets the next call do so.
impl<T: Send + 'static> Drop for RunningTasks<T> {
    fn drop(&mut self) {
        for member in &self.0 {
            member.task.register_parker();
            member.task.started().unlink_and_exit(&ExitReason::Kill); // also if we are a zombie: nobody else would end it
        }
        let me = local::get();
        let is_exiting = || me.as_ref().is_some_and(|me| me.block.is_exiting());
        let all_exited = || self.0.iter().all(|one| one.task.exit_sequence().is_some());
        if !thread::panicking() {
            local::park_uninterruptible(|| (is_exiting() || all_exited()).then_some(()));
        }
    }
}
