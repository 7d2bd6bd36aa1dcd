//! The process of the current thread: the state that only this thread uses, the checks at the start of every
//! runtime call, and interruptible waits.
//!
//! An exit signal ends a process at its next *checkpoint*: the call unwinds the stack, as a panic does.
//! Signals are *masked* while destructors run; then runtime calls return errors instead of unwinding.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::exception;
use crate::pid::Pid;
use crate::process::control::activity::Activity;
use crate::process::control::block::Phase;
use crate::process::control::block::ProcessBlock;
use crate::process::park::backoff::ActiveThreadGuard;
use crate::process::park::parker::Parker;
use crate::process::park::timer_thread;
use crate::reason::ExitReason;

/// A reply handle that was dropped without a reply. Its caller is still waiting.
pub(crate) trait DroppedCaller {
    /// Ends the wait of the caller with an error.
    fn notify_dropped(&self);
}

/// The process of the current thread, with the state that only this thread uses.
pub(crate) struct CurrentProcess {
    pub(crate) block: Arc<ProcessBlock>,
    /// Runtime calls do not unwind: the body has ended and only destructors run, or `with_signals_masked` is
    /// running.
    signals_masked: Cell<bool>,
    /// `defer_exit` is running: an exit signal is masked if it arrives, and interrupts no wait.
    exit_deferred: Cell<bool>,
    /// This thread runs the exit cleanup of the process.
    in_cleanup: Cell<bool>,
    /// Dropped reply handles are kept in `dropped_callers`: see `defer_dropped_callers`.
    defers_dropped: Cell<bool>,
    /// Reply handles that were dropped, whose callers have not been notified.
    dropped_callers: RefCell<Vec<Arc<dyn DroppedCaller>>>,
    /// Number of messages received since the process last sent one; saturates.
    received_since_send: Cell<u32>,
    /// The caller of the request being handled, until it has a reply.
    current_caller: Cell<Option<Pid>>,
    /// Number of runtime calls that the process made as a zombie.
    calls_as_zombie: Cell<u32>,
}

/// A process that has received more messages than this without sending one is considered a sink.
const SINK_THRESHOLD: u32 = 64;

/// A zombie makes this many runtime calls without a delay: enough to unwind through nested code that catches panics.
const MAX_PROMPT_ZOMBIE_CALLS: u32 = 64;
/// The delay of each further call. At 1 ms an unwind, which costs some microseconds, uses less than 1 % of a core.
const MIN_ZOMBIE_DELAY: Duration = Duration::from_millis(1);
/// The delay of a call after 100,000 others.
const MAX_ZOMBIE_DELAY: Duration = Duration::from_millis(100);

thread_local! {
    /// `None` on foreign threads, and between two processes.
    static CURRENT: RefCell<Option<Rc<CurrentProcess>>> = const { RefCell::new(None) };
    /// The parker of a foreign thread.
    static THREAD_PARKER: Arc<Parker> = Arc::new(new_thread_parker());
    /// For destructors of other thread-locals that wait when `THREAD_PARKER` is destroyed already. All waits
    /// of a thread must use the same parker, or a waker would unpark the wrong one; so this one is never
    /// destroyed, but leaked.
    static FALLBACK_PARKER: ManuallyDrop<Arc<Parker>> = ManuallyDrop::new(Arc::new(new_thread_parker()));
}

/// Creates a parker that belongs to the calling thread.
fn new_thread_parker() -> Parker {
    let parker = Parker::default();
    parker.bind_to_current_thread();
    parker
}

/// Returns the process of the calling thread, or `None` on a foreign thread.
#[inline]
pub(crate) fn get() -> Option<Rc<CurrentProcess>> {
    // While the thread-locals of the thread are being destroyed it has no process.
    CURRENT.try_with(|me| me.borrow().clone()).ok().flatten()
}

