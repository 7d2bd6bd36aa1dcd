//! Runs a race: in many interleavings with the model checker, or repeatedly on system threads.

use std::sync::Arc;
use std::time::Duration;

use rethread::process::{self, Event, Inbox};
use rethread::{ExitReason, Pid};

/// Longer than anything here lasts, if all is well.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

/// A race, identified by its title.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(rethread_model), expect(dead_code, reason = "it is for the model"))]
pub(crate) struct Race {
    title: &'static str,
    impatient: bool,
}

pub(crate) fn race(title: &'static str) -> Race {
    Race { title, impatient: false }
}

impl Race {
    /// Lets deadlines pass although threads could continue, as happens on a busy machine.
    pub(crate) fn impatient(mut self) -> Self {
        self.impatient = true;
        self
    }

    /// Runs the scenario repeatedly, on a process that traps exits. Afterwards nothing may be left.
    pub(crate) fn run(self, scenario: impl Fn(&mut Inbox<u64>) + Send + Sync + 'static) {
        self.run_as(scenario);
    }

    /// Like `run`, but for a process that receives other messages.
    pub(crate) fn run_as<M: Send + 'static>(self, scenario: impl Fn(&mut Inbox<M>) + Send + Sync + 'static) {
        let scenario = Arc::new(scenario);
        each_time(self, move || {
            let scenario = Arc::clone(&scenario);
            let done = process::attach_receiver(move |inbox: &mut Inbox<M>| {
                process::trap_exit(true);
                scenario(inbox);
            });
            if let Err(error) = done {
                panic!("the scenario ended: {error}");
            }
        });
    }
}

#[cfg(rethread_model)]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "how many orders there were, and what broke")]
fn each_time(race: Race, once: impl Fn()) {
    use rethread::model::{Config, explore, run_until_stalled};
    use rethread::process::WaitStrategy;

    let number = |variable: &str| std::env::var(variable).ok().and_then(|text| text.parse().ok());
    let Race { title, impatient } = race;
    let executions = number("RACES_EXECUTIONS").unwrap_or(3000);
    let seed = number("RACES_SEED").unwrap_or(0);
    process::configure(|settings| settings.wait_strategy = WaitStrategy::Park);
    let explored = explore(Config { title, executions, seed, early_timeouts: impatient }, || {
        let late_before = process::zombies_total();
        once();
        run_until_stalled();
        assert!(process::processes().is_empty(), "still left: {:?}", process::processes());
        assert!(process::zombies().is_empty(), "still left: {:?}", process::zombies());
        let late = process::zombies_total() - late_before;
        assert!(impatient || late == 0, "a process became a zombie without early timeouts");
    });
    match explored {
        Ok(explored) => {
            println!("{title}: {} orders, at most {} steps", explored.interleavings, explored.max_steps);
            assert!(explored.interleavings > 1, "that is not a race");
        }
        Err(broken) => {
            let text = |payload: &(dyn std::any::Any + Send)| {
                payload
                    .downcast_ref::<String>()
                    .cloned()
                    .or(payload.downcast_ref::<&str>().map(|&text| text.into()))
            };
            let text = text(&*broken.payload).unwrap_or_default();
            eprintln!("{title}, seed {} of those from {seed}: {text}\n{}", broken.seed, broken.trace);
            std::process::exit(101); // do not wait for threads that the scenario left running
        }
    }
}

#[cfg(not(rethread_model))]
fn each_time(_: Race, once: impl Fn()) {
    for _ in 0..if cfg!(miri) { 4 } else { 100 } {
        let _watchdog = (!cfg!(miri)).then(crate::support::watchdog);
        once();
    }
}

/// Waits for a process to exit, and returns the reason.
pub(crate) fn end_of(pid: impl Into<Pid>) -> ExitReason {
    process::watch(pid).wait()
}

/// Returns all events in the mailbox.
pub(crate) fn drained<M: Send + 'static>(inbox: &mut Inbox<M>) -> Vec<Event<M>> {
    std::iter::from_fn(|| inbox.try_recv()).collect()
}

/// Returns the exited processes with their reasons; panics on any other event.
pub(crate) fn exits(events: &[Event<u64>]) -> Vec<(Pid, ExitReason)> {
    let exit = |event: &Event<u64>| match event {
        Event::Exit { from, reason } => (*from, reason.clone()),
        other => panic!("no exit: {other:?}"),
    };
    events.iter().map(exit).collect()
}

/// Returns `true` if the reason is one of `reasons`.
pub(crate) fn one_of<const N: usize>(reason: &ExitReason, reasons: [ExitReason; N]) -> bool {
    reasons.contains(reason)
}

/// Returns the reason with this text.
pub(crate) fn because(text: &'static str) -> ExitReason {
    ExitReason::new(text)
}
