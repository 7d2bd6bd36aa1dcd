//! Which process this thread is, and what every runtime call does first: look whether the process has
//! been told to go. Every public function of `process` and of the servers starts here.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use crate::exception;
use crate::pid::Pid;
use crate::process::control::activity::Activity;
use crate::process::control::block::Phase;
use crate::process::control::block::ProcessBlock;
use crate::process::park::backoff::ActiveThreadGuard;
use crate::process::park::parker::Parker;
use crate::process::park::timer_thread;
use crate::reason::ExitReason;

/// A reply handle that was dropped unanswered, held back until it is clear why.
pub(crate) trait DroppedCaller {
    fn notify_dropped(&self);
}

/// This thread's process, as only the thread itself sees it.
pub(crate) struct CurrentProcess {
    pub(crate) block: Arc<ProcessBlock>,
    /// The body is over and only destructors run: runtime calls do not unwind any more.
    signals_masked: Cell<bool>,
    /// The process is being buried, by this thread and not as a zombie.
    in_cleanup: Cell<bool>,
    /// Whether callbacks run here whose outcome decides what a dropped reply handle means.
    defers_dropped: Cell<bool>,
    dropped_callers: RefCell<Vec<Arc<dyn DroppedCaller>>>,
    /// How many messages it has received since it last sent one.
    received_since_send: Cell<u32>,
    /// The process whose call is being handled, until it is answered.
    current_caller: Cell<Option<Pid>>,
}

/// Who has received so many messages and sent none is taken for a sink.
const SINK_THRESHOLD: u32 = 64;

thread_local! {
    static CURRENT: RefCell<Option<Rc<CurrentProcess>>> = const { RefCell::new(None) };
    static THREAD_PARKER: Arc<Parker> = Arc::new(new_thread_parker());
    /// For destructors of thread-locals that wait when `FOREIGN` is gone: what is woken and what waits must be the
    /// same. It is never gone itself, so such a thread leaks one.
    static FALLBACK_PARKER: ManuallyDrop<Arc<Parker>> = ManuallyDrop::new(Arc::new(new_thread_parker()));
}

fn new_thread_parker() -> Parker {
    let parker = Parker::default();
    parker.bind_to_current_thread();
    parker
}

/// This thread's process; `None` on a foreign thread.
#[inline]
pub(crate) fn get() -> Option<Rc<CurrentProcess>> {
    // No process any more while the thread's own locals are being destroyed.
    CURRENT.try_with(|me| me.borrow().clone()).ok().flatten()
}

/// Whether this thread's own locals are being destroyed: it can be no process any more.
pub(crate) fn thread_is_exiting() -> bool {
    CURRENT.try_with(|_| ()).is_err()
}

/// Makes this thread the process, or no process again.
pub(crate) fn set(block: Option<Arc<ProcessBlock>>) {
    let me = block.map(|block| {
        block.parker.bind_to_current_thread();
        Rc::new(CurrentProcess {
            block,
            signals_masked: Cell::new(false),
            in_cleanup: Cell::new(false),
            defers_dropped: Cell::new(false),
            dropped_callers: RefCell::new(Vec::new()),
            received_since_send: Cell::new(0),
            current_caller: Cell::new(None),
        })
    });
    let previous = CURRENT.with(|cell| cell.replace(me));
    drop(previous);
}

/// Ends the process here if it has been told to go.
#[inline]
pub(crate) fn checkpoint() {
    if let Some(me) = get() {
        me.checkpoint();
    }
}

/// The pid of the calling process, `None` on a foreign thread.
pub(crate) fn pid() -> Option<Pid> {
    get().map(|me| me.block.pid)
}

/// Who this thread is as a sender of signals: a foreign thread has an identity that finds nobody.
pub(crate) fn sender_pid() -> Pid {
    thread_local! {
        static FOREIGN_THREAD_PID: Pid = Pid::next();
    }
    pid().unwrap_or_else(|| FOREIGN_THREAD_PID.try_with(|pid| *pid).unwrap_or_else(|_| Pid::next()))
}

/// What this thread waits on.
#[inline]
pub(crate) fn parker() -> Arc<Parker> {
    match get() {
        Some(me) => Arc::clone(&me.block.parker),
        None => THREAD_PARKER
            .try_with(Arc::clone)
            .unwrap_or_else(|_| FALLBACK_PARKER.with(|parker| Arc::clone(parker))),
    }
}

