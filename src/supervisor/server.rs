//! The supervisor itself: a server that traps exits, hears of its children's ends, and does what `decide`
//! and `budget` say. Everything runs in its own process, one thing at a time.

use std::fmt;
use std::sync::Arc;

use once_cell::sync::OnceCell;

use crate::child_spec::{ChildId, ChildSpec, StartError};
use crate::gen_server::callbacks::Context;
use crate::gen_server::callbacks::GenServer;
use crate::gen_server::callbacks::Info;
use crate::gen_server::callbacks::InitError;
use crate::gen_server::reply::Next;
use crate::gen_server::server_ref::ServerRef;
use crate::gen_server::start::{GenServerExt, ServerSpec};
use crate::pid::Pid;
use crate::reason::ExitReason;
use crate::supervisor::children::{
    Child, Children, FailedToStartChild, Status, child_info, count, is_dead, too_many_zombies, write_log,
};
use crate::supervisor::intensity::RestartIntensity;
use crate::supervisor::policy::Decision;
use crate::supervisor::policy::affected_range;
use crate::supervisor::policy::decide;
use crate::supervisor::policy::should_auto_shutdown;
use crate::supervisor::request::{ChildError, ChildRequest, RetryRestart, SupervisorCall, SupervisorCast};
use crate::supervisor::spec::{AutoShutdown, Strategy, SupervisorSpec, check_child};
use crate::supervisor::status::StatusBoard;
use crate::supervisor::status::publish_give_up;

/// A process that starts others, and starts them again when they end.
///
/// ```
/// use rethread::prelude::*;
///
/// # pub struct Cache;
/// # impl GenServer for Cache {
/// #     type Args = (); type Call = Never; type Cast = Never;
/// #     fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Cache) }
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
/// let second = CACHE.whereis_timeout(std::time::Duration::from_secs(1));
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
    name: String,
    strategy: Strategy,
    auto_shutdown: AutoShutdown,
    status_board: Arc<StatusBoard>,
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
        f.debug_struct("Supervisor").field("called", &self.name).finish_non_exhaustive()
    }
}

impl SupervisorSpec {
    /// The name of the supervisor.
    pub fn name(mut self, name: ServerRef<Supervisor>) -> Self {
        self.name = Some(name.target);
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
    pub fn spec(mut self) -> ServerSpec<Supervisor> {
        let name = self.name.take().map(ServerRef::<Supervisor>::new);
        let display_name = name.as_ref().map_or_else(|| "Supervisor".to_owned(), ToString::to_string);
        let defined_at = self.defined_at;
        let init = SupervisorInit { name: display_name, make: Arc::new(move || Ok(self.clone())) };
        let spec = Supervisor::child_spec(init).supervisor().defined_at(defined_at);
        match name {
            Some(name) => spec.id(name.to_string()).name(name),
            None => spec,
        }
    }
}

impl From<SupervisorSpec> for ServerSpec<Supervisor> {
    fn from(spec: SupervisorSpec) -> Self {
        spec.spec()
    }
}

impl From<SupervisorSpec> for ChildSpec {
    fn from(spec: SupervisorSpec) -> Self {
        spec.spec().into()
    }
}

/// What a supervisor is started from. Made by [`SupervisorSpec::spec`] and
/// [`Supervise`](crate::Supervise).
#[derive(Clone)]
pub struct SupervisorInit {
    pub(crate) name: String,
    pub(crate) make: Arc<dyn Fn() -> Result<SupervisorSpec, InitError> + Send + Sync>,
}

impl SupervisorInit {
    /// Has the supervisor note there that it gave up, and why.
    pub(crate) fn with_give_up_cell(self, gave_up: &Arc<OnceCell<String>>) -> Self {
        let (make, gave_up) = (self.make, Arc::clone(gave_up));
        let make = move || make().map(|spec| SupervisorSpec { gave_up: Some(Arc::clone(&gave_up)), ..spec });
        Self { name: self.name, make: Arc::new(make) }
    }
}

impl fmt::Debug for SupervisorInit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plan({})", self.name)
    }
}

