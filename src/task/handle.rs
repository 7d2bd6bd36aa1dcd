//! `Task`, the handle of a task, and `JoinError`: waiting for one or several values, stopping a task, detaching it.

use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::child_spec::{Shutdown, StartError};
use crate::gen_server::call::{Exiting, enter_runtime_call};
use crate::gen_server::wait_graph::{WaitEdge, fmt_cycle};
use crate::pid::{MonitorRef, Pid};
use crate::process::control::block::ExitListener;
use crate::process::control::block::ProcessBlock;
use crate::process::control::block::Watcher;
use crate::process::control::local;
use crate::process::control::local::CurrentProcess;
use crate::process::park::timer_thread;
use crate::process::signals::link::remove_watcher;
use crate::process::signals::link::watch_exit;
use crate::reason::ExitReason;
use crate::task::body::StartedTask;
use crate::task::result_slot::ResultSlot;

/// A process that does one thing, and the right to its value: Elixir's `Task`. Made by [`Task::spawn`].
///
/// ```
/// use rethread::Task;
///
/// let sum = Task::spawn(|| (1..=10).sum::<u32>())?;
/// let product = (1..=10).product::<u32>(); // meanwhile
/// assert_eq!((sum.join()?, product), (55, 3_628_800));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The task is linked with its owner, the process that started it: each ends with the other, unless it ends
/// with `Normal` or the other traps exits. A dropped handle lets the task go: it runs on, still linked, and its
/// value is lost. [`task`](crate::task) tells the whole story.
///
/// # Differences from Erlang
/// Elixir raises an `ArgumentError` when somebody else than the owner waits for a task; here the handle cannot
/// leave its thread (`E0277`):
///
/// ```compile_fail,E0277
/// # use rethread::{Task, process};
/// let task = Task::spawn(|| 42).unwrap();
/// process::spawn::<()>(move |_| { task.join().unwrap(); }).unwrap(); // `*const ()` cannot be sent between threads
/// ```
#[must_use = "dropped, the task runs on and its value is lost: join it, or begin it with Task::start"]
pub struct Task<T: Send + 'static> {
    started: StartedTask,
    slot: Arc<ResultSlot<T>>,
    monitor: MonitorRef,
    /// Its value, or its end, was handed out.
    taken: bool,
    /// A task stays with its owner.
    _not_send: PhantomData<*const ()>,
}

