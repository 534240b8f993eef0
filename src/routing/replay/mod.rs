//! What would have been: recorded decisions under another policy, offline.
//!
//! Each decision's candidates are put into the other policy's order and asked in it, by the rules of failover. Where the record asked the
//! same lane for the same request, what it answered then is what it answers now; so a policy that decides alike gives the recorded figures
//! exactly. Where it did not, one of the attempts that others made at that lane around that time is drawn, by a seed, in its place
//! (`evidence`). A request that needs a lane of which there is no evidence is not judged, and counted apart; both sides are compared over
//! judged requests alone.
//!
//! What this cannot know: how a lane would have borne more load than it had, what its cache would have held, and who would have been
//! halted. Candidates that were rejected or halted stay so, and 429s are as frequent as they were for those who asked.

mod evidence;
mod reorder;

pub use evidence::{Answered, End, Evidence};
pub use reorder::reorder;

use super::decision::Decision;
use super::glob::NamePattern;
use super::lane::LaneKey;
use super::policy::Policy;
use super::terms::Goal;
use crate::domain::id::ProviderId;
use crate::domain::money::Money;
use crate::limits::ATTEMPTS_MAX;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The other policy, with all it needs.
#[derive(Clone, Debug)]
pub struct Terms {
    /// What orders the candidates.
    pub policy: Policy,
    /// What `thompson` is to be good at.
    pub goal: Goal,
    /// The percentile of the first byte that `latency` looks at, 0 to 1; `None` takes the figure that was recorded.
    pub percentile: Option<f64>,
    /// Ranks of models for `quality`, 0 to 1; the first pattern that matches holds.
    pub quality: Vec<(NamePattern, f64)>,
    /// The order for `ordered`: patterns of `provider/model`.
    pub order: Vec<NamePattern>,
    /// Shares for `weighted`: patterns of `provider/model`; what none matches weighs one.
    pub weights: Vec<(NamePattern, u32)>,
    /// How far from a request evidence may lie, before and after.
    pub window: Duration,
    /// Where the drawing begins: the same seed, the same figures.
    pub seed: u64,
    /// Any instant: the ordering measures from it who stays halted for how long.
    pub origin: Instant,
}

/// What a set of requests came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// What it cost.
    pub cost: Money,
    /// To the first byte of the answer, microseconds, of each request that was answered; sorted.
    pub first_byte_us: Vec<u64>,
    /// To the answer's end, likewise.
    pub whole_us: Vec<u64>,
    /// Attempts that were sent away with 429.
    pub limited: u64,
    /// Attempts after the first.
    pub failovers: u64,
    /// Requests that no provider answered.
    pub errors: u64,
}

/// Both sides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Decisions looked at.
    pub decisions: usize,
    /// Those that asked nobody, and say nothing.
    pub unasked: usize,
    /// Those that need a lane of which there is no evidence.
    pub without_evidence: usize,
    /// Those compared below.
    pub judged: usize,
    /// Of these, those that would have asked another lane first.
    pub moved: usize,
    /// As it was.
    pub recorded: Tally,
    /// As it would have been.
    pub replayed: Tally,
    /// Requests that ask each provider and model first: as it was, as it would have been.
    pub first_asked: BTreeMap<(String, String), (u64, u64)>,
}

/// What one request came to.
#[derive(Clone, Debug, Default, PartialEq)]
struct Course {
    cost: Money,
    /// Time that went before the attempt under way, microseconds.
    spent_us: u64,
    /// First byte and end of the answer, from the beginning.
    answered_us: Option<(u64, u64)>,
    attempts: u64,
    limited: u64,
    failed: bool,
}

