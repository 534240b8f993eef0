//! Figures since start, from closed attempts: by provider and model, in memory, bounded.
//!
//! Latency goes into histograms of two significant digits; a model that is not in a list of ours is counted as `other`, so that no
//! client can make series (rule R5).

use super::score_pages::rounded;
use crate::domain::clock::UnixMillis;
use crate::domain::money::Money;
use crate::domain::token::{Usage, UsageSource};
use crate::limits::telemetry::TENANT_SERIES_MAX;
use crate::limits::{STATS_SERIES_MAX, UNPRICED_NAMED_MAX};
use crate::report::{AttemptReport, Outcome};
use crate::routing::score::Beta;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Every outcome, in the order of [`Series::outcomes`].
pub(super) const OUTCOMES: [Outcome; 8] = [
    Outcome::Completed,
    Outcome::Refused,
    Outcome::Unreachable,
    Outcome::TimedOut,
    Outcome::Broken,
    Outcome::ClientGone,
    Outcome::Superseded,
    Outcome::Interrupted,
];

/// Each stands at its own number, by which it is counted.
const _: () = {
    let mut place = 0;
    while place < OUTCOMES.len() {
        assert!(OUTCOMES[place] as usize == place);
        place += 1;
    }
};

/// The model of what is not counted apart.
pub(super) const OTHER: &str = "other";

/// All figures.
#[derive(Default)]
pub(super) struct Stats {
    /// By provider, by model.
    series: BTreeMap<String, BTreeMap<String, Series>>,
    /// How many there are.
    kept: usize,
    last_errors: BTreeMap<String, LastError>,
    /// Attempts whose tokens have no known price, by provider.
    unpriced: BTreeMap<String, u64>,
    /// Attempts whose tokens are an estimate, by provider.
    estimated: BTreeMap<String, u64>,
    /// Figures by tenant, where the owner wants metrics of them.
    tenants: BTreeMap<String, TenantFigures>,
    /// Pairs of provider and model that an event has named for that.
    unpriced_named: BTreeSet<(String, String)>,
}

/// The figures of one tenant.
#[derive(Clone, Debug, Default)]
pub(super) struct TenantFigures {
    /// Attempts.
    pub(super) attempts: u64,
    /// Tokens in.
    pub(super) input_tokens: u64,
    /// Tokens out.
    pub(super) output_tokens: u64,
    /// Money.
    pub(super) cost: Money,
}

/// The figures of one model at one provider.
#[derive(Clone, Debug)]
pub(super) struct Series {
    /// Attempts by outcome.
    pub(super) outcomes: [u64; OUTCOMES.len()],
    /// Attempts that failed and were followed by another.
    pub(super) failovers: u64,
    /// Tokens.
    pub(super) usage: Usage,
    /// Money.
    pub(super) cost: Money,
    /// Tokens in and out of each answered attempt.
    pub(super) sizes: [Histogram<u64>; 2],
    /// Attempts that an honest provider would have answered.
    failures: u64,
    /// Whole attempts that were answered, finely, in microseconds.
    latency: Histogram<u64>,
}

struct LastError {
    at: UnixMillis,
    outcome: Outcome,
    status: u16,
}

/// Tokens in and out of each answered attempt, by provider and model.
pub(super) type Sizes = Vec<(String, String, [Histogram<u64>; 2])>;

// === impl Stats ===

impl Stats {
    /// Counts a closed attempt; `is_listed` tells whether its model is in a list of ours.
    pub(super) fn count(&mut self, report: &AttemptReport, is_listed: bool) {
        let provider = report.provider.as_str();
        let model = if is_listed { &*report.model } else { OTHER };
        match self.series.get_mut(provider).and_then(|models| models.get_mut(model)) {
            Some(series) => series.count(report),
            None => self.another(provider, model).count(report),
        }
        if report.usage_source == UsageSource::Estimated {
            *self.estimated.entry(provider.to_owned()).or_default() += 1;
        }
        if is_failure(report) {
            let error = LastError { at: report.started, outcome: report.outcome, status: report.status };
            self.last_errors.insert(provider.to_owned(), error);
        }
    }

    /// The figures of a model that has none yet, within bounds.
    fn another(&mut self, provider: &str, model: &str) -> &mut Series {
        let model = if self.kept >= STATS_SERIES_MAX { OTHER } else { model };
        let models = self.series.entry(provider.to_owned()).or_default();
        self.kept += usize::from(!models.contains_key(model));
        models.entry(model.to_owned()).or_insert_with(Series::new)
    }

    /// Counts a closed attempt for its tenant, within bounds.
    pub(super) fn count_tenant(&mut self, report: &AttemptReport) {
        let has_room = self.tenants.len() < TENANT_SERIES_MAX || self.tenants.contains_key(report.tenant.as_str());
        let name = if has_room { report.tenant.as_str() } else { OTHER };
        let figures = self.tenants.entry(name.to_owned()).or_default();
        figures.attempts += 1;
        figures.input_tokens = figures.input_tokens.saturating_add(report.usage.input);
        figures.output_tokens = figures.output_tokens.saturating_add(report.usage.output);
        figures.cost += report.cost.unwrap_or_default();
    }

    /// Tokens of answered attempts, to be looked at without the control plane.
    pub(super) fn sizes(&self) -> Sizes {
        let series = self.series();
        series.map(|(provider, model, series)| (provider.to_owned(), model.to_owned(), series.sizes.clone())).collect()
    }

    /// Figures by tenant.
    pub(super) fn tenants(&self) -> impl Iterator<Item = (&str, &TenantFigures)> {
        self.tenants.iter().map(|(name, figures)| (name.as_str(), figures))
    }

