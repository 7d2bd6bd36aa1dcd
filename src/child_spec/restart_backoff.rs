//! Restart backoff: the delay before a restart, which grows while a child keeps failing. Pure: the current time and
//! the source of randomness are parameters, so this module must never read the clock.

use std::time::{Duration, Instant};

/// The default of [`RestartBackoff::jitter`], which the documentation of Akka's `BackoffSupervisor` recommends.
const DEFAULT_JITTER: f64 = 0.2;

/// The delay before a supervisor restarts a child that has failed: for devices and services that are away for a while.
///
/// Without a backoff, the default, a child is restarted at once, and each restart counts for the restart intensity
/// of the supervisor, as in OTP. With a backoff
///
/// - the restart is delayed, first by `min`, then by twice the delay before, up to `max`;
/// - a restart that is delayed does not count for the restart intensity: the delay itself limits the rate, and the
///   supervisor does not give up because of this child, except after
///   [`give_up_after`](Self::give_up_after);
/// - a start that fails is a further failure, followed by the next delay;
/// - when the child has been running for [`reset_after`](Self::reset_after), the outage is over, and the next failure
///   is followed by `min` again.
///
/// | option | default | |
/// | --- | --- | --- |
/// | `min`, `max` | | the shortest and the longest delay, before jitter |
/// | [`jitter`](Self::jitter) | 0.2 | how much longer a delay may randomly be |
/// | [`reset_after`](Self::reset_after) | `max` | after this time without a failure the outage is over |
/// | [`give_up_after`](Self::give_up_after) | never | after an outage of this length the supervisor gives up |
/// | [`retry_first_start`](Self::retry_first_start) | `false` | whether the first start may fail, too |
///
/// Set it for one child with `restart_backoff`, or for all children of a supervisor with
/// [`child_restart_backoff`](crate::supervisor::SupervisorSpec::child_restart_backoff).
///
/// ```
/// use rethread::prelude::*;
/// use rethread::supervisor::{ChildState, RestartBackoff};
/// use std::time::Duration;
///
/// let away = RestartBackoff::new(Duration::from_millis(250), Duration::from_secs(30)).retry_first_start(true);
/// let sensor = ChildSpec::new("sensor", || Err(rethread::StartError::failed("no such device")));
/// let hub = Supervisor::one_for_one().child(sensor.restart_backoff(away)).start_link()?;
///
/// let state = hub.which_children()?[0].state;
/// assert!(matches!(state, ChildState::RestartingAt(_)), "{state}"); // restarting in 0.3 s
/// hub.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Differences from Erlang
/// OTP has no restart delay: the usual replacements are a process that always starts and connects later, and a
/// supervisor in between with a high intensity. The rule is that of Akka's `BackoffSupervisor` (`minBackoff`, `maxBackoff`,
/// `randomFactor`, automatic reset) and of Kubernetes' `CrashLoopBackOff`; systemd has `RestartSec`, `RestartSteps` and
/// `RestartMaxDelaySec`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[must_use = "a backoff does nothing by itself: give it to a spec"]
pub struct RestartBackoff {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
    /// In `0.0..=1.0`.
    jitter: f64,
    reset_after: Option<Duration>,
    give_up_after: Option<Duration>,
    retry_first_start: bool,
}

// The jitter is never NaN.
impl Eq for RestartBackoff {}

impl RestartBackoff {
    /// Creates a backoff whose first delay is `min`, and each further one twice the delay before, up to `max`.
    ///
    /// `min` must be longer than zero, and `max` not shorter than `min`; otherwise the start of the supervisor, or
    /// `start_child`, fails with [`SpecError::BackoffRange`](crate::supervisor::SpecError::BackoffRange).
    pub const fn new(min: Duration, max: Duration) -> Self {
        let (reset_after, give_up_after) = (None, None);
        Self { min, max, jitter: DEFAULT_JITTER, reset_after, give_up_after, retry_first_start: false }
    }

    /// Creates a backoff without delay: the child is restarted at once, and its restarts count for the restart
    /// intensity. For one child of a supervisor with a
    /// [`child_restart_backoff`](crate::supervisor::SupervisorSpec::child_restart_backoff).
    pub const fn none() -> Self {
        Self::new(Duration::ZERO, Duration::ZERO)
    }

    /// Sets how much longer each delay may be, as a fraction of the delay: with 0.2, a delay of 10 s takes 10 s to
    /// 12 s. So children that failed together do not all try again at the same moment. Default: 0.2. A value below
    /// zero counts as 0, one above one as 1.
    pub const fn jitter(mut self, fraction: f64) -> Self {
        // Written so that NaN becomes 0; `clamp` would keep it.
        self.jitter = match fraction {
            fraction if fraction >= 1.0 => 1.0,
            fraction if fraction > 0.0 => fraction,
            _ => 0.0,
        };
        self
    }

    /// Sets how long a child must run until its outage is over. Then the next failure is followed by the shortest
    /// delay again. Default: the longest delay.
    pub const fn reset_after(mut self, lifetime: Duration) -> Self {
        self.reset_after = Some(lifetime);
        self
    }

