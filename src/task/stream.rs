//! `task::stream`: an iterator adapter that processes each item in a task of its own, with limited
//! concurrency. Nothing here runs between two calls of `next`: timeouts and new items are handled only while
//! a result is requested.

use std::collections::HashMap;
use std::fmt;
use std::iter::FusedIterator;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::child_spec::StartError;
use crate::process::control::block::ProcessKind;
use crate::process::control::local;
use crate::process::control::local::CurrentProcess;
use crate::process::lifecycle::spawn::Builder;
use crate::process::lifecycle::spawn::start_process;
use crate::process::lifecycle::spawn::without_inbox;
use crate::process::signals::exit::exit_with;
use crate::reason::ExitReason;
use crate::task::body::StartTask;
use crate::task::body::StartedTask;
use crate::task::body::TaskBody;
use crate::task::body::task_body;
use crate::task::handle::{JoinError, Task, enter_task_call};
use crate::task::result_slot::drop_unclaimed_value;
use crate::task::running::RunningTasks;
use crate::task::running::TaskEvent;

/// What a stream does when a task takes longer than its [`timeout`](TaskStream::timeout).
///
/// ```
/// use std::time::Duration;
/// use rethread::process;
/// use rethread::task::{self, JoinError, OnTimeout};
///
/// let nap = |ms| process::sleep(Duration::from_millis(ms));
/// let limit = Duration::from_millis(10);
/// let first = task::stream([5000], nap).timeout(limit).on_timeout(OnTimeout::Kill).next();
/// assert!(matches!(first, Some(Err(JoinError::Timeout { .. }))));
///
/// let all = process::attach(move || task::stream([5000], nap).timeout(limit).on_timeout(OnTimeout::Exit).count());
/// println!("{}", all.unwrap_err()); // call to task <4> failed: timeout
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[allow(clippy::exhaustive_enums, reason = "closed by OTP")]
pub enum OnTimeout {
    /// The task is killed; after its exit its element is [`JoinError::Timeout`]. A thread that makes no
    /// runtime call counts as exited after its [`kill_grace`](Builder::kill_grace).
    #[default]
    Kill,
    /// All tasks are killed, and the iterating process exits with the timeout as reason, class *exit*. A
    /// thread that is not a process panics.
    Exit,
}

/// An iterator over the results of items that are processed in parallel. Created by [`stream`](crate::task::stream),
/// which describes its behavior.
#[must_use = "a stream is lazy: nothing runs before it is iterated over"]
pub struct TaskStream<I: Iterator, T: Send + 'static> {
    items: Option<I>,
    work: Arc<dyn Fn(I::Item) -> T + Send + Sync>,
    start: StartTask,
    builder: Builder,
    max_concurrency: usize,
    ordered: bool,
    timeout: Option<Duration>,
    on_timeout: OnTimeout,
    running: RunningTasks<T>,
    /// Results that were not yet returned, by their place in the output: in an ordered stream the position of
    /// the item, otherwise the order of the exits.
    done: HashMap<u64, Result<T, JoinError>>,
    pulled: u64,
    finished: u64,
    yielded: u64,
    /// `true` if `next` must return `None` from now on.
    closed: bool,
}

