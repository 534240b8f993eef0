//! One check of a known truth, and all of them as text and JSON.

use crate::measure::Stamp;
use serde::Serialize;
use std::fmt;

/// A number that is known, and the same as measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What it is, such as `e2e p99, 10 ms`.
    pub what: String,
    /// What it must be, in `unit`.
    pub truth: f64,
    /// What came out.
    pub measured: f64,
    /// `measured - truth`.
    pub error: f64,
    /// What the error may be, either way.
    pub limit: f64,
    /// `us`, `requests`, `tokens`, `events` or `share`.
    pub unit: &'static str,
    /// Whether it was.
    pub passed: bool,
}

impl Figure {
    /// Passes where the error is within the limit, either way.
    pub fn new(what: impl Into<String>, unit: &'static str, truth: f64, measured: f64, limit: f64) -> Self {
        let error = measured - truth;
        // Not a number passes nothing.
        let passed = error.abs() <= limit;
        Self { what: what.into(), truth, measured, error, limit, unit, passed }
    }

    /// Counts that must be equal.
    pub fn equal(what: impl Into<String>, unit: &'static str, truth: u64, measured: u64) -> Self {
        Self::new(what, unit, truth as f64, measured as f64, 0.0)
    }
}

/// What is claimed, and the figures that hold it up.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// A short name that does not change.
    pub name: &'static str,
    /// The claim, as a sentence.
    pub claim: &'static str,
    /// The figures.
    pub figures: Vec<Figure>,
    /// What else there is to know, such as what another method would have said.
    pub remarks: Vec<String>,
    /// What the rig was worth meanwhile; `None` where the check is not about time.
    pub stamp: Option<Stamp>,
    /// Whether all figures passed.
    pub passed: bool,
}

impl Check {
    /// Passed where all figures are, and there is one.
    pub fn new(name: &'static str, claim: &'static str, figures: Vec<Figure>) -> Self {
        let passed = !figures.is_empty() && figures.iter().all(|figure| figure.passed);
        Self { name, claim, figures, remarks: Vec::new(), stamp: None, passed }
    }

    /// With the stamp of its run.
    #[must_use]
    pub fn stamped(mut self, stamp: Stamp) -> Self {
        self.stamp = Some(stamp);
        self
    }

    /// With something else to know.
    #[must_use]
    pub fn remark(mut self, remark: impl Into<String>) -> Self {
        self.remarks.push(remark.into());
        self
    }
}

/// The tester's own error: the largest, of either sign, over all fixed delays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct OwnError {
    /// At p50, microseconds.
    pub p50_us: f64,
    /// At p99, microseconds.
    pub p99_us: f64,
}

/// All checks.
#[derive(Clone, Debug, Serialize)]
pub struct Selftest {
    /// In the order they ran.
    pub checks: Vec<Check>,
    /// The figure to quote beside every result of this machine.
    pub own_error: OwnError,
    /// The worst stamp of the checks that are about time and use an undisturbed tester.
    pub stamp: Stamp,
    /// Whether all passed.
    pub passed: bool,
}

impl Selftest {
    /// Sums checks up.
    pub fn of(checks: Vec<Check>) -> Self {
        let largest = |quantile: &str| {
            let delays = checks.iter().filter(|check| check.name == "delays").flat_map(|check| &check.figures);
            let errors = delays.filter(|figure| figure.what.contains(quantile)).map(|figure| figure.error);
            errors.fold(0.0, |worst: f64, error| if error.abs() > worst.abs() { error } else { worst })
        };
        let reasons = checks.iter().filter_map(|check| check.stamp.as_ref()).flat_map(|stamp| stamp.reasons().to_vec());
        Self {
            own_error: OwnError { p50_us: largest("p50"), p99_us: largest("p99") },
            stamp: Stamp::of(reasons.collect()),
            passed: !checks.is_empty() && checks.iter().all(|check| check.passed),
            checks,
        }
    }

    /// `{"tool","version","passed","own_error":{"p50_us","p99_us"},"stamp","checks":[…]}`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "tool": "igris-load selftest", "version": env!("CARGO_PKG_VERSION"), "passed": self.passed,
            "own_error": self.own_error, "stamp": self.stamp, "checks": self.checks,
        })
    }
}

fn verdict(passed: bool) -> &'static str {
    if passed { "pass" } else { "FAIL" }
}

impl fmt::Display for Figure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.unit == "share" { 3 } else { usize::from(self.unit == "us") };
        write!(out, "{}  {:<34} ", verdict(self.passed), self.what)?;
        write!(out, "truth {:>10.digits$}  measured {:>10.digits$}  ", self.truth, self.measured)?;
        write!(out, "error {:>+9.digits$} (limit {:.digits$}) {}", self.error, self.limit, self.unit)
    }
}

impl fmt::Display for Check {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stamp = self.stamp.as_ref().map_or(String::new(), |stamp| format!("  [{}]", stamp.word()));
        writeln!(out, "{}  {}: {}{stamp}", verdict(self.passed), self.name, self.claim)?;
        for figure in &self.figures {
            writeln!(out, "      {figure}")?;
        }
        for remark in &self.remarks {
            writeln!(out, "      {remark}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Selftest {
    /// The sum alone; checks are shown as they end.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passed = self.checks.iter().filter(|check| check.passed).count();
        writeln!(out, "{passed} of {} checks passed.", self.checks.len())?;
        let OwnError { p50_us, p99_us } = self.own_error;
        writeln!(
            out,
            "The tester's own error here: {p50_us:+.0} us at p50, {p99_us:+.0} us at p99 (loopback included)."
        )?;
        writeln!(out, "Rig: {}", self.stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_a_sign_and_a_limit_either_way() {
        let passed = |measured| Figure::new("x", "us", 100.0, measured, 5.0).passed;
        assert_eq!([94.0, 95.0, 105.0, 106.0, f64::NAN].map(passed), [false, true, true, false, false]);
        assert!(!Figure::equal("x", "requests", 10, 11).passed && Figure::equal("x", "requests", 10, 10).passed);
        assert!(!Check::new("empty", "Nothing was looked at.", Vec::new()).passed);
    }

    #[test]
    fn the_largest_error_of_fixed_delays_is_the_one_to_quote() {
        let figure = |what: &str, error: f64| Figure::new(what, "us", 1000.0, 1000.0 + error, 100.0);
        let delays =
            vec![figure("ttft p50, 1 ms", 20.0), figure("ttft p50, 10 ms", -40.0), figure("ttft p99, 1 ms", 90.0)];
        let other = Check::new("omission", "Elsewhere.", vec![figure("e2e p50", 99.0)]);
        let sum = Selftest::of(vec![Check::new("delays", "Fixed.", delays), other]);
        assert_eq!(sum.own_error, OwnError { p50_us: -40.0, p99_us: 90.0 });
        assert!(sum.passed && sum.to_string().contains("-40 us at p50, +90 us at p99"), "{sum}");
        let failed = Check::new("delays", "Fixed.", vec![figure("ttft p50", 200.0)]);
        assert!(!Selftest::of(vec![failed]).passed && !Selftest::of(Vec::new()).passed);
    }
}
