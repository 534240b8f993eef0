//! What is remembered of an exchange, so that its routing can be explained and replayed: the plan, the attempts, the phases.
//!
//! Facts only, never text of a prompt or an answer (rule R1). A decision takes the plan's own list over and copies little else; it goes to
//! the control plane through a bounded queue whose oldest gives way, so nothing here waits or fails. A request that was refused before
//! there was a plan leaves none.

use super::downstream::Downstream;
use super::exchange::Exchange;
use super::inquiry::Inquiry;
use super::plan::Plan;
use crate::domain::clock::UnixMillis;
use crate::domain::id::RequestId;
use crate::domain::text::bounded;
use crate::limits;
use crate::report::AttemptReport;
use crate::routing::decision::{Attempted, Decision, Phases};
use crate::routing::lane::LaneKey;
use crate::snapshot::AccessKey;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What is noted of an exchange while it lasts.
#[derive(Debug, Default)]
pub struct Notes {
    attempts: RefCell<Vec<Attempted>>,
    status: Cell<u16>,
}

impl Notes {
    /// The client is told this status; 0 until then.
    pub fn told(&self, status: u16) {
        self.status.set(status);
    }

    /// An attempt is over.
    pub fn closed(&self, exchange: &Exchange<'_>, report: &AttemptReport) {
        let mut attempts = self.attempts.borrow_mut();
        if is_kept(exchange) && attempts.len() < limits::DECISION_ATTEMPTS_MAX {
            attempts.push(attempted(report));
        }
    }
}

/// Which exchange a decision is of.
pub struct Subject<'a> {
    /// Its id.
    pub id: RequestId,
    /// On which core.
    pub core: usize,
    /// When it began.
    pub at: UnixMillis,
    /// Who asked.
    pub key: &'a AccessKey,
    /// For which model, by the name asked for.
    pub model: &'a str,
}

/// Keeps the decision of an exchange that is over.
pub fn record(exchange: &Exchange<'_>, down: &Downstream, inquiry: &Inquiry<'_>, plan: Plan) {
    let reports = &exchange.core.reports;
    reports.gauges.decisions[plan.policy as usize].fetch_add(1, Ordering::Relaxed);
    if !is_kept(exchange) {
        return;
    }
    let status = exchange.notes.status.get();
    let whole = exchange.began.elapsed();
    let mut phases = exchange.clock.phases(whole, exchange.waited, down.flushed);
    if status == 101 {
        // A session is neither: it goes both ways for as long as both sides like.
        phases.translate_us = 0;
    }
    let (id, core) = (exchange.id, exchange.core.index);
    let at = UnixMillis(UnixMillis::now().0.saturating_sub(u64::try_from(whole.as_millis()).unwrap_or(u64::MAX)));
    let subject = Subject { id, core, at, key: inquiry.key, model: &inquiry.ask.model_name };
    reports.push_decision(decision(&subject, plan, exchange.notes.attempts.take(), phases, status));
}

fn is_kept(exchange: &Exchange<'_>) -> bool {
    exchange.snapshot.settings.routing.decisions_kept > 0
}

/// A decision from its parts.
pub fn decision(subject: &Subject<'_>, plan: Plan, attempts: Vec<Attempted>, phases: Phases, status: u16) -> Decision {
    let Plan { mut considered, policy, goal, need, category, exploration, .. } = plan;
    if considered.len() > limits::DECISION_CANDIDATES_MAX {
        considered.truncate(limits::DECISION_CANDIDATES_MAX);
        considered.shrink_to_fit();
    }
    Decision {
        id: subject.id,
        tenant: subject.key.tenant.clone(),
        access_key: subject.key.id,
        at: subject.at,
        core: subject.core,
        model: name_of(subject.model),
        category,
        policy,
        goal,
        need,
        exploration,
        candidates: considered,
        attempts,
        phases,
        status,
    }
}

/// A client chooses the name: bounded, unless a provider knows it.
fn name_of(model: &str) -> Arc<str> {
    match model.len() <= limits::MODEL_NAME_BYTES_MAX {
        true => Arc::from(model),
        false => Arc::from(bounded(model, limits::MODEL_NAME_BYTES_MAX)),
    }
}

fn attempted(report: &AttemptReport) -> Attempted {
    Attempted {
        lane: LaneKey { provider: report.provider.clone(), model: report.model.clone(), credential: report.credential },
        outcome: report.outcome.name(),
        status: report.status,
        key_refused: report.key_refused,
        connect_us: report.connect_us,
        tls_us: report.tls_us,
        first_byte_us: report.first_byte_us,
        first_token_us: report.first_token_us,
        total_us: report.total_us,
        cost: report.cost,
    }
}
