//! What is known of each candidate of a plan, from the snapshot and from this core, put before the ordering of `routing::order`.
//!
//! The ordering is pure and sees no snapshot; this file gathers, asks, and puts candidates into the order that comes back. What an answer
//! is expected to cost is worked out here: the list price of the estimated tokens, with what the provider's cache is expected to save.

use super::ask::Ask;
use super::fault::{Fault, Tried};
use super::lineups::{Cast, Lineup};
use super::lone;
use super::per_core::Core;
use super::plan::{Candidate, Plan};
use super::rota::{Rota, role, word};
use super::surface::Task;
use crate::chat::fault::FaultClass;
use crate::domain::clock::UnixMillis;
use crate::domain::money::Money;
use crate::domain::token::Usage;
use crate::limits;
use crate::metering::price;
use crate::metering::terms::Terms;
use crate::routing::affinity;
use crate::routing::decision::{Considered, Sorted};
use crate::routing::need::{Need, Rejection};
use crate::routing::order::{self, Facts, Question, Ranked, Ranking, Refusal, Turn};
use crate::routing::score::Score;
use crate::routing::standing::Standing;
use crate::rt;
use crate::snapshot::{AccessKey, RoutePolicy, Snapshot};
use smallvec::SmallVec;
use std::cell::OnceCell;
use std::rc::Rc;
use std::time::Instant;

/// Puts candidates in the order in which they are to be tried.
///
/// # Errors
/// None may be tried.
pub fn rank(
    core: &Core,
    snapshot: &Snapshot,
    key: &AccessKey,
    ask: &Ask,
    need: Need,
    lineup: &Lineup,
    category: Option<Sorted>,
) -> Result<Plan, Fault> {
    let candidates = &lineup.candidates;
    let RoutePolicy { policy, percentile } = lineup.by;
    let policy = ask.policy.filter(|_| lineup.is_open).unwrap_or(policy);
    let terms = &*snapshot.settings.routing;
    let mut need = need;
    need.prefix = need.prefix.filter(|_| !terms.no_affinity);
    let goal = ask.wishes.goal.unwrap_or(terms.tenant(&key.tenant).goal);
    let now = rt::coarse_now();
    let question =
        Question { policy, goal, percentile, need: &need, streaming: ask.stream, deadline: ask.wishes.deadline, now };
    let asked = Asked { core, snapshot, key, ask };
    let lone = match &candidates[..] {
        [lone] => lone::rank(&asked, &question, lone),
        _ => None,
    };
    let (candidates, considered, exploration) = match lone {
        Some((candidates, considered)) => (candidates, considered, false),
        None => rank_all(&asked, &question, candidates)?,
    };
    Ok(Plan { at: now, candidates, policy, percentile, goal, need, category, exploration, considered })
}

/// Whose request is planned on which core.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The core.
    pub core: &'a Core,
    /// What it serves from.
    pub snapshot: &'a Snapshot,
    /// Who asks.
    pub key: &'a AccessKey,
    /// What for.
    pub ask: &'a Ask,
}

impl Asked<'_> {
    /// What a candidate's model lacks for the request.
    pub fn lacks(&self, need: &Need, candidate: &Candidate) -> Option<Rejection> {
        if is_conversation(self.ask) { need.lacking(&candidate.target.abilities) } else { None }
    }

    /// What the prices of these candidates depend on. The clock is read where one of them does.
    pub fn terms(&self, candidates: &[Rc<Candidate>]) -> Terms {
        let by_hour =
            |candidate: &Rc<Candidate>| candidate.target.price.as_ref().is_some_and(|price| price.is_by_hour());
        let at = if candidates.iter().any(by_hour) { rt::wall(rt::coarse_now()) } else { UnixMillis(0) };
        Terms { service_tier: self.ask.service_tier, at }
    }
}

/// The general way: everything that is known of all candidates, put in order; whether the first is there to learn something.
#[inline(never)]
fn rank_all(
    asked: &Asked<'_>,
    question: &Question<'_>,
    candidates: &[Rc<Candidate>],
) -> Result<(Cast, Vec<Considered>, bool), Fault> {
    let mut facts = Gathered::with_capacity(candidates.len());
    gather(asked, question.need, candidates, question.now, &mut facts);
    let ranking = order::order(question, &facts, &mut asked.core.dice());
    let ranking = ranking.map_err(|refusal| refused(refusal, candidates))?;
    let considered = considered(&ranking, &facts, candidates, asked.core.lineups.empty_list());
    if let ([lone], [facts], [ranked]) = (candidates, &facts[..], &ranking.lanes[..])
        && facts.standing == Standing::Free
        && ranked.held_back.is_none()
    {
        lone::remember(asked, question, facts, ranked, lone);
    }
    Ok((in_order(candidates, &ranking.lanes), considered, ranking.exploration))
}

