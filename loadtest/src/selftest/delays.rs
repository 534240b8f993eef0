//! Fixed delays: what the tester reads of times that are known, and so its own error.

use super::check::{Check, Figure};
use super::probe::{Run, plan, run, streaming};
use super::server::{Script, Served, Server};
use super::{Extent, tail};
use crate::measure::Stamp;
use crate::stats::{quantile, sorted};
use crate::workload::{Arrivals, Span};
use hdrhistogram::Histogram;
use std::time::Duration;

/// What the error may be at p50: waking a thread of the server and one of the tester, on a machine with nothing else to do.
const P50_US: f64 = 500.0;
/// What it may be at p99 besides its share of the delay: one scheduling delay of a busy machine.
const P99_US: f64 = 2000.0;
/// The share of the delay that it may be besides, at p99.
const P99_SHARE: f64 = 0.05;

/// Whole answers after 1, 10 and 100 ms, and streams of known gaps.
pub(super) fn check(extent: Extent) -> anyhow::Result<Check> {
    let (mut figures, mut reasons) = (Vec::new(), Vec::new());
    for millis in [1, 10, 100] {
        let server = Server::start(Script::fixed(Duration::from_millis(millis)))?;
        let mut plan = plan(&server.url(), Arrivals::Constant { rate: 200.0 }, 128);
        plan.duration = Some(Span(extent.seconds(3.0)));
        let (run, served) = (run(&plan)?, tail(&server));
        let truth = served.iter().map(|served| served.last as f64).collect();
        figures.extend(errors(&format!("e2e, {millis} ms"), truth, &run.measured.timings.e2e));
        reasons.extend(run.stamp.reasons().to_vec());
    }
    let (run, served) = streams(extent)?;
    let first = served.iter().map(|served| served.first as f64).collect();
    figures.extend(errors("ttft, streams", first, &run.measured.timings.ttft));
    let gaps = served.iter().flat_map(|served| &served.gaps).map(|&gap| gap as f64).collect();
    figures.extend(errors("gap, 5 ms", gaps, &run.measured.timings.gap));
    let last = served.iter().map(|served| served.last as f64).collect();
    figures.extend(errors("e2e, streams", last, &run.measured.timings.e2e));
    reasons.extend(run.stamp.reasons().to_vec());
    let claim = "Known delays are read as what they truly were; the error holds loopback and both sides' wake-ups.";
    Ok(Check::new("delays", claim, figures).stamped(Stamp::of(reasons)))
}

fn streams(extent: Extent) -> anyhow::Result<(Run, Vec<Served>)> {
    let stream = Some((20, Duration::from_millis(5)));
    let server = Server::start(Script { stream, ..Script::fixed(Duration::from_millis(10)) })?;
    let mut plan = streaming(plan(&server.url(), Arrivals::Constant { rate: 40.0 }, 64));
    plan.duration = Some(Span(extent.seconds(3.0)));
    Ok((run(&plan)?, tail(&server)))
}

/// p50 and p99 of what was and of what a report would say of it, nanoseconds in, microseconds out.
fn errors(what: &str, truth: Vec<f64>, measured: &Histogram<u64>) -> Vec<Figure> {
    let truth = sorted(truth);
    let mut figures = vec![Figure::equal(format!("{what}: number"), "events", truth.len() as u64, measured.len())];
    for (name, q) in [("p50", 0.5), ("p99", 0.99)] {
        let truth = quantile(&truth, q).map_or(f64::NAN, |nanos| nanos / 1e3);
        let reported = if measured.is_empty() { f64::NAN } else { measured.value_at_quantile(q) as f64 / 1e3 };
        let limit = if q < 0.9 { P50_US } else { P99_US + P99_SHARE * truth };
        figures.push(Figure::new(format!("{what}: {name}"), "us", truth, reported, limit));
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tester_that_is_off_fails() {
        let truth = || vec![1e6; 100];
        let passed = |nanos: Vec<f64>| {
            let mut measured = Histogram::new_with_bounds(100, 3_600_000_000_000, 3).expect("a valid range");
            nanos.iter().for_each(|&nanos| measured.saturating_record(nanos as u64));
            errors("x", truth(), &measured).iter().map(|figure| figure.passed).collect::<Vec<_>>()
        };
        assert_eq!(passed(vec![1.1e6; 100]), [true, true, true]);
        assert_eq!(passed(vec![2e6; 100]), [true, false, true], "a millisecond at p50");
        assert_eq!(passed(vec![5e6; 100]), [true, false, false]);
        assert_eq!(passed(vec![1e6; 99]), [false, true, true], "one is missing");
        assert_eq!(passed(Vec::new()), [false, false, false]);
    }
}
