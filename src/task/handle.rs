//! `Task`, the handle of a task, and `JoinError`: waiting for one or several values, stopping a task,
//! detaching it.

use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::call_error::fmt_cycle;
use crate::child_spec::{Shutdown, StartError};
use crate::gen_server::call::enter_call;
use crate::gen_server::wait_graph::WaitEdge;
use crate::pid::{MonitorRef, Pid};
use crate::process::control::block::ExitListener;
use crate::process::control::block::ProcessBlock;
use crate::process::control::block::Watcher;
use crate::process::control::local;
use crate::process::control::local::{CurrentProcess, Exiting};
use crate::process::park::timer_thread;
use crate::process::signals::monitor::remove_watcher;
use crate::process::signals::monitor::watch_exit;
use crate::reason::ExitReason;
use crate::task::body::StartedTask;
use crate::task::result_slot::ResultSlot;

/// The handle of a process that runs one function, and the right to its value: Elixir's `Task`. Created by
/// [`task::spawn`](crate::task::spawn).
///
/// ```
/// use rethread::task;
///
/// let sum = task::spawn(|| (1..=10).sum::<u32>())?;
/// let product = (1..=10).product::<u32>(); // meanwhile
/// assert_eq!((sum.join()?, product), (55, 3_628_800));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The task is linked to its owner, the process that started it: when one of them exits, so does the other,
/// unless the reason is `Normal` or the other traps exits. Dropping the handle does not stop the task: it
/// keeps running, still linked, and its value is dropped. The module [`task`](crate::task) describes tasks as
/// a whole.
///
/// # Differences from Erlang
/// Elixir raises an `ArgumentError` when a process other than the owner waits for a task; here the handle
/// cannot be sent to another thread (`E0277`):
///
/// ```compile_fail,E0277
/// # use rethread::process;
/// # use rethread::task;
/// let task = task::spawn(|| 42).unwrap();
/// process::spawn(move || { task.join().unwrap(); }).unwrap(); // `*const ()` cannot be sent between threads
/// ```
#[must_use = "if the handle is dropped, the task keeps running and its value is lost: join it, or use task::start"]
pub struct Task<T: Send + 'static> {
    started: StartedTask,
    slot: Arc<ResultSlot<T>>,
    monitor: MonitorRef,
    /// `true` once the value or the exit reason was returned.
    taken: bool,
    /// Makes the handle `!Send`: only the owner may wait.
    _not_send: PhantomData<*const ()>,
}

