//! What an interval means: better, worse, same or inconclusive; by metric and over all of them.

use super::effect::Effect;
use super::metric::Metric;
use super::run::Run;
use crate::stats::{CONFIDENCE, Estimate};
use serde::Serialize;

/// How large a change may be and still count as none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tolerance {
    /// Of latencies and rates, per cent of the first side.
    pub percent: f64,
    /// Of shares, percentage points.
    pub points: f64,
}

/// What can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// The second side is better, by more than the tolerance as best anyone knows, and surely by something.
    Better,
    /// It is worse, in the same sense.
    Worse,
    /// The whole interval lies within the tolerance.
    Same,
    /// None of the three: more data would tell.
    Inconclusive,
}

impl Word {
    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "WORSE",
            Self::Same => "same",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// One metric's part of a comparison. Changes are per cent of the first side, of shares percentage points.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// What was compared.
    pub metric: Metric,
    /// The unit of `a` and `b`.
    pub unit: &'static str,
    /// The first side's figure.
    pub a: Option<f64>,
    /// The second side's.
    pub b: Option<f64>,
    /// By how much the second is larger.
    pub change: Option<Estimate>,
    /// How likely a difference as large would be if there were none, corrected for the number of metrics (Holm).
    pub p_adjusted: Option<f64>,
    /// The smallest change that data like these show four times out of five.
    pub detectable: Option<f64>,
    /// What varied: `runs` or `seconds`.
    pub varied: Option<&'static str>,
    /// What that means.
    pub verdict: Word,
    /// Why nobody can tell, where that is so.
    pub because: Option<String>,
}

impl Line {
    pub(super) fn judge(metric: Metric, effect: Effect, p_adjusted: f64, tolerance: Tolerance) -> Self {
        let band = if metric.is_share() { tolerance.points } else { tolerance.percent };
        let change = effect.change;
        let sure = !change.covers(0.0) && p_adjusted < 1.0 - CONFIDENCE;
        let larger_is_worse = !metric.more_is_better();
        let verdict = match () {
            () if change.within(-band, band) => Word::Same,
            () if sure && change.value.abs() > band => {
                if (change.value > 0.0) == larger_is_worse {
                    Word::Worse
                } else {
                    Word::Better
                }
            }
            () => Word::Inconclusive,
        };
        let because = (verdict == Word::Inconclusive).then(|| {
            let why = match () {
                () if sure => "it changed, but perhaps by less than the tolerance",
                () if !change.covers(0.0) => "it may be one of several metrics by chance",
                () => "the interval holds both no change and one beyond the tolerance",
            };
            format!("{why}: let it run longer, or more often")
        });
        Self {
            metric,
            unit: metric.unit(),
            a: Some(effect.a),
            b: Some(effect.b),
            change: Some(change),
            p_adjusted: Some(p_adjusted),
            detectable: Some(effect.detectable),
            varied: Some(effect.unit),
            verdict,
            because,
        }
    }

    pub(super) fn unknown(metric: Metric, because: String) -> Self {
        Self {
            metric,
            unit: metric.unit(),
            a: None,
            b: None,
            change: None,
            p_adjusted: None,
            detectable: None,
            varied: None,
            verdict: Word::Inconclusive,
            because: Some(because),
        }
    }
}

/// A whole comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// `igris-load compare`.
    pub tool: &'static str,
    /// The tester's version.
    pub version: &'static str,
    /// The first side's results.
    pub a: Vec<String>,
    /// The second side's.
    pub b: Vec<String>,
    /// What counts as no change.
    pub tolerance: Tolerance,
    /// Share of intervals that cover the truth.
    pub confidence: f64,
    /// How the number of metrics is allowed for.
    pub correction: &'static str,
    /// Metric by metric.
    pub lines: Vec<Line>,
    /// Over all: worse if any is, else inconclusive if any is, else better if any is, else the same.
    pub verdict: Word,
    /// What was overlooked because it was asked for.
    pub overlooked: Vec<String>,
}

impl Comparison {
    pub(super) fn of(a: &[Run], b: &[Run], tolerance: Tolerance, lines: Vec<Line>) -> Self {
        let names = |runs: &[Run]| runs.iter().map(|run| run.name.clone()).collect();
        let any = |word: Word| lines.iter().any(|line| line.verdict == word);
        let order = [Word::Worse, Word::Inconclusive, Word::Better];
        let verdict = order.into_iter().find(|word| any(*word)).unwrap_or(Word::Same);
        Self {
            tool: "igris-load compare",
            version: env!("CARGO_PKG_VERSION"),
            a: names(a),
            b: names(b),
            tolerance,
            confidence: CONFIDENCE,
            correction: "holm",
            lines,
            verdict,
            overlooked: Vec::new(),
        }
    }
}
