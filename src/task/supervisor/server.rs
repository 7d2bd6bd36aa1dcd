//! The supervisor of tasks itself: a dynamic supervisor by another name. User code starts it.

use std::fmt;

use crate::child_spec::StartError;
use crate::gen_server::callbacks::Context;
use crate::gen_server::callbacks::GenServer;
use crate::gen_server::callbacks::Info;
use crate::gen_server::callbacks::InitError;
use crate::gen_server::reply::Next;
use crate::gen_server::server_ref::ServerRef;
use crate::reason::ExitReason;
use crate::supervisor::dynamic::children::DynamicChildren;
use crate::supervisor::dynamic::request::DynamicSupervisorCall;
use crate::supervisor::dynamic::request::DynamicSupervisorCast;
use crate::supervisor::dynamic::server::DynamicSupervisorInit;
use crate::supervisor::dynamic::server::log_unexpected;
use crate::supervisor::dynamic::server::next_after_exit;
use crate::supervisor::dynamic::spec::DynamicSupervisorSpec;

/// A supervisor of tasks: Elixir's `Task.Supervisor`. Its tasks end when it does, can be listed, and are limited
/// in number; and only under a supervisor a task can be without a link to its owner.
///
/// ```
/// use rethread::prelude::*;
///
/// const TASKS: ServerRef<TaskSupervisor> = ServerRef::named("doc.tasks");
/// let system = Supervisor::start_link([TaskSupervisor::new().name(TASKS)], Strategy::OneForOne)?;
///
/// let risky = TASKS.spawn_nolink(|| -> u32 { panic!("no paper") })?;
/// assert!(risky.join().unwrap_err().to_string().contains("no paper")); // and nobody else dies of it
/// TASKS.start_child(|| println!("printed, or not: nobody waits for it"))?;
/// system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # In a server
/// A server that starts a task keeps the handle beside a monitor, and joins when the monitor fires: then
/// [`join`](crate::Task::join) returns at once. What became of the task is for `join` to say: the reason of the `Down` is
/// `NoProc` if the task had ended before the monitor was set.
///
/// ```
/// use std::collections::HashMap;
/// use rethread::prelude::*;
///
/// const TASKS: ServerRef<TaskSupervisor> = ServerRef::named("doc.tasks of a server");
///
/// struct Printer { running: HashMap<MonitorRef, Task<usize>>, pages: usize, failed: usize }
/// enum Ask  { Done(Caller<(usize, usize)>) }
/// enum Tell { Print(&'static str) }
///
/// impl GenServer for Printer {
///     type Args = ();
///     type Call = Ask;
///     type Cast = Tell;
///
///     fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
///         Ok(Printer { running: HashMap::new(), pages: 0, failed: 0 })
///     }
///     fn handle_call(&mut self, Ask::Done(from): Ask, _: &mut Context<Self>) -> Next {
///         from.reply((self.pages, self.failed))
///     }
///     fn handle_cast(&mut self, Tell::Print(text): Tell, _: &mut Context<Self>) -> Next {
///         let print = move || { assert!(!text.is_empty(), "no text"); 1 };
///         match TASKS.spawn_nolink(print) {
///             Ok(task) => drop(self.running.insert(process::monitor(&task), task)),
///             Err(_) => self.failed += 1, // there is no supervisor, or no thread to be had
///         }
///         Next::wait()
///     }
///     fn handle_info(&mut self, info: Info, _: &mut Context<Self>) -> Next {
///         if let Info::Down { monitor, .. } = info {
///             match self.running.remove(&monitor).map(Task::join) {
///                 Some(Ok(pages)) => self.pages += pages,
///                 Some(Err(_)) => self.failed += 1, // or again later: `cx.send_after`
///                 None => {} // a monitor of something else
///             }
///         }
///         Next::wait()
///     }
/// }
///
/// const PRINTER: ServerRef<Printer> = ServerRef::named("doc.printer with tasks");
/// // The supervisor of the tasks first: what comes later is stopped before it, and starts again with it.
/// let system = Supervisor::rest_for_one()
///     .child(TaskSupervisor::new().name(TASKS))
///     .child(Printer::child_spec(()).name(PRINTER))
///     .start()?;
/// PRINTER.cast(Tell::Print("one page"));
/// PRINTER.cast(Tell::Print(""));
/// # while PRINTER.call(Ask::Done)? != (1, 1) { process::sleep(std::time::Duration::from_millis(1)) }
/// assert_eq!(PRINTER.call(Ask::Done)?, (1, 1));
/// system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It is a [`DynamicSupervisor`](crate::DynamicSupervisor) whose children are tasks: each is done once and never
/// restarted. One that is to be restarted is a [`Task::child_spec`](crate::Task::child_spec) under a supervisor of the other kinds.
///
/// # What can be asked of it
/// Its handle starts tasks, lists and ends them:
/// [`ServerRef<TaskSupervisor>`](crate::ServerRef#impl-ServerRef%3CTaskSupervisor%3E).
///
/// # One for each connection
/// Work that is done once may use up what it was given, such as a socket: it is an `FnOnce`.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::{Shutdown, TcpListener, TcpStream};
/// use rethread::prelude::*;
///
/// fn serve(mut socket: TcpStream) -> std::io::Result<()> {
///     let end = socket.try_clone()?;
///     let _hook = process::on_exit_request(move || drop(end.shutdown(Shutdown::Both))); // ends a `read`
///     let mut line = [0; 5];
///     socket.read_exact(&mut line)?;
///     socket.write_all(&line)
/// }
///
/// const CONNECTIONS: ServerRef<TaskSupervisor> = ServerRef::named("doc.connections");
/// let system = Supervisor::start_link([TaskSupervisor::new().max_children(100).name(CONNECTIONS)], Strategy::OneForOne)?;
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut client = TcpStream::connect(listener.local_addr()?)?;
/// let (socket, _) = listener.accept()?;
/// match CONNECTIONS.start_child(|| serve(socket).or_exit()) {
///     Err(StartError::MaxChildren { .. }) => println!("too many: the socket is closed"),
///     started => drop(started?),
/// }
/// client.write_all(b"hello")?;
/// let mut answer = String::new();
/// client.read_to_string(&mut answer)?;
/// assert_eq!(answer, "hello");
/// system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TaskSupervisor(DynamicChildren);

impl TaskSupervisor {
    /// A plan with the defaults.
    #[track_caller]
    pub fn new() -> DynamicSupervisorSpec<Self> {
        DynamicSupervisorSpec::with_defaults()
    }

    /// Starts one with the defaults, linked to the calling process. On a foreign thread there is nothing to
    /// link to.
    ///
    /// # Errors
    /// [`StartError`].
    #[track_caller]
    pub fn start_link() -> Result<ServerRef<Self>, StartError> {
        Self::new().start_link()
    }
}

impl fmt::Debug for TaskSupervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskSupervisor").finish_non_exhaustive()
    }
}

impl GenServer for TaskSupervisor {
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