impl<T: Send + 'static> Task<T> {
    /// Returns the handle of a started task whose body fills `slot`.
    pub(crate) fn new(started: StartedTask, slot: Arc<ResultSlot<T>>) -> Self {
        // The slot is notified of the exit like a monitor; if the task has exited already, it is notified
        // here.
        let monitor = MonitorRef::next();
        watch_exit(&started.block, monitor, Watcher::Listener(Arc::clone(&slot) as Arc<dyn ExitListener>));
        Self { started, slot, monitor, taken: false, _not_send: PhantomData }
    }

    /// Returns the pid of the task's process.
    ///
    /// ```
    /// use rethread::process;
    /// use rethread::task;
    ///
    /// let task = task::spawn(process::current)?;
    /// let pid = task.pid();
    /// assert_eq!(task.join()?, Some(pid));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pid(&self) -> Pid {
        self.started.block.pid
    }

    /// Returns `true` if a [`join`](Self::join) would return at once.
    ///
    /// ```
    /// use rethread::task;
    ///
    /// let task = task::spawn(|| 42)?;
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

    /// Waits for the value without a timeout: Elixir's `await`.
    ///
    /// If the task crashes, an owner that does not trap exits exits with the task's reason, in this call at
    /// the latest. An owner that traps exits, and any thread that is not a process, gets the error. With
    /// [`or_exit`](crate::OrExit::or_exit) the owner exits with [`ExitReason::Call`], as in Elixir.
    ///
    /// # Errors
    /// [`JoinError::Exited`] as soon as the task has exited without a value, [`JoinError::Deadlock`] if it
    /// waits for the caller, [`JoinError::Exiting`] in a destructor of a process that is exiting.
    ///
    /// # Differences from Erlang
    /// Elixir's `await` times out after five seconds. Here there is no default timeout: an exit of the task
    /// ends the wait at once, and a thread that does not react cannot be stopped anyway. Set a timeout with
    /// [`join_timeout`](Self::join_timeout).
    ///
    /// ```
    /// use rethread::task::{self, JoinError};
    ///
    /// let task = task::spawn(|| -> u32 { panic!("boom") })?;
    /// match task.join() {
    ///     Err(JoinError::Exited { reason, .. }) => println!("{reason}"), // panic at src/main.rs:3: boom
    ///     other => unreachable!("{other:?}"),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join(mut self) -> Result<T, JoinError> {
        self.join_inner(Duration::MAX)
    }

    /// Waits for the value, like [`join`](Self::join), for at most `timeout`. After a timeout neither the
    /// value nor any message of the task arrives. The task is not stopped: it keeps running, still linked, so
    /// it exits if the owner exits because of the timeout.
    ///
    /// # Errors
    /// [`JoinError::Timeout`] after `timeout`, [`JoinError::Exited`] as soon as the task has exited without a
    /// value, [`JoinError::Deadlock`] if it waits for the caller, [`JoinError::Exiting`] in a destructor of a
    /// process that is exiting.
    ///
    /// ```
    /// use std::time::Duration;
    /// use rethread::task::{self, JoinError};
    /// use rethread::process;
    ///
    /// let slow = task::spawn(|| process::sleep(Duration::from_secs(5)))?;
    /// assert!(matches!(slow.join_timeout(Duration::from_millis(1)), Err(JoinError::Timeout { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join_timeout(mut self, timeout: Duration) -> Result<T, JoinError> {
        self.join_inner(timeout)
    }

    /// Waits for the value for at most `timeout`; returns `None` after that, and can then be called again:
    /// Elixir's `yield`. A timeout of zero polls.
    ///
    /// After the value or the exit reason was returned once, it returns [`JoinError::Exited`] with `NoProc`.
    ///
    /// # Errors
    /// [`JoinError::Exited`] as soon as the task has exited without a value, [`JoinError::Exiting`] in a
    /// destructor of a process that is exiting. Never [`JoinError::Deadlock`]: this wait ends by itself.
    ///
    /// # Differences from Erlang
    /// After the value was returned, Elixir's `yield` waits and returns `nil`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use rethread::supervisor::Shutdown;
    /// use rethread::process;
    /// use rethread::task;
    ///
    /// let mut task = task::spawn(|| process::sleep(Duration::from_secs(5)))?;
    /// let result = task.yield_timeout(Duration::from_millis(1)).or_else(|| task.shutdown(Shutdown::BrutalKill));
    /// match result {
    ///     Some(Ok(())) => println!("done in time, or before the kill"),
    ///     Some(Err(error)) => println!("{error}"),
    ///     None => println!("not done, and stopped"),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "the value is returned only once: if it is dropped, it is lost"]
    pub fn yield_timeout(&mut self, timeout: Duration) -> Option<Result<T, JoinError>> {
        if let Err(error) = enter_task_call() {
            return Some(Err(error));
        }
        self.wait_result(timeout)
    }

    /// Unlinks the task, sends it an exit signal according to [`Shutdown`], and waits for its exit. Returns
    /// the value if the task had stored it before it exited, and `None` if it exited because of the signal.
    ///
    /// With a `Timeout` the task has that time, even if the `exit_timeout` of its process is shorter; then it is
    /// killed, and has its `kill_grace`. With `Infinity` it is never killed.
    ///
    /// # Errors
    /// [`JoinError::Exited`] if it exited with another reason: with `Killed` if it traps exits and was killed
    /// after the timeout, with `NoProc` if its value or its exit reason was returned before.
    /// [`JoinError::Exiting`] in a destructor of a process that is exiting: the signal is sent, but the exit is
    /// not waited for.
    ///
    /// # Differences from Erlang
    /// A task that makes no runtime call counts as exited when its time is over, and its thread continues as a
    /// [`Zombie`](crate::process::Zombie): after its `kill_grace` if it was killed, with `Infinity` after its
    /// `exit_timeout`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use rethread::supervisor::Shutdown;
    /// use rethread::process;
    /// use rethread::task;
    ///
    /// let mut task = task::spawn(|| process::sleep(Duration::from_secs(5)))?;
    /// assert_eq!(task.shutdown(Shutdown::Timeout(Duration::from_secs(1))), None);
    /// assert!(!process::is_alive(&task));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shutdown(&mut self, how: Shutdown) -> Option<Result<T, JoinError>> {
        let me = enter_task_call();
        // The result was returned before: there is nothing to wait for.
        if self.taken {
            return Some(self.take_result());
        }
        // A process that is exiting must not wait, but the task is stopped all the way.
        let me = match me {
            Ok(me) => me,
            Err(exiting) => {
                self.unlink_and_shut_down(how);
                return Some(Err(exiting));
            }
        };
        // Add the edge before sending the signal: the task may call this process in its cleanup, and that
        // call must find the wait cycle.
        let wait_edge = WaitEdge::add(me.as_ref(), &self.started.block);
        self.unlink_and_shut_down(how);
        // Wait for the exit, not for the value: after this call the task must not be running. After the
        // timeout, kill it.
        self.register_parker();
        let deadline = match how {
            Shutdown::Timeout(timeout) => Some(timer_thread::deadline_after(timeout)),
            Shutdown::BrutalKill | Shutdown::Infinity => None,
        };
        let poll = || self.slot.exit_sequence();
        if local::wait(deadline, poll).is_none() {
            self.unlink_and_exit(&ExitReason::Kill);
            local::wait(None, poll);
        }
        drop(wait_edge);
        // An exit with the reason of the signal is the expected outcome. A value takes precedence over any
        // reason.
        let expected = if how == Shutdown::BrutalKill { ExitReason::Killed } else { ExitReason::Shutdown };
        match self.take_result() {
            Err(JoinError::Exited { reason, .. }) if reason == expected => None,
            result => Some(result),
        }
    }

    /// Unlinks the task and detaches it: it keeps running, and the caller gets neither its value nor its
    /// exit. Returns the result if there was one already, otherwise `None`.
    ///
    /// # Errors
    /// [`JoinError::Exited`] if the task had exited without a value.
    ///
    /// ```
    /// use std::time::Duration;
    /// use rethread::process;
    /// use rethread::task;
    ///
    /// let slow = task::spawn(|| process::sleep(Duration::from_millis(10)))?;
    /// if slow.ignore().is_none() {
    ///     println!("it continues, detached");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ignore(mut self) -> Option<Result<T, JoinError>> {
        local::checkpoint();
        self.started.unlink();
        self.is_done().then(|| self.take_result())
    }
}

