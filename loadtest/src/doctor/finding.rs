//! One thing about a machine, and all of them.

use serde::Serialize;
use std::fmt;

/// How much a finding hurts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Not at all.
    Ok,
    /// Figures will be wider or higher than they need be.
    Warn,
    /// Figures from this machine, as it is now, mean little.
    Bad,
}

/// One thing about the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A short name that does not change, such as `steal`.
    pub check: &'static str,
    /// How much it hurts.
    pub level: Level,
    /// What was found, with its unit.
    pub figure: String,
    /// Which result it touches and how; empty when it is well.
    pub effect: String,
    /// What to type; empty when it is well.
    pub remedy: String,
}

impl Finding {
    /// Nothing to worry about.
    pub fn ok(check: &'static str, figure: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, figure: figure.into(), effect: String::new(), remedy: String::new() }
    }

    /// Well below `warn`, bad from `bad` on, a warning between: the larger, the worse.
    pub fn graded(check: &'static str, figure: impl Into<String>, value: f64, warn: f64, bad: f64) -> Self {
        let level = match value {
            _ if value >= bad => Level::Bad,
            _ if value >= warn => Level::Warn,
            _ => Level::Ok,
        };
        Self { level, ..Self::ok(check, figure) }
    }

    /// The same with what it does and what helps, unless it is well.
    #[must_use]
    pub fn because(mut self, effect: impl Into<String>, remedy: impl Into<String>) -> Self {
        if self.level > Level::Ok {
            self.effect = effect.into();
            self.remedy = remedy.into();
        }
        self
    }
}

/// All findings.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// In the order they were looked at.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// The worst level among them.
    pub fn worst(&self) -> Level {
        self.findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
    }

    /// `{"tool","version","worst","findings":[{"check","level","figure","effect","remedy"}]}`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "tool": "igris-load doctor", "version": env!("CARGO_PKG_VERSION"), "worst": self.worst(), "findings": self.findings,
        })
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            let word = match finding.level {
                Level::Ok => "ok  ",
                Level::Warn => "warn",
                Level::Bad => "BAD ",
            };
            writeln!(out, "{word}  {:<12} {}", finding.check, finding.figure)?;
            if finding.level > Level::Ok {
                writeln!(out, "      {:<12} {}", "", finding.effect)?;
                writeln!(out, "      {:<12} try: {}", "", finding.remedy)?;
            }
        }
        let count = |level| self.findings.iter().filter(|finding| finding.level == level).count();
        let (warn, bad) = (count(Level::Warn), count(Level::Bad));
        match self.worst() {
            Level::Ok => writeln!(out, "\nNothing here will hurt a measurement."),
            Level::Warn => {
                writeln!(out, "\n{warn} to mind: figures are good for comparisons made on this machine side by side.")
            }
            Level::Bad => {
                writeln!(out, "\n{bad} bad, {warn} to mind: do not quote figures from this machine as it is now.")
            }
        }
    }
}
