//! `attach`: a thread that exists already, such as that of `main` or of a test, becomes a process for a while.

use std::sync::Arc;

use crate::process::control::local;
use crate::process::control::settings::ProcessPermit;
use crate::process::control::settings::settings;
use crate::process::error::{AttachError, SpawnError};
use crate::process::lifecycle::run::drop_inbox;
use crate::process::lifecycle::run::run_process;
use crate::process::lifecycle::spawn::Builder;
use crate::process::lifecycle::spawn::create_block;
use crate::process::lifecycle::spawn::without_inbox;
use crate::process::mailbox::inbox::Inbox;
use crate::process::park::backoff::ActiveThreadGuard;
use crate::reason::ExitReason;

/// Makes the calling thread a process while `body` runs, so that `main` or a test can link, monitor and start linked
/// processes. When the body returns, the process exits with `Normal` and its value is returned. The process has no
/// [`Inbox`]: to receive messages, trapped exits and `Down`s use [`attach_receiver`].
///
/// # Errors
/// [`AttachError::Exited`] if an exit signal, a panic or `exit_with` ended the body: the unwind ends here and
/// does not reach the caller. [`AttachError::Spawn`] if the thread is a process already, if there are too many
/// processes, or if it is called in the destructor of a thread-local.
///
/// ```
/// use rethread::process;
///
/// let ended = process::attach(|| {
///     process::spawn_link(|| process::exit_with("oops")).expect("a free thread");
///     process::sleep(std::time::Duration::MAX); // the exit signal of the child interrupts it
/// });
/// assert_eq!(ended.unwrap_err().to_string(), "oops");
/// ```
#[track_caller]
pub fn attach<T>(body: impl FnOnce() -> T) -> Result<T, AttachError> {
    attach_receiver(without_inbox(body))
}

/// Makes the calling thread a process with a mailbox while `body` runs, so that `main` or a test can link, monitor,
/// trap exits and receive. When the body returns, the process exits with `Normal` and its value is returned.
///
/// # Errors
/// [`AttachError::Exited`] if an exit signal, a panic or `exit_with` ended the body: the unwind ends here and
/// does not reach the caller. [`AttachError::Spawn`] if the thread is a process already, if there are too many
/// processes, or if it is called in the destructor of a thread-local.
///
/// ```
/// use rethread::process::{self, Event, Inbox};
///
/// let reason = process::attach_receiver(|inbox: &mut Inbox<()>| {
///     process::trap_exit(true);
///     process::spawn_link(|| process::exit_with("oops")).expect("a free thread");
///     match inbox.recv() {
///         Event::Exit { reason, .. } => reason,
///         other => panic!("expected an Exit, received {other:?}"),
///     }
/// })?;
/// assert_eq!(reason.to_string(), "oops");
/// # Ok::<(), process::AttachError>(())
/// ```
#[track_caller]
pub fn attach_receiver<M: Send + 'static, T>(
    body: impl FnOnce(&mut Inbox<M>) -> T,
) -> Result<T, AttachError> {
    if let Some(me) = local::get() {
        return Err(AttachError::Spawn(SpawnError::AlreadyAProcess(me.block.pid)));
    }
    // Without its thread-locals the thread cannot be a process.
    if local::thread_is_exiting() {
        return Err(AttachError::Spawn(SpawnError::Exiting));
    }
    let defaults = settings();
    let permit = ProcessPermit::try_acquire(defaults.max_processes)
        .map_err(|limit| AttachError::Spawn(SpawnError::SystemLimit { limit }))?;
    let (block, reader) = create_block::<M>(&Builder::new(), None, &defaults);
    // Threads of the runtime are counted all the time; this one only while it is a process.
    let _active = ActiveThreadGuard::new();
    let mut inbox = Inbox::new(Arc::clone(&block), reader);
    let value = run_process(&block, permit, &mut inbox, body);
    drop_inbox(inbox);
    value.ok_or_else(|| AttachError::Exited(block.exit_reason().unwrap_or(ExitReason::Normal)))
}