impl<T: Send + 'static> Task<T> {
    fn join_inner(&mut self, timeout: Duration) -> Result<T, JoinError> {
        let me = enter_task_call()?;
        // A result that is there already needs no wait, so no deadlock is reported for it.
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

    /// Waits for the value or the exit; returns `None` after `timeout`.
    fn wait_result(&mut self, timeout: Duration) -> Option<Result<T, JoinError>> {
        self.register_parker();
        local::wait(Some(timer_thread::deadline_after(timeout)), || self.is_done().then_some(()))?;
        Some(self.take_result())
    }
}

/// For waits on several tasks, and for streams.
impl<T: Send + 'static> Task<T> {
    pub(crate) fn started(&self) -> &StartedTask {
        &self.started
    }

    pub(crate) fn block(&self) -> &Arc<ProcessBlock> {
        &self.started.block
    }

    /// Registers the calling thread to be woken when the task stores its value or exits.
    pub(crate) fn register_parker(&self) {
        self.slot.register_parker();
    }

    /// Returns `true` if the task has stored its value, even if it was taken since.
    pub(crate) fn is_value_set(&self) -> bool {
        self.slot.is_value_set()
    }

    /// Returns the sequence number of the task's exit, or `None` while it is running. An earlier exit has a
    /// lower number.
    pub(crate) fn exit_sequence(&self) -> Option<u64> {
        self.slot.exit_sequence()
    }

    /// Returns `true` if the task has stored its value or has exited.
    pub(crate) fn is_done(&self) -> bool {
        self.is_value_set() || self.exit_sequence().is_some()
    }

    /// Returns the sequence number of the exit if the task has exited without a value, and 0 if its result
    /// was taken. Returns `None` if it has a value or may still store one.
    pub(crate) fn failure_sequence(&self) -> Option<u64> {
        if self.taken { Some(0) } else { self.exit_sequence().filter(|_| !self.is_value_set()) }
    }

    /// Takes the value or the exit reason, one of which must be there.
    pub(crate) fn take_result(&mut self) -> Result<T, JoinError> {
        // If the task crashed, its exit signal may have reached the owner already: then the owner exits here,
        // with the task's reason.
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

    fn unlink_and_shut_down(&self, how: Shutdown) {
        if !local::is_zombie() {
            self.started.unlink_and_shut_down(how);
        }
    }

    /// Unlinks the task and sends it an exit signal, unless the calling process is a zombie.
    pub(crate) fn unlink_and_exit(&self, reason: &ExitReason) {
        if !local::is_zombie() {
            self.started.unlink_and_exit(reason);
        }
    }
}

