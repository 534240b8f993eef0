//! What a lane is worth: its expected time, price, success and quality as shares of the best, weighed by the goal.
//!
//! Price is known beforehand and is not learnt. How sure an answer is, is the share of attempts that were answered, and strays as a draw from
//! the tenant's posterior strays from the lane's own mean: so it does not matter whether that posterior is of answers or of whole rewards,
//! a tenant that fares worse than others moves it, and little evidence strays far. The mean time strays as far as its sample leaves doubt.
//! That is all the exploring there is. A lane that fails is worth nothing for being cheap or fast: within the [`GATE`] its time and price
//! count less, below it not at all.

use super::constraint::QUALITY_UNRANKED;
use super::estimate::{Best, Estimate};
use super::{Facts, Lane, Question, estimate, sample};
use crate::routing::policy::Policy;
use crate::routing::terms::Goal;
use fastrand::Rng;
use std::ops::Range;

/// How much each side of an answer weighs; they add up to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// How soon it begins.
    pub latency: f64,
    /// How little it costs.
    pub cost: f64,
    /// That it comes at all.
    pub success: f64,
    /// The owner's rank of its model.
    pub quality: f64,
}

/// Chances of success between which time and price begin to count.
const GATE: Range<f64> = 0.6..0.95;

/// A draw may make a lane so many times as fast as the fastest known, and no more.
const FASTER_MAX: f64 = 2.0;

/// What a price that nobody knows counts for: the middle.
const COST_UNKNOWN: f64 = 0.5;

/// Fills in what the policy orders by.
pub fn fill(question: &Question<'_>, facts: &[Facts<'_>], best: &Best, lanes: &mut [Lane], dice: &mut Rng) {
    // Nothing is learnt from the order of one; and where nobody was ever asked, a draw would be noise.
    let draws = lanes.len() > 1 && !best.cold;
    for lane in lanes {
        let view = View { question, facts: &facts[lane.place], estimate: &lane.estimate, best };
        // A half-open lane is taken for well, so that one request finds out; not one that has no time for it.
        let hopeful = lane.probe && question.deadline.is_none();
        let feared = if hopeful { 0.0 } else { lane.estimate.error_rate };
        let mean = view.mean_utility();
        let mut drawn = || match (hopeful, draws) {
            (true, _) => view.utility(1.0, ratio(best.mean_us, view.estimate.mean_us)),
            (false, true) if lane.estimate.is_worth_a_try() || !lane.estimate.is_stale() => view.drawn_utility(dice),
            (false, _) => mean,
        };
        (lane.value, lane.tie, lane.expected) = match question.policy {
            Policy::Thompson => (drawn(), 0.0, mean),
            Policy::Quality => (view.quality(), drawn(), mean),
            Policy::Latency | Policy::Hedged => (view.speed(feared), 0.0, view.speed(lane.estimate.error_rate)),
            Policy::Cost => (view.cheapness(feared), drawn(), view.cheapness(lane.estimate.error_rate)),
            Policy::Ordered | Policy::Weighted => (0.0, 0.0, 0.0),
        };
    }
}

/// One lane as it is judged.
struct View<'a> {
    question: &'a Question<'a>,
    facts: &'a Facts<'a>,
    estimate: &'a Estimate,
    best: &'a Best,
}

// === impl View ===

impl View<'_> {
    fn mean_utility(&self) -> f64 {
        // Where nobody was ever asked, nobody has failed.
        let success = if self.best.cold { 1.0 } else { self.success(sample::mean(self.facts.posterior)) };
        self.utility(success, ratio(self.best.mean_us, self.estimate.mean_us))
    }

    fn drawn_utility(&self, dice: &mut Rng) -> f64 {
        let success = self.success(sample::beta(self.facts.posterior, dice));
        let durations = self.facts.score.and_then(|score| estimate::durations(self.question, score));
        let spread = durations.map_or(0.0, |known| estimate::spread(&known));
        let doubt = spread / (self.estimate.weight + 1.0).sqrt();
        let mean_us = self.estimate.mean_us.map(|mean| mean * (doubt * sample::normal(dice)).exp());
        self.utility(success, ratio(self.best.mean_us, mean_us))
    }

    /// The chance of an answer, moved as far as a value of the tenant's posterior is from the lane's own mean.
    fn success(&self, value: f64) -> f64 {
        match self.facts.score {
            Some(score) => (1.0 - self.estimate.error_rate + value - sample::mean(score.posterior)).clamp(0.0, 1.0),
            None => value,
        }
    }

    fn utility(&self, success: f64, speed: f64) -> f64 {
        let weights = Weights::of(self.question.goal);
        let cheapness = match self.estimate.cost_pico {
            Some(_) => ratio(self.best.cost_pico, self.estimate.cost_pico),
            None => COST_UNKNOWN,
        };
        let worth = weights.latency * speed + weights.cost * cheapness + weights.quality * self.quality();
        gate(success) * worth + weights.success * success
    }

    fn quality(&self) -> f64 {
        self.facts.quality.unwrap_or(QUALITY_UNRANKED)
    }

    /// The share of the fastest at the percentile asked for, or of answers within the deadline; 0 where nothing is known.
    fn speed(&self, error_rate: f64) -> f64 {
        let durations = self.facts.score.and_then(|score| estimate::durations(self.question, score));
        let Some(durations) = durations else { return 0.0 };
        let share = ratio(self.best.at_percentile_us, self.estimate.at_percentile_us);
        // Failures count twice: the time they take is lost, and so is one of the few attempts.
        let sure = (1.0 - error_rate).clamp(0.0, 1.0).powi(2);
        let Some(deadline) = self.question.deadline else { return sure * share };
        let deadline_us = u32::try_from(deadline.as_micros()).unwrap_or(u32::MAX);
        // The speed itself decides between those that surely meet it.
        sure * (0.9 * durations.share_within(deadline_us) + 0.1 * share)
    }

    /// The share of the cheapest; 0 where no price is known, and less for a lane that fails more often than not: it is not cheap.
    fn cheapness(&self, error_rate: f64) -> f64 {
        match self.estimate.cost_pico {
            _ if error_rate >= 0.5 => -1.0,
            Some(_) => ratio(self.best.cost_pico, self.estimate.cost_pico),
            None => 0.0,
        }
    }
}

/// Rises from 0 to 1 over [`GATE`], smoothly.
fn gate(success: f64) -> f64 {
    let part = ((success - GATE.start) / (GATE.end - GATE.start)).clamp(0.0, 1.0);
    part * part * (3.0 - 2.0 * part)
}

/// How near a figure comes to the least one: 1 for it, 0.5 for twice as much. A figure that is not known counts as the best. More than 1 is
/// a draw, or a lane that sets no measure.
fn ratio(best: Option<f64>, own: Option<f64>) -> f64 {
    match (best, own) {
        (Some(best), Some(own)) if own > 0.0 => (best / own).min(FASTER_MAX),
        _ => 1.0,
    }
}

// === impl Weights ===

impl Weights {
    /// Those of a goal.
    pub const fn of(goal: Goal) -> Self {
        match goal {
            Goal::Balanced => Self { latency: 0.4, cost: 0.3, success: 0.3, quality: 0.0 },
            Goal::Latency => Self { latency: 0.7, cost: 0.15, success: 0.15, quality: 0.0 },
            Goal::Cost => Self { latency: 0.15, cost: 0.7, success: 0.15, quality: 0.0 },
            Goal::Quality => Self { latency: 0.1, cost: 0.1, success: 0.2, quality: 0.6 },
        }
    }
}
