//! Talking to a supervisor of tasks: having them started, listing and ending them. User code calls it.

use crate::child_spec::StartError;
use crate::gen_server::call::CallError;
use crate::gen_server::server_ref::ServerRef;
use crate::pid::Pid;
use crate::supervisor::dynamic::client::call_supervisor;
use crate::supervisor::dynamic::client::terminate_child;
use crate::supervisor::dynamic::request::DynamicChildRequest;
use crate::supervisor::request::{ChildError, ChildInfo};
use crate::task::handle::Task;
use crate::task::stream::TaskStream;
use crate::task::supervisor::builder::TaskBuilder;
use crate::task::supervisor::server::TaskSupervisor;

impl ServerRef<TaskSupervisor> {
    /// Has a task started that is linked with the calling process, which owns it, and with the supervisor:
    /// Elixir's `Task.Supervisor.async`. On a thread that is not a process it is
    /// [`spawn_nolink`](Self::spawn_nolink).
    ///
    /// # Errors
    /// [`StartError::MaxChildren`], [`StartError::NoSupervisor`], [`StartError::SystemLimit`],
    /// [`StartError::Thread`].
    #[track_caller]
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Task<T>, StartError> {
        self.builder().spawn(work)
    }

    /// As [`spawn`](Self::spawn), without a link to the owner: when it crashes the owner learns that from
    /// [`join`](Task::join) and from nothing else, and it goes on when the owner ends.
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn spawn_nolink<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Task<T>, StartError> {
        self.builder().spawn_nolink(work)
    }

    /// Has a task started that nobody waits for.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    #[track_caller]
    pub fn start_child(&self, work: impl FnOnce() + Send + 'static) -> Result<Pid, StartError> {
        self.builder().start_child(work)
    }

    /// As [`Task::stream`], each task linked with the supervisor too.
    ///
    /// ```
    /// use rethread::prelude::*;
    ///
    /// let tasks = TaskSupervisor::start_link()?;
    /// let lengths = tasks.stream(["a", "bb", "ccc"], |word| word.len()).max_concurrency(2);
    /// assert_eq!(lengths.collect::<Result<Vec<_>, _>>()?, [1, 2, 3]);
    /// tasks.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn stream<I, T>(
        &self,
        items: I,
        work: impl Fn(I::Item) -> T + Send + Sync + 'static,
    ) -> TaskStream<I::IntoIter, T>
    where
        I: IntoIterator,
        I::Item: Send + 'static,
        T: Send + 'static,
    {
        let supervisor = self.clone();
        let start = move |process, body| supervisor.builder().with_process(process).linked().start(body);
        TaskStream::new(items.into_iter(), work, Box::new(start))
    }

    /// As [`stream`](Self::stream), without links to the process that iterates: a crash is an element, whether
    /// that process traps exits or not.
    ///
    /// ```
    /// use rethread::prelude::*;
    ///
    /// let tasks = TaskSupervisor::start_link()?;
    /// let halves = tasks.stream_nolink([4, 3], |n| { assert!(n % 2 == 0, "{n} is odd"); n / 2 });
    /// assert_eq!(halves.filter_map(Result::ok).collect::<Vec<_>>(), [2]);
    /// tasks.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn stream_nolink<I, T>(
        &self,
        items: I,
        work: impl Fn(I::Item) -> T + Send + Sync + 'static,
    ) -> TaskStream<I::IntoIter, T>
    where
        I: IntoIterator,
        I::Item: Send + 'static,
        T: Send + 'static,
    {
        let supervisor = self.clone();
        let start = move |process, body| supervisor.builder().with_process(process).start(body);
        TaskStream::new(items.into_iter(), work, Box::new(start))
    }

    /// For tasks with more than the defaults.
    ///
    /// ```
    /// use rethread::prelude::*;
    ///
    /// let tasks = TaskSupervisor::start_link()?;
    /// let task = tasks.builder().label("parser").shutdown(Shutdown::BrutalKill).spawn(|| "parsed")?;
    /// assert_eq!(task.join()?, "parsed");
    /// tasks.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder(&self) -> TaskBuilder {
        TaskBuilder::new(self)
    }

    /// The tasks that run, the oldest first.
    ///
    /// # Errors
    /// [`CallError`] if the supervisor is not there.
    pub fn children(&self) -> Result<Vec<Pid>, CallError> {
        Ok(call_supervisor(self, DynamicChildRequest::Which)?.iter().filter_map(ChildInfo::pid).collect())
    }

    /// Ends a task.
    ///
    /// # Errors
    /// [`ChildError::NotFound`] if it has no such task, or no longer; [`ChildError::NoSupervisor`].
    pub fn terminate_child(&self, task: impl Into<Pid>) -> Result<(), ChildError> {
        terminate_child(self, task.into())
    }
}
