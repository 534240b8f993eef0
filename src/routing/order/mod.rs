//! The order in which lanes are to be tried: facts of each in, a ranking out.
//!
//! Four steps: constraints put aside what cannot serve and put last what is better left alone (`constraint`); what is known becomes an
//! expected time, price and chance of success, and these a utility (`estimate`, `reward`); the policy orders targets (`policy`), with the
//! credentials of one target together; among targets that are as good as each other the one that keeps the prompt's beginning goes first
//! (`affinity`). Pure: `now` and the dice are arguments, and with the same dice the same facts give the same ranking.

mod affinity;
mod constraint;
mod estimate;
mod policy;
mod reward;
mod sample;

use super::need::{Need, Rejection};
use super::policy::Policy;
use super::score::{Beta, Score};
use super::standing::{Headroom, Standing};
use super::terms::Goal;
use crate::domain::money::Money;
use crate::limits::CANDIDATES_INLINE;
use constraint::Waiting;
use fastrand::Rng;
use smallvec::SmallVec;
use std::cmp::{Ordering, Reverse};
use std::time::{Duration, Instant};

pub use reward::Weights;

/// What is asked of an ordering.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// By what.
    pub policy: Policy,
    /// What the choice is to be good at.
    pub goal: Goal,
    /// The percentile that `latency` and `hedged` look at, 0 to 1; `None` is the median.
    pub percentile: Option<f64>,
    /// What the request needs.
    pub need: &'a Need,
    /// Whether the answer streams: then the first token is what is waited for.
    pub streaming: bool,
    /// When the first token should be there, from now.
    pub deadline: Option<Duration>,
    /// The instant of the decision.
    pub now: Instant,
}

/// What is known of one lane. Its place among the facts is the listed one, within its target.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Which target it belongs to, counted as listed: lanes of one target differ in nothing but the credential.
    pub target: usize,
    /// When its turn comes among the lanes of its target.
    pub turn: Turn,
    /// The lane of its target that it stands right behind, whatever else is known of it; see [`Turn`].
    pub behind: Option<usize>,
    /// Share of its target under `weighted`.
    pub weight: u32,
    /// The owner's rank of its model, 0 to 1, if there is one.
    pub quality: Option<f64>,
    /// What its model lacks for the request.
    pub lacks: Option<Rejection>,
    /// Tokens of prompt and answer that its model takes, if known.
    pub context_window: Option<u64>,
    /// What was seen of it.
    pub score: Option<&'a Score>,
    /// The chance of a good answer, as the tenant has it.
    pub posterior: Beta,
    /// What the request is expected to cost there, the chance that its beginning is cached included; `None` where no price is known.
    pub cost: Option<Money>,
    /// How it stands.
    pub standing: Standing,
    /// What is left of its quota.
    pub headroom: Headroom,
    /// Attempts under way there.
    pub in_flight: u32,
    /// Whether the prompt's beginning is thought to be in its cache.
    pub warm: bool,
    /// Its weight for the prompt's beginning; the highest keeps it.
    pub affinity_weight: u64,
}

/// When the turn of a lane comes among those of its target; it stands above everything else that is known of it. A lane that stands behind
/// another one has that one's turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// Before the others.
    First,
    /// As it fares.
    #[default]
    Usual,
    /// After the others: only to be asked when they fail.
    Last,
}

/// Lanes in the order in which they are to be tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    /// Best first; never empty.
    pub lanes: SmallVec<[Ranked; CANDIDATES_INLINE]>,
    /// Those that are not to be tried, and why.
    pub rejected: Vec<(usize, Rejection)>,
    /// Whether the first is not the one that looks best, so that something is learnt.
    pub exploration: bool,
    /// Whether every lane is halted: they are offered so that the client hears soon and from somebody who knows.
    pub last_resort: bool,
}

/// One lane in its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked {
    /// Which of the facts.
    pub place: usize,
    /// What the policy made of it, and more is better: a drawn utility, a share of the fastest or cheapest, a quality. About 0 to 1.
    pub score: f64,
    /// What may be expected of it, without a draw.
    pub expected: f64,
    /// How long it is expected to take to the first byte, or token of a stream, at the percentile asked for; microseconds.
    pub latency_us: Option<u32>,
    /// Why it stands behind lanes that are free, if it does.
    pub held_back: Option<Rejection>,
}

/// Why no lane may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is none.
    Empty,
    /// No model can do what is asked; this is what the first one lacks.
    Unable(Rejection),
    /// The owner has closed all of them.
    Closed,
}

/// A lane that may be tried, with what is expected of it.
#[derive(Clone, Copy, Debug)]
struct Lane {
    place: usize,
    /// What it is held back for and until when; `None` for a free one.
    waiting: Option<Waiting>,
    /// Half open: one request may find out.
    probe: bool,
    estimate: estimate::Estimate,
    /// What the policy orders by, drawn where it draws.
    value: f64,
    /// What decides between equal values.
    tie: f64,
    /// What may be expected of it, without a draw.
    expected: f64,
}

