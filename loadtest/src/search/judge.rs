//! Whether what a step counted confirms an objective, refutes it, or leaves it open. Pure.
//!
//! Requests near one another fare alike (a queue that has grown hurts all behind it), so that a thousand of them are not a thousand
//! independent ones. The spread between the blocks of a step says how many they are worth (Kish's design effect), and the interval is
//! taken for so many.

use crate::stats::{Estimate, clopper_pearson};
use serde::Serialize;

/// What a step says of an objective, or of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Met, with the asked confidence.
    Confirmed,
    /// Missed, with the asked confidence.
    Refuted,
    /// The data cannot tell.
    Unclear,
}

impl Verdict {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Refuted => "refuted",
            Self::Unclear => "unclear",
        }
    }

    /// Of several objectives at once: missed where one is, met where all are.
    pub fn of_all(verdicts: impl IntoIterator<Item = Self>) -> Self {
        verdicts.into_iter().fold(Self::Confirmed, |sum, verdict| match (sum, verdict) {
            (Self::Refuted, _) | (_, Self::Refuted) => Self::Refuted,
            (Self::Unclear, _) | (_, Self::Unclear) => Self::Unclear,
            (Self::Confirmed, Self::Confirmed) => Self::Confirmed,
        })
    }
}

/// Requests planned in one stretch of a step, and how many of them missed the objective.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Requests.
    pub all: u64,
    /// Of those, that missed it.
    pub missed: u64,
}

/// The share that missed, with its interval for the number of independent requests that the blocks are worth; `None` of nothing.
pub fn share(blocks: &[Block], confidence: f64) -> Option<Estimate> {
    let (all, missed) = blocks.iter().fold((0, 0), |(all, missed), block| (all + block.all, missed + block.missed));
    if all == 0 {
        return None;
    }
    let effect = design_effect(blocks);
    let worth = |count: u64| (count as f64 / effect).round() as u64;
    let interval = clopper_pearson(worth(missed), worth(all).max(1), confidence)?;
    Some(Estimate { value: missed as f64 / all as f64, ..interval })
}

/// By how much the shares of blocks spread beyond what chance alone would make them, as a ratio of variances; at least 1.
fn design_effect(blocks: &[Block]) -> f64 {
    let filled: Vec<_> = blocks.iter().filter(|block| block.all > 0).collect();
    let all: u64 = filled.iter().map(|block| block.all).sum();
    let missed: u64 = filled.iter().map(|block| block.missed).sum();
    let share = missed as f64 / all.max(1) as f64;
    let chance = share * (1.0 - share);
    if filled.len() < 2 || chance <= 0.0 {
        return 1.0;
    }
    let spread: f64 =
        filled.iter().map(|block| (block.missed as f64 - share * block.all as f64).powi(2) / block.all as f64).sum();
    let effect = spread / (chance * (filled.len() - 1) as f64);
    // A block cannot be worth less than one request.
    effect.clamp(1.0, all as f64 / filled.len() as f64)
}

/// What the share says of the share that is allowed.
pub fn verdict(share: Option<Estimate>, allowed: f64) -> Verdict {
    match share {
        Some(share) if share.high <= allowed => Verdict::Confirmed,
        Some(share) if share.low > allowed => Verdict::Refuted,
        _ => Verdict::Unclear,
    }
}

/// Requests without a single miss that confirm a share: fewer can never do it.
pub fn requests_for(allowed: f64, confidence: f64) -> u64 {
    // Clopper and Pearson's upper end of 0 of n is 1 - (alpha / 2)^(1/n).
    (((1.0 - confidence) / 2.0).ln() / (1.0 - allowed).ln()).ceil() as u64
}

/// Misses among `all` planned requests that refute whatever the rest does, neighbours counted as a quarter of a request each; `None`
/// where no number does.
pub fn hopeless_from(all: u64, allowed: f64, confidence: f64) -> Option<u64> {
    let worth = (all / 4).max(1);
    let refutes = |missed: &u64| clopper_pearson(*missed, worth, confidence).is_some_and(|share| share.low > allowed);
    (1..=worth).find(refutes).map(|missed| missed * 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(all: u64, missed: &[u64]) -> Vec<Block> {
        missed.iter().map(|&missed| Block { all, missed }).collect()
    }

    fn judged(blocks: &[Block]) -> Verdict {
        verdict(share(blocks, 0.95), 0.01)
    }

    #[test]
    fn far_from_the_bound_it_is_sure_and_near_it_is_not() {
        assert_eq!(judged(&blocks(100, &[0; 10])), Verdict::Confirmed);
        assert_eq!(judged(&blocks(100, &[5; 10])), Verdict::Refuted);
        assert_eq!(judged(&blocks(100, &[1; 10])), Verdict::Unclear);
        assert_eq!(judged(&blocks(10, &[0; 10])), Verdict::Unclear, "a hundred cannot confirm one in a hundred");
        assert_eq!(judged(&[]), Verdict::Unclear);
    }

    #[test]
    fn neighbours_that_fare_alike_count_for_less() {
        // Thirty misses of a thousand: refuted when they are spread, but one bad block may be an accident.
        assert_eq!(judged(&blocks(100, &[3; 10])), Verdict::Refuted);
        let accident = [0, 0, 0, 30, 0, 0, 0, 0, 0, 0];
        assert_eq!(judged(&blocks(100, &accident)), Verdict::Unclear);
        let (spread, alike) = (share(&blocks(100, &[3; 10]), 0.95), share(&blocks(100, &accident), 0.95));
        assert!(alike.expect("values").half_width() > 2.0 * spread.expect("values").half_width());
    }

    #[test]
    fn the_least_number_is_enough_and_one_less_is_not() {
        for (allowed, confidence) in [(0.01, 0.95), (0.001, 0.95), (0.05, 0.975)] {
            let least = requests_for(allowed, confidence);
            let confirms = |all| verdict(share(&[Block { all, missed: 0 }], confidence), allowed) == Verdict::Confirmed;
            assert!(confirms(least) && !confirms(least - 1), "{least} for {allowed}");
        }
    }

    #[test]
    fn hopeless_steps_end_early_and_only_those() {
        let from = hopeless_from(1000, 0.01, 0.95).expect("a number");
        assert!((20..200).contains(&from), "{from}");
        assert_eq!(judged(&blocks(100, &[from.div_ceil(10); 10])), Verdict::Refuted);
        assert_eq!(hopeless_from(4, 0.5, 0.95), None, "one in one says nothing");
    }

    #[test]
    fn one_missed_objective_is_enough() {
        use Verdict::{Confirmed, Refuted, Unclear};
        assert_eq!(Verdict::of_all([Confirmed, Confirmed]), Confirmed);
        assert_eq!(Verdict::of_all([Confirmed, Unclear]), Unclear);
        assert_eq!(Verdict::of_all([Refuted, Unclear]), Refuted);
    }
}
