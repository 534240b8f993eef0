//! The account of a run, for people and for programs.

use super::run::{Plan, Shape};
use super::tally::{Ending, Tally};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::fmt;
use std::time::Duration;

/// A finished run.
pub struct Report {
    /// What was to be done.
    pub plan: Plan,
    /// What became of it.
    pub tally: Tally,
    /// From the first request to the last answer.
    pub elapsed: Duration,
}

impl Report {
    /// Whether every request that was to be sent ended well.
    pub fn is_success(&self) -> bool {
        self.tally.total() > 0 && self.tally.ended(Ending::Ok) == self.tally.total()
    }

    /// The report as JSON; all times in microseconds.
    pub fn to_json(&self) -> Value {
        let tally = &self.tally;
        let outcomes: serde_json::Map<_, _> =
            Ending::ALL.iter().map(|ending| (ending.name().to_owned(), tally.ended(*ending).into())).collect();
        let (mode, planned_rate) = match self.plan.shape {
            Shape::Closed { .. } => ("closed", Value::Null),
            Shape::Open { rate, .. } => ("open", rate.into()),
        };
        json!({
            "tool": "igris-load", "version": env!("CARGO_PKG_VERSION"),
            "target": format!("http://{}{}", self.plan.target.host, self.plan.target.path),
            "mode": mode, "stream": self.plan.prompts.stream, "connections": self.plan.connections,
            "planned_rate": planned_rate,
            "elapsed_s": self.elapsed.as_secs_f64(),
            "requests": tally.total(),
            "rate": self.rate(),
            "outcomes": outcomes,
            "verified": tally.verified,
            "events": tally.events, "body_bytes": tally.body_bytes, "connections_opened": tally.connections,
            "ttft": figures(&tally.ttft), "e2e": figures(&tally.e2e), "send_delay": figures(&tally.send_delay),
            "event_gap": figures(&tally.event_gap), "gateway_overhead": figures(&tally.overhead),
            "failures": tally.samples,
        })
    }

    /// Requests that ended, per second.
    pub fn rate(&self) -> f64 {
        self.tally.total() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = &self.tally;
        let seconds = self.elapsed.as_secs_f64();
        writeln!(out, "{} requests in {seconds:.3} s, {:.1} a second", tally.total(), self.rate())?;
        for ending in Ending::ALL {
            if tally.ended(ending) > 0 {
                writeln!(out, "  {:<16}{:>10}", ending.name(), tally.ended(ending))?;
            }
        }
        if tally.verified > 0 {
            writeln!(out, "  {:<16}{:>10}", "(verified)", tally.verified)?;
        }
        writeln!(out, "{:<18}{:>10}{:>10}{:>10}{:>10}{:>10}  us", "", "p50", "p90", "p99", "p99.9", "max")?;
        let rows = [
            ("first token", &tally.ttft),
            ("whole answer", &tally.e2e),
            ("sent late by", &tally.send_delay),
            ("between events", &tally.event_gap),
            ("gateway's own", &tally.overhead),
        ];
        for (name, histogram) in rows.iter().filter(|(_, histogram)| !histogram.is_empty()) {
            write!(out, "{name:<18}")?;
            for quantile in [0.5, 0.9, 0.99, 0.999, 1.0] {
                write!(out, "{:>10.1}", micros(histogram.value_at_quantile(quantile)))?;
            }
            writeln!(out)?;
        }
        tally.samples.iter().try_for_each(|sample| writeln!(out, "failure: {sample}"))
    }
}

/// The figures of one histogram in microseconds; null where it is empty.
fn figures(histogram: &Histogram<u64>) -> Value {
    if histogram.is_empty() {
        return Value::Null;
    }
    let at = |quantile| micros(histogram.value_at_quantile(quantile));
    json!({
        "count": histogram.len(), "min": micros(histogram.min()), "mean": histogram.mean() / 1e3,
        "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p999": at(0.999), "max": micros(histogram.max()),
    })
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}
