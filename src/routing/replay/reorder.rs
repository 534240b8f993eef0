//! The order in which another policy would have tried a decision's candidates: the gateway's own ordering, fed with recorded figures.
//!
//! Price, expected time and share of failures are those that were recorded with each candidate; how sure they are follows from how many
//! attempts were seen around that time. Who was halted then, or short of quota, stays behind the others; who lacked an ability stays out.

use super::{Evidence, Terms};
use crate::routing::affinity;
use crate::routing::decision::{Considered, Decision};
use crate::routing::glob::NamePattern;
use crate::routing::lane::LaneKey;
use crate::routing::need::Rejection;
use crate::routing::order::{self, Facts, Question, Turn};
use crate::routing::policy::Policy;
use crate::routing::score::{Beta, Quantiles, Score};
use crate::routing::standing::{Headroom, Standing, Why};
use std::time::Duration;

/// Attempts that a posterior is made of at most: older ones would have been forgotten.
const SAMPLES_MAX: f64 = 100.0;

/// Places in `decision.candidates`, best first. Those that lacked an ability are left out.
pub fn reorder(decision: &Decision, terms: &Terms, evidence: &Evidence, rng: &mut fastrand::Rng) -> Vec<usize> {
    let mut places: Vec<usize> = (0..decision.candidates.len()).collect();
    if terms.policy == Policy::Ordered {
        places.sort_by_key(|place| {
            let lane = &decision.candidates[*place].lane;
            terms.order.iter().position(|pattern| fits(pattern, lane)).unwrap_or(usize::MAX)
        });
    }
    let scores: Vec<Option<Score>> =
        places.iter().map(|place| score(decision, &decision.candidates[*place], evidence)).collect();
    let mut targets: Vec<(&str, &str)> = Vec::new();
    let facts: Vec<Facts<'_>> = places
        .iter()
        .zip(&scores)
        .map(|(place, score)| {
            let candidate = &decision.candidates[*place];
            let name = (candidate.lane.provider.as_str(), &*candidate.lane.model);
            let target = targets.iter().position(|known| *known == name).unwrap_or_else(|| {
                targets.push(name);
                targets.len() - 1
            });
            facts(decision, candidate, target, score.as_ref(), terms)
        })
        .collect();
    let question = Question {
        policy: terms.policy,
        goal: terms.goal,
        percentile: terms.percentile,
        need: &decision.need,
        streaming: false,
        deadline: None,
        now: terms.origin,
    };
    match order::order(&question, &facts, rng) {
        Ok(ranking) => ranking.lanes.iter().map(|lane| places[lane.place]).collect(),
        Err(_) => Vec::new(),
    }
}

/// What was known of a candidate; nothing where neither the record nor anybody's attempt says anything.
fn score(decision: &Decision, candidate: &Considered, evidence: &Evidence) -> Option<Score> {
    let seen = |share| evidence.first_byte_us(&candidate.lane, decision.at, share);
    let expected = candidate.latency_us;
    let quantile = |share| seen(share).or(expected);
    let samples = (evidence.around(&candidate.lane, decision.at).len() as f64).min(SAMPLES_MAX);
    if expected.is_none() && samples == 0.0 {
        return None;
    }
    let times = quantile(0.5).map(|_| Quantiles { at: Quantiles::POINTS.map(|share| quantile(share).unwrap_or(0)) });
    let error_rate = candidate.error_rate.unwrap_or(0.0);
    let posterior = Beta { alpha: 1.0 + samples * (1.0 - error_rate), beta: 1.0 + samples * error_rate };
    Some(Score { samples, error_rate, first_byte_us: times, posterior, ..Score::default() })
}

fn facts<'a>(
    decision: &Decision,
    candidate: &Considered,
    target: usize,
    score: Option<&'a Score>,
    terms: &Terms,
) -> Facts<'a> {
    let lane = &candidate.lane;
    let weight = terms.weights.iter().find(|(pattern, _)| fits(pattern, lane)).map_or(1, |(_, weight)| *weight);
    let rank = terms.quality.iter().find(|(pattern, _)| pattern.matches(&lane.model)).map(|(_, rank)| *rank);
    let halted = |why| Standing::Halted { why, until: terms.origin + Duration::from_secs(1) };
    let (lacks, standing) = match candidate.rejection {
        None => (None, Standing::Free),
        Some(Rejection::BreakerOpen) => (None, halted(Why::Breaker)),
        Some(Rejection::KeyRefused) => (None, halted(Why::KeyRefused)),
        Some(Rejection::QuotaShort) => (None, halted(Why::Quota)),
        Some(rejection) => (Some(rejection), Standing::Free),
    };
    Facts {
        target,
        turn: Turn::Usual,
        behind: None,
        weight,
        quality: rank,
        lacks,
        context_window: None,
        score,
        posterior: score.map(|score| score.posterior).unwrap_or_default(),
        cost: candidate.cost,
        standing,
        headroom: Headroom::default(),
        in_flight: 0,
        warm: candidate.warm,
        affinity_weight: decision.need.prefix.map_or(0, |prefix| affinity::weight(prefix, lane)),
    }
}

fn fits(pattern: &NamePattern, lane: &LaneKey) -> bool {
    pattern.matches(&format!("{}/{}", lane.provider, lane.model))
}
