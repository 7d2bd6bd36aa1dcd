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
use crate::process::block::Kind;
use crate::process::exit::exit_with;
use crate::process::inbox::Inbox;
use crate::process::me::{self, Me};
use crate::process::spawn::{Builder, birth};
use crate::reason::ExitReason;
use crate::task::crew::{Crew, News};
use crate::task::error::JoinError;
use crate::task::handle::{Task, owner};
use crate::task::slot::discard;
use crate::task::work::{Body, Born, Start, prepare};

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
    start: Start,
    plan: Builder,
    max_concurrency: usize,
    ordered: bool,
    timeout: Option<Duration>,
    on_timeout: OnTimeout,
    crew: Crew<T>,
    /// What is done and not yet handed out, by its turn: in an ordered stream the position of the item.
    done: HashMap<u64, Result<T, JoinError>>,
    pulled: u64,
    ended: u64,
    handed_out: u64,
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
fn start_linked(plan: Builder, body: Body) -> Result<Born, StartError> {
    let me = me::get();
    let address = birth(plan, me.as_ref(), None, body)?;
    Ok(Born { block: Arc::clone(address.block()), linked: me.map(|me| Arc::clone(&me.block)) })
}

impl<I, T> TaskStream<I, T>
where
    I: Iterator<Item: Send + 'static>,
    T: Send + 'static,
{
    /// A stream whose tasks are started this way.
    #[track_caller]
    pub(crate) fn new(items: I, work: impl Fn(I::Item) -> T + Send + Sync + 'static, start: Start) -> Self {
        let plan = Builder {
            quiet: true, // what a link would tell is an element
            kind: Kind::Task,
            spawned_at: Some(Location::caller()),
            ..Builder::default()
        };
        Self {
            items: Some(items),
            work: Arc::new(work),
            start,
            plan,
            max_concurrency: thread::available_parallelism().map_or(1, usize::from),
            ordered: true,
            timeout: None,
            on_timeout: OnTimeout::default(),
            crew: Crew::new(),
            done: HashMap::new(),
            pulled: 0,
            ended: 0,
            handed_out: 0,
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
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// What happens when a task takes longer. Default: [`OnTimeout::Kill`].
    pub fn on_timeout(mut self, what: OnTimeout) -> Self {
        self.on_timeout = what;
        self
    }

    /// The stack of each task in bytes; see [`Builder::stack_size`].
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.plan.stack_size = Some(bytes);
        self
    }

    /// How long a task has to unwind when it is killed, because its time is up or the stream is dropped; see
    /// [`Builder::kill_grace`].
    pub fn kill_grace(mut self, time: Duration) -> Self {
        self.plan.kill_grace = Some(time);
        self
    }

    /// A free text for reports and listings, and for the names of the threads.
    pub fn label(mut self, label: impl Into<Arc<str>>) -> Self {
        self.plan.label = Some(label.into());
        self
    }

    /// Takes items while there is room and there are any; a task that cannot be started ends that.
    fn fill(&mut self) {
        while self.crew.len() < self.max_concurrency {
            let Some(item) = self.pull() else { return };
            let position = self.pulled;
            let work = Arc::clone(&self.work);
            let (slot, body) = prepare(move |_: &mut Inbox<()>| work(item));
            let born = (self.start)(self.plan.clone(), Box::new(body));
            self.pulled += 1; // an item whose start panics has no turn that others would wait for
            match born {
                Ok(born) => self.crew.add(position, Task::new(born, slot), self.timeout),
                Err(error) => return self.note(position, Err(JoinError::NotStarted(error))),
            }
        }
    }

    /// The next item. An iterator that panics does so in its owner, who may survive it: then nothing runs any
    /// more, and the stream is at its end.
    fn pull(&mut self) -> Option<I::Item> {
        struct Disband<'a, T: Send + 'static>(&'a mut Crew<T>);
        impl<T: Send + 'static> Drop for Disband<'_, T> {
            fn drop(&mut self) {
                *self.0 = Crew::new();
            }
        }
        let items = self.items.as_mut()?;
        self.closed = true;
        let disband = Disband(&mut self.crew);
        let item = items.next();
        if item.is_none() {
            self.items = None;
        }
        std::mem::forget(disband);
        self.closed = false;
        item
    }

    /// The item at this position is done.
    fn note(&mut self, position: u64, result: Result<T, JoinError>) {
        let turn = if self.ordered { position } else { self.ended };
        self.ended += 1;
        self.done.insert(turn, result);
    }

    fn hand_out(&mut self) -> Option<Result<T, JoinError>> {
        let result = self.done.remove(&self.handed_out)?;
        self.handed_out += 1;
        Some(result)
    }

    /// Waits for one task to end, or sees to those that must not go on.
    fn advance(&mut self, me: Option<&Rc<Me>>) {
        let wanted = self.ordered.then_some(self.handed_out);
        match self.crew.wait(me, wanted) {
            News::Ended(position, result) => self.note(position, result),
            News::Stuck(position, deadlock) => self.crew.kill(position, deadlock),
            News::Late(position, late) => match self.on_timeout {
                OnTimeout::Kill => self.crew.kill(position, late),
                OnTimeout::Exit => {
                    self.close();
                    if me.is_some() {
                        exit_with(ExitReason::error(late));
                    }
                    panic!("{late}");
                }
            },
        }
    }

    /// How many results are to come of the items taken so far.
    fn under_way(&self) -> usize {
        self.crew.len() + self.done.len()
    }
}

impl<I, T> Iterator for TaskStream<I, T>
where
    I: Iterator<Item: Send + 'static>,
    T: Send + 'static,
{
    type Item = Result<T, JoinError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.closed || (self.items.is_none() && self.under_way() == 0) {
            return None;
        }
        let me = match owner() {
            Ok(me) => me,
            Err(exiting) => {
                self.close();
                return Some(Err(exiting));
            }
        };
        loop {
            if let Some(result) = self.hand_out() {
                return Some(result);
            }
            // Not before what is kept is handed out: a slow caller must not make the stream run ahead.
            self.fill();
            if self.under_way() == 0 {
                self.closed = true;
                return None;
            }
            // A start that failed just now is a result already, whoever else is at work.
            if !self.done.contains_key(&self.handed_out) {
                self.advance(me.as_ref());
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        if self.closed {
            return (0, Some(0));
        }
        let (least, most) = self.items.as_ref().map_or((0, Some(0)), Iterator::size_hint);
        let under_way = self.under_way();
        (least.saturating_add(under_way), most.and_then(|most| most.checked_add(under_way)))
    }
}

impl<I: Iterator, T: Send + 'static> TaskStream<I, T> {
    /// Ends what runs, and gives nothing more.
    fn close(&mut self) {
        self.closed = true;
        self.crew = Crew::new();
        for (_, unwanted) in self.done.drain() {
            discard(unwanted);
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
            .field("running", &self.crew.len())
            .finish_non_exhaustive()
    }
}
