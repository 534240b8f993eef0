//! The plan of a request that one candidate alone can serve, which is the usual case.
//!
//! There is nothing to order then. What an answer and an explanation tell of the candidate (a score, an expected time) is what
//! `routing::order` makes of it, and that changes with the scores and with little else; so it is remembered with the candidate and holds
//! until one of the few things changes that it came of ([`Basis`]). Whatever is not as usual (a halt, a quota that runs out, a rotation, a need
//! that the model does not meet) goes the general way.

use super::facts::{self, Asked};
use super::lineups::Cast;
use super::plan::Candidate;
use crate::domain::money::Money;
use crate::routing::decision::Considered;
use crate::routing::order::{Facts, Question, Ranked};
use crate::routing::policy::Policy;
use crate::routing::score::Score;
use crate::routing::terms::Goal;
use crate::snapshot::Role;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What was made of a candidate that stood alone, the last time; apart for what comes and goes from request to request: see [`slot`].
#[derive(Clone, Default)]
pub struct Figures(RefCell<[Option<Known>; 4]>);

#[derive(Clone)]
struct Known {
    basis: Basis,
    score: Option<Arc<Score>>,
    value: f64,
    latency_us: Option<u32>,
}

/// All that the figures of a lone candidate come of, beside the candidate itself, its tenant and the [`slot`].
#[derive(Clone, Copy, PartialEq)]
struct Basis {
    /// Which scores; see [`super::lineups::Lineups::scores`].
    scores: u64,
    policy: Policy,
    goal: Goal,
    percentile: Option<f64>,
    deadline: Option<Duration>,
    is_priced: bool,
}

impl Basis {
    fn of(question: &Question<'_>, scores: u64, cost: Option<Money>) -> Self {
        let Question { policy, goal, percentile, deadline, .. } = *question;
        Self { scores, policy, goal, percentile, deadline, is_priced: cost.is_some() }
    }
}

/// Where figures are kept: by whether the answer streams, and whether others ask the lane at the time.
fn slot(question: &Question<'_>, in_flight: u32) -> usize {
    usize::from(in_flight > 0) + 2 * usize::from(question.streaming)
}

/// The order of one candidate and what it was seen as, if all is as usual and its figures are remembered.
pub fn rank(asked: &Asked<'_>, question: &Question<'_>, lone: &Rc<Candidate>) -> Option<(Cast, Vec<Considered>)> {
    let Asked { core, snapshot, .. } = *asked;
    let (need, now) = (question.need, question.now);
    let is_unusual = !core.steer.is_calm()
        || need.quality_min.is_some()
        || super::rota::role(lone) != Role::Usual
        || asked.lacks(need, lone).is_some();
    if is_unusual {
        return None;
    }
    let scores = core.lineups.scores(snapshot)?;
    let in_flight = core.steer.with_room(&lone.lane, &lone.known, need.input_tokens)?;
    let figures = lone.figures.0.borrow();
    let known = figures[slot(question, in_flight)].as_ref().filter(|known| known.basis.scores == scores)?;
    let warm = need.prefix.is_some_and(|prefix| core.steer.is_warm(prefix, &lone.lane, now));
    let score = known.score.as_deref();
    let cached = facts::cached_tokens(need, score, warm, warm);
    let cost = facts::expected_cost(lone, need, score, cached, &asked.terms(std::slice::from_ref(lone)));
    if known.basis != Basis::of(question, scores, cost) {
        return None;
    }
    let mut considered = core.lineups.spare_list();
    considered.truncate(1);
    if considered.first().is_none_or(|other| other.lane != lone.lane) {
        considered.clear();
        considered.push(Considered::of(lone.lane.clone()));
    }
    if let Some(seen) = considered.first_mut() {
        (seen.score, seen.cost, seen.latency_us) = (known.value, cost, known.latency_us);
        (seen.error_rate, seen.warm) = (score.map(|score| score.error_rate), warm);
        (seen.key_role, seen.rejection) = (None, None);
    }
    Some((Cast::from_iter([lone.clone()]), considered))
}

/// Remembers what was made of a candidate that stood alone and free.
pub fn remember(asked: &Asked<'_>, question: &Question<'_>, facts: &Facts<'_>, ranked: &Ranked, lone: &Candidate) {
    let Some(scores) = asked.core.lineups.scores(asked.snapshot) else { return };
    let basis = Basis::of(question, scores, facts.cost);
    let score = asked.snapshot.scores.shared(&lone.lane).cloned();
    let known = Known { basis, score, value: ranked.score, latency_us: ranked.latency_us };
    lone.figures.0.borrow_mut()[slot(question, facts.in_flight)] = Some(known);
}