/// Replays decisions.
pub fn replay(decisions: &[Decision], terms: &Terms) -> Comparison {
    let evidence = Evidence::of(decisions, terms.window);
    let mut rng = fastrand::Rng::with_seed(terms.seed);
    let mut comparison = Comparison { decisions: decisions.len(), ..Comparison::default() };
    for decision in decisions {
        let Some(asked) = decision.attempts.first().map(|attempt| &attempt.lane) else {
            comparison.unasked += 1;
            continue;
        };
        let order = reorder(decision, terms, &evidence, &mut rng);
        let first = order.first().and_then(|place| decision.candidates.get(*place)).map(|first| &first.lane);
        let (Some(first), Some(course)) = (first, Course::replayed(decision, &order, &evidence, &mut rng)) else {
            comparison.without_evidence += 1;
            continue;
        };
        comparison.judged += 1;
        comparison.moved += usize::from(first != asked);
        comparison.recorded.add(&Course::recorded(decision));
        comparison.replayed.add(&course);
        comparison.first_asked.entry(name_of(asked)).or_default().0 += 1;
        comparison.first_asked.entry(name_of(first)).or_default().1 += 1;
    }
    comparison.recorded.sort();
    comparison.replayed.sort();
    comparison
}

fn name_of(lane: &LaneKey) -> (String, String) {
    (lane.provider.as_str().to_owned(), lane.model.to_string())
}

// === impl Course ===

impl Course {
    /// As it was.
    fn recorded(decision: &Decision) -> Self {
        let mut course = Self::default();
        for attempt in &decision.attempts {
            course.take(&Answered::of(decision, attempt));
        }
        course
    }

    /// As it would have been; `None` where nobody knows.
    fn replayed(decision: &Decision, order: &[usize], evidence: &Evidence, rng: &mut fastrand::Rng) -> Option<Self> {
        let mut course = Self::default();
        let mut dead: Vec<&ProviderId> = Vec::new();
        for candidate in order.iter().filter_map(|place| decision.candidates.get(*place)) {
            if dead.contains(&&candidate.lane.provider) {
                continue;
            }
            if course.attempts >= u64::from(ATTEMPTS_MAX) {
                break;
            }
            let own = decision.attempts.iter().find(|attempt| attempt.lane == candidate.lane);
            let own = own.map(|attempt| Answered::of(decision, attempt)).filter(|own| own.end != End::Superseded);
            let answered = match own {
                Some(own) => own,
                None => evidence.draw(&candidate.lane, decision.at, rng)?.for_request(candidate.cost),
            };
            course.take(&answered);
            match answered.end {
                End::Failed { provider: true } => dead.push(&candidate.lane.provider),
                End::Failed { provider: false } | End::Limited | End::Superseded => {}
                End::Served | End::Refused | End::Lost | End::Gone => break,
            }
        }
        (course.attempts > 0).then_some(course)
    }

    fn take(&mut self, answered: &Answered) {
        self.cost += answered.cost.unwrap_or_default();
        if answered.end == End::Superseded {
            // It ran beside the one that won: it took money, no time.
            return;
        }
        self.attempts += 1;
        self.limited += u64::from(answered.end == End::Limited);
        self.failed = !matches!(answered.end, End::Served | End::Refused | End::Gone);
        let (first_byte, whole) = (u64::from(answered.first_byte_us), u64::from(answered.total_us));
        if answered.end == End::Served {
            self.answered_us = Some((self.spent_us + first_byte, self.spent_us + whole));
        }
        self.spent_us += whole;
    }
}

// === impl Tally ===

impl Tally {
    fn add(&mut self, course: &Course) {
        self.cost += course.cost;
        self.limited += course.limited;
        self.failovers += course.attempts.saturating_sub(1);
        self.errors += u64::from(course.failed);
        if let Some((first_byte, whole)) = course.answered_us {
            self.first_byte_us.push(first_byte);
            self.whole_us.push(whole);
        }
    }

    fn sort(&mut self) {
        self.first_byte_us.sort_unstable();
        self.whole_us.sort_unstable();
    }
}

/// The mean of durations; 0 of none.
pub fn mean(durations_us: &[u64]) -> u64 {
    let count = durations_us.len() as u64;
    durations_us.iter().sum::<u64>().checked_div(count).unwrap_or_default()
}

/// The duration that a share of all do not exceed (nearest rank); 0 of none. They must be sorted.
pub fn quantile(durations_us: &[u64], share: f64) -> u64 {
    let rank = (share * durations_us.len() as f64).ceil() as usize;
    durations_us.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