    /// Attempts whose tokens are an estimate, by provider.
    pub(super) fn estimated(&self) -> impl Iterator<Item = (&str, u64)> {
        self.estimated.iter().map(|(provider, count)| (provider.as_str(), *count))
    }

    /// Counts an attempt that used tokens of which nobody knows the price; answers whether its model is to be named, once and within
    /// bounds.
    pub(super) fn count_unpriced(&mut self, report: &AttemptReport) -> bool {
        if report.cost.is_some() || report.usage.input == 0 && report.usage.output == 0 {
            return false;
        }
        let provider = report.provider.as_str();
        let count = self.unpriced.entry(provider.to_owned()).or_default();
        *count = count.saturating_add(1);
        self.unpriced_named.len() < UNPRICED_NAMED_MAX
            && self.unpriced_named.insert((provider.to_owned(), report.model.to_string()))
    }

    /// Attempts whose tokens have no known price, by provider.
    pub(super) fn unpriced(&self) -> impl Iterator<Item = (&str, u64)> {
        self.unpriced.iter().map(|(provider, count)| (provider.as_str(), *count))
    }

    /// Every series with its provider and model.
    pub(super) fn series(&self) -> impl Iterator<Item = (&str, &str, &Series)> {
        self.series.iter().flat_map(|(provider, models)| {
            models.iter().map(move |(model, series)| (provider.as_str(), model.as_str(), series))
        })
    }

    /// A provider over all its models. A provider that was never asked has zeros. Its posterior and its breaker are what routing goes by.
    pub(super) fn provider(&self, name: &str, posterior: &Beta, breaker: &str) -> Value {
        let mut sum = Series::new();
        for (_, _, series) in self.series().filter(|(provider, ..)| *provider == name) {
            sum.add(series);
        }
        let (attempts, failures) = (sum.attempts(), sum.failures);
        let error_rate = if attempts == 0 { 0.0 } else { failures as f64 / attempts as f64 };
        let last_error = self.last_errors.get(name).map(
            |error| json!({ "at": error.at.to_rfc3339(), "outcome": error.outcome.name(), "status": error.status }),
        );
        json!({
            "name": name,
            "requests": attempts,
            "latency_ms_mean": milliseconds(sum.latency.mean()),
            "latency_ms_p50": milliseconds(sum.latency.value_at_quantile(0.50) as f64),
            "latency_ms_p95": milliseconds(sum.latency.value_at_quantile(0.95) as f64),
            "latency_ms_p99": milliseconds(sum.latency.value_at_quantile(0.99) as f64),
            "error_rate": error_rate,
            "input_tokens": sum.usage.input,
            "output_tokens": sum.usage.output,
            "cost_usd": sum.cost.to_usd(),
            // Of the beta distributions that Thompson sampling draws from: faded rewards and what was missing to them, each from 1.
            "alpha": rounded(posterior.alpha, 2),
            "beta": rounded(posterior.beta, 2),
            "circuit_breaker_state": breaker,
            "last_error": last_error,
        })
    }
}

// === impl Series ===

impl Series {
    fn new() -> Self {
        Self {
            outcomes: [0; OUTCOMES.len()],
            failovers: 0,
            usage: Usage::default(),
            cost: Money::ZERO,
            sizes: [empty(), empty()],
            failures: 0,
            latency: empty(),
        }
    }

    /// Every attempt.
    pub(super) fn attempts(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    fn count(&mut self, report: &AttemptReport) {
        if let Some(count) = self.outcomes.get_mut(report.outcome as usize) {
            *count += 1;
        }
        self.failures += u64::from(is_failure(report));
        self.failovers += u64::from(!report.last && is_failed(report.outcome));
        self.usage = self.usage.plus(&report.usage);
        self.cost += report.cost.unwrap_or_default();
        if report.outcome == Outcome::Completed {
            // They grow as needed; what 32 bits of microseconds hold always fits, and no answer has that many tokens.
            let _ = self.latency.record(u64::from(report.total_us).max(1));
            if report.usage_source == UsageSource::Provider {
                for (sizes, tokens) in self.sizes.iter_mut().zip([report.usage.input, report.usage.output]) {
                    let _ = sizes.record(tokens.min(u64::from(u32::MAX)));
                }
            }
        }
    }

    fn add(&mut self, other: &Series) {
        self.outcomes.iter_mut().zip(other.outcomes).for_each(|(sum, count)| *sum += count);
        self.usage = self.usage.plus(&other.usage);
        self.cost += other.cost;
        self.failures += other.failures;
        self.latency.add(&other.latency).expect("a histogram that resizes takes any value");
    }
}

fn empty() -> Histogram<u64> {
    Histogram::new(2).expect("two significant digits are allowed")
}

/// Whether an attempt ended in a failure of whatever kind.
fn is_failed(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Refused | Outcome::Unreachable | Outcome::TimedOut | Outcome::Broken)
}

/// Whether the provider failed. A client that left, or asked for what cannot be, says nothing about it.
pub(super) fn is_failure(report: &AttemptReport) -> bool {
    match report.outcome {
        Outcome::Completed | Outcome::ClientGone | Outcome::Superseded | Outcome::Interrupted => false,
        Outcome::Refused => !matches!(report.status, 400 | 404 | 413 | 415 | 422),
        Outcome::Unreachable | Outcome::TimedOut | Outcome::Broken => true,
    }
}

fn milliseconds(micros: f64) -> f64 {
    (micros / 10.0).round() / 100.0
}
