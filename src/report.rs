//! What data tells control: one record per attempt, over a bounded queue of each core, and a few gauges.
//!
//! A core reserves a place in its queue before it admits an exchange, so a record always has room (rule L4); when the queue is full,
//! admission stops. No text of a prompt or an answer is in a report (rule R1).

pub mod brief;
pub mod exchange;
pub mod figures;

use crate::domain::clock::UnixMillis;
use crate::domain::id::{AccessKeyId, AttemptId, CredentialId, ProviderId, RequestId, TenantId};
use crate::domain::limit::LimitKind;
use crate::domain::money::Money;
use crate::domain::pressure::ShedReason;
use crate::domain::token::{Usage, UsageSource};
use crate::limits::telemetry::EXCHANGES_WAITING_MAX;
use crate::limits::{DECISIONS_KEPT, OBSERVED_WAITING_MAX, REPORTS_SPARE_MAX};
use crate::routing::decision::Decision;
use crate::routing::lane::LaneKey;
use crate::routing::observed::Observed;
use crate::routing::policy::Policy;
use crossbeam_queue::ArrayQueue;
use exchange::ExchangeReport;
use figures::Figures;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// How an attempt ended. Exactly one per attempt (rule L1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered in full.
    Completed,
    /// The provider answered with an error.
    Refused,
    /// No connection, or none usable.
    Unreachable,
    /// A deadline passed.
    TimedOut,
    /// The answer broke off or made no sense.
    Broken,
    /// The client went away first (rule L5).
    ClientGone,
    /// Another attempt of a race was first, and this one was cancelled (rule Q4).
    Superseded,
    /// The process ended first; found when the journal was replayed (rule L6).
    Interrupted,
}

impl Outcome {
    /// The name in metrics and rows.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Completed => "completed",
            Outcome::Refused => "refused",
            Outcome::Unreachable => "unreachable",
            Outcome::TimedOut => "timed_out",
            Outcome::Broken => "broken",
            Outcome::ClientGone => "client_gone",
            Outcome::Superseded => "superseded",
            Outcome::Interrupted => "interrupted",
        }
    }
}

/// One attempt at one provider, closed.
#[derive(Clone, Debug)]
pub struct AttemptReport {
    /// The exchange it belongs to.
    pub exchange: RequestId,
    /// The attempt.
    pub attempt: AttemptId,
    /// Whether it was the exchange's last one, the one the client saw.
    pub last: bool,
    /// Who asked.
    pub tenant: TenantId,
    /// With which access key.
    pub access_key: AccessKeyId,
    /// Who was asked.
    pub provider: ProviderId,
    /// With which credential, unless the provider wants none.
    pub credential: Option<CredentialId>,
    /// For which model, by the provider's name.
    pub model: Arc<str>,
    /// The policy that chose it.
    pub policy: Policy,
    /// How it ended.
    pub outcome: Outcome,
    /// HTTP status of the provider, 0 if none came.
    pub status: u16,
    /// Whether the provider refused the credential itself: it does not know it, or it may not do this, or its account has no money (401, 402,
    /// 403, or its own words for them); or it cannot sign requests.
    pub key_refused: bool,
    /// Whether the answer was a stream.
    pub stream: bool,
    /// What it used.
    pub usage: Usage,
    /// Where that figure is from.
    pub usage_source: UsageSource,
    /// What it cost; `None` when the model's price is unknown.
    pub cost: Option<Money>,
    /// Which list of prices that is by; 0 where the price is unknown.
    pub price_version: u64,
    /// When it began.
    pub started: UnixMillis,
    /// Until the connection stood, microseconds; 0 for a reused one.
    pub connect_us: u32,
    /// The part of it that TLS took, microseconds.
    pub tls_us: u32,
    /// Until the answer's first byte, microseconds; 0 if none came.
    pub first_byte_us: u32,
    /// Until the first content of a stream, microseconds; 0 if none came.
    pub first_token_us: u32,
    /// In all, microseconds.
    pub total_us: u32,
}

/// What is known of an attempt before it is made.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// The exchange it belongs to.
    pub exchange: RequestId,
    /// The attempt.
    pub attempt: AttemptId,
    /// Who asks.
    pub tenant: &'a TenantId,
    /// With which access key.
    pub access_key: AccessKeyId,
    /// Who is asked.
    pub provider: &'a ProviderId,
    /// With which credential, unless the provider wants none.
    pub credential: Option<CredentialId>,
    /// For which model, by the provider's name.
    pub model: &'a Arc<str>,
    /// The policy that chose it.
    pub policy: Policy,
    /// Whether a stream is asked for.
    pub stream: bool,
    /// Which list of prices holds; 0 where the price is unknown.
    pub price_version: u64,
    /// When it begins.
    pub started: UnixMillis,
}