    /// Sets the longest outage. If a child fails when its outage has lasted that long, its supervisor gives up: it
    /// stops its children and exits with `Shutdown`, like after too many restarts. Default: it never gives up because
    /// of this child.
    pub const fn give_up_after(mut self, outage: Duration) -> Self {
        self.give_up_after = Some(outage);
        self
    }

    /// Sets whether the first start, too, is retried with these delays, when the supervisor itself starts. Default:
    /// `false`; then the start of the supervisor fails with the start of the child, as in OTP.
    ///
    /// A start that a caller requests with `start_child` is never retried: the caller gets the error.
    pub const fn retry_first_start(mut self, retry: bool) -> Self {
        self.retry_first_start = retry;
        self
    }

    pub(crate) fn is_none(&self) -> bool {
        self.min.is_zero() && self.max.is_zero()
    }

    pub(crate) fn retries_first_start(&self) -> bool {
        self.retry_first_start && !self.is_none()
    }

    /// Returns how long a child must run until its outage is over.
    pub(crate) fn stable_after(&self) -> Duration {
        self.reset_after.unwrap_or(self.max)
    }

    pub(crate) fn is_valid(&self) -> bool {
        self.is_none() || !self.min.is_zero() && self.min <= self.max
    }

    /// Returns the delay after this number of failures in a row, without jitter.
    fn delay(&self, failures: u32) -> Duration {
        // From 2^31 on it makes no difference, since `min` is at least 1 ns and no outage lasts that long.
        let factor = 1_u32 << failures.saturating_sub(1).min(31);
        self.min.saturating_mul(factor).min(self.max)
    }

    /// Returns the delay with jitter, which only makes it longer. `random` is any number.
    fn jittered(&self, delay: Duration, random: u64) -> Duration {
        // The upper 53 bits fit into the mantissa: a fraction in `0.0..1.0`.
        let fraction = (random >> 11) as f64 / (1_u64 << 53) as f64;
        // Saturating: a delay near `Duration::MAX` cannot become longer.
        Duration::try_from_secs_f64(delay.as_secs_f64() * self.jitter * fraction)
            .map_or(Duration::MAX, |extra| delay.saturating_add(extra))
    }
}

/// Random numbers for the jitter: SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
/// OOPSLA 2014). The same seed gives the same numbers.
#[derive(Debug, Clone)]
pub(crate) struct JitterRng(u64);

impl JitterRng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// The outage of one child: from its first failure until it has been running for `reset_after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outage {
    pub(crate) since: Instant,
    /// The failures in a row: exits and failed starts.
    pub(crate) failures: u32,
}

/// What follows a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterFailure {
    /// The child is restarted after this delay.
    Wait {
        delay: Duration,
        /// Whether the longest delay is reached with this failure, and was not before.
        reached_max: bool,
    },
    /// The outage has lasted too long.
    GiveUp,
}

