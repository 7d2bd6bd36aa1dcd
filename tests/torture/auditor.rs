//! The auditor, which inspects all supervisors during the round, and the process that changes the settings
//! meanwhile.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rethread::StartError;
use rethread::observer::{self, EventReceiver, ProcessEventKind};
use rethread::prelude::*;
use rethread::process::WaitStrategy;
use rethread::supervisor::FailedToStartChild;

use crate::books::Books;
use crate::dice::Dice;
use crate::plan::{Field, MAX_DELAY};
use crate::reasons;

/// The interval between two inspections.
const EVERY: Duration = Duration::from_millis(3);

/// Inspects all supervisors periodically, and each of their exits.
pub(crate) fn audit(books: &Books, field: &Field, mut events: EventReceiver) {
    loop {
        let over = books.over.load(Ordering::Relaxed);
        while let Some(event) = events.try_recv() {
            if let (ProcessEventKind::Exited { reason }, Some(name)) = (&event.kind, &event.display_name) {
                let supervisor = field.supervisors.iter().any(|known| **known == **name);
                if supervisor && !reasons::of_supervisor(reason) {
                    books.breach(format!("the supervisor {name} ended with {reason}"));
                }
            }
        }
        if over {
            return;
        }
        let began = Instant::now();
        for process in observer::snapshot().processes {
            let Some(own) = &process.supervision else { continue };
            // The restart that exceeds the limit is counted too, and ends the supervisor.
            if own.restarts.used > own.restarts.max.saturating_add(1) {
                books.breach(format!("{process} has made more restarts than it may"));
            }
            // With the default jitter a delay is up to a fifth longer.
            let too_late = |delay: Duration| delay > MAX_DELAY + MAX_DELAY / 5;
            for status in own.children.iter().filter(|one| one.child.restart_in().is_some_and(too_late)) {
                books.breach(format!("{process} delays a restart for too long: {:?}", status.child));
            }
        }
        process::sleep(EVERY.max(began.elapsed() * 4));
    }
}

/// Changes the settings while the round runs: all but the limit, and those fixed by the environment.
pub(crate) fn change_settings(books: &Books, mut dice: Dice) {
    let fixed = |variable| std::env::var_os(variable).is_some();
    while !books.over.load(Ordering::Relaxed) {
        let mut now = process::settings();
        now.kill_grace = Duration::from_millis(20 + dice.below(200) as u64);
        now.exit_timeout = Duration::from_millis(1000 + dice.below(5000) as u64);
        now.stack_size = *dice.pick(&[1, 2, 4]) * 1024 * 1024;
        if !fixed("RETHREAD_MAX_IDLE_THREADS") {
            now.max_idle_threads = *dice.pick(&[0, 3, 1024]);
        }
        if !fixed("RETHREAD_WAIT_STRATEGY") {
            now.wait_strategy = *dice.pick(&[
                WaitStrategy::Adaptive,
                WaitStrategy::Adaptive,
                WaitStrategy::Park,
                WaitStrategy::Spin,
            ]);
        }
        process::configure(|settings| *settings = now);
        process::sleep(dice.up_to_ms(10));
    }
}

/// Returns `true` if a start failed because the process limit was reached; checks that there was a limit.
pub(crate) fn no_room(books: &Books, error: &StartError) -> bool {
    match error {
        StartError::SystemLimit { limit } => books.refused(*limit),
        StartError::Thread(_) => {}
        StartError::Failed(reason) => {
            let failed = reason.downcast_ref::<FailedToStartChild>();
            return failed.is_some_and(|failed| no_room(books, &failed.error));
        }
        _ => return false,
    }
    true
}

/// Checks that no exited process still counts against the limit: with room for one more process, one can
/// start, and no second.
pub(crate) fn places_are_free(books: &Books) {
    let before = process::settings();
    let limit = process::processes().len() + 1;
    process::configure(|settings| settings.max_processes = limit);
    let wait = |inbox: &mut rethread::process::Inbox<()>| drop(inbox.recv());
    let (one, another) = (process::spawn_receiver(wait), process::spawn_receiver(wait));
    process::configure(|settings| *settings = before);
    let refused =
        matches!(&another, Err(rethread::process::SpawnError::SystemLimit { limit: l }) if *l == limit);
    if one.is_err() || !refused {
        books.breach(format!("room for one more, but {one:?}, and then {another:?}"));
    }
    for process in [one, another].into_iter().flatten() {
        process.send(());
        process::watch(&process).wait();
    }
}
