//! Which process this thread is, and what every runtime call does first: look whether the process has
//! been told to go. Every public function of `process` and of the servers starts here.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use crate::pid::Pid;
use crate::process::activity::Activity;
use crate::process::block::{Block, Phase};
use crate::process::clock;
use crate::process::linger::Risen;
use crate::process::wait::Waiter;
use crate::reason::ExitReason;
use crate::unwound;

/// A reply handle that was dropped unanswered, held back until it is clear why.
pub(crate) trait Abandoned {
    fn abandon(&self);
}

/// This thread's process, as only the thread itself sees it.
pub(crate) struct Me {
    pub(crate) block: Arc<Block>,
    /// The body is over and only destructors run: runtime calls do not unwind any more.
    last_words: Cell<bool>,
    /// The process is being buried, by this thread and not as a zombie.
    burial: Cell<bool>,
    /// Whether callbacks run here whose outcome decides what a dropped reply handle means.
    holds_dropped: Cell<bool>,
    dropped: RefCell<Vec<Arc<dyn Abandoned>>>,
    /// How many messages it has received since it last sent one.
    unanswered: Cell<u32>,
    /// The process whose call is being handled, until it is answered.
    answering: Cell<Option<Pid>>,
}

/// Who has received so many messages and sent none is taken for a sink.
const MANY_UNANSWERED: u32 = 64;

thread_local! {
    static ME: RefCell<Option<Rc<Me>>> = const { RefCell::new(None) };
    static FOREIGN: Arc<Waiter> = Arc::new(waiter_of_this_thread());
    /// For destructors of thread-locals that wait when `FOREIGN` is gone: what is woken and what waits must be the
    /// same. It is never gone itself, so such a thread leaks one.
    static LAST: ManuallyDrop<Arc<Waiter>> = ManuallyDrop::new(Arc::new(waiter_of_this_thread()));
}

fn waiter_of_this_thread() -> Waiter {
    let waiter = Waiter::default();
    waiter.belongs_here();
    waiter
}

/// This thread's process; `None` on a foreign thread.
#[inline]
pub(crate) fn get() -> Option<Rc<Me>> {
    // No process any more while the thread's own locals are being destroyed.
    ME.try_with(|me| me.borrow().clone()).ok().flatten()
}

/// Whether this thread's own locals are being destroyed: it can be no process any more.
pub(crate) fn is_ending() -> bool {
    ME.try_with(|_| ()).is_err()
}

