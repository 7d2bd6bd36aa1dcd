//! The supervisor itself: a server that traps exits, hears of its children's ends, and does what `decide`
//! and `budget` say. Everything runs in its own process, one thing at a time.

use std::fmt;
use std::sync::Arc;

use once_cell::sync::OnceCell;

use crate::child_spec::{ChildId, ChildSpec, StartError};
use crate::gen_server::behaviour::{Context, GenServer, Info, Stop};
use crate::gen_server::handle::ServerRef;
use crate::gen_server::reply::Next;
use crate::gen_server::start::{Spec, Start};
use crate::pid::Pid;
use crate::reason::ExitReason;
use crate::supervisor::account::{Books, publish_end};
use crate::supervisor::budget::Budget;
use crate::supervisor::children::{
    Child, Children, FailedToStartChild, Status, child_info, count, has_ended, report, too_many_zombies,
};
use crate::supervisor::decide::{Fate, fate, scope, shuts_down};
use crate::supervisor::request::{Ask, ChildError, Reminder, Request, TryAgain};
use crate::supervisor::spec::{AutoShutdown, Strategy, SupervisorSpec, check_child};

/// A process that starts others, and starts them again when they end.
///
/// ```
/// use rethread::prelude::*;
///
/// # pub struct Cache;
/// # impl GenServer for Cache {
/// #     type Args = (); type Call = Never; type Cast = Never;
/// #     fn init(_: (), _: &mut Context<Self>) -> Result<Self, Stop> { Ok(Cache) }
/// #     fn handle_call(&mut self, call: Never, _: &mut Context<Self>) -> Next { match call {} }
/// #     fn handle_cast(&mut self, cast: Never, _: &mut Context<Self>) -> Next { match cast {} }
/// # }
/// const CACHE: ServerRef<Cache> = ServerRef::named("doc.supervised cache");
///
/// let system = Supervisor::start_link([Cache::child_spec(()).name(CACHE)], Strategy::OneForOne)?;
/// let first = CACHE.whereis();
/// let watch = CACHE.watch();
/// process::exit(first.unwrap(), ExitReason::Kill);
/// watch.wait();
/// // A new process under the same name: nobody holds a stale handle.
/// let second = CACHE.whereis_within(std::time::Duration::from_secs(1));
/// assert!(second.is_some() && second != first);
/// system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Children are started in order, each when the one before is ready, and stopped in reverse order. A
/// child that ends is treated by its [`Restart`](crate::Restart) and the supervisor's [`Strategy`]; more
/// restarts than `max_restarts` allows, and the supervisor stops its children and ends with `Shutdown`,
/// so that its own supervisor can try.
///
/// # What can be asked of it
/// Its handle lists, adds, stops and restarts children:
/// [`ServerRef<Supervisor>`](crate::ServerRef#impl-ServerRef%3CSupervisor%3E).
///
/// # Differences from Erlang
/// The restart window is measured in milliseconds, not whole seconds. Children are listed in start order.
/// A child whose thread will not stop is declared dead and becomes a zombie
/// ([`process::zombies`](crate::process::zombies)); when there are too many of them, the supervisor gives
/// up instead of starting another.
pub struct Supervisor {
    /// For the log.
    called: String,
    strategy: Strategy,
    auto_shutdown: AutoShutdown,
    books: Arc<Books>,
    max_zombies: Option<usize>,
    gave_up: Option<Arc<OnceCell<String>>>,
    children: Children,
    retries: u64,
}

impl Supervisor {
    /// A plan with [`Strategy::OneForOne`].
    #[track_caller]
    pub fn one_for_one() -> SupervisorSpec {
        SupervisorSpec::new(Strategy::OneForOne)
    }

    /// A plan with [`Strategy::OneForAll`].
    #[track_caller]
    pub fn one_for_all() -> SupervisorSpec {
        SupervisorSpec::new(Strategy::OneForAll)
    }

    /// A plan with [`Strategy::RestForOne`].
    #[track_caller]
    pub fn rest_for_one() -> SupervisorSpec {
        SupervisorSpec::new(Strategy::RestForOne)
    }

