//! Waiting for several tasks at once, within one time. User code calls it.

use std::time::Duration;

use crate::gen_server::wait_graph::WaitEdge;
use crate::process::control::local;
use crate::process::park::timer_thread;
use crate::task::error::JoinError;
use crate::task::handle::{Task, enter_task_call};

/// Several at once.
impl<T: Send + 'static> Task<T> {
    /// Waits for the values of all, as long as it takes, and returns them in the order of the tasks: Elixir's
    /// `await_many`.
    ///
    /// # Errors
    /// As [`join`](Self::join): of the first that fails, in time, as soon as it does. The others are let go: they
    /// run on, still linked, and their values are lost.
    ///
    /// ```
    /// use rethread::Task;
    ///
    /// let tasks = ["one", "three"].map(|text| Task::spawn(move || text.len()));
    /// let tasks: Vec<_> = tasks.into_iter().collect::<Result<_, _>>()?;
    /// assert_eq!(Task::join_many(tasks)?, [3, 5]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join_many(tasks: impl IntoIterator<Item = Self>) -> Result<Vec<T>, JoinError> {
        Self::join_many_timeout(tasks, Duration::MAX)
    }

    /// As [`join_many`](Self::join_many), for at most `limit` in all.
    ///
    /// # Errors
    /// As there; and [`JoinError::Timeout`], which names the first task that had no value.
    ///
    /// ```
    /// use std::time::Duration;
    /// use rethread::{JoinError, Task, process};
    ///
    /// let tasks = [Task::spawn(|| ())?, Task::spawn(|| process::sleep(Duration::from_secs(5)))?];
    /// let slow = tasks[1].pid();
    /// let limit = Duration::from_millis(20);
    /// match Task::join_many_timeout(tasks, limit) {
    ///     Err(JoinError::Timeout { task, .. }) => assert_eq!(task, slow),
    ///     other => unreachable!("{other:?}"),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join_many_timeout(
        tasks: impl IntoIterator<Item = Self>,
        timeout: Duration,
    ) -> Result<Vec<T>, JoinError> {
        let mut tasks: Vec<Self> = tasks.into_iter().collect();
        let me = enter_task_call()?;
        let deadline = timer_thread::deadline_after(timeout);
        tasks.iter().for_each(Self::register_parker);
        loop {
            let failed = tasks.iter_mut().filter(|task| task.failure_sequence().is_some());
            if let Some(first) = failed.min_by_key(|task| task.failure_sequence()) {
                first.take_result()?;
            }
            let Some(pending) = tasks.iter().find(|task| !task.is_done()) else {
                return tasks.iter_mut().map(Self::take_result).collect();
            };
            // There is but one mark, so it goes from one pending task to the next: a cycle is found at last.
            let wait_edge = WaitEdge::try_add(me.as_ref(), pending.block());
            let _wait_edge = wait_edge.map_err(|cycle| JoinError::Deadlock { cycle })?;
            let is_ready = || pending.is_done() || tasks.iter().any(|task| task.failure_sequence().is_some());
            local::wait(Some(deadline), || is_ready().then_some(()))
                .ok_or_else(|| pending.timeout_error(timeout))?;
        }
    }

    /// Waits for the values of all, for at most `limit` in all, and says of each how it stands, in the order of the
    /// tasks; those that are not done (`None`) can be asked again: Elixir's `yield_many`.
    ///
    /// # Errors
    /// Each as of [`yield_for`](Self::yield_for).
    ///
    /// ```
    /// use std::time::Duration;
    /// use rethread::{Shutdown, Task, process};
    ///
    /// let mut tasks: Vec<_> = [1, 5000]
    ///     .map(|ms| Task::spawn(move || process::sleep(Duration::from_millis(ms))))
    ///     .into_iter()
    ///     .collect::<Result<_, _>>()?;
    /// let results = Task::yield_many(&mut tasks, Duration::from_millis(500));
    /// for (task, result) in tasks.iter_mut().zip(results) {
    ///     match result.or_else(|| task.shutdown(Shutdown::BrutalKill)) {
    ///         Some(Ok(())) => println!("done"),
    ///         Some(Err(error)) => println!("{error}"),
    ///         None => println!("took too long"),
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "values that are there are handed out once: dropped, they are lost"]
    pub fn yield_many(tasks: &mut [Self], timeout: Duration) -> Vec<Option<Result<T, JoinError>>> {
        if let Err(error) = enter_task_call() {
            return tasks.iter().map(|_| Some(Err(error.clone()))).collect();
        }
        tasks.iter().for_each(Self::register_parker);
        let poll = || tasks.iter().all(Self::is_done).then_some(());
        local::wait(Some(timer_thread::deadline_after(timeout)), poll);
        tasks.iter_mut().map(|task| task.is_done().then(|| task.take_result())).collect()
    }
}