impl Outage {
    /// Records a failure at `now`. `lifetime` is how long the child was running before, or `None` if it did not start.
    pub(crate) fn record_failure(
        outage: &mut Option<Self>,
        backoff: &RestartBackoff,
        lifetime: Option<Duration>,
        now: Instant,
        rng: &mut JitterRng,
    ) -> AfterFailure {
        // After a long enough life this is the first failure of a new outage.
        if lifetime.is_some_and(|lifetime| lifetime >= backoff.stable_after()) {
            *outage = None;
        }
        let outage = outage.get_or_insert(Self { since: now, failures: 0 });
        outage.failures = outage.failures.saturating_add(1);
        let lasts = now.saturating_duration_since(outage.since);
        if backoff.give_up_after.is_some_and(|longest| lasts >= longest) {
            return AfterFailure::GiveUp;
        }
        let delay = backoff.delay(outage.failures);
        let reached_max =
            delay == backoff.max && outage.failures > 1 && backoff.delay(outage.failures - 1) < delay;
        AfterFailure::Wait { delay: backoff.jittered(delay, rng.next()), reached_max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(1);

    fn exact() -> RestartBackoff {
        RestartBackoff::new(MIN, MAX).jitter(0.0)
    }

    /// Records failed starts, each when the delay before is over; returns the delays in ms.
    fn delays(backoff: &RestartBackoff, count: usize) -> Vec<u128> {
        let (mut outage, mut rng, mut now) = (None, JitterRng::new(1), Instant::now());
        let mut next = || match Outage::record_failure(&mut outage, backoff, None, now, &mut rng) {
            AfterFailure::Wait { delay, .. } => {
                now += delay;
                delay.as_millis()
            }
            AfterFailure::GiveUp => u128::MAX,
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn delay_doubles_from_min_to_max() {
        assert_eq!(delays(&exact(), 7), [100, 200, 400, 800, 1000, 1000, 1000]);
        assert_eq!(exact().delay(u32::MAX), MAX);
        assert_eq!(RestartBackoff::new(MIN, Duration::MAX).delay(32), MIN * (1 << 31));
    }

    #[test]
    fn life_of_reset_after_begins_a_new_outage() {
        let (mut outage, mut rng, start) = (None, JitterRng::new(1), Instant::now());
        let backoff = exact().reset_after(Duration::from_secs(5));
        let mut fail = |lifetime, at| {
            let step = Outage::record_failure(&mut outage, &backoff, lifetime, start + at, &mut rng);
            let AfterFailure::Wait { delay, .. } = step else { panic!("{step:?}") };
            (delay, outage.expect("an outage").since)
        };
        assert_eq!(fail(None, Duration::ZERO), (MIN, start));
        let nearly = Duration::from_millis(4999);
        assert_eq!(fail(Some(nearly), nearly), (MIN * 2, start));
        let long = Duration::from_secs(5);
        assert_eq!(fail(Some(long), long * 2), (MIN, start + long * 2));
    }

    #[test]
    fn default_of_reset_after_is_max() {
        assert_eq!(exact().stable_after(), MAX);
    }

    #[test]
    fn maximum_is_reached_once() {
        let (mut outage, mut rng, now) = (None, JitterRng::new(1), Instant::now());
        let mut reached = |backoff: &RestartBackoff| {
            let step = Outage::record_failure(&mut outage, backoff, None, now, &mut rng);
            matches!(step, AfterFailure::Wait { reached_max: true, .. })
        };
        let found: Vec<bool> = (0..7).map(|_| reached(&exact())).collect();
        assert_eq!(found, [false, false, false, false, true, false, false]);
        // With a constant delay there is nothing to reach.
        let constant = RestartBackoff::new(MIN, MIN);
        assert!(!(0..7).any(|_| reached(&constant)));
    }

    #[test]
    fn outage_that_lasts_too_long_ends_in_giving_up() {
        let backoff = exact().give_up_after(Duration::from_millis(700));
        assert_eq!(delays(&backoff, 4), [100, 200, 400, u128::MAX]);
        assert_eq!(delays(&exact().give_up_after(Duration::ZERO), 1), [u128::MAX]);
    }

    #[test]
    fn jitter_only_lengthens_and_is_bounded() {
        let backoff = RestartBackoff::new(MIN, MAX).jitter(0.5);
        let (lowest, highest) = (backoff.jittered(MAX, 0), backoff.jittered(MAX, u64::MAX));
        assert_eq!(lowest, MAX);
        assert!(highest > MAX * 149 / 100 && highest <= MAX * 3 / 2, "{highest:?}");
        assert_eq!(backoff.jittered(Duration::MAX, u64::MAX), Duration::MAX);
        for (given, used) in [(-1.0, 0.0), (f64::NAN, 0.0), (0.3, 0.3), (7.0, 1.0), (f64::INFINITY, 1.0)] {
            assert_eq!(exact().jitter(given), exact().jitter(used), "{given}");
        }
    }

    #[test]
    fn same_seed_gives_the_same_numbers_and_another_seed_others() {
        let numbers = |seed| {
            let mut rng = JitterRng::new(seed);
            [rng.next(), rng.next(), rng.next()]
        };
        // The first outputs for seed 0 in the reference implementation of SplitMix64.
        assert_eq!(numbers(0), [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f]);
        assert_ne!(numbers(1), numbers(2));
    }

    #[test]
    fn shortest_delay_must_be_positive_and_not_longer_than_the_longest() {
        assert!(exact().is_valid() && RestartBackoff::none().is_valid());
        assert!(RestartBackoff::new(MIN, MIN).is_valid());
        for (min, max) in [(Duration::ZERO, MAX), (MAX, MIN), (MIN, Duration::ZERO)] {
            assert!(!RestartBackoff::new(min, max).is_valid(), "{min:?} {max:?}");
        }
    }

    /// Compares with delays computed one after the other.
    mod model {
        use proptest::prelude::*;

        use super::*;

        proptest! {
            #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

            #[test]
            fn each_delay_is_twice_the_one_before_or_the_maximum(
                min in 1..10_000_u64,
                more in 0..100_000_u64,
                jitter in 0.0..=1.0_f64,
                seed in any::<u64>(),
                failures in 1..80_usize,
            ) {
                let (min, max) = (Duration::from_micros(min), Duration::from_micros(min + more));
                let backoff = RestartBackoff::new(min, max).jitter(jitter);
                let (mut outage, mut rng, now) = (None, JitterRng::new(seed), Instant::now());
                let mut expected = min;
                for _ in 0..failures {
                    let step = Outage::record_failure(&mut outage, &backoff, None, now, &mut rng);
                    let AfterFailure::Wait { delay, .. } = step else { panic!("{step:?}") };
                    let longest = expected.mul_f64(1.0 + jitter) + Duration::from_nanos(1);
                    prop_assert!(delay >= expected && delay <= longest, "{:?} of {:?}", delay, expected);
                    expected = (expected * 2).min(max);
                }
            }
        }
    }
}