/// Facts of candidates, of which few need no memory of their own.
type Gathered<'a> = SmallVec<[Facts<'a>; limits::CANDIDATES_INLINE]>;

/// Gathers what is known of each candidate, in their order.
fn gather<'a>(asked: &Asked<'a>, need: &Need, candidates: &[Rc<Candidate>], now: Instant, facts: &mut Gathered<'a>) {
    let Asked { core, snapshot, key, ask } = *asked;
    let halts = core.steer.halts();
    let mut target = 0;
    for (place, candidate) in candidates.iter().enumerate() {
        let lane = &candidate.lane;
        let before = place.checked_sub(1).and_then(|before| candidates.get(before));
        let is_next =
            before.is_some_and(|before| before.lane.provider != lane.provider || before.lane.model != lane.model);
        target += usize::from(is_next);
        let score = snapshot.scores.score(lane);
        let (headroom, in_flight) = core.steer.load(lane, &candidate.known, need.input_tokens, now);
        facts.push(Facts {
            target,
            turn: Turn::Usual,
            behind: None,
            weight: candidate.target.weight,
            quality: candidate.quality,
            lacks: asked.lacks(need, candidate),
            context_window: candidate.target.context_window(),
            score,
            posterior: score.map(|score| score.posterior_of(&key.tenant)).unwrap_or_default(),
            cost: None,
            standing: core.steer.standing(&halts, lane, now),
            headroom,
            in_flight,
            warm: need.prefix.is_some_and(|prefix| core.steer.is_warm(prefix, lane, now)),
            affinity_weight: need.prefix.map_or(0, |prefix| affinity::weight(prefix, lane)),
        });
    }
    let draw = || core.roll(100);
    Rota { steer: &core.steer, once: ask.once, now, draw: &draw, drawn: OnceCell::new() }.seat(candidates, facts);
    let any_warm = facts.iter().any(|facts| facts.warm);
    let terms = asked.terms(candidates);
    for (facts, candidate) in facts.iter_mut().zip(candidates) {
        let cached = cached_tokens(need, facts.score, facts.warm, any_warm);
        facts.cost = expected_cost(candidate, need, facts.score, cached, &terms);
    }
}

/// Whether a request's size is that of a prompt. A list of texts to embed, or a file, is not, and no window bounds it.
fn is_conversation(ask: &Ask) -> bool {
    matches!(ask.task, Task::Generate | Task::CountTokens)
}

/// Prompt tokens that are expected to come from the provider's cache.
///
/// Where a lane is warm, it is the only one: others have not seen this beginning. Where none is known to be, each may be by chance.
pub fn cached_tokens(need: &Need, score: Option<&Score>, warm: bool, any_warm: bool) -> u64 {
    let share = score.and_then(|score| score.cache_hit_rate).unwrap_or(0.0).clamp(0.0, 1.0);
    let by_chance = (need.input_tokens as f64 * share) as u64;
    let kept = (need.prefix_tokens as f64 * limits::WARM_HIT_CHANCE) as u64;
    match (warm, any_warm) {
        (true, _) => by_chance.max(kept).min(need.input_tokens),
        (false, true) => 0,
        (false, false) => by_chance,
    }
}

/// What an answer is expected to cost; `None` where no price is known.
pub fn expected_cost(
    candidate: &Candidate,
    need: &Need,
    score: Option<&Score>,
    cached_input: u64,
    terms: &Terms,
) -> Option<Money> {
    let prices = candidate.target.price.as_ref()?;
    let usual = score.and_then(|score| score.output_tokens).map_or(limits::OUTPUT_TOKENS_GUESS, |mean| mean as u64);
    let output = need.output_tokens_max.map_or(usual, |most| usual.min(most));
    let usage = Usage { input: need.input_tokens, output, cached_input, ..Usage::default() };
    price::cost(prices, &usage, terms).map(|cost| cost.total)
}

/// Candidates by a ranking; what is not in it is left out.
fn in_order(candidates: &[Rc<Candidate>], lanes: &[Ranked]) -> Cast {
    lanes.iter().filter_map(|lane| candidates.get(lane.place).cloned()).collect()
}

