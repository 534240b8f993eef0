//! A bound on a figure of a whole run, as typed: `p99(ttft)<800ms`, `error_rate<1%`, `goodput>95%`, `rate>=190`.

use super::{Measured, Timings};
use crate::workload::Span;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A bound on a figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    figure: Figure,
    relation: Relation,
    bound: f64,
    text: String,
}

/// A threshold and what was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The threshold as typed.
    pub threshold: String,
    /// What was found: microseconds, a part of 1, a count, bytes or a count a second; `None` where nothing was recorded.
    pub found: Option<f64>,
    /// Its bound in the same unit.
    pub bound: f64,
    /// Whether it was held; a figure that is not there holds nothing.
    pub held: bool,
    /// What was found, by how much it missed where it did, as words.
    pub says: String,
}

/// What is bounded.
#[derive(Clone, Debug, PartialEq)]
enum Figure {
    /// A statistic of a histogram.
    Latency(Statistic, String),
    /// One of [`SCALARS`].
    Scalar(usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Statistic {
    Quantile(f64),
    Mean,
    Deviation,
    Min,
    Max,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Below,
    AtMost,
    Above,
    AtLeast,
}

/// What a figure is counted in, and so how its bound is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// `800ms`; microseconds inside.
    Time,
    /// `1%` or `0.01`.
    Part,
    /// `190`.
    Number,
    /// `100MiB`.
    Bytes,
}

/// A figure that is one number: its name, its unit, and where it comes from.
type Scalar = (&'static str, Unit, fn(&Measured) -> Option<f64>);

const SCALARS: [Scalar; 13] = [
    ("error_rate", Unit::Part, Measured::error_rate),
    ("goodput", Unit::Part, Measured::goodput),
    ("goodput_per_s", Unit::Number, |run| Some(run.per_second(run.sums.good))),
    ("rate", Unit::Number, |run| Some(run.rate())),
    ("requests", Unit::Number, |run| Some(run.sums.total() as f64)),
    ("failed", Unit::Number, |run| Some(run.failed() as f64)),
    ("tokens_per_s", Unit::Number, |run| Some(run.per_second(run.sums.output_tokens))),
    ("input_tokens_per_s", Unit::Number, |run| Some(run.per_second(run.sums.input_tokens))),
    ("total_tokens_per_s", Unit::Number, |run| Some(run.per_second(run.sums.input_tokens + run.sums.output_tokens))),
    ("events_per_s", Unit::Number, |run| Some(run.per_second(run.sums.events))),
    ("connections", Unit::Number, |run| Some(run.sums.connections as f64)),
    ("cpu_per_request", Unit::Time, |run| run.watched()?.cpu_per_request.map(|cpu| cpu.as_secs_f64() * 1e6)),
    ("rss", Unit::Bytes, |run| run.watched().map(|watched| watched.resident_max as f64)),
];

impl Threshold {
    /// Compares it with what was measured.
    pub fn judge(&self, run: &Measured) -> Judged {
        let found = match &self.figure {
            Figure::Latency(statistic, name) => {
                run.histogram(name).filter(|histogram| !histogram.is_empty()).map(|histogram| {
                    let nanos = match statistic {
                        Statistic::Quantile(quantile) => histogram.value_at_quantile(*quantile) as f64,
                        Statistic::Mean => histogram.mean(),
                        Statistic::Deviation => histogram.stdev(),
                        Statistic::Min => histogram.min() as f64,
                        Statistic::Max => histogram.max() as f64,
                    };
                    nanos / 1e3
                })
            }
            Figure::Scalar(number) => SCALARS[*number].2(run),
        };
        let held = found.is_some_and(|found| self.relation.holds(found, self.bound));
        let says = match found {
            None => "nothing was recorded".into(),
            Some(found) if held => self.unit().write(found),
            Some(found) => {
                let by = self.unit().write((found - self.bound).abs());
                format!("{}, missed by {by}{}", self.unit().write(found), self.beyond(found))
            }
        };
        Judged { threshold: self.text.clone(), found, bound: self.bound, held, says }
    }

    /// Whether it judges failed requests, so that nobody else need do so.
    pub fn is_about_failures(&self) -> bool {
        matches!(self.figure, Figure::Scalar(number) if ["error_rate", "goodput", "failed"].contains(&SCALARS[number].0))
    }

    /// Whether it judges goodput.
    pub fn is_about_goodput(&self) -> bool {
        matches!(self.figure, Figure::Scalar(number) if SCALARS[number].0 == "goodput")
    }

    fn unit(&self) -> Unit {
        match self.figure {
            Figure::Latency(..) => Unit::Time,
            Figure::Scalar(number) => SCALARS[number].1,
        }
    }

    fn beyond(&self, found: f64) -> String {
        if self.bound == 0.0 {
            return String::new();
        }
        format!(" ({:+.1} %)", (found / self.bound - 1.0) * 100.0)
    }
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let how = "write one such as 'p99(ttft)<800ms', 'error_rate<1%', 'goodput>95%' or 'rate>=190'";
        let at = text.find(['<', '>']).ok_or_else(|| format!("'{text}' is no threshold; {how}"))?;
        let (name, rest) = text.split_at(at);
        let (relation, bound) = Relation::split(rest);
        let figure = Figure::named(name.trim()).ok_or_else(|| unknown(name.trim()))?;
        let made = Self { figure, relation, bound: 0.0, text: text.split_whitespace().collect() };
        let bound = made.unit().read(bound.trim()).map_err(|reason| format!("{reason}, in threshold '{text}'"))?;
        Ok(Self { bound, ..made })
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl Figure {
    fn named(name: &str) -> Option<Self> {
        if let Some(number) = SCALARS.iter().position(|(scalar, _, _)| *scalar == name) {
            return Some(Self::Scalar(number));
        }
        let (statistic, of) = name.strip_suffix(')')?.split_once('(')?;
        let statistic = match statistic {
            "mean" | "avg" => Statistic::Mean,
            "stddev" => Statistic::Deviation,
            "min" => Statistic::Min,
            "max" => Statistic::Max,
            "median" => Statistic::Quantile(0.5),
            _ => {
                let percent: f64 = statistic.strip_prefix('p')?.parse().ok()?;
                (0.0..=100.0).contains(&percent).then_some(Statistic::Quantile(percent / 100.0))?
            }
        };
        let known = Timings::NAMES.contains(&of) || ["itl", "gap", "overhead"].contains(&of);
        known.then(|| Self::Latency(statistic, of.to_owned()))
    }
}

fn unknown(name: &str) -> String {
    let scalars: Vec<_> = SCALARS.iter().map(|(name, _, _)| *name).collect();
    format!(
        "'{name}' is no figure of a run; there are {}, and p50 to p99.99, mean, stddev, min and max of itl, {}, as in p99(ttft)",
        scalars.join(", "),
        Timings::NAMES.join(", ")
    )
}

impl Relation {
    fn split(text: &str) -> (Self, &str) {
        for (sign, relation) in [("<=", Self::AtMost), (">=", Self::AtLeast), ("<", Self::Below), (">", Self::Above)] {
            if let Some(rest) = text.strip_prefix(sign) {
                return (relation, rest);
            }
        }
        (Self::Below, text)
    }

    fn holds(self, found: f64, bound: f64) -> bool {
        match self {
            Self::Below => found < bound,
            Self::AtMost => found <= bound,
            Self::Above => found > bound,
            Self::AtLeast => found >= bound,
        }
    }
}

impl Unit {
    fn read(self, text: &str) -> Result<f64, String> {
        let number = |text: &str, like: &str| {
            let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
            number.ok_or_else(|| format!("'{text}' is no bound such as {like}"))
        };
        match self {
            Self::Time => text.parse::<Span>().map(|span| span.0.as_secs_f64() * 1e6),
            Self::Number => number(text, "190"),
            Self::Part => match text.strip_suffix('%') {
                Some(percent) => number(percent, "1%").map(|percent| percent / 100.0),
                None => number(text, "1% or 0.01"),
            },
            Self::Bytes => {
                let scales = [("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];
                let found = scales.iter().find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, bits)));
                let (digits, bits) = found.ok_or_else(|| format!("'{text}' is no size such as 100MiB"))?;
                number(digits, "100MiB").map(|size| size * f64::from(1_u32 << bits))
            }
        }
    }

    fn write(self, figure: f64) -> String {
        match self {
            Self::Time => duration(figure),
            Self::Part => format!("{:.3} %", figure * 100.0),
            Self::Number => format!("{figure:.1}"),
            Self::Bytes => format!("{:.1} MiB", figure / f64::from(1 << 20)),
        }
    }
}

/// Microseconds for people: four digits at most, and a unit.
pub(crate) fn duration(micros: f64) -> String {
    match micros {
        _ if micros < 1e3 => format!("{micros:.1} us"),
        _ if micros < 1e6 => format!("{:.2} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_understood_and_write_themselves_back() {
        let all = [
            ("p99(ttft)<800ms", 800_000.0),
            ("p99.9(e2e)<=2s", 2e6),
            ("mean(itl)<50ms", 50_000.0),
            ("max(gap)<1s", 1e6),
            ("error_rate<1%", 0.01),
            ("goodput>0.95", 0.95),
            ("rate>=190", 190.0),
            ("tokens_per_s>1000", 1000.0),
            ("cpu_per_request<60us", 60.0),
            ("rss<16MiB", 16_777_216.0),
        ];
        for (text, bound) in all {
            let threshold = text.parse::<Threshold>().expect(text);
            assert!((threshold.bound - bound).abs() < 1e-9 * bound, "{text}: {}", threshold.bound);
            assert_eq!(threshold.to_string(), text);
        }
        assert_eq!("p99(ttft) < 5ms".parse::<Threshold>().expect("spaces").to_string(), "p99(ttft)<5ms");
    }

    #[test]
    fn wrong_ones_name_the_fix() {
        let said = |text: &str| text.parse::<Threshold>().expect_err(text);
        assert!(said("p99(ttft)").contains("p99(ttft)<800ms"));
        assert!(said("p99(tfft)<1s").contains("ttft") && said("p101(ttft)<1s").contains("p99.99"));
        assert!(said("p99(ttft)<800").contains("duration"), "{}", said("p99(ttft)<800"));
        assert!(said("error_rate<lots").contains("1%") && said("rss<100").contains("100MiB"));
        assert!(said("rate<NaN").contains("190"));
    }
}
