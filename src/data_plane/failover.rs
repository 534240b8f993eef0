//! Attempts until one answers: which failure allows another try, where, and what the client hears when none is left.
//!
//! At most [`limits::ATTEMPTS_MAX`] attempts over all layers (rule Q2). A try that was not sent, or that the provider refused, may be
//! repeated elsewhere; one that failed or broke before a byte of an answer may unless the tenant says otherwise, and one that timed out
//! only if it asks for that: the provider may bill it (rule Q1). Repeating has a budget, so that an outage does not multiply its load; a
//! large body is sent once only (rule Q6). Every attempt has one intent and one close in the exchange's `books`.

use super::attempt::{Failure, unless_gone};
use super::downstream::Downstream;
use super::draft::Draft;
use super::events;
use super::exchange::{Exchange, Next};
use super::fault::Fault;
use super::inquiry::Inquiry;
use super::plan::{Candidate, Plan};
use super::surface::Task;
use super::together;
use super::trail::Trail;
use super::tryout::{Ended, Entrant};
use super::turns::{Turn, Turns};
use crate::board::Scope;
use crate::chat::fault::{FaultClass, UpstreamFault};
use crate::limits;
use crate::report::Outcome;
use crate::routing::retry_budget;
use crate::routing::standing::{Standing, Why};
use crate::routing::terms::OnClientGone;
use crate::rt;
use crate::snapshot::Snapshot;
use std::time::{Duration, Instant};

/// Has the candidates answer, at once or one after another.
pub async fn run(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    inquiry: &Inquiry<'_>,
    plan: &Plan,
) -> Result<Next, Fault> {
    if let Some(wait) = exchange.core.steer.limited(plan.candidates.iter().map(|it| &it.lane), plan.at) {
        return Err(all_limited(wait));
    }
    let snapshot = exchange.snapshot.clone();
    down.may_drain(snapshot.settings.routing.tenant(&inquiry.key.tenant).on_client_gone == OnClientGone::Drain);
    let mut course = Course::of(inquiry, plan, &snapshot);
    if let Some(way) = together::way(exchange, &course)
        && let Some(next) = together::run(exchange, down, &mut course, way).await?
    {
        return Ok(next);
    }
    // The plan was made a moment ago: the first turn needs no other look at the clock.
    let mut now = if exchange.attempts == 0 { plan.at } else { rt::now() };
    while let Some(Turn { place, again }) = course.turns.next(&exchange.core.steer, &mut course.trail, now) {
        if down.is_absent() {
            exchange.books.finish();
            return Ok(Next::Abort);
        }
        if exchange.attempts >= course.budget(place) {
            break;
        }
        let Some(draft) = course.draft(exchange, place) else { continue };
        if !course.may_retry(exchange) {
            break;
        }
        if again && Box::pin(back_off(exchange, down)).await.is_err() {
            exchange.books.finish();
            return Ok(Next::Abort);
        }
        let Some(mut entrant) = course.seat(exchange, place, inquiry, draft) else { continue };
        let (ended, outcome) = entrant.run(exchange, down).await;
        drop(entrant);
        if let Some(next) = course.absorb(exchange, place, ended, outcome) {
            return Ok(next);
        }
        now = rt::now();
    }
    exchange.core.steer.waive();
    exchange.books.finish();
    if let Some(continuation) = exchange.continuation.take() {
        return Ok(Box::pin(events::give_up(exchange, down, *continuation)).await);
    }
    Err(course.trail.verdict())
}

/// Everybody said when to come back: asking again before that helps nobody.
#[cold]
fn all_limited(wait: Duration) -> Fault {
    Fault::RateLimited { retry_after_s: (wait.as_secs_f64().ceil() as u64).max(1) }
}

/// One exchange on its way through the candidates.
pub struct Course<'a> {
    /// What was asked.
    pub inquiry: &'a Inquiry<'a>,
    /// Who may answer, best first.
    pub plan: &'a Plan,
    /// What everything is decided from.
    pub snapshot: &'a Snapshot,
    /// What the failures so far rule out.
    pub trail: Trail,
    turns: Turns<'a>,
}

impl<'a> Course<'a> {
    fn of(inquiry: &'a Inquiry<'a>, plan: &'a Plan, snapshot: &'a Snapshot) -> Self {
        let is_carried = matches!(inquiry.ask.task, Task::Raw(_) | Task::Object(_));
        let trail = Trail::of(is_carried, snapshot.settings.routing.tenant(&inquiry.key.tenant).repeat);
        let turns = Turns::of(&plan.candidates, !is_carried && inquiry.ask.task != Task::Realtime);
        Self { inquiry, plan, snapshot, trail, turns }
    }

    /// Whether a candidate may run beside others: it is free, has not had its turn, and there is budget for it.
    pub fn may_ask(&self, exchange: &Exchange<'_>, place: usize) -> bool {
        let candidate = &self.plan.candidates[place];
        let spent = self.trail.over || exchange.attempts >= self.budget(place);
        let steer = &exchange.core.steer;
        let is_free = || steer.standing(&steer.halts(), &candidate.lane, Instant::now()) == Standing::Free;
        !spent && self.turns.is_waiting(place) && !self.trail.rules_out(candidate) && is_free()
    }