/// Every candidate as it was seen, rejected ones last, in a list that is empty.
fn considered(
    ranking: &Ranking,
    facts: &[Facts<'_>],
    candidates: &[Rc<Candidate>],
    mut considered: Vec<Considered>,
) -> Vec<Considered> {
    let seen = |place: usize, score: f64, latency_us: Option<u32>, rejection: Option<Rejection>| {
        let (facts, candidate) = (facts.get(place)?, candidates.get(place)?);
        Some(Considered {
            lane: candidate.lane.clone(),
            score,
            cost: facts.cost,
            latency_us,
            error_rate: facts.score.map(|score| score.error_rate),
            warm: facts.warm,
            key_role: word(role(candidate)),
            rejection,
        })
    };
    considered
        .extend(ranking.lanes.iter().filter_map(|lane| seen(lane.place, lane.score, lane.latency_us, lane.held_back)));
    considered.extend(ranking.rejected.iter().filter_map(|(place, why)| seen(*place, 0.0, None, Some(*why))));
    considered
}

/// What a client hears when no candidate may be tried.
fn refused(refusal: Refusal, candidates: &[Rc<Candidate>]) -> Fault {
    let (what, param) = match refusal {
        Refusal::Empty => return Fault::AllUnavailable { tried: Vec::new() },
        Refusal::Closed => {
            let mut tried: Vec<Tried> = Vec::new();
            for candidate in candidates {
                let provider = candidate.lane.provider.as_str();
                if !tried.iter().any(|known| known.provider == provider) {
                    tried.push(Tried { provider: provider.to_owned(), why: "halted by the operator" });
                }
            }
            return Fault::AllUnavailable { tried };
        }
        Refusal::Unable(Rejection::ContextTooLong) => {
            let message = "The prompt is longer than the context window of every model that could answer; shorten it.";
            return Fault::Refused {
                status: 400,
                class: FaultClass::ContextTooLong,
                message: message.to_owned(),
                code: Some("context_length_exceeded".to_owned()),
                param: Some("messages".to_owned()),
            };
        }
        Refusal::Unable(Rejection::NoVision) => ("No model that could answer sees pictures", "messages"),
        Refusal::Unable(Rejection::NoJsonSchema) => {
            ("No model that could answer can be held to a JSON schema", "response_format")
        }
        Refusal::Unable(Rejection::QualityTooLow) => {
            ("No model that could answer is ranked so high", "min_quality_score")
        }
        Refusal::Unable(Rejection::NoPdf) => ("No model that could answer reads PDF documents", "messages"),
        Refusal::Unable(Rejection::NoAudio) => ("No model that could answer hears sound", "messages"),
        Refusal::Unable(_) => ("No model that could answer takes tools", "tools"),
    };
    Fault::invalid(format!("{what}; change `{param}` or ask for another model."), Some(param))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warm_lane_saves_what_others_do_not() {
        let need = Need { input_tokens: 10_000, prefix_tokens: 8_000, ..Need::default() };
        let half = Score { cache_hit_rate: Some(0.5), ..Score::default() };
        assert_eq!(cached_tokens(&need, None, false, false), 0);
        assert_eq!(cached_tokens(&need, Some(&half), false, false), 5_000);
        assert_eq!(cached_tokens(&need, Some(&half), false, true), 0, "another lane has it");
        let kept = (8_000.0 * limits::WARM_HIT_CHANCE) as u64;
        assert_eq!(cached_tokens(&need, Some(&half), true, true), kept);
        assert_eq!(cached_tokens(&need, Some(&Score { cache_hit_rate: Some(2.0), ..half }), true, true), 10_000);
    }

    #[test]
    fn every_refusal_names_the_member_and_a_remedy() {
        for (rejection, param, code) in [
            (Rejection::NoTools, "tools", "invalid_request"),
            (Rejection::NoVision, "messages", "invalid_request"),
            (Rejection::NoPdf, "messages", "invalid_request"),
            (Rejection::NoAudio, "messages", "invalid_request"),
            (Rejection::NoJsonSchema, "response_format", "invalid_request"),
            (Rejection::QualityTooLow, "min_quality_score", "invalid_request"),
            (Rejection::ContextTooLong, "messages", "context_length_exceeded"),
        ] {
            let fault = refused(Refusal::Unable(rejection), &[]);
            assert_eq!((fault.status(), fault.param(), fault.code()), (400, Some(param), code), "{rejection:?}");
            assert!(fault.message().contains("; "), "{}", fault.message());
        }
        assert_eq!(refused(Refusal::Closed, &[]).status(), 503);
    }
}