/// Waits for the values of all tasks, without a timeout, and returns them in the order of the tasks:
/// Elixir's `await_many`.
///
/// # Errors
/// The error of the first task that fails, as soon as it does: [`JoinError::Exited`] if it has exited
/// without a value, [`JoinError::Deadlock`] if it waits for the caller. The other tasks keep running,
/// still linked, and their values are lost. [`JoinError::Exiting`] in a destructor of a process that is
/// exiting.
///
/// ```
/// use rethread::task;
///
/// let tasks = ["one", "three"].map(|text| task::spawn(move || text.len()));
/// let tasks: Vec<_> = tasks.into_iter().collect::<Result<_, _>>()?;
/// assert_eq!(task::join_many(tasks)?, [3, 5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn join_many<T: Send + 'static>(tasks: impl IntoIterator<Item = Task<T>>) -> Result<Vec<T>, JoinError> {
    join_many_timeout(tasks, Duration::MAX)
}

/// Waits for the values of all tasks, like [`join_many`], for at most `timeout` in
/// total.
///
/// # Errors
/// [`JoinError::Timeout`] after `timeout`, with the first task that had no value. Otherwise the error of
/// the first task that fails, as soon as it does: [`JoinError::Exited`] if it has exited without a value,
/// [`JoinError::Deadlock`] if it waits for the caller. The other tasks keep running, still linked, and
/// their values are lost. [`JoinError::Exiting`] in a destructor of a process that is exiting.
///
/// ```
/// use std::time::Duration;
/// use rethread::task::{self, JoinError};
/// use rethread::process;
///
/// let tasks = [task::spawn(|| ())?, task::spawn(|| process::sleep(Duration::from_secs(5)))?];
/// let slow = tasks[1].pid();
/// let limit = Duration::from_millis(20);
/// match task::join_many_timeout(tasks, limit) {
///     Err(JoinError::Timeout { task, .. }) => assert_eq!(task, slow),
///     other => unreachable!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn join_many_timeout<T: Send + 'static>(
    tasks: impl IntoIterator<Item = Task<T>>,
    timeout: Duration,
) -> Result<Vec<T>, JoinError> {
    let mut tasks: Vec<Task<T>> = tasks.into_iter().collect();
    let me = enter_task_call()?;
    let deadline = timer_thread::deadline_after(timeout);
    tasks.iter().for_each(Task::register_parker);
    loop {
        // Return the earliest failure, not that of the first task in the list.
        let failed = tasks.iter_mut().filter(|task| task.failure_sequence().is_some());
        if let Some(first) = failed.min_by_key(|task| task.failure_sequence()) {
            first.take_result()?;
        }
        // If no task is pending, all have a value. Otherwise wait for the first pending task, or any
        // failure.
        let Some(pending) = tasks.iter().find(|task| !task.is_done()) else {
            return tasks.iter_mut().map(Task::take_result).collect();
        };
        // A process has only one edge in the wait-for graph. In each round it points to the first pending
        // task; so each task is checked eventually, and a cycle through any of them is found.
        let wait_edge = WaitEdge::try_add(me.as_ref(), pending.block());
        let _wait_edge = wait_edge.map_err(|cycle| JoinError::Deadlock { cycle })?;
        let is_ready = || pending.is_done() || tasks.iter().any(|task| task.failure_sequence().is_some());
        local::wait(Some(deadline), || is_ready().then_some(()))
            .ok_or_else(|| pending.timeout_error(timeout))?;
    }
}

