//! How each policy orders targets.
//!
//! `thompson` by the drawn utility; `latency` and `hedged` by speed, with a small share of requests for lanes that nobody has measured;
//! `cost` by price, an unknown one last, then by utility; `quality` by the owner's table, then by utility; `weighted` one by lot, the others
//! as listed; `ordered` as listed. Whatever ties stands as listed.

use super::{Facts, Question, Target};
use crate::limits;
use crate::routing::policy::Policy;
use fastrand::Rng;

/// Orders targets, which come as listed; whether the first is not the one that looks best.
pub fn order(question: &Question<'_>, facts: &[Facts<'_>], targets: &mut [Target], dice: &mut Rng) -> bool {
    let best_first = |targets: &mut [Target]| targets.sort_by(|a, b| a.lead.better(&b.lead));
    match question.policy {
        Policy::Ordered => return false,
        Policy::Weighted => {
            draw_by_weight(facts, targets, dice);
            return false;
        }
        Policy::Thompson | Policy::Cost | Policy::Quality => best_first(targets),
        Policy::Latency | Policy::Hedged => {
            best_first(targets);
            if question.deadline.is_none() {
                try_unmeasured(targets, dice);
            }
        }
    }
    // Under `quality` utility decides between equals only: a lesser model that is worth more is no better choice.
    let first = targets.first().map(|target| target.lead);
    let peers = targets.iter().map(|target| target.lead);
    let peers =
        peers.filter(|lead| question.policy != Policy::Quality || first.is_some_and(|first| first.value == lead.value));
    let best = peers.map(|lead| lead.expected).fold(f64::MIN, f64::max);
    first.is_some_and(|first| first.expected < best)
}

/// Puts a target in front that was never measured, or too long ago, for a small share of requests. At the start nobody has been
/// measured: then the listed order holds.
fn try_unmeasured(targets: &mut [Target], dice: &mut Rng) {
    let is_stale = |target: &Target| target.lead.estimate.is_worth_a_try();
    let stale = targets.iter().filter(|target| is_stale(target)).count();
    if stale == 0 || targets.iter().all(|target| target.lead.estimate.is_stale()) {
        return;
    }
    let is_new = targets.iter().any(|target| target.lead.estimate.weight == 0.0);
    let share = if is_new { limits::EXPLORED_SHARE_NEW } else { limits::EXPLORED_SHARE };
    if dice.f64() >= share {
        return;
    }
    let chosen = dice.usize(..stale);
    if let Some((at, _)) = targets.iter().enumerate().filter(|(_, target)| is_stale(target)).nth(chosen) {
        targets[..=at].rotate_right(1);
    }
}

/// Puts one target in front, drawn by weight; the others keep their order as fallbacks.
fn draw_by_weight(facts: &[Facts<'_>], targets: &mut [Target], dice: &mut Rng) {
    let weight = |target: &Target| u64::from(facts[target.lead.place].weight);
    let total: u64 = targets.iter().map(weight).sum();
    if total == 0 {
        return;
    }
    let mut left = dice.u64(..total);
    let drawn = targets.iter().position(|target| {
        let here = left < weight(target);
        left = left.saturating_sub(weight(target));
        here
    });
    if let Some(at) = drawn {
        targets[..=at].rotate_right(1);
    }
}
