//! `Task::stream`: items in, values out, worked on in parallel by so many tasks at a time. Any thread iterates
//! over it.

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
use crate::process::mailbox::inbox::Inbox;
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

/// What becomes of a stream when a task takes longer than its [`timeout`](TaskStream::timeout).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnTimeout {
    /// The task is killed, and its element, when it is dead, [`JoinError::Timeout`]. A thread that does not listen
    /// is declared dead after its [`kill_grace`](TaskStream::kill_grace).
    #[default]
    Kill,
    /// All tasks are killed, and the process that iterates ends with the timeout as reason, class *exit*. A thread
    /// that is not a process panics.
    Exit,
}

/// Works on items in parallel; an iterator over the results. Made by [`Task::stream`], which says how it
/// behaves.
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
    /// What is done and not yet handed out, by its turn: in an ordered stream the position of the item.
    done: HashMap<u64, Result<T, JoinError>>,
    pulled: u64,
    finished: u64,
    yielded: u64,
    /// It gives nothing more, whatever there is.
    closed: bool,
}

/// Streams.
impl Task<()> {
    /// Applies `work` to each item, each in a task of its own, so many at a time, and gives the results as an
    /// iterator: Elixir's `async_stream`. For blocking work, in parallel, with a limit.
    ///
    /// ```
    /// use rethread::Task;
    ///
    /// let pages = ["/", "/about", "/contact"];
    /// let sizes = Task::stream(pages, |path| path.len()); // imagine a request that takes a second
    /// assert_eq!(sizes.collect::<Result<Vec<_>, _>>()?, [1, 6, 8]);
    /// # Ok::<(), rethread::JoinError>(())
    /// ```
    ///
    /// It takes one item after the other, when there is room for it, and only while a result is asked for: never
    /// more than [`max_concurrency`](TaskStream::max_concurrency) ahead of the results that were handed out. An
    /// ordered stream that waits for a slow one goes further: it works on others meanwhile, and keeps
    /// their results, however many, until it is their turn. Room is where a task has ended, its destructors done.
    ///
    /// The tasks are linked with the process that iterates. If one crashes, that process ends too, with the task's
    /// reason, when it next asks; unless it traps exits, or is a thread that is no process: then the crash is
    /// an element, [`JoinError::Exited`], and the stream goes on. No `Exit` message comes of these links. If
    /// a task cannot be started at all its element is [`JoinError::NotStarted`], and the item is lost.
    ///
    /// An element does not tell which item it is for, and of an item whose task failed nothing comes back. An ordered
    /// stream gives one element for each item: `items.clone().into_iter().zip(stream)` brings them together.
    ///
    /// A stream that is dropped kills what still runs, and waits until it is gone. So does one whose item iterator
    /// panics, which then is at its end.
    ///
    /// In a destructor of a process that is exiting a stream gives [`JoinError::Exiting`] once, and ends.
    ///
    /// # Differences from Erlang
    /// There is no time limit unless one is set, because a thread that does not listen cannot be stopped; and the
    /// default of [`on_timeout`](TaskStream::on_timeout) is an element, not the end of the caller.
    ///
    /// Items and values move between threads, so they borrow nothing: `'static`. Share what is shared in an
    /// `Arc`; or let a scope of rayon or std have the work, if it needs no containment.
    ///
    /// ```
    /// use std::time::Duration;
    /// use rethread::{JoinError, Task, process};
    ///
    /// let naps = Task::stream([1, 5000, 2], |ms| {
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
}

