//! The last hour in steps of a few seconds, for pages that have just been opened: requests, failures, money, our own time, and each
//! provider's latency and score.
//!
//! In memory and bounded; a new process begins anew. Figures of the books are elsewhere: this is for looking.

use super::Control;
use super::score_pages::rounded;
use super::stats::is_failure;
use crate::domain::clock::UnixMillis;
use crate::domain::money::Money;
use crate::limits::dashboard::{SERIES_POINTS, SERIES_PROVIDERS_MAX, SERIES_STEP};
use crate::report::{AttemptReport, CoreGauges, Outcome};
use crate::routing::decision::{Decision, Phases};
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The points, and the step under way.
#[derive(Default)]
pub(super) struct Series {
    points: VecDeque<Point>,
    /// Points made since start.
    made: u64,
    began: Option<Instant>,
    step: Step,
    /// Counters at the end of the last step.
    before: Totals,
}

/// Counters since start.
#[derive(Clone, Copy, Default)]
struct Totals {
    requests: u64,
    refused: u64,
}

/// What happened in one step.
struct Step {
    failed: u64,
    cost: Money,
    added: Histogram<u64>,
    providers: BTreeMap<String, Tally>,
}

/// A provider's part of a step.
struct Tally {
    attempts: u64,
    failed: u64,
    latency: Histogram<u64>,
}

/// A step that is over. Microseconds; `None` where nothing happened.
struct Point {
    at: UnixMillis,
    requests: u64,
    refused: u64,
    failed: u64,
    cost: Money,
    added_p50: Option<u64>,
    added_p99: Option<u64>,
    exchanges: u64,
    streams: u64,
    connections: u64,
    providers: BTreeMap<String, Lane>,
}

/// A provider's part of a step that is over.
#[derive(Clone, Copy, Default)]
struct Lane {
    attempts: u64,
    failed: u64,
    p50: Option<u64>,
    p99: Option<u64>,
    score: Option<f64>,
}

/// What a step takes from outside when it ends.
struct Ends {
    totals: Totals,
    exchanges: u64,
    streams: u64,
    connections: u64,
    scores: BTreeMap<String, f64>,
}

// === impl Step ===

impl Default for Step {
    fn default() -> Self {
        Self { failed: 0, cost: Money::ZERO, added: histogram(), providers: BTreeMap::new() }
    }
}

/// Three digits cost memory that a curve does not show.
fn histogram() -> Histogram<u64> {
    Histogram::new(2).expect("two significant digits are allowed")
}

fn quantile(histogram: &Histogram<u64>, share: f64) -> Option<u64> {
    (!histogram.is_empty()).then(|| histogram.value_at_quantile(share))
}

// === impl Series ===

impl Series {
    /// Takes in an attempt.
    pub(super) fn count(&mut self, report: &AttemptReport) {
        let failed = is_failure(report);
        self.step.failed += u64::from(failed);
        self.step.cost += report.cost.unwrap_or_default();
        let name = report.provider.as_str();
        if !self.step.providers.contains_key(name) {
            if self.step.providers.len() >= SERIES_PROVIDERS_MAX {
                return;
            }
            self.step.providers.insert(name.to_owned(), Tally { attempts: 0, failed: 0, latency: histogram() });
        }
        let Some(tally) = self.step.providers.get_mut(name) else { return };
        tally.attempts += 1;
        tally.failed += u64::from(failed);
        if report.outcome == Outcome::Completed {
            // It grows as needed; what 32 bits of microseconds hold always fits.
            let _ = tally.latency.record(u64::from(report.total_us).max(1));
        }
    }

    /// Takes in where our own time went: what the client's time is not in.
    pub(super) fn weigh(&mut self, decision: &Decision) {
        let Phases { queue_us, auth_us, parse_us, plan_us, translate_us, .. } = decision.phases;
        let own = [queue_us, auth_us, parse_us, plan_us, translate_us].into_iter().map(u64::from).sum::<u64>();
        let _ = self.step.added.record(own.max(1));
    }

    /// Whether the step under way is over by `now`. The first look begins it.
    fn is_due(&mut self, now: Instant) -> bool {
        let began = *self.began.get_or_insert(now);
        now.saturating_duration_since(began) >= SERIES_STEP
    }

    /// Ends the step.
    fn end(&mut self, at: UnixMillis, now: Instant, ends: Ends) {
        let step = std::mem::take(&mut self.step);
        let mut providers: BTreeMap<String, Lane> = BTreeMap::new();
        for (name, tally) in step.providers {
            let (p50, p99) = (quantile(&tally.latency, 0.50), quantile(&tally.latency, 0.99));
            providers.insert(name, Lane { attempts: tally.attempts, failed: tally.failed, p50, p99, score: None });
        }
        for (name, score) in ends.scores.into_iter().take(SERIES_PROVIDERS_MAX) {
            providers.entry(name).or_default().score = Some(score);
        }
        self.points.push_back(Point {
            at,
            requests: ends.totals.requests.saturating_sub(self.before.requests),
            refused: ends.totals.refused.saturating_sub(self.before.refused),
            failed: step.failed,
            cost: step.cost,
            added_p50: quantile(&step.added, 0.50),
            added_p99: quantile(&step.added, 0.99),
            exchanges: ends.exchanges,
            streams: ends.streams,
            connections: ends.connections,
            providers,
        });
        if self.points.len() > SERIES_POINTS {
            self.points.pop_front();
        }
        (self.made, self.began, self.before) = (self.made + 1, Some(now), ends.totals);
    }

