//! Functions for the calling process: checkpoints, trapping exits, sleeping, exit hooks, its label.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::pid::{Pid, TimerRef};
use crate::process::control::block::Phase;
use crate::process::control::block::ProcessBlock;
use crate::process::control::local;
use crate::process::park::timer_thread;
use crate::process::signals::exit::expect_process;
use crate::unwind::catch_and_log;

/// Returns the pid of the calling process, like Erlang's `self()`; `None` on a thread that is not a process.
///
/// ```
/// use rethread::process::{self, Inbox};
///
/// assert_eq!(process::current(), None);
/// let child = process::spawn_receiver(|inbox: &mut Inbox<()>| {
///     assert_eq!(process::current(), Some(inbox.pid()));
/// })?;
/// # let _ = child;
/// # Ok::<(), process::SpawnError>(())
/// ```
pub fn current() -> Option<Pid> {
    local::checkpoint();
    local::pid()
}

/// Sets whether the calling process receives exit signals as `Exit` messages instead of exiting because of
/// them, all but `Kill`; returns the previous setting. A signal that has arrived already is not undone.
///
/// # Panics
/// On a thread that is not a process.
///
/// ```
/// use rethread::process::{self, Event, Inbox};
///
/// process::attach_receiver(|inbox: &mut Inbox<()>| {
///     process::trap_exit(true);
///     let child = process::spawn_link(|| process::exit_with("oops")).expect("a free thread");
///     let Event::Exit { from, reason } = inbox.recv() else { panic!("expected an Exit") };
///     assert_eq!((from, reason), (child, "oops".into()));
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn trap_exit(on: bool) -> bool {
    let me = expect_process("trap_exit");
    me.checkpoint();
    let mut state = me.block.lock();
    // A signal that arrived between the checkpoint and here was handled according to the previous setting.
    std::mem::replace(&mut state.traps_exits, on)
}

/// Unwinds if a fatal exit signal has arrived, otherwise costs a few nanoseconds: a place where a long computation
/// can be ended. Most functions of this module do the same first; [`exit_requested`] does not. On a thread that is
/// not a process it does nothing.
///
/// ```
/// use rethread::ExitReason;
/// use rethread::process;
///
/// let busy = process::spawn(|| loop { process::checkpoint() })?;
/// process::exit(busy, ExitReason::Shutdown);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn checkpoint() {
    local::checkpoint();
}

/// Returns `true` if an exit signal has arrived that will end this process at its next runtime call. For long
/// computations that do their own cleanup.
///
/// ```
/// assert!(!rethread::process::exit_requested());
/// ```
#[must_use = "it does not end the process; `checkpoint` does"]
pub fn exit_requested() -> bool {
    local::get().is_some_and(|me| me.block.is_exiting())
}

/// Suspends the calling thread. A fatal exit signal interrupts the sleep and ends the process at once. In a
/// destructor of an exiting process it returns immediately.
///
/// ```
/// rethread::process::sleep(std::time::Duration::from_millis(1));
/// ```
pub fn sleep(duration: Duration) {
    if local::get().is_some_and(|me| me.signals_masked()) {
        return;
    }
    local::park::<()>(Some(timer_thread::deadline_after(duration)), || None);
}

/// A guard made by [`on_exit_request`]. Dropping it removes the hook.
#[must_use = "dropping it removes the hook at once"]
pub struct ExitHook {
    block: Arc<ProcessBlock>,
    id: TimerRef,
}

/// Registers a hook that is called when a fatal exit signal reaches this process, until the returned guard is
/// dropped. The hook unblocks a foreign call that the runtime cannot interrupt (close the socket, signal the
/// condition variable). It runs on the thread that sent the signal (on the caller's, if the process is exiting
/// already), at most once, and must be quick; the process may have exited before the last of its hooks has run.
///
/// # Panics
/// On a thread that is not a process.
///
/// ```no_run
/// use std::net::{Shutdown, TcpStream};
/// use std::io::Read;
/// use rethread::process;
///
/// let mut socket = TcpStream::connect("127.0.0.1:5454")?;
/// let handle = socket.try_clone()?;
/// let reader = process::spawn(move || {
///     let _hook = process::on_exit_request(move || { let _ = handle.shutdown(Shutdown::Both); });
///     let mut buffer = [0; 512];
///     while socket.read(&mut buffer).is_ok_and(|n| n > 0) {}
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn on_exit_request(hook: impl FnOnce() + Send + 'static) -> ExitHook {
    let me = expect_process("on_exit_request");
    me.checkpoint();
    let id = TimerRef::next();
    let mut state = me.block.lock();
    if matches!(state.phase, Phase::Running) {
        state.hooks.push((id, Box::new(hook)));
        drop(state);
    } else {
        // The process is exiting: no later signal will look for this hook, so call it here.
        drop(state);
        catch_and_log("an exit hook", hook);
    }
    ExitHook { block: Arc::clone(&me.block), id }
}

impl fmt::Debug for ExitHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExitHook({})", self.block.pid)
    }
}

impl Drop for ExitHook {
    fn drop(&mut self) {
        // A signal may have taken the hook out already: then the hook has run, is running, or is about to run.
        let mut state = self.block.lock();
        let found = state.hooks.iter().position(|(id, _)| *id == self.id);
        let hook = found.map(|at| state.hooks.remove(at));
        drop(state);
        // After unlocking: dropping the hook runs user code.
        drop(hook);
    }
}

/// Sets the label of the calling process for reports and listings: a free text that need not be unique.
///
/// # Panics
/// On a thread that is not a process.
///
/// ```
/// use rethread::process;
/// let child = process::spawn(|| process::set_label("reader of port 7"))?;
/// # let _ = child;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn set_label(label: impl Into<Arc<str>>) {
    let me = expect_process("set_label");
    me.checkpoint();
    let label = label.into(); // before locking: it may be user code
    let previous = me.block.lock().label.replace(label);
    drop(previous);
}