/// Applies `work` to each item in a task of its own, with a limited number of tasks at a time, and
/// returns an iterator over the results: Elixir's `async_stream`. Intended for blocking work in parallel.
///
/// ```
/// use rethread::task;
///
/// let pages = ["/", "/about", "/contact"];
/// let sizes = task::stream(pages, |path| path.len()); // imagine a request that takes a second
/// assert_eq!(sizes.collect::<Result<Vec<_>, _>>()?, [1, 6, 8]);
/// # Ok::<(), rethread::task::JoinError>(())
/// ```
///
/// The stream is lazy. It takes the next item when fewer than
/// [`max_concurrency`](TaskStream::max_concurrency) tasks are running, and only while a result is
/// requested: it is never more than that number ahead of the results that were returned. The exception is
/// an ordered stream that waits for a slow task: it processes further items meanwhile, and stores their
/// results, without a limit, until it is their turn. A task counts as running until it has exited and its
/// destructors have run.
///
/// The tasks are linked to the iterating process. If a task crashes, that process exits with the task's
/// reason at its next request; unless it traps exits, or the thread is not a process: then the crash is
/// an element, [`JoinError::Exited`], and the stream continues. These links send no `Exit` messages. If a
/// task cannot be started, its element is [`JoinError::NotStarted`], and the item is lost.
///
/// An element does not contain its item, and an item whose task failed is not returned. An ordered stream
/// yields one element for each item, so `items.clone().into_iter().zip(stream)` pairs them.
///
/// A stream that is dropped kills the running tasks and waits for their exits. So does a stream whose
/// item iterator panics; it yields nothing more.
///
/// In a destructor of a process that is exiting, a stream yields [`JoinError::Exiting`] once, and then
/// `None`.
///
/// # Differences from Erlang
/// There is no default timeout, because a thread that makes no runtime call cannot be stopped; and by
/// default a timeout is an element ([`on_timeout`](TaskStream::on_timeout)), not an exit of the caller.
///
/// Items and values move between threads, so they must be `'static`. Share data in an `Arc`; or use a
/// scope of rayon or std if a panic in the work need not be contained.
///
/// ```
/// use std::time::Duration;
/// use rethread::task::{self, JoinError};
/// use rethread::process;
///
/// let naps = task::stream([1, 5000, 2], |ms| {
///     process::sleep(Duration::from_millis(ms));
///     ms
/// });
/// for nap in naps.max_concurrency(3).timeout(Duration::from_millis(500)).ordered(false) {
///     match nap {
///         Ok(ms) => println!("slept for {ms} ms"),
///         Err(JoinError::Timeout { task, .. }) => println!("{task} was killed"),
///         Err(error) => println!("{error}"),
///     }
/// }
/// ```
#[track_caller]
pub fn stream<I, T>(
    items: I,
    work: impl Fn(I::Item) -> T + Send + Sync + 'static,
) -> TaskStream<I::IntoIter, T>
where
    I: IntoIterator,
    I::Item: Send + 'static,
    T: Send + 'static,
{
    TaskStream::new(items.into_iter(), work, Box::new(start_linked))
}

/// Starts a task linked to the calling process.
fn start_linked(builder: Builder, body: TaskBody) -> Result<StartedTask, StartError> {
    let me = local::get();
    let address = start_process(builder, me.as_ref(), None, body)?;
    Ok(StartedTask { block: Arc::clone(address.block()), linked_owner: me.map(|me| Arc::clone(&me.block)) })
}

