//! Constraints: who cannot serve a request at all, and who is better asked last.
//!
//! What a model cannot do is final, and so is the owner's word. What passes by itself (a halt, a quota that resets) leaves nobody out: it
//! sends a lane to the end, the soonest first, and one with an open breaker behind all others. It is asked when everybody before it has
//! failed: it may have recovered, and then the client notices nothing (rule Q7 lets half of the candidates be left out; none is).

use super::{Facts, Lane, Lanes, Question, Refusal, estimate};
use crate::limits;
use crate::routing::need::Rejection;
use crate::routing::standing::{Standing, Why};
use std::time::Instant;

/// Why a lane stands behind the free ones, from the lightest reason to the heaviest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waiting {
    /// Its quota is short until then, by its own headers.
    Short(Instant),
    /// It was told to wait until then.
    Parked(Instant),
    /// Its key was refused, and lets others go first until then.
    Refused(Instant),
    /// Its breaker is open until then.
    Open(Instant),
}

/// The rank of a model that the owner's table does not have, where it has others.
pub const QUALITY_UNRANKED: f64 = 0.5;

/// Sifts lanes by what the request needs and by how they stand: into those that may be tried, as listed, and why each of the others may not.
///
/// # Errors
/// None is left.
pub fn sift(
    question: &Question<'_>,
    facts: &[Facts<'_>],
    lanes: &mut Lanes,
    rejected: &mut Vec<(usize, Rejection)>,
) -> Result<(), Refusal> {
    let quality = QualityBar::of(question, facts);
    for (place, lane) in facts.iter().enumerate() {
        match lane.lacks.or_else(|| quality.rejection(lane)) {
            Some(rejection) => rejected.push((place, rejection)),
            None => lanes.push(Lane::new(place, lane, question.now)),
        }
    }
    if lanes.is_empty() {
        keep_perhaps_long_enough(question, facts, lanes, rejected)?;
    }
    lanes.retain(|lane| {
        let closed = matches!(facts[lane.place].standing, Standing::Halted { why: Why::Forced, .. });
        if closed {
            rejected.push((lane.place, Rejection::BreakerOpen));
        }
        !closed
    });
    if lanes.is_empty() {
        return Err(Refusal::Closed);
    }
    Ok(())
}

/// The estimate of a prompt's tokens may be wrong by half. Where it fits no window, the
/// largest may still take it: its provider knows.
fn keep_perhaps_long_enough(
    question: &Question<'_>,
    facts: &[Facts<'_>],
    lanes: &mut Lanes,
    rejected: &mut Vec<(usize, Rejection)>,
) -> Result<(), Refusal> {
    let tokens_least = question.need.input_tokens / limits::TOKENS_ESTIMATE_SLACK;
    let may_fit = |place: usize| facts[place].context_window.is_some_and(|window| tokens_least <= window);
    rejected.retain(|(place, rejection)| {
        let kept = *rejection == Rejection::ContextTooLong && may_fit(*place);
        if kept {
            lanes.push(Lane::new(*place, &facts[*place], question.now));
        }
        !kept
    });
    if let Some(largest) = lanes.iter().filter_map(|lane| facts[lane.place].context_window).max() {
        lanes.retain(|lane| {
            let kept = facts[lane.place].context_window == Some(largest);
            if !kept {
                rejected.push((lane.place, Rejection::ContextTooLong));
            }
            kept
        });
        return Ok(());
    }
    Err(rejected.first().map_or(Refusal::Empty, |(_, rejection)| Refusal::Unable(*rejection)))
}

/// The least quality that will do. Where the owner ranks nobody, there is none.
struct QualityBar(Option<f64>);

// === impl QualityBar ===

impl QualityBar {
    fn of(question: &Question<'_>, facts: &[Facts<'_>]) -> Self {
        Self(question.need.quality_min.filter(|_| facts.iter().any(|lane| lane.quality.is_some())))
    }

    fn rejection(&self, lane: &Facts<'_>) -> Option<Rejection> {
        let too_low = self.0.is_some_and(|least| lane.quality.unwrap_or(QUALITY_UNRANKED) < least);
        too_low.then_some(Rejection::QualityTooLow)
    }
}

// === impl Waiting ===

impl Waiting {
    /// The reason in the words of an explanation.
    pub fn rejection(self) -> Rejection {
        match self {
            Self::Short(_) | Self::Parked(_) => Rejection::QuotaShort,
            Self::Refused(_) => Rejection::KeyRefused,
            Self::Open(_) => Rejection::BreakerOpen,
        }
    }

    /// Sorts those that wait: an open breaker last, of the others the soonest first.
    pub fn rank(self) -> (bool, Instant) {
        match self {
            Self::Short(until) | Self::Parked(until) | Self::Refused(until) => (false, until),
            Self::Open(until) => (true, until),
        }
    }

    fn of(facts: &Facts<'_>, now: Instant) -> Option<Self> {
        match facts.standing {
            Standing::Halted { why: Why::Breaker | Why::Forced, until } => return Some(Self::Open(until)),
            Standing::Halted { why: Why::RateLimit | Why::Quota | Why::NoCredit, until } => {
                return Some(Self::Parked(until));
            }
            Standing::Halted { why: Why::KeyRefused, until } => return Some(Self::Refused(until)),
            // The last of it may still be sent, but others go first.
            Standing::Halted { why: Why::QuotaLow, until } => return Some(Self::Short(until)),
            Standing::Free | Standing::Probe | Standing::KeyDue => {}
        }
        let headroom = &facts.headroom;
        // Other cores take from the same quota: the last of it is not worth a refusal.
        let last_of_it = headroom.share.is_some_and(|share| share < limits::QUOTA_SHARE_SHORT);
        let is_short = headroom.fits == Some(false) || last_of_it;
        let resets_at = headroom.resets_at.unwrap_or(now);
        (is_short && resets_at >= now).then_some(Self::Short(resets_at))
    }
}

// === impl Lane ===

impl Lane {
    fn new(place: usize, facts: &Facts<'_>, now: Instant) -> Self {
        Self {
            place,
            waiting: Waiting::of(facts, now),
            probe: facts.standing == Standing::Probe,
            estimate: estimate::Estimate::default(),
            value: 0.0,
            tie: 0.0,
            expected: 0.0,
        }
    }
}
