//! Figures since start, from closed attempts: by provider and model, in memory, bounded.
//!
//! Latency goes into histograms of two significant digits; a model that is not in a list of ours is counted as `other`, so that no
//! client can make series (rule R5).

use super::score_pages::rounded;
use crate::domain::clock::UnixMillis;
use crate::domain::money::Money;
use crate::limits::{STATS_SERIES_MAX, UNPRICED_NAMED_MAX};
use crate::report::{AttemptReport, Outcome};
use crate::routing::score::Beta;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Upper ends of the latency buckets, seconds: a cached short answer to a long reasoning one.
pub(super) const BUCKETS_SECONDS: [f64; 14] =
    [0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0];

/// Every outcome, in the order of [`Series::outcomes`].
pub(super) const OUTCOMES: [Outcome; 7] = [
    Outcome::Completed,
    Outcome::Refused,
    Outcome::Unreachable,
    Outcome::TimedOut,
    Outcome::Broken,
    Outcome::ClientGone,
    Outcome::Superseded,
];

/// The model of what is not counted apart.
pub(super) const OTHER: &str = "other";

/// All figures.
#[derive(Default)]
pub(super) struct Stats {
    series: BTreeMap<(String, String), Series>,
    last_errors: BTreeMap<String, LastError>,
    /// Attempts whose tokens have no known price, by provider.
    unpriced: BTreeMap<String, u64>,
    /// Pairs of provider and model that an event has named for that.
    unpriced_named: BTreeSet<(String, String)>,
}

/// The figures of one model at one provider.
#[derive(Clone, Debug)]
pub(super) struct Series {
    /// Attempts by outcome.
    pub(super) outcomes: [u64; OUTCOMES.len()],
    /// Tokens in.
    pub(super) input_tokens: u64,
    /// Tokens out.
    pub(super) output_tokens: u64,
    /// Money.
    pub(super) cost: Money,
    /// Whole attempts that were answered, by bucket; the last one is beyond all.
    pub(super) buckets: [u64; BUCKETS_SECONDS.len() + 1],
    /// Sum of these, microseconds.
    pub(super) total_us: u64,
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

// === impl Stats ===

impl Stats {
    /// Counts a closed attempt; `is_listed` tells whether its model is in a list of ours.
    pub(super) fn count(&mut self, report: &AttemptReport, is_listed: bool) {
        let provider = report.provider.as_str();
        let model = if is_listed { &*report.model } else { OTHER };
        let mut key = (provider.to_owned(), model.to_owned());
        if self.series.len() >= STATS_SERIES_MAX && !self.series.contains_key(&key) {
            key.1 = OTHER.to_owned();
        }
        self.series.entry(key).or_insert_with(Series::new).count(report);
        if is_failure(report) {
            let error = LastError { at: report.started, outcome: report.outcome, status: report.status };
            self.last_errors.insert(provider.to_owned(), error);
        }
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
        self.series.iter().map(|((provider, model), series)| (provider.as_str(), model.as_str(), series))
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
            "input_tokens": sum.input_tokens,
            "output_tokens": sum.output_tokens,
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
            input_tokens: 0,
            output_tokens: 0,
            cost: Money::ZERO,
            buckets: [0; BUCKETS_SECONDS.len() + 1],
            total_us: 0,
            failures: 0,
            latency: Histogram::new(2).expect("two significant digits are allowed"),
        }
    }

    /// Every attempt.
    pub(super) fn attempts(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    fn count(&mut self, report: &AttemptReport) {
        for (outcome, count) in OUTCOMES.iter().zip(&mut self.outcomes) {
            *count += u64::from(*outcome == report.outcome);
        }
        self.failures += u64::from(is_failure(report));
        self.input_tokens = self.input_tokens.saturating_add(report.usage.input);
        self.output_tokens = self.output_tokens.saturating_add(report.usage.output);
        self.cost += report.cost.unwrap_or_default();
        if report.outcome == Outcome::Completed {
            let total_us = u64::from(report.total_us);
            let seconds = total_us as f64 / 1e6;
            let bucket = BUCKETS_SECONDS.iter().position(|end| seconds <= *end).unwrap_or(BUCKETS_SECONDS.len());
            self.buckets[bucket] += 1;
            self.total_us += total_us;
            // It grows as needed; what 32 bits of microseconds hold always fits.
            let _ = self.latency.record(total_us.max(1));
        }
    }

    fn add(&mut self, other: &Series) {
        let pairs = self.outcomes.iter_mut().zip(other.outcomes);
        pairs.chain(self.buckets.iter_mut().zip(other.buckets)).for_each(|(sum, count)| *sum += count);
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.cost += other.cost;
        self.total_us += other.total_us;
        self.failures += other.failures;
        self.latency.add(&other.latency).expect("a histogram that resizes takes any value");
    }
}

/// Whether the provider failed. A client that left, or asked for what cannot be, says nothing about it.
fn is_failure(report: &AttemptReport) -> bool {
    match report.outcome {
        Outcome::Completed | Outcome::ClientGone | Outcome::Superseded => false,
        Outcome::Refused => !matches!(report.status, 400 | 404 | 413 | 415 | 422),
        Outcome::Unreachable | Outcome::TimedOut | Outcome::Broken => true,
    }
}

fn milliseconds(micros: f64) -> f64 {
    (micros / 10.0).round() / 100.0
}
