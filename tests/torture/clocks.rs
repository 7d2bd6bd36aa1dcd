//! Timers by the hundred: each fires once, never early, or was cancelled; none outlives its target.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rethread::TimerRef;
use rethread::prelude::*;
use rethread::process::Event;

use crate::client::Client;
use crate::hand::SLACK;
use crate::naming::WILD;

struct Armed {
    timer: TimerRef,
    /// The earliest time to fire.
    due: Instant,
    cancelled: bool,
    fired: bool,
}

impl Client<'_> {
    pub(crate) fn burst(&mut self) {
        let to = self.inbox.address();
        let mut armed: HashMap<u64, Armed> = HashMap::new();
        let mut numbers = Vec::new();
        for _ in 0..10 + self.hand.dice.below(300) {
            let (n, delay) = (self.hand.number(), self.hand.dice.up_to_ms(8));
            let due = Instant::now() + delay;
            let timer = process::send_after(delay, &to, n);
            armed.insert(n, Armed { timer, due, cancelled: false, fired: false });
            numbers.push(n);
            if self.hand.dice.one_in(3) {
                let mine = armed.get_mut(self.hand.dice.pick(&numbers)).expect("it was put there");
                let before = mine.cancelled;
                let left = process::cancel_timer(mine.timer);
                mine.cancelled |= left.is_some();
                let read = process::read_timer(mine.timer);
                if left.is_some_and(|left| before || left > Duration::from_millis(8)) || read.is_some() {
                    self.breach(format!(
                        "cancelled: {left:?}, before that: {before}, still to wait: {read:?}"
                    ));
                }
            }
        }
        let mut missing = armed.values().filter(|timer| !timer.cancelled).count();
        let last = self.hand.number(); // once it has arrived, no earlier timer is pending
        process::send_after(Duration::from_millis(8), &to, last);
        while let Some(Event::Message(n)) = self.inbox.recv_where_timeout(
            SLACK,
            |event| matches!(event, Event::Message(n) if armed.contains_key(n) || *n == last),
        ) {
            let Some(timer) = armed.get_mut(&n) else { break };
            let early = timer.due.saturating_duration_since(Instant::now());
            if timer.cancelled || timer.fired || !early.is_zero() {
                self.hand.breach(format!(
                    "a timer fired {early:?} early; cancelled: {}, fired before: {}",
                    timer.cancelled, timer.fired
                ));
            }
            timer.fired = true;
            missing -= usize::from(!timer.cancelled);
        }
        if missing > 0 {
            self.breach(format!("{missing} timers have not fired"));
        }
    }

    /// Checks that a timer whose target is a process is removed with it, before any watcher is notified of
    /// the exit.
    pub(crate) fn outlived(&mut self) {
        let Some(target) = self.helper::<u64>(|inbox| while let Event::Message(_) = inbox.recv() {}) else {
            return;
        };
        let mut timers = Vec::new();
        for _ in 0..self.hand.dice.below(40) {
            timers.push(process::send_after(Duration::from_secs(100), &target, self.hand.number()));
        }
        process::exit(&target, ExitReason::Kill);
        timers.push(process::send_after(Duration::from_secs(100), &target, 0));
        self.gone(target.pid());
        timers.push(process::send_after(Duration::from_secs(100), &target, 0));
        let left = timers.iter().filter(|timer| process::read_timer(**timer).is_some()).count();
        if left > 0 {
            self.breach(format!("{left} of {} timers are left of an exited process", timers.len()));
        }
    }

    /// Checks that a timer whose target is a name finds the holder of the name when it fires.
    pub(crate) fn by_name(&mut self) {
        let at = self.hand.dice.below(WILD.len());
        if !self.claim(at) {
            return;
        }
        let (n, delay) = (self.hand.number(), self.hand.dice.up_to_ms(4));
        let due = Instant::now() + delay;
        let timer = process::send_after(delay, WILD[at], n);
        let mine = |event: &Event<u64>| matches!(event, Event::Message(m) if *m == n);
        let (keep, cancel) = (self.hand.dice.one_in(2), self.hand.dice.one_in(3));
        let cancelled = cancel && process::cancel_timer(timer).is_some();
        if keep && !cancelled {
            if self.inbox.recv_where_timeout(SLACK, mine).is_none() || Instant::now() < due {
                self.breach(format!("a timer aimed at {:?} has not fired, or early", WILD[at]));
            }
            self.give_up(at);
            return;
        }
        self.give_up(at);
        let in_time = Instant::now() < due;
        if !in_time && !cancelled {
            self.strays.insert(n); // it may have fired before
            return;
        }
        let last = self.hand.number();
        process::send_after(Duration::from_millis(4), self.inbox.address(), last);
        self.inbox.recv_where_timeout(SLACK, |event| matches!(event, Event::Message(m) if *m == last));
        if !self.take(mine).is_empty() {
            self.breach(format!(
                "a timer found {:?} when the name was gone; cancelled: {cancelled}",
                WILD[at]
            ));
        }
    }
}