/// Blocks until there are news or the deadline is past; an exit signal ends the process here and now.
pub(crate) fn wait<T>(deadline: Option<Instant>, mut poll: impl FnMut() -> Option<T>) -> Option<T> {
    spin(deadline, &mut poll).or_else(|| park(deadline, poll))
}

/// The first part of `wait`: looks for news for as long as it does not pay to park.
#[inline]
pub(crate) fn spin<T>(deadline: Option<Instant>, poll: impl FnMut() -> Option<T>) -> Option<T> {
    wait_interruptible(poll, |parker, poll| parker.spin(deadline, poll))
}

/// The second part of `wait`: for who lingered in vain, or expects no news.
#[inline]
pub(crate) fn park<T>(deadline: Option<Instant>, poll: impl FnMut() -> Option<T>) -> Option<T> {
    wait_interruptible(poll, |parker, poll| parker.park_until(deadline, poll))
}

/// Blocks until there are news, whatever becomes of the process.
pub(crate) fn park_uninterruptible<T>(poll: impl FnMut() -> Option<T>) -> Option<T> {
    let _active = get().is_none().then(ActiveThreadGuard::new);
    parker().park_until(None, poll)
}

/// Waits in a way that an exit signal ends.
fn wait_interruptible<T>(
    mut poll: impl FnMut() -> Option<T>,
    wait: impl FnOnce(&Parker, &mut dyn FnMut() -> Option<Wakeup<T>>) -> Option<Wakeup<T>>,
) -> Option<T> {
    let Some(me) = get() else {
        let _active = ActiveThreadGuard::new(); // what a foreign thread does elsewhere nobody knows
        return match wait(&parker(), &mut || poll().map(Wakeup::Ready)) {
            Some(Wakeup::Ready(value)) => Some(value),
            Some(Wakeup::ExitSignal) | None => None,
        };
    };
    me.checkpoint();
    let interruptible = !me.signals_masked();
    let wakeup = wait(&me.block.parker, &mut || match poll() {
        Some(value) => Some(Wakeup::Ready(value)),
        None if interruptible && me.block.is_exiting() => Some(Wakeup::ExitSignal),
        None => None,
    });
    match wakeup {
        Some(Wakeup::Ready(value)) => Some(value),
        Some(Wakeup::ExitSignal) => exception::unwind_on_exit_signal(),
        None => None,
    }
}

enum Wakeup<T> {
    Ready(T),
    ExitSignal,
}

/// The calling process is exiting, or is a zombie: the operation is refused.
#[derive(Debug)]
pub(crate) struct Exiting;

/// Begins a runtime call that starts something new: runs a checkpoint and returns the calling process, or `None`
/// on a foreign thread.
///
/// # Errors
/// [`Exiting`] while exit signals are masked and on the thread of a zombie: exit cleanup has begun, so what is
/// acquired now would never be released.
#[inline]
pub(crate) fn enter_runtime_call() -> Result<Option<Rc<CurrentProcess>>, Exiting> {
    let me = get();
    if let Some(me) = &me {
        me.enter_runtime_call()?;
    }
    Ok(me)
}