impl GenServer for Supervisor {
    type Args = SupervisorInit;
    type Call = SupervisorCall;
    type Cast = SupervisorCast;

    fn init(args: SupervisorInit, cx: &mut Context<Self>) -> Result<Self, InitError> {
        cx.trap_exit(true);
        let spec = (args.make)()?;
        spec.check()?;
        let mut supervisor = Self {
            name: format!("{} {}", args.name, cx.pid()),
            strategy: spec.strategy,
            auto_shutdown: spec.auto_shutdown,
            status_board: StatusBoard::register(
                Some(spec.strategy),
                RestartIntensity::new(spec.max_restarts, spec.period),
            ),
            max_zombies: spec.max_zombies,
            gave_up: spec.gave_up,
            children: Children(spec.children.into_iter().map(Child::new).collect()),
            retries: 0,
        };
        let all = 0..supervisor.children.0.len();
        if let Err((at, error)) = supervisor.start_range(all) {
            let id = supervisor.children.0[at].spec.id.clone();
            write_log(
                log::Level::Error,
                format_args!("supervisor {}: child {id} did not start: {error}", supervisor.name),
            );
            supervisor.children.stop(0..at, &supervisor.name);
            return Err(InitError::Stop(ExitReason::shutdown_with_error(FailedToStartChild { id, error })));
        }
        supervisor.publish_children();
        Ok(supervisor)
    }

    fn handle_call(&mut self, SupervisorCall(request): SupervisorCall, _: &mut Context<Self>) -> Next {
        let next = match request {
            ChildRequest::Start(child, from) => from.reply(self.start_child(child)),
            ChildRequest::Terminate(id, from) => from.reply(self.terminate_child(&id)),
            ChildRequest::Restart(id, from) => from.reply(self.restart_child(&id)),
            ChildRequest::Delete(id, from) => from.reply(self.delete_child(&id)),
            ChildRequest::Which(from) => from.reply(self.children.0.iter().map(child_info).collect()),
            ChildRequest::Count(from) => from.reply(count(self.children.0.iter())),
            ChildRequest::Spec(id, from) => {
                let at = self.children.position(&id);
                from.reply(at.map(|at| self.children.0[at].spec.clone()).ok_or(ChildError::NotFound))
            }
        };
        self.publish_children();
        next
    }

    fn handle_cast(
        &mut self,
        SupervisorCast(RetryRestart { id, retry }): SupervisorCast,
        cx: &mut Context<Self>,
    ) -> Next {
        let next = match self.children.position(&id) {
            Some(at) if self.children.0[at].status == Status::Restarting(retry) => self.restart(at, cx),
            _ => Next::wait(), // it was stopped, deleted or restarted by hand meanwhile
        };
        self.publish_children();
        next
    }

    fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Next {
        let next = match info {
            Info::Exit { from, reason } => match self.children.position_of(from) {
                Some(at) if is_dead(&self.children.0[at], from, &self.name) => {
                    self.on_child_exit(at, from, &reason, cx)
                }
                _ => Next::wait(), // no child of ours, or no longer
            },
            other => {
                write_log(
                    log::Level::Warn,
                    format_args!("supervisor {} got an unexpected {other:?}", self.name),
                );
                Next::wait()
            }
        };
        self.publish_children();
        next
    }

    fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
        let all = 0..self.children.0.len();
        self.children.stop(all, &self.name);
    }
}

/// A child ended by itself: what now?
impl Supervisor {
    /// Lets observers see the children as they are now.
    fn publish_children(&self) {
        self.status_board.set_children(self.children.0.iter());
    }

    fn on_child_exit(&mut self, at: usize, pid: Pid, reason: &ExitReason, cx: &mut Context<Self>) -> Next {
        let child = &mut self.children.0[at];
        child.status = Status::Stopped;
        let decision = decide(child.spec.restart, reason);
        child.log_exit(&self.name, pid, reason);
        let significant = child.spec.significant;
        match decision {
            Decision::Restart => return self.restart(at, cx),
            Decision::Keep => {}
            Decision::Remove => drop(self.children.0.remove(at)),
        }
        let significant_left =
            self.children.0.iter().any(|child| child.spec.significant && child.status != Status::Stopped);
        if significant && should_auto_shutdown(self.auto_shutdown, significant_left) {
            write_log(
                log::Level::Debug,
                format_args!("supervisor {}: a significant child ended, shutting down", self.name),
            );
            if reason.is_abnormal() {
                self.record_give_up("a significant child failed");
            }
            return Next::stop(ExitReason::Shutdown);
        }
        Next::wait()
    }