impl<T: Send + 'static> Task<T> {
    /// The handle of a task that was born with the body that goes with this slot.
    pub(crate) fn new(started: StartedTask, slot: Arc<ResultSlot<T>>) -> Self {
        let monitor = MonitorRef::next();
        watch_exit(&started.block, monitor, Watcher::Listener(Arc::clone(&slot) as Arc<dyn ExitListener>));
        Self { started, slot, monitor, taken: false, _not_send: PhantomData }
    }

    /// The process it runs in.
    ///
    /// ```
    /// use rethread::{Task, process};
    ///
    /// let task = Task::spawn(process::current)?;
    /// let pid = task.pid();
    /// assert_eq!(task.join()?, Some(pid));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pid(&self) -> Pid {
        self.started.block.pid
    }

    /// Whether a [`join`](Self::join) would return at once.
    ///
    /// ```
    /// use rethread::Task;
    ///
    /// let task = Task::spawn(|| 42)?;
    /// while !task.is_finished() {
    ///     println!("something else to do");
    /// }
    /// assert_eq!(task.join()?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        local::checkpoint();
        self.taken || self.is_done()
    }

    /// Waits for the value, as long as it takes: Elixir's `await`.
    ///
    /// A task that crashes takes an owner with it that does not trap exits, here at the latest, with the task's own
    /// reason. One that does, and any thread that is not a process, gets the error. With
    /// [`or_exit`](crate::OrExit::or_exit) the owner ends with [`ExitReason::Call`], as in Elixir.
    ///
    /// # Errors
    /// [`JoinError::Exited`] as soon as the task has ended without a value, [`JoinError::Deadlock`] if it waits for
    /// the caller, [`JoinError::Exiting`] in a destructor of a process that is exiting.
    ///
    /// # Differences from Erlang
    /// Elixir's `await` gives up after five seconds. A death is noticed at once, and a thread that is given up
    /// cannot be stopped; so a limit is for those who ask for one: [`join_timeout`](Self::join_timeout).
    ///
    /// ```
    /// use rethread::{JoinError, Task};
    ///
    /// let task = Task::spawn(|| -> u32 { panic!("boom") })?;
    /// match task.join() {
    ///     Err(JoinError::Exited { reason, .. }) => println!("{reason}"), // panic at src/main.rs:3: boom
    ///     other => unreachable!("{other:?}"),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join(mut self) -> Result<T, JoinError> {
        self.join_inner(Duration::MAX)
    }

    /// As [`join`](Self::join), for at most `limit`. After that neither the value nor anything else of the task
    /// arrives any more. The task is not stopped by it, and goes on; though through the link it ends with the
    /// owner, if that does not survive the timeout.
    ///
    /// # Errors
    /// As there, and [`JoinError::Timeout`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use rethread::{JoinError, Task, process};
    ///
    /// let slow = Task::spawn(|| process::sleep(Duration::from_secs(5)))?;
    /// assert!(matches!(slow.join_timeout(Duration::from_millis(1)), Err(JoinError::Timeout { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join_timeout(mut self, timeout: Duration) -> Result<T, JoinError> {
        self.join_inner(timeout)
    }

    /// Waits for the value for at most `limit`, and can be asked again after `None`: Elixir's `yield`. With a
    /// limit of zero it looks at what is there.
    ///
    /// Once it has given the value or the end, it gives `NoProc`.
    ///
    /// # Errors
    /// As [`join`](Self::join), but no wait is refused as a deadlock: the owner comes back from this one.
    ///
    /// # Differences from Erlang
    /// Asked again after it has given the value, Elixir's `yield` waits and gives `nil`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use rethread::{Shutdown, Task, process};
    ///
    /// let mut task = Task::spawn(|| process::sleep(Duration::from_secs(5)))?;
    /// let result = task.yield_for(Duration::from_millis(1)).or_else(|| task.shutdown(Shutdown::BrutalKill));
    /// match result {
    ///     Some(Ok(())) => println!("done in time, or just after"),
    ///     Some(Err(error)) => println!("{error}"),
    ///     None => println!("not done, and stopped"),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "a value that is there is handed out once: dropped, it is lost"]
    pub fn yield_for(&mut self, timeout: Duration) -> Option<Result<T, JoinError>> {
        if let Err(error) = enter_task_call() {
            return Some(Err(error));
        }
        self.wait_result(timeout)
    }

    /// Unlinks the task, tells it to end, as [`Shutdown`] says, and waits until it has. The value, if it was there
    /// or came meanwhile; `None` if the task ended because it was told.
    ///
    /// # Errors
    /// [`JoinError::Exited`] if it ended otherwise: with `Killed` if it had to be killed after the time,
    /// with `NoProc` if its value or its end was handed out before. [`JoinError::Exiting`] in a destructor of a
    /// process that is exiting: the task is told, and not waited for.
    ///
    /// # Differences from Erlang
    /// A thread that does not listen is declared dead after its `kill_grace` and goes on as a
    /// [`Zombie`](crate::process::Zombie).
    ///
    /// ```
    /// use std::time::Duration;
    /// use rethread::{Shutdown, Task, process};
    ///
    /// let mut task = Task::spawn(|| process::sleep(Duration::from_secs(5)))?;
    /// assert_eq!(task.shutdown(Shutdown::Timeout(Duration::from_secs(1))), None);
    /// assert!(!process::is_alive(&task));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shutdown(&mut self, how: Shutdown) -> Option<Result<T, JoinError>> {
        let me = enter_task_call();
        if self.taken {
            return Some(self.take_result());
        }
        let (first, timeout) = match how {
            Shutdown::BrutalKill => (ExitReason::Kill, None),
            Shutdown::Timeout(timeout) => (ExitReason::Shutdown, Some(timeout)),
            Shutdown::Infinity => (ExitReason::Shutdown, None),
        };
        let me = match me {
            Ok(me) => me,
            Err(exiting) => {
                self.unlink_and_exit(&first);
                return Some(Err(exiting));
            }
        };
        // Before it is told, so that a call to us in its clean-up is seen for the wait cycle it is.
        let wait_edge = WaitEdge::add(me.as_ref(), &self.started.block);
        self.unlink_and_exit(&first);
        self.register_parker();
        let poll = || self.slot.exit_sequence();
        if local::wait(timeout.map(timer_thread::deadline_after), poll).is_none() {
            self.unlink_and_exit(&ExitReason::Kill);
            local::wait(None, poll);
        }
        drop(wait_edge);
        let expected = if how == Shutdown::BrutalKill { ExitReason::Killed } else { ExitReason::Shutdown };
        match self.take_result() {
            Err(JoinError::Exited { reason, .. }) if reason == expected => None,
            result => Some(result),
        }
    }

    /// Unlinks the task and lets it go: it runs on, and neither its value nor its end is the caller's concern any
    /// more. Returns what was there already.
    ///
    /// # Errors
    /// [`JoinError::Exited`] if it had ended without a value.
    ///
    /// ```
    /// use std::time::Duration;
    /// use rethread::{Task, process};
    ///
    /// let slow = Task::spawn(|| process::sleep(Duration::from_millis(10)))?;
    /// if slow.ignore().is_none() {
    ///     println!("somebody else may wait for it");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ignore(mut self) -> Option<Result<T, JoinError>> {
        local::checkpoint();
        self.started.unlink();
        self.is_done().then(|| self.take_result())
    }
}

/// Several tasks at once.
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

