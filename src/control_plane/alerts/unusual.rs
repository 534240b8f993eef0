//! What is unusual: a robust z-score of one figure among its own past.
//!
//! ```text
//! score = (figure - median) / (1.4826 x max(MAD, upper quartile - median, floor))        MAD: median distance from the median
//! ```
//! Median and MAD do not move for a few odd hours of the past, as mean and deviation do; 1.4826 makes the MAD of a normal distribution its
//! standard deviation (Iglewicz and Hoaglin, 1993). The floor keeps a key that hardly ever does anything from screaming at its first dollar.
//! Only more than usual is unusual. Everything here is pure: `now` is an argument.

use crate::domain::clock::UnixMillis;
use crate::limits::alerts::UNUSUAL_RESOLVED_AT;
use std::time::Duration;

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Measure {
    /// Dollars in an hour.
    Spend,
    /// Share of attempts in an hour that failed.
    Errors,
}

/// What is usual: the median of the past, and the median of the distances from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Usual {
    expected: f64,
    deviation: f64,
}

/// How unusual a figure is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Score {
    /// The figure.
    pub(super) figure: f64,
    /// What was to be expected: the median.
    pub(super) expected: f64,
    /// How far away it is, in robust deviations.
    pub(super) score: f64,
}

/// When to tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Terms {
    /// From this score on.
    pub(super) raise_at: f64,
    /// Not sooner than this after the last time.
    pub(super) cool_down: Duration,
}

/// Whether somebody was told of one measure of one thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// Since when it is unusual; `None`: it is not.
    pub(super) since: Option<UnixMillis>,
    /// When somebody was last told.
    pub(super) told: Option<UnixMillis>,
}

/// What a look comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing to tell.
    Stay,
    /// It is unusual from now on.
    Raise,
    /// It is usual again.
    Resolve,
}

// === impl Measure ===

impl Measure {
    pub(super) const ALL: [Self; 2] = [Self::Spend, Self::Errors];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Spend => "spend",
            Self::Errors => "errors",
        }
    }

    /// The least that counts as a deviation: of spending a tenth of what is usual or ten cents, of errors two in a hundred.
    const fn floor(self, expected: f64) -> f64 {
        match self {
            Self::Spend => (0.1 * expected).max(0.10),
            Self::Errors => 0.02,
        }
    }
}

// === impl Usual ===

impl Usual {
    /// What figures of the past say; `None` where there are none, or one is no number.
    pub(super) fn of(past: &[f64]) -> Option<Self> {
        if past.iter().any(|past| !past.is_finite()) {
            return None;
        }
        let expected = median(past.to_vec())?;
        let spread = median(past.iter().map(|past| (past - expected).abs()).collect())?;
        // Working days and others make two heaps; where the median is of the lower one, the upper quartile knows of the other.
        let mut rising = past.to_vec();
        rising.sort_by(f64::total_cmp);
        let above = rising.get(3 * rising.len() / 4)? - expected;
        Some(Self { expected, deviation: spread.max(above) })
    }

    /// The score of a figure beside it; `None` for what is no number.
    pub(super) fn score(self, measure: Measure, figure: f64) -> Option<Score> {
        let Self { expected, deviation } = self;
        let scale = 1.4826 * deviation.max(measure.floor(expected));
        figure.is_finite().then(|| Score { figure, expected, score: (figure - expected) / scale })
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let (middle, upper) = (figures.len() / 2, *figures.get(figures.len() / 2)?);
    match figures.len() % 2 {
        1 => Some(upper),
        _ => figures.get(middle.checked_sub(1)?).map(|lower| f64::midpoint(*lower, upper)),
    }
}

// === impl Standing ===

impl Standing {
    /// Takes in a score. `is_whole` says that it is of a whole hour: of a part of one it can only be too low, so that it raises and never
    /// resolves. Between the two thresholds nothing changes.
    pub(super) fn step(&mut self, score: f64, is_whole: bool, terms: Terms, now: UnixMillis) -> Turn {
        match self.since {
            None if score >= terms.raise_at && self.has_cooled(terms, now) => {
                *self = Self { since: Some(now), told: Some(now) };
                Turn::Raise
            }
            Some(_) if is_whole && score < terms.raise_at * UNUSUAL_RESOLVED_AT => {
                self.since = None;
                Turn::Resolve
            }
            _ => Turn::Stay,
        }
    }

