//! A comparison for people.

use super::verdict::{Comparison, Line};
use crate::stats::Estimate;
use std::fmt;

impl fmt::Display for Comparison {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "A: {}\nB: {}", self.a.join(", "), self.b.join(", "))?;
        writeln!(
            out,
            "{:<14} {:>12} {:>12} {:<10} {:<26} {:>10} {:>8}  B is",
            "metric", "A", "B", "unit", "change, with interval", "detectable", "p"
        )?;
        for line in &self.lines {
            write_line(out, line)?;
        }
        let (percent, points, confidence) = (self.tolerance.percent, self.tolerance.points, self.confidence * 100.0);
        writeln!(
            out,
            "tolerance {percent} % (of shares: {points} points); {confidence:.0} % intervals; p corrected for {} metrics (Holm)",
            self.lines.len()
        )?;
        if self.lines.iter().any(|line| line.varied == Some("seconds")) {
            writeln!(
                out,
                "one run a side: what varies from run to run is not in these intervals; give several files a side"
            )?;
        }
        for line in &self.overlooked {
            writeln!(out, "overlooked (--force): {line}")?;
        }
        writeln!(out, "B is {}", self.verdict.name())
    }
}

fn write_line(out: &mut fmt::Formatter<'_>, line: &Line) -> fmt::Result {
    let figure = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.2}"));
    let unit = if line.metric.is_share() { " pt" } else { "%" };
    let change = line.change.map_or_else(
        || "-".into(),
        |Estimate { value, low, high }| format!("{value:+.2}{unit} [{low:+.2}, {high:+.2}]"),
    );
    let detectable = line.detectable.map_or_else(|| "-".into(), |effect| format!("{effect:.2}{unit}"));
    let p = line.p_adjusted.map_or_else(|| "-".into(), |p| format!("{p:.4}"));
    writeln!(
        out,
        "{:<14} {:>12} {:>12} {:<10} {change:<26} {detectable:>10} {p:>8}  {}",
        line.metric,
        figure(line.a),
        figure(line.b),
        line.unit,
        line.verdict.name()
    )?;
    match &line.because {
        Some(because) => writeln!(out, "    {because}"),
        None => Ok(()),
    }
}
