//! What is to be expected of a lane: how long, how sure, how dear; and what of it nobody knows yet.
//!
//! Unknown is optimistic: a lane that was never asked, or not for long, is hoped to be faster than the fastest one known, so that it is
//! asked; the more attempts stand behind its own figures, the less that weighs. One request at a time finds out: while it is under way
//! nobody else hopes, since scores come later than requests.

use super::{Facts, Lane, Question};
use crate::routing::score::{Quantiles, Score};

/// What is expected of one lane.
#[derive(Clone, Copy, Debug, Default)]
pub struct Estimate {
    /// To the first byte, or token of a stream: the mean, microseconds; `None` where nothing is known.
    pub mean_us: Option<f64>,
    /// The same at the percentile asked for.
    pub at_percentile_us: Option<f64>,
    /// The same as a whole number, for people.
    pub stated_us: Option<u32>,
    /// Attempts behind the figures, decayed; those of siblings count as one.
    pub weight: f64,
    /// Whether somebody is finding out already.
    pub asked: bool,
    /// Share of attempts that fail, with a half of one added so that a single one proves nothing.
    pub error_rate: f64,
    /// What it is expected to cost, picodollars.
    pub cost_pico: Option<f64>,
}

/// The best of all lanes, which the others are measured by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Best {
    /// The least mean duration, microseconds.
    pub mean_us: Option<f64>,
    /// The least duration at the percentile asked for.
    pub at_percentile_us: Option<f64>,
    /// The least cost, picodollars.
    pub cost_pico: Option<f64>,
    /// Whether no lane was ever asked, nor a sibling of it.
    pub cold: bool,
}

/// Below this weight a lane's figures are too old to believe.
pub const STALE_BELOW: f64 = 0.5;

/// A lane that fails more often sets no measure for others.
const SOUND_BELOW: f64 = 0.3;

/// How much the hope for an unknown lane weighs, in attempts.
const HOPE_WEIGHT: f64 = 1.0;
/// What an unknown lane is hoped to take, as a share of what the fastest known one takes.
const HOPED_SHARE: f64 = 0.5;

/// Fills in what is expected of each lane.
pub fn fill(question: &Question<'_>, facts: &[Facts<'_>], lanes: &mut [Lane]) -> Best {
    for lane in &mut *lanes {
        lane.estimate = Estimate::of(question, &facts[lane.place]);
    }
    let mut best = Best { cold: lanes.iter().all(|lane| lane.estimate.weight == 0.0), ..Best::default() };
    // Everybody who could do it sets the measure, also while he is halted: what two lanes are worth to each other does not change with a
    // third that comes and goes. But not those that often fail.
    if lanes.len() == facts.len() {
        lanes.iter().filter(|lane| facts[lane.place].lacks.is_none()).for_each(|lane| best.take(&lane.estimate));
    } else {
        let able = facts.iter().filter(|facts| facts.lacks.is_none());
        able.for_each(|facts| best.take(&Estimate::of(question, facts)));
    }
    for lane in &mut *lanes {
        lane.estimate.hope(&best);
    }
    best
}

fn least(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    one.into_iter().chain(other).reduce(f64::min)
}

/// The figures that count: the first token's for a stream, if there are any.
pub fn durations(question: &Question<'_>, score: &Score) -> Option<Quantiles> {
    let first_token = score.first_token_us.filter(|_| question.streaming);
    first_token.or(score.first_byte_us)
}

/// The mean of a distribution that is known at some points, each standing for the stretch around it.
fn mean(quantiles: &Quantiles) -> f64 {
    const STRETCHES: [f64; Quantiles::POINTS.len()] = [0.175, 0.2, 0.25, 0.2, 0.1, 0.045, 0.03];
    quantiles.at.iter().zip(STRETCHES).map(|(value, stretch)| f64::from(*value) * stretch).sum::<f64>().max(1.0)
}

/// How far the logarithm of one duration strays: its standard deviation, from the outer tenths: they are 2.563 of it apart in a normal distribution.
pub fn spread(quantiles: &Quantiles) -> f64 {
    let (low, high) = (f64::from(quantiles.at[0].max(1)), f64::from(quantiles.at[4].max(1)));
    ((high / low).ln() / 2.563).clamp(0.05, 1.5)
}

// === impl Best ===

impl Best {
    fn take(&mut self, estimate: &Estimate) {
        self.cost_pico = least(self.cost_pico, estimate.cost_pico);
        if estimate.error_rate < SOUND_BELOW {
            self.mean_us = least(self.mean_us, estimate.mean_us);
            self.at_percentile_us = least(self.at_percentile_us, estimate.at_percentile_us);
        }
    }
}

// === impl Estimate ===

impl Estimate {
    fn of(question: &Question<'_>, facts: &Facts<'_>) -> Self {
        let cost_pico = facts.cost.map(|cost| (cost.pico() as f64).max(1.0));
        let asked = facts.in_flight > 0;
        let Some(score) = facts.score else { return Self { cost_pico, asked, ..Self::default() } };
        let weight = if score.is_prior { score.samples.clamp(1.0, f64::MAX) } else { score.samples };
        let durations = durations(question, score);
        let at_percentile = durations.map(|known| known.value(question.percentile.unwrap_or(0.5)).max(1));
        Self {
            mean_us: durations.map(|known| mean(&known)),
            at_percentile_us: at_percentile.map(f64::from),
            stated_us: at_percentile,
            weight,
            asked,
            error_rate: score.error_rate * weight / (weight + 0.5),
            cost_pico,
        }
    }

    /// Whether the lane was never asked, or too long ago.
    pub fn is_stale(&self) -> bool {
        self.weight < STALE_BELOW
    }

    /// Whether nobody knows it, and somebody should find out.
    pub fn is_worth_a_try(&self) -> bool {
        self.is_stale() && !self.asked
    }

    /// Mixes in the hope that it is faster than the fastest.
    fn hope(&mut self, best: &Best) {
        let Some(hoped) = best.mean_us.map(|best| best * HOPED_SHARE).filter(|_| !self.asked) else { return };
        let known = self.mean_us.unwrap_or(hoped);
        let weight = self.weight + HOPE_WEIGHT;
        self.mean_us = Some((known * self.weight + hoped.min(known) * HOPE_WEIGHT) / weight);
    }
}