/// Returns `true` if the thread-locals of this thread are being destroyed: it cannot become a process.
pub(crate) fn thread_is_exiting() -> bool {
    CURRENT.try_with(|_| ()).is_err()
}

/// Makes the calling thread run this process, or no process if `block` is `None`.
pub(crate) fn set(block: Option<Arc<ProcessBlock>>) {
    let me = block.map(|block| {
        // From here on other threads can wake this one.
        block.parker.bind_to_current_thread();
        Rc::new(CurrentProcess {
            block,
            signals_masked: Cell::new(false),
            exit_deferred: Cell::new(false),
            in_cleanup: Cell::new(false),
            defers_dropped: Cell::new(false),
            dropped_callers: RefCell::new(Vec::new()),
            received_since_send: Cell::new(0),
            current_caller: Cell::new(None),
            calls_as_zombie: Cell::new(0),
        })
    });
    // Dropped after the borrow has ended: destructors may call `get`.
    let previous = CURRENT.with(|cell| cell.replace(me));
    drop(previous);
}

/// Unwinds the calling process if an exit signal has arrived. Does nothing on a foreign thread.
#[inline]
pub(crate) fn checkpoint() {
    if let Some(me) = get() {
        me.checkpoint();
    }
}

/// Returns the pid of the calling process, or `None` on a foreign thread.
pub(crate) fn pid() -> Option<Pid> {
    get().map(|me| me.block.pid)
}

/// Returns `true` if the calling thread runs a zombie, whose runtime calls have no effect.
pub(crate) fn is_zombie() -> bool {
    get().is_some_and(|me| me.is_zombie())
}

/// Begins a send: runs a checkpoint, and records the send. Returns `false` on the thread of a zombie, whose messages
/// are discarded: other processes have been notified that it exited, so nothing it still does may reach them.
#[inline]
pub(crate) fn begin_send() -> bool {
    // Without a clone of the `Rc`, because every message passes here. A thread whose thread-locals are being destroyed
    // runs no process.
    let begin = |me: &RefCell<Option<Rc<CurrentProcess>>>| match &*me.borrow() {
        None => true,
        Some(me) => {
            me.checkpoint();
            // A zombie is exiting, so it has a flag set.
            let is_zombie = me.block.needs_attention() && me.is_zombie();
            me.note_send();
            !is_zombie
        }
    };
    CURRENT.try_with(begin).unwrap_or(true)
}

/// Returns the pid of the calling thread as a sender of signals. A foreign thread has a pid of its own, which
/// belongs to no process.
pub(crate) fn sender_pid() -> Pid {
    thread_local! {
        static FOREIGN_THREAD_PID: Pid = Pid::next();
    }
    // While thread-locals are being destroyed a new pid is as good: no process has it.
    pid().unwrap_or_else(|| FOREIGN_THREAD_PID.try_with(|pid| *pid).unwrap_or_else(|_| Pid::next()))
}

/// Returns the parker of the calling thread: that of its process, or one for a foreign thread.
#[inline]
pub(crate) fn parker() -> Arc<Parker> {
    match get() {
        Some(me) => Arc::clone(&me.block.parker),
        None => THREAD_PARKER
            .try_with(Arc::clone)
            .unwrap_or_else(|_| FALLBACK_PARKER.with(|parker| Arc::clone(parker))),
    }
}

/// Blocks until `poll` returns a value or the deadline has passed. Unwinds if an exit signal arrives.
pub(crate) fn wait<T>(deadline: Option<Instant>, mut poll: impl FnMut() -> Option<T>) -> Option<T> {
    spin(deadline, &mut poll).or_else(|| park(deadline, poll))
}

/// Runs the first part of `wait`: polls, and spins while that is likely to be cheaper than parking.
#[inline]
pub(crate) fn spin<T>(deadline: Option<Instant>, poll: impl FnMut() -> Option<T>) -> Option<T> {
    wait_interruptible(poll, |parker, poll| parker.spin(deadline, poll))
}

