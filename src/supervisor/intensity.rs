//! Restart intensity: how many restarts are allowed within a period. Pure: the current time is a parameter,
//! so this module must never read the clock.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use crate::child_spec::SpecError;

/// The number of restarts that a supervisor has made within its period, and the maximum. With one restart
/// more than the maximum the supervisor gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestartCount {
    /// The number of restarts within the last `period`.
    pub used: u32,
    /// The maximum number of restarts within `period`.
    pub max: u32,
    /// The time within which restarts are counted.
    pub period: Duration,
}

impl RestartCount {
    /// Returns the number of restarts that are left now.
    pub fn left(&self) -> u32 {
        self.max.saturating_sub(self.used)
    }
}

impl fmt::Display for RestartCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.max {
            // Practically unlimited: the number would only confuse.
            u32::MAX => write!(f, "{} restarts in {:?}", self.used, self.period),
            max => write!(f, "{} of {max} restarts in {:?}", self.used, self.period),
        }
    }
}

/// A maximum number of restarts within a sliding period, and the restarts made in it.
#[derive(Debug, Clone)]
pub(crate) struct RestartIntensity {
    max: u32,
    period: Duration,
    /// The times of the restarts within the last period, oldest first.
    restart_times: VecDeque<Instant>,
}

/// 3 restarts in 5 s, the default of every supervisor, as in Elixir.
impl Default for RestartIntensity {
    fn default() -> Self {
        Self::new(3, Duration::from_secs(5))
    }
}

impl RestartIntensity {
    pub(crate) fn new(max: u32, period: Duration) -> Self {
        Self { max, period, restart_times: VecDeque::new() }
    }

    /// Returns an error if the period is zero: then the number of restarts would not be limited.
    pub(crate) fn check(&self) -> Result<(), SpecError> {
        if self.period.is_zero() { Err(SpecError::ZeroPeriod) } else { Ok(()) }
    }

    /// Returns the number of restarts within the period that ends now.
    pub(crate) fn count(&mut self, now: Instant) -> RestartCount {
        self.prune(now);
        // At most `max + 1` entries, see `record_restart`: one more than `u32::MAX` cannot occur.
        let used = u32::try_from(self.restart_times.len()).unwrap_or(u32::MAX);
        RestartCount { used, max: self.max, period: self.period }
    }

    /// Removes the restarts that are older than one period.
    fn prune(&mut self, now: Instant) {
        // Saturating: a caller may have read the clock before another restart was recorded.
        while self
            .restart_times
            .front()
            .is_some_and(|then| now.saturating_duration_since(*then) > self.period)
        {
            self.restart_times.pop_front();
        }
    }

    /// Records a restart; returns `false` if it is one too many within the period. A restart exactly one
    /// period ago still counts.
    pub(crate) fn record_restart(&mut self, now: Instant) -> bool {
        self.prune(now);
        // Recorded even if refused: the supervisor gives up then. So there are at most `max + 1` entries.
        self.restart_times.push_back(now);
        self.restart_times.len() <= self.max as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(5);

    #[test]
    fn restarts_up_to_max_are_allowed() {
        let now = Instant::now();
        let mut intensity = RestartIntensity::new(3, PERIOD);
        assert!(
            intensity.record_restart(now) && intensity.record_restart(now) && intensity.record_restart(now)
        );
        assert!(!intensity.record_restart(now));
    }

    #[test]
    fn max_zero_first_restart_is_refused() {
        assert!(!RestartIntensity::new(0, PERIOD).record_restart(Instant::now()));
    }

    #[test]
    fn the_window_is_inclusive_to_the_millisecond() {
        let start = Instant::now();
        let mut intensity = RestartIntensity::new(1, PERIOD);
        assert!(intensity.record_restart(start));
        assert!(!intensity.clone().record_restart(start + PERIOD));
        assert!(intensity.record_restart(start + PERIOD + Duration::from_millis(1)));
    }

    #[test]
    fn restarts_slower_than_the_limit_are_always_allowed() {
        let start = Instant::now();
        let mut intensity = RestartIntensity::new(1, PERIOD);
        for round in 0..1000 {
            assert!(intensity.record_restart(start + Duration::from_millis(5001) * round), "round {round}");
        }
        assert!(intensity.restart_times.len() <= 2, "older restarts are removed");
    }

    /// Compares with an implementation that keeps all restarts and counts them each time.
    mod model {
        use proptest::prelude::*;

        use super::*;

        /// Generates a period and the gaps between restarts, in ms. Many gaps are close to the period or to a
        /// fraction of it, where an error by one would show.
        fn times() -> impl Strategy<Value = (u64, Vec<u64>)> {
            (0..60_u64).prop_flat_map(|period| {
                let part = (1..5_u64, 0..3_u64)
                    .prop_map(move |(part, more)| (period / part + more).saturating_sub(1));
                let gap = prop_oneof![4 => part, 2 => 0..3_u64, 1 => 0..200_u64];
                (Just(period), proptest::collection::vec(gap, 1..60))
            })
        }

        proptest! {
            #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

            #[test]
            fn a_restart_is_one_too_many_when_more_than_the_maximum_are_within_the_period(
                max in 0..6_u32,
                (period, gaps) in times(),
            ) {
                let start = Instant::now();
                let mut intensity = RestartIntensity::new(max, Duration::from_millis(period));
                let mut all: Vec<u64> = Vec::new();
                for gap in gaps {
                    let now = all.last().copied().unwrap_or(0) + gap;
                    all.push(now);
                    let within = all.iter().filter(|then| **then + period >= now).count();
                    let allowed = intensity.record_restart(start + Duration::from_millis(now));
                    prop_assert_eq!(allowed, within <= max as usize, "{} ms: {} within", now, within);
                    prop_assert_eq!(intensity.restart_times.len(), within, "older restarts are removed");
                }
            }
        }
    }
}