    fn has_cooled(&self, terms: Terms, now: UnixMillis) -> bool {
        let cool = u64::try_from(terms.cool_down.as_millis()).unwrap_or(u64::MAX);
        self.told.is_none_or(|told| now.0.saturating_sub(told.0) >= cool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TERMS: Terms = Terms { raise_at: 6.0, cool_down: Duration::from_secs(3_600) };

    fn score(measure: Measure, figure: f64, past: &[f64]) -> Option<Score> {
        Usual::of(past)?.score(measure, figure)
    }

    fn at(figure: f64, past: &[f64]) -> f64 {
        score(Measure::Spend, figure, past).expect("a score").score
    }

    #[test]
    fn the_score_is_what_it_says() {
        // Median 10, MAD 2: (20 - 10) / (1.4826 x 2).
        let past = [6.0, 8.0, 10.0, 12.0, 14.0];
        let found = score(Measure::Spend, 20.0, &past).expect("a score");
        assert_eq!((found.expected, found.figure), (10.0, 20.0));
        assert!((found.score - 3.372).abs() < 0.001, "{}", found.score);
        assert!(at(10.0, &past).abs() < f64::EPSILON && at(0.0, &past) < 0.0);
        assert_eq!(score(Measure::Spend, 1.0, &[]), None);
        assert_eq!(score(Measure::Spend, f64::NAN, &past), None);
    }

    #[test]
    fn a_quiet_key_does_not_scream() {
        let silence = [0.0; 42];
        assert!(at(0.5, &silence) < 6.0, "half a dollar is no news");
        assert!(at(5.0, &silence) > 6.0, "five dollars out of nothing are");
        let errors = |share| score(Measure::Errors, share, &[0.0; 30]).expect("a score").score;
        assert!(errors(0.1) < 6.0 && errors(0.3) > 6.0);
    }

    #[test]
    fn a_few_odd_hours_of_the_past_hide_nothing() {
        let mut past = vec![10.0; 38];
        past.extend([1_000.0; 4]);
        assert!(at(40.0, &past) > 6.0, "as four bursts of before would hide it from a mean");
    }

    #[test]
    fn somebody_is_told_once_until_it_was_usual_and_cool() {
        let (mut standing, hour) = (Standing::default(), 3_600_000);
        let mut look = |score, whole, at| standing.step(score, whole, TERMS, UnixMillis(at));
        assert_eq!(look(5.9, false, 0), Turn::Stay);
        assert_eq!(look(6.0, false, 1), Turn::Raise);
        assert_eq!(look(60.0, false, 2), Turn::Stay);
        assert_eq!(look(0.0, false, 3), Turn::Stay, "a new hour has only begun");
        assert_eq!(look(4.0, true, 4), Turn::Stay, "between the thresholds");
        assert_eq!(look(2.9, true, 5), Turn::Resolve);
        assert_eq!(look(9.0, false, hour), Turn::Stay, "not yet cool");
        assert_eq!(look(9.0, false, hour + 1), Turn::Raise);
    }

    proptest! {
        #[test]
        fn a_score_grows_with_its_figure_and_with_nothing_else(
            past in prop::collection::vec(0.0..1e6_f64, 1..100),
            low in 0.0..1e6_f64,
            more in 0.0..1e6_f64,
        ) {
            let (lower, higher) = (at(low, &past), at(low + more, &past));
            prop_assert!(lower.is_finite() && lower <= higher);
            let mut turned = past.clone();
            turned.reverse();
            prop_assert_eq!(lower, at(low, &turned));
            let middle = median(past.clone()).expect("some");
            prop_assert!(at(middle, &past).abs() < 1e-9);
        }

        #[test]
        fn less_than_half_of_the_past_cannot_move_what_is_expected_out_of_the_rest(
            rest in prop::collection::vec(1.0..2.0_f64, 21..60),
            odd in prop::collection::vec(1e3..1e9_f64, 0..20),
        ) {
            let past: Vec<f64> = rest.iter().chain(&odd).copied().collect();
            let found = score(Measure::Spend, 0.0, &past).expect("a score");
            prop_assert!((1.0..=2.0).contains(&found.expected));
        }

        #[test]
        fn nobody_is_told_twice_within_a_cool_down(scores in prop::collection::vec((0.0..20.0_f64, any::<bool>()), 1..200)) {
            let mut standing = Standing::default();
            let mut last: Option<u64> = None;
            for (minute, (score, whole)) in (0..).zip(scores) {
                let now = minute * 60_000;
                if standing.step(score, whole, TERMS, UnixMillis(now)) == Turn::Raise {
                    prop_assert!(last.is_none_or(|last| now - last >= 3_600_000));
                    last = Some(now);
                }
            }
        }
    }
}
