//! The dynamic supervisor itself: a server that traps exits and keeps children that are asked for one by one.

use std::fmt;
use std::sync::Arc;

use crate::gen_server::callbacks::Context;
use crate::gen_server::callbacks::GenServer;
use crate::gen_server::callbacks::Info;
use crate::gen_server::callbacks::InitError;
use crate::gen_server::reply::Next;
use crate::reason::ExitReason;
use crate::supervisor::children::write_log;
use crate::supervisor::dynamic::children::AfterExit;
use crate::supervisor::dynamic::children::DynamicChildren;
use crate::supervisor::dynamic::limits::Limits;
use crate::supervisor::dynamic::request::DynamicSupervisorCall;
use crate::supervisor::dynamic::request::DynamicSupervisorCast;

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
///     fn init(people: u32, _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Room { people }) }
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
/// Children that use up what they are given, such as a socket, cannot be restarted: they are tasks of a
/// [`TaskSupervisor`](crate::TaskSupervisor#one-for-each-connection).
///
/// # What can be asked of it
/// Its handle lists, ends and adds children:
/// [`ServerRef<DynamicSupervisor>`](crate::ServerRef#impl-ServerRef%3CDynamicSupervisor%3E).
///
/// A child that is restarted gets a new pid: who must find it again gives it a name, or a key in a
/// registry.
///
/// # Differences from Erlang
/// It is Elixir's `DynamicSupervisor`. Erlang's `simple_one_for_one`, one spec with arguments that are added
/// at each start, is a function from those arguments to a [`ChildSpec`](crate::ChildSpec); so are Elixir's `extra_arguments`.
pub struct DynamicSupervisor(DynamicChildren);

impl fmt::Debug for DynamicSupervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicSupervisor").finish_non_exhaustive()
    }
}

/// What a dynamic supervisor is started from. Made by [`DynamicSupervisorSpec::spec`](crate::DynamicSupervisorSpec::spec) and
/// [`SuperviseDynamic`](crate::SuperviseDynamic).
#[derive(Clone)]
pub struct DynamicSupervisorInit {
    pub(crate) name: String,
    pub(crate) make: Arc<dyn Fn() -> Result<Limits, InitError> + Send + Sync>,
}

impl DynamicSupervisorInit {
    /// The children there are at first: none.
    pub(crate) fn create_children(&self, pid: impl fmt::Display) -> Result<DynamicChildren, InitError> {
        let limits = (self.make)()?;
        limits.check()?;
        Ok(DynamicChildren::new(format!("{} {pid}", self.name), &limits))
    }
}

impl fmt::Debug for DynamicSupervisorInit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DynamicPlan({})", self.name)
    }
}

impl GenServer for DynamicSupervisor {
    type Args = DynamicSupervisorInit;
    type Call = DynamicSupervisorCall;
    type Cast = DynamicSupervisorCast;

    fn init(args: DynamicSupervisorInit, cx: &mut Context<Self>) -> Result<Self, InitError> {
        cx.trap_exit(true);
        args.create_children(cx.pid()).map(Self)
    }

    fn handle_call(
        &mut self,
        DynamicSupervisorCall(request): DynamicSupervisorCall,
        _: &mut Context<Self>,
    ) -> Next {
        self.0.handle_request(request)
    }

    fn handle_cast(
        &mut self,
        DynamicSupervisorCast(pid): DynamicSupervisorCast,
        cx: &mut Context<Self>,
    ) -> Next {
        next_after_exit(self.0.retry_restart(pid), cx)
    }

    fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Next {
        match info {
            Info::Exit { from, reason } => next_after_exit(self.0.on_exit(from, &reason), cx),
            other => log_unexpected(&other, cx),
        }
    }

    fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
        self.0.stop_all();
    }
}

/// What the server does next, after the end of a child.
pub(crate) fn next_after_exit<S: GenServer<Cast = DynamicSupervisorCast>>(
    after_exit: AfterExit,
    cx: &Context<S>,
) -> Next {
    match after_exit {
        AfterExit::Continue => Next::wait(),
        AfterExit::GiveUp => Next::stop(ExitReason::Shutdown),
        AfterExit::Retry(pid) => {
            cx.cast(DynamicSupervisorCast(pid));
            Next::wait()
        }
    }
}

/// Nothing else is sent to a supervisor on purpose.
pub(crate) fn log_unexpected<S: GenServer>(info: &Info, cx: &Context<S>) -> Next {
    write_log(log::Level::Warn, format_args!("supervisor {} got an unexpected {info:?}", cx.pid()));
    Next::wait()
}
