//! Ending processes: `exit`, `exit_with`, `throw`, `is_alive`, and how an unwind starts its deadline. What happens
//! when a process exits, step by step, is `complete_exit` in `deliver.rs`.

use std::any::Any;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::exception;
use crate::exception::Exception;
use crate::pid::Pid;
use crate::process::control::block::ProcessBlock;
use crate::process::control::local;
use crate::process::control::local::CurrentProcess;
use crate::process::control::table;
use crate::process::signals::deliver::arm_unwind_deadline;
use crate::process::signals::deliver::deliver_exit_signal;
use crate::process::signals::deliver::deliver_shutdown;
use crate::process::signals::effect::Origin;
use crate::reason::{ExitReason, PanicReport};

/// The exit reason of a process that does not complete the unwind of its own throw in time.
const UNCAUGHT_THROW: &str = "a throw was not caught in time";

/// Sends an exit signal. A target that has exited is ignored. Nothing is returned, because the outcome is
/// not known yet: the signal takes effect at the target's next runtime call.
///
/// | reason | target | does not trap exits | traps exits |
/// | --- | --- | --- | --- |
/// | `Normal` | other | nothing happens | `Exit` message |
/// | `Normal` | self | exits, `Normal` | `Exit` message |
/// | `Kill` | any | exits, `Killed` | exits, `Killed` |
/// | other | any | exits with it | `Exit` message |
///
/// # Differences from Erlang
/// A thread cannot be stopped from outside. The target reacts at once if it waits in a runtime call
/// (receive, call, sleep), else at its next one; its destructors run. If it does not complete its exit within
/// `kill_grace` or `exit_timeout` ([`Settings`](crate::process::Settings)), its links and monitors are
/// notified without it, and it becomes a [`Zombie`](crate::process::Zombie).
///
/// ```
/// use std::time::Duration;
/// use rethread::ExitReason;
/// use rethread::process;
///
/// let child = process::spawn(|| process::sleep(Duration::MAX))?;
/// let watch = process::watch(child);
/// process::exit(child, ExitReason::Kill);
/// assert_eq!(watch.wait(), ExitReason::Killed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn exit(pid: impl Into<Pid>, reason: impl Into<ExitReason>) {
    let pid = pid.into();
    local::checkpoint();
    let Some(target) = find_target(pid) else {
        return;
    };
    let from = local::sender_pid();
    let origin = if from == pid { Origin::ToSelf } else { Origin::Sent };
    deliver_exit_signal(&target, from, &reason.into(), origin);
    // A fatal signal to oneself takes effect here, not at the next runtime call.
    if origin == Origin::ToSelf {
        local::checkpoint();
    }
}

/// Sends the exit signal `Shutdown` to a child of the calling supervisor. If the child does not trap exits, it has at
/// least `timeout` and its kill grace to complete its exit, even if its exit timeout is shorter.
pub(crate) fn shut_down(child: Pid, timeout: Duration) {
    local::checkpoint();
    if let Some(target) = find_target(child) {
        deliver_shutdown(&target, local::sender_pid(), timeout);
    }
}

/// Returns the process to signal; `None` if it has exited, or if the calling thread is a zombie's.
fn find_target(pid: Pid) -> Option<Arc<ProcessBlock>> {
    match local::get() {
        Some(me) if me.is_zombie() => None,
        _ => table::get(pid),
    }
}

/// Exits the calling process with `reason`, like Erlang's `exit/1`: class *exit*, which
/// [`attempt`](crate::process::attempt) can catch. Destructors run.
///
/// # Panics
/// On a thread that is not a process: there is nothing to end.
///
/// ```
/// use rethread::ExitReason;
/// use rethread::process;
///
/// let child = process::spawn(|| process::exit_with("done early"))?;
/// # let _ = child;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn exit_with(reason: impl Into<ExitReason>) -> ! {
    let reason = reason.into();
    let me = expect_process("exit_with");
    me.checkpoint();
    arm_unwind_deadline(&me.block, &reason);
    exception::exit(reason)
}

/// Throws a value: class *throw*, for leaving deep code in one step. If the throw is not caught, the process exits
/// with [`ExitReason::NoCatch`].
///
/// # Panics
/// On a thread that is not a process.
///
/// ```
/// use rethread::process::{self, attempt};
///
/// let result = process::attach(|| {
///     attempt(|| -> i32 { process::throw(42) }).catch_throw(|value: i32| value)
/// })?;
/// assert_eq!(result, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn throw(value: impl Any + Send) -> ! {
    let me = expect_process("throw");
    me.checkpoint();
    arm_unwind_deadline(&me.block, &ExitReason::new(UNCAUGHT_THROW));
    exception::throw(Box::new(value))
}

/// Returns `true` if a process is running: not exiting and not exited. An exiting process may still have its
/// name and its links for a moment. Always `false` after your own [`exit`] with a fatal reason.
///
/// # Differences from Erlang
/// There, `false` also means that the name is free. Here only an `Exit` or `Down` means that.
///
/// ```
/// use std::time::Duration;
/// use rethread::ExitReason;
/// use rethread::process;
///
/// let child = process::spawn(|| process::sleep(Duration::MAX))?;
/// assert!(process::is_alive(child));
/// process::exit(child, ExitReason::Kill);
/// assert!(!process::is_alive(child));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn is_alive(pid: impl Into<Pid>) -> bool {
    local::checkpoint();
    table::get(pid.into()).is_some_and(|block| !block.is_exiting())
}

/// Returns the process of the calling thread.
///
/// # Panics
/// On a thread that is not a process; `function` is the name of the public function in the message.
#[track_caller]
pub(crate) fn expect_process(function: &str) -> Rc<CurrentProcess> {
    match local::get() {
        Some(me) => me,
        None => {
            panic!("process::{function} was called on a thread that is not a process; see process::attach")
        }
    }
}

/// Starts the deadline for the unwind of a panic; the panic hook calls it. A destructor that hangs must not
/// keep the process from exiting.
pub(crate) fn on_panic(report: &PanicReport) {
    if let Some(me) = local::get() {
        arm_unwind_deadline(&me.block, &ExitReason::Panic(report.clone()));
    }
}

/// Resumes the unwind of a caught exception, with a new deadline.
pub(crate) fn resume_unwind(exception: Exception) -> ! {
    if let Some(me) = local::get() {
        match &exception {
            Exception::Error(report) => arm_unwind_deadline(&me.block, &ExitReason::Panic(report.clone())),
            Exception::Exit(reason) => arm_unwind_deadline(&me.block, reason),
            Exception::Throw(_) => arm_unwind_deadline(&me.block, &ExitReason::new(UNCAUGHT_THROW)),
            // The sender of the signal has started the exit deadline.
            Exception::ExitSignal => {}
        }
    }
    exception.resume()
}