/// Begins a runtime call that only gives something up: like [`enter_runtime_call`], but allowed in destructors.
///
/// # Errors
/// [`Exiting`] on the thread of a zombie.
#[inline]
pub(crate) fn enter_release_call() -> Result<Option<Rc<CurrentProcess>>, Exiting> {
    let me = get();
    if let Some(me) = &me {
        me.checkpoint();
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

    /// Whether runtime calls must not unwind: destructors are running.
    #[inline]
    pub(crate) fn signals_masked(&self) -> bool {
        thread::panicking() || self.signals_masked.get()
    }

    /// Whether the process is declared dead although this thread goes on: nothing it does counts.
    #[inline]
    pub(crate) fn is_zombie(&self) -> bool {
        self.block.is_dead()
    }

    #[inline]
    pub(crate) fn checkpoint(&self) {
        if self.block.needs_attention() && !self.signals_masked() {
            self.on_unwind_caught();
            if self.block.is_exiting() {
                exception::unwind_on_exit_signal();
            }
        }
    }

    /// An unwinding that began was caught: the deadline it set is off. If it was one in a destructor, and the
    /// one that runs the destructor goes on, nothing is settled.
    pub(crate) fn on_unwind_caught(&self) {
        if !self.block.is_unwinding() || thread::panicking() {
            return;
        }
        self.block.set_unwinding(false);
        let mut state = self.block.lock();
        state.own_exit_first = false;
        let exit_timer = match state.phase {
            Phase::Running => state.exit_timer.take(),
            Phase::Exiting(_) | Phase::Dead(_) => None,
        };
        drop(state);
        exit_timer.map(timer_thread::cancel);
        if !self.defers_dropped.get() {
            self.flush_dropped_callers();
        }
    }

    /// From here on only destructors run.
    pub(crate) fn mask_signals(&self) {
        self.signals_masked.set(true);
    }

    /// From here on only destructors of what others keep for the process run.
    pub(crate) fn enter_cleanup(&self) {
        self.in_cleanup.set(true);
    }

    /// Whether the calling code runs in the burial itself: what it leaves behind nobody puts in order.
    pub(crate) fn in_cleanup(&self) -> bool {
        self.in_cleanup.get()
    }

    /// Runs clean-up code in the state of last words, then comes back from it.
    pub(crate) fn with_signals_masked<T>(&self, body: impl FnOnce() -> T) -> T {
        /// Also if the clean-up panics: who swallows that must still be unwound at the next call.
        struct Restore<'a>(&'a Cell<bool>, bool);
        impl Drop for Restore<'_> {
            fn drop(&mut self) {
                self.0.set(self.1);
            }
        }
        let _restore = Restore(&self.signals_masked, self.signals_masked.replace(true));
        body()
    }

    /// Why the process is exiting, for a receive that is called in a destructor.
    pub(crate) fn exit_reason(&self) -> ExitReason {
        match &self.block.lock().phase {
            Phase::Exiting(reason) | Phase::Dead(reason) => reason.clone(),
            Phase::Running => ExitReason::new("exiting"),
        }
    }

    /// Marks that a server's callbacks run on this thread: reply handles dropped in one are held back
    /// until the server has decided whether it goes on (then nobody will answer) or stops (then the caller
    /// learns the reason).
    pub(crate) fn defer_dropped_callers(&self) {
        self.defers_dropped.set(true);
    }

    /// It sends something, to whomever.
    #[inline]
    pub(crate) fn note_send(&self) {
        self.received_since_send.set(0);
    }

    /// It has received a message.
    #[inline]
    pub(crate) fn note_receive(&self) {
        self.received_since_send.set(self.received_since_send.get().saturating_add(1));
    }

    /// Whether it only ever takes messages: nobody is waiting for what it makes of the next one.
    #[inline]
    pub(crate) fn is_sink(&self) -> bool {
        self.received_since_send.get() > SINK_THRESHOLD
    }

    /// It turns to something else.
    #[inline]
    pub(crate) fn set_activity(&self, activity: Activity) {
        self.block.activity.set(activity);
    }

    /// A call of this process is to be handled; of nobody's that could be asked, if it comes from a foreign thread.
    #[inline]
    pub(crate) fn set_current_caller(&self, caller: Option<Pid>) {
        self.current_caller.set(caller);
    }

    /// The call of this process has its answer, whichever is being handled.
    #[inline]
    pub(crate) fn clear_current_caller(&self, caller: Pid) {
        if self.current_caller.get() == Some(caller) {
            self.current_caller.set(None);
        }
    }

    /// Whose call has been handled without an answer.
    #[inline]
    pub(crate) fn take_unanswered_caller(&self) -> Option<Pid> {
        self.current_caller.take()
    }

    /// Lets the callers of dropped reply handles know, now that the process' own fate is decided.
    #[inline]
    pub(crate) fn flush_dropped_callers(&self) {
        if self.dropped_callers.borrow().is_empty() {
            return;
        }
        let callers = self.dropped_callers.take();
        for caller in callers {
            caller.notify_dropped();
        }
    }
}

/// Takes note of a reply handle dropped unanswered: at once, or when it is clear what that means.
pub(crate) fn on_caller_dropped(caller: Arc<dyn DroppedCaller>) {
    match get() {
        Some(me) if me.defers_dropped.get() || thread::panicking() => {
            me.dropped_callers.borrow_mut().push(caller);
            if !me.defers_dropped.get() {
                // Also if no panic hook saw it begin (`resume_unwind`): whoever catches it must settle this.
                me.block.set_unwinding(true);
            }
        }
        _ => caller.notify_dropped(),
    }
}