impl AttemptReport {
    /// Of an attempt that begins.
    pub fn of(opening: &Opening<'_>) -> Self {
        Self {
            exchange: opening.exchange,
            attempt: opening.attempt,
            last: false,
            tenant: opening.tenant.clone(),
            access_key: opening.access_key,
            provider: opening.provider.clone(),
            credential: opening.credential,
            model: opening.model.clone(),
            policy: opening.policy,
            outcome: Outcome::Broken,
            status: 0,
            key_refused: false,
            stream: opening.stream,
            usage: Usage::default(),
            usage_source: UsageSource::Unknown,
            cost: None,
            price_version: opening.price_version,
            started: opening.started,
            connect_us: 0,
            tls_us: 0,
            first_byte_us: 0,
            first_token_us: 0,
            total_us: 0,
        }
    }

    /// The same over one that is told of already: nearly always of the same lane.
    pub fn begin_over(&mut self, opening: &Opening<'_>) {
        self.rename(opening.tenant, opening.provider, opening.model);
        let Opening { exchange, attempt, access_key, credential, policy, stream, price_version, started, .. } =
            *opening;
        (self.exchange, self.attempt, self.last, self.access_key) = (exchange, attempt, false, access_key);
        (self.credential, self.policy, self.outcome, self.status) = (credential, policy, Outcome::Broken, 0);
        (self.key_refused, self.stream, self.usage) = (false, stream, Usage::default());
        (self.usage_source, self.cost) = (UsageSource::Unknown, None);
        (self.price_version, self.started) = (price_version, started);
        (self.connect_us, self.tls_us, self.first_byte_us) = (0, 0, 0);
        (self.first_token_us, self.total_us) = (0, 0);
    }

    /// Names that are the same stay, so that their counts, which all cores share, are left alone.
    fn rename(&mut self, tenant: &TenantId, provider: &ProviderId, model: &Arc<str>) {
        if self.tenant != *tenant {
            self.tenant = tenant.clone();
        }
        if self.provider != *provider {
            self.provider = provider.clone();
        }
        if self.model != *model {
            self.model = model.clone();
        }
    }

    /// Becomes a copy of another one.
    fn rewrite(&mut self, other: &Self) {
        self.rename(&other.tenant, &other.provider, &other.model);
        // Every member is named, so that none that is added later can be forgotten here.
        let Self {
            exchange,
            attempt,
            last,
            tenant: _,
            access_key,
            provider: _,
            credential,
            model: _,
            policy,
            outcome,
            status,
            key_refused,
            stream,
            usage,
            usage_source,
            cost,
            price_version,
            started,
            connect_us,
            tls_us,
            first_byte_us,
            first_token_us,
            total_us,
        } = other;
        (self.exchange, self.attempt, self.last, self.access_key) = (*exchange, *attempt, *last, *access_key);
        (self.credential, self.policy, self.outcome, self.status) = (*credential, *policy, *outcome, *status);
        (self.key_refused, self.stream, self.usage, self.usage_source) = (*key_refused, *stream, *usage, *usage_source);
        (self.cost, self.price_version, self.started) = (*cost, *price_version, *started);
        (self.connect_us, self.tls_us, self.first_byte_us) = (*connect_us, *tls_us, *first_byte_us);
        (self.first_token_us, self.total_us) = (*first_token_us, *total_us);
    }
}

/// What was observed of each lane, handed over at once.
pub type HandOver = Vec<(LaneKey, Observed)>;