/// The calling process gives birth to the task itself.
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
    /// A stream whose tasks are started this way.
    #[track_caller]
    pub(crate) fn new(
        items: I,
        work: impl Fn(I::Item) -> T + Send + Sync + 'static,
        start: StartTask,
    ) -> Self {
        let builder = Builder {
            no_exit_message: true, // what a link would tell is an element
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

    /// How many tasks may run at a time. Default: as many as there are cores, which suits computations; for work
    /// that waits for others it may be many more.
    ///
    /// # Panics
    /// If it is zero: such a stream would never do anything.
    #[track_caller]
    pub fn max_concurrency(mut self, tasks: usize) -> Self {
        assert!(tasks > 0, "the max_concurrency of a task stream must be at least 1");
        self.max_concurrency = tasks;
        self
    }

    /// Whether the results come in the order of the items (the default), or as they are done.
    ///
    /// # Panics
    /// If the stream has begun.
    #[track_caller]
    pub fn ordered(mut self, ordered: bool) -> Self {
        assert!(self.pulled == 0, "a task stream that has begun cannot change its order");
        self.ordered = ordered;
        self
    }

    /// How long a task may take from its start. Default: as long as it likes. The time is looked at while a result
    /// is asked for: nothing happens to a task that takes too long while nobody asks.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// What happens when a task takes longer. Default: [`OnTimeout::Kill`].
    pub fn on_timeout(mut self, action: OnTimeout) -> Self {
        self.on_timeout = action;
        self
    }

    /// The stack of each task in bytes; see [`Builder::stack_size`].
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.builder.stack_size = Some(bytes);
        self
    }

    /// How long a task has to unwind when it is killed, because its time is up or the stream is dropped; see
    /// [`Builder::kill_grace`].
    pub fn kill_grace(mut self, time: Duration) -> Self {
        self.builder.kill_grace = Some(time);
        self
    }

    /// A free text for reports and listings, and for the names of the threads.
    pub fn label(mut self, label: impl Into<Arc<str>>) -> Self {
        self.builder.label = Some(label.into());
        self
    }

    /// Takes items while there is room and there are any; a task that cannot be started ends that.
    fn fill(&mut self) {
        while self.running.len() < self.max_concurrency {
            let Some(item) = self.next_item() else { return };
            let position = self.pulled;
            let work = Arc::clone(&self.work);
            let (slot, body) = task_body(move |_: &mut Inbox<()>| work(item));
            let started = (self.start)(self.builder.clone(), Box::new(body));
            self.pulled += 1; // an item whose start panics has no turn that others would wait for
            match started {
                Ok(started) => self.running.add(position, Task::new(started, slot), self.timeout),
                Err(error) => return self.record(position, Err(JoinError::NotStarted(error))),
            }
        }
    }

    /// The next item. An iterator that panics does so in its owner, who may survive it: then nothing runs any
    /// more, and the stream is at its end.
    fn next_item(&mut self) -> Option<I::Item> {
        struct KillOnPanic<'a, T: Send + 'static>(&'a mut RunningTasks<T>);
        impl<T: Send + 'static> Drop for KillOnPanic<'_, T> {
            fn drop(&mut self) {
                *self.0 = RunningTasks::new();
            }
        }
        let items = self.items.as_mut()?;
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

    /// The item at this position is done.
    fn record(&mut self, position: u64, result: Result<T, JoinError>) {
        let output_index = if self.ordered { position } else { self.finished };
        self.finished += 1;
        self.done.insert(output_index, result);
    }

    fn take_next_result(&mut self) -> Option<Result<T, JoinError>> {
        let result = self.done.remove(&self.yielded)?;
        self.yielded += 1;
        Some(result)
    }

    /// Waits for one task to end, or sees to those that must not go on.
    fn advance(&mut self, me: Option<&Rc<CurrentProcess>>) {
        let wanted = self.ordered.then_some(self.yielded);
        match self.running.wait(me, wanted) {
            TaskEvent::Finished(position, result) => self.record(position, result),
            TaskEvent::Deadlocked(position, deadlock) => self.running.kill(position, deadlock),
            TaskEvent::TimedOut(position, timeout_error) => match self.on_timeout {
                OnTimeout::Kill => self.running.kill(position, timeout_error),
                OnTimeout::Exit => {
                    self.close();
                    if me.is_some() {
                        exit_with(ExitReason::error(timeout_error));
                    }
                    panic!("{timeout_error}");
                }
            },
        }
    }

    /// How many results are to come of the items taken so far.
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
            // Not before what is kept is handed out: a slow caller must not make the stream run ahead.
            self.fill();
            if self.in_flight() == 0 {
                self.closed = true;
                return None;
            }
            // A start that failed just now is a result already, whoever else is at work.
            if !self.done.contains_key(&self.yielded) {
                self.advance(me.as_ref());
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        if self.closed {
            return (0, Some(0));
        }
        let (lower, upper) = self.items.as_ref().map_or((0, Some(0)), Iterator::size_hint);
        let in_flight = self.in_flight();
        (lower.saturating_add(in_flight), upper.and_then(|upper| upper.checked_add(in_flight)))
    }
}

impl<I: Iterator, T: Send + 'static> TaskStream<I, T> {
    /// Ends what runs, and gives nothing more.
    fn close(&mut self) {
        self.closed = true;
        self.running = RunningTasks::new();
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