    /// Starts a supervisor with these children and defaults for the rest, linked to the calling process.
    /// On a foreign thread there is nothing to link to.
    ///
    /// Children of several types are listed as what they have in common:
    /// `[Cache::child_spec(()).into(), Web::child_spec(port).into()] as [ChildSpec; 2]`; or they are added one
    /// by one: `Supervisor::one_for_one().child(..).child(..).start_link()`.
    ///
    /// # Errors
    /// As [`SupervisorSpec::start_link`].
    #[track_caller]
    pub fn start_link<C: Into<ChildSpec>>(
        children: impl IntoIterator<Item = C>,
        strategy: Strategy,
    ) -> Result<ServerRef<Self>, StartError> {
        SupervisorSpec::new(strategy).children(children).start_link()
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("called", &self.called).finish_non_exhaustive()
    }
}

impl SupervisorSpec {
    /// The name of the supervisor.
    pub fn name(mut self, name: ServerRef<Supervisor>) -> Self {
        self.name = Some(name.to);
        self
    }

    /// Starts the supervisor and its children, linked to the calling process. On a foreign thread there is
    /// nothing to link to: it is [`start`](Self::start).
    ///
    /// # Errors
    /// [`StartError::BadSpec`] if the plan makes no sense: nothing was started. If a child does not start,
    /// those before it are stopped and the error is [`StartError::Failed`], its reason a `ShutdownWith` that
    /// holds a [`FailedToStartChild`].
    #[track_caller]
    pub fn start_link(self) -> Result<ServerRef<Supervisor>, StartError> {
        self.check().map_err(StartError::BadSpec)?;
        self.spec().start_link()
    }

    /// Starts the supervisor without a link.
    ///
    /// # Errors
    /// As [`start_link`](Self::start_link).
    #[track_caller]
    pub fn start(self) -> Result<ServerRef<Supervisor>, StartError> {
        self.check().map_err(StartError::BadSpec)?;
        self.spec().start()
    }

    /// The supervisor as a child of another, for those who want to set more than its name. Its id is its name;
    /// two without one that stand beside each other need ids, `.spec().id("readers")`.
    pub fn spec(mut self) -> Spec<Supervisor> {
        let name = self.name.take().map(ServerRef::<Supervisor>::new);
        let called = name.as_ref().map_or_else(|| "Supervisor".to_owned(), ToString::to_string);
        let made_at = self.made_at;
        let plan = Plan { called, make: Arc::new(move || Ok(self.clone())) };
        let spec = Supervisor::child_spec(plan).supervisor().made_at(made_at);
        match name {
            Some(name) => spec.id(name.to_string()).name(name),
            None => spec,
        }
    }
}

impl From<SupervisorSpec> for Spec<Supervisor> {
    fn from(plan: SupervisorSpec) -> Self {
        plan.spec()
    }
}

impl From<SupervisorSpec> for ChildSpec {
    fn from(plan: SupervisorSpec) -> Self {
        plan.spec().into()
    }
}

/// What a supervisor is started from. Made by [`SupervisorSpec::spec`] and
/// [`Supervise`](crate::Supervise).
#[derive(Clone)]
pub struct Plan {
    pub(crate) called: String,
    pub(crate) make: Arc<dyn Fn() -> Result<SupervisorSpec, Stop> + Send + Sync>,
}

impl Plan {
    /// Has the supervisor note there that it gave up, and why.
    pub(crate) fn noting(self, gave_up: &Arc<OnceCell<String>>) -> Self {
        let (make, gave_up) = (self.make, Arc::clone(gave_up));
        let make = move || make().map(|spec| SupervisorSpec { gave_up: Some(Arc::clone(&gave_up)), ..spec });
        Self { called: self.called, make: Arc::new(make) }
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plan({})", self.called)
    }
}

impl GenServer for Supervisor {
    type Args = Plan;
    type Call = Request;
    type Cast = Reminder;

    fn init(plan: Plan, cx: &mut Context<Self>) -> Result<Self, Stop> {
        cx.trap_exit(true);
        let spec = (plan.make)()?;
        spec.check()?;
        let mut supervisor = Self {
            called: format!("{} {}", plan.called, cx.me()),
            strategy: spec.strategy,
            auto_shutdown: spec.auto_shutdown,
            books: Books::open(Some(spec.strategy), Budget::new(spec.max_restarts, spec.period)),
            max_zombies: spec.max_zombies,
            gave_up: spec.gave_up,
            children: Children(spec.children.into_iter().map(Child::new).collect()),
            retries: 0,
        };
        let all = 0..supervisor.children.0.len();
        if let Err((at, error)) = supervisor.start_range(all) {
            let id = supervisor.children.0[at].spec.id.clone();
            report(
                log::Level::Error,
                format_args!("supervisor {}: child {id} did not start: {error}", supervisor.called),
            );
            supervisor.children.stop(0..at, &supervisor.called);
            return Err(Stop::Reason(ExitReason::shutdown_carrying(FailedToStartChild { id, error })));
        }
        supervisor.write_down();
        Ok(supervisor)
    }