/// The waist's return path of one core.
pub struct CoreReports {
    /// Boxed, so that a queue with room for a burst takes memory only as the burst comes.
    queue: ArrayQueue<Box<AttemptReport>>,
    /// Boxes of reports that were looked at, on their way back: what this core allocated it uses again, and frees itself what is in them, so that
    /// neither the allocator nor the counts of shared names go from one core to another with every attempt.
    queue_spare: ArrayQueue<Box<AttemptReport>>,
    /// What was observed, a hand-over each.
    observed: ArrayQueue<HandOver>,
    /// Hand-overs that were taken in, on their way back to be filled again.
    spare: ArrayQueue<HandOver>,
    /// The latest decisions; the oldest gives way.
    decisions: ArrayQueue<Box<Decision>>,
    /// Decisions that are no longer remembered, on their way back for the same reason.
    decisions_spare: ArrayQueue<Box<Decision>>,
    /// Exchanges that are over, where somebody wants to know of each.
    exchanges: ArrayQueue<Box<ExchangeReport>>,
    /// Counts and durations of all exchanges; written by this core alone.
    pub figures: Figures,
    /// Read by the control plane at leisure; written by this core alone.
    pub gauges: CoreGauges,
}

/// Counters of one core, on cache lines of their own.
#[derive(Default)]
#[repr(align(128))]
pub struct CoreGauges {
    /// Downstream connections open.
    pub connections: AtomicU64,
    /// Those of them that speak HTTP/2.
    pub connections_http2: AtomicU64,
    /// Downstream connections accepted since start.
    pub connections_accepted: AtomicU64,
    /// Exchanges under way.
    pub exchanges: AtomicU64,
    /// Exchanges begun since start.
    pub exchanges_begun: AtomicU64,
    /// Streamed answers under way.
    pub streams: AtomicU64,
    /// Requests refused before they reached a provider, since start.
    pub refused: AtomicU64,
    /// Exchanges of known access keys that nobody could be asked for: no such model, nobody who may serve it, since start.
    pub unserved: AtomicU64,
    /// Attempts on lanes for which this core had no room, since start; they are not scored.
    pub unobserved: AtomicU64,
    /// Upstream connections opened since start.
    pub upstream_connections: AtomicU64,
    /// Plans carried out since start, by the place of their policy in [`Policy::ALL`].
    pub decisions: [AtomicU64; Policy::ALL.len()],
    /// How much room the core has: a packed [`Pressure`](crate::domain::pressure::Pressure).
    pub overload: AtomicU64,
    /// Requests turned away since start, by [`ShedReason`] in its order.
    pub shed: [AtomicU64; ShedReason::ALL.len()],
    /// Requests refused by limits of access keys and tenants since start, by [`LimitKind`] in its order.
    pub limited: [AtomicU64; LimitKind::ALL.len()],
    /// Those among them for which there was room, but not in what this machine had leased, since start.
    pub unleased: AtomicU64,
    /// Exchanges that waited for a lease, since start.
    pub lease_waits: AtomicU64,
    /// Times that a tenant's hedges and races began to pause for wasting too much, since start.
    pub hedging_pauses: AtomicU64,
    /// Second attempts beside a first, and races, since start.
    pub together: Together,
    /// Exchanges that were not told of because nobody had taken the ones before, since start.
    pub exchanges_untold: AtomicU64,
    /// Whether this core has stopped accepting.
    pub drained: AtomicBool,
    /// The last word about accepting that this core obeys; before its first turn none that is ever given.
    pub hold_seen: HoldSeen,
}

/// Attempts beside each other, since start.
#[derive(Default)]
pub struct Together {
    /// Second attempts that were started for a first that was late.
    pub hedges: AtomicU64,
    /// Those of them that were first.
    pub hedges_won: AtomicU64,
    /// Races that were run.
    pub races: AtomicU64,
    /// Those of them that another candidate won than the one the plan had first.
    pub races_won: AtomicU64,
    /// Attempts that lost.
    pub losers: AtomicU64,
    /// What these cost, millionths of a dollar.
    pub waste_micro: AtomicU64,
}

/// A word about accepting, as a core repeats it.
pub struct HoldSeen(AtomicU32);

impl Default for HoldSeen {
    fn default() -> Self {
        Self(AtomicU32::new(u32::MAX))
    }
}

impl HoldSeen {
    /// Repeats the word: from here on it is obeyed.
    pub fn repeat(&self, word: u32) {
        self.0.store(word, Ordering::Release);
    }

    /// Whether this word is obeyed.
    pub fn is(&self, word: u32) -> bool {
        self.0.load(Ordering::Acquire) == word
    }
}

impl CoreReports {
    /// A return path with room for `capacity` records.
    pub fn new(capacity: usize) -> Self {
        Self {
            queue: ArrayQueue::new(capacity),
            queue_spare: ArrayQueue::new(REPORTS_SPARE_MAX),
            observed: ArrayQueue::new(OBSERVED_WAITING_MAX),
            spare: ArrayQueue::new(OBSERVED_WAITING_MAX),
            decisions: ArrayQueue::new(DECISIONS_KEPT),
            decisions_spare: ArrayQueue::new(DECISIONS_KEPT),
            exchanges: ArrayQueue::new(EXCHANGES_WAITING_MAX),
            figures: Figures::default(),
            gauges: CoreGauges::default(),
        }
    }

