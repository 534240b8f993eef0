//! A race of several providers to the first token, for a request that asked for one (`speculative_mode`).
//!
//! ```text
//! all run ──first content──▶ decision window ──▶ the best by the mode's weights wins
//!    │ none within the limit
//!    ▼
//! the most promising runs on alone
//! ```
//!
//! It is run only where the choice is open: the plan's best two are at different providers and score nearly alike, and all of them together
//! are expected to cost less than the cap. In the window only those are waited for that could still win, so that a race for latency ends with
//! its first token unless quality or price could outweigh it.

use super::downstream::Downstream;
use super::exchange::{Exchange, Next};
use super::failover::Course;
use super::heat::{self, Event, Heat, Seats};
use super::hedge;
use super::plan::Candidate;
use super::together::{self, Together};
use super::tryout::Sender;
use super::wishes::RaceMode;
use crate::domain::clock::UnixMillis;
use crate::domain::token::Usage;
use crate::limits;
use crate::metering::price;
use crate::metering::terms::Terms;
use crate::routing::contest::{self, Runner, Weights};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Who runs, and what decides.
pub struct Lineup {
    places: Vec<usize>,
    runners: Vec<Runner>,
    weights: Weights,
}

/// Whether a request may be raced, and by whom; `None` sends it the plain way.
pub fn lineup(exchange: &Exchange<'_>, course: &Course<'_>, mode: RaceMode) -> Option<Lineup> {
    if exchange.core.steer.hedges.is_paused(&course.inquiry.key.tenant, Instant::now()) {
        return None;
    }
    let plan = course.plan;
    let score = |place: usize| plan.considered.get(place).map_or(0.0, |seen| seen.score);
    let mut places: Vec<usize> = Vec::new();
    for place in (0..plan.candidates.len()).filter(|place| course.may_ask(exchange, *place)) {
        let provider = plan.candidates[place].target.provider;
        let is_new = places.iter().all(|other| plan.candidates[*other].target.provider != provider);
        let is_near = places.first().is_none_or(|best| score(*best) - score(place) <= limits::RACE_SCORE_GAP_MAX);
        if is_new && is_near && places.len() < limits::RACE_RUNNERS_MAX {
            places.push(place);
        }
    }
    let mut runners: Vec<Runner> = places.iter().map(|place| runner(exchange, course, *place)).collect();
    // The plan's order is the order of preference: whoever comes last stays at home when it gets too dear.
    while runners.iter().filter_map(|runner| runner.cost).sum::<i128>() > limits::RACE_COST_MAX_PICO {
        runners.pop();
    }
    places.truncate(runners.len());
    (places.len() >= 2).then(|| Lineup { places, runners, weights: weights(mode) })
}

fn weights(mode: RaceMode) -> Weights {
    match mode {
        RaceMode::Latency => Weights::LATENCY,
        RaceMode::Balanced => Weights::BALANCED,
        RaceMode::Quality => Weights::QUALITY,
        RaceMode::Cost => Weights::COST,
    }
}

fn runner(exchange: &Exchange<'_>, course: &Course<'_>, place: usize) -> Runner {
    let candidate = &course.plan.candidates[place];
    let expected = course.plan.considered.get(place).and_then(|seen| seen.cost);
    let cost = expected.or_else(|| list_price(course, candidate)).map(|cost| cost.pico());
    Runner { arrived: None, quality: quality(exchange, candidate), cost }
}

/// What the request costs there at list price.
fn list_price(course: &Course<'_>, candidate: &Candidate) -> Option<crate::domain::money::Money> {
    let need = &course.plan.need;
    let output = need.output_tokens_max.unwrap_or(limits::RACE_OUTPUT_TOKENS).min(limits::RACE_OUTPUT_TOKENS);
    let usage = Usage { input: need.input_tokens, output, ..Usage::default() };
    price::cost(candidate.target.price.as_ref()?, &usage, &Terms::usual(UnixMillis::now())).map(|cost| cost.total)
}

