//! `POST /v1/routing/preview`: what a request would be routed to, found out by the real plan, without asking anybody.
//!
//! The plan needs what this core knows of its lanes, so it is made here. Policies that draw are let draw several times: the preview shows
//! the choice that came most often, and how often it came.

use super::ask::Ask;
use super::authenticate::check_endpoint;
use super::downstream::Downstream;
use super::exchange::{Exchange, Next};
use super::fault::Fault;
use super::features;
use super::plan::{self, Plan};
use super::reply;
use super::surface::{Asked, Task};
use super::timing::Lap;
use crate::dialects::Wire;
use crate::domain::endpoint::Endpoint;
use crate::domain::money::Money;
use crate::domain::scope::Scope;
use crate::http::head::RequestHead;
use crate::json::scan::{self, Names};
use crate::limits;
use crate::routing::decision::Sorted;
use crate::routing::lane::LaneKey;
use crate::routing::reason::reason;
use crate::routing::record::{self, View};
use crate::routing::semantic;
use crate::rt;
use crate::snapshot::{AccessKey, Snapshot};
use serde_json::{Value, json};
use std::sync::Arc;

/// Answers a preview.
pub async fn run(exchange: &mut Exchange<'_>, down: &mut Downstream, head: &RequestHead, head_bytes: usize) -> Next {
    let snapshot = exchange.snapshot.clone();
    let key = match authenticate(exchange, &snapshot, head, down.input().bytes()) {
        Ok(key) => key,
        Err(fault) => return exchange.refuse_unread(down, head, head_bytes, &fault).await,
    };
    exchange.clock.mark(Lap::Auth, rt::now());
    if !key.allowance.is_unlimited()
        && let Err(fault) = exchange.enter_limited(&key.allowance, true, rt::now())
    {
        return exchange.refuse_unread(down, head, head_bytes, &fault).await;
    }
    let received = match exchange.receive(down, head, head_bytes).await {
        Ok(received) => received,
        Err(next) => return next,
    };
    exchange.clock.mark(Lap::Read, rt::coarse_now());
    let body = received.body();
    let asked = Asked { wire: dialect_of(body), task: Task::Generate, model: None, delivery: None };
    let ask = match Ask::read(body, head, received.head(), &asked) {
        Ok(ask) => ask,
        Err(fault) => return exchange.refuse(down, &fault, false).await,
    };
    exchange.clock.mark(Lap::Parse, rt::now());
    let likeliest = likeliest(exchange, key, &ask, body);
    exchange.clock.mark(Lap::Plan, rt::now());
    match likeliest {
        Ok((plan, confidence)) => {
            let sorted = plan.category.clone().or_else(|| sort(&ask, body));
            let answer = preview(&plan, confidence, sorted).to_string();
            reply::json(down.output().vec_mut(), 200, exchange.stamp(), answer.as_bytes());
            exchange.finish(down).await
        }
        Err(fault) => exchange.refuse(down, &fault, false).await,
    }
}

/// Who may ask models, or administers those who may.
fn authenticate<'s>(
    exchange: &Exchange<'_>,
    snapshot: &'s Snapshot,
    head: &RequestHead,
    bytes: &[u8],
) -> Result<&'s AccessKey, Fault> {
    let key = exchange.authenticate_any(snapshot, head, bytes)?;
    if !key.scopes.has(Scope::Inference) && !key.scopes.has(Scope::Admin) {
        return Err(Fault::ScopeMissing { needs: Scope::Inference.name() });
    }
    check_endpoint(key, Endpoint::Chat)?;
    Ok(key)
}

/// The dialect by what only one of them has. A body without a conversation is a question about its model.
fn dialect_of(body: &[u8]) -> Wire {
    static NAMES: Names = Names::new(&["messages", "contents"]);
    let mut found = [None; 2];
    match scan::members(body, &NAMES, &mut found) {
        Ok(_) if found[1].is_some() => Wire::Gemini,
        Ok(_) if found[0].is_none() => Wire::Responses,
        _ => Wire::Chat,
    }
}

/// The plan whose first candidate comes most often, and the share of draws in which it came.
fn likeliest(exchange: &Exchange<'_>, key: &AccessKey, ask: &Ask, body: &[u8]) -> Result<(Plan, f64), Fault> {
    // Each draw reads the body again: a long one must not hold the core up.
    let draws = (limits::PREVIEW_BYTES_MAX / body.len().max(1)).clamp(1, limits::PREVIEW_DRAWS_MAX);
    let plans = (0..draws).map(|_| plan::plan(exchange.core, &exchange.snapshot, key, ask, body));
    let plans = plans.collect::<Result<Vec<Plan>, Fault>>()?;
    let times = |lane: Option<&LaneKey>| plans.iter().filter(|plan| first(plan) == lane).count();
    // One that was drawn to learn is no typical one.
    let best = plans
        .iter()
        .enumerate()
        .max_by_key(|(place, plan)| (times(first(plan)), !plan.exploration, std::cmp::Reverse(*place)));
    let (place, count) = best.map_or((0, 0), |(place, plan)| (place, times(first(plan))));
    let plan = plans.into_iter().nth(place).ok_or(Fault::AllUnavailable { tried: Vec::new() })?;
    Ok((plan, count as f64 / draws as f64))
}

fn first(plan: &Plan) -> Option<&LaneKey> {
    plan.candidates.first().map(|candidate| &candidate.lane)
}

/// What a request seems to be about that no rule has sorted.
fn sort(ask: &Ask, body: &[u8]) -> Option<Sorted> {
    let text = features::last_words(ask, body);
    let found = (!text.is_empty()).then(|| semantic::classify(&text))?;
    Some(Sorted { category: Arc::from(found.category.as_str()), confidence: found.confidence })
}

fn preview(plan: &Plan, confidence: f64, sorted: Option<Sorted>) -> Value {
    let Plan { policy, goal, need, exploration, considered, .. } = plan;
    let lane = first(plan);
    let (chosen, others): (Vec<_>, Vec<_>) = considered.iter().partition(|candidate| Some(&candidate.lane) == lane);
    let chosen = chosen.first();
    let others = others.iter().take(limits::DECISION_CANDIDATES_MAX);
    json!({
        "selected_provider": lane.map(|lane| lane.provider.as_str()),
        "selected_model": lane.map(|lane| &*lane.model),
        "reason": reason(*policy, *exploration, considered),
        "confidence": confidence,
        "policy": policy.as_str(),
        "optimization": goal.as_str(),
        "exploration": exploration,
        "score": chosen.map(|chosen| chosen.score),
        "estimated_cost_usd": chosen.and_then(|chosen| chosen.cost).map(Money::to_usd),
        "estimated_latency_ms": chosen.and_then(|chosen| chosen.latency_us).map(record::millis),
        "alternatives": others.map(|other| record::considered(other, View::Tenant)).collect::<Vec<_>>(),
        "semantic_classification": record::classification(sorted.as_ref()),
        "need": record::need(need),
    })
}
