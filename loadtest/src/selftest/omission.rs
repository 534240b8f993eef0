//! Coordinated omission: a server that stands still once, and what the latencies must then be by calculation.
//!
//! At a constant rate R, requests planned during a stall of S wait for its end: their latencies are spread evenly from 0 to S.
//! With few connections a queue is left at its end, which falls while more requests come: the same even spread, over 1 / (1 - load)
//! of the stall, where the load is R times the service time for each connection. A tester that waits for its answers before it
//! sends again sees one slow request instead, and reports a p99 that no user had.

use super::Extent;
use super::check::{Check, Figure};
use super::probe::{Row, plan, run};
use super::server::{Script, Server, Stall};
use crate::stats::{quantile, sorted};
use crate::workload::{Arrivals, Span};
use std::time::Duration;

/// Requests a second.
const RATE: f64 = 200.0;
/// What the server needs for a request when it does not stand still.
const SERVICE: Duration = Duration::from_millis(1);
/// Besides two steps of the schedule: what a busy machine may add, microseconds.
const SLACK_US: f64 = 10_000.0;

/// The quantile `q` of `n` requests of which the share `f` waited for the end of a stall, evenly spread over its length.
pub(super) fn analytic(q: f64, stalled: f64, stall: f64, otherwise: f64) -> f64 {
    if q <= 1.0 - stalled { otherwise } else { (stall * (1.0 - (1.0 - q) / stalled)).max(otherwise) }
}

/// The open loop against the calculation, with enough connections and with far too few; and the closed loop for comparison.
pub(super) fn check(extent: Extent) -> anyhow::Result<Check> {
    let whole = extent.seconds(4.0);
    let stall = Stall { after: whole / 4, length: whole / 8 };
    let served = |arrivals, connections| -> anyhow::Result<_> {
        let server = Server::start(Script { stall: Some(stall), ..Script::fixed(SERVICE) })?;
        let mut plan = plan(&server.url(), arrivals, connections);
        plan.duration = Some(Span(whole));
        run(&plan)
    };
    let (open, few) = (served(Arrivals::Constant { rate: RATE }, 256)?, served(Arrivals::Constant { rate: RATE }, 4)?);
    let closed = served(Arrivals::Closed, 1)?;
    let share = stall.length.as_secs_f64() / whole.as_secs_f64();
    let mut figures = Vec::new();
    for (name, connections, run) in [("256 connections", 256.0, &open), ("4 connections", 4.0, &few)] {
        let waited = share / (1.0 - RATE * SERVICE.as_secs_f64() / connections);
        let times = sorted(run.times(Row::e2e));
        for (label, q) in [("p90", 0.90), ("p95", 0.95), ("p99", 0.99)] {
            let truth = analytic(q, waited, stall.length.as_secs_f64() * 1e6, SERVICE.as_secs_f64() * 1e6);
            let measured = quantile(&times, q).map_or(f64::NAN, |nanos| nanos / 1e3);
            figures.push(Figure::new(format!("e2e {label}, {name}"), "us", truth, measured, 2e6 / RATE + SLACK_US));
        }
    }
    let naive = sorted(closed.times(Row::e2e));
    let says = quantile(&naive, 0.99).map_or(f64::NAN, |nanos| nanos / 1e6);
    let truth = analytic(0.99, share, stall.length.as_secs_f64() * 1e3, SERVICE.as_secs_f64() * 1e3);
    let remark = format!(
        "A closed loop of one connection says p99 = {says:.1} ms of the same server: users who came at {RATE:.0}/s had {truth:.0} ms."
    );
    let claim = "A server that stands still is charged for every request that should have been sent meanwhile.";
    Ok(Check::new("omission", claim, figures).stamped(open.stamp).remark(remark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calculation_agrees_with_counting() {
        // 1000 requests in 10 s, a stall of 1 s at second 4: count what each would wait.
        let waits = (0..1000).map(|index| {
            let at = f64::from(index) / 100.0;
            if (4.0..5.0).contains(&at) { (5.0 - at) * 1e6 } else { 500.0 }
        });
        let waits = sorted(waits.collect());
        for q in [0.5, 0.89, 0.91, 0.95, 0.99, 0.999] {
            let counted = quantile(&waits, q).expect("values");
            let calculated = analytic(q, 0.1, 1e6, 500.0);
            assert!((counted - calculated).abs() <= 10_001.0, "{q}: {counted} and {calculated}");
        }
    }

    #[test]
    fn a_queue_that_is_left_widens_the_spread_by_its_load() {
        // 200 a second for 4 s, a stall of 0.5 s at second 1, and afterwards a request served every millisecond.
        let (mut free, mut waits) = (0.0_f64, Vec::new());
        for index in 0..800 {
            let at = f64::from(index) * 5e3;
            let begins = if (1e6..1.5e6).contains(&at) { free.max(1.5e6) } else { free.max(at) };
            free = begins + 1e3;
            waits.push(free - at);
        }
        let waits = sorted(waits);
        for q in [0.5, 0.9, 0.95, 0.99] {
            let counted = quantile(&waits, q).expect("values");
            let calculated = analytic(q, 0.125 / (1.0 - 0.2), 0.5e6, 1e3);
            assert!((counted - calculated).abs() <= 10_001.0, "{q}: {counted} and {calculated}");
        }
    }
}
