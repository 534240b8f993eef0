//! Every failure ends in its one outcome, and all sums are those of the provider's own log.

use super::Extent;
use super::check::{Check, Figure};
use super::probe::{Run, plan, run, streaming};
use crate::Simulator;
use crate::measure::{Objective, Outcome};
use crate::simulator::{Behaviour, Counts, Fault, FaultRule, Outcome as Played, When};
use crate::workload::{Arrivals, Span};
use std::time::Duration;

/// Requests against each fault.
const EACH: u64 = 10;
/// How long the log has to learn that the last answer has ended.
const SETTLE: Duration = Duration::from_secs(5);

/// Each fault of the simulator, whether it strikes streams or whole answers, and the one outcome it must end in.
fn faults() -> Vec<(Fault, bool, Outcome)> {
    let slow = Fault::SlowFirstByte { delay: Duration::from_millis(20) };
    vec![
        (Fault::status(429), false, Outcome::RateLimited),
        (Fault::insufficient_quota(), false, Outcome::RateLimited),
        (Fault::status(401), true, Outcome::Refused),
        (Fault::status(404), false, Outcome::Refused),
        (Fault::status(500), true, Outcome::ServerError),
        (Fault::status(503), false, Outcome::ServerError),
        (Fault::Stall { after_events: 2 }, true, Outcome::Timeout),
        (Fault::Stall { after_events: 0 }, false, Outcome::Timeout),
        (Fault::CutMidEvent { after_events: 2 }, true, Outcome::Truncated),
        (Fault::CutMidEvent { after_events: 0 }, false, Outcome::Truncated),
        (Fault::Reset { after_bytes: 600 }, true, Outcome::Truncated),
        (Fault::ErrorInStream { after_events: 2 }, true, Outcome::StreamError),
        (Fault::ErrorInStream { after_events: 0 }, false, Outcome::ServerError),
        (Fault::GarbageHead, false, Outcome::Malformed),
        (Fault::CloseBeforeResponse, false, Outcome::Closed),
        (slow, true, Outcome::Ok),
    ]
}

/// Each fault alone, then several in one run.
pub(super) fn taxonomy(extent: Extent) -> anyhow::Result<Check> {
    let mut figures = Vec::new();
    for (fault, stream, outcome) in faults() {
        let what = format!("{} of {} -> {}", fault.name(), if stream { "streams" } else { "answers" }, outcome.name());
        let (run, counts) = against(Behaviour::default().with_fault(fault, When::Always), stream, EACH)?;
        // A server that closes after its answer may do so while the next request is on its way: that one ends `closed` and
        // never arrives, so that the truth is what arrived.
        let lost = if outcome == Outcome::Closed { 0 } else { run.ended(Outcome::Closed) };
        let figure = Figure::equal(what, "requests", counts.requests, run.ended(outcome));
        let once = counts.requests + lost == EACH && run.rows.len() as u64 == EACH;
        figures.push(Figure { passed: figure.passed && once, ..figure });
    }
    figures.extend(mixed(if extent.quick { 200 } else { 2000 })?);
    let claim = "Each way to fail is told apart, every request ends once, and the provider's log counts the same.";
    Ok(Check::new("outcomes", claim, figures))
}

fn against(behaviour: Behaviour, stream: bool, requests: u64) -> anyhow::Result<(Run, Counts)> {
    let simulator = Simulator::builder().behaviour(behaviour).start()?;
    let mut plan = plan(&simulator.base_url(), Arrivals::Closed, 4);
    plan.requests = Some(requests);
    plan.timeout = Span(Duration::from_millis(500));
    let plan = if stream { streaming(plan) } else { plan };
    let run = run(&plan)?;
    simulator.truth().wait_settled(SETTLE);
    Ok((run, simulator.truth().counts()))
}