/// Runs the second part of `wait`, parking: for a caller that has spun without a result, or expects a long
/// wait.
#[inline]
pub(crate) fn park<T>(deadline: Option<Instant>, poll: impl FnMut() -> Option<T>) -> Option<T> {
    wait_interruptible(poll, |parker, poll| parker.park_until(deadline, poll))
}

/// Blocks until `poll` returns a value, and ignores exit signals.
pub(crate) fn park_uninterruptible<T>(poll: impl FnMut() -> Option<T>) -> Option<T> {
    let _active = get().is_none().then(ActiveThreadGuard::new);
    parker().park_until(None, poll)
}

/// Runs `wait` with a poll that an exit signal interrupts, and unwinds if it does. On a foreign thread, and
/// while signals are masked, nothing interrupts the wait.
fn wait_interruptible<T>(
    mut poll: impl FnMut() -> Option<T>,
    wait: impl FnOnce(&Parker, &mut dyn FnMut() -> Option<Wakeup<T>>) -> Option<Wakeup<T>>,
) -> Option<T> {
    let Some(me) = get() else {
        // A foreign thread counts as active only in here: what it does elsewhere is not known.
        let _active = ActiveThreadGuard::new();
        return match wait(&parker(), &mut || poll().map(Wakeup::Ready)) {
            Some(Wakeup::Ready(value)) => Some(value),
            Some(Wakeup::ExitSignal) | None => None,
        };
    };
    // Unwinds if the signal has arrived before. One that arrives later is found by the poll: the sender sets
    // the flag `EXITING` before it unparks this thread.
    me.checkpoint();
    let interruptible = !me.signals_masked() && !me.exit_deferred.get();
    let wakeup = wait(&me.block.parker, &mut || match poll() {
        Some(value) => Some(Wakeup::Ready(value)),
        None if interruptible && me.block.is_exiting() => Some(Wakeup::ExitSignal),
        None => None,
    });
    // The stack is unwound here, not in the poll: the parker must have left its wait.
    match wakeup {
        Some(Wakeup::Ready(value)) => Some(value),
        Some(Wakeup::ExitSignal) => exception::unwind_on_exit_signal(),
        None => None,
    }
}

/// Why an interruptible wait ended.
enum Wakeup<T> {
    Ready(T),
    ExitSignal,
}

/// The calling process is exiting, or is a zombie: the operation is refused.
#[derive(Debug)]
pub(crate) struct Exiting;

/// Begins a runtime call that starts something new: runs a checkpoint and returns the calling process, or
/// `None` on a foreign thread.
///
/// # Errors
/// [`Exiting`] while exit signals are masked and on the thread of a zombie: what is acquired now might never be
/// released.
#[inline]
pub(crate) fn enter_runtime_call() -> Result<Option<Rc<CurrentProcess>>, Exiting> {
    let me = get();
    if let Some(me) = &me {
        me.enter_runtime_call()?;
    }
    Ok(me)
}

/// Begins a runtime call that only gives something up or sends: like [`enter_runtime_call`], but allowed in
/// destructors.
///
/// # Errors
/// [`Exiting`] on the thread of a zombie.
#[inline]
pub(crate) fn enter_release_call() -> Result<Option<Rc<CurrentProcess>>, Exiting> {
    let me = get();
    if let Some(me) = &me {
        me.checkpoint();
        // A zombie has lost its names and links already; what it gives up may belong to its replacement.
        if me.is_zombie() {
            return Err(Exiting);
        }
    }
    Ok(me)
}

impl CurrentProcess {
    /// Runs a checkpoint, then returns [`Exiting`] if the process may not start anything new.
    #[inline]
    pub(crate) fn enter_runtime_call(&self) -> Result<(), Exiting> {
        self.checkpoint();
        if self.signals_masked() || self.is_zombie() { Err(Exiting) } else { Ok(()) }
    }