/// Makes this thread the process, or no process again.
pub(crate) fn set(block: Option<Arc<Block>>) {
    let me = block.map(|block| {
        block.waiter.belongs_here();
        Rc::new(Me {
            block,
            last_words: Cell::new(false),
            burial: Cell::new(false),
            holds_dropped: Cell::new(false),
            dropped: RefCell::new(Vec::new()),
            unanswered: Cell::new(0),
            answering: Cell::new(None),
        })
    });
    let earlier = ME.with(|cell| cell.replace(me));
    drop(earlier);
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
pub(crate) fn identity() -> Pid {
    thread_local! {
        static NOBODY: Pid = Pid::fresh();
    }
    pid().unwrap_or_else(|| NOBODY.try_with(|pid| *pid).unwrap_or_else(|_| Pid::fresh()))
}

/// What this thread waits on.
#[inline]
pub(crate) fn waiter() -> Arc<Waiter> {
    match get() {
        Some(me) => Arc::clone(&me.block.waiter),
        None => FOREIGN.try_with(Arc::clone).unwrap_or_else(|_| LAST.with(|last| Arc::clone(last))),
    }
}

/// Blocks until there are news or the deadline is past; an exit signal ends the process here and now.
pub(crate) fn wait<T>(deadline: Option<Instant>, mut news: impl FnMut() -> Option<T>) -> Option<T> {
    linger(deadline, &mut news).or_else(|| park(deadline, news))
}

/// The first part of `wait`: looks for news for as long as it does not pay to park.
#[inline]
pub(crate) fn linger<T>(deadline: Option<Instant>, news: impl FnMut() -> Option<T>) -> Option<T> {
    attentively(news, |waiter, news| waiter.linger(deadline, news))
}

/// The second part of `wait`: for who lingered in vain, or expects no news.
#[inline]
pub(crate) fn park<T>(deadline: Option<Instant>, news: impl FnMut() -> Option<T>) -> Option<T> {
    attentively(news, |waiter, news| waiter.park_until(deadline, news))
}

/// Blocks until there are news, whatever becomes of the process.
pub(crate) fn park_through<T>(news: impl FnMut() -> Option<T>) -> Option<T> {
    let _risen = get().is_none().then(Risen::new);
    waiter().park_until(None, news)
}

/// Waits in a way that an exit signal ends.
fn attentively<T>(
    mut news: impl FnMut() -> Option<T>,
    wait: impl FnOnce(&Waiter, &mut dyn FnMut() -> Option<Woken<T>>) -> Option<Woken<T>>,
) -> Option<T> {
    let Some(me) = get() else {
        let _risen = Risen::new(); // what a foreign thread does elsewhere nobody knows
        return match wait(&waiter(), &mut || news().map(Woken::News)) {
            Some(Woken::News(found)) => Some(found),
            Some(Woken::Told) | None => None,
        };
    };
    me.checkpoint();
    let listens = !me.neutral();
    let woken = wait(&me.block.waiter, &mut || match news() {
        Some(found) => Some(Woken::News(found)),
        None if listens && me.block.doomed() => Some(Woken::Told),
        None => None,
    });
    match woken {
        Some(Woken::News(found)) => Some(found),
        Some(Woken::Told) => unwound::told(),
        None => None,
    }
}

enum Woken<T> {
    News(T),
    Told,
}

impl Me {
    /// Whether runtime calls must not unwind: destructors are running.
    #[inline]
    pub(crate) fn neutral(&self) -> bool {
        thread::panicking() || self.last_words.get()
    }

    /// Whether the process is declared dead although this thread goes on: nothing it does counts.
    #[inline]
    pub(crate) fn zombie(&self) -> bool {
        self.block.dead()
    }

    #[inline]
    pub(crate) fn checkpoint(&self) {
        if self.block.disturbed() && !self.neutral() {
            self.settle();
            if self.block.doomed() {
                unwound::told();
            }
        }
    }

    /// An unwinding that began was caught: the deadline it set is off. If it was one in a destructor, and the
    /// one that runs the destructor goes on, nothing is settled.
    pub(crate) fn settle(&self) {
        if !self.block.unwinding() || thread::panicking() {
            return;
        }
        self.block.mark_unwinding(false);
        let mut state = self.block.lock();
        state.overtaken = false;
        let deadline = match state.phase {
            Phase::Running => state.deadline.take(),
            Phase::Exiting(_) | Phase::Dead(_) => None,
        };
        drop(state);
        deadline.map(clock::cancel);
        if !self.holds_dropped.get() {
            self.release_dropped();
        }
    }

    /// From here on only destructors run.
    pub(crate) fn begin_last_words(&self) {
        self.last_words.set(true);
    }

    /// From here on only destructors of what others keep for the process run.
    pub(crate) fn begin_burial(&self) {
        self.burial.set(true);
    }

    /// Whether the calling code runs in the burial itself: what it leaves behind nobody puts in order.
    pub(crate) fn buries_itself(&self) -> bool {
        self.burial.get()
    }

    /// Runs clean-up code in the state of last words, then comes back from it.
    pub(crate) fn quietly<T>(&self, body: impl FnOnce() -> T) -> T {
        /// Also if the clean-up panics: who swallows that must still be unwound at the next call.
        struct Restore<'a>(&'a Cell<bool>, bool);
        impl Drop for Restore<'_> {
            fn drop(&mut self) {
                self.0.set(self.1);
            }
        }
        let _restore = Restore(&self.last_words, self.last_words.replace(true));
        body()
    }

    /// Why the process is exiting, for a receive that is called in a destructor.
    pub(crate) fn exiting_because(&self) -> ExitReason {
        match &self.block.lock().phase {
            Phase::Exiting(reason) | Phase::Dead(reason) => reason.clone(),
            Phase::Running => ExitReason::new("exiting"),
        }
    }

    /// Marks that a server's callbacks run on this thread: reply handles dropped in one are held back
    /// until the server has decided whether it goes on (then nobody will answer) or stops (then the caller
    /// learns the reason).
    pub(crate) fn hold_dropped(&self) {
        self.holds_dropped.set(true);
    }

    /// It sends something, to whomever.
    #[inline]
    pub(crate) fn sends(&self) {
        self.unanswered.set(0);
    }

    /// It has received a message.
    #[inline]
    pub(crate) fn receives(&self) {
        self.unanswered.set(self.unanswered.get().saturating_add(1));
    }

    /// Whether it only ever takes messages: nobody is waiting for what it makes of the next one.
    #[inline]
    pub(crate) fn is_sink(&self) -> bool {
        self.unanswered.get() > MANY_UNANSWERED
    }

    /// It turns to something else.
    #[inline]
    pub(crate) fn begins(&self, what: Activity) {
        self.block.doing.begin(what);
    }

    /// A call of this process is to be handled; of nobody's that could be asked, if it comes from a foreign thread.
    #[inline]
    pub(crate) fn answers(&self, caller: Option<Pid>) {
        self.answering.set(caller);
    }

    /// The call of this process has its answer, whichever is being handled.
    #[inline]
    pub(crate) fn has_answered(&self, caller: Pid) {
        if self.answering.get() == Some(caller) {
            self.answering.set(None);
        }
    }

    /// Whose call has been handled without an answer.
    #[inline]
    pub(crate) fn owes(&self) -> Option<Pid> {
        self.answering.take()
    }

    /// Lets the callers of dropped reply handles know, now that the process' own fate is decided.
    #[inline]
    pub(crate) fn release_dropped(&self) {
        if self.dropped.borrow().is_empty() {
            return;
        }
        let dropped = self.dropped.take();
        for reply in dropped {
            reply.abandon();
        }
    }
}

/// Takes note of a reply handle dropped unanswered: at once, or when it is clear what that means.
pub(crate) fn abandoned(reply: Arc<dyn Abandoned>) {
    match get() {
        Some(me) if me.holds_dropped.get() || thread::panicking() => {
            me.dropped.borrow_mut().push(reply);
            if !me.holds_dropped.get() {
                // Also if no panic hook saw it begin (`resume_unwind`): whoever catches it must settle this.
                me.block.mark_unwinding(true);
            }
        }
        _ => reply.abandon(),
    }
}