/// Lanes that may be tried.
type Lanes = SmallVec<[Lane; CANDIDATES_INLINE]>;

/// The lanes of one target that are free, the first of them standing for all.
#[derive(Clone, Copy, Debug)]
struct Target {
    /// Where they begin in the list of free lanes.
    begin: usize,
    /// How many they are.
    count: usize,
    /// The first of them.
    lead: Lane,
}

/// Orders lanes.
///
/// # Errors
/// None may be tried at all.
pub fn order(question: &Question<'_>, facts: &[Facts<'_>], dice: &mut Rng) -> Result<Ranking, Refusal> {
    let (mut lanes, mut rejected) = (Lanes::new(), Vec::new());
    constraint::sift(question, facts, &mut lanes, &mut rejected)?;
    let refs = estimate::fill(question, facts, &mut lanes);
    reward::fill(question, facts, &refs, &mut lanes, dice);
    let free = lanes.iter().filter(|lane| lane.waiting.is_none()).count();
    if free == 0 {
        return Ok(waiting_only(facts, &mut lanes, rejected));
    }
    if let [lone] = &lanes[..] {
        // Nobody to be put before or behind, and nothing to be learnt from the order of one.
        let lanes = SmallVec::from_iter([lone.ranked()]);
        return Ok(Ranking { lanes, rejected, exploration: false, last_resort: false });
    }
    lanes.sort_by_key(|lane| (lane.waiting.is_some(), credential_rank(facts, lane.place)));
    let mut targets = targets(facts, &lanes[..free]);
    let targets = &mut targets[..];
    let explores = policy::order(question, facts, targets, dice);
    let exploration = !affinity::apply(question, facts, targets) && explores;
    let in_order = targets.iter().flat_map(|target| &lanes[target.begin..target.begin + target.count]);
    let mut ranked: SmallVec<[Ranked; CANDIDATES_INLINE]> = SmallVec::with_capacity(lanes.len());
    ranked.extend(in_order.map(Lane::ranked));
    let waiting = &mut lanes[free..];
    waiting.sort_by(Lane::sooner);
    ranked.extend(waiting.iter().map(Lane::ranked));
    Ok(Ranking { lanes: ranked, rejected, exploration, last_resort: false })
}

/// A ranking where nobody is free: the soonest first.
fn waiting_only(facts: &[Facts<'_>], lanes: &mut [Lane], rejected: Vec<(usize, Rejection)>) -> Ranking {
    lanes.sort_by(Lane::sooner);
    let last_resort = lanes.iter().all(|lane| matches!(facts[lane.place].standing, Standing::Halted { .. }));
    Ranking { lanes: lanes.iter().map(Lane::ranked).collect(), rejected, exploration: false, last_resort }
}

/// In which order the credentials of one target are to be tried; targets as listed.
fn credential_rank(facts: &[Facts<'_>], place: usize) -> impl Ord + use<> {
    let probe = facts[place].standing == Standing::Probe;
    let leader = facts[place].behind.unwrap_or(place);
    let Facts { target, turn, warm, affinity_weight, .. } = facts[leader];
    (target, turn, probe, Reverse(warm), Reverse(affinity_weight), leader, place != leader, place)
}

/// The runs of lanes with one target.
fn targets(facts: &[Facts<'_>], free: &[Lane]) -> SmallVec<[Target; CANDIDATES_INLINE]> {
    let mut targets: SmallVec<[Target; CANDIDATES_INLINE]> = SmallVec::with_capacity(free.len());
    for (at, lane) in free.iter().enumerate() {
        match targets.last_mut() {
            Some(last) if facts[last.lead.place].target == facts[lane.place].target => last.count += 1,
            _ => targets.push(Target { begin: at, count: 1, lead: *lane }),
        }
    }
    targets
}

// === impl Lane ===

impl Lane {
    fn ranked(&self) -> Ranked {
        Ranked {
            place: self.place,
            score: self.value,
            expected: self.expected,
            latency_us: self.estimate.stated_us,
            held_back: self.waiting.map(|waiting| waiting.rejection()),
        }
    }

    /// Of two, the one that the policy prefers.
    fn better(&self, other: &Self) -> Ordering {
        other.value.total_cmp(&self.value).then_with(|| other.tie.total_cmp(&self.tie))
    }

    /// Of two that wait, the one that is ready sooner; those that are short of quota before those that are halted.
    fn sooner(&self, other: &Self) -> Ordering {
        let key = |lane: &Self| lane.waiting.map(|waiting| waiting.rank());
        key(self).cmp(&key(other)).then_with(|| self.better(other)).then(self.place.cmp(&other.place))
    }
}

#[cfg(test)]
mod tests;
