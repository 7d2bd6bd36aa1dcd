//! The dynamic supervisor itself: a server that traps exits and keeps children that are asked for one by one.

use std::fmt;
use std::sync::Arc;

use crate::child_spec::{ChildSpec, StartError};
use crate::dynamic_supervisor::children::{DynamicChildren, Then};
use crate::dynamic_supervisor::request::{DynamicReminder, DynamicRequest};
use crate::dynamic_supervisor::spec::DynamicSupervisorSpec;
use crate::gen_server::behaviour::{Context, GenServer, Info, Stop};
use crate::gen_server::handle::ServerRef;
use crate::gen_server::reply::Next;
use crate::gen_server::start::{Spec, Start};
use crate::reason::ExitReason;
use crate::supervisor::children::report;

/// A supervisor that starts without children and is asked for them while it runs: one for each user,
/// connection, file. It is [`Strategy::OneForOne`](crate::Strategy::OneForOne) always, its children are known
/// by their pids, and it stops them all at once.
///
/// ```
/// use rethread::prelude::*;
///
/// pub struct Room { people: u32 }
/// pub enum Ask { Enter(Caller<u32>) }
///
/// impl GenServer for Room {
///     type Args = u32; type Call = Ask; type Cast = Never;
///     fn init(people: u32, _: &mut Context<Self>) -> Result<Self, Stop> { Ok(Room { people }) }
///     fn handle_call(&mut self, Ask::Enter(from): Ask, _: &mut Context<Self>) -> Next {
///         self.people += 1;
///         from.reply(self.people)
///     }
///     fn handle_cast(&mut self, cast: Never, _: &mut Context<Self>) -> Next { match cast {} }
/// }
///
/// const ROOMS: ServerRef<DynamicSupervisor> = ServerRef::named("doc.rooms");
/// let system = Supervisor::start_link([DynamicSupervisor::new().name(ROOMS)], Strategy::OneForOne)?;
///
/// let room = ROOMS.start_server(Room::child_spec(10))?;
/// assert_eq!(room.call(Ask::Enter)?, 11);
/// let pid = ROOMS.start_child(Room::child_spec(0).restart(Restart::Temporary))?;
/// assert_eq!(ROOMS.count_children()?.active, 2);
/// ROOMS.terminate_child(pid.expect("it does not ask to be ignored"))?;
/// # system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A child that is restarted gets a new pid: who must find it again gives it a name, or a key in a
/// registry.
///
/// # Differences from Erlang
/// It is Elixir's `DynamicSupervisor`. Erlang's `simple_one_for_one`, one spec with arguments that are added
/// at each start, is a function from those arguments to a [`ChildSpec`]; so are Elixir's `extra_arguments`.
pub struct DynamicSupervisor(DynamicChildren);

impl DynamicSupervisor {
    /// A plan with the defaults.
    #[expect(
        clippy::new_ret_no_self,
        reason = "a supervisor is a process: what one holds is its plan, or a ServerRef"
    )]
    pub fn new() -> DynamicSupervisorSpec {
        DynamicSupervisorSpec::new()
    }

    /// Starts one with the defaults, linked to the calling process. On a foreign thread there is nothing to
    /// link to.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start_link() -> Result<ServerRef<Self>, StartError> {
        Self::new().start_link()
    }
}

impl fmt::Debug for DynamicSupervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicSupervisor").finish_non_exhaustive()
    }
}

impl DynamicSupervisorSpec {
    /// The name of the supervisor.
    pub fn name(mut self, name: ServerRef<DynamicSupervisor>) -> Self {
        self.name = Some(name.to);
        self
    }

    /// Starts the supervisor, linked to the calling process. On a foreign thread there is nothing to link to:
    /// it is [`start`](Self::start).
    ///
    /// # Errors
    /// [`StartError::BadSpec`] if the plan makes no sense, and what [`Start::start_link`] lists.
    #[track_caller]
    pub fn start_link(self) -> Result<ServerRef<DynamicSupervisor>, StartError> {
        self.check().map_err(StartError::BadSpec)?;
        self.spec().start_link()
    }

    /// Starts the supervisor without a link.
    ///
    /// # Errors
    /// As [`start_link`](Self::start_link).
    #[track_caller]
    pub fn start(self) -> Result<ServerRef<DynamicSupervisor>, StartError> {
        self.check().map_err(StartError::BadSpec)?;
        self.spec().start()
    }

    /// The supervisor as a child of another, for those who want to set more than its name: two that stand
    /// beside each other need ids, `.spec().id("readers")`.
    pub fn spec(mut self) -> Spec<DynamicSupervisor> {
        let name = self.name.take().map(ServerRef::<DynamicSupervisor>::new);
        let called = name.as_ref().map_or_else(|| "DynamicSupervisor".to_owned(), ToString::to_string);
        let plan = DynamicPlan { called, make: Arc::new(move || Ok(self.clone())) };
        let spec = DynamicSupervisor::child_spec(plan).supervisor();
        match name {
            Some(name) => spec.name(name),
            None => spec,
        }
    }
}

impl From<DynamicSupervisorSpec> for ChildSpec {
    fn from(plan: DynamicSupervisorSpec) -> Self {
        plan.spec().into()
    }
}

/// What a dynamic supervisor is started from. Made by [`DynamicSupervisorSpec::spec`] and
/// [`SuperviseDynamic`](crate::SuperviseDynamic).
#[derive(Clone)]
pub struct DynamicPlan {
    pub(crate) called: String,
    pub(crate) make: Arc<dyn Fn() -> Result<DynamicSupervisorSpec, Stop> + Send + Sync>,
}

impl DynamicPlan {
    /// The children there are at first: none.
    pub(crate) fn children(&self, me: impl fmt::Display) -> Result<DynamicChildren, Stop> {
        let plan = (self.make)()?;
        plan.check()?;
        Ok(DynamicChildren::new(format!("{} {me}", self.called), &plan))
    }
}

impl fmt::Debug for DynamicPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DynamicPlan({})", self.called)
    }
}

impl GenServer for DynamicSupervisor {
    type Args = DynamicPlan;
    type Call = DynamicRequest;
    type Cast = DynamicReminder;

    fn init(plan: DynamicPlan, cx: &mut Context<Self>) -> Result<Self, Stop> {
        cx.trap_exit(true);
        plan.children(cx.me()).map(Self)
    }

    fn handle_call(&mut self, DynamicRequest(ask): DynamicRequest, _: &mut Context<Self>) -> Next {
        self.0.answer(ask)
    }

    fn handle_cast(&mut self, DynamicReminder(pid): DynamicReminder, cx: &mut Context<Self>) -> Next {
        next(self.0.try_again(pid), cx)
    }

    fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Next {
        match info {
            Info::Exit { from, reason } => next(self.0.ended(from, &reason), cx),
            other => unexpected(&other, cx),
        }
    }

    fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
        self.0.stop_all();
    }
}

/// What the server does next, after the end of a child.
pub(crate) fn next<S: GenServer<Cast = DynamicReminder>>(then: Then, cx: &Context<S>) -> Next {
    match then {
        Then::GoOn => Next::wait(),
        Then::GiveUp => Next::stop(ExitReason::Shutdown),
        Then::TryAgain(pid) => {
            cx.cast(DynamicReminder(pid));
            Next::wait()
        }
    }
}

/// Nothing else is sent to a supervisor on purpose.
pub(crate) fn unexpected<S: GenServer>(info: &Info, cx: &Context<S>) -> Next {
    report(log::Level::Warn, format_args!("supervisor {} got an unexpected {info:?}", cx.me()));
    Next::wait()
}