impl<T: Send + 'static> Task<T> {
    fn join_inner(&mut self, timeout: Duration) -> Result<T, JoinError> {
        let me = enter_task_call()?;
        let wait_edge = if self.is_done() {
            None
        } else {
            let added = WaitEdge::try_add(me.as_ref(), &self.started.block);
            Some(added.map_err(|cycle| JoinError::Deadlock { cycle })?)
        };
        let result = self.wait_result(timeout);
        drop(wait_edge);
        result.unwrap_or_else(|| Err(self.timeout_error(timeout)))
    }

    /// The value or the end, if either comes within this time.
    fn wait_result(&mut self, timeout: Duration) -> Option<Result<T, JoinError>> {
        self.register_parker();
        local::wait(Some(timer_thread::deadline_after(timeout)), || self.is_done().then_some(()))?;
        Some(self.take_result())
    }
}

/// For who has several tasks, and for the tasks of a stream.
impl<T: Send + 'static> Task<T> {
    pub(crate) fn started(&self) -> &StartedTask {
        &self.started
    }

    pub(crate) fn block(&self) -> &Arc<ProcessBlock> {
        &self.started.block
    }

    /// Has the calling thread woken when there is a value or the task has ended.
    pub(crate) fn register_parker(&self) {
        self.slot.register_parker();
    }

    /// Whether there is a value, or was.
    pub(crate) fn is_value_set(&self) -> bool {
        self.slot.is_value_set()
    }

    /// Whether it has ended; the number is lower the earlier that was.
    pub(crate) fn exit_sequence(&self) -> Option<u64> {
        self.slot.exit_sequence()
    }

    /// Whether there is nothing more to wait for.
    pub(crate) fn is_done(&self) -> bool {
        self.is_value_set() || self.exit_sequence().is_some()
    }

    /// Whether there is no value and will be none; the number is lower the earlier that was.
    pub(crate) fn failure_sequence(&self) -> Option<u64> {
        if self.taken { Some(0) } else { self.exit_sequence().filter(|_| !self.is_value_set()) }
    }

    /// The value or the end, one of which must be there. A crash that takes its owner with it does so here.
    pub(crate) fn take_result(&mut self) -> Result<T, JoinError> {
        local::checkpoint();
        let result = if self.taken { None } else { self.slot.take() };
        self.taken = true;
        let reason = match result {
            Some(Ok(value)) => return Ok(value),
            Some(Err(reason)) => reason,
            None => ExitReason::NoProc,
        };
        Err(JoinError::Exited { task: self.started.block.pid, reason })
    }

    pub(crate) fn timeout_error(&self, after: Duration) -> JoinError {
        JoinError::Timeout { task: self.started.block.pid, after }
    }

    /// Unlinks it from its owner and sends it an exit signal; not if the owner is a zombie.
    pub(crate) fn unlink_and_exit(&self, reason: &ExitReason) {
        if !local::get().is_some_and(|me| me.is_zombie()) {
            self.started.unlink_and_exit(reason);
        }
    }
}

/// The calling process, if it is one and may still wait.
pub(crate) fn enter_task_call() -> Result<Option<Rc<CurrentProcess>>, JoinError> {
    enter_runtime_call().map_err(|Exiting| JoinError::Exiting)
}

impl<T: Send + 'static> Drop for Task<T> {
    fn drop(&mut self) {
        remove_watcher(&self.started.block, self.monitor);
        self.slot.close();
    }
}

impl<T: Send + 'static> From<&Task<T>> for Pid {
    fn from(task: &Task<T>) -> Self {
        task.pid()
    }
}

impl<T: Send + 'static> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Task({})", self.pid())
    }
}

/// Why a task has no value for its owner.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum JoinError {
    /// It ended without a value, with this reason. `Normal` if it ended itself so before its function
    /// returned; `NoProc` if its value, or its end, was handed out before.
    Exited {
        /// Which task.
        task: Pid,
        /// Why it ended.
        reason: ExitReason,
    },
    /// It had no value in time.
    Timeout {
        /// Which task.
        task: Pid,
        /// How long that was.
        after: Duration,
    },
    /// The task waits, perhaps through others, for the caller: neither would ever go on.
    Deadlock {
        /// The processes of the cycle; each waits for the next, the last for the first, the caller.
        cycle: Vec<Pid>,
    },
    /// There was no task: it could not be started. Only streams have this.
    NotStarted(StartError),
    /// The calling process is exiting.
    Exiting,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { task, reason } => write!(f, "task {task} ended without a value: {reason}"),
            Self::Timeout { task, after } => write!(f, "task {task}: no value within {after:?}"),
            Self::Deadlock { cycle } => fmt_cycle(f, cycle),
            Self::NotStarted(error) => write!(f, "a task was not started: {error}"),
            Self::Exiting => f.write_str("the calling process is exiting"),
        }
    }
}

// No `source`: the text tells all of the inner error already, and chains of causes would tell it twice.
impl std::error::Error for JoinError {}
