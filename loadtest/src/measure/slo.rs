//! What an answer must hold to count as good.

use super::timings::tpot;
use crate::engine::Done;
use crate::measure::Outcome;
use crate::workload::Span;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One bound. An answer that ended `ok` and holds all of a run's bounds is good; goodput is the share of good ones among all *planned*.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "metric", rename_all = "snake_case", deny_unknown_fields)]
pub enum Objective {
    /// Planned instant to first token, at most.
    Ttft {
        /// The bound.
        max: Span,
    },
    /// Planned instant to last byte, at most.
    E2e {
        /// The bound.
        max: Span,
    },
    /// Mean time per output token after the first, at most.
    Tpot {
        /// The bound.
        max: Span,
    },
    /// Longest gap between events with tokens, at most.
    Gap {
        /// The bound.
        max: Span,
    },
}

impl Objective {
    /// Whether a request held it. One that did not end `ok` holds nothing; an answer without the time in question (the gap of a
    /// single event, say) holds a bound on it.
    pub fn is_held(&self, done: &Done<'_>) -> bool {
        let within = |nanos: Option<u64>, max: &Span| nanos.is_none_or(|nanos| u128::from(nanos) <= max.0.as_nanos());
        done.outcome == Outcome::Ok
            && match self {
                Self::Ttft { max } => within(done.first_token.map(|at| at.saturating_sub(done.planned)), max),
                Self::E2e { max } => within(Some(done.ended.saturating_sub(done.planned)), max),
                Self::Tpot { max } => within(tpot(done).map(|(nanos, _)| nanos), max),
                Self::Gap { max } => within(done.longest_gap, max),
            }
    }
}

impl FromStr for Objective {
    type Err = String;

    /// `ttft<500ms`, `e2e<2s`, `tpot<50ms`, `gap<200ms`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("'{text}' is no objective; write one such as ttft<500ms, e2e<2s, tpot<50ms or gap<200ms");
        let (metric, bound) = text.split_once('<').ok_or_else(wrong)?;
        let bound = bound.strip_prefix('=').unwrap_or(bound).trim();
        let max = bound.parse::<Span>().map_err(|reason| format!("{reason}, in objective '{text}'"))?;
        match metric.trim() {
            "ttft" => Ok(Self::Ttft { max }),
            "e2e" => Ok(Self::E2e { max }),
            "tpot" => Ok(Self::Tpot { max }),
            "gap" => Ok(Self::Gap { max }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ttft { max } => write!(out, "ttft<{max}"),
            Self::E2e { max } => write!(out, "e2e<{max}"),
            Self::Tpot { max } => write!(out, "tpot<{max}"),
            Self::Gap { max } => write!(out, "gap<{max}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objectives_read_back() {
        for text in ["ttft<500ms", "e2e<2s", "tpot<50ms", "gap<250us"] {
            assert_eq!(text.parse::<Objective>().expect(text).to_string(), text);
        }
        assert_eq!("ttft <= 1s".parse::<Objective>().expect("spaces").to_string(), "ttft<1s");
        for text in ["ttft", "ttft>5ms", "p99<5ms", "ttft<5", "ttft<"] {
            assert!(text.parse::<Objective>().is_err(), "{text}");
        }
        assert!("ttft<5".parse::<Objective>().expect_err("no unit").contains("ttft<5"));
    }
}
