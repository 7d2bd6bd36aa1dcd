//! What a process does about itself: checkpoints, trapping exits, sleeping, hooks, its label. Called by user
//! code.

use std::sync::Arc;
use std::time::Duration;

use crate::pid::{Pid, TimerRef};
use crate::process::control::block::Phase;
use crate::process::control::block::ProcessBlock;
use crate::process::control::local;
use crate::process::park::timer_thread;
use crate::process::signals::exit::expect_process;
use crate::unwind::catch_and_log;

/// The pid of the calling process, Erlang's `self()`; `None` on a foreign thread.
///
/// ```
/// use rethread::process;
/// assert_eq!(process::current(), None);
/// let child = process::spawn::<()>(|inbox| assert_eq!(process::current(), Some(inbox.pid())))?;
/// # let _ = child;
/// # Ok::<(), process::SpawnError>(())
/// ```
pub fn current() -> Option<Pid> {
    local::checkpoint();
    local::pid()
}

/// Makes the calling process receive exit signals as `Exit` messages instead of ending by them, all but
/// `Kill`; returns what was set before. A signal that has arrived already is not undone.
///
/// # Panics
/// On a thread that is not a process.
///
/// ```
/// use rethread::process::{self, Event, Inbox};
///
/// process::attach(|inbox: &mut Inbox<()>| {
///     process::trap_exit(true);
///     let child = process::spawn_link::<()>(|_| process::exit_with("oops")).expect("a free thread");
///     let Event::Exit { from, reason } = inbox.recv() else { panic!("an exit was due") };
///     assert_eq!((from, reason), (child.pid(), "oops".into()));
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn trap_exit(on: bool) -> bool {
    let me = expect_process("trap_exit");
    me.checkpoint();
    let mut state = me.block.lock();
    // A signal that came between the checkpoint and here was fatal or not by the flag of its moment.
    std::mem::replace(&mut state.traps_exits, on)
}

/// A place where a long computation can be ended: unwinds if an exit signal has arrived, else costs a few
/// nanoseconds. Every other function of this module does the same first. On a foreign thread it does
/// nothing.
///
/// ```
/// use rethread::{ExitReason, process};
///
/// let busy = process::spawn::<()>(|_| loop { process::checkpoint() })?;
/// process::exit(&busy, ExitReason::Shutdown);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn checkpoint() {
    local::checkpoint();
}

/// Whether an exit signal has arrived that will end this process at its next runtime call. For long
/// computations that want to tidy up themselves.
///
/// ```
/// assert!(!rethread::process::exit_requested());
/// ```
#[must_use = "it does not end the process; `checkpoint` does"]
pub fn exit_requested() -> bool {
    local::get().is_some_and(|me| me.block.is_exiting())
}

/// Suspends the calling thread. An exit signal ends a process in it at once. Called in a destructor of a
/// process that is exiting it returns immediately.
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

/// Registered by [`on_exit_request`]: dropping it takes the hook away.
#[derive(Debug)]
#[must_use = "dropping it takes the hook away at once"]
pub struct ExitHook {
    block: Option<Arc<ProcessBlock>>,
    id: TimerRef,
}

/// Has `hook` called when a fatal exit signal reaches this process, for as long as the returned guard
/// lives: it unblocks a foreign call that the runtime cannot interrupt (close the socket, signal the
/// condition variable). It runs on the thread of whoever sent the signal, at most once, and must be quick;
/// the process may be dead before the last of its hooks has run.
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
/// let reader = process::spawn::<()>(move |_| {
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
        // It came too late to be told by the signal.
        drop(state);
        catch_and_log("an exit-request hook", hook);
    }
    ExitHook { block: Some(Arc::clone(&me.block)), id }
}

impl Drop for ExitHook {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            let mut state = block.lock();
            let found = state.hooks.iter().position(|(id, _)| *id == self.id);
            let hook = found.map(|at| state.hooks.remove(at));
            drop(state);
            drop(hook);
        }
    }
}

/// Gives the calling process a label for reports and listings: free text, need not be unique.
///
/// # Panics
/// On a thread that is not a process.
///
/// ```
/// use rethread::process;
/// let child = process::spawn::<()>(|_| process::set_label("reader of port 7"))?;
/// # let _ = child;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn set_label(label: impl Into<Arc<str>>) {
    let me = expect_process("set_label");
    me.checkpoint();
    let previous = me.block.lock().label.replace(label.into());
    drop(previous);
}