    /// Returns `true` if runtime calls must not unwind, because destructors are running, or because the process is
    /// exiting and defers that.
    #[inline]
    pub(crate) fn signals_masked(&self) -> bool {
        thread::panicking()
            || self.signals_masked.get()
            || (self.exit_deferred.get() && self.block.is_exiting())
    }

    /// Returns `true` if the process is a zombie: it missed its exit deadline, so its links and monitors have
    /// been notified while this thread is still running. Its runtime calls have no effect.
    #[inline]
    pub(crate) fn is_zombie(&self) -> bool {
        self.block.is_dead()
    }

    /// Unwinds if an exit signal has arrived, unless signals are masked.
    #[inline]
    pub(crate) fn checkpoint(&self) {
        // One load in the usual case, no flag set.
        if self.block.needs_attention() {
            self.handle_flags();
        }
    }

    /// Runs a checkpoint of a process whose block has a flag set.
    fn handle_flags(&self) {
        if self.is_zombie() && !self.in_cleanup() {
            self.delay_zombie();
        }
        if self.signals_masked() {
            return;
        }
        // The checkpoint was reached, so an unwind that had begun was caught.
        self.on_unwind_caught();
        if self.block.is_exiting() {
            exception::unwind_on_exit_signal();
        }
    }

    /// Delays the runtime calls of a zombie: the first ones not at all, then each longer than those before. Code that
    /// catches its unwind and calls again, in a loop, would use a whole core as long as the program runs.
    fn delay_zombie(&self) {
        let calls = self.calls_as_zombie.get().saturating_add(1);
        self.calls_as_zombie.set(calls);
        if calls > MAX_PROMPT_ZOMBIE_CALLS {
            let delay = MIN_ZOMBIE_DELAY.saturating_mul(1 + calls / 1000).min(MAX_ZOMBIE_DELAY);
            // Nothing ends this wait: nothing that happens concerns a zombie.
            self.block.parker.park_until(Some(timer_thread::deadline_after(delay)), || None::<()>);
        }
    }

    /// Cancels what the start of an unwind has set up, if the unwind was caught: its exit deadline, and the
    /// rule that its own reason takes precedence over that of a signal. Does nothing if the thread is still
    /// unwinding: then the unwind that was caught was a second one, in a destructor that the first one runs.
    pub(crate) fn on_unwind_caught(&self) {
        if !self.block.is_unwinding() || thread::panicking() {
            return;
        }
        self.block.set_unwinding(false);
        let mut state = self.block.lock();
        state.own_exit_first = false;
        // The deadline of an exit signal that has arrived meanwhile stays.
        let exit_timer = match state.phase {
            Phase::Running => state.exit_timer.take(),
            Phase::Exiting(_) | Phase::Dead(_) => None,
        };
        // Not under the lock: dropping a timer's action may drop the last reference to a block.
        drop(state);
        exit_timer.map(timer_thread::cancel);
        // Reply handles dropped by the unwind: the process continues without a reply.
        if !self.defers_dropped.get() {
            self.flush_dropped_callers();
        }
    }

    /// Masks exit signals from now on: only destructors will run.
    pub(crate) fn mask_signals(&self) {
        self.signals_masked.set(true);
    }

    /// Marks the start of exit cleanup on this thread: only destructors of what the runtime holds for the
    /// process will run.
    pub(crate) fn enter_cleanup(&self) {
        self.in_cleanup.set(true);
    }

    /// Returns `true` during exit cleanup, when resources acquired now would never be released.
    pub(crate) fn in_cleanup(&self) -> bool {
        self.in_cleanup.get()
    }

    /// Runs cleanup code with exit signals masked, then restores the previous state.
    pub(crate) fn with_signals_masked<T>(&self, body: impl FnOnce() -> T) -> T {
        let _restore = Restore::set(&self.signals_masked);
        body()
    }

