//! One thread that does things at their time: fires timers, ends overdue deaths. `timer` and `exit`
//! schedule here. With nothing to wait for the thread sleeps without an alarm.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use once_cell::sync::Lazy;

use crate::pid::{Serial, TimerRef};
use crate::sync::{self, Condvar, Mutex, thread};
use crate::unwind::contain;

type Action = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Agenda {
    due: BTreeMap<(Instant, TimerRef), Action>,
    times: HashMap<TimerRef, Instant, Serial>,
    /// When the clock thread will look again by itself; `None`: not before it is told.
    alarm: Option<Instant>,
    running: bool,
}

struct Clock {
    agenda: Mutex<Agenda>,
    changed: Condvar,
}

static CLOCK: Lazy<Clock> =
    Lazy::new(|| Clock { agenda: Mutex::new(Agenda::default()), changed: Condvar::new() });

/// `Duration::MAX` and the like: later than any program lives, and still an `Instant`.
const FAR_AWAY: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// The moment `delay` from now; a delay beyond thirty years counts as thirty years.
pub(crate) fn after(delay: Duration) -> Instant {
    let now = sync::now();
    now.checked_add(delay.min(FAR_AWAY)).unwrap_or(now)
}

/// Has the clock's thread begin, if it has not yet: with the first process, so that no timer or deadline depends on a
/// thread to be had later, when there may be none.
///
/// # Errors
/// The operating system refuses it.
pub(crate) fn wind_up() -> io::Result<()> {
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.load(Ordering::Relaxed) {
        return Ok(());
    }
    let mut agenda = CLOCK.agenda.lock();
    if !agenda.running {
        start_thread()?;
        agenda.running = true;
    }
    DONE.store(true, Ordering::Relaxed);
    Ok(())
}

/// Has `action` done at its time, on the clock's thread: it must be quick. The identity is made by the
/// caller, so that the action can know it.
pub(crate) fn schedule(id: TimerRef, at: Instant, action: impl FnOnce() + Send + 'static) {
    let mut agenda = CLOCK.agenda.lock();
    agenda.due.insert((at, id), Box::new(action));
    agenda.times.insert(id, at);
    let mut refused = None;
    if !agenda.running {
        refused = start_thread().err();
        agenda.running = refused.is_none();
    }
    if agenda.alarm.is_none_or(|alarm| at < alarm) {
        agenda.alarm = Some(at);
        CLOCK.changed.notify_one();
    }
    drop(agenda);
    if let Some(error) = refused {
        contain("the log", || {
            log::error!("rethread: no thread for the clock, timers wait until there is one: {error}");
        });
    }
}

/// Takes an action off the agenda and says how long it would have waited; `None` if it is not there.
pub(crate) fn cancel(id: TimerRef) -> Option<Duration> {
    let mut agenda = CLOCK.agenda.lock();
    let at = agenda.times.remove(&id)?;
    let action = agenda.due.remove(&(at, id));
    drop(agenda);
    contain("the destructor of a cancelled timer's message", move || drop(action));
    Some(at.saturating_duration_since(sync::now()))
}

/// How long an action still has to wait; `None` if it is not on the agenda.
pub(crate) fn read(id: TimerRef) -> Option<Duration> {
    let at = *CLOCK.agenda.lock().times.get(&id)?;
    Some(at.saturating_duration_since(sync::now()))
}

fn start_thread() -> io::Result<()> {
    thread::Builder::new().name("rethread-clock".into()).spawn(run).map(drop)
}

fn run() {
    let mut agenda = CLOCK.agenda.lock();
    loop {
        let now = sync::now();
        match agenda.due.first_key_value().map(|(&(at, id), _)| (at, id)) {
            Some((at, id)) if at <= now => {
                let action = agenda.due.remove(&(at, id));
                agenda.times.remove(&id);
                drop(agenda);
                if let Some(action) = action {
                    contain("a timer's message", action);
                }
                agenda = CLOCK.agenda.lock();
            }
            Some((at, _)) => {
                agenda.alarm = Some(at);
                CLOCK.changed.wait_until(&mut agenda, at);
            }
            None => {
                agenda.alarm = None;
                CLOCK.changed.wait(&mut agenda);
            }
        }
    }
}

/// The time since a moment.
pub(crate) fn elapsed(since: Instant) -> Duration {
    sync::now().saturating_duration_since(since)
}
