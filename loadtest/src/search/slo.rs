//! An objective of a search as people type it, and whether one request missed it.
//!
//! Every objective is a share: `p99(ttft)<500ms` says that at most one in a hundred requests may have a longer time to first token or
//! none at all. A failed request has missed every bound on its time, for its user waited in vain.

use crate::engine::Done;
use crate::measure::Outcome;
use crate::workload::Span;
use std::fmt;
use std::str::FromStr;

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Planned instant to first token.
    Ttft,
    /// Planned instant to last byte.
    E2e,
    /// First to last token by the tokens after the first, as the answer counts them.
    Tpot,
}

/// One objective.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Slo {
    /// A quantile of a time stays below a bound.
    Quantile {
        /// What is timed.
        metric: Metric,
        /// Between 0 and 1.
        quantile: f64,
        /// The bound.
        max: Span,
    },
    /// The share of requests that did not end `ok` stays below a bound.
    Errors {
        /// The bound, between 0 and 1.
        max: f64,
    },
}

impl Slo {
    /// The share of requests that may miss it.
    pub fn allowed(&self) -> f64 {
        match self {
            Self::Quantile { quantile, .. } => 1.0 - quantile,
            Self::Errors { max } => *max,
        }
    }

    /// Whether a request missed it.
    pub fn is_missed(&self, done: &Done<'_>) -> bool {
        if done.outcome != Outcome::Ok {
            return true;
        }
        match self {
            Self::Errors { .. } => false,
            // An answer that has no such time (the TPOT of a single token) holds a bound on it.
            Self::Quantile { metric, max, .. } => {
                metric.nanos(done).is_some_and(|nanos| u128::from(nanos) >= max.0.as_nanos())
            }
        }
    }
}

impl Metric {
    /// The time of a request that ended `ok`, nanoseconds; `None` where it has none.
    pub fn nanos(self, done: &Done<'_>) -> Option<u64> {
        match self {
            Self::Ttft => Some(done.first_token?.saturating_sub(done.planned)),
            Self::E2e => Some(done.ended.saturating_sub(done.planned)),
            Self::Tpot => {
                let tokens = done.output_tokens.filter(|tokens| *tokens > 1)?;
                Some(done.last_token?.saturating_sub(done.first_token?) / (tokens - 1))
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ttft => "ttft",
            Self::E2e => "e2e",
            Self::Tpot => "tpot",
        }
    }
}

impl FromStr for Slo {
    type Err = String;

    /// `p99(ttft)<500ms`, `p99.9(e2e)<2s`, `p50(tpot)<40ms`, `error_rate<1%`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "'{text}' is no objective; write one such as p99(ttft)<500ms, p95(e2e)<2s, p50(tpot)<40ms or error_rate<1%"
            )
        };
        let plain: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
        let (left, right) = plain.split_once('<').ok_or_else(wrong)?;
        let right = right.strip_prefix('=').unwrap_or(right);
        if left == "error_rate" {
            let max = match right.strip_suffix('%') {
                Some(percent) => percent.parse::<f64>().map(|percent| percent / 100.0),
                None => right.parse(),
            };
            let max = max.ok().filter(|max| *max > 0.0 && *max < 1.0);
            return max
                .map(|max| Self::Errors { max })
                .ok_or_else(|| format!("'{right}' is no share above 0 and below 1, in '{text}'; write 1% or 0.01"));
        }
        let (quantile, metric) =
            left.strip_prefix('p').and_then(|left| left.strip_suffix(')')?.split_once('(')).ok_or_else(wrong)?;
        let metric = [Metric::Ttft, Metric::E2e, Metric::Tpot]
            .into_iter()
            .find(|known| known.name() == metric)
            .ok_or_else(wrong)?;
        let quantile: f64 = quantile.parse().map_err(|_| wrong())?;
        if !(quantile > 0.0 && quantile < 100.0) {
            return Err(format!("p{quantile} is no percentile above 0 and below 100, in '{text}'; write p99 or p99.9"));
        }
        let max = right.parse::<Span>().map_err(|reason| format!("{reason}, in '{text}'"))?;
        Ok(Self::Quantile { metric, quantile: quantile / 100.0, max })
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rounded, for 99.9 / 100 * 100 is not 99.9.
        let percent = |share: f64| (share * 1e8).round() / 1e6;
        match self {
            Self::Quantile { metric, quantile, max } => write!(out, "p{}({})<{max}", percent(*quantile), metric.name()),
            Self::Errors { max } => write!(out, "error_rate<{}%", percent(*max)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objectives_read_back() {
        for text in ["p99(ttft)<500ms", "p99.9(e2e)<2s", "p50(tpot)<40ms", "error_rate<1%", "error_rate<0.1%"] {
            assert_eq!(text.parse::<Slo>().expect(text).to_string(), text);
        }
        assert_eq!("error_rate <= 0.02".parse::<Slo>(), Ok(Slo::Errors { max: 0.02 }));
        assert!(("p99(ttft)<1s".parse::<Slo>().expect("it").allowed() - 0.01).abs() < 1e-12);
    }

    #[test]
    fn what_is_wrong_names_what_to_write() {
        for text in [
            "ttft<5ms",
            "p99(ttft)>5ms",
            "p100(ttft)<5ms",
            "p99(gap)<5ms",
            "p99(ttft)<5",
            "error_rate<0",
            "error_rate<200%",
            "",
        ] {
            let reason = text.parse::<Slo>().expect_err(text);
            assert!(reason.contains(text) && reason.len() > 30, "{reason}");
        }
    }
}