    /// Runs code in which an exit signal does not unwind, then restores the previous state.
    pub(crate) fn with_exit_deferred<T>(&self, body: impl FnOnce() -> T) -> T {
        let _restore = Restore::set(&self.exit_deferred);
        body()
    }

    /// Returns the exit reason, for a receive that is called in a destructor.
    pub(crate) fn exit_reason(&self) -> ExitReason {
        // `None`: a destructor that runs during a panic. The exit has not been decided yet, the panic may be caught.
        self.block.exit_reason().unwrap_or_else(|| ExitReason::new("exiting"))
    }

    /// Defers the notification of callers from now on: server callbacks run on this thread. A reply handle
    /// dropped in a callback is kept until it is decided whether the server continues (then the caller will
    /// get no reply) or stops (then the caller receives the exit reason).
    pub(crate) fn defer_dropped_callers(&self) {
        self.defers_dropped.set(true);
    }

    /// Records that the process sends something.
    #[inline]
    pub(crate) fn note_send(&self) {
        self.received_since_send.set(0);
    }

    /// Records that the process has received a message.
    #[inline]
    pub(crate) fn note_receive(&self) {
        self.received_since_send.set(self.received_since_send.get().saturating_add(1));
    }

    /// Returns `true` if the process only receives messages: no other process waits for what it does with the
    /// next one, so a short delay costs nothing.
    #[inline]
    pub(crate) fn is_sink(&self) -> bool {
        self.received_since_send.get() > SINK_THRESHOLD
    }

    /// Sets what observers see this process doing.
    #[inline]
    pub(crate) fn set_activity(&self, activity: Activity) {
        self.block.activity.set(activity);
    }

    /// Records the caller of the request being handled; `None` if it is not a process.
    #[inline]
    pub(crate) fn set_current_caller(&self, caller: Option<Pid>) {
        self.current_caller.set(caller);
    }

    /// Clears the current caller if it is `caller`: its call has a reply.
    #[inline]
    pub(crate) fn clear_current_caller(&self, caller: Pid) {
        if self.current_caller.get() == Some(caller) {
            self.current_caller.set(None);
        }
    }

    /// Takes the current caller: a process whose request has been handled without a reply.
    #[inline]
    pub(crate) fn take_unanswered_caller(&self) -> Option<Pid> {
        self.current_caller.take()
    }

    /// Notifies the callers of all dropped reply handles, after it is decided whether this process continues
    /// or exits.
    #[inline]
    pub(crate) fn flush_dropped_callers(&self) {
        if !self.dropped_callers.borrow().is_empty() {
            self.notify_dropped_callers();
        }
    }

    #[cold]
    fn notify_dropped_callers(&self) {
        // Taken out first: a notification may drop another reply handle.
        let callers = self.dropped_callers.take();
        for caller in callers {
            caller.notify_dropped();
        }
    }
}

/// Restores a flag when dropped, also if the body panics: if that panic is caught, the next call must unwind again.
struct Restore<'a>(&'a Cell<bool>, bool);

impl<'a> Restore<'a> {
    /// Sets the flag until the guard is dropped.
    fn set(flag: &'a Cell<bool>) -> Self {
        Self(flag, flag.replace(true))
    }
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        self.0.set(self.1);
    }
}

/// Handles a reply handle that was dropped without a reply: notifies its caller at once, or later if it is
/// not yet decided whether this process continues.
pub(crate) fn on_caller_dropped(caller: Arc<dyn DroppedCaller>) {
    match get() {
        Some(me) if me.defers_dropped.get() || thread::panicking() => {
            me.dropped_callers.borrow_mut().push(caller);
            if !me.defers_dropped.get() {
                // The thread is unwinding. `resume_unwind` does not run the panic hook that would have set
                // this flag; without it the next checkpoint after a catch would not flush the callers.
                me.block.set_unwinding(true);
            }
        }
        _ => caller.notify_dropped(),
    }
}
