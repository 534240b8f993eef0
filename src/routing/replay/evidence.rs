//! What is known of lanes from the attempts in a record: the answers they gave, by time.

use crate::domain::clock::UnixMillis;
use crate::domain::money::Money;
use crate::routing::decision::{Attempted, Decision};
use crate::routing::lane::LaneKey;
use std::collections::HashMap;
use std::time::Duration;

/// How an attempt ended, as far as it matters for what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was answered.
    Served,
    /// The request itself was refused: no other provider is asked.
    Refused,
    /// Sent away with 429: others are asked.
    Limited,
    /// It failed before an answer: others are asked, and none of this provider if all of it failed.
    Failed {
        /// Whether another credential there would fail likewise.
        provider: bool,
    },
    /// It was lost when it could not be repeated any more: a timeout, or a stream that broke off.
    Lost,
    /// The client went away.
    Gone,
    /// It lost a race.
    Superseded,
}

/// One attempt as evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// When its request came.
    pub at: UnixMillis,
    /// How it ended.
    pub end: End,
    /// To the first byte, microseconds; 0 if none came.
    pub first_byte_us: u32,
    /// In all.
    pub total_us: u32,
    /// What it cost.
    pub cost: Option<Money>,
    /// What it had been expected to cost.
    pub expected: Option<Money>,
}

/// All attempts of a record that say something of their lane, by lane and time.
#[derive(Debug, Default)]
pub struct Evidence {
    lanes: HashMap<LaneKey, Vec<Answered>>,
    window: Duration,
}

// === impl End ===

impl End {
    fn of(attempt: &Attempted) -> Self {
        match (attempt.outcome, attempt.status) {
            ("completed", _) => Self::Served,
            ("client_gone", _) => Self::Gone,
            ("superseded", _) => Self::Superseded,
            ("refused", 429) => Self::Limited,
            ("refused", 400 | 413 | 415 | 422) => Self::Refused,
            ("refused", 401..=403) => Self::Failed { provider: false },
            ("refused" | "unreachable", _) => Self::Failed { provider: true },
            ("broken", _) if attempt.first_byte_us == 0 => Self::Failed { provider: true },
            _ => Self::Lost,
        }
    }
}

// === impl Answered ===

impl Answered {
    /// An attempt of a decision.
    pub fn of(decision: &Decision, attempt: &Attempted) -> Self {
        let candidate = decision.candidates.iter().find(|candidate| candidate.lane == attempt.lane);
        Self {
            at: decision.at,
            end: End::of(attempt),
            first_byte_us: attempt.first_byte_us,
            total_us: attempt.total_us,
            cost: attempt.cost,
            expected: candidate.and_then(|candidate| candidate.cost),
        }
    }

    /// The same answer to a request that was expected to cost `expected`: dearer or cheaper by as much as it was then.
    pub fn for_request(&self, expected: Option<Money>) -> Self {
        let cost = match (self.cost, self.expected, expected) {
            (Some(cost), Some(then), Some(now)) if then > Money::ZERO => {
                let share = cost.to_usd() / then.to_usd();
                Some(Money::from_pico((now.pico() as f64 * share).round() as i128))
            }
            (cost, ..) => cost,
        };
        Self { cost, expected, ..self.clone() }
    }
}

// === impl Evidence ===

impl Evidence {
    /// The evidence in a record; `window` is how far from a request it may lie.
    pub fn of(decisions: &[Decision], window: Duration) -> Self {
        let mut lanes: HashMap<LaneKey, Vec<Answered>> = HashMap::new();
        for decision in decisions {
            for attempt in &decision.attempts {
                let answered = Answered::of(decision, attempt);
                // Who was called off, by the client or by a faster one, did not show what it would have done.
                if !matches!(answered.end, End::Gone | End::Superseded) {
                    lanes.entry(attempt.lane.clone()).or_default().push(answered);
                }
            }
        }
        lanes.values_mut().for_each(|answers| answers.sort_by_key(|answered| answered.at));
        Self { lanes, window }
    }

    /// What a lane answered around a moment; what the same model at the same provider answered under other credentials where it was not
    /// asked itself.
    pub fn around(&self, lane: &LaneKey, at: UnixMillis) -> Vec<&Answered> {
        let own = self.lanes.get(lane).map(|answers| self.within(answers, at)).unwrap_or_default();
        if !own.is_empty() {
            return own.iter().collect();
        }
        let is_sibling = |other: &LaneKey| other.provider == lane.provider && other.model == lane.model;
        let mut siblings: Vec<(&LaneKey, &Vec<Answered>)> =
            self.lanes.iter().filter(|(other, _)| is_sibling(other)).collect();
        // The map has no order, and the same seed shall draw the same.
        siblings.sort_by_key(|(lane, _)| *lane);
        siblings.into_iter().flat_map(|(_, answers)| self.within(answers, at)).collect()
    }

    /// One of them, at random; `None` where there is none.
    pub fn draw(&self, lane: &LaneKey, at: UnixMillis, rng: &mut fastrand::Rng) -> Option<&Answered> {
        let known = self.around(lane, at);
        if known.is_empty() { None } else { Some(known[rng.usize(..known.len())]) }
    }

    /// The time to the first byte that a share of the answers around a moment do not exceed; `None` where there is none.
    pub fn first_byte_us(&self, lane: &LaneKey, at: UnixMillis, share: f64) -> Option<u32> {
        let known = self.around(lane, at);
        let mut times: Vec<u64> =
            known.iter().map(|answered| u64::from(answered.first_byte_us)).filter(|time| *time > 0).collect();
        times.sort_unstable();
        let time = super::quantile(&times, share);
        (!times.is_empty()).then(|| u32::try_from(time).unwrap_or(u32::MAX))
    }

    fn within<'a>(&self, answers: &'a [Answered], at: UnixMillis) -> &'a [Answered] {
        let reach = u64::try_from(self.window.as_millis()).unwrap_or(u64::MAX);
        let from = answers.partition_point(|answered| answered.at.0 < at.0.saturating_sub(reach));
        let to = answers.partition_point(|answered| answered.at.0 <= at.0.saturating_add(reach));
        &answers[from..to]
    }
}
