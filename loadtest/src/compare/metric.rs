//! What can be compared, and which way is worse.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Which latencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Series {
    /// Planned instant to first token.
    Ttft,
    /// Planned instant to last byte.
    E2e,
    /// Between events with tokens.
    Gap,
}

impl Series {
    /// All of them, in the order of a [`Slice`](super::Slice)'s histograms.
    pub const ALL: [Self; 3] = [Self::Ttft, Self::E2e, Self::Gap];

    /// The name in metrics and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ttft => "ttft",
            Self::E2e => "e2e",
            Self::Gap => "gap",
        }
    }
}

/// One figure of a result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Metric {
    /// A quantile of latencies; less is better.
    Quantile(f64, Series),
    /// Their mean; less is better.
    Mean(Series),
    /// Requests that did not end `ok`, among those that ended; less is better.
    ErrorRate,
    /// Requests that held every objective, among those planned; more is better.
    Goodput,
    /// Requests a second that ended `ok`; more is better, and says something in a closed loop only.
    Rate,
    /// Output tokens a second; more is better.
    TokensPerSecond,
}

impl Metric {
    /// Those that are compared unless others are named.
    pub const USUAL: [Self; 7] = [
        Self::Quantile(0.5, Series::Ttft),
        Self::Quantile(0.99, Series::Ttft),
        Self::Quantile(0.5, Series::E2e),
        Self::Quantile(0.99, Series::E2e),
        Self::Quantile(0.99, Series::Gap),
        Self::ErrorRate,
        Self::Goodput,
    ];

    /// Whether a larger figure is a better one.
    pub fn more_is_better(self) -> bool {
        matches!(self, Self::Goodput | Self::Rate | Self::TokensPerSecond)
    }

    /// Whether it is a share of requests: compared by difference, not by ratio.
    pub fn is_share(self) -> bool {
        matches!(self, Self::ErrorRate | Self::Goodput)
    }

    /// The unit of its figures.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Quantile(..) | Self::Mean(_) => "us",
            Self::ErrorRate | Self::Goodput => "%",
            Self::Rate => "requests/s",
            Self::TokensPerSecond => "tokens/s",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Quantile(q, series) => format!("p{}({})", (q * 1e6).round() / 1e4, series.name()),
            Self::Mean(series) => format!("mean({})", series.name()),
            Self::ErrorRate => "error_rate".into(),
            Self::Goodput => "goodput".into(),
            Self::Rate => "rate".into(),
            Self::TokensPerSecond => "tokens_per_s".into(),
        };
        out.pad(&text)
    }
}

impl FromStr for Metric {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no metric; type p99(ttft), mean(e2e), error_rate, goodput, rate or tokens_per_s, with \
                 ttft, e2e or gap in the brackets"
            )
        };
        match text {
            "error_rate" => return Ok(Self::ErrorRate),
            "goodput" => return Ok(Self::Goodput),
            "rate" => return Ok(Self::Rate),
            "tokens_per_s" => return Ok(Self::TokensPerSecond),
            _ => {}
        }
        let (name, rest) = text.split_once('(').ok_or_else(wrong)?;
        let inner = rest.strip_suffix(')').ok_or_else(wrong)?;
        let series = Series::ALL.into_iter().find(|series| series.name() == inner).ok_or_else(wrong)?;
        if name == "mean" {
            return Ok(Self::Mean(series));
        }
        let digits = name.strip_prefix('p').ok_or_else(wrong)?;
        // p999 is short for p99.9, as in reports.
        let percent: f64 = match digits {
            "999" => 99.9,
            "9999" => 99.99,
            _ => digits.parse().map_err(|_| wrong())?,
        };
        let q = (percent * 1e4).round() / 1e6;
        if q > 0.0 && q < 1.0 { Ok(Self::Quantile(q, series)) } else { Err(wrong()) }
    }
}

impl Serialize for Metric {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_read_back_and_wrong_ones_name_the_fix() {
        for text in
            ["p50(ttft)", "p99.9(e2e)", "mean(gap)", "error_rate", "goodput", "rate", "tokens_per_s", "p90(gap)"]
        {
            assert_eq!(text.parse::<Metric>().expect(text).to_string(), text);
        }
        assert_eq!("p999(ttft)".parse(), Ok(Metric::Quantile(0.999, Series::Ttft)));
        for text in ["p99", "p(ttft)", "p100(ttft)", "p99(ttf)", "max(ttft)", "p99(ttft", "errors"] {
            assert!(text.parse::<Metric>().is_err_and(|said| said.contains("p99(ttft)")), "{text}");
        }
    }
}