/// The owner's ranking of a model; halfway where there is none.
pub fn quality(exchange: &Exchange<'_>, candidate: &Candidate) -> f64 {
    const UNRANKED: f64 = 0.5;
    exchange.snapshot.settings.routing.rank(&candidate.lane).unwrap_or(UNRANKED)
}

/// Runs the race.
pub async fn run<'a>(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    course: &mut Course<'a>,
    lineup: Lineup,
) -> Option<Next> {
    let Lineup { places, mut runners, weights } = lineup;
    let snapshot = exchange.snapshot.clone();
    let end = exchange.began + snapshot.settings.exchange_deadline;
    let sender = Sender { core: exchange.core, request: exchange.id, settings: &snapshot.settings, end };
    let seats = Seats::default();
    let mut heat = Heat::new(sender);
    for (seat, place) in places.iter().enumerate() {
        if let Some(entrant) = course.enter(exchange, *place) {
            heat.start(seat, seats.take(seat, entrant));
        }
    }
    let mut until = heat.began() + limits::RACE_FIRST_TOKEN;
    let winner = loop {
        if !heat.is_any_running() {
            break contest::leader(&runners, &weights);
        }
        match heat.next(down, until).await {
            Event::Gone => {
                let shown = heat.stop();
                return Some(heat::abandon(exchange, seats, shown));
            }
            Event::Late => match contest::leader(&runners, &weights) {
                Some(leader) => break Some(leader),
                None => {
                    let running = || (0..places.len()).filter(|seat| heat.is_running(*seat));
                    let is_headed = |seat: &usize| seats.at(*seat).is_some_and(|entrant| entrant.headed.get());
                    if let Some(promising) = running().find(is_headed).or_else(|| running().next()) {
                        heat.keep(promising);
                    }
                    until = end + limits::DEADLINE_TICK * 2;
                }
            },
            Event::Shown(seat) => {
                let nobody_yet = contest::leader(&runners, &weights).is_none();
                runners[seat].arrived = heat.arrived(seat);
                let now = heat.began().elapsed();
                if !contest::is_open(&runners, |seat| heat.is_running(seat), now, &weights) {
                    break contest::leader(&runners, &weights);
                }
                if nobody_yet && runners[seat].arrived.is_some() {
                    until = Instant::now() + limits::RACE_WINDOW;
                }
            }
        }
    };
    let shown = heat.stop();
    let mut seats = seats;
    if let Some(winner) = winner {
        let saved = saved(exchange, course, places[0], runners[winner].arrived);
        let name = |place: &usize| course.plan.candidates[*place].lane.provider.clone();
        let race = together::Race { winner: name(&places[winner]), raced: places.iter().map(name).collect(), saved };
        seats.mark(winner, Together::Race(race));
    }
    let figures = &exchange.core.reports.gauges.together;
    figures.races.fetch_add(1, Ordering::Relaxed);
    figures.races_won.fetch_add(u64::from(winner.is_some_and(|winner| winner > 0)), Ordering::Relaxed);
    let (next, bill) = heat::conclude(exchange, down, course, &places, seats, shown, winner).await;
    hedge::settle(exchange, course, &bill);
    next
}

/// How much sooner it was than the plan's first candidate usually is.
fn saved(exchange: &Exchange<'_>, course: &Course<'_>, first: usize, arrived: Option<Duration>) -> Duration {
    let score = exchange.snapshot.scores.score(&course.plan.candidates[first].lane);
    let known = score.and_then(|score| match course.inquiry.ask.stream {
        true => score.first_token_us.or(score.first_byte_us),
        false => score.total_us.or(score.first_byte_us),
    });
    let usual = known.map_or(Duration::ZERO, |quantiles| Duration::from_micros(u64::from(quantiles.value(0.5))));
    usual.saturating_sub(arrived.unwrap_or(usual))
}
