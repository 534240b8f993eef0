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
use crate::domain::trace::{Sampling, Trace, TraceParent};
use crate::http::head::{KnownField, RequestHead};
use crate::limits;
use crate::report::exchange::{Asker, Surface};
use crate::report::{AttemptReport, count_one};
use crate::routing::decision::{Attempted, Considered, Decision, Phases};
use crate::routing::lane::LaneKey;
use crate::routing::policy::Policy;
use crate::rt;
use crate::snapshot::AccessKey;
use std::cell::{Cell, OnceCell};
use std::net::IpAddr;
use std::sync::Arc;

/// What is noted of an exchange while it lasts.
#[derive(Debug)]
pub struct Notes {
    status: Cell<u16>,
    /// What was asked for.
    pub surface: Cell<Surface>,
    /// Whether the client was answered an error of ours, and whether that was for want of room.
    pub refusal: Cell<Option<Refusal>>,
    /// What only a report of the exchange tells; `None` where nobody wants one.
    pub told: Option<Box<Told>>,
}

/// An error of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Any but that.
    Refused,
    /// Turned away for want of room.
    Shed,
}

/// What a report of an exchange tells beside its figures.
#[derive(Debug)]
pub struct Told {
    /// Where it stands in its trace.
    pub trace: Trace,
    /// The client.
    pub client: Option<IpAddr>,
    /// Who asked.
    pub asker: OnceCell<Asker>,
    /// For which model, ordered by which policy.
    pub plan: OnceCell<(Arc<str>, Policy)>,
    /// The code of the error that we answered.
    pub error: OnceCell<Box<str>>,
    /// Bytes of the request.
    pub bytes_in: Cell<u64>,
}

impl Told {
    /// Of an exchange whose head was just read.
    pub fn of(trace: Trace, client: Option<IpAddr>, bytes_in: usize) -> Box<Self> {
        let (asker, plan, error) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        let bytes_in = Cell::new(bytes_in as u64);
        Box::new(Self { trace, client, asker, plan, error, bytes_in })
    }
}

/// The trace of the exchange with this head.
pub fn trace_of(head: &RequestHead, bytes: &[u8], request: RequestId, sampling: Sampling) -> Trace {
    let given = head.find(bytes, KnownField::Traceparent).and_then(TraceParent::parse);
    Trace::of(given, request, sampling)
}

impl Default for Notes {
    fn default() -> Self {
        let (status, surface) = (Cell::new(0), Cell::new(Surface::Unknown));
        Self { status, surface, refusal: Cell::new(None), told: None }
    }
}

impl Notes {
    /// Who asks is known.
    pub fn asked_by(&self, key: &AccessKey) {
        if let Some(told) = &self.told {
            let asker = || Asker { tenant: key.tenant.clone(), access_key: key.id };
            told.asker.get_or_init(asker);
        }
    }

    /// We answer an error of our own.
    pub fn refused(&self, refusal: Refusal, code: &str) {
        self.refusal.set(Some(refusal));
        if let Some(told) = &self.told {
            told.error.get_or_init(|| bounded(code, limits::FAULT_CODE_BYTES_MAX).into());
        }
    }

    /// The body was read.
    pub fn received(&self, bytes: usize) {
        if let Some(told) = &self.told {
            told.bytes_in.set(told.bytes_in.get() + bytes as u64);
        }
    }

