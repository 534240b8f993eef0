//! Attempts until one answers: which failure allows another try, where, and what the client hears when none is left.
//!
//! At most [`limits::ATTEMPTS_MAX`] attempts over all layers (rule Q2). A try that was not sent, that the provider refused, or whose
//! connection broke before a byte of an answer may be repeated elsewhere; one that timed out is not: the time is gone, and the provider
//! may bill it (rule Q1). A large body is sent once only (rule Q6). Every attempt leaves exactly one report.

use super::downstream::Downstream;
use super::draft::Draft;
use super::exchange::{Exchange, Next};
use super::fault::Fault;
use super::inquiry::Inquiry;
use super::plan::{Candidate, Plan};
use super::surface::Task;
use super::trail::Trail;
use super::tryout::{Ended, Entrant};
use crate::chat::fault::{FaultClass, UpstreamFault};
use crate::limits;
use crate::report::{AttemptReport, Outcome};
use crate::routing::standing::Why;
use std::time::Instant;

/// Tries the candidates in order.
pub async fn run(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    inquiry: &Inquiry<'_>,
    plan: &Plan,
) -> Result<Next, Fault> {
    let is_carried = matches!(inquiry.ask.task, Task::Raw(_) | Task::Object(_));
    let mut trail = Trail::of(is_carried);
    let mut reports = Reports::default();
    let snapshot = exchange.snapshot.clone();
    for candidate in &plan.candidates {
        if trail.over || exchange.attempts >= budget(candidate) {
            break;
        }
        if trail.rules_out(candidate) {
            continue;
        }
        let Some(provider) = snapshot.provider(candidate.target.provider) else { continue };
        let draft = match Draft::of(inquiry, &candidate.target, provider) {
            Ok(draft) => draft,
            // Nothing was sent: this is no attempt, and another candidate's format may have the words.
            Err(refusal) => {
                trail.unsuited.get_or_insert(refusal);
                continue;
            }
        };
        let entrant = Entrant::enter(exchange, inquiry, candidate, provider, plan.policy, draft);
        let (ended, report) = entrant.run(exchange, down).await;
        let outcome = report.outcome;
        reports.push(exchange, report);
        match ended {
            Ended::Served(next) => {
                reports.close(exchange);
                return Ok(next);
            }
            Ended::Gone => {
                reports.close(exchange);
                return Ok(Next::Abort);
            }
            Ended::Failed(refusal) => {
                park(exchange, candidate, &refusal.fault);
                trail.broken += usize::from(outcome == Outcome::Broken);
                let large = inquiry.body().len() > limits::REPLAY_BYTES_MAX || inquiry.rest().is_some();
                trail.over |= large && outcome != Outcome::Unreachable;
                trail.note(candidate, provider, refusal);
            }
        }
    }
    reports.close(exchange);
    Err(trail.verdict())
}

/// A credential that was told to wait, or has no money left, lets others go first for a while.
fn park(exchange: &Exchange<'_>, candidate: &Candidate, fault: &UpstreamFault) {
    let (why, wait) = match fault.class {
        FaultClass::RateLimit => (Why::RateLimit, fault.retry_after.unwrap_or(limits::RETRY_AFTER_UNKNOWN)),
        FaultClass::NoCredit => (Why::NoCredit, limits::PARKED_WITHOUT_CREDIT),
        _ => return,
    };
    if let Some(credential) = &candidate.credential {
        let now = Instant::now();
        exchange.core.steer.park(credential.id, why, now + wait, now);
    }
}

/// Attempts allowed when this candidate's turn comes.
fn budget(candidate: &Candidate) -> u32 {
    let configured = candidate.credential.as_ref().and_then(|credential| credential.max_retries);
    limits::ATTEMPTS_MAX.min(configured.map_or(limits::ATTEMPTS_MAX, |retries| retries.saturating_add(1)))
}

// === Reports ===

/// Holds the latest report back until it is known whether it is the exchange's last.
#[derive(Default)]
struct Reports {
    latest: Option<AttemptReport>,
}

impl Reports {
    fn push(&mut self, exchange: &Exchange<'_>, report: AttemptReport) {
        if let Some(earlier) = self.latest.replace(report) {
            deliver(exchange, earlier);
        }
    }

    fn close(&mut self, exchange: &Exchange<'_>) {
        if let Some(mut last) = self.latest.take() {
            last.last = true;
            deliver(exchange, last);
        }
    }
}

fn deliver(exchange: &Exchange<'_>, report: AttemptReport) {
    let delivered = exchange.core.reports.push(report);
    debug_assert!(delivered, "a report found no room although admission had reserved it");
}