    fn give_up(&self, why: &str) -> Next {
        write_log(log::Level::Error, format_args!("supervisor {}: {why}, shutting down", self.name));
        self.record_give_up(why);
        publish_give_up(why);
        Next::stop(ExitReason::Shutdown)
    }

    /// For whom this supervisor is the top one: to go down now is a failure, though its reason is `Shutdown`.
    fn record_give_up(&self, failure: &str) {
        if let Some(gave_up) = &self.gave_up {
            let _ = gave_up.set(format!("supervisor {}: {failure}", self.name));
        }
    }

    /// Restarts what the strategy says, if the budget allows.
    fn restart(&mut self, at: usize, cx: &Context<Self>) -> Next {
        if !self.status_board.record_restart() {
            self.children.0[at].status = Status::Stopped;
            let id = &self.children.0[at].spec.id;
            return self.give_up(&format!("reached_max_restart_intensity by child {id}"));
        }
        let id = self.children.0[at].spec.id.clone();
        self.children.0[at].status = Status::Stopped;
        let mut range = affected_range(self.strategy, at, self.children.0.len());
        self.children.stop(range.clone(), &self.name);
        range.end -= self.remove_temporary(range.clone(), &id);
        if too_many_zombies(self.children.0[range.clone()].iter(), self.max_zombies) {
            return self.give_up("zombie_limit");
        }
        let started = self.start_range(range.clone());
        self.children.0.iter().skip(range.start).take(range.len()).for_each(Child::publish_restart);
        if let Err((failed, error)) = started {
            self.retries += 1;
            let child = &mut self.children.0[failed];
            child.status = Status::Restarting(self.retries);
            write_log(
                log::Level::Error,
                format_args!(
                    "supervisor {}: child {} did not start again: {error}",
                    self.name, child.spec.id
                ),
            );
            // Through the mailbox, so that requests and our own shutdown get in between.
            cx.cast(SupervisorCast(RetryRestart { id: child.spec.id.clone(), retry: self.retries }));
        }
        Next::wait()
    }

    /// Temporary children that were stopped with others are not started again; says how many.
    fn remove_temporary(&mut self, range: std::ops::Range<usize>, except: &ChildId) -> usize {
        let before = self.children.0.len();
        let mut at = 0;
        self.children.0.retain(|child| {
            let remove = range.contains(&at) && child.is_temporary() && child.spec.id != *except;
            at += 1;
            !remove
        });
        before - self.children.0.len()
    }

    /// Starts those in a range in order; at the first failure says which and why.
    fn start_range(&mut self, range: std::ops::Range<usize>) -> Result<(), (usize, StartError)> {
        let mut ignored = Vec::new();
        let mut result = Ok(());
        for at in range {
            match self.children.0[at].start(&self.name, log::Level::Info) {
                Ok(Some(_)) => {}
                Ok(None) => ignored.push(at),
                Err(error) => {
                    result = Err((at, error));
                    break;
                }
            }
        }
        // An ignored temporary child is not kept.
        ignored.retain(|&at| self.children.0[at].is_temporary());
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
        let started = child.start(&self.name, log::Level::Debug)?;
        if started.is_some() || !child.is_temporary() {
            self.children.0.push(child);
        }
        Ok(started)
    }

    fn terminate_child(&mut self, id: &ChildId) -> Result<(), ChildError> {
        let at = self.children.position(id).ok_or(ChildError::NotFound)?;
        self.children.stop(at..at + 1, &self.name);
        if self.children.0[at].is_temporary() {
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
                child.wait_until_reaped();
                child.start(&self.name, log::Level::Debug).map_err(ChildError::Start)
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
