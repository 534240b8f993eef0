//! A against A must be the same, and an effect that was put in must be found with its size: the statistics on real measurements.

use super::Extent;
use super::check::{Check, Figure};
use super::probe::{Row, Run, plan, run};
use super::server::{Script, Server};
use crate::compare::{self, Comparison, Metric, Series, Tolerance, Word};
use crate::report::Report;
use crate::simulator::Latency;
use crate::stats::{Estimate, clopper_pearson, two_sample_shift};
use crate::workload::Arrivals;
use std::time::{Duration, SystemTime};

/// How long the server thinks: spread as answers of real servers are.
const THINKS: Latency = Latency::LogNormal { median: Duration::from_millis(1), sigma: 0.4 };
/// What is put in.
const EFFECT: Duration = Duration::from_micros(500);
/// Requests of each side in one comparison.
const SIDE: usize = 40;
/// The confidence of one comparison of A with A: so often it may be wrong.
const CONFIDENCE: f64 = 0.95;
/// The confidence at which this check itself may be wrong.
const OWN_CONFIDENCE: f64 = 0.999;

/// One request after the other on one connection, so that both sides number them alike; odd ones get the effect.
fn alternating(requests: usize, effect: Duration, seed: u64) -> anyhow::Result<Run> {
    let delay = move |number: u64| {
        let drawn = THINKS.draw(seed.wrapping_mul(1_000_003).wrapping_add(number));
        if number % 2 == 1 { drawn + effect } else { drawn }
    };
    let server = Server::start(Script { delay: Box::new(delay), stream: None, stall: None })?;
    let mut plan = plan(&server.url(), Arrivals::Closed, 1);
    plan.requests = Some(requests as u64);
    run(&plan)
}

/// Times from send to last byte of even and of odd requests.
fn sides(rows: &[Row]) -> (Vec<f64>, Vec<f64>) {
    let of = |side: u64| {
        rows.iter().filter(|row| row.index % 2 == side).filter_map(Row::service).map(|nanos| nanos as f64).collect()
    };
    (of(0), of(1))
}

/// Whole results of two servers, the second of which may take longer, compared as `igris-load compare` does: runs are the unit, and
/// take turns.
fn compared(extent: Extent, effect: Duration) -> anyhow::Result<Comparison> {
    let (runs, requests) = if extent.quick { (3, 150) } else { (5, 300) };
    let mut sides = [Vec::new(), Vec::new()];
    for turn in 0..runs {
        for (at, extra) in [(0, Duration::ZERO), (1, effect)] {
            let seed = extent.seed.wrapping_mul(7919).wrapping_add(turn * 2 + at as u64);
            let delay = move |number: u64| THINKS.draw(seed.wrapping_mul(1_000_003).wrapping_add(number)) + extra;
            let server = Server::start(Script { delay: Box::new(delay), stream: None, stall: None })?;
            let mut plan = plan(&server.url(), Arrivals::Closed, 1);
            plan.requests = Some(requests);
            let run = run(&plan)?;
            sides[at]
                .push(compare::Run::of(format!("run {turn}"), &Report::new(plan, run.measured, SystemTime::now())));
        }
    }
    let metrics = [Metric::Quantile(0.5, Series::E2e)];
    Ok(compare::compare(&sides[0], &sides[1], &metrics, Tolerance { percent: 10.0, points: 0.5 }, extent.seed))
}

/// What a comparison said, and by how much, in one line.
fn in_words(comparison: &Comparison) -> String {
    let change = comparison.lines.first().and_then(|line| line.change).map_or("nothing".into(), |change| {
        format!("{:+.1} % [{:+.1} .. {:+.1}]", change.value, change.low, change.high)
    });
    format!("Whole runs, p50(e2e): {change}, so {}.", comparison.verdict.name())
}