    /// Whether `in_flight` exchanges could still close with `each` records apiece.
    pub fn has_room(&self, in_flight: usize, each: usize) -> bool {
        self.queue.len() + in_flight.saturating_mul(each) <= self.queue.capacity()
    }

    /// Hands a record over; false if there was no room. The room was reserved at admission: a refusal is an error in that arithmetic.
    #[must_use]
    pub fn push(&self, report: &AttemptReport) -> bool {
        let boxed = match self.queue_spare.pop() {
            Some(mut spare) => {
                spare.rewrite(report);
                spare
            }
            None => Box::new(report.clone()),
        };
        self.queue.push(boxed).is_ok()
    }

    /// Shows the oldest record to `each` and lets go of it; false if there is none. Control side.
    pub fn show(&self, each: impl FnOnce(&AttemptReport)) -> bool {
        let Some(report) = self.queue.pop() else { return false };
        each(&report);
        // Where there is no place, it goes the usual way.
        let _ = self.queue_spare.push(report);
        true
    }

    /// How many records there is room for in all.
    pub fn room(&self) -> usize {
        self.queue.capacity()
    }

    /// How many records wait to be taken.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Hands over what was observed; back comes what finds no room, to be handed over with the next.
    ///
    /// # Errors
    /// The control plane has not taken the last ones.
    pub fn push_observed(&self, observed: HandOver) -> Result<(), HandOver> {
        self.observed.push(observed)
    }

    /// Takes the oldest hand-over; control side.
    pub fn pop_observed(&self) -> Option<HandOver> {
        self.observed.pop()
    }

    /// Gives the memory of a hand-over back, emptied; control side.
    pub fn push_spare(&self, mut taken: HandOver) {
        taken.iter_mut().for_each(|(_, observed)| observed.clear());
        // Where nobody wants it, it goes the usual way.
        let _ = self.spare.push(taken);
    }

    /// Takes memory that came back.
    pub fn pop_spare(&self) -> Option<HandOver> {
        self.spare.pop()
    }

    /// Keeps a decision for explanations; the oldest that nobody took gives way.
    pub fn push_decision(&self, decision: Box<Decision>) {
        if let Some(oldest) = self.decisions.force_push(decision) {
            self.forget_decision(oldest);
        }
    }

    /// A decision that nobody remembers any more, to be written over.
    pub fn spare_decision(&self) -> Option<Box<Decision>> {
        self.decisions_spare.pop()
    }

    /// Gives a decision back that is no longer remembered.
    pub fn forget_decision(&self, decision: Box<Decision>) {
        // Where there is no place, it goes the usual way.
        let _ = self.decisions_spare.push(decision);
    }

    /// How many decisions wait to be taken.
    pub fn decisions_waiting(&self) -> usize {
        self.decisions.len()
    }

    /// Takes the oldest decision; control side.
    pub fn pop_decision(&self) -> Option<Box<Decision>> {
        self.decisions.pop()
    }

    /// Tells of an exchange that is over; counted where nobody has taken the ones before.
    pub fn push_exchange(&self, exchange: ExchangeReport) {
        if self.exchanges.push(Box::new(exchange)).is_err() {
            self.gauges.exchanges_untold.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many exchanges wait to be taken.
    pub fn exchanges_waiting(&self) -> usize {
        self.exchanges.len()
    }

    /// Takes the oldest exchange; control side.
    pub fn pop_exchange(&self) -> Option<ExchangeReport> {
        self.exchanges.pop().map(|exchange| *exchange)
    }
}

/// Counts one up in a gauge that this thread alone writes: a load and a store, and no locked instruction.
#[inline]
pub fn count_one(gauge: &AtomicU64) {
    gauge.store(gauge.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// Adds one to a gauge that this thread alone writes, while it lives.
pub struct Held<'g>(&'g AtomicU64);

impl<'g> Held<'g> {
    /// Counts one up until dropped.
    pub fn one(gauge: &'g AtomicU64) -> Self {
        count_one(gauge);
        Self(gauge)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(1), Ordering::Relaxed);
    }
}
