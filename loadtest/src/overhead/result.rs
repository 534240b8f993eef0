//! What a measurement of overhead found, as it is kept: plain numbers in microseconds, with every interval beside its estimate.

use crate::measure::Stamp;
use crate::stats::Estimate;
use serde::{Deserialize, Serialize};

/// A whole result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overhead {
    /// `igris-load overhead`, so that a reader knows what this file is.
    pub tool: String,
    /// The tester's version.
    pub version: String,
    /// Arguments that rerun it; keys are left out.
    pub rerun: String,
    /// Pairs planned.
    pub pairs: u64,
    /// Pairs a second.
    pub rate: f64,
    /// Whether streams were asked for.
    pub stream: bool,
    /// Decides orders within pairs and all resampling.
    pub seed: u64,
    /// Seconds from the first planned instant to the last answer.
    pub elapsed_s: f64,
    /// Threads, and so connections, for each target.
    pub lanes: usize,
    /// Share of intervals that cover the truth.
    pub confidence: f64,
    /// The direct target first, then the others as typed.
    pub targets: Vec<TargetLine>,
    /// Every quantity; the first is the headline.
    pub measures: Vec<Measure>,
    /// One target less another, neither of them the direct one.
    pub between: Vec<Between>,
    /// Bounds that were given, and whether they hold.
    pub limits: Vec<Limit>,
    /// What these data cannot tell, and why.
    pub untold: Vec<String>,
    /// Whether the rig was fit.
    pub stamp: Stamp,
}

/// What became of a target's requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetLine {
    /// Its name.
    pub name: String,
    /// Its URL.
    pub url: String,
    /// Requests sent.
    pub sent: u64,
    /// Whole good answers.
    pub ok: u64,
    /// Requests whose connection was still busy when they were due; their clock starts at the planned instant.
    pub held: u64,
    /// The first few failures, in words.
    pub failures: Vec<String>,
}

/// One quantity at every target, and what each adds to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// `net`, `e2e`, `ttft`, `first_byte`, `gap`, `request_path`, `provider`, `answer_path` or `answer_end`.
    pub name: String,
    /// What it is, in a line.
    pub what: String,
    /// By target, the direct one first.
    pub at: Vec<Spread>,
    /// By target without the direct one.
    pub added: Vec<Added>,
}

/// How one quantity is spread at one target, microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Values.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Quantiles with their values, for a curve: see [`CURVE`].
    pub curve: Vec<(f64, f64)>,
}

impl Spread {
    /// The value at one of the quantiles of [`CURVE`].
    pub fn at(&self, q: f64) -> Option<f64> {
        self.curve.iter().find(|(known, _)| (known - q).abs() < 1e-9).map(|(_, value)| *value)
    }
}

/// What one target adds to a quantity, microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Added {
    /// The target.
    pub name: String,
    /// Pairs with both answers.
    pub pairs: u64,
    /// The typical difference within a pair: Hodges and Lehmann's, with Wilcoxon's interval.
    pub typical: Option<Estimate>,
    /// The median difference within a pair, with the interval of order statistics: needs no symmetry.
    pub median: Option<Estimate>,
    /// The mean difference within a pair, with Student's interval.
    pub mean: Option<Estimate>,
    /// The difference of quantiles at [`SHIFTS`], with bootstrap intervals: what a user of the target sees at that quantile more than
    /// a user without it. `None` where fewer than ten values lie beyond.
    pub shifts: Vec<(f64, Option<Estimate>)>,
    /// The smallest true difference that these pairs show four times out of five.
    pub detectable: Option<f64>,
}

impl Added {
    /// The shift of one of the quantiles of [`SHIFTS`].
    pub fn shift(&self, q: f64) -> Option<Estimate> {
        self.shifts.iter().find(|(known, _)| (known - q).abs() < 1e-9).and_then(|(_, shift)| *shift)
    }
}

/// The headline quantity at one target less that at another, within pairs, microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Between {
    /// What is taken away.
    pub from: String,
    /// From this.
    pub to: String,
    /// The typical difference.
    pub typical: Option<Estimate>,
    /// The difference of medians and of 99th percentiles.
    pub shifts: Vec<(f64, Option<Estimate>)>,
}

/// A bound on what a target may add.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// The target.
    pub name: String,
    /// Which quantile's shift.
    pub quantile: f64,
    /// The bound, microseconds.
    pub max_us: f64,
    /// The shift.
    pub found: Option<Estimate>,
    /// Whether it holds; `None` where the interval contains the bound, or there is none.
    pub holds: Option<bool>,
}

impl Limit {
    /// A bound judged: it holds or is broken only if the whole interval says so.
    pub fn judge(name: &str, quantile: f64, max_us: f64, found: Option<Estimate>) -> Self {
        let holds = found.and_then(|shift| match shift {
            _ if shift.high <= max_us => Some(true),
            _ if shift.low > max_us => Some(false),
            _ => None,
        });
        Self { name: name.to_owned(), quantile, max_us, found, holds }
    }
}

impl Overhead {
    /// The quantity by which the result is known.
    pub fn headline(&self) -> Option<&Measure> {
        self.measures.first()
    }

    /// A quantity by its name.
    pub fn measure(&self, name: &str) -> Option<&Measure> {
        self.measures.iter().find(|measure| measure.name == name)
    }

    /// Requests that failed.
    pub fn failed(&self) -> u64 {
        self.targets.iter().map(|target| target.sent - target.ok).sum()
    }
}

/// Quantiles of a curve, closer together the rarer they are.
pub const CURVE: [f64; 30] = [
    0.0, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.975,
    0.98, 0.985, 0.99, 0.992, 0.995, 0.9975, 0.999, 0.9995, 0.9999, 1.0,
];

/// Quantiles whose shifts are told.
pub const SHIFTS: [f64; 20] =
    [0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999];