/// The same server twice, many times over: how often a difference is seen that is not there.
pub(super) fn null(extent: Extent) -> anyhow::Result<Check> {
    let comparisons = if extent.quick { 10 } else { 60 };
    let run = alternating(comparisons * 2 * SIDE, Duration::ZERO, extent.seed)?;
    let verdicts = run.rows.chunks(2 * SIDE).filter_map(|rows| {
        let (a, b) = sides(rows);
        two_sample_shift(&a, &b, CONFIDENCE)
    });
    let alarms: Vec<bool> = verdicts.map(|shift| !shift.covers(0.0)).collect();
    let (wrong, all) = (alarms.iter().filter(|alarm| **alarm).count() as u64, alarms.len() as u64);
    let remark = format!(
        "{wrong} of {all} comparisons of a server with itself saw a difference; {:.0} % may.",
        (1.0 - CONFIDENCE) * 100.0
    );
    let whole = compared(extent, Duration::ZERO)?;
    let difference = matches!(whole.verdict, Word::Better | Word::Worse);
    let figures = vec![
        Figure::equal("comparisons made", "verdicts", comparisons as u64, all),
        false_alarms(wrong, all),
        Figure::equal("whole runs: a difference is seen", "verdicts", 0, u64::from(difference)),
    ];
    let claim = "A server compared with itself is the same, but for as many false alarms as the confidence allows.";
    Ok(Check::new("null", claim, figures).stamped(run.stamp).remark(remark).remark(in_words(&whole)))
}

/// The share of false alarms; it may be above its due by what chance explains in so few comparisons.
fn false_alarms(wrong: u64, all: u64) -> Figure {
    let due = 1.0 - CONFIDENCE;
    let share = wrong as f64 / all.max(1) as f64;
    // Where even the interval's low end is above its due, it is not chance.
    let low = clopper_pearson(wrong, all, OWN_CONFIDENCE).map_or(1.0, |interval| interval.low);
    let explained = low <= due;
    let limit = if explained { (share - due).abs().max(due) } else { due };
    Figure { passed: explained, ..Figure::new("share of false alarms", "share", due, share, limit) }
}

/// Every other request takes longer by a known time: the difference is found, and its interval holds that time.
pub(super) fn injected(extent: Extent) -> anyhow::Result<Check> {
    let requests = if extent.quick { 300 } else { 2000 };
    let run = alternating(requests, EFFECT, extent.seed.wrapping_add(1))?;
    let (a, b) = sides(&run.rows);
    let found = two_sample_shift(&a, &b, OWN_CONFIDENCE);
    let remark = found.map_or("Too few answers for an interval.".into(), |shift| {
        let Estimate { value, low, high } = shift.scaled(1e-3);
        format!(
            "Found {value:+.0} us, between {low:+.0} and {high:+.0} us at {:.1} % confidence.",
            OWN_CONFIDENCE * 100.0
        )
    });
    let truth = EFFECT.as_secs_f64() * 1e9;
    let whole = compared(extent, EFFECT)?;
    let worse = u64::from(whole.verdict == Word::Worse);
    let figures = vec![sized(found, truth), Figure::equal("whole runs: worse is seen", "verdicts", 1, worse)];
    let claim = "An effect that was put in is seen, and its interval holds the true size and not zero.";
    Ok(Check::new("injected", claim, figures).stamped(run.stamp).remark(remark).remark(in_words(&whole)))
}

/// The shift against the truth, nanoseconds; the limit is the interval's own half width, and zero must lie outside it.
fn sized(found: Option<Estimate>, truth: f64) -> Figure {
    let shift = found.unwrap_or(Estimate { value: f64::NAN, low: f64::NAN, high: f64::NAN });
    let figure = Figure::new("shift of e2e", "us", truth / 1e3, shift.value / 1e3, shift.half_width() / 1e3);
    Figure { passed: shift.covers(truth) && !shift.covers(0.0), ..figure }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn false_alarms_beyond_chance_fail() {
        let passed = |wrong, all| false_alarms(wrong, all).passed;
        assert!(passed(0, 60) && passed(3, 60) && passed(7, 60));
        assert!(!passed(14, 60) && !passed(60, 60));
        assert!(passed(2, 10) && !passed(6, 10));
    }

    #[test]
    fn an_effect_must_be_seen_and_be_of_its_size() {
        let shift = |low, high| Some(Estimate { value: (low + high) / 2.0, low, high });
        assert!(sized(shift(400e3, 600e3), 500e3).passed);
        assert!(!sized(shift(-10e3, 600e3), 500e3).passed, "zero is possible too");
        assert!(!sized(shift(600e3, 700e3), 500e3).passed, "too large");
        assert!(!sized(None, 500e3).passed);
    }
}
