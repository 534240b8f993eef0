//! What a search found, as text and as JSON.

use super::judge::Verdict;
use super::ladder::Ladder;
use super::step::{Finding, Step};
use super::{Quest, Slo};
use crate::stats::Estimate;
use crate::workload::Plan;
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt;

/// Why a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// As far as it goes.
    Found,
    /// The tester was not fit for the next rate.
    TesterIsTheLimit,
    /// Somebody asked for it.
    Stopped,
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The highest rate that was confirmed.
    pub confirmed: Option<f64>,
    /// The lowest rate that was refuted.
    pub refuted: Option<f64>,
    /// Rates between them that the data could not tell.
    pub unclear: Vec<f64>,
    /// Whether both ends were tried twice.
    pub rechecked: bool,
    /// Why it ended.
    pub ending: Ending,
    /// Every step, in order.
    pub steps: Vec<Step>,
    /// What was to be met.
    pub slos: Vec<Slo>,
    /// What was sent.
    pub plan: Plan,
    /// The confidence of each step.
    pub confidence: f64,
}

impl Found {
    pub(super) fn of(quest: &Quest, ladder: &Ladder, steps: Vec<Step>, ending: Ending) -> Self {
        Self {
            confirmed: ladder.confirmed(),
            refuted: ladder.refuted(),
            unclear: ladder.unclear(),
            rechecked: ladder.is_rechecked(),
            ending,
            steps,
            slos: quest.slos.clone(),
            plan: quest.plan.clone(),
            confidence: quest.confidence,
        }
    }

    /// `{"tool","version","ending","confirmed","refuted","unclear","rechecked","confidence","slos","steps":[…],"plan"}`; rates in
    /// requests a second, times in microseconds, no key.
    pub fn to_json(&self) -> Value {
        let slos: Vec<_> = self.slos.iter().map(Slo::to_string).collect();
        let steps: Vec<_> = self.steps.iter().map(step_json).collect();
        json!({
            "tool": "igris-load search", "version": env!("CARGO_PKG_VERSION"), "ending": self.ending,
            "confirmed": self.confirmed, "refuted": self.refuted, "unclear": self.unclear, "rechecked": self.rechecked,
            "confidence": self.confidence, "slos": slos, "steps": steps, "plan": self.plan,
        })
    }
}

fn step_json(step: &Step) -> Value {
    let findings: Vec<_> = step.findings.iter().map(finding_json).collect();
    json!({
        "rate": step.rate, "requests": step.requests, "achieved": step.achieved, "runs": step.runs,
        "verdict": step.verdict, "findings": findings, "stamp": step.stamp,
    })
}

fn finding_json(finding: &Finding) -> Value {
    // JSON knows no infinity: a quantile that fell on failed requests is null.
    let micros = |quantile: Estimate| {
        let of = |nanos: f64| nanos.is_finite().then_some(nanos / 1e3);
        json!({ "value": of(quantile.value), "low": of(quantile.low), "high": of(quantile.high) })
    };
    json!({
        "slo": finding.slo.to_string(), "allowed": finding.slo.allowed(), "missed": finding.missed,
        "quantile_us": finding.quantile.map(micros), "verdict": finding.verdict,
    })
}

fn time(nanos: f64) -> String {
    match nanos {
        _ if !nanos.is_finite() => "none".into(),
        _ if nanos < 1e6 => format!("{:.0} us", nanos / 1e3),
        _ if nanos < 1e9 => format!("{:.1} ms", nanos / 1e6),
        _ => format!("{:.2} s", nanos / 1e9),
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: ", self.slo)?;
        if let Some(Estimate { value, low, high }) = self.quantile {
            write!(out, "{} [{} .. {}], ", time(value), time(low), time(high))?;
        }
        match self.missed {
            Some(Estimate { value, low, high }) => {
                let percent = |share: f64| share * 100.0;
                write!(out, "missed by {:.2} % [{:.2} .. {:.2}]", percent(value), percent(low), percent(high))
            }
            None => out.write_str("no requests"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate, achieved, requests, runs, verdict, .. } = self;
        let runs = if *runs > 1 { format!(" in {runs} runs") } else { String::new() };
        write!(out, "{rate:>10.1}/s  {:<9}  {:<8}  ", verdict.name(), self.stamp.word())?;
        write!(out, "{achieved:.1}/s ok, {requests} requests{runs}")?;
        for finding in &self.findings {
            write!(out, "\n{:14}{finding}", "")?;
        }
        Ok(())
    }
}

impl fmt::Display for Found {
    /// The result alone; steps are shown as they end.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slos: Vec<_> = self.slos.iter().map(Slo::to_string).collect();
        let slos = slos.join(" and ");
        match (self.confirmed, self.refuted) {
            (Some(low), Some(high)) => writeln!(out, "{slos}: met at {low:.1}/s, missed at {high:.1}/s.")?,
            (Some(low), None) => writeln!(out, "{slos}: met at {low:.1}/s, and nothing above was refuted.")?,
            (None, Some(high)) => writeln!(out, "{slos}: missed already at {high:.1}/s; try a lower --min.")?,
            (None, None) => writeln!(out, "{slos}: nothing could be told; try a longer --step-duration.")?,
        }
        if !self.unclear.is_empty() {
            let rates: Vec<_> = self.unclear.iter().map(|rate| format!("{rate:.1}")).collect();
            writeln!(out, "Unclear between them: {} /s.", rates.join(", "))?;
        }
        if self.rechecked && self.ending == Ending::Found {
            writeln!(out, "Both ends were tried twice, each step at {:.0} % confidence.", self.confidence * 100.0)?;
        } else {
            writeln!(out, "The ends were not both tried twice: read them as a first guess.")?;
        }
        match (self.ending, self.steps.last()) {
            (Ending::TesterIsTheLimit, Some(step)) => {
                writeln!(out, "The tester, not the target, is the limit at {:.1}/s. Rig: {}", step.rate, step.stamp)
            }
            (Ending::Stopped, _) => writeln!(out, "It was stopped before its end."),
            _ => Ok(()),
        }
    }
}

impl Found {
    /// What that is for a program that asks: met somewhere, missed everywhere, or nobody can tell.
    pub fn verdict(&self) -> Verdict {
        match (self.confirmed, self.refuted) {
            (Some(_), _) => Verdict::Confirmed,
            (None, Some(_)) => Verdict::Refuted,
            (None, None) => Verdict::Unclear,
        }
    }
}
