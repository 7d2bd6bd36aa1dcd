//! The restart backoff of one child: its outage, its timer, and what of it is logged. The rule itself is in
//! `child_spec/restart_backoff`.

use std::fmt;
use std::time::{Duration, Instant};

use crate::child_spec::ChildId;
use crate::child_spec::restart_backoff::{AfterFailure, JitterRng, Outage, RestartBackoff};
use crate::pid::{Pid, TimerRef};
use crate::process::park::timer_thread;
use crate::process::park::timer_thread::elapsed;
use crate::supervisor::child::logging::{Failure, Seconds, write_log};
use crate::sync;

pub(crate) struct Backoff {
    rule: RestartBackoff,
    outage: Option<Outage>,
    rng: JitterRng,
    started_at: Option<Instant>,
    /// The timer that restarts the child, or ends its outage when it is running again.
    timer: Option<TimerRef>,
    /// The number in the message of the last timer.
    number: u64,
}

impl Backoff {
    pub(crate) fn new(rule: RestartBackoff) -> Self {
        let rng = JitterRng::new(sync::random_seed());
        Self { rule, outage: None, rng, started_at: None, timer: None, number: 0 }
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.outage.is_some()
    }

    pub(crate) fn retries_first_start(&self) -> bool {
        self.rule.retries_first_start()
    }

    pub(crate) fn record_start(&mut self) {
        self.started_at = Some(sync::now());
    }

    /// Records a failure, and logs it.
    pub(crate) fn record_failure(
        &mut self,
        supervisor: &str,
        id: &ChildId,
        failure: &Failure<'_>,
    ) -> AfterFailure {
        self.cancel_timer();
        let lifetime = match failure {
            Failure::Exit(..) => self.started_at.map(elapsed),
            Failure::Start(_) => None,
        };
        let now = sync::now();
        let next = Outage::record_failure(&mut self.outage, &self.rule, lifetime, now, &mut self.rng);
        let Some(Outage { since, failures }) = self.outage else { return next };
        let lasts = Seconds(now.saturating_duration_since(since));
        let log = |level, text: fmt::Arguments<'_>| {
            write_log(level, format_args!("supervisor {supervisor}: child {id} {failure}; {text}"));
        };
        // An outage may last for days: only its begin is logged at a level that is shown by default, that the longest
        // delay is reached, and its end.
        match next {
            AfterFailure::Wait { delay, .. } if failures == 1 => {
                log(log::Level::Warn, format_args!("restart in {}", Seconds(delay)));
            }
            AfterFailure::Wait { delay, reached_max: true } => log(
                log::Level::Warn,
                format_args!(
                    "{failures} failures in {lasts}, restart in {}, the longest delay; \
                     further failures are logged at level debug",
                    Seconds(delay)
                ),
            ),
            AfterFailure::Wait { delay, reached_max: false } => log(
                log::Level::Debug,
                format_args!("{failures} failures in {lasts}, restart in {}", Seconds(delay)),
            ),
            AfterFailure::GiveUp => log(log::Level::Error, format_args!("{failures} failures in {lasts}")),
        }
        next
    }

    /// Ends the outage because the child has been running long enough, and logs that.
    pub(crate) fn recover(&mut self, supervisor: &str, id: &ChildId, pid: Pid) {
        if let (Some(outage), Some(started_at)) = (self.outage, self.started_at) {
            // A warning, like the begin of the outage: a log filter should not hide only one of them.
            write_log(
                log::Level::Warn,
                format_args!(
                    "supervisor {supervisor}: child {id} is running again as {pid}, after {} failures in {}",
                    outage.failures,
                    Seconds(started_at.saturating_duration_since(outage.since))
                ),
            );
        }
        self.end_outage();
    }

    /// Ends the outage, if there is one, and cancels the timer.
    pub(crate) fn end_outage(&mut self) {
        self.cancel_timer();
        self.outage = None;
    }

    /// Returns how long the child must run until its outage is over, if it has one.
    pub(crate) fn stable_after(&self) -> Option<Duration> {
        self.outage.map(|_| self.rule.stable_after())
    }

    pub(crate) fn set_timer(&mut self, timer: TimerRef, number: u64) {
        self.cancel_timer();
        (self.timer, self.number) = (Some(timer), number);
    }

    pub(crate) fn is_current_timer(&self, number: u64) -> bool {
        self.timer.is_some() && self.number == number
    }

    pub(crate) fn cancel_timer(&mut self) {
        if let Some(timer) = self.timer.take() {
            timer_thread::cancel(timer);
        }
    }
}
