//! Scores for people and their tools: every lane with its figures, histograms to work on.
//!
//! Names and figures only. The pages of the operator name a model that is in no list of ours; in metrics it is `other` (rule R5).

use super::Control;
use super::scores::shared;
use crate::board::{Halts, Scope};
use crate::domain::id::ProviderId;
use crate::routing::lane::LaneKey;
use crate::routing::observed::Lap;
use crate::routing::score::{Beta, Quantiles, Score, ScoreTable};
use crate::routing::standing::Why;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// What the page of scores is made of, taken at one moment so that it can be written without the control plane's lock.
pub struct ScoreSheet {
    table: Arc<ScoreTable>,
    halts: Arc<Halts>,
    unscored: u64,
}

/// Picodollars a unit of work into dollars a million of them.
const USD_PER_MILLION: f64 = 1e-6;

impl Control {
    /// The scores that are published, and who is halted.
    pub fn score_sheet(&self) -> ScoreSheet {
        ScoreSheet { table: self.published.load().scores.clone(), halts: self.board.halts(), unscored: self.unscored() }
    }

    /// Attempts on lanes for which a core or the control plane had no room, since start.
    pub(super) fn unscored(&self) -> u64 {
        let cores = self.reports.iter().map(|core| core.gauges.unobserved.load(Ordering::Relaxed));
        shared(&self.scores).unscored().saturating_add(cores.sum())
    }

    /// Histograms since start of a model at a provider (its name or an alias), or of `other`: all its models that are not kept apart.
    /// `None` while none of it was answered.
    pub fn histograms(&self, provider: &str, model: &str) -> Option<Value> {
        let name = self.configured_named(provider).map_or(provider, |provider| provider.config.id.as_str());
        let scores = shared(&self.scores);
        let laps = Lap::ALL.iter().zip(scores.laps(name, model)?);
        let phases: Map<String, Value> =
            laps.map(|(lap, histogram)| (lap.as_str().to_owned(), histogram_page(histogram))).collect();
        Some(json!({
            "provider": name,
            "model": model,
            "unit": "us",
            "encoding": "HdrHistogram V2, deflated, base64",
            "phases": phases,
        }))
    }

    /// Successes and failures of a provider over all its lanes, as Thompson sampling counts them, and the state of its breaker.
    pub(super) fn provider_posterior(&self, provider: &ProviderId) -> (Beta, &'static str) {
        let table = self.published.load().scores.clone();
        let mut sum = Beta::default();
        for (_, score) in table.lanes.iter().filter(|(lane, _)| lane.provider == *provider) {
            summed(&mut sum, &score.posterior);
        }
        (sum, breaker_state(&self.board.halts(), &table, provider, Instant::now()))
    }
}

fn histogram_page(histogram: &Histogram<u64>) -> Value {
    let mut bytes = Vec::new();
    let written = V2DeflateSerializer::new().serialize(histogram, &mut bytes);
    written.expect("memory takes every byte, and 32 bits of microseconds fit the format");
    let at = |share: f64| if histogram.is_empty() { Value::Null } else { json!(histogram.value_at_quantile(share)) };
    json!({
        "count": histogram.len(),
        "p50": at(0.50),
        "p90": at(0.90),
        "p99": at(0.99),
        "p999": at(0.999),
        "max": at(1.0),
        "hdr": STANDARD.encode(bytes),
    })
}

// === impl ScoreSheet ===

impl ScoreSheet {
    /// `{"object":"list","data":[…],"unscored":0}`, by provider, model and credential.
    pub fn page(&self, now: Instant) -> Value {
        let mut lanes: Vec<(&LaneKey, &Arc<Score>)> = self.table.lanes.iter().collect();
        lanes.sort_unstable_by_key(|(lane, _)| *lane);
        let rows: Vec<Value> = lanes.into_iter().map(|(lane, score)| self.row(lane, score, now)).collect();
        json!({ "object": "list", "data": rows, "unscored": self.unscored })
    }