    fn handle_call(&mut self, Request(ask): Request, _: &mut Context<Self>) -> Next {
        let next = match ask {
            Ask::Start(child, from) => from.reply(self.start_child(child)),
            Ask::Terminate(id, from) => from.reply(self.terminate_child(&id)),
            Ask::Restart(id, from) => from.reply(self.restart_child(&id)),
            Ask::Delete(id, from) => from.reply(self.delete_child(&id)),
            Ask::Which(from) => from.reply(self.children.0.iter().map(child_info).collect()),
            Ask::Count(from) => from.reply(count(self.children.0.iter())),
            Ask::Spec(id, from) => {
                let at = self.children.position(&id);
                from.reply(at.map(|at| self.children.0[at].spec.clone()).ok_or(ChildError::NotFound))
            }
        };
        self.write_down();
        next
    }

    fn handle_cast(&mut self, Reminder(TryAgain { id, retry }): Reminder, cx: &mut Context<Self>) -> Next {
        let next = match self.children.position(&id) {
            Some(at) if self.children.0[at].status == Status::Restarting(retry) => self.restart(at, cx),
            _ => Next::wait(), // it was stopped, deleted or restarted by hand meanwhile
        };
        self.write_down();
        next
    }

    fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Next {
        let next = match info {
            Info::Exit { from, reason } => match self.children.position_of(from) {
                Some(at) if has_ended(&self.children.0[at], from, &self.called) => {
                    self.child_ended(at, from, &reason, cx)
                }
                _ => Next::wait(), // no child of ours, or no longer
            },
            other => {
                report(
                    log::Level::Warn,
                    format_args!("supervisor {} got an unexpected {other:?}", self.called),
                );
                Next::wait()
            }
        };
        self.write_down();
        next
    }

    fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
        let all = 0..self.children.0.len();
        self.children.stop(all, &self.called);
    }
}

/// A child ended by itself: what now?
impl Supervisor {
    /// Lets observers see the children as they are now.
    fn write_down(&self) {
        self.books.list(self.children.0.iter());
    }

    fn child_ended(&mut self, at: usize, pid: Pid, reason: &ExitReason, cx: &mut Context<Self>) -> Next {
        let child = &mut self.children.0[at];
        child.status = Status::Stopped;
        let fate = fate(child.spec.restart, reason);
        child.report_end(&self.called, pid, reason);
        let significant = child.spec.significant;
        match fate {
            Fate::Restart => return self.restart(at, cx),
            Fate::Rest => {}
            Fate::Forget => drop(self.children.0.remove(at)),
        }
        let left =
            self.children.0.iter().any(|child| child.spec.significant && child.status != Status::Stopped);
        if significant && shuts_down(self.auto_shutdown, left) {
            report(
                log::Level::Debug,
                format_args!("supervisor {}: a significant child ended, shutting down", self.called),
            );
            if reason.is_abnormal() {
                self.note("a significant child failed");
            }
            return Next::stop(ExitReason::Shutdown);
        }
        Next::wait()
    }

    fn give_up(&self, why: &str) -> Next {
        report(log::Level::Error, format_args!("supervisor {}: {why}, shutting down", self.called));
        self.note(why);
        publish_end(why);
        Next::stop(ExitReason::Shutdown)
    }

    /// For whom this supervisor is the top one: to go down now is a failure, though its reason is `Shutdown`.
    fn note(&self, failure: &str) {
        if let Some(gave_up) = &self.gave_up {
            let _ = gave_up.set(format!("supervisor {}: {failure}", self.called));
        }
    }

