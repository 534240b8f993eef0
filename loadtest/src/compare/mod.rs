//! Is one result better than another, worse, the same, or can nobody tell?
//!
//! ```text
//! run         a saved result as seconds with histograms        metric    p99(ttft), error_rate, … and which way is worse
//! comparable  what two plans differ in                         effect    the difference with its interval
//! verdict     what the interval means, over all metrics        text      the result for people
//! ```
//!
//! One run a side: seconds of the run are drawn in blocks, which shows what varies within a run and nothing of what varies
//! between runs. Several runs a side: the runs are the unit. How each word is meant stands in `docs/load-compare.md`.

mod comparable;
mod effect;
mod metric;
mod run;
mod text;
mod verdict;

pub use comparable::{differences, invalid};
pub use effect::Effect;
pub use metric::{Metric, Series};
pub use run::{Run, Slice};
pub use verdict::{Comparison, Line, Tolerance, Word};

use crate::stats::holm;

/// Compares results `b` with results `a` by each metric.
pub fn compare(a: &[Run], b: &[Run], metrics: &[Metric], tolerance: Tolerance, seed: u64) -> Comparison {
    let effects: Vec<Result<Effect, String>> =
        metrics.iter().map(|metric| effect::between(a, b, *metric, seed)).collect();
    let p_values: Vec<f64> = effects.iter().flatten().map(|effect| effect.p).collect();
    let mut adjusted = holm(&p_values).into_iter();
    let lines = metrics.iter().zip(effects).map(|(metric, effect)| match effect {
        Ok(effect) => Line::judge(*metric, effect, adjusted.next().unwrap_or(1.0), tolerance),
        Err(reason) => Line::unknown(*metric, reason),
    });
    Comparison::of(a, b, tolerance, lines.collect())
}

/// The metrics that are compared where none is named: those which both sides measured.
pub fn usual_metrics(a: &[Run], b: &[Run]) -> Vec<Metric> {
    let known = |metric: &Metric| a.iter().chain(b).all(|run| run.value(*metric).is_some());
    Metric::USUAL.into_iter().filter(known).collect()
}

#[cfg(test)]
mod tests;
