//! Which rate to try next, and when to stop: up in doubling steps, then halving the gap, then both ends once more. Pure.
//!
//! ```text
//! Climb --refuted--> Halve --gap small enough--> Recheck low --confirmed--> Recheck high --refuted--> Done
//!   \--max confirmed--------------------------------^   \--otherwise: that rate is unclear, back to Halve--/
//! ```

use super::judge::Verdict;

/// The bounds of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// The first rate tried, requests a second.
    pub min: f64,
    /// The highest rate tried.
    pub max: f64,
    /// How much the lowest refuted rate may be above the highest confirmed one, as a share.
    pub resolution: f64,
    /// Steps at most.
    pub steps: usize,
}

/// By how much the climb goes up.
const FACTOR: f64 = 2.0;

/// What is known so far.
#[derive(Clone, Debug)]
pub struct Ladder {
    bounds: Bounds,
    /// Every rate that was tried with its present verdict, and whether that was seen twice.
    known: Vec<Known>,
    taken: usize,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    rate: f64,
    verdict: Verdict,
    rechecked: bool,
}

impl Ladder {
    /// Nothing is known yet.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, known: Vec::new(), taken: 0 }
    }

    /// The highest confirmed rate below every refuted one.
    pub fn confirmed(&self) -> Option<f64> {
        let ceiling = self.refuted().unwrap_or(f64::INFINITY);
        self.rates(Verdict::Confirmed).filter(|rate| *rate < ceiling).reduce(f64::max)
    }

    /// The lowest refuted rate.
    pub fn refuted(&self) -> Option<f64> {
        self.rates(Verdict::Refuted).reduce(f64::min)
    }

    /// The rates between both that the data could not tell.
    pub fn unclear(&self) -> Vec<f64> {
        let (low, high) = (self.confirmed().unwrap_or(0.0), self.refuted().unwrap_or(f64::INFINITY));
        let mut rates: Vec<_> = self.rates(Verdict::Unclear).filter(|rate| (low..high).contains(rate)).collect();
        rates.sort_by(f64::total_cmp);
        rates
    }

    /// Whether both ends have been tried twice, as far as there are two.
    pub fn is_rechecked(&self) -> bool {
        let of = |rate: Option<f64>| {
            rate.is_none_or(|rate| self.known.iter().any(|known| known.rate == rate && known.rechecked))
        };
        of(self.confirmed()) && of(self.refuted())
    }

    fn rates(&self, verdict: Verdict) -> impl Iterator<Item = f64> {
        self.known.iter().filter(move |known| known.verdict == verdict).map(|known| known.rate)
    }

    /// The next rate to try; `None` when enough is known, or the steps are used up.
    pub fn next_rate(&self) -> Option<f64> {
        if self.taken >= self.bounds.steps {
            return None;
        }
        let (confirmed, refuted) = (self.confirmed(), self.refuted());
        let between = match (confirmed, refuted) {
            (None, None) => return self.known.is_empty().then_some(self.bounds.min),
            (Some(low), None) if self.unclear().is_empty() && low < self.bounds.max => {
                return Some((low * FACTOR).min(self.bounds.max));
            }
            // Even the lowest rate is too high, or nobody knows.
            (None, Some(high)) if high <= self.bounds.min => None,
            (low, high) => self.widest_gap(low.unwrap_or(self.bounds.min), high.unwrap_or(self.bounds.max)),
        };
        between.or_else(|| [confirmed, refuted].into_iter().flatten().find(|rate| !self.is_twice(*rate)))
    }

    fn is_twice(&self, rate: f64) -> bool {
        self.known.iter().any(|known| known.rate == rate && known.rechecked)
    }

    /// The geometric middle of the wider gap between an end and what is unclear between them; `None` when both are small.
    fn widest_gap(&self, low: f64, high: f64) -> Option<f64> {
        let unclear = self.unclear();
        let gaps = match (unclear.first(), unclear.last()) {
            (Some(&first), Some(&last)) => [(low, first), (last, high)],
            _ => [(low, high), (high, high)],
        };
        let (from, to) = gaps.into_iter().max_by(|left, right| (left.1 / left.0).total_cmp(&(right.1 / right.0)))?;
        let middle = (from * to).sqrt();
        (to / from > 1.0 + self.bounds.resolution && !self.known.iter().any(|known| known.rate == middle))
            .then_some(middle)
    }

    /// Notes what a step said. A rate that says one thing now and another later is unclear.
    pub fn note(&mut self, rate: f64, verdict: Verdict) {
        self.taken += 1;
        match self.known.iter_mut().find(|known| known.rate == rate) {
            Some(known) => {
                known.rechecked = true;
                if known.verdict != verdict {
                    known.verdict = Verdict::Unclear;
                }
            }
            None => self.known.push(Known { rate, verdict, rechecked: false }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { min: 10.0, max: 10_000.0, resolution: 0.05, steps: 60 };

    /// Searches a made-up target to the end; returns the ladder and how many steps that took.
    fn climb(bounds: Bounds, mut target: impl FnMut(f64) -> Verdict) -> (Ladder, usize) {
        let mut ladder = Ladder::new(bounds);
        let mut steps = 0;
        while let Some(rate) = ladder.next_rate() {
            assert!((bounds.min..=bounds.max).contains(&rate), "{rate}");
            ladder.note(rate, target(rate));
            steps += 1;
        }
        (ladder, steps)
    }

    fn sharp(capacity: f64) -> impl Fn(f64) -> Verdict {
        move |rate| if rate <= capacity { Verdict::Confirmed } else { Verdict::Refuted }
    }

    #[test]
    fn a_sharp_edge_is_found_from_both_sides_and_seen_twice() {
        for capacity in [10.0, 11.0, 200.0, 731.0, 9_999.0] {
            let (ladder, steps) = climb(BOUNDS, sharp(capacity));
            let (low, high) = (ladder.confirmed().expect("below"), ladder.refuted().expect("above"));
            assert!(low <= capacity && capacity < high && high / low <= 1.05, "{low}..{high} for {capacity}");
            assert!(ladder.is_rechecked() && steps <= 22, "{steps}");
        }
    }

    #[test]
    fn ends_of_the_range_are_told() {
        let (ladder, steps) = climb(BOUNDS, sharp(5.0));
        assert_eq!((ladder.confirmed(), ladder.refuted(), steps), (None, Some(10.0), 2), "and looked at twice");
        let (ladder, _) = climb(BOUNDS, sharp(1e6));
        assert_eq!((ladder.confirmed(), ladder.refuted()), (Some(10_000.0), None));
        assert!(ladder.is_rechecked());
        let (ladder, steps) = climb(BOUNDS, |_| Verdict::Unclear);
        assert_eq!((ladder.confirmed(), ladder.refuted(), steps), (None, None, 1));
    }

    #[test]
    fn what_is_unclear_in_the_middle_is_closed_in_from_both_sides() {
        let (ladder, _) = climb(BOUNDS, |rate| match rate {
            _ if rate < 180.0 => Verdict::Confirmed,
            _ if rate > 220.0 => Verdict::Refuted,
            _ => Verdict::Unclear,
        });
        let (low, high) = (ladder.confirmed().expect("below"), ladder.refuted().expect("above"));
        assert!((165.0..180.0).contains(&low) && (220.0..240.0).contains(&high), "{low}..{high}");
    }

    #[test]
    fn a_rate_that_changes_its_mind_is_unclear() {
        let mut first = true;
        let (ladder, _) = climb(BOUNDS, |rate| {
            // The first time at 160 it is a lucky one.
            let lucky = rate == 160.0 && std::mem::take(&mut first);
            if rate < 150.0 || lucky { Verdict::Confirmed } else { Verdict::Refuted }
        });
        let (low, high) = (ladder.confirmed().expect("below"), ladder.refuted().expect("above"));
        assert!(low < 150.0 && high >= 150.0 && high / low <= 1.05, "{low}..{high} in spite of 160");
    }

    #[test]
    fn steps_are_bounded() {
        let (ladder, steps) = climb(Bounds { steps: 4, ..BOUNDS }, sharp(200.0));
        assert_eq!(steps, 4);
        assert!(!ladder.is_rechecked());
    }
}