    /// The client is told this status; 0 until then.
    pub fn told(&self, status: u16) {
        self.status.set(status);
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
pub fn record(exchange: &Exchange<'_>, down: &Downstream, inquiry: &Inquiry<'_>, plan: &mut Plan) {
    let reports = &exchange.core.reports;
    count_one(&reports.gauges.decisions[plan.policy as usize]);
    if let Some(told) = &exchange.notes.told {
        told.plan.get_or_init(|| (name_of(&inquiry.ask.model_name), plan.policy));
    }
    let lineups = &exchange.core.lineups;
    if !is_kept(exchange) {
        return lineups.return_list(std::mem::take(&mut plan.considered));
    }
    let status = exchange.notes.status.get();
    let whole = rt::coarse_now().saturating_duration_since(exchange.began);
    let mut phases = exchange.clock.phases(whole, exchange.waited, down.flushed);
    if status == 101 {
        // A session is neither: it goes both ways for as long as both sides like.
        phases.translate_us = 0;
    }
    let (id, core) = (exchange.id, exchange.core.index);
    let subject = Subject { id, core, at: exchange.at, key: inquiry.key, model: &inquiry.ask.model_name };
    let mut spare = reports.spare_decision();
    // The list that it held goes to the next exchange of this connection.
    let mut attempts = spare.as_mut().map(|spare| std::mem::take(&mut spare.attempts)).unwrap_or_default();
    exchange.books.swap_attempts(&mut attempts);
    let outcome = Outcome { attempts, phases, status };
    reports.push_decision(match spare {
        Some(mut spare) => {
            lineups.return_list(std::mem::take(&mut spare.candidates));
            refill(&mut spare, &subject, plan, outcome);
            spare
        }
        None => fresh(&subject, plan, outcome),
    });
}

#[cold]
fn fresh(subject: &Subject<'_>, plan: &mut Plan, outcome: Outcome) -> Box<Decision> {
    Box::new(decision(subject, plan, outcome))
}

fn is_kept(exchange: &Exchange<'_>) -> bool {
    exchange.snapshot.settings.routing.decisions_kept > 0
}

/// What came of a plan.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Attempts made, in order.
    pub attempts: Vec<Attempted>,
    /// Where our own time went.
    pub phases: Phases,
    /// The status that the client got.
    pub status: u16,
}

/// A decision from its parts.
pub fn decision(subject: &Subject<'_>, plan: &mut Plan, outcome: Outcome) -> Decision {
    let Plan { considered, policy, goal, need, category, exploration, .. } = plan;
    Decision {
        id: subject.id,
        tenant: subject.key.tenant.clone(),
        access_key: subject.key.id,
        at: subject.at,
        core: subject.core,
        model: name_of(subject.model),
        category: category.take(),
        policy: *policy,
        goal: *goal,
        need: std::mem::take(need),
        exploration: *exploration,
        candidates: bounded_list(std::mem::take(considered)),
        attempts: outcome.attempts,
        phases: outcome.phases,
        status: outcome.status,
    }
}

/// The same over one that is no longer remembered: nearly always of the same tenant, by the same name.
fn refill(known: &mut Decision, subject: &Subject<'_>, plan: &mut Plan, outcome: Outcome) {
    let Plan { considered, policy, goal, need, category, exploration, .. } = plan;
    if known.tenant != subject.key.tenant {
        known.tenant = subject.key.tenant.clone();
    }
    if *known.model != *subject.model {
        known.model = name_of(subject.model);
    }
    (known.id, known.access_key, known.at, known.core) = (subject.id, subject.key.id, subject.at, subject.core);
    (known.category, known.policy, known.goal, known.need) = (category.take(), *policy, *goal, std::mem::take(need));
    (known.exploration, known.candidates) = (*exploration, bounded_list(std::mem::take(considered)));
    (known.attempts, known.phases, known.status) = (outcome.attempts, outcome.phases, outcome.status);
}

fn bounded_list(mut considered: Vec<Considered>) -> Vec<Considered> {
    if considered.len() > limits::DECISION_CANDIDATES_MAX {
        considered.truncate(limits::DECISION_CANDIDATES_MAX);
        considered.shrink_to_fit();
    }
    considered
}

/// A client chooses the name: bounded, unless a provider knows it.
fn name_of(model: &str) -> Arc<str> {
    match model.len() <= limits::MODEL_NAME_BYTES_MAX {
        true => Arc::from(model),
        false => Arc::from(bounded(model, limits::MODEL_NAME_BYTES_MAX)),
    }
}

/// What is remembered of an attempt.
pub(super) fn attempted(report: &AttemptReport) -> Attempted {
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

/// The same over what is known of another one.
pub(super) fn renote(known: &mut Attempted, report: &AttemptReport) {
    if known.lane.provider != report.provider {
        known.lane.provider = report.provider.clone();
    }
    if known.lane.model != report.model {
        known.lane.model = report.model.clone();
    }
    known.lane.credential = report.credential;
    (known.outcome, known.status, known.key_refused) = (report.outcome.name(), report.status, report.key_refused);
    (known.connect_us, known.tls_us, known.first_byte_us) = (report.connect_us, report.tls_us, report.first_byte_us);
    (known.first_token_us, known.total_us, known.cost) = (report.first_token_us, report.total_us, report.cost);
}