    /// A candidate's turn, if it may be asked and its format has the words.
    pub fn enter(&mut self, exchange: &mut Exchange<'_>, place: usize) -> Option<Entrant<'a>> {
        if !self.may_ask(exchange, place) {
            return None;
        }
        let draft = self.draft(exchange, place)?;
        self.seat(exchange, place, self.inquiry, draft)
    }

    /// What a candidate would be sent; `None` if its format has no words for it. Nothing has been sent then, so this is no attempt, and
    /// another candidate's format may have them.
    fn draft(&mut self, exchange: &Exchange<'_>, place: usize) -> Option<Draft> {
        let target = &self.plan.candidates[place].target;
        let provider = self.snapshot.provider(target.provider)?;
        let drafted = match &exchange.continuation {
            Some(it) => Draft::continued(self.inquiry, target, provider, it.kept.text()),
            None => Draft::of(self.inquiry, target, provider),
        };
        drafted.inspect_err(|refusal| self.trail.note_unsuited(refusal)).ok()
    }

    /// A candidate's turn with a draft of the caller's own, perhaps for a question of its own.
    pub fn seat<'s>(
        &mut self,
        exchange: &mut Exchange<'_>,
        place: usize,
        inquiry: &'s Inquiry<'s>,
        draft: Draft,
    ) -> Option<Entrant<'s>>
    where
        'a: 's,
    {
        let candidate = &self.plan.candidates[place];
        let provider = self.snapshot.provider(candidate.target.provider)?;
        if exchange.attempts == 0 {
            // What retries are measured by (rule Q2).
            let (tenant, steer) = (&self.inquiry.key.tenant, &exchange.core.steer);
            steer.retries.count_first(tenant, &provider.id, &candidate.known, self.plan.at);
        }
        self.turns.take(place);
        Some(Entrant::enter(exchange, inquiry, candidate, provider, self.plan, draft))
    }

    /// Attempts allowed when a candidate's turn comes. Another key in place of a refused one counts for the bound of all attempts, and not
    /// for what the owner allows a credential: that is about repeated work.
    fn budget(&self, place: usize) -> u32 {
        let configured = self.plan.candidates[place].credential.as_ref().and_then(|credential| credential.max_retries);
        let allowed = configured.map(|retries| retries.saturating_add(1).saturating_add(self.trail.keys_refused()));
        limits::ATTEMPTS_MAX.min(allowed.unwrap_or(limits::ATTEMPTS_MAX))
    }

    /// Whether the budget has room for another try after the last failure (rule Q2).
    fn may_retry(&self, exchange: &Exchange<'_>) -> bool {
        let (retries, tenant) = (&exchange.core.steer.retries, &self.inquiry.key.tenant);
        self.trail.charged().is_none_or(|failed| retries.take(tenant, failed, Instant::now()))
    }

    /// Takes an attempt in that has ended; what becomes of the connection if that was the exchange's end.
    pub fn absorb(&mut self, exchange: &Exchange<'_>, place: usize, ended: Ended, outcome: Outcome) -> Option<Next> {
        let candidate = &self.plan.candidates[place];
        let provider = self.snapshot.provider(candidate.target.provider);
        match (ended, provider) {
            (Ended::Served(next), _) => {
                exchange.books.finish();
                return Some(next);
            }
            (Ended::Gone, _) => {
                exchange.books.note_gone();
                exchange.books.finish();
                return Some(Next::Abort);
            }
            // The client has a part: who goes on from there is asked for the rest, which repeats no work (rule Q1).
            (Ended::Interrupted, Some(provider)) => self.trail.note_interrupted(candidate, provider),
            (Ended::Failed(refusal), Some(provider)) => {
                park(exchange, candidate, &refusal.fault);
                self.trail.note(candidate, provider, refusal, outcome, self.inquiry.ask.once);
            }
            (_, None) => {}
        }
        None
    }
}

/// A moment before the same provider is asked again, drawn so that those who failed together do not come back together.
async fn back_off(exchange: &mut Exchange<'_>, down: &mut Downstream) -> Result<(), Failure> {
    const PARTS: u64 = 1_000;
    let draw = exchange.core.roll(PARTS) as f64 / PARTS as f64;
    let wait = retry_budget::back_off(0, draw);
    exchange.waited += wait;
    unless_gone(down, rt::sleep(wait)).await
}

/// A lane that was told to wait lets others go first for a while, and so does a credential without money: rates are limited per model,
/// bills are not.
#[cold]
fn park(exchange: &Exchange<'_>, candidate: &Candidate, fault: &UpstreamFault) {
    let now = Instant::now();
    let steer = &exchange.core.steer;
    match (fault.class, candidate.lane.credential) {
        (FaultClass::RateLimit, _) => {
            let wait = fault.retry_after.unwrap_or(limits::RETRY_AFTER_UNKNOWN);
            steer.park(&Scope::Lane(candidate.lane.clone()), Why::RateLimit, now + wait, now);
        }
        (FaultClass::NoCredit, Some(credential)) => {
            let until = now + limits::PARKED_WITHOUT_CREDIT;
            steer.park(&Scope::Credential(credential), Why::NoCredit, until, now);
        }
        _ => {}
    }
}
