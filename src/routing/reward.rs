//! What an attempt is worth, 0 to 1: two fifths its latency, three tenths its cost, three tenths that it was answered.
//!
//! Latency and cost are measured against the alternatives for the same requested work: the best of them earns the whole part, one that
//! takes twice as long or costs twice as much half of it. A failed attempt is worth nothing, however quick or cheap; one that was sent
//! away by a rate limit is worth nothing and counts half, since quotas are steered by elsewhere. Each attempt adds its reward to the
//! successes of a posterior and the rest to its failures, so that an outlier is one attempt among many.

use super::lane::LaneKey;
use super::score::Beta;
use super::window::{Outlook, View};
use crate::domain::id::ProviderId;
use std::collections::HashMap;
use std::sync::Arc;

/// Parts of a reward under balanced weights: latency, cost, success.
pub const BALANCED: Weights = Weights { latency: 0.4, cost: 0.3, success: 0.3 };
/// The cost's part of a lane whose price nobody knows: neither cheap nor dear.
const COST_UNKNOWN: f64 = 0.5;
/// What an attempt counts that was sent away by a rate limit.
const LIMITED_WEIGHT: f64 = 0.5;
/// Attempts that a lane must have had for others to be measured against it.
const REFERENCE_SAMPLES: f64 = 5.0;
/// The most attempts that a posterior stands for, so that it never freezes: at this many it is still out by some hundredths.
const POSTERIOR_SAMPLES_MAX: f64 = 500.0;

/// Parts of a reward; they sum to one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// Of latency.
    pub latency: f64,
    /// Of cost.
    pub cost: f64,
    /// Of being answered.
    pub success: f64,
}

/// Which models stand in for one another: all lanes of one model name, and the targets of one entry of the owner.
#[derive(Clone, Debug, Default)]
pub struct Alternatives {
    entries: HashMap<(ProviderId, Arc<str>), Vec<usize>>,
}

/// The best that alternatives offer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Best {
    /// Median wait, microseconds.
    pub wait_us: Option<f64>,
    /// Picodollars for a unit of work.
    pub work_cost: Option<f64>,
}

/// The best of every group of alternatives.
pub struct Bests<'a> {
    alternatives: &'a Alternatives,
    by_entry: HashMap<usize, Best>,
    by_model: HashMap<Arc<str>, Best>,
}

/// Successes and failures, without a prior.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Earnings {
    /// Sum of rewards.
    pub won: f64,
    /// What was missing to a full reward.
    pub lost: f64,
}

// === impl Alternatives ===

impl Alternatives {
    /// From the owner's entries: the targets of each.
    pub fn new(entries: impl IntoIterator<Item = Vec<(ProviderId, Arc<str>)>>) -> Self {
        let mut alternatives = Self::default();
        for (entry, targets) in entries.into_iter().enumerate() {
            for target in targets {
                let listed = alternatives.entries.entry(target).or_default();
                if listed.last() != Some(&entry) {
                    listed.push(entry);
                }
            }
        }
        alternatives
    }

    /// The best of each group, from how all lanes look.
    pub fn bests<'v>(&self, views: impl Iterator<Item = (&'v LaneKey, &'v View)>) -> Bests<'_> {
        let mut bests = Bests { alternatives: self, by_entry: HashMap::new(), by_model: HashMap::new() };
        for (lane, view) in views.filter(|(_, view)| view.outlook.samples >= REFERENCE_SAMPLES) {
            let own = Best { wait_us: view.outlook.waits.value(0.5), work_cost: view.work_cost };
            bests.by_model.entry(lane.model.clone()).or_default().improve(&own);
            for entry in self.entries_of(lane) {
                bests.by_entry.entry(*entry).or_default().improve(&own);
            }
        }
        bests
    }

    fn entries_of(&self, lane: &LaneKey) -> &[usize] {
        // The key is two counted pointers: a lookup by clone allocates nothing.
        self.entries.get(&(lane.provider.clone(), lane.model.clone())).map_or(&[], Vec::as_slice)
    }
}

// === impl Best ===