/// Waits for the results of all tasks, for at most `timeout` in total, and returns them in the order of
/// the tasks: Elixir's `yield_many`. Of a task that is not done it returns `None`; that task can be
/// waited for again.
///
/// # Errors
/// For each task: [`JoinError::Exited`] if it has exited without a value, or with `NoProc` if its result
/// was returned before; [`JoinError::Exiting`] in a destructor of a process that is exiting.
///
/// ```
/// use std::time::Duration;
/// use rethread::supervisor::Shutdown;
/// use rethread::process;
/// use rethread::task;
///
/// let mut tasks: Vec<_> = [1, 5000]
///     .map(|ms| task::spawn(move || process::sleep(Duration::from_millis(ms))))
///     .into_iter()
///     .collect::<Result<_, _>>()?;
/// let results = task::yield_many_timeout(&mut tasks, Duration::from_millis(500));
/// for (task, result) in tasks.iter_mut().zip(results) {
///     match result.or_else(|| task.shutdown(Shutdown::BrutalKill)) {
///         Some(Ok(())) => println!("done"),
///         Some(Err(error)) => println!("{error}"),
///         None => println!("took too long"),
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the values are returned only once: if they are dropped, they are lost"]
pub fn yield_many_timeout<T: Send + 'static>(
    tasks: &mut [Task<T>],
    timeout: Duration,
) -> Vec<Option<Result<T, JoinError>>> {
    if let Err(error) = enter_task_call() {
        return tasks.iter().map(|_| Some(Err(error.clone()))).collect();
    }
    tasks.iter().for_each(Task::register_parker);
    let poll = || tasks.iter().all(Task::is_done).then_some(());
    local::wait(Some(timer_thread::deadline_after(timeout)), poll);
    tasks.iter_mut().map(|task| task.is_done().then(|| task.take_result())).collect()
}

/// Returns the calling process, or `None` on a thread that is not a process; fails if the process is exiting.
pub(crate) fn enter_task_call() -> Result<Option<Rc<CurrentProcess>>, JoinError> {
    enter_call().map_err(|Exiting| JoinError::Exiting)
}

impl<T: Send + 'static> Drop for Task<T> {
    fn drop(&mut self) {
        // Stop watching for the exit, then drop a value that was not taken.
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

/// Why a task returned no value.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum JoinError {
    /// The task exited without a value. The reason is `Normal` if it called an exit function with `Normal`
    /// before its own function returned, and `NoProc` if its value or exit reason was returned before.
    Exited {
        /// The task.
        task: Pid,
        /// The exit reason.
        reason: ExitReason,
    },
    /// The task had no value within the timeout.
    Timeout {
        /// The task.
        task: Pid,
        /// The timeout.
        after: Duration,
    },
    /// The task waits, directly or through other processes, for the caller: neither wait would end.
    Deadlock {
        /// The processes of the cycle: each waits for the next, the last for the first, which is the caller.
        cycle: Vec<Pid>,
    },
    /// The task could not be started. Only streams return this.
    NotStarted(StartError),
    /// The calling process is exiting.
    Exiting,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { task, reason } => write!(f, "task {task} exited without a value: {reason}"),
            Self::Timeout { task, after } => write!(f, "task {task}: no value within {after:?}"),
            Self::Deadlock { cycle } => fmt_cycle(f, cycle),
            Self::NotStarted(error) => write!(f, "task failed to start: {error}"),
            Self::Exiting => f.write_str("the calling process is exiting"),
        }
    }
}

// No `source`: the text contains the inner error already, and printing the chain would repeat it.
impl std::error::Error for JoinError {}