    fn row(&self, lane: &LaneKey, score: &Score, now: Instant) -> Value {
        let Beta { alpha, beta } = score.posterior;
        json!({
            "provider": lane.provider.as_str(),
            "model": &*lane.model,
            "credential": lane.credential.map(|credential| credential.to_string()),
            "samples": rounded(score.samples, 1),
            "prior": score.is_prior,
            "score": rounded(mean(&score.posterior), 4),
            "alpha": rounded(alpha, 2),
            "beta": rounded(beta, 2),
            "tenants": score.by_tenant.len(),
            "error_rate": rounded(score.error_rate, 4),
            "limited_rate": rounded(score.limited_rate, 4),
            "cache_hit_rate": score.cache_hit_rate.map(|rate| rounded(rate, 4)),
            "output_tokens": score.output_tokens.map(|tokens| rounded(tokens, 1)),
            "work_usd_per_mtok": score.work_cost.map(|pico| rounded(pico * USD_PER_MILLION, 6)),
            "connect_ms": quantiles(score.connect_us.as_ref()),
            "first_byte_ms": quantiles(score.first_byte_us.as_ref()),
            "first_token_ms": quantiles(score.first_token_us.as_ref()),
            "inter_token_ms": quantiles(score.inter_token_us.as_ref()),
            "total_ms": quantiles(score.total_us.as_ref()),
            "halted": self.halted(lane, now),
        })
    }

    /// Why a lane is not asked, if it is not, and for how long.
    fn halted(&self, lane: &LaneKey, now: Instant) -> Value {
        let credential = lane.credential.map(Scope::Credential);
        let scopes = [Some(Scope::Provider(lane.provider.clone())), credential, Some(Scope::Lane(lane.clone()))];
        let halted = scopes.iter().flatten().filter_map(|scope| Some((scope, self.halts.get(scope)?)));
        let last = halted.filter(|(_, halt)| now < halt.until).max_by_key(|(_, halt)| halt.until);
        last.map_or(Value::Null, |(scope, halt)| {
            let scope = match scope {
                Scope::Provider(_) => "provider",
                Scope::Credential(_) => "credential",
                Scope::Lane(_) => "lane",
            };
            let left = halt.until.saturating_duration_since(now).as_secs_f64();
            json!({ "why": halt.why.as_str(), "scope": scope, "seconds_left": rounded(left, 1) })
        })
    }
}

/// `{"p10":…,…,"p99":…}` in milliseconds.
fn quantiles(known: Option<&Quantiles>) -> Value {
    let Some(known) = known else { return Value::Null };
    let points = Quantiles::POINTS.iter().zip(known.at);
    points
        .map(|(share, micros)| (format!("p{:.0}", share * 100.0), json!(rounded(f64::from(micros) / 1_000.0, 2))))
        .collect::<Map<String, Value>>()
        .into()
}

// ---- Breakers --------- ------------------------------------------------------------------------------------------------------

/// `open` while the provider, or every lane of it that is scored, is halted by a breaker or by its owner; `half_open` once that has run
/// out and nobody has found out yet whether it lives.
pub(super) fn breaker_state(halts: &Halts, table: &ScoreTable, provider: &ProviderId, now: Instant) -> &'static str {
    let tripped = |scope: &Scope| halts.get(scope).filter(|halt| matches!(halt.why, Why::Breaker | Why::Forced));
    if let Some(halt) = tripped(&Scope::Provider(provider.clone())) {
        return if now < halt.until { "open" } else { "half_open" };
    }
    let lanes = || table.lanes.keys().filter(|lane| lane.provider == *provider);
    let states = || lanes().map(|lane| tripped(&Scope::Lane(lane.clone())));
    if lanes().next().is_none() || states().any(|state| state.is_none()) {
        return "closed";
    }
    if states().flatten().all(|halt| now < halt.until) { "open" } else { "half_open" }
}

/// Adds what a posterior has beyond the prior that each of them starts with.
pub(super) fn summed(sum: &mut Beta, more: &Beta) {
    let prior = Beta::default();
    sum.alpha += more.alpha - prior.alpha;
    sum.beta += more.beta - prior.beta;
}

pub(super) fn mean(posterior: &Beta) -> f64 {
    posterior.alpha / (posterior.alpha + posterior.beta)
}

pub(super) fn rounded(value: f64, digits: i32) -> f64 {
    let factor = 10_f64.powi(digits);
    (value * factor).round() / factor
}