impl Best {
    fn improve(&mut self, other: &Self) {
        self.wait_us = least(self.wait_us, other.wait_us);
        self.work_cost = least(self.work_cost, other.work_cost);
    }
}

impl Bests<'_> {
    /// The best that a lane has to measure up to; itself included once it has had enough attempts.
    pub fn of(&self, lane: &LaneKey) -> Best {
        let mut best = self.by_model.get(&lane.model).copied().unwrap_or_default();
        let entries = self.alternatives.entries_of(lane).iter();
        entries.filter_map(|entry| self.by_entry.get(entry)).for_each(|other| best.improve(other));
        best
    }
}

// === Rewards ===

/// What attempts with this outlook earn against the best alternative; `work_cost` is the lane's own. As many as are behind the outlook,
/// up to a bound.
pub fn earnings(outlook: &Outlook, work_cost: Option<f64>, best: &Best, weights: &Weights) -> Earnings {
    let latency = best.wait_us.and_then(|best| outlook.waits.mean(|wait| ratio(best, wait))).unwrap_or(1.0);
    let cost = match (best.work_cost, work_cost) {
        (Some(best), Some(own)) => ratio(best, own),
        _ => COST_UNKNOWN,
    };
    let reward = weights.latency * latency + weights.cost * cost + weights.success;
    let samples = outlook.samples.min(POSTERIOR_SAMPLES_MAX);
    let won = outlook.good * reward;
    Earnings {
        won: samples * won,
        lost: samples * (outlook.good - won + outlook.bad + outlook.limited * LIMITED_WEIGHT),
    }
}

impl Earnings {
    /// The same in the proportion of fewer attempts, where there are more than `samples_max`: what others did is only a hint.
    pub fn at_most(self, samples_max: f64) -> Self {
        let samples = self.won + self.lost;
        let factor = if samples > samples_max { samples_max / samples } else { 1.0 };
        Self { won: self.won * factor, lost: self.lost * factor }
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self { won: self.won + other.won, lost: self.lost + other.lost }
    }

    /// A posterior that began as uniform.
    pub fn posterior(self) -> Beta {
        let Beta { alpha, beta } = Beta::default();
        Beta { alpha: alpha + self.won, beta: beta + self.lost }
    }
}

/// What is left of the best, 0 to 1. Nothing is better than the best; of two that cost nothing each is.
fn ratio(best: f64, own: f64) -> f64 {
    if own <= best { 1.0 } else { best / own }
}

