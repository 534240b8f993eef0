//! Which of several targets that are as good as each other serves a prompt with a known beginning: the one whose cache has it, else the one
//! that is to keep it.
//!
//! What a warm cache saves is in a lane's expected price, and so in what it is worth; what it costs to stay, a longer wait, is in its
//! expected time. So a warm lane stays first exactly as long as the saving is worth the wait to this goal, and a prompt whose lane has
//! become slow moves to another one and warms that.

use super::{Facts, Question, Target};
use crate::limits;
use crate::routing::policy::Policy;
use std::cmp::Reverse;

/// Puts the target in front that keeps the prompt's beginning; whether that changed the order.
pub fn apply(question: &Question<'_>, facts: &[Facts<'_>], targets: &mut [Target]) -> bool {
    let explicit = matches!(question.policy, Policy::Ordered | Policy::Weighted);
    if explicit || question.need.prefix.is_none() || targets.len() < 2 {
        return false;
    }
    let warm = |target: &Target| facts[target.lead.place].warm;
    // Where nothing is known of anybody, the owner's list is the best that there is.
    if targets.iter().all(|target| target.lead.estimate.weight == 0.0 && !warm(target)) {
        return false;
    }
    let worth = |target: &Target| loaded(facts, target, targets);
    // The owner's ranking of models stands above what a cache saves, and so does an answer.
    let first = targets[0].lead;
    let is_peer = |target: &Target| {
        let as_good = question.policy != Policy::Quality || target.lead.value == first.value;
        as_good && target.lead.estimate.error_rate <= first.estimate.error_rate + limits::AFFINITY_ERRORS
    };
    let best = targets.iter().filter(|target| is_peer(target)).map(worth).fold(f64::MIN, f64::max);
    let is_close = |target: &Target| is_peer(target) && worth(target) >= best - limits::AFFINITY_CLOSE;
    // A draw that explores is left alone, unless it would leave a warm cache.
    let unloaded =
        targets.iter().filter(|target| is_peer(target)).map(|target| target.lead.expected).fold(f64::MIN, f64::max);
    let explores = first.expected < unloaded - limits::AFFINITY_CLOSE;
    if explores && !targets.iter().any(|target| warm(target) && is_close(target)) {
        return false;
    }
    let keeper = targets
        .iter()
        .enumerate()
        .filter(|(_, target)| is_close(target))
        .min_by_key(|(at, target)| (Reverse(warm(target)), Reverse(facts[target.lead.place].affinity_weight), *at));
    let Some((at, _)) = keeper.filter(|(at, _)| *at > 0) else { return false };
    targets[..=at].rotate_right(1);
    true
}

/// What a target is worth when the requests that it has more than the idlest one make it slower.
fn loaded(facts: &[Facts<'_>], target: &Target, targets: &[Target]) -> f64 {
    let idlest = targets.iter().map(|target| facts[target.lead.place].in_flight).min().unwrap_or(0);
    let ahead = f64::from(facts[target.lead.place].in_flight.saturating_sub(idlest));
    target.lead.expected / (1.0 + ahead / limits::AFFINITY_LOAD)
}
