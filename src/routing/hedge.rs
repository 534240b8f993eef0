//! When a second attempt is worth its cost: only when what was observed says that the first one is in danger (rule Q4).
//!
//! Pure. With a deadline, the question is asked at every moment after the start: given that nothing has come yet, is a fresh start at the
//! second lane clearly more likely to make it than going on to wait? Without one, the first lane's own percentile decides. Where the
//! distribution is not known, the answer is never.

use super::score::{Quantiles, Score};
use crate::limits;
use std::time::Duration;

/// What is hoped to be in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// The first content of a stream.
    FirstToken,
    /// A whole answer.
    Whole,
}

/// What decides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trigger {
    /// What is awaited shall be there so long after the first attempt began.
    Deadline(Duration),
    /// The first attempt takes longer than this share of its like, 0 to 1.
    Percentile(f64),
}

/// How much more likely a fresh start must be to make the deadline, as a difference of chances. Percentiles are interpolated between few
/// points: a smaller difference may be their error.
const ADVANTAGE_MIN: f64 = 0.05;
/// Moments at which the question is asked, evenly up to the deadline.
const STEPS: u32 = 64;
/// Part of a percentile that is waited on top of it: within a narrow mode half of the slower ones are only a hair slower, and a tenth more
/// patience spares a second attempt for those.
const PATIENCE: f64 = 0.10;

/// How long after the first attempt's start the second one is to start; `None` for never.
pub fn when(first: &Score, second: &Score, awaited: Awaited, trigger: Trigger) -> Option<Duration> {
    let first = known(first, awaited)?;
    match trigger {
        Trigger::Percentile(share) => Some(patient(first.value(share))),
        Trigger::Deadline(deadline) => danger(first, known(second, awaited)?, deadline),
    }
}

/// A lane's own distribution, if enough attempts are behind it.
fn known(score: &Score, awaited: Awaited) -> Option<&Quantiles> {
    if score.is_prior || score.samples < limits::HEDGE_SAMPLES_MIN {
        return None;
    }
    match awaited {
        Awaited::FirstToken => score.first_token_us.as_ref().or(score.first_byte_us.as_ref()),
        Awaited::Whole => score.total_us.as_ref().or(score.first_byte_us.as_ref()),
    }
}

fn patient(value_us: u32) -> Duration {
    Duration::from_micros(u64::from(value_us)).mul_f64(1.0 + PATIENCE)
}

/// The first moment at which a fresh start is clearly the better hope.
fn danger(first: &Quantiles, second: &Quantiles, deadline: Duration) -> Option<Duration> {
    let deadline_us = u32::try_from(deadline.as_micros()).unwrap_or(u32::MAX);
    let in_time = share_within(first, deadline_us);
    let moments = (0..STEPS).map(|step| u32::try_from(u64::from(deadline_us) * u64::from(step) / u64::from(STEPS)));
    moments.flatten().find_map(|waited| {
        let passed = share_within(first, waited);
        let still = (in_time - passed).max(0.0) / (1.0 - passed).max(f64::EPSILON);
        let fresh = share_within(second, deadline_us - waited);
        (fresh - still >= ADVANTAGE_MIN).then(|| Duration::from_micros(u64::from(waited)))
    })
}

/// The share of durations that are no longer than `value`, below 1: behind the last percentile that is known, half of the rest is taken to
/// come within that percentile's time again, half of what is left within the next, and so on.
fn share_within(quantiles: &Quantiles, value: u32) -> f64 {
    let last = Quantiles::POINTS.len() - 1;
    let (known, end) = (Quantiles::POINTS[last], quantiles.at[last]);
    if value < end {
        return quantiles.share_within(value).min(known);
    }
    let beyond = f64::from(value - end) / f64::from(end.max(1));
    (1.0 - (1.0 - known) * 0.5_f64.powf(beyond)).min(1.0 - f64::EPSILON)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(quantiles: [u32; 7]) -> Score {
        let known = Some(Quantiles { at: quantiles.map(|millis| millis * 1_000) });
        Score { samples: 500.0, first_token_us: known, total_us: known, ..Score::default() }
    }

    /// 97 of 100 take about 50 ms, the others a second.
    fn two_modes() -> Score {
        lane([48, 49, 50, 51, 52, 53, 1_000])
    }

    fn deadline(millis: u64) -> Trigger {
        Trigger::Deadline(Duration::from_millis(millis))
    }

    #[test]
    fn without_a_known_distribution_never() {
        let unknown = Score::default();
        let few = Score { samples: 3.0, ..two_modes() };
        let borrowed = Score { is_prior: true, ..two_modes() };
        for first in [&unknown, &few, &borrowed] {
            for trigger in [deadline(100), Trigger::Percentile(0.95)] {
                assert_eq!(when(first, &two_modes(), Awaited::FirstToken, trigger), None);
            }
        }
        assert_eq!(when(&two_modes(), &unknown, Awaited::FirstToken, deadline(300)), None, "nobody knows the second");
        assert!(when(&two_modes(), &unknown, Awaited::FirstToken, Trigger::Percentile(0.95)).is_some());
    }

    #[test]
    fn a_percentile_is_waited_for_and_a_little_more() {
        let waited = when(&two_modes(), &two_modes(), Awaited::Whole, Trigger::Percentile(0.95)).expect("it is known");
        assert_eq!(waited, Duration::from_micros(58_300));
    }

    #[test]
    fn the_second_starts_when_the_first_has_left_its_fast_mode() {
        let waited = when(&two_modes(), &two_modes(), Awaited::FirstToken, deadline(300)).expect("it is in danger");
        assert!((50..75).contains(&waited.as_millis()), "{waited:?}");
    }

    #[test]
    fn a_deadline_that_is_far_or_hopeless_starts_nothing() {
        let steady = lane([100, 110, 120, 130, 140, 150, 160]);
        assert_eq!(when(&steady, &steady, Awaited::FirstToken, deadline(5)), None, "none makes it");
        let waited = when(&steady, &steady, Awaited::FirstToken, deadline(5_000)).expect("it may be stuck");
        assert!(waited > Duration::from_secs(3), "nearly all make it, and one that is late has time: {waited:?}");
    }

    #[test]
    fn a_first_lane_that_cannot_make_it_is_not_waited_for() {
        let (slow, fast) = (lane([900; 7]), lane([50; 7]));
        assert_eq!(when(&slow, &fast, Awaited::FirstToken, deadline(300)), Some(Duration::ZERO));
        assert_eq!(when(&fast, &slow, Awaited::FirstToken, deadline(300)), None);
    }

    #[test]
    fn the_later_the_deadline_the_later_the_second() {
        let waits: Vec<_> = [150, 300, 600, 900]
            .map(|millis| when(&two_modes(), &two_modes(), Awaited::FirstToken, deadline(millis)))
            .into_iter()
            .flatten()
            .collect();
        assert!(waits.len() == 4 && waits.iter().all(|wait| *wait < Duration::from_millis(150)), "{waits:?}");
    }
}