fn least(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::spread::{COARSE, Distribution, Spread, bucket};

    fn outlook(samples: f64, good: f64, limited: f64, waits_ms: &[u32]) -> Outlook {
        let mut spread = Spread::default();
        waits_ms.iter().for_each(|wait| spread.add(bucket(wait * 1_000, COARSE), 1.0));
        let mut waits = Distribution::empty(COARSE);
        waits.mix_spread(&spread, 1.0);
        Outlook { samples, good, limited, bad: 1.0 - good - limited, waits }
    }

    fn mean(earnings: Earnings) -> f64 {
        earnings.won / (earnings.won + earnings.lost)
    }

    const BEST: Best = Best { wait_us: Some(100_000.0), work_cost: Some(10.0) };

    #[test]
    fn the_best_earns_all_and_half_as_good_half_of_each_part() {
        let of = |outlook: &Outlook, cost| mean(earnings(outlook, cost, &BEST, &BALANCED));
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 0.02, "{found} for {expected}");
        near(of(&outlook(50.0, 1.0, 0.0, &[100]), Some(10.0)), 1.0);
        near(of(&outlook(50.0, 1.0, 0.0, &[200]), Some(10.0)), 0.8);
        near(of(&outlook(50.0, 1.0, 0.0, &[100]), Some(20.0)), 0.85);
        near(of(&outlook(50.0, 1.0, 0.0, &[100]), None), 0.85);
        near(of(&outlook(50.0, 0.5, 0.0, &[100]), Some(10.0)), 0.5);
        // Half of the attempts were sent away, and each of them counts half.
        near(of(&outlook(50.0, 0.5, 0.5, &[100]), Some(10.0)), 0.5 / 0.75);
        near(of(&outlook(50.0, 0.0, 0.0, &[]), Some(10.0)), 0.0);
        assert!((BALANCED.latency + BALANCED.cost + BALANCED.success - 1.0).abs() < 1e-9);
    }

    #[test]
    fn an_outlier_is_one_attempt_among_many() {
        let usual = [100; 99];
        let with_outlier: Vec<u32> = usual.iter().copied().chain([60_000]).collect();
        let before = earnings(&outlook(99.0, 1.0, 0.0, &usual), Some(10.0), &BEST, &BALANCED);
        let after = earnings(&outlook(100.0, 1.0, 0.0, &with_outlier), Some(10.0), &BEST, &BALANCED);
        assert!(mean(before) - mean(after) < 0.005, "{before:?} {after:?}");
    }

    #[test]
    fn a_posterior_never_freezes_and_starts_uniform() {
        assert_eq!(Earnings::default().posterior(), Beta::default());
        for samples in [POSTERIOR_SAMPLES_MAX - 1.0, POSTERIOR_SAMPLES_MAX, POSTERIOR_SAMPLES_MAX + 1.0, 1e9] {
            let Beta { alpha, beta } =
                earnings(&outlook(samples, 0.5, 0.0, &[100]), Some(10.0), &BEST, &BALANCED).posterior();
            assert!(alpha + beta <= POSTERIOR_SAMPLES_MAX + 2.0 + 1e-6 && beta > 1.0, "{alpha} {beta}");
        }
        let hint = Earnings { won: 300.0, lost: 100.0 }.at_most(8.0);
        assert_eq!(hint, Earnings { won: 6.0, lost: 2.0 });
        assert_eq!(hint.at_most(9.0), hint);
    }

    #[test]
    fn something_for_nothing_is_compared_without_dividing_by_it() {
        assert_eq!((ratio(0.0, 0.0), ratio(0.0, 5.0), ratio(5.0, 5.0), ratio(5.0, 10.0)), (1.0, 0.0, 1.0, 0.5));
    }

    fn lane(provider: &str, model: &str) -> LaneKey {
        LaneKey { provider: ProviderId::new(provider), model: Arc::from(model), credential: None }
    }

    fn view(samples: f64, wait_ms: u32, work_cost: f64) -> View {
        View {
            outlook: outlook(samples, 1.0, 0.0, &[wait_ms]),
            laps: std::array::from_fn(|_| Distribution::empty(super::super::spread::FINE)),
            cache_hit_rate: None,
            output_tokens: None,
            work_cost: Some(work_cost),
        }
    }

    #[test]
    fn alternatives_are_lanes_of_one_name_or_of_one_entry() {
        let target = |provider: &str, model: &str| (ProviderId::new(provider), Arc::<str>::from(model));
        let entry = vec![target("a", "small"), target("b", "tiny"), target("b", "tiny")];
        let alternatives = Alternatives::new([entry, vec![target("c", "big")]]);
        let all = [
            (lane("a", "small"), view(9.0, 400, 4.0)),
            (lane("b", "tiny"), view(9.0, 100, 8.0)),
            (lane("c", "small"), view(9.0, 800, 1.0)),
            (lane("c", "big"), view(9.0, 50, 1.0)),
            (lane("d", "tiny"), view(REFERENCE_SAMPLES - 0.1, 1, 0.1)),
        ];
        let bests = alternatives.bests(all.iter().map(|(lane, view)| (lane, view)));
        let of = |provider, model| {
            let best = bests.of(&lane(provider, model));
            (best.wait_us.map(|wait| (wait / 1e5).round()), best.work_cost)
        };
        assert_eq!(of("a", "small"), (Some(1.0), Some(1.0)), "by its entry and by its name");
        assert_eq!(of("c", "small"), (Some(4.0), Some(1.0)));
        assert_eq!(of("d", "tiny"), (Some(1.0), Some(8.0)), "too few attempts to be measured against");
        assert_eq!(of("e", "unheard"), (None, None));
    }
}
