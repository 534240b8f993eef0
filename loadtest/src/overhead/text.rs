//! A result of overhead for people: one table a question.

use super::result::{Added, Measure, Overhead};
use crate::stats::Estimate;
use std::fmt;

impl fmt::Display for Overhead {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.stream { "streams" } else { "unary" };
        let (pairs, rate, elapsed) = (self.pairs, self.rate, self.elapsed_s);
        writeln!(
            out,
            "{pairs} pairs of {kind} requests at {rate} pairs/s, {} connections a target, {elapsed:.1} s",
            self.lanes
        )?;
        self.write_targets(out)?;
        writeln!(out, "\nadded to direct, us, with {:.0} % intervals", self.confidence * 100.0)?;
        for number in 0..self.targets.len().saturating_sub(1) {
            let known = self.measures.iter().filter_map(|measure| Some((measure, measure.added.get(number)?)));
            write_added(out, &self.targets[number + 1].name, known)?;
        }
        self.write_between(out)?;
        for measure in &self.measures {
            write_spread(out, measure)?;
        }
        writeln!(out)?;
        self.write_limits(out)?;
        for line in &self.untold {
            writeln!(out, "not told: {line}")?;
        }
        writeln!(out, "{}", self.stamp)
    }
}

impl Overhead {
    fn write_targets(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "\n{:<24} {:>9} {:>9} {:>9} {:>9}", "target", "sent", "ok", "failed", "held")?;
        for target in &self.targets {
            let failed = target.sent - target.ok;
            let (name, sent, ok, held) = (&target.name, target.sent, target.ok, target.held);
            writeln!(out, "{name:<24} {sent:>9} {ok:>9} {failed:>9} {held:>9}   {}", target.url)?;
            for failure in &target.failures {
                writeln!(out, "    {failure}")?;
            }
        }
        Ok(())
    }

    fn write_between(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.between {
            let typical = interval(line.typical);
            let shifts: Vec<String> =
                line.shifts.iter().map(|(q, shift)| format!("{} {}", quantile_name(*q), interval(*shift))).collect();
            writeln!(out, "\n{} less {}: typical {typical}; {}", line.to, line.from, shifts.join("; "))?;
        }
        Ok(())
    }

    fn write_limits(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for limit in &self.limits {
            let word = match limit.holds {
                Some(true) => "holds",
                Some(false) => "BROKEN",
                None => "cannot be told",
            };
            let (name, q, found) = (&limit.name, quantile_name(limit.quantile), interval(limit.found));
            writeln!(out, "limit: {name} adds at most {} us at {q}: {word}, {found}", limit.max_us)?;
        }
        Ok(())
    }
}

fn write_spread(out: &mut fmt::Formatter<'_>, measure: &Measure) -> fmt::Result {
    writeln!(out, "\n{}, us: {}", measure.name, measure.what)?;
    write!(out, "{:<24}", "")?;
    for title in ["p50", "p90", "p99", "p99.9", "mean", "max"] {
        write!(out, " {title:>9}")?;
    }
    writeln!(out)?;
    let names = std::iter::once("direct").chain(measure.added.iter().map(|added| added.name.as_str()));
    for (name, spread) in names.zip(&measure.at) {
        write!(out, "  {name:<22}")?;
        for q in [0.5, 0.9, 0.99, 0.999] {
            // A quantile with fewer than ten values beyond it would be an anecdote.
            let known = spread.at(q).filter(|_| spread.count as f64 * (1.0 - q) > 9.999);
            write!(out, " {:>9}", known.map_or_else(|| "-".into(), |value| format!("{value:.1}")))?;
        }
        writeln!(out, " {:>9.1} {:>9.1}", spread.mean, spread.max)?;
    }
    Ok(())
}

fn write_added<'a>(
    out: &mut fmt::Formatter<'_>,
    name: &str,
    measures: impl Iterator<Item = (&'a Measure, &'a Added)>,
) -> fmt::Result {
    write!(out, "\n{name:<14}")?;
    for title in ["typical", "mean", "p50", "p90", "p99", "p99.9"] {
        write!(out, " {title:>24}")?;
    }
    writeln!(out)?;
    let mut smallest = None;
    for (measure, added) in measures {
        write!(out, "  {:<12}", measure.name)?;
        let shifts = [0.5, 0.9, 0.99, 0.999].map(|q| added.shift(q));
        for estimate in [added.typical, added.mean].into_iter().chain(shifts) {
            write!(out, " {:>24}", interval(estimate))?;
        }
        writeln!(out)?;
        smallest = smallest.or(added.detectable);
    }
    match smallest {
        Some(effect) => {
            writeln!(out, "  a true mean difference of {effect:.1} us would have been found four times out of five")
        }
        None => Ok(()),
    }
}

fn interval(estimate: Option<Estimate>) -> String {
    match estimate {
        Some(Estimate { value, low, high }) => format!("{value:.1} [{low:.1}, {high:.1}]"),
        None => "-".into(),
    }
}

fn quantile_name(q: f64) -> String {
    format!("p{}", (q * 1000.0).round() / 10.0)
}