impl<I, T> TaskStream<I, T>
where
    I: Iterator<Item: Send + 'static>,
    T: Send + 'static,
{
    /// Returns a stream whose tasks are started by `start`.
    #[track_caller]
    pub(crate) fn new(
        items: I,
        work: impl Fn(I::Item) -> T + Send + Sync + 'static,
        start: StartTask,
    ) -> Self {
        let builder = Builder {
            no_exit_message: true, // the exit is an element of the stream
            kind: ProcessKind::Task,
            spawned_at: Some(Location::caller()),
            ..Builder::default()
        };
        Self {
            items: Some(items),
            work: Arc::new(work),
            start,
            builder,
            max_concurrency: thread::available_parallelism().map_or(1, usize::from),
            ordered: true,
            timeout: None,
            on_timeout: OnTimeout::default(),
            running: RunningTasks::new(),
            done: HashMap::new(),
            pulled: 0,
            finished: 0,
            yielded: 0,
            closed: false,
        }
    }

    /// Sets how many tasks may run at a time. Default: the number of cores, which suits computations; for
    /// work that blocks on I/O it may be much larger.
    ///
    /// # Panics
    /// If `tasks` is zero: such a stream would never yield anything.
    #[track_caller]
    pub fn max_concurrency(mut self, tasks: usize) -> Self {
        assert!(tasks > 0, "the max_concurrency of a task stream must be at least 1");
        self.max_concurrency = tasks;
        self
    }

    /// Sets whether the results are in the order of the items (the default) or in the order of completion.
    ///
    /// # Panics
    /// If the stream has taken an item already.
    #[track_caller]
    pub fn ordered(mut self, ordered: bool) -> Self {
        assert!(self.pulled == 0, "the order of a task stream cannot be changed after its first item");
        self.ordered = ordered;
        self
    }

    /// Sets how long a task may take from its start. Default: no limit. The timeout is checked only while a
    /// result is requested: between two requests, a task may exceed it.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets what happens when a task exceeds its timeout. Default: [`OnTimeout::Kill`].
    pub fn on_timeout(mut self, action: OnTimeout) -> Self {
        self.on_timeout = action;
        self
    }

    /// Sets the options of the process of each task: stack size, time limits, label. Replaces all of them, except
    /// that a label that was set before stays if `process` has none. A name can be held by one task at a time: with
    /// it, use a [`max_concurrency`](Self::max_concurrency) of 1.
    ///
    /// ```
    /// use std::time::Duration;
    /// use rethread::process;
    /// use rethread::task;
    ///
    /// let options = process::Builder::new().label("parser").kill_grace(Duration::from_millis(10));
    /// let lengths = task::stream(["a", "bb"], |text| text.len()).process(options);
    /// assert_eq!(lengths.collect::<Result<Vec<_>, _>>()?, [1, 2]);
    /// # Ok::<(), rethread::task::JoinError>(())
    /// ```
    pub fn process(mut self, process: Builder) -> Self {
        // The stream has set these three, which users cannot set.
        let Builder { no_exit_message, kind, spawned_at, .. } = self.builder;
        self.builder.replace_with(Builder { no_exit_message, kind, spawned_at, ..process });
        self
    }

    /// Sets the label of each task, which is shown in reports and listings and as the thread name.
    pub fn label(mut self, label: impl Into<Arc<str>>) -> Self {
        self.builder.label = Some(label.into());
        self
    }

    /// Takes items and starts their tasks, up to the concurrency limit. Stops at the first task that fails to
    /// start.
    fn fill(&mut self) {
        while self.running.len() < self.max_concurrency {
            let Some(item) = self.next_item() else { return };
            let position = self.pulled;
            let work = Arc::clone(&self.work);
            let (slot, body) = task_body(without_inbox(move || work(item)));
            let started = (self.start)(self.builder.clone(), Box::new(body));
            // Counted after the start: if the start panics, the item gets no position, and an ordered stream
            // does not wait for a result that never comes.
            self.pulled += 1;
            match started {
                Ok(started) => self.running.add(position, Task::new(started, slot), self.timeout),
                // Return this result before the next attempt: if threads are scarce, a loop over all items
                // would lose them.
                Err(error) => return self.record(position, Err(JoinError::NotStarted(error))),
            }
        }
    }

    /// Takes the next item. If the iterator panics, its owner may catch the panic: then the running tasks are
    /// killed, and the stream yields nothing more.
    fn next_item(&mut self) -> Option<I::Item> {
        struct KillOnPanic<'a, T: Send + 'static>(&'a mut RunningTasks<T>);
        impl<T: Send + 'static> Drop for KillOnPanic<'_, T> {
            fn drop(&mut self) {
                *self.0 = RunningTasks::new();
            }
        }
        let items = self.items.as_mut()?;
        // Both are undone below, unless `next` panics.
        self.closed = true;
        let kill_on_panic = KillOnPanic(&mut self.running);
        let item = items.next();
        if item.is_none() {
            self.items = None;
        }
        std::mem::forget(kill_on_panic);
        self.closed = false;
        item
    }

    /// Stores the result of the item at this position.
    fn record(&mut self, position: u64, result: Result<T, JoinError>) {
        // In completion order, the next free place is the number of results so far.
        let output_index = if self.ordered { position } else { self.finished };
        self.finished += 1;
        self.done.insert(output_index, result);
    }

    fn take_next_result(&mut self) -> Option<Result<T, JoinError>> {
        let result = self.done.remove(&self.yielded)?;
        self.yielded += 1;
        Some(result)
    }

    /// Waits for one task to exit, or kills one that has timed out or waits for the calling process.
    fn advance(&mut self, me: Option<&Rc<CurrentProcess>>) {
        // In an ordered stream only the next result in order lets the caller continue.
        let required = self.ordered.then_some(self.yielded);
        match self.running.wait(me, required) {
            TaskEvent::Finished(position, result) => self.record(position, result),
            TaskEvent::Deadlocked(position, deadlock) => self.running.kill(position, deadlock),
            TaskEvent::TimedOut(position, timeout_error) => match self.on_timeout {
                OnTimeout::Kill => self.running.kill(position, timeout_error),
                OnTimeout::Exit => {
                    // Kill all tasks first, while this process is still running and can wait for them.
                    self.close();
                    if me.is_some() {
                        exit_with(ExitReason::error(timeout_error));
                    }
                    panic!("{timeout_error}");
                }
            },
        }
    }

    /// Returns how many results of the items taken so far were not yet returned.
    fn in_flight(&self) -> usize {
        self.running.len() + self.done.len()
    }
}

impl<I, T> Iterator for TaskStream<I, T>
where
    I: Iterator<Item: Send + 'static>,
    T: Send + 'static,
{
    type Item = Result<T, JoinError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.closed || (self.items.is_none() && self.in_flight() == 0) {
            return None;
        }
        // A process that is exiting must not wait: return one error, then end the stream.
        let me = match enter_task_call() {
            Ok(me) => me,
            Err(exiting) => {
                self.close();
                return Some(Err(exiting));
            }
        };
        loop {
            if let Some(result) = self.take_next_result() {
                return Some(result);
            }
            // Only if there is no result to return: otherwise the stream would run ahead of a slow caller.
            self.fill();
            // No item was left, and all results were returned.
            if self.in_flight() == 0 {
                self.closed = true;
                return None;
            }
            // If a start has failed in `fill`, that is the next result: do not wait for another task.
            if !self.done.contains_key(&self.yielded) {
                self.advance(me.as_ref());
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        if self.closed {
            return (0, Some(0));
        }
        // Each remaining item and each task in flight yields one element.
        let (lower, upper) = self.items.as_ref().map_or((0, Some(0)), Iterator::size_hint);
        let in_flight = self.in_flight();
        (lower.saturating_add(in_flight), upper.and_then(|upper| upper.checked_add(in_flight)))
    }
}

impl<I: Iterator, T: Send + 'static> TaskStream<I, T> {
    /// Kills the running tasks, waits for their exits, and drops the results that were not returned.
    fn close(&mut self) {
        // Closed first: a destructor below is user code, and may call `next` or panic.
        self.closed = true;
        self.running = RunningTasks::new(); // dropping the old set kills its tasks
        for (_, unclaimed) in self.done.drain() {
            drop_unclaimed_value(unclaimed);
        }
    }
}

impl<I: Iterator, T: Send + 'static> Drop for TaskStream<I, T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<I, T> FusedIterator for TaskStream<I, T>
where
    I: Iterator<Item: Send + 'static>,
    T: Send + 'static,
{
}

impl<I: Iterator, T: Send + 'static> fmt::Debug for TaskStream<I, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskStream")
            .field("max_concurrency", &self.max_concurrency)
            .field("ordered", &self.ordered)
            .field("timeout", &self.timeout)
            .field("on_timeout", &self.on_timeout)
            .field("running", &self.running.len())
            .finish_non_exhaustive()
    }
}
