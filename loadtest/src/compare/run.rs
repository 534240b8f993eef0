//! A saved result as comparing needs it: seconds, each with its sums and its histograms.

use super::metric::{Metric, Series};
use crate::measure::{Outcome, Second, Sparse, Stamp};
use crate::report::Report;
use serde_json::Value;

/// One second, or several folded into one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slice {
    /// How long it is.
    pub seconds: f64,
    /// Requests that ended in it.
    pub ended: u64,
    /// Of those, that ended `ok`.
    pub ok: u64,
    /// Of those, that held every objective.
    pub good: u64,
    /// Output tokens.
    pub tokens: u64,
    /// By [`Series::ALL`]: values in microseconds with their counts, in ascending order.
    pub histograms: [Vec<(f64, u64)>; 3],
}

/// One result.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// What it is called in the comparison: its file.
    pub name: String,
    /// Requests that were planned and count.
    pub planned: u64,
    /// Whether objectives were given: goodput means nothing without.
    pub has_objectives: bool,
    /// What counts, second by second; at least one.
    pub slices: Vec<Slice>,
    /// The plan that made it, as saved.
    pub plan: Value,
    /// Why its rig was not fit to measure; empty where it was.
    pub invalid: Vec<String>,
}

impl Run {
    /// A report as comparing needs it: the seconds that count.
    pub fn of(name: impl Into<String>, report: &Report) -> Self {
        let measured = &report.measured;
        let counts = measured.seconds.iter().filter(|second| !second.warm_up && second.sums.total() > 0);
        let invalid = match &report.stamp {
            Stamp::Invalid(reasons) => reasons.iter().map(ToString::to_string).collect(),
            Stamp::Valid | Stamp::Degraded(_) => Vec::new(),
        };
        Self {
            name: name.into(),
            planned: measured.planned,
            has_objectives: !report.plan.objectives.is_empty(),
            slices: counts.map(Slice::of).collect(),
            // What a plan cannot be written as, it cannot be compared by; its other members still tell.
            plan: serde_json::to_value(&report.plan).unwrap_or_default(),
            invalid,
        }
    }

    /// All slices as one.
    pub(super) fn whole(&self) -> Slice {
        pool(self.slices.iter())
    }

    /// A figure of the whole run; `None` where it was not measured.
    pub fn value(&self, metric: Metric) -> Option<f64> {
        if metric == Metric::Goodput && !self.has_objectives {
            return None;
        }
        let whole = self.whole();
        if metric == Metric::Goodput && self.planned > 0 {
            return Some(whole.good as f64 / self.planned.max(whole.ended) as f64 * 100.0);
        }
        whole.value(metric)
    }

    /// Values behind a metric: latencies, or requests.
    pub(super) fn count(&self, metric: Metric) -> u64 {
        let whole = |series: Series| {
            self.slices.iter().flat_map(|slice| &slice.histograms[series as usize]).map(|(_, count)| count).sum()
        };
        match metric {
            Metric::Quantile(_, series) | Metric::Mean(series) => whole(series),
            _ => self.slices.iter().map(|slice| slice.ended).sum(),
        }
    }
}

impl Slice {
    fn of(second: &Second) -> Self {
        Self {
            seconds: second.span as f64,
            // What a stopped run abandoned is no failure.
            ended: second.sums.total() - second.sums.ended(Outcome::Abandoned),
            ok: second.sums.ended(Outcome::Ok),
            good: second.sums.good,
            tokens: second.sums.output_tokens,
            histograms: [&second.ttft, &second.e2e, &second.gap].map(unpack),
        }
    }

    /// A figure of this slice alone; `None` where nothing is behind it.
    pub(super) fn value(&self, metric: Metric) -> Option<f64> {
        let share = |part: u64| (self.ended > 0).then(|| part as f64 / self.ended as f64 * 100.0);
        match metric {
            Metric::Quantile(q, series) => quantile(&self.histograms[series as usize], q),
            Metric::Mean(series) => {
                let (sum, count) = sums(&self.histograms[series as usize]);
                (count > 0).then(|| sum / count as f64)
            }
            Metric::ErrorRate => share(self.ended - self.ok),
            Metric::Goodput => share(self.good),
            Metric::Rate => (self.seconds > 0.0).then(|| self.ok as f64 / self.seconds),
            Metric::TokensPerSecond => {
                (self.seconds > 0.0 && self.tokens > 0).then(|| self.tokens as f64 / self.seconds)
            }
        }
    }
}

/// Values in microseconds with their counts.
fn unpack(sparse: &Sparse) -> Vec<(f64, u64)> {
    let whole = sparse.whole();
    whole.iter_recorded().map(|step| (step.value_iterated_to() as f64 / 1e3, step.count_at_value())).collect()
}

/// Several slices as one.
pub(super) fn pool<'a>(slices: impl Iterator<Item = &'a Slice>) -> Slice {
    let mut whole = Slice::default();
    for slice in slices {
        whole.seconds += slice.seconds;
        whole.ended += slice.ended;
        whole.ok += slice.ok;
        whole.good += slice.good;
        whole.tokens += slice.tokens;
        for (all, part) in whole.histograms.iter_mut().zip(&slice.histograms) {
            all.extend_from_slice(part);
        }
    }
    for all in &mut whole.histograms {
        all.sort_by(|first, second| first.0.total_cmp(&second.0));
        all.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            kept.1 += if same { next.1 } else { 0 };
            same
        });
    }
    whole
}

/// Sum and count of a histogram.
pub(super) fn sums(histogram: &[(f64, u64)]) -> (f64, u64) {
    histogram.iter().fold((0.0, 0), |(sum, count), (value, times)| (sum + value * *times as f64, count + times))
}

/// The value at a rank of a histogram in ascending order.
fn quantile(histogram: &[(f64, u64)], q: f64) -> Option<f64> {
    let count: u64 = histogram.iter().map(|(_, times)| times).sum();
    let rank = ((q * count as f64).ceil() as u64).max(1);
    let mut reached = 0;
    let found = histogram.iter().find(|(_, times)| {
        reached += times;
        reached >= rank
    });
    found.map(|(value, _)| *value)
}
