//! How many attempts may be repeated: a share of first attempts, so that an outage never multiplies the load that caused it (rules Q2, Q3).
//!
//! Pure. One budget per tenant and provider that fails: a tenant's retries away from a provider, or at it again, are at most a fifth of its
//! first attempts there within ten seconds, and never fewer than a small number. What was not sent, and what a provider refused for the
//! sake of a key, cost it no work and need no budget: the caller does not ask for any.

use super::rolling::Rolling;
use crate::limits;
use std::time::{Duration, Instant};

/// What one tenant may repeat because one provider fails.
#[derive(Clone, Debug)]
pub struct RetryBudget {
    /// First attempts, and retries.
    counts: Rolling,
}

impl RetryBudget {
    /// Nothing attempted yet.
    pub fn new(now: Instant) -> Self {
        Self { counts: Rolling::new(now) }
    }

    /// A first attempt was made.
    pub fn count_first(&mut self, now: Instant) {
        self.counts.count_first(now);
    }

    /// Takes one retry out of the budget, if there is one. `floor` are the retries of ten seconds that are always allowed.
    pub fn take(&mut self, floor: u32, now: Instant) -> bool {
        let (first, retries) = self.counts.sums(now);
        let granted = retries < floor.max(first / limits::RETRY_ONE_IN);
        if granted {
            self.counts.count_second(now);
        }
        granted
    }

    /// Whether nothing was attempted within the window, so that nothing is lost with this.
    pub fn is_idle(&mut self, now: Instant) -> bool {
        self.counts.sums(now) == (0, 0)
    }
}

/// The floor of one core when `cores` share the tenants between them: its part of three a second, and at least one a second.
pub fn floor_of(cores: usize) -> u32 {
    let window = u32::try_from(Rolling::SPAN.as_secs()).unwrap_or(u32::MAX);
    let cores = u32::try_from(cores.max(1)).unwrap_or(u32::MAX);
    (limits::RETRY_FLOOR_PER_SECOND * window / cores).max(window)
}

/// The wait before the same provider is asked again: anything up to a bound that doubles with every retry, so that those who failed
/// together do not come back together. `draw` is a number between 0 and 1.
pub fn back_off(retries: u32, draw: f64) -> Duration {
    let bound = limits::RETRY_BACK_OFF.saturating_mul(1 << retries.min(6));
    bound.mul_f64(draw.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_fifth_of_the_first_attempts_may_be_repeated() {
        let start = Instant::now();
        let mut budget = RetryBudget::new(start);
        (0..1_000).for_each(|_| budget.count_first(start));
        let granted = (0..1_000).filter(|_| budget.take(30, start + SECOND)).count();
        assert_eq!(granted, 200);
        // Ten seconds later neither the attempts nor the retries count any more.
        assert_eq!((0..1_000).filter(|_| budget.take(30, start + 12 * SECOND)).count(), 30);
        assert!(!budget.is_idle(start + 12 * SECOND));
        assert!(budget.is_idle(start + 30 * SECOND));
    }

    #[test]
    fn with_everything_failing_the_load_grows_by_a_fifth_at_most() {
        let start = Instant::now();
        let mut budget = RetryBudget::new(start);
        let (mut first, mut retries) = (0u32, 0u32);
        for millis in 0..60_000u64 {
            let now = start + Duration::from_millis(millis);
            budget.count_first(now);
            first += 1;
            retries += u32::from(budget.take(floor_of(2), now));
        }
        let factor = f64::from(first + retries) / f64::from(first);
        assert!((1.15..=1.2).contains(&factor), "{factor}");
    }

    #[test]
    fn the_floor_is_shared_by_the_cores_and_never_nothing() {
        assert_eq!([1, 2, 3, 8, 64].map(floor_of), [30, 15, 10, 10, 10]);
        assert_eq!(floor_of(0), 30);
    }

    #[test]
    fn the_back_off_doubles_and_is_drawn_whole() {
        assert_eq!(back_off(0, 1.0), Duration::from_millis(50));
        assert_eq!(back_off(2, 0.5), Duration::from_millis(100));
        assert_eq!(back_off(0, 0.0), Duration::ZERO);
        assert!(back_off(u32::MAX, 1.0) <= Duration::from_millis(3_200));
    }
}
