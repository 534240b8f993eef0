//! What a gateway adds: pairs of requests, one direct and one through it, and the differences within them.
//!
//! ```text
//! schedule  which request of a pair leaves when        pairs     threads that send them over warm connections (link)
//! provider  the simulated provider's own stamps        judge     columns, differences, intervals
//! rig       whether the tester kept its plan           text, document   the result for people
//! ```
//!
//! The difference within a pair cancels what both requests have in common; the provider's recorded time, taken out of each
//! request, cancels what they have not: its jitter. How each figure is reckoned stands in `docs/load-overhead.md`.

mod document;
mod judge;
mod link;
mod pairs;
mod provider;
mod result;
mod rig;
mod schedule;
mod text;

pub use document::document;
pub use link::{Link, Place, Reply};
pub use pairs::{LANES_MAX, Pace, Question, Row, Sent, Target, send};
pub use provider::{Provider, Stamps};
pub use result::{Added, Between, CURVE, Limit, Measure, Overhead, SHIFTS, Spread, TargetLine};
pub use schedule::Schedule;

use crate::engine::Stop;
use crate::stats::CONFIDENCE;
use anyhow::ensure;

/// Requests of one run at most: all of them are kept, with some 200 bytes each.
pub const REQUESTS_MAX: u64 = 1_000_000;

/// Sends all pairs and says what each target adds to the first one, which is the direct one.
///
/// # Errors
/// A target does not answer, or the plan is too large; the sentence says which and what would help.
pub fn measure(
    targets: &[Target],
    question: &Question,
    pace: &Pace,
    provider: Option<&Provider<'_>>,
    stop: &Stop,
) -> anyhow::Result<Overhead> {
    let schedule = &pace.schedule;
    ensure!(
        targets.len() >= 2 && schedule.targets == targets.len(),
        "there must be a direct target and one through a gateway"
    );
    ensure!(schedule.rate.is_finite() && schedule.rate > 0.0, "--rate must be above zero");
    ensure!(schedule.pairs >= 1, "there are no pairs to send; raise --pairs, or --duration times --rate");
    let requests = schedule.pairs.saturating_mul(targets.len() as u64);
    ensure!(
        requests <= REQUESTS_MAX,
        "{requests} requests are more than {REQUESTS_MAX}; lower --pairs, --duration or --rate"
    );
    let mut untold = Vec::new();
    let position = provider.map(Provider::position).transpose();
    let position = position.unwrap_or_else(|error| {
        untold.push(format!("three-point timing and the provider's own time: no stamps from the provider ({error:#})"));
        None
    });
    if provider.is_none() {
        untold.push("three-point timing and the provider's own time: nobody was asked for stamps; see --mock".into());
    }
    let sent = pairs::send(targets, question, pace, stop)?;
    let stamps = match (provider, position) {
        (Some(provider), Some(position)) => Some(provider.since(position)?),
        _ => None,
    };
    let names: Vec<(String, String)> = targets.iter().map(|target| (target.name.clone(), target.url.clone())).collect();
    let judged = judge::judge(&names, question.stream, schedule, &sent, stamps.as_ref());
    untold.extend(judged.untold);
    Ok(Overhead {
        tool: "igris-load overhead".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        rerun: String::new(),
        pairs: schedule.pairs,
        rate: schedule.rate,
        stream: question.stream,
        seed: schedule.seed,
        elapsed_s: sent.elapsed.as_secs_f64(),
        lanes: sent.lanes,
        confidence: CONFIDENCE,
        targets: judged.targets,
        measures: judged.measures,
        between: judged.between,
        limits: Vec::new(),
        untold,
        stamp: rig::judge(&sent, schedule, stop.is_stopped()),
    })
}