    /// Restarts what the strategy says, if the budget allows.
    fn restart(&mut self, at: usize, cx: &Context<Self>) -> Next {
        if !self.books.spend() {
            self.children.0[at].status = Status::Stopped;
            let id = &self.children.0[at].spec.id;
            return self.give_up(&format!("reached_max_restart_intensity by child {id}"));
        }
        let id = self.children.0[at].spec.id.clone();
        self.children.0[at].status = Status::Stopped;
        let mut range = scope(self.strategy, at, self.children.0.len());
        self.children.stop(range.clone(), &self.called);
        range.end -= self.forget_temporary(range.clone(), &id);
        if too_many_zombies(self.children.0[range.clone()].iter(), self.max_zombies) {
            return self.give_up("zombie_limit");
        }
        let started = self.start_range(range.clone());
        self.children.0.iter().skip(range.start).take(range.len()).for_each(Child::publish_restart);
        if let Err((failed, error)) = started {
            self.retries += 1;
            let child = &mut self.children.0[failed];
            child.status = Status::Restarting(self.retries);
            report(
                log::Level::Error,
                format_args!(
                    "supervisor {}: child {} did not start again: {error}",
                    self.called, child.spec.id
                ),
            );
            // Through the mailbox, so that requests and our own shutdown get in between.
            cx.cast(Reminder(TryAgain { id: child.spec.id.clone(), retry: self.retries }));
        }
        Next::wait()
    }

    /// Temporary children that were stopped with others are not started again; says how many.
    fn forget_temporary(&mut self, range: std::ops::Range<usize>, keep: &ChildId) -> usize {
        let before = self.children.0.len();
        let mut at = 0;
        self.children.0.retain(|child| {
            let forget = range.contains(&at) && child.temporary() && child.spec.id != *keep;
            at += 1;
            !forget
        });
        before - self.children.0.len()
    }

    /// Starts those in a range in order; at the first failure says which and why.
    fn start_range(&mut self, range: std::ops::Range<usize>) -> Result<(), (usize, StartError)> {
        let mut ignored = Vec::new();
        let mut result = Ok(());
        for at in range {
            match self.children.0[at].start(&self.called, log::Level::Info) {
                Ok(Some(_)) => {}
                Ok(None) => ignored.push(at),
                Err(error) => {
                    result = Err((at, error));
                    break;
                }
            }
        }
        // An ignored temporary child is not kept.
        ignored.retain(|&at| self.children.0[at].temporary());
        for at in ignored.iter().rev() {
            self.children.0.remove(*at);
        }
        result.map_err(|(at, error)| (at - ignored.len(), error))
    }
}

/// What the supervisor is asked from outside.
impl Supervisor {
    fn start_child(&mut self, spec: ChildSpec) -> Result<Option<Pid>, StartError> {
        let mut child = Child::new(spec); // from here on its destructor is contained
        check_child(&child.spec, self.auto_shutdown).map_err(StartError::BadSpec)?;
        if let Some(at) = self.children.position(&child.spec.id) {
            return Err(match self.children.0[at].status {
                Status::Running(pid) => StartError::AlreadyStarted(pid),
                Status::Restarting(_) | Status::Stopped => StartError::AlreadyPresent,
            });
        }
        let started = child.start(&self.called, log::Level::Debug)?;
        if started.is_some() || !child.temporary() {
            self.children.0.push(child);
        }
        Ok(started)
    }

    fn terminate_child(&mut self, id: &ChildId) -> Result<(), ChildError> {
        let at = self.children.position(id).ok_or(ChildError::NotFound)?;
        self.children.stop(at..at + 1, &self.called);
        if self.children.0[at].temporary() {
            self.children.0.remove(at);
        }
        Ok(())
    }

    fn restart_child(&mut self, id: &ChildId) -> Result<Option<Pid>, ChildError> {
        let at = self.children.position(id).ok_or(ChildError::NotFound)?;
        let child = &mut self.children.0[at];
        match child.status {
            Status::Running(_) => Err(ChildError::Running),
            Status::Restarting(_) => Err(ChildError::Restarting),
            Status::Stopped => {
                child.await_reaping();
                child.start(&self.called, log::Level::Debug).map_err(ChildError::Start)
            }
        }
    }

    fn delete_child(&mut self, id: &ChildId) -> Result<(), ChildError> {
        let at = self.children.position(id).ok_or(ChildError::NotFound)?;
        match self.children.0[at].status {
            Status::Running(_) => Err(ChildError::Running),
            Status::Restarting(_) => Err(ChildError::Restarting),
            Status::Stopped => {
                self.children.0.remove(at);
                Ok(())
            }
        }
    }
}
