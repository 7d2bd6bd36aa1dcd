//! How many restarts are allowed within how long: pure, the clock is a parameter. The supervisor spends
//! one for each restart and gives up when there is none left.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The restarts that are left.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    max: u32,
    period: Duration,
    /// When the restarts of the last period were, oldest first.
    spent: VecDeque<Instant>,
}

impl Budget {
    pub(crate) fn new(max: u32, period: Duration) -> Self {
        Self { max, period, spent: VecDeque::new() }
    }

    /// Notes a restart; false if it is one too many within the period. A restart exactly one period ago
    /// still counts.
    pub(crate) fn spend(&mut self, now: Instant) -> bool {
        while self.spent.front().is_some_and(|then| now.saturating_duration_since(*then) > self.period) {
            self.spent.pop_front();
        }
        self.spent.push_back(now);
        self.spent.len() <= self.max as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(5);

    #[test]
    fn allows_as_many_as_it_says_and_not_one_more() {
        let now = Instant::now();
        let mut budget = Budget::new(3, PERIOD);
        assert!(budget.spend(now) && budget.spend(now) && budget.spend(now));
        assert!(!budget.spend(now));
    }

    #[test]
    fn none_allowed_means_the_first_is_too_many() {
        assert!(!Budget::new(0, PERIOD).spend(Instant::now()));
    }

    #[test]
    fn the_window_is_inclusive_to_the_millisecond() {
        let start = Instant::now();
        let mut budget = Budget::new(1, PERIOD);
        assert!(budget.spend(start));
        assert!(!budget.clone().spend(start + PERIOD));
        assert!(budget.spend(start + PERIOD + Duration::from_millis(1)));
    }

    #[test]
    fn a_slow_trickle_never_ends_it() {
        let start = Instant::now();
        let mut budget = Budget::new(1, PERIOD);
        for round in 0..1000 {
            assert!(budget.spend(start + Duration::from_millis(5001) * round), "round {round}");
        }
        assert!(budget.spent.len() <= 2, "the past is forgotten");
    }
}