/// Faults among good answers: each kind as often as the log says.
fn mixed(requests: u64) -> anyhow::Result<Vec<Figure>> {
    let mut behaviour = Behaviour::default();
    let kinds = [
        (Fault::status(429), When::Every(7), Outcome::RateLimited),
        (Fault::status(503), When::Every(5), Outcome::ServerError),
        (Fault::CutMidEvent { after_events: 1 }, When::Every(4), Outcome::Truncated),
        (Fault::ErrorInStream { after_events: 1 }, When::Every(3), Outcome::StreamError),
    ];
    behaviour.faults.extend(kinds.iter().map(|(fault, when, _)| FaultRule::new(fault.clone(), *when)));
    let simulator = Simulator::builder().behaviour(behaviour).start()?;
    let mut plan = streaming(plan(&simulator.base_url(), Arrivals::Closed, 8));
    plan.requests = Some(requests);
    let run = run(&plan)?;
    simulator.truth().wait_settled(SETTLE);
    let log = simulator.truth().requests();
    let played = |wanted: &Played| log.iter().filter(|record| record.outcome == *wanted).count() as u64;
    let mut figures: Vec<_> = kinds
        .iter()
        .map(|(fault, _, outcome)| {
            let truth = played(&Played::Faulted(fault.name()));
            Figure::equal(format!("mixed: {}", outcome.name()), "requests", truth, run.ended(*outcome))
        })
        .collect();
    figures.push(Figure::equal("mixed: ok", "requests", played(&Played::Completed), run.ended(Outcome::Ok)));
    let arrived = run.rows.len() as u64 - run.ended(Outcome::Closed);
    figures.push(Figure::equal("mixed: all that arrived", "requests", log.len() as u64, arrived));
    Ok(figures)
}

/// Half of all requests are slow, and so not good: goodput by the recorder against what the provider played.
fn goodput(requests: u64) -> anyhow::Result<Vec<Figure>> {
    let slow = Fault::SlowFirstByte { delay: Duration::from_millis(800) };
    let behaviour =
        Behaviour::default().with_fault(slow, When::Every(2)).with_fault(Fault::status(503), When::Every(5));
    let simulator = Simulator::builder().behaviour(behaviour).start()?;
    let mut plan = plan(&simulator.base_url(), Arrivals::Constant { rate: 50.0 }, 64);
    plan.requests = Some(requests);
    plan.duration = Some(Span(Duration::from_secs(60)));
    plan.objectives = vec![Objective::Ttft { max: Span(Duration::from_millis(400)) }];
    let run = run(&plan)?;
    simulator.truth().wait_settled(SETTLE);
    let log = simulator.truth().requests();
    let good = log.iter().filter(|record| record.outcome == Played::Completed && record.took.is_some_and(is_quick));
    let sums = &run.measured.sums;
    Ok(vec![
        Figure::equal("good under ttft<400ms", "requests", good.count() as u64, sums.good),
        Figure::equal("planned", "requests", requests, run.measured.planned),
    ])
}

/// Far from the objective on either side, so that no delay of this machine makes the difference.
fn is_quick(took: Duration) -> bool {
    took < Duration::from_millis(400)
}

/// Tokens and events of streams and of whole answers against the log, and goodput.
pub(super) fn tokens(extent: Extent) -> anyhow::Result<Check> {
    let requests = if extent.quick { 100 } else { 1000 };
    let mut figures = Vec::new();
    for (name, stream) in [("streams", true), ("answers", false)] {
        let (run, counts) = against(Behaviour { tokens: 23, ..Behaviour::default() }, stream, requests)?;
        let sums = &run.measured.sums;
        figures.push(Figure::equal(format!("{name}: ended ok"), "requests", requests, run.ended(Outcome::Ok)));
        figures.push(Figure::equal(
            format!("{name}: output tokens"),
            "tokens",
            counts.completion_tokens,
            sums.output_tokens,
        ));
        figures.push(Figure::equal(format!("{name}: input tokens"), "tokens", counts.prompt_tokens, sums.input_tokens));
        if stream {
            figures.push(Figure::equal(format!("{name}: events"), "events", counts.events, sums.events));
        }
    }
    figures.extend(goodput(if extent.quick { 20 } else { 100 })?);
    let claim = "Tokens and events are exactly those that the provider billed and sent, and so is goodput.";
    Ok(Check::new("tokens", claim, figures))
}