    /// In columns, from the point after `after` on; points count from 1 since start.
    fn page(&self, after: u64) -> Value {
        let first = self.made - self.points.len() as u64 + 1;
        let skipped = (after + 1).saturating_sub(first).min(self.points.len() as u64) as usize;
        let points: Vec<&Point> = self.points.iter().skip(skipped).collect();
        let column = |read: &dyn Fn(&Point) -> Value| points.iter().map(|point| read(point)).collect::<Vec<Value>>();
        let names: BTreeSet<&String> = points.iter().flat_map(|point| point.providers.keys()).collect();
        let providers: Map<String, Value> = names.into_iter().map(|name| (name.clone(), lane(&points, name))).collect();
        json!({
            "step_seconds": SERIES_STEP.as_secs(),
            "last": self.made,
            "at": column(&|point| json!(point.at.0 / 1_000)),
            "requests": column(&|point| json!(point.requests)),
            "refused": column(&|point| json!(point.refused)),
            "failed": column(&|point| json!(point.failed)),
            "cost_usd": column(&|point| json!(point.cost.to_usd())),
            "added_us_p50": column(&|point| json!(point.added_p50)),
            "added_us_p99": column(&|point| json!(point.added_p99)),
            "exchanges": column(&|point| json!(point.exchanges)),
            "streams": column(&|point| json!(point.streams)),
            "connections": column(&|point| json!(point.connections)),
            "providers": providers,
        })
    }
}

fn lane(points: &[&Point], name: &str) -> Value {
    let column = |read: &dyn Fn(&Lane) -> Value| {
        let of = |point: &&Point| point.providers.get(name).map_or(Value::Null, read);
        points.iter().map(of).collect::<Vec<Value>>()
    };
    let millis = |micros: Option<u64>| json!(micros.map(|micros| rounded(micros as f64 / 1_000.0, 2)));
    json!({
        "attempts": column(&|lane| json!(lane.attempts)),
        "failed": column(&|lane| json!(lane.failed)),
        "latency_ms_p50": column(&|lane| millis(lane.p50)),
        "latency_ms_p99": column(&|lane| millis(lane.p99)),
        "score": column(&|lane| json!(lane.score)),
    })
}

impl Control {
    /// The last hour, from the point after `after` on: columns of equal length.
    pub fn series(&mut self, after: u64) -> Value {
        self.series.page(after)
    }

    /// Ends a step when it is over.
    pub(super) fn keep_series(&mut self, at: UnixMillis, now: Instant) {
        if !self.series.is_due(now) {
            return;
        }
        let sum = |read: fn(&CoreGauges) -> &AtomicU64| {
            self.reports.iter().map(|core| read(&core.gauges).load(Ordering::Relaxed)).sum()
        };
        let totals = Totals { requests: sum(|gauges| &gauges.exchanges_begun), refused: sum(|gauges| &gauges.refused) };
        let ends = Ends {
            totals,
            exchanges: sum(|gauges| &gauges.exchanges),
            streams: sum(|gauges| &gauges.streams),
            connections: sum(|gauges| &gauges.connections),
            scores: self.mean_scores(),
        };
        self.series.end(at, now, ends);
    }

    /// The expected reward of each configured provider, as routing goes by it.
    fn mean_scores(&self) -> BTreeMap<String, f64> {
        let score = |provider: &super::providers::Configured| {
            let id = &provider.config.id;
            let (posterior, _) = self.provider_posterior(id);
            (id.as_str().to_owned(), rounded(posterior.alpha / (posterior.alpha + posterior.beta), 4))
        };
        self.configured.iter().take(SERIES_PROVIDERS_MAX).map(score).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::record;

    fn ends(requests: u64) -> Ends {
        let totals = Totals { requests, refused: 0 };
        let scores = BTreeMap::from([("openai".to_owned(), 0.75)]);
        Ends { totals, exchanges: 1, streams: 0, connections: 2, scores }
    }

    #[test]
    fn a_step_is_a_difference_and_the_oldest_is_forgotten() {
        let (mut series, start) = (Series::default(), Instant::now());
        assert!(!series.is_due(start) && series.is_due(start + SERIES_STEP));
        series.weigh(&record::tests::sample());
        let points = SERIES_POINTS as u64 + 3;
        for point in 1..=points {
            series.end(UnixMillis(point * 5_000), start, ends(2 * point));
        }
        let page = series.page(0);
        assert_eq!(page["at"].as_array().map(Vec::len), Some(SERIES_POINTS));
        assert_eq!((&page["requests"][0], &page["at"][0], &page["last"]), (&json!(2), &json!(20), &json!(points)));
        assert_eq!(page["providers"]["openai"]["score"][1], json!(0.75));
        assert_eq!(page["providers"]["openai"]["latency_ms_p50"][1], Value::Null);
        let rest = series.page(points - 1);
        assert_eq!((rest["at"].as_array().map(Vec::len), &rest["at"][0]), (Some(1), &json!(points * 5)));
        for nothing in [points, points + 7] {
            assert_eq!(series.page(nothing)["at"], json!([]), "{nothing}");
        }
    }

    #[test]
    fn our_own_time_is_without_the_clients() {
        let (mut series, now) = (Series::default(), Instant::now());
        let decision = record::tests::sample();
        let phases = Phases {
            queue_us: 10,
            auth_us: 20,
            read_us: 9_000,
            parse_us: 5,
            plan_us: 5,
            translate_us: 10,
            flush_us: 9_000,
        };
        series.weigh(&Decision { phases, ..decision });
        series.end(UnixMillis(0), now, ends(1));
        assert_eq!(series.page(0)["added_us_p50"], json!([50]));
    }
}
